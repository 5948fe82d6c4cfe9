//! Multicast and broadcast of tenants: who gets a copy, what it looks like on the wire and at the receiver, and who gets
//! none (ILA draft §3.7.2, §5; VMM draft §4.2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::{Config, mappings};
use ilagate::ila::ChecksumMode;
use ilagate::net::{Mac, checksum, ipv4};
use ilagate::node::replay::Replay;
use ilagate::path::DropReason;
use proptest::prelude::*;
use support::packets::*;
use support::tenants::*;
use support::*;

/// More tenants of red on the first host, on VLANs of their own, and one on the second.
const VM4: Mac = Mac([2, 0, 0, 0, 1, 4]);
const VM5: Mac = Mac([2, 0, 0, 0, 1, 5]);
const VM6: Mac = Mac([2, 0, 0, 0, 1, 6]);

/// The group of these tests, and its frame address.
const G6: &str = "ff05::abc:1234";
const G6_MAC: Mac = Mac([0x33, 0x33, 0x0a, 0xbc, 0x12, 0x34]);
const G4: [u8; 4] = [239, 129, 2, 3];
const G4_MAC: Mac = Mac([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
const G4_WORD: u32 = 0xef81_0203;

#[derive(Clone, Copy)]
struct Hosts<'t> {
    mode: ChecksumMode,
    /// The groups that vm4, vm5 and vm6 (and vm3 in blue) are in.
    groups: &'t str,
    replicate_to: &'t str,
    rest: &'t str,
    /// Whether the fabric's next hop is known.
    resolved: bool,
    mappings: &'t str,
    /// Of the tenants of both networks, and of vm1 in their place.
    limits: &'t str,
    limits_of_vm1: &'t str,
    /// `received_copies` of both networks.
    received: &'t str,
}

const HOSTS: Hosts<'static> = Hosts {
    mode: ChecksumMode::NeutralMap,
    groups: r#""ff05::abc:1234", "239.129.2.3""#,
    // All hosts of the network, as it stands in the file of every one of them.
    replicate_to: r#""fd00:1:0:1::/64", "fd00:1:0:2::/64", "fd00:1:0:3::/64", "fd00:1:0:4::/64""#,
    rest: "",
    resolved: true,
    mappings: "",
    limits: "",
    limits_of_vm1: "",
    received: "",
};

impl Hosts<'_> {
    /// vm1, vm4 and vm5 of red and vm3 of blue on L1; vm2 and vm6 of red on L2.
    fn node(&self, locator: &str) -> Node {
        let Hosts { mode, groups, replicate_to, rest, resolved, mappings, limits, limits_of_vm1, received } =
            self;
        let mode = mode.name();
        let attachments = if locator == L1 {
            format!(
                "  - {{name: vm1, port: access0, mac: \"{VM1}\", network: red, addresses: [\"10.0.0.1\", \"2001:db8:a::1\"], limits: {{{limits_of_vm1}}}}}\n\
                 \x20 - {{name: vm4, port: access0, vlan: 4, mac: \"{VM4}\", network: red, addresses: [\"10.0.0.4\", \"2001:db8:a::4\"], groups: [{groups}]}}\n\
                 \x20 - {{name: vm5, port: access0, vlan: 5, mac: \"{VM5}\", network: red, addresses: [\"10.0.0.5\", \"2001:db8:a::5\"], groups: [{groups}]}}\n\
                 \x20 - {{name: vm3, port: access0, vlan: 7, mac: \"{VM3}\", network: blue, addresses: [\"10.0.0.1\", \"2001:db8:b::3\"], groups: [{groups}]}}\n"
            )
        } else {
            format!(
                "  - {{name: vm2, port: access0, mac: \"{VM2}\", network: red, addresses: [\"10.0.0.2\", \"2001:db8:a::2\"]}}\n\
                 \x20 - {{name: vm6, port: access0, vlan: 6, mac: \"{VM6}\", network: red, addresses: [\"10.0.0.6\", \"2001:db8:a::6\"], groups: [{groups}]}}\n"
            )
        };
        let network = |name: &str, vnid: u32, ipv6: &str| {
            format!(
                "  - {{name: {name}, vnid: {vnid}, domain: tasks, ipv6: {{prefix: \"{ipv6}::/96\", gateway: \"{ipv6}::ffff:fffe\"}}, \
                 ipv4: [{{prefix: \"10.0.0.0/24\", gateway: \"10.0.0.254\"}}], replicate_to: [{replicate_to}], limits: {{{limits}}}, received_copies: {{{received}}}}}\n"
            )
        };
        let known = if *resolved { "ff" } else { "fe" };
        let (red, blue) = (network("red", 100, "2001:db8:a"), network("blue", 200, "2001:db8:b"));
        let text = format!(
            r#"
node: {{name: nve}}
dpdk: {{workers: [1]}}
sir_domains: [{{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}", checksum: {mode}}}]
locators: [{{prefix: "{locator}", domain: tasks}}]
virtual_networks:
{red}{blue}
policies: [{{from: blue, to: red}}, {{from: red, to: blue}}]
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{NVE_FABRIC}", addresses: ["fd00:ffff::1/64"]}}
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}"}}
attachments:
{attachments}
routes: [{{prefix: "::/0", via: "fd00:ffff::ff", port: fabric0}}]
neighbours: {{static: [{{port: fabric0, address: "fd00:ffff::{known}", mac: "{GATEWAY_FABRIC}"}}]}}
{rest}
"#
        );
        let config = Config::parse(&text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let file = format!("mappings:\n{mappings}");
        let records =
            mappings::parse(&file, "mappings.yaml", &config).unwrap_or_else(|errors| panic!("{errors}"));
        Node::of(config.clone(), Replay::new(config, records).unwrap_or_else(|refusal| panic!("{refusal}")))
    }
}

/// A datagram of vm1 to an IPv6 group, in its frame.
fn to_group6(group: &str) -> Vec<u8> {
    let (from, to) = (address("2001:db8:a::1"), address(group));
    frame(Mac::of_ipv6_multicast(to), VM1, &ipv6(from, to, 17, &udp(from, to, b"to all of you")))
}

/// The same by IPv4, in a frame to `mac`.
fn to_group4(mac: Mac, group: [u8; 4]) -> Vec<u8> {
    ipv4_frame(mac, VM1, &ipv4_packet([10, 0, 0, 1], group, 64, b"to all of you"))
}

/// Frames sent through `port`.
fn through<'s>(sent: &'s [(String, Vec<u8>)], port: &str) -> Vec<&'s [u8]> {
    sent.iter().filter(|(name, _)| name == port).map(|(_, frame)| frame.as_slice()).collect()
}

