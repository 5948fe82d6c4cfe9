//! Measures the pipeline without a device, the mapping table alone, and the route table alone.
//!
//! The pipeline runs every stage from the Ethernet header to the decision. Frames are hot in cache; destinations are
//! uniformly random over all mappings. Run it with `cargo bench --bench stages`, or by `scripts/bench`, which runs it
//! last. As a test (`--test`, or without `--bench`) everything runs once, with small tables.
#![allow(unsafe_code, clippy::expect_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ilagate::ila::{Adjustment, ChecksumMode, Identifier, Locator, SirPrefix, neutral};
use ilagate::net::{Mac, arp, ipv6, ndp};
use ilagate::path::{BURST, Ctx, Decision, Lent, Limiter, Outcome, Outcomes, Packet, Pipeline, Verdict};
use ilagate::table::mapping::{Key, MappingWriter};
use ilagate::table::policy::PolicySet;
use ilagate::table::routes::{Found, Routes};
use ilagate::table::{
    Action, ActionId, AttachmentKey, Domain, DomainId, Hop, HopId, LimitKind, Local, Network, NetworkId,
    OnMiss, Port, PortId, Quarantine, Rate, Remote, Role, Tables, Tenant, TenantHandle, network,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const NEXT: Mac = Mac([2, 0, 0, 0, 0, 2]);
const SIR: SirPrefix = SirPrefix(0x2001_0db8_dddd_0000);
const OWN: Locator = Locator(0xfd00_0001_0000_0001);
const FRAME: usize = 62;
const HEADROOM: usize = 128;
const ROOM: usize = 256;
const BURSTS: usize = 16;

fn identifier(index: u64) -> u64 {
    (1 << 61) | index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4 & !0xffff | ((index & 0x7fff) + 1)
}

/// The size of a table: `count` in a measurement, at most 10 000 in a test.
fn size(count: u64) -> u64 {
    let given = |word| std::env::args().any(|argument| argument == word);
    if given("--bench") && !given("--test") { count } else { count.min(10_000) }
}

/// Tables with one fabric port and `count` mappings: to 1000 remote locators, or all local.
fn tables(count: u64, local: bool) -> Tables {
    let mut tables = Tables::default();
    tables.ports.push(Port::new(Role::Fabric, OURS, vec![0], vec![], None));
    let hop = Hop::ready(PortId(0), NEXT, OURS, 0, 1500, HopId(1));
    tables.actions.push(Action::Blackhole);
    for i in 0..1000u64 {
        tables.actions.push(if local {
            Action::Local(Local { attachment: i as u32, hop })
        } else {
            let locator = Locator(0xfd00_0001_0001_0000 + i);
            Action::Remote(Remote::new(DomainId(0), SIR, ChecksumMode::NeutralMap, locator, hop))
        });
    }
    let writer = filled(count);
    tables.prefixes.entry(SIR.0).sir = Some(DomainId(0));
    tables.prefixes.entry(OWN.0).local = Some((DomainId(0), ilagate::ila::Adjustment::of(SIR, OWN)));
    tables.domains.push(Domain {
        sir: SIR,
        checksum: ChecksumMode::NeutralMap,
        on_miss: OnMiss::Drop,
        skip_unchecked: false,
        mappings: writer.table().clone(),
    });
    tables
}

/// A table of `count` mappings to a thousand actions.
fn filled(count: u64) -> MappingWriter {
    let mut writer = MappingWriter::new(count as usize, 42);
    for i in 0..count {
        while writer.insert(identifier(i), ActionId(1 + (i % 1000) as u32)).is_err() {
            writer = writer.grown(writer.len() * 5 / 4);
        }
    }
    writer
}

fn frame(destination: u128, room: &mut [u8]) {
    let frame = &mut room[HEADROOM..HEADROOM + FRAME];
    frame[..6].copy_from_slice(&OURS.0);
    frame[6..12].copy_from_slice(&NEXT.0);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    ipv6::Ipv6::of_mut(&mut frame[14..]).expect("room").write(8, 17, 64, 0x2001_0db8 << 96 | 1, destination);
}

/// The frames of [`BURSTS`] bursts. Each round gets new ones, so that every lookup is for another random mapping.
struct Frames {
    rooms: Vec<u8>,
    random: u64,
}

impl Frames {
    fn new() -> Self {
        Frames { rooms: vec![0; ROOM * BURST * BURSTS], random: 88_172_645_463_325_252 }
    }

    fn refill(&mut self, count: u64, local: bool) {
        for room in self.rooms.chunks_exact_mut(ROOM) {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let id = Identifier(identifier(self.random % count));
            let destination = if local {
                OWN.with(neutral::there(id, Adjustment::of(SIR, OWN), ChecksumMode::NeutralMap))
            } else {
                SIR.with(id)
            };
            frame(destination, room);
        }
    }

    /// Runs all bursts through the pipeline once. Returns the time and the TSC clocks that this took.
    fn round(&mut self, pipeline: &mut Pipeline, tables: &Tables) -> (Duration, u64) {
        let ctx = Ctx { tables, now_ms: 0 };
        let mut outcomes = Outcomes::new();
        let (start, begin) = (Instant::now(), tsc());
        for rooms in self.rooms.chunks_exact_mut(ROOM * BURST) {
            let mut burst = lend(rooms, FRAME);
            let decision = pipeline.decide(&mut Lent(&mut burst), &mut outcomes, &ctx);
            assert_eq!(decision, Decision::SamePort(PortId(0)));
        }
        (start.elapsed(), tsc() - begin)
    }
}

/// A burst of frames of one length.
fn lend(rooms: &mut [u8], frame_bytes: usize) -> arrayvec::ArrayVec<Packet<'_>, BURST> {
    let (start, end) = (HEADROOM as u16, (HEADROOM + frame_bytes) as u16);
    rooms.chunks_exact_mut(ROOM).map(|room| Packet::within(room, start, end, PortId(0))).collect()
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    for (name, count, local) in [
        ("sir2ila_1k", 1000, false),
        ("sir2ila_1m", 1_000_000, false),
        ("sir2ila_10m", 10_000_000, false),
        ("ila2sir_1k", 1000, true),
        ("ila2sir_1m", 1_000_000, true),
    ] {
        let count = size(count);
        let tables = tables(count, local);
        let (mut frames, mut pipeline) = (Frames::new(), Pipeline::new(Limiter::new(1, 1)));
        let per_round = (BURST * BURSTS) as u64;
        let mut clocks = Vec::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|packets| {
                let mut spent = Duration::ZERO;
                let rounds = packets.div_ceil(per_round);
                for _ in 0..rounds {
                    frames.refill(count, local);
                    let (time, tsc) = frames.round(&mut pipeline, &tables);
                    spent += time;
                    clocks.push(tsc);
                }
                spent.mul_f64(packets as f64 / (rounds * per_round) as f64)
            });
        });
        // Other work on the machine only adds time. The tenth percentile is taken for the cost of the code.
        clocks.sort_unstable();
        if let Some(clocks) = clocks.get(clocks.len() / 10) {
            println!("{name}: {:.1} TSC clocks a packet", *clocks as f64 / per_round as f64);
        }
    }
    group.finish();
}

