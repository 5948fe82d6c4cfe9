//! Fourth stage: SIR → ILA, ILA → SIR and delivery to local attachments.
//!
//! Nothing is written to a packet before everything that could stop it has been checked.

use super::lane::{Class, Lane, Lanes, Todo};
use super::packet::Packet;
use super::policy::unwanted;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, quoted, relay, send, v4};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, neutral, transport};
use crate::net::checksum::{self, sum_of_half};
use crate::net::ipv6;
use crate::table::{Action, ActionId, Domain, DomainId, Local, OnMiss, Remote};

/// Translates every packet whose lookup is done; those that are to be routed after all become [`Class::Route`].
#[inline]
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, todo: &mut Todo, ctx: &Ctx<'_>) {
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict != Verdict::Continue {
            continue;
        }
        let verdict = match lane.class {
            Class::Sir(domain) => from_sir(packet, lane, domain, ctx),
            Class::Ila(domain) => from_ila(packet, lane, domain, ctx),
            Class::None | Class::Group(_) | Class::Route | Class::Own => continue,
        };
        packet.verdict = verdict;
        todo.drops |= matches!(verdict, Verdict::Drop(_));
        todo.routes |= verdict == Verdict::Continue;
    }
}

#[inline(always)]
pub(super) fn from_sir(packet: &mut Packet<'_>, lane: &mut Lane, domain: DomainId, ctx: &Ctx<'_>) -> Verdict {
    if unwanted(packet, lane, ctx.tables) {
        return Verdict::Drop(DropReason::NoPolicy);
    }
    if let Some(way) = relay::detour(lane, ctx.tables) {
        lane.action = way;
    }
    match ctx.tables.resolve(lane.action, || flow::hash(packet.l3())) {
        Some(Action::Remote(remote)) => to_locator(packet, lane, remote, ctx),
        Some(Action::Local(local)) if is_ipv4(lane) => v4::deliver(packet, lane, local, domain, ctx),
        Some(Action::Local(local)) => deliver(packet, lane, local, None, ctx),
        Some(Action::Blackhole) if lane.action != ActionId::default() => Verdict::Drop(DropReason::Blackhole),
        _ => miss(packet, lane, domain, ctx),
    }
}

#[cold]
fn miss(packet: &Packet<'_>, lane: &mut Lane, domain: DomainId, ctx: &Ctx<'_>) -> Verdict {
    match ctx.tables.domains.get(usize::from(domain.0)).map(|domain| domain.on_miss) {
        Some(OnMiss::Route) => {
            lane.class = Class::Route;
            // A tenant was looked up by its identifier, which is not how its address ends.
            lane.low = ipv6::Ipv6::of(packet.l3()).map_or(lane.low, |header| header.destination_low());
            Verdict::Continue
        }
        Some(OnMiss::Drop) | None => Verdict::Drop(DropReason::NoMapping),
    }
}

/// Writes the locator over the SIR prefix (ILA draft §4.2.1) and sends.
#[inline(always)]
pub(super) fn to_locator(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    remote: &Remote,
    ctx: &Ctx<'_>,
) -> Verdict {
    let add = checksum::add(remote.add, lane.extra & remote.identifier_changes());
    let mut low = neutral::add_low(lane.low, add) | (u64::from(remote.mark) << 48);
    if let Err(verdict) = send::check(packet, lane, &remote.hop) {
        return verdict;
    }
    if lane.unusual || remote.mode == ChecksumMode::AdjTransport {
        low = to_locator_unusual(packet, lane, remote, low, ctx);
    }
    if let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) {
        header.set_destination_halves(remote.locator().0, low);
    }
    send::out(packet, lane, &remote.hop)
}

