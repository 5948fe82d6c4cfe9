//! An authority, NVEs and a store in one deterministic world: streams break, the authority is killed in the middle of
//! commits, the store refuses, NVEs start anew and change what is attached. After every step nothing that was
//! acknowledged is lost; when the faults stop, everybody knows the same, and it is what is attached.

use super::*;
use crate::nva::authority::{self, Authority, SessionId, Settings};
use crate::nva::client::{self, Client};
use crate::nva::message::{Down, Up};
use crate::nva::model::{Known, Transaction};
use crate::nva::registry::Registry;
use crate::nva::store::{Memory, Store};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NVES: u64 = 4;
const KEYS: u64 = 12;
const HOLD_DOWN_MS: u64 = 5_000;
const LEASE_MS: u32 = 3_000;

/// SplitMix64: the seed decides everything.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below
    }
}

/// A stream and what is on its way.
struct Stream {
    session: SessionId,
    opened: bool,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
}

struct SimNve {
    client: Client,
    boots: u64,
    attached: BTreeSet<Key>,
    stream: Option<Stream>,
    /// What its workers look up.
    table: BTreeMap<Key, Vec<Choice>>,
    applying: Option<(bool, Vec<crate::nva::message::Told>, Known)>,
    /// What its workers look up shows this state; a node keeps both over a restart.
    known: Known,
    /// The last request about each identifier.
    asked: BTreeMap<Key, u64>,
    /// What the authority acknowledged, and was not given back since.
    acknowledged: BTreeSet<Key>,
}

