//! The rules of nodes as an authority can apply them: it knows SIR domains and locators, and nothing of a node's file.

use super::super::check::{self, Check, Domains, Locators, Ports, ROUTER_MAC, Tenancy};
use super::super::model::{OnMiss, OwnLocator, SirDomain};
use super::super::raw::RawConfig;
use super::entry::Entry;
use super::judged::Judged;
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
            vni: None,
        };
        ProvisionRules { domains: domains.into_iter().map(domain).collect() }
    }

    /// The SIR prefix of the domain of this name.
    #[must_use]
    pub fn prefix_of(&self, domain: &str) -> Option<SirPrefix> {
        self.domains.iter().find(|known| known.name == domain).map(|known| known.prefix)
    }

    /// Judges entries together, as a node with these locators would whose file has the ports that they name. Those later
    /// in the list are refused for the earlier ones. If none is, the next attachment may be judged by itself.
    #[must_use]
    pub fn judge<'l>(
        &self,
        locators: impl IntoIterator<Item = (&'l Locator, &'l u64)>,
        entries: &[&Entry],
    ) -> (Vec<RefusedEntry>, Option<Judged>) {
        let own = |(prefix, sir): (&Locator, &u64)| {
            let domain = self.domains.iter().position(|domain| domain.prefix.0 == *sir)?;
            Some(OwnLocator { prefix: *prefix, domain: domain as u8 })
        };
        let locators: Vec<OwnLocator> = locators.into_iter().filter_map(own).collect();
        let names: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.port()).collect();
        let judged = settle(entries, |entries| {
            let (raw, appended, _) = append(&RawConfig::default(), entries);
            let mut check = Check::with("", appended);
            let domains = Domains { list: self.domains.clone(), complete: true };
            let locators = Locators { list: locators.clone(), complete: true };
            let ports = Ports::named_only(names.iter().map(|name| (*name).to_owned()));
            let Tenancy { attachments, standing, .. } =
                check::tenancy(&mut check, &raw, domains, locators, ports);
            let errors = check.errors();
            if errors.is_empty() { Ok(Judged::new(&attachments, standing)) } else { Err(errors) }
        });
        match judged {
            Ok((judged, refused)) => {
                let judged = refused.is_empty().then_some(judged);
                (refused, judged)
            }
            // Nothing is wrong without any entry.
            Err(_) => (Vec::new(), None),
        }
    }
}
