//! The plainest shape of a mapping file, read line by line without a YAML parser.
//!
//! Only `mappings:`, blank lines, comments and lines of exactly this shape are known here:
//!
//! ```yaml
//!   - {sir: "2001:db8:dddd:0:2000::1", locators: ["fd00:1:0:2::/64", "fd00:1:0:3::/64"]}
//!   - {sir: "2001:db8:dddd:0:2000::2", blackhole: true}
//! ```
//!
//! Anything else, right or wrong, is `None`: the YAML parser then reads the file from its beginning.

use super::super::check::{Domains, judge_identifier, judge_remote_locator};
use super::super::model::{Config, LocalIdentifier};
use super::location::{locals, mapped};
use super::written::WrittenMapping;
use crate::ila::Locator;
use crate::mapping::{LocatorChoice, MappingRecord, MappingTarget, max_locators};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;

/// Reads the whole file, or nothing.
pub(super) fn read(text: &str, config: &Config) -> Option<Vec<MappingRecord>> {
    let domains = Domains { list: config.sir_domains.clone(), complete: true };
    let own: HashSet<LocalIdentifier> = locals(config).map(|(_, local)| local).collect();
    let mapped = mapped(config);
    let room = text.len() / 64;
    let mut identifiers: HashSet<LocalIdentifier, RandomState> =
        HashSet::with_capacity_and_hasher(room, RandomState::default());
    let mut locators: HashMap<Locator, u8, RandomState> = HashMap::default();
    let in_use = config.locators_in_use();
    let mut records = Vec::with_capacity(room);
    for line in lines(text)? {
        let (sir, list) = split(line)?;
        let local = judge_identifier(sir, &domains).ok()??;
        if !identifiers.insert(local) || mapped.contains(&local) {
            return None;
        }
        if let Some(zero_alias) =
            local.identifier.zero_alias().filter(|_| domains.has_zero_aliases(local.domain))
        {
            let zero_alias = LocalIdentifier { identifier: zero_alias, ..local };
            if identifiers.contains(&zero_alias) || own.contains(&zero_alias) {
                return None;
            }
        }
        let target = if let Some(list) = list {
            let mut choices: Vec<LocatorChoice> = Vec::with_capacity(1);
            for text in list.split(BETWEEN) {
                let locator: Locator = text.parse().ok()?;
                // A locator that was met in this domain has passed the rules already.
                match locators.get(&locator) {
                    Some(domain) if *domain == local.domain => {}
                    Some(_) => return None,
                    None => {
                        judge_remote_locator(locator, local.domain, &domains, &config.locators).ok()?;
                        if in_use.get(&locator).is_some_and(|domain| *domain != local.domain) {
                            return None;
                        }
                        locators.insert(locator, local.domain);
                    }
                }
                if choices.len() == max_locators(local.identifier)
                    || choices.iter().any(|choice| choice.locator == locator)
                {
                    return None;
                }
                choices.push(LocatorChoice { locator, priority: 0, weight: 1 });
            }
            MappingTarget::Locators(choices)
        } else {
            MappingTarget::Blackhole
        };
        records.push(MappingRecord { domain: local.domain, identifier: local.identifier, target });
    }
    (!records.is_empty()).then_some(records)
}

/// Reads the whole file without judging what it says, or nothing.
pub(super) fn written(text: &str) -> Option<Vec<WrittenMapping>> {
    let mut list = Vec::new();
    for line in lines(text)? {
        let (sir, locators) = split(line)?;
        sir.parse::<Ipv6Addr>().ok()?;
        let mut choices = Vec::with_capacity(1);
        for text in locators.into_iter().flat_map(|list| list.split(BETWEEN)) {
            choices.push(LocatorChoice { locator: text.parse().ok()?, priority: 0, weight: 1 });
        }
        list.push(WrittenMapping { sir: sir.to_owned(), locators: choices, blackhole: locators.is_none() });
    }
    (!list.is_empty()).then_some(list)
}

/// What stands between two locators.
const BETWEEN: &str = "\", \"";

/// The lines with mappings.
fn lines(text: &str) -> Option<impl Iterator<Item = &str>> {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    (lines.next()? == "mappings:").then_some(lines)
}

/// SIR address and locators of one line; no locators for a blackhole.
fn split(line: &str) -> Option<(&str, Option<&str>)> {
    let (sir, rest) = line.strip_prefix("  - {sir: \"")?.split_once('"')?;
    if rest == ", blackhole: true}" {
        return Some((sir, None));
    }
    Some((sir, Some(rest.strip_prefix(", locators: [\"")?.strip_suffix("\"]}")?)))
}
