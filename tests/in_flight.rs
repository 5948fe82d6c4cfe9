//! Packets in flight while VMs and tasks move (VMM draft §4.2, §5): from a sender's node to the old one, through a tunnel
//! or by the new locator to the new one, held there until the cut-over, delivered once each and in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/flight.rs"]
mod flight;
#[path = "support/site.rs"]
mod site;
mod support;

use flight::*;
use ilagate::mapping::{
    Batch, Change, Departure, InFlight, LocatorChoice, MappingRecord, MappingTarget, Origin, Presence,
    Tunnels,
};
use ilagate::net::{Mac, arp, ipv4};
use ilagate::path::{DropReason, Notice, Sign};
use proptest::prelude::*;
use site::*;
use support::packets::*;
use support::tenants::*;
use support::*;

/// Applies mappings of the authority.
fn map(site: &mut Site, changes: Vec<Change>) {
    let staged = site.rib.stage(Batch { origin: Origin::Nva, changes, complete: false }).unwrap();
    site.publish();
    let _ = site.rib.commit(staged);
    site.publish();
}

#[test]
fn a_packet_in_flight_is_tunnelled_held_and_delivered_as_it_would_have_been_before() {
    for (n, vni) in [(0, 100), (1, 100), (2, TASK_VNI)] {
        let mut undisturbed = Move::with(&rules(), 1);
        let mut moving = Move::prepared(1, None);
        let (kind, frame) = kinds(7).swap_remove(n);
        let on_wire = through(undisturbed.sender.receive(ACCESS, &frame), FABRIC);
        let before = through(undisturbed.old.receive(FABRIC, &carried(&on_wire[0])), ACCESS);
        let tunnelled = moving.reach_old(&frame);
        // RFC 7348: outer addresses, ports, VNI and the frame that VM2 would have got.
        let outer = &tunnelled[0][14..];
        assert_eq!((source(outer), destination(outer), outer[6]), (vtep(2), vtep(3), 17), "{kind}");
        assert_eq!(checksum_ok(outer), Some(true));
        assert!(u16::from_be_bytes([outer[40], outer[41]]) >= 49152);
        assert_eq!(outer[42..44], 4789u16.to_be_bytes());
        assert_eq!((&outer[48..52], &outer[52..56]), (&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes()[..]));
        // The link of the service is tagged, and frames in tunnels are not (RFC 7348 §6.1).
        let untagged = match n {
            2 => [&before[0][..12], &before[0][16..]].concat(),
            _ => before[0].clone(),
        };
        assert_eq!(outer[56..], untagged, "{kind}");
        // It is held, and delivered at the cut-over, bit for bit.
        assert_eq!(moving.new.receive(FABRIC, &carried(&tunnelled[0])), []);
        assert_eq!(moving.new.held(), 1);
        moving.cut_over();
        assert_eq!(moving.new.sent, [(ACCESS, before[0].clone())], "{kind}");
        assert_eq!(
            (moving.old.sum(|c| c.tunnelled.value()), moving.new.sum(|c| c.decapsulated.value())),
            (1, 1)
        );
        assert_eq!(moving.new.sum(|c| c.held.value()), 1);
        moving.books_balance();
    }
}

