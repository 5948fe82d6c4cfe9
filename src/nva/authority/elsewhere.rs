//! NVEs that open sessions at other authorities of the same store, and end them.

use super::Authority;
use std::sync::Arc;

impl Authority {
    /// An NVE opened a session at another authority. What it asked for here and is not durable is void.
    pub(super) fn leaves(&mut self, nve: String, authority: String, now_ms: u64) {
        if let Some(id) = self.sessions.of(&nve) {
            self.end(id, format!("{nve} opened another session at {authority}"), now_ms);
        }
        // It is told there what becomes of what it has.
        self.sessions.absent.forget(&nve);
        self.sessions.silence.has_session(&nve);
        self.elsewhere.insert(nve, authority);
    }

    /// These are all that have a session elsewhere.
    pub(super) fn all_elsewhere(&mut self, all: Vec<(String, String)>, now_ms: u64) {
        let before: Vec<String> = self.elsewhere.nves().keys().cloned().collect();
        before.iter().for_each(|nve| self.elsewhere.remove(nve));
        let grace_ms = self.registry.groups().rules().grace_ms;
        for nve in before.into_iter().map(Arc::<str>::from) {
            self.sessions.silence.missing(nve.clone(), now_ms, grace_ms);
            self.sessions.away.insert(nve, now_ms);
        }
        all.into_iter().for_each(|(nve, authority)| self.leaves(nve, authority, now_ms));
        self.note_spread();
    }

    /// An NVE has no session elsewhere any more.
    pub(super) fn is_nowhere(&mut self, nve: String, now_ms: u64) {
        // Who has a session here has none there since.
        if self.elsewhere.nves().contains_key(&nve) {
            let grace_ms = self.registry.groups().rules().grace_ms;
            self.sessions.silence.missing(Arc::from(&*nve), now_ms, grace_ms);
        }
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
