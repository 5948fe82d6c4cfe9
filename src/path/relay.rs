//! The gateway between virtual networks (VMM draft §4.1). Where a policy names one, the sender's node writes its locator
//! in place of the destination's, and it sends on from there: as often as not through the port that a packet came in at.
//!
//! A pair of networks has one gateway and a gateway never sends to a locator of its own, so that what was sent on is not
//! sent on again. Of nodes whose files contradict each other this does not hold, and no word of a packet tells who sent
//! it on before: then the hop limit, which every turn lowers, ends it, and no error about it is ever sent on.

use super::lane::Lane;
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, send, translate};
use crate::net::ipv6::Ipv6;
use crate::table::{Action, ActionId, DomainId, NetworkId, Party, Tables};

/// The way to the gateway that the packet of a tenant here goes through, wherever its destination is.
#[inline(always)]
pub(super) fn detour(lane: &Lane, tables: &Tables) -> Option<ActionId> {
    match (lane.from, lane.to) {
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
pub(super) fn send_on(packet: &mut Packet<'_>, lane: &mut Lane, domain: DomainId, ctx: &Ctx<'_>) -> Verdict {
    if !is_told_to(packet, lane, ctx.tables) {
        return Verdict::Drop(DropReason::NotLocal);
    }
    let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    match ctx.tables.resolve(lane.action, || flow::hash(packet.l3())) {
        Some(Action::Remote(remote)) => {
            if let Err(verdict) = send::check(packet, lane, &remote.hop) {
                return verdict;
            }
            translate::restore(packet, lane, domain, ctx);
            translate::to_locator(packet, lane, remote, ctx)
        }
        _ => Verdict::Drop(DropReason::NotLocal),
    }
}

/// Whether a policy makes this node the gateway from the sender's network to the receiver's.
fn is_told_to(packet: &Packet<'_>, lane: &Lane, tables: &Tables) -> bool {
    let Some(header) = Ipv6::of(packet.l3()) else { return false };
    let (Some(Party::Network(from)), Some(to)) = (tables.party(header.source()), lane.to) else {
        return false;
    };
    // It came under a locator of ours.
    tables.networks.gateway(from, to).is_some_and(|gateway| gateway.locator.0 == lane.high)
}
