//! What sessions asked for: of each identifier, until the lifetime of its answer is over, they are told what changes.
//!
//! A session notes which of its identifiers changed, not how: it is told what is there when there is room.

use super::codec::encode;
use super::message::{Down, Encoded, INTERESTS, QUERIES, SessionId};
use super::model::Key;
use super::registry::Registry;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// How long a mapping may be used after an answer.
const LIFETIME_MS: u32 = 300_000;
/// How long what nobody has need not be asked for again.
const NEGATIVE_LIFETIME_MS: u32 = 2_000;
/// How much longer than the lifetime of an answer its changes are told: an answer may be long on its way.
const MARGIN_MS: u64 = 30_000;

/// What one session asked for.
#[derive(Debug, Default)]
pub(super) struct Interests {
    queries: VecDeque<(u64, Vec<Key>)>,
    /// Until when each is of interest.
    until_ms: HashMap<Key, u64>,
    oldest_first: BTreeSet<(u64, Key)>,
    changed: BTreeSet<Key>,
}

/// Who is told of an identifier.
#[derive(Debug, Default)]
pub(super) struct Watchers(HashMap<Key, BTreeSet<SessionId>>);

impl Watchers {
    fn add(&mut self, key: Key, id: SessionId) {
        self.0.entry(key).or_default().insert(id);
    }

    fn remove(&mut self, key: Key, id: SessionId) {
        if let Some(sessions) = self.0.get_mut(&key) {
            sessions.remove(&id);
            if sessions.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// Those who are to be told of these identifiers, with each.
    pub(super) fn of(&self, keys: impl Iterator<Item = Key>) -> impl Iterator<Item = (SessionId, Key)> {
        keys.flat_map(|key| self.0.get(&key).into_iter().flatten().map(move |id| (*id, key)))
    }

    /// A session ended.
    pub(super) fn forget(&mut self, id: SessionId, interests: &Interests) {
        interests.until_ms.keys().for_each(|key| self.remove(*key, id));
    }
}

impl Interests {
    /// Notes a query. `false`: too many wait.
    pub(super) fn ask(&mut self, id: u64, keys: Vec<Key>) -> bool {
        let has_room = self.queries.len() < QUERIES;
        if has_room {
            self.queries.push_back((id, keys));
        }
        has_room
    }

    /// Whether a query waits.
    pub(super) fn is_asking(&self) -> bool {
        !self.queries.is_empty()
    }

    /// An identifier changed.
    pub(super) fn changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    /// Answers the oldest query of session `id`.
    pub(super) fn answer(
        &mut self,
        id: SessionId,
        (registry, watchers): (&Registry, &mut Watchers),
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        let (number, keys) = self.queries.pop_front()?;
        let nobody = registry.nobody();
        let records = keys.iter().map(|key| (key, registry.record(*key).unwrap_or(&nobody)));
        let mappings = encode(records.clone());
        for (key, _) in records.filter(|(_, record)| record.is_held()) {
            let until_ms = now_ms + u64::from(LIFETIME_MS) + MARGIN_MS;
            self.changed.remove(key);
            if let Some(before) = self.until_ms.insert(*key, until_ms) {
                self.oldest_first.remove(&(before, *key));
            }
            self.oldest_first.insert((until_ms, *key));
            watchers.add(*key, id);
        }
        self.expire(id, watchers, now_ms);
        let (lifetime_ms, negative_lifetime_ms) = (LIFETIME_MS, NEGATIVE_LIFETIME_MS);
        let revision = registry.revision();
        Some(Down::Answer { id: number, revision, mappings, lifetime_ms, negative_lifetime_ms })
    }

    /// What changed of the identifiers of session `id`, at most `most` of them.
    pub(super) fn news(&mut self, registry: &Registry, most: usize) -> Option<Down<Encoded>> {
        let (mut changed, nobody) = (Vec::new(), registry.nobody());
        while changed.len() < most
            && let Some(key) = self.changed.pop_first()
        {
            // What is of interest no longer is not told.
            if self.until_ms.contains_key(&key) {
                // What was released may be deleted meanwhile.
                changed.push((key, registry.record(key).unwrap_or(&nobody)));
            }
        }
        let mappings = encode(changed.iter().map(|(key, record)| (key, *record)));
        (!changed.is_empty()).then(|| Down::Delta(registry.revision(), mappings))
    }

    /// Forgets what is of interest no longer, and the oldest beyond the limit.
    fn expire(&mut self, id: SessionId, watchers: &mut Watchers, now_ms: u64) {
        while let Some((until_ms, key)) = self.oldest_first.first().copied()
            && (now_ms >= until_ms || self.until_ms.len() > INTERESTS)
        {
            self.oldest_first.pop_first();
            self.until_ms.remove(&key);
            watchers.remove(key, id);
        }
    }
}
