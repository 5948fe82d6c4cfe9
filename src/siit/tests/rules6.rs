//! The rules of RFC 7915 §5: translation from IPv6 to IPv4.

use super::*;
use crate::siit::Answer;

fn fields(packet: &[u8]) -> Ipv4<&[u8; ipv4::HEADER]> {
    Ipv4::of(packet).unwrap()
}

// RFC 7915 §5.1
#[test]
fn rfc_7915_section_5_1_fields_of_the_header() {
    let mut packet = packet6(Upper::Tcp, b"data");
    packet[..4].copy_from_slice(&[0x6b, 0x9a, 0xbc, 0xde]);
    packet[7] = 17;
    let translated = there4(&packet).unwrap();
    let view = fields(&translated);
    assert_eq!((view.tos(), view.ttl(), view.protocol(), view.total_length()), (0xb9, 17, 6, 44));
    assert_eq!((view.source(), view.destination(), view.identification()), (A4, B4, 0x7777));
    assert!(is_right(&translated) && translated.len() == 44);
    let options = Options { copies_class: false, ..Options::default() };
    assert_eq!(fields(&into_v4(&packet, &FROM_A4, &options).unwrap()).tos(), 0);
}

// RFC 7915 §5.1
#[test]
fn rfc_7915_section_5_1_df_is_set_above_1260_bytes() {
    let df = |data| {
        let translated = there4(&packet6(Upper::Udp, &vec![0; data])).unwrap();
        (translated.len(), fields(&translated).dont_fragment())
    };
    assert_eq!((df(1232), df(1233)), ((1260, false), (1261, true)));
}

// RFC 7915 §5.1
#[test]
fn rfc_7915_section_5_1_extension_headers_are_skipped() {
    let (_, segment) = segment6(Upper::Tcp, b"data");
    let plain = there4(&packet6(Upper::Tcp, b"data")).unwrap();
    let extended = [
        &[60, 0, 1, 4, 0, 0, 0, 0][..],
        &[43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 0, 0, 0, 0, 0, 0],
        &segment,
    ];
    let translated = there4(&v6(A6, B6, 0, &extended.concat())).unwrap();
    assert_eq!(translated, plain);
}

// RFC 7915 §5.1
#[test]
fn rfc_7915_section_5_1_segments_left_are_a_parameter_problem() {
    let (_, segment) = segment6(Upper::Tcp, b"data");
    let extended = [&[43, 0, 1, 4, 0, 0, 0, 0][..], &[6, 0, 4, 1, 0, 0, 0, 0], &segment];
    let refused = there4(&v6(A6, B6, 60, &extended.concat())).unwrap_err();
    assert_eq!(refused, Refused::Routing { pointer: 51 });
    assert_eq!(refused.answer(), Some(Answer::V6 { kind: 4, code: 0, pointer: 51 }));
}

#[test]
fn the_walk_over_extension_headers_is_bounded() {
    let many = |count| {
        let mut headers = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        let at = headers.len() - 8;
        headers[at] = 47;
        there4(&v6(A6, B6, 60, &headers))
    };
    assert!(many(ipv6::MAX_EXTENSIONS).is_ok());
    assert_eq!(many(ipv6::MAX_EXTENSIONS + 1), Err(Refused::TooManyExtensions));
}

// RFC 7915 §5.1.1
#[test]
fn rfc_7915_section_5_1_1_fragments() {
    let (_, segment) = segment6(Upper::Udp, &[7; 56]);
    for (offset, more, part) in
        [(0, true, &segment[..32]), (4, true, &segment[32..48]), (6, false, &segment[48..])]
    {
        let translated = there4(&v6(A6, B6, 44, &fragment_of(offset, more, 0xabcd_1234, 17, part))).unwrap();
        let view = fields(&translated);
        assert_eq!((view.identification(), view.fragment_offset()), (0x1234, offset));
        assert_eq!((view.more_fragments(), view.dont_fragment(), view.protocol()), (more, false, 17));
        assert_eq!(usize::from(view.total_length()), part.len() + 20);
        let same = if offset == 0 { 28.. } else { 20.. };
        assert_eq!(translated[same.clone()], part[same.start - 20..]);
    }
}

// RFC 7915 §5.1.1
#[test]
fn rfc_7915_section_5_1_1_an_atomic_fragment_may_be_split_on_the_way() {
    for upper in UPPERS {
        let (next, segment) = segment6(upper, &[7; 1400]);
        let translated =
            there4(&v6(A6, B6, 44, &fragment_of(0, false, 0xabcd_1234, next, &segment))).unwrap();
        let view = fields(&translated);
        assert_eq!(
            (view.identification(), view.more_fragments(), view.dont_fragment()),
            (0x1234, false, false)
        );
        assert!(is_right(&translated), "{upper:?}");
    }
}

