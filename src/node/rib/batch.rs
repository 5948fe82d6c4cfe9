//! Batches of mapping changes: judged as a whole, staged, and written.

use super::Rib;
use super::actions::{Goal, Key};
use crate::ila::group::is_group;
use crate::ila::{Identifier, IdentifierType, Locator};
use crate::mapping::group::{judge_group_choices, judge_group_identifier};
use crate::mapping::{Applied, Batch, Change, MappingRecord, MappingTarget, Origin, Refusal, max_locators};
use crate::table::ActionId;
use std::collections::HashMap;
use std::net::Ipv6Addr;

/// One mapping of an origin to be written; action 0 forgets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) identifier: u64,
    pub(super) domain: u8,
    pub(super) origin: Origin,
    pub(super) action: ActionId,
}

/// A batch that was judged and waits for [`Rib::commit`] or [`Rib::abandon`].
#[derive(Debug, Default)]
#[must_use = "a staged batch holds its targets until it is committed or abandoned"]
pub struct Staged {
    pub(super) writes: Vec<Write>,
}

/// What is known while one batch is judged.
struct Judge {
    origin: Origin,
    complete: bool,
    /// Identifiers with a twin that the batch named so far, and whether they are there afterwards.
    zeros: HashMap<(u8, u64), bool>,
    /// All identifiers that a complete batch names, by domain, sorted.
    named: Vec<Vec<u64>>,
    /// Locators that were in use in another domain than that of a change: the first such change of each.
    contested: HashMap<Locator, (u8, Identifier)>,
}

impl Judge {
    /// Whether a complete batch keeps or creates a mapping.
    fn names(&self, domain: u8, identifier: u64) -> bool {
        self.named.get(usize::from(domain)).is_some_and(|named| named.binary_search(&identifier).is_ok())
    }
}

impl Rib {
    /// Judges a batch and adds the targets that it needs. Readers see nothing of it yet.
    ///
    /// # Errors
    /// The first change that breaks a rule; nothing of the batch remains then.
    pub fn stage(&mut self, batch: Batch) -> Result<Staged, Refusal> {
        let mut staged = Staged::default();
        match self.stage_into(batch, &mut staged) {
            Ok(()) => {
                self.make_room(&staged);
                Ok(staged)
            }
            Err(refusal) => {
                self.abandon(staged);
                Err(refusal)
            }
        }
    }

    /// Writes the mappings of a staged batch. Every reader must have the last compiled snapshot by then.
    pub fn commit(&mut self, staged: Staged) -> Applied {
        self.revision += 1;
        let mut applied = Applied { revision: self.revision, created: 0, changed: 0, deleted: 0 };
        for Write { identifier, domain, origin, action } in staged.writes {
            let at = domain;
            let (write, replaced) = self.settle(domain, identifier, origin, action);
            if let Some(replaced) = replaced {
                self.dirty |= self.actions.give_back(replaced);
            }
            let Some(action) = write else { continue };
            let Some(domain) = self.domains.get_mut(usize::from(domain)) else { continue };
            let before = if action.0 == 0 {
                domain.mappings.remove(identifier)
            } else {
                loop {
                    match domain.mappings.insert(identifier, action) {
                        Ok(before) => break before,
                        Err(_) => {
                            // Rare: there was room in all, but none where this key may live.
                            let wanted = domain.mappings.len() * 5 / 4 + 64;
                            domain.mappings = domain.mappings.grown(wanted);
                            self.dirty = true;
                        }
                    }
                }
            };
            match before {
                None if action.0 == 0 => {}
                None => {
                    applied.created += 1;
                    count(&mut self.mapped, at, identifier, true);
                }
                Some(_) if action.0 == 0 => {
                    applied.deleted += 1;
                    count(&mut self.mapped, at, identifier, false);
                }
                Some(before) if before != action => applied.changed += 1,
                Some(_) => {}
            }
        }
        applied
    }

    /// Forgets a staged batch.
    pub fn abandon(&mut self, staged: Staged) {
        for write in staged.writes.into_iter().filter(|write| write.action.0 != 0) {
            self.dirty |= self.actions.give_back(write.action);
        }
    }

