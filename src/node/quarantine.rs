//! When a tenant is put under quarantine: after so many seconds in a row with too many packets refused.

use crate::config::Quarantine;
use crate::path::violations::{VIOLATIONS, Violation};
use crate::table::LimitKind;

/// A check that comes sooner after the last one judges nothing.
const SHORTEST_MS: u64 = 500;

/// What was refused of a tenant, by the order of [`Violation::ALL`].
pub type Refused = [u64; VIOLATIONS];

/// What is known of one tenant.
#[derive(Debug, Clone)]
pub struct QuarantineState {
    first: Refused,
    before: Refused,
    checked_ms: u64,
    bad_seconds: u16,
    until_ms: Option<u64>,
}

/// What a check found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finding {
    /// Spoofed packets since the check before.
    pub spoofed: u64,
    /// Quarantine began: for so many seconds.
    pub began_s: Option<u64>,
    /// Quarantine ended.
    pub ended: bool,
}

impl QuarantineState {
    /// A new tenant. What was counted before in its slot belongs to another tenant.
    #[must_use]
    pub fn new(refused: Refused, now_ms: u64) -> Self {
        QuarantineState {
            first: refused,
            before: refused,
            checked_ms: now_ms,
            bad_seconds: 0,
            until_ms: None,
        }
    }

    /// What was refused since the tenant is here, from what is counted now.
    #[must_use]
    pub fn refused(&self, now: Refused) -> Refused {
        std::array::from_fn(|n| now[n].wrapping_sub(self.first[n]))
    }

    /// Whether it is under quarantine.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.until_ms.is_some()
    }

    /// Judges the counters, about once a second. `refused` is what is counted now.
    pub fn check(&mut self, refused: Refused, rule: Option<&Quarantine>, now_ms: u64) -> Finding {
        let elapsed_ms = now_ms.saturating_sub(self.checked_ms);
        if elapsed_ms < SHORTEST_MS && rule.is_some() {
            return Finding::default();
        }
        let grown = |n: usize| refused[n].wrapping_sub(self.before[n]);
        let mut finding = Finding::default();
        let mut abused = 0u64;
        for (n, violation) in Violation::ALL.iter().enumerate() {
            match violation {
                // ICMP errors that were not sent are no abuse, and quarantine already holds back the others.
                Violation::Over(LimitKind::IcmpErrors) | Violation::Quarantined => {}
                Violation::Spoofed => {
                    finding.spoofed = grown(n);
                    abused += grown(n);
                }
                Violation::Over(_) => abused += grown(n),
            }
        }
        (self.before, self.checked_ms) = (refused, now_ms);
        let Some(rule) = rule else {
            (finding.ended, self.bad_seconds) = (self.until_ms.take().is_some(), 0);
            return finding;
        };
        if let Some(until_ms) = self.until_ms {
            finding.ended = now_ms >= until_ms;
            if finding.ended {
                self.until_ms = None;
            }
            return finding;
        }
        let bad = abused.saturating_mul(1000) / elapsed_ms.max(1) > u64::from(rule.drops_per_second);
        self.bad_seconds = if bad { self.bad_seconds + 1 } else { 0 };
        if self.bad_seconds >= rule.seconds {
            let seconds = u64::from(rule.duration_s);
            (self.bad_seconds, self.until_ms) = (0, Some(now_ms + seconds * 1000));
            finding.began_s = Some(seconds);
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QuarantineMode;

    const RULE: Quarantine =
        Quarantine { drops_per_second: 100, seconds: 3, duration_s: 10, mode: QuarantineMode::Control };

    /// The findings when a counter grows by so many every second.
    fn over(violation: usize, growth: &[u64]) -> Vec<Finding> {
        let mut counts = [7; VIOLATIONS];
        let mut quarantine_state = QuarantineState::new(counts, 0);
        let seconds = growth.iter().enumerate();
        seconds
            .map(|(second, grown)| {
                counts[violation] += grown;
                quarantine_state.check(counts, Some(&RULE), 1000 * (second as u64 + 1))
            })
            .collect()
    }

    fn began(findings: &[Finding]) -> Option<usize> {
        findings.iter().position(|finding| finding.began_s.is_some())
    }

    #[test]
    fn quarantine_begins_after_bad_seconds_in_a_row_and_ends_by_itself() {
        let mut growth = vec![101; 3];
        growth.extend([0; 11]);
        let findings = over(0, &growth);
        assert_eq!((began(&findings), findings[2].began_s), (Some(2), Some(10)));
        assert_eq!(findings.iter().position(|finding| finding.ended), Some(12));
    }

    #[test]
    fn a_good_second_between_bad_ones_forgives_them() {
        assert_eq!(began(&over(0, &[500, 500, 100, 500, 500, 0])), None);
    }

    #[test]
    fn spoofing_counts_and_errors_that_are_not_sent_do_not() {
        let at = |wanted| Violation::ALL.iter().position(|violation| *violation == wanted).unwrap();
        let spoofed = over(at(Violation::Spoofed), &[200; 3]);
        assert_eq!((began(&spoofed), spoofed[1].spoofed), (Some(2), 200));
        assert_eq!(began(&over(at(Violation::Over(LimitKind::IcmpErrors)), &[9999; 9])), None);
        assert_eq!(began(&over(at(Violation::Quarantined), &[9999; 9])), None);
        for kind in [
            LimitKind::Arp,
            LimitKind::Nd,
            LimitKind::Rarp,
            LimitKind::Dad,
            LimitKind::Unknown,
            LimitKind::Copies,
        ] {
            assert_eq!(began(&over(at(Violation::Over(kind)), &[101; 3])), Some(2), "{kind:?}");
        }
    }

    #[test]
    fn a_late_look_is_no_worse_a_second() {
        let mut counts = [0; VIOLATIONS];
        let mut quarantine_state = QuarantineState::new(counts, 0);
        for look in 1..10 {
            counts[0] += 150;
            assert_eq!(quarantine_state.check(counts, Some(&RULE), look * 2000).began_s, None);
        }
    }

    #[test]
    fn looks_in_quick_succession_are_one_second() {
        let mut counts = [0; VIOLATIONS];
        let mut quarantine_state = QuarantineState::new(counts, 0);
        for look in 1..100 {
            counts[0] += 1;
            assert_eq!(quarantine_state.check(counts, Some(&RULE), look * 10).began_s, None);
        }
    }

    #[test]
    fn without_a_rule_everybody_is_released() {
        let mut counts = [0; VIOLATIONS];
        let mut quarantine_state = QuarantineState::new(counts, 0);
        for second in 1..4 {
            counts[0] += 500;
            quarantine_state.check(counts, Some(&RULE), second * 1000);
        }
        assert!(quarantine_state.is_quarantined());
        assert!(quarantine_state.check(counts, None, 4000).ended && !quarantine_state.is_quarantined());
    }
}
