//! The NVE's half of moves: what it was told, and what it says until it is told of the state that follows.

use super::model::{MoveId, MoveState, Role, Sign};
use crate::nva::message::{MoveReport, MoveTold, MoveWhat, MovesPart};
use crate::nva::model::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pause before something is said again that the authority has not heard yet.
const AGAIN_MS: u64 = 1_000;

/// The moves that concern a node, by their names: all that it was told. Without a session they stay as they are.
pub type NodeMoves = BTreeMap<MoveId, MoveTold>;

/// What a node sees of a move, and what it did for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// While preparing: it has all that it needs. At the old NVE, once it left: what comes for it is sent on.
    Ready,
    /// It cannot do its part, and why.
    Failed(String),
    /// At the old NVE: the attachment left.
    Detached(Sign),
    /// At the new NVE: the attachment is there.
    Arrived(Sign),
    /// At the old NVE, while draining: no packet came for [`MoveTold::idle_ms`]. At both, while aborting: what they did is
    /// undone.
    Drained,
}

/// What a node saw of a move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    ready: bool,
    failed: Option<String>,
    detached: Option<Sign>,
    arrived: Option<Sign>,
    drained: bool,
    /// What was said last, and when it is said again.
    said: Option<(MoveState, MoveWhat, u64)>,
}

/// Follows moves.
#[derive(Debug, Default)]
pub struct Sightings {
    told: Arc<NodeMoves>,
    /// Parts of a change whose last part did not come yet.
    coming: Option<NodeMoves>,
    seen: BTreeMap<MoveId, Seen>,
    /// The last part came, and nobody heard of it.
    changed: bool,
}

impl Sightings {
    /// The node knows of these moves from before its start, without their tokens.
    pub(in crate::nva) fn of(moves: NodeMoves) -> Self {
        Sightings { told: Arc::new(moves), ..Sightings::default() }
    }

    /// A session begins: everything is told anew, and heard anew.
    pub(in crate::nva) fn begin(&mut self) {
        self.coming = None;
        self.seen.values_mut().for_each(|seen| seen.said = None);
    }

    /// Takes in a part.
    pub(in crate::nva) fn receive(&mut self, part: MovesPart) {
        let MovesPart { whole, last, moves, over } = part;
        let mut coming = match self.coming.take() {
            _ if whole => NodeMoves::new(),
            Some(coming) => coming,
            None => NodeMoves::clone(&self.told),
        };
        over.iter().for_each(|id| _ = coming.remove(id));
        coming.extend(moves.into_iter().map(|one| (one.id, one)));
        if !last {
            self.coming = Some(coming);
            return;
        }
        self.seen.retain(|id, _| coming.contains_key(id));
        for (id, one) in &coming {
            // What was done in a state before is done anew in this one.
            if self.told.get(id).is_some_and(|before| before.state != one.state)
                && let Some(seen) = self.seen.get_mut(id)
            {
                (seen.ready, seen.drained) = (false, false);
            }
        }
        if *self.told != coming {
            self.told = Arc::new(coming);
            self.changed = true;
        }
    }

    /// The moves, if they changed.
    pub(in crate::nva) fn next(&mut self) -> Option<Arc<NodeMoves>> {
        std::mem::take(&mut self.changed).then(|| self.told.clone())
    }

    /// Whether an identifier is the other NVE's: it has moved away from the node, or has not come back yet. The node releases
    /// nothing of it.
    pub(in crate::nva) fn has_left(&self, key: &Key) -> bool {
        let is_away = |one: &&MoveTold| (one.role == Role::Old) != one.state.is_before_commit();
        self.told.values().filter(is_away).any(|one| one.keys.contains(key))
    }

    /// The node sees something of a move. What it says of one that it was not told of is nothing.
    pub(in crate::nva) fn see(&mut self, id: MoveId, sight: Sight) {
        if !self.told.contains_key(&id) {
            return;
        }
        let seen = self.seen.entry(id).or_default();
        match sight {
            Sight::Ready => (seen.ready, seen.failed) = (true, None),
            Sight::Failed(why) => (seen.ready, seen.failed) = (false, Some(why)),
            Sight::Detached(sign) => _ = seen.detached.get_or_insert(sign),
            Sight::Arrived(sign) => _ = seen.arrived.get_or_insert(sign),
            Sight::Drained => seen.drained = true,
        }
    }

    /// What is to be said now.
    pub(in crate::nva) fn say(&mut self, now_ms: u64) -> Vec<MoveReport> {
        let mut reports = Vec::new();
        for (id, seen) in &mut self.seen {
            let Some(told) = self.told.get(id) else { continue };
            let Some(what) = to_be_said(told, seen) else { continue };
            let is_said = seen.said.as_ref().is_some_and(|(state, before, again_ms)| {
                *state == told.state && *before == what && now_ms < *again_ms
            });
            if !is_said {
                seen.said = Some((told.state, what.clone(), now_ms + AGAIN_MS));
                reports.push(MoveReport { id: *id, what, state: Some(told.state) });
            }
        }
        reports
    }
}

/// What the authority is to hear of a move in the state that it told.
fn to_be_said(told: &MoveTold, seen: &Seen) -> Option<MoveWhat> {
    use MoveState::{Aborting, Detached, Draining, Prepared, Preparing};
    let arrived = || Some(MoveWhat::Arrived(told.token?, seen.arrived?));
    let detached = || seen.detached.filter(|_| told.role == Role::Old).map(MoveWhat::Detached);
    let failed = || seen.failed.clone().map(MoveWhat::Failed);
    match told.state {
        Preparing => arrived().or_else(failed).or(seen.ready.then_some(MoveWhat::Ready)),
        Prepared => arrived().or_else(detached).or_else(failed),
        Detached => {
            let sends_on = (told.role == Role::Old && seen.ready).then_some(MoveWhat::Ready);
            arrived().or_else(failed).or(sends_on)
        }
        Draining if told.role == Role::Old => seen.drained.then_some(MoveWhat::Drained),
        Aborting => seen.drained.then_some(MoveWhat::Drained),
        _ => None,
    }
}
