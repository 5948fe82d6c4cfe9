//! Targets of messages that tenants send: what is accepted and written again is accepted again, and says the same.
//!
//! Each is fed as it is, and with what a stranger cannot guess made right: lengths, hop limits and checksums.

use super::siit::{ENDS4, ENDS6, into_v4, into_v6};
use ilagate::net::arp::{self, Arp, Kind, Operation};
use ilagate::net::igmp::{self, Version};
use ilagate::net::ipv4::{self, Ipv4, protocol};
use ilagate::net::ipv6::{self, Ipv6, next};
use ilagate::net::membership::{Change, Interest};
use ilagate::net::{Mac, checksum, ethernet, icmp4, icmp6, mld};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// ARP and RARP. The first byte tells which of the two ethertypes, or another one.
pub fn arp(bytes: &[u8]) {
    let Some((first, payload)) = bytes.split_first() else { return };
    let kind = [ethernet::ARP, ethernet::RARP, ethernet::IPV4][usize::from(first % 3)];
    said(kind, payload);
    let mut right = payload.to_vec();
    if let Some(head) = right.first_chunk_mut::<8>() {
        let operation = [[1, 2], [3, 4]][usize::from(first & 1)][usize::from(head[7] & 1)];
        *head = [0, 1, 8, 0, 6, 4, 0, operation];
    }
    said(kind, &right);
}

fn said(kind: u16, payload: &[u8]) {
    let message = match arp::parse(kind, payload) {
        Ok(message) => message,
        Err(arp::Invalid::Length) => return assert!(payload.len() < arp::LENGTH),
        Err(why) => return assert_eq!(why == arp::Invalid::Ethertype, kind == ethernet::IPV4),
    };
    assert_eq!(message.operation.ethertype(), kind);
    // The padding says nothing, and all that is not padding is kept.
    assert_eq!(arp::parse(kind, &payload[..arp::LENGTH]), Ok(message));
    let mut frame = [0xa5; arp::MAX_FRAME];
    for vlan in [0, 7] {
        let length = arp::write(&mut frame, MAC, vlan, &message);
        let link = ethernet::parse(&frame[..length]).expect("a link header");
        assert_eq!((link.vlan, link.ethertype, length), (vlan, kind, link.header + 46));
        assert_eq!(frame[link.header..link.header + arp::LENGTH], payload[..arp::LENGTH]);
        assert!(frame[link.header + arp::LENGTH..length].iter().all(|byte| *byte == 0));
    }
    let mut heard = |write: &dyn Fn(&mut [u8; arp::MAX_FRAME]) -> usize| {
        let length = write(&mut frame);
        arp::parse(kind, &frame[ethernet::HEADER..length])
    };
    match message.kind() {
        Kind::Request | Kind::Probe | Kind::Gratuitous if message.operation == Operation::Request => {
            let wanted = Arp {
                operation: Operation::Reply,
                sender_mac: MAC,
                sender: message.target,
                target_mac: message.sender_mac,
                target: message.sender,
            };
            assert_eq!(heard(&|frame| arp::reply(frame, &message, MAC, 0)), Ok(wanted));
        }
        Kind::ReverseRequest => {
            let (server, answer) = ((MAC, ENDS4.0), ENDS4.1);
            let told = heard(&|frame| arp::reverse_reply(frame, &message, server, 0, answer));
            let told = told.expect("an answer");
            assert_eq!((told.kind(), told.target_mac), (Kind::ReverseReply, message.target_mac));
            assert_eq!((told.sender, told.target), (server.1, answer));
        }
        _ => {}
    }
}

/// A report of the newest version that says what `changes` say: 8 bytes, and a record for each.
fn report<A: Copy>(kind: u8, changes: &[Change<A>], group: impl Fn(A) -> Vec<u8>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0];
    message.extend_from_slice(&(changes.len() as u16).to_be_bytes());
    for change in changes {
        let kind = match (change.interest, change.sources) {
            (Interest::Join, 0) => 4,
            (Interest::Join, _) => 1,
            (Interest::Leave, _) => 3,
            (Interest::Fewer, _) => 6,
        };
        let group = group(change.group);
        message.extend_from_slice(&[kind, 0]);
        message.extend_from_slice(&change.sources.to_be_bytes());
        message.extend_from_slice(&group);
        message.resize(message.len() + group.len() * usize::from(change.sources), 0);
    }
    message
}

/// An IPv4 packet with a router alert.
fn alerted4(message: &[u8]) -> Vec<u8> {
    let mut packet = [&[0; ipv4::HEADER], &[148, 4, 0, 0][..], message].concat();
    right4(&mut packet);
    packet
}

