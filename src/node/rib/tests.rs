//! The rules of the state, one test each.

use super::*;
use crate::config::{LocatorChoice, MappingRecord, MappingTarget};
use crate::ila::{Identifier, Locator};
use crate::node::handle::MappingFilter;
use crate::node::source::{Applied, Batch, Change, HeldTarget, Refusal};
use crate::table::{Action, HopState, PortId, Tables};

const MACS: [Mac; 3] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3])];
const NEXT: Mac = Mac([2, 0, 0, 0, 1, 0xff]);
const VIA: u128 = 0xfd00_0001_0000_0001_0000_0000_0000_00ff;

const CONFIG: &str = r#"
node: {name: n1, state_dir: /tmp/n1}
dpdk: {workers: [1]}
sir_domains:
  - {name: tasks, prefix: "2001:db8:dddd::/64"}
  - {name: plain, prefix: "2001:db8:eeee::/64", checksum: no-action}
locators:
  - {prefix: "fd00:1:0:1::/64", domain: tasks}
ports:
  - {name: fabric0, device: net_null0, role: fabric, addresses: ["fd00:1:0:1::1/64"]}
  - {name: fabric1, device: net_null1, role: fabric, vlan: 7, mtu: 1400, addresses: ["fd00:1:0:f::1/64"]}
  - {name: access0, device: net_null2, role: access}
attachments:
  - {name: t1, port: access0, vlan: 10, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:dddd:0:2000::1"]}
routes:
  - {prefix: "fd00:1::/32", via: "fd00:1:0:1::ff", port: fabric0}
  - prefix: "fd00:1:0:5::/64"
    next_hops:
      - {via: "fd00:1:0:1::ff", port: fabric0, weight: 1}
      - {via: "fd00:1:0:f::ff", port: fabric1, weight: 3}
  - {prefix: "fd00:1:0:6::/64", via: "fd00:1:0:f::ff", port: fabric1}
  - {prefix: "fd00:1:0:7::/64", blackhole: true}
"#;

fn config() -> Config {
    Config::parse(CONFIG, "test.yaml").unwrap()
}

fn rib() -> Rib {
    let mut rib = Rib::new(&config(), &MACS, 1);
    rib.set_neighbour(PortId(0), VIA, NeighbourState::Reachable(NEXT));
    rib
}

fn id(low: u64) -> Identifier {
    Identifier(0x2000_0000_0000_0000 | low)
}

fn locator(n: u64) -> Locator {
    Locator(0xfd00_0001_0000_0000 | n)
}

fn to(low: u64, locators: &[(u64, u8, u16)]) -> Change {
    in_domain(0, low, locators)
}

fn in_domain(domain: u8, low: u64, locators: &[(u64, u8, u16)]) -> Change {
    let choices = locators
        .iter()
        .map(|(n, priority, weight)| LocatorChoice {
            locator: locator(*n),
            priority: *priority,
            weight: *weight,
        })
        .collect();
    Change::Upsert(MappingRecord { domain, identifier: id(low), target: MappingTarget::Locators(choices) })
}

fn delete(low: u64) -> Change {
    Change::Delete { domain: 0, identifier: id(low) }
}

fn batch(origin: Origin, changes: Vec<Change>) -> Batch {
    Batch { origin, changes, complete: false }
}

fn file(rib: &mut Rib, changes: Vec<Change>) -> Result<Applied, Refusal> {
    rib.apply(batch(Origin::File, changes))
}

fn counts(applied: &Applied) -> (u64, u64, u64) {
    (applied.created, applied.changed, applied.deleted)
}

fn action(tables: &Tables, low: u64) -> Option<Action> {
    tables.domains[0].mappings.lookup(id(low).0).and_then(|id| tables.action(id)).copied()
}

fn hop_of(tables: &Tables, low: u64) -> crate::table::Hop {
    match action(tables, low) {
        Some(Action::Remote(remote)) => remote.hop,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mapping_leads_to_its_locator_over_the_route() {
    let mut rib = rib();
    let applied = file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    assert_eq!((applied.revision, counts(&applied)), (1, (1, 0, 0)));
    assert!(rib.needs_snapshot());
    let tables = rib.compile();
    assert!(!rib.needs_snapshot());
    let hop = hop_of(&tables, 2);
    assert_eq!((hop.state, hop.port, &hop.link()[..6]), (HopState::Ready, PortId(0), &NEXT.0[..]));
    assert_eq!(tables.realms.of(locator(2).0).and_then(|realm| realm.remote).map(|r| r.0.0), Some(0));
    assert_eq!(tables.realms.of(locator(1).0).and_then(|realm| realm.local).map(|r| r.0.0), Some(0));
}

#[test]
fn replacing_and_deleting_are_counted() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)])]).unwrap();
    let again =
        file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(2, 0, 1)]), delete(2), delete(99)]).unwrap();
    assert_eq!((again.revision, counts(&again)), (2, (0, 1, 1)));
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    let mut rib = rib();
    let bad = to(4, &[(4, 0, 1), (4, 1, 1)]);
    let refusal = file(&mut rib, vec![to(2, &[(2, 0, 1)]), bad]).unwrap_err();
    assert_eq!(refusal.sir.to_string(), "2001:db8:dddd:0:2000::4");
    assert!(refusal.why.contains("given twice"), "{refusal}");
    assert_eq!((rib.held(0, id(2)), rib.actions.domain_of(locator(2)), rib.revision()), (None, None, 0));
}

