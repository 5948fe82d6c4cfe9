//! What a tenant cannot do to the node, to the fabric and to others, however hard it tries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::mapping::{Batch, Change, Origin};
use ilagate::net::{Mac, arp, checksum, ethernet, ipv4};
use ilagate::node::rib::Rib;
use ilagate::path::{Ctx, DropReason, Limiter, Notice, Packet, Pipeline, Verdict};
use ilagate::table::{PortId, Quarantine};
use support::packets::*;
use support::tenants::*;
use support::*;

const OWN4: u32 = 0x0a00_0001;
const OTHER4: u32 = 0x0a00_0002;

fn own() -> u128 {
    address("2001:db8:a::1")
}

/// The first host, where VM1 and VM3 are, with further keys of VM1's network and of the whole file.
fn limited(network: &'static str, more: &'static str) -> Node {
    host_with(L1, &Rules { red: network, more, ..Rules::default() })
}

/// The same with another tenant of VM1's network on VLAN 8.
fn neighbours() -> Node {
    let attachments = "  - {name: vm5, port: access0, vlan: 8, mac: \"02:00:00:00:01:05\", network: red, \
                       addresses: [\"10.0.0.5\", \"2001:db8:a::5\"]}\n";
    host_with(L1, &Rules { attachments, ..Rules::default() })
}

/// Small limits, so that a few packets show them.
const SMALL: &str = "limits: {arp: {per_second: 10, burst: 3}, nd: {per_second: 10, burst: 3}, \
    rarp: {per_second: 10, burst: 3}, dad: {per_second: 10, burst: 3}, unknown: {per_second: 10, burst: 3}, \
    icmp_errors: {per_second: 10, burst: 2}}";

fn small() -> Node {
    limited(SMALL, "")
}

/// A Neighbour Discovery message of VM1, hop limit 255.
fn discovery(from: u128, to: u128, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = ipv6(from, to, 58, &icmp6(from, to, kind, 0, rest));
    packet[7] = 255;
    let mac = if to >> 120 == 0xff { Mac::of_ipv6_multicast(to) } else { ANYCAST };
    frame(mac, VM1, &packet)
}

fn group_of(target: u128) -> u128 {
    (0xff02u128 << 112) | (1 << 32) | 0xff00_0000 | (target & 0x00ff_ffff)
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

fn solicitation(from: u128, target: u128, source_mac: Option<Mac>) -> Vec<u8> {
    let option = source_mac.map_or(Vec::new(), |mac| option(1, mac));
    discovery(from, group_of(target), 135, &[&[0; 4], &target.to_be_bytes()[..], &option].concat())
}

fn advertisement(from: u128, target: u128, mac: Mac, flags: u8) -> Vec<u8> {
    let all_nodes = (0xff02u128 << 112) | 1;
    let rest = [&[flags, 0, 0, 0], &target.to_be_bytes()[..], &option(2, mac)].concat();
    discovery(from, all_nodes, 136, &rest)
}

fn reverse(target_mac: Mac) -> Vec<u8> {
    let operation = arp::Operation::ReverseRequest;
    arp_frame(&arp::Arp { operation, sender_mac: VM1, sender: 0, target_mac, target: 0 }, 0)
}

fn to_nobody() -> Vec<u8> {
    let to = address("2001:db8:a::77");
    frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, b"x")))
}

/// The fates of so many of the same frame at once.
fn fates(node: &mut Node, frame: &[u8], count: usize) -> Vec<Fate> {
    (0..count).map(|_| node.receive("access0", frame).fate).collect()
}

fn over(fates: &[Fate], reason: DropReason) -> usize {
    fates.iter().filter(|fate| **fate == Fate::Dropped(reason)).count()
}

