//! The NVE's half of finding drift: what is in force is compared with a digest of the registry at the same revision.
//!
//! What stays different after it was told anew is what the node cannot take, such as a mapping that its configuration
//! contradicts. It is not asked for again as long as it differs by the same amount.

use crate::mapping::{Digest, Parts};
use std::collections::BTreeMap;

/// By SIR prefix.
pub(super) type Digests = Vec<(u64, Digest)>;

/// What came of comparing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriftCounts {
    /// Digests that were compared with what is in force.
    pub compared: u64,
    /// Parts of the mappings that differed and were asked for.
    pub parts: u64,
    /// Times that what operators want differed and was asked for.
    pub objects: u64,
}

/// Digests and what differed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Told, and to be compared once this revision is in force.
    told: Option<(u64, Digests)>,
    /// Being compared.
    under_way: Option<Digests>,
    /// By how much parts differed when they were asked for.
    asked: BTreeMap<(u64, u8), u64>,
    /// The same of what operators want.
    asked_objects: Option<u64>,
    pub(super) counts: DriftCounts,
}

impl Comparison {
    /// Another session begins.
    pub(super) fn begin(&mut self) {
        *self = Comparison { counts: self.counts, ..Comparison::default() };
    }

    /// A digest of this revision came. It replaces one that was not compared.
    pub(super) fn receive(&mut self, revision: u64, digests: Digests) {
        self.told = Some((revision, digests));
    }

    /// Whether what is in force is to be compared now: at `revision`. Nothing may be applied until [`Self::compared`].
    pub(super) fn is_next(&mut self, revision: u64) -> bool {
        if self.told.as_ref().is_none_or(|(told, _)| *told > revision) {
            return false;
        }
        // One of a revision that is in force no longer says nothing.
        self.under_way = self.told.take().filter(|(told, _)| *told == revision).map(|(_, digests)| digests);
        self.under_way.is_some()
    }

    /// Whether something is being compared.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// What is in force has these digests. Gives the parts to be asked for.
    pub(super) fn compared(&mut self, own: &[(u64, Digest)]) -> Parts {
        let Some(told) = self.under_way.take() else { return Parts::new() };
        self.counts.compared += 1;
        let (before, empty) = (std::mem::take(&mut self.asked), Digest::default());
        let mut parts = Parts::new();
        for (sir_prefix, own) in own {
            let told = told.iter().find(|(other, _)| other == sir_prefix).map_or(&empty, |(_, told)| told);
            for (part, by) in told.differences(own) {
                let at = (*sir_prefix, part);
                if before.get(&at) != Some(&by) {
                    parts.insert(at);
                }
                self.asked.insert(at, by);
            }
        }
        self.counts.parts += parts.len() as u64;
        parts
    }

    /// What operators want is this in the registry and that here. Gives whether to ask for it.
    pub(super) fn compare_objects(&mut self, told: u64, own: u64) -> bool {
        let by = (told != own).then(|| told.wrapping_sub(own));
        let asks = by.is_some() && self.asked_objects != by;
        self.asked_objects = by;
        self.counts.objects += u64::from(asks);
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::{Identifier, Locator};
    use crate::mapping::{LocatorChoice, part_of};

    fn digest(identifiers: &[u64]) -> Digest {
        let mut digest = Digest::default();
        let choices = [LocatorChoice { locator: Locator(1), priority: 0, weight: 1 }];
        identifiers.iter().for_each(|number| digest.add(Identifier(*number), &choices));
        digest
    }

    fn compare(comparison: &mut Comparison, told: &[(u64, &[u64])], own: &[(u64, &[u64])]) -> Parts {
        let digests = |all: &[(u64, &[u64])]| all.iter().map(|(sir, all)| (*sir, digest(all))).collect();
        comparison.receive(5, digests(told));
        assert!(comparison.is_next(5));
        let own: Digests = digests(own);
        comparison.compared(&own)
    }

    #[test]
    fn what_differs_is_asked_for_once_as_long_as_it_differs_by_the_same() {
        let mut comparison = Comparison::default();
        let part = |sir, number| (sir, part_of(Identifier(number)));
        // Of a domain that the node does not know it holds nothing, and asks for nothing.
        let equal = [(1, &[1, 2][..]), (9, &[7][..])];
        assert_eq!(compare(&mut comparison, &equal, &[(1, &[2, 1])]), Parts::new());
        let asked = compare(&mut comparison, &[(1, &[1, 2, 3])], &[(1, &[1, 2]), (2, &[4])]);
        assert_eq!(asked, Parts::from([part(1, 3), part(2, 4)]));
        // One of them was repaired, and the other one cannot be.
        let again = compare(&mut comparison, &[(1, &[1, 2, 3])], &[(1, &[1, 2]), (2, &[])]);
        assert_eq!(again, Parts::new());
        let other = compare(&mut comparison, &[(1, &[1, 2, 3])], &[(1, &[1]), (2, &[4])]);
        assert_eq!(other, Parts::from([part(1, 2), part(2, 4)]));
        comparison.begin();
        let anew = compare(&mut comparison, &[(1, &[1, 2, 3])], &[(1, &[1, 2])]);
        assert_eq!(anew, Parts::from([part(1, 3)]));
        assert_eq!((comparison.counts.compared, comparison.counts.parts), (5, 5));
    }

    #[test]
    fn a_digest_waits_for_its_revision_and_is_void_after_it() {
        let mut comparison = Comparison::default();
        assert!(!comparison.is_next(0));
        comparison.receive(5, vec![]);
        assert!(!comparison.is_next(4) && comparison.is_next(5) && comparison.is_under_way());
        let _ = comparison.compared(&[]);
        comparison.receive(6, vec![]);
        assert!(!comparison.is_next(7) && !comparison.is_next(6) && !comparison.is_under_way());
    }

    #[test]
    fn what_operators_want_is_asked_for_once_as_long_as_it_differs_by_the_same() {
        let mut comparison = Comparison::default();
        let asked = [(1, 1), (2, 1), (3, 2), (3, 1), (3, 3), (3, 1)];
        let asked = asked.map(|(told, own)| comparison.compare_objects(told, own));
        assert_eq!(asked, [false, true, false, true, false, true]);
        assert_eq!(comparison.counts.objects, 3);
    }
}
