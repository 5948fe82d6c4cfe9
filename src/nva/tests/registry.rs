//! Laws of registrations.

use super::*;
use crate::ila::Identifier;
use crate::nva::model::{Record, Transaction};
use crate::nva::registry::{Draft, FreezeRules, Quotas, Refusal, Registry};

const HOLD_DOWN_MS: u64 = 60_000;

fn empty() -> Registry {
    Registry::new(nves(2), [], 0, (0, HOLD_DOWN_MS))
}

/// One request in a transaction of its own.
fn register(
    registry: &mut Registry,
    nve: u64,
    key: Key,
    choices: Vec<Choice>,
    now_ms: u64,
) -> Result<u64, Refusal> {
    let mut draft = Draft::default();
    let judged = registry.register(&mut draft, &name(nve), claim(key, choices), now_ms);
    if let Some(transaction) = draft.finish() {
        registry.apply(&transaction, now_ms);
    }
    judged
}

fn release(registry: &mut Registry, nve: u64, key: Key, now_ms: u64) -> Result<u64, Refusal> {
    let mut draft = Draft::default();
    let judged = registry.unregister(&mut draft, &name(nve), key);
    if let Some(transaction) = draft.finish() {
        registry.apply(&transaction, now_ms);
    }
    judged
}

#[test]
fn creating_never_overwrites_and_names_the_owner() {
    let mut registry = empty();
    assert_eq!(register(&mut registry, 1, key(1), at(1), 0), Ok(1));
    let refusal = register(&mut registry, 2, key(1), at(2), 0).unwrap_err();
    assert_eq!((refusal.owner.as_deref(), refusal.sequence, refusal.temporary), (Some("nve1"), 1, false));
    assert_eq!(registry.record(key(1)).unwrap().owner, "nve1");
    // Nor within one transaction.
    let mut draft = Draft::default();
    assert_eq!(registry.register(&mut draft, "nve2", claim(key(2), at(2)), 0), Ok(2));
    assert!(registry.register(&mut draft, "nve1", claim(key(2), at(1)), 0).is_err());
    assert_eq!(draft.finish().unwrap().writes.len(), 1);
}

#[test]
fn registering_in_place_keeps_the_sequence_and_writes_nothing() {
    let mut registry = empty();
    let two = || {
        let choice = |n| Choice { locator: locator(1, n), priority: n as u8, weight: 1 };
        vec![choice(1), choice(0)]
    };
    assert_eq!(register(&mut registry, 1, key(1), two(), 0), Ok(1));
    let (revision, mut turned) = (registry.revision(), two());
    turned.reverse();
    assert_eq!(register(&mut registry, 1, key(1), turned, 0), Ok(1));
    assert_eq!(registry.revision(), revision);
    assert_eq!(register(&mut registry, 1, key(1), at(1), 0), Ok(2));
}

#[test]
fn a_sequence_never_goes_back_and_survives_release_and_restart() {
    let mut registry = empty();
    assert_eq!(register(&mut registry, 1, key(1), at(1), 0), Ok(1));
    assert_eq!(release(&mut registry, 1, key(1), 0), Ok(2));
    assert_eq!(release(&mut registry, 1, key(1), 0), Ok(2));
    let stored: Vec<(Key, Record)> = vec![(key(1), registry.record(key(1)).unwrap().clone())];
    let mut again = Registry::new(nves(2), stored, registry.revision(), (5, HOLD_DOWN_MS));
    assert_eq!(again.revision(), registry.revision());
    assert_eq!(register(&mut again, 1, key(1), at(1), 5), Ok(3));
}

#[test]
fn the_sequence_of_what_is_not_known_begins_above_the_revision() {
    let mut registry = Registry::new(nves(3), [], 1 << 32, (0, 0));
    let mut draft = Draft::default();
    assert_eq!(registry.register(&mut draft, &name(1), claim(key(1), at(1)), 0), Ok((1 << 32) + 1));
    registry.apply(&draft.finish().unwrap(), 0);
}

