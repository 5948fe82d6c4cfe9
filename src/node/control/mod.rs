//! The control thread: the only writer of everything that workers read.
//!
//! It hears requests, the mapping file, signals, and what workers hand over; it looks around every few milliseconds,
//! runs the neighbour state machines, watches links, and publishes snapshots. It never waits for a worker for longer
//! than a fraction of a millisecond at a time.

mod discovery;
mod groups;
mod reload;
mod tenancy;
mod tenants;
mod updates;
pub(super) mod views;

use super::exchange::{Exchange, Frame, Settings};
use super::handle::{ControlHandle, ReloadView, Request};
use super::membership::{self, Memberships};
use super::neighbour::{Effect, Neighbours};
use super::rib::Rib;
use super::source;
use super::stats::{DeviceCounters, Stats};
use super::watch::{self, News, Watch};
use crate::config::{Amendment, Config, LogLevel, MappingRecord};
use crate::net::Mac;
use crate::table::rcu::{Publisher, Reader};
use crate::table::{PortId, Tables};
use discovery::LinkSeen;
use reload::Loaded;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tenants::QuarantineStates;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as watched};
use updates::Updates;

/// Frames that wait for room at a worker, at most: one of each kind for every VLAN of several ports.
const OUTBOX: usize = 32_768;
/// Requests that wait, at most.
const REQUESTS: usize = 1024;
/// Longest time between two looks around.
const LOOK: Duration = Duration::from_millis(10);
/// The same while something is under way.
const LOOK_BUSY: Duration = Duration::from_millis(1);
/// Longest time that saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// Time between two counts for the census.
const CENSUS_MS: u64 = 1_000;

/// What the control thread asks of the devices.
pub trait Devices {
    /// Whether the link of a port is up, and its speed in Mbit/s (0: unknown).
    fn link(&self, port: PortId) -> (bool, u32);
    /// The device's counters.
    fn counters(&self, port: PortId) -> DeviceCounters;
    /// The driver's own counters.
    fn xstats(&self, port: PortId) -> Vec<(String, u64)>;
    /// `active`, or why receive side scaling is not.
    fn rss(&self, port: PortId) -> String;
    /// Mbufs in use, and in all.
    fn mbufs(&self) -> (u64, u64);
}

/// What the control thread begins with.
pub struct Start {
    /// Where the configuration came from.
    pub path: PathBuf,
    /// The configuration.
    pub config: Arc<Config>,
    /// MAC addresses of the ports.
    pub macs: Vec<Mac>,
    /// Mappings of the mapping file, if there is one, and the state it was read in.
    pub mappings: Option<(Vec<MappingRecord>, Option<watch::Fingerprint>)>,
    /// Where to count.
    pub stats: Arc<Stats>,
    /// The queues to and from each worker.
    pub exchanges: Vec<Arc<Exchange>>,
    /// The devices.
    pub devices: Box<dyn Devices>,
    /// Changes the level of the log.
    pub set_level: Box<dyn Fn(LogLevel)>,
    /// Seed of the table positions.
    pub seed: u64,
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The mapping file breaks a rule together with the configuration.
    #[error("mappings are refused: {0}")]
    Mappings(#[from] super::source::Refusal),
    /// The operating system refuses something.
    #[error("cannot {0}: {1}")]
    System(&'static str, std::io::Error),
}

/// Why the control thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Asked,
    /// A worker came to its end without being told to.
    WorkerLost(usize),
}

/// The signals that the control thread listens to, from the moment that this is made.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// The operating system refuses signal handlers.
    pub fn listen() -> Result<Self, ControlError> {
        let on = |kind| signal(kind).map_err(|why| ControlError::System("handle signals", why));
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }
}

/// What comes from threads that read files for the control thread.
enum Event {
    /// Of the watch with this number.
    Mappings(u64, News),
    Loaded(Result<Box<Loaded>, String>, Option<oneshot::Sender<Result<ReloadView, String>>>),
}