/// Makes the header and the message's checksum right.
fn right4(packet: &mut [u8]) {
    let total = packet.len() as u16;
    let Some(mut view) = Ipv4::of_mut(packet) else { return };
    let length = if view.header_length() < ipv4::HEADER { ipv4::HEADER + 4 } else { view.header_length() };
    let (source, destination) = (view.source(), view.destination());
    view.write(total, protocol::IGMP, 1, source, destination);
    view.set_header_length(length);
    let length = length.min(packet.len());
    ipv4::seal(&mut packet[..length]);
    seal(&mut packet[length..], 0);
}

/// Sets the checksum of an ICMP or IGMP message, whose pseudo header has this sum.
fn seal(message: &mut [u8], pseudo: u16) {
    if message.len() >= 4 {
        message[2..4].fill(0);
        let sum = !checksum::add(checksum::sum_of_bytes(message), pseudo);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// IGMP of all versions.
pub fn igmp(bytes: &[u8]) {
    heard4(bytes);
    let mut right = bytes[..bytes.len().min(1500)].to_vec();
    right4(&mut right);
    heard4(&right);
}

fn heard4(packet: &[u8]) {
    let Ok(message) = igmp::parse(packet) else { return };
    let view = Ipv4::of(packet).expect("an accepted message has a header");
    let total = usize::from(view.total_length());
    assert!(ipv4::header(packet).is_some_and(ipv4::is_intact) && total <= packet.len());
    // What lies behind the packet plays no part.
    assert_eq!(igmp::parse(&packet[..total]), Ok(message.clone()));
    let body = &packet[view.header_length()..total];
    match message {
        igmp::Message::Query(query) => {
            assert!(query.group.is_none_or(|group| group >> 28 == 0xe));
            assert!((query.version == Version::V3) == (body.len() >= 12) && query.robustness < 8);
            assert!(usize::from(query.sources) * 4 <= body.len() - 8);
            let mut frame = [0xa5; igmp::MAX_FRAME];
            let length = igmp::query(&mut frame, MAC, 0, &query);
            let again = igmp::parse(&frame[ethernet::HEADER..length]);
            assert_eq!(again, Ok(igmp::Message::Query(igmp::Query { sources: 0, ..query })));
        }
        igmp::Message::Report(changes) => {
            let changes: Vec<igmp::Change> = changes.collect();
            assert!(
                changes.iter().all(|change| change.group >> 28 == 0xe && change.group != igmp::ALL_SYSTEMS)
            );
            let written = report(0x22, &changes, |group: u32| group.to_be_bytes().to_vec());
            assert!(changes.len() <= 1 || written.len() <= body.len());
            let packet = alerted4(&written);
            let Ok(igmp::Message::Report(again)) = igmp::parse(&packet) else { panic!("no report") };
            assert!(again.eq(changes));
        }
    }
}

/// The hop-by-hop header of MLD.
const ALERT: [u8; 8] = [next::ICMP6, 0, 5, 2, 0, 0, 1, 0];

/// MLD of both versions.
pub fn mld(bytes: &[u8]) {
    heard6(bytes);
    let mut right = bytes[..bytes.len().min(1500)].to_vec();
    right6(&mut right);
    heard6(&right);
}

/// Makes header and checksum right, and the source link-local.
fn right6(packet: &mut [u8]) {
    let payload = packet.len().saturating_sub(ipv6::HEADER);
    let Some(mut view) = Ipv6::of_mut(packet) else { return };
    let source = if view.source() == 0 { 0 } else { 0xfe80 << 112 | view.source() as u64 as u128 };
    let destination = view.destination();
    view.write(payload as u16, next::HOP_BY_HOP, 1, source, destination);
    if let Some(extension) = packet.get_mut(ipv6::HEADER..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        extension[0] = next::ICMP6;
        let start = ipv6::HEADER + 8 + 8 * usize::from(extension[1]);
        let message = packet.get_mut(start..).unwrap_or(&mut []);
        seal(message, checksum::pseudo_header(source, destination, message.len() as u32, next::ICMP6));
    }
}

fn heard6(packet: &[u8]) {
    let Ok(message) = mld::parse(packet) else { return };
    let view = Ipv6::of(packet).expect("an accepted message has a header");
    let (source, destination) = (view.source(), view.destination());
    let end = ipv6::HEADER + usize::from(view.payload_length());
    assert!(view.hop_limit() == 1 && end <= packet.len());
    assert_eq!(mld::parse(&packet[..end]), Ok(message.clone()));
    let upper = ipv6::upper(&packet[..end]).expect("nothing but hop-by-hop");
    assert_eq!(upper.protocol, packet[ipv6::HEADER]);
    let body = &packet[ipv6::HEADER + 8 + 8 * usize::from(packet[ipv6::HEADER + 1])..end];
    match message {
        mld::Message::Query(query) => {
            assert!(ipv6::is_link_local(source) && query.querier == source);
            assert!(query.group.is_none_or(ipv6::is_multicast) && query.robustness < 8);
            assert!((query.version == mld::Version::V2) == (body.len() >= 28));
            assert!(usize::from(query.sources) * 16 <= body.len() - 24);
            let mut frame = [0xa5; mld::MAX_FRAME];
            let length = mld::query(&mut frame, MAC, 0, &query);
            let again = mld::parse(&frame[ethernet::HEADER..length]);
            assert_eq!(again, Ok(mld::Message::Query(mld::Query { sources: 0, ..query })));
        }
        mld::Message::Report(changes) => {
            assert!(ipv6::is_link_local(source) || source == 0);
            let changes: Vec<mld::Change> = changes.collect();
            let reported = |group| ipv6::is_multicast(group) && group != mld::ALL_NODES;
            assert!(changes.iter().all(|change| reported(change.group) && (change.group >> 112) & 0xf > 1));
            let written = report(143, &changes, |group: u128| group.to_be_bytes().to_vec());
            assert!(changes.len() <= 1 || written.len() <= body.len());
            let mut packet = [&packet[..ipv6::HEADER], &ALERT, &written].concat();
            right6(&mut packet);
            let Ok(mld::Message::Report(again)) = mld::parse(&packet) else { panic!("no report") };
            assert!(again.eq(changes));
            assert_eq!(Ipv6::of(&packet).map(|view| view.destination()), Some(destination));
        }
    }
}

/// ICMP and ICMPv6 through translation, with a right checksum: an error stays one, the checksum right, and what is no
/// error comes back as it was. The lowest bit of the first byte tells the family.
pub fn icmp(bytes: &[u8]) {
    let Some((first, message)) = bytes.split_first() else { return };
    let mut message = message[..message.len().min(1400)].to_vec();
    if first & 1 == 0 {
        seal(&mut message, 0);
        let Some(six) = into_v6(&in4(&message)) else { return };
        let view = Ipv6::of(&six).expect("an IPv6 header");
        let told = &six[ipv6::HEADER..];
        assert_eq!(view.next_header(), next::ICMP6);
        assert_eq!(checksum::transport(view.source(), view.destination(), next::ICMP6, told), 0);
        assert_eq!(icmp6::is_error(told[0]), icmp4::is_error(message[0]));
        if icmp6::is_error(told[0]) {
            return assert!(six.len() <= usize::from(ipv6::MIN_MTU) && told.len() >= icmp6::ERROR_HEADER);
        }
        assert_eq!(told[4..], message[4..]);
        let four = into_v4(&six).expect("what is no error comes back");
        assert!(same(&four[ipv4::HEADER..], &message));
    } else {
        let pseudo = checksum::pseudo_header(ENDS6.0, ENDS6.1, message.len() as u32, next::ICMP6);
        seal(&mut message, pseudo);
        let Some(four) = into_v4(&in6(&message)) else { return };
        let told = &four[ipv4::HEADER..];
        assert_eq!(Ipv4::of(&four).map(|view| view.protocol()), Some(protocol::ICMP));
        assert_eq!(checksum::sum_of_bytes(told), 0xffff);
        assert_eq!(icmp4::is_error(told[0]), icmp6::is_error(message[0]));
        if icmp4::is_error(told[0]) {
            return assert!(four.len() <= ipv4::MIN_REASSEMBLY && told.len() >= icmp4::HEADER);
        }
        assert_eq!(told[4..], message[4..]);
        let six = into_v6(&four).expect("what is no error comes back");
        assert!(same(&six[ipv6::HEADER..], &message));
    }
}

/// Whether messages are the same, but for which of its two zeros a checksum is.
fn same(one: &[u8], other: &[u8]) -> bool {
    let zero = |bytes: &[u8]| matches!(bytes.get(2..4), Some([0, 0] | [0xff, 0xff]));
    one[..2] == other[..2] && one[4..] == other[4..] && (one[2..4] == other[2..4] || zero(one) && zero(other))
}

fn in4(message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv4::HEADER];
    if let Some(mut view) = Ipv4::of_mut(&mut packet) {
        view.write((ipv4::HEADER + message.len()) as u16, protocol::ICMP, 64, ENDS4.0, ENDS4.1);
    }
    ipv4::seal(&mut packet);
    [packet, message.to_vec()].concat()
}

fn in6(message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv6::HEADER];
    if let Some(mut view) = Ipv6::of_mut(&mut packet) {
        view.write(message.len() as u16, next::ICMP6, 64, ENDS6.0, ENDS6.1);
    }
    [packet, message.to_vec()].concat()
}

