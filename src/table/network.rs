//! Virtual networks (ILA draft §3.6, ILA draft §3.7, ILA draft §3.8, ILA draft §4.3) and the tenants of this node, as a
//! worker looks them up.

use super::attached::Attached;
use super::bindings::{self, SourceBindings};
use super::gateway::{Gateway, Gateways};
use super::limits::{Rate, Rates};
use super::peers::Peers;
use super::policy::{Endpoint, PolicySet, Selector};
use super::tenant::{AttachmentKey, Tenant};
use super::{ActionId, DomainId, Local, PortId, Seeded};
use crate::ila::group;
use crate::ila::{Identifier, IdentifierType, SirPrefix};
use crate::net::Mac;
use crate::net::checksum::{add, sub, sum_of_half};
use crate::net::ndp::Advert;
use crate::shared::List;
use std::collections::HashMap;
use std::sync::Arc;

/// Most virtual networks of a node.
pub const MAX_NETWORKS: usize = 4096;

/// Index of a virtual network in the configuration's order, below [`MAX_NETWORKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NetworkId(pub u16);

/// Router lifetime in advertisements to tenants, in seconds (RFC 4861 §6.2.1, AdvDefaultLifetime).
pub const ROUTER_LIFETIME_S: u16 = 1800;

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Virtual network identifier, 28 bits.
    pub vnid: u32,
    /// SIR domain of its identifiers.
    pub domain: DomainId,
    /// The MAC address of the gateway, which is the router that tenants see, the same at every node.
    pub mac: Mac,
    /// MTU: largest packet in bytes that tenants may send.
    pub mtu: u16,
    /// Whether its IPv6 prefix is on-link for its tenants. It is not where packets to those who are unknown here are
    /// routed: nobody would answer for them on the link.
    pub on_link: bool,
    /// Its IPv6 prefix and gateway, if it has IPv6.
    pub ipv6: Option<Vnet>,
    /// Its IPv4 subnets.
    pub ipv4: Vec<Subnet>,
    /// IPv4 addresses that stand for peers outside of the network.
    pub peers: Peers,
    /// Slot of its counters; 0 is shared with other networks.
    pub slot: u16,
    /// Endpoints outside of the network that its tenants may send to.
    pub sends: PolicySet,
    /// Endpoints outside of the network that its tenants may receive from.
    pub hears: PolicySet,
    /// Gateways to other networks.
    pub gateways: Gateways,
    /// The action for copies to groups that have no mapping of their own; 0 for no copies.
    pub replicas: ActionId,
    /// Limit of the copies for its tenants here of what other nodes sent.
    pub received_copies: Rate,
}

/// The hot part of a network: what the fast path needs, mostly as a frame has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkHot {
    /// SIR prefix of its domain.
    pub sir: [u8; 8],
    /// Upper 96 bits of its IPv6 addresses, if it has any.
    pub vnet: Option<[u8; 12]>,
    /// The gateway's MAC address, its first byte lowest.
    pub mac: u64,
    /// Lower 32 bits of the gateway's IPv6 address; 0 without one.
    pub gateway: u32,
    /// Virtual network identifier, 28 bits.
    pub vnid: u32,
    /// [`Vnet::checksum_delta`]; 0 without IPv6.
    pub checksum_delta: u16,
    /// Added to the pseudo header's sum when both IPv4 addresses become SIR addresses; not 0.
    pub checksum_delta_ipv4: u16,
    /// MTU: largest packet in bytes that tenants may send.
    pub mtu: u16,
    /// SIR domain of its identifiers.
    pub domain: DomainId,
    /// [`Network::slot`].
    pub slot: u16,
}

impl NetworkHot {
    fn of(network: &Network, sir: SirPrefix) -> Self {
        let mut vnet = [0; 12];
        let prefix = network.ipv6.map_or(0, |vnet| vnet.prefix).to_be_bytes();
        vnet.copy_from_slice(&prefix[..12]);
        let upper = add(sum_of_half(sir.0), sum_of_half(Identifier::tenant_ipv4(network.vnid, 0).0));
        NetworkHot {
            sir: sir.0.to_be_bytes(),
            vnet: network.ipv6.map(|_| vnet),
            mac: bindings::raw(network.mac),
            gateway: network.ipv6.and_then(|vnet| vnet.gateway).unwrap_or(0) as u32,
            vnid: network.vnid,
            checksum_delta: network.ipv6.map_or(0, |vnet| vnet.checksum_delta),
            checksum_delta_ipv4: add(upper, upper),
            mtu: network.mtu,
            domain: network.domain,
            slot: network.slot,
        }
    }
}

