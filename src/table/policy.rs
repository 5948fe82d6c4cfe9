//! Policies, as a worker looks them up: whom the tenants of a network may send to, and from whom they may receive
//! (ILA draft §5.13).
//!
//! Without a policy nothing crosses the edge of a network. Each direction needs its own policy, and there is no state
//! of passed packets.

use super::{DomainId, NetworkId};
use crate::ila::Identifier;

/// The owner of an address, as policies tell owners apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A tenant of this network.
    Network(NetworkId),
    /// A task, which tenants see as a service.
    Task(DomainId, Identifier),
    /// Any other address, which is only routed.
    Outside,
}

/// The endpoints that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// The tenants of a network.
    Network(NetworkId),
    /// All tasks of a SIR domain.
    Tasks(DomainId),
    /// One task.
    Task(DomainId, Identifier),
    /// All addresses that are neither a tenant's nor a task's.
    Outside,
}

/// A set of selected endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySet {
    /// Sorted.
    networks: Vec<NetworkId>,
    /// One bit for each [`DomainId`], of which there are at most 16.
    domains: u16,
    /// Sorted.
    tasks: Vec<(DomainId, u64)>,
    outside: bool,
}

impl PolicySet {
    /// Adds the endpoints that a policy selects.
    pub fn add(&mut self, named: Selector) {
        match named {
            Selector::Network(id) => insert(&mut self.networks, id),
            Selector::Tasks(domain) => self.domains |= bit(domain),
            Selector::Task(domain, identifier) => insert(&mut self.tasks, (domain, identifier.0)),
            Selector::Outside => self.outside = true,
        }
    }

    /// Whether the set has an endpoint.
    #[must_use]
    pub fn has(&self, endpoint: Endpoint) -> bool {
        match endpoint {
            Endpoint::Network(id) => self.networks.binary_search(&id).is_ok(),
            Endpoint::Task(domain, identifier) => {
                self.domains & bit(domain) != 0 || self.tasks.binary_search(&(domain, identifier.0)).is_ok()
            }
            Endpoint::Outside => self.outside,
        }
    }
}

/// The bit of a domain; 0 for a domain beyond the 16 that a configuration can have.
const fn bit(domain: DomainId) -> u16 {
    if domain.0 < 16 { 1 << domain.0 } else { 0 }
}

/// Adds to a sorted list, once.
fn insert<T: Ord>(list: &mut Vec<T>, entry: T) {
    if let Err(at) = list.binary_search(&entry) {
        list.insert(at, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_reached_unless_it_was_said() {
        let task = |domain, low| Endpoint::Task(DomainId(domain), Identifier((0x2000_u64 << 48) | low));
        let all = [
            Endpoint::Network(NetworkId(1)),
            Endpoint::Network(NetworkId(2)),
            task(0, 1),
            task(0, 2),
            task(15, 1),
            task(16, 1),
            Endpoint::Outside,
        ];
        let reached = |named: &[Selector]| {
            let mut policies = PolicySet::default();
            named.iter().for_each(|named| policies.add(*named));
            all.map(|endpoint| policies.has(endpoint))
        };
        assert_eq!(reached(&[]), [false; 7]);
        let one = |at: usize| std::array::from_fn(|n| n == at);
        assert_eq!(reached(&[Selector::Network(NetworkId(2)), Selector::Network(NetworkId(2))]), one(1));
        assert_eq!(reached(&[Selector::Task(DomainId(0), Identifier((0x2000_u64 << 48) | 2))]), one(3));
        assert_eq!(reached(&[Selector::Tasks(DomainId(15))]), one(4));
        assert_eq!(reached(&[Selector::Tasks(DomainId(16))]), [false; 7]);
        assert_eq!(reached(&[Selector::Outside]), one(6));
        let both = [Selector::Tasks(DomainId(0)), Selector::Network(NetworkId(1))];
        assert_eq!(reached(&both), [true, false, true, true, false, false, false]);
    }
}
