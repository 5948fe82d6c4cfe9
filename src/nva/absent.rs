//! NVEs without a session that may go on using what they were told: a node in cache mode forwards for a grace period on
//! what it has. What such a node may have is given to nobody else meanwhile (ILA draft §4.7, appendix A).
//!
//! The time of what was asked for in a session begins with the end of that session. Later ones do not make it longer,
//! unless it is asked for again there: nobody keeps an identifier from others by coming and going.

use super::message::INTERESTS;
use super::model::Key;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What an NVE may use while it has no session.
#[derive(Debug, Default)]
struct Used {
    is_away: bool,
    /// What it was told before the authority started may be anything.
    is_unknown: bool,
    until_ms: HashMap<Key, u64>,
    first: BTreeSet<(u64, Key)>,
}

impl Used {
    fn insert(&mut self, key: Key, until_ms: u64) {
        if let Some(before) = self.until_ms.insert(key, until_ms) {
            self.first.remove(&(before, key));
        }
        self.first.insert((until_ms, key));
    }

    /// Takes one whose time is over, or the first one if there are more than a node has.
    fn take_over(&mut self, now_ms: u64) -> Option<Key> {
        let (until_ms, key) = *self.first.first()?;
        (now_ms >= until_ms || self.first.len() > INTERESTS).then(|| {
            self.first.remove(&(until_ms, key));
            self.until_ms.remove(&key);
            key
        })
    }
}

/// What each NVE may use, by its name, and until when.
#[derive(Debug, Default)]
pub(super) struct Absent {
    nves: BTreeMap<Arc<str>, Used>,
    /// NVEs that may use an identifier.
    users: HashMap<Key, BTreeSet<Arc<str>>>,
    /// NVEs without a session that may use anything, and until when.
    unknown: BTreeSet<Arc<str>>,
    unknown_until_ms: u64,
}

impl Absent {
    /// The authority starts: what these NVEs were told before is not known.
    pub(super) fn of_all<'a>(nves: impl Iterator<Item = &'a str>, unknown_until_ms: u64) -> Self {
        let unknown: BTreeSet<Arc<str>> = nves.map(Arc::from).collect();
        let used = || Used { is_away: true, is_unknown: true, ..Used::default() };
        let nves = unknown.iter().map(|nve| (nve.clone(), used())).collect();
        Absent { nves, unknown, unknown_until_ms, ..Absent::default() }
    }

    /// The session of an NVE ended in which it asked for these.
    pub(super) fn left(
        &mut self,
        nve: &Arc<str>,
        keys: impl Iterator<Item = Key>,
        now_ms: u64,
        until_ms: u64,
    ) {
        let used = self.nves.entry(nve.clone()).or_default();
        used.is_away = true;
        if used.is_unknown {
            self.unknown.insert(nve.clone());
        }
        for key in keys {
            used.insert(key, until_ms);
            self.users.entry(key).or_default().insert(nve.clone());
        }
        forget_over(nve, used, &mut self.users, now_ms);
    }

    /// It has a session again, and is told what has changed.
    pub(super) fn is_back(&mut self, nve: &str) {
        self.unknown.remove(nve);
        if let Some(used) = self.nves.get_mut(nve) {
            used.is_away = false;
        }
    }

    /// It uses nothing any more of what it was told.
    pub(super) fn forget(&mut self, nve: &str) {
        self.unknown.remove(nve);
        let used = self.nves.remove(nve).unwrap_or_default();
        used.until_ms.keys().for_each(|key| remove_user(&mut self.users, *key, nve));
    }

    /// One that may use a mapping of this identifier, and for how long, in milliseconds.
    pub(super) fn user_of(&self, key: Key, now_ms: u64) -> Option<(&str, u64)> {
        let unknown = self.unknown.first().map(|nve| (&**nve, self.unknown_until_ms));
        let until_ms = |nve| {
            let used = self.nves.get(nve).filter(|used| used.is_away)?;
            used.until_ms.get(&key).copied()
        };
        let users = self.users.get(&key).into_iter().flatten();
        let known = users.filter_map(|nve| Some((&**nve, until_ms(nve)?)));
        let mut users = unknown.into_iter().chain(known).filter(|(_, until_ms)| now_ms < *until_ms);
        users.next().map(|(nve, until_ms)| (nve, until_ms - now_ms))
    }

    /// Forgets that whose time is over.
    pub(super) fn tick(&mut self, now_ms: u64) {
        let is_known = now_ms >= self.unknown_until_ms;
        if is_known {
            self.unknown.clear();
        }
        self.nves.retain(|nve, used| {
            used.is_unknown &= !is_known;
            forget_over(nve, used, &mut self.users, now_ms);
            used.is_unknown || !used.first.is_empty()
        });
    }
}

fn forget_over(nve: &str, used: &mut Used, users: &mut HashMap<Key, BTreeSet<Arc<str>>>, now_ms: u64) {
    while let Some(key) = used.take_over(now_ms) {
        remove_user(users, key, nve);
    }
}

fn remove_user(users: &mut HashMap<Key, BTreeSet<Arc<str>>>, key: Key, nve: &str) {
    if let Some(of_key) = users.get_mut(&key) {
        of_key.remove(nve);
        if of_key.is_empty() {
            users.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(identifier: u64) -> Key {
        Key { sir_prefix: 1, identifier }
    }

    #[test]
    fn who_may_use_an_identifier_is_known_until_it_is_back_or_its_time_is_over() {
        let (nve1, nve2) = ("nve1".into(), "nve2".into());
        let mut absent = Absent::of_all(["nve1", "nve2"].into_iter(), 100);
        assert_eq!(absent.user_of(key(1), 99), Some(("nve1", 1)));
        assert_eq!(absent.user_of(key(1), 100), None);
        absent.is_back("nve1");
        absent.is_back("nve2");
        assert_eq!(absent.user_of(key(1), 50), None);
        // What was told before has the time that it had.
        absent.left(&nve2, [].into_iter(), 50, 250);
        assert_eq!(absent.user_of(key(2), 50), Some(("nve2", 50)));
        absent.tick(100);
        absent.left(&nve1, [key(1), key(2)].into_iter(), 100, 200);
        absent.is_back("nve1");
        assert_eq!(absent.user_of(key(1), 150), None);
        absent.left(&nve1, [key(2)].into_iter(), 150, 250);
        assert_eq!(
            (absent.user_of(key(1), 150), absent.user_of(key(2), 150)),
            (Some(("nve1", 50)), Some(("nve1", 100)))
        );
        absent.tick(200);
        assert_eq!((absent.user_of(key(1), 200), absent.users.len()), (None, 1));
        absent.forget("nve1");
        assert!(absent.nves.is_empty() && absent.users.is_empty());
    }

    #[test]
    fn no_more_is_kept_of_an_nve_than_a_node_has_and_the_oldest_goes() {
        let (nve, mut absent) = ("nve1".into(), Absent::default());
        absent.left(&nve, [key(0), key(1)].into_iter(), 0, 100);
        absent.left(&nve, (1..INTERESTS as u64 + 1).map(key), 1, 101);
        assert_eq!((absent.users.len(), absent.nves["nve1"].first.len()), (INTERESTS, INTERESTS));
        assert_eq!((absent.user_of(key(0), 50), absent.user_of(key(1), 50)), (None, Some(("nve1", 51))));
    }
}
