//! IPv4 packets that outgrow a next hop as IPv6, or a tenant's link as IPv4 again: cut where they may be, and whole again
//! at the receiver (RFC 7915 §4, §5.1.1). etherparse puts them together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::SlicedPacket;
use etherparse::defrag::IpDefragPool;
use ilagate::ila::ChecksumMode;
use ilagate::net::ipv4;
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

/// A datagram of vm1 with `data` bytes of payload; by default without DF.
fn datagram(to: [u8; 4], data: usize, df: bool) -> Vec<u8> {
    let data: Vec<u8> = (0..data).map(|n| (n * 7 + n / 256) as u8).collect();
    let mut packet = ipv4_packet([10, 0, 0, 1], to, 64, &data);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_identification(0x1234);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(df, false, 0);
    ipv4::seal(&mut packet[..20]);
    packet
}

/// Puts together what came in these packets; asserts that it is all of one datagram, none longer than `mtu`.
fn whole(packets: &[&[u8]], mtu: usize) -> Vec<u8> {
    let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
    let mut done = None;
    for packet in packets {
        assert!(packet.len() <= mtu, "{}", packet.len());
        assert_eq!(done, None);
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        done = pool.process_sliced_packet(&sliced, (), ()).unwrap().map(|whole| whole.payload);
    }
    done.expect("all fragments")
}

/// Whether the UDP checksum is that of an IPv4 datagram between these.
fn udp4_ok(segment: &[u8], from: [u8; 4], to: [u8; 4]) -> bool {
    let udp = etherparse::UdpSlice::from_slice(segment).unwrap();
    udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).unwrap() == udp.checksum()
}

fn frames<'s>(sent: &'s [(String, Vec<u8>)], port: &str) -> Vec<&'s [u8]> {
    sent.iter().filter(|(name, _)| name == port).map(|(_, frame)| frame.as_slice()).collect()
}

#[test]
fn without_df_it_crosses_the_fabric_in_fragments_and_is_whole_at_the_receiver() {
    // With 1232 bytes of data it has 1280 as IPv6. More is cut so that no link has to carry more, unless the links are
    // known to carry more. What fits whole has no fragment header.
    for (lowest, data, pieces) in [
        (1280, 1472, 2),
        (1280, 1233, 2),
        (1280, 1232, 1),
        (1400, 1353, 2),
        (1400, 1352, 1),
        (1500, 1472, 2),
        (1500, 1453, 2),
        (1500, 1452, 1),
        // The next hop carries no more than 1500.
        (9600, 1453, 2),
        (9600, 1452, 1),
    ] {
        let packet = datagram([10, 0, 0, 2], data, false);
        let mut sender = host_limited(L1, &format!("translation: {{lowest_ipv6_mtu: {lowest}}}"));
        let (fate, sent) = sender.receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
        assert_eq!((fate, sent.len()), (Fate::Forwarded, pieces), "{data}");
        let wire = frames(&sent, "fabric0");
        for frame in &wire {
            assert_eq!((frame[20], frame[21]), (if pieces == 1 { 17 } else { 44 }, 63));
            assert_eq!(line(&frame[14..]), "2001:db8:dddd:0:4000:64:a00:1,fd00:1:0:2:5000:64:a00:fe94");
            if pieces > 1 {
                assert_eq!(frame[14 + 44..14 + 48], 0x1234u32.to_be_bytes());
            }
        }
        if pieces == 1 {
            assert_eq!((wire[0].len(), checksum_ok(&wire[0][14..])), (14 + 48 + data, Some(true)));
            let received = host(L2).receive("fabric0", &carried(wire[0])).forwarded("access0");
            assert_eq!(received[42..], packet[28..]);
            continue;
        }
        let wire: Vec<&[u8]> = wire.iter().map(|frame| &frame[14..]).collect();
        let segment = whole(&wire, lowest.min(1500));
        // Neutral on the wire: the checksum is right for the addresses that are seen there.
        let (from, to) = (source(wire[0]), destination(wire[0]));
        assert_eq!(transport_ok(etherparse::IpNumber::UDP, &segment, from, to), Some(true));
        let mut receiver = host(L2);
        let got: Vec<Vec<u8>> = sent
            .iter()
            .map(|(_, frame)| receiver.receive("fabric0", &carried(frame)).forwarded("access0"))
            .collect();
        for frame in &got {
            assert!(ipv4::is_intact(&frame[14..34]));
            assert_eq!((ipv4_line(&frame[14..]), frame[22]), ("10.0.0.1,10.0.0.2".to_owned(), 62));
        }
        let got: Vec<&[u8]> = got.iter().map(|frame| &frame[14..]).collect();
        let segment = whole(&got, 1500);
        assert!(segment[8..] == packet[28..] && udp4_ok(&segment, [10, 0, 0, 1], [10, 0, 0, 2]));
    }
}