/// What depends on the upper layer: the quoted packet of an ICMPv6 error, payloads without a checksum, and mode
/// `adj-transport`. Returns the identifier to send.
#[cold]
fn to_locator_unusual(packet: &mut Packet<'_>, lane: &Lane, remote: &Remote, low: u64, ctx: &Ctx<'_>) -> u64 {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return low };
    quoted::translate(packet, &upper, ctx.tables);
    let skips =
        ctx.tables.domains.get(usize::from(remote.domain.0)).is_some_and(|domain| domain.skip_unchecked);
    match remote.mode {
        ChecksumMode::NeutralMap if skips && !transport::covers_addresses(upper.protocol) => lane.low,
        ChecksumMode::AdjTransport => {
            if !upper.source_routed {
                let before = checksum::add(remote.sir_sum, lane.extra);
                transport::correct(packet.l3_mut(), &upper, before, remote.locator_sum);
            }
            low
        }
        _ => low,
    }
}

/// The destination is under a locator of ours: its identifier must be attached here (§4.2.2).
#[inline(always)]
pub(super) fn from_ila(packet: &mut Packet<'_>, lane: &mut Lane, domain: DomainId, ctx: &Ctx<'_>) -> Verdict {
    match ctx.tables.action(lane.action) {
        Some(Action::Local(_)) if unwanted(packet, lane, ctx.tables) => Verdict::Drop(DropReason::NoPolicy),
        Some(Action::Local(local)) if is_ipv4(lane) => v4::deliver(packet, lane, local, domain, ctx),
        Some(Action::Local(local)) => {
            let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else {
                return Verdict::Drop(DropReason::NotLocal);
            };
            deliver(packet, lane, local, Some(domain), ctx)
        }
        Some(Action::Remote(_) | Action::Spread(_)) => relay::send_on(packet, lane, domain, ctx),
        _ => Verdict::Drop(DropReason::NotLocal),
    }
}

/// Sends to a local attachment; with `domain`, the SIR address is restored first.
#[inline(always)]
pub(super) fn deliver(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    local: &Local,
    domain: Option<&Domain>,
    ctx: &Ctx<'_>,
) -> Verdict {
    if let Err(verdict) = send::check(packet, lane, &local.hop) {
        return verdict;
    }
    match domain {
        Some(domain) => restore(packet, lane, domain, ctx),
        None if lane.unusual => deliver_unusual(packet, lane, None, ctx),
        None => {}
    }
    send::out(packet, lane, &local.hop)
}

/// Undoes what the sender's node did: the destination is what the sender wrote, and the transport checksum with it.
#[inline(always)]
pub(super) fn restore(packet: &mut Packet<'_>, lane: &Lane, domain: &Domain, ctx: &Ctx<'_>) {
    if lane.unusual || domain.checksum == ChecksumMode::AdjTransport {
        deliver_unusual(packet, lane, Some(domain), ctx);
    }
    let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) else { return };
    match lane.to.and_then(|id| ctx.tables.networks.get(id)?.ipv6.as_ref()) {
        // The tenant must see its own address (§5.8, §5.12.1).
        Some(vnet) if !is_ipv4(lane) => header.set_destination(vnet.address_of(Identifier(lane.low))),
        _ => header.set_destination_halves(domain.sir.0, lane.low),
    }
}

/// Whether the identifier is a tenant's IPv4 address.
fn is_ipv4(lane: &Lane) -> bool {
    Identifier(lane.low).kind() == IdentifierType::TenantIpv4
}

#[cold]
fn deliver_unusual(packet: &mut Packet<'_>, lane: &Lane, domain: Option<&Domain>, ctx: &Ctx<'_>) {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return };
    quoted::translate(packet, &upper, ctx.tables);
    let Some(domain) = domain else { return };
    let marked = ipv6::Ipv6::of(packet.l3())
        .is_some_and(|header| crate::ila::Identifier(header.destination_low()).neutral());
    if domain.checksum == ChecksumMode::AdjTransport && !marked && !upper.source_routed {
        let after = checksum::add(sum_of_half(domain.sir.0), lane.extra);
        transport::correct(packet.l3_mut(), &upper, sum_of_half(lane.high), after);
    }
}
