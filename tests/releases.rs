//! What was held leaves in its order and lets nothing overtake it; what is known of a tunnel's path beyond the next hop;
//! what the senders of packets that go nowhere are told (VMM draft §5, ILA draft §B.2, RFC 8201).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/flight.rs"]
mod flight;
#[path = "support/site.rs"]
mod site;
mod support;

use flight::*;
use ilagate::mapping::{InFlight, Presence};
use ilagate::net::Mac;
use ilagate::path::{DropReason, path_mtu};
use site::*;
use support::packets::*;
use support::tenants::*;
use support::*;

#[test]
fn what_comes_while_held_packets_leave_waits_behind_them() {
    for in_flight in [None, Some(InFlight::Retranslate)] {
        let mut it = Move::prepared(1, in_flight);
        let send = |it: &mut Move, numbers: std::ops::Range<u32>| {
            for n in numbers {
                for (_, frame) in kinds(n) {
                    for frame in it.reach_old(&frame) {
                        it.new.receive(FABRIC, &carried(&frame));
                    }
                }
            }
        };
        send(&mut it, 0..20);
        // VM2 sends, too, before it is known to be here.
        let (from, to) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
        let of_vm = |n: u32| frame(ANYCAST, VM2, &ipv6(from, to, 6, &tcp(from, to, &n.to_be_bytes())));
        it.new.receive(ACCESS, &of_vm(0));
        (it.new.ends_releases, it.new.releases_at_once) = (false, 3);
        it.cut_over();
        let before = it.new.sent.len();
        assert_eq!((before, it.new.held()), (3 + 3, 61 - 6), "three at each of two snapshots");
        // Three packets come at each turn, and four leave.
        it.new.releases_at_once = 4;
        for n in 20..40 {
            send(&mut it, n..n + 1);
            it.new.receive(ACCESS, &of_vm(n));
            it.new.release(0, 4);
        }
        it.new.releases_at_once = usize::MAX;
        it.new.release(0, usize::MAX);
        assert_eq!(it.new.held(), 0);
        // Nothing waits any more once all of it has left.
        it.new.rib.end_releases(true);
        it.new.publish();
        assert!(it.new.tables.moves.absent.is_empty() && it.new.tables.moves.moving.is_empty());
        send(&mut it, 40..45);
        assert_eq!(it.new.held(), 0);
        for (to, ethertype) in
            [(ACCESS, [0x08, 0x00]), (ACCESS, [0x86, 0xdd]), (ACCESS, [0x81, 0x00]), (FABRIC, [0x86, 0xdd])]
        {
            let of = it.new.sent.iter().filter(|(port, frame)| *port == to && frame[12..14] == ethertype);
            let numbers: Vec<u32> = of.map(|(_, frame)| number(frame)).collect();
            let expected: Vec<u32> =
                if to == ACCESS { (0..45).collect() } else { [0].into_iter().chain(20..40).collect() };
            assert_eq!(numbers, expected, "{to:?} {ethertype:x?}");
        }
        it.books_balance();
    }
}

#[test]
fn what_goes_back_with_a_vm_leaves_before_what_comes_later() {
    let mut it = Move::prepared(1, Some(InFlight::Retranslate));
    let (_, first) = kinds(1).swap_remove(1);
    let (_, second) = kinds(2).swap_remove(1);
    let [first, second] = [first, second].map(|frame| carried(&it.reach_old(&frame)[0]));
    it.new.receive(FABRIC, &first);
    (it.new.ends_releases, it.new.releases_at_once) = (false, 0);
    it.new.set(VM2, 0, Presence::Departed(departure(3, 2, Some(InFlight::Retranslate))));
    assert_eq!(it.new.receive(FABRIC, &second), []);
    it.new.releases_at_once = usize::MAX;
    it.new.release(0, usize::MAX);
    let back = through(std::mem::take(&mut it.new.sent), FABRIC);
    assert_eq!(back.iter().map(|frame| number(frame)).collect::<Vec<_>>(), [1, 2]);
    it.new.books_balance();
}

/// What a router says to `to` of a packet that is too big for a link of this MTU.
fn too_big(to: u128, mtu: u32, quoted: &[u8]) -> Vec<u8> {
    let from = address("fd00:f:9::1");
    let quoted = &quoted[..quoted.len().min(1280 - 48)];
    let rest = [&mtu.to_be_bytes()[..], quoted].concat();
    frame(NVE_FABRIC, Mac([2, 0, 0, 0, 0x0f, 9]), &ipv6(from, to, 58, &icmp6(from, to, 2, 0, &rest)))
}

/// A packet of VM1 with so many bytes, as the old node gets it.
fn sized(it: &mut Move, bytes: usize) -> Vec<u8> {
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let packet = ipv6(from, to, 6, &tcp(from, to, &vec![7; bytes - 60]));
    assert_eq!(packet.len(), bytes);
    let on_wire = through(it.sender.receive(ACCESS, &frame(ANYCAST, VM1, &packet)), FABRIC);
    carried(&on_wire[0])
}

