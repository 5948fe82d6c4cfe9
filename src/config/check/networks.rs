//! Rules of virtual networks: their names, VNIDs, prefixes and gateways.

use super::super::model::{Config, Limit, Limits, NetworkIpv4, NetworkIpv6, VirtualNetwork};
use super::super::raw::{RawConfig, RawNetwork, RawNetworkIpv4, RawNetworkIpv6, Text};
use super::groups::replicate_to;
use super::limits::{limit, limits};
use super::ports::Ports;
use super::rules::{Domains, Locators, OUTSIDE, ROUTER_MAC, host_of};
use super::scope::{Check, Scope, Seen, WORD, entries, unicast_mac};
use crate::ila::identifier::MAX_VNID;
use crate::net::ipv6::{is_ipv4_in_ipv6, is_link_local, is_multicast};
use crate::net::{Ipv4Prefix, Ipv6Prefix};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Most virtual networks of a node.
const MAX_NETWORKS: usize = 4096;
/// `outside` in policies: what is no tenant and no task; `other` in metrics: all networks beyond the limit.
const RESERVED: [&str; 2] = [OUTSIDE, "other"];
/// Most IPv4 subnets of a network.
const MAX_SUBNETS: usize = 64;
/// What no tenant can have as an address.
pub(super) const REFUSED: [(Ipv4Prefix, &str); 5] = [
    (Ipv4Prefix::covering(0, 8), "\"this host\""),
    (Ipv4Prefix::covering(0x7f00_0000, 8), "loopback"),
    (Ipv4Prefix::covering(0xa9fe_0000, 16), "link-local"),
    (Ipv4Prefix::covering(0xe000_0000, 4), "multicast"),
    (Ipv4Prefix::covering(u32::MAX, 32), "broadcast"),
];

/// The networks of the file, in its order; a network with errors is there with stand-ins.
#[derive(Debug)]
pub(crate) struct Networks {
    pub(super) list: Arc<Vec<VirtualNetwork>>,
    /// Whether the network at the same place has no errors, so that its attachments can be judged by it.
    pub(super) whole: Vec<bool>,
    places: HashMap<String, u16>,
    /// Whether every name could be read. Otherwise a name that is not found may be one with an error.
    names: bool,
}

impl Networks {
    /// Those of a configuration, which have no errors.
    pub(crate) fn of(config: &Config) -> Self {
        let list = config.virtual_networks.clone();
        let places = list.iter().enumerate().map(|(n, network)| (network.name.clone(), n as u16));
        Networks { whole: vec![true; list.len()], places: places.collect(), list, names: true }
    }

    /// Place of the network that a key names; reports a name that is not there.
    pub(super) fn named(&self, s: &mut Scope<'_>, key: &str, text: &Text) -> Option<u16> {
        match self.find(&text.value) {
            Ok(place) => place,
            Err(message) => {
                s.error(key, text.referenced, message);
                None
            }
        }
    }

    /// Place of the network with this name; `Ok(None)` when names of the file could not be read.
    pub(super) fn find(&self, name: &str) -> Result<Option<u16>, String> {
        match self.places.get(name).copied() {
            None if self.names => {
                Err(format!("`{name}` is not the name of a virtual network; add it to virtual_networks"))
            }
            place => Ok(place),
        }
    }
}

