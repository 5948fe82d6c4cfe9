//! From locators over routes to next hops.

use super::*;
use crate::table::Seeded;
use std::hash::BuildHasher;

const SECOND: u128 = 0xfd00_0001_0000_000f_0000_0000_0000_00ff;

fn members(tables: &Tables, action: Action) -> Vec<(u64, PortId)> {
    let Action::NexthopGroup(nexthop_group) = action else { panic!("{action:?}") };
    let chosen =
        (0..64).map(|flow| match tables.action(tables.nexthop_groups[nexthop_group as usize].choose(flow)) {
            Some(Action::Remote(remote)) => (remote.locator().0 & 0xffff, remote.hop.port),
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
fn routes_to_the_same_place_share_an_action() {
    let more: String = (16..32)
        .map(|n| format!("  - {{prefix: \"fd00:1:0:{n:x}::/64\", via: \"fd00:1:0:f::ff\", port: fabric1}}\n"))
        .collect();
    let config = Config::parse(&format!("{CONFIG}{more}"), "test.yaml").unwrap();
    let tables = Rib::new(&config, &MACS, 1).compile();
    let route = |n| tables.routes.lookup(locator(n).with(id(1))).unwrap();
    assert!((16..32).all(|n| route(n) == route(6)));
    assert!([2, 5, 7].iter().all(|n| route(*n) != route(6)));
}

#[test]
fn losing_a_locator_moves_only_the_flows_that_used_it() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    file(&mut rib, vec![to(2, &[(2, 0, 5), (3, 0, 7), (6, 0, 9)])]).unwrap();
    let locator_of = |tables: &Tables, flow| {
        let Some(Action::NexthopGroup(n)) = action(tables, 2) else { panic!() };
        match tables.action(tables.nexthop_groups[n as usize].choose(flow)) {
            Some(Action::Remote(remote)) => remote.locator().0 & 0xffff,
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
    // Under a blackhole route, and under no route at all.
    file(&mut rib, vec![to(2, &[(7, 0, 1)]), far]).unwrap();
    let tables = rib.compile();
    for low in [2, 3] {
        assert_eq!(hop_of(&tables, low).state, HopState::NoRoute, "{low}");
    }
}

#[test]
fn a_locator_on_a_subnet_of_ours_says_so_until_a_route_has_a_next_hop_for_it() {
    let mut rib = rib();
    rib.set_neighbour(PortId(1), SECOND, NeighbourState::Reachable(NEXT));
    let on_link = "routes:\n  - {prefix: \"fd00:1:0:8::/64\", port: fabric1}\n";
    let config = |routes: &str| Config::parse(&CONFIG.replace("routes:\n", routes), "test.yaml").unwrap();
    let staged = rib.reconfigure(&config(on_link)).unwrap();
    rib.commit(staged);
    // Under a connected prefix, and under a route without next hops.
    file(&mut rib, vec![to(2, &[(0xf, 0, 1)]), to(3, &[(8, 0, 1)])]).unwrap();
    let tables = rib.compile();
    assert_eq!([2, 3].map(|low| hop_of(&tables, low).state), [HopState::OnLink; 2]);
    let view = rib.mapping_get("2001:db8:dddd:0:2000::2".parse().unwrap()).unwrap();
    assert_eq!(view.locators[0].state, "on_link");
    let via = "routes:\n  - {prefix: \"fd00:1:0:f::/64\", via: \"fd00:1:0:f::ff\", port: fabric1}\n";
    let staged = rib.reconfigure(&config(via)).unwrap();
    rib.commit(staged);
    assert_eq!(hop_of(&rib.compile(), 2).state, HopState::Ready);
}

/// How many of the `alike` keys share one of 256 positions, at most.
fn crowd<K: std::hash::Hash>(alike: &[K], hasher: &Seeded) -> usize {
    let mut positions = [0; 256];
    alike.iter().for_each(|key| positions[hasher.hash_one(key) as usize % 256] += 1);
    positions.into_iter().max().unwrap_or(0)
}

#[test]
fn keys_that_are_chosen_to_collide_under_one_seed_do_not_under_another() {
    let tables = |seed| Rib::new(&config(), &MACS, seed).compile();
    let [one, same, other, third] = [1, 1, 2, u64::MAX].map(tables);
    let neighbours: Vec<_> = (0..100_000).map(|n| (PortId(0), VIA + n)).collect();
    let alike = |hasher: &Seeded| -> Vec<(PortId, u128)> {
        neighbours.iter().filter(|key| hasher.hash_one(key) % 256 == 0).copied().collect()
    };
    let alike = alike(one.neighbours.hasher());
    assert!(alike.len() > 200, "{}", alike.len());
    assert_eq!(crowd(&alike, same.neighbours.hasher()), alike.len());
    for tables in [&other, &third] {
        assert!(crowd(&alike, tables.neighbours.hasher()) < alike.len() / 10);
        assert!(crowd(&alike, tables.own.hasher()) < alike.len() / 10);
        assert!(crowd(&alike, tables.tasks.hasher()) < alike.len() / 10);
        assert_ne!(tables.flow_seed, one.flow_seed);
    }
    assert_eq!(same.flow_seed, one.flow_seed);
}
