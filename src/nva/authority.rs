//! The authority: sessions of NVEs around one registry.
//!
//! [`Authority::step`] takes the time and one [`Input`], and gives [`Effect`]s. It has no clock, no socket, no thread
//! and no file: a shell feeds it. What is answered as registered is durable: requests that come while a commit is
//! under way go into the next one together.

mod elsewhere;
mod events;
mod failover;
mod interface;
mod networks;
mod moves;
mod redirects;
mod shown;

use super::absent::Absent;
use super::attached::Attached;
use super::bucket::Bucket;
use super::commits::{Authors, BATCH, Commits};
use super::convergence::{Convergence, Convergences};
use super::drift::Drift;
use super::elsewhere::OtherSessions;
use super::event::{By, Event, Kind};
use super::failover::{Group, Grouping, Silence};
use super::interest::Asked;
use super::log::{Limits, Log, Pages};
use super::message::{Down, Modes, Up, VERSION};
use super::mobility::{Move, Moving, Spreading};
use super::model::{Network, Transaction};
use super::provision::Provisioning;
use super::registry::moving::StepWhat;
use super::registry::{Claim, Registry};
use super::session::{Allowance, Request, Session, Shared};
use super::sessions::Sessions;
use super::store::Stored;
use super::throttle::Throttle;
use crate::config::{ObjectName, RefusedEntry};
use std::sync::Arc;

pub use super::commits::{Commit, CommitRules, Released};
pub use super::message::{SessionId, Ticket};
pub use interface::{Configured, Drifts, Effect, Input, SessionLimits, Settings, Triangles, used_ms};

/// Who comes to run again only after so long did not run meanwhile, and could hear nobody.
const STANDSTILL_MS: u64 = 1_000;

/// Requests of one session that wait, at most.
const WAITING: usize = 100_000;
/// Snapshots that an NVE may have at once, and the time after which it may have another one.
const SNAPSHOTS: (u64, u64) = (10, 6_000_000);
/// Queries that an NVE may make at once, and the time after which it may make another one.
const QUERIES: (u64, u64) = (2_000, 1_000);
/// Triangular packets of one ILA router that are heard at once, and the time after which another one is.
const TRIANGLES: (u64, u64) = (200, 10_000);
/// What an NVE may say of moves at once, and the time after which it may say something more.
const MOVES: (u64, u64) = (2_000, 1_000);
/// Attached networks that an NVE may report at once, and the time after which it may report another one: each report
/// counts as one more.
const REPORTS: (u64, u64) = (16_384, 100);
/// What an authority keeps for its sessions, all together. One that is further behind gets a snapshot.
pub const LIMITS: Limits = Limits {
    transactions: 8_192,
    transaction_bytes: 4 << 20,
    message_records: BATCH,
    message_bytes: super::MAX_MESSAGE_BYTES - 1_024,
    window: 128 << 10,
    page: 1_000,
    page_bytes: 16 << 20,
    news_per_ms: 20,
};

/// When those who follow everything are told next.
#[derive(Debug, Default)]
struct News {
    due_ms: u64,
    /// Whether there is something to tell then.
    waits: bool,
}

/// Sessions around a registry.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
    registry: Registry,
    log: Log,
    pages: Pages,
    sessions: Sessions,
    commits: Commits,
    /// NVEs with a session at another authority.
    elsewhere: OtherSessions,
    triangles: Triangles,
    /// When the last tick was.
    ticked_ms: Option<u64>,
    drifts: Drifts,
    news: News,
    /// Virtual networks as NVEs with a session have them.
    attached: Attached,
    /// How long transactions took until NVEs said that they applied them.
    convergence: Convergences,
    /// Who has yet to apply the commits of moves.
    spreading: Spreading,
    /// Of what others registered, how much operators are told one by one.
    untold: Throttle,
    /// The time of the last step.
    now_ms: u64,
    effects: Vec<Effect>,
}

