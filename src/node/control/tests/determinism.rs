//! The same seeds and inputs give the same effects and tables, whatever the process's own random state is.

use super::*;
use std::fmt::Write as _;

/// Many of everything that the core keeps in maps: an order that chance decides shows.
fn config(routes: u32, tenants: u32) -> String {
    let mut text = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access, addresses: ["2001:db8:2::1/64"], router_advertisement: {interval_s: 10}}
neighbours:
  static:
    - {port: f, address: "fd00:f::51", mac: "02:00:00:00:00:51"}
    - {port: f, address: "fd00:f::52", mac: "02:00:00:00:00:52"}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.254}]}
  - {name: blue, vnid: 101, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.254}]}
"#
    .to_owned();
    text.push_str("routes:\n");
    for n in 0..routes {
        let (a, b) = (0x11 + n, 0x51 + n % 2);
        let via = format!("[{{via: \"fd00:f::{a:x}\", port: f}}, {{via: \"fd00:f::{b:x}\", port: f}}]");
        writeln!(text, "  - {{prefix: \"fd00:{:x}::/32\", next_hops: {via}}}", 2 + n).unwrap();
    }
    text.push_str("attachments:\n");
    // Its router advertisements are sent with jitter.
    text.push_str("  - {port: a, mac: \"02:00:00:00:03:01\", identifiers: [\"2001:db8:dddd:0:2000::1\"]}\n");
    for n in 1..=tenants {
        let network = if n % 3 == 0 { "blue" } else { "red" };
        let rest = format!("network: {network}, addresses: [10.0.0.{n}], groups: [239.1.2.{n}]");
        writeln!(text, "  - {{port: a, vlan: {n}, mac: \"02:00:00:00:02:{n:02x}\", {rest}}}").unwrap();
    }
    text
}

/// A core, and a record of everything that it said.
struct Recorded {
    control: Control,
    reader: Reader<Tables>,
    record: Vec<String>,
}

impl Recorded {
    fn new(timer_seed: u64) -> Self {
        let config = Arc::new(Config::parse(&config(12, 40), "t.yaml").unwrap());
        let facts = |port: &crate::config::Port| PortFacts {
            name: port.name.clone(),
            device: port.device.clone(),
            role: views::role_name(port.role),
        };
        let facts = config.ports.iter().map(facts).collect();
        let start = Start {
            path: "t.yaml".into(),
            config,
            provision: None,
            macs: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
            links: states([true; 2]),
            mappings: None,
            learned: Vec::new(),
            presences: Vec::new(),
            stats: Arc::new(Stats::new("n".into(), facts, &[1], 1)),
            workers: 1,
            table_seed: 5,
            timer_seed,
        };
        let (mut control, effects) = Control::new(Now::default(), start).unwrap();
        let reader = control.reader();
        let record = effects.iter().map(|effect| format!("{effect:?}")).collect();
        Recorded { control, reader, record }
    }

    fn input(&mut self, now_ms: u64, input: Input) {
        let effects = self.control.turn(Now::from_ms(now_ms), input);
        self.record.extend(effects.iter().map(|effect| format!("{now_ms}: {effect:?}")));
    }

    /// Lets time pass until all updates are in force.
    fn settle(&mut self, now_ms: u64) {
        self.input(now_ms, Input::Tick);
        loop {
            let _ = self.reader.snapshot();
            match self.control.progress() {
                Progress::Idle => return,
                Progress::Ready | Progress::AwaitsReaders => self.input(now_ms, Input::Update),
            }
        }
    }

    fn reload(&mut self, now_ms: u64, text: &str) {
        self.input(now_ms, Input::Reload);
        let config = Arc::new(Config::parse(text, "t.yaml").unwrap());
        let changes = load_difference(&self.control.file, &config).unwrap();
        let (file, provision) = (config.clone(), None);
        let loaded = Loaded { file, config, provision, reread: true, changes, records: None, seen: None };
        self.input(now_ms, Input::Loaded(Ok(Box::new(loaded))));
        self.settle(now_ms);
    }

    /// What workers look up.
    fn tables(&mut self) -> String {
        let tables = self.reader.snapshot().clone();
        let mappings = self.control.rib.mappings(&Default::default());
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{mappings:?}",
            tables.actions,
            tables.nexthop_groups,
            tables.groups,
            tables.neighbours,
            tables.ports,
            tables.networks,
            tables.prefixes,
        )
    }
}

fn lived(timer_seed: u64) -> (Vec<String>, String) {
    let mut node = Recorded::new(timer_seed);
    for n in 0..20 {
        node.input(5, Input::Wanted(Key { port: ACCESS, address: HOST + n }));
    }
    node.settle(10);
    let mut frame = [0; ndp::MAX_FRAME];
    for n in 0..8 {
        let source = 0xfd00_000f << 96 | (0x11 + n);
        let to_mac = Mac([2, 0, 0, 0, 0, 1]);
        let envelope = Envelope { to_mac, from_mac: PEER, vlan: 0, source, destination: 1 };
        let length = ndp::advertisement(&mut frame, envelope, source, true, true);
        node.input(20, Input::Frame(Box::new(Frame::new(FABRIC, &frame[..length]).unwrap())));
    }
    node.settle(30);
    for up in [[false, true], [true, false], [true, true]] {
        node.input(200, Input::Links(states(up)));
        node.settle(210);
    }
    for n in 0..30u64 {
        let locator = Locator(0xfd00_0002_0000_0000 + n);
        let choice = |locator, weight| LocatorChoice { locator, priority: 0, weight };
        let target = MappingTarget::Locators(vec![choice(locator, 1), choice(Locator(locator.0 + 100), 2)]);
        let record = MappingRecord { domain: 0, identifier: Identifier(1 << 61 | n), target };
        let batch = Batch { origin: Origin::Admin, changes: vec![Change::Upsert(record)], complete: false };
        node.input(300, Input::Request(RequestId(n), Request::Apply(batch)));
    }
    node.settle(310);
    node.reload(1_000, &config(3, 9));
    node.reload(2_000, &config(15, 60));
    for now_ms in (3_000..80_000).step_by(500) {
        node.settle(now_ms);
    }
    node.input(80_000, Input::Census(DeviceReport::default()));
    node.input(80_000, Input::Request(RequestId(99), Request::Neighbours));
    node.input(80_000, Input::Stop);
    let tables = node.tables();
    (node.record, tables)
}

#[test]
fn the_same_seeds_and_inputs_give_the_same_effects_and_tables() {
    let (record, tables) = lived(7);
    assert!(record.len() > 500 && tables.len() > 10_000, "{} {}", record.len(), tables.len());
    for _ in 0..3 {
        let (again, tables_again) = lived(7);
        let differs = record.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!(
            (differs, record.len()),
            (None, again.len()),
            "{:?}",
            differs.map(|at| (&record[at], &again[at]))
        );
        assert!(tables == tables_again, "{tables}\n\n{tables_again}");
    }
}

#[test]
fn another_timer_seed_shifts_timers_and_leaves_the_tables() {
    let (one, other) = (lived(7), lived(8));
    assert_ne!(one.0, other.0);
    assert_eq!(one.1, other.1);
}
