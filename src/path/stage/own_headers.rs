//! The headers of a packet to this node, as a host reads them: unknown options and unknown next headers stop the packet
//! (RFC 8200 §4, RFC 8200 §4.2, RFC 8200 §4.4, RFC 4443 §3.4).

use crate::net::extension;
use crate::net::fragment::Fragment;
use crate::net::icmp6::Error;
use crate::net::ipv6::{self, next};

/// Option types that this node knows (RFC 8200 §4.2, RFC 2711 §2.1). A router alert asks for what it does anyway.
const PAD_1: u8 = 0;
const PAD_N: u8 = 1;
const ROUTER_ALERT: u8 = 5;

/// Codes of a parameter problem (RFC 4443 §3.4).
const ERRONEOUS_FIELD: u8 = 0;
const UNKNOWN_NEXT_HEADER: u8 = 1;
const UNKNOWN_OPTION: u8 = 2;

/// Why a packet is not for this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::path) enum Refusal {
    /// An extension header or an option that this node does not understand, with the error that is due.
    Header(Option<Error>),
    /// An upper-layer protocol that this node does not have, with the error that is due.
    Protocol(Option<Error>),
}

/// Checks all headers of `packet` in their order, and that the upper layer is ICMPv6, TCP or UDP. Of a fragment only the
/// headers before its fragment header are checked. `is_group` tells that the packet went to a group: then only an
/// option can demand an error (RFC 4443 §2.4 (e.3)).
///
/// # Errors
/// [`Refusal`], for the first header that stops the packet.
pub(in crate::path) fn check(packet: &[u8], is_group: bool) -> Result<(), Refusal> {
    let unicast = |code, pointer: usize| (!is_group).then_some(problem(code, pointer));
    // Offset of the field that names the header, its type, and its offset.
    let (mut named, mut kind, mut at) = (6, packet.get(6).copied().unwrap_or(next::NONE), ipv6::HEADER);
    while extension::is_walked(kind) {
        let header =
            packet.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(Refusal::Header(None))?;
        let length = extension::length(kind, header);
        match kind {
            next::HOP_BY_HOP if at != ipv6::HEADER => {
                return Err(Refusal::Header(unicast(UNKNOWN_NEXT_HEADER, named)));
            }
            next::HOP_BY_HOP | next::DESTINATION => {
                let header = packet.get(at..at + length).ok_or(Refusal::Header(None))?;
                options(header, at, is_group).map_err(Refusal::Header)?;
            }
            // RFC 8200 §4.4, RFC 5095 §3: this node knows no routing type.
            next::ROUTING if header[3] != 0 => {
                return Err(Refusal::Header(unicast(ERRONEOUS_FIELD, at + 2)));
            }
            // RFC 4302 §3.4.2: without a security association nobody can verify it.
            next::AH => return Err(Refusal::Header(unicast(UNKNOWN_NEXT_HEADER, named))),
            next::FRAGMENT if !Fragment::read(header).1.is_atomic() => return Ok(()),
            _ => {}
        }
        (named, kind) = (at, header[0]);
        at += length;
    }
    match kind {
        next::ICMP6 | next::TCP | next::UDP => Ok(()),
        next::NONE => Err(Refusal::Protocol(None)),
        _ => Err(Refusal::Protocol(unicast(UNKNOWN_NEXT_HEADER, named))),
    }
}

const fn problem(code: u8, pointer: usize) -> Error {
    Error::ParameterProblem { code, pointer: pointer as u32 }
}

