//! Neighbours, links, and what the node advertises of itself.

use super::*;

#[test]
fn a_next_hop_is_asked_for_at_the_start_and_ready_when_it_answers() {
    let mut bench = Bench::new();
    assert!(bench.solicited(NEXT));
    assert_eq!(bench.next_hop(), HopState::Unresolved);
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    assert_eq!(bench.next_hop(), HopState::Ready);
}

#[test]
fn a_neighbour_that_a_packet_waits_for_is_asked_for_found_unreachable_and_forgotten() {
    let mut bench = Bench::new();
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.turn(10);
    assert!(bench.solicited(HOST));
    assert_eq!(bench.host(), Some(HopState::Unresolved));
    (10..3_100).step_by(10).for_each(|now| bench.turn(now));
    assert_eq!(bench.host(), Some(HopState::Unreachable));
    (3_100..7_000).step_by(10).for_each(|now| bench.turn(now));
    assert_eq!(bench.host(), None);
    bench.exchange.wanted.push(Key { port: ACCESS, address: HOST }).unwrap();
    bench.turn(7_000);
    bench.advertise(ACCESS, HOST);
    bench.turn(7_010);
    assert_eq!(bench.host(), Some(HopState::Ready));
}

#[test]
fn a_neighbour_that_asks_from_another_mac_is_followed() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    let moved = Mac([2, 0, 0, 0, 0, 10]);
    bench.exchange.notices.push(Notice::Neighbour { port: FABRIC, address: NEXT, mac: moved }).unwrap();
    bench.turn(10);
    let hop = bench.reader.snapshot().neighbours[&(FABRIC, NEXT)];
    assert_eq!((hop.state, ethernet::destination(hop.link())), (HopState::Ready, Some(moved)));
    assert_eq!(bench.control.neighbour_views()[0].state, "stale");
}

#[test]
fn somebody_who_has_our_address_is_counted_however_it_shows() {
    let mut bench = Bench::new();
    let own = 0xfd00_000f << 96 | 1;
    let conflicts = |bench: &Bench| bench.control.stats.address_conflicts[0].load(Ordering::Relaxed);
    bench.turn(1);
    // Nobody but asks whether it is free at first.
    assert!(bench.sent().iter().any(|(port, _, m)| {
        *port == FABRIC && *m == Message::Solicitation { target: own, source_mac: None }
    }));
    bench.advertise(FABRIC, own);
    bench.turn(10);
    assert_eq!(conflicts(&bench), 1);
    bench.exchange.notices.push(Notice::Ours { port: FABRIC, address: own, mac: PEER }).unwrap();
    bench.turn(20);
    assert_eq!((conflicts(&bench), bench.control.rib.neighbours().iter().count()), (2, 1));
    // Our own, which came back.
    let mut frame = [0; ndp::MAX_FRAME];
    let from_mac = bench.control.publisher.current().ports[0].mac;
    let envelope = Envelope { to_mac: PEER, from_mac, vlan: 0, source: own, destination: 1 };
    let length = ndp::advertisement(&mut frame, envelope, own, true, true);
    bench.exchange.punted.push(Frame::new(FABRIC, &frame[..length]).unwrap()).unwrap();
    bench.turn(30);
    assert_eq!(conflicts(&bench), 2);
}

#[test]
fn a_link_that_goes_down_takes_its_hops_along_and_asks_anew_when_it_comes_back() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(5);
    bench.links[0] = false;
    bench.turn(300);
    assert_eq!(bench.next_hop(), HopState::LinkDown);
    bench.sent();
    bench.links[0] = true;
    bench.turn(600);
    assert_eq!(bench.next_hop(), HopState::Ready);
    let sent = bench.sent();
    let told = |address: u128| {
        sent.iter().any(|(port, _, m)| {
            *port == FABRIC && matches!(m, Message::Advertisement { target, .. } if *target == address)
        })
    };
    assert!(told(0xfd00_000f << 96 | 1), "others learn where we are");
    assert!(sent.iter().any(|(_, to, m)| *to == NEXT && matches!(m, Message::Solicitation { .. })));
}

#[test]
fn access_ports_advertise_themselves_from_the_start() {
    let mut bench = Bench::new();
    let adverts = |bench: &Bench| {
        let sent = bench.sent();
        sent.iter().filter(|(port, _, m)| *port == ACCESS && *m == Message::RouterAdvertisement).count()
    };
    bench.turn(1);
    assert_eq!(adverts(&bench), 1);
    (1..60_000).step_by(100).for_each(|now| bench.round(now));
    assert!((6..=8).contains(&adverts(&bench)));
}

