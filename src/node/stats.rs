//! What the node measures: everything that metrics and views read without asking the control thread.
//!
//! Counters that grow with packets have one writer (a worker) and any number of readers. What the control thread
//! knows is a [`Census`], replaced once a second. Names carry units.

use super::events::Events;
use super::handle::TableView;
use super::neighbour::State;
use crate::path::counters::Count;
use crate::path::networks::NetworkCounters;
use crate::path::violations::TenantCounts;
use crate::path::{Counters, NetworkTally};
use crate::table::PortId;
use crate::table::network::MAX_TENANTS;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// All measurements of one node.
#[derive(Debug)]
pub struct Stats {
    /// Name of the node.
    pub node: String,
    /// When it started.
    pub started: Instant,
    /// What does not change about the ports, by [`PortId`].
    pub ports: Vec<PortFacts>,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// Time from the acceptance of a batch of mapping changes until every worker uses it.
    pub update_latency: Histogram,
    /// Batches applied.
    pub updates_applied: AtomicU64,
    /// Batches refused.
    pub updates_refused: AtomicU64,
    /// Snapshots published.
    pub snapshots_published: AtomicU64,
    /// Frames that the control thread made and no worker had room to send.
    pub originated_lost: AtomicU64,
    /// Times that somebody else had an address of ours, by port.
    pub address_conflicts: Vec<AtomicU64>,
    /// What happened to tenants.
    pub events: Arc<Events>,
    census: Mutex<Arc<Census>>,
}

/// What does not change about a port while the node runs.
#[derive(Debug, Clone)]
pub struct PortFacts {
    /// Name in the configuration.
    pub name: String,
    /// DPDK device string.
    pub device: String,
    /// `fabric`, `external` or `access`.
    pub role: &'static str,
}

/// One worker's measurements.
#[derive(Debug)]
pub struct WorkerStats {
    /// Core that it runs on.
    pub core: u16,
    /// Fates of the packets received, by port.
    pub received: Vec<CachePadded<Counters>>,
    /// Packets sent, by port.
    pub sent: Vec<CachePadded<SentCounters>>,
    /// The packets of tenants, by network.
    pub networks: NetworkTally,
    /// What was refused of tenants.
    pub tenants: Arc<TenantCounts>,
    /// The loop itself.
    pub polls: CachePadded<PollCounters>,
}

/// What one worker sent through one port.
#[derive(Debug, Default)]
pub struct SentCounters {
    /// Packets that the device took.
    pub sent: Count,
    /// Their bytes, from the Ethernet header on.
    pub sent_bytes: Count,
    /// Packets that the transmit ring refused.
    pub unsent: Count,
    /// Of the packets sent or refused: made by this node of its own accord, not in answer to a packet.
    pub originated: Count,
}

/// One worker's loop.
#[derive(Debug, Default)]
pub struct PollCounters {
    /// Polls of a queue that gave packets.
    pub bursts: Count,
    /// Packets that they gave.
    pub packets: Count,
    /// Polls of a queue that gave none.
    pub empty_polls: Count,
    /// Times that the worker went to sleep because there was nothing to do.
    pub sleeps: Count,
    /// Number of the snapshot in use (a gauge).
    pub snapshot: Count,
    /// Packets freed against their verdict: 0 in a node without a bug.
    pub misplaced: Count,
}

/// What the control thread knew at its last count.
#[derive(Debug, Clone, Default)]
pub struct Census {
    /// Revision of the mappings.
    pub revision: u64,
    /// Number of the published snapshot.
    pub snapshot: u64,
    /// Snapshots that some worker may still use.
    pub snapshots_waiting: u64,
    /// Batches of changes accepted and not yet in force.
    pub updates_pending: u64,
    /// The tables by SIR domain.
    pub tables: Vec<TableView>,
    /// Virtual networks, in the configuration's order.
    pub networks: Vec<NetworkCensus>,
    /// Routes.
    pub routes: u64,
    /// Neighbours in each state, in the order of [`State::ALL`].
    pub neighbours: [u64; State::ALL.len()],
    /// Groups that tenants are members of by their own word, each counted once for each tenant.
    pub group_members: u64,
    /// Groups that tenants wanted to join and could not, because they are too many.
    pub joins_refused: u64,
    /// How often they wanted one that has no identifier that can travel.
    pub joins_unmappable: u64,
    /// Links and devices, by port.
    pub ports: Vec<PortCensus>,
    /// Mbufs in use over all pools.
    pub mbufs_in_use: u64,
    /// Mbufs over all pools.
    pub mbufs: u64,
    /// Microseconds that the last update took.
    pub last_update_us: u64,
}

/// A virtual network at the last count.
#[derive(Debug, Clone, Default)]
pub struct NetworkCensus {
    /// Name.
    pub name: String,
    /// Where its packets are counted; 0: with those of others.
    pub slot: u16,
    /// Tenants attached here.
    pub attachments: u64,
    /// Mappings of its addresses.
    pub mappings: u64,
}

