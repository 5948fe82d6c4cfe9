//! What NVEs ask for, on its way into the store: sessions take turns, requests become one transaction while another one
//! is under way, and each is answered once it is durable.

use super::absent::Absent;
use super::catalogue::Change;
use super::message::{Down, Encoded, SessionId};
use super::model::{Key, ObjectKey, Transaction};
use super::registry::{Draft, Refusal, Registry};
use super::session::{Request, Sessions};
use std::collections::VecDeque;
use std::sync::Arc;

/// Records that one transaction writes, at most: a delta with all locators of each fits one message.
pub(super) const BATCH: usize = 2_048;
/// Ticks after which released identifiers are deleted although requests wait.
const PUT_OFF: u32 = 5;
/// Requests of one session that are judged before those of the next one.
const TURN: usize = 64;

/// A commit under way.
#[derive(Debug, Default)]
struct Flight {
    transaction: Transaction,
    /// Session, request and sequence of what is answered once it is durable.
    answers: Vec<(SessionId, u64, u64)>,
    /// What is released and nobody waits for.
    silent: Vec<(SessionId, Key)>,
    /// Releases by operators, with the sequence.
    operators: Vec<(Ticket, u64)>,
    /// What is released of the NVE that is emptied first.
    emptied: u64,
}

/// Requests and the commit under way.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Sessions with requests, in the order in which they are served.
    turns: VecDeque<SessionId>,
    /// Sessions that wait for the next tick.
    throttled: Vec<SessionId>,
    flight: Option<Flight>,
    /// What operators want released.
    releases: VecDeque<(Ticket, Key)>,
    /// What operators do to networks, policies and attachments.
    changes: VecDeque<(Ticket, ObjectKey, Change)>,
    /// What operators are to be told.
    released: Vec<(Ticket, Released)>,
    /// NVEs of which operators want everything released.
    emptying: VecDeque<Emptying>,
    /// The wait after a restoration is to end, and operators who want it.
    resuming: Option<Vec<Ticket>>,
    /// NVEs that said that everything that they have was registered.
    completed: Vec<Arc<str>>,
    /// Ticks since released identifiers were deleted.
    put_off: u32,
}

/// An NVE of which everything is released, a part in each commit.
#[derive(Debug)]
struct Emptying {
    ticket: Ticket,
    nve: String,
    released: u64,
}

/// What an operator wanted is durable: the sequence of a release, or how many identifiers were released, and the
/// revision. Or why it is not.
pub type Released = Result<(u64, u64), String>;

/// Names a request of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

impl Commits {
    /// A session that had no requests has some.
    pub(super) fn asked(&mut self, id: SessionId) {
        self.turns.push_back(id);
    }

    /// An operator wants an identifier released.
    pub(super) fn release(&mut self, ticket: Ticket, key: Key) {
        self.releases.push_back((ticket, key));
    }

    /// An operator wants everything of an NVE released that may not come back.
    pub(super) fn empty(&mut self, ticket: Ticket, nve: String) {
        self.emptying.push_back(Emptying { ticket, nve, released: 0 });
    }

    /// The wait after a restoration is to end.
    pub(super) fn resume(&mut self, ticket: Option<Ticket>) {
        self.resuming.get_or_insert_default().extend(ticket);
    }

