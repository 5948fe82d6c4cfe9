//! A gateway to virtual networks (VMM draft §4.1): no tenant is attached; it forwards between networks, back out through the
//! port that a packet came in at, and between networks and the outside, as policies say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::ila::ChecksumMode;
use ilagate::path::DropReason;
use support::packets::*;
use support::tenants::*;
use support::*;

const VM1_SIR: &str = "2001:db8:dddd:0:4000:64:a00:1";

/// Knows where those of VM1 and VM3 are.
fn gateway_where(policies: &str) -> Node {
    network_gateway(policies, &ALL)
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
        let on_wire = gateway_where(RED_TO_BLUE).receive("fabric0", &sent).forwarded("fabric0");
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
fn a_gateway_forwards_between_networks_only_by_a_policy_in_that_direction() {
    let refused = Fate::Replied(Some(DropReason::NoPolicy));
    for policies in ["", "{from: blue, to: red}", "{from: red, to: outside}, {from: outside, to: blue}"] {
        let fate =
            gateway_where(policies).receive("fabric0", &from_fabric("2001:db8:a::2", "2001:db8:b::3")).fate;
        // It knows no way to red's 10.0.0.2 and ::2, so that nobody can be told.
        assert!([refused, Fate::Dropped(DropReason::NoPolicy)].contains(&fate), "{policies} {fate:?}");
        let fate =
            gateway_where(policies).receive("fabric0", &from_fabric("2001:db8:a::1", "2001:db8:b::3")).fate;
        assert_eq!(fate, refused, "{policies}");
    }
}

#[test]
fn a_gateway_lets_the_outside_in_only_by_a_policy_and_the_networks_out() {
    let to = address("2001:db8:a::1");
    let sent = frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(IADDR, to, 17, &udp(IADDR, to, b"query")));
    let on_wire = gateway_where("{from: outside, to: red}").receive("ext0", &sent).forwarded("fabric0");
    assert_eq!(line(&on_wire[14..]), "2001:db8:1::99,fd00:1:0:1:7000:64:0:c05c");
    for policies in ["", "{from: red, to: outside}", "{from: outside, to: blue}"] {
        let fate = gateway_where(policies).receive("ext0", &sent).fate;
        assert_eq!(fate, Fate::Replied(Some(DropReason::NoPolicy)), "{policies}");
    }
    // Whether a tenant may send is for its own host to say.
    let sent = from_fabric("2001:db8:a::1", "2001:db8:1::99");
    gateway_where("").receive("fabric0", &sent).forwarded("ext0");
}

#[test]
fn nobody_outside_can_speak_for_a_tenant() {
    let mut node = gateway_where(RED_TO_BLUE);
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
    let fate = gateway_where("{from: outside, to: red}")
        .receive("ext0", &outside("2001:db8:99::1", "2001:db8:a::1"))
        .fate;
    assert_eq!(fate, Fate::Forwarded);
}

/// The gateway's locator, and the policy of all nodes that sends red's packets to blue through it.
const LG: &str = "fd00:1:0:9::/64";
const THROUGH: &str = r#"{from: red, to: blue, via: "fd00:1:0:9::/64"}"#;

