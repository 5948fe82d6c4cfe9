//! Laws of what the authority allocates: blocks of identifiers and locators (ILA draft appendix A.2, §4.7).

use super::*;
use crate::ila::generate::Registrar;
use crate::nva::model::{AllocationKey, Resource, Transaction};
use crate::nva::registry::{AllocationRules, Draft, Leased, LocatorChange, Pool, Refusal, Registry};

const LEASE_MS: u64 = 60_000;
const HOLD_DOWN_MS: u64 = 10_000;

fn rules() -> AllocationRules {
    let pool = Pool { sir_prefix: SIR, prefix: "fd00:9::/62".parse().unwrap() };
    AllocationRules { block_lease_ms: LEASE_MS, pools: vec![pool] }
}

fn empty() -> Registry {
    Registry::new(nves(3), [], 0, (0, HOLD_DOWN_MS)).with_allocations(rules(), Vec::new(), 0)
}

fn apply(registry: &mut Registry, draft: Draft, now_ms: u64) {
    if let Some(transaction) = draft.finish() {
        registry.apply(&transaction, now_ms);
    }
}

fn lease(registry: &mut Registry, nve: u64, had: Option<Registrar>, now_ms: u64) -> Result<Leased, Refusal> {
    let mut draft = Draft::default();
    let leased = registry.lease_block(&mut draft, &name(nve), SIR, had);
    apply(registry, draft, now_ms);
    leased
}

fn register(registry: &mut Registry, nve: u64, identifier: u64, now_ms: u64) -> Result<u64, Refusal> {
    let mut draft = Draft::default();
    let key = Key { sir_prefix: SIR, identifier };
    let judged = registry.register(&mut draft, &name(nve), claim(key, at(nve)), now_ms);
    apply(registry, draft, now_ms);
    judged
}

fn free_what_is_over(registry: &mut Registry, now_ms: u64) -> Vec<AllocationKey> {
    let Some(transaction) = registry.delete_released(now_ms, 100, |_| false) else { return Vec::new() };
    registry.apply(&transaction, now_ms);
    transaction.allocations.iter().map(|(key, _)| *key).collect()
}

#[test]
fn nobody_gets_a_block_by_saying_that_it_had_it_unless_the_registry_was_restored() {
    let mut registry = empty();
    let wanted = Registrar::new(0x00ab_cdef).unwrap();
    let leased = lease(&mut registry, 1, Some(wanted), 0).unwrap();
    assert_ne!(leased.block, wanted);
}

#[test]
fn each_nve_has_one_block_of_a_domain_and_no_two_have_the_same() {
    let mut registry = empty();
    let mut draft = Draft::default();
    // Also in one transaction.
    let mut blocks: Vec<_> =
        (1..=3).map(|nve| registry.lease_block(&mut draft, &name(nve), SIR, None).unwrap().block).collect();
    let again = registry.lease_block(&mut draft, "nve1", SIR, None).unwrap();
    assert_eq!(again.block, blocks[0]);
    apply(&mut registry, draft, 0);
    // Another one than was wanted, if that is somebody's.
    assert_eq!(lease(&mut registry, 2, Some(blocks[0]), 1).unwrap().block, blocks[1]);
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), 3);
    // One in another domain is another one, and where it has no locator it has none.
    let mut draft = Draft::default();
    registry.lease_block(&mut draft, "nve1", OTHER_SIR, None).unwrap();
    let refused = registry.lease_block(&mut draft, "nve1", 7 << 16, None).unwrap_err();
    assert!(refused.why.contains("no locator in"), "{}", refused.why);
}

#[test]
fn nobody_else_takes_identifiers_of_a_block_that_its_owner_did_not_come_to() {
    let mut registry = empty();
    let block = lease(&mut registry, 1, None, 0).unwrap().block;
    let first = block.range().0.0;
    let refused = register(&mut registry, 2, first + 5, 1).unwrap_err();
    assert_eq!(refused.owner.as_deref(), Some("nve1"));
    register(&mut registry, 1, first + 10, 1).unwrap();
    assert_eq!(lease(&mut registry, 1, None, 2).unwrap().reached, first + 10);
    // What is behind that may be a task that moved, and goes by the rules of all.
    register(&mut registry, 2, first + 5, 3).unwrap();
    assert!(register(&mut registry, 2, first + 10, 3).unwrap_err().why.contains("registered by nve1"));
    assert!(register(&mut registry, 2, first + 11, 3).is_err());
    // One that its owner released goes to another one after the hold-down, also when nothing is known of it any more.
    let mut draft = Draft::default();
    registry.unregister(&mut draft, "nve1", Key { sir_prefix: SIR, identifier: first + 10 }).unwrap();
    apply(&mut registry, draft, 4);
    assert!(register(&mut registry, 2, first + 10, 5).unwrap_err().temporary);
    assert!(free_what_is_over(&mut registry, 4 + HOLD_DOWN_MS + 1).is_empty());
    register(&mut registry, 2, first + 10, 4 + HOLD_DOWN_MS + 2).unwrap();
}

