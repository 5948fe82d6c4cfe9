//! IPv6 routes by longest prefix match, a burst at a time, by binary search over prefix lengths in hash tables
//! (Waldvogel, Varghese, Turner, Plattner: "Scalable High Speed IP Routing Lookups", SIGCOMM 1997).
//!
//! Each length has a hash table, and the lengths form a search tree. After a hit a search goes on among the longer
//! lengths, after a miss among the shorter ones. A prefix leaves markers in the tables where a search for it must hit.
//! The tree has the fewest probes over all prefixes. An entry names the node where the search for longer prefixes goes
//! on, if there are any. So a search for the most frequent length mostly ends with its first probe.
//!
//! A probe reads one cache line. The searches of a burst go side by side: all prefetch their buckets before the first
//! one is read, and finished searches cost nothing. A hit is as good as random, so the code does not branch on it.
//!
//! Measured against a compressed trie (crate `poptrie`, the oracle of the test below): with 100 000 routes the trie's
//! chain of dependent cache misses costs at least ten times as much.
//!
//! Prefixes of up to 64 bits are in the hash tables. The few longer ones leave a marker at 64 bits and are looked up in
//! a map, longest first.

mod build;

use super::ActionId;
use super::mem::Pages;
use crate::net::Ipv6Prefix;
use std::collections::HashMap;
use std::hint::select_unpredictable;

/// Longest prefix length of the hash tables.
const SHORT: u8 = 64;
/// Searches that go side by side: a burst.
const ABREAST: usize = 64;
/// Entries of a bucket, which is a cache line.
const ENTRIES: usize = 4;
/// The node where every search begins. Node 0 ends a search.
const ROOT: u16 = 1;

type Map<K, V> = HashMap<K, V, crate::table::Seeded>;

/// What the hash tables have for a destination: the action in the lower half, 0 for none, and the bits below.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found(u64);

/// Position of the eight bits that name the node where a search goes on after this entry; 0 for none.
const NEXT: u32 = 32;
/// Set if prefixes longer than 64 bits exist below this entry.
const LONGER: u64 = 1 << 40;
/// Set in every entry. An empty entry is 0.
const USED: u64 = 1 << 41;
/// Set in the last entry of a bucket that was full, so that entries of this bucket are in one of the next buckets.
const SPILLED: u64 = 1 << 63;

/// Up to four prefixes or markers of one length, with distinct bits.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Bucket {
    bits: [u64; ENTRIES],
    entries: [u64; ENTRIES],
}

impl Bucket {
    /// The entry with these bits; 0 when there is none.
    #[inline(always)]
    fn entry(&self, bits: u64) -> u64 {
        // An empty entry may have the same bits, but adds nothing to the result.
        let of = |(held, entry): (&u64, &u64)| if *held == bits { *entry } else { 0 };
        self.bits.iter().zip(&self.entries).map(of).fold(0, |all, one| all | one)
    }
}

/// One length in the tree, and its hash table.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    mask: u64,
    /// Its first bucket, and the number of its buckets.
    first: u32,
    buckets: u32,
    length: u8,
    /// The next node among the longer and among the shorter lengths; 0 for none.
    longer: u8,
    shorter: u8,
}

impl Node {
    /// The bucket after `at`. After the last one comes the first one.
    #[inline(always)]
    fn after(&self, at: u32) -> u32 {
        if at + 1 < self.first + self.buckets { at + 1 } else { self.first }
    }
}

/// A search in progress.
#[derive(Debug, Clone, Copy, Default)]
struct Search {
    high: u64,
    /// The bucket that was prefetched.
    at: u32,
    node: u16,
    /// Its index among the searches side by side.
    index: u16,
}

/// The routes of one snapshot: from destination to action.
#[derive(Default)]
pub struct Routes {
    buckets: Pages<Bucket>,
    nodes: Vec<Node>,
    /// Odd and random: the multiplier of the hash.
    multiplier: u64,
    default: ActionId,
    long: Map<(u8, u128), ActionId>,
    /// The distinct prefix lengths above 64, longest first.
    long_lengths: Vec<u8>,
    count: usize,
}

impl Routes {
    /// Searches for destinations with these upper halves. `found` gets their results in the same order, for
    /// [`Self::action`].
    #[inline]
    pub fn find_all(&self, highs: &[u64], found: &mut [Found]) {
        for (highs, found) in highs.chunks(ABREAST).zip(found.chunks_mut(ABREAST)) {
            for (place, answer) in found.iter_mut().zip(self.find(highs)) {
                *place = answer;
            }
        }
    }

