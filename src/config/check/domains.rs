//! Rules of SIR domains, locators and identifiers.

use super::super::model::{LocalIdentifier, OnMiss, OwnLocator, SirDomain};
use super::super::raw::{RawConfig, Text};
use super::entries;
use super::groups::judge_group_identifier;
use super::scope::{Check, Scope, Seen, WORD};
use crate::ila::group;
use crate::ila::identifier::{C_BIT, MAX_VNID};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, Locator, SirPrefix};
use std::net::Ipv6Addr;

/// Most SIR domains of a node.
const MAX_DOMAINS: usize = 16;

/// The SIR domains that could be read.
pub(crate) struct Domains {
    pub(crate) list: Vec<SirDomain>,
    /// Whether the list has all domains that the file means, so that one that is not found is not there.
    pub(crate) complete: bool,
}

impl Domains {
    /// Index of the domain whose SIR prefix is the upper half of `address`.
    pub(crate) fn of(&self, address: u128) -> Option<u8> {
        let half = (address >> 64) as u64;
        self.list.iter().position(|domain| domain.prefix.0 == half).map(|n| n as u8)
    }

    /// Index of the domain called `name`.
    fn named(&self, name: &str) -> Option<u8> {
        self.list.iter().position(|domain| domain.name == name).map(|n| n as u8)
    }

    /// The domain that a required key names; reports a name that is not there.
    pub(super) fn required(&self, s: &mut Scope<'_>, field: &Option<Text>) -> Option<u8> {
        let text = s.required("domain", field, "tasks")?;
        let domain = self.named(&text.value);
        if domain.is_none() && self.complete {
            let message = format!("`{}` is not the name of a SIR domain; add it to sir_domains", text.value);
            s.error("domain", text.referenced, message);
        }
        domain
    }

    /// Whether two identifiers of a domain can be twins on the wire.
    pub(crate) fn has_twins(&self, domain: u8) -> bool {
        self.list.get(domain as usize).is_some_and(|domain| domain.checksum.changes_identifier())
    }
}

/// Our own locators that could be read.
pub(crate) struct Locators {
    pub(crate) list: Vec<OwnLocator>,
    pub(crate) complete: bool,
}

pub(super) fn domains(check: &mut Check, raw: &RawConfig) -> Domains {
    let mut domains = Domains { list: Vec::new(), complete: true };
    let (mut names, mut prefixes) = (Seen::new(), Seen::new());
    for (n, entry) in entries(&raw.sir_domains) {
        let domain = &entry.value;
        let mut s = check.scope(format!("sir_domains[{n}]"), entry.referenced);
        if n == MAX_DOMAINS {
            s.error_here("", format!("more than {MAX_DOMAINS} domains; a node serves at most {MAX_DOMAINS}"));
            domains.complete = false;
            break;
        }
        let name = s.name("name", &domain.name, "tasks", WORD);
        if let (Some(name), Some(text)) = (&name, &domain.name)
            && let Some(before) = names.before(name.clone(), &s.key("name"), text.referenced)
        {
            s.error("name", text.referenced, format!("`{name}` is already {before}; names are unique"));
        }
        let prefix: Option<SirPrefix> = s.value("prefix", &domain.prefix, "\"2001:db8:dddd::/64\"");
        if let (Some(prefix), Some(text)) = (prefix, &domain.prefix)
            && let Some(before) = prefixes.before(prefix, &s.key("prefix"), text.referenced)
        {
            let message =
                format!("overlapping SIR prefixes: {prefix} is already {before}; give each domain its own");
            s.error("prefix", text.referenced, message);
        }
        let modes = ChecksumMode::ALL.map(|mode| (mode.name(), mode));
        let checksum = s.choice("checksum", &domain.checksum, &modes, ChecksumMode::default());
        let on_miss = match &domain.on_miss {
            Some(text) if text.value == "query" => {
                let message =
                    "`query` needs an authority to ask, which this release has not; write drop or route";
                s.error("on_miss", text.referenced, message);
                OnMiss::Drop
            }
            field => {
                s.choice("on_miss", field, &[("drop", OnMiss::Drop), ("route", OnMiss::Route)], OnMiss::Drop)
            }
        };
        let skip_unchecked = s.flag("skip_unchecked", &domain.skip_unchecked, false);
        if let Some(text) =
            domain.skip_unchecked.as_ref().filter(|_| skip_unchecked && checksum != ChecksumMode::NeutralMap)
        {
            let mode = checksum.name();
            let message =
                format!("`true` has no effect with checksum {mode}; write neutral-map there, or false");
            s.error("skip_unchecked", text.referenced, message);
        }
        let expected_mappings =
            s.number("expected_mappings", &domain.expected_mappings, 1..=100_000_000, 1024);
        match (name, prefix) {
            (Some(name), Some(prefix)) => {
                let domain = SirDomain { name, prefix, checksum, on_miss, skip_unchecked, expected_mappings };
                domains.list.push(domain);
            }
            _ => domains.complete = false,
        }
    }
    domains
}

