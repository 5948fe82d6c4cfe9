//! What the authority told before the start, and what it tells again.

use super::*;

fn upsert(number: u64, locator: u64) -> Change {
    let choice = LocatorChoice { locator: Locator(locator), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    Change::Upsert(MappingRecord { domain: 0, identifier: Identifier(1 << 61 | number), target })
}

fn sir(number: u64) -> std::net::Ipv6Addr {
    (0x2001_0db8_dddd_u128 << 80 | 1 << 61 | u128::from(number)).into()
}

const L1: u64 = 0xfd00_0001_0000_0001;
const L2: u64 = 0xfd00_0001_0000_0002;

/// What a snapshot of the authority is answered.
fn told(bench: &mut Bench, now_ms: u64, changes: Vec<Change>) -> Applied {
    let batch = Batch { origin: Origin::Nva, changes, complete: true };
    let id = bench.request(Request::Apply(batch));
    (now_ms..now_ms + 9).for_each(|now| bench.turn(now));
    bench.applied(id).unwrap().unwrap()
}

#[test]
fn it_is_in_the_first_snapshot_and_equal_data_publishes_no_other_one() {
    let all = vec![upsert(1, L1), upsert(2, L2), upsert(3, L1)];
    let mut bench = Bench::of(CONFIG, all.clone());
    let view = bench.control.rib.mapping_get(sir(2)).unwrap();
    assert_eq!((view.kind.as_str(), view.origin.as_str()), ("locators", "nva"));
    // Neighbours and links settle.
    (1..400).for_each(|now| bench.turn(now));
    let published = |bench: &Bench| bench.control.stats.snapshots_published.load(Ordering::Relaxed);
    let before = published(&bench);
    let Applied { created, changed, deleted, .. } = told(&mut bench, 400, all);
    assert_eq!((created, changed, deleted), (0, 0, 0));
    assert_eq!(published(&bench), before);
    // What a snapshot lacks goes, and what it has otherwise is changed.
    let Applied { created, changed, deleted, .. } =
        told(&mut bench, 500, vec![upsert(1, L1), upsert(3, L2), upsert(4, L1)]);
    assert_eq!((created, changed, deleted), (1, 1, 1));
    assert!(bench.control.rib.mapping_get(sir(2)).is_none());
}

#[test]
fn what_cannot_be_taken_is_left_out_and_does_not_stop_the_rest() {
    let mut learned: Vec<Change> = (1..=2_500).map(|number| upsert(number, L1)).collect();
    // Identifiers of type 0 are never translated.
    for at in [0, 999, 1_000, 2_400] {
        let Change::Upsert(record) = &mut learned[at] else { panic!() };
        record.identifier = Identifier(7);
    }
    let bench = Bench::of(CONFIG, learned);
    assert_eq!(bench.control.stats.nva.left_out.load(Ordering::Relaxed), 4);
    let held = |number| bench.control.rib.mapping_get(sir(number)).is_some();
    assert_eq!(
        [1, 2, 1_000, 1_001, 1_002, 2_401, 2_500].map(held),
        [false, true, false, false, true, false, true]
    );
}

#[test]
fn rfc_8171_confidence_falls_when_nobody_confirms_a_mapping_and_again_after_the_grace_period() {
    let mut bench = Bench::of(CONFIG, vec![upsert(1, L1)]);
    let target = MappingTarget::Blackhole;
    let own = Change::Upsert(MappingRecord { domain: 0, identifier: Identifier(1 << 61 | 2), target });
    bench.request(Request::Apply(Batch { origin: Origin::Admin, changes: vec![own], complete: false }));
    (1..9).for_each(|now| bench.turn(now));
    let mut confidences = |live: u64, grace_over: u64| {
        bench.control.stats.nva.live.store(live, Ordering::Relaxed);
        bench.control.stats.nva.grace_over.store(grace_over, Ordering::Relaxed);
        let id = bench.request(Request::MappingList(Default::default()));
        let Some(Answer::MappingList(Ok(all))) = bench.answers.remove(&id) else { panic!() };
        let id = bench.request(Request::MappingGet(sir(1)));
        let Some(Answer::MappingGet(Some(one))) = bench.answers.remove(&id) else { panic!() };
        assert_eq!(one, all[0]);
        all.iter().map(|view| view.confidence).collect::<Vec<_>>()
    };
    assert_eq!(confidences(0, 0), [100, 254]);
    assert_eq!(confidences(1, 0), [200, 254]);
    assert_eq!(confidences(0, 1), [32, 254]);
    // The next session ends it at once.
    assert_eq!(confidences(1, 1), [200, 254]);
}
