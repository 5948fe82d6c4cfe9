//! What a host caches of its router comes from its network or its SIR domain, and is the same at every node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::net::{Mac, arp};
use ilagate::node::rib::Rib;
use ilagate::path::{Ctx, DropReason, Limiter, Notice, Packet, Pipeline};
use ilagate::table::{AttachmentKey, PortId};
use support::packets::*;
use support::tenants::*;
use support::*;

/// VM1's node and another node that VM1 may move to: another locator, other devices, other addresses, its own router
/// advertisement.
fn two_nodes() -> [Node; 2] {
    let access = r#", router_advertisement: {lifetime_s: 9000, prefix: "2001:db8:dddd::/64"}"#;
    let rules = Rules { access, ..Rules::default() };
    let (here, mapped) = written(L1, &rules);
    let there = here
        .replace("02:00:00:00:00:21", "02:00:00:00:00:77")
        .replace("02:00:00:00:00:20", "02:00:00:00:00:78");
    assert_ne!(here, there);
    [Node::new(&here, &mapped), Node::new(&there, &mapped)]
}

fn discovery(from: u128, to: u128, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = ipv6(from, to, 58, &icmp6(from, to, kind, 0, rest));
    packet[7] = 255;
    packet
}

fn solicitation(from: u128, target: u128) -> Vec<u8> {
    let group = ilagate::net::ipv6::solicited_node(target);
    let option = [&[1, 1], &VM1.0[..]].concat();
    let rest =
        [&[0; 4][..], &target.to_be_bytes()[..], if from == 0 { &option[..0] } else { &option[..] }].concat();
    frame(Mac::of_ipv6_multicast(group), VM1, &discovery(from, group, 135, &rest))
}

fn router_solicitation(mac: Mac) -> Vec<u8> {
    let (from, group) = (mac.link_local(), address("ff02::2"));
    frame(Mac::of_ipv6_multicast(group), mac, &discovery(from, group, 133, &[0; 4]))
}

fn vm1() -> u128 {
    address("2001:db8:a::1")
}

/// Target, flags, and the MAC addresses in the link header and in the option of a Neighbour Advertisement.
fn advertised(frame: &[u8]) -> (u128, u8, [u8; 6], [u8; 6]) {
    assert_eq!((frame[54], checksum_ok(&frame[14..])), (136, Some(true)));
    let target = u128::from_be_bytes(frame[62..78].try_into().unwrap());
    (target, frame[58] >> 5, frame[6..12].try_into().unwrap(), frame[80..86].try_into().unwrap())
}

#[test]
fn what_a_tenant_gets_from_its_router_is_the_same_at_every_node() {
    let gateway = address("2001:db8:a::ffff:fffe");
    let [mut here, mut there] = two_nodes();
    for asked in [
        router_solicitation(VM1),
        solicitation(vm1(), ANYCAST.link_local()),
        solicitation(vm1(), gateway),
        solicitation(0, ANYCAST.link_local()),
        solicitation(vm1(), address("2001:db8:a::2")),
        arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_00fe), 0),
    ] {
        let answer = here.receive("access0", &asked).through("access0");
        assert_eq!(answer, there.receive("access0", &asked).through("access0"));
        assert_eq!(answer[6..12], ANYCAST.0);
    }
}

#[test]
fn a_tenants_router_advertisement_has_the_prefix_mtu_and_lifetime_of_its_network() {
    let answer = two_nodes()[0].receive("access0", &router_solicitation(VM1)).through("access0");
    let l3 = &answer[14..];
    assert_eq!((source(l3), checksum_ok(l3)), (ANYCAST.link_local(), Some(true)));
    let packet = ilagate::net::ndp::router_advert(l3).unwrap();
    let (advert, prefixes) = packet;
    assert_eq!((advert.lifetime_s, advert.mtu, advert.source_mac), (1800, Some(1500), Some(ANYCAST)));
    let prefixes: Vec<_> = prefixes.map(|p| (p.prefix.to_string(), p.on_link, p.autonomous)).collect();
    assert_eq!(prefixes, [("2001:db8:a::/96".to_owned(), true, false)]);
}

