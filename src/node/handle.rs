//! The control thread's front door: requests with answers, and the views that it answers with.
//!
//! Views are plain data with field names that `ilactl --json` shows as they are.

mod networks;

pub use networks::*;

use super::source::{Applied, Batch, Feed, Refusal};
use crate::config::{Amendment, PolicyWords};
use serde::Serialize;
use std::net::Ipv6Addr;
use tokio::sync::{mpsc, oneshot};

/// A mapping, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MappingView {
    /// SIR address.
    pub sir: Ipv6Addr,
    /// Name of the SIR domain.
    pub domain: String,
    /// Identifier in text.
    pub identifier: String,
    /// `locators`, `local` or `blackhole`.
    pub kind: String,
    /// Locators with priority and weight, best first.
    pub locators: Vec<LocatorView>,
    /// Name or index of the attachment of a local identifier.
    pub attachment: Option<String>,
    /// `attachment`, `file` or `admin`.
    pub origin: String,
    /// Origins of mappings that this one covers, the next in line first.
    pub covers: Vec<String>,
}

/// One locator of a mapping.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocatorView {
    /// Locator as a /64 prefix.
    pub locator: String,
    /// Lower is preferred.
    pub priority: u8,
    /// Share of flows among equal priorities.
    pub weight: u16,
    /// ILA address on the wire.
    pub ila: Ipv6Addr,
    /// State of its next hop: `ready`, `unresolved`, `unreachable`, `link_down`, `no_route` or `on_link`.
    pub state: String,
}

/// A port, for operators. Counters are sums over workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PortView {
    /// Name.
    pub name: String,
    /// DPDK device.
    pub device: String,
    /// `fabric`, `external` or `access`.
    pub role: String,
    /// MAC address.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u16,
    /// Whether the link is up.
    pub up: bool,
    /// Link speed in Mbit/s, 0 when unknown.
    pub speed_mbps: u32,
    /// Receive queues.
    pub queues: u16,
    /// `active`, or why receive side scaling is not.
    pub rss: String,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Link-local address.
    pub link_local: Ipv6Addr,
    /// What the workers counted.
    pub counters: FateView,
    /// Packets sent, refused by the ring, and bytes sent.
    pub sent: u64,
    /// Packets that the transmit ring refused.
    pub unsent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// The device's own statistics.
    pub xstats: Vec<(String, u64)>,
}

/// Fates of the packets received.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FateView {
    /// Packets received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets answered.
    pub replied: u64,
    /// Packets handed to the control thread.
    pub punted: u64,
    /// Packets dropped, over all reasons.
    pub dropped: u64,
    /// Packets waiting for a neighbour now.
    pub waiting: u64,
    /// Frames made beyond the one of each packet: copies for a group, fragments.
    pub copied: u64,
    /// Such frames lost, over all reasons.
    pub lost_copies: u64,
}

/// A neighbour, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NeighbourView {
    /// Port name.
    pub port: String,
    /// Address.
    pub address: Ipv6Addr,
    /// MAC address, when known.
    pub mac: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `probe`, `failed` or `static`.
    pub state: String,
    /// Milliseconds since the state was entered.
    pub age_ms: u64,
    /// Whether a route uses it as next hop.
    pub next_hop: bool,
}

/// A route, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteView {
    /// Destination prefix.
    pub prefix: String,
    /// `via`, `connected` or `blackhole`.
    pub kind: String,
    /// Next hops: address, port, weight, state of the neighbour.
    pub next_hops: Vec<NextHopView>,
}

/// One next hop of a route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextHopView {
    /// Neighbour's address; none for connected routes.
    pub via: Option<Ipv6Addr>,
    /// Port name.
    pub port: String,
    /// Share of the flows.
    pub weight: u16,
    /// `ready`, `unresolved`, `unreachable` or `link_down`.
    pub state: String,
}

/// Losses for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DropView {
    /// Label, as in metrics.
    pub reason: String,
    /// The operator's sentence.
    pub sentence: String,
    /// Packets lost without a word.
    pub dropped: u64,
    /// Packets lost whose sender was told by ICMPv6.
    pub answered: u64,
    /// Copies for a group and fragments lost, of packets that were not lost as such.
    pub lost_copies: u64,
}

/// One worker, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerView {
    /// Number.
    pub worker: u16,
    /// Core.
    pub core: u16,
    /// Bursts received that had packets.
    pub bursts: u64,
    /// Polls that found nothing.
    pub empty_polls: u64,
    /// Share of polls that found nothing since the start, 0 to 1.
    pub idle_ratio: f64,
    /// Mean packets per burst since the start.
    pub burst_fill: f64,
    /// Snapshot in use.
    pub snapshot: u64,
    /// Fates over all ports.
    pub fates: FateView,
}

/// The tables, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableView {
    /// SIR domain.
    pub domain: String,
    /// SIR prefix.
    pub sir_prefix: String,
    /// Checksum mode.
    pub checksum: String,
    /// Mappings held.
    pub mappings: u64,
    /// Mappings that fit without growing.
    pub capacity: u64,
    /// Bytes of the lookup table.
    pub memory_bytes: u64,
}

/// The node, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Revision of the mappings.
    pub revision: u64,
    /// Number of the published snapshot.
    pub snapshot: u64,
    /// Microseconds that the last update took from acceptance to being in force in every worker.
    pub last_update_us: u64,
    /// Path of the configuration file.
    pub config: String,
    /// The tables by domain.
    pub tables: Vec<TableView>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// Packets made by the control thread itself and sent.
    pub originated: u64,
    /// Mbufs in use and in all.
    pub mbufs_in_use: u64,
    /// Mbufs in all.
    pub mbufs: u64,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReloadView {
    /// Paths of the configuration that were applied.
    pub applied: Vec<String>,
    /// What the mapping file changed.
    pub mappings: Option<Applied>,
}

/// Something that happened to a tenant, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    /// Number in the order of events, from 1 when the node starts.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Name or index of the attachment.
    pub attachment: String,
    /// Name of its network.
    pub network: String,
    /// Virtual network identifier.
    pub vnid: u32,
    /// `learnt`, `conflict`, `spoofed`, `quarantined` or `released`.
    pub kind: String,
    /// The address announced, or wanted.
    pub address: Option<String>,
    /// Where the address is.
    pub mac: Option<String>,
    /// Packets that spoke for others.
    pub packets: Option<u64>,
    /// Length of the quarantine.
    pub seconds: Option<u64>,
}

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
    /// [`Gone`] when it does so already.
    pub async fn stop(&self) -> Result<(), Gone> {
        self.requests.send(Request::Stop).await.map_err(|_| Gone)
    }
}
