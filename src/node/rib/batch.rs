//! Batches of mapping changes: judged as a whole, staged, and written.

mod judge;

pub(super) use judge::is_zero_alias_of;

use super::Rib;
use super::actions::{Goal, Key};
use crate::ila::Identifier;
use crate::ila::group::is_group;
use crate::mapping::{Applied, Batch, Change, MappingRecord, MappingTarget, Origin, Refusal};
use crate::table::ActionId;
use judge::Judge;
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

/// What a complete batch deletes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Mappings of its origin that it does not name.
    pub deleted: u64,
    /// Mappings of its origin before it.
    pub held: u64,
}

/// Entries of the mapping file that an operator's mapping keeps out of force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShadowedChanges {
    /// Those that came, changed or went with the last batch.
    pub entries: u64,
    /// SIR address of the first one.
    pub first: Option<Ipv6Addr>,
}

/// Why a batch was not staged; nothing of it remains.
#[derive(Debug)]
pub enum Unstaged {
    /// It breaks a rule.
    Refused(Refusal),
    /// It deletes more than it may.
    Withheld(Batch, Deletions),
}

impl From<Refusal> for Unstaged {
    fn from(refusal: Refusal) -> Self {
        Unstaged::Refused(refusal)
    }
}

/// A batch that was judged and waits for [`Rib::commit`] or [`Rib::abandon`].
#[derive(Debug, Default)]
#[must_use = "a staged batch holds its targets until it is committed or abandoned"]
pub struct Staged {
    pub(super) writes: Vec<Write>,
}

impl Rib {
    /// Judges a batch and adds the targets that it needs. Readers see nothing of it yet.
    ///
    /// # Errors
    /// The first change that breaks a rule; nothing of the batch remains then.
    pub fn stage(&mut self, batch: Batch) -> Result<Staged, Refusal> {
        match self.stage_within(batch, |_| true) {
            Ok(staged) => Ok(staged),
            Err(Unstaged::Refused(refusal)) => Err(refusal),
            // No batch deletes more than everything.
            Err(Unstaged::Withheld(..)) => Ok(Staged::default()),
        }
    }

    /// Stages a batch as [`Self::stage`] does if `allows` what it deletes.
    ///
    /// # Errors
    /// The first change that breaks a rule, or the batch itself if it deletes too much.
    pub fn stage_within(
        &mut self,
        batch: Batch,
        allows: impl Fn(Deletions) -> bool,
    ) -> Result<Staged, Unstaged> {
        let mut staged = Staged::default();
        match self.stage_into(batch, allows, &mut staged) {
            Ok(()) => {
                self.make_room(&staged);
                Ok(staged)
            }
            Err(why) => {
                self.abandon(staged);
                Err(why)
            }
        }
    }

