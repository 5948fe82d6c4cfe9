//! Neighbours: who answers at which MAC address, kept true by Neighbour Unreachability Detection (RFC 4861 §7.2, §7.3).
//!
//! A pure state machine: it is told the time, and says what is to be sent and what the tables should hold. Next hops
//! of routes are asked for from the start and never given up; others are asked for when a packet needs them and
//! forgotten when they fall silent. Nothing here deletes a route.

use super::rib::MAX_DYNAMIC;
use crate::config::NeighbourDiscovery;
use crate::net::Mac;
use crate::table::PortId;
use std::collections::{BTreeMap, BTreeSet};

/// Time in `Stale` before the neighbour is asked whether it is still there (`DELAY_FIRST_PROBE_TIME`, §10).
const DELAY_FIRST_PROBE_MS: u64 = 5_000;
/// First and longest pause between solicitations for a next hop that is gone.
const BACKOFF_MS: (u64, u64) = (1_000, 30_000);
/// How long packets for a silent neighbour are refused before it is asked for again.
const REFUSE_MS: u64 = 3_000;
/// Of these, unanswered ones at most: a scan of a subnet must not fill the table (RFC 6583).
const MAX_UNANSWERED: usize = 512;

/// States of a neighbour (§7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Being asked for, MAC address unknown.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Confirmed some time ago, or only heard of; in use.
    Stale,
    /// Being asked whether it is still there; in use.
    Probe,
    /// Does not answer.
    Failed,
    /// Configured.
    Static,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Incomplete, State::Reachable, State::Stale, State::Probe, State::Failed, State::Static];

    /// The label in views and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            State::Incomplete => "incomplete",
            State::Reachable => "reachable",
            State::Stale => "stale",
            State::Probe => "probe",
            State::Failed => "failed",
            State::Static => "static",
        }
    }
}

/// A neighbour's name: an address on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The port.
    pub port: PortId,
    /// The address.
    pub address: u128,
}

/// What is known of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its state.
    pub state: State,
    /// When the state was entered, in milliseconds.
    pub since_ms: u64,
    /// Its MAC address, when known.
    pub mac: Option<Mac>,
    /// Whether a route uses it as next hop.
    pub next_hop: bool,
    /// Solicitations sent in this state.
    sent: u8,
    /// When something is due.
    due_ms: u64,
    /// Pause until the next solicitation of a next hop that is gone.
    backoff_ms: u64,
}

/// What packets to a neighbour do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Leave to this MAC address.
    Ready(Mac),
    /// Wait.
    Unresolved,
    /// Are refused.
    Unreachable,
    /// Nothing is known of it any more.
    Gone,
}

/// What the state machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send a Neighbour Solicitation: to this MAC address, or to the solicited-node group.
    Solicit(Key, Option<Mac>),
    /// Tell the tables.
    Tell(Key, Resolution),
    /// Tell the operator: a state was entered.
    Note(Key, State),
}

/// A Neighbour Advertisement, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// Target link-layer address.
    pub mac: Option<Mac>,
    /// S flag.
    pub solicited: bool,
    /// O flag.
    pub overrides: bool,
}

/// All neighbours of a node.
#[derive(Debug)]
pub struct Neighbours {
    timers: NeighbourDiscovery,
    known: BTreeMap<Key, Neighbour>,
    due: BTreeSet<(u64, Key)>,
    dynamic: usize,
    unanswered: usize,
}

