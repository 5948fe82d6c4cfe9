//! What an NVE in cache mode asked the authority for: which mappings it has and for how long, what nobody has, and what
//! is being asked.
//!
//! A mapping that is about to expire is marked, so that workers tell of packets that use it; it is asked for again only
//! then. After the end of a session mappings are used for a grace period.

use super::message::{Down, INTERESTS, QUERIES, QUERY_KEYS, Told};
use super::model::{Choice, Key};
use super::waiting::{Came, Waiting};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Mappings, at most. The authority follows no more; the oldest leave.
const MAPPINGS: usize = INTERESTS;
/// Identifiers that nobody has, at most. The oldest leave.
const NEGATIVES: usize = 16_384;
/// Shortest and longest lifetime of a mapping, whatever the authority says.
const LIFETIME_MS: (u64, u64) = (1_000, 3_600_000);
/// The same of an identifier that nobody has.
const NEGATIVE_LIFETIME_MS: (u64, u64) = (1_000, 5_000);
/// How many lifetimes mappings are used after the end of a session. The authority counts on it: it gives nobody else what
/// may be in use.
pub(super) const GRACE: u64 = 2;
/// In which part of its lifetime a mapping is marked, in percent: from here on, drawn for each.
const MARK_PERCENT: (u64, u64) = (80, 90);
/// Shortest time between two batches of marks: each may cost the node a snapshot.
const MARK_MS: u64 = 250;
/// How long mappings of a session before stay at least while there is another one: until they are asked for again.
const CONFIRM_MS: u64 = 120_000;
/// Changes that are applied at once, at most.
const CHANGES: usize = 4_096;

/// Identifiers with the time until when something holds of each.
#[derive(Debug, Default)]
struct Timed {
    until_ms: HashMap<Key, u64>,
    first: BTreeSet<(u64, Key)>,
}

impl Timed {
    fn insert(&mut self, key: Key, until_ms: u64) {
        self.remove(key);
        self.until_ms.insert(key, until_ms);
        self.first.insert((until_ms, key));
    }

    fn remove(&mut self, key: Key) -> bool {
        let until_ms = self.until_ms.remove(&key);
        until_ms.is_some_and(|until_ms| self.first.remove(&(until_ms, key)))
    }

    /// Takes one whose time is over by `now_ms`, or the first one if there are more than `most`.
    fn take_over(&mut self, now_ms: u64, most: usize) -> Option<Key> {
        let (until_ms, key) = *self.first.first()?;
        (now_ms >= until_ms || self.first.len() > most).then(|| {
            self.remove(key);
            key
        })
    }
}

/// What came of it, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Identifiers that were asked for.
    pub asked: u64,
    /// Misses of identifiers that are known, being asked for or known to be nobody's.
    pub suppressed: u64,
    /// Misses for which there was no room.
    pub lost: u64,
    /// Answers that nobody has an identifier.
    pub negative: u64,
    /// Mappings that were asked for again before they expired, because packets used them.
    pub refreshed: u64,
    /// Mappings that the authority told unasked, because packets went by an ILA router.
    pub redirected: u64,
    /// Mappings, now.
    pub mappings: u64,
}

/// What the workers are to apply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Whether everything that they have goes before.
    pub(super) whole: bool,
    /// Mappings; those without locators go.
    pub(super) mappings: Vec<Told>,
    /// Those that are about to expire.
    pub(super) expiring: Vec<Key>,
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Of the times of marks.
    seed: u64,
    mappings: HashMap<Key, Vec<Choice>>,
    lifetimes: Timed,
    /// When mappings are marked.
    marks: Timed,
    marks_due_ms: u64,
    /// Those of which workers tell that they are used, or are about to.
    marked: BTreeSet<Key>,
    /// What the authority said last.
    lifetime_ms: u64,
    /// Whether there is a session.
    live: bool,
    negatives: Timed,
    /// Identifiers that wait to be asked for, or for an answer.
    pending: BTreeSet<Key>,
    waiting: Waiting,
    /// Mappings of a session before, which are asked for again.
    unconfirmed: BTreeSet<Key>,
    /// Until when those may be used that the session did not tell of yet. It makes no longer what it does not tell of.
    graces: HashMap<Key, u64>,
    queries: BTreeMap<u64, Vec<Key>>,
    next_id: u64,
    /// What the workers do not have yet.
    changes: BTreeMap<Key, Vec<Choice>>,
    /// Marks that they do not have yet.
    expiring: BTreeSet<Key>,
    /// Whether everything that they have goes before.
    anew: bool,
    counts: Counts,
}

