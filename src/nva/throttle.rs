//! How much operators are told of what one session does: so much one by one, and how many more there were.

use super::bucket::Bucket;
use std::collections::BTreeMap;

/// Time after which the others are told of together.
const REST_MS: u64 = 1_000;
/// Networks whose number is told by itself.
const NETWORKS: usize = 16;

/// What is told one by one, and the number of the others.
#[derive(Debug)]
pub(super) struct Throttle {
    lines: Bucket,
    /// By the network that they concern; none: no network, or one beyond so many.
    untold: BTreeMap<Option<String>, u64>,
    /// When the first one of those was.
    since_ms: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::of_refusals()
    }
}

impl Throttle {
    /// Of refusals: 10 at once, and one a second.
    pub(super) fn of_refusals() -> Self {
        Throttle::new(10, 1_000_000)
    }

    /// Of registrations and releases: 1,000 at once, and 1,000 a second.
    pub(super) fn of_registrations() -> Self {
        Throttle::new(1_000, 1_000)
    }

    fn new(at_once: u64, every_us: u64) -> Self {
        Throttle { lines: Bucket::new(at_once, every_us), untold: BTreeMap::new(), since_ms: 0 }
    }

    /// Notes one of no network. Gives whether it is told by itself.
    pub(super) fn is_told(&mut self, now_ms: u64) -> bool {
        self.is_told_of(now_ms, || None)
    }

    /// Notes one of a network. Gives whether it is told by itself.
    pub(super) fn is_told_of(&mut self, now_ms: u64, network: impl FnOnce() -> Option<String>) -> bool {
        let is_told = self.lines.take(now_ms);
        if !is_told {
            if self.untold.is_empty() {
                self.since_ms = now_ms;
            }
            let network = network();
            let has_room = self.untold.len() < NETWORKS || self.untold.contains_key(&network);
            *self.untold.entry(network.filter(|_| has_room)).or_default() += 1;
        }
        is_told
    }

    /// How many others there were of each network, if it is time to say so.
    pub(super) fn rest(&mut self, now_ms: u64) -> BTreeMap<Option<String>, u64> {
        match now_ms >= self.since_ms + REST_MS {
            true => self.all(),
            false => BTreeMap::new(),
        }
    }

    /// How many others there were of each network.
    pub(super) fn all(&mut self) -> BTreeMap<Option<String>, u64> {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_few_lines_and_its_number() {
        let mut refusals = Throttle::of_refusals();
        let told = |refusals: &mut Throttle, now_ms| (0..5_000).filter(|_| refusals.is_told(now_ms)).count();
        let sum = |untold: BTreeMap<Option<String>, u64>| untold.into_values().sum::<u64>();
        assert_eq!((told(&mut refusals, 5_000), sum(refusals.rest(5_999))), (10, 0));
        assert_eq!((sum(refusals.rest(6_000)), sum(refusals.rest(6_000))), (4_990, 0));
        assert_eq!((told(&mut refusals, 6_000), sum(refusals.rest(6_999))), (1, 0));
        assert_eq!((sum(refusals.all()), sum(refusals.all())), (4_999, 0));
        assert_eq!((told(&mut refusals, 60_000), sum(refusals.rest(61_000))), (10, 4_990));
    }

    #[test]
    fn the_number_of_the_others_is_told_by_network_of_so_many_networks() {
        let mut all = Throttle::new(0, 1_000_000);
        for n in 0..100 {
            for _ in 0..=n {
                assert!(!all.is_told_of(5_000, || Some(format!("{n:02}"))));
            }
        }
        let rest = all.rest(6_000);
        assert_eq!((rest.len(), rest.values().sum::<u64>()), (NETWORKS + 1, 5_050));
        assert_eq!((rest[&Some("03".to_owned())], rest.contains_key(&None)), (4, true));
    }
}
