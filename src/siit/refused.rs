//! Why a packet is not translated, and what its sender is told (RFC 7915 §4.4, §5.4).

use crate::net::icmp4::{self, unreachable};
use crate::net::icmp6;

/// An ICMP error for the sender of a refused packet, in the sender's family.
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
    /// Not of the IP version that is to be translated, or an IPv4 header shorter than 20 bytes.
    Version,
    /// The IPv4 header's checksum is wrong.
    HeaderChecksum,
    /// An IPv4 option has no length or runs past the header.
    Option {
        /// Offset of what is wrong from the start of the IPv4 header, in bytes.
        pointer: u8,
    },
    /// IPv4 source route with hops left (§4.1).
    SourceRoute,
    /// IPv6 routing header with segments left (§5.1).
    Routing {
        /// Offset of its segments left field from the start of the IPv6 header, in bytes.
        pointer: u16,
    },
    /// More IPv6 extension headers than are walked.
    TooManyExtensions,
    /// An IPv6 fragment header is followed by another extension header (§5.1.1).
    FragmentedExtension,
    /// A fragment that no datagram can contain: its length is not a multiple of 8, or it ends past 65535 bytes.
    Fragment,
    /// A fragment of an ICMP message, whose checksum cannot be made (§1.2).
    FragmentedIcmp,
    /// The payload is too long for IPv4.
    TooLong,
    /// The protocol number is one of the other family's, or IGMP, which never leaves its link (§4.2).
    Protocol,
    /// UDP without a checksum, in fragments or while none is to be computed (§4.5).
    UdpWithoutChecksum,
    /// The other family has no such ICMP message (§4.2, §5.2).
    IcmpType,
    /// The other family has no such code of an ICMP error (§4.2, §5.2).
    IcmpCode,
    /// A parameter problem with a field that the other family's header lacks (§4.2, §5.2).
    IcmpPointer,
    /// The packet that an ICMP error quotes is malformed, or would not have been translated.
    Quote,
    /// An ICMP error quotes an ICMP error (§4.3, §5.3).
    QuotedError,
    /// The addresses of the packet that an ICMP error quotes have no counterpart.
    QuotedAddress,
}

impl Refused {
    /// The error message that the sender should get; `None` when the packet is dropped silently.
    ///
    /// The caller still keeps the rules of every ICMP error: none about an ICMP error, about a fragment other than the
    /// first, to or about a multicast or broadcast (RFC 1122 §3.2.2, RFC 4443 §2.4), and not too many.
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
