//! Moves of attachments: what an operator may begin, what NVEs and operators say of it, and the one transaction that gives
//! the identifiers to the new NVE. It needs the token, an operator's word, or nothing at all becomes of it.

mod begin;
mod words;

use super::{Draft, Registry};
use crate::config::ObjectName;
use crate::nva::event::By;
use crate::nva::message::{MoveReport, MoveWhat};
use crate::nva::mobility::{
    Fact, InFlight, Mode, Modes, Move, MoveId, MoveRules, MoveState, Moves, Next, Role, Stamp, Token,
};
use crate::nva::model::{Choice, Key, MAX_LOCATORS, Object, ObjectKey, Record, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// Identifiers of an attachment that moves, at most: they become the new NVE's in one transaction.
const MAX_KEYS: usize = 64;
/// What one step writes at most: its identifiers, two objects, the move, and those that end with it.
const STEP_WRITES: usize = MAX_KEYS + 6;

/// What an operator wants moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveRequest {
    /// Name of the attachment, at both NVEs.
    pub attachment: String,
    /// The old NVE.
    pub from: String,
    /// The new NVE.
    pub to: String,
    /// Its port there.
    pub port: String,
    /// Its VLAN there.
    pub vlan: Option<u16>,
    /// How it moves.
    pub mode: Mode,
    /// What becomes of packets in flight; none: what is usual for the mode.
    pub in_flight: Option<InFlight>,
    /// Just drawn.
    pub token: Token,
}

/// Which move an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    Id(MoveId),
    /// The only one of an attachment of this name that is not over; of those that came to this NVE, or leave it, if one is
    /// named.
    Of(String, Option<String>),
}

/// What an operator says of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveCommand {
    /// The move.
    pub which: Which,
    /// What is said.
    pub fact: Fact,
}

/// What somebody wants of moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepWhat {
    /// An operator: one is to begin.
    Begin(MoveRequest),
    /// An operator says something of one.
    Command(MoveCommand),
    /// An NVE does.
    Report(String, MoveReport),
    /// Time has passed, or everybody has applied it.
    Due(MoveId, Fact),
}

/// The same, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As the authority knows them.
    pub by: By,
    /// As people do; empty: the authority.
    pub who: String,
    /// What is wanted.
    pub what: StepWhat,
}

/// What is known of the session of an NVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// It is here, and takes these moves.
    Here(Modes),
    /// It is at another authority, which knows.
    AtAnother,
    /// There is none.
    Away,
}

/// Steps of moves that become durable together: later ones see those before them.
#[derive(Debug, Default)]
pub struct Judging {
    draft: Draft,
    objects: Vec<(ObjectKey, Option<Object>)>,
    moves: BTreeMap<MoveId, Option<Move>>,
    began: bool,
}

impl Judging {
    /// Whether one more may not fit a transaction of so many writes, or must see what is durable.
    #[must_use]
    pub fn is_full_for(&self, step: &Step, most: usize) -> bool {
        let len = self.draft.len() + self.objects.len() + self.moves.len();
        len > 0 && len + STEP_WRITES > most || self.began && matches!(step.what, StepWhat::Begin(_))
    }

    /// The transaction.
    #[must_use]
    pub fn finish(self) -> Transaction {
        let Judging { draft, objects, moves, .. } = self;
        let transaction = draft.finish().unwrap_or_default();
        Transaction { objects, moves: moves.into_iter().collect(), ..transaction }
    }

    /// A move as it is with the steps before.
    fn seen<'s>(&'s self, moves: &'s Moves, id: MoveId) -> Option<&'s Move> {
        match self.moves.get(&id) {
            Some(one) => one.as_ref(),
            None => moves.get(id),
        }
    }

    fn set(&mut self, one: Move, revision: u64) {
        self.moves.insert(one.id, Some(Move { sequence: revision, ..one }));
    }
}

impl Registry {
    /// The same with the moves of a store, of which states last so long. It is `now_ms` on the clock of this process, and
    /// `unix_ms` milliseconds since 1970.
    #[must_use]
    pub fn with_moves(mut self, rules: MoveRules, stored: Vec<(MoveId, Move)>, now: (u64, u64)) -> Self {
        self.moves = Moves::new(rules, stored, now);
        for one in self.moves.iter().filter(|one| one.state.is_before_commit()) {
            self.catalogue.expect(place(&one.to, &one.attachment), &one.document);
        }
        self
    }

