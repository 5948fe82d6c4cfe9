//! Tenants of virtual networks: what they are answered, what they may not do, and how their IPv4 travels. Their scenarios
//! are in `scenarios.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::net::{Mac, arp, ethernet, ipv4};
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

#[test]
fn the_same_ipv4_address_in_two_networks_is_two_tenants() {
    // VM3 has 10.0.0.2 in blue, and is on the sender's own host; red's 10.0.0.2 is elsewhere.
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query");
    let on_wire = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    assert_eq!(destination(&on_wire[14..]) >> 64, address("fd00:1:0:2::") >> 64);
    // And blue has no 10.0.0.1.
    let packet = ipv4_packet([10, 0, 0, 2], [10, 0, 0, 1], 64, b"query");
    let (link, length) = ethernet::header_of(ANYCAST, VM3, 7, ethernet::IPV4);
    let outcome = host(L1).receive("access0", &[&link[..length], &packet].concat());
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoMapping)));
}

#[test]
fn no_tenant_reaches_another_network_without_a_policy() {
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:b::3"));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let outcome = host(L1).receive("access0", &frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoPolicy)));
    // Nor by the SIR address of the other's IPv4 address.
    let to = address("2001:db8:dddd:0:4000:c8:a00:2");
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let outcome = host(L1).receive("access0", &frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoPolicy)));
}

#[test]
fn a_tenant_speaks_from_its_own_addresses_only() {
    let mut node = host(L1);
    let to = address("2001:db8:a::2");
    for from in ["2001:db8:a::9", "2001:db8:b::3", SERVICE, "fd00:1:0:1::1"].map(address) {
        let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
        let outcome = node.receive("access0", &frame(ANYCAST, VM1, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource));
    }
    let packet = ipv4_packet([10, 0, 0, 9], [10, 0, 0, 2], 64, b"spoofed");
    let outcome = node.receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource));
    // Another's MAC address, and a neighbour's on another VLAN.
    let from = address("2001:db8:a::1");
    let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
    for mac in [TASK, VM3] {
        let outcome = node.receive("access0", &frame(ANYCAST, mac, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::UnknownTenant));
    }
}

#[test]
fn a_tenant_cannot_speak_to_the_fabric() {
    let mut node = host(L1);
    let from = address("2001:db8:a::1");
    for to in ["fd00:1:0:1:3000::1", "fd00:1:0:2:3000::fe96", "fd00:1:0:2::1", "fd00:ffff::1"] {
        let to = address(to);
        let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
        let outcome = node.receive("access0", &frame(ANYCAST, VM1, &packet));
        assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::TenantToFabric)), "{to:x}");
    }
}

#[test]
fn what_is_not_attached_here_is_not_delivered() {
    let (from, to) = (address("2001:db8:a::2"), address("fd00:1:0:1:7000:64:0:c05d"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"stale"));
    let outcome = host(L1).receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
    assert!(matches!(outcome.fate, Fate::Replied(Some(DropReason::NotLocal))));
}

#[test]
fn arp_is_answered_for_the_gateway_and_for_known_peers_and_is_never_flooded() {
    let mut node = host(L1);
    let own = 0x0a00_0001;
    for (target, known) in
        [(0x0a00_00fe, true), (0x0a00_0002, true), (0x0a00_0003, false), (0x0a00_0102, false)]
    {
        let outcome = node.receive("access0", &arp_frame(&asks(VM1, own, target), 0));
        if known {
            let answer = outcome.through("access0");
            let message = arp::parse(ethernet::ARP, &answer[14..]).unwrap();
            assert_eq!((message.sender_mac, message.sender), (ANYCAST, target));
            assert_eq!((message.target_mac, message.target, &answer[..6]), (VM1, own, &VM1.0[..]));
        } else {
            assert_eq!(outcome.fate, Fate::Dropped(DropReason::ArpNotForUs));
        }
    }
    // An address in use elsewhere is defended, the tenant's own is not (RFC 5227 §2.1).
    assert_eq!(node.receive("access0", &arp_frame(&asks(VM1, 0, 0x0a00_0002), 0)).fate, Fate::Replied(None));
    let own_probe = node.receive("access0", &arp_frame(&asks(VM1, 0, own), 0));
    assert_eq!(own_probe.fate, Fate::Dropped(DropReason::ArpNotForUs));
    // Nobody is told of a MAC or IPv4 address that is not the sender's.
    for message in [asks(VM1, 0x0a00_0002, 0x0a00_00fe), asks(VM2, own, 0x0a00_00fe)] {
        let mut frame = arp_frame(&message, 0);
        frame[6..12].copy_from_slice(&VM1.0);
        assert_eq!(node.receive("access0", &frame).fate, Fate::Dropped(DropReason::SpoofedSource));
    }
}

