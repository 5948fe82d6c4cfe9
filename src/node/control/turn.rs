//! What goes into a turn of the control core and what comes out of it: plain data, no channel, no clock.

use super::reload::Loaded;
use crate::api::views::{
    AttachmentView, DropView, GroupView, MappingView, NeighbourView, NetworkDetailView, NetworkView,
    NodeView, PeerView, PolicyView, PortView, ReloadView, RouteView,
};
use crate::config::{Config, Fingerprint, LogLevel, MappingFile, RefusedEntry};
use crate::ila::Identifier;
use crate::mapping::{Applied, Batch, Digest, Parts, Presence, Refusal};
use crate::net::Mac;
use crate::node::events::EventRecord;
use crate::node::exchange::{Frame, Settings};
use crate::node::handle::{Amend, AmendRefusal, MappingFilter};
use crate::node::neighbour::Key;
use crate::node::provision::Provision;
use crate::node::rib::PresenceRefused;
use crate::node::stats::{Census, DeviceCounters};
use crate::node::watch::News;
use crate::nva::client::Objects;
use crate::nva::model::{self, Known, Network};
use crate::path::{Notice, Sign};
use crate::table::{AttachmentKey, PortId};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// The time of a turn, counted from an arbitrary start. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    us: u64,
}

impl Now {
    /// So many microseconds after the start.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Now { us }
    }

    /// So many milliseconds after the start.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Now { us: ms * 1000 }
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.us
    }

    /// Milliseconds since the start, rounded down.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.us / 1000
    }
}

/// Names a request until it is answered. The shell chooses it; the core never looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that the core learns.
#[derive(Debug)]
pub enum Input {
    /// An operator wants something. One [`Effect::Answer`] with this number follows, in this turn or in a
    /// later one.
    Request(RequestId, Request),
    /// The configuration is to be read again, and nobody waits for an answer (SIGHUP).
    Reload,
    /// What an [`Effect::Load`] found.
    Loaded(Result<Box<Loaded>, String>),
    /// The watch with this number has read a changed mapping file.
    MappingFile(u64, News),
    /// A worker hands over a frame.
    Frame(Box<Frame>),
    /// A worker leaves a notice.
    Notice(Notice),
    /// Packets at a worker wait for this neighbour.
    Wanted(Key),
    /// The links of all ports, in the order of the configuration. The core expects them several times a
    /// second.
    Links(Vec<LinkState>),
    /// The devices' counters, for the next [`Request::Node`] or [`Request::Ports`].
    Devices(DeviceReport),
    /// The devices' counters, for an [`Effect::Census`].
    Census(DeviceReport),
    /// Time has passed. Timers are served in this turn only.
    Tick,
    /// The next step of pending updates may be done: see [`super::Control::progress`].
    Update,
    /// The node is about to stop.
    Stop,
}

/// What the core wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send this frame.
    Send(Box<Frame>),
    /// Answer the request with this number.
    Answer(RequestId, Answer),
    /// Read the configuration and its mapping file, or judge what was read before with other wishes of operators, and
    /// give the result as [`Input::Loaded`].
    Load(Box<LoadOrder>),
    /// What operators want, as this state of the registry shows it, is in force, but for what is refused.
    Provisioned(Known, Vec<RefusedEntry>),
    /// End the watch of the mapping file, and begin another one if there is one to begin.
    Watch(Option<WatchOrder>),
    /// Tell every worker these settings.
    Settings(Settings),
    /// Change the level of the log.
    LogLevel(LogLevel),
    /// This configuration is in force from now on.
    Config(Arc<Config>),
    /// The snapshot with this number was published.
    Published(u64),
    /// Tell the client of the authority.
    ForAuthority(ForAuthority),
    /// Add this to the events of tenants.
    Event(EventRecord),
    /// Replace the census.
    Census(Box<Census>),
}

