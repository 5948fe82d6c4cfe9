//! Moves of attachments, as sessions and operators have part in them.

use super::Authority;
use crate::config::ObjectName;
use crate::nva::commits::Authors;
use crate::nva::event::{By, Event, Kind};
use crate::nva::message::{MoveReport, SessionId, Ticket};
use crate::nva::mobility::{Fact, Move, MoveId, MoveState, Moves, Role, Spreading};
use crate::nva::model::{ObjectKey, Transaction};
use crate::nva::registry::moving::{Step, StepWhat, why_not};

impl Authority {
    /// All moves.
    #[must_use]
    pub fn moves(&self) -> &Moves {
        self.registry.moves()
    }

    /// How long the state of a move lasts yet; none: until somebody does something.
    #[must_use]
    pub fn left_ms(&self, id: MoveId) -> Option<u64> {
        self.registry.moves().left_ms(id, self.now_ms)
    }

    /// What NVEs said of moves that they have no such part in, or without the token.
    #[must_use]
    pub fn refused_moves(&self) -> u64 {
        self.sessions.refused_moves
    }

    /// Milliseconds since 1970, as far as the clock of this process goes.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.settings.began_unix_ms + self.now_ms
    }

    /// An operator wants something of moves.
    pub(super) fn operate_move(&mut self, ticket: Ticket, who: String, what: StepWhat) {
        if !self.commits.step(Step { by: By::Operator(ticket), who, what }) {
            let why = "too much waits that is wanted of moves; try again".to_owned();
            self.effects.push(super::Effect::Released(ticket, Err(why)));
        }
    }

    /// An NVE says something of a move.
    pub(super) fn hear_of_move(&mut self, id: SessionId, report: MoveReport, now_ms: u64) {
        let Some((session, allowance)) = self.sessions.with_allowance(id) else { return };
        let Some(nve) = session.nve.clone() else { return };
        // It says again what is not heard.
        if self.registry.is_known(&nve, &report) || !allowance.moves.take(now_ms) {
            return;
        }
        let what = StepWhat::Report(nve.to_string(), report);
        self.commits.step(Step { by: By::Session(id, Some(nve.clone())), who: nve.to_string(), what });
    }

    /// Time has passed.
    pub(super) fn tick_moves(&mut self, now_ms: u64) {
        for (id, state) in self.registry.moves().expired(now_ms) {
            self.commits.step_by_itself(id, Fact::Expired(state));
        }
        self.note_spread();
    }

    /// Those that everybody has applied drain from now on, and the other authorities hear of it. What those with sessions
    /// elsewhere have applied their authorities say; as long as one does not, the move takes its time.
    pub(super) fn note_spread(&mut self) {
        if self.spreading.is_empty() {
            return;
        }
        if let Some(applied) = self.spreading.next_to_tell().filter(|_| self.settings.commits.is_shared) {
            self.effects.push(super::Effect::Applied(applied));
        }
        let elsewhere = self.elsewhere.all_applied();
        self.spreading.done(elsewhere).for_each(|id| self.commits.step_by_itself(id, Fact::Applied));
    }

    /// The store was read anew: who has to apply what is known again.
    pub(super) fn begin_spreading_anew(&mut self) {
        self.spreading = Spreading::default();
        let moves = self.registry.moves().iter().filter(|one| one.state == MoveState::Spreading);
        for one in moves {
            self.spreading.begin(one.id, one.committed, self.sessions.behind(one.committed));
        }
        self.note_spread();
    }

    /// Notes what a transaction did to moves. It is applied; `before` is what they were.
    pub(super) fn note_moves(&mut self, transaction: &Transaction, before: &[Move]) {
        let now = transaction.moves.iter().filter_map(|(_, one)| one.as_ref());
        self.sessions.note_moves(now.chain(before));
        transaction.objects.iter().for_each(|(key, object)| self.judge_places(key, object.is_some()));
        for (id, one) in &transaction.moves {
            match one {
                Some(one) if one.state == MoveState::Spreading => {
                    if !self.spreading.has(*id) && one.committed == self.registry.revision() {
                        self.spreading.begin(*id, one.committed, self.sessions.behind(one.committed));
                    }
                }
                Some(one) => {
                    self.spreading.end(*id);
                    self.judge_parts(one);
                }
                None => self.spreading.end(*id),
            }
        }
        self.note_spread();
    }

    /// An attachment was made or deleted. An authority of an earlier release, before the same store, does so also with one
    /// that moves: that ends its move, or is shown by it.
    fn judge_places(&mut self, key: &ObjectKey, is_there: bool) {
        let ObjectName::Attachment(name) = &key.name else { return };
        let moves = self.registry.moves().of(&key.nve);
        let role = if is_there { Role::New } else { Role::Old };
        let is_hit = |one: &&Move| {
            one.attachment == *name && one.state.is_before_commit() && one.nve(role) == key.nve.as_str()
        };
        let hit: Vec<MoveId> = moves.filter(is_hit).map(|one| one.id).collect();
        for id in hit {
            let what = if is_there { "made" } else { "deleted" };
            let why = format!("somebody {what} {key} meanwhile");
            self.commits.step_by_itself(id, Fact::Failed(role, why));
        }
    }

    /// Whether those that have a session here take a move that begins.
    fn judge_parts(&mut self, one: &Move) {
        if one.state != MoveState::Preparing {
            return;
        }
        for role in [Role::Old, Role::New] {
            let nve = one.nve(role);
            let session = self.sessions.of(nve).and_then(|id| self.sessions.all.get(&id));
            if let Some(session) = session.filter(|session| !session.modes.has(one.mode)) {
                let why = why_not(nve, one.mode, session.modes);
                self.commits.step_by_itself(one.id, Fact::Failed(role, why));
            }
        }
    }

    /// Tells operators what a transaction does to moves. It is not applied yet.
    pub(super) fn tell_moves(&mut self, transaction: &Transaction, authors: &Authors) {
        for (id, now) in &transaction.moves {
            let before = self.registry.moves().get(*id);
            let Some((kind, one, why)) = what_happened(before, now.as_ref()) else { continue };
            let revision = self.registry.revision() + 1;
            let event = Event::new(kind, authors.of_move(*id));
            let nve = Some(if one.state.is_before_commit() { &one.from } else { &one.to }.as_str().into());
            let name = ObjectName::Attachment(one.attachment.clone());
            let object = Some(ObjectKey { nve: one.from.clone(), name });
            let (why, networks) = (format!("move {}: {why}", id.0), one.networks.clone());
            self.sessions.events.push(Event { nve, object, networks, revision, why, ..event });
        }
    }
}