#[test]
fn every_packet_of_a_move_arrives_once_and_in_order_of_its_flow() {
    for workers in [1, 2] {
        let mut it = Move::with(&rules(), workers);
        let mut next = 0;
        let mut send = |it: &mut Move, count: u32| {
            let mut late = Vec::new();
            for n in next..next + count {
                for (_, frame) in kinds(n) {
                    for frame in through(it.sender.receive(ACCESS, &frame), FABRIC) {
                        late.extend(it.old.receive(FABRIC, &carried(&frame)));
                    }
                }
            }
            next += count;
            late
        };
        let delivered_before = send(&mut it, 20);
        assert!(delivered_before.iter().all(|(port, _)| *port == ACCESS));
        for (mac, vlan) in [(VM2, 0), (TASK, 9)] {
            it.new.set(mac, vlan, Presence::Expected(tunnels(3, 2)));
            it.old.set(mac, vlan, Presence::Departed(departure(2, 3, None)));
        }
        // Some are on their way while the cut-over happens.
        let held = through(send(&mut it, 100), FABRIC);
        it.new.receive_all(FABRIC, &held.iter().map(|frame| carried(frame)).collect::<Vec<_>>());
        assert_eq!((it.new.held(), it.new.sent.len()), (300, 0));
        it.cut_over();
        let late = through(send(&mut it, 50), FABRIC);
        it.new.receive_all(FABRIC, &late.iter().map(|frame| carried(frame)).collect::<Vec<_>>());
        let arrived: Vec<&Vec<u8>> =
            delivered_before.iter().chain(&it.new.sent).map(|(_, frame)| frame).collect();
        assert_eq!((arrived.len(), it.new.held()), (170 * 3, 0));
        // IPv4, IPv6 and the task's tagged frame: each its own flow.
        for ethertype in [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]] {
            let of = |frame: &&&Vec<u8>| frame[12..14] == ethertype;
            let numbers: Vec<u32> = arrived.iter().filter(of).map(|frame| number(frame)).collect();
            assert_eq!(numbers, (0..170).collect::<Vec<_>>(), "{workers} {ethertype:x?}");
        }
        it.books_balance();
    }
}

#[test]
fn what_does_not_fit_the_tunnel_goes_by_the_new_locator_and_arrives_the_same() {
    let data: Vec<u8> = (0..1420u32).map(|n| n as u8).collect();
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let packet = ipv6(from, to, 6, &tcp(from, to, &data));
    assert!(packet.len() > 1500 - 70);
    let frame = frame(ANYCAST, VM1, &packet);
    let mut undisturbed = Move::with(&rules(), 1);
    let on_wire = through(undisturbed.sender.receive(ACCESS, &frame), FABRIC);
    let before = through(undisturbed.old.receive(FABRIC, &carried(&on_wire[0])), ACCESS);
    for in_flight in [None, Some(InFlight::Auto), Some(InFlight::Retranslate)] {
        let mut it = Move::prepared(1, in_flight);
        let on_wire = it.reach_old(&frame);
        assert_eq!(
            (on_wire[0].len(), destination(&on_wire[0][14..]) >> 64),
            (frame.len(), u128::from(locator(3).0))
        );
        assert_eq!(it.new.receive(FABRIC, &carried(&on_wire[0])), []);
        it.cut_over();
        // One node more has lowered the hop limit.
        let mut expected = before[0].clone();
        expected[21] -= 1;
        assert_eq!(it.new.sent, [(ACCESS, expected)]);
        assert_eq!(it.old.sum(|counters| counters.retranslated.value()), 1);
        it.books_balance();
    }
    // Whoever wants the tunnel alone has its sender told what fits: 1500 less 70.
    let mut it = Move::prepared(1, Some(InFlight::Tunnel));
    let answer = it.reach_old(&frame);
    let told = told(&answer[0][14..]);
    assert_eq!((told.kind, told.parameter), (2, 1430));
    assert_eq!(it.old.lost(DropReason::PacketTooBig), 1);
    it.books_balance();
}

#[test]
fn a_small_packet_goes_by_the_new_locator_if_it_is_to_and_nowhere_if_it_is_not_to() {
    for (kind, frame) in kinds(3) {
        let mut it = Move::prepared(1, Some(InFlight::Retranslate));
        let on_wire = it.reach_old(&frame);
        assert_eq!(destination(&on_wire[0][14..]) >> 64, u128::from(locator(3).0), "{kind}");
        assert_eq!(it.new.receive(FABRIC, &carried(&on_wire[0])), []);
        it.cut_over();
        assert_eq!((it.new.sent.len(), number(&it.new.sent[0].1)), (1, 3), "{kind}");
        it.books_balance();
        let mut it = Move::prepared(1, Some(InFlight::Drop));
        assert_eq!(it.reach_old(&frame), Vec::<Vec<u8>>::new());
        assert_eq!(it.old.lost(DropReason::Departed), 1);
        it.books_balance();
    }
}

