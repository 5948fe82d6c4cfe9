//! Policies between virtual networks, services and the outside (ILA draft §5.11, §5.13): what they let pass in each
//! direction, at every node that meets the packet, what passes without one, and what errors may pass all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::PacketBuilder;
use ilagate::config::Config;
use ilagate::net::{arp, ethernet};
use ilagate::node::rib::Rib;
use ilagate::path::DropReason;
use ilagate::table::NetworkId;
use support::packets::*;
use support::tenants::*;
use support::*;

const VM1_ADDRESS: &str = "2001:db8:a::1";
const OTHER_SERVICE: &str = "2001:db8:dddd:0:2000::5";
/// A router of the fabric, and one outside.
const ROUTERS: [&str; 2] = ["fd00:9::9", "2001:db8:77::1"];

#[test]
fn a_mapped_address_may_lie_outside_of_the_subnets() {
    let on_wire =
        peered(L1, BLUE_TO_SERVICE).receive("access0", &of_vm3([192, 0, 2, 4])).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), format!("{VM3_SIR},fd00:1:0:2:3000::fe96"));
    assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
    // In red nobody has it.
    let packet = ipv4_packet([10, 0, 0, 1], [192, 0, 2, 4], 64, b"query");
    let outcome = peered(L1, "").receive("access0", &ipv4_frame(ANYCAST, VM1, &packet));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::Ipv4NoRoute)));
}

#[test]
fn tenants_of_two_networks_on_one_host_need_a_policy_too() {
    let sent = of_vm3([10, 0, 0, 111]);
    let received = peered(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("access0");
    assert_eq!(&received[..14], &ipv4_frame(VM1, ANYCAST, &[])[..]);
    assert_eq!(ipv4_line(&received[14..]), "10.0.0.104,10.0.0.1");
    assert!(ipv4_checksums_ok(&received[14..]));
    let sent6 = of_vm3_ipv6("2001:db8:a::1");
    let received = peered(L1, BLUE_TO_RED).receive("access0", &sent6).forwarded("access0");
    assert_eq!(line(&received[14..]), "2001:db8:b::3,2001:db8:a::1");
    for policies in ["", RED_TO_BLUE] {
        assert_eq!(peered(L1, policies).receive("access0", &sent).fate, refused());
        assert_eq!(peered(L1, policies).receive("access0", &sent6).fate, refused());
    }
}

#[test]
fn without_a_policy_in_its_direction_nothing_leaves_and_nothing_arrives() {
    for sent in [of_vm3_ipv6("2001:db8:a::2"), of_vm3([10, 0, 0, 101]), of_vm3([10, 0, 0, 102])] {
        let on_wire = peered(L1, BLUE_TO_RED).receive("access0", &sent).forwarded("fabric0");
        for policies in ["", RED_TO_BLUE] {
            assert_eq!(peered(L1, policies).receive("access0", &sent).fate, refused());
            // The sender's host may be mistaken, or not be one of ours.
            assert_eq!(peered(L2, policies).receive("fabric0", &carried(&on_wire)).fate, refused());
        }
    }
}

#[test]
fn a_policy_alone_makes_no_ipv4_addresses() {
    let bare = |locator, policies| host_with(locator, &Rules { policies, ..Rules::default() });
    let outcome = bare(L1, BOTH).receive("access0", &of_vm3([10, 0, 0, 101]));
    assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::NoMapping)));
    // Nor can one without an address in the network be shown to its tenants.
    let on_wire = peered(L1, BOTH).receive("access0", &of_vm3([10, 0, 0, 101])).forwarded("fabric0");
    assert_eq!(bare(L2, BOTH).receive("fabric0", &carried(&on_wire)).fate, refused());
}

