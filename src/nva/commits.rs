//! What NVEs ask for, on its way into the store: sessions take turns, requests become one transaction while another one
//! is under way, and each is answered once it is durable.
//!
//! Several authorities may write one store. Then a batch was judged by what the store held a moment ago, and is answered
//! only if the store says that it still held that, also if the batch writes nothing. If another authority came first,
//! the batch is judged again. A session is opened in that order, too, before anything that it asks for: what an NVE asked
//! for in an earlier session, at whichever authority, comes before that or never.

mod addresses;
mod failover;
mod flight;
mod steps;

pub(super) use flight::{Authors, BATCH};
pub use flight::{Commit, CommitRules, Released};

use super::absent::Absent;
use super::catalogue::Change;
use super::event::By;
use super::failover::{Cause, GroupCounts, GroupWish};
use super::message::{Down, SessionId, Ticket};
use super::mobility::{Fact, MoveId};
use super::model::{Key, ObjectKey, Transaction};
use super::rates::Rates;
use super::registry::moving::{Ability, Judging, Step, StepWhat};
use super::registry::{Draft, Leased, LocatorChange, Refusal, Registry};
use super::session::Request;
use super::sessions::Sessions;
use addresses::{Addresses, answer_address, refuse_address};
use flight::{AddressRequest, Flight, Judged, Wanted, refused};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use steps::{JUDGED, Steps};

/// Ticks after which released identifiers are deleted although requests wait.
const PUT_OFF: u32 = 5;
/// Requests of one session that are judged before those of the next one.
const TURN: usize = 64;

/// Requests and the commit under way.
#[derive(Debug)]
pub(super) struct Commits {
    rules: CommitRules,
    /// Sessions with requests, in the order in which they are served.
    turns: VecDeque<SessionId>,
    /// Sessions that wait for the next tick.
    throttled: Vec<SessionId>,
    /// Sessions that are to be opened in the store.
    opening: VecDeque<SessionId>,
    flight: Option<Flight>,
    /// Whether the store refused since the last tick what is asked for again: nothing is asked of it before the next one.
    is_paused: bool,
    /// What operators want released.
    releases: VecDeque<(Ticket, Key)>,
    /// What operators do to networks, policies, attachments and locators.
    changes: VecDeque<(Ticket, Wanted)>,
    /// Addresses that NVEs ask for.
    addresses: Addresses,
    /// What somebody wants of moves.
    steps: Steps,
    /// Groups that are to fail over, and why.
    failovers: BTreeMap<String, Cause>,
    /// What became of groups.
    group_counts: GroupCounts,
    /// What operators are to be told.
    released: Vec<(Ticket, Released)>,
    /// NVEs of which operators want everything released.
    emptying: VecDeque<Emptying>,
    /// The wait after a restoration is to end, and operators who want it.
    resuming: Option<Vec<Ticket>>,
    /// NVEs that said that everything that they have was registered.
    completed: Vec<Arc<str>>,
    /// How often identifiers may change.
    rates: Rates,
    /// Ticks since released identifiers were deleted.
    put_off: u32,
    /// The last commit was such a change, or steps of moves: all others come next.
    was_change: bool,
    /// The last one of these was steps of moves: the others come before them.
    was_step: bool,
    /// The last one that was no step was an address: changes of operators come before the next one.
    was_address: bool,
}

/// An NVE of which everything is released, a part in each commit.
#[derive(Debug)]
struct Emptying {
    ticket: Ticket,
    nve: String,
    released: u64,
}

impl Commits {
    pub(super) fn new(rules: CommitRules) -> Self {
        Commits {
            rules,
            turns: VecDeque::new(),
            throttled: Vec::new(),
            opening: VecDeque::new(),
            flight: None,
            is_paused: false,
            releases: VecDeque::new(),
            changes: VecDeque::new(),
            addresses: Addresses::default(),
            steps: Steps::default(),
            failovers: BTreeMap::new(),
            group_counts: GroupCounts::default(),
            emptying: VecDeque::new(),
            resuming: None,
            completed: Vec::new(),
            released: Vec::new(),
            rates: Rates::default(),
            put_off: 0,
            was_change: false,
            was_step: false,
            was_address: false,
        }
    }