/// What the client of the authority is to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForAuthority {
    /// A tenant asks who has this MAC address of its network.
    FindMac(Network, Mac),
    /// The tenant of the attachment of this name asks for addresses by RARP, and is to get them.
    AllocateAddress(String),
    /// A tenant announced that it has this identifier.
    Announced(model::Key),
    /// A VM or task that is expected at an attachment, or that has left it, sent a frame there.
    Seen(AttachmentKey, Sign),
    /// A VM or task that was asked whether it is there answered.
    Answered(AttachmentKey),
    /// The link of a port came up or went down.
    Link(PortId, bool),
}

/// What is to be read.
#[derive(Debug)]
pub struct LoadOrder {
    /// What the file said before.
    pub old: Arc<Config>,
    /// Whether the files are to be read again. Otherwise only what operators want has changed.
    pub reread: bool,
    /// The file as it was read, and what operators want now; none at a node that takes nothing of an authority.
    pub provision: Option<Provision>,
    /// What of it the tables refused.
    pub excluded: Vec<RefusedEntry>,
}

/// A mapping file that is to be watched.
#[derive(Debug)]
pub struct WatchOrder {
    /// Number of the watch; what it reads comes back with it.
    pub number: u64,
    /// The file.
    pub file: MappingFile,
    /// The state in which the file was read last.
    pub seen: Option<Fingerprint>,
    /// The configuration that its mappings are judged by.
    pub config: Arc<Config>,
}

/// The link of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Whether it is up.
    pub up: bool,
    /// Its speed in Mbit/s; 0 when unknown.
    pub speed_mbps: u32,
    /// What is wrong with the port; empty if nothing.
    pub problem: String,
}

/// What the devices report of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// By port, in the order of the configuration.
    pub ports: Vec<PortReport>,
    /// Mbufs in use, over all pools.
    pub mbufs_in_use: u64,
    /// Mbufs, over all pools.
    pub mbufs_total: u64,
}

/// What one device reports of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortReport {
    /// The device's counters.
    pub counters: DeviceCounters,
    /// The driver's own counters, by the driver's names.
    pub xstats: Vec<(String, u64)>,
    /// `active`, or why receive side scaling is not.
    pub rss: String,
}

impl DeviceReport {
    /// Mbufs in use, and in all.
    #[must_use]
    pub fn mbufs(&self) -> (u64, u64) {
        (self.mbufs_in_use, self.mbufs_total)
    }

    /// The device's counters; zeroes for a port without a report.
    #[must_use]
    pub fn counters(&self, port: PortId) -> DeviceCounters {
        self.port(port).map(|port| port.counters).unwrap_or_default()
    }

    /// The driver's own counters; none for a port without a report.
    #[must_use]
    pub fn xstats(&self, port: PortId) -> Vec<(String, u64)> {
        self.port(port).map(|port| port.xstats.clone()).unwrap_or_default()
    }

    /// `active`, or why receive side scaling is not.
    #[must_use]
    pub fn rss(&self, port: PortId) -> String {
        self.port(port).map(|port| port.rss.clone()).unwrap_or_default()
    }

    fn port(&self, port: PortId) -> Option<&PortReport> {
        self.ports.get(usize::from(port.0))
    }
}

/// What the core begins with.
#[derive(Debug)]
pub struct Start {
    /// Path of the configuration file, as operators see it.
    pub path: std::path::PathBuf,
    /// What the file says.
    pub config: Arc<Config>,
    /// The same file and what operators want beside it, at a node that takes that; not judged together yet.
    pub provision: Option<Provision>,
    /// MAC addresses of the ports.
    pub macs: Vec<Mac>,
    /// Links of the ports.
    pub links: Vec<LinkState>,
    /// Mappings of the mapping file, if there is one, and the state it was read in.
    pub mappings: Option<(Vec<crate::mapping::MappingRecord>, Option<Fingerprint>)>,
    /// What the authority told before the start.
    pub learned: Vec<crate::mapping::Change>,
    /// Where the VMs and tasks of attachments were that moved then.
    pub presences: Vec<(crate::table::AttachmentKey, crate::mapping::Presence)>,
    /// Counters that workers and control share.
    pub stats: Arc<crate::node::stats::Stats>,
    /// Workers of the node.
    pub workers: usize,
    /// Seed of the table positions. Outsiders must not know it.
    pub table_seed: u64,
    /// Seed of the jitter of timers. Outsiders may learn it.
    pub timer_seed: u64,
}

