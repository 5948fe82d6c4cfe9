//! Addresses that tenants are allocated when they ask by RARP: who gets one, what is kept, and who is told no.

use super::provision::{Office, add, attachment, delete, rules};
use super::*;
use crate::config::{Entry, ObjectName};
use crate::ila::Identifier;
use crate::nva::authority::{self, Authority, LIMITS, SessionId, Ticket};
use crate::nva::catalogue::{Catalogue, Change};
use crate::nva::client::{self, Client};
use crate::nva::codec::{read_down, read_up, write_down, write_up};
use crate::nva::event::{Event, Kind};
use crate::nva::message::{Down, Up};
use crate::nva::model::{Object, ObjectKey, Record, Transaction};
use crate::nva::registry::Registry;

const RED: &str = "{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, \
                   ipv4: [{prefix: 10.1.0.0/29, gateway: 10.1.0.1}]}";

fn red() -> (ObjectKey, Change) {
    add("", Entry::network(RED))
}

/// An attachment of red that asks, at a place of its own.
fn asks(nve: &str, vm: u32, more: &str) -> (ObjectKey, Change) {
    attachment(nve, &format!("vm{vm}"), 10 + vm, "red", &format!("on-rarp{more}"))
}

fn place(nve: &str, vm: u32) -> ObjectKey {
    ObjectKey { nve: nve.to_owned(), name: ObjectName::Attachment(format!("vm{vm}")) }
}

fn set((key, change): (ObjectKey, Change)) -> (ObjectKey, Change) {
    match change {
        Change::Add(entry, text) => (key, Change::Set(entry, text, None)),
        other => (key, other),
    }
}

impl Office {
    fn addresses(&self, nve: &str, vm: u32) -> String {
        self.0.catalogue().entry(&place(nve, vm)).unwrap().summary().addresses.join(" ")
    }

    /// The tenant of an attachment asks at this time.
    fn asked(&mut self, nve: &str, vm: u32, now_ms: u64) -> Result<(String, bool), (String, bool)> {
        let judged = self.0.allocate_address(nve, &format!("vm{vm}"), now_ms);
        let (_, transaction) = judged.map_err(|refusal| (refusal.why, refusal.temporary))?;
        let is_new = !transaction.is_empty();
        if is_new {
            self.0.apply(&transaction, now_ms);
        }
        Ok((self.addresses(nve, vm), is_new))
    }

    /// An NVE registers an address of red.
    fn registers(&mut self, nve: u64, host: u32) {
        let record = Record {
            choices: at(nve),
            owner: name(nve).into(),
            sequence: self.0.revision() + 1,
            mac: None,
            since: 0,
        };
        self.writes(host, record);
    }

    fn writes(&mut self, host: u32, record: Record) {
        let identifier = Identifier::tenant_ipv4(1, 0x0a01_0000 | host).0;
        let writes = vec![(Key { sir_prefix: SIR, identifier }, record)];
        self.0.apply(&Transaction { writes, ..Transaction::default() }, 0);
    }
}

#[test]
fn who_asks_gets_one_of_each_family_and_the_same_whenever_it_asks_again() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    office.does(asks("nve2", 2, "")).unwrap();
    // Nothing is allocated before somebody asks.
    assert_eq!(office.addresses("nve1", 1), "on-rarp");
    assert_eq!(office.asked("nve2", 2, 0), Ok(("on-rarp 10.1.0.2 2001:db8:a::2".to_owned(), true)));
    assert_eq!(office.asked("nve1", 1, 0), Ok(("on-rarp 10.1.0.3 2001:db8:a::3".to_owned(), true)));
    assert_eq!(office.asked("nve2", 2, 0), Ok(("on-rarp 10.1.0.2 2001:db8:a::2".to_owned(), false)));
    // An authority that starts knows the same.
    let stored: Vec<(ObjectKey, Object)> =
        office.0.catalogue().after(None).map(|(key, _, object)| (key.clone(), object.clone())).collect();
    let registry = Registry::new(nves(3), [], office.0.revision(), (0, 0));
    let mut again = Office(registry.with_catalogue(Catalogue::new(rules(), stored)));
    assert_eq!(again.asked("nve1", 1, 0), Ok(("on-rarp 10.1.0.3 2001:db8:a::3".to_owned(), false)));
}

