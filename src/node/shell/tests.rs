//! The shell with signals and channels, and devices that are not there.

use super::*;
use crate::net::Mac;
use crate::net::ndp;
use crate::node::control::views::role_name;
use crate::node::stats::{DeviceCounters, PortFacts};
use std::sync::{Mutex, MutexGuard, PoisonError};

const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access, addresses: ["2001:db8:2::1/64"], router_advertisement: {interval_s: 10}}
routes: [{prefix: "fd00:1::/32", via: "fd00:f::2", port: f}]
"#;

struct Fake;

impl Devices for Fake {
    fn link(&self, _: PortId) -> LinkState {
        LinkState { up: true, speed_mbps: 1000, problem: String::new() }
    }
    fn counters(&self, port: PortId) -> DeviceCounters {
        DeviceCounters { rx_packets: 7 + u64::from(port.0), ..DeviceCounters::default() }
    }
    fn xstats(&self, _: PortId) -> Vec<(String, u64)> {
        vec![("rx_good".into(), 7)]
    }
    fn rss(&self, _: PortId) -> String {
        "active".into()
    }
    fn mbufs(&self) -> (u64, u64) {
        (3, 9)
    }
}

struct Bench {
    shell: Shell,
    exchange: Arc<Exchange>,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_of(tempfile::tempdir().unwrap(), CONFIG)
}

fn bench_of(dir: tempfile::TempDir, text: &str) -> Bench {
    let path = dir.path().join("node.yaml");
    std::fs::write(&path, text).unwrap();
    let config = Arc::new(Config::load(&path).unwrap());
    let exchange = Exchange::new();
    let facts = |port: &crate::config::Port| PortFacts {
        name: port.name.clone(),
        device: port.device.clone(),
        role: role_name(port.role),
    };
    let facts = config.ports.iter().map(facts).collect();
    let shell = Shell::new(Parts {
        path,
        config,
        provision: None,
        macs: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
        mappings: None,
        learned: Vec::new(),
        presences: Vec::new(),
        stats: Arc::new(Stats::new("n".into(), facts, &[1], 1)),
        exchanges: vec![exchange.clone()],
        devices: Box::new(Fake),
        set_level: Box::new(|_| ()),
        table_seed: 1,
        timer_seed: 1,
    })
    .unwrap();
    Bench { shell, exchange, dir }
}

/// A node with a mapping file.
fn bench_with_mappings() -> (Bench, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mappings.yaml");
    std::fs::write(&file, "mappings: []\n").unwrap();
    let config = format!("{CONFIG}mappings: {{file: {}, watch: false}}\n", file.display());
    (bench_of(dir, &config), file)
}

/// Signals come to the whole process: one test at a time listens to them or sends them.
fn alone_with_signals() -> MutexGuard<'static, ()> {
    static SIGNALS: Mutex<()> = Mutex::new(());
    SIGNALS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn signals_from_before_the_first_turn_are_heard() {
    let _alone = alone_with_signals();
    let Bench { mut shell, dir, .. } = bench();
    let raise = |signal: &str| {
        let kill = format!("kill {signal} {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    runtime().block_on(async {
        let mut config = shell.config();
        let path = dir.path().join("node.yaml");
        std::fs::write(path, format!("{CONFIG}\nicmp: {{errors_per_second: 77}}\n")).unwrap();
        let signals = Signals::listen().unwrap();
        raise("-HUP");
        // Reading the file takes as long as the machine lets it.
        tokio::select! {
            ended = shell.run(signals) => panic!("{ended:?}"),
            changed = tokio::time::timeout(Duration::from_secs(60), config.changed()) => changed.unwrap().unwrap(),
        }
        assert_eq!(config.borrow().icmp.errors_per_second, 77);
        let signals = Signals::listen().unwrap();
        raise("-TERM");
        assert_eq!(shell.run(signals).await, Ended::Asked);
    });
}

#[test]
fn requests_are_answered_with_what_the_devices_say_at_that_time() {
    let _alone = alone_with_signals();
    let Bench { mut shell, .. } = bench();
    let handle = shell.handle();
    runtime().block_on(async {
        let signals = Signals::listen().unwrap();
        let asks = async {
            let node = handle.ask(Request::Node).await.unwrap();
            let ports = handle.ask(|answer| Request::Ports(true, answer)).await.unwrap();
            let events = handle.ask(|answer| Request::Events(0, answer)).await;
            handle.stop().await.unwrap();
            (node, ports, events.is_ok())
        };
        let (ended, (node, ports, events)) = tokio::join!(shell.run(signals), asks);
        assert_eq!((ended, node.mbufs_in_use, node.mbufs, events), (Ended::Asked, 3, 9, true));
        assert_eq!((ports[1].rss.as_str(), ports[1].xstats.len()), ("active", 1));
    });
    assert_eq!(shell.stats.census().ports[1].device.rx_packets, 8);
}

