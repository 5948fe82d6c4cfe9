//! Replay: the pipeline on capture files, with the configuration, tables and stages of a node but without devices.
//!
//! Packets of all inputs are merged by time. Rate limits use the clock of the captures. Nobody answers Neighbour
//! Discovery: a packet that would wait for a neighbour is dropped as `neighbour_unresolved`, so that the configuration
//! has to list neighbours under `neighbours.static`. Tenants join groups by their reports in the captures; the replay
//! sends no queries.

pub mod capture;

use super::membership::{Effect, Memberships};
use super::rib::Rib;
use crate::api::views::DropView;
use crate::config::{Config, HEADROOM_BYTES};
use crate::mapping::{Batch, Change, MappingRecord, Origin};
use crate::net::Mac;
use crate::path::count::Count;
use crate::path::networks::NetworkCounters;
use crate::path::violations::TenantCounts;
use crate::path::{
    Account, Arrival, BURST, Counters, Ctx, DropReason, Fates, Limiter, NetworkTally, Outcome, Packet,
    Pipeline, Policer, Verdict,
};
use crate::table::{NetworkId, PortId, Tables};
use arrayvec::ArrayVec;
use capture::Frame;
use crossbeam_utils::CachePadded;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;

/// The latest time of a replay, in milliseconds since 1970 (in the year 2262). Later frames count as of then, so that
/// limits and timers have room behind them.
const MAX_TIME_MS: u64 = i64::MAX as u64 / 1_000_000;

/// The counts of one port.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PortReport {
    /// Name of the port.
    pub port: String,
    /// Packets read for it.
    pub received: u64,
    /// Packets, among those received, that the capture truncated.
    pub cut: u64,
    /// Packets forwarded.
    pub forwarded: u64,
    /// Packets answered.
    pub replied: u64,
    /// Packets punted. A replay has no control thread; it only processes group reports of tenants.
    pub punted: u64,
    /// Packets dropped without an ICMP error.
    pub dropped: u64,
    /// Additional frames: copies for group members, and fragments after the first.
    pub copied: u64,
    /// Packets written for this port.
    pub sent: u64,
    /// Its losses by reason; reasons without losses are left out.
    pub drops: Vec<DropView>,
}

/// The counts of all ports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// By port, in the configuration's order.
    pub ports: Vec<PortReport>,
    /// Losses by reason over all ports; reasons without losses are left out.
    pub drops: Vec<DropView>,
}

/// A node without devices.
pub struct Replay {
    config: Config,
    rib: Rib,
    tables: Tables,
    memberships: Memberships,
    pipeline: Pipeline,
    counters: Vec<CachePadded<Counters>>,
    networks: NetworkTally,
    cut: Vec<u64>,
    /// Frames that each port sent, with their time in nanoseconds.
    sent: Vec<Vec<(u64, Vec<u8>)>>,
    now_ms: u64,
}

/// The MAC address of a port in a replay: the configured one, or one derived from the port's index.
#[must_use]
pub fn mac_of(config: &Config, port: usize) -> Mac {
    let made = Mac([2, 0, 0, 0, 0, port as u8 + 1]);
    config.ports.get(port).and_then(|port| port.mac).unwrap_or(made)
}

impl Replay {
    /// A replay with this configuration and these mappings of other nodes.
    ///
    /// # Errors
    /// [`Refusal`](crate::mapping::Refusal) of the first mapping that contradicts the configuration or another mapping.
    pub fn new(config: Config, mappings: Vec<MappingRecord>) -> Result<Replay, crate::mapping::Refusal> {
        let macs: Vec<Mac> = (0..config.ports.len()).map(|port| mac_of(&config, port)).collect();
        // The replay has one pipeline. It gets the whole rate limits, which workers otherwise share.
        let mut alone = config.clone();
        alone.dpdk.workers.truncate(1);
        let mut rib = Rib::new(&alone, &macs, 0);
        let changes = mappings.into_iter().map(Change::Upsert).collect();
        rib.apply(Batch { origin: Origin::File, changes, complete: true })?;
        let ports = config.ports.len();
        Ok(Replay {
            tables: rib.compile(),
            pipeline: Pipeline::new(Limiter::new(config.icmp.errors_per_second, config.icmp.burst))
                .with_policer(Policer::new(TenantCounts::of(config.attachments.len()))),
            memberships: Memberships::new(&config),
            rib,
            counters: Counters::per_port(ports),
            networks: NetworkTally::new(config.counted_networks()),
            cut: vec![0; ports],
            sent: vec![Vec::new(); ports],
            now_ms: 0,
            config,
        })
    }

