//! MAC addresses: what NVEs register, who is told of it, and the networks that NVEs have.

use super::*;
use crate::ila::Identifier;
use crate::net::Mac;
use crate::nva::authority::{self, Authority, LIMITS, SessionId};
use crate::nva::client::{Client, Effect, Input};
use crate::nva::codec::{read_down, read_up, write_down, write_up};
use crate::nva::event::{Event, Kind};
use crate::nva::message::{AttachedNetwork, Down, FoundMac, QUERIES, QUERY_KEYS, Up};
use crate::nva::model::{Binding, Network, Record};
use crate::nva::registry::{Draft, Registry};
use std::collections::BTreeMap;

const RED: Network = (SIR, 100);

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

/// A tenant's IPv4 address in a network, and an IPv6 address.
fn ipv4((sir_prefix, vnid): Network, n: u32) -> Key {
    Key { sir_prefix, identifier: Identifier::tenant_ipv4(vnid, 0x0a00_0000 | n).0 }
}

fn ipv6((sir_prefix, vnid): Network, n: u32) -> Key {
    Key { sir_prefix, identifier: Identifier::tenant_ipv6(vnid, n).0 }
}

fn own(nve: u64, n: u8) -> Binding {
    Binding { choices: at(nve), mac: Some(mac(n)) }
}

fn attached(name: &str, gateway: u8) -> AttachedNetwork {
    let subnets = vec![("10.0.0.0/24".to_owned(), "10.0.0.1".to_owned())];
    AttachedNetwork { name: name.to_owned(), gateway_mac: mac(gateway), subnets }
}

/// An authority with a store that answers at once, and clients that speak to it as they would over the wire.
struct Bench {
    authority: Authority,
    clients: Vec<Client>,
    events: Vec<Event>,
    found: Vec<(usize, Network, Vec<FoundMac>)>,
    closed: Vec<(u64, String)>,
    told: Vec<(u64, Down)>,
    /// The authority is of a release that knows nothing of MAC addresses.
    is_older: bool,
    now_ms: u64,
}

impl Bench {
    fn new(count: u64) -> Self {
        Self::of(count, Registry::new(nves(count), Vec::new(), 0, (0, 0)))
    }

    fn of(count: u64, registry: Registry) -> Self {
        Bench {
            authority: Authority::new(settings(1, LIMITS), registry),
            clients: (1..=count).map(|n| Client::new(name(n), 1, 1, n, None)).collect(),
            events: Vec::new(),
            found: Vec::new(),
            closed: Vec::new(),
            told: Vec::new(),
            is_older: false,
            now_ms: 0,
        }
    }

    fn client(&mut self, n: usize, input: Input) {
        let id = SessionId(n as u64);
        for effect in self.clients[n - 1].step(self.now_ms, input) {
            match effect {
                Effect::Open(_) => {
                    self.authority(authority::Input::Opened(id, None));
                    self.client(n, Input::Opened);
                }
                Effect::Up(up) => {
                    let up = read_up(write_up(up)).unwrap();
                    assert!(!self.is_older || !matches!(up, Up::FindMacs { .. } | Up::Attached(_)), "{up:?}");
                    self.authority(authority::Input::Up(id, up));
                }
                Effect::Apply { .. } => self.client(n, Input::Applied),
                Effect::Found(network, found) => self.found.push((n, network, found)),
                Effect::Compare => self.client(n, Input::Compared(Vec::new())),
                Effect::Close | Effect::Tell(_) | Effect::Provision(_) => {}
                Effect::Blocks(_) | Effect::Moves(_) | Effect::Own(..) | Effect::Groups(_) => {}
            }
        }
    }

