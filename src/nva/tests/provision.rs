//! What operators want at NVEs: who may want what, and who is told of it.

mod world;

use super::*;
use crate::config::{Entry, ObjectName, PolicyWords, ProvisionRules, RefusedEntry};
use crate::ila::SirPrefix;
use crate::nva::authority::{self, Authority, LIMITS, SessionId, Ticket};
use crate::nva::catalogue::{Catalogue, Change};
use crate::nva::client::{self, Client, Objects};
use crate::nva::codec::{read_down, read_up, write_down, write_up};
use crate::nva::message::{Down, Provision, Up};
use crate::nva::model::{Object, ObjectKey, Transaction};
use crate::nva::registry::Registry;
use crate::nva::store::{Memory, Store};
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) fn rules() -> ProvisionRules {
    ProvisionRules::new([("tasks".to_owned(), SirPrefix(SIR)), ("others".to_owned(), SirPrefix(OTHER_SIR))])
}

/// Three NVEs, of which the last one is told of all networks.
fn known() -> HashMap<String, Nve> {
    let mut nves = nves(3);
    nves.get_mut("nve3").unwrap().all_networks = true;
    nves
}

fn network_text(name: &str, vnid: u32, more: &str) -> String {
    format!(
        "{{name: {name}, vnid: {vnid}, domain: tasks, ipv4: [{{prefix: 10.{vnid}.0.0/24, gateway: 10.{vnid}.0.1}}]{more}}}"
    )
}

fn attachment_text(name: &str, vlan: u32, network: &str, address: &str) -> String {
    format!(
        "{{name: {name}, port: a, vlan: {vlan}, mac: '02:00:00:00:00:0a', network: {network}, addresses: [{address}]}}"
    )
}

fn key_of(nve: &str, name: &ObjectName) -> ObjectKey {
    ObjectKey { nve: nve.to_owned(), name: name.clone() }
}

pub(super) fn add(nve: &str, entry: Result<Entry, String>) -> (ObjectKey, Change) {
    let entry = entry.unwrap();
    let text = entry.written().to_owned();
    (key_of(nve, entry.name()), Change::Add(entry, text))
}

pub(super) fn network(name: &str, vnid: u32, more: &str) -> (ObjectKey, Change) {
    add("", Entry::network(&network_text(name, vnid, more)))
}

pub(super) fn attachment(
    nve: &str,
    name: &str,
    vlan: u32,
    network: &str,
    address: &str,
) -> (ObjectKey, Change) {
    add(nve, Entry::attachment(&attachment_text(name, vlan, network, address)))
}

fn policy(from: &str, to: &str) -> (ObjectKey, Change) {
    add("", Entry::of_policy(&PolicyWords { from: from.into(), to: to.into(), via: None }))
}

fn set((key, change): (ObjectKey, Change), sequence: Option<u64>) -> (ObjectKey, Change) {
    match change {
        Change::Add(entry, text) => (key, Change::Set(entry, text, sequence)),
        other => (key, other),
    }
}

pub(super) fn delete((key, _): (ObjectKey, Change), sequence: Option<u64>) -> (ObjectKey, Change) {
    (key, Change::Delete(sequence))
}

/// A registry whose store never fails.
pub(super) struct Office(pub(super) Registry);

impl Office {
    pub(super) fn new() -> Self {
        let catalogue = Catalogue::new(rules(), []);
        Office(Registry::new(known(), [], 0, (0, 0)).with_catalogue(catalogue))
    }

    pub(super) fn does(&mut self, (key, change): (ObjectKey, Change)) -> Result<u64, String> {
        let (sequence, transaction) = self.0.provision(key, change)?;
        self.0.apply(&transaction, 0);
        Ok(sequence)
    }

    fn refuses(&mut self, change: (ObjectKey, Change), words: &str) {
        let before: Vec<_> =
            self.0.catalogue().after(None).map(|(key, _, object)| (key.clone(), object.clone())).collect();
        let why = self.does(change).unwrap_err();
        assert!(why.contains(words), "{why}");
        let after: Vec<_> =
            self.0.catalogue().after(None).map(|(key, _, object)| (key.clone(), object.clone())).collect();
        assert_eq!(after, before);
    }

