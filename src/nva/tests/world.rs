//! An authority, NVEs and a store in one deterministic world: streams break, readers are slow, the authority is killed in
//! the middle of commits, the store refuses and is restored from a backup, NVEs start anew with and without what they had,
//! and change what is attached. After every step the laws of `check` hold; when the faults stop, everybody knows the same,
//! and it is what is attached.

mod check;
mod faults;

use super::flaws::Flaw;
use super::simulation::{Chance, SMALL, Table, Trace, apply, digests, seeds};
use super::*;
use crate::mapping::{Scope, Scopes};
use crate::nva::authority::{self, Authority, Commit, SessionId, Settings};
use crate::nva::client::{self, Client, News};
use crate::nva::codec::{read_down, write_down};
use crate::nva::message::{Down, Encoded, Extent, Told, Triangle, Up};
use crate::nva::model::{Record, Transaction};
use crate::nva::registry::Registry;
use crate::nva::store::backup::begin_anew;
use crate::nva::store::{EPOCH, Memory, Store, Stored};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NVES: u64 = 5;
/// The one in cache mode.
const CACHING: usize = NVES as usize - 1;
const KEYS: u64 = 12;
const HOLD_DOWN_MS: u64 = 500;
const LEASE_MS: u32 = 3_000;
const CACHE_LIFETIME_MS: u32 = 4_000;
/// What a node does that takes a while.
enum Job {
    Apply(Extent, Vec<Told>, Vec<Key>),
    Compare,
}

/// A stream and what is on its way.
struct Stream {
    session: SessionId,
    opened: bool,
    up: VecDeque<Up>,
    down: VecDeque<Down<Encoded>>,
    /// The revision that the NVE was told last.
    told: u64,
}

struct SimNve {
    client: Client,
    boots: u64,
    attached: BTreeSet<Key>,
    stream: Option<Stream>,
    /// Whether it reads nothing.
    stalled: bool,
    /// Whether no stream of it opens.
    cut_off: bool,
    /// What its workers look up.
    table: Table,
    /// Whether that is not what it was told: its disk rotted.
    rotten: bool,
    /// What its workers tell of when it is used.
    marked: BTreeSet<Key>,
    applying: VecDeque<Job>,
    /// The last request about each identifier.
    asked: BTreeMap<Key, u64>,
    /// What the authority acknowledged, and was not given back since.
    acknowledged: BTreeSet<Key>,
    /// The highest sequence of each identifier that it was told or answered.
    sequences: [BTreeMap<Key, u64>; 2],
}

pub(super) struct World {
    flaw: Option<Flaw>,
    now_ms: u64,
    chance: Chance,
    store: Memory,
    /// What the store holds.
    stored: BTreeMap<Key, Record>,
    /// Identifiers that were forgotten after their release.
    deleted: BTreeSet<Key>,
    epoch: u8,
    revision: u64,
    backup: Option<Stored>,
    /// Whether the registry waits for what NVEs registered after the backup, and they say that they had: by whom, and who
    /// had it in the backup.
    restored: bool,
    had: BTreeMap<Key, (usize, Option<String>)>,
    /// What the caching NVE uses while it is cut off, and nobody else had at its beginning.
    protected: BTreeSet<Key>,
    /// What the registry showed at each revision of each epoch.
    history: BTreeMap<(u8, u64), Table>,
    authority: Option<Authority>,
    next_session: u64,
    commit: Option<Transaction>,
    nves: Vec<SimNve>,
    trace: Trace,
}

/// The last NVE asks for what it needs; the others follow what is in their scopes.
fn in_its_mode(n: u64, client: Client) -> Client {
    if n == NVES { client.caching() } else { client.following(scopes(n)) }
}

/// The last but one follows two parts of the domain, and those before it everything.
fn scopes(n: u64) -> Scopes {
    let at = |number| key(0x1000 * number).identifier;
    let scope = |first, last| Scope { sir_prefix: SIR, first: at(first), last: at(last) };
    Scopes::new(if n == NVES - 1 { vec![scope(1, KEYS / 3), scope(KEYS / 2, KEYS - 2)] } else { Vec::new() })
}