#[test]
fn each_kind_of_question_has_a_limit_of_its_own_and_a_reason_of_its_own() {
    for (frame, reason) in [
        (arp_frame(&asks(VM1, OWN4, OTHER4), 0), DropReason::ArpRate),
        (arp_frame(&asks(VM1, OWN4, OWN4), 0), DropReason::ArpRate),
        (arp_frame(&asks(VM1, 0, OTHER4), 0), DropReason::DadRate),
        (solicitation(0, address("2001:db8:a::2"), None), DropReason::DadRate),
        (solicitation(own(), address("2001:db8:a::2"), Some(VM1)), DropReason::NdRate),
        (advertisement(own(), own(), VM1, 0x20), DropReason::NdRate),
        (discovery(own(), (0xff02u128 << 112) | 2, 133, &[0; 4]), DropReason::NdRate),
        (reverse(VM1), DropReason::RarpRate),
        (to_nobody(), DropReason::UnknownRate),
        (
            ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 9, 9, 9], 64, b"x")),
            DropReason::UnknownRate,
        ),
    ] {
        let mut node = small();
        assert_eq!(over(&fates(&mut node, &frame, 10), reason), 7, "{reason:?}");
        // Time gives it back, 10 a second.
        node.wait_ms(200);
        assert_eq!(over(&fates(&mut node, &frame, 10), reason), 8, "{reason:?}");
        // And other kinds were never touched.
        for (other, theirs) in [
            (arp_frame(&asks(VM1, OWN4, OTHER4), 0), DropReason::ArpRate),
            (reverse(VM1), DropReason::RarpRate),
        ] {
            if theirs != reason {
                assert_eq!(
                    node.receive("access0", &other).fate,
                    Fate::Replied(None),
                    "{reason:?} {theirs:?}"
                );
            }
        }
    }
}

#[test]
fn one_tenants_flood_takes_nothing_from_another_tenant() {
    let mut node = small();
    fates(&mut node, &arp_frame(&asks(VM1, OWN4, OTHER4), 0), 1000);
    let other = arp_frame(&asks(VM3, OTHER4, 0x0a00_00fe), 7);
    assert_eq!(over(&fates(&mut node, &other, 10), DropReason::ArpRate), 0);
}

#[test]
fn one_tenants_flood_of_announcements_leaves_another_tenant_of_its_port_heard() {
    let [mld, igmp] = reports();
    let (announced, advertised) = (asks(VM1, OWN4, OWN4), advertisement(own(), own(), VM1, 0x20));
    for flood in [&arp_frame(&announced, 0), &advertised, &mld, &igmp] {
        let mut node = host(L1);
        let heard = fates(&mut node, flood, 300).iter().filter(|fate| **fate == Fate::Punted).count();
        assert!((1..=40).contains(&heard), "{heard}");
        let other = arp_frame(&asks(VM3, OTHER4, OTHER4), 7);
        assert_eq!(node.receive("access0", &other).fate, Fate::Punted);
    }
}

#[test]
fn an_attachments_own_limits_count_in_place_of_its_networks() {
    let vm1 = ", limits: {arp: {burst: 5}}";
    let mut node = host_with(L1, &Rules { red: SMALL, vm1, ..Rules::default() });
    assert_eq!(over(&fates(&mut node, &arp_frame(&asks(VM1, OWN4, OTHER4), 0), 10), DropReason::ArpRate), 5);
    assert_eq!(over(&fates(&mut node, &reverse(VM1), 10), DropReason::RarpRate), 7);
}

#[test]
fn errors_to_one_tenant_are_limited_and_leave_the_errors_to_others_alone() {
    let mut node = limited(SMALL, "icmp: {errors_per_second: 1, burst: 3}");
    let to = address("2001:db8:b::3");
    let refused = frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, b"x")));
    let told = fates(&mut node, &refused, 10);
    assert_eq!(told[..2], [Fate::Replied(Some(DropReason::NoPolicy)); 2]);
    // The packets that are beyond it are lost for their own reason.
    assert_eq!(over(&told, DropReason::NoPolicy), 8);
    // What comes from the fabric has the node's own budget, of which tenants used nothing.
    let stale = address("fd00:1:0:1:2000::5");
    let outside = frame(NVE_FABRIC, GATEWAY_FABRIC, &ipv6(IADDR, stale, 17, &udp(IADDR, stale, b"x")));
    let answered: Vec<Fate> = (0..4).map(|_| node.receive("fabric0", &outside).fate).collect();
    assert_eq!(answered[..3], [Fate::Replied(Some(DropReason::NotLocal)); 3]);
    assert_eq!(answered[3], Fate::Dropped(DropReason::NotLocal));
}

#[test]
fn no_errors_for_anybody_means_none_for_tenants() {
    let mut node = limited("", "icmp: {errors_per_second: 0}");
    assert_eq!(node.receive("access0", &to_nobody()).fate, Fate::Dropped(DropReason::NoMapping));
}