/// What an operator asks.
#[derive(Debug)]
pub enum Request {
    /// Apply a batch of mapping changes. Answered when it is in force in every worker.
    Apply(Batch),
    /// One mapping by SIR address.
    MappingGet(Ipv6Addr),
    /// Mappings, sorted by SIR address.
    MappingList(MappingFilter),
    /// The node. [`Input::Devices`] goes before it.
    Node,
    /// Read the configuration again and apply the difference, or refuse the whole file.
    Reload,
    /// Apply the mapping file that waits although it deletes so many mappings.
    Confirm(u64),
    /// Ports, with or without the devices' own statistics. [`Input::Devices`] goes before it.
    Ports {
        /// Whether the devices' own statistics are wanted.
        xstats: bool,
    },
    /// Neighbours.
    Neighbours,
    /// Routes.
    Routes,
    /// Losses by reason over all workers and ports.
    Drops,
    /// Virtual networks.
    Networks,
    /// One virtual network, by name or VNID.
    Network(String),
    /// Attachments.
    Attachments,
    /// Groups of virtual networks.
    Groups,
    /// Policies.
    Policies,
    /// Mapped peers of all networks, or of the one with this name.
    Peers(Option<String>),
    /// Change policies or peers. Answered when it is in force in every worker.
    Amend(Amend),
    /// This is what operators want at the node. Answered at once; [`Effect::Provisioned`] follows.
    Provision(Arc<Objects>),
    /// What the mappings of the authority add up to, by SIR prefix.
    Digests,
    /// What is held of the authority in these parts.
    HeldIn(Parts),
    /// The authority found these identifiers of a MAC address.
    FoundMac(Network, Mac, Vec<Identifier>),
    /// Where the VM or task of an attachment is. Answered when it is in force in every worker.
    Presence(AttachmentKey, Presence),
    /// Ask the VM or task of an attachment whether it is there.
    Probe(AttachmentKey),
}

/// The answer to a [`Request`]: the variant of the same name.
#[derive(Debug)]
pub enum Answer {
    /// What the batch did, or why it was refused.
    Apply(Result<Applied, Refusal>),
    /// The mapping, if there is one.
    MappingGet(Option<MappingView>),
    /// The mappings, or what is wrong with the filter.
    MappingList(Result<Vec<MappingView>, String>),
    /// The node.
    Node(NodeView),
    /// What the reload did, or why it was refused.
    Reload(Result<ReloadView, String>),
    /// What the mapping file did, or why there is nothing to confirm.
    Confirm(Result<Applied, String>),
    /// The ports.
    Ports(Vec<PortView>),
    /// The neighbours.
    Neighbours(Vec<NeighbourView>),
    /// The routes.
    Routes(Vec<RouteView>),
    /// The losses.
    Drops(Vec<DropView>),
    /// The networks.
    Networks(Vec<NetworkView>),
    /// The network, if there is one.
    Network(Option<NetworkDetailView>),
    /// The attachments.
    Attachments(Vec<AttachmentView>),
    /// The groups.
    Groups(Vec<GroupView>),
    /// The policies.
    Policies(Vec<PolicyView>),
    /// The peers.
    Peers(Vec<PeerView>),
    /// Whether the change is in force, or why it was refused.
    Amend(Result<(), AmendRefusal>),
    /// It was heard.
    Provision(()),
    /// The digests by SIR prefix.
    Digests(Vec<(u64, Digest)>),
    /// SIR prefixes and identifiers.
    HeldIn(Vec<(u64, Identifier)>),
    /// It was heard.
    FoundMac(()),
    /// Whether it is in force, or why not.
    Presence(Result<(), PresenceRefused>),
    /// It was heard.
    Probe(bool),
}

/// What the pending updates wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There are none.
    Idle,
    /// For the next [`Input::Update`].
    Ready,
    /// For workers to take the snapshot that was published last.
    AwaitsReaders,
}
