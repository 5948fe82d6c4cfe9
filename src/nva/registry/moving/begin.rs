//! The beginning of a move: what an operator may want moved, and whether both NVEs can do their part.

use super::{Ability, Judging, MAX_KEYS, MoveRequest, place, why_not};
use crate::config::Entry;
use crate::nva::mobility::{InFlight, Mode, Moment, Move, MoveId, MoveState, Role, Stamp};
use crate::nva::model::Record;
use crate::nva::registry::Registry;

impl Registry {
    /// The move that this asks for, if it is under way: whoever did not hear the answer asks again. While the attachment
    /// is at its old NVE it is the move away from there, and afterwards the one that brought it.
    fn is_begun(&self, request: &MoveRequest) -> Option<MoveId> {
        let MoveRequest { attachment, from, to, port, vlan, mode, in_flight, .. } = request;
        let is_there = self.catalogue.entry(&place(from, attachment)).is_some();
        let is_it = |one: &&Move| {
            one.attachment == *attachment
                && (&one.from, &one.to, one.mode) == (from, to, *mode)
                && one.state != MoveState::Aborting
                && one.state.is_before_commit() == is_there
                && in_flight.is_none_or(|it| it == one.in_flight)
        };
        let one = self.moves.of(to).filter(is_it).last()?;
        let summary = Entry::named(&place(to, attachment).name, &one.document).ok()?.summary();
        let is_same = (summary.port, summary.vlan) == (port.clone(), vlan.map(|vlan| vlan.to_string()));
        is_same.then_some(one.id)
    }

    pub(super) fn begin_move(
        &mut self,
        steps: &mut Judging,
        request: &MoveRequest,
        ability: impl Fn(&str) -> Ability,
        Stamp { at_ms, by }: Stamp,
    ) -> Result<MoveId, String> {
        let MoveRequest { attachment, from, to, port, vlan, mode, token, .. } = request;
        if self.restoration.is_some() {
            return Err("the registry was restored from a backup and may lack who has what; wait: `ilactl nva status` \
                        tells for whom"
                .to_owned());
        }
        if from == to {
            return Err(format!("{attachment} cannot move from {from} to itself; name another NVE"));
        }
        let (source, target) = (place(from, attachment), place(to, attachment));
        if let Some(id) = self.is_begun(request) {
            return Ok(id);
        }
        let Some(entry) = self.catalogue.entry(&source) else {
            return Err(format!("no {source} is wanted; `ilactl nva attachment list` shows what is"));
        };
        self.is_of_no_group(&source)?;
        if let Some(Move { id, to, state, .. }) = self.moves.leaving(from, attachment) {
            let (id, state) = (id.0, state.word());
            return Err(format!(
                "{source} moves to {to} already, as move {id}, and is {state}; `ilactl vm show {attachment}` tells more"
            ));
        }
        let Some(new) = self.nves.get(to) else {
            let to: String = to.chars().take(64).collect();
            return Err(format!("`{}` is no NVE of this authority; add it to nves", to.escape_debug()));
        };
        for nve in [from, to] {
            let most = self.moves.rules().per_nve;
            if self.moves.count_of(nve) >= most {
                return Err(format!(
                    "{nve} has a part in {most} moves; wait for some of them, or raise moves.per_nve"
                ));
            }
        }
        let is_away = judge_ability(from, Role::Old, ability(from), *mode)?;
        judge_ability(to, Role::New, ability(to), *mode)?;
        let in_flight = request.in_flight.unwrap_or(match mode {
            Mode::Hot => InFlight::Auto,
            Mode::Warm | Mode::Cold => InFlight::Drop,
        });
        if in_flight == InFlight::Tunnel {
            for nve in [from, to] {
                if self.nves.get(nve).is_none_or(|nve| nve.vtep.is_none()) {
                    return Err(format!(
                        "{nve} has no end of tunnels; set nves[].vtep, or leave in_flight to auto"
                    ));
                }
            }
        }
        let keys = self.catalogue.keys_of(entry)?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            let count = keys.len();
            return Err(format!("{source} has {count} identifiers; one that moves has 1 to {MAX_KEYS}"));
        }
        for key in &keys {
            match self.records.get(key).filter(|record| record.is_held()) {
                Some(record) if record.owner == *from => {}
                Some(Record { owner, .. }) => {
                    return Err(format!(
                        "{key} is registered by {owner}, and not by {from}; move it from there"
                    ));
                }
                None => {
                    return Err(format!(
                        "{key} is not registered by {from} yet; wait until it is attached there, or take it out there and \
                         add it at {to}"
                    ));
                }
            }
            if self.locators_in(to, key.sir_prefix).next().is_none() {
                return Err(format!(
                    "{to} has no locator in the SIR domain of {key}; add one to nves[].locators, or have one allocated: ilactl nva locator add {to}"
                ));
            }
        }
        if self.count_of(to) + self.moves.coming_to(to) + keys.len() > new.max_identifiers {
            return Err(format!(
                "{to} would have more than the {} identifiers that it may have; raise nves[].max_identifiers",
                new.max_identifiers
            ));
        }
        let entry = entry.placed(port, *vlan)?;
        self.catalogue.judge_target(&self.nves, (&source, &target), &entry, self.revision)?;
        let revision = self.revision + 1;
        let id = MoveId(revision);
        let mut one = Move {
            id,
            attachment: attachment.clone(),
            from: from.clone(),
            to: to.clone(),
            document: entry.written().to_owned(),
            networks: entry.networks().into_iter().map(str::to_owned).collect(),
            keys,
            mode: *mode,
            in_flight,
            token: *token,
            state: MoveState::Preparing,
            since_ms: at_ms,
            said: Default::default(),
            overdue: false,
            sequence: revision,
            committed: 0,
            seeded_ms: None,
            timeline: Vec::new(),
        };
        // Nobody waits for one that is not there.
        one.said.old = is_away;
        let how = format!("{} from {from} to {to}", mode.word());
        one.timeline.push(Moment { at_ms, what: MoveState::Preparing.word().to_owned(), by, how });
        steps.began = true;
        steps.set(one, revision);
        Ok(id)
    }
}

/// Whether an NVE can do its part. Gives whether it is away and nobody waits for it.
fn judge_ability(nve: &str, role: Role, ability: Ability, mode: Mode) -> Result<bool, String> {
    match ability {
        Ability::AtAnother => Ok(false),
        Ability::Here(modes) if modes.has(mode) => Ok(false),
        Ability::Here(modes) => Err(why_not(nve, mode, modes)),
        Ability::Away if role == Role::Old && mode == Mode::Cold => Ok(true),
        Ability::Away if role == Role::Old => Err(format!(
            "{nve} has no session; wait until it comes back, or shut down what moves and take mode cold"
        )),
        Ability::Away => {
            Err(format!("{nve} has no session; wait until it comes back, or move to another NVE"))
        }
    }
}
