//! Builds packets to translate, and checks results with etherparse, an independent library.

mod errors;
mod fragments;
mod hostile;
mod laws;
mod rules4;
mod rules6;
mod walk;

use super::{Options, Refused, To4, To6, to_v4, to_v6};
use crate::net::fragment::Fragment;
use crate::net::ipv4::{self, Ipv4};
use crate::net::ipv6::{self, Ipv6, next};
use etherparse::checksum::Sum16BitWords;
use etherparse::{IpHeaders, PacketBuilder, TcpSlice, UdpSlice};
use std::ops::Range;

/// The IPv4 addresses of hosts A and B and their IPv6 counterparts. The pairs are not checksum-neutral.
pub(super) const A4: u32 = 0xc000_0201;
pub(super) const B4: u32 = 0xc633_640a;
pub(super) const A6: u128 = 0x2001_0db8_0001_0002_0003_0000_c000_0201;
pub(super) const B6: u128 = 0x2001_0db8_ffff_0000_0000_0000_c633_640a;

pub(super) const FROM_A6: To6 = To6 { source: A6, destination: B6 };
pub(super) const FROM_A4: To4 = To4 { source: A4, destination: B4, identification: 0x7777 };

/// Number of cases of a law: `count`, or that of `PROPTEST_CASES` if it is set. Miri and mutants run with fewer.
pub(super) fn cases(count: u32) -> proptest::test_runner::Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => proptest::test_runner::Config::default(),
        None => proptest::test_runner::Config::with_cases(count),
    }
}

/// Errors travel from B to A and quote what A sent to B.
pub(super) fn quoted6(source: u32, destination: u32) -> Option<(u128, u128)> {
    let map = |address| match address {
        A4 => Some(A6),
        B4 => Some(B6),
        _ => None,
    };
    Some((map(source)?, map(destination)?))
}

pub(super) fn quoted4(source: u128, destination: u128) -> Option<(u32, u32)> {
    let map = |address| match address {
        A6 => Some(A4),
        B6 => Some(B4),
        _ => None,
    };
    Some((map(source)?, map(destination)?))
}

/// Bytes before and after the packet in its buffer. A refusal must leave all of them unchanged.
pub(super) const FRONT: usize = 96;
const BACK: usize = 16;

pub(super) fn room_of(packet: &[u8]) -> (Vec<u8>, Range<usize>) {
    let room = [&[0xa5; FRONT][..], packet, &[0x5a; BACK]].concat();
    (room, FRONT..FRONT + packet.len())
}

fn checked(
    packet: &[u8],
    translate: impl FnOnce(&mut [u8], Range<usize>) -> Result<Range<usize>, Refused>,
) -> Result<Vec<u8>, Refused> {
    let (mut room, at) = room_of(packet);
    let before = room.clone();
    let end = at.end;
    let result = translate(&mut room, at);
    assert_eq!(room[end..], before[end..], "written past the packet");
    match result {
        Ok(at) => {
            assert_eq!(room[..at.start], before[..at.start], "written in front of the result");
            Ok(room[at].to_vec())
        }
        Err(refused) => {
            assert_eq!(room, before, "changed though refused: {refused:?}");
            Err(refused)
        }
    }
}

pub(super) fn into_v6(packet: &[u8], to: &To6, options: &Options) -> Result<Vec<u8>, Refused> {
    checked(packet, |room, at| to_v6(room, at, to, quoted6, options))
}

pub(super) fn into_v4(packet: &[u8], to: &To4, options: &Options) -> Result<Vec<u8>, Refused> {
    let translated = checked(packet, |room, at| to_v4(room, at, to, quoted4, options))?;
    assert!(translated.len() <= packet.len());
    Ok(translated)
}

/// A packet from A to B, translated with every option at its default.
pub(super) fn there6(packet: &[u8]) -> Result<Vec<u8>, Refused> {
    into_v6(packet, &FROM_A6, &Options::default())
}

pub(super) fn there4(packet: &[u8]) -> Result<Vec<u8>, Refused> {
    into_v4(packet, &FROM_A4, &Options::default())
}

/// An error from B to A.
pub(super) fn error6(packet: &[u8]) -> Result<Vec<u8>, Refused> {
    into_v6(packet, &To6 { source: B6, destination: A6 }, &Options::default())
}

pub(super) fn error4(packet: &[u8]) -> Result<Vec<u8>, Refused> {
    into_v4(packet, &To4 { source: B4, destination: A4, identification: 9 }, &Options::default())
}

/// An IPv4 packet from `source` to `destination`, DF set.
pub(super) fn v4(source: u32, destination: u32, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv4::HEADER];
    let mut view = Ipv4::of_mut(&mut packet).unwrap();
    view.write((ipv4::HEADER + payload.len()) as u16, protocol, 64, source, destination);
    view.set_identification(0x4321);
    view.set_fragment(true, false, 0);
    ipv4::seal(&mut packet);
    packet.extend_from_slice(payload);
    packet
}

/// Changes the header of an IPv4 packet and makes its checksum right again.
pub(super) fn edit4(packet: &mut [u8], change: impl FnOnce(Ipv4<&mut [u8; ipv4::HEADER]>)) {
    change(Ipv4::of_mut(packet).unwrap());
    let length = Ipv4::of(packet).unwrap().header_length();
    ipv4::seal(&mut packet[..length]);
}

