//! The authority: sessions of NVEs around one registry.
//!
//! [`Authority::step`] takes the time and one [`Input`], and gives [`Effect`]s. It has no clock, no socket, no thread
//! and no file: a shell feeds it. What is answered as registered is durable: requests that come while a commit is
//! under way go into the next one together.

use super::message::{Down, Told, Up, VERSION};
use super::model::{Key, Record, Transaction};
use super::registry::{Draft, Refusal, Registry};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Mappings in one page of a snapshot.
pub(super) const PAGE: usize = 1_000;
/// Records that one transaction writes, at most: a delta with all locators of each fits one message.
pub(super) const BATCH: usize = 2_048;
/// Requests of one session that wait, at most.
const WAITING: usize = 100_000;

/// Names a session as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Something that the authority learns.
#[derive(Debug)]
pub enum Input {
    /// A stream was opened; with the name of the NVE if a certificate proves it.
    Opened(SessionId, Option<String>),
    /// A message came.
    Up(SessionId, Up),
    /// The peer of a stream is trusted no longer, and why.
    Distrusted(SessionId, String),
    /// A stream ended.
    Closed(SessionId),
    /// The commit under way is durable, or nothing of it is there and why.
    Committed(Result<(), String>),
    /// Time has passed.
    Tick,
}

/// What the authority wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this to an NVE.
    Down(SessionId, Down),
    /// End a stream, after what was sent.
    Close(SessionId),
    /// Make this durable and say so; one at a time.
    Commit(Transaction),
}

/// What never changes while it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the registry's history.
    pub epoch: Vec<u8>,
    /// A session ends when nothing comes for so long.
    pub lease_ms: u32,
}

#[derive(Debug)]
struct Session {
    /// The name that a certificate proves.
    proved: Option<String>,
    /// Once it said who it is.
    nve: Option<String>,
    heard_ms: u64,
    subscribed: bool,
    applied: u64,
    waiting: usize,
    /// What it registered in this session.
    claimed: BTreeSet<Key>,
}

#[derive(Debug)]
enum Request {
    Register(Key, Vec<super::model::Choice>),
    Unregister(Key),
}

#[derive(Debug)]
struct Asked {
    session: SessionId,
    nve: String,
    /// What the answer repeats; none if nobody waits for one.
    id: Option<u64>,
    request: Request,
}

/// Session, request and sequence of what is answered once it is durable.
type Answered = (SessionId, Option<u64>, u64);

/// A commit under way.
#[derive(Debug)]
struct Flight {
    transaction: Transaction,
    answers: Vec<Answered>,
}

/// Sessions around a registry.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
    registry: Registry,
    sessions: BTreeMap<SessionId, Session>,
    queue: VecDeque<Asked>,
    flight: Option<Flight>,
    effects: Vec<Effect>,
}

/// An NVE with a session, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NveState {
    /// Its name.
    pub name: String,
    /// Everything up to this revision is in force there.
    pub applied: u64,
}

