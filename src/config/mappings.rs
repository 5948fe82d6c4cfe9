//! The mapping file: which locators the identifiers of other nodes have.
//!
//! Such files are made by programs and grow to millions of lines. Lines in the plainest shape are read directly
//! (`plain`); at the first line in any other shape, and at anything that is wrong, the whole file goes through
//! the YAML parser instead, which knows places and says what is wrong. A test holds the two against each other.

mod place;
mod plain;
mod single;

pub use single::{Rules, Written};

pub(crate) use super::check::{judge_group_choices, judge_group_identifier, max_locators};

use super::check::{
    Check, Domains, KeyPath, Scope, judge_address, judge_group, judge_identifier, judge_remote_locator,
};
use super::raw::Text;
use super::{Config, ConfigError, ConfigErrors, LocalIdentifier, VirtualNetwork, yaml};
use crate::ila::{Identifier, Locator};
use foldhash::fast::RandomState;
use place::{Place, is_mapped, locals, mapped};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

/// Most locators of one mapping.
pub const MAX_LOCATORS: usize = 16;
/// Highest weight of a locator.
pub const MAX_WEIGHT: u16 = 1000;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRecord {
    /// Index into [`Config::sir_domains`].
    pub domain: u8,
    /// The identifier, types 1 to 4, C-bit 0; the VNID of types 2 to 4 is not 0.
    pub identifier: Identifier,
    /// Where it is.
    pub target: MappingTarget,
}

/// Where an identifier is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MappingTarget {
    /// At one of these locators, 1 to 16, distinct; for a group at all of them, 1 to 256.
    Locators(Vec<LocatorChoice>),
    /// Nowhere: packets to it are dropped.
    Blackhole,
}

/// One locator of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocatorChoice {
    /// The locator.
    pub locator: Locator,
    /// The lowest priority that can be reached is used.
    pub priority: u8,
    /// Share of the flows among equal priorities, 1 to 1000.
    pub weight: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    /// `None` only if the key is not there.
    #[serde(default, deserialize_with = "present")]
    mappings: Option<Vec<Spanned<RawMapping>>>,
}

/// A list that may be left empty.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Spanned<RawMapping>>>, D::Error> {
    Option::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    sir: Option<Text>,
    network: Option<Text>,
    address: Option<Text>,
    locators: Option<Spanned<Vec<Spanned<RawChoice>>>>,
    blackhole: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeighted {
    locator: Option<Text>,
    priority: Option<Text>,
    weight: Option<Text>,
}

/// A locator alone, or with priority and weight.
enum RawChoice {
    Alone(String),
    Weighted(Box<RawWeighted>),
}

