//! Released identifiers: each is kept for its last owner until no cache holds it, and deleted then.

use super::model::{Key, Record};
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

/// Identifiers that are looked at for each that may be deleted.
const LOOKS: usize = 4;

/// Released identifiers and when each may be deleted.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    until_ms: HashMap<Key, u64>,
    first: BTreeSet<(u64, Key)>,
    /// How many each NVE released.
    of: HashMap<String, usize>,
    /// Where the next look at what may be deleted goes on: what is in use keeps nobody else's.
    looked_at: Option<(u64, Key)>,
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
        if let Some(count) = self.of.get_mut(&*record.owner) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&*record.owner);
            }
        }
    }

    /// For how long an identifier is kept for its last owner.
    pub(super) fn kept_ms(&self, key: Key, now_ms: u64) -> Option<u64> {
        self.until_ms.get(&key).and_then(|until_ms| until_ms.checked_sub(now_ms))
    }

    /// At most so many identifiers that are kept for nobody any more and that may go, the oldest first. It looks at a few
    /// times as many, and the next time at those behind them; after the last one at the first one again.
    pub(super) fn take_look(&mut self, now_ms: u64, most: usize, may_go: impl Fn(Key) -> bool) -> Vec<Key> {
        let after = self.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let over = self.first.range((after, Bound::Unbounded)).take_while(|(until_ms, _)| *until_ms < now_ms);
        let (mut found, mut looked_at) = (Vec::new(), None);
        for (place, looks) in over.zip(1..) {
            if may_go(place.1) {
                found.push(place.1);
            }
            if looks == LOOKS * most || found.len() == most {
                looked_at = Some(*place);
                break;
            }
        }
        self.looked_at = looked_at;
        found
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
