//! Laws of Multicast Listener Discovery.

use super::*;
use etherparse::PacketHeaders;
use proptest::prelude::*;

const HOST: u128 = (0xfe80 << 112) | 0x99;
const GROUP: u128 = (0xff05 << 112) | 0x1234;
const OTHER: u128 = (0xff0e << 112) | 0x5678;
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// Offset of the message in the packets below.
const AT: usize = 48;

/// A valid packet with this message.
fn packet(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ipv6::HEADER];
    let length = (HOP_BY_HOP.len() + message.len()) as u16;
    Ipv6::of_mut(&mut bytes).unwrap().write(length, next::HOP_BY_HOP, 1, HOST, ALL_MLD2_ROUTERS);
    bytes.extend_from_slice(&HOP_BY_HOP);
    bytes.extend_from_slice(message);
    sealed(bytes)
}

/// The packet with its checksum made right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = Ipv6::of(&bytes).unwrap();
    let (source, destination) = (header.source(), header.destination());
    bytes[AT + 2..AT + 4].fill(0);
    let sum = checksum::transport(source, destination, next::ICMP6, &bytes[AT..]);
    bytes[AT + 2..AT + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A message of version 1.
fn old(kind: u8, group: u128) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&group.to_be_bytes());
    message
}

/// A record of a version 2 report, with auxiliary data of some words.
fn record(kind: u8, group: u128, sources: u16, auxiliary_words: u8) -> Vec<u8> {
    let mut bytes = vec![kind, auxiliary_words];
    bytes.extend_from_slice(&sources.to_be_bytes());
    bytes.extend_from_slice(&group.to_be_bytes());
    bytes.resize(bytes.len() + 16 * usize::from(sources) + 4 * usize::from(auxiliary_words), 0x20);
    bytes
}

/// A version 2 report.
fn report(records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![kind::LISTENER_REPORT_2, 0, 0, 0, 0, 0, 0, records.len() as u8];
    message.extend(records.concat());
    message
}

/// The changes of a packet as tuples: group, interest, number of sources.
fn told(packet: &[u8]) -> Result<Vec<(u128, Interest, u16)>, Invalid> {
    match parse(packet)? {
        Message::Report(changes) => Ok(changes.map(|c| (c.group, c.interest, c.sources)).collect()),
        Message::Query(query) => panic!("{query:?}"),
    }
}

/// The result of parsing a valid report after `edit`, with the checksum made right again. `edit` must keep the length.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<(u128, Interest, u16)>, Invalid> {
    let mut bytes = packet(&old(kind::LISTENER_REPORT, GROUP));
    edit(&mut bytes);
    told(&sealed(bytes))
}

fn asked(group: Option<u128>) -> Query {
    Query {
        version: Version::V2,
        querier: HOST,
        group,
        max_response_ms: 10_000,
        sources: 0,
        suppress: false,
        robustness: 2,
        interval_s: 125,
    }
}

fn built(said: &Query, vlan: u16) -> Vec<u8> {
    let mut frame = [0xa5; MAX_FRAME];
    let length = query(&mut frame, MAC, vlan, said);
    frame[..length].to_vec()
}

#[test]
fn rfc_2710_a_report_joins_and_done_leaves() {
    assert_eq!(told(&packet(&old(131, GROUP))), Ok(vec![(GROUP, Interest::Join, 0)]));
    assert_eq!(told(&packet(&old(132, GROUP))), Ok(vec![(GROUP, Interest::Leave, 0)]));
}

