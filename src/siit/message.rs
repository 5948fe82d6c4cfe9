//! Translates types, codes, pointers and MTUs of ICMP messages (RFC 7915 §4.2, RFC 7915 §5.2).

use super::{Options, Refused};
use crate::net::icmp4::{self, PLATEAUS, unreachable};
use crate::net::{icmp6, ipv4, ipv6};

/// The first eight bytes of an ICMP error, without the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// The 32 bits after the checksum: a pointer, an MTU or a length field (RFC 4884), otherwise 0.
    pub(super) word: u32,
}

impl Message {
    /// Reads the first eight bytes of a message, `None` when cut short.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [kind, code, _, _, a, b, c, d] = *bytes.first_chunk()?;
        Some(Message { kind, code, word: u32::from_be_bytes([a, b, c, d]) })
    }

    /// Writes the eight bytes with checksum 0.
    pub(super) fn write(self, into: &mut [u8; 8]) {
        into[..4].copy_from_slice(&[self.kind, self.code, 0, 0]);
        into[4..].copy_from_slice(&self.word.to_be_bytes());
    }
}

/// The ICMPv6 type for an ICMP message that is not an error. Only echo is translated: the others stay on their link or
/// are obsolete (RFC 7915 §4.2).
pub(super) fn query_to_6(kind: u8) -> Option<u8> {
    match kind {
        icmp4::kind::ECHO_REQUEST => Some(icmp6::kind::ECHO_REQUEST),
        icmp4::kind::ECHO_REPLY => Some(icmp6::kind::ECHO_REPLY),
        _ => None,
    }
}

/// The ICMP type for an ICMPv6 message that is not an error. Only echo is translated: Multicast Listener Discovery and
/// Neighbour Discovery stay on their link (RFC 7915 §5.2).
pub(super) fn query_to_4(kind: u8) -> Option<u8> {
    match kind {
        icmp6::kind::ECHO_REQUEST => Some(icmp4::kind::ECHO_REQUEST),
        icmp6::kind::ECHO_REPLY => Some(icmp4::kind::ECHO_REPLY),
        _ => None,
    }
}

/// The ICMPv6 error for an ICMP error that quotes a packet of `total` bytes (RFC 7915 §4.2).
pub(super) fn error_to_6(from: Message, total: u16, options: &Options) -> Result<Message, Refused> {
    let (kind, code, word) = match (from.kind, from.code) {
        (icmp4::kind::UNREACHABLE, unreachable::PROTOCOL) => {
            // The pointer names the field that was not understood: Next Header, at offset 6.
            (icmp6::kind::PARAMETER_PROBLEM, 1, 6)
        }
        (icmp4::kind::UNREACHABLE, unreachable::FRAGMENTATION_NEEDED) => {
            (icmp6::kind::PACKET_TOO_BIG, 0, mtu_to_6(from.word as u16, total, options))
        }
        (icmp4::kind::UNREACHABLE, code) => {
            let code = match code {
                0 | 1 | 5..=8 | 11 | 12 => 0,
                9 | 10 | 13 | 15 => 1,
                unreachable::PORT => 4,
                _ => return Err(Refused::IcmpCode),
            };
            (icmp6::kind::UNREACHABLE, code, 0)
        }
        (icmp4::kind::TIME_EXCEEDED, code) => (icmp6::kind::TIME_EXCEEDED, code, 0),
        (icmp4::kind::PARAMETER_PROBLEM, 0 | 2) => {
            let pointer = pointer_to_6((from.word >> 24) as u8).ok_or(Refused::IcmpPointer)?;
            (icmp6::kind::PARAMETER_PROBLEM, 0, u32::from(pointer))
        }
        (icmp4::kind::PARAMETER_PROBLEM, _) => return Err(Refused::IcmpCode),
        _ => return Err(Refused::IcmpType),
    };
    Ok(Message { kind, code, word })
}

/// The ICMP error for an ICMPv6 error (RFC 7915 §5.2). `fragmented` tells whether the quoted packet has a fragment
/// header.
pub(super) fn error_to_4(from: Message, fragmented: bool, options: &Options) -> Result<Message, Refused> {
    let (kind, code, word) = match (from.kind, from.code) {
        (icmp6::kind::UNREACHABLE, code) => {
            let code = match code {
                0 | 2 | 3 => unreachable::HOST,
                1 => unreachable::HOST_PROHIBITED,
                4 => unreachable::PORT,
                _ => return Err(Refused::IcmpCode),
            };
            (icmp4::kind::UNREACHABLE, code, 0)
        }
        (icmp6::kind::PACKET_TOO_BIG, _) => {
            let mtu = mtu_to_4(from.word, fragmented, options);
            (icmp4::kind::UNREACHABLE, unreachable::FRAGMENTATION_NEEDED, u32::from(mtu))
        }
        (icmp6::kind::TIME_EXCEEDED, code) => (icmp4::kind::TIME_EXCEEDED, code, 0),
        (icmp6::kind::PARAMETER_PROBLEM, 0) => {
            let pointer = pointer_to_4(from.word).ok_or(Refused::IcmpPointer)?;
            (icmp4::kind::PARAMETER_PROBLEM, 0, u32::from(pointer) << 24)
        }
        (icmp6::kind::PARAMETER_PROBLEM, 1) => (icmp4::kind::UNREACHABLE, unreachable::PROTOCOL, 0),
        (icmp6::kind::PARAMETER_PROBLEM, _) => return Err(Refused::IcmpCode),
        _ => return Err(Refused::IcmpType),
    };
    Ok(Message { kind, code, word })
}