    /// A session that had no requests has some.
    pub(super) fn asked(&mut self, id: SessionId) {
        self.turns.push_back(id);
    }

    /// A session begins.
    pub(super) fn open(&mut self, id: SessionId) {
        if self.rules.is_shared {
            self.opening.push_back(id);
        }
    }

    /// A session is over.
    pub(super) fn left(&mut self, id: SessionId) {
        self.addresses.left(id);
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

    /// NVEs that said that everything that they have was registered. Of a shared store the transaction says so that tells
    /// all authorities.
    pub(super) fn completed(&mut self) -> Vec<Arc<str>> {
        match self.rules.is_shared {
            true => Vec::new(),
            false => std::mem::take(&mut self.completed),
        }
    }

    /// Those of them, at most so many, that a restored registry still waits for and that all authorities are to hear of.
    fn completions(&mut self, registry: &Registry, most: usize) -> Vec<Arc<str>> {
        if !self.rules.is_shared {
            return Vec::new();
        }
        self.completed.retain(|nve| registry.restoration().is_some_and(|it| it.awaits(nve)));
        self.completed.sort_unstable();
        self.completed.dedup();
        self.completed.iter().take(most).cloned().collect()
    }

    /// An operator changes a network, a policy or an attachment.
    pub(super) fn change(&mut self, ticket: Ticket, key: ObjectKey, change: Change) {
        self.changes.push_back((ticket, Wanted::Change(key, change)));
    }

    /// An operator allocates or frees a locator.
    pub(super) fn change_locator(&mut self, ticket: Ticket, change: LocatorChange) {
        self.changes.push_back((ticket, Wanted::Locator(change)));
    }

    /// An operator, by this name, wants something of groups.
    pub(super) fn wish(&mut self, ticket: Ticket, who: String, wish: GroupWish) {
        self.changes.push_back((ticket, Wanted::Group(who, wish)));
    }

    /// What became of groups.
    pub(super) fn group_counts(&self) -> &GroupCounts {
        &self.group_counts
    }

    /// Somebody wants something of moves. Gives whether there is room for it.
    pub(super) fn step(&mut self, step: Step) -> bool {
        self.steps.push(step)
    }

    /// Something is to become of a move by itself, unless that waits already.
    pub(super) fn step_by_itself(&mut self, id: MoveId, fact: Fact) {
        self.steps.push_due(id, fact);
    }

    /// Whether the next change of an operator, address or step of a move waits for nothing but the next step.
    pub(super) fn is_ready(&self) -> bool {
        let waits = !(self.changes.is_empty() && self.steps.is_empty());
        let waits = waits || !(self.addresses.is_empty() && self.failovers.is_empty());
        self.flight.is_none() && !self.is_paused && waits
    }

    /// What operators are to be told.
    pub(super) fn released(&mut self) -> Vec<(Ticket, Released)> {
        std::mem::take(&mut self.released)
    }

    /// Those who had more requests than they may make are served again.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.rates.tick(now_ms);
        self.put_off = self.put_off.saturating_add(1);
        self.is_paused = false;
        self.turns.extend(self.throttled.drain(..));
    }