#[test]
fn fragments_of_ipv4_are_held_and_come_back_as_they_were() {
    let data: Vec<u8> = (0..4000).map(|n| (n * 3) as u8).collect();
    let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &data);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(false, false, 0);
    ipv4::seal(&mut packet[..20]);
    for in_flight in [None, Some(InFlight::Retranslate)] {
        let mut it = Move::prepared(1, in_flight);
        for piece in ilagate::siit::fragment::v4(&packet, 1252).unwrap() {
            let mut bytes = vec![0; piece.len()];
            piece.write(&mut bytes).unwrap();
            for on_wire in it.reach_old(&ipv4_frame(ANYCAST, VM1, &bytes)) {
                assert_eq!(it.new.receive(FABRIC, &carried(&on_wire)), []);
            }
        }
        it.cut_over();
        let mut payload = vec![0; packet.len() - 20];
        for (_, frame) in &it.new.sent {
            let header = ipv4::Ipv4::of(&frame[14..]).unwrap();
            assert!(ipv4::is_intact(&frame[14..34]));
            let at = 8 * usize::from(header.fragment_offset());
            payload[at..at + frame.len() - 34].copy_from_slice(&frame[34..]);
        }
        assert_eq!((it.new.sent.len(), payload == packet[20..]), (4, true), "{in_flight:?}");
        it.books_balance();
    }
}

#[test]
fn beyond_what_is_held_exactly_the_rest_is_lost_and_nobody_waits_for_ever() {
    let mut rules = rules();
    rules.more = "moves: {hold_packets: 40, hold_ms: 500}";
    let mut it = Move::with(&rules, 1);
    it.new.set(VM2, 0, Presence::Expected(tunnels(3, 2)));
    it.old.set(VM2, 0, Presence::Departed(departure(2, 3, None)));
    for n in 0..100 {
        let (_, frame) = kinds(n).swap_remove(0);
        for on_wire in it.reach_old(&frame) {
            it.new.receive(FABRIC, &carried(&on_wire));
        }
    }
    assert_eq!((it.new.held(), it.new.lost(DropReason::HoldFull)), (40, 60));
    it.new.wait_ms(499);
    assert_eq!(it.new.held(), 40);
    it.new.wait_ms(1);
    assert_eq!((it.new.held(), it.new.lost(DropReason::HoldExpired)), (0, 40));
    it.books_balance();
}

