//! What the simulated worlds share: chance, limits, traces, and how many lives are tried.

use super::{Choice, Key};
use crate::ila::Identifier;
use crate::mapping::{Digest, part_of};
use crate::nva::log::Limits;
use crate::nva::message::{Extent, Told};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::Range;

/// So small that pages, windows and the log have ends.
pub(super) const SMALL: Limits = Limits {
    transactions: 6,
    transaction_bytes: 4_096,
    message_records: 3,
    message_bytes: 4_096,
    window: 400,
    page: 3,
    page_bytes: 512,
    news_per_ms: 1,
};

/// SplitMix64: the seed decides everything.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below
    }
}

/// What the workers of a node look up.
pub(super) type Table = BTreeMap<Key, Vec<Choice>>;

/// A node applies what it is told.
pub(super) fn apply(table: &mut Table, extent: &Extent, mappings: Vec<Told>) {
    match extent {
        Extent::Changes => {}
        Extent::Parts(parts) => {
            table.retain(|key, _| !parts.contains(&(key.sir_prefix, part_of(Identifier(key.identifier)))));
        }
        Extent::All => table.clear(),
    }
    for told in mappings {
        match told.choices.is_empty() {
            true => _ = table.remove(&told.key),
            false => _ = table.insert(told.key, told.choices),
        }
    }
}

/// What a table adds up to, by SIR prefix.
pub(super) fn digests(table: &Table) -> Vec<(u64, Digest)> {
    let mut digests: BTreeMap<u64, Digest> = BTreeMap::from([(super::SIR, Digest::default())]);
    for (key, choices) in table {
        digests.entry(key.sir_prefix).or_default().add(Identifier(key.identifier), choices);
    }
    digests.into_iter().collect()
}

/// Everything that happened in a life, in its order: as one word (FNV-1a), and how many events it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    word: u64,
    events: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { word: 0xcbf2_9ce4_8422_2325, events: 0 }
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.word = text
            .bytes()
            .fold(self.word, |word, byte| (word ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Ok(())
    }
}

impl Trace {
    /// Adds an event.
    pub(super) fn note(&mut self, event: fmt::Arguments<'_>) {
        self.write_fmt(event).unwrap();
        self.events += 1;
    }
}

/// The seeds of the lives that are tried: so many as usual, or as `scripts/simulate` says.
pub(super) fn seeds(usual: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let first = number("ILAGATE_FIRST_SEED").unwrap_or(0);
    first..first + number("ILAGATE_SEEDS").unwrap_or(usual)
}