#[test]
fn a_tenant_without_ipv6_addresses_gets_no_router_advertisement() {
    let attachments =
        "  - {name: vm9, port: access0, mac: \"02:00:00:00:01:09\", network: red, addresses: [\"10.0.0.9\"]}";
    let access = ", router_advertisement: {lifetime_s: 9000}";
    let mut node = host_with(L1, &Rules { attachments, access, ..Rules::default() });
    let outcome = node.receive("access0", &router_solicitation(Mac([2, 0, 0, 0, 1, 9])));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdNotForUs));
}

#[test]
fn the_routers_addresses_are_defended_against_duplicates() {
    let [mut node, _] = two_nodes();
    for (target, router) in [(ANYCAST.link_local(), 0b101), (address("2001:db8:a::ffff:fffe"), 0b101)] {
        let answer = node.receive("access0", &solicitation(0, target)).through("access0");
        assert_eq!(&answer[..6], &[0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(advertised(&answer), (target, router, ANYCAST.0, ANYCAST.0));
        // Nor may a tenant advertise it, or speak from it.
        let rest = [&[0x20, 0, 0, 0], &target.to_be_bytes()[..], &[2, 1], &VM1.0[..]].concat();
        let stolen = discovery(vm1(), address("ff02::1"), 136, &rest);
        let outcome = node.receive("access0", &frame(Mac([0x33, 0x33, 0, 0, 0, 1]), VM1, &stolen));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource), "{target:x}");
        let outcome = node.receive("access0", &solicitation(target, vm1()));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource), "{target:x}");
    }
}

#[test]
fn a_tenant_meets_neither_the_port_nor_the_router_of_tasks() {
    let access = ", addresses: [\"2001:db8:77::1/64\"]";
    let mut node = host_with(L1, &Rules { access, ..Rules::default() });
    for target in [address("2001:db8:77::1"), TASK_ROUTER.link_local(), NVE_ACCESS.link_local()] {
        let outcome = node.receive("access0", &solicitation(vm1(), target));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdNotForUs), "{target:x}");
    }
    let packet = ipv6(vm1(), address("2001:db8:a::2"), 17, &udp(vm1(), address("2001:db8:a::2"), b"data"));
    for mac in [NVE_ACCESS, TASK_ROUTER] {
        let outcome = node.receive("access0", &frame(mac, VM1, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::NotOurMac), "{mac}");
    }
}

#[test]
fn the_link_local_address_of_the_router_answers_echo() {
    let [mut node, _] = two_nodes();
    let (from, to) = (VM1.link_local(), ANYCAST.link_local());
    let asked = ipv6(from, to, 58, &icmp6(from, to, 128, 0, &[0, 1, 0, 2, 7, 7]));
    let answer = node.receive("access0", &frame(ANYCAST, VM1, &asked)).through("access0");
    assert_eq!((&answer[..6], &answer[6..12]), (&VM1.0[..], &ANYCAST.0[..]));
    assert_eq!((source(&answer[14..]), answer[54], checksum_ok(&answer[14..])), (to, 129, Some(true)));
}

#[test]
fn what_is_delivered_comes_from_the_router_that_the_host_sees() {
    // From another tenant of the host, and from the fabric.
    let mut other = host(L2);
    let (vm2, vm1) = (address("2001:db8:a::2"), vm1());
    let sent = frame(ANYCAST, VM2, &ipv6(vm2, vm1, 17, &udp(vm2, vm1, b"data")));
    let carried = other.receive("access0", &sent).forwarded("fabric0");
    for node in &mut two_nodes()[..1] {
        let received =
            node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &carried[14..])).forwarded("access0");
        assert_eq!((&received[..6], &received[6..12]), (&VM1.0[..], &ANYCAST.0[..]));
    }
}