/// VM2's mapping at a node, told by the authority.
fn mapped(low: &str, number: u64) -> Change {
    let identifier = ilagate::ila::Identifier::of_address(address(&format!("2001:db8:dddd:0:{low}")));
    let choice = LocatorChoice { locator: locator(number), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    Change::Upsert(MappingRecord { domain: 0, identifier, target })
}

#[test]
fn senders_beside_an_expected_vm_follow_the_mapping_until_it_is_here() {
    // The service and VM2 at the new node; VM2 is expected there, and a neighbour of it sends to it.
    let third = Mac([2, 0, 0, 0, 1, 4]);
    let attachments = format!(
        "  - {{port: access0, mac: \"{third}\", network: red, addresses: [\"10.0.0.9\", \"2001:db8:a::9\"]}}\n"
    );
    let mut site = Site::new(3, L3, &Rules { attachments: &attachments, ..rules() }, 1);
    map(&mut site, vec![mapped("4000:64:a00:2", 2), mapped("6000:64:0:2", 2)]);
    let to_vm2 = |n: u32| {
        let packet = ipv4_packet([10, 0, 0, 9], [10, 0, 0, 2], 64, &n.to_be_bytes());
        ipv4_frame(ANYCAST, third, &packet)
    };
    site.set(VM2, 0, Presence::Expected(tunnels(3, 2)));
    let sent = through(site.receive(ACCESS, &to_vm2(1)), FABRIC);
    assert_eq!(destination(&sent[0][14..]) >> 64, u128::from(locator(2).0));
    // The mapping changes meanwhile.
    map(&mut site, vec![mapped("4000:64:a00:2", 4)]);
    let sent = through(site.receive(ACCESS, &to_vm2(2)), FABRIC);
    assert_eq!(destination(&sent[0][14..]) >> 64, u128::from(locator(4).0));
    // The authority says that it is here, and the cut-over comes a moment later.
    map(&mut site, vec![mapped("4000:64:a00:2", 3)]);
    assert_eq!((site.receive(ACCESS, &to_vm2(3)), site.held()), (vec![], 1));
    site.sent.clear();
    site.set(VM2, 0, Presence::Here(tunnels(3, 2)));
    assert_eq!(
        site.sent.iter().map(|(port, frame)| (*port, number(frame))).collect::<Vec<_>>(),
        [(ACCESS, 3)]
    );
    // ARP is answered with the same MAC address all along.
    site.set(VM2, 0, Presence::Expected(tunnels(3, 2)));
    let answer = through(site.receive(ACCESS, &arp_frame(&asks(third, 0x0a00_0009, 0x0a00_0002), 0)), ACCESS);
    assert_eq!(answer[0][6..12], ANYCAST.0);
    site.books_balance();
}

#[test]
fn senders_beside_a_vm_that_has_left_reach_it_and_later_packets_follow_the_mapping() {
    let mut it = Move::with(&rules(), 1);
    it.old.set(VM2, 0, Presence::Departed(Departure { until_ms: 5_000, ..departure(2, 3, None) }));
    // The service sends to VM2 by way of the tunnel, until the mapping is told.
    let (from, to) = (address(SERVICE), address("2001:db8:a::2"));
    let of_service = tagged(TASK_ROUTER, TASK, 9, &ipv6(from, to, 17, &udp(from, to, b"reply")));
    let sent = through(it.old.receive(ACCESS, &of_service), FABRIC);
    assert_eq!(destination(&sent[0][14..]), vtep(3));
    map(&mut it.old, vec![mapped("6000:64:0:2", 3)]);
    let sent = through(it.old.receive(ACCESS, &of_service), FABRIC);
    assert_eq!(destination(&sent[0][14..]) >> 64, u128::from(locator(3).0));
    // What comes under the old locator is tunnelled until the time is over, and follows the mapping then.
    let (_, frame) = kinds(1).swap_remove(1);
    assert_eq!(destination(&it.reach_old(&frame)[0][14..]), vtep(3));
    it.old.wait_ms(5_000);
    assert_eq!(destination(&it.reach_old(&frame)[0][14..]) >> 64, u128::from(locator(3).0));
    // Without a mapping it is dropped in silence.
    let (_, frame) = kinds(1).swap_remove(0);
    assert_eq!(it.reach_old(&frame), Vec::<Vec<u8>>::new());
    assert_eq!(it.old.lost(DropReason::Departed), 1);
    it.books_balance();
}

#[test]
fn whoever_is_expected_is_seen_by_any_frame_and_what_it_sends_waits() {
    let own = 0x0a00_0002;
    let gratuitous = arp_frame(&arp::Arp { target_mac: Mac::ZERO, ..asks(VM2, own, own) }, 0);
    let reverse = arp_frame(
        &arp::Arp {
            operation: arp::Operation::ReverseRequest,
            sender_mac: VM2,
            sender: 0,
            target_mac: VM2,
            target: 0,
        },
        0,
    );
    let mut strange = reverse.clone();
    strange[21] = 1;
    let (from, to) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
    let mut advertisement = ipv6(from, address("ff02::1"), 58, &{
        let mut rest = vec![0x20, 0, 0, 0];
        rest.extend(from.to_be_bytes());
        rest.extend([2, 1]);
        rest.extend(VM2.0);
        icmp6(from, address("ff02::1"), 136, 0, &rest)
    });
    advertisement[7] = 255;
    let advertisement = frame(Mac::of_ipv6_multicast(address("ff02::1")), VM2, &advertisement);
    let data = frame(ANYCAST, VM2, &ipv6(from, to, 6, &tcp(from, to, b"go on")));
    let spoofed = {
        let from = address("2001:db8:a::9");
        frame(ANYCAST, VM2, &ipv6(from, to, 6, &tcp(from, to, b"not me")))
    };
    // ARP of no protocol; RARP of another sender; from `::`, and from a link-local address.
    let (mut malformed, mut foreign) = (gratuitous.clone(), reverse.clone());
    (malformed[16], foreign[27]) = (0x86, 0x77);
    let solicitation = |from: u128, to: &str| {
        let rest = [&[0; 4][..], &address("2001:db8:a::2").to_be_bytes()].concat();
        let mut packet = ipv6(from, address(to), 58, &icmp6(from, address(to), 135, 0, &rest));
        packet[7] = 255;
        frame(Mac::of_ipv6_multicast(address(to)), VM2, &packet)
    };
    let nameless = solicitation(0, "ff02::1:ff00:2");
    let on_link = solicitation(address("fe80::2"), "ff02::1:ff00:2");
    let of_link = {
        let from = address("fe80::2");
        let rest = [&[0x20, 0, 0, 0][..], &from.to_be_bytes(), &[2, 1], &VM2.0].concat();
        let mut packet = ipv6(from, address("ff02::1"), 58, &icmp6(from, address("ff02::1"), 136, 0, &rest));
        packet[7] = 255;
        frame(Mac::of_ipv6_multicast(address("ff02::1")), VM2, &packet)
    };
    let signs = [
        (&gratuitous, Some(Sign::Announcement)),
        (&reverse, Some(Sign::Reverse)),
        (&strange, Some(Sign::Reverse)),
        (&advertisement, Some(Sign::Announcement)),
        (&data, Some(Sign::Frame)),
        (&spoofed, None),
        // Nothing that does not name what is bound to it.
        (&malformed, None),
        (&foreign, None),
        (&nameless, None),
        (&on_link, None),
        (&of_link, None),
    ];
    for (frame, sign) in signs {
        let mut it = Move::prepared(1, None);
        for _ in 0..50 {
            let sent = it.new.receive(ACCESS, frame);
            assert!(sent.iter().all(|(port, _)| *port == ACCESS), "nothing leaves the node");
        }
        let seen: Vec<Sign> = it
            .new
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::Seen { sign, .. } => Some(*sign),
                _ => None,
            })
            .collect();
        assert_eq!(seen, Vec::from_iter(sign), "once, however many came");
        it.new.wait_ms(20);
        it.new.receive(ACCESS, frame);
        let again = it.new.notices.iter().filter(|notice| matches!(notice, Notice::Seen { .. })).count();
        assert_eq!(again, 2 * seen.len());
        it.new.books_balance();
    }
    let mut it = Move::prepared(1, None);
    it.new.receive(ACCESS, &data);
    assert_eq!((it.new.held(), it.new.sent.len()), (1, 0));
    it.cut_over();
    assert_eq!((it.new.held(), it.new.sent.len(), it.new.sent[0].0), (0, 1, FABRIC));
    // At the old node it is seen, too. What it sends goes out until it is the new node's, and is lost from then on.
    let leaving = Presence::Departed(Departure { may_send: true, ..departure(2, 3, None) });
    it.old.set(VM2, 0, leaving);
    assert_eq!(it.old.receive(ACCESS, &data).iter().map(|(port, _)| *port).collect::<Vec<_>>(), [FABRIC]);
    assert_eq!(it.old.receive(ACCESS, &spoofed), []);
    assert_eq!((it.old.lost(DropReason::NotHere), it.old.lost(DropReason::SpoofedSource)), (0, 1));
    it.old.set(VM2, 0, Presence::Departed(departure(2, 3, None)));
    assert_eq!(it.old.receive(ACCESS, &data), []);
    assert_eq!(it.old.lost(DropReason::NotHere), 1);
    it.books_balance();
}

