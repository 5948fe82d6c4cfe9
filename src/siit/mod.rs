//! Stateless translation of one packet between IPv4 and IPv6, in its buffer (RFC 7915).
//!
//! The layer never chooses addresses, never decrements TTL or hop limit, and never sends. The caller maps addresses,
//! compares lengths with MTUs, sends the ICMP error that [`Refused::answer`] names, and fragments long packets with
//! [`fragment`]. A refused packet is left unchanged.
//!
//! The layer is stricter than RFC 7915 in one point. It refuses protocol numbers with another meaning in the other
//! family: IPv6 extension headers and ICMPv6 in IPv4, ICMP and IGMP in IPv6, AH in both. RFC 7915 §4.1 and
//! RFC 7915 §5.1 copy them, which would let a sender forge headers of the other family, or hide them behind AH. No
//! receiver could verify AH after translation anyway, because it covers the addresses (RFC 4302 §3.3.3).

mod error;
pub mod fragment;
mod head;
mod message;
mod refused;
mod transport;

#[cfg(test)]
mod tests;

pub use head::{WITHOUT_DF, check_options};
pub use refused::{Answer, Refused};
pub use transport::written;

use crate::net::ipv4::{self, protocol};
use crate::net::ipv6::{self, next};
use crate::net::{checksum, fragment as piece, icmp4, icmp6};
use head::Head;
use std::ops::Range;

/// The addresses of the IPv6 packet that is made from an IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To6 {
    /// The source address.
    pub source: u128,
    /// The destination address.
    pub destination: u128,
}

/// The addresses and the identification of the IPv4 packet that is made from an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To4 {
    /// The source address.
    pub source: u32,
    /// The destination address.
    pub destination: u32,
    /// Identification of the datagram, used when the IPv6 packet has no fragment header (RFC 7915 §5.1).
    pub identification: u16,
}

/// The choices that RFC 7915 leaves to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Copy type of service and traffic class; otherwise 0 is written (RFC 7915 §4.1, RFC 7915 §5.1).
    pub copies_class: bool,
    /// Compute the checksum of IPv4 UDP datagrams that have none; otherwise they are refused (RFC 7915 §4.5).
    pub computes_udp_checksum: bool,
    /// Lowest MTU of the IPv6 network in bytes: 1280, or more if the operator knows that every link has more. An IPv4
    /// packet with DF clear, ICMP aside, gets a fragment header when its IPv6 packet would be longer, for the caller to
    /// fragment it (RFC 7915 §4.1).
    pub lowest_mtu6: u16,
    /// MTU of the IPv4 next hop in bytes (RFC 7915 §4.2, RFC 7915 §5.2).
    pub mtu4: u16,
    /// MTU of the IPv6 next hop in bytes (RFC 7915 §4.2, RFC 7915 §5.2).
    pub mtu6: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            copies_class: true,
            computes_udp_checksum: true,
            lowest_mtu6: ipv6::MIN_MTU,
            mtu4: 1500,
            mtu6: 1500,
        }
    }
}

/// The most bytes in front of a packet that [`to_v6`] needs. The outer and the quoted header grow, and RFC 4884 §3 pads
/// the quote.
pub const HEADROOM: usize = 2 * (ipv6::HEADER - ipv4::HEADER) + piece::HEADER + 4;

