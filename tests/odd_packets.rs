//! Odd packets, valid or not, that a careless node gets wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use ilagate::net::{Mac, ipv4};
use ilagate::node::replay::capture::Frame;
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const GATEWAY4: [u8; 4] = [10, 0, 0, 254];

fn dropped(node: &Node, port: usize, reason: DropReason) -> u64 {
    node.replay.counters()[port].dropped[reason as usize].value()
}

fn sealed(mut packet: Vec<u8>, edit: impl Fn(&mut [u8])) -> Vec<u8> {
    edit(&mut packet);
    ipv4::seal(&mut packet[..20]);
    packet
}

fn from_vm1(packet: &[u8]) -> Vec<u8> {
    ipv4_frame(ANYCAST, VM1, packet)
}

#[test]
fn an_ipv4_packet_that_its_gateway_does_not_serve_is_never_read_as_ipv6() {
    // Read as IPv6, it has an extension header and UDP, and the sender 2011:…, who would be told.
    let payload = [&[0; 12][..], &[17, 0, 1, 4, 0, 0, 0, 0], &[0; 16]].concat();
    let odd = sealed(ipv4_packet([10, 0, 0, 1], GATEWAY4, 0x20, &payload), |packet| packet[6] = 0);
    let odd = from_vm1(&odd);
    // Somebody in the burst is to be told something.
    let other = from_vm1(&ipv4_packet([10, 0, 0, 1], [10, 0, 0, 99], 64, b"nobody"));
    let mut node = host_where(L1, INTERNET_TOO);
    let frames = [odd, other].map(|bytes| Frame { time_ns: 1_000_000_000, bytes, cut: false });
    node.replay.run(vec![(1, frames.into())]);
    assert_eq!(dropped(&node, 1, DropReason::NotServed), 0);
    let sent: Vec<usize> = node.replay.sent().iter().map(Vec::len).collect();
    assert_eq!(sent, [0, 2]);
    for (_, frame) in &node.replay.sent()[1] {
        assert_eq!((&frame[..6], &frame[12..14]), (&VM1.0[..], &[8, 0][..]));
        assert_eq!(ipv4_line(&frame[14..]), "10.0.0.254,10.0.0.1");
    }
}

#[test]
fn an_ipv4_packet_of_another_version_is_invalid() {
    for (version, to) in [0x55, 0x65].into_iter().flat_map(|v| [(v, GATEWAY4), (v, [10, 0, 0, 2])]) {
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 0, 0, 1], to, 64)
            .icmpv4_echo_request(7, 1)
            .write(&mut packet, b"echo")
            .unwrap();
        assert!(matches!(
            host(L1).receive("access0", &from_vm1(&packet)).fate,
            Fate::Forwarded | Fate::Replied(None)
        ));
        let packet = sealed(packet, |packet| packet[0] = version);
        let fate = host(L1).receive("access0", &from_vm1(&packet)).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::Ipv4Invalid), "{version:x} {to:?}");
    }
}

#[test]
fn an_ipv4_packet_whose_header_is_damaged_is_invalid_whoever_it_is_for() {
    let from_tenant = |packet: &[u8]| host(L1).receive("access0", &from_vm1(packet)).fate;
    for to in [GATEWAY4, [10, 0, 0, 2]] {
        let packet = ipv4_packet([10, 0, 0, 1], to, 64, b"data");
        let total = packet.len() as u8;
        // The checksum holds every field: none of them says where the packet goes any more.
        for at in 0..20 {
            let mut damaged = packet.clone();
            damaged[at] ^= 1;
            assert_eq!(from_tenant(&damaged), Fate::Dropped(DropReason::Ipv4Invalid), "{at} to {to:?}");
        }
        // A length that the header does not leave, or that the frame does not have; a header that is too short.
        for (at, value) in [(3, 19), (3, 0), (3, total + 1), (0, 0x44), (0, 0x4f)] {
            let damaged = sealed(packet.clone(), |packet| packet[at] = value);
            assert_eq!(from_tenant(&damaged), Fate::Dropped(DropReason::Ipv4Invalid), "{at}: {value}");
        }
    }
}

/// A packet from the fabric to an address under the host's locator.
fn under_the_locator(destination: &str) -> Outcome {
    let to = address(destination);
    host(L1)
        .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"))))
}

#[test]
fn reserved_identifiers_under_a_locator_are_dropped() {
    for identifier in ["a000::", "c000::1", "ffff::1", "b000::1", "f000::2"] {
        let outcome = under_the_locator(&format!("fd00:1:0:1:{identifier}"));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::ReservedIdentifier), "{identifier}");
    }
}