/// A tenant's ARP requests and Neighbour Solicitations for its gateway, within and beyond its rate limit.
fn questions(criterion: &mut Criterion) {
    const TENANT: Mac = Mac([2, 0, 0, 0, 1, 1]);
    const OWN6: u128 = 0x2001_0db8_000a << 80 | 1;
    const GATEWAY6: u128 = 0x2001_0db8_000a << 80 | 0xfe;
    let tables = |rate: Rate| {
        let mut tables = tables(1000, false);
        tables.ports[0].role = Role::Access;
        tables.ports[0].tenants = true;
        let network = Arc::make_mut(&mut tables.networks).add(
            Network {
                vnid: 100,
                domain: DomainId(0),
                mac: NEXT,
                mtu: 1500,
                on_link: true,
                ipv6: Some(network::Vnet::new(OWN6 - 1, Some(GATEWAY6), 100, SIR)),
                ipv4: vec![network::Subnet { prefix: 0x0a00_0000, mask: !0xff, gateway: 0x0a00_00fe }],
                peers: Default::default(),
                slot: 0,
                sends: PolicySet::default(),
                hears: PolicySet::default(),
                gateways: Default::default(),
                replicas: ActionId::default(),
                received_copies: Default::default(),
            },
            SIR,
        );
        assert_eq!(network, NetworkId(0));
        let tenant = Tenant {
            network,
            attachment: 0,
            handle: TenantHandle { slot: 0, generation: 1 },
            quarantine: Quarantine::None,
            away: false,
            ipv4: vec![0x0a00_0001],
            ipv6: vec![OWN6],
        };
        Arc::make_mut(&mut tables.networks).attach(
            AttachmentKey { port: PortId(0), vlan: 0, mac: TENANT },
            tenant,
            [rate; LimitKind::ALL.len()],
        );
        tables
    };
    let mut asked = [0; arp::MAX_FRAME];
    let length = arp::request(&mut asked, (TENANT, 0x0a00_0001), 0, 0x0a00_00fe, None);
    let mut solicited = [0; ndp::MAX_FRAME];
    let group = ipv6::solicited_node(GATEWAY6);
    let to = ndp::Envelope {
        to_mac: Mac::of_ipv6_multicast(group),
        from_mac: TENANT,
        vlan: 0,
        source: OWN6,
        destination: group,
    };
    let solicited_length = ndp::solicitation(&mut solicited, to, GATEWAY6);
    let mut group = criterion.benchmark_group("questions");
    group.throughput(Throughput::Elements(1));
    for (name, frame) in [("arp", &asked[..length]), ("nd", &solicited[..solicited_length])] {
        for (state, rate, answered) in
            [("answered", Rate::new(10_000_000, 1_000_000), true), ("over_limit", Rate::new(1, 1), false)]
        {
            let tables = tables(rate);
            let mut pipeline = Pipeline::new(Limiter::new(1, 1));
            let mut rooms = vec![0; ROOM * BURST];
            let mut now_ms = 0;
            let mut outcomes = Outcomes::new();
            group.bench_function(format!("{name}_{state}"), |bencher| {
                bencher.iter_custom(|packets| {
                    let mut spent = Duration::ZERO;
                    let rounds = packets.div_ceil(BURST as u64);
                    for _ in 0..rounds {
                        // The clock runs only while answers are measured: the token buckets then never run out. They
                        // never fill while refusals are measured.
                        now_ms += u64::from(answered);
                        for room in rooms.chunks_exact_mut(ROOM) {
                            room[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
                        }
                        let start = Instant::now();
                        let mut burst = lend(&mut rooms, frame.len());
                        let decision = pipeline.decide(
                            &mut Lent(&mut burst),
                            &mut outcomes,
                            &Ctx { tables: &tables, now_ms },
                        );
                        spent += start.elapsed();
                        assert_eq!(decision, Decision::Each);
                        let replied = |outcome: &&Outcome| matches!(outcome.verdict, Verdict::Reply(_));
                        let replies = outcomes.iter().filter(replied).count();
                        assert!(if answered { replies == BURST } else { replies <= 1 });
                    }
                    spent.mul_f64(packets as f64 / (rounds * BURST as u64) as f64)
                });
            });
        }
    }
    group.finish();
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(1));
    for (name, count) in [("1k", 1000u64), ("100k", 100_000), ("1m", 1_000_000), ("10m", 10_000_000)] {
        let count = size(count);
        let mut writer = filled(count);
        println!("{name}: {:.1} bytes a mapping", writer.table().memory_bytes() as f64 / count as f64);
        let mut at = 0u64;
        group.bench_function(format!("lookup_{name}"), |bencher| {
            bencher.iter_custom(|lookups| {
                let table = writer.table();
                let begin = Instant::now();
                for _ in 0..lookups.div_ceil(BURST as u64) {
                    let mut keys = [Key::default(); BURST];
                    for key in &mut keys {
                        at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        let id = identifier(((u128::from(at) * u128::from(count)) >> 64) as u64);
                        *key = Key::of(id);
                        let _ = table.probe(*key);
                    }
                    for key in keys {
                        assert!(table.look(key).is_some());
                    }
                }
                begin.elapsed()
            });
        });
        group.bench_function(format!("update_{name}"), |bencher| {
            bencher.iter(|| {
                at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let id = identifier(((u128::from(at) * u128::from(count)) >> 64) as u64);
                writer.insert(id, ActionId(1 + (at >> 40) as u32)).expect("there already")
            });
        });
    }
    group.finish();
}

