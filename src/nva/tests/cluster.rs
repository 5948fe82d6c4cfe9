//! Several authorities before one store in one deterministic world: offers are lost, late and answered by nobody, each
//! authority hears of the others when it hears of them, the store forgets what was long ago, authorities are killed, and
//! NVEs go from one to the other. After every step the laws hold; when the faults stop, everybody knows the same.

use super::flaws::SharedFlaw;
use super::simulation::{Chance, SMALL, Table, Trace, apply, digests, seeds};
use super::*;
use crate::nva::authority::{self, Authority, CommitRules, SessionId, Settings, Ticket};
use crate::nva::client::{self, Client, OwnBlock};
use crate::nva::codec::{read_down, write_down};
use crate::nva::commits::Commit;
use crate::nva::message::{Down, Encoded, Extent, Told, Up};
use crate::nva::model::{Allocation, AllocationKey, Record, Resource};
use crate::nva::registry::{AllocationRules, LocatorChange, Pool, Registry};
use crate::nva::store::sequencer::{Answer, Head, Offer, Seen, Sequencer, TOKEN};
use crate::nva::store::{Report, Stored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const AUTHORITIES: usize = 3;
const NVES: usize = 4;
const KEYS: u64 = 8;
const LEASE_MS: u32 = 3_000;
const EPOCH: [u8; 16] = [7; 16];
type Held = BTreeMap<Key, (String, Vec<Choice>)>;
type Allocated = BTreeMap<AllocationKey, Allocation>;

/// The authorities lease blocks for different times, as when that is being changed at one after the other.
fn allocations(authority: usize) -> AllocationRules {
    let pool = Pool { sir_prefix: SIR, prefix: "fd00:9::/62".parse().unwrap() };
    AllocationRules { block_lease_ms: 6_000 << authority, pools: vec![pool] }
}

/// What all authorities write and follow.
struct Shared {
    head: Head,
    records: BTreeMap<Key, Record>,
    /// Every transaction, with its head and the authority at which NVEs opened a session.
    told: Vec<(Head, Commit, usize)>,
    /// At which authority each NVE opened its last session.
    sessions: BTreeMap<String, String>,
    /// So many of them are forgotten.
    forgotten: usize,
    /// Who had what after each revision.
    history: Vec<Held>,
    /// What is allocated, and what was after each revision.
    allocated: Allocated,
    allocations: Vec<Allocated>,
}

impl Shared {
    fn take(&mut self, offer: &Offer, of: usize, flaw: Option<SharedFlaw>) -> Answer {
        if self.head != offer.follows && flaw != Some(SharedFlaw::NoCompare) {
            return Answer::Lost(Some(self.head));
        }
        if has_equal_keys(&offer.commit) {
            return Answer::Refused("etcdserver: duplicate key given in txn request".to_owned());
        }
        if !offer.commit.is_empty() {
            self.head = Head { revision: self.head.revision + 1, ..offer.head };
            self.records.extend(offer.commit.transaction.writes.iter().cloned());
            offer.commit.transaction.deletes.iter().for_each(|key| _ = self.records.remove(key));
            for (key, allocation) in &offer.commit.transaction.allocations {
                match allocation {
                    Some(allocation) => _ = self.allocated.insert(*key, allocation.clone()),
                    None => _ = self.allocated.remove(key),
                }
            }
            self.sessions.extend(offer.commit.opened.iter().map(|nve| (nve.to_string(), format!("nva{of}"))));
            self.told.push((self.head, Commit::clone(&offer.commit), of));
            self.note();
        }
        Answer::Taken
    }

    fn note(&mut self) {
        let held = self.records.iter().filter(|(_, record)| record.is_held());
        let held = held.map(|(key, record)| (*key, (record.owner.to_string(), record.choices.clone())));
        self.history.push(held.collect());
        self.allocations.push(self.allocated.clone());
    }
}

/// Whether a transaction writes a key twice, which etcd does not take.
fn has_equal_keys(Commit { transaction, opened, .. }: &Commit) -> bool {
    let keys = || transaction.writes.iter().map(|(key, _)| key).chain(&transaction.deletes);
    keys().collect::<BTreeSet<_>>().len() < keys().count()
        || opened.iter().collect::<BTreeSet<_>>().len() < opened.len()
}

/// One authority, and what is between it and the store.
struct Server {
    authority: Authority,
    sequencer: Sequencer,
    /// From the authority to its sequencer, and back.
    orders: VecDeque<Commit>,
    reports: VecDeque<Report>,
    /// Whether what is not settled is to be offered again.
    again: bool,
    answers: VecDeque<(Offer, Answer)>,
    /// So many transactions it was told.
    heard: usize,
}

impl Server {
    fn moves(&self, told: usize) -> bool {
        let is_idle = self.orders.is_empty() && self.reports.is_empty() && self.answers.is_empty();
        !is_idle || self.again || self.heard < told
    }
}

struct Stream {
    at: usize,
    session: SessionId,
    opened: bool,
    up: VecDeque<Up>,
    down: VecDeque<Down<Encoded>>,
}

struct Nve {
    client: Client,
    attached: BTreeSet<Key>,
    stream: Option<Stream>,
    table: Table,
    applying: VecDeque<(Extent, Vec<Told>)>,
    /// The last request about each identifier, and the revision of the store when it was made.
    asked: BTreeMap<Key, (u64, u64)>,
    acknowledged: BTreeSet<Key>,
    /// What it makes identifiers from.
    blocks: Vec<OwnBlock>,
}

struct Cluster {
    flaw: Option<SharedFlaw>,
    now_ms: u64,
    chance: Chance,
    shared: Shared,
    servers: Vec<Option<Server>>,
    instances: u64,
    /// Offers on their way, also of those who are gone.
    way: Vec<(usize, Offer)>,
    sessions: u64,
    nves: Vec<Nve>,
    trace: Trace,
}

impl Cluster {
    fn new(seed: u64, flaw: Option<SharedFlaw>) -> Self {
        let head = Head { epoch: EPOCH, revision: 0, token: [0; TOKEN] };
        let mut shared = Shared {
            head,
            records: BTreeMap::new(),
            told: Vec::new(),
            sessions: BTreeMap::new(),
            forgotten: 0,
            history: Vec::new(),
            allocated: BTreeMap::new(),
            allocations: Vec::new(),
        };
        shared.note();
        let nve = |n: usize| Nve {
            client: Client::new(name(n as u64 + 1), 1, AUTHORITIES, seed ^ n as u64, None).leasing([SIR]),
            attached: BTreeSet::new(),
            stream: None,
            table: BTreeMap::new(),
            applying: VecDeque::new(),
            asked: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            blocks: Vec::new(),
        };
        Cluster {
            flaw,
            now_ms: 0,
            chance: Chance(seed),
            shared,
            servers: (0..AUTHORITIES).map(|_| None).collect(),
            instances: 0,
            way: Vec::new(),
            sessions: 0,
            nves: (0..NVES).map(nve).collect(),
            trace: Trace::default(),
        }
    }

    fn start(&mut self, s: usize) {
        let (head, records) = (self.shared.head, self.shared.records.clone());
        let registry = Registry::new(nves(NVES as u64), records, head.revision, (self.now_ms, 0));
        let stored = self.shared.allocated.clone().into_iter().collect();
        let registry = registry.with_allocations(allocations(s), stored, self.now_ms);
        let commits = CommitRules { batch: 5, is_shared: self.flaw != Some(SharedFlaw::StaleAnswers) };
        let epoch = EPOCH.to_vec();
        let settings = with_sessions(Settings { epoch, commits, ..settings(1, SMALL) }, |sessions| {
            (sessions.lease_ms, sessions.cache_lifetime_ms) = (LEASE_MS, 1);
        });
        self.instances += 1;
        self.servers[s] = Some(Server {
            authority: Authority::new(settings, registry),
            sequencer: Sequencer::new(head, self.instances.to_be_bytes()),
            orders: VecDeque::new(),
            reports: VecDeque::new(),
            again: false,
            answers: VecDeque::new(),
            heard: self.shared.told.len(),
        });
        self.authority(s, authority::Input::AtOthers(self.shared.sessions.clone().into_iter().collect()));
    }

    fn authority(&mut self, s: usize, input: authority::Input) {
        let Some(server) = &mut self.servers[s] else { return };
        for effect in server.authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(session, down) => {
                    if let Some(stream) = stream_of(&mut self.nves, session) {
                        stream.down.push_back(down);
                    }
                }
                authority::Effect::Close(session, why) => {
                    if let Some(stream) = stream_of(&mut self.nves, session) {
                        stream.down.push_back(Down::Error(why));
                    }
                }
                authority::Effect::Commit(commit) => server.orders.push_back(commit),
                authority::Effect::Released(..)
                | authority::Effect::Event(_)
                | authority::Effect::Applied(_)
                | authority::Effect::Left(_) => {}
            }
        }
    }

    /// The sequencer gets an order, and makes an offer.
    fn order(&mut self, s: usize) {
        let Some(server) = &mut self.servers[s] else { return };
        let Some(order) = server.orders.pop_front() else { return };
        if let Some(offer) = server.sequencer.commit(order) {
            (server.again, server.answers) = (false, VecDeque::new());
            self.way.push((s, offer));
        }
    }

    /// What was not answered is offered again.
    fn again(&mut self, s: usize) {
        let Some(server) = self.servers[s].as_mut().filter(|server| server.again) else { return };
        server.again = false;
        let Some(mut offer) = server.sequencer.offer().cloned() else { return };
        if self.flaw == Some(SharedFlaw::BlindRetry) {
            offer.follows = self.shared.head;
        }
        self.way.push((s, offer));
    }

    /// An offer arrives at the store, or is lost, and its answer may be.
    fn arrive(&mut self, with_faults: bool) {
        if self.way.is_empty() {
            return;
        }
        let at = self.chance.below(self.way.len() as u64) as usize;
        let (s, offer) = self.way.swap_remove(at);
        let fault = if with_faults { self.chance.below(8) } else { 8 };
        // Late: whoever offered it was told that there is no answer, and it arrives some time.
        if fault == 0 {
            self.way.push((s, offer.clone()));
        }
        let answer = if fault <= 1 { Answer::Unknown } else { self.shared.take(&offer, s, self.flaw) };
        let answer = if fault == 2 { Answer::Unknown } else { answer };
        if let Some(server) = &mut self.servers[s] {
            server.answers.push_back((offer, answer));
        }
    }

    fn answer(&mut self, s: usize) {
        let flaw = self.flaw;
        let Some(server) = &mut self.servers[s] else { return };
        let Some((offer, mut answer)) = server.answers.pop_front() else { return };
        let Some(current) = server.sequencer.offer().filter(|it| it.head == offer.head).cloned() else {
            return;
        };
        server.again |= matches!(answer, Answer::Unknown | Answer::Refused(_));
        if answer == Answer::Unknown && flaw == Some(SharedFlaw::UnknownIsSuccess) {
            answer = Answer::Taken;
        }
        server.reports.extend(server.sequencer.answered(&current, answer).unwrap());
    }

    /// The store tells of the next transaction.
    fn hear(&mut self, s: usize) {
        let flaw = self.flaw;
        let Some(server) = &mut self.servers[s] else { return };
        if server.heard < self.shared.forgotten {
            server.heard = self.shared.told.len();
            if server.sequencer.replaced(self.shared.head).unwrap() {
                let records = self.shared.records.clone().into_iter().collect();
                let allocations = self.shared.allocated.clone().into_iter().collect();
                let revision = self.shared.head.revision;
                let stored = Stored { revision, records, allocations, ..Stored::default() };
                server.reports.push_back(Report::Replaced(stored));
                server.again = false;
            }
            return;
        }
        let Some((head, commit, at)) = self.shared.told.get(server.heard) else { return };
        server.heard += 1;
        let opened = commit.opened.iter().filter(|_| flaw != Some(SharedFlaw::OldSessionsGoOn));
        let opened = opened.map(|nve| (nve.to_string(), format!("nva{at}"))).collect();
        match server.sequencer.seen(*head, commit.transaction.clone(), opened).unwrap() {
            Seen::Next(report) => {
                server.again = false;
                server.reports.push_back(report);
            }
            Seen::Known => {}
            Seen::Gap => panic!("a gap before {head:?}"),
        }
    }

    fn report(&mut self, s: usize) {
        let Some(server) = &mut self.servers[s] else { return };
        let input = match server.reports.pop_front() {
            None => return,
            Some(Report::Durable | Report::Current) => authority::Input::Committed(Ok(())),
            Some(Report::Refused(why)) => authority::Input::Committed(Err(why)),
            Some(Report::Others(transaction, opened)) => authority::Input::Others(transaction, opened),
            Some(Report::Replaced(stored)) => authority::Input::Replaced(stored),
            Some(report) => panic!("{report:?}"),
        };
        self.authority(s, input);
    }

    fn client(&mut self, n: usize, input: client::Input) {
        for effect in self.nves[n].client.step(self.now_ms, input) {
            let nve = &mut self.nves[n];
            match effect {
                client::Effect::Open(at) => {
                    self.sessions += 1;
                    let (up, down) = (VecDeque::new(), VecDeque::new());
                    nve.stream =
                        Some(Stream { at, session: SessionId(self.sessions), opened: false, up, down });
                }
                client::Effect::Close => self.close(n),
                client::Effect::Up(up) => {
                    let now = self.shared.head.revision;
                    match &up {
                        Up::Register { id, key, .. } => _ = nve.asked.insert(*key, (*id, now)),
                        Up::Unregister { key, .. } => {
                            nve.asked.remove(key);
                            nve.acknowledged.remove(key);
                        }
                        _ => {}
                    }
                    if let Some(stream) = &mut nve.stream {
                        stream.up.push_back(up);
                    }
                }
                client::Effect::Apply { extent, mappings, .. } => nve.applying.push_back((extent, mappings)),
                client::Effect::Compare => {
                    let own = digests(&nve.table);
                    self.client(n, client::Input::Compared(own));
                }
                client::Effect::Blocks(own) => nve.blocks = own,
                client::Effect::Tell(_)
                | client::Effect::Provision(_)
                | client::Effect::Found(..)
                | client::Effect::Own(..)
                | client::Effect::Moves(_)
                | client::Effect::Groups(_) => {}
            }
        }
    }

    /// The stream of an NVE is gone. Its authority hears of that now, or when it hears nothing for long.
    fn close(&mut self, n: usize) {
        let Some(stream) = self.nves[n].stream.take() else { return };
        if self.chance.below(2) == 0 {
            self.authority(stream.at, authority::Input::Closed(stream.session));
        } else if !stream.up.is_empty() && self.chance.below(2) == 0 {
            // What was on its way still arrives.
            stream
                .up
                .into_iter()
                .for_each(|up| self.authority(stream.at, authority::Input::Up(stream.session, up)));
        }
    }

    fn break_stream(&mut self, n: usize) {
        if self.nves[n].stream.is_some() {
            self.close(n);
            self.client(n, client::Input::Closed("broken".to_owned()));
        }
    }

    fn deliver_up(&mut self, n: usize) {
        let Some(stream) = &mut self.nves[n].stream else { return };
        let (at, session) = (stream.at, stream.session);
        if self.servers[at].is_none() {
            self.nves[n].stream = None;
            return self.client(n, client::Input::Closed("refused".to_owned()));
        }
        if !std::mem::replace(&mut stream.opened, true) {
            self.authority(at, authority::Input::Opened(session, None));
            return self.client(n, client::Input::Opened);
        }
        if let Some(up) = stream.up.pop_front() {
            self.trace.note(format_args!("{up:?}"));
            self.authority(at, authority::Input::Up(session, up));
        }
    }

    fn deliver_down(&mut self, n: usize) {
        let nve = &mut self.nves[n];
        let Some(stream) = &mut nve.stream else { return };
        let Some(down) = stream.down.pop_front() else { return };
        let (at, session, weight) = (stream.at, stream.session, down.weight());
        let down = read_down(write_down(down)).unwrap();
        self.trace.note(format_args!("{down:?}"));
        match &down {
            Down::Registered { id, .. } => {
                if let Some((key, _)) = nve.asked.iter().find(|(_, (asked, _))| asked == id) {
                    nve.acknowledged.insert(*key);
                }
            }
            // Whoever is named had it while the request was on its way.
            Down::Refused { id, owner: Some(owner), temporary: false, .. } => {
                if let Some((key, (_, since))) = nve.asked.iter().find(|(_, (asked, _))| asked == id) {
                    let has = |held: &Held, key: &Key| held.get(key).is_some_and(|(has, _)| has == owner);
                    let had = self.shared.history[*since as usize..].iter().any(|held| {
                        has(held, key) || key.zero_alias().is_some_and(|alias| has(held, &alias))
                    });
                    assert!(had, "{key} was refused as that of {owner}, who did not have it any more");
                }
            }
            _ => {}
        }
        self.client(n, client::Input::Down(down));
        self.authority(at, authority::Input::Ready(session, weight));
    }

    fn apply(&mut self, n: usize) {
        let Some((extent, mappings)) = self.nves[n].applying.pop_front() else { return };
        apply(&mut self.nves[n].table, &extent, mappings);
        self.client(n, client::Input::Applied);
    }

    fn tick(&mut self, passed_ms: u64) {
        self.now_ms += passed_ms;
        (0..NVES).for_each(|n| self.client(n, client::Input::Tick));
        (0..AUTHORITIES).for_each(|s| self.authority(s, authority::Input::Tick));
    }

    /// Attaches or detaches something.
    fn change(&mut self, n: usize) {
        let key = key(0x1000 * (1 + self.chance.below(KEYS)));
        let nve = &mut self.nves[n];
        nve.acknowledged.remove(&key);
        nve.asked.remove(&key);
        if !nve.attached.remove(&key) {
            nve.attached.insert(key);
        }
        self.tell_attached(n);
    }

    fn tell_attached(&mut self, n: usize) {
        let wanted = self.nves[n].attached.iter().map(|key| (*key, at(n as u64 + 1).into())).collect();
        self.client(n, client::Input::Attached(wanted));
    }

    /// kill -9: what it offered may still arrive.
    fn kill(&mut self, s: usize) {
        self.servers[s] = None;
        for n in 0..NVES {
            if self.nves[n].stream.as_ref().is_some_and(|stream| stream.at == s) {
                self.break_stream(n);
            }
        }
    }

    fn step(&mut self, with_faults: bool) {
        let n = self.chance.below(NVES as u64) as usize;
        let s = self.chance.below(AUTHORITIES as u64) as usize;
        let what = self.chance.below(if with_faults { 400 } else { 360 });
        self.trace.note(format_args!("{what}@{n},{s}"));
        match what {
            0..70 => self.deliver_up(n),
            70..140 => self.deliver_down(n),
            140..170 => self.apply(n),
            170..200 => self.order(s),
            200..230 => self.arrive(with_faults),
            230..260 => self.answer(s),
            260..290 => self.hear(s),
            290..330 => self.report(s),
            330..340 => self.again(s),
            340..360 => {
                let passed_ms = 1 + self.chance.below(200);
                self.tick(passed_ms);
            }
            360..380 => self.change(n),
            380..392 => self.break_stream(n),
            392..394 => self.kill(s),
            394 => self.shared.forgotten = self.shared.told.len().saturating_sub(2),
            // The lease of its sessions ended.
            395 => self.authority(s, authority::Input::Forgotten),
            _ if self.servers[s].is_none() => self.start(s),
            396 => {
                let (nve, sir_prefix) = (name(n as u64 + 1), SIR);
                let change = LocatorChange::Allocate { nve, sir_prefix };
                self.authority(s, authority::Input::Locator(Ticket(0), change));
            }
            397 => {
                let change = LocatorChange::Free(Locator(0xfd00_0009_0000_0000 | self.chance.below(4)));
                self.authority(s, authority::Input::Locator(Ticket(0), change));
            }
            _ => {}
        }
        self.check();
    }

    /// Time passes, and everything that is on its way arrives.
    fn settle(&mut self) {
        self.tick(500);
        while self.moves() {
            while !self.way.is_empty() {
                self.arrive(false);
            }
            for s in 0..AUTHORITIES {
                (0..4).for_each(|_| self.hear(s));
                self.answer(s);
                self.again(s);
                (0..4).for_each(|_| self.report(s));
                self.order(s);
            }
            for n in 0..NVES {
                self.deliver_up(n);
                self.deliver_down(n);
                self.apply(n);
            }
        }
        self.check();
    }

    /// Whether anything is on its way.
    fn moves(&self) -> bool {
        let told = self.shared.told.len();
        let waits = |stream: &Stream| !stream.opened || !stream.up.is_empty() || !stream.down.is_empty();
        !self.way.is_empty()
            || self.servers.iter().flatten().any(|server| server.moves(told))
            || self.nves.iter().any(|it| !it.applying.is_empty() || it.stream.as_ref().is_some_and(waits))
    }

    /// What holds at every moment.
    fn check(&self) {
        for (nve, n) in self.nves.iter().zip(1..) {
            for key in &nve.acknowledged {
                let record = self.shared.records.get(key);
                let is_there = record.is_some_and(|record| record.is_held() && record.owner == name(n));
                assert!(is_there, "{key} was acknowledged to nve{n} and is {record:?}");
            }
            for own in nve.blocks.iter().filter(|own| self.now_ms < own.until_ms) {
                let of = AllocationKey { sir_prefix: SIR, resource: Resource::Block(own.block) };
                let owner = self.shared.allocated.get(&of).map(|it| it.owner.as_str());
                assert_eq!(owner, Some(&*name(n)), "nve{n} makes identifiers of {own:?}");
            }
            let known = nve.client.known().map_or(0, |known| known.revision as usize);
            let shown = self.shared.history[known].iter().map(|(key, (_, choices))| (key, choices));
            assert!(nve.table.iter().eq(shown), "nve{n} at {known}: {:?}", nve.table);
        }
        // Each authority knows what was true at its revision.
        for server in self.servers.iter().flatten() {
            let registry = server.authority.registry();
            let known = registry.held().map(|(key, it)| (key, (&*it.owner, &it.choices)));
            let was = &self.shared.history[registry.revision() as usize];
            let was = was.iter().map(|(key, (owner, choices))| (key, (&**owner, choices)));
            assert!(known.eq(was), "an authority at {}", registry.revision());
            let was = self.shared.allocations[registry.revision() as usize].iter();
            assert!(registry.allocations().iter().eq(was), "allocations at {}", registry.revision());
        }
    }

    /// What holds in the end.
    fn check_converged(&self) {
        let held = &self.shared.history[self.shared.head.revision as usize];
        for (nve, n) in self.nves.iter().zip(1..) {
            let known = nve.client.known().map(|known| known.revision);
            assert_eq!(known, Some(self.shared.head.revision), "nve{n}: {:?}", nve.client.status());
            assert_eq!(nve.blocks.len(), 1, "nve{n} has no block");
            for key in &nve.attached {
                assert!(held.contains_key(key), "{key} of nve{n} is free, and not registered");
            }
        }
        for (key, (owner, _)) in held {
            let owner = self.nves.iter().zip(1..).find(|(_, n)| name(*n) == *owner).unwrap().0;
            assert!(owner.attached.contains(key), "{key} is nobody's");
        }
    }
}

