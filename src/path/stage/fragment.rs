//! Fragments packets that came as IPv4 without DF and are too long for their next hop or for the links behind it, and
//! fragments that are too long for the IPv4 tenant that receives them (RFC 7915 §4, RFC 7915 §5.1.1).
//!
//! It also fragments long answers of this node. ICMP of others is never fragmented, because its fragments cannot be
//! translated (RFC 7915 §1.2). Its sender is told the MTU instead, as with DF.
//!
//! The first fragment replaces the packet, and the others are copies.

use crate::net::ipv6;
use crate::path::copies::Copies;
use crate::path::ctx::Ctx;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta};
use crate::path::packet::Packet;
use crate::path::stage::route;
use crate::path::stage::translate;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::fragment;

/// Longest fragment in bytes: the largest MTU of a port, and the 28 bytes by which a fragment shrinks when it becomes
/// IPv4.
const LONGEST: usize = 9600 + 28;

/// Fragments every packet that was dropped as `PacketTooBig` and may be fragmented.
#[cold]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    copies: &mut Copies,
    ctx: &Ctx<'_>,
) {
    for (of, (packet, meta)) in burst.iter_mut().zip(metas.iter_mut()).enumerate() {
        // Stage `replicate` fragments packets to groups, for each receiver. A packet longer than its tenant may send
        // has no class, and is not fragmented.
        let once = !matches!(meta.class, Class::Group(_) | Class::None);
        if once && packet.verdict == Verdict::Drop(DropReason::PacketTooBig) {
            // Fragments hash differently from whole packets. They must take the path of the rest of their flow.
            meta.action = ctx.tables.member(meta.action, || flow::hash(packet.l3(), ctx.tables.flow_seed));
            packet.verdict = cut(packet, meta, of, copies, |piece, meta| again(piece, meta, ctx));
        }
    }
}

/// Decides a fragment as the stage decided the whole packet.
fn again(piece: &mut Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) -> Verdict {
    match meta.class {
        Class::Sir(domain) => translate::from_sir(piece, meta, domain, ctx),
        Class::Ila(domain) => translate::from_ila(piece, meta, domain, ctx),
        Class::Route => route::decide(piece, meta, ctx),
        Class::None | Class::Group(_) | Class::Local => Verdict::Drop(DropReason::PacketTooBig),
    }
}

/// Fragments a packet that is too long. `send` decides on each fragment. Returns the verdict on the first fragment,
/// which replaces the packet. Returns `PacketTooBig`, and changes nothing, if the packet may not be fragmented.
pub(in crate::path) fn cut(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    of: usize,
    copies: &mut Copies,
    send: impl Fn(&mut Packet<'_>, &mut PacketMeta) -> Verdict,
) -> Verdict {
    let mut first = [0; LONGEST];
    let Some(length) = rest_into(packet, meta, of, copies, &mut first, &send) else {
        return Verdict::Drop(DropReason::PacketTooBig);
    };
    let _ = packet.resize(usize::from(packet.l3) + length);
    if let (Some(l3), Some(first)) = (packet.l3_mut().get_mut(..length), first.get(..length)) {
        l3.copy_from_slice(first);
    }
    match send(packet, meta) {
        Verdict::Hold(_) => Verdict::Drop(DropReason::HoldFull),
        // A packet that waits is decided again, but only this fragment of it would be left.
        Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
            Verdict::Drop(DropReason::NeighbourUnresolved)
        }
        verdict => verdict,
    }
}

/// Makes copies of all fragments of a packet, and leaves the packet as it is.
///
/// # Errors
/// [`DropReason::PacketTooBig`] if the packet may not be fragmented.
pub(in crate::path) fn copies(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    of: usize,
    copies: &mut Copies,
    send: impl Fn(&mut Packet<'_>, &mut PacketMeta) -> Verdict,
) -> Result<(), DropReason> {
    for piece in pieces(packet, meta).ok_or(DropReason::PacketTooBig)? {
        one(packet, meta, of, copies, &piece, &send);
    }
    Ok(())
}

/// Writes the first fragment to `first` and makes copies of the others. Returns the length of the first fragment in
/// bytes. Returns `None`, and changes nothing, if the packet may not be fragmented.
fn rest_into(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    of: usize,
    copies: &mut Copies,
    first: &mut [u8],
    send: &impl Fn(&mut Packet<'_>, &mut PacketMeta) -> Verdict,
) -> Option<usize> {
    let mut pieces = pieces(packet, meta)?;
    let length = pieces.next()?.write(first)?;
    for piece in pieces {
        one(packet, meta, of, copies, &piece, send);
    }
    Some(length)
}

/// Makes a copy of one fragment, and counts it if it is lost.
fn one(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    of: usize,
    copies: &mut Copies,
    piece: &fragment::Piece<'_>,
    send: &impl Fn(&mut Packet<'_>, &mut PacketMeta) -> Verdict,
) {
    let link = packet.frame().get(..usize::from(packet.l3)).unwrap_or(&[]);
    let made = copies.make(packet, of, link.len() + piece.len(), |copy| {
        if let Some(header) = copy.frame_mut().get_mut(..link.len()) {
            header.copy_from_slice(link);
        }
        match piece.write(copy.l3_mut()) {
            Some(_) => send(copy, &mut { *meta }),
            None => Verdict::Drop(DropReason::PacketTooBig),
        }
    });
    copies.note(made);
}

/// The fragments of a packet; `None` if it may not be fragmented.
fn pieces<'p>(
    packet: &'p Packet<'_>,
    meta: &PacketMeta,
) -> Option<impl Iterator<Item = fragment::Piece<'p>>> {
    let upper = ipv6::upper(packet.l3()).ok()?;
    // A packet that may be fragmented has a fragment header, unless it was short enough to go without one.
    let may = meta.splits && upper.fragment;
    fragment::v6(packet.l3(), meta.mtu, 0).ok().filter(|_| may)
}
