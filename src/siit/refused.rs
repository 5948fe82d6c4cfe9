//! Why a packet is not translated, and the ICMP error for its sender (RFC 7915 §4.4, RFC 7915 §5.4).

use crate::net::icmp4::{self, unreachable};
use crate::net::icmp6;

/// An ICMP error for the sender of a refused packet, in the address family of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// ICMP for IPv4.
    V4 {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
        /// Pointer of a parameter problem, in bytes from the start of the header; otherwise 0.
        pointer: u8,
    },
    /// ICMPv6.
    V6 {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
        /// Pointer of a parameter problem, in bytes from the start of the header; otherwise 0.
        pointer: u32,
    },
}

/// Why a packet is not translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Too few bytes in front of the packet for the longer headers.
    Headroom,
    /// The packet, a header or an upper-layer header that must be changed is cut short.
    Truncated,
    /// The packet is not of the expected IP version, or its IPv4 header is shorter than 20 bytes.
    Version,
    /// The IPv4 header's checksum is wrong.
    HeaderChecksum,
    /// An IPv4 option has no length or runs past the header.
    Option {
        /// Offset of the wrong byte from the start of the IPv4 header, in bytes.
        pointer: u8,
    },
    /// IPv4 source route with hops left (RFC 7915 §4.1).
    SourceRoute,
    /// IPv6 routing header with segments left (RFC 7915 §5.1).
    Routing {
        /// Offset of its segments left field from the start of the IPv6 header, in bytes.
        pointer: u16,
    },
    /// More than [`crate::net::ipv6::MAX_EXTENSIONS`] IPv6 extension headers.
    TooManyExtensions,
    /// Another extension header follows an IPv6 fragment header (RFC 7915 §5.1.1).
    FragmentedExtension,
    /// An impossible fragment: its length is not a multiple of 8, or it ends past 65535 bytes (RFC 8200 §4.5).
    Fragment,
    /// A fragment of an ICMP message. Its checksum covers the whole message and cannot be updated (RFC 7915 §1.2).
    FragmentedIcmp,
    /// The payload is too long for IPv4.
    TooLong,
    /// The protocol number has another meaning in the other family, or is AH, or is IGMP, which never leaves its link
    /// (RFC 7915 §4.2).
    Protocol,
    /// UDP without a checksum, in fragments or with [`super::Options::computes_udp_checksum`] off (RFC 7915 §4.5).
    UdpWithoutChecksum,
    /// The other family has no such ICMP message (RFC 7915 §4.2, RFC 7915 §5.2).
    IcmpType,
    /// The other family has no such code of an ICMP error (RFC 7915 §4.2, RFC 7915 §5.2).
    IcmpCode,
    /// A parameter problem with a field that the header of the other family lacks (RFC 7915 §4.2, RFC 7915 §5.2).
    IcmpPointer,
    /// The packet that an ICMP error quotes is malformed, or cannot be translated.
    Quote,
    /// An ICMP error quotes an ICMP error (RFC 7915 §4.3, RFC 7915 §5.3).
    QuotedError,
    /// The addresses of the packet that an ICMP error quotes have no counterpart in the other family.
    QuotedAddress,
}

impl Refused {
    /// The ICMP error for the sender; `None` when the packet is dropped silently.
    ///
    /// The caller still applies the rules for every ICMP error: no error about an ICMP error, about a fragment other
    /// than the first, or to or about a multicast or broadcast (RFC 1122 §3.2.2, RFC 4443 §2.4), and a rate limit.
    #[must_use]
    pub const fn answer(self) -> Option<Answer> {
        match self {
            Refused::Option { pointer } => {
                Some(Answer::V4 { kind: icmp4::kind::PARAMETER_PROBLEM, code: 0, pointer })
            }
            Refused::SourceRoute => Some(Answer::V4 {
                kind: icmp4::kind::UNREACHABLE,
                code: unreachable::SOURCE_ROUTE_FAILED,
                pointer: 0,
            }),
            Refused::UdpWithoutChecksum => {
                Some(Answer::V4 { kind: icmp4::kind::UNREACHABLE, code: unreachable::PROHIBITED, pointer: 0 })
            }
            Refused::Routing { pointer } => {
                Some(Answer::V6 { kind: icmp6::kind::PARAMETER_PROBLEM, code: 0, pointer: pointer as u32 })
            }
            Refused::TooManyExtensions | Refused::FragmentedExtension | Refused::TooLong => {
                Some(Answer::V6 { kind: icmp6::kind::UNREACHABLE, code: 1, pointer: 0 })
            }
            Refused::Headroom
            | Refused::Truncated
            | Refused::Version
            | Refused::HeaderChecksum
            | Refused::Fragment
            | Refused::FragmentedIcmp
            | Refused::Protocol
            | Refused::IcmpType
            | Refused::IcmpCode
            | Refused::IcmpPointer
            | Refused::Quote
            | Refused::QuotedError
            | Refused::QuotedAddress => None,
        }
    }
}