/// A port at the last count.
#[derive(Debug, Clone, Default)]
pub struct PortCensus {
    /// MAC address.
    pub mac: crate::net::Mac,
    /// Whether the link is up.
    pub up: bool,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed_mbps: u32,
    /// `active`, or why receive side scaling is not.
    pub rss: String,
    /// The device's own counters.
    pub device: DeviceCounters,
    /// The driver's own counters by the driver's names.
    pub xstats: Vec<(String, u64)>,
}

/// Counters of a device since it was opened; 0 where the driver has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because no descriptor was free: the workers are too slow.
    pub rx_missed: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets lost because the pool was empty.
    pub rx_no_mbuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
}

impl Stats {
    /// Zeroes for these ports and these workers' cores; so many networks are counted each for itself.
    #[must_use]
    pub fn new(node: String, ports: Vec<PortFacts>, cores: &[u16], networks: u16) -> Self {
        let workers = cores.iter().map(|&core| WorkerStats::new(core, ports.len(), networks)).collect();
        Stats {
            node,
            started: Instant::now(),
            address_conflicts: ports.iter().map(|_| AtomicU64::new(0)).collect(),
            ports,
            workers,
            update_latency: Histogram::default(),
            updates_applied: AtomicU64::new(0),
            updates_refused: AtomicU64::new(0),
            snapshots_published: AtomicU64::new(0),
            originated_lost: AtomicU64::new(0),
            events: Arc::default(),
            census: Mutex::default(),
        }
    }

    /// What the control thread knew at its last count.
    #[must_use]
    pub fn census(&self) -> Arc<Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the census; for the control thread.
    pub fn set_census(&self, census: Census) {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(census);
    }

    /// The counters of every worker for packets received on `port`.
    pub fn received(&self, port: PortId) -> impl Iterator<Item = &Counters> {
        self.workers.iter().filter_map(move |worker| worker.received.get(usize::from(port.0)).map(|c| &**c))
    }

    /// The counters of every worker for tenants' packets of the network with this slot.
    pub fn network(&self, slot: u16) -> impl Iterator<Item = &NetworkCounters> {
        self.workers.iter().filter_map(move |worker| worker.networks.slot(slot))
    }

    /// The counters of every worker for packets sent through `port`.
    pub fn sent(&self, port: PortId) -> impl Iterator<Item = &SentCounters> {
        self.workers.iter().filter_map(move |worker| worker.sent.get(usize::from(port.0)).map(|c| &**c))
    }
}

impl WorkerStats {
    fn new(core: u16, ports: usize, networks: u16) -> Self {
        WorkerStats {
            core,
            received: Counters::per_port(ports),
            sent: (0..ports).map(|_| CachePadded::default()).collect(),
            networks: NetworkTally::new(networks),
            tenants: TenantCounts::of(MAX_TENANTS),
            polls: CachePadded::default(),
        }
    }
}

/// Upper bounds of a [`Histogram`]'s buckets in microseconds; one more bucket holds what is longer.
pub const LATENCY_BOUNDS_US: [u64; 18] = [
    50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000,
];

/// Durations in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration in microseconds.
    pub fn record(&self, us: u64) {
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Durations in each bucket (not cumulative); the last one is longer than every bound.
    #[must_use]
    pub fn buckets(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed))
    }

    /// Sum of all durations in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets().iter().sum()
    }

    /// The upper bound in microseconds of the bucket that holds the `share` (0 to 1) quantile; `None` when empty.
    /// Beyond the last bound it is the last bound.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let buckets = self.buckets();
        let count: u64 = buckets.iter().sum();
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = buckets.iter().position(|held| {
            seen += held;
            seen >= rank
        })?;
        LATENCY_BOUNDS_US.get(bucket).or(LATENCY_BOUNDS_US.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for us in [10, 60, 60, 60, 900, 5_000_000] {
            histogram.record(us);
        }
        assert_eq!((histogram.count(), histogram.sum_us()), (6, 5_001_090));
        assert_eq!(histogram.quantile_us(0.5), Some(100));
        assert_eq!(histogram.quantile_us(0.0), Some(50));
        assert_eq!(histogram.quantile_us(0.8), Some(1_000));
        assert_eq!(histogram.quantile_us(1.0), Some(1_000_000));
    }

    #[test]
    fn the_census_is_replaced_whole() {
        let ports = vec![PortFacts { name: "p".into(), device: "net_null0".into(), role: "fabric" }];
        let stats = Stats::new("n".into(), ports, &[1, 2], 0);
        let before = stats.census();
        stats.set_census(Census { revision: 7, ..Census::default() });
        assert_eq!((before.revision, stats.census().revision), (0, 7));
        assert_eq!((stats.received(PortId(0)).count(), stats.sent(PortId(1)).count()), (2, 0));
    }
}