#[test]
fn only_type_1_without_the_c_bit_under_a_known_domain_is_taken() {
    let mut rib = rib();
    let cases = [
        (0, 0x0000_0000_0000_0001, "type 0"),
        (0, 0x4000_0000_0000_0001, "tenant identifiers are not supported yet"),
        (0, 0x6000_0000_0000_0001, "tenant identifiers are not supported yet"),
        (0, 0x8000_0000_0000_0001, "tenant identifiers are not supported yet"),
        (0, 0xa000_0000_0000_0001, "reserved"),
        (0, 0x3000_0000_0000_0001, "C-bit"),
        (7, 0x2000_0000_0000_0001, "not configured"),
    ];
    for (domain, identifier, words) in cases {
        let record =
            MappingRecord { domain, identifier: Identifier(identifier), target: MappingTarget::Blackhole };
        let why = file(&mut rib, vec![Change::Upsert(record)]).unwrap_err().why;
        assert!(why.contains(words), "{why}");
        let delete = Change::Delete { domain, identifier: Identifier(identifier) };
        assert!(file(&mut rib, vec![delete]).unwrap_err().why.contains(words));
    }
}

#[test]
fn twins_are_refused_where_the_mode_makes_them_alike() {
    let mut rib = rib();
    let twins =
        |domain| vec![in_domain(domain, 0x1_0000, &[(2, 0, 1)]), in_domain(domain, 0x1_ffff, &[(2, 0, 1)])];
    assert!(file(&mut rib, twins(0)).unwrap_err().why.contains("twin of 2001:db8:dddd:0:2000:0:1:0"));
    let mut plain = twins(1);
    for change in &mut plain {
        if let Change::Upsert(record) = change {
            record.target = MappingTarget::Blackhole;
        }
    }
    file(&mut rib, plain).unwrap();
    file(&mut rib, vec![to(0x1_0000, &[(2, 0, 1)])]).unwrap();
    assert!(file(&mut rib, vec![to(0x1_ffff, &[(2, 0, 1)])]).is_err());
    // One leaves, then the other comes.
    file(&mut rib, vec![delete(0x1_0000), to(0x1_ffff, &[(2, 0, 1)])]).unwrap();
    // A complete batch that does not name the one may name the other.
    let whole = Batch { origin: Origin::File, changes: vec![to(0x1_0000, &[(2, 0, 1)])], complete: true };
    rib.apply(whole).unwrap();
    assert!(rib.held(0, id(0x1_ffff)).is_none() && rib.held(0, id(0x1_0000)).is_some());
}

