//! Stateless translation between IPv4 and IPv6 (RFC 7915), of one packet in its buffer.
//!
//! Knows nothing of how addresses are chosen, never counts down TTL or hop limit, never sends: the caller maps
//! addresses, compares lengths with MTUs, answers what [`Refused::answer`] says, and splits what is too long with
//! [`fragment`]. A packet that is refused is left as it was.
//!
//! Beyond RFC 7915, protocol numbers that mean something else in the other family (IPv6 extension headers and ICMPv6 in
//! IPv4, ICMP in IPv6) are refused: copied as §4.1 and §5.1 have it, they would let a sender forge headers of the other
//! family.

mod error;
pub mod fragment;
mod head;
mod message;
mod refused;
mod transport;

#[cfg(test)]
mod tests;

pub use head::WITHOUT_DF;
pub use refused::{Answer, Refused};
pub use transport::written;

use crate::net::ipv4::{self, protocol};
use crate::net::ipv6::{self, next};
use crate::net::{checksum, fragment as piece, icmp4, icmp6};
use head::Head;
use std::ops::Range;

/// Where an IPv6 packet made from an IPv4 packet comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To6 {
    /// The source address.
    pub source: u128,
    /// The destination address.
    pub destination: u128,
}

/// Where an IPv4 packet made from an IPv6 packet comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To4 {
    /// The source address.
    pub source: u32,
    /// The destination address.
    pub destination: u32,
    /// Names the datagram when there is no fragment header to take a name from (§5.1).
    pub identification: u16,
}

/// What RFC 7915 leaves to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Copy the type of service and the traffic class; otherwise 0 is written (§4.1, §5.1).
    pub copies_class: bool,
    /// Compute the checksum of UDP datagrams that come without one from IPv4; otherwise they are refused (§4.5).
    pub computes_udp_checksum: bool,
    /// Packets from IPv4 whose DF is clear get a fragment header when the IPv6 packet would be longer than this many
    /// bytes (§4.1): 1280, or more when every link is known to take more.
    pub lowest_mtu6: u16,
    /// MTU of the IPv4 next hop in bytes (§4.2, §5.2).
    pub mtu4: u16,
    /// MTU of the IPv6 next hop in bytes (§4.2, §5.2).
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

/// Most bytes in front of a packet that [`to_v6`] can need: outer and quoted header grow, and RFC 4884 pads the quote.
pub const HEADROOM: usize = 2 * (ipv6::HEADER - ipv4::HEADER) + piece::HEADER + 4;

/// Turns the IPv4 packet at `at` of `room` into an IPv6 packet, and says where it lies (RFC 7915 §4).
///
/// The payload stays where it is and the header grows to the front: by 20 bytes, 28 with a fragment header, less the
/// IPv4 options; an ICMP error by at most [`HEADROOM`]. `at` begins with the IPv4 header; bytes after the packet's total
/// length are left out of the result. `quoted` gives the addresses of a packet that an ICMP error quotes, from its
/// source and destination. The result can be longer than an MTU: see [`fragment::v6`].
///
/// # Errors
/// [`Refused`]; then `room` has not been changed.
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

/// Turns the IPv6 packet at `at` of `room` into an IPv4 packet, and says where it lies, within `at` (RFC 7915 §5).
///
/// The payload stays where it is and the header shrinks from the front: by 20 bytes and the length of extension headers;
/// an ICMPv6 error also by its quoted packet. `at` begins with the IPv6 header; bytes after the packet's payload length
/// are left out of the result. `quoted` gives the addresses of a packet that an ICMPv6 error quotes, from its source and
/// destination. The result can be longer than an MTU: see [`fragment::v4`].
///
/// # Errors
/// [`Refused`]; then `room` has not been changed.
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