    /// Begins the next commit with what waits, if none is under way.
    pub(super) fn next(
        &mut self,
        sessions: &mut Sessions,
        registry: &mut Registry,
        elsewhere: &BTreeMap<String, String>,
        (now_ms, unix_ms): (u64, u64),
    ) -> Option<Commit> {
        if self.flight.is_some() || self.is_paused {
            return None;
        }
        let revision = registry.revision() + 1;
        // Before all others: traffic waits for them.
        if let Some(flight) = self.next_failovers(sessions, registry, elsewhere, (now_ms, unix_ms)) {
            return self.fly(flight);
        }
        let mut operators = Vec::new();
        let others_first = std::mem::take(&mut self.was_change) && self.has_others();
        let has_changes = !(self.changes.is_empty() && self.addresses.is_empty());
        let steps_first = !std::mem::take(&mut self.was_step) || !has_changes;
        if !others_first
            && steps_first
            && let Some(flight) = self.next_steps(sessions, registry, elsewhere, (now_ms, unix_ms))
        {
            (self.was_change, self.was_step) = (true, true);
            return self.fly(flight);
        }
        let address_first = !self.was_address || self.changes.is_empty();
        if !others_first && address_first && !self.addresses.is_empty() {
            self.was_address = true;
            let rules = (self.rules.is_shared, now_ms);
            if let Some(flight) = self.addresses.next(sessions, registry, rules) {
                self.was_change = true;
                return self.fly(flight);
            }
        } else {
            self.was_address &= others_first;
        }
        // Each by itself: the next one is judged by what this one leaves. One in each step, which may take long.
        if !others_first && let Some((ticket, wanted)) = self.changes.pop_front() {
            let takes = |nve: &str, attachment: &str| {
                sessions.takes_group(nve, attachment) || elsewhere.contains_key(nve)
            };
            match wanted.judge(registry, unix_ms, &takes) {
                Ok((sequence, transaction)) => {
                    operators.push((ticket, wanted, Ok(sequence)));
                    let commit = Commit { revision, transaction, opened: Vec::new() };
                    self.was_change = true;
                    return self.fly(Flight { commit, operators, ..Flight::default() });
                }
                Err(why) if self.rules.is_shared => operators.push((ticket, wanted, Err(why))),
                // Nobody else can have changed it.
                Err(why) => {
                    sessions.events.push(wanted.refused(ticket, &why));
                    self.released.push((ticket, Err(why)));
                }
            }
        }
        if operators.is_empty()
            && let Some(flight) = self
                .end_restoration(registry)
                .or_else(|| self.delete_released(registry, &sessions.absent, now_ms))
        {
            return self.fly(Flight { commit: Commit { revision, ..flight.commit }, ..flight });
        }
        let absent = std::mem::take(&mut sessions.absent);
        let (mut draft, mut judged, mut too_many) = (Draft::default(), Vec::new(), Vec::new());
        // Before anything that these ask for.
        let (mut opens, mut opened) = (Vec::new(), Vec::new());
        while opens.len() < self.rules.batch
            && let Some(id) = self.opening.pop_front()
        {
            let Some(nve) = sessions.all.get(&id).and_then(|session| session.nve.clone()) else { continue };
            // It waits twice if the store forgot it meanwhile.
            if opens.contains(&id) {
                continue;
            }
            opens.push(id);
            opened.push(nve);
        }
        let most = self.rules.batch - opens.len();
        while draft.len() < most
            && let Some((ticket, key)) = self.releases.pop_front()
        {
            let judgement = match why_kept(key, registry, sessions, elsewhere) {
                Some(why) => Err(why),
                None => registry.release(&mut draft, key).map_err(|refusal| refusal.why),
            };
            operators.push((ticket, Wanted::Release(key), judgement));
        }
        let emptied = self.empty_next(&mut draft, registry, most);
        while draft.len() < most
            && let Some(id) = self.turns.pop_front()
        {
            let Some((session, allowance)) = sessions.with_allowance(id) else { continue };
            let Some(nve) = session.nve.clone() else { continue };
            let mut turn = TURN;
            while turn > 0 && draft.len() < most && !session.asked.is_empty() {
                if !allowance.requests.take(now_ms) {
                    break;
                }
                turn -= 1;
                let Some((number, request)) = session.asked.pop_front() else { break };
                // What it asked for elsewhere may come before its session does, and is known once that is durable.
                if matches!(request, Request::Complete) && opens.contains(&id) {
                    session.asked.push_front((number, request));
                    break;
                }
                let mut leased = None;
                let judgement = match &request {
                    Request::Register(claim) => {
                        let key = &claim.key;
                        let was_of_another = registry.was_of_another(&draft, &nve, *key);
                        let user = was_of_another.then(|| absent.user_of(*key, now_ms)).flatten();
                        let judgement = match user {
                            Some(user) => Err(in_use(*key, user)),
                            // What is not its own it cannot change, and takes no part of its owner's rate.
                            None if registry.record(*key).is_some_and(|record| *record.owner == *nve)
                                && !registry.is_so(&draft, &nve, claim)
                                && !self.rates.may_change(*key, now_ms) =>
                            {
                                Err(too_often(*key))
                            }
                            None => registry.register(&mut draft, &nve, claim.clone(), now_ms),
                        };
                        // What is refused and not its own is not kept in mind: it would have no end.
                        if let Some(claimed) = &mut session.claimed
                            && (judgement.is_ok() || registry.is_held_by(&nve, *key))
                        {
                            claimed.insert(*key);
                        }
                        judgement
                    }
                    Request::Complete => {
                        // No commit is under way: what it asked for in an earlier session is known.
                        let claimed = session.claimed.take().unwrap_or_default();
                        self.completed.push(nve.clone());
                        for sir_prefix in registry.allocations().blocks_of(&nve) {
                            if !session.leased.contains(&sir_prefix) {
                                session.asked.push_front((None, Request::ReturnBlock(sir_prefix)));
                            }
                        }
                        // What a move brought it has not heard of yet.
                        let is_other = |key: &Key| !claimed.contains(key) && !registry.is_brought(&nve, *key);
                        let others = registry.held_by(&nve).filter(is_other);
                        // Before what it asked for since.
                        others.for_each(|key| session.asked.push_front((None, Request::Unregister(key))));
                        continue;
                    }
                    Request::Unregister(key) => {
                        if number.is_some()
                            && let Some(claimed) = &mut session.claimed
                        {
                            claimed.remove(key);
                        }
                        registry.unregister(&mut draft, &nve, *key)
                    }
                    Request::LeaseBlock(sir_prefix, had) => {
                        let judged = registry.lease_block(&mut draft, &nve, *sir_prefix, *had);
                        // Also what is refused is wanted: the NVE has it no less than before.
                        session.leased.insert(*sir_prefix);
                        judged.map(|judged| leased.insert(judged).sequence)
                    }
                    Request::ReturnBlock(sir_prefix) => {
                        Ok(registry.return_block(&mut draft, &nve, *sir_prefix))
                    }
                    Request::Address(attachment) => {
                        if let Some(number) = number {
                            let (nve, attachment, networks) = (nve.clone(), attachment.clone(), Vec::new());
                            let request = AddressRequest { session: id, nve, number, attachment, networks };
                            too_many.extend(self.addresses.push(request));
                        }
                        continue;
                    }
                };
                judged.push(Judged { session: id, nve: nve.clone(), number, request, judgement, leased });
            }
            if !session.asked.is_empty() {
                // It used up its turn or the batch is full, or else what it may ask for now.
                if turn == 0 || draft.len() >= most {
                    self.turns.push_back(id);
                } else {
                    self.throttled.push(id);
                }
            }
        }
        sessions.absent = absent;
        too_many.into_iter().for_each(|request| refuse_address(sessions, registry, request, now_ms));
        let is_answered = judged.iter().any(|it| it.number.is_some()) || !operators.is_empty();
        let room = most.saturating_sub(draft.len());
        let mut transaction = draft.finish().unwrap_or_default();
        transaction.completed = self.completions(registry, room);
        let commit = Commit { revision, transaction, opened };
        let flight = Flight { commit, opens, judged, operators, emptied, ..Flight::default() };
        if flight.commit.is_empty() && !(self.rules.is_shared && is_answered) {
            // Everything was so already, and nobody else can have changed it.
            self.answer(flight, sessions, registry.revision(), now_ms);
            // The others wanted nothing that is to be written.
            return if others_first {
                self.next(sessions, registry, elsewhere, (now_ms, unix_ms))
            } else {
                None
            };
        }
        self.fly(flight)
    }