#[test]
fn a_locator_belongs_to_one_sir_domain() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    for (change, words) in [
        (in_domain(1, 2, &[(2, 0, 1)]), "locator of domain tasks"),
        (in_domain(1, 2, &[(1, 0, 1)]), "locator of domain tasks"),
    ] {
        let why = file(&mut rib, vec![change]).unwrap_err().why;
        assert!(why.contains(words), "{why}");
    }
    let choice = LocatorChoice { locator: Locator(0x2001_0db8_eeee_0000), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    let sir = Change::Upsert(MappingRecord { domain: 0, identifier: id(9), target });
    assert!(file(&mut rib, vec![sir]).unwrap_err().why.contains("SIR prefix of domain plain"));
    // Within one batch as well.
    let both = vec![in_domain(0, 5, &[(8, 0, 1)]), in_domain(1, 5, &[(8, 0, 1)])];
    assert!(file(&mut rib, both).is_err());
    // Once nothing uses it any more, it is free.
    file(&mut rib, vec![delete(2)]).unwrap();
    file(&mut rib, vec![in_domain(1, 2, &[(2, 0, 1)])]).unwrap();
}

#[test]
fn an_attachment_wins_over_every_mapping() {
    let mut rib = rib();
    let applied = file(&mut rib, vec![to(1, &[(2, 0, 1)]), delete(1)]).unwrap();
    assert_eq!(counts(&applied), (0, 0, 0));
    assert_eq!(rib.held(0, id(1)).map(|held| held.target), Some(HeldTarget::Local(0)));
    for change in [to(1, &[(2, 0, 1)]), delete(1)] {
        let why = rib.apply(batch(Origin::Admin, vec![change])).unwrap_err().why;
        assert!(why.contains("remove the attachment"), "{why}");
    }
    let why = rib.apply(batch(Origin::Attachment, vec![to(7, &[(2, 0, 1)])])).unwrap_err().why;
    assert!(why.contains("configuration"), "{why}");
}

#[test]
fn an_operators_mapping_wins_over_the_files() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)])]).unwrap();
    let applied = rib.apply(batch(Origin::Admin, vec![to(2, &[(3, 0, 1)])])).unwrap();
    assert_eq!(counts(&applied), (0, 1, 0));
    let whole = Batch { origin: Origin::File, changes: vec![to(2, &[(2, 0, 1)])], complete: true };
    assert_eq!(counts(&rib.apply(whole).unwrap()), (0, 0, 0));
    assert_eq!(rib.held(0, id(2)).map(|held| held.origin), Some(Origin::Admin));
    file(&mut rib, vec![delete(2)]).unwrap();
    assert!(rib.held(0, id(2)).is_some());
    rib.apply(batch(Origin::Admin, vec![delete(2)])).unwrap();
    assert!(rib.held(0, id(2)).is_none());
}

#[test]
fn a_complete_batch_is_applied_as_a_difference_and_deletes_only_its_own() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)]), to(4, &[(4, 0, 1)])]).unwrap();
    rib.apply(batch(Origin::Admin, vec![to(9, &[(9, 0, 1)])])).unwrap();
    let changes = vec![to(2, &[(2, 0, 1)]), to(3, &[(2, 0, 1)]), to(8, &[(2, 0, 1)])];
    let whole = Batch { origin: Origin::File, changes, complete: true };
    assert_eq!(counts(&rib.apply(whole).unwrap()), (1, 1, 1));
    for (low, there) in [(1, true), (2, true), (3, true), (4, false), (8, true), (9, true)] {
        assert_eq!(rib.held(0, id(low)).is_some(), there, "{low}");
    }
}

#[test]
fn a_mapping_to_our_own_locator_needs_an_attachment() {
    let mut rib = rib();
    let why = rib.apply(batch(Origin::Admin, vec![to(2, &[(1, 0, 1)])])).unwrap_err().why;
    assert!(why.contains("add it to attachments"), "{why}");
    // The file may serve a node whose attachment is yet to come; until then it leads nowhere.
    file(&mut rib, vec![to(2, &[(1, 0, 1)])]).unwrap();
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::NoRoute);
    // Among several the others count.
    file(&mut rib, vec![to(2, &[(1, 0, 1), (2, 1, 1)])]).unwrap();
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Ready);
}