    fn authority(&mut self, input: authority::Input) {
        for effect in self.authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(id, down) => {
                    self.authority(authority::Input::Ready(id, down.weight()));
                    let mut down = read_down(write_down(down)).unwrap();
                    if let Down::Welcome { bindings, .. } = &mut down {
                        *bindings &= !self.is_older;
                    }
                    self.told.push((id.0, down.clone()));
                    if id.0 as usize <= self.clients.len() {
                        self.client(id.0 as usize, Input::Down(down));
                    }
                }
                authority::Effect::Close(id, why) => self.closed.push((id.0, why)),
                authority::Effect::Commit(_) => self.authority(authority::Input::Committed(Ok(()))),
                authority::Effect::Event(event) => self.events.push(event),
                authority::Effect::Released(..)
                | authority::Effect::Left(_)
                | authority::Effect::Applied(_) => {}
            }
        }
    }

    /// A second passes, tick by tick.
    fn pass(&mut self) {
        for _ in 0..20 {
            self.now_ms += 50;
            self.authority(authority::Input::Tick);
            (1..=self.clients.len()).for_each(|n| self.client(n, Input::Tick));
        }
    }

    /// An NVE has this attached.
    fn attach(&mut self, n: usize, all: impl IntoIterator<Item = (Key, Binding)>) {
        self.client(n, Input::Attached(all.into_iter().collect()));
        self.pass();
    }

    /// What an NVE is told of a MAC address of a network.
    fn find(&mut self, n: usize, network: Network, mac: Mac) -> Vec<Key> {
        self.found.clear();
        self.client(n, Input::FindMac(network, mac));
        self.pass();
        let found = std::mem::take(&mut self.found);
        let keys = found.into_iter().flat_map(|(to, of, found)| {
            assert_eq!((to, of), (n, network));
            found.into_iter().flat_map(|one| one.identifiers)
        });
        keys.map(|identifier| Key { sir_prefix: network.0, identifier }).collect()
    }

    fn kinds(&mut self, wanted: Kind) -> Vec<(String, String)> {
        let of = |event: &Event| (event.nve.as_deref().unwrap_or_default().to_owned(), event.why.clone());
        let all = self.events.iter().filter(|event| event.kind == wanted).map(of).collect();
        self.events.retain(|event| event.kind != wanted);
        all
    }

    fn record(&self, key: Key) -> Option<&Record> {
        self.authority.registry().record(key).filter(|record| record.is_held())
    }
}

#[test]
fn a_mac_address_finds_the_addresses_of_its_tenant_and_of_nobody_else() {
    let mut bench = Bench::new(2);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5)), (ipv6(RED, 5), own(1, 5)), (ipv4(RED, 6), own(1, 6))]);
    bench.attach(2, [(ipv4(RED, 7), own(2, 7)), (ipv4((SIR, 101), 5), own(2, 5))]);
    assert_eq!(bench.find(2, RED, mac(5)), [ipv4(RED, 5), ipv6(RED, 5)]);
    assert_eq!(bench.find(1, RED, mac(7)), [ipv4(RED, 7)]);
    assert_eq!(bench.find(1, RED, mac(9)), []);
    // What is released is found no more, and a task has no network.
    bench.attach(1, [(ipv6(RED, 5), own(1, 5)), (key(1), own(1, 8))]);
    assert_eq!(bench.find(2, RED, mac(5)), [ipv6(RED, 5)]);
    assert_eq!(bench.record(key(1)).unwrap().mac, Some(mac(8)));
    assert_eq!(bench.find(2, RED, mac(8)), []);
    // After a restart the registry knows the same.
    let records = bench.authority.registry().records_after(None).map(|(key, record)| (*key, record.clone()));
    let again = Registry::new(nves(2), records.collect::<Vec<_>>(), 9, (0, 0));
    let found = vec![FoundMac { mac: mac(5), identifiers: vec![ipv6(RED, 5).identifier] }];
    assert_eq!(again.find_macs(RED, &[mac(5), mac(6)]), found);
}

