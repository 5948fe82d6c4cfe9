//! The real DPDK environment, without hugepages, PCI or root: captures in, captures out, and every buffer back.
//!
//! DPDK starts once in a process, so each test runs itself again in a process of its own.

#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ilagate::dpdk::*;
use ilagate::path::{DropReason, Outcome, Verdict};
use ilagate::table::{HopId, PortId};
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const IN: PortId = PortId(0);
const OUT: PortId = PortId(1);

/// Runs `body` in a process of its own, in an empty directory.
fn isolated(test: &str, body: fn(&Path)) {
    if std::env::var("ILAGATE_GOLDEN").as_deref() == Ok(test) {
        return body(Path::new(&std::env::var("RUNTIME_DIRECTORY").unwrap()));
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env("ILAGATE_GOLDEN", test)
        .env("RUNTIME_DIRECTORY", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {}\n{text}", output.status);
}

fn start() -> Eal {
    let config = EalConfig {
        name: "golden".into(),
        memory: Memory::Ordinary,
        worker_cores: vec![0],
        ..EalConfig::default()
    };
    Eal::start(&config).unwrap()
}

fn pool(eal: &Eal, name: &str) -> Mempool {
    let config = PoolConfig { name: name.into(), mbufs: 4095, cache: 256, data_bytes: 2176, socket: None };
    Mempool::new(eal, &config).unwrap()
}

fn config(name: &str, device: &str) -> PortConfig {
    PortConfig {
        name: name.into(),
        device: device.into(),
        rx_queues: 1,
        tx_queues: 1,
        rx_desc: 512,
        tx_desc: 512,
        mtu: 1500,
        promiscuous: Promiscuous::Auto,
    }
}

fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame
}

fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for frame in frames {
        writer.write_packet(&PcapPacket::new(Duration::ZERO, frame.len() as u32, frame)).unwrap();
    }
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

/// An outcome for each packet: forward it through `OUT`.
fn forwarded(burst: &mut Burst) -> Vec<Outcome> {
    let outcome = |packet| Outcome { verdict: Verdict::Forward(OUT), ..Outcome::from(&packet) };
    burst.lend(IN).map(outcome).collect()
}

/// A capture to read from, a capture to write to, and what is between them.
struct Bench {
    pool: Mempool,
    rx: RxQueue,
    tx: TxSet,
    burst: Burst,
    _ports: [Port; 2],
}

impl Bench {
    /// Drops everything that may hold a buffer.
    fn close(self) -> Mempool {
        self.pool
    }
}

fn bench(eal: &Eal, dir: &Path, frames: &[Vec<u8>]) -> Bench {
    write(&dir.join("in.pcap"), frames);
    let pool = pool(eal, "bench");
    let (input, output) = (dir.join("in.pcap"), dir.join("out.pcap"));
    let mut inward =
        Port::open(&config("in", &format!("net_pcap0,rx_pcap={}", input.display())), &pool).unwrap();
    let mut outward =
        Port::open(&config("out", &format!("net_pcap1,tx_pcap={}", output.display())), &pool).unwrap();
    let rx = inward.take_rx().unwrap();
    assert!(inward.take_rx().is_none());
    let mut tx = TxSet::new();
    tx.insert(OUT, outward.take_tx().unwrap());
    Bench { pool, rx, tx, burst: Burst::new(eal), _ports: [inward, outward] }
}

fn forward_a_capture(dir: &Path) {
    let frames: Vec<_> = (0..100).map(|n| frame(n, 60 + usize::from(n))).collect();
    let eal = start();
    let mut bench = bench(&eal, dir, &frames);
    let mut expected = Vec::new();
    let mut received = 0;
    loop {
        let got = bench.burst.receive(&mut bench.rx);
        assert_eq!((got.misshapen, got.packets), (0, bench.burst.len()));
        if got.packets == 0 {
            break;
        }
        let mut outcomes = Vec::new();
        for mut packet in bench.burst.lend(IN) {
            let number = received as u8;
            assert_eq!(packet.frame(), frames[received]);
            packet.frame_mut()[0] = !number;
            match number % 3 {
                0 => {
                    assert!(packet.prepend(4));
                    packet.frame_mut()[..4].copy_from_slice(&[1, 2, 3, 4]);
                }
                1 => assert!(packet.strip(10)),
                _ => assert!(packet.resize(70)),
            }
            packet.verdict =
                if number.is_multiple_of(2) { Verdict::Forward(OUT) } else { Verdict::Reply(OUT) };
            expected.push(packet.frame().to_vec());
            outcomes.push(Outcome::from(&packet));
            received += 1;
        }
        let settled = bench.burst.settle(&outcomes, &mut bench.tx, |_, _, _| panic!("nothing to keep"));
        assert_eq!((settled, bench.burst.len()), (Settled::default(), 0));
    }
    bench.tx.flush();
    let bytes = expected.iter().map(|frame| frame.len() as u64).sum();
    assert_eq!(bench.tx.counts(OUT), TxCounts { sent: 100, sent_bytes: bytes, unsent: 0 });
    let pool = bench.close();
    assert_eq!((received, pool.available()), (100, pool.total()));
    drop((pool, eal));
    assert!(read(&dir.join("out.pcap")) == expected);
}

#[test]
fn a_capture_goes_in_is_changed_and_goes_out() {
    isolated("a_capture_goes_in_is_changed_and_goes_out", forward_a_capture);
}

fn settle_each_fate(dir: &Path) {
    let frames: Vec<_> = (0..12).map(|n| frame(n, 64)).collect();
    let eal = start();
    let mut bench = bench(&eal, dir, &frames);
    assert_eq!(bench.burst.receive(&mut bench.rx).packets, 12);
    assert_eq!(bench.pool.in_use(), 12);
    let mut outcomes: Vec<_> = bench.burst.lend(IN).map(|packet| Outcome::from(&packet)).collect();
    let verdicts = [
        Verdict::Forward(OUT),
        Verdict::Drop(DropReason::NoMapping),
        Verdict::Punt,
        Verdict::AwaitNextHop(HopId(7)),
        Verdict::Forward(PortId(9)),
        Verdict::Continue,
        Verdict::Reply(OUT),
        Verdict::Forward(OUT),
        Verdict::Forward(OUT),
        Verdict::Punt,
        Verdict::Forward(OUT),
    ];
    for (outcome, verdict) in outcomes.iter_mut().zip(verdicts) {
        outcome.verdict = verdict;
    }
    outcomes[7].end = u16::MAX;
    outcomes[8].end = outcomes[8].start + 13;
    (outcomes[9].start, outcomes[9].end) = (outcomes[9].end, outcomes[9].start);
    outcomes.truncate(11);
    let mut kept = Vec::new();
    let settled =
        bench.burst.settle(&outcomes, &mut bench.tx, |at, verdict, mbuf| kept.push((at, verdict, mbuf)));
    assert_eq!(settled, Settled { no_port: 1, undecided: 2, misfit: 3 });
    assert_eq!(bench.tx.counts(OUT).sent, 0);
    bench.tx.flush();
    assert_eq!(bench.tx.counts(OUT), TxCounts { sent: 3, sent_bytes: 3 * 64, unsent: 0 });
    assert_eq!(bench.pool.in_use(), 2);

    // What was kept crosses a thread, is read, and one of the two goes through a burst again.
    assert_eq!(
        kept.iter().map(|k| (k.0, k.1)).collect::<Vec<_>>(),
        [(2, Verdict::Punt), (3, Verdict::AwaitNextHop(HopId(7)))]
    );
    let mut mbufs = std::thread::spawn(move || {
        kept.into_iter()
            .map(|(at, _, mbuf)| {
                assert_eq!(mbuf.frame(), frame(at as u8, 64));
                mbuf
            })
            .collect::<Vec<_>>()
    })
    .join()
    .unwrap();
    assert!(bench.burst.adopt(mbufs.pop().unwrap()).is_ok());
    drop(mbufs);
    let outcomes = forwarded(&mut bench.burst);
    bench.burst.settle(&outcomes, &mut bench.tx, |_, _, _| panic!("nothing to keep"));

    // Frames of our own, and a burst that is full.
    assert!(bench.tx.send_bytes(OUT, &bench.pool, &frame(99, 80)));
    assert!(!bench.tx.send_bytes(OUT, &bench.pool, &vec![0; 2049]));
    assert!(!bench.tx.send_bytes(PortId(5), &bench.pool, &frame(99, 80)));
    let made = bench.pool.mbuf(&frame(98, 80)).unwrap();
    assert_eq!(made.frame(), frame(98, 80));
    assert!(bench.tx.send(PortId(5), made).is_err());
    for number in 0..BURST {
        assert!(bench.burst.adopt(bench.pool.mbuf(&frame(number as u8, 60)).unwrap()).is_ok());
    }
    assert!(bench.burst.adopt(bench.pool.mbuf(&frame(0, 60)).unwrap()).is_err());
    assert_eq!(bench.burst.receive(&mut bench.rx), Received::default());
    assert_eq!(bench.pool.in_use(), BURST as u32 + 1);
    let pool = bench.close();
    assert_eq!(pool.in_use(), 0);
    let expected: Vec<_> = [0, 6, 10, 3].map(|n| frame(n, 64)).into_iter().collect();
    assert_eq!(read(&dir.join("out.pcap")), expected, "the frame of our own was never flushed");
}

#[test]
fn every_fate_takes_its_buffer_along() {
    isolated("every_fate_takes_its_buffer_along", settle_each_fate);
}

fn expel_segments(dir: &Path) {
    // A frame larger than a buffer comes in several.
    let frames = [frame(0, 64), frame(1, 3000), frame(2, 64), frame(3, 5000), frame(4, 1514)];
    let eal = start();
    let mut bench = bench(&eal, dir, &frames);
    assert_eq!(
        bench.burst.receive(&mut bench.rx),
        Received { packets: 3, bytes: 64 + 64 + 1514, misshapen: 2 }
    );
    let numbers: Vec<_> = bench.burst.lend(IN).map(|packet| packet.frame()[0]).collect();
    assert_eq!(numbers, [0, 2, 4]);
    assert_eq!(bench.pool.in_use(), 3);
    assert_eq!(bench.close().in_use(), 0);
}

#[test]
fn a_frame_in_several_segments_never_reaches_the_pipeline() {
    isolated("a_frame_in_several_segments_never_reaches_the_pipeline", expel_segments);
}

fn refuse_transmission(_: &Path) {
    let eal = start();
    let pool = pool(&eal, "ring");
    // What is sent to a ring is received from it, and it holds 1023 packets.
    let mut port = Port::open(&config("ring", "net_ring0"), &pool).unwrap();
    let mut tx = TxSet::new();
    tx.insert(OUT, port.take_tx().unwrap());
    let mut rx = port.take_rx().unwrap();
    let mut burst = Burst::new(&eal);
    for _ in 0..1280 / BURST {
        for _ in 0..BURST {
            assert!(burst.adopt(pool.mbuf(&frame(1, 100)).unwrap()).is_ok());
        }
        let outcomes = forwarded(&mut burst);
        assert_eq!(burst.settle(&outcomes, &mut tx, |_, _, _| ()), Settled::default());
    }
    let sent = tx.counts(OUT);
    assert_eq!((sent.sent + sent.unsent, sent.sent_bytes), (1280, sent.sent * 100));
    assert!(sent.unsent >= 256 && pool.in_use() as u64 == sent.sent, "{sent:?}");
    let mut back = 0;
    while let packets @ 1.. = burst.receive(&mut rx).packets {
        back += packets as u64;
        assert_eq!(burst.lend(IN).next().unwrap().frame(), frame(1, 100));
        let drops = vec![Outcome { verdict: Verdict::Drop(DropReason::NoRoute), start: 0, end: 0 }; packets];
        burst.settle(&drops, &mut tx, |_, _, _| ());
    }
    assert_eq!((back, pool.in_use()), (sent.sent, 0));
    assert!(port.stats().tx_packets >= sent.sent && !port.driver().is_empty());
    assert!(!port.xstats().is_empty());
}

#[test]
fn what_a_full_ring_refuses_is_freed_and_counted() {
    isolated("what_a_full_ring_refuses_is_freed_and_counted", refuse_transmission);
}

fn refuse_configurations(dir: &Path) {
    let far = EalConfig { worker_cores: vec![4000], memory: Memory::Ordinary, ..EalConfig::default() };
    let text = |error: EalError| error.to_string();
    assert!(Eal::start(&far).err().map(text).unwrap().contains("core 4000"));
    let absent =
        EalConfig { memory: Memory::Ordinary, pci: vec!["0000:ff:1f.7".into()], ..EalConfig::default() };
    assert!(Eal::start(&absent).err().map(text).unwrap().contains("0000:ff:1f.7 does not exist"));
    let eal = start();
    assert!(matches!(
        Eal::start(&EalConfig { memory: Memory::Ordinary, ..EalConfig::default() }),
        Err(EalError::AlreadyStarted)
    ));

    let large = PoolConfig { name: "large".into(), mbufs: 1 << 20, cache: 0, data_bytes: 2176, socket: None };
    let error = Mempool::new(&eal, &large).err().unwrap().to_string();
    assert!(error.contains("large") && error.contains("raise memory_mib"), "{error}");
    let pool = pool(&eal, "small");
    let again = PoolConfig { name: "small".into(), mbufs: 63, ..large.clone() };
    assert!(Mempool::new(&eal, &again).err().unwrap().to_string().contains("its own name"));
    assert!(Mempool::new(&eal, &PoolConfig { name: "none".into(), data_bytes: 128, ..large }).is_err());

    let refusal = |config: &PortConfig| {
        let error = Port::open(config, &pool).err().expect("the port should not open").to_string();
        assert!(error.starts_with("port p: "), "{error}");
        error
    };
    let unknown = refusal(&config("p", "net_nothing0"));
    assert!(unknown.contains("net_nothing0 does not open") && unknown.contains("librte"), "{unknown}");
    assert!(refusal(&config("p", "")).contains("neither a pci address"));
    assert!(refusal(&config("p", "net_af_packet0,iface=no-such-if")).contains("no-such-if"));
    assert!(refusal(&config("p", "0000:ff:1f.7")).contains("pci address"));
    let missing = format!("net_pcap0,rx_pcap={}", dir.join("missing.pcap").display());
    assert!(refusal(&config("p", &missing)).contains("missing.pcap"));
    let jumbo = refusal(&PortConfig { mtu: 9000, ..config("p", "net_null0") });
    assert!(
        jumbo.contains("mtu 9000 does not fit an mbuf of 2176 bytes; raise mbufs.data_bytes to 9146"),
        "{jumbo}"
    );

    write(&dir.join("one.pcap"), &[frame(0, 60)]);
    let one = format!("net_pcap0,rx_pcap={}", dir.join("one.pcap").display());
    let queues = refusal(&PortConfig { rx_queues: 2, ..config("p", &one) });
    assert!(
        queues.contains("2 receive queues asked for, net_pcap offers 1: repeat rx_pcap=FILE"),
        "{queues}"
    );
    let none = refusal(&PortConfig { tx_queues: 0, ..config("p", &one) });
    assert!(none.contains("0 transmit queues"), "{none}");

    // A refused device is unplugged, so that it opens when it is asked for rightly; one that is open does not.
    let port = Port::open(&config("p", &one), &pool).unwrap();
    assert_eq!(port.rss(), Rss::Off("there is one receive queue"));
    assert!(refusal(&config("p", &one)).contains("in use by another port"));
    drop(port);
    let port = Port::open(&config("p", &one), &pool).unwrap();
    assert!(port.link().up || port.link().speed_mbps.is_some());
    drop(port);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_cannot_work_is_refused_with_a_way_out() {
    isolated("what_cannot_work_is_refused_with_a_way_out", refuse_configurations);
}

fn refuse_a_second_process(_: &Path) {
    if let Ok(first) = std::env::var("ILAGATE_FIRST") {
        let config = EalConfig { name: "golden".into(), memory: Memory::Ordinary, ..EalConfig::default() };
        let error = Eal::start(&config).err().unwrap().to_string();
        assert!(error.contains(&format!("process {first} runs dpdk under the name \"golden\"")), "{error}");
        return;
    }
    let _eal = start();
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["a_name_is_for_one_process", "--exact", "--nocapture"])
        .env("ILAGATE_FIRST", std::process::id().to_string())
        .status();
    assert!(second.unwrap().success());
}

#[test]
fn a_name_is_for_one_process() {
    isolated("a_name_is_for_one_process", refuse_a_second_process);
}

fn lease_cores(_: &Path) {
    let eal = start();
    let pool = pool(&eal, "leases");
    let config = PortConfig { rx_queues: 2, tx_queues: 2, ..config("null", "net_null0") };
    let mut port = Port::open(&config, &pool).unwrap();
    assert!(matches!(port.rss(), Rss::Active(hashes) if hashes != 0));
    let lease = eal.lease(0).unwrap();
    assert!(matches!(eal.lease(0), Err(EalError::NoLease(0))));
    let (mut rx, queue) = (port.take_rx().unwrap(), port.take_tx().unwrap());
    let mut burst = Burst::new(&eal);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let worker = lease.enter().unwrap();
            assert_eq!((worker.core(), worker.lcore().is_some()), (0, true));
            let mut tx = TxSet::new();
            tx.insert(OUT, queue);
            let sent = 1000 * BURST as u64;
            for _ in 0..1000 {
                assert_eq!(burst.receive(&mut rx).packets, BURST);
                let outcomes = forwarded(&mut burst);
                burst.settle(&outcomes, &mut tx, |_, _, _| ());
            }
            assert_eq!(tx.counts(OUT), TxCounts { sent, sent_bytes: sent * 64, unsent: 0 });
        });
    });
    assert_eq!(pool.in_use(), 0);
    // The port outlives the environment's own handle.
    drop(eal);
    assert!(port.link().up);
}

