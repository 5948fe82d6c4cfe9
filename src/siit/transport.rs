//! Upper-layer checksums under translation (RFC 7915 §4.5, RFC 7915 §5.5).
//!
//! TCP, UDP and ICMPv6 checksums cover the addresses; ICMP checksums do not.

use super::head::Head;
use super::{Options, Refused, To4, To6, message};
use crate::ila::transport::checksum_offset;
use crate::net::checksum::{self, add, sum_of_address, sum_of_address4};
use crate::net::ipv4::protocol;
use crate::net::ipv6::next;
use crate::net::{icmp4, icmp6};

/// Offset in bytes of the checksum in ICMP and ICMPv6.
const ICMP_CHECKSUM: usize = 2;

/// The changes of an upper-layer header: the ICMP type, and the checksum with its offset.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patch {
    kind: Option<u8>,
    checksum: Option<(usize, u16)>,
}

impl Patch {
    /// Applies the changes to `upper`. Fields past its end are skipped.
    pub(super) fn apply(self, upper: &mut [u8]) {
        if let (Some(kind), Some(byte)) = (self.kind, upper.first_mut()) {
            *byte = kind;
        }
        let Some((at, value)) = self.checksum else { return };
        if let Some(field) = upper.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *field = u16::to_be_bytes(value);
        }
    }
}

/// The 16-bit field at offset `at` of `upper`; `None` past its end.
fn field(upper: &[u8], at: usize) -> Option<u16> {
    upper.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_be_bytes)
}

fn sums4(source: u32, destination: u32) -> u16 {
    add(sum_of_address4(source), sum_of_address4(destination))
}

fn sums6(source: u128, destination: u128) -> u16 {
    add(sum_of_address(source), sum_of_address(destination))
}

/// The value to write for a transport checksum. UDP writes 0xffff for 0, because 0 means that there is no checksum
/// (RFC 768).
#[inline]
#[must_use]
pub const fn written(protocol: u8, value: u16) -> u16 {
    if protocol == next::UDP && value == 0 { 0xffff } else { value }
}

/// Corrects the checksum of TCP or UDP after address words whose sum is `old` were replaced by words whose sum is
/// `new`.
///
/// Returns `None` when `upper` ends before the checksum. Length and protocol number in the pseudo headers of the two
/// families are the same, so that only the addresses count.
fn correct<A>(upper: &[u8], head: &Head<A>, old: u16, new: u16) -> Option<Patch> {
    let Some(at) = checksum_offset(head.protocol).filter(|_| !head.is_later()) else {
        return Some(Patch::default());
    };
    let before = field(upper, at)?;
    if head.protocol == next::UDP && before == 0 {
        return Some(Patch::default());
    }
    let value = written(head.protocol, checksum::update(before, old, new));
    Some(Patch { kind: None, checksum: Some((at, value)) })
}

/// Computes the checksum of a whole UDP datagram that has none.
fn compute_udp(upper: &[u8], to: &To6) -> Result<Patch, Refused> {
    let length = usize::from(field(upper, 4).ok_or(Refused::Truncated)?);
    let datagram = upper.get(..length).filter(|datagram| datagram.len() >= 8).ok_or(Refused::Truncated)?;
    let value = checksum::transport(to.source, to.destination, next::UDP, datagram);
    Ok(Patch { kind: None, checksum: Some((6, written(next::UDP, value))) })
}

/// The changes of an upper layer from IPv4 other than ICMP: the checksum of TCP and UDP, nothing for other protocols.
pub(super) fn to_6(upper: &[u8], head: &Head<u32>, to: &To6, options: &Options) -> Result<Patch, Refused> {
    if head.protocol == next::UDP && !head.is_later() && field(upper, 6) == Some(0) {
        // The first fragment does not hold all data that the checksum must cover.
        if head.is_piece() || !options.computes_udp_checksum {
            return Err(Refused::UdpWithoutChecksum);
        }
        return compute_udp(upper, to);
    }
    correct(upper, head, sums4(head.source, head.destination), sums6(to.source, to.destination))
        .ok_or(Refused::Truncated)
}

