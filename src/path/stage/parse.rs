//! First stage: reads the link header and the IPv6 header. It judges what can be seen in them alone; who may send what is
//! for `admit`, where a packet goes is for `classify`.

use crate::net::{ethernet, ipv6, mac::Mac};
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::DropReason;
use crate::table::Port;

/// The link header of a frame.
pub(in crate::path) struct Link {
    /// Its length in bytes: 14 or 18.
    pub(in crate::path) bytes: usize,
    pub(in crate::path) ethertype: u16,
    /// VLAN identifier; 0: untagged.
    pub(in crate::path) vlan: u16,
    pub(in crate::path) destination: Mac,
    /// Whether the frame goes to the MAC address of the port or to a group.
    pub(in crate::path) is_to_port: bool,
}

/// What the IPv6 header of a packet says.
#[derive(Clone, Copy)]
pub(in crate::path) struct Header {
    pub(in crate::path) source: u128,
    pub(in crate::path) destination: u128,
    pub(in crate::path) next_header: u8,
    /// Where the packet ends in its frame, in bytes: padding may follow.
    pub(in crate::path) end: usize,
}

/// Reads the link header.
///
/// # Errors
/// [`DropReason::ShortFrame`], [`DropReason::SourceMacGroup`]; [`DropReason::NotOurMac`] where nobody but the port can be
/// meant; [`DropReason::UnknownVlan`].
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
    // A jumbogram (RFC 2675), which no link here can carry, or else an option header without a byte.
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

/// Notes what later stages read, and takes off the Ethernet padding, which does not travel on.
#[inline]
pub(in crate::path) fn note(packet: &mut Packet<'_>, meta: &mut PacketMeta, link: &Link, header: &Header) {
    meta.destination = header.destination;
    meta.unusual = !matches!(header.next_header, ipv6::next::TCP | ipv6::next::UDP);
    packet.l3 = link.bytes as u8;
    let _ = packet.resize(header.end);
}
