//! The rules of RFC 7915 §4: translation from IPv4 to IPv6.

use super::*;
use crate::siit::Answer;

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_fields_of_the_header() {
    let mut packet = packet4(Upper::Tcp, b"data");
    edit4(&mut packet, |mut view| {
        view.set_tos(0xb9);
        view.set_ttl(17);
    });
    let wanted = [&[0x6b, 0x90, 0, 0, 0, 24, 6, 17][..], &A6.to_be_bytes(), &B6.to_be_bytes()].concat();
    let translated = there6(&packet).unwrap();
    assert_eq!(translated[..40], wanted);
    assert_eq!(translated.len(), packet.len() + 20);
    assert!(is_right(&translated));
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_type_of_service_can_be_ignored() {
    let mut packet = packet4(Upper::Tcp, b"");
    edit4(&mut packet, |mut view| view.set_tos(0xff));
    let options = Options { copies_class: false, ..Options::default() };
    assert_eq!(into_v6(&packet, &FROM_A6, &options).unwrap()[..4], [0x60, 0, 0, 0]);
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_options_are_skipped() {
    let packet = packet4(Upper::Udp, b"data");
    let expired = [131, 7, 8, 192, 0, 2, 9, 0];
    for options in [&[1, 1, 1, 0][..], &expired, &[1; 40]] {
        assert_eq!(there6(&with_options(&packet, options)), there6(&packet));
    }
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_an_unexpired_source_route_is_refused_with_source_route_failed() {
    for kind in [131, 137] {
        let packet = with_options(&packet4(Upper::Udp, b""), &[1, kind, 7, 4, 192, 0, 2, 9]);
        assert_eq!(there6(&packet), Err(Refused::SourceRoute));
    }
    assert_eq!(Refused::SourceRoute.answer(), Some(Answer::V4 { kind: 3, code: 5, pointer: 0 }));
}

#[test]
fn rfc_1812_a_malformed_option_is_a_parameter_problem() {
    let packet = with_options(&packet4(Upper::Udp, b""), &[1, 7, 60, 4]);
    let refused = there6(&packet).unwrap_err();
    assert_eq!(refused, Refused::Option { pointer: 22 });
    assert_eq!(refused.answer(), Some(Answer::V4 { kind: 12, code: 0, pointer: 22 }));
}

#[test]
fn rfc_1812_a_wrong_header_checksum_is_refused() {
    let mut packet = packet4(Upper::Udp, b"");
    packet[8] ^= 1;
    assert_eq!(there6(&packet), Err(Refused::HeaderChecksum));
}

#[test]
fn what_is_cut_short_is_refused_and_padding_is_left_out() {
    let packet = packet4(Upper::Tcp, b"data");
    for length in 0..packet.len() {
        assert_eq!(there6(&packet[..length]), Err(Refused::Truncated), "{length}");
    }
    assert_eq!(there6(&[&packet[..], &[0; 9]].concat()), there6(&packet));
    let mut odd = packet.clone();
    edit4(&mut odd, |mut view| view.set_total_length(19));
    assert_eq!(there6(&odd), Err(Refused::Truncated));
    let six = packet6(Upper::Tcp, b"");
    assert_eq!(there6(&six), Err(Refused::Version));
    assert_eq!(there6(&v4(A4, B4, 6, &[0; 17])), Err(Refused::Truncated));
    assert_eq!(there6(&v4(A4, B4, 17, &[0; 5])), Err(Refused::Truncated));
    assert_eq!(there6(&v4(A4, B4, 1, &[8, 0, 0, 0])), Err(Refused::Truncated));
    assert_eq!(there6(&v4(A4, B4, 1, &[])), Err(Refused::Truncated));
}

#[test]
fn too_little_headroom_is_refused() {
    let packet = packet4(Upper::Udp, b"data");
    let translate = |front: usize| {
        let mut room = [&vec![0; front], &packet[..]].concat();
        let before = room.clone();
        let at = front..front + packet.len();
        let result = to_v6(&mut room, at, &FROM_A6, quoted6, &Options::default());
        assert!(result.is_ok() || room == before);
        result
    };
    assert_eq!(translate(19), Err(Refused::Headroom));
    assert_eq!(translate(20), Ok(0..packet.len() + 20));
    let mut room = packet.clone();
    let outside = 4..room.len() + 1;
    let result = to_v6(&mut room, outside, &FROM_A6, quoted6, &Options::default());
    assert_eq!(result, Err(Refused::Truncated));
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_fragments() {
    let (_, segment) = segment4(Upper::Udp, &[7; 56]);
    for (offset, more, part) in
        [(0, true, &segment[..32]), (4, true, &segment[32..48]), (6, false, &segment[48..])]
    {
        let mut packet = v4(A4, B4, 17, part);
        edit4(&mut packet, |mut view| view.set_fragment(false, more, offset));
        let translated = there6(&packet).unwrap();
        let wanted = fragment_of(offset, more, 0x4321, 17, part);
        assert_eq!(translated.len(), packet.len() + 28);
        assert_eq!((translated[6], &translated[4..6]), (44, &(part.len() as u16 + 8).to_be_bytes()[..]));
        assert_eq!(translated[40..48], wanted[..8]);
        // Only the first fragment holds the checksum.
        let same = if offset == 0 { 56.. } else { 48.. };
        assert_eq!(translated[same.clone()], wanted[same.start - 40..]);
    }
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_df_decides_on_the_fragment_header_above_1280() {
    let translated = |data: usize, df: bool| {
        let mut packet = packet4(Upper::Udp, &vec![1; data]);
        edit4(&mut packet, |mut view| view.set_fragment(df, false, 0));
        there6(&packet).unwrap()
    };
    let next = |data, df| translated(data, df)[6];
    assert_eq!((next(1232, false), translated(1232, false).len()), (17, 1280));
    assert_eq!((next(1233, false), next(1233, true)), (44, 17));
    // An atomic fragment, for `fragment::v6` to split.
    assert_eq!(translated(1233, false)[40..48], [17, 0, 0, 0, 0, 0, 0x43, 0x21]);
    assert!(is_right(&translated(1233, false)));
    let mut packet = packet4(Upper::Udp, &[1; 1400]);
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 0));
    let options = Options { lowest_mtu6: 1500, ..Options::default() };
    assert_eq!(into_v6(&packet, &FROM_A6, &options).unwrap()[6], 17);
}

// RFC 7915 §1.2
#[test]
fn rfc_7915_section_1_2_whole_icmp_gets_no_fragment_header() {
    let mut packet = packet4(Upper::EchoRequest, &[1; 1400]);
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 0));
    let translated = there6(&packet).unwrap();
    assert_eq!((translated[6], translated.len()), (58, packet.len() + 20));
}

// RFC 791 §3.1
#[test]
fn rfc_791_a_fragment_that_no_datagram_holds_is_refused() {
    let fragment = |offset, more, bytes| {
        let mut packet = v4(A4, B4, 17, &vec![1; bytes]);
        edit4(&mut packet, |mut view| view.set_fragment(false, more, offset));
        there6(&packet)
    };
    assert_eq!(fragment(8, true, 9), Err(Refused::Fragment));
    assert_eq!(fragment(8191, false, 16), Err(Refused::Fragment));
    assert!(fragment(8, false, 9).is_ok() && fragment(8, true, 16).is_ok());
}

// RFC 7915 §1.2
#[test]
fn rfc_7915_section_1_2_fragments_of_icmp_are_refused() {
    let mut packet = packet4(Upper::EchoRequest, &[1; 24]);
    edit4(&mut packet, |mut view| view.set_fragment(false, true, 0));
    assert_eq!(there6(&packet), Err(Refused::FragmentedIcmp));
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 2));
    assert_eq!(there6(&packet), Err(Refused::FragmentedIcmp));
}