/// The gateway with that locator and another one.
fn gateway_at_lg(mode: ChecksumMode, policies: &str, mapped: &[(&str, &'static str)]) -> Node {
    let extra = format!(
        r#"locators: [{{prefix: "{LG}", domain: tasks}}, {{prefix: "fd00:1:0:a::/64", domain: tasks}}]
virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
  - {{name: blue, vnid: 200, domain: tasks, ipv6: {{prefix: "2001:db8:b::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
policies: [{policies}]"#
    );
    let mapped: Vec<_> = mapped.iter().map(|(sir, locator)| ((*sir).to_owned(), *locator)).collect();
    gateway(mode, &extra, &mapped)
}

const VM1_V6: &str = "2001:db8:dddd:0:6000:64:0:1";
const VM3_V6: &str = "2001:db8:dddd:0:6000:c8:0:3";
const ALL: [(&str, &str); 4] = [(VM1_SIR, L1), (VM1_V6, L1), (VM3_SIR, L1), (VM3_V6, L1)];

fn node(mode: ChecksumMode, locator: &str, policies: &str) -> Node {
    let rules = Rules {
        policies,
        red_peers: r#"{address: "10.0.0.103", to: {network: blue, address: "10.0.0.2"}},
            {address: "10.0.0.104", to: {network: blue, address: "2001:db8:b::3"}}"#,
        blue_peers: r#"{address: "10.0.0.102", to: {network: red, address: "10.0.0.2"}}"#,
        ..Rules::default()
    };
    let (text, mapped) = written(locator, &rules);
    let with_mode = format!("prefix: \"2001:db8:dddd::/64\", checksum: {},", mode.name());
    Node::new(&text.replace("prefix: \"2001:db8:dddd::/64\",", &with_mode), &mapped)
}

/// To vm3 of blue: by vm2 of red from its IPv6 address and from its IPv4 address, to both of vm3's.
fn of_vm2() -> [Vec<u8>; 3] {
    let (from, to) = (address("2001:db8:a::2"), address("2001:db8:b::3"));
    let ipv4 = |to| ipv4_frame(ANYCAST, VM2, &ipv4_packet([10, 0, 0, 2], to, 64, b"query"));
    let first = frame(ANYCAST, VM2, &ipv6(from, to, 6, &tcp(from, to, b"query")));
    [first, ipv4([10, 0, 0, 103]), ipv4([10, 0, 0, 104])]
}

/// 3 under the gateway's locator, whose sum is fd0a, 8 more than that of L1: bff3.
#[test]
fn what_a_policy_sends_through_a_gateway_goes_there_and_on_from_there() {
    for mode in ChecksumMode::ALL {
        for sent in of_vm2() {
            let first = node(mode, L2, THROUGH).receive("access0", &sent).forwarded("fabric0");
            assert_eq!(destination(&first[14..]) >> 64, address("fd00:1:0:9::") >> 64, "{mode:?}");
            let second = gateway_at_lg(mode, THROUGH, &ALL)
                .receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &first[14..]))
                .forwarded("fabric0");
            assert_eq!(destination(&second[14..]) >> 64, address("fd00:1:0:1::") >> 64, "{mode:?}");
            assert_eq!(source(&second[14..]), source(&first[14..]));
            assert_eq!((first[21], second[21]), (63, 62));
            if mode != ChecksumMode::NoAction {
                assert_eq!((checksum_ok(&first[14..]), checksum_ok(&second[14..])), (Some(true), Some(true)));
            }
            if mode == ChecksumMode::NeutralMap && destination(&first[14..]) as u32 == 0xbff3 {
                assert_eq!(line(&first[14..]).split_once(',').unwrap().1, "fd00:1:0:9:7000:c8:0:bff3");
                assert_eq!(line(&second[14..]).split_once(',').unwrap().1, "fd00:1:0:1:7000:c8:0:bffb");
            }
            let got = node(mode, L1, THROUGH).receive("fabric0", &carried(&second)).forwarded("access0");
            assert_eq!((&got[..6], got[15]), (&VM3.0[..], 7));
            if got[16] == 8 {
                assert_eq!(ipv4_line(&got[18..]), "10.0.0.102,10.0.0.2");
                assert!(ipv4_checksums_ok(&got[18..]), "{mode:?}");
                assert_eq!(&got[46..], b"query");
            } else {
                assert_eq!(destination(&got[18..]), address("2001:db8:b::3"));
                assert_eq!((checksum_ok(&got[18..]), got[25]), (Some(true), 61), "{mode:?}");
            }
        }
    }
}

#[test]
fn both_forms_of_a_tenants_address_go_through_the_gateway() {
    let mode = ChecksumMode::NeutralMap;
    let wire = of_vm2().map(|sent| {
        let first = node(mode, L2, THROUGH).receive("access0", &sent).forwarded("fabric0");
        line(&first[14..])
    });
    // 2 becomes fe95 under L1: see scenario 13; eight less under the gateway's.
    let vm2 = "2001:db8:dddd:0:4000:64:a00:2";
    assert_eq!(
        wire,
        [
            "2001:db8:a::2,fd00:1:0:9:7000:c8:0:bff3".to_owned(),
            format!("{vm2},fd00:1:0:9:5000:c8:a00:fe8d"),
            format!("{vm2},fd00:1:0:9:7000:c8:0:bff3"),
        ]
    );
}

/// From vm1 to vm3, which are on one host.
fn of_vm1(hops: u8) -> Vec<u8> {
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:b::3"));
    let mut packet = ipv6(from, to, 17, &udp(from, to, b"query"));
    packet[7] = hops;
    frame(ANYCAST, VM1, &packet)
}

#[test]
fn tenants_of_two_networks_on_one_host_meet_by_way_of_the_gateway_too() {
    let mode = ChecksumMode::NeutralMap;
    let sent = of_vm1(64);
    let first = node(mode, L1, THROUGH).receive("access0", &sent).forwarded("fabric0");
    assert_eq!(line(&first[14..]), "2001:db8:a::1,fd00:1:0:9:7000:c8:0:bff3");
    // Without a gateway they meet on their host.
    node(mode, L1, RED_TO_BLUE).receive("access0", &sent).forwarded("access0");
    // On the gateway itself, too.
    let here = THROUGH.replace("0:9::", "0:1::");
    node(mode, L1, &here).receive("access0", &sent).forwarded("access0");
}

#[test]
fn the_host_of_the_receiver_can_be_the_gateway() {
    let mode = ChecksumMode::NeutralMap;
    let here = THROUGH.replace("0:9::", "0:1::");
    for sent in of_vm2() {
        let wire = node(mode, L2, &here).receive("access0", &sent).forwarded("fabric0");
        node(mode, L1, &here).receive("fabric0", &carried(&wire)).forwarded("access0");
    }
}

#[test]
fn where_the_receiver_is_is_for_the_gateway_to_know() {
    let (from, to) = (address("2001:db8:a::2"), address("2001:db8:b::7"));
    let sent = frame(ANYCAST, VM2, &ipv6(from, to, 17, &udp(from, to, b"query")));
    let mode = ChecksumMode::NeutralMap;
    let wire = node(mode, L2, THROUGH).receive("access0", &sent).forwarded("fabric0");
    let mapped = [("2001:db8:dddd:0:6000:c8:0:7", L1)];
    let at_gateway = frame(GATEWAY_FABRIC, NVE_FABRIC, &wire[14..]);
    gateway_at_lg(mode, THROUGH, &mapped).receive("fabric0", &at_gateway).forwarded("fabric0");
    // Not even the gateway knows; nor does it know the way to vm2, which cannot be told.
    let fate = gateway_at_lg(mode, THROUGH, &ALL).receive("fabric0", &at_gateway).fate;
    assert_eq!(fate, Fate::Dropped(DropReason::NotLocal));
    let fate = node(mode, L2, RED_TO_BLUE).receive("access0", &sent).fate;
    assert_eq!(fate, Fate::Replied(Some(DropReason::NoMapping)));
}

#[test]
fn a_node_sends_on_only_what_a_policy_sends_through_it() {
    let mode = ChecksumMode::NeutralMap;
    let first = node(mode, L1, THROUGH).receive("access0", &of_vm1(64)).forwarded("fabric0");
    let at_gateway = frame(GATEWAY_FABRIC, NVE_FABRIC, &first[14..]);
    let not_local = Fate::Replied(Some(DropReason::NotLocal));
    for policies in [
        "",
        RED_TO_BLUE,
        // The other direction, another locator of its own, and another node.
        r#"{from: blue, to: red, via: "fd00:1:0:9::/64"}"#,
        r#"{from: red, to: blue, via: "fd00:1:0:a::/64"}"#,
        r#"{from: red, to: blue, via: "fd00:1:0:b::/64"}"#,
    ] {
        assert_eq!(
            gateway_at_lg(mode, policies, &ALL).receive("fabric0", &at_gateway).fate,
            not_local,
            "{policies}"
        );
    }
    gateway_at_lg(mode, THROUGH, &ALL).receive("fabric0", &at_gateway).forwarded("fabric0");
    // From whoever is not of the network that the policy names.
    let to = destination(&first[14..]);
    for from in ["2001:db8:1::99", "2001:db8:b::1", "2001:db8:dddd:0:4000:c8:a00:1", SERVICE].map(address) {
        let sent = frame(GATEWAY_FABRIC, NVE_FABRIC, &ipv6(from, to, 17, &udp(from, to, b"x")));
        let fate = gateway_at_lg(mode, THROUGH, &ALL).receive("fabric0", &sent).fate;
        assert!([not_local, Fate::Dropped(DropReason::NotLocal)].contains(&fate), "{from:x} {fate:?}");
    }
    // Within a network nobody goes through it, whoever asks for that.
    let sent = of_vm2()[0].clone();
    let to = address("fd00:1:0:9:7000:64:0:c054");
    let mut within = frame(GATEWAY_FABRIC, NVE_FABRIC, &sent[14..]);
    within[38..54].copy_from_slice(&to.to_be_bytes());
    let fate = gateway_at_lg(mode, THROUGH, &ALL).receive("fabric0", &within).fate;
    assert_eq!(fate, Fate::Dropped(DropReason::NotLocal));
}

#[test]
fn what_was_sent_on_is_not_sent_on_again() {
    let mode = ChecksumMode::NeutralMap;
    let first = node(mode, L1, THROUGH).receive("access0", &of_vm1(64)).forwarded("fabric0");
    let at_gateway = frame(GATEWAY_FABRIC, NVE_FABRIC, &first[14..]);
    // A mapping that leads to the gateway itself.
    for own in [LG, "fd00:1:0:a::/64"] {
        let mapped = [(VM3_V6, own), (VM1_V6, L1)];
        let fate = gateway_at_lg(mode, THROUGH, &mapped).receive("fabric0", &at_gateway).fate;
        assert_eq!(fate, Fate::Replied(Some(DropReason::NoRoute)), "{own}");
    }
    // The host where the gateway believes vm3 to be does not have it: it is no gateway, whatever it knows.
    let mapped = [(VM3_V6, L2), (VM1_V6, L1)];
    let second = gateway_at_lg(mode, THROUGH, &mapped).receive("fabric0", &at_gateway).forwarded("fabric0");
    let fate = node(mode, L2, THROUGH).receive("fabric0", &carried(&second)).fate;
    assert_eq!(fate, Fate::Replied(Some(DropReason::NotLocal)));
}

/// A gateway that believes to be the one at its own locator, and vm3 (and with `lost` vm1 as well) at the other's.
fn contrary(own: &str, other: &'static str, lost: bool) -> Node {
    let extra = format!(
        r#"locators: [{{prefix: "{own}", domain: tasks}}]
virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}}}
  - {{name: blue, vnid: 200, domain: tasks, ipv6: {{prefix: "2001:db8:b::/96"}}}}
policies: [{{from: red, to: blue, via: "{own}"}}]"#
    );
    let mapped = [(VM3_V6, other), (VM1_V6, if lost { other } else { L1 })];
    gateway(ChecksumMode::NeutralMap, &extra, &mapped.map(|(sir, locator)| (sir.to_owned(), locator)))
}

/// No word of a packet tells one that came from a sender's host from one that came from another gateway: what ends
/// this is the hop limit, which every turn lowers.
#[test]
fn gateways_that_contradict_each_other_pass_a_packet_on_as_often_as_its_hop_limit_allows() {
    const OTHER: &str = "fd00:1:0:a::/64";
    for lost in [false, true] {
        let mut gateways = [contrary(LG, OTHER, lost), contrary(OTHER, LG, lost)];
        for hops in [2, 3, 64, 255] {
            let mut wire = node(ChecksumMode::NeutralMap, L1, THROUGH)
                .receive("access0", &of_vm1(hops))
                .forwarded("fabric0");
            let mut turns = 0;
            let outcome = loop {
                let sent = frame(GATEWAY_FABRIC, NVE_FABRIC, &wire[14..]);
                let outcome = gateways[turns % 2].receive("fabric0", &sent);
                if outcome.fate != Fate::Forwarded {
                    break outcome;
                }
                wire = outcome.forwarded("fabric0");
                assert_eq!(checksum_ok(&wire[14..]), Some(true));
                turns += 1;
            };
            // The sender's host took the first hop, and the gateway at which it is 1 the last.
            assert_eq!(turns, usize::from(hops) - 2);
            assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::HopLimit)));
            // One error for it, which no gateway passes on: it does not come from a tenant.
            let error = outcome.through("fabric0");
            let to = if lost { [LG, OTHER][(turns + 1) % 2] } else { L1 };
            let to = address(to.trim_end_matches("/64"));
            assert_eq!((destination(&error[14..]) >> 64, error[20]), (to >> 64, 58), "{lost} {hops}");
            if lost {
                let sent = frame(GATEWAY_FABRIC, NVE_FABRIC, &error[14..]);
                let fate = gateways[(turns + 1) % 2].receive("fabric0", &sent).fate;
                assert_eq!(fate, Fate::Dropped(DropReason::NotLocal));
            } else {
                let got = node(ChecksumMode::NeutralMap, L1, THROUGH)
                    .receive("fabric0", &carried(&error))
                    .forwarded("access0");
                let told = told(&got[14..]);
                assert_eq!((told.kind, told.code), (3, 0));
                assert_eq!(destination(told.quote), address("2001:db8:b::3"));
            }
        }
    }
}