#[test]
fn an_arp_message_that_names_another_mac_than_its_frame_is_spoofed_whatever_its_kind() {
    let (own, gateway) = (0x0a00_0001, 0x0a00_00fe);
    let messages = [
        asks(VM2, own, gateway),
        asks(VM2, 0, gateway),
        asks(VM2, 0, own),
        asks(VM2, own, own),
        arp::Arp { operation: arp::Operation::Reply, ..asks(VM2, own, gateway) },
        arp::Arp { operation: arp::Operation::ReverseRequest, target_mac: VM1, ..asks(VM2, 0, 0) },
        arp::Arp { operation: arp::Operation::ReverseRequest, target_mac: VM2, ..asks(VM2, 0, 0) },
    ];
    for message in messages {
        let mut frame = arp_frame(&message, 0);
        frame[6..12].copy_from_slice(&VM1.0);
        let outcome = host(L1).receive("access0", &frame);
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource), "{message:?}");
    }
}

#[test]
fn rarp_tells_a_tenant_its_address() {
    let ask = arp::Arp {
        operation: arp::Operation::ReverseRequest,
        sender_mac: VM1,
        sender: 0,
        target_mac: VM1,
        target: 0,
    };
    let answer = host(L1).receive("access0", &arp_frame(&ask, 0)).through("access0");
    let message = arp::parse(ethernet::RARP, &answer[14..]).unwrap();
    assert_eq!(message.kind(), arp::Kind::ReverseReply);
    assert_eq!((message.target_mac, message.target), (VM1, 0x0a00_0001));
}

/// A Neighbour Solicitation for `target`; from `::` it is a DAD probe.
fn solicitation(from: u128, target: u128) -> Vec<u8> {
    let group = (0xff02u128 << 112) | (1 << 32) | 0xff00_0000 | (target & 0x00ff_ffff);
    let mut rest = vec![0; 4];
    rest.extend(target.to_be_bytes());
    if from != 0 {
        rest.extend([1, 1]);
        rest.extend(VM1.0);
    }
    let mut packet = ipv6(from, group, 58, &icmp6(from, group, 135, 0, &rest));
    packet[7] = 255;
    frame(Mac::of_ipv6_multicast(group), VM1, &packet)
}

#[test]
fn neighbour_discovery_is_answered_for_the_gateway_and_for_known_peers() {
    let mut node = host(L1);
    let own = address("2001:db8:a::1");
    // The gateway is a router and speaks for itself; a peer is none, and spoken for (RFC 4861 §7.2.4, §7.2.8).
    for (target, flags) in [
        ("2001:db8:a::ffff:fffe", Some(0xe0)),
        ("2001:db8:a::2", Some(0x40)),
        ("2001:db8:a::7", None),
        ("2001:db8:b::3", None),
    ] {
        let outcome = node.receive("access0", &solicitation(own, address(target)));
        if let Some(flags) = flags {
            let answer = outcome.through("access0");
            assert_eq!((source(&answer[14..]), answer[58]), (address(target), flags), "{target}");
            assert_eq!((&answer[6..12], &answer[80..86]), (&ANYCAST.0[..], &ANYCAST.0[..]));
            assert_eq!(checksum_ok(&answer[14..]), Some(true));
        } else {
            assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdNotForUs), "{target}");
        }
    }
    // DAD: in use elsewhere, and free (RFC 4862 §5.4).
    let taken = node.receive("access0", &solicitation(0, address("2001:db8:a::2"))).through("access0");
    assert_eq!((destination(&taken[14..]), taken[58]), (address("ff02::1"), 0));
    let free = node.receive("access0", &solicitation(0, own));
    assert_eq!(free.fate, Fate::Dropped(DropReason::NdNotForUs));
}

