//! Identifiers that go from one NVE to another again and again: two NVEs have one, or somebody takes it from its owner. After
//! so many changes within so long an identifier is frozen where it is (RFC 7432 §15.1): nobody else registers it until
//! an operator says so or a time has passed. It goes on being forwarded.
//!
//! It is remembered as long as the authority runs, and no longer.

use super::model::Key;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Identifiers whose last owner is remembered, at most. Beyond them the oldest are forgotten.
const REMEMBERED: usize = 65_536;

/// When an identifier is frozen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FreezeRules {
    /// After so many changes of its owner; 0: never.
    pub changes: u32,
    /// Within this time.
    pub within_ms: u64,
    /// For this time.
    pub for_ms: u64,
}

/// A frozen identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frozen {
    /// Who may have it.
    pub(super) owner: String,
    /// Until then.
    pub(super) until_ms: u64,
}

#[derive(Debug)]
struct Seen {
    owner: String,
    /// When it came from another one.
    changes: VecDeque<u64>,
    last_ms: u64,
}

/// What became of owners lately.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    rules: FreezeRules,
    seen: HashMap<Key, Seen>,
    oldest_first: BTreeSet<(u64, Key)>,
    frozen: HashMap<Key, Frozen>,
}

impl Flaps {
    /// There are these rules from now on.
    pub(super) fn judge_by(&mut self, rules: FreezeRules) {
        self.rules = rules;
        if rules.changes == 0 {
            *self = Flaps { rules, ..Flaps::default() };
        }
    }

    /// An NVE gave an identifier back.
    pub(super) fn released(&mut self, key: Key, owner: &str, now_ms: u64) {
        if self.rules.changes > 0 {
            self.see(key, owner, now_ms);
        }
    }

    /// An NVE has an identifier that it did not have. Gives whether it is frozen there now, and was not before.
    pub(super) fn registered(&mut self, key: Key, owner: &str, now_ms: u64) -> bool {
        let FreezeRules { changes: most, within_ms, for_ms } = self.rules;
        // One that nobody had lately comes from nobody.
        let Some(seen) = self.seen.get_mut(&key).filter(|seen| seen.owner != owner) else { return false };
        seen.changes.retain(|at_ms| now_ms < at_ms + within_ms);
        seen.changes.push_back(now_ms);
        let freezes = seen.changes.len() >= most as usize;
        if freezes {
            seen.changes.clear();
            self.frozen.insert(key, Frozen { owner: owner.to_owned(), until_ms: now_ms + for_ms });
        }
        self.see(key, owner, now_ms);
        freezes
    }

    fn see(&mut self, key: Key, owner: &str, now_ms: u64) {
        match self.seen.get_mut(&key) {
            Some(seen) => {
                self.oldest_first.remove(&(seen.last_ms, key));
                if seen.owner != owner {
                    owner.clone_into(&mut seen.owner);
                }
                seen.last_ms = now_ms;
            }
            None => {
                let seen = Seen { owner: owner.to_owned(), changes: VecDeque::new(), last_ms: now_ms };
                self.seen.insert(key, seen);
            }
        }
        self.oldest_first.insert((now_ms, key));
        self.forget(now_ms);
    }

    /// Where an identifier is frozen, if it is.
    pub(super) fn frozen(&self, key: Key, now_ms: u64) -> Option<&Frozen> {
        self.frozen.get(&key).filter(|frozen| now_ms < frozen.until_ms)
    }

    /// Whether it is frozen, as far as [`Self::tick`] knows.
    pub(super) fn is_frozen(&self, key: Key) -> bool {
        self.frozen.contains_key(&key)
    }

    /// How many are frozen.
    pub(super) fn count(&self) -> usize {
        self.frozen.len()
    }

    /// An operator lets an identifier go where it is registered next. Gives where it was frozen.
    pub(super) fn unfreeze(&mut self, key: Key) -> Option<Frozen> {
        self.frozen.remove(&key)
    }

    /// Forgets what is over.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.frozen.retain(|_, frozen| now_ms < frozen.until_ms);
        self.forget(now_ms);
    }

    fn forget(&mut self, now_ms: u64) {
        while let Some((last_ms, key)) = self.oldest_first.first().copied()
            && (now_ms >= last_ms + self.rules.within_ms || self.seen.len() > REMEMBERED)
        {
            self.oldest_first.pop_first();
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FreezeRules = FreezeRules { changes: 3, within_ms: 100, for_ms: 1_000 };

    const fn key(identifier: u64) -> Key {
        Key { sir_prefix: 1, identifier }
    }

    fn flaps() -> Flaps {
        let mut flaps = Flaps::default();
        flaps.judge_by(RULES);
        flaps
    }

    /// An identifier goes from its owner to another one.
    fn goes(flaps: &mut Flaps, from: &str, to: &str, now_ms: u64) -> bool {
        flaps.released(key(1), from, now_ms);
        flaps.registered(key(1), to, now_ms)
    }

    #[test]
    fn rfc_7432_15_1_the_nth_change_within_the_time_freezes_and_a_slower_one_does_not() {
        let mut flaps = flaps();
        assert_eq!([0, 40, 80].map(|at_ms| goes(&mut flaps, "a", "b", at_ms)), [false, false, true]);
        assert_eq!(
            flaps.frozen(key(1), 80).map(|frozen| (&*frozen.owner, frozen.until_ms)),
            Some(("b", 1_080))
        );
        assert_eq!((flaps.frozen(key(1), 1_079).is_some(), flaps.frozen(key(1), 1_080)), (true, None));
        flaps.tick(1_080);
        assert_eq!((flaps.count(), flaps.seen.len(), flaps.oldest_first.len()), (0, 0, 0));
        assert!((0..20u64).all(|n| !goes(&mut flaps, "a", "b", 2_000 + n * 51)));
    }

    #[test]
    fn who_comes_back_to_its_own_changes_nothing_and_an_operator_lets_go() {
        let mut flaps = flaps();
        assert!((0..20).all(|at_ms| !goes(&mut flaps, "a", "a", at_ms)));
        assert!(!flaps.registered(key(2), "a", 20));
        for at_ms in 20..23 {
            goes(&mut flaps, "a", "b", at_ms);
        }
        assert_eq!(flaps.unfreeze(key(1)).map(|frozen| frozen.owner), Some("b".to_owned()));
        assert_eq!((flaps.unfreeze(key(1)), flaps.frozen(key(1), 23)), (None, None));
        assert!(!goes(&mut flaps, "b", "a", 24));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut flaps = flaps();
        (0..REMEMBERED as u64 + 10).for_each(|n| flaps.released(key(n), "a", 1));
        assert_eq!((flaps.seen.len(), flaps.oldest_first.len()), (REMEMBERED, REMEMBERED));
        flaps.judge_by(FreezeRules::default());
        flaps.released(key(1), "a", 1);
        assert!(flaps.seen.is_empty() && !flaps.registered(key(1), "b", 1));
    }
}