#[test]
fn data_between_peers_needs_no_bucket() {
    let mut node = small();
    let to = address("2001:db8:a::2");
    let packet = frame(ANYCAST, VM1, &ipv6(own(), to, 6, &tcp(own(), to, b"data")));
    assert!(fates(&mut node, &packet, 1000).iter().all(|fate| *fate == Fate::Forwarded));
}

#[test]
fn an_announcement_of_a_tenants_own_address_is_heard_and_one_of_anothers_is_spoofed() {
    let mut node = host(L1);
    for operation in [arp::Operation::Request, arp::Operation::Reply] {
        let announce = |sender_mac, sender| arp::Arp { operation, ..asks(sender_mac, sender, sender) };
        let own = node.receive("access0", &arp_frame(&announce(VM1, OWN4), 0));
        assert_eq!(own.fate, Fate::Punted, "{operation:?}");
        let stolen = node.receive("access0", &arp_frame(&announce(VM1, OTHER4), 0));
        assert_eq!(stolen.fate, Fate::Dropped(DropReason::SpoofedSource));
    }
    assert_eq!(node.receive("access0", &advertisement(own(), own(), VM1, 0x20)).fate, Fate::Punted);
    let link_local = address("fe80::ff:fe00:101");
    let local = node.receive("access0", &advertisement(link_local, link_local, VM1, 0x20));
    assert_eq!(local.fate, Fate::Dropped(DropReason::NdNotForUs));
    for (target, mac) in [
        (address("2001:db8:a::2"), VM1),
        (address("2001:db8:a::ffff:fffe"), VM1),
        (ANYCAST.link_local(), VM1),
        (own(), VM2),
    ] {
        let stolen = node.receive("access0", &advertisement(own(), target, mac, 0x20));
        assert_eq!(stolen.fate, Fate::Dropped(DropReason::SpoofedSource), "{target:x} {mac}");
    }
}

#[test]
fn a_tenant_names_no_mac_address_but_its_own() {
    let mut node = host(L1);
    let target = address("2001:db8:a::2");
    assert_eq!(node.receive("access0", &solicitation(own(), target, Some(VM1))).fate, Fate::Replied(None));
    let spoofed = Fate::Dropped(DropReason::SpoofedSource);
    assert_eq!(node.receive("access0", &solicitation(own(), target, Some(VM2))).fate, spoofed);
    let router =
        |mac| discovery(own(), (0xff02u128 << 112) | 2, 133, &[&[0; 4], &option(1, mac)[..]].concat());
    assert_eq!(node.receive("access0", &router(VM1)).fate, Fate::Replied(None));
    assert_eq!(node.receive("access0", &router(VM2)).fate, spoofed);
    // Nor speaks as its router.
    let as_router = solicitation(ANYCAST.link_local(), target, Some(VM1));
    assert_eq!(node.receive("access0", &as_router).fate, spoofed);
}

#[test]
fn duplicate_addresses_are_told_of_wherever_they_are() {
    // One on another VLAN here, one elsewhere, the gateway, one's own, and a free one.
    let mut node = neighbours();
    for (target4, target6, taken) in [
        (0x0a00_0005, "2001:db8:a::5", true),
        (OTHER4, "2001:db8:a::2", true),
        (0x0a00_00fe, "2001:db8:a::ffff:fffe", true),
        (OWN4, "2001:db8:a::1", false),
        (0x0a00_0033, "2001:db8:a::33", false),
    ] {
        let (free4, free6) = (Fate::Dropped(DropReason::ArpNotForUs), Fate::Dropped(DropReason::NdNotForUs));
        let expected = |free| if taken { Fate::Replied(None) } else { free };
        let probe = arp_frame(&asks(VM1, 0, target4), 0);
        assert_eq!(node.receive("access0", &probe).fate, expected(free4), "{target6}");
        let probe = solicitation(0, address(target6), None);
        assert_eq!(node.receive("access0", &probe).fate, expected(free6), "{target6}");
    }
}