    /// Searches for at most [`ABREAST`] upper halves.
    #[inline(always)]
    fn find(&self, highs: &[u64]) -> [Found; ABREAST] {
        let mut found = [self.nothing(); ABREAST];
        let Some(root) = self.nodes.get(usize::from(ROOT)) else { return found };
        let mut asked = [0; ABREAST];
        for (high, at) in highs.iter().zip(&mut asked) {
            *at = self.prefetch(root, *high);
        }
        // The searches that are not finished, moved to the front.
        let mut open = [Search::default(); ABREAST];
        let mut count = 0;
        for (index, high) in highs.iter().enumerate() {
            let here = index % ABREAST;
            let node = self.look(root, *high, asked[here], &mut found[here]);
            open[count % ABREAST] = Search { high: *high, at: 0, node, index: index as u16 };
            count += usize::from(node != 0);
        }
        while count > 0 {
            count = self.step(&mut open, count, &mut found);
        }
        found
    }

    /// Takes the open searches one step further, and moves those that stay open to the front. Returns how many stay
    /// open.
    #[inline(always)]
    fn step(&self, open: &mut [Search; ABREAST], count: usize, found: &mut [Found; ABREAST]) -> usize {
        let count = count.min(ABREAST);
        for search in &mut open[..count] {
            if let Some(node) = self.nodes.get(usize::from(search.node)) {
                search.at = self.prefetch(node, search.high);
            }
        }
        let mut left = 0;
        for at in 0..count {
            let search = open[at];
            let Some(node) = self.nodes.get(usize::from(search.node)) else { continue };
            let here = usize::from(search.index) % ABREAST;
            let next = self.look(node, search.high, search.at, &mut found[here]);
            open[left % ABREAST] = Search { node: next, ..search };
            left += usize::from(next != 0);
        }
        left
    }

    /// The result of a search before its first hit: the default route.
    #[inline(always)]
    fn nothing(&self) -> Found {
        Found(u64::from(self.default.0))
    }

    /// Prefetches the bucket of an upper half, and returns its index.
    #[inline(always)]
    fn prefetch(&self, node: &Node, high: u64) -> u32 {
        let at = self.home(node, high & node.mask);
        if let Some(bucket) = self.buckets.get(at as usize) {
            self.buckets.prefetch(bucket);
        }
        at
    }

    /// The bucket where the search for these bits begins: the upper half of a product with a secret odd number
    /// (universal hashing by multiply and shift), scaled to the number of buckets.
    #[inline(always)]
    fn home(&self, node: &Node, bits: u64) -> u32 {
        let hash = bits.wrapping_mul(self.multiplier) >> 32;
        node.first + ((hash * u64::from(node.buckets)) >> 32) as u32
    }

    /// Searches for an upper half from bucket `at` on. A hit is longer than what was found before, and replaces it.
    /// Returns the node where the search goes on.
    #[inline(always)]
    fn look(&self, node: &Node, high: u64, mut at: u32, found: &mut Found) -> u16 {
        let mut entry = 0;
        while let Some(bucket) = self.buckets.get(at as usize) {
            entry = bucket.entry(high & node.mask);
            // Not found in a bucket that spilled: rare. A node has more room than entries, so some bucket never
            // spilled.
            if (entry == 0) & (bucket.entries[ENTRIES - 1] & SPILLED != 0) {
                at = node.after(at);
            } else {
                break;
            }
        }
        found.0 = select_unpredictable(entry == 0, found.0, entry);
        select_unpredictable(entry == 0, u16::from(node.shorter), (entry >> NEXT) as u16 & 0xff)
    }

    /// The action for `destination`, given the result for its upper half.
    #[inline(always)]
    #[must_use]
    pub fn action(&self, found: Found, destination: u128) -> Option<ActionId> {
        if found.0 & LONGER != 0
            && let Some(action) = self.longer(destination)
        {
            return Some(action);
        }
        let action = found.0 as u32;
        (action != 0).then_some(ActionId(action))
    }

    /// The action of the longest prefix above 64 bits that contains `destination`.
    #[cold]
    fn longer(&self, destination: u128) -> Option<ActionId> {
        self.long_lengths
            .iter()
            .find_map(|length| self.long.get(&(*length, destination & Ipv6Prefix::mask(*length))))
            .copied()
    }

    /// The action of the longest prefix that contains `destination`.
    #[must_use]
    pub fn lookup(&self, destination: u128) -> Option<ActionId> {
        let (found, _) = self.search((destination >> 64) as u64);
        self.action(found, destination)
    }