/// The changes of an upper layer from IPv6 other than ICMPv6: the checksum of TCP and UDP, nothing for other protocols.
///
/// A UDP checksum of zero, which RFC 6935 allows to tunnels, stays zero: IPv4 needs none.
pub(super) fn to_4(upper: &[u8], head: &Head<u128>, to: &To4) -> Result<Patch, Refused> {
    correct(upper, head, sums6(head.source, head.destination), sums4(to.source, to.destination))
        .ok_or(Refused::Truncated)
}

/// The changes of an ICMP message that is not an error: the type by `table`, and the checksum, in which the sum `new`
/// of the pseudo header replaces `old`.
pub(super) fn query(
    message: &[u8],
    table: fn(u8) -> Option<u8>,
    old: u16,
    new: u16,
) -> Result<Patch, Refused> {
    let word = message.get(..icmp4::HEADER).and_then(|header| field(header, 0)).ok_or(Refused::Truncated)?;
    let kind = table((word >> 8) as u8).ok_or(Refused::IcmpType)?;
    Ok(query_patch(message, word, kind, old, new))
}

fn query_patch(message: &[u8], word: u16, kind: u8, old: u16, new: u16) -> Patch {
    let after = u16::from(kind) << 8 | word & 0xff;
    let value = field(message, ICMP_CHECKSUM).map(|before| {
        match checksum::update(before, add(old, word), add(new, after)) {
            // One's complement has two zeros. In a message of zeros only 0xffff is the right checksum.
            0 if after == 0 && message.iter().skip(ICMP_CHECKSUM + 2).all(|byte| *byte == 0) => 0xffff,
            value => value,
        }
    });
    Patch { kind: Some(kind), checksum: value.map(|value| (ICMP_CHECKSUM, value)) }
}

/// The sum of the pseudo header of a quoted ICMPv6 message.
///
/// A first fragment does not tell the length of the whole message. The length of the fragment is used instead; the
/// receiver cannot verify the quoted checksum of a fragment anyway.
fn quoted_pseudo(source: u128, destination: u128, payload: usize) -> u16 {
    checksum::pseudo_header(source, destination, payload as u32, next::ICMP6)
}

/// The changes of a quoted ICMP message that is not an error. Any part of it may be missing.
fn quoted_query(
    upper: &[u8],
    is_error: fn(u8) -> bool,
    table: fn(u8) -> Option<u8>,
    old: u16,
    new: u16,
) -> Result<Patch, Refused> {
    let Some(kind) = upper.first() else { return Ok(Patch::default()) };
    if is_error(*kind) {
        return Err(Refused::QuotedError);
    }
    let translated = table(*kind).ok_or(Refused::Quote)?;
    // If the quote ends within the first word, it has no checksum either.
    let word = field(upper, 0).unwrap_or_default();
    Ok(query_patch(upper, word, translated, old, new))
}

/// The changes of the upper layer of a packet that an ICMP error quotes. The quote may be truncated.
pub(super) fn quoted_to_6(upper: &[u8], head: &Head<u32>, to: &To6) -> Result<Patch, Refused> {
    if head.protocol == protocol::ICMP && !head.is_later() {
        let pseudo = quoted_pseudo(to.source, to.destination, head.payload);
        return quoted_query(upper, icmp4::is_error, message::query_to_6, 0, pseudo);
    }
    let (old, new) = (sums4(head.source, head.destination), sums6(to.source, to.destination));
    Ok(correct(upper, head, old, new).unwrap_or_default())
}

/// The changes of the upper layer of a packet that an ICMPv6 error quotes. The quote may be truncated.
pub(super) fn quoted_to_4(upper: &[u8], head: &Head<u128>, to: &To4) -> Result<Patch, Refused> {
    if head.protocol == next::ICMP6 && !head.is_later() {
        let pseudo = quoted_pseudo(head.source, head.destination, head.payload);
        return quoted_query(upper, icmp6::is_error, message::query_to_4, pseudo, 0);
    }
    let (old, new) = (sums6(head.source, head.destination), sums4(to.source, to.destination));
    Ok(correct(upper, head, old, new).unwrap_or_default())
}
