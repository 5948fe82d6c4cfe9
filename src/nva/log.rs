//! What sessions are told, encoded once for all of them: the recent transactions and the pages of snapshots. A session
//! holds a revision or a key, and nothing else.

use super::codec::{Ended, encode, encode_apart};
use super::message::Encoded;
use super::model::{Key, Network, Transaction};
use super::registry::Registry;
use crate::ila::Identifier;
use crate::mapping::{Parts, Scopes, part_of};
use prost::bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How much is kept and told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions that are kept, at most.
    pub transactions: usize,
    /// Their bytes, at most.
    pub transaction_bytes: usize,
    /// Records of one message, at most; one transaction may have more.
    pub message_records: usize,
    /// Their bytes.
    pub message_bytes: usize,
    /// Weight ([`super::message::Down::weight`]) that may be on its way to one NVE, besides the message that goes
    /// beyond it.
    pub window: usize,
    /// Mappings in a page of a snapshot.
    pub page: usize,
    /// Bytes of pages that are kept for other sessions.
    pub page_bytes: usize,
    /// Messages with transactions that leave in a millisecond, for all sessions together. What comes faster waits and is
    /// told together.
    pub news_per_ms: usize,
}

#[derive(Debug)]
struct Entry {
    /// Its records, in the order in which they are encoded.
    records: Box<[Ended]>,
    encoded: Encoded,
    /// When it became durable.
    at_ms: u64,
    /// The virtual networks in which it changes something, the first ones.
    networks: Box<[Network]>,
}

impl Entry {
    fn weight(&self) -> usize {
        let networks = self.networks.len() * size_of::<Network>();
        self.encoded.len() + self.records.len() * size_of::<Ended>() + networks + ENTRY_BYTES
    }

    /// The records that are in scopes.
    fn within<'e>(&'e self, scopes: &'e Scopes) -> impl Iterator<Item = &'e [u8]> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|record| record.end));
        let within = starts.zip(&self.records).filter(|(_, record)| holds(scopes, record.key));
        within.filter_map(|(start, record)| self.encoded.get(start..record.end))
    }
}

fn holds(scopes: &Scopes, key: Key) -> bool {
    scopes.holds(key.sir_prefix, key.identifier)
}

/// Mappings that are looked at for one page of some parts: a few milliseconds.
const LOOKED_AT: usize = 16_384;

/// What an entry takes besides what is encoded, in bytes.
const ENTRY_BYTES: usize = size_of::<Entry>() + 32;

/// Virtual networks of one transaction that are kept in mind.
const NETWORKS: usize = 64;

/// The recent transactions.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// Revision of the last transaction, which is there unless none is.
    revision: u64,
    bytes: usize,
    limits: Limits,
}

impl Log {
    /// An empty log at a revision.
    pub(super) fn new(revision: u64, limits: Limits) -> Self {
        Log { entries: VecDeque::new(), revision, bytes: 0, limits }
    }

