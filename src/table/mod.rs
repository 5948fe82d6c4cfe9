//! The tables that workers look up. One [`Tables`] is one snapshot: the control thread publishes it, and it never
//! changes.
//!
//! The one exception is each domain's [`mapping::MappingTable`], whose mappings change one by one in place. A mapping
//! and a route both lead to an [`Action`], which holds the link header of its next hop. So a packet costs one lookup
//! and one more cache line, and a change of a neighbour touches actions, never mappings.
//!
//! Nothing here knows of packets in flight, devices or clocks.

pub mod action;
mod attached;
pub mod bindings;
mod bucket;
pub mod gateway;
mod group;
pub mod ingress;
pub mod limits;
pub mod mapping;
pub mod mem;
mod moving;
pub mod network;
pub mod policy;
pub mod peers;
pub mod port;
pub mod prefixes;
pub mod ranges;
pub mod rcu;
pub mod routes;
pub mod tenant;
mod translation;

pub use action::{Action, Hop, HopState, Local, NexthopGroup, Remote};
pub use attached::Attached;
pub use gateway::{Gateway, Gateways};
pub use ingress::{Exceptions, Ingress, Inside, TaskSources, Tasks};
pub use limits::{LimitKind, Quarantine, Rate, Rates};
pub use moving::{Absent, HoldId, InFlight, Moves, Moving, Sends, Then, Tunnel, TunnelEnd};
pub use network::{Network, NetworkId, Networks};
pub use policy::{Endpoint, Selector};
pub use port::{Port, Role};
pub use tenant::{AttachmentKey, Tenant, TenantHandle};
pub use translation::Translation;

use crate::ila::{Adjustment, ChecksumMode, Identifier, IdentifierType, SirPrefix, neutral};
use mapping::MappingTable;
use prefixes::PrefixInfo;
use ranges::PrefixSet;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Index of a port in the configuration's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PortId(pub u16);

/// Index of a SIR domain in the configuration's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DomainId(pub u8);

/// Index of an action in the snapshot; 0 stands for no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ActionId(pub u32);

/// Identity of a next hop's neighbour for the control thread, the same in all snapshots. 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HopId(pub u32);

/// What happens to a packet for an identifier without a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnMiss {
    /// It is dropped as `no_mapping`, and its sender gets an ICMPv6 error.
    #[default]
    Drop,
    /// It is routed untranslated, for example to an ILA router (ILA draft §4.6).
    Route,
}

/// The mapping of a group says: discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropGroup;

/// One SIR domain: an identifier space of its own.
pub struct Domain {
    /// Its SIR prefix.
    pub sir: SirPrefix,
    /// How transport checksums stay right (ILA draft §4.4).
    pub checksum: ChecksumMode,
    /// What happens to packets without a mapping.
    pub on_miss: OnMiss,
    /// Whether payloads without a checksum over the addresses skip neutral mapping (ILA draft §4.4).
    pub skip_unchecked: bool,
    /// Its mappings.
    pub mappings: Arc<MappingTable>,
}

/// The hasher of the small exact tables. Outsiders choose some of their keys: neighbours, and groups that tenants join.
/// So its seed is that of the process, which they must not know.
pub type Seeded = foldhash::fast::FixedState;

/// The hasher of the tables of a process with this seed.
#[must_use]
pub const fn hasher(seed: u64) -> Seeded {
    // Each bit of the seed changes all bits of the hasher's.
    Seeded::with_seed(mapping::next_seed(seed))
}

/// One snapshot of everything that a worker looks up.
#[derive(Default)]
pub struct Tables {
    /// What the upper 64 bits of an address mean.
    pub prefixes: prefixes::PrefixTable,
    /// Virtual networks and their tenants. Snapshots share them until something about them changes.
    pub networks: Arc<Networks>,
    /// Tasks by attachment, with the sources that they may use. Shared like the networks.
    pub tasks: Arc<Tasks>,
    /// Whether the authority is asked for what hosts ask for, and for mappings in use that are about to expire.
    pub asks: bool,
    /// Whether there is an authority that is asked who has a MAC address.
    pub finds_macs: bool,
    /// Whether it is asked for what packets of tenants and tasks need, too.
    pub asks_for_packets: bool,
    /// SIR domains by [`DomainId`].
    pub domains: Vec<Domain>,
    /// Actions by [`ActionId`]. Index 0 is a filler that discards.
    pub actions: Vec<Action>,
    /// Weighted choices among actions, by the index in [`Action::NexthopGroup`].
    pub nexthop_groups: Vec<NexthopGroup>,
    /// The actions of copies to groups, by the index in [`Action::Group`].
    pub groups: Vec<Vec<ActionId>>,
    /// Routes by longest prefix.
    pub routes: routes::Routes,
    /// Known neighbours of connected subnets, by port and address.
    pub neighbours: HashMap<(PortId, u128), Hop, Seeded>,
    /// Ports by [`PortId`].
    pub ports: Vec<Port>,
    /// Addresses of global scope of all ports.
    pub own: HashSet<u128, Seeded>,
    /// Seed of the hash that picks one of several locators or next hops for a flow. Outsiders choose the flows, and must
    /// not know it.
    pub flow_seed: u64,
    /// How tenants' IPv4 becomes IPv6.
    pub translation: Translation,
    /// Prefixes that tenants can never reach.
    pub infrastructure: PrefixSet,
    /// Prefixes that are inside, for external ports.
    pub inside: Inside,
    /// Attachments whose VM or task moves.
    pub moves: Moves,
}

