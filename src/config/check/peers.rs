//! Rules of mapped peers: IPv4 addresses of a network that stand for tasks and for tenants of other networks.

use super::super::model::{LocalIdentifier, NetworkPeer, PeerTarget, VirtualNetwork};
use super::super::raw::{RawConfig, RawPeer, RawPeerTenant, RawPeerTo, Text};
use super::networks::{Networks, REFUSED};
use super::rules::{self, Domains, host_of, judge_identifier};
use super::scope::{Check, Scope, Seen, entries};
use crate::ila::IdentifierType;
use crate::net::Ipv4Prefix;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Most peers of a network.
pub(crate) const MAX_PEERS: usize = 4096;

/// Where mapped addresses stand, by network and address.
pub(super) type Peers = Seen<(u16, u32)>;

/// Reads the peers of all networks; they name networks, so all of those were read before.
pub(super) fn peers(check: &mut Check, raw: &RawConfig, domains: &Domains, networks: &mut Networks) -> Peers {
    let (mut addresses, mut targets) = (Seen::new(), Seen::new());
    for (place, entry) in entries(&raw.virtual_networks).take(networks.list.len()) {
        let mut s = check.entry("virtual_networks", place, entry.referenced);
        let raw = &entry.value.peers;
        if let Some(all) = raw.as_ref().filter(|all| all.value.len() > MAX_PEERS) {
            s.error("peers", all.referenced, too_many(all.value.len()));
            continue;
        }
        let place = place as u16;
        let mut list = Vec::new();
        for (n, entry) in entries(raw) {
            let mut s = s.below(&format!("peers[{n}]"), entry.referenced);
            let address = address(&mut s, &entry.value, place, networks, &mut addresses);
            let to = target(&mut s, &entry.value, place, domains, networks);
            if let (Some(to), Some(text)) = (to, &entry.value.to)
                && let Some(before) = targets.before((place, to), &s.key("to"), text.referenced)
            {
                s.error(
                    "to",
                    text.referenced,
                    format!("the same as {before}; a peer has one address in a network"),
                );
            }
            if let (Some(address), Some(to)) = (address, to) {
                list.push(NetworkPeer { address, to });
            }
        }
        Arc::make_mut(&mut networks.list)[usize::from(place)].peers = list;
    }
    addresses
}

/// Why a network cannot have so many peers.
pub(crate) fn too_many(count: usize) -> String {
    format!("{count} peers; a network has at most {MAX_PEERS}")
}

/// The address in the network's own space.
fn address(
    s: &mut Scope<'_>,
    raw: &RawPeer,
    place: u16,
    networks: &Networks,
    seen: &mut Peers,
) -> Option<u32> {
    let text = s.required("address", &raw.address, "\"10.0.0.200\"")?;
    let address = match judge_address(&text.value, place, networks) {
        Ok(address) => address,
        Err(message) => {
            s.error("address", text.referenced, message);
            // An address that is wrong only here may still be somebody's.
            return text.value.parse::<Ipv4Addr>().ok().map(u32::from);
        }
    };
    if let Some(before) = seen.before((place, address), &s.key("address"), text.referenced) {
        let address = Ipv4Addr::from(address);
        s.error(
            "address",
            text.referenced,
            format!("{address} is already {before}; an address has one peer"),
        );
    }
    Some(address)
}

/// Judges a mapped address in the network at `place`.
pub(crate) fn judge_address(text: &str, place: u16, networks: &Networks) -> Result<u32, String> {
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        return Err(format!("`{text}` is not an IPv4 address; write for example 10.0.0.200"));
    };
    if let Some(network) = networks.list.get(usize::from(place)) {
        judge(address, network)?;
    }
    Ok(address.into())
}

fn judge(address: Ipv4Addr, network: &VirtualNetwork) -> Result<(), String> {
    let bits = u32::from(address);
    if let Some((refused, kind)) = REFUSED.iter().find(|(refused, _)| refused.contains(bits)) {
        return Err(format!("{address} lies in {refused} ({kind}); use a unicast address"));
    }
    // What is above 224/4 is for nobody, either (RFC 1112 §4).
    if Ipv4Prefix::covering(0xf000_0000, 4).contains(bits) {
        return Err(format!("{address} lies in 240.0.0.0/4 (reserved); use a unicast address"));
    }
    let Some(subnet) = network.ipv4.iter().find(|subnet| subnet.prefix.contains(bits)) else { return Ok(()) };
    host_of(subnet.prefix, bits)?;
    if subnet.gateway == bits {
        return Err(format!("{address} is the gateway of {}; use an address of its own", subnet.prefix));
    }
    Ok(())
}

/// Whom the address stands for.
fn target(
    s: &mut Scope<'_>,
    raw: &RawPeer,
    place: u16,
    domains: &Domains,
    networks: &Networks,
) -> Option<PeerTarget> {
    let Some(to) = &raw.to else {
        s.error_here("to", "missing; write for example `to: \"2001:db8:dddd:0:2000::4\"`");
        return None;
    };
    match &to.value {
        RawPeerTo::Task(text) => match task(text, domains) {
            Ok(local) => local.map(PeerTarget::Task),
            Err(message) => {
                s.error("to", to.referenced, message);
                None
            }
        },
        RawPeerTo::Tenant(raw) => tenant(&mut s.below("to", to.referenced), raw, place, networks),
    }
}

/// Judges the SIR address of a task.
pub(crate) fn task(text: &str, domains: &Domains) -> Result<Option<LocalIdentifier>, String> {
    let local = judge_identifier(text, domains)?;
    match local.map(|local| local.identifier.kind()) {
        Some(IdentifierType::LocallyUnique) | None => Ok(local),
        Some(kind) => Err(format!(
            "{text} has identifier type {}, which is a tenant's address; write its network and address, \
             for example \
             {{network: blue, address: 10.0.0.5}}",
            kind.bits()
        )),
    }
}

fn tenant(s: &mut Scope<'_>, raw: &RawPeerTenant, place: u16, networks: &Networks) -> Option<PeerTarget> {
    let name: Option<&Text> = s.required("network", &raw.network, "blue");
    let address = s.required("address", &raw.address, "\"10.0.0.5\"");
    let name = name?;
    let network = networks.named(s, "network", name)?;
    if let Err(message) = judge_other(&name.value, network, place) {
        s.error("network", name.referenced, message);
        return None;
    }
    let address = address?;
    if networks.whole.get(usize::from(network)) != Some(&true) {
        return None;
    }
    match tenant_at(&address.value, network, networks) {
        Ok(target) => Some(target),
        Err(message) => {
            s.error("address", address.referenced, message);
            None
        }
    }
}

/// Judges a tenant of the network `name`, which stands at `network`, as a peer in the network at `place`.
pub(crate) fn tenant_of(
    name: &str,
    network: u16,
    address: &str,
    place: u16,
    networks: &Networks,
) -> Result<PeerTarget, String> {
    judge_other(name, network, place)?;
    tenant_at(address, network, networks)
}

fn judge_other(name: &str, network: u16, place: u16) -> Result<(), String> {
    if network == place {
        return Err(format!("`{name}` is the peer's own network; name another one"));
    }
    Ok(())
}

fn tenant_at(address: &str, network: u16, networks: &Networks) -> Result<PeerTarget, String> {
    let Some(of) = networks.list.get(usize::from(network)) else {
        return Err(format!("`{address}` lies in no known network"));
    };
    let (address, _) = rules::judge_address(address, of)?;
    Ok(PeerTarget::Tenant { network, address })
}