    /// The same replay without the fast path: every packet passes the stages. Tests compare the two.
    #[must_use]
    pub fn without_fast_path(mut self) -> Replay {
        self.pipeline = self.pipeline.without_fast_path();
        self
    }

    /// Runs frames of several ports through the pipeline, merged by time. Frames of one port keep their order.
    pub fn run(&mut self, inputs: Vec<(u16, Vec<Frame>)>) {
        let mut queues: Vec<(u16, VecDeque<Frame>)> =
            inputs.into_iter().map(|(port, frames)| (port, frames.into())).collect();
        loop {
            let heads = queues.iter().enumerate();
            let times = heads.filter_map(|(n, (_, queue))| Some((queue.front()?.time_ns, n)));
            let Some((_, first)) = times.min() else { return };
            let others = queues.iter().enumerate().filter(|(n, _)| *n != first);
            let limit = others.filter_map(|(_, (_, queue))| queue.front().map(|frame| frame.time_ns)).min();
            let (port, queue) = &mut queues[first];
            let mut burst: ArrayVec<Frame, BURST> = ArrayVec::new();
            let mut now_ms = self.now_ms;
            // All frames of a burst have the same time in milliseconds. No frame overtakes an earlier one of another
            // input.
            while let Some(frame) = queue.front() {
                let at_ms = (frame.time_ns / 1_000_000).clamp(self.now_ms, MAX_TIME_MS);
                let overtakes = limit.is_some_and(|limit| frame.time_ns > limit);
                if burst.is_full() || !burst.is_empty() && (at_ms != now_ms || overtakes) {
                    break;
                }
                now_ms = at_ms;
                burst.extend(queue.pop_front());
            }
            self.now_ms = now_ms;
            let port = *port;
            self.burst(port, &burst);
        }
    }