    /// Whether an identifier is that of an attachment that a move brought to an NVE a moment ago, and that operators want
    /// there still. What the NVE says of it may be from before that.
    pub(in crate::nva) fn is_brought(&self, nve: &str, key: Key) -> bool {
        let mut brought = self.moves.of(nve).filter(|one| one.to == nve && !one.state.is_before_commit());
        brought.any(|one| {
            one.keys.contains(&key) && self.catalogue.entry(&place(nve, &one.attachment)).is_some()
        })
    }

    /// Whether an operator may change what is wanted at NVEs.
    pub(super) fn may_change(&self, key: &ObjectKey) -> Result<(), String> {
        let ObjectName::Attachment(name) = &key.name else { return Ok(()) };
        match self.moves.leaving(&key.nve, name) {
            Some(Move { to, .. }) => Err(format!(
                "{key} moves to {to}; wait until it is there, or abort that: ilactl vm abort {name}"
            )),
            None => Ok(()),
        }
    }

    /// Takes over moves that are durable. Gives the identifiers that they gave to their new NVEs.
    pub(super) fn apply_moves(&mut self, moves: &[(MoveId, Option<Move>)], now_ms: u64) -> BTreeSet<Key> {
        let mut moved = BTreeSet::new();
        for (id, now) in moves {
            let before = self.moves.apply(*id, now.as_ref(), now_ms);
            let expects = |one: &Option<&Move>| one.is_some_and(|one| one.state.is_before_commit());
            match (expects(&before.as_ref()), expects(&now.as_ref()), now.as_ref().or(before.as_ref())) {
                (false, true, Some(one)) => {
                    self.catalogue.expect(place(&one.to, &one.attachment), &one.document);
                }
                (true, false, Some(one)) => {
                    self.catalogue.expects_no_more(&place(&one.to, &one.attachment));
                }
                _ => {}
            }
            if let Some(now) = now.as_ref().filter(|now| now.committed == self.revision) {
                moved.extend(&now.keys);
            }
        }
        moved
    }

    /// Judges what somebody wants of moves, and adds what becomes of it. Gives the move.
    ///
    /// # Errors
    /// What is wanted cannot be, or whoever wants it may not, with the way out. Nothing is added then.
    pub(in crate::nva) fn judge_step(
        &mut self,
        steps: &mut Judging,
        Step { who, what, .. }: &Step,
        ability: impl Fn(&str) -> Ability,
        unix_ms: u64,
    ) -> Result<MoveId, String> {
        let stamp = Stamp { at_ms: unix_ms, by: who.clone() };
        let (id, fact) = match what {
            StepWhat::Begin(request) => return self.begin_move(steps, request, ability, stamp),
            StepWhat::Command(MoveCommand { which, fact }) => (self.find(steps, which, fact)?, fact.clone()),
            StepWhat::Report(nve, report) => {
                match fact_of(steps.seen(&self.moves, report.id), nve, report)? {
                    Some(fact) => (report.id, fact),
                    // It is over, or in another state: said late.
                    None => return Ok(report.id),
                }
            }
            StepWhat::Due(id, fact) => (*id, fact.clone()),
        };
        self.step_move(steps, id, &fact, &stamp)?;
        Ok(id)
    }

    /// Whether what an NVE says changes nothing: the most of it is said again, or late.
    pub(in crate::nva) fn is_known(&self, nve: &str, report: &MoveReport) -> bool {
        let Ok(Some(fact)) = fact_of(self.moves.get(report.id), nve, report) else { return false };
        let one = self.moves.get(report.id);
        one.is_some_and(|one| one.next(&fact, self.moves.rules(), &Stamp::default()) == Ok(Next::Stays))
    }

    fn step_move(&self, steps: &mut Judging, id: MoveId, fact: &Fact, stamp: &Stamp) -> Result<(), String> {
        let Some(one) = steps.seen(&self.moves, id) else { return Ok(()) };
        let revision = self.revision + 1;
        match one.next(fact, self.moves.rules(), stamp)? {
            Next::Stays => {}
            Next::Ends => _ = steps.moves.insert(id, None),
            Next::Becomes(next) => {
                if next.state == MoveState::Detached {
                    self.end_chain(steps, &next);
                }
                steps.set(*next, revision);
            }
            Next::Commits(next) => {
                self.commit_move(steps, &next)?;
                self.end_chain(steps, &next);
                steps.set(Move { committed: revision, ..*next }, revision);
            }
        }
        Ok(())
    }

    /// What still drains to the old NVE of a move goes elsewhere from now on: no packet takes two tunnels.
    fn end_chain(&self, steps: &mut Judging, one: &Move) {
        for before in self.moves.arrived(&one.from, &one.attachment) {
            steps.moves.insert(before.id, None);
        }
    }