/// Number of destinations: so many that a hardware prefetcher cannot guess the order of the table's cache lines.
const DESTINATIONS: usize = 1 << 16;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

/// The routes of the case `route6_100k` of `forward`: three /48 for each /56, and one /32 and one /64.
fn even_routes() -> Vec<(u64, u8)> {
    let mut routes: Vec<_> = (0..size(100_000))
        .map(|index| {
            let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let high = (0x24 << 56) | (mixed << 32 & 0x00ff_ffff_0000_0000) | (index & 0xffff) << 16;
            (high, if index % 4 == 0 { 56 } else { 48 })
        })
        .collect();
    routes.extend([(0xfd00_0001 << 32, 32), (0xfd00_0002 << 32, 64)]);
    routes
}

/// Prefix lengths and their share in percent, about those of the Internet's IPv6 routing table. Prefixes longer than 32
/// bits lie within 20 000 blocks of 32 bits, as within allocations.
#[rustfmt::skip]
const SHARES: [(u8, usize); 18] = [
    (48, 47), (32, 11), (44, 10), (40, 9), (36, 5), (46, 3), (29, 2), (47, 2), (42, 2),
    (33, 1), (34, 1), (38, 1), (45, 1), (43, 1), (35, 1), (37, 1), (39, 1), (41, 1),
];

