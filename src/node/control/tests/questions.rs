//! Questions of hosts for addresses that the authority is asked for.

use super::*;
use crate::net::arp;
use crate::node::source::{EventKind, follow};

const VM1: Mac = Mac([2, 0, 0, 0, 1, 1]);
const GATEWAY: Mac = Mac([2, 0, 0x5e, 0, 0, 1]);
const TASK: Mac = Mac([2, 0, 0, 0, 2, 1]);
const L2: u64 = 0xfd00_0001_0000_0002;
const VM1_4: u32 = 0x0a00_0005;
const VM1_6: u128 = 0x2001_0db8_000a << 80 | 5;
const TASK_1: u128 = 0x2001_0db8_dddd << 80 | 1 << 61 | 1;
const CACHING: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "02:00:5e:00:00:02"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
nva: {endpoints: ["unix:/run/nva.sock"], mode: cache}
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, mac: "02:00:5e:00:00:01", ipv6: {prefix: "2001:db8:a::/96"}, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}
attachments:
  - {name: vm1, port: a, mac: "02:00:00:00:01:01", network: red, addresses: [10.0.0.5, "2001:db8:a::5"]}
  - {port: a, vlan: 9, mac: "02:00:00:00:02:01", identifiers: ["2001:db8:dddd:0:2000::1"]}
"#;

/// An ARP request of vm1, or a probe if `sender` is 0.
fn arp(sender: u32, target: u32) -> Frame {
    let mut frame = [0; arp::MAX_FRAME];
    let length = arp::request(&mut frame, (VM1, sender), 0, target, None);
    Frame::new(ACCESS, &frame[..length]).unwrap()
}

fn solicitation((from_mac, vlan, source): (Mac, u16, u128), target: u128) -> Frame {
    let destination = ipv6::solicited_node(target);
    let to_mac = Mac::of_ipv6_multicast(destination);
    let mut frame = [0; ndp::MAX_FRAME];
    let envelope = Envelope { to_mac, from_mac, vlan, source, destination };
    let length = ndp::solicitation(&mut frame, envelope, target);
    Frame::new(ACCESS, &frame[..length]).unwrap()
}

fn start() -> Bench {
    let mut bench = Bench::with(CACHING);
    (1..10).for_each(|now| bench.turn(now));
    while bench.exchange.to_send.pop().is_some() {}
    bench
}