#[test]
fn changing_between_known_targets_needs_no_snapshot() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(3, &[(3, 0, 1)])]).unwrap();
    rib.compile();
    for round in 0..100 {
        let at = 2 + round % 2;
        file(&mut rib, vec![to(2, &[(at, 0, 1)]), to(3, &[(5 - at, 0, 1)])]).unwrap();
        assert!(!rib.needs_snapshot());
    }
    // Even when a target is left by its last mapping and comes back.
    file(&mut rib, vec![to(3, &[(2, 0, 1)]), to(2, &[(2, 0, 1)])]).unwrap();
    file(&mut rib, vec![to(3, &[(3, 0, 1)])]).unwrap();
    assert!(!rib.needs_snapshot());
}

#[test]
fn no_reader_sees_an_action_that_its_snapshot_lacks() {
    let mut rib = rib();
    let old = rib.compile();
    let staged = rib.stage(batch(Origin::File, vec![to(2, &[(2, 0, 1)])])).unwrap();
    assert!(rib.needs_snapshot());
    assert_eq!(action(&old, 2), None);
    let new = rib.compile();
    assert_eq!(action(&new, 2), None);
    rib.commit(staged);
    assert!(matches!(action(&new, 2), Some(Action::Remote(_))));
    rib.release();
}

#[test]
fn an_abandoned_batch_leaves_nothing() {
    let mut rib = rib();
    let staged = rib.stage(batch(Origin::File, vec![to(2, &[(2, 0, 1)])])).unwrap();
    rib.abandon(staged);
    assert_eq!(rib.actions.domain_of(locator(2)), None);
    assert_eq!(rib.revision(), 0);
}

#[test]
fn a_table_grows_before_it_is_full_and_keeps_the_budget() {
    let mut rib = rib();
    let changes = (0..100_000).map(|n| to(0x10_0001 + 2 * n, &[(2, 0, 1)])).collect();
    assert_eq!(counts(&file(&mut rib, changes).unwrap()), (100_000, 0, 0));
    let view = &rib.tables_view()[0];
    assert_eq!(view.mappings, 100_001);
    assert!(view.capacity >= view.mappings);
    assert!(view.memory_bytes / view.mappings < 24, "{view:?}");
    for n in 0..100u64 {
        let changes = (0..1000).map(|m| to(0x1000_0001 + 2 * (1000 * n + m), &[(2, 0, 1)])).collect();
        file(&mut rib, changes).unwrap();
    }
    let view = &rib.tables_view()[0];
    assert_eq!(view.mappings, 200_001);
    assert!(view.memory_bytes / view.mappings < 24, "{view:?}");
}

const SECOND: u128 = 0xfd00_0001_0000_000f_0000_0000_0000_00ff;

fn members(tables: &Tables, action: Action) -> Vec<(u64, PortId)> {
    let Action::Spread(spread) = action else { panic!("{action:?}") };
    let chosen = (0..64).map(|flow| match tables.action(tables.spreads[spread as usize].choose(flow)) {
        Some(Action::Remote(remote)) => (remote.locator.0 & 0xffff, remote.hop.port),
        Some(Action::Forward(hop)) => (0, hop.port),
        other => panic!("{other:?}"),
    });
    let mut chosen: Vec<_> = chosen.collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[test]
fn only_the_best_priority_that_can_be_reached_takes_part() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(2, 0, 1), (6, 1, 1), (3, 1, 1)])]).unwrap();
    assert_eq!(hop_of(&rib.compile(), 2).port, PortId(0));
    // The only next hop of locators 2 and 3 is silent: priority 1 takes over with what is left of it.
    rib.set_neighbour(PortId(0), VIA, NeighbourState::Failed);
    assert!(rib.needs_snapshot());
    let hop = hop_of(&rib.compile(), 2);
    assert_eq!((hop.port, hop.state, hop.mtu), (PortId(1), HopState::Ready, 1400));
    // All gone: the first one's state tells why.
    rib.set_link(PortId(1), false);
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Unreachable);
    rib.set_link(PortId(0), false);
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::LinkDown);
    rib.set_link(PortId(0), true);
    rib.set_neighbour(PortId(0), VIA, NeighbourState::Incomplete);
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Unresolved);
}

