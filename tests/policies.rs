//! Tenants and whom they may reach outside of their network: services by mapped addresses (ILA draft §5.11) and tenants
//! of other networks by policy (§5.13), with what must not pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::PacketBuilder;
use ilagate::net::{arp, ethernet};
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const RED_TO_BLUE: &str = "{from: red, to: blue}";
const BLUE_TO_RED: &str = "{from: blue, to: red}";
const BOTH: &str = "{from: red, to: blue}, {from: blue, to: red}";
/// Red and the service, each direction.
const TO_SERVICE: &str = r#"{from: red, to: "2001:db8:dddd:0:2000::4"}"#;
const FROM_SERVICE: &str = r#"{from: "2001:db8:dddd:0:2000::4", to: red}"#;
const BLUE_TO_SERVICE: &str = r#"{from: blue, to: "2001:db8:dddd:0:2000::4"}"#;
/// VA4 of the draft is VM3's in blue (VNI2), VA1 is VM2's in red (VNI1): both are 10.0.0.2. ADDR4 lies in red's subnet,
/// and outside of blue's.
const RED_PEERS: &str = r#"{address: "10.0.0.200", to: "2001:db8:dddd:0:2000::4"},
    {address: "10.0.0.104", to: {network: blue, address: "10.0.0.2"}},
    {address: "10.0.0.103", to: {network: blue, address: "2001:db8:b::3"}}"#;
const BLUE_PEERS: &str = r#"{address: "192.0.2.4", to: "2001:db8:dddd:0:2000::4"},
    {address: "10.0.0.101", to: {network: red, address: "10.0.0.2"}},
    {address: "10.0.0.102", to: {network: red, address: "2001:db8:a::2"}},
    {address: "10.0.0.111", to: {network: red, address: "10.0.0.1"}}"#;
/// SIR:(VNI2:VA4).
const VM3_SIR: &str = "2001:db8:dddd:0:4000:c8:a00:2";

/// A host where these policies hold, and all peers are known.
fn with(locator: &str, policies: &str) -> Node {
    host_with(locator, &Rules { red_peers: RED_PEERS, blue_peers: BLUE_PEERS, policies, ..Rules::default() })
}

/// An IPv4 packet of VM3.
fn of_vm3(to: [u8; 4]) -> Vec<u8> {
    ipv4_tagged(ANYCAST, VM3, 7, &ipv4_packet([10, 0, 0, 2], to, 64, b"query"))
}

/// An IPv6 packet of VM3.
fn of_vm3_ipv6(to: &str) -> Vec<u8> {
    let (from, to) = (address("2001:db8:b::3"), address(to));
    tagged(ANYCAST, VM3, 7, &ipv6(from, to, 6, &tcp(from, to, b"hello")))
}

fn refused() -> Fate {
    Fate::Replied(Some(DropReason::NoPolicy))
}

#[test]
fn scenario_08_ipv4_tenant_to_service() {
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 200], 64, b"query");
    let on_wire =
        with(L1, TO_SERVICE).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).forwarded("fabric0");
    // The destination is that of scenario 4.
    assert_eq!(line(&on_wire[14..]), "2001:db8:dddd:0:4000:64:a00:1,fd00:1:0:2:3000::fe96");
    assert_eq!((checksum_ok(&on_wire[14..]), on_wire[21]), (Some(true), 63));
    let received = with(L2, TO_SERVICE).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[18..]), format!("2001:db8:dddd:0:4000:64:a00:1,{SERVICE}"));
    assert_eq!((checksum_ok(&received[18..]), &received[58 + 8..]), (Some(true), &b"query"[..]));
    for policies in ["", FROM_SERVICE] {
        assert_eq!(with(L1, policies).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).fate, refused());
    }
}