/// The control thread's state.
pub struct Control {
    path: PathBuf,
    /// What the file says.
    file: Arc<Config>,
    /// What operators added to it.
    amendments: Vec<Amendment>,
    /// Both together: what is in force.
    config: Arc<Config>,
    config_told: watched::Sender<Arc<Config>>,
    rib: Rib,
    publisher: Publisher<Tables>,
    neighbours: Neighbours,
    effects: Vec<Effect>,
    memberships: Memberships,
    group_effects: Vec<membership::Effect>,
    groups_due_ms: u64,
    outbox: VecDeque<Frame>,
    updates: Updates,
    quarantine_states: QuarantineStates,
    links: Vec<LinkSeen>,
    links_due_ms: u64,
    census_due_ms: u64,
    stats: Arc<Stats>,
    exchanges: Vec<Arc<Exchange>>,
    devices: Box<dyn Devices>,
    set_level: Box<dyn Fn(LogLevel)>,
    watch: Option<Watch>,
    watch_number: u64,
    reloading: bool,
    /// A signal came while a reload was under way: it may have read what was old by then.
    reload_again: bool,
    handle: ControlHandle,
    requests: mpsc::Receiver<Request>,
    tell: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Control {
    /// Builds the first snapshot.
    ///
    /// # Errors
    /// Mappings that break a rule, or no thread to watch their file.
    pub fn new(start: Start) -> Result<Self, ControlError> {
        let Start { path, config, macs, mappings, stats, exchanges, devices, set_level, seed } = start;
        let mut rib = Rib::new(&config, &macs, seed);
        let (records, seen) = mappings.map_or((None, None), |(records, seen)| (Some(records), seen));
        if let Some(records) = records {
            rib.apply(updates::whole_file(records))?;
        }
        let (handle, requests) = ControlHandle::pair(REQUESTS);
        let (tell, events) = mpsc::unbounded_channel();
        let mut control = Control {
            neighbours: Neighbours::new(config.neighbour_discovery),
            publisher: Publisher::new(Tables::default()),
            config_told: watched::Sender::new(config.clone()),
            links: config.ports.iter().map(|_| LinkSeen::default()).collect(),
            memberships: Memberships::new(&config),
            group_effects: Vec::new(),
            groups_due_ms: 0,
            path,
            file: config.clone(),
            amendments: Vec::new(),
            config,
            rib,
            effects: Vec::new(),
            outbox: VecDeque::new(),
            updates: Updates::default(),
            quarantine_states: QuarantineStates::default(),
            links_due_ms: 0,
            census_due_ms: 0,
            stats,
            exchanges,
            devices,
            set_level,
            watch: None,
            watch_number: 0,
            reloading: false,
            reload_again: false,
            handle,
            requests,
            tell,
            events,
        };
        control.first_links();
        control.publisher = Publisher::new(control.rib.compile());
        control.configure_neighbours();
        control.apply_effects();
        control.empty_outbox();
        control.publish();
        control.watch_mappings(seen)?;
        Ok(control)
    }

    /// A way to send requests.
    #[must_use]
    pub fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }

    /// The configuration in force, now and later.
    #[must_use]
    pub fn config(&self) -> watched::Receiver<Arc<Config>> {
        self.config_told.subscribe()
    }

    /// The snapshots, for one worker.
    pub fn reader(&mut self) -> Reader<Tables> {
        self.publisher.reader()
    }