/// The offset of the IPv6 header field for that of an IPv4 header field (RFC 7915 §4.2, figure 3).
fn pointer_to_6(pointer: u8) -> Option<u8> {
    match pointer {
        0 | 1 => Some(pointer), // version, type of service
        2 | 3 => Some(4),       // length
        8 => Some(7),           // time to live
        9 => Some(6),           // protocol
        12..=15 => Some(8),     // source
        16..=19 => Some(24),    // destination
        _ => None,
    }
}

/// The offset of the IPv4 header field for that of an IPv6 header field (RFC 7915 §5.2, figure 6).
fn pointer_to_4(pointer: u32) -> Option<u8> {
    match pointer {
        0 => Some(0),        // version
        1 => Some(1),        // traffic class
        4 | 5 => Some(2),    // length
        6 => Some(9),        // next header
        7 => Some(8),        // hop limit
        8..=23 => Some(12),  // source
        24..=39 => Some(16), // destination
        _ => None,
    }
}

/// Bytes by which the IPv6 header is longer than the IPv4 header; [`FRAGMENT_GROWTH`] counts a fragment header too.
const GROWTH: u32 = (ipv6::HEADER - ipv4::HEADER) as u32;
const FRAGMENT_GROWTH: u32 = GROWTH + crate::net::fragment::HEADER as u32;

/// The MTU of a Packet Too Big, from that of a Fragmentation Needed; at least 1280 (RFC 7915 §4.2).
fn mtu_to_6(mtu: u16, total: u16, options: &Options) -> u32 {
    let lowest = u32::from(ipv6::MIN_MTU);
    let told = match mtu {
        // A router older than RFC 1191 sends MTU 0. The next plateau below the length of the packet is then the guess
        // (RFC 1191 §5).
        0 => PLATEAUS.iter().find(|plateau| **plateau < total).map_or(lowest, |plateau| u32::from(*plateau)),
        mtu => u32::from(mtu) + GROWTH,
    };
    told.min(u32::from(options.mtu6)).min(u32::from(options.mtu4) + GROWTH).max(lowest)
}

