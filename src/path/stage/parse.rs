//! Parses one frame: reads the link header and the IPv6 header, and drops what these alone show to be wrong.
//!
//! It does not look at who sent the frame, which `admit` does, nor at where it goes, which `classify` does.

use crate::net::{ethernet, ipv6, mac::Mac};
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::DropReason;
use crate::table::Port;

/// The link header of a frame.
pub(in crate::path) struct Link {
    /// Its length in bytes: 14, or 18 with a VLAN tag.
    pub(in crate::path) bytes: usize,
    pub(in crate::path) ethertype: u16,
    /// VLAN identifier; 0 for untagged.
    pub(in crate::path) vlan: u16,
    pub(in crate::path) destination: Mac,
    /// Whether the destination is the port's MAC address or a group address.
    pub(in crate::path) is_to_port: bool,
}

/// The fields of a packet's IPv6 header that admission and classification read.
#[derive(Clone, Copy)]
pub(in crate::path) struct Header {
    pub(in crate::path) source: u128,
    pub(in crate::path) destination: u128,
    pub(in crate::path) next_header: u8,
    /// End of the packet in its frame, in bytes. Ethernet padding may follow.
    pub(in crate::path) end: usize,
}

/// Reads the link header.
///
/// # Errors
/// * [`DropReason::ShortFrame`] if the frame has no Ethernet header.
/// * [`DropReason::SourceMacGroup`] for a group address as source.
/// * [`DropReason::NotOurMac`] for another destination than the port's or a group, on a port without tenants. On other
///   ports the destination may be a network's gateway.
/// * [`DropReason::UnknownVlan`] if the port does not accept the VLAN.
#[inline]
pub(in crate::path) fn link(packet: &Packet<'_>, port: &Port) -> Result<Link, DropReason> {
    let frame = packet.frame();
    let link = ethernet::parse(frame).ok_or(DropReason::ShortFrame)?;
    let destination = ethernet::destination(frame).ok_or(DropReason::ShortFrame)?;
    if ethernet::source(frame).is_none_or(Mac::is_multicast) {
        return Err(DropReason::SourceMacGroup);
    }
    let is_to_port = destination == port.mac || destination.is_multicast();
    if !is_to_port && !port.tenants {
        return Err(DropReason::NotOurMac);
    }
    if !port.accepts_vlan(link.vlan) {
        return Err(DropReason::UnknownVlan);
    }
    Ok(Link { bytes: link.header, ethertype: link.ethertype, vlan: link.vlan, destination, is_to_port })
}

/// Reads the IPv6 header.
///
/// # Errors
/// [`DropReason::UnknownEthertype`], [`DropReason::Ipv6Truncated`], [`DropReason::Ipv6Version`],
/// [`DropReason::Ipv6Length`]; [`DropReason::ExtensionHeaders`] for jumbograms.
#[inline]
pub(in crate::path) fn ipv6(packet: &Packet<'_>, link: &Link) -> Result<Header, DropReason> {
    if link.ethertype != ethernet::IPV6 {
        return Err(DropReason::UnknownEthertype);
    }
    let frame = packet.frame();
    let header = ipv6::Ipv6::of(frame.get(link.bytes..).unwrap_or(&[])).ok_or(DropReason::Ipv6Truncated)?;
    if header.version() != 6 {
        return Err(DropReason::Ipv6Version);
    }
    let end = link.bytes + ipv6::HEADER + usize::from(header.payload_length());
    if end > frame.len() {
        return Err(DropReason::Ipv6Length);
    }
    // Either a jumbogram (RFC 2675), which no link here can carry, or a hop-by-hop header that is not there.
    if header.payload_length() == 0 && header.next_header() == ipv6::next::HOP_BY_HOP {
        return Err(DropReason::ExtensionHeaders);
    }
    Ok(Header {
        source: header.source(),
        destination: header.destination(),
        next_header: header.next_header(),
        end,
    })
}

/// Writes what later stages read to `meta`, and cuts off Ethernet padding, which is not forwarded.
#[inline]
pub(in crate::path) fn note(packet: &mut Packet<'_>, meta: &mut PacketMeta, link: &Link, header: &Header) {
    meta.destination = header.destination;
    meta.unusual = !matches!(header.next_header, ipv6::next::TCP | ipv6::next::UDP);
    packet.l3 = link.bytes as u8;
    let _ = packet.resize(header.end);
}
