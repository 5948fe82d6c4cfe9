//! Gateways of policies that operators leave to the authority.

use super::provision::{Office, add, delete, network, rules};
use super::*;
use crate::config::{Entry, ObjectName, PolicyWords};
use crate::nva::catalogue::{Catalogue, Change};
use crate::nva::model::ObjectKey;
use crate::nva::registry::Registry;

/// Networks n1 to n4, at NVEs of which the third and fourth are gateways.
fn office() -> Office {
    let mut known = nves(4);
    for gateway in ["nve3", "nve4"] {
        known.get_mut(gateway).unwrap().all_networks = true;
    }
    let registry = Registry::new(known, [], 0, (0, 0)).with_catalogue(Catalogue::new(rules(), []));
    let mut office = Office(registry);
    (1..=4).for_each(|n| _ = office.does(network(&format!("n{n}"), n, "")).unwrap());
    office
}

fn policy(from: u32, to: u32, via: &str) -> (ObjectKey, Change) {
    let (from, to) = (format!("n{from}"), format!("n{to}"));
    add("", Entry::of_policy(&PolicyWords { from, to, via: Some(via.to_owned()) }))
}

fn via(office: &Office, from: u32, to: u32) -> String {
    let name = ObjectName::Policy { from: format!("n{from}"), to: format!("n{to}") };
    office.0.catalogue().entry(&ObjectKey { nve: String::new(), name }).unwrap().summary().via.unwrap()
}

#[test]
fn policies_are_spread_over_the_gateways_that_operators_have() {
    let mut office = office();
    let gateways = [locator(3, 0), locator(4, 0)].map(|it| it.to_string());
    for (to, expected) in [(2, 0), (3, 1), (4, 0)] {
        office.does(policy(1, to, "auto")).unwrap();
        assert_eq!(via(&office, 1, to), gateways[expected], "to n{to}");
    }
    // What is replaced keeps its gateway; one that goes makes room.
    let set = |(key, change)| match change {
        Change::Add(entry, text) => (key, Change::Set(entry, text, None)),
        other => (key, other),
    };
    office.does(set(policy(1, 4, "auto"))).unwrap();
    assert_eq!(via(&office, 1, 4), gateways[0]);
    office.does(delete(policy(1, 3, "auto"), None)).unwrap();
    office.does(policy(2, 1, "auto")).unwrap();
    assert_eq!(via(&office, 2, 1), gateways[1]);
    // One that operators name is theirs to choose.
    office.does(policy(2, 3, &gateways[0])).unwrap();
    assert_eq!(via(&office, 2, 3), gateways[0]);
}

#[test]
fn a_gateway_that_is_none_any_more_is_replaced_when_the_policy_is_set() {
    let mut office = office();
    office.does(policy(1, 2, "auto")).unwrap();
    let mut known = nves(4);
    known.get_mut("nve4").unwrap().all_networks = true;
    office.0.reconfigure(
        (known, Default::default(), Default::default()),
        (rules(), Default::default(), Default::default(), Default::default()),
        0,
    );
    let (key, change) = policy(1, 2, "auto");
    let Change::Add(entry, text) = change else { panic!() };
    office.does((key, Change::Set(entry, text, None))).unwrap();
    assert_eq!(via(&office, 1, 2), locator(4, 0).to_string());
}

#[test]
fn without_a_gateway_and_without_a_network_behind_it_the_policy_is_refused() {
    let registry = Registry::new(nves(2), [], 0, (0, 0)).with_catalogue(Catalogue::new(rules(), []));
    let mut office = Office(registry);
    office.does(network("n1", 1, "")).unwrap();
    office.does(network("n2", 2, "")).unwrap();
    let why = office.does(policy(1, 2, "auto")).unwrap_err();
    assert!(why.contains("no gateway is there for the SIR domain of n2"), "{why}");
    let words = PolicyWords { from: "n1".into(), to: "outside".into(), via: Some("auto".into()) };
    let why = office.does(add("", Entry::of_policy(&words))).unwrap_err();
    assert!(why.contains("`outside` is not the name of a virtual network"), "{why}");
}
