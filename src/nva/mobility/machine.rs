//! Which state of a move follows which.
//!
//! ```text
//! Preparing → Prepared → Detached → Spreading → Draining → (over)
//!     └──────────┴───────────┴→ Aborting → (over)
//! ```
//! An arrival commits the move from each state before the commit: it implies that the attachment left the old NVE. What is
//! said twice, late or out of turn changes nothing.

use super::model::{Moment, Move, MoveRules, MoveState, Role, Said, Sign};

/// What somebody says of a move, or what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An NVE has all that it needs; the old one, once it left: sends on what comes.
    Ready(Role),
    /// An NVE cannot do its part, and why.
    Failed(Role, String),
    /// The old NVE saw the attachment leave.
    Detached(Sign),
    /// The new NVE saw it come, and proved that it is the new one.
    Arrived(Sign),
    /// An NVE has nothing more to do in this state.
    Drained(Role),
    /// An operator says that it left.
    ToldDetached,
    /// An operator says that it is at the new NVE.
    ToldArrived,
    /// An operator wants it to stay at the old NVE.
    Abort,
    /// An operator still wants it to move; of a warm one, its state was copied just now.
    Renew,
    /// Everybody who is told of all changes has applied the commit.
    Applied,
    /// It is in this state for longer than that may last.
    Expired(MoveState),
}

/// Who says something, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// An NVE or an operator; empty: the authority.
    pub by: String,
}

/// What becomes of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Stays,
    /// It is this.
    Becomes(Box<Move>),
    /// It is this, and its identifiers are the new NVE's.
    Commits(Box<Move>),
    /// It is over.
    Ends,
}

impl Move {
    /// What becomes of it by what somebody says.
    ///
    /// # Errors
    /// An operator says what cannot be, or the attachment arrives although the move was aborted; with the way out.
    pub(in crate::nva) fn next(&self, fact: &Fact, rules: &MoveRules, stamp: &Stamp) -> Result<Next, String> {
        use MoveState::{Aborting, Detached, Draining, Prepared, Preparing, Spreading};
        let Move { attachment, from, to, .. } = self;
        Ok(match (self.state, fact) {
            (Preparing, Fact::Ready(role)) => match self.says(*role) {
                None => Next::Stays,
                Some(said) if said.old && said.new => self.comes_to(Prepared, "both are ready", stamp),
                Some(said) => {
                    let mut next = self.clone();
                    next.said = said;
                    Next::Becomes(Box::new(next))
                }
            },
            (Detached, Fact::Ready(Role::Old)) => match self.says(Role::Old) {
                None => Next::Stays,
                Some(said) => Next::Becomes(Box::new(Move { said, ..self.clone() })),
            },
            (Prepared | Preparing, Fact::Failed(role, why)) => {
                self.comes_to(Aborting, &format!("{}: {why}", self.nve(*role)), stamp)
            }
            (Detached, Fact::Failed(_, why)) => self.notes("failed", why, stamp),
            (Prepared, Fact::Detached(sign)) => self.comes_to(Detached, sign.word(), stamp),
            (Prepared, Fact::ToldDetached) => self.comes_to(Detached, "told so", stamp),
            (Preparing, Fact::ToldDetached) => {
                return Err(format!(
                    "{attachment} may not leave {from} yet: {} not ready; wait until `ilactl vm show` says prepared",
                    self.awaited()
                ));
            }
            (Preparing | Prepared | Detached, Fact::Arrived(sign)) => self.commits(sign.word(), stamp),
            // By the name of the attachment alone, it may be said of the move before.
            (Preparing, Fact::ToldArrived) => {
                return Err(format!(
                    "{attachment} cannot be at {to} yet: {} not ready; wait until `ilactl vm show` says prepared",
                    self.awaited()
                ));
            }
            (Prepared | Detached, Fact::ToldArrived) => self.commits("told so", stamp),
            (Preparing | Prepared | Detached, Fact::Abort) => {
                self.comes_to(Aborting, "aborted by an operator", stamp)
            }
            (Prepared, Fact::Renew) => self.renewed(stamp),
            (Preparing, Fact::Expired(Preparing)) => {
                let why = format!("{} not ready within {} ms", self.awaited(), rules.prepare_ms);
                self.comes_to(Aborting, &why, stamp)
            }
            (Prepared, Fact::Expired(Prepared)) => {
                let why = format!("it did not leave {from} within {} ms", rules.prepared_ms);
                self.comes_to(Aborting, &why, stamp)
            }
            (Detached, Fact::Expired(Detached)) if !self.overdue => {
                let why = format!("it did not arrive at {to} within {} ms", rules.detached_ms);
                let mut next = self.noted("overdue", &why, stamp);
                next.overdue = true;
                Next::Becomes(Box::new(next))
            }
            (Spreading, Fact::Applied) => self.comes_to(Draining, "all have applied it", stamp),
            (Spreading, Fact::Expired(Spreading)) => {
                let why = format!("not all have applied it within {} ms", rules.spread_ms);
                self.comes_to(Draining, &why, stamp)
            }
            (Draining, Fact::Drained(Role::Old) | Fact::Expired(Draining))
            | (Aborting, Fact::Expired(Aborting)) => Next::Ends,
            (Aborting, Fact::Drained(role)) => match self.says(*role) {
                None => Next::Stays,
                Some(said) if said.old && said.new => Next::Ends,
                Some(said) => {
                    let mut next = self.clone();
                    next.said = said;
                    Next::Becomes(Box::new(next))
                }
            },
            (Aborting, Fact::Arrived(_) | Fact::ToldArrived | Fact::ToldDetached | Fact::Renew) => {
                return Err(format!(
                    "the move of {attachment} from {from} to {to} is aborted; begin another one"
                ));
            }
            (Spreading | Draining, Fact::Abort) => {
                return Err(format!(
                    "{attachment} is at {to} already; move it back: ilactl vm move {attachment} --from {to} --to {from}"
                ));
            }
            (Preparing | Detached | Spreading | Draining, Fact::Renew) => {
                return Err(format!(
                    "the move of {attachment} is {} and waits for no renewal",
                    self.state.word()
                ));
            }
            // Late, repeated, or of no use in this state.
            (
                _,
                Fact::Ready(_) | Fact::Failed(..) | Fact::Detached(_) | Fact::Arrived(_) | Fact::Drained(_),
            )
            | (_, Fact::ToldDetached | Fact::ToldArrived | Fact::Abort)
            | (_, Fact::Applied | Fact::Expired(_)) => Next::Stays,
        })
    }

