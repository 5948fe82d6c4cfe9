//! Addresses, neighbours, reloads and views.

use super::*;

#[test]
fn connected_prefixes_are_routes_and_addresses_our_own() {
    let mut rib = rib();
    let tables = rib.compile();
    let action = |address: u128| tables.routes.lookup(address).and_then(|id| tables.action(id)).copied();
    assert_eq!(action(VIA + 1), Some(Action::Connected(PortId(0))));
    assert!(tables.own.contains(&(VIA - 0xfe)));
    assert!(
        tables
            .prefixes
            .of((VIA >> 64) as u64)
            .is_some_and(|prefix_info| prefix_info.own && prefix_info.local.is_some())
    );
    assert!(matches!(action(locator(99).with(id(1))), Some(Action::Forward(_))));
    assert!(matches!(action(locator(7).with(id(1))), Some(Action::Blackhole)));
    assert_eq!(tables.ports[2].error_source, VIA - 0xfe);
    assert_eq!(tables.ports[2].vlans, [10]);
    assert_eq!(tables.ports[1].vlans, [7]);
}

#[test]
fn neighbours_are_wanted_met_and_forgotten() {
    let mut rib = rib();
    let wanted = rib.compile().neighbours;
    assert_eq!(wanted.len(), 2);
    assert!(wanted.values().all(|hop| hop.id.0 > 0));
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
    for n in 0..MAX_DYNAMIC as u128 {
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
    assert_eq!(rib.compile().neighbours[&(PortId(0), VIA)].state, HopState::Ready);
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
    assert_eq!((tables.domains.len(), tables.neighbours.len()), (3, 2));
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
