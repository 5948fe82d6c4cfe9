//! One more attachment is judged by itself: with the same result as all of its NVE, and at a cost that does not grow with
//! that.

use super::*;
use crate::config::{Entry, ObjectName, ProvisionRules};
use crate::ila::SirPrefix;
use crate::nva::catalogue::{Catalogue, Change};
use crate::nva::model::{Object, ObjectKey};
use crate::nva::registry::Registry;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn rules() -> ProvisionRules {
    ProvisionRules::new([("tasks".to_owned(), SirPrefix(SIR))])
}

fn key(nve: &str, name: &ObjectName) -> ObjectKey {
    ObjectKey { nve: nve.to_owned(), name: name.clone() }
}

fn registry(stored: impl IntoIterator<Item = (ObjectKey, Object)>, revision: u64) -> Registry {
    Registry::new(nves(2), [], revision, (0, 0)).with_catalogue(Catalogue::new(rules(), stored))
}

fn network(name: &str, vnid: u32, more: &str) -> Entry {
    let ipv4 = format!("[{{prefix: 10.{vnid}.0.0/16, gateway: 10.{vnid}.0.1}}]");
    Entry::network(&format!("{{name: {name}, vnid: {vnid}, domain: tasks, ipv4: {ipv4}{more}}}")).unwrap()
}

fn attachment(n: u32, mac: u32, network: &str, address: &str) -> Entry {
    let mac = format!("02:00:00:00:{:02x}:{:02x}", mac >> 8, mac & 255);
    let text = format!("{{name: vm{n}, port: a, mac: '{mac}', network: {network}, addresses: [{address}]}}");
    Entry::attachment(&text).unwrap()
}

fn task(n: u32) -> Entry {
    let text = format!(
        "{{name: vm{n}, port: a, vlan: 9, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::{n:x}']}}"
    );
    Entry::attachment(&text).unwrap()
}

/// Adds it, or replaces what is there.
fn change(registry: &Registry, key: &ObjectKey, entry: Entry) -> Change {
    let text = entry.written().to_owned();
    match registry.catalogue().entry(key) {
        None => Change::Add(entry, text),
        Some(_) => Change::Set(entry, text, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_attachment_is_judged_by_itself_as_with_all_of_its_nve(
        steps in prop::collection::vec((0u8..12, 1u64..3, 0u32..8, 0u32..6), 1..30),
    ) {
        let mut registry = registry([], 0);
        for (what, nve, n, place) in steps {
            let nve = name(nve);
            let of = |entry: &Entry| key(&nve, entry.name());
            let shared = |entry: &Entry| key("", entry.name());
            let one = attachment(n, place, ["red", "blue", "odd"][(n % 3) as usize], &format!("10.{}.0.{}", 1 + n % 3, 5 + place));
            let (key, entry) = match what {
                0..5 => (of(&one), Some(one)),
                5 | 6 => (of(&one), None),
                7 => (of(&task(n)), Some(task(n))),
                8 => {
                    let red = network("red", 1, if place == 0 { ", exclusive: true" } else { "" });
                    (shared(&red), Some(red))
                }
                9 => {
                    let peers = format!(", peers: [{{address: 10.2.0.{}, to: '2001:db8:dddd:0:2000::7'}}]", 5 + place);
                    let blue = network("blue", 2, &peers);
                    (shared(&blue), Some(blue))
                }
                10 => (shared(&network("odd", 3, "")), Some(network("odd", 3, ""))),
                _ => (shared(&network("odd", 3, "")), None),
            };
            let change = match entry {
                Some(entry) => change(&registry, &key, entry),
                None => Change::Delete(None),
            };
            let stored = registry.catalogue().after(None).map(|(key, _, object)| (key.clone(), object.clone()));
            let mut whole = self::registry(stored.collect::<Vec<_>>(), registry.revision());
            let said = registry.provision(key.clone(), change.clone());
            let should = whole.provision(key, change).map(|_| ());
            prop_assert_eq!(said.as_ref().map(|_| ()).map_err(Clone::clone), should);
            // What is not durable changes nothing.
            if let Some((_, transaction)) = said.ok().filter(|_| place != 5) {
                registry.apply(&transaction, 0);
            }
        }
    }
}

/// Shortest time in which an attachment is judged at an NVE with so many, and is durable.
fn cost(count: u32) -> Duration {
    let one = |n: u32| attachment(n, n, "red", &std::net::Ipv4Addr::from(0x0a01_0010 + n).to_string());
    let stored = (0..count).map(one).map(|entry| (name(1), entry));
    let stored = std::iter::once((String::new(), network("red", 1, ""))).chain(stored).zip(1..);
    let stored = stored.map(|((nve, entry), sequence)| {
        (key(&nve, entry.name()), Object { document: entry.written().to_owned(), sequence })
    });
    let mut registry = registry(stored, u64::from(count) + 1);
    let mut best = Duration::MAX;
    for n in count..count + 10 {
        let entry = one(n);
        let key = key(&name(1), entry.name());
        let change = change(&registry, &key, entry);
        let began = Instant::now();
        let (_, transaction) = registry.provision(key, change).unwrap();
        registry.apply(&transaction, 0);
        best = best.min(began.elapsed());
    }
    best
}

#[test]
fn one_attachment_among_thousands_is_judged_as_fast_as_among_a_hundred() {
    // 32 times as many. Others may use the processors meanwhile.
    let is_so = (0..5).any(|_| {
        let (few, many) = (cost(100), cost(3_200));
        println!("one attachment: {few:?} at 100 of its NVE, {many:?} at 3200");
        many < few * 10
    });
    assert!(is_so);
}
