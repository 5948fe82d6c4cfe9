//! For any bytes the translator does not panic, changes nothing on refusal and writes nothing outside its window.

use super::*;
use crate::siit::fragment;
use proptest::prelude::*;

/// Bytes that often pass the first checks: a valid packet with some bytes overwritten, truncated anywhere.
fn damaged(packet: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = packet.len();
    (proptest::collection::vec((0..length, any::<u8>()), 0..8), 0..=length).prop_map(move |(changes, cut)| {
        let mut bytes = packet.clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(if cut % 3 == 0 { cut } else { length });
        if bytes.first().is_some_and(|first| first >> 4 == 4) {
            let header = bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4).min(bytes.len());
            ipv4::seal(&mut bytes[..header]);
        }
        bytes
    })
}

fn seeds4() -> Vec<Vec<u8>> {
    let plain = packet4(Upper::Udp, &[1; 130]);
    let mut error = v4(A4, B4, 1, &[&[11, 0, 0, 0, 0, 34, 0, 0][..], &plain[..136], &[0x20; 12]].concat());
    let mut seeds: Vec<_> = UPPERS.iter().map(|upper| packet4(*upper, &[7; 40])).collect();
    seeds.push(with_options(&plain, &[1, 131, 7, 8, 1, 2, 3, 4, 7, 3, 4, 0]));
    seeds.push(error.clone());
    error[20] = 3;
    error[21] = 4;
    seeds.push(error);
    seeds
}

fn seeds6() -> Vec<Vec<u8>> {
    let plain = packet6(Upper::Tcp, &[1; 124]);
    let error = v6(A6, B6, 58, &[&[3, 0, 0, 0, 18, 0, 0, 0][..], &plain[..144], &[0x20; 12]].concat());
    let mut seeds: Vec<_> = UPPERS.iter().map(|upper| packet6(*upper, &[7; 40])).collect();
    let headers = [&[43, 0, 1, 4, 0, 0, 0, 0][..], &[44, 0, 4, 0, 0, 0, 0, 0]].concat();
    let fragment = fragment_of(0, true, 9, 17, &[3; 64]);
    seeds.push(v6(A6, B6, 0, &[headers, fragment].concat()));
    seeds.push(error);
    seeds
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<_> = seeds4().into_iter().chain(seeds6()).collect();
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        4 => proptest::sample::select(seeds).prop_flat_map(damaged),
    ]
}

fn any_options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), any::<[u16; 3]>()).prop_map(|(copies, computes, mtus)| Options {
        copies_class: copies,
        computes_udp_checksum: computes,
        lowest_mtu6: mtus[0],
        mtu4: mtus[1],
        mtu6: mtus[2],
    })
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn no_bytes_panic_and_a_refusal_changes_nothing(packet in any_packet(), options in any_options()) {
        // The helpers compare the buffer with its content before the call.
        if let Ok(translated) = into_v6(&packet, &FROM_A6, &options) {
            prop_assert_eq!(usize::from(Ipv6::of(&translated).unwrap().payload_length()) + 40, translated.len());
            prop_assert!(translated.len() <= packet.len() + crate::siit::HEADROOM);
        }
        if let Ok(translated) = into_v4(&packet, &FROM_A4, &options) {
            prop_assert_eq!(usize::from(Ipv4::of(&translated).unwrap().total_length()), translated.len());
            prop_assert!(ipv4::is_intact(&translated[..20]));
        }
    }

    #[test]
    fn no_addresses_at_hand_panic(packet in any_packet()) {
        let (mut room, at) = room_of(&packet);
        let _ = to_v6(&mut room, at, &FROM_A6, |_, _| None, &Options::default());
        let (mut room, at) = room_of(&packet);
        let _ = to_v4(&mut room, at, &FROM_A4, |_, _| None, &Options::default());
    }

    #[test]
    fn no_headroom_panics(packet in any_packet(), front in 0usize..60) {
        let mut room = [&vec![0; front], &packet[..]].concat();
        let before = room.clone();
        let at = front..room.len();
        if to_v6(&mut room, at, &FROM_A6, |_, _| Some((A6, B6)), &Options::default()).is_err() {
            prop_assert_eq!(room, before);
        }
    }

    #[test]
    fn no_packet_and_mtu_panic_the_splitter(packet in any_packet(), mtu in prop_oneof![0u16..200, any::<u16>()]) {
        let mut buffer = [0; 65535];
        if let Ok(pieces) = fragment::v4(&packet, mtu) {
            for piece in pieces {
                prop_assert!(piece.write(&mut buffer).is_some_and(|length| length <= usize::from(mtu)));
            }
        }
        if let Ok(pieces) = fragment::v6(&packet, mtu, 7) {
            for piece in pieces {
                prop_assert!(piece.write(&mut buffer).is_some_and(|length| length <= usize::from(mtu)));
            }
        }
    }
}
