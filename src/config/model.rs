//! The checked configuration: plain typed values that have passed every rule.
//!
//! An index into `ports`, `sir_domains` or `virtual_networks` names a port, SIR domain or virtual network.

mod limits;
mod mapping_file;
mod tenants;
mod translation;

pub use limits::*;
pub use mapping_file::*;
pub use tenants::*;
pub use translation::*;

use super::endpoint::NvaEndpoint;
use crate::ila::{ChecksumMode, Locator, SirPrefix};
use crate::mapping::{InFlight, Scopes};
use crate::net::{Ipv6Prefix, Mac};
use crate::shared::List;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Room in front of a frame within an mbuf (DPDK's `RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM_BYTES: u32 = 128;
/// Ethernet header and one VLAN tag.
pub const FRAME_OVERHEAD_BYTES: u32 = 18;

/// Virtual networks that have counters of their own unless the file says otherwise.
pub const COUNTED_NETWORKS: u16 = 256;

/// A configuration that cannot be wrong. Its long lists are shared with copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who this node is.
    pub node: Node,
    /// Cores and memory of the data plane.
    pub dpdk: Dpdk,
    /// Packet buffers.
    pub mbufs: Mbufs,
    /// SIR domains, at most 16.
    pub sir_domains: Vec<SirDomain>,
    /// Our own locators.
    pub locators: Vec<OwnLocator>,
    /// Ports, 1 to 64.
    pub ports: Vec<Port>,
    /// Virtual networks, at most 4096.
    pub virtual_networks: Arc<Vec<VirtualNetwork>>,
    /// Who may send to whom across the edges of networks, at most 65536; each once.
    pub policies: Arc<Vec<Policy>>,
    /// Tasks and tenants attached to access ports.
    pub attachments: List<Attachment>,
    /// What of these three an authority added.
    pub provisioned: Provisioned,
    /// Static routes.
    pub routes: Arc<Vec<Route>>,
    /// Static neighbours.
    pub neighbours: Vec<StaticNeighbour>,
    /// Where the mappings of remote identifiers come from.
    pub mappings: Option<MappingFile>,
    /// The authority, if there is one.
    pub nva: Option<Nva>,
    /// What tenants can never reach, beside our own addresses and their subnets.
    pub infrastructure: Vec<Ipv6Prefix>,
    /// When tenants are put under quarantine; none: never.
    pub quarantine: Option<Quarantine>,
    /// Limits of the ICMPv6 errors that we send to others than tenants.
    pub icmp: Icmp,
    /// Translation between IPv4 and IPv6.
    pub translation: Translation,
    /// Neighbour discovery timers.
    pub neighbour_discovery: NeighbourDiscovery,
    /// Groups that tenants join.
    pub multicast: Multicast,
    /// What becomes of packets for VMs and tasks that move.
    pub moves: Moves,
    /// The Prometheus endpoint.
    pub metrics: Option<Metrics>,
    /// The operator's socket.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

/// `node`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// 1 to 32 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Where the node keeps what it must know after a restart; absolute.
    pub state_dir: Option<PathBuf>,
}

/// `dpdk`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dpdk {
    /// Cores of the workers, distinct, at least one.
    pub workers: Vec<u16>,
    /// Core of the control thread; none: the operating system decides.
    pub control_core: Option<u16>,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// Whether memory comes from huge pages.
    pub huge: bool,
    /// Memory to reserve, in MiB.
    pub memory_mib: u32,
    /// What DPDK's own log lets through.
    pub log_level: DpdkLogLevel,
    /// Further arguments of the EAL, as they are.
    pub extra_args: Vec<String>,
}

/// What a worker does when no packet waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Busy-poll.
    Poll,
    /// Sleep for growing, short times.
    Backoff,
}

/// Levels of DPDK's log, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DpdkLogLevel {
    /// Only failures.
    Error,
    /// And warnings.
    Warning,
    /// And normal but notable events.
    Notice,
    /// And information.
    Info,
    /// Everything.
    Debug,
}

impl DpdkLogLevel {
    /// The name, as the EAL's `--log-level` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DpdkLogLevel::Error => "error",
            DpdkLogLevel::Warning => "warning",
            DpdkLogLevel::Notice => "notice",
            DpdkLogLevel::Info => "info",
            DpdkLogLevel::Debug => "debug",
        }
    }
}

/// `mbufs`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbufs {
    /// How many buffers.
    pub count: u32,
    /// Data room of each in bytes, the headroom of 128 included.
    pub data_bytes: u16,
    /// Buffers that each core keeps for itself.
    pub cache: u16,
}

