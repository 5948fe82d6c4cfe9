//! How long transactions take until they are in force: a histogram, and one for each virtual network.

use super::model::Network;
use std::collections::BTreeMap;

/// Upper bounds of the buckets in milliseconds. One bucket without a bound follows.
pub const BOUNDS_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// Durations by bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Convergence {
    /// How many are in each bucket of [`BOUNDS_MS`], and beyond the last one.
    pub buckets: [u64; BOUNDS_MS.len() + 1],
    /// The sum of all.
    pub sum_ms: u64,
}

impl Convergence {
    /// Counts one.
    pub(super) fn record(&mut self, ms: u64) {
        let bucket = BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum_ms += ms;
    }
}

/// Networks with a histogram of their own: the first ones that something changed in. The others share one.
pub(super) const NETWORKS: usize = 256;

/// All transactions, and those that changed something in each network.
#[derive(Debug, Clone, Default)]
pub(super) struct Convergences {
    pub(super) all: Convergence,
    pub(super) of: BTreeMap<Network, Convergence>,
    pub(super) others: Convergence,
}

impl Convergences {
    /// Counts one transaction, which changed something in these networks.
    pub(super) fn record(&mut self, ms: u64, networks: &[Network]) {
        self.all.record(ms);
        for network in networks {
            if self.of.len() < NETWORKS || self.of.contains_key(network) {
                self.of.entry(*network).or_default().record(ms);
            } else {
                self.others.record(ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_its_own_until_there_are_so_many_and_the_others_share_one() {
        let mut all = Convergences::default();
        all.record(1, &[]);
        (0..NETWORKS as u32 + 2).for_each(|vnid| all.record(5, &[(1, vnid)]));
        all.record(7, &[(1, 0), (1, NETWORKS as u32)]);
        let count = |it: &Convergence| it.buckets.iter().sum::<u64>();
        assert_eq!((count(&all.all), all.of.len(), count(&all.others)), (NETWORKS as u64 + 4, NETWORKS, 3));
        assert_eq!((count(&all.of[&(1, 0)]), all.of[&(1, 0)].sum_ms, all.others.sum_ms), (2, 12, 17));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut all = Convergence::default();
        [0, 1, 2, 3, 10_000, 10_001].into_iter().for_each(|ms| all.record(ms));
        assert_eq!((all.buckets[..3].to_vec(), all.buckets[12], all.buckets[13]), (vec![2, 1, 1], 1, 1));
        assert_eq!((all.buckets.iter().sum::<u64>(), all.sum_ms), (6, 20_007));
    }
}