impl Tables {
    /// The SIR domain with this index.
    #[inline(always)]
    #[must_use]
    pub fn domain(&self, id: DomainId) -> Option<&Domain> {
        self.domains.get(usize::from(id.0))
    }

    /// The action with this index.
    #[inline(always)]
    #[must_use]
    pub fn action(&self, id: ActionId) -> Option<&Action> {
        self.actions.get(id.0 as usize)
    }

    /// The action with this index. Prefetches its cache line.
    #[inline(always)]
    #[must_use]
    pub fn prefetch(&self, id: ActionId) -> Option<&Action> {
        let action = self.action(id)?;
        mem::prefetch(action);
        Some(action)
    }

    /// The action with this index. For a nexthop group, the action that the flow with this hash uses.
    #[inline]
    #[must_use]
    pub fn resolve(&self, id: ActionId, flow: impl FnOnce() -> u32) -> Option<&Action> {
        self.choose(self.action(id)?, flow)
    }

    /// The index of the action that [`Self::resolve`] gives.
    #[must_use]
    pub fn member(&self, id: ActionId, flow: impl FnOnce() -> u32) -> ActionId {
        let group = self.action(id).and_then(Action::nexthop_group);
        let group = group.and_then(|index| self.nexthop_groups.get(index as usize));
        group.map_or(id, |group| group.choose(flow()))
    }

    /// The same as [`Self::resolve`], for an action at hand.
    #[inline]
    #[must_use]
    pub fn choose<'t>(&'t self, action: &'t Action, flow: impl FnOnce() -> u32) -> Option<&'t Action> {
        match action.nexthop_group() {
            Some(index) => {
                let chosen = self.nexthop_groups.get(index as usize)?.choose(flow());
                self.action(chosen).filter(|action| action.nexthop_group().is_none())
            }
            None => Some(action),
        }
    }

    /// The delivery to an attachment of this node that an action leads to, be it here, expected or gone.
    #[must_use]
    pub fn attached<'t>(&'t self, action: &'t Action) -> Option<&'t Local> {
        match action {
            Action::Moving(index) => self.moves.moving(*index).map(|moving| &moving.local),
            action => action.local(),
        }
    }

    /// The SIR address and the checksum mode of an ILA address under any known locator, of this or another node. `None`
    /// for all other addresses.
    ///
    /// For a tenant's IPv6 address it is the tenant's own address. Of two zero aliases it gives the one that has a
    /// mapping.
    #[must_use]
    pub fn sir_of(&self, address: u128) -> Option<(u128, ChecksumMode)> {
        let prefix_info = self.prefixes.of((address >> 64) as u64)?;
        let (id, adjustment) = prefix_info.local.or(prefix_info.remote)?;
        let domain = self.domain(id)?;
        if let Some(vnet) = self.vnet_of(id, Identifier::of_address(address)) {
            // The sender wrote the tenant's own address, not a SIR address.
            let adjustment = adjustment.with(vnet.checksum_delta_of(Identifier::of_address(address)));
            let identifier = domain.sir_identifier(address as u64, adjustment)?;
            return Some((vnet.address_of(Identifier(identifier)), domain.checksum));
        }
        let identifier = domain.sir_identifier(address as u64, adjustment)?;
        Some((domain.sir.with(Identifier(identifier)), domain.checksum))
    }
}

impl Tables {
    /// The endpoint of an address that a packet comes from or that its sender wrote.
    ///
    /// `None` for addresses that no packet comes from and no sender writes: those of unknown networks, identifiers
    /// under a locator, and reserved identifiers.
    #[must_use]
    pub fn endpoint(&self, address: u128) -> Option<Endpoint> {
        if let Some(network) = self.networks.of_address(address) {
            return Some(Endpoint::Network(network));
        }
        let identifier = Identifier::of_address(address);
        let Some(prefix_info) = self.prefixes.of((address >> 64) as u64) else {
            return Some(Endpoint::Outside);
        };
        if identifier.kind() == IdentifierType::Interface {
            return Some(Endpoint::Outside);
        }
        let Some(domain) = prefix_info.sir else {
            let ila = prefix_info.local.is_some() || prefix_info.remote.is_some();
            return if ila { None } else { Some(Endpoint::Outside) };
        };
        if identifier.neutral() {
            return None;
        }
        match identifier.kind() {
            IdentifierType::LocallyUnique => Some(Endpoint::Task(domain, identifier)),
            _ => self.networks.of_identifier(domain, identifier).map(Endpoint::Network),
        }
    }

