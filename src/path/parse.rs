//! First stage: is this a frame for us, and an IPv6 packet that may be looked at further?

use super::lane::{Class, Lane};
use super::packet::Packet;
use super::verdict::DropReason;
use crate::net::{ethernet, ipv6, mac::Mac};
use crate::table::Port;

/// Upper half of an address that is plainly global unicast (2000::/3) or unique local (fc00::/7).
#[inline(always)]
const fn plain(high: u64) -> bool {
    high >> 61 == 0b001 || high >> 57 == 0xfc >> 1
}

/// Parses one packet of `port`; what follows sees only valid IPv6 for this node or to be forwarded.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub(super) fn parse(packet: &mut Packet<'_>, lane: &mut Lane, port: &Port) -> Result<(), DropReason> {
    if usual(packet, lane, port) { Ok(()) } else { careful(packet, lane, port) }
}

/// The common case in one go: untagged or tagged as the port wants, for our MAC, IPv6 between plain addresses.
/// Says `false`, having decided nothing, when anything is out of the ordinary.
#[inline(always)]
fn usual(packet: &mut Packet<'_>, lane: &mut Lane, port: &Port) -> bool {
    let length = packet.len();
    let Some(head) = packet.head_mut::<{ ethernet::HEADER + ipv6::HEADER }>() else { return false };
    // Destination MAC address and the first two bytes of the source's.
    let addresses = word8(head, 0);
    // Ethertype and the first two bytes of the IPv6 header; then payload length, next header and hop limit.
    let (kind, counts) = (word4(head, 12), word4(head, 18));
    let (source, high) = (word8(head, 22), word8(head, 38));
    let end = ethernet::HEADER + ipv6::HEADER + (counts >> 16) as usize;
    let fits = (addresses >> 16 == port.mac_word)
        & (addresses & 0x100 == 0)
        & (kind >> 12 == (u32::from(ethernet::IPV6) << 4 | 6))
        & (end <= length)
        & plain(source)
        & plain(high)
        & port.untagged;
    if !fits {
        return false;
    }
    let next = (counts >> 8) as u8;
    lane.high = high;
    lane.low = word8(head, 46);
    lane.direct = (next == ipv6::next::TCP) | (next == ipv6::next::UDP);
    lane.unusual = !lane.direct;
    packet.l3 = ethernet::HEADER as u8;
    if end < length {
        // Ethernet padding does not travel on.
        let _ = packet.resize(end);
    }
    true
}

#[inline(always)]
fn word8<const N: usize>(head: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(word)
}

#[inline(always)]
fn word4<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&head[at..at + 4]);
    u32::from_be_bytes(word)
}

/// The same with every case told apart.
#[cold]
fn careful(packet: &mut Packet<'_>, lane: &mut Lane, port: &Port) -> Result<(), DropReason> {
    let frame = packet.frame();
    let link = ethernet::parse(frame).ok_or(DropReason::ShortFrame)?;
    let to = ethernet::destination(frame).ok_or(DropReason::ShortFrame)?;
    if ethernet::source(frame).is_none_or(Mac::is_multicast) {
        return Err(DropReason::SourceMacGroup);
    }
    if to != port.mac && !to.is_multicast() {
        return Err(DropReason::NotOurMac);
    }
    if !port.accepts_vlan(link.vlan) {
        return Err(DropReason::UnknownVlan);
    }
    if link.ethertype != ethernet::IPV6 {
        return Err(DropReason::UnknownEthertype);
    }
    let packet_bytes = frame.get(link.header..).unwrap_or(&[]);
    let header = ipv6::Ipv6::of(packet_bytes).ok_or(DropReason::Ipv6Truncated)?;
    if header.version() != 6 {
        return Err(DropReason::Ipv6Version);
    }
    let end = link.header + ipv6::HEADER + usize::from(header.payload_length());
    if end > frame.len() {
        return Err(DropReason::Ipv6Length);
    }
    let (source, destination) = (header.source(), header.destination());
    lane.high = header.destination_high();
    lane.low = header.destination_low();
    lane.unusual = !matches!(header.next_header(), ipv6::next::TCP | ipv6::next::UDP);
    let next = header.next_header();
    packet.l3 = link.header as u8;
    let _ = packet.resize(end);
    if ipv6::is_multicast(source) || is_reserved(source) && !(source == 0 && next == ipv6::next::ICMP6) {
        return Err(DropReason::MartianSource);
    }
    if ipv6::is_multicast(destination) {
        // Only groups that this node listens to, and only from the link: see `own`.
        lane.class = Class::Own;
        return Ok(());
    }
    if is_reserved(destination) {
        return Err(DropReason::MartianDestination);
    }
    if to.is_multicast() {
        // A unicast packet in a group frame is somebody's flood (RFC 1122 §3.3.6, the same for IPv6).
        return Err(DropReason::NotOurMac);
    }
    if ipv6::is_link_local(destination) || ipv6::is_link_local(source) || source == 0 {
        if port.owns(destination) {
            lane.class = Class::Own;
            return Ok(());
        }
        return Err(DropReason::LinkLocal);
    }
    Ok(())
}

/// Unspecified, loopback, IPv4-compatible and IPv4-mapped addresses (::/96 and ::ffff:0:0/96), never on a wire.
const fn is_reserved(address: u128) -> bool {
    address >> 32 == 0 || address >> 32 == 0xffff
}