impl Cache {
    /// An empty cache. `seed` is that of its jitter.
    pub(super) fn new(seed: u64) -> Self {
        Cache { seed, ..Cache::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { mappings: self.mappings.len() as u64, ..self.counts }
    }

    /// A packet needs this identifier, or uses a marked mapping.
    pub(super) fn miss(&mut self, key: Key, now_ms: u64) {
        let is_negative = self.negatives.until_ms.get(&key).is_some_and(|until_ms| now_ms < *until_ms);
        let is_marked = self.marked.contains(&key);
        let is_known = self.mappings.contains_key(&key) && !is_marked || self.pending.contains(&key);
        if is_negative || is_known || !key.is_mappable() {
            self.counts.suppressed += 1;
        } else {
            match self.waiting.push(key) {
                Came::Waits => {}
                Came::InPlaceOf(other) => {
                    self.counts.lost += 1;
                    self.pending.remove(&other);
                }
                Came::Lost => return self.counts.lost += 1,
            }
            self.counts.refreshed += u64::from(is_marked);
            self.pending.insert(key);
        }
    }

    /// A session begins: what there is of another one is asked for again.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.live = true;
        self.unconfirmed = self.mappings.keys().copied().collect();
        for key in &self.unconfirmed {
            let until_ms = self.lifetimes.until_ms.get(key).copied().unwrap_or(0);
            self.graces.insert(*key, until_ms);
            self.lifetimes.insert(*key, until_ms.max(now_ms + CONFIRM_MS));
        }
    }

    /// The session ended, or none came about. What was asked is no longer of use: packets that need it will say so again.
    /// Nor are marks: nobody could be asked.
    pub(super) fn end(&mut self, now_ms: u64) {
        self.queries.clear();
        self.pending.clear();
        self.waiting.clear();
        if !std::mem::take(&mut self.live) {
            return;
        }
        self.marks = Timed::default();
        for key in std::mem::take(&mut self.marked) {
            self.unmark(key);
        }
        self.lifetimes = Timed::default();
        let graces = std::mem::take(&mut self.graces);
        for key in self.mappings.keys() {
            let until_ms = graces.get(key).copied().unwrap_or(now_ms + GRACE * self.lifetime_ms);
            self.lifetimes.insert(*key, until_ms);
        }
    }

    /// The workers have something else than what was told: everything goes.
    pub(super) fn forget(&mut self) {
        let Cache { seed, counts, next_id, live, .. } = *self;
        *self = Cache { seed, counts, next_id, live, anew: true, ..Cache::default() };
    }

    /// The next query, if one may be sent.
    pub(super) fn next_query(&mut self) -> Option<(u64, Vec<Key>)> {
        if self.queries.len() >= QUERIES {
            return None;
        }
        let mut keys: Vec<Key> = Vec::new();
        while keys.len() < QUERY_KEYS
            // What is there and may be gone comes first: its zero alias may be somebody's now.
            && let Some(key) = self.unconfirmed.pop_first().or_else(|| self.waiting.pop())
        {
            self.pending.insert(key);
            keys.push(key);
        }
        if keys.is_empty() {
            return None;
        }
        self.next_id += 1;
        self.counts.asked += keys.len() as u64;
        self.queries.insert(self.next_id, keys.clone());
        Some((self.next_id, keys))
    }

    /// Takes in an answer or what changed.
    ///
    /// # Errors
    /// The message is out of turn.
    pub(super) fn receive(&mut self, down: Down, now_ms: u64) -> Result<(), Down> {
        match down {
            Down::Answer { id, ref mappings, lifetime_ms, negative_lifetime_ms, .. } => {
                let Some(keys) = self.queries.remove(&id) else { return Err(down) };
                keys.iter().for_each(|key| _ = self.pending.remove(key));
                let keys: BTreeSet<Key> = keys.into_iter().collect();
                self.set_lifetime(lifetime_ms);
                let (least, most) = NEGATIVE_LIFETIME_MS;
                let negative_ms = now_ms + u64::from(negative_lifetime_ms).clamp(least, most);
                for Told { key, choices, .. } in mappings.iter().filter(|told| keys.contains(&told.key)) {
                    if choices.is_empty() {
                        self.counts.negative += 1;
                        self.remove(*key);
                        self.negatives.insert(*key, negative_ms);
                    } else {
                        self.learn(*key, choices, now_ms);
                    }
                }
                self.make_room();
            }
            Down::Redirect { mappings, lifetime_ms, .. } => {
                self.set_lifetime(lifetime_ms);
                for Told { key, choices, .. } in mappings {
                    if !choices.is_empty() && key.is_mappable() {
                        self.counts.redirected += 1;
                        self.learn(key, &choices, now_ms);
                    }
                }
                self.make_room();
            }
            Down::Delta(_, mappings) => {
                for Told { key, choices, .. } in mappings {
                    if choices.is_empty() {
                        self.remove(key);
                    } else if self.mappings.contains_key(&key) {
                        // It is not younger by that.
                        if self.marked.contains(&key) {
                            self.marks.insert(key, now_ms);
                        }
                        self.put(key, &choices);
                    }
                }
            }
            other => return Err(other),
        }
        Ok(())
    }

