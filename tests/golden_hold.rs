//! What real workers on real DPDK devices hold for a VM that is about to arrive, and how it leaves: all of it that fits,
//! once each, in order, and no faster than a ring takes.
//!
//! DPDK starts once in a process, so each test runs itself again in a process of its own.

#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ilagate::config::{Config, Idle};
use ilagate::dpdk::*;
use ilagate::ila::{Identifier, Locator};
use ilagate::mapping::{Presence, Tunnels};
use ilagate::net::{Mac, ethernet, ipv6};
use ilagate::node::exchange::{Exchange, Settings};
use ilagate::node::hold::HoldLimits;
use ilagate::node::rib::Rib;
use ilagate::node::stats::{PortFacts, Stats};
use ilagate::node::worker::{Worker, WorkerSetup};
use ilagate::path::{Counters, DropReason, Outcome, Verdict};
use ilagate::table::rcu::Publisher;
use ilagate::table::{AttachmentKey, PortId, Tables};
use pcap_file::pcap::PcapReader;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VM: Mac = Mac([2, 0, 0, 0, 1, 1]);
const ACCESS: PortId = PortId(2);
const TO: Identifier = Identifier(0x2000_0000_0000_0001);
/// Packets that a worker may hold.
const LIMIT: u32 = 1_000;
/// How long anything may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own, in an empty directory.
fn isolated(test: &str, body: fn(&Path)) {
    if std::env::var("ILAGATE_GOLDEN").as_deref() == Ok(test) {
        return body(Path::new(&std::env::var("RUNTIME_DIRECTORY").unwrap()));
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("ILAGATE_GOLDEN", test)
        .env("RUNTIME_DIRECTORY", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {}\n{text}", output.status);
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONGEST, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The `n`th packet for the VM, as the fabric brings it.
fn frame(n: u32) -> Vec<u8> {
    let mut frame = vec![0u8; 14 + 40 + 12];
    frame[..14].copy_from_slice(&ethernet::header(OURS, Mac([2, 0, 0, 0, 0, 9]), 0).0[..14]);
    let to = Locator(0xfd00_0001_0000_0001).with(TO);
    ipv6::Ipv6::of_mut(&mut frame[14..]).unwrap().write(12, 59, 64, 0x2001_0db8 << 96 | 7, to);
    frame[62..].copy_from_slice(&n.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.last_chunk().unwrap())
}

/// A node with two workers. Each receives from a ring of its own, which the test fills.
struct Node {
    eal: Eal,
    pool: Arc<Mempool>,
    rib: Rib,
    publisher: Publisher<Tables>,
    stats: Arc<Stats>,
    exchange: Arc<Exchange>,
    feeds: Vec<TxSet>,
    ports: Vec<Port>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts it; `device` is that of the VM's port.
fn node(device: &str, release_per_second: u32) -> Node {
    let text = format!(
        "node: {{name: golden}}\ndpdk: {{workers: [0, 1]}}\n\
         sir_domains: [{{name: tasks, prefix: \"2001:db8:dddd::/64\", checksum: no-action, vni: 7}}]\n\
         locators: [{{prefix: \"fd00:1:0:1::/64\", domain: tasks}}]\n\
         ports:\n  - {{name: in0, device: net_ring0, queues: 2, role: fabric, addresses: [\"fd00:f:1::1/64\"]}}\n\
         \x20 - {{name: in1, device: net_ring1, role: fabric, addresses: [\"fd00:f:2::1/64\"]}}\n\
         \x20 - {{name: out, device: net_ring2, role: access}}\n\
         attachments: [{{port: out, mac: \"{VM}\", identifiers: [\"2001:db8:dddd:0:2000::1\"]}}]\n"
    );
    let config = Config::parse(&text, "golden.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut rib = Rib::new(&config, &[OURS, OURS, OURS], 1);
    rib.set_presence(at(), Presence::Expected(Tunnels::default())).unwrap();
    let mut publisher = Publisher::new(rib.compile());
    rib.release();
    let eal = Eal::start(&EalConfig {
        name: "golden".into(),
        memory: Memory::Ordinary,
        worker_cores: vec![0, 1],
        ..EalConfig::default()
    })
    .unwrap();
    let shape = PoolConfig { name: "all".into(), mbufs: 16_383, cache: 256, data_bytes: 2176, socket: None };
    let pool = Arc::new(Mempool::new(&eal, &shape).unwrap());
    let open = |name: &str, device: &str, (rx_queues, tx_queues)| {
        let config = PortConfig {
            name: name.into(),
            device: device.into(),
            rx_queues,
            tx_queues,
            rx_desc: 512,
            tx_desc: 512,
            mtu: 1500,
            promiscuous: Promiscuous::Auto,
        };
        Port::open(&config, &pool).unwrap_or_else(|error| panic!("{error}"))
    };
    // A ring gives each queue back to itself.
    let queues = if device.starts_with("net_ring") { (2, 2) } else { (1, 2) };
    let mut ports =
        vec![open("in0", "net_ring0", (1, 1)), open("in1", "net_ring1", (1, 1)), open("out", device, queues)];
    let facts = ["in0", "in1", "out"].map(|name| PortFacts {
        name: name.into(),
        device: name.into(),
        role: "fabric",
    });
    let stats = Arc::new(Stats::new("golden".into(), facts.to_vec(), &[0, 1], 4));
    let exchange = Exchange::new();
    let (mut feeds, mut threads) = (Vec::new(), Vec::new());
    for number in 0..2usize {
        let mut feed = TxSet::new();
        feed.insert(PortId(number as u16), ports[number].take_tx().unwrap());
        feeds.push(feed);
        let mut tx = TxSet::new();
        tx.insert(ACCESS, ports[2].take_tx().unwrap());
        let setup = WorkerSetup {
            number,
            queues: vec![(PortId(number as u16), ports[number].take_rx().unwrap())],
            tx,
            burst: Burst::new(&eal),
            pool: pool.clone(),
            reader: publisher.reader(),
            exchange: exchange.clone(),
            stats: stats.clone(),
            idle: Idle::Backoff,
            settings: Settings {
                errors_per_second: 1,
                errors_burst: 1,
                hold_packets: 4,
                hold_timeout_ms: 5_000,
                hold: HoldLimits { packets: LIMIT, bytes: 16 << 20, hold_ms: 60_000 },
                release_per_second,
            },
            hold_room: 4_000,
        };
        let lease = eal.lease(number as u32).unwrap();
        threads.push(std::thread::spawn(move || {
            let _worker = lease.enter().unwrap();
            Worker::new(setup).run();
        }));
    }
    Node { eal, pool, rib, publisher, stats, exchange, feeds, ports, threads }
}

fn at() -> AttachmentKey {
    AttachmentKey { port: ACCESS, vlan: 0, mac: VM }
}

impl Node {
    /// Brings packets with these numbers to both workers, as fast as they take them.
    fn feed(&mut self, numbers: std::ops::Range<u32>) {
        for (port, feed) in self.feeds.iter_mut().enumerate() {
            let port = PortId(port as u16);
            feed.begin_keeping();
            for n in numbers.clone() {
                assert!(feed.send_bytes(port, &self.pool, &frame(n)));
                if n % 32 == 31 {
                    feed.flush();
                    wait("a worker takes packets", || feed.offer_again() == 0);
                }
            }
            feed.end_keeping();
            wait("a worker takes packets", || feed.offer_again() == 0);
            assert_eq!(feed.counts(port).unsent, 0);
        }
    }

    /// The sum of a counter over both workers.
    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.stats.workers.iter().flat_map(|worker| &worker.received).map(|counters| of(counters)).sum()
    }

    fn received(&self, each: u32) {
        wait("all are received", || self.sum(|it| it.received.value()) == u64::from(2 * each));
    }

    fn publish(&mut self) {
        while self.rib.needs_snapshot() {
            self.publisher.publish(self.rib.compile());
            wait("every worker has the snapshot", || self.publisher.settled());
            self.rib.release();
        }
    }

    /// The VM is here.
    fn cut_over(&mut self) {
        self.rib.set_presence(at(), Presence::default()).unwrap();
        self.publish();
    }

    fn is_released(&self) -> bool {
        let number = self.publisher.number();
        self.stats.workers.iter().all(|worker| worker.polls.released.load(Ordering::Acquire) >= number)
    }

    /// Nothing waits any more behind what was held.
    fn end_release(&mut self) {
        wait("all that was held leaves", || self.is_released());
        self.rib.end_releases(true);
        self.publish();
        assert!(self.publisher.current().moves.absent.is_empty());
    }

    /// Ends it. Gives what was lost by reason, and what devices refused.
    fn stop(mut self) -> (Vec<(DropReason, u64)>, u64) {
        self.exchange.stop();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        let fates = self.sum(|it| it.forwarded.value() + it.replied.value() + it.dropped_total());
        assert_eq!((self.sum(|it| it.received.value()), self.sum(|it| it.waiting.value())), (fates, 0));
        let lost = |reason: &DropReason| (*reason, self.sum(|it| it.dropped[*reason as usize].value()));
        let lost = DropReason::ALL.iter().map(lost).filter(|(_, count)| *count > 0).collect();
        let unsent = self.stats.workers.iter().flat_map(|it| &it.sent).map(|it| it.unsent.value()).sum();
        drop((self.feeds, self.ports));
        assert_eq!(self.pool.in_use(), 0);
        drop((self.pool, self.eal));
        (lost, unsent)
    }
}

fn delivered(path: &Path) -> Vec<u32> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut numbers = Vec::new();
    while let Some(packet) = reader.next_packet() {
        numbers.push(number(&packet.unwrap().data));
    }
    numbers
}

fn captured(dir: &Path) -> (String, [std::path::PathBuf; 2]) {
    let files = [dir.join("0.pcap"), dir.join("1.pcap")];
    (format!("net_pcap0,tx_pcap={},tx_pcap={}", files[0].display(), files[1].display()), files)
}

fn hold_what_fits(dir: &Path) {
    let (device, files) = captured(dir);
    let mut node = node(&device, 100_000);
    node.feed(0..LIMIT);
    node.received(LIMIT);
    assert_eq!(node.sum(|it| it.waiting.value()), u64::from(2 * LIMIT));
    node.cut_over();
    // These come while what was held leaves, and after that.
    node.feed(LIMIT..3 * LIMIT);
    node.end_release();
    node.feed(3 * LIMIT..3 * LIMIT + 100);
    node.received(3 * LIMIT + 100);
    assert_eq!(node.stop(), (vec![], 0));
    for file in files {
        assert_eq!(delivered(&file), (0..3 * LIMIT + 100).collect::<Vec<_>>());
    }
}

#[test]
fn at_two_workers_and_any_rate_what_fits_the_hold_arrives_once_and_in_order() {
    isolated("at_two_workers_and_any_rate_what_fits_the_hold_arrives_once_and_in_order", hold_what_fits);
}

fn hold_no_more(dir: &Path) {
    let (device, files) = captured(dir);
    let mut node = node(&device, 100_000);
    node.feed(0..LIMIT + 777);
    node.received(LIMIT + 777);
    node.cut_over();
    node.end_release();
    assert_eq!(node.stop(), (vec![(DropReason::HoldFull, 2 * 777)], 0));
    for file in files {
        assert_eq!(delivered(&file), (0..LIMIT).collect::<Vec<_>>());
    }
}

#[test]
fn beyond_the_hold_exactly_the_rest_is_lost() {
    isolated("beyond_the_hold_exactly_the_rest_is_lost", hold_no_more);
}

fn refuse_for_a_while(_: &Path) {
    // Each worker's ring takes 1023 packets, and the pace is none that it would take.
    let mut node = node("net_ring2", 100_000_000);
    let mut fill = Burst::new(&node.eal);
    node.feed(0..LIMIT);
    node.received(LIMIT);
    let mut rings: Vec<RxQueue> = (0..2).map(|_| node.ports[2].take_rx().unwrap()).collect();
    node.cut_over();
    // What comes meanwhile fills the rings, and waits behind what they refuse.
    node.feed(LIMIT..2 * LIMIT);
    let mut came: [Vec<u32>; 2] = Default::default();
    wait("all arrive", || {
        for (ring, came) in rings.iter_mut().zip(&mut came) {
            came.extend(drain(&mut fill, ring));
        }
        came.iter().all(|came| came.len() == 2 * LIMIT as usize)
    });
    for came in came {
        assert_eq!(came, (0..2 * LIMIT).collect::<Vec<_>>());
    }
    node.end_release();
    drop((fill, rings));
    assert_eq!(node.stop(), (vec![], 0));
}

/// Takes one burst out of a ring.
fn drain(burst: &mut Burst, ring: &mut RxQueue) -> Vec<u32> {
    let packets = burst.receive(ring).packets;
    let numbers = burst.lend(ACCESS).map(|packet| number(packet.frame())).collect();
    let drop = Outcome { verdict: Verdict::Drop(DropReason::NoRoute), start: 0, end: 0 };
    burst.settle(&vec![drop; packets], &mut TxSet::new(), |_, _, _| ());
    numbers
}

#[test]
fn what_a_full_ring_refuses_of_it_is_kept_and_offered_again() {
    isolated("what_a_full_ring_refuses_of_it_is_kept_and_offered_again", refuse_for_a_while);
}

fn refuse_for_ever(_: &Path) {
    let mut node = node("net_ring2", 100_000_000);
    node.feed(0..LIMIT);
    node.received(LIMIT);
    let mut rings: Vec<RxQueue> = (0..2).map(|_| node.ports[2].take_rx().unwrap()).collect();
    node.cut_over();
    node.feed(LIMIT..LIMIT + 500);
    wait("a worker gives up", || {
        node.stats.workers.iter().flat_map(|it| &it.sent).any(|it| it.unsent.value() > 0)
    });
    let (mut burst, mut came) = (Burst::new(&node.eal), 0);
    wait("the rest leaves", || {
        came += rings.iter_mut().map(|ring| drain(&mut burst, ring).len() as u64).sum::<u64>();
        node.is_released()
    });
    for ring in &mut rings {
        while let packets @ 1.. = drain(&mut burst, ring).len() {
            came += packets as u64;
        }
    }
    node.end_release();
    drop((burst, rings));
    let (lost, unsent) = node.stop();
    assert_eq!((lost, came + unsent), (vec![], u64::from(2 * (LIMIT + 500))));
    assert!(unsent > 0);
}

#[test]
fn what_a_device_refuses_for_long_is_lost_and_counted_as_unsent() {
    isolated("what_a_device_refuses_for_long_is_lost_and_counted_as_unsent", refuse_for_ever);
}

fn end_before_it_left(dir: &Path) {
    // At this pace it takes a second, and nobody waits for that.
    let (device, files) = captured(dir);
    let mut node = node(&device, 1_000);
    node.feed(0..LIMIT);
    node.received(LIMIT);
    node.cut_over();
    node.rib.end_releases(true);
    node.publish();
    node.feed(LIMIT..LIMIT + 500);
    node.received(LIMIT + 500);
    wait("all that was held leaves", || node.is_released());
    assert_eq!(node.stop(), (vec![], 0));
    for file in files {
        assert_eq!(delivered(&file), (0..LIMIT + 500).collect::<Vec<_>>());
    }
}

#[test]
fn what_still_waits_when_its_time_is_over_leaves_before_anything_that_comes_later() {
    isolated(
        "what_still_waits_when_its_time_is_over_leaves_before_anything_that_comes_later",
        end_before_it_left,
    );
}

fn end_while_refused(_: &Path) {
    let mut node = node("net_ring2", 100_000_000);
    node.feed(0..LIMIT);
    node.received(LIMIT);
    let mut rings: Vec<RxQueue> = (0..2).map(|_| node.ports[2].take_rx().unwrap()).collect();
    node.cut_over();
    // The rings are full, and then the time is over, whatever they refuse.
    node.feed(LIMIT..LIMIT + 500);
    node.received(LIMIT + 500);
    node.rib.end_releases(true);
    node.publish();
    let (mut burst, mut came) = (Burst::new(&node.eal), [const { Vec::new() }; 2]);
    node.feed(LIMIT + 500..LIMIT + 700);
    node.received(LIMIT + 700);
    for n in 0..200 {
        for (ring, came) in rings.iter_mut().zip(&mut came) {
            came.extend(drain(&mut burst, ring));
        }
        if n < 100 {
            node.feed(LIMIT + 700 + n..LIMIT + 701 + n);
        }
    }
    node.received(LIMIT + 800);
    wait("nothing is held", || node.is_released());
    let counted =
        |node: &Node| node.stats.workers.iter().flat_map(|it| &it.sent).map(|it| it.unsent.value()).sum();
    let all = u64::from(2 * (LIMIT + 800));
    wait("each packet is delivered or counted", || {
        for (ring, came) in rings.iter_mut().zip(&mut came) {
            came.extend(drain(&mut burst, ring));
        }
        let unsent: u64 = counted(&node);
        came.iter().map(|came| came.len() as u64).sum::<u64>() + unsent == all
    });
    for came in &came {
        assert!(came.windows(2).all(|pair| pair[0] < pair[1]), "nothing overtakes");
    }
    drop((burst, rings));
    let (lost, unsent) = node.stop();
    assert_eq!(lost, []);
    assert!(unsent > 0);
}

#[test]
fn what_a_device_refuses_when_the_time_is_over_is_lost_and_nothing_overtakes_the_rest() {
    isolated(
        "what_a_device_refuses_when_the_time_is_over_is_lost_and_nothing_overtakes_the_rest",
        end_while_refused,
    );
}
