//! Two laws: translation there and back is the identity except for what RFC 7915 loses, and a checksum is right
//! afterwards if and only if it was right before.

use super::*;
use proptest::prelude::*;

/// Random addresses in both families. Checksum-neutral pairs would hide a missing correction.
fn addresses() -> impl Strategy<Value = (To4, To6)> {
    any::<(u32, u32, u16, u128, u128)>().prop_map(|(a, b, identification, c, d)| {
        (To4 { source: a, destination: b, identification }, To6 { source: c, destination: d })
    })
}

fn uppers() -> impl Strategy<Value = Upper> {
    proptest::sample::select(UPPERS.to_vec())
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        proptest::collection::vec(any::<u8>(), 1180..1500),
    ]
}

/// A packet built by etherparse between the given addresses.
fn made4(to: &To4, upper: Upper, class: u8, hops: u8, data: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(to.source.to_be_bytes(), to.destination.to_be_bytes(), hops);
    let mut bytes = Vec::new();
    match upper {
        Upper::Tcp => builder.tcp(1000, 80, 7, 1024).write(&mut bytes, data),
        Upper::Udp => builder.udp(1000, 53).write(&mut bytes, data),
        Upper::EchoRequest => builder.icmpv4_echo_request(3, 4).write(&mut bytes, data),
        Upper::EchoReply => builder.icmpv4_echo_reply(3, 4).write(&mut bytes, data),
    }
    .unwrap();
    edit4(&mut bytes, |mut view| {
        view.set_tos(class);
        view.set_identification(to.identification);
    });
    bytes
}

fn made6(to: &To6, upper: Upper, class: u8, hops: u8, data: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv6(to.source.to_be_bytes(), to.destination.to_be_bytes(), hops);
    let mut bytes = Vec::new();
    match upper {
        Upper::Tcp => builder.tcp(1000, 80, 7, 1024).write(&mut bytes, data),
        Upper::Udp => builder.udp(1000, 53).write(&mut bytes, data),
        Upper::EchoRequest => builder.icmpv6_echo_request(3, 4).write(&mut bytes, data),
        Upper::EchoReply => builder.icmpv6_echo_reply(3, 4).write(&mut bytes, data),
    }
    .unwrap();
    Ipv6::of_mut(&mut bytes).unwrap().set_traffic_class(class);
    bytes
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn from_ipv4_there_and_back_is_the_identity_up_to_df(
        (four, six) in addresses(), upper in uppers(), class: u8, hops: u8, df: bool, data in data(),
    ) {
        let mut packet = made4(&four, upper, class, hops, &data);
        edit4(&mut packet, |mut view| view.set_fragment(df, false, 0));
        let there = into_v6(&packet, &six, &Options::default()).unwrap();
        prop_assert!(is_right(&packet) && is_right(&there));
        let back = into_v4(&there, &four, &Options::default()).unwrap();
        // IPv6 does not carry DF. Up to 1260 bytes it returns clear; above, the fragment header restores it, which ICMP
        // has not.
        let has_header = !df && !matches!(upper, Upper::EchoRequest | Upper::EchoReply);
        let kept = !has_header && packet.len() > 1260;
        edit4(&mut packet, |mut view| view.set_fragment(kept, false, 0));
        prop_assert_eq!(back, packet);
    }

    #[test]
    fn from_ipv6_there_and_back_is_the_identity(
        (four, six) in addresses(), upper in uppers(), class: u8, hops: u8, data in data(),
    ) {
        let packet = made6(&six, upper, class, hops, &data);
        let there = into_v4(&packet, &four, &Options::default()).unwrap();
        prop_assert!(is_right(&packet) && is_right(&there));
        prop_assert_eq!(into_v6(&there, &six, &Options::default()).unwrap(), packet);
    }

    #[test]
    fn the_flow_label_and_extension_headers_are_lost(
        (four, six) in addresses(), upper in uppers(), label in 0u32..1 << 20, data in data(), count in 0usize..4,
    ) {
        let plain = made6(&six, upper, 0, 64, &data);
        let mut packet = [&plain[..40], &[60, 0, 1, 4, 0, 0, 0, 0].repeat(count), &plain[40..]].concat();
        if count > 0 {
            packet[6] = 60;
            packet[40 + 8 * (count - 1)] = plain[6];
        }
        let payload = packet.len() as u16 - 40;
        packet[1..4].copy_from_slice(&label.to_be_bytes()[1..]);
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        let there = into_v4(&packet, &four, &Options::default()).unwrap();
        prop_assert!(is_right(&there));
        prop_assert_eq!(into_v6(&there, &six, &Options::default()).unwrap(), plain);
    }

    #[test]
    fn an_ipv6_fragment_loses_the_upper_half_of_its_identification(
        (four, six) in addresses(), offset in 0u16..8000, more: bool, identification: u32, units in 3usize..20,
    ) {
        let packet = v6(six.source, six.destination, 44, &fragment_of(offset, more, identification, 17, &vec![9; units * 8]));
        let there = into_v4(&packet, &four, &Options::default()).unwrap();
        // An atomic fragment that is short enough returns without its fragment header.
        prop_assume!(offset != 0 || more);
        let back = into_v6(&there, &six, &Options::default()).unwrap();
        let mut wanted = packet;
        wanted[44..46].fill(0);
        prop_assert_eq!(back, wanted);
    }

    #[test]
    fn a_checksum_is_right_before_if_and_only_if_it_is_right_after(
        (four, six) in addresses(), upper in uppers(), data in data(), flip in 1u16..0xffff, at: usize,
    ) {
        let mut packet = made4(&four, upper, 0, 64, &data);
        // Any word of the upper layer except UDP's checksum, which must not become 0, and UDP's length.
        let words = (packet.len() - 20) / 2;
        let word = 20 + at % words * 2;
        prop_assume!(upper != Upper::Udp || ![24, 26].contains(&word));
        prop_assume!(upper != Upper::Tcp || word != 32);
        prop_assume!(![Upper::EchoReply, Upper::EchoRequest].contains(&upper) || word != 20);
        for (byte, flip) in packet[word..word + 2].iter_mut().zip(flip.to_be_bytes()) {
            *byte ^= flip;
        }
        let there = into_v6(&packet, &six, &Options::default()).unwrap();
        prop_assert_eq!(is_right(&packet), is_right(&there));
        prop_assert!(!is_right(&there));
        let back = into_v4(&there, &four, &Options::default()).unwrap();
        prop_assert!(!is_right(&back));
    }

    #[test]
    fn an_error_of_any_kind_has_the_right_checksum(
        kind in proptest::sample::select(vec![1u8, 2, 3, 4]), code in 0u8..5, word: u32, upper in uppers(),
        data in data(), cut in 40usize..1400, size in 128usize..400, objects in 0usize..40,
    ) {
        let quote = packet6(upper, &data);
        let quote = &quote[..cut.min(quote.len())];
        let mut message = [&[kind, code, 0, 0][..], &word.to_be_bytes(), quote].concat();
        if kind & 1 == 1 && size.is_multiple_of(8) {
            message.resize(8 + size, 0);
            message.resize(8 + size + objects * 4, 0x20);
            message[4] = (size / 8) as u8;
        }
        let sum = crate::net::checksum::transport(B6, A6, 58, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = v6(B6, A6, 58, &message);
        if let Ok(there) = error4(&packet) {
            prop_assert!(is_right(&packet) && is_right(&there) && there.len() <= 576);
            if let Ok(back) = error6(&there) {
                prop_assert!(is_right(&back) && back.len() <= 1280);
            }
        }
    }
}
