//! One entry: a network, a policy or an attachment, as it is written in a node's file.

use super::super::amend::PolicyWords;
use super::super::check::{Check, OUTSIDE, ROUTER_MAC, WORD};
use super::super::raw::{List, ON_RARP, RawAttachment, RawNetwork, RawPeerTo, RawPolicy, Text};
use super::super::yaml;
use crate::ila::Locator;
use crate::net::{Ipv4Prefix, Ipv6Prefix, Mac};
use serde::Serialize;
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most bytes of an entry of an operator: of its text, and of what is written of it, where aliases stand in full.
pub const MAX_ENTRY_BYTES: usize = 256 << 10;
/// Most bytes of an entry that was written: it may have locators of hosts and what was chosen besides.
const MAX_WRITTEN_BYTES: usize = MAX_ENTRY_BYTES + (16 << 10);
/// Most bytes of one end of a policy.
const MAX_WORD_BYTES: usize = 64;

/// Names an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    /// An entry of `virtual_networks`, by its name.
    Network(String),
    /// An entry of `policies`, by its ends.
    Policy {
        /// Who sends.
        from: String,
        /// Who receives.
        to: String,
    },
    /// An entry of `attachments`, by its name.
    Attachment(String),
}

impl ObjectName {
    /// The section of the file.
    pub(super) fn section(&self) -> &'static str {
        match self {
            ObjectName::Network(_) => "virtual_networks",
            ObjectName::Policy { .. } => "policies",
            ObjectName::Attachment(_) => "attachments",
        }
    }

    /// How errors name it within its section.
    pub(super) fn within(&self) -> String {
        match self {
            ObjectName::Network(name) | ObjectName::Attachment(name) => name.clone(),
            ObjectName::Policy { from, to } => format!("{from} to {to}"),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectName::Network(name) => write!(f, "network {name}"),
            ObjectName::Policy { from, to } => write!(f, "the policy from {from} to {to}"),
            ObjectName::Attachment(name) => write!(f, "attachment {name}"),
        }
    }
}

/// What belongs to one attachment in all the data center.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// An address of a tenant in the network of this name.
    Tenant(String, IpAddr),
    /// The SIR address of a task.
    Task(Ipv6Addr),
}

/// The word for what the authority is to choose.
const AUTO: &str = "auto";

/// Where tenants of a network may have addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A subnet.
    V4 {
        /// Its addresses.
        prefix: Ipv4Prefix,
        /// Nobody else's.
        gateway: Option<Ipv4Addr>,
    },
    /// The prefix.
    V6 {
        /// Its addresses.
        prefix: Ipv6Prefix,
        /// Nobody else's.
        gateway: Option<Ipv6Addr>,
    },
}

/// What lists show of an entry, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// A network's.
    pub vnid: String,
    /// A network's.
    pub domain: String,
    /// A network's: IPv6 first.
    pub prefixes: Vec<String>,
    /// An attachment's.
    pub port: String,
    /// An attachment's.
    pub vlan: Option<String>,
    /// An attachment's.
    pub mac: String,
    /// A tenant's.
    pub network: Option<String>,
    /// A tenant's addresses, or a task's SIR addresses.
    pub addresses: Vec<String>,
    /// A policy's gateway.
    pub via: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Raw {
    Network(Box<Spanned<RawNetwork>>),
    Policy(Box<Spanned<RawPolicy>>),
    Attachment(Box<Spanned<RawAttachment>>),
}

/// A network, a policy or an attachment that stands alone. Its keys and its name are right, and nothing else was judged.
#[derive(Debug, Clone)]
pub struct Entry {
    name: ObjectName,
    pub(super) raw: Raw,
    written: String,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.written == other.written
    }
}

impl Eq for Entry {}

impl Entry {
    /// Reads an entry of `virtual_networks`.
    ///
    /// # Errors
    /// It is too long, no YAML, has unknown keys, or has no name; with place and way out.
    pub fn network(text: &str) -> Result<Self, String> {
        Self::read_network(text, MAX_ENTRY_BYTES)
    }