#[test]
fn who_is_not_to_get_one_gets_none() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    office.does(attachment("nve1", "vm2", 12, "red", "10.1.0.5")).unwrap();
    let why = |office: &mut Office, nve: &str, vm: u32| office.asked(nve, vm, 0).unwrap_err();
    assert!(why(&mut office, "nve1", 2).0.contains("operators gave attachment vm2 at nve1 its addresses"));
    // One that stands elsewhere is nobody's here.
    assert!(why(&mut office, "nve2", 1).0.contains("no attachment vm1 at nve2 is wanted"));
    assert!(why(&mut office, "nve1", 9).0.contains("no attachment vm9 at nve1 is wanted"));
    office.0 = office.0.restored(0);
    let (why, temporary) = why(&mut office, "nve1", 1);
    assert!(temporary && why.contains("was restored from a backup"), "{why}");
    // What it has it has.
    assert_eq!(office.addresses("nve1", 1), "on-rarp");
}

#[test]
fn what_somebody_has_had_or_stands_for_another_is_not_allocated_and_an_exhausted_network_says_so() {
    let mut office = Office::new();
    let with_peer =
        RED.replace("ipv4:", "peers: [{address: 10.1.0.2, to: '2001:db8:dddd:0:2000::4'}], ipv4:");
    office.does(add("", Entry::network(&with_peer))).unwrap();
    // 10.1.0.3 is an attachment's, 10.1.0.4 was registered without one, and 10.1.0.5 was released a moment ago.
    office.does(attachment("nve1", "vm9", 19, "red", "10.1.0.3")).unwrap();
    office.registers(1, 4);
    office.registers(1, 5);
    office
        .writes(5, Record { choices: Vec::new(), owner: name(1).into(), sequence: 99, mac: None, since: 99 });
    for vm in 1..=2 {
        office.does(asks("nve2", vm, "")).unwrap();
    }
    assert_eq!(office.asked("nve2", 1, 0).unwrap().0, "on-rarp 10.1.0.6 2001:db8:a::2");
    let full = |office: &mut Office, now_ms| office.asked("nve2", 2, now_ms).unwrap_err();
    let (why, temporary) = full(&mut office, 0);
    assert!(!temporary && why.contains("attachment vm2 at nve2: network red has no free address"), "{why}");
    // It is looked at again a second later, and not before, unless operators change something of the network.
    let deletes = vec![Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv4(1, 0x0a01_0005).0 }];
    office.0.apply(&Transaction { deletes, ..Transaction::default() }, 1);
    assert_eq!(full(&mut office, 999), (why, false));
    assert_eq!(office.asked("nve2", 2, 1_000).unwrap().0, "on-rarp 10.1.0.5 2001:db8:a::3");
    office.does(asks("nve2", 3, "")).unwrap();
    assert!(office.asked("nve2", 3, 1_001).is_err());
    office.does(delete(asks("nve2", 1, ""), None)).unwrap();
    assert_eq!(office.asked("nve2", 3, 1_002).unwrap().0, "on-rarp 10.1.0.6 2001:db8:a::2");
}

#[test]
fn what_a_tenant_registered_rests_after_its_attachment_and_is_then_allocated_to_another_one() {
    let registry = Registry::new(nves(3), [], 0, (0, 5_000));
    let mut office = Office(registry.with_catalogue(Catalogue::new(rules(), [])));
    office.does(add("", Entry::network(&RED.replace("/29", "/30")))).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    assert_eq!(office.asked("nve1", 1, 0).unwrap().0, "on-rarp 10.1.0.2 2001:db8:a::2");
    office.registers(1, 2);
    office.does(delete(asks("nve1", 1, ""), None)).unwrap();
    office.does(asks("nve2", 2, "")).unwrap();
    // The NVE did not release it yet; then it rests.
    assert!(office.asked("nve2", 2, 0).unwrap_err().0.contains("no free address"));
    office.writes(
        2,
        Record {
            choices: Vec::new(),
            owner: name(1).into(),
            sequence: office.0.revision(),
            mac: None,
            since: 0,
        },
    );
    assert!(office.asked("nve2", 2, 1_000).unwrap_err().0.contains("no free address"));
    assert!(office.0.delete_released(4_999, 10, |_| false).is_none());
    let deleted = office.0.delete_released(5_001, 10, |_| false).unwrap();
    office.0.apply(&deleted, 5_001);
    assert_eq!(office.asked("nve2", 2, 5_001).unwrap().0, "on-rarp 10.1.0.2 2001:db8:a::2");
}

