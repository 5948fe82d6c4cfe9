//! The two walks over IPv6 headers agree: that of the translation, and [`ipv6::upper`], by which the node filters,
//! answers and counts.

use super::*;
use crate::net::extension;
use crate::siit::head::Head;
use proptest::prelude::*;

/// One header of a chain: its type, its length field and the byte that is Segments Left in a routing header.
#[derive(Debug, Clone)]
struct Part {
    kind: u8,
    units: u8,
    segments: u8,
    /// Fragment offset in units of 8 bytes, and whether more fragments follow.
    place: (u16, bool),
}

fn part() -> impl Strategy<Value = Part> {
    let kinds = vec![0u8, 43, 44, 51, 60, 60, 0, 135, 139, 140, 50, 59, 253];
    let place =
        prop_oneof![4 => Just((0, false)), 1 => Just((0, true)), 1 => Just((3, true)), 1 => Just((3, false))];
    (prop::sample::select(kinds), 0u8..4, prop_oneof![4 => Just(0u8), 1 => Just(1u8)], place)
        .prop_map(|(kind, units, segments, place)| Part { kind, units, segments, place })
}

/// A packet with these headers, and `last` behind them.
fn chain(parts: &[Part], last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ipv6::HEADER];
    for (n, part) in parts.iter().enumerate() {
        let next_header = parts.get(n + 1).map_or(last, |part| part.kind);
        let mut header = [next_header, part.units, 0, part.segments, 0, 0, 0, 7];
        if part.kind == next::FRAGMENT {
            let (offset, more) = part.place;
            Fragment { offset, more, identification: 7 }.write(&mut header, next_header);
        }
        bytes.extend_from_slice(&header);
        bytes.resize(bytes.len() + extension::length(part.kind, &header) - 8, 0);
    }
    bytes.extend_from_slice(payload);
    let first = parts.first().map_or(last, |part| part.kind);
    let length = (bytes.len() - ipv6::HEADER) as u16;
    Ipv6::of_mut(&mut bytes).unwrap().write(length, first, 64, A6, B6);
    bytes
}

/// What both walks say of a packet must be the same; and what only one of them refuses must have its reason.
fn agree(packet: &[u8]) {
    let (walked, read) = (ipv6::upper(packet), Head::<u128>::accept(packet, &Options::default()));
    match (walked, read) {
        (Ok(upper), Ok(head)) => {
            assert_eq!((upper.protocol, upper.offset), (head.protocol, head.length));
            assert_eq!(upper.fragment, head.fragment.is_some());
            assert_eq!((upper.later_fragment, upper.piece), (head.is_later(), head.is_piece()));
            assert!(!upper.source_routed);
        }
        (Err(why), Ok(head)) => panic!("{why:?}: {head:?}"),
        (Err(ipv6::WalkError::TooMany), Err(refused)) => assert!(
            matches!(
                refused,
                Refused::TooManyExtensions
                    | Refused::Routing { .. }
                    | Refused::FragmentedExtension
                    | Refused::Protocol
            ),
            "{refused:?}"
        ),
        (Err(ipv6::WalkError::Truncated), Err(_)) => {}
        (Ok(upper), Err(refused)) => {
            let has_its_reason = match refused {
                Refused::Routing { .. } => upper.source_routed,
                Refused::FragmentedExtension => upper.fragment,
                Refused::Fragment => upper.piece,
                Refused::FragmentedIcmp => upper.piece && upper.protocol == next::ICMP6,
                // ICMP, IGMP, or AH on the way.
                Refused::Protocol => {
                    matches!(upper.protocol, 1 | 2)
                        || upper.offset > ipv6::HEADER && packet.contains(&next::AH)
                }
                _ => false,
            };
            assert!(has_its_reason, "{refused:?}: {upper:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn the_translation_and_the_walk_find_the_same_upper_layer(
        parts in proptest::collection::vec(part(), 0..11),
        last in prop::sample::select(vec![1u8, 2, 6, 17, 58, 58, 59, 50, 135]),
        payload in proptest::collection::vec(any::<u8>(), 0..24),
        cut in prop_oneof![3 => Just(0usize), 1 => 0usize..80],
    ) {
        let mut packet = chain(&parts, last, &payload);
        agree(&packet);
        // The end is missing, and the header says so.
        let kept = packet.len().saturating_sub(cut).max(ipv6::HEADER);
        packet.truncate(kept);
        Ipv6::of_mut(&mut packet).unwrap().set_payload_length((kept - ipv6::HEADER) as u16);
        agree(&packet);
    }

    #[test]
    fn the_walks_agree_about_any_bytes(
        first in prop::sample::select(vec![0u8, 43, 44, 51, 60, 135]),
        bytes in proptest::collection::vec(prop_oneof![
            3 => prop::sample::select(vec![0u8, 1, 6, 17, 43, 44, 51, 58, 60]), 1 => any::<u8>()], 0..200),
    ) {
        let mut packet = vec![0; ipv6::HEADER];
        Ipv6::of_mut(&mut packet).unwrap().write(bytes.len() as u16, first, 64, A6, B6);
        packet.extend(bytes);
        agree(&packet);
    }
}

/// An ICMPv6 error that quotes what A sent to B.
fn error() -> Vec<u8> {
    let quote = packet6(Upper::Udp, b"quoted");
    let mut message = [&[3, 0, 0, 0, 0, 0, 0, 0], &quote[..]].concat();
    let sum = crate::net::checksum::transport(A6, B6, next::ICMP6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

#[test]
fn no_icmp_error_is_hidden_behind_other_headers() {
    let part = |kind| Part { kind, units: 0, segments: 0, place: (0, false) };
    for kind in [next::HOP_BY_HOP, next::ROUTING, next::DESTINATION, next::FRAGMENT] {
        // It is seen, and translated as the error that it is.
        let packet = chain(&[part(kind)], next::ICMP6, &error());
        let translated = into_v4(&packet, &FROM_A4, &Options::default()).unwrap();
        assert_eq!((translated[9], translated[20]), (1, 11), "{kind}");
    }
    for parts in [&[part(next::AH)][..], &[part(60), part(next::AH)], &[part(next::AH), part(60)]] {
        let packet = chain(parts, next::ICMP6, &error());
        assert_eq!(into_v4(&packet, &FROM_A4, &Options::default()), Err(Refused::Protocol));
    }
    // Nor is one of the other family.
    let hidden = [&[next::ICMP6, 0, 0, 0, 0, 0, 0, 0], &error()[..]].concat();
    assert_eq!(there6(&v4(A4, B4, next::AH, &hidden)), Err(Refused::Protocol));
}
