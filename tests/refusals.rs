//! What an IPv4 tenant is told of a packet that was lost, and what an IPv6 sender is told of a packet that an IPv4
//! tenant cannot get: the errors of RFC 792, RFC 1122, RFC 1812 and RFC 7915, quoting the packet as it was sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::net::Mac;
use ilagate::net::checksum;
use ilagate::net::ipv4::{self, Ipv4};
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const VM1_IPV4: u32 = 0x0a00_0001;
const GATEWAY: [u8; 4] = [10, 0, 0, 254];
/// A loose source route with one hop left, and a record route: both are quoted.
const SOURCE_ROUTE: &[u8] = &[7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 192, 0, 2, 9, 1, 1];

/// A packet of VM1 as only VM1 would write it: with a type of service, an identification and options.
struct Sent {
    to: [u8; 4],
    protocol: u8,
    ttl: u8,
    options: Vec<u8>,
    /// DF, MF and the fragment offset in units of 8 bytes.
    place: (bool, bool, u16),
    payload: Vec<u8>,
}

impl Sent {
    fn udp(to: [u8; 4], data: usize) -> Sent {
        let mut payload = vec![0x0f, 0xa0, 0, 53, 0, 0, 0, 0];
        payload.extend((0..data).map(|n| (n * 5) as u8));
        let length = payload.len() as u16;
        payload[4..6].copy_from_slice(&length.to_be_bytes());
        let pseudo = [&[10, 0, 0, 1], &to[..], &[0, 17], &length.to_be_bytes()].concat();
        let sum = !checksum::add(checksum::sum_of_bytes(&pseudo), checksum::sum_of_bytes(&payload));
        payload[6..8].copy_from_slice(&sum.to_be_bytes());
        Sent { to, protocol: 17, ttl: 64, options: Vec::new(), place: (false, false, 0), payload }
    }

    fn of(to: [u8; 4], protocol: u8, payload: &[u8]) -> Sent {
        Sent { protocol, payload: payload.to_vec(), ..Sent::udp(to, 0) }
    }

    fn packet(&self) -> Vec<u8> {
        let mut packet = [&[0; ipv4::HEADER], &self.options[..]].concat();
        let length = packet.len();
        let total = (length + self.payload.len()) as u16;
        let mut header = Ipv4::of_mut(&mut packet).unwrap();
        header.write(total, self.protocol, self.ttl, VM1_IPV4, u32::from_be_bytes(self.to));
        header.set_header_length(length);
        header.set_tos(0x2e);
        header.set_identification(0xbeef);
        header.set_fragment(self.place.0, self.place.1, self.place.2);
        ipv4::seal(&mut packet);
        [packet, self.payload.clone()].concat()
    }

    fn frame(&self) -> Vec<u8> {
        ipv4_frame(ANYCAST, VM1, &self.packet())
    }
}

/// Asserts the error that VM1's gateway sends it, which quotes `sent` unchanged. `word` are the bits behind the
/// checksum.
fn assert_told(node: &mut Node, sent: &Sent, reason: DropReason, kind_and_code: [u8; 2], word: u32) {
    let outcome = node.receive("access0", &sent.frame());
    assert_eq!(outcome.fate, Fate::Replied(Some(reason)));
    assert_error(&outcome.through("access0"), 14, &sent.packet(), kind_and_code, word);
}

