//! Fifth stage: plain IPv6 routing by longest prefix, for everything that needs no translation.

use super::lane::{Class, Lane, Lanes, Todo};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, quoted, send};
use crate::net::ipv6;
use crate::table::mem::prefetch;
use crate::table::{Action, ActionId, Hop, PortId};

/// Routes every undecided packet of [`Class::Route`].
#[inline]
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, todo: &mut Todo, ctx: &Ctx<'_>) {
    for (packet, lane) in burst.iter().zip(lanes.iter_mut()) {
        if packet.verdict == Verdict::Continue && lane.class == Class::Route {
            let destination = (u128::from(lane.high) << 64) | u128::from(lane.low);
            lane.action = ctx.tables.routes.lookup(destination).unwrap_or_default();
            if let Some(action) = ctx.tables.action(lane.action) {
                prefetch(action);
            }
        }
    }
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict == Verdict::Continue && lane.class == Class::Route {
            packet.verdict = decide(packet, lane, ctx);
            // What a tenant makes this node ask for is limited where its losses are.
            let asks = lane.watched.is_some() && matches!(packet.verdict, Verdict::Resolve(_));
            todo.drops |= asks || matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

pub(super) fn decide(packet: &mut Packet<'_>, lane: &mut Lane, ctx: &Ctx<'_>) -> Verdict {
    if lane.action == ActionId::default() {
        return Verdict::Drop(DropReason::NoRoute);
    }
    match ctx.tables.resolve(lane.action, || flow::hash(packet.l3())) {
        Some(Action::Forward(hop)) => forward(packet, lane, hop, ctx),
        Some(Action::Connected(port)) => connected(packet, lane, *port, ctx),
        Some(Action::Blackhole) => Verdict::Drop(DropReason::RouteBlackhole),
        Some(Action::Remote(_) | Action::Local(_) | Action::Spread(_) | Action::Group(_)) | None => {
            Verdict::Drop(DropReason::NoRoute)
        }
    }
}

fn connected(packet: &mut Packet<'_>, lane: &mut Lane, port: PortId, ctx: &Ctx<'_>) -> Verdict {
    let destination = (u128::from(lane.high) << 64) | u128::from(lane.low);
    match ctx.tables.neighbours.get(&(port, destination)) {
        Some(hop) => forward(packet, lane, hop, ctx),
        None => match packet.l3().get(7) {
            // Nobody is asked for on behalf of a packet that goes no further (RFC 8200 §3).
            Some(0 | 1) if !lane.ours => Verdict::Drop(DropReason::HopLimit),
            _ => Verdict::Resolve(port),
        },
    }
}

#[inline]
fn forward(packet: &mut Packet<'_>, lane: &mut Lane, hop: &Hop, ctx: &Ctx<'_>) -> Verdict {
    if let Err(verdict) = send::check(packet, lane, hop) {
        return verdict;
    }
    if lane.unusual
        && let Ok(upper) = ipv6::upper(packet.l3())
    {
        quoted::translate(packet, &upper, ctx.tables);
    }
    send::out(packet, lane, hop)
}