/// An NVE with a session, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NveState<'a> {
    /// Its name.
    pub name: &'a str,
    /// Everything up to this revision is in force there.
    pub applied: u64,
    /// Whether it asks, and does not say what is in force.
    pub asks: bool,
    /// Whether it follows mappings, and says what is in force.
    pub follows: bool,
    /// What operators want at it is in force there up to this revision, but for what it refuses; none if it takes none.
    pub provisioned: Option<(u64, &'a [RefusedEntry])>,
}

impl Authority {
    /// An authority without sessions.
    #[must_use]
    pub fn new(settings: Settings, registry: Registry) -> Self {
        let nves = registry.nves().map(|(nve, _)| nve);
        let absent = Absent::of_all(nves, settings.answered_before_ms);
        let mut silence = Silence::default();
        let grace_ms = registry.groups().rules().grace_ms;
        registry.nves().for_each(|(nve, _)| silence.missing(nve.into(), 0, grace_ms));
        Authority {
            log: Log::new(registry.revision(), settings.limits),
            commits: Commits::new(settings.commits),
            settings,
            registry,
            pages: Pages::default(),
            sessions: Sessions { absent, silence, ..Sessions::default() },
            elsewhere: OtherSessions::default(),
            triangles: Triangles::default(),
            ticked_ms: None,
            drifts: Drifts::default(),
            news: News::default(),
            attached: Attached::default(),
            convergence: Convergences::default(),
            spreading: Spreading::default(),
            untold: Throttle::of_registrations(),
            now_ms: 0,
            effects: Vec::new(),
        }
    }

