//! Virtual networks and tenants as the tables have them.

use super::{Rib, Seat};
use crate::config::{TenantAddress, VirtualNetwork};
use crate::table::network::{Subnet, Vnet};
use crate::table::{DomainId, Network, NetworkId, Networks, PortId, Tenant};

impl Rib {
    /// All networks, and every tenant where it sits.
    pub(super) fn network_tables(&self) -> Networks {
        let mut networks = Networks::default();
        for network in &self.networks {
            networks.add(self.network(network));
        }
        for (n, attachment) in self.attachments.iter().enumerate() {
            let Some(network) = attachment.network else { continue };
            let seat = Seat::of(attachment);
            let mut tenant = Tenant {
                network: NetworkId(network),
                attachment: n as u32,
                ipv4: Vec::new(),
                ipv6: Vec::new(),
            };
            for address in &attachment.addresses {
                match address {
                    TenantAddress::V4(address) => tenant.ipv4.push(*address),
                    TenantAddress::V6(address) => tenant.ipv6.push(*address),
                }
            }
            networks.seat((PortId(seat.port), seat.vlan, seat.mac), tenant);
        }
        networks
    }

    fn network(&self, network: &VirtualNetwork) -> Network {
        let sir = self.domains.get(usize::from(network.domain)).map(|domain| domain.config.prefix);
        Network {
            vnid: network.vnid,
            domain: DomainId(network.domain),
            mac: network.mac,
            mtu: network.mtu,
            ipv6: network
                .ipv6
                .and_then(|vnet| Some(Vnet::new(vnet.prefix.bits(), vnet.gateway, network.vnid, sir?))),
            ipv4: network
                .ipv4
                .iter()
                .map(|subnet| Subnet {
                    prefix: subnet.prefix.bits(),
                    mask: crate::net::Ipv4Prefix::mask(subnet.prefix.length()),
                    gateway: subnet.gateway,
                })
                .collect(),
        }
    }
}