    /// How much is kept and told.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Revision of the last transaction.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Adds the next transaction, and forgets the oldest ones beyond the limits.
    pub(super) fn push(&mut self, transaction: &Transaction, at_ms: u64) {
        let (encoded, records) = encode_apart(transaction.writes.iter().map(|(key, record)| (key, record)));
        let networks: BTreeSet<Network> =
            transaction.writes.iter().filter_map(|(key, _)| key.network()).collect();
        let networks = networks.into_iter().take(NETWORKS).collect();
        let entry = Entry { records, encoded, at_ms, networks };
        self.bytes += entry.weight();
        self.entries.push_back(entry);
        self.revision += 1;
        while self.entries.len() > self.limits.transactions || self.bytes > self.limits.transaction_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.weight();
        }
    }

    /// Whether every transaction after this revision is there.
    pub(super) fn holds_after(&self, revision: u64) -> bool {
        self.revision.checked_sub(revision).is_some_and(|missing| missing <= self.entries.len() as u64)
    }

    /// When transactions after a revision and up to another one became durable, as far as they are there, and the virtual
    /// networks in which each changes something.
    pub(super) fn times(&self, after: u64, to: u64) -> impl Iterator<Item = (u64, &[Network])> {
        let first = self.revision - self.entries.len() as u64;
        let skipped = usize::try_from(after.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(to.saturating_sub(after.max(first))).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).take(count).map(|entry| (entry.at_ms, &*entry.networks))
    }

    /// The next transactions after a revision that fit one message, as far as they are in scopes, and the revision of the
    /// last of them; none if there is none, or not all of them are there any more.
    pub(super) fn after(&self, revision: u64, scopes: &Scopes) -> Option<(u64, Encoded)> {
        match scopes.is_everything() {
            true => self.whole_after(revision),
            false => self.parts_after(revision, scopes),
        }
    }

    /// The entries after a revision, if all are there.
    fn entries_after(&self, revision: u64) -> Option<impl Iterator<Item = &Entry>> {
        let missing = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        let first = self.entries.len().checked_sub(missing)?;
        Some(self.entries.iter().skip(first))
    }

    fn parts_after(&self, revision: u64, scopes: &Scopes) -> Option<(u64, Encoded)> {
        let mut all = BytesMut::new();
        let (mut records, mut last) = (0, revision);
        for entry in self.entries_after(revision)? {
            let (before, mut more) = (all.len(), 0);
            for record in entry.within(scopes) {
                all.extend_from_slice(record);
                more += 1;
            }
            let is_beyond =
                records + more > self.limits.message_records || all.len() > self.limits.message_bytes;
            if before > 0 && is_beyond {
                all.truncate(before);
                break;
            }
            (records, last) = (records + more, last + 1);
        }
        (last > revision).then(|| (last, all.freeze()))
    }

    fn whole_after(&self, revision: u64) -> Option<(u64, Encoded)> {
        let (mut records, mut bytes, mut count) = (0, 0, 0);
        for entry in self.entries_after(revision)? {
            (records, bytes) = (records + entry.records.len(), bytes + entry.encoded.len());
            if count > 0 && (records > self.limits.message_records || bytes > self.limits.message_bytes) {
                break;
            }
            count += 1;
        }
        let mut parts = self.entries_after(revision)?.take(count).map(|entry| &entry.encoded);
        let encoded = match (parts.next()?, count) {
            (one, 1) => one.clone(),
            (one, _) => {
                let mut all = BytesMut::from(&one[..]);
                parts.for_each(|part| all.extend_from_slice(part));
                all.freeze()
            }
        };
        Some((revision + count as u64, encoded))
    }
}

/// A part of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Its last key.
    pub(super) last: Key,
    /// The revision that it shows.
    pub(super) revision: u64,
    pub(super) encoded: Encoded,
}

/// Pages that another session may want, by the key before them.
#[derive(Debug, Default)]
pub(super) struct Pages {
    kept: BTreeMap<Option<Key>, Page>,
    oldest_first: VecDeque<Option<Key>>,
    bytes: usize,
}

impl Pages {
    /// The page after a key of what is in scopes: a kept one if the log holds everything that came after it.
    pub(super) fn after(
        &mut self,
        key: Option<Key>,
        registry: &Registry,
        log: &Log,
        scopes: &Scopes,
    ) -> Option<Page> {
        if !scopes.is_everything() {
            // Others have other scopes: it is not kept.
            let mut last = None;
            let records = registry.held_in(scopes, key);
            let encoded = encode(records.take(log.limits.page).inspect(|(key, _)| last = Some(**key)));
            return Some(Page { last: last?, revision: log.revision, encoded });
        }
        if let Some(page) = self.kept.get(&key).filter(|page| log.holds_after(page.revision)) {
            return Some(page.clone());
        }
        let mut last = None;
        let records = registry.held_after(key).take(log.limits.page).inspect(|(key, _)| last = Some(**key));
        let encoded = encode(records);
        let page = Page { last: last?, revision: log.revision, encoded };
        self.keep(key, page.clone(), log.limits.page_bytes);
        Some(page)
    }

    /// The page after a key of these parts of what is in scopes, which nobody else wants. It may be empty: it looks at a
    /// bounded number of keys.
    pub(super) fn of_parts(
        parts: &Parts,
        key: Option<Key>,
        (registry, log): (&Registry, &Log),
        scopes: &Scopes,
    ) -> Option<Page> {
        let (mut last, mut records) = (None, Vec::new());
        for (key, record) in registry.held_in(scopes, key).take(LOOKED_AT) {
            last = Some(*key);
            if parts.contains(&(key.sir_prefix, part_of(Identifier(key.identifier)))) {
                records.push((key, record));
            }
            if records.len() >= log.limits.page {
                break;
            }
        }
        Some(Page { last: last?, revision: log.revision, encoded: encode(records) })
    }

    fn keep(&mut self, key: Option<Key>, page: Page, most_bytes: usize) {
        self.bytes += page.encoded.len();
        match self.kept.insert(key, page) {
            Some(before) => self.bytes -= before.encoded.len(),
            None => self.oldest_first.push_back(key),
        }
        while self.bytes > most_bytes {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            self.bytes -= self.kept.remove(&oldest).map_or(0, |page| page.encoded.len());
        }
    }

    /// Forgets all, once nobody wants any.
    pub(super) fn clear(&mut self) {
        *self = Pages::default();
    }
}