fn internet_routes() -> Vec<(u64, u8)> {
    let mut random = Random(88_172_645_463_325_252);
    let lengths: Vec<u8> = SHARES.iter().flat_map(|(length, share)| vec![*length; *share]).collect();
    let blocks: Vec<u64> = (0..20_000)
        .map(|_| {
            let registry = [0x2001u64, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][random.below(6)];
            registry << 48 | (random.next() >> 12 & 0x000f_ffff_0000_0000)
        })
        .collect();
    (0..size(200_000))
        .map(|_| {
            let block = blocks[random.below(blocks.len())];
            (block | (random.next() >> 32), lengths[random.below(lengths.len())])
        })
        .collect()
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routes");
    group.throughput(Throughput::Elements(1));
    for (name, list) in [("even_100k", even_routes()), ("internet_200k", internet_routes())] {
        let prefixes = list.iter().zip(1..).map(|((high, length), action)| {
            (ilagate::net::Ipv6Prefix::covering(u128::from(*high) << 64, *length), ActionId(action))
        });
        let begin = Instant::now();
        let table = Routes::build(prefixes, 42);
        println!(
            "{name}: {} prefixes, {:.1} bytes each, built in {:?}",
            table.len(),
            table.memory_bytes() as f64 / table.len() as f64,
            begin.elapsed()
        );
        let mut random = Random(1);
        let highs: Vec<u64> = (0..DESTINATIONS)
            .map(|_| {
                let (high, length) = list[random.below(list.len())];
                (high & u64::MAX << (64 - length)) | random.next() & !(u64::MAX << (64 - length))
            })
            .collect();
        let mut bursts = highs.chunks_exact(BURST).cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|lookups| {
                let begin = Instant::now();
                for burst in bursts.by_ref().take(lookups.div_ceil(BURST as u64) as usize) {
                    let mut found = [Found::default(); BURST];
                    table.find_all(burst, &mut found);
                    for (high, found) in burst.iter().zip(found) {
                        assert!(table.action(found, u128::from(*high) << 64).is_some());
                    }
                }
                begin.elapsed()
            });
        });
    }
    group.finish();
}

#[cfg(target_arch = "x86_64")]
fn tsc() -> u64 {
    // SAFETY: rdtsc has no preconditions.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn tsc() -> u64 {
    0
}

criterion_group! {
    name = stages;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = pipeline, questions, table, routes
}
criterion_main!(stages);
