//! The NVE's half of a session: registers what is attached, follows the registry, and comes back when the authority
//! was away.
//!
//! [`Client::step`] takes the time and one [`Input`], and gives [`Effect`]s. It has no clock, no socket and no chance
//! of its own: a shell feeds it, and the seed of its jitter is passed in.

mod bindings;
mod grace;
mod interface;
mod registering;

pub use super::addresses::AddressCounts;
pub use super::blocks::OwnBlock;
pub use super::cache::Counts;
pub use super::catalogue::Seen;
pub use super::comparison::DriftCounts;
pub use super::failover::{GroupPart, GroupTold, NodeGroups};
pub use super::finds::MacCounts;
pub use super::message::Extent;
pub use super::mobility::{NodeMoves, Sight};
pub use super::wanted::{Objects, Wishes};
pub use grace::Grace;
pub use interface::{Effect, Input, News, Status};

use super::addresses::Addresses;
use super::blocks::Blocks;
use super::cache::{Cache, Changes};
use super::failover::ToldGroups;
use super::finds::Finds;
use super::follower::{Follower, Work};
use super::message::{AttachedNetwork, Down, Modes, NETWORKS_IN_ALL, Up, VERSION};
use super::mobility::Sightings;
use super::model::{Binding, Key, Known, Network};
use super::triangles::Triangles;
use super::wanted::Wanted;
use crate::mapping::{Parts, Scopes};
use grace::GraceTimer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// First and longest pause before another attempt, in milliseconds. Each is drawn from 0 up to twice the one before
/// ("full jitter"), so that thousands of NVEs do not come back together.
const PAUSE_MS: (u64, u64) = (100, 10_000);
/// Longest time for a connection and its Welcome.
const GREETING_MS: u64 = 5_000;
/// Pause before what was refused is asked for again: what may pass soon, and what passes once another NVE gives it back.
const AGAIN_MS: (u64, u64) = (1_000, 30_000);
/// Who comes to run again only after so long did not run meanwhile, and could hear nobody.
const STANDSTILL_MS: u64 = 1_000;

#[derive(Debug)]
enum State {
    /// No stream until then.
    Away { until_ms: u64 },
    /// A stream is being opened, or waits for Welcome.
    Greeting { since_ms: u64 },
    /// Welcomed.
    Live(Live),
}

#[derive(Debug)]
struct Live {
    lease_ms: u64,
    beat_ms: u64,
    heard_ms: u64,
    /// Whether the authority knows that it has heard of everything that is attached.
    complete: bool,
    /// Whether this node is an ILA router of the authority.
    router: bool,
    /// Whether the authority takes questions by MAC address, and hears of networks.
    bindings: bool,
    /// Whether it allocates addresses to tenants that ask by RARP.
    addresses: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Registration {
    /// Wanted by the configuration and not yet answered.
    Asked(u64),
    /// Durable at the authority.
    Registered,
    /// Refused, and asked for again then.
    Refused { again_ms: u64 },
}

/// A release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Asked for then.
    Due { at_ms: u64 },
    /// Not yet answered.
    Asked(u64),
}

