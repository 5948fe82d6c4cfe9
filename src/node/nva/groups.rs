//! The node's part in groups for hot failover: which attachments it has only as a standby (VMM draft §8).
//!
//! [`Members::step`] takes one [`Input`], and gives [`Effect`]s. It has no clock, no table and no socket: the shell of the
//! session feeds it. It is level-triggered: whatever was lost or comes twice, the next input mends.

use super::moves::place_of;
use crate::config::{Config, ObjectName};
use crate::mapping::{Departure, InFlight, Presence};
use crate::nva::client::{GroupPart, GroupTold, NodeGroups, Objects, Seen};
use crate::nva::model::Key;
use crate::table::AttachmentKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that the node learns.
#[derive(Debug)]
pub(super) enum Input {
    /// It is a member of these groups.
    Told(Arc<NodeGroups>),
    /// This is what operators want at it.
    Wanted(Arc<Objects>),
    /// This configuration is in force.
    Config(Arc<Config>),
    /// What an [`Effect::Presence`] gave is in force in every worker.
    InForce(AttachmentKey),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// The VM or task of this attachment is there.
    Presence(AttachmentKey, Presence),
    /// Bring this into force: what operators want, and what is on standby.
    Objects(Arc<Objects>),
}

/// The node's part in one group.
#[derive(Debug)]
struct Part {
    told: GroupTold,
    /// The attachment, once it is known where it is.
    at: Option<AttachmentKey>,
    /// Whether the tables were told that it is a standby.
    is_ordered: bool,
    /// Whether its entry may be in force: the tables know that it is a standby, or it is there already.
    is_introduced: bool,
}

impl Part {
    fn name(&self) -> ObjectName {
        ObjectName::Attachment(self.told.attachment.clone())
    }

    /// Its entry, if it may be in force beside what operators want.
    fn entry(&self, wanted: &Objects) -> Option<Seen> {
        let entry = self.told.entry.clone().filter(|_| self.is_introduced)?;
        let is_there = |network: &&str| wanted.all.contains_key(&ObjectName::Network((*network).to_owned()));
        // It waits for its networks.
        let is_whole = entry.networks().iter().all(is_there);
        is_whole.then(|| Seen { name: self.name(), sequence: self.told.sequence, sir_prefix: 0, entry })
    }
}

/// All groups that the node is a member of.
#[derive(Debug, Default)]
pub(super) struct Members {
    config: Option<Arc<Config>>,
    wanted: Arc<Objects>,
    parts: BTreeMap<String, Part>,
    /// Standbys of groups that are over, until their entries are out of force.
    over: Vec<(AttachmentKey, String)>,
    /// What was brought into force last: what operators wanted, and what stands beside it.
    composed: (Arc<Objects>, BTreeMap<ObjectName, Seen>),
    effects: Vec<Effect>,
}

impl Members {
    /// It is a member of none yet. This is what operators want, and is in force.
    pub(super) fn new(wanted: Arc<Objects>) -> Self {
        Members { wanted: wanted.clone(), composed: (wanted, BTreeMap::new()), ..Members::default() }
    }

    /// Learns one thing, and says what is to be done.
    #[must_use = "effects are to be carried out in their order"]
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Told(groups) => self.told(&groups),
            Input::Wanted(objects) => self.wanted = objects,
            Input::Config(config) => self.config = Some(config),
            Input::InForce(at) => {
                let parts = self.parts.values_mut().filter(|part| part.at == Some(at) && part.is_ordered);
                parts.for_each(|part| part.is_introduced = true);
            }
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// The identifiers that are in the configuration and not to be registered: another member has them.
    pub(super) fn not_here(&self) -> BTreeSet<Key> {
        let standbys = self.parts.values().filter(|part| part.told.part == GroupPart::Standby);
        standbys.flat_map(|part| &part.told.keys).copied().collect()
    }

