//! Laws of ARP and RARP.

use super::*;
use etherparse::{ArpOperation, ArpPacketSlice};
use proptest::prelude::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
const ADDRESS_A: u32 = 0x0a00_0001;
const ADDRESS_B: u32 = 0x0a00_0002;

/// A frame as it is read back: destination, source, VLAN, message.
fn read(frame: &[u8]) -> (Mac, Mac, u16, Result<Arp, Invalid>) {
    let link = ethernet::parse(frame).unwrap();
    let message = parse(link.ethertype, &frame[link.header..]);
    (ethernet::destination(frame).unwrap(), ethernet::source(frame).unwrap(), link.vlan, message)
}

fn built(write: impl FnOnce(&mut [u8; MAX_FRAME]) -> usize) -> Vec<u8> {
    let mut frame = [0xa5; MAX_FRAME];
    let length = write(&mut frame);
    frame[..length].to_vec()
}

/// A valid request after `edit` of its 28 bytes.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Result<Arp, Invalid> {
    let mut bytes = built(|frame| request(frame, (A, ADDRESS_A), 0, ADDRESS_B, None))[14..42].to_vec();
    edit(&mut bytes);
    parse(ethernet::ARP, &bytes)
}

// RFC 826, RFC 1122 §2.3.2.1
#[test]
fn a_request_goes_to_everybody_or_to_one() {
    let (to, from, vlan, message) = read(&built(|f| request(f, (A, ADDRESS_A), 0, ADDRESS_B, None)));
    let message = message.unwrap();
    assert_eq!((to, from, vlan, message.kind()), (Mac::BROADCAST, A, 0, Kind::Request));
    assert_eq!(
        (message.sender_mac, message.sender, message.target_mac, message.target),
        (A, ADDRESS_A, Mac::ZERO, ADDRESS_B)
    );
    let (to, _, vlan, _) = read(&built(|f| request(f, (A, ADDRESS_A), 7, ADDRESS_B, Some(B))));
    assert_eq!((to, vlan), (B, 7));
}

#[test]
fn rfc_826_a_reply_swaps_sender_and_target_and_goes_to_the_asker() {
    let (.., asked) = read(&built(|f| request(f, (A, ADDRESS_A), 0, ADDRESS_B, None)));
    let (to, from, vlan, told) = read(&built(|f| reply(f, &asked.unwrap(), B, 9)));
    let told = told.unwrap();
    assert_eq!((to, from, vlan, told.kind()), (A, B, 9, Kind::Reply));
    assert_eq!((told.sender_mac, told.sender, told.target_mac, told.target), (B, ADDRESS_B, A, ADDRESS_A));
}

// RFC 5227 §2.1, RFC 5227 §2.1.1
#[test]
fn rfc_5227_a_request_from_no_address_is_a_probe_and_its_reply_is_valid() {
    let (.., asked) = read(&built(|f| request(f, (A, 0), 0, ADDRESS_B, None)));
    let asked = asked.unwrap();
    assert_eq!((asked.kind(), asked.target), (Kind::Probe, ADDRESS_B));
    let (.., told) = read(&built(|f| reply(f, &asked, B, 0)));
    let told = told.unwrap();
    assert_eq!((told.kind(), told.sender, told.target), (Kind::Reply, ADDRESS_B, 0));
}

// RFC 5227 §2.3
#[test]
fn rfc_5227_an_announcement_has_the_address_as_sender_and_target() {
    let (to, _, _, said) = read(&built(|f| gratuitous(f, A, ADDRESS_A, 0)));
    let said = said.unwrap();
    assert_eq!(
        (to, said.kind(), said.sender, said.target),
        (Mac::BROADCAST, Kind::Gratuitous, ADDRESS_A, ADDRESS_A)
    );
}

// RFC 5944 §4.6
#[test]
fn rfc_5944_a_gratuitous_message_may_be_a_reply() {
    let said = edited(|bytes| {
        bytes[7] = 2;
        bytes.copy_within(14..18, 24);
    });
    assert_eq!(said.unwrap().kind(), Kind::Gratuitous);
}

#[test]
fn rfc_903_the_answer_to_a_reverse_request_names_who_was_asked_for() {
    let asked = Arp {
        operation: Operation::ReverseRequest,
        sender_mac: A,
        sender: 0,
        target_mac: B,
        target: u32::MAX,
    };
    let (to, _, _, read_back) = read(&built(|f| write(f, Mac::BROADCAST, 0, &asked)));
    assert_eq!((to, read_back), (Mac::BROADCAST, Ok(asked)));
    assert_eq!(asked.kind(), Kind::ReverseRequest);
    let server = (Mac([2, 0, 0, 0, 0, 9]), 0x0a00_0009);
    let frame = built(|f| reverse_reply(f, &asked, server, 5, ADDRESS_B));
    let (to, from, vlan, told) = read(&frame);
    let told = told.unwrap();
    assert_eq!((to, from, vlan, told.kind()), (A, server.0, 5, Kind::ReverseReply));
    assert_eq!((told.sender, told.target_mac, told.target), (server.1, B, ADDRESS_B));
    assert_eq!(ethernet::parse(&frame).unwrap().ethertype, 0x8035);
}

