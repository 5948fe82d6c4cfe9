//! The statistics of the node: everything that metrics and views read without asking the control thread.
//!
//! A counter of packets has one writer (a worker) and any number of readers. The control thread publishes its own
//! numbers as a [`Census`], once a second. Names carry units.

use super::events::Events;
use super::neighbour::State;
use crate::api::views::{AuthorityView, TableView};
use crate::nva::client::{Counts, DriftCounts};
use crate::path::count::Count;
use crate::path::networks::NetworkCounters;
use crate::path::violations::TenantCounts;
use crate::path::{Counters, NetworkTally};
use crate::table::PortId;
use crate::table::tenant::MAX_TENANTS;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All measurements of one node.
#[derive(Debug)]
pub struct Stats {
    /// Name of the node.
    pub node: String,
    /// When it started.
    pub started: Instant,
    /// The constant properties of the ports, by [`PortId`].
    pub ports: Vec<PortFacts>,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// Time from accepting a batch of mapping changes until every worker uses it.
    pub update_latency: Histogram,
    /// Batches applied.
    pub updates_applied: AtomicU64,
    /// Batches, mapping files and reloads refused.
    pub updates_refused: AtomicU64,
    /// Mapping files that delete so much that they wait for a confirmation.
    pub updates_withheld: AtomicU64,
    /// Entries of mapping files that changed beneath the mapping of an operator.
    pub mappings_shadowed: AtomicU64,
    /// Snapshots published.
    pub snapshots_published: AtomicU64,
    /// Frames that the control thread originated and no worker could send.
    pub originated_lost: AtomicU64,
    /// Messages in which another node claimed an address of this node, by port.
    pub address_conflicts: Vec<AtomicU64>,
    /// Events of tenants.
    pub events: Arc<Events>,
    /// Lines of the log that were lost.
    pub log_lines_lost: Arc<AtomicU64>,
    /// Signs of life of the control thread.
    pub control: Heartbeat,
    /// The session with the authority.
    pub nva: NvaCounters,
    census: Mutex<Arc<Census>>,
}

/// What is known of the session with the authority.
#[derive(Debug, Default)]
pub struct NvaCounters {
    /// Whether there is a session (1) or not (0).
    pub live: AtomicU64,
    /// Everything up to this revision of the registry is in force.
    pub applied: AtomicU64,
    /// Identifiers of this node that are registered.
    pub registered: AtomicU64,
    /// Identifiers of this node that the authority refuses.
    pub refused: AtomicU64,
    /// Networks, policies and attachments that operators want at this node, and that are in force.
    pub objects_in_force: AtomicU64,
    /// Those that this node refuses.
    pub objects_refused: AtomicU64,
    /// Mappings of the authority that this node could not take.
    pub left_out: AtomicU64,
    /// Seconds since there was a session last; 0 while there is one.
    pub stale_s: AtomicU64,
    /// Whether there was no session for the whole grace period (1) or not (0).
    pub grace_over: AtomicU64,
    /// Whether the mappings of the authority went for that.
    pub forgot: AtomicBool,
    /// Transactions that were told and are not in force yet.
    pub lag: AtomicU64,
    /// Snapshots that began.
    pub snapshots: AtomicU64,
    /// Time from a message with transactions until they are in force.
    pub apply_latency: Histogram,
    /// Attempts to keep what is known that failed.
    pub state_failures: AtomicU64,
    /// Mappings that the node asked for and uses, in cache mode.
    pub cached: AtomicU64,
    /// Identifiers that the node asked for.
    pub asked: AtomicU64,
    /// Answers that nobody has an identifier.
    pub negative: AtomicU64,
    /// Mappings that were asked for again because they are used.
    pub refreshed: AtomicU64,
    /// Mappings that the authority told unasked, because packets went by an ILA router.
    pub redirected: AtomicU64,
    /// Triangular packets that this node told of, as an ILA router.
    pub triangular: AtomicU64,
    /// MAC addresses that the authority was asked for.
    pub sought_macs: AtomicU64,
    /// Those that somebody has.
    pub found_macs: AtomicU64,
    /// 1 while the list of revoked authorities cannot be read.
    pub unread_revocations: AtomicU64,
    /// Attachments whose tenants asked by RARP and that the authority allocated addresses to.
    pub allocated_addresses: AtomicU64,
    /// Those that it refused addresses, by request.
    pub refused_addresses: AtomicU64,
    /// Digests of the authority that were compared with what is in force.
    pub digests: AtomicU64,
    /// Parts of the mappings that differed, and were told anew.
    pub drifted_parts: AtomicU64,
    /// Times that what operators want differed, and was told anew.
    pub drifted_objects: AtomicU64,
    /// Misses of identifiers that are known, being asked for or known to be nobody's.
    pub suppressed: AtomicU64,
    /// Misses for which the client had no room.
    pub lost: AtomicU64,
    /// Misses that workers did not tell, because they had told the identifier a moment ago.
    pub suppressed_by_workers: AtomicU64,
    /// Misses that workers did not tell for want of room, or beyond a limit.
    pub lost_by_workers: AtomicU64,
}