    fn sees(&self, nve: u64) -> Vec<String> {
        self.0.view(&name(nve)).iter().map(|seen| seen.name.to_string()).collect()
    }
}

/// Red with vm1 at nve1, blue with vm2 at nve2.
pub(super) fn office() -> Office {
    let mut office = Office::new();
    for change in [
        network("red", 1, ""),
        network("blue", 2, ", peers: [{address: 10.2.0.9, to: {network: red, address: 10.1.0.5}}]"),
        attachment("nve1", "vm1", 11, "red", "10.1.0.5"),
        attachment("nve2", "vm2", 12, "blue", "10.2.0.5"),
    ] {
        office.does(change).unwrap();
    }
    office
}

#[test]
fn changes_of_operators_and_requests_of_nves_take_turns() {
    let registry = Office::new().0;
    let mut authority = Authority::new(settings(1, LIMITS), registry);
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(1),
        boot: 1,
        asks: false,
        digests: false,
        moves: Modes::default(),
        groups: false,
    };
    let id = SessionId(1);
    let register = |n| {
        authority::Input::Up(id, Up::Register { id: n, key: key(n), choices: at(1), known: 0, mac: None })
    };
    let inputs = (1..=4).map(|n| {
        let (key, change) = network(&format!("n{n}"), n, "");
        authority::Input::Change(Ticket(n.into()), key, change)
    });
    let inputs =
        [authority::Input::Opened(id, None), authority::Input::Up(id, hello)].into_iter().chain(inputs);
    let mut written = Vec::new();
    let mut note = |effects: Vec<authority::Effect>| {
        let before = written.len();
        for effect in effects {
            if let authority::Effect::Commit(authority::Commit { transaction, .. }) = effect {
                written.push((transaction.objects.len(), transaction.writes.len()));
            }
        }
        written.len() > before
    };
    for input in inputs.chain((1..=2).map(register)) {
        note(authority.step(0, input));
    }
    while note(authority.step(0, authority::Input::Committed(Ok(())))) {}
    assert_eq!(written, [(1, 0), (0, 2), (1, 0), (1, 0), (1, 0)]);
}

#[test]
fn what_breaks_a_rule_of_a_file_or_is_taken_is_refused_and_changes_nothing() {
    let mut office = office();
    for (change, words) in [
        (network("red", 7, ""), "network red is there already; `set` replaces it"),
        (network("green", 1, ""), "1 is already virtual_networks[red].vnid"),
        (
            network("green", 3, ", ipv6: {prefix: 'fd00:1:0:100::/96'}"),
            "lies under our locator fd00:1:0:100::/64",
        ),
        (
            add("", Entry::network("{name: green, vnid: 3, domain: nobodys}")),
            "`nobodys` is not the name of a SIR domain",
        ),
        (
            attachment("nve9", "vm9", 11, "red", "10.1.0.9"),
            "`nve9` is no NVE of this authority; add it to nves",
        ),
        (attachment("nve1", "vm9", 19, "green", "10.1.0.9"), "`green` is not the name of a virtual network"),
        (
            attachment("nve2", "vm9", 19, "red", "10.1.0.5"),
            "10.1.0.5 of network red is that of attachment vm1 at nve1",
        ),
        (attachment("nve1", "vm9", 11, "red", "10.1.0.9"), "is already attachments[vm1].mac"),
        (attachment("nve1", "vm9", 19, "red", "10.7.0.9"), "10.7.0.9 lies in no IPv4 subnet of network red"),
        (
            attachment("nve2", "vm9", 19, "blue", "10.2.0.9"),
            "is already virtual_networks[blue].peers[0].address",
        ),
        (policy("red", "green"), "`green` is not the name of a virtual network"),
        (
            delete(network("red", 1, ""), None),
            "is named by attachment vm1 at nve1 and 1 others; delete them first",
        ),
        (delete(network("green", 3, ""), None), "network green is not there; `list` shows what is"),
        (set(network("red", 1, ""), Some(7)), "network red has sequence 1 and not 7: somebody changed it"),
        (set(network("green", 3, ""), Some(1)), "network green is not there; `add` makes it"),
        (delete(attachment("nve1", "vm1", 11, "red", "10.1.0.5"), Some(9)), "has sequence 3 and not 9"),
        // Its tenant would have an address of nobody's.
        (
            set(add("", Entry::network("{name: red, vnid: 1, domain: tasks}")), None),
            "lies in no IPv4 subnet of network red",
        ),
    ] {
        office.refuses(change, words);
    }
}