    fn commit_move(&self, steps: &mut Judging, one: &Move) -> Result<(), String> {
        let Move { from, to, attachment, keys, document, .. } = one;
        if !self.nves.contains_key(to) {
            return Err(format!("`{to}` is no NVE of this authority any more; add it to nves again"));
        }
        // An authority of an earlier release, before the same store, knows nothing of what moves.
        let (source, target) = (place(from, attachment), place(to, attachment));
        if self.catalogue.entry(&source).is_none() {
            return Err(format!("no {source} is wanted any more; abort the move"));
        }
        if self.catalogue.entry(&target).is_some() {
            return Err(format!("there is a {target} already; delete that one, or abort the move"));
        }
        let mut records = Vec::new();
        for key in keys {
            let before = self.seen(&steps.draft, *key);
            if let Some(Record { owner, .. }) = before.filter(|record| record.owner != *from) {
                return Err(format!("{key} is registered by {owner}, and not by {from}; abort the move"));
            }
            let choice = |locator| Choice { locator, priority: 0, weight: 1 };
            let mut choices: Vec<Choice> = self.locators_in(to, key.sir_prefix).map(choice).collect();
            choices.sort_unstable();
            choices.truncate(MAX_LOCATORS);
            if choices.is_empty() {
                return Err(format!("{to} has no locator in the SIR domain of {key} any more"));
            }
            let is_held = before.is_some_and(Record::is_held);
            // It moves with its MAC address.
            let mac = before.and_then(|record| record.mac);
            let sequence = self.next_sequence(*key);
            let since = before.map_or(sequence, |record| record.since);
            records.push((
                *key,
                is_held,
                Record { choices, owner: to.as_str().into(), sequence, mac, since },
            ));
        }
        for (key, is_held, record) in records {
            if is_held {
                steps.draft.count(from, key, -1);
            }
            steps.draft.count(to, key, 1);
            steps.draft.writes.insert(key, record);
        }
        let object = Object { document: document.clone(), sequence: self.revision + 1 };
        // It leaves before it comes: an address has one attachment.
        steps.objects.push((source, None));
        steps.objects.push((target, Some(object)));
        Ok(())
    }
}

/// An attachment at an NVE.
fn place(nve: &str, attachment: &str) -> ObjectKey {
    ObjectKey { nve: nve.to_owned(), name: ObjectName::Attachment(attachment.to_owned()) }
}

/// Why an NVE does not take a move, and what another mode would cost.
pub(in crate::nva) fn why_not(nve: &str, mode: Mode, modes: Modes) -> String {
    let words: Vec<&str> = modes.iter().map(Mode::word).collect();
    let mode = mode.word();
    match words[..] {
        [] => format!(
            "{nve} takes no moves: its release is older than them; update it, or take the attachment out there and add \
             it at the other NVE: its connections end, and it is away until that is in force"
        ),
        _ => format!(
            "{nve} does not take {mode} moves; take {}: what moves is shut down, its connections end, and what is sent \
             to it is lost until it runs at the new NVE",
            words.join(" or ")
        ),
    }
}

/// What an NVE says, by the part that it has in a move; nothing of one that is over.
fn fact_of(one: Option<&Move>, nve: &str, report: &MoveReport) -> Result<Option<Fact>, String> {
    let id = report.id.0;
    let Some(one) = one else { return Ok(None) };
    let Some(role) = one.role(nve) else { return Err(format!("{nve} has no part in move {id}")) };
    // The same word means something else in another state: it is late.
    let is_of_a_state = matches!(report.what, MoveWhat::Ready | MoveWhat::Drained);
    if is_of_a_state && report.state.is_some_and(|state| state != one.state) {
        return Ok(None);
    }
    Ok(Some(match (&report.what, role) {
        (MoveWhat::Ready, _) => Fact::Ready(role),
        (MoveWhat::Failed(why), _) => Fact::Failed(role, why.clone()),
        (MoveWhat::Drained, _) => Fact::Drained(role),
        (MoveWhat::Detached(sign), Role::Old) => Fact::Detached(*sign),
        (MoveWhat::Arrived(token, sign), Role::New) if *token == one.token => Fact::Arrived(*sign),
        (MoveWhat::Arrived(..), Role::New) => {
            return Err(format!("{nve} has another token than that of move {id}"));
        }
        (MoveWhat::Detached(_) | MoveWhat::Arrived(..), _) => {
            return Err(format!("{nve} says of move {id} what the other NVE may say"));
        }
    }))
}
