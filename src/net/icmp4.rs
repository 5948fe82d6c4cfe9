//! ICMP for IPv4 (RFC 792, RFC 1191): types, codes and plateau MTUs. Its checksum has no pseudo header.

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

    // RFC 1191 §7
    #[test]
    fn plateaus_fall() {
        assert!(PLATEAUS.is_sorted_by(|a, b| a > b));
    }
}