/// The 96-bit IPv6 prefix of a network (ILA draft §3.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vnet {
    /// The prefix; its lower 32 bits are 0.
    pub prefix: u128,
    /// The gateway's address.
    pub gateway: Option<u128>,
    /// What neutral mapping adds to the low word beyond what it adds for a SIR address, because all 96 bits change. It
    /// is `Σ prefix -' Σ upper half of the identifier -' Σ SIR prefix`, the same for every locator.
    pub checksum_delta: u16,
    /// The same for multicast addresses, by scope: there all 128 bits change.
    group_checksum_delta: [u16; 16],
}

impl Vnet {
    /// The prefix of the network `vnid`, in the domain with the SIR prefix `sir`.
    #[must_use]
    pub const fn new(prefix: u128, gateway: Option<u128>, vnid: u32, sir: SirPrefix) -> Self {
        let vnet = add(sum_of_half((prefix >> 64) as u64), sum_of_half(prefix as u64));
        let upper = sum_of_half(Identifier::tenant_ipv6(vnid, 0).0);
        let sir = sum_of_half(sir.0);
        let mut group_checksum_delta = [0; 16];
        let mut scope = 0;
        while scope < 16 {
            // The address begins with ff0X, and the identifier has only X.
            let identifier = Identifier::tenant_multicast(vnid, scope, 0);
            group_checksum_delta[scope as usize] =
                sub(sub(0xff00 + scope as u16, sum_of_half(identifier.0)), sir);
            scope += 1;
        }
        Vnet { prefix, gateway, checksum_delta: sub(sub(vnet, upper), sir), group_checksum_delta }
    }

    /// Whether `address` has the prefix.
    #[inline]
    #[must_use]
    pub const fn contains(&self, address: u128) -> bool {
        address >> 32 == self.prefix >> 32
    }

    /// What neutral mapping adds for an identifier of type 3 or 4 beyond the locator's adjustment.
    #[must_use]
    pub const fn checksum_delta_of(&self, identifier: Identifier) -> u16 {
        match identifier.kind() {
            IdentifierType::TenantMulticast => {
                self.group_checksum_delta[(identifier.0 as u32 >> 28) as usize]
            }
            _ => self.checksum_delta,
        }
    }

    /// The address that tenants use for an identifier of type 3 or 4.
    #[must_use]
    pub const fn address_of(&self, identifier: Identifier) -> u128 {
        match identifier.kind() {
            IdentifierType::TenantMulticast => group::ipv6_address(identifier),
            _ => self.prefix | identifier.0 as u32 as u128,
        }
    }
}

/// An IPv4 subnet of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix.
    pub prefix: u32,
    /// Network mask: ones where the prefix counts.
    pub mask: u32,
    /// The gateway's address.
    pub gateway: u32,
}

impl Subnet {
    /// Whether `address` lies in the subnet.
    #[must_use]
    pub const fn contains(&self, address: u32) -> bool {
        address & self.mask == self.prefix
    }

    /// Whether an address of the subnet is its broadcast address. Subnets of two addresses or of one have none
    /// (RFC 3021).
    #[must_use]
    pub const fn is_broadcast(&self, address: u32) -> bool {
        !self.mask > 1 && address | self.mask == u32::MAX
    }
}

impl Network {
    /// The subnet of an IPv4 address.
    #[must_use]
    pub fn subnet_of(&self, address: u32) -> Option<&Subnet> {
        self.ipv4.iter().find(|subnet| subnet.contains(address))
    }

    /// Whether an IPv4 address can only be another tenant's: it is in a subnet, and not the gateway's, a peer's or a
    /// broadcast address.
    #[inline]
    #[must_use]
    pub fn is_others(&self, address: u32) -> bool {
        self.subnet_of(address).is_some_and(|subnet| {
            address != subnet.gateway && !subnet.is_broadcast(address) && self.peers.ipv6(address).is_none()
        })
    }

