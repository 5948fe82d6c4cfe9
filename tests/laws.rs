//! The laws of translation, over random identifiers, payloads and modes, through two whole nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::IpNumber;
use ilagate::ila::ChecksumMode;
use ilagate::path::DropReason;
use proptest::prelude::*;
use std::net::Ipv6Addr;
use support::packets::*;
use support::*;

const L3: &str = "fd00:1:0:3::/64";

fn modes() -> impl Strategy<Value = ChecksumMode> {
    proptest::sample::select(ChecksumMode::ALL.to_vec())
}

/// SIR addresses of tasks, the two zeros of the low word often.
fn tasks() -> impl Strategy<Value = u128> {
    (any::<u64>(), prop_oneof![Just(0u16), Just(0xffff), any::<u16>()]).prop_map(|(value, low)| {
        let identifier = (value >> 4 | 1 << 61) & !0xffff & !(1 << 60) | u64::from(low);
        (u128::from(SIR) << 64) | u128::from(identifier & !(0b110 << 61))
    })
}

/// What stands after the IPv6 header.
#[derive(Debug, Clone, Copy)]
enum Upper {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Echo,
    Gre,
}

fn uppers() -> impl Strategy<Value = Upper> {
    proptest::sample::select(vec![Upper::Tcp, Upper::Udp, Upper::UdpWithoutChecksum, Upper::Echo, Upper::Gre])
}

fn segment(upper: Upper, from: u128, to: u128, data: &[u8]) -> (u8, Vec<u8>) {
    match upper {
        Upper::Tcp => (6, tcp(from, to, data)),
        Upper::Udp => (17, udp(from, to, data)),
        Upper::UdpWithoutChecksum => {
            let mut segment = udp(from, to, data);
            segment[6..8].fill(0);
            (17, segment)
        }
        Upper::Echo => (58, icmp6(from, to, 128, 0, &[&[0, 1, 0, 2], data].concat())),
        Upper::Gre => (47, [&[0, 0, 0x86, 0xdd], data].concat()),
    }
}

/// Puts `count` extension headers in front: hop-by-hop first, then destination options.
fn extended(count: usize, next: u8, segment: &[u8]) -> (u8, Vec<u8>) {
    let mut packet = segment.to_vec();
    let mut first = next;
    for n in (0..count).rev() {
        packet = [&[first, 0, 1, 4, 0, 0, 0, 0], &packet[..]].concat();
        first = if n == 0 { 0 } else { 60 };
    }
    (first, packet)
}

/// A gateway and the NVE of one task behind locator L3.
fn pair(mode: ChecksumMode, task: u128) -> (Node, Node) {
    let sir = Ipv6Addr::from(task).to_string();
    let gateway = gateway(mode, "", &[(sir.clone(), L3)]);
    (gateway, nve(mode, L3, &[(sir, TASK)], &[]))
}

/// Internet to task: on the wire and as received.
fn deliver(gateway: &mut Node, host: &mut Node, packet: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let on_wire = gateway.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, packet)).forwarded("fabric0");
    let received = host.receive("fabric0", &on_wire).forwarded("access0");
    (on_wire[14..].to_vec(), received[14..].to_vec())
}