#[test]
fn rarp_finds_tenants_of_the_network_on_other_links_and_of_no_other_network() {
    let mut node = neighbours();
    let answer = node.receive("access0", &reverse(Mac([2, 0, 0, 0, 1, 5]))).through("access0");
    let message = arp::parse(ethernet::RARP, &answer[14..]).unwrap();
    assert_eq!((message.target, message.sender), (0x0a00_0005, 0x0a00_00fe));
    for mac in [VM3, VM2] {
        let outcome = node.receive("access0", &reverse(mac));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::ArpNotForUs), "{mac}");
    }
    // Nor one of another network on the same link.
    let attachments = "  - {name: vm6, port: access0, mac: \"02:00:00:00:01:06\", network: blue, \
                       addresses: [\"10.0.0.6\"]}\n";
    let mut node = host_with(L1, &Rules { attachments, ..Rules::default() });
    let outcome = node.receive("access0", &reverse(Mac([2, 0, 0, 0, 1, 6])));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::ArpNotForUs));
}

#[test]
fn a_tenant_cannot_be_router_querier_or_dhcp_server() {
    let mut node = host(L1);
    let link_local = address("fe80::ff:fe00:101");
    let all_nodes = (0xff02u128 << 112) | 1;
    let peer = address("2001:db8:a::2");
    let router = Fate::Dropped(DropReason::TenantRouter);
    for (from, to) in [(link_local, all_nodes), (own(), peer)] {
        for (kind, length) in [(134, 12), (137, 36)] {
            let outcome = node.receive("access0", &discovery(from, to, kind, &vec![0; length]));
            assert_eq!(outcome.fate, router, "{kind}");
        }
        let query = discovery(from, to, 130, &[0; 20]);
        assert_eq!(node.receive("access0", &query).fate, Fate::Dropped(DropReason::TenantQuery));
    }
    let mut server = udp(own(), peer, b"advertise");
    server[..2].copy_from_slice(&547u16.to_be_bytes());
    let outcome = node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), peer, 17, &server)));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::TenantDhcp));
    // IPv4, to a peer and to everybody.
    let mut offer = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"offer");
    offer[20..22].copy_from_slice(&67u16.to_be_bytes());
    let mut query = ipv4_packet([10, 0, 0, 1], [224, 0, 0, 1], 1, &[0; 8]);
    (query[9], query[20]) = (2, 0x11);
    ipv4::seal(&mut query[..20]);
    for to in [ANYCAST, Mac::BROADCAST] {
        let outcome = node.receive("access0", &ipv4_frame(to, VM1, &offer));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::TenantDhcp));
        let outcome = node.receive("access0", &ipv4_frame(to, VM1, &query));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::TenantQuery));
    }
    // The client's side of the same is no such thing.
    offer[20..22].copy_from_slice(&68u16.to_be_bytes());
    assert_eq!(node.receive("access0", &ipv4_frame(ANYCAST, VM1, &offer)).fate, Fate::Forwarded);
}

#[test]
fn a_dhcp_server_cannot_hide_in_the_family_that_its_packets_are_translated_from() {
    let mut node = host(L1);
    // As IPv6 between the SIR addresses of two IPv4 addresses it would reach the other tenant as IPv4.
    let (from, to) = (address("2001:db8:dddd:0:4000:64:a00:1"), address("2001:db8:dddd:0:4000:64:a00:2"));
    let sent = |port: u16| {
        let mut offer = udp(from, to, b"offer");
        offer[..2].copy_from_slice(&port.to_be_bytes());
        frame(ANYCAST, VM1, &ipv6(from, to, 17, &offer))
    };
    // A tenant may not write that form at all, whatever it says.
    for port in [67, 68, 547] {
        assert_eq!(node.receive("access0", &sent(port)).fate, Fate::Dropped(DropReason::SpoofedSource));
    }
    // And the other way round: a peer of IPv4 may be an IPv6 tenant.
    let mut offer = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"advertise");
    offer[20..22].copy_from_slice(&547u16.to_be_bytes());
    let outcome = node.receive("access0", &ipv4_frame(ANYCAST, VM1, &offer));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::TenantDhcp));
}

/// An echo request of VM1 to its gateway, in either family.
fn echoes() -> [Vec<u8>; 2] {
    let gateway = address("2001:db8:a::ffff:fffe");
    let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 254], 64, &[0; 4]);
    packet[9] = 1;
    ipv4::seal(&mut packet[..20]);
    packet[20..28].copy_from_slice(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    packet[28..].fill(0);
    [
        frame(ANYCAST, VM1, &ipv6(own(), gateway, 58, &icmp6(own(), gateway, 128, 0, &[0; 4]))),
        ipv4_frame(ANYCAST, VM1, &packet),
    ]
}

