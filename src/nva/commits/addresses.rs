//! Addresses that tenants ask for by RARP: each is a change of its attachment, and a transaction of its own.

use super::flight::{AddressRequest, Commit, Flight, refused};
use crate::config::ObjectName;
use crate::nva::message::Down;
use crate::nva::model::ObjectKey;
use crate::nva::registry::{Refusal, Registry};
use crate::nva::sessions::Sessions;
use std::collections::VecDeque;

/// Requests that wait, in their order.
#[derive(Debug, Default)]
pub(super) struct Addresses(VecDeque<AddressRequest>);

impl Addresses {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, request: AddressRequest) {
        self.0.push_back(request);
    }

    /// It is to be judged again, before the others.
    pub(super) fn push_back_again(&mut self, request: AddressRequest) {
        self.0.push_front(request);
    }

    /// Judges the next one, if there is one: the flight that it makes, unless it is answered already.
    pub(super) fn next(
        &mut self,
        sessions: &mut Sessions,
        registry: &mut Registry,
        (is_shared, now_ms): (bool, u64),
    ) -> Option<Flight> {
        let request = self.0.pop_front()?;
        if !sessions.all.contains_key(&request.session) {
            // Its tenant asks again, wherever its NVE is then.
            return None;
        }
        let judged = registry.allocate_address(&request.nve, &request.attachment, now_ms);
        let (transaction, judgement) = match judged {
            Ok((sequence, transaction)) => (transaction, Ok(sequence)),
            Err(refusal) => (Default::default(), Err(refusal)),
        };
        let revision = registry.revision() + 1;
        let commit = Commit { revision, transaction, ..Commit::default() };
        let is_new = !commit.is_empty();
        if !is_new && !is_shared {
            // Nobody else can have changed it.
            answer_address(sessions, (request, judgement, false), registry.revision(), now_ms);
            return None;
        }
        Some(Flight { commit, address: Some((request, judgement, is_new)), ..Flight::default() })
    }
}

/// Answers a request: what it made of the attachment is durable at this revision, or nothing was changed.
pub(super) fn answer_address(
    sessions: &mut Sessions,
    (request, judgement, is_new): (AddressRequest, Result<u64, Refusal>, bool),
    revision: u64,
    now_ms: u64,
) {
    let AddressRequest { session, nve, number: id, attachment } = request;
    let answer = match judgement {
        Ok(sequence) => {
            sessions.addresses.allocated += u64::from(is_new);
            Down::Registered { id, sequence, revision }
        }
        Err(refusal) => {
            sessions.addresses.refused += 1;
            let name = ObjectName::Attachment(attachment);
            let object = ObjectKey { nve: nve.to_string(), name };
            sessions.note_refused_address((session, &nve), object, &refusal, now_ms);
            refused(id, refusal)
        }
    };
    sessions.tell(session, answer);
}
