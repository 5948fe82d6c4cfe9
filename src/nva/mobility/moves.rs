//! All moves, what is durable of them, with the times at which their states end.

use super::model::{Move, MoveId, MoveRules, MoveState};
use crate::nva::convergence::Convergence;
use crate::nva::model::Key;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Moves that are over and still shown.
const ENDED: usize = 256;

/// What became of moves, as this authority saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveCounts {
    /// They came to their new NVE.
    pub done: u64,
    /// They stayed at their old one.
    pub aborted: u64,
    /// How long attachments were at neither NVE.
    pub away: Convergence,
    /// How long it took until everybody knew.
    pub spread: Convergence,
}

/// All moves.
#[derive(Debug, Default)]
pub struct Moves {
    rules: MoveRules,
    all: BTreeMap<MoveId, Move>,
    /// When the state of each ends, on the clock of this process.
    ends_ms: BTreeMap<MoveId, u64>,
    first: BTreeSet<(u64, MoveId)>,
    of_nves: BTreeMap<String, BTreeSet<MoveId>>,
    /// By the name of the attachment.
    of_names: BTreeMap<String, BTreeSet<MoveId>>,
    ended: VecDeque<Move>,
    /// What became of them.
    counts: MoveCounts,
}

/// How long the state of a move lasts at least after a start: NVEs come back, and say what they saw.
const HEARD_MS: u64 = 20_000;

impl Moves {
    /// What a store held. It is `now_ms` on the clock of this process, and `unix_ms` milliseconds since 1970.
    pub(in crate::nva) fn new(
        rules: MoveRules,
        stored: Vec<(MoveId, Move)>,
        (now_ms, unix_ms): (u64, u64),
    ) -> Self {
        let mut moves = Moves { rules, ..Moves::default() };
        for (id, one) in stored {
            let ends_ms = rules.period_ms(&one).map(|period_ms| {
                // A clock that was set meanwhile makes it no longer than it may be. What NVEs saw while nobody listened
                // is heard first.
                let left_ms = (one.since_ms + period_ms).saturating_sub(unix_ms);
                now_ms + left_ms.max(HEARD_MS).min(period_ms)
            });
            moves.put(id, one, ends_ms);
        }
        moves
    }

    /// States last so long from now on; those that have begun end as they would have.
    pub(in crate::nva) fn judge_by(&mut self, rules: MoveRules) {
        self.rules = rules;
    }

    /// What became of those that are over.
    #[must_use]
    pub fn counts(&self) -> &MoveCounts {
        &self.counts
    }

    /// How long states last.
    #[must_use]
    pub fn rules(&self) -> &MoveRules {
        &self.rules
    }

    /// A move that is not over.
    #[must_use]
    pub fn get(&self, id: MoveId) -> Option<&Move> {
        self.all.get(&id)
    }

    /// Those that are not over.
    pub fn iter(&self) -> impl Iterator<Item = &Move> {
        self.all.values()
    }

    /// Those that are over and still remembered, the last first.
    pub fn ended(&self) -> impl Iterator<Item = &Move> {
        self.ended.iter().rev()
    }

