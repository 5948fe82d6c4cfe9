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

    /// Writes the mappings of a staged batch. Every reader must have the last compiled snapshot before.
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
    /// The first change that breaks a rule; nothing of the batch is applied then.
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
            (Origin::Attachment, Some(Origin::Attachment | Origin::File | Origin::Admin) | None) => {
                return refuse("attachments come from the configuration; add it to attachments".into());
            }
            (Origin::Admin, Some(Origin::Attachment)) => {
                return refuse(
                    "is attached to this node, which no mapping may replace; remove the attachment first"
                        .into(),
                );
            }
            // One file may serve every node, so it may name what is attached here.
            (Origin::File, Some(Origin::Attachment | Origin::File | Origin::Admin) | None) => {}
            (Origin::Admin, Some(Origin::File | Origin::Admin) | None) => {}
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