// RFC 7915 §5.1.1
#[test]
fn rfc_7915_section_5_1_1_an_extension_header_behind_a_fragment_header_is_refused() {
    for next in [0, 43, 44, 51, 60, 135, 140] {
        let packet = v6(A6, B6, 44, &fragment_of(0, false, 1, next, &[6, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(there4(&packet), Err(Refused::FragmentedExtension), "{next}");
    }
    assert!(there4(&v6(A6, B6, 44, &fragment_of(0, false, 1, 50, &[0; 8]))).is_ok());
    assert_eq!(Refused::FragmentedExtension.answer(), Some(Answer::V6 { kind: 1, code: 1, pointer: 0 }));
}

// RFC 8200 §4.5
#[test]
fn rfc_8200_a_fragment_that_no_datagram_holds_is_refused() {
    let fragment = |offset, more, bytes: usize| {
        there4(&v6(A6, B6, 44, &fragment_of(offset, more, 1, 17, &vec![1; bytes])))
    };
    assert_eq!(fragment(8, true, 9), Err(Refused::Fragment));
    assert_eq!(fragment(8191, false, 16), Err(Refused::Fragment));
    assert!(fragment(8, false, 9).is_ok());
}

// RFC 7915 §1.2
#[test]
fn rfc_7915_section_1_2_fragments_of_icmp6_are_refused() {
    let (_, segment) = segment6(Upper::EchoRequest, &[1; 24]);
    for (offset, more) in [(0, true), (1, false)] {
        let packet = v6(A6, B6, 44, &fragment_of(offset, more, 1, 58, &segment));
        assert_eq!(there4(&packet), Err(Refused::FragmentedIcmp));
    }
}

// RFC 7915 §5.2
#[test]
fn rfc_7915_section_5_2_echo() {
    for upper in [Upper::EchoRequest, Upper::EchoReply] {
        let translated = there4(&packet6(upper, b"data")).unwrap();
        assert_eq!(translated[20..], packet4(upper, b"data")[20..]);
        assert_eq!(translated[9], 1);
    }
}

#[test]
fn an_echo_reply_of_zeros_has_the_one_checksum_that_is_right() {
    for length in [8, 9, 64] {
        let mut message = vec![0; length];
        message[0] = 129;
        let sum = crate::net::checksum::transport(A6, B6, 58, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let four = there4(&v6(A6, B6, 58, &message)).unwrap();
        assert_eq!(four[20..24], [0, 0, 0xff, 0xff]);
        assert!(is_right(&four));
        // A checksum that was wrong before is wrong afterwards.
        message[2] ^= 1;
        assert!(!is_right(&there4(&v6(A6, B6, 58, &message)).unwrap()));
    }
}

// RFC 7915 §5.2
#[test]
fn rfc_7915_section_5_2_neighbour_and_listener_discovery_are_dropped() {
    for kind in (130..=255).chain([128, 129]).filter(|kind| *kind > 129) {
        assert_eq!(there4(&v6(A6, B6, 58, &[kind, 0, 0, 0, 0, 0, 0, 0])), Err(Refused::IcmpType));
    }
}

#[test]
fn no_sender_forges_icmp() {
    for protocol in [1, 2] {
        assert_eq!(there4(&v6(A6, B6, protocol, &[8; 64])), Err(Refused::Protocol), "{protocol}");
    }
    // Nor does AH, which IPv4 would pass on to the protocol that it names.
    assert_eq!(there4(&v6(A6, B6, 51, &[&[1, 4][..], &[0; 62]].concat())), Err(Refused::Protocol));
}

// RFC 7915 §5.1
#[test]
fn rfc_7915_section_5_1_every_other_protocol_passes_untouched() {
    for protocol in [4, 33, 41, 47, 50, 59, 132, 135, 136, 253] {
        let translated = there4(&v6(A6, B6, protocol, b"anything")).unwrap();
        assert_eq!((translated[9], &translated[20..]), (protocol, &b"anything"[..]));
    }
}

// RFC 6935
#[test]
fn a_udp_checksum_of_zero_stays() {
    let mut packet = packet6(Upper::Udp, b"data");
    packet[46..48].fill(0);
    assert_eq!(there4(&packet).unwrap()[20..], packet[40..]);
}

#[test]
fn what_is_cut_short_is_refused_and_padding_is_left_out() {
    let packet = packet6(Upper::Tcp, b"data");
    for length in 0..packet.len() {
        assert_eq!(there4(&packet[..length]), Err(Refused::Truncated), "{length}");
    }
    assert_eq!(there4(&[&packet[..], &[0; 9]].concat()), there4(&packet));
    assert_eq!(there4(&packet4(Upper::Tcp, &[0; 40])), Err(Refused::Version));
    assert_eq!(there4(&v6(A6, B6, 6, &[0; 17])), Err(Refused::Truncated));
    // The walk never takes an extension header from the padding.
    let past = [&v6(A6, B6, 60, &[])[..], &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(there4(&past), Err(Refused::Truncated));
    assert_eq!(there4(&v6(A6, B6, 60, &[6, 9, 0, 0, 0, 0, 0, 0])), Err(Refused::Truncated));
}

#[test]
fn what_is_too_long_for_ipv4_is_refused() {
    assert!(there4(&v6(A6, B6, 47, &vec![0; 65515])).is_ok());
    assert_eq!(there4(&v6(A6, B6, 47, &vec![0; 65516])), Err(Refused::TooLong));
}