#[test]
fn a_fragment_without_df_that_outgrows_the_fabric_is_cut_into_fragments_of_the_same_datagram() {
    let packet = datagram([10, 0, 0, 2], 4000, false);
    let (mut sender, mut receiver) = (host(L1), host(L2));
    let mut got = Vec::new();
    let mut on_wire = 0;
    for piece in ilagate::siit::fragment::v4(&packet, 1500).unwrap() {
        let mut bytes = vec![0; piece.len()];
        piece.write(&mut bytes).unwrap();
        let (fate, sent) = sender.receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &bytes));
        assert_eq!(fate, Fate::Forwarded);
        on_wire += sent.len();
        for (_, frame) in &sent {
            got.push(receiver.receive("fabric0", &carried(frame)).forwarded("access0")[14..].to_vec());
        }
    }
    assert_eq!(on_wire, 5);
    let got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
    let segment = whole(&got, 1500);
    assert!(segment[8..] == packet[28..] && udp4_ok(&segment, [10, 0, 0, 1], [10, 0, 0, 2]));
}

#[test]
fn with_df_it_is_not_cut_and_its_sender_is_told_the_mtu() {
    let packet = datagram([10, 0, 0, 2], 1472, true);
    let outcome = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    let answer = outcome.through("access0");
    assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], 1480));
}

#[test]
fn icmp_is_not_cut_because_its_fragments_cannot_be_translated() {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut packet, &[0; 1472])
        .unwrap();
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(false, false, 0);
    ipv4::seal(&mut packet[..20]);
    let outcome = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
}

#[test]
fn what_is_too_long_for_the_receivers_link_is_cut_there() {
    let small = Rules { access: ", mtu: 1280", red: "mtu: 1280", ..Rules::default() };
    let packet = datagram([10, 0, 0, 2], 2000, false);
    let (mut sender, mut receiver) =
        (host_limited(L1, "translation: {lowest_ipv6_mtu: 1500}"), host_with(L2, &small));
    let mut got = Vec::new();
    for piece in ilagate::siit::fragment::v4(&packet, 1400).unwrap() {
        let mut bytes = vec![0; piece.len()];
        piece.write(&mut bytes).unwrap();
        let wire = sender.receive("access0", &ipv4_frame(ANYCAST, VM1, &bytes)).forwarded("fabric0");
        let (fate, sent) = receiver.receive_copies("fabric0", &carried(&wire));
        assert_eq!(fate, Fate::Forwarded);
        for frame in frames(&sent, "access0") {
            assert!(ipv4::is_intact(&frame[14..34]));
            assert_eq!((&frame[..6], frame[22]), (&VM2.0[..], 62));
            got.push(frame[14..].to_vec());
        }
    }
    assert_eq!(got.len(), 3);
    let got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
    let segment = whole(&got, 1280);
    assert!(segment[8..] == packet[28..] && udp4_ok(&segment, [10, 0, 0, 1], [10, 0, 0, 2]));
    // With DF its sender is told, from there too.
    let packet = datagram([10, 0, 0, 2], 1372, true);
    let wire = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    let outcome = host_with(L2, &small).receive("fabric0", &carried(&wire));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    // As IPv6 it may be longer by the difference of the headers, which its own host takes off again.
    let error = outcome.through("fabric0");
    assert_eq!((told(&error[14..]).kind, told(&error[14..]).parameter), (2, 1300));
    let answer = host(L1).receive("fabric0", &carried(&error)).forwarded("access0");
    assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], 1280));
    assert_eq!(ipv4_line(&answer[42..]), "10.0.0.1,10.0.0.2");
}

#[test]
fn a_task_gets_all_of_what_an_ipv4_tenant_sent_it_in_fragments() {
    let peers = format!("{{address: \"10.0.0.200\", to: \"{SERVICE}\"}}");
    let policies = format!("{{from: red, to: \"{SERVICE}\"}}");
    let rules = Rules { red_peers: &peers, policies: &policies, ..Rules::default() };
    let packet = datagram([10, 0, 0, 200], 1472, false);
    let (_, sent) = host_with(L1, &rules).receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    let mut receiver = host_with(L2, &rules);
    let got: Vec<Vec<u8>> = sent
        .iter()
        .map(|(_, frame)| receiver.receive("fabric0", &carried(frame)).forwarded("access0")[18..].to_vec())
        .collect();
    let got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
    assert_eq!((got.len(), line(got[1])), (2, format!("2001:db8:dddd:0:4000:64:a00:1,{SERVICE}")));
    let segment = whole(&got, 1500);
    assert!(segment[8..] == packet[28..]);
    let (from, to) = (source(got[0]), destination(got[0]));
    assert_eq!(transport_ok(etherparse::IpNumber::UDP, &segment, from, to), Some(true));
}