    fn burst(&mut self, port: u16, frames: &[Frame]) {
        let mut effects = Vec::new();
        self.memberships.tick(self.now_ms, &mut effects);
        self.tend_groups(effects.drain(..));
        let Some(counters) = self.counters.get(usize::from(port)) else { return };
        let headroom = HEADROOM_BYTES as usize;
        let data = usize::from(self.config.mbufs.data_bytes);
        let mut rooms: ArrayVec<Vec<u8>, BURST> = frames
            .iter()
            .map(|frame| {
                let mut room = vec![0; data.max(headroom + frame.bytes.len())];
                room[headroom..headroom + frame.bytes.len()].copy_from_slice(&frame.bytes);
                room
            })
            .collect();
        let mut burst: ArrayVec<Packet<'_>, BURST> = rooms
            .iter_mut()
            .zip(frames)
            .map(|(room, frame)| {
                let end = u16::try_from(headroom + frame.bytes.len()).unwrap_or(u16::MAX);
                Packet::new(room, headroom as u16, end, PortId(port))
            })
            .collect();
        let arrival = Arrival::Received {
            packets: burst.len(),
            bytes: burst.iter().map(|packet| packet.len() as u64).sum(),
        };
        self.pipeline.run(&mut burst, &Ctx { tables: &self.tables, now_ms: self.now_ms });
        for (n, packet) in burst.iter_mut().enumerate() {
            let meta = self.pipeline.metas().get(n);
            match packet.verdict {
                // An ICMP error that waits for a neighbour is not sent here. Its packet counts as dropped for the
                // reason of the error.
                Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
                    let reason = meta.and_then(|meta| meta.answered);
                    packet.verdict = Verdict::Drop(reason.unwrap_or(DropReason::NeighbourUnresolved));
                }
                // Nobody moves in a replay.
                Verdict::Hold(_) => packet.verdict = Verdict::Drop(DropReason::HoldExpired),
                Verdict::Forward(to) | Verdict::Reply(to) => match self.sent.get_mut(usize::from(to.0)) {
                    Some(sent) => sent.push((frames[n].time_ns, packet.frame().to_vec())),
                    None => packet.verdict = Verdict::Drop(DropReason::NoPort),
                },
                Verdict::Punt => {
                    self.memberships.receive(PortId(port), packet.frame(), self.now_ms, &mut effects);
                }
                Verdict::Continue | Verdict::Drop(_) => {}
            }
        }
        // A replay has no control thread that would take the notices.
        let _ = self.pipeline.take_notices();
        let _ = self.pipeline.take_misses();
        let outcomes: ArrayVec<Outcome, BURST> = burst.iter().map(Outcome::from).collect();
        let account = Account { counters, networks: &self.networks };
        self.pipeline.account(arrival, Fates::Each(&outcomes), account, &self.tables, |copy| {
            let sent = self.sent.get_mut(usize::from(copy.port.0));
            sent.zip(frames.get(copy.of))
                .map(|(sent, of)| sent.push((of.time_ns, copy.frame.to_vec())))
                .is_some()
        });
        self.cut[usize::from(port)] += frames.iter().filter(|frame| frame.cut).count() as u64;
        self.tend_groups(effects);
    }

    /// Applies joins and leaves of tenants. They take effect from the next burst on.
    fn tend_groups(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Joined(place, group) => self.rib.set_member(place, group, true),
                Effect::Left(place, group) => self.rib.set_member(place, group, false),
                // A query would reach nobody.
                Effect::Query(_) => {}
            }
        }
        if self.rib.needs_snapshot() {
            self.tables = self.rib.compile();
            self.rib.release();
        }
    }

    /// The frames that each port sent, in the configuration's order of ports: time in nanoseconds, and the frame.
    #[must_use]
    pub fn sent(&self) -> &[Vec<(u64, Vec<u8>)>] {
        &self.sent
    }

    /// The counters of packets received, by port.
    #[must_use]
    pub fn counters(&self) -> &[CachePadded<Counters>] {
        &self.counters
    }

    /// The counters of the tenants' packets of one network; `place` is its index in the configuration.
    #[must_use]
    pub fn network(&self, place: u16) -> Option<&NetworkCounters> {
        self.networks.slot(self.tables.networks.get(NetworkId(place))?.slot)
    }

    /// The counts so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let ports = self.config.ports.iter().enumerate().map(|(n, port)| {
            let counted = &self.counters[n];
            PortReport {
                port: port.name.clone(),
                received: counted.received.value(),
                cut: self.cut[n],
                forwarded: counted.forwarded.value(),
                replied: counted.replied.value(),
                punted: counted.punted.value(),
                dropped: counted.dropped_total(),
                copied: counted.copied.value(),
                sent: self.sent[n].len() as u64,
                drops: losses(std::slice::from_ref(counted)),
            }
        });
        Report { ports: ports.collect(), drops: losses(&self.counters) }
    }
}

/// Losses by reason, summed over these counters; reasons without losses are left out.
fn losses(counters: &[CachePadded<Counters>]) -> Vec<DropView> {
    let views = DropReason::ALL.iter().map(|reason| {
        let sum = |of: fn(&Counters) -> &[Count]| {
            counters.iter().map(|counters| of(counters)[*reason as usize].value()).sum()
        };
        DropView {
            reason: reason.label().to_owned(),
            sentence: reason.sentence().to_owned(),
            dropped: sum(|counters| &counters.dropped),
            answered: sum(|counters| &counters.answered),
            lost_copies: sum(|counters| &counters.copies_lost),
        }
    });
    views.filter(|view| view.dropped + view.answered + view.lost_copies > 0).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.ports.iter().map(|port| port.port.len()).max().unwrap_or(0).max(4);
        writeln!(
            f,
            "{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "port", "received", "forwarded", "replied", "punted", "dropped", "copied", "sent"
        )?;
        for port in &self.ports {
            writeln!(
                f,
                "{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
                port.port,
                port.received,
                port.forwarded,
                port.replied,
                port.punted,
                port.dropped,
                port.copied,
                port.sent
            )?;
        }
        for port in self.ports.iter().filter(|port| port.cut > 0) {
            writeln!(f, "{}: {} of its packets were cut short by the capture", port.port, port.cut)?;
        }
        if !self.drops.is_empty() {
            let width = self.drops.iter().map(|drop| drop.reason.len()).max().unwrap_or(0);
            writeln!(f, "\n{:width$} {:>9} {:>9} {:>9}", "reason", "dropped", "answered", "copies")?;
            for drop in &self.drops {
                let DropView { reason, sentence, dropped, answered, lost_copies } = drop;
                writeln!(f, "{reason:width$} {dropped:>9} {answered:>9} {lost_copies:>9}  {sentence}")?;
            }
        }
        Ok(())
    }
}
