//! The end of a tunnel: takes frames for an attachment that moves out of VXLAN (RFC 7348, VMM draft §5).
//!
//! Only the fabric may tunnel, and only what a move named: from those addresses to that one, with that VNI, to that
//! attachment. A frame that came out of a tunnel goes into no other one, but for those that were held for a VM which was
//! brought back.

use super::{moving, replicate};
use crate::ila::Identifier;
use crate::ila::group::ipv6_identifier;
use crate::net::ipv6::{Ipv6, Upper};
use crate::net::udp::{self, Udp};
use crate::net::{ethernet, ipv4, ipv6, vxlan};
use crate::path::admit::group::ipv4_group;
use crate::path::ctx::Ctx;
use crate::path::meta::{Moved, PacketMeta};
use crate::path::packet::Packet;
use crate::path::rewrite::vxlan as rewrite;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{HopState, Local, NetworkId, Role, Then, Tunnel};

/// The frame in a tunnelled packet.
struct Inner {
    /// Where it starts, in bytes from the start of the packet's own frame.
    at: usize,
    /// Where its packet ends. Ethernet padding may follow.
    end: usize,
    ethertype: u16,
}

/// Whether a packet to this node is one of VXLAN.
pub(super) fn is_vxlan(packet: &Packet<'_>, upper: &Upper) -> bool {
    let header = packet.l3().get(upper.offset..).and_then(Udp::of);
    upper.protocol == ipv6::next::UDP && header.is_some_and(|header| header.destination() == vxlan::PORT)
}

/// Decides a packet of VXLAN to this node, whose UDP header `upper` found.
#[cold]
pub(super) fn decide(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    upper: &Upper,
    ctx: &Ctx<'_>,
) -> Verdict {
    let from_fabric = ctx.tables.ports.get(usize::from(packet.port.0));
    if from_fabric.is_none_or(|port| port.role != Role::Fabric) {
        return Verdict::Drop(DropReason::VxlanForeign);
    }
    let (Some(header), Some(datagram)) = (Ipv6::of(packet.l3()), udp::datagram(packet.l3(), upper.offset))
    else {
        return Verdict::Drop(DropReason::VxlanInvalid);
    };
    let ends = (header.source(), header.destination());
    // RFC 7348 §4.1: without a checksum it is accepted; a wrong one is none.
    let is_summed = Udp::of(datagram).is_some_and(|header| header.checksum() != 0);
    if is_summed && !udp::is_intact_ipv6(datagram, ends.0, ends.1) {
        return Verdict::Drop(DropReason::Checksum);
    }
    let frame = datagram.get(udp::HEADER + vxlan::HEADER..).unwrap_or(&[]);
    let (Some(vni), Some(mac)) =
        (datagram.get(udp::HEADER..).and_then(vxlan::vni), ethernet::destination(frame))
    else {
        return Verdict::Drop(DropReason::VxlanInvalid);
    };
    let Some(end) = ctx.tables.moves.end(vni, mac, ends) else {
        return Verdict::Drop(DropReason::VxlanForeign);
    };
    let at = usize::from(packet.l3) + upper.offset + udp::HEADER + vxlan::HEADER;
    let Some(inner) = inner(frame, at) else { return Verdict::Drop(DropReason::VxlanInvalid) };
    meta.to = end.network;
    if let Some(queue) = end.behind.filter(|_| !packet.admitted) {
        return Verdict::Hold(queue);
    }
    match end.then {
        Then::Hold(queue) => Verdict::Hold(queue),
        Then::Deliver(local) => match group_of(packet, &inner, end.network, ctx) {
            None => deliver(packet, meta, &inner, &local),
            // What was held was sent before it got copies here.
            Some(group) if packet.admitted || !is_member(&local, end.network, group, ctx) => {
                deliver(packet, meta, &inner, &replicate::to_group(&local, group))
            }
            Some(_) => Verdict::Drop(DropReason::VxlanUndelivered),
        },
        Then::Left(Some(tunnel)) if packet.admitted => return_to(packet, meta, &inner, &tunnel, ctx),
        Then::Left(_) => Verdict::Drop(DropReason::TunnelledTwice),
    }
}

