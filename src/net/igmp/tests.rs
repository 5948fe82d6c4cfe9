//! Laws of IGMP.

use super::*;
use etherparse::{Ipv4HeaderSlice, NetSlice, SlicedPacket};
use proptest::prelude::*;

const HOST: u32 = 0x0a00_0009;
const GROUP: u32 = 0xef01_0203;
const OTHER: u32 = 0xe981_0203;
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// Offset of the message in the packets below.
const AT: usize = 24;

/// A valid packet with this message.
fn packet(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x46, 0xc0, 0, 0, 0, 0, 0x40, 0, 1, PROTOCOL, 0, 0];
    bytes.extend_from_slice(&HOST.to_be_bytes());
    bytes.extend_from_slice(&GROUP.to_be_bytes());
    bytes.extend_from_slice(&ROUTER_ALERT);
    bytes.extend_from_slice(message);
    sealed(bytes)
}

/// The packet with its length and checksums made right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    for (from, to, field) in [(0, AT, 10), (AT, bytes.len(), AT + 2)] {
        bytes[field..field + 2].fill(0);
        let sum = !checksum::sum_of_bytes(&bytes[from..to]);
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// A message of version 1 or 2.
fn old(kind: u8, code: u8, group: u32) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(&group.to_be_bytes());
    message
}

/// A record of a version 3 report, with auxiliary data of some words.
fn record(kind: u8, group: u32, sources: u16, auxiliary_words: u8) -> Vec<u8> {
    let mut bytes = vec![kind, auxiliary_words];
    bytes.extend_from_slice(&sources.to_be_bytes());
    bytes.extend_from_slice(&group.to_be_bytes());
    bytes.resize(bytes.len() + 4 * usize::from(sources) + 4 * usize::from(auxiliary_words), 0x20);
    bytes
}

/// A version 3 report.
fn report(records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, records.len() as u8];
    message.extend(records.concat());
    message
}

/// The changes of a packet as tuples: group, interest, number of sources.
fn told(packet: &[u8]) -> Result<Vec<(u32, Interest, u16)>, Invalid> {
    match parse(packet)? {
        Message::Report(changes) => Ok(changes.map(|c| (c.group, c.interest, c.sources)).collect()),
        Message::Query(query) => panic!("{query:?}"),
    }
}

