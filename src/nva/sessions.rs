//! All sessions of an authority: who is told of what changed, and what operators are told of what sessions did.

use super::absent::Absent;
use super::addresses::AddressCounts;
use super::catalogue::Touched;
use super::event::{By, Event, Kind};
use super::failover::{Brake, Silence};
use super::interest::{Asked, Watchers};
use super::message::{Down, Encoded, SessionId};
use super::mobility::{Move, MoveId};
use super::model::{Key, ObjectKey};
use super::registry::{Refusal, Registry};
use super::session::{Allowance, Session};
use super::throttle::Throttle;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) all: BTreeMap<SessionId, Session>,
    /// By the name of the NVE.
    pub(super) allowances: HashMap<Arc<str>, Allowance>,
    /// Those for which there may be something to send.
    pub(super) due: BTreeSet<SessionId>,
    pub(super) watchers: Watchers,
    pub(super) absent: Absent,
    /// Since when NVEs have no session that had one.
    pub(super) away: BTreeMap<Arc<str>, u64>,
    /// Which of them count as lost.
    pub(super) silence: Silence,
    /// Whether nobody fails over.
    pub(super) brake: Brake,
    /// What operators are to be told.
    pub(super) events: Vec<Event>,
    /// How much operators are told of what was refused to sessions that ended meanwhile.
    pub(super) refusals: Throttle,
    pub(super) asked: Asked,
    /// What NVEs said of moves that was refused.
    pub(super) refused_moves: u64,
    /// What became of addresses that NVEs asked for.
    pub(super) addresses: AddressCounts,
}

impl Sessions {
    /// A session that said who it is, and what it may take.
    pub(super) fn with_allowance(&mut self, id: SessionId) -> Option<(&mut Session, &mut Allowance)> {
        let session = self.all.get_mut(&id)?;
        let allowance = self.allowances.get_mut(session.nve.as_ref()?)?;
        Some((session, allowance))
    }

    /// The session of an NVE.
    pub(super) fn of(&self, nve: &str) -> Option<SessionId> {
        self.all.iter().find(|(_, session)| session.nve.as_deref() == Some(nve)).map(|(id, _)| *id)
    }

    /// Forgets a session, whose NVE may use what it asked for `used_ms` more. Gives whether it was there.
    pub(super) fn remove(&mut self, id: SessionId, now_ms: u64, used_ms: u64) -> bool {
        let Some(mut session) = self.all.remove(&id) else { return false };
        self.events.extend(session.untold(id, None));
        if let Some(nve) = &session.nve {
            self.away.insert(nve.clone(), now_ms);
            self.silence.left(nve.clone(), session.heard_ms, session.lease_ms);
        }
        match (session.nve.clone(), session.interests_mut()) {
            (Some(nve), Some(interests)) => {
                self.watchers.forget(id, interests);
                self.absent.left(&nve, interests.keys(), now_ms, now_ms + used_ms);
            }
            (Some(nve), None) => self.absent.forget(&nve),
            (None, _) => {}
        }
        true
    }

    /// Notes for those who asked that identifiers changed.
    pub(super) fn note_changes(&mut self, keys: impl Iterator<Item = Key>) {
        for (id, key) in self.watchers.of(keys) {
            if let Some(interests) = self.all.get_mut(&id).and_then(Session::interests_mut) {
                interests.changed(key);
                self.due.insert(id);
            }
        }
    }

    /// There may be news for all who follow everything. Gives how many these are.
    pub(super) fn due_followers(&mut self) -> usize {
        let Sessions { all, due, .. } = self;
        let live = all.iter().filter(|(_, session)| session.is_live()).map(|(id, _)| *id);
        live.map(|id| due.insert(id)).count()
    }

    /// What anybody sees of what operators want may be another one.
    pub(super) fn touch_all(&mut self) {
        for (id, session) in &mut self.all {
            if let Some(provisioning) = &mut session.provisioning {
                provisioning.touch_all();
                self.due.insert(*id);
            }
        }
    }

    /// Notes whose view a transaction touches.
    pub(super) fn note_touched(&mut self, touched: &Touched, registry: &Registry) {
        for (id, session) in &mut self.all {
            let (Some(provisioning), Some(nve)) = (&mut session.provisioning, &session.nve) else { continue };
            if provisioning.touch(nve, touched, registry.sees_all(nve)) {
                self.due.insert(*id);
            }
        }
    }