#[test]
fn another_networks_address_does_not_help_whoever_claims_it() {
    // A tenant is held to its own addresses, policy or not.
    let mut node = peered(L1, BOTH);
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
    let mut node = peered(L2, RED_TO_BLUE);
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
    // On a port of its own, where packets may take the fast path.
    let more = r#"
ports:
  - {name: fabric0, device: net_null_a0, role: fabric, mac: "02:00:00:00:00:20", addresses: ["fd00:ffff::1/64"]}
  - {name: access0, device: net_null_b0, role: access, mac: "02:00:00:00:00:21"}
  - {name: access1, device: net_null_b1, role: access, mac: "02:00:00:00:00:22"}
attachments:
  - {name: vm1, port: access0, mac: "02:00:00:00:01:01", network: red, addresses: ["10.0.0.1", "2001:db8:a::1"]}
  - {name: task, port: access1, mac: "02:00:00:00:01:09", identifiers: ["2001:db8:dddd:0:2000::9"]}
"#;
    let (text, _) = written(L1, &Rules { policies: TASKS, ..Rules::default() });
    let (before, rest) = text.split_once("ports:").unwrap();
    let (_, after) = rest.split_once("routes:").unwrap();
    let task = ilagate::net::Mac([2, 0, 0, 0, 1, 9]);
    let mut node = Node::new(&format!("{before}{more}\nroutes:{after}"), &[(SERVICE.to_owned(), L2)]);
    // To the tenant's own addresses, and to what its packets look like on the wire.
    let (vm2, vm1) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
    let carried = frame(ANYCAST, VM2, &ipv6(vm2, vm1, 17, &udp(vm2, vm1, b"honest")));
    let on_wire = destination(&host(L2).receive("access0", &carried).forwarded("fabric0")[14..]);
    // Nor to services, nor outside.
    for to in [vm1, address("2001:db8:dddd:0:4000:64:a00:1"), on_wire, address(SERVICE), IADDR] {
        for from in ["2001:db8:a::2", "2001:db8:dddd:0:4000:64:a00:2", "2001:db8:dddd:0:6000:64:0:2"] {
            let from = address(from);
            let packet = ipv6(from, to, 17, &udp(from, to, b"spoofed"));
            let fate = node.receive("access1", &frame(TASK_ROUTER, task, &packet)).fate;
            assert_eq!(fate, Fate::Dropped(DropReason::SpoofedSource), "{from:x} {to:x}");
        }
    }
    // As itself it may, by its policy.
    let (from, to) = (address("2001:db8:dddd:0:2000::9"), address("2001:db8:a::1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    assert_eq!(node.receive("access1", &frame(TASK_ROUTER, task, &packet)).fate, Fate::Forwarded);
}

#[test]
fn arp_is_answered_for_mapped_addresses_of_the_own_network() {
    let mut node = peered(L1, "");
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
    let on_wire = peered(L1, BOTH).receive("access0", &sent).forwarded("fabric0");
    let received = peered(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    let error = unreachable([10, 0, 0, 2], [10, 0, 0, 104], &received[14..]);
    let on_wire = peered(L2, BOTH).receive("access0", &ipv4_frame(ANYCAST, VM2, &error)).forwarded("fabric0");
    assert_eq!(
        line(&on_wire[14 + 48..]),
        format!("{VM3_SIR},2001:db8:dddd:0:4000:64:a00:2"),
        "quoted on the wire"
    );
    let told = peered(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.101,10.0.0.2".to_owned(), &[3, 3][..]));
    assert_eq!(ipv4_line(&told[46..]), "10.0.0.2,10.0.0.101");
    assert!(ipv4_checksums_ok(&told[18..]));
    // Ports, length and checksum of the quoted packet.
    assert_eq!(&told[66..], &sent[38..]);
}

#[test]
fn an_error_of_an_ipv6_tenant_or_service_quotes_what_the_ipv4_tenant_sent() {
    let sent = of_vm3([10, 0, 0, 102]);
    let on_wire = peered(L1, BOTH).receive("access0", &sent).forwarded("fabric0");
    let received = peered(L2, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    let error = icmp6_error(address("2001:db8:a::2"), address(VM3_SIR), 1, 4, 0, &received[14..]);
    let on_wire = peered(L2, BOTH).receive("access0", &frame(ANYCAST, VM2, &error)).forwarded("fabric0");
    let told = peered(L1, BOTH).receive("fabric0", &carried(&on_wire)).forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.102,10.0.0.2".to_owned(), &[3, 3][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,10.0.0.102".to_owned(), &sent[38..]));
    // A router of the fabric quotes the service's ILA address.
    let sent = of_vm3([192, 0, 2, 4]);
    let on_wire = peered(L1, BLUE_TO_SERVICE).receive("access0", &sent).forwarded("fabric0");
    let router = address("fd00:9::9");
    let error = icmp6_error(router, address(VM3_SIR), 3, 0, 0, &on_wire[14..]);
    let told = peered(L1, BLUE_TO_SERVICE)
        .receive("fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &error))
        .forwarded("access0");
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.254,10.0.0.2".to_owned(), &[11, 0][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,192.0.2.4".to_owned(), &sent[38..]));
    assert!(ipv4_checksums_ok(&told[18..]));
}

#[test]
fn an_ipv4_tenant_that_may_not_is_told_so_by_its_gateway() {
    let sent = of_vm3([10, 0, 0, 101]);
    let told = peered(L1, RED_TO_BLUE).receive("access0", &sent).through("access0");
    // Communication is administratively prohibited (RFC 1812 §5.2.7.1).
    assert_eq!((ipv4_line(&told[18..]), &told[38..40]), ("10.0.0.254,10.0.0.2".to_owned(), &[3, 13][..]));
    assert_eq!((ipv4_line(&told[46..]), &told[66..]), ("10.0.0.2,10.0.0.101".to_owned(), &sent[38..]));
    assert!(ipv4_checksums_ok(&told[18..]));
}

/// A frame of VM1.
fn of_vm1(to: u128) -> Vec<u8> {
    let from = address(VM1_ADDRESS);
    frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"query")))
}

