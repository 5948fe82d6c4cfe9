//! The control thread without devices, workers or a clock of its own: it is told the time turn by turn.

mod amend;
mod tenants;

use super::*;
use crate::config::{LocatorChoice, MappingTarget};
use crate::ila::{Identifier, Locator};
use crate::net::ndp::{self, Envelope, Message};
use crate::net::{ethernet, ipv6};
use crate::node::neighbour::Key;
use crate::node::source::{Applied, Batch, Change, Origin, Refusal};
use crate::node::stats::PortFacts;
use crate::path::Notice;
use crate::table::{Action, HopState};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

const FABRIC: PortId = PortId(0);
const ACCESS: PortId = PortId(1);
const NEXT: u128 = 0xfd00_000f << 96 | 2;
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const HOST: u128 = 0x2001_0db8_0002 << 80 | 7;

const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access, addresses: ["2001:db8:2::1/64"], router_advertisement: {interval_s: 10}}
routes: [{prefix: "fd00:1::/32", via: "fd00:f::2", port: f}]
"#;

#[derive(Clone)]
struct Fake(Rc<RefCell<[bool; 2]>>);

impl Devices for Fake {
    fn link(&self, port: PortId) -> (bool, u32) {
        (self.0.borrow()[usize::from(port.0)], 1000)
    }
    fn counters(&self, _: PortId) -> DeviceCounters {
        DeviceCounters::default()
    }
    fn xstats(&self, _: PortId) -> Vec<(String, u64)> {
        Vec::new()
    }
    fn rss(&self, _: PortId) -> String {
        "active".into()
    }
    fn mbufs(&self) -> (u64, u64) {
        (0, 1)
    }
}

struct Bench {
    control: Control,
    exchange: Arc<Exchange>,
    reader: Reader<Tables>,
    links: Fake,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.yaml");
        std::fs::write(&path, config).unwrap();
        let config = Arc::new(Config::load(&path).unwrap());
        let exchange = Exchange::new();
        let links = Fake(Rc::new(RefCell::new([true; 2])));
        let facts = |port: &crate::config::Port| PortFacts {
            name: port.name.clone(),
            device: port.device.clone(),
            role: views::role_name(port.role),
        };
        let facts = config.ports.iter().map(facts).collect();
        let mut control = Control::new(Start {
            path,
            config,
            macs: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
            mappings: None,
            stats: Arc::new(Stats::new("n".into(), facts, &[1], 1)),
            exchanges: vec![exchange.clone()],
            devices: Box::new(links.clone()),
            set_level: Box::new(|_| ()),
            seed: 1,
        })
        .unwrap();
        let reader = control.reader();
        Bench { control, exchange, reader, links, _dir: dir }
    }

    /// A turn, and the workers' taking of what it published.
    fn turn(&mut self, now_ms: u64) {
        self.control.turn(now_ms);
        let _ = self.reader.snapshot();
        self.control.turn(now_ms);
    }

    /// What was sent since the last call.
    fn sent(&self) -> Vec<(PortId, u128, Message)> {
        std::iter::from_fn(|| self.exchange.to_send.pop())
            .map(|frame| {
                let link = ethernet::parse(&frame.bytes).unwrap();
                let packet = &frame.bytes[link.header..];
                let to = ipv6::Ipv6::of(packet).unwrap().destination();
                (frame.port, to, ndp::parse(packet).unwrap())
            })
            .collect()
    }

    fn solicited(&self, target: u128) -> bool {
        self.sent()
            .iter()
            .any(|(_, _, m)| matches!(m, Message::Solicitation { target: t, .. } if *t == target))
    }

    /// An advertisement arrives.
    fn advertise(&self, port: PortId, address: u128) {
        let mut frame = [0; ndp::MAX_FRAME];
        let envelope = Envelope {
            to_mac: Mac([2, 0, 0, 0, 0, 1]),
            from_mac: PEER,
            vlan: 0,
            source: address,
            destination: 1,
        };
        let length = ndp::advertisement(&mut frame, envelope, address, true, true);
        self.exchange.punted.push(Frame::new(port, &frame[..length]).unwrap()).unwrap();
    }

    fn next_hop(&mut self) -> HopState {
        let tables = self.reader.snapshot();
        let id = tables.routes.lookup(0xfd00_0001 << 96 | 5).unwrap();
        match tables.action(id) {
            Some(Action::Forward(hop)) => hop.state,
            other => panic!("{other:?}"),
        }
    }

    fn host(&mut self) -> Option<HopState> {
        self.reader.snapshot().neighbours.get(&(ACCESS, HOST)).map(|hop| hop.state)
    }

    fn apply(&mut self, number: u64, locator: u64) -> oneshot::Receiver<Result<Applied, Refusal>> {
        let target = MappingTarget::Locators(vec![LocatorChoice {
            locator: Locator(locator),
            priority: 0,
            weight: 1,
        }]);
        let record = MappingRecord { domain: 0, identifier: Identifier(1 << 61 | number), target };
        let batch = Batch { origin: Origin::Admin, changes: vec![Change::Upsert(record)], complete: false };
        let (answer, answered) = oneshot::channel();
        self.control.answer(Request::Apply(batch, answer));
        answered
    }

    fn reload(&mut self, config: &str) -> Result<ReloadView, String> {
        std::fs::write(&self.control.path, config).unwrap();
        let (answer, mut answered) = oneshot::channel();
        self.control.answer(Request::Reload(answer));
        let event = self.control.events.blocking_recv().unwrap();
        self.control.hear(event);
        for now in 1..10 {
            self.turn(now);
        }
        answered.try_recv().unwrap()
    }
}