pub(super) fn networks(
    check: &mut Check,
    raw: &RawConfig,
    domains: &Domains,
    locators: &Locators,
    ports: &Ports,
) -> Networks {
    let mut networks =
        Networks { list: Arc::default(), whole: Vec::new(), places: HashMap::new(), names: true };
    let (mut names, mut vnids, mut prefixes) = (Seen::new(), Seen::new(), Seen::new());
    let mut hosts = HashMap::new();
    for (n, entry) in entries(&raw.virtual_networks) {
        let network = &entry.value;
        let mut s = check.entry("virtual_networks", n, entry.referenced);
        if n >= MAX_NETWORKS {
            s.beyond(format!("more than {MAX_NETWORKS} networks; a node has at most {MAX_NETWORKS}"));
            networks.names = false;
            continue;
        }
        let errors = s.count();
        let name = s.name("name", &network.name, "red", WORD);
        networks.names &= name.is_some();
        if let (Some(name), Some(text)) = (&name, &network.name) {
            if RESERVED.contains(&name.as_str()) {
                s.error("name", text.referenced, format!("`{name}` means something else; use another name"));
            }
            if let Some(before) = names.before(name.clone(), &s.key("name"), text.referenced) {
                s.error("name", text.referenced, format!("`{name}` is already {before}; names are unique"));
            } else {
                networks.places.insert(name.clone(), n as u16);
            }
        }
        let vnid = vnid(&mut s, network, &mut vnids);
        let domain = domains.required(&mut s, &network.domain);
        let mac = match &network.mac {
            Some(_) => unicast_mac(&mut s, "mac", &network.mac),
            None => Some(ROUTER_MAC),
        };
        let mtu = s.number("mtu", &network.mtu, 1280..=9600, 1500);
        let ipv6 = network.ipv6.as_ref().and_then(|entry| {
            let mut s = s.below("ipv6", entry.referenced);
            ipv6(&mut s, &entry.value, &mut prefixes, domains, locators, ports)
        });
        let ipv4 = subnets(&mut s, network);
        let usual = Limits::default();
        let limits = network.limits.as_ref().map_or(usual, |raw| limits(&mut s, raw, usual));
        let received_copies =
            limit(&mut s, "received_copies", &network.received_copies, Limit::RECEIVED_COPIES);
        let replicate_to = replicate_to(&mut s, network, domain, (domains, locators), &mut hosts);
        let exclusive = s.flag("exclusive", &network.exclusive, false);
        networks.whole.push(s.count() == errors);
        Arc::make_mut(&mut networks.list).push(VirtualNetwork {
            name: name.unwrap_or_default(),
            vnid: vnid.unwrap_or_default(),
            domain: domain.unwrap_or_default(),
            mac: mac.unwrap_or(ROUTER_MAC),
            mtu,
            ipv6,
            ipv4,
            peers: Vec::new(),
            limits,
            received_copies,
            replicate_to,
            exclusive,
        });
    }
    networks
}

/// The virtual network identifier.
fn vnid(s: &mut Scope<'_>, raw: &RawNetwork, seen: &mut Seen<u32>) -> Option<u32> {
    let text = s.required("vnid", &raw.vnid, "100")?;
    let vnid = s.within("vnid", text, 1..=MAX_VNID)?;
    if let Some(before) = seen.before(vnid, &s.key("vnid"), text.referenced) {
        let message = format!("{vnid} is already {before}; give each network its own");
        s.error("vnid", text.referenced, message);
    }
    Some(vnid)
}

/// IPv6 of a network: one prefix of 96 bits, which stands for the VNID on the wire.
fn ipv6(
    s: &mut Scope<'_>,
    raw: &RawNetworkIpv6,
    seen: &mut Seen<Ipv6Prefix>,
    domains: &Domains,
    locators: &Locators,
    ports: &Ports,
) -> Option<NetworkIpv6> {
    let prefix: Option<Ipv6Prefix> = s.value("prefix", &raw.prefix, "\"2001:db8:a::/96\"");
    if let (Some(prefix), Some(text)) = (prefix, &raw.prefix) {
        if let Err(message) = judge_prefix(prefix, domains, locators, ports) {
            s.error("prefix", text.referenced, message);
        } else if let Some(before) = seen.before(prefix, &s.key("prefix"), text.referenced) {
            let message = format!("{prefix} is already {before}; give each network its own");
            s.error("prefix", text.referenced, message);
        }
    }
    let gateway = raw.gateway.as_ref().and_then(|text| {
        let Ok(address) = text.value.parse::<Ipv6Addr>() else {
            let message = format!("`{}` is not an IPv6 address; write for example 2001:db8:a::1", text.value);
            s.error("gateway", text.referenced, message);
            return None;
        };
        let gateway = u128::from(address);
        if let Some(prefix) = prefix.filter(|prefix| !prefix.contains(gateway)) {
            let message = format!("{address} does not lie under {prefix}; use an address that does");
            s.error("gateway", text.referenced, message);
        }
        Some(gateway)
    });
    Some(NetworkIpv6 { prefix: prefix?, gateway })
}