/// Translates the IPv4 packet at `at` of `room` to IPv6; returns the range of the result (RFC 7915 §4).
///
/// `at` starts with the IPv4 header. Bytes after the packet's total length are not part of the result. The payload
/// stays in place; the header grows to the front: by 20 bytes, 28 with a fragment header, less the IPv4 options. An
/// ICMP error grows by at most [`HEADROOM`]. `quoted` maps source and destination of the packet that an ICMP error
/// quotes; `None` refuses the error. The result may be longer than an MTU: see [`fragment::v6`].
///
/// # Errors
/// [`Refused`]; `room` is then unchanged. For any packet: `Headroom`, `Truncated`, `Version`, `HeaderChecksum`,
/// `Option`, `SourceRoute`, `Fragment`, `FragmentedIcmp`, `Protocol`, `UdpWithoutChecksum` and `IcmpType`. For ICMP
/// errors also `IcmpCode`, `IcmpPointer`, `Quote`, `QuotedError` and `QuotedAddress`.
pub fn to_v6(
    room: &mut [u8],
    at: Range<usize>,
    to: &To6,
    quoted: impl Fn(u32, u32) -> Option<(u128, u128)>,
    options: &Options,
) -> Result<Range<usize>, Refused> {
    let packet = room.get(at.clone()).ok_or(Refused::Truncated)?;
    let head = Head::<u32>::accept(packet, options)?;
    let (upper, end) = (at.start + head.length, at.start + head.length + head.payload);
    let message = room.get(upper..end).ok_or(Refused::Truncated)?;
    let patch = match head.protocol {
        protocol::ICMP if icmp4::is_error(message.first().copied().ok_or(Refused::Truncated)?) => {
            return error::to_v6(room, &head, upper..end, to, quoted, options);
        }
        protocol::ICMP => {
            let pseudo =
                checksum::pseudo_header(to.source, to.destination, message.len() as u32, next::ICMP6);
            transport::query(message, message::query_to_6, 0, pseudo)?
        }
        _ => transport::to_6(message, &head, to, options)?,
    };
    let start = upper.checked_sub(head.length6()).ok_or(Refused::Headroom)?;
    head.write6(&mut room[start..upper], to);
    patch.apply(&mut room[upper..end]);
    Ok(start..end)
}

/// Translates the IPv6 packet at `at` of `room` to IPv4; returns the range of the result, within `at` (RFC 7915 §5).
///
/// `at` starts with the IPv6 header. Bytes after the packet's payload length are not part of the result. The payload
/// stays in place; the header shrinks from the front: by 20 bytes and the length of extension headers. In an ICMPv6
/// error the quoted packet shrinks too. `quoted` maps source and destination of the packet that an ICMPv6 error
/// quotes; `None` refuses the error. The result may be longer than an MTU: see [`fragment::v4`].
///
/// # Errors
/// [`Refused`]; `room` is then unchanged. For any packet: `Truncated`, `Version`, `Routing`, `TooManyExtensions`,
/// `FragmentedExtension`, `Fragment`, `FragmentedIcmp`, `TooLong`, `Protocol` and `IcmpType`. For ICMPv6 errors also
/// `Headroom`, `IcmpCode`, `IcmpPointer`, `Quote`, `QuotedError` and `QuotedAddress`.
pub fn to_v4(
    room: &mut [u8],
    at: Range<usize>,
    to: &To4,
    quoted: impl Fn(u128, u128) -> Option<(u32, u32)>,
    options: &Options,
) -> Result<Range<usize>, Refused> {
    let packet = room.get(at.clone()).ok_or(Refused::Truncated)?;
    let head = Head::<u128>::accept(packet, options)?;
    let (upper, end) = (at.start + head.length, at.start + head.length + head.payload);
    let message = room.get(upper..end).ok_or(Refused::Truncated)?;
    let patch = match head.protocol {
        next::ICMP6 if icmp6::is_error(message.first().copied().ok_or(Refused::Truncated)?) => {
            return error::to_v4(room, &head, upper..end, to, quoted, options);
        }
        next::ICMP6 => {
            let pseudo =
                checksum::pseudo_header(head.source, head.destination, message.len() as u32, next::ICMP6);
            transport::query(message, message::query_to_4, pseudo, 0)?
        }
        _ => transport::to_4(message, &head, to)?,
    };
    let start = upper.checked_sub(ipv4::HEADER).ok_or(Refused::Headroom)?;
    head.write4(&mut room[start..upper], to);
    patch.apply(&mut room[upper..end]);
    Ok(start..end)
}
