//! Renders the node's statistics in Prometheus' text format, anew for every scrape.
//!
//! A scrape only reads [`Stats`]: it never asks the control thread and never writes to memory of a worker. Every
//! counter is exported from the start, with 0. Losses by reason are summed over workers, so that ports times reasons
//! bounds the number of series.

mod families;

pub use crate::telemetry::{Family, Kind};
pub use families::FAMILIES;

use super::neighbour::State;
use super::stats::{Census, Histogram, LATENCY_BOUNDS_US, Stats};
use crate::path::Counters;
use crate::path::count::Count;
use crate::path::networks::NetworkCounters;
use crate::path::verdict::DropReason;
use crate::path::violations::Violation;
use crate::table::PortId;
use crate::telemetry::{Scrape, histogram};
use families::*;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Renders the statistics as text, format version 0.0.4.
#[must_use]
pub fn render(stats: &Stats) -> String {
    let census = stats.census();
    let scrape = Values(Scrape::of(FAMILIES));
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
    let mut text = scrape.0.render();
    bursts(&mut text, stats);
    latency(&mut text, UPDATE, &stats.update_latency);
    latency(&mut text, NVA_APPLY, &stats.nva.apply_latency);
    text
}

/// The values of the node, into one scrape.
struct Values(Scrape);

impl Values {
    fn count(&self, family: Family, labels: &[(&'static str, &str)], value: u64) {
        self.0.count(family, labels, value);
    }

    fn set(&self, family: Family, labels: &[(&'static str, &str)], value: f64) {
        self.0.set(family, labels, value);
    }

    fn node(&self, stats: &Stats, census: &Census) {
        let count = |family, value: &std::sync::atomic::AtomicU64| {
            self.count(family, &[], value.load(Ordering::Relaxed));
        };
        self.set(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION")), ("node", &stats.node)], 1.0);
        let started = SystemTime::now().checked_sub(stats.started.elapsed());
        let started = started.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.set(START_TIME, &[], started.unwrap_or_default().as_secs_f64());
        count(LOG_LOST, &stats.log_lines_lost);
        self.set(CONTROL_SILENCE, &[], stats.control_silence().as_secs_f64());
        count(ORIGINATED_LOST, &stats.originated_lost);
        count(SNAPSHOTS, &stats.snapshots_published);
        let gauge = |family, labels: &[(&'static str, &str)], value: &std::sync::atomic::AtomicU64| {
            self.set(family, labels, value.load(Ordering::Relaxed) as f64);
        };
        gauge(NVA_SESSION, &[], &stats.nva.live);
        gauge(NVA_REVISION, &[], &stats.nva.applied);
        gauge(NVA_LAG, &[], &stats.nva.lag);
        count(NVA_SNAPSHOTS, &stats.nva.snapshots);
        gauge(NVA_REGISTRATIONS, &[("state", "registered")], &stats.nva.registered);
        gauge(NVA_REGISTRATIONS, &[("state", "refused")], &stats.nva.refused);
        gauge(NVA_OBJECTS, &[("state", "in_force")], &stats.nva.objects_in_force);
        gauge(NVA_OBJECTS, &[("state", "refused")], &stats.nva.objects_refused);
        count(NVA_LEFT_OUT, &stats.nva.left_out);
        count(NVA_DIGESTS, &stats.nva.digests);
        for (what, drifted) in
            [("mappings", &stats.nva.drifted_parts), ("objects", &stats.nva.drifted_objects)]
        {
            self.count(NVA_DRIFT, &[("what", what)], drifted.load(Ordering::Relaxed));
        }
        gauge(NVA_STALE, &[], &stats.nva.stale_s);
        gauge(NVA_GRACE_OVER, &[], &stats.nva.grace_over);
        gauge(NVA_UNREAD_REVOCATIONS, &[], &stats.nva.unread_revocations);
        count(NVA_STATE_FAILURES, &stats.nva.state_failures);
        gauge(NVA_CACHED, &[], &stats.nva.cached);
        count(NVA_QUERIED, &stats.nva.asked);
        count(NVA_NEGATIVE, &stats.nva.negative);
        count(NVA_REFRESHED, &stats.nva.refreshed);
        count(NVA_REDIRECTED, &stats.nva.redirected);
        count(NVA_TRIANGULAR, &stats.nva.triangular);
        count(NVA_SOUGHT_MACS, &stats.nva.sought_macs);
        count(NVA_FOUND_MACS, &stats.nva.found_macs);
        for (result, asked) in
            [("allocated", &stats.nva.allocated_addresses), ("refused", &stats.nva.refused_addresses)]
        {
            self.count(NVA_ADDRESSES, &[("result", result)], asked.load(Ordering::Relaxed));
        }
        for (reason, by) in [
            ("suppressed", [&stats.nva.suppressed, &stats.nva.suppressed_by_workers]),
            ("lost", [&stats.nva.lost, &stats.nva.lost_by_workers]),
        ] {
            let all = by.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            self.count(NVA_UNASKED, &[("reason", reason)], all);
        }
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
        self.count(UPDATES, &[("result", "withheld")], stats.updates_withheld.load(Ordering::Relaxed));
        self.set(WITHHELD, &[], census.deletions_withheld as f64);
        count(SHADOWED, &stats.mappings_shadowed);
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
        for (done, count) in [
            ("tunnelled", &counters.tunnelled),
            ("retranslated", &counters.retranslated),
            ("held", &counters.held),
            ("decapsulated", &counters.decapsulated),
        ] {
            let labels = [("worker", worker), ("port", port), ("done", done)];
            self.count(MOVES_PACKETS, &labels, count.value());
        }
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
        self.count(UNFINISHED, &[("port", port)], stats.unfinished(id));
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
        self.set(PORT_IMPAIRED, &labels, if counted.problem.is_empty() { 0.0 } else { 1.0 });
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

/// Packets of each burst as a summary: the mean is the sum divided by the count.
fn bursts(text: &mut String, stats: &Stats) {
    let Family { name, help, .. } = BURST;
    line!(text, "# HELP {name} {help}\n# TYPE {name} summary");
    for (worker, measured) in stats.workers.iter().enumerate() {
        let (packets, bursts) = (measured.polls.packets.value(), measured.polls.bursts.value());
        line!(
            text,
            "{name}_sum{{worker=\"{worker}\"}} {packets}\n{name}_count{{worker=\"{worker}\"}} {bursts}"
        );
    }
    text.push('\n');
}

fn latency(text: &mut String, family: Family, latency: &Histogram) {
    let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
    text.push_str(&histogram(family, bounds, &latency.buckets(), latency.sum_us() as f64 / 1e6));
}
