//! Random numbers that a seed decides: for the jitter of timers, never for secrets.

use std::ops::RangeInclusive;

/// SplitMix64: every seed gives another sequence, and the same seed gives the same one.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number of the range. An empty range gives its start.
    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = u128::from(range.end().saturating_sub(*range.start())) + 1;
        range.start() + ((u128::from(self.next()) * span) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_reach_both_ends_of_their_range_and_stay_inside() {
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..1000).map(|_| random.within(3..=9)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&9)));
        assert_eq!((random.within(5..=5), random.within(0..=u64::MAX) > 0), (5, true));
    }

    #[test]
    fn a_seed_decides_the_sequence() {
        let drawn = |seed| {
            let mut random = Random::new(seed);
            (0..9).map(|_| random.within(0..=u64::MAX)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
