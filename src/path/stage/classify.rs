//! Classifies destinations by their upper 64 bits and their identifier type, applies the sender's policies, and
//! prefetches the bucket of the mapping table where a lookup is needed.

use super::parse::{Header, Link};
use crate::ila::group as ila_group;
use crate::ila::{Identifier, IdentifierType, neutral};
use crate::net::{icmp6::kind, ipv6, ndp};
use crate::path::admit::group;
use crate::path::admit::source::Sender;
use crate::path::ctx::Ctx;
use crate::path::meta::{Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::policy::may_send;
use crate::path::prefix::{OwnLocator, Prefix};
use crate::path::proxy::membership;
use crate::path::router::Router;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::mapping::{Key, MappingTable};
use crate::table::{Action, DomainId, Endpoint, Network, NetworkId, Port, Role, Tables};

/// The meaning of the /64 that was looked up last. The packets of a burst often share it.
#[derive(Default)]
pub(in crate::path) struct Memo<'t> {
    high: u64,
    prefix: Option<Prefix<'t>>,
}

impl<'t> Memo<'t> {
    #[inline(always)]
    fn prefix(&mut self, high: u64, tables: &'t Tables) -> Option<Prefix<'t>> {
        if self.high != high {
            (self.high, self.prefix) = (high, Prefix::of(high, tables));
        }
        self.prefix
    }
}

/// Classifies the destinations that do not depend on prefixes: groups and link-local addresses. Drops martians, and
/// tenants' packets that are longer than their network's MTU. All others keep [`Class::None`], for [`class_of`].
///
/// # Errors
/// * [`DropReason::MartianSource`] and [`DropReason::MartianDestination`].
/// * [`DropReason::LinkLocal`] for a link-local address in a packet that is not for this node, and for a link-local
///   source of a tenant's packet to a group.
/// * [`DropReason::NotOurMac`] for a unicast packet in a group frame.
/// * [`DropReason::PacketTooBig`] for a tenant's packet longer than its network's MTU. For unicast, `meta.mtu` is that
///   MTU.
/// * [`DropReason::SpoofedSource`] and [`DropReason::GroupUnmappable`] from [`group::enter`].
pub(in crate::path) fn special(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    sender: Option<&Sender<'_>>,
    link: &Link,
    header: &Header,
    port: &Port,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let Header { source, destination, next_header, .. } = *header;
    // A host without an address may send Router Solicitations (RFC 4861 §4.1), Neighbour Solicitations for
    // duplicate address detection (RFC 4861 §4.3) and listener reports (RFC 3810 §5.2.13).
    let may_be_unspecified = next_header == ipv6::next::ICMP6
        || next_header == ipv6::next::HOP_BY_HOP && ipv6::is_multicast(destination);
    let is_martian = ipv6::is_ipv4_in_ipv6(source) && !(source == 0 && may_be_unspecified);
    if ipv6::is_multicast(source) || is_martian {
        return Err(DropReason::MartianSource);
    }
    let exceeds = |sender: &Sender<'_>| packet.l3().len() > usize::from(sender.network.mtu);
    if ipv6::is_multicast(destination) {
        if let Some(sender) = sender
            && membership::is_copied(packet.l3(), destination)
        {
            group::enter(meta, sender, source, destination, ctx)?;
            return if exceeds(sender) { Err(DropReason::PacketTooBig) } else { Ok(()) };
        }
        // Stage `local` serves only groups that this node listens to.
        meta.class = Class::Local;
        return Ok(());
    }
    if ipv6::is_ipv4_in_ipv6(destination) {
        return Err(DropReason::MartianDestination);
    }
    if link.destination.is_multicast() {
        // RFC 1122 §3.3.6, applied to IPv6: discard unicast packets in broadcast or multicast frames.
        return Err(DropReason::NotOurMac);
    }
    if next_header == ipv6::next::ICMP6 && is_solicitation(packet.l3()) && port.role == Role::Access {
        // Neighbour unreachability detection sends solicitations to the neighbour's own address (RFC 4861 §7.3.3). This
        // node answers for other nodes by proxy, so it serves these, too.
        meta.class = Class::Local;
        return Ok(());
    }
    if ipv6::is_link_local(destination) || ipv6::is_link_local(source) || source == 0 {
        if Router::of(port, meta.from, ctx.tables).owns(destination) {
            meta.class = Class::Local;
            return Ok(());
        }
        return Err(DropReason::LinkLocal);
    }
    match sender {
        // A packet that is decided again passed this check in the form in which it was received.
        Some(sender) if !packet.admitted && exceeds(sender) => {
            meta.mtu = sender.network.mtu;
            Err(DropReason::PacketTooBig)
        }
        _ => Ok(()),
    }
}

/// Whether an ICMPv6 packet is a Neighbour Solicitation from this link.
fn is_solicitation(packet: &[u8]) -> bool {
    packet.get(7) == Some(&ndp::HOP_LIMIT) && packet.get(ipv6::HEADER) == Some(&kind::NEIGHBOUR_SOLICITATION)
}

/// Classifies the destination in `meta`, and sets the identifier to look up and the receiver's network there.
///
/// # Errors
/// The reason to drop the packet:
/// * `SirCBit` for a SIR address with the C-bit set
/// * `SirTenant` for the SIR form of a tenant's IPv6 address or of a group
/// * `ReservedIdentifier` for types 5 to 7 under a SIR prefix or a locator of ours
/// * `TenantToFabric` for a tenant's packet to a locator, to an interface identifier under a SIR prefix, to
///   infrastructure, or to an address of this node that is not its gateway's
/// * `NoPolicy` if no policy allows a tenant here to send to the destination
/// * `NoMembers` for a group under a locator of ours whose network is not known here
/// * `Multicast` for a packet of this node to a group
#[inline(always)]
pub(in crate::path) fn class_of<'t>(
    meta: &mut PacketMeta,
    memo: &mut Memo<'t>,
    tables: &'t Tables,
) -> Result<Class, DropReason> {
    let high = (meta.destination >> 64) as u64;
    let identifier = Identifier::of_address(meta.destination);
    match memo.prefix(high, tables) {
        Some(Prefix::Sir(domain, mappings)) if translated(identifier) => {
            if identifier.neutral() {
                return Err(DropReason::SirCBit);
            }
            meta.identifier = identifier;
            if of_tenant(identifier) {
                sir_of_tenant(meta, domain, tables)?;
            } else {
                may_send(meta, Endpoint::Task(domain, identifier), tables)?;
            }
            let _ = mappings.probe(Key::of(identifier.0));
            Ok(Class::Sir(domain))
        }
        Some(Prefix::Locator(locator)) if translated(identifier) => {
            if meta.from.is_some() {
                return Err(DropReason::TenantToFabric);
            }
            let OwnLocator { domain, mappings, mode, .. } = locator;
            if of_tenant(identifier) {
                let checksum_delta = ila_of_tenant(meta, identifier, domain, tables);
                meta.identifier = Identifier(locator.identifier_of_tenant(identifier.0, checksum_delta));
                if is_for_group(meta, mappings, neutral::was_mapped(identifier, mode), tables)? {
                    return Ok(Class::Group(domain));
                }
            } else {
                meta.identifier = Identifier(locator.identifier(identifier.0));
            }
            let _ = mappings.probe(Key::of(meta.identifier.0));
            Ok(Class::Ila(domain))
        }
        Some(prefix) => untranslated(meta, prefix, tables),
        None => routed(meta, tables),
    }
}

