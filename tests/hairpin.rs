//! A gateway to virtual networks (VMM draft §4.1): no tenant is attached; it relays between networks, back out through the
//! port that a packet came in at, and between networks and the outside, as policies say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const RED_TO_BLUE: &str = "{from: red, to: blue}";
const VM1_SIR: &str = "2001:db8:dddd:0:4000:64:a00:1";
const VM3_SIR: &str = "2001:db8:dddd:0:4000:c8:a00:2";

/// Knows where all tenants are.
fn relay(policies: &str) -> Node {
    let networks = format!(
        r#"virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
  - {{name: blue, vnid: 200, domain: tasks, ipv6: {{prefix: "2001:db8:b::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
policies: [{policies}]"#
    );
    let mapped = [
        (VM1_SIR, L1),
        ("2001:db8:dddd:0:6000:64:0:1", L1),
        (VM3_SIR, L1),
        ("2001:db8:dddd:0:6000:c8:0:3", L1),
    ];
    gateway(ChecksumMode::NeutralMap, &networks, &mapped.map(|(sir, locator)| (sir.to_owned(), locator)))
}

fn from_fabric(from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (address(from), address(to));
    frame(GATEWAY_FABRIC, NVE_FABRIC, &ipv6(from, to, 17, &udp(from, to, b"query")))
}

/// The wire form of blue's ::3 under L1: Σ VNET = 2001+0db8+000b = 2dc4, Σ L1 = fd02, the upper half with the C-bit 70c8:
/// 2dc4 -' fd02 -' 70c8 = bff8, so 3 becomes bffb. The IPv4 address as in scenario 13.
#[test]
fn what_goes_to_another_network_leaves_through_the_port_that_it_came_in_at() {
    // Tenants at their own addresses, and at the SIR addresses of their IPv4 addresses.
    for (from, to, on_wire_to) in [
        ("2001:db8:a::2", "2001:db8:b::3", "fd00:1:0:1:7000:c8:0:bffb"),
        ("2001:db8:dddd:0:4000:64:a00:2", VM3_SIR, "fd00:1:0:1:5000:c8:a00:fe95"),
    ] {
        let sent = from_fabric(from, to);
        let on_wire = relay(RED_TO_BLUE).receive("fabric0", &sent).forwarded("fabric0");
        assert_eq!((&on_wire[..6], &on_wire[6..12]), (&NVE_FABRIC.0[..], &GATEWAY_FABRIC.0[..]));
        assert_eq!((line(&on_wire[14..]), on_wire[21]), (format!("{from},{on_wire_to}"), sent[21] - 1));
        assert_eq!(checksum_ok(&on_wire[14..]), Some(true));
        let peers = r#"{address: "10.0.0.102", to: {network: red, address: "10.0.0.2"}}"#;
        let rules = Rules { policies: RED_TO_BLUE, blue_peers: peers, ..Rules::default() };
        let received = host_with(L1, &rules).receive("fabric0", &carried(&on_wire)).forwarded("access0");
        assert_eq!(&received[..6], &VM3.0[..]);
    }
}

#[test]
fn a_gateway_relays_between_networks_only_by_a_policy_in_that_direction() {
    let refused = Fate::Replied(Some(DropReason::NoPolicy));
    for policies in ["", "{from: blue, to: red}", "{from: red, to: outside}, {from: outside, to: blue}"] {
        let fate = relay(policies).receive("fabric0", &from_fabric("2001:db8:a::2", "2001:db8:b::3")).fate;
        // It knows no way to red's 10.0.0.2 and ::2, so that nobody can be told.
        assert!([refused, Fate::Dropped(DropReason::NoPolicy)].contains(&fate), "{policies} {fate:?}");
        let fate = relay(policies).receive("fabric0", &from_fabric("2001:db8:a::1", "2001:db8:b::3")).fate;
        assert_eq!(fate, refused, "{policies}");
    }
}

#[test]
fn a_gateway_lets_the_outside_in_only_by_a_policy_and_the_networks_out() {
    let to = address("2001:db8:a::1");
    let sent = frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(IADDR, to, 17, &udp(IADDR, to, b"query")));
    let on_wire = relay("{from: outside, to: red}").receive("ext0", &sent).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), "2001:db8:1::99,fd00:1:0:1:7000:64:0:c05c");
    for policies in ["", "{from: red, to: outside}", "{from: outside, to: blue}"] {
        let fate = relay(policies).receive("ext0", &sent).fate;
        assert_eq!(fate, Fate::Replied(Some(DropReason::NoPolicy)), "{policies}");
    }
    // Whether a tenant may send is for its own host to say.
    let sent = from_fabric("2001:db8:a::1", "2001:db8:1::99");
    relay("").receive("fabric0", &sent).forwarded("ext0");
}

#[test]
fn nobody_outside_can_speak_for_a_tenant() {
    let mut node = relay(RED_TO_BLUE);
    let outside = |from: &str, to: &str| {
        let (from, to) = (address(from), address(to));
        frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(from, to, 17, &udp(from, to, b"spoofed")))
    };
    for from in ["2001:db8:a::2", "2001:db8:dddd:0:4000:64:a00:2"] {
        // To tenants of the same network, of one that hears it by policy, to a task, and to anybody.
        for to in ["2001:db8:a::1", "2001:db8:b::3", VM3_SIR, "2001:db8:dddd:0:2000::7", "fd00:1:0:fe::1"] {
            let fate = node.receive("ext0", &outside(from, to)).fate;
            assert_eq!(fate, Fate::Dropped(DropReason::SpoofedSource), "{from} {to}");
        }
    }
    let fate =
        relay("{from: outside, to: red}").receive("ext0", &outside("2001:db8:99::1", "2001:db8:a::1")).fate;
    assert_eq!(fate, Fate::Forwarded);
}