// RFC 3810 §5.2.12
#[test]
fn rfc_3810_each_record_joins_leaves_or_wants_fewer() {
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

// RFC 3810 §5.2.12
#[test]
fn rfc_3810_section_5_2_12_unknown_record_types_are_ignored() {
    let bytes = packet(&report(&[record(7, GROUP, 1, 1), record(4, OTHER, 0, 0), record(0, GROUP, 0, 0)]));
    assert_eq!(told(&bytes), Ok(vec![(OTHER, Interest::Join, 0)]));
}

// RFC 2710 §5
#[test]
fn rfc_2710_section_5_groups_that_stay_on_the_node_and_all_nodes_are_not_reported() {
    for never in [ALL_NODES, 0xff00 << 112 | 5, 0xff01 << 112 | 5, 0xff11 << 112 | 5] {
        assert_eq!(told(&packet(&old(131, never))), Ok(vec![]));
        let bytes = packet(&report(&[record(4, never, 0, 0), record(4, GROUP, 0, 0)]));
        assert_eq!(told(&bytes), Ok(vec![(GROUP, Interest::Join, 0)]));
    }
}

// RFC 2710 §3, RFC 3810 §6.2
#[test]
fn a_hop_limit_other_than_1_is_discarded() {
    for hops in [0, 2, 255] {
        assert_eq!(edited(|bytes| bytes[7] = hops), Err(Invalid::HopLimit));
    }
}

// RFC 3810 §5.1.14, RFC 2710 §3
#[test]
fn a_source_that_is_not_link_local_is_discarded() {
    assert_eq!(edited(|bytes| bytes[8] = 0x20), Err(Invalid::Source));
}

// RFC 3590 §4, RFC 4541 §3
#[test]
fn rfc_4541_section_3_a_report_from_the_unspecified_address_is_heard() {
    assert_eq!(edited(|bytes| bytes[8..24].fill(0)), Ok(vec![(GROUP, Interest::Join, 0)]));
}

// RFC 3810 §5.1.14
#[test]
fn rfc_3810_section_5_1_14_a_query_from_the_unspecified_address_is_discarded() {
    let mut bytes = packet(&old(130, 0));
    bytes[8..24].fill(0);
    assert_eq!(parse(&sealed(bytes)), Err(Invalid::Source));
}

// RFC 2711, RFC 3810 §6.2
#[test]
fn a_message_without_router_alert_is_discarded() {
    // Only padding; an alert for another protocol; an option that runs past the end.
    assert_eq!(edited(|bytes| bytes[42..48].copy_from_slice(&[1, 4, 0, 0, 0, 0])), Err(Invalid::RouterAlert));
    assert_eq!(edited(|bytes| bytes[45] = 1), Err(Invalid::RouterAlert));
    assert_eq!(edited(|bytes| bytes[42..44].copy_from_slice(&[1, 9])), Err(Invalid::RouterAlert));
    let mut bytes = packet(&old(131, GROUP));
    bytes.drain(40..48);
    bytes[4..7].copy_from_slice(&[0, 24, next::ICMP6]);
    assert_eq!(parse(&bytes), Err(Invalid::RouterAlert));
}

#[test]
fn router_alert_is_found_behind_other_options() {
    assert!(edited(|bytes| bytes[42..48].copy_from_slice(&[0, 0, 5, 2, 0, 0])).is_ok());
    assert!(edited(|bytes| bytes[42..48].copy_from_slice(&[1, 0, 5, 2, 0, 0])).is_ok());
}

#[test]
fn a_wrong_checksum_is_discarded() {
    let mut bytes = packet(&old(131, GROUP));
    bytes[AT + 20] ^= 1;
    assert_eq!(parse(&bytes), Err(Invalid::Checksum));
}

// RFC 3810 §5.1.1, RFC 3810 §5.2.1
#[test]
fn rfc_3810_the_code_is_ignored() {
    assert!(edited(|bytes| bytes[AT + 1] = 77).is_ok());
}

#[test]
fn a_group_that_is_no_multicast_address_is_discarded() {
    assert_eq!(told(&packet(&old(131, HOST))), Err(Invalid::Group));
    let bytes = packet(&report(&[record(4, GROUP, 0, 0), record(4, HOST, 0, 0)]));
    assert_eq!(told(&bytes), Err(Invalid::Group));
    assert_eq!(parse(&packet(&old(130, HOST))), Err(Invalid::Group));
}

#[test]
fn records_that_run_past_the_end_are_discarded() {
    let whole = report(&[record(4, GROUP, 2, 1)]);
    for length in 8..whole.len() {
        assert_eq!(told(&packet(&whole[..length])), Err(Invalid::Group), "{length}");
    }
}

#[test]
fn messages_cut_short_are_discarded() {
    for length in 0..24 {
        let wanted = if length < 4 { None } else { Some(Invalid::Length) };
        let whole = old(131, GROUP);
        let mut bytes = packet(&whole);
        bytes.truncate(AT + length);
        assert_eq!(parse(&bytes), Err(Invalid::Length), "less than the payload length");
        if let Some(wanted) = wanted {
            assert_eq!(told(&packet(&whole[..length])), Err(wanted), "{length}");
        }
    }
}

#[test]
fn bytes_after_the_payload_do_not_count() {
    let mut bytes = packet(&old(131, GROUP));
    bytes.extend_from_slice(&[0xee; 20]);
    assert!(parse(&bytes).is_ok());
}

#[test]
fn other_messages_are_not_of_this_protocol() {
    assert_eq!(told(&packet(&old(135, GROUP))), Err(Invalid::Type));
    assert_eq!(edited(|bytes| bytes[40] = next::UDP), Err(Invalid::Type));
}

// RFC 3810 §8.1
#[test]
fn rfc_3810_section_8_1_the_length_of_a_query_tells_its_version() {
    let mut message = old(130, GROUP);
    message[4..6].copy_from_slice(&1000u16.to_be_bytes());
    let version = |message: &[u8]| match parse(&packet(message)) {
        Ok(Message::Query(query)) => Ok((query.version, query.max_response_ms, query.sources)),
        Ok(other) => panic!("{other:?}"),
        Err(why) => Err(why),
    };
    assert_eq!(version(&message), Ok((Version::V1, 1000, 0)));
    for length in 25..28 {
        message.resize(length, 0);
        assert_eq!(version(&message), Err(Invalid::Length));
    }
    message.resize(28, 0);
    assert_eq!(version(&message), Ok((Version::V2, 1000, 0)));
    message[27] = 1;
    assert_eq!(version(&message), Err(Invalid::Length));
    message.resize(28 + 16, 0);
    assert_eq!(version(&message), Ok((Version::V2, 1000, 1)));
}

// RFC 3810 §5.1.15
#[test]
fn a_general_query_goes_to_all_nodes_and_a_specific_one_to_its_group() {
    for (group, mac) in [(None, "33:33:00:00:00:01"), (Some(GROUP), "33:33:00:00:12:34")] {
        for vlan in [0, 10] {
            let frame = built(&asked(group), vlan);
            let link = ethernet::parse(&frame).unwrap();
            let header = Ipv6::of(&frame[link.header..]).unwrap();
            assert_eq!((link.vlan, header.destination()), (vlan, group.unwrap_or(ALL_NODES)));
            assert_eq!(ethernet::destination(&frame).unwrap().to_string(), mac);
            assert_eq!(ethernet::source(&frame), Some(MAC));
            assert_eq!(parse(&frame[link.header..]), Ok(Message::Query(asked(group))));
            let oracle = PacketHeaders::from_ethernet_slice(&frame).unwrap();
            assert_eq!(oracle.transport.unwrap().icmpv6().unwrap().icmp_type.type_u8(), 130);
        }
    }
}

#[test]
fn a_query_of_version_1_has_24_bytes() {
    let old = Query { version: Version::V1, robustness: 0, interval_s: 0, ..asked(Some(GROUP)) };
    let frame = built(&old, 0);
    assert_eq!(frame.len(), 14 + 40 + 8 + 24);
    assert_eq!(parse(&frame[14..]), Ok(Message::Query(old)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_message_panics(
        kind in prop_oneof![Just(130u8), Just(131), Just(132), Just(143)],
        rest in prop::collection::vec(any::<u8>(), 3..200),
    ) {
        let message: Vec<u8> = [vec![kind], rest].concat();
        if let Ok(Message::Report(changes)) = parse(&packet(&message)) {
            prop_assert!(changes.count() <= 1 + message.len() / 20);
        }
    }

    #[test]
    fn what_is_asked_is_what_is_heard(
        group: Option<u32>, code: u16, suppress: bool, robustness in 0u8..8, interval: u8, vlan in 0u16..4095,
    ) {
        let said = Query {
            group: group.map(|low| (0xff08 << 112) | u128::from(low)),
            max_response_ms: value_of_16(code),
            suppress,
            robustness,
            interval_s: value_of_8(interval),
            ..asked(None)
        };
        let frame = built(&said, vlan);
        let link = ethernet::parse(&frame).unwrap();
        prop_assert_eq!(parse(&frame[link.header..]), Ok(Message::Query(said)));
    }
}