/// What operators are told of a move.
fn what_happened<'m>(before: Option<&'m Move>, now: Option<&'m Move>) -> Option<(Kind, &'m Move, String)> {
    let last = |one: &Move| one.timeline.last().map(|moment| moment.how.clone()).unwrap_or_default();
    let Some(one) = now else {
        let before = before?;
        let how = if before.state.is_before_commit() { "it stayed at" } else { "it is at" };
        let nve = if before.state.is_before_commit() { &before.from } else { &before.to };
        return Some((Kind::MoveEnded, before, format!("{how} {nve}")));
    };
    let is_same = before.is_some_and(|before| before.state == one.state);
    let is_overdue = one.overdue && !before.is_some_and(|before| before.overdue);
    let is_noted = before.is_some_and(|before| before.timeline.len() != one.timeline.len());
    let kind = match one.state {
        MoveState::Detached if is_overdue => Kind::MoveOverdue,
        MoveState::Detached if is_same && is_noted => Kind::MoveFailed,
        _ if is_same => return None,
        MoveState::Preparing => Kind::MovePreparing,
        MoveState::Prepared => Kind::MovePrepared,
        MoveState::Detached => Kind::MoveDetached,
        MoveState::Spreading => Kind::Moved,
        MoveState::Draining => Kind::MoveDraining,
        MoveState::Aborting => Kind::MoveAborting,
    };
    Some((kind, one, last(one)))
}
