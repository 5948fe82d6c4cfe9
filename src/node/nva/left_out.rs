//! When everything is to be asked for anew, because the node could not take all of it before.

/// Whether mappings were left out, and may be taken now.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Some were, since everything was told.
    pub(super) some: bool,
    /// Everything is to be asked for anew, once nothing is being applied.
    anew: bool,
}

impl LeftOut {
    /// Mappings are in force, or left out, for the configuration of now or for one before.
    pub(super) fn applied(&mut self, whole: bool, left_out: bool, is_reloaded: bool) {
        self.some = left_out || self.some && !whole;
        self.anew |= left_out && is_reloaded;
    }

    /// There is another configuration.
    pub(super) fn reloaded(&mut self) {
        self.anew |= self.some;
    }

    pub(super) fn take_anew(&mut self) -> bool {
        let anew = std::mem::take(&mut self.anew);
        self.some &= !anew;
        anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_for_anew_once_what_was_left_out_may_be_taken() {
        let mut left_out = LeftOut::default();
        let anew = |left_out: &mut LeftOut| (left_out.take_anew(), left_out.take_anew());
        left_out.applied(true, false, true);
        left_out.reloaded();
        assert_eq!(anew(&mut left_out), (false, false));
        // A later part without faults takes nothing back, and a snapshot without faults does.
        left_out.applied(true, true, false);
        left_out.applied(false, false, false);
        assert_eq!(anew(&mut left_out), (false, false));
        left_out.reloaded();
        assert_eq!(anew(&mut left_out), (true, false));
        left_out.reloaded();
        assert_eq!(anew(&mut left_out), (false, false));
        left_out.applied(false, true, false);
        left_out.applied(true, false, false);
        left_out.reloaded();
        assert_eq!(anew(&mut left_out), (false, false));
        // The reload came while it was applied.
        left_out.applied(false, true, true);
        assert_eq!(anew(&mut left_out), (true, false));
    }
}