#[test]
fn an_attachment_that_is_replaced_keeps_what_it_was_allocated_unless_operators_name_another_one() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    office.asked("nve1", 1, 0).unwrap();
    office.does(set(attachment("nve1", "vm1", 15, "red", "on-rarp"))).unwrap();
    assert_eq!(office.addresses("nve1", 1), "on-rarp 10.1.0.2 2001:db8:a::2");
    // As it is shown, it may be given back.
    office.does(set(attachment("nve1", "vm1", 15, "red", "on-rarp, 10.1.0.2, '2001:db8:a::2'"))).unwrap();
    office.does(set(asks("nve1", 1, ", 10.1.0.4"))).unwrap();
    assert_eq!(office.addresses("nve1", 1), "10.1.0.4 on-rarp 2001:db8:a::2");
    // One that is made anew asks anew.
    office.does(delete(asks("nve1", 1, ""), None)).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    assert_eq!(office.addresses("nve1", 1), "on-rarp");
}

#[test]
fn what_operators_take_away_is_gone_and_what_was_allocated_is_theirs_to_end() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office.does(asks("nve1", 1, ", '2001:db8:a::7'")).unwrap();
    assert_eq!(office.addresses("nve1", 1), "2001:db8:a::7 on-rarp");
    office.asked("nve1", 1, 0).unwrap();
    // What they named goes when they name it no longer; what was allocated stays.
    office.does(set(asks("nve1", 1, ""))).unwrap();
    assert_eq!(office.addresses("nve1", 1), "on-rarp 10.1.0.2");
    assert_eq!(office.asked("nve1", 1, 0).unwrap().0, "on-rarp 10.1.0.2 2001:db8:a::2");
    // One of their own ends one that was allocated, and without the word all are ended.
    office.does(set(asks("nve1", 1, ", '2001:db8:a::7'"))).unwrap();
    assert_eq!(office.addresses("nve1", 1), "2001:db8:a::7 on-rarp 10.1.0.2");
    office.does(set(attachment("nve1", "vm1", 11, "red", "'2001:db8:a::7'"))).unwrap();
    assert_eq!(office.addresses("nve1", 1), "2001:db8:a::7");
}

#[test]
fn who_has_its_addresses_hears_so_also_while_its_network_is_full() {
    let mut office = Office::new();
    office.does(add("", Entry::network(&RED.replace("/29", "/30")))).unwrap();
    (1..=2).for_each(|vm| _ = office.does(asks("nve1", vm, "")).unwrap());
    let has = "on-rarp 10.1.0.2 2001:db8:a::2".to_owned();
    assert_eq!(office.asked("nve1", 1, 0), Ok((has.clone(), true)));
    assert!(office.asked("nve1", 2, 10).unwrap_err().0.contains("no free address"));
    assert_eq!(office.asked("nve1", 1, 20), Ok((has, false)));
    // Another subnet is used at once.
    let wider = RED.replace("/29", "/30").replace("}]}", "}, {prefix: 10.1.9.0/30, gateway: 10.1.9.1}]}");
    office.does(set(add("", Entry::network(&wider)))).unwrap();
    assert_eq!(office.asked("nve1", 2, 30).unwrap().0, "on-rarp 10.1.9.2 2001:db8:a::3");
}

#[test]
fn what_cannot_be_allocated_is_refused_when_it_is_written() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office
        .does(add(
            "",
            Entry::network("{name: green, vnid: 3, domain: tasks, ipv6: {prefix: '2001:db8:c::/96'}}"),
        ))
        .unwrap();
    for (change, words) in [
        (attachment("nve1", "vm1", 11, "green", "on-rarp"), "network green has no IPv4 subnet"),
        (attachment("nve1", "vm1", 11, "red", "on-rarp, auto"), "write one of both"),
        (asks("nve1", 1, ", 10.1.0.4"), "`on-rarp` allocates the IPv4 address"),
        (attachment("nve1", "vm1", 11, "none", "on-rarp"), "`none` is not the name of a virtual network"),
    ] {
        let why = office.does(change).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    office.does(asks("nve1", 1, ", '2001:db8:a::7'")).unwrap();
    assert_eq!(office.asked("nve1", 1, 0).unwrap().0, "2001:db8:a::7 on-rarp 10.1.0.2");
}

