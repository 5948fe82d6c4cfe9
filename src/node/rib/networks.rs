//! Compiles virtual networks and tenants to the network tables ([`Networks`]).

use super::{Rib, attachment_key};
use crate::config::{Beyond, NetworkPeer, OnMiss, PeerTarget, Policy, TenantAddress, VirtualNetwork};
use crate::ila::{Identifier, IdentifierType, SirPrefix};
use crate::table::network::{Subnet, Vnet};
use crate::table::peers::Peers;
use crate::table::policy::{PolicySet, Selector};
use crate::table::{DomainId, Gateways, Network, NetworkId, Networks};

impl Rib {
    /// All networks, with their policies, and all tenants by attachment key.
    pub(super) fn network_tables(&self) -> Networks {
        let mut networks = Networks::new(self.hasher());
        for (place, network) in self.networks.iter().enumerate() {
            let domain = self.domains.get(usize::from(network.domain));
            let sir = domain.map_or(SirPrefix(0), |domain| domain.config.prefix);
            networks.add(self.network(place, network), sir);
        }
        self.policies.iter().for_each(|policy| self.permit(&mut networks, policy));
        for attachment in self.attachments.list() {
            self.attach(&mut networks, attachment_key(attachment));
        }
        networks
    }

    /// Adds a policy to the tables of its networks.
    pub(super) fn permit(&self, networks: &mut Networks, policy: &Policy) {
        permit(networks, policy);
        self.send_through(networks, policy);
    }

    /// The counter slot of a network; slot 0 counts all networks that have none of their own.
    #[must_use]
    pub fn slot_of(&self, vnid: u32) -> u16 {
        self.counters.get(&vnid).copied().unwrap_or(0)
    }

    /// Assigns counter slots to new networks while there are free ones. A VNID keeps its slot when its network is
    /// removed, so that no counter decreases or counts two networks.
    pub(super) fn give_slots(&mut self) {
        for network in self.networks.iter() {
            let next = self.counters.len() + 1;
            if next <= usize::from(self.counted) {
                self.counters.entry(network.vnid).or_insert(next as u16);
            }
        }
    }

    /// The additional checksum delta of an identifier of type 3 or 4: translation also changes the prefix of its
    /// network. 0 for other types and unknown networks.
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
        let on_miss = self.domains.get(usize::from(network.domain)).map(|domain| domain.config.on_miss);
        Network {
            vnid: network.vnid,
            domain: DomainId(network.domain),
            mac: network.mac,
            mtu: network.mtu,
            on_link: on_miss != Some(OnMiss::Route),
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
            received_copies: self.slots.share(network.received_copies),
        }
    }

    /// The IPv4 address that stands for a peer in the network, and the IPv6 address that the peer has outside of it.
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

/// Adds a policy to the policy sets of its sending and its receiving network. An endpoint that is not a network has
/// none.
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
