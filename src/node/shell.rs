//! The shell around the control core: it owns the clock, signals, channels, devices and files, and feeds
//! [`Control`].
//!
//! It decides nothing. It gives the core what it learns, carries out the effects in their order, and waits
//! where the core must not: for requests, and for workers to take a snapshot, a fraction of a millisecond at
//! a time.

mod load;
mod parts;
mod requests;

use super::control::{
    Control, DeviceReport, Effect, ForAuthority, Input, LinkState, LoadOrder, Now, PortReport, Progress,
    Start, WatchOrder,
};
use super::exchange::{Exchange, SendQueue};
use super::handle::{ControlHandle, Request};
use super::stats::Stats;
use super::watch::{self, Watch};
use crate::config::{Config, LogLevel, RefusedEntry};
use crate::nva::model::Known;
use crate::table::rcu::Reader;
use crate::table::{PortId, Tables};
use requests::Waiters;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch as watched};

pub use load::load;
pub use parts::{ControlError, Devices, Ended, Parts, Signals};

/// Requests that wait, at most.
const REQUESTS: usize = 1024;
/// Longest time between two ticks.
const TICK: Duration = Duration::from_millis(10);
/// The same while updates or frames wait for workers.
const TICK_BUSY: Duration = Duration::from_millis(1);
/// Longest time that the final frames wait for a worker that takes none of them.
const FINAL_FRAMES: Duration = Duration::from_millis(500);
/// Time between two readings of the links.
const LINKS_MS: u64 = 200;
/// Time between two censuses.
const CENSUS_MS: u64 = 1_000;
/// How long, in all, one round may be spent on updates.
const UPDATES: Duration = Duration::from_millis(5);
/// Checks whether the workers have taken the snapshot, before the rest of the work comes first.
const READER_CHECKS: u32 = 8;
/// Time between two such checks.
const READER_CHECK: Duration = Duration::from_micros(50);

/// The control thread: the core, and everything around it.
pub struct Shell {
    control: Control,
    path: PathBuf,
    config: watched::Sender<Arc<Config>>,
    provisioned: watched::Sender<(Known, Vec<RefusedEntry>)>,
    for_authority: (mpsc::Sender<ForAuthority>, Option<mpsc::Receiver<ForAuthority>>),
    stats: Arc<Stats>,
    exchanges: Vec<Arc<Exchange>>,
    send_queue: SendQueue,
    devices: Box<dyn Devices>,
    links_due_ms: u64,
    census_due_ms: u64,
    set_level: Box<dyn Fn(LogLevel)>,
    watch: Option<Watch>,
    handle: ControlHandle,
    requests: mpsc::Receiver<Request>,
    waiters: Waiters,
    /// From threads that read files.
    files: mpsc::UnboundedReceiver<Input>,
    to_files: mpsc::UnboundedSender<Input>,
}

impl Shell {
    /// Builds the first snapshot, and begins to watch the mapping file.
    ///
    /// # Errors
    /// A mapping that breaks a rule, or no thread to watch the mapping file.
    pub fn new(parts: Parts) -> Result<Self, ControlError> {
        let (handle, requests) = ControlHandle::pair(REQUESTS);
        let (to_files, files) = mpsc::unbounded_channel();
        let (to_authority, for_authority) = mpsc::channel(REQUESTS);
        let for_authority = (to_authority, Some(for_authority));
        let began = Instant::now();
        let start = Start {
            path: parts.path.clone(),
            config: parts.config.clone(),
            provision: parts.provision,
            macs: parts.macs,
            links: links(parts.devices.as_ref(), parts.config.ports.len()),
            mappings: parts.mappings,
            learned: parts.learned,
            presences: parts.presences,
            stats: parts.stats.clone(),
            workers: parts.exchanges.len(),
            table_seed: parts.table_seed,
            timer_seed: parts.timer_seed,
        };
        let (control, effects) = Control::new(now(&parts.stats), start)?;
        let config = watched::Sender::new(control.config().clone());
        let mut shell = Shell {
            control,
            path: parts.path,
            config,
            provisioned: watched::Sender::default(),
            for_authority,
            stats: parts.stats,
            exchanges: parts.exchanges,
            send_queue: SendQueue::default(),
            devices: parts.devices,
            links_due_ms: 0,
            census_due_ms: 0,
            set_level: parts.set_level,
            watch: None,
            handle,
            requests,
            waiters: Waiters::default(),
            files,
            to_files,
        };
        for effect in effects {
            match effect {
                Effect::Watch(order) => shell.watch(order)?,
                effect => shell.carry_out(effect, began),
            }
        }
        shell.flush();
        Ok(shell)
    }