/// The authority answers: this identifier is at another node.
fn learn(bench: &mut Bench, identifier: Identifier, now_ms: u64) {
    let choice = LocatorChoice { locator: Locator(L2), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    let changes = vec![Change::Upsert(MappingRecord { domain: 0, identifier, target })];
    let batch = Batch { origin: Origin::Cache, changes, complete: false };
    let id = bench.request(Request::Apply(batch));
    (now_ms..now_ms + 9).for_each(|now| bench.turn(now));
    bench.applied(id).unwrap().unwrap();
}

fn sent(bench: &Bench) -> Vec<Frame> {
    std::iter::from_fn(|| bench.exchange.to_send.pop()).filter(|frame| frame.port == ACCESS).collect()
}

#[test]
fn a_question_is_answered_once_when_its_address_becomes_known() {
    let (ipv4, ipv6) = (Identifier::tenant_ipv4(100, 0x0a00_0009), Identifier::tenant_ipv6(100, 9));
    let peer6 = 0x2001_0db8_000a << 80 | 9;
    for (question, identifier) in
        [(arp(VM1_4, 0x0a00_0009), ipv4), (solicitation((VM1, 0, VM1_6), peer6), ipv6)]
    {
        let mut bench = start();
        // However often it comes, as long as nobody knows.
        for now in [100, 600] {
            bench.exchange.punted.push(question.clone()).unwrap();
            bench.turn(now);
            assert!(sent(&bench).is_empty());
        }
        learn(&mut bench, Identifier::tenant_ipv4(100, 0x0a00_0008), 700);
        assert!(sent(&bench).is_empty());
        learn(&mut bench, identifier, 1_500);
        let answers = sent(&bench);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(answer.bytes[..12], [VM1.0, GATEWAY.0].concat());
        let payload = &answer.bytes[14..];
        match ethernet::parse(&answer.bytes).unwrap().ethertype {
            ethernet::ARP => {
                let message = arp::parse(ethernet::ARP, payload).unwrap();
                assert_eq!((message.sender_mac, message.sender), (GATEWAY, 0x0a00_0009));
            }
            _ => assert!(matches!(
                ndp::parse(payload),
                Ok(Message::Advertisement { target, target_mac: Some(GATEWAY), solicited: true, .. }) if target == peer6
            )),
        }
        learn(&mut bench, Identifier::tenant_ipv4(100, 0x0a00_0007), 1_550);
        assert!(sent(&bench).is_empty());
        // And a question that comes after the answer is answered at once.
        bench.exchange.punted.push(question).unwrap();
        bench.turn(1_600);
        assert_eq!(sent(&bench).len(), 1);
    }
}

#[test]
fn a_tasks_question_is_answered_when_the_task_becomes_known() {
    let mut bench = start();
    let other = TASK_1 + 1;
    bench.exchange.punted.push(solicitation((TASK, 9, TASK_1), other)).unwrap();
    bench.turn(100);
    learn(&mut bench, Identifier::of_address(other), 200);
    let answers = sent(&bench);
    assert_eq!(answers.len(), 1);
    let link = ethernet::parse(&answers[0].bytes).unwrap();
    let said = ndp::parse(&answers[0].bytes[link.header..]);
    assert!(link.vlan == 9 && matches!(said, Ok(Message::Advertisement { target, .. }) if target == other));
}

#[test]
fn a_question_is_forgotten_when_the_host_would_ask_again() {
    let mut bench = start();
    bench.exchange.punted.push(arp(VM1_4, 0x0a00_0009)).unwrap();
    bench.turn(100);
    learn(&mut bench, Identifier::tenant_ipv4(100, 0x0a00_0009), 1_100);
    assert!(sent(&bench).is_empty());
}

#[test]
fn who_probes_for_an_address_that_another_one_has_is_told_and_so_is_the_operator() {
    let mut bench = start();
    bench.exchange.punted.push(arp(0, 0x0a00_0009)).unwrap();
    bench.turn(1_100);
    learn(&mut bench, Identifier::tenant_ipv4(100, 0x0a00_0009), 1_200);
    assert_eq!(sent(&bench).len(), 1);
    let events = follow(&bench.control.stats.events, 0).heard().events;
    let conflict = EventKind::Conflict { address: "10.0.0.9".parse().unwrap() };
    assert_eq!(events.into_iter().map(|event| event.kind).collect::<Vec<_>>(), [conflict]);
}

#[test]
fn questions_that_wait_are_bounded_and_one_host_crowds_out_no_other() {
    let mut bench = start();
    let other = solicitation((TASK, 9, TASK_1), TASK_1 + 1);
    bench.exchange.punted.push(other).unwrap();
    bench.turn(100);
    for n in 0..200 {
        bench.exchange.punted.push(arp(VM1_4, 0x0a00_0010 + n)).unwrap();
    }
    bench.turn(110);
    // Of vm1 the last sixteen wait.
    let first = Identifier::tenant_ipv4(100, 0x0a00_0010 + 200 - 17);
    let second = Identifier::tenant_ipv4(100, 0x0a00_0010 + 200 - 16);
    for (identifier, answers) in [(first, 0), (second, 1), (Identifier::of_address(TASK_1 + 1), 1)] {
        learn(&mut bench, identifier, 200);
        assert_eq!(sent(&bench).len(), answers, "{identifier:?}");
    }
}

/// A RARP request of vm1 for a MAC address, with its VLAN.
fn rarp(sought: Mac) -> Frame {
    let mut frame = [0; arp::MAX_FRAME];
    let message = arp::Arp {
        operation: arp::Operation::ReverseRequest,
        sender_mac: VM1,
        sender: 0,
        target_mac: sought,
        target: 0,
    };
    let length = arp::write(&mut frame, Mac::BROADCAST, 0, &message);
    Frame::new(ACCESS, &frame[..length]).unwrap()
}

const FAR: Mac = Mac([2, 0, 0, 0, 1, 9]);
const RED: (u64, u32) = (0x2001_0db8_dddd_0000, 100);

/// The authority found these identifiers of a MAC address.
fn found(bench: &mut Bench, network: (u64, u32), mac: Mac, identifiers: &[Identifier], now_ms: u64) {
    bench.request(Request::FoundMac(network, mac, identifiers.to_vec()));
    bench.turn(now_ms);
}

#[test]
fn a_rarp_request_for_a_mac_address_elsewhere_is_answered_once_when_the_authority_finds_it() {
    let mut bench = start();
    bench.exchange.punted.push(rarp(FAR)).unwrap();
    bench.turn(100);
    assert!(sent(&bench).is_empty());
    assert_eq!(std::mem::take(&mut bench.for_authority), [ForAuthority::FindMac(RED, FAR)]);
    let (ipv4, ipv6) = (Identifier::tenant_ipv4(100, 0x0a00_0009), Identifier::tenant_ipv6(100, 9));
    // Of another network, of another MAC address, or without an IPv4 address.
    found(&mut bench, (RED.0, 101), FAR, &[ipv4], 200);
    found(&mut bench, RED, VM1, &[ipv4], 210);
    found(&mut bench, RED, FAR, &[ipv6], 220);
    assert!(sent(&bench).is_empty());
    found(&mut bench, RED, FAR, &[ipv6, ipv4], 300);
    let answers = sent(&bench);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer.bytes[..12], [VM1.0, GATEWAY.0].concat());
    let message = arp::parse(ethernet::RARP, &answer.bytes[14..]).unwrap();
    assert_eq!(message.kind(), arp::Kind::ReverseReply);
    assert_eq!((message.target_mac, message.target), (FAR, 0x0a00_0009));
    assert_eq!((message.sender_mac, message.sender), (GATEWAY, 0x0a00_0001));
    found(&mut bench, RED, FAR, &[ipv4], 400);
    assert!(sent(&bench).is_empty());
}