/// Who a tagged frame is for: VLAN and destination.
fn tag(frame: &[u8]) -> (u16, Mac) {
    assert_eq!(frame[12..14], [0x81, 0]);
    (u16::from_be_bytes([frame[14], frame[15]]), Mac(frame[..6].try_into().unwrap()))
}

fn tags(frames: &[&[u8]]) -> Vec<(u16, Mac)> {
    let mut tags: Vec<_> = frames.iter().map(|frame| tag(frame)).collect();
    tags.sort_unstable_by_key(|tag| tag.0);
    tags
}

fn dropped(node: &mut Node, port: &str, frame: &[u8]) -> DropReason {
    let (fate, sent) = node.receive_copies(port, frame);
    assert_eq!(sent, []);
    match fate {
        Fate::Dropped(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// The wire form of ff05::abc:1234 for red under L2, worked by hand. Type 4 is 8, VNID 64: with the C-bit the upper half
/// is 9000:0064; scope 5 and 28 bits abc1234 make 50abc1234, so the third word is 5abc. Of the address the words sum up to
/// ff05 + 0abc + 1234 = 11bf5, folded 1bf6. Of fd00:0001:0000:0002:9000:0064:5abc they sum up to fd03 + 9064 + 5abc =
/// 1e823, folded e824. 1bf6 -' e824 = 33d1.
#[test]
fn an_ipv6_group_is_of_type_4_on_the_wire_bit_for_bit() {
    let (fate, sent) = HOSTS.node(L1).receive_copies("access0", &to_group6(G6));
    assert_eq!(fate, Fate::Forwarded);
    let wire = through(&sent, "fabric0");
    assert_eq!(line(&wire[0][14..]), "2001:db8:a::1,fd00:1:0:2:9000:64:5abc:33d1");
    assert_eq!((&wire[0][..6], wire[0][21]), (&GATEWAY_FABRIC.0[..], 63));
    assert_eq!(checksum_ok(&wire[0][14..]), Some(true));
    // Of scope 8: ff08 + 0abc + 1234 is 1bf9, fd03 + 9064 + 8abc is 1825, and 1bf9 -' 1825 = 03d4.
    let groups = "\"ff08::abc:1234\"";
    let (_, sent) =
        Hosts { groups, ..HOSTS }.node(L1).receive_copies("access0", &to_group6("ff08::abc:1234"));
    let wire = through(&sent, "fabric0");
    assert_eq!(line(&wire[0][14..]), "2001:db8:a::1,fd00:1:0:2:9000:64:8abc:3d4");
    assert_eq!(checksum_ok(&wire[0][14..]), Some(true));
}

#[test]
fn each_locator_and_each_member_here_gets_one_copy_and_the_sender_none() {
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &to_group6(G6));
    let halves: Vec<u128> =
        through(&sent, "fabric0").iter().map(|frame| destination(&frame[14..]) >> 64 << 64).collect();
    assert_eq!(halves, ["fd00:1:0:2::", "fd00:1:0:3::", "fd00:1:0:4::"].map(address));
    let here = through(&sent, "access0");
    // vm3 joined the same group in blue, which has a policy: groups do not cross all the same.
    assert_eq!(tags(&here), [(4, G6_MAC), (5, G6_MAC)]);
    for frame in here {
        assert_eq!(line(&frame[18..]), format!("2001:db8:a::1,{G6}"));
        assert_eq!((frame[25], checksum_ok(&frame[18..])), (63, Some(true)));
    }
    // A member that sends gets no copy of its own.
    let (from, to) = (address("2001:db8:a::4"), address(G6));
    let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &tagged(G6_MAC, VM4, 4, &packet));
    assert_eq!(through(&sent, "access0").iter().map(|frame| tag(frame).0).collect::<Vec<_>>(), [5]);
}

#[test]
fn what_was_sent_to_a_group_is_what_its_members_elsewhere_get_in_every_checksum_mode() {
    for mode in ChecksumMode::ALL {
        let hosts = Hosts { mode, ..HOSTS };
        for group in [G6, "ff0e::", "ff08::1:0", "ff03::fff:fffe"] {
            let groups = format!("\"{group}\"");
            let hosts = Hosts { groups: &groups, ..hosts };
            let (_, sent) = hosts.node(L1).receive_copies("access0", &to_group6(group));
            let wire = through(&sent, "fabric0")[0];
            assert_eq!(destination(&wire[14..]) >> 64, address("fd00:1:0:2::") >> 64);
            if mode != ChecksumMode::NoAction {
                assert_eq!(checksum_ok(&wire[14..]), Some(true), "{mode:?}");
            }
            let got = hosts.node(L2).receive("fabric0", &carried(wire)).forwarded("access0");
            assert_eq!(tag(&got), (6, Mac::of_ipv6_multicast(address(group))));
            assert_eq!(line(&got[18..]), format!("2001:db8:a::1,{group}"), "{mode:?}");
            assert_eq!((got[25], checksum_ok(&got[18..])), (62, Some(true)), "{mode:?} {group}");
        }
    }
}

/// Type 2 with the group's address: Σ SIR -' Σ L2 is 2001+0db8+dddd -' (fd00+0001+0002) = 0b97 -' fd03 = 0e93, and
/// 0203 +' 0e93 +' efff = 0096.
#[test]
fn an_ipv4_group_is_of_type_2_with_its_address_and_comes_back_as_it_was() {
    let (fate, sent) = HOSTS.node(L1).receive_copies("access0", &to_group4(G4_MAC, G4));
    assert_eq!(fate, Fate::Forwarded);
    let wire = through(&sent, "fabric0");
    assert_eq!(wire.len(), 3);
    assert_eq!(line(&wire[0][14..]), "2001:db8:dddd:0:4000:64:a00:1,fd00:1:0:2:5000:64:ef81:96");
    assert_eq!(checksum_ok(&wire[0][14..]), Some(true));
    let here = through(&sent, "access0");
    assert_eq!(tags(&here), [(4, G4_MAC), (5, G4_MAC)]);
    let got = HOSTS.node(L2).receive("fabric0", &carried(wire[0])).forwarded("access0");
    assert_eq!(tag(&got), (6, G4_MAC));
    for (frame, ttl) in [(here[0], 63), (here[1], 63), (&got[..], 62)] {
        assert_eq!((&frame[16..18], frame[26]), (&[8, 0][..], ttl));
        assert_eq!(ipv4_line(&frame[18..]), "10.0.0.1,239.129.2.3");
        assert!(ipv4_checksums_ok(&frame[18..]) && frame.ends_with(b"to all of you"));
    }
}

#[test]
fn broadcast_goes_to_everybody_with_ipv4_in_the_network() {
    for to in [[255; 4], [10, 0, 0, 255]] {
        let hosts = Hosts { groups: "", ..HOSTS };
        let (_, sent) = hosts.node(L1).receive_copies("access0", &to_group4(Mac::BROADCAST, to));
        let here = through(&sent, "access0");
        assert_eq!(tags(&here), [(4, Mac::BROADCAST), (5, Mac::BROADCAST)]);
        let wire = through(&sent, "fabric0");
        assert_eq!(wire.len(), 3);
        let (fate, got) = hosts.node(L2).receive_copies("fabric0", &carried(wire[0]));
        assert_eq!((fate, got.len()), (Fate::Forwarded, 2));
        let text = std::net::Ipv4Addr::from(to);
        for (_, frame) in &got {
            assert_eq!(frame[..6], Mac::BROADCAST.0);
            let l3 = if frame[12] == 0x81 { &frame[18..] } else { &frame[14..] };
            assert_eq!(ipv4_line(l3), format!("10.0.0.1,{text}"));
            assert!(ipv4_checksums_ok(l3));
        }
    }
}

#[test]
fn a_subnets_broadcast_address_is_everybodys_even_if_it_has_a_mapping() {
    let (text, _) = written(L1, &Rules::default());
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 255], 64, b"all");
    for mapped in [vec![], vec![("2001:db8:dddd:0:4000:64:a00:ff".to_owned(), L2)]] {
        let mut node = Node::new(&text, &mapped);
        assert_eq!(dropped(&mut node, "access0", &ipv4_frame(ANYCAST, VM1, &packet)), DropReason::NoMembers);
    }
}

