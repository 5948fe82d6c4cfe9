//! Laws of Neighbour Discovery: one test for each validity rule of RFC 4861 §6.1.1 (router solicitation),
//! RFC 4861 §6.1.2 (router advertisement), RFC 4861 §7.1.1 (neighbour solicitation) and RFC 4861 §7.1.2 (neighbour
//! advertisement), and laws of the builders.

use super::*;
use crate::net::{Ipv6Prefix, ethernet};
use proptest::prelude::*;

const MAC_A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const MAC_B: Mac = Mac([2, 0, 0, 0, 0, 2]);
const A: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0001;
const B: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0002;
const ALL_NODES: u128 = (0xff02u128 << 112) | 1;
const ADVERT: Advert = Advert { lifetime_s: 1800, mtu: 1500, prefix: Some((A, 64, true, true)) };

/// The four messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Solicit,
    Advertise,
    SolicitRouter,
    AdvertiseRouter,
}
use Kind::{Advertise, AdvertiseRouter, Solicit, SolicitRouter};

const ALL: [Kind; 4] = [Solicit, Advertise, SolicitRouter, AdvertiseRouter];

/// Length in bytes of the fixed part of a message, which is also its least length.
fn fixed(kind: Kind) -> usize {
    match kind {
        Solicit | Advertise => 24,
        SolicitRouter => 8,
        AdvertiseRouter => 16,
    }
}

fn envelope() -> Envelope {
    Envelope { to_mac: MAC_B, from_mac: MAC_A, vlan: 0, source: A, destination: B }
}

/// The packet of a valid message with link-layer options.
fn packet(kind: Kind) -> Vec<u8> {
    let mut frame = [0xa5; MAX_FRAME];
    let length = match kind {
        Solicit => solicitation(&mut frame, envelope(), B),
        Advertise => advertisement(&mut frame, envelope(), A, true, true),
        SolicitRouter => router_solicitation(&mut frame, envelope()),
        AdvertiseRouter => router_advertisement(&mut frame, envelope(), ADVERT),
    };
    frame[14..length].to_vec()
}

/// The result of parsing a valid message after `edit`, with the checksum made right again.
fn edited(kind: Kind, edit: impl FnOnce(&mut Vec<u8>)) -> Result<Message, Invalid> {
    let mut packet = packet(kind);
    edit(&mut packet);
    let (source, destination) = {
        let header = Ipv6::of(&packet).unwrap();
        (header.source(), header.destination())
    };
    if let Some(field) = packet.get_mut(42..44) {
        field.fill(0);
        let sum = checksum::transport(source, destination, ipv6::next::ICMP6, &packet[40..]);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
    }
    parse(&packet)
}

#[test]
fn what_is_built_is_what_is_parsed() {
    assert_eq!(parse(&packet(Solicit)), Ok(Message::Solicitation { target: B, source_mac: Some(MAC_A) }));
    assert_eq!(
        parse(&packet(Advertise)),
        Ok(Message::Advertisement {
            target: A,
            target_mac: Some(MAC_A),
            router: true,
            solicited: true,
            override_flag: true
        })
    );
    assert_eq!(parse(&packet(SolicitRouter)), Ok(Message::RouterSolicitation { source_mac: Some(MAC_A) }));
    assert_eq!(parse(&packet(AdvertiseRouter)), Ok(Message::RouterAdvertisement));
}

// RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn hop_limit_other_than_255_is_discarded() {
    for kind in ALL {
        for hops in [0, 1, 64, 254] {
            assert_eq!(edited(kind, |p| p[7] = hops), Err(Invalid::HopLimit), "{kind:?}");
        }
    }
}

// RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn a_wrong_checksum_is_discarded() {
    for kind in ALL {
        let mut packet = packet(kind);
        packet[47] ^= 1;
        assert_eq!(parse(&packet), Err(Invalid::Checksum), "{kind:?}");
    }
}

// RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn a_code_other_than_0_is_discarded() {
    for kind in ALL {
        assert_eq!(edited(kind, |p| p[41] = 1), Err(Invalid::Code), "{kind:?}");
    }
}

// RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn a_short_message_is_discarded() {
    for kind in ALL {
        for length in 4..fixed(kind) {
            assert_eq!(edited(kind, |p| p.truncate(40 + length)), Err(Invalid::Length), "{kind:?} {length}");
        }
        assert!(edited(kind, |p| p.truncate(40 + fixed(kind))).is_ok(), "{kind:?} without options");
    }
}