#[test]
fn an_interface_identifier_under_a_locator_is_plain_ipv6() {
    // ILA draft §3.4, with the C-bit or without.
    for to in ["fd00:1:0:1::5", "fd00:1:0:1:ff:fe00:1:1", "fd00:1:0:1:1000::5"] {
        let sent = under_the_locator(to).forwarded("fabric0");
        assert_eq!(destination(&sent[14..]), address(to));
    }
}

#[test]
fn only_a_report_to_a_group_may_come_from_a_host_without_an_ipv4_address() {
    for to in [[10, 0, 0, 2], GATEWAY4, [255; 4]] {
        let packet = sealed(ipv4_packet([0; 4], to, 1, &[]), |packet| packet[9] = 2);
        let fate = host(L1).receive("access0", &from_vm1(&packet)).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::SpoofedSource), "{to:?}");
    }
}

#[test]
fn rfc_1122_3_2_2_no_error_about_an_ipv4_fragment_other_than_the_first() {
    let piece = |offset: u16, ttl: u8, to: [u8; 4]| {
        sealed(ipv4_packet([10, 0, 0, 1], to, ttl, &[5; 32]), |packet| {
            ipv4::Ipv4::of_mut(packet).unwrap().set_fragment(false, true, offset);
        })
    };
    for (ttl, to, reason) in
        [(1, [10, 0, 0, 2], DropReason::HopLimit), (64, [10, 0, 0, 99], DropReason::NoMapping)]
    {
        let told = host(L1).receive("access0", &from_vm1(&piece(0, ttl, to))).fate;
        assert_eq!(told, Fate::Replied(Some(reason)));
        let silent = host(L1).receive("access0", &from_vm1(&piece(8, ttl, to))).fate;
        assert_eq!(silent, Fate::Dropped(reason));
    }
}

#[test]
fn rfc_1122_3_2_2_nor_from_the_receivers_host() {
    let small = Rules { access: ", mtu: 1280", red: "mtu: 1280", ..Rules::default() };
    let piece = |offset: u16| {
        sealed(ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 2, &[5; 32]), |packet| {
            ipv4::Ipv4::of_mut(packet).unwrap().set_fragment(false, true, offset);
        })
    };
    for (offset, fate) in
        [(0, Fate::Replied(Some(DropReason::HopLimit))), (8, Fate::Dropped(DropReason::HopLimit))]
    {
        let wire = host(L1).receive("access0", &from_vm1(&piece(offset))).forwarded("fabric0");
        assert_eq!(host_with(L2, &small).receive("fabric0", &carried(&wire)).fate, fate);
    }
}

#[test]
fn an_ipv4_tenant_is_told_the_mtu_of_a_fabric_of_jumbo_frames() {
    let rules = Rules {
        red: "mtu: 9000",
        access: ", mtu: 9000",
        more: "mbufs: {data_bytes: 9216}",
        ..Rules::default()
    };
    let (text, mapped) = written(L1, &rules);
    let mut node = Node::new(&text.replace("role: fabric,", "role: fabric, mtu: 4000,"), &mapped);
    let packet = sealed(ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &[5; 8000]), |packet| packet[6] = 0x40);
    let outcome = node.receive("access0", &from_vm1(&packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    let answer = outcome.through("access0");
    assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], 3980));
}

#[test]
fn a_tenants_packet_without_a_mapping_is_routed_by_the_address_that_it_has() {
    let (text, mapped) = written(L1, &Rules::default());
    let text = text
        .replace("prefix: \"2001:db8:dddd::/64\",", "prefix: \"2001:db8:dddd::/64\", on_miss: route,")
        .replace(
            "routes:\n",
            "routes:\n  - {prefix: \"2001:db8:a::/96\", via: \"fd00:ffff::fe\", port: fabric0}\n",
        )
        .replace(
            "  static:\n",
            &format!("  static:\n    - {{port: fabric0, address: \"fd00:ffff::fe\", mac: \"{INTERNET}\"}}\n"),
        );
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::99"));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let sent =
        Node::new(&text, &mapped).receive("access0", &frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    assert_eq!((&sent[..6], &sent[54 - 16..54]), (&INTERNET.0[..], &packet[24..40]));
}

#[test]
fn a_source_route_to_an_own_address_is_not_turned_around() {
    let own = address("2001:db8:ff::1");
    let echo = icmp6(IADDR, own, 128, 0, &[0, 1, 0, 2]);
    let mut node = gateway(ChecksumMode::NeutralMap, "", &[]);
    for (left, fate) in [(0, Fate::Replied(None)), (1, Fate::Replied(Some(DropReason::ExtensionHeaders)))] {
        let routing = [&[58, 2, 0, left, 0, 0, 0, 0][..], &IADDR.to_be_bytes()].concat();
        let packet = ipv6(IADDR, own, 43, &[&routing[..], &echo].concat());
        assert_eq!(node.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet)).fate, fate);
    }
}