    /// When something is to be told that waits: [`Input::Due`].
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        match self.commits.is_ready() {
            true => Some(0),
            false => {
                let news_ms = self.news.waits.then_some(self.news.due_ms);
                news_ms.into_iter().chain(self.failover_due_ms()).min()
            }
        }
    }

    /// The time of the last step.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// For flaws that tests must notice.
    #[cfg(test)]
    pub(super) fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Learns one thing, and says what is to be done.
    #[must_use = "effects are to be carried out in their order"]
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        self.now_ms = now_ms;
        match input {
            Input::Opened(id, proved) => {
                let session = Session::new(proved, self.settings.sessions.lease_ms, now_ms);
                self.sessions.all.insert(id, session);
            }
            Input::Distrusted(id, why) => self.end(id, why, now_ms),
            Input::Closed(id) => {
                if self.sessions.all.get(&id).is_some_and(|session| session.nve.is_some()) {
                    self.note_session(Kind::SessionClosed, id, "");
                }
                self.remove(id, now_ms);
            }
            Input::Up(id, up) => self.receive(id, up, now_ms),
            Input::Ready(id, weight) => {
                if let Some(session) = self.sessions.all.get_mut(&id) {
                    session.ready(weight);
                    self.sessions.due.insert(id);
                }
            }
            Input::Release(ticket, key) => self.commits.release(ticket, key),
            Input::ReleaseAll(ticket, nve) => self.release_all(ticket, nve),
            Input::Resume(ticket) => match self.registry.restoration() {
                Some(_) => self.commits.resume(Some(ticket)),
                None => {
                    let why =
                        "the registry waits for nobody: it was not restored, or that is over".to_owned();
                    self.effects.push(Effect::Released(ticket, Err(why)));
                }
            },
            Input::Unfreeze(ticket, key) => {
                let unfrozen = self.registry.unfreeze(key);
                if unfrozen.is_ok() {
                    let event = Event::new(Kind::Unfrozen, By::Operator(ticket));
                    self.sessions.events.push(Event { key: Some(key), ..event });
                }
                self.effects.push(Effect::Released(ticket, unfrozen));
            }
            Input::Reconfigured(configured) => self.reconfigure(configured, now_ms),
            Input::Group(ticket, who, wish) => self.wish_of_group(ticket, who, wish),
            Input::ReleaseBrake(ticket) => self.release_brake(ticket, now_ms),
            Input::Move(ticket, who, request) => self.operate_move(ticket, who, StepWhat::Begin(request)),
            Input::MoveSaid(ticket, who, said) => self.operate_move(ticket, who, StepWhat::Command(said)),
            Input::Change(ticket, key, change) => self.commits.change(ticket, key, change),
            Input::Locator(ticket, change) => self.commits.change_locator(ticket, change),
            Input::Committed(Ok(())) => {
                let done = self.commits.done(&mut self.sessions, now_ms);
                done.iter().for_each(|(transaction, authors)| self.apply(transaction, authors, now_ms));
            }
            Input::Committed(Err(why)) => self.commits.failed(&why, &mut self.sessions, now_ms),
            Input::Others(transaction, opened) => {
                self.commits.lost(&mut self.sessions);
                opened.into_iter().for_each(|(nve, authority)| self.leaves(nve, authority, now_ms));
                self.apply(&transaction, &Authors::default(), now_ms);
            }
            Input::Replaced(stored) => self.replace(stored, now_ms),
            Input::AtOthers(all) => self.all_elsewhere(all, now_ms),
            Input::Nowhere(nve) => self.is_nowhere(nve, now_ms),
            Input::AppliedAt(authority, revision) => self.hear_applied(authority, revision),
            Input::Forgotten => {
                self.spreading.forgotten();
                let open = self.sessions.all.iter().filter(|(_, session)| session.nve.is_some());
                open.for_each(|(id, _)| self.commits.open(*id));
            }
            Input::Due => self.fail_over(now_ms),
            Input::Tick => self.tick(now_ms),
        }
        if self.news.waits {
            self.tell_followers(now_ms);
        }
        let times = (now_ms, self.unix_ms());
        let Authority { commits, sessions, registry, elsewhere, .. } = self;
        if let Some(commit) = commits.next(sessions, registry, elsewhere.nves(), times) {
            self.effects.push(Effect::Commit(commit));
        }
        self.commits.completed().iter().for_each(|nve| self.registry.completed(nve));
        let released = self.commits.released();
        self.effects.extend(released.into_iter().map(|(ticket, it)| Effect::Released(ticket, it)));
        self.send(now_ms);
        let effects = std::mem::take(&mut self.effects);
        self.with_events(effects)
    }

    /// Sends what there is room for.
    fn send(&mut self, now_ms: u64) {
        let Authority { sessions, registry, log, pages, settings, .. } = self;
        let (mut watchers, mut asked) = (std::mem::take(&mut sessions.watchers), sessions.asked);
        let lifetime_ms = settings.sessions.cache_lifetime_ms;
        let mut shared = Shared {
            registry,
            log,
            pages,
            watchers: &mut watchers,
            asked: &mut asked,
            lifetime_ms,
            has_looked: false,
        };
        for id in std::mem::take(&mut sessions.due) {
            let Some((session, allowance)) = sessions.with_allowance(id) else { continue };
            while let Some(down) = session.next(id, &mut shared, allowance, now_ms) {
                self.effects.push(Effect::Down(id, down));
            }
        }
        (sessions.watchers, sessions.asked) = (watchers, asked);
    }

    fn end(&mut self, id: SessionId, why: String, now_ms: u64) {
        let is_named = self.sessions.all.get(&id).is_some_and(|session| session.nve.is_some());
        self.end_as(if is_named { Kind::SessionEnded } else { Kind::SessionRefused }, id, why, now_ms);
    }

    /// Ends a session, and tells operators this of it.
    fn end_as(&mut self, kind: Kind, id: SessionId, why: String, now_ms: u64) {
        self.note_session(kind, id, &why);
        if self.remove(id, now_ms) {
            self.effects.push(Effect::Close(id, why));
        }
    }

    /// Forgets a session. Gives whether it was there.
    fn remove(&mut self, id: SessionId, now_ms: u64) -> bool {
        self.attached.left(id);
        let nve = self.sessions.all.get(&id).and_then(|session| session.nve.clone());
        if let Some(nve) = nve.filter(|_| self.settings.commits.is_shared) {
            self.effects.push(Effect::Left(nve));
        }
        self.spreading.left(id);
        self.commits.left(id);
        self.sessions.remove(id, now_ms, self.settings.used_ms())
    }

    fn tick(&mut self, now_ms: u64) {
        // While this process stood still, it heard nobody.
        let stood_still = now_ms.saturating_sub(self.ticked_ms.replace(now_ms).unwrap_or(now_ms));
        if stood_still > STANDSTILL_MS {
            self.sessions.all.values_mut().for_each(|session| session.heard_ms += stood_still);
            self.sessions.silence.stood_still(stood_still);
        }
        let is_silent = |session: &Session| now_ms >= session.heard_ms + u64::from(session.lease_ms);
        let silent = self.sessions.all.iter().filter(|(_, session)| is_silent(session));
        let silent: Vec<(SessionId, u32)> = silent.map(|(id, session)| (*id, session.lease_ms)).collect();
        for (id, lease_ms) in silent {
            self.end_as(Kind::SessionStale, id, format!("nothing came for {lease_ms} ms"), now_ms);
        }
        self.commits.tick(now_ms);
        self.tick_moves(now_ms);
        self.fail_over(now_ms);
        self.note_rest(now_ms);
        self.registry.tick(now_ms);
        if let Some(restoration) = self.registry.restoration()
            && (restoration.waits_for().len() == 0
                || now_ms >= restoration.since_ms + self.settings.sessions.restore_wait_ms)
        {
            self.commits.resume(None);
        }
        self.sessions.absent.tick(now_ms);
        let Sessions { all, due, .. } = &mut self.sessions;
        due.extend(all.iter().filter(|(_, session)| session.is_due(now_ms)).map(|(id, _)| *id));
        if !all.values().any(Session::is_in_snapshot) {
            self.pages.clear();
        }
    }

    fn receive(&mut self, id: SessionId, up: Up, now_ms: u64) {
        let Some(session) = self.sessions.all.get_mut(&id) else { return };
        session.heard_ms = now_ms;
        if !matches!(up, Up::Applied(_)) {
            self.sessions.due.insert(id);
        }
        let (number, request) = match (&session.nve, up) {
            (None, Up::Hello { versions, nve, asks, digests, moves, groups, .. }) => {
                return self.greet(id, &versions, (&nve, asks, digests, moves, groups), now_ms);
            }
            (None, _) => return self.end(id, "the first message is not Hello".to_owned(), now_ms),
            (Some(_), Up::Hello { .. }) => return self.end(id, "a second Hello".to_owned(), now_ms),
            // The answer shows the NVE that the authority is alive.
            (Some(_), Up::Beat) => return session.beat(),
            (Some(_), Up::Applied(revision)) => {
                let applied = session.applied.max(revision.min(self.registry.revision()));
                let before = std::mem::replace(&mut session.applied, applied);
                // What was there before it subscribed says nothing of how long that took.
                if let Some(subscribed_at) = session.subscribed_at {
                    let times = self.log.times(before.max(subscribed_at), applied);
                    times.for_each(|(at_ms, networks)| {
                        self.convergence.record(now_ms.saturating_sub(at_ms), networks);
                    });
                }
                self.spreading.applied(id, applied);
                return self.note_spread();
            }
            (Some(_), Up::Subscribe(known, scopes)) => {
                let is_shared = self.settings.commits.is_shared;
                if let Err(why) = session.subscribe(known, scopes, &self.settings.epoch, &self.log, is_shared)
                {
                    self.end(id, why, now_ms);
                }
                return;
            }
            (Some(_), Up::Query { id: number, keys }) => {
                if !session.ask(number, keys) {
                    self.end(id, "a Query after Subscribe, or one more than may wait".to_owned(), now_ms);
                }
                return;
            }
            (Some(nve), Up::Triangular(triangles)) => {
                let router = nve.clone();
                return self.hear_of(id, &router, &triangles, now_ms);
            }
            (Some(_), Up::Provision) if session.provisioning.is_some() => {
                return self.end(id, "a second TakeProvision".to_owned(), now_ms);
            }
            (Some(_), Up::Provision) => {
                session.provisioning = Some(Box::<Provisioning>::default());
                return;
            }
            (Some(nve), Up::Provisioned { revision, refused }) => {
                let groups = self.registry.groups();
                let is_standby = |name: &ObjectName| matches!(name, ObjectName::Attachment(name) if groups.of_attachment(nve, name).is_some());
                match &mut session.provisioning {
                    Some(provisioning) => {
                        if provisioning.taken(revision.min(self.registry.revision()), refused, is_standby) {
                            self.note_refused_objects(id, now_ms);
                        }
                    }
                    None => self.end(id, "Provisioned without TakeProvision".to_owned(), now_ms),
                }
                return;
            }
            (Some(_), Up::Drift { parts, objects }) => {
                let count = parts.len() as u64;
                if !session.repair(parts) {
                    return self.end(id, "Drift of an NVE that takes no digests".to_owned(), now_ms);
                }
                if let Some(provisioning) = session.provisioning.as_mut().filter(|_| objects) {
                    provisioning.begin_anew();
                }
                self.drifts.mappings += count;
                self.drifts.objects += u64::from(objects);
                return;
            }
            (Some(nve), Up::FindMacs { id: number, network, macs }) => {
                let why = (!self.registry.may_ask_of(nve, network)).then(|| elsewhere(nve, network));
                let refused = why.clone();
                if !session.find_macs(number, network, macs, why) {
                    return self.end(id, "one FindMacs more than may wait".to_owned(), now_ms);
                }
                if let Some(why) = refused {
                    self.sessions.note_refused_question(id, why, now_ms);
                }
                return;
            }
            (Some(_), Up::Attached(attached)) => return self.hear_of_networks(id, attached, now_ms),
            (Some(_), Up::Move(report)) => return self.hear_of_move(id, report, now_ms),
            (Some(_), Up::Complete) if std::mem::replace(&mut session.complete, true) => return,
            (Some(_), Up::Complete) => (None, Request::Complete),
            (Some(_), Up::Register { id, key, choices, known, mac }) => {
                (Some(id), Request::Register(Claim { key, choices, known, mac }))
            }
            (Some(_), Up::Unregister { id, key }) => (Some(id), Request::Unregister(key)),
            (Some(_), Up::LeaseBlock { id, sir_prefix, had }) => {
                (Some(id), Request::LeaseBlock(sir_prefix, had))
            }
            (Some(_), Up::AllocateAddress { id, attachment }) => (Some(id), Request::Address(attachment)),
        };
        session.waiting += usize::from(number.is_some());
        if session.waiting > WAITING {
            return self.end(id, format!("more than {WAITING} requests wait for an answer"), now_ms);
        }
        if session.asked.is_empty() {
            self.commits.asked(id);
        }
        session.asked.push_back((number, request));
    }

    fn release_all(&mut self, ticket: Ticket, nve: String) {
        let why = if self.registry.knows(&nve) {
            format!("{nve} is in nves and may come back; take it out there and reload, or release one by one")
        } else if let Some(group) = self.registry.groups().of(&nve).next() {
            format!(
                "{nve} is a member of group {0}; delete that first: ilactl nva group delete {0}",
                group.name
            )
        } else if self.registry.count_of(&nve) == 0 {
            format!("`{nve}` has nothing registered; `ilactl nva nves` lists who has")
        } else {
            return self.commits.empty(ticket, nve);
        };
        self.effects.push(Effect::Released(ticket, Err(why)));
    }

    /// Takes over another configuration. What is registered stays.
    fn reconfigure(
        &mut self,
        Configured { nves, quotas, freeze, rules, sessions: limits, allocations, moves, groups }: Configured,
        now_ms: u64,
    ) {
        // Those that are new are away from now on.
        let new = nves.keys().filter(|nve| !self.registry.knows(nve)).map(|nve| Arc::from(&**nve));
        let new: Vec<Arc<str>> = new.collect();
        for nve in new {
            self.sessions.silence.missing(nve.clone(), now_ms, groups.grace_ms);
            self.sessions.away.insert(nve, now_ms);
        }
        let rules = (rules, moves, groups, allocations);
        self.registry.reconfigure((nves, quotas, freeze), rules, limits.hold_down_ms);
        self.sessions.touch_all();
        self.sessions.touch_moves();
        let drifts = self.sessions.all.values_mut().filter_map(|session| session.drift.as_mut());
        drifts.for_each(|drift| drift.begin(limits.digest_ms, now_ms));
        self.settings.sessions = limits;
        self.sessions.allowances.retain(|nve, _| self.registry.knows(nve));
        self.sessions.away.retain(|nve, _| self.registry.knows(nve));
        self.sessions.silence.retain(|nve| self.registry.knows(nve));
        self.sessions
            .allowances
            .values_mut()
            .for_each(|one| one.requests = requests(limits.requests_per_second));
        let named = self.sessions.all.iter().filter_map(|(id, session)| Some((*id, session.nve.clone()?)));
        let gone: Vec<_> = named.filter(|(_, nve)| !self.registry.knows(nve)).collect();
        for (id, nve) in gone {
            self.end(id, format!("`{nve}` is no NVE of this authority any more"), now_ms);
        }
    }

    fn greet(
        &mut self,
        id: SessionId,
        versions: &[u32],
        (nve, asks, digests, modes, groups): (&str, bool, bool, Modes, bool),
        now_ms: u64,
    ) {
        if !versions.contains(&VERSION) {
            let spoken = versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            return self.end(
                id,
                format!("this authority speaks version {VERSION}, and the NVE {spoken}"),
                now_ms,
            );
        }
        let proved = self.sessions.all.get(&id).and_then(|session| session.proved.as_ref());
        if let Some(proved) = proved.filter(|proved| **proved != nve) {
            return self.end(
                id,
                format!("the certificate is that of {proved}, and Hello says `{nve}`"),
                now_ms,
            );
        }
        if !self.registry.knows(nve) {
            return self.end(id, format!("`{nve}` is no NVE of this authority; add it to nves"), now_ms);
        }
        if let Some(before) = self.sessions.of(nve) {
            self.end(before, format!("{nve} opened another session"), now_ms);
        }
        self.elsewhere.remove(nve);
        self.sessions.absent.is_back(nve);
        self.sessions.away.remove(nve);
        self.sessions.silence.has_session(nve);
        let nve: Arc<str> = nve.into();
        let full = || Allowance {
            snapshots: Bucket::new(SNAPSHOTS.0, SNAPSHOTS.1),
            requests: requests(self.settings.sessions.requests_per_second),
            queries: Bucket::new(QUERIES.0, QUERIES.1),
            triangles: Bucket::new(TRIANGLES.0, TRIANGLES.1),
            moves: Bucket::new(MOVES.0, MOVES.1),
            reports: Bucket::new(REPORTS.0, REPORTS.1),
        };
        self.sessions.allowances.entry(nve.clone()).or_insert_with(full);
        let Some(session) = self.sessions.all.get_mut(&id) else { return };
        let router = self.registry.is_router(&nve);
        session.nve = Some(nve);
        self.commits.open(id);
        if asks {
            session.will_ask();
        }
        session.modes = modes;
        if !modes.is_empty() {
            session.moving = Some(Box::<Moving>::default());
        }
        session.grouping = groups.then(Box::<Grouping>::default);
        if digests {
            session.drift = Some(Box::new(Drift::new(id.0, self.settings.sessions.digest_ms, now_ms)));
        }
        let lease_ms = self.settings.sessions.lease_ms;
        session.lease_ms = lease_ms;
        let (epoch, revision) = (self.settings.epoch.clone(), self.registry.revision());
        let (bindings, blocks, addresses) = (true, true, true);
        let welcome = Down::Welcome {
            version: VERSION,
            epoch,
            revision,
            lease_ms,
            router,
            bindings,
            blocks,
            addresses,
        };
        session.sent(&welcome);
        self.note_session(Kind::SessionOpened, id, if asks { "it asks for what it needs" } else { "" });
        self.effects.push(Effect::Down(id, welcome));
    }

    /// Takes over what is durable as the next revision, and tells it.
    fn apply(&mut self, transaction: &Transaction, authors: &Authors, now_ms: u64) {
        self.note_transaction(transaction, authors, now_ms);
        self.tell_moves(transaction, authors);
        self.tell_groups(transaction, &authors.rest());
        let groups = transaction.groups.iter();
        let groups: Vec<Group> =
            groups.filter_map(|(name, _)| self.registry.groups().get(name).cloned()).collect();
        let old = transaction.moves.iter().filter_map(|(id, _)| self.registry.moves().get(*id).cloned());
        let old: Vec<Move> = old.collect();
        let touched = self.registry.touched(transaction);
        self.registry.apply(transaction, now_ms);
        self.note_shared_macs(now_ms);
        let frozen = self.registry.take_frozen().into_iter();
        self.sessions.events.extend(frozen.map(|(key, nve)| {
            let frozen = Event::new(Kind::Frozen, By::Authority);
            Event { nve: Some(nve.into()), key: Some(key), ..frozen }
        }));
        self.sessions.note_touched(&touched, &self.registry);
        self.note_moves(transaction, &old);
        self.note_groups(transaction, &groups);
        self.log.push(transaction, now_ms);
        self.sessions.note_changes(transaction.writes.iter().map(|(key, _)| *key));
        self.tell_followers(now_ms);
    }

    /// Tells all who follow everything, or lets them wait for their next turn: the more they are, the longer, so that a
    /// message carries what came meanwhile.
    fn tell_followers(&mut self, now_ms: u64) {
        if now_ms < self.news.due_ms {
            self.news.waits = true;
            return;
        }
        let told = self.sessions.due_followers();
        let pause_ms = told / self.settings.limits.news_per_ms.max(1);
        self.news = News { due_ms: now_ms + pause_ms as u64, waits: false };
    }

    /// Takes over what the store holds now. What came between cannot be told: who follows everything gets a snapshot.
    fn replace(&mut self, stored: Stored, now_ms: u64) {
        // Whether it is there shows when it is judged again: whoever has what it asks for is told so.
        self.commits.lost(&mut self.sessions);
        let revision = stored.revision;
        if revision == self.registry.revision() {
            return;
        }
        let event = Event::new(Kind::Reread, By::Authority);
        self.sessions.events.push(Event { revision, ..event });
        let (changed, touched) = self.registry.replace(stored, now_ms);
        self.sessions.note_touched(&touched, &self.registry);
        self.sessions.touch_moves();
        self.sessions.touch_groups();
        self.begin_spreading_anew();
        self.log = Log::new(revision, self.settings.limits);
        self.pages.clear();
        self.sessions.note_changes(changed.into_iter());
        self.tell_followers(now_ms);
    }
}

/// Why an NVE is told nothing of a network.
fn elsewhere(nve: &str, (_, vnid): Network) -> String {
    format!(
        "{nve} has no tenants of VNID {vnid}, so it is told no MAC addresses of it; register one first, or set \
         networks: all under nves"
    )
}

/// The requests that an NVE may make.
fn requests(per_second: u32) -> Bucket {
    let rate = u64::from(per_second.max(1));
    Bucket::new(rate, 1_000_000 / rate)
}
