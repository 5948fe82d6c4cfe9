//! The laws of tenants' packets, over random networks, tenants, locators, packets and modes, through two whole nodes:
//! what is received is what was sent, up to what RFC 7915 says is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use etherparse::{Icmpv4Slice, IpNumber, TcpHeader, TcpSlice, UdpHeader, UdpSlice};
use ilagate::ila::ChecksumMode;
use ilagate::net::checksum::{sum_of_address, transport};
use ilagate::net::ipv4::{self, Ipv4};
use ilagate::net::{Mac, checksum};
use ilagate::path::DropReason;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use support::packets::*;
use support::tenants::{ANYCAST, VM1, VM2, carried, ipv4_frame};
use support::*;

const MACS: [Mac; 2] = [VM1, VM2];
const GATEWAY4: u32 = 0x0a01_0203;

/// Two hosts with one tenant each, of one network.
#[derive(Debug, Clone, Copy)]
struct World {
    mode: ChecksumMode,
    locators: [u64; 2],
    vnid: u32,
    /// Upper 96 bits of the network's IPv6 addresses.
    vnet: u128,
    ipv4: [u32; 2],
    /// The lower 32 bits of the tenants' IPv6 addresses.
    ipv6: [u32; 2],
    /// A group that both tenants are in.
    group4: u32,
    group6: u128,
}

/// Any low word, the two zeros often.
fn low() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), Just(0xffff), any::<u16>()]
}

fn word() -> impl Strategy<Value = u32> {
    (any::<u16>(), low()).prop_map(|(high, low)| u32::from(high) << 16 | u32::from(low))
}

/// Two that are not each other's zero alias.
fn words() -> impl Strategy<Value = [u32; 2]> {
    [word(), word()].prop_filter("zero aliases", |[a, b]| (a ^ b) & 0x00ff_0000 != 0)
}

fn world() -> impl Strategy<Value = World> {
    let mode = proptest::sample::select(ChecksumMode::ALL.to_vec());
    let locators = [any::<u64>(), any::<u64>()].prop_filter("one", |[a, b]| a >> 8 != b >> 8);
    let groups = (0x0001_0000u32..0x0fff_ffff, 0u32..0x0fff_0000, 3u128..0xf, 0u16..0xffff);
    (mode, locators, 1u32..1 << 28, any::<u64>(), words(), words(), groups).prop_map(
        |(mode, locators, vnid, vnet, ipv4, ipv6, (group4, group6, scope, low))| World {
            mode,
            locators: locators.map(|bits| 0xfd00_0000_0000_0000 | bits >> 8),
            vnid,
            // Not under the SIR prefix.
            vnet: 0x2001_0db8 << 96 | u128::from(vnet & !(1 << 48)) << 32,
            ipv4: ipv4.map(|bits| 0x0a00_0000 | bits & 0x00ff_ffff).map(tenable),
            ipv6: ipv6.map(|bits| bits.max(1)),
            group4: 0xe000_0000 | group4 & 0xffff_0000 | u32::from(low),
            group6: (0xff00 | scope) << 112 | u128::from(group6 & 0xffff_0000) | u128::from(low),
        },
    )
}

/// Neither the subnet's own addresses nor the gateway's.
fn tenable(address: u32) -> u32 {
    match address {
        0x0a00_0000 => 0x0a00_0100,
        // The zero alias of the subnet's broadcast address.
        0x0aff_ffff => 0x0aff_0000,
        GATEWAY4 => GATEWAY4 + 1,
        _ => address,
    }
}

impl World {
    fn address6(&self, tenant: usize) -> u128 {
        self.vnet | u128::from(self.ipv6[tenant])
    }

    /// The SIR address of an IPv4 address, by the figure of the draft.
    fn sir4(&self, address: u32) -> u128 {
        u128::from(SIR) << 64 | 2 << 61 | u128::from(self.vnid) << 32 | u128::from(address)
    }

    fn sir6(&self, tenant: usize) -> u128 {
        u128::from(SIR) << 64 | 3 << 61 | u128::from(self.vnid) << 32 | u128::from(self.ipv6[tenant])
    }

