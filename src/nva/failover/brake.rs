//! The brake: when many NVEs vanish at once, it is rather the network or the authority that fails, and nobody fails over.

use std::collections::BTreeSet;
use std::sync::Arc;

/// When it is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeRules {
    /// So many NVEs may vanish at once in any case.
    pub least: usize,
    /// Or so many of a hundred.
    pub percent: usize,
    /// What at once means.
    pub within_ms: u64,
}

impl Default for BrakeRules {
    fn default() -> Self {
        BrakeRules { least: 2, percent: 15, within_ms: 10_000 }
    }
}

impl BrakeRules {
    /// How many of so many NVEs may vanish at once.
    #[must_use]
    pub fn limit(&self, nves: usize) -> usize {
        self.least.max(nves * self.percent / 100)
    }
}

/// An NVE that vanished, and when it was heard last.
pub(in crate::nva) type Vanished = (Arc<str>, u64);

/// Nobody fails over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Braked {
    /// Since when, on the clock of the authority.
    pub since_ms: u64,
    /// The NVEs that vanished, and are not back.
    pub vanished: BTreeSet<Arc<str>>,
    /// How many may.
    pub limit: usize,
    /// Since when no more than that are away.
    calm_ms: Option<u64>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nva) enum Turn {
    /// It is on from now on: so many vanished of those that may.
    On(usize, usize),
    /// It is off: enough of them are back.
    Off,
}

/// The brake.
#[derive(Debug, Default)]
pub struct Brake {
    braked: Option<Braked>,
    /// Those that an operator said to fail over although many vanished, until they are back.
    excused: BTreeSet<Arc<str>>,
    /// How often it was put on.
    count: u64,
}

impl Brake {
    /// Since when nobody fails over, and why.
    #[must_use]
    pub fn braked(&self) -> Option<&Braked> {
        self.braked.as_ref()
    }

    /// How often it was put on.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Judges whether anybody may fail over. `lost` are those whose lease is over, `vanished` these and all others that
    /// were heard and are not any more, of `nves` in all.
    pub(in crate::nva) fn judge(
        &mut self,
        rules: &BrakeRules,
        lost: &[Vanished],
        vanished: &[Vanished],
        nves: usize,
        now_ms: u64,
    ) -> Option<Turn> {
        let all: BTreeSet<Arc<str>> = vanished.iter().map(|(nve, _)| nve.clone()).collect();
        self.excused.retain(|nve| all.contains(nve));
        let limit = rules.limit(nves);
        let counts = |(nve, _): &&Vanished| !self.excused.contains(nve);
        let at_once = |(_, heard_ms): &Vanished| {
            let is_near = |(_, other_ms): &&Vanished| heard_ms.abs_diff(*other_ms) <= rules.within_ms;
            vanished.iter().filter(counts).filter(is_near).count()
        };
        let most = lost.iter().filter(counts).map(at_once).max().unwrap_or(0);
        match &mut self.braked {
            None if most > limit => {
                self.count += 1;
                let vanished = vanished.iter().filter(counts).map(|(nve, _)| nve.clone()).collect();
                self.braked = Some(Braked { since_ms: now_ms, vanished, limit, calm_ms: None });
                Some(Turn::On(most, limit))
            }
            None => None,
            Some(braked) => {
                braked.vanished = all.into_iter().filter(|nve| !self.excused.contains(nve)).collect();
                braked.limit = limit;
                if braked.vanished.len() > limit {
                    braked.calm_ms = None;
                    return None;
                }
                let calm_ms = *braked.calm_ms.get_or_insert(now_ms);
                if now_ms < calm_ms + rules.within_ms {
                    return None;
                }
                // Those that are still away vanished with the others, and count for themselves from now on.
                self.excused.append(&mut braked.vanished);
                self.braked = None;
                Some(Turn::Off)
            }
        }
    }

    /// An operator says that those that vanished are lost, and fail over.
    ///
    /// # Errors
    /// It is not on.
    pub(in crate::nva) fn release(&mut self) -> Result<usize, String> {
        let Some(mut braked) = self.braked.take() else {
            return Err("the brake is not on; `ilactl nva group list` tells when it is".to_owned());
        };
        let count = braked.vanished.len();
        self.excused.append(&mut braked.vanished);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vanished(nves: &[(&str, u64)]) -> Vec<Vanished> {
        nves.iter().map(|(nve, heard_ms)| (Arc::from(*nve), *heard_ms)).collect()
    }

    const RULES: BrakeRules = BrakeRules { least: 2, percent: 15, within_ms: 10_000 };

    #[test]
    fn two_may_vanish_at_once_or_fifteen_of_a_hundred_and_one_more_puts_it_on() {
        assert_eq!([RULES.limit(3), RULES.limit(19), RULES.limit(20), RULES.limit(100)], [2, 2, 3, 15]);
        let mut brake = Brake::default();
        let two = vanished(&[("a", 0), ("b", 3_000)]);
        assert_eq!(brake.judge(&RULES, &two[..1], &two, 5, 10_000), None);
        let three = vanished(&[("a", 0), ("b", 3_000), ("c", 10_000)]);
        assert_eq!(brake.judge(&RULES, &three[..1], &three, 5, 10_000), Some(Turn::On(3, 2)));
        assert_eq!(brake.braked().map(|it| it.vanished.len()), Some(3));
        // One that vanished long before the others is not of them.
        let mut brake = Brake::default();
        let apart = vanished(&[("a", 0), ("b", 3_000), ("c", 10_001)]);
        assert_eq!(brake.judge(&RULES, &apart[..1], &apart, 5, 10_000), None);
    }

    #[test]
    fn it_is_off_when_enough_are_back_for_as_long_as_at_once_means_and_not_before() {
        let mut brake = Brake::default();
        let all = vanished(&[("a", 0), ("b", 0), ("c", 0)]);
        assert!(brake.judge(&RULES, &all, &all, 5, 10_000).is_some());
        let two = &all[..2];
        assert_eq!(brake.judge(&RULES, two, two, 5, 20_000), None);
        assert_eq!(brake.judge(&RULES, &all, &all, 5, 25_000), None, "one more vanished");
        assert_eq!(brake.judge(&RULES, two, two, 5, 30_000), None);
        assert_eq!(brake.judge(&RULES, two, two, 5, 39_999), None);
        assert_eq!(brake.judge(&RULES, two, two, 5, 40_000), Some(Turn::Off));
        assert_eq!((brake.braked(), brake.count()), (None, 1));
        assert_eq!(brake.judge(&RULES, two, two, 5, 40_001), None);
    }

    #[test]
    fn what_an_operator_let_go_does_not_put_it_on_again_until_it_is_back() {
        let mut brake = Brake::default();
        assert!(brake.release().is_err());
        let all = vanished(&[("a", 0), ("b", 0), ("c", 0)]);
        assert!(brake.judge(&RULES, &all, &all, 5, 10_000).is_some());
        assert_eq!(brake.release(), Ok(3));
        assert_eq!(brake.judge(&RULES, &all, &all, 5, 11_000), None);
        // They are back, and vanish again.
        assert_eq!(brake.judge(&RULES, &[], &[], 5, 12_000), None);
        assert!(brake.judge(&RULES, &all, &all, 5, 13_000).is_some());
    }
}