/// Types 2 to 7: with types 5 to 7 excluded by [`translated`], the identifiers of tenants and their groups.
#[inline(always)]
const fn of_tenant(identifier: Identifier) -> bool {
    identifier.0 >> 61 > 1
}

/// Types 1 to 4: identifiers that are translated.
#[inline(always)]
const fn translated(identifier: Identifier) -> bool {
    (identifier.0 >> 61).wrapping_sub(1) < 4
}

/// Classifies a destination under a known /64 whose identifier is not translated.
#[cold]
fn untranslated(meta: &mut PacketMeta, prefix: Prefix<'_>, tables: &Tables) -> Result<Class, DropReason> {
    let identifier = Identifier::of_address(meta.destination);
    if matches!(prefix, Prefix::Sir(..) | Prefix::Locator(_))
        && matches!(identifier.kind(), IdentifierType::Reserved(_))
    {
        return Err(DropReason::ReservedIdentifier);
    }
    let address = meta.destination;
    if tables.own.contains(&address) {
        return own(meta, address, tables);
    }
    if meta.from.is_some()
        && tables.prefixes.of((address >> 64) as u64).is_some_and(|prefix_info| prefix_info.remote.is_some())
    {
        return Err(DropReason::TenantToFabric);
    }
    if let Some((id, network)) = network_of(address, tables)
        && let Some(vnet) = network.ipv6
    {
        may_send(meta, Endpoint::Network(id), tables)?;
        (meta.to, meta.checksum_delta) = (Some(id), vnet.checksum_delta);
        meta.identifier = Identifier::tenant_ipv6(network.vnid, address as u32);
        return Ok(Class::Sir(network.domain));
    }
    // Interface identifiers under a SIR prefix or a locator belong to nodes of the fabric.
    if meta.from.is_some() && matches!(prefix, Prefix::Sir(..) | Prefix::Locator(_)) {
        return Err(DropReason::TenantToFabric);
    }
    routed(meta, tables)
}