    /// NVEs that said that everything that they have was registered.
    pub(super) fn completed(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.completed)
    }

    /// An operator changes a network, a policy or an attachment.
    pub(super) fn change(&mut self, ticket: Ticket, key: ObjectKey, change: Change) {
        self.changes.push_back((ticket, key, change));
    }

    /// What operators are to be told.
    pub(super) fn released(&mut self) -> Vec<(Ticket, Released)> {
        std::mem::take(&mut self.released)
    }

    /// Those who had more requests than they may make are served again.
    pub(super) fn tick(&mut self) {
        self.put_off = self.put_off.saturating_add(1);
        self.turns.extend(self.throttled.drain(..));
    }

    /// Begins the next commit with what waits, if none is under way.
    pub(super) fn next(
        &mut self,
        sessions: &mut Sessions,
        registry: &mut Registry,
        now_ms: u64,
    ) -> Option<Transaction> {
        if self.flight.is_some() {
            return None;
        }
        // Each by itself: the next one is judged by what this one leaves.
        while let Some((ticket, key, change)) = self.changes.pop_front() {
            match registry.provision(key, change) {
                Ok((sequence, transaction)) => {
                    let operators = vec![(ticket, sequence)];
                    self.flight =
                        Some(Flight { transaction: transaction.clone(), operators, ..Flight::default() });
                    return Some(transaction);
                }
                Err(why) => self.released.push((ticket, Err(why))),
            }
        }
        let own = self
            .end_restoration(registry)
            .or_else(|| self.delete_released(registry, &sessions.absent, now_ms));
        if own.is_some() {
            return own;
        }
        let absent = std::mem::take(&mut sessions.absent);
        let (mut draft, mut answers, mut silent) = (Draft::default(), Vec::new(), Vec::new());
        let mut operators = Vec::new();
        while draft.len() < BATCH
            && let Some((ticket, key)) = self.releases.pop_front()
        {
            match registry.release(&mut draft, key) {
                Ok(sequence) => operators.push((ticket, sequence)),
                Err(refusal) => self.released.push((ticket, Err(refusal.why))),
            }
        }
        let emptied = self.empty_next(&mut draft, registry);
        while draft.len() < BATCH
            && let Some(id) = self.turns.pop_front()
        {
            let Some((session, allowance)) = sessions.with_allowance(id) else { continue };
            let Some(nve) = session.nve.clone() else { continue };
            let mut turn = TURN;
            let mut is_refused = false;
            while turn > 0 && draft.len() < BATCH && !session.asked.is_empty() {
                if !allowance.requests.take(now_ms) {
                    break;
                }
                turn -= 1;
                let Some((number, request)) = session.asked.pop_front() else { break };
                let judged = match request {
                    Request::Register(claim) => {
                        let key = claim.key;
                        let user = absent.user_of(key, now_ms);
                        let judged = match user.filter(|_| registry.was_of_another(&draft, &nve, key)) {
                            Some(user) => Err(in_use(key, user)),
                            None => registry.register(&mut draft, &nve, claim, now_ms),
                        };
                        // What is refused and not its own is not kept in mind: it would have no end.
                        if let Some(claimed) = &mut session.claimed
                            && (judged.is_ok() || registry.is_held_by(&nve, key))
                        {
                            claimed.insert(key);
                        }
                        judged
                    }
                    Request::Complete => {
                        // No commit is under way: what it asked for in an earlier session is known.
                        let claimed = session.claimed.take().unwrap_or_default();
                        self.completed.push(nve.clone());
                        let others = registry.held_by(&nve).filter(|key| !claimed.contains(key));
                        // Before what it asked for since.
                        others.for_each(|key| session.asked.push_front((None, Request::Unregister(key))));
                        continue;
                    }
                    Request::Unregister(key) => {
                        if number.is_none() {
                            silent.push((id, key));
                        } else if let Some(claimed) = &mut session.claimed {
                            claimed.remove(&key);
                        }
                        registry.unregister(&mut draft, &nve, key)
                    }
                };
                match (judged, number) {
                    (Ok(sequence), Some(number)) => answers.push((id, number, sequence)),
                    (Err(refusal), Some(number)) => {
                        session.answer(refused(number, refusal));
                        is_refused = true;
                    }
                    (_, None) => {}
                }
            }
            if !session.asked.is_empty() {
                // It used up its turn or the batch is full, or else what it may ask for now.
                if turn == 0 || draft.len() >= BATCH {
                    self.turns.push_back(id);
                } else {
                    self.throttled.push(id);
                }
            }
            if is_refused {
                sessions.due.insert(id);
            }
        }
        sessions.absent = absent;
        let transaction = draft.finish();
        match &transaction {
            Some(transaction) => {
                let transaction = transaction.clone();
                self.flight = Some(Flight { transaction, answers, silent, operators, emptied });
            }
            // Everything was so already.
            None => answer(sessions, answers, registry.revision()),
        }
        transaction
    }

    /// Ends the wait after a restoration, if that is wanted.
    fn end_restoration(&mut self, registry: &Registry) -> Option<Transaction> {
        let tickets = self.resuming.take()?;
        if registry.restoration().is_none() {
            // It is over since they asked.
            let over = Ok((0, registry.revision()));
            self.released.extend(tickets.into_iter().map(|ticket| (ticket, over.clone())));
            return None;
        }
        let transaction = Transaction { ends_restoration: true, ..Transaction::default() };
        let operators = tickets.into_iter().map(|ticket| (ticket, 0)).collect();
        self.flight = Some(Flight { transaction: transaction.clone(), operators, ..Flight::default() });
        Some(transaction)
    }

    /// Releases the next part of what an NVE has that may not come back. Gives how much.
    fn empty_next(&mut self, draft: &mut Draft, registry: &Registry) -> u64 {
        let Some(first) = self.emptying.front() else { return 0 };
        let room = BATCH.saturating_sub(draft.len());
        let told = if registry.knows(&first.nve) {
            Err(format!("{} is in nves again; {} identifiers were released", first.nve, first.released))
        } else if registry.count_of(&first.nve) == 0 {
            Ok((first.released, registry.revision()))
        } else {
            let keys: Vec<Key> = registry.held_by(&first.nve).take(room).collect();
            return keys.into_iter().filter(|key| registry.release(draft, *key).is_ok()).count() as u64;
        };
        self.released.push((first.ticket, told));
        self.emptying.pop_front();
        0
    }

    /// Deletes released identifiers once after a tick, and rather when nobody waits.
    fn delete_released(&mut self, registry: &Registry, absent: &Absent, now_ms: u64) -> Option<Transaction> {
        let is_idle = self.turns.is_empty() && self.releases.is_empty() && self.emptying.is_empty();
        if self.put_off < if is_idle { 1 } else { PUT_OFF } {
            return None;
        }
        self.put_off = 0;
        let transaction =
            registry.delete_released(now_ms, BATCH, |key| absent.user_of(key, now_ms).is_some())?;
        self.flight = Some(Flight { transaction: transaction.clone(), ..Flight::default() });
        Some(transaction)
    }

    /// The commit under way is durable as this revision, or nothing of it is there. Gives what is durable.
    pub(super) fn ended(
        &mut self,
        done: Result<(), String>,
        sessions: &mut Sessions,
        revision: u64,
    ) -> Option<Transaction> {
        let Flight { transaction, answers, silent, operators, emptied } = self.flight.take()?;
        let Err(why) = done else {
            answer(sessions, answers, revision);
            self.emptying.front_mut().into_iter().for_each(|first| first.released += emptied);
            self.released
                .extend(operators.into_iter().map(|(ticket, sequence)| (ticket, Ok((sequence, revision)))));
            return Some(transaction);
        };
        for (ticket, _) in operators {
            self.released.push((ticket, Err(format!("the store does not answer: {why}; try again"))));
        }
        if emptied > 0
            && let Some(Emptying { ticket, released, .. }) = self.emptying.pop_front()
        {
            let why =
                format!("the store does not answer: {why}; {released} identifiers were released; try again");
            self.released.push((ticket, Err(why)));
        }
        for (id, number, sequence) in answers {
            let why = format!("the store does not answer: {why}; try again");
            let refusal = Refusal { owner: None, sequence, why, temporary: true };
            sessions.tell(id, refused(number, refusal));
        }
        // Before what was asked since, and on the next tick: a store that fails is not asked at once again.
        for (id, key) in silent.into_iter().rev() {
            let Some(session) = sessions.all.get_mut(&id) else { continue };
            if session.asked.is_empty() {
                self.throttled.push(id);
            }
            session.asked.push_front((None, Request::Unregister(key)));
        }
        None
    }
}

fn answer(sessions: &mut Sessions, answers: Vec<(SessionId, u64, u64)>, revision: u64) {
    for (id, number, sequence) in answers {
        sessions.tell(id, Down::Registered { id: number, sequence, revision });
    }
}

/// Why an identifier is not given out that was released.
fn in_use(key: Key, (user, left_ms): (&str, u64)) -> Refusal {
    let why = format!(
        "{key} was released, and {user}, which has no session, may use it for another {left_ms} ms; try again then"
    );
    Refusal { owner: None, sequence: 0, why, temporary: true }
}

fn refused(id: u64, Refusal { owner, sequence, why, temporary }: Refusal) -> Down<Encoded> {
    Down::Refused { id, owner, sequence, why, temporary }
}