    /// The identifier of a tenant's IPv4 address.
    #[must_use]
    pub const fn ipv4_identifier(&self, address: u32) -> Identifier {
        Identifier::tenant_ipv4(self.vnid, address)
    }

    /// The link-local address of the router that tenants see, the same at every node.
    #[must_use]
    pub const fn link_local(&self) -> u128 {
        self.mac.link_local()
    }

    /// The Router Advertisement that a tenant with IPv6 addresses gets, the same at every node and whether it asks or
    /// not. Hosts form no addresses from the prefix, which is longer than 64 bits (RFC 4862 §5.5.3(d)).
    #[must_use]
    pub fn advert(&self) -> Option<Advert> {
        let vnet = self.ipv6?;
        let prefix = Some((vnet.prefix, 96, self.on_link, false));
        Some(Advert { lifetime_s: ROUTER_LIFETIME_S, mtu: self.mtu, prefix })
    }

    /// The address of the gateway in the subnet of `tenant`: the source of what this node or the fabric sends to that
    /// tenant.
    #[must_use]
    pub fn ipv4_gateway(&self, tenant: u32) -> Option<u32> {
        self.subnet_of(tenant).map(|subnet| subnet.gateway)
    }
}

/// All networks and tenants.
///
/// A copy shares with the original what does not change, so that a change of one tenant costs the same however many
/// there are.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    list: Vec<Arc<Network>>,
    hots: Vec<NetworkHot>,
    /// The same in copies whose networks are the same but for policies.
    made: Arc<()>,
    by_vnid: HashMap<(DomainId, u32), NetworkId, Seeded>,
    /// By the upper 96 bits of an IPv6 address.
    by_vnet: HashMap<u128, NetworkId, Seeded>,
    attached: Attached,
}

impl Networks {
    /// No networks yet. `hasher` decides the positions in the tables.
    #[must_use]
    pub fn new(hasher: Seeded) -> Self {
        Networks {
            list: Vec::new(),
            hots: Vec::new(),
            made: Arc::new(()),
            by_vnid: HashMap::with_hasher(hasher.clone()),
            by_vnet: HashMap::with_hasher(hasher.clone()),
            attached: Attached::new(hasher),
        }
    }

    /// Adds a network of the domain with the SIR prefix `sir`.
    pub fn add(&mut self, network: Network, sir: SirPrefix) -> NetworkId {
        let id = NetworkId(self.list.len() as u16);
        self.by_vnid.insert((network.domain, network.vnid), id);
        if let Some(vnet) = &network.ipv6 {
            self.by_vnet.insert(vnet.prefix >> 32, id);
        }
        self.hots.push(NetworkHot::of(&network, sir));
        self.list.push(Arc::new(network));
        id
    }

    /// Whether both have the same networks, but for their policies and gateways to each other: one is a copy of the
    /// other in which tenants and policies changed.
    #[must_use]
    pub fn same_networks(&self, other: &Networks) -> bool {
        Arc::ptr_eq(&self.made, &other.made)
    }

    /// A network, to be changed in what its policies say.
    fn policies_of(&mut self, id: NetworkId) -> Option<&mut Network> {
        self.list.get_mut(usize::from(id.0)).map(Arc::make_mut)
    }

    /// Allows tenants of `from` to send to the selected endpoints.
    pub fn allow_send(&mut self, from: NetworkId, to: Selector) {
        if let Some(network) = self.policies_of(from) {
            network.sends.add(to);
        }
    }

    /// Allows tenants of `to` to receive from the selected endpoints.
    pub fn allow_hear(&mut self, to: NetworkId, from: Selector) {
        if let Some(network) = self.policies_of(to) {
            network.hears.add(from);
        }
    }

    /// Sets the gateway for packets from tenants of `from` to tenants of `to`.
    pub fn send_through(&mut self, from: NetworkId, to: NetworkId, gateway: Gateway) {
        if let Some(network) = self.policies_of(from) {
            network.gateways.add(to, gateway);
        }
    }

    /// Forgets all policies and gateways of a network.
    pub fn forget_policies(&mut self, id: NetworkId) {
        if let Some(network) = self.policies_of(id) {
            (network.sends, network.hears) = (PolicySet::default(), PolicySet::default());
            network.gateways = Gateways::default();
        }
    }