#[test]
fn another_mac_address_in_place_is_told_and_keeps_the_owner() {
    let mut bench = Bench::new(2);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    let before = bench.record(ipv4(RED, 5)).unwrap().clone();
    bench.told.clear();
    bench.attach(1, [(ipv4(RED, 5), own(1, 6))]);
    let after = bench.record(ipv4(RED, 5)).unwrap().clone();
    assert_eq!((&*after.owner, after.mac, &after.choices), ("nve1", Some(mac(6)), &before.choices));
    assert!(after.sequence > before.sequence);
    let is_told = |(id, down): &(u64, Down)| *id == 2 && matches!(down, Down::Delta(..));
    assert!(bench.told.iter().any(is_told), "{:?}", bench.told);
    // The same again changes nothing.
    bench.client(1, Input::Closed("for a while".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.pass();
    assert_eq!(bench.record(ipv4(RED, 5)), Some(&after));
    assert_eq!(bench.find(2, RED, mac(6)), []);
    bench.attach(2, [(ipv4(RED, 7), own(2, 7))]);
    assert_eq!((bench.find(2, RED, mac(5)), bench.find(2, RED, mac(6))), (vec![], vec![ipv4(RED, 5)]));
}

#[test]
fn who_had_a_mac_address_first_is_told_whatever_it_changes_of_its_records() {
    let mut bench = Bench::new(3);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    bench.attach(2, [(ipv4(RED, 7), own(2, 5))]);
    bench.attach(3, [(ipv4(RED, 9), own(3, 9))]);
    let first = bench.record(ipv4(RED, 5)).unwrap().clone();
    let elsewhere =
        Binding { choices: vec![Choice { locator: locator(1, 1), priority: 0, weight: 1 }], ..own(1, 5) };
    bench.attach(1, [(ipv4(RED, 5), elsewhere)]);
    let now = bench.record(ipv4(RED, 5)).unwrap().clone();
    let second = bench.record(ipv4(RED, 7)).unwrap();
    assert!(now.sequence > second.sequence && now.since == first.sequence, "{now:?} {second:?}");
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 5)]);
    // Another MAC address meanwhile gives it away.
    bench.attach(1, [(ipv4(RED, 5), own(1, 6))]);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 7)]);
}

#[test]
fn who_had_a_mac_address_first_has_it_still_when_its_tenant_gets_another_address() {
    let mut bench = Bench::new(3);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    bench.attach(2, [(ipv4(RED, 7), own(2, 5)), (ipv4(RED, 6), own(2, 6))]);
    bench.attach(3, [(ipv4(RED, 9), own(3, 9))]);
    let since = bench.record(ipv4(RED, 5)).unwrap().since;
    bench.attach(1, [(ipv4(RED, 8), own(1, 5))]);
    bench.pass();
    assert!(bench.record(ipv4(RED, 5)).is_none());
    assert_eq!(bench.record(ipv4(RED, 8)).unwrap().since, since);
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 8)]);
    // Also in one transaction, and not what it has of another MAC address or in another network.
    let registry = bench.authority.registry();
    let mut draft = Draft::default();
    let claim = |key, n| Claim { mac: Some(mac(n)), ..claim(key, at(1)) };
    for one in [
        claim(ipv4(RED, 20), 7),
        claim(ipv6(RED, 20), 7),
        claim(ipv4(RED, 21), 6),
        claim(ipv4((SIR, 101), 5), 5),
        claim(ipv6(RED, 5), 5),
    ] {
        registry.register(&mut draft, "nve1", one, 0).unwrap();
    }
    let writes = draft.finish().unwrap().writes;
    let since_of = |key| writes.iter().find(|(other, _)| *other == key).unwrap().1.since;
    let now = registry.revision() + 1;
    assert_eq!(since_of(ipv6(RED, 5)), since);
    assert!(
        [ipv4(RED, 20), ipv6(RED, 20), ipv4(RED, 21), ipv4((SIR, 101), 5)]
            .map(since_of)
            .iter()
            .all(|it| *it >= now)
    );
}