impl Neighbours {
    /// None yet.
    #[must_use]
    pub fn new(timers: NeighbourDiscovery) -> Self {
        Neighbours { timers, known: BTreeMap::new(), due: BTreeSet::new(), dynamic: 0, unanswered: 0 }
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

    /// How many are in each state, in the order of [`State::ALL`].
    #[must_use]
    pub fn count(&self) -> [u64; State::ALL.len()] {
        let mut counts = [0; State::ALL.len()];
        for neighbour in self.known.values() {
            counts[neighbour.state as usize] += 1;
        }
        counts
    }

    /// Takes over the configuration: its timers, the next hops of all routes, and the static neighbours.
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
            let before = self.known.get(&key).copied();
            let fixed = Neighbour { next_hop, ..Neighbour::entering(State::Static, Some(mac), now) };
            if before.is_none_or(|b| b.state != State::Static || b.mac != Some(mac) || b.next_hop != next_hop)
            {
                self.store(key, Neighbour { due_ms: u64::MAX, ..fixed });
                effects.push(Effect::Tell(key, Resolution::Ready(mac)));
            }
        }
        for &key in next_hops {
            match self.known.get(&key).copied() {
                Some(before) => {
                    self.store(key, Neighbour { next_hop: true, ..before });
                    // The tables may have forgotten it while no route named it.
                    if before.state != State::Static && !before.next_hop {
                        effects.push(Effect::Tell(key, before.resolution()));
                    }
                }
                None => self.ask(key, true, now, effects),
            }
        }
    }

    /// A packet waits for this neighbour.
    pub fn wanted(&mut self, key: Key, now: u64, effects: &mut Vec<Effect>) {
        if let Some(known) = self.known.get(&key) {
            // The tables may have forgotten it with the route that it was a next hop of.
            return effects.push(Effect::Tell(key, known.resolution()));
        }
        if self.dynamic >= MAX_DYNAMIC || self.unanswered >= MAX_UNANSWERED {
            return;
        }
        self.ask(key, false, now, effects);
    }

    /// A neighbour advertised itself: the rules of §7.2.5.
    pub fn advertised(&mut self, key: Key, heard: Advertisement, now: u64, effects: &mut Vec<Effect>) {
        let Some(before) = self.known.get(&key).copied() else { return };
        if heard.mac.is_some_and(|mac| mac.is_multicast() || mac == Mac::ZERO) {
            return;
        }
        let fresh = if heard.solicited { State::Reachable } else { State::Stale };
        let (state, mac) = match (before.state, before.mac) {
            (State::Static, _) => return,
            (State::Incomplete | State::Failed, _) | (_, None) => match heard.mac {
                Some(mac) => (fresh, mac),
                None => return,
            },
            (state, Some(known)) => {
                let other = heard.mac.filter(|mac| *mac != known);
                match other {
                    Some(_) if !heard.overrides => {
                        if state != State::Reachable {
                            return;
                        }
                        (State::Stale, known)
                    }
                    Some(mac) => (fresh, mac),
                    None if heard.solicited => (State::Reachable, known),
                    None => return,
                }
            }
        };
        let next = Neighbour { next_hop: before.next_hop, ..Neighbour::entering(state, Some(mac), now) };
        self.enter(key, next, effects);
        if before.mac != Some(mac) || matches!(before.state, State::Incomplete | State::Failed) {
            effects.push(Effect::Tell(key, Resolution::Ready(mac)));
        }
    }

    /// A neighbour named its MAC address while it asked for something: the rules of §6.2.6 and §7.2.3. Whoever is not known
    /// stays so: there is time to ask when a packet wants it.
    pub fn solicited(&mut self, key: Key, mac: Mac, now: u64, effects: &mut Vec<Effect>) {
        let Some(before) = self.known.get(&key).copied() else { return };
        if before.state == State::Static || before.mac == Some(mac) || mac.is_multicast() || mac == Mac::ZERO
        {
            return;
        }
        let next =
            Neighbour { next_hop: before.next_hop, ..Neighbour::entering(State::Stale, Some(mac), now) };
        self.enter(key, next, effects);
        effects.push(Effect::Tell(key, Resolution::Ready(mac)));
    }

    /// A link came up: everybody on it is asked again, at once.
    pub fn link_up(&mut self, port: PortId, now: u64, effects: &mut Vec<Effect>) {
        let there: Vec<Key> = self.known.keys().filter(|key| key.port == port).copied().collect();
        for key in there {
            let Some(before) = self.known.get(&key).copied() else { continue };
            match before.state {
                State::Static => {}
                State::Reachable | State::Stale | State::Probe => {
                    let next = Neighbour::entering(State::Probe, before.mac, now);
                    self.enter(key, Neighbour { next_hop: before.next_hop, ..next }, effects);
                }
                State::Incomplete | State::Failed => {
                    let next = Neighbour { sent: 0, due_ms: now, backoff_ms: BACKOFF_MS.0, ..before };
                    self.store(key, next);
                }
            }
        }
        self.tick(now, effects);
    }

    /// Does what is due.
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
        let next =
            |state, mac| Neighbour { next_hop: before.next_hop, ..Neighbour::entering(state, mac, now) };
        match before.state {
            State::Incomplete | State::Probe if before.sent < self.timers.probes => {
                effects.push(Effect::Solicit(key, before.mac));
                let due_ms = now + retransmit;
                self.store(key, Neighbour { sent: before.sent + 1, due_ms, ..before });
            }
            State::Incomplete | State::Probe => {
                self.enter(key, next(State::Failed, None), effects);
                effects.push(Effect::Tell(key, Resolution::Unreachable));
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

    /// Starts address resolution (§7.2.2).
    fn ask(&mut self, key: Key, next_hop: bool, now: u64, effects: &mut Vec<Effect>) {
        let asked = Neighbour { next_hop, ..Neighbour::entering(State::Incomplete, None, now) };
        self.enter(key, asked, effects);
        effects.push(Effect::Tell(key, Resolution::Unresolved));
        self.tick(now, effects);
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
            effects.push(Effect::Note(key, next.state));
        }
        self.store(key, next);
    }

    fn store(&mut self, key: Key, next: Neighbour) {
        self.remove(key);
        self.dynamic += usize::from(next.is_gleaned());
        self.unanswered += usize::from(next.is_unanswered());
        if next.due_ms != u64::MAX {
            self.due.insert((next.due_ms, key));
        }
        self.known.insert(key, next);
    }

    fn remove(&mut self, key: Key) {
        if let Some(before) = self.known.remove(&key) {
            self.due.remove(&(before.due_ms, key));
            self.dynamic -= usize::from(before.is_gleaned());
            self.unanswered -= usize::from(before.is_unanswered());
        }
    }

    fn forget(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.remove(key);
        effects.push(Effect::Tell(key, Resolution::Gone));
    }
}

