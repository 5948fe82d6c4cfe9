//! What a port admits of packets that no tenant sent (BCP 38, BCP 84, ILA draft §6).

use super::ranges::PrefixSet;
use super::{AttachmentKey, Seeded};
use crate::shared::ShardMap;

/// What a port admits of packets that no tenant sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingress {
    /// Everything: the hosts of a fabric filter at their own edges.
    Fabric,
    /// Everything but sources of tenants and of the node itself.
    Open,
    /// Nothing that is inside, but for exceptions.
    Strict(Exceptions),
    /// What is bound to the task that sent it.
    Tasks,
}

/// Exceptions of a strict external port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exceptions {
    /// Sources that are admitted although they are inside.
    pub sources: PrefixSet,
    /// Destinations that are admitted although they are protected.
    pub destinations: PrefixSet,
}

/// The prefixes that are inside, beside SIR prefixes, locators and the prefixes of virtual networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inside {
    /// Prefixes from which nothing comes in from outside: infrastructure, the subnets of fabric and access ports, and
    /// the prefixes of tasks.
    pub sources: PrefixSet,
    /// Prefixes to which nothing goes from outside: infrastructure, and the subnets of fabric ports.
    pub destinations: PrefixSet,
}

/// The sources of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSources {
    /// The SIR addresses of its identifiers.
    pub addresses: Vec<u128>,
    /// Further prefixes that it may send from.
    pub prefixes: PrefixSet,
}

/// The tasks of this node by attachment.
pub type Tasks = ShardMap<AttachmentKey, TaskSources, Seeded>;

impl TaskSources {
    /// Whether the task may send from `address`.
    #[inline]
    #[must_use]
    pub fn has(&self, address: u128) -> bool {
        self.addresses.contains(&address) || self.prefixes.contains(address)
    }
}
