//! Fragmentation: the reassembled fragments are the packet (RFC 8200 §4.5, RFC 791 §3.2).

use super::*;
use crate::siit::fragment::{self, Unsplittable};
use proptest::prelude::*;

fn split4(packet: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, Unsplittable> {
    let write = |piece: fragment::Piece<'_>| {
        let mut bytes = vec![0xee; piece.len()];
        assert_eq!(piece.write(&mut bytes[..piece.len() - 1]), None);
        assert_eq!(piece.write(&mut bytes), Some(piece.len()));
        bytes
    };
    Ok(fragment::v4(packet, mtu)?.map(write).collect())
}

fn split6(packet: &[u8], mtu: u16, identification: u32) -> Result<Vec<Vec<u8>>, Unsplittable> {
    let write = |piece: fragment::Piece<'_>| {
        let mut bytes = vec![0xee; piece.len()];
        assert_eq!(piece.write(&mut bytes[..piece.len() - 1]), None);
        assert_eq!(piece.write(&mut bytes), Some(piece.len()));
        bytes
    };
    Ok(fragment::v6(packet, mtu, identification)?.map(write).collect())
}

/// Reassembles fragments as a receiver does. Each is given as offset, more flag and data; the result is the data and
/// the more flag of the last.
fn joined(pieces: &[(u16, bool, Vec<u8>)], from: u16) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    for (at, (offset, more, part)) in pieces.iter().enumerate() {
        assert_eq!(usize::from(offset - from) * 8, data.len());
        assert!(*more || at == pieces.len() - 1);
        assert!(!more || part.len() % 8 == 0);
        data.extend_from_slice(part);
    }
    (data, pieces.last().unwrap().1)
}

fn place4(piece: &[u8]) -> (u16, bool, Vec<u8>) {
    let view = Ipv4::of(piece).unwrap();
    assert_eq!(usize::from(view.total_length()), piece.len());
    assert!(ipv4::is_intact(ipv4::header(piece).unwrap()));
    (view.fragment_offset(), view.more_fragments(), piece[view.header_length()..].to_vec())
}

/// Offset, more flag and data of a fragment whose fragment header is at `at`.
fn place6(piece: &[u8], at: usize) -> (u16, bool, Vec<u8>) {
    assert_eq!(usize::from(Ipv6::of(piece).unwrap().payload_length()) + 40, piece.len());
    let (_, fragment) = Fragment::read(piece[at..].first_chunk().unwrap());
    (fragment.offset, fragment.more, piece[at + 8..].to_vec())
}

fn splittable4(data: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..data).map(|n| n as u8).collect();
    let mut packet = packet4(Upper::Udp, &bytes);
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 0));
    packet
}

#[test]
fn a_packet_that_fits_is_left_as_it_is() {
    let (four, six) = (packet4(Upper::Udp, b"data"), packet6(Upper::Udp, b"data"));
    assert_eq!(split4(&four, four.len() as u16), Ok(vec![four]));
    assert_eq!(split6(&six, six.len() as u16, 1), Ok(vec![six]));
}

// RFC 791 §3.2
#[test]
fn rfc_791_what_must_not_be_split_is_not() {
    assert_eq!(split4(&packet4(Upper::Udp, &[0; 100]), 100), Err(Unsplittable::DontFragment));
    assert_eq!(split4(&splittable4(100), 27), Err(Unsplittable::Mtu));
    assert_eq!(split4(&splittable4(100), 28).unwrap().len(), 14);
}

// RFC 791 §3.1
#[test]
fn rfc_791_options_are_copied_when_their_type_says_so() {
    let packet = with_options(&splittable4(100), &[1, 7, 3, 4, 0x94, 4, 0, 0, 0x88, 3, 9, 0]);
    let pieces = split4(&packet, 80).unwrap();
    assert_eq!(pieces[0][20..32], packet[20..32]);
    for piece in &pieces[1..] {
        assert_eq!((piece[0], &piece[20..28]), (0x47, &[0x94, 4, 0, 0, 0x88, 3, 9, 0][..]));
    }
    let pieces: Vec<_> = pieces.iter().map(|piece| place4(piece)).collect();
    assert_eq!(joined(&pieces, 0), (packet[32..].to_vec(), false));
}

