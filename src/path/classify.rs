//! What a destination is, by its upper 64 bits and its identifier type; starts the lookup where one is needed.

use super::lane::{Class, Lane, Todo};
use super::packet::Packet;
use super::policy::may_send;
use super::verdict::{DropReason, Verdict};
use crate::ila::group;
use crate::ila::{Adjustment, ChecksumMode, Identifier, IdentifierType, neutral};
use crate::table::mapping::{Key, MappingTable};
use crate::table::realms::Realm;
use crate::table::{Action, Domain, DomainId, Network, NetworkId, Party, Tables};

/// The last realm that was looked up: packets of a burst often share it.
#[derive(Default)]
pub(super) struct Memo<'t> {
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
            self.meaning = tables.realms.of(high).map(|realm| Self::of(realm, tables));
        }
        self.meaning
    }

    fn of(realm: &Realm, tables: &'t Tables) -> Meaning<'t> {
        let domain = |id: DomainId| -> Option<&'t Domain> { tables.domains.get(usize::from(id.0)) };
        if let Some((id, domain)) = realm.sir.and_then(|id| Some((id, domain(id)?))) {
            Meaning::Sir(id, &domain.mappings)
        } else if let Some((id, adjustment, domain)) =
            realm.local.and_then(|(id, a)| Some((id, a, domain(id)?)))
        {
            Meaning::Ila(id, &domain.mappings, domain.checksum, adjustment)
        } else if realm.tenants {
            Meaning::Tenants
        } else {
            Meaning::Subnet
        }
    }
}

/// Classifies the destination in `lane`.
///
/// # Errors
/// The reason to drop the packet.
#[inline(always)]
pub(super) fn class_of<'t>(
    lane: &mut Lane,
    memo: &mut Memo<'t>,
    tables: &'t Tables,
) -> Result<Class, DropReason> {
    let identifier = Identifier(lane.low);
    match memo.meaning(lane.high, tables) {
        Some(Meaning::Sir(domain, mappings)) if translated(identifier) => {
            if identifier.neutral() {
                return Err(DropReason::SirCBit);
            }
            if (lane.low >> 61) > 1 {
                sir_of_tenant(lane, domain, tables)?;
            } else {
                may_send(lane, Party::Task(domain, identifier), tables)?;
            }
            let _ = mappings.probe(Key::of(lane.low));
            Ok(Class::Sir(domain))
        }
        Some(Meaning::Ila(domain, mappings, mode, adjustment)) if translated(identifier) => {
            if lane.from.is_some() {
                return Err(DropReason::TenantToFabric);
            }
            let of_tenant = (lane.low >> 61) > 1;
            let adjustment =
                if of_tenant { adjustment.with(ila_of_tenant(lane, domain, tables)) } else { adjustment };
            lane.low = neutral::back(identifier, adjustment, mode).0;
            if of_tenant && is_for_group(lane, mappings, neutral::was_mapped(identifier, mode), tables)? {
                return Ok(Class::Group(domain));
            }
            let _ = mappings.probe(Key::of(lane.low));
            Ok(Class::Ila(domain))
        }
        Some(meaning) => untranslated(lane, meaning, tables),
        None => routed(lane, tables),
    }
}

/// Types 1 to 4.
#[inline(always)]
const fn translated(identifier: Identifier) -> bool {
    (identifier.0 >> 61).wrapping_sub(1) < 4
}

#[cold]
fn untranslated(lane: &mut Lane, meaning: Meaning<'_>, tables: &Tables) -> Result<Class, DropReason> {
    let identifier = Identifier(lane.low);
    if !matches!(meaning, Meaning::Subnet | Meaning::Tenants)
        && matches!(identifier.kind(), IdentifierType::Reserved(_))
    {
        return Err(DropReason::ReservedIdentifier);
    }
    let address = (u128::from(lane.high) << 64) | u128::from(lane.low);
    if tables.own.contains(&address) {
        return own(lane, address, tables);
    }
    if lane.from.is_some() && tables.realms.of(lane.high).is_some_and(|realm| realm.remote.is_some()) {
        return Err(DropReason::TenantToFabric);
    }
    if let Some((id, network)) = network_of(address, tables)
        && let Some(vnet) = network.ipv6
    {
        may_send(lane, Party::Network(id), tables)?;
        (lane.to, lane.extra) = (Some(id), vnet.extra);
        lane.low = Identifier::tenant_ipv6(network.vnid, lane.low as u32).0;
        return Ok(Class::Sir(network.domain));
    }
    // An interface identifier under a SIR prefix or a locator is no task, but a node.
    if lane.from.is_some() && matches!(meaning, Meaning::Sir(..) | Meaning::Ila(..)) {
        return Err(DropReason::TenantToFabric);
    }
    routed(lane, tables)
}

