//! ICMPv6 errors: who gets them, what they quote, and how those of others are translated back (RFC 4443).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use ilagate::net::Mac;
use ilagate::path::DropReason;
use support::packets::*;
use support::*;

const T1: &str = "2001:db8:dddd:0:2000::1";
const T3: &str = "2001:db8:dddd:0:2000::3";
const UNKNOWN: &str = "2001:db8:dddd:0:2000::77";
const L1: &str = "fd00:1:0:1::/64";
const L3: &str = "fd00:1:0:3::/64";
const GATEWAY: &str = "2001:db8:ff::1";

fn the_gateway() -> Node {
    gateway(ChecksumMode::NeutralMap, "", &[(T3.into(), L3)])
}

fn from_internet(l3: &[u8]) -> Vec<u8> {
    frame(GATEWAY_EXTERNAL, INTERNET, l3)
}

/// Sends `l3` from the Internet and asserts the error that comes back, with `l3` quoted unchanged.
fn assert_told(node: &mut Node, l3: &[u8], reason: DropReason, kind: u8, code: u8, parameter: u32) {
    let outcome = node.receive("ext0", &from_internet(l3));
    assert_eq!(outcome.fate, Fate::Replied(Some(reason)));
    let answer = outcome.through("ext0");
    assert_eq!((&answer[..6], &answer[6..12]), (&INTERNET.0[..], &GATEWAY_EXTERNAL.0[..]));
    let answer = &answer[14..];
    assert_eq!((source(answer), destination(answer)), (address(GATEWAY), source(l3)));
    let told = told(answer);
    assert_eq!((told.kind, told.code, told.parameter), (kind, code, parameter));
    // RFC 4443 §3: as much of the packet as fits without exceeding the minimum MTU.
    assert_eq!(told.quote, &l3[..l3.len().min(1280 - 48)]);
}

fn to(sir: &str) -> Vec<u8> {
    let to = address(sir);
    ipv6(IADDR, to, 6, &tcp(IADDR, to, b"some data"))
}

#[test]
fn time_exceeded_when_the_hop_limit_runs_out() {
    for hop_limit in [0, 1] {
        let mut packet = to(T3);
        packet[7] = hop_limit;
        assert_told(&mut the_gateway(), &packet, DropReason::HopLimit, 3, 0, 0);
    }
}

#[test]
fn time_exceeded_before_a_neighbour_is_asked_for() {
    let connected = address("2001:db8:ff::42");
    let mut packet = ipv6(IADDR, connected, 17, &udp(IADDR, connected, b"x"));
    packet[7] = 1;
    assert_told(&mut the_gateway(), &packet, DropReason::HopLimit, 3, 0, 0);
}

#[test]
fn address_unreachable_without_a_mapping() {
    assert_told(&mut the_gateway(), &to(UNKNOWN), DropReason::NoMapping, 1, 3, 0);
}

#[test]
fn no_route_without_a_route() {
    let far = address("fc00::1");
    let packet = ipv6(IADDR, far, 17, &udp(IADDR, far, b"x"));
    assert_told(&mut the_gateway(), &packet, DropReason::NoRoute, 1, 0, 0);
}

#[test]
fn no_route_to_a_locator_on_a_subnet_of_ours() {
    let mut gateway = gateway(ChecksumMode::NeutralMap, "", &[(T3.into(), "fd00:1:0:fe::/64")]);
    assert_told(&mut gateway, &to(T3), DropReason::LocatorOnLink, 1, 0, 0);
}

#[test]
fn packet_too_big_says_the_mtu_and_quotes_what_fits() {
    let (to, data) = (address(T3), vec![5; 1500]);
    let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, &data));
    assert_told(&mut the_gateway(), &packet, DropReason::PacketTooBig, 2, 0, 1500);
    // The largest that fits goes through.
    let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, &data[..1452]));
    assert_eq!(packet.len(), 1500);
    the_gateway().receive("ext0", &from_internet(&packet)).forwarded("fabric0");
    let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, &data[..1453]));
    assert_told(&mut the_gateway(), &packet, DropReason::PacketTooBig, 2, 0, 1500);
}

#[test]
fn port_unreachable_for_what_the_node_itself_does_not_serve() {
    let own = address(GATEWAY);
    let packet = ipv6(IADDR, own, 17, &udp(IADDR, own, b"x"));
    assert_told(&mut the_gateway(), &packet, DropReason::NotServed, 1, 4, 0);
}