    /// What anybody sees of moves may be something else: NVEs have other locators.
    pub(super) fn touch_moves(&mut self) {
        for (id, session) in &mut self.all {
            if let Some(moving) = &mut session.moving {
                moving.begin_anew();
                self.due.insert(*id);
            }
        }
    }

    /// Notes whom moves concern that changed or are over.
    pub(super) fn note_moves<'m>(&mut self, moves: impl Iterator<Item = &'m Move>) {
        let nves: BTreeSet<&str> = moves.flat_map(|one| [one.from.as_str(), one.to.as_str()]).collect();
        if nves.is_empty() {
            return;
        }
        for (id, session) in &mut self.all {
            let (Some(moving), Some(nve)) = (&mut session.moving, &session.nve) else { continue };
            if nves.contains(nve.as_ref()) {
                moving.touch();
                self.due.insert(*id);
            }
        }
    }

    /// Those who are told of all transactions and have not applied this one.
    pub(super) fn behind(&self, revision: u64) -> BTreeSet<SessionId> {
        let is_behind = |session: &Session| session.subscribed_at.is_some() && session.applied < revision;
        self.all.iter().filter(|(_, session)| is_behind(session)).map(|(id, _)| *id).collect()
    }

    /// Notes that what an NVE says of a move is refused, for operators.
    pub(super) fn note_refused_move(
        &mut self,
        id: SessionId,
        MoveId(number): MoveId,
        why: String,
        now_ms: u64,
    ) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if session.refusals.is_told(now_ms) {
            let nve = session.nve.clone();
            let event = Event::new(Kind::MoveRefused, By::Session(id, nve.clone()));
            let why = format!("move {number}: {why}");
            self.events.push(Event { nve, why, ..event });
        }
    }

    /// Notes that a session is refused something, for operators.
    pub(super) fn note_refusal(
        &mut self,
        (id, nve): (SessionId, &Arc<str>),
        key: Option<Key>,
        refusal: &Refusal,
        now_ms: u64,
    ) {
        let throttle = self.all.get_mut(&id).map_or(&mut self.refusals, |session| &mut session.refusals);
        if throttle.is_told(now_ms) {
            let (why, nve) = (refusal.why.clone(), Some(nve.clone()));
            let new = Event::new(Kind::Refused, By::Session(id, nve.clone()));
            self.events.push(Event { nve, key, sequence: refusal.sequence, why, ..new });
        }
    }

    /// Notes for operators that the tenant of an attachment gets no address.
    pub(super) fn note_refused_address(
        &mut self,
        (id, nve): (SessionId, &Arc<str>),
        (object, networks): (ObjectKey, Vec<String>),
        refusal: &Refusal,
        now_ms: u64,
    ) {
        let throttle = self.all.get_mut(&id).map_or(&mut self.refusals, |session| &mut session.refusals);
        if throttle.is_told(now_ms) {
            let new = Event::new(Kind::Refused, By::Session(id, Some(nve.clone())));
            let (nve, object, why) = (Some(nve.clone()), Some(object), refusal.why.clone());
            self.events.push(Event { nve, object, networks, why, ..new });
        }
    }

    /// Notes for operators that a session asks what it may not be told.
    pub(super) fn note_refused_question(&mut self, id: SessionId, why: String, now_ms: u64) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if session.refusals.is_told(now_ms) {
            let nve = session.nve.clone();
            self.events.push(Event {
                nve: nve.clone(),
                why,
                ..Event::new(Kind::Refused, By::Session(id, nve))
            });
        }
    }

    /// Notes what was not told one by one, if it is time to say so.
    pub(super) fn note_rest(&mut self, now_ms: u64) {
        let rest = self.all.iter_mut().flat_map(|(id, session)| session.untold(*id, Some(now_ms)));
        self.events.extend(rest);
        for count in self.refusals.rest(now_ms).into_values() {
            self.events.push(Event { count, ..Event::new(Kind::MoreRefused, By::Authority) });
        }
    }

    /// Answers a request.
    pub(super) fn tell(&mut self, id: SessionId, answer: Down<Encoded>) {
        if let Some(session) = self.all.get_mut(&id) {
            session.answer(answer);
            self.due.insert(id);
        }
    }
}