/// The result of parsing a message of this kind after `edit`, with length and checksums made right again.
fn edited(kind: u8, edit: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<(u32, Interest, u16)>, Invalid> {
    let mut bytes = packet(&old(kind, 0, GROUP));
    edit(&mut bytes);
    told(&sealed(bytes))
}

fn no_alert(bytes: &mut [u8]) {
    bytes[20..24].fill(1);
}

fn asked(version: Version, group: Option<u32>) -> Query {
    let new = version == Version::V3;
    Query {
        version,
        querier: HOST,
        group,
        max_response_ds: 100,
        sources: 0,
        suppress: false,
        robustness: if new { 2 } else { 0 },
        interval_s: if new { 125 } else { 0 },
    }
}

fn built(said: &Query, vlan: u16) -> Vec<u8> {
    let mut frame = [0xa5; MAX_FRAME];
    let length = query(&mut frame, MAC, vlan, said);
    frame[..length].to_vec()
}

#[test]
fn reports_of_versions_1_and_2_join_and_leave_leaves() {
    assert_eq!(told(&packet(&old(0x12, 0, GROUP))), Ok(vec![(GROUP, Interest::Join, 0)]));
    assert_eq!(told(&packet(&old(0x16, 0, GROUP))), Ok(vec![(GROUP, Interest::Join, 0)]));
    assert_eq!(told(&packet(&old(0x17, 0, GROUP))), Ok(vec![(GROUP, Interest::Leave, 0)]));
}

// RFC 3376 §4.2.12
#[test]
fn rfc_3376_each_record_joins_leaves_or_wants_fewer() {
    let bytes = packet(&report(&[
        record(1, GROUP, 0, 0),
        record(2, GROUP, 0, 0),
        record(3, OTHER, 0, 1),
        record(4, OTHER, 3, 2),
        record(3, GROUP, 2, 0),
        record(5, GROUP, 1, 0),
        record(6, GROUP, 1, 0),
    ]));
    assert_eq!(
        told(&bytes),
        Ok(vec![
            (GROUP, Interest::Leave, 0),
            (GROUP, Interest::Join, 0),
            (OTHER, Interest::Leave, 0),
            (OTHER, Interest::Join, 3),
            (GROUP, Interest::Join, 2),
            (GROUP, Interest::Join, 1),
            (GROUP, Interest::Fewer, 1),
        ])
    );
}

// RFC 3376 §4.2.12
#[test]
fn rfc_3376_section_4_2_12_unknown_record_types_are_ignored() {
    let bytes = packet(&report(&[record(7, GROUP, 1, 1), record(4, OTHER, 0, 0), record(0, GROUP, 0, 0)]));
    assert_eq!(told(&bytes), Ok(vec![(OTHER, Interest::Join, 0)]));
}

// RFC 3376 §6
#[test]
fn rfc_3376_section_6_all_systems_are_not_reported() {
    assert_eq!(told(&packet(&old(0x16, 0, ALL_SYSTEMS))), Ok(vec![]));
    let bytes = packet(&report(&[record(4, ALL_SYSTEMS, 0, 0), record(4, GROUP, 0, 0)]));
    assert_eq!(told(&bytes), Ok(vec![(GROUP, Interest::Join, 0)]));
}

// RFC 2236 §2, RFC 3376 §4
#[test]
fn a_time_to_live_other_than_1_is_discarded() {
    for kind in [0x12, 0x16, 0x17] {
        for hops in [0, 2, 64, 255] {
            assert_eq!(edited(kind, |bytes| bytes[8] = hops), Err(Invalid::TimeToLive));
        }
    }
}

// RFC 2113, RFC 2236 §2, RFC 3376 §4
#[test]
fn messages_of_versions_2_and_3_without_router_alert_are_discarded() {
    assert_eq!(edited(0x16, |bytes| no_alert(bytes)), Err(Invalid::RouterAlert));
    assert_eq!(edited(0x17, |bytes| no_alert(bytes)), Err(Invalid::RouterAlert));
    for message in [report(&[record(4, GROUP, 0, 0)]), old(0x11, 100, GROUP)] {
        let mut bytes = packet(&message);
        no_alert(&mut bytes);
        assert_eq!(parse(&sealed(bytes)), Err(Invalid::RouterAlert));
    }
    // End of the list before it, another value, an option without length, one that runs past the end.
    for options in [[0, 148, 4, 0], [148, 4, 0, 1], [148, 0, 0, 0], [148, 5, 0, 0], [1, 1, 1, 148]] {
        let refused = edited(0x16, |bytes| bytes[20..24].copy_from_slice(&options));
        assert_eq!(refused, Err(Invalid::RouterAlert), "{options:?}");
    }
}

#[test]
fn version_1_knows_no_router_alert() {
    assert_eq!(edited(0x12, |bytes| no_alert(bytes)), Ok(vec![(GROUP, Interest::Join, 0)]));
    let mut bytes = packet(&old(0x11, 0, 0));
    no_alert(&mut bytes);
    assert_eq!(parse(&sealed(bytes)), Ok(Message::Query(asked(Version::V1, None))));
}

#[test]
fn router_alert_is_found_behind_other_options() {
    assert!(has_router_alert(&[1, 1, 148, 4, 0, 0, 0, 0]));
    assert!(has_router_alert(&[7, 3, 0, 148, 4, 0, 0, 0]));
    assert!(!has_router_alert(&[7, 7, 0, 148, 4, 0, 0, 0]));
}

// RFC 3376 §4.2.13, RFC 4541 §2.1.1
#[test]
fn rfc_3376_section_4_2_13_a_report_from_no_address_is_heard() {
    assert!(edited(0x16, |bytes| bytes[12..16].fill(0)).is_ok());
}

#[test]
fn a_wrong_checksum_is_discarded() {
    let mut bytes = packet(&old(0x16, 0, GROUP));
    bytes[AT + 7] ^= 1;
    assert_eq!(parse(&bytes), Err(Invalid::Checksum));
    let mut bytes = packet(&old(0x16, 0, GROUP));
    bytes[15] ^= 1;
    assert_eq!(parse(&bytes), Err(Invalid::HeaderChecksum));
}

// RFC 3376 §4.2.11
#[test]
fn rfc_3376_section_4_2_11_the_checksum_runs_over_what_follows_the_message_too() {
    let message = [report(&[record(4, GROUP, 0, 0)]), vec![0xab, 0xcd]].concat();
    let mut bytes = packet(&message);
    assert_eq!(told(&bytes), Ok(vec![(GROUP, Interest::Join, 0)]));
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    assert_eq!(told(&bytes), Err(Invalid::Checksum));
}

#[test]
fn a_fragment_is_discarded() {
    assert_eq!(edited(0x16, |bytes| bytes[6] = 0x20), Err(Invalid::Fragment));
    assert_eq!(edited(0x16, |bytes| bytes[7] = 1), Err(Invalid::Fragment));
}

#[test]
fn a_group_that_is_no_multicast_address_is_discarded() {
    for kind in [0x12, 0x16, 0x17] {
        assert_eq!(told(&packet(&old(kind, 0, HOST))), Err(Invalid::Group));
    }
    let bytes = packet(&report(&[record(4, GROUP, 0, 0), record(4, HOST, 0, 0)]));
    assert_eq!(told(&bytes), Err(Invalid::Group));
    assert_eq!(parse(&packet(&old(0x11, 10, HOST))), Err(Invalid::Group));
}

#[test]
fn records_that_run_past_the_end_are_discarded() {
    let whole = report(&[record(4, GROUP, 2, 1)]);
    for length in 8..whole.len() {
        assert_eq!(told(&packet(&whole[..length])), Err(Invalid::Group), "{length}");
    }
}

#[test]
fn packets_cut_short_are_discarded() {
    let whole = packet(&old(0x16, 0, GROUP));
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), Err(Invalid::Length), "{length}");
    }
    for length in 4..8 {
        assert_eq!(parse(&packet(&old(0x16, 0, GROUP)[..length])), Err(Invalid::Length), "{length}");
    }
    assert_eq!(edited(0x16, |bytes| bytes[0] = 0x44), Err(Invalid::Length));
}