#[test]
fn port_unreachable_comes_from_the_address_that_was_asked() {
    // RFC 4443 §2.2 (a), also for an address of another port.
    let own = address("fd00:1:0:fe::1");
    let packet = ipv6(IADDR, own, 17, &udp(IADDR, own, b"x"));
    assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), DropReason::ExternalToFabric);
    let (from, own) = (address("fd00:1:0:ff::2"), address(GATEWAY));
    let packet = ipv6(from, own, 17, &udp(from, own, b"x"));
    let outcome = the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NotServed)));
    let answer = outcome.through("fabric0");
    assert_eq!((source(&answer[14..]), destination(&answer[14..])), (own, from));
    assert_eq!(told(&answer[14..]).quote, &packet[..]);
}

#[test]
fn an_error_to_a_task_takes_the_way_of_its_mapping() {
    let mut host = nve(ChecksumMode::NeutralMap, L1, &[(T1.into(), TASK)], &[]);
    let (from, to) = (address(T1), address(UNKNOWN));
    let packet = ipv6(from, to, 6, &tcp(from, to, b"x"));
    let outcome = host.receive("access0", &frame(TASK_ROUTER, TASK, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoMapping)));
    let answer = outcome.through("access0");
    assert_eq!(&answer[..6], &TASK.0);
    assert_eq!((destination(&answer[14..]), told(&answer[14..]).quote), (from, &packet[..]));
}

#[test]
fn an_unknown_identifier_under_our_locator_is_reported_as_the_sender_wrote_it() {
    let mut gateway = gateway(ChecksumMode::NeutralMap, "", &[(T3.into(), L1)]);
    let mut host = nve(ChecksumMode::NeutralMap, L1, &[(T1.into(), TASK)], &[]);
    let packet = to(T3);
    let on_wire = gateway.receive("ext0", &from_internet(&packet)).forwarded("fabric0");
    let outcome = host.receive("fabric0", &on_wire);
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NotLocal)));
    let answer = outcome.through("fabric0");
    let told = told(&answer[14..]);
    assert_eq!((told.kind, told.code, destination(told.quote)), (1, 3, address(T3)));
}

// RFC 4443 §2.4(e): an ICMPv6 error message must not be originated as a result of receiving …

fn assert_silent(node: &mut Node, port: &str, frame: &[u8], reason: DropReason) {
    assert_eq!(node.receive(port, frame).fate, Fate::Dropped(reason));
}

#[test]
fn rfc_4443_2_4_e_1_no_error_about_an_icmpv6_error() {
    for kind in [1, 2, 3, 4, 100, 127] {
        let mut packet = icmp6_error(IADDR, address(T3), kind, 0, 0, &to(UNKNOWN));
        packet[7] = 1;
        let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &packet);
        assert_silent(&mut the_gateway(), "fabric0", &on_fabric, DropReason::HopLimit);
    }
    // Informational messages are answered.
    let (from, sir) = (IADDR, address(T3));
    let mut echo = ipv6(from, sir, 58, &icmp6(from, sir, 128, 0, &[0, 1, 0, 2]));
    echo[7] = 1;
    assert_told(&mut the_gateway(), &echo, DropReason::HopLimit, 3, 0, 0);
}

#[test]
fn rfc_4443_2_4_e_1_no_error_about_a_later_fragment_that_may_be_one() {
    let header = [58, 0, 0, 8, 1, 2, 3, 4];
    let mut packet = ipv6(IADDR, address(T3), 44, &[&header[..], &[0; 32]].concat());
    packet[7] = 1;
    assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), DropReason::HopLimit);
}

#[test]
fn rfc_4443_2_4_e_1_no_error_about_what_may_be_one_behind_too_many_extension_headers() {
    let mut error = icmp6_error(IADDR, address(T3), 3, 0, 0, &to(UNKNOWN));
    for n in 0..9 {
        let header = [if n == 0 { 58 } else { 60 }, 0, 1, 4, 0, 0, 0, 0];
        error.splice(40..40, header);
    }
    (error[5], error[6], error[7]) = ((error.len() - 40) as u8, 60, 1);
    // An external port refuses it at once.
    let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &error);
    assert_silent(&mut the_gateway(), "fabric0", &on_fabric, DropReason::HopLimit);
}

