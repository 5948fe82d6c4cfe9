//! NVEs with a session at another authority of the same store, and what these authorities say of them.

use super::Authority;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who has a session at another authority.
#[derive(Debug, Default)]
pub(super) struct OtherSessions {
    /// The name of the authority, by NVE.
    nves: BTreeMap<String, String>,
    /// How many these are, by authority.
    counts: BTreeMap<String, usize>,
    /// Up to which revision all that have a session there have applied everything that is waited for, by authority.
    applied: BTreeMap<String, u64>,
}

impl OtherSessions {
    pub(super) fn insert(&mut self, nve: String, authority: String) {
        self.remove(&nve);
        *self.counts.entry(authority.clone()).or_default() += 1;
        self.nves.insert(nve, authority);
    }

    pub(super) fn remove(&mut self, nve: &str) {
        let Some(authority) = self.nves.remove(nve) else { return };
        if let Some(count) = self.counts.get_mut(&authority) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&authority);
            }
        }
    }

    /// The name of the authority, by NVE.
    pub(super) fn nves(&self) -> &BTreeMap<String, String> {
        &self.nves
    }

    /// An authority says so; none: it is gone, with what it said.
    pub(super) fn applied(&mut self, authority: String, revision: Option<u64>) {
        match revision {
            Some(revision) => _ = self.applied.insert(authority, revision),
            None => _ = self.applied.remove(&authority),
        }
    }

    /// Up to which revision all NVEs with a session elsewhere have applied everything, by the word of each of their
    /// authorities. One of an earlier release says nothing.
    pub(super) fn all_applied(&self) -> u64 {
        let of = |authority| self.applied.get(authority).copied().unwrap_or(0);
        self.counts.keys().map(of).min().unwrap_or(u64::MAX)
    }
}

impl Authority {
    /// An NVE opened a session at another authority. What it asked for here and is not durable is void.
    pub(super) fn leaves(&mut self, nve: String, authority: String, now_ms: u64) {
        if let Some(id) = self.sessions.of(&nve) {
            self.end(id, format!("{nve} opened another session at {authority}"), now_ms);
        }
        // It is told there what becomes of what it has.
        self.sessions.absent.forget(&nve);
        self.elsewhere.insert(nve, authority);
    }

    /// These are all that have a session elsewhere.
    pub(super) fn all_elsewhere(&mut self, all: Vec<(String, String)>, now_ms: u64) {
        let before: Vec<String> = self.elsewhere.nves().keys().cloned().collect();
        before.iter().for_each(|nve| self.elsewhere.remove(nve));
        self.sessions.away.extend(before.into_iter().map(|nve| (Arc::from(nve), now_ms)));
        all.into_iter().for_each(|(nve, authority)| self.leaves(nve, authority, now_ms));
        self.note_spread();
    }

    /// An NVE has no session elsewhere any more.
    pub(super) fn is_nowhere(&mut self, nve: String, now_ms: u64) {
        self.elsewhere.remove(&nve);
        self.sessions.away.insert(nve.into(), now_ms);
        self.note_spread();
    }

    /// Another authority says up to which revision those with a session there have applied everything, or is gone.
    pub(super) fn hear_applied(&mut self, authority: String, revision: Option<u64>) {
        self.elsewhere.applied(authority, revision);
        self.note_spread();
    }
}