/// Lifetimes of the Router Advertisements that were sent on the access port since the last call.
fn lifetimes(bench: &Bench) -> Vec<u16> {
    let frames = std::iter::from_fn(|| bench.exchange.to_send.pop()).filter(|frame| frame.port == ACCESS);
    frames
        .filter_map(|frame| ndp::router_advert(&frame.bytes[14..]).ok().map(|(advert, _)| advert.lifetime_s))
        .collect()
}

#[test]
fn rfc_4861_6_2_5_who_stops_advertising_says_so() {
    let stop = |bench: &mut Bench| {
        bench.input(10, Input::Stop);
        bench.send_queue.flush(&bench.exchange);
        lifetimes(bench)
    };
    let mut bench = Bench::new();
    bench.turn(1);
    assert_eq!(lifetimes(&bench), [1800]);
    assert_eq!(stop(&mut bench), [0]);
    // A reload that takes it away says so once, and the end has nothing to add.
    let mut bench = Bench::new();
    bench.turn(1);
    lifetimes(&bench);
    bench.reload(&CONFIG.replace(", router_advertisement: {interval_s: 10}", "")).unwrap();
    assert_eq!((lifetimes(&bench), stop(&mut bench)), (vec![0], vec![]));
    // One that changes something else says nothing of the kind.
    let mut bench = Bench::new();
    bench.turn(1);
    bench.reload(&CONFIG.replace("fd00:1::/32", "fd00:2::/32")).unwrap();
    assert!(!lifetimes(&bench).contains(&0));
}

#[test]
fn every_vlan_of_an_access_port_is_told_of_its_router() {
    let mut config =
        CONFIG.replace("ports:", "locators: [{prefix: \"fd00:1:0:1::/64\", domain: tasks}]\nports:");
    config.push_str("attachments:\n");
    for vlan in 1..=1000 {
        let sir = format!("2001:db8:dddd:0:2000::{vlan}");
        let line = format!("{{port: a, vlan: {vlan}, mac: \"02:00:00:00:00:0a\", identifiers: [\"{sir}\"]}}");
        config.push_str(&format!("  - {line}\n"));
    }
    let mut bench = Bench::with(&config);
    let mut told = std::collections::BTreeSet::new();
    for now in 1..20 {
        bench.round(now);
        while let Some(frame) = bench.exchange.to_send.pop() {
            let link = ethernet::parse(&frame.bytes).unwrap();
            if ndp::parse(&frame.bytes[link.header..]) == Ok(Message::RouterAdvertisement) {
                told.insert(link.vlan);
            }
        }
    }
    assert_eq!(told.len(), 1000);
    assert_eq!(bench.control.stats.originated_lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_next_hop_that_a_reload_let_go_is_found_by_packets_to_itself() {
    let mut bench = Bench::new();
    bench.advertise(FABRIC, NEXT);
    bench.turn(1);
    bench
        .reload(&CONFIG.replace("routes: [{prefix: \"fd00:1::/32\", via: \"fd00:f::2\", port: f}]", ""))
        .unwrap();
    let known =
        |bench: &mut Bench| bench.reader.snapshot().neighbours.get(&(FABRIC, NEXT)).map(|hop| hop.state);
    assert_eq!(known(&mut bench), None);
    bench.exchange.wanted.push(Key { port: FABRIC, address: NEXT }).unwrap();
    bench.turn(20);
    assert_eq!(known(&mut bench), Some(HopState::Ready));
}

#[test]
fn a_new_address_is_asked_for_and_told_of() {
    let mut bench = Bench::new();
    bench.turn(1);
    bench.turn(300);
    bench.sent();
    let new = 0xfd00_000f << 96 | 0x11;
    bench.reload(&CONFIG.replace(r#"["fd00:f::1/64"]"#, r#"["fd00:f::1/64", "fd00:f::11/64"]"#)).unwrap();
    bench.turn(600);
    let sent = bench.sent();
    let said =
        |wanted: &dyn Fn(&Message) -> bool| sent.iter().any(|(port, _, m)| *port == FABRIC && wanted(m));
    assert!(said(&|m| *m == Message::Solicitation { target: new, source_mac: None }), "{sent:?}");
    assert!(said(&|m| matches!(m, Message::Advertisement { target, .. } if *target == new)), "{sent:?}");
    // Only where something is new.
    assert!(!sent.iter().any(|(port, _, m)| *port == ACCESS && matches!(m, Message::Advertisement { .. })));
}