#[test]
fn rfc_4443_2_4_e_1_no_error_about_what_may_hide_one_behind_other_headers() {
    // A later fragment of a chain that goes on, and headers that end the walk.
    for kind in [0, 43, 51, 60, 135, 139, 140] {
        let header = [kind, 0, 0, 8, 1, 2, 3, 4];
        let mut later = ipv6(IADDR, address(T3), 44, &[&header[..], &[0; 32]].concat());
        later[7] = 1;
        assert_silent(&mut the_gateway(), "ext0", &from_internet(&later), DropReason::HopLimit);
    }
    for kind in [135, 139, 140] {
        let mut packet = ipv6(IADDR, address(T3), kind, &[&[58, 0, 0, 0, 0, 0, 0, 0][..], &[1; 32]].concat());
        packet[7] = 1;
        let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &packet);
        assert_silent(&mut the_gateway(), "fabric0", &on_fabric, DropReason::HopLimit);
    }
    for headers in [&[58, 4][..], &[60, 4]] {
        // Behind AH, and behind options behind AH.
        let mut chain = [headers, &[0; 22]].concat();
        if headers[0] == 60 {
            chain.extend([58, 0, 1, 4, 0, 0, 0, 0]);
        }
        chain.extend(icmp6(IADDR, address(T3), 1, 0, &[0; 48]));
        let mut packet = ipv6(IADDR, address(T3), 51, &chain);
        packet[7] = 1;
        let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &packet);
        assert_silent(&mut the_gateway(), "fabric0", &on_fabric, DropReason::HopLimit);
    }
}

#[test]
fn rfc_4443_2_4_e_2_no_error_about_a_redirect() {
    let (from, sir) = (IADDR, address(T3));
    let mut packet = ipv6(from, sir, 58, &icmp6(from, sir, 137, 0, &[0; 36]));
    packet[7] = 1;
    assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), DropReason::HopLimit);
}

#[test]
fn rfc_4443_2_4_e_3_no_error_about_a_packet_to_a_group() {
    for group in ["ff02::1", "ff0e::1", "ff05::2"] {
        let group = address(group);
        let mut packet = ipv6(IADDR, group, 17, &udp(IADDR, group, b"x"));
        packet[7] = 1;
        let frame = frame(Mac::of_ipv6_multicast(group), INTERNET, &packet);
        assert_silent(&mut the_gateway(), "ext0", &frame, DropReason::Multicast);
    }
}

#[test]
fn rfc_4443_2_4_e_4_and_5_no_error_about_a_packet_in_a_group_or_broadcast_frame() {
    let mut packet = to(T3);
    packet[7] = 1;
    for mac in [Mac([0xff; 6]), Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([1, 0, 0x5e, 0, 0, 1])] {
        let frame = frame(mac, INTERNET, &packet);
        assert_silent(&mut the_gateway(), "ext0", &frame, DropReason::NotOurMac);
    }
}

#[test]
fn rfc_4443_2_4_e_6_no_error_to_an_address_that_names_no_single_node() {
    for (from, reason) in [
        ("ff0e::1", DropReason::MartianSource),
        ("::", DropReason::MartianSource),
        ("::1", DropReason::MartianSource),
        ("::ffff:10.0.0.1", DropReason::MartianSource),
    ] {
        let (from, sir) = (address(from), address(T3));
        let mut packet = ipv6(from, sir, 6, &tcp(from, sir, b"x"));
        packet[7] = 1;
        assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), reason);
    }
    // A source that claims to be this node.
    let (from, sir) = (address(GATEWAY), address(UNKNOWN));
    let packet = ipv6(from, sir, 6, &tcp(from, sir, b"x"));
    assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), DropReason::SpoofedSource);
    let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &packet);
    assert_silent(&mut the_gateway(), "fabric0", &on_fabric, DropReason::NoMapping);
}

#[test]
fn rfc_4443_2_4_f_errors_are_rate_limited() {
    let mut node = gateway(ChecksumMode::NeutralMap, "icmp: {errors_per_second: 10, burst: 3}", &[]);
    let packet = from_internet(&to(UNKNOWN));
    let told = |node: &mut Node| {
        let fates = (0..10).map(|_| node.receive("ext0", &packet).fate);
        fates.filter(|fate| *fate == Fate::Replied(Some(DropReason::NoMapping))).count()
    };
    assert_eq!(told(&mut node), 3);
    node.wait_ms(100);
    assert_eq!(told(&mut node), 1);
    node.wait_ms(60_000);
    assert_eq!(told(&mut node), 3);
}

#[test]
fn a_scan_takes_nothing_from_path_mtu_discovery_or_from_other_ports() {
    let mut node =
        gateway(ChecksumMode::NeutralMap, "icmp: {errors_per_second: 10, burst: 3}", &[(T3.into(), L3)]);
    let scan = from_internet(&to(UNKNOWN));
    let (from, sir) = (IADDR, address(T3));
    let big = from_internet(&ipv6(from, sir, 17, &udp(from, sir, &[7; 1600])));
    let mut last = to(T3);
    last[7] = 1;
    for _ in 0..20 {
        for _ in 0..100 {
            let _ = node.receive("ext0", &scan);
        }
        assert_eq!(node.receive("ext0", &big).fate, Fate::Replied(Some(DropReason::PacketTooBig)));
        assert_eq!(
            node.receive("ext0", &from_internet(&last)).fate,
            Fate::Replied(Some(DropReason::HopLimit))
        );
        let on_fabric = frame(GATEWAY_FABRIC, NVE_FABRIC, &to(UNKNOWN));
        assert_eq!(node.receive("fabric0", &on_fabric).fate, Fate::Replied(Some(DropReason::NoMapping)));
        node.wait_ms(100);
    }
}

