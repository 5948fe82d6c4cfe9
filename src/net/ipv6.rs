//! The IPv6 header and a bounded walk over its extension headers (RFC 8200).

use super::extension;

/// Length of the fixed header in bytes.
pub const HEADER: usize = 40;
/// Smallest MTU of an IPv6 link in bytes (RFC 8200 §5).
pub const MIN_MTU: u16 = 1280;
/// The largest number of extension headers that [`upper`] walks. A packet with more is dropped.
pub const MAX_EXTENSIONS: usize = 8;

/// Next header values.
pub mod next {
    #![allow(missing_docs)]
    pub const HOP_BY_HOP: u8 = 0;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMP6: u8 = 58;
    pub const NONE: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const ETHERIP: u8 = 97;
    pub const L2TP: u8 = 115;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// A view of a fixed IPv6 header.
#[derive(Clone, Copy)]
pub struct Ipv6<B>(B);

impl<'a> Ipv6<&'a [u8; HEADER]> {
    /// The view of the first 40 bytes, `None` when cut short.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Ipv6)
    }
}

impl<'a> Ipv6<&'a mut [u8; HEADER]> {
    /// The mutable view of the first 40 bytes, `None` when cut short.
    #[inline]
    #[must_use]
    pub fn of_mut(bytes: &'a mut [u8]) -> Option<Self> {
        bytes.first_chunk_mut().map(Ipv6)
    }
}

impl<B: std::ops::Deref<Target = [u8; HEADER]>> Ipv6<B> {
    #[inline]
    fn half<const AT: usize>(&self) -> u64 {
        let mut half = [0; 8];
        half.copy_from_slice(&self.0[AT..AT + 8]);
        u64::from_be_bytes(half)
    }

    /// IP version.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Traffic class: DSCP and ECN.
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    /// Bytes after the fixed header.
    #[inline]
    #[must_use]
    pub fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// Type of the header that follows.
    #[inline]
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.0[6]
    }

    /// Hop limit.
    #[inline]
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.0[7]
    }

    /// Upper 64 bits of the source.
    #[inline]
    #[must_use]
    pub fn source_high(&self) -> u64 {
        self.half::<8>()
    }

    /// Lower 64 bits of the source.
    #[inline]
    #[must_use]
    pub fn source_low(&self) -> u64 {
        self.half::<16>()
    }

    /// Upper 64 bits of the destination: SIR prefix or locator.
    #[inline]
    #[must_use]
    pub fn destination_high(&self) -> u64 {
        self.half::<24>()
    }

    /// Lower 64 bits of the destination: identifier.
    #[inline]
    #[must_use]
    pub fn destination_low(&self) -> u64 {
        self.half::<32>()
    }

    /// Source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> u128 {
        (u128::from(self.source_high()) << 64) | u128::from(self.source_low())
    }

    /// Destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> u128 {
        (u128::from(self.destination_high()) << 64) | u128::from(self.destination_low())
    }
}

impl<B: std::ops::DerefMut<Target = [u8; HEADER]>> Ipv6<B> {
    /// Writes version 6, traffic class 0, flow label 0, and the rest as given.
    pub fn write(
        &mut self,
        payload_length: u16,
        next_header: u8,
        hop_limit: u8,
        source: u128,
        destination: u128,
    ) {
        self.0[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        self.set_payload_length(payload_length);
        self.0[6] = next_header;
        self.0[7] = hop_limit;
        self.set_source(source);
        self.set_destination(destination);
    }

    /// Sets the traffic class; the flow label stays.
    pub fn set_traffic_class(&mut self, class: u8) {
        self.0[0] = 0x60 | class >> 4;
        self.0[1] = self.0[1] & 0xf | class << 4;
    }

    /// Sets the type of the header that follows.
    pub fn set_next_header(&mut self, next_header: u8) {
        self.0[6] = next_header;
    }

    /// Sets the payload length.
    pub fn set_payload_length(&mut self, length: u16) {
        self.0[4..6].copy_from_slice(&length.to_be_bytes());
    }

    /// Sets the hop limit.
    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.0[7] = hop_limit;
    }

