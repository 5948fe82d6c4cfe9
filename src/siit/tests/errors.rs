//! ICMP errors and the packets that they quote (RFC 7915 §4.2, RFC 7915 §4.3, RFC 7915 §5.2, RFC 7915 §5.3), and the
//! extension objects after the quote (RFC 4884).

use super::*;
use crate::net::checksum;

/// An ICMP error from B to A.
fn icmp4(kind: u8, code: u8, word: u32, quote: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &word.to_be_bytes(), quote].concat();
    let sum = !checksum::sum_of_bytes(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    v4(B4, A4, 1, &message)
}

fn icmp6(kind: u8, code: u8, word: u32, quote: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &word.to_be_bytes(), quote].concat();
    let sum = checksum::transport(B6, A6, 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    v6(B6, A6, 58, &message)
}

/// A packet from A to B in both families: as A sent it in IPv6, and as its IPv4 translation, which the error quotes.
fn sent(upper: Upper, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let six = packet6(upper, data);
    let four = there4(&six).unwrap();
    (six, four)
}

// RFC 7915 §4.3
#[test]
fn rfc_7915_section_4_3_the_sender_sees_what_it_sent() {
    for upper in UPPERS {
        let (six, four) = sent(upper, b"some data");
        for length in 20..=four.len() {
            let translated = error6(&icmp4(11, 0, 0, &four[..length])).unwrap();
            assert!(is_right(&translated), "{upper:?} {length}");
            assert_eq!(translated[40..42], [3, 0]);
            let mut wanted = six[..length + 20].to_vec();
            // A checksum of which the quote holds one byte cannot be restored.
            let at = match upper {
                Upper::Tcp => 16,
                Upper::Udp => 6,
                _ => 2,
            };
            if length == 20 + at + 1 {
                wanted[40 + at] = four[20 + at];
            }
            assert_eq!(translated[48..], wanted, "{upper:?} {length}");
        }
    }
}

// RFC 7915 §5.3
#[test]
fn rfc_7915_section_5_3_the_sender_sees_what_it_sent() {
    for upper in UPPERS {
        let mut four = packet4(upper, b"some data");
        edit4(&mut four, |mut view| view.set_identification(0));
        let six = there6(&four).unwrap();
        // IPv6 does not carry DF. The translator derives it from the length.
        edit4(&mut four, |mut view| view.set_fragment(false, false, 0));
        for length in 40..=six.len() {
            let translated = error4(&icmp6(1, 4, 0, &six[..length])).unwrap();
            assert!(is_right(&translated), "{upper:?} {length}");
            assert_eq!(translated[20..22], [3, 3]);
            let mut wanted = four[..length - 20].to_vec();
            let at = match upper {
                Upper::Tcp => 16,
                Upper::Udp => 6,
                _ => 2,
            };
            if length == 40 + at + 1 {
                wanted[20 + at] = six[40 + at];
            }
            assert_eq!(translated[28..], wanted, "{upper:?} {length}");
        }
    }
}

#[test]
fn quoted_options_and_extension_headers_are_skipped() {
    let (six, four) = sent(Upper::Udp, b"data");
    let quote = with_options(&four, &[131, 7, 4, 192, 0, 2, 9, 0]);
    assert_eq!(error6(&icmp4(11, 0, 0, &quote)).unwrap()[48..], six);
    let mut extended = [&six[..40], &[17, 0, 1, 4, 0, 0, 0, 0], &six[40..]].concat();
    extended[6] = 60;
    extended[4..6].copy_from_slice(&(six.len() as u16 - 32).to_be_bytes());
    let plain = error4(&icmp6(3, 0, 0, &six)).unwrap();
    assert_eq!(error4(&icmp6(3, 0, 0, &extended)).unwrap(), plain);
}

// RFC 7915 §4.3, RFC 7915 §5.3
#[test]
fn a_quoted_fragment_keeps_its_place() {
    let (_, mut four) = sent(Upper::Udp, &[5; 24]);
    edit4(&mut four, |mut view| view.set_fragment(false, true, 3));
    let six = error6(&icmp4(11, 1, 0, &four)).unwrap();
    assert_eq!((six[54], &six[88..96]), (44, &[17, 0, 0, 25, 0, 0, 0x77, 0x77][..]));
    // In a fragment other than the first only the header changes.
    assert_eq!(six[96..], four[20..]);
    let back = error4(&icmp6(3, 1, 0, &six[48..])).unwrap();
    assert_eq!(back[28..], four);
}

