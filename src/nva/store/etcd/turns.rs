//! Whose turn it is to offer a transaction.
//!
//! An offer takes effect only if no other one came first, and who is nearer to etcd, or never pauses, comes first again and
//! again. So an authority whose offers lost says so, by the transaction that loses: its wish. The others offer nothing
//! until it came first, or a moment has passed. Nothing but time depends on it.

use crate::nva::store::sequencer::TOKEN;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What tokens of one run of an authority begin with.
pub(super) type Instance = [u8; 8];

/// How long an authority lets another one go first that wished so: far more than a turn takes.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Who lost, and who is let go first.
#[derive(Debug)]
pub(super) struct Turns {
    own: Instance,
    /// Offers of this authority that lost since its last one that did not.
    lost: u32,
    /// Until when others are let go first.
    wishes: BTreeMap<Instance, Instant>,
}

impl Turns {
    pub(super) fn new(own: Instance) -> Self {
        Turns { own, lost: 0, wishes: BTreeMap::new() }
    }

    /// This authority.
    pub(super) fn own(&self) -> Instance {
        self.own
    }

    /// Whether the next offer is to leave a wish if it loses: not the first one, for that is nothing but chance.
    pub(super) fn may_wish(&self) -> bool {
        self.lost > 0
    }

    /// An offer of this authority lost.
    pub(super) fn lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// An offer of this authority took effect, or the store refuses it: it did not lose.
    pub(super) fn settled(&mut self) {
        self.lost = 0;
    }

    /// An authority wishes to go first.
    pub(super) fn wished(&mut self, by: Instance, now: Instant) {
        if by != self.own {
            self.wishes.insert(by, now + TIMEOUT);
        }
    }

    /// A transaction of an authority took effect.
    pub(super) fn went(&mut self, token: [u8; TOKEN]) {
        self.wishes.retain(|by, _| !token.starts_with(by));
    }

    /// Until when this authority offers nothing. One that may wish itself waits for nobody.
    pub(super) fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        self.wishes.retain(|_, until| *until > now);
        if self.lost > 1 { None } else { self.wishes.values().min().copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Instance = [2; 8];

    #[test]
    fn who_wished_to_go_first_is_let_go_once_or_for_a_moment() {
        let (mut turns, now) = (Turns::new([1; 8]), Instant::now());
        assert_eq!(turns.waits_until(now), None);
        turns.wished([1; 8], now);
        assert_eq!(turns.waits_until(now), None, "nobody waits for itself");
        turns.wished(OTHER, now);
        assert_eq!(turns.waits_until(now), Some(now + TIMEOUT));
        turns.went([3; TOKEN]);
        assert_eq!(turns.waits_until(now), Some(now + TIMEOUT), "another one went");
        turns.went([2; TOKEN]);
        assert_eq!(turns.waits_until(now), None);
        turns.wished(OTHER, now);
        assert_eq!(turns.waits_until(now + TIMEOUT), None);
    }

    #[test]
    fn of_two_who_lost_nobody_waits_for_the_other() {
        let (mut turns, now) = (Turns::new([1; 8]), Instant::now());
        assert!(!turns.may_wish(), "losing once is chance");
        turns.lost();
        assert!(turns.may_wish());
        turns.lost();
        turns.wished(OTHER, now);
        assert_eq!(turns.waits_until(now), None);
        turns.settled();
        assert_eq!(turns.waits_until(now), Some(now + TIMEOUT));
        assert!(!turns.may_wish());
    }
}