    /// Works until it is asked to stop by a request or a signal, or a worker is lost.
    pub async fn run(&mut self, mut signals: Signals) -> Ended {
        loop {
            if let Some(lost) = self.exchanges.iter().position(|exchange| exchange.stopped()) {
                return Ended::WorkerLost(lost);
            }
            let idle = self.updates.is_idle() && self.outbox.is_empty();
            let pause = if idle { LOOK } else { LOOK_BUSY };
            tokio::select! {
                _ = signals.terminate.recv() => return Ended::Asked,
                _ = signals.interrupt.recv() => return Ended::Asked,
                _ = signals.hang_up.recv() => self.begin_reload(None),
                Some(event) = self.events.recv() => self.hear(event),
                Some(request) = self.requests.recv() => {
                    if !self.take_requests(request) {
                        return Ended::Asked;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.turn(self.now_ms());
        }
    }

    /// Says goodbye before the workers stop, and waits a moment until they have sent that.
    pub async fn say_goodbye(&mut self) {
        self.stop_advertising(|_| true);
        let began = Instant::now();
        while began.elapsed() < GOODBYE && !self.exchanges.iter().any(|exchange| exchange.stopped()) {
            self.empty_outbox();
            if self.outbox.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_BUSY).await;
        }
    }

    /// One request and those that wait behind it; `false`: stop.
    fn take_requests(&mut self, first: Request) -> bool {
        let mut next = Some(first);
        for _ in 0..REQUESTS {
            match next {
                Some(Request::Stop) => return false,
                Some(request) => self.answer(request),
                None => break,
            }
            next = self.requests.try_recv().ok();
        }
        match next {
            Some(Request::Stop) => return false,
            Some(request) => self.answer(request),
            None => {}
        }
        true
    }

    fn answer(&mut self, request: Request) {
        // Who no longer waits for the answer does not get it.
        match request {
            Request::Apply(batch, answer) => self.accept(batch, answer),
            Request::MappingGet(sir, answer) => drop(answer.send(self.rib.mapping_get(sir))),
            Request::MappingList(filter, answer) => drop(answer.send(self.rib.mappings(&filter))),
            Request::Node(answer) => drop(answer.send(self.node_view())),
            Request::Reload(answer) => self.begin_reload(Some(answer)),
            Request::Ports(xstats, answer) => drop(answer.send(self.port_views(xstats))),
            Request::Neighbours(answer) => drop(answer.send(self.neighbour_views())),
            Request::Routes(answer) => drop(answer.send(self.rib.routes_view())),
            Request::Drops(answer) => drop(answer.send(self.drop_views())),
            Request::Networks(answer) => drop(answer.send(self.network_views())),
            Request::Network(name, answer) => drop(answer.send(self.network_detail(&name))),
            Request::Attachments(answer) => drop(answer.send(self.attachment_views())),
            Request::Groups(answer) => drop(answer.send(self.group_views())),
            Request::Policies(answer) => drop(answer.send(self.policy_views())),
            Request::Peers(network, answer) => drop(answer.send(self.peer_views(network.as_deref()))),
            Request::Amend(amend, answer) => self.accept_amend(amend, answer),
            Request::Events(after, answer) => drop(answer.send(source::follow(&self.stats.events, after))),
            Request::Stop => {}
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            // A watch that a reload replaced may know less than the reload.
            Event::Mappings(number, _) if number != self.watch_number => {}
            Event::Mappings(_, Ok(records)) => self.accept_file(records),
            Event::Mappings(_, Err(errors)) => {
                for error in errors.errors() {
                    tracing::error!(%error, "mapping file is refused, the mappings before it stay");
                }
            }
            Event::Loaded(loaded, answer) => self.end_reload(loaded, answer),
        }
    }

    /// Looks around once.
    fn turn(&mut self, now_ms: u64) {
        self.hear_workers(now_ms);
        self.neighbours.tick(now_ms, &mut self.effects);
        if now_ms >= self.links_due_ms {
            self.look_at_links(now_ms);
        }
        self.advertise(now_ms);
        self.tend_groups(now_ms);
        self.apply_effects();
        self.look_at_tenants(now_ms);
        self.empty_outbox();
        self.advance();
        if now_ms >= self.census_due_ms {
            self.census_due_ms = now_ms + CENSUS_MS;
            self.take_census();
        }
    }

    fn now_ms(&self) -> u64 {
        self.stats.started.elapsed().as_millis() as u64
    }

    /// Sends a frame, after those that wait.
    fn send(&mut self, frame: Frame) {
        if self.outbox.len() < OUTBOX {
            self.outbox.push_back(frame);
        } else {
            self.stats.originated_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands frames to the first worker, as many as it has room for.
    fn empty_outbox(&mut self) {
        let Some(exchange) = self.exchanges.first() else { return };
        while let Some(frame) = self.outbox.pop_front() {
            if let Err(frame) = exchange.to_send.push(frame) {
                return self.outbox.push_front(frame);
            }
        }
    }

    /// Publishes what the state looks like now.
    fn publish(&mut self) {
        let began = Instant::now();
        self.publisher.publish(self.rib.compile());
        self.updates.published();
        self.stats.snapshots_published.fetch_add(1, Ordering::Relaxed);
        let number = self.publisher.number();
        tracing::debug!(number, took_us = began.elapsed().as_micros() as u64, "snapshot published");
    }
}

/// What of the configuration one of `workers` workers takes over while it runs.
#[must_use]
pub fn settings(config: &Config, workers: usize) -> Settings {
    let share = |all: u32| all.div_ceil(workers.max(1) as u32);
    Settings {
        errors_per_second: share(config.icmp.errors_per_second),
        errors_burst: share(config.icmp.burst),
        hold_packets: config.neighbour_discovery.hold_packets,
        hold_timeout_ms: HOLD_BEYOND_MS
            + u64::from(config.neighbour_discovery.retransmit_ms)
                * u64::from(config.neighbour_discovery.probes),
    }
}

/// How much longer packets wait than a neighbour has to answer: for the news to come round.
const HOLD_BEYOND_MS: u64 = 2_000;

#[cfg(test)]
mod tests;