/// Inputs of [`arp`].
pub(crate) fn addresses() -> Vec<Vec<u8>> {
    let mut frame = [0; arp::MAX_FRAME];
    let (here, there) = (0x0a00_0001, 0x0a00_0002);
    let mut inputs = Vec::new();
    for (operation, sender, target) in [
        (Operation::Request, here, there),
        (Operation::Request, 0, there),
        (Operation::Request, here, here),
        (Operation::Reply, here, there),
        (Operation::ReverseRequest, 0, 0),
        (Operation::ReverseReply, here, there),
    ] {
        let message = Arp { operation, sender_mac: MAC, sender, target_mac: Mac::ZERO, target };
        let length = arp::write(&mut frame, Mac::BROADCAST, 0, &message);
        let first = u8::from(operation.ethertype() == ethernet::RARP);
        inputs.push([&[first], &frame[ethernet::HEADER..length]].concat());
    }
    inputs
}

/// One change of every kind.
fn changes<A: Copy>(groups: [A; 2]) -> Vec<Change<A>> {
    let of = |interest, sources| groups.map(|group| Change { group, interest, sources });
    [of(Interest::Join, 0), of(Interest::Join, 3), of(Interest::Leave, 0), of(Interest::Fewer, 1)].concat()
}

/// Inputs of [`igmp`].
pub(crate) fn reports4() -> Vec<Vec<u8>> {
    let group = 0xef01_0203u32;
    let mut inputs =
        vec![alerted4(&report(0x22, &changes([group, 0xe000_0016]), |g: u32| g.to_be_bytes().to_vec()))];
    for kind in [0x12, 0x16, 0x17] {
        inputs.push(alerted4(&[&[kind, 0, 0, 0][..], &group.to_be_bytes()].concat()));
    }
    let mut frame = [0; igmp::MAX_FRAME];
    for version in [Version::V1, Version::V2, Version::V3] {
        for group in [None, Some(group)] {
            let query = igmp::Query {
                version,
                querier: 0x0a00_00fe,
                group,
                max_response_ds: 100,
                sources: 0,
                suppress: true,
                robustness: 2,
                interval_s: 125,
            };
            igmp::query(&mut frame, MAC, 0, &query);
            let total = usize::from(frame[17]);
            inputs.push(frame[ethernet::HEADER..ethernet::HEADER + total].to_vec());
        }
    }
    inputs
}

