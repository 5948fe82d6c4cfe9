//! IPv6 routes by longest prefix match, a burst at a time: binary search over prefix lengths in one hash table
//! (Waldvogel, Varghese, Turner, Plattner: "Scalable High Speed IP Routing Lookups", SIGCOMM 1997).
//!
//! A lookup probes about log2(number of distinct lengths) slots, each a quarter of a cache line, and asks for the next
//! one before it is needed. Measured against a compressed trie (crate `poptrie`, the oracle of the test below): at
//! 100 000 routes the trie's chain of dependent cache misses costs about ten times as much.
//!
//! Prefixes of up to 64 bits live in the table. Those that are longer, which are few, leave a mark at 64 bits and are
//! looked for in a map, longest first.

use super::ActionId;
use super::mem::prefetch;
use crate::net::Ipv6Prefix;
use std::collections::HashMap;

/// The length at which the table ends.
const SHORT: u8 = 64;

/// One known prefix, or a mark that longer ones exist.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
struct Slot {
    bits: u64,
    /// The longest match for these bits at this length or shorter; 0 for none.
    action: u32,
    length: u8,
    used: bool,
    /// Prefixes longer than 64 bits exist below.
    longer: bool,
}

/// The routes of one snapshot: destination → action.
#[derive(Default)]
pub struct Routes {
    slots: Vec<Slot>,
    /// Distinct lengths in the table, ascending; the default route's 0 is not among them.
    lengths: Vec<u8>,
    default: ActionId,
    long: HashMap<(u8, u128), ActionId, foldhash::fast::FixedState>,
    /// Distinct lengths over 64, descending.
    long_lengths: Vec<u8>,
    count: usize,
}

/// One lookup under way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search {
    best: u32,
    /// Lengths still in question: `low..high` of the list.
    low: u8,
    high: u8,
    longer: bool,
    at: u32,
}

const fn masked(high: u64, length: u8) -> u64 {
    if length == 0 { 0 } else { high & (u64::MAX << (64 - length)) }
}

impl Routes {
    /// Builds the table of `routes`; of two with the same prefix the later one counts.
    pub fn build(routes: impl IntoIterator<Item = (Ipv6Prefix, ActionId)>) -> Self {
        let all: HashMap<(u8, u128), ActionId, foldhash::fast::FixedState> =
            routes.into_iter().map(|(prefix, action)| ((prefix.length(), prefix.bits()), action)).collect();
        let mut this = Routes { count: all.len(), ..Routes::default() };
        let mut seen = [false; 129];
        for (length, _) in all.keys() {
            seen[usize::from((*length).min(SHORT))] = true;
            if *length > SHORT && !this.long_lengths.contains(length) {
                this.long_lengths.push(*length);
            }
        }
        this.lengths = (1..=SHORT).filter(|length| seen[usize::from(*length)]).collect();
        this.long_lengths.sort_unstable_by(|a, b| b.cmp(a));
        this.default = all.get(&(0, 0)).copied().unwrap_or_default();
        let mut table: HashMap<(u8, u64), Slot, foldhash::fast::FixedState> = HashMap::default();
        for (length, bits) in all.keys().filter(|(length, _)| *length > 0) {
            let high = (bits >> 64) as u64;
            let target = (*length).min(SHORT);
            // The lengths that a search for this prefix meets on its way.
            let (mut low, mut end) = (0, this.lengths.len());
            while low < end {
                let middle = (low + end) / 2;
                let here = this.lengths[middle];
                if here <= target {
                    let slot = table.entry((here, masked(high, here))).or_default();
                    slot.longer |= here == SHORT && *length > SHORT;
                    low = middle + 1;
                } else {
                    end = middle;
                }
            }
        }
        for ((length, bits), slot) in &mut table {
            (slot.bits, slot.length, slot.used) = (*bits, *length, true);
            let found = this
                .lengths
                .iter()
                .rev()
                .filter(|shorter| *shorter <= length)
                .find_map(|shorter| all.get(&(*shorter, u128::from(masked(*bits, *shorter)) << 64)));
            slot.action = found.copied().unwrap_or(this.default).0;
        }
        this.slots = vec![Slot::default(); (table.len() * 2).next_power_of_two().max(4)];
        for slot in table.into_values() {
            let mut at = this.home(slot.bits, slot.length);
            while this.slots[at].used {
                at = (at + 1) & (this.slots.len() - 1);
            }
            this.slots[at] = slot;
        }
        this.long = all.into_iter().filter(|((length, _), _)| *length > SHORT).collect();
        this
    }

