//! What an NVE registers and releases: what is attached to it, as much at a time as may wait for an answer.

use super::{Client, Effect, Leaving, Registration, State};
use crate::nva::message::Up;
use crate::nva::model::{Binding, Key};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant that has another address than before has that registered first: its NVE has its MAC address all the while.
const RENUMBERED_MS: u64 = 1_000;
/// Requests that wait for an answer at the same time: a stream takes no more than it can hold.
const ASKED: usize = 512;

impl Client {
    /// This is attached from now on.
    pub(super) fn attach(&mut self, wanted: BTreeMap<Key, Binding>, now_ms: u64) {
        let of_mac = |(key, binding): (&Key, &Binding)| Some((key.network()?, binding.mac?));
        let is_new = |(key, _): &(&Key, &Binding)| !self.wanted.contains_key(key);
        let renumbered: BTreeSet<_> = wanted.iter().filter(is_new).filter_map(of_mac).collect();
        let gone: Vec<Key> = self.wanted.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.refusals.remove(&key);
            self.registrations.remove(&key);
            self.keep_own(key, None);
            // What has moved is the other NVE's.
            if self.moves.has_left(&key) || self.groups.has(&key) {
                continue;
            }
            // The authority may have it from before, whatever it answered last: to release it is never wrong.
            let of_mac = self.wanted.get(&key).and_then(|binding| of_mac((&key, binding)));
            let is_renumbered = of_mac.is_some_and(|it| renumbered.contains(&it));
            let at_ms = if is_renumbered { now_ms + RENUMBERED_MS } else { 0 };
            self.leaving.insert(key, Leaving::Due { at_ms });
        }
        // Those at other locators or with another MAC address than before are asked for again.
        for (key, binding) in &wanted {
            self.leaving.remove(key);
            if self.wanted.get(key).is_some_and(|before| before != binding) {
                self.registrations.remove(key);
            }
        }
        self.sequences.retain(|key, _| wanted.contains_key(key));
        self.wanted = wanted;
    }

    /// Whether the node keeps the sequence of an identifier by itself, and with no mapping.
    fn is_kept_alone(&self, key: Key) -> bool {
        self.cache.is_some() || !self.scopes.holds(key.sir_prefix, key.identifier)
    }

    /// All sequences that the node keeps with no mapping.
    pub fn own(&self) -> impl Iterator<Item = (Key, u64)> {
        let all = self.sequences.iter().map(|(key, sequence)| (*key, *sequence));
        all.filter(|(key, _)| self.is_kept_alone(*key))
    }

    /// Has the node keep a sequence that it does not keep with a mapping.
    pub(super) fn keep_own(&mut self, key: Key, sequence: Option<u64>) {
        if self.is_kept_alone(key) {
            self.effects.push(Effect::Own(key, sequence));
        }
    }

    /// Releases and registers: as much as may wait for an answer, the rest later.
    pub(super) fn ask_for_what_is_due(&mut self, now_ms: u64) {
        let room = ASKED.saturating_sub(self.asked.len());
        let due = |one: &Leaving| matches!(one, Leaving::Due { at_ms } if now_ms >= *at_ms);
        let due = self.leaving.iter().filter(|(_, one)| due(one)).map(|(key, _)| *key);
        for key in due.take(room).collect::<Vec<_>>() {
            let id = self.ask(key);
            self.leaving.insert(key, Leaving::Asked(id));
            self.effects.push(Effect::Up(Up::Unregister { id, key }));
        }
        let room = ASKED.saturating_sub(self.asked.len());
        let due = |key: &Key| match self.registrations.get(key) {
            None => true,
            Some(Registration::Refused { again_ms }) => now_ms >= *again_ms,
            Some(_) => false,
        };
        let due = self.wanted.iter().filter(|(key, _)| due(key));
        let due: Vec<_> = due.take(room).map(|(key, binding)| (*key, binding.clone())).collect();
        for (key, Binding { choices, mac }) in due {
            let id = self.ask(key);
            self.registrations.insert(key, Registration::Asked(id));
            let known = self.sequences.get(&key).copied().unwrap_or(0);
            self.effects.push(Effect::Up(Up::Register { id, key, choices, known, mac }));
        }
    }

    /// Says so once everything that is attached was answered.
    pub(super) fn complete(&mut self) {
        let State::Live(live) = &mut self.state else { return };
        let is_answered =
            |key| self.registrations.get(key).is_some_and(|one| !matches!(one, Registration::Asked(_)));
        if !live.complete && self.blocks.is_answered() && self.wanted.keys().all(is_answered) {
            live.complete = true;
            self.effects.push(Effect::Up(Up::Complete));
        }
    }

    fn ask(&mut self, key: Key) -> u64 {
        self.next_id += 1;
        self.asked.insert(self.next_id, key);
        self.next_id
    }
}
