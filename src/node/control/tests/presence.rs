//! VMs and tasks that move, as the control thread is told of them and tells workers.

use super::*;
use crate::mapping::{Departure, InFlight, Presence, TunnelEnds, Tunnels};
use crate::node::rib::PresenceRefused;
use crate::path::Sign;
use crate::table::{self, AttachmentKey, Sends};

const VM: Mac = Mac([2, 0, 0, 0, 1, 1]);
const TASK: Mac = Mac([2, 0, 0, 0, 1, 9]);
const OWN: u128 = 0xfd00_000f << 96 | 1;
const SITE: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}
  - {name: wide, vnid: 16777216, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}
routes: [{prefix: "fd00:1::/32", via: "fd00:f::2", port: f}]
attachments:
  - {port: a, vlan: 7, mac: "02:00:00:00:01:02", network: red, addresses: [10.0.0.6]}
  - {port: a, vlan: 8, mac: "02:00:00:00:01:03", network: wide, addresses: [10.0.0.6]}
  - {port: a, vlan: 9, mac: "02:00:00:00:01:09", identifiers: ["2001:db8:dddd:0:2000::9"]}
"#;
const ATTACHED: &str = "  - {port: a, mac: \"02:00:00:00:01:01\", network: red, addresses: [10.0.0.5]}\n";

fn at(vlan: u16, mac: Mac) -> AttachmentKey {
    AttachmentKey { port: ACCESS, vlan, mac }
}

fn expected() -> Presence {
    Presence::Expected(Tunnels { to: OWN, from: vec![NEXT], copies: false })
}

fn departed(in_flight: Option<InFlight>, until_ms: u64) -> Presence {
    Presence::Departed(Departure {
        locators: vec![(0, Locator(0xfd00_0001_0000_0002))],
        tunnel: Some(TunnelEnds { from: OWN, to: NEXT }),
        in_flight,
        until_ms,
        may_send: false,
    })
}

impl Bench {
    fn set(&mut self, key: AttachmentKey, presence: Presence) -> RequestId {
        self.request(Request::Presence(key, presence))
    }

    fn is_set(&mut self, id: RequestId) -> Option<Result<(), PresenceRefused>> {
        self.answers.remove(&id).map(|answer| match answer {
            Answer::Presence(result) => result,
            other => panic!("{other:?}"),
        })
    }

    /// What becomes of packets in flight for what moves, by the snapshot that was published last.
    fn in_flight(&self) -> Vec<table::InFlight> {
        let moves = &self.control.publisher.current().moves;
        moves.moving.iter().map(|moving| moving.in_flight).collect()
    }
}

#[test]
fn a_presence_is_answered_when_every_worker_has_it() {
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}"));
    bench.turn(1_000);
    let id = bench.set(at(0, VM), expected());
    bench.round(1_001);
    assert_eq!(bench.is_set(id), None, "no worker has it");
    let tables = bench.reader.snapshot();
    assert!(tables.moves.absent(&at(0, VM)).is_some_and(|absent| matches!(absent.sends, Sends::Hold(_))));
    bench.round(1_002);
    assert_eq!(bench.is_set(id), Some(Ok(())));
    assert!(matches!(bench.in_flight()[..], [table::InFlight::Hold(_)]));
    let id = bench.set(at(0, VM), Presence::default());
    bench.turn(1_003);
    // What was held leaves first.
    assert_eq!((bench.is_set(id), bench.in_flight()), (Some(Ok(())), vec![table::InFlight::Deliver]));
}

#[test]
fn who_is_expected_before_it_is_provisioned_is_never_here_and_is_forgotten_with_its_attachment() {
    let mut bench = Bench::with(SITE);
    bench.turn(1_000);
    let id = bench.set(at(0, VM), expected());
    bench.turn(1_001);
    assert_eq!((bench.is_set(id), bench.in_flight().len()), (Some(Ok(())), 0));
    for (text, moving) in
        [(format!("{SITE}{ATTACHED}"), 1), (SITE.to_owned(), 0), (format!("{SITE}{ATTACHED}"), 0)]
    {
        std::fs::write(&bench.control.path, text).unwrap();
        let id = bench.request(Request::Reload);
        let loaded = bench.load();
        bench.input(1_002, loaded);
        for _ in 0..4 {
            bench.turn(1_002);
        }
        assert!(bench.reloaded(id).is_some_and(|result| result.is_ok()));
        assert_eq!(bench.in_flight().len(), moving);
    }
}

