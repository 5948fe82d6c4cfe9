//! What the mappings of the authority add up to.

use super::*;
use crate::mapping::{Digest, Parts, part_of};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn the_digest_is_that_of_what_the_authority_told_whatever_shadows_it(
        changes in prop::collection::vec((0..6u64, 0..3u64, 0..4usize), 0..60),
    ) {
        let (mut rib, mut told) = (rib(), BTreeMap::new());
        for (number, at, who) in changes {
            let (number, choices) = (number + 2, &[(at + 1, 0, 1)][..]);
            let change = if at == 0 { delete(number) } else { to(number, choices) };
            let origin = [Origin::Nva, Origin::Nva, Origin::Admin, Origin::File][who];
            match (origin, &change) {
                (Origin::Nva, Change::Upsert(MappingRecord { target: MappingTarget::Locators(choices), .. })) => {
                    told.insert(id(number), choices.clone());
                }
                (Origin::Nva, _) => _ = told.remove(&id(number)),
                _ => {}
            }
            // An operator may not delete what is not the operator's.
            let _ = rib.apply(Batch { origin, changes: vec![change], complete: false });
            let mut digest = Digest::default();
            told.iter().for_each(|(identifier, choices)| digest.add(*identifier, choices));
            let held = rib.digests();
            prop_assert_eq!(&held[0].1, &digest);
            let parts: Parts = (0..=u8::MAX).map(|part| (held[0].0, part)).collect();
            let mut in_parts: Vec<_> = rib.held_in(&parts).into_iter().map(|(_, it)| it).collect();
            in_parts.sort();
            prop_assert_eq!(in_parts, told.keys().copied().collect::<Vec<_>>());
        }
        for identifier in told.keys() {
            let parts = Parts::from([(rib.digests()[0].0, part_of(*identifier))]);
            prop_assert!(rib.held_in(&parts).iter().any(|(_, it)| it == identifier));
        }
    }
}