#[test]
fn a_next_hop_is_asked_for_at_the_start_and_ready_when_it_answers() {
    let mut bench = Bench::new();
    assert!(bench.solicited(NEXT));
    assert_eq!(bench.next_hop(), HopState::Unresolved);
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    assert_eq!(bench.next_hop(), HopState::Ready);
}

#[test]
fn a_neighbour_that_a_packet_waits_for_is_asked_for_found_unreachable_and_forgotten() {
    let mut bench = Bench::new();
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.turn(10);
    assert!(bench.solicited(HOST));
    assert_eq!(bench.host(), Some(HopState::Unresolved));
    (10..3_100).step_by(10).for_each(|now| bench.turn(now));
    assert_eq!(bench.host(), Some(HopState::Unreachable));
    (3_100..7_000).step_by(10).for_each(|now| bench.turn(now));
    assert_eq!(bench.host(), None);
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.turn(7_000);
    bench.advertise(ACCESS, HOST);
    bench.turn(7_010);
    assert_eq!(bench.host(), Some(HopState::Ready));
}

#[test]
fn a_neighbour_that_asks_from_another_mac_is_followed() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    let moved = Mac([2, 0, 0, 0, 0, 10]);
    bench.exchange.notices.push(Notice::Neighbour { port: FABRIC, address: NEXT, mac: moved }).unwrap();
    bench.turn(10);
    let hop = bench.reader.snapshot().neighbours[&(FABRIC, NEXT)];
    assert_eq!((hop.state, ethernet::destination(hop.link())), (HopState::Ready, Some(moved)));
    assert_eq!(bench.control.neighbour_views()[0].state, "stale");
}

#[test]
fn somebody_who_has_our_address_is_counted_however_it_shows() {
    let mut bench = Bench::new();
    let own = 0xfd00_000f << 96 | 1;
    let conflicts = |bench: &Bench| bench.control.stats.address_conflicts[0].load(Ordering::Relaxed);
    bench.turn(1);
    // Nobody but asks whether it is free at first.
    assert!(bench.sent().iter().any(|(port, _, m)| {
        *port == FABRIC && *m == Message::Solicitation { target: own, source_mac: None }
    }));
    bench.advertise(FABRIC, own);
    bench.turn(10);
    assert_eq!(conflicts(&bench), 1);
    bench.exchange.notices.push(Notice::Ours { port: FABRIC, address: own, mac: PEER }).unwrap();
    bench.turn(20);
    assert_eq!((conflicts(&bench), bench.control.neighbours.iter().count()), (2, 1));
    // Our own, which came back.
    let mut frame = [0; ndp::MAX_FRAME];
    let from_mac = bench.control.publisher.current().ports[0].mac;
    let envelope = Envelope { to_mac: PEER, from_mac, vlan: 0, source: own, destination: 1 };
    let length = ndp::advertisement(&mut frame, envelope, own, true, true);
    bench.exchange.punted.push(Frame::new(FABRIC, &frame[..length]).unwrap()).unwrap();
    bench.turn(30);
    assert_eq!(conflicts(&bench), 2);
}