    fn read_network(text: &str, most: usize) -> Result<Self, String> {
        let raw: Spanned<RawNetwork> = read(text, "network", most)?;
        let name = ObjectName::Network(name(&raw.value.name, raw.referenced, "red")?);
        Self::of(name, Raw::Network(Box::new(raw)), most)
    }

    /// Reads an entry of `attachments`. Unlike one of a file it must have a name.
    ///
    /// # Errors
    /// As [`Self::network`].
    pub fn attachment(text: &str) -> Result<Self, String> {
        Self::read_attachment(text, MAX_ENTRY_BYTES)
    }

    fn read_attachment(text: &str, most: usize) -> Result<Self, String> {
        let raw: Spanned<RawAttachment> = read(text, "attachment", most)?;
        let name = ObjectName::Attachment(name(&raw.value.name, raw.referenced, "vm1")?);
        Self::of(name, Raw::Attachment(Box::new(raw)), most)
    }

    /// Reads an entry of `policies`.
    ///
    /// # Errors
    /// As [`Self::network`]; an end that is missing, or that is neither a name nor an address.
    pub fn policy(text: &str) -> Result<Self, String> {
        let raw: Spanned<RawPolicy> = read(text, "policy", MAX_ENTRY_BYTES)?;
        let end = |key: &str, text: &Option<Text>| match text {
            None => Err(format!("policy: {key}: missing; write for example `{key}: red`")),
            Some(text) => is_end(&text.value).then(|| text.value.clone()).ok_or_else(|| {
                let shown: String = text.value.chars().take(MAX_WORD_BYTES).collect();
                format!("policy: {key}: `{}` is neither a name nor an address", shown.escape_debug())
            }),
        };
        let name = ObjectName::Policy { from: end("from", &raw.value.from)?, to: end("to", &raw.value.to)? };
        Self::of(name, Raw::Policy(Box::new(raw)), MAX_ENTRY_BYTES)
    }

    /// The policy in these words.
    ///
    /// # Errors
    /// As [`Self::policy`].
    pub fn of_policy(PolicyWords { from, to, via }: &PolicyWords) -> Result<Self, String> {
        let text = |word: &str| Spanned::new(word.to_owned(), Location::UNKNOWN, Location::UNKNOWN);
        let raw = RawPolicy { from: Some(text(from)), to: Some(text(to)), via: via.as_deref().map(text) };
        Self::policy(&written(&raw)?)
    }

    /// Reads an entry of this kind of name again, as an operator gave it or as [`Self::written`] wrote it.
    ///
    /// # Errors
    /// As [`Self::network`], or it is another entry than that.
    pub fn named(name: &ObjectName, text: &str) -> Result<Self, String> {
        let entry = match name {
            ObjectName::Network(_) => Self::read_network(text, MAX_WRITTEN_BYTES),
            ObjectName::Policy { .. } => Self::policy(text),
            ObjectName::Attachment(_) => Self::read_attachment(text, MAX_WRITTEN_BYTES),
        }?;
        match entry.name == *name {
            true => Ok(entry),
            false => Err(format!("it is {}, and not {name}", entry.name)),
        }
    }

