//! Fragment headers around whole packets (atomic fragments, RFC 6946).
//!
//! Admission gives one to an IPv4 packet without DF that is long enough to be fragmented on its way, and the node to its
//! own long answers. It keeps the identification. What leaves whole leaves without it.

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

/// Puts a fragment header around the whole packet, right behind its IPv6 header. Returns `false`, and changes nothing,
/// if the headroom is too small or the packet too long.
#[must_use]
pub(in crate::path) fn wrap(packet: &mut Packet<'_>, identification: u32) -> bool {
    let Some(next_header) = packet.l3().get(6).copied() else { return false };
    let Ok(payload) = u16::try_from(packet.l3().len() - ipv6::HEADER + fragment::HEADER) else {
        return false;
    };
    let wrapped = packet.reshape(|room, at| {
        let start = at.start.checked_sub(fragment::HEADER).ok_or(Refused::Headroom)?;
        let headers = room.get_mut(start..at.start + ipv6::HEADER).ok_or(Refused::Truncated)?;
        headers.copy_within(fragment::HEADER.., 0);
        let header = headers.last_chunk_mut().ok_or(Refused::Truncated)?;
        Fragment { offset: 0, more: false, identification }.write(header, next_header);
        Ok(start..at.end)
    });
    if wrapped.is_ok()
        && let Some(mut header) = Ipv6::of_mut(packet.l3_mut())
    {
        header.set_next_header(next::FRAGMENT);
        header.set_payload_length(payload);
    }
    wrapped.is_ok()
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