    fn locator(&self, host: usize) -> String {
        format!("{}/64", Ipv6Addr::from(u128::from(self.locators[host]) << 64))
    }

    /// The host of one tenant.
    fn host(&self, of: usize) -> Node {
        self.host_with(of, 9000)
    }

    fn host_with(&self, of: usize, mtu: u16) -> Node {
        let (own, other) = (self.locator(of), self.locator(1 - of));
        let text = format!(
            r#"
node: {{name: nve}}
dpdk: {{workers: [1]}}
mbufs: {{data_bytes: 9216}}
sir_domains: [{{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}", checksum: {mode}}}]
locators: [{{prefix: "{own}", domain: tasks}}]
virtual_networks:
  - name: red
    vnid: {vnid}
    domain: tasks
    mac: "{ANYCAST}"
    ipv6: {{prefix: "{vnet}/96"}}
    ipv4: [{{prefix: "10.0.0.0/8", gateway: "{gateway}"}}]
    replicate_to: ["{own}", "{other}"]
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{NVE_FABRIC}", mtu: {mtu}, addresses: ["2001:db8:ffff::1/64"]}}
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}"}}
attachments:
  - {{port: access0, mac: "{mac}", network: red, addresses: ["{ipv4}", "{ipv6}"], groups: ["{group4}", "{group6}"]}}
translation: {{lowest_ipv6_mtu: {mtu}}}
routes: [{{prefix: "::/0", via: "2001:db8:ffff::ff", port: fabric0}}]
neighbours: {{static: [{{port: fabric0, address: "2001:db8:ffff::ff", mac: "{GATEWAY_FABRIC}"}}]}}
"#,
            mode = self.mode.name(),
            vnid = self.vnid,
            vnet = Ipv6Addr::from(self.vnet),
            gateway = Ipv4Addr::from(GATEWAY4),
            mac = MACS[of],
            ipv4 = Ipv4Addr::from(self.ipv4[of]),
            ipv6 = Ipv6Addr::from(self.address6(of)),
            group4 = Ipv4Addr::from(self.group4),
            group6 = Ipv6Addr::from(self.group6),
        );
        let mapped = [self.sir4(self.ipv4[1 - of]), self.sir6(1 - of)]
            .map(|sir| (Ipv6Addr::from(sir).to_string(), other.as_str()));
        Node::new(&text, &mapped)
    }

    /// From the first tenant's frame to the wire and to the second tenant: the packets there.
    fn deliver(&self, sent: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let on_wire = self.host(0).receive("access0", sent).forwarded("fabric0");
        let received = self.host(1).receive("fabric0", &carried(&on_wire)).forwarded("access0");
        (on_wire[14..].to_vec(), received[14..].to_vec())
    }

    /// What the draft says of a destination on the wire that was `before` as a tenant or RFC 7915 wrote it: the locator
    /// for the SIR prefix or the tenants' own, the identifier's type and network, and what mapping makes of its low word.
    fn check_destination(&self, on_wire: &[u8], before: u128, identifier: u64) {
        let now = destination(on_wire);
        assert_eq!((now >> 64) as u64, self.locators[1]);
        let marked = self.mode == ChecksumMode::NeutralMap;
        assert_eq!(now as u64 >> 16, identifier >> 16 | u64::from(marked) << 44);
        match self.mode {
            ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto => {
                assert_eq!(zero(sum_of_address(now)), zero(sum_of_address(before)));
            }
            ChecksumMode::AdjTransport | ChecksumMode::NoAction => {
                assert_eq!(now as u16, identifier as u16);
            }
        }
    }
}

/// One's complement has two zeros.
fn zero(sum: u16) -> u16 {
    if sum == 0xffff { 0 } else { sum }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upper {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Echo,
    Reply,
    Gre,
}

const UPPERS: [Upper; 6] =
    [Upper::Tcp, Upper::Udp, Upper::UdpWithoutChecksum, Upper::Echo, Upper::Reply, Upper::Gre];

fn uppers() -> impl Strategy<Value = Upper> {
    proptest::sample::select(UPPERS.to_vec())
}

/// An IPv4 packet that a tenant may send.
#[derive(Debug, Clone)]
struct Sent4 {
    tos: u8,
    identification: u16,
    df: bool,
    ttl: u8,
    options: Vec<u8>,
    upper: Upper,
    data: Vec<u8>,
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let any = any::<u8>;
    prop_oneof![proptest::collection::vec(any(), 0..80), proptest::collection::vec(any(), 1170..1400)]
}

/// Well-formed IPv4 options.
fn options() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(vec![
        vec![],
        vec![1, 1, 1, 0],
        // Record route, of which one hop is written; router alert; a source route with no hops left.
        vec![7, 11, 8, 10, 0, 0, 9, 0, 0, 0, 0, 0],
        vec![148, 4, 0, 0],
        vec![131, 7, 8, 10, 0, 0, 9, 0],
        vec![68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
        vec![1; 40],
    ])
}

fn sent4() -> impl Strategy<Value = Sent4> {
    (any::<u8>(), any::<u16>(), any::<bool>(), 3u8..=255, options(), uppers(), data()).prop_map(
        |(tos, identification, df, ttl, options, upper, data)| Sent4 {
            tos,
            identification,
            df,
            ttl,
            options,
            upper,
            data,
        },
    )
}

/// The protocol number and the bytes behind the header.
fn segment4(upper: Upper, from: u32, to: u32, data: &[u8]) -> (u8, Vec<u8>) {
    let (source, destination) = (from.to_be_bytes(), to.to_be_bytes());
    let echo = |kind: u8| {
        let mut message = [&[kind, 0, 0, 0, 0, 7, 0, 9], data].concat();
        let sum = !checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        (1, message)
    };
    match upper {
        Upper::Tcp => {
            let mut header = TcpHeader::new(40000, 443, 7, 1000);
            header.checksum = header.calc_checksum_ipv4_raw(source, destination, data).unwrap();
            (6, [&header.to_bytes()[..], data].concat())
        }
        Upper::Udp => {
            let header = UdpHeader {
                source_port: 40000,
                destination_port: 53,
                length: 8 + data.len() as u16,
                checksum: 0,
            };
            let checksum = header.calc_checksum_ipv4_raw(source, destination, data).unwrap();
            (17, [&UdpHeader { checksum, ..header }.to_bytes()[..], data].concat())
        }
        Upper::UdpWithoutChecksum => {
            let (number, mut segment) = segment4(Upper::Udp, from, to, data);
            segment[6..8].fill(0);
            (number, segment)
        }
        Upper::Echo => echo(8),
        Upper::Reply => echo(0),
        Upper::Gre => (47, [&[0, 0, 0x08, 0x00], data].concat()),
    }
}

/// Offset and whether more follow: 0 and false for what is no fragment.
type Section = (u16, bool);

fn packet4(sent: &Sent4, from: u32, to: u32, protocol: u8, payload: &[u8], place: Section) -> Vec<u8> {
    let length = 20 + sent.options.len();
    let mut header = vec![0; 20];
    header.extend(&sent.options);
    let mut view = Ipv4::of_mut(&mut header).unwrap();
    view.write((length + payload.len()) as u16, protocol, sent.ttl, from, to);
    view.set_header_length(length);
    view.set_tos(sent.tos);
    view.set_identification(sent.identification);
    view.set_fragment(sent.df, place.1, place.0);
    ipv4::seal(&mut header);
    [header, payload.to_vec()].concat()
}

/// Whether a whole IPv4 segment has the right checksum, by etherparse; `None`: there is none.
fn right4(protocol: u8, segment: &[u8], from: u32, to: u32) -> Option<bool> {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    match protocol {
        6 => {
            let tcp = TcpSlice::from_slice(segment).unwrap();
            Some(zero(tcp.checksum()) == zero(tcp.calc_checksum_ipv4(from, to).unwrap()))
        }
        17 => {
            let udp = UdpSlice::from_slice(segment).unwrap();
            let right = udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).unwrap();
            (udp.checksum() != 0).then_some(udp.checksum() == right)
        }
        1 => {
            let icmp = Icmpv4Slice::from_slice(segment).unwrap();
            Some(zero(icmp.icmp_type().calc_checksum(icmp.payload())) == zero(icmp.checksum()))
        }
        _ => None,
    }
}

/// Where a segment has its checksum.
fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

/// Writes one zero of a checksum for the other, and `made` where there was none.
fn same_zero(segment: &mut [u8], protocol: u8, like: &[u8]) {
    let Some(at) = checksum_at(protocol) else { return };
    let word = |bytes: &[u8]| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let udp_without = protocol == 17 && word(segment) == 0;
    if zero(word(segment)) == zero(word(like)) || udp_without {
        segment[at..at + 2].copy_from_slice(&like[at..at + 2]);
    }
}

/// What RFC 7915 leaves of an IPv4 packet that is translated there and back with two nodes counting down, as far as it
/// says: a name that a packet gets anew is `name`.
fn expected4(
    sent: &Sent4,
    from: u32,
    to: u32,
    protocol: u8,
    segment: &[u8],
    place: Section,
    name: u16,
) -> Vec<u8> {
    // §4.1: a fragment header if it is a fragment.
    let named = place != (0, false);
    // §5.1: without one, DF is set on what is longer than 1260 bytes.
    let df = !named && 20 + segment.len() > 1260;
    let identification = if named { sent.identification } else { name };
    let left = Sent4 { identification, df, ttl: sent.ttl - 2, options: Vec::new(), ..sent.clone() };
    packet4(&left, from, to, protocol, segment, place)
}

fn identification(packet: &[u8]) -> u16 {
    Ipv4::of(packet).unwrap().identification()
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn an_ipv4_packet_arrives_as_it_was_sent_up_to_what_translation_loses(world in world(), sent in sent4()) {
        let [from, to] = world.ipv4;
        let (protocol, segment) = segment4(sent.upper, from, to, &sent.data);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, false));
        let (on_wire, received) = world.deliver(&ipv4_frame(ANYCAST, VM1, &packet));
        prop_assert_eq!(source(&on_wire), world.sir4(from));
        world.check_destination(&on_wire, world.sir4(to), world.sir4(to) as u64);
        prop_assert_eq!((on_wire[7], on_wire[0] << 4 | on_wire[1] >> 4, &on_wire[2..4]), (sent.ttl - 1, sent.tos, &[0, 0][..]));
        if world.mode != ChecksumMode::NoAction {
            prop_assert!(checksum_ok(&on_wire) != Some(false));
        }
        // Also of the datagram that came without one.
        let right = right4(protocol, &received[20..], from, to);
        prop_assert_eq!(right, (sent.upper != Upper::Gre).then_some(true));
        let mut segment = segment;
        same_zero(&mut segment, protocol, &received[20..]);
        let expected = expected4(&sent, from, to, protocol, &segment, (0, false), identification(&received));
        prop_assert_eq!(received, expected);
    }

    #[test]
    fn ipv4_fragments_arrive_as_they_were_sent_and_are_right_once_reassembled(
        world in world(), sent in sent4(), is_tcp: bool, cuts in proptest::collection::vec(3usize..12, 1..4),
        last in 0usize..40,
    ) {
        let [from, to] = world.ipv4;
        let upper = if is_tcp { Upper::Tcp } else { Upper::Udp };
        let length = cuts.iter().sum::<usize>() * 8 + last + 1;
        let data: Vec<u8> = (0..length).map(|n| (n * 7 + usize::from(sent.tos)) as u8).collect();
        let (protocol, segment) = segment4(upper, from, to, &data);
        let (mut whole, mut start) = (Vec::new(), 0);
        for units in cuts.iter().copied().chain([8000]) {
            let end = segment.len().min(start + units * 8);
            let place = ((start / 8) as u16, end < segment.len());
            let part = &segment[start..end];
            let packet = packet4(&sent, from, to, protocol, part, place);
            let (on_wire, received) = world.deliver(&ipv4_frame(ANYCAST, VM1, &packet));
            world.check_destination(&on_wire, world.sir4(to), world.sir4(to) as u64);
            let mut expected = expected4(&sent, from, to, protocol, part, place, 0);
            if start == 0 {
                let at = 20 + checksum_at(protocol).unwrap();
                // One zero may have become the other.
                if zero(u16::from_be_bytes([expected[at], expected[at + 1]])) == 0 {
                    expected[at..at + 2].copy_from_slice(&received[at..at + 2]);
                }
            }
            prop_assert_eq!(&received, &expected);
            whole.extend_from_slice(&received[20..]);
            start = end;
        }
        prop_assert_eq!(right4(protocol, &whole, from, to), Some(true));
    }

    #[test]
    fn a_first_fragment_without_a_udp_checksum_is_not_translated(world in world(), sent in sent4()) {
        let [from, to] = world.ipv4;
        let (protocol, segment) = segment4(Upper::UdpWithoutChecksum, from, to, &[7; 40]);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, true));
        let fate = world.host(0).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).fate;
        prop_assert_eq!(fate, Fate::Replied(Some(DropReason::Untranslatable)));
        // Nor is a fragment of an ICMP message.
        let (protocol, segment) = segment4(Upper::Echo, from, to, &[7; 40]);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, true));
        let fate = world.host(0).receive("access0", &ipv4_frame(ANYCAST, VM1, &packet)).fate;
        prop_assert_eq!(fate, Fate::Dropped(DropReason::Untranslatable));
    }

    #[test]
    fn an_ipv4_error_quotes_what_its_receiver_sent(
        world in world(), sent in sent4(), error in sent4(), which in 0usize..ERRORS.len(), cut in 0usize..200,
    ) {
        let [from, to] = world.ipv4;
        let (protocol, segment) = segment4(sent.upper, from, to, &sent.data);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, false));
        let (_, heard) = world.deliver(&ipv4_frame(ANYCAST, VM1, &packet));
        // The second tenant, in a world seen from its side.
        let quoted = &heard[..heard.len().min(28 + cut)];
        let (kind, code, word, told) = ERRORS[which];
        let mut message = [&[kind, code, 0, 0], &word.to_be_bytes()[..], quoted].concat();
        let sum = !checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = packet4(&error, to, from, 1, &message, (0, false));
        let back = world.turned();
        let (on_wire, received) = back.deliver(&ipv4_frame(ANYCAST, VM1, &packet));
        prop_assert_eq!(source(&on_wire), world.sir4(to));
        back.check_destination(&on_wire, world.sir4(from), world.sir4(from) as u64);
        // A tenant's packets are quoted in the form in which no locator stands.
        prop_assert_eq!((source(&on_wire[48..]), destination(&on_wire[48..])), (world.sir4(from), world.sir4(to)));
        if world.mode != ChecksumMode::NoAction {
            prop_assert_eq!(checksum_ok(&on_wire), Some(true));
        }
        prop_assert_eq!(right4(1, &received[20..], to, from), Some(true));
        let (kind, code, word) = told;
        prop_assert_eq!((&received[20..22], &received[24..28]), (&[kind, code][..], &u32::to_be_bytes(word)[..]));
        let quote = &received[28..];
        prop_assert_eq!(Ipv4::of(quote).unwrap().total_length() as usize, heard.len());
        prop_assert!(ipv4::is_intact(&quote[..20]));
        prop_assert_eq!((quote[1], quote[8], quote[9]), (heard[1], heard[8], protocol));
        let mut segment = quoted[20..].to_vec();
        if checksum_at(protocol).is_some_and(|at| at + 2 <= segment.len()) {
            same_zero(&mut segment, protocol, &quote[20..]);
        }
        prop_assert_eq!((&quote[12..20], &quote[20..]), (&heard[12..20], &segment[..]));
    }

    #[test]
    fn an_ipv6_packet_arrives_as_it_was_sent_but_for_its_hop_limit(
        world in world(), upper in uppers(), extensions in 0usize..3, hops in 3u8..=255, data in data(),
    ) {
        let (from, to) = (world.address6(0), world.address6(1));
        let (next, segment) = segment6(upper, from, to, &data);
        let mut packet = extended(extensions, next, &segment, |next, payload| ipv6(from, to, next, payload));
        packet[7] = hops;
        let (on_wire, received) = world.deliver(&frame(ANYCAST, VM1, &packet));
        prop_assert_eq!(source(&on_wire), from);
        world.check_destination(&on_wire, to, world.sir6(1) as u64);
        if world.mode != ChecksumMode::NoAction {
            prop_assert!(checksum_ok(&on_wire) != Some(false));
        }
        prop_assert_eq!((on_wire[7], received[7]), (hops - 1, hops - 2));
        prop_assert_eq!(checksum_ok(&received), checksum_ok(&packet));
        packet[7] = hops - 2;
        let at = 40 + 8 * extensions;
        same_zero(&mut packet[at..], next, &received[at..]);
        prop_assert_eq!(received, packet);
    }

    #[test]
    fn ipv6_fragments_arrive_as_they_were_sent_and_are_right_once_reassembled(
        world in world(), is_tcp: bool, name: u32, units in 3usize..10, data in proptest::collection::vec(any::<u8>(), 80..200),
    ) {
        let (from, to) = (world.address6(0), world.address6(1));
        let (next, segment) = segment6(if is_tcp { Upper::Tcp } else { Upper::Udp }, from, to, &data);
        let (first, second) = segment.split_at(units * 8);
        let mut whole = Vec::new();
        for (offset, more, part) in [(0, 1, first), (units as u16 * 8, 0, second)] {
            let fragment = [&[next, 0], &u16::to_be_bytes(offset | more)[..], &name.to_be_bytes(), part].concat();
            let packet = ipv6(from, to, 44, &fragment);
            let (on_wire, received) = world.deliver(&frame(ANYCAST, VM1, &packet));
            world.check_destination(&on_wire, to, world.sir6(1) as u64);
            prop_assert_eq!((destination(&received), &received[40..48]), (to, &packet[40..48]));
            whole.extend_from_slice(&received[48..]);
        }
        prop_assert_eq!(transport_ok(IpNumber(next), &whole, from, to), Some(true));
        whole.truncate(segment.len());
        let mut segment = segment;
        same_zero(&mut segment, next, &whole);
        prop_assert_eq!(whole, segment);
    }

    #[test]
    fn an_ipv6_error_arrives_as_it_was_sent(
        world in world(), kind in 1u8..=4, code in 0u8..4, parameter: u32, upper in uppers(), data in data(),
    ) {
        let (from, to) = (world.address6(0), world.address6(1));
        let (next, segment) = segment6(upper, to, from, &data);
        let quote = ipv6(to, from, next, &segment);
        let error = icmp6_error(from, to, kind, code, parameter, &quote[..quote.len().min(1232)]);
        let (_, received) = world.deliver(&frame(ANYCAST, VM1, &error));
        prop_assert_eq!(checksum_ok(&received), Some(true));
        let mut expected = error;
        expected[7] -= 2;
        same_zero(&mut expected[40..], 58, &received[40..]);
        prop_assert_eq!(received, expected);
    }

    #[test]
    fn a_packet_to_a_group_arrives_as_it_was_sent(world in world(), sent in sent4(), hops in 3u8..=255) {
        let (from, to) = (world.address6(0), world.group6);
        let (next, segment) = segment6(sent.upper, from, to, &sent.data);
        let mut packet = ipv6(from, to, next, &segment);
        packet[7] = hops;
        let (on_wire, received) = world.deliver(&frame(Mac::of_ipv6_multicast(to), VM1, &packet));
        let identifier = 4 << 61 | u64::from(world.vnid) << 32 | ((to >> 112) as u64 & 0xf) << 28 | to as u64;
        world.check_destination(&on_wire, to, identifier);
        prop_assert_eq!(source(&on_wire), from);
        prop_assert_eq!(checksum_ok(&received), checksum_ok(&packet));
        packet[7] = hops - 2;
        same_zero(&mut packet[40..], next, &received[40..]);
        prop_assert_eq!(received, packet);
    }

    #[test]
    fn an_ipv4_packet_to_a_group_arrives_as_it_was_sent_up_to_what_translation_loses(
        world in world(), sent in sent4(), everybody in 0usize..3,
    ) {
        let from = world.ipv4[0];
        // See `a_tenant_whose_address_looks_like_broadcast_on_the_wire_gets_what_is_for_it`.
        prop_assume!(everybody != 2 || world.ipv4[1] != 0x0aff_0000);
        let (to, mac) = match everybody {
            0 => (world.group4, Mac::of_ipv4_multicast(world.group4)),
            1 => (u32::MAX, Mac::BROADCAST),
            _ => (0x0aff_ffff, Mac::BROADCAST),
        };
        let (protocol, segment) = segment4(sent.upper, from, to, &sent.data);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, false));
        let (on_wire, received) = world.deliver(&ipv4_frame(mac, VM1, &packet));
        prop_assert_eq!(source(&on_wire), world.sir4(from));
        let right = right4(protocol, &received[20..], from, to);
        prop_assert_eq!(right, (sent.upper != Upper::Gre).then_some(true));
        let mut segment = segment;
        same_zero(&mut segment, protocol, &received[20..]);
        let expected = expected4(&sent, from, to, protocol, &segment, (0, false), identification(&received));
        prop_assert_eq!(received, expected);
        prop_assert_eq!((destination(&on_wire) >> 64) as u64, world.locators[1]);
    }

    #[test]
    fn what_is_cut_for_the_fabric_is_right_once_reassembled(world in world(), sent in sent4(), is_tcp: bool, more in 43usize..=50) {
        let [from, to] = world.ipv4;
        let sent = Sent4 { df: false, options: Vec::new(), ..sent };
        let upper = if is_tcp { Upper::Tcp } else { Upper::UdpWithoutChecksum };
        let data: Vec<u8> = (0..1410 + more).map(|n| (n * 11 + usize::from(sent.ttl)) as u8).collect();
        let (protocol, segment) = segment4(upper, from, to, &data);
        let packet = packet4(&sent, from, to, protocol, &segment, (0, false));
        let (fate, on_wire) =
            world.host_with(0, 1500).receive_copies("access0", &ipv4_frame(ANYCAST, VM1, &packet));
        prop_assert_eq!(fate, Fate::Forwarded);
        prop_assert_eq!(on_wire.len(), 2);
        let mut parts: Vec<_> = on_wire
            .iter()
            .map(|(_, part)| world.host_with(1, 1500).receive("fabric0", &carried(part)).forwarded("access0")[14..].to_vec())
            .collect();
        parts.sort_by_key(|part| Ipv4::of(part).unwrap().fragment_offset());
        let mut whole = Vec::new();
        for part in &parts {
            let view = Ipv4::of(part).unwrap();
            prop_assert_eq!(usize::from(view.fragment_offset()) * 8, whole.len());
            prop_assert_eq!((identification(part), part[1], part[8]), (sent.identification, sent.tos, sent.ttl - 2));
            prop_assert!(ipv4::is_intact(&part[..20]) && !view.dont_fragment());
            whole.extend_from_slice(&part[20..]);
        }
        prop_assert_eq!(right4(protocol, &whole, from, to), Some(true));
        let mut segment = segment;
        same_zero(&mut segment, protocol, &whole);
        prop_assert_eq!(whole, segment);
    }
}