    fn of(name: ObjectName, raw: Raw, most: usize) -> Result<Self, String> {
        let written = match &raw {
            Raw::Network(raw) => written(raw),
            Raw::Policy(raw) => written(raw),
            Raw::Attachment(raw) => written(raw),
        }?;
        if written.len() > most {
            let length = written.len();
            return Err(format!(
                "{name}: {length} bytes with its aliases in full; an entry has {most} at most"
            ));
        }
        Ok(Entry { name, raw, written })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    /// It as one line of JSON, which is YAML: the same text for entries that say the same in the same words.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Name of the SIR domain that a network names.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match &self.raw {
            Raw::Network(raw) => raw.value.domain.as_ref().map(|text| text.value.as_str()),
            Raw::Policy(_) | Raw::Attachment(_) => None,
        }
    }

    /// The same network in the SIR domain of this name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn in_domain(&self, domain: &str) -> Result<Self, String> {
        self.changed(|network| {
            if let Some(text) = &mut network.domain {
                domain.clone_into(&mut text.value);
            }
        })
    }

    /// The same network as those see it who have no tenants in it: without its peers and its hosts, which are for its
    /// tenants.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn from_outside(&self) -> Result<Self, String> {
        self.changed(|network| (network.peers, network.replicate_to) = (None, None))
    }

    /// Whether a network names the hosts of its copies itself.
    #[must_use]
    pub fn names_hosts(&self) -> bool {
        matches!(&self.raw, Raw::Network(raw) if raw.value.replicate_to.is_some())
    }

    /// The same network, with copies for these hosts if it names none itself.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn copied_to(&self, hosts: Vec<Locator>) -> Result<Self, String> {
        let text = |host: Locator| Spanned::new(host.to_string(), Location::UNKNOWN, Location::UNKNOWN);
        self.changed(|network| {
            if network.replicate_to.is_none() && hosts.len() > 1 {
                let hosts = hosts.into_iter().map(text).collect();
                network.replicate_to = Some(Spanned::new(hosts, Location::UNKNOWN, Location::UNKNOWN));
            }
        })
    }

    /// Whether its VNID is to be chosen.
    #[must_use]
    pub fn wants_vnid(&self) -> bool {
        matches!(&self.raw, Raw::Network(raw) if raw.value.vnid.as_ref().is_some_and(|text| text.value == AUTO))
    }

    /// The same network with this VNID.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn with_vnid(&self, vnid: u32) -> Result<Self, String> {
        self.changed(|network| {
            if let Some(text) = &mut network.vnid {
                text.value = vnid.to_string();
            }
        })
    }

    /// Whether its addresses are to be chosen.
    #[must_use]
    pub fn wants_addresses(&self) -> bool {
        matches!(&self.raw, Raw::Attachment(raw) if texts(&raw.value.addresses).any(|text| text == AUTO))
    }

    /// Whether its tenant gets an address when it asks by RARP.
    #[must_use]
    pub fn asks_by_rarp(&self) -> bool {
        matches!(&self.raw, Raw::Attachment(raw) if texts(&raw.value.addresses).any(|text| text == ON_RARP))
    }

    /// The addresses that its tenant was allocated when it asked by RARP: those behind that word.
    #[must_use]
    pub fn allocated(&self) -> Vec<IpAddr> {
        let Raw::Attachment(raw) = &self.raw else { return Vec::new() };
        let behind = texts(&raw.value.addresses).skip_while(|text| *text != ON_RARP);
        behind.filter_map(|text| text.parse().ok()).collect()
    }

    /// The addresses of a tenant.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let of = |claim| match claim {
            Claim::Tenant(_, address) => Some(address),
            Claim::Task(_) => None,
        };
        self.claims().into_iter().filter_map(of).collect()
    }

    /// The same attachment, whose tenant asks by RARP and was allocated these of its addresses and no others.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn with_allocated(&self, allocated: &[IpAddr]) -> Result<Self, String> {
        let mut raw = self.raw.clone();
        if let Raw::Attachment(attachment) = &mut raw
            && let Some(list) = &mut attachment.value.addresses
        {
            let is_allocated = |text: &str| text.parse().is_ok_and(|address| allocated.contains(&address));
            list.value.retain(|text| text.value != ON_RARP && !is_allocated(&text.value));
            let behind = std::iter::once(ON_RARP.to_owned()).chain(allocated.iter().map(IpAddr::to_string));
            let text = |text: String| Spanned::new(text, list.referenced, list.defined);
            list.value.extend(behind.map(text).collect::<Vec<_>>());
        }
        Self::of(self.name.clone(), raw, MAX_WRITTEN_BYTES)
    }

    /// Whether it names an IPv4 address of its tenant.
    #[must_use]
    pub fn has_ipv4(&self) -> bool {
        self.claims().iter().any(|claim| matches!(claim, Claim::Tenant(_, IpAddr::V4(_))))
    }

    /// The same attachment with these addresses besides, where some are to be chosen.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn with_addresses(&self, chosen: &[IpAddr]) -> Result<Self, String> {
        let mut raw = self.raw.clone();
        if let Raw::Attachment(attachment) = &mut raw
            && let Some(list) = &mut attachment.value.addresses
        {
            // Who asks by RARP goes on doing so: with that word operators see where the addresses came from.
            list.value.retain(|text| text.value != AUTO);
            let text = |address: &IpAddr| Spanned::new(address.to_string(), list.referenced, list.defined);
            list.value.extend(chosen.iter().map(text).collect::<Vec<_>>());
        }
        Self::of(self.name.clone(), raw, MAX_WRITTEN_BYTES)
    }

    /// Whether the gateway of a policy is to be chosen.
    #[must_use]
    pub fn wants_gateway(&self) -> bool {
        matches!(&self.raw, Raw::Policy(raw) if word(&raw.value.via) == Some(AUTO))
    }

    /// The same policy through this gateway.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn through(&self, gateway: Locator) -> Result<Self, String> {
        let mut raw = self.raw.clone();
        if let Raw::Policy(policy) = &mut raw {
            policy.value.via = Some(Spanned::new(gateway.to_string(), Location::UNKNOWN, Location::UNKNOWN));
        }
        Self::of(self.name.clone(), raw, MAX_WRITTEN_BYTES)
    }

    /// The same attachment at another port, with this VLAN or without one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn placed(&self, port: &str, vlan: Option<u16>) -> Result<Self, String> {
        let mut raw = self.raw.clone();
        if let Raw::Attachment(attachment) = &mut raw {
            let text = |text: String| Some(Spanned::new(text, Location::UNKNOWN, Location::UNKNOWN));
            attachment.value.port = text(port.to_owned());
            attachment.value.vlan = vlan.and_then(|vlan| text(vlan.to_string()));
        }
        Self::of(self.name.clone(), raw, MAX_WRITTEN_BYTES)
    }

    /// The subnets and the prefix of a network, with their gateways.
    #[must_use]
    pub fn room(&self) -> Vec<Room> {
        let Raw::Network(raw) = &self.raw else { return Vec::new() };
        let ipv4 = raw.value.ipv4.iter().flat_map(|list| &list.value).filter_map(|subnet| {
            let prefix: Ipv4Prefix = word(&subnet.value.prefix)?.parse().ok()?;
            let gateway = word(&subnet.value.gateway).and_then(|text| text.parse().ok());
            Some(Room::V4 { prefix, gateway })
        });
        let ipv6 = raw.value.ipv6.iter().filter_map(|ipv6| {
            let prefix: Ipv6Prefix = word(&ipv6.value.prefix)?.parse().ok()?;
            let gateway = word(&ipv6.value.gateway).and_then(|text| text.parse().ok());
            Some(Room::V6 { prefix, gateway })
        });
        ipv4.chain(ipv6).collect()
    }

    /// The IPv4 addresses of a network that stand for peers.
    #[must_use]
    pub fn peers(&self) -> Vec<Ipv4Addr> {
        let Raw::Network(raw) = &self.raw else { return Vec::new() };
        let peers = raw.value.peers.iter().flat_map(|list| &list.value);
        peers.filter_map(|peer| peer.value.address.as_ref()?.value.parse().ok()).collect()
    }

    fn changed(&self, change: impl FnOnce(&mut RawNetwork)) -> Result<Self, String> {
        let mut raw = self.raw.clone();
        if let Raw::Network(network) = &mut raw {
            change(&mut network.value);
        }
        Self::of(self.name.clone(), raw, MAX_WRITTEN_BYTES)
    }

    /// Names of the networks that it refers to: those of a policy's ends, a tenant's own, those of a network's peers.
    #[must_use]
    pub fn networks(&self) -> Vec<&str> {
        match &self.raw {
            Raw::Policy(raw) => {
                let ends = [&raw.value.from, &raw.value.to].into_iter().flatten();
                ends.map(|text| text.value.as_str())
                    .filter(|end| *end != OUTSIDE && !end.contains(':'))
                    .collect()
            }
            Raw::Attachment(raw) => raw.value.network.iter().map(|text| text.value.as_str()).collect(),
            Raw::Network(raw) => {
                let peers = raw.value.peers.iter().flat_map(|list| &list.value);
                let other = peers.filter_map(|peer| match &peer.value.to.as_ref()?.value {
                    RawPeerTo::Tenant(tenant) => tenant.network.as_ref().map(|text| text.value.as_str()),
                    RawPeerTo::Task(_) => None,
                });
                other.collect()
            }
        }
    }

    /// What belongs to this attachment and to no other.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let Raw::Attachment(raw) = &self.raw else { return Vec::new() };
        let tasks = texts(&raw.value.identifiers).filter_map(|text| text.parse().ok()).map(Claim::Task);
        let Some(network) = &raw.value.network else { return tasks.collect() };
        let address = |text: &str| Some(Claim::Tenant(network.value.clone(), text.parse().ok()?));
        tasks.chain(texts(&raw.value.addresses).filter_map(address)).collect()
    }

    /// The MAC address of a tenant's attachment.
    #[must_use]
    pub fn tenant_mac(&self) -> Option<Mac> {
        let Raw::Attachment(raw) = &self.raw else { return None };
        raw.value.network.as_ref()?;
        word(&raw.value.mac)?.parse().ok()
    }

    /// The MAC address of a network's gateway.
    #[must_use]
    pub fn gateway_mac(&self) -> Option<Mac> {
        let Raw::Network(raw) = &self.raw else { return None };
        word(&raw.value.mac).map_or(Some(ROUTER_MAC), |text| text.parse().ok())
    }

    /// The port of an attachment.
    pub(super) fn port(&self) -> Option<&str> {
        match &self.raw {
            Raw::Attachment(raw) => raw.value.port.as_ref().map(|text| text.value.as_str()),
            Raw::Network(_) | Raw::Policy(_) => None,
        }
    }

    /// What lists show of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.value.clone());
        let some = |field: &Option<Text>| text(field).unwrap_or_default();
        match &self.raw {
            Raw::Network(raw) => {
                let raw = &raw.value;
                let ipv6 = raw.ipv6.iter().filter_map(|ipv6| text(&ipv6.value.prefix));
                let ipv4 = raw.ipv4.iter().flat_map(|list| &list.value);
                let ipv4 = ipv4.filter_map(|subnet| text(&subnet.value.prefix));
                Summary {
                    vnid: some(&raw.vnid),
                    domain: some(&raw.domain),
                    prefixes: ipv6.chain(ipv4).collect(),
                    ..Summary::default()
                }
            }
            Raw::Policy(raw) => Summary { via: text(&raw.value.via), ..Summary::default() },
            Raw::Attachment(raw) => {
                let raw = &raw.value;
                Summary {
                    port: some(&raw.port),
                    vlan: text(&raw.vlan),
                    mac: some(&raw.mac),
                    network: text(&raw.network),
                    addresses: texts(&raw.addresses)
                        .chain(texts(&raw.identifiers))
                        .map(str::to_owned)
                        .collect(),
                    ..Summary::default()
                }
            }
        }
    }
}