    /// Judges the next steps of moves, as many as become durable together.
    fn next_steps(
        &mut self,
        sessions: &mut Sessions,
        registry: &mut Registry,
        elsewhere: &BTreeMap<String, String>,
        (now_ms, unix_ms): (u64, u64),
    ) -> Option<Flight> {
        let ability = |nve: &str| match sessions.of(nve).and_then(|id| sessions.all.get(&id)) {
            Some(session) => Ability::Here(session.modes),
            None if elsewhere.contains_key(nve) => Ability::AtAnother,
            None => Ability::Away,
        };
        let (mut steps, mut judged) = (Judging::default(), Vec::new());
        while judged.len() < JUDGED
            && let Some(step) = self.steps.pop()
        {
            if steps.is_full_for(&step, self.rules.batch) {
                self.steps.push_front(step);
                break;
            }
            let judgement = registry.judge_step(&mut steps, &step, ability, unix_ms);
            judged.push((step, judgement));
        }
        let is_asked = judged.iter().any(|(step, _)| matches!(step.by, By::Operator(_)));
        let commit =
            Commit { revision: registry.revision() + 1, transaction: steps.finish(), ..Commit::default() };
        let flight = Flight { commit, steps: judged, ..Flight::default() };
        if flight.commit.is_empty() && !(self.rules.is_shared && is_asked) {
            self.answer(flight, sessions, registry.revision(), now_ms);
            return None;
        }
        Some(flight)
    }

