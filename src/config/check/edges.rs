//! Rules of who may say what: what an external port admits, and which prefixes a task may send from.

use super::super::model::{External, Ingress, Role, VirtualNetwork};
use super::super::raw::{List, RawPort};
use super::rules::{Domains, Locators};
use super::scope::{Scope, Seen, entries};
use crate::net::Ipv6Prefix;
use crate::net::ipv6::{is_ipv4_in_ipv6, is_link_local, is_multicast};

/// Most prefixes of a list of exceptions.
const MAX_EXCEPTIONS: usize = 64;

/// What an external port admits.
pub(super) fn external(s: &mut Scope<'_>, port: &RawPort, role: Option<Role>) -> External {
    let Some(entry) = &port.external else { return External::default() };
    if role.is_some_and(|role| role != Role::External) {
        let message = "only an external port has it; set role: external or remove it";
        s.error("external", entry.referenced, message);
    }
    let raw = &entry.value;
    let mut s = s.below("external", entry.referenced);
    let words = [("strict", Ingress::Strict), ("open", Ingress::Open)];
    let ingress = s.choice("ingress", &raw.ingress, &words, Ingress::Strict);
    let allow_sources = unicast_prefixes(&mut s, "allow_sources", &raw.allow_sources, MAX_EXCEPTIONS);
    let allow_destinations =
        unicast_prefixes(&mut s, "allow_destinations", &raw.allow_destinations, MAX_EXCEPTIONS);
    for (key, list) in
        [("allow_sources", &raw.allow_sources), ("allow_destinations", &raw.allow_destinations)]
    {
        if let Some(list) = list.as_ref().filter(|_| ingress == Ingress::Open) {
            s.error(key, list.referenced, "ingress: open needs no exceptions; remove them, or write strict");
        }
    }
    External { ingress, allow_sources, allow_destinations }
}

/// Most prefixes of a task.
const MAX_PREFIXES: usize = 64;

/// What the prefixes of tasks must not overlap.
#[derive(Clone, Copy)]
pub(super) struct Inside<'c> {
    pub(super) domains: &'c Domains,
    pub(super) locators: &'c Locators,
    pub(super) networks: &'c [VirtualNetwork],
    pub(super) infrastructure: &'c [Ipv6Prefix],
}

/// The further prefixes that a task may send from.
pub(super) fn task_prefixes(s: &mut Scope<'_>, list: &List<String>, inside: &Inside<'_>) -> Vec<Ipv6Prefix> {
    let prefixes = unicast_prefixes(s, "prefixes", list, MAX_PREFIXES);
    for (n, text) in entries(list) {
        let Ok(prefix) = text.value.parse::<Ipv6Prefix>() else { continue };
        if let Some(other) = inside.overlapped(prefix) {
            let message = format!("{prefix} overlaps {other}; a task speaks there only by its identifiers");
            s.error(&format!("prefixes[{n}]"), text.referenced, message);
        }
    }
    prefixes
}

impl Inside<'_> {
    /// What a prefix overlaps, in words.
    fn overlapped(&self, prefix: Ipv6Prefix) -> Option<String> {
        let mut domains = self.domains.list.iter();
        let mut locators = self.locators.list.iter();
        let mut networks = self.networks.iter();
        if let Some(domain) = domains.find(|domain| prefix.overlaps(domain.prefix.prefix())) {
            return Some(format!("the SIR prefix of domain {}", domain.name));
        }
        if let Some(own) = locators.find(|own| prefix.overlaps(own.prefix.prefix())) {
            return Some(format!("locator {}", own.prefix));
        }
        if let Some(network) =
            networks.find(|network| network.ipv6.is_some_and(|ipv6| prefix.overlaps(ipv6.prefix)))
        {
            return Some(format!("the prefix of network {}", network.name));
        }
        let infrastructure = self.infrastructure.iter().find(|inside| prefix.overlaps(**inside));
        infrastructure.map(|inside| format!("infrastructure {inside}"))
    }
}

/// A list of unicast prefixes, each once.
fn unicast_prefixes(s: &mut Scope<'_>, key: &str, list: &List<String>, most: usize) -> Vec<Ipv6Prefix> {
    let (mut prefixes, mut seen) = (Vec::new(), Seen::new());
    if let Some(list) = list.as_ref().filter(|list| list.value.len() > most) {
        s.error(key, list.referenced, format!("{} prefixes; write {most} at most", list.value.len()));
        return prefixes;
    }
    for (n, text) in entries(list) {
        let key = format!("{key}[{n}]");
        let Some(prefix) = s.parse::<Ipv6Prefix>(&key, text) else { continue };
        let bits = prefix.bits();
        if is_link_local(bits) || is_multicast(bits) || prefix.length() > 0 && is_ipv4_in_ipv6(bits) {
            s.error(&key, text.referenced, format!("{prefix} is never routed; remove it"));
        } else if let Some(before) = seen.before(prefix, &s.key(&key), text.referenced) {
            s.error(&key, text.referenced, format!("{prefix} is already {before}; write it once"));
        } else {
            prefixes.push(prefix);
        }
    }
    prefixes
}
