//! What a destination is, by its upper 64 bits and its identifier type; starts the lookup where one is needed.

use crate::ila::group;
use crate::ila::{Adjustment, ChecksumMode, Identifier, IdentifierType, neutral};
use crate::path::meta::{Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::policy::may_send;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::mapping::{Key, MappingTable};
use crate::table::prefixes::PrefixInfo;
use crate::table::{Action, Domain, DomainId, Endpoint, Network, NetworkId, Tables};

/// The last realm that was looked up: packets of a burst often share it.
#[derive(Default)]
pub(in crate::path) struct Memo<'t> {
    high: u64,
    meaning: Option<Meaning<'t>>,
}

#[derive(Clone, Copy)]
enum Meaning<'t> {
    Sir(DomainId, &'t MappingTable),
    Ila(DomainId, &'t MappingTable, ChecksumMode, Adjustment),
    /// Tenants' own addresses lie under it.
    Tenants,
    Subnet,
}

impl<'t> Memo<'t> {
    #[inline(always)]
    fn meaning(&mut self, high: u64, tables: &'t Tables) -> Option<Meaning<'t>> {
        if self.high != high {
            self.high = high;
            self.meaning = tables.prefixes.of(high).map(|prefix_info| Self::of(prefix_info, tables));
        }
        self.meaning
    }

    fn of(prefix_info: &PrefixInfo, tables: &'t Tables) -> Meaning<'t> {
        let domain = |id: DomainId| -> Option<&'t Domain> { tables.domains.get(usize::from(id.0)) };
        if let Some((id, domain)) = prefix_info.sir.and_then(|id| Some((id, domain(id)?))) {
            Meaning::Sir(id, &domain.mappings)
        } else if let Some((id, adjustment, domain)) =
            prefix_info.local.and_then(|(id, a)| Some((id, a, domain(id)?)))
        {
            Meaning::Ila(id, &domain.mappings, domain.checksum, adjustment)
        } else if prefix_info.tenants {
            Meaning::Tenants
        } else {
            Meaning::Subnet
        }
    }
}

/// Classifies the destination in `meta`.
///
/// # Errors
/// The reason to drop the packet.
#[inline(always)]
pub(in crate::path) fn class_of<'t>(
    meta: &mut PacketMeta,
    memo: &mut Memo<'t>,
    tables: &'t Tables,
) -> Result<Class, DropReason> {
    let identifier = Identifier(meta.low);
    match memo.meaning(meta.high, tables) {
        Some(Meaning::Sir(domain, mappings)) if translated(identifier) => {
            if identifier.neutral() {
                return Err(DropReason::SirCBit);
            }
            if (meta.low >> 61) > 1 {
                sir_of_tenant(meta, domain, tables)?;
            } else {
                may_send(meta, Endpoint::Task(domain, identifier), tables)?;
            }
            let _ = mappings.probe(Key::of(meta.low));
            Ok(Class::Sir(domain))
        }
        Some(Meaning::Ila(domain, mappings, mode, adjustment)) if translated(identifier) => {
            if meta.from.is_some() {
                return Err(DropReason::TenantToFabric);
            }
            let of_tenant = (meta.low >> 61) > 1;
            let adjustment =
                if of_tenant { adjustment.with(ila_of_tenant(meta, domain, tables)) } else { adjustment };
            meta.low = neutral::back(identifier, adjustment, mode).0;
            if of_tenant && is_for_group(meta, mappings, neutral::was_mapped(identifier, mode), tables)? {
                return Ok(Class::Group(domain));
            }
            let _ = mappings.probe(Key::of(meta.low));
            Ok(Class::Ila(domain))
        }
        Some(meaning) => untranslated(meta, meaning, tables),
        None => routed(meta, tables),
    }
}

/// Types 1 to 4.
#[inline(always)]
const fn translated(identifier: Identifier) -> bool {
    (identifier.0 >> 61).wrapping_sub(1) < 4
}

#[cold]
fn untranslated(meta: &mut PacketMeta, meaning: Meaning<'_>, tables: &Tables) -> Result<Class, DropReason> {
    let identifier = Identifier(meta.low);
    if !matches!(meaning, Meaning::Subnet | Meaning::Tenants)
        && matches!(identifier.kind(), IdentifierType::Reserved(_))
    {
        return Err(DropReason::ReservedIdentifier);
    }
    let address = (u128::from(meta.high) << 64) | u128::from(meta.low);
    if tables.own.contains(&address) {
        return own(meta, address, tables);
    }
    if meta.from.is_some()
        && tables.prefixes.of(meta.high).is_some_and(|prefix_info| prefix_info.remote.is_some())
    {
        return Err(DropReason::TenantToFabric);
    }
    if let Some((id, network)) = network_of(address, tables)
        && let Some(vnet) = network.ipv6
    {
        may_send(meta, Endpoint::Network(id), tables)?;
        (meta.to, meta.checksum_delta) = (Some(id), vnet.checksum_delta);
        meta.low = Identifier::tenant_ipv6(network.vnid, meta.low as u32).0;
        return Ok(Class::Sir(network.domain));
    }
    // An interface identifier under a SIR prefix or a locator is no task, but a node.
    if meta.from.is_some() && matches!(meaning, Meaning::Sir(..) | Meaning::Ila(..)) {
        return Err(DropReason::TenantToFabric);
    }
    routed(meta, tables)
}

/// What a tenant sends is routed unless it goes to what carries its packets.
fn routed(meta: &PacketMeta, tables: &Tables) -> Result<Class, DropReason> {
    let address = (u128::from(meta.high) << 64) | u128::from(meta.low);
    if meta.from.is_some() && tables.infrastructure.lookup(address).is_some() {
        return Err(DropReason::TenantToFabric);
    }
    may_send(meta, Endpoint::Outside, tables).map(|()| Class::Route)
}

fn network_of(address: u128, tables: &Tables) -> Option<(NetworkId, &Network)> {
    let id = tables.networks.of_address(address)?;
    Some((id, tables.networks.get(id)?))
}

/// A tenant may speak to its own gateway, and to nothing else that is ours.
fn own(meta: &PacketMeta, address: u128, tables: &Tables) -> Result<Class, DropReason> {
    match meta.from {
        Some(from) if tables.networks.of_address(address) != Some(from) => Err(DropReason::TenantToFabric),
        _ => Ok(Class::Own),
    }
}

/// A SIR address of type 2 to 4: IPv4 tenants are met at theirs (§5.11), IPv6 tenants at their own addresses, groups at
/// none.
#[cold]
fn sir_of_tenant(meta: &mut PacketMeta, domain: DomainId, tables: &Tables) -> Result<(), DropReason> {
    let identifier = Identifier(meta.low);
    if group::is_group(identifier) {
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

/// Notes the network of a tenant's identifier under a locator of ours; what neutral mapping added beyond the locator's
/// adjustment.
#[cold]
fn ila_of_tenant(meta: &mut PacketMeta, domain: DomainId, tables: &Tables) -> u16 {
    let identifier = Identifier(meta.low);
    meta.to = tables.networks.of_identifier(domain, identifier);
    meta.checksum_delta =
        tables.vnet_of(domain, identifier).map_or(0, |vnet| vnet.checksum_delta_of(identifier));
    meta.checksum_delta
}

/// Whether a tenant's identifier under a locator of ours is that of a group; `meta` has the group's identifier then.
///
/// # Errors
/// A group that no tenant here can be a member of, or an answer that would go to a group.
#[cold]
fn is_for_group(
    meta: &mut PacketMeta,
    mappings: &MappingTable,
    mapped: bool,
    tables: &Tables,
) -> Result<bool, DropReason> {
    let identifier = Identifier(meta.low);
    let network = meta.to.and_then(|id| tables.networks.get(id));
    let Some(group) = network.and_then(|network| network.group_of(identifier, mapped)) else {
        return if group::is_group(identifier) { Err(DropReason::NoMembers) } else { Ok(false) };
    };
    // Of a broadcast address and a tenant attached here that look the same on the wire the tenant is meant.
    let is_here = |identifier: &Identifier| {
        let action = mappings.lookup(identifier.0).and_then(|id| tables.action(id));
        matches!(action, Some(Action::Local(_)))
    };
    let mut either = [Some(identifier), identifier.zero_alias().filter(|_| mapped)].into_iter().flatten();
    if !group::is_group(identifier)
        && let Some(tenant) = either.find(is_here)
    {
        meta.low = tenant.0;
        return Ok(false);
    }
    if meta.ours {
        return Err(DropReason::Multicast);
    }
    (meta.low, meta.unusual) = (group.0, true);
    Ok(true)
}

/// Writes the outcome down.
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
            pending.own |= class == Class::Own;
        }
        Err(reason) => {
            packet.verdict = Verdict::Drop(reason);
            pending.drops = true;
        }
    }
}
