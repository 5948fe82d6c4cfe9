//! Fifth stage: plain IPv6 routing by longest prefix, for everything that needs no translation.

use super::lane::{Class, Lane, Lanes};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, quoted, send};
use crate::net::ipv6;
use crate::table::mem::prefetch;
use crate::table::{Action, Hop, PortId};

/// Routes every undecided packet of [`Class::Route`].
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    let mut any = false;
    for (packet, lane) in burst.iter().zip(lanes.iter_mut()) {
        if packet.verdict != Verdict::Continue || lane.class != Class::Route {
            continue;
        }
        any = true;
        lane.action = ctx.tables.routes.lookup((u128::from(lane.high) << 64) | u128::from(lane.low));
        if let Some(action) = lane.action.and_then(|id| ctx.tables.action(id)) {
            prefetch(action);
        }
    }
    if !any {
        return;
    }
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict == Verdict::Continue && lane.class == Class::Route {
            packet.verdict = decide(packet, lane, ctx);
        }
    }
}

fn decide(packet: &mut Packet<'_>, lane: &mut Lane, ctx: &Ctx<'_>) -> Verdict {
    let found = lane.action.and_then(|id| ctx.tables.resolve(id, || flow::hash(packet.l3())));
    match found {
        Some(Action::Forward(hop)) => forward(packet, lane, hop, ctx),
        Some(Action::Connected(port)) => connected(packet, lane, *port, ctx),
        Some(Action::Blackhole) => Verdict::Drop(DropReason::RouteBlackhole),
        Some(Action::Remote(_) | Action::Local(_) | Action::Spread(_)) | None => {
            Verdict::Drop(DropReason::NoRoute)
        }
    }
}

fn connected(packet: &mut Packet<'_>, lane: &mut Lane, port: PortId, ctx: &Ctx<'_>) -> Verdict {
    let destination = (u128::from(lane.high) << 64) | u128::from(lane.low);
    match ctx.tables.neighbours.get(&(port, destination)) {
        Some(hop) => forward(packet, lane, hop, ctx),
        None => Verdict::Resolve(port),
    }
}

#[inline]
fn forward(packet: &mut Packet<'_>, lane: &mut Lane, hop: &Hop, ctx: &Ctx<'_>) -> Verdict {
    if let Err(verdict) = send::check(packet, lane, hop) {
        return verdict;
    }
    if lane.unusual {
        if let Ok(upper) = ipv6::upper(packet.l3()) {
            quoted::translate(packet, &upper, ctx.tables);
        }
    }
    send::out(packet, lane, hop)
}
