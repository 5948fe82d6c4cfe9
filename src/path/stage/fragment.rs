//! What came as IPv4 and may be cut is cut: an IPv4 packet without DF that grew too long for its next hop, and fragments
//! that are too long for the IPv4 tenant they go to (RFC 7915 §4, §5.1.1).
//!
//! The first fragment is the packet from then on, the others are copies of it. ICMP is never cut: its fragments cannot
//! be translated (RFC 7915 §1.2), so its sender is told the MTU as with DF.

use crate::net::ipv6::{self, next};
use crate::path::Ctx;
use crate::path::copies::Copies;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta};
use crate::path::packet::Packet;
use crate::path::stage::route;
use crate::path::stage::translate;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::fragment;

/// Longest fragment: the largest MTU of a port, and by how much a fragment shrinks on its way to IPv4.
const LONGEST: usize = 9600 + 28;

/// Cuts every packet that was found too long and may be cut.
#[cold]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    copies: &mut Copies,
    ctx: &Ctx<'_>,
) {
    for (of, (packet, meta)) in burst.iter_mut().zip(metas.iter_mut()).enumerate() {
        // Packets to groups were cut for each receiver; what is more than a tenant may send has no class.
        let once = !matches!(meta.class, Class::Group(_) | Class::None);
        if once && packet.verdict == Verdict::Drop(DropReason::PacketTooBig) {
            // Its fragments hash differently, and go the way that the rest of its flow goes.
            meta.action = ctx.tables.member(meta.action, || flow::hash(packet.l3()));
            packet.verdict = cut(packet, meta, of, copies, |piece, meta| again(piece, meta, ctx));
        }
    }
}

/// The same decision as before, on a fragment.
fn again(piece: &mut Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) -> Verdict {
    match meta.class {
        Class::Sir(domain) => translate::from_sir(piece, meta, domain, ctx),
        Class::Ila(domain) => translate::from_ila(piece, meta, domain, ctx),
        Class::Route => route::decide(piece, meta, ctx),
        Class::None | Class::Group(_) | Class::Local => Verdict::Drop(DropReason::PacketTooBig),
    }
}

/// Cuts a packet that was found too long into fragments that fit, and lets `send` decide on each. Gives the verdict on
/// the first, which takes the packet's place; of a packet that may not be cut nothing changes.
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
        // Were it kept, it would come back as the only fragment.
        Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
            Verdict::Drop(DropReason::NeighbourUnresolved)
        }
        verdict => verdict,
    }
}

/// Cuts a packet into copies only.
///
/// # Errors
/// It may not be cut.
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

/// Writes the first fragment to `first` and makes copies of the others. The length of the first, or `None`, and nothing
/// done, when the packet may not be cut.
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

/// The fragments of a packet that may be cut.
fn pieces<'p>(
    packet: &'p Packet<'_>,
    meta: &PacketMeta,
) -> Option<impl Iterator<Item = fragment::Piece<'p>>> {
    let upper = ipv6::upper(packet.l3()).ok()?;
    // A packet without fragment header was not too long to go without one.
    let may = meta.splits && upper.fragment && upper.protocol != next::ICMP6;
    fragment::v6(packet.l3(), meta.mtu, 0).ok().filter(|_| may)
}
