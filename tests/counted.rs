//! Packets of tenants, counted by virtual network: who sent, who got, what was lost; nothing for anybody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::net::{Mac, ipv4};
use ilagate::node::replay::capture::Frame;
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const RED: u16 = 0;
const BLUE: u16 = 1;

/// Packets and bytes from and to tenants, and packets lost.
fn counted(node: &Node, network: u16) -> [u64; 5] {
    let c = node.replay.network(network).unwrap();
    [&c.from_tenants, &c.from_tenants_bytes, &c.to_tenants, &c.to_tenants_bytes, &c.dropped]
        .map(|c| c.value())
}

fn of_vm1(to: &str) -> Vec<u8> {
    let (from, to) = (address("2001:db8:a::1"), address(to));
    frame(ANYCAST, VM1, &ipv6(from, to, 6, &tcp(from, to, b"hello")))
}

#[test]
fn what_a_tenant_sends_and_gets_counts_for_its_network() {
    let (mut sender, mut receiver) = (host(L1), host(L2));
    let sent = of_vm1("2001:db8:a::2");
    let on_wire = sender.receive("access0", &sent).forwarded("fabric0");
    assert_eq!(counted(&sender, RED), [1, sent.len() as u64, 0, 0, 0]);
    let received = receiver.receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(counted(&receiver, RED), [0, 0, 1, received.len() as u64, 0]);
    // IPv4 counts as the tenant has it, not as it travels.
    let sent4 = ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query"));
    let on_wire = sender.receive("access0", &sent4).forwarded("fabric0");
    assert_eq!(counted(&sender, RED), [2, (sent.len() + sent4.len()) as u64, 0, 0, 0]);
    let received4 = receiver.receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(received4.len(), sent4.len());
    assert_eq!(counted(&receiver, RED), [0, 0, 2, (received.len() + received4.len()) as u64, 0]);
    assert_eq!((counted(&sender, BLUE), counted(&receiver, BLUE)), ([0; 5], [0; 5]));
}

#[test]
fn between_networks_each_counts_its_own_end() {
    let mut node = host_where(L1, "{from: red, to: blue}");
    let sent = of_vm1("2001:db8:b::3");
    let received = node.receive("access0", &sent).forwarded("access0");
    assert_eq!(counted(&node, RED), [1, sent.len() as u64, 0, 0, 0]);
    assert_eq!(counted(&node, BLUE), [0, 0, 1, received.len() as u64, 0]);
}

#[test]
fn what_is_lost_counts_for_the_senders_network_and_otherwise_for_the_receivers() {
    let mut node = host(L1);
    // Told, and not told.
    let refused = of_vm1("2001:db8:b::3");
    assert_eq!(node.receive("access0", &refused).fate, Fate::Replied(Some(DropReason::NoPolicy)));
    let (from, to) = (address("2001:db8:a::9"), address("2001:db8:a::2"));
    let spoofed = frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"x")));
    assert_eq!(node.receive("access0", &spoofed).fate, Fate::Dropped(DropReason::SpoofedSource));
    assert_eq!(counted(&node, RED), [2, (refused.len() + spoofed.len()) as u64, 0, 0, 2]);
    assert_eq!(counted(&node, BLUE), [0; 5]);
    // From outside to blue.
    let to = address("2001:db8:b::3");
    let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"));
    let outcome = node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoPolicy)));
    assert_eq!(counted(&node, BLUE), [0, 0, 0, 0, 1]);
    // Whoever has no network is counted for none.
    let stranger = frame(ANYCAST, TASK, &ipv6(from, to, 17, &udp(from, to, b"x")));
    assert_eq!(node.receive("access0", &stranger).fate, Fate::Dropped(DropReason::UnknownTenant));
    assert_eq!((counted(&node, RED)[4], counted(&node, BLUE)[4]), (2, 1));
}

#[test]
fn what_a_tenant_asks_its_gateway_counts_as_sent_and_answers_count_for_nobody() {
    let mut node = host(L1);
    let asked = arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_00fe), 0);
    assert_eq!(node.receive("access0", &asked).fate, Fate::Replied(None));
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::ffff:fffe"));
    let ping = frame(ANYCAST, VM1, &ipv6(from, to, 58, &icmp6(from, to, 128, 0, &[0, 7, 0, 1])));
    assert_eq!(node.receive("access0", &ping).fate, Fate::Replied(None));
    assert_eq!(counted(&node, RED), [2, (asked.len() + ping.len()) as u64, 0, 0, 0]);
}