/// A frame that comes from the fabric.
fn from_fabric(packet: &[u8]) -> Vec<u8> {
    frame(NVE_FABRIC, GATEWAY_FABRIC, packet)
}

/// A packet to VM1 as the fabric carries it to its host.
fn to_vm1(from: u128) -> Vec<u8> {
    let all = format!("{TASKS}, {INTERNET_TOO}");
    let to = address(VM1_ADDRESS);
    let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
    carried(&host_where(L2, &all).receive("fabric0", &from_fabric(&packet)).forwarded("fabric0"))
}

#[test]
fn a_tenant_reaches_services_and_the_outside_only_by_a_policy_in_that_direction() {
    let service = r#"{from: red, to: "2001:db8:dddd:0:2000::4"}"#;
    let out = "{from: red, to: outside}";
    let inward = r#"{from: outside, to: red}, {from: "2001:db8:dddd::/64", to: red}"#;
    for (policies, to_service, to_outside) in [
        ("", false, false),
        (inward, false, false),
        (service, true, false),
        (out, false, true),
        ("{from: red, to: blue}, {from: blue, to: outside}", false, false),
    ] {
        let mut node = host_where(L1, policies);
        for (to, passes) in [(address(SERVICE), to_service), (IADDR, to_outside)] {
            let fate = node.receive("access0", &of_vm1(to)).fate;
            assert_eq!(fate, if passes { Fate::Forwarded } else { refused() }, "{policies} {to:x}");
        }
    }
}

