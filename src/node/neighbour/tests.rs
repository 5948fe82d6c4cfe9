//! The rules of the state machine, one test each.

use super::*;

const KEY: Key = Key { port: PortId(1), address: 0xfe80 << 112 | 7 };
const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
const TIMERS: NeighbourDiscovery =
    NeighbourDiscovery { reachable_ms: 30_000, retransmit_ms: 1_000, probes: 3, hold_packets: 4 };

fn answer(mac: Option<Mac>, solicited: bool, overrides: bool) -> Advertisement {
    Advertisement { mac, solicited, overrides }
}

fn next_hop(now: u64) -> (Neighbours, Vec<Effect>) {
    let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
    all.configure(TIMERS, &BTreeSet::from([KEY]), &BTreeMap::new(), now, &mut effects);
    all.tick(now, &mut effects);
    (all, effects)
}

fn dynamic() -> Neighbours {
    let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
    all.wanted(KEY, 0, &mut effects);
    all
}

fn at(all: &mut Neighbours, now: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    all.tick(now, &mut effects);
    effects
}

fn receive(all: &mut Neighbours, heard: Advertisement, now: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    all.advertised(KEY, heard, now, &mut effects);
    effects
}

fn state(all: &Neighbours) -> (State, Option<Mac>) {
    all.of(KEY).map(|n| (n.state, n.mac)).unwrap()
}

