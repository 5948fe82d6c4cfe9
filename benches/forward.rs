//! Measures one worker (or two) on DPDK devices: `net_pcap` with `infinite_rx=1` in, `net_null` with `no-rx=1` out.
//!
//! `scripts/bench` runs this once for each case and measurement, next to `dpdk-testpmd` in `io` mode on the same
//! devices. [`Rib`] and [`Worker`] are those of a running node.
//!
//! `forward --case NAME --dir DIR [--seconds S] [--core N]… [--small] [--write-pcap]` prints one JSON object.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod traffic;

use ilagate::dpdk::{Burst, Eal, EalConfig, Memory, Mempool, PoolConfig, Port, PortConfig, TxSet};
use ilagate::ila::Locator;
use ilagate::mapping::Change;
use ilagate::node::exchange::{Exchange, Settings};
use ilagate::node::hold::HoldLimits;
use ilagate::node::rib::Rib;
use ilagate::node::stats::{PortFacts, Stats};
use ilagate::node::worker::{Worker, WorkerSetup};
use ilagate::path::Counters;
use ilagate::table::PortId;
use ilagate::table::rcu::Publisher;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Case, batch};

/// Updates in each batch of the churn case.
const CHURN_PER_BATCH: u64 = 1000;
/// Batches in each window of the churn case: 100 000 updates a second.
const CHURN_BATCHES: u32 = 5;
/// Length of one measurement, as in `scripts/bench`.
const WINDOW: Duration = Duration::from_millis(50);
/// The most mappings and packets with `--small`, which only shows that a case works; its figures mean nothing.
const SMALL_MAPPINGS: u64 = 10_000;
const SMALL_PACKETS: u64 = 2048;

fn open(pool: &Mempool, name: &str, device: &str, rx: u16, tx: u16) -> Port {
    let shape = PortConfig {
        name: name.into(),
        device: device.into(),
        rx_queues: rx,
        tx_queues: tx,
        rx_desc: 512,
        tx_desc: 512,
        mtu: 1500,
        promiscuous: ilagate::dpdk::Promiscuous::Off,
    };
    Port::open(&shape, pool).unwrap_or_else(|error| panic!("{error}"))
}

struct Arguments {
    case: String,
    dir: PathBuf,
    seconds: u64,
    cores: Vec<u16>,
    small: bool,
    write: bool,
}

fn arguments() -> Option<Arguments> {
    let mut given = Arguments {
        case: String::new(),
        dir: std::env::temp_dir(),
        seconds: 2,
        cores: vec![],
        small: false,
        write: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value");
        match word.as_str() {
            "--case" => given.case = value(),
            "--dir" => given.dir = value().into(),
            "--seconds" => given.seconds = value().parse().expect("seconds"),
            "--core" => given.cores.push(value().parse().expect("a core")),
            "--small" => given.small = true,
            "--write-pcap" => given.write = true,
            _ => {}
        }
    }
    if given.cores.is_empty() {
        given.cores.push(1);
    }
    (!given.case.is_empty()).then_some(given)
}

