//! The control core without a shell: the bench gives it time and inputs, and carries out its effects in
//! memory.

mod addresses;
mod amend;
mod determinism;
mod kept;
mod learned;
mod mapping_file;
mod neighbours;
mod presence;
mod provision;
mod questions;
mod reloads;
mod routers;
mod steps;
mod tenants;

use super::*;
use crate::api::views::ReloadView;
use crate::config::{RefusedEntry, Source};
use crate::ila::{Identifier, Locator};
use crate::mapping::{Applied, Batch, Change, LocatorChoice, MappingRecord, MappingTarget, Origin};
use crate::net::ndp::{self, Envelope, Message};
use crate::net::{Mac, ethernet, ipv6};
use crate::node::exchange::{Exchange, SendQueue};
use crate::node::neighbour::Key;
use crate::node::shell::load;
use crate::node::stats::PortFacts;
use crate::nva::client::Objects;
use crate::nva::model::Known;
use crate::path::Notice;
use crate::table::{Action, HopState, PortId};
use std::collections::{HashMap, VecDeque};
use std::path::Path;

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

/// Time between two reports of the links, and between two censuses.
const LINKS_MS: u64 = 200;
const CENSUS_MS: u64 = 1_000;

struct Bench {
    control: Control,
    exchange: Arc<Exchange>,
    send_queue: SendQueue,
    reader: Reader<Tables>,
    links: [bool; 2],
    links_due_ms: u64,
    census_due_ms: u64,
    requests: u64,
    answers: HashMap<RequestId, Answer>,
    /// What is to be read, for each reload that was begun.
    loads: VecDeque<LoadOrder>,
    /// What was said to be in force of what operators want.
    for_authority: Vec<ForAuthority>,
    provisioned: Vec<(Known, Vec<RefusedEntry>)>,
    watch: Option<WatchOrder>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        Self::of(config, Vec::new())
    }

    fn of(config: &str, learned: Vec<Change>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("node.yaml"), config).unwrap();
        Self::at(dir, Arc::default(), learned)
    }

    /// A node that starts with the files of a directory, and with what was known before.
    fn at(dir: tempfile::TempDir, objects: Arc<Objects>, learned: Vec<Change>) -> Self {
        let path = dir.path().join("node.yaml");
        let (source, file) = Source::load(&path).unwrap();
        let config = Arc::new(file);
        let takes = config.nva.as_ref().is_some_and(|nva| nva.provision);
        let provision = takes.then(|| Provision::new(Arc::new(source), config.clone(), objects));
        let mappings = config.mappings.as_ref().map(|named| {
            let (records, seen) = crate::config::mappings::read(&named.file, &config).unwrap();
            (records, Some(seen))
        });
        let facts = |port: &crate::config::Port| PortFacts {
            name: port.name.clone(),
            device: port.device.clone(),
            role: views::role_name(port.role),
        };
        let facts = config.ports.iter().map(facts).collect();
        let start = Start {
            path,
            config,
            provision,
            macs: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
            links: states([true; 2]),
            mappings,
            learned,
            presences: Vec::new(),
            stats: Arc::new(Stats::new("n".into(), facts, &[1], 1)),
            workers: 1,
            table_seed: 1,
            timer_seed: 1,
        };
        let (mut control, effects) = Control::new(Now::default(), start).unwrap();
        let reader = control.reader();
        let mut bench = Bench {
            control,
            exchange: Exchange::new(),
            send_queue: SendQueue::default(),
            reader,
            links: [true; 2],
            links_due_ms: 0,
            census_due_ms: 0,
            requests: 0,
            answers: HashMap::new(),
            loads: VecDeque::new(),
            for_authority: Vec::new(),
            provisioned: Vec::new(),
            watch: None,
            _dir: dir,
        };
        bench.carry_out(effects);
        bench.send_queue.flush(&bench.exchange);
        bench
    }

    fn input(&mut self, now_ms: u64, input: Input) {
        let effects = self.control.turn(Now::from_ms(now_ms), input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => assert!(self.send_queue.push(frame)),
                Effect::Answer(id, answer) => assert!(self.answers.insert(id, answer).is_none()),
                Effect::Load(order) => self.loads.push_back(*order),
                Effect::Watch(order) => self.watch = order,
                Effect::Settings(settings) => drop(self.exchange.settings.force_push(settings)),
                Effect::Event(event) => self.control.stats.events.record(event),
                Effect::Census(census) => self.control.stats.set_census(*census),
                Effect::Provisioned(known, refused) => self.provisioned.push((known, refused)),
                Effect::ForAuthority(told) => self.for_authority.push(told),
                Effect::LogLevel(_) | Effect::Config(_) | Effect::Published(_) => {}
            }
        }
    }

    /// A round of the shell, without waiting for workers.
    fn round(&mut self, now_ms: u64) {
        while let Some(frame) = self.exchange.punted.pop() {
            self.input(now_ms, Input::Frame(Box::new(frame)));
        }
        while let Some(notice) = self.exchange.notices.pop() {
            self.input(now_ms, Input::Notice(notice));
        }
        while let Some(key) = self.exchange.wanted.pop() {
            self.input(now_ms, Input::Wanted(key));
        }
        if now_ms >= self.links_due_ms {
            self.links_due_ms = now_ms + LINKS_MS;
            self.input(now_ms, Input::Links(states(self.links)));
        }
        self.input(now_ms, Input::Tick);
        self.send_queue.flush(&self.exchange);
        while self.control.progress() == Progress::Ready {
            self.input(now_ms, Input::Update);
        }
        if now_ms >= self.census_due_ms {
            self.census_due_ms = now_ms + CENSUS_MS;
            self.input(now_ms, Input::Census(DeviceReport::default()));
        }
    }

    /// A round, the workers' taking of what it published, and another round.
    fn turn(&mut self, now_ms: u64) {
        self.round(now_ms);
        let _ = self.reader.snapshot();
        self.round(now_ms);
    }

    fn request(&mut self, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.input(0, Input::Request(id, request));
        id
    }

    /// What a batch was answered, if it was.
    fn applied(&mut self, id: RequestId) -> Option<Result<Applied, Refusal>> {
        self.answers.remove(&id).map(|answer| match answer {
            Answer::Apply(applied) => applied,
            other => panic!("{other:?}"),
        })
    }

    /// What a reload was answered, if it was.
    fn reloaded(&mut self, id: RequestId) -> Option<Result<ReloadView, String>> {
        self.answers.remove(&id).map(|answer| match answer {
            Answer::Reload(reloaded) => reloaded,
            other => panic!("{other:?}"),
        })
    }

    /// Reads the files for a reload that was begun.
    fn load(&mut self) -> Input {
        let old = self.loads.pop_front().unwrap();
        Input::Loaded(load(&self.control.path, old).map(Box::new))
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

    fn apply(&mut self, number: u64, locator: u64) -> RequestId {
        let target = MappingTarget::Locators(vec![LocatorChoice {
            locator: Locator(locator),
            priority: 0,
            weight: 1,
        }]);
        let record = MappingRecord { domain: 0, identifier: Identifier(1 << 61 | number), target };
        let batch = Batch { origin: Origin::Admin, changes: vec![Change::Upsert(record)], complete: false };
        self.request(Request::Apply(batch))
    }

    fn reload(&mut self, config: &str) -> Result<ReloadView, String> {
        std::fs::write(&self.control.path, config).unwrap();
        let id = self.request(Request::Reload);
        let loaded = self.load();
        self.input(0, loaded);
        for now in 1..10 {
            self.turn(now);
        }
        self.reloaded(id).unwrap()
    }
}