    /// Sets the source address.
    #[inline]
    pub fn set_source(&mut self, source: u128) {
        self.0[8..24].copy_from_slice(&source.to_be_bytes());
    }

    /// Sets the destination address.
    #[inline]
    pub fn set_destination(&mut self, destination: u128) {
        self.0[24..40].copy_from_slice(&destination.to_be_bytes());
    }

    /// Sets both halves of the destination.
    #[inline]
    pub fn set_destination_halves(&mut self, high: u64, low: u64) {
        self.0[24..32].copy_from_slice(&high.to_be_bytes());
        self.0[32..40].copy_from_slice(&low.to_be_bytes());
    }
}

/// Where the upper layer starts, and which headers precede it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// Upper-layer protocol. For a fragment, the protocol that its fragment header names.
    pub protocol: u8,
    /// Offset of the upper-layer header from the start of the IPv6 header, in bytes.
    pub offset: usize,
    /// Set when this is a fragment other than the first: no upper-layer header is present.
    pub later_fragment: bool,
    /// Set when a fragment header is present.
    pub fragment: bool,
    /// Set when this is one of several fragments: more follow or the offset is not 0. An atomic fragment (RFC 6946) is
    /// not.
    pub piece: bool,
    /// Set when a routing header with segments left is present. The pseudo header then has the final destination, not
    /// that of this header (RFC 8200 §8.1).
    pub source_routed: bool,
}

/// Why the walk ended without an upper layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkError {
    /// A header runs past the end of the packet.
    Truncated,
    /// More than [`MAX_EXTENSIONS`] extension headers.
    TooMany,
}

/// Walks the extension headers of `packet`, which starts at its IPv6 header (RFC 8200 §4).
///
/// Never reads beyond `packet` nor walks more than [`MAX_EXTENSIONS`] headers.
///
/// # Errors
/// [`WalkError::Truncated`] when a header runs past the end of `packet`; [`WalkError::TooMany`] when more than
/// [`MAX_EXTENSIONS`] extension headers come first.
pub fn upper(packet: &[u8]) -> Result<Upper, WalkError> {
    let mut found = Upper {
        protocol: *packet.get(6).ok_or(WalkError::Truncated)?,
        offset: HEADER,
        later_fragment: false,
        fragment: false,
        piece: false,
        source_routed: false,
    };
    for walked in 0.. {
        if !extension::is_walked(found.protocol) {
            break;
        }
        if walked == MAX_EXTENSIONS {
            return Err(WalkError::TooMany);
        }
        let header = packet.get(found.offset..).and_then(|rest| rest.first_chunk::<8>());
        let header = header.ok_or(WalkError::Truncated)?;
        let length = extension::length(found.protocol, header);
        found.source_routed |= found.protocol == next::ROUTING && header[3] != 0;
        found.fragment |= found.protocol == next::FRAGMENT;
        let offset = u16::from_be_bytes([header[2], header[3]]) >> 3;
        let later = found.protocol == next::FRAGMENT && offset != 0;
        found.piece |= later || found.protocol == next::FRAGMENT && header[3] & 1 != 0;
        found.protocol = header[0];
        found.offset += length;
        if found.offset > packet.len() {
            return Err(WalkError::Truncated);
        }
        if later {
            found.later_fragment = true;
            break;
        }
    }
    Ok(found)
}

/// Whether `address` is multicast (ff00::/8).
#[inline]
#[must_use]
pub const fn is_multicast(address: u128) -> bool {
    address >> 120 == 0xff
}

/// Whether `address` is link-local unicast (fe80::/10).
#[inline]
#[must_use]
pub const fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

/// Whether `address` is IPv4-compatible (::/96, which includes the unspecified and the loopback address) or IPv4-mapped
/// (::ffff:0:0/96). Neither appears on a wire as a unicast address of a host.
#[inline]
#[must_use]
pub const fn is_ipv4_in_ipv6(address: u128) -> bool {
    address >> 32 == 0 || address >> 32 == 0xffff
}