    /// Forgets what is over, and marks what is about to be.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while let Some(key) = self.lifetimes.take_over(now_ms, MAPPINGS) {
            self.remove(key);
        }
        while self.negatives.take_over(now_ms, NEGATIVES).is_some() {}
        if now_ms < self.marks_due_ms {
            return;
        }
        self.marks_due_ms = now_ms + MARK_MS;
        while let Some(key) = self.marks.take_over(now_ms, MAPPINGS) {
            // What is still on its way to the workers is marked once it is there.
            if self.changes.contains_key(&key) {
                self.marks.insert(key, now_ms + MARK_MS);
            } else if self.mappings.contains_key(&key) {
                self.marked.insert(key);
                self.expiring.insert(key);
            }
        }
    }

    /// What the workers are to apply next.
    pub(super) fn next_changes(&mut self) -> Option<Changes> {
        let whole = std::mem::take(&mut self.anew);
        if self.changes.is_empty() && self.expiring.is_empty() && !whole {
            return None;
        }
        let mut changes = Changes { whole, ..Changes::default() };
        while changes.mappings.len() < CHANGES
            && !whole
            && let Some((key, choices)) = self.changes.pop_first()
        {
            changes.mappings.push(Told { key, choices, sequence: 0 });
        }
        while changes.expiring.len() < CHANGES
            && !whole
            && let Some(key) = self.expiring.pop_first()
        {
            changes.expiring.push(key);
        }
        Some(changes)
    }

    fn set_lifetime(&mut self, lifetime_ms: u32) {
        let (least, most) = LIFETIME_MS;
        self.lifetime_ms = u64::from(lifetime_ms).clamp(least, most);
    }

    /// The oldest leave if there are too many.
    fn make_room(&mut self) {
        while let Some(key) = self.lifetimes.take_over(0, MAPPINGS) {
            self.remove(key);
        }
        while self.negatives.take_over(0, NEGATIVES).is_some() {}
    }

    /// The authority says where an identifier is, for a whole lifetime.
    fn learn(&mut self, key: Key, choices: &[Choice], now_ms: u64) {
        self.negatives.remove(key);
        self.graces.remove(&key);
        self.lifetimes.insert(key, now_ms + self.lifetime_ms);
        let (first, last) = MARK_PERCENT;
        let percent = first + mix(key.identifier ^ self.seed ^ now_ms) % (last - first);
        self.marks.insert(key, now_ms + self.lifetime_ms * percent / 100);
        self.put(key, choices);
    }

    fn put(&mut self, key: Key, choices: &[Choice]) {
        let is_marked = self.marked.remove(&key);
        if self.mappings.get(&key).is_none_or(|before| before != choices) {
            self.mappings.insert(key, choices.to_vec());
            self.expiring.remove(&key);
            self.changes.insert(key, choices.to_vec());
        } else if is_marked {
            self.unmark(key);
        }
    }

    /// Takes a mark back, also one that the workers have.
    fn unmark(&mut self, key: Key) {
        if !self.expiring.remove(&key)
            && let Some(choices) = self.mappings.get(&key)
        {
            self.changes.insert(key, choices.clone());
        }
    }

    fn remove(&mut self, key: Key) {
        self.lifetimes.remove(key);
        self.marks.remove(key);
        self.marked.remove(&key);
        self.expiring.remove(&key);
        self.unconfirmed.remove(&key);
        self.graces.remove(&key);
        if self.mappings.remove(&key).is_some() {
            self.changes.insert(key, Vec::new());
        }
    }
}

/// Bits of all of a word in its lowest ones (the finalizer of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