/// What of these is in the scopes of an NVE.
fn within(n: u64, mappings: &Table) -> Cow<'_, Table> {
    let scopes = scopes(n);
    if scopes.is_everything() {
        return Cow::Borrowed(mappings);
    }
    let within = mappings.iter().filter(|(key, _)| scopes.holds(key.sir_prefix, key.identifier));
    Cow::Owned(within.map(|(key, choices)| (*key, choices.clone())).collect())
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let nve = |n: u64| SimNve {
            client: in_its_mode(n, Client::new(name(n), 1, 1, seed ^ n, None)),
            boots: 1,
            attached: BTreeSet::new(),
            stream: None,
            stalled: false,
            cut_off: false,
            table: Table::new(),
            rotten: false,
            marked: BTreeSet::new(),
            applying: VecDeque::new(),
            asked: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            sequences: Default::default(),
        };
        let mut world = World {
            flaw,
            now_ms: 0,
            chance: Chance(seed),
            store: Memory::default(),
            stored: BTreeMap::new(),
            deleted: BTreeSet::new(),
            epoch: 1,
            revision: 0,
            backup: None,
            restored: false,
            had: BTreeMap::new(),
            protected: BTreeSet::new(),
            history: BTreeMap::new(),
            authority: None,
            next_session: 0,
            commit: None,
            nves: (1..=NVES).map(nve).collect(),
            trace: Trace::default(),
        };
        world.note_stored();
        world
    }

    /// Notes what the store holds now.
    fn note_stored(&mut self) {
        let stored = self.store.load().unwrap();
        (self.revision, self.restored) = (stored.revision, stored.restored);
        if !self.restored {
            self.had.clear();
        }
        self.stored = stored.records.into_iter().collect();
        let held = self.stored.iter().filter(|(_, record)| record.is_held());
        let held = held.map(|(key, record)| (*key, record.choices.clone())).collect();
        self.history.insert((self.epoch, self.revision), held);
    }

    fn write(&mut self, transaction: &Transaction) {
        self.store.commit(self.revision + 1, transaction).unwrap();
        self.deleted.extend(&transaction.deletes);
        self.note_stored();
    }

    fn start_authority(&mut self) {
        let stored = self.stored.clone();
        let mut registry = Registry::new(nves(NVES), stored, self.revision, (self.now_ms, HOLD_DOWN_MS));
        if self.restored && self.flaw != Some(Flaw::RestoredAndOpen) {
            registry = registry.restored(self.now_ms);
        }
        let settings = Settings {
            sessions: SessionLimits {
                lease_ms: LEASE_MS,
                hold_down_ms: HOLD_DOWN_MS,
                requests_per_second: 50,
                cache_lifetime_ms: CACHE_LIFETIME_MS,
                digest_ms: 5_000,
                // So short that most of a life is without a wait.
                restore_wait_ms: 1_500,
            },
            answered_before_ms: self.now_ms + authority::used_ms(CACHE_LIFETIME_MS),
            ..settings(self.epoch, SMALL)
        };
        self.authority = Some(Authority::new(settings, registry));
    }

    fn stream_of(&mut self, session: SessionId) -> Option<&mut Stream> {
        let mut streams = self.nves.iter_mut().filter_map(|nve| nve.stream.as_mut());
        streams.find(|stream| stream.session == session)
    }

    fn authority(&mut self, input: authority::Input) {
        let Some(authority) = &mut self.authority else { return };
        for effect in authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(session, down) => {
                    let flaw = self.flaw;
                    let Some(stream) = self.stream_of(session) else { continue };
                    let on_the_way: usize = stream.down.iter().map(Down::weight).sum();
                    assert!(on_the_way < SMALL.window, "{down:?} was sent without room");
                    super::flaws::queue(flaw, &mut stream.down, down);
                }
                // What was sent before is still read; the client hears of the end by the last message.
                authority::Effect::Close(session, why) => {
                    if let Some(stream) = self.stream_of(session) {
                        stream.down.push_back(Down::Error(why));
                    }
                }
                authority::Effect::Released(..)
                | authority::Effect::Event(_)
                | authority::Effect::Applied(_)
                | authority::Effect::Left(..) => {}
                authority::Effect::Commit(Commit { transaction, .. }) => {
                    assert!(self.commit.replace(transaction).is_none(), "two commits at a time");
                }
            }
        }
    }

    fn client(&mut self, n: usize, input: client::Input) {
        let effects = self.nves[n].client.step(self.now_ms, input);
        for effect in effects {
            let nve = &mut self.nves[n];
            match effect {
                client::Effect::Open(_) => {
                    self.next_session += 1;
                    let session = SessionId(self.next_session);
                    let (up, down) = (VecDeque::new(), VecDeque::new());
                    nve.stream = Some(Stream { session, opened: false, up, down, told: 0 });
                }
                client::Effect::Close => {
                    if let Some(stream) = nve.stream.take() {
                        self.authority(authority::Input::Closed(stream.session));
                    }
                }
                client::Effect::Up(up) => {
                    match &up {
                        Up::Register { id, key, .. } => _ = nve.asked.insert(*key, *id),
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
                client::Effect::Compare => nve.applying.push_back(Job::Compare),
                client::Effect::Apply { extent, mappings, expiring, .. } => {
                    nve.applying.push_back(Job::Apply(extent, mappings, expiring));
                    if self.flaw == Some(Flaw::AppliedOnReceipt) {
                        self.client(n, client::Input::Applied);
                    } else {
                        assert_eq!(nve.applying.len(), 1, "two batches at a time");
                    }
                }
                client::Effect::Tell(News::Away(why)) => {
                    assert!(!why.contains("out of turn"), "nve{}: {why}", n + 1);
                }
                client::Effect::Tell(_)
                | client::Effect::Provision(_)
                | client::Effect::Found(..)
                | client::Effect::Blocks(_)
                | client::Effect::Own(..)
                | client::Effect::Moves(_)
                | client::Effect::Groups(_) => {}
            }
        }
    }

    fn commit_ends(&mut self, refused: bool) {
        let Some(transaction) = self.commit.take() else { return };
        if !refused {
            self.write(&transaction);
        }
        let is_told = !refused || self.flaw == Some(Flaw::BlindSuccess);
        self.authority(authority::Input::Committed(is_told.then_some(()).ok_or("refused".to_owned())));
    }

    fn deliver_up(&mut self, n: usize) {
        if self.authority.is_none() || self.nves[n].cut_off {
            // Nobody is there.
            if self.nves[n].stream.take().is_some() {
                self.client(n, client::Input::Closed("refused".to_owned()));
            }
            return;
        }
        let Some(stream) = &mut self.nves[n].stream else { return };
        let session = stream.session;
        if !std::mem::replace(&mut stream.opened, true) {
            self.authority(authority::Input::Opened(session, None));
            return self.client(n, client::Input::Opened);
        }
        if let Some(mut up) = stream.up.pop_front() {
            self.trace.note(format_args!("{up:?}"));
            if let (Some(flaw), Some(authority)) = (self.flaw, &mut self.authority) {
                flaw.up(authority, self.epoch, &name(n as u64 + 1), &mut up);
            }
            self.authority(authority::Input::Up(session, up));
        }
    }

    fn deliver_down(&mut self, n: usize) {
        let nve = &mut self.nves[n];
        let Some(stream) = nve.stream.as_mut().filter(|_| !nve.stalled) else { return };
        let Some(down) = stream.down.pop_front() else { return };
        let (session, weight) = (stream.session, down.weight());
        // As it goes over the wire.
        let mut down = read_down(write_down(down)).unwrap();
        self.trace.note(format_args!("{down:?}"));
        if n == CACHING {
            check::order_of_asked(&down, &mut stream.told);
        } else {
            check::order(&down, &mut stream.told);
        }
        if let Some(flaw) = self.flaw {
            flaw.down(&mut nve.table, &self.deleted, &mut down, n == CACHING);
        }
        if let Down::Registered { id, sequence, .. } = &down
            && let Some((key, _)) = nve.asked.iter().find(|(_, asked)| *asked == id)
        {
            nve.acknowledged.insert(*key);
            check::sequence(&mut nve.sequences[0], *key, *sequence);
        }
        if let Down::Answer { mappings, .. } | Down::Delta(_, mappings) = &down
            && n == CACHING
        {
            mappings.iter().for_each(|told| check::sequence(&mut nve.sequences[1], told.key, told.sequence));
        }
        self.client(n, client::Input::Down(down));
        self.authority(authority::Input::Ready(session, weight));
    }

    fn apply(&mut self, n: usize) {
        let SimNve { table, marked, sequences, applying, .. } = &mut self.nves[n];
        let (extent, mappings, expiring) = match applying.pop_front() {
            None => return,
            Some(Job::Compare) => {
                let own = digests(table);
                return self.client(n, client::Input::Compared(own));
            }
            Some(Job::Apply(extent, mappings, expiring)) => (extent, mappings, expiring),
        };
        if n != CACHING {
            mappings.iter().for_each(|told| check::sequence(&mut sequences[1], told.key, told.sequence));
        }
        let extent = match extent {
            Extent::Parts(_) if self.flaw == Some(Flaw::RepairWithoutDeletes) => Extent::Changes,
            extent => extent,
        };
        if extent == Extent::All {
            marked.clear();
        }
        mappings.iter().for_each(|told| _ = marked.remove(&told.key));
        apply(table, &extent, mappings);
        marked.extend(expiring);
        if self.flaw != Some(Flaw::AppliedOnReceipt) {
            self.client(n, client::Input::Applied);
        }
    }

    fn tell_attached(&mut self, n: usize) {
        let wanted = self.nves[n].attached.iter().map(|key| (*key, at(n as u64 + 1).into())).collect();
        self.client(n, client::Input::Attached(wanted));
    }

    fn tick(&mut self, passed_ms: u64) {
        self.now_ms += passed_ms;
        for n in 0..self.nves.len() {
            self.client(n, client::Input::Tick);
        }
        self.authority(authority::Input::Tick);
    }

    /// Time passes, and everything that is on its way arrives.
    fn settle(&mut self) {
        self.tick(500);
        loop {
            let waits = |stream: &Stream| !stream.opened || !stream.up.is_empty() || !stream.down.is_empty();
            let waits = |nve: &SimNve| !nve.applying.is_empty() || nve.stream.as_ref().is_some_and(waits);
            if self.commit.is_none() && !self.nves.iter().any(waits) {
                break;
            }
            self.commit_ends(false);
            for n in 0..self.nves.len() {
                self.deliver_up(n);
                self.deliver_down(n);
                self.apply(n);
            }
        }
        self.note_repaired();
        self.check();
        self.check_cached();
    }

    fn step(&mut self, with_faults: bool) {
        let n = self.chance.below(NVES) as usize;
        let what = self.chance.below(if with_faults { 400 } else { 320 });
        match what {
            0..100 => self.deliver_up(n),
            100..200 => self.deliver_down(n),
            200..240 => self.apply(n),
            240..280 => self.commit_ends(false),
            280..286 => self.miss(),
            286..290 => self.triangular(),
            290..320 => {
                let passed_ms = 1 + self.chance.below(200);
                self.tick(passed_ms);
            }
            320..360 => self.change(n),
            360..370 => self.break_stream(n),
            370..378 => self.commit_ends(true),
            378..382 => self.restart_nve(n),
            382..384 => self.kill_authority(),
            384..388 => self.nves[n].stalled ^= true,
            388 => self.back_up_or_restore(),
            389 => self.cut_off_the_cache(),
            390..393 => self.take_over(n),
            _ if self.authority.is_none() => self.start_authority(),
            _ => {}
        }
        self.trace.note(format_args!("{what}@{n}"));
        self.note_repaired();
        self.check();
    }
}

/// A world from its beginning to its end. Gives what happened.
pub(super) fn live(seed: u64, flaw: Option<Flaw>) -> Trace {
    let mut world = World::new(seed, flaw);
    world.start_authority();
    for n in 0..world.nves.len() {
        world.tell_attached(n);
    }
    for _ in 0..1_500 {
        world.step(true);
    }
    if world.authority.is_none() {
        world.start_authority();
    }
    world.nves.iter_mut().for_each(|nve| (nve.stalled, nve.cut_off) = (false, false));
    for _ in 0..500 {
        world.step(false);
    }
    world.settle();
    world.rot_at_rest();
    let end = world.now_ms + 60_000;
    while world.now_ms < end {
        world.settle();
    }
    world.check_converged();
    world.check_that_asking_helps();
    world.trace
}

#[test]
fn nothing_acknowledged_is_lost_and_everybody_knows_the_same_in_the_end() {
    for seed in seeds(60) {
        let done = std::panic::catch_unwind(|| live(seed, None));
        assert!(done.is_ok(), "seed {seed}");
    }
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    assert_eq!(live(7, None), live(7, None));
    assert_ne!(live(7, None), live(8, None));
}