/// The fates of so many of the same frame at once, and the frames that left.
fn flood(node: &mut Node, frame: &[u8], count: usize) -> (usize, Vec<(String, Vec<u8>)>) {
    let (mut over, mut left) = (0, Vec::new());
    for _ in 0..count {
        let (fate, sent) = node.receive_copies("access0", frame);
        match fate {
            Fate::Forwarded => left.extend(sent),
            Fate::Dropped(DropReason::CopyRate) => over += 1,
            fate => panic!("{fate:?}"),
        }
    }
    (over, left)
}

/// Each packet of vm1 is five copies: three for other hosts, one each for vm4 and vm5.
#[test]
fn a_tenant_makes_this_node_copy_no_more_than_its_limit() {
    let broadcast = to_group4(Mac::BROADCAST, [255; 4]);
    for frame in [&to_group6(G6), &to_group4(G4_MAC, G4), &broadcast] {
        let mut node = Hosts { limits: "copies: {per_second: 10, burst: 20}", ..HOSTS }.node(L1);
        let (over, left) = flood(&mut node, frame, 10);
        assert_eq!((over, left.len()), (6, 20));
        // Time gives it back, 10 a second; a packet whose copies are more than that is paid for later.
        node.wait_ms(100);
        assert_eq!(flood(&mut node, frame, 10), (9, left[..5].to_vec()));
        node.wait_ms(400);
        assert_eq!(flood(&mut node, frame, 10).0, 10);
        node.wait_ms(100);
        assert_eq!(flood(&mut node, frame, 10).0, 9);
    }
}

