//! The node's part in moves: where the VM or task of an attachment is by the word of the authority, what the tables must
//! know of that, and what the authority is told of it (VMM draft §4, §5).
//!
//! [`Parts::step`] takes the time and one [`Input`], and gives [`Effect`]s. It has no clock, no table and no socket: the
//! shell of the session feeds it. It is level-triggered: whatever was lost or comes twice, the next input mends.

mod part;
mod probe;

use crate::config::{Config, ObjectName, RefusedEntry};
use crate::mapping::Presence;
use crate::nva::client::{NodeMoves, Objects, Seen, Sight};
use crate::nva::message::{MoveId, MoveState, MoveTold, Role};
use crate::nva::mirror::KeptMove;
use crate::nva::model::Key;
use crate::path;
use crate::table::{AttachmentKey, PortId};
pub(super) use part::place_of;
use part::{Mark, Part, Traffic, place};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long tunnels are open after a move is over, for what is still on its way through them.
const LATE_MS: u64 = 2_000;

/// Something that the node learns.
#[derive(Debug)]
pub(crate) enum Input {
    /// These are all moves that concern it.
    Told(Arc<NodeMoves>),
    /// This is what operators want at it.
    Wanted(Arc<Objects>),
    /// This configuration is in force.
    Config(Arc<Config>),
    /// These entries of what operators want, and of what moves, are refused.
    Refused(Vec<RefusedEntry>),
    /// A VM or task sent a frame that is not here.
    Seen(AttachmentKey, path::Sign),
    /// A VM or task that was asked whether it is there answered.
    Answered(AttachmentKey),
    /// What [`Effect::Probe`] wanted asked was asked, or could not be.
    Asked(AttachmentKey, bool),
    /// The link of a port came up or went down.
    Link(PortId, bool),
    /// What an [`Effect::Presence`] gave is in force in every worker, or is refused.
    InForce(AttachmentKey, Result<(), String>),
    /// Time has passed. So many packets were sent on after what has left so far.
    Tick(u64),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The VM or task of this attachment is there; one after the other for each attachment.
    Presence(AttachmentKey, Presence),
    /// Bring this into force: what operators want and what moves.
    Objects(Arc<Objects>),
    /// Ask the VM or task of this attachment whether it is there.
    Probe(AttachmentKey),
    /// Tell the authority.
    Say(MoveId, Sight),
}

/// An attachment whose move is over: its name, until when tunnels lead to it, and whether it stays here.
type Late = (String, u64, bool);

/// All moves that concern the node.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    config: Option<Arc<Config>>,
    wanted: Option<Arc<Objects>>,
    parts: BTreeMap<MoveId, Part>,
    refused: BTreeMap<ObjectName, String>,
    traffic: Traffic,
    /// How many orders of each attachment are not in force yet.
    ordered: BTreeMap<AttachmentKey, usize>,
    /// Ports whose links went down, and since when they are.
    down: BTreeMap<PortId, u64>,
    /// Names and identifiers of what has left, until the configuration is without it.
    left: BTreeMap<String, Vec<Key>>,
    /// Names of what goes out of the configuration. One that is to come again waits until it is gone.
    going: BTreeSet<String>,
    /// Those whose move is over, and until when tunnels lead to them.
    late: BTreeMap<AttachmentKey, Late>,
    /// What was brought into force last: what operators wanted, and what stands beside it.
    composed: Option<(Arc<Objects>, BTreeMap<ObjectName, Seen>)>,
    /// What was kept last over a restart.
    kept: Vec<Mark>,
    effects: Vec<Effect>,
}

impl Parts {
    /// Nothing moves yet. This is what operators want, and is in force.
    pub(crate) fn new(wanted: Arc<Objects>) -> Self {
        let composed = Some((wanted.clone(), BTreeMap::new()));
        Parts { wanted: Some(wanted), composed, ..Parts::default() }
    }

