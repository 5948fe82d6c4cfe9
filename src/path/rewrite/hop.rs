//! The last steps of every packet that leaves through a next hop: the checks that may stop it, then hop limit and link
//! header.

use super::atomic;
use crate::net::ethernet;
use crate::net::ipv6::{self, Ipv6};
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Hop, HopState, PortId};

/// Checks that the packet may leave through `hop`. Changes nothing in the packet; notes the MTU in `meta` if that is
/// exceeded.
///
/// # Errors
/// The verdict that stops the packet:
/// * [`Verdict::AwaitNextHop`] if the next hop's neighbour is not known yet
/// * a drop as `HopLimit`, `NeighbourUnreachable`, `LinkDown`, `NoRoute`, `LocatorOnLink` or `PacketTooBig`
#[inline(always)]
pub(in crate::path) fn check(packet: &Packet<'_>, meta: &mut PacketMeta, hop: &Hop) -> Result<(), Verdict> {
    check_shrinking(packet, meta, hop, 0)
}

/// [`check`] for a packet that will be `shrinks_by` bytes shorter when it leaves.
///
/// # Errors
/// [`Verdict::AwaitNextHop`], or a drop as `HopLimit`, `NeighbourUnreachable`, `LinkDown`, `NoRoute`, `LocatorOnLink`
/// or `PacketTooBig`.
#[inline(always)]
pub(in crate::path) fn check_shrinking(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    shrinks_by: usize,
) -> Result<(), Verdict> {
    check_within(packet, meta, hop, usize::from(hop.mtu) + shrinks_by)
}

/// [`check`] for a packet that will be `grows_by` bytes longer when it leaves, and then no longer than `path_mtu`.
///
/// # Errors
/// As [`check`].
pub(in crate::path) fn check_growing(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    (grows_by, path_mtu): (usize, u16),
) -> Result<(), Verdict> {
    check_within(packet, meta, hop, usize::from(hop.mtu.min(path_mtu)).saturating_sub(grows_by))
}

/// [`check`] for a packet that leaves as IPv6. `path_mtu` is the longest packet in bytes that every link behind the hop
/// takes. Packets that may be fragmented must not be longer, because nobody tells their sender (RFC 7915 §4). Such a
/// packet leaves without fragment header if it leaves whole.
///
/// Packets of this node must not be longer than every link of the Internet takes (RFC 8201 §4): it keeps no path MTUs.
///
/// # Errors
/// As [`check`].
#[inline(always)]
pub(in crate::path) fn check_path(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    path_mtu: u16,
) -> Result<(), Verdict> {
    if !meta.splits {
        return check(packet, meta, hop);
    }
    let path_mtu = if meta.ours { ipv6::MIN_MTU } else { path_mtu };
    check_splitting(packet, meta, hop, path_mtu.min(hop.mtu))
}

/// [`check_path`] for a hop behind which there is no further link.
///
/// # Errors
/// As [`check`].
#[inline(always)]
pub(in crate::path) fn check_last(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
) -> Result<(), Verdict> {
    if meta.splits { check_splitting(packet, meta, hop, hop.mtu) } else { check(packet, meta, hop) }
}

/// [`check_path`] for a packet that may be fragmented.
#[cold]
fn check_splitting(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    mtu: u16,
) -> Result<(), Verdict> {
    let checked = check_within(packet, meta, hop, usize::from(mtu) + atomic::bytes(packet));
    // Fragments keep their fragment header.
    meta.mtu = mtu;
    checked.map(|()| atomic::strip(packet))
}

/// [`check`] against the longest packet that may leave, in bytes.
#[inline(always)]
fn check_within(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    hop: &Hop,
    longest: usize,
) -> Result<(), Verdict> {
    let l3 = packet.l3();
    let hop_limit = l3.get(7).copied().unwrap_or(0);
    let ready = hop.state == HopState::Ready;
    if ready & (hop_limit > 1) & (l3.len() <= longest) {
        return Ok(());
    }
    refuse(meta, hop, hop_limit, l3.len(), longest)
}

/// The verdict that stops the packet, if one does.
#[cold]
fn refuse(
    meta: &mut PacketMeta,
    hop: &Hop,
    hop_limit: u8,
    length: usize,
    longest: usize,
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
    if length > longest {
        meta.mtu = longest as u16;
        return Err(Verdict::Drop(DropReason::PacketTooBig));
    }
    Ok(())
}

/// Lowers the hop limit (RFC 8200 §3), writes the link header and sends through the hop's port. A packet that this node
/// made keeps its hop limit.
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

/// Length of the Ethernet and IPv6 headers, in bytes.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;

/// [`check`] and [`out`] for an untagged frame: writes the link header and lowers the hop limit. `head` is the frame
/// from its Ethernet header on, and `frame_bytes` its length.
///
/// The caller has checked that the hop limit is above 1. `None`, and nothing changed, if the frame is too long, `hop`
/// is not ready, or its link is tagged.
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

/// Offset of the hop limit in an untagged frame, in bytes.
const HOP_LIMIT: usize = ethernet::HEADER + 7;