/// The NVE's half.
#[derive(Debug)]
pub struct Client {
    nve: String,
    boot: u64,
    endpoints: usize,
    endpoint: usize,
    state: State,
    pause_ms: u64,
    random: u64,
    wanted: BTreeMap<Key, Binding>,
    registrations: BTreeMap<Key, Registration>,
    /// Sequences of what is attached, as far as they are known: also those of earlier sessions.
    sequences: BTreeMap<Key, u64>,
    /// Why identifiers are refused, until they are registered; operators are told of each reason once.
    refusals: BTreeMap<Key, String>,
    /// Identifiers that the authority may still have from here, and that are attached no longer.
    leaving: BTreeMap<Key, Leaving>,
    asked: BTreeMap<u64, Key>,
    next_id: u64,
    follower: Follower,
    /// What it follows.
    scopes: Scopes,
    /// In cache mode: it asks for what it needs and does not follow everything.
    cache: Option<Cache>,
    triangles: Triangles,
    blocks: Blocks,
    finds: Finds,
    addresses: Addresses,
    /// The virtual networks of which there are tenants here, and those that the authority knows of.
    networks: BTreeMap<Network, AttachedNetwork>,
    reported: BTreeMap<Network, AttachedNetwork>,
    /// The authority of this session knows of none yet.
    reports_anew: bool,
    /// The next report is not made before.
    report_due_ms: u64,
    /// It takes what operators want at the node.
    wanted_objects: Option<Wanted>,
    /// How attachments may move to the node and from it.
    modes: Modes,
    moves: Sightings,
    groups: ToldGroups,
    /// How long what it follows is good without a session; without an end if there is none.
    grace: Option<GraceTimer>,
    /// Whether something of the cache is being applied.
    applying: bool,
    /// When the last tick was.
    ticked_ms: Option<u64>,
    effects: Vec<Effect>,
}

impl Client {
    /// A client of `endpoints` authorities. `seed` is that of its jitter; `known` is what is in force already.
    #[must_use]
    pub fn new(nve: String, boot: u64, endpoints: usize, seed: u64, known: Option<Known>) -> Self {
        Client {
            nve,
            boot,
            endpoints: endpoints.max(1),
            endpoint: 0,
            state: State::Away { until_ms: 0 },
            pause_ms: PAUSE_MS.0,
            random: seed | 1,
            wanted: BTreeMap::new(),
            registrations: BTreeMap::new(),
            sequences: BTreeMap::new(),
            refusals: BTreeMap::new(),
            leaving: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            follower: Follower::new(known),
            scopes: Scopes::default(),
            cache: None,
            triangles: Triangles::default(),
            blocks: Blocks::default(),
            finds: Finds::default(),
            addresses: Addresses::default(),
            networks: BTreeMap::new(),
            reported: BTreeMap::new(),
            reports_anew: true,
            report_due_ms: 0,
            wanted_objects: None,
            modes: Modes::default(),
            moves: Sightings::default(),
            groups: ToldGroups::default(),
            grace: None,
            applying: false,
            ticked_ms: None,
            effects: Vec::new(),
        }
    }

    /// The same in cache mode: it asks for the identifiers that packets need. Nothing is in force yet.
    #[must_use]
    pub fn caching(mut self) -> Self {
        self.cache = Some(Cache::new(self.random));
        self
    }