    /// Those that an NVE has a part in.
    pub fn of<'m>(&'m self, nve: &str) -> impl Iterator<Item = &'m Move> {
        self.of_nves.get(nve).into_iter().flatten().filter_map(|id| self.all.get(id))
    }

    /// Those of attachments of this name, wherever they are.
    pub fn named<'m>(&'m self, attachment: &str) -> impl Iterator<Item = &'m Move> {
        self.of_names.get(attachment).into_iter().flatten().filter_map(|id| self.all.get(id))
    }

    /// How many identifiers these bring to an NVE that they have not brought yet.
    #[must_use]
    pub fn coming_to(&self, nve: &str) -> usize {
        let coming = self.of(nve).filter(|one| one.to == nve && one.state.is_before_commit());
        coming.map(|one| one.keys.len()).sum()
    }

    /// How many an NVE has a part in.
    #[must_use]
    pub fn count_of(&self, nve: &str) -> usize {
        self.of_nves.get(nve).map_or(0, BTreeSet::len)
    }

    /// How long the state of a move lasts yet; none: until somebody does something.
    #[must_use]
    pub fn left_ms(&self, id: MoveId, now_ms: u64) -> Option<u64> {
        self.ends_ms.get(&id).map(|ends_ms| ends_ms.saturating_sub(now_ms))
    }

    /// The move of an attachment away from an NVE, before its commit.
    #[must_use]
    pub fn leaving(&self, nve: &str, attachment: &str) -> Option<&Move> {
        let is_it =
            |one: &&Move| one.from == nve && one.attachment == attachment && one.state.is_before_commit();
        self.of(nve).find(is_it)
    }

    /// Those of an attachment that came to an NVE and are not over.
    pub fn arrived<'m>(&'m self, nve: &'m str, attachment: &'m str) -> impl Iterator<Item = &'m Move> {
        self.of(nve)
            .filter(move |one| one.to == nve && one.attachment == attachment && !one.state.is_before_commit())
    }

    /// Whether an identifier left an NVE by a move that is not over.
    #[must_use]
    pub fn has_left(&self, nve: &str, key: Key) -> bool {
        let has_left =
            |one: &Move| one.from == nve && !one.state.is_before_commit() && one.keys.contains(&key);
        self.of(nve).any(has_left)
    }

    /// Those whose state has lasted for as long as it may.
    pub(in crate::nva) fn expired(&self, now_ms: u64) -> impl Iterator<Item = (MoveId, MoveState)> {
        let over = self.first.iter().take_while(move |(ends_ms, _)| *ends_ms <= now_ms);
        over.filter_map(|(_, id)| Some((*id, self.all.get(id)?.state)))
    }

    /// Takes over what is durable. Gives what it was before.
    pub(in crate::nva) fn apply(&mut self, id: MoveId, now: Option<&Move>, now_ms: u64) -> Option<Move> {
        let ends_ms = self.ends_ms.get(&id).copied();
        let before = self.take(id);
        let ended = before.clone().map(|before| (before, ends_ms));
        match (now, &before) {
            (Some(one), _) => {
                if let Some(before) = &before {
                    self.measure(before, one);
                }
                // What else becomes of it does not make its state last longer.
                let goes_on = |before: &&(Move, Option<u64>)| {
                    let (before, _) = before;
                    (before.state, before.since_ms, before.overdue) == (one.state, one.since_ms, one.overdue)
                };
                let ends_ms = match ended.as_ref().filter(goes_on) {
                    Some((_, ends_ms)) => *ends_ms,
                    None => self.rules.period_ms(one).map(|period_ms| now_ms + period_ms),
                };
                self.put(id, one.clone(), ends_ms);
            }
            (None, Some(before)) => {
                match before.state.is_before_commit() {
                    true => self.counts.aborted += 1,
                    false => self.counts.done += 1,
                }
                self.ended.push_back(before.clone());
                if self.ended.len() > ENDED {
                    self.ended.pop_front();
                }
            }
            (None, None) => {}
        }
        before
    }

    /// What makes of these all that there are.
    pub(in crate::nva) fn differences(&self, all: Vec<(MoveId, Move)>) -> Vec<(MoveId, Option<Move>)> {
        let all: BTreeMap<MoveId, Move> = all.into_iter().collect();
        let gone: Vec<_> = self.all.keys().filter(|id| !all.contains_key(id)).map(|id| (*id, None)).collect();
        let new = all.into_iter().filter(|(id, one)| self.all.get(id) != Some(one));
        gone.into_iter().chain(new.map(|(id, one)| (id, Some(one))).collect::<Vec<_>>()).collect()
    }

    fn measure(&mut self, before: &Move, now: &Move) {
        let took_ms = now.since_ms.saturating_sub(before.since_ms);
        match (before.state, now.state) {
            (MoveState::Detached, MoveState::Spreading) => self.counts.away.record(took_ms),
            (MoveState::Spreading, MoveState::Draining) => self.counts.spread.record(took_ms),
            _ => {}
        }
    }

    fn put(&mut self, id: MoveId, one: Move, ends_ms: Option<u64>) {
        for nve in [&one.from, &one.to] {
            self.of_nves.entry(nve.clone()).or_default().insert(id);
        }
        self.of_names.entry(one.attachment.clone()).or_default().insert(id);
        if let Some(ends_ms) = ends_ms {
            self.ends_ms.insert(id, ends_ms);
            self.first.insert((ends_ms, id));
        }
        self.all.insert(id, one);
    }

    fn take(&mut self, id: MoveId) -> Option<Move> {
        let one = self.all.remove(&id)?;
        if let Some(ends_ms) = self.ends_ms.remove(&id) {
            self.first.remove(&(ends_ms, id));
        }
        for nve in [&one.from, &one.to] {
            forget(&mut self.of_nves, nve, id);
        }
        forget(&mut self.of_names, &one.attachment, id);
        Some(one)
    }
}

fn forget(all: &mut BTreeMap<String, BTreeSet<MoveId>>, name: &str, id: MoveId) {
    if let Some(ids) = all.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            all.remove(name);
        }
    }
}
