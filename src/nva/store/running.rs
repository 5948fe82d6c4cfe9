//! A store at work: what the authority has done by it, and what it tells of that.

use super::interface::{CommitError, Snapshot, Store, StoreError, Stored};
use crate::nva::commits::{Commit, CommitRules};
use crate::nva::model::Transaction;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// What an authority has done by its store.
pub enum Order {
    /// Make this durable.
    Commit(Commit),
    /// Tell the other authorities that an NVE has no session here any more.
    Left(Arc<str>),
    /// Tell the other authorities that all NVEs with a session here have applied everything up to this revision that they
    /// are waited for. The last one counts.
    Applied(u64),
    /// Copy everything.
    Snapshot(oneshot::Sender<Result<Snapshot, StoreError>>),
}

/// What a store tells, in the order of its revisions.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    /// The commit under way is durable.
    Durable,
    /// The commit under way writes nothing, and the store still holds the revision before.
    Current,
    /// Nothing of the commit under way is there, nor will be, and why. The store goes on.
    Refused(String),
    /// Another authority made this durable as the next revision. Nothing of a commit under way is there, nor will be. These
    /// NVEs opened a session there, each with the name of the authority.
    Others(Transaction, Vec<(String, String)>),
    /// Everything that the store holds now; the transactions up to it are lost.
    Replaced(Stored),
    /// All NVEs that have a session at another authority, and its name.
    AtOthers(Vec<(String, String)>),
    /// An NVE has no session at another authority any more.
    Nowhere(String),
    /// All NVEs with a session at another authority have applied what they are waited for up to this revision; none: it is
    /// gone.
    AppliedAt(String, Option<u64>),
    /// The store forgot which sessions are here.
    Forgotten,
    /// The store cannot be reached, and why; or it can again.
    Away(Option<String>),
    /// What is durable cannot be known. The store is of no use until it is opened anew.
    Broken(String),
}

/// A store at work.
pub struct Running {
    /// What it held when it was opened.
    pub stored: Stored,
    /// How it takes transactions.
    pub rules: CommitRules,
    /// To it.
    pub orders: mpsc::UnboundedSender<Order>,
    /// From it.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// Ends once nobody gives orders.
    pub thread: JoinHandle<()>,
}

impl Running {
    /// A store of this process alone, on a thread of its own.
    ///
    /// # Errors
    /// The store cannot be read, or no thread can be started.
    pub fn own(mut store: Box<dyn Store>) -> Result<Self, StoreError> {
        let stored = store.load()?;
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (tell, reports) = mpsc::unbounded_channel();
        let works = move || {
            while let Some(order) = ordered.blocking_recv() {
                let report = match order {
                    Order::Commit(commit) if commit.is_empty() => Report::Current,
                    Order::Commit(Commit { revision, transaction, .. }) => {
                        match store.commit(revision, &transaction) {
                            Ok(()) => Report::Durable,
                            Err(CommitError::Refused(why)) => Report::Refused(why),
                            Err(CommitError::Unknown(why)) => Report::Broken(why),
                        }
                    }
                    // There is no other authority.
                    Order::Left(_) | Order::Applied(_) => continue,
                    Order::Snapshot(tell) => {
                        // Whoever asked may be gone.
                        let _ = tell.send(store.snapshot());
                        continue;
                    }
                };
                if tell.send(report).is_err() {
                    return;
                }
            }
        };
        let thread = thread(works)?;
        Ok(Running { stored, rules: CommitRules::OWN, orders, reports, thread })
    }
}

/// Starts the thread of a store.
pub(super) fn thread(works: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name("ila-nva-store".into()).spawn(works);
    thread.map_err(|why| StoreError(format!("no thread for the store: {why}")))
}