#[test]
fn packets_in_flight_go_as_the_move_says_or_else_as_the_node_is_configured() {
    let ways = |bench: &mut Bench, in_flight| {
        let id = bench.set(at(0, VM), departed(in_flight, 9_000));
        bench.turn(1_001);
        assert_eq!(bench.is_set(id), Some(Ok(())));
        match bench.in_flight()[..] {
            [table::InFlight::Onward { tunnel, locator }] => (tunnel.map(|it| it.vni), locator.is_some()),
            [table::InFlight::Drop] => (None, false),
            ref other => panic!("{other:?}"),
        }
    };
    for (name, configured) in InFlight::ALL {
        let mut bench = Bench::with(&format!("{SITE}{ATTACHED}moves: {{in_flight: {name}}}\n"));
        for in_flight in [None, Some(InFlight::Auto), Some(InFlight::Tunnel), Some(InFlight::Retranslate)] {
            let expected = match in_flight.unwrap_or(configured) {
                InFlight::Auto => (Some(100), true),
                InFlight::Tunnel => (Some(100), false),
                InFlight::Retranslate => (None, true),
                InFlight::Drop => (None, false),
            };
            assert_eq!(ways(&mut bench, in_flight), expected, "{name} {in_flight:?}");
        }
    }
}

#[test]
fn the_time_of_packets_in_flight_ends_by_itself() {
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}"));
    let _ = bench.set(at(0, VM), departed(None, 2_000));
    bench.turn(1_999);
    assert!(matches!(bench.in_flight()[..], [table::InFlight::Onward { .. }]));
    bench.turn(2_000);
    assert_eq!(bench.in_flight(), [table::InFlight::Follow]);
}

#[test]
fn a_tunnel_needs_a_network_identifier_of_24_bits() {
    let mut bench = Bench::with(SITE);
    let wide = at(8, Mac([2, 0, 0, 0, 1, 3]));
    for (key, why) in [(wide, "VNID 16777216 does not fit"), (at(9, TASK), "SIR domain tasks has no VXLAN")] {
        for presence in [expected(), departed(Some(InFlight::Tunnel), 9_000)] {
            let id = bench.set(key, presence);
            bench.turn(1_000);
            let refused = bench.is_set(id).unwrap().unwrap_err().to_string();
            assert!(refused.starts_with(why), "{refused}");
        }
        // Without a tunnel it moves nevertheless.
        for presence in [Presence::Expected(Tunnels::default()), departed(None, 9_000)] {
            let id = bench.set(key, presence);
            bench.turn(1_000);
            assert_eq!(bench.is_set(id), Some(Ok(())));
        }
        assert!(matches!(bench.in_flight().pop(), Some(table::InFlight::Onward { tunnel: None, .. })));
    }
}

/// Whom the node asked by ARP since the last call: VLAN and address.
fn asked(bench: &Bench) -> Vec<(u16, u32)> {
    let frames = std::iter::from_fn(|| bench.exchange.to_send.pop());
    let of = |frame: Frame| {
        let link = ethernet::parse(&frame.bytes)?;
        let message = crate::net::arp::parse(link.ethertype, frame.bytes.get(link.header..)?).ok()?;
        let is_asked = message.kind() == crate::net::arp::Kind::Request;
        is_asked.then_some((link.vlan, message.target))
    };
    frames.filter_map(of).collect()
}

#[test]
fn vmm_4_2_when_one_has_left_those_that_stay_are_asked_and_whoever_is_silent_is_shown() {
    const STAYS: &str = "moves: {scan_interval_s: 0}\n";
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}{STAYS}"));
    bench.turn(1_000);
    let _ = asked(&bench);
    for now_ms in (1_100..90_000).step_by(500) {
        bench.turn(now_ms);
    }
    assert_eq!(asked(&bench), [], "nobody has left");
    let _ = bench.set(at(0, VM), departed(None, 900_000));
    let silent = at(8, Mac([2, 0, 0, 0, 1, 3]));
    let answer = Notice::Answered { at: at(7, Mac([2, 0, 0, 0, 1, 2])), address: [10, 0, 0, 6].into() };
    let mut all = Vec::new();
    for now_ms in (90_000..100_000).step_by(100) {
        bench.turn(now_ms);
        let now = asked(&bench);
        if now.contains(&(7, 0x0a00_0006)) {
            bench.input(now_ms, Input::Notice(answer));
        }
        all.extend(now);
    }
    all.sort_unstable();
    // One answers at once, the other never does; who has left is not asked.
    assert_eq!(all, [(7, 0x0a00_0006), (8, 0x0a00_0006), (8, 0x0a00_0006), (8, 0x0a00_0006)]);
    let counts = |bench: &Bench| bench.control.stats.events.counts().collect::<HashMap<_, _>>();
    assert_eq!((counts(&bench)["silent"], counts(&bench)["answers"]), (1, 0));
    let shown = |bench: &Bench| {
        let views = bench.control.attachment_views();
        views.into_iter().filter(|view| !view.silent.is_empty()).map(|view| view.mac).collect::<Vec<_>>()
    };
    // The task is asked by Neighbour Solicitation, and has no network whose operators are told.
    assert_eq!(shown(&bench), [silent.mac.to_string(), TASK.to_string()]);
    bench.input(100_000, Input::Notice(Notice::Answered { at: silent, address: [10, 0, 0, 6].into() }));
    assert_eq!((counts(&bench)["answers"], shown(&bench)), (1, vec![TASK.to_string()]));
}

