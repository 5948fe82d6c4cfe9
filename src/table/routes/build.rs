//! Builds the hash tables of the routes. Runs on the control thread only.

use super::{Bucket, ENTRIES, LONGER, Map, NEXT, Node, ROOT, Routes, SHORT, SPILLED, USED};
use crate::net::Ipv6Prefix;
use crate::table::mapping::next_seed;
use crate::table::mem::Pages;
use crate::table::{ActionId, hasher};
use std::cmp::Reverse;

/// Entries that a bucket holds on average. Few buckets spill then.
const FILL: u32 = 2;
/// How many multipliers are tried for one under which few buckets spill.
const TRIES: usize = 8;

/// A prefix or a marker that is being built.
#[derive(Default)]
struct Entry {
    /// The node where the search for longer prefixes goes on; 0 for none.
    next: u8,
    /// Whether prefixes longer than 64 bits exist below it.
    longer: bool,
    action: ActionId,
}

/// Entries by node and bits.
type Entries = Map<(u8, u64), Entry>;

impl Routes {
    /// Builds the table of `routes`. Of two routes with the same prefix the later one counts. `seed` is secret and random:
    /// with it, no one can choose prefixes that share a bucket.
    pub fn build(routes: impl IntoIterator<Item = (Ipv6Prefix, ActionId)>, seed: u64) -> Self {
        let mut all: Map<(u8, u128), ActionId> = Map::with_hasher(hasher(seed));
        all.extend(routes.into_iter().map(|(prefix, action)| ((prefix.length(), prefix.bits()), action)));
        let mut this = Routes { count: all.len(), ..Routes::default() };
        let mut counts = [0; SHORT as usize + 1];
        for (length, _) in all.keys() {
            counts[usize::from((*length).min(SHORT))] += 1;
            if *length > SHORT && !this.long_lengths.contains(length) {
                this.long_lengths.push(*length);
            }
        }
        this.long_lengths.sort_unstable_by_key(|length| Reverse(*length));
        this.default = all.get(&(0, 0)).copied().unwrap_or_default();
        this.nodes = tree(&counts);
        let mut entries = this.entries(&all);
        this.settle(&mut entries, &all);
        this.fill(&entries, seed);
        all.retain(|(length, _), _| *length > SHORT);
        this.long = all;
        this
    }

    /// The prefixes and the markers: an entry wherever the search for a prefix must hit.
    fn entries(&self, all: &Map<(u8, u128), ActionId>) -> Entries {
        let mut entries = Entries::default();
        for (length, bits) in all.keys().filter(|(length, _)| *length > 0) {
            let high = (bits >> 64) as u64;
            let target = (*length).min(SHORT);
            let mut at = ROOT as u8;
            while at != 0 {
                let node = self.nodes[usize::from(at)];
                if node.length > target {
                    at = node.shorter;
                    continue;
                }
                let entry = entries.entry((at, high & node.mask)).or_default();
                if node.length == target {
                    entry.longer |= *length > SHORT;
                    break;
                }
                entry.next = self.parting(node.longer, entry.next, target);
                at = node.longer;
            }
        }
        entries
    }

    /// The first node from `at` on that separates the lengths of `target` and `other`. Searches for both pass through
    /// it, so a search for either may begin there. `other` may be 0 for none.
    fn parting(&self, mut at: u8, other: u8, target: u8) -> u8 {
        let other = if other == 0 { target } else { self.nodes[usize::from(other)].length };
        loop {
            let node = self.nodes[usize::from(at)];
            if node.length < target.min(other) {
                at = node.longer;
            } else if node.length > target.max(other) {
                at = node.shorter;
            } else {
                return at;
            }
        }
    }