#[test]
fn a_next_hop_is_asked_for_at_once_and_three_times_then_failed_but_never_given_up() {
    let (mut all, effects) = next_hop(100);
    assert!(
        effects.contains(&Effect::Solicit(KEY, None))
            && effects.contains(&Effect::Resolve(KEY, Resolution::Unresolved))
    );
    assert_eq!(at(&mut all, 1_099), []);
    assert_eq!(at(&mut all, 1_100), [Effect::Solicit(KEY, None)]);
    assert_eq!(at(&mut all, 2_100), [Effect::Solicit(KEY, None)]);
    let effects = at(&mut all, 3_100);
    assert_eq!(effects, [Effect::Entered(KEY, State::Failed), Effect::Resolve(KEY, Resolution::Unreachable)]);
    // 1 s, then doubling to 30 s.
    let mut asked = Vec::new();
    for now in (3_100..120_000).step_by(100) {
        if at(&mut all, now) == [Effect::Solicit(KEY, None)] {
            asked.push(now - 3_100);
        }
    }
    assert_eq!(asked[..7], [1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
    let effects = receive(&mut all, answer(Some(A), true, true), 120_000);
    assert!(effects.contains(&Effect::Resolve(KEY, Resolution::Ready(A))), "it came back");
}

#[test]
fn reachable_becomes_stale_is_probed_by_unicast_and_confirmed_without_a_change_of_tables() {
    let (mut all, _) = next_hop(0);
    receive(&mut all, answer(Some(A), true, true), 10);
    assert_eq!(state(&all), (State::Reachable, Some(A)));
    assert_eq!(at(&mut all, 30_010), [Effect::Entered(KEY, State::Stale)]);
    assert_eq!(at(&mut all, 35_010), [Effect::Entered(KEY, State::Probe), Effect::Solicit(KEY, Some(A))]);
    let effects = receive(&mut all, answer(None, true, false), 35_020);
    assert_eq!(effects, [Effect::Entered(KEY, State::Reachable)]);
}

#[test]
fn one_that_was_gleaned_is_forgotten_when_it_falls_silent() {
    let mut all = dynamic();
    receive(&mut all, answer(Some(A), true, false), 10);
    let mut effects = Vec::new();
    for now in (10..60_000).step_by(10) {
        effects.extend(at(&mut all, now));
    }
    assert_eq!(effects.last(), Some(&Effect::Resolve(KEY, Resolution::Gone)));
    assert!(effects.contains(&Effect::Resolve(KEY, Resolution::Unreachable)));
    assert!(all.of(KEY).is_none() && all.due.is_empty());
}

#[test]
fn rfc_4861_7_2_5_incomplete_needs_a_link_layer_address() {
    let mut all = dynamic();
    assert_eq!(receive(&mut all, answer(None, true, true), 5), []);
    receive(&mut all, answer(Some(A), false, true), 5);
    assert_eq!(state(&all), (State::Stale, Some(A)));
}

#[test]
fn rfc_4861_7_2_5_without_override_another_mac_makes_reachable_stale_and_is_not_taken() {
    let mut all = dynamic();
    receive(&mut all, answer(Some(A), true, true), 5);
    assert_eq!(receive(&mut all, answer(Some(B), true, false), 6), [Effect::Entered(KEY, State::Stale)]);
    assert_eq!(state(&all), (State::Stale, Some(A)));
    assert_eq!(receive(&mut all, answer(Some(B), true, false), 7), []);
    assert_eq!(state(&all), (State::Stale, Some(A)));
}

#[test]
fn rfc_4861_7_2_5_with_override_another_mac_is_taken() {
    let mut all = dynamic();
    receive(&mut all, answer(Some(A), true, true), 5);
    let effects = receive(&mut all, answer(Some(B), false, true), 6);
    assert_eq!(effects, [Effect::Entered(KEY, State::Stale), Effect::Resolve(KEY, Resolution::Ready(B))]);
    receive(&mut all, answer(Some(A), true, true), 7);
    assert_eq!(state(&all), (State::Reachable, Some(A)));
}

#[test]
fn rfc_4861_7_2_5_an_unsolicited_one_without_news_changes_nothing() {
    let mut all = dynamic();
    receive(&mut all, answer(Some(A), true, true), 5);
    assert_eq!(receive(&mut all, answer(Some(A), false, true), 6), []);
    assert_eq!(state(&all).0, State::Reachable);
}

#[test]
fn rfc_4861_7_2_3_who_asks_from_another_mac_is_stale_with_it() {
    let mut all = dynamic();
    let ask = |all: &mut Neighbours, mac, now| {
        let mut effects = Vec::new();
        all.solicited(KEY, mac, now, &mut effects);
        effects
    };
    let stale = |mac| vec![Effect::Entered(KEY, State::Stale), Effect::Resolve(KEY, Resolution::Ready(mac))];
    // One that is being asked for has answered by asking.
    assert_eq!(ask(&mut all, A, 5), stale(A));
    receive(&mut all, answer(Some(A), true, true), 6);
    assert_eq!(ask(&mut all, A, 7), []);
    assert_eq!(state(&all), (State::Reachable, Some(A)));
    assert_eq!(ask(&mut all, B, 8), stale(B));
    // It is asked whether it is true, as any that is stale.
    assert!(at(&mut all, 5_008).contains(&Effect::Solicit(KEY, Some(B))));
    for nobody in [Mac::ZERO, Mac([0x33, 0x33, 0, 0, 0, 1])] {
        assert_eq!(ask(&mut all, nobody, 5_009), []);
    }
}

#[test]
fn a_failed_neighbour_that_asks_has_not_failed_any_more() {
    let (mut all, mut effects) = next_hop(0);
    (0..4_000).step_by(100).for_each(|now| drop(at(&mut all, now)));
    assert_eq!(state(&all), (State::Failed, None));
    all.solicited(KEY, A, 4_000, &mut effects);
    assert_eq!(state(&all), (State::Stale, Some(A)));
    assert!(
        effects.contains(&Effect::Resolve(KEY, Resolution::Ready(A)))
            && all.of(KEY).is_some_and(|n| n.next_hop)
    );
}

#[test]
fn group_and_zero_macs_and_strangers_are_not_believed() {
    let mut all = dynamic();
    assert_eq!(receive(&mut all, answer(Some(Mac([0x33, 0x33, 0, 0, 0, 1])), true, true), 5), []);
    assert_eq!(receive(&mut all, answer(Some(Mac::ZERO), true, true), 5), []);
    let mut effects = Vec::new();
    let stranger = Key { address: 9, ..KEY };
    all.advertised(stranger, answer(Some(A), true, true), 5, &mut effects);
    all.solicited(stranger, A, 5, &mut effects);
    assert!(effects.is_empty() && all.of(stranger).is_none());
}

#[test]
fn static_neighbours_never_change_and_go_with_their_line() {
    let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
    let fixed = BTreeMap::from([(KEY, A)]);
    all.configure(TIMERS, &BTreeSet::from([KEY]), &fixed, 0, &mut effects);
    assert_eq!(effects, [Effect::Resolve(KEY, Resolution::Ready(A))]);
    assert_eq!(receive(&mut all, answer(Some(B), true, true), 5), []);
    assert_eq!(at(&mut all, 1_000_000), []);
    effects.clear();
    all.solicited(KEY, B, 5, &mut effects);
    assert_eq!(effects, []);
    all.configure(TIMERS, &BTreeSet::from([KEY]), &fixed, 6, &mut effects);
    assert_eq!(effects, []);
    all.configure(TIMERS, &BTreeSet::from([KEY]), &BTreeMap::new(), 7, &mut effects);
    all.tick(7, &mut effects);
    assert_eq!(effects[0], Effect::Resolve(KEY, Resolution::Gone));
    assert!(effects.contains(&Effect::Solicit(KEY, None)));
}

#[test]
fn a_next_hop_whose_route_is_gone_stays_as_long_as_it_answers() {
    let (mut all, mut effects) = next_hop(0);
    receive(&mut all, answer(Some(A), true, true), 1);
    all.configure(TIMERS, &BTreeSet::new(), &BTreeMap::new(), 2, &mut effects);
    assert!(!all.of(KEY).unwrap().next_hop);
    for now in (0..60_000).step_by(10) {
        at(&mut all, now);
    }
    assert!(all.of(KEY).is_none());
}

#[test]
fn a_link_that_comes_up_asks_everybody_again() {
    let (mut all, _) = next_hop(0);
    receive(&mut all, answer(Some(A), true, true), 1);
    let mut effects = Vec::new();
    all.link_up(PortId(0), 2, &mut effects);
    assert_eq!(effects, []);
    all.link_up(PortId(1), 2, &mut effects);
    assert_eq!(effects, [Effect::Entered(KEY, State::Probe), Effect::Solicit(KEY, Some(A))]);
    for now in 3..40_000 {
        at(&mut all, now);
    }
    assert_eq!(state(&all).0, State::Failed);
    effects.clear();
    all.link_up(PortId(1), 40_000, &mut effects);
    assert_eq!(effects, [Effect::Solicit(KEY, None)]);
}

#[test]
fn a_scan_does_not_fill_the_table() {
    let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
    for address in 0..10_000 {
        all.wanted(Key { port: PortId(0), address }, 0, &mut effects);
    }
    assert_eq!(all.iter().count(), MAX_UNANSWERED);
    for now in (0..10_000).step_by(100) {
        at(&mut all, now);
    }
    assert_eq!((all.iter().count(), all.unanswered, all.dynamic), (0, 0, 0));
}

/// RFC 6583: a scan locks nobody out. `rate` addresses a second are wanted on port 0; a newcomer on each port answers
/// its first solicitation after `delay` ms.
fn is_resolved_during_a_scan(rate: u64, newcomer: PortId, delay: u64) -> bool {
    let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
    let key = Key { port: newcomer, address: u128::MAX };
    for ms in 0..20_000u64 {
        at(&mut all, ms);
        for n in ms * rate / 1000..(ms + 1) * rate / 1000 {
            all.wanted(Key { port: PortId(0), address: n.into() }, ms, &mut effects);
        }
        if ms == 15_000 {
            effects.clear();
            all.wanted(key, ms, &mut effects);
            assert!(effects.contains(&Effect::Solicit(key, None)));
        }
        if ms == 15_000 + delay {
            all.advertised(key, answer(Some(A), true, true), ms, &mut effects);
        }
        assert!(all.unanswered <= MAX_UNANSWERED && all.dynamic <= MAX_DYNAMIC);
    }
    all.lookup(key).is_some_and(|(_, resolution)| resolution == Resolution::Ready(A))
}

#[test]
fn a_scan_locks_nobody_out() {
    for rate in [100, 400, 2_000] {
        assert!(is_resolved_during_a_scan(rate, PortId(0), 200), "{rate} a second");
    }
    // On another port it costs nothing at all, however fast it is.
    for rate in [400, 20_000] {
        assert!(is_resolved_during_a_scan(rate, PortId(1), 2_500), "{rate} a second");
    }
}

#[test]
fn who_answers_keeps_its_place_during_a_scan() {
    let (mut all, mut effects) = (dynamic(), Vec::new());
    receive(&mut all, answer(Some(A), true, true), 1);
    let (hop, _) = all.lookup(KEY).unwrap();
    for address in 0..20_000 {
        all.wanted(Key { port: PortId(1), address }, 2, &mut effects);
    }
    assert_eq!(all.lookup(KEY), Some((hop, Resolution::Ready(A))));
    // Next hops without an answer keep theirs, too.
    let (mut all, _) = next_hop(0);
    for address in 0..20_000 {
        all.wanted(Key { port: PortId(1), address }, 2, &mut effects);
    }
    assert_eq!(all.lookup(KEY).map(|(_, resolution)| resolution), Some(Resolution::Unresolved));
}

#[test]
fn an_identity_lasts_as_long_as_the_tables_hold_the_neighbour_and_is_never_used_twice() {
    let (mut all, mut effects) = next_hop(0);
    let id = |all: &Neighbours| all.lookup(KEY).map(|(id, _)| id);
    let first = id(&all);
    receive(&mut all, answer(Some(A), true, true), 1);
    assert_eq!(all.lookup(KEY), first.map(|id| (id, Resolution::Ready(A))));
    // Without its route it is known, but not in the tables, until a packet wants it.
    all.configure(TIMERS, &BTreeSet::new(), &BTreeMap::new(), 2, &mut effects);
    assert_eq!((id(&all), all.of(KEY).is_some(), all.in_tables().count()), (None, true, 0));
    effects.clear();
    all.wanted(KEY, 3, &mut effects);
    assert_eq!(effects, [Effect::Resolve(KEY, Resolution::Ready(A))]);
    let second = id(&all);
    assert!(second.is_some() && second != first);
    // One that the tables hold changes nothing by being wanted again.
    effects.clear();
    all.wanted(KEY, 4, &mut effects);
    assert_eq!((effects.len(), id(&all)), (0, second));
}