// RFC 8200 §4.5
#[test]
fn rfc_8200_headers_for_the_way_are_in_every_fragment() {
    let (_, segment) = segment6(Upper::Udp, &[7; 300]);
    let hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [43, 0, 1, 4, 9, 9, 9, 9];
    let routing = [60, 0, 4, 0, 0, 0, 0, 0];
    let last = [17, 0, 1, 4, 0, 0, 0, 0];
    let packet = v6(A6, B6, 0, &[&hop[..], &destination, &routing, &last, &segment].concat());
    let pieces = split6(&packet, 200, 0xabcd_ef01).unwrap();
    for piece in &pieces {
        assert_eq!((&piece[8..56], piece[6]), (&packet[8..56], 0));
        // The Next Header of the routing header is now the fragment header, whose Next Header is the original one.
        assert_eq!((piece[56], piece[64]), (44, 60));
        assert_eq!(piece[68..72], [0xab, 0xcd, 0xef, 1]);
    }
    let pieces: Vec<_> = pieces.iter().map(|piece| place6(piece, 64)).collect();
    assert_eq!(joined(&pieces, 0), (packet[64..].to_vec(), false));
    // Without a routing header, destination options belong to the fragmented part.
    let packet = v6(A6, B6, 60, &[&last[..], &segment].concat());
    assert_eq!(split6(&packet, 200, 1).unwrap()[0][6..7], [44]);
}

// RFC 8200 §4.5
#[test]
fn rfc_8200_the_first_fragment_holds_all_headers() {
    let (_, segment) = segment6(Upper::Udp, &[7; 300]);
    let long = [&[17, 4, 1, 36][..], &[0; 36], &segment].concat();
    let packet = v6(A6, B6, 60, &long);
    assert_eq!(split6(&packet, 80, 1), Err(Unsplittable::Mtu));
    assert!(split6(&packet, 88, 1).is_ok());
}

