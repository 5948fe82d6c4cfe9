//! How much operators are told of what one session does: so much one by one, and how many more there were.

use super::bucket::Bucket;

/// Time after which the others are told of together.
const REST_MS: u64 = 1_000;

/// What is told one by one, and the number of the others.
#[derive(Debug)]
pub(super) struct Throttle {
    lines: Bucket,
    untold: u64,
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
        Throttle { lines: Bucket::new(at_once, every_us), untold: 0, since_ms: 0 }
    }

    /// Notes one. Gives whether it is told by itself.
    pub(super) fn is_told(&mut self, now_ms: u64) -> bool {
        let is_told = self.lines.take(now_ms);
        if !is_told {
            if self.untold == 0 {
                self.since_ms = now_ms;
            }
            self.untold += 1;
        }
        is_told
    }

    /// How many others there were, if it is time to say so.
    pub(super) fn rest(&mut self, now_ms: u64) -> Option<u64> {
        (now_ms >= self.since_ms + REST_MS).then(|| self.all()).filter(|untold| *untold > 0)
    }

    /// How many others there were.
    pub(super) fn all(&mut self) -> u64 {
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
        assert_eq!((told(&mut refusals, 5_000), refusals.rest(5_999)), (10, None));
        assert_eq!((refusals.rest(6_000), refusals.rest(6_000)), (Some(4_990), None));
        assert_eq!((told(&mut refusals, 6_000), refusals.rest(6_999)), (1, None));
        assert_eq!((refusals.all(), refusals.all()), (4_999, 0));
        assert_eq!((told(&mut refusals, 60_000), refusals.rest(61_000)), (10, Some(4_990)));
    }
}