#[test]
fn packets_wait_longer_than_their_neighbour_is_given_to_answer() {
    for (retransmit_ms, probes) in [(100, 1), (1000, 3), (60_000, 20)] {
        let timers = format!("neighbour_discovery: {{retransmit_ms: {retransmit_ms}, probes: {probes}}}");
        let config = Config::parse(&format!("{CONFIG}{timers}\n"), "wait.yaml").unwrap();
        assert!(settings(&config, 2).hold_timeout_ms > retransmit_ms * probes);
    }
}

#[test]
fn a_batch_is_answered_only_when_every_worker_has_what_it_needs() {
    let mut bench = Bench::new();
    let identifier = 1 << 61 | 7;
    let lookup = |bench: &Bench| bench.control.publisher.current().domains[0].mappings.lookup(identifier);
    let mut answered = bench.apply(7, 0xfd00_0001_0000_0002);
    bench.control.turn(1);
    bench.control.turn(2);
    assert!(answered.try_recv().is_err() && lookup(&bench).is_none());
    bench.turn(3);
    let applied = answered.try_recv().unwrap().unwrap();
    assert_eq!((applied.created, applied.revision), (1, 1));
    let id = lookup(&bench).unwrap();
    assert!(matches!(bench.reader.snapshot().action(id), Some(Action::Remote(_))));
    // A target that is known already needs no snapshot and takes effect at once.
    let before = bench.control.publisher.number();
    let mut answered = bench.apply(8, 0xfd00_0001_0000_0002);
    bench.control.turn(4);
    assert_eq!(answered.try_recv().unwrap().unwrap().created, 1);
    assert_eq!(bench.control.publisher.number(), before);
    assert_eq!(bench.control.stats.update_latency.count(), 2);
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused_and_the_next_one_applied() {
    let mut bench = Bench::new();
    let mut refused = bench.apply(1 << 60, 0xfd00_0001_0000_0002);
    let mut applied = bench.apply(9, 0xfd00_0001_0000_0002);
    bench.turn(1);
    bench.turn(2);
    assert!(refused.try_recv().unwrap().is_err());
    assert!(applied.try_recv().unwrap().is_ok());
}

#[test]
fn a_link_that_goes_down_takes_its_hops_along_and_asks_anew_when_it_comes_back() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    bench.links.0.borrow_mut()[0] = false;
    bench.turn(300);
    assert_eq!(bench.next_hop(), HopState::LinkDown);
    bench.sent();
    bench.links.0.borrow_mut()[0] = true;
    bench.turn(600);
    assert_eq!(bench.next_hop(), HopState::Ready);
    let sent = bench.sent();
    let told = |address: u128| {
        sent.iter().any(|(port, _, m)| {
            *port == FABRIC && matches!(m, Message::Advertisement { target, .. } if *target == address)
        })
    };
    assert!(told(0xfd00_000f << 96 | 1), "others learn where we are");
    assert!(sent.iter().any(|(_, to, m)| *to == NEXT && matches!(m, Message::Solicitation { .. })));
}

#[test]
fn access_ports_advertise_themselves_from_the_start() {
    let mut bench = Bench::new();
    let adverts = |bench: &Bench| {
        let sent = bench.sent();
        sent.iter().filter(|(port, _, m)| *port == ACCESS && *m == Message::RouterAdvertisement).count()
    };
    bench.turn(1);
    assert_eq!(adverts(&bench), 1);
    (1..60_000).step_by(100).for_each(|now| bench.control.turn(now));
    assert!((6..=8).contains(&adverts(&bench)));
}

/// Lifetimes of the Router Advertisements that were sent on the access port since the last call.
fn lifetimes(bench: &Bench) -> Vec<u16> {
    let frames = std::iter::from_fn(|| bench.exchange.to_send.pop()).filter(|frame| frame.port == ACCESS);
    frames
        .filter_map(|frame| ndp::router_advert(&frame.bytes[14..]).ok().map(|(advert, _)| advert.lifetime_s))
        .collect()
}