#[test]
fn what_is_not_as_long_as_it_says_is_not_split() {
    let (four, six) = (splittable4(100), packet6(Upper::Udp, &[0; 100]));
    assert_eq!(split4(&four[..99], 50), Err(Unsplittable::Malformed));
    assert_eq!(split4(&six, 50), Err(Unsplittable::Malformed));
    assert_eq!(split6(&six[..99], 80, 1), Err(Unsplittable::Malformed));
    assert_eq!(split6(&four, 80, 1), Err(Unsplittable::Malformed));
    assert_eq!(split6(&six, 55, 1), Err(Unsplittable::Mtu));
    assert_eq!(
        split6(&v6(A6, B6, 44, &fragment_of(8190, false, 1, 17, &[0; 90])), 80, 1),
        Err(Unsplittable::Malformed)
    );
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_a_long_packet_with_df_clear_becomes_fragments_of_at_most_1280_bytes() {
    let packet = splittable4(1472);
    let translated = there6(&packet).unwrap();
    let pieces = split6(&translated, 1280, 0).unwrap();
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [1280, 296]);
    // RFC 7915 §4.1 gives the same result as fragmenting in IPv4 at 1232 bytes of data and translating each fragment.
    let first: Vec<_> = split4(&packet, 1252).unwrap().iter().map(|piece| there6(piece).unwrap()).collect();
    assert_eq!(pieces, first);
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn ipv4_pieces_put_together_are_the_packet(
        data in 0usize..3000, mtu in 68u16..1600, again in 68u16..1600, options in 0usize..10, offset in 0u16..1000, more: bool,
    ) {
        let mut packet = with_options(&splittable4(data), &[&[0x94, 4, 0, 0].repeat(options / 2)[..], &[7, 4, 4, 0].repeat(options % 2)].concat());
        let more = more && (data + 8) % 8 == 0;
        edit4(&mut packet, |mut view| view.set_fragment(false, more, offset));
        let header = ipv4::header(&packet).unwrap().len();
        let pieces = split4(&packet, mtu).unwrap();
        prop_assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
        // Fragments of a fragment are fragments of the datagram.
        let finer: Vec<_> = pieces.iter().flat_map(|piece| split4(piece, again).unwrap()).collect();
        prop_assert!(finer.iter().all(|piece| piece.len() <= usize::from(again) && piece[4..6] == packet[4..6]));
        for pieces in [pieces, finer] {
            let places: Vec<_> = pieces.iter().map(|piece| place4(piece)).collect();
            prop_assert_eq!(joined(&places, offset), (packet[header..].to_vec(), more));
        }
    }

    #[test]
    fn ipv6_pieces_put_together_are_the_packet(
        units in 1usize..300, odd in 0usize..8, mtu in 80u16..1600, again in 80u16..1600, offset in 0u16..1000, more: bool, has: bool,
    ) {
        let data: Vec<u8> = (0..units * 8 + if more && has { 0 } else { odd }).map(|n| n as u8).collect();
        let (packet, from, more, name) = if has {
            (v6(A6, B6, 44, &fragment_of(offset, more, 77, 17, &data)), offset, more, 77)
        } else {
            (v6(A6, B6, 17, &data), 0, false, 99)
        };
        let pieces = split6(&packet, mtu, 99).unwrap();
        prop_assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
        if !has && pieces.len() == 1 {
            prop_assert_eq!(&pieces[0], &packet);
            return Ok(());
        }
        let finer: Vec<_> = pieces.iter().flat_map(|piece| split6(piece, again, 1).unwrap()).collect();
        for pieces in [pieces, finer] {
            prop_assert!(pieces.iter().all(|piece| piece[6] == 44 && piece[40] == 17 && piece[47] == name));
            let places: Vec<_> = pieces.iter().map(|piece| place6(piece, 40)).collect();
            prop_assert_eq!(joined(&places, from), (data.clone(), more));
        }
    }

    #[test]
    fn translated_pieces_put_together_are_the_translated_packet(data in 1260usize..3000, mtu in 576u16..1400) {
        let packet = splittable4(data);
        let whole = there6(&packet).unwrap();
        let pieces: Vec<_> = split4(&packet, mtu).unwrap().iter().map(|piece| there6(piece).unwrap()).collect();
        let places: Vec<_> = pieces.iter().map(|piece| place6(piece, 40)).collect();
        prop_assert_eq!(joined(&places, 0), (whole[48..].to_vec(), false));
        prop_assert!(is_right(&whole));
    }
}

#[test]
fn every_protocol_that_ipv4_sends_comes_back_whole_and_in_fragments() {
    let mut came_back = 0;
    for protocol in (0..=255).filter(|protocol| *protocol != 1) {
        for (offset, more) in [(0, false), (0, true), (8, true), (8, false)] {
            let mut packet = v4(A4, B4, protocol, &[7; 64]);
            edit4(&mut packet, |mut view| {
                view.set_identification(0x1234);
                view.set_fragment(offset == 0 && !more, more, offset);
            });
            let Ok(translated) = there6(&packet) else {
                assert!([0, 2, 43, 44, 51, 58, 60, 135, 140].contains(&protocol), "{protocol}");
                continue;
            };
            let back =
                there4(&translated).unwrap_or_else(|why| panic!("{protocol} {offset} {more}: {why:?}"));
            assert_eq!((back[9], &back[20..]), (protocol, &packet[20..]), "{offset} {more}");
            came_back += 1;
        }
    }
    assert_eq!(came_back, 4 * (255 - 9));
}
