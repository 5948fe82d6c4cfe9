//! Policies between virtual networks and what is none: services, and the outside. Nothing passes unless it was said, each
//! direction for itself, at every node that meets the packet; and what errors may pass all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const VM1_ADDRESS: &str = "2001:db8:a::1";
const OTHER_SERVICE: &str = "2001:db8:dddd:0:2000::5";
/// A router of the fabric, and one outside.
const ROUTERS: [&str; 2] = ["fd00:9::9", "2001:db8:77::1"];

fn refused() -> Fate {
    Fate::Replied(Some(DropReason::NoPolicy))
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
        let sent = tagged(NVE_ACCESS, TASK, 9, &ipv6(from, to, 17, &udp(from, to, b"answer")));
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
            let relayed = host_where(L2, out).receive("fabric0", &error(router, kind, &of_vm1(IADDR)[14..]));
            let told = host_where(L1, out).receive("fabric0", &carried(&relayed.forwarded("fabric0")));
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
    // Tasks and tenants of other networks are parties, with policies of their own.
    for endpoint in [SERVICE, "2001:db8:b::3", "2001:db8:dddd:0:4000:c8:a00:2"].map(address) {
        let outcome = node.receive("fabric0", &error(endpoint, 1, &of_vm1(IADDR)[14..]));
        assert!(lost.contains(&outcome.fate), "{:?}", outcome.fate);
    }
}
