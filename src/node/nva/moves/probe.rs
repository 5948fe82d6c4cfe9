//! Questions to the VM or task of one move: is it there?
//!
//! At the new NVE a mute one is asked until it answers. Its hypervisor may keep the questions until it runs, so they
//! become rare: they must not fill the queue of its device. At the old NVE one that has answered before and does not any
//! more has left.

/// Time between the first two questions at the new NVE, and the longest between two, while nobody says that it has left
/// the old one.
const BEFORE_MS: (u64, u64) = (500, 30_000);
/// The same once it has.
const AFTER_MS: (u64, u64) = (50, 1_000);
/// Time between two questions at the old NVE while it answers.
const CALM_MS: u64 = 1_000;
/// The same when one was not answered.
const DOUBT_MS: u64 = 250;

/// The questions of one move.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// When the next one is due, and what it is for; none: at once.
    due_ms: Option<(u64, bool)>,
    pause_ms: u64,
    /// It has answered since it is asked.
    has_answered: bool,
    /// Questions since the last answer.
    open: u8,
    is_silent: bool,
}

impl Probe {
    /// Whether one that is expected is to be asked now; `detached` says that it has left the old NVE.
    pub(super) fn awaits(&mut self, detached: bool, now_ms: u64) -> bool {
        let (first_ms, longest_ms) = if detached { AFTER_MS } else { BEFORE_MS };
        match self.due_ms {
            Some((due_ms, of)) if of == detached && now_ms < due_ms => return false,
            Some((_, of)) if of == detached => self.pause_ms = (self.pause_ms * 2).min(longest_ms),
            _ => self.pause_ms = first_ms,
        }
        self.due_ms = Some((now_ms + self.pause_ms, detached));
        true
    }

    /// Whether one that is about to leave is to be asked now. After `questions` without an answer it is silent; 0: it is
    /// never asked.
    pub(super) fn watches(&mut self, questions: u8, now_ms: u64) -> bool {
        if questions == 0 || self.due_ms.is_some_and(|(due_ms, _)| now_ms < due_ms) {
            return false;
        }
        self.is_silent = self.has_answered && self.open >= questions;
        if self.is_silent {
            return false;
        }
        self.open = self.open.saturating_add(1);
        let is_in_doubt = self.has_answered && self.open > 1;
        self.due_ms = Some((now_ms + if is_in_doubt { DOUBT_MS } else { CALM_MS }, false));
        true
    }

    /// It answered, or sent something.
    pub(super) fn answered(&mut self) {
        (self.has_answered, self.open, self.is_silent) = (true, 0, false);
    }

    /// Whether it does not answer any more.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// It is not asked now.
    pub(super) fn rest(&mut self) {
        self.due_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(probe: &mut Probe, ms: std::ops::Range<u64>, ask: impl Fn(&mut Probe, u64) -> bool) -> Vec<u64> {
        ms.filter(|now_ms| ask(probe, *now_ms)).collect()
    }

    #[test]
    fn a_mute_one_is_asked_often_once_it_left_the_old_node_and_never_fills_a_queue() {
        let mut probe = Probe::default();
        let before = asked(&mut probe, 0..3_600_000, |probe, now_ms| probe.awaits(false, now_ms));
        assert_eq!(before[..4], [0, 500, 1_500, 3_500]);
        assert!(before.len() < 130, "{}", before.len());
        let after = asked(&mut probe, 3_600_000..3_630_000, |probe, now_ms| probe.awaits(true, now_ms));
        assert_eq!(after[..4].iter().map(|ms| ms - 3_600_000).collect::<Vec<_>>(), [0, 50, 150, 350]);
        assert!(after.len() < 36, "{}", after.len());
    }

    #[test]
    fn silence_is_that_of_one_that_has_answered_before() {
        let mut probe = Probe::default();
        let mute = asked(&mut probe, 0..60_000, |probe, now_ms| probe.watches(3, now_ms));
        assert_eq!((mute.len(), probe.is_silent()), (60, false), "it never answered");
        probe.answered();
        let last = asked(&mut probe, 60_000..70_000, |probe, now_ms| probe.watches(3, now_ms));
        // A second passes until an answer is missed, and then a quarter for each question.
        assert_eq!(last, [60_000, 61_000, 61_250]);
        assert!(probe.is_silent());
        probe.answered();
        assert!(!probe.is_silent());
        assert!(asked(&mut Probe::default(), 0..9_000, |probe, now_ms| probe.watches(0, now_ms)).is_empty());
    }
}
