//! When hosts are told of their router, and what.

use super::*;
use crate::net::{arp, ndp::Prefixes, ndp::RouterAdvert, ndp::router_advert};
use crate::table::AttachmentKey;

const VM1: Mac = Mac([2, 0, 0, 0, 1, 1]);
const VM2: Mac = Mac([2, 0, 0, 0, 1, 2]);
const TASK: Mac = Mac([2, 0, 0, 0, 2, 1]);
const GATEWAY: Mac = Mac([2, 0, 0x5e, 0, 0, 0xa]);
const TASKS: Mac = Mac([2, 0, 0x5e, 0, 0, 1]);
const VM1_IPV6: u128 = 0x2001_0db8_000a << 80 | 5;

const NETWORK: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
moves: {scan_interval_s: 0}
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access, addresses: ["2001:db8:2::1/64"], router_advertisement: {interval_s: 10, prefix: "2001:db8:dddd::/64"}}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, mac: "02:00:5e:00:00:0a", mtu: 1400, ipv6: {prefix: "2001:db8:a::/96", gateway: "2001:db8:a::1"}, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}
attachments:
  - {name: vm1, port: a, vlan: 5, mac: "02:00:00:00:01:01", network: red, addresses: [10.0.0.5, "2001:db8:a::5"]}
  - {name: vm2, port: a, vlan: 7, mac: "02:00:00:00:01:02", network: red, addresses: [10.0.0.6]}
  - {name: task, port: a, mac: "02:00:00:00:02:01", identifiers: ["2001:db8:dddd:0:2000::1"]}
"#;

/// One frame to a host.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// A Router Advertisement: lifetime, MTU, and its prefix with the flags on-link and autonomous.
    Router { from: u128, lifetime_s: u16, mtu: Option<u32>, prefix: Option<(u128, u8, bool, bool)> },
    /// An unsolicited Neighbour Advertisement of a router, which overrides.
    Neighbour(u128),
    /// An ARP announcement.
    Arp(u32),
}

/// Frames to one host with the MAC address that they came from, and VLAN and source of those to groups.
type Told = (Vec<(Mac, Said)>, Vec<(u16, u128)>);

/// What `mac` alone was told on the access port since the last call, with the MAC address that it came from. Frames to
/// groups are in the second list, with their VLAN.
fn told(bench: &Bench, mac: Mac) -> Told {
    let (mut own, mut groups) = (Vec::new(), Vec::new());
    for frame in std::iter::from_fn(|| bench.exchange.to_send.pop()).filter(|frame| frame.port == ACCESS) {
        let link = ethernet::parse(&frame.bytes).unwrap();
        let (to, from) =
            (ethernet::destination(&frame.bytes).unwrap(), ethernet::source(&frame.bytes).unwrap());
        let packet = &frame.bytes[link.header..];
        if to.is_multicast() && ndp::parse(packet).is_err() {
            // Queries for group members, which come from the gateway.
            assert_eq!((from, link.vlan != 0), (GATEWAY, true));
        } else if to.is_multicast() {
            groups.push((link.vlan, ipv6::Ipv6::of(packet).unwrap().source()));
        } else if to == mac {
            own.push((from, read(link.ethertype, packet, from)));
        }
    }
    (own, groups)
}