#[test]
fn the_gateway_answers_echo_in_both_families() {
    use etherparse::PacketBuilder;
    let mut node = host(L1);
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 254], 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut packet, b"ping")
        .unwrap();
    let answer = node.receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).through("access0");
    assert_eq!((&answer[..6], &answer[6..12]), (&VM1.0[..], &ANYCAST.0[..]));
    assert_eq!((ipv4_line(&answer[14..]), answer[34]), ("10.0.0.254,10.0.0.1".to_owned(), 0));
    assert!(ipv4_checksums_ok(&answer[14..]));
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::ffff:fffe"));
    let packet = ipv6(from, to, 58, &icmp6(from, to, 128, 0, &[0, 7, 0, 1]));
    let answer = node.receive("access0", &frame(ANYCAST, VM1, &packet)).through("access0");
    assert_eq!(line(&answer[14..]), "2001:db8:a::ffff:fffe,2001:db8:a::1");
    assert_eq!((answer[54], checksum_ok(&answer[14..])), (129, Some(true)));
}

#[test]
fn an_ipv4_tenant_is_told_of_time_exceeded_by_its_gateway() {
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 1, b"traceroute");
    let outcome = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::HopLimit)));
    let answer = outcome.through("access0");
    assert_eq!(ipv4_line(&answer[14..]), "10.0.0.254,10.0.0.1");
    assert_eq!(&answer[34..36], &[11, 0]);
    assert!(ipv4_checksums_ok(&answer[14..]));
    // The quote is the packet that it sent: addresses and ports.
    assert_eq!(&answer[42 + 12..42 + 28], &packet[12..28]);
}

#[test]
fn an_ipv4_tenant_is_told_the_mtu_of_the_path() {
    let packet = {
        let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &[0; 1472]);
        packet[6] = 0x40;
        let (header, _) = packet.split_at_mut(20);
        ipv4::seal(header);
        packet
    };
    let outcome = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    let answer = outcome.through("access0");
    // 1500 of the fabric, less 20 by which the header grows.
    assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], 1480));
    assert_eq!(&answer[42 + 12..42 + 28], &packet[12..28]);
}

#[test]
fn fragments_of_ipv4_travel_as_fragments_of_ipv6_and_come_back_as_they_were() {
    let (mut sender, mut receiver) = (host(L1), host(L2));
    let data: Vec<u8> = (0..4000).map(|n| (n * 3) as u8).collect();
    let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &data);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(false, false, 0);
    ipv4::seal(&mut packet[..20]);
    // The header grows by 28, and every link behind the fabric port carries 1280.
    let mut payload = vec![0; packet.len() - 20];
    let mut names = Vec::new();
    for piece in ilagate::siit::fragment::v4(&packet, 1252).unwrap() {
        let mut bytes = vec![0; piece.len()];
        piece.write(&mut bytes).unwrap();
        let on_wire = sender.receive("access0", &ipv4_frame(ANYCAST, VM1, &bytes)).forwarded("fabric0");
        assert_eq!((on_wire[20], on_wire.len()), (44, 14 + bytes.len() + 28));
        let received = receiver.receive("fabric0", &carried(&on_wire)).forwarded("access0");
        let header = ipv4::Ipv4::of(&received[14..]).unwrap();
        assert!(ipv4::is_intact(&received[14..34]));
        let at = 8 * usize::from(header.fragment_offset());
        payload[at..at + received.len() - 34].copy_from_slice(&received[34..]);
        names.push((header.identification(), header.more_fragments()));
    }
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.0 == names[0].0));
    assert_eq!(names.iter().map(|name| name.1).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(payload == packet[20..]);
}
