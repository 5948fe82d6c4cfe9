//! The direct way and the stages decide alike: same verdicts, same bytes, same counters, over mixed bursts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::{Config, mappings};
use ilagate::net::Mac;
use ilagate::node::replay::mac_of;
use ilagate::node::rib::Rib;
use ilagate::node::source::{Batch, Change, Origin};
use ilagate::path::{BURST, Counters, Ctx, DropReason, Limiter, Packet, Pipeline, Verdict};
use ilagate::table::{PortId, Tables};
use proptest::prelude::*;
use support::address;
use support::packets::*;

const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains:
  - {name: a, prefix: "2001:db8:a::/64", checksum: neutral-map, skip_unchecked: true}
  - {name: b, prefix: "2001:db8:b::/64", checksum: adj-transport, on_miss: route}
  - {name: c, prefix: "2001:db8:c::/64", checksum: neutral-map-auto}
  - {name: d, prefix: "2001:db8:d::/64", checksum: no-action}
locators:
  - {prefix: "fd00:1:0:a::/64", domain: a}
  - {prefix: "fd00:1:0:b::/64", domain: b}
  - {prefix: "fd00:1:0:c::/64", domain: c}
  - {prefix: "fd00:1:0:d::/64", domain: d}
ports:
  - {name: f0, device: a0, role: fabric, addresses: ["fd00:1:0:a::1/64"]}
  - {name: f1, device: b0, role: fabric, vlan: 7, mtu: 1280, addresses: ["fd00:1:0:f::1/64"]}
  - {name: x0, device: c0, role: access, router_advertisement: {}}
