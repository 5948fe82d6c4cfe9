//! The UDP header (RFC 768), over IPv6 (RFC 8200 §8.1).

use super::checksum;
use super::ipv6::{self, next};

/// Length of the header in bytes.
pub const HEADER: usize = 8;

/// A view of a UDP header.
#[derive(Clone, Copy)]
pub struct Udp<B>(B);

impl<'a> Udp<&'a [u8; HEADER]> {
    /// The view of the first 8 bytes, `None` when cut short.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Udp)
    }

    /// Source port.
    #[must_use]
    pub fn source(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Destination port.
    #[must_use]
    pub fn destination(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Length of header and data in bytes.
    #[must_use]
    pub fn length(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// The checksum; 0 for none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}

/// Writes the header of a datagram over IPv6, with its checksum. `datagram` is the header and the data behind it.
///
/// Does nothing when `datagram` has no room for a header or is longer than 65,535 bytes.
pub fn seal_ipv6(datagram: &mut [u8], source: u128, destination: u128, ports: (u16, u16)) {
    let Ok(length) = u16::try_from(datagram.len()) else { return };
    let Some(header) = datagram.first_chunk_mut::<HEADER>() else { return };
    header[..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6..].copy_from_slice(&[0, 0]);
    // A sum of zero is sent as all ones, because zero stands for no checksum (RFC 8200 §8.1).
    let sum = match !sum_ipv6(datagram, source, destination) {
        0 => 0xffff,
        sum => sum,
    };
    if let Some(field) = datagram.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Whether the checksum of a datagram over IPv6 is right. One without a checksum has none that is right.
#[must_use]
pub fn is_intact_ipv6(datagram: &[u8], source: u128, destination: u128) -> bool {
    Udp::of(datagram).is_some_and(|header| header.checksum() != 0)
        && sum_ipv6(datagram, source, destination) == 0xffff
}

/// The folded sum of pseudo header and datagram (RFC 8200 §8.1).
fn sum_ipv6(datagram: &[u8], source: u128, destination: u128) -> u16 {
    let length = datagram.len() as u64;
    let pseudo = u64::from(checksum::sum_of_address(source))
        + u64::from(checksum::sum_of_address(destination))
        + (length >> 16)
        + (length & 0xffff)
        + u64::from(next::UDP);
    checksum::fold(pseudo + u64::from(checksum::sum_of_bytes(datagram)))
}

/// The datagram of an IPv6 packet whose UDP header lies at `offset`, cut to the length that its header says. `None` when
/// that is less than a header or more than there is.
#[must_use]
pub fn datagram(packet: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = packet.get(offset..)?;
    let length = usize::from(Udp::of(rest)?.length());
    rest.get(..length).filter(|datagram| datagram.len() >= HEADER)
}

/// Length of the IPv6 and UDP headers in bytes.
pub const HEADERS: usize = ipv6::HEADER + HEADER;

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv6Header, UdpHeader};
    use proptest::prelude::*;

    proptest! {
        // RFC 8200 §8.1
        #[test]
        fn rfc_8200_section_8_1_a_sealed_datagram_has_the_checksum_that_etherparse_gives(
            source: u128, destination: u128, ports: (u16, u16),
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut datagram = [&[0x5a; HEADER][..], &data].concat();
            seal_ipv6(&mut datagram, source, destination, ports);
            let ip = Ipv6Header {
                source: source.to_be_bytes(),
                destination: destination.to_be_bytes(),
                ..Ipv6Header::default()
            };
            let judged = UdpHeader::with_ipv6_checksum(ports.0, ports.1, &ip, &data).unwrap();
            prop_assert_eq!(&datagram[..HEADER], &judged.to_bytes()[..]);
            prop_assert!(is_intact_ipv6(&datagram, source, destination));
            let view = Udp::of(&datagram).unwrap();
            prop_assert_eq!((view.source(), view.destination()), ports);
        }

        #[test]
        fn one_bit_that_changed_on_the_way_is_noticed(
            data in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0..8u32,
        ) {
            let mut datagram = [&[0; HEADER][..], &data].concat();
            seal_ipv6(&mut datagram, 1, 2, (3, 4));
            let at = at.index(datagram.len());
            datagram[at] ^= 1 << bit;
            prop_assert!(!is_intact_ipv6(&datagram, 1, 2));
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..32), offset in 0usize..40) {
            let _ = (Udp::of(&bytes).is_some(), is_intact_ipv6(&bytes, 1, 2));
            if let Some(cut) = datagram(&bytes, offset) {
                prop_assert!(cut.len() >= HEADER && cut.len() <= bytes.len());
            }
            seal_ipv6(&mut bytes, 1, 2, (3, 4));
        }
    }

    #[test]
    fn a_datagram_ends_where_its_header_says() {
        let mut bytes = [7; 20];
        for (length, cut) in [(7, None), (8, Some(8)), (12, Some(12)), (18, Some(18)), (19, None)] {
            bytes[6..8].copy_from_slice(&u16::to_be_bytes(length));
            assert_eq!(datagram(&bytes, 2).map(<[u8]>::len), cut, "{length}");
        }
    }
}