struct World {
    now_ms: u64,
    chance: Chance,
    store: Memory,
    revision: u64,
    authority: Option<Authority>,
    next_session: u64,
    commit: Option<Transaction>,
    nves: Vec<SimNve>,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let nve = |n: u64| SimNve {
            client: Client::new(name(n), 1, 1, seed ^ n, Known::default()),
            boots: 1,
            attached: BTreeSet::new(),
            stream: None,
            table: BTreeMap::new(),
            applying: None,
            known: Known::default(),
            asked: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        };
        World {
            now_ms: 0,
            chance: Chance(seed),
            store: Memory::default(),
            revision: 0,
            authority: None,
            next_session: 0,
            commit: None,
            nves: (1..=NVES).map(nve).collect(),
            trace: Vec::new(),
        }
    }

    fn start_authority(&mut self) {
        let stored = self.store.load().unwrap();
        self.revision = stored.revision;
        let registry =
            Registry::new(nves(NVES), stored.records, stored.revision, (self.now_ms, HOLD_DOWN_MS));
        let settings = Settings { epoch: vec![1], lease_ms: LEASE_MS };
        self.authority = Some(Authority::new(settings, registry));
    }

    /// kill -9: what is at the store may be durable or not.
    fn kill_authority(&mut self) {
        self.authority = None;
        if let Some(transaction) = self.commit.take()
            && self.chance.below(2) == 0
        {
            self.store.commit(self.revision + 1, &transaction).unwrap();
        }
        for n in 0..self.nves.len() {
            self.break_stream(n);
        }
    }

    fn break_stream(&mut self, n: usize) {
        if let Some(stream) = self.nves[n].stream.take() {
            self.authority(authority::Input::Closed(stream.session));
            self.client(n, client::Input::Closed("broken".to_owned()));
        }
    }

    fn authority(&mut self, input: authority::Input) {
        let Some(authority) = &mut self.authority else { return };
        for effect in authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(session, down) => {
                    let found = self.nves.iter_mut().filter_map(|nve| nve.stream.as_mut());
                    let found = found.into_iter().find(|stream| stream.session == session);
                    if let Some(stream) = found {
                        stream.down.push_back(down);
                    }
                }
                // What was sent before is still read; the client hears of the end by the last message.
                authority::Effect::Close(_) => {}
                authority::Effect::Commit(transaction) => {
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
                    nve.stream =
                        Some(Stream { session, opened: false, up: VecDeque::new(), down: VecDeque::new() });
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
                client::Effect::Apply { whole, mappings, known } => {
                    assert!(
                        nve.applying.replace((whole, mappings, known)).is_none(),
                        "two batches at a time"
                    );
                }
                client::Effect::Tell(_) => {}
            }
        }
    }

    fn commit_ends(&mut self, refused: bool) {
        let Some(transaction) = self.commit.take() else { return };
        let done = if refused {
            Err("refused".to_owned())
        } else {
            self.store.commit(self.revision + 1, &transaction).unwrap();
            self.revision += 1;
            Ok(())
        };
        self.authority(authority::Input::Committed(done));
    }

    fn deliver_up(&mut self, n: usize) {
        if self.authority.is_none() {
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
        if let Some(up) = stream.up.pop_front() {
            self.authority(authority::Input::Up(session, up));
        }
    }

    fn deliver_down(&mut self, n: usize) {
        let nve = &mut self.nves[n];
        let Some(down) = nve.stream.as_mut().and_then(|stream| stream.down.pop_front()) else { return };
        if let Down::Registered { id, .. } = &down
            && let Some((key, _)) = nve.asked.iter().find(|(_, asked)| *asked == id)
        {
            nve.acknowledged.insert(*key);
        }
        self.client(n, client::Input::Down(down));
    }

    fn apply(&mut self, n: usize) {
        let Some((whole, mappings, known)) = self.nves[n].applying.take() else { return };
        self.nves[n].known = known;
        let table = &mut self.nves[n].table;
        if whole {
            table.clear();
        }
        for told in mappings {
            if told.choices.is_empty() {
                table.remove(&told.key);
            } else {
                table.insert(told.key, told.choices);
            }
        }
        self.client(n, client::Input::Applied);
    }

    /// Attaches or detaches something.
    fn change(&mut self, n: usize) {
        let key = key(0x1000 * (1 + self.chance.below(KEYS)) + self.chance.below(2) * 0xffff);
        let nve = &mut self.nves[n];
        // What is attached no longer is promised no longer.
        nve.acknowledged.remove(&key);
        nve.asked.remove(&key);
        if !nve.attached.remove(&key) {
            nve.attached.insert(key);
        }
        self.tell_attached(n);
    }

    fn tell_attached(&mut self, n: usize) {
        let wanted = self.nves[n].attached.iter().map(|key| (*key, at(n as u64 + 1))).collect();
        self.client(n, client::Input::Attached(wanted));
    }

    /// The node starts anew: it knows its configuration, and what it kept, if it keeps anything.
    fn restart_nve(&mut self, n: usize) {
        self.break_stream(n);
        let keeps = self.chance.below(2) == 0;
        let nve = &mut self.nves[n];
        nve.boots += 1;
        if !keeps {
            (nve.table, nve.known) = (BTreeMap::new(), Known::default());
        }
        let seed = nve.boots << 8 | n as u64;
        nve.client = Client::new(name(n as u64 + 1), nve.boots, 1, seed, nve.known.clone());
        (nve.applying, nve.asked) = (None, BTreeMap::new());
        // What it does not have in its configuration any more is not promised any more.
        let attached = nve.attached.clone();
        nve.acknowledged.retain(|key| attached.contains(key));
        self.tell_attached(n);
    }

    fn step(&mut self, with_faults: bool) {
        let n = self.chance.below(NVES) as usize;
        let what = self.chance.below(if with_faults { 100 } else { 80 });
        match what {
            0..25 => self.deliver_up(n),
            25..50 => self.deliver_down(n),
            50..60 => self.apply(n),
            60..70 => self.commit_ends(false),
            70..80 => {
                self.now_ms += 1 + self.chance.below(200);
                for n in 0..self.nves.len() {
                    self.client(n, client::Input::Tick);
                }
                self.authority(authority::Input::Tick);
            }
            80..90 => self.change(n),
            90..93 => self.break_stream(n),
            93..95 => self.commit_ends(true),
            95 => self.restart_nve(n),
            96 => self.kill_authority(),
            _ if self.authority.is_none() => self.start_authority(),
            _ => {}
        }
        self.trace.push(format!("{what}@{n}"));
        self.check();
    }

    /// What holds at every moment.
    fn check(&mut self) {
        let stored: BTreeMap<Key, _> = self.store.load().unwrap().records.into_iter().collect();
        for (n, nve) in self.nves.iter().enumerate() {
            for key in &nve.acknowledged {
                let record = &stored[key];
                assert!(
                    record.is_held() && record.owner == name(n as u64 + 1),
                    "{key} was acknowledged to nve{} and is {record:?}",
                    n + 1
                );
            }
        }
        for (key, record) in stored.iter().filter(|(_, record)| record.is_held()) {
            let alias = key.zero_alias().and_then(|alias| stored.get(&alias));
            assert!(!alias.is_some_and(|alias| alias.is_held()), "{key} and its zero alias: {record:?}");
        }
    }

    /// What holds once there are no faults and everything was delivered.
    fn check_converged(&mut self) {
        let stored = self.store.load().unwrap();
        let held: BTreeMap<Key, Vec<Choice>> = stored
            .records
            .iter()
            .filter(|(_, record)| record.is_held())
            .map(|(key, record)| (*key, record.choices.clone()))
            .collect();
        for (n, nve) in self.nves.iter().enumerate() {
            assert_eq!(nve.table, held, "the table of nve{}", n + 1);
            assert_eq!(nve.client.status().applied, stored.revision, "nve{}", n + 1);
        }
        for (key, record) in stored.records.iter().filter(|(_, record)| record.is_held()) {
            let owner = self.nves.iter().zip(1..).find(|(_, n)| name(*n) == record.owner).unwrap().0;
            assert!(owner.attached.contains(key), "{key} is nobody's: {record:?}");
        }
        // Whoever wants an identifier has it, or another one has it or its zero alias.
        for (nve, n) in self.nves.iter().zip(1..) {
            for key in &nve.attached {
                let is_taken = |key: &Key| held.contains_key(key);
                let why = nve.client.status();
                assert!(
                    is_taken(key) || key.zero_alias().as_ref().is_some_and(is_taken),
                    "{key} of nve{n} is free, and not registered: {why:?}"
                );
            }
        }
    }
}

fn live(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
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
    let end = world.now_ms + 60_000;
    while world.now_ms < end {
        world.step(false);
    }
    world.check_converged();
    world.trace
}

#[test]
fn nothing_acknowledged_is_lost_and_everybody_knows_the_same_in_the_end() {
    for seed in 0..100 {
        let done = std::panic::catch_unwind(|| live(seed));
        assert!(done.is_ok(), "seed {seed}");
    }
}

#[test]
fn equal_seeds_give_equal_traces() {
    assert_eq!(live(7), live(7));
}
