//! What came as IPv4 and may be cut is cut: an IPv4 packet without DF that grew too long for its next hop, and fragments
//! that are too long for the IPv4 tenant they go to (RFC 7915 §4, §5.1.1).
//!
//! The first fragment is the packet from then on, the others are copies of it. ICMP is never cut: its fragments cannot
//! be translated (RFC 7915 §1.2), so its sender is told the MTU as with DF.

use super::lane::{Class, Lane, Lanes};
use super::outbox::Outbox;
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, route, translate};
use crate::net::ipv6::{self, next};
use crate::siit::fragment;

/// Longest fragment: the largest MTU of a port, and by how much a fragment shrinks on its way to IPv4.
const LONGEST: usize = 9600 + 28;

/// Cuts every packet that was found too long and may be cut.
#[cold]
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, outbox: &mut Outbox, ctx: &Ctx<'_>) {
    for (of, (packet, lane)) in burst.iter_mut().zip(lanes.iter_mut()).enumerate() {
        // Packets to groups were cut for each receiver; what is more than a tenant may send has no class.
        let once = !matches!(lane.class, Class::Group(_) | Class::None);
        if once && packet.verdict == Verdict::Drop(DropReason::PacketTooBig) {
            // Its fragments hash differently, and go the way that the rest of its flow goes.
            lane.action = ctx.tables.pinned(lane.action, || flow::hash(packet.l3()));
            packet.verdict = cut(packet, lane, of, outbox, |piece, lane| again(piece, lane, ctx));
        }
    }
}

/// The same decision as before, on a fragment.
fn again(piece: &mut Packet<'_>, lane: &mut Lane, ctx: &Ctx<'_>) -> Verdict {
    match lane.class {
        Class::Sir(domain) => translate::from_sir(piece, lane, domain, ctx),
        Class::Ila(domain) => translate::from_ila(piece, lane, domain, ctx),
        Class::Route => route::decide(piece, lane, ctx),
        Class::None | Class::Group(_) | Class::Own => Verdict::Drop(DropReason::PacketTooBig),
    }
}

/// Cuts a packet that was found too long into fragments that fit, and lets `send` decide on each. Gives the verdict on
/// the first, which takes the packet's place; of a packet that may not be cut nothing changes.
pub(super) fn cut(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    of: usize,
    outbox: &mut Outbox,
    send: impl Fn(&mut Packet<'_>, &mut Lane) -> Verdict,
) -> Verdict {
    let mut first = [0; LONGEST];
    let Some(length) = rest_into(packet, lane, of, outbox, &mut first, &send) else {
        return Verdict::Drop(DropReason::PacketTooBig);
    };
    let _ = packet.resize(usize::from(packet.l3) + length);
    if let (Some(l3), Some(first)) = (packet.l3_mut().get_mut(..length), first.get(..length)) {
        l3.copy_from_slice(first);
    }
    match send(packet, lane) {
        // Were it kept, it would come back as the only fragment.
        Verdict::Hold(_) | Verdict::Resolve(_) => Verdict::Drop(DropReason::NeighbourUnresolved),
        verdict => verdict,
    }
}

/// Cuts a packet into copies only.
///
/// # Errors
/// It may not be cut.
pub(super) fn copies(
    packet: &Packet<'_>,
    lane: &Lane,
    of: usize,
    outbox: &mut Outbox,
    send: impl Fn(&mut Packet<'_>, &mut Lane) -> Verdict,
) -> Result<(), DropReason> {
    for piece in pieces(packet, lane).ok_or(DropReason::PacketTooBig)? {
        one(packet, lane, of, outbox, &piece, &send);
    }
    Ok(())
}

/// Writes the first fragment to `first` and makes copies of the others. The length of the first, or `None`, and nothing
/// done, when the packet may not be cut.
fn rest_into(
    packet: &Packet<'_>,
    lane: &Lane,
    of: usize,
    outbox: &mut Outbox,
    first: &mut [u8],
    send: &impl Fn(&mut Packet<'_>, &mut Lane) -> Verdict,
) -> Option<usize> {
    let mut pieces = pieces(packet, lane)?;
    let length = pieces.next()?.write(first)?;
    for piece in pieces {
        one(packet, lane, of, outbox, &piece, send);
    }
    Some(length)
}

fn one(
    packet: &Packet<'_>,
    lane: &Lane,
    of: usize,
    outbox: &mut Outbox,
    piece: &fragment::Piece<'_>,
    send: &impl Fn(&mut Packet<'_>, &mut Lane) -> Verdict,
) {
    let link = packet.frame().get(..usize::from(packet.l3)).unwrap_or(&[]);
    let made = outbox.make(packet, of, link.len() + piece.len(), |copy| {
        if let Some(header) = copy.frame_mut().get_mut(..link.len()) {
            header.copy_from_slice(link);
        }
        match piece.write(copy.l3_mut()) {
            Some(_) => send(copy, &mut { *lane }),
            None => Verdict::Drop(DropReason::PacketTooBig),
        }
    });
    outbox.note(made);
}

/// The fragments of a packet that may be cut.
fn pieces<'p>(packet: &'p Packet<'_>, lane: &Lane) -> Option<impl Iterator<Item = fragment::Piece<'p>>> {
    let upper = ipv6::upper(packet.l3()).ok()?;
    // A packet without fragment header was not too long to go without one.
    let may = lane.splits && upper.fragment && upper.protocol != next::ICMP6;
    fragment::v6(packet.l3(), lane.mtu, 0).ok().filter(|_| may)
}