#[test]
fn equal_priorities_share_and_leave_out_what_is_down() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(2, 0, 1), (6, 0, 1)])]).unwrap();
    let tables = rib.compile();
    let both = action(&tables, 2).unwrap();
    assert_eq!(members(&tables, both), [(2, PortId(0)), (6, PortId(1))]);
    rib.set_link(PortId(1), false);
    assert_eq!(hop_of(&rib.compile(), 2).port, PortId(0));
}

#[test]
fn a_locator_over_several_next_hops_is_spread_over_all_of_them() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(5, 0, 1), (2, 0, 1)])]).unwrap();
    let tables = rib.compile();
    let all = action(&tables, 2).unwrap();
    assert_eq!(members(&tables, all), [(2, PortId(0)), (5, PortId(0)), (5, PortId(1))]);
    // The route itself likewise.
    let route = tables.routes.lookup(locator(5).with(Identifier(1))).unwrap();
    let route = *tables.action(route).unwrap();
    assert_eq!(members(&tables, route), [(0, PortId(0)), (0, PortId(1))]);
}

#[test]
fn losing_a_locator_moves_only_the_flows_that_used_it() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(2, 0, 5), (3, 0, 7), (6, 0, 9)])]).unwrap();
    let locator_of = |tables: &Tables, flow| {
        let Some(Action::Spread(n)) = action(tables, 2) else { panic!() };
        match tables.action(tables.spreads[n as usize].choose(flow)) {
            Some(Action::Remote(remote)) => remote.locator.0 & 0xffff,
            other => panic!("{other:?}"),
        }
    };
    let before = rib.compile();
    rib.set_link(PortId(1), false);
    let after = rib.compile();
    for flow in 0..64 {
        let was = locator_of(&before, flow);
        assert!(was == 6 || was == locator_of(&after, flow));
    }
}

#[test]
fn hops_carry_mac_tag_and_mtu_of_their_port() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(6, 0, 1)])]).unwrap();
    let hop = hop_of(&rib.compile(), 2);
    let wanted = [&NEXT.0[..], &MACS[1].0[..], &[0x81, 0, 0, 7, 0x86, 0xdd]].concat();
    assert_eq!((hop.link(), hop.mtu), (&wanted[..], 1400));
}

#[test]
fn a_locator_without_a_next_hop_is_no_route() {
    let mut rib = rib();
    let far = LocatorChoice { locator: Locator(0xfd00_0009_0000_0001), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![far]);
    let far = Change::Upsert(MappingRecord { domain: 0, identifier: id(3), target });
    // Under a blackhole route, under a connected prefix, and under no route at all.
    file(&mut rib, vec![to(2, &[(7, 0, 1)]), to(4, &[(0xf, 0, 1)]), far]).unwrap();
    let tables = rib.compile();
    for low in [2, 3, 4] {
        assert_eq!(hop_of(&tables, low).state, HopState::NoRoute, "{low}");
    }
}

#[test]
fn connected_prefixes_are_routes_and_addresses_our_own() {
    let mut rib = rib();
    let tables = rib.compile();
    let action = |address: u128| tables.routes.lookup(address).and_then(|id| tables.action(id)).copied();
    assert_eq!(action(VIA + 1), Some(Action::Connected(PortId(0))));
    assert!(tables.own.contains(&(VIA - 0xfe)));
    assert!(tables.realms.of((VIA >> 64) as u64).is_some_and(|realm| realm.own && realm.local.is_some()));
    assert!(matches!(action(locator(99).with(id(1))), Some(Action::Forward(_))));
    assert!(matches!(action(locator(7).with(id(1))), Some(Action::Blackhole)));
    assert_eq!(tables.ports[2].error_source, VIA - 0xfe);
    assert_eq!(tables.ports[2].vlans, [10]);
    assert_eq!(tables.ports[1].vlans, [7]);
}

