//! Released identifiers: each is kept for its last owner until no cache holds it, and deleted then.

use super::model::{Key, Record};
use std::collections::{BTreeSet, HashMap};

/// Released identifiers and when each may be deleted.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    until_ms: HashMap<Key, u64>,
    first: BTreeSet<(u64, Key)>,
    /// How many each NVE released.
    of: HashMap<String, usize>,
}

impl Tombstones {
    /// An identifier was released by its owner, and is kept for it until then.
    pub(super) fn insert(&mut self, key: Key, owner: &str, until_ms: u64) {
        if let Some(before) = self.until_ms.insert(key, until_ms) {
            self.first.remove(&(before, key));
        } else {
            match self.of.get_mut(owner) {
                Some(count) => *count += 1,
                None => _ = self.of.insert(owner.to_owned(), 1),
            }
        }
        self.first.insert((until_ms, key));
    }

    /// A released record is replaced or deleted.
    pub(super) fn remove(&mut self, key: Key, record: &Record) {
        let Some(until_ms) = self.until_ms.remove(&key) else { return };
        self.first.remove(&(until_ms, key));
        if let Some(count) = self.of.get_mut(&record.owner) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&record.owner);
            }
        }
    }

    /// For how long an identifier is kept for its last owner.
    pub(super) fn kept_ms(&self, key: Key, now_ms: u64) -> Option<u64> {
        self.until_ms.get(&key).and_then(|until_ms| until_ms.checked_sub(now_ms))
    }

    /// Identifiers that are kept for nobody any more, the oldest first.
    pub(super) fn over(&self, now_ms: u64) -> impl Iterator<Item = Key> {
        self.first.iter().take_while(move |(until_ms, _)| *until_ms < now_ms).map(|(_, key)| *key)
    }

    /// How many are there.
    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    /// How many an NVE released.
    pub(super) fn count_of(&self, nve: &str) -> usize {
        self.of.get(nve).copied().unwrap_or(0)
    }
}
