//! What a packet to the node itself may carry before its upper layer, what its sender is told otherwise, and that answers
//! carry none of it (RFC 8200 §4, RFC 4443 §3.4).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::SlicedPacket;
use etherparse::defrag::IpDefragPool;
use ilagate::ila::ChecksumMode;
use ilagate::net::Mac;
use ilagate::path::DropReason;
use support::packets::*;
use support::*;

const OWN: &str = "2001:db8:ff::1";
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

fn the_gateway() -> Node {
    gateway(ChecksumMode::NeutralMap, "", &[])
}

fn from_internet(l3: &[u8]) -> Vec<u8> {
    frame(GATEWAY_EXTERNAL, INTERNET, l3)
}

/// An extension header of eight bytes.
fn header(next: u8, rest: [u8; 6]) -> [u8; 8] {
    let [a, b, c, d, e, f] = rest;
    [next, 0, a, b, c, d, e, f]
}

fn echo(to: u128) -> Vec<u8> {
    icmp6(IADDR, to, 128, 0, &[0x12, 0x34, 0, 7, 1, 2, 3, 4, 5])
}

/// A packet to `to` with these headers before an echo request; each names the next by itself.
fn asking(to: u128, first: u8, headers: &[[u8; 8]]) -> Vec<u8> {
    ipv6(IADDR, to, first, &[&headers.concat()[..], &echo(to)].concat())
}

#[test]
fn an_echo_reply_carries_no_extension_headers_of_its_request() {
    let own = address(OWN);
    let (pad, fragment) = (header(58, PAD), [58, 0, 0, 0, 0, 0, 0, 9]);
    let route = header(60, [4, 0, 0, 0, 0, 0]);
    for (first, headers) in [
        (58, vec![]),
        (0, vec![pad]),
        (60, vec![pad]),
        (44, vec![fragment]),
        (43, vec![header(58, [0; 6])]),
        (0, vec![header(43, PAD), route, header(44, PAD), fragment]),
        (0, vec![header(58, [5, 2, 0, 0, 1, 0])]),
        // An unknown option that may be skipped.
        (60, vec![header(58, [0x1e, 4, 1, 2, 3, 4])]),
    ] {
        let outcome = the_gateway().receive("ext0", &from_internet(&asking(own, first, &headers)));
        assert_eq!(outcome.fate, Fate::Replied(None), "{headers:?}");
        let reply = outcome.through("ext0");
        assert_eq!(reply[..14], frame(INTERNET, GATEWAY_EXTERNAL, &[])[..]);
        let reply = &reply[14..];
        assert_eq!((reply[6], reply[7], reply.len()), (58, 64, 40 + echo(own).len()));
        assert_eq!((source(reply), destination(reply), checksum_ok(reply)), (own, IADDR, Some(true)));
        assert_eq!((&reply[40..42], &reply[44..]), (&[129, 0][..], &echo(own)[4..]));
    }
}

/// Asserts the parameter problem that the sender of `l3` is told, from `from`.
fn assert_problem(l3: &[u8], mac: Mac, reason: DropReason, from: &str, (code, pointer): (u8, u32)) {
    let outcome = the_gateway().receive("ext0", &frame(mac, INTERNET, l3));
    assert_eq!(outcome.fate, Fate::Replied(Some(reason)));
    let answer = outcome.through("ext0");
    let answer = &answer[14..];
    assert_eq!((source(answer), destination(answer)), (address(from), IADDR));
    let told = told(answer);
    assert_eq!((told.kind, told.code, told.parameter, told.quote), (4, code, pointer, l3));
}