/// `sir_domains[]`: one SIR prefix and its identifier space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SirDomain {
    /// Name, unique.
    pub name: String,
    /// The SIR prefix, unique.
    pub prefix: SirPrefix,
    /// How transport checksums are kept right.
    pub checksum: ChecksumMode,
    /// What happens to an identifier without a mapping.
    pub on_miss: OnMiss,
    /// Whether payloads without a checksum over the addresses skip neutral mapping (ILA draft §4.4).
    pub skip_unchecked: bool,
    /// Mappings to make room for.
    pub expected_mappings: u32,
    /// The MAC address of the router that the domain's tasks see, the same at every node.
    pub router_mac: Mac,
    /// VXLAN network identifier of tunnels to its tasks that move; none: no tunnels.
    pub vni: Option<u32>,
}

/// What happens to a packet whose identifier has no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMiss {
    /// Drop it and tell the source.
    Drop,
    /// Route it by its SIR address, towards an ILA router.
    Route,
}

/// `locators[]`: a locator of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnLocator {
    /// The locator.
    pub prefix: Locator,
    /// Index into `sir_domains`.
    pub domain: u8,
}

/// `ports[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name, unique.
    pub name: String,
    /// DPDK device with its arguments: a PCI address or a vdev.
    pub device: String,
    /// What the port is for.
    pub role: Role,
    /// MAC address to set on the device; none: the device's own.
    pub mac: Option<Mac>,
    /// Receive queues; at most one per worker.
    pub queues: u16,
    /// Descriptors of each receive and transmit ring.
    pub descriptors: u16,
    /// Largest IPv6 packet in bytes.
    pub mtu: u16,
    /// Our addresses on the link.
    pub addresses: Vec<PortAddress>,
    /// Whether the device receives foreign unicast.
    pub promiscuous: Promiscuous,
    /// All traffic of the port carries this VLAN tag; never on an access port.
    pub vlan: Option<u16>,
    /// Router advertisements, only on an access port.
    pub router_advertisement: Option<RouterAdvertisement>,
    /// What an external port admits; the default on other ports.
    pub external: External,
}

/// `ports[].external` (BCP 38, BCP 84)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct External {
    /// What is refused.
    pub ingress: Ingress,
    /// Sources that are admitted although they are inside, at most 64. Never those of tenants or of the node itself.
    pub allow_sources: Vec<Ipv6Prefix>,
    /// Destinations that are admitted although they are protected, at most 64.
    pub allow_destinations: Vec<Ipv6Prefix>,
}

/// What an external port refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ingress {
    /// Sources that are inside, and destinations in ILA form or under `infrastructure`.
    #[default]
    Strict,
    /// Only sources of tenants and of the node itself.
    Open,
}

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The underlay, towards other nodes.
    Fabric,
    /// The Internet or other sites.
    External,
    /// Tenants and tasks.
    Access,
}

/// When a port receives unicast for other MAC addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promiscuous {
    /// On access ports, where tenants send to their networks' MAC addresses, and where devices cannot filter.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// One address of ours and the prefix that is on-link by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortAddress {
    /// The address.
    pub address: u128,
    /// The on-link prefix.
    pub prefix: Ipv6Prefix,
}

/// `ports[].router_advertisement` (RFC 4861 §6.2.1); the MTU option carries the port's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Router lifetime in seconds; 0: not a default router.
    pub lifetime_s: u16,
    /// SIR prefix to advertise.
    pub prefix: Option<SirPrefix>,
    /// L flag of the prefix.
    pub on_link: bool,
    /// A flag of the prefix.
    pub autonomous: bool,
    /// Seconds between unsolicited advertisements.
    pub interval_s: u16,
}

/// `routes[]`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destinations, unique.
    pub prefix: Ipv6Prefix,
    /// Where they go.
    pub target: RouteTarget,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteTarget {
    /// Next hops, 1 to 64, distinct.
    Via(Vec<NextHop>),
    /// The destinations are neighbours on this port.
    OnLink {
        /// Index into `ports`.
        port: u16,
    },
    /// Dropped.
    Blackhole,
}

/// One next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The neighbour's address.
    pub via: u128,
    /// Index into `ports`.
    pub port: u16,
    /// Share of the flows, 1 to 1000.
    pub weight: u16,
}

/// `neighbours.static[]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticNeighbour {
    /// Index into `ports`.
    pub port: u16,
    /// The neighbour's address.
    pub address: u128,
    /// Its MAC address.
    pub mac: Mac,
}