    /// Whether anything waits but changes of networks, policies and attachments.
    fn has_others(&self) -> bool {
        let is_idle = self.turns.is_empty()
            && self.releases.is_empty()
            && self.emptying.is_empty()
            && self.opening.is_empty();
        !is_idle || self.resuming.is_some() || self.put_off >= PUT_OFF
    }

    fn fly(&mut self, flight: Flight) -> Option<Commit> {
        let commit = flight.commit.clone();
        self.flight = Some(flight);
        Some(commit)
    }

    /// Ends the wait after a restoration, if that is wanted.
    fn end_restoration(&mut self, registry: &Registry) -> Option<Flight> {
        let tickets = self.resuming.take()?;
        if registry.restoration().is_none() {
            // It is over since they asked.
            let over = Ok((0, registry.revision()));
            self.released.extend(tickets.into_iter().map(|ticket| (ticket, over.clone())));
            return None;
        }
        let transaction = Transaction { ends_restoration: true, ..Transaction::default() };
        let operators = tickets.into_iter().map(|ticket| (ticket, Wanted::Resume, Ok(0))).collect();
        let commit = Commit { transaction, ..Commit::default() };
        Some(Flight { commit, operators, ..Flight::default() })
    }

    /// Releases the next part of what an NVE has that may not come back. Gives what.
    fn empty_next(&mut self, draft: &mut Draft, registry: &Registry, most: usize) -> Vec<Key> {
        let Some(first) = self.emptying.front() else { return Vec::new() };
        let room = most.saturating_sub(draft.len());
        let told = if registry.knows(&first.nve) {
            Err(format!("{} is in nves again; {} identifiers were released", first.nve, first.released))
        } else if registry.count_of(&first.nve) == 0 {
            Ok((first.released, registry.revision()))
        } else {
            let keys: Vec<Key> = registry.held_by(&first.nve).take(room).collect();
            return keys.into_iter().filter(|key| registry.release(draft, *key).is_ok()).collect();
        };
        self.released.push((first.ticket, told));
        self.emptying.pop_front();
        Vec::new()
    }

