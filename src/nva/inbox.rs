//! What waits for the task of the authority: messages of NVEs, and what operators ask.

use super::authority::{Authority, Configured, Input, Released, SessionId, Ticket};
use super::catalogue::Change;
use super::counts::Counts;
use super::failover::GroupWish;
use super::message::{Down, Encoded, Up};
use super::model::{Key, ObjectKey};
use super::registry::LocatorChange;
use super::registry::moving::{MoveCommand, MoveRequest};
use super::store::{Snapshot, StoreError};
use super::watch::Hub;
use crate::tls::server::Chain;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What waits for an NVE. The authority keeps it short: it sends no more than a window, and at last the reason of the end.
pub(super) type Sender = mpsc::UnboundedSender<Down<Encoded>>;

/// Somebody's look at the authority, and at what was counted.
pub(super) type Look = Box<dyn FnOnce(&Authority, &Counts) + Send>;

/// What the task of the authority hears.
pub(super) enum Event {
    Opened(SessionId, Outlet, Option<Proof>),
    Up(SessionId, Up),
    /// The peer breaks the protocol, and how.
    Malformed(SessionId, String),
    Closed(SessionId),
    /// Somebody looks.
    Look(Look),
    /// An operator wants something that is answered once it is durable.
    Ask(Ask, Author, oneshot::Sender<Released>),
    Reconfigure(Box<Configured>, oneshot::Sender<()>),
    Snapshot(oneshot::Sender<Result<Snapshot, StoreError>>),
}

/// The input for what an operator wants.
pub(super) type Ask = Box<dyn FnOnce(Ticket) -> Input + Send>;

/// Somebody who asks for something.
#[derive(Debug, Clone)]
pub(super) struct Author {
    /// The name.
    pub(super) who: String,
    /// Where that is.
    pub(super) from: Arc<str>,
}

/// The way of operators to the authority.
#[derive(Clone)]
pub(super) struct AuthorityHandle(pub(super) mpsc::Sender<Event>, pub(super) Arc<Hub>);

/// The authority is shutting down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

impl AuthorityHandle {
    /// Looks at the authority, which does nothing else meanwhile: a look is short.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Authority) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (tell, told) = oneshot::channel();
        let look = Box::new(move |authority: &Authority, _: &Counts| _ = tell.send(look(authority)));
        self.0.send(Event::Look(look)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Looks at the authority, and at what was counted.
    pub(super) async fn census<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Authority) -> T + Send + 'static,
    ) -> Result<(T, Counts), Gone> {
        let (tell, told) = oneshot::channel();
        let look = Box::new(move |authority: &Authority, counts: &Counts| {
            let _ = tell.send((look(authority), *counts));
        });
        self.0.send(Event::Look(look)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Releases an identifier whose owner has no session. Gives its sequence and the revision, or why not.
    pub(super) async fn release(&self, key: Key, author: Author) -> Result<Released, Gone> {
        self.ask(Box::new(move |ticket| Input::Release(ticket, key)), author).await
    }

    /// Releases everything of an NVE that may not open a session. Gives how much and the revision, or why not.
    pub(super) async fn release_all(&self, nve: String, author: Author) -> Result<Released, Gone> {
        self.ask(Box::new(move |ticket| Input::ReleaseAll(ticket, nve)), author).await
    }

    /// Ends the wait after a restoration.
    pub(super) async fn resume(&self, author: Author) -> Result<Released, Gone> {
        self.ask(Box::new(Input::Resume), author).await
    }

    /// Lets a frozen identifier go.
    pub(super) async fn unfreeze(&self, key: Key, author: Author) -> Result<Released, Gone> {
        self.ask(Box::new(move |ticket| Input::Unfreeze(ticket, key)), author).await
    }

    async fn ask(&self, ask: Ask, author: Author) -> Result<Released, Gone> {
        let (tell, told) = oneshot::channel();
        self.0.send(Event::Ask(ask, author, tell)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Takes over another configuration.
    pub(super) async fn reconfigure(&self, configured: Configured) -> Result<(), Gone> {
        let (tell, told) = oneshot::channel();
        self.0.send(Event::Reconfigure(Box::new(configured), tell)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Begins a move. Gives its name and the revision, or why not.
    pub(super) async fn begin_move(&self, request: MoveRequest, author: Author) -> Result<Released, Gone> {
        let who = author.who.clone();
        self.ask(Box::new(move |ticket| Input::Move(ticket, who, request)), author).await
    }

    /// Says something of a move. Gives its name and the revision, or why not.
    pub(super) async fn say_of_move(&self, said: MoveCommand, author: Author) -> Result<Released, Gone> {
        let who = author.who.clone();
        self.ask(Box::new(move |ticket| Input::MoveSaid(ticket, who, said)), author).await
    }

    /// Does something to a group. Gives its sequence and the revision, or why not.
    pub(super) async fn wish(&self, wish: GroupWish, author: Author) -> Result<Released, Gone> {
        let who = author.who.clone();
        self.ask(Box::new(move |ticket| Input::Group(ticket, who, wish)), author).await
    }

    /// Lets groups fail over although many NVEs vanished. Gives how many these are, or why not.
    pub(super) async fn release_brake(&self, author: Author) -> Result<Released, Gone> {
        self.ask(Box::new(Input::ReleaseBrake), author).await
    }

    /// Changes a network, a policy or an attachment. Gives its sequence and the revision, or why not.
    pub(super) async fn change(
        &self,
        key: ObjectKey,
        change: Change,
        author: Author,
    ) -> Result<Released, Gone> {
        self.ask(Box::new(move |ticket| Input::Change(ticket, key, change)), author).await
    }

    /// Allocates or frees a locator. Gives its sequence and the revision, or why not.
    pub(super) async fn change_locator(
        &self,
        change: LocatorChange,
        author: Author,
    ) -> Result<Released, Gone> {
        self.ask(Box::new(move |ticket| Input::Locator(ticket, change)), author).await
    }

    /// What happens.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.1
    }

    /// A copy of the store.
    pub(super) async fn snapshot(&self) -> Result<Result<Snapshot, StoreError>, Gone> {
        let (tell, told) = oneshot::channel();
        self.0.send(Event::Snapshot(tell)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }
}

/// The way to an NVE. Its stream is open, and read, only as long as this is there.
pub(super) struct Outlet {
    pub(super) downs: Sender,
    /// Where the NVE is.
    pub(super) from: Arc<str>,
    pub(super) _reading: oneshot::Sender<()>,
}

/// What a peer proved.
pub(super) struct Proof {
    /// The name of the NVE.
    pub(super) name: String,
    pub(super) chain: Chain,
}
