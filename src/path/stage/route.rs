//! Plain IPv6 routing by longest prefix, for packets that need no translation.

use crate::net::ipv6;
use crate::path::ctx::Ctx;
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
        if packet.verdict.is_undecided() && meta.class == Class::Route {
            meta.action = ctx.tables.routes.lookup(meta.destination).unwrap_or_default();
            if let Some(action) = ctx.tables.action(meta.action) {
                prefetch(action);
            }
        }
    }
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if packet.verdict.is_undecided() && meta.class == Class::Route {
            packet.verdict = decide(packet, meta, ctx);
            // A tenant's packets to unknown neighbours are rate limited where its losses are, in stage `icmp_error`.
            let asks = meta.policed.is_some() && matches!(packet.verdict, Verdict::AwaitNeighbour(_));
            pending.drops |= asks || matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

/// Decides one packet by the action of its route.
pub(in crate::path) fn decide(packet: &mut Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) -> Verdict {
    if meta.action == ActionId::default() {
        return Verdict::Drop(DropReason::NoRoute);
    }
    match ctx.tables.resolve(meta.action, || flow::hash(packet.l3(), ctx.tables.flow_seed)) {
        Some(Action::Forward(hop)) => forward(packet, meta, hop, ctx),
        Some(Action::Connected(port)) => connected(packet, meta, *port, ctx),
        Some(Action::Blackhole) => Verdict::Drop(DropReason::RouteBlackhole),
        Some(
            Action::Remote(_)
            | Action::Local(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_),
        )
        | None => Verdict::Drop(DropReason::NoRoute),
    }
}

/// The next hop towards an address of another node, for the flow with this hash.
///
/// # Errors
/// The verdict that stops the packet: it waits for a neighbour, or is dropped as `NoRoute` or `RouteBlackhole`.
pub(super) fn next_hop<'t>(address: u128, flow: u32, ctx: &Ctx<'t>) -> Result<&'t Hop, Verdict> {
    let tables = ctx.tables;
    let action = tables.routes.lookup(address).and_then(|id| tables.resolve(id, || flow));
    match action {
        Some(Action::Forward(hop)) => Ok(hop),
        Some(Action::Connected(port)) => {
            let hop = tables.neighbours.get(&(*port, address));
            hop.ok_or(Verdict::AwaitNeighbour(*port))
        }
        Some(Action::Blackhole) => Err(Verdict::Drop(DropReason::RouteBlackhole)),
        Some(
            Action::Remote(_)
            | Action::Local(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_),
        )
        | None => Err(Verdict::Drop(DropReason::NoRoute)),
    }
}

/// Sends to a neighbour on a connected subnet, or waits for it.
fn connected(packet: &mut Packet<'_>, meta: &mut PacketMeta, port: PortId, ctx: &Ctx<'_>) -> Verdict {
    match ctx.tables.neighbours.get(&(port, meta.destination)) {
        Some(hop) => forward(packet, meta, hop, ctx),
        None => match packet.l3().get(7) {
            // RFC 8200 §3: a packet whose hop limit runs out here is dropped, and its neighbour is not solicited.
            Some(0 | 1) if !meta.ours => Verdict::Drop(DropReason::HopLimit),
            _ => Verdict::AwaitNeighbour(port),
        },
    }
}

/// Sends the packet through a next hop. In an ICMPv6 error the quoted packet is translated back.
#[inline]
fn forward(packet: &mut Packet<'_>, meta: &mut PacketMeta, hop: &Hop, ctx: &Ctx<'_>) -> Verdict {
    if let Err(verdict) = hop::check_path(packet, meta, hop, ctx.tables.translation.lowest_ipv6_mtu) {
        return verdict;
    }
    if meta.unusual
        && let Ok(upper) = ipv6::upper(packet.l3())
    {
        quote::translate(packet, &upper, ctx.tables);
    }
    hop::out(packet, meta, hop)
}