#[test]
fn a_foreign_tunnel_leads_nowhere() {
    let (_, sent) = kinds(1).swap_remove(1);
    let tunnelled = carried(&Move::prepared(1, None).reach_old(&sent)[0]);
    let mut other_source = tunnelled.clone();
    other_source[14 + 23] ^= 1;
    let mut other_vni = tunnelled.clone();
    other_vni[14 + 54] ^= 1;
    let mut other_mac = tunnelled.clone();
    other_mac[14 + 61] ^= 1;
    let mut no_vni = tunnelled.clone();
    no_vni[14 + 48] = 0;
    let mut cut = tunnelled.clone();
    cut.truncate(14 + 56 + 30);
    cut[18..20].copy_from_slice(&(16 + 30u16).to_be_bytes());
    cut[14 + 44..14 + 46].copy_from_slice(&(16 + 30u16).to_be_bytes());
    let mut not_ip = tunnelled.clone();
    not_ip[14 + 56 + 12..14 + 56 + 14].copy_from_slice(&[0x08, 0x06]);
    let mut wrong = tunnelled.clone();
    wrong[14 + 80] ^= 1;
    for (mut frame, reason, sums) in [
        (other_source, DropReason::VxlanForeign, false),
        (other_vni, DropReason::VxlanForeign, false),
        (other_mac, DropReason::VxlanForeign, false),
        (no_vni, DropReason::VxlanInvalid, false),
        (cut, DropReason::VxlanInvalid, false),
        (not_ip, DropReason::VxlanInvalid, false),
        (wrong, DropReason::Checksum, true),
    ] {
        if !sums {
            // RFC 7348 §4.1: without a checksum.
            frame[14 + 46..14 + 48].fill(0);
        }
        for here in [false, true] {
            let mut it = Move::prepared(1, None);
            if here {
                it.cut_over();
            }
            assert_eq!(it.new.receive(FABRIC, &frame), []);
            assert_eq!((it.new.lost(reason), it.new.held()), (1, 0), "{reason:?} {here}");
            it.new.books_balance();
        }
    }
    // The same frame without a checksum, or with reserved bits, is received.
    let mut reserved = tunnelled.clone();
    reserved[14 + 46..14 + 48].fill(0);
    reserved[14 + 48] = 0xff;
    reserved[14 + 49] = 0xff;
    reserved[14 + 55] = 0xff;
    let mut it = Move::prepared(1, None);
    it.cut_over();
    assert_eq!(it.new.receive(FABRIC, &reserved).len(), 1);
    // Not from the links of hosts, and not after the move has ended.
    let mut from_host = tunnelled.clone();
    from_host[6..12].copy_from_slice(&TASK.0);
    let host = it.new.receive(ACCESS, &from_host);
    assert!(host.iter().all(|(_, frame)| frame.len() < tunnelled.len()));
    it.new.set(VM2, 0, Presence::default());
    assert_eq!(it.new.receive(FABRIC, &tunnelled), []);
    assert_eq!(it.new.lost(DropReason::VxlanForeign), 1);
    it.new.books_balance();
}

