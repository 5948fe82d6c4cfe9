//! When everything is to be asked for anew, because the node could not take all of it before.

/// What of a push is not in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Some is in a SIR domain that the node does not know.
    pub(super) unknown: bool,
    /// Some breaks a rule.
    pub(super) wrong: bool,
}

/// Whether mappings were left out, and may be taken now.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Some broke a rule, since everything was told.
    pub(super) wrong: bool,
    /// Some were in unknown domains.
    unknown: bool,
    /// Everything is to be asked for anew, once nothing is being applied.
    anew: bool,
}

impl LeftOut {
    /// Mappings are in force, or left out, for the configuration of now or for one before.
    pub(super) fn applied(&mut self, whole: bool, Missing { unknown, wrong }: Missing, is_reloaded: bool) {
        self.wrong = wrong || self.wrong && !whole;
        self.unknown = unknown || self.unknown && !whole;
        self.anew |= (wrong || unknown) && is_reloaded;
    }

    /// There is another configuration, perhaps with other SIR domains.
    pub(super) fn reloaded(&mut self, has_other_domains: bool) {
        self.anew |= self.wrong || self.unknown && has_other_domains;
    }

    pub(super) fn take_anew(&mut self) -> bool {
        let anew = std::mem::take(&mut self.anew);
        self.wrong &= !anew;
        self.unknown &= !anew;
        anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: Missing = Missing { unknown: false, wrong: true };

    #[test]
    fn everything_is_asked_for_anew_once_what_was_left_out_may_be_taken() {
        let mut left_out = LeftOut::default();
        let anew = |left_out: &mut LeftOut| (left_out.take_anew(), left_out.take_anew());
        left_out.applied(true, Missing::default(), true);
        left_out.reloaded(false);
        assert_eq!(anew(&mut left_out), (false, false));
        // A later part without faults takes nothing back, and a snapshot without faults does.
        left_out.applied(true, WRONG, false);
        left_out.applied(false, Missing::default(), false);
        assert_eq!(anew(&mut left_out), (false, false));
        left_out.reloaded(false);
        assert_eq!(anew(&mut left_out), (true, false));
        left_out.reloaded(false);
        assert_eq!(anew(&mut left_out), (false, false));
        left_out.applied(false, WRONG, false);
        left_out.applied(true, Missing::default(), false);
        left_out.reloaded(false);
        assert_eq!(anew(&mut left_out), (false, false));
        // The reload came while it was applied.
        left_out.applied(false, WRONG, true);
        assert_eq!(anew(&mut left_out), (true, false));
    }

    #[test]
    fn what_is_in_unknown_domains_is_asked_for_once_there_are_others() {
        let mut left_out = LeftOut::default();
        left_out.applied(true, Missing { unknown: true, wrong: false }, false);
        left_out.reloaded(false);
        assert!(!left_out.take_anew());
        left_out.reloaded(true);
        assert!(left_out.take_anew());
        left_out.reloaded(true);
        assert!(!left_out.take_anew());
    }
}
