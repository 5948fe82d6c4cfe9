//! Requests of operators: each gets a number, and its way back waits here until the core answers that number.

use crate::node::control::{self, Answer, RequestId};
use crate::node::handle::Request;
use crate::node::source;
use crate::node::stats::Stats;
use std::collections::HashMap;
use tokio::sync::oneshot;

type Waiter = Box<dyn FnOnce(Answer)>;

/// Who waits for an answer.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: HashMap<RequestId, Waiter>,
    last: u64,
}

/// A waiter that sends an answer of the kind that `open` takes apart. Who no longer waits does not get it.
fn waiter<T: 'static>(to: oneshot::Sender<T>, open: fn(Answer) -> Option<T>) -> Waiter {
    Box::new(move |answer| {
        if let Some(answer) = open(answer) {
            let _ = to.send(answer);
        }
    })
}

/// Takes an answer of one kind apart.
macro_rules! open {
    ($kind:ident) => {
        |answer| match answer {
            Answer::$kind(answer) => Some(answer),
            _ => None,
        }
    };
}

impl Waiters {
    /// Gives a request its number, and keeps the way back. `None`: the core is not needed for it.
    pub(super) fn register(
        &mut self,
        request: Request,
        stats: &Stats,
    ) -> Option<(RequestId, control::Request)> {
        use control::Request as To;
        let (request, waiter) = match request {
            Request::Apply(batch, to) => (To::Apply(batch), waiter(to, open!(Apply))),
            Request::MappingGet(sir, to) => (To::MappingGet(sir), waiter(to, open!(MappingGet))),
            Request::MappingList(filter, to) => (To::MappingList(filter), waiter(to, open!(MappingList))),
            Request::Node(to) => (To::Node, waiter(to, open!(Node))),
            Request::Reload(to) => (To::Reload, waiter(to, open!(Reload))),
            Request::Confirm(deletions, to) => (To::Confirm(deletions), waiter(to, open!(Confirm))),
            Request::Ports(xstats, to) => (To::Ports { xstats }, waiter(to, open!(Ports))),
            Request::Neighbours(to) => (To::Neighbours, waiter(to, open!(Neighbours))),
            Request::Routes(to) => (To::Routes, waiter(to, open!(Routes))),
            Request::Drops(to) => (To::Drops, waiter(to, open!(Drops))),
            Request::Networks(to) => (To::Networks, waiter(to, open!(Networks))),
            Request::Network(name, to) => (To::Network(name), waiter(to, open!(Network))),
            Request::Attachments(to) => (To::Attachments, waiter(to, open!(Attachments))),
            Request::Groups(to) => (To::Groups, waiter(to, open!(Groups))),
            Request::Policies(to) => (To::Policies, waiter(to, open!(Policies))),
            Request::Peers(network, to) => (To::Peers(network), waiter(to, open!(Peers))),
            Request::Amend(amend, to) => (To::Amend(amend), waiter(to, open!(Amend))),
            Request::Provision(objects, to) => (To::Provision(objects), waiter(to, open!(Provision))),
            Request::Digests(to) => (To::Digests, waiter(to, open!(Digests))),
            Request::HeldIn(parts, to) => (To::HeldIn(parts), waiter(to, open!(HeldIn))),
            Request::FoundMac(network, mac, identifiers, to) => {
                (To::FoundMac(network, mac, identifiers), waiter(to, open!(FoundMac)))
            }
            Request::Presence(at, presence, to) => (To::Presence(at, presence), waiter(to, open!(Presence))),
            Request::Probe(at, to) => (To::Probe(at), waiter(to, open!(Probe))),
            Request::Events(after, to) => {
                // Who no longer waits for the answer does not get it.
                drop(to.send(source::follow(&stats.events, after)));
                return None;
            }
            Request::Stop => return None,
        };
        self.last += 1;
        let id = RequestId(self.last);
        self.waiting.insert(id, waiter);
        Some((id, request))
    }

    /// Sends an answer on its way back.
    pub(super) fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some(waiter) = self.waiting.remove(&id) {
            waiter(answer);
        }
    }
}