    /// Writes the mappings of a staged batch. Every reader must have the last compiled snapshot before.
    pub fn commit(&mut self, staged: Staged) -> Applied {
        self.revision += 1;
        let mut applied = Applied { revision: self.revision, created: 0, changed: 0, deleted: 0 };
        self.shadowed_changes = ShadowedChanges::default();
        for Write { identifier, domain, origin, action } in staged.writes {
            let at = domain;
            let (write, replaced) = self.settle(domain, identifier, origin, action);
            // Who is attached here and moves is followed by the mapping beneath.
            self.dirty |= write.is_none() && !self.presences.is_empty() && replaced != Some(action);
            if write.is_none() && origin == Origin::File && replaced.unwrap_or(ActionId(0)) != action {
                self.note_shadowed(domain, Identifier(identifier));
            }
            if origin == Origin::Nva && replaced != Some(action) {
                self.note_told(domain, Identifier(identifier), replaced, action);
            }
            if let Some(replaced) = replaced {
                self.dirty |= self.actions.give_back(replaced);
            }
            // What is there already is not written: a batch of equal data changes no table.
            let Some(action) = write.filter(|action| replaced != Some(*action)) else { continue };
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
        self.dirty |= self.presences.forget();
        applied
    }

    /// Notes an entry of the mapping file that has changed if an operator's mapping covers it. An attachment may: one
    /// file serves every node.
    fn note_shadowed(&mut self, domain: u8, identifier: Identifier) {
        if self.origins(domain, identifier).next() == Some(Origin::Admin) {
            let sir = self.sir(domain, identifier);
            self.shadowed_changes.entries += 1;
            self.shadowed_changes.first.get_or_insert(sir);
        }
    }

    /// What of the last batch the mappings of operators cover.
    #[must_use]
    pub fn shadowed_changes(&self) -> ShadowedChanges {
        self.shadowed_changes
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
    /// The first change that breaks a rule; nothing of the batch is applied then.
    pub fn apply(&mut self, batch: Batch) -> Result<Applied, Refusal> {
        let staged = self.stage(batch)?;
        let applied = self.commit(staged);
        self.release();
        Ok(applied)
    }

    /// What a batch would delete of what it does not name.
    #[must_use]
    pub fn deletions(&self, batch: &Batch) -> Deletions {
        if !batch.complete {
            return Deletions::default();
        }
        let judge = Judge { named: self.named(&batch.changes), ..Judge::new(batch.origin, true) };
        self.forget_unnamed(&judge, &mut Staged::default())
    }

    fn stage_into(
        &mut self,
        batch: Batch,
        allows: impl Fn(Deletions) -> bool,
        staged: &mut Staged,
    ) -> Result<(), Unstaged> {
        let Batch { origin, changes, complete } = batch;
        let mut judge = Judge::new(origin, complete);
        if complete {
            judge.named = self.named(&changes);
            let deletions = self.forget_unnamed(&judge, staged);
            if !allows(deletions) {
                return Err(Unstaged::Withheld(Batch { origin, changes, complete }, deletions));
            }
        }
        staged.writes.reserve(changes.len());
        for change in changes {
            match change {
                Change::Upsert(record) => self.upsert(record, &mut judge, staged)?,
                Change::Expiring { domain, identifier } => {
                    self.note_expiring(domain, identifier, judge.origin, staged);
                }
                Change::Delete { domain, identifier } => {
                    self.delete(domain, identifier, &mut judge, staged)?
                }
            }
        }
        Ok(self.judge_contested(&judge, staged)?)
    }

    /// A complete batch deletes what is its origin's and not in it.
    fn forget_unnamed(&self, judge: &Judge, staged: &mut Staged) -> Deletions {
        let origin = judge.origin;
        let mut held = 0;
        for (n, (domain, named)) in self.domains.iter().zip(&judge.named).enumerate() {
            let own = domain.mappings.iter().filter(|(_, action)| self.origin_of(*action) == Some(origin));
            let own = own.inspect(|_| held += 1);
            let gone = own.filter(|(identifier, _)| named.binary_search(identifier).is_err());
            let forget = gone.map(|(identifier, _)| Write {
                identifier,
                domain: n as u8,
                origin,
                action: ActionId(0),
            });
            staged.writes.extend(forget);
        }
        let shadowed = self.shadowed.iter().filter(|(_, _, holder)| *holder == origin);
        let shadowed = shadowed.inspect(|_| held += 1);
        let shadowed = shadowed.filter(|(domain, identifier, _)| !judge.names(*domain, *identifier));
        staged.writes.extend(shadowed.map(|(domain, identifier, _)| Write {
            identifier,
            domain,
            origin,
            action: ActionId(0),
        }));
        Deletions { deleted: staged.writes.len() as u64, held }
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
            // One file may serve every node, so it may name what is attached here. The authority tells everybody the same.
            (Origin::File | Origin::Cache | Origin::Nva, _) => {}
            (Origin::Admin, Some(Origin::File | Origin::Cache | Origin::Nva | Origin::Admin) | None) => {}
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
            MappingTarget::Locators(choices) => Goal::Mapping(MappingTarget::Locators(choices)),
            MappingTarget::Blackhole => Goal::Mapping(MappingTarget::Blackhole),
        };
        let key = Key::new(domain, judge.origin, goal);
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
            Some(Origin::Cache | Origin::Nva) => {
                return refuse("comes from the authority; add a mapping that covers it");
            }
            Some(Origin::Admin) | None => {}
        }
        let stays = self.origins(domain, identifier).any(|held| held != origin);
        self.note_zero(domain, identifier, stays, judge);
        staged.writes.push(Write { identifier: identifier.0, domain, origin, action: ActionId(0) });
        Ok(())
    }

    /// Marks the mapping of an origin, if it has one.
    fn note_expiring(&mut self, domain: u8, identifier: Identifier, origin: Origin, staged: &mut Staged) {
        let held = self.by_precedence(domain, identifier.0).find(|(held, _)| *held == origin);
        if let Some(key) = held.and_then(|(_, action)| self.actions.key(action)) {
            let key = Key { expiring: true, ..key.clone() };
            self.push(staged, domain, identifier.0, key);
        }
    }

    /// Adds one mapping to a staged batch; its target is counted from now on.
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