#[test]
fn rfc_8200_section_4_2_an_unknown_option_is_answered_as_its_upper_bits_demand() {
    let own = address(OWN);
    for first in [0, 60] {
        for option in [0x80, 0x9f, 0xc0, 0xc2, 0xff] {
            let packet = asking(own, first, &[header(58, [1, 0, option, 2, 0, 0])]);
            assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::ExtensionHeaders, OWN, (2, 44));
        }
        for option in [0x40, 0x7f] {
            let packet = asking(own, first, &[header(58, [1, 0, option, 2, 0, 0])]);
            let fate = the_gateway().receive("ext0", &from_internet(&packet)).fate;
            assert_eq!(fate, Fate::Dropped(DropReason::ExtensionHeaders));
        }
    }
    // In a first fragment, too: the options come before the fragment header.
    let packet = asking(own, 60, &[header(44, [0x81, 4, 0, 0, 0, 0]), [58, 0, 0, 1, 0, 0, 0, 9]]);
    assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::ExtensionHeaders, OWN, (2, 42));
}

#[test]
fn who_is_not_in_a_group_says_nothing_about_its_packets() {
    for (group, is_in) in [
        ("ff02::1", true),
        ("ff02::2", true),
        ("ff02::1:ff00:1", true),
        ("ff02::1:ff00:2", false),
        ("ff02::1234", false),
        ("ff05::2", false),
        ("ff0e::1234", false),
    ] {
        let group = address(group);
        let expected = match is_in {
            true => Fate::Replied(Some(DropReason::ExtensionHeaders)),
            false => Fate::Dropped(DropReason::ExtensionHeaders),
        };
        for from in [IADDR, INTERNET.link_local()] {
            let mut packet = asking(group, 60, &[header(58, [0x80, 4, 0, 0, 0, 0])]);
            packet[8..24].copy_from_slice(&from.to_be_bytes());
            let frame = frame(Mac::of_ipv6_multicast(group), INTERNET, &packet);
            let outcome = the_gateway().receive("ext0", &frame);
            assert_eq!(outcome.fate, expected, "{group:x}");
            // The answer comes from the port and not from the group.
            if is_in {
                assert_eq!(outcome.through("ext0")[..12], [INTERNET.0, GATEWAY_EXTERNAL.0].concat());
            }
        }
    }
}

#[test]
fn rfc_4443_section_2_4_e_3_only_an_option_demands_an_error_about_a_packet_to_a_group() {
    let group = address("ff02::1");
    let mac = Mac::of_ipv6_multicast(group);
    let packet = asking(group, 60, &[header(58, [0x80, 4, 0, 0, 0, 0])]);
    assert_problem(&packet, mac, DropReason::ExtensionHeaders, OWN, (2, 42));
    let unknown = ipv6(IADDR, group, 47, &[0; 16]);
    for (packet, reason) in [
        (asking(group, 60, &[header(58, [0xc0, 4, 0, 0, 0, 0])]), DropReason::ExtensionHeaders),
        (asking(group, 43, &[header(58, [4, 1, 0, 0, 0, 0])]), DropReason::ExtensionHeaders),
        (asking(group, 60, &[header(0, PAD), header(58, PAD)]), DropReason::ExtensionHeaders),
        (unknown, DropReason::Multicast),
    ] {
        let fate = the_gateway().receive("ext0", &frame(mac, INTERNET, &packet)).fate;
        assert_eq!(fate, Fate::Dropped(reason));
    }
}

#[test]
fn rfc_8200_section_4_an_unknown_next_header_is_answered_with_where_it_is_named() {
    let own = address(OWN);
    for next in [4, 41, 47, 50, 89, 132, 253] {
        let packet = ipv6(IADDR, own, next, &[7; 24]);
        assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::NotServed, OWN, (1, 6));
        let packet = ipv6(IADDR, own, 60, &[&header(next, PAD)[..], &[7; 24]].concat());
        assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::NotServed, OWN, (1, 40));
    }
    // Hop-by-hop options that do not stand first, and a routing header with segments left.
    let packet = asking(own, 60, &[header(0, PAD), header(58, PAD)]);
    assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::ExtensionHeaders, OWN, (1, 40));
    let packet = asking(own, 43, &[header(58, [0, 1, 0, 0, 0, 0])]);
    assert_problem(&packet, GATEWAY_EXTERNAL, DropReason::ExtensionHeaders, OWN, (0, 42));
    // No next header is nothing to tell of.
    let fate = the_gateway().receive("ext0", &from_internet(&ipv6(IADDR, own, 59, &[]))).fate;
    assert_eq!(fate, Fate::Dropped(DropReason::NotServed));
}