/// The MTU of a Fragmentation Needed, from that of a Packet Too Big (RFC 7915 §5.2).
///
/// It leaves room for the growth of the headers. It is at least 68, the MTU of any link, because 0 would mean that
/// the MTU is unknown.
fn mtu_to_4(mtu: u32, fragmented: bool, options: &Options) -> u16 {
    let growth = if fragmented { FRAGMENT_GROWTH } else { GROWTH };
    let told = mtu.saturating_sub(growth).min(u32::from(options.mtu6).saturating_sub(growth));
    (told.min(u32::from(options.mtu4)) as u16).max(ipv4::MIN_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, code: u8, word: u32) -> Message {
        Message { kind, code, word }
    }

    fn to_6(kind: u8, code: u8, word: u32) -> Result<(u8, u8, u32), Refused> {
        error_to_6(message(kind, code, word), 1500, &Options::default()).map(|m| (m.kind, m.code, m.word))
    }

    fn to_4(kind: u8, code: u8, word: u32) -> Result<(u8, u8, u32), Refused> {
        error_to_4(message(kind, code, word), false, &Options::default()).map(|m| (m.kind, m.code, m.word))
    }

    // RFC 7915 §4.2
    #[test]
    fn rfc_7915_section_4_2_queries() {
        let translated: Vec<_> = (0..=255).filter_map(|kind| Some((kind, query_to_6(kind)?))).collect();
        assert_eq!(translated, [(0, 129), (8, 128)]);
    }

    // RFC 7915 §4.2
    #[test]
    fn rfc_7915_section_4_2_unreachable() {
        let codes = [0, 0, 255, 4, 255, 0, 0, 0, 0, 1, 1, 0, 0, 1, 255, 1];
        for (code, wanted) in codes.into_iter().enumerate() {
            let wanted = match (code, wanted) {
                (2, _) => Ok((4, 1, 6)),
                (4, _) => Ok((2, 0, 1420)),
                (_, 255) => Err(Refused::IcmpCode),
                (_, wanted) => Ok((1, wanted, 0)),
            };
            assert_eq!(to_6(3, code as u8, 1400), wanted, "code {code}");
        }
        assert!((16..=255).all(|code| to_6(3, code, 0) == Err(Refused::IcmpCode)));
    }

    // RFC 7915 §4.2
    #[test]
    fn rfc_7915_section_4_2_other_errors() {
        assert_eq!(to_6(11, 0, 9), Ok((3, 0, 0)));
        assert_eq!(to_6(11, 1, 0), Ok((3, 1, 0)));
        assert_eq!(to_6(12, 1, 0), Err(Refused::IcmpCode));
        assert_eq!(to_6(12, 3, 0), Err(Refused::IcmpCode));
        for kind in [4, 5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 40, 255] {
            assert_eq!(to_6(kind, 0, 0), Err(Refused::IcmpType), "type {kind}");
        }
    }

    // RFC 7915 §4.2
    #[test]
    fn rfc_7915_section_4_2_figure_3_pointers() {
        let fields = [0, 1, 4, 4, 99, 99, 99, 99, 7, 6, 99, 99, 8, 8, 8, 8, 24, 24, 24, 24, 99];
        for (pointer, wanted) in fields.into_iter().enumerate() {
            let wanted = if wanted == 99 { Err(Refused::IcmpPointer) } else { Ok((4, 0, wanted)) };
            assert_eq!(to_6(12, 0, (pointer as u32) << 24), wanted, "pointer {pointer}");
            assert_eq!(to_6(12, 2, (pointer as u32) << 24), wanted, "pointer {pointer}");
        }
    }

    // RFC 7915 §4.2
    #[test]
    fn rfc_7915_section_4_2_mtu_is_between_1280_and_the_next_hops() {
        let told = |mtu, mtu4, mtu6| mtu_to_6(mtu, 1500, &Options { mtu4, mtu6, ..Options::default() });
        assert_eq!(told(1400, 1500, 1500), 1420);
        assert_eq!(told(1400, 1500, 1410), 1410);
        assert_eq!(told(1400, 1300, 1500), 1320);
        assert_eq!(told(576, 1500, 1500), 1280);
        assert_eq!(told(65535, 65535, 65535), 65535);
    }

    // RFC 1191 §5, RFC 1191 §7, RFC 7915 §4.2
    #[test]
    fn rfc_1191_a_missing_mtu_is_the_plateau_below_the_packet() {
        let told = |total| mtu_to_6(0, total, &Options { mtu4: 65535, mtu6: 65535, ..Options::default() });
        assert_eq!(told(1500), 1492);
        assert_eq!(told(1492), 1280);
        assert_eq!(told(9000), 8166);
        assert_eq!(told(65535), 32000);
        assert_eq!(told(0), 1280);
    }

    // RFC 7915 §5.2
    #[test]
    fn rfc_7915_section_5_2_queries() {
        let translated: Vec<_> = (0..=255).filter_map(|kind| Some((kind, query_to_4(kind)?))).collect();
        assert_eq!(translated, [(128, 8), (129, 0)]);
    }

    // RFC 7915 §5.2
    #[test]
    fn rfc_7915_section_5_2_errors() {
        for (code, wanted) in [1, 10, 1, 1, 3].into_iter().enumerate() {
            assert_eq!(to_4(1, code as u8, 0), Ok((3, wanted, 0)));
        }
        assert!((5..=255).all(|code| to_4(1, code, 0) == Err(Refused::IcmpCode)));
        assert_eq!(to_4(2, 0, 1400), Ok((3, 4, 1380)));
        assert_eq!(to_4(3, 0, 5), Ok((11, 0, 0)));
        assert_eq!(to_4(3, 1, 5), Ok((11, 1, 0)));
        assert_eq!(to_4(4, 1, 40), Ok((3, 2, 0)));
        assert_eq!(to_4(4, 2, 40), Err(Refused::IcmpCode));
        for kind in [0, 5, 100, 127, 128, 130, 131, 132, 133, 134, 135, 136, 137, 143, 255] {
            assert_eq!(to_4(kind, 0, 0), Err(Refused::IcmpType), "type {kind}");
        }
    }

    // RFC 7915 §5.2
    #[test]
    fn rfc_7915_section_5_2_figure_6_pointers() {
        for pointer in (0..=48).chain([255, 256, u32::MAX]) {
            let wanted = match pointer {
                0 | 1 => Ok((12, 0, pointer << 24)),
                4 | 5 => Ok((12, 0, 2 << 24)),
                6 => Ok((12, 0, 9 << 24)),
                7 => Ok((12, 0, 8 << 24)),
                8..=23 => Ok((12, 0, 12 << 24)),
                24..=39 => Ok((12, 0, 16 << 24)),
                _ => Err(Refused::IcmpPointer),
            };
            assert_eq!(to_4(4, 0, pointer), wanted, "pointer {pointer}");
        }
    }

    // RFC 7915 §5.2
    #[test]
    fn rfc_7915_section_5_2_mtu_leaves_room_for_the_longer_headers() {
        let told = |mtu, fragmented, mtu4, mtu6| {
            mtu_to_4(mtu, fragmented, &Options { mtu4, mtu6, ..Options::default() })
        };
        assert_eq!(told(1400, false, 1500, 1500), 1380);
        assert_eq!(told(1400, true, 1500, 1500), 1372);
        assert_eq!(told(1400, false, 1300, 1500), 1300);
        assert_eq!(told(1400, false, 1500, 1350), 1330);
        assert_eq!(told(u32::MAX, false, 65535, 65535), 65515);
        assert_eq!(told(0, true, 1500, 0), 68);
    }
}
