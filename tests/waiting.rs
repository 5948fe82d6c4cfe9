//! Packets of tenants that wait for their next hop leave as they would have left at once, and only this node may send what
//! they became.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::mapping::{Batch, Change, Origin};
use ilagate::net::ipv4;
use ilagate::node::rib::{NeighbourState, Rib};
use ilagate::path::{BURST, Ctx, DropReason, Limiter, Packet, Pipeline, Verdict};
use ilagate::table::PortId;
use support::packets::*;
use support::tenants::*;
use support::*;

const FABRIC: PortId = PortId(0);
const ACCESS: PortId = PortId(1);
const NEXT_HOP: &str = "fd00:ffff::ff";

/// A datagram of vm1 to vm2 in IPv4, with `data` bytes of payload.
fn datagram(data: usize, dont_fragment: bool) -> Vec<u8> {
    let data: Vec<u8> = (0..data).map(|n| n as u8).collect();
    let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &data);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(dont_fragment, false, 0);
    ipv4::seal(&mut packet[..20]);
    ipv4_frame(ANYCAST, VM1, &packet)
}

/// VM1's host, which does not know the next hop of the locator.
fn without_next_hop() -> Rib {
    let (text, mapped) = written(L1, &Rules::default());
    let (before, _) = text.split_once("neighbours:").unwrap();
    let config = Config::parse(before, "test.yaml").unwrap();
    let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1);
    let changes = records(&config, &mapped).into_iter().map(Change::Upsert).collect();
    rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    rib
}

/// Lets a frame wait for the next hop of the locator, and then sends it: all frames that leave.
fn waited(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut rib = without_next_hop();
    let mut pipeline = Pipeline::new(Limiter::new(1000, 1000));
    let mut room = vec![0; 4096];
    room[128..128 + frame.len()].copy_from_slice(frame);
    let mut burst = [Packet::new(&mut room, 128, 128 + frame.len() as u16, ACCESS)];
    pipeline.run(&mut burst, &Ctx { tables: &rib.compile(), now_ms: 1 });
    assert!(matches!(burst[0].verdict, Verdict::AwaitNextHop(_)), "{:?}", burst[0].verdict);
    assert!(rib.set_neighbour(FABRIC, address(NEXT_HOP), NeighbourState::Reachable(GATEWAY_FABRIC)));
    burst[0].verdict = Verdict::Continue;
    pipeline.run_again(&mut burst, &Ctx { tables: &rib.compile(), now_ms: 2 });
    assert_eq!(burst[0].verdict, Verdict::Forward(FABRIC));
    let mut sent = vec![burst[0].frame().to_vec()];
    sent.extend(pipeline.copies().copies().map(|copy| copy.frame.to_vec()));
    sent
}

#[test]
fn what_waited_leaves_as_it_would_have_left_at_once() {
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::2"));
    let own6 = frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"query")));
    // The header grows by 20 or 28 bytes: without DF the longest of them leave in fragments.
    for frame in [own6, datagram(5, true), datagram(5, false), datagram(1400, false), datagram(1472, false)] {
        let (fate, at_once) = host(L1).receive_copies("access0", &frame);
        assert_eq!(fate, Fate::Forwarded);
        let mut at_once: Vec<Vec<u8>> = at_once.into_iter().map(|(_, frame)| frame).collect();
        let mut later = waited(&frame);
        at_once.sort();
        later.sort();
        assert_eq!(at_once, later);
    }
}

