//! ICMP for IPv4 (RFC 792, RFC 1191): types, codes, the errors that gateways send, and plateau MTUs. Its checksum has no
//! pseudo header.

/// Message types.
pub mod kind {
    #![allow(missing_docs)]
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const SOURCE_QUENCH: u8 = 4;
    pub const REDIRECT: u8 = 5;
    pub const ALTERNATE_HOST: u8 = 6;
    pub const ECHO_REQUEST: u8 = 8;
    pub const ROUTER_ADVERTISEMENT: u8 = 9;
    pub const ROUTER_SOLICITATION: u8 = 10;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    pub const TIMESTAMP: u8 = 13;
    pub const TIMESTAMP_REPLY: u8 = 14;
    pub const INFORMATION_REQUEST: u8 = 15;
    pub const INFORMATION_REPLY: u8 = 16;
    pub const ADDRESS_MASK_REQUEST: u8 = 17;
    pub const ADDRESS_MASK_REPLY: u8 = 18;
}

/// Codes of Destination Unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
pub mod unreachable {
    #![allow(missing_docs)]
    pub const NET: u8 = 0;
    pub const HOST: u8 = 1;
    pub const PROTOCOL: u8 = 2;
    pub const PORT: u8 = 3;
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    pub const HOST_PROHIBITED: u8 = 10;
    pub const PROHIBITED: u8 = 13;
}

/// Length in bytes of a message before the quoted packet or the data.
pub const HEADER: usize = 8;

/// An error message that a gateway sends (RFC 792, RFC 1812 §5.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// The 32 bits after the checksum: a pointer in the upper 8, an MTU in the lower 16, otherwise 0.
    pub word: u32,
}

impl Error {
    /// TTL exceeded in transit: type 11 code 0.
    pub const TTL_EXCEEDED: Error = Error { kind: kind::TIME_EXCEEDED, code: 0, word: 0 };

    /// Destination unreachable: type 3. The codes are in [`unreachable`].
    #[must_use]
    pub const fn unreachable(code: u8) -> Self {
        Error { kind: kind::UNREACHABLE, code, word: 0 }
    }

    /// Fragmentation needed: type 3 code 4, with the MTU of the next hop in bytes (RFC 1191 §4).
    #[must_use]
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Error { kind: kind::UNREACHABLE, code: unreachable::FRAGMENTATION_NEEDED, word: mtu as u32 }
    }

    /// Parameter problem: type 12 code 0. `pointer` is the offset in bytes of the wrong byte from the start of the
    /// header.
    #[must_use]
    pub const fn parameter_problem(pointer: u8) -> Self {
        Error { kind: kind::PARAMETER_PROBLEM, code: 0, word: (pointer as u32) << 24 }
    }
}

/// Whether message type `kind` is an error message, which quotes a packet (RFC 1122 §3.2.2).
#[inline]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        kind::UNREACHABLE
            | kind::SOURCE_QUENCH
            | kind::REDIRECT
            | kind::TIME_EXCEEDED
            | kind::PARAMETER_PROBLEM
    )
}

/// Plateau MTUs in bytes, greatest first (RFC 1191 §7, table 7-1).
pub const PLATEAUS: [u16; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 1122 §3.2.2
    #[test]
    fn rfc_1122_error_messages_and_queries() {
        let errors: Vec<u8> = (0..=255).filter(|kind| is_error(*kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
    }

    // RFC 1191 §4, RFC 792
    #[test]
    fn an_mtu_lies_in_the_lower_and_a_pointer_in_the_upper_bits() {
        let fields = |error: Error| (error.kind, error.code, error.word.to_be_bytes());
        assert_eq!(fields(Error::fragmentation_needed(1480)), (3, 4, [0, 0, 5, 0xc8]));
        assert_eq!(fields(Error::parameter_problem(22)), (12, 0, [22, 0, 0, 0]));
        assert_eq!(fields(Error::unreachable(unreachable::PROHIBITED)), (3, 13, [0; 4]));
        assert_eq!(fields(Error::TTL_EXCEEDED), (11, 0, [0; 4]));
    }

    // RFC 1191 §7
    #[test]
    fn plateaus_fall() {
        assert!(PLATEAUS.is_sorted_by(|a, b| a > b));
    }
}
