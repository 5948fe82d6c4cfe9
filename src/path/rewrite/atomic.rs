//! Fragment headers around whole packets (atomic fragments, RFC 6946).
//!
//! Admission gives one to an IPv4 packet without DF that is long enough to be fragmented on its way. It keeps the
//! identification. What leaves whole leaves without it.

use crate::net::fragment::{self, Fragment};
use crate::net::ipv6::{self, Ipv6, next};
use crate::path::packet::Packet;
use crate::siit::Refused;

/// Length in bytes of the IPv6 header with a fragment header right behind it.
const HEADERS: usize = ipv6::HEADER + fragment::HEADER;

/// The fragment header of a packet, if it stands right behind the IPv6 header and around the whole packet.
fn header(l3: &[u8]) -> Option<u8> {
    let (headers, _) = l3.split_first_chunk::<HEADERS>()?;
    let (next_header, fragment) = Fragment::read(headers.last_chunk()?);
    (headers[6] == next::FRAGMENT && fragment.is_atomic()).then_some(next_header)
}

/// Length in bytes of a fragment header around the whole packet; 0 without one.
pub(in crate::path) fn bytes(packet: &Packet<'_>) -> usize {
    if header(packet.l3()).is_some() { fragment::HEADER } else { 0 }
}

/// Removes the fragment header around the whole packet. Does nothing without one.
pub(in crate::path) fn strip(packet: &mut Packet<'_>) {
    if let Some(next_header) = header(packet.l3()) {
        strip_to(packet, HEADERS, next_header);
    }
}

/// Removes all extension headers of a packet. `offset` is where its upper layer begins, in bytes from the IPv6 header,
/// and `protocol` is what that is.
pub(in crate::path) fn strip_to(packet: &mut Packet<'_>, offset: usize, protocol: u8) {
    let extensions = offset.saturating_sub(ipv6::HEADER);
    let stripped = packet.reshape(|room, at| {
        let start = at.start + extensions;
        if at.start + offset > at.end {
            return Err(Refused::Truncated);
        }
        room.copy_within(at.start..at.start + ipv6::HEADER, start);
        Ok(start..at.end)
    });
    let payload = packet.l3().len().saturating_sub(ipv6::HEADER) as u16;
    if stripped.is_ok()
        && let Some(mut header) = Ipv6::of_mut(packet.l3_mut())
    {
        header.set_next_header(protocol);
        header.set_payload_length(payload);
    }
}
