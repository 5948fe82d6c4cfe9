//! How far a node is behind what it was told, and how long it takes to catch up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages whose time is known, at most: what comes beyond them is not measured.
const MEASURED: usize = 8_192;

/// What was told and is not in force yet.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Revisions, and when each was told.
    told: VecDeque<(u64, Instant)>,
    /// The last one that was told of.
    last: u64,
}

impl Behind {
    /// A session begins anew with everything: what was told before counts no longer.
    pub(super) fn clear(&mut self) {
        *self = Behind::default();
    }

    /// Everything up to a revision was told.
    pub(super) fn told(&mut self, revision: u64, now: Instant) {
        if revision > self.last {
            self.last = revision;
            if self.told.len() < MEASURED {
                self.told.push_back((revision, now));
            }
        }
    }

    /// The next one that is in force now that everything up to `applied` is, and how long that took.
    pub(super) fn caught_up(&mut self, applied: u64, now: Instant) -> Option<Duration> {
        let (_, at) = *self.told.front().filter(|(revision, _)| *revision <= applied)?;
        self.told.pop_front();
        Some(now.duration_since(at))
    }

    /// How many transactions are not in force yet.
    pub(super) fn lag(&self, applied: u64) -> u64 {
        self.last.saturating_sub(applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_counts_once_from_when_it_came() {
        let (mut behind, begin) = (Behind::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        behind.told(5, at(0));
        behind.told(5, at(1));
        behind.told(7, at(2));
        assert_eq!((behind.lag(4), behind.caught_up(4, at(3))), (3, None));
        assert_eq!(behind.caught_up(6, at(10)), Some(Duration::from_millis(10)));
        assert_eq!((behind.caught_up(6, at(10)), behind.lag(6)), (None, 1));
        assert_eq!(behind.caught_up(9, at(12)), Some(Duration::from_millis(10)));
        assert_eq!((behind.caught_up(9, at(12)), behind.lag(9)), (None, 0));
        behind.told(99, at(20));
        behind.clear();
        assert_eq!((behind.caught_up(99, at(30)), behind.lag(1)), (None, 0));
    }
}