    /// A way to send requests.
    #[must_use]
    pub fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }

    /// The configuration in force, now and later.
    #[must_use]
    pub fn config(&self) -> watched::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// What of the wishes of operators is in force: the state of the registry that they show, and what is refused.
    #[must_use]
    pub fn provisioned(&self) -> watched::Receiver<(Known, Vec<RefusedEntry>)> {
        self.provisioned.subscribe()
    }

    /// What the client of the authority is to hear; for the first one who asks.
    pub fn for_authority(&mut self) -> mpsc::Receiver<ForAuthority> {
        self.for_authority.1.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// The snapshots, for one worker.
    pub fn reader(&mut self) -> Reader<Tables> {
        self.control.reader()
    }

    /// Works until a request or a signal asks it to stop, or a worker is lost.
    pub async fn run(&mut self, mut signals: Signals) -> Ended {
        loop {
            if let Some(lost) = self.exchanges.iter().position(|exchange| exchange.stopped()) {
                return Ended::WorkerLost(lost);
            }
            // What was held for who arrives waits for the next round.
            let idle = self.control.progress() == Progress::Idle
                && self.send_queue.is_empty()
                && !self.control.expects();
            let pause = if idle { TICK } else { TICK_BUSY };
            tokio::select! {
                _ = signals.terminate.recv() => return Ended::Asked,
                _ = signals.interrupt.recv() => return Ended::Asked,
                _ = signals.hang_up.recv() => self.input(Input::Reload),
                Some(input) = self.files.recv() => self.input(input),
                Some(request) = self.requests.recv() => {
                    if !self.take_requests(request) {
                        return Ended::Asked;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.round();
        }
    }

    /// Sends the final frames before the workers stop, and waits until the first worker has taken them, as long as it
    /// takes some every 0.5 s.
    pub async fn finish(&mut self) {
        self.stats.control.stop();
        self.input(Input::Stop);
        let (mut taken, mut left) = (Instant::now(), self.send_queue.len());
        while taken.elapsed() < FINAL_FRAMES && !self.exchanges.iter().any(|exchange| exchange.stopped()) {
            self.flush();
            if self.send_queue.is_empty() {
                return;
            }
            if self.send_queue.len() < left {
                (taken, left) = (Instant::now(), self.send_queue.len());
            }
            tokio::time::sleep(TICK_BUSY).await;
        }
        if left > 0 {
            tracing::warn!(frames = left, "the worker does not take the final frames, and they are lost");
        }
    }

    /// One request and those that wait behind it; `false`: stop.
    fn take_requests(&mut self, first: Request) -> bool {
        let (mut next, mut more) = (Some(first), REQUESTS);
        while let Some(request) = next {
            match request {
                Request::Stop => return false,
                request => self.take_request(request),
            }
            next = if more > 0 { self.requests.try_recv().ok() } else { None };
            more = more.saturating_sub(1);
        }
        true
    }

    fn take_request(&mut self, request: Request) {
        // Reading a driver's own counters takes long: only who wants them waits for that.
        match &request {
            Request::Node(_) => self.input(Input::Devices(self.report(|_, _| PortReport::default()))),
            Request::Ports(xstats, _) => {
                let xstats = *xstats;
                let report = self.report(|devices, id| PortReport {
                    rss: devices.rss(id),
                    xstats: if xstats { devices.xstats(id) } else { Vec::new() },
                    ..PortReport::default()
                });
                self.input(Input::Devices(report));
            }
            _ => {}
        }
        if let Some((id, request)) = self.waiters.register(request, &self.stats) {
            self.input(Input::Request(id, request));
        }
    }

    /// Everything that is due: what workers left, links, timers, updates, the census.
    fn round(&mut self) {
        let now = now(&self.stats);
        self.stats.control.beat(now.ms());
        self.collect_from_workers(now);
        if now.ms() >= self.links_due_ms {
            self.links_due_ms = now.ms() + LINKS_MS;
            self.devices.upkeep();
            let links = links(self.devices.as_ref(), self.stats.ports.len());
            self.input_at(now, Input::Links(links));
        }
        self.input_at(now, Input::Tick);
        self.flush();
        self.update();
        if now.ms() >= self.census_due_ms {
            self.census_due_ms = now.ms() + CENSUS_MS;
            let report = self.report(|devices, id| PortReport {
                counters: devices.counters(id),
                xstats: devices.xstats(id),
                rss: devices.rss(id),
            });
            self.input_at(now, Input::Census(report));
        }
    }

    fn collect_from_workers(&mut self, now: Now) {
        for n in 0..self.exchanges.len() {
            let exchange = self.exchanges[n].clone();
            // What comes meanwhile is for the next round.
            for _ in 0..exchange.punted.len() {
                let Some(frame) = exchange.punted.pop() else { break };
                self.input_at(now, Input::Frame(Box::new(frame)));
            }
            for _ in 0..exchange.notices.len() {
                let Some(notice) = exchange.notices.pop() else { break };
                self.input_at(now, Input::Notice(notice));
            }
            for _ in 0..exchange.wanted.len() {
                let Some(key) = exchange.wanted.pop() else { break };
                self.input_at(now, Input::Wanted(key));
            }
        }
    }

    /// Does as much of the updates as 5 ms allow.
    fn update(&mut self) {
        let began = Instant::now();
        while began.elapsed() < UPDATES {
            match self.control.progress() {
                Progress::Idle => return,
                Progress::Ready => self.input(Input::Update),
                Progress::AwaitsReaders if !self.await_readers() => return,
                Progress::AwaitsReaders => {}
            }
        }
    }

    /// Waits up to 0.4 ms until the workers have taken the snapshot, and says whether they have.
    fn await_readers(&self) -> bool {
        (0..READER_CHECKS).any(|_| {
            std::thread::sleep(READER_CHECK);
            self.control.progress() != Progress::AwaitsReaders
        })
    }

    fn input(&mut self, input: Input) {
        self.input_at(now(&self.stats), input);
    }

    fn input_at(&mut self, now: Now, input: Input) {
        let began = Instant::now();
        for effect in self.control.turn(now, input) {
            self.carry_out(effect, began);
        }
    }

    /// Carries out an effect of a turn that `began` then.
    fn carry_out(&mut self, effect: Effect, began: Instant) {
        match effect {
            Effect::Send(frame) => {
                if !self.send_queue.push(frame) {
                    self.stats.originated_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Effect::Answer(id, answer) => self.waiters.answer(id, answer),
            Effect::Load(order) => self.load(*order),
            Effect::Provisioned(known, refused) => {
                self.provisioned.send_replace((known, refused));
            }
            Effect::Watch(order) => {
                if let Err(why) = self.watch(order) {
                    tracing::error!(%why, "mapping file is not watched");
                }
            }
            Effect::Settings(settings) => {
                for exchange in &self.exchanges {
                    exchange.settings.force_push(settings);
                }
            }
            Effect::LogLevel(level) => (self.set_level)(level),
            Effect::Config(config) => drop(self.config.send_replace(config)),
            Effect::Published(number) => {
                let took_us = began.elapsed().as_micros() as u64;
                tracing::debug!(number, took_us, "snapshot published");
            }
            // What there is no room for is asked again by whoever needs it.
            Effect::ForAuthority(told) => drop(self.for_authority.0.try_send(told)),
            Effect::Event(event) => self.stats.events.record(event),
            Effect::Census(census) => self.stats.set_census(*census),
        }
    }

    /// Hands waiting frames to the first worker.
    fn flush(&mut self) {
        if let Some(exchange) = self.exchanges.first() {
            self.send_queue.flush(exchange);
        }
    }

    /// Reads the files on a thread of its own.
    fn load(&mut self, order: LoadOrder) {
        let (path, to_files) = (self.path.clone(), self.to_files.clone());
        let read = move || {
            // The receiver is gone when the node stops.
            let _ = to_files.send(Input::Loaded(load(&path, order).map(Box::new)));
        };
        if let Err(why) = std::thread::Builder::new().name("ilagate-reload".into()).spawn(read) {
            // The receiver is a field of `self`.
            let _ = self.to_files.send(Input::Loaded(Err(format!("no thread can be started: {why}"))));
        }
    }

    fn watch(&mut self, order: Option<WatchOrder>) -> Result<(), ControlError> {
        self.watch = None;
        let Some(WatchOrder { number, file, seen, config }) = order else { return Ok(()) };
        let to_files = self.to_files.clone();
        let report = move |news| to_files.send(Input::MappingFile(number, news)).is_ok();
        let watch = watch::start(&file, seen, config, report);
        self.watch = Some(watch.map_err(|why| ControlError::System("watch the mapping file", why))?);
        Ok(())
    }

    /// What the devices report; `port` reads one of them.
    fn report(&self, port: impl Fn(&dyn Devices, PortId) -> PortReport) -> DeviceReport {
        let devices = self.devices.as_ref();
        let ports = (0..self.stats.ports.len()).map(|n| port(devices, PortId(n as u16)));
        let (mbufs_in_use, mbufs_total) = devices.mbufs();
        DeviceReport { ports: ports.collect(), mbufs_in_use, mbufs_total }
    }
}

fn now(stats: &Stats) -> Now {
    Now::from_us(stats.started.elapsed().as_micros() as u64)
}

fn links(devices: &dyn Devices, ports: usize) -> Vec<LinkState> {
    (0..ports).map(|n| devices.link(PortId(n as u16))).collect()
}

#[cfg(test)]
mod tests;