#[test]
fn sequences_rise_and_a_change_of_what_was_seen_passes() {
    let mut office = office();
    let red = || network("red", 1, ", mtu: 1400");
    assert_eq!(office.does(set(red(), Some(1))), Ok(5));
    assert_eq!(office.does(set(red(), None)), Ok(6));
    assert_eq!(office.does(delete(attachment("nve2", "vm2", 12, "blue", "10.2.0.5"), Some(4))), Ok(7));
    // What comes again is above all that was ever told of it.
    assert_eq!(office.does(attachment("nve1", "vm2", 12, "blue", "10.2.0.5")), Ok(8));
    assert_eq!(
        office.does(delete(policy("red", "blue"), None)).unwrap_err(),
        "the policy from red to blue is not there; `list` shows what is"
    );
}

#[test]
fn an_nve_sees_what_it_has_a_part_in_and_nothing_else() {
    let mut office = office();
    assert_eq!(office.sees(1), ["network red", "attachment vm1"]);
    // A peer of blue is a tenant of red: its prefixes must be known there.
    assert_eq!(office.sees(2), ["network red", "network blue", "attachment vm2"]);
    assert_eq!(office.sees(3), ["network red", "network blue"]);
    office.does(network("green", 3, "")).unwrap();
    office.does(policy("red", "green")).unwrap();
    office.does(policy("green", "outside")).unwrap();
    assert_eq!(
        office.sees(1),
        ["network red", "network green", "the policy from red to green", "attachment vm1"]
    );
    assert_eq!(office.sees(2), ["network red", "network blue", "attachment vm2"]);
    // Peers and hosts of a network are for those who have tenants in it.
    let view = office.0.view("nve1");
    let green = view.iter().find(|seen| seen.name == ObjectName::Network("green".into())).unwrap();
    assert_eq!((green.sir_prefix, green.entry.written().contains("peers")), (SIR, false));
    office.does(attachment("nve1", "vm3", 13, "blue", "10.2.0.6")).unwrap();
    let view = office.0.view("nve1");
    let blue = view.iter().find(|seen| seen.name == ObjectName::Network("blue".into())).unwrap();
    assert!(blue.entry.written().contains(r#""peers":"#), "{}", blue.entry.written());
    assert!(
        blue.entry.written().contains(r#""replicate_to":["fd00:1:0:100::/64","fd00:1:0:200::/64"]"#),
        "{}",
        blue.entry.written()
    );
}

#[test]
fn what_operators_leave_open_is_chosen_and_is_nobodys() {
    let mut office = Office::new();
    let red = "{name: red, vnid: auto, domain: tasks, ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, \
               ipv4: [{prefix: 10.0.0.0/30, gateway: 10.0.0.1}, {prefix: 10.0.1.0/29, gateway: 10.0.1.6}], \
               peers: [{address: 10.0.1.2, to: '2001:db8:dddd:0:2000::4'}]}";
    office.does(add("", Entry::network(red))).unwrap();
    office.does(network("blue", 7, "")).unwrap();
    office.does(add("", Entry::network("{name: green, vnid: auto, domain: tasks}"))).unwrap();
    let summary = |office: &Office, nve: &str, name: ObjectName| {
        office.0.catalogue().entry(&key_of(nve, &name)).unwrap().summary()
    };
    let vnid = |office: &Office, name: &str| summary(office, "", ObjectName::Network(name.into())).vnid;
    assert_eq!((vnid(&office, "red"), vnid(&office, "green")), ("1".to_owned(), "8".to_owned()));
    // Somebody registered 10.0.1.3 without an operator.
    let identifier = crate::ila::Identifier::tenant_ipv4(1, 0x0a00_0103).0;
    let record =
        crate::nva::model::Record { choices: at(3), owner: name(3).into(), sequence: 1, mac: None, since: 1 };
    let taken =
        Transaction { writes: vec![(Key { sir_prefix: SIR, identifier }, record)], ..Transaction::default() };
    office.0.apply(&taken, 0);
    let mut given = Vec::new();
    for vm in 0..4 {
        let (nve, vm) = (name(1 + vm % 2), format!("vm{vm}"));
        office.does(attachment(&nve, &vm, 20 + vm.len() as u32 + given.len() as u32, "red", "auto")).unwrap();
        given.push(summary(&office, &nve, ObjectName::Attachment(vm)).addresses.join(" "));
    }
    assert_eq!(
        given,
        [
            "10.0.0.2 2001:db8:a::2",
            "10.0.1.1 2001:db8:a::3",
            "10.0.1.4 2001:db8:a::4",
            "10.0.1.5 2001:db8:a::5"
        ]
    );
    office.refuses(attachment("nve3", "vm9", 9, "red", "auto"), "network red has no free address");
    office
        .refuses(attachment("nve3", "vm9", 9, "none", "auto"), "`none` is not the name of a virtual network");
    office.0 = office.0.restored(0);
    office.refuses(attachment("nve3", "vm9", 9, "blue", "auto"), "was restored from a backup");
    office.does(attachment("nve3", "vm9", 9, "blue", "10.7.0.9")).unwrap();
}

#[test]
fn a_placement_that_breaks_exclusivity_is_refused() {
    let mut office = office();
    office.does(network("green", 3, ", exclusive: true")).unwrap();
    office.refuses(
        attachment("nve1", "vm9", 19, "green", "10.3.0.5"),
        "network green is exclusive, and the node has tenants of others",
    );
    office.does(attachment("nve3", "vm9", 19, "green", "10.3.0.5")).unwrap();
    // Whose the others are, an operator of one network does not hear.
    let (key, change) = attachment("nve3", "vm8", 18, "red", "10.1.0.8");
    let why = office.does((key, change)).unwrap_err();
    assert!(
        why.contains("is not free for network red") && !why.contains("green") && !why.contains("vm9"),
        "{why}"
    );
    // One that becomes exclusive later, too.
    office.does(attachment("nve1", "vm4", 14, "blue", "10.2.0.7")).unwrap();
    office.refuses(set(network("red", 1, ", exclusive: true"), None), "is not free for network blue");
}

#[test]
fn what_a_later_release_wrote_is_kept_and_stops_nobody() {
    let object = |document: &str| Object { document: document.to_owned(), sequence: 1 };
    let named = |name: &str| key_of("", &ObjectName::Network(name.to_owned()));
    let stored = [
        (named("red"), object(&network_text("red", 1, ""))),
        (named("odd"), object("{name: odd, colour: 3}")),
    ];
    let catalogue = Catalogue::new(rules(), stored);
    let unread: Vec<String> = catalogue.unread().map(|(key, why)| format!("{key}: {why}")).collect();
    assert!(
        unread.len() == 1 && unread[0].contains("network odd: network:1:13: colour: unknown key"),
        "{unread:?}"
    );
    let mut office = Office(Registry::new(known(), [], 1, (0, 0)).with_catalogue(catalogue));
    assert_eq!(office.sees(3), ["network red"]);
    office.refuses(network("odd", 4, ""), "is there already");
    assert_eq!(office.does(set(network("odd", 4, ""), Some(1))), Ok(2));
    assert_eq!(office.0.catalogue().unread().count(), 0);
}

fn welcome(revision: u64) -> Down {
    Down::Welcome {
        version: 1,
        epoch: b"e".to_vec(),
        revision,
        lease_ms: 60_000,
        router: false,
        blocks: true,
        bindings: false,
        addresses: false,
    }
}

#[test]
fn an_object_that_a_node_cannot_read_is_refused_by_name_and_ends_no_session() {
    let mut client = Client::new(name(1), 1, 1, 7, None).provisioned(Arc::default());
    let _ = client.step(0, client::Input::Tick);
    let _ = client.step(0, client::Input::Opened);
    let _ = client.step(0, client::Input::Down(welcome(5)));
    let object = |name: &str, document: &str| crate::nva::v1::Object {
        name: Some(crate::nva::v1::ObjectName {
            kind: Some(crate::nva::v1::object_name::Kind::Network(name.into())),
        }),
        sequence: 1,
        sir_prefix: SIR,
        document: document.into(),
    };
    let part = |revision, whole, objects, deleted| crate::nva::v1::Down {
        message: Some(crate::nva::v1::down::Message::Provision(crate::nva::v1::Provision {
            revision,
            whole,
            last: true,
            objects,
            deleted,
        })),
    };
    let mut take = |message| {
        let down = read_down(message).unwrap();
        let effects = client.step(0, client::Input::Down(down));
        let [client::Effect::Provision(objects)] = &effects[..] else { panic!("{effects:?}") };
        let mut all: Vec<String> = objects.all.iter().map(|(name, _)| name.to_string()).collect();
        all.sort_by_key(|name| !name.starts_with("network"));
        let said = client.step(0, client::Input::Provisioned(objects.known.clone(), Vec::new()));
        let [client::Effect::Up(Up::Provisioned { revision, refused })] = &said[..] else {
            panic!("{said:?}")
        };
        let refused = refused.iter().map(|it| format!("{}: {}", it.name, it.why)).collect::<Vec<_>>();
        (*revision, all, refused.join(" "))
    };
    let red = network_text("red", 1, "");
    let (revision, all, refused) =
        take(part(5, true, vec![object("red", &red), object("odd", "{name: odd, colour: 3}")], vec![]));
    assert_eq!((revision, all), (5, vec!["network red".to_owned()]));
    assert!(refused.starts_with("network odd: network:1:13: colour: unknown key"), "{refused}");
    // It stays so until it is another one, and one that was read before is not what is wanted now.
    let (_, all, refused) = take(part(6, false, vec![object("red", "{name: red, colour: 3}")], vec![]));
    assert_eq!((all.len(), refused.matches("unknown key").count()), (0, 2));
    let odd = object("odd", &network_text("odd", 2, ""));
    let (_, all, refused) = take(part(7, false, vec![object("red", &red), odd], vec![]));
    assert_eq!((all.len(), refused.as_str()), (2, ""));
    // What is of a kind of a later release is as if it were not there; an object without any name breaks the protocol.
    let later = || crate::nva::v1::ObjectName { kind: None };
    let unknown = crate::nva::v1::Object { name: Some(later()), ..object("x", "{}") };
    let (revision, all, refused) = take(part(8, false, vec![unknown.clone()], vec![later()]));
    assert_eq!((revision, all.len(), refused.as_str()), (8, 2, ""));
    let nameless = crate::nva::v1::Object { name: None, ..unknown };
    assert!(read_down(part(9, false, vec![nameless], vec![])).is_err());
}

#[test]
fn what_an_authority_fills_in_of_the_longest_entry_is_read_by_a_node() {
    // So that it is written with just as many bytes as an entry may have.
    let of = |length: usize| Entry::network(&format!("{{name: red, domain: {}}}", "x".repeat(length)));
    let besides = of(1).unwrap().written().len() - 1;
    let most = crate::config::MAX_ENTRY_BYTES - besides;
    let red = of(most).unwrap();
    let filled = red.copied_to((0..256).map(|n| Locator(u64::MAX - n)).collect()).unwrap();
    assert!(filled.written().len() > crate::config::MAX_ENTRY_BYTES);
    assert_eq!(Entry::named(filled.name(), filled.written()).unwrap(), filled);
    assert!(of(most + 1).unwrap_err().contains("an entry has 262144 at most"));
}

#[test]
fn a_vnid_is_not_chosen_while_identifiers_of_it_are_known() {
    let mut office = Office::new();
    let auto = |name: &str| add("", Entry::network(&format!("{{name: {name}, vnid: auto, domain: tasks}}")));
    let vnid = |office: &Office, name: &str| {
        let key = key_of("", &ObjectName::Network(name.into()));
        office.0.catalogue().entry(&key).unwrap().summary().vnid
    };
    office.does(auto("red")).unwrap();
    office.does(auto("blue")).unwrap();
    office.does(delete(auto("blue"), None)).unwrap();
    // A tenant of blue is released, and one of a VNID that no network had is there.
    let released = crate::ila::Identifier::tenant_ipv6(2, 5).0;
    let held = crate::ila::Identifier::tenant_ipv4(3, u32::MAX).0;
    let record = |choices| crate::nva::model::Record {
        choices,
        owner: name(3).into(),
        sequence: 1,
        mac: None,
        since: 1,
    };
    let at_key = |identifier| Key { sir_prefix: SIR, identifier };
    let writes = vec![(at_key(released), record(Vec::new())), (at_key(held), record(at(3)))];
    office.0.apply(&Transaction { writes, ..Transaction::default() }, 0);
    office.does(auto("green")).unwrap();
    assert_eq!(vnid(&office, "green"), "4");
    office.does(delete(auto("green"), None)).unwrap();
    // Of another SIR domain it says nothing.
    let other = Entry::network("{name: green, vnid: auto, domain: others}");
    office.does(add("", other)).unwrap();
    assert_eq!(vnid(&office, "green"), "2");
    office.does(delete(auto("green"), None)).unwrap();
    let deletes = vec![at_key(released)];
    office.0.apply(&Transaction { deletes, ..Transaction::default() }, 0);
    office.does(auto("green")).unwrap();
    assert_eq!(vnid(&office, "green"), "2");
}

#[test]
fn an_address_is_chosen_only_of_families_that_are_not_named() {
    let mut office = Office::new();
    let red = "{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, \
               ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}";
    office.does(add("", Entry::network(red))).unwrap();
    for (vm, addresses, expected) in [
        ("vm1", "10.0.0.2, auto", "10.0.0.2 2001:db8:a::2"),
        ("vm2", "auto, '2001:db8:a::3'", "2001:db8:a::3 10.0.0.3"),
    ] {
        let vlan = if vm == "vm1" { 11 } else { 12 };
        office.does(attachment("nve1", vm, vlan, "red", addresses)).unwrap();
        let key = key_of("nve1", &ObjectName::Attachment(vm.into()));
        assert_eq!(office.0.catalogue().entry(&key).unwrap().summary().addresses.join(" "), expected);
    }
    let all = attachment("nve1", "vm3", 13, "red", "auto, 10.0.0.9, '2001:db8:a::9'");
    office.refuses(all, "an address of each family of network red is named already");
}

#[test]
fn copies_reach_all_hosts_of_a_network_or_the_placement_is_refused() {
    let registry = Registry::new(nves(257), [], 0, (0, 0)).with_catalogue(Catalogue::new(rules(), []));
    let mut office = Office(registry);
    let wide = |more: &str| {
        let text = "{name: red, vnid: 1, domain: tasks, ipv4: [{prefix: 10.0.0.0/16, gateway: 10.0.0.1}]";
        add("", Entry::network(&format!("{text}{more}}}")))
    };
    office.does(wide("")).unwrap();
    let at_nve = |nve: u32, vm: u32| {
        let address = format!("10.0.{}.{}", 1 + nve / 100, 10 * vm + 5 + nve % 100);
        attachment(&name(nve.into()), &format!("vm{vm}"), 10 + vm, "red", &address)
    };
    for nve in 1..=256 {
        office.does(at_nve(nve, 1)).unwrap();
    }
    let hosts = |office: &Office| {
        let view = office.0.view("nve1");
        view.iter().map(|seen| seen.entry.written().matches("::/64").count()).sum::<usize>()
    };
    assert_eq!(hosts(&office), 256);
    office.refuses(at_nve(257, 1), "network red has tenants at 256 NVEs");
    // A second one at the same NVE is no host more.
    office.does(at_nve(256, 15)).unwrap();
    // Whoever names the hosts may have more.
    let named = || wide(", replicate_to: ['fd00:1:0:100::/64']");
    office.does(set(named(), None)).unwrap();
    office.does(at_nve(257, 1)).unwrap();
    office.refuses(set(wide(""), None), "network red has tenants at 257 NVEs");
    office.does(delete(at_nve(257, 1), None)).unwrap();
    office.does(set(wide(""), None)).unwrap();
    assert_eq!(hosts(&office), 256);
}

#[test]
fn a_refused_change_keeps_what_cannot_be_read() {
    let object = |document: &str| Object { document: document.to_owned(), sequence: 1 };
    let named = |name: &str| key_of("", &ObjectName::Network(name.to_owned()));
    let stored = [
        (named("red"), object(&network_text("red", 1, ""))),
        (named("odd"), object("{name: odd, colour: 3}")),
    ];
    let registry = Registry::new(known(), [], 1, (0, 0)).with_catalogue(Catalogue::new(rules(), stored));
    let mut office = Office(registry);
    office.refuses(set(network("odd", 1, ""), Some(1)), "1 is already virtual_networks[red].vnid");
    assert_eq!(office.0.catalogue().unread().count(), 1);
    office.refuses(network("odd", 4, ""), "is there already");
}

#[test]
fn what_is_told_of_a_network_is_made_once_for_all() {
    let mut office = office();
    let entry = |office: &Office, nve: &str, network: &str| {
        let view = office.0.view(nve);
        view.iter().find(|seen| seen.name == ObjectName::Network(network.into())).unwrap().entry.clone()
    };
    // Nothing is filled in, and nothing hidden: it is what the operator gave.
    assert!(Arc::ptr_eq(&entry(&office, "nve1", "red"), &entry(&office, "nve3", "red")));
    office.does(attachment("nve2", "vm3", 13, "red", "10.1.0.6")).unwrap();
    let filled = entry(&office, "nve1", "red");
    assert!(filled.names_hosts() && Arc::ptr_eq(&filled, &entry(&office, "nve2", "red")));
    office.does(delete(attachment("nve2", "vm3", 13, "red", "10.1.0.6"), None)).unwrap();
    assert!(!entry(&office, "nve1", "red").names_hosts());
}

#[test]
fn many_deletions_come_in_parts() {
    let mut office = Office::new();
    office.does(network("red", 1, "")).unwrap();
    let named = |vm: u32| ObjectName::Attachment(format!("vm{vm:030}"));
    let all = |is_there: bool| {
        let objects = (0..2_000u32).map(|vm| {
            let text = attachment_text(&format!("vm{vm:030}"), 11, "red", "10.1.0.5");
            (key_of("nve1", &named(vm)), is_there.then_some(Object { document: text, sequence: 2 }))
        });
        Transaction { objects: objects.collect(), ..Transaction::default() }
    };
    office.0.apply(&all(true), 0);
    let mut provisioning = crate::nva::provision::Provisioning::default();
    while provisioning.next("nve1", &office.0).is_some() {}
    office.0.apply(&all(false), 0);
    provisioning.touch_all();
    let mut parts = Vec::new();
    while let Some(Down::Provision(part)) = provisioning.next("nve1", &office.0) {
        parts.push(part);
    }
    assert!(parts.len() > 1 && parts.iter().all(|part| part.deleted.len() < 1_600), "{}", parts.len());
    assert!(parts.last().unwrap().last && parts.iter().filter(|part| part.last).count() == 1);
    // The network goes as well.
    assert_eq!(parts.iter().map(|part| part.deleted.len()).sum::<usize>(), 2_001);
}