// RFC 7915 §4.2
#[test]
fn rfc_7915_section_4_2_echo() {
    for (upper, kind) in [(Upper::EchoRequest, 128), (Upper::EchoReply, 129)] {
        let translated = there6(&packet4(upper, b"data")).unwrap();
        assert_eq!(translated, packet6(upper, b"data"));
        assert_eq!((translated[6], translated[40]), (58, kind));
    }
}

// RFC 7915 §4.2
#[test]
fn rfc_7915_section_4_2_all_other_queries_are_dropped() {
    for kind in (0..=255u8).filter(|kind| ![0, 3, 4, 5, 8, 11, 12].contains(kind)) {
        assert_eq!(there6(&v4(A4, B4, 1, &[kind, 0, 0, 0, 0, 0, 0, 0])), Err(Refused::IcmpType));
    }
}

// RFC 7915 §4.2
#[test]
fn rfc_7915_section_4_2_igmp_is_dropped() {
    assert_eq!(there6(&v4(A4, B4, 2, &[0x11, 0, 0, 0, 0, 0, 0, 0])), Err(Refused::Protocol));
}

#[test]
fn no_sender_forges_headers_of_the_other_family() {
    for protocol in [0, 43, 44, 51, 58, 60, 135, 140] {
        assert_eq!(there6(&v4(A4, B4, protocol, &[17; 64])), Err(Refused::Protocol), "{protocol}");
    }
}