#[test]
fn neighbours_are_wanted_met_and_forgotten() {
    let mut rib = rib();
    let wanted = rib.neighbours_wanted();
    assert_eq!(wanted.len(), 2);
    assert!(wanted.iter().all(|(id, _, _, next_hop)| id.0 > 0 && *next_hop));
    rib.compile();
    let met = rib.add_neighbour(PortId(0), VIA + 1).unwrap();
    assert_eq!(rib.add_neighbour(PortId(0), VIA + 1), Some(met));
    assert_eq!(rib.add_neighbour(PortId(9), VIA), None);
    let hop = rib.compile().neighbours[&(PortId(0), VIA + 1)];
    assert_eq!((hop.state, hop.id), (HopState::Unresolved, met));
    assert!(rib.set_neighbour(PortId(0), VIA + 1, NeighbourState::Reachable(NEXT)));
    assert!(!rib.set_neighbour(PortId(0), VIA + 1, NeighbourState::Reachable(NEXT)));
    assert_eq!(rib.compile().neighbours[&(PortId(0), VIA + 1)].state, HopState::Ready);
    rib.forget_neighbour(PortId(0), VIA + 1);
    rib.forget_neighbour(PortId(0), VIA);
    let tables = rib.compile();
    assert!(!tables.neighbours.contains_key(&(PortId(0), VIA + 1)));
    // A route is never deleted because a neighbour is silent.
    assert_eq!(tables.neighbours[&(PortId(0), VIA)].state, HopState::Unresolved);
    for n in 0..MAX_GLEANED as u128 {
        assert!(rib.add_neighbour(PortId(0), VIA + 2 + n).is_some());
    }
    assert_eq!(rib.add_neighbour(PortId(0), VIA + 1), None);
}

#[test]
fn a_static_neighbour_is_ready_from_the_start_and_stays() {
    let text = format!(
        "{CONFIG}neighbours: {{static: [{{port: fabric0, address: \"fd00:1:0:1::ff\", mac: \"{NEXT}\"}}]}}\n"
    );
    let mut rib = Rib::new(&Config::parse(&text, "test.yaml").unwrap(), &MACS, 1);
    assert_eq!(rib.neighbours_wanted().len(), 1);
    assert!(!rib.set_neighbour(PortId(0), VIA, NeighbourState::Failed));
    rib.forget_neighbour(PortId(0), VIA);
    assert_eq!(rib.compile().neighbours[&(PortId(0), VIA)].state, HopState::Ready);
}

#[test]
fn a_reload_is_applied_as_a_difference() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(2, 0, 1)]), to(0xb, &[(2, 0, 1)])]).unwrap();
    let text = CONFIG
        .replace("2001:db8:dddd:0:2000::1", "2001:db8:dddd:0:2000::b")
        .replace("fd00:1:0:6::/64", "fd00:1:0:66::/64")
        .replace("locators:\n", "  - {name: new, prefix: \"2001:db8:ffff::/64\"}\nlocators:\n");
    let staged = rib.reconfigure(&Config::parse(&text, "test.yaml").unwrap()).unwrap();
    let before = rib.compile();
    // Until it is committed, the old attachment works.
    assert!(matches!(action(&before, 1), Some(Action::Local(_))));
    let applied = rib.commit(staged);
    assert_eq!(counts(&applied), (0, 1, 1));
    let tables = rib.compile();
    assert_eq!(action(&tables, 1), None);
    assert!(matches!(action(&tables, 0xb), Some(Action::Local(local)) if local.attachment == 0));
    assert!(matches!(action(&tables, 2), Some(Action::Remote(_))));
    assert_eq!((tables.domains.len(), rib.neighbours_wanted().len()), (3, 2));
}