#[test]
fn a_packet_that_waits_is_kept_as_it_came_and_quoted_as_it_came() {
    let mut options = datagram(100, false);
    options.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 1]);
    (options[14], options[17]) = (0x47, options[17] + 8);
    options[18..20].copy_from_slice(&[0xbe, 0xef]);
    ipv4::seal(&mut options[14..42]);
    let mut unchecked = datagram(9, true);
    unchecked[40..42].fill(0);
    for frame in [datagram(5, true), datagram(1400, false), datagram(1472, false), options, unchecked] {
        let (mut rib, mut pipeline) = (without_next_hop(), Pipeline::new(Limiter::new(1000, 1000)));
        let mut room = vec![0; 4096];
        room[128..128 + frame.len()].copy_from_slice(&frame);
        let mut burst = [Packet::new(&mut room, 128, 128 + frame.len() as u16, ACCESS)];
        pipeline.run(&mut burst, &Ctx { tables: &rib.compile(), now_ms: 1 });
        assert!(matches!(burst[0].verdict, Verdict::AwaitNextHop(_)));
        assert_eq!((burst[0].start(), burst[0].frame()), (128, &frame[..]));
        assert!(rib.set_neighbour(FABRIC, address(NEXT_HOP), NeighbourState::Failed));
        burst[0].verdict = Verdict::Continue;
        pipeline.run_again(&mut burst, &Ctx { tables: &rib.compile(), now_ms: 2 });
        assert_eq!(burst[0].verdict, Verdict::Reply(ACCESS));
        let answer = burst[0].frame();
        assert_eq!(
            (ipv4_line(&answer[14..]), &answer[34..36]),
            ("10.0.0.254,10.0.0.1".to_owned(), &[3, 1][..])
        );
        assert_eq!(answer[42..], frame[14..frame.len().min(14 + 548)]);
    }
}

#[test]
fn an_icmp_error_that_waited_leaves_as_it_would_have_left_at_once() {
    let quote = ipv4_packet([10, 0, 0, 2], [10, 0, 0, 1], 64, &[3; 40]);
    let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &quote].concat();
    let sum = !ilagate::net::checksum::sum_of_bytes(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0; 20];
    let total = (20 + message.len()) as u16;
    ipv4::Ipv4::of_mut(&mut packet).unwrap().write(total, 1, 64, 0x0a00_0001, 0x0a00_0002);
    ipv4::seal(&mut packet);
    let frame = ipv4_frame(ANYCAST, VM1, &[packet, message].concat());
    let at_once = host(L1).receive("access0", &frame).forwarded("fabric0");
    assert_eq!(waited(&frame), [at_once]);
}

#[test]
fn only_this_node_writes_the_sir_form_of_a_tenants_ipv4_address() {
    let to = address("2001:db8:dddd:0:4000:64:a00:2");
    // Its own, another's of its network, its own in another network.
    for from in ["4000:64:a00:1", "4000:64:a00:9", "4000:c8:a00:1"] {
        let from = address(&format!("2001:db8:dddd:0:{from}"));
        for data in [5, 1480] {
            let packet = ipv6(from, to, 17, &udp(from, to, &vec![7; data]));
            let outcome = host(L1).receive("access0", &frame(ANYCAST, VM1, &packet));
            assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource), "{from:x} {data}");
        }
    }
}

#[test]
fn a_burst_that_waited_is_decided_whole() {
    let (text, mapped) = written(L1, &Rules::default());
    let config = Config::parse(&text, "test.yaml").unwrap();
    let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1);
    let changes = records(&config, &mapped).into_iter().map(Change::Upsert).collect();
    rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
    let (from, to) = (address("2001:db8:dddd:0:4000:64:a00:1"), address("2001:db8:dddd:0:4000:64:a00:2"));
    let frame = frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"query")));
    let mut rooms = vec![vec![0; 2048]; BURST];
    let mut burst: Vec<Packet<'_>> = rooms
        .iter_mut()
        .map(|room| {
            room[128..128 + frame.len()].copy_from_slice(&frame);
            Packet::new(room, 128, 128 + frame.len() as u16, ACCESS)
        })
        .collect();
    let mut pipeline = Pipeline::new(Limiter::new(1000, 1000));
    pipeline.run_again(&mut burst, &Ctx { tables: &rib.compile(), now_ms: 1 });
    assert!(burst.iter().all(|packet| packet.verdict == Verdict::Forward(FABRIC)));
}
