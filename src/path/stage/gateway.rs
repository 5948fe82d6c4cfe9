//! The gateway between virtual networks (VMM draft §4.1).
//!
//! A policy can name a gateway between two networks. Then the sender's node writes the gateway's locator in place of
//! the receiver's, and the gateway forwards the packet to the receiver's locator. The packet often leaves through the
//! port that received it.
//!
//! A pair of networks has one gateway, and a gateway never forwards to a locator of its own, so a packet is forwarded
//! once only. Nodes whose configurations contradict each other can form a loop: a packet does not say which gateway
//! forwarded it. The hop limit ends such a loop, and no error about the packet is ever forwarded by a gateway.

use crate::net::ipv6::Ipv6;
use crate::path::ctx::Ctx;
use crate::path::flow;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::rewrite::hop;
use crate::path::rewrite::sir;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, ActionId, DomainId, Endpoint, NetworkId, Remote, Tables};

/// The action that leads to the gateway for a packet of a tenant attached here. `None` without a gateway, and if this
/// node is the gateway.
#[inline(always)]
pub(in crate::path) fn detour(meta: &PacketMeta, tables: &Tables) -> Option<ActionId> {
    match (meta.from, meta.to) {
        (Some(from), Some(to)) if from != to => to_gateway(from, to, tables),
        _ => None,
    }
}

/// The action that leads to the gateway from one network to another, unless this node is that gateway.
#[inline(never)]
fn to_gateway(from: NetworkId, to: NetworkId, tables: &Tables) -> Option<ActionId> {
    tables.networks.gateway(from, to).filter(|gateway| !gateway.ours).map(|gateway| gateway.action)
}

/// Forwards a packet that came under a locator of ours to a tenant of another node.
///
/// It drops the packet as `NotLocal` unless a policy makes this node the gateway. [`hop::check`] may stop the packet,
/// too.
#[cold]
pub(in crate::path) fn send_on(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    if !is_told_to(packet, meta, ctx.tables) {
        return Verdict::Drop(DropReason::NotLocal);
    }
    let action = ctx.tables.resolve(meta.action, || flow::hash(packet.l3(), ctx.tables.flow_seed));
    let Some(remote) = action.and_then(Action::remote) else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    rewrite(packet, meta, domain, remote, ctx)
}

/// Writes the locator of `remote` over the locator of ours that the packet came under, and sends it.
#[cold]
pub(super) fn rewrite(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    domain: DomainId,
    remote: &Remote,
    ctx: &Ctx<'_>,
) -> Verdict {
    let Some(domain) = ctx.tables.domain(domain) else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    if let Err(verdict) = hop::check(packet, meta, &remote.hop) {
        return verdict;
    }
    sir::restore(packet, meta, domain, ctx);
    sir::to_locator(packet, meta, remote, ctx)
}

/// Whether a policy makes this node the gateway from the sender's network to the receiver's, at the locator that the
/// packet came under.
fn is_told_to(packet: &Packet<'_>, meta: &PacketMeta, tables: &Tables) -> bool {
    let Some(header) = Ipv6::of(packet.l3()) else { return false };
    let (Some(Endpoint::Network(from)), Some(to)) = (tables.endpoint(header.source()), meta.to) else {
        return false;
    };
    // The packet must have come under the locator that the policy names.
    tables
        .networks
        .gateway(from, to)
        .is_some_and(|gateway| gateway.locator.0 == (meta.destination >> 64) as u64)
}