    /// Whether an address is in ILA form: an identifier under a known locator. Nobody sends from such an address, and
    /// only the fabric sends to one.
    #[must_use]
    pub fn is_ila_form(&self, address: u128) -> bool {
        Identifier::of_address(address).kind() != IdentifierType::Interface && self.is_under_locator(address)
    }

    /// Whether an address is under a known locator: in ILA form, or that of a node.
    #[must_use]
    pub fn is_under_locator(&self, address: u128) -> bool {
        self.prefixes.of((address >> 64) as u64).is_some_and(PrefixInfo::is_locator)
    }

    /// The network of an address in ILA form.
    #[must_use]
    pub fn network_of_ila(&self, address: u128) -> Option<Endpoint> {
        let prefix_info = self.prefixes.of((address >> 64) as u64)?;
        let (domain, _) = prefix_info.local.or(prefix_info.remote)?;
        self.networks.of_identifier(domain, Identifier::of_address(address)).map(Endpoint::Network)
    }

    /// Whether an address is inside, so that no packet from outside has it as its source.
    #[must_use]
    pub fn is_inside(&self, address: u128) -> bool {
        let prefix_info = self.prefixes.of((address >> 64) as u64);
        prefix_info.is_some_and(|info| info.sir.is_some() || info.is_locator())
            || self.inside.sources.contains(address)
    }

    /// Whether an address belongs to a tenant of a network that is known here.
    #[must_use]
    pub fn is_tenants(&self, address: u128) -> bool {
        !self.networks.is_empty() && matches!(self.endpoint(address), Some(Endpoint::Network(_)))
    }

    /// The network of the tenant with this address: its own IPv6 address, or the SIR address of its IPv4 address.
    #[must_use]
    pub fn network_of(&self, address: u128) -> Option<NetworkId> {
        self.networks.of_address(address).or_else(|| {
            let domain = self.prefixes.of((address >> 64) as u64)?.sir?;
            let identifier = Identifier::of_address(address);
            let ipv4 = identifier.kind() == IdentifierType::TenantIpv4 && !identifier.neutral();
            self.networks.of_identifier(domain, identifier).filter(|_| ipv4)
        })
    }

    /// The actions of the copies of a packet to a group of `network`: those of the group's own mapping, or else those
    /// of the network. Empty if neither has any.
    ///
    /// # Errors
    /// [`DropGroup`] if the group's mapping says: discard.
    pub fn replicas(&self, network: &Network, group: Identifier) -> Result<&[ActionId], DropGroup> {
        let mapped = self.domain(network.domain).and_then(|domain| {
            let id = domain.mappings.lookup(group.0)?;
            self.action(id)
        });
        let action = mapped.or_else(|| self.action(network.replicas));
        match action {
            Some(Action::Group(index)) => Ok(self.groups.get(*index as usize).map_or(&[], Vec::as_slice)),
            Some(Action::Blackhole) if mapped.is_some() => Err(DropGroup),
            Some(
                Action::Blackhole
                | Action::Remote(_)
                | Action::Local(_)
                | Action::Forward(_)
                | Action::Connected(_)
                | Action::NexthopGroup(_)
                | Action::Moving(_),
            )
            | None => Ok(&[]),
        }
    }

    /// The IPv6 prefix of the network that an identifier of type 3 or 4 belongs to.
    #[must_use]
    pub fn vnet_of(&self, domain: DomainId, identifier: Identifier) -> Option<&network::Vnet> {
        if !matches!(identifier.kind(), IdentifierType::TenantIpv6 | IdentifierType::TenantMulticast) {
            return None;
        }
        self.networks.get(self.networks.of_identifier(domain, identifier)?)?.ipv6.as_ref()
    }
}

impl Domain {
    /// The identifier that the identifier `wire` stands for under a locator with this adjustment. `None` for interface
    /// identifiers and reserved types. Of two zero aliases it gives the one that has a mapping.
    #[must_use]
    pub fn sir_identifier(&self, wire: u64, adjustment: Adjustment) -> Option<u64> {
        let wire = Identifier(wire);
        if matches!(wire.kind(), IdentifierType::Interface | IdentifierType::Reserved(_)) {
            return None;
        }
        let identifier = neutral::back(wire, adjustment, self.checksum);
        match identifier.zero_alias().filter(|_| neutral::was_mapped(wire, self.checksum)) {
            Some(zero_alias)
                if self.mappings.lookup(identifier.0).is_none()
                    && self.mappings.lookup(zero_alias.0).is_some() =>
            {
                Some(zero_alias.0)
            }
            _ => Some(identifier.0),
        }
    }
}
