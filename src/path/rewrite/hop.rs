//! Last steps of every packet that leaves through a hop: what may stop it, then hop limit and link header.

use crate::net::ethernet;
use crate::net::ipv6::{self, Ipv6};
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Hop, HopState, PortId};

/// Whether the packet may leave through `hop`; nothing is changed.
///
/// # Errors
/// The verdict that stops it.
#[inline(always)]
pub(in crate::path) fn check(packet: &Packet<'_>, meta: &mut PacketMeta, hop: &Hop) -> Result<(), Verdict> {
    check_shrinking(packet, meta, hop, 0)
}

/// The same for a packet that will be `shrinks_by` bytes shorter when it leaves.
///
/// # Errors
/// The verdict that stops it.
#[inline(always)]
pub(in crate::path) fn check_shrinking(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    shrinks_by: usize,
) -> Result<(), Verdict> {
    let l3 = packet.l3();
    let hop_limit = l3.get(7).copied().unwrap_or(0);
    let ready = hop.state == HopState::Ready;
    if ready & (hop_limit > 1) & (l3.len() <= usize::from(hop.mtu) + shrinks_by) {
        return Ok(());
    }
    refuse(meta, hop, hop_limit, l3.len(), shrinks_by)
}

#[cold]
fn refuse(
    meta: &mut PacketMeta,
    hop: &Hop,
    hop_limit: u8,
    length: usize,
    shrinks_by: usize,
) -> Result<(), Verdict> {
    if hop_limit <= 1 && !meta.ours {
        return Err(Verdict::Drop(DropReason::HopLimit));
    }
    match hop.state {
        HopState::Unresolved => return Err(Verdict::AwaitNextHop(hop.id)),
        HopState::Unreachable => return Err(Verdict::Drop(DropReason::NeighbourUnreachable)),
        HopState::LinkDown => return Err(Verdict::Drop(DropReason::LinkDown)),
        HopState::NoRoute => return Err(Verdict::Drop(DropReason::NoRoute)),
        HopState::OnLink => return Err(Verdict::Drop(DropReason::LocatorOnLink)),
        HopState::Ready => {}
    }
    if length > usize::from(hop.mtu) + shrinks_by {
        meta.mtu = hop.mtu + shrinks_by as u16;
        return Err(Verdict::Drop(DropReason::PacketTooBig));
    }
    Ok(())
}

/// Lowers the hop limit (RFC 8200 §3), writes the link header and decides for the hop's port.
#[inline(always)]
pub(in crate::path) fn out(packet: &mut Packet<'_>, meta: &PacketMeta, hop: &Hop) -> Verdict {
    if !meta.ours
        && let Some(mut header) = Ipv6::of_mut(packet.l3_mut())
    {
        let hop_limit = header.hop_limit();
        header.set_hop_limit(hop_limit.wrapping_sub(1));
    }
    if hop.link_length == packet.l3 {
        let link = hop.link();
        if let Some(room) = packet.frame_mut().get_mut(..link.len()) {
            room.copy_from_slice(link);
        }
    } else if !packet.relink(hop.link()) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    if meta.ours { Verdict::Reply(hop.port) } else { Verdict::Forward(hop.port) }
}

/// Ethernet and IPv6 header, in bytes.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;

/// The same for a frame whose link header has no tag and that `hop` takes as it is: writes the link header and lowers the
/// hop limit. `head` is the frame from its Ethernet header on, `frame_bytes` its length.
///
/// `None`, and nothing changed, when the frame is too long or `hop` is not ready or has a tag. The caller has seen a hop
/// limit above 1.
#[inline(always)]
pub(in crate::path) fn out_untagged<const N: usize>(
    head: &mut [u8; N],
    frame_bytes: usize,
    hop: &Hop,
) -> Option<PortId> {
    const { assert!(N >= HEADERS) };
    if frame_bytes > usize::from(hop.fast_bytes) {
        return None;
    }
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[HOP_LIMIT] = head[HOP_LIMIT].wrapping_sub(1);
    Some(hop.port)
}

/// Where an untagged frame has its hop limit.
const HOP_LIMIT: usize = ethernet::HEADER + 7;