#[test]
fn padding_of_the_frame_does_not_count() {
    let mut bytes = packet(&old(0x11, 0, 0));
    bytes.extend_from_slice(&[0xee; 14]);
    assert_eq!(parse(&bytes), Ok(Message::Query(asked(Version::V1, None))));
}

#[test]
fn other_messages_are_not_of_this_protocol() {
    assert_eq!(told(&packet(&old(0x13, 0, GROUP))), Err(Invalid::Type));
    assert_eq!(edited(0x16, |bytes| bytes[9] = 17), Err(Invalid::Type));
    assert_eq!(edited(0x16, |bytes| bytes[0] = 0x66), Err(Invalid::Type));
}

// RFC 2236 §4, RFC 3376 §7.1
#[test]
fn rfc_3376_section_7_1_length_and_code_of_a_query_tell_its_version() {
    let version = |message: &[u8]| match parse(&packet(message)) {
        Ok(Message::Query(query)) => Ok((query.version, query.max_response_ds, query.sources)),
        Ok(other) => panic!("{other:?}"),
        Err(why) => Err(why),
    };
    assert_eq!(version(&old(0x11, 0, 0)), Ok((Version::V1, 100, 0)));
    let mut message = old(0x11, 20, GROUP);
    assert_eq!(version(&message), Ok((Version::V2, 20, 0)));
    for length in 9..12 {
        message.resize(length, 0);
        assert_eq!(version(&message), Err(Invalid::Length));
    }
    message.resize(12, 0);
    assert_eq!(version(&message), Ok((Version::V3, 20, 0)));
    message[11] = 1;
    assert_eq!(version(&message), Err(Invalid::Length));
    message.resize(16, 0);
    assert_eq!(version(&message), Ok((Version::V3, 20, 1)));
}