    /// Stages and commits at once, for callers without readers.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub fn apply(&mut self, batch: Batch) -> Result<Applied, Refusal> {
        let staged = self.stage(batch)?;
        let applied = self.commit(staged);
        self.release();
        Ok(applied)
    }

    fn stage_into(&mut self, batch: Batch, staged: &mut Staged) -> Result<(), Refusal> {
        let Batch { origin, changes, complete } = batch;
        let (zeros, contested) = (HashMap::new(), HashMap::new());
        let mut judge = Judge { origin, complete, zeros, named: Vec::new(), contested };
        if complete {
            judge.named = self.named(&changes);
            self.forget_unnamed(&judge, staged);
        }
        staged.writes.reserve(changes.len());
        for change in changes {
            match change {
                Change::Upsert(record) => self.upsert(record, &mut judge, staged)?,
                Change::Delete { domain, identifier } => {
                    self.delete(domain, identifier, &mut judge, staged)?
                }
            }
        }
        self.judge_contested(&judge, staged)
    }

    /// A locator that changes of a batch brought to another domain must be left by every mapping of its old one.
    fn judge_contested(&self, judge: &Judge, staged: &Staged) -> Result<(), Refusal> {
        if judge.contested.is_empty() {
            return Ok(());
        }
        // Mappings by target when the batch is in force: those held, but for what it writes over, and its own.
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

    pub(super) fn belongs_to(&self, locator: Locator, domain: u8) -> String {
        format!(
            "{locator} is a locator of domain {}, and a locator belongs to exactly one SIR domain",
            self.domain_name(domain)
        )
    }

    /// What a complete batch keeps or creates.
    fn named(&self, changes: &[Change]) -> Vec<Vec<u64>> {
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

    /// A complete batch deletes what is its origin's and not in it.
    fn forget_unnamed(&self, judge: &Judge, staged: &mut Staged) {
        let origin = judge.origin;
        for (n, (domain, named)) in self.domains.iter().zip(&judge.named).enumerate() {
            let gone = domain.mappings.iter().filter(|(identifier, action)| {
                self.origin_of(*action) == Some(origin) && named.binary_search(identifier).is_err()
            });
            let forget = gone.map(|(identifier, _)| Write {
                identifier,
                domain: n as u8,
                origin,
                action: ActionId(0),
            });
            staged.writes.extend(forget);
        }
        let shadowed = self
            .shadowed
            .iter()
            .filter(|(domain, identifier, held)| *held == origin && !judge.names(*domain, *identifier));
        staged.writes.extend(shadowed.map(|(domain, identifier, _)| Write {
            identifier,
            domain,
            origin,
            action: ActionId(0),
        }));
    }

    fn upsert(
        &mut self,
        record: MappingRecord,
        judge: &mut Judge,
        staged: &mut Staged,
    ) -> Result<(), Refusal> {
        let MappingRecord { domain, identifier, mut target } = record;
        let sir = self.sir(domain, identifier);
        let refuse = |why| Err(Refusal { sir, why });
        if let Err(why) = self.judge_identifier(domain, identifier) {
            return refuse(why);
        }
        match (judge.origin, self.origins(domain, identifier).next()) {
            (Origin::Attachment, _) => {
                return refuse("attachments come from the configuration; add it to attachments".into());
            }
            (Origin::Admin, Some(Origin::Attachment)) => {
                return refuse(
                    "is attached to this node, which no mapping may replace; remove the attachment first"
                        .into(),
                );
            }
            // One file may serve every node, so it may name what is attached here.
            (Origin::Admin | Origin::File, _) => {}
        }
        if let Some(zero_alias) = self.zero_alias_in_use(domain, identifier, judge) {
            return refuse(is_zero_alias_of(self.sir(domain, zero_alias)));
        }
        if let Err(why) = self.judge_target((domain, identifier), judge, &mut target) {
            return refuse(why);
        }
        self.note_zero(domain, identifier, true, judge);
        let goal = match target {
            MappingTarget::Locators(choices) if is_group(identifier) => Goal::Group(choices),
            target => Goal::Mapping(target),
        };
        let key = Key { domain, origin: judge.origin, goal };
        self.push(staged, domain, identifier.0, key);
        Ok(())
    }

    fn delete(
        &mut self,
        domain: u8,
        identifier: Identifier,
        judge: &mut Judge,
        staged: &mut Staged,
    ) -> Result<(), Refusal> {
        let (sir, origin) = (self.sir(domain, identifier), judge.origin);
        let refuse = |why: &str| Err(Refusal { sir, why: why.to_owned() });
        if let Err(why) = self.judge_identifier(domain, identifier) {
            return refuse(&why);
        }
        if origin == Origin::Attachment {
            return refuse("attachments come from the configuration; remove it from attachments");
        }
        let own = self.origins(domain, identifier).any(|held| held == origin);
        match self.origins(domain, identifier).next().filter(|_| !own && origin == Origin::Admin) {
            Some(Origin::Attachment) => {
                return refuse("is attached to this node; remove the attachment from the configuration");
            }
            Some(Origin::File) => {
                return refuse(
                    "comes from the mapping file; remove it there, or add a mapping that covers it",
                );
            }
            Some(Origin::Admin) | None => {}
        }
        let stays = self.origins(domain, identifier).any(|held| held != origin);
        self.note_zero(domain, identifier, stays, judge);
        staged.writes.push(Write { identifier: identifier.0, domain, origin, action: ActionId(0) });
        Ok(())
    }

    /// Adds one mapping to a staged batch.
    pub(super) fn push(&mut self, staged: &mut Staged, domain: u8, identifier: u64, key: Key) {
        let origin = key.origin;
        let (action, new) = self.actions.take(key);
        self.dirty |= new;
        staged.writes.push(Write { identifier, domain, origin, action });
    }

    /// Grows the tables so that a staged batch fits.
    pub(super) fn make_room(&mut self, staged: &Staged) {
        let mut more = vec![0usize; self.domains.len()];
        for write in staged.writes.iter().filter(|write| write.action.0 != 0) {
            let at = usize::from(write.domain);
            let Some(domain) = self.domains.get(at) else { continue };
            // Only near the limit it matters how many of them are new.
            let near = domain.mappings.len() + staged.writes.len() > domain.mappings.capacity();
            if near && domain.mappings.table().lookup(write.identifier).is_none() {
                more[at] += 1;
            }
        }
        for (domain, more) in self.domains.iter_mut().zip(more) {
            let wanted = domain.mappings.len() + more;
            if wanted > domain.mappings.capacity() {
                domain.mappings = domain.mappings.grown(wanted + wanted / 8);
                self.dirty = true;
            }
        }
    }

    fn judge_identifier(&self, domain: u8, identifier: Identifier) -> Result<(), String> {
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
    fn judge_target(
        &self,
        (domain, identifier): (u8, Identifier),
        judge: &mut Judge,
        target: &mut MappingTarget,
    ) -> Result<(), String> {
        let MappingTarget::Locators(choices) = target else { return Ok(()) };
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
                "{} is this node's own locator, but the identifier is not attached here; add it to attachments or \
                 give the locator of its node",
                choices[0].locator
            ));
        }
        Ok(())
    }

    /// The twin of `identifier`, when the domain's mode makes them alike and the batch leaves the twin there.
    fn zero_alias_in_use(&self, domain: u8, identifier: Identifier, judge: &Judge) -> Option<Identifier> {
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

    fn note_zero(&self, domain: u8, identifier: Identifier, there: bool, judge: &mut Judge) {
        if identifier.zero_alias().is_some() {
            judge.zeros.insert((domain, identifier.0), there);
        }
    }

    fn origin_of(&self, action: ActionId) -> Option<Origin> {
        self.actions.key(action).map(|key| key.origin)
    }

    /// The SIR address of an identifier.
    pub(super) fn sir(&self, domain: u8, identifier: Identifier) -> Ipv6Addr {
        let prefix = self.domains.get(usize::from(domain)).map_or(0, |domain| domain.config.prefix.0);
        Ipv6Addr::from((u128::from(prefix) << 64) | u128::from(identifier.0))
    }
}

/// Counts a mapping of a tenant's address that came or went.
fn count(mapped: &mut HashMap<(u8, u32), u64>, domain: u8, identifier: u64, came: bool) {
    let Some(vnid) = Identifier(identifier).vnid() else { return };
    let held = mapped.entry((domain, vnid)).or_default();
    *held = if came { *held + 1 } else { held.saturating_sub(1) };
    if *held == 0 {
        mapped.remove(&(domain, vnid));
    }
}

/// Why an identifier whose twin is there is refused.
pub(super) fn is_zero_alias_of(zero_alias: Ipv6Addr) -> String {
    format!("is the twin of {zero_alias}: neutral mapping cannot tell them apart; use another identifier")
}