    /// The gateway for packets from tenants of `from` to tenants of `to`.
    #[must_use]
    pub fn gateway(&self, from: NetworkId, to: NetworkId) -> Option<&Gateway> {
        self.get(from)?.gateways.towards(to)
    }

    /// Whether tenants of `from` may send to an endpoint. Within a network they always may.
    #[must_use]
    pub fn may_send(&self, from: NetworkId, to: Endpoint) -> bool {
        to == Endpoint::Network(from) || self.get(from).is_some_and(|network| network.sends.has(to))
    }

    /// Whether tenants of `to` may receive from an endpoint. Within a network they always may.
    #[must_use]
    pub fn may_hear(&self, to: NetworkId, from: Endpoint) -> bool {
        from == Endpoint::Network(to) || self.get(to).is_some_and(|network| network.hears.has(from))
    }

    /// Adds a tenant at its attachment, with its rate limits.
    pub fn attach(&mut self, key: AttachmentKey, tenant: Tenant, rates: Rates) {
        self.attached.attach(key, tenant, rates);
    }

    /// Takes the tenant at an attachment out, and out of its groups, if there is one.
    pub fn detach(&mut self, key: AttachmentKey) {
        self.attached.detach(key);
    }

    /// The tenants, for whoever compares them with those of a copy.
    #[must_use]
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// The source bindings of a port's untagged tenants, if it has any.
    #[inline]
    #[must_use]
    pub fn bindings(&self, port: PortId) -> Option<&SourceBindings> {
        self.attached.bindings(port)
    }

    /// The hot part of a network.
    #[inline]
    #[must_use]
    pub fn hot(&self, id: NetworkId) -> Option<&NetworkHot> {
        self.hots.get(usize::from(id.0))
    }

    /// Adds the tenant at an attachment to groups of its network. It is the same member of each.
    pub fn join(&mut self, key: AttachmentKey, groups: Vec<Identifier>, member: Local) {
        self.attached.join(key, groups, member);
    }

    /// The tenants attached here that joined a group.
    #[must_use]
    pub fn members(&self, network: NetworkId, group: Identifier) -> &List<Local> {
        self.attached.members(network, group)
    }

    /// A network.
    #[must_use]
    pub fn get(&self, id: NetworkId) -> Option<&Network> {
        self.list.get(usize::from(id.0)).map(|network| &**network)
    }