#[test]
fn rfc_4443_section_2_4_e_1_no_error_about_an_error_behind_what_is_not_understood() {
    let own = address(OWN);
    let error = icmp6(IADDR, own, 1, 0, &[0; 48]);
    let signed = [&[58, 4][..], &[0; 22], &error].concat();
    for (first, chain) in [
        (60, [&header(58, [0x80, 4, 0, 0, 0, 0])[..], &error].concat()),
        (43, [&header(58, [4, 1, 0, 0, 0, 0])[..], &error].concat()),
        (51, signed),
    ] {
        let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &ipv6(IADDR, own, first, &chain));
        let fate = the_gateway().receive("fabric0", &on_fabric).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::ExtensionHeaders), "{first}");
    }
}

#[test]
fn a_packet_to_others_passes_with_headers_that_this_node_does_not_understand() {
    let far = address("2001:db8:9::1");
    for (first, headers) in [
        (0, vec![header(58, [0xc0, 4, 0, 0, 0, 0])]),
        (60, vec![header(58, [0x80, 4, 0, 0, 0, 0])]),
        (43, vec![header(58, [253, 1, 0, 0, 0, 0])]),
        (60, vec![header(0, PAD), header(58, PAD)]),
    ] {
        let packet = asking(far, first, &headers);
        let sent = the_gateway().receive("ext0", &from_internet(&packet)).forwarded("ext0");
        assert_eq!(sent[14 + 8..], packet[8..]);
    }
}

/// An echo request of `from` with `data` bytes.
fn long_request(from: u128, to: u128, data: usize) -> Vec<u8> {
    let rest: Vec<u8> = [0x12, 0x34, 0, 7].into_iter().chain((0..data).map(|n| (n * 7) as u8)).collect();
    ipv6(from, to, 58, &icmp6(from, to, 128, 0, &rest))
}

/// Sends the request and puts its reply together; asserts that it is the reply, in as many frames, none longer than
/// `longest`.
fn assert_replied(node: &mut Node, port: &str, request: &[u8], asked: &[u8], frames: usize, longest: usize) {
    let l3 = request.len() - asked.len();
    let (fate, sent) = node.receive_copies(port, request);
    assert_eq!((fate, sent.len()), (Fate::Replied(None), frames));
    let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
    let mut whole = (frames == 1).then(|| sent[0].1[l3 + 40..].to_vec());
    for (name, frame) in &sent {
        let packet = &frame[l3..];
        assert!(name == port && packet.len() <= longest, "{}", packet.len());
        assert_eq!((packet[6], packet[7]), (if frames == 1 { 58 } else { 44 }, 64));
        if frames > 1 {
            let sliced = SlicedPacket::from_ip(packet).unwrap();
            whole = pool.process_sliced_packet(&sliced, (), ()).unwrap().map(|whole| whole.payload);
        }
    }
    let whole = whole.expect("all fragments");
    let (from, to) = (source(&sent[0].1[l3..]), destination(&sent[0].1[l3..]));
    assert_eq!(transport_ok(etherparse::IpNumber::IPV6_ICMP, &whole, from, to), Some(true));
    assert_eq!((&whole[..2], &whole[4..]), (&[129, 0][..], &asked[44..]));
}