fn word(text: &Option<Text>) -> Option<&str> {
    text.as_ref().map(|text| text.value.as_str())
}

fn texts(list: &List<String>) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|list| &list.value).map(|text| text.value.as_str())
}

fn read<T: for<'t> serde::Deserialize<'t>>(
    text: &str,
    what: &str,
    most: usize,
) -> Result<Spanned<T>, String> {
    if text.len() > most {
        return Err(format!("{what}: {} bytes; an entry has {most} at most", text.len()));
    }
    yaml::read(text, what).map_err(|errors| errors.to_string())
}

fn written<T: Serialize>(raw: &T) -> Result<String, String> {
    serde_json::to_string(raw).map_err(|why| format!("it cannot be written: {why}"))
}

fn name(text: &Option<Text>, at: Location, example: &str) -> Result<String, String> {
    let mut check = Check::new("");
    match check.scope("", at).name("name", text, example, WORD) {
        Some(name) => Ok(name),
        None => {
            let errors = check.errors().into_iter();
            Err(errors.map(|(_, error)| format!("name: {}", error.message)).collect())
        }
    }
}

/// Whether an end of a policy is one word of a network's name, an address or a prefix.
fn is_end(text: &str) -> bool {
    let is_good = |c: u8| WORD.0(c) || matches!(c, b':' | b'/');
    !text.is_empty() && text.len() <= MAX_WORD_BYTES && text.bytes().all(is_good)
}