    /// Whether there are no networks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All networks, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.list.iter().map(|network| &**network)
    }

    /// The network of an identifier of type 2, 3 or 4.
    #[must_use]
    pub fn of_identifier(&self, domain: DomainId, identifier: Identifier) -> Option<NetworkId> {
        self.of_vnid(domain, identifier.vnid()?)
    }

    /// The network with this virtual network identifier.
    #[inline]
    #[must_use]
    pub fn of_vnid(&self, domain: DomainId, vnid: u32) -> Option<NetworkId> {
        self.by_vnid.get(&(domain, vnid)).copied()
    }

    /// The network whose IPv6 prefix an address has.
    #[must_use]
    pub fn of_address(&self, address: u128) -> Option<NetworkId> {
        self.by_vnet.get(&(address >> 32)).copied()
    }

    /// The tenant at an attachment.
    #[must_use]
    pub fn tenant(&self, port: PortId, vlan: u16, mac: Mac) -> Option<&Tenant> {
        self.attached.tenant(&AttachmentKey { port, vlan, mac })
    }

    /// The tenant of a network with this MAC address, at any attachment of this node. If there are several it is the one
    /// on the lowest port, and there with the lowest VLAN identifier.
    #[must_use]
    pub fn with_mac(&self, network: NetworkId, mac: Mac) -> Option<&Tenant> {
        self.attached.with_mac(network, mac)
    }

    /// The rate limits of the tenant with this slot.
    #[inline]
    #[must_use]
    pub fn rates(&self, slot: u16) -> Option<&Rates> {
        self.attached.rates(slot)
    }

    /// The generation of the tenant that has this slot now; 0 if the slot is free.
    #[must_use]
    pub fn generation(&self, slot: u16) -> u64 {
        self.attached.generation(slot)
    }

    /// Whether tenants are attached to this link, so that only they may send on it.
    #[must_use]
    pub fn has_tenants(&self, port: PortId, vlan: u16) -> bool {
        self.attached.has_tenants(port, vlan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::{Adjustment, ChecksumMode, Locator, neutral};
    use crate::net::checksum::sum_of_address;
    use crate::table::hasher;
    use proptest::prelude::*;
    use std::hash::BuildHasher;

    #[test]
    fn groups_that_are_chosen_to_collide_under_one_seed_do_not_under_another() {
        let [one, other] = [1, 2].map(|seed| Networks::new(hasher(seed)));
        let at =
            |networks: &Networks, group: u64| networks.attached.hashers()[0].hash_one((NetworkId(0), group));
        let alike: Vec<u64> = (0..100_000).filter(|group| at(&one, *group) % 256 == 0).collect();
        let mut positions = [0; 256];
        alike.iter().for_each(|group| positions[at(&other, *group) as usize % 256] += 1);
        assert!(alike.len() > 200 && positions.iter().all(|count| *count < alike.len() / 10));
        // All tables of the networks have that hasher.
        let hashes = |networks: &Networks| {
            let own = [networks.by_vnid.hasher(), networks.by_vnet.hasher()];
            let tables = own.into_iter().chain(networks.attached.hashers());
            tables.map(|hasher| hasher.hash_one(7)).collect::<Vec<_>>()
        };
        assert!(hashes(&one).iter().zip(hashes(&other)).all(|(one, other)| *one != other));
    }

    proptest! {
        /// Type 3 over the 96 bits that change: the address has the same sum before translation and on the wire, and
        /// comes back.
        #[test]
        fn neutral_mapping_of_a_tenants_ipv6_address_keeps_the_sum_and_comes_back(
            upper in 0x2000_0000_0000_0000u64..0x3fff_ffff_ffff_ffff, middle: u32, low: u32,
            vnid in 1u32..1 << 28,
            sir in 0x2000_0000_0000_0000u64..0x3fff_ffff_ffff_ffff,
            locator in 0xfc00_0000_0000_0000u64..0xfdff_ffff_ffff_ffff,
        ) {
            let (sir, locator) = (SirPrefix(sir), Locator(locator));
            let prefix = u128::from(upper) << 64 | u128::from(middle) << 32;
            let vnet = Vnet::new(prefix, None, vnid, sir);
            let adjustment = Adjustment::of(sir, locator);
            let identifier = Identifier::tenant_ipv6(vnid, low);
            let wire = neutral::there(
                Identifier(neutral::add_low(identifier.0, vnet.checksum_delta)),
                adjustment,
                ChecksumMode::NeutralMap);
            let on_wire = u128::from(locator.0) << 64 | u128::from(wire.0);
            let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
            prop_assert_eq!(zero(sum_of_address(on_wire)), zero(sum_of_address(prefix | u128::from(low))));
            let back = neutral::add_low(
                neutral::back(wire, adjustment, ChecksumMode::NeutralMap).0,
                !vnet.checksum_delta);
            prop_assert!(back == identifier.0 || Some(Identifier(back)) == identifier.zero_alias());
        }

        /// Type 4, where all 128 bits change.
        #[test]
        fn neutral_mapping_of_a_group_keeps_the_sum_and_comes_back(
            scope in 0u8..16, low in 0u32..1 << 28, vnid in 1u32..1 << 28, sir: u64, locator: u64,
        ) {
            let (sir, locator) = (SirPrefix(sir), Locator(locator));
            let vnet = Vnet::new(0x2001_0db8 << 96, None, vnid, sir);
            let identifier = Identifier::tenant_multicast(vnid, scope, low);
            let adjustment = Adjustment::of(sir, locator).with(vnet.checksum_delta_of(identifier));
            let wire = neutral::there(identifier, adjustment, ChecksumMode::NeutralMap);
            let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
            let group = vnet.address_of(identifier);
            prop_assert_eq!(group >> 112, 0xff00 | u128::from(scope));
            prop_assert_eq!(zero(sum_of_address(locator.with(wire))), zero(sum_of_address(group)));
            prop_assert_eq!(vnet.checksum_delta_of(wire), vnet.checksum_delta_of(identifier));
            let back = neutral::back(wire, adjustment, ChecksumMode::NeutralMap);
            prop_assert!(back == identifier || Some(back) == identifier.zero_alias());
        }
    }
}