impl<'de> Deserialize<'de> for RawChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = RawChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a locator, or a mapping of locator, priority and weight")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawChoice, E> {
                Ok(RawChoice::Alone(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawChoice, A::Error> {
                RawWeighted::deserialize(MapAccessDeserializer::new(map))
                    .map(|raw| RawChoice::Weighted(Box::new(raw)))
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

/// Reads and judges a mapping file against the configuration that names it.
///
/// # Errors
/// All that is wrong with the file (the first thousand errors), or why it cannot be read.
pub fn load(path: impl AsRef<Path>, config: &Config) -> Result<Vec<MappingRecord>, ConfigErrors> {
    let path = path.as_ref();
    parse(&super::read_text(path)?, &path.display().to_string(), config)
}

/// Judges mappings that are already text; `file_name` stands in the errors.
///
/// # Errors
/// All that is wrong with the text.
pub fn parse(text: &str, file_name: &str, config: &Config) -> Result<Vec<MappingRecord>, ConfigErrors> {
    match plain::read(text, config) {
        Some(records) => Ok(records),
        None => through_yaml(text, file_name, config),
    }
}

/// One mapping as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenMapping {
    /// SIR address.
    pub sir: String,
    /// Where it is; what the file leaves out has its default.
    pub locators: Vec<LocatorChoice>,
    /// Whether packets to it are to be dropped.
    pub blackhole: bool,
}

/// Reads a mapping file for somebody who has no configuration, but knows a node that judges what it says.
///
/// # Errors
/// All that is wrong with the file by itself, or why it cannot be read.
pub fn written(path: impl AsRef<Path>) -> Result<Vec<WrittenMapping>, ConfigErrors> {
    let path = path.as_ref();
    let file = path.display().to_string();
    let text = super::read_text(path)?;
    if let Some(list) = plain::written(&text) {
        return Ok(list);
    }
    let raw: RawFile = yaml::read(&text, &file)?;
    let mut check = Check::new(&file);
    let mut list = Vec::new();
    for (n, entry) in raw.mappings.iter().flatten().enumerate() {
        let raw = &entry.value;
        let mut s = check.scope(KeyPath::Mapping(n), entry.referenced);
        if let Some(text) = raw.network.as_ref().or(raw.address.as_ref()) {
            let message = "networks are known to a node's configuration only; write sir in place of network and address";
            s.error("", text.referenced, message);
            continue;
        }
        let sir = s.required("sir", &raw.sir, "\"2001:db8:dddd:0:2000::1\"");
        let blackhole = s.flag("blackhole", &raw.blackhole, false);
        let mut locators = Vec::new();
        for (m, entry) in raw.locators.iter().flat_map(|list| &list.value).enumerate() {
            let mut s = check.scope(KeyPath::Locator(n, m), entry.referenced);
            locators.extend(choice(&mut s, entry).map(|(choice, _)| choice));
        }
        list.extend(sir.map(|sir| WrittenMapping { sir: sir.value.clone(), locators, blackhole }));
    }
    check.finish()?;
    Ok(list)
}

/// Reads any YAML, and says what is wrong.
fn through_yaml(text: &str, file: &str, config: &Config) -> Result<Vec<MappingRecord>, ConfigErrors> {
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
        judge.identifiers.insert(local, Place::Local(path));
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
    mapped: std::collections::HashSet<LocalIdentifier>,
    identifiers: HashMap<LocalIdentifier, Place, RandomState>,
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
            // The same file may serve every node, so a mapping of a local identifier is no error; its twin is.
            let zero_alias = local.identifier.zero_alias().filter(|_| self.domains.has_twins(local.domain));
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
            let place = Place::Entry(n, key, text.referenced.line());
            if let Some(before @ Place::Entry(..)) = self.identifiers.insert(local, place) {
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
                        "{} stands in the configuration for another SIR domain, as replicate_to of a network or via of a \
                         policy; a locator belongs to exactly one",
                        choice.locator
                    );
                    s.error(key, at, message);
                }
                let first = *self.locators.entry(choice.locator).or_insert((domain, at.line()));
                if first.0 != domain {
                    let message = format!(
                        "{} is already used in another SIR domain (line {}); a locator belongs to exactly one",
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
            let judged = judge_group(&text.value, network, domains.has_twins(domain))
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

/// One locator, and the key that it stands at.
fn choice(s: &mut Scope<'_>, entry: &Spanned<RawChoice>) -> Option<(LocatorChoice, &'static str)> {
    match &entry.value {
        RawChoice::Alone(text) => {
            let text = Spanned::new(text.clone(), entry.referenced, entry.defined);
            let locator = s.parse("", &text)?;
            Some((LocatorChoice { locator, priority: 0, weight: 1 }, ""))
        }
        RawChoice::Weighted(raw) => {
            let priority = s.number("priority", &raw.priority, 0..=255, 0);
            let weight = s.number("weight", &raw.weight, 1..=MAX_WEIGHT, 1);
            let locator = s.value("locator", &raw.locator, "\"fd00:1:0:2::/64\"")?;
            Some((LocatorChoice { locator, priority, weight }, "locator"))
        }
    }
}
