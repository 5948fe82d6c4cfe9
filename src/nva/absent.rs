//! NVEs without a session that may go on using what they were told: a node in cache mode forwards for a grace period on
//! what it has. What such a node may have is given to nobody else meanwhile (ILA draft §4.7, appendix A).

use super::model::Key;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What an NVE may use.
#[derive(Debug)]
pub(super) enum Used {
    /// It is not known.
    Anything,
    /// What it asked for.
    These(HashSet<Key>),
}

impl Used {
    fn has(&self, key: Key) -> bool {
        match self {
            Used::Anything => true,
            Used::These(keys) => keys.contains(&key),
        }
    }

    /// Both.
    pub(super) fn and(self, other: Used) -> Used {
        match (self, other) {
            (Used::These(mut keys), Used::These(others)) => {
                keys.extend(others);
                Used::These(keys)
            }
            _ => Used::Anything,
        }
    }
}

/// What each NVE may use, by its name, and until when.
#[derive(Debug, Default)]
pub(super) struct Absent(BTreeMap<Arc<str>, (Used, u64)>);

impl Absent {
    /// The authority starts: what these NVEs were told before is not known.
    pub(super) fn of_all<'a>(nves: impl Iterator<Item = &'a str>, until_ms: u64) -> Self {
        Absent(nves.map(|nve| (nve.into(), (Used::Anything, until_ms))).collect())
    }

    /// The session of an NVE ended.
    pub(super) fn left(&mut self, nve: Arc<str>, used: Used, until_ms: u64) {
        self.0.insert(nve, (used, until_ms));
    }

    /// It has a session again, and is told what has changed. Gives what it may use until it asked for everything again.
    pub(super) fn is_back(&mut self, nve: &str) -> Option<Used> {
        self.0.remove(nve).map(|(used, _)| used)
    }

    /// One that may use a mapping of this identifier, and for how long, in milliseconds.
    pub(super) fn user_of(&self, key: Key, now_ms: u64) -> Option<(&str, u64)> {
        let mut users = self.0.iter().filter(|(_, (used, until_ms))| now_ms < *until_ms && used.has(key));
        users.next().map(|(nve, (_, until_ms))| (&**nve, until_ms - now_ms))
    }

    /// Forgets those whose time is over.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.0.retain(|_, (_, until_ms)| now_ms < *until_ms);
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
        let mut absent = Absent::of_all(["nve1", "nve2"].into_iter(), 100);
        assert_eq!(absent.user_of(key(1), 99), Some(("nve1", 1)));
        assert_eq!(absent.user_of(key(1), 100), None);
        assert!(matches!(absent.is_back("nve1"), Some(Used::Anything)));
        absent.left("nve1".into(), Used::These([key(1)].into()), 200);
        absent.is_back("nve2");
        assert_eq!((absent.user_of(key(1), 150), absent.user_of(key(2), 50)), (Some(("nve1", 50)), None));
        absent.tick(200);
        assert!(absent.0.is_empty());
    }
}