    /// The node starts in the middle of these moves, with the time that each has left, and knows its part in them before the
    /// first packet, without the authority. Gives what is to be in force from the beginning: where the VMs and tasks of
    /// attachments are, and what operators wanted with what stands beside it. It is `unix_ms` milliseconds since 1970.
    pub(crate) fn resume(
        &mut self,
        file: &Arc<Config>,
        moves: Vec<KeptMove>,
        (now_ms, unix_ms): (u64, u64),
    ) -> (Vec<(AttachmentKey, Presence)>, Arc<Objects>) {
        let parts = moves.into_iter().map(|kept| (kept.told.id, Part::restored(kept, (now_ms, unix_ms))));
        self.parts = parts.collect();
        let mut presences = BTreeMap::new();
        let mut objects = self.wanted.clone().unwrap_or_default();
        let mut inputs = vec![Input::Config(file.clone())];
        while let Some(input) = inputs.pop() {
            for effect in self.step(now_ms, input) {
                match effect {
                    // It is so in the first snapshot.
                    Effect::Presence(at, presence) => {
                        presences.insert(at, presence);
                        inputs.push(Input::InForce(at, Ok(())));
                    }
                    Effect::Objects(composed) => objects = composed,
                    // There is no session to say it in. It is said again.
                    Effect::Say(id, _) => self.parts.get_mut(&id).into_iter().for_each(Part::says_again),
                    // Nobody answers before the first packet. It is asked again.
                    Effect::Probe(at) => inputs.push(Input::Asked(at, false)),
                }
            }
        }
        (presences.into_iter().collect(), objects)
    }

    /// What of moves is to be kept over a restart, if it is another than before. The clock of this process was 0 at
    /// `began_ms`, in milliseconds since 1970.
    pub(crate) fn take_kept(&mut self, began_ms: u64) -> Option<Vec<KeptMove>> {
        let marks = self.parts.values().map(Part::mark);
        if marks.clone().eq(self.kept.iter().copied()) {
            return None;
        }
        self.kept = marks.collect();
        Some(self.parts.values().map(|part| part.to_keep(began_ms)).collect())
    }

    /// The moves that it has a part in.
    pub(crate) fn told_of(&self) -> NodeMoves {
        self.parts.iter().map(|(id, part)| (*id, part.told.clone())).collect()
    }