#[test]
fn a_released_identifier_is_kept_for_its_owner_until_caches_are_empty() {
    let mut registry = empty();
    let _ = register(&mut registry, 1, key(1), at(1), 0);
    let _ = release(&mut registry, 1, key(1), 1_000);
    let refusal = register(&mut registry, 2, key(1), at(2), 1_000 + HOLD_DOWN_MS - 1).unwrap_err();
    assert!(refusal.temporary && refusal.why.contains("another 1 ms"), "{refusal:?}");
    assert_eq!(register(&mut registry, 2, key(1), at(2), 1_001 + HOLD_DOWN_MS), Ok(3));
    // The owner itself need not wait. After a restart nobody knows when it was released, so all of the time counts.
    let _ = register(&mut registry, 1, key(2), at(1), 0);
    let _ = release(&mut registry, 1, key(2), 0);
    assert_eq!(register(&mut registry, 1, key(2), at(1), 1), Ok(6));
    let stored =
        [(key(3), Record { choices: Vec::new(), owner: name(1).into(), sequence: 8, mac: None, since: 8 })];
    let mut again = Registry::new(nves(2), stored, 9, (0, HOLD_DOWN_MS));
    assert!(register(&mut again, 2, key(3), at(2), HOLD_DOWN_MS - 1).unwrap_err().temporary);
    assert_eq!(register(&mut again, 2, key(3), at(2), HOLD_DOWN_MS + 1), Ok(10));
}

#[test]
fn the_second_of_two_zero_aliases_is_refused() {
    let (zero, ones) = (key(0x5_0000), key(0x5_ffff));
    for (first, second) in [(zero, ones), (ones, zero)] {
        let mut registry = empty();
        assert_eq!(register(&mut registry, 1, first, at(1), 0), Ok(1));
        for nve in [1, 2] {
            let refusal = register(&mut registry, nve, second, at(nve), 0).unwrap_err();
            assert!(refusal.why.contains("zero alias"), "{refusal:?}");
        }
        assert_eq!(release(&mut registry, 1, first, 0), Ok(2));
        assert_eq!(register(&mut registry, 2, second, at(2), 0), Ok(3));
    }
}

#[test]
fn an_nve_speaks_for_its_own_locators_in_their_domain_only() {
    let mut registry = empty();
    let choice = |locator| Choice { locator, priority: 0, weight: 1 };
    for (nve, key, choices, why) in [
        (1, key(1), at(2), "is not a locator of nve1"),
        (3, key(1), at(3), "is not a locator of nve3"),
        (1, key(1), vec![choice(locator(1, 2))], "belongs to another SIR domain"),
        (1, Key { sir_prefix: OTHER_SIR, ..key(1) }, at(1), "belongs to another SIR domain"),
        (1, key(1), Vec::new(), "0 locators"),
        (1, key(1), vec![choice(locator(1, 0)); 2], "is named twice"),
        (1, key(1), (0..17).map(|n| choice(locator(1, n))).collect(), "17 locators"),
        (1, key(1), vec![Choice { weight: 0, ..choice(locator(1, 0)) }], "weight 0"),
        (1, key(1), vec![Choice { weight: 1001, ..choice(locator(1, 0)) }], "weight 1001"),
    ] {
        let refusal = register(&mut registry, nve, key, choices, 0).unwrap_err();
        assert!(refusal.why.contains(why), "{why}: {refusal:?}");
    }
    // Interface identifiers, the C-bit, VNID 0, groups and reserved types have no mapping.
    for identifier in [1, 3 << 60, 2 << 61, 3 << 61, 4 << 61 | 1 << 32, 5 << 61, u64::MAX] {
        let key = Key { sir_prefix: SIR, identifier };
        let refusal = register(&mut registry, 1, key, at(1), 0).unwrap_err();
        assert!(refusal.why.contains("no identifier that has a mapping"), "{identifier:x}: {refusal:?}");
    }
    assert_eq!(registry.revision(), 0);
}

#[test]
fn only_the_owner_releases() {
    let mut registry = empty();
    let _ = register(&mut registry, 1, key(1), at(1), 0);
    assert_eq!(release(&mut registry, 2, key(1), 0).unwrap_err().owner.as_deref(), Some("nve1"));
    // What nobody has may be released: it may have been, so long ago that nobody remembers.
    assert_eq!(release(&mut registry, 2, key(9), 0), Ok(1));
    assert_eq!(registry.revision(), 1);
    assert!(registry.record(key(1)).unwrap().is_held());
}

