//! Chooses what operators leave to the authority: addresses of tenants and VNIDs.

use super::catalogue::Catalogue;
use super::model::{Key, ObjectKey, Record};
use crate::config::{Claim, Entry, ObjectName, Room};
use crate::ila::Identifier;
use crate::ila::identifier::MAX_VNID;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one family that are looked at.
const LOOKED_AT: u64 = 1 << 20;

/// The entry with what it leaves open; `None` if it leaves nothing open. What has a record is somebody's or was a moment
/// ago, and is not chosen.
///
/// # Errors
/// Nothing is free, there is nothing to choose, or its network is not known.
pub(super) fn chosen(
    catalogue: &Catalogue,
    entry: &Entry,
    records: &BTreeMap<Key, Record>,
) -> Result<Option<Entry>, String> {
    if entry.wants_vnid() {
        let sir_prefix = entry.domain().and_then(|domain| catalogue.sir_prefix(domain));
        return entry.with_vnid(free_vnid(catalogue, sir_prefix, records)?).map(Some);
    }
    if !entry.wants_addresses() {
        return Ok(None);
    }
    let Some(name) = entry.networks().first().map(|name| (*name).to_owned()) else {
        return Err("`auto` stands for addresses of a virtual network; name it".to_owned());
    };
    let key = ObjectKey { nve: String::new(), name: ObjectName::Network(name.clone()) };
    let Some((network, sir_prefix)) = catalogue.network(&key) else {
        return Err(format!("`{name}` is not the name of a virtual network; add it first"));
    };
    let Ok(vnid) = network.summary().vnid.parse::<u32>() else {
        return Err(format!("network {name} has no VNID"));
    };
    let peers: HashSet<Ipv4Addr> = network.peers().into_iter().collect();
    let is_free = |address: IpAddr| {
        let identifier = match address {
            IpAddr::V4(address) => Identifier::tenant_ipv4(vnid, address.into()),
            IpAddr::V6(address) => Identifier::tenant_ipv6(vnid, u128::from(address) as u32),
        };
        // One of two twins of neutral mapping would be refused.
        let is_single = !matches!(identifier.0 as u16, 0 | u16::MAX);
        let is_a_peer = matches!(address, IpAddr::V4(address) if peers.contains(&address));
        let claim = Claim::Tenant(name.clone(), address);
        let key = Key { sir_prefix, identifier: identifier.0 };
        is_single && !is_a_peer && !catalogue.is_claimed(&claim) && !records.contains_key(&key)
    };
    let mut named = [false; 2];
    for claim in entry.claims() {
        if let Claim::Tenant(_, address) = claim {
            named[usize::from(address.is_ipv6())] = true;
        }
    }
    let room = network.room();
    let (ipv4, ipv6): (Vec<&Room>, Vec<&Room>) =
        room.iter().partition(|room| matches!(room, Room::V4 { .. }));
    let mut addresses = Vec::new();
    for (family, is_named) in [ipv4, ipv6].into_iter().zip(named) {
        if family.is_empty() || is_named {
            continue;
        }
        let mut candidates = family.iter().flat_map(|room| candidates(room));
        let Some(free) = candidates.find(|address| is_free(*address)) else {
            return Err(format!("network {name} has no free address; release some, or add a subnet"));
        };
        addresses.push(free);
    }
    if addresses.is_empty() {
        return Err(format!(
            "`auto`: an address of each family of network {name} is named already; remove it"
        ));
    }
    entry.with_addresses(&addresses).map(Some)
}

/// Addresses that hosts may have, in their order.
fn candidates(room: &Room) -> Box<dyn Iterator<Item = IpAddr>> {
    match *room {
        Room::V4 { prefix, gateway } => {
            let (first, last) = (u64::from(prefix.bits()) + 1, u64::from(prefix.broadcast()));
            let all = (first..last).take(LOOKED_AT as usize).map(|bits| Ipv4Addr::from(bits as u32));
            Box::new(all.filter(move |address| Some(*address) != gateway).map(IpAddr::V4))
        }
        Room::V6 { prefix, gateway } => {
            let all = (1..LOOKED_AT).map(move |host| Ipv6Addr::from(prefix.bits() | u128::from(host)));
            Box::new(all.filter(move |address| Some(*address) != gateway).map(IpAddr::V6))
        }
    }
}

/// One above the highest that is used, so that one that was deleted comes again late; or else the lowest that is free.
/// One with records is not free: tenants of a network that is gone have or had identifiers of it.
fn free_vnid(
    catalogue: &Catalogue,
    sir_prefix: Option<u64>,
    records: &BTreeMap<Key, Record>,
) -> Result<u32, String> {
    let used: BTreeSet<u32> = catalogue.vnids().collect();
    let has_records = |vnid: u32| {
        let all = sir_prefix.into_iter().flat_map(|sir_prefix| {
            let key = move |identifier: Identifier| Key { sir_prefix, identifier: identifier.0 };
            [Identifier::tenant_ipv4, Identifier::tenant_ipv6]
                .map(|of| key(of(vnid, 0))..=key(of(vnid, u32::MAX)))
        });
        all.into_iter().any(|range| records.range(range).next().is_some())
    };
    let above = used.last().map_or(1, |highest| highest + 1);
    let mut candidates = (above..=MAX_VNID).chain(1..above).filter(|vnid| !used.contains(vnid));
    let free = candidates.by_ref().take(LOOKED_AT as usize).find(|vnid| !has_records(*vnid));
    free.ok_or_else(|| "no VNID is free; name one".to_owned())
}