#[test]
fn a_worker_has_a_core_lease_and_its_own_queues() {
    isolated("a_worker_has_a_core_lease_and_its_own_queues", lease_cores);
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

fn cross_a_cable(_: &Path) {
    ip("link add ilagate0 type veth peer name ilagate1");
    for end in ["ilagate0", "ilagate1"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        ip(&format!("link set {end} up"));
    }
    let eal = start();
    let shape = PoolConfig { name: "cable".into(), mbufs: 8191, cache: 0, data_bytes: 4224, socket: None };
    let pool = Mempool::new(&eal, &shape).unwrap();
    let device = |end: u8, more: &str| PortConfig {
        rx_queues: 2,
        tx_queues: 2,
        ..config("cable", &format!("net_af_packet{end},iface=ilagate{end},qpairs=2,framecnt=256{more}"))
    };
    let refusal = |config: &PortConfig| Port::open(config, &pool).err().unwrap().to_string();
    let queues = refusal(&PortConfig { rx_queues: 3, ..device(0, "") });
    assert!(queues.contains("offers 2: add qpairs=N"), "{queues}");
    let frames = refusal(&PortConfig { mtu: 3000, ..device(0, "") });
    assert!(frames.contains("raise framesz="), "{frames}");
    let large = ",framesz=4096,blocksz=8192";
    let interface = refusal(&PortConfig { mtu: 3000, ..device(0, large) });
    assert!(interface.contains("ip link set ilagate0 mtu 3000"), "{interface}");
    for end in ["ilagate0", "ilagate1"] {
        ip(&format!("link set {end} mtu 3000"));
    }
    let mut near = Port::open(&PortConfig { mtu: 3000, ..device(0, large) }, &pool).unwrap();
    let mut far = Port::open(&PortConfig { mtu: 3000, ..device(1, large) }, &pool).unwrap();
    assert!(near.link().up && near.mac() != far.mac() && matches!(near.rss(), Rss::Off(_)));
    assert_ne!(near.reception(), Reception::AsIs);
    let mut tx = TxSet::new();
    near.take_tx().unwrap();
    tx.insert(OUT, near.take_tx().unwrap());
    for len in [60, 1514, 3014] {
        assert!(tx.send_bytes(OUT, &pool, &frame(len as u8, len)));
    }
    tx.flush();
    assert_eq!(tx.counts(OUT), TxCounts { sent: 3, sent_bytes: 60 + 1514 + 3014, unsent: 0 });
    let mut queues: Vec<_> = std::iter::from_fn(|| far.take_rx()).collect();
    let mut burst = Burst::new(&eal);
    let begin = std::time::Instant::now();
    while burst.len() < 3 && begin.elapsed() < Duration::from_secs(5) {
        for rx in &mut queues {
            burst.receive(rx);
        }
    }
    let mut lengths: Vec<_> = burst.lend(IN).map(|packet| packet.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [60, 1514, 3014]);
    assert_eq!(far.stats().rx_packets, 3);
    drop((burst, queues, tx, near, far));
    assert_eq!(pool.in_use(), 0);
    ip("link del ilagate0");
}

#[test]
#[ignore = "makes network interfaces, so needs root"]
fn frames_cross_a_cable_between_kernel_interfaces() {
    isolated("frames_cross_a_cable_between_kernel_interfaces", cross_a_cable);
}

fn open_a_tap(_: &Path) {
    let eal = start();
    let pool = pool(&eal, "tap");
    let taps = PortConfig { rx_queues: 2, tx_queues: 2, ..config("tap", "net_tap0,iface=ilagate2") };
    let mut port = Port::open(&taps, &pool).unwrap();
    assert!(port.link().up && port.driver() == "net_tap" && port.offers_tx_checksums());
    assert_ne!(port.reception(), Reception::AsIs);
    // Neighbour Discovery needs multicast even where nothing else is wanted.
    for (n, promiscuous, accepted) in
        [(1, Promiscuous::Off, Reception::AllMulticast), (2, Promiscuous::On, Reception::Promiscuous)]
    {
        let device = format!("net_tap{n},iface=ilagate{}", n + 2);
        let other = Port::open(&PortConfig { promiscuous, ..config("other", &device) }, &pool).unwrap();
        assert_eq!(other.reception(), accepted);
    }
    println!("{:?} {:?} {:?}", port.rss(), port.reception(), port.link());
    let mut tx = TxSet::new();
    tx.insert(OUT, port.take_tx().unwrap());
    assert!(tx.send_bytes(OUT, &pool, &frame(2, 100)));
    tx.flush();
    assert_eq!(tx.counts(OUT).sent, 1);
    let received = std::fs::read_to_string("/sys/class/net/ilagate2/statistics/rx_packets").unwrap();
    assert_eq!(received.trim(), "1");
    drop((tx, port));
    assert_eq!(pool.in_use(), 0);
}

#[test]
#[ignore = "makes a network interface, so needs root"]
fn a_tap_carries_frames_to_the_kernel() {
    isolated("a_tap_carries_frames_to_the_kernel", open_a_tap);
}
