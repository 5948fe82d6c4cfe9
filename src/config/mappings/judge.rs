//! The mapping file through the YAML parser: every rule, each with its message.

use super::super::check::{
    Check, Domains, KeyPath, Scope, judge_address, judge_group, judge_identifier, judge_remote_locator,
};
use super::super::error::{ConfigError, ConfigErrors};
use super::super::model::{Config, LocalIdentifier, VirtualNetwork};
use super::super::raw::Text;
use super::super::yaml;
use super::location::{Location, is_mapped, locals, mapped};
use super::raw::{RawChoice, RawFile, RawMapping, choice};
use crate::ila::Locator;
use crate::mapping::group::judge_group_choices;
use crate::mapping::{LocatorChoice, MAX_LOCATORS, MappingRecord, MappingTarget, max_locators};
use foldhash::fast::RandomState;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Reads any YAML, and says what is wrong.
pub(super) fn through_yaml(
    text: &str,
    file: &str,
    config: &Config,
) -> Result<Vec<MappingRecord>, ConfigErrors> {
    let raw: RawFile = yaml::read(text, file)?;
    // As a program leaves a file that it could not write: nobody means to lose every mapping by that.
    if raw.mappings.is_none() {
        let (file, path) = (file.to_owned(), "mappings".to_owned());
        let message = "is empty; write `mappings: []` if there are none".to_owned();
        return Err(ConfigErrors::one(ConfigError { file, line: 1, column: 1, path, message }));
    }
    let mut judge = Judge {
        check: Check::new(file),
        domains: Domains { list: config.sir_domains.clone(), complete: true },
        config,
        networks: config.virtual_networks.iter().map(|network| (network.name.as_str(), network)).collect(),
        mapped: mapped(config),
        identifiers: HashMap::default(),
        locators: HashMap::default(),
        in_use: config.locators_in_use(),
    };
    for (path, local) in locals(config) {
        judge.identifiers.insert(local, Location::Local(path));
    }
    let mut records = Vec::new();
    for (n, entry) in raw.mappings.iter().flatten().enumerate() {
        records.extend(judge.record(n, entry));
    }
    judge.check.finish()?;
    Ok(records)
}

/// What is known while a file is judged.
struct Judge<'c> {
    check: Check,
    domains: Domains,
    config: &'c Config,
    networks: HashMap<&'c str, &'c VirtualNetwork, RandomState>,
    mapped: HashSet<LocalIdentifier>,
    identifiers: HashMap<LocalIdentifier, Location, RandomState>,
    /// Domain and line of the first use of each locator.
    locators: HashMap<Locator, (u8, u64), RandomState>,
    /// Those of the configuration with their domain.
    in_use: BTreeMap<Locator, u8>,
}

