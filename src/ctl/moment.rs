//! One line of a timeline: of a move, or of a group for hot failover.

use crate::api::manage::MoveMoment;
use serde::Serialize;

/// What happened, when, by whom and how.
#[derive(Serialize)]
pub(super) struct MomentView {
    pub(super) time_ms: u64,
    pub(super) what: String,
    who: String,
    pub(super) how: String,
}

impl MomentView {
    pub(super) fn of(MoveMoment { time_ms, what, who, how }: MoveMoment) -> Self {
        MomentView { time_ms, what, who, how }
    }

    /// The columns of a table, behind the one with the time.
    pub(super) fn columns(&self) -> [String; 3] {
        let who = match self.who.as_str() {
            "" => "the authority".to_owned(),
            who => who.escape_debug().to_string(),
        };
        [self.what.clone(), who, self.how.escape_debug().to_string()]
    }
}