fn rarp_answers(bench: &Bench) -> usize {
    let is_rarp = |frame: &Frame| ethernet::parse(&frame.bytes).unwrap().ethertype == ethernet::RARP;
    sent(bench).iter().filter(|frame| is_rarp(frame)).count()
}

#[test]
fn a_rarp_answer_that_comes_too_late_is_not_sent() {
    let mut bench = start();
    bench.exchange.punted.push(rarp(FAR)).unwrap();
    bench.turn(100);
    found(&mut bench, RED, FAR, &[Identifier::tenant_ipv4(100, 0x0a00_0009)], 1_200);
    assert_eq!(rarp_answers(&bench), 0);
    // Nor is an address that is in no subnet of the network.
    bench.exchange.punted.push(rarp(FAR)).unwrap();
    bench.turn(1_300);
    found(&mut bench, RED, FAR, &[Identifier::tenant_ipv4(100, 0x0b00_0009)], 1_400);
    assert_eq!(rarp_answers(&bench), 0);
}

#[test]
fn an_announcement_is_told_to_the_client_of_the_authority() {
    let mut bench = start();
    let mut frame = [0; arp::MAX_FRAME];
    let message = arp::Arp {
        operation: arp::Operation::Request,
        sender_mac: VM1,
        sender: VM1_4,
        target_mac: Mac::ZERO,
        target: VM1_4,
    };
    let length = arp::write(&mut frame, Mac::BROADCAST, 0, &message);
    bench.exchange.punted.push(Frame::new(ACCESS, &frame[..length]).unwrap()).unwrap();
    bench.turn(100);
    let key = crate::nva::model::Key { sir_prefix: RED.0, identifier: Identifier::tenant_ipv4(100, VM1_4).0 };
    assert_eq!(bench.for_authority, [ForAuthority::Announced(key)]);
}
