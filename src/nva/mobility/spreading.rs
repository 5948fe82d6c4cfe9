//! Which sessions have yet to apply the commit of a move, and what the other authorities are told of that.

use super::model::MoveId;
use crate::nva::message::SessionId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Wait {
    committed: u64,
    sessions: BTreeSet<SessionId>,
}

/// The moves that were committed, and the sessions that are waited for.
#[derive(Debug, Default)]
pub struct Spreading {
    all: BTreeMap<MoveId, Wait>,
    /// Up to which revision the other authorities were told that all is applied here.
    told: u64,
}

impl Spreading {
    /// A move was committed as this revision; these sessions have not applied it.
    pub(in crate::nva) fn begin(&mut self, id: MoveId, committed: u64, sessions: BTreeSet<SessionId>) {
        self.all.insert(id, Wait { committed, sessions });
    }

    /// A move is not spreading any more.
    pub(in crate::nva) fn end(&mut self, id: MoveId) {
        self.all.remove(&id);
    }

    /// Whether a move is waited for.
    pub(in crate::nva) fn has(&self, id: MoveId) -> bool {
        self.all.contains_key(&id)
    }

    /// Whether none is.
    pub(in crate::nva) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A session has applied everything up to a revision.
    pub(in crate::nva) fn applied(&mut self, session: SessionId, revision: u64) {
        for wait in self.all.values_mut().filter(|wait| wait.committed <= revision) {
            wait.sessions.remove(&session);
        }
    }

    /// A session is gone.
    pub(in crate::nva) fn left(&mut self, session: SessionId) {
        self.all.values_mut().for_each(|wait| _ = wait.sessions.remove(&session));
    }

    /// What was told is forgotten.
    pub(in crate::nva) fn forgotten(&mut self) {
        self.told = 0;
    }

    /// The revision up to which nobody is waited for here, if it is news for the other authorities: they wait for the commit
    /// of a move that is among it.
    pub(in crate::nva) fn next_to_tell(&mut self) -> Option<u64> {
        let waits = self.all.values().filter(|wait| !wait.sessions.is_empty());
        let first = waits.map(|wait| wait.committed).min().unwrap_or(u64::MAX);
        let done =
            self.all.values().map(|wait| wait.committed).filter(|committed| *committed < first).max()?;
        (done > self.told).then(|| {
            self.told = done;
            done
        })
    }

    /// Those that nobody is waited for any more: neither here, nor by authorities that say what is applied up to this
    /// revision.
    pub(in crate::nva) fn done(&self, elsewhere: u64) -> impl Iterator<Item = MoveId> {
        let is_done = move |wait: &Wait| wait.sessions.is_empty() && wait.committed <= elsewhere;
        self.all.iter().filter(move |(_, wait)| is_done(wait)).map(|(id, _)| *id)
    }
}