/// The offset of the transport checksum, for those whose two zeros may differ after the way there and back.
fn checksum_field(upper: Upper, at: usize) -> Option<usize> {
    match upper {
        Upper::Tcp => Some(at + 16),
        Upper::Echo => Some(at + 2),
        Upper::Udp | Upper::UdpWithoutChecksum | Upper::Gre => None,
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn what_was_sent_is_what_is_received(
        mode in modes(), task in tasks(), upper in uppers(), extensions in 0usize..3,
        data in proptest::collection::vec(any::<u8>(), 4..100),
    ) {
        let (mut gateway, mut host) = pair(mode, task);
        let (next, segment) = segment(upper, IADDR, task, &data);
        let (next, payload) = extended(extensions, next, &segment);
        let packet = ipv6(IADDR, task, next, &payload);
        let (on_wire, mut received) = deliver(&mut gateway, &mut host, &packet);
        let before = checksum_ok(&packet);
        prop_assert!(before != Some(false));
        // The locator stands in front; the identifier keeps its upper bits but for the C-bit.
        prop_assert_eq!(destination(&on_wire) >> 64, address("fd00:1:0:3::") >> 64);
        prop_assert_eq!((destination(&on_wire) as u64) >> 16 & !(1 << 44), (task as u64) >> 16);
        let marked = destination(&on_wire) as u64 & (1 << 60) != 0;
        prop_assert_eq!(marked, mode == ChecksumMode::NeutralMap);
        // The checksum is right at the receiver, and on the wire in every mode that keeps it so.
        prop_assert_eq!(checksum_ok(&received), before);
        if mode != ChecksumMode::NoAction {
            prop_assert_eq!(checksum_ok(&on_wire), before, "{:?}", mode);
        }
        // Each node takes exactly one from the hop limit, and nothing else differs.
        prop_assert_eq!((on_wire[7], received[7]), (63, 62));
        received[7] = packet[7];
        if let Some(at) = checksum_field(upper, 40 + 8 * extensions)
            && received[at..at + 2] != packet[at..at + 2]
        {
            let zeros = [[0, 0], [0xff, 0xff]];
            prop_assert!(zeros.contains(&[packet[at], packet[at + 1]]));
            prop_assert!(zeros.contains(&[received[at], received[at + 1]]));
            received[at..at + 2].copy_from_slice(&packet[at..at + 2]);
        }
        prop_assert_eq!(received, packet);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong(mode in modes(), task in tasks(), flip in 0usize..160) {
        let (mut gateway, mut host) = pair(mode, task);
        let mut packet = ipv6(IADDR, task, 6, &tcp(IADDR, task, b"some data"));
        packet[40 + flip / 8 % 20] ^= 1 << (flip % 8);
        let Ok(true) = std::panic::catch_unwind(|| checksum_ok(&packet) == Some(false)) else { return Ok(()) };
        let (_, received) = deliver(&mut gateway, &mut host, &packet);
        prop_assert_eq!(checksum_ok(&received), Some(false));
    }

    #[test]
    fn fragments_are_right_once_reassembled(
        mode in modes(), task in tasks(), is_tcp: bool,
        data in proptest::collection::vec(any::<u8>(), 32..200),
    ) {
        let (mut gateway, mut host) = pair(mode, task);
        let upper = if is_tcp { Upper::Tcp } else { Upper::Udp };
        let (next, segment) = segment(upper, IADDR, task, &data);
        let cut = 24;
        let mut whole = Vec::new();
        for (offset, more, part) in [(0, 1, &segment[..cut]), (cut as u16, 0, &segment[cut..])] {
            let place = (offset | more).to_be_bytes();
            let header = [next, 0, place[0], place[1], 1, 2, 3, 4];
            let packet = ipv6(IADDR, task, 44, &[&header[..], part].concat());
            let (on_wire, received) = deliver(&mut gateway, &mut host, &packet);
            prop_assert_eq!(destination(&received), task);
            prop_assert_eq!(&received[40..48], &packet[40..48]);
            prop_assert_eq!(&on_wire[40..48], &packet[40..48]);
            whole.extend_from_slice(&received[48..]);
        }
        prop_assert_eq!(transport_ok(IpNumber(next), &whole, IADDR, task), Some(true));
    }

    #[test]
    fn bytes_of_any_kind_have_one_fate(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut gateway, mut host) = pair(ChecksumMode::NeutralMap, (u128::from(SIR) << 64) | 1 << 61 | 5);
        for port in ["fabric0", "ext0"] {
            gateway.receive(port, &bytes);
        }
        host.receive("access0", &bytes);
    }

    #[test]
    fn a_damaged_frame_has_one_fate(
        mode in modes(), task in tasks(), upper in uppers(), extensions in 0usize..10, towards_host: bool,
        edits in proptest::collection::vec((0usize..150, any::<u8>()), 0..6), length in 0usize..200,
    ) {
        let (mut gateway, mut host) = pair(mode, task);
        let (next, segment) = segment(upper, IADDR, task, &[7; 40]);
        let (next, payload) = extended(extensions, next, &segment);
        let mut bytes = frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(IADDR, task, next, &payload));
        // More than eight are refused at the edge.
        if towards_host && extensions <= 8 {
            bytes = gateway.receive("ext0", &bytes).forwarded("fabric0");
        }
        for (at, value) in edits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length.max(30));
        if towards_host {
            host.receive("fabric0", &bytes);
            host.receive("access0", &bytes);
        } else {
            gateway.receive("ext0", &bytes);
            gateway.receive("fabric0", &bytes);
        }
    }
}

#[test]
fn zero_aliases_are_told_apart_by_who_is_attached() {
    for mode in ChecksumMode::ALL {
        for low in ["0", "ffff"] {
            let task = address(&format!("2001:db8:dddd:0:2000:0:1:{low}"));
            let (mut gateway, mut host) = pair(mode, task);
            let packet = ipv6(IADDR, task, 6, &tcp(IADDR, task, b"x"));
            let (_, received) = deliver(&mut gateway, &mut host, &packet);
            assert_eq!(destination(&received), task, "{mode:?}");
        }
    }
}