/// Judges the prefix of a network against all that is not a tenant's.
fn judge_prefix(
    prefix: Ipv6Prefix,
    domains: &Domains,
    locators: &Locators,
    ports: &Ports,
) -> Result<(), String> {
    let (bits, length) = (prefix.bits(), prefix.length());
    if length != 96 {
        return Err(format!("{prefix} has length {length}; the prefix of a network has 96 bits"));
    }
    let kind = match bits {
        _ if is_link_local(bits) => Some("link-local"),
        _ if is_multicast(bits) => Some("multicast"),
        _ if is_ipv4_in_ipv6(bits) => Some("for IPv4 addresses in IPv6 ones"),
        _ => None,
    };
    if let Some(kind) = kind {
        return Err(format!("{prefix} is {kind}; write a global or unique local unicast prefix"));
    }
    if let Some(sir) = domains.of(bits).and_then(|d| domains.list.get(usize::from(d))) {
        let name = &sir.name;
        return Err(format!(
            "{prefix} lies under the SIR prefix of domain {name}; use a prefix of the tenant's own"
        ));
    }
    for port in &ports.list {
        if let Some(own) = port.addresses.iter().find(|own| prefix.contains(own.address)) {
            let (address, name) = (Ipv6Addr::from(own.address), &port.name);
            return Err(format!(
                "{address} of port {name} lies under {prefix}; use a prefix of the tenant's own"
            ));
        }
    }
    match locators.list.iter().find(|own| own.prefix.prefix().contains(bits)) {
        Some(own) => {
            let locator = own.prefix;
            Err(format!("{prefix} lies under our locator {locator}; use a prefix of the tenant's own"))
        }
        None => Ok(()),
    }
}

/// The IPv4 subnets of a network.
fn subnets(s: &mut Scope<'_>, raw: &RawNetwork) -> Vec<NetworkIpv4> {
    let mut list: Vec<NetworkIpv4> = Vec::new();
    if let Some(all) = raw.ipv4.as_ref().filter(|all| all.value.len() > MAX_SUBNETS) {
        let count = all.value.len();
        s.error("ipv4", all.referenced, format!("{count} subnets; a network has at most {MAX_SUBNETS}"));
        return list;
    }
    let mut places: Vec<(Ipv4Prefix, String)> = Vec::new();
    for (n, entry) in entries(&raw.ipv4) {
        let mut s = s.below(&format!("ipv4[{n}]"), entry.referenced);
        let prefix: Option<Ipv4Prefix> = s.value("prefix", &entry.value.prefix, "\"10.0.0.0/24\"");
        if let (Some(prefix), Some(text)) = (prefix, &entry.value.prefix) {
            if let Some((refused, kind)) = REFUSED.iter().find(|(refused, _)| refused.overlaps(prefix)) {
                let message = format!("{prefix} overlaps {refused} ({kind}); use a unicast subnet");
                s.error("prefix", text.referenced, message);
            }
            if let Some((other, before)) = places.iter().find(|(other, _)| other.overlaps(prefix)) {
                let message =
                    format!("{prefix} overlaps {other}, which is {before}; subnets of a network are apart");
                s.error("prefix", text.referenced, message);
            }
            places.push((prefix, format!("{} (line {})", s.key("prefix"), text.referenced.line())));
        }
        if let (Some(gateway), Some(prefix)) = (gateway(&mut s, &entry.value, prefix), prefix) {
            list.push(NetworkIpv4 { prefix, gateway });
        }
    }
    list
}

/// The gateway of a subnet.
fn gateway(s: &mut Scope<'_>, raw: &RawNetworkIpv4, prefix: Option<Ipv4Prefix>) -> Option<u32> {
    let text = s.required("gateway", &raw.gateway, "\"10.0.0.1\"")?;
    let Ok(address) = text.value.parse::<Ipv4Addr>() else {
        let message = format!("`{}` is not an IPv4 address; write for example 10.0.0.1", text.value);
        s.error("gateway", text.referenced, message);
        return None;
    };
    let gateway = u32::from(address);
    if let Some(prefix) = prefix {
        let result = if prefix.contains(gateway) {
            host_of(prefix, gateway)
        } else {
            Err(format!("{address} does not lie under {prefix}; use an address that does"))
        };
        if let Err(message) = result {
            s.error("gateway", text.referenced, message);
        }
    }
    Some(gateway)
}
