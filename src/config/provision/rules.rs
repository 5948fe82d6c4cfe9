//! The rules of nodes as an authority can apply them: it knows SIR domains and locators, and nothing of a node's file.

use super::super::check::{self, Check, Domains, Locators, Ports, ROUTER_MAC};
use super::super::model::{OnMiss, OwnLocator, SirDomain};
use super::super::raw::RawConfig;
use super::entry::Entry;
use super::settle::{RefusedEntry, append, settle};
use crate::ila::{ChecksumMode, Locator, SirPrefix};
use std::collections::BTreeSet;

/// What an authority judges entries by.
#[derive(Debug, Clone, Default)]
pub struct ProvisionRules {
    domains: Vec<SirDomain>,
}

impl ProvisionRules {
    /// With these SIR domains, by name.
    pub fn new(domains: impl IntoIterator<Item = (String, SirPrefix)>) -> Self {
        let domain = |(name, prefix)| SirDomain {
            name,
            prefix,
            checksum: ChecksumMode::default(),
            on_miss: OnMiss::Drop,
            skip_unchecked: false,
            expected_mappings: 1,
            router_mac: ROUTER_MAC,
        };
        ProvisionRules { domains: domains.into_iter().map(domain).collect() }
    }

    /// The SIR prefix of the domain of this name.
    #[must_use]
    pub fn prefix_of(&self, domain: &str) -> Option<SirPrefix> {
        self.domains.iter().find(|known| known.name == domain).map(|known| known.prefix)
    }

    /// Judges entries together, as a node with these locators would whose file has the ports that they name. Those later
    /// in the list are refused for the earlier ones.
    #[must_use]
    pub fn judge<'l>(
        &self,
        locators: impl IntoIterator<Item = (&'l Locator, &'l u64)>,
        entries: &[&Entry],
    ) -> Vec<RefusedEntry> {
        let domains = Domains { list: self.domains.clone(), complete: true };
        let own = |(prefix, sir): (&Locator, &u64)| {
            let domain = self.domains.iter().position(|domain| domain.prefix.0 == *sir)?;
            Some(OwnLocator { prefix: *prefix, domain: domain as u8 })
        };
        let locators = Locators { list: locators.into_iter().filter_map(own).collect(), complete: true };
        let names: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.port()).collect();
        let ports = Ports::named_only(names.into_iter().map(str::to_owned));
        let judged = settle(entries, |entries| {
            let (raw, appended, _) = append(&RawConfig::default(), entries);
            let mut check = Check::with("", appended);
            check::tenancy(&mut check, &raw, &domains, &locators, &ports);
            let errors = check.errors();
            if errors.is_empty() { Ok(()) } else { Err(errors) }
        });
        // Nothing is wrong without any entry.
        judged.map(|((), refused)| refused).unwrap_or_default()
    }
}
