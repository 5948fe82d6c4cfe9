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
    /// Questions that were sent since the last answer.
    open: u8,
    /// A question is on its way to the control thread.
    is_asking: bool,
    /// When time passed last.
    turn_ms: Option<u64>,
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
        let before_ms = self.turn_ms.replace(now_ms);
        if before_ms.is_some_and(|before_ms| now_ms > before_ms + DOUBT_MS) {
            // The node was busy: answers may have come meanwhile, and be told next.
            let (due_ms, _) = self.due_ms.unwrap_or_default();
            self.due_ms = Some((due_ms.max(now_ms + DOUBT_MS), false));
        }
        let is_due = self.due_ms.is_none_or(|(due_ms, _)| now_ms >= due_ms);
        if questions == 0 || self.is_asking || !is_due {
            return false;
        }
        self.is_silent = self.has_answered && self.open >= questions;
        self.is_asking = !self.is_silent;
        self.is_asking
    }

    /// The question that was due was sent, or could not be; only those that were sent count.
    pub(super) fn asked(&mut self, is_sent: bool, now_ms: u64) {
        if !std::mem::take(&mut self.is_asking) {
            return;
        }
        self.open = self.open.saturating_add(u8::from(is_sent));
        let is_in_doubt = self.has_answered && self.open > 1;
        self.due_ms = Some((now_ms + if is_in_doubt { DOUBT_MS } else { CALM_MS }, false));
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
        (self.due_ms, self.turn_ms, self.is_asking) = (None, None, false);
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
        let watch = |probe: &mut Probe, now_ms| {
            let asks = probe.watches(3, now_ms);
            probe.asked(true, now_ms);
            asks
        };
        let mute = asked(&mut probe, 0..60_000, watch);
        assert_eq!((mute.len(), probe.is_silent()), (60, false), "it never answered");
        probe.answered();
        let last = asked(&mut probe, 60_000..70_000, watch);
        // A second passes until an answer is missed, and then a quarter for each question.
        assert_eq!(last, [60_000, 61_000, 61_250]);
        assert!(probe.is_silent());
        probe.answered();
        assert!(!probe.is_silent());
        assert!(asked(&mut Probe::default(), 0..9_000, |probe, now_ms| probe.watches(0, now_ms)).is_empty());
    }

    #[test]
    fn only_questions_that_were_sent_tell_of_silence_and_a_busy_node_waits_for_answers_first() {
        let mut probe = Probe::default();
        probe.answered();
        // The control thread takes no question for ten seconds.
        assert_eq!(asked(&mut probe, 0..10_000, |probe, now_ms| probe.watches(3, now_ms)), [0]);
        // It takes one, and then those that there is no way to ask.
        probe.asked(true, 10_000);
        let unsent = asked(&mut probe, 10_000..30_000, |probe, now_ms| {
            let asks = probe.watches(3, now_ms);
            probe.asked(false, now_ms);
            asks
        });
        assert_eq!((unsent.len(), probe.is_silent()), (19, false));
        // The node stood still after the last question: what came meanwhile is heard before anybody is silent.
        let sent = asked(&mut probe, 30_000..30_450, |probe, now_ms| {
            let asks = probe.watches(3, now_ms);
            probe.asked(true, now_ms);
            asks
        });
        assert_eq!((sent.len(), probe.is_silent()), (2, false));
        assert!(!probe.watches(3, 60_000) && !probe.is_silent());
        probe.answered();
        assert!(asked(&mut probe, 60_001..60_500, |probe, now_ms| probe.watches(3, now_ms)).len() == 1);
        assert!(!probe.is_silent());
    }
}