fn assert_error(frame: &[u8], l3: usize, sent: &[u8], kind_and_code: [u8; 2], word: u32) {
    let answer = &frame[l3..];
    assert_eq!(answer[20..22], kind_and_code);
    assert_eq!(u32::from_be_bytes(answer[24..28].try_into().unwrap()), word);
    let (header, from) = (Ipv4::of(answer).unwrap(), Ipv4::of(sent).unwrap());
    assert_eq!((header.source(), header.destination()), (u32::from_be_bytes(GATEWAY), from.source()));
    assert_eq!(usize::from(header.total_length()), answer.len());
    // RFC 1812 §4.3.2.5: precedence of network control, and the service of the packet.
    assert_eq!((header.ttl(), header.tos()), (64, 0xc0 | from.tos() & 0x1c));
    assert!(ipv4::is_intact(&answer[..20]) && checksum::sum_of_bytes(&answer[20..]) == 0xffff);
    assert!(ipv4_checksums_ok(answer));
    // RFC 1812 §4.3.2.3: as much of the packet as fits 576 bytes.
    assert_eq!(answer[28..], sent[..sent.len().min(576 - 28)]);
}

fn assert_silent(node: &mut Node, sent: &Sent, reason: DropReason) {
    assert_eq!(node.receive("access0", &sent.frame()).fate, Fate::Dropped(reason));
}

const UNKNOWN: [u8; 4] = [10, 0, 0, 77];
const VM2_IPV4: [u8; 4] = [10, 0, 0, 2];

#[test]
fn rfc_7915_section_4_1_a_source_route_is_answered_with_source_route_failed() {
    for to in [VM2_IPV4, UNKNOWN] {
        let sent = Sent { options: SOURCE_ROUTE.to_vec(), ..Sent::udp(to, 100) };
        assert_told(&mut host(L1), &sent, DropReason::Untranslatable, [3, 5], 0);
    }
}

#[test]
fn rfc_1122_section_3_2_2_5_a_malformed_option_is_answered_with_a_pointer_to_it() {
    let sent = Sent { options: vec![1, 7, 60, 4], ..Sent::udp(VM2_IPV4, 100) };
    assert_told(&mut host(L1), &sent, DropReason::Untranslatable, [12, 0], 22 << 24);
}

#[test]
fn rfc_7915_section_4_5_a_first_fragment_without_a_udp_checksum_is_answered_as_prohibited() {
    let mut sent = Sent { place: (false, true, 0), ..Sent::udp(VM2_IPV4, 592) };
    sent.payload[6..8].fill(0);
    assert_told(&mut host(L1), &sent, DropReason::Untranslatable, [3, 13], 0);
    // A later fragment does not show whether there is a checksum.
    sent.place = (false, false, 4);
    host(L1).receive("access0", &sent.frame()).forwarded("fabric0");
}

#[test]
fn rfc_1812_section_5_2_7_1_an_unknown_destination_is_an_unreachable_net_and_an_unknown_host_a_host() {
    let sent = Sent { options: vec![148, 4, 0, 0], ..Sent::udp([192, 0, 2, 1], 700) };
    assert_told(&mut host(L1), &sent, DropReason::Ipv4NoRoute, [3, 0], 0);
    for options in [vec![], vec![148, 4, 0, 0], vec![1; 40]] {
        for (data, df) in [(0, false), (100, true), (1400, false)] {
            let mut sent =
                Sent { options: options.clone(), place: (df, false, 0), ..Sent::udp(UNKNOWN, data) };
            assert_told(&mut host(L1), &sent, DropReason::NoMapping, [3, 1], 0);
            // The checksum is computed for IPv6, and quoted as it was sent.
            sent.payload[6..8].fill(0);
            assert_told(&mut host(L1), &sent, DropReason::NoMapping, [3, 1], 0);
        }
    }
}

#[test]
fn rfc_1812_section_5_3_1_a_ttl_that_runs_out_is_told_with_the_packet_as_it_came() {
    for (protocol, payload) in [
        (17, Sent::udp(VM2_IPV4, 30).payload),
        (6, vec![0x5a; 40]),
        (1, [&[8, 0, 0x12, 0x34, 0, 7, 0, 1][..], &[9; 56]].concat()),
        (47, vec![1; 24]),
        (50, vec![2; 9]),
    ] {
        for ttl in [0, 1] {
            let sent =
                Sent { ttl, options: vec![7, 7, 4, 0, 0, 0, 0, 1], ..Sent::of(VM2_IPV4, protocol, &payload) };
            assert_told(&mut host(L1), &sent, DropReason::HopLimit, [11, 0], 0);
        }
    }
}