    /// Learns one thing, and says what is to be done.
    #[must_use = "effects are to be carried out in their order"]
    pub(crate) fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Told(moves) => self.told(&moves, now_ms),
            Input::Wanted(objects) => self.wanted = Some(objects),
            Input::Config(config) => {
                let is_there =
                    |name: &String| config.attachments.iter().any(|one| one.name.as_ref() == Some(name));
                self.left.retain(|name, _| is_there(name));
                self.going.retain(is_there);
                self.config = Some(config);
            }
            Input::Refused(refused) => {
                self.refused = refused.into_iter().map(|it| (it.name, it.why)).collect();
            }
            Input::Seen(at, sign) => {
                self.parts
                    .values_mut()
                    .filter(|part| part.at == Some(at))
                    .for_each(|part| part.seen(sign, now_ms));
            }
            Input::Answered(at) => {
                let parts = self.parts.values_mut().filter(|part| part.at == Some(at));
                parts.for_each(|part| part.probe.answered());
            }
            Input::Asked(at, is_sent) => {
                let parts = self.parts.values_mut().filter(|part| part.at == Some(at));
                parts.for_each(|part| part.probe.asked(is_sent, now_ms));
            }
            Input::Link(port, true) => _ = self.down.remove(&port),
            Input::Link(port, false) => _ = self.down.entry(port).or_insert(now_ms),
            Input::InForce(at, result) => {
                // What was ordered since is not in force by that.
                let left = self.ordered.remove(&at).map_or(0, |left| left - 1);
                if left > 0 {
                    self.ordered.insert(at, left);
                } else {
                    let parts = self.parts.values_mut().filter(|part| part.at == Some(at));
                    parts.for_each(|part| part.in_force(&result));
                }
            }
            Input::Tick(packets) => self.traffic.see(now_ms, packets),
        }
        self.settle(now_ms);
        for effect in &self.effects {
            if let Effect::Presence(at, _) = effect {
                *self.ordered.entry(*at).or_default() += 1;
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Identifiers that are in the configuration and not to be registered: they are of what is not here yet, or any more.
    pub(crate) fn not_here(&self) -> BTreeSet<Key> {
        let last = self.last_of_each();
        let away = last.values().filter_map(|id| self.parts.get(id)).filter(|part| part.is_of_the_other());
        let away = away.flat_map(|part| &part.told.keys);
        let left = self.left.iter().filter(|(name, _)| !last.contains_key(*name));
        away.chain(left.flat_map(|(_, keys)| keys)).copied().collect()
    }

    /// What of these is said of what operators want, and not of what is expected or gone.
    pub(crate) fn of_operators(&self, refused: Vec<RefusedEntry>) -> Vec<RefusedEntry> {
        let wanted = |name: &ObjectName| self.wanted.as_ref().is_none_or(|it| it.all.contains_key(name));
        refused.into_iter().filter(|it| wanted(&it.name)).collect()
    }

    /// The last move of each attachment that moves.
    fn last_of_each(&self) -> BTreeMap<String, MoveId> {
        self.parts.iter().map(|(id, part)| (part.told.attachment.clone(), *id)).collect()
    }

    /// Which move says where each attachment is: the last one, but until everybody knows of the one before.
    fn deciding(&self) -> BTreeMap<String, MoveId> {
        let mut deciding: BTreeMap<String, MoveId> = BTreeMap::new();
        for (id, part) in &self.parts {
            let before = deciding.get(&part.told.attachment).and_then(|id| self.parts.get(id));
            if before.is_none_or(|before| before.told.state != MoveState::Spreading) {
                deciding.insert(part.told.attachment.clone(), *id);
            }
        }
        deciding
    }

    fn told(&mut self, moves: &NodeMoves, now_ms: u64) {
        let over: Vec<MoveId> = self.parts.keys().filter(|id| !moves.contains_key(id)).copied().collect();
        let mut left: BTreeMap<String, Part> = BTreeMap::new();
        for part in over.iter().filter_map(|id| self.parts.remove(id)) {
            left.insert(part.told.attachment.clone(), part);
        }
        for (id, told) in moves {
            match self.parts.get_mut(id) {
                Some(part) => part.told(told, now_ms),
                None => {
                    let before = left.remove(&told.attachment);
                    let others = self.parts.values().rev();
                    let other = others.into_iter().find(|part| part.told.attachment == told.attachment);
                    let part = Part::new(told.clone(), before.as_ref().or(other), now_ms);
                    self.left.remove(&told.attachment);
                    self.parts.insert(*id, part);
                }
            }
        }
        for part in left.into_values() {
            self.end(part, now_ms);
        }
    }

    /// A move is over. What stays here is here and moves no longer; what does not is forgotten with its entry.
    fn end(&mut self, part: Part, now_ms: u64) {
        if self.parts.values().any(|other| other.told.attachment == part.told.attachment) {
            return;
        }
        let stays = self.wanted.as_ref().is_none_or(|it| it.all.contains_key(&part.name()));
        if !stays && part.is_of_the_other() {
            self.left.insert(part.told.attachment.clone(), part.told.keys.clone());
        }
        if let Some(at) = part.at.filter(|_| part.ordered != Presence::default()) {
            self.late.insert(at, (part.told.attachment.clone(), now_ms + LATE_MS, stays));
        }
    }

    /// Closes the tunnels of moves that are over for so long that nothing comes through them any more.
    fn close_tunnels(&mut self, now_ms: u64) {
        let config = self.config.clone();
        // One that goes is never here for a moment: its entry is out of force first.
        let is_there = |name: &String| {
            config.iter().any(|config| config.attachments.iter().any(|one| one.name.as_ref() == Some(name)))
        };
        let is_due = |(name, until_ms, stays): &Late| now_ms >= *until_ms && (*stays || !is_there(name));
        let due: Vec<AttachmentKey> =
            self.late.iter().filter(|(_, late)| is_due(late)).map(|(at, _)| *at).collect();
        for at in due {
            self.late.remove(&at);
            let moves_again = |part: &Part| part.at == Some(at) && part.ordered != Presence::default();
            if !self.parts.values().any(moves_again) {
                self.effects.push(Effect::Presence(at, Presence::default()));
            }
        }
    }

    /// Does what follows from all that is known.
    fn settle(&mut self, now_ms: u64) {
        let Some(config) = self.config.clone() else { return };
        let deciding = self.deciding();
        for (id, part) in &mut self.parts {
            part.waits(self.going.contains(&part.told.attachment));
            part.keep(self.wanted.as_ref());
            if part.at.is_none() {
                part.at = place(&config, &part.told, part.kept_entry());
            }
            part.link(part.at.and_then(|at| self.down.get(&at.port).copied()));
            part.wait(now_ms);
            let presence = part.presence(&config, now_ms);
            let decides = deciding.get(&part.told.attachment) == Some(id);
            let at = part.at.filter(|_| decides && !part.is_waiting());
            if let Some(at) = at.filter(|_| presence != part.ordered) {
                part.order(presence.clone(), now_ms);
                self.effects.push(Effect::Presence(at, presence));
            }
        }
        for (id, part) in &mut self.parts {
            let decides = deciding.get(&part.told.attachment) == Some(id);
            if let Some(at) = part.at.filter(|_| decides && part.asks(&config, now_ms)) {
                self.effects.push(Effect::Probe(at));
            }
        }
        self.close_tunnels(now_ms);
        self.compose();
        for (id, part) in &mut self.parts {
            let refused = self.refused.get(&part.name());
            // One that another move took over has nothing more to do, and one that waits for another is not ready.
            let decides = deciding.get(&part.told.attachment) == Some(id);
            let sight = match (decides, part.told.state) {
                (true, _) => part.sight(&config, refused, &self.traffic, now_ms),
                (false, MoveState::Draining) => part.says(Sight::Drained),
                (false, _) => None,
            };
            if let Some(sight) = sight {
                self.effects.push(Effect::Say(*id, sight));
            }
        }
    }

    /// Brings into force what operators want, and beside it what is expected, and what has left and may still get packets.
    fn compose(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        let kept = self.parts.values().filter_map(Part::kept);
        let beside: BTreeMap<ObjectName, Seen> = kept
            .filter(|seen| !wanted.all.contains_key(&seen.name))
            .map(|seen| (seen.name.clone(), seen.clone()))
            .collect();
        let is_same = self
            .composed
            .as_ref()
            .is_some_and(|(before, same)| Arc::ptr_eq(before, wanted) && *same == beside);
        if is_same {
            return;
        }
        let objects = match beside.is_empty() {
            true => wanted.clone(),
            false => {
                let mut all = (*wanted.all).clone();
                all.extend(beside.iter().map(|(name, seen)| (name.clone(), seen.clone())));
                Arc::new(Objects { known: wanted.known.clone(), all: Arc::new(all) })
            }
        };
        let before = self.composed.iter().flat_map(|(_, beside)| beside.keys());
        let is_in_force = |name: &String| {
            let config = self.config.as_ref();
            config.is_some_and(|config| config.attachments.iter().any(|one| one.name.as_ref() == Some(name)))
        };
        let gone = before.filter_map(|name| match name {
            ObjectName::Attachment(name)
                if !objects.all.contains_key(&ObjectName::Attachment(name.clone())) =>
            {
                Some(name.clone())
            }
            _ => None,
        });
        let gone: Vec<String> = gone.filter(is_in_force).collect();
        self.going.extend(gone);
        self.going.retain(|name| !objects.all.contains_key(&ObjectName::Attachment(name.clone())));
        self.composed = Some((wanted.clone(), beside));
        self.effects.push(Effect::Objects(objects));
    }
}

/// Whether a move that was told gives its identifiers to the new NVE already.
fn is_committed(told: &MoveTold) -> bool {
    !told.state.is_before_commit()
}

/// Whether the node that was told has the attachment, by the word of the authority.
fn is_owner(told: &MoveTold) -> bool {
    (told.role == Role::New) == is_committed(told)
}

#[cfg(test)]
mod tests;