#[test]
fn what_a_gateway_forwards_and_packets_of_tasks_count_for_no_network() {
    let mut node = host_where(L1, &format!("{TASKS}, {INTERNET_TOO}"));
    let to = address("2001:db8:a::2");
    let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"));
    let outcome = node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
    assert_eq!(outcome.fate, Fate::Forwarded);
    assert_eq!(counted(&node, RED), [0; 5]);
    // What takes the fast path after a tenant's packet does not count that one again.
    node.receive("access0", &of_vm1("2001:db8:a::2"));
    let before = counted(&node, RED);
    let to = address(SERVICE);
    for _ in 0..3 {
        let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"));
        node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet)).forwarded("fabric0");
        assert_eq!(counted(&node, RED), before);
    }
}

#[test]
fn networks_beyond_the_limit_are_counted_together() {
    let mut node = host_limited(L1, "metrics: {listen: \"127.0.0.1:9464\", networks: 1}");
    let sent = of_vm1("2001:db8:a::2");
    node.receive("access0", &sent);
    assert_eq!((counted(&node, RED)[0], counted(&node, BLUE)[0]), (1, 0));
    let mut node = host_limited(L1, "metrics: {listen: \"127.0.0.1:9464\", networks: 0}");
    node.receive("access0", &sent);
    assert_eq!((counted(&node, RED)[0], counted(&node, BLUE)[0]), (1, 1));
}

#[test]
fn copies_for_tenants_here_count_as_delivered_and_those_for_elsewhere_as_nothing() {
    let more = |name: &str, vlan: u16| {
        format!(
            "  - {{name: {name}, port: access0, vlan: {vlan}, mac: \"02:00:00:00:01:0{vlan}\", network: red, \
             addresses: [\"2001:db8:a::{vlan}\"], groups: [\"ff05::1234\"]}}\n"
        )
    };
    let attachments = [more("vm4", 4), more("vm5", 5)].concat();
    let red = "replicate_to: [\"fd00:1:0:2::/64\"]";
    let mut node = host_with(L1, &Rules { red, attachments: &attachments, ..Rules::default() });
    let (from, to) = (address("2001:db8:a::1"), address("ff05::1234"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"to all of you"));
    let sent = frame(Mac::of_ipv6_multicast(to), VM1, &packet);
    let (fate, copies) = node.receive_copies("access0", &sent);
    assert_eq!((fate, copies.len()), (Fate::Forwarded, 3));
    // Those here are tagged.
    let delivered = 2 * (sent.len() as u64 + 4);
    assert_eq!(counted(&node, RED), [1, sent.len() as u64, 2, delivered, 0]);
}

#[test]
fn every_fragment_that_a_tenant_gets_counts() {
    let small = Rules { access: ", mtu: 1280", red: "mtu: 1280", ..Rules::default() };
    let mut packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, &[5; 1368]);
    // A first fragment, which the fabric carries as it is.
    packet[6] = 0x20;
    ipv4::seal(&mut packet[..20]);
    let mut sender = host_limited(L1, "translation: {lowest_ipv6_mtu: 1500}");
    let on_wire = sender.receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    let mut receiver = host_with(L2, &small);
    let (fate, got) = receiver.receive_copies("fabric0", &carried(&on_wire));
    assert_eq!((fate, got.len()), (Fate::Forwarded, 2));
    let bytes: usize = got.iter().map(|(_, frame)| frame.len()).sum();
    assert_eq!(counted(&receiver, RED), [0, 0, 2, bytes as u64, 0]);
}

#[test]
fn packets_of_a_burst_count_as_they_do_alone() {
    let (red, blue) = (address("2001:db8:a::1"), address("2001:db8:b::3"));
    let ping = |from| ipv6(from, IADDR, 58, &icmp6(from, IADDR, 128, 0, &[0, 7, 0, 1]));
    let kinds = [
        of_vm1("2001:db8:a::2"),
        of_vm1("2001:db8:b::3"),
        arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_00fe), 0),
        arp_frame(&asks(VM3, 0x0a00_0002, 0x0a00_00fe), 7),
        frame(ANYCAST, VM1, &ping(red)),
        tagged(ANYCAST, VM3, 7, &ping(blue)),
        frame(ANYCAST, VM1, &ping(blue)),
        frame(ANYCAST, TASK, &ping(red)),
    ];
    // Every kind comes before every kind, itself too.
    let order = || kinds.iter().flat_map(|first| kinds.iter().flat_map(move |then| [first, then]));
    let [mut together, mut alone] = [(); 2].map(|()| host_where(L1, RED_TO_BLUE));
    let burst = order().map(|bytes| Frame { time_ns: 1_000_000_000, bytes: bytes.clone(), cut: false });
    together.replay.run(vec![(1, burst.collect())]);
    for bytes in order() {
        alone.receive("access0", bytes);
    }
    for (network, sent) in [(RED, 80), (BLUE, 32)] {
        assert_eq!(counted(&together, network), counted(&alone, network));
        assert_eq!(counted(&together, network)[0], sent);
    }
}
