//! Fifth stage: plain IPv6 routing by longest prefix, for everything that needs no translation.

use crate::net::ipv6;
use crate::path::Ctx;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::rewrite::hop;
use crate::path::rewrite::quote;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::mem::prefetch;
use crate::table::{Action, ActionId, Hop, PortId};

/// Routes every undecided packet of [`Class::Route`].
#[inline]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    pending: &mut PendingWork,
    ctx: &Ctx<'_>,
) {
    for (packet, meta) in burst.iter().zip(metas.iter_mut()) {
        if packet.verdict == Verdict::Continue && meta.class == Class::Route {
            meta.action = ctx.tables.routes.lookup(meta.destination).unwrap_or_default();
            if let Some(action) = ctx.tables.action(meta.action) {
                prefetch(action);
            }
        }
    }
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if packet.verdict == Verdict::Continue && meta.class == Class::Route {
            packet.verdict = decide(packet, meta, ctx);
            // What a tenant makes this node ask for is limited where its losses are.
            let asks = meta.policed.is_some() && matches!(packet.verdict, Verdict::AwaitNeighbour(_));
            pending.drops |= asks || matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

pub(in crate::path) fn decide(packet: &mut Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) -> Verdict {
    if meta.action == ActionId::default() {
        return Verdict::Drop(DropReason::NoRoute);
    }
    match ctx.tables.resolve(meta.action, || flow::hash(packet.l3())) {
        Some(Action::Forward(hop)) => forward(packet, meta, hop, ctx),
        Some(Action::Connected(port)) => connected(packet, meta, *port, ctx),
        Some(Action::Blackhole) => Verdict::Drop(DropReason::RouteBlackhole),
        Some(Action::Remote(_) | Action::Local(_) | Action::NexthopGroup(_) | Action::Group(_)) | None => {
            Verdict::Drop(DropReason::NoRoute)
        }
    }
}

fn connected(packet: &mut Packet<'_>, meta: &mut PacketMeta, port: PortId, ctx: &Ctx<'_>) -> Verdict {
    match ctx.tables.neighbours.get(&(port, meta.destination)) {
        Some(hop) => forward(packet, meta, hop, ctx),
        None => match packet.l3().get(7) {
            // Nobody is asked for on behalf of a packet that goes no further (RFC 8200 §3).
            Some(0 | 1) if !meta.ours => Verdict::Drop(DropReason::HopLimit),
            _ => Verdict::AwaitNeighbour(port),
        },
    }
}

#[inline]
fn forward(packet: &mut Packet<'_>, meta: &mut PacketMeta, hop: &Hop, ctx: &Ctx<'_>) -> Verdict {
    if let Err(verdict) = hop::check(packet, meta, hop) {
        return verdict;
    }
    if meta.unusual
        && let Ok(upper) = ipv6::upper(packet.l3())
    {
        quote::translate(packet, &upper, ctx.tables);
    }
    hop::out(packet, meta, hop)
}
