//! Targets that take packets.

use super::network;
use ilagate::ila::{ChecksumMode, Identifier, SirPrefix, quote as ila_quote};
use ilagate::net::ipv6::{self, HEADER, Ipv6, next};
use ilagate::net::ndp::{self as nd, Envelope, Message, PrefixInformation, Told};
use ilagate::net::{Mac, checksum, icmp4, ipv4};
use ilagate::path::{
    Account, Arrival, BURST, Counters, Ctx, DropReason, Fates, Limiter, NetworkTally, Outcome, Packet,
    Pipeline, Verdict,
};
use ilagate::table::PortId;
use std::net::Ipv6Addr;

/// Of the byte before each frame of [`pipeline`]: the frame is sent to the port's own MAC address.
pub const OUR_MAC: u8 = 1;
/// Its other bits.
const FIX_LENGTH: u8 = 2;
const FIX_CHECKSUM: u8 = 4;
const OTHER_PORT: u8 = 8;
const HEADROOM: u8 = 0x30;
const NO_TAILROOM: u8 = 0x40;
const LONG: u8 = 0x80;

/// One frame on its way in.
struct Sent {
    port: u16,
    start: usize,
    end: usize,
    room: Vec<u8>,
}

impl Sent {
    fn frame(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }
}

/// Reads one frame: its bits, two bytes of length, its bytes.
fn next_frame(rest: &mut &[u8], port: u16, macs: &[Mac]) -> Option<Sent> {
    let (&[bits, low, high], after) = rest.split_first_chunk()?;
    let (bytes, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes([low, high]))));
    *rest = after;
    let mut frame = bytes[..bytes.len().min(9000)].to_vec();
    if bits & LONG != 0 {
        frame.resize(frame.len() + 1400, 0xa5);
    }
    let port = if bits & OTHER_PORT == 0 { port } else { (port + 1) % 5 };
    if let (Some(mac), Some(to), true) =
        (macs.get(usize::from(port)), frame.get_mut(..6), bits & OUR_MAC != 0)
    {
        to.copy_from_slice(&mac.0);
    }
    let l3 = if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    if let Some(packet) = frame.get_mut(l3..) {
        if bits & FIX_LENGTH != 0 {
            fix_length(packet);
        }
        if bits & FIX_CHECKSUM != 0 {
            fix_checksum(packet);
        }
    }
    let start = [128, 0, 4, 48][usize::from((bits & HEADROOM) >> 4)];
    let tail = if bits & NO_TAILROOM == 0 { 256 } else { 0 };
    let end = start + frame.len();
    let mut room = vec![0x5a; end + tail];
    room[start..end].copy_from_slice(&frame);
    Some(Sent { port, start, end, room })
}

fn fix_length(packet: &mut [u8]) {
    let length = packet.len().saturating_sub(HEADER) as u16;
    if let Some(mut header) = Ipv6::of_mut(packet) {
        header.set_payload_length(length);
    }
}