    /// Deletes released identifiers once after a tick, and rather when nobody waits.
    fn delete_released(&mut self, registry: &mut Registry, absent: &Absent, now_ms: u64) -> Option<Flight> {
        let is_idle = self.turns.is_empty() && self.releases.is_empty() && self.emptying.is_empty();
        if self.put_off < if is_idle { 1 } else { PUT_OFF } {
            return None;
        }
        self.put_off = 0;
        let is_used = |key| absent.user_of(key, now_ms).is_some();
        let transaction = registry.delete_released(now_ms, self.rules.batch, is_used)?;
        let commit = Commit { transaction, ..Commit::default() };
        Some(Flight { commit, ..Flight::default() })
    }

    /// The commit under way is durable, or the store still held what it was judged by if it changes nothing. Gives what is
    /// durable, and who did it.
    pub(super) fn done(&mut self, sessions: &mut Sessions, now_ms: u64) -> Option<(Transaction, Authors)> {
        let mut flight = self.flight.take()?;
        let authors = flight.authors(self.emptying.front().map(|first| first.ticket));
        let Commit { revision, transaction, opened } = std::mem::take(&mut flight.commit);
        let is_some = !(transaction.is_empty() && opened.is_empty());
        self.answer(flight, sessions, if is_some { revision } else { revision - 1 }, now_ms);
        is_some.then_some((transaction, authors))
    }

    /// Nothing of the commit under way is there, nor will be, since another authority came first: it is judged again.
    pub(super) fn lost(&mut self, sessions: &mut Sessions) {
        let Some(flight) = self.flight.take() else { return };
        self.open_again(flight.opens);
        if let Some((request, ..)) = flight.address {
            self.addresses.push_back_again(request);
        }
        self.failovers.extend(flight.failed_over);
        flight.steps.into_iter().rev().for_each(|(step, _)| self.steps.push_front(step));
        for (ticket, wanted, _) in flight.operators.into_iter().rev() {
            match wanted {
                Wanted::Release(key) => self.releases.push_front((ticket, key)),
                wanted @ (Wanted::Change(..) | Wanted::Locator(_) | Wanted::Group(..)) => {
                    self.changes.push_front((ticket, wanted))
                }
                Wanted::Resume => self.resume(Some(ticket)),
            }
        }
        for Judged { session: id, number, request, .. } in flight.judged.into_iter().rev() {
            let Some(session) = sessions.all.get_mut(&id) else { continue };
            if session.asked.is_empty() {
                self.turns.push_front(id);
            }
            session.asked.push_front((number, request));
        }
    }

    /// Nothing of the commit under way is there, nor will be, and why.
    pub(super) fn failed(&mut self, why: &str, sessions: &mut Sessions, now_ms: u64) {
        let Some(flight) = self.flight.take() else { return };
        self.is_paused = !(flight.opens.is_empty() && flight.commit.transaction.completed.is_empty());
        self.open_again(flight.opens);
        let (why, because) = (format!("the store does not answer: {why}; try again"), why);
        if let Some((request, ..)) = flight.address {
            let refusal = Refusal { owner: None, sequence: 0, why: why.clone(), temporary: true };
            answer_address(sessions, (request, Err(refusal), false), 0, now_ms);
        }
        // NVEs say it again, and time passes on.
        for (step, _) in flight.steps {
            self.settle_step(&step, Err(why.clone()), 0);
        }
        for (ticket, wanted, _) in flight.operators {
            sessions.events.push(wanted.refused(ticket, &why));
            self.released.push((ticket, Err(why.clone())));
        }
        if !flight.emptied.is_empty()
            && let Some(Emptying { ticket, released, .. }) = self.emptying.pop_front()
        {
            let why = format!(
                "the store does not answer: {because}; {released} identifiers were released; try again"
            );
            self.released.push((ticket, Err(why)));
        }
        for Judged { session: id, nve, number, request, judgement, .. } in flight.judged.into_iter().rev() {
            if let Some(number) = number {
                let sequence = judgement.unwrap_or_else(|refusal| refusal.sequence);
                let refusal = Refusal { owner: None, sequence, why: why.clone(), temporary: true };
                sessions.note_refusal((id, &nve), request.key(), &refusal, now_ms);
                sessions.tell(id, refused(number, refusal));
                continue;
            }
            // Before what was asked since, and on the next tick: a store that fails is not asked at once again.
            let Some(session) = sessions.all.get_mut(&id) else { continue };
            if session.asked.is_empty() {
                self.throttled.push(id);
            }
            session.asked.push_front((None, request));
        }
    }