impl Authority {
    /// An authority without sessions.
    #[must_use]
    pub fn new(settings: Settings, registry: Registry) -> Self {
        Authority {
            settings,
            registry,
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            flight: None,
            effects: Vec::new(),
        }
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// NVEs with a session.
    pub fn nves(&self) -> impl Iterator<Item = NveState> {
        self.sessions
            .values()
            .filter_map(|session| Some(NveState { name: session.nve.clone()?, applied: session.applied }))
    }

    /// Learns one thing, and says what is to be done.
    #[must_use = "effects are to be carried out in their order"]
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Opened(id, proved) => {
                let session = Session {
                    proved,
                    nve: None,
                    heard_ms: now_ms,
                    subscribed: false,
                    applied: 0,
                    waiting: 0,
                    claimed: BTreeSet::new(),
                };
                self.sessions.insert(id, session);
            }
            Input::Distrusted(id, why) => self.end(id, why),
            Input::Closed(id) => _ = self.sessions.remove(&id),
            Input::Up(id, up) => self.receive(id, up, now_ms),
            Input::Committed(done) => self.committed(done, now_ms),
            Input::Tick => self.end_silent(now_ms),
        }
        self.commit_next(now_ms);
        std::mem::take(&mut self.effects)
    }

    fn down(&mut self, to: SessionId, message: Down) {
        self.effects.push(Effect::Down(to, message));
    }

    fn end(&mut self, id: SessionId, why: String) {
        if self.sessions.remove(&id).is_some() {
            self.down(id, Down::Error(why));
            self.effects.push(Effect::Close(id));
        }
    }

    fn end_silent(&mut self, now_ms: u64) {
        let lease = u64::from(self.settings.lease_ms);
        let silent = self.sessions.iter().filter(|(_, session)| now_ms >= session.heard_ms + lease);
        let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
        for id in silent {
            self.end(id, format!("nothing came for {lease} ms"));
        }
    }

    fn receive(&mut self, id: SessionId, up: Up, now_ms: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.heard_ms = now_ms;
        let (nve, request) = match (&session.nve, up) {
            (None, Up::Hello { versions, nve, .. }) => return self.greet(id, &versions, nve),
            (None, _) => return self.end(id, "the first message is not Hello".to_owned()),
            (Some(_), Up::Hello { .. }) => return self.end(id, "a second Hello".to_owned()),
            (Some(_), Up::Beat) => {
                // An answer, so that the NVE sees that the authority is alive.
                let revision = self.registry.revision();
                if session.subscribed {
                    self.down(id, Down::Progress(revision));
                }
                return;
            }
            (Some(_), Up::Applied(revision)) => {
                session.applied = session.applied.max(revision);
                return;
            }
            (Some(_), Up::Subscribe) => return self.subscribe(id),
            (Some(_), Up::Complete) => return self.release_others(id),
            (Some(nve), Up::Register { id, key, choices }) => {
                session.claimed.insert(key);
                (nve.clone(), (id, Request::Register(key, choices)))
            }
            (Some(nve), Up::Unregister { id, key }) => {
                session.claimed.remove(&key);
                (nve.clone(), (id, Request::Unregister(key)))
            }
        };
        session.waiting += 1;
        if session.waiting > WAITING {
            return self.end(id, format!("more than {WAITING} requests wait for an answer"));
        }
        let (number, request) = request;
        self.queue.push_back(Asked { session: id, nve, id: Some(number), request });
    }

    /// Releases what an NVE does not have any more: it was attached before it started anew.
    fn release_others(&mut self, id: SessionId) {
        let Some(Session { nve: Some(nve), claimed, .. }) = self.sessions.get(&id) else { return };
        let own = self.registry.held().filter(|(key, record)| record.owner == *nve && !claimed.contains(key));
        let release = |(key, _): (&Key, &Record)| Asked {
            session: id,
            nve: nve.clone(),
            id: None,
            request: Request::Unregister(*key),
        };
        let others: Vec<Asked> = own.map(release).collect();
        self.queue.extend(others);
    }

    fn greet(&mut self, id: SessionId, versions: &[u32], nve: String) {
        if !versions.contains(&VERSION) {
            let spoken = versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            return self.end(id, format!("this authority speaks version {VERSION}, and the NVE {spoken}"));
        }
        let proved = self.sessions.get(&id).and_then(|session| session.proved.as_ref());
        if let Some(proved) = proved.filter(|proved| **proved != nve) {
            return self.end(id, format!("the certificate is that of {proved}, and Hello says `{nve}`"));
        }
        if !self.registry.knows(&nve) {
            return self.end(id, format!("`{nve}` is no NVE of this authority; add it to nves"));
        }
        let before = self.sessions.iter().find(|(_, other)| other.nve.as_ref() == Some(&nve));
        if let Some(before) = before.map(|(before, _)| *before) {
            self.end(before, format!("{nve} opened another session"));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.nve = Some(nve);
        }
        let Settings { epoch, lease_ms } = self.settings.clone();
        let revision = self.registry.revision();
        self.down(id, Down::Welcome { version: VERSION, epoch, revision, lease_ms });
    }

    /// Sends the snapshot. Later transactions follow it as deltas.
    fn subscribe(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.subscribed = true;
        }
        let all: Vec<Told> = self.registry.held().map(told).collect();
        for page in all.chunks(PAGE) {
            self.down(id, Down::Page(page.to_vec()));
        }
        self.down(id, Down::SnapshotEnd(self.registry.revision()));
    }

    /// Begins the next commit with what waits, if none is under way.
    fn commit_next(&mut self, now_ms: u64) {
        while self.flight.is_none() && !self.queue.is_empty() {
            let (mut draft, mut answers) = (Draft::default(), Vec::new());
            while draft.len() < BATCH {
                let Some(Asked { session, nve, id, request }) = self.queue.pop_front() else { break };
                let judged = match request {
                    Request::Register(key, choices) => {
                        self.registry.register(&mut draft, &nve, key, choices, now_ms)
                    }
                    Request::Unregister(key) => self.registry.unregister(&mut draft, &nve, key),
                };
                match judged {
                    Ok(sequence) => answers.push((session, id, sequence)),
                    Err(refusal) => self.refuse(session, id, refusal),
                }
            }
            match draft.finish() {
                Some(transaction) => {
                    self.effects.push(Effect::Commit(transaction.clone()));
                    self.flight = Some(Flight { transaction, answers });
                }
                None => self.answer(answers),
            }
        }
    }

    fn committed(&mut self, done: Result<(), String>, now_ms: u64) {
        let Some(Flight { transaction, answers }) = self.flight.take() else { return };
        if let Err(why) = done {
            for (session, id, sequence) in answers {
                let why = format!("the store does not answer: {why}; try again");
                self.refuse(session, id, Refusal { owner: None, sequence, why, temporary: true });
            }
            return;
        }
        self.registry.apply(&transaction, now_ms);
        self.answer(answers);
        let revision = self.registry.revision();
        let mappings: Vec<Told> =
            transaction.writes.iter().map(|(key, record)| told((key, record))).collect();
        let subscribed = self.sessions.iter().filter(|(_, session)| session.subscribed);
        let subscribed: Vec<SessionId> = subscribed.map(|(id, _)| *id).collect();
        for id in subscribed {
            self.down(id, Down::Delta(revision, mappings.clone()));
            self.down(id, Down::Progress(revision));
        }
    }

    fn answer(&mut self, answers: Vec<Answered>) {
        let revision = self.registry.revision();
        for (session, id, sequence) in answers {
            let Some(id) = id else { continue };
            self.answered(session);
            self.down(session, Down::Registered { id, sequence, revision });
        }
    }

    fn refuse(&mut self, session: SessionId, id: Option<u64>, refusal: Refusal) {
        let Some(id) = id else { return };
        self.answered(session);
        let Refusal { owner, sequence, why, temporary } = refusal;
        self.down(session, Down::Refused { id, owner, sequence, why, temporary });
    }

    fn answered(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.waiting = session.waiting.saturating_sub(1);
        }
    }
}

fn told((key, record): (&Key, &Record)) -> Told {
    Told { key: *key, choices: record.choices.clone(), sequence: record.sequence }
}