    /// What both said if one of them says something more; none if it said that before.
    fn says(&self, role: Role) -> Option<Said> {
        let mut said = self.said;
        let one = match role {
            Role::Old => &mut said.old,
            Role::New => &mut said.new,
        };
        (!std::mem::replace(one, true)).then_some(said)
    }

    /// Who is not ready.
    fn awaited(&self) -> String {
        match (self.said.old, self.said.new) {
            (false, false) => format!("{} and {} are", self.from, self.to),
            (false, true) => format!("{} is", self.from),
            (true, _) => format!("{} is", self.to),
        }
    }

    fn noted(&self, what: &str, how: &str, Stamp { at_ms, by }: &Stamp) -> Move {
        let mut next = self.clone();
        let (what, how) = (what.to_owned(), how.to_owned());
        next.note(Moment { at_ms: *at_ms, what, by: by.clone(), how });
        next
    }

    fn notes(&self, what: &str, how: &str, stamp: &Stamp) -> Next {
        // One of each in a state: whatever else somebody says of it makes no more transactions.
        let is_in_state = |at_ms: u64| at_ms >= self.since_ms;
        let is_known =
            self.timeline.iter().any(|it| it.what == what && it.by == stamp.by && is_in_state(it.at_ms));
        match is_known {
            true => Next::Stays,
            false => Next::Becomes(Box::new(self.noted(what, how, stamp))),
        }
    }

    fn entered(&self, state: MoveState, how: &str, stamp: &Stamp) -> Move {
        let next = self.noted(state.word(), how, stamp);
        Move { state, since_ms: stamp.at_ms, said: Said::default(), overdue: false, ..next }
    }

    fn comes_to(&self, state: MoveState, how: &str, stamp: &Stamp) -> Next {
        Next::Becomes(Box::new(self.entered(state, how, stamp)))
    }

    fn commits(&self, how: &str, stamp: &Stamp) -> Next {
        let arrived = self.noted("arrived", how, stamp);
        let by_itself = Stamp { by: String::new(), ..stamp.clone() };
        let how = format!("its identifiers are those of {}", self.to);
        Next::Commits(Box::new(arrived.entered(MoveState::Spreading, &how, &by_itself)))
    }

    fn renewed(&self, stamp: &Stamp) -> Next {
        let mut next = self.clone();
        let what = if self.mode == super::model::Mode::Warm { "seeded" } else { "renewed" };
        // However often: the last one counts.
        next.timeline.retain(|it| it.what != what);
        next.note(Moment {
            at_ms: stamp.at_ms,
            what: what.to_owned(),
            by: stamp.by.clone(),
            how: String::new(),
        });
        (next.since_ms, next.seeded_ms) = (stamp.at_ms, Some(stamp.at_ms));
        Next::Becomes(Box::new(next))
    }
}