fn main() {
    let Some(given) = arguments() else {
        println!("forward: run by scripts/bench (--case NAME)");
        return;
    };
    let mut case = Case::named(&given.case);
    if given.small {
        case.mappings = case.mappings.min(SMALL_MAPPINGS);
        case.packets = case.packets.min(SMALL_PACKETS);
    }
    let pcap = given.dir.join(format!("{}.pcap", given.case));
    if given.write {
        case.write_pcap(&pcap);
        return;
    }
    let workers = given.cores.len() as u16;
    let mut rib = case.filled(&given.cores);
    let mut publisher = Publisher::new(rib.compile());
    let eal = Eal::start(&EalConfig {
        name: format!("bench{}", std::process::id()),
        worker_cores: given.cores.iter().map(|core| u32::from(*core)).collect(),
        memory_mib: if given.small { 192 } else { 1024 },
        memory: Memory::Huge(None),
        ..EalConfig::default()
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let mbufs = if case.packets > 10_000 { 262_143 } else { 16_383 } * u32::from(workers);
    let shape = PoolConfig { name: "bench".into(), mbufs, cache: 256, data_bytes: 2176, socket: None };
    let pool = Arc::new(Mempool::new(&eal, &shape).unwrap_or_else(|error| panic!("{error}")));
    let inputs: Vec<String> = (0..workers).map(|_| format!("rx_pcap={}", pcap.display())).collect();
    let mut ports = [
        open(&pool, "in", &format!("net_pcap0,{},infinite_rx=1", inputs.join(",")), workers, workers),
        open(&pool, "out", "net_null0,no-rx=1", 1, workers),
        open(&pool, "out6", "net_null1,no-rx=1", 1, workers),
    ];
    let facts = ["in", "out", "out6"].map(|name| PortFacts {
        name: name.into(),
        device: name.into(),
        role: "fabric",
    });
    let stats = Arc::new(Stats::new("bench".into(), facts.to_vec(), &given.cores, 256));
    let exchange = Exchange::new();
    let threads: Vec<_> = (0..workers)
        .map(|number| {
            let mut tx = TxSet::new();
            for (index, port) in ports.iter_mut().enumerate() {
                tx.insert(PortId(index as u16), port.take_tx().expect("a queue"));
            }
            let setup = WorkerSetup {
                number: usize::from(number),
                queues: vec![(PortId(0), ports[0].take_rx().expect("a queue"))],
                tx,
                burst: Burst::new(&eal),
                pool: pool.clone(),
                reader: publisher.reader(),
                exchange: exchange.clone(),
                stats: stats.clone(),
                idle: ilagate::config::Idle::Poll,
                settings: Settings {
                    errors_per_second: 1000,
                    errors_burst: 100,
                    hold_packets: 4,
                    hold_timeout_ms: 5000,
                    hold: HoldLimits { packets: 1024, bytes: 2 << 20, hold_ms: 2000 },
                    release_per_second: 100_000,
                },
                hold_room: 256,
            };
            let lease = eal.lease(u32::from(given.cores[usize::from(number)])).expect("a core");
            std::thread::spawn(move || {
                let _worker = lease.enter().expect("pinned");
                Worker::new(setup).run();
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let total = || stats.workers.iter().map(|worker| worker.received[0].received.value()).sum::<u64>();
    let window = |busy: &mut dyn FnMut()| {
        let (before, begin) = (total(), Instant::now());
        busy();
        begin.elapsed().as_secs_f64() * 1e9 / (total() - before) as f64
    };
    // The best window counts, because other work on the machine only adds time.
    let (mut ns, mut calm_ns, mut updates) = (f64::MAX, f64::MAX, 0);
    let begin = Instant::now();
    let mut churned = Duration::ZERO;
    while begin.elapsed().as_secs() < given.seconds {
        if case.churn {
            calm_ns = calm_ns.min(window(&mut || std::thread::sleep(WINDOW)));
            let from = Instant::now();
            ns = ns.min(window(&mut || updates = churn(&case, &mut rib, &mut publisher, updates)));
            churned += from.elapsed();
        } else {
            ns = ns.min(window(&mut || std::thread::sleep(WINDOW)));
        }
    }
    let updates_timed = if given.small { [100, 10] } else { [2000, 500] };
    let update_us = case.churn.then(|| update_us(&case, updates_timed, &mut rib, &mut publisher));
    exchange.stop();
    for thread in threads {
        thread.join().expect("worker");
    }
    let received = total();
    let done = |counters: &Counters| counters.forwarded.value() + counters.replied.value();
    let done: u64 = stats.workers.iter().map(|worker| done(&worker.received[0])).sum();
    let mut text = format!(
        "{{\"case\": \"{}\", \"ns\": {ns:.3}, \"received\": {received}, \"done_share\": {:.6}",
        given.case,
        done as f64 / received.max(1) as f64
    );
    if let Some([known, new]) = update_us {
        let rate = updates as f64 / churned.as_secs_f64();
        let _ = write!(
            text,
            ", \"calm_ns\": {calm_ns:.3}, \"updates_per_second\": {rate:.0}, \"update_us\": {known:.1?}, \"update_new_locator_us\": {new:.1?}"
        );
    }
    println!("{text}}}");
}

/// Moves mappings between locators for one window while packets flow, as the control thread does. Returns the number of
/// updates since the start.
fn churn(
    case: &Case,
    rib: &mut Rib,
    publisher: &mut Publisher<ilagate::table::Tables>,
    mut done: u64,
) -> u64 {
    let begin = Instant::now();
    for turn in 1..=CHURN_BATCHES {
        let first = done % case.mappings;
        let changes = (first..first + CHURN_PER_BATCH)
            .map(|index| case.record(index, 1 + done / case.mappings))
            .collect();
        apply(rib, publisher, changes);
        done += CHURN_PER_BATCH;
        let due = WINDOW / CHURN_BATCHES * turn;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    done
}

/// Applies one batch as the control thread does: from its acceptance until every worker uses it.
fn apply(rib: &mut Rib, publisher: &mut Publisher<ilagate::table::Tables>, changes: Vec<Change>) {
    let staged = rib.stage(batch(changes)).expect("a batch");
    if rib.needs_snapshot() {
        publisher.publish(rib.compile());
        while !publisher.settled() {
            std::thread::yield_now();
        }
        rib.release();
    }
    rib.commit(staged);
}

/// Microseconds from an accepted update to its effect, p50 and p99, one update at a time under traffic.
///
/// The first pair is for updates to locators in use. The second is for updates to new locators, which need a new
/// snapshot.
fn update_us(
    case: &Case,
    counts: [u64; 2],
    rib: &mut Rib,
    publisher: &mut Publisher<ilagate::table::Tables>,
) -> [[f64; 2]; 2] {
    [(counts[0], 0xfd00_0001_0001_0000, case.hosts()), (counts[1], 0xfd00_0001_0002_0000, u64::MAX)].map(
        |(count, first, locators): (u64, u64, u64)| {
            let mut times: Vec<f64> = (0..count)
                .map(|n| {
                    let changes = vec![case.upsert(n * 499 % case.mappings, Locator(first + n % locators))];
                    let begin = Instant::now();
                    apply(rib, publisher, changes);
                    begin.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            times.sort_unstable_by(f64::total_cmp);
            [times[times.len() / 2], times[times.len() * 99 / 100]]
        },
    )
}