fn states(up: [bool; 2]) -> Vec<LinkState> {
    up.map(|up| LinkState { up, speed_mbps: 1000, problem: String::new() }).to_vec()
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
    let id = bench.apply(7, 0xfd00_0001_0000_0002);
    bench.round(1);
    bench.round(2);
    assert!(bench.applied(id).is_none() && lookup(&bench).is_none());
    bench.turn(3);
    let applied = bench.applied(id).unwrap().unwrap();
    assert_eq!((applied.created, applied.revision), (1, 1));
    let id = lookup(&bench).unwrap();
    assert!(matches!(bench.reader.snapshot().action(id), Some(Action::Remote(_))));
    // A target that is known already needs no snapshot and takes effect at once.
    let before = bench.control.publisher.number();
    let id = bench.apply(8, 0xfd00_0001_0000_0002);
    bench.round(4);
    assert_eq!(bench.applied(id).unwrap().unwrap().created, 1);
    assert_eq!(bench.control.publisher.number(), before);
    assert_eq!(bench.control.stats.update_latency.count(), 2);
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused_and_the_next_one_applied() {
    let mut bench = Bench::new();
    let refused = bench.apply(1 << 60, 0xfd00_0001_0000_0002);
    let applied = bench.apply(9, 0xfd00_0001_0000_0002);
    bench.turn(1);
    bench.turn(2);
    assert!(bench.applied(refused).unwrap().is_err());
    assert!(bench.applied(applied).unwrap().is_ok());
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