/// Inputs of [`mld`].
pub(crate) fn reports6() -> Vec<Vec<u8>> {
    let group = 0xff05 << 112 | 0x1234u128;
    let in6 = |message: &[u8]| {
        let mut packet = [&[0; ipv6::HEADER], &ALERT[..], message].concat();
        if let Some(mut view) = Ipv6::of_mut(&mut packet) {
            view.write(0, 0, 0, 9, mld::ALL_MLD2_ROUTERS);
        }
        right6(&mut packet);
        packet
    };
    let all = changes([group, 0xff0e << 112 | 7]);
    let mut inputs = vec![in6(&report(143, &all, |g: u128| g.to_be_bytes().to_vec()))];
    for kind in [131, 132] {
        inputs.push(in6(&[&[kind, 0, 0, 0, 0, 0, 0, 0][..], &group.to_be_bytes()].concat()));
    }
    let mut frame = [0; mld::MAX_FRAME];
    for version in [mld::Version::V1, mld::Version::V2] {
        for group in [None, Some(group)] {
            let query = mld::Query {
                version,
                querier: 0xfe80 << 112 | 1,
                group,
                max_response_ms: 10_000,
                sources: 0,
                suppress: true,
                robustness: 2,
                interval_s: 125,
            };
            let length = mld::query(&mut frame, MAC, 0, &query);
            inputs.push(frame[ethernet::HEADER..length].to_vec());
        }
    }
    inputs
}

/// Inputs of [`icmp`]: questions and errors of both families.
pub(crate) fn icmps() -> Vec<Vec<u8>> {
    let (mut four, mut six) = (in4(&[8, 0, 0, 0, 0, 1, 0, 2, 7, 7]), in6(&[128, 0, 0, 0, 0, 1, 0, 2, 7, 7]));
    four.resize(four.len() + 120, 7);
    six.resize(six.len() + 120, 7);
    let mut inputs = Vec::new();
    for kind in [0, 8] {
        inputs.push([&[0, kind][..], &[0; 9]].concat());
        inputs.push([&[1, kind / 8 + 128][..], &[0; 9]].concat());
    }
    for (kind, code, word) in
        [(3, 1, 0), (3, 4, 1400), (3, 3, 0x0020_0000), (11, 0, 0), (12, 0, 0x0800_0000u32)]
    {
        inputs.push([&[0, kind, code, 0, 0][..], &word.to_be_bytes(), &four].concat());
    }
    for (kind, code, word) in
        [(1, 0, 0), (1, 4, 0x1000_0000), (2, 0, 1400), (3, 0, 0), (4, 0, 7u32), (4, 1, 6)]
    {
        inputs.push([&[1, kind, code, 0, 0][..], &word.to_be_bytes(), &six].concat());
    }
    inputs
}