const WORLD: World = World {
    mode: ChecksumMode::NeutralMap,
    locators: [0xfd00_0001_0000_0001, 0xfd00_0001_0000_0002],
    vnid: 100,
    vnet: 0x2001_0db8_000a << 80,
    ipv4: [0x0a00_0001, 0x0a00_0002],
    ipv6: [1, 2],
    group4: 0xef81_0203,
    group6: 0xff05 << 112 | 0x0abc_1234,
};

const SENT: Sent4 = Sent4 {
    tos: 0,
    identification: 7,
    df: false,
    ttl: 64,
    options: Vec::new(),
    upper: Upper::Echo,
    data: Vec::new(),
};

/// A packet of the first tenant: what arrives.
fn arrives(world: &World, upper: Upper, to: u32, mac: Mac) -> Vec<u8> {
    let (protocol, segment) = segment4(upper, world.ipv4[0], to, b"query");
    let packet = packet4(&SENT, world.ipv4[0], to, protocol, &segment, (0, false));
    world.deliver(&ipv4_frame(mac, VM1, &packet)).1
}

#[test]
fn where_nothing_is_corrected_the_checksum_of_what_becomes_ipv4_is_that_for_the_sir_address() {
    for mode in ChecksumMode::ALL {
        let world = World { mode, ..WORLD };
        let [from, to] = world.ipv4;
        for upper in [Upper::Tcp, Upper::Udp, Upper::Echo] {
            let received = arrives(&world, upper, to, ANYCAST);
            assert_eq!(right4(received[9], &received[20..], from, to), Some(true), "{mode:?} {upper:?}");
        }
    }
}