// RFC 7915 §4.2
#[test]
fn rfc_7915_section_4_2_messages_through_the_translator() {
    let (_, four) = sent(Upper::Udp, b"data");
    let told = |kind, code, word| {
        let translated = error6(&icmp4(kind, code, word, &four)).unwrap();
        assert!(is_right(&translated));
        (translated[40], translated[41], u32::from_be_bytes(*translated[44..].first_chunk().unwrap()))
    };
    assert_eq!(told(3, 1, 0), (1, 0, 0));
    assert_eq!(told(3, 2, 0), (4, 1, 6));
    assert_eq!(told(3, 4, 1400), (2, 0, 1420));
    assert_eq!(told(12, 0, 9 << 24), (4, 0, 6));
    for (kind, code, word, refused) in [
        (3, 14, 0, Refused::IcmpCode),
        (12, 0, 10 << 24, Refused::IcmpPointer),
        (4, 0, 0, Refused::IcmpType),
        (5, 1, 0, Refused::IcmpType),
    ] {
        assert_eq!(error6(&icmp4(kind, code, word, &four)), Err(refused));
        assert_eq!(refused.answer(), None);
    }
}

// RFC 7915 §5.2
#[test]
fn rfc_7915_section_5_2_messages_through_the_translator() {
    let (six, _) = sent(Upper::Udp, b"data");
    let told = |kind, code, word, quote: &[u8]| {
        let translated = error4(&icmp6(kind, code, word, quote)).unwrap();
        assert!(is_right(&translated));
        (translated[20], translated[21], u32::from_be_bytes(*translated[24..].first_chunk().unwrap()))
    };
    assert_eq!(told(1, 1, 0, &six), (3, 10, 0));
    assert_eq!(told(2, 0, 1400, &six), (3, 4, 1380));
    assert_eq!(told(4, 1, 40, &six), (3, 2, 0));
    assert_eq!(told(4, 0, 7, &six), (12, 0, 8 << 24));
    // The packet that was too big had a fragment header.
    let fragment = v6(A6, B6, 44, &fragment_of(0, true, 1, 17, &six[40..]));
    assert_eq!(told(2, 0, 1400, &fragment), (3, 4, 1372));
    assert_eq!(error4(&icmp6(4, 2, 40, &six)), Err(Refused::IcmpCode));
    assert_eq!(error4(&icmp6(4, 0, 2, &six)), Err(Refused::IcmpPointer));
    assert_eq!(error4(&icmp6(100, 0, 0, &six)), Err(Refused::IcmpType));
    // The type is checked even when the message has no valid quote.
    assert_eq!(error4(&icmp6(127, 0, 0, &[])), Err(Refused::IcmpType));
}

// RFC 7915 §4.3
#[test]
fn rfc_7915_section_4_3_an_error_about_an_error_is_dropped() {
    let (six, four) = sent(Upper::Udp, b"data");
    let mut about4 = icmp4(11, 0, 0, &four);
    about4[12..20].copy_from_slice(&[A4.to_be_bytes(), B4.to_be_bytes()].concat());
    assert_eq!(error6(&icmp4(3, 1, 0, &about4)), Err(Refused::QuotedError));
    let about6 = [&v6(A6, B6, 58, &icmp6(3, 0, 0, &six)[40..])[..]].concat();
    assert_eq!(error4(&icmp6(1, 0, 0, &about6)), Err(Refused::QuotedError));
}

