//! What sessions asked for: of each identifier, until the lifetime of its answer is over, they are told what changes.
//!
//! A session notes which of its identifiers changed, not how: it is told what is there when there is room.

use super::codec::encode;
use super::message::{Down, Encoded, INTERESTS, QUERIES, SessionId};
use super::model::Key;
use super::registry::Registry;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// How long what nobody has need not be asked for again.
pub(super) const NEGATIVE_LIFETIME_MS: u32 = 2_000;
/// How much longer than the lifetime of an answer its changes are told: an answer may be long on its way.
pub(super) const MARGIN_MS: u64 = 30_000;

/// Redirects of one session that wait, at most.
const REDIRECTS: usize = 1_024;
/// Shortest time between two redirects of one identifier in a session.
const REDIRECT_MS: u64 = 1_000;

/// What was asked for, and answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Identifiers that somebody has.
    pub held: u64,
    /// Identifiers that nobody has.
    pub nobody: u64,
    /// MAC addresses that somebody has.
    pub macs_held: u64,
    /// MAC addresses that nobody has.
    pub macs_nobody: u64,
    /// MAC addresses of networks of which the NVE has no tenants.
    pub macs_refused: u64,
}

/// What one session asked for.
#[derive(Debug, Default)]
pub(super) struct Interests {
    queries: VecDeque<(u64, Vec<Key>)>,
    /// Until when each is of interest.
    until_ms: HashMap<Key, u64>,
    oldest_first: BTreeSet<(u64, Key)>,
    changed: BTreeSet<Key>,
    /// What it is to be told although it did not ask.
    redirects: BTreeSet<Key>,
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

    /// What is of interest.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.until_ms.keys().copied()
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
        (registry, watchers, asked): (&Registry, &mut Watchers, &mut Asked),
        lifetime_ms: u32,
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        let (number, keys) = self.queries.pop_front()?;
        let nobody = registry.nobody();
        let records = keys.iter().map(|key| (key, registry.record(*key).unwrap_or(&nobody)));
        let mappings = encode(records.clone());
        asked.nobody += records.clone().filter(|(_, record)| !record.is_held()).count() as u64;
        for (key, _) in records.filter(|(_, record)| record.is_held()) {
            asked.held += 1;
            self.follow(*key, id, watchers, now_ms + told_ms(lifetime_ms));
        }
        self.expire(id, watchers, now_ms);
        let (revision, negative_lifetime_ms) = (registry.revision(), NEGATIVE_LIFETIME_MS);
        Some(Down::Answer { id: number, revision, mappings, lifetime_ms, negative_lifetime_ms })
    }

    /// Notes that the NVE sends to an identifier by an ILA router. Gives whether it will be told where that is: not if it
    /// was told a moment ago.
    pub(super) fn redirect(&mut self, key: Key, lifetime_ms: u32, now_ms: u64) -> bool {
        let just_told = now_ms + told_ms(lifetime_ms) - REDIRECT_MS;
        let is_told = self.until_ms.get(&key).is_some_and(|until_ms| *until_ms > just_told);
        !is_told && self.redirects.len() < REDIRECTS && self.redirects.insert(key)
    }

    /// Where identifiers are to which the NVE of session `id` sends by an ILA router, at most `most` of them.
    pub(super) fn redirected(
        &mut self,
        id: SessionId,
        (registry, watchers): (&Registry, &mut Watchers),
        (lifetime_ms, most): (u32, usize),
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        let mut records = Vec::new();
        while records.len() < most
            && let Some(key) = self.redirects.pop_first()
        {
            let Some(record) = registry.record(key).filter(|record| record.is_held()) else { continue };
            records.push((key, record));
            self.follow(key, id, watchers, now_ms + told_ms(lifetime_ms));
        }
        self.expire(id, watchers, now_ms);
        let mappings = encode(records.iter().map(|(key, record)| (key, *record)));
        let revision = registry.revision();
        (!records.is_empty()).then_some(Down::Redirect { revision, mappings, lifetime_ms })
    }

    /// From now on what changes of an identifier is told, until then.
    fn follow(&mut self, key: Key, id: SessionId, watchers: &mut Watchers, until_ms: u64) {
        self.changed.remove(&key);
        if let Some(before) = self.until_ms.insert(key, until_ms) {
            self.oldest_first.remove(&(before, key));
        }
        self.oldest_first.insert((until_ms, key));
        watchers.add(key, id);
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

/// For how long what changes of a mapping is told after an answer, in milliseconds.
fn told_ms(lifetime_ms: u32) -> u64 {
    u64::from(lifetime_ms) + MARGIN_MS
}
