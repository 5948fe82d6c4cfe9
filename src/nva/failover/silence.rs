//! Which NVEs count as lost: those without a session from which nothing came for as long as their lease is, on the clock of
//! the authority that had their session last. A stream that is closed says nothing of an NVE.

use super::model::Cause;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An NVE without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Away {
    /// When it was heard last, as far as is known.
    heard_ms: u64,
    /// When it counts as lost, and why.
    due_ms: u64,
    cause: Cause,
}

/// NVEs that have a session neither here nor at another authority.
#[derive(Debug, Default)]
pub struct Silence {
    away: BTreeMap<Arc<str>, Away>,
}

impl Silence {
    /// The session of an NVE ended. It was heard then, and its lease is so long.
    pub(in crate::nva) fn left(&mut self, nve: Arc<str>, heard_ms: u64, lease_ms: u32) {
        let due_ms = heard_ms + u64::from(lease_ms);
        self.away.insert(nve, Away { heard_ms, due_ms, cause: Cause::Lease });
    }

    /// An NVE has no session, and when it had one is not known: the authority starts, or another one has it no more. It may
    /// take so long to come here.
    pub(in crate::nva) fn missing(&mut self, nve: Arc<str>, now_ms: u64, grace_ms: u64) {
        let (heard_ms, due_ms) = (now_ms, now_ms + grace_ms);
        self.away.insert(nve, Away { heard_ms, due_ms, cause: Cause::Grace });
    }

    /// An NVE has a session, here or at another authority, which judges it from now on.
    pub(in crate::nva) fn has_session(&mut self, nve: &str) {
        self.away.remove(nve);
    }

    /// Only these may have a session.
    pub(in crate::nva) fn retain(&mut self, knows: impl Fn(&str) -> bool) {
        self.away.retain(|nve, _| knows(nve));
    }

    /// The process did not run for so long, and heard nobody.
    pub(in crate::nva) fn stood_still(&mut self, ms: u64) {
        for away in self.away.values_mut() {
            away.heard_ms += ms;
            away.due_ms += ms;
        }
    }

    /// Whether an NVE counts as lost.
    #[must_use]
    pub fn is_lost(&self, nve: &str, now_ms: u64) -> bool {
        self.away.get(nve).is_some_and(|away| now_ms >= away.due_ms)
    }

    /// Why an NVE counts as lost that has no session.
    #[must_use]
    pub fn cause(&self, nve: &str) -> Option<Cause> {
        self.away.get(nve).map(|away| away.cause)
    }

    /// When an NVE without a session was heard last.
    #[must_use]
    pub fn heard_ms(&self, nve: &str) -> Option<u64> {
        self.away.get(nve).map(|away| away.heard_ms)
    }

    /// All that are away, with the time when they were heard last.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.away.iter().map(|(nve, away)| (nve, away.heard_ms))
    }

    /// When the next one of these counts as lost.
    #[must_use]
    pub fn next_due_ms<'n>(&self, nves: impl Iterator<Item = &'n str>, now_ms: u64) -> Option<u64> {
        let due = nves.filter_map(|nve| Some(self.away.get(nve)?.due_ms));
        due.filter(|due_ms| *due_ms > now_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stream_is_no_lost_nve_until_its_lease_is_over() {
        let mut silence = Silence::default();
        silence.left("nve1".into(), 1_000, 10_000);
        assert!(!silence.is_lost("nve1", 10_999));
        assert!(silence.is_lost("nve1", 11_000));
        assert_eq!(silence.next_due_ms(["nve1", "nve2"].into_iter(), 1_500), Some(11_000));
        silence.has_session("nve1");
        assert!(!silence.is_lost("nve1", 99_000));
    }

    #[test]
    fn who_was_never_heard_has_the_grace_and_a_process_that_stood_still_judges_nobody_by_that_time() {
        let mut silence = Silence::default();
        silence.missing("nve1".into(), 0, 30_000);
        silence.left("nve2".into(), 0, 10_000);
        silence.stood_still(25_000);
        assert!(!silence.is_lost("nve2", 34_999) && silence.is_lost("nve2", 35_000));
        assert!(!silence.is_lost("nve1", 54_999) && silence.is_lost("nve1", 55_000));
    }
}