#[test]
fn a_mac_address_of_two_nves_is_reported_and_the_first_one_is_told() {
    let mut bench = Bench::new(3);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5)), (ipv6(RED, 5), own(1, 5))]);
    bench.attach(3, [(ipv4(RED, 9), own(3, 9))]);
    assert_eq!(bench.kinds(Kind::MacConflict), []);
    // It has its own address, and nobody else's goes for it.
    bench.attach(2, [(ipv4(RED, 6), own(2, 5))]);
    let told = bench.kinds(Kind::MacConflict);
    let [(nve, why)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(nve, "nve2");
    assert!(
        why.contains("02:00:00:00:00:05 is registered by nve2 and by nve1") && why.contains("what nve1 has")
    );
    assert!(bench.record(ipv4(RED, 6)).is_some());
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 5), ipv6(RED, 5)]);
    // In another network it is another one's.
    bench.attach(3, [(ipv4(RED, 9), own(3, 9)), (ipv4((SIR, 101), 1), own(3, 5))]);
    assert_eq!(bench.kinds(Kind::MacConflict), []);
    bench.attach(1, []);
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 6)]);
}

#[test]
fn who_has_no_tenants_of_a_network_is_told_no_mac_addresses_of_it() {
    let mut registry = Registry::new(nves(3), Vec::new(), 0, (0, 0));
    let mut all = nves(3);
    all.get_mut("nve3").unwrap().all_networks = true;
    registry.reconfigure((all, Default::default(), Default::default()), Default::default(), 0);
    let mut bench = Bench::of(3, registry);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    bench.attach(2, [(ipv4((SIR, 101), 5), own(2, 7))]);
    assert_eq!(bench.find(2, RED, mac(5)), []);
    let told = bench.kinds(Kind::Refused);
    let [(nve, why)] = &told[..] else { panic!("{told:?}") };
    assert!(
        nve == "nve2" && why.contains("has no tenants of VNID 100") && why.contains("networks: all"),
        "{why}"
    );
    assert_eq!(bench.find(3, RED, mac(5)), [ipv4(RED, 5)]);
    // The networks of other domains and neighbouring VNIDs are others.
    for other in [(OTHER_SIR, 100), (SIR, 99), (SIR, 101)] {
        assert!(!bench.authority.registry().may_ask_of("nve1", other), "{other:?}");
    }
    assert!(bench.authority.registry().may_ask_of("nve1", RED));
}

#[test]
fn questions_by_mac_address_are_bounded_for_each_nve() {
    let mut bench = Bench::new(1);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    // One that keeps to no limit, on a session of its own.
    let id = SessionId(9);
    bench.authority(authority::Input::Opened(id, None));
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(1),
        boot: 2,
        asks: false,
        digests: false,
        moves: Modes::default(),
        groups: false,
    };
    bench.authority(authority::Input::Up(id, hello));
    let question = |number| Up::FindMacs { id: number, network: RED, macs: vec![mac(5)] };
    bench.told.clear();
    for number in 0..10_000 {
        bench.authority(authority::Input::Up(id, question(number)));
        if bench.closed.iter().any(|(id, _)| *id == 9) {
            break;
        }
    }
    let answers =
        bench.told.iter().filter(|(to, down)| *to == 9 && matches!(down, Down::FoundMacs { .. })).count();
    assert!((2_000..2_000 + QUERIES).contains(&answers), "{answers}");
    assert!(bench.closed.iter().any(|(id, why)| *id == 9 && why.contains("FindMacs")), "{:?}", bench.closed);
}

#[test]
fn what_breaks_the_protocol_about_mac_addresses_is_not_read() {
    let find = |macs: Vec<u64>| {
        let message = v1_up(crate::nva::v1::FindMacs { id: 1, sir_prefix: SIR, vnid: 100, macs });
        read_up(message).map(|_| ()).map_err(|why| why.to_string())
    };
    assert!(find(Vec::new()).unwrap_err().contains("0 MAC addresses; name 1 to 64"));
    assert!(find(vec![7; 65]).unwrap_err().contains("65 MAC addresses"));
    assert!(find(vec![0]).unwrap_err().contains("no MAC address"));
    assert!(find(vec![1 << 48]).unwrap_err().contains("48 bits"));
    assert_eq!(find(vec![7; 64]), Ok(()));
    let registry = Registry::new(nves(1), Vec::new(), 0, (0, 0));
    let group = Claim { mac: Some(Mac([1, 0, 0x5e, 0, 0, 1])), ..claim(ipv4(RED, 5), at(1)) };
    let refusal = registry.register(&mut Draft::default(), "nve1", group, 0).unwrap_err();
    assert!(refusal.why.contains("MAC address of a group"), "{refusal:?}");
}

