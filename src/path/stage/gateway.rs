//! The gateway between virtual networks (VMM draft §4.1). Where a policy names one, the sender's node writes its locator
//! in place of the destination's, and it sends on from there: as often as not through the port that a packet came in at.
//!
//! A pair of networks has one gateway and a gateway never sends to a locator of its own, so that what was sent on is not
//! sent on again. Of nodes whose files contradict each other this does not hold, and no word of a packet tells who sent
//! it on before: then the hop limit, which every turn lowers, ends it, and no error about it is ever sent on.

use crate::net::ipv6::Ipv6;
use crate::path::Ctx;
use crate::path::flow;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::rewrite::hop;
use crate::path::rewrite::sir;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, ActionId, DomainId, Endpoint, NetworkId, Tables};

/// The way to the gateway that the packet of a tenant here goes through, wherever its destination is.
#[inline(always)]
pub(in crate::path) fn detour(meta: &PacketMeta, tables: &Tables) -> Option<ActionId> {
    match (meta.from, meta.to) {
        (Some(from), Some(to)) if from != to => to_gateway(from, to, tables),
        _ => None,
    }
}

#[inline(never)]
fn to_gateway(from: NetworkId, to: NetworkId, tables: &Tables) -> Option<ActionId> {
    tables.networks.gateway(from, to).filter(|gateway| !gateway.ours).map(|gateway| gateway.action)
}

/// Sends a packet on that came under a locator of ours and is for a tenant elsewhere.
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
    let Some(domain) = ctx.tables.domain(domain) else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    let action = ctx.tables.resolve(meta.action, || flow::hash(packet.l3()));
    let Some(remote) = action.and_then(Action::remote) else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    if let Err(verdict) = hop::check(packet, meta, &remote.hop) {
        return verdict;
    }
    sir::restore(packet, meta, domain, ctx);
    sir::to_locator(packet, meta, remote, ctx)
}

/// Whether a policy makes this node the gateway from the sender's network to the receiver's.
fn is_told_to(packet: &Packet<'_>, meta: &PacketMeta, tables: &Tables) -> bool {
    let Some(header) = Ipv6::of(packet.l3()) else { return false };
    let (Some(Endpoint::Network(from)), Some(to)) = (tables.endpoint(header.source()), meta.to) else {
        return false;
    };
    // It came under a locator of ours.
    tables
        .networks
        .gateway(from, to)
        .is_some_and(|gateway| gateway.locator.0 == (meta.destination >> 64) as u64)
}
