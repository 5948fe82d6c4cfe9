//! Neighbours: which there are, at which MAC address each answers, and the identity by which tables and
//! workers know it. Neighbour Unreachability Detection keeps that true (RFC 4861 §7.2, §7.3).
//!
//! This is the only owner: static neighbours, next hops of routes and neighbours met on connected subnets all
//! stand here, and the rib reads what its tables need. It is a pure state machine: each call gives it the
//! time, and it says what is to be sent and when the tables change. Next hops are solicited from the start
//! and never given up; others are solicited when a packet needs them and forgotten when they fall silent.
//! Nothing here deletes a route.

mod model;

pub use model::{Advertisement, Effect, Key, Neighbour, Resolution, State};

use crate::config::NeighbourDiscovery;
use crate::net::Mac;
use crate::table::{HopId, PortId};
use model::BACKOFF_MS;
use std::collections::{BTreeMap, BTreeSet};

/// Neighbours met on connected subnets, at most.
pub const MAX_DYNAMIC: usize = 4096;

/// Time in `Stale` before the neighbour is probed (`DELAY_FIRST_PROBE_TIME`, §10).
const DELAY_FIRST_PROBE_MS: u64 = 5_000;
/// How long packets for a neighbour that failed are refused before it is solicited again.
const REFUSE_MS: u64 = 3_000;
/// Of the dynamic ones, those without an answer, at most. A newcomer beyond takes the place of the oldest one on the
/// port that has most: so a scan of a subnet neither fills the table nor locks others out (RFC 6583 §6.2).
const MAX_UNANSWERED: usize = 512;

/// All neighbours of a node.
#[derive(Debug)]
pub struct Neighbours {
    timers: NeighbourDiscovery,
    known: BTreeMap<Key, Neighbour>,
    due: BTreeSet<(u64, Key)>,
    /// The identity that was given last. None is used twice.
    last_id: u32,
    dynamic: usize,
    unanswered: usize,
    /// Those without an answer by port: those that failed first, then the oldest first.
    silent: BTreeMap<PortId, BTreeSet<(bool, u64, Key)>>,
}

impl Neighbours {
    /// None yet.
    #[must_use]
    pub fn new(timers: NeighbourDiscovery) -> Self {
        Neighbours {
            timers,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            last_id: 0,
            dynamic: 0,
            unanswered: 0,
            silent: BTreeMap::new(),
        }
    }