    /// Steps that every search takes at most.
    #[inline]
    #[must_use]
    pub fn steps(&self) -> u32 {
        usize::BITS - self.lengths.len().leading_zeros()
    }

    #[inline(always)]
    fn home(&self, bits: u64, length: u8) -> usize {
        let mixed = (bits ^ u64::from(length)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len().wrapping_sub(1))
    }

    #[inline(always)]
    fn aim(&self, search: &mut Search, high: u64) {
        let middle = (usize::from(search.low) + usize::from(search.high)) / 2;
        if let Some(length) = self.lengths.get(middle) {
            let at = self.home(masked(high, *length), *length);
            search.at = at as u32;
            if let Some(slot) = self.slots.get(at) {
                prefetch(slot);
            }
        }
    }

    /// Begins a search for a destination with this upper half.
    #[inline(always)]
    #[must_use]
    pub fn begin(&self, high: u64) -> Search {
        let mut search =
            Search { best: self.default.0, low: 0, high: self.lengths.len() as u8, longer: false, at: 0 };
        self.aim(&mut search, high);
        search
    }

    /// Takes one step; there is nothing more to do after [`Self::steps`] of them.
    #[inline(always)]
    pub fn step(&self, search: &mut Search, high: u64) {
        if search.low >= search.high {
            return;
        }
        let middle = (search.low + search.high) / 2;
        let Some(length) = self.lengths.get(usize::from(middle)) else { return };
        let bits = masked(high, *length);
        let mut at = search.at as usize;
        loop {
            let Some(slot) = self.slots.get(at) else { return };
            if slot.bits == bits && slot.length == *length && slot.used {
                search.best = slot.action;
                search.longer = slot.longer;
                search.low = middle + 1;
                break;
            }
            if !slot.used {
                search.high = middle;
                break;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.aim(search, high);
    }

    /// The action that a finished search found for `destination`.
    #[inline(always)]
    #[must_use]
    pub fn end(&self, search: &Search, destination: u128) -> Option<ActionId> {
        if search.longer
            && let Some(found) = self.longer(destination)
        {
            return Some(found);
        }
        (search.best != 0).then_some(ActionId(search.best))
    }

    #[cold]
    fn longer(&self, destination: u128) -> Option<ActionId> {
        self.long_lengths
            .iter()
            .find_map(|length| self.long.get(&(*length, destination & Ipv6Prefix::mask(*length))))
            .copied()
    }

    /// The action of the longest prefix that holds `destination`.
    #[must_use]
    pub fn lookup(&self, destination: u128) -> Option<ActionId> {
        let high = (destination >> 64) as u64;
        let mut search = self.begin(high);
        for _ in 0..self.steps() {
            self.step(&mut search, high);
        }
        self.end(&search, destination)
    }

    /// Number of prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory of the table in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poptrie::Poptrie;
    use proptest::prelude::*;

    #[test]
    fn a_slot_is_a_quarter_of_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins_as_in_a_trie(
            routes in proptest::collection::vec((any::<u128>(), 0u8..=128, 1u32..1000, 0u32..120), 0..200),
            probes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u128>(), 0u32..128), 50),
        ) {
            // Few leading bits, so that prefixes nest.
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(bits, length, action, clear)| {
                    (Ipv6Prefix::covering(bits & (u128::MAX >> (clear / 2)), length), ActionId(action))
                })
                .collect();
            let table = Routes::build(routes.iter().copied());
            let oracle: Poptrie<(u128, u8), ActionId> =
                routes.iter().map(|(prefix, action)| ((prefix.bits(), prefix.length()), *action)).collect();
            prop_assert_eq!(table.len(), oracle.len());
            for (index, noise, keep) in probes {
                let base = if routes.is_empty() { 0 } else { index.get(&routes).0.bits() };
                for destination in [base, noise, base | (noise >> keep), base ^ (1 << keep)] {
                    prop_assert_eq!(table.lookup(destination), oracle.lookup(destination).copied());
                }
            }
        }
    }

    #[test]
    fn a_default_route_alone_and_none_at_all() {
        assert_eq!(Routes::default().lookup(5), None);
        let only = Routes::build([(Ipv6Prefix::DEFAULT, ActionId(7))]);
        assert_eq!((only.lookup(0), only.lookup(u128::MAX)), (Some(ActionId(7)), Some(ActionId(7))));
    }
}
