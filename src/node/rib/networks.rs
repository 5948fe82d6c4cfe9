//! Virtual networks and tenants as the tables have them.

use super::{Rib, attachment_key};
use crate::config::{Beyond, NetworkPeer, PeerTarget, Policy, TenantAddress, VirtualNetwork};
use crate::ila::{Identifier, IdentifierType, SirPrefix};
use crate::table::network::{Peers, Subnet, Vnet};
use crate::table::policy::{PolicySet, Selector};
use crate::table::{DomainId, Gateways, Network, NetworkId, Networks};

impl Rib {
    /// Something about networks or tenants changed that readers learn only from a new snapshot.
    pub(super) fn networks_changed(&mut self) {
        self.told = None;
        self.dirty = true;
    }

    /// All networks, and every tenant where it sits.
    pub(super) fn network_tables(&self) -> Networks {
        let mut networks = Networks::default();
        for (place, network) in self.networks.iter().enumerate() {
            let domain = self.domains.get(usize::from(network.domain));
            let sir = domain.map_or(SirPrefix(0), |domain| domain.config.prefix);
            networks.add(self.network(place, network), sir);
        }
        for policy in &self.policies {
            permit(&mut networks, policy);
            self.send_through(&mut networks, policy);
        }
        for (n, attachment) in self.attachments.iter().enumerate() {
            let attached = attachment_key(attachment);
            let Some((mut tenant, rates)) = self.tenant(n, attachment) else { continue };
            for address in &attachment.addresses {
                match address {
                    TenantAddress::V4(address) => tenant.ipv4.push(*address),
                    TenantAddress::V6(address) => tenant.ipv6.push(*address),
                }
            }
            networks.attach(attached, tenant, rates);
        }
        self.join_groups(&mut networks);
        networks
    }

    /// Where the packets of a network are counted; 0: with those of others.
    #[must_use]
    pub fn slot_of(&self, vnid: u32) -> u16 {
        self.counters.get(&vnid).copied().unwrap_or(0)
    }

    /// Gives new networks counters of their own, as long as there are some. They stay a network's when it goes, so that
    /// no counter ever goes back or counts two networks.
    pub(super) fn give_slots(&mut self) {
        for network in &self.networks {
            let next = self.counters.len() + 1;
            if next <= usize::from(self.counted) {
                self.counters.entry(network.vnid).or_insert(next as u16);
            }
        }
    }

    /// What neutral mapping adds for an identifier of a network that is known.
    pub(super) fn checksum_delta(&self, domain: usize, identifier: Identifier) -> u16 {
        let of = |network: &&VirtualNetwork| {
            usize::from(network.domain) == domain && Some(network.vnid) == identifier.vnid()
        };
        let vnet = self.networks.iter().find(of).and_then(|network| self.vnet(network));
        match identifier.kind() {
            IdentifierType::TenantIpv6 | IdentifierType::TenantMulticast => {
                vnet.map_or(0, |vnet| vnet.checksum_delta_of(identifier))
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
            slot: self.slot_of(network.vnid),
            sends: PolicySet::default(),
            hears: PolicySet::default(),
            gateways: Gateways::default(),
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

/// Writes a policy down at both of its ends, as far as they are networks.
fn permit(networks: &mut Networks, policy: &Policy) {
    let named = |beyond: Beyond| match beyond {
        Beyond::Tasks(domain) => Selector::Tasks(DomainId(domain)),
        Beyond::Task(task) => Selector::Task(DomainId(task.domain), task.identifier),
        Beyond::Outside => Selector::Outside,
    };
    match *policy {
        Policy::Between { from, to, .. } => {
            networks.allow_send(NetworkId(from), Selector::Network(NetworkId(to)));
            networks.allow_hear(NetworkId(to), Selector::Network(NetworkId(from)));
        }
        Policy::Out { from, to } => networks.allow_send(NetworkId(from), named(to)),
        Policy::In { from, to } => networks.allow_hear(NetworkId(to), named(from)),
    }
}