#[test]
fn rfc_8201_section_4_no_reply_of_this_node_is_longer_than_every_link_carries() {
    let own = address(OWN);
    for (data, frames) in [(4, 1), (1232, 1), (1233, 2), (1452, 2), (2456, 2), (2457, 3), (8000, 7)] {
        let asked = long_request(IADDR, own, data);
        assert_replied(&mut the_gateway(), "ext0", &from_internet(&asked), &asked, frames, 1280);
    }
    // To a task, over its mapping.
    let task = "2001:db8:dddd:0:2000::3";
    let mut node = gateway(ChecksumMode::NeutralMap, "", &[(task.into(), "fd00:1:0:3::/64")]);
    let asked = long_request(address(task), address("fd00:1:0:fe::1"), 1300);
    let request = frame(GATEWAY_FABRIC, NVE_FABRIC, &asked);
    assert_replied(&mut node, "fabric0", &request, &asked, 2, 1280);
}

/// What a tenant on another host gets of an answer that left through the gateway's fabric port.
fn delivered(sent: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut host = tenants::host_where(tenants::L2, tenants::INTERNET_TOO);
    let at_host = sent.iter().map(|(_, frame)| host.receive("fabric0", &tenants::carried(frame)));
    at_host.filter(|outcome| outcome.fate == Fate::Forwarded).map(|outcome| outcome.sent.unwrap().1).collect()
}

#[test]
fn a_long_reply_reaches_a_tenant_of_another_host_and_an_ipv4_tenant_is_sent_none() {
    let mapped =
        ["2001:db8:dddd:0:6000:64:0:2", "2001:db8:dddd:0:4000:64:a00:2"].map(|sir| (sir, tenants::L2));
    for (data, frames) in [(4, 1), (1232, 1), (1233, 2), (1400, 2), (2457, 3)] {
        let mut node = tenants::network_gateway(tenants::INTERNET_TOO, &mapped);
        let (tenant, own) = (address("2001:db8:a::2"), address(OWN));
        let asked = long_request(tenant, own, data);
        let request = frame(GATEWAY_FABRIC, NVE_FABRIC, &asked);
        let (fate, sent) = node.receive_copies("fabric0", &request);
        assert_eq!((fate, sent.len()), (Fate::Replied(None), frames));
        let got = delivered(&sent);
        assert_eq!(got.len(), frames);
        let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
        let mut whole = (frames == 1).then(|| got[0][14 + 40..].to_vec());
        for frame in got.iter().filter(|_| frames > 1) {
            let sliced = SlicedPacket::from_ip(&frame[14..]).unwrap();
            whole = pool.process_sliced_packet(&sliced, (), ()).unwrap().map(|whole| whole.payload);
        }
        let whole = whole.expect("all fragments");
        assert_eq!(transport_ok(etherparse::IpNumber::IPV6_ICMP, &whole, own, tenant), Some(true));
        assert_eq!((&whole[..2], &whole[4..]), (&[129, 0][..], &asked[44..]));
        // This node has no IPv4 address in the network, so that no IPv4 tenant can have asked it.
        let asked = long_request(address("2001:db8:dddd:0:4000:64:a00:2"), own, data);
        let (fate, sent) = node.receive_copies("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &asked));
        assert_eq!((fate, sent), (Fate::Dropped(DropReason::SpoofedSource), vec![]), "{data}");
    }
}

#[test]
fn a_reply_that_crosses_one_link_only_is_as_long_as_that_carries() {
    // From a link-local address, and to a task that is attached here.
    let own = GATEWAY_EXTERNAL.link_local();
    let asked = long_request(INTERNET.link_local(), own, 1400);
    assert_replied(&mut the_gateway(), "ext0", &from_internet(&asked), &asked, 1, 1448);
    let task = "2001:db8:dddd:0:2000::1";
    let mut host = nve(ChecksumMode::NeutralMap, "fd00:1:0:1::/64", &[(task.into(), TASK)], &[]);
    let asked = long_request(address(task), address("fd00:ffff::1"), 1400);
    assert_replied(&mut host, "access0", &frame(TASK_ROUTER, TASK, &asked), &asked, 1, 1448);
}