impl Neighbour {
    fn entering(state: State, mac: Option<Mac>, now: u64) -> Self {
        Neighbour {
            state,
            since_ms: now,
            mac,
            next_hop: false,
            sent: 0,
            due_ms: now,
            backoff_ms: BACKOFF_MS.0 * 2,
        }
    }

    fn resolution(&self) -> Resolution {
        match (self.state, self.mac) {
            (State::Incomplete, _) => Resolution::Unresolved,
            (State::Failed, _) | (_, None) => Resolution::Unreachable,
            (_, Some(mac)) => Resolution::Ready(mac),
        }
    }

    fn is_gleaned(&self) -> bool {
        !self.next_hop && self.state != State::Static
    }

    fn is_unanswered(&self) -> bool {
        self.is_gleaned() && matches!(self.state, State::Incomplete | State::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { port: PortId(1), address: 0xfe80 << 112 | 7 };
    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const TIMERS: NeighbourDiscovery =
        NeighbourDiscovery { reachable_ms: 30_000, retransmit_ms: 1_000, probes: 3, hold_packets: 4 };

    fn answer(mac: Option<Mac>, solicited: bool, overrides: bool) -> Advertisement {
        Advertisement { mac, solicited, overrides }
    }

    fn next_hop(now: u64) -> (Neighbours, Vec<Effect>) {
        let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
        all.configure(TIMERS, &BTreeSet::from([KEY]), &BTreeMap::new(), now, &mut effects);
        (all, effects)
    }

    fn dynamic() -> Neighbours {
        let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
        all.wanted(KEY, 0, &mut effects);
        all
    }

    fn at(all: &mut Neighbours, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        all.tick(now, &mut effects);
        effects
    }

    fn hear(all: &mut Neighbours, heard: Advertisement, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        all.advertised(KEY, heard, now, &mut effects);
        effects
    }

    fn state(all: &Neighbours) -> (State, Option<Mac>) {
        all.of(KEY).map(|n| (n.state, n.mac)).unwrap()
    }

    #[test]
    fn a_next_hop_is_asked_for_at_once_and_three_times_then_failed_but_never_given_up() {
        let (mut all, effects) = next_hop(100);
        assert!(
            effects.contains(&Effect::Solicit(KEY, None))
                && effects.contains(&Effect::Tell(KEY, Resolution::Unresolved))
        );
        assert_eq!(at(&mut all, 1_099), []);
        assert_eq!(at(&mut all, 1_100), [Effect::Solicit(KEY, None)]);
        assert_eq!(at(&mut all, 2_100), [Effect::Solicit(KEY, None)]);
        let effects = at(&mut all, 3_100);
        assert_eq!(effects, [Effect::Note(KEY, State::Failed), Effect::Tell(KEY, Resolution::Unreachable)]);
        // 1 s, then doubling to 30 s.
        let mut asked = Vec::new();
        for now in (3_100..120_000).step_by(100) {
            if at(&mut all, now) == [Effect::Solicit(KEY, None)] {
                asked.push(now - 3_100);
            }
        }
        assert_eq!(asked[..7], [1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
        let effects = hear(&mut all, answer(Some(A), true, true), 120_000);
        assert!(effects.contains(&Effect::Tell(KEY, Resolution::Ready(A))), "it came back");
    }

    #[test]
    fn reachable_becomes_stale_is_probed_by_unicast_and_confirmed_without_a_change_of_tables() {
        let (mut all, _) = next_hop(0);
        hear(&mut all, answer(Some(A), true, true), 10);
        assert_eq!(state(&all), (State::Reachable, Some(A)));
        assert_eq!(at(&mut all, 30_010), [Effect::Note(KEY, State::Stale)]);
        assert_eq!(at(&mut all, 35_010), [Effect::Note(KEY, State::Probe), Effect::Solicit(KEY, Some(A))]);
        let effects = hear(&mut all, answer(None, true, false), 35_020);
        assert_eq!(effects, [Effect::Note(KEY, State::Reachable)]);
    }

    #[test]
    fn one_that_was_gleaned_is_forgotten_when_it_falls_silent() {
        let mut all = dynamic();
        hear(&mut all, answer(Some(A), true, false), 10);
        let mut effects = Vec::new();
        for now in (10..60_000).step_by(10) {
            effects.extend(at(&mut all, now));
        }
        assert_eq!(effects.last(), Some(&Effect::Tell(KEY, Resolution::Gone)));
        assert!(effects.contains(&Effect::Tell(KEY, Resolution::Unreachable)));
        assert!(all.of(KEY).is_none() && all.due.is_empty());
    }

    #[test]
    fn rfc_4861_7_2_5_incomplete_needs_a_link_layer_address() {
        let mut all = dynamic();
        assert_eq!(hear(&mut all, answer(None, true, true), 5), []);
        hear(&mut all, answer(Some(A), false, true), 5);
        assert_eq!(state(&all), (State::Stale, Some(A)));
    }

    #[test]
    fn rfc_4861_7_2_5_without_override_another_mac_makes_reachable_stale_and_is_not_taken() {
        let mut all = dynamic();
        hear(&mut all, answer(Some(A), true, true), 5);
        assert_eq!(hear(&mut all, answer(Some(B), true, false), 6), [Effect::Note(KEY, State::Stale)]);
        assert_eq!(state(&all), (State::Stale, Some(A)));
        assert_eq!(hear(&mut all, answer(Some(B), true, false), 7), []);
        assert_eq!(state(&all), (State::Stale, Some(A)));
    }

    #[test]
    fn rfc_4861_7_2_5_with_override_another_mac_is_taken() {
        let mut all = dynamic();
        hear(&mut all, answer(Some(A), true, true), 5);
        let effects = hear(&mut all, answer(Some(B), false, true), 6);
        assert_eq!(effects, [Effect::Note(KEY, State::Stale), Effect::Tell(KEY, Resolution::Ready(B))]);
        hear(&mut all, answer(Some(A), true, true), 7);
        assert_eq!(state(&all), (State::Reachable, Some(A)));
    }

    #[test]
    fn rfc_4861_7_2_5_an_unsolicited_one_without_news_changes_nothing() {
        let mut all = dynamic();
        hear(&mut all, answer(Some(A), true, true), 5);
        assert_eq!(hear(&mut all, answer(Some(A), false, true), 6), []);
        assert_eq!(state(&all).0, State::Reachable);
    }

    #[test]
    fn rfc_4861_7_2_3_who_asks_from_another_mac_is_stale_with_it() {
        let mut all = dynamic();
        let ask = |all: &mut Neighbours, mac, now| {
            let mut effects = Vec::new();
            all.solicited(KEY, mac, now, &mut effects);
            effects
        };
        let stale = |mac| vec![Effect::Note(KEY, State::Stale), Effect::Tell(KEY, Resolution::Ready(mac))];
        // One that is being asked for has answered by asking.
        assert_eq!(ask(&mut all, A, 5), stale(A));
        hear(&mut all, answer(Some(A), true, true), 6);
        assert_eq!(ask(&mut all, A, 7), []);
        assert_eq!(state(&all), (State::Reachable, Some(A)));
        assert_eq!(ask(&mut all, B, 8), stale(B));
        // It is asked whether it is true, as any that is stale.
        assert!(at(&mut all, 5_008).contains(&Effect::Solicit(KEY, Some(B))));
        for nobody in [Mac::ZERO, Mac([0x33, 0x33, 0, 0, 0, 1])] {
            assert_eq!(ask(&mut all, nobody, 5_009), []);
        }
    }

    #[test]
    fn a_failed_neighbour_that_asks_has_not_failed_any_more() {
        let (mut all, mut effects) = next_hop(0);
        (0..4_000).step_by(100).for_each(|now| drop(at(&mut all, now)));
        assert_eq!(state(&all), (State::Failed, None));
        all.solicited(KEY, A, 4_000, &mut effects);
        assert_eq!(state(&all), (State::Stale, Some(A)));
        assert!(
            effects.contains(&Effect::Tell(KEY, Resolution::Ready(A)))
                && all.of(KEY).is_some_and(|n| n.next_hop)
        );
    }

    #[test]
    fn group_and_zero_macs_and_strangers_are_not_believed() {
        let mut all = dynamic();
        assert_eq!(hear(&mut all, answer(Some(Mac([0x33, 0x33, 0, 0, 0, 1])), true, true), 5), []);
        assert_eq!(hear(&mut all, answer(Some(Mac::ZERO), true, true), 5), []);
        let mut effects = Vec::new();
        let stranger = Key { address: 9, ..KEY };
        all.advertised(stranger, answer(Some(A), true, true), 5, &mut effects);
        all.solicited(stranger, A, 5, &mut effects);
        assert!(effects.is_empty() && all.of(stranger).is_none());
    }

    #[test]
    fn static_neighbours_never_change_and_go_with_their_line() {
        let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
        let fixed = BTreeMap::from([(KEY, A)]);
        all.configure(TIMERS, &BTreeSet::from([KEY]), &fixed, 0, &mut effects);
        assert_eq!(effects, [Effect::Tell(KEY, Resolution::Ready(A))]);
        assert_eq!(hear(&mut all, answer(Some(B), true, true), 5), []);
        assert_eq!(at(&mut all, 1_000_000), []);
        effects.clear();
        all.solicited(KEY, B, 5, &mut effects);
        assert_eq!(effects, []);
        all.configure(TIMERS, &BTreeSet::from([KEY]), &fixed, 6, &mut effects);
        assert_eq!(effects, []);
        all.configure(TIMERS, &BTreeSet::from([KEY]), &BTreeMap::new(), 7, &mut effects);
        assert_eq!(effects[0], Effect::Tell(KEY, Resolution::Gone));
        assert!(effects.contains(&Effect::Solicit(KEY, None)));
    }

    #[test]
    fn a_next_hop_whose_route_is_gone_stays_as_long_as_it_answers() {
        let (mut all, mut effects) = next_hop(0);
        hear(&mut all, answer(Some(A), true, true), 1);
        all.configure(TIMERS, &BTreeSet::new(), &BTreeMap::new(), 2, &mut effects);
        assert!(!all.of(KEY).unwrap().next_hop);
        for now in (0..60_000).step_by(10) {
            at(&mut all, now);
        }
        assert!(all.of(KEY).is_none());
    }

    #[test]
    fn a_link_that_comes_up_asks_everybody_again() {
        let (mut all, _) = next_hop(0);
        hear(&mut all, answer(Some(A), true, true), 1);
        let mut effects = Vec::new();
        all.link_up(PortId(0), 2, &mut effects);
        assert_eq!(effects, []);
        all.link_up(PortId(1), 2, &mut effects);
        assert_eq!(effects, [Effect::Note(KEY, State::Probe), Effect::Solicit(KEY, Some(A))]);
        for now in 3..40_000 {
            at(&mut all, now);
        }
        assert_eq!(state(&all).0, State::Failed);
        effects.clear();
        all.link_up(PortId(1), 40_000, &mut effects);
        assert_eq!(effects, [Effect::Solicit(KEY, None)]);
    }

    #[test]
    fn a_scan_does_not_fill_the_table() {
        let (mut all, mut effects) = (Neighbours::new(TIMERS), Vec::new());
        for address in 0..10_000 {
            all.wanted(Key { port: PortId(0), address }, 0, &mut effects);
        }
        assert_eq!(all.iter().count(), MAX_UNANSWERED);
        for now in (0..10_000).step_by(100) {
            at(&mut all, now);
        }
        assert_eq!((all.iter().count(), all.unanswered, all.dynamic), (0, 0, 0));
    }
}