#[test]
fn a_tenant_whose_address_looks_like_broadcast_on_the_wire_gets_what_is_for_it() {
    let (zero_alias, broadcast) = (0x0aff_0000, 0x0aff_ffff);
    let world = World { ipv4: [0x0a00_0001, zero_alias], ..WORLD };
    let to = |received: &[u8]| Ipv4::of(received).unwrap().destination();
    assert_eq!(to(&arrives(&world, Upper::Udp, zero_alias, ANYCAST)), zero_alias);
    // Nobody could tell them apart. Everybody else, and all modes that leave the identifier alone, can.
    assert_eq!(to(&arrives(&world, Upper::Udp, broadcast, Mac::BROADCAST)), zero_alias);
    assert_eq!(to(&arrives(&WORLD, Upper::Udp, broadcast, Mac::BROADCAST)), broadcast);
    let world = World { mode: ChecksumMode::AdjTransport, ..world };
    assert_eq!(to(&arrives(&world, Upper::Udp, zero_alias, ANYCAST)), zero_alias);
    assert_eq!(to(&arrives(&world, Upper::Udp, broadcast, Mac::BROADCAST)), broadcast);
}

impl World {
    /// The same, the tenants' places changed: the first one's MAC address stays with the first place.
    fn turned(&self) -> World {
        let World { locators: [a, b], ipv4: [c, d], ipv6: [e, f], .. } = *self;
        World { locators: [b, a], ipv4: [d, c], ipv6: [f, e], ..*self }
    }
}