    /// The same, which follows nothing but these. What is in force already is of the same scopes.
    #[must_use]
    pub fn following(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// The same, which knows from an earlier run with which sequences identifiers were registered.
    #[must_use]
    pub fn knowing(mut self, sequences: BTreeMap<Key, u64>) -> Self {
        self.sequences = sequences;
        self
    }

    /// The same, and it takes what operators want at the node. This was told before.
    #[must_use]
    pub fn provisioned(mut self, objects: Arc<Objects>) -> Self {
        self.wanted_objects = Some(Wanted::new(objects));
        self
    }

    /// The same, which leases a block of identifiers in each of these SIR domains, by their prefixes.
    #[must_use]
    pub fn leasing(mut self, sir_prefixes: impl IntoIterator<Item = u64>) -> Self {
        self.blocks = Blocks::new(sir_prefixes);
        self
    }

    /// The same, and attachments may move to the node and from it in these ways.
    #[must_use]
    pub fn moving(mut self, modes: Modes) -> Self {
        self.modes = modes;
        self
    }

    /// The same, and it was told of these moves before.
    #[must_use]
    pub fn told_of(mut self, moves: NodeMoves) -> Self {
        self.moves = Sightings::of(moves);
        self
    }

    /// The same, with a grace period for what it knows without a session. The last one ended so long before the start.
    #[must_use]
    pub fn graced(mut self, grace: Grace, ago_ms: u64) -> Self {
        self.grace = Some(GraceTimer::since(grace, ago_ms));
        self
    }

    /// What is in force in every worker: where the next session goes on.
    #[must_use]
    pub fn known(&self) -> Option<&Known> {
        self.follower.known()
    }

    /// What operators see.
    #[must_use]
    pub fn status(&self) -> Status {
        let count =
            |what: fn(&Registration) -> bool| self.registrations.values().filter(|one| what(one)).count();
        Status {
            live: matches!(self.state, State::Live(_)),
            router: matches!(self.state, State::Live(Live { router: true, .. })),
            triangles: self.triangles.count,
            applied: self.follower.known().map_or(0, |known| known.revision),
            registered: count(|one| *one == Registration::Registered),
            refused: self.refusals.len(),
            drift: self.follower.drift(),
            grace_over: self.grace.as_ref().is_some_and(|grace| grace.is_over),
            forgot: self.grace.as_ref().is_some_and(GraceTimer::forgot),
            cache: self.cache.as_ref().map_or_else(Counts::default, Cache::counts),
            macs: self.finds.counts(),
            addresses: self.addresses.counts(),
        }
    }

    /// Learns one thing, and says what is to be done.
    #[must_use = "effects are to be carried out in their order"]
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Attached(wanted) => self.attach(wanted, now_ms),
            Input::Networks(networks) => {
                // An authority takes no more.
                self.networks = networks.into_iter().take(NETWORKS_IN_ALL).collect();
            }
            Input::FindMac(network, mac) => self.find(network, mac, now_ms),
            Input::AllocateAddress(attachment) => self.allocate_address(attachment, now_ms),
            Input::Announced(key) => self.announced(key, now_ms),
            Input::Opened => {
                let (nve, boot, asks) = (self.nve.clone(), self.boot, self.cache.is_some());
                self.effects.push(Effect::Up(Up::Hello {
                    versions: vec![VERSION],
                    nve,
                    boot,
                    asks,
                    digests: true,
                    moves: self.modes,
                    groups: self.wanted_objects.is_some(),
                }));
            }
            Input::Closed(why) => self.closed(&why, now_ms),
            Input::Down(down) => self.receive(down, now_ms),
            Input::Applied => {
                self.applying = false;
                self.follower.applied();
            }
            Input::Compared(own) => {
                let parts = self.follower.compared(&own);
                self.say_drift(parts, false);
            }
            Input::Unusable(why) => {
                self.applying = false;
                self.follower.forget();
                self.cache.iter_mut().for_each(Cache::forget);
                if !matches!(self.state, State::Away { .. }) {
                    self.effects.push(Effect::Close);
                    self.closed(&why, now_ms);
                }
            }
            Input::Provisioned(known, refused) => {
                if let Some(wanted) = &mut self.wanted_objects {
                    wanted.taken(known, refused);
                }
            }
            Input::Move(id, sight) => self.moves.see(id, sight),
            Input::Misses(keys) => {
                if let Some(cache) = &mut self.cache {
                    keys.into_iter().for_each(|key| cache.miss(key, now_ms));
                }
            }
            Input::Triangles(seen) => {
                if matches!(self.state, State::Live(Live { router: true, .. })) {
                    let messages = self.triangles.choose(seen, now_ms);
                    self.effects.extend(messages.into_iter().map(|told| Effect::Up(Up::Triangular(told))));
                }
            }
            Input::Tick => self.tick(now_ms),
        }
        self.effects.extend(self.blocks.take_changed().map(Effect::Blocks));
        self.follow_the_cache();
        if let Some(groups) = self.groups.next() {
            self.effects.push(Effect::Groups(groups));
        }
        self.follow_the_operators();
        self.tell_of_networks(now_ms);
        self.follow_the_moves(now_ms);
        match self.follower.next_work() {
            Some(Work::Apply(extent, mappings, known)) => {
                self.effects.push(Effect::Apply { extent, mappings, expiring: Vec::new(), known });
            }
            Some(Work::Compare) => self.effects.push(Effect::Compare),
            None => {}
        }
        if matches!(self.state, State::Live(_))
            && let Some(revision) = self.follower.say_applied(now_ms)
        {
            self.effects.push(Effect::Up(Up::Applied(revision)));
        }
        std::mem::take(&mut self.effects)
    }

    /// Asks for what is needed, and has what was answered applied.
    fn follow_the_cache(&mut self) {
        let Some(cache) = &mut self.cache else { return };
        while matches!(self.state, State::Live(_))
            && let Some((id, keys)) = cache.next_query()
        {
            self.effects.push(Effect::Up(Up::Query { id, keys }));
        }
        if !self.applying
            && let Some(Changes { whole, mappings, expiring }) = cache.next_changes()
        {
            self.applying = true;
            let extent = if whole { Extent::All } else { Extent::Changes };
            self.effects.push(Effect::Apply { extent, mappings, expiring, known: Known::default() });
        }
    }

    /// Has the node take what operators want, and says what became of it.
    fn follow_the_operators(&mut self) {
        let Some(wanted) = &mut self.wanted_objects else { return };
        if let Some(objects) = wanted.next() {
            self.effects.push(Effect::Provision(objects));
        }
        if matches!(self.state, State::Live(_))
            && let Some((revision, refused)) = wanted.say()
        {
            self.effects.push(Effect::Up(Up::Provisioned { revision, refused }));
        }
    }

    /// Tells the node what moves, and the authority what the node sees of it.
    fn follow_the_moves(&mut self, now_ms: u64) {
        if let Some(moves) = self.moves.next() {
            self.effects.push(Effect::Moves(moves));
        }
        if matches!(self.state, State::Live(_)) {
            let reports = self.moves.say(now_ms).into_iter();
            self.effects.extend(reports.map(|report| Effect::Up(Up::Move(report))));
        }
    }

    /// Has the authority tell anew what differs from its registry.
    fn say_drift(&mut self, parts: Parts, objects: bool) {
        if !matches!(self.state, State::Live(_)) || parts.is_empty() && !objects {
            return;
        }
        self.effects.push(Effect::Tell(News::Drift { parts: parts.len(), objects }));
        self.effects.push(Effect::Up(Up::Drift { parts, objects }));
    }

    fn closed(&mut self, why: &str, now_ms: u64) {
        if matches!(self.state, State::Live(_)) {
            self.pause_ms = PAUSE_MS.0;
            // One in which nothing was confirmed does not count.
            if self.follower.is_live() {
                self.grace.iter_mut().for_each(|grace| grace.ended(now_ms));
            }
        }
        self.effects.push(Effect::Tell(News::Away(why.to_owned())));
        let until_ms = now_ms + self.draw(self.pause_ms);
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS.1);
        self.endpoint = (self.endpoint + 1) % self.endpoints;
        self.state = State::Away { until_ms };
        self.follower.end();
        self.cache.iter_mut().for_each(|cache| cache.end(now_ms));
        self.asked.clear();
        self.finds.end();
        self.addresses.end();
        // What was not answered may have been done or not: it is asked again.
        self.registrations.retain(|_, registration| !matches!(registration, Registration::Asked(_)));
        self.leaving.values_mut().for_each(|one| *one = Leaving::Due { at_ms: 0 });
    }

    fn receive(&mut self, down: Down, now_ms: u64) {
        if let State::Live(live) = &mut self.state {
            live.heard_ms = now_ms;
        }
        match (&mut self.state, down) {
            (
                State::Greeting { .. },
                Down::Welcome {
                    version: VERSION,
                    epoch,
                    revision,
                    lease_ms,
                    router,
                    bindings,
                    blocks,
                    addresses,
                },
            ) => {
                let lease_ms = u64::from(lease_ms).max(1_000);
                let (beat_ms, heard_ms) = (now_ms, now_ms);
                let complete = false;
                self.state =
                    State::Live(Live { lease_ms, beat_ms, heard_ms, complete, router, bindings, addresses });
                self.reports_anew = true;
                self.effects.push(Effect::Tell(News::Live { revision }));
                // The authority may have forgotten, or another one may have taken over.
                self.registrations.clear();
                if self.blocks.begin(blocks, now_ms) {
                    self.effects.push(Effect::Tell(News::NoBlocks));
                }
                self.moves.begin();
                self.groups.begin();
                if let Some(wanted) = &mut self.wanted_objects {
                    wanted.begin(epoch.clone());
                    self.effects.push(Effect::Up(Up::Provision));
                }
                match &mut self.cache {
                    Some(cache) => cache.begin(now_ms),
                    None => {
                        let known = self.follower.begin(epoch);
                        self.effects.push(Effect::Up(Up::Subscribe(known, self.scopes.clone())));
                    }
                }
            }
            (_, Down::Error(why)) => {
                self.effects.push(Effect::Close);
                self.closed(&why, now_ms);
            }
            (_, Down::Registered { id, .. }) if self.addresses.allocated(id) => {}
            (_, Down::Registered { id, sequence, .. }) => {
                if let Some(key) = self.asked.remove(&id) {
                    if self.leaving.get(&key) == Some(&Leaving::Asked(id)) {
                        self.leaving.remove(&key);
                    }
                    if let Some(one) =
                        self.registrations.get_mut(&key).filter(|one| **one == Registration::Asked(id))
                    {
                        *one = Registration::Registered;
                        let before = self.sequences.insert(key, sequence);
                        self.refusals.remove(&key);
                        if before != Some(sequence) {
                            self.keep_own(key, Some(sequence));
                        }
                    }
                }
            }
            (_, Down::Refused { id, owner, why, temporary, .. }) => {
                if self.blocks.refused(id, &why, temporary, now_ms) {
                    self.effects.push(Effect::Tell(News::BlockRefused(why)));
                    return;
                }
                if self.address_refused(id, &why, temporary, now_ms) {
                    return;
                }
                let Some(key) = self.asked.remove(&id) else { return };
                let again_ms = now_ms + if temporary { AGAIN_MS.0 } else { AGAIN_MS.1 };
                match self.leaving.get_mut(&key).filter(|one| **one == Leaving::Asked(id)) {
                    Some(one) if temporary => *one = Leaving::Due { at_ms: again_ms },
                    Some(_) => _ = self.leaving.remove(&key),
                    None => {}
                }
                let asked = self.registrations.get_mut(&key).filter(|one| **one == Registration::Asked(id));
                let Some(one) = asked else { return };
                *one = Registration::Refused { again_ms };
                if self.refusals.insert(key, why.clone()).as_ref() != Some(&why) {
                    self.effects.push(Effect::Tell(News::Refused { key, owner, why }));
                }
            }
            (State::Live(_), Down::BlockLeased { id, block, reached, lease_ms }) => {
                self.blocks.leased(id, (block, reached, lease_ms), now_ms);
            }
            (State::Live(_), Down::Progress(_)) => {}
            (State::Live(_), Down::FoundMacs { id, found, negative_lifetime_ms, why, .. }) => {
                if let Some(why) = why {
                    self.effects.push(Effect::Tell(News::Untold(why)));
                }
                match self.finds.answered(id, found, negative_lifetime_ms, now_ms) {
                    Some((network, found)) => {
                        if !found.is_empty() {
                            self.effects.push(Effect::Found(network, found));
                        }
                        self.ask_for_macs();
                    }
                    None => {
                        self.effects.push(Effect::Close);
                        self.closed("the authority sent FoundMacs out of turn", now_ms);
                    }
                }
            }
            (State::Live(_), Down::Provision(part)) => match &mut self.wanted_objects {
                Some(wanted) => wanted.receive(part),
                None => self.out_of_turn(&Down::Provision(part), now_ms),
            },
            (State::Live(_), Down::Moves(part)) if !self.modes.is_empty() => self.moves.receive(part),
            (State::Live(_), Down::Groups(part)) if self.wanted_objects.is_some() => {
                self.groups.receive(part)
            }
            (State::Live(_), Down::Digest { revision, mappings, objects }) => {
                let own = self.wanted_objects.as_ref().and_then(Wanted::word);
                if let Some((told, own)) = objects.zip(own)
                    && self.follower.comparison.compare_objects(told, own)
                {
                    self.say_drift(Parts::new(), true);
                }
                // What is asked for has a lifetime, and is compared by asking for it again.
                if self.cache.is_none() && mappings.is_some() {
                    let digest = Down::Digest { revision, mappings, objects };
                    if let Err(unexpected) = self.follower.receive(digest) {
                        self.out_of_turn(&unexpected, now_ms);
                    }
                }
            }
            (State::Live(_), mut told) => {
                if let Down::Page(mappings) | Down::Delta(_, mappings) = &mut told {
                    // An authority of an earlier release tells everything.
                    mappings.retain(|told| self.scopes.holds(told.key.sir_prefix, told.key.identifier));
                }
                if let Down::Resync(why) = &told {
                    self.effects.push(Effect::Tell(News::Resync(why.clone())));
                }
                let received = match &mut self.cache {
                    Some(cache) => cache.receive(told, now_ms),
                    None => self.follower.receive(told),
                };
                if self.follower.is_live() {
                    self.grace.iter_mut().for_each(GraceTimer::live);
                }
                if let Err(unexpected) = received {
                    self.out_of_turn(&unexpected, now_ms);
                }
            }
            (_, unexpected) => self.out_of_turn(&unexpected, now_ms),
        }
    }

    fn out_of_turn(&mut self, unexpected: &Down, now_ms: u64) {
        let what = format!("{unexpected:?}");
        let what: String = what.chars().take_while(|c| c.is_alphanumeric()).collect();
        self.effects.push(Effect::Close);
        self.closed(&format!("the authority sent {what} out of turn"), now_ms);
    }

    fn tick(&mut self, now_ms: u64) {
        // While this process stood still, it heard nobody.
        let stood_still = now_ms.saturating_sub(self.ticked_ms.replace(now_ms).unwrap_or(now_ms));
        if let State::Live(live) = &mut self.state
            && stood_still > STANDSTILL_MS
        {
            live.heard_ms += stood_still;
        }
        self.cache.iter_mut().for_each(|cache| cache.expire(now_ms));
        self.blocks.expire(now_ms);
        if !matches!(self.state, State::Live(_))
            && let Some(forgets) = self.grace.as_mut().and_then(|grace| grace.ends(now_ms))
        {
            self.effects.push(Effect::Tell(News::GraceOver { forgets }));
            if forgets {
                self.follower.give_up();
            }
        }
        match &mut self.state {
            State::Away { until_ms } if now_ms >= *until_ms => {
                self.state = State::Greeting { since_ms: now_ms };
                self.effects.push(Effect::Open(self.endpoint));
            }
            State::Away { .. } => {}
            State::Greeting { since_ms } if now_ms >= *since_ms + GREETING_MS => {
                self.effects.push(Effect::Close);
                self.closed(&format!("no welcome within {GREETING_MS} ms"), now_ms);
            }
            State::Greeting { .. } => {}
            State::Live(live) if now_ms >= live.heard_ms + live.lease_ms => {
                let why = format!("nothing came from the authority for {} ms", live.lease_ms);
                self.effects.push(Effect::Close);
                self.closed(&why, now_ms);
            }
            State::Live(live) => {
                if now_ms >= live.beat_ms + live.lease_ms / 3 {
                    live.beat_ms = now_ms;
                    self.effects.push(Effect::Up(Up::Beat));
                }
                self.ask_for_what_is_due(now_ms);
                let next_id = || {
                    self.next_id += 1;
                    self.next_id
                };
                self.effects.extend(self.blocks.ask(now_ms, next_id).into_iter().map(Effect::Up));
                self.complete();
            }
        }
    }

    /// A number below `below`: xorshift, which is enough for jitter.
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }
}
