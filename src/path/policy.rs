//! What policies say about a packet of or to a tenant: who may send to whom, each direction for itself.
//!
//! Every node that meets the packet asks: that of the sender, a gateway on the way, that of the receiver.

use super::meta::PacketMeta;
use super::packet::Packet;
use super::verdict::DropReason;
use crate::ila::{Identifier, IdentifierType, quote};
use crate::net::ipv6::{self, Ipv6};
use crate::table::{Endpoint, Network, NetworkId, Tables};

/// Whether the sender, if it is a tenant, may send to this party.
///
/// # Errors
/// It may not.
#[inline(always)]
pub(super) fn may_send(meta: &PacketMeta, to: Endpoint, tables: &Tables) -> Result<(), DropReason> {
    match meta.from {
        Some(from) if !tables.networks.may_send(from, to) => Err(DropReason::NoPolicy),
        _ => Ok(()),
    }
}

/// Whether the packet is for a tenant that must not hear its sender. What tenants of this node send was judged before,
/// and what this node says itself is always heard.
#[inline(always)]
pub(super) fn unwanted(packet: &Packet<'_>, meta: &PacketMeta, tables: &Tables) -> bool {
    meta.to.is_some_and(|to| meta.from.is_none() && !meta.ours && !heard(packet, meta, to, tables))
}

#[inline(never)]
fn heard(packet: &Packet<'_>, meta: &PacketMeta, to: NetworkId, tables: &Tables) -> bool {
    let (Some(header), Some(network)) = (Ipv6::of(packet.l3()), tables.networks.get(to)) else {
        return false;
    };
    match tables.endpoint(header.source()) {
        None => false,
        Some(from) if tables.networks.may_hear(to, from) => true,
        // Without this, neither path MTU discovery nor traceroute would work for a tenant that may only send.
        Some(from) => from == Endpoint::Outside && answers(packet, meta, to, network, tables),
    }
}

/// Whether the packet is an ICMPv6 error about a packet that its receiver may have sent: routers on the way, of the
/// fabric or outside, are no party to any policy.
fn answers(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    to: NetworkId,
    network: &Network,
    tables: &Tables,
) -> bool {
    let l3 = packet.l3();
    let quoted = ipv6::upper(l3)
        .ok()
        .and_then(|upper| quote::position(l3, &upper))
        .and_then(|at| Ipv6::of(l3.get(at..)?))
        .map(|header| (header.source(), header.destination()));
    let Some((source, destination)) = quoted else { return false };
    // Within the fabric it had its locator already.
    let destination = tables.sir_of(destination).map_or(destination, |(address, _)| address);
    // Groups are of the sender's own network.
    let may_send = ipv6::is_multicast(destination)
        || tables.endpoint(destination).is_some_and(|endpoint| tables.networks.may_send(to, endpoint));
    may_send && address_of(meta.identifier, network, tables) == Some(source)
}

/// The address from which the tenant with this identifier sends.
fn address_of(identifier: Identifier, network: &Network, tables: &Tables) -> Option<u128> {
    match identifier.kind() {
        IdentifierType::TenantIpv4 => Some(tables.domain(network.domain)?.sir.with(identifier)),
        IdentifierType::TenantIpv6 => Some(network.ipv6?.prefix | u128::from(identifier.0 as u32)),
        _ => None,
    }
}
