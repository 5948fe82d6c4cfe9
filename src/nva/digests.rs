//! What the mappings of each SIR domain add up to, kept as the registry changes.

use super::model::{Key, Record};
use crate::ila::Identifier;
use crate::mapping::Digest;
use std::collections::BTreeMap;

/// Records that are added up at once, at most: a few milliseconds.
pub(super) const ADDED_UP: usize = 65_536;

/// By SIR prefix.
#[derive(Debug, Default)]
pub(super) struct Digests(BTreeMap<u64, Digest>);

impl Digests {
    /// Of these records; none if they are too many to be added up at once.
    pub(super) fn of<'r>(records: impl Iterator<Item = (&'r Key, &'r Record)>) -> Option<Self> {
        let mut digests = Digests::default();
        for (n, (key, record)) in records.enumerate() {
            if n == ADDED_UP {
                return None;
            }
            digests.add(*key, record);
        }
        Some(digests)
    }

    /// A record comes. One that nobody holds counts for nothing.
    pub(super) fn add(&mut self, key: Key, record: &Record) {
        if record.is_held() {
            self.0.entry(key.sir_prefix).or_default().add(Identifier(key.identifier), &record.choices);
        }
    }

    /// A record that was added goes.
    pub(super) fn remove(&mut self, key: Key, record: &Record) {
        if record.is_held() {
            self.0.entry(key.sir_prefix).or_default().remove(Identifier(key.identifier), &record.choices);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(u64, Digest)> {
        self.0.iter().map(|(sir_prefix, digest)| (*sir_prefix, digest.clone())).collect()
    }
}