// RFC 7915 §4.5
#[test]
fn rfc_7915_section_4_5_udp_without_a_checksum_gets_one_when_all_of_it_is_there() {
    let mut packet = packet4(Upper::Udp, b"odd");
    packet[26..28].fill(0);
    assert_eq!(there6(&packet).unwrap(), packet6(Upper::Udp, b"odd"));
    let options = Options { computes_udp_checksum: false, ..Options::default() };
    assert_eq!(into_v6(&packet, &FROM_A6, &options), Err(Refused::UdpWithoutChecksum));
    for length in [7u16, 12] {
        packet[24..26].copy_from_slice(&length.to_be_bytes());
        assert_eq!(there6(&packet), Err(Refused::Truncated));
    }
}

// RFC 7915 §4.5
#[test]
fn rfc_7915_section_4_5_the_first_fragment_of_udp_without_a_checksum_is_refused() {
    let mut packet = packet4(Upper::Udp, &[1; 24]);
    packet[26..28].fill(0);
    edit4(&mut packet, |mut view| view.set_fragment(false, true, 0));
    assert_eq!(there6(&packet), Err(Refused::UdpWithoutChecksum));
    // A later fragment does not show whether the datagram has a checksum.
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 4));
    assert_eq!(there6(&packet).unwrap()[48..], packet[20..]);
    assert_eq!(Refused::UdpWithoutChecksum.answer(), Some(Answer::V4 { kind: 3, code: 13, pointer: 0 }));
}

// RFC 768
#[test]
fn a_udp_checksum_that_becomes_zero_is_sent_as_ffff() {
    // The payload word makes the sum in IPv6 zero.
    let mut packet = packet4(Upper::Udp, &[0, 0]);
    let sum = there6(&packet).unwrap()[46..48].to_vec();
    packet[28..30].copy_from_slice(&sum);
    let (source, destination) = (A4.to_be_bytes(), B4.to_be_bytes());
    let udp = etherparse::UdpSlice::from_slice(&packet[20..]).unwrap().to_header();
    let right = udp.calc_checksum_ipv4_raw(source, destination, &packet[28..]).unwrap();
    packet[26..28].copy_from_slice(&right.to_be_bytes());
    let translated = there6(&packet).unwrap();
    assert_eq!(translated[46..48], [0xff, 0xff]);
    assert!(is_right(&translated));
}

// RFC 7915 §4.1
#[test]
fn rfc_7915_section_4_1_every_other_protocol_passes_untouched() {
    for protocol in [4, 33, 41, 47, 50, 59, 132, 136, 139, 253] {
        let translated = there6(&v4(A4, B4, protocol, b"anything")).unwrap();
        assert_eq!((translated[6], &translated[40..]), (protocol, &b"anything"[..]));
    }
}