attachments:
  - {port: x0, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:a:0:2000::1", "2001:db8:b:0:2000::1"]}
  - {port: x0, vlan: 9, mac: "02:00:00:00:00:0b", identifiers: ["2001:db8:c:0:2000::1", "2001:db8:d:0:2000:0:1:0"]}
routes:
  - {prefix: "fd00:2::/32", via: "fd00:1:0:a::ff", port: f0}
  - {prefix: "fd00:3::/32", via: "fd00:1:0:f::ff", port: f1}
  - {prefix: "fd00:4::/32", via: "fd00:1:0:f::99", port: f1}
  - {prefix: "2001:db8:1::/48", next_hops: [{via: "fd00:1:0:a::ff", port: f0}, {via: "fd00:1:0:f::ff", port: f1}]}
  - {prefix: "2001:db8:2::/48", blackhole: true}
  - {prefix: "2001:db8:b::/64", via: "fd00:1:0:a::ff", port: f0}
neighbours:
  static:
    - {port: f0, address: "fd00:1:0:a::ff", mac: "02:00:00:00:00:f0"}
    - {port: f1, address: "fd00:1:0:f::ff", mac: "02:00:00:00:00:f1"}
"#;

const MAPPINGS: &str = r#"
mappings:
  - {sir: "2001:db8:a:0:2000::2", locators: ["fd00:2:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::3", locators: ["fd00:2:0:a::/64", "fd00:3:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::4", locators: ["fd00:4:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::5", blackhole: true}
  - {sir: "2001:db8:a:0:2000::6", locators: ["fd00:9:0:a::/64"]}
  - {sir: "2001:db8:b:0:2000::2", locators: ["fd00:2:0:b::/64"]}
  - {sir: "2001:db8:c:0:2000::2", locators: ["fd00:3:0:c::/64"]}
  - {sir: "2001:db8:d:0:2000::2", locators: ["fd00:2:0:d::/64"]}
"#;

const ADDRESSES: &[&str] = &[
    "2001:db8:a:0:2000::1",
    "2001:db8:a:0:2000::2",
    "2001:db8:a:0:2000::3",
    "2001:db8:a:0:2000::4",
    "2001:db8:a:0:2000::5",
    "2001:db8:a:0:2000::6",
    "2001:db8:a:0:2000::99",
    "2001:db8:a:0:3000::1",
    "2001:db8:a:0:4000::1",
    "2001:db8:a:0:a000::1",
    "2001:db8:a::1",
    "2001:db8:b:0:2000::1",
    "2001:db8:b:0:2000::2",
    "2001:db8:b:0:2000::99",
    "2001:db8:c:0:2000::1",
    "2001:db8:c:0:2000::2",
    "2001:db8:d:0:2000:0:1:0",
    "2001:db8:d:0:2000:0:1:ffff",
    "2001:db8:d:0:2000::2",
    "fd00:1:0:a:2000::1",
    "fd00:1:0:b:2000::1",
    "fd00:1:0:c:2000::1",
    "fd00:1:0:d:2000:0:1:0",
    "fd00:1:0:d:2000:0:1:ffff",
    "fd00:1:0:d:a000::1",
    "fd00:1:0:a::1",
    "fd00:1:0:a::ff",
    "fd00:1:0:a::42",
    "fd00:2:0:a:2000::9",
    "2001:db8:1::1",
    "2001:db8:2::1",
    "2001:db8:3::1",
    "fe80::1",
    "ff02::1",
    "::1",
];

fn tables() -> (Tables, Vec<Mac>) {
    let config = Config::parse(CONFIG, "direct.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let macs: Vec<Mac> = (0..3).map(|port| mac_of(&config, port)).collect();
    let mut rib = Rib::new(&config, &macs, 11);
    let records = mappings::parse(MAPPINGS, "m.yaml", &config).unwrap_or_else(|errors| panic!("{errors}"));
    let changes = records.into_iter().map(Change::Upsert).collect();
    rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    (rib.compile(), macs)
}

#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    to: usize,
    marked: bool,
    kind: u8,
    hop_limit: u8,
    size: usize,
    padding: usize,
    vlan: Option<u16>,
    own_mac: bool,
    edit: Option<(usize, u8)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let link = (proptest::option::weighted(0.1, prop_oneof![Just(0u16), Just(7), Just(9)]), any::<u8>());
    (
        (0..ADDRESSES.len(), 0..ADDRESSES.len(), any::<bool>(), 0u8..5),
        (
            prop_oneof![Just(0u8), Just(1), Just(2), Just(64), Just(64)],
            prop_oneof![0usize..40, 1180usize..1500],
        ),
        (prop_oneof![Just(0usize), Just(0), 1usize..8], link),
        proptest::option::weighted(0.1, (0usize..70, any::<u8>())),
    )
        .prop_map(|((from, to, marked, kind), (hop_limit, size), (padding, (vlan, mac)), edit)| Sent {
            from,
            to,
            marked,
            kind,
            hop_limit,
            size,
            padding,
            vlan,
            own_mac: mac > 8,
            edit,
        })
}

impl Sent {
    fn frame(&self, mac: Mac) -> Vec<u8> {
        let from = address(ADDRESSES[self.from]);
        let mut to = address(ADDRESSES[self.to]);
        if self.marked && to >> 112 == 0xfd00 {
            to |= 1 << 60;
        }
        let data = vec![7; self.size];
        let (next, segment) = match self.kind {
            0 | 1 => (6, tcp(from, to, &data)),
            2 => (17, udp(from, to, &data)),
            3 => (58, icmp6(from, to, 128, 0, &[&[0; 4], &data[..]].concat())),
            _ => (60, [&[17, 0, 1, 4, 0, 0, 0, 0], &udp(from, to, &data)[..]].concat()),
        };
        let mut l3 = ipv6(from, to, next, &segment);
        l3[7] = self.hop_limit;
        let mac = if self.own_mac { mac } else { Mac([2, 9, 9, 9, 9, 9]) };
        let peer = Mac([2, 0, 0, 0, 0, 0xf0]);
        let mut bytes = match self.vlan {
            Some(vlan) => tagged(mac, peer, vlan, &l3),
            None => frame(mac, peer, &l3),
        };
        bytes.resize(bytes.len() + self.padding, 0xee);
        if let Some((at, value)) = self.edit
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte = value;
        }
        bytes
    }
}

/// Verdicts and frames of one burst, and its counters.
fn run(
    pipeline: &mut Pipeline,
    tables: &Tables,
    port: u16,
    frames: &[Vec<u8>],
) -> (Vec<(Verdict, Vec<u8>)>, Vec<u64>) {
    let counters = Counters::default();
    let mut rooms: Vec<Vec<u8>> = frames.iter().map(|_| vec![0; 2176]).collect();
    let mut burst: Vec<Packet<'_>> = rooms
        .iter_mut()
        .zip(frames)
        .map(|(room, frame)| {
            room[128..128 + frame.len()].copy_from_slice(frame);
            Packet::new(room, 128, 128 + frame.len() as u16, PortId(port))
        })
        .collect();
    counters.receive(burst.len() as u64, burst.iter().map(|packet| packet.len() as u64).sum());
    pipeline.run(&mut burst, &Ctx { tables, now_ms: 5 });
    counters.settle(&burst, pipeline.lanes());
    let decided = burst.iter().map(|packet| (packet.verdict, packet.frame().to_vec())).collect();
    let mut counted = vec![
        counters.received.value(),
        counters.forwarded.value(),
        counters.replied.value(),
        counters.punted.value(),
        counters.waiting.value(),
    ];
    for reason in DropReason::ALL {
        counted.push(counters.dropped[*reason as usize].value());
        counted.push(counters.answered[*reason as usize].value());
    }
    (decided, counted)
}

#[test]
fn the_direct_way_decides_as_the_stages_do() {
    let (tables, macs) = tables();
    let limiter = || Limiter::new(10, 5);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let bursts = (0usize..3, proptest::collection::vec(sent(), 1..=BURST));
    // Lanes of earlier bursts must not shine through, so both pipelines live on.
    let pair =
        std::cell::RefCell::new((Pipeline::new(limiter()), Pipeline::new(limiter()).without_direct_way()));
    runner
        .run(&bursts, |(port, sent)| {
            let frames: Vec<Vec<u8>> = sent.iter().map(|sent| sent.frame(macs[port])).collect();
            let (direct, stages) = &mut *pair.borrow_mut();
            direct.set_limiter(limiter());
            stages.set_limiter(limiter());
            let (decided, counted) = run(direct, &tables, port as u16, &frames);
            let (wanted, wanted_counts) = run(stages, &tables, port as u16, &frames);
            for (n, (got, want)) in decided.iter().zip(&wanted).enumerate() {
                prop_assert_eq!(got, want, "{:?}", sent[n]);
            }
            prop_assert_eq!(counted.clone(), wanted_counts);
            // Every packet has exactly one fate.
            let fates: u64 = counted[1..5].iter().sum::<u64>() + counted[5..].iter().step_by(2).sum::<u64>();
            prop_assert_eq!(counted[0], fates);
            Ok(())
        })
        .unwrap();
}