#[test]
fn an_nve_has_no_more_identifiers_than_it_may() {
    let mut few = nves(2);
    few.get_mut("nve1").unwrap().max_identifiers = 2;
    let mut registry = Registry::new(few.clone(), [], 0, (0, 0));
    assert_eq!(register(&mut registry, 1, key(1), at(1), 0), Ok(1));
    // Those of one transaction count.
    let mut draft = Draft::default();
    assert_eq!(registry.register(&mut draft, "nve1", claim(key(2), at(1)), 0), Ok(2));
    let refusal = registry.register(&mut draft, "nve1", claim(key(3), at(1)), 0).unwrap_err();
    assert!(refusal.why.contains("more than the 2 identifiers") && refusal.why.contains("max_identifiers"));
    assert_eq!(registry.unregister(&mut draft, "nve1", key(1)), Ok(2));
    assert_eq!(registry.register(&mut draft, "nve1", claim(key(3), at(1)), 0), Ok(2));
    registry.apply(&draft.finish().unwrap(), 0);
    // What it has it may change, and others are not concerned.
    let other = vec![Choice { priority: 1, ..at(1)[0] }];
    assert_eq!(register(&mut registry, 1, key(2), other, 0), Ok(3));
    assert!(register(&mut registry, 1, key(4), at(1), 0).is_err());
    assert_eq!(register(&mut registry, 2, key(4), at(2), 0), Ok(4));
    // What another one took over later counts there, also after a restart.
    assert_eq!(release(&mut registry, 1, key(2), 0), Ok(5));
    assert_eq!(register(&mut registry, 2, key(2), at(2), 1), Ok(6));
    let stored: Vec<(Key, Record)> = registry.held().map(|(key, record)| (*key, record.clone())).collect();
    let mut again = Registry::new(few, stored, registry.revision(), (1, 0));
    assert_eq!(again.held_by("nve1").collect::<Vec<_>>(), [key(3)]);
    assert_eq!(again.held_by("nve2").collect::<Vec<_>>(), [key(2), key(4)]);
    assert_eq!(register(&mut again, 1, key(5), at(1), 1), Ok(7));
    assert!(register(&mut again, 1, key(6), at(1), 1).is_err());
}

#[test]
fn what_was_deleted_comes_again_above_all_that_was_told_of_it() {
    let mut registry = Registry::new(nves(2), [], 0, (0, HOLD_DOWN_MS));
    // However often it changes within one transaction: the sequence is that of the revision.
    let mut draft = Draft::default();
    for _ in 0..10 {
        assert_eq!(registry.register(&mut draft, "nve1", claim(key(1), at(1)), 0), Ok(1));
        assert_eq!(registry.unregister(&mut draft, "nve1", key(1)), Ok(1));
    }
    registry.apply(&draft.finish().unwrap(), 0);
    assert_eq!(registry.counts(), (0, 1));
    assert_eq!(registry.delete_released(HOLD_DOWN_MS, 9, |_| false), None);
    let _ = register(&mut registry, 1, key(2), at(1), 0);
    let _ = release(&mut registry, 1, key(2), 1);
    // The oldest first, and no more than asked for.
    let transaction = registry.delete_released(HOLD_DOWN_MS + 2, 1, |_| false).unwrap();
    assert_eq!((&transaction.deletes, transaction.writes.len()), (&vec![key(1)], 0));
    registry.apply(&transaction, HOLD_DOWN_MS + 2);
    assert_eq!((registry.record(key(1)), registry.counts()), (None, (0, 1)));
    assert_eq!(register(&mut registry, 2, key(1), at(2), HOLD_DOWN_MS + 2), Ok(5));
    // What is registered again is not deleted.
    assert_eq!(register(&mut registry, 1, key(2), at(1), HOLD_DOWN_MS + 2), Ok(6));
    assert_eq!(registry.delete_released(9 * HOLD_DOWN_MS, 9, |_| false), None);
}

#[test]
fn what_is_used_of_one_nve_keeps_no_other_released_identifier() {
    let mut registry = Registry::new(nves(2), [], 0, (0, 0));
    for number in 1..=10 {
        let _ = register(&mut registry, 1, key(number), at(1), number);
        let _ = release(&mut registry, 1, key(number), number);
    }
    let is_used = |it| it != key(10);
    let looks: Vec<_> = (0..3).map(|_| registry.delete_released(99, 1, is_used)).collect();
    let deleted = Transaction { deletes: vec![key(10)], ..Transaction::default() };
    assert_eq!(looks, [None, None, Some(deleted)]);
    // And those before are looked at again.
    let again: Vec<_> = (0..2).filter_map(|_| registry.delete_released(99, 1, |_| false)).collect();
    assert_eq!(again.last().unwrap().deletes, [key(1)]);
}

#[test]
fn a_sequence_above_the_revision_is_not_forgotten() {
    let stored =
        [(key(1), Record { choices: Vec::new(), owner: name(1).into(), sequence: 8, mac: None, since: 8 })];
    let mut registry = Registry::new(nves(2), stored, 7, (0, 0));
    assert_eq!(registry.delete_released(1, 9, |_| false), None);
    let _ = register(&mut registry, 1, key(2), at(1), 1);
    assert_eq!(registry.delete_released(1, 9, |_| false).unwrap().deletes, [key(1)]);
}