#[test]
fn one_tenants_copies_take_nothing_from_another_tenant_of_its_network() {
    let mut node = Hosts { limits: "copies: {per_second: 10, burst: 20}", ..HOSTS }.node(L1);
    assert_eq!(flood(&mut node, &to_group6(G6), 100).0, 96);
    let (from, to) = (address("2001:db8:a::4"), address(G6));
    let other = tagged(G6_MAC, VM4, 4, &ipv6(from, to, 17, &udp(from, to, b"x")));
    // Its four copies: vm5 is the only member besides it.
    assert_eq!(flood(&mut node, &other, 5).0, 0);
    // Nor from what vm1 itself sends to one receiver, nor from what it asks.
    let (from, to) = (address("2001:db8:a::1"), address("2001:db8:a::4"));
    let straight = frame(ANYCAST, VM1, &ipv6(from, to, 17, &udp(from, to, b"x")));
    node.receive("access0", &straight).forwarded("access0");
    let ask = arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_0004), 0);
    assert_eq!(node.receive("access0", &ask).fate, Fate::Replied(None));
}

#[test]
fn an_attachments_own_limit_of_copies_counts_in_place_of_its_networks() {
    let limits = "copies: {per_second: 10, burst: 20}";
    let mut node = Hosts { limits, limits_of_vm1: "copies: {burst: 50}", ..HOSTS }.node(L1);
    assert_eq!(flood(&mut node, &to_group6(G6), 20).0, 10);
    // The usual limit is far beyond.
    assert_eq!(flood(&mut HOSTS.node(L1), &to_group6(G6), 20).0, 0);
}

#[test]
fn what_reaches_nobody_and_what_comes_from_the_fabric_takes_nothing_of_the_limit() {
    let hosts = Hosts { limits: "copies: {per_second: 10, burst: 1}", ..HOSTS };
    let mut alone = Hosts { groups: "", replicate_to: "", ..hosts }.node(L1);
    for _ in 0..10 {
        assert_eq!(dropped(&mut alone, "access0", &to_group6(G6)), DropReason::NoMembers);
    }
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &to_group6(G6));
    let wire = carried(through(&sent, "fabric0")[0]);
    let mut far = hosts.node(L2);
    for _ in 0..10 {
        far.receive("fabric0", &wire).forwarded("access0");
    }
}

/// The frames that other hosts sent for the first one, as they reach it.
fn to_first(sent: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    let locator = address("fd00:1:0:1::") >> 64;
    let wire = through(sent, "fabric0").into_iter();
    wire.filter(|frame| destination(&frame[14..]) >> 64 == locator).map(carried).collect()
}

#[test]
fn another_node_makes_this_one_copy_no_more_than_the_limit_of_the_network() {
    // Without neutral mapping one host's copy fits another host.
    let usual = Hosts { mode: ChecksumMode::NoAction, ..HOSTS };
    let limited = Hosts { received: "per_second: 10, burst: 20", ..usual };
    let (_, sent) = usual.node(L1).receive_copies(
        "access0",
        &ipv4_tagged(Mac::BROADCAST, VM3, 7, &ipv4_packet([10, 0, 0, 1], [255; 4], 64, b"all of blue")),
    );
    let mut of_blue = carried(through(&sent, "fabric0")[0]);
    of_blue[14 + 24..14 + 32]
        .copy_from_slice(&(address(L1.split('/').next().unwrap()) >> 64).to_be_bytes()[8..]);
    let broadcast = to_group4(Mac::BROADCAST, [255; 4]);
    for (asked, members) in [(&to_group6(G6), 2), (&to_group4(G4_MAC, G4), 2), (&broadcast, 3)] {
        let (_, sent) = usual.node(L2).receive_copies("access0", &from_vm2(asked));
        let [wire] = to_first(&sent).try_into().unwrap();
        let made = |node: &mut Node, frames: usize| {
            let fates = (0..frames).map(|_| node.receive_copies("fabric0", &wire));
            let made = fates.map(|(fate, sent)| match fate {
                Fate::Forwarded => sent.len(),
                Fate::Dropped(DropReason::ReceivedCopyRate) if sent.is_empty() => 0,
                fate => panic!("{fate:?}"),
            });
            made.sum::<usize>()
        };
        let mut node = limited.node(L1);
        assert_eq!(made(&mut node, 100), 20usize.div_ceil(members) * members);
        assert_eq!(made(&mut node, 100), 0);
        // The other network, a tenant here and a packet for one of the tenants have what they had.
        for _ in 0..20 {
            assert_eq!(node.receive_copies("fabric0", &of_blue).0, Fate::Forwarded);
        }
        assert_eq!(dropped(&mut node, "fabric0", &of_blue), DropReason::ReceivedCopyRate);
        assert_eq!(flood(&mut node, &to_group6(G6), 100).0, 0);
        // Time gives it back, 10 a second.
        let later: usize = (0..100)
            .map(|_| {
                node.wait_ms(100);
                made(&mut node, 10)
            })
            .sum();
        assert!((100 - members..=100 + members).contains(&later), "{members} {later}");
        // The usual limit is far beyond.
        assert_eq!(made(&mut usual.node(L1), 1000), 1000 * members);
    }
}