// RFC 4861 §4.6, RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn an_option_of_length_0_is_discarded() {
    for kind in ALL {
        assert_eq!(edited(kind, |p| p[40 + fixed(kind) + 1] = 0), Err(Invalid::Option), "{kind:?}");
        // The rule holds for unknown option types too.
        let appended = edited(kind, |p| p.extend_from_slice(&[200, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(appended, Err(Invalid::Option), "{kind:?}");
    }
}

// RFC 4861 §4.6
#[test]
fn an_option_past_the_end_is_discarded() {
    for kind in ALL {
        assert_eq!(edited(kind, |p| p[40 + fixed(kind) + 1] = 9), Err(Invalid::Option), "{kind:?}");
        assert_eq!(edited(kind, |p| p.push(1)), Err(Invalid::Option), "{kind:?}");
    }
}

// RFC 4861 §6.1.1, RFC 4861 §6.1.2, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn options_that_are_not_known_are_ignored() {
    for kind in ALL {
        let option = [200, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        assert_eq!(edited(kind, |p| p.extend_from_slice(&option)), parse(&packet(kind)), "{kind:?}");
    }
}

// RFC 4861 §6.1.1, RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn reserved_fields_are_ignored() {
    assert_eq!(edited(Solicit, |p| p[44..48].fill(0xff)), parse(&packet(Solicit)));
    assert_eq!(edited(SolicitRouter, |p| p[44..48].fill(0xff)), parse(&packet(SolicitRouter)));
    assert_eq!(edited(Advertise, |p| p[45..48].fill(0xff)), parse(&packet(Advertise)));
}

// RFC 4861 §7.1.1, RFC 4861 §7.1.2
#[test]
fn a_multicast_target_is_discarded() {
    for kind in [Solicit, Advertise] {
        assert_eq!(edited(kind, |p| p[48] = 0xff), Err(Invalid::MulticastTarget), "{kind:?}");
    }
}

// RFC 4861 §6.1.1, RFC 4861 §7.1.1
#[test]
fn an_unspecified_source_with_a_link_layer_option_is_discarded() {
    let from_nobody = |p: &mut Vec<u8>| {
        p[8..24].fill(0);
        p[24..40].copy_from_slice(&ipv6::solicited_node(B).to_be_bytes());
    };
    assert_eq!(edited(Solicit, from_nobody), Err(Invalid::UnspecifiedSource));
    assert_eq!(edited(SolicitRouter, from_nobody), Err(Invalid::UnspecifiedSource));
}

// RFC 4861 §7.1.1, RFC 4861 §4.3
#[test]
fn an_unspecified_source_must_ask_the_solicited_node_group() {
    let mut frame = [0xa5; MAX_FRAME];
    let length = solicitation(&mut frame, Envelope { source: 0, ..envelope() }, B);
    assert_eq!(parse(&frame[14..length]), Err(Invalid::UnspecifiedSource));
    let group = ipv6::solicited_node(B);
    let length = solicitation(&mut frame, Envelope { source: 0, destination: group, ..envelope() }, B);
    assert_eq!(parse(&frame[14..length]), Ok(Message::Solicitation { target: B, source_mac: None }));
}

// RFC 4861 §6.1.1, RFC 4861 §4.1
#[test]
fn a_router_solicitation_from_the_unspecified_address_without_an_option_is_valid() {
    let mut frame = [0xa5; MAX_FRAME];
    let length = router_solicitation(&mut frame, Envelope { source: 0, ..envelope() });
    assert_eq!(parse(&frame[14..length]), Ok(Message::RouterSolicitation { source_mac: None }));
}

// RFC 4861 §7.1.2
#[test]
fn a_solicited_advertisement_to_a_group_is_discarded() {
    let to_all = |p: &mut Vec<u8>| p[24..40].copy_from_slice(&ALL_NODES.to_be_bytes());
    assert_eq!(edited(Advertise, to_all), Err(Invalid::SolicitedMulticast));
    let unsolicited = edited(Advertise, |p| {
        to_all(p);
        p[44] &= !SOLICITED;
    });
    assert!(unsolicited.is_ok());
}

// RFC 4861 §6.1.2
#[test]
fn a_router_advertisement_that_is_not_from_a_link_local_address_is_discarded() {
    assert_eq!(edited(AdvertiseRouter, |p| p[8] = 0x20), Err(Invalid::Source));
    assert_eq!(edited(AdvertiseRouter, |p| p[8..24].fill(0)), Err(Invalid::Source));
}

// RFC 4861 §8.2
#[test]
fn redirects_and_other_messages_are_not_read() {
    for other in [kind::REDIRECT, kind::ECHO_REQUEST, kind::LISTENER_QUERY] {
        assert_eq!(edited(Solicit, |p| p[40] = other), Err(Invalid::Type));
    }
    assert_eq!(router_advert(&packet(Solicit)).err(), Some(Invalid::Type));
}

// RFC 4861 §7.2.8
#[test]
fn section_7_2_8_a_proxy_may_tell_of_another_without_overriding() {
    let mut frame = [0xa5; MAX_FRAME];
    for bits in 0..8 {
        let (router, solicited, override_flag) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        for target_mac in [None, Some(MAC_B)] {
            let told = Told { target: B, target_mac, router, solicited, override_flag };
            let length = neighbour_advertisement(&mut frame, Envelope { vlan: 5, ..envelope() }, &told);
            assert_eq!(ethernet::parse(&frame).unwrap().vlan, 5);
            let wanted = Message::Advertisement { target: B, target_mac, router, solicited, override_flag };
            assert_eq!(parse(&frame[18..length]), Ok(wanted));
        }
    }
}

// RFC 4861 §6.2.1
#[test]
fn section_6_2_1_a_short_advertisement_has_the_default_lifetimes() {
    let packet = packet(AdvertiseRouter);
    let (advert, mut prefixes) = router_advert(&packet).unwrap();
    let wanted = RouterAdvert {
        hop_limit: 64,
        managed: false,
        other: false,
        lifetime_s: 1800,
        reachable_ms: 0,
        retransmit_ms: 0,
        source_mac: Some(MAC_A),
        mtu: Some(1500),
    };
    assert_eq!(advert, wanted);
    let prefix = prefixes.next().unwrap();
    assert_eq!((prefix.valid_s, prefix.preferred_s), (30 * 86_400, 7 * 86_400));
    assert_eq!((prefix.prefix, prefix.on_link, prefix.autonomous), (Ipv6Prefix::covering(A, 64), true, true));
    assert!(prefixes.next().is_none());
}

// RFC 4862 §5.5.3
#[test]
fn prefixes_that_make_no_sense_are_passed_over() {
    // Offset of the prefix information option: it follows the fixed part and the options of MAC address and MTU.
    let at = 40 + 16 + 8 + 8;
    let count = |edit: fn(&mut [u8])| {
        let mut packet = packet(AdvertiseRouter);
        edit(&mut packet[at..]);
        packet[42..44].fill(0);
        let sum = checksum::transport(A, B, ipv6::next::ICMP6, &packet[40..]);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        router_advert(&packet).unwrap().1.count()
    };
    assert_eq!(count(|_| {}), 1);
    assert_eq!(count(|option| option[2] = 129), 0);
    assert_eq!(count(|option| option[4..8].fill(0)), 0);
}

#[test]
fn an_advertisement_with_too_many_prefixes_or_too_little_room_is_not_written() {
    let packet = packet(AdvertiseRouter);
    let (advert, _) = router_advert(&packet).unwrap();
    let prefix = PrefixInformation::new(Ipv6Prefix::covering(A, 64), true, true);
    let mut frame = [0; MAX_ROUTER_FRAME];
    let most = Envelope { vlan: 1, ..envelope() };
    assert_eq!(
        write_router_advert(&mut frame, most, &advert, &[prefix; MAX_PREFIXES]),
        Some(MAX_ROUTER_FRAME)
    );
    assert_eq!(write_router_advert(&mut frame, most, &advert, &[prefix; MAX_PREFIXES + 1]), None);
    assert_eq!(write_router_advert(&mut frame[..60], most, &advert, &[]), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes);
        let _ = router_advert(&bytes).map(|(_, prefixes)| prefixes.count());
    }

    #[test]
    fn no_message_panics(kind in 133u8..=137, rest in prop::collection::vec(any::<u8>(), 8..160)) {
        let message = [vec![kind, 0, 0, 0], rest].concat();
        let mut frame = vec![0; 400];
        let length = build::seal(&mut frame, envelope(), &message).unwrap();
        let _ = parse(&frame[14..length]);
        let _ = router_advert(&frame[14..length]).map(|(_, prefixes)| prefixes.count());
    }

    #[test]
    fn a_router_advertisement_written_is_one_read(
        hop_limit: u8, managed: bool, other: bool, lifetime_s: u16, times: [u32; 2], mac: Option<[u8; 6]>,
        mtu: Option<u32>, vlan in 0u16..4095,
        prefixes in prop::collection::vec(any::<(u128, u8, bool, bool, u32, u32)>(), 0..=MAX_PREFIXES),
    ) {
        let advert = RouterAdvert {
            hop_limit,
            managed,
            other,
            lifetime_s,
            reachable_ms: times[0],
            retransmit_ms: times[1],
            source_mac: mac.map(Mac),
            mtu,
        };
        let prefixes: Vec<PrefixInformation> = prefixes
            .into_iter()
            .map(|(bits, length, on_link, autonomous, a, b)| PrefixInformation {
                prefix: Ipv6Prefix::covering(bits, length % 129),
                on_link,
                autonomous,
                valid_s: a.max(b),
                preferred_s: a.min(b),
            })
            .collect();
        let mut frame = [0; MAX_ROUTER_FRAME];
        let to = Envelope { vlan, ..envelope() };
        let length = write_router_advert(&mut frame, to, &advert, &prefixes).unwrap();
        let link = ethernet::parse(&frame).unwrap();
        let packet = &frame[link.header..length];
        let (read, read_prefixes) = router_advert(packet).unwrap();
        prop_assert_eq!(read, advert);
        prop_assert_eq!(read_prefixes.collect::<Vec<_>>(), prefixes);
        prop_assert_eq!(parse(packet), Ok(Message::RouterAdvertisement));
    }
}