#[test]
fn tasks_see_the_router_of_their_domain_at_every_node() {
    let attached = [("2001:db8:dddd:0:2000::1".to_owned(), TASK)];
    let node = || nve(ilagate::ila::ChecksumMode::default(), L1, &attached, &[]);
    let answer = node().receive("access0", &router_solicitation(TASK)).through("access0");
    assert_eq!((&answer[6..12], source(&answer[14..])), (&TASK_ROUTER.0[..], TASK_ROUTER.link_local()));
    // The MAC address of the device is nobody's.
    let (from, to) = (address("2001:db8:dddd:0:2000::1"), address("2001:db8:1::99"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"data"));
    let outcome = node().receive("access0", &frame(NVE_ACCESS, TASK, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NotOurMac));
    assert_eq!(node().receive("access0", &frame(TASK_ROUTER, TASK, &packet)).fate, Fate::Forwarded);
    // A probe for the router's own address is answered, so that no task takes it.
    let group = ilagate::net::ipv6::solicited_node(TASK_ROUTER.link_local());
    let rest = [&[0; 4], &TASK_ROUTER.link_local().to_be_bytes()[..]].concat();
    let probe = frame(Mac::of_ipv6_multicast(group), TASK, &discovery(0, group, 135, &rest));
    let answer = node().receive("access0", &probe).through("access0");
    assert_eq!(advertised(&answer).0, TASK_ROUTER.link_local());
}

#[test]
fn a_reverse_request_is_answered_by_the_router_of_the_network() {
    let [mut here, mut there] = two_nodes();
    let operation = arp::Operation::ReverseRequest;
    let asked = arp::Arp { operation, sender_mac: VM1, sender: 0, target_mac: VM1, target: 0 };
    let answer = here.receive("access0", &arp_frame(&asked, 0)).through("access0");
    assert_eq!(answer, there.receive("access0", &arp_frame(&asked, 0)).through("access0"));
    assert_eq!(answer[6..12], ANYCAST.0);
}

