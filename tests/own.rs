//! Packets to the node itself, Neighbour Discovery, and packets that must not be there: each moves its own counter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::ila::ChecksumMode;
use ilagate::net::Mac;
use ilagate::net::ipv6::solicited_node;
use ilagate::net::ndp::{self, Envelope};
use ilagate::node::rib::{NeighbourState, Rib};
use ilagate::path::{Ctx, DropReason, Limiter, Notice, Packet, Pipeline, Verdict};
use ilagate::table::{PortId, Tables};
use support::packets::*;
use support::*;

const T1: &str = "2001:db8:dddd:0:2000::1";
const T2: &str = "2001:db8:dddd:0:2000::2";
const T3: &str = "2001:db8:dddd:0:2000::3";
const L1: &str = "fd00:1:0:1::/64";
const L3: &str = "fd00:1:0:3::/64";
const GATEWAY: &str = "2001:db8:ff::1";

fn the_gateway() -> Node {
    gateway(ChecksumMode::NeutralMap, "", &[(T3.into(), L3)])
}

fn the_host() -> Node {
    nve(ChecksumMode::NeutralMap, L1, &[(T1.into(), TASK), (T2.into(), TASK_2)], &[(T3.into(), L3)])
}

/// The pipeline of a gateway whose fabric port has a neighbour that is known or failed.
struct Listener {
    tables: Tables,
    pipeline: Pipeline,
}

impl Listener {
    fn hears(&mut self, build: impl Fn(&mut [u8; ndp::MAX_FRAME]) -> usize) -> Verdict {
        let mut frame = [0; ndp::MAX_FRAME];
        let length = build(&mut frame);
        let mut room = vec![0; 2176];
        room[128..128 + length].copy_from_slice(&frame[..length]);
        let mut burst = [Packet::new(&mut room, 128, 128 + length as u16, PortId(0))];
        self.pipeline.run(&mut burst, &Ctx { tables: &self.tables, now_ms: 1 });
        burst[0].verdict
    }
}

/// What the control thread hears of a message from `MOVED` that arrives at the gateway's fabric port.
fn noticed(known: Option<Mac>, build: impl Fn(&mut [u8; ndp::MAX_FRAME]) -> usize) -> (Verdict, Vec<Notice>) {
    let mut listener = listener(known);
    let verdict = listener.hears(build);
    let (told, notices) = (listener.pipeline.has_notices(), listener.pipeline.take_notices().0);
    assert_eq!(told, !notices.is_empty());
    (verdict, notices.to_vec())
}

fn listener(known: Option<Mac>) -> Listener {
    let config = Config::parse(
        "node: {name: n}\ndpdk: {workers: [1]}\n\
         ports: [{name: f, device: net_null_d0, role: fabric, addresses: ['fd00:f::1/64']}]\n",
        "test.yaml",
    );
    let mut rib = Rib::new(&config.unwrap(), &[GATEWAY_FABRIC], 1);
    rib.add_neighbour(PortId(0), NEIGHBOUR);
    rib.set_neighbour(PortId(0), NEIGHBOUR, known.map_or(NeighbourState::Failed, NeighbourState::Reachable));
    Listener { tables: rib.compile(), pipeline: Pipeline::new(Limiter::new(10, 10)) }
}

const NEIGHBOUR: u128 = 0xfd00_000f << 96 | 7;
const OWN: u128 = 0xfd00_000f << 96 | 1;
const MOVED: Mac = Mac([2, 0, 0, 0, 7, 7]);

fn asks(from_mac: Mac, source: u128, target: u128) -> impl Fn(&mut [u8; ndp::MAX_FRAME]) -> usize {
    move |frame| {
        let to_mac = Mac::of_ipv6_multicast(solicited_node(target));
        let destination = solicited_node(target);
        ndp::solicitation(frame, Envelope { to_mac, from_mac, vlan: 0, source, destination }, target)
    }
}