    /// What is kept over a restart: who has what of a group may be another one then, and the authority tells.
    pub(super) fn kept(&self, objects: &Arc<Objects>) -> Arc<Objects> {
        let names: Vec<ObjectName> = self.parts.values().map(Part::name).collect();
        if !names.iter().any(|name| objects.all.contains_key(name)) {
            return objects.clone();
        }
        let mut all = (*objects.all).clone();
        names.iter().for_each(|name| _ = all.remove(name));
        Arc::new(Objects { known: objects.known.clone(), all: Arc::new(all) })
    }

    fn told(&mut self, groups: &NodeGroups) {
        let over: Vec<String> =
            self.parts.keys().filter(|name| !groups.contains_key(*name)).cloned().collect();
        for part in over.iter().filter_map(|name| self.parts.remove(name)) {
            self.over.extend(part.at.filter(|_| part.is_ordered).map(|at| (at, part.told.attachment)));
        }
        for (name, told) in groups {
            match self.parts.get_mut(name) {
                Some(part) => part.told = told.clone(),
                None => {
                    let part = Part { told: told.clone(), at: None, is_ordered: false, is_introduced: false };
                    self.parts.insert(name.clone(), part);
                }
            }
        }
        for part in self.parts.values_mut().filter(|part| part.told.part == GroupPart::Standby) {
            // What is there stays there, for its place in the tables says that it is a standby.
            part.is_introduced |= self.wanted.all.contains_key(&part.name());
        }
    }

    /// Does what follows from all that is known.
    fn settle(&mut self) {
        let Some(config) = self.config.clone() else { return };
        for part in self.parts.values_mut() {
            if part.at.is_none() {
                part.at = part.told.entry.as_ref().and_then(|entry| place_of(&config, entry));
            }
            let Some(at) = part.at else { continue };
            match (part.told.part, part.is_ordered) {
                (GroupPart::Standby, false) => {
                    part.is_ordered = true;
                    self.effects.push(Effect::Presence(at, standby()));
                }
                (GroupPart::Active, true) => {
                    part.is_ordered = false;
                    self.effects.push(Effect::Presence(at, Presence::default()));
                }
                (GroupPart::Standby, true) | (GroupPart::Active, false) => {}
            }
        }
        self.compose();
        // One that goes is never here for a moment: its entry is out of force first.
        let wanted = &self.wanted;
        let is_there = |name: &String| config.attachments.iter().any(|one| one.name.as_ref() == Some(name));
        let is_wanted = |name: &String| wanted.all.contains_key(&ObjectName::Attachment(name.clone()));
        let parts = &self.parts;
        let is_standby =
            |at: &AttachmentKey| parts.values().any(|part| part.at == Some(*at) && part.is_ordered);
        let effects = &mut self.effects;
        self.over.retain(|(at, name)| {
            let waits = is_there(name) && !is_wanted(name);
            if !waits && !is_standby(at) {
                effects.push(Effect::Presence(*at, Presence::default()));
            }
            waits
        });
    }

    /// Brings into force what operators want, and beside it what is on standby.
    fn compose(&mut self) {
        let entries = self.parts.values().filter_map(|part| part.entry(&self.wanted));
        let beside: BTreeMap<ObjectName, Seen> = entries
            .filter(|seen| !self.wanted.all.contains_key(&seen.name))
            .map(|seen| (seen.name.clone(), seen))
            .collect();
        let (before, same) = &self.composed;
        if Arc::ptr_eq(before, &self.wanted) && *same == beside {
            return;
        }
        let objects = match beside.is_empty() {
            true => self.wanted.clone(),
            false => {
                let mut all = (*self.wanted.all).clone();
                all.extend(beside.iter().map(|(name, seen)| (name.clone(), seen.clone())));
                Arc::new(Objects { known: self.wanted.known.clone(), all: Arc::new(all) })
            }
        };
        self.composed = (self.wanted.clone(), beside);
        self.effects.push(Effect::Objects(objects));
    }
}

/// Where the VM or task of a standby is, for the tables: elsewhere. What comes for it follows the mapping of the authority,
/// and what it sends is dropped.
fn standby() -> Presence {
    Presence::Departed(Departure {
        locators: Vec::new(),
        tunnel: None,
        in_flight: Some(InFlight::Drop),
        until_ms: 0,
        may_send: false,
    })
}

#[cfg(test)]
mod tests;