/// Makes the checksum of an ICMPv6 message right.
fn fix_checksum(packet: &mut [u8]) {
    let Some(header) = Ipv6::of(packet).filter(|header| header.next_header() == next::ICMP6) else { return };
    let (source, destination) = (header.source(), header.destination());
    let end = packet.len().min(HEADER + usize::from(header.payload_length()));
    let message = &mut packet[HEADER..end];
    if message.len() >= 4 {
        message[2..4].fill(0);
        let sum = checksum::transport(source, destination, next::ICMP6, message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// What became of one packet: verdict, window, buffer.
type Fate = (Verdict, u16, u16, Vec<u8>);

/// Fates, counters and the networks' counters of one burst.
fn decide(pipeline: &mut Pipeline, sent: &[Sent]) -> (Vec<Fate>, Vec<u64>, Vec<u64>) {
    let tables = network::tables();
    let tally = NetworkTally::new(network::config().counted_networks());
    let counters = Counters::default();
    let mut rooms: Vec<Vec<u8>> = sent.iter().map(|sent| sent.room.clone()).collect();
    let mut burst: Vec<Packet<'_>> = rooms
        .iter_mut()
        .zip(sent)
        .map(|(room, sent)| Packet::new(room, sent.start as u16, sent.end as u16, PortId(sent.port)))
        .collect();
    let arrival = Arrival::Received {
        packets: burst.len(),
        bytes: burst.iter().map(|packet| packet.len() as u64).sum(),
    };
    pipeline.run(&mut burst, &Ctx { tables, now_ms: 5 });
    let outcomes: Vec<Outcome> = burst.iter().map(Outcome::from).collect();
    let account = Account { counters: &counters, networks: &tally };
    pipeline.account(arrival, Fates::Each(&outcomes), account, tables, |_| true);
    for ((packet, sent), meta) in burst.iter().zip(sent).zip(pipeline.metas()) {
        assert!(packet.start() <= packet.end() && usize::from(packet.end()) <= sent.room.len());
        assert_eq!(packet.frame().len(), packet.len());
        let as_it_came =
            || usize::from(packet.start()) == sent.start && sent.frame().starts_with(packet.frame());
        // What a tenant sends in IPv4 becomes IPv6 where it comes in.
        let untouched = || is_ipv4(sent.frame()) || as_it_came();
        match packet.verdict {
            Verdict::Continue => panic!("undecided"),
            Verdict::Forward(port) => {
                assert!(usize::from(port.0) < tables.ports.len());
                forwarded(packet, sent);
            }
            Verdict::Reply(port) => {
                assert!(usize::from(port.0) < tables.ports.len());
                replied(packet, sent);
            }
            Verdict::Punt => assert!(untouched()),
            // What waits is decided again as it came, but for an ICMP error, whose quote became IPv6, too.
            Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) | Verdict::Hold(_) => {
                assert!(meta.ours || as_it_came() || is_icmp_error4(sent.frame()));
            }
            // A next hop whose header does not fit is noticed last.
            Verdict::Drop(reason) => assert!(meta.ours || reason == DropReason::BufferShape || untouched()),
        }
    }
    let windows: Vec<(Verdict, u16, u16)> =
        burst.iter().map(|packet| (packet.verdict, packet.start(), packet.end())).collect();
    let fates = windows.into_iter().zip(rooms).map(|((verdict, start, end), room)| {
        // Only the frame is compared: what lies around it is nobody's.
        (verdict, start, end, room[usize::from(start)..usize::from(end)].to_vec())
    });
    let mut counted = vec![
        counters.received.value(),
        counters.forwarded.value(),
        counters.replied.value(),
        counters.punted.value(),
        counters.waiting.value(),
    ];
    for reason in DropReason::ALL {
        counted.push(counters.dropped[*reason as usize].value());
        counted.push(counters.answered[*reason as usize].value());
    }
    let networks = (0..5).filter_map(|slot| tally.slot(slot)).flat_map(|c| {
        [&c.from_tenants, &c.from_tenants_bytes, &c.to_tenants, &c.to_tenants_bytes, &c.dropped]
            .map(|count| count.value())
    });
    (fates.collect(), counted, networks.collect())
}

/// The network layer of a frame, and its header.
fn l3(frame: &[u8]) -> (&[u8], Ipv6<&[u8; HEADER]>) {
    let at = if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    let packet = frame.get(at..).unwrap_or(&[]);
    (packet, Ipv6::of(packet).expect("an IPv6 header"))
}

fn forwarded(packet: &Packet<'_>, sent: &Sent) {
    if is_ipv4(packet.frame()) || is_ipv4(sent.frame()) {
        return forwarded4(packet, sent);
    }
    let ((bytes, out), (_, came)) = (l3(packet.frame()), l3(sent.frame()));
    assert_eq!(bytes.len(), HEADER + usize::from(out.payload_length()));
    assert_eq!((out.version(), out.source()), (6, came.source()));
    assert_eq!(Some(out.hop_limit()), came.hop_limit().checked_sub(1));
}

fn is_ipv4(frame: &[u8]) -> bool {
    ethertype(frame) == Some(&[0x08, 0x00])
}

/// Whether a frame holds an ICMP error in IPv4.
fn is_icmp_error4(frame: &[u8]) -> bool {
    let at = if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
    let packet = frame.get(at..).unwrap_or(&[]);
    let message = ipv4::header(packet).and_then(|header| packet.get(header.len()));
    is_ipv4(frame) && packet.get(9) == Some(&1) && message.is_none_or(|kind| icmp4::is_error(*kind))
}

fn is_ipv6(frame: &[u8]) -> bool {
    ethertype(frame) == Some(&[0x86, 0xdd])
}

fn ethertype(frame: &[u8]) -> Option<&[u8]> {
    let at = if frame.get(12..14) == Some(&[0x81, 0x00]) { 16 } else { 12 };
    frame.get(at..at + 2)
}

/// What a tenant here sees of it is IPv4: whole, and one hop nearer.
fn forwarded4(packet: &Packet<'_>, sent: &Sent) {
    let hops = |frame: &[u8]| {
        let at = if frame.get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
        let bytes = &frame[at..];
        if is_ipv4(frame) {
            let header = ipv4::header(bytes).expect("an IPv4 header");
            assert!(ipv4::is_intact(header));
            bytes[8]
        } else {
            bytes[7]
        }
    };
    let (out, came) = (hops(packet.frame()), hops(sent.frame()));
    // Between two tenants here it crosses two headers, but one hop.
    assert_eq!(Some(out), came.checked_sub(1));
    if is_ipv4(packet.frame()) {
        let at = if packet.frame().get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
        let total = u16::from_be_bytes([packet.frame()[at + 2], packet.frame()[at + 3]]);
        assert_eq!(usize::from(total), packet.len() - at);
    }
}

/// What this node says itself has a right checksum, unless it was translated on its way out.
fn replied(packet: &Packet<'_>, sent: &Sent) {
    if is_ipv4(packet.frame()) {
        let at = if packet.frame().get(12..14) == Some(&[0x81, 0x00]) { 18 } else { 14 };
        return assert!(ipv4::is_intact(ipv4::header(&packet.frame()[at..]).expect("an IPv4 header")));
    }
    if !is_ipv6(packet.frame()) {
        // An answer to an ARP request.
        return;
    }
    let ((bytes, out), (_, came)) = (l3(packet.frame()), l3(sent.frame()));
    assert_eq!(bytes.len(), HEADER + usize::from(out.payload_length()));
    assert_eq!(out.version(), 6);
    if out.destination() == came.source() && out.next_header() == next::ICMP6 {
        let message = &bytes[HEADER..];
        assert_eq!(checksum::transport(out.source(), out.destination(), next::ICMP6, message), 0);
    }
}

/// Frames through the pipeline, with and without the fast path.
///
/// The first byte holds the port (lower two bits) and the size of the bursts; each frame follows three bytes of its own.
pub fn pipeline(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let macs = network::macs();
    let mut sent = Vec::new();
    while let (true, Some(frame)) =
        (sent.len() < 2 * BURST, next_frame(&mut rest, u16::from(first & 3), &macs))
    {
        sent.push(frame);
    }
    let limiter = || Limiter::new(10, 5);
    let mut fast = Pipeline::new(limiter());
    let mut stages = Pipeline::new(limiter()).without_fast_path();
    for burst in sent.chunks(BURST.min(1 + usize::from(first >> 2))) {
        let (fates, counted, networks) = decide(&mut fast, burst);
        let (wanted, wanted_counts, wanted_networks) = decide(&mut stages, burst);
        assert_eq!(fates, wanted);
        assert_eq!(counted, wanted_counts);
        assert_eq!(networks, wanted_networks);
        let ended: u64 = counted[1..5].iter().sum::<u64>() + counted[5..].iter().step_by(2).sum::<u64>();
        assert_eq!(counted[0], ended);
    }
}

/// Neighbour Discovery messages, as they are and with what a stranger cannot guess made right.
pub fn ndp(bytes: &[u8]) {
    neighbour(bytes);
    let mut right = bytes.to_vec();
    fix_length(&mut right);
    if let Some(mut header) = Ipv6::of_mut(&mut right) {
        header.set_hop_limit(nd::HOP_LIMIT);
    }
    if let Some(next_header) = right.get_mut(6) {
        *next_header = next::ICMP6;
    }
    fix_checksum(&mut right);
    neighbour(&right);
}

fn neighbour(packet: &[u8]) {
    let Ok(message) = nd::parse(packet) else { return };
    let header = Ipv6::of(packet).expect("an accepted message has a header");
    let body = &packet[HEADER..];
    let (source, destination) = (header.source(), header.destination());
    assert_eq!((header.hop_limit(), body[1]), (255, 0));
    assert_eq!(checksum::transport(source, destination, next::ICMP6, body), 0);
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let mut frame = [0; nd::MAX_FRAME];
    let to = Envelope { to_mac: mac, from_mac: mac, vlan: 0, source, destination };
    match message {
        Message::Solicitation { target, source_mac } => {
            options(&body[24..]);
            assert!(!ipv6::is_multicast(target) && (source != 0 || source_mac.is_none()));
            let from_mac = source_mac.unwrap_or(mac);
            let length = nd::solicitation(&mut frame, Envelope { from_mac, ..to }, target);
            let again = nd::parse(&frame[14..length]);
            let source_mac = (source != 0).then_some(from_mac);
            assert_eq!(again, Ok(Message::Solicitation { target, source_mac }));
        }
        Message::Advertisement { target, target_mac, router, solicited, override_flag } => {
            options(&body[24..]);
            assert!(!ipv6::is_multicast(target));
            assert!(!solicited || !ipv6::is_multicast(destination));
            let told = Told { target, target_mac, router, solicited, override_flag };
            let length = nd::neighbour_advertisement(&mut frame, to, &told);
            assert_eq!(nd::parse(&frame[14..length]), Ok(message));
        }
        Message::RouterSolicitation { source_mac } => {
            options(&body[8..]);
            assert!(source != 0 || source_mac.is_none());
            let from_mac = source_mac.unwrap_or(mac);
            let length = nd::router_solicitation(&mut frame, Envelope { from_mac, ..to });
            let source_mac = (source != 0).then_some(from_mac);
            assert_eq!(nd::parse(&frame[14..length]), Ok(Message::RouterSolicitation { source_mac }));
        }
        Message::RouterAdvertisement => {
            options(&body[16..]);
            let (advert, prefixes) = nd::router_advert(packet).expect("an advertisement");
            assert!(ipv6::is_link_local(source));
            let prefixes: Vec<PrefixInformation> = prefixes.take(nd::MAX_PREFIXES).collect();
            let mut frame = [0; nd::MAX_ROUTER_FRAME];
            let length = nd::write_router_advert(&mut frame, to, &advert, &prefixes).expect("it has room");
            let again = nd::router_advert(&frame[14..length]).map(|(told, all)| (told, all.collect()));
            assert_eq!(again, Ok((advert, prefixes)));
        }
    }
}

/// Options fill a message to its end, none of length 0 (RFC 4861 §4.6).
fn options(mut rest: &[u8]) {
    while !rest.is_empty() {
        let length = 8 * usize::from(rest[1]);
        assert!(length > 0);
        rest = &rest[length..];
    }
}

/// Translating quotes back. The first byte holds the checksum mode and whether the identifier stays.
pub fn quote(bytes: &[u8]) {
    let Some((first, came)) = bytes.split_first() else { return };
    let Ok(upper) = ipv6::upper(came) else { return };
    let mode = ChecksumMode::ALL[usize::from(first & 3)];
    let change = if first & 4 == 0 { 0 } else { 0x1234 };
    let sir_of = |seen: u128| {
        let sir = SirPrefix(0x2001_0db8_000a_0000);
        (first & 8 == 0).then_some((u128::from(sir.0) << 64 | u128::from(seen as u64 ^ change), mode))
    };
    let mut packet = came.to_vec();
    let Some(at) = ila_quote::position(came, &upper).filter(|_| first & 8 == 0) else {
        assert!(!ila_quote::translate_back(&mut packet, &upper, sir_of));
        return assert_eq!(packet, came);
    };
    assert!(ila_quote::translate_back(&mut packet, &upper, sir_of));
    assert_eq!(ipv6::upper(&packet), Ok(upper));
    // The error's checksum stays as right or wrong as it was.
    let left = |packet: &[u8]| match checksum::sum_of_bytes(&packet[upper.offset..]) {
        0xffff => 0,
        sum => sum,
    };
    assert_eq!(left(&packet), left(came));
    let (Some(seen), Some(told)) = (Ipv6::of(&came[at..]), Ipv6::of(&packet[at..])) else {
        panic!("a quote without a header");
    };
    let (seen, told) = (seen.destination(), told.destination());
    assert_eq!(Some((told, mode)), sir_of(seen));
    // Nothing else changes but two checksums: the error's, and in `adj-transport` the quoted one.
    let corrected = mode == ChecksumMode::AdjTransport && !Identifier::of_address(seen).neutral();
    let quoted = ipv6::upper(&came[at..]).ok().filter(|_| corrected);
    let field = quoted.and_then(|quoted| {
        let offset = ilagate::ila::transport::checksum_offset(quoted.protocol)?;
        (!quoted.later_fragment).then_some((at + quoted.offset + offset, quoted))
    });
    for (n, (new, old)) in packet.iter().zip(came).enumerate() {
        let checksum = n / 2 == (upper.offset + 2) / 2 && n >= upper.offset + 2;
        let destination = n >= at + 24 && n < at + HEADER;
        let transport = field.is_some_and(|(field, _)| n == field || n == field + 1);
        assert!(new == old || checksum || destination || transport, "byte {n}");
    }
    if let Some((field, quoted)) = field.filter(|(field, _)| packet.len() >= field + 2) {
        let unchecked = quoted.protocol == next::UDP && came[field..field + 2] == [0, 0];
        let sum = |packet: &[u8], destination| {
            let sum = checksum::sum_of_bytes(&packet[at + quoted.offset..]);
            match checksum::add(sum, checksum::sum_of_address(destination)) {
                0xffff => 0,
                sum => sum,
            }
        };
        if unchecked {
            assert_eq!(packet[field..field + 2], [0, 0]);
        } else {
            assert_eq!(sum(&packet, told), sum(came, seen));
        }
    }
}

/// An IPv6 packet with hop limit 64 and, for ICMPv6, a right checksum.
fn ipv6(from: &str, to: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| u128::from(text.parse::<Ipv6Addr>().expect("an address"));
    let mut packet = vec![0; HEADER];
    if let Some(mut header) = Ipv6::of_mut(&mut packet) {
        header.write(payload.len() as u16, next_header, 64, address(from), address(to));
    }
    packet.extend_from_slice(payload);
    fix_checksum(&mut packet);
    packet
}

/// Packets of every kind that the pipeline tells apart.
fn kinds() -> Vec<Vec<u8>> {
    const TASK: &str = "2001:db8:a:0:2000::1";
    const OUTSIDE: &str = "2001:db8:1::1";
    let udp = [0x9c, 0x40, 0, 53, 0, 12, 0x12, 0x34, 1, 2, 3, 4];
    let echo = [128, 0, 0, 0, 0, 1, 0, 1, 7, 7];
    let mut kinds = Vec::new();
    for to in [
        "2001:db8:a:0:2000::1",
        "2001:db8:a:0:2000::2",
        "2001:db8:a:0:2000::3",
        "2001:db8:a:0:2000::4",
        "2001:db8:a:0:2000::5",
        "2001:db8:a:0:2000::99",
        "2001:db8:a:0:4000::1",
        "2001:db8:a::1",
        "2001:db8:b:0:2000::2",
        "2001:db8:c:0:2000::2",
        "2001:db8:d:0:2000::2",
        "fd00:1:0:a:2000::1",
        "fd00:1:0:a:3000::1",
        "fd00:1:0:b:2000::1",
        "fd00:1:0:a::1",
        "fd00:1:0:a::42",
        "2001:db8:2::1",
        OUTSIDE,
        "ff02::1",
    ] {
        kinds.push(ipv6(OUTSIDE, to, next::UDP, &udp));
        kinds.push(ipv6(TASK, to, next::ICMP6, &echo));
        let behind = [&[next::UDP, 0, 1, 4, 0, 0, 0, 0], &udp[..]].concat();
        kinds.push(ipv6(TASK, to, next::DESTINATION, &behind));
    }
    kinds.extend(messages());
    kinds.extend(quotes().into_iter().map(|quote| quote[1..].to_vec()));
    kinds.extend(chains());
    kinds
}

/// Inputs of [`pipeline`].
pub(crate) fn bursts() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (n, several) in kinds().chunks(6).enumerate() {
        for (port, vlan) in [(0, None), (1, Some(7)), (2, None), (2, Some(9))] {
            let mut input = vec![port | ((n as u8 % 8) << 2)];
            for packet in several {
                let mut frame = vec![0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0xf0];
                if let Some(vlan) = vlan {
                    frame.extend_from_slice(&[0x81, 0x00, 0, vlan]);
                }
                frame.extend_from_slice(&[0x86, 0xdd]);
                frame.extend_from_slice(packet);
                input.push(OUR_MAC);
                input.extend_from_slice(&(frame.len() as u16).to_le_bytes());
                input.extend_from_slice(&frame);
            }
            inputs.push(input);
        }
    }
    inputs
}

/// Inputs of [`super::upper`].
pub(crate) fn chains() -> Vec<Vec<u8>> {
    let (from, to) = ("2001:db8:1::1", "2001:db8:a:0:2000::2");
    let fragment = [next::TCP, 0, 0, 1, 0, 0, 0, 9];
    let later = [next::UDP, 0, 0, 8, 0, 0, 0, 9, 1, 2];
    let many = [next::DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(10);
    let routing = [next::AH, 2, 0, 1, 0, 0, 0, 0].repeat(3);
    vec![
        ipv6(
            from,
            to,
            next::HOP_BY_HOP,
            &[&[next::FRAGMENT, 0, 0, 0, 0, 0, 0, 0], &fragment[..], &[0; 20]].concat(),
        ),
        ipv6(from, to, next::FRAGMENT, &later),
        ipv6(from, to, next::DESTINATION, &many),
        ipv6(
            from,
            to,
            next::ROUTING,
            &[&routing[..], &[next::TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 20]].concat(),
        ),
        ipv6(from, to, next::MOBILITY, &[59, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

/// Inputs of [`ndp`].
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let (source, destination) =
        (0xfd00_0001_0000_000a_0000_0000_0000_00ff, 0xfd00_0001_0000_000a_0000_0000_0000_0001);
    let mac = Mac([2, 0, 0, 0, 0, 0xf0]);
    let to = Envelope { to_mac: mac, from_mac: mac, vlan: 0, source, destination };
    let group = Envelope { source: 0, destination: ipv6::solicited_node(destination), ..to };
    let mut frame = [0; nd::MAX_FRAME];
    let mut messages = Vec::new();
    for (to, target) in [(to, destination), (group, destination), (to, source)] {
        let length = nd::solicitation(&mut frame, to, target);
        messages.push(frame[14..length].to_vec());
        let length = nd::advertisement(&mut frame, to, target, to.source != 0, true);
        messages.push(frame[14..length].to_vec());
    }
    let advert =
        nd::Advert { lifetime_s: 1800, mtu: 1500, prefix: Some((0x2001_0db8 << 96, 64, true, true)) };
    let length = nd::router_advertisement(&mut frame, to, advert);
    messages.push(frame[14..length].to_vec());
    let local = Envelope { source: 0xfe80 << 112 | 9, ..to };
    let length = nd::router_advertisement(&mut frame, local, advert);
    messages.push(frame[14..length].to_vec());
    let mut solicitation =
        ipv6("fe80::9", "ff02::2", next::ICMP6, &[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 9]);
    solicitation[7] = nd::HOP_LIMIT;
    messages.push(solicitation);
    messages
}

/// Inputs of [`quote`]: errors from a router of the underlay to a task, one per mode.
pub(crate) fn quotes() -> Vec<Vec<u8>> {
    let segment = [0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0xab, 0xcd, 0, 0, 1, 2, 3];
    let datagram = [0x9c, 0x40, 0, 53, 0, 9, 0x12, 0x34, 1];
    let mut quotes = Vec::new();
    for (first, to) in [
        (0, "fd00:2:0:a:3000::2"),
        (1, "fd00:3:0:c:2000::2"),
        (2, "fd00:2:0:b:2000::2"),
        (3, "fd00:2:0:d:2000::2"),
    ] {
        for (protocol, payload) in [(next::TCP, &segment[..]), (next::UDP, &datagram)] {
            let quoted = ipv6("2001:db8:a:0:2000::1", to, protocol, payload);
            let message = [&[3, 0, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
            let error = ipv6("fd00:1:0:a::ff", "2001:db8:a:0:2000::1", next::ICMP6, &message);
            quotes.push([&[first], &error[..]].concat());
        }
    }
    quotes
}