#[test]
fn under_quarantine_not_even_echoes_are_answered() {
    let mut host = FirstHost::new();
    for echo in &echoes() {
        assert_eq!(host.verdict(echo), Verdict::Reply(PortId(1)));
        host.quarantine(Quarantine::Control);
        assert_eq!(host.verdict(echo), Verdict::Drop(DropReason::Quarantined));
        host.quarantine(Quarantine::None);
    }
}

/// Reports of VM1 that it wants a group, by MLD and by IGMP.
fn reports() -> [Vec<u8>; 2] {
    let (from, group) = (VM1.link_local(), address("ff05::9"));
    let message = icmp6(from, group, 131, 0, &[&[0; 4][..], &group.to_be_bytes()].concat());
    let mut mld = ipv6(from, group, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0], &message[..]].concat());
    mld[7] = 1;
    let mut igmp = vec![0x46, 0xc0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1, 148, 4, 0, 0];
    ipv4::seal(&mut igmp);
    let sum = !checksum::sum_of_bytes(&[0x16, 0, 0, 0, 239, 1, 1, 1]);
    igmp.extend([&[0x16, 0], &sum.to_be_bytes()[..], &[239, 1, 1, 1]].concat());
    let to = Mac::of_ipv4_multicast(u32::from_be_bytes([239, 1, 1, 1]));
    [frame(Mac::of_ipv6_multicast(group), VM1, &mld), ipv4_frame(to, VM1, &igmp)]
}

#[test]
fn a_tenant_cannot_flood_the_control_thread_with_reports_of_groups() {
    for (report, reason) in reports().iter().zip([DropReason::NdRate, DropReason::ArpRate]) {
        let mut node = small();
        let fates = fates(&mut node, report, 10);
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Punted).count(), 3, "{reason:?}");
        assert_eq!(over(&fates, reason), 7, "{reason:?}");
        // Nor is it heard under quarantine.
        let mut host = FirstHost::new();
        assert_eq!(host.verdict(report), Verdict::Punt);
        host.quarantine(Quarantine::Control);
        assert_eq!(host.verdict(report), Verdict::Drop(DropReason::Quarantined));
    }
}

/// Extension headers in front of an upper layer: kind of the first and all their bytes, the last one naming `next`.
fn hidden(next: u8) -> Vec<(&'static str, u8, Vec<u8>, bool)> {
    let options = |next| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let whole = |next: u8| vec![next, 0, 0, 0, 0, 0, 0, 9];
    let first = |next: u8| vec![next, 0, 0, 1, 0, 0, 0, 9];
    vec![
        ("options", 60, options(next), false),
        ("two options", 0, [options(60), options(next)].concat(), false),
        ("atomic fragment", 44, whole(next), true),
        ("first fragment", 44, first(next), true),
        ("fragment and options", 44, [first(60), options(next)].concat(), true),
    ]
}

#[test]
fn extension_headers_and_fragments_hide_nothing() {
    let mut node = host(L1);
    let peer = address("2001:db8:a::2");
    let mut server = udp(own(), peer, b"advertise");
    server[..2].copy_from_slice(&547u16.to_be_bytes());
    for (what, first, headers, fragment) in hidden(58) {
        for (kind, length, reason) in [
            (134, 12, Some(DropReason::TenantRouter)),
            (137, 36, Some(DropReason::TenantRouter)),
            (130, 20, Some(DropReason::TenantQuery)),
            (135, 20, fragment.then_some(DropReason::NdFragment)),
            (136, 20, fragment.then_some(DropReason::NdFragment)),
            (133, 4, fragment.then_some(DropReason::NdFragment)),
            (128, 8, None),
        ] {
            let message = icmp6(own(), peer, kind, 0, &vec![0; length]);
            let packet = ipv6(own(), peer, first, &[headers.clone(), message].concat());
            let fate = node.receive("access0", &frame(ANYCAST, VM1, &packet)).fate;
            match reason {
                Some(reason) => assert_eq!(fate, Fate::Dropped(reason), "{what} {kind}"),
                None => assert_eq!(fate, Fate::Forwarded, "{what} {kind}"),
            }
        }
    }
    for (what, first, headers, _) in hidden(17) {
        let packet = ipv6(own(), peer, first, &[headers, server.clone()].concat());
        let fate = node.receive("access0", &frame(ANYCAST, VM1, &packet)).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::TenantDhcp), "{what}");
    }
    // A first fragment that leaves its upper layer to the next one (RFC 7112).
    for split in [
        vec![58, 0, 0, 1, 0, 0, 0, 9],
        vec![60, 0, 0, 1, 0, 0, 0, 9],
        vec![60, 0, 0, 1, 0, 0, 0, 9, 58, 1, 1, 4, 0, 0, 0, 0],
    ] {
        let fate = node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), peer, 44, &split))).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::ExtensionHeaders));
    }
    // The fragment behind it may be anything.
    let later = [&[58, 0, 0, 8, 0, 0, 0, 9], &[134; 16][..]].concat();
    let fate = node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), peer, 44, &later))).fate;
    assert_eq!(fate, Fate::Forwarded);
}