#[test]
fn a_rate_of_zero_never_answers() {
    let mut node = gateway(ChecksumMode::NeutralMap, "icmp: {errors_per_second: 0}", &[]);
    assert_silent(&mut node, "ext0", &from_internet(&to(UNKNOWN)), DropReason::NoMapping);
}

#[test]
fn an_error_that_nobody_can_be_sent_is_no_answer() {
    // No route back to the source.
    let (from, sir) = (address("fc00::1"), address(UNKNOWN));
    let packet = ipv6(from, sir, 6, &tcp(from, sir, b"x"));
    assert_silent(&mut the_gateway(), "ext0", &from_internet(&packet), DropReason::NoMapping);
}

/// A router of the fabric reports that the packet on the wire died there.
fn fabric_error(to: u128, on_wire: &[u8]) -> Vec<u8> {
    icmp6_error(address("fd00:1:0:aaaa::1"), to, 3, 0, 0, on_wire)
}

#[test]
fn an_error_that_quotes_an_ila_address_shows_the_sender_what_it_sent() {
    for mode in ChecksumMode::ALL {
        for sir in [T3, "2001:db8:dddd:0:2000::ffff", "2001:db8:dddd:0:2000:0:1:0"] {
            let mut gateway = gateway(mode, "", &[(sir.into(), L3)]);
            let packet = to(sir);
            let on_wire = gateway.receive("ext0", &from_internet(&packet)).forwarded("fabric0");
            let error = fabric_error(IADDR, &on_wire[14..]);
            let answer =
                gateway.receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &error)).forwarded("ext0");
            let told = told(&answer[14..]);
            // The hop limit is what it was where the packet died.
            let mut quote = told.quote.to_vec();
            quote[7] = packet[7];
            assert_eq!(quote, packet, "{mode:?} {sir}");
            assert_eq!(checksum_ok(told.quote), Some(true), "{mode:?}");
        }
    }
}

#[test]
fn an_error_with_a_short_quote_is_translated_as_far_as_it_goes() {
    for mode in ChecksumMode::ALL {
        for length in [40, 41, 48, 55, 57, 58, 60] {
            let mut gateway = gateway(mode, "", &[(T3.into(), L3)]);
            let packet = to(T3);
            let on_wire = gateway.receive("ext0", &from_internet(&packet)).forwarded("fabric0");
            let error = fabric_error(IADDR, &on_wire[14..14 + length]);
            let answer =
                gateway.receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &error)).forwarded("ext0");
            let told = told(&answer[14..]);
            assert_eq!((told.quote.len(), destination(told.quote)), (length, address(T3)), "{mode:?}");
        }
    }
}

#[test]
fn an_error_between_tasks_is_translated_back_at_the_nve_and_at_the_router() {
    for mode in ChecksumMode::ALL {
        let mut host = nve(mode, L1, &[(T1.into(), TASK)], &[(T3.into(), L3)]);
        let mut router = gateway(mode, "", &[(T1.into(), L1), (T3.into(), L3)]);
        let (from, to) = (address(T1), address(T3));
        let packet = ipv6(from, to, 17, &udp(from, to, b"question"));
        let on_wire = host.receive("access0", &frame(TASK_ROUTER, TASK, &packet)).forwarded("fabric0");
        let error = fabric_error(from, &on_wire[14..]);
        // Through an ILA router, which knows both mappings.
        let routed =
            router.receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &error)).forwarded("fabric0");
        assert_eq!(destination(&routed[14..]) >> 64, address("fd00:1:0:1::") >> 64);
        // And straight to the NVE, by somebody who translates nothing but the destination.
        for arriving in [routed[14..].to_vec(), error] {
            let received =
                host.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &arriving)).forwarded("access0");
            let received = &received[14..];
            assert_eq!(destination(received), from);
            let told = told(received);
            let mut quote = told.quote.to_vec();
            quote[7] = packet[7];
            assert_eq!(quote, packet, "{mode:?}");
            assert_eq!(checksum_ok(told.quote), Some(true), "{mode:?}");
        }
    }
}