#[test]
fn a_group_with_a_mapping_goes_to_its_locators_only_and_one_that_is_mapped_to_nowhere_is_dropped() {
    let mappings = "  - {network: red, address: \"ff05::abc:1234\", locators: [\"fd00:1:0:9::/64\", \"fd00:1:0:1::/64\"]}\n\
                    \x20 - {network: red, address: \"255.255.255.255\", locators: [\"fd00:1:0:8::/64\"]}\n\
                    \x20 - {network: red, address: \"239.129.2.3\", blackhole: true}\n";
    let mut node = Hosts { mappings, ..HOSTS }.node(L1);
    let halves = |sent: &[(String, Vec<u8>)]| -> Vec<u128> {
        through(sent, "fabric0").iter().map(|frame| destination(&frame[14..]) >> 64 << 64).collect()
    };
    let (_, sent) = node.receive_copies("access0", &to_group6(G6));
    assert_eq!(halves(&sent), [address("fd00:1:0:9::")]);
    for broadcast in [[255; 4], [10, 0, 0, 255]] {
        let (_, sent) = node.receive_copies("access0", &to_group4(Mac::BROADCAST, broadcast));
        assert_eq!(halves(&sent), [address("fd00:1:0:8::")]);
    }
    assert_eq!(dropped(&mut node, "access0", &to_group4(G4_MAC, G4)), DropReason::Blackhole);
    let (_, sent) = node.receive_copies("access0", &to_group6("ff05::1"));
    assert_eq!(halves(&sent).len(), 3);
}

#[test]
fn a_group_without_members_anywhere_is_dropped_without_a_word() {
    let hosts = Hosts { groups: "", replicate_to: "", ..HOSTS };
    assert_eq!(dropped(&mut hosts.node(L1), "access0", &to_group6(G6)), DropReason::NoMembers);
    assert_eq!(dropped(&mut hosts.node(L1), "access0", &to_group4(G4_MAC, G4)), DropReason::NoMembers);
    // Nor from elsewhere, for which the other host cannot know better.
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &to_group6(G6));
    let wire = carried(through(&sent, "fabric0")[0]);
    assert_eq!(dropped(&mut hosts.node(L2), "fabric0", &wire), DropReason::NoMembers);
}

#[test]
fn what_came_from_the_fabric_never_goes_back_there() {
    // The second host would replicate to all others, were it its own tenant's packet.
    let mut second = HOSTS.node(L2);
    for frame in [to_group6(G6), to_group4(G4_MAC, G4), to_group4(Mac::BROADCAST, [255; 4])] {
        let (_, sent) = HOSTS.node(L1).receive_copies("access0", &frame);
        let (fate, sent) = second.receive_copies("fabric0", &carried(through(&sent, "fabric0")[0]));
        assert_eq!(fate, Fate::Forwarded);
        assert!(sent.iter().all(|(port, _)| port == "access0"));
    }
}