/// An authority of several, or one that has its store for itself, to whom NVEs speak as over the wire. What it wants made
/// durable waits.
struct Bench {
    authority: Authority,
    now_ms: u64,
    commits: Vec<authority::Commit>,
    told: Vec<(u64, Down)>,
    events: Vec<Event>,
}

impl Bench {
    fn new(is_shared: bool) -> Self {
        let mut office = Office::new();
        office.does(red()).unwrap();
        (1..=3).for_each(|vm| _ = office.does(asks("nve1", vm, "")).unwrap());
        let mut settings = settings(1, LIMITS);
        settings.commits.is_shared = is_shared;
        let authority = Authority::new(settings, office.0);
        let (told, events, commits) = (Vec::new(), Vec::new(), Vec::new());
        let mut bench = Bench { authority, now_ms: 0, commits, told, events };
        bench.opens(1);
        bench.up(Up::Provision);
        bench.commit();
        bench.told.clear();
        bench
    }

    fn opens(&mut self, nve: u64) {
        self.step(authority::Input::Opened(SessionId(nve), None));
        let (versions, name, modes) = (vec![1], name(nve), Modes::default());
        self.up_of(
            nve,
            Up::Hello {
                versions,
                nve: name,
                boot: 1,
                asks: false,
                digests: false,
                moves: modes,
                groups: false,
            },
        );
    }