#[test]
fn a_quote_that_would_not_have_been_translated_is_refused() {
    for quote in [
        v4(A4, B4, 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
        v4(A4, B4, 1, &[13, 0, 0, 0, 0, 0, 0, 0]),
        packet6(Upper::Udp, b""),
        packet4(Upper::Udp, b"")[..19].to_vec(),
        with_options(&packet4(Upper::Udp, b""), &[1; 8])[..24].to_vec(),
    ] {
        let wanted = if quote.len() < 20 { Refused::Truncated } else { Refused::Quote };
        assert_eq!(error6(&icmp4(3, 1, 0, &quote)), Err(wanted));
    }
    for quote in [
        v6(A6, B6, 1, &[8, 0, 0, 0, 0, 0, 0, 0]),
        v6(A6, B6, 58, &[135, 0, 0, 0, 0, 0, 0, 0]),
        v6(A6, B6, 43, &[17, 0, 0, 1, 0, 0, 0, 0]),
        v6(A6, B6, 60, &[17, 0, 0, 1]),
        packet4(Upper::Udp, &[0; 60]),
        vec![0x60; 39],
    ] {
        assert_eq!(error4(&icmp6(1, 0, 0, &quote)), Err(Refused::Quote), "{quote:?}");
    }
}

#[test]
fn a_quote_between_unknown_addresses_is_refused() {
    let (protocol, segment) = segment4(Upper::Udp, b"");
    let quote = v4(A4, B4 + 1, protocol, &segment);
    assert_eq!(error6(&icmp4(3, 1, 0, &quote)), Err(Refused::QuotedAddress));
    let quote = v6(A6 + 1, B6, protocol, &segment);
    assert_eq!(error4(&icmp6(1, 0, 0, &quote)), Err(Refused::QuotedAddress));
}

// RFC 4443 §2.4
#[test]
fn rfc_4443_an_error_is_at_most_1280_bytes_long() {
    let (_, four) = sent(Upper::Tcp, &[9; 2000]);
    for length in 1180..1300 {
        let translated = error6(&icmp4(11, 0, 0, &four[..length])).unwrap();
        assert_eq!(translated.len(), (length + 68).min(1280));
        assert!(is_right(&translated));
    }
    // DF is clear, and still there is no fragment header.
    let mut packet = icmp4(11, 0, 0, &four[..1300]);
    edit4(&mut packet, |mut view| view.set_fragment(false, false, 0));
    assert_eq!(error6(&packet).unwrap()[6], 58);
}

// RFC 1812 §4.3.2.3
#[test]
fn rfc_1812_an_error_is_at_most_576_bytes_long() {
    let (six, _) = sent(Upper::Tcp, &[9; 1160]);
    for length in 500..620 {
        let translated = error4(&icmp6(1, 0, 0, &six[..length])).unwrap();
        assert_eq!(translated.len(), (length + 8).min(576));
        assert!(is_right(&translated));
    }
}

const MPLS: [u8; 12] = [0x20, 0, 0, 0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff];

/// The quote and the extension objects after it, by the length field at `field`.
fn parts(message: &[u8], field: usize, unit: usize) -> (&[u8], &[u8]) {
    let quote = usize::from(message[field]) * unit;
    if quote == 0 { (&message[8..], &[]) } else { message[8..].split_at(quote) }
}

// RFC 4884 §3, RFC 4884 §4.4
#[test]
fn rfc_4884_the_length_field_follows_the_quote_into_ipv6() {
    for data in [100, 104, 108, 1100] {
        let (six, four) = sent(Upper::Udp, &vec![3; data]);
        for options in [0, 4] {
            let four = if options == 0 { four.clone() } else { with_options(&four, &[1; 4]) };
            let quote = &four[..four.len().min(600)];
            let message = [quote, &MPLS].concat();
            let translated = error6(&icmp4(11, 0, (quote.len() as u32 / 4) << 16, &message)).unwrap();
            assert!(is_right(&translated));
            let (found, objects) = parts(&translated[40..], 4, 8);
            assert_eq!(objects, MPLS, "{data} {options}");
            let packet = &six[..quote.len() + 20 - options];
            assert_eq!((found.len() % 8, &found[..packet.len()]), (0, packet));
            assert!(found[packet.len()..].iter().all(|byte| *byte == 0) && found.len() - packet.len() < 8);
        }
    }
}

// RFC 4884 §3, RFC 4884 §4.1
#[test]
fn rfc_4884_the_length_field_follows_the_quote_into_ipv4() {
    for data in [80, 88, 128, 600, 1104] {
        let (six, four) = sent(Upper::Udp, &vec![3; data]);
        let message = [&six[..], &MPLS].concat();
        let translated = error4(&icmp6(3, 0, (six.len() as u32 / 8) << 24, &message)).unwrap();
        assert!(is_right(&translated) && translated.len() <= 576);
        let (found, objects) = parts(&translated[20..], 5, 4);
        assert_eq!(objects, MPLS);
        // The IPv4 packet had an identification, which the quote in IPv6 does not carry.
        let mut four = four.clone();
        edit4(&mut four, |mut view| view.set_identification(0));
        let kept = four.len().min(found.len());
        assert_eq!(found[..kept], four[..kept]);
        assert!(found.len() >= 128 && found[kept..].iter().all(|byte| *byte == 0));
    }
}

// RFC 4884 §3
#[test]
fn rfc_4884_a_quote_that_is_cut_for_extension_objects_is_as_long_as_fits() {
    let (six, mut four) = sent(Upper::Udp, &[3; 1100]);
    for objects in [200, 300, 604, 1000] {
        let objects = vec![0x20; objects];
        let translated = error6(&icmp4(11, 0, 255 << 16, &[&four[..1020], &objects].concat())).unwrap();
        assert!(is_right(&translated) && (1273..=1280).contains(&translated.len()), "{}", translated.len());
        let (found, rest) = parts(&translated[40..], 4, 8);
        assert!(rest == objects && found == &six[..found.len()]);
    }
    // The quote in IPv6 does not carry the identification.
    edit4(&mut four, |mut view| view.set_identification(0));
    for objects in [12, 100, 300, 400] {
        let objects = vec![0x20; objects];
        let translated = error4(&icmp6(3, 0, 128 << 24, &[&six[..1024], &objects].concat())).unwrap();
        assert!(is_right(&translated) && (573..=576).contains(&translated.len()), "{}", translated.len());
        let (found, rest) = parts(&translated[20..], 5, 4);
        assert!(rest == objects && found == &four[..found.len()]);
    }
}

#[test]
fn rfc_4884_extension_objects_are_left_out_where_no_length_field_is() {
    let (six, four) = sent(Upper::Udp, &[3; 100]);
    let message = [&four[..], &MPLS].concat();
    // Fragmentation Needed and Protocol Unreachable become messages without a length field.
    for (code, mtu) in [(4, 1400), (2, 0)] {
        let translated = error6(&icmp4(3, code, (four.len() as u32 / 4) << 16 | mtu, &message)).unwrap();
        assert_eq!(translated[48..], six);
        assert!(is_right(&translated));
    }
}

// RFC 7915 §4.2
#[test]
fn rfc_7915_section_4_2_extension_objects_that_leave_no_room_are_left_out() {
    let (six, four) = sent(Upper::Udp, &[3; 100]);
    let message = [&four[..], &[0x20; 1200]].concat();
    let translated = error6(&icmp4(11, 0, (four.len() as u32 / 4) << 16, &message)).unwrap();
    assert_eq!((&translated[48..], &translated[44..48]), (&six[..], &[0; 4][..]));
    let message = [&six[..144], &[0x20; 500]].concat();
    let translated = error4(&icmp6(3, 0, 18 << 24, &message)).unwrap();
    assert_eq!((translated.len(), &translated[24..28]), (28 + 124, &[0; 4][..]));
    assert!(is_right(&translated));
}

#[test]
fn rfc_4884_a_length_that_cannot_be_is_no_length() {
    let (six, four) = sent(Upper::Udp, &[3; 200]);
    for words in [1, 31, 255] {
        let translated = error6(&icmp4(11, 0, words << 16, &four)).unwrap();
        assert_eq!((&translated[48..], translated[44]), (&six[..], 0));
    }
    // Nothing follows the quote.
    let translated = error6(&icmp4(11, 0, (four.len() as u32 / 4) << 16, &four)).unwrap();
    assert_eq!((&translated[48..], translated[44]), (&six[..], 0));
}

#[test]
fn an_error_grows_to_the_front_by_no_more_than_the_headroom() {
    let (_, mut four) = sent(Upper::Udp, &[3; 104]);
    edit4(&mut four, |mut view| view.set_fragment(false, true, 0));
    let packet = icmp4(11, 0, (four.len() as u32 / 4) << 16, &[&four[..], &MPLS].concat());
    let translate = |front: usize| {
        let mut room = [&vec![1; front], &packet[..]].concat();
        let before = room.clone();
        let to = To6 { source: B6, destination: A6 };
        let result = to_v6(&mut room, front..front + packet.len(), &to, quoted6, &Options::default());
        assert!(result.is_ok() || room == before);
        result
    };
    assert_eq!(four.len() % 8, 4);
    assert!(translate(crate::siit::HEADROOM).is_ok());
    for front in 0..crate::siit::HEADROOM - 4 {
        assert_eq!(translate(front), Err(Refused::Headroom), "{front}");
    }
}

#[test]
fn a_wrong_checksum_of_an_error_stays_wrong() {
    let (six, four) = sent(Upper::Udp, b"data");
    let mut packet = icmp4(11, 0, 0, &four);
    packet[22] ^= 0x40;
    assert!(!is_right(&error6(&packet).unwrap()));
    let mut packet = icmp6(3, 0, 0, &six);
    packet[42] ^= 0x40;
    assert!(!is_right(&error4(&packet).unwrap()));
}