#[test]
fn errors_about_a_tenants_packets_come_from_the_router_of_its_network_and_from_no_address_of_the_node() {
    let lost = |from: u128, to: &str, hop_limit: u8, bytes: usize| {
        let to = address(to);
        let mut packet = ipv6(from, to, 17, &udp(from, to, &vec![7; bytes]));
        packet[7] = hop_limit;
        packet
    };
    let (text, mapped) = written(L1, &Rules::default());
    let without = text
        .replace(r#", gateway: "2001:db8:a::ffff:fffe"}"#, "}")
        .replace(r#", gateway: "2001:db8:b::ffff:fffe"}"#, "}");
    assert_ne!(text, without);
    let router = ANYCAST.link_local();
    for (text, red, blue) in [
        (&text, address("2001:db8:a::ffff:fffe"), address("2001:db8:b::ffff:fffe")),
        (&without, router, router),
    ] {
        let mut node = Node::new(text, &mapped);
        for (to, hop_limit, bytes, reason) in [
            ("2001:db8:a::2", 1, 4, DropReason::HopLimit),
            ("2001:db8:a::77", 64, 4, DropReason::NoMapping),
            ("2001:db8:a::2", 64, 1460, DropReason::PacketTooBig),
            ("2001:db8:99::1", 64, 4, DropReason::NoPolicy),
        ] {
            let packet = lost(vm1(), to, hop_limit, bytes);
            let outcome = node.receive("access0", &frame(ANYCAST, VM1, &packet));
            assert_eq!(outcome.fate, Fate::Replied(Some(reason)));
            let answer = outcome.through("access0");
            assert_eq!(answer[..12], [VM1.0, ANYCAST.0].concat());
            assert_eq!((source(&answer[14..]), checksum_ok(&answer[14..])), (red, Some(true)), "{reason:?}");
            // On a VLAN.
            let packet = lost(address("2001:db8:b::3"), "2001:db8:b::77", 64, 4);
            let asked = tagged(ANYCAST, VM3, 7, &packet);
            let answer = node.receive("access0", &asked).through("access0");
            assert_eq!(answer[..16], [&VM3.0[..], &ANYCAST.0, &[0x81, 0, 0, 7]].concat());
            assert_eq!((source(&answer[18..]), checksum_ok(&answer[18..])), (blue, Some(true)));
        }
    }
}

/// What the control thread hears of a reverse request of `vm` for `wanted`, sent so many times.
fn heard_of_reverse_request(vm: (Mac, u16), wanted: Mac, times: usize) -> Vec<Notice> {
    let (text, _) =
        written(L1, &Rules { vm1: ", limits: {rarp: {per_second: 2, burst: 2}}", ..Rules::default() });
    let config = ilagate::config::Config::parse(&text, "test.yaml").unwrap();
    let tables = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1).compile();
    let mut pipeline = Pipeline::new(Limiter::new(10, 10));
    let operation = arp::Operation::ReverseRequest;
    let asked = arp::Arp { operation, sender_mac: vm.0, sender: 0, target_mac: wanted, target: 0 };
    for _ in 0..times {
        let (mut room, bytes) = (vec![0; 2176], arp_frame(&asked, vm.1));
        room[128..128 + bytes.len()].copy_from_slice(&bytes);
        let mut burst = [Packet::new(&mut room, 128, 128 + bytes.len() as u16, PortId(1))];
        pipeline.run(&mut burst, &Ctx { tables: &tables, now_ms: 1 });
    }
    pipeline.take_notices().0.to_vec()
}

#[test]
fn whom_a_hypervisor_announces_by_rarp_has_arrived() {
    for (mac, vlan) in [(VM1, 0), (VM3, 7)] {
        let at = AttachmentKey { port: PortId(1), vlan, mac };
        assert_eq!(heard_of_reverse_request((mac, vlan), mac, 1), [Notice::Arrival { at }]);
    }
    // Who asks for another one has not moved, nor is a stranger here; and nobody floods the control thread.
    assert_eq!(heard_of_reverse_request((VM1, 0), VM2, 1), []);
    assert_eq!(heard_of_reverse_request((VM2, 0), VM2, 1), []);
    assert_eq!(heard_of_reverse_request((VM1, 0), VM1, 10).len(), 2);
}

#[test]
fn where_packets_to_unknown_tenants_are_routed_a_tenants_prefix_is_not_on_link() {
    let (text, mapped) = written(L1, &Rules::default());
    for (on_miss, on_link) in [("drop", true), ("route", false)] {
        let with = format!("router_mac: \"{TASK_ROUTER}\", on_miss: {on_miss}");
        let mut node = Node::new(&text.replace(&format!("router_mac: \"{TASK_ROUTER}\""), &with), &mapped);
        let answer = node.receive("access0", &router_solicitation(VM1)).through("access0");
        let (_, prefixes) = ilagate::net::ndp::router_advert(&answer[14..]).unwrap();
        let prefixes: Vec<_> = prefixes.map(|p| (p.prefix.to_string(), p.on_link, p.autonomous)).collect();
        assert_eq!(prefixes, [("2001:db8:a::/96".to_owned(), on_link, false)]);
        // Nobody answers for who is unknown, and only the router sends on to them.
        let (from, to) = (vm1(), address("2001:db8:a::77"));
        let asked = node.receive("access0", &solicitation(from, to));
        assert_eq!(asked.fate, Fate::Dropped(DropReason::NdNotForUs));
        let packet = ipv6(from, to, 17, &udp(from, to, b"data"));
        let outcome = node.receive("access0", &frame(ANYCAST, VM1, &packet));
        assert_eq!(outcome.fate == Fate::Forwarded, !on_link, "{outcome:?}");
    }
}