#[test]
fn a_router_solicitation_from_beyond_the_link_is_invalid() {
    let mut solicitation = discovery(own(), (0xff02u128 << 112) | 2, 133, &[0; 4]);
    solicitation[14 + 7] = 254;
    let outcome = host(L1).receive("access0", &solicitation);
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdInvalid));
}

#[test]
fn a_tenant_cannot_reach_the_infrastructure_not_even_in_vxlan() {
    let more = "infrastructure: [\"fd00:1::/32\", \"2001:db8:feed::/48\"]";
    let policies = "{from: red, to: outside}, {from: outside, to: red}";
    let mut node = host_with(L1, &Rules { more, policies, ..Rules::default() });
    for to in [
        // Our address, its subnet, the next hop, and a locator that nothing maps to.
        "fd00:ffff::1",
        "fd00:ffff::77",
        "fd00:ffff::ff",
        "fd00:1:0:9:2000::1",
        "fd00:1:0:9::1",
        // Nodes under the SIR prefix and under our locator.
        "2001:db8:dddd::1",
        "fd00:1:0:1::1",
        "2001:db8:feed:1::1",
    ] {
        let to = address(to);
        let mut vxlan = udp(own(), to, &[8, 0, 0, 0, 0, 0, 100, 0]);
        vxlan[2..4].copy_from_slice(&4789u16.to_be_bytes());
        for datagram in [vxlan, udp(own(), to, b"x")] {
            let outcome = node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), to, 17, &datagram)));
            assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::TenantToFabric)), "{to:x}");
        }
    }
    // The gateway takes no tunnels either, and what is not listed is the Internet.
    let gateway = address("2001:db8:a::ffff:fffe");
    let mut vxlan = udp(own(), gateway, &[8, 0, 0, 0, 0, 0, 100, 0]);
    vxlan[2..4].copy_from_slice(&4789u16.to_be_bytes());
    let outcome = node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), gateway, 17, &vxlan)));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::VxlanForeign));
    for to in [IADDR, address("fd00:2::1"), address("2001:db8:feee::1")] {
        let outcome =
            node.receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, b"x"))));
        assert_eq!(outcome.fate, Fate::Forwarded, "{to:x}");
    }
    // Others than tenants may: it is their fabric.
    let to = address("fd00:1:0:9::1");
    let outcome = node
        .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"))));
    assert_eq!(outcome.fate, Fate::Forwarded);
}

#[test]
fn an_identifier_with_the_c_bit_is_no_sir_address() {
    let to = address("2001:db8:dddd:0:3000::4");
    let outcome =
        host(L1).receive("access0", &frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, b"x"))));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::SirCBit));
    for from in ["fd00:1:0:1:3000::1", "fd00:1:0:2:2000::1", "2001:db8:dddd:0:2000::4"].map(address) {
        let to = address("2001:db8:a::2");
        let outcome =
            host(L1).receive("access0", &frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"x"))));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource), "{from:x}");
    }
}