#[test]
fn a_neighbour_that_asks_is_heard_of_only_if_it_tells_something_new() {
    let told = [Notice::Neighbour { port: PortId(0), address: NEIGHBOUR, mac: MOVED }];
    let replied = Verdict::Reply(PortId(0));
    for (known, heard) in [(Some(NVE_FABRIC), &told[..]), (None, &told[..]), (Some(MOVED), &[])] {
        assert_eq!(noticed(known, asks(MOVED, NEIGHBOUR, OWN)), (replied, heard.to_vec()));
    }
    // Nobody whom we know, and a question that is not for us.
    assert_eq!(noticed(None, asks(MOVED, NEIGHBOUR + 1, OWN)), (replied, vec![]));
    let (verdict, heard) = noticed(None, asks(MOVED, NEIGHBOUR, NEIGHBOUR + 1));
    assert!(matches!(verdict, Verdict::Drop(_)) && heard.is_empty(), "{verdict:?} {heard:?}");
}

#[test]
fn what_is_not_told_spends_nothing_of_what_may_be_told() {
    // Solicitations that are not answered, of those that could tell something new.
    let mut listener = listener(Some(NVE_FABRIC));
    for _ in 0..500 {
        let unanswered = listener.hears(asks(MOVED, NEIGHBOUR, NEIGHBOUR + 1));
        assert_eq!(unanswered, Verdict::Drop(DropReason::NdNotForUs));
    }
    assert_eq!(listener.hears(asks(MOVED, NEIGHBOUR, OWN)), Verdict::Reply(PortId(0)));
    let told = [Notice::Neighbour { port: PortId(0), address: NEIGHBOUR, mac: MOVED }];
    assert_eq!(listener.pipeline.take_notices().0[..], told);
    // One was told above, and no more than a port may tell at once are.
    let mut told = |count| {
        (0..count).for_each(|_| _ = listener.hears(asks(MOVED, 0, OWN)));
        let (notices, lost) = listener.pipeline.take_notices();
        (notices.len(), lost)
    };
    assert_eq!([told(20), told(20), told(20)], [(20, 0), (12, 8), (0, 20)]);
}

#[test]
fn a_task_keeps_its_link_local_address_while_it_answers() {
    let (port, own, theirs) = (GATEWAY_FABRIC, GATEWAY_FABRIC.link_local(), 0xfe80 << 112 | 9);
    let text = format!(
        "node: {{name: n}}\ndpdk: {{workers: [1]}}\nsir_domains: [{{name: t, prefix: '2001:db8:dddd::/64', router_mac: '{port}'}}]\n\
         locators: [{{prefix: 'fd00:1:0:1::/64', domain: t}}]\n\
         ports: [{{name: a, device: net_null_d0, role: access}}]\nattachments:\n\
         \x20 - {{port: a, mac: '{TASK}', identifiers: ['{T1}']}}\n\
         \x20 - {{port: a, mac: '{TASK_2}', identifiers: ['{T2}']}}\n"
    );
    let listener = |known: NeighbourState| {
        let mut rib = Rib::new(&Config::parse(&text, "test.yaml").unwrap(), &[port], 1);
        rib.add_neighbour(PortId(0), theirs);
        rib.set_neighbour(PortId(0), theirs, known);
        Listener { tables: rib.compile(), pipeline: Pipeline::new(Limiter::new(10, 10)) }
    };
    let says = |from_mac: Mac, target: u128| {
        move |frame: &mut [u8; ndp::MAX_FRAME]| {
            let to = Envelope { to_mac: port, from_mac, vlan: 0, source: target, destination: own };
            ndp::advertisement(frame, to, target, true, true)
        }
    };
    let asked = |known, from_mac| {
        let mut listener = listener(known);
        let verdict = listener.hears(asks(from_mac, theirs, own));
        (verdict, listener.pipeline.take_notices().0.len())
    };
    let (punt, spoofed) = (Verdict::Punt, Verdict::Drop(DropReason::SpoofedSource));
    for (known, first, second, notices) in [
        (NeighbourState::Reachable(TASK), punt, spoofed, [0, 0]),
        (NeighbourState::Reachable(TASK_2), spoofed, punt, [0, 0]),
        // It no longer answers, and the other one may have it.
        (NeighbourState::Failed, punt, punt, [1, 1]),
    ] {
        for ((from, verdict), notices) in [(TASK, first), (TASK_2, second)].into_iter().zip(notices) {
            assert_eq!(listener(known).hears(says(from, theirs)), verdict, "{from} {known:?}");
            assert_eq!(asked(known, from), (Verdict::Reply(PortId(0)), notices), "{from} {known:?}");
            // Nobody has this node's own, and everybody may have one that is free.
            assert_eq!(listener(known).hears(says(from, own)), spoofed);
            assert_eq!(listener(known).hears(says(from, theirs + 1)), punt);
        }
    }
}