#[test]
fn packets_within_a_network_do_not_go_through_a_gateway() {
    let mode = ChecksumMode::NeutralMap;
    let (from, to) = (address("2001:db8:a::2"), address("2001:db8:a::1"));
    let within = frame(ANYCAST, VM2, &ipv6(from, to, 17, &udp(from, to, b"query")));
    let wire = node(mode, L2, THROUGH).receive("access0", &within).forwarded("fabric0");
    assert_eq!(destination(&wire[14..]) >> 64, address("fd00:1:0:1::") >> 64);
    let packet = ipv4_packet([10, 0, 0, 2], [10, 0, 0, 1], 64, b"query");
    let wire =
        node(mode, L2, THROUGH).receive("access0", &ipv4_frame(ANYCAST, VM2, &packet)).forwarded("fabric0");
    assert_eq!(destination(&wire[14..]) >> 64, address("fd00:1:0:1::") >> 64);
}

#[test]
fn a_tenant_is_told_of_what_is_lost_at_the_gateway() {
    for mode in ChecksumMode::ALL {
        let sent = of_vm1(2);
        let first = node(mode, L1, THROUGH).receive("access0", &sent).forwarded("fabric0");
        let outcome = gateway_at_lg(mode, THROUGH, &ALL)
            .receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &first[14..]));
        assert_eq!(outcome.fate, Fate::Replied(Some(DropReason::HopLimit)));
        let error = outcome.through("fabric0");
        let got = node(mode, L1, THROUGH).receive("fabric0", &carried(&error)).forwarded("access0");
        let told = told(&got[14..]);
        assert_eq!((told.kind, told.code), (3, 0));
        assert_eq!(
            (source(told.quote), destination(told.quote)),
            (address("2001:db8:a::1"), address("2001:db8:b::3"))
        );
    }
}
