//! Identifiers that wait to be asked for: networks take turns, and when there is no room, who has most of it gives way. So
//! tenants of one network, whatever they send to, keep back nobody of another one.

use super::model::{Key, Network};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Identifiers that wait, at most.
pub(super) const WAITING: usize = 4_096;

/// A virtual network, or the tasks of a SIR domain, which have no VNID.
type Group = Network;

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Of each group, in their order.
    of: BTreeMap<Group, VecDeque<Key>>,
    /// How many each has: the largest is the last.
    sizes: BTreeSet<(usize, Group)>,
    len: usize,
    /// Whose turn was last.
    last: Option<Group>,
}

/// What became of one that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It waits.
    Waits,
    /// It waits in the place of this one, of a network that had most.
    InPlaceOf(Key),
    /// There is no room: its own network has most of it.
    Lost,
}

impl Waiting {
    /// One more is needed.
    pub(super) fn push(&mut self, key: Key) -> Came {
        let group = group(key);
        if self.len < WAITING {
            self.put(group, key);
            return Came::Waits;
        }
        let own = self.of.get(&group).map_or(0, VecDeque::len);
        let Some((most, largest)) = self.sizes.last().copied() else { return Came::Lost };
        // One more of its own would make it the largest.
        if own + 1 >= most {
            return Came::Lost;
        }
        let Some(newest) = self.take(largest, VecDeque::pop_back) else { return Came::Lost };
        self.put(group, key);
        Came::InPlaceOf(newest)
    }

    /// The next one: of each network in turn.
    pub(super) fn pop(&mut self) -> Option<Key> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.of.range((after, Bound::Unbounded)).next().or_else(|| self.of.iter().next());
        let group = *next?.0;
        self.last = Some(group);
        self.take(group, VecDeque::pop_front)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// None waits any more.
    pub(super) fn clear(&mut self) {
        *self = Waiting::default();
    }

    fn put(&mut self, group: Group, key: Key) {
        let all = self.of.entry(group).or_default();
        self.sizes.remove(&(all.len(), group));
        all.push_back(key);
        self.sizes.insert((all.len(), group));
        self.len += 1;
    }

    fn take(&mut self, group: Group, which: fn(&mut VecDeque<Key>) -> Option<Key>) -> Option<Key> {
        let all = self.of.get_mut(&group)?;
        self.sizes.remove(&(all.len(), group));
        let key = which(all)?;
        self.len -= 1;
        match all.len() {
            0 => _ = self.of.remove(&group),
            len => _ = self.sizes.insert((len, group)),
        }
        Some(key)
    }
}

fn group(key: Key) -> Group {
    key.network().unwrap_or((key.sir_prefix, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::Identifier;

    const SIR: u64 = 0x2001_0db8_dddd_0000;

    fn of(vnid: u32, n: u32) -> Key {
        Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv4(vnid, n).0 }
    }

    fn task(n: u64) -> Key {
        Key { sir_prefix: SIR, identifier: 1 << 61 | n }
    }

    #[test]
    fn networks_take_turns_and_each_keeps_its_order() {
        let mut waiting = Waiting::default();
        for key in [of(7, 1), of(7, 2), of(7, 3), task(1), of(9, 1), task(2)] {
            assert_eq!(waiting.push(key), Came::Waits);
        }
        let all: Vec<Key> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(all, [task(1), of(7, 1), of(9, 1), task(2), of(7, 2), of(7, 3)]);
        assert_eq!((waiting.len(), waiting.sizes.len(), waiting.of.len()), (0, 0, 0));
    }

    #[test]
    fn a_flood_of_one_network_keeps_back_nobody_of_another_one() {
        let mut waiting = Waiting::default();
        let flood = |waiting: &mut Waiting, from: u32, count: u32| {
            (from..from + count).filter(|n| waiting.push(of(7, *n)) == Came::Lost).count()
        };
        assert_eq!(flood(&mut waiting, 0, 10_000), 10_000 - WAITING);
        // Others come in its place, the newest of the flood first, and are next but one.
        assert_eq!(waiting.push(of(9, 1)), Came::InPlaceOf(of(7, WAITING as u32 - 1)));
        assert_eq!(waiting.push(task(1)), Came::InPlaceOf(of(7, WAITING as u32 - 2)));
        assert_eq!(
            (waiting.pop(), waiting.pop(), waiting.pop()),
            (Some(task(1)), Some(of(7, 0)), Some(of(9, 1)))
        );
        // Two floods share what there is, to one.
        waiting.clear();
        for n in 0..20_000 {
            waiting.push(of(7, n));
            waiting.push(of(9, n));
            waiting.push(of(9, 50_000 + n));
        }
        assert_eq!(waiting.len(), WAITING);
        let sizes: Vec<usize> = waiting.of.values().map(VecDeque::len).collect();
        assert!(sizes.len() == 2 && sizes[0].abs_diff(sizes[1]) <= 2, "{sizes:?}");
    }
}