/// `neighbour_discovery` (RFC 4861 §10)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourDiscovery {
    /// How long a confirmed neighbour counts as reachable.
    pub reachable_ms: u32,
    /// Time between solicitations.
    pub retransmit_ms: u32,
    /// Solicitations before a neighbour counts as gone.
    pub probes: u8,
    /// Packets that wait for one neighbour's MAC address.
    pub hold_packets: u8,
}

/// `moves` (VMM draft §5)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moves {
    /// What becomes of packets that come for who has left, unless a move says otherwise.
    pub in_flight: InFlight,
    /// Packets that each worker holds for one VM or task that is about to arrive.
    pub hold_packets: u32,
    /// Their bytes.
    pub hold_bytes: u32,
    /// How long it holds each.
    pub hold_ms: u32,
    /// Packets a second that it lets go when they may leave, beyond those that come meanwhile.
    pub release_per_second: u32,
    /// What the sender of a packet for who has left is told, if it is sent on nowhere.
    pub departed: Departed,
    /// Questions a second to hosts whether they still have their addresses.
    pub scan_per_second: u32,
    /// Seconds between two rounds of such questions; 0: only when somebody has left.
    pub scan_interval_s: u32,
    /// Unanswered questions after which who is about to leave has left; 0: none.
    pub silence_questions: u8,
}

impl Moves {
    /// How long a full queue of held packets takes to leave by its pace, in milliseconds.
    #[must_use]
    pub fn release_ms(&self) -> u64 {
        u64::from(self.hold_packets) * 1_000 / u64::from(self.release_per_second.max(1))
    }
}

/// What the sender of a packet for a VM or task that has left is told (ILA draft §B.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Departed {
    /// Nothing: its connection waits.
    #[default]
    Silent,
    /// That the address is unreachable, by ICMP: its connection ends.
    Icmp,
}

/// `multicast` (RFC 3376 §8, RFC 3810 §9)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multicast {
    /// Time between two general queries to tenants.
    pub query_interval_s: u16,
    /// Groups that one tenant may join.
    pub groups_per_tenant: u16,
    /// Groups that the tenants of one network may join here, counted once for each tenant.
    pub groups_per_network: u32,
}

/// `nva`: the authority that this node registers at and learns from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nva {
    /// Where it is, 1 to 16, in the order in which they are tried; none when it is embedded.
    pub endpoints: Vec<NvaEndpoint>,
    /// The configuration file of an authority that runs inside this node.
    pub embedded: Option<PathBuf>,
    /// The certificate of this node; there is one when an endpoint is reached by TLS.
    pub tls: Option<TlsFiles>,
    /// The list of authorities that are trusted no longer.
    pub revoked: Option<PathBuf>,
    /// Which mappings it wants.
    pub mode: NvaMode,
    /// Whether it takes networks, policies and attachments from its authority.
    pub provision: bool,
    /// What of the mappings it follows.
    pub scopes: Scopes,
    /// How long its mappings hold without a session; [`NvaMode::Full`] only.
    pub grace: Grace,
    /// SIR prefixes of the domains in which it makes identifiers of tasks, from blocks that the authority leases.
    pub blocks: Vec<u64>,
}

/// What becomes of the mappings of an authority that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// Seconds since the last session after which the operator is told that it is too long.
    pub seconds: u32,
    /// What happens then.
    pub then: AfterGrace,
}

/// What becomes of mappings when the grace period ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterGrace {
    /// They stay.
    Keep,
    /// They go. Their packets are those of any identifier without a mapping.
    Forget,
}

/// Which mappings a node wants of its authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NvaMode {
    /// All of them, at once.
    Full,
    /// Those that packets need, when they need them.
    Cache,
    /// The same, but an ILA router says which packets need one.
    Redirect,
}

impl NvaMode {
    /// The name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NvaMode::Full => "full",
            NvaMode::Cache => "cache",
            NvaMode::Redirect => "redirect",
        }
    }

    /// Whether it asks, and is not told everything.
    #[must_use]
    pub const fn asks(self) -> bool {
        matches!(self, NvaMode::Cache | NvaMode::Redirect)
    }
}

/// The files of one side of mutual TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The own certificate, and those between it and a certificate authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Certificate authorities whose certificates are believed: one, or two while one replaces the other.
    pub authorities: PathBuf,
}

/// `metrics`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Where Prometheus scrapes.
    pub listen: SocketAddr,
    /// Virtual networks with counters of their own, 0 to 4096; all others are counted together.
    pub networks: u16,
}

/// `admin`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket of `ilactl`.
    pub socket: PathBuf,
}

/// `log`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// What is written.
    pub level: LogLevel,
    /// How it is written.
    pub format: LogFormat,
}

/// Levels of our own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only failures.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what an engineer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name, as `tracing` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}
