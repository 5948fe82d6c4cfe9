//! What a worker looks up: one [`Tables`] is one snapshot, published by the control thread and never changed.
//!
//! The exception is each domain's [`mapping::MappingTable`], whose single mappings change in place (see there).
//! A mapping names an [`Action`]; so does a route. An action holds the ready link header of its next hop, so that a
//! packet costs one lookup and one further line, and a neighbour's change touches actions, never mappings.

pub mod action;
pub mod bindings;
mod bucket;
pub mod gateway;
mod group;
pub mod limits;
pub mod mapping;
pub mod mem;
pub mod network;
pub mod policy;
pub mod port;
pub mod prefixes;
pub mod rcu;
pub mod routes;

pub use action::{Action, Hop, HopState, Local, NexthopGroup, Remote};
pub use gateway::{Gateway, Gateways};
pub use limits::{LimitKind, Quarantine, Rate, Rates};
pub use network::{AttachmentKey, Network, NetworkId, Networks, Tenant, TenantHandle};
pub use policy::{Endpoint, Selector};
pub use port::{Port, Role};

use crate::ila::{Adjustment, ChecksumMode, Identifier, IdentifierType, SirPrefix, neutral};
use mapping::MappingTable;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Index of a port in the configuration's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PortId(pub u16);

/// Index of a SIR domain in the configuration's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DomainId(pub u8);

/// Index of an action in the snapshot; 0 is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ActionId(pub u32);

/// Identity of a neighbour to the control thread; stays the same over snapshots. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HopId(pub u32);

/// What happens to a packet for an identifier without a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnMiss {
    /// Dropped as `no_mapping`, with an ICMPv6 error.
    #[default]
    Drop,
    /// Routed as it is, for example to an ILA router (ILA draft §4.6).
    Route,
}

/// A group's mapping says: discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropGroup;

/// One SIR domain: an identifier space of its own.
pub struct Domain {
    /// Its SIR prefix.
    pub sir: SirPrefix,
    /// What happens to transport checksums.
    pub checksum: ChecksumMode,
    /// What happens to packets without a mapping.
    pub on_miss: OnMiss,
    /// Whether payloads without a checksum over the addresses skip neutral mapping (§4.4).
    pub skip_unchecked: bool,
    /// Its mappings.
    pub mappings: Arc<MappingTable>,
}

/// One snapshot of everything that a worker looks up.
#[derive(Default)]
pub struct Tables {
    /// Meaning of the upper 64 bits of an address.
    pub prefixes: prefixes::PrefixTable,
    /// Virtual networks and their tenants; the same in all snapshots between which nothing about them changed.
    pub networks: Arc<Networks>,
    /// SIR domains by [`DomainId`].
    pub domains: Vec<Domain>,
    /// Actions by [`ActionId`]; index 0 is a filler that discards.
    pub actions: Vec<Action>,
    /// Weighted choices among actions.
    pub nexthop_groups: Vec<NexthopGroup>,
    /// Where copies go, one for each action: see [`Action::Group`].
    pub groups: Vec<Vec<ActionId>>,
    /// Routes by longest prefix.
    pub routes: routes::Routes,
    /// Resolved neighbours of connected subnets.
    pub neighbours: HashMap<(PortId, u128), Hop, foldhash::fast::FixedState>,
    /// Ports by [`PortId`].
    pub ports: Vec<Port>,
    /// All own addresses of global scope, of every port.
    pub own: HashSet<u128, foldhash::fast::FixedState>,
    /// Prefixes that tenants can never reach; any action stands for yes.
    pub infrastructure: routes::Routes,
}

impl Tables {
    /// A SIR domain.
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

    /// The same, and asks for its line.
    #[inline(always)]
    #[must_use]
    pub fn prefetch(&self, id: ActionId) -> Option<&Action> {
        let action = self.action(id)?;
        mem::prefetch(action);
        Some(action)
    }

    /// Follows a weighted choice to the action that the flow with this hash uses.
    #[inline]
    #[must_use]
    pub fn resolve(&self, id: ActionId, flow: impl FnOnce() -> u32) -> Option<&Action> {
        self.choose(self.action(id)?, flow)
    }

    /// The index of that action.
    #[must_use]
    pub fn member(&self, id: ActionId, flow: impl FnOnce() -> u32) -> ActionId {
        let group = self.action(id).and_then(Action::nexthop_group);
        let group = group.and_then(|index| self.nexthop_groups.get(index as usize));
        group.map_or(id, |group| group.choose(flow()))
    }

    /// The same as [`Self::resolve`] for an action already at hand.
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

    /// The SIR address, and its domain's mode, of an ILA address under any known locator, own or remote; `None` for all other addresses.
    ///
    /// Of two identifiers that neutral mapping cannot tell apart it gives the one that has a mapping.
    #[must_use]
    pub fn sir_of(&self, address: u128) -> Option<(u128, ChecksumMode)> {
        let prefix_info = self.prefixes.of((address >> 64) as u64)?;
        let (id, adjustment) = prefix_info.local.or(prefix_info.remote)?;
        let domain = self.domain(id)?;
        if let Some(vnet) = self.vnet_of(id, Identifier::of_address(address)) {
            // The tenant's own address, not a SIR address, is what the sender wrote.
            let adjustment = adjustment.with(vnet.checksum_delta_of(Identifier::of_address(address)));
            let identifier = domain.sir_identifier(address as u64, adjustment)?;
            return Some((vnet.address_of(Identifier(identifier)), domain.checksum));
        }
        let identifier = domain.sir_identifier(address as u64, adjustment)?;
        Some((domain.sir.with(Identifier(identifier)), domain.checksum))
    }
}

impl Tables {
    /// Whose an address is that a packet comes from, or that its sender wrote; `None` for addresses that nobody sends
    /// from or writes: those of networks that are not known here, identifiers under a locator, reserved ones.
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

    /// Whether an address is that of a tenant of a network that is known here.
    #[must_use]
    pub fn is_tenants(&self, address: u128) -> bool {
        !self.networks.is_empty() && matches!(self.endpoint(address), Some(Endpoint::Network(_)))
    }

    /// The network whose tenant has this address, its own or the SIR address of its IPv4 address.
    #[must_use]
    pub fn network_of(&self, address: u128) -> Option<NetworkId> {
        self.networks.of_address(address).or_else(|| {
            let domain = self.prefixes.of((address >> 64) as u64)?.sir?;
            let identifier = Identifier::of_address(address);
            let ipv4 = identifier.kind() == IdentifierType::TenantIpv4 && !identifier.neutral();
            self.networks.of_identifier(domain, identifier).filter(|_| ipv4)
        })
    }

    /// Where the copies of a packet to a group of `network` go: to the locators of its own mapping, or else to those of
    /// the network. Nowhere if its mapping says so, which is an error.
    ///
    /// # Errors
    /// The mapping says: discard.
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
                | Action::NexthopGroup(_),
            )
            | None => Ok(&[]),
        }
    }

    /// The prefix of the network that an identifier of type 3 or 4 belongs to.
    #[must_use]
    pub fn vnet_of(&self, domain: DomainId, identifier: Identifier) -> Option<&network::Vnet> {
        if !matches!(identifier.kind(), IdentifierType::TenantIpv6 | IdentifierType::TenantMulticast) {
            return None;
        }
        self.networks.get(self.networks.of_identifier(domain, identifier)?)?.ipv6.as_ref()
    }
}

impl Domain {
    /// The identifier behind one on the wire; `None` for interface identifiers and reserved types.
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
