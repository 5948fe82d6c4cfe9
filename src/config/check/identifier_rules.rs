//! Which identifiers an attachment has: a task's own, or those of a tenant's addresses in its virtual
//! network.

use super::super::model::{LocalIdentifier, TenantAddress, VirtualNetwork};
use super::super::raw::{ON_RARP, RawAttachment, Text};
use super::groups::groups;
use super::networks::Networks;
use super::peers::Peers;
use super::rules::{Domains, Locators, judge_address, judge_identifier};
use super::scope::{Scope, Seen, entries};
use crate::ila::IdentifierType;
use crate::net::Mac;
use std::collections::HashMap;

/// The identifiers that were met so far.
#[derive(Debug, Default)]
pub(super) struct IdentifiersMet {
    seen: Seen<LocalIdentifier>,
    /// A domain of the tasks on each port, and how many tasks there are. Others there have the same router.
    task_domains: HashMap<u16, (u8, usize)>,
}

impl IdentifiersMet {
    /// An attachment with these identifiers is there no longer.
    pub(super) fn forget(&mut self, port: u16, is_task: bool, identifiers: &[LocalIdentifier]) {
        identifiers.iter().for_each(|local| self.seen.forget(local));
        if let Some((_, count)) = self.task_domains.get_mut(&port).filter(|_| is_task) {
            *count -= 1;
            if *count == 0 {
                self.task_domains.remove(&port);
            }
        }
    }
}

/// What identifiers are judged by.
#[derive(Clone, Copy)]
pub(super) struct IdentifierRules<'c> {
    domains: &'c Domains,
    locators: &'c Locators,
    networks: &'c Networks,
    peers: &'c Peers,
}

impl<'c> IdentifierRules<'c> {
    pub(super) fn new(
        domains: &'c Domains,
        locators: &'c Locators,
        networks: &'c Networks,
        peers: &'c Peers,
    ) -> Self {
        IdentifierRules { domains, locators, networks, peers }
    }