// RFC 3376 §4.1.12
#[test]
fn a_general_query_goes_to_all_systems_and_a_specific_one_to_its_group() {
    for version in [Version::V2, Version::V3] {
        for (group, mac) in [
            (None, "01:00:5e:00:00:01"),
            (Some(GROUP), "01:00:5e:01:02:03"),
            (Some(OTHER), "01:00:5e:01:02:03"),
        ] {
            for (vlan, length) in [(0, 60), (10, 64)] {
                let frame = built(&asked(version, group), vlan);
                let link = ethernet::parse(&frame).unwrap();
                assert_eq!((frame.len(), link.vlan, link.ethertype), (length, vlan, ethernet::IPV4));
                assert_eq!(ethernet::destination(&frame).unwrap().to_string(), mac);
                assert_eq!(ethernet::source(&frame), Some(MAC));
                let packet = &frame[link.header..];
                assert_eq!(parse(packet), Ok(Message::Query(asked(version, group))));
                let to = Ipv4HeaderSlice::from_slice(packet).unwrap();
                assert_eq!(to.destination(), group.unwrap_or(ALL_SYSTEMS).to_be_bytes());
                assert_eq!((to.ttl(), to.options()), (1, &ROUTER_ALERT[..]));
                assert_eq!(to.header_checksum(), to.to_header().calc_header_checksum());
                let oracle = SlicedPacket::from_ethernet(&frame).unwrap();
                assert!(matches!(oracle.net, Some(NetSlice::Ipv4(_))));
            }
        }
    }
}

// RFC 1112 appendix I
#[test]
fn a_query_of_version_1_asks_for_all_groups() {
    let frame = built(&asked(Version::V1, Some(GROUP)), 0);
    assert_eq!(parse(&frame[14..]), Ok(Message::Query(asked(Version::V1, None))));
}

// RFC 3376 §7.1
#[test]
fn a_query_of_version_2_never_looks_like_version_1() {
    let frame = built(&Query { max_response_ds: 0, ..asked(Version::V2, Some(GROUP)) }, 0);
    let wanted = Query { max_response_ds: 1, ..asked(Version::V2, Some(GROUP)) };
    assert_eq!(parse(&frame[14..]), Ok(Message::Query(wanted)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_message_panics(
        kind in prop_oneof![Just(0x11u8), Just(0x12), Just(0x16), Just(0x17), Just(0x22)],
        rest in prop::collection::vec(any::<u8>(), 3..200),
    ) {
        let message: Vec<u8> = [vec![kind], rest].concat();
        if let Ok(Message::Report(changes)) = parse(&packet(&message)) {
            prop_assert!(changes.count() <= 1 + message.len() / 8);
        }
    }

    #[test]
    fn what_is_asked_is_what_is_heard(
        group: Option<u32>, code: u8, suppress: bool, robustness in 0u8..8, interval: u8, vlan in 0u16..4095,
    ) {
        let said = Query {
            group: group.map(|low| (low & 0x0fff_ffff) | 0xe000_0000),
            max_response_ds: value_of_8(code),
            suppress,
            robustness,
            interval_s: value_of_8(interval),
            ..asked(Version::V3, None)
        };
        let frame = built(&said, vlan);
        let link = ethernet::parse(&frame).unwrap();
        prop_assert_eq!(parse(&frame[link.header..]), Ok(Message::Query(said)));
    }
}