#[test]
fn no_frame_passes_two_tunnels_but_what_was_held_goes_back_with_the_vm() {
    let mut it = Move::prepared(1, None);
    let mut held = Vec::new();
    for (_, sent) in kinds(1).into_iter().chain(kinds(2)) {
        held.extend(it.reach_old(&sent));
    }
    for frame in &held {
        assert_eq!(it.new.receive(FABRIC, &carried(frame)), []);
    }
    // The move fails. VM2 and the service go back, and with them what was held.
    for (mac, vlan) in [(VM2, 0), (TASK, 9)] {
        it.old.set(mac, vlan, Presence::Here(tunnels(2, 3)));
    }
    for (mac, vlan) in [(VM2, 0), (TASK, 9)] {
        it.new.set(mac, vlan, Presence::Departed(departure(3, 2, None)));
    }
    let back = through(std::mem::take(&mut it.new.sent), FABRIC);
    assert_eq!((back.len(), it.new.held()), (held.len(), 0));
    let arrived: Vec<u32> = back
        .iter()
        .flat_map(|frame| through(it.old.receive(FABRIC, &carried(frame)), ACCESS))
        .map(|frame| number(&frame))
        .collect();
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 1, 1, 2, 2, 2]);
    // What comes through the tunnel now goes through no other one.
    assert_eq!(it.new.receive(FABRIC, &carried(&held[0])), []);
    assert_eq!(it.new.lost(DropReason::TunnelledTwice), 1);
    it.books_balance();
}

#[test]
fn what_a_node_does_not_hold_any_more_leaves_nothing_behind() {
    let mut it = Move::with(&rules(), 1);
    let before = it.new.tables.moves.clone();
    for round in 0..20 {
        it.new.set(VM2, 0, Presence::Expected(tunnels(3, 2)));
        it.old.set(VM2, 0, Presence::Departed(departure(2, 3, None)));
        let (_, sent) = kinds(round).swap_remove(0);
        for frame in it.reach_old(&sent) {
            it.new.receive(FABRIC, &carried(&frame));
        }
        it.new.set(VM2, 0, Presence::Here(tunnels(3, 2)));
        it.new.set(VM2, 0, Presence::default());
        it.old.set(VM2, 0, Presence::default());
    }
    assert_eq!((it.new.sent.len(), it.new.held()), (20, 0));
    assert_eq!((&it.new.tables.moves, &it.old.tables.moves), (&before, &before));
    assert!(before.absent.is_empty() && before.moving.is_empty() && before.ends.is_empty());
    it.books_balance();
}