#[test]
fn a_lease_lasts_as_long_as_the_authority_said_that_gave_it() {
    let (mut giver, mut other) = (empty(), empty());
    // The other authority of the store leases for a second, and reads anew what is there.
    other = other.with_allocations(AllocationRules { block_lease_ms: 1_000, ..rules() }, Vec::new(), 0);
    let mut draft = Draft::default();
    let leased = giver.lease_block(&mut draft, "nve1", SIR, None).unwrap();
    let transaction = draft.finish().unwrap();
    giver.apply(&transaction, 0);
    other.apply(&transaction, 0);
    let key = AllocationKey { sir_prefix: SIR, resource: Resource::Block(leased.block) };
    let over = LEASE_MS + HOLD_DOWN_MS;
    assert_eq!((leased.lease_ms, free_what_is_over(&mut other, over)), (LEASE_MS, vec![]));
    let stored = transaction.allocations.iter().map(|(key, it)| (*key, it.clone().unwrap())).collect();
    let mut later = empty().with_allocations(AllocationRules { block_lease_ms: 1_000, ..rules() }, stored, 0);
    assert_eq!(free_what_is_over(&mut later, over), []);
    assert_eq!(free_what_is_over(&mut later, over + 1), [key]);
    assert_eq!(free_what_is_over(&mut other, over + 1), [key]);
}

#[test]
fn a_block_is_free_only_after_its_lease_and_the_hold_down_and_when_nothing_of_it_is_known() {
    let mut registry = empty();
    let block = lease(&mut registry, 1, None, 100).unwrap().block;
    let key = AllocationKey { sir_prefix: SIR, resource: Resource::Block(block) };
    let first = block.range().0.0;
    // A renewal, and each registration of it, begins the time anew.
    lease(&mut registry, 1, None, 5_000).unwrap();
    let over = 5_000 + LEASE_MS + HOLD_DOWN_MS;
    assert!(free_what_is_over(&mut registry, over).is_empty());
    register(&mut registry, 1, first + 1, over).unwrap();
    let over = over + LEASE_MS + HOLD_DOWN_MS + 1;
    // Tasks are there.
    assert!(free_what_is_over(&mut registry, over).is_empty());
    assert_eq!(registry.allocations().get(key).unwrap().owner, "nve1");
    let mut draft = Draft::default();
    registry.unregister(&mut draft, "nve1", Key { sir_prefix: SIR, identifier: first + 1 }).unwrap();
    apply(&mut registry, draft, over);
    assert!(free_what_is_over(&mut registry, over + HOLD_DOWN_MS).is_empty());
    // The record goes, and then the block.
    assert!(free_what_is_over(&mut registry, over + 200_000).is_empty());
    assert_eq!(free_what_is_over(&mut registry, over + 260_002), [key]);
    assert!(
        registry.allocations().get(key).is_none() && registry.allocations().block_of("nve1", SIR).is_none()
    );
}

#[test]
fn a_block_that_was_given_back_rests_and_its_owner_may_have_it_again() {
    let mut registry = empty();
    let block = lease(&mut registry, 1, None, 0).unwrap().block;
    let mut draft = Draft::default();
    registry.return_block(&mut draft, "nve1", SIR);
    apply(&mut registry, draft, 1);
    assert!(free_what_is_over(&mut registry, 1 + HOLD_DOWN_MS).is_empty());
    assert_ne!(lease(&mut registry, 2, Some(block), 2).unwrap().block, block);
    assert_eq!(lease(&mut registry, 1, None, 3).unwrap().block, block);
    assert!(free_what_is_over(&mut registry, 3 + LEASE_MS).is_empty());
    let mut draft = Draft::default();
    registry.return_block(&mut draft, "nve1", SIR);
    apply(&mut registry, draft, 4);
    assert_eq!(free_what_is_over(&mut registry, 5 + HOLD_DOWN_MS).len(), 1);
}

#[test]
fn after_a_restoration_who_had_a_block_has_it_again_and_others_wait() {
    let block = lease(&mut empty(), 1, None, 0).unwrap().block;
    // The backup is older than the lease.
    let registry = Registry::new(nves(3), [], 1 << 32, (0, HOLD_DOWN_MS));
    let mut registry = registry.with_allocations(rules(), Vec::new(), 0).restored(0);
    assert!(lease(&mut registry, 2, None, 1).unwrap_err().temporary);
    assert_eq!(lease(&mut registry, 1, Some(block), 1).unwrap().block, block);
    assert!(lease(&mut registry, 2, Some(block), 2).unwrap_err().temporary);
    let ends = Transaction { ends_restoration: true, ..Transaction::default() };
    registry.apply(&ends, 3);
    assert_ne!(lease(&mut registry, 2, Some(block), 4).unwrap().block, block);
}