/// Σ SIR = 0b97, Σ L1 = fd02: 0b97 -' fd02 -' 1000 = fe93, so 1 becomes fe94.
#[test]
fn scenario_08_service_to_ipv4_tenant() {
    let (from, to) = (address(SERVICE), address("2001:db8:dddd:0:4000:64:a00:1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    let on_wire =
        with(L2, FROM_SERVICE).receive("access0", &tagged(NVE_ACCESS, TASK, 9, &packet)).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{SERVICE},fd00:1:0:1:5000:64:a00:fe94"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = with(L1, FROM_SERVICE).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM1, NVE_ACCESS, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.200,10.0.0.1");
    assert!(ipv4_checksums_ok(&received[14..]));
    for policies in ["", TO_SERVICE] {
        let sent = tagged(NVE_ACCESS, TASK, 9, &packet);
        assert_eq!(with(L2, policies).receive("access0", &sent).fate, refused());
        assert_eq!(with(L1, policies).receive("fabric0", &carried(&on_wire)).fate, refused());
    }
    // A service without an address in the network cannot be shown to the tenant.
    let outcome = host_where(L1, FROM_SERVICE).receive("fabric0", &carried(&on_wire));
    assert_eq!(outcome.fate, refused());
}

#[test]
fn a_mapped_address_may_lie_outside_of_the_subnets() {
    let on_wire = with(L1, BLUE_TO_SERVICE).receive("access0", &of_vm3([192, 0, 2, 4])).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:3000::fe96"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    // In red nobody has it.
    let packet = ipv4_packet([10, 0, 0, 1], [192, 0, 2, 4], 64, b"query");
    let outcome = with(L1, "").receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::Ipv4NoRoute));
}

#[test]
fn scenario_11_different_networks_ipv6() {
    let sent = of_vm3_ipv6("2001:db8:a::2");
    let on_wire = with(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("fabric0");
    // The destination is that of scenario 9.
    assert_eq!(line(&on_wire[14..]), "2001:db8:b::3,fd00:1:0:2:7000:64:0:c05c");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = with(L2, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), "2001:db8:b::3,2001:db8:a::2");
    assert_eq!((&received[..6], checksum_ok(&received[14..])), (&VM2.0[..], Some(true)));
    assert_eq!((received[21], &received[54..]), (62, &sent[58..]));
}

#[test]
fn scenario_12_different_networks_ipv4() {
    let on_wire = with(L1, BLUE_TO_RED).receive("access0", &of_vm3([10, 0, 0, 101])).forwarded("fabric0");
    // The destination is that of scenario 10.
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:5000:64:a00:fe94"));
    assert_eq!((checksum_ok(&on_wire[14..]), on_wire[21]), (Some(true), 63));
    let received = with(L2, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM2, NVE_ACCESS, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.104,10.0.0.2");
    assert!(ipv4_checksums_ok(&received[14..]));
    assert_eq!((received[22], &received[42..]), (62, &b"query"[..]));
}

#[test]
fn scenario_13_ipv4_to_ipv6_in_different_networks() {
    let on_wire = with(L1, BOTH).receive("access0", &of_vm3([10, 0, 0, 102])).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:7000:64:0:c05c"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = with(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(line(&received[14..]), format!("{VM3_SIR},2001:db8:a::2"));
    assert_eq!((&received[..6], checksum_ok(&received[14..])), (&VM2.0[..], Some(true)));
    // It answers to whom it sees. Under L1 2 becomes fe95: see scenario 8.
    let (from, to) = (address("2001:db8:a::2"), address(VM3_SIR));
    let answer = frame(ANYCAST, VM2, &ipv6(from, to, 17, &udp(from, to, b"answer")));
    let on_wire = with(L2, BOTH).receive("access0", &answer).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), "2001:db8:a::2,fd00:1:0:1:5000:c8:a00:fe95");
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    let received = with(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!(&received[..18], &ipv4_tagged(VM3, NVE_ACCESS, 7, &[])[..]);
    assert_eq!(ipv4_line(&received[18..]), "10.0.0.102,10.0.0.2");
    assert!(ipv4_checksums_ok(&received[18..]));
    // The way back needs its own policy, at both ends.
    assert_eq!(with(L2, BLUE_TO_RED).receive("access0", &answer).fate, refused());
    assert_eq!(with(L1, BLUE_TO_RED).receive("fabric0", &carried(&on_wire)).fate, refused());
}