#[test]
fn the_final_advertisements_wait_for_room_at_the_worker() {
    let Bench { mut shell, exchange, .. } = bench();
    shell.round();
    let lifetimes = || -> Vec<u16> {
        let frames = std::iter::from_fn(|| exchange.to_send.pop());
        let lifetime = |frame: crate::node::exchange::Frame| {
            ndp::router_advert(&frame.bytes[14..]).ok().map(|(advert, _)| advert.lifetime_s)
        };
        frames.filter_map(lifetime).collect()
    };
    assert_eq!(lifetimes(), [1800]);
    runtime().block_on(shell.finish());
    assert_eq!(lifetimes(), [0]);
    // A worker that is gone is not waited for.
    exchange.set_stopped();
    let began = Instant::now();
    runtime().block_on(shell.finish());
    assert!(began.elapsed() < FINAL_FRAMES);
}

#[test]
fn what_is_no_file_in_the_place_of_the_mapping_file_does_not_end_reloads() {
    let _alone = alone_with_signals();
    let (Bench { mut shell, dir, .. }, file) = bench_with_mappings();
    let handle = shell.handle();
    let (pipe, aside) = (dir.path().join("pipe"), dir.path().join("aside"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let in_place = [pipe, std::path::PathBuf::from("/dev/zero"), dir.path().to_owned()];
    runtime().block_on(async {
        let signals = Signals::listen().unwrap();
        let asks = async {
            for place in in_place {
                std::fs::rename(&file, &aside).unwrap();
                std::os::unix::fs::symlink(&place, &file).unwrap();
                let why = handle.ask(Request::Reload).await.unwrap().unwrap_err();
                assert!(why.contains("put a regular file in its place"), "{why}");
                std::fs::rename(&aside, &file).unwrap();
                handle.ask(Request::Reload).await.unwrap().unwrap();
            }
            handle.stop().await.unwrap();
        };
        assert_eq!(tokio::join!(shell.run(signals), asks).0, Ended::Asked);
    });
}

#[test]
fn every_round_is_a_sign_of_life() {
    let mut stats = Stats::new("n".into(), Vec::new(), &[1], 1);
    stats.started = Instant::now().checked_sub(Duration::from_secs(1000)).unwrap();
    assert!(stats.control_silence() >= Duration::from_secs(1000));
    let Bench { mut shell, .. } = bench();
    shell.stats = Arc::new(stats);
    shell.round();
    assert!(shell.stats.control_silence() < Duration::from_secs(500));
    assert!(!shell.stats.control.stopping());
    runtime().block_on(shell.finish());
    assert!(shell.stats.control.stopping());
}

#[test]
fn a_node_with_thousands_of_tenants_waits_until_each_is_told_of_its_end() {
    const TENANTS: usize = 2_000;
    let mut text = CONFIG.to_owned()
        + "locators: [{prefix: 'fd00:1:0:1::/64', domain: tasks}]\nvirtual_networks: \
        [{name: red, vnid: 100, domain: tasks, ipv6: {prefix: '2001:db8:a::/96'}}]\nattachments:\n";
    for n in 1..=TENANTS {
        let mac = format!("02:00:00:01:{:02x}:{:02x}", n >> 8, n & 255);
        text += &format!("  - {{port: a, mac: '{mac}', network: red, addresses: ['2001:db8:a::{n:x}']}}\n");
    }
    let Bench { mut shell, exchange, dir: _dir } = bench_of(tempfile::tempdir().unwrap(), &text);
    // A worker that takes 40 frames every 20 ms.
    let worker = exchange.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stops = stop.clone();
    let takes = std::thread::spawn(move || {
        let mut told = 0;
        while !stops.load(Ordering::Relaxed) || !worker.to_send.is_empty() {
            let frames = std::iter::from_fn(|| worker.to_send.pop()).take(40);
            told += frames.filter(|frame| frame.bytes.starts_with(&[2, 0, 0, 1])).count();
            std::thread::sleep(Duration::from_millis(20));
        }
        told
    });
    runtime().block_on(shell.finish());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(takes.join().unwrap(), TENANTS);
    // Who never takes any is waited for half a second.
    let began = Instant::now();
    runtime().block_on(shell.finish());
    assert!((FINAL_FRAMES..10 * FINAL_FRAMES).contains(&began.elapsed()));
    assert!(!shell.send_queue.is_empty());
}