    /// One search alone, and the number of its probes.
    fn search(&self, high: u64) -> (Found, usize) {
        let (mut found, mut at, mut probes) = (self.nothing(), ROOT, 0);
        while at != 0
            && let Some(node) = self.nodes.get(usize::from(at))
        {
            at = self.look(node, high, self.prefetch(node, high), &mut found);
            probes += 1;
        }
        (found, probes)
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

    /// Memory of the hash tables in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poptrie::Poptrie;
    use proptest::prelude::*;

    fn prefix(high: u64, length: u8) -> Ipv6Prefix {
        Ipv6Prefix::covering(u128::from(high) << 64, length)
    }

    #[test]
    fn a_bucket_is_a_cache_line_and_a_search_a_quarter() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>(), size_of::<Search>()), (64, 64, 16));
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins_as_in_a_trie(
            routes in proptest::collection::vec((any::<u128>(), 0u8..=128, 1u32..1000, 0u32..120), 0..200),
            probes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u128>(), 0u32..128), 50),
            burst in 0usize..=70,
        ) {
            // Only few leading bits differ, so that prefixes nest.
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(bits, length, action, clear)| {
                    (Ipv6Prefix::covering(bits & (u128::MAX >> (clear / 2)), length), ActionId(action))
                })
                .collect();
            let table = Routes::build(routes.iter().copied(), 7);
            let oracle: Poptrie<(u128, u8), ActionId> =
                routes.iter().map(|(prefix, action)| ((prefix.bits(), prefix.length()), *action)).collect();
            prop_assert_eq!(table.len(), oracle.len());
            let mut destinations = Vec::new();
            for (index, noise, keep) in probes {
                let base = if routes.is_empty() { 0 } else { index.get(&routes).0.bits() };
                destinations.extend([base, noise, base | (noise >> keep), base ^ (1 << keep)]);
            }
            for destination in &destinations {
                prop_assert_eq!(table.lookup(*destination), oracle.lookup(*destination).copied());
            }
            for destinations in destinations.chunks(burst.max(1)) {
                let highs: Vec<u64> =
                    destinations.iter().map(|destination| (destination >> 64) as u64).collect();
                let mut found = vec![Found::default(); highs.len()];
                table.find_all(&highs, &mut found);
                for (destination, found) in destinations.iter().zip(found) {
                    prop_assert_eq!(table.action(found, *destination), oracle.lookup(*destination).copied());
                }
            }
        }
    }

    #[test]
    fn a_default_route_alone_and_none_at_all() {
        let only = Routes::build([(Ipv6Prefix::DEFAULT, ActionId(7))], 7);
        for (table, action) in
            [(Routes::default(), None), (Routes::build([], 7), None), (only, Some(ActionId(7)))]
        {
            let mut found = [Found::default(); 2];
            table.find_all(&[0, u64::MAX], &mut found);
            assert_eq!((table.lookup(0), table.lookup(u128::MAX)), (action, action));
            assert_eq!(found.map(|found| table.action(found, 0)), [action; 2]);
        }
    }

    #[test]
    fn a_hit_with_nothing_below_ends_the_search() {
        let sites = (1..=100u64).map(|site| (prefix(0x2400 << 48 | site << 16, 48), ActionId(1)));
        let (below_1, below_2) = (0x2400_0000_0001_ab00, 0x2400_0000_0002_abcd);
        let others = [(prefix(0x2400 << 48, 32), 2), (prefix(below_1, 56), 3), (prefix(below_2, 64), 4)];
        let table = Routes::build(sites.chain(others.map(|(prefix, action)| (prefix, ActionId(action)))), 7);
        // The most frequent length is probed first, and an entry names the node where longer prefixes are.
        for (high, action, probes) in [
            (0x2400_0000_0003_0000, Some(1), 1),
            (below_1, Some(3), 2),
            (below_2, Some(4), 2),
            (0x2400_0000_0001_0000, Some(1), 2),
            (0x2400_0000_ffff_0000, Some(2), 2),
            (0x2600_0000_0000_0000, None, 2),
        ] {
            let (found, took) = table.search(high);
            assert_eq!((table.action(found, 0), took), (action.map(ActionId), probes), "{high:x}");
        }
    }

    #[test]
    fn of_64_nested_lengths_each_is_found_within_seven_probes() {
        let address = 0x2001_0db8_5a5a_c3c3_u64;
        let table =
            Routes::build((1..=64).map(|length| (prefix(address, length), ActionId(length.into()))), 7);
        for length in 1..=64u32 {
            let high = if length < 64 { address ^ (1 << (63 - length)) } else { address };
            let (found, probes) = table.search(high);
            assert_eq!(table.action(found, 0), Some(ActionId(length)));
            assert!(probes <= 7, "{probes} at {length}");
        }
        assert_eq!(table.lookup(u128::from(!address) << 64), None);
    }

    #[test]
    fn regular_patterns_spread_over_the_buckets() {
        for (step, length) in [(1u64 << 16, 48), (1, 64), (1 << 24, 56), (0x1_0001_0000, 48), (10 << 32, 48)]
        {
            let count = if cfg!(miri) { 500 } else { 10_000u64 };
            let highs = || (0..count).map(|n| n.wrapping_mul(step));
            let table = Routes::build(highs().map(|high| (prefix(high, length), ActionId(1))), 7);
            assert!(table.memory_bytes() as u64 >= count * size_of::<(u64, ActionId)>() as u64);
            let node = table.nodes[usize::from(ROOT)];
            let away = highs().filter(|high| {
                table.buckets[table.home(&node, high & node.mask) as usize].entry(high & node.mask) == 0
            });
            assert!(away.count() as u64 <= count / 8, "step {step:x}");
            assert!(highs().all(|high| table.search(high).1 == 1));
        }
    }
}