#[test]
fn rfc_1191_an_mtu_is_told_with_the_packet_as_it_came() {
    let df = |data| Sent { place: (true, false, 0), ..Sent::udp(VM2_IPV4, data) };
    assert_told(&mut host(L1), &df(1472), DropReason::PacketTooBig, [3, 4], 1480);
    // The network's own MTU counts for what its tenants send, whatever becomes of it.
    let mut node = host_with(L1, &Rules { red: "mtu: 1400", ..Rules::default() });
    for place in [(true, false, 0), (false, false, 0), (false, true, 0)] {
        let sent = Sent { place, ..Sent::udp(VM2_IPV4, 1380) };
        assert_told(&mut node, &sent, DropReason::PacketTooBig, [3, 4], 1400);
    }
}

#[test]
fn rfc_1812_section_5_2_7_1_what_no_policy_allows_is_prohibited() {
    let peers = "{address: \"10.0.0.104\", to: {network: blue, address: \"10.0.0.2\"}}";
    let mut node = host_with(L1, &Rules { red_peers: peers, ..Rules::default() });
    assert_told(&mut node, &Sent::udp([10, 0, 0, 104], 30), DropReason::NoPolicy, [3, 13], 0);
}

#[test]
fn rfc_1122_section_3_2_2_1_a_gateway_serves_no_port_and_no_protocol() {
    assert_told(&mut host(L1), &Sent::udp(GATEWAY, 9), DropReason::NotServed, [3, 3], 0);
    assert_told(&mut host(L1), &Sent::of(GATEWAY, 6, &[3; 20]), DropReason::NotServed, [3, 3], 0);
    assert_told(&mut host(L1), &Sent::of(GATEWAY, 47, &[3; 20]), DropReason::NotServed, [3, 2], 0);
    // RFC 1122 §3.2.2: a query of an unknown type is discarded.
    assert_silent(&mut host(L1), &Sent::of(GATEWAY, 1, &[13, 0, 0, 0, 0, 0, 0, 0]), DropReason::NotServed);
}

#[test]
fn a_tenant_behind_a_vlan_is_told_there() {
    let packet = ipv4_packet([10, 0, 0, 2], [192, 0, 2, 1], 64, b"where to");
    let outcome = host(L1).receive("access0", &ipv4_tagged(ANYCAST, VM3, 7, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::Ipv4NoRoute)));
    let answer = outcome.through("access0");
    assert_eq!(answer[..18], [&VM3.0[..], &ANYCAST.0, &[0x81, 0, 0, 7, 8, 0]].concat());
    assert_error(&answer, 18, &packet, [3, 0], 0);
}

#[test]
fn rfc_1122_section_3_2_2_no_error_about_an_error() {
    for kind in [3, 4, 5, 11, 12] {
        let quote = Sent::udp([10, 0, 0, 1], 8).packet();
        let mut message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &quote].concat();
        let sum = !checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let sent = Sent { ttl: 1, ..Sent::of([192, 0, 2, 1], 1, &message) };
        assert_silent(&mut host(L1), &sent, DropReason::Ipv4NoRoute);
        let sent = Sent { options: SOURCE_ROUTE.to_vec(), ..Sent::of(VM2_IPV4, 1, &message) };
        assert_silent(&mut host(L1), &sent, DropReason::Untranslatable);
    }
    // One that is cut short may be one.
    assert_silent(&mut host(L1), &Sent::of([192, 0, 2, 1], 1, &[]), DropReason::Ipv4NoRoute);
}