/// What a tenant sends is routed unless it goes to what carries its packets.
fn routed(lane: &Lane, tables: &Tables) -> Result<Class, DropReason> {
    let address = (u128::from(lane.high) << 64) | u128::from(lane.low);
    if lane.from.is_some() && tables.infrastructure.lookup(address).is_some() {
        return Err(DropReason::TenantToFabric);
    }
    may_send(lane, Party::Outside, tables).map(|()| Class::Route)
}

fn network_of(address: u128, tables: &Tables) -> Option<(NetworkId, &Network)> {
    let id = tables.networks.of_address(address)?;
    Some((id, tables.networks.get(id)?))
}

/// A tenant may speak to its own gateway, and to nothing else that is ours.
fn own(lane: &Lane, address: u128, tables: &Tables) -> Result<Class, DropReason> {
    match lane.from {
        Some(from) if tables.networks.of_address(address) != Some(from) => Err(DropReason::TenantToFabric),
        _ => Ok(Class::Own),
    }
}

/// A SIR address of type 2 to 4: IPv4 tenants are met at theirs (§5.11), IPv6 tenants at their own addresses, groups at
/// none.
#[cold]
fn sir_of_tenant(lane: &mut Lane, domain: DomainId, tables: &Tables) -> Result<(), DropReason> {
    let identifier = Identifier(lane.low);
    if group::is_group(identifier) {
        return Err(DropReason::SirTenant);
    }
    let Some(network) = tables.networks.of_identifier(domain, identifier) else {
        return if lane.from.is_some() { Err(DropReason::NoPolicy) } else { Ok(()) };
    };
    if identifier.kind() == IdentifierType::TenantIpv6 {
        return Err(DropReason::SirTenant);
    }
    lane.to = Some(network);
    may_send(lane, Party::Network(network), tables)
}

/// Notes the network of a tenant's identifier under a locator of ours; what neutral mapping added beyond the locator's
/// adjustment.
#[cold]
fn ila_of_tenant(lane: &mut Lane, domain: DomainId, tables: &Tables) -> u16 {
    let identifier = Identifier(lane.low);
    lane.to = tables.networks.of_identifier(domain, identifier);
    lane.extra = tables.vnet_of(domain, identifier).map_or(0, |vnet| vnet.extra_of(identifier));
    lane.extra
}

/// Whether a tenant's identifier under a locator of ours is that of a group; `lane` has the group's identifier then.
///
/// # Errors
/// A group that no tenant here can be a member of, or an answer that would go to a group.
#[cold]
fn is_for_group(
    lane: &mut Lane,
    mappings: &MappingTable,
    mapped: bool,
    tables: &Tables,
) -> Result<bool, DropReason> {
    let identifier = Identifier(lane.low);
    let network = lane.to.and_then(|id| tables.networks.get(id));
    let Some(group) = network.and_then(|network| network.group_of(identifier, mapped)) else {
        return if group::is_group(identifier) { Err(DropReason::NoMembers) } else { Ok(false) };
    };
    // Of a broadcast address and a tenant attached here that look the same on the wire the tenant is meant.
    let is_here = |identifier: &Identifier| {
        let action = mappings.lookup(identifier.0).and_then(|id| tables.action(id));
        matches!(action, Some(Action::Local(_)))
    };
    let mut either = [Some(identifier), identifier.twin().filter(|_| mapped)].into_iter().flatten();
    if !group::is_group(identifier)
        && let Some(tenant) = either.find(is_here)
    {
        lane.low = tenant.0;
        return Ok(false);
    }
    if lane.ours {
        return Err(DropReason::Multicast);
    }
    (lane.low, lane.unusual) = (group.0, true);
    Ok(true)
}

/// Writes the outcome down.
#[inline(always)]
pub(super) fn note(
    outcome: Result<Class, DropReason>,
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    todo: &mut Todo,
) {
    match outcome {
        Ok(class) => {
            lane.class = class;
            todo.lookups |= matches!(class, Class::Sir(_) | Class::Ila(_));
            todo.groups |= matches!(class, Class::Group(_));
            todo.routes |= class == Class::Route;
            todo.own |= class == Class::Own;
        }
        Err(reason) => {
            packet.verdict = Verdict::Drop(reason);
            todo.drops = true;
        }
    }
}