#[test]
fn who_has_an_address_no_more_is_not_silent_at_it() {
    const STAYS: &str = "moves: {scan_interval_s: 0}\n";
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}{STAYS}"));
    bench.turn(1_000);
    let _ = bench.set(at(0, VM), departed(None, 900_000));
    for now_ms in (2_000..9_000).step_by(100) {
        bench.turn(now_ms);
    }
    let silent = |bench: &Bench| {
        let views = bench.control.attachment_views();
        views.into_iter().flat_map(|view| view.silent).map(|it| it.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(silent(&bench), ["10.0.0.6", "10.0.0.6", "2001:db8:dddd:0:2000::9"]);
    // One of them has another address now, and the task is no more.
    let text = format!("{SITE}{ATTACHED}{STAYS}").replacen("[10.0.0.6]", "[10.0.0.7]", 1);
    let without: String = text.split_inclusive('\n').filter(|line| !line.contains("2000::9")).collect();
    std::fs::write(&bench.control.path, without).unwrap();
    let id = bench.request(Request::Reload);
    let loaded = bench.load();
    bench.input(9_000, loaded);
    for _ in 0..4 {
        bench.turn(9_000);
    }
    assert!(bench.reloaded(id).is_some_and(|result| result.is_ok()));
    assert_eq!(silent(&bench), ["10.0.0.6"]);
}

#[test]
fn vmm_10_all_are_asked_from_time_to_time() {
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}moves: {{scan_interval_s: 60}}\n"));
    bench.turn(0);
    let _ = asked(&bench);
    for round in 1..3u64 {
        let mut all = Vec::new();
        for now_ms in (60_000 * round..60_000 * round + 8_000).step_by(100) {
            bench.turn(now_ms);
            all.extend(asked(&bench));
        }
        all.sort_unstable();
        assert_eq!(all.len(), 9, "three hosts, three times each");
    }
}

#[test]
fn what_the_path_of_a_tunnel_takes_is_known_to_workers_and_ages() {
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}moves: {{scan_interval_s: 0}}\n"));
    let _ = bench.set(at(0, VM), departed(Some(InFlight::Tunnel), 9_000_000));
    bench.turn(1_000);
    let mtu = |bench: &Bench| match bench.in_flight()[..] {
        [table::InFlight::Onward { tunnel: Some(tunnel), .. }] => tunnel.mtu,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(mtu(&bench), u16::MAX);
    bench.control.take_path_mtu(crate::path::PathMtu { from: OWN, to: NEXT, mtu: 1_400 });
    bench.turn(2_000);
    assert_eq!(mtu(&bench), 1_400);
    bench.turn(602_000);
    bench.turn(602_010);
    assert_eq!(mtu(&bench), u16::MAX);
}

#[test]
fn what_comes_waits_behind_what_was_held_until_that_has_left_every_worker() {
    let mut bench = Bench::with(&format!("{SITE}{ATTACHED}"));
    let _ = bench.set(at(0, VM), expected());
    bench.turn(1_000);
    let id = bench.set(at(0, VM), Presence::default());
    bench.turn(1_001);
    assert_eq!(bench.is_set(id), Some(Ok(())), "it is in force");
    let released = |bench: &Bench, number| {
        bench.control.stats.workers[0].polls.released.store(number, Ordering::Release);
    };
    let waits = |bench: &Bench| !bench.control.publisher.current().moves.released.is_empty();
    released(&bench, bench.control.publisher.number() - 1);
    bench.turn(1_010);
    assert!(waits(&bench), "the worker still has some");
    released(&bench, bench.control.publisher.number());
    bench.turn(1_020);
    assert!(!waits(&bench));
    assert_eq!(bench.control.publisher.current().moves, table::Moves::default());
    // A worker that never says so is not waited for.
    let _ = bench.set(at(0, VM), expected());
    bench.turn(2_000);
    let _ = bench.set(at(0, VM), Presence::default());
    for now_ms in [2_010, 2_500, 3_000] {
        bench.turn(now_ms);
        assert!(waits(&bench));
    }
    bench.turn(3_040);
    assert!(!waits(&bench));
}

#[test]
fn a_sign_of_life_is_passed_on() {
    let mut bench = Bench::with(SITE);
    let notice = Notice::Seen { at: at(0, VM), sign: Sign::Reverse };
    bench.input(1_000, Input::Notice(notice));
    assert_eq!(bench.for_authority, [ForAuthority::Seen(at(0, VM), Sign::Reverse)]);
}
