//! Admission of tenants' packets to groups and broadcast addresses of their network (ILA draft §3.7.2).

use super::source::Sender;
use crate::ila::Identifier;
use crate::ila::group::{ipv4_leaves_link, ipv6_identifier, yields_to_zero_alias};
use crate::net::ipv6;
use crate::path::ctx::Ctx;
use crate::path::meta::{Class, PacketMeta};
use crate::path::verdict::DropReason;
use crate::table::Network;

/// Admits a tenant's packet to an IPv6 group, and sets the group's identifier and checksum delta in `meta`.
///
/// # Errors
/// * [`DropReason::LinkLocal`] for a link-local source: the packet would leave the link.
/// * [`DropReason::SpoofedSource`] for a source that is not the tenant's.
/// * [`DropReason::GroupUnmappable`] for a group that has no identifier or yields to its zero alias, and for a network
///   without IPv6.
pub(in crate::path) fn enter(
    meta: &mut PacketMeta,
    from: &Sender<'_>,
    source: u128,
    destination: u128,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    if ipv6::is_link_local(source) {
        return Err(DropReason::LinkLocal);
    }
    if !from.tenant.ipv6.contains(&source) {
        return Err(DropReason::SpoofedSource);
    }
    let identifier = ipv6_identifier(from.network.vnid, destination).ok_or(DropReason::GroupUnmappable)?;
    let vnet = from.network.ipv6.as_ref().ok_or(DropReason::GroupUnmappable)?;
    meta.checksum_delta = vnet.checksum_delta_of(identifier);
    begin(meta, from, identifier, ctx)
}

/// The identifier of the group or broadcast address that a tenant's IPv4 packet goes to; `None` for unicast.
///
/// # Errors
/// [`DropReason::Multicast`] for a group of link-local scope and for a reserved address.
pub(in crate::path) fn ipv4_group(
    destination: u32,
    network: &Network,
) -> Result<Option<Identifier>, DropReason> {
    if network.is_broadcast(destination) || ipv4_leaves_link(destination) {
        return Ok(Some(network.ipv4_identifier(destination)));
    }
    if destination >> 28 >= 0xe { Err(DropReason::Multicast) } else { Ok(None) }
}

/// Notes in `meta` that the packet, which is IPv6 by now, goes to a group of its sender's network.
///
/// # Errors
/// [`DropReason::GroupUnmappable`] if neutral mapping cannot tell the group from its zero alias, which is another
/// group.
pub(in crate::path) fn begin(
    meta: &mut PacketMeta,
    from: &Sender<'_>,
    identifier: Identifier,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let domain = ctx.tables.domain(from.network.domain);
    let zero_aliases = domain.is_none_or(|domain| domain.checksum.changes_identifier());
    if zero_aliases && yields_to_zero_alias(identifier) && !from.network.is_broadcast(identifier.0 as u32) {
        return Err(DropReason::GroupUnmappable);
    }
    (meta.identifier, meta.to, meta.unusual) = (identifier, Some(from.id), true);
    meta.class = Class::Group(from.network.domain);
    Ok(())
}
