//! Which sessions have yet to apply the commit of a move.

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
pub struct Spreading(BTreeMap<MoveId, Wait>);

impl Spreading {
    /// A move was committed as this revision; these sessions have not applied it.
    pub(in crate::nva) fn begin(&mut self, id: MoveId, committed: u64, sessions: BTreeSet<SessionId>) {
        self.0.insert(id, Wait { committed, sessions });
    }

    /// A move is not spreading any more.
    pub(in crate::nva) fn end(&mut self, id: MoveId) {
        self.0.remove(&id);
    }

    /// Whether a move is waited for.
    pub(in crate::nva) fn has(&self, id: MoveId) -> bool {
        self.0.contains_key(&id)
    }

    /// A session has applied everything up to a revision.
    pub(in crate::nva) fn applied(&mut self, session: SessionId, revision: u64) {
        for wait in self.0.values_mut().filter(|wait| wait.committed <= revision) {
            wait.sessions.remove(&session);
        }
    }

    /// A session is gone.
    pub(in crate::nva) fn left(&mut self, session: SessionId) {
        self.0.values_mut().for_each(|wait| _ = wait.sessions.remove(&session));
    }

    /// Those that nobody is waited for any more.
    pub(in crate::nva) fn done(&self) -> impl Iterator<Item = MoveId> {
        self.0.iter().filter(|(_, wait)| wait.sessions.is_empty()).map(|(id, _)| *id)
    }
}