#[test]
fn who_wants_or_has_our_address_is_told_the_truth_and_the_control_thread_hears_of_it() {
    let told = vec![Notice::Ours { port: PortId(0), address: OWN, mac: MOVED }];
    let (verdict, heard) = noticed(None, asks(MOVED, 0, OWN));
    assert_eq!((verdict, heard), (Verdict::Reply(PortId(0)), told.clone()));
    let (_, heard) = noticed(None, asks(MOVED, OWN, NEIGHBOUR));
    assert_eq!(heard, told);
    // Another's address, and our own probe that came back.
    for probe in [asks(MOVED, 0, NEIGHBOUR), asks(GATEWAY_FABRIC, 0, OWN)] {
        assert_eq!(noticed(None, probe).1, []);
    }
}

#[test]
fn an_echo_request_is_answered_with_the_same_data() {
    let own = address(GATEWAY);
    let rest = [&[0x12, 0x34, 0, 7][..], b"abcdefg"].concat();
    let packet = ipv6(IADDR, own, 58, &icmp6(IADDR, own, 128, 0, &rest));
    let outcome = the_gateway().receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet));
    assert_eq!(outcome.fate, Fate::Replied(None));
    let reply = outcome.through("ext0");
    let reply = &reply[14..];
    assert_eq!((source(reply), destination(reply), checksum_ok(reply)), (own, IADDR, Some(true)));
    assert_eq!((&reply[40..42], &reply[44..], reply[7]), (&[129, 0][..], &rest[..], 64));
}

#[test]
fn an_echo_request_from_a_task_is_answered_over_its_mapping() {
    let (from, own) = (address(T3), address("fd00:1:0:fe::1"));
    let packet = ipv6(from, own, 58, &icmp6(from, own, 128, 0, &[0, 1, 0, 2, 9]));
    let outcome = the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet));
    let reply = outcome.through("fabric0");
    assert_eq!(destination(&reply[14..]) >> 64, address("fd00:1:0:3::") >> 64);
    assert_eq!(checksum_ok(&reply[14..]), Some(true));
}

#[test]
fn an_answer_from_a_link_local_address_never_leaves_its_link() {
    // RFC 4291 §2.5.6: the asker is far away by its address, but asked over this link.
    let own = GATEWAY_FABRIC.link_local();
    let packet = ipv6(IADDR, own, 58, &icmp6(IADDR, own, 128, 0, &[0, 1, 0, 2]));
    let outcome = the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet));
    let reply = outcome.through("fabric0");
    assert_eq!(
        (&reply[..6], source(&reply[14..]), destination(&reply[14..])),
        (&NVE_FABRIC.0[..], own, IADDR)
    );
}

#[test]
fn an_echo_request_with_a_wrong_checksum_is_dropped() {
    let own = address(GATEWAY);
    let mut packet = ipv6(IADDR, own, 58, &icmp6(IADDR, own, 128, 0, &[0, 1, 0, 2]));
    packet[43] ^= 1;
    let outcome = the_gateway().receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::Checksum));
}

#[test]
fn an_echo_request_from_the_unspecified_address_is_not_answered() {
    for own in [address("fd00:1:0:fe::1"), GATEWAY_FABRIC.link_local()] {
        let packet = ipv6(0, own, 58, &icmp6(0, own, 128, 0, &[0, 1, 0, 2]));
        let outcome = the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet));
        assert_eq!(outcome.fate, Fate::Dropped(DropReason::MartianSource));
    }
}

#[test]
fn a_group_report_from_a_host_without_an_address_is_no_martian() {
    // RFC 3810 §5.2.13: a Multicast Listener Report from ::, behind a hop-by-hop header with a router alert.
    let routers = address("ff02::16");
    let report = icmp6(0, routers, 143, 0, &[0, 0, 0, 0]);
    let packet = ipv6(0, routers, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0], &report[..]].concat());
    let to = Mac::of_ipv6_multicast(routers);
    let outcome = the_gateway().receive("fabric0", &frame(to, NVE_FABRIC, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::Multicast));
}

