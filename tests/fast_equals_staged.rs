//! The law "fast = staged": the fast path and the stages decide alike. Same verdicts, same bytes, same counters, over mixed
//! bursts.
//!
//! `support/near_fast.rs` has the packets; network and comparison are those of the fuzz target. And plain packets do take
//! the fast path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/near_fast.rs"]
mod near_fast;
mod support;
#[path = "../fuzz/src/lib.rs"]
// Of the targets only the pipeline is fed here.
#[allow(dead_code, missing_docs, unreachable_pub)]
mod targets;

use ilagate::net::Mac;
use ilagate::path::{BURST, Ctx, Decision, Lent, Limiter, Outcomes, Packet, Pipeline};
use ilagate::table::PortId;
use near_fast::{ADDRESSES, OfTenant, Sent, of_tenant, sent};
use proptest::prelude::*;

/// The MAC address that frames for a port of the network go to.
fn mac_of_port(port: usize) -> Mac {
    targets::network::macs()[port]
}

/// Whether the fast path decides a frame that `port` received alone.
fn is_for_the_fast_path(port: u16, frame: &[u8]) -> bool {
    let mut room = [&[0x5a; 128], frame, &[0x5a; 256]].concat();
    let end = 128 + frame.len() as u16;
    let mut burst = [Packet::new(&mut room, 128, end, PortId(port))];
    let ctx = Ctx { tables: targets::network::tables(), now_ms: 5 };
    let decision =
        Pipeline::new(Limiter::new(10, 5)).decide(&mut Lent(&mut burst), &mut Outcomes::new(), &ctx);
    decision != Decision::Each
}

#[test]
fn the_fast_path_of_tenants_decides_as_the_stages_do() {
    let mut runner = proptest::test_runner::TestRunner::new(support::cases(1500));
    let bursts = (any::<bool>(), 1u8..=BURST as u8, proptest::collection::vec(of_tenant(), 1..=2 * BURST));
    runner
        .run(&bursts, |(out, size, mut sent)| {
            let port = if out { 3 } else { 0 };
            let mut input = vec![port | (size - 1) << 2];
            for sent in &mut sent {
                sent.out = out;
                sent.write(&mut input);
            }
            targets::pipeline(&input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_fast_path_decides_as_the_stages_do() {
    let mut runner = proptest::test_runner::TestRunner::new(support::cases(1500));
    // More than one burst: metadata of earlier ones must not shine through.
    let bursts = (0u8..3, 1u8..=BURST as u8, proptest::collection::vec(sent(), 1..=2 * BURST));
    runner
        .run(&bursts, |(port, size, sent)| {
            let mut input = vec![port | (size - 1) << 2];
            sent.iter().for_each(|sent| sent.write(&mut input));
            targets::pipeline(&input);
            Ok(())
        })
        .unwrap();
}

/// A plain packet of a tenant or to one.
fn plain(out: bool, ipv4: bool, network: usize, kind: u8) -> OfTenant {
    // From the tenant of each network that is here, or to it; the other one is elsewhere.
    let (here, elsewhere) = (0, 2);
    let (from, to) = if out { (here, elsewhere) } else { (elsewhere, here) };
    let (hops, dont_fragment, size, padding) = (64, true, 30, 0);
    OfTenant { out, ipv4, network, from, to, kind, hops, dont_fragment, size, padding, edit: None }
}

/// The fast path would be right as well if it left every packet to the stages, and would be of no use.
#[test]
fn plain_packets_of_tenants_take_the_fast_path() {
    // In the second network checksums change. In the others the peer must be reached without a VLAN, by one locator.
    let sent = [(true, true, 0), (true, true, 3), (true, false, 2)];
    let received =
        [0, 2, 3].into_iter().flat_map(|network| [(false, true, network), (false, false, network)]);
    for ((out, ipv4, network), kind) in sent.into_iter().chain(received).flat_map(|of| [(of, 0), (of, 1)]) {
        let plain = plain(out, ipv4, network, kind);
        let mtu = if network == 2 { 1280 } else { 1500 };
        // Of IPv6 also what a tenant sends as IPv4: so it crosses the fabric.
        let headers = 40 + if kind == 0 { 20 } else { 8 };
        let taken = |sent: &OfTenant| {
            let mut frame = sent.frame();
            if !out {
                frame[..6].copy_from_slice(&mac_of_port(0).0);
            }
            is_for_the_fast_path(if out { 3 } else { 0 }, &frame)
        };
        for changed in [
            plain.clone(),
            OfTenant { hops: 2, ..plain.clone() },
            OfTenant { size: 0, ..plain.clone() },
            OfTenant { dont_fragment: false, ..plain.clone() },
            OfTenant { size: mtu - headers, ..plain.clone() },
        ] {
            assert!(taken(&changed), "{changed:?}");
        }
        for changed in [
            OfTenant { hops: 1, ..plain.clone() },
            OfTenant { hops: 0, ..plain.clone() },
            OfTenant { kind: 5, ..plain.clone() },
        ] {
            assert!(!taken(&changed), "{changed:?}");
        }
    }
}

#[test]
fn plain_packets_between_tasks_and_along_routes_take_the_fast_path() {
    let fabric = (0, None, "2001:db8:3::1");
    let task = (2, Some(Mac([2, 0, 0, 0, 0, 0x0a])), "2001:db8:a:0:2000::1");
    for ((port, mac, from), to) in [
        // To a locator, to an attachment here, in a mode without neutral mapping, along a route.
        (fabric, "2001:db8:a:0:2000::2"),
        (fabric, "2001:db8:a:0:2000::1"),
        (fabric, "2001:db8:d:0:2000::2"),
        (fabric, "fd00:1:0:a:2000::1"),
        (fabric, "fd00:2:0:77::1"),
        (task, "2001:db8:a:0:2000::2"),
    ] {
        let at = |text| ADDRESSES.iter().position(|address| *address == text).unwrap();
        let plain = Sent {
            from: at(from),
            to: at(to),
            marked: false,
            kind: 0,
            hop_limit: 64,
            size: 30,
            padding: 0,
            vlan: None,
            own_mac: true,
            edit: None,
        };
        let taken = |sent: &Sent| {
            let mut frame = sent.frame();
            frame[..6].copy_from_slice(&mac_of_port(usize::from(port)).0);
            frame[6..12].copy_from_slice(&mac.unwrap_or(Mac([2, 0, 0, 0, 0, 0xf0])).0);
            is_for_the_fast_path(port, &frame)
        };
        for (kind, header) in [(0, 20), (2, 8)] {
            for (hop_limit, size) in [(64, 30), (2, 30), (255, 0), (64, 1280 - 40 - header)] {
                let sent = Sent { kind, hop_limit, size, ..plain.clone() };
                assert!(taken(&sent), "{from} to {to}: {sent:?}");
            }
        }
        for left in [
            Sent { hop_limit: 1, ..plain.clone() },
            Sent { hop_limit: 0, ..plain.clone() },
            Sent { kind: 3, ..plain.clone() },
            Sent { kind: 4, ..plain.clone() },
            Sent { padding: 1, ..plain.clone() },
            Sent { vlan: Some(9), ..plain.clone() },
        ] {
            assert!(!taken(&left), "{from} to {to}: {left:?}");
        }
    }
}