fn v1_up(find: crate::nva::v1::FindMacs) -> crate::nva::v1::Up {
    crate::nva::v1::Up { message: Some(crate::nva::v1::up::Message::FindMacs(find)) }
}

#[test]
fn an_authority_of_an_earlier_release_hears_nothing_that_it_does_not_know() {
    let mut bench = Bench::new(1);
    bench.is_older = true;
    bench.client(1, Input::Networks(BTreeMap::from([(RED, attached("red", 1))])));
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    assert_eq!(bench.find(1, RED, mac(5)), []);
    assert!(bench.record(ipv4(RED, 5)).is_some());
    // The next one does, and is told everything.
    bench.is_older = false;
    bench.client(1, Input::Closed("another one".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.pass();
    assert_eq!(bench.find(1, RED, mac(5)), [ipv4(RED, 5)]);
    assert_eq!(bench.authority.networks_after(None).count(), 1);
}

#[test]
fn what_is_refused_is_asked_for_again_when_its_tenant_announces_it() {
    let mut bench = Bench::new(2);
    bench.attach(1, [(ipv4(RED, 5), own(1, 5))]);
    bench.attach(2, [(ipv4(RED, 5), own(2, 5))]);
    bench.attach(1, []);
    assert!(bench.record(ipv4(RED, 5)).is_none(), "nobody asked again yet");
    bench.client(2, Input::Announced(ipv4(RED, 6)));
    bench.pass();
    assert!(bench.record(ipv4(RED, 5)).is_none());
    bench.client(2, Input::Announced(ipv4(RED, 5)));
    bench.pass();
    assert_eq!(bench.record(ipv4(RED, 5)).unwrap().owner, "nve2");
}

#[test]
fn networks_are_told_as_they_are_attached_and_detached() {
    let mut bench = Bench::new(2);
    bench.pass();
    let blue = (SIR, 101);
    bench
        .client(1, Input::Networks(BTreeMap::from([(RED, attached("red", 1)), (blue, attached("blue", 2))])));
    bench.pass();
    let told = bench.kinds(Kind::NetworkAttached);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].1, "red (VNID 100), gateway 02:00:00:00:00:01, 10.0.0.0/24");
    // Nothing new is said once.
    bench
        .client(1, Input::Networks(BTreeMap::from([(RED, attached("red", 1)), (blue, attached("blue", 2))])));
    bench.pass();
    assert_eq!(bench.kinds(Kind::NetworkAttached), []);
    bench.client(1, Input::Networks(BTreeMap::from([(blue, attached("blue", 2))])));
    bench.pass();
    assert_eq!(bench.kinds(Kind::NetworkDetached), [("nve1".to_owned(), "VNID 100".to_owned())]);
    let left: Vec<Network> = bench.authority.networks_after(None).map(|at| at.network).collect();
    assert_eq!(left, [blue]);
    // With the session goes what it said.
    bench.authority(authority::Input::Closed(SessionId(1)));
    assert_eq!(bench.authority.networks_after(None).count(), 0);
}