    fn step(&mut self, input: authority::Input) {
        for effect in self.authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(id, down) => {
                    self.told.push((id.0, read_down(write_down(down.clone())).unwrap()));
                    self.step(authority::Input::Ready(id, down.weight()));
                }
                authority::Effect::Commit(commit) => self.commits.push(commit),
                authority::Effect::Event(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    fn up(&mut self, up: Up) {
        self.up_of(1, up);
    }

    fn up_of(&mut self, nve: u64, up: Up) {
        self.step(authority::Input::Up(SessionId(nve), read_up(write_up(up)).unwrap()));
    }

    fn asks(&mut self, id: u64, vm: u32) {
        self.up(Up::AllocateAddress { id, attachment: format!("vm{vm}") });
        self.step(authority::Input::Due);
    }

    /// What it wants made durable is, until it wants nothing more.
    fn commit(&mut self) {
        while let Some(commit) = self.commits.pop() {
            assert!(self.commits.is_empty());
            drop(commit);
            self.step(authority::Input::Committed(Ok(())));
            self.step(authority::Input::Due);
        }
    }

    /// The answer to a request.
    fn answer(&self, wanted: u64) -> Option<&Down> {
        let is_it = |down: &&Down| match down {
            Down::Registered { id, .. } | Down::Refused { id, .. } => *id == wanted,
            _ => false,
        };
        self.told.iter().map(|(_, down)| down).find(is_it)
    }
}

#[test]
fn an_answer_means_that_it_is_durable_and_the_nve_is_told_of_the_attachment() {
    for is_shared in [false, true] {
        let mut bench = Bench::new(is_shared);
        bench.asks(7, 1);
        assert!(bench.answer(7).is_none() && bench.commits.len() == 1);
        let objects = &bench.commits[0].transaction.objects;
        assert!(matches!(&objects[..], [(key, Some(_))] if *key == place("nve1", 1)), "{objects:?}");
        bench.commit();
        // The session of an authority of several is a transaction, too.
        let now = 5 + u64::from(is_shared);
        let is_answered = |bench: &Bench, id| match bench.answer(id) {
            Some(Down::Registered { sequence, revision, .. }) => (*sequence, *revision) == (now, now),
            _ => false,
        };
        assert!(is_answered(&bench, 7), "{:?}", bench.told);
        let is_told = |(_, down): &(u64, Down)| match down {
            Down::Provision(part) => {
                part.objects.iter().any(|seen| seen.entry.written().contains("10.1.0.2"))
            }
            _ => false,
        };
        assert!(bench.told.iter().any(is_told), "{:?}", bench.told);
        let allocated: Vec<&Event> =
            bench.events.iter().filter(|event| event.kind == Kind::Allocated).collect();
        let [event] = &allocated[..] else { panic!("{:?}", bench.events) };
        assert!(
            event.why.contains("10.1.0.2")
                && event.nve.as_deref() == Some("nve1")
                && event.object == Some(place("nve1", 1))
        );
        // Asked again it is the same, and changes nothing.
        bench.asks(8, 1);
        bench.commit();
        assert!(is_answered(&bench, 8), "{:?}", bench.told);
        assert_eq!(
            bench.authority.addresses(),
            crate::nva::client::AddressCounts { allocated: 1, refused: 0 }
        );
    }
}

#[test]
fn a_store_that_refuses_allocates_nothing_and_operators_hear_of_who_gets_none() {
    let mut bench = Bench::new(false);
    bench.asks(7, 1);
    bench.commits.clear();
    bench.step(authority::Input::Committed(Err("the disk is full".to_owned())));
    assert!(matches!(bench.answer(7), Some(Down::Refused { temporary: true, .. })), "{:?}", bench.told);
    assert_eq!(
        bench.authority.registry().catalogue().entry(&place("nve1", 1)).unwrap().summary().addresses,
        ["on-rarp"]
    );
    bench.asks(8, 9);
    bench.commit();
    assert!(matches!(bench.answer(8), Some(Down::Refused { temporary: false, .. })));
    let refused: Vec<&Event> = bench.events.iter().filter(|event| event.kind == Kind::Refused).collect();
    assert!(refused.iter().any(|event| event.object == Some(place("nve1", 9))), "{refused:?}");
}

#[test]
fn operators_of_a_network_hear_of_tenants_of_it_that_get_no_address() {
    let mut bench = Bench::new(false);
    let (key, change) = set(attachment("nve1", "vm1", 11, "red", "10.1.0.5"));
    bench.step(authority::Input::Change(Ticket(1), key, change));
    bench.commit();
    bench.asks(7, 1);
    let refused: Vec<&Event> = bench.events.iter().filter(|event| event.kind == Kind::Refused).collect();
    let [event] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((&event.object, &event.networks[..]), (&Some(place("nve1", 1)), &["red".to_owned()][..]));
}

#[test]
fn an_nve_that_asks_for_many_addresses_keeps_nobody_back() {
    // Where others may write the store, each is a transaction or a question of its own, also one that changes nothing.
    let mut bench = Bench::new(true);
    bench.opens(2);
    let (key, change) = asks("nve2", 4, "");
    bench.step(authority::Input::Change(Ticket(1), key, change));
    bench.commit();
    bench.told.clear();
    // While the first one is under way, many more come.
    bench.asks(1, 1);
    (2..=201).for_each(|id| bench.up(Up::AllocateAddress { id, attachment: "vm2".to_owned() }));
    bench.up_of(2, Up::AllocateAddress { id: 7, attachment: "vm4".to_owned() });
    let registered = |bench: &Bench, nve: u64| {
        let is_it = |(to, down): &&(u64, Down)| *to == nve && matches!(down, Down::Registered { .. });
        bench.told.iter().filter(is_it).count()
    };
    while registered(&bench, 2) == 0 {
        assert!(bench.commits.pop().is_some());
        bench.step(authority::Input::Committed(Ok(())));
        bench.step(authority::Input::Due);
    }
    assert_eq!(registered(&bench, 1), 2);
    bench.commit();
    let refused = |(to, down): &&(u64, Down)| match down {
        Down::Refused { temporary, why, .. } => *to == 1 && *temporary && why.contains("wait already"),
        _ => false,
    };
    assert_eq!((registered(&bench, 1), bench.told.iter().filter(refused).count()), (65, 136));
}

#[test]
fn a_request_that_another_authority_overtook_is_judged_again() {
    let mut bench = Bench::new(true);
    bench.asks(7, 1);
    bench.commits.clear();
    // The other one gave 10.1.0.2 to somebody else.
    let document =
        "{name: vm8, port: a, vlan: 18, mac: '02:00:00:00:00:0a', network: red, addresses: [10.1.0.2]}";
    let object = Object { document: document.to_owned(), sequence: 5 };
    let objects = vec![(place("nve2", 8), Some(object))];
    bench.step(authority::Input::Others(Transaction { objects, ..Transaction::default() }, Vec::new()));
    bench.commit();
    assert!(matches!(bench.answer(7), Some(Down::Registered { .. })));
    let has = bench
        .authority
        .registry()
        .catalogue()
        .entry(&place("nve1", 1))
        .unwrap()
        .summary()
        .addresses
        .join(" ");
    assert_eq!(has, "on-rarp 10.1.0.3 2001:db8:a::2");
}

#[test]
fn who_left_is_not_answered_and_operators_and_nves_take_turns() {
    let mut bench = Bench::new(false);
    (1..=3).for_each(|vm| bench.asks(u64::from(vm), vm));
    for n in 1..=3 {
        let (key, change) = super::provision::network(&format!("n{n}"), 100 + n, "");
        bench.step(authority::Input::Change(Ticket(n.into()), key, change));
    }
    let mut written = Vec::new();
    while let Some(commit) = bench.commits.pop() {
        written.extend(commit.transaction.objects.iter().map(|(key, _)| key.to_string()));
        bench.step(authority::Input::Committed(Ok(())));
        bench.step(authority::Input::Due);
    }
    let of_nves = |n: usize| written[n].starts_with("attachment");
    assert_eq!(written.len(), 6, "{written:?}");
    assert!((0..5).all(|n| of_nves(n) != of_nves(n + 1)), "{written:?}");
    bench.asks(9, 9);
    bench.step(authority::Input::Closed(SessionId(1)));
    bench.step(authority::Input::Due);
    assert!(bench.answer(9).is_some() || bench.commits.is_empty());
}

#[test]
fn an_authority_of_an_earlier_release_is_asked_for_no_address_and_one_that_says_so_is() {
    for addresses in [false, true] {
        let mut client = Client::new(name(1), 1, 1, 7, None);
        let asks = |client: &mut Client, now_ms| {
            let effects = client.step(now_ms, client::Input::AllocateAddress("vm1".to_owned()));
            let is_asked =
                |effect: &client::Effect| matches!(effect, client::Effect::Up(Up::AllocateAddress { .. }));
            effects.iter().filter(|effect| is_asked(effect)).count()
        };
        assert_eq!(asks(&mut client, 0), 0);
        let _ = client.step(0, client::Input::Tick);
        let _ = client.step(0, client::Input::Opened);
        let welcome = Down::Welcome {
            version: 1,
            epoch: vec![1],
            revision: 0,
            lease_ms: 60_000,
            router: false,
            bindings: true,
            blocks: true,
            addresses,
        };
        let _ = client.step(0, client::Input::Down(welcome));
        // Once at a time, and again in the next session.
        assert_eq!((asks(&mut client, 1), asks(&mut client, 2)), (usize::from(addresses), 0));
        let _ = client.step(3, client::Input::Closed("broken".to_owned()));
        assert_eq!(asks(&mut client, 4), 0);
    }
}

#[test]
fn what_an_attachment_was_allocated_moves_with_it() {
    let mut office = Office::new();
    office.does(red()).unwrap();
    office.does(asks("nve1", 1, "")).unwrap();
    office.asked("nve1", 1, 0).unwrap();
    let entry = office.0.catalogue().entry(&place("nve1", 1)).unwrap().placed("b", Some(22)).unwrap();
    assert_eq!(entry.summary().addresses, ["on-rarp", "10.1.0.2", "2001:db8:a::2"]);
    assert_eq!(office.0.catalogue().keys_of(&entry).unwrap().len(), 2);
    // At its new NVE it asks, and is told what it has.
    office.does(delete(asks("nve1", 1, ""), None)).unwrap();
    office.does(add("nve2", Ok(entry.clone()))).unwrap_err();
    let text = entry.written().to_owned();
    let objects = vec![(place("nve2", 1), Some(Object { document: text, sequence: 9 }))];
    office.0.apply(&Transaction { objects, ..Transaction::default() }, 0);
    assert_eq!(office.asked("nve2", 1, 0), Ok(("on-rarp 10.1.0.2 2001:db8:a::2".to_owned(), false)));
}
