//! Applies policies to packets from and to tenants: who may send to whom, each direction on its own (ILA draft §5.13).
//!
//! Every node that handles the packet applies them: the sender's node, a gateway on the way, the receiver's node.

use super::meta::PacketMeta;
use super::packet::Packet;
use super::verdict::DropReason;
use crate::ila::{Identifier, IdentifierType, quote};
use crate::net::icmp6;
use crate::net::ipv6::{self, Ipv6};
use crate::table::{Endpoint, Network, NetworkId, Tables};

/// Checks that the sender may send to `to`. Senders that are not tenants attached here always may.
///
/// # Errors
/// [`DropReason::NoPolicy`] if no policy of the sender's network allows it.
#[inline(always)]
pub(super) fn may_send(meta: &PacketMeta, to: Endpoint, tables: &Tables) -> Result<(), DropReason> {
    match meta.from {
        Some(from) if !tables.networks.may_send(from, to) => Err(DropReason::NoPolicy),
        _ => Ok(()),
    }
}

/// Whether the packet goes to a tenant that must not receive from its sender. Packets of tenants attached here were
/// checked by [`may_send`], and packets of this node are always received.
#[inline(always)]
pub(super) fn unwanted(packet: &Packet<'_>, meta: &PacketMeta, tables: &Tables) -> bool {
    meta.to.is_some_and(|to| meta.from.is_none() && !meta.ours && !heard(packet, meta, to, tables))
}

/// Whether anybody can be answered at `source`: not this node, and not an address that nobody sends from.
pub(super) fn is_answerable(source: u128, tables: &Tables) -> bool {
    !tables.own.contains(&source) && tables.endpoint(source).is_some()
}

/// Whether this node answers an echo request that no tenant attached here sent. It answers a tenant of another node only
/// where policies allow both directions, so that nobody makes it send into an isolated network, and only at its IPv6
/// address: what has no IPv4 address in the network reaches no IPv4 tenant, and has no request of one.
pub(super) fn may_echo(source: u128, destination: u128, tables: &Tables) -> bool {
    is_answerable(source, tables)
        && match (tables.endpoint(source), tables.endpoint(destination)) {
            (Some(Endpoint::Network(to)), Some(own)) => {
                tables.networks.of_address(source) == Some(to)
                    && tables.networks.may_send(to, own)
                    && tables.networks.may_hear(to, own)
            }
            (Some(Endpoint::Task(..) | Endpoint::Outside), _) => true,
            (Some(Endpoint::Network(_)) | None, _) => false,
        }
}

/// Whether `from` may have sent a packet to `to`, so that an ICMPv6 error may tell it so. `ila` is the form in which the
/// fabric carried it.
pub(super) fn may_have_sent(from: u128, to: u128, ila: u128, tables: &Tables) -> bool {
    let owner = if ipv6::is_multicast(to) { tables.network_of_ila(ila) } else { tables.endpoint(to) };
    match (tables.endpoint(from), owner) {
        (Some(Endpoint::Network(from)), Some(to)) => tables.networks.may_send(from, to),
        (Some(from), Some(Endpoint::Network(to))) => tables.networks.may_hear(to, from),
        (Some(_), Some(_)) => true,
        _ => false,
    }
}

/// Whether tenants of `to` may receive the packet from its source.
#[inline(never)]
fn heard(packet: &Packet<'_>, meta: &PacketMeta, to: NetworkId, tables: &Tables) -> bool {
    let (Some(header), Some(network)) = (Ipv6::of(packet.l3()), tables.networks.get(to)) else {
        return false;
    };
    match tables.endpoint(header.source()) {
        None => false,
        Some(from) if tables.networks.may_hear(to, from) => true,
        // Without this, path MTU discovery and traceroute would fail for a tenant that may send outside but not
        // receive.
        Some(from) => from == Endpoint::Outside && answers(packet, meta, to, network, tables),
    }
}

/// Whether the packet is an ICMPv6 error about a packet that its receiver may have sent. Such errors come from routers
/// of the fabric or outside, which no policy names.
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
        .filter(|upper| l3.get(upper.offset).is_some_and(|kind| icmp6::is_assigned_error(*kind)))
        .and_then(|upper| quote::position(l3, &upper))
        .and_then(|at| Ipv6::of(l3.get(at..)?))
        .map(|header| (header.source(), header.destination()));
    let Some((source, destination)) = quoted else { return false };
    // The fabric quotes the destination under its locator.
    let destination = tables.sir_of(destination).map_or(destination, |(address, _)| address);
    // A group always belongs to the sender's own network.
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