#[test]
fn tenants_of_two_networks_on_one_host_need_a_policy_too() {
    let sent = of_vm3([10, 0, 0, 111]);
    let received = with(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM1, NVE_ACCESS, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.104,10.0.0.1");
    assert!(ipv4_checksums_ok(&received[14..]));
    let sent6 = of_vm3_ipv6("2001:db8:a::1");
    let received = with(L1, BLUE_TO_RED).receive("access0", &sent6).forwarded("access0");
    assert_eq!(line(&received[14..]), "2001:db8:b::3,2001:db8:a::1");
    for policies in ["", RED_TO_BLUE] {
        assert_eq!(with(L1, policies).receive("access0", &sent).fate, refused());
        assert_eq!(with(L1, policies).receive("access0", &sent6).fate, refused());
    }
}

#[test]
fn without_a_policy_in_its_direction_nothing_leaves_and_nothing_arrives() {
    for sent in [of_vm3_ipv6("2001:db8:a::2"), of_vm3([10, 0, 0, 101]), of_vm3([10, 0, 0, 102])] {
        let on_wire = with(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("fabric0");
        for policies in ["", RED_TO_BLUE] {
            assert_eq!(with(L1, policies).receive("access0", &sent).fate, refused());
            // The sender's host may be mistaken, or not be one of ours.
            assert_eq!(with(L2, policies).receive("fabric0", &carried(&on_wire)).fate, refused());
        }
    }
}

#[test]
fn a_policy_alone_makes_no_ipv4_addresses() {
    let bare = |locator, policies| host_with(locator, &Rules { policies, ..Rules::default() });
    let outcome = bare(L1, BOTH).receive("access0", &of_vm3([10, 0, 0, 101]));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoMapping)));
    // Nor can one without an address in the network be shown to its tenants.
    let on_wire = with(L1, BOTH).receive("access0", &of_vm3([10, 0, 0, 101])).forwarded("fabric0");
    assert_eq!(bare(L2, BOTH).receive("fabric0", &carried(&on_wire)).fate, refused());
}

#[test]
fn another_networks_address_does_not_help_whoever_claims_it() {
    // A tenant is held to its own addresses, policy or not.
    let mut node = with(L1, BOTH);
    let to = address("2001:db8:a::2");
    for from in
        ["2001:db8:a::1", "2001:db8:b::4", "2001:db8:dddd:0:4000:c8:a00:1", "2001:db8:dddd:0:4000:64:a00:1"]
            .map(address)
    {
        let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
        let outcome = node.receive("access0", &tagged(ANYCAST, VM3, 7, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource));
    }
    for from in [[10, 0, 0, 104], [10, 0, 0, 101], [192, 0, 2, 4]] {
        let packet = ipv4_packet(from, [10, 0, 0, 101], 64, b"spoofed");
        let outcome = node.receive("access0", &ipv4_tagged(ANYCAST, VM3, 7, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::SpoofedSource));
    }
    // From the fabric: blue's whole prefix, its SIR addresses of every type, and networks that are not known here.
    let mut node = with(L2, RED_TO_BLUE);
    for to in ["fd00:1:0:2:7000:64:0:c05c", "fd00:1:0:2:5000:64:a00:fe94"].map(address) {
        for from in [
            "2001:db8:b::ffff",
            VM3_SIR,
            "2001:db8:dddd:0:6000:c8:0:3",
            "2001:db8:dddd:0:4000:12c:a00:2",
            "2001:db8:dddd:0:6000:12c:0:3",
        ]
        .map(address)
        {
            let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
            let outcome = node.receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
            let lost = [Fate::Dropped(DropReason::NoPolicy), refused()];
            assert!(lost.contains(&outcome.fate), "{from:x} {:?}", outcome.fate);
        }
    }
}

#[test]
fn a_task_cannot_speak_as_a_tenant() {
    // On a port of its own, where packets may take the direct way.
    let more = r#"
ports:
  - {name: fabric0, device: a0, role: fabric, mac: "02:00:00:00:00:20", addresses: ["fd00:ffff::1/64"]}
  - {name: access0, device: b0, role: access, mac: "02:00:00:00:00:21"}
  - {name: access1, device: b1, role: access, mac: "02:00:00:00:00:22"}
attachments:
  - {name: vm1, port: access0, mac: "02:00:00:00:01:01", network: red, addresses: ["10.0.0.1", "2001:db8:a::1"]}
  - {name: task, port: access1, mac: "02:00:00:00:01:09", identifiers: ["2001:db8:dddd:0:2000::9"]}
"#;
    let (text, _) = written(L1, &Rules { policies: TASKS, ..Rules::default() });
    let (before, rest) = text.split_once("ports:").unwrap();
    let (_, after) = rest.split_once("routes:").unwrap();
    let task = ilagate::net::Mac([2, 0, 0, 0, 1, 9]);
    let mut node = Node::new(&format!("{before}{more}\nroutes:{after}"), &[(SERVICE.to_owned(), L2)]);
    let port = ilagate::net::Mac([2, 0, 0, 0, 0, 0x22]);
    // To the tenant's own addresses, and to what its packets look like on the wire.
    let (vm2, vm1) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
    let carried = frame(ANYCAST, VM2, &ipv6(vm2, vm1, 17, &udp(vm2, vm1, b"honest")));
    let on_wire = destination(&host(L2).receive("access0", &carried).forwarded("fabric0")[14..]);
    // Nor to services, nor outside.
    for to in [vm1, address("2001:db8:dddd:0:4000:64:a00:1"), on_wire, address(SERVICE), IADDR] {
        for from in ["2001:db8:a::2", "2001:db8:dddd:0:4000:64:a00:2", "2001:db8:dddd:0:6000:64:0:2"] {
            let from = address(from);
            let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
            let fate = node.receive("access1", &frame(port, task, &packet)).fate;
            assert_eq!(fate, Fate::Dropped(DropReason::SpoofedSource), "{from:x} {to:x}");
        }
    }
    // As itself it may, by its policy.
    let (from, to) = (address("2001:db8:dddd:0:2000::9"), address("2001:db8:a::1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    assert_eq!(node.receive("access1", &frame(port, task, &packet)).fate, Fate::Forwarded);
}

#[test]
fn arp_is_answered_for_mapped_addresses_of_the_own_network() {
    let mut node = with(L1, "");
    for (target, known) in [(200, true), (104, true), (103, true), (101, false), (199, false)] {
        let outcome = node.receive("access0", &arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_0000 | target), 0));
        if known {
            let answer = outcome.through("access0");
            let message = arp::parse(ethernet::ARP, &answer[14..]).unwrap();
            assert_eq!((message.sender_mac, message.sender), (ANYCAST, 0x0a00_0000 | target));
        } else {
            assert_eq!(outcome.fate, Fate::Dropped(DropReason::ArpNotForUs));
        }
    }
}

