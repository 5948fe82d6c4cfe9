//! The rules for the changes of a batch: those of one change, and those that depend on other mappings.

use super::super::Rib;
use super::Staged;
use crate::ila::group::is_group;
use crate::ila::{Identifier, IdentifierType, Locator};
use crate::mapping::group::{judge_group_choices, judge_group_identifier};
use crate::mapping::{Change, MappingTarget, Origin, Refusal, max_locators};
use crate::table::ActionId;
use std::collections::HashMap;
use std::net::Ipv6Addr;

/// What is known while one batch is judged.
pub(super) struct Judge {
    pub(super) origin: Origin,
    pub(super) complete: bool,
    /// Identifiers with a zero alias that the batch named so far, and whether they have a mapping afterwards.
    pub(super) zeros: HashMap<(u8, u64), bool>,
    /// All identifiers that a complete batch names, by domain, sorted.
    pub(super) named: Vec<Vec<u64>>,
    /// Locators that were in use in another domain than that of a change: the first such change of each.
    pub(super) contested: HashMap<Locator, (u8, Identifier)>,
}

impl Judge {
    pub(super) fn new(origin: Origin, complete: bool) -> Self {
        let (zeros, contested) = (HashMap::new(), HashMap::new());
        Judge { origin, complete, zeros, named: Vec::new(), contested }
    }

    /// Whether a complete batch keeps or creates a mapping.
    pub(super) fn names(&self, domain: u8, identifier: u64) -> bool {
        self.named.get(usize::from(domain)).is_some_and(|named| named.binary_search(&identifier).is_ok())
    }
}

impl Rib {
    /// Judges the locators that changes of a batch brought to another domain: no mapping of the old domain
    /// may still have them when the batch is in force.
    ///
    /// # Errors
    /// The first change with a locator that a mapping of another domain keeps.
    pub(super) fn judge_contested(&self, judge: &Judge, staged: &Staged) -> Result<(), Refusal> {
        if judge.contested.is_empty() {
            return Ok(());
        }
        // Mappings by target when the batch is in force: those held, but for what it writes over, and its
        // own.
        let mut after: HashMap<ActionId, i64> = HashMap::new();
        let mut last: HashMap<(u8, u64, Origin), ActionId> = HashMap::new();
        for write in &staged.writes {
            *after.entry(write.action).or_default() -= 1;
            last.insert((write.domain, write.identifier, write.origin), write.action);
        }
        for ((domain, identifier, origin), action) in last {
            *after.entry(action).or_default() += 1;
            if let Some((_, held)) = self.by_precedence(domain, identifier).find(|(held, _)| *held == origin)
            {
                *after.entry(held).or_default() -= 1;
            }
        }
        for (n, key) in self.actions.keys().enumerate() {
            let id = ActionId(n as u32);
            let Some(key) = key else { continue };
            if self.actions.count(id) as i64 + after.get(&id).copied().unwrap_or(0) <= 0 {
                continue;
            }
            for locator in key.locators() {
                if let Some((domain, identifier)) = judge.contested.get(&locator)
                    && *domain != key.domain
                {
                    let why = self.belongs_to(locator, key.domain);
                    return Err(Refusal { sir: self.sir(*domain, *identifier), why });
                }
            }
        }
        Ok(())
    }

    pub(in super::super) fn belongs_to(&self, locator: Locator, domain: u8) -> String {
        format!(
            "{locator} is a locator of domain {}, and a locator belongs to exactly one SIR domain",
            self.domain_name(domain)
        )
    }

    /// The identifiers that a batch keeps or creates, by domain, sorted.
    pub(super) fn named(&self, changes: &[Change]) -> Vec<Vec<u64>> {
        let mut named = vec![Vec::new(); self.domains.len()];
        for change in changes {
            if let Change::Upsert(record) = change
                && let Some(list) = named.get_mut(usize::from(record.domain))
            {
                list.push(record.identifier.0);
            }
        }
        named.iter_mut().for_each(|list| list.sort_unstable());
        named
    }