#[test]
fn services_and_the_outside_reach_a_tenant_only_by_a_policy_in_that_direction() {
    let service = r#"{from: "2001:db8:dddd:0:2000::4", to: red}"#;
    let outward = r#"{from: red, to: outside}, {from: red, to: "2001:db8:dddd::/64"}"#;
    for (policies, from_service, from_outside) in [
        ("", false, false),
        (outward, false, false),
        (service, true, false),
        ("{from: outside, to: red}", false, true),
        ("{from: outside, to: blue}", false, false),
    ] {
        for (from, passes) in [(address(SERVICE), from_service), (IADDR, from_outside)] {
            let expected = if passes { Fate::Forwarded } else { refused() };
            // Where the tenant is, and at a gateway on the way.
            let outcome = host_where(L1, policies).receive("fabric0", &to_vm1(from));
            assert_eq!(outcome.fate, expected, "{policies} {from:x}");
            let to = address(VM1_ADDRESS);
            let packet = ipv6(from, to, 17, &udp(from, to, b"answer"));
            let outcome = host_where(L2, policies).receive("fabric0", &from_fabric(&packet));
            assert_eq!(outcome.fate, expected, "{policies} {from:x}");
        }
        // Where the service is.
        let (from, to) = (address(SERVICE), address(VM1_ADDRESS));
        let sent = tagged(TASK_ROUTER, TASK, 9, &ipv6(from, to, 17, &udp(from, to, b"answer")));
        let fate = host_where(L2, policies).receive("access0", &sent).fate;
        assert_eq!(fate, if from_service { Fate::Forwarded } else { refused() }, "{policies}");
    }
}

#[test]
fn a_policy_for_one_task_is_none_for_another() {
    let one = r#"{from: red, to: "2001:db8:dddd:0:2000::4"}, {from: "2001:db8:dddd:0:2000::4", to: red}"#;
    let mut node = host_where(L1, one);
    assert_eq!(node.receive("access0", &of_vm1(address(OTHER_SERVICE))).fate, refused());
    // Nobody knows whom to tell.
    let outcome = node.receive("fabric0", &to_vm1(address(OTHER_SERVICE)));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NoPolicy));
    let mut node = host_where(L1, TASKS);
    // Allowed, and not there.
    let fate = node.receive("access0", &of_vm1(address(OTHER_SERVICE))).fate;
    assert_eq!(fate, Fate::Replied(Some(DropReason::NoMapping)));
    assert_eq!(node.receive("fabric0", &to_vm1(address(OTHER_SERVICE))).fate, Fate::Forwarded);
}

#[test]
fn nobody_speaks_from_an_address_that_no_policy_can_name() {
    let all = format!("{TASKS}, {INTERNET_TOO}, {{from: blue, to: red}}");
    // A task's with the C-bit, of a reserved type, of unknown networks, and identifiers under locators.
    for from in [
        "2001:db8:dddd:0:3000::4",
        "2001:db8:dddd:0:a000::4",
        "2001:db8:dddd:0:4000:12c:a00:2",
        "fd00:1:0:2:3000::fe96",
        "fd00:1:0:1:2000::4",
    ] {
        let mut sent = to_vm1(IADDR);
        sent[22..38].copy_from_slice(&address(from).to_be_bytes());
        let fate = host_where(L1, &all).receive("fabric0", &sent).fate;
        assert!([Fate::Dropped(DropReason::NoPolicy), refused()].contains(&fate), "{from} {fate:?}");
    }
    // A host's own address under its locator is as good as any.
    let mut sent = to_vm1(IADDR);
    sent[22..38].copy_from_slice(&address("fd00:1:0:2::1").to_be_bytes());
    assert_eq!(host_where(L1, &all).receive("fabric0", &sent).fate, Fate::Forwarded);
    assert_eq!(host_where(L1, TASKS).receive("fabric0", &sent).fate, refused());
}

/// An error to VM1, as it comes to its host.
fn error(from: u128, kind: u8, quoted: &[u8]) -> Vec<u8> {
    from_fabric(&icmp6_error(from, address(VM1_ADDRESS), kind, 0, 1400, quoted))
}