#[test]
fn rfc_1122_section_3_2_2_no_error_about_a_later_fragment() {
    for place in [(false, true, 1), (false, false, 185), (true, false, 8)] {
        let sent = Sent { place, ..Sent::udp([192, 0, 2, 1], 56) };
        assert_silent(&mut host(L1), &sent, DropReason::Ipv4NoRoute);
        let sent = Sent { place, ttl: 1, ..Sent::udp(VM2_IPV4, 56) };
        assert_silent(&mut host(L1), &sent, DropReason::HopLimit);
    }
}

#[test]
fn rfc_1122_section_3_2_2_no_error_about_a_packet_to_a_group_or_to_all() {
    for (to, mac) in [
        ([10, 0, 0, 255], Mac::BROADCAST),
        ([255, 255, 255, 255], Mac::BROADCAST),
        ([239, 1, 2, 3], Mac::of_ipv4_multicast(0xef01_0203)),
    ] {
        let sent = Sent { options: SOURCE_ROUTE.to_vec(), ..Sent::udp(to, 20) };
        let outcome = host(L1).receive("access0", &ipv4_frame(mac, VM1, &sent.packet()));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::Untranslatable), "{to:?}");
        let sent = Sent { ttl: 1, ..Sent::udp(to, 20) };
        let outcome = host(L1).receive("access0", &ipv4_frame(mac, VM1, &sent.packet()));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::GroupHopLimit), "{to:?}");
    }
}

#[test]
fn what_a_tenant_had_no_right_to_send_is_not_answered() {
    let mut packet = Sent { options: SOURCE_ROUTE.to_vec(), ..Sent::udp(VM2_IPV4, 20) }.packet();
    packet[15] = 9;
    ipv4::seal(&mut packet[..36]);
    let outcome = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource));
}

#[test]
fn errors_to_an_ipv4_tenant_are_limited_by_its_own_bucket() {
    let limits = "limits: {icmp_errors: {per_second: 10, burst: 3}}";
    let mut node = host_with(L1, &Rules { red: limits, ..Rules::default() });
    let sent = Sent { options: SOURCE_ROUTE.to_vec(), ..Sent::udp(VM2_IPV4, 20) };
    let told = |node: &mut Node| {
        let fates = (0..10).map(|_| node.receive("access0", &sent.frame()).fate);
        fates.filter(|fate| *fate == Fate::Replied(Some(DropReason::Untranslatable))).count()
    };
    assert_eq!(told(&mut node), 3);
    node.wait_ms(100);
    assert_eq!(told(&mut node), 1);
    let mut node = host_limited(L1, "icmp: {errors_per_second: 0}");
    assert_silent(&mut node, &sent, DropReason::Untranslatable);
}

#[test]
fn rfc_7915_section_4_5_whole_udp_without_a_checksum_gets_one_or_is_refused_as_configured() {
    for data in [0, 30, 1400] {
        let mut sent = Sent::udp(VM2_IPV4, data);
        sent.place.0 = true;
        let wire = host(L1).receive("access0", &sent.frame()).forwarded("fabric0");
        let right = wire[14 + 46..14 + 48].to_vec();
        sent.payload[6..8].fill(0);
        for more in ["", "translation: {}", "translation: {missing_udp_checksum: compute}"] {
            let wire = host_limited(L1, more).receive("access0", &sent.frame()).forwarded("fabric0");
            assert_eq!(wire[14 + 46..14 + 48], right);
        }
        let mut node = host_limited(L1, "translation: {missing_udp_checksum: drop}");
        assert_told(&mut node, &sent, DropReason::Untranslatable, [3, 13], 0);
        // With a checksum it passes there, too.
        let fate = node.receive("access0", &Sent::udp(VM2_IPV4, data.min(1000)).frame()).fate;
        assert_eq!(fate, Fate::Forwarded);
    }
}

