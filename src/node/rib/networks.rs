//! Virtual networks and tenants as the tables have them.

use super::{Rib, Seat};
use crate::config::{NetworkPeer, PeerTarget, TenantAddress, VirtualNetwork};
use crate::ila::{Identifier, IdentifierType};
use crate::table::network::{Peers, Subnet, Vnet};
use crate::table::{DomainId, Network, NetworkId, Networks, PortId, Tenant};

impl Rib {
    /// All networks, and every tenant where it sits.
    pub(super) fn network_tables(&self) -> Networks {
        let mut networks = Networks::default();
        for (place, network) in self.networks.iter().enumerate() {
            networks.add(self.network(place, network));
        }
        for policy in &self.policies {
            networks.permit(NetworkId(policy.from), NetworkId(policy.to));
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
        self.join_groups(&mut networks);
        networks
    }

    /// What neutral mapping adds for an identifier of a network that is known.
    pub(super) fn extra(&self, domain: usize, identifier: Identifier) -> u16 {
        let of = |network: &&VirtualNetwork| {
            usize::from(network.domain) == domain && Some(network.vnid) == identifier.vnid()
        };
        let vnet = self.networks.iter().find(of).and_then(|network| self.vnet(network));
        match identifier.kind() {
            IdentifierType::TenantIpv6 | IdentifierType::TenantMulticast => {
                vnet.map_or(0, |vnet| vnet.extra_of(identifier))
            }
            _ => 0,
        }
    }

    fn vnet(&self, network: &VirtualNetwork) -> Option<Vnet> {
        let sir = self.domains.get(usize::from(network.domain))?.config.prefix;
        network.ipv6.map(|vnet| Vnet::new(vnet.prefix.bits(), vnet.gateway, network.vnid, sir))
    }

    fn network(&self, place: usize, network: &VirtualNetwork) -> Network {
        Network {
            vnid: network.vnid,
            domain: DomainId(network.domain),
            mac: network.mac,
            mtu: network.mtu,
            ipv6: self.vnet(network),
            ipv4: network
                .ipv4
                .iter()
                .map(|subnet| Subnet {
                    prefix: subnet.prefix.bits(),
                    mask: crate::net::Ipv4Prefix::mask(subnet.prefix.length()),
                    gateway: subnet.gateway,
                })
                .collect(),
            peers: Peers::new(network.peers.iter().filter_map(|peer| self.peer(peer))),
            reaches: Vec::new(),
            replicas: self.replicas.get(place).copied().unwrap_or_default(),
        }
    }

    /// A mapped address, and the address of the peer as the fabric and others see it.
    fn peer(&self, peer: &NetworkPeer) -> Option<(u32, u128)> {
        let sir = |domain: u8| Some(self.domains.get(usize::from(domain))?.config.prefix);
        let to = match peer.to {
            PeerTarget::Task(task) => sir(task.domain)?.with(task.identifier),
            PeerTarget::Tenant { address: TenantAddress::V6(address), .. } => address,
            PeerTarget::Tenant { network, address: TenantAddress::V4(address) } => {
                let network = self.networks.get(usize::from(network))?;
                sir(network.domain)?.with(Identifier::tenant_ipv4(network.vnid, address))
            }
        };
        Some((peer.address, to))
    }
}
