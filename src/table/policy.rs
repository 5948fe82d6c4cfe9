//! Whom the tenants of a network may send to, and whom they hear: what policies say, as a worker asks it.
//!
//! Nobody, unless it was said. Each direction stands for itself, and nothing is remembered of packets that passed.

use super::{DomainId, NetworkId};
use crate::ila::Identifier;

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A tenant's of this network.
    Network(NetworkId),
    /// A task's, which is a service to tenants.
    Task(DomainId, Identifier),
    /// Anybody else's: what is only routed.
    Outside,
}

/// Whom a policy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// The tenants of a network.
    Network(NetworkId),
    /// All tasks of a SIR domain.
    Tasks(DomainId),
    /// One task.
    Task(DomainId, Identifier),
    /// All that is neither tenant nor task.
    Outside,
}

/// Some parties, to be asked whether one is among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySet {
    /// In order.
    networks: Vec<NetworkId>,
    /// One bit by [`DomainId`], of which there are at most 16.
    domains: u16,
    /// In order.
    tasks: Vec<(DomainId, u64)>,
    outside: bool,
}

impl PolicySet {
    /// Adds whom a policy names.
    pub fn add(&mut self, named: Selector) {
        match named {
            Selector::Network(id) => insert(&mut self.networks, id),
            Selector::Tasks(domain) => self.domains |= bit(domain),
            Selector::Task(domain, identifier) => insert(&mut self.tasks, (domain, identifier.0)),
            Selector::Outside => self.outside = true,
        }
    }

    /// Whether a party is among them.
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

/// No bit for what no configuration has.
const fn bit(domain: DomainId) -> u16 {
    if domain.0 < 16 { 1 << domain.0 } else { 0 }
}

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
            let mut reach = PolicySet::default();
            named.iter().for_each(|named| reach.add(*named));
            all.map(|endpoint| reach.has(endpoint))
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
