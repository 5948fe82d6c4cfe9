//! Sixth stage: packets to this node itself: Neighbour Discovery, echo, and a plain no to the rest.

use super::guard::Guard;
use super::lane::{Class, Lane, Lanes, Todo};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, group, ndp};
use crate::net::checksum;
use crate::net::icmp6::kind;
use crate::net::ipv6::{self, Ipv6, Upper, next};

/// Hop limit of packets that this node makes (RFC 1700's recommended default).
pub(super) const HOP_LIMIT: u8 = 64;

/// Decides every packet of [`Class::Own`]. Those still undecided afterwards are answers to be routed.
pub(super) fn run(
    burst: &mut [Packet<'_>],
    lanes: &mut Lanes,
    todo: &mut Todo,
    guard: &mut Guard,
    ctx: &Ctx<'_>,
) {
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict == Verdict::Continue && lane.class == Class::Own {
            packet.verdict = if lane.ours {
                Verdict::Drop(DropReason::NotServed)
            } else {
                decide(packet, lane, guard, ctx)
            };
            todo.drops |= matches!(packet.verdict, Verdict::Drop(_));
            if let Some(who) = lane.watched {
                guard.note(who, &packet.verdict);
            }
        }
    }
}

fn decide(packet: &mut Packet<'_>, lane: &mut Lane, guard: &mut Guard, ctx: &Ctx<'_>) -> Verdict {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return Verdict::Drop(DropReason::ExtensionHeaders) };
    if upper.piece {
        return Verdict::Drop(DropReason::FragmentForUs);
    }
    let message = packet.l3().get(upper.offset).copied();
    match (upper.protocol, message) {
        (next::ICMP6, Some(kind::ROUTER_SOLICITATION..=kind::REDIRECT)) => {
            ndp::decide(packet, lane, &upper, guard, ctx)
        }
        (next::ICMP6, Some(kind))
            if group::is_mld(kind)
                && let Some(who) = lane.watched =>
        {
            group::decide_mld(packet, who, guard, ctx)
        }
        _ if lane.high >> 56 == 0xff => Verdict::Drop(DropReason::Multicast),
        // Only Neighbour Discovery speaks from the unspecified address, and nobody can be answered there.
        _ if Ipv6::of(packet.l3()).is_none_or(|header| header.source() == 0) => {
            Verdict::Drop(DropReason::MartianSource)
        }
        (next::ICMP6, Some(kind::ECHO_REQUEST)) => match lane.watched.map_or(Ok(()), |who| guard.heed(who)) {
            Ok(()) => echo(packet, lane, &upper),
            Err(reason) => Verdict::Drop(reason),
        },
        _ => Verdict::Drop(DropReason::NotServed),
    }
}

/// Turns an echo request into its reply (RFC 4443 §4.2) and leaves it to be routed.
fn echo(packet: &mut Packet<'_>, lane: &mut Lane, upper: &Upper) -> Verdict {
    // Turned around, a route would lead wherever its sender likes.
    if upper.source_routed {
        return Verdict::Drop(DropReason::NotServed);
    }
    let Some(header) = Ipv6::of(packet.l3()) else { return Verdict::Drop(DropReason::Ipv6Truncated) };
    let (source, destination) = (header.source(), header.destination());
    let message = packet.l3().get(upper.offset..).unwrap_or(&[]);
    if checksum::transport(source, destination, next::ICMP6, message) != 0 {
        return Verdict::Drop(DropReason::Checksum);
    }
    let l3 = packet.l3_mut();
    if let Some(mut header) = Ipv6::of_mut(l3) {
        header.set_source(destination);
        header.set_destination(source);
        header.set_hop_limit(HOP_LIMIT);
    }
    if let Some([message_kind, _, high, low]) =
        l3.get_mut(upper.offset..).and_then(|rest| rest.first_chunk_mut::<4>())
    {
        *message_kind = kind::ECHO_REPLY;
        let sum = u16::from_be_bytes([*high, *low]);
        let before = u16::from(kind::ECHO_REQUEST) << 8;
        [*high, *low] = checksum::update(sum, before, u16::from(kind::ECHO_REPLY) << 8).to_be_bytes();
    }
    answer_to(packet, lane, source)
}

/// Marks the packet as ours, addressed to `destination`: from or to a link-local address it goes back the way it came
/// (RFC 4291 §2.5.6), all else is routed like any packet.
pub(super) fn answer_to(packet: &mut Packet<'_>, lane: &mut Lane, destination: u128) -> Verdict {
    *lane = Lane {
        high: (destination >> 64) as u64,
        low: destination as u64,
        unusual: true,
        ours: true,
        answered: lane.answered,
        charged: lane.party(),
        bytes: lane.bytes,
        ..Lane::default()
    };
    let from = Ipv6::of(packet.l3()).map_or(0, |header| header.source());
    if !ipv6::is_link_local(destination) && !ipv6::is_link_local(from) {
        return Verdict::Continue;
    }
    if let Some(addresses) = packet.frame_mut().first_chunk_mut::<12>() {
        addresses.rotate_left(6);
    }
    Verdict::Reply(packet.port)
}