#[test]
fn what_is_allocated_is_so_again_after_a_restart_for_at_least_as_long() {
    let mut registry = empty();
    let block = lease(&mut registry, 1, None, 0).unwrap().block;
    let stored = registry.allocations().iter().map(|(key, it)| (*key, it.clone())).collect();
    let again = Registry::new(nves(3), [], registry.revision(), (500_000, HOLD_DOWN_MS));
    let mut again = again.with_allocations(rules(), stored, 500_000);
    assert!(free_what_is_over(&mut again, 500_000 + LEASE_MS + HOLD_DOWN_MS).is_empty());
    assert_eq!(lease(&mut again, 1, None, 600_000).unwrap().block, block);
}

fn change(registry: &mut Registry, change: &LocatorChange) -> Result<Option<Locator>, String> {
    let (_, transaction) = registry.change_locator(change)?;
    registry.apply(&transaction, 0);
    let new = transaction.allocations.iter().find(|(_, it)| it.is_some());
    Ok(new.map(|(key, _)| match key.resource {
        Resource::Locator(locator) => locator,
        Resource::Block(_) => panic!("a block"),
    }))
}

#[test]
fn an_nve_speaks_for_the_locators_that_an_operator_had_allocated_to_it_and_for_no_others() {
    let mut registry = empty();
    let allocate = |nve: u64| LocatorChange::Allocate { nve: name(nve), sir_prefix: SIR };
    let pool: Vec<Locator> = (0..4).map(|n| format!("fd00:9:0:{n}::/64").parse().unwrap()).collect();
    assert_eq!(change(&mut registry, &allocate(1)), Ok(Some(pool[0])));
    assert_eq!(change(&mut registry, &allocate(2)), Ok(Some(pool[1])));
    let at = |locator| vec![Choice { locator, priority: 0, weight: 1 }];
    let mut try_at = |nve: u64, number: u64, locator| {
        let mut draft = Draft::default();
        let judged = registry.register(&mut draft, &name(nve), claim(key(number), at(locator)), 0);
        apply(&mut registry, draft, 0);
        judged.map(|_| ()).map_err(|refusal| refusal.why)
    };
    assert_eq!(try_at(1, 1, pool[0]), Ok(()));
    assert!(try_at(2, 2, pool[0]).unwrap_err().contains("is not a locator of nve2"));
    assert!(try_at(1, 2, pool[2]).unwrap_err().contains("is not a locator of nve1"));
    // One at which somebody is stays; one that is free comes again after all others.
    let refused = change(&mut registry, &LocatorChange::Free(pool[0])).unwrap_err();
    assert!(refused.contains("are reached at"), "{refused}");
    assert_eq!(change(&mut registry, &LocatorChange::Free(pool[1])), Ok(None));
    assert!(change(&mut registry, &LocatorChange::Free(pool[1])).unwrap_err().contains("is not allocated"));
    let next: Vec<_> = (0..3).map(|_| change(&mut registry, &allocate(3)).unwrap().unwrap()).collect();
    assert_eq!(next, [pool[1], pool[2], pool[3]]);
    assert!(change(&mut registry, &allocate(3)).unwrap_err().contains("no pool has a free locator"));
    assert!(change(&mut registry, &allocate(9)).unwrap_err().contains("add it to nves"));
    let other = LocatorChange::Allocate { nve: name(1), sir_prefix: OTHER_SIR };
    assert!(change(&mut registry, &other).unwrap_err().contains("add one to locator_pools"));
}

#[test]
fn a_locator_that_the_configuration_gives_to_an_nve_is_that_ones_whatever_was_allocated() {
    let mut registry = empty();
    let locator: Locator = "fd00:9::/64".parse().unwrap();
    let allocate = LocatorChange::Allocate { nve: name(1), sir_prefix: SIR };
    assert_eq!(change(&mut registry, &allocate), Ok(Some(locator)));
    let mut others = nves(3);
    others.get_mut("nve2").unwrap().locators.insert(locator, SIR);
    registry.reconfigure(
        (others, crate::nva::registry::Quotas::default(), crate::nva::registry::FreezeRules::default()),
        (Default::default(), Default::default(), Default::default(), rules()),
        HOLD_DOWN_MS,
    );
    let choices = vec![Choice { locator, priority: 0, weight: 1 }];
    let mut draft = Draft::default();
    assert!(registry.register(&mut draft, "nve1", claim(key(1), choices.clone()), 0).is_err());
    assert!(registry.register(&mut draft, "nve2", claim(key(1), choices), 0).is_ok());
}
