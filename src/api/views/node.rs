//! The node itself, its workers and ports, and what became of packets.

use super::TableView;
use crate::mapping::Applied;
use serde::Serialize;
use std::net::Ipv6Addr;

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
    /// Microseconds from the acceptance of the last update until it was in force in every worker.
    pub last_update_us: u64,
    /// Path of the configuration file.
    pub config: String,
    /// The tables by domain.
    pub tables: Vec<TableView>,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// Packets made by the control thread itself and sent.
    pub originated: u64,
    /// Mbufs in use.
    pub mbufs_in_use: u64,
    /// Mbufs in all.
    pub mbufs: u64,
    /// What an operator should know of, a sentence each: files and reloads refused, what waits for a confirmation.
    pub warnings: Vec<String>,
    /// The session with the authority, if the configuration names one.
    pub authority: Option<AuthorityView>,
}

/// What a node knows of its authority, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AuthorityView {
    /// Whether there is a session.
    pub session: bool,
    /// Everything up to this revision of the registry is in force in every worker.
    pub applied: u64,
    /// Identifiers of this node that are registered.
    pub registered: u64,
    /// Identifiers of this node that the authority refuses.
    pub refused: u64,
    /// Mappings that the node could not take, so far.
    pub left_out: u64,
    /// Seconds since there was a session last; 0 while there is one.
    pub stale_s: u64,
    /// Whether that is longer than `nva.grace_s`.
    pub grace_over: bool,
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
    /// What is wrong with the port, why it is down; empty if nothing.
    pub problem: String,
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
    /// Packets sent.
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

/// Losses for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DropView {
    /// Label, as in metrics.
    pub reason: String,
    /// The operator's sentence.
    pub sentence: String,
    /// Packets dropped without an ICMPv6 error to the sender.
    pub dropped: u64,
    /// Packets lost whose sender was sent an ICMPv6 error.
    pub answered: u64,
    /// Copies for a group and fragments lost, of packets that were not lost as such.
    pub lost_copies: u64,
}

/// Totals of workers and ports at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatsView {
    /// Microseconds on the node's clock; only differences mean something.
    pub at_us: u64,
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// The ports, without the devices' own statistics.
    pub ports: Vec<PortView>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReloadView {
    /// Paths of the configuration that were applied.
    pub applied: Vec<String>,
    /// What the mapping file changed.
    pub mappings: Option<Applied>,
}