#[test]
fn a_reload_that_clashes_with_mappings_changes_nothing() {
    let mut rib = rib();
    file(&mut rib, vec![to(0x1_0000, &[(2, 0, 1)])]).unwrap();
    rib.compile();
    for (text, words) in [
        (CONFIG.replace("dddd:0:2000::1\"", "dddd:0:2000:0:1:ffff\""), "twin"),
        (
            CONFIG.replace("ports:\n", "  - {prefix: \"fd00:1:0:2::/64\", domain: plain}\nports:\n"),
            "exactly one SIR domain",
        ),
        (
            CONFIG.replace("locators:\n", "  - {name: new, prefix: \"fd00:1:0:2::/64\"}\nlocators:\n"),
            "cannot be a SIR prefix",
        ),
    ] {
        let refusal = rib.reconfigure(&Config::parse(&text, "test.yaml").unwrap()).unwrap_err();
        assert!(refusal.why.contains(words), "{refusal}");
    }
    assert!(!rib.needs_snapshot());
}

#[test]
fn a_link_that_is_down_stops_delivery_with_its_own_reason() {
    let mut rib = rib();
    rib.set_link(PortId(2), false);
    match action(&rib.compile(), 1) {
        Some(Action::Local(local)) => assert_eq!(local.hop.state, HopState::LinkDown),
        other => panic!("{other:?}"),
    }
}

#[test]
fn views_say_what_is_held() {
    let mut rib = rib();
    file(&mut rib, vec![to(2, &[(6, 1, 4), (2, 0, 1)]), to(3, &[(3, 0, 1)])]).unwrap();
    let blackhole = MappingRecord { domain: 1, identifier: id(7), target: MappingTarget::Blackhole };
    rib.apply(batch(Origin::Admin, vec![Change::Upsert(blackhole)])).unwrap();
    let sir = "2001:db8:dddd:0:2000::2".parse().unwrap();
    let view = rib.mapping_get(sir).unwrap();
    assert_eq!((view.sir, view.kind.as_str(), view.origin.as_str()), (sir, "locators", "file"));
    let seen: Vec<_> =
        view.locators.iter().map(|l| (l.locator.as_str(), l.priority, l.weight, l.state.as_str())).collect();
    assert_eq!(seen, [("fd00:1:0:2::/64", 0, 1, "ready"), ("fd00:1:0:6::/64", 1, 4, "unresolved")]);
    assert_eq!(u128::from(view.locators[0].ila) >> 64, u128::from(locator(2).0));
    let local = rib.mapping_get("2001:db8:dddd:0:2000::1".parse().unwrap()).unwrap();
    assert_eq!((local.kind.as_str(), local.attachment.as_deref()), ("local", Some("t1")));
    assert_eq!(rib.mapping_get("2001:db8:dddd:0:2000::99".parse().unwrap()), None);

    let list = |filter: MappingFilter| -> Vec<String> {
        rib.mappings(&filter).unwrap().into_iter().map(|view| view.sir.to_string()).collect()
    };
    let all = list(MappingFilter::default());
    let wanted = ["dddd:0:2000::1", "dddd:0:2000::2", "dddd:0:2000::3", "eeee:0:2000::7"];
    assert_eq!(all, wanted.map(|tail| format!("2001:db8:{tail}")));
    assert_eq!(list(MappingFilter { limit: 2, ..Default::default() }), all[..2]);
    let by = |domain: Option<&str>, locator: Option<&str>, origin: Option<&str>| MappingFilter {
        domain: domain.map(str::to_owned),
        locator: locator.map(str::to_owned),
        origin: origin.map(str::to_owned),
        ..Default::default()
    };
    assert_eq!(list(by(Some("plain"), None, None)), all[3..]);
    assert_eq!(list(by(None, Some("fd00:1:0:6::/64"), None)), all[1..2]);
    assert_eq!(list(by(None, None, Some("attachment"))), all[..1]);
    for wrong in [by(Some("x"), None, None), by(None, Some("x"), None), by(None, None, Some("x"))] {
        assert!(rib.mappings(&wrong).is_err());
    }
    let routes = rib.routes_view();
    assert_eq!(routes.len(), 6);
    assert_eq!((routes[1].kind.as_str(), routes[1].next_hops[1].state.as_str()), ("via", "unresolved"));
    assert_eq!(routes[3].kind, "blackhole");
    assert_eq!((routes[4].kind.as_str(), routes[4].next_hops[0].port.as_str()), ("connected", "fabric0"));
}
