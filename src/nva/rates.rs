//! How often one identifier may change: a storm of one attachment makes few transactions, and NVEs are told little of it.
//! What changes too often is refused for a moment, and its last state comes through.

use super::bucket::Bucket;
use super::model::Key;
use std::collections::{HashMap, VecDeque};

/// Changes of one identifier at once, and the time after which another one may come.
const CHANGES: (u64, u64) = (20, 500_000);
/// Time after which nothing needs to be known of an identifier: its bucket is full.
const FULL_MS: u64 = CHANGES.0 * CHANGES.1 / 1_000;

/// Identifiers that changed a moment ago.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// How often each may change, and when it did last.
    of: HashMap<Key, (Bucket, u64)>,
    /// Those that may be forgotten, and when; in this order.
    order: VecDeque<(u64, Key)>,
}

impl Rates {
    /// An identifier is to be registered otherwise than it is. Gives whether that may be now.
    pub(super) fn may_change(&mut self, key: Key, now_ms: u64) -> bool {
        let new = || (Bucket::new(CHANGES.0, CHANGES.1), now_ms);
        let is_new = !self.of.contains_key(&key);
        let (bucket, last_ms) = self.of.entry(key).or_insert_with(new);
        *last_ms = now_ms;
        if is_new {
            self.order.push_back((now_ms + FULL_MS, key));
        }
        bucket.take(now_ms)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now_ms: u64) {
        while let Some((until_ms, key)) =
            self.order.front().copied().filter(|(until_ms, _)| now_ms >= *until_ms)
        {
            self.order.pop_front();
            match self.of.get(&key).map(|(_, last_ms)| last_ms + FULL_MS) {
                // It changed since.
                Some(later_ms) if later_ms > until_ms => self.order.push_back((now_ms.max(later_ms), key)),
                _ => _ = self.of.remove(&key),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_changes_twenty_times_at_once_and_twice_a_second_and_nothing_is_kept_of_it_later() {
        let mut rates = Rates::default();
        let key = |identifier| Key { sir_prefix: 1, identifier };
        let changes = |rates: &mut Rates, number, now_ms| {
            (0..100).filter(|_| rates.may_change(key(number), now_ms)).count()
        };
        assert_eq!((changes(&mut rates, 1, 0), changes(&mut rates, 2, 0)), (20, 20));
        assert_eq!((changes(&mut rates, 1, 499), changes(&mut rates, 1, 3_000)), (0, 6));
        rates.tick(10_000);
        assert_eq!((rates.of.len(), rates.order.len()), (1, 1));
        rates.tick(13_000);
        assert_eq!((rates.of.len(), rates.order.len()), (0, 0));
        assert_eq!(changes(&mut rates, 1, 13_000), 20);
    }
}