/// The same packet with options, whose length is a multiple of 4.
pub(super) fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut longer = [&packet[..20], options, &packet[20..]].concat();
    let total = longer.len() as u16;
    edit4(&mut longer, |mut view| {
        view.set_header_length(20 + options.len());
        view.set_total_length(total);
    });
    longer
}

pub(super) fn v6(source: u128, destination: u128, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv6::HEADER];
    let mut view = Ipv6::of_mut(&mut packet).unwrap();
    view.write(payload.len() as u16, next_header, 64, source, destination);
    packet.extend_from_slice(payload);
    packet
}

/// A fragment header in front of `payload`.
pub(super) fn fragment_of(offset: u16, more: bool, identification: u32, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 8];
    Fragment { offset, more, identification }.write(&mut header, next);
    [&header, payload].concat()
}

/// The upper layers that the translator distinguishes, built by etherparse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upper {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
}

pub(super) const UPPERS: [Upper; 4] = [Upper::Tcp, Upper::Udp, Upper::EchoRequest, Upper::EchoReply];

pub(super) fn segment4(upper: Upper, data: &[u8]) -> (u8, Vec<u8>) {
    let builder = PacketBuilder::ipv4(A4.to_be_bytes(), B4.to_be_bytes(), 64);
    let mut bytes = Vec::new();
    let protocol = match upper {
        Upper::Tcp => builder.tcp(1000, 80, 7, 1024).write(&mut bytes, data).map(|()| 6),
        Upper::Udp => builder.udp(1000, 53).write(&mut bytes, data).map(|()| 17),
        Upper::EchoRequest => builder.icmpv4_echo_request(3, 4).write(&mut bytes, data).map(|()| 1),
        Upper::EchoReply => builder.icmpv4_echo_reply(3, 4).write(&mut bytes, data).map(|()| 1),
    };
    (protocol.unwrap(), bytes.split_off(20))
}

pub(super) fn segment6(upper: Upper, data: &[u8]) -> (u8, Vec<u8>) {
    let builder = PacketBuilder::ipv6(A6.to_be_bytes(), B6.to_be_bytes(), 64);
    let mut bytes = Vec::new();
    let protocol = match upper {
        Upper::Tcp => builder.tcp(1000, 80, 7, 1024).write(&mut bytes, data).map(|()| 6),
        Upper::Udp => builder.udp(1000, 53).write(&mut bytes, data).map(|()| 17),
        Upper::EchoRequest => builder.icmpv6_echo_request(3, 4).write(&mut bytes, data).map(|()| 58),
        Upper::EchoReply => builder.icmpv6_echo_reply(3, 4).write(&mut bytes, data).map(|()| 58),
    };
    (protocol.unwrap(), bytes.split_off(40))
}

pub(super) fn packet4(upper: Upper, data: &[u8]) -> Vec<u8> {
    let (protocol, segment) = segment4(upper, data);
    v4(A4, B4, protocol, &segment)
}

pub(super) fn packet6(upper: Upper, data: &[u8]) -> Vec<u8> {
    let (protocol, segment) = segment6(upper, data);
    v6(A6, B6, protocol, &segment)
}

/// Whether etherparse finds every checksum of the packet right, upper layer included.
pub(super) fn is_right(packet: &[u8]) -> bool {
    let Ok((headers, payload)) = IpHeaders::from_slice(packet) else { return false };
    let upper = payload.payload;
    match headers {
        IpHeaders::Ipv4(header, _) => {
            let (source, destination) = (header.source, header.destination);
            header.header_checksum == header.calc_header_checksum()
                && match payload.ip_number.0 {
                    6 => TcpSlice::from_slice(upper).is_ok_and(|tcp| {
                        tcp.calc_checksum_ipv4(source, destination).is_ok_and(|sum| sum == tcp.checksum())
                    }),
                    17 => {
                        let udp = UdpSlice::from_slice(upper).unwrap().to_header();
                        let sum = udp.calc_checksum_ipv4_raw(source, destination, &upper[8..]).unwrap();
                        // Most stacks write 0xffff for a sum of zero, and so does etherparse.
                        udp.checksum == sum
                    }
                    1 => Sum16BitWords::new().add_slice(upper).ones_complement() == 0,
                    _ => true,
                }
        }
        IpHeaders::Ipv6(header, _) => {
            let (source, destination) = (header.source, header.destination);
            match payload.ip_number.0 {
                6 => TcpSlice::from_slice(upper).is_ok_and(|tcp| {
                    tcp.calc_checksum_ipv6(source, destination).is_ok_and(|sum| sum == tcp.checksum())
                }),
                17 => {
                    let udp = UdpSlice::from_slice(upper).unwrap().to_header();
                    udp.checksum == udp.calc_checksum_ipv6_raw(source, destination, &upper[8..]).unwrap()
                }
                next::ICMP6 => etherparse::Icmpv6Slice::from_slice(upper)
                    .is_ok_and(|icmp| icmp.is_checksum_valid(source, destination)),
                _ => true,
            }
        }
    }
}