/// The service task sends `payload` behind `next` to VM1, whose host cannot translate it; what the task is told, after
/// it came back over the fabric.
fn told_to_the_service(next: u8, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let policies = format!("{FROM_SERVICE}, {TO_SERVICE}");
    let (from, to) = (address(SERVICE), address("2001:db8:dddd:0:4000:64:a00:1"));
    let packet = ipv6(from, to, next, payload);
    let mut sender = peered(L2, &policies);
    let on_wire = sender.receive("access0", &tagged(TASK_ROUTER, TASK, 9, &packet)).forwarded("fabric0");
    let outcome = peered(L1, &policies).receive("fabric0", &carried(&on_wire));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::Untranslatable)));
    let error = sender.receive("fabric0", &carried(&outcome.through("fabric0"))).forwarded("access0");
    (packet, error[18..].to_vec())
}

/// Asserts an ICMPv6 error about `packet` as it was sent, but for the hop that it had behind it.
fn assert_told6(packet: &[u8], error: &[u8], kind_and_code: (u8, u8), pointer: u32) {
    let told = told(error);
    assert_eq!(((told.kind, told.code), told.parameter), (kind_and_code, pointer));
    let mut quote = told.quote.to_vec();
    quote[7] = packet[7];
    assert_eq!(quote, packet);
}

#[test]
fn rfc_7915_section_5_1_a_routing_header_with_segments_left_is_answered_with_its_pointer() {
    let routing = [17, 0, 4, 1, 0, 0, 0, 0];
    let options = [43, 0, 1, 4, 0, 0, 0, 0];
    let (packet, error) = told_to_the_service(43, &[&routing[..], &[0; 16]].concat());
    assert_told6(&packet, &error, (4, 0), 43);
    let (packet, error) = told_to_the_service(60, &[&options[..], &routing, &[0; 16]].concat());
    assert_told6(&packet, &error, (4, 0), 51);
}

#[test]
fn rfc_7915_section_5_1_1_a_header_behind_a_fragment_header_is_answered_as_prohibited() {
    for place in [[0, 0], [0, 1]] {
        let fragment = [60, 0, place[0], place[1], 1, 2, 3, 4];
        let options = [17, 0, 1, 4, 0, 0, 0, 0];
        let (packet, error) = told_to_the_service(44, &[&fragment[..], &options, &[7; 32]].concat());
        assert_told6(&packet, &error, (1, 1), 0);
    }
}

/// A router of the fabric reports a packet of VM1 to it, with `extension` before the error.
fn of_a_router(next: u8, extension: &[u8]) -> Vec<u8> {
    let on_wire = host(L1).receive("access0", &Sent::udp(VM2_IPV4, 30).frame()).forwarded("fabric0");
    let to = address("2001:db8:dddd:0:4000:64:a00:1");
    let mut error = icmp6_error(address("fd00:1:0:aaaa::1"), to, 3, 0, 0, &on_wire[14..]);
    error.splice(40..40, extension.iter().copied());
    let length = (error.len() - 40) as u16;
    error[4..6].copy_from_slice(&length.to_be_bytes());
    error[6] = next;
    frame(NVE_FABRIC, GATEWAY_FABRIC, &error)
}

#[test]
fn an_icmp_error_is_translated_behind_options_and_never_hidden_behind_ah() {
    for (next, extension) in [(58, &[][..]), (60, &[58, 0, 1, 4, 0, 0, 0, 0])] {
        let told = host(L1).receive("fabric0", &of_a_router(next, extension)).forwarded("access0");
        assert_eq!((ipv4_line(&told[14..]), &told[34..36]), ("10.0.0.254,10.0.0.1".to_owned(), &[11, 0][..]));
    }
    // It would come from the gateway's address, as a protocol that nobody looked into.
    let authentication = [&[58, 4][..], &[0; 22]].concat();
    let outcome = host(L1).receive("fabric0", &of_a_router(51, &authentication));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::Untranslatable));
    let hidden = [&[58, 4][..], &[0; 22], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_silent(&mut host(L1), &Sent::of(VM2_IPV4, 51, &hidden), DropReason::Untranslatable);
}
