//! The control thread's front door: requests, each with the way back for its answer.

use super::rib::PresenceRefused;
use super::source::Feed;
use crate::api::views::*;
use crate::config::{Amendment, PolicyWords};
use crate::ila::Identifier;
use crate::mapping::{Applied, Batch, Digest, Parts, Presence, Refusal};
use crate::net::Mac;
use crate::nva::client::Objects;
use crate::nva::model::Network;
use crate::table::AttachmentKey;
use std::net::Ipv6Addr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Which mappings to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MappingFilter {
    /// Only this SIR domain.
    pub domain: Option<String>,
    /// Only mappings with this locator, as a /64 prefix.
    pub locator: Option<String>,
    /// Only this origin.
    pub origin: Option<String>,
    /// Only mappings behind this SIR address: where the page before ended.
    pub after: Option<Ipv6Addr>,
    /// At most this many; 0: all.
    pub limit: u64,
}

/// A request to the control thread, with the way back for its answer.
#[derive(Debug)]
pub enum Request {
    /// Apply a batch of mapping changes. Answered when it is in force in every worker.
    Apply(Batch, oneshot::Sender<Result<Applied, Refusal>>),
    /// One mapping by SIR address.
    MappingGet(Ipv6Addr, oneshot::Sender<Option<MappingView>>),
    /// Mappings, sorted by SIR address.
    MappingList(MappingFilter, oneshot::Sender<Result<Vec<MappingView>, String>>),
    /// The node.
    Node(oneshot::Sender<NodeView>),
    /// Read the configuration again and apply the difference, or refuse the whole file.
    Reload(oneshot::Sender<Result<ReloadView, String>>),
    /// Apply the mapping file that waits although it deletes so many mappings. Answered when it is in force.
    Confirm(u64, oneshot::Sender<Result<Applied, String>>),
    /// Ports, with or without the devices' own statistics.
    Ports(bool, oneshot::Sender<Vec<PortView>>),
    /// Neighbours.
    Neighbours(oneshot::Sender<Vec<NeighbourView>>),
    /// Routes.
    Routes(oneshot::Sender<Vec<RouteView>>),
    /// Losses by reason over all workers and ports.
    Drops(oneshot::Sender<Vec<DropView>>),
    /// Virtual networks.
    Networks(oneshot::Sender<Vec<NetworkView>>),
    /// One virtual network, by name or VNID.
    Network(String, oneshot::Sender<Option<NetworkDetailView>>),
    /// Attachments.
    Attachments(oneshot::Sender<Vec<AttachmentView>>),
    /// Groups of virtual networks.
    Groups(oneshot::Sender<Vec<GroupView>>),
    /// Policies.
    Policies(oneshot::Sender<Vec<PolicyView>>),
    /// Mapped peers of all networks, or of the one with this name.
    Peers(Option<String>, oneshot::Sender<Vec<PeerView>>),
    /// Change policies or peers. Answered when it is in force in every worker.
    Amend(Amend, oneshot::Sender<Result<(), AmendRefusal>>),
    /// This is what operators want at the node, by the word of the authority. Answered at once.
    Provision(Arc<Objects>, oneshot::Sender<()>),
    /// What the mappings that the authority told add up to, by SIR prefix.
    Digests(oneshot::Sender<Vec<(u64, Digest)>>),
    /// What is held of the authority in these parts: SIR prefixes and identifiers.
    HeldIn(Parts, oneshot::Sender<Vec<(u64, Identifier)>>),
    /// The authority found these identifiers of a MAC address of a network. Answered at once.
    FoundMac(Network, Mac, Vec<Identifier>, oneshot::Sender<()>),
    /// Where the VM or task of an attachment is. Answered when it is in force in every worker.
    Presence(AttachmentKey, Presence, oneshot::Sender<Result<(), PresenceRefused>>),
    /// Ask the VM or task of an attachment whether it is there. Answered at once.
    Probe(AttachmentKey, oneshot::Sender<bool>),
    /// What happens to tenants, behind the event with this number.
    Events(u64, oneshot::Sender<Feed>),
    /// Stop the node.
    Stop,
}

/// Why a change of policies or mapped peers is refused, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmendRefusal {
    /// It is wrong by itself.
    #[error("{0}")]
    Wrong(String),
    /// There is nothing to delete.
    #[error("{0}")]
    NotThere(String),
    /// What is there forbids it.
    #[error("{0}")]
    Forbidden(String),
}

/// A change of policies or mapped peers by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amend {
    /// Add one.
    Add(Amendment),
    /// Delete a policy that an operator added.
    DeletePolicy(PolicyWords),
    /// Delete a peer that an operator added.
    DeletePeer {
        /// Name of the network.
        network: String,
        /// Its address there.
        address: String,
    },
}

/// Sends requests to the control thread.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    requests: mpsc::Sender<Request>,
}

/// The control thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is shutting down")]
pub struct Gone;

impl ControlHandle {
    /// A handle and the queue that the control thread reads, `depth` requests deep.
    #[must_use]
    pub fn pair(depth: usize) -> (Self, mpsc::Receiver<Request>) {
        let (requests, queue) = mpsc::channel(depth);
        (ControlHandle { requests }, queue)
    }

    /// Sends the request that `make` builds and waits for its answer.
    ///
    /// # Errors
    /// [`Gone`] when the node is shutting down.
    pub async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(make(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Asks the node to stop.
    ///
    /// # Errors
    /// [`Gone`] when the node is shutting down already.
    pub async fn stop(&self) -> Result<(), Gone> {
        self.requests.send(Request::Stop).await.map_err(|_| Gone)
    }
}
