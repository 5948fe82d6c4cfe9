//! Packets to send, and what etherparse says of packets received.

use etherparse::{Icmpv6Slice, IpNumber, Ipv6Slice, TcpHeader, TcpSlice, UdpHeader, UdpSlice};
use ilagate::net::Mac;

/// An untagged frame around an IPv6 packet.
pub fn frame(to: Mac, from: Mac, l3: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0[..], &[0x86, 0xdd], l3].concat()
}

/// A frame with an 802.1Q tag.
pub fn tagged(to: Mac, from: Mac, vlan: u16, l3: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0[..], &[0x81, 0x00], &vlan.to_be_bytes()[..], &[0x86, 0xdd], l3].concat()
}

/// An IPv6 packet with hop limit 64, some traffic class and some flow label.
pub fn ipv6(source: u128, destination: u128, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x61, 0x23, 0x45, 0x67];
    packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[next, 64]);
    packet.extend_from_slice(&source.to_be_bytes());
    packet.extend_from_slice(&destination.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

pub fn source(l3: &[u8]) -> u128 {
    u128::from_be_bytes(l3[8..24].try_into().unwrap())
}

pub fn destination(l3: &[u8]) -> u128 {
    u128::from_be_bytes(l3[24..40].try_into().unwrap())
}

/// Source and destination in text.
pub fn line(l3: &[u8]) -> String {
    let text = |address: u128| std::net::Ipv6Addr::from(address).to_string();
    format!("{},{}", text(source(l3)), text(destination(l3)))
}

pub fn tcp(source: u128, destination: u128, data: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(40000, 443, 7, 1000);
    header.checksum =
        header.calc_checksum_ipv6_raw(source.to_be_bytes(), destination.to_be_bytes(), data).unwrap();
    [&header.to_bytes()[..], data].concat()
}

pub fn udp(source: u128, destination: u128, data: &[u8]) -> Vec<u8> {
    let mut header =
        UdpHeader { source_port: 40000, destination_port: 53, length: 8 + data.len() as u16, checksum: 0 };
    header.checksum =
        header.calc_checksum_ipv6_raw(source.to_be_bytes(), destination.to_be_bytes(), data).unwrap();
    [&header.to_bytes()[..], data].concat()
}

/// An ICMPv6 message of any type; `rest` follows the checksum.
pub fn icmp6(source: u128, destination: u128, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], rest].concat();
    let sum = ilagate::net::checksum::transport(source, destination, 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    assert!(
        Icmpv6Slice::from_slice(&message)
            .is_ok_and(|slice| slice.is_checksum_valid(source.to_be_bytes(), destination.to_be_bytes()))
            || message.len() < 8
    );
    message
}

/// An ICMPv6 error about `quote`, as a packet.
pub fn icmp6_error(from: u128, to: u128, kind: u8, code: u8, parameter: u32, quote: &[u8]) -> Vec<u8> {
    let rest = [&parameter.to_be_bytes()[..], quote].concat();
    ipv6(from, to, 58, &icmp6(from, to, kind, code, &rest))
}

/// Whether the transport checksum of an IPv6 packet is right, by etherparse. `None`: there is none to check.
pub fn checksum_ok(l3: &[u8]) -> Option<bool> {
    let slice = Ipv6Slice::from_slice(l3).expect("an IPv6 packet");
    assert!(!slice.is_payload_fragmented());
    transport_ok(slice.payload().ip_number, slice.payload().payload, source(l3), destination(l3))
}

/// The same of a transport segment alone.
pub fn transport_ok(number: IpNumber, payload: &[u8], source: u128, destination: u128) -> Option<bool> {
    let (from, to) = (source.to_be_bytes(), destination.to_be_bytes());
    let same = |a: u16, b: u16| a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0);
    match number {
        IpNumber::TCP => {
            let tcp = TcpSlice::from_slice(payload).expect("TCP");
            Some(same(tcp.checksum(), tcp.calc_checksum_ipv6(from, to).unwrap()))
        }
        IpNumber::UDP => {
            let udp = UdpSlice::from_slice(payload).expect("UDP");
            if udp.checksum() == 0 {
                return None;
            }
            let right = udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload()).unwrap();
            Some(udp.checksum() == right)
        }
        IpNumber::IPV6_ICMP => {
            Some(Icmpv6Slice::from_slice(payload).expect("ICMPv6").is_checksum_valid(from, to))
        }
        _ => None,
    }
}

/// An ICMPv6 error received: type, code, parameter and the quoted packet.
pub struct Told<'p> {
    pub kind: u8,
    pub code: u8,
    pub parameter: u32,
    pub quote: &'p [u8],
}

/// Reads an ICMPv6 error and asserts that its checksum is right.
pub fn told(l3: &[u8]) -> Told<'_> {
    assert_eq!((l3[6], checksum_ok(l3)), (58, Some(true)));
    let parameter = u32::from_be_bytes(l3[44..48].try_into().unwrap());
    Told { kind: l3[40], code: l3[41], parameter, quote: &l3[48..] }
}