#[test]
fn frames_are_padded_with_zeros_to_the_minimum_of_ethernet() {
    for (vlan, length) in [(0, 60), (10, 64)] {
        let frame = built(|f| gratuitous(f, A, ADDRESS_A, vlan));
        assert_eq!(frame.len(), length);
        assert!(frame[length - 18..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn another_ethertype_is_refused() {
    assert_eq!(parse(ethernet::IPV4, &[0; 64]), Err(Invalid::Ethertype));
}

#[test]
fn a_message_cut_short_is_refused() {
    for length in 0..LENGTH {
        assert_eq!(edited(|bytes| bytes.truncate(length)), Err(Invalid::Length), "{length}");
    }
}

#[test]
fn hardware_other_than_ethernet_is_refused() {
    assert_eq!(edited(|bytes| bytes[1] = 6), Err(Invalid::HardwareType));
}

#[test]
fn a_protocol_other_than_ipv4_is_refused() {
    assert_eq!(edited(|bytes| bytes[2..4].copy_from_slice(&[0x86, 0xdd])), Err(Invalid::ProtocolType));
}

#[test]
fn other_address_lengths_are_refused() {
    assert_eq!(edited(|bytes| bytes[4] = 8), Err(Invalid::AddressLength));
    assert_eq!(edited(|bytes| bytes[5] = 16), Err(Invalid::AddressLength));
}

#[test]
fn unknown_operations_are_refused() {
    for operation in [0, 5, 8, 9, 255] {
        assert_eq!(edited(|bytes| bytes[7] = operation), Err(Invalid::Operation), "{operation}");
    }
    assert_eq!(edited(|bytes| bytes[6] = 1), Err(Invalid::Operation));
}

#[test]
fn each_ethertype_has_its_own_operations() {
    assert_eq!(edited(|bytes| bytes[7] = 3), Err(Invalid::Operation));
    let bytes = built(|f| request(f, (A, ADDRESS_A), 0, ADDRESS_B, None));
    assert_eq!(parse(ethernet::RARP, &bytes[14..]), Err(Invalid::Operation));
}

// RFC 1812 §3.3.2
#[test]
fn rfc_1812_a_sender_at_a_group_address_is_not_believed() {
    assert_eq!(edited(|bytes| bytes[8] = 1), Err(Invalid::SenderMac));
    assert_eq!(edited(|bytes| bytes[8..14].fill(0xff)), Err(Invalid::SenderMac));
    assert_eq!(edited(|bytes| bytes[8..14].fill(0)), Err(Invalid::SenderMac));
}

#[test]
fn addresses_that_no_host_has_are_refused() {
    // 224.0.0.1, 255.255.255.255, 127.0.0.1, 0.0.0.1
    for wrong in [[224, 0, 0, 1], [255; 4], [127, 0, 0, 1], [0, 0, 0, 1]] {
        assert_eq!(edited(|bytes| bytes[14..18].copy_from_slice(&wrong)), Err(Invalid::Sender), "{wrong:?}");
        assert_eq!(edited(|bytes| bytes[24..28].copy_from_slice(&wrong)), Err(Invalid::Target), "{wrong:?}");
    }
    assert_eq!(edited(|bytes| bytes[24..28].fill(0)), Err(Invalid::Target));
    let reply_from_nobody = edited(|bytes| {
        bytes[7] = 2;
        bytes[14..18].fill(0);
    });
    assert_eq!(reply_from_nobody, Err(Invalid::Sender));
}

proptest! {
    #[test]
    fn no_bytes_panic(ethertype in prop_oneof![Just(ethernet::ARP), Just(ethernet::RARP)], bytes: Vec<u8>) {
        let _ = parse(ethertype, &bytes);
    }

    #[test]
    fn what_is_written_is_what_is_read_and_what_others_read(
        operation in 1u16..=4, macs: [[u8; 6]; 2], sender: u32, target: u32, vlan in 0u16..4095,
    ) {
        let operation = [Operation::Request, Operation::Reply, Operation::ReverseRequest, Operation::ReverseReply]
            [usize::from(operation) - 1];
        let message =
            Arp { operation, sender_mac: Mac(macs[0]), sender, target_mac: Mac(macs[1]), target };
        let frame = built(|f| write(f, B, vlan, &message));
        let link = ethernet::parse(&frame).unwrap();
        prop_assert_eq!((link.vlan, link.ethertype), (vlan, operation.ethertype()));
        if let Ok(read) = parse(link.ethertype, &frame[link.header..]) {
            prop_assert_eq!(read, message);
        }
        let oracle = ArpPacketSlice::from_slice(&frame[link.header..]).unwrap();
        prop_assert_eq!(oracle.operation(), ArpOperation(operation as u16));
        prop_assert_eq!(oracle.sender_hw_addr(), &macs[0][..]);
        prop_assert_eq!(oracle.target_hw_addr(), &macs[1][..]);
        prop_assert_eq!(oracle.sender_protocol_addr(), &sender.to_be_bytes()[..]);
        prop_assert_eq!(oracle.target_protocol_addr(), &target.to_be_bytes()[..]);
    }
}
