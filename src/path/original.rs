//! The first bytes of IPv4 packets as tenants sent them. ICMP errors quote them (RFC 792), because translation to IPv6
//! loses identification, flags and options, and may change the checksum.

use super::meta::{BURST, BurstMeta};
use super::packet::Packet;
use super::verdict::Verdict;
use crate::net::ipv4::{self, Ipv4};
use crate::net::{ethernet, fragment, icmp4, ipv6};
use crate::siit::Refused;
use std::ops::Range;

/// Bytes of the upper layer that are kept. Translation changes none behind the checksum of TCP.
const UPPER: usize = 18;

/// The header of an IPv4 packet with its options, and the start of its upper layer.
#[derive(Clone, Copy)]
pub(super) struct Original {
    bytes: [u8; ipv4::MAX_HEADER + UPPER],
    /// Length of the header, in bytes.
    header: u8,
    /// Number of bytes that are kept.
    kept: u8,
}

impl Original {
    /// No packet.
    pub(super) const NONE: Original = Original { bytes: [0; ipv4::MAX_HEADER + UPPER], header: 0, kept: 0 };

    /// Keeps the first bytes of a packet, whose header was checked.
    pub(super) fn keep(&mut self, packet: &[u8]) {
        let header = ipv4::header(packet).map_or(0, <[u8]>::len);
        let kept = packet.len().min(header + UPPER).min(self.bytes.len());
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..kept), packet.get(..kept)) {
            to.copy_from_slice(from);
        }
        (self.header, self.kept) = (header as u8, kept as u8);
    }

    /// The bytes that are kept.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.kept)).unwrap_or(&[])
    }

    /// The header of the packet.
    pub(super) fn header(&self) -> Option<Ipv4<&[u8; ipv4::HEADER]>> {
        Ipv4::of(self.bytes())
    }

    /// The kept bytes of the upper layer.
    pub(super) fn upper(&self) -> &[u8] {
        self.bytes().get(usize::from(self.header)..).unwrap_or(&[])
    }

    /// Whether the packet is an ICMP error, or may be one because it is cut short.
    pub(super) fn is_icmp_error(&self) -> bool {
        self.header().is_some_and(|header| header.protocol() == ipv4::protocol::ICMP)
            && self.upper().first().is_none_or(|kind| icmp4::is_error(*kind))
    }

    /// Turns the packet back into the IPv4 packet that it was. Admission translated it and nothing else was written to
    /// it; or it was not translated, and is left as it is. Returns `false`, and changes nothing, without headroom and for
    /// an ICMP error, whose quoted packet was translated, too.
    #[must_use]
    pub(super) fn restore(&self, packet: &mut Packet<'_>) -> bool {
        if packet.l3().first().is_some_and(|first| first >> 4 == 4) {
            return true;
        }
        if self.is_icmp_error() || packet.reshape(|room, at| self.write(room, at)).is_err() {
            return false;
        }
        packet.set_ethertype(ethernet::IPV4);
        true
    }

    /// Writes the kept bytes over the IPv6 headers at `at` of `room`. Returns the range of the packet.
    fn write(&self, room: &mut [u8], at: Range<usize>) -> Result<Range<usize>, Refused> {
        let next_header = *room.get(at.start + 6).ok_or(Refused::Truncated)?;
        let start = (at.start + headers(next_header)).checked_sub(usize::from(self.header));
        let start = start.ok_or(Refused::Headroom)?;
        let bytes = room.get_mut(start..at.end).ok_or(Refused::Truncated)?;
        bytes.get_mut(..self.bytes().len()).ok_or(Refused::Truncated)?.copy_from_slice(self.bytes());
        Ok(start..at.end)
    }
}

/// Turns packets that wait for a neighbour back into what came. They are decided again like packets that just came.
/// ICMP errors wait in the form that admission gave them.
pub(super) fn restore_waiting(burst: &mut [Packet<'_>], metas: &BurstMeta, originals: &Originals) {
    for ((packet, meta), original) in burst.iter_mut().zip(metas).zip(originals) {
        if meta.came_as_ipv4
            && matches!(
                packet.verdict,
                Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) | Verdict::Hold(_)
            )
        {
            let _ = original.restore(packet);
        }
    }
}

/// Length in bytes of the IPv6 headers that translation wrote, by the next header of the first.
pub(super) const fn headers(next_header: u8) -> usize {
    ipv6::HEADER + if next_header == ipv6::next::FRAGMENT { fragment::HEADER } else { 0 }
}

/// The originals of a burst, by index.
pub(super) type Originals = [Original; BURST];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::siit::{self, Options, To6};
    use crate::table::PortId;
    use proptest::prelude::*;

    proptest! {
        // RFC 792
        #[test]
        fn a_packet_that_was_translated_is_restored_bit_for_bit(
            options in 0usize..=10, protocol in prop::sample::select(vec![1u8, 6, 17, 47, 50]),
            payload in proptest::collection::vec(any::<u8>(), 20..1400), word in any::<u16>(), tos: u8,
            place in prop::sample::select(
                vec![(true, false, 0), (false, false, 0), (false, true, 0), (false, false, 8)]),
            no_checksum: bool,
        ) {
            let mut l3 = vec![0; ipv4::HEADER + 4 * options];
            l3[ipv4::HEADER..].fill(ipv4::option::NO_OPERATION);
            let (length, mut payload) = (l3.len(), payload);
            payload.truncate(payload.len() / 8 * 8);
            if protocol == 1 {
                payload[0] = 8;
            }
            if protocol == 17 {
                let length = payload.len() as u16;
                payload[4..6].copy_from_slice(&length.to_be_bytes());
                if no_checksum && place.1 == place.0 {
                    payload[6..8].fill(0);
                }
            }
            let place = if protocol == 1 { (place.0, false, 0) } else { place };
            let mut header = Ipv4::of_mut(&mut l3).unwrap();
            header.write((length + payload.len()) as u16, protocol, 9, 0x0a00_0001, 0x0a00_0002);
            header.set_header_length(length);
            header.set_tos(tos);
            header.set_identification(word);
            header.set_fragment(place.0, place.1, place.2);
            ipv4::seal(&mut l3);
            let frame = [&[7; 12][..], &[0x08, 0], &l3, &payload].concat();
            let mut room = vec![0x5a; 128 + frame.len()];
            room[128..].copy_from_slice(&frame);
            let end = room.len() as u16;
            let mut packet = Packet::new(&mut room, 128, end, PortId(0));
            packet.l3 = 14;
            let mut original = Original::NONE;
            original.keep(packet.l3());
            let to = To6 { source: 1, destination: 2 };
            let none = |_, _| None;
            let translated =
                packet.reshape(|room, at| siit::to_v6(room, at, &to, none, &Options::default()));
            if translated.is_ok() {
                packet.set_ethertype(ethernet::IPV6);
            }
            prop_assert!(original.restore(&mut packet));
            prop_assert_eq!(packet.frame(), &frame[..], "{:?}", translated);
        }
    }
}