    /// All that are known.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Neighbour)> {
        self.known.iter()
    }

    /// One of them.
    #[must_use]
    pub fn of(&self, key: Key) -> Option<&Neighbour> {
        self.known.get(&key)
    }

    /// What the tables hold of a neighbour; `None` when they do not hold it.
    #[must_use]
    pub fn lookup(&self, key: Key) -> Option<(HopId, Resolution)> {
        let neighbour = self.known.get(&key).filter(|neighbour| neighbour.is_in_tables())?;
        Some((neighbour.id, neighbour.resolution()))
    }

    /// Every neighbour that the tables hold.
    pub fn in_tables(&self) -> impl Iterator<Item = Key> {
        self.known.iter().filter(|(_, neighbour)| neighbour.is_in_tables()).map(|(key, _)| *key)
    }

    /// How many are in each state, in the order of [`State::ALL`].
    #[must_use]
    pub fn count(&self) -> [u64; State::ALL.len()] {
        let mut counts = [0; State::ALL.len()];
        for neighbour in self.known.values() {
            counts[neighbour.state as usize] += 1;
        }
        counts
    }

    /// Takes over the configuration: its timers, the next hops of all routes, and the static neighbours. New
    /// next hops are solicited in the next [`Self::tick`].
    pub fn configure(
        &mut self,
        timers: NeighbourDiscovery,
        next_hops: &BTreeSet<Key>,
        fixed: &BTreeMap<Key, Mac>,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.timers = timers;
        let known: Vec<Key> = self.known.keys().copied().collect();
        for key in known {
            let Some(before) = self.known.get(&key).copied() else { continue };
            if before.state == State::Static && !fixed.contains_key(&key) {
                self.forget(key, effects);
            } else if before.next_hop && !next_hops.contains(&key) {
                self.store(key, Neighbour { next_hop: false, ..before });
            }
        }
        for (&key, &mac) in fixed {
            let next_hop = next_hops.contains(&key);
            let before = self.known.get(&key).copied().unwrap_or_default();
            if before.state != State::Static || before.mac != Some(mac) || before.next_hop != next_hop {
                let fixed = before.entering(State::Static, Some(mac), now);
                self.store(key, Neighbour { next_hop, due_ms: u64::MAX, ..fixed });
                effects.push(Effect::Resolve(key, Resolution::Ready(mac)));
            }
        }
        for &key in next_hops {
            match self.known.get(&key).copied() {
                Some(before) => {
                    self.store(key, Neighbour { next_hop: true, ..before });
                    // The tables did not hold it while no route named it.
                    if before.state != State::Static && !before.next_hop {
                        effects.push(Effect::Resolve(key, before.resolution()));
                    }
                }
                None => self.begin(key, true, now, effects),
            }
        }
    }

    /// A packet waits for this neighbour.
    pub fn wanted(&mut self, key: Key, now: u64, effects: &mut Vec<Effect>) {
        match self.known.get(&key) {
            Some(known) if known.is_in_tables() => {}
            // The route that it was a next hop of is gone.
            Some(known) => self.resolve(key, known.resolution(), effects),
            None => {
                if self.unanswered >= MAX_UNANSWERED || self.dynamic >= MAX_DYNAMIC {
                    self.give_place(effects);
                }
                if self.dynamic >= MAX_DYNAMIC {
                    return;
                }
                self.begin(key, false, now, effects);
                self.tick(now, effects);
            }
        }
    }

    /// Begins with a neighbour and does not solicit it, for callers that have no link. `None` when
    /// [`MAX_DYNAMIC`] are held already.
    pub fn add(&mut self, key: Key, effects: &mut Vec<Effect>) -> Option<HopId> {
        match self.known.get(&key) {
            Some(known) if known.is_in_tables() => {}
            Some(known) => self.resolve(key, known.resolution(), effects),
            None if self.dynamic >= MAX_DYNAMIC => return None,
            None => self.begin(key, false, 0, effects),
        }
        self.lookup(key).map(|(id, _)| id)
    }

    /// Sets what is known of a neighbour, for callers that have no link. One that is static or not known is
    /// left alone.
    pub fn set(&mut self, key: Key, resolution: Resolution, effects: &mut Vec<Effect>) {
        let Some(before) = self.known.get(&key).copied() else { return };
        if before.state == State::Static || before.is_in_tables() && before.resolution() == resolution {
            return;
        }
        let (state, mac) = match resolution {
            Resolution::Ready(mac) => (State::Reachable, Some(mac)),
            Resolution::Unresolved => (State::Incomplete, None),
            Resolution::Unreachable => (State::Failed, None),
            Resolution::Gone if before.next_hop => (State::Incomplete, None),
            Resolution::Gone => return self.forget(key, effects),
        };
        let next = before.entering(state, mac, before.since_ms);
        self.enter(
            key,
            Neighbour { wanted: before.wanted && resolution != Resolution::Gone, ..next },
            effects,
        );
        self.resolve(key, next.resolution(), effects);
    }

    /// A neighbour advertised itself: the rules of §7.2.5.
    pub fn advertised(&mut self, key: Key, advert: Advertisement, now: u64, effects: &mut Vec<Effect>) {
        let Some(before) = self.known.get(&key).copied() else { return };
        if advert.mac.is_some_and(|mac| mac.is_multicast() || mac == Mac::ZERO) {
            return;
        }
        let fresh = if advert.solicited { State::Reachable } else { State::Stale };
        let (state, mac) = match (before.state, before.mac) {
            (State::Static, _) => return,
            (State::Incomplete | State::Failed, _) | (_, None) => match advert.mac {
                Some(mac) => (fresh, mac),
                None => return,
            },
            (state, Some(known)) => {
                let other = advert.mac.filter(|mac| *mac != known);
                match other {
                    Some(_) if !advert.overrides => {
                        if state != State::Reachable {
                            return;
                        }
                        (State::Stale, known)
                    }
                    Some(mac) => (fresh, mac),
                    None if advert.solicited => (State::Reachable, known),
                    None => return,
                }
            }
        };
        self.enter(key, before.entering(state, Some(mac), now), effects);
        if before.mac != Some(mac) || matches!(before.state, State::Incomplete | State::Failed) {
            self.resolve(key, Resolution::Ready(mac), effects);
        }
    }

    /// A neighbour sent a solicitation with its MAC address: the rules of §6.2.6 and §7.2.3. A neighbour that
    /// is not known stays unknown: it is solicited when a packet wants it.
    pub fn solicited(&mut self, key: Key, mac: Mac, now: u64, effects: &mut Vec<Effect>) {
        let Some(before) = self.known.get(&key).copied() else { return };
        if before.state == State::Static || before.mac == Some(mac) || mac.is_multicast() || mac == Mac::ZERO
        {
            return;
        }
        self.enter(key, before.entering(State::Stale, Some(mac), now), effects);
        self.resolve(key, Resolution::Ready(mac), effects);
    }

    /// A link came up: every neighbour on it is probed at once.
    pub fn link_up(&mut self, port: PortId, now: u64, effects: &mut Vec<Effect>) {
        let there: Vec<Key> = self.known.keys().filter(|key| key.port == port).copied().collect();
        for key in there {
            let Some(before) = self.known.get(&key).copied() else { continue };
            match before.state {
                State::Static => {}
                State::Reachable | State::Stale | State::Probe => {
                    self.enter(key, before.entering(State::Probe, before.mac, now), effects);
                }
                State::Incomplete | State::Failed => {
                    let next = Neighbour { sent: 0, due_ms: now, backoff_ms: BACKOFF_MS.0, ..before };
                    self.store(key, next);
                }
            }
        }
        self.tick(now, effects);
    }

    /// Serves the timers that are due.
    pub fn tick(&mut self, now: u64, effects: &mut Vec<Effect>) {
        while let Some((_, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let Some(neighbour) = self.known.get(&key).copied() else {
                self.due.pop_first();
                continue;
            };
            self.act(key, neighbour, now, effects);
        }
    }

    fn act(&mut self, key: Key, before: Neighbour, now: u64, effects: &mut Vec<Effect>) {
        let retransmit = u64::from(self.timers.retransmit_ms);
        let next = |state, mac| before.entering(state, mac, now);
        match before.state {
            State::Incomplete | State::Probe if before.sent < self.timers.probes => {
                effects.push(Effect::Solicit(key, before.mac));
                let due_ms = now + retransmit;
                self.store(key, Neighbour { sent: before.sent + 1, due_ms, ..before });
            }
            State::Incomplete | State::Probe => {
                self.enter(key, next(State::Failed, None), effects);
                self.resolve(key, Resolution::Unreachable, effects);
            }
            State::Reachable => self.enter(key, next(State::Stale, before.mac), effects),
            State::Stale => self.enter(key, next(State::Probe, before.mac), effects),
            State::Failed if before.next_hop => {
                effects.push(Effect::Solicit(key, None));
                let backoff_ms = (before.backoff_ms * 2).min(BACKOFF_MS.1);
                self.store(key, Neighbour { due_ms: now + before.backoff_ms, backoff_ms, ..before });
            }
            State::Failed => self.forget(key, effects),
            State::Static => self.store(key, Neighbour { due_ms: u64::MAX, ..before }),
        }
    }

    /// Begins address resolution (§7.2.2). The next tick sends the solicitation.
    fn begin(&mut self, key: Key, next_hop: bool, now: u64, effects: &mut Vec<Effect>) {
        let new = Neighbour { next_hop, wanted: !next_hop, ..Neighbour::default() };
        self.enter(key, new.entering(State::Incomplete, None, now), effects);
        effects.push(Effect::Resolve(key, Resolution::Unresolved));
    }

    /// Changes the tables. They hold the neighbour from now on, whether or not a route names it.
    fn resolve(&mut self, key: Key, resolution: Resolution, effects: &mut Vec<Effect>) {
        if let Some(known) = self.known.get(&key).copied().filter(|known| !known.is_in_tables()) {
            self.store(key, Neighbour { wanted: true, ..known });
        }
        effects.push(Effect::Resolve(key, resolution));
    }

    /// Enters a state, with what is due in it.
    fn enter(&mut self, key: Key, mut next: Neighbour, effects: &mut Vec<Effect>) {
        next.due_ms = next.since_ms
            + match next.state {
                State::Incomplete | State::Probe => 0,
                State::Reachable => u64::from(self.timers.reachable_ms),
                State::Stale => DELAY_FIRST_PROBE_MS,
                State::Failed if next.next_hop => BACKOFF_MS.0,
                State::Failed => REFUSE_MS,
                State::Static => u64::MAX - next.since_ms,
            };
        if self.known.get(&key).is_none_or(|before| before.state != next.state) {
            effects.push(Effect::Entered(key, next.state));
        }
        self.store(key, next);
    }

    /// Forgets the neighbour without an answer that failed, or else has been asked for longest, on the port that has
    /// most of them.
    fn give_place(&mut self, effects: &mut Vec<Effect>) {
        let most = self.silent.values().max_by_key(|silent| silent.len());
        if let Some((_, _, key)) = most.and_then(BTreeSet::first).copied() {
            self.forget(key, effects);
        }
    }

    fn store(&mut self, key: Key, mut next: Neighbour) {
        self.remove(key);
        if !next.is_in_tables() {
            next.id = HopId(0);
        } else if next.id == HopId(0) {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            next.id = HopId(self.last_id);
        }
        self.dynamic += usize::from(next.is_dynamic());
        if next.is_unanswered() {
            self.unanswered += 1;
            self.silent.entry(key.port).or_default().insert(place(key, &next));
        }
        if next.due_ms != u64::MAX {
            self.due.insert((next.due_ms, key));
        }
        self.known.insert(key, next);
    }

    fn remove(&mut self, key: Key) {
        if let Some(before) = self.known.remove(&key) {
            self.due.remove(&(before.due_ms, key));
            self.dynamic -= usize::from(before.is_dynamic());
            if before.is_unanswered() {
                self.unanswered -= 1;
                if let Some(silent) = self.silent.get_mut(&key.port) {
                    silent.remove(&place(key, &before));
                }
            }
        }
    }

    fn forget(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.remove(key);
        effects.push(Effect::Resolve(key, Resolution::Gone));
    }
}

/// The place of a neighbour without an answer among those of its port.
fn place(key: Key, neighbour: &Neighbour) -> (bool, u64, Key) {
    (neighbour.state == State::Incomplete, neighbour.since_ms, key)
}

#[cfg(test)]
mod tests;