    /// Judges the domain and the identifier of a change.
    pub(super) fn judge_identifier(&self, domain: u8, identifier: Identifier) -> Result<(), String> {
        if self.domains.get(usize::from(domain)).is_none() {
            return Err(format!("SIR domain {domain} is not configured; add it to sir_domains"));
        }
        let zero_aliases =
            self.domains.get(usize::from(domain)).is_none_or(|d| d.config.checksum.changes_identifier());
        match identifier.kind() {
            IdentifierType::Interface => Err(
                "is an interface identifier (type 0), which is never translated; use type 1, for example \
                 2000:0:0:1"
                    .to_owned(),
            ),
            IdentifierType::Reserved(kind) => {
                Err(format!("has identifier type {kind}, which is reserved; use type 1"))
            }
            _ if identifier.neutral() => {
                Err("has the C-bit set, which is always 0 in a SIR address; clear it".to_owned())
            }
            _ if identifier.vnid() == Some(0) => {
                Err("has VNID 0, which no virtual network has; write its own".to_owned())
            }
            _ if is_group(identifier) => judge_group_identifier(identifier, zero_aliases),
            IdentifierType::LocallyUnique
            | IdentifierType::TenantIpv4
            | IdentifierType::TenantIpv6
            | IdentifierType::TenantMulticast => Ok(()),
        }
    }

    /// Judges a target, and brings it into the order that equal targets share: best locator first.
    pub(super) fn judge_target(
        &self,
        (domain, identifier): (u8, Identifier),
        judge: &mut Judge,
        target: &mut MappingTarget,
    ) -> Result<(), String> {
        let choices = match target {
            MappingTarget::Locators(choices) => choices,
            MappingTarget::Blackhole => return Ok(()),
        };
        let most = max_locators(identifier);
        if !(1..=most).contains(&choices.len()) {
            return Err(format!("{} locators; give 1 to {most}", choices.len()));
        }
        judge_group_choices(identifier, choices)?;
        choices.sort_unstable_by_key(|choice| (choice.priority, choice.locator));
        let mut own = 0;
        for (n, choice) in choices.iter().enumerate() {
            let locator = choice.locator;
            if choice.weight == 0 {
                return Err(format!("{locator} has weight 0; give at least 1, or leave it out"));
            }
            if choices[..n].iter().any(|other| other.locator == locator) {
                return Err(format!("{locator} is given twice; write its share as weight"));
            }
            if let Some(sir) = self.domains.iter().find(|domain| domain.config.prefix.0 == locator.0) {
                let name = &sir.config.name;
                return Err(format!("{locator} is the SIR prefix of domain {name}, not a locator"));
            }
            let ours = self.locators.iter().find(|own| own.prefix == locator);
            own += usize::from(ours.is_some());
            if let Some(ours) = ours.filter(|ours| ours.domain != domain) {
                return Err(self.belongs_to(locator, ours.domain));
            }
            if self.actions.domains_of(locator).any(|other| other != domain) {
                judge.contested.entry(locator).or_insert((domain, identifier));
            }
        }
        // In a file that serves every node it may be an attachment that is yet to come.
        if own == choices.len() && judge.origin == Origin::Admin && !is_group(identifier) {
            return Err(format!(
                "{} is this node's own locator, but the identifier is not attached here; add it to \
                 attachments or \
                 give the locator of its node",
                choices[0].locator
            ));
        }
        Ok(())
    }

    /// The zero alias of `identifier`, when the domain's mode cannot tell the two apart and the alias has a
    /// mapping after the batch.
    pub(super) fn zero_alias_in_use(
        &self,
        domain: u8,
        identifier: Identifier,
        judge: &Judge,
    ) -> Option<Identifier> {
        let held = self.domains.get(usize::from(domain))?;
        let zero_alias = identifier.zero_alias().filter(|_| held.config.checksum.changes_identifier())?;
        let there = match judge.zeros.get(&(domain, zero_alias.0)) {
            Some(there) => *there,
            None => self.origins(domain, zero_alias).any(|origin| {
                let goes = judge.complete && origin == judge.origin && !judge.names(domain, zero_alias.0);
                !goes
            }),
        };
        there.then_some(zero_alias)
    }

    /// Remembers whether an identifier with a zero alias has a mapping after the batch.
    pub(super) fn note_zero(&self, domain: u8, identifier: Identifier, there: bool, judge: &mut Judge) {
        if identifier.zero_alias().is_some() {
            judge.zeros.insert((domain, identifier.0), there);
        }
    }
}

/// Why an identifier is refused whose zero alias has a mapping.
pub(in super::super) fn is_zero_alias_of(zero_alias: Ipv6Addr) -> String {
    format!("is the twin of {zero_alias}: neutral mapping cannot tell them apart; use another identifier")
}
