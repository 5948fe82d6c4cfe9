//! What the mappings of a SIR domain add up to, in 256 parts. Who holds the same mappings has the same digest, and two
//! digests tell in which parts their holders differ, whatever was added in which order.
//!
//! It is kept as mappings come and go: a sum of one word for each, so that what comes can be taken away again. It finds
//! mistakes and damage, not somebody who looks for two sets with one sum.

use super::LocatorChoice;
use crate::ila::Identifier;
use std::collections::BTreeSet;

/// Parts of a digest.
pub const PARTS: usize = 256;

/// Parts of the digests of SIR domains: each the upper 64 bits of a SIR prefix, and the number of a part.
pub type Parts = BTreeSet<(u64, u8)>;

/// The sums of the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(Box<[u64; PARTS]>);

impl Default for Digest {
    /// That of no mappings.
    fn default() -> Self {
        Digest(Box::new([0; PARTS]))
    }
}

impl Digest {
    /// With these sums.
    #[must_use]
    pub fn new(parts: Box<[u64; PARTS]>) -> Self {
        Digest(parts)
    }

    /// The sums.
    #[must_use]
    pub fn parts(&self) -> &[u64; PARTS] {
        &self.0
    }

    /// A mapping comes. The order of its locators does not matter.
    pub fn add(&mut self, identifier: Identifier, choices: &[LocatorChoice]) {
        let part = &mut self.0[usize::from(part_of(identifier))];
        *part = part.wrapping_add(word_of(identifier, choices));
    }

    /// A mapping that was added goes.
    pub fn remove(&mut self, identifier: Identifier, choices: &[LocatorChoice]) {
        let part = &mut self.0[usize::from(part_of(identifier))];
        *part = part.wrapping_sub(word_of(identifier, choices));
    }

    /// The parts in which it differs from another one, and by how much.
    pub fn differences<'d>(&'d self, other: &'d Digest) -> impl Iterator<Item = (u8, u64)> + 'd {
        let both = self.0.iter().zip(other.0.iter()).zip(0..=u8::MAX);
        both.filter(|((own, other), _)| own != other)
            .map(|((own, other), part)| (part, own.wrapping_sub(*other)))
    }
}

/// The part of an identifier.
#[must_use]
pub fn part_of(identifier: Identifier) -> u8 {
    (mixed(identifier.0) >> 56) as u8
}

fn word_of(identifier: Identifier, choices: &[LocatorChoice]) -> u64 {
    let of = |choice: &LocatorChoice| {
        let order = u64::from(choice.priority) << 16 | u64::from(choice.weight);
        mixed(mixed(choice.locator.0) ^ order)
    };
    let choices = choices.iter().map(of).fold(0, u64::wrapping_add);
    mixed(mixed(identifier.0) ^ choices)
}

/// The finish of SplitMix64: each bit of the word depends on each bit of what goes in. Peers compute it, so it stays.
#[must_use]
pub fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::Locator;
    use proptest::prelude::*;

    fn choice(locator: u64, priority: u8, weight: u16) -> LocatorChoice {
        LocatorChoice { locator: Locator(locator), priority, weight }
    }

    fn mappings() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..50u64, 0..3u64), 0..40)
    }

    fn digest(mappings: impl IntoIterator<Item = (u64, u64)>) -> Digest {
        let mut digest = Digest::default();
        mappings.into_iter().for_each(|(key, at)| digest.add(Identifier(key), &[choice(at, 0, 1)]));
        digest
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_what_goes_leaves_no_trace(all in mappings(), more in mappings()) {
            let mut both = digest(all.iter().chain(&more).copied());
            prop_assert_eq!(&both, &digest(more.iter().rev().chain(all.iter().rev()).copied()));
            for (key, at) in more {
                both.remove(Identifier(key), &[choice(at, 0, 1)]);
            }
            prop_assert_eq!(both, digest(all));
        }

        #[test]
        fn one_mapping_more_or_another_one_shows_in_its_part_alone(all in mappings(), key in 0..50u64) {
            let before = digest(all);
            let mut after = before.clone();
            after.add(Identifier(key), &[choice(9, 0, 1)]);
            let parts: Vec<u8> = after.differences(&before).map(|(part, _)| part).collect();
            prop_assert_eq!(parts, vec![part_of(Identifier(key))]);
        }
    }

    #[test]
    fn every_field_of_a_mapping_counts_and_the_order_of_locators_does_not() {
        let of = |key: u64, choices: &[LocatorChoice]| {
            let mut digest = Digest::default();
            digest.add(Identifier(key), choices);
            digest
        };
        let (one, other) = (choice(1, 0, 1), choice(2, 0, 1));
        assert_eq!(of(1, &[one, other]), of(1, &[other, one]));
        let all = [
            of(1, &[one]),
            of(2, &[one]),
            of(1, &[other]),
            of(1, &[choice(1, 1, 1)]),
            of(1, &[choice(1, 0, 2)]),
            of(1, &[one, other]),
            Digest::default(),
        ];
        for (n, digest) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|before| before != digest), "{n}");
        }
    }

    /// What docs/nva-protocol.md gives as an example.
    #[test]
    fn the_example_of_the_documentation() {
        let word = word_of(Identifier(0x2000_0000_0000_0001), &[choice(0xfd00_0001_0000_0001, 0, 1)]);
        assert_eq!((part_of(Identifier(0x2000_0000_0000_0001)), word), (0x75, 0x45b3_ad25_d3e1_f909));
    }
}
