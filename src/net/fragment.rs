//! The IPv6 fragment header (RFC 8200 §4.5): read and write. Nothing is reassembled here.

/// Length of the header in bytes.
pub const HEADER: usize = 8;
/// The unit of fragment offsets, in bytes. The data of every fragment but the last is a multiple of it.
pub const UNIT: usize = 8;

/// The place of a fragment in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Fragment offset in units of 8 bytes: 0 to 8191.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Identification of the datagram: 32 bits in IPv6, 16 in IPv4.
    pub identification: u32,
}

impl Fragment {
    /// Reads a fragment header. Returns the type of the header that follows it, and the fragment.
    #[must_use]
    pub const fn read(header: &[u8; HEADER]) -> (u8, Self) {
        let word = u16::from_be_bytes([header[2], header[3]]);
        let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        (header[0], Fragment { offset: word >> 3, more: word & 1 != 0, identification })
    }

    /// Writes a fragment header with its reserved bits 0.
    pub fn write(self, header: &mut [u8; HEADER], next_header: u8) {
        let word = (self.offset << 3) | u16::from(self.more);
        header[..2].copy_from_slice(&[next_header, 0]);
        header[2..4].copy_from_slice(&word.to_be_bytes());
        header[4..].copy_from_slice(&self.identification.to_be_bytes());
    }

    /// Whether the fragment carries the whole datagram: an atomic fragment (RFC 6946 §2).
    #[must_use]
    pub const fn is_atomic(self) -> bool {
        self.offset == 0 && !self.more
    }

    /// Whether a fragment with `bytes` bytes of data is possible: all but the last are multiples of 8 bytes, and none
    /// ends past byte 65535 (RFC 8200 §4.5).
    #[must_use]
    pub const fn is_sound(self, bytes: usize) -> bool {
        let whole = !self.more || bytes.is_multiple_of(UNIT);
        whole && self.offset as usize * UNIT + bytes <= u16::MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for fragment in [
            Fragment { offset: 8191, more: true, identification: 0xdead_beef },
            Fragment { offset: 0, more: false, identification: 1 },
        ] {
            let mut header = [0xff; HEADER];
            fragment.write(&mut header, 17);
            assert_eq!(Fragment::read(&header), (17, fragment));
            assert_eq!((header[1], header[3] & 0b110), (0, 0));
        }
    }

    // RFC 8200 §4.5, RFC 6946 §2
    #[test]
    fn rfc_8200_all_but_the_last_are_multiples_of_8_and_none_ends_past_65535() {
        let fragment = |offset, more| Fragment { offset, more, identification: 0 };
        assert!(fragment(0, true).is_sound(1232) && !fragment(0, true).is_sound(1233));
        assert!(fragment(0, false).is_sound(1233));
        assert!(fragment(8191, false).is_sound(7) && !fragment(8191, false).is_sound(8));
        assert!(fragment(0, false).is_atomic() && !fragment(1, false).is_atomic());
    }
}
