//! How long transactions take until they are in force: a histogram.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut all = Convergence::default();
        [0, 1, 2, 3, 10_000, 10_001].into_iter().for_each(|ms| all.record(ms));
        assert_eq!((all.buckets[..3].to_vec(), all.buckets[12], all.buckets[13]), (vec![2, 1, 1], 1, 1));
        assert_eq!((all.buckets.iter().sum::<u64>(), all.sum_ms), (6, 20_007));
    }
}