#[test]
fn a_gateway_with_another_mac_address_is_reported_with_both_and_hurts_nobody_else() {
    let mut bench = Bench::new(3);
    bench.pass();
    for (nve, gateway) in [(1, 1), (2, 2), (3, 1)] {
        bench.client(nve, Input::Networks(BTreeMap::from([(RED, attached("red", gateway))])));
        bench.pass();
    }
    let told = bench.kinds(Kind::GatewayMacDiffers);
    let [(nve, why)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(nve, "nve2");
    for part in ["02:00:00:00:00:02 here", "it is 02:00:00:00:00:01 at nve1", "virtual_networks[].mac"] {
        assert!(why.contains(part), "{why}");
    }
    let seen = |bench: &Bench| -> Vec<(String, bool)> {
        let all = bench.authority.networks_after(None);
        all.map(|at| (at.nve.to_owned(), at.at.gateway_mac == at.gateway_mac)).collect()
    };
    let of = |all: [(&str, bool); 3]| all.map(|(nve, is_right)| (nve.to_owned(), is_right)).to_vec();
    assert_eq!(seen(&bench), of([("nve1", true), ("nve2", false), ("nve3", true)]));
    assert_eq!(bench.authority.differing_gateways(), 1);
    // What it says later counts, and it does not become the first by that.
    bench.client(2, Input::Networks(BTreeMap::from([(RED, attached("red", 1))])));
    bench.pass();
    assert_eq!((bench.kinds(Kind::GatewayMacDiffers), bench.authority.differing_gateways()), (vec![], 0));
    bench.client(1, Input::Networks(BTreeMap::from([(RED, attached("red", 3))])));
    bench.pass();
    assert_eq!(bench.authority.differing_gateways(), 2, "the first one is what others are compared with");
}

#[test]
fn no_more_networks_are_kept_of_an_nve_than_it_may_have() {
    let mut bench = Bench::new(1);
    bench.pass();
    let all = (1..=5_000).map(|vnid| ((SIR, vnid), attached("many", 1)));
    bench.client(1, Input::Networks(all.collect()));
    bench.pass();
    assert_eq!(bench.authority.networks_after(None).count(), 4_096);
    assert!(bench.closed.is_empty());
    let more = crate::nva::message::AttachedNetworks {
        networks: vec![((SIR, 9_000), attached("more", 1))],
        ..Default::default()
    };
    bench.authority(authority::Input::Up(SessionId(1), Up::Attached(more)));
    assert!(bench.closed[0].1.contains("more than 4096 virtual networks"), "{:?}", bench.closed);
}

#[test]
fn reports_of_networks_are_few_and_who_makes_more_loses_its_session() {
    let mut bench = Bench::new(1);
    bench.pass();
    bench.kinds(Kind::NetworkAttached);
    // A network that comes and goes a hundred times in a tenth of a second is told of once, as it is then.
    for n in 0..100 {
        let networks = (n % 2 == 0).then(|| (RED, attached("red", 1)));
        bench.client(1, Input::Networks(networks.into_iter().collect()));
        bench.now_ms += 1;
    }
    bench.pass();
    let told = bench.kinds(Kind::NetworkAttached).len() + bench.kinds(Kind::NetworkDetached).len();
    assert!(told <= 2, "{told}");
    assert_eq!(bench.authority.networks_after(None).count(), 0);
    let report = || crate::nva::message::AttachedNetworks { whole: true, ..Default::default() };
    for _ in 0..17_000 {
        bench.authority(authority::Input::Up(SessionId(1), Up::Attached(report())));
    }
    assert!(bench.closed[0].1.contains("more reports of attached networks"), "{:?}", bench.closed);
}

#[test]
fn each_mac_address_of_a_question_counts_against_the_rate_of_questions() {
    let mut bench = Bench::of(1, Registry::new(nves(2), Vec::new(), 0, (0, 0)));
    let id = SessionId(9);
    let up = |bench: &mut Bench, up| bench.authority(authority::Input::Up(id, up));
    bench.authority(authority::Input::Opened(id, None));
    let (versions, nve, moves) = (vec![1], name(2), Modes::default());
    up(&mut bench, Up::Hello { versions, nve, boot: 1, asks: false, digests: false, moves, groups: false });
    up(&mut bench, Up::Register { id: 1, key: ipv4(RED, 7), choices: at(2), known: 0, mac: Some(mac(7)) });
    bench.pass();
    let answered =
        |bench: &Bench| bench.told.iter().filter(|(_, down)| matches!(down, Down::FoundMacs { .. })).count();
    let macs: Vec<Mac> = (0..QUERY_KEYS as u8).map(mac).collect();
    for id in 0..40 {
        up(&mut bench, Up::FindMacs { id, network: RED, macs: macs.clone() });
    }
    // 2,000 at once; what is beyond waits.
    let at_once = answered(&bench);
    assert_eq!(at_once, 2_000 / QUERY_KEYS);
    bench.pass();
    assert_eq!((answered(&bench), bench.closed.len()), (40, 0));
}

#[test]
fn networks_in_reports_are_charged_each_and_an_nve_reports_so_many_at_once_as_it_may() {
    let mut bench = Bench::new(1);
    bench.pass();
    let networks =
        |from: u32, gateway| (from..from + 512).map(move |vnid| ((SIR, vnid), attached("n", gateway)));
    let report = |from, gateway| {
        let networks = networks(from, gateway).collect();
        Up::Attached(crate::nva::message::AttachedNetworks { networks, ..Default::default() })
    };
    for n in 0..32_u8 {
        assert!(bench.closed.is_empty(), "{n} reports");
        bench.authority(authority::Input::Up(SessionId(1), report(1 + u32::from(n % 8) * 512, n)));
    }
    assert!(bench.closed[0].1.contains("more reports of attached networks"), "{:?}", bench.closed);
    // A node whose networks change all at once goes on telling of them, and loses no session.
    let mut bench = Bench::new(1);
    bench.client(1, Input::Networks(networks(1, 1).chain(networks(513, 1)).collect()));
    bench.pass();
    assert_eq!(bench.authority.networks_after(None).count(), 1_024);
    for gateway in 2..200 {
        bench.client(1, Input::Networks(networks(1, gateway).chain(networks(513, gateway)).collect()));
        bench.now_ms += 50;
        bench.client(1, Input::Tick);
    }
    bench.client(1, Input::Networks(networks(600, 9).collect()));
    bench.pass();
    assert_eq!((bench.closed.len(), bench.authority.networks_after(None).count()), (0, 512));
    assert!(bench.authority.networks_after(None).all(|one| one.at.gateway_mac == mac(9)));
}

#[test]
fn queries_do_not_overtake_a_question_by_mac_address_for_ever() {
    let mut bench = Bench::of(1, Registry::new(nves(2), Vec::new(), 0, (0, 0)));
    let id = SessionId(9);
    let up = |bench: &mut Bench, up| bench.authority(authority::Input::Up(id, up));
    bench.authority(authority::Input::Opened(id, None));
    let (versions, nve, moves) = (vec![1], name(2), Modes::default());
    up(&mut bench, Up::Hello { versions, nve, boot: 1, asks: true, digests: false, moves, groups: false });
    up(&mut bench, Up::Register { id: 1, key: ipv4(RED, 7), choices: at(2), known: 0, mac: Some(mac(7)) });
    let count = |bench: &Bench, what: fn(&Down) -> bool| {
        bench.told.iter().filter(|(to, down)| *to == 9 && what(down)).count()
    };
    let answers = |bench: &Bench| count(bench, |down| matches!(down, Down::Answer { .. }));
    let mut asked = 0;
    let mut ask = |bench: &mut Bench| {
        asked += 1;
        up(bench, Up::Query { id: asked, keys: vec![key(1)] });
        asked as usize
    };
    while ask(&mut bench) < 2_000 {}
    assert_eq!(answers(&bench), 2_000);
    up(&mut bench, Up::FindMacs { id: 1, network: RED, macs: (0..QUERY_KEYS as u8).map(mac).collect() });
    let mut sent = 2_000;
    for _ in 0..100 {
        bench.now_ms += 1;
        // As many as may wait: each would take what came in the millisecond.
        if sent - answers(&bench) < QUERIES {
            sent = ask(&mut bench);
        }
        bench.authority(authority::Input::Tick);
    }
    assert_eq!(count(&bench, |down| matches!(down, Down::FoundMacs { .. })), 1);
    assert!(bench.closed.is_empty() && answers(&bench) > 2_000, "{:?}", bench.closed);
}
