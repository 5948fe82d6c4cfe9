//! Transport checksums under translation: which protocols have one, and its correction in mode `adj-transport`
//! (ILA draft §4.4).

use crate::net::checksum;
use crate::net::ipv6::{Upper, next};

/// Whether the checksum of an upper-layer protocol covers the IPv6 addresses (ILA draft §4.4; that of GRE does not).
///
/// The answer for an unknown protocol is true, because neutral mapping harms no protocol.
#[inline]
#[must_use]
pub const fn covers_addresses(protocol: u8) -> bool {
    !matches!(
        protocol,
        next::GRE | next::ESP | next::AH | next::NONE | next::IPV4 | next::IPV6 | next::ETHERIP | next::L2TP
    )
}

/// Offset in bytes of the checksum field within the header of TCP, UDP or ICMPv6; `None` for other protocols.
#[inline]
#[must_use]
pub const fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        next::TCP => Some(16),
        next::UDP => Some(6),
        next::ICMP6 => Some(2),
        _ => None,
    }
}

/// Corrects the transport checksum of `packet` after address words whose sum is `old` were replaced by words whose
/// sum is `new`.
///
/// `packet` starts at its IPv6 header. A fragment other than the first has no checksum. A UDP checksum of zero stays
/// zero; one that becomes zero is written as 0xffff (RFC 8200 §8.1). A packet that ends before its checksum is left
/// unchanged.
pub fn correct(packet: &mut [u8], upper: &Upper, old: u16, new: u16) {
    if upper.later_fragment {
        return;
    }
    let Some(offset) = checksum_offset(upper.protocol) else { return };
    let Some(field) = packet.get_mut(upper.offset + offset..).and_then(|rest| rest.first_chunk_mut::<2>())
    else {
        return;
    };
    let before = u16::from_be_bytes(*field);
    if upper.protocol == next::UDP && before == 0 {
        return;
    }
    let after = checksum::update(before, old, new);
    let after = if upper.protocol == next::UDP && after == 0 { 0xffff } else { after };
    *field = after.to_be_bytes();
}
