//! What operators see, and the census for metrics.

use super::Control;
use crate::api::views::{DropView, FateView, NeighbourView, NodeView, PortView, WorkerView};
use crate::config::Role;
use crate::node::stats::{Census, PortCensus, WorkerStats};
use crate::path::{Counters, DropReason};
use crate::table::PortId;
use std::net::Ipv6Addr;

impl Control {
    pub(super) fn node_view(&self) -> NodeView {
        let (mbufs_in_use, mbufs) = self.devices.mbufs();
        let originated = self.stats.workers.iter().flat_map(|worker| &worker.sent);
        NodeView {
            name: self.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.now_ms() / 1000,
            revision: self.rib.revision(),
            snapshot: self.publisher.number(),
            last_update_us: self.updates.last_us,
            config: self.path.display().to_string(),
            tables: self.rib.tables_view(),
            workers: self
                .stats
                .workers
                .iter()
                .enumerate()
                .map(|(n, worker)| worker_view(n, worker))
                .collect(),
            originated: originated.map(|sent| sent.originated.value()).sum(),
            mbufs_in_use,
            mbufs,
            warnings: self.warnings(),
            authority: self.config.nva.as_ref().map(|_| self.stats.nva.view()),
        }
    }

    pub(super) fn port_views(&self, xstats: bool) -> Vec<PortView> {
        let current = self.publisher.current();
        let view = |(n, config): (usize, &crate::config::Port)| {
            let id = PortId(n as u16);
            let facts = current.ports.get(n);
            let link = self.links.get(n).cloned().unwrap_or_default();
            let mut counters = FateView::default();
            self.stats.received(id).for_each(|received| add(&mut counters, received));
            let sum =
                |what: fn(&crate::node::stats::SentCounters) -> u64| self.stats.sent(id).map(what).sum();
            PortView {
                name: config.name.clone(),
                device: config.device.clone(),
                role: role_name(config.role).to_owned(),
                mac: facts.map(|facts| facts.mac).unwrap_or_default().to_string(),
                mtu: config.mtu,
                up: link.up,
                speed_mbps: link.speed_mbps,
                problem: link.problem,
                queues: config.queues,
                rss: self.devices.rss(id),
                addresses: config
                    .addresses
                    .iter()
                    .map(|own| format!("{}/{}", Ipv6Addr::from(own.address), own.prefix.length()))
                    .collect(),
                link_local: Ipv6Addr::from(facts.map_or(0, |facts| facts.link_local)),
                counters,
                sent: sum(|sent| sent.sent.value()),
                unsent: sum(|sent| sent.unsent.value()),
                sent_bytes: sum(|sent| sent.sent_bytes.value()),
                xstats: if xstats { self.devices.xstats(id) } else { Vec::new() },
            }
        };
        self.config.ports.iter().enumerate().map(view).collect()
    }

    pub(super) fn neighbour_views(&self) -> Vec<NeighbourView> {
        let now = self.now_ms();
        let mut all: Vec<_> = self.rib.neighbours().iter().collect();
        all.sort_unstable_by_key(|(key, _)| **key);
        let view = |(key, neighbour): (&crate::node::neighbour::Key, &crate::node::neighbour::Neighbour)| {
            NeighbourView {
                port: self.port_name(key.port).to_owned(),
                address: Ipv6Addr::from(key.address),
                mac: neighbour.mac.map(|mac| mac.to_string()),
                state: neighbour.state.label().to_owned(),
                age_ms: now.saturating_sub(neighbour.since_ms),
                next_hop: neighbour.next_hop,
            }
        };
        all.into_iter().map(view).collect()
    }

    pub(super) fn drop_views(&self) -> Vec<DropView> {
        let all = || self.stats.workers.iter().flat_map(|worker| &worker.received);
        let view = |&reason: &DropReason| DropView {
            reason: reason.label().to_owned(),
            sentence: reason.sentence().to_owned(),
            dropped: all().map(|counters| counters.dropped[reason as usize].value()).sum(),
            answered: all().map(|counters| counters.answered[reason as usize].value()).sum(),
            lost_copies: all().map(|counters| counters.copies_lost[reason as usize].value()).sum(),
        };
        DropReason::ALL.iter().map(view).collect()
    }

    pub(super) fn take_census(&mut self) {
        let (mbufs_in_use, mbufs) = self.devices.mbufs();
        let current = self.publisher.current();
        let port = |(n, link): (usize, &super::LinkSeen)| {
            let id = PortId(n as u16);
            PortCensus {
                mac: current.ports.get(n).map(|port| port.mac).unwrap_or_default(),
                up: link.up,
                problem: link.problem.clone(),
                speed_mbps: link.speed_mbps,
                rss: self.devices.rss(id),
                device: self.devices.counters(id),
                xstats: self.devices.xstats(id),
            }
        };
        let census = Census {
            revision: self.rib.revision(),
            snapshot: self.publisher.number(),
            snapshots_waiting: self.publisher.waiting() as u64,
            updates_pending: self.updates.len() as u64,
            deletions_withheld: self.file_status.withheld(),
            tables: self.rib.tables_view(),
            networks: self.network_census(),
            routes: current.routes.len() as u64,
            neighbours: self.rib.neighbours().count(),
            group_members: self.memberships.joined(),
            joins_refused: self.memberships.refused(),
            joins_unmappable: self.memberships.unmappable(),
            ports: self.links.iter().enumerate().map(port).collect(),
            mbufs_in_use,
            mbufs,
            last_update_us: self.updates.last_us,
        };
        self.effects.push(super::Effect::Census(Box::new(census)));
    }
}

/// The name of a role in output.
#[must_use]
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Fabric => "fabric",
        Role::External => "external",
        Role::Access => "access",
    }
}

fn worker_view(number: usize, worker: &WorkerStats) -> WorkerView {
    let polls = &worker.polls;
    let (bursts, empty, packets) = (polls.bursts.value(), polls.empty_polls.value(), polls.packets.value());
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let mut fates = FateView::default();
    worker.received.iter().for_each(|received| add(&mut fates, received));
    WorkerView {
        worker: number as u16,
        core: worker.core,
        bursts,
        empty_polls: empty,
        idle_ratio: 1.0 - share(bursts, bursts + empty),
        burst_fill: share(packets, bursts),
        snapshot: polls.snapshot.value(),
        fates,
    }
}

fn add(fates: &mut FateView, counters: &Counters) {
    fates.received += counters.received.value();
    fates.received_bytes += counters.received_bytes.value();
    fates.forwarded += counters.forwarded.value();
    fates.replied += counters.replied.value();
    fates.punted += counters.punted.value();
    fates.dropped += counters.dropped_total();
    fates.waiting += counters.waiting.value();
    fates.copied += counters.copied.value();
    fates.lost_copies += counters.copies_lost_total();
}