#[test]
fn copies_to_groups_in_flight_arrive_as_they_would_have_and_not_twice() {
    let rules = Rules { red: "replicate_to: [\"fd00:1:0:2::/64\", \"fd00:1:0:3::/64\"]", ..rules() };
    let broadcast = |n: u32| {
        let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 255], 64, &n.to_be_bytes());
        ipv4_frame(Mac::BROADCAST, VM1, &packet)
    };
    let mut undisturbed = Move::with(&rules, 1);
    // The copy for the old node, and the one for the new node.
    let copies = |sender: &mut Site, n: u32| {
        let mut copies = through(sender.receive(ACCESS, &broadcast(n)), FABRIC);
        copies.sort_by_key(|frame| destination(&frame[14..]));
        let locators: Vec<u128> = copies.iter().map(|frame| destination(&frame[14..]) >> 64).collect();
        assert_eq!(locators, [2, 3].map(|n| u128::from(locator(n).0)));
        [carried(&copies[0]), carried(&copies[1])]
    };
    let [reach_old, _] = copies(&mut undisturbed.sender, 1);
    let before = through(undisturbed.old.receive(FABRIC, &reach_old), ACCESS);
    assert_eq!((before.len(), &before[0][..6]), (1, &[0xff; 6][..]));
    let mut it = Move::with(&rules, 1);
    it.new.set(VM2, 0, Presence::Expected(tunnels(3, 2)));
    it.old.set(VM2, 0, Presence::Departed(Departure { until_ms: 5_000, ..departure(2, 3, None) }));
    let [reach_old, reach_new] = copies(&mut it.sender, 1);
    let tunnelled = through(it.old.receive(FABRIC, &reach_old), FABRIC);
    // The new node's own copy is not for who is not there.
    assert_eq!(it.new.receive(FABRIC, &reach_new), []);
    assert_eq!(it.new.receive(FABRIC, &carried(&tunnelled[0])), []);
    // It is served before the commit: what others send to groups still goes to the old node, and comes from there.
    it.new.set(VM2, 0, Presence::Here(Tunnels { copies: true, ..tunnels(3, 2) }));
    assert_eq!(it.new.sent, [(ACCESS, before[0].clone())]);
    assert_eq!(it.new.receive(FABRIC, &carried(&tunnelled[0])), [(ACCESS, before[0].clone())]);
    assert_eq!(it.new.receive(FABRIC, &reach_new), []);
    it.new.set(VM2, 0, Presence::Here(tunnels(3, 2)));
    // Now the new node's own copies count.
    assert_eq!(it.new.receive(FABRIC, &carried(&tunnelled[0])), []);
    assert_eq!(it.new.lost(DropReason::VxlanUndelivered), 1);
    assert_eq!(it.new.receive(FABRIC, &reach_new), [(ACCESS, before[0].clone())]);
    it.old.wait_ms(5_000);
    assert_eq!(it.old.receive(FABRIC, &reach_old), []);
    assert_eq!(it.old.lost(DropReason::NoMembers), 1);
    it.books_balance();
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever comes to the address of a tunnel: each packet has one fate, and only the frame that was sent is delivered.
    #[test]
    fn no_bytes_in_a_tunnel_deliver_anything_but_what_was_put_in(
        kind in 0usize..3, changes in prop::collection::vec((14usize..160, any::<u8>()), 1..6), cut in 14usize..200,
        here: bool, unsummed: bool,
    ) {
        let mut it = Move::prepared(1, None);
        if here {
            it.cut_over();
        }
        let (_, sent) = kinds(9).swap_remove(kind);
        let mut frame = carried(&it.reach_old(&sent)[0]);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(cut.max(14));
        if let Some(sum) = frame.get_mut(14 + 46..14 + 48).filter(|_| unsummed) {
            sum.fill(0);
        }
        let before = it.new.sent.len();
        it.new.receive(FABRIC, &frame);
        it.cut_over();
        for (port, delivered) in &it.new.sent[before..] {
            if *port == ACCESS {
                // To whom the move is, and no longer than what came.
                prop_assert!(delivered[..6] == VM2.0 || delivered[..6] == TASK.0);
                prop_assert!(delivered.len() <= frame.len());
            }
        }
        it.books_balance();
    }
}
