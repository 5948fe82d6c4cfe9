//! Renders the node's statistics in Prometheus' text format, anew for every scrape.
//!
//! A scrape only reads [`Stats`]: it never asks the control thread and never writes to memory of a worker. Every
//! counter is exported from the start, with 0. Losses by reason are summed over workers, so that ports times reasons
//! bounds the number of series. The doc comments in [`FAMILIES`] are the help texts that Prometheus shows.

use super::neighbour::State;
use super::stats::{Census, LATENCY_BOUNDS_US, Stats};
use crate::path::Counters;
use crate::path::count::Count;
use crate::path::networks::NetworkCounters;
use crate::path::verdict::DropReason;
use crate::path::violations::Violation;
use crate::table::PortId;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Buckets of a duration in seconds.
    Histogram,
    /// A sum and a count.
    Summary,
}

/// A metric family: all metrics of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The help text.
    pub help: &'static str,
}

macro_rules! families {
    ($($(#[doc = $help:literal])+ $constant:ident: $kind:ident = $name:literal;)+) => {
        $(const $constant: Family =
            Family { name: $name, kind: Kind::$kind, help: concat!($($help),+).trim_ascii() };)+

        /// Every metric that the node exports.
        pub const FAMILIES: &[Family] = &[$($constant,)+];
    };
}

families! {
    /// Version of the program and name of the node; always 1.
    BUILD_INFO: Gauge = "ilagate_build_info";
    /// When the node started, in seconds since 1970.
    START_TIME: Gauge = "ilagate_start_time_seconds";

    /// Packets received, by worker and port.
    RECEIVED: Counter = "ilagate_received_packets_total";
    /// Bytes received, link header included, by worker and port.
    RECEIVED_BYTES: Counter = "ilagate_received_bytes_total";
    /// Fates of the packets received, by worker and port they came in at: forwarded, replied, punted or dropped.
    PACKETS: Counter = "ilagate_packets_total";
    /// Packets that wait for a neighbour now, by worker and port they came in at.
    WAITING: Gauge = "ilagate_waiting_packets";
    /// Packets dropped without an ICMPv6 error to the sender, by port they came in at and reason (ilactl drops explains each).
    DROPPED: Counter = "ilagate_dropped_packets_total";
    /// Packets lost whose sender was sent an ICMPv6 error, by port they came in at and reason.
    ICMP_ERRORS: Counter = "ilagate_icmp_errors_total";
    /// Frames sent beyond one for each packet, by worker and port the packets came in at:
    /// copies for the members of a group, and fragments after the first.
    COPIED: Counter = "ilagate_copied_packets_total";
    /// Such frames lost, by port the packets came in at and reason (ilactl drops explains each).
    COPIES_LOST: Counter = "ilagate_lost_copies_total";
    /// Packets sent, by worker and port.
    SENT: Counter = "ilagate_sent_packets_total";
    /// Bytes sent, link header included, by worker and port.
    SENT_BYTES: Counter = "ilagate_sent_bytes_total";
    /// Packets that the transmit ring refused, by worker and port.
    UNSENT: Counter = "ilagate_unsent_packets_total";
    /// Packets that the control thread originated and that were handed to the transmit ring, by worker and port.
    ORIGINATED: Counter = "ilagate_originated_packets_total";
    /// Packets that the control thread originated and no worker had room for.
    ORIGINATED_LOST: Counter = "ilagate_originated_lost_packets_total";

    /// Packets of tenants attached here, by virtual network and direction: from_tenants or to_tenants.
    VN_PACKETS: Counter = "ilagate_vn_packets_total";
    /// Bytes of tenants attached here, link header included, by virtual network and direction.
    VN_BYTES: Counter = "ilagate_vn_bytes_total";
    /// Packets from and to tenants that were lost, with or without an ICMP error to the sender, by virtual network.
    VN_DROPPED: Counter = "ilagate_vn_dropped_packets_total";
    /// Tenants attached here, by virtual network.
    VN_ATTACHMENTS: Gauge = "ilagate_vn_attachments";
    /// Mappings of tenants' addresses, by virtual network.
    VN_MAPPINGS: Gauge = "ilagate_vn_mappings";

    /// Core that a worker runs on.
    WORKER_CORE: Gauge = "ilagate_worker_core";
    /// Polls of receive queues, by worker and result: packets or empty.
    POLLS: Counter = "ilagate_worker_polls_total";
    /// Times that a worker slept because there was nothing to do.
    SLEEPS: Counter = "ilagate_worker_sleeps_total";
    /// Packets of each burst received, by worker.
    BURST: Summary = "ilagate_burst_packets";
    /// Number of the snapshot of the tables that a worker uses.
    WORKER_SNAPSHOT: Gauge = "ilagate_worker_snapshot";
    /// Packets that a worker freed against their verdict; 0 in a node without a bug.
    MISPLACED: Counter = "ilagate_worker_misplaced_packets_total";

    /// Mappings held, by SIR domain.
    MAPPINGS: Gauge = "ilagate_mappings";
    /// Mappings that fit without growing, by SIR domain.
    CAPACITY: Gauge = "ilagate_mapping_table_capacity";
    /// Memory of the lookup table, by SIR domain.
    TABLE_BYTES: Gauge = "ilagate_mapping_table_bytes";
    /// Revision of the mappings; rises with every batch of changes.
    REVISION: Gauge = "ilagate_mapping_revision";
    /// Time from the acceptance of a batch of mapping changes until every worker uses it.
    UPDATE: Histogram = "ilagate_update_seconds";
    /// Batches of mapping changes, by result: applied or refused.
    UPDATES: Counter = "ilagate_updates_total";
    /// Batches accepted and not yet in force.
    UPDATES_PENDING: Gauge = "ilagate_updates_pending";
    /// Number of the snapshot of the tables published last.
    SNAPSHOT: Gauge = "ilagate_snapshot";
    /// Snapshots that some worker may still use.
    SNAPSHOTS_WAITING: Gauge = "ilagate_snapshots_waiting";
    /// Snapshots published.
    SNAPSHOTS: Counter = "ilagate_snapshots_published_total";

    /// Events of tenants, by kind (ilactl events lists them).
    EVENTS: Counter = "ilagate_tenant_events_total";
    /// Events of tenants that were not recorded, because a tenant causes too many of them or a queue was full.
    EVENTS_SUPPRESSED: Counter = "ilagate_tenant_events_suppressed_total";
    /// Packets of tenants that were refused as abuse, and ICMP errors beyond a tenant's limit, by kind.
    VIOLATION: Counter = "ilagate_tenant_abuse_total";

    /// Routes.
    ROUTES: Gauge = "ilagate_routes";
    /// Neighbours, by state.
    NEIGHBOURS: Gauge = "ilagate_neighbours";
    /// Groups that tenants joined by IGMP and MLD, each counted once for each tenant.
    GROUP_MEMBERS: Gauge = "ilagate_group_members";
    /// Joins of tenants that were refused, by reason: limit (too many groups) or unmappable (a group without
    /// identifier, or ending in ffff under neutral mapping).
    JOINS_REFUSED: Counter = "ilagate_group_joins_refused_total";
    /// Packet buffers, by state: in_use or free.
    MBUFS: Gauge = "ilagate_mbufs";

    /// What a port is, and how receive side scaling works on it; always 1.
    PORT_INFO: Gauge = "ilagate_port_info";
    /// Whether a port's link is up.
    PORT_UP: Gauge = "ilagate_port_up";
    /// Messages in which somebody else had an address of ours, or was about to take it, by port.
    ADDRESS_CONFLICTS: Counter = "ilagate_address_conflicts_total";
    /// Speed of a port's link, 0 when unknown.
    PORT_SPEED: Gauge = "ilagate_port_speed_bytes_per_second";
    /// Packets that the device says it received.
    DEVICE_RECEIVED: Counter = "ilagate_device_received_packets_total";
    /// Bytes that the device says it received.
    DEVICE_RECEIVED_BYTES: Counter = "ilagate_device_received_bytes_total";
    /// Packets that the device says it sent.
    DEVICE_SENT: Counter = "ilagate_device_sent_packets_total";
    /// Bytes that the device says it sent.
    DEVICE_SENT_BYTES: Counter = "ilagate_device_sent_bytes_total";
    /// Packets that the device lost, by cause: missed (no descriptor was free), rx_error, no_mbuf or tx_error.
    DEVICE_LOST: Counter = "ilagate_device_lost_packets_total";
    /// The driver's own counters, by the driver's names.
    DEVICE_XSTAT: Counter = "ilagate_device_xstat_total";
}

/// Renders the statistics as text, format version 0.0.4.
#[must_use]
pub fn render(stats: &Stats) -> String {
    let census = stats.census();
    let scrape = Scrape(PrometheusBuilder::new().build_recorder());
    scrape.describe();
    scrape.node(stats, &census);
    scrape.networks(stats, &census);
    for (port, facts) in stats.ports.iter().enumerate() {
        scrape.port(stats, &census, port, &facts.name);
    }
    for (worker, measured) in stats.workers.iter().enumerate() {
        let worker = worker.to_string();
        for (port, counters) in stats.ports.iter().zip(&measured.received) {
            scrape.received(&worker, &port.name, counters);
        }
        for (port, counters) in stats.ports.iter().zip(&measured.sent) {
            let labels = [("worker", worker.as_str()), ("port", port.name.as_str())];
            scrape.count(SENT, &labels, counters.sent.value());
            scrape.count(SENT_BYTES, &labels, counters.sent_bytes.value());
            scrape.count(UNSENT, &labels, counters.unsent.value());
            scrape.count(ORIGINATED, &labels, counters.originated.value());
        }
        let labels = [("worker", worker.as_str())];
        let polls = &measured.polls;
        scrape.set(WORKER_CORE, &labels, f64::from(measured.core));
        scrape.set(WORKER_SNAPSHOT, &labels, polls.snapshot.value() as f64);
        scrape.count(SLEEPS, &labels, polls.sleeps.value());
        scrape.count(MISPLACED, &labels, polls.misplaced.value());
        let result = |result| [("worker", worker.as_str()), ("result", result)];
        scrape.count(POLLS, &result("packets"), polls.bursts.value());
        scrape.count(POLLS, &result("empty"), polls.empty_polls.value());
    }
    let mut text = scrape.0.handle().render();
    bursts(&mut text, stats);
    updates(&mut text, stats);
    text
}

/// One scrape. Each has its own recorder, so that nothing of an earlier scrape is left in it.
struct Scrape(PrometheusRecorder);

const METADATA: Metadata<'static> = Metadata::new("ilagate", Level::INFO, None);

fn key(family: Family, labels: &[(&'static str, &str)]) -> Key {
    let labels =
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect::<Vec<_>>();
    Key::from_parts(family.name, labels)
}

impl Scrape {
    fn describe(&self) {
        for family in FAMILIES {
            let (name, help) = (family.name.into(), family.help.into());
            match family.kind {
                Kind::Counter => self.0.describe_counter(name, None, help),
                Kind::Gauge => self.0.describe_gauge(name, None, help),
                // The recorder cannot take buckets that were counted elsewhere. `bursts` and `updates` write these.
                Kind::Histogram | Kind::Summary => {}
            }
        }
    }

    fn count(&self, family: Family, labels: &[(&'static str, &str)], value: u64) {
        debug_assert_eq!(family.kind, Kind::Counter);
        self.0.register_counter(&key(family, labels), &METADATA).absolute(value);
    }

    fn set(&self, family: Family, labels: &[(&'static str, &str)], value: f64) {
        debug_assert_eq!(family.kind, Kind::Gauge);
        self.0.register_gauge(&key(family, labels), &METADATA).set(value);
    }

    fn node(&self, stats: &Stats, census: &Census) {
        let count = |family, value: &std::sync::atomic::AtomicU64| {
            self.count(family, &[], value.load(Ordering::Relaxed));
        };
        self.set(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION")), ("node", &stats.node)], 1.0);
        let started = SystemTime::now().checked_sub(stats.started.elapsed());
        let started = started.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.set(START_TIME, &[], started.unwrap_or_default().as_secs_f64());
        count(ORIGINATED_LOST, &stats.originated_lost);
        count(SNAPSHOTS, &stats.snapshots_published);
        for (kind, told) in stats.events.counts() {
            self.count(EVENTS, &[("kind", kind)], told);
        }
        self.count(EVENTS_SUPPRESSED, &[], stats.events.suppressed());
        for violation in Violation::ALL {
            let refused = stats.workers.iter().map(|worker| worker.tenants.total(violation)).sum();
            self.count(VIOLATION, &[("kind", violation.label())], refused);
        }
        self.count(UPDATES, &[("result", "applied")], stats.updates_applied.load(Ordering::Relaxed));
        self.count(UPDATES, &[("result", "refused")], stats.updates_refused.load(Ordering::Relaxed));
        self.set(UPDATES_PENDING, &[], census.updates_pending as f64);
        self.set(SNAPSHOT, &[], census.snapshot as f64);
        self.set(SNAPSHOTS_WAITING, &[], census.snapshots_waiting as f64);
        self.set(REVISION, &[], census.revision as f64);
        self.set(GROUP_MEMBERS, &[], census.group_members as f64);
        self.count(JOINS_REFUSED, &[("reason", "limit")], census.joins_refused);
        self.count(JOINS_REFUSED, &[("reason", "unmappable")], census.joins_unmappable);
        self.set(ROUTES, &[], census.routes as f64);
        self.set(MBUFS, &[("state", "in_use")], census.mbufs_in_use as f64);
        self.set(MBUFS, &[("state", "free")], census.mbufs.saturating_sub(census.mbufs_in_use) as f64);
        for (state, count) in State::ALL.iter().zip(census.neighbours) {
            self.set(NEIGHBOURS, &[("state", state.label())], count as f64);
        }
        for table in &census.tables {
            let labels = [("domain", table.domain.as_str())];
            self.set(MAPPINGS, &labels, table.mappings as f64);
            self.set(CAPACITY, &labels, table.capacity as f64);
            self.set(TABLE_BYTES, &labels, table.memory_bytes as f64);
        }
    }

    /// The networks with their own counters, and the sum of all others as `other`, a name that no network has.
    fn networks(&self, stats: &Stats, census: &Census) {
        let alone = census.networks.iter().filter(|network| network.slot != 0);
        for network in alone {
            self.network(stats, &network.name, network.slot, network.attachments, network.mappings);
        }
        let (mut attachments, mut mappings) = (0, 0);
        for network in census.networks.iter().filter(|network| network.slot == 0) {
            attachments += network.attachments;
            mappings += network.mappings;
        }
        self.network(stats, "other", 0, attachments, mappings);
    }

    fn network(&self, stats: &Stats, name: &str, slot: u16, attachments: u64, mappings: u64) {
        let sum = |pick: fn(&NetworkCounters) -> &Count| -> u64 {
            stats.network(slot).map(|counters| pick(counters).value()).sum()
        };
        for (direction, packets, bytes) in [
            ("from_tenants", sum(|c| &c.from_tenants), sum(|c| &c.from_tenants_bytes)),
            ("to_tenants", sum(|c| &c.to_tenants), sum(|c| &c.to_tenants_bytes)),
        ] {
            let labels = [("vn", name), ("direction", direction)];
            self.count(VN_PACKETS, &labels, packets);
            self.count(VN_BYTES, &labels, bytes);
        }
        self.count(VN_DROPPED, &[("vn", name)], sum(|c| &c.dropped));
        self.set(VN_ATTACHMENTS, &[("vn", name)], attachments as f64);
        self.set(VN_MAPPINGS, &[("vn", name)], mappings as f64);
    }

    /// The packets that one worker received on one port.
    fn received(&self, worker: &str, port: &str, counters: &Counters) {
        let labels = [("worker", worker), ("port", port)];
        self.count(RECEIVED, &labels, counters.received.value());
        self.count(RECEIVED_BYTES, &labels, counters.received_bytes.value());
        self.count(COPIED, &labels, counters.copied.value());
        self.set(WAITING, &labels, counters.waiting.value() as f64);
        for (fate, count) in [
            ("forwarded", counters.forwarded.value()),
            ("replied", counters.replied.value()),
            ("punted", counters.punted.value()),
            ("dropped", counters.dropped_total()),
        ] {
            self.count(PACKETS, &[("worker", worker), ("port", port), ("fate", fate)], count);
        }
    }

    /// The metrics of a port that are not by worker.
    fn port(&self, stats: &Stats, census: &Census, index: usize, port: &str) {
        let id = PortId(u16::try_from(index).unwrap_or(u16::MAX));
        for reason in DropReason::ALL {
            let labels = [("port", port), ("reason", reason.label())];
            let over_workers = |pick: fn(&Counters, usize) -> u64| {
                stats.received(id).map(|counters| pick(counters, *reason as usize)).sum()
            };
            let dropped =
                over_workers(|counters, reason| counters.dropped.get(reason).map_or(0, |c| c.value()));
            self.count(DROPPED, &labels, dropped);
            let lost = over_workers(|counters, reason| {
                counters.copies_lost.get(reason).map_or(0, |count| count.value())
            });
            self.count(COPIES_LOST, &labels, lost);
            if reason.icmp().is_some() {
                let told =
                    over_workers(|counters, reason| counters.answered.get(reason).map_or(0, |c| c.value()));
                self.count(ICMP_ERRORS, &labels, told);
            }
        }
        let conflicts = stats.address_conflicts.get(index).map_or(0, |count| count.load(Ordering::Relaxed));
        self.count(ADDRESS_CONFLICTS, &[("port", port)], conflicts);
        let (Some(facts), Some(counted)) = (stats.ports.get(index), census.ports.get(index)) else { return };
        let mac = counted.mac.to_string();
        let info = [
            ("port", port),
            ("device", facts.device.as_str()),
            ("role", facts.role),
            ("mac", &mac),
            ("rss", counted.rss.as_str()),
        ];
        self.set(PORT_INFO, &info, 1.0);
        let labels = [("port", port)];
        self.set(PORT_UP, &labels, if counted.up { 1.0 } else { 0.0 });
        self.set(PORT_SPEED, &labels, f64::from(counted.speed_mbps) * 125_000.0);
        let device = &counted.device;
        self.count(DEVICE_RECEIVED, &labels, device.rx_packets);
        self.count(DEVICE_RECEIVED_BYTES, &labels, device.rx_bytes);
        self.count(DEVICE_SENT, &labels, device.tx_packets);
        self.count(DEVICE_SENT_BYTES, &labels, device.tx_bytes);
        for (cause, count) in [
            ("missed", device.rx_missed),
            ("rx_error", device.rx_errors),
            ("no_mbuf", device.rx_no_mbuf),
            ("tx_error", device.tx_errors),
        ] {
            self.count(DEVICE_LOST, &[("port", port), ("cause", cause)], count);
        }
        for (name, value) in &counted.xstats {
            self.count(DEVICE_XSTAT, &[("port", port), ("name", name)], *value);
        }
    }
}

/// Writes a line. Writing to a `String` cannot fail.
macro_rules! line {
    ($text:expr, $($argument:tt)*) => { let _ = writeln!($text, $($argument)*); };
}

fn head(text: &mut String, Family { name, kind, help }: Family) {
    let kind = if kind == Kind::Summary { "summary" } else { "histogram" };
    line!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Packets of each burst as a summary: the mean is the sum divided by the count.
fn bursts(text: &mut String, stats: &Stats) {
    head(text, BURST);
    let name = BURST.name;
    for (worker, measured) in stats.workers.iter().enumerate() {
        let (packets, bursts) = (measured.polls.packets.value(), measured.polls.bursts.value());
        line!(
            text,
            "{name}_sum{{worker=\"{worker}\"}} {packets}\n{name}_count{{worker=\"{worker}\"}} {bursts}"
        );
    }
    text.push('\n');
}

fn updates(text: &mut String, stats: &Stats) {
    head(text, UPDATE);
    let name = UPDATE.name;
    let buckets = stats.update_latency.buckets();
    let mut count = 0;
    for (bound, held) in LATENCY_BOUNDS_US.iter().zip(buckets) {
        count += held;
        line!(text, "{name}_bucket{{le=\"{}\"}} {count}", *bound as f64 / 1e6);
    }
    count += buckets.last().copied().unwrap_or(0);
    let sum = stats.update_latency.sum_us() as f64 / 1e6;
    line!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
}
