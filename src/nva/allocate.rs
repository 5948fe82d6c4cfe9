//! Chooses what operators leave to the authority: addresses of tenants, VNIDs, and gateways of policies.

use super::catalogue::Catalogue;
use super::model::{Key, ObjectKey, Record};
use crate::config::{Claim, Entry, ObjectName, Room};
use crate::ila::identifier::MAX_VNID;
use crate::ila::{Identifier, Locator};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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
    if entry.asks_by_rarp() {
        return Err(
            "`auto` chooses addresses now, and `on-rarp` when the tenant asks; write one of both".to_owned()
        );
    }
    let Some(network) = entry.networks().first().map(|name| (*name).to_owned()) else {
        return Err("`auto` stands for addresses of a virtual network; name it".to_owned());
    };
    let addresses = free_addresses(catalogue, (entry, &network), records)?;
    if addresses.is_empty() {
        return Err(format!(
            "`auto`: an address of each family of network {network} is named already; remove it"
        ));
    }
    entry.with_addresses(&addresses).map(Some)
}

/// A policy with the gateway that it leaves open; `None` if it leaves none open. `gateways` has NVEs that are told of all
/// networks, with their locators in a SIR domain: it is the one with the fewest policies through it, or the locator that the
/// policy had `before`.
///
/// # Errors
/// There is none, or the receivers are no network.
pub(super) fn gateway(
    catalogue: &Catalogue,
    (entry, before): (&Entry, Option<&Entry>),
    gateways: impl Fn(u64) -> BTreeMap<String, BTreeSet<Locator>>,
) -> Result<Option<Entry>, String> {
    let (true, ObjectName::Policy { to, .. }) = (entry.wants_gateway(), entry.name()) else {
        return Ok(None);
    };
    let Some((sir_prefix, _)) = catalogue.number_of(to) else {
        return Err(format!("`{to}` is not the name of a virtual network; a gateway is between two of them"));
    };
    let gateways = gateways(sir_prefix);
    let via = |entry: &Entry| -> Option<Locator> { entry.summary().via?.parse().ok() };
    if let Some(own) = before.and_then(via).filter(|own| gateways.values().any(|all| all.contains(own))) {
        return entry.through(own).map(Some);
    }
    let mut loads: HashMap<Locator, usize> = HashMap::new();
    // What is of no NVE comes first.
    for (_, other, _) in catalogue.after(None).take_while(|(key, ..)| key.nve.is_empty()) {
        if let Some(other) = via(other) {
            *loads.entry(other).or_default() += 1;
        }
    }
    let load = |all: &BTreeSet<Locator>| all.iter().filter_map(|locator| loads.get(locator)).sum::<usize>();
    match gateways.values().min_by_key(|all| load(all)).and_then(BTreeSet::first) {
        Some(locator) => entry.through(*locator).map(Some),
        None => Err(format!(
            "no gateway is there for the SIR domain of {to}: set `networks: all` under nves of one that has a locator \
             in it, or name a locator"
        )),
    }
}

/// The entry of an attachment of a network whose tenant asked by RARP, with an address of each family that it has none of;
/// `None` if it has all.
///
/// # Errors
/// Nothing is free, or the network is not known: of whatever attachment of the network it is.
pub(super) fn asked_by_rarp(
    catalogue: &Catalogue,
    (entry, network): (&Entry, &str),
    records: &BTreeMap<Key, Record>,
) -> Result<Option<Entry>, String> {
    let addresses = free_addresses(catalogue, (entry, network), records)?;
    match addresses.is_empty() {
        true => Ok(None),
        false => entry.with_addresses(&addresses).map(Some),
    }
}

/// An attachment as operators write it whose tenant asks by RARP, with what that was allocated, if there was one `before`:
/// it keeps that in its network, unless they name another one of the family. What they name is in front of the word, and
/// what was allocated behind it. `None`: it is so already, or asks for nothing.
///
/// # Errors
/// It cannot be written.
pub(super) fn kept(before: Option<&Entry>, now: &Entry) -> Result<Option<Entry>, String> {
    if !now.asks_by_rarp() {
        return Ok(None);
    }
    let before = before.filter(|before| before.networks() == now.networks());
    let named = now.addresses();
    let is_named = |address: &IpAddr| named.iter().any(|other| other.is_ipv6() == address.is_ipv6());
    let mut allocated = before.map(Entry::allocated).unwrap_or_default();
    allocated.retain(|address| named.contains(address) || !is_named(address));
    let kept = now.with_allocated(&allocated)?;
    Ok(Some(kept).filter(|kept| kept != now))
}

/// Whether a network has a family of which an attachment has no address.
pub(super) fn lacks_addresses(catalogue: &Catalogue, entry: &Entry, network: &str) -> bool {
    let key = ObjectKey { nve: String::new(), name: ObjectName::Network(network.to_owned()) };
    let room = catalogue.entry(&key).map(Entry::room).unwrap_or_default();
    let has = |is_ipv6: bool| entry.addresses().iter().any(|address| address.is_ipv6() == is_ipv6);
    room.iter().any(|room| !has(matches!(room, Room::V6 { .. })))
}

/// A free address of each family of its network that an attachment has none of.
fn free_addresses(
    catalogue: &Catalogue,
    (entry, name): (&Entry, &str),
    records: &BTreeMap<Key, Record>,
) -> Result<Vec<IpAddr>, String> {
    let key = ObjectKey { nve: String::new(), name: ObjectName::Network(name.to_owned()) };
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
        let claim = Claim::Tenant(name.to_owned(), address);
        let key = Key { sir_prefix, identifier: identifier.0 };
        is_single && !is_a_peer && !catalogue.is_claimed(&claim) && !records.contains_key(&key)
    };
    let mut named = [false; 2];
    entry.addresses().iter().for_each(|address| named[usize::from(address.is_ipv6())] = true);
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
    Ok(addresses)
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
