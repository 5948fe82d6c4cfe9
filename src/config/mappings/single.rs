//! Single mappings as an operator writes them, by the rules of the mapping file.

use super::super::check::{Domains, judge_identifier, judge_remote_locator};
use super::super::model::{Config, LocalIdentifier, OwnLocator};
use super::location::{is_mapped, mapped};
use crate::ila::Locator;
use crate::mapping::group::judge_group_choices;
use crate::mapping::{LocatorChoice, MAX_WEIGHT, MappingRecord, MappingTarget, max_locators};
use std::collections::HashSet;

/// Longest text of an address or prefix that is judged, and quoted in a message.
const MAX_TEXT_BYTES: usize = 64;

/// A locator as it was written.
#[derive(Debug, Clone, Copy)]
pub struct Written<'t> {
    /// A /64 prefix.
    pub locator: &'t str,
    /// 0 to 255.
    pub priority: u32,
    /// 1 to 1000.
    pub weight: u32,
}

/// The rules of one configuration for mappings. What other mappings forbid (zero aliases, locators of
/// another domain) is judged where mappings are held.
pub struct Rules<'c> {
    domains: Domains,
    mapped: HashSet<LocalIdentifier>,
    own: &'c [OwnLocator],
}

impl<'c> Rules<'c> {
    /// The rules of `config`.
    #[must_use]
    pub fn of(config: &'c Config) -> Self {
        Rules {
            domains: Domains { list: config.sir_domains.clone(), complete: true },
            mapped: mapped(config),
            own: &config.locators,
        }
    }

    /// The identifier that is written as the SIR address `sir`.
    ///
    /// # Errors
    /// A text that is no IPv6 address or lies under no SIR prefix, and an identifier that can have no mapping
    /// (types 0 and 5 to 7, C-bit set, VNID 0, groups that stay on their link); with value and way out.
    pub fn identifier(&self, sir: &str) -> Result<LocalIdentifier, String> {
        short(sir, "SIR address")?;
        judge_identifier(sir, &self.domains)?.ok_or_else(|| {
            format!("{sir} lies under no SIR prefix; add its /64 to sir_domains or correct it")
        })
    }

    /// The locator that is written as `text`.
    ///
    /// # Errors
    /// A text that is no /64 prefix under 2000::/3 or fc00::/7; with value and way out.
    pub fn locator(&self, text: &str) -> Result<Locator, String> {
        short(text, "locator")?;
        text.parse().map_err(|error| format!("{error}"))
    }

    /// The mapping of `sir` to `locators`, or to nowhere.
    ///
    /// # Errors
    /// The errors of [`Self::identifier`] and [`Self::locator`]; the address of a peer; no locators and no
    /// blackhole, or both; too many locators, one twice, a wrong priority or weight, or a SIR prefix or our
    /// own locator of another domain among them; with value and way out.
    pub fn record(
        &self,
        sir: &str,
        locators: &[Written<'_>],
        blackhole: bool,
    ) -> Result<MappingRecord, String> {
        let LocalIdentifier { domain, identifier } = self.identifier(sir)?;
        if self.mapped.contains(&LocalIdentifier { domain, identifier }) {
            return Err(format!("{sir}: {}", is_mapped(identifier)));
        }
        let target = match (locators, blackhole) {
            ([], true) => MappingTarget::Blackhole,
            ([], false) => {
                return Err(format!("{sir} leads nowhere; give it locators, or make it a blackhole"));
            }
            (_, true) => {
                return Err(format!("{sir} has locators and is a blackhole; remove one of the two"));
            }
            (locators, false) if locators.len() > max_locators(identifier) => {
                let most = max_locators(identifier);
                return Err(format!("{sir} has {} locators; give it 1 to {most}", locators.len()));
            }
            (locators, false) => {
                let choices = self.choices(sir, locators, domain)?;
                judge_group_choices(identifier, &choices).map_err(|why| format!("{sir}: {why}"))?;
                MappingTarget::Locators(choices)
            }
        };
        Ok(MappingRecord { domain, identifier, target })
    }

    fn choices(&self, sir: &str, locators: &[Written<'_>], domain: u8) -> Result<Vec<LocatorChoice>, String> {
        let mut choices: Vec<LocatorChoice> = Vec::with_capacity(locators.len());
        for written in locators {
            let locator = self.locator(written.locator).map_err(|why| format!("{sir}: {why}"))?;
            let Ok(priority) = u8::try_from(written.priority) else {
                let value = written.priority;
                return Err(format!("{sir}: priority {value} of {locator} is not 0 to 255; choose one"));
            };
            let weight = match u16::try_from(written.weight) {
                Ok(weight @ 1..=MAX_WEIGHT) => weight,
                _ => {
                    let value = written.weight;
                    return Err(format!(
                        "{sir}: weight {value} of {locator} is not 1 to {MAX_WEIGHT}; choose one, or \
                         leave the locator out"
                    ));
                }
            };
            if choices.iter().any(|choice| choice.locator == locator) {
                return Err(format!("{sir} has {locator} twice; write its share as weight"));
            }
            judge_remote_locator(locator, domain, &self.domains, self.own)
                .map_err(|why| format!("{sir}: {why}"))?;
            choices.push(LocatorChoice { locator, priority, weight });
        }
        Ok(choices)
    }
}

/// Refuses texts that are far too long before any message quotes them.
fn short(text: &str, what: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!(
            "{} bytes are too long for a {what}; write {MAX_TEXT_BYTES} at most",
            text.len()
        ));
    }
    Ok(())
}