    fn open_again(&mut self, opens: Vec<SessionId>) {
        opens.into_iter().rev().for_each(|id| self.opening.push_front(id));
    }

    /// Nothing more is to become of a step.
    fn settle_step(&mut self, step: &Step, judgement: Result<u64, String>, revision: u64) {
        self.steps.settled(step);
        if let By::Operator(ticket) = step.by {
            self.released.push((ticket, judgement.map(|id| (id, revision))));
        }
    }

    fn answer(&mut self, flight: Flight, sessions: &mut Sessions, revision: u64, now_ms: u64) {
        if let Some(address) = flight.address {
            answer_address(sessions, address, revision, now_ms);
        }
        let emptied = flight.emptied.len() as u64;
        self.emptying.front_mut().into_iter().for_each(|first| first.released += emptied);
        flight.failed_over.iter().for_each(|(_, cause)| self.group_counts.failed_over(*cause));
        for (step, judgement) in flight.steps {
            if let (By::Session(id, _), StepWhat::Report(_, report), Err(why)) =
                (&step.by, &step.what, &judgement)
            {
                sessions.refused_moves += 1;
                sessions.note_refused_move(*id, report.id, why.clone(), now_ms);
            }
            self.settle_step(&step, judgement.map(|id| id.0), revision);
        }
        for (ticket, wanted, judgement) in flight.operators {
            if let (Wanted::Group(_, GroupWish::Return(..)), Ok(_)) = (&wanted, &judgement) {
                self.group_counts.returns += 1;
            }
            if let Err(why) = &judgement {
                sessions.events.push(wanted.refused(ticket, why));
            }
            self.released.push((ticket, judgement.map(|sequence| (sequence, revision))));
        }
        for Judged { session, nve, number, request, judgement, leased } in flight.judged {
            if let Err(refusal) = &judgement {
                sessions.note_refusal((session, &nve), request.key(), refusal, now_ms);
            }
            let Some(id) = number else { continue };
            let answer = match (judgement, leased) {
                (Ok(_), Some(Leased { block, reached, lease_ms, .. })) => {
                    Down::BlockLeased { id, block, reached, lease_ms }
                }
                (Ok(sequence), None) => Down::Registered { id, sequence, revision },
                (Err(refusal), _) => refused(id, refusal),
            };
            sessions.tell(session, answer);
        }
    }
}

/// Why an operator does not release an identifier: its owner lives, and would go on using it.
fn why_kept(
    key: Key,
    registry: &Registry,
    sessions: &Sessions,
    elsewhere: &BTreeMap<String, String>,
) -> Option<String> {
    let owner = &*registry.record(key).filter(|record| record.is_held())?.owner;
    let place = match (sessions.of(owner), elsewhere.get(owner)) {
        (Some(_), _) => String::new(),
        (None, Some(authority)) => format!(" at {authority}"),
        (None, None) => return None,
    };
    Some(format!("{key} is registered by {owner}, which has a session{place}; detach it there"))
}

/// Why an identifier is not given out that was released.
fn in_use(key: Key, (user, left_ms): (&str, u64)) -> Refusal {
    let why = format!(
        "{key} was released, and {user}, which has no session, may use it for another {left_ms} ms; try again then"
    );
    Refusal { owner: None, sequence: 0, why, temporary: true }
}

/// Why an identifier is not registered otherwise than it is.
fn too_often(key: Key) -> Refusal {
    let why = format!("{key} changes too often; try again in a second");
    Refusal { owner: None, sequence: 0, why, temporary: true }
}