#[test]
fn a_packet_beyond_the_networks_mtu_is_told_the_mtu_in_both_families() {
    let mut node = limited("mtu: 1400", "");
    let to = address("2001:db8:a::2");
    let sized =
        |length: usize| frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, &vec![0; length - 48])));
    assert_eq!(node.receive("access0", &sized(1400)).fate, Fate::Forwarded);
    let outcome = node.receive("access0", &sized(1401));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    let answer = outcome.through("access0");
    assert_eq!((told(&answer[14..]).kind, told(&answer[14..]).parameter), (2, 1400));
    for flags in [0x40, 0] {
        let sized = |length: usize| {
            let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &vec![0; length - 28]);
            packet[6] = flags;
            ipv4::seal(&mut packet[..20]);
            ipv4_frame(ANYCAST, VM1, &packet)
        };
        assert_eq!(node.receive_copies("access0", &sized(1400)).0, Fate::Forwarded);
        let outcome = node.receive("access0", &sized(1401));
        assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
        let answer = outcome.through("access0");
        assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], 1400));
    }
}

#[test]
fn what_is_misdelivered_counts() {
    // Of a task and of both families of a tenant, none of which is attached here.
    for to in ["fd00:1:0:1:2000::99", "fd00:1:0:1:4000:64:a00:63", "fd00:1:0:1:6000:64:0:63"].map(address) {
        let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, b"stale"));
        let outcome = host(L1).receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
        assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NotLocal)), "{to:x}");
    }
}

/// The first host as the control thread has it, and a pipeline over its tables.
struct FirstHost {
    rib: Rib,
    pipeline: Pipeline,
}

impl FirstHost {
    fn new() -> Self {
        let (text, mapped) = written(L1, &Rules::default());
        let config = Config::parse(&text, "test.yaml").unwrap();
        let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1);
        let changes = records(&config, &mapped).into_iter().map(Change::Upsert).collect();
        rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
        FirstHost { rib, pipeline: Pipeline::new(Limiter::new(1000, 1000)) }
    }

    fn verdict(&mut self, frame: &[u8]) -> Verdict {
        let tables = self.rib.compile();
        let mut room = vec![0; 2176];
        room[128..128 + frame.len()].copy_from_slice(frame);
        let mut burst = [Packet::new(&mut room, 128, 128 + frame.len() as u16, PortId(1))];
        self.pipeline.run(&mut burst, &Ctx { tables: &tables, now_ms: 1 });
        burst[0].verdict
    }

    fn quarantine(&mut self, quarantine: Quarantine) {
        let vm1 = self.rib.tenants().next().unwrap();
        self.rib.set_quarantine(vm1.handle.slot, quarantine);
    }

    fn notices(&mut self) -> Vec<String> {
        let (notices, lost) = self.pipeline.take_notices();
        assert_eq!(lost, 0);
        let words = |notice: &Notice| match notice {
            Notice::Conflict { tenant: ilagate::table::TenantHandle { slot, generation: 1 }, address } => {
                format!("{slot} {address}")
            }
            other => format!("{other:?}"),
        };
        notices.iter().map(words).collect()
    }
}

#[test]
fn under_quarantine_nothing_that_is_asked_is_answered_and_data_flows_on() {
    let mut host = FirstHost::new();
    let (peer, nobody, other) =
        (address("2001:db8:a::2"), address("2001:db8:a::77"), address("2001:db8:b::3"));
    let data = |to| frame(ANYCAST, VM1, &ipv6(own(), to, 17, &udp(own(), to, b"x")));
    let questions = [
        arp_frame(&asks(VM1, OWN4, OTHER4), 0),
        arp_frame(&asks(VM1, OWN4, OWN4), 0),
        arp_frame(&asks(VM1, 0, OTHER4), 0),
        solicitation(own(), peer, Some(VM1)),
        solicitation(0, peer, None),
        advertisement(own(), own(), VM1, 0x20),
        reverse(VM1),
        data(nobody),
    ];
    let neighbour = arp_frame(&asks(VM3, OTHER4, 0x0a00_00fe), 7);
    for (mode, prohibited, known) in [
        (Quarantine::Control, DropReason::NoPolicy, Verdict::Forward(PortId(0))),
        (Quarantine::All, DropReason::Quarantined, Verdict::Drop(DropReason::Quarantined)),
    ] {
        host.quarantine(mode);
        for question in &questions {
            assert_eq!(host.verdict(question), Verdict::Drop(DropReason::Quarantined), "{mode:?}");
        }
        // Nor is it told of anything.
        assert_eq!(host.verdict(&data(other)), Verdict::Drop(prohibited));
        assert_eq!(host.verdict(&data(peer)), known);
        assert_eq!(host.verdict(&neighbour), Verdict::Reply(PortId(1)));
        assert_eq!(host.notices(), [""; 0]);
    }
    host.quarantine(Quarantine::None);
    assert!(questions.iter().all(|question| !matches!(host.verdict(question), Verdict::Drop(_))));
    assert_eq!(host.verdict(&data(other)), Verdict::Reply(PortId(1)));
}