    /// A network without errors.
    pub(super) fn network(self, place: Option<u16>) -> Option<&'c VirtualNetwork> {
        let place = usize::from(place?);
        self.networks.list.get(place).filter(|_| self.networks.whole.get(place) == Some(&true))
    }

    /// Network, addresses and identifiers of one attachment.
    pub(super) fn of(
        self,
        s: &mut Scope<'_>,
        raw: &RawAttachment,
        (port, mac): (Option<u16>, Option<Mac>),
        met: &mut IdentifiersMet,
    ) -> (Option<u16>, Vec<TenantAddress>, Vec<LocalIdentifier>) {
        if raw.network.is_none() && raw.addresses.is_none() {
            let identifiers = self.task(s, raw, met);
            self.judge_router(s, raw, (port, mac), &identifiers, met);
            return (None, Vec::new(), identifiers);
        }
        if let Some(identifiers) = &raw.identifiers {
            let message = "a task has identifiers, a tenant has network and addresses; remove one of the two";
            s.error("identifiers", identifiers.referenced, message);
        }
        if raw.addresses.as_ref().is_none_or(|list| list.value.is_empty()) {
            let message = "missing; name at least one address of the tenant, for example \"10.0.0.5\"";
            match &raw.addresses {
                Some(empty) => s.error("addresses", empty.referenced, message),
                None => s.error_here("addresses", message),
            }
        }
        let network = s.required("network", &raw.network, "red");
        let place = network.and_then(|text| self.networks.named(s, "network", text));
        let (addresses, identifiers) = match place {
            Some(place) => self.tenant(s, raw, (usize::from(place), mac), met),
            None => (Vec::new(), Vec::new()),
        };
        (place, addresses, identifiers)
    }

    /// The groups of one attachment of a network.
    pub(super) fn groups(
        self,
        s: &mut Scope<'_>,
        raw: &RawAttachment,
        network: Option<u16>,
    ) -> Vec<TenantAddress> {
        let place = network.map(usize::from);
        if let (None, Some(list)) = (&raw.network, &raw.groups) {
            s.error(
                "groups",
                list.referenced,
                "a task is in no groups; remove them, or write network and addresses",
            );
        }
        match place.and_then(|place| Some((self.networks.list.get(place)?, self.networks.whole.get(place)?)))
        {
            Some((network, true)) => groups(s, raw, network, self.domains.has_zero_aliases(network.domain)),
            _ => Vec::new(),
        }
    }

    /// The identifiers of a task.
    fn task(self, s: &mut Scope<'_>, raw: &RawAttachment, met: &mut IdentifiersMet) -> Vec<LocalIdentifier> {
        if raw.identifiers.as_ref().is_none_or(|list| list.value.is_empty()) {
            let message = "missing; name at least one SIR address, for example \
                \"2001:db8:dddd:0:2000::1\", or \
                           network and addresses of a tenant";
            match &raw.identifiers {
                Some(empty) => s.error("identifiers", empty.referenced, message),
                None => s.error_here("identifiers", message),
            }
        }
        let mut list = Vec::new();
        for (n, text) in entries(&raw.identifiers) {
            let key = format!("identifiers[{n}]");
            match of_task(&text.value, self.domains) {
                Ok(Some(local)) if self.take(s, &key, text, (local, "identifier"), met) => list.push(local),
                Ok(_) => {}
                Err(message) => s.error(&key, text.referenced, message),
            }
        }
        list
    }

    /// The tasks of a port see one router, and none of them has its MAC address.
    fn judge_router(
        self,
        s: &mut Scope<'_>,
        raw: &RawAttachment,
        (port, mac): (Option<u16>, Option<Mac>),
        identifiers: &[LocalIdentifier],
        met: &mut IdentifiersMet,
    ) {
        if let (Some(port), Some(local)) = (port, identifiers.first()) {
            met.task_domains.entry(port).or_insert((local.domain, 0)).1 += 1;
        }
        for (n, local) in identifiers.iter().enumerate() {
            let Some(domain) = self.domains.list.get(usize::from(local.domain)) else { continue };
            let (router, name) = (domain.router_mac, &domain.name);
            if let Some(text) = raw.mac.as_ref().filter(|_| mac == Some(router)) {
                let message = format!("{router} is router_mac of domain {name}; write the task's own");
                return s.error("mac", text.referenced, message);
            }
            let Some(port) = port else { continue };
            let Some((first, _)) = met.task_domains.get(&port).copied() else { continue };
            let Some(first) = self.domains.list.get(usize::from(first)) else { continue };
            if let Some(text) = raw.identifiers.as_ref().filter(|_| first.router_mac != router) {
                let message = format!(
                    "its domain {name} has router_mac {router}, and domain {} of other tasks on the port has {}; write \
                     the same router_mac, or use another port",
                    first.name, first.router_mac
                );
                return s.error(&format!("identifiers[{n}]"), text.referenced, message);
            }
        }
    }

    /// Addresses and identifiers of a tenant.
    fn tenant(
        self,
        s: &mut Scope<'_>,
        raw: &RawAttachment,
        (place, mac): (usize, Option<Mac>),
        met: &mut IdentifiersMet,
    ) -> (Vec<TenantAddress>, Vec<LocalIdentifier>) {
        let (mut addresses, mut identifiers) = (Vec::new(), Vec::new());
        let Some(network) = self.networks.list.get(place) else { return (addresses, identifiers) };
        if self.networks.whole.get(place) != Some(&true) {
            return (addresses, identifiers);
        }
        if let Some(text) = raw.mac.as_ref().filter(|_| mac == Some(network.mac)) {
            let (mac, name) = (network.mac, &network.name);
            let message = format!("{mac} is that of the gateway of network {name}; write the tenant's own");
            s.error("mac", text.referenced, message);
        }
        for (n, text) in entries(&raw.addresses) {
            let key = format!("addresses[{n}]");
            if text.value == ON_RARP {
                self.judge_on_rarp(s, (&key, text), network);
                continue;
            }
            match judge_address(&text.value, network) {
                Ok((address, identifier)) => {
                    if let TenantAddress::V4(mapped) = address
                        && let Some(peer) = self.peers.place(&(place as u16, mapped))
                    {
                        let message =
                            format!("`{}` is already {peer}; a peer's address is nobody else's", text.value);
                        s.error(&key, text.referenced, message);
                    }
                    let local = LocalIdentifier { domain: network.domain, identifier };
                    if self.take(s, &key, text, (local, "address"), met) {
                        addresses.push(address);
                        identifiers.push(local);
                    }
                }
                Err(message) => s.error(&key, text.referenced, message),
            }
        }
        (addresses, identifiers)
    }

    /// Whether the tenant may get addresses when it asks by RARP.
    fn judge_on_rarp(self, s: &mut Scope<'_>, (key, text): (&str, &Text), network: &VirtualNetwork) {
        if !s.is_appended() {
            let message = "only an authority allocates addresses; name the tenant's, or make the attachment there: \
                           ilactl nva attachment add";
            return s.error(key, text.referenced, message);
        }
        if network.ipv4.is_empty() {
            let message = format!(
                "network {} has no IPv4 subnet, and RARP asks for an IPv4 address; add one, or write auto",
                network.name
            );
            return s.error(key, text.referenced, message);
        }
        self.judge_locator(s, (key, text), network.domain);
    }

    /// Whether this node has a locator in a domain.
    fn judge_locator(self, s: &mut Scope<'_>, (key, text): (&str, &Text), domain: u8) {
        if self.locators.complete && !self.locators.list.iter().any(|own| own.domain == domain) {
            let domain = self.domains.list.get(usize::from(domain));
            let name = domain.map_or("", |domain| domain.name.as_str());
            let message = format!(
                "`{}` is in domain {name}, where this node has no locator; add one to locators",
                text.value
            );
            s.error(key, text.referenced, message);
        }
    }

    /// Takes an identifier for an attachment: neither it nor its zero alias is another attachment's, and
    /// its domain has a locator. Says whether it was new; `what` is the word for it in messages.
    fn take(
        self,
        s: &mut Scope<'_>,
        key: &str,
        text: &Text,
        (local, what): (LocalIdentifier, &str),
        met: &mut IdentifiersMet,
    ) -> bool {
        if let Some(before) = met.seen.before(local, &s.key(key), text.referenced) {
            let message = format!("`{}` is already {before}; an {what} has one attachment", text.value);
            s.error(key, text.referenced, message);
            return false;
        }
        let zero_alias =
            local.identifier.zero_alias().filter(|_| self.domains.has_zero_aliases(local.domain));
        let zero_alias = zero_alias
            .and_then(|zero_alias| met.seen.place(&LocalIdentifier { identifier: zero_alias, ..local }));
        if let Some(before) = zero_alias {
            let message = format!(
                "`{}` is the twin of {before}: neutral mapping cannot tell them apart; use another {what}",
                text.value
            );
            s.error(key, text.referenced, message);
        }
        self.judge_locator(s, (key, text), local.domain);
        true
    }
}

/// Whether a tenant gets addresses when it asks by RARP.
pub(super) fn asks_by_rarp(raw: &RawAttachment) -> bool {
    entries(&raw.addresses).any(|(_, text)| text.value == ON_RARP)
}

/// Judges the SIR address of a task's identifier.
fn of_task(text: &str, domains: &Domains) -> Result<Option<LocalIdentifier>, String> {
    let local = judge_identifier(text, domains)?;
    match local.map(|local| local.identifier.kind()) {
        Some(IdentifierType::LocallyUnique) | None => Ok(local),
        Some(kind) => Err(format!(
            "{text} has identifier type {}, which is a tenant's address; write network and addresses in \
             place of \
             identifiers",
            kind.bits()
        )),
    }
}
