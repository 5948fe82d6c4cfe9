//! Ethernet II headers with at most one IEEE 802.1Q tag: parse and write.

use super::Mac;

/// Length of an untagged header in bytes.
pub const HEADER: usize = 14;
/// Length of a header with one 802.1Q tag in bytes.
pub const TAGGED_HEADER: usize = 18;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of RARP (RFC 903).
pub const RARP: u16 = 0x8035;
/// Ethertype of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;

/// The link header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// VLAN identifier, 1 to 4094; 0 when untagged or only priority tagged.
    pub vlan: u16,
    /// Ethertype of the payload.
    pub ethertype: u16,
    /// Bytes before the payload: 14 or 18.
    pub header: usize,
}

/// Reads the header of `frame`; `None` when it is cut short.
#[inline]
#[must_use]
pub fn parse(frame: &[u8]) -> Option<Link> {
    let head = frame.first_chunk::<HEADER>()?;
    let ethertype = u16::from_be_bytes([head[12], head[13]]);
    if ethertype != VLAN {
        return Some(Link { vlan: 0, ethertype, header: HEADER });
    }
    let head = frame.first_chunk::<TAGGED_HEADER>()?;
    Some(Link {
        vlan: u16::from_be_bytes([head[14], head[15]]) & 0x0fff,
        ethertype: u16::from_be_bytes([head[16], head[17]]),
        header: TAGGED_HEADER,
    })
}

/// Destination address of a frame, `None` when it is cut short.
#[inline]
#[must_use]
pub fn destination(frame: &[u8]) -> Option<Mac> {
    frame.first_chunk::<6>().map(|bytes| Mac(*bytes))
}

/// Source address of a frame, `None` when it is cut short.
#[inline]
#[must_use]
pub fn source(frame: &[u8]) -> Option<Mac> {
    frame.get(6..)?.first_chunk::<6>().map(|bytes| Mac(*bytes))
}

/// Builds a link header for IPv6: [`header_of`] with ethertype [`IPV6`].
#[must_use]
pub fn header(destination: Mac, source: Mac, vlan: u16) -> ([u8; TAGGED_HEADER], usize) {
    header_of(destination, source, vlan, IPV6)
}

/// Builds a link header: both addresses, an 802.1Q tag unless `vlan` is 0, and the ethertype.
///
/// Returns the bytes and the length of the header: 14 or 18.
#[must_use]
pub fn header_of(destination: Mac, source: Mac, vlan: u16, ethertype: u16) -> ([u8; TAGGED_HEADER], usize) {
    let mut bytes = [0; TAGGED_HEADER];
    let length = write_header(&mut bytes, destination, source, vlan, ethertype);
    (bytes, length)
}

/// Writes the link header of [`header_of`] to the front of a frame; returns its length: 14 or 18.
#[inline]
pub fn write_header(
    front: &mut [u8; TAGGED_HEADER],
    destination: Mac,
    source: Mac,
    vlan: u16,
    ethertype: u16,
) -> usize {
    front[..6].copy_from_slice(&destination.0);
    front[6..12].copy_from_slice(&source.0);
    if vlan == 0 {
        front[12..14].copy_from_slice(&ethertype.to_be_bytes());
        HEADER
    } else {
        front[12..14].copy_from_slice(&VLAN.to_be_bytes());
        front[14..16].copy_from_slice(&vlan.to_be_bytes());
        front[16..18].copy_from_slice(&ethertype.to_be_bytes());
        TAGGED_HEADER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_written_is_a_header_read() {
        let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        for (vlan, length) in [(0, 14), (10, 18)] {
            let (bytes, header_length) = header(a, b, vlan);
            assert_eq!(header_length, length);
            assert_eq!(parse(&bytes[..length]), Some(Link { vlan, ethertype: IPV6, header: length }));
            assert_eq!((destination(&bytes), source(&bytes)), (Some(a), Some(b)));
        }
    }

    #[test]
    fn a_frame_cut_short_is_no_frame() {
        let (bytes, _) = header(Mac::ZERO, Mac::ZERO, 5);
        for length in [0, 5, 13, 17] {
            assert_eq!(parse(&bytes[..length]), None);
        }
    }
}
