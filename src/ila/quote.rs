//! Translates the packet that an ICMPv6 error quotes back to its SIR address, checksums included (ILA draft §4.2.2,
//! RFC 4443 §3).
//!
//! The module does not look up the SIR address; the caller passes that function.

use super::transport;
use super::{ChecksumMode, Identifier};
use crate::net::checksum::{sum_of_address, sum_of_bytes, update};
use crate::net::icmp6;
use crate::net::ipv6::{self, Ipv6, Upper, next};

/// Offset of the quoted packet within `packet` in bytes; `None` unless `packet` is an ICMPv6 error that quotes at
/// least an IPv6 header.
#[must_use]
pub fn position(packet: &[u8], upper: &Upper) -> Option<usize> {
    if upper.protocol != next::ICMP6 || upper.later_fragment || !icmp6::is_error(*packet.get(upper.offset)?) {
        return None;
    }
    let quote = upper.offset + icmp6::ERROR_HEADER;
    let header = Ipv6::of(packet.get(quote..)?)?;
    (header.version() == 6).then_some(quote)
}

/// Replaces the quoted destination by its SIR address and corrects the ICMPv6 checksum. Returns whether it did.
///
/// `packet` starts at its IPv6 header. `sir_of` maps the quoted destination to its SIR address and checksum mode;
/// `None` leaves the packet unchanged. In mode `adj-transport` the quoted transport checksum is restored too, if the
/// quote is long enough to hold it.
pub fn translate_back(
    packet: &mut [u8],
    upper: &Upper,
    sir_of: impl FnOnce(u128) -> Option<(u128, ChecksumMode)>,
) -> bool {
    let Some(at) = position(packet, upper) else { return false };
    let Some(seen) = packet.get(at..).and_then(Ipv6::of).map(|header| header.destination()) else {
        return false;
    };
    let Some((sir, mode)) = sir_of(seen) else { return false };
    let (head, quote) = packet.split_at_mut(at);
    let before = sum_of_bytes(quote);
    if let Some(mut header) = Ipv6::of_mut(quote) {
        header.set_destination(sir);
    }
    if mode == ChecksumMode::AdjTransport
        && !Identifier::of_address(seen).neutral()
        && let Ok(quoted_upper) = ipv6::upper(quote)
    {
        transport::correct(quote, &quoted_upper, sum_of_address(seen), sum_of_address(sir));
    }
    let after = sum_of_bytes(quote);
    if let Some(field) = head.get_mut(upper.offset + 2..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *field = update(u16::from_be_bytes(*field), before, after).to_be_bytes();
    }
    true
}
