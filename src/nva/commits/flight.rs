//! A commit under way: what it changes, who wanted that, and what is answered once it is durable.

use crate::nva::catalogue::Change;
use crate::nva::event::{By, Event, Kind};
use crate::nva::failover::{Cause, GroupWish};
use crate::nva::message::{Down, Encoded, SessionId, Ticket};
use crate::nva::mobility::MoveId;
use crate::nva::model::{Key, ObjectKey, Transaction};
use crate::nva::registry::groups::Takes;
use crate::nva::registry::moving::Step;
use crate::nva::registry::{Leased, LocatorChange, Refusal, Registry};
use crate::nva::session::Request;
use std::collections::HashMap;
use std::sync::Arc;

/// Records that one transaction writes, at most: a delta with all locators of each fits one message.
pub(in crate::nva) const BATCH: usize = 2_048;
/// How a store takes transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRules {
    /// Records that one transaction writes, at most.
    pub batch: usize,
    /// Whether other authorities write the store as well.
    pub is_shared: bool,
}

impl CommitRules {
    /// A store that one authority has for itself.
    pub const OWN: CommitRules = CommitRules { batch: BATCH, is_shared: false };
}

/// What is to become durable at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The revision that it makes.
    pub revision: u64,
    /// What it changes.
    pub transaction: Transaction,
    /// NVEs that opened a session here; of a shared store only.
    pub opened: Vec<Arc<str>>,
}

impl Commit {
    /// Whether it changes nothing, and asks only whether the store still holds the revision before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transaction.is_empty() && self.opened.is_empty()
    }
}

/// A request and how it was judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) session: SessionId,
    pub(super) nve: Arc<str>,
    /// What the answer repeats; none if nobody waits for one.
    pub(super) number: Option<u64>,
    pub(super) request: Request,
    /// The sequence, or why not.
    pub(super) judgement: Result<u64, Refusal>,
    /// The block that it has then, if it asked for one.
    pub(super) leased: Option<Leased>,
}

/// An NVE asks for the addresses of an attachment.
#[derive(Debug, Clone)]
pub(super) struct AddressRequest {
    pub(super) session: SessionId,
    pub(super) nve: Arc<str>,
    /// What the answer repeats.
    pub(super) number: u64,
    pub(super) attachment: String,
    /// The networks of the attachment, once it was judged.
    pub(super) networks: Vec<String>,
}

/// What an operator wants.
#[derive(Debug)]
pub(super) enum Wanted {
    /// An identifier released.
    Release(Key),
    /// A network, a policy or an attachment changed.
    Change(ObjectKey, Change),
    /// A locator allocated or free.
    Locator(LocatorChange),
    /// Something of groups, by an operator of this name.
    Group(String, GroupWish),
    /// A restored registry to wait no longer.
    Resume,
}

impl Wanted {
    /// It does not become so, and why.
    pub(super) fn refused(&self, ticket: Ticket, why: &str) -> Event {
        let event = Event::new(Kind::ChangeRefused, By::Operator(ticket));
        let event = Event { why: why.to_owned(), ..event };
        match self {
            Wanted::Release(key) => Event { key: Some(*key), ..event },
            Wanted::Change(object, Change::Add(entry, _) | Change::Set(entry, ..)) => {
                let networks = entry.networks().into_iter().map(str::to_owned).collect();
                Event { object: Some(object.clone()), networks, ..event }
            }
            Wanted::Change(object, Change::Delete(_)) => Event { object: Some(object.clone()), ..event },
            Wanted::Locator(LocatorChange::Allocate { nve, .. }) => {
                Event { nve: Some(nve.as_str().into()), ..event }
            }
            Wanted::Group(_, wish) => Event { why: format!("group {}: {}", wish.name(), event.why), ..event },
            Wanted::Locator(LocatorChange::Free(_)) | Wanted::Resume => event,
        }
    }

