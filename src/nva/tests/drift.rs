//! What a node has is compared with the registry, and what differs is told anew.

use super::session::Bench;
use super::*;
use crate::ila::Identifier;
use crate::mapping::{Parts, Scope, Scopes, part_of};
use crate::nva::authority::{Drifts, Input, LIMITS, SessionId};
use crate::nva::message::Up;

fn part(number: u64) -> (u64, u8) {
    (SIR, part_of(Identifier(key(number).identifier)))
}

/// A bench with ten identifiers, and nve2, which has all of them.
fn bench(digests: bool) -> Bench {
    let mut bench = Bench::new(LIMITS, 10);
    bench.says_hello(1, false);
    bench.says_hello(2, digests);
    bench.up(2, Up::Subscribe(Some(bench.known(10)), Scopes::default()));
    assert_eq!(bench.told_all(2), ["resumed 10"]);
    bench
}

fn pass(bench: &mut Bench, ms: u64) {
    bench.now_ms += ms;
    bench.up(2, Up::Beat);
    bench.step(Input::Tick);
}

fn drift(bench: &mut Bench, numbers: &[u64]) {
    let parts = numbers.iter().map(|number| part(*number)).collect();
    bench.up(2, Up::Drift { parts, objects: false });
}

#[test]
fn who_takes_digests_is_told_one_about_each_minute_and_who_does_not_is_told_none() {
    for digests in [true, false] {
        let mut bench = bench(digests);
        let mut told = Vec::new();
        for _ in 0..240 {
            pass(&mut bench, 1_000);
            told.extend(bench.told_all(2));
        }
        told.retain(|told| !told.starts_with("progress"));
        assert_eq!(told, vec!["digest 10"; if digests { told.len() } else { 0 }]);
        assert!(!digests || (3..=5).contains(&told.len()), "{told:?}");
    }
}

#[test]
fn only_the_parts_that_differ_are_told_anew_and_news_come_before_and_after() {
    let mut bench = bench(true);
    drift(&mut bench, &[3]);
    bench.register(1, 11);
    let others: Vec<u64> = (4..=11).filter(|number| part(*number) == part(3)).collect();
    assert!(others.is_empty(), "choose other numbers: {others:?}");
    assert_eq!(bench.told_all(2), ["repair of 1", "page 3", "page", "page 11", "end 11"]);
    assert_eq!(bench.authority.drifts(), Drifts { mappings: 1, objects: 0 });
    bench.register(1, 12);
    assert_eq!(bench.told_all(2), ["delta 12: 12"]);
}

#[test]
fn when_many_parts_differ_everything_is_told_anew() {
    let mut bench = bench(true);
    let parts: Parts = (0..=64).map(|part| (SIR, part)).collect();
    bench.up(2, Up::Drift { parts, objects: false });
    let told = bench.told_all(2);
    assert_eq!(told[0], "resync: 65 parts of what it has differ");
    assert_eq!(told[1..], ["page 1 2 3 4 5 6 7 8 9 10", "end 10"]);
}

#[test]
fn an_nve_that_always_differs_waits_for_its_turn_and_is_told_news_meanwhile() {
    let mut bench = bench(true);
    for _ in 0..10 {
        drift(&mut bench, &[3]);
        assert_eq!(bench.told_all(2), ["repair of 1", "page 3", "end 10"]);
    }
    drift(&mut bench, &[3]);
    bench.register(1, 11);
    assert_eq!(bench.told_all(2), ["delta 11: 11"]);
    pass(&mut bench, 6_000);
    assert_eq!(bench.told_all(2)[..2], ["progress 11", "repair of 1"]);
}

#[test]
fn drift_of_an_nve_that_takes_no_digests_ends_its_session() {
    let mut bench = bench(false);
    drift(&mut bench, &[3]);
    assert_eq!(bench.closed, [(SessionId(2), "Drift of an NVE that takes no digests".to_owned())]);
}

#[test]
fn the_registry_adds_up_to_what_its_records_are() {
    let mut bench = bench(true);
    for number in 11..40 {
        bench.register(1, number);
        if number % 3 == 0 {
            bench.up(1, Up::Unregister { id: number, key: key(number - 5) });
        }
        let registry = bench.authority.registry();
        let table: super::simulation::Table =
            registry.held().map(|(key, record)| (*key, record.choices.clone())).collect();
        assert_eq!(registry.revision(), bench.commits.len() as u64 + 10);
        assert_eq!(registry.digests(&Scopes::default()), Some(super::simulation::digests(&table)));
        let scope = Scope { sir_prefix: SIR, first: key(5).identifier, last: key(20).identifier };
        let within = table.into_iter().filter(|(key, _)| (5..=20).contains(&(key.identifier & 0xffff)));
        let within = super::simulation::digests(&within.collect());
        assert_eq!(registry.digests(&Scopes::new(vec![scope])), Some(within));
    }
    assert!(bench.commits.len() > 30);
}
