//! Packets for a VM or task that moves (VMM draft §5): held, sent on through a tunnel, translated to its new locator, or
//! dropped.
//!
//! A packet that is held or waits stays as it came. Nothing is written to one before every check that could stop it has
//! passed.

use super::{gateway, route};
use crate::net::{ipv4, ipv6};
use crate::path::ctx::Ctx;
use crate::path::flow;
use crate::path::meta::{Class, Moved, PacketMeta};
use crate::path::packet::Packet;
use crate::path::policy::unwanted;
use crate::path::rewrite::{hop, siit, sir, vxlan};
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, ActionId, DomainId, Hop, InFlight, Local, Moving, Remote, Tunnel};

/// Decides a packet to a SIR address or a tenant's own address. Those who send from here follow the mapping of lower
/// origin, as everybody does. `None`: nobody knows where the receiver is, and the packet is one without a mapping.
#[cold]
pub(in crate::path) fn from_sir(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    moving: &Moving,
    ctx: &Ctx<'_>,
) -> Option<Verdict> {
    if let Some(queue) = moving.behind.filter(|_| !packet.admitted) {
        return Some(Verdict::Hold(queue));
    }
    let elsewhere = moving.elsewhere(meta.identifier).filter(|_| moving.in_flight != InFlight::Deliver);
    if let Some(action) = elsewhere {
        let verdict = match ctx.tables.resolve(action, || flow::hash(packet.l3(), ctx.tables.flow_seed)) {
            Some(Action::Remote(remote)) => {
                meta.expiring = remote.expiring;
                sir::to_locator(packet, meta, remote, ctx)
            }
            _ => Verdict::Drop(DropReason::Blackhole),
        };
        return Some(verdict);
    }
    let verdict = match moving.in_flight {
        InFlight::Hold(queue) => Verdict::Hold(queue),
        InFlight::Deliver => deliver(packet, meta, (domain, false), &moving.local, ctx),
        InFlight::Onward { tunnel, locator } => send_on(packet, meta, (domain, moving), tunnel, locator, ctx),
        InFlight::Follow => return None,
        InFlight::Drop => Verdict::Drop(DropReason::Departed),
    };
    Some(verdict)
}

/// Decides a packet that came under a locator of ours.
#[cold]
pub(in crate::path) fn from_ila(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    moving: &Moving,
    ctx: &Ctx<'_>,
) -> Verdict {
    if unwanted(packet, meta, ctx.tables) {
        return Verdict::Drop(DropReason::NoPolicy);
    }
    if let Some(queue) = moving.behind.filter(|_| !packet.admitted) {
        return Verdict::Hold(queue);
    }
    match moving.in_flight {
        InFlight::Hold(queue) => Verdict::Hold(queue),
        InFlight::Deliver => deliver(packet, meta, (domain, true), &moving.local, ctx),
        InFlight::Onward { tunnel, locator } => send_on(packet, meta, (domain, moving), tunnel, locator, ctx),
        InFlight::Follow => match moving.elsewhere(meta.identifier).and_then(|id| remote(packet, id, ctx)) {
            Some(remote) => retranslate(packet, meta, domain, remote, ctx),
            None => Verdict::Drop(DropReason::Departed),
        },
        InFlight::Drop => Verdict::Drop(DropReason::Departed),
    }
}

/// Sends a packet to the node where its receiver is now: through the tunnel if it fits, otherwise to the new locator.
fn send_on(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    (domain, moving): (DomainId, &Moving),
    tunnel: Option<Tunnel>,
    locator: Option<ActionId>,
    ctx: &Ctx<'_>,
) -> Verdict {
    let locator = locator.and_then(|id| remote(packet, id, ctx));
    let tunnelled = tunnel.map(|tunnel| {
        through(packet, meta, (domain, matches!(meta.class, Class::Ila(_))), (&moving.inner, &tunnel), ctx)
    });
    match (tunnelled, locator) {
        (Some(Verdict::Drop(DropReason::PacketTooBig)) | None, Some(remote)) => {
            retranslate(packet, meta, domain, remote, ctx)
        }
        (Some(verdict), _) => verdict,
        (None, None) => Verdict::Drop(DropReason::Departed),
    }
}

/// Delivers a packet here. `restores` says that it came under a locator.
fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    (domain, restores): (DomainId, bool),
    local: &Local,
    ctx: &Ctx<'_>,
) -> Verdict {
    if sir::is_ipv4(meta) {
        return siit::deliver(packet, meta, local, domain, ctx);
    }
    let domain = ctx.tables.domain(domain).filter(|_| restores);
    sir::deliver(packet, meta, local, domain, ctx)
}

/// Sends a packet through a tunnel, as the frame that its receiver would get here by `inner`. `restores` says that it
/// came under a locator. Returns `PacketTooBig`, and changes nothing, if it does not fit.
pub(super) fn through(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    (domain, restores): (DomainId, bool),
    (inner, tunnel): (&Local, &Tunnel),
    ctx: &Ctx<'_>,
) -> Verdict {
    let flow = flow::hash(packet.l3(), ctx.tables.flow_seed);
    let next = match next_hop(tunnel, flow, meta, ctx) {
        Ok(next) => next,
        Err(verdict) => return verdict,
    };
    let ipv4 = sir::is_ipv4(meta);
    let shrinks_by = if ipv4 { ipv6::HEADER - ipv4::HEADER } else { 0 };
    if let Err(verdict) = hop::check_growing(packet, meta, next, (vxlan::GROWTH - shrinks_by, tunnel.mtu)) {
        return verdict;
    }
    match deliver(packet, meta, (domain, restores), inner, ctx) {
        Verdict::Forward(_) => {
            meta.moved = Some(Moved::Tunnelled);
            vxlan::encapsulate(packet, tunnel, flow, next)
        }
        Verdict::Reply(_) => match vxlan::encapsulate(packet, tunnel, flow, next) {
            Verdict::Forward(port) => Verdict::Reply(port),
            verdict => verdict,
        },
        verdict => verdict,
    }
}

/// The next hop of a tunnel for the flow with this hash.
///
/// # Errors
/// The verdict that stops the packet: it waits for a neighbour, or there is no route.
pub(super) fn next_hop<'t>(
    tunnel: &Tunnel,
    flow: u32,
    meta: &mut PacketMeta,
    ctx: &Ctx<'t>,
) -> Result<&'t Hop, Verdict> {
    route::next_hop(tunnel.to, flow, ctx).inspect_err(|verdict| {
        // The worker asks for the neighbour with this address.
        if matches!(verdict, Verdict::AwaitNeighbour(_)) {
            meta.destination = tunnel.to;
        }
    })
}

/// The locator of an action, if it leads to one.
fn remote<'t>(packet: &Packet<'_>, action: ActionId, ctx: &Ctx<'t>) -> Option<&'t Remote> {
    let action = ctx.tables.resolve(action, || flow::hash(packet.l3(), ctx.tables.flow_seed));
    action.and_then(Action::remote)
}

/// Writes another locator in place of ours, or of the SIR prefix. The packet does not grow.
fn retranslate(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    remote: &Remote,
    ctx: &Ctx<'_>,
) -> Verdict {
    let verdict = match meta.class {
        Class::Ila(_) => gateway::rewrite(packet, meta, domain, remote, ctx),
        _ => sir::to_locator(packet, meta, remote, ctx),
    };
    if matches!(verdict, Verdict::Forward(_)) {
        meta.moved = Some(Moved::Retranslated);
    }
    verdict
}