fn stream_of(nves: &mut [Nve], session: SessionId) -> Option<&mut Stream> {
    nves.iter_mut().filter_map(|nve| nve.stream.as_mut()).find(|stream| stream.session == session)
}

/// A cluster from its beginning to its end. Gives the last revision, and what happened.
pub(super) fn live(seed: u64, flaw: Option<SharedFlaw>) -> (u64, Trace) {
    let mut cluster = Cluster::new(seed, flaw);
    (0..AUTHORITIES).for_each(|s| cluster.start(s));
    (0..NVES).for_each(|n| cluster.tell_attached(n));
    for _ in 0..4_000 {
        cluster.step(true);
    }
    for s in 0..AUTHORITIES {
        if cluster.servers[s].is_none() {
            cluster.start(s);
        }
    }
    for _ in 0..500 {
        cluster.step(false);
    }
    let end = cluster.now_ms + 60_000;
    while cluster.now_ms < end {
        cluster.settle();
    }
    cluster.check_converged();
    (cluster.shared.head.revision, cluster.trace)
}

#[test]
fn a_store_that_refuses_a_session_is_asked_again_at_the_next_tick() {
    let commits = CommitRules { batch: 5, is_shared: true };
    let registry = Registry::new(nves(1), BTreeMap::new(), 0, (0, 0));
    let mut authority = Authority::new(Settings { commits, ..settings(1, SMALL) }, registry);
    let mut commits = |input| {
        let effects = authority.step(0, input).into_iter();
        effects.filter(|effect| matches!(effect, authority::Effect::Commit(_))).count()
    };
    let up = |up| authority::Input::Up(SessionId(1), up);
    assert_eq!(commits(authority::Input::Opened(SessionId(1), None)), 0);
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(1),
        boot: 1,
        asks: false,
        digests: false,
        moves: Modes::default(),
        groups: false,
    };
    assert_eq!(commits(up(hello)), 1);
    assert_eq!(commits(authority::Input::Committed(Err("full".to_owned()))), 0);
    // Nothing that it asks for comes before it is open.
    assert_eq!(commits(up(Up::Register { id: 1, key: key(1), choices: at(1), known: 0, mac: None })), 0);
    assert_eq!(commits(authority::Input::Tick), 1);
}

#[test]
fn authorities_of_one_store_lose_nothing_and_agree_in_the_end() {
    let (mut transactions, mut lives) = (0, 0);
    for seed in seeds(30) {
        let done = std::panic::catch_unwind(|| live(seed, None));
        transactions += done.unwrap_or_else(|_| panic!("seed {seed}")).0;
        lives += 1;
    }
    assert!(
        lives < 10 || transactions > lives * 20,
        "{transactions} transactions are too few to try anything"
    );
}

#[test]
fn equal_seeds_give_equal_traces_of_a_cluster_and_others_do_not() {
    assert_eq!(live(7, None), live(7, None));
    assert_ne!(live(7, None), live(8, None));
}
