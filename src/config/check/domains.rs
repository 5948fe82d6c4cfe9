//! Rules of SIR domains and of our own locators.

use super::super::model::{OnMiss, OwnLocator, SirDomain};
use super::super::raw::{RawConfig, Text};
use super::rules::{Domains, Locators, ROUTER_MAC};
use super::scope::{Check, Scope, Seen, WORD, entries, unicast_mac};
use crate::ila::{ChecksumMode, Identifier, Locator, SirPrefix};
use crate::net::vxlan::MAX_VNI;

/// Most SIR domains of a node.
const MAX_DOMAINS: usize = 16;

impl Domains {
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
                let message = "`query` is no rule for the packet; write route or drop, and `nva.mode: cache` to ask the authority";
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
        let router_mac = match &domain.router_mac {
            Some(_) => unicast_mac(&mut s, "router_mac", &domain.router_mac),
            None => Some(ROUTER_MAC),
        };
        let vni = domain.vni.as_ref().and_then(|text| s.within("vni", text, 0..=MAX_VNI));
        match (name, prefix, router_mac) {
            (Some(name), Some(prefix), Some(router_mac)) => {
                let domain = SirDomain {
                    name,
                    prefix,
                    checksum,
                    on_miss,
                    skip_unchecked,
                    expected_mappings,
                    router_mac,
                    vni,
                };
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
