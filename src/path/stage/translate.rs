//! Translates SIR → ILA and ILA → SIR (ILA draft §4.2.1, ILA draft §4.2.2), and delivers to attachments of this node.
//!
//! Nothing is written to a packet before every check that could stop it has passed.

use crate::path::ctx::Ctx;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::misses::Miss;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::policy::unwanted;
use crate::path::rewrite::{siit, sir};
use crate::path::stage::{gateway, moving};
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, ActionId, DomainId, InFlight, Ingress, OnMiss};

/// Translates every packet whose lookup is done. A packet that is to be routed after all becomes [`Class::Route`].
#[inline]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    pending: &mut PendingWork,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if !packet.verdict.is_undecided() {
            continue;
        }
        let verdict = match meta.class {
            Class::Sir(domain) => {
                let verdict = from_sir(packet, meta, domain, ctx);
                // What is held for who is expected would go to where that is now, if it were known.
                let is_unknown = meta.action == ActionId::default() || matches!(verdict, Verdict::Hold(_));
                if is_unknown && ctx.tables.asks_for_packets || meta.expiring {
                    tell_miss(packet, meta, domain, verdict, policer, ctx);
                }
                verdict
            }
            Class::Ila(domain) => {
                let verdict = from_ila(packet, meta, domain, ctx);
                if verdict == Verdict::Drop(DropReason::Departed) {
                    ask_for_departed(packet, meta, domain, policer, ctx);
                }
                verdict
            }
            Class::None | Class::Group(_) | Class::Route | Class::Local => continue,
        };
        packet.verdict = verdict;
        pending.drops |= matches!(verdict, Verdict::Drop(_));
        pending.routes |= verdict.is_undecided();
    }
}

/// Decides a packet to a SIR address or to a tenant's own address, by the action that its lookup found.
#[inline(always)]
pub(in crate::path) fn from_sir(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    if unwanted(packet, meta, ctx.tables) {
        return Verdict::Drop(DropReason::NoPolicy);
    }
    if let Some(action) = gateway::detour(meta, ctx.tables) {
        meta.action = action;
    }
    match ctx.tables.resolve(meta.action, || flow::hash(packet.l3(), ctx.tables.flow_seed)) {
        Some(Action::Remote(remote)) => {
            meta.expiring = remote.expiring;
            sir::to_locator(packet, meta, remote, ctx)
        }
        Some(Action::Local(local)) if sir::is_ipv4(meta) => siit::deliver(packet, meta, local, domain, ctx),
        Some(Action::Local(local)) => sir::deliver(packet, meta, local, None, ctx),
        Some(Action::Moving(index)) => match ctx.tables.moves.moving(*index) {
            Some(moving) => {
                let verdict = moving::from_sir(packet, meta, domain, moving, ctx);
                verdict.unwrap_or_else(|| {
                    meta.action = ActionId::default();
                    miss(meta, domain, ctx)
                })
            }
            None => Verdict::Drop(DropReason::Departed),
        },
        // Index 0 stands for no mapping. Its action is a filler that discards.
        Some(Action::Blackhole) if meta.action != ActionId::default() => Verdict::Drop(DropReason::Blackhole),
        Some(
            Action::Blackhole
            | Action::Forward(_)
            | Action::Connected(_)
            | Action::NexthopGroup(_)
            | Action::Group(_),
        )
        | None => miss(meta, domain, ctx),
    }
}

/// Notes the miss of a packet that a tenant or task of this node sent, or that it uses a mapping that is about to expire.
/// The packet fares as without.
#[cold]
fn tell_miss(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    domain: DomainId,
    verdict: Verdict,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    let is_miss = match meta.expiring {
        true => matches!(verdict, Verdict::Forward(_)),
        false => {
            let is_held = matches!(verdict, Verdict::Hold(_));
            verdict.is_undecided() || is_held || verdict == Verdict::Drop(DropReason::NoMapping)
        }
    };
    let is_task = || {
        let port = ctx.tables.ports.get(usize::from(packet.port.0));
        port.is_some_and(|port| matches!(port.ingress, Ingress::Tasks))
    };
    if is_miss && !meta.ours && (meta.policed.is_some() || is_task()) {
        let miss = Miss { domain, identifier: meta.identifier };
        policer.miss(miss, packet, meta.policed, ctx);
    }
}

/// Has the authority asked where a VM or task has moved that packets still come for.
#[cold]
fn ask_for_departed(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    domain: DomainId,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    let moving = match ctx.tables.action(meta.action) {
        Some(Action::Moving(index)) => ctx.tables.moves.moving(*index),
        _ => None,
    };
    if moving.is_some_and(|moving| moving.in_flight == InFlight::Follow) {
        policer.miss(Miss { domain, identifier: meta.identifier }, packet, None, ctx);
    }
}

/// Decides a packet without a mapping, as its domain is configured.
#[cold]
fn miss(meta: &mut PacketMeta, domain: DomainId, ctx: &Ctx<'_>) -> Verdict {
    match ctx.tables.domain(domain).map(|domain| domain.on_miss) {
        Some(OnMiss::Route) => {
            meta.class = Class::Route;
            Verdict::Continue
        }
        Some(OnMiss::Drop) | None => Verdict::Drop(DropReason::NoMapping),
    }
}

/// Decides a packet under a locator of ours. Its identifier must be attached here (ILA draft §4.2.2), or this node must
/// be a gateway between the two networks.
#[inline(always)]
pub(in crate::path) fn from_ila(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    match ctx.tables.action(meta.action) {
        Some(Action::Local(_)) if unwanted(packet, meta, ctx.tables) => Verdict::Drop(DropReason::NoPolicy),
        Some(Action::Local(local)) if sir::is_ipv4(meta) => siit::deliver(packet, meta, local, domain, ctx),
        Some(Action::Local(local)) => {
            let Some(domain) = ctx.tables.domain(domain) else {
                return Verdict::Drop(DropReason::NotLocal);
            };
            sir::deliver(packet, meta, local, Some(domain), ctx)
        }
        Some(Action::Moving(index)) => match ctx.tables.moves.moving(*index) {
            Some(moving) => moving::from_ila(packet, meta, domain, moving, ctx),
            None => Verdict::Drop(DropReason::Departed),
        },
        Some(Action::Remote(_) | Action::NexthopGroup(_)) => gateway::send_on(packet, meta, domain, ctx),
        Some(Action::Blackhole | Action::Forward(_) | Action::Connected(_) | Action::Group(_)) | None => {
            Verdict::Drop(DropReason::NotLocal)
        }
    }
}