/// Checks the options of the hop-by-hop or destination options header that lies `at` bytes into the packet. The upper
/// two bits of an unknown option say what becomes of the packet (RFC 8200 §4.2).
///
/// # Errors
/// The error that is due, if one is.
fn options(header: &[u8], at: usize, is_group: bool) -> Result<(), Option<Error>> {
    let mut offset = 2;
    while let Some(kind) = header.get(offset) {
        if *kind == PAD_1 {
            offset += 1;
            continue;
        }
        let end = header.get(offset + 1).map(|length| offset + 2 + usize::from(*length));
        let Some(end) = end.filter(|end| *end <= header.len()) else {
            return Err((!is_group).then_some(problem(ERRONEOUS_FIELD, at + offset + 1)));
        };
        let unknown = problem(UNKNOWN_OPTION, at + offset);
        match (*kind, *kind >> 6) {
            (PAD_N | ROUTER_ALERT, _) | (_, 0b00) => {}
            (_, 0b01) => return Err(None),
            (_, 0b10) => return Err(Some(unknown)),
            _ => return Err((!is_group).then_some(unknown)),
        }
        offset = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ipv6::Ipv6;
    use proptest::prelude::*;

    fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ipv6::HEADER];
        Ipv6::of_mut(&mut bytes).unwrap().write(rest.len() as u16, next_header, 64, 1, 2);
        [bytes, rest.to_vec()].concat()
    }

    // RFC 8200 §4.2
    #[test]
    fn rfc_8200_section_4_2_the_upper_bits_of_an_unknown_option_decide() {
        for header in [next::HOP_BY_HOP, next::DESTINATION] {
            for kind in 2..=255u8 {
                let options = [next::ICMP6, 0, 0, kind, 2, 0, 0, 0];
                let told = Some(problem(2, 43));
                let expected = match (kind, kind >> 6) {
                    (5, _) | (_, 0) => [Ok(()); 2],
                    (_, 1) => [Err(Refusal::Header(None)); 2],
                    (_, 2) => [Err(Refusal::Header(told)); 2],
                    _ => [Err(Refusal::Header(told)), Err(Refusal::Header(None))],
                };
                let bytes = packet(header, &options);
                assert_eq!([false, true].map(|is_group| check(&bytes, is_group)), expected, "{kind}");
            }
        }
    }

    #[test]
    fn an_option_that_runs_past_its_header_is_an_erroneous_field() {
        let bytes = packet(next::DESTINATION, &[next::ICMP6, 0, 0, 0, 0, 1, 9, 0, 128, 0]);
        assert_eq!(check(&bytes, false), Err(Refusal::Header(Some(problem(0, 46)))));
        let bytes = packet(next::DESTINATION, &[next::ICMP6, 0, 1, 3, 0, 0, 0, 1]);
        assert_eq!(check(&bytes, false), Err(Refusal::Header(Some(problem(0, 48)))));
    }

    // RFC 8200 §4
    #[test]
    fn rfc_8200_section_4_an_unknown_next_header_is_pointed_at_where_it_is_named() {
        let pad = |next_header| [next_header, 0, 1, 4, 0, 0, 0, 0];
        for kind in (0..=255u8).filter(|kind| !extension::is_walked(*kind)) {
            let told = |pointer| match kind {
                next::ICMP6 | next::TCP | next::UDP => Ok(()),
                next::NONE => Err(Refusal::Protocol(None)),
                _ => Err(Refusal::Protocol(Some(problem(1, pointer)))),
            };
            assert_eq!(check(&packet(kind, &[0; 8]), false), told(6));
            assert_eq!(check(&packet(0, &[pad(60), pad(kind)].concat()), false), told(48));
        }
        // Hop-by-hop options stand first or nowhere.
        let late = packet(60, &[pad(0), pad(58)].concat());
        assert_eq!(check(&late, false), Err(Refusal::Header(Some(problem(1, 40)))));
        let signed = packet(51, &[&[58, 4][..], &[0; 22], &[128, 0]].concat());
        assert_eq!(check(&signed, false), Err(Refusal::Header(Some(problem(1, 6)))));
        assert_eq!(check(&signed, true), Err(Refusal::Header(None)));
    }

    // RFC 8200 §4.5
    #[test]
    fn rfc_8200_section_4_5_a_fragment_is_looked_into_only_if_it_is_the_whole_packet() {
        for (place, whole) in [
            ([0, 0], true),
            ([0, 6], true),
            ([0, 1], false),
            ([0, 8], false),
            ([0, 9], false),
            ([8, 0], false),
        ] {
            for (inner, refusal) in [
                (next::HOP_BY_HOP, Refusal::Header(Some(problem(1, 40)))),
                (next::NONE, Refusal::Protocol(None)),
                (253, Refusal::Protocol(Some(problem(1, 40)))),
            ] {
                let piece = [inner, 0, place[0], place[1], 0, 0, 0, 9, 58, 0, 1, 4, 0, 0, 0, 0];
                let expected = if whole { Err(refusal) } else { Ok(()) };
                assert_eq!(check(&packet(next::FRAGMENT, &piece), false), expected, "{inner} {place:?}");
            }
        }
    }

    // RFC 8200 §4.4
    #[test]
    fn rfc_8200_section_4_4_a_routing_header_with_segments_left_is_pointed_at() {
        for kind in [0, 2, 3, 4, 253] {
            let routing = |left| packet(next::ROUTING, &[next::ICMP6, 0, kind, left, 0, 0, 0, 0]);
            assert_eq!(check(&routing(0), false), Ok(()));
            assert_eq!(check(&routing(1), false), Err(Refusal::Header(Some(problem(0, 42)))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_pointer_lies_in_the_packet(
            first: u8, bytes in proptest::collection::vec(any::<u8>(), 0..120), is_group: bool,
        ) {
            let bytes = packet(first, &bytes);
            if let Err(Refusal::Header(Some(error)) | Refusal::Protocol(Some(error))) = check(&bytes, is_group) {
                let Error::ParameterProblem { pointer, .. } = error else { panic!("{error:?}") };
                // An option at the very end lacks the length that is pointed at.
                prop_assert!(pointer as usize <= bytes.len());
            }
        }
    }
}
