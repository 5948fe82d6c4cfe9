//! What a node holds is compared with the registry now and then (drift is what differs although nothing is on its way): when
//! a session is told a digest, and what that says of what operators want.

use super::catalogue::Seen;
use crate::config::ObjectName;
use crate::mapping::Parts;
use std::sync::Arc;

/// Parts that are repaired one by one, at most; beyond them everything is told anew.
pub(super) const REPAIRED: usize = 64;

/// One session that takes digests.
#[derive(Debug)]
pub(super) struct Drift {
    /// Names the session; sessions are told at times of their own.
    number: u64,
    period_ms: u64,
    due_ms: u64,
    told: u64,
    /// What its node asked to be repaired, and was not told yet.
    pub(super) asked: Option<Arc<Parts>>,
}

impl Drift {
    /// Its first digest comes after about `period_ms`; 0: none comes.
    pub(super) fn new(number: u64, period_ms: u64, now_ms: u64) -> Self {
        let mut drift = Drift { number, period_ms, due_ms: 0, told: 0, asked: None };
        drift.begin(period_ms, now_ms);
        drift
    }

    /// The time between two digests is another one.
    pub(super) fn begin(&mut self, period_ms: u64, now_ms: u64) {
        self.period_ms = period_ms;
        // 80 to 120 of 100: sessions that began together are told apart.
        let fifths = period_ms / 5;
        let jitter = spread(self.number, self.told) % (2 * fifths + 1);
        self.due_ms = now_ms + 4 * fifths + jitter;
    }

    /// Whether a digest is to be told.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.period_ms > 0 && now_ms >= self.due_ms
    }

    /// A digest is told.
    pub(super) fn tell(&mut self, now_ms: u64) {
        self.told += 1;
        self.begin(self.period_ms, now_ms);
    }
}

fn spread(number: u64, told: u64) -> u64 {
    let word = (number << 32 ^ told).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ word >> 32
}

/// What operators want as one word: the sum of a word (FNV-1a) of each object, in whatever order.
pub(super) fn word_of<'s>(objects: impl Iterator<Item = &'s Seen>) -> u64 {
    objects.map(word_of_one).fold(0, u64::wrapping_add)
}

fn word_of_one(Seen { name, sequence, sir_prefix, entry }: &Seen) -> u64 {
    let (kind, names) = match name {
        ObjectName::Network(name) => (1, [name, ""]),
        ObjectName::Policy { from, to } => (2, [from, to.as_str()]),
        ObjectName::Attachment(name) => (3, [name, ""]),
    };
    let fields = [kind, *sequence, *sir_prefix].map(u64::to_be_bytes);
    let texts = [names[0], names[1], entry.written()].map(|text| text.bytes().chain([0]));
    let bytes = fields.into_iter().flatten().chain(texts.into_iter().flatten());
    bytes.fold(0xcbf2_9ce4_8422_2325, |word, byte| {
        (word ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_come_after_80_to_120_percent_of_the_period_and_not_all_at_once() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            let mut drift = Drift::new(number, 60_000, 0);
            let mut last_ms = 0;
            for _ in 0..10 {
                let waited_ms = drift.due_ms - last_ms;
                assert!((48_000..=72_000).contains(&waited_ms), "{waited_ms}");
                assert!(!drift.is_due(drift.due_ms - 1) && drift.is_due(drift.due_ms));
                seen.insert(waited_ms / 1_000);
                last_ms = drift.due_ms;
                drift.tell(last_ms);
            }
        }
        assert!(seen.len() > 20, "{seen:?}");
        assert!(!Drift::new(1, 0, 0).is_due(u64::MAX));
    }
}