#[test]
fn an_ipv6_packet_is_never_cut_by_a_router() {
    let task = "2001:db8:dddd:0:2000::5";
    let mut node = gateway(ChecksumMode::NeutralMap, "", &[(task.into(), "fd00:1:0:3::/64")]);
    let piece = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &[0; 2000]].concat();
    let packet = ipv6(IADDR, address(task), 44, &piece);
    let outcome = node.receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
}

#[test]
fn what_is_more_than_a_tenant_may_send_is_refused_whole() {
    // The port takes it, the network does not: no piece of it is made, none is counted as lost.
    let mut node = host_with(L1, &Rules { red: "mtu: 1400", ..Rules::default() });
    let packet = datagram([10, 0, 0, 2], 1472, false);
    let outcome = node.receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::PacketTooBig)));
    assert_eq!(node.lost_copies(), 0);
}

#[test]
fn all_sizes_of_packets_of_a_flow_go_to_the_same_one_of_several_locators() {
    let (text, mut mapped) = written(L1, &Rules::default());
    mapped[0].1 = "fd00:1:0:2::/64\", \"fd00:1:0:3::/64";
    let mut node = Node::new(&text, &mapped);
    let mut locators = std::collections::HashSet::new();
    for port in 0..16 {
        // Whole, and in two pieces, the first of which has one length or another.
        let flow: std::collections::HashSet<u128> = [(10, 1), (1232, 1), (1300, 2), (1472, 2)]
            .into_iter()
            .flat_map(|(data, pieces)| {
                let mut packet = datagram([10, 0, 0, 2], data, false);
                packet[21] = port;
                let (fate, sent) = node.receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
                assert_eq!((fate, sent.len()), (Fate::Forwarded, pieces));
                sent.into_iter().map(|(_, frame)| destination(&frame[14..]) >> 64)
            })
            .collect();
        assert_eq!(flow.len(), 1, "{port}");
        locators.extend(flow);
    }
    assert_eq!(locators.len(), 2);
}

/// A second tenant of red on VM1's host, and the service task there, too.
fn with_neighbours(more: &'static str) -> Node {
    const PEERS: &str = "{address: \"10.0.0.201\", to: \"2001:db8:dddd:0:2000::5\"}";
    let attachments = format!(
        "  - {{name: vm4, port: access0, mac: \"{VM2}\", network: red, addresses: [\"10.0.0.4\"]}}\n\
         \x20 - {{name: near, port: access0, vlan: 9, mac: \"{TASK}\", identifiers: [\"2001:db8:dddd:0:2000::5\"]}}\n"
    );
    let policies = "{from: red, to: \"2001:db8:dddd::/64\"}";
    let rules = Rules { attachments: &attachments, red_peers: PEERS, policies, more, ..Rules::default() };
    host_with(L1, &rules)
}

#[test]
fn what_stays_on_the_host_is_not_cut_if_it_fits_its_receivers_link() {
    // To a tenant it stays IPv4, whatever IPv6 it was in between.
    for (data, options) in
        [(1472, ""), (1300, ""), (1233, ""), (10, ""), (1472, "translation: {lowest_ipv6_mtu: 9600}")]
    {
        let packet = datagram([10, 0, 0, 4], data, false);
        let mut node = with_neighbours(options);
        let received = node.receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("access0");
        assert_eq!((received.len(), &received[42..]), (14 + packet.len(), &packet[28..]), "{data}");
        let header = ipv4::Ipv4::of(&received[14..]).unwrap();
        assert!(!header.dont_fragment() && !header.more_fragments() && ipv4::is_intact(&received[14..34]));
        if data > 1232 {
            assert_eq!(header.identification(), 0x1234);
        }
    }
    // To a task it is IPv6, with a fragment header only if it is a fragment.
    for (data, pieces) in [(10, 1), (1232, 1), (1233, 1), (1452, 1), (1453, 2), (1472, 2)] {
        let packet = datagram([10, 0, 0, 201], data, false);
        let (fate, sent) = with_neighbours("").receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
        assert_eq!((fate, sent.len()), (Fate::Forwarded, pieces), "{data}");
        let got: Vec<&[u8]> = frames(&sent, "access0").iter().map(|frame| &frame[18..]).collect();
        if pieces == 1 {
            assert_eq!((got[0][6], got[0].len(), checksum_ok(got[0])), (17, 48 + data, Some(true)));
            assert_eq!(got[0][48..], packet[28..]);
        } else {
            assert_eq!(whole(&got, 1500)[8..], packet[28..]);
        }
    }
}