    /// Gives each entry the action of the longest prefix up to its own length.
    fn settle(&self, entries: &mut Entries, all: &Map<(u8, u128), ActionId>) {
        let mut longest_first: Vec<_> = self.nodes.iter().skip(ROOT.into()).collect();
        longest_first.sort_unstable_by_key(|node| Reverse(node.length));
        for ((at, bits), entry) in entries {
            let length = self.nodes[usize::from(*at)].length;
            let mut nodes = longest_first.iter().skip_while(|node| node.length > length);
            let found = nodes.find_map(|node| all.get(&(node.length, u128::from(bits & node.mask) << 64)));
            entry.action = found.copied().unwrap_or(self.default);
        }
    }

    /// Stores the entries.
    fn fill(&mut self, entries: &Entries, mut seed: u64) {
        for (at, _) in entries.keys() {
            self.nodes[usize::from(*at)].buckets += 1;
        }
        let mut all = 0;
        for node in &mut self.nodes {
            node.buckets = node.buckets.div_ceil(FILL);
            node.first = all;
            all += node.buckets;
        }
        for _ in 0..TRIES {
            seed = next_seed(seed);
            self.multiplier = seed | 1;
            let mut buckets = vec![Bucket::default(); all.max(1) as usize];
            let put = |((at, bits), entry): (&(u8, u64), &Entry)| self.put(*at, *bits, entry, &mut buckets);
            let spilled: usize = entries.iter().map(put).sum();
            self.buckets = Pages::copied(&buckets);
            if spilled <= entries.len() / 8 {
                break;
            }
        }
    }

    /// Stores one entry. Returns the number of full buckets that it met.
    fn put(&self, at: u8, bits: u64, entry: &Entry, buckets: &mut [Bucket]) -> usize {
        let node = self.nodes[usize::from(at)];
        let mut bucket = self.home(&node, bits);
        let mut full = 0;
        loop {
            let held = &mut buckets[bucket as usize];
            if let Some(free) = held.entries.iter().position(|entry| *entry == 0) {
                let longer = if entry.longer { LONGER } else { 0 };
                held.bits[free] = bits;
                held.entries[free] =
                    USED | longer | u64::from(entry.next) << NEXT | u64::from(entry.action.0);
                return full;
            }
            held.entries[ENTRIES - 1] |= SPILLED;
            bucket = node.after(bucket);
            full += 1;
        }
    }
}

/// The search tree with the fewest probes, if each search ends at the length of its prefix and `counts` has the number
/// of prefixes of each length.
///
/// It is an optimal binary search tree, found by dynamic programming over ever larger ranges of lengths. Node 0 stands
/// for no node.
fn tree(counts: &[u64; SHORT as usize + 1]) -> Vec<Node> {
    let lengths: Vec<u8> = (1..=SHORT).filter(|length| counts[usize::from(*length)] > 0).collect();
    let all = lengths.len();
    // For the lengths from..to: the number of probes for all their prefixes, and the root with the fewest probes.
    let mut best = vec![vec![(0u64, 0usize); all + 1]; all + 1];
    for size in 1..=all {
        for from in 0..=all - size {
            let to = from + size;
            let each: u64 = lengths[from..to].iter().map(|length| counts[usize::from(*length)]).sum();
            let roots = (from..to).map(|root| (each + best[from][root].0 + best[root + 1][to].0, root));
            best[from][to] = roots.min().unwrap_or_default();
        }
    }
    let mut nodes = vec![Node::default()];
    grow(&mut nodes, &lengths, &best, 0, all);
    nodes
}

/// Adds the nodes of the lengths from..to, and returns the root of them.
fn grow(nodes: &mut Vec<Node>, lengths: &[u8], best: &[Vec<(u64, usize)>], from: usize, to: usize) -> u8 {
    if from == to {
        return 0;
    }
    let (at, root) = (nodes.len(), best[from][to].1);
    let length = lengths[root];
    nodes.push(Node { length, mask: u64::MAX << (SHORT - length), ..Node::default() });
    nodes[at].shorter = grow(nodes, lengths, best, from, root);
    nodes[at].longer = grow(nodes, lengths, best, root + 1, to);
    at as u8
}