/// A solicitation for `target` in its group frame.
fn solicitation(from_mac: Mac, from: u128, target: u128) -> Vec<u8> {
    let group = solicited_node(target);
    solicitation_to(group, Mac::of_ipv6_multicast(group), from_mac, from, target)
}

/// A solicitation for `target`, addressed to `to`.
fn solicitation_to(to: u128, to_mac: Mac, from_mac: Mac, from: u128, target: u128) -> Vec<u8> {
    let option = [&[1, 1], &from_mac.0[..]].concat();
    let option = if from == 0 { &[] } else { &option[..] };
    let rest = [&[0; 4], &target.to_be_bytes()[..], option].concat();
    let mut packet = ipv6(from, to, 58, &icmp6(from, to, 135, 0, &rest));
    packet[7] = 255;
    frame(to_mac, from_mac, &packet)
}

/// Target, router, solicited and override flags, and link-layer address of an advertisement.
fn advertised(l3: &[u8]) -> (u128, bool, bool, bool, Mac) {
    assert_eq!((l3[40], l3[7], checksum_ok(l3)), (136, 255, Some(true)));
    let flags = l3[44];
    let target = u128::from_be_bytes(l3[48..64].try_into().unwrap());
    assert_eq!(l3[64..66], [2, 1]);
    let mac = Mac(l3[66..72].try_into().unwrap());
    (target, flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0, mac)
}

#[test]
fn a_solicitation_for_an_own_address_is_answered() {
    let own = address(GATEWAY);
    let asker = address("2001:db8:ff::ff");
    let outcome = the_gateway().receive("ext0", &solicitation(INTERNET, asker, own));
    assert_eq!(outcome.fate, Fate::Replied(None));
    let answer = outcome.through("ext0");
    assert_eq!(&answer[..6], &INTERNET.0);
    assert_eq!((source(&answer[14..]), destination(&answer[14..])), (own, asker));
    assert_eq!(advertised(&answer[14..]), (own, true, true, true, GATEWAY_EXTERNAL));
}

#[test]
fn a_solicitation_for_another_task_is_answered_by_proxy_without_override() {
    let mut host = the_host();
    for target in [T2, T3] {
        let target = address(target);
        let answer = host.receive("access0", &solicitation(TASK, address(T1), target)).through("access0");
        assert_eq!(advertised(&answer[14..]), (target, true, true, false, TASK_ROUTER));
    }
    let reason = Fate::Dropped(DropReason::NdNotForUs);
    // Nobody is asked to vouch for an unknown identifier, nor for the asker's own.
    for target in ["2001:db8:dddd:0:2000::99", T1, "2001:db8:1::1"] {
        let solicitation = solicitation(TASK, address(T1), address(target));
        assert_eq!(host.receive("access0", &solicitation).fate, reason);
    }
    // The fabric gets no proxy.
    let solicitation = solicitation(GATEWAY_FABRIC, address("fd00:ffff::ff"), address(T3));
    assert_eq!(host.receive("fabric0", &solicitation).fate, reason);
}

#[test]
fn a_solicitation_to_the_address_itself_is_answered_by_proxy() {
    // RFC 4861 §7.3.3: whether a neighbour is still there is asked at its address, in a frame to where it was found.
    let mut host = the_host();
    for from in [address(T1), TASK.link_local()] {
        for target in [T2, T3] {
            let target = address(target);
            let asked = solicitation_to(target, TASK_ROUTER, TASK, from, target);
            let answer = host.receive("access0", &asked).through("access0");
            assert_eq!((&answer[..6], destination(&answer[14..])), (&TASK.0[..], from));
            assert_eq!(advertised(&answer[14..]), (target, true, true, false, TASK_ROUTER));
        }
        // It never leaves the link, whether anybody answers for the target or not.
        let unknown = address("2001:db8:dddd:0:2000::99");
        let asked = solicitation_to(unknown, TASK_ROUTER, TASK, from, unknown);
        assert_eq!(host.receive("access0", &asked).fate, Fate::Dropped(DropReason::NdNotForUs));
    }
}