#[test]
fn no_whole_packet_carries_a_fragment_header() {
    for data in (1180..1480).step_by(7) {
        let packet = datagram([10, 0, 0, 2], data, false);
        let (_, sent) = host(L1).receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
        for frame in frames(&sent, "fabric0") {
            assert!(frame[20] == 17 || frame[14 + 42..14 + 44] != [0, 0], "{data}");
            assert!(frame.len() <= 14 + 1280);
        }
        // Nor does ICMP, which is never cut.
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .icmpv4_echo_request(7, 1)
            .write(&mut packet, &vec![5; data - 28])
            .unwrap();
        ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(false, false, 0);
        ipv4::seal(&mut packet[..20]);
        let wire = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
        assert_eq!((wire[20], wire.len()), (58, 14 + 20 + packet.len()));
    }
}

#[test]
fn extension_headers_that_do_not_become_ipv4_do_not_count_against_the_tenants_link() {
    let policies = format!("{FROM_SERVICE}, {TO_SERVICE}");
    let (from, to) = (address(SERVICE), address("2001:db8:dddd:0:4000:64:a00:1"));
    for (data, fits) in [(1472, true), (1473, false)] {
        let options = [17, 3, 1, 28, 0, 0, 0, 0];
        let chain = [&options[..], &[0; 24], &udp(from, to, &vec![7; data])].concat();
        let packet = ipv6(from, address("fd00:1:0:1:4000:64:a00:1"), 60, &chain);
        let fate = peered(L1, &policies).receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet)).fate;
        let too_big = Fate::Replied(Some(DropReason::PacketTooBig));
        assert_eq!(fate, if fits { Fate::Forwarded } else { too_big }, "{data}");
    }
}

/// VM1's host with this MTU of the fabric.
fn behind(mtu: u16) -> Node {
    let (text, mapped) = written(L1, &Rules::default());
    Node::new(
        &text.replace(
            "addresses: [\"fd00:ffff::1/64\"]",
            &format!("mtu: {mtu}, addresses: [\"fd00:ffff::1/64\"]"),
        ),
        &mapped,
    )
}

#[test]
fn rfc_7915_section_5_2_the_next_hops_mtu_takes_part_in_what_an_ipv4_tenant_is_told() {
    let wire = host(L1).receive("access0", &ipv4_frame(ANYCAST, VM1, &datagram([10, 0, 0, 2], 1200, true)));
    let wire = wire.forwarded("fabric0");
    let to = address("2001:db8:dddd:0:4000:64:a00:1");
    for (reported, fabric, told) in
        [(1400, 1500, 1380), (1400, 1350, 1330), (9000, 1500, 1480), (1500, 1400, 1380), (1280, 1500, 1260)]
    {
        let error = icmp6_error(address("fd00:1:0:aaaa::1"), to, 2, 0, reported, &wire[14..]);
        let answer = behind(fabric)
            .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &error))
            .forwarded("access0");
        assert_eq!((&answer[34..36], u16::from_be_bytes([answer[40], answer[41]])), (&[3, 4][..], told));
    }
}

#[test]
fn rfc_7915_section_4_2_the_next_hops_mtu_takes_part_in_what_an_ipv4_tenant_tells() {
    let quote = ipv4_packet([10, 0, 0, 2], [10, 0, 0, 1], 64, &[3; 100]);
    for (reported, fabric, told) in
        [(1400, 1500, 1420), (1400, 1410, 1410), (9000, 1500, 1500), (1500, 1400, 1400), (600, 1500, 1280)]
    {
        let mut message = [&[3, 4, 0, 0, 0, 0][..], &u16::to_be_bytes(reported), &quote].concat();
        let sum = !ilagate::net::checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0; 20];
        let total = (20 + message.len()) as u16;
        ipv4::Ipv4::of_mut(&mut packet).unwrap().write(total, 1, 64, 0x0a00_0001, 0x0a00_0002);
        ipv4::seal(&mut packet);
        packet.extend(message);
        let wire = behind(fabric).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
        assert_eq!((wire[54], u32::from_be_bytes(wire[58..62].try_into().unwrap())), (2, told));
    }
}