/// The group of all nodes on a link (RFC 4291 §2.7.1).
pub const ALL_NODES: u128 = (0xff02 << 112) | 1;
/// The group of all routers on a link (RFC 4291 §2.7.1).
pub const ALL_ROUTERS: u128 = (0xff02 << 112) | 2;

/// The solicited-node group of `address` (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(address: u128) -> u128 {
    (0xff02u128 << 112) | (0x1_ff00_0000) | (address & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; HEADER];
        Ipv6::of_mut(&mut bytes).unwrap().write(rest.len() as u16, next_header, 64, 1, 2);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn fields_written_are_fields_read() {
        let mut bytes = packet(next::UDP, &[0; 8]);
        let view = Ipv6::of(&bytes).unwrap();
        assert_eq!(
            (view.version(), view.payload_length(), view.next_header(), view.hop_limit()),
            (6, 8, 17, 64)
        );
        assert_eq!((view.source(), view.destination()), (1, 2));
        Ipv6::of_mut(&mut bytes).unwrap().set_traffic_class(0xb9);
        assert_eq!(bytes[..4], [0x6b, 0x90, 0, 0]);
        assert_eq!(Ipv6::of(&bytes).unwrap().traffic_class(), 0xb9);
        Ipv6::of_mut(&mut bytes).unwrap().set_destination_halves(3, 4);
        assert_eq!(Ipv6::of(&bytes).unwrap().destination(), (3 << 64) | 4);
        assert!(Ipv6::of(&bytes[..39]).is_none());
    }

    // RFC 8200 §4
    #[test]
    fn the_walk_finds_the_upper_layer_behind_extension_headers() {
        let bytes = packet(
            next::HOP_BY_HOP,
            &[&[next::FRAGMENT, 0, 0, 0, 0, 0, 0, 0], &[next::TCP, 0, 0, 1, 0, 0, 0, 9], &[0u8; 20][..]]
                .concat(),
        );
        let found = upper(&bytes).unwrap();
        assert_eq!(
            (found.protocol, found.offset, found.fragment, found.later_fragment),
            (next::TCP, 56, true, false)
        );
        assert!(found.piece);
    }

    // RFC 6946
    #[test]
    fn rfc_6946_a_fragment_header_around_all_of_a_packet_makes_no_piece() {
        let pieces = [[0, 0], [0, 6], [0, 1], [0, 8], [0x10, 0]].map(|[high, low]| {
            upper(&packet(next::FRAGMENT, &[next::TCP, 0, high, low, 0, 0, 0, 9])).unwrap().piece
        });
        assert_eq!(pieces, [false, false, true, true, true]);
    }

    #[test]
    fn a_later_fragment_has_no_upper_layer_header() {
        let found = upper(&packet(next::FRAGMENT, &[next::UDP, 0, 0, 8, 0, 0, 0, 9, 1, 2])).unwrap();
        assert!(found.later_fragment && found.fragment && found.protocol == next::UDP);
    }

    #[test]
    fn the_walk_is_bounded_in_bytes_and_headers() {
        assert_eq!(
            upper(&packet(next::HOP_BY_HOP, &[next::UDP, 200, 0, 0, 0, 0, 0, 0])),
            Err(WalkError::Truncated)
        );
        assert_eq!(upper(&packet(next::DESTINATION, &[])), Err(WalkError::Truncated));
        assert_eq!(upper(&[]), Err(WalkError::Truncated));
        let many = [next::DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(20);
        assert_eq!(upper(&packet(next::DESTINATION, &many)), Err(WalkError::TooMany));
    }

    // RFC 4291 §2.7.1
    #[test]
    fn address_classes() {
        let parse = |text: &str| u128::from(text.parse::<std::net::Ipv6Addr>().unwrap());
        assert!(is_multicast(parse("ff02::1")) && !is_multicast(parse("fe80::1")));
        assert!(is_link_local(parse("febf::1")) && !is_link_local(parse("fec0::1")));
        assert_eq!(solicited_node(parse("2001:db8::1:2345:6789")), parse("ff02::1:ff45:6789"));
    }
}