#[test]
fn a_jumbogram_is_dropped_and_not_cut_to_its_header() {
    let to = address("2001:db8:2::1");
    let jumbo = [&[17, 0, 0xc2, 4, 0, 1, 0, 0][..], &[0; 64]].concat();
    let mut packet = ipv6(IADDR, to, 0, &jumbo);
    packet[4..6].fill(0);
    let mut node = gateway(ChecksumMode::NeutralMap, "", &[]);
    let fate = node.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet)).fate;
    assert_eq!(fate, Fate::Dropped(DropReason::ExtensionHeaders));
    // Nothing at all is no jumbogram.
    let packet = ipv6(IADDR, to, 59, &[]);
    let fate = node.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet)).fate;
    assert_eq!(fate, Fate::Forwarded);
}

#[test]
fn a_quoted_checksum_of_a_tenants_is_put_back_as_well() {
    let (text, mapped) = written(L1, &Rules::default());
    let text = text.replace(
        "prefix: \"2001:db8:dddd::/64\"}",
        "prefix: \"2001:db8:dddd::/64\", checksum: adj-transport}",
    );
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"hello"));
    let mut node = Node::new(&text, &mapped);
    let wire = node.receive("access0", &frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    assert_eq!(checksum_ok(&wire[14..]), Some(true));
    let error = icmp6_error(address("fd00:1:0:aaaa::1"), from, 3, 0, 0, &wire[14..]);
    let got = node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &error)).forwarded("access0");
    let quote = told(&got[14..]).quote;
    assert_eq!((line(quote), checksum_ok(quote)), ("2001:db8:a::1,2001:db8:a::2".to_owned(), Some(true)));
    assert_eq!(quote[40..], packet[40..]);
}

#[test]
fn a_packet_to_a_group_is_no_longer_than_the_network_allows() {
    let rules = Rules { red: "mtu: 1400\n    replicate_to: [\"fd00:1:0:2::/64\"]", ..Rules::default() };
    let (from, to) = (address("2001:db8:a::1"), address("ff05::1234"));
    let sized = |length: usize| {
        frame(Mac::of_ipv6_multicast(to), VM1, &ipv6(from, to, 17, &udp(from, to, &vec![0; length - 48])))
    };
    let mut node = host_with(L1, &rules);
    assert_eq!(node.receive("access0", &sized(1400)).fate, Fate::Forwarded);
    assert_eq!(node.receive("access0", &sized(1401)).fate, Fate::Dropped(DropReason::PacketTooBig));
}

#[test]
fn rfc_6946_a_whole_echo_request_behind_a_fragment_header_is_answered() {
    let own = address("2001:db8:ff::1");
    let echo = icmp6(IADDR, own, 128, 0, &[0, 1, 0, 2, 0, 0, 0, 0]);
    let mut node = gateway(ChecksumMode::NeutralMap, "", &[]);
    for (more, fate) in [(0, Fate::Replied(None)), (1, Fate::Dropped(DropReason::FragmentForUs))] {
        let packet = ipv6(IADDR, own, 44, &[&[58, 0, 0, more, 0, 0, 0, 9][..], &echo].concat());
        assert_eq!(node.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet)).fate, fate);
    }
    // But never Neighbour Discovery (RFC 6980).
    let (from, group) = (INTERNET.link_local(), ilagate::net::ipv6::solicited_node(own));
    let asks = [&[0; 4][..], &own.to_be_bytes()].concat();
    let asks = icmp6(from, group, 135, 0, &asks);
    let mut packet = ipv6(from, group, 44, &[&[58, 0, 0, 0, 0, 0, 0, 9][..], &asks].concat());
    packet[7] = 255;
    let fate = node.receive("ext0", &frame(Mac::of_ipv6_multicast(group), INTERNET, &packet)).fate;
    assert_eq!(fate, Fate::Dropped(DropReason::NdInvalid));
}

#[test]
fn an_ipv4_tenant_of_a_host_without_addresses_is_told_by_its_gateway() {
    let (text, mapped) = written(L1, &Rules::default());
    let text = text.replace(", addresses: [\"fd00:ffff::1/64\"]", "").replace("fd00:ffff::ff", "fe80::ff");
    let mut node = Node::new(&text, &mapped);
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 1, b"x");
    let outcome = node.receive("access0", &from_vm1(&packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::HopLimit)));
    let answer = outcome.through("access0");
    assert_eq!((&answer[12..14], ipv4_line(&answer[14..])), (&[8, 0][..], "10.0.0.254,10.0.0.1".to_owned()));
}