#[test]
fn routers_may_tell_a_tenant_about_packets_that_it_may_send() {
    let out = "{from: red, to: outside}";
    for router in ROUTERS.map(address) {
        for kind in [1, 2, 3] {
            let told = host_where(L1, out).receive("fabric0", &error(router, kind, &of_vm1(IADDR)[14..]));
            let told = told.forwarded("access0");
            assert_eq!((&told[..6], told[54]), (&VM1.0[..], kind));
            // Nor does a gateway on the way stop it.
            let sent_on = host_where(L2, out).receive("fabric0", &error(router, kind, &of_vm1(IADDR)[14..]));
            let told = host_where(L1, out).receive("fabric0", &carried(&sent_on.forwarded("fabric0")));
            assert_eq!(told.fate, Fate::Forwarded);
        }
    }
    // About packets within the network, which the fabric quotes with their locators.
    let on_wire = host(L1).receive("access0", &of_vm1(address("2001:db8:a::2"))).forwarded("fabric0");
    let told =
        host(L1).receive("fabric0", &error(address(ROUTERS[0]), 3, &on_wire[14..])).forwarded("access0");
    assert_eq!(line(&told[14 + 48..]), "2001:db8:a::1,2001:db8:a::2");
}

#[test]
fn an_error_is_no_way_round_a_policy() {
    let out = "{from: red, to: outside}";
    let router = address(ROUTERS[1]);
    let mut node = host_where(L1, out);
    let lost = [Fate::Dropped(DropReason::NoPolicy), refused()];
    // About what it may not send, what it did not send, and nothing at all.
    let foreign = ipv6(address("2001:db8:a::2"), IADDR, 17, &udp(address("2001:db8:a::2"), IADDR, b"x"));
    for quoted in [&of_vm1(address(SERVICE))[14..], &of_vm1(address("2001:db8:b::3"))[14..], &foreign, &[]] {
        let outcome = node.receive("fabric0", &error(router, 1, quoted));
        assert!(lost.contains(&outcome.fate), "{:?}", outcome.fate);
    }
    // What is no error, though it looks like one behind its type.
    let outcome = node.receive("fabric0", &error(router, 128, &of_vm1(IADDR)[14..]));
    assert!(lost.contains(&outcome.fate), "{:?}", outcome.fate);
    // Tasks and tenants of other networks are endpoints, with policies of their own.
    for endpoint in [SERVICE, "2001:db8:b::3", "2001:db8:dddd:0:4000:c8:a00:2"].map(address) {
        let outcome = node.receive("fabric0", &error(endpoint, 1, &of_vm1(IADDR)[14..]));
        assert!(lost.contains(&outcome.fate), "{:?}", outcome.fate);
    }
}

#[test]
fn an_address_is_a_tenants_as_its_own_ipv6_address_or_as_the_sir_form_of_its_ipv4_address() {
    let (text, _) = written(L1, &Rules::default());
    let tables =
        Rib::new(&Config::parse(&text, "test.yaml").unwrap(), &[NVE_FABRIC, NVE_ACCESS], 1).compile();
    let red = Some(NetworkId(0));
    for (text, network) in [
        ("2001:db8:a::1", red),
        ("2001:db8:a::77", red),
        ("2001:db8:b::1", Some(NetworkId(1))),
        ("2001:db8:dddd:0:4000:64:a00:1", red),
        // With the C-bit, of types 1, 3 and 4, of a network that is not known, of another prefix.
        ("2001:db8:dddd:0:5000:64:a00:1", None),
        ("2001:db8:dddd:0:2000:64:a00:1", None),
        ("2001:db8:dddd:0:6000:64:0:1", None),
        ("2001:db8:dddd:0:8000:64:0:1", None),
        ("2001:db8:dddd:0:4000:65:a00:1", None),
        ("2001:db8:eeee:0:4000:64:a00:1", None),
        ("2001:db8:c::1", None),
    ] {
        assert_eq!(tables.network_of(address(text)), network, "{text}");
    }
}