#[test]
fn an_identifier_that_was_not_mapped_is_nobodys_zero_alias() {
    for mode in [ChecksumMode::NeutralMap, ChecksumMode::AdjTransport, ChecksumMode::NoAction] {
        for (attached, other) in [("0", "ffff"), ("ffff", "0")] {
            let (_, mut host) = pair(mode, address(&format!("2001:db8:dddd:0:2000:0:1:{attached}")));
            let to = address(&format!("fd00:1:0:3:2000:0:1:{other}"));
            let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"x"));
            let outcome = host.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
            assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NotLocal)), "{mode:?}");
            let answer = outcome.through("fabric0");
            let quoted = address(&format!("2001:db8:dddd:0:2000:0:1:{other}"));
            // The error leaves by the default route, and the quote with it names who was meant.
            assert_eq!(destination(told(&answer[14..]).quote), quoted, "{mode:?}");
        }
    }
}

#[test]
fn a_udp_checksum_of_zero_stays_zero_and_none_becomes_zero() {
    // RFC 8200 §8.1: a computed zero is sent as ffff.
    let task = address("2001:db8:dddd:0:2000::5");
    let (mut gateway, mut host) = pair(ChecksumMode::AdjTransport, task);
    // Over all words, the checksum comes out as zero on the wire for one of them.
    let mut corrected = 0;
    for word in 0..=u16::MAX {
        let data = word.to_be_bytes();
        let packet = ipv6(IADDR, task, 17, &udp(IADDR, task, &data));
        let (on_wire, received) = deliver(&mut gateway, &mut host, &packet);
        assert_ne!(on_wire[46..48], [0, 0]);
        corrected += u32::from(on_wire[46..48] == [0xff, 0xff]);
        assert_eq!((checksum_ok(&on_wire), checksum_ok(&received)), (Some(true), Some(true)));
    }
    assert!(corrected > 0);
}

#[test]
fn payloads_without_a_checksum_may_skip_the_mapping() {
    // ILA draft §4.4: for GRE a source may choose not to perform checksum-neutral mapping.
    let task = "2001:db8:dddd:0:2000::5";
    let text = |skip: bool| {
        format!(
            r#"
node: {{name: skip}}
dpdk: {{workers: [1]}}
sir_domains: [{{name: tasks, prefix: "2001:db8:dddd::/64", skip_unchecked: {skip}}}]
ports: [{{name: p, device: net_null_a0, role: fabric, mac: "{GATEWAY_FABRIC}", addresses: ["fd00:1:0:fe::1/64"]}}]
routes: [{{prefix: "fd00:1::/32", via: "fd00:1:0:fe::ff", port: p}}]
neighbours: {{static: [{{port: p, address: "fd00:1:0:fe::ff", mac: "{NVE_FABRIC}"}}]}}
"#
        )
    };
    for (skip, gre, wire) in [
        (true, true, "fd00:1:0:3:2000::5"),
        (true, false, "fd00:1:0:3:3000::fe96"),
        (false, true, "fd00:1:0:3:3000::fe96"),
    ] {
        let mut node = Node::new(&text(skip), &[(task.into(), L3)]);
        let upper = if gre { Upper::Gre } else { Upper::Tcp };
        let (next, segment) = segment(upper, IADDR, address(task), &[0; 20]);
        let packet = ipv6(IADDR, address(task), next, &segment);
        let on_wire = node.receive("p", &frame(GATEWAY_FABRIC, INTERNET, &packet)).forwarded("p");
        assert_eq!(destination(&on_wire[14..]), address(wire));
    }
}

#[test]
fn the_hop_limit_is_lowered_by_exactly_one() {
    let task = address("2001:db8:dddd:0:2000::5");
    let (mut gateway, _) = pair(ChecksumMode::NeutralMap, task);
    for hop_limit in 2..=255 {
        let mut packet = ipv6(IADDR, task, 6, &tcp(IADDR, task, b""));
        packet[7] = hop_limit;
        let sent = gateway.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet)).forwarded("fabric0");
        assert_eq!(sent[21], hop_limit - 1);
    }
}

#[test]
fn ethernet_padding_does_not_travel_on() {
    let task = address("2001:db8:dddd:0:2000::5");
    let (mut gateway, _) = pair(ChecksumMode::NeutralMap, task);
    let packet = ipv6(IADDR, task, 17, &udp(IADDR, task, b""));
    let mut padded = frame(GATEWAY_EXTERNAL, INTERNET, &packet);
    padded.resize(90, 0xaa);
    let sent = gateway.receive("ext0", &padded).forwarded("fabric0");
    assert_eq!(sent.len(), 14 + packet.len());
}