#[test]
fn tasks_with_the_same_mac_address_on_two_vlans_find_each_other() {
    let text = format!(
        r#"
node: {{name: nve}}
dpdk: {{workers: [1]}}
sir_domains:
  - {{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}"}}
locators:
  - {{prefix: "{L1}", domain: tasks}}
ports:
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}"}}
attachments:
  - {{port: access0, mac: "{TASK}", identifiers: ["{T1}"]}}
  - {{port: access0, vlan: 10, mac: "{TASK}", identifiers: ["{T2}"]}}
"#
    );
    let mut host = Node::new(&text, &[]);
    let mut asked = solicitation(TASK, address(T2), address(T1));
    asked.splice(12..12, [0x81, 0, 0, 10]);
    let answer = host.receive("access0", &asked).through("access0");
    assert_eq!(answer[12..18], [0x81, 0, 0, 10, 0x86, 0xdd]);
    assert_eq!(advertised(&answer[18..]), (address(T1), true, true, false, TASK_ROUTER));
    let asked = solicitation(TASK, address(T1), address(T2));
    let answer = host.receive("access0", &asked).through("access0");
    assert_eq!(advertised(&answer[14..]), (address(T2), true, true, false, TASK_ROUTER));
    // Its own address is still its own.
    let asked = solicitation(TASK, 0, address(T1));
    assert_eq!(host.receive("access0", &asked).fate, Fate::Dropped(DropReason::NdNotForUs));
}

#[test]
fn duplicate_address_detection_is_answered_when_the_address_is_in_use_elsewhere() {
    let mut host = the_host();
    let answer = host.receive("access0", &solicitation(TASK, 0, address(T2))).through("access0");
    assert_eq!(&answer[..6], &[0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(destination(&answer[14..]), address("ff02::1"));
    assert_eq!(advertised(&answer[14..]), (address(T2), true, false, false, TASK_ROUTER));
    // The task itself may take its address.
    let outcome = host.receive("access0", &solicitation(TASK, 0, address(T1)));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdNotForUs));
}

#[test]
fn a_router_solicitation_is_answered_on_access_ports_only() {
    let (from, group) = (TASK.link_local(), address("ff02::2"));
    let mut packet = ipv6(from, group, 58, &icmp6(from, group, 133, 0, &[0; 4]));
    packet[7] = 255;
    let frame = frame(Mac::of_ipv6_multicast(group), TASK, &packet);
    let answer = the_host().receive("access0", &frame).through("access0");
    let l3 = &answer[14..];
    assert_eq!((l3[40], l3[7], checksum_ok(l3)), (134, 255, Some(true)));
    assert_eq!((source(l3), destination(l3)), (TASK_ROUTER.link_local(), from));
    let outcome = the_host().receive("fabric0", &frame);
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NdNotForUs));
}

#[test]
fn an_advertisement_is_handed_to_the_control_thread() {
    let (from, own) = (address("2001:db8:ff::ff"), address(GATEWAY));
    let rest = [&[0x60, 0, 0, 0], &from.to_be_bytes()[..], &[2, 1], &INTERNET.0[..]].concat();
    let mut packet = ipv6(from, own, 58, &icmp6(from, own, 136, 0, &rest));
    packet[7] = 255;
    let outcome = the_gateway().receive("ext0", &frame(GATEWAY_EXTERNAL, INTERNET, &packet));
    assert_eq!(outcome.fate, Fate::Punted);
}

#[test]
fn neighbour_discovery_from_beyond_the_link_is_discarded() {
    let mut frame = solicitation(INTERNET, address("2001:db8:ff::ff"), address(GATEWAY));
    frame[21] = 254;
    assert_eq!(the_gateway().receive("ext0", &frame).fate, Fate::Dropped(DropReason::NdInvalid));
}

/// A packet from the Internet to T3, changed, is dropped for `reason` without an ICMP error.
fn assert_dropped(reason: DropReason, edit: impl Fn(&mut Vec<u8>)) {
    let to = address(T3);
    let mut bytes = frame(GATEWAY_EXTERNAL, INTERNET, &ipv6(IADDR, to, 6, &tcp(IADDR, to, b"some data")));
    edit(&mut bytes);
    assert_eq!(the_gateway().receive("ext0", &bytes).fate, Fate::Dropped(reason), "{reason:?}");
}