/// An ICMP port unreachable about `quote`.
fn unreachable(from: [u8; 4], to: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from, to, 64).icmpv4_raw(3, 3, [0; 4]).write(&mut packet, quote).unwrap();
    packet
}

#[test]
fn an_error_between_networks_quotes_what_its_receiver_sent() {
    let sent = of_vm3([10, 0, 0, 101]);
    let on_wire = with(L1, BOTH).receive("access0", &sent).forwarded("fabric0");
    let received = with(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    let error = unreachable([10, 0, 0, 2], [10, 0, 0, 104], &received[14..]);
    let on_wire = with(L2, BOTH).receive("access0", &ipv4_frame(ANYCAST, VM2, &error)).forwarded("fabric0");
    assert_eq!(
        line(&on_wire[14 + 48..]),
        format!("{VM3_SIR},2001:db8:dddd:0:4000:64:a00:2"),
        "quoted on the wire"
    );
    let told = with(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.101,10.0.0.2".to_owned(), &[3, 3][..]));
    assert_eq!(ipv4_line(&told[46..]), "10.0.0.2,10.0.0.101");
    assert!(ipv4_checksums_ok(&told[18..]));
    // Ports, length and checksum of the quoted packet.
    assert_eq!(&told[66..], &sent[38..]);
}

#[test]
fn an_error_of_an_ipv6_tenant_or_service_quotes_what_the_ipv4_tenant_sent() {
    let sent = of_vm3([10, 0, 0, 102]);
    let on_wire = with(L1, BOTH).receive("access0", &sent).forwarded("fabric0");
    let received = with(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    let error = icmp6_error(address("2001:db8:a::2"), address(VM3_SIR), 1, 4, 0, &received[14..]);
    let on_wire = with(L2, BOTH).receive("access0", &frame(ANYCAST, VM2, &error)).forwarded("fabric0");
    let told = with(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.102,10.0.0.2".to_owned(), &[3, 3][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,10.0.0.102".to_owned(), &sent[38..]));
    // A router of the fabric quotes the service's ILA address.
    let sent = of_vm3([192, 0, 2, 4]);
    let on_wire = with(L1, BLUE_TO_SERVICE).receive("access0", &sent).forwarded("fabric0");
    let router = address("fd00:9::9");
    let error = icmp6_error(router, address(VM3_SIR), 3, 0, 0, &on_wire[14..]);
    let told = with(L1, BLUE_TO_SERVICE)
        .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &error))
        .forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.254,10.0.0.2".to_owned(), &[11, 0][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,192.0.2.4".to_owned(), &sent[38..]));
    assert!(ipv4_checksums_ok(&told[18..]));
}

#[test]
fn an_ipv4_tenant_that_may_not_is_told_so_by_its_gateway() {
    let sent = of_vm3([10, 0, 0, 101]);
    let told = with(L1, RED_TO_BLUE).receive("access0", &sent).through("access0");
    // Communication with the destination host is administratively prohibited (RFC 7915 §5.2).
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.254,10.0.0.2".to_owned(), &[3, 10][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,10.0.0.101".to_owned(), &sent[38..]));
    assert!(ipv4_checksums_ok(&told[18..]));
}