/// The frame in a tunnel, `at` bytes into the frame around it: an untagged one (RFC 7348 §6.1) with an IP packet.
fn inner(frame: &[u8], at: usize) -> Option<Inner> {
    let link = ethernet::parse(frame).filter(|link| link.header == ethernet::HEADER)?;
    let packet = frame.get(link.header..)?;
    let length = match link.ethertype {
        ethernet::IPV6 => {
            let header = Ipv6::of(packet).filter(|header| header.version() == 6)?;
            ipv6::HEADER + usize::from(header.payload_length())
        }
        ethernet::IPV4 => {
            let whole = ipv4::header(packet).filter(|header| ipv4::is_intact(header))?;
            let header = ipv4::Ipv4::of(packet).filter(|header| header.version() == 4)?;
            usize::from(header.total_length()).max(whole.len())
        }
        _ => return None,
    };
    let end = at + link.header + length;
    (length <= packet.len()).then_some(Inner { at, end, ethertype: link.ethertype })
}

/// The group or broadcast address of the network that the packet in a frame goes to.
fn group_of(
    packet: &Packet<'_>,
    inner: &Inner,
    network: Option<NetworkId>,
    ctx: &Ctx<'_>,
) -> Option<Identifier> {
    let network = ctx.tables.networks.get(network?)?;
    let packet = packet.frame().get(inner.at + ethernet::HEADER..inner.end)?;
    match inner.ethertype {
        ethernet::IPV4 => ipv4_group(ipv4::Ipv4::of(packet)?.destination(), network).ok()?,
        _ => ipv6_identifier(network.vnid, Ipv6::of(packet)?.destination()),
    }
}

/// Whether the attachment is a member of a group here, so that it gets the copies that are sent to this node.
fn is_member(local: &Local, network: Option<NetworkId>, group: Identifier, ctx: &Ctx<'_>) -> bool {
    let networks = &ctx.tables.networks;
    let Some((id, known)) = network.and_then(|id| Some((id, networks.get(id)?))) else { return false };
    let group = if known.is_broadcast_identifier(group) { known.broadcast() } else { group };
    networks.members(id, group).iter().any(|member| member.attachment == local.attachment)
}

/// Delivers the frame to the attachment. Its hop limit was lowered before the tunnel.
fn deliver(packet: &mut Packet<'_>, meta: &mut PacketMeta, inner: &Inner, local: &Local) -> Verdict {
    let length = inner.end - inner.at - ethernet::HEADER;
    if local.hop.state != HopState::Ready || length > usize::from(local.hop.mtu) {
        return Verdict::Drop(DropReason::VxlanUndelivered);
    }
    meta.moved = Some(Moved::Decapsulated);
    rewrite::deliver(packet, (inner.at, inner.end), inner.ethertype, local)
}

/// Sends a frame that was held here for a VM to where that was brought back.
fn return_to(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    inner: &Inner,
    tunnel: &Tunnel,
    ctx: &Ctx<'_>,
) -> Verdict {
    let source = packet.frame().get(usize::from(packet.l3)..).and_then(|l3| {
        let upper = ipv6::upper(l3).ok()?;
        Some(Udp::of(l3.get(upper.offset..)?)?.source())
    });
    // The flow keeps its source port.
    let flow = u32::from(source.unwrap_or_default() & 0x3fff);
    let hop = match moving::next_hop(tunnel, flow, meta, ctx) {
        Ok(hop) => hop,
        Err(verdict) => return verdict,
    };
    let longest = usize::from(hop.mtu.min(tunnel.mtu));
    if hop.state != HopState::Ready || inner.end - inner.at + vxlan::OVERHEAD > longest {
        return Verdict::Drop(DropReason::VxlanUndelivered);
    }
    let _ = packet.resize(inner.end);
    if !packet.strip(inner.at as u16) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    meta.moved = Some(Moved::Tunnelled);
    rewrite::encapsulate(packet, tunnel, flow, hop)
}