#[test]
fn a_group_is_for_its_own_network_whatever_policies_say() {
    // From a tenant of blue, from a task and from outside, to red's group under its host's locator.
    let to = address("fd00:1:0:2:9000:64:5abc:33d1");
    for from in ["2001:db8:b::3", "2001:db8:dddd:0:4000:c8:a00:1", "2001:db8:dddd:0:2000::4", "2001:db8:1::9"]
    {
        let from = address(from);
        let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
        let reason = dropped(&mut HOSTS.node(L2), "fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
        assert_eq!(reason, DropReason::NoPolicy);
    }
    // Nobody gets there by the SIR address of a group.
    for to in [
        "2001:db8:dddd:0:8000:64:5abc:1234",
        "2001:db8:dddd:0:4000:64:ef81:203",
        "2001:db8:dddd:0:4000:64:ffff:ffff",
    ] {
        let (from, to) = (address("2001:db8:a::1"), address(to));
        let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
        assert_eq!(
            dropped(&mut HOSTS.node(L1), "access0", &frame(ANYCAST, VM1, &packet)),
            DropReason::SirTenant
        );
        let packet = ipv6(IADDR, to, 17, &udp(IADDR, to, b"x"));
        let reason = dropped(&mut HOSTS.node(L1), "fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
        assert_eq!(reason, DropReason::SirTenant);
    }
    // A network that this host does not know.
    let (from, to) = (address("2001:db8:a::1"), address("fd00:1:0:2:8000:63:5abc:33d1"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
    let reason = dropped(&mut HOSTS.node(L2), "fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
    assert_eq!(reason, DropReason::NoMembers);
}

#[test]
fn what_stays_on_its_link_is_never_copied() {
    let mut node = HOSTS.node(L1);
    for group in ["ff02::1", "ff02::fb", "ff01::1234", "ff0f::1", "ff00::1"] {
        assert_eq!(dropped(&mut node, "access0", &to_group6(group)), DropReason::Multicast, "{group}");
    }
    for (group, mac) in [([224, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1]), ([224, 0, 0, 251], [1, 0, 0x5e, 0, 0, 251])]
    {
        assert_eq!(dropped(&mut node, "access0", &to_group4(Mac(mac), group)), DropReason::Multicast);
    }
    // 240.0.0.0/4 is nobody's.
    assert_eq!(dropped(&mut node, "access0", &to_group4(ANYCAST, [240, 0, 0, 1])), DropReason::Multicast);
}

#[test]
fn a_group_that_has_no_identifier_is_dropped() {
    let mut node = HOSTS.node(L1);
    for group in ["ff15::1", "ff35:30:2001:db8::1", "ff05::1000:0", "ff05::1:0:1", "ff05::ffff"] {
        assert_eq!(dropped(&mut node, "access0", &to_group6(group)), DropReason::GroupUnmappable, "{group}");
    }
    let mac = Mac([1, 0, 0x5e, 1, 0xff, 0xff]);
    assert_eq!(
        dropped(&mut node, "access0", &to_group4(mac, [239, 1, 255, 255])),
        DropReason::GroupUnmappable
    );
    // Where nothing is added to it, an identifier that ends in ffff is like no other.
    let mut node = Hosts { mode: ChecksumMode::AdjTransport, ..HOSTS }.node(L1);
    let (_, sent) = node.receive_copies("access0", &to_group6("ff05::ffff"));
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_tenant_speaks_to_groups_from_its_own_addresses_only() {
    let mut node = HOSTS.node(L1);
    let to = address(G6);
    for (from, reason) in [
        ("2001:db8:a::4", DropReason::SpoofedSource),
        ("2001:db8:dddd:0:4000:64:a00:1", DropReason::SpoofedSource),
        ("fe80::1", DropReason::LinkLocal),
        ("::", DropReason::MartianSource),
    ] {
        let from = address(from);
        let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
        assert_eq!(dropped(&mut node, "access0", &frame(G6_MAC, VM1, &packet)), reason);
    }
    let packet = ipv4_packet([10, 0, 0, 4], G4, 64, b"x");
    assert_eq!(dropped(&mut node, "access0", &ipv4_frame(G4_MAC, VM1, &packet)), DropReason::SpoofedSource);
    // A packet to one in a frame to all is somebody's flood.
    let packet = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"x");
    assert_eq!(
        dropped(&mut node, "access0", &ipv4_frame(Mac::BROADCAST, VM1, &packet)),
        DropReason::Multicast
    );
}

#[test]
fn a_packet_that_its_sender_keeps_on_its_link_is_dropped_whole_and_takes_nothing_of_the_limit() {
    let mut node = Hosts { limits: "copies: {per_second: 10, burst: 5}", ..HOSTS }.node(L1);
    let with_ttl = |ttl, to, mac| {
        let mut packet = ipv4_packet([10, 0, 0, 1], to, ttl, b"x");
        ipv4::seal(&mut packet[..20]);
        ipv4_frame(mac, VM1, &packet)
    };
    let with_hops = |hops| {
        let mut frame = to_group6(G6);
        frame[14 + 7] = hops;
        frame
    };
    for frame in [
        with_hops(1),
        with_hops(0),
        with_ttl(1, G4, G4_MAC),
        with_ttl(1, [255; 4], Mac::BROADCAST),
        with_ttl(1, [10, 0, 0, 255], Mac::BROADCAST),
    ] {
        assert_eq!(dropped(&mut node, "access0", &frame), DropReason::GroupHopLimit);
    }
    assert_eq!(node.lost_copies(), 0);
    // One more is enough for members here and for the way, but not for members elsewhere: there it has run out.
    let (fate, sent) = node.receive_copies("access0", &with_hops(2));
    assert_eq!((fate, sent.len()), (Fate::Forwarded, 5));
    let wire = carried(through(&sent, "fabric0")[0]);
    assert_eq!(dropped(&mut HOSTS.node(L2), "fabric0", &wire), DropReason::HopLimit);
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &with_hops(3));
    HOSTS.node(L2).receive("fabric0", &carried(through(&sent, "fabric0")[0])).forwarded("access0");
}

#[test]
fn nobody_is_told_of_a_packet_to_a_group_that_was_lost() {
    let mut node = HOSTS.node(L1);
    let mut last = to_group6(G6);
    last[14 + 7] = 1;
    assert_eq!(dropped(&mut node, "access0", &last), DropReason::GroupHopLimit);
    let lost =
        |node: &Node, reason: DropReason| node.replay.counters()[1].copies_lost[reason as usize].value();
    let mut packet = ipv4_packet([10, 0, 0, 1], G4, 1, b"x");
    ipv4::seal(&mut packet[..20]);
    assert_eq!(dropped(&mut node, "access0", &ipv4_frame(G4_MAC, VM1, &packet)), DropReason::GroupHopLimit);
    // A locator whose neighbour is not known yet: copies wait for nobody.
    let hosts = Hosts {
        resolved: false,
        replicate_to: "\"fd00:1:0:2::/64\", \"fd00:1:0:3::/64\"",
        groups: "",
        ..HOSTS
    };
    let mut node = hosts.node(L1);
    assert_eq!(dropped(&mut node, "access0", &to_group6(G6)), DropReason::NeighbourUnresolved);
    assert_eq!(lost(&node, DropReason::NeighbourUnresolved), 1);
}

#[test]
fn a_packet_to_a_group_without_df_is_cut_for_those_that_it_is_too_long_for() {
    let mut packet = ipv4_packet([10, 0, 0, 1], G4, 64, &[7; 1472]);
    ipv4::Ipv4::of_mut(&mut packet).unwrap().set_fragment(false, false, 0);
    ipv4::seal(&mut packet[..20]);
    let (fate, sent) = HOSTS.node(L1).receive_copies("access0", &ipv4_frame(G4_MAC, VM1, &packet));
    assert_eq!(fate, Fate::Forwarded);
    // Three locators, two fragments each; both members here get it whole.
    let wire = through(&sent, "fabric0");
    assert_eq!((wire.len(), wire.iter().all(|frame| frame[20] == 44 && frame.len() <= 1514)), (6, true));
    assert!(
        through(&sent, "access0").iter().all(|frame| frame.len() == 1518 && ipv4_checksums_ok(&frame[18..]))
    );
    assert_eq!(sent.len(), 8);
    // With DF it is lost for the three, and nobody is told.
    packet[6] = 0x40;
    ipv4::seal(&mut packet[..20]);
    let mut node = HOSTS.node(L1);
    let (fate, sent) = node.receive_copies("access0", &ipv4_frame(G4_MAC, VM1, &packet));
    assert_eq!((fate, sent.len()), (Fate::Forwarded, 2));
    assert_eq!(node.replay.counters()[1].copies_lost[DropReason::PacketTooBig as usize].value(), 3);
    // The last one takes the packet itself: here it is a locator.
    let hosts = Hosts { groups: "", ..HOSTS };
    packet[6] = 0;
    ipv4::seal(&mut packet[..20]);
    let (fate, sent) = hosts.node(L1).receive_copies("access0", &ipv4_frame(G4_MAC, VM1, &packet));
    assert_eq!((fate, sent.len()), (Fate::Forwarded, 6));
}

#[test]
fn zero_aliases_of_groups_and_broadcast_are_told_apart() {
    // Σ of what is added for the type 4 identifiers of red under L2 is 33d1 -' 1234 = 219d: on the wire a low word of 0000
    // and one of ffff are both 219d.
    let hosts = Hosts { groups: "\"ff05::1:0\"", ..HOSTS };
    let (_, sent) = hosts.node(L1).receive_copies("access0", &to_group6("ff05::1:0"));
    let wire = through(&sent, "fabric0")[0];
    assert_eq!(destination(&wire[14..]) as u16, 0x219d);
    let got = hosts.node(L2).receive("fabric0", &carried(wire)).forwarded("access0");
    assert_eq!(destination(&got[18..]), address("ff05::1:0"));
    assert_eq!(checksum_ok(&got[18..]), Some(true));
    // 255.255.255.255 ends in ffff as well: see `broadcast_goes_to_everybody_with_ipv4_in_the_network`.
}

#[test]
fn errors_that_quote_a_groups_wire_form_say_the_group() {
    let (_, sent) = HOSTS.node(L1).receive_copies("access0", &to_group6(G6));
    let wire = through(&sent, "fabric0")[0];
    let error = icmp6_error(address("fd00:ffff::99"), address("2001:db8:a::1"), 2, 0, 1400, &wire[14..]);
    let to_tenant = |packet: &[u8]| frame(NVE_FABRIC, GATEWAY_FABRIC, packet);
    let got = HOSTS.node(L1).receive("fabric0", &to_tenant(&error)).forwarded("access0");
    assert_eq!(destination(told(&got[14..]).quote), address(G6));
}

/// A report of IGMPv3 by vm4: record type 4 joins, 3 leaves.
fn report4(kind: u8, source: [u8; 4]) -> Vec<u8> {
    let message = [&[0x22, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, 0], &G4[..]].concat();
    igmp(source, [224, 0, 0, 22], message)
}

/// A message of IGMP by vm4, its checksum yet to be made.
fn igmp(source: [u8; 4], to: [u8; 4], mut message: Vec<u8>) -> Vec<u8> {
    let sum = !checksum::sum_of_bytes(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x46, 0xc0, 0, 24 + message.len() as u8, 0, 0, 0, 0, 1, 2, 0, 0];
    packet.extend([source, to, [148, 4, 0, 0]].concat());
    ipv4::seal(&mut packet);
    packet.extend(message);
    ipv4_tagged(Mac::of_ipv4_multicast(u32::from_be_bytes(to)), VM4, 4, &packet)
}

/// A message of MLD by vm4: 131 joins, 132 leaves, 130 asks; 143 is a report of version 2 that joins.
fn mld(kind: u8, to: &str, group: &str) -> Vec<u8> {
    let (from, to) = (VM4.link_local(), address(to));
    let rest = match kind {
        143 => [&[0, 0, 0, 1, 4, 0, 0, 0][..], &address(group).to_be_bytes()].concat(),
        _ => [&[0; 4][..], &address(group).to_be_bytes()].concat(),
    };
    let message = icmp6(from, to, kind, 0, &rest);
    let mut packet = ipv6(from, to, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0], &message[..]].concat());
    packet[7] = 1;
    tagged(Mac::of_ipv6_multicast(to), VM4, 4, &packet)
}

/// A node whose tenants are in no group yet, and copies of whose tenants' packets go nowhere else.
fn alone(rest: &str) -> Node {
    Hosts { groups: "", replicate_to: "", rest, ..HOSTS }.node(L1)
}

#[test]
fn a_tenant_gets_the_groups_that_it_joins_and_no_more_when_it_leaves() {
    let mut node = alone("");
    for (join, leave, datagram) in [
        (report4(4, [10, 0, 0, 4]), report4(3, [10, 0, 0, 4]), to_group4(G4_MAC, G4)),
        (mld(143, "ff02::16", G6), mld(132, "ff02::2", G6), to_group6(G6)),
        // Version 1 reports to the group itself: that is not for its members.
        (mld(131, G6, G6), mld(132, "ff02::2", G6), to_group6(G6)),
    ] {
        assert_eq!(dropped(&mut node, "access0", &datagram), DropReason::NoMembers);
        assert_eq!(node.receive("access0", &join).fate, Fate::Punted);
        let got = node.receive("access0", &datagram).forwarded("access0");
        assert_eq!(tag(&got).0, 4);
        assert_eq!(node.receive("access0", &leave).fate, Fate::Punted);
        assert_eq!(dropped(&mut node, "access0", &datagram), DropReason::NoMembers);
    }
}

#[test]
fn a_tenant_that_says_nothing_any_more_is_no_member_any_more() {
    let mut node = alone("multicast: {query_interval_s: 20}");
    assert_eq!(node.receive("access0", &report4(4, [10, 0, 0, 4])).fate, Fate::Punted);
    node.wait_ms(49_000);
    node.receive("access0", &to_group4(G4_MAC, G4)).forwarded("access0");
    node.wait_ms(1_500);
    assert_eq!(dropped(&mut node, "access0", &to_group4(G4_MAC, G4)), DropReason::NoMembers);
}

#[test]
fn a_tenant_joins_so_many_groups_and_no_more() {
    let mut node = alone("multicast: {groups_per_tenant: 1}");
    node.receive("access0", &mld(131, G6, G6));
    node.receive("access0", &mld(131, "ff05::9", "ff05::9"));
    node.receive("access0", &to_group6(G6)).forwarded("access0");
    assert_eq!(dropped(&mut node, "access0", &to_group6("ff05::9")), DropReason::NoMembers);
}

#[test]
fn only_what_a_tenant_says_of_itself_counts() {
    let mut node = alone("");
    let (query_of_tenant, invalid) = (DropReason::TenantQuery, DropReason::MembershipInvalid);
    // Queries are the gateway's.
    assert_eq!(dropped(&mut node, "access0", &mld(130, "ff02::1", "::")), query_of_tenant);
    let query = igmp([10, 0, 0, 4], [224, 0, 0, 1], vec![0x11, 100, 0, 0, 0, 0, 0, 0]);
    assert_eq!(dropped(&mut node, "access0", &query), query_of_tenant);
    // A wrong checksum, and a report that was routed.
    let mut broken = report4(4, [10, 0, 0, 4]);
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(dropped(&mut node, "access0", &broken), invalid);
    let mut routed = mld(131, G6, G6);
    routed[18 + 7] = 2;
    assert_eq!(dropped(&mut node, "access0", &routed), invalid);
    assert_eq!(dropped(&mut node, "access0", &report4(4, [10, 0, 0, 5])), DropReason::SpoofedSource);
    assert_eq!(dropped(&mut node, "access0", &to_group4(G4_MAC, G4)), DropReason::NoMembers);
    // A host without an address may join (RFC 3376 §4.2.13).
    assert_eq!(node.receive("access0", &report4(4, [0; 4])).fate, Fate::Punted);
    node.receive("access0", &to_group4(G4_MAC, G4)).forwarded("access0");
}

#[test]
fn no_answer_goes_to_a_group() {
    // An error about this packet would go to all members of a group here.
    let (from, to) = (address("fd00:1:0:1:9000:64:5abc:33d2"), address("fd00:1:0:1:3000::99"));
    let packet = ipv6(from, to, 17, &udp(from, to, b"x"));
    let reason = dropped(&mut HOSTS.node(L1), "fabric0", &frame(NVE_FABRIC, GATEWAY_FABRIC, &packet));
    assert_eq!(reason, DropReason::NotLocal);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_damaged_frame_to_a_group_has_one_fate_and_the_books_hold(
        which in 0usize..8, carried_over: bool, length in 20usize..200,
        edits in proptest::collection::vec((0usize..120, any::<u8>()), 0..5),
    ) {
        let mut bytes = match which {
            0 => to_group6(G6),
            1 => to_group4(G4_MAC, G4),
            2 => to_group4(Mac::BROADCAST, [255; 4]),
            3 => report4(4, [10, 0, 0, 4]),
            4 => mld(143, "ff02::16", G6),
            5 => mld(131, G6, G6),
            6 => to_group6("ff02::1"),
            _ => to_group4(Mac::BROADCAST, [10, 0, 0, 255]),
        };
        let mut port = "access0";
        if carried_over && matches!(which, 0..3) {
            let (_, sent) = HOSTS.node(L2).receive_copies("access0", &from_vm2(&bytes));
            bytes = carried(through(&sent, "fabric0")[0]);
            port = "fabric0";
        }
        for (at, value) in edits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length);
        HOSTS.node(L1).receive_copies(port, &bytes);
    }
}

/// The same frame, had vm2 sent it.
fn from_vm2(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[6..12].copy_from_slice(&VM2.0);
    match frame[12..14] {
        [8, 0] => {
            frame[14 + 15] = 2;
            ipv4::seal(&mut frame[14..34]);
        }
        _ => frame[14 + 23] = 2,
    }
    frame
}

#[test]
fn g4_is_what_it_says() {
    assert_eq!((Mac::of_ipv4_multicast(G4_WORD), u32::from_be_bytes(G4)), (G4_MAC, G4_WORD));
}