pub(super) fn locators(check: &mut Check, raw: &RawConfig, domains: &Domains) -> Locators {
    let mut locators = Locators { list: Vec::new(), complete: true };
    let mut seen = Seen::new();
    for (n, entry) in entries(&raw.locators) {
        let mut s = check.scope(format!("locators[{n}]"), entry.referenced);
        let prefix: Option<Locator> = s.value("prefix", &entry.value.prefix, "\"fd00:1:0:1::/64\"");
        let domain = domains.required(&mut s, &entry.value.domain);
        if let (Some(prefix), Some(text)) = (prefix, &entry.value.prefix) {
            if let Some(sir) =
                domains.of(prefix.with(Identifier(0))).and_then(|d| domains.list.get(d as usize))
            {
                let message = format!(
                    "{prefix} is the SIR prefix of domain {}; a locator must not be a SIR prefix",
                    sir.name
                );
                s.error("prefix", text.referenced, message);
            }
            if let Some(before) = seen.before(prefix, &s.key("prefix"), text.referenced) {
                let message =
                    format!("{prefix} is already {before}; a locator belongs to exactly one SIR domain");
                s.error("prefix", text.referenced, message);
            }
        }
        match (prefix, domain) {
            (Some(prefix), Some(domain)) => locators.list.push(OwnLocator { prefix, domain }),
            _ => locators.complete = false,
        }
    }
    locators
}

/// Reads an identifier that is written as its SIR address: under a SIR prefix, types 1 to 3, C-bit 0.
///
/// `Ok(None)`: the domains of the file are themselves wrong, so there is nothing to judge against.
pub(crate) fn judge_identifier(text: &str, domains: &Domains) -> Result<Option<LocalIdentifier>, String> {
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        return Err(format!("`{text}` is not an IPv6 address; write the SIR address of the identifier"));
    };
    let identifier = Identifier::of_address(address.into());
    let wrong_type = match identifier.kind() {
        IdentifierType::LocallyUnique
        | IdentifierType::TenantIpv4
        | IdentifierType::TenantIpv6
        | IdentifierType::TenantMulticast => None,
        IdentifierType::Interface => Some("is never translated"),
        IdentifierType::Reserved(_) => Some("is reserved"),
    };
    let Some(domain) = domains.of(address.into()) else {
        if !domains.complete {
            return Ok(None);
        }
        return Err(format!("{address} lies under no SIR prefix; add its /64 to sir_domains or correct it"));
    };
    if let Some(why) = wrong_type {
        let kind = identifier.kind().bits();
        return Err(format!(
            "{address} has identifier type {kind}, which {why}; use type 1, for example 2000:0:0:1"
        ));
    }
    if identifier.neutral() {
        let clear = Ipv6Addr::from(u128::from(address) & !u128::from(C_BIT));
        return Err(format!(
            "{address} has the C-bit set, which is always 0 in a SIR address; write {clear}"
        ));
    }
    if identifier.vnid() == Some(0) {
        return Err(format!("{address} has VNID 0, which no virtual network has; write 1 to {MAX_VNID}"));
    }
    if group::is_group(identifier) {
        judge_group_identifier(identifier, domains.has_twins(domain))
            .map_err(|why| format!("{address} {why}"))?;
    }
    Ok(Some(LocalIdentifier { domain, identifier }))
}

/// Judges a locator that identifiers of `domain` map to, against the SIR prefixes and our own locators.
pub(crate) fn judge_remote_locator(
    locator: Locator,
    domain: u8,
    domains: &Domains,
    own: &[OwnLocator],
) -> Result<(), String> {
    if let Some(sir) = domains.of(locator.with(Identifier(0))).and_then(|d| domains.list.get(d as usize)) {
        let name = &sir.name;
        return Err(format!(
            "{locator} is the SIR prefix of domain {name}; a locator must not be a SIR prefix"
        ));
    }
    match own.iter().find(|own| own.prefix == locator && own.domain != domain) {
        Some(_) => Err(format!(
            "{locator} is our own locator of another domain; a locator belongs to exactly one SIR domain"
        )),
        None => Ok(()),
    }
}