fn set_source(frame: &mut [u8], text: &str) {
    frame[22..38].copy_from_slice(&address(text).to_be_bytes());
}

fn set_destination(frame: &mut [u8], text: &str) {
    frame[38..54].copy_from_slice(&address(text).to_be_bytes());
}

#[test]
fn frames_that_are_not_for_us_are_dropped_each_for_its_reason() {
    assert_dropped(DropReason::ShortFrame, |f| f.truncate(13));
    assert_dropped(DropReason::ShortFrame, Vec::clear);
    assert_dropped(DropReason::NotOurMac, |f| f[5] ^= 1);
    assert_dropped(DropReason::SourceMacGroup, |f| f[6] |= 1);
    assert_dropped(DropReason::UnknownEthertype, |f| f[12..14].copy_from_slice(&[8, 0]));
    assert_dropped(DropReason::UnknownEthertype, |f| f[12..14].copy_from_slice(&[8, 6]));
    assert_dropped(DropReason::UnknownVlan, |f| {
        f.splice(12..12, [0x81, 0, 0, 5]);
    });
    // A priority tag is no VLAN.
    let to = address(T3);
    let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"x"));
    let sent =
        the_gateway().receive("ext0", &tagged(GATEWAY_EXTERNAL, INTERNET, 0, &packet)).forwarded("fabric0");
    assert_eq!(sent.len(), 14 + packet.len());
}

#[test]
fn packets_that_are_no_ipv6_are_dropped_each_for_its_reason() {
    assert_dropped(DropReason::Ipv6Truncated, |f| f.truncate(53));
    assert_dropped(DropReason::Ipv6Version, |f| f[14] = 0x45);
    assert_dropped(DropReason::Ipv6Length, |f| f.truncate(60));
    assert_dropped(DropReason::Ipv6Length, |f| f[18] = 0xff);
}

#[test]
fn martian_sources_are_dropped() {
    for text in ["ff0e::1", "ff02::1", "::", "::1", "::ffff:192.0.2.1", "::192.0.2.1"] {
        assert_dropped(DropReason::MartianSource, |f| set_source(f, text));
    }
}

#[test]
fn martian_destinations_are_dropped() {
    for text in ["::", "::1", "::ffff:192.0.2.1", "::192.0.2.1"] {
        assert_dropped(DropReason::MartianDestination, |f| set_destination(f, text));
    }
}

#[test]
fn link_local_packets_are_never_routed() {
    // RFC 4291 §2.5.6.
    assert_dropped(DropReason::LinkLocal, |f| set_source(f, "fe80::1"));
    assert_dropped(DropReason::LinkLocal, |f| set_destination(f, "fe80::1"));
}

#[test]
fn identifiers_that_no_sir_address_has_are_dropped() {
    assert_dropped(DropReason::SirCBit, |f| set_destination(f, "2001:db8:dddd:0:3000::3"));
    for text in ["2001:db8:dddd:0:a000::", "2001:db8:dddd:0:c000::1", "2001:db8:dddd:0:ffff::1"] {
        assert_dropped(DropReason::ReservedIdentifier, |f| set_destination(f, text));
    }
}

#[test]
fn a_blackhole_route_discards_without_a_word() {
    assert_dropped(DropReason::RouteBlackhole, |f| set_destination(f, "fd00:dead::1"));
}

#[test]
fn an_interface_identifier_under_a_sir_prefix_is_plain_ipv6() {
    // ILA draft §3.4: type 0 is a normal address; here it follows the route for 2000::/3.
    let to = address("2001:db8:dddd::1");
    let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"x"));
    let sent =
        the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet)).forwarded("ext0");
    assert_eq!(destination(&sent[14..]), to);
}

#[test]
fn what_would_wait_for_a_neighbour_is_dropped_in_a_replay() {
    let to = address("2001:db8:ff::42");
    let packet = ipv6(IADDR, to, 6, &tcp(IADDR, to, b"x"));
    let outcome = the_gateway().receive("fabric0", &frame(GATEWAY_FABRIC, NVE_FABRIC, &packet));
    assert_eq!(outcome.fate, Fate::Dropped(DropReason::NeighbourUnresolved));
}