/// Type, code and the word behind the checksum of ICMP errors, and what their receiver is told (RFC 7915 §4.2, §5.2).
type Error = (u8, u8, u32, (u8, u8, u32));
const ERRORS: [Error; 17] = [
    (3, 0, 0, (3, 1, 0)),
    (3, 1, 0, (3, 1, 0)),
    (3, 2, 0, (3, 2, 0)),
    (3, 3, 0, (3, 3, 0)),
    (3, 5, 0, (3, 1, 0)),
    (3, 9, 0, (3, 10, 0)),
    (3, 13, 0, (3, 10, 0)),
    (11, 0, 0, (11, 0, 0)),
    (11, 1, 0, (11, 1, 0)),
    (12, 0, 0, (12, 0, 0)),
    (12, 0, 1 << 24, (12, 0, 1 << 24)),
    (12, 0, 3 << 24, (12, 0, 2 << 24)),
    (12, 0, 8 << 24, (12, 0, 8 << 24)),
    (12, 0, 9 << 24, (12, 0, 9 << 24)),
    (12, 0, 14 << 24, (12, 0, 12 << 24)),
    (12, 2, 19 << 24, (12, 0, 16 << 24)),
    (3, 12, 0, (3, 1, 0)),
];

fn segment6(upper: Upper, from: u128, to: u128, data: &[u8]) -> (u8, Vec<u8>) {
    let echo = |kind: u8| {
        let mut message = [&[kind, 0, 0, 0, 0, 7, 0, 9], data].concat();
        let sum = transport(from, to, 58, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        (58, message)
    };
    match upper {
        Upper::Tcp => (6, tcp(from, to, data)),
        Upper::Udp => (17, udp(from, to, data)),
        Upper::UdpWithoutChecksum => {
            let mut segment = udp(from, to, data);
            segment[6..8].fill(0);
            (17, segment)
        }
        Upper::Echo => echo(128),
        Upper::Reply => echo(129),
        Upper::Gre => (47, [&[0, 0, 0x86, 0xdd], data].concat()),
    }
}

/// A packet with so many extension headers: hop-by-hop options first, then destination options.
fn extended(count: usize, next: u8, segment: &[u8], packet: impl Fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let (mut first, mut payload) = (next, segment.to_vec());
    for n in (0..count).rev() {
        payload = [&[first, 0, 1, 4, 0, 0, 0, 0], &payload[..]].concat();
        first = if n == 0 { 0 } else { 60 };
    }
    packet(first, &payload)
}
