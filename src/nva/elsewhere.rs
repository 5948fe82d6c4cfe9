//! NVEs with a session at another authority of the same store, and what these authorities say of them.

use std::collections::BTreeMap;

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
