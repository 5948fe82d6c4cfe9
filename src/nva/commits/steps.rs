//! Steps of moves that wait. What time wants, what operators say and what each NVE reports wait apart and take turns: a
//! flood of one delays none of the others, and each has its bound.

use crate::nva::event::By;
use crate::nva::mobility::{Fact, MoveId};
use crate::nva::registry::moving::{Step, StepWhat};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Steps of operators that wait, at most.
const COMMANDS: usize = 4_096;
/// Reports of one NVE that wait, at most: it says again what is not heard.
const REPORTS: usize = 1_024;
/// Steps that are judged for one transaction, at most.
pub(super) const JUDGED: usize = 512;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Due,
    Command,
    Report,
}

impl Turn {
    fn after(self) -> Self {
        match self {
            Turn::Due => Turn::Command,
            Turn::Command => Turn::Report,
            Turn::Report => Turn::Due,
        }
    }
}

/// All steps that wait.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Those that are judged again, in their order: before all others.
    again: VecDeque<Step>,
    /// What time, or the authority, wants; at most one step of each move, also while it is judged.
    due: VecDeque<Step>,
    is_due: BTreeSet<MoveId>,
    commands: VecDeque<Step>,
    reports: HashMap<String, VecDeque<Step>>,
    /// NVEs with reports, in the order in which they are served.
    nves: VecDeque<String>,
    turn: Turn,
}

impl Steps {
    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.due.is_empty() && self.commands.is_empty() && self.nves.is_empty()
    }

    /// Somebody wants something of moves. Gives whether there is room for it.
    pub(super) fn push(&mut self, step: Step) -> bool {
        let StepWhat::Report(nve, report) = &step.what else {
            let is_room = self.commands.len() < COMMANDS;
            if is_room {
                self.commands.push_back(step);
            }
            return is_room;
        };
        let reports = self.reports.entry(nve.clone()).or_default();
        let is_of_it = |other: &&Step| matches!(&other.what, StepWhat::Report(_, it) if it.id == report.id);
        // Said again while it waits, it is said once.
        if reports.iter().rev().find(is_of_it).is_some_and(|other| other.what == step.what) {
            return true;
        }
        if reports.len() >= REPORTS {
            return false;
        }
        if reports.is_empty() {
            self.nves.push_back(nve.clone());
        }
        reports.push_back(step);
        true
    }

    /// Something is to become of a move by itself, unless that waits already.
    pub(super) fn push_due(&mut self, id: MoveId, fact: Fact) {
        if self.is_due.insert(id) {
            self.due.push_back(Step { by: By::Authority, who: String::new(), what: StepWhat::Due(id, fact) });
        }
    }

    /// A step is to be judged again, before all others.
    pub(super) fn push_front(&mut self, step: Step) {
        self.again.push_front(step);
    }

    /// Nothing more is to become of a step.
    pub(super) fn settled(&mut self, step: &Step) {
        if let StepWhat::Due(id, _) = &step.what {
            self.is_due.remove(id);
        }
    }

    /// The next one: of each kind in turn, and of each NVE in turn.
    pub(super) fn pop(&mut self) -> Option<Step> {
        if let Some(step) = self.again.pop_front() {
            return Some(step);
        }
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = turn.after();
            let step = match turn {
                Turn::Due => self.due.pop_front(),
                Turn::Command => self.commands.pop_front(),
                Turn::Report => self.pop_report(),
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn pop_report(&mut self) -> Option<Step> {
        let nve = self.nves.pop_front()?;
        let reports = self.reports.get_mut(&nve)?;
        let step = reports.pop_front();
        match reports.is_empty() {
            true => _ = self.reports.remove(&nve),
            false => self.nves.push_back(nve),
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nva::message::{MoveReport, MoveWhat, Ticket};
    use crate::nva::mobility::MoveState;
    use crate::nva::registry::moving::{MoveCommand, Which};

    fn report(nve: &str, id: u64) -> Step {
        let report = MoveReport { id: MoveId(id), what: MoveWhat::Ready, state: None };
        Step { by: By::Authority, who: nve.to_owned(), what: StepWhat::Report(nve.to_owned(), report) }
    }

    fn command(id: u64) -> Step {
        let said = MoveCommand { which: Which::Id(MoveId(id)), fact: Fact::Abort };
        Step { by: By::Operator(Ticket(id)), who: String::new(), what: StepWhat::Command(said) }
    }

    fn drain(steps: &mut Steps) -> Vec<Step> {
        std::iter::from_fn(|| steps.pop()).collect()
    }

    #[test]
    fn a_flood_of_reports_of_one_nve_delays_nobody_elses_step() {
        let mut steps = Steps::default();
        for id in 0..100_000 {
            assert_eq!(steps.push(report("nve1", id)), id < REPORTS as u64);
        }
        steps.push(report("nve2", 7));
        steps.push(command(8));
        steps.push_due(MoveId(9), Fact::Expired(MoveState::Prepared));
        let first: Vec<Step> = drain(&mut steps).into_iter().take(5).collect();
        assert!(first.contains(&report("nve2", 7)) && first.contains(&command(8)), "{first:?}");
        assert!(first.iter().any(|step| matches!(step.what, StepWhat::Due(MoveId(9), _))), "{first:?}");
    }

    #[test]
    fn each_direction_is_bounded_and_a_full_one_says_so() {
        let mut steps = Steps::default();
        for id in 0..2 * COMMANDS as u64 {
            assert_eq!(steps.push(command(id)), id < COMMANDS as u64);
        }
        for id in 0..2 * REPORTS as u64 {
            for nve in ["nve1", "nve2"] {
                assert_eq!(steps.push(report(nve, id)), id < REPORTS as u64);
            }
        }
        // What the authority itself wants is as much as there are moves, however often.
        for n in 0..1_000 {
            steps.push_due(MoveId(n % 10), Fact::Applied);
        }
        assert_eq!(drain(&mut steps).len(), COMMANDS + 2 * REPORTS + 10);
        assert!(steps.is_empty());
    }

    #[test]
    fn what_is_judged_again_comes_first_and_in_its_order() {
        let mut steps = Steps::default();
        steps.push(command(1));
        steps.push(command(2));
        let judged = [steps.pop().unwrap(), steps.pop().unwrap()];
        steps.push(report("nve1", 3));
        judged.into_iter().rev().for_each(|step| steps.push_front(step));
        assert_eq!(drain(&mut steps), [command(1), command(2), report("nve1", 3)]);
        // One that waits is not taken in twice, and one that is settled may come again.
        steps.push_due(MoveId(1), Fact::Applied);
        let due = steps.pop().unwrap();
        steps.push_due(MoveId(1), Fact::Applied);
        assert!(steps.is_empty());
        steps.settled(&due);
        steps.push_due(MoveId(1), Fact::Applied);
        assert_eq!(drain(&mut steps), [due]);
        for n in [3, 3, 4, 3] {
            assert!(steps.push(report("nve1", n)));
        }
        assert_eq!(drain(&mut steps).len(), 2);
    }
}