#[test]
fn who_registers_and_releases_without_end_is_kept_back_until_what_it_released_is_deleted() {
    let mut few = nves(2);
    few.get_mut("nve1").unwrap().max_identifiers = 5;
    let mut registry = Registry::new(few, [], 0, (0, HOLD_DOWN_MS));
    let mut number = 0;
    let refusal = loop {
        number += 1;
        if let Err(refusal) = register(&mut registry, 1, key(number), at(1), 0) {
            break refusal;
        }
        let _ = release(&mut registry, 1, key(number), 0);
    };
    assert!(refusal.temporary && refusal.why.contains("nve1 released 1005"), "{refusal:?}");
    assert_eq!(registry.counts(), (0, 1_005));
    // What is its own it may have again, and another one is not concerned.
    assert!(register(&mut registry, 1, key(7), at(1), 0).is_ok());
    assert!(register(&mut registry, 2, key(number), at(2), 0).is_ok());
    let transaction = registry.delete_released(HOLD_DOWN_MS + 1, 500, |_| false).unwrap();
    registry.apply(&transaction, HOLD_DOWN_MS + 1);
    assert!(register(&mut registry, 1, key(number + 1), at(1), HOLD_DOWN_MS + 1).is_ok());
}

#[test]
fn a_restored_registry_gives_an_nve_what_it_had_and_nothing_new_until_all_have_said_what_they_have() {
    let of = |nve: u64, held| Record {
        choices: if held { at(nve) } else { vec![] },
        owner: name(nve).into(),
        sequence: 1 << 40,
        mac: None,
        since: 1 << 40,
    };
    let stored = [(key(1), of(1, true)), (key(2), of(2, false))];
    let mut registry = Registry::new(nves(2), stored, 1 << 40, (0, HOLD_DOWN_MS)).restored(0);
    let judge = |registry: &Registry, nve, number, known| {
        let claim = Claim { known, ..claim(key(number), at(nve)) };
        registry.register(&mut Draft::default(), &name(nve), claim, 0)
    };
    // In place, as before.
    assert_eq!(judge(&registry, 1, 1, 0), Ok(1 << 40));
    // Not in the backup, or released there.
    for number in [2, 3] {
        let refusal = judge(&registry, 1, number, 0).unwrap_err();
        assert!(refusal.temporary && refusal.why.contains("waits for nve1, nve2 to register"), "{refusal:?}");
        assert_eq!(judge(&registry, 1, number, 7), Ok((1 << 40) + 1));
    }
    // Such a sequence was never given out; and what another one has is not taken from it.
    assert!(judge(&registry, 1, 3, (1 << 40) + 1).unwrap_err().temporary);
    assert_eq!(judge(&registry, 2, 1, 7).unwrap_err().owner, Some(name(1)));
    registry.completed("nve1");
    assert!(judge(&registry, 1, 3, 0).unwrap_err().why.contains("waits for nve2 to register"));
    registry.completed("nve2");
    assert_eq!(registry.restoration().unwrap().waits_for().len(), 0);
    registry.apply(&crate::nva::model::Transaction { ends_restoration: true, ..Default::default() }, 0);
    assert_eq!(judge(&registry, 1, 3, 0), Ok((1 << 40) + 2));
}

#[test]
fn other_nves_are_taken_over_and_what_is_registered_stays() {
    let mut registry = empty();
    let _ = register(&mut registry, 1, key(1), at(1), 0);
    let _ = register(&mut registry, 2, key(2), at(2), 0);
    let mut others = nves(1);
    others.get_mut("nve1").unwrap().locators.remove(&locator(1, 0));
    registry.reconfigure(
        (others, Quotas::default(), FreezeRules::default()),
        Default::default(),
        HOLD_DOWN_MS,
    );
    assert_eq!(registry.counts(), (2, 0));
    assert_eq!(registry.strangers().collect::<Vec<_>>(), [("nve2", 1)]);
    // At a locator that was taken from it, also in place.
    assert!(
        register(&mut registry, 1, key(1), at(1), 0).unwrap_err().why.contains("is not a locator of nve1")
    );
    let other = vec![Choice { locator: locator(1, 1), ..at(1)[0] }];
    assert_eq!(register(&mut registry, 1, key(1), other, 0), Ok(3));
}

fn tenant(vnid: u32, host: u32) -> Key {
    Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv4(vnid, host).0 }
}