    /// Judges what is a transaction of its own.
    pub(super) fn judge(
        &self,
        registry: &mut Registry,
        unix_ms: u64,
        takes: Takes<'_>,
    ) -> Result<(u64, Transaction), String> {
        match self {
            Wanted::Change(key, change) => registry.provision(key.clone(), change.clone()),
            Wanted::Locator(change) => registry.change_locator(change),
            Wanted::Group(who, wish) => registry.judge_group(wish, (who, unix_ms), takes),
            Wanted::Release(_) | Wanted::Resume => Err("it is judged together with others".to_owned()),
        }
    }
}

impl Request {
    /// The identifier that it is about.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Request::Register(claim) => Some(claim.key),
            Request::Unregister(key) => Some(*key),
            Request::Complete | Request::LeaseBlock(..) | Request::ReturnBlock(_) | Request::Address(_) => {
                None
            }
        }
    }
}

/// Who did what a transaction changes.
#[derive(Debug, Default)]
pub(in crate::nva) struct Authors {
    /// By the identifier.
    keys: HashMap<Key, By>,
    /// By the move.
    moves: HashMap<MoveId, By>,
    /// Of everything else.
    rest: By,
}

impl Authors {
    /// Who changed an identifier.
    pub(in crate::nva) fn of(&self, key: Key) -> By {
        self.keys.get(&key).cloned().unwrap_or_default()
    }

    /// Who changed a move.
    pub(in crate::nva) fn of_move(&self, id: MoveId) -> By {
        self.moves.get(&id).cloned().unwrap_or_default()
    }

    /// Who changed what is no identifier.
    pub(in crate::nva) fn rest(&self) -> By {
        self.rest.clone()
    }
}

/// A commit under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) commit: Commit,
    /// Sessions that it opens.
    pub(super) opens: Vec<SessionId>,
    /// What is answered once it is durable, in the order in which it was judged.
    pub(super) judged: Vec<Judged>,
    /// What operators want, with the sequence or why not.
    pub(super) operators: Vec<(Ticket, Wanted, Result<u64, String>)>,
    /// What is released of the NVE that is emptied first.
    pub(super) emptied: Vec<Key>,
    /// Addresses that an NVE asked for, with the sequence of the attachment or why not, and whether it changes that.
    pub(super) address: Option<(AddressRequest, Result<u64, Refusal>, bool)>,
    /// Steps of moves, each with the move or why not.
    pub(super) steps: Vec<(Step, Result<MoveId, String>)>,
    /// Groups that fail over, and why.
    pub(super) failed_over: Vec<(String, Cause)>,
}

impl Flight {
    /// Who did it.
    pub(super) fn authors(&self, emptying: Option<Ticket>) -> Authors {
        let mut keys = HashMap::new();
        let emptied = self.emptied.iter().zip(emptying.into_iter().cycle());
        keys.extend(emptied.map(|(key, ticket)| (*key, By::Operator(ticket))));
        for (ticket, wanted, _) in &self.operators {
            if let Wanted::Release(key) = wanted {
                keys.insert(*key, By::Operator(*ticket));
            }
        }
        for Judged { session, nve, request, judgement, .. } in &self.judged {
            if let (Some(key), Ok(_)) = (request.key(), judgement) {
                keys.insert(key, By::Session(*session, Some(nve.clone())));
            }
        }
        let rest = match (&self.address, self.operators.first()) {
            (Some((request, ..)), _) => By::Session(request.session, Some(request.nve.clone())),
            (None, Some((ticket, ..))) => By::Operator(*ticket),
            (None, None) => By::Authority,
        };
        let of_moves = self.steps.iter().filter_map(|(step, id)| Some((*id.as_ref().ok()?, step.by.clone())));
        Authors { keys, moves: of_moves.collect(), rest }
    }
}

/// What an operator wanted is durable: the sequence of a release, or how many identifiers were released, and the
/// revision. Or why it is not.
pub type Released = Result<(u64, u64), String>;

/// Why a request changed nothing.
pub(super) fn refused(id: u64, Refusal { owner, sequence, why, temporary }: Refusal) -> Down<Encoded> {
    Down::Refused { id, owner, sequence, why, temporary }
}
