//! Addresses that tenants ask for by RARP: each is a change of its attachment, and a transaction of its own.

use super::flight::{AddressRequest, Commit, Flight, refused};
use crate::config::ObjectName;
use crate::nva::message::{Down, SessionId};
use crate::nva::model::ObjectKey;
use crate::nva::registry::{Refusal, Registry};
use crate::nva::sessions::Sessions;
use std::collections::{BTreeMap, VecDeque};

/// Requests of one session that wait, at most: tenants ask again.
const WAIT: usize = 64;
/// Requests that are judged in one step, at most: each may look for an address for long.
const JUDGED: usize = 16;

/// Requests that wait. Sessions take turns, one request in each.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// By session; of none that has none.
    waiting: BTreeMap<SessionId, VecDeque<AddressRequest>>,
    /// Sessions with requests, each once, in the order in which they are served.
    turns: VecDeque<SessionId>,
}

impl Addresses {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds one. Gives it back if as many of its session wait as may.
    pub(super) fn push(&mut self, request: AddressRequest) -> Option<AddressRequest> {
        let own = self.waiting.entry(request.session).or_default();
        if own.len() >= WAIT {
            return Some(request);
        }
        if own.is_empty() {
            self.turns.push_back(request.session);
        }
        own.push_back(request);
        None
    }

    /// It is to be judged again, before the others.
    pub(super) fn push_back_again(&mut self, request: AddressRequest) {
        let id = request.session;
        self.turns.retain(|other| *other != id);
        self.turns.push_front(id);
        self.waiting.entry(id).or_default().push_front(request);
    }

    /// A session is over: its tenants ask again, wherever their NVE is then.
    pub(super) fn left(&mut self, id: SessionId) {
        if self.waiting.remove(&id).is_some() {
            self.turns.retain(|other| *other != id);
        }
    }

    /// The first one of the session whose turn it is. That session is served again after all others.
    fn take(&mut self) -> Option<AddressRequest> {
        let id = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&id)?;
        let request = own.pop_front();
        match own.is_empty() {
            true => _ = self.waiting.remove(&id),
            false => self.turns.push_back(id),
        }
        request
    }

    /// Judges what waits until one makes a flight: that, if there is one. What changes nothing is answered at once.
    pub(super) fn next(
        &mut self,
        sessions: &mut Sessions,
        registry: &mut Registry,
        (is_shared, now_ms): (bool, u64),
    ) -> Option<Flight> {
        let mut left = JUDGED;
        while left > 0
            && let Some(mut request) = self.take()
        {
            // One that was under way may come back after its session.
            if !sessions.all.contains_key(&request.session) {
                continue;
            }
            left -= 1;
            request.networks = networks(registry, &request);
            let judged = registry.allocate_address(&request.nve, &request.attachment, now_ms);
            let (transaction, judgement) = match judged {
                Ok((sequence, transaction)) => (transaction, Ok(sequence)),
                Err(refusal) => (Default::default(), Err(refusal)),
            };
            let revision = registry.revision() + 1;
            let commit = Commit { revision, transaction, ..Commit::default() };
            let is_new = !commit.is_empty();
            if is_new || is_shared {
                return Some(Flight {
                    commit,
                    address: Some((request, judgement, is_new)),
                    ..Flight::default()
                });
            }
            // Nobody else can have changed it.
            answer_address(sessions, (request, judgement, false), registry.revision(), now_ms);
        }
        None
    }
}

/// The networks of the attachment.
fn networks(registry: &Registry, AddressRequest { nve, attachment, .. }: &AddressRequest) -> Vec<String> {
    let name = ObjectName::Attachment(attachment.clone());
    let entry = registry.catalogue().entry(&ObjectKey { nve: nve.to_string(), name });
    entry.into_iter().flat_map(|entry| entry.networks()).map(str::to_owned).collect()
}

/// Refuses one that may not wait.
pub(super) fn refuse_address(
    sessions: &mut Sessions,
    registry: &Registry,
    mut request: AddressRequest,
    now_ms: u64,
) {
    request.networks = networks(registry, &request);
    let why = format!("{WAIT} requests for addresses of {} wait already; ask again", request.nve);
    let refusal = Refusal { owner: None, sequence: 0, why, temporary: true };
    answer_address(sessions, (request, Err(refusal), false), registry.revision(), now_ms);
}

/// Answers a request: what it made of the attachment is durable at this revision, or nothing was changed.
pub(super) fn answer_address(
    sessions: &mut Sessions,
    (request, judgement, is_new): (AddressRequest, Result<u64, Refusal>, bool),
    revision: u64,
    now_ms: u64,
) {
    let AddressRequest { session, nve, number: id, attachment, networks } = request;
    let answer = match judgement {
        Ok(sequence) => {
            sessions.addresses.allocated += u64::from(is_new);
            Down::Registered { id, sequence, revision }
        }
        Err(refusal) => {
            sessions.addresses.refused += 1;
            let name = ObjectName::Attachment(attachment);
            let object = ObjectKey { nve: nve.to_string(), name };
            sessions.note_refused_address((session, &nve), (object, networks), &refusal, now_ms);
            refused(id, refusal)
        }
    };
    sessions.tell(session, answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(session: u64, number: u64) -> AddressRequest {
        let (nve, attachment) = ("nve".into(), "vm".to_owned());
        AddressRequest { session: SessionId(session), nve, number, attachment, networks: Vec::new() }
    }

    fn taken(addresses: &mut Addresses) -> Vec<(u64, u64)> {
        let all = std::iter::from_fn(|| addresses.take());
        all.map(|request| (request.session.0, request.number)).collect()
    }

    #[test]
    fn sessions_take_turns_and_none_has_more_waiting_than_it_may() {
        let mut addresses = Addresses::default();
        let all = 0..WAIT as u64 + 3;
        let refused: Vec<u64> =
            all.filter_map(|n| addresses.push(request(1, n))).map(|request| request.number).collect();
        assert_eq!(refused, [WAIT as u64, WAIT as u64 + 1, WAIT as u64 + 2]);
        (0..2).for_each(|n| assert!(addresses.push(request(2, n)).is_none()));
        let order = taken(&mut addresses);
        assert_eq!(&order[..5], [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2)]);
        assert_eq!(order.len(), WAIT + 2);
        assert!(addresses.is_empty() && addresses.waiting.is_empty());
    }

    #[test]
    fn what_is_judged_again_comes_first_and_a_session_that_is_over_leaves_nothing() {
        let mut addresses = Addresses::default();
        (0..3).for_each(|n| _ = addresses.push(request(1, n)));
        (0..2).for_each(|n| _ = addresses.push(request(2, n)));
        let first = addresses.take().unwrap();
        addresses.push_back_again(first);
        assert_eq!(addresses.turns, [SessionId(1), SessionId(2)]);
        addresses.left(SessionId(1));
        assert_eq!(taken(&mut addresses), [(2, 0), (2, 1)]);
        addresses.left(SessionId(2));
        assert!(addresses.is_empty() && addresses.waiting.is_empty());
    }
}