// RFC 8201 §4
#[test]
fn rfc_8201_section_4_a_tunnel_takes_no_more_than_its_path_and_auto_retranslates_what_is_larger() {
    for in_flight in [InFlight::Auto, InFlight::Tunnel] {
        let mut it = Move::prepared(1, Some(in_flight));
        let large = sized(&mut it, 1_400);
        let on_wire = through(it.old.receive(FABRIC, &large), FABRIC);
        let outer = on_wire[0][14..].to_vec();
        assert_eq!((destination(&outer), outer.len()), (vtep(3), 1_470));
        // It is handed to the control thread, which lowers what the tunnel takes.
        let told = too_big(vtep(2), 1_440, &outer);
        let punted = it.old.sum(|counters| counters.punted.value());
        assert_eq!(it.old.receive(FABRIC, &told), []);
        assert_eq!(it.old.sum(|counters| counters.punted.value()), punted + 1);
        let path = path_mtu(&told[14..], &it.old.tables.moves).unwrap();
        assert_eq!((path.from, path.to, path.mtu), (vtep(2), vtep(3), 1_440));
        assert!(it.old.rib.lower_path_mtu(path) && !it.old.rib.lower_path_mtu(path));
        it.old.publish();
        let sent = through(it.old.receive(FABRIC, &large), FABRIC);
        match in_flight {
            InFlight::Auto => {
                assert_eq!(destination(&sent[0][14..]) >> 64, u128::from(locator(3).0));
                assert_eq!(it.old.sum(|counters| counters.retranslated.value()), 1);
            }
            _ => assert_eq!((told_of(&sent[0]), it.old.lost(DropReason::PacketTooBig)), ((2, 1_370), 1)),
        }
        // What fits goes through it still, and after ten minutes the larger ones, too.
        let small = sized(&mut it, 1_370);
        assert_eq!(destination(&through(it.old.receive(FABRIC, &small), FABRIC)[0][14..]), vtep(3));
        it.old.wait_ms(600_000);
        it.old.rib.age_path_mtus();
        it.old.publish();
        assert_eq!(destination(&through(it.old.receive(FABRIC, &large), FABRIC)[0][14..]), vtep(3));
        it.books_balance();
    }
}

/// Type and parameter of an ICMPv6 error in a frame.
fn told_of(frame: &[u8]) -> (u8, u32) {
    let told = told(&frame[14..]);
    (told.kind, told.parameter)
}

#[test]
fn nothing_is_believed_of_a_path_that_names_no_packet_of_a_tunnel() {
    let mut it = Move::prepared(1, None);
    let large = sized(&mut it, 1_400);
    let outer = through(it.old.receive(FABRIC, &large), FABRIC)[0][14..].to_vec();
    let moves = it.old.tables.moves.clone();
    let said = |to, mtu, change: &dyn Fn(&mut Vec<u8>)| {
        let mut quoted = outer.clone();
        change(&mut quoted);
        path_mtu(&too_big(to, mtu, &quoted)[14..], &moves).is_some()
    };
    assert!(said(vtep(2), 1_280, &|_| ()));
    // Smaller than any link, and no smaller than the packet; to another node.
    assert!(
        !said(vtep(2), 1_279, &|_| ()) && !said(vtep(2), 1_470, &|_| ()) && !said(vtep(2), 70_000, &|_| ())
    );
    assert!(!said(vtep(3), 1_280, &|_| ()));
    // Another source, destination, protocol, ports, VNI; cut short.
    for at in [23, 39, 6, 40, 43, 54] {
        assert!(!said(vtep(2), 1_280, &|quoted| quoted[at] ^= 0xc0), "{at}");
    }
    assert!(!said(vtep(2), 1_280, &|quoted| quoted.truncate(54)));
    // A wrong checksum; and nothing from the links of hosts.
    let mut wrong = too_big(vtep(2), 1_280, &outer);
    wrong[14 + 42] ^= 1;
    assert_eq!(path_mtu(&wrong[14..], &moves), None);
    let before = it.old.sum(|counters| counters.punted.value());
    it.old.receive(FABRIC, &wrong);
    let mut of_host = too_big(vtep(2), 1_280, &outer);
    of_host[6..12].copy_from_slice(&VM1.0);
    it.old.receive(ACCESS, &of_host);
    assert_eq!(it.old.sum(|counters| counters.punted.value()), before);
    it.books_balance();
}

#[test]
fn who_sends_to_one_that_has_left_is_told_only_where_that_is_configured() {
    for tells in [false, true] {
        let mut rules = rules();
        rules.more = if tells { "moves: {departed: icmp}" } else { "moves: {departed: silent}" };
        let mut it = Move::with(&rules, 1);
        it.old.set(VM2, 0, Presence::Departed(departure(2, 3, Some(InFlight::Drop))));
        for n in [0, 1] {
            // IPv4 and IPv6 of VM1, which is at another node.
            let (kind, sent) = kinds(n).swap_remove(n as usize);
            let answer = it.reach_old(&sent);
            assert_eq!(answer.len(), usize::from(tells), "{kind}");
            assert_eq!(it.old.lost(DropReason::Departed), u64::from(n) + 1);
            for answer in answer {
                let reached = through(it.sender.receive(FABRIC, &carried(&answer)), ACCESS);
                let told = &reached[0];
                match n {
                    // ICMP: host unreachable; ICMPv6: address unreachable.
                    0 => assert_eq!((told[23], told[34], told[35]), (1, 3, 1), "{kind}"),
                    _ => assert_eq!((told[20], told[54], told[55]), (58, 1, 3), "{kind}"),
                }
            }
        }
        // Within the limits of other errors.
        let (_, sent) = kinds(7).swap_remove(1);
        let on_wire = carried(&through(it.sender.receive(ACCESS, &sent), FABRIC)[0]);
        let told: usize = (0..3_000).map(|_| it.old.receive(FABRIC, &on_wire).len()).sum();
        assert!(if tells { (900..1_001).contains(&told) } else { told == 0 }, "{told}");
        it.books_balance();
    }
}
