//! Groups that fail over: many in one transaction, judged anew if another authority came first.

use super::flight::Flight;
use super::{Commit, Commits};
use crate::nva::failover::Cause;
use crate::nva::registry::Registry;
use crate::nva::sessions::Sessions;
use std::collections::BTreeMap;

impl Commits {
    /// A group is to fail over. Nothing becomes of it if it is not so when it is judged.
    pub(in crate::nva) fn fail_over(&mut self, name: &str, cause: Cause) {
        self.failovers.entry(name.to_owned()).or_insert(cause);
    }

    /// Judges those that wait.
    pub(super) fn next_failovers(
        &mut self,
        sessions: &Sessions,
        registry: &Registry,
        elsewhere: &BTreeMap<String, String>,
        (now_ms, unix_ms): (u64, u64),
    ) -> Option<Flight> {
        if self.failovers.is_empty() {
            return None;
        }
        let wanted: Vec<_> = std::mem::take(&mut self.failovers).into_iter().collect();
        // One that has a session at another authority is judged there, whatever is known of it here.
        let is_lost = |nve: &str| {
            sessions.brake.braked().is_none()
                && !elsewhere.contains_key(nve)
                && sessions.silence.is_lost(nve, now_ms)
        };
        let takes = |nve: &str, attachment: &str| {
            sessions.takes_group(nve, attachment) || elsewhere.contains_key(nve)
        };
        let (transaction, failed_over, rest) =
            registry.judge_failovers(wanted, (&is_lost, &takes), self.rules.batch, unix_ms);
        self.failovers.extend(rest);
        let revision = registry.revision() + 1;
        let commit = Commit { revision, transaction, ..Commit::default() };
        (!commit.is_empty()).then(|| Flight { commit, failed_over, ..Flight::default() })
    }
}
