//! Rewrites between SIR and ILA addresses (ILA draft §4.2.1, ILA draft §4.2.2), and sends the packet.
//!
//! Nothing is written to a packet before every check that could stop it has passed.

use super::{hop, quote};
use crate::ila::{ChecksumMode, IdentifierType, SirPrefix, neutral, transport};
use crate::net::checksum::{self, sum_of_half};
use crate::net::ipv6;
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::Verdict;
use crate::table::{Domain, Local, Remote};

/// The identifier on the wire: `add` is added to the low word in one's complement, and the C-bit is set if the mode
/// says so.
#[inline(always)]
fn ila_identifier(identifier: u64, add: u16, remote: &Remote) -> u64 {
    neutral::add_low(identifier, add) | u64::from(remote.mark) << 48
}

/// The ILA address of an identifier under the locator of `remote`. `add` is what neutral mapping adds to the low word.
#[inline(always)]
pub(in crate::path) fn ila_address(identifier: u64, add: u16, remote: &Remote) -> [u8; 16] {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&remote.locator_bytes);
    address[8..].copy_from_slice(&ila_identifier(identifier, add, remote).to_be_bytes());
    address
}

/// Turns the SIR address in `destination` into the ILA address that [`ila_address`] gives for its identifier.
///
/// It changes the bytes in place, and does not wait for the identifier to be read. One's complement sums are the same
/// in either byte order (RFC 1071 §2 (B)).
#[inline(always)]
pub(in crate::path) fn write_locator_in_place(destination: &mut [u8; 16], remote: &Remote) {
    destination[..8].copy_from_slice(&remote.locator_bytes);
    let low = u16::from_ne_bytes([destination[14], destination[15]]);
    let low = checksum::add(low, u16::from_ne_bytes(remote.add_bytes));
    destination[14..].copy_from_slice(&low.to_ne_bytes());
    destination[8] |= (remote.mark >> 8) as u8;
}

/// The SIR address of an identifier.
#[inline(always)]
pub(in crate::path) fn sir_address(prefix: SirPrefix, identifier: u64) -> [u8; 16] {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&prefix.0.to_be_bytes());
    address[8..].copy_from_slice(&identifier.to_be_bytes());
    address
}

/// Writes the locator over the SIR prefix (ILA draft §4.2.1) and sends the packet.
#[inline(always)]
pub(in crate::path) fn to_locator(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    remote: &Remote,
    ctx: &Ctx<'_>,
) -> Verdict {
    let add = checksum::add(remote.add, meta.checksum_delta & remote.identifier_changes());
    let mut low = ila_identifier(meta.identifier.0, add, remote);
    if let Err(verdict) = hop::check_path(packet, meta, &remote.hop, ctx.tables.translation.lowest_ipv6_mtu) {
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

/// Handles what depends on the upper layer: the quoted packet of an ICMPv6 error, payloads without a checksum over the
/// addresses, and mode `adj-transport`. Returns the identifier to send.
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
    let skips = ctx.tables.domain(remote.domain).is_some_and(|domain| domain.skip_unchecked);
    match remote.mode {
        ChecksumMode::NeutralMap if skips && !transport::covers_addresses(upper.protocol) => {
            meta.identifier.0
        }
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

/// Sends to an attachment here. With `domain`, the packet came under a locator, and its SIR address is restored first.
#[inline(always)]
pub(in crate::path) fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    local: &Local,
    domain: Option<&Domain>,
    ctx: &Ctx<'_>,
) -> Verdict {
    if let Err(verdict) = hop::check_last(packet, meta, &local.hop) {
        return verdict;
    }
    match domain {
        Some(domain) => restore(packet, meta, domain, ctx),
        None if meta.unusual => deliver_unusual(packet, meta, None, ctx),
        None => {}
    }
    hop::out(packet, meta, &local.hop)
}

/// Undoes the translation of the sender's node: restores the destination that the sender wrote, and the transport
/// checksum in mode `adj-transport`.
#[inline(always)]
pub(in crate::path) fn restore(packet: &mut Packet<'_>, meta: &PacketMeta, domain: &Domain, ctx: &Ctx<'_>) {
    if meta.unusual || domain.checksum == ChecksumMode::AdjTransport {
        deliver_unusual(packet, meta, Some(domain), ctx);
    }
    let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) else { return };
    match meta.to.and_then(|id| ctx.tables.networks.get(id)?.ipv6.as_ref()) {
        // The tenant must see its own address (ILA draft §5.8, ILA draft §5.12.1).
        Some(vnet) if !is_ipv4(meta) => header.set_destination(vnet.address_of(meta.identifier)),
        _ => header.set_destination_halves(domain.sir.0, meta.identifier.0),
    }
}

/// Whether the identifier to look up is a tenant's IPv4 address.
pub(in crate::path) fn is_ipv4(meta: &PacketMeta) -> bool {
    meta.identifier.kind() == IdentifierType::TenantIpv4
}

/// Translates the quoted packet of an ICMPv6 error back. With `domain`, also corrects the transport checksum in mode
/// `adj-transport`.
#[cold]
fn deliver_unusual(packet: &mut Packet<'_>, meta: &PacketMeta, domain: Option<&Domain>, ctx: &Ctx<'_>) {
    let Ok(upper) = ipv6::upper(packet.l3()) else { return };
    quote::translate(packet, &upper, ctx.tables);
    let Some(domain) = domain else { return };
    let marked = ipv6::Ipv6::of(packet.l3())
        .is_some_and(|header| crate::ila::Identifier(header.destination_low()).neutral());
    if domain.checksum == ChecksumMode::AdjTransport && !marked && !upper.source_routed {
        let after = checksum::add(sum_of_half(domain.sir.0), meta.checksum_delta);
        transport::correct(packet.l3_mut(), &upper, sum_of_half((meta.destination >> 64) as u64), after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::Locator;
    use crate::ila::identifier::C_BIT;
    use crate::net::Mac;
    use crate::table::{DomainId, Hop, HopId, PortId};
    use proptest::prelude::*;

    proptest! {
        // RFC 1071 §2 (B): sums are the same in either byte order.
        #[test]
        fn a_locator_written_in_place_is_the_one_written_from_the_identifier(
            prefix: u64, locator: u64, identifier: u64, mode in 0..4usize,
        ) {
            let mode = [
                ChecksumMode::NeutralMap,
                ChecksumMode::NeutralMapAuto,
                ChecksumMode::NoAction,
                ChecksumMode::AdjTransport,
            ][mode];
            let identifier = identifier & !C_BIT;
            let hop = Hop::ready(PortId(0), Mac::ZERO, Mac::ZERO, 0, 1500, HopId(0));
            let remote = Remote::new(DomainId(0), SirPrefix(prefix), mode, Locator(locator), hop);
            let mut destination = sir_address(SirPrefix(prefix), identifier);
            write_locator_in_place(&mut destination, &remote);
            prop_assert_eq!(destination, ila_address(identifier, remote.add, &remote));
        }
    }
}
