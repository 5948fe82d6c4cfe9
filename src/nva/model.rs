//! What the registry holds and how it is changed.

use super::failover::Group;
use super::mobility::{Move, MoveId};
use crate::config::ObjectName;
use crate::ila::generate::Registrar;
use crate::ila::{Locator, SirPrefix};
use crate::net::Mac;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use super::key::{Key, Network};
pub use super::owner::Owner;
pub use crate::mapping::{LocatorChoice as Choice, MAX_LOCATORS};

/// What is known of one identifier. One without locators was released: it is kept for its owner until no cache holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is, in ascending order; none once it was released.
    pub choices: Vec<Choice>,
    /// Name of the NVE that registered it last.
    pub owner: Owner,
    /// Rises with every change.
    pub sequence: u64,
    /// The MAC address of the tenant or task that has it, if its NVE said so.
    pub mac: Option<Mac>,
    /// The sequence with which it came to have this MAC address: no later change in place gives that away, and it moves
    /// with a tenant. Without a MAC address it means nothing.
    pub since: u64,
}

impl Record {
    /// Whether somebody has the identifier.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.choices.is_empty()
    }
}

/// What an NVE has of an identifier that is attached to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// Where it is.
    pub choices: Vec<Choice>,
    /// The MAC address of the tenant or task.
    pub mac: Option<Mac>,
}

impl From<Vec<Choice>> for Binding {
    fn from(choices: Vec<Choice>) -> Self {
        Binding { choices, mac: None }
    }
}

/// A state of the registry: what an NVE knows, or has in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Name of the registry's history; empty: nothing is known.
    pub epoch: Vec<u8>,
    /// Everything up to this revision.
    pub revision: u64,
}

/// What an NVE may say: the secure binding of its name (ILA draft §6, VMM draft §10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nve {
    /// Its locators, each with the SIR prefix of its domain.
    pub locators: HashMap<Locator, u64>,
    /// Identifiers that it may have at a time.
    pub max_identifiers: usize,
    /// Whether it is an ILA router, which may say who sends through it what could go direct.
    pub router: bool,
    /// Whether it is told of all networks and policies that operators made, and not only of those of its tenants.
    pub all_networks: bool,
    /// Where its end of tunnels is, if it has one.
    pub vtep: Option<IpAddr>,
}

/// Names something that operators want at NVEs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The NVE of an attachment; empty for networks and policies.
    pub nve: String,
    /// Its name there.
    pub name: ObjectName,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nve.as_str() {
            "" => self.name.fmt(f),
            nve => write!(f, "{} at {nve}", self.name),
        }
    }
}

/// Something that operators want at NVEs: a network, a policy or an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What the operator wrote: an entry of a node's file.
    pub document: String,
    /// Rises with every change.
    pub sequence: u64,
}

/// What the authority allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A host block, from which an NVE makes identifiers of tasks (ILA draft appendix A.2).
    Block(Registrar),
    /// A locator out of a pool.
    Locator(Locator),
}

/// Names an allocation: each is of one SIR domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationKey {
    /// Upper 64 bits of the SIR addresses of the domain.
    pub sir_prefix: u64,
    /// What is allocated.
    pub resource: Resource,
}

impl fmt::Display for AllocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sir = SirPrefix(self.sir_prefix);
        match self.resource {
            Resource::Block(block) => write!(f, "block {block} of {sir}"),
            Resource::Locator(locator) => write!(f, "locator {locator} of {sir}"),
        }
    }
}

/// Whose something is that the authority allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Name of the NVE.
    pub owner: String,
    /// Rises with every change: each renewal of a lease is one.
    pub sequence: u64,
    /// Of a block: the highest identifier of it that its owner ever registered; 0: none. Nobody has what is above it.
    pub reached: u64,
    /// Of a block: it was given back, and rests until no cache can hold anything of it.
    pub returned: bool,
    /// Of a block: its owner may use it for so long after it asked, whichever authority leased it; 0: that was not written
    /// down.
    pub lease_ms: u64,
}

/// Changes that become durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The records after it, each key once.
    pub writes: Vec<(Key, Record)>,
    /// Keys of released records that are there no longer. NVEs were told of the release, and are told nothing of this.
    pub deletes: Vec<Key>,
    /// The registry, restored from a backup, waits no longer for NVEs to register what they have.
    pub ends_restoration: bool,
    /// NVEs that said, since the registry was restored, that everything that they have was registered; of a shared store
    /// only.
    pub completed: Vec<Arc<str>>,
    /// What operators want at NVEs after it, each key once; none: it is wanted no longer.
    pub objects: Vec<(ObjectKey, Option<Object>)>,
    /// What is allocated after it, each key once; none: it is free.
    pub allocations: Vec<(AllocationKey, Option<Allocation>)>,
    /// Moves after it, each once; none: it is over.
    pub moves: Vec<(MoveId, Option<Move>)>,
    /// Groups by their names after it, each once; none: it is declared no longer.
    pub groups: Vec<(String, Option<Group>)>,
}

impl Transaction {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Transaction { writes, deletes, objects, moves, groups, ends_restoration, completed, allocations } =
            self;
        let is_same = writes.is_empty() && deletes.is_empty() && objects.is_empty() && moves.is_empty();
        is_same && groups.is_empty() && completed.is_empty() && allocations.is_empty() && !ends_restoration
    }
}