#[test]
fn a_network_has_no_more_identifiers_than_its_quota_whoever_registers_them() {
    let quotas = Quotas { each: [(SIR, 3)].into(), named: [((SIR, 7), 2)].into() };
    let mut registry = empty().with_limits(quotas, FreezeRules::default());
    let taken = |registry: &mut Registry, nve, vnid, host| {
        register(registry, nve, tenant(vnid, host), at(nve), 0).map_err(|refusal| refusal.why)
    };
    assert!(taken(&mut registry, 1, 7, 1).is_ok() && taken(&mut registry, 2, 7, 2).is_ok());
    let refusal = taken(&mut registry, 1, 7, 3).unwrap_err();
    assert!(refusal.contains("more than the 2 identifiers that VNID 7 may have"), "{refusal}");
    assert_eq!(registry.count_in(SIR, 7), (2, Some(2)));
    // What is there may move to another locator, and other networks and tasks have their own.
    let other = vec![Choice { locator: locator(1, 1), priority: 0, weight: 1 }];
    assert!(register(&mut registry, 1, tenant(7, 1), other, 0).is_ok());
    for host in 1..=3 {
        assert!(taken(&mut registry, 1, 8, host).is_ok());
    }
    assert!(taken(&mut registry, 1, 8, 4).is_err());
    assert!(register(&mut registry, 1, key(1), at(1), 0).is_ok());
    // Requests of one transaction count together, and what goes makes room.
    let mut draft = Draft::default();
    registry.unregister(&mut draft, "nve1", tenant(7, 1)).unwrap();
    assert!(registry.register(&mut draft, "nve1", claim(tenant(7, 3), at(1)), 0).is_ok());
    assert!(registry.register(&mut draft, "nve1", claim(tenant(7, 4), at(1)), 0).is_err());
    registry.apply(&draft.finish().unwrap(), 0);
    assert_eq!(registry.count_in(SIR, 7), (2, Some(2)));
    // A lower quota takes nothing away.
    let lower = Quotas { named: [((SIR, 7), 1)].into(), ..Quotas::default() };
    registry.reconfigure((nves(2), lower, FreezeRules::default()), Default::default(), HOLD_DOWN_MS);
    assert_eq!(registry.count_in(SIR, 7), (2, Some(1)));
    assert!(taken(&mut registry, 2, 7, 5).is_err() && taken(&mut registry, 2, 8, 5).is_ok());
    // And counts are those of the records over a restart.
    let stored: Vec<(Key, Record)> = registry.records_after(None).map(|(k, r)| (*k, r.clone())).collect();
    let again = Registry::new(nves(2), stored, registry.revision(), (0, HOLD_DOWN_MS));
    assert_eq!((again.count_in(SIR, 7), again.count_in(SIR, 8)), ((2, None), (4, None)));
}

#[test]
fn rfc_7432_15_1_what_goes_to_and_fro_is_frozen_where_it_is_until_an_operator_or_time_lets_it_go() {
    let rules = FreezeRules { changes: 3, within_ms: 10_000, for_ms: 5_000 };
    let mut registry = Registry::new(nves(2), [], 0, (0, 0)).with_limits(Quotas::default(), rules);
    let goes = |registry: &mut Registry, from, to, now_ms| {
        release(registry, from, key(1), now_ms).unwrap();
        let registered = register(registry, to, key(1), at(to), now_ms + 1);
        (registered.map_err(|refusal| (refusal.owner, refusal.why)), registry.take_frozen().len())
    };
    register(&mut registry, 1, key(1), at(1), 0).unwrap();
    assert!(goes(&mut registry, 1, 2, 10).0.is_ok() && goes(&mut registry, 2, 1, 20).0.is_ok());
    assert!(matches!(goes(&mut registry, 1, 2, 30), (Ok(_), 1)));
    assert!(registry.is_frozen(key(1)) && registry.frozen_count() == 1);
    // Its owner may release it and register it again, and nobody else.
    let (refused, _) = goes(&mut registry, 2, 1, 40);
    let (owner, why) = refused.unwrap_err();
    assert!(owner.as_deref() == Some("nve2") && why.contains("frozen at nve2 for another 4990 ms"), "{why}");
    assert!(register(&mut registry, 2, key(1), at(2), 50).is_ok());
    assert!(registry.unfreeze(key(1)).is_ok() && registry.unfreeze(key(1)).is_err());
    assert!(goes(&mut registry, 2, 1, 60).0.is_ok());
    assert!(goes(&mut registry, 1, 2, 70).0.is_ok());
    assert!(matches!(goes(&mut registry, 2, 1, 80), (Ok(_), 1)));
    registry.tick(5_100);
    assert!(!registry.is_frozen(key(1)));
    assert!(goes(&mut registry, 1, 2, 5_100).0.is_ok());
}
