//! ICMPv6 (RFC 4443): types, and the codes of the errors that this router sends.

/// Message types.
pub mod kind {
    #![allow(missing_docs)]
    pub const UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO_REQUEST: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    pub const LISTENER_QUERY: u8 = 130;
    pub const LISTENER_REPORT: u8 = 131;
    pub const LISTENER_DONE: u8 = 132;
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub const REDIRECT: u8 = 137;
    pub const LISTENER_REPORT_2: u8 = 143;
}

/// Length in bytes of an error message before the quoted packet.
pub const ERROR_HEADER: usize = 8;

/// An error message that this router sends (RFC 4443 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No route to the destination: type 1 code 0.
    NoRoute,
    /// Communication administratively prohibited: type 1 code 1.
    Prohibited,
    /// Address unreachable: type 1 code 3.
    AddressUnreachable,
    /// Port unreachable: type 1 code 4.
    PortUnreachable,
    /// Packet too big for a link with this MTU in bytes: type 2.
    PacketTooBig(u16),
    /// Hop limit exceeded in transit: type 3 code 0.
    HopLimitExceeded,
    /// Parameter problem: type 4. `pointer` is the offset in bytes of the problem from the start of the IPv6 header.
    ParameterProblem {
        /// 0: erroneous header field, 1: unrecognized next header, 2: unrecognized option.
        code: u8,
        /// Offset of the problem, in bytes.
        pointer: u32,
    },
}

impl Error {
    /// Type, code and the 32-bit parameter of the message.
    #[must_use]
    pub const fn fields(self) -> (u8, u8, u32) {
        match self {
            Error::NoRoute => (kind::UNREACHABLE, 0, 0),
            Error::Prohibited => (kind::UNREACHABLE, 1, 0),
            Error::AddressUnreachable => (kind::UNREACHABLE, 3, 0),
            Error::PortUnreachable => (kind::UNREACHABLE, 4, 0),
            Error::PacketTooBig(mtu) => (kind::PACKET_TOO_BIG, 0, mtu as u32),
            Error::HopLimitExceeded => (kind::TIME_EXCEEDED, 0, 0),
            Error::ParameterProblem { code, pointer } => (kind::PARAMETER_PROBLEM, code, pointer),
        }
    }
}

/// Whether message type `kind` is an error message: below 128 (RFC 4443 §2.1).
#[inline]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}

/// Whether message type `kind` is an assigned error message (RFC 4443 §2.1).
#[inline]
#[must_use]
pub const fn is_assigned_error(kind: u8) -> bool {
    matches!(kind, 1..=kind::PARAMETER_PROBLEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 4443 §2.1, RFC 4443 §3
    #[test]
    fn rfc_4443_types_and_codes() {
        assert_eq!(Error::NoRoute.fields(), (1, 0, 0));
        assert_eq!(Error::Prohibited.fields(), (1, 1, 0));
        assert_eq!(Error::AddressUnreachable.fields(), (1, 3, 0));
        assert_eq!(Error::PacketTooBig(1400).fields(), (2, 0, 1400));
        assert_eq!(Error::HopLimitExceeded.fields(), (3, 0, 0));
        assert_eq!(Error::ParameterProblem { code: 2, pointer: 42 }.fields(), (4, 2, 42));
        assert!(is_error(kind::PARAMETER_PROBLEM) && !is_error(kind::ECHO_REQUEST));
    }
}
