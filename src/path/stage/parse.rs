//! First stage: is this a frame for us, and an IPv6 packet that may be looked at further?

use crate::net::{ethernet, icmp6::kind, ipv6, mac::Mac, ndp};
use crate::path::Ctx;
use crate::path::admit::group;
use crate::path::admit::ipv4;
use crate::path::admit::ra_dhcp_guard;
use crate::path::admit::source;
use crate::path::meta::{Class, PacketMeta};
use crate::path::packet::Packet;
use crate::path::policer::{Policed, Policer};
use crate::path::proxy::arp;
use crate::path::proxy::membership;
use crate::path::verdict::DropReason;
use crate::table::{Port, Quarantine, Role};

/// Parses one packet of `port`; what follows sees only valid IPv6 for this node or to be forwarded.
///
/// # Errors
/// The reason to drop it.
pub(in crate::path) fn parse(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    port: &Port,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let frame = packet.frame();
    let link = ethernet::parse(frame).ok_or(DropReason::ShortFrame)?;
    let to = ethernet::destination(frame).ok_or(DropReason::ShortFrame)?;
    if ethernet::source(frame).is_none_or(Mac::is_multicast) {
        return Err(DropReason::SourceMacGroup);
    }
    let ours = to == port.mac || to.is_multicast();
    if !ours && !port.tenants {
        return Err(DropReason::NotOurMac);
    }
    if !port.accepts_vlan(link.vlan) {
        return Err(DropReason::UnknownVlan);
    }
    let sender = if port.tenants { source::sender(packet, link.vlan, ctx)? } else { None };
    if !ours && sender.is_none_or(|sender| sender.network.mac != to) {
        return Err(DropReason::NotOurMac);
    }
    if let Some(sender) = &sender {
        meta.from = Some(sender.id);
        meta.bytes = packet.len() as u16;
        let who = Policed::of(sender.tenant);
        meta.policed = Some(who);
        if sender.tenant.quarantine == Quarantine::All {
            policer.silenced(who);
            return Err(DropReason::Quarantined);
        }
        match link.ethertype {
            ethernet::ARP | ethernet::RARP => {
                packet.verdict = arp::decide(packet, sender, link.ethertype, link.header, policer, ctx);
                return Ok(());
            }
            ethernet::IPV4 => {
                ra_dhcp_guard::ipv4(packet.frame().get(link.header..).unwrap_or(&[]))?;
                packet.l3 = link.header as u8;
                return ipv4::enter(packet, meta, sender, to.is_multicast(), policer, ctx);
            }
            _ => {}
        }
    }
    let frame = packet.frame();
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
    // A jumbogram (RFC 2675), which no link here can carry, or else an option header without a byte.
    if header.payload_length() == 0 && header.next_header() == ipv6::next::HOP_BY_HOP {
        return Err(DropReason::ExtensionHeaders);
    }
    let (source, destination) = (header.source(), header.destination());
    if packet.admitted {
        // What came as IPv4 has a fragment header only if it may be fragmented.
        meta.splits = header.next_header() == ipv6::next::FRAGMENT
            && sender.is_some_and(|sender| sender.is_own_ipv4(source, ctx));
    } else if let Some(sender) = &sender {
        sender.may_send(source, destination, port)?;
        ra_dhcp_guard::ipv6(frame.get(link.header..end).unwrap_or(&[]))?;
    } else if port.role != Role::Fabric && ctx.tables.is_tenants(source) {
        // Tenants sit at their attachments, and their packets come over the fabric: neither a task nor anybody outside
        // may speak for one.
        return Err(DropReason::SpoofedSource);
    }
    meta.destination = destination;
    meta.unusual = !matches!(header.next_header(), ipv6::next::TCP | ipv6::next::UDP);
    let next = header.next_header();
    packet.l3 = link.header as u8;
    // Ethernet padding does not travel on.
    let _ = packet.resize(end);
    // A host without an address yet may ask (RFC 4861 §4.1) and report its groups (RFC 3810 §5.2.13).
    let unspecified_may =
        next == ipv6::next::ICMP6 || next == ipv6::next::HOP_BY_HOP && ipv6::is_multicast(destination);
    if ipv6::is_multicast(source) || ipv6::is_ipv4_in_ipv6(source) && !(source == 0 && unspecified_may) {
        return Err(DropReason::MartianSource);
    }
    if ipv6::is_multicast(destination) {
        if let Some(sender) = &sender
            && membership::is_copied(packet.l3(), destination)
        {
            group::enter(meta, sender, source, destination, ctx)?;
            let fits = packet.l3().len() <= usize::from(sender.network.mtu);
            return if fits { Ok(()) } else { Err(DropReason::PacketTooBig) };
        }
        // Only groups that this node listens to, and only from the link: see `own`.
        meta.class = Class::Own;
        return Ok(());
    }
    if ipv6::is_ipv4_in_ipv6(destination) {
        return Err(DropReason::MartianDestination);
    }
    if to.is_multicast() {
        // A unicast packet in a group frame is somebody's flood (RFC 1122 §3.3.6, the same for IPv6).
        return Err(DropReason::NotOurMac);
    }
    if next == ipv6::next::ICMP6 && is_solicitation(packet.l3()) && port.role == Role::Access {
        // Neighbours that we answer for by proxy are asked at their own addresses, too (RFC 4861 §7.3.3).
        meta.class = Class::Own;
        return Ok(());
    }
    if ipv6::is_link_local(destination) || ipv6::is_link_local(source) || source == 0 {
        if port.owns(destination) {
            meta.class = Class::Own;
            return Ok(());
        }
        return Err(DropReason::LinkLocal);
    }
    match &sender {
        Some(sender) if !packet.admitted && packet.l3().len() > usize::from(sender.network.mtu) => {
            meta.mtu = sender.network.mtu;
            Err(DropReason::PacketTooBig)
        }
        _ => Ok(()),
    }
}

/// Whether an ICMPv6 packet is a Neighbour Solicitation from this link.
fn is_solicitation(packet: &[u8]) -> bool {
    packet.get(7) == Some(&ndp::HOP_LIMIT) && packet.get(ipv6::HEADER) == Some(&kind::NEIGHBOUR_SOLICITATION)
}