impl NvaCounters {
    /// Takes over the state of the client.
    pub fn set(&self, status: &crate::nva::client::Status) {
        self.live.store(status.live.into(), Ordering::Relaxed);
        self.applied.store(status.applied, Ordering::Relaxed);
        self.registered.store(status.registered as u64, Ordering::Relaxed);
        self.refused.store(status.refused as u64, Ordering::Relaxed);
        self.grace_over.store(status.grace_over.into(), Ordering::Relaxed);
        self.forgot.store(status.forgot, Ordering::Relaxed);
        self.triangular.store(status.triangles, Ordering::Relaxed);
        self.sought_macs.store(status.macs.asked, Ordering::Relaxed);
        self.found_macs.store(status.macs.found, Ordering::Relaxed);
        self.allocated_addresses.store(status.addresses.allocated, Ordering::Relaxed);
        self.refused_addresses.store(status.addresses.refused, Ordering::Relaxed);
        let DriftCounts { compared, parts, objects } = status.drift;
        self.digests.store(compared, Ordering::Relaxed);
        self.drifted_parts.store(parts, Ordering::Relaxed);
        self.drifted_objects.store(objects, Ordering::Relaxed);
        let Counts { asked, suppressed, lost, negative, refreshed, redirected, mappings } = status.cache;
        self.cached.store(mappings, Ordering::Relaxed);
        self.asked.store(asked, Ordering::Relaxed);
        self.negative.store(negative, Ordering::Relaxed);
        self.refreshed.store(refreshed, Ordering::Relaxed);
        self.redirected.store(redirected, Ordering::Relaxed);
        self.suppressed.store(suppressed, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }

    /// Counts misses that a worker did not tell.
    pub fn missed(&self, suppressed: u64, lost: u64) {
        self.suppressed_by_workers.fetch_add(suppressed, Ordering::Relaxed);
        self.lost_by_workers.fetch_add(lost, Ordering::Relaxed);
    }

    /// What operators see.
    #[must_use]
    pub fn view(&self) -> AuthorityView {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        AuthorityView {
            session: get(&self.live) > 0,
            applied: get(&self.applied),
            registered: get(&self.registered),
            refused: get(&self.refused),
            left_out: get(&self.left_out),
            stale_s: get(&self.stale_s),
            grace_over: get(&self.grace_over) > 0,
        }
    }

    /// So much of what operators want is in force, and so much is refused.
    pub fn objects(&self, in_force: usize, refused: usize) {
        self.objects_in_force.store(in_force as u64, Ordering::Relaxed);
        self.objects_refused.store(refused as u64, Ordering::Relaxed);
    }

    /// So many seconds ago there was a session last.
    pub fn stale(&self, seconds: u64) {
        self.stale_s.store(seconds, Ordering::Relaxed);
    }

    /// Counts an attempt to keep what is known that failed.
    pub fn state_failed(&self) {
        self.state_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts mappings that were left out.
    pub fn left_out(&self, mappings: u64) {
        self.left_out.fetch_add(mappings, Ordering::Relaxed);
    }
}

/// Signs of life of the control thread.
#[derive(Debug, Default)]
pub struct Heartbeat {
    turned_ms: AtomicU64,
    stopping: AtomicBool,
}

impl Heartbeat {
    /// The control thread turns, so many milliseconds after the start.
    pub fn beat(&self, now_ms: u64) {
        self.turned_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The node is about to stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the node is about to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The properties of a port that do not change while the node runs.
#[derive(Debug, Clone)]
pub struct PortFacts {
    /// Name in the configuration.
    pub name: String,
    /// DPDK device string.
    pub device: String,
    /// `fabric`, `external` or `access`.
    pub role: &'static str,
}

/// The statistics of one worker.
#[derive(Debug)]
pub struct WorkerStats {
    /// Core that it runs on.
    pub core: u16,
    /// What became of the packets received, by port.
    pub received: Vec<CachePadded<Counters>>,
    /// Packets sent, by port.
    pub sent: Vec<CachePadded<SentCounters>>,
    /// Frames with a checksum that their sender left to its device, of those looked at, by port.
    pub unfinished: Vec<Count>,
    /// The packets of tenants, by network.
    pub networks: NetworkTally,
    /// Violations by tenant.
    pub tenants: Arc<TenantCounts>,
    /// The polling loop.
    pub polls: CachePadded<PollCounters>,
}

/// Counters of the packets that one worker sent through one port.
#[derive(Debug, Default)]
pub struct SentCounters {
    /// Packets that the device accepted.
    pub sent: Count,
    /// Their bytes, from the Ethernet header on.
    pub sent_bytes: Count,
    /// Packets that the transmit ring refused.
    pub unsent: Count,
    /// Packets, among those sent and refused, that the control thread originated.
    pub originated: Count,
}

/// Counters of a worker's polling loop.
#[derive(Debug, Default)]
pub struct PollCounters {
    /// Polls that returned packets.
    pub bursts: Count,
    /// Packets that they returned.
    pub packets: Count,
    /// Polls that returned none.
    pub empty_polls: Count,
    /// Sleeps of the idle backoff.
    pub sleeps: Count,
    /// Number of the snapshot in use (a gauge).
    pub snapshot: Count,
    /// Packets freed against their verdict: 0 in a node without a bug.
    pub misplaced: Count,
    /// Number of the last snapshot in use when nothing was left that it releases.
    pub released: AtomicU64,
}

/// The numbers that the control thread publishes once a second.
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
    /// Deletions of the mapping file that wait for a confirmation.
    pub deletions_withheld: u64,
    /// The tables by SIR domain.
    pub tables: Vec<TableView>,
    /// Virtual networks, in the configuration's order.
    pub networks: Vec<NetworkCensus>,
    /// Routes.
    pub routes: u64,
    /// Neighbours in each state, in the order of [`State::ALL`].
    pub neighbours: [u64; State::ALL.len()],
    /// Memberships that tenants reported by IGMP or MLD: one for each pair of tenant and group.
    pub group_members: u64,
    /// Joins that were refused because there were too many groups.
    pub joins_refused: u64,
    /// Joins that were refused because the group has no identifier, or one that neutral mapping cannot carry.
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

/// A virtual network in the [`Census`].
#[derive(Debug, Clone, Default)]
pub struct NetworkCensus {
    /// Name.
    pub name: String,
    /// Its counter slot; slot 0 counts all networks that have none of their own.
    pub slot: u16,
    /// Tenants attached here.
    pub attachments: u64,
    /// Mappings of its addresses.
    pub mappings: u64,
}

/// A port in the [`Census`].
#[derive(Debug, Clone, Default)]
pub struct PortCensus {
    /// MAC address.
    pub mac: crate::net::Mac,
    /// Whether the link is up.
    pub up: bool,
    /// What is wrong with the port; empty if nothing.
    pub problem: String,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed_mbps: u32,
    /// `active`, or the reason why receive side scaling is off.
    pub rss: String,
    /// The device's own counters.
    pub device: DeviceCounters,
    /// The driver's own counters by the driver's names.
    pub xstats: Vec<(String, u64)>,
}

/// Counters of a device since it was opened; 0 if the driver has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because no receive descriptor was free: the workers are too slow.
    pub rx_missed: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets lost because the mempool was empty.
    pub rx_no_mbuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
}

impl Stats {
    /// Statistics at zero, for these ports, one worker on each of `cores`, and `networks` networks with their own
    /// counters.
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
            updates_withheld: AtomicU64::new(0),
            mappings_shadowed: AtomicU64::new(0),
            snapshots_published: AtomicU64::new(0),
            originated_lost: AtomicU64::new(0),
            events: Arc::default(),
            log_lines_lost: Arc::default(),
            control: Heartbeat::default(),
            nva: NvaCounters::default(),
            census: Mutex::default(),
        }
    }

    /// Packets that were sent on after what they are for had left.
    #[must_use]
    pub fn sent_on(&self) -> u64 {
        let counters = self.workers.iter().flat_map(|worker| &worker.received);
        counters.map(|counters| counters.tunnelled.value() + counters.retranslated.value()).sum()
    }

    /// How long ago the control thread turned last. It turns every 10 ms unless it hangs.
    #[must_use]
    pub fn control_silence(&self) -> Duration {
        let turned = Duration::from_millis(self.control.turned_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(turned)
    }

    /// The numbers that the control thread published last.
    #[must_use]
    pub fn census(&self) -> Arc<Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the census. Only the control thread calls this.
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

    /// Frames of a port with an unfinished checksum, of those that workers looked at.
    #[must_use]
    pub fn unfinished(&self, port: PortId) -> u64 {
        let of = |worker: &WorkerStats| worker.unfinished.get(usize::from(port.0)).map(Count::value);
        self.workers.iter().filter_map(of).sum()
    }
}

impl WorkerStats {
    fn new(core: u16, ports: usize, networks: u16) -> Self {
        WorkerStats {
            core,
            received: Counters::per_port(ports),
            sent: (0..ports).map(|_| CachePadded::default()).collect(),
            unfinished: (0..ports).map(|_| Count::default()).collect(),
            networks: NetworkTally::new(networks),
            tenants: TenantCounts::of(MAX_TENANTS),
            polls: CachePadded::default(),
        }
    }
}

/// Upper bounds of a [`Histogram`]'s buckets in microseconds. One more bucket holds longer durations.
pub const LATENCY_BOUNDS_US: [u64; 18] = [
    50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000,
];

/// A histogram of durations with the buckets of [`LATENCY_BOUNDS_US`].
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

    /// Number of durations in each bucket, not cumulative. The last bucket holds those longer than every bound.
    #[must_use]
    pub fn buckets(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed))
    }

    /// Sum of all durations in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    /// Number of durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets().iter().sum()
    }

    /// The upper bound in microseconds of the bucket that holds the `share` (0 to 1) quantile; `None` when empty. For
    /// the bucket of the longest durations it is the last bound.
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