/// Classifies a destination for plain routing. Tenants never reach infrastructure.
fn routed(meta: &PacketMeta, tables: &Tables) -> Result<Class, DropReason> {
    let address = meta.destination;
    if meta.from.is_some() && tables.infrastructure.contains(address) {
        return Err(DropReason::TenantToFabric);
    }
    may_send(meta, Endpoint::Outside, tables).map(|()| Class::Route)
}

/// The network whose prefix the address has.
fn network_of(address: u128, tables: &Tables) -> Option<(NetworkId, &Network)> {
    let id = tables.networks.of_address(address)?;
    Some((id, tables.networks.get(id)?))
}

/// Classifies an address of this node. A tenant reaches only the gateway of its own network.
fn own(meta: &PacketMeta, address: u128, tables: &Tables) -> Result<Class, DropReason> {
    match meta.from {
        Some(from) if tables.networks.of_address(address) != Some(from) => Err(DropReason::TenantToFabric),
        _ => Ok(Class::Local),
    }
}

/// Sets the receiver's network of a SIR address of type 2 to 4. Only IPv4 tenants are reached at their SIR addresses
/// (ILA draft §5.11). IPv6 tenants and groups are reached at their own addresses.
#[cold]
fn sir_of_tenant(meta: &mut PacketMeta, domain: DomainId, tables: &Tables) -> Result<(), DropReason> {
    let identifier = meta.identifier;
    if ila_group::is_group(identifier) {
        return Err(DropReason::SirTenant);
    }
    let Some(network) = tables.networks.of_identifier(domain, identifier) else {
        return if meta.from.is_some() { Err(DropReason::NoPolicy) } else { Ok(()) };
    };
    if identifier.kind() == IdentifierType::TenantIpv6 {
        return Err(DropReason::SirTenant);
    }
    meta.to = Some(network);
    may_send(meta, Endpoint::Network(network), tables)
}

/// Sets the receiver's network and the checksum delta of a tenant's identifier under a locator of ours. Returns the
/// checksum delta: what neutral mapping added beyond the locator's adjustment.
#[cold]
fn ila_of_tenant(meta: &mut PacketMeta, identifier: Identifier, domain: DomainId, tables: &Tables) -> u16 {
    meta.to = tables.networks.of_identifier(domain, identifier);
    meta.checksum_delta =
        tables.vnet_of(domain, identifier).map_or(0, |vnet| vnet.checksum_delta_of(identifier));
    meta.checksum_delta
}

/// Whether a tenant's identifier under a locator of ours is that of a group. If so, sets the group's identifier in
/// `meta`.
///
/// # Errors
/// * `NoMembers` for a group of a network that is not known here: no tenant here can be a member.
/// * `Multicast` for a packet of this node to a group: this node sends no answer to a group.
#[cold]
fn is_for_group(
    meta: &mut PacketMeta,
    mappings: &MappingTable,
    mapped: bool,
    tables: &Tables,
) -> Result<bool, DropReason> {
    let identifier = meta.identifier;
    let network = meta.to.and_then(|id| tables.networks.get(id));
    let Some(group) = network.and_then(|network| network.group_of(identifier, mapped)) else {
        return if ila_group::is_group(identifier) { Err(DropReason::NoMembers) } else { Ok(false) };
    };
    // A broadcast address and a tenant's address may be zero aliases, the same on the wire. The tenant wins if it is
    // attached here.
    let is_here = |identifier: &Identifier| {
        let action = mappings.lookup(identifier.0).and_then(|id| tables.action(id));
        action.and_then(Action::local).is_some()
    };
    let mut either = [Some(identifier), identifier.zero_alias().filter(|_| mapped)].into_iter().flatten();
    if !ila_group::is_group(identifier)
        && let Some(tenant) = either.find(is_here)
    {
        meta.identifier = tenant;
        return Ok(false);
    }
    if meta.ours {
        return Err(DropReason::Multicast);
    }
    (meta.identifier, meta.unusual) = (group, true);
    Ok(true)
}

/// Writes the class to `meta`, or the drop reason to the packet, and adds to the pending work.
#[inline(always)]
pub(in crate::path) fn note(
    outcome: Result<Class, DropReason>,
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    pending: &mut PendingWork,
) {
    match outcome {
        Ok(class) => {
            meta.class = class;
            pending.lookups |= matches!(class, Class::Sir(_) | Class::Ila(_));
            pending.groups |= matches!(class, Class::Group(_));
            pending.routes |= class == Class::Route;
            pending.local |= class == Class::Local;
        }
        Err(reason) => {
            packet.verdict = Verdict::Drop(reason);
            pending.drops = true;
        }
    }
}