impl Judge<'_> {
    fn record(&mut self, n: usize, entry: &Spanned<RawMapping>) -> Option<MappingRecord> {
        let raw = &entry.value;
        let mut s = self.check.scope(KeyPath::Mapping(n), entry.referenced);
        let named = named(&mut s, raw, &self.domains, &self.networks);
        let local = named.map(|(_, _, local)| local);
        if let Some((key, text, local)) = named {
            if self.mapped.contains(&local) {
                s.error(key, text.referenced, is_mapped(local.identifier));
            }
            // The same file may serve every node, so a mapping of a local identifier is no error; one of its
            // zero alias is.
            let zero_alias =
                local.identifier.zero_alias().filter(|_| self.domains.has_zero_aliases(local.domain));
            let zero_alias = zero_alias.and_then(|zero_alias| {
                self.identifiers.get(&LocalIdentifier { identifier: zero_alias, ..local })
            });
            if let Some(before) = zero_alias {
                let message = format!(
                    "`{}` is the twin of {before}: neutral mapping cannot tell them apart; use another identifier",
                    text.value
                );
                s.error(key, text.referenced, message);
            }
            let place = Location::Entry(n, key, text.referenced.line());
            if let Some(before @ Location::Entry(..)) = self.identifiers.insert(local, place) {
                let message = format!("`{}` is already {before}; an identifier has one mapping", text.value);
                s.error(key, text.referenced, message);
            }
        }
        let blackhole = s.flag("blackhole", &raw.blackhole, false);
        let target = match (&raw.locators, blackhole) {
            (None, true) => Some(MappingTarget::Blackhole),
            (Some(list), false) => {
                let count = list.value.len();
                let most = local.map_or(MAX_LOCATORS, |local| max_locators(local.identifier));
                if !(1..=most).contains(&count) {
                    s.error("locators", list.referenced, format!("{count} locators; write 1 to {most}"));
                    return None;
                }
                let domain = local.map(|local| local.domain);
                let choices = self.choices(n, &list.value, domain);
                if let (Some(choices), Some(local)) = (&choices, local)
                    && let Err(why) = judge_group_choices(local.identifier, choices)
                {
                    let path = KeyPath::Mapping(n);
                    self.check.scope(path, entry.referenced).error("locators", list.referenced, why);
                }
                choices.map(MappingTarget::Locators)
            }
            (Some(_), true) => {
                s.error_here("", "has locators and is a blackhole; remove one of the two");
                None
            }
            (None, false) => {
                s.error_here("", "leads nowhere; write locators, or blackhole: true");
                None
            }
        };
        let local = local?;
        Some(MappingRecord { domain: local.domain, identifier: local.identifier, target: target? })
    }

    /// The locators of one mapping; `None` if one of them is wrong.
    fn choices(
        &mut self,
        n: usize,
        list: &[Spanned<RawChoice>],
        domain: Option<u8>,
    ) -> Option<Vec<LocatorChoice>> {
        let mut choices: Vec<LocatorChoice> = Vec::with_capacity(list.len());
        let mut wrong = false;
        for (m, entry) in list.iter().enumerate() {
            let mut s = self.check.scope(KeyPath::Locator(n, m), entry.referenced);
            let Some((choice, key)) = choice(&mut s, entry) else {
                wrong = true;
                continue;
            };
            let at = entry.referenced;
            if choices.iter().any(|before| before.locator == choice.locator) {
                let message =
                    format!("{} stands in this mapping twice; write its share as weight", choice.locator);
                s.error(key, at, message);
            }
            if let Some(domain) = domain {
                let own = &self.config.locators;
                if let Err(message) = judge_remote_locator(choice.locator, domain, &self.domains, own) {
                    s.error(key, at, message);
                }
                if self.in_use.get(&choice.locator).is_some_and(|other| *other != domain) {
                    let message = format!(
                        "{} stands in the configuration for another SIR domain, as replicate_to of a \
                         network or via of a \
                         policy; a locator belongs to exactly one",
                        choice.locator
                    );
                    s.error(key, at, message);
                }
                let first = *self.locators.entry(choice.locator).or_insert((domain, at.line()));
                if first.0 != domain {
                    let message = format!(
                        "{} is already used in another SIR domain (line {}); a locator belongs to exactly \
                         one",
                        choice.locator, first.1
                    );
                    s.error(key, at, message);
                }
            }
            choices.push(choice);
        }
        (!wrong).then_some(choices)
    }
}

/// What one mapping is of, with its key and text: an identifier as its SIR address, or a tenant's address.
fn named<'r>(
    s: &mut Scope<'_>,
    raw: &'r RawMapping,
    domains: &Domains,
    networks: &HashMap<&str, &VirtualNetwork, RandomState>,
) -> Option<(&'static str, &'r Text, LocalIdentifier)> {
    let (key, text, judged) = match (&raw.sir, &raw.network, &raw.address) {
        (sir, None, None) => {
            let text = s.required("sir", sir, "\"2001:db8:dddd:0:2000::1\"")?;
            ("sir", text, judge_identifier(&text.value, domains))
        }
        (Some(_), _, _) => {
            s.error_here("", "says twice what it maps; write sir, or network and address");
            return None;
        }
        (None, network, address) => {
            let network = s.required("network", network, "red");
            let text = s.required("address", address, "\"10.0.0.7\"");
            let (name, text) = (network?, text?);
            let Some(network) = networks.get(name.value.as_str()) else {
                let message = format!(
                    "`{}` is not the name of a virtual network; add it to virtual_networks",
                    name.value
                );
                s.error("network", name.referenced, message);
                return None;
            };
            let domain = network.domain;
            let judged = judge_group(&text.value, network, domains.has_zero_aliases(domain))
                .unwrap_or_else(|| judge_address(&text.value, network));
            ("address", text, judged.map(|(_, identifier)| Some(LocalIdentifier { domain, identifier })))
        }
    };
    match judged {
        Ok(local) => local.map(|local| (key, text, local)),
        Err(message) => {
            s.error(key, text.referenced, message);
            None
        }
    }
}
