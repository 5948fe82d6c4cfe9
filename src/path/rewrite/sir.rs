//! Rewrites between SIR and ILA addresses (ILA draft §4.2.1, §4.2.2) and sends the packet on.
//!
//! Nothing is written to a packet before everything that could stop it has been checked.

use super::{hop, quote};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, neutral, transport};
use crate::net::checksum::{self, sum_of_half};
use crate::net::ipv6;
use crate::path::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::Verdict;
use crate::table::{Domain, Local, Remote};

/// Writes the locator over the SIR prefix (ILA draft §4.2.1) and sends.
#[inline(always)]
pub(in crate::path) fn to_locator(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    remote: &Remote,
    ctx: &Ctx<'_>,
) -> Verdict {
    let add = checksum::add(remote.add, meta.checksum_delta & remote.identifier_changes());
    let mut low = neutral::add_low(meta.low, add) | (u64::from(remote.mark) << 48);
    if let Err(verdict) = hop::check(packet, meta, &remote.hop) {
        return verdict;
    }
    if meta.unusual || remote.mode == ChecksumMode::AdjTransport {
        low = to_locator_unusual(packet, meta, remote, low, ctx);
    }
    if let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) {
        header.set_destination_halves(remote.locator().0, low);
    }
    hop::out(packet, meta, &remote.hop)
}

/// What depends on the upper layer: the quoted packet of an ICMPv6 error, payloads without a checksum, and mode
/// `adj-transport`. Returns the identifier to send.
#[cold]
fn to_locator_unusual(
    packet: &mut Packet<'_>,
    meta: &PacketMeta,
    remote: &Remote,
    low: u64,
    ctx: &Ctx<'_>,
) -> u64 {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return low };
    quote::translate(packet, &upper, ctx.tables);
    let skips =
        ctx.tables.domains.get(usize::from(remote.domain.0)).is_some_and(|domain| domain.skip_unchecked);
    match remote.mode {
        ChecksumMode::NeutralMap if skips && !transport::covers_addresses(upper.protocol) => meta.low,
        ChecksumMode::AdjTransport => {
            if !upper.source_routed {
                let before = checksum::add(remote.sir_sum, meta.checksum_delta);
                transport::correct(packet.l3_mut(), &upper, before, remote.locator_sum);
            }
            low
        }
        _ => low,
    }
}

/// Sends to a local attachment; with `domain`, the SIR address is restored first.
#[inline(always)]
pub(in crate::path) fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    local: &Local,
    domain: Option<&Domain>,
    ctx: &Ctx<'_>,
) -> Verdict {
    if let Err(verdict) = hop::check(packet, meta, &local.hop) {
        return verdict;
    }
    match domain {
        Some(domain) => restore(packet, meta, domain, ctx),
        None if meta.unusual => deliver_unusual(packet, meta, None, ctx),
        None => {}
    }
    hop::out(packet, meta, &local.hop)
}

/// Undoes what the sender's node did: the destination is what the sender wrote, and the transport checksum with it.
#[inline(always)]
pub(in crate::path) fn restore(packet: &mut Packet<'_>, meta: &PacketMeta, domain: &Domain, ctx: &Ctx<'_>) {
    if meta.unusual || domain.checksum == ChecksumMode::AdjTransport {
        deliver_unusual(packet, meta, Some(domain), ctx);
    }
    let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) else { return };
    match meta.to.and_then(|id| ctx.tables.networks.get(id)?.ipv6.as_ref()) {
        // The tenant must see its own address (§5.8, §5.12.1).
        Some(vnet) if !is_ipv4(meta) => header.set_destination(vnet.address_of(Identifier(meta.low))),
        _ => header.set_destination_halves(domain.sir.0, meta.low),
    }
}

/// Whether the identifier is a tenant's IPv4 address.
pub(in crate::path) fn is_ipv4(meta: &PacketMeta) -> bool {
    Identifier(meta.low).kind() == IdentifierType::TenantIpv4
}

#[cold]
fn deliver_unusual(packet: &mut Packet<'_>, meta: &PacketMeta, domain: Option<&Domain>, ctx: &Ctx<'_>) {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return };
    quote::translate(packet, &upper, ctx.tables);
    let Some(domain) = domain else { return };
    let marked = ipv6::Ipv6::of(packet.l3())
        .is_some_and(|header| crate::ila::Identifier(header.destination_low()).neutral());
    if domain.checksum == ChecksumMode::AdjTransport && !marked && !upper.source_routed {
        let after = checksum::add(sum_of_half(domain.sir.0), meta.checksum_delta);
        transport::correct(packet.l3_mut(), &upper, sum_of_half(meta.high), after);
    }
}