#[test]
fn rfc_4861_6_2_5_who_stops_advertising_says_so() {
    let goodbye = |bench: &mut Bench| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(bench.control.say_goodbye());
        lifetimes(bench)
    };
    let mut bench = Bench::new();
    bench.turn(1);
    assert_eq!(lifetimes(&bench), [1800]);
    assert_eq!(goodbye(&mut bench), [0]);
    // A reload that takes it away says so once, and the end has nothing to add.
    let mut bench = Bench::new();
    bench.turn(1);
    lifetimes(&bench);
    bench.reload(&CONFIG.replace(", router_advertisement: {interval_s: 10}", "")).unwrap();
    assert_eq!((lifetimes(&bench), goodbye(&mut bench)), (vec![0], vec![]));
    // One that changes something else says nothing of the kind.
    let mut bench = Bench::new();
    bench.turn(1);
    bench.reload(&CONFIG.replace("fd00:1::/32", "fd00:2::/32")).unwrap();
    assert!(!lifetimes(&bench).contains(&0));
}

#[test]
fn every_vlan_of_an_access_port_is_told_of_its_router() {
    let mut config =
        CONFIG.replace("ports:", "locators: [{prefix: \"fd00:1:0:1::/64\", domain: tasks}]\nports:");
    config.push_str("attachments:\n");
    for vlan in 1..=1000 {
        let sir = format!("2001:db8:dddd:0:2000::{vlan}");
        let line = format!("{{port: a, vlan: {vlan}, mac: \"02:00:00:00:00:0a\", identifiers: [\"{sir}\"]}}");
        config.push_str(&format!("  - {line}\n"));
    }
    let mut bench = Bench::with(&config);
    let mut told = std::collections::BTreeSet::new();
    for now in 1..20 {
        bench.control.turn(now);
        while let Some(frame) = bench.exchange.to_send.pop() {
            let link = ethernet::parse(&frame.bytes).unwrap();
            if ndp::parse(&frame.bytes[link.header..]) == Ok(Message::RouterAdvertisement) {
                told.insert(link.vlan);
            }
        }
    }
    assert_eq!(told.len(), 1000);
    assert_eq!(bench.control.stats.originated_lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reload_applies_what_it_can_and_refuses_the_whole_file_otherwise() {
    let mut bench = Bench::new();
    bench.turn(1);
    let more =
        CONFIG.replace("routes: [", r#"routes: [{prefix: "fd00:2::/32", via: "fd00:f::3", port: f}, "#);
    let view = bench.reload(&more).unwrap();
    assert_eq!((view.applied.as_slice(), view.mappings), (["routes[0]".to_owned()].as_slice(), None));
    assert!(bench.solicited(0xfd00_000f << 96 | 3));
    assert!(bench.reader.snapshot().routes.lookup(0xfd00_0002 << 96 | 5).is_some());
    let why = bench.reload(&more.replace("role: fabric", "role: fabric, mtu: 1400")).unwrap_err();
    assert!(why.contains("ports[0].mtu"), "{why}");
    let why = bench.reload("node: {}").unwrap_err();
    assert!(why.contains("dpdk.workers"), "{why}");
    assert_eq!(bench.control.config.routes.len(), 2);
}

#[test]
fn a_next_hop_that_a_reload_let_go_is_found_by_packets_to_itself() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(1);
    bench
        .reload(&CONFIG.replace("routes: [{prefix: \"fd00:1::/32\", via: \"fd00:f::2\", port: f}]", ""))
        .unwrap();
    let known =
        |bench: &mut Bench| bench.reader.snapshot().neighbours.get(&(FABRIC, NEXT)).map(|hop| hop.state);
    assert_eq!(known(&mut bench), None);
    bench.exchange.wanted.push(Key { port: FABRIC, address: NEXT }).unwrap();
    bench.turn(20);
    assert_eq!(known(&mut bench), Some(HopState::Ready));
}

#[test]
fn a_reload_whose_mappings_clash_with_an_operators_changes_nothing() {
    let mut bench = Bench::new();
    let mut answered = bench.apply(0x1_0000, 0xfd00_0001_0000_0002);
    (1..5).for_each(|now| bench.turn(now));
    assert!(answered.try_recv().unwrap().is_ok());
    let with = CONFIG.replace("dddd::/64\"}]", "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]");
    let with = format!("{with}mappings: {{file: mappings.yaml}}\n");
    let file = bench.control.path.with_file_name("mappings.yaml");
    for (line, words) in [
        (r#"{sir: "2001:db8:dddd:0:2000::1:ffff", locators: ["fd00:1:0:3::/64"]}"#, "twin"),
        (r#"{sir: "2001:db8:eeee:0:2000::1", locators: ["fd00:1:0:2::/64"]}"#, "locator of domain tasks"),
    ] {
        std::fs::write(&file, format!("mappings:\n  - {line}\n")).unwrap();
        let why = bench.reload(&with).unwrap_err();
        assert!(why.contains(words) && !why.contains("in force"), "{why}");
        assert_eq!((bench.control.config.sir_domains.len(), bench.control.watch.is_some()), (1, false));
    }
}

#[test]
fn a_reload_whose_mappings_clash_with_an_operators_gateway_changes_nothing() {
    let networks = r#"
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
virtual_networks:
  - {name: red, vnid: 1, domain: tasks, ipv6: {prefix: "2001:db8:a::/96"}}
  - {name: blue, vnid: 2, domain: tasks, ipv6: {prefix: "2001:db8:b::/96"}}
"#;
    let mut bench = Bench::with(&format!("{CONFIG}{networks}"));
    let (from, to, via) = ("red".to_owned(), "blue".to_owned(), Some("fd00:1:0:3::/64".to_owned()));
    let policy = crate::config::Amendment::Policy(crate::config::PolicyWords { from, to, via });
    let (answer, mut answered) = oneshot::channel();
    bench.control.answer(Request::Amend(crate::node::handle::Amend::Add(policy), answer));
    (1..5).for_each(|now| bench.turn(now));
    answered.try_recv().unwrap().unwrap();
    let with = CONFIG.replace("dddd::/64\"}]", "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]");
    let with = format!("{with}{networks}mappings: {{file: mappings.yaml}}\n");
    let line = r#"{sir: "2001:db8:eeee:0:2000::1", locators: ["fd00:1:0:3::/64"]}"#;
    std::fs::write(bench.control.path.with_file_name("mappings.yaml"), format!("mappings:\n  - {line}\n"))
        .unwrap();
    let why = bench.reload(&with).unwrap_err();
    assert!(why.contains("locator of domain tasks") && !why.contains("in force"), "{why}");
    assert_eq!(bench.control.config.sir_domains.len(), 1);
}

#[test]
fn a_signal_during_a_reload_is_remembered() {
    let mut bench = Bench::new();
    bench.turn(1);
    bench.control.begin_reload(None);
    let event = bench.control.events.blocking_recv().unwrap();
    // The file that was read is old by the time that the second signal comes.
    let more =
        CONFIG.replace("routes: [", r#"routes: [{prefix: "fd00:2::/32", via: "fd00:f::3", port: f}, "#);
    std::fs::write(&bench.control.path, more).unwrap();
    bench.control.begin_reload(None);
    bench.control.begin_reload(None);
    bench.control.hear(event);
    (2..6).for_each(|now| bench.turn(now));
    assert!(bench.control.reloading);
    let event = bench.control.events.blocking_recv().unwrap();
    bench.control.hear(event);
    (6..10).for_each(|now| bench.turn(now));
    assert_eq!((bench.control.reloading, bench.control.config.routes.len()), (false, 2));
    // Who asks by ilactl is told, and asks again.
    bench.control.begin_reload(None);
    let (answer, mut answered) = oneshot::channel();
    bench.control.begin_reload(Some(answer));
    assert!(answered.try_recv().unwrap().unwrap_err().contains("under way"));
}

#[test]
fn a_new_address_is_asked_for_and_told_of() {
    let mut bench = Bench::new();
    bench.turn(1);
    bench.turn(300);
    bench.sent();
    let new = 0xfd00_000f << 96 | 0x11;
    bench.reload(&CONFIG.replace(r#"["fd00:f::1/64"]"#, r#"["fd00:f::1/64", "fd00:f::11/64"]"#)).unwrap();
    bench.turn(600);
    let sent = bench.sent();
    let said =
        |wanted: &dyn Fn(&Message) -> bool| sent.iter().any(|(port, _, m)| *port == FABRIC && wanted(m));
    assert!(said(&|m| *m == Message::Solicitation { target: new, source_mac: None }), "{sent:?}");
    assert!(said(&|m| matches!(m, Message::Advertisement { target, .. } if *target == new)), "{sent:?}");
    // Only where something is new.
    assert!(!sent.iter().any(|(port, _, m)| *port == ACCESS && matches!(m, Message::Advertisement { .. })));
}

#[test]
fn a_reload_moves_an_own_locator_to_another_domain_together_with_its_mappings() {
    let config = |domain: &str| {
        let domains = "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]\n";
        let locators = format!("locators: [{{prefix: \"fd00:1:0:1::/64\", domain: {domain}}}]\n");
        let config = CONFIG.replace("dddd::/64\"}]\n", &format!("{domains}{locators}"));
        format!("{config}mappings: {{file: mappings.yaml, watch: false}}\n")
    };
    let mut bench = Bench::new();
    let file = bench.control.path.with_file_name("mappings.yaml");
    for (domain, prefix) in [("tasks", "2001:db8:dddd"), ("new", "2001:db8:eeee"), ("tasks", "2001:db8:dddd")]
    {
        let line = format!("{{sir: \"{prefix}:0:2000::1\", locators: [\"fd00:1:0:1::/64\"]}}");
        std::fs::write(&file, format!("mappings:\n  - {line}\n")).unwrap();
        bench.reload(&config(domain)).unwrap();
        let held = bench.control.rib.mappings(&Default::default()).unwrap();
        assert_eq!(held.iter().map(|view| view.domain.as_str()).collect::<Vec<_>>(), [domain]);
    }
}

#[test]
fn of_files_that_wait_only_the_last_is_applied() {
    let mut bench = Bench::new();
    let mut file = |text: &str| {
        let records = crate::config::mappings::parse(text, "m.yaml", &bench.control.config).unwrap();
        bench.control.hear(Event::Mappings(bench.control.watch_number, Ok(records)));
        bench.control.updates.len()
    };
    let line =
        |n: u64| format!("  - {{sir: \"2001:db8:dddd:0:2000::{n}\", locators: [\"fd00:1:0:2::/64\"]}}\n");
    let waiting: Vec<usize> = (1..=9).map(|n| file(&format!("mappings:\n{}", line(n)))).collect();
    assert_eq!(waiting, [1; 9]);
    (1..5).for_each(|now| bench.turn(now));
    let held = bench.control.rib.mappings(&Default::default()).unwrap();
    assert_eq!(held.iter().map(|view| view.sir.segments()[7]).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_mapping_file_that_was_read_before_a_reload_does_not_win_over_it() {
    let with = format!("{CONFIG}mappings: {{file: mappings.yaml}}\n");
    let mapping = |n: u64| {
        format!("mappings:\n  - {{sir: \"2001:db8:dddd:0:2000::{n}\", locators: [\"fd00:1:0:2::/64\"]}}\n")
    };
    let mut bench = Bench::new();
    let file = bench.control.path.with_file_name("mappings.yaml");
    std::fs::write(&file, mapping(1)).unwrap();
    bench.reload(&with).unwrap();
    let old = crate::config::mappings::parse(&mapping(1), "m.yaml", &bench.control.config).unwrap();
    std::fs::write(&file, mapping(2)).unwrap();
    bench.control.begin_reload(None);
    let loaded = loop {
        match bench.control.events.blocking_recv().unwrap() {
            loaded @ Event::Loaded(..) => break loaded,
            // The watch may have seen it first.
            Event::Mappings(..) => {}
        }
    };
    bench.control.hear(loaded);
    bench.control.hear(Event::Mappings(bench.control.watch_number, Ok(old)));
    (20..30).for_each(|now| bench.turn(now));
    let held = bench.control.rib.mappings(&Default::default()).unwrap();
    assert_eq!(held.iter().map(|view| view.sir.segments()[7]).collect::<Vec<_>>(), [2]);
}

#[test]
fn signals_from_before_the_first_turn_are_heard() {
    let mut bench = Bench::new();
    let raise = |signal: &str| {
        let kill = format!("kill {signal} {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let signals = Signals::listen().unwrap();
        raise("-HUP");
        let running = bench.control.run(signals);
        assert!(tokio::time::timeout(Duration::from_millis(200), running).await.is_err());
        assert!(bench.control.reloading || bench.control.stats.updates_applied.load(Ordering::Relaxed) == 1);
        let signals = Signals::listen().unwrap();
        raise("-TERM");
        assert_eq!(bench.control.run(signals).await, Ended::Asked);
    });
}

#[test]
fn a_reload_takes_the_mappings_along_and_lets_them_go() {
    let mut bench = Bench::new();
    bench.turn(1);
    let directory = bench.control.path.parent().map(Path::to_owned).unwrap();
    let mapping = "mappings:\n  - {sir: \"2001:db8:dddd:0:2000::1\", locators: [\"fd00:1:0:2::/64\"]}\n";
    std::fs::write(directory.join("mappings.yaml"), mapping).unwrap();
    let with = format!("{CONFIG}mappings: {{file: mappings.yaml}}\n");
    let view = bench.reload(&with).unwrap();
    assert_eq!(view.mappings.map(|applied| applied.created), Some(1));
    assert!(bench.control.watch.is_some());
    let view = bench.reload(CONFIG).unwrap();
    assert_eq!(view.mappings.map(|applied| applied.deleted), Some(1));
    assert!(bench.control.watch.is_none());
}

#[test]
fn views_show_copies_that_were_lost() {
    let bench = Bench::new();
    let counters = &bench.control.stats.workers[0].received[1];
    let reason = crate::path::DropReason::NoRoute;
    counters.copies_lost[reason as usize].add(3);
    counters.copied.add(5);
    let drops = bench.control.drop_views();
    let lost: Vec<_> = drops.iter().filter(|view| view.lost_copies > 0).collect();
    assert_eq!((lost.len(), lost[0].reason.as_str(), lost[0].lost_copies), (1, "no_route", 3));
    let fates = &bench.control.port_views(false)[1].counters;
    assert_eq!((fates.copied, fates.lost_copies, fates.dropped), (5, 3, 0));
}

#[test]
fn views_show_what_there_is() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    let neighbours = bench.control.neighbour_views();
    assert_eq!((neighbours.len(), neighbours[0].state.as_str()), (1, "reachable"));
    assert!(neighbours[0].next_hop && neighbours[0].mac.as_deref() == Some("02:00:00:00:00:09"));
    let ports = bench.control.port_views(true);
    assert_eq!((ports[1].role.as_str(), ports[1].addresses[0].as_str()), ("access", "2001:db8:2::1/64"));
    assert_eq!(bench.control.drop_views().len(), crate::path::DropReason::ALL.len());
    let census = bench.control.stats.census();
    assert_eq!((census.neighbours[1], census.routes >= 3), (1, true));
    assert_eq!(bench.control.node_view().workers.len(), 1);
}

#[test]
fn what_a_tenant_reports_of_its_groups_comes_into_force_and_it_is_asked_again() {
    use crate::net::{igmp, ipv4};
    let tenants = r#"
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
virtual_networks: [{name: red, vnid: 100, domain: tasks, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}]}]
attachments: [{port: a, mac: "02:00:00:00:01:01", network: red, addresses: ["10.0.0.1"]}]
"#;
    let mut bench = Bench::with(&format!("{CONFIG}{tenants}"));
    let queries = |bench: &Bench| {
        let frames = std::iter::from_fn(|| bench.exchange.to_send.pop());
        frames.filter(|frame| frame.port == ACCESS && igmp::parse(&frame.bytes[14..]).is_ok()).count()
    };
    bench.turn(0);
    assert_eq!(queries(&bench), 1);
    let members = |bench: &mut Bench| {
        let group = Identifier::tenant_ipv4(100, 0xef01_0203);
        bench.reader.snapshot().networks.members(crate::table::NetworkId(0), group).len()
    };
    let report = |kind: u8| {
        let mut message = [0x22, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, 0, 239, 1, 2, 3];
        let sum = !crate::net::checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut header =
            vec![0x46, 0, 0, 40, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 22, 148, 4, 0, 0];
        ipv4::seal(&mut header);
        let (to, from) = (Mac::of_ipv4_multicast(0xe000_0016), Mac([2, 0, 0, 0, 1, 1]));
        let (link, length) = ethernet::header_of(to, from, 0, ethernet::IPV4);
        Frame::new(ACCESS, &[&link[..length], &header, &message].concat()).unwrap()
    };
    assert_eq!(members(&mut bench), 0);
    bench.exchange.punted.push(report(4)).unwrap();
    bench.turn(100);
    assert_eq!(members(&mut bench), 1);
    bench.turn(31_300);
    assert_eq!(queries(&bench), 1);
    bench.exchange.punted.push(report(3)).unwrap();
    bench.turn(31_400);
    assert_eq!(members(&mut bench), 0);
}
