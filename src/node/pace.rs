//! How fast what was held leaves: so that neither the transmit ring of the port nor the ring of who receives it
//! overflows, and so that what comes meanwhile, and waits behind it, makes the queue no longer.

/// Most packets that leave at once, beyond those that came meanwhile. A receiver's ring of a few hundred has room.
const BURST: u64 = 64;
/// Microseconds of a second.
const SECOND_US: u64 = 1_000_000;
/// The most that may leave at once.
const FULL: i64 = (BURST * SECOND_US) as i64;
/// The most that may be owed, in the same unit.
const OWED: i64 = i64::MAX / 4;

/// A worker's pace.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_second: u64,
    /// What may leave at once, in packets times microseconds of a second; below zero after a batch that was let go
    /// beyond it.
    credit: i64,
    last_us: u64,
}

impl Pace {
    /// So many packets a second, beyond those that come meanwhile.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Pace { per_second: u64::from(per_second), credit: FULL, last_us: 0 }
    }

    /// Changes the pace.
    pub fn set(&mut self, per_second: u32) {
        self.per_second = u64::from(per_second);
    }

    /// How many packets may leave now, if `arrived` were added behind them since the last call.
    #[must_use]
    pub fn allows(&mut self, now_us: u64, arrived: usize) -> usize {
        let passed_us = now_us.saturating_sub(self.last_us).min(SECOND_US);
        self.last_us = now_us;
        let earned = i64::try_from(passed_us * self.per_second).unwrap_or(FULL);
        self.credit = self.credit.saturating_add(earned).min(FULL);
        arrived + (self.credit.max(0) as u64 / SECOND_US) as usize
    }

    /// So many have left at once, whether the pace allowed it or not.
    pub fn charge(&mut self, now_us: u64, packets: usize) {
        let _ = self.allows(now_us, 0);
        self.left(packets, 0);
    }

    /// So many have left, of which `arrived` came since the last call.
    pub fn left(&mut self, packets: usize, arrived: usize) {
        let packets = packets.saturating_sub(arrived) as u64;
        let spent = i64::try_from(packets.saturating_mul(SECOND_US)).unwrap_or(OWED);
        self.credit = self.credit.saturating_sub(spent).max(-OWED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_leaves_than_a_burst_and_the_pace_beside_what_came_and_the_queue_never_grows(
            per_second in 1_000u32..1_000_000, held in 0usize..5_000,
            turns in prop::collection::vec((0u64..5_000, 0usize..64), 1..200),
        ) {
            let mut pace = Pace::new(per_second);
            let (mut now_us, mut queue, mut came, mut gone) = (0, held, 0, 0);
            for (passed_us, arrived) in turns {
                now_us += passed_us;
                (queue, came) = (queue + arrived, came + arrived);
                let leave = pace.allows(now_us, arrived).min(queue);
                pace.left(leave, arrived);
                (queue, gone) = (queue - leave, gone + leave);
                prop_assert!(queue <= held);
                let most = BURST + now_us * u64::from(per_second) / SECOND_US + came as u64;
                prop_assert!(gone as u64 <= most, "{gone} {most}");
            }
        }
    }

    #[test]
    fn a_batch_beyond_the_pace_is_paid_for_before_more_leaves() {
        let mut pace = Pace::new(100_000);
        // Long after the last release. Four queues of a worker make room for what they may bring.
        pace.charge(60_000_000, 256);
        let left: usize = (0..=1_920)
            .map(|us| {
                let most = pace.allows(60_000_000 + us, 0);
                pace.left(most, 0);
                most
            })
            .sum();
        assert_eq!(left, 0, "192 are paid for in 1.92 ms");
        assert_eq!((pace.allows(60_001_930, 0), pace.allows(60_002_560, 3)), (1, 64 + 3));
    }

    #[test]
    fn a_thousand_packets_at_a_hundred_thousand_a_second_leave_in_ten_milliseconds() {
        let (mut pace, mut queue, mut now_us) = (Pace::new(100_000), 1_000usize, 0);
        while queue > 0 {
            let leave = pace.allows(now_us, 0).min(queue);
            pace.left(leave, 0);
            queue -= leave;
            now_us += 50;
        }
        assert!((9_000..=10_000).contains(&now_us), "{now_us}");
    }
}