#[test]
fn who_wants_an_address_that_is_taken_leaves_a_notice() {
    let mut host = FirstHost::new();
    let (taken, free) = (address("2001:db8:a::2"), address("2001:db8:a::77"));
    for (frame, notice) in [
        (arp_frame(&asks(VM1, 0, OTHER4), 0), Some("0 10.0.0.2")),
        (arp_frame(&asks(VM1, OTHER4, OTHER4), 0), Some("0 10.0.0.2")),
        (solicitation(0, taken, None), Some("0 2001:db8:a::2")),
        (advertisement(own(), taken, VM1, 0x20), Some("0 2001:db8:a::2")),
        (arp_frame(&asks(VM1, 0, 0x0a00_0077), 0), None),
        (arp_frame(&asks(VM1, 0x0a00_0077, 0x0a00_0077), 0), None),
        (arp_frame(&asks(VM1, OWN4, OTHER4), 0), None),
        (solicitation(0, free, None), None),
        (solicitation(own(), taken, Some(VM1)), None),
        (advertisement(own(), free, VM1, 0x20), None),
        (advertisement(own(), own(), VM1, 0x20), None),
    ] {
        let _ = host.verdict(&frame);
        assert_eq!(host.notices(), notice.map(str::to_owned).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_tenant_cannot_find_out_by_asking_who_lives_beyond_its_policies() {
    let asks = |node: &mut Node, target: &str| {
        let target = address(target);
        let body = [&[0; 4][..], &target.to_be_bytes(), &[1, 1], &VM1.0].concat();
        node.receive("access0", &discovery(own(), target, 135, &body)).fate
    };
    let silence = Fate::Dropped(DropReason::NdNotForUs);
    let others = "2001:db8:dddd:0:4000:c8:a00:2";
    let mut node = host(L1);
    assert_eq!((asks(&mut node, SERVICE), asks(&mut node, others)), (silence, silence));
    let mut node = host_where(L1, &format!("{{from: red, to: \"{SERVICE}\"}}"));
    assert_eq!((asks(&mut node, SERVICE), asks(&mut node, others)), (Fate::Replied(None), silence));
}

#[test]
fn what_is_handed_to_the_control_thread_has_a_limit_and_the_rest_is_a_counted_drop() {
    // A tenant whose own limits are far away, and a stranger on the fabric. Announcements are punted.
    let far =
        "limits: {arp: {per_second: 1000000, burst: 1000000}, nd: {per_second: 1000000, burst: 1000000}}";
    let announcement = arp::Arp {
        operation: arp::Operation::Request,
        sender_mac: VM1,
        sender: OWN4,
        target_mac: Mac::ZERO,
        target: OWN4,
    };
    let of_ipv6 = advertisement(own(), own(), VM1, 0x20);
    let (from, to) = (address("fe80::77"), address("ff02::1"));
    let rest = [&[0x20, 0, 0, 0][..], &from.to_be_bytes(), &option(2, GATEWAY_FABRIC)].concat();
    let mut packet = ipv6(from, to, 58, &icmp6(from, to, 136, 0, &rest));
    packet[7] = 255;
    let of_stranger = frame(Mac::of_ipv6_multicast(to), GATEWAY_FABRIC, &packet);
    for (port, sent) in
        [("access0", arp_frame(&announcement, 0)), ("access0", of_ipv6), ("fabric0", of_stranger)]
    {
        let mut node = limited(far, "");
        let fates: Vec<Fate> = (0..5_000).map(|_| node.receive(port, &sent).fate).collect();
        let punted = fates.iter().filter(|fate| **fate == Fate::Punted).count();
        assert_eq!(fates[0], Fate::Punted, "{port}");
        assert!(punted < 4_000, "{port}: {punted} of 5000");
        let dropped = Fate::Dropped(DropReason::PuntRate);
        assert!(fates.iter().all(|fate| [Fate::Punted, dropped].contains(fate)), "{port}");
    }
}
