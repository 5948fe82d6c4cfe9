//! Transport checksums under translation: which payloads have one, and its correction (`adj-transport`).

use crate::net::checksum;
use crate::net::ipv6::{Upper, next};

/// Whether an upper-layer protocol carries a checksum over the IPv6 addresses (ILA draft §4.4: GRE does not).
///
/// Unknown protocols count as if they did: neutral mapping never harms.
#[inline]
#[must_use]
pub const fn covers_addresses(protocol: u8) -> bool {
    !matches!(
        protocol,
        next::GRE | next::ESP | next::AH | next::NONE | next::IPV4 | next::IPV6 | next::ETHERIP | next::L2TP
    )
}

/// Offset of the checksum field within the upper-layer header, for protocols whose checksum covers the addresses.
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

/// Corrects the transport checksum of `packet` (from its IPv6 header on) after address words summing to `old`
/// became words summing to `new`.
///
/// Later fragments have no checksum to correct; a UDP checksum of zero stays zero, and one that becomes zero is
/// sent as 0xffff (RFC 8200 §8.1). A packet cut before its checksum is left alone.
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