fn read(ethertype: u16, packet: &[u8], from: Mac) -> Said {
    if ethertype == ethernet::ARP {
        let message = arp::parse(ethertype, packet).unwrap();
        assert_eq!((message.kind(), message.sender_mac), (arp::Kind::Gratuitous, from));
        return Said::Arp(message.sender);
    }
    let source = ipv6::Ipv6::of(packet).unwrap().source();
    match ndp::parse(packet).unwrap() {
        Message::Advertisement { target, target_mac, solicited, override_flag, .. } => {
            assert_eq!((source, target_mac, solicited, override_flag), (target, Some(from), false, true));
            Said::Neighbour(target)
        }
        _ => {
            let (advert, mut prefixes): (RouterAdvert, Prefixes<'_>) = router_advert(packet).unwrap();
            assert_eq!(advert.source_mac, Some(from));
            let prefix = prefixes
                .next()
                .map(|found| (found.prefix.bits(), found.prefix.length(), found.on_link, found.autonomous));
            Said::Router { from: source, lifetime_s: advert.lifetime_s, mtu: advert.mtu, prefix }
        }
    }
}

fn router(lifetime_s: u16) -> Said {
    let prefix = Some((0x2001_0db8_000a << 80, 96, true, false));
    Said::Router { from: GATEWAY.link_local(), lifetime_s, mtu: Some(1400), prefix }
}

/// All that vm1 is told when it arrives.
fn whole() -> Vec<(Mac, Said)> {
    let gateway = 0x2001_0db8_000a << 80 | 1;
    let said = [
        router(1800),
        Said::Neighbour(GATEWAY.link_local()),
        Said::Neighbour(gateway),
        Said::Arp(0x0a00_0001),
    ];
    said.map(|said| (GATEWAY, said)).into_iter().collect()
}

fn announces(bench: &Bench, mac: Mac, vlan: u16, address: u128) {
    let mut frame = [0; ndp::MAX_FRAME];
    let to_mac = Mac::of_ipv6_multicast(ipv6::ALL_NODES);
    let envelope = Envelope { to_mac, from_mac: mac, vlan, source: address, destination: ipv6::ALL_NODES };
    let length = ndp::advertisement(&mut frame, envelope, address, false, true);
    bench.exchange.punted.push(Frame::new(ACCESS, &frame[..length]).unwrap()).unwrap();
}

#[test]
fn a_tenant_is_told_of_the_router_of_its_network_and_nothing_of_the_port() {
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    let (own, groups) = told(&bench, VM1);
    assert_eq!(own, whole());
    // The port speaks for itself only where tasks are, as the router of their domain.
    assert!(!groups.is_empty());
    assert!(groups.iter().all(|(vlan, _)| *vlan == 0), "{groups:x?}");
    let link_local = TASKS.link_local();
    assert!(groups.iter().any(|(_, source)| *source == link_local), "{groups:x?}");
}

#[test]
fn a_tenant_without_ipv6_gets_no_router_advertisement() {
    let mut bench = Bench::with(NETWORK);
    for now in 0..2_000 {
        bench.turn(now * 1_000);
        for (from, said) in told(&bench, VM2).0 {
            assert_eq!((from, said), (GATEWAY, Said::Arp(0x0a00_0001)), "at {now}");
        }
    }
}

#[test]
fn the_default_router_of_a_tenant_never_times_out() {
    let mut bench = Bench::with(NETWORK);
    let (mut heard, mut pauses) = (Vec::new(), std::collections::BTreeSet::new());
    for now in 0..4 * 3_600 {
        bench.turn(now * 1_000);
        for (_, said) in told(&bench, VM1).0 {
            if matches!(said, Said::Router { .. }) {
                assert_eq!(said, router(1800));
                heard.push(now);
            }
        }
    }
    pauses.extend(heard.windows(2).skip(3).map(|pair| pair[1] - pair[0]));
    // RFC 4861 §6.2.4: the first three at most 16 s apart, then between the least and the longest interval.
    assert!(heard[..3].windows(2).all(|pair| pair[1] - pair[0] <= 16), "{heard:?}");
    assert!(pauses.iter().all(|pause| (200..=601).contains(pause)) && pauses.len() > 5, "{pauses:?}");
}

#[test]
fn who_arrives_is_told_at_once_and_who_announces_itself_all_the_time_every_three_seconds() {
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    let _ = told(&bench, VM1);
    bench.turn(100_000);
    let _ = told(&bench, VM1);
    announces(&bench, VM1, 5, VM1_IPV6);
    bench.turn(100_010);
    assert_eq!(told(&bench, VM1).0, whole());
    // By RARP, which names no address of it.
    bench.turn(104_000);
    let at = AttachmentKey { port: ACCESS, vlan: 5, mac: VM1 };
    bench.exchange.notices.push(Notice::Arrival { at }).unwrap();
    let _ = told(&bench, VM1);
    bench.turn(104_010);
    assert_eq!(told(&bench, VM1).0, whole());
    let mut times = 0;
    for now in 0..1_000 {
        announces(&bench, VM1, 5, VM1_IPV6);
        bench.turn(104_020 + 10 * now);
        times += told(&bench, VM1).0.iter().filter(|(_, said)| *said == Said::Arp(0x0a00_0001)).count();
    }
    assert!((3..=4).contains(&times), "{times} in 10 s");
    // A task as well; who is nobody here is told nothing.
    announces(&bench, TASK, 0, 0x2001_0db8_dddd_0000_2000 << 48 | 1);
    announces(&bench, PEER, 0, 0x2001_0db8_dddd_0000_2000 << 48 | 9);
    bench.turn(200_000);
    let (task, _) = told(&bench, TASK);
    assert!(task.iter().any(|(from, said)| (*from, said) == (TASKS, &Said::Neighbour(TASKS.link_local()))));
    let own_router = |said: &Said| matches!(said, Said::Router { from, .. } if *from == TASKS.link_local());
    assert!(task.iter().any(|(_, said)| own_router(said)), "{task:x?}");
}

#[test]
fn a_router_that_is_none_any_more_is_withdrawn() {
    for (what, changed) in [
        ("the tenant", NETWORK.replace("  - {name: vm1,", "  # {name: vm1,")),
        ("its ipv6", NETWORK.replace("addresses: [10.0.0.5, \"2001:db8:a::5\"]", "addresses: [10.0.0.5]")),
    ] {
        let mut bench = Bench::with(NETWORK);
        bench.turn(0);
        let _ = told(&bench, VM1);
        bench.reload(&changed).unwrap();
        let (own, _) = told(&bench, VM1);
        assert_eq!(own.first(), Some(&(GATEWAY, router(0))), "{what}: {own:x?}");
        assert!(!own.contains(&(GATEWAY, router(1800))), "{what}: {own:x?}");
    }
    // Who gets another router hears of the end of the old one first.
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    let _ = told(&bench, VM1);
    bench.reload(&NETWORK.replace("02:00:5e:00:00:0a", "02:00:5e:00:00:0b")).unwrap();
    let (own, _) = told(&bench, VM1);
    let other = Mac([2, 0, 0x5e, 0, 0, 0xb]);
    assert_eq!(own.first(), Some(&(GATEWAY, router(0))));
    assert!(own.iter().skip(1).all(|(from, _)| *from == other) && own.len() == 5, "{own:x?}");
    // The node stops.
    bench.input(1_000, Input::Stop);
    bench.send_queue.flush(&bench.exchange);
    let (own, groups) = told(&bench, VM1);
    assert!(matches!(own[..], [(from, Said::Router { lifetime_s: 0, .. })] if from == other), "{own:x?}");
    assert!(groups.iter().all(|(vlan, source)| (*vlan, *source) == (0, TASKS.link_local())));
}

#[test]
fn tasks_hear_of_another_router_of_their_domain() {
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    let _ = told(&bench, TASK);
    let with = "prefix: \"2001:db8:dddd::/64\", router_mac: \"02:00:5e:00:00:02\"}]";
    bench.reload(&NETWORK.replacen("prefix: \"2001:db8:dddd::/64\"}]", with, 1)).unwrap();
    bench.turn(LINKS_MS + 10);
    let (own, groups) = told(&bench, TASK);
    let other = Mac([2, 0, 0x5e, 0, 0, 2]);
    // The last words of the old one, then the new one, to all and to each.
    assert_eq!(groups.first(), Some(&(0, TASKS.link_local())));
    assert!(groups.contains(&(0, other.link_local())), "{groups:x?}");
    assert!(own.contains(&(other, Said::Neighbour(other.link_local()))), "{own:x?}");
}

#[test]
fn who_is_attached_while_the_node_runs_is_told_at_once() {
    let less = NETWORK.replace("  - {name: vm1,", "  # {name: vm1,").replace("  - {name: task,", "  # {");
    let mut bench = Bench::with(&less);
    bench.turn(0);
    let _ = told(&bench, VM1);
    bench.reload(NETWORK).unwrap();
    assert_eq!(told(&bench, VM1).0, whole());
}

#[test]
fn nobody_is_told_over_a_link_that_is_down_and_all_when_it_comes_up() {
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    bench.links = [true, false];
    bench.turn(1_000);
    let _ = told(&bench, VM1);
    for now in 2..2_000 {
        bench.turn(now * 1_000);
        assert_eq!(told(&bench, VM1), (Vec::new(), Vec::new()), "at {now}");
    }
    bench.links = [true, true];
    bench.turn(2_000_000);
    assert_eq!(told(&bench, VM1).0, whole());
}

/// What groups on the access port were told since the last call: the source, and the lifetime of a Router
/// Advertisement.
fn told_to_groups(bench: &mut Bench) -> Vec<(u128, Option<u16>)> {
    bench.send_queue.flush(&bench.exchange);
    let frames = std::iter::from_fn(|| bench.exchange.to_send.pop()).filter(|frame| frame.port == ACCESS);
    let read = |frame: Frame| {
        let link = ethernet::parse(&frame.bytes)?;
        let packet = &frame.bytes[link.header..];
        ethernet::destination(&frame.bytes).filter(|to| to.is_multicast() && link.vlan == 0)?;
        let lifetime = router_advert(packet).ok().map(|(advert, _)| advert.lifetime_s);
        Some((ipv6::Ipv6::of(packet)?.source(), lifetime))
    };
    frames.filter_map(read).collect()
}

/// Has a configuration read, and takes it over at `now_ms`. No snapshot has it yet.
fn take_over(bench: &mut Bench, now_ms: u64, config: &str) {
    std::fs::write(&bench.control.path, config).unwrap();
    bench.input(now_ms, Input::Reload);
    let loaded = bench.load();
    bench.input(now_ms, loaded);
    bench.input(now_ms, Input::Update);
    assert!(bench.control.unpublished);
}

#[test]
fn a_router_that_was_withdrawn_is_silent_until_the_next_one_is_published() {
    let with = "prefix: \"2001:db8:dddd::/64\", router_mac: \"02:00:5e:00:00:02\"}]";
    let changed = NETWORK.replacen("prefix: \"2001:db8:dddd::/64\"}]", with, 1);
    let (old, new) = (TASKS.link_local(), Mac([2, 0, 0x5e, 0, 0, 2]).link_local());
    let mut bench = Bench::with(NETWORK);
    (0..40).for_each(|now| bench.turn(now * 1_000));
    let _ = told_to_groups(&mut bench);
    take_over(&mut bench, 40_000, &changed);
    // Time passes, and the link is looked at and comes back meanwhile.
    for up in [true, false, true] {
        bench.input(40_500, Input::Links(states([true, up])));
        bench.input(40_500, Input::Tick);
    }
    assert_eq!(told_to_groups(&mut bench), [(old, Some(0))]);
    bench.turn(40_600);
    bench.turn(41_000);
    let told = told_to_groups(&mut bench);
    assert!(told.iter().all(|(source, _)| *source != old), "{told:x?}");
    assert!(told.contains(&(new, None)), "{told:x?}");
    assert!(told.iter().any(|(source, lifetime)| *source == new && lifetime.is_some_and(|s| s > 0)));
}

#[test]
fn a_node_that_stops_right_after_a_reload_or_a_change_of_the_link_withdraws_itself() {
    for reloads in [true, false] {
        let mut bench = Bench::with(NETWORK);
        bench.turn(0);
        match reloads {
            true => {
                take_over(&mut bench, 1_000, &NETWORK.replace("10.0.0.6", "10.0.0.7"));
                bench.input(1_000, Input::Update);
            }
            false => {
                bench.input(1_000, Input::Links(states([true, false])));
                bench.input(1_000, Input::Links(states([true, true])));
            }
        }
        let _ = told_to_groups(&mut bench);
        bench.input(1_000, Input::Stop);
        assert_eq!(told_to_groups(&mut bench), [(TASKS.link_local(), Some(0))], "{reloads}");
    }
}

#[test]
fn who_was_told_by_others_than_this_thread_hears_of_the_end_too() {
    // A worker answers whoever asks, and a task hears the advertisements of its port.
    let mut bench = Bench::with(NETWORK);
    bench.turn(0);
    let _ = told(&bench, TASK);
    bench.reload(&NETWORK.replace("  - {name: task,", "  # {name: task,")).unwrap();
    let (own, _) = told(&bench, TASK);
    let is_last =
        |said: &Said| matches!(said, Said::Router { from, lifetime_s: 0, .. } if *from == TASKS.link_local());
    assert!(own.len() == 1 && is_last(&own[0].1), "{own:x?}");
    // Attached, and not told by this thread before the node stops.
    let mut bench = Bench::with(&NETWORK.replace("  - {name: vm1,", "  # {name: vm1,"));
    bench.turn(0);
    take_over(&mut bench, 1_000, NETWORK);
    bench.input(1_000, Input::Update);
    let _ = told(&bench, VM1);
    bench.input(1_001, Input::Stop);
    bench.send_queue.flush(&bench.exchange);
    let (own, _) = told(&bench, VM1);
    assert!(matches!(own[..], [(GATEWAY, Said::Router { lifetime_s: 0, .. })]), "{own:x?}");
    // Over a link that is down nobody hears it.
    bench.input(1_002, Input::Links(states([true, false])));
    bench.input(1_002, Input::Stop);
    bench.send_queue.flush(&bench.exchange);
    assert_eq!(told(&bench, VM1), (Vec::new(), Vec::new()));
}

#[test]
fn however_many_tenants_arrive_at_once_none_of_their_frames_is_lost() {
    const TENANTS: usize = 2_000;
    let mut config = NETWORK.replace("10.0.0.0/24", "10.0.0.0/16");
    for n in 0..TENANTS {
        let (a, b) = (n / 256, n % 256);
        config += &format!(
            "  - {{port: a, vlan: {}, mac: \"02:00:00:01:{a:02x}:{b:02x}\", network: red, addresses: \
             [10.0.{}.{b}, \"2001:db8:a::1:{n:x}\"]}}\n",
            100 + n,
            a + 1,
        );
    }
    let mut bench = Bench::with(&config);
    bench.input(0, Input::Links(states([true; 2])));
    let (mut told, mut most) = (HashMap::new(), 0);
    for now in 0..2_000 {
        let effects = bench.control.turn(Now::from_ms(now), Input::Tick);
        let frames = effects.iter().filter_map(|effect| match effect {
            Effect::Send(frame) if now > 0 => Some(ethernet::destination(&frame.bytes).unwrap()),
            _ => None,
        });
        let frames: Vec<Mac> = frames.filter(|mac| !mac.is_multicast()).collect();
        most = most.max(frames.len());
        frames.into_iter().for_each(|mac| *told.entry(mac).or_insert(0) += 1);
    }
    // What a worker takes in a millisecond at least.
    assert!(most <= crate::node::exchange::DEPTH + 8, "{most} in one turn");
    assert!(told.values().filter(|frames| **frames == 4).count() > TENANTS - 70, "{}", told.len());
}
