//! The shell around the NVE's half of a session ([`Client`]): a thread of its own, the stream to the authority, and
//! the way to the control thread.
//!
//! It decides nothing. While there is no session the node forwards on what it knows.

mod behind;
mod grouping;
mod groups;
mod keeper;
mod left_out;
mod mappings;
pub(crate) mod moves;
mod moving;
mod revocation;
mod stream;

pub use keeper::Before;

use super::control::ForAuthority;
use super::exchange::Exchange;
use super::handle::{ControlHandle, Gone, Request};
use super::identifiers::Identifiers;
use super::stats::Stats;
use crate::config::{self, AfterGrace, Config, Nva as Authorities, NvaMode, RefusedEntry};
use crate::ila::Identifier;
use crate::mapping::{Digest, Origin, Presence};
use crate::nva::client::{Client, Effect, Extent, Grace, Input, News, Objects};
use crate::nva::codec::write_up;
use crate::nva::message::{Down, FoundMac, Modes, Told, Triangle};
use crate::nva::mirror::Update;
use crate::nva::model::{Binding, Key, Known, Network};
use crate::nva::v1;
use crate::path::{self, Miss};
use crate::table::AttachmentKey;
use behind::Behind;
use groups::Members;
use keeper::{Keeper, LastLive, Notes, live_now};
use left_out::{LeftOut, Missing};
use mappings::{attached, attached_networks, forget_others, key, push};
use moves::Parts;
use moving::tell_presences;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stream::{WAITING, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(50);
/// Time between two looks for what workers tell: for misses, in the modes that ask, and for triangular packets.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// What of the wishes of operators is in force: the state of the registry that they show, and what is refused.
type InForce = (Known, Vec<RefusedEntry>);

/// The running client.
pub struct Nva {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    keeper: Option<Keeper>,
    stats: Arc<Stats>,
}

enum Event {
    Opened(u64, mpsc::Sender<v1::Up>),
    Down(u64, Down),
    Closed(u64, String),
    /// What was pushed is in force; some of it may have been left out.
    Applied {
        extent: Extent,
        left_out: Missing,
        /// The configuration that it was made for.
        config: Arc<Config>,
    },
    /// What was pushed cannot be applied.
    Unusable,
    /// What the mappings of the authority add up to: the answer to the question of this number.
    Digests(u64, Vec<(u64, Digest)>),
    /// Where a VM or task is, is known in every worker, or cannot be told.
    Presence(AttachmentKey, Result<(), String>),
    /// A VM or task was asked whether it is there, or could not be.
    Asked(AttachmentKey, bool),
}

impl Nva {
    /// Starts it, with what was known before.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(
        authorities: Authorities,
        handle: ControlHandle,
        (config, provisioned, told): (
            watch::Receiver<Arc<Config>>,
            watch::Receiver<InForce>,
            mpsc::Receiver<ForAuthority>,
        ),
        stats: Arc<Stats>,
        mut before: Before,
        (exchanges, identifiers): (Vec<Arc<Exchange>>, Arc<Identifiers>),
    ) -> io::Result<Self> {
        let keeper = before.keep(stats.clone())?;
        let was = (before.known, before.own);
        let mut session = Session::new(authorities, handle, config, stats.clone(), was);
        (session.provisioned, session.told) = (provisioned, told);
        if session.authorities.provision {
            session.moves = before.moves;
            let told = session.moves.told_of();
            session.client =
                session.client.provisioned(before.objects.clone()).moving(Modes::ALL).told_of(told);
            session.groups = Members::new(before.objects.clone());
        }
        (session.exchanges, session.identifiers) = (exchanges, identifiers);
        session.client = session.client.leasing(session.authorities.blocks.iter().copied());
        (session.kept_objects, session.wanted_objects) = (before.objects.clone(), before.objects.clone());
        session.notes = keeper.as_ref().map(Keeper::notes);
        session.last_live = LastLive::ago(before.stale_s);
        if session.authorities.mode == NvaMode::Full {
            let config::Grace { seconds, then } = session.authorities.grace;
            let grace = Grace { period_ms: u64::from(seconds) * 1000, forgets: then == AfterGrace::Forget };
            session.client = session.client.graced(grace, before.stale_s.saturating_mul(1000));
        }
        // Of what was kept, the configuration may not have taken everything.
        session.left_out.wrong = stats.nva.left_out.load(Ordering::Relaxed) > 0;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopping) = watch::channel(false);
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = session.run() => {}
                    // A sender that is gone means stop, too.
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("ilagate-nva".into()).spawn(work)?;
        Ok(Nva { stop, thread, keeper, stats })
    }

    /// Ends it, after what is to be kept was written.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the client of the authority came to an end by itself");
        }
        if let Some(keeper) = self.keeper {
            if self.stats.nva.live.load(Ordering::Relaxed) != 0 {
                keeper.notes().note(live_now());
            }
            keeper.stop();
        }
    }
}

struct Session {
    client: Client,
    node: String,
    authorities: Arc<Authorities>,
    handle: ControlHandle,
    config: watch::Receiver<Arc<Config>>,
    stats: Arc<Stats>,
    began: Instant,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    /// Number of the stream in use, and the way into it once it is open.
    stream: (u64, Option<mpsc::Sender<v1::Up>>),
    /// What reads it.
    task: Option<AbortHandle>,
    /// Whether mappings are being applied.
    is_applying: bool,
    left_out: LeftOut,
    /// Number of the last question for what mappings add up to.
    compared: u64,
    /// The SIR prefixes that the node knows.
    domains: Vec<u64>,
    /// Whether the operator was told that there is no session.
    away_told: bool,
    notes: Option<Notes>,
    /// What operators want at the node, as it is kept.
    kept_objects: Arc<Objects>,
    /// The same as it was told.
    wanted_objects: Arc<Objects>,
    /// Whether workers look for triangular packets.
    is_router: bool,
    /// The queues from the workers.
    exchanges: Vec<Arc<Exchange>>,
    last_live: LastLive,
    behind: Behind,
    /// Where identifiers are made from blocks that the authority leases.
    identifiers: Arc<Identifiers>,
    /// What operators want at the node, on its way to the control thread.
    objects: watch::Sender<Arc<Objects>>,
    /// What of it is in force.
    provisioned: watch::Receiver<InForce>,
    moves: Parts,
    groups: Members,
    /// Where VMs and tasks are, on the way to the control thread.
    presences: mpsc::UnboundedSender<(AttachmentKey, Presence)>,
    /// What of these is next, until it is sent off.
    to_presences: Option<mpsc::UnboundedReceiver<(AttachmentKey, Presence)>>,
    /// From the control thread.
    told: mpsc::Receiver<ForAuthority>,
}

impl Session {
    fn new(
        authorities: Authorities,
        handle: ControlHandle,
        config: watch::Receiver<Arc<Config>>,
        stats: Arc<Stats>,
        (known, own): (Known, BTreeMap<Key, u64>),
    ) -> Self {
        let node = config.borrow().node.name.clone();
        let known = (!known.epoch.is_empty()).then_some(known);
        let endpoints = authorities.endpoints.len();
        let client = Client::new(node.clone(), rand::random(), endpoints, rand::random(), known).knowing(own);
        let (presences, to_presences) = mpsc::unbounded_channel();
        Session {
            client: match authorities.mode {
                NvaMode::Full => client.following(authorities.scopes.clone()),
                NvaMode::Cache | NvaMode::Redirect => client.caching(),
            },
            node,
            authorities: Arc::new(authorities),
            handle,
            config,
            stats,
            began: Instant::now(),
            events: mpsc::channel(WAITING),
            stream: (0, None),
            task: None,
            is_applying: false,
            left_out: LeftOut::default(),
            compared: 0,
            domains: Vec::new(),
            away_told: false,
            notes: None,
            kept_objects: Arc::default(),
            wanted_objects: Arc::default(),
            is_router: false,
            exchanges: Vec::new(),
            last_live: LastLive::ago(0),
            behind: Behind::default(),
            identifiers: Arc::default(),
            objects: watch::Sender::default(),
            provisioned: watch::Sender::default().subscribe(),
            moves: Parts::default(),
            groups: Members::default(),
            presences,
            to_presences: Some(to_presences),
            told: mpsc::channel(1).1,
        }
    }

    async fn run(mut self) {
        if let Some(presences) = self.to_presences.take() {
            tokio::spawn(tell_presences(presences, self.handle.clone(), self.events.0.clone()));
        }
        self.reconfigured();
        tokio::spawn(hand_over(self.objects.subscribe(), self.handle.clone()));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asks = self.authorities.mode.asks();
        let mut look = tokio::time::interval(if asks { LOOK.0 } else { LOOK.1 });
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                changed = self.config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let before = self.domains.len();
                    self.reconfigured();
                    self.left_out.reloaded(self.domains.len() != before);
                    Input::Attached(self.attached())
                }
                Some(event) = self.events.1.recv() => match event {
                    Event::Opened(number, up) if number == self.stream.0 => {
                        self.stream.1 = Some(up);
                        Input::Opened
                    }
                    Event::Down(number, down) if number == self.stream.0 => {
                        self.note(&down);
                        Input::Down(down)
                    }
                    Event::Closed(number, why) if number == self.stream.0 => {
                        self.stream = (number + 1, None);
                        Input::Closed(why)
                    }
                    Event::Digests(number, digests) if number == self.compared => Input::Compared(digests),
                    Event::Presence(at, result) => {
                        if result.is_ok() {
                            self.group_on(groups::Input::InForce(at));
                        }
                        self.move_on(moves::Input::InForce(at, result));
                        continue;
                    }
                    Event::Asked(at, is_sent) => {
                        self.move_on(moves::Input::Asked(at, is_sent));
                        continue;
                    }
                    Event::Applied { extent, left_out, config } => {
                        self.is_applying = false;
                        let is_reloaded = !Arc::ptr_eq(&config, &self.config.borrow());
                        self.left_out.applied(extent == Extent::All, left_out, is_reloaded);
                        Input::Applied
                    }
                    Event::Unusable => {
                        self.is_applying = false;
                        Input::Unusable("what the authority pushed cannot be applied".to_owned())
                    }
                    // Of a stream that is closed already, or of a question of an earlier session.
                    Event::Opened(..) | Event::Down(..) | Event::Closed(..) | Event::Digests(..) => continue,
                },
                Ok(()) = self.provisioned.changed() => {
                    let (known, refused) = self.provisioned.borrow_and_update().clone();
                    self.move_on(moves::Input::Refused(refused.clone()));
                    Input::Provisioned(known, self.moves.of_operators(refused))
                }
                Some(told) = self.told.recv() => match told {
                    ForAuthority::FindMac(network, mac) => Input::FindMac(network, mac),
                    ForAuthority::AllocateAddress(attachment) => Input::AllocateAddress(attachment),
                    ForAuthority::Announced(key) => Input::Announced(key),
                    ForAuthority::Seen(at, sign) => {
                        self.move_on(moves::Input::Seen(at, sign));
                        continue;
                    }
                    ForAuthority::Answered(at) => {
                        self.move_on(moves::Input::Answered(at));
                        continue;
                    }
                    ForAuthority::Link(port, up) => {
                        self.move_on(moves::Input::Link(port, up));
                        continue;
                    }
                },
                _ = tick.tick() => {
                    self.move_on(moves::Input::Tick(self.stats.sent_on()));
                    Input::Tick
                }
                _ = look.tick(), if asks || self.is_router => {
                    let (missed, seen) = (self.missed(), self.triangles());
                    if !missed.is_empty() {
                        self.step(Input::Misses(missed));
                    }
                    if !seen.is_empty() {
                        self.step(Input::Triangles(seen));
                    }
                    continue;
                }
            };
            self.step(input);
            if let Some(notes) = self.notes.as_ref().filter(|notes| notes.take_anew()) {
                notes.note_anew(self.kept_objects.clone(), self.client.own());
                self.step(Input::Unusable("what node.state_dir had was lost, and is kept anew".to_owned()));
            }
            if !self.is_applying && self.left_out.take_anew() {
                let why = "there is another configuration, and mappings were left out before";
                self.step(Input::Unusable(why.to_owned()));
            }
        }
    }

    /// Notes what a message tells of, for what operators see. A node that asks follows nothing as a whole.
    fn note(&mut self, down: &Down) {
        match down {
            Down::Resync(_) => {
                self.behind.clear();
                self.stats.nva.snapshots.fetch_add(1, Ordering::Relaxed);
            }
            Down::Delta(revision, _) | Down::SnapshotEnd(revision) if !self.authorities.mode.asks() => {
                self.behind.told(*revision, Instant::now());
            }
            _ => {}
        }
    }

    /// There is a configuration, or another one.
    fn reconfigured(&mut self) {
        let config = self.config.borrow_and_update().clone();
        self.domains = config.sir_domains.iter().map(|domain| domain.prefix.0).collect();
        let networks = attached_networks(&config);
        self.group_on(groups::Input::Config(config.clone()));
        self.move_on(moves::Input::Config(config));
        self.steps([Input::Networks(networks), Input::Attached(self.attached())].into());
    }

    /// What is attached and here.
    fn attached(&self) -> BTreeMap<Key, Binding> {
        let (moved, standbys) = (self.moves.not_here(), self.groups.not_here());
        let mut attached = attached(&self.config.borrow());
        attached.retain(|key, _| !moved.contains(key) && !standbys.contains(key));
        attached
    }

    /// What workers found no mapping for.
    fn missed(&self) -> Vec<Key> {
        let config = self.config.borrow();
        let key = |Miss { domain, identifier }: Miss| key(&config, domain, identifier);
        let misses = self.exchanges.iter().flat_map(|exchange| {
            // What comes meanwhile is for the next look.
            (0..exchange.misses.len()).map_while(|_| exchange.misses.pop())
        });
        misses.filter_map(key).collect()
    }

    /// What workers saw of triangular packets.
    fn triangles(&self) -> Vec<Triangle> {
        let config = self.config.borrow();
        let triangle = |path::Triangle { domain, source, destination }: path::Triangle| {
            let [source, destination] = [source, destination].map(|it| key(&config, domain, it));
            Some(Triangle { source: source?, destination: destination? })
        };
        let seen = self
            .exchanges
            .iter()
            .flat_map(|exchange| (0..exchange.triangles.len()).map_while(|_| exchange.triangles.pop()));
        seen.filter_map(triangle).collect()
    }

    fn step(&mut self, input: Input) {
        self.steps(VecDeque::from([input]));
    }

    fn steps(&mut self, mut inputs: VecDeque<Input>) {
        // Counting all registrations at each message would cost the square of them.
        let counts = !inputs.iter().all(|input| {
            matches!(input, Input::Down(Down::Registered { .. } | Down::Refused { .. }) | Input::Misses(_))
        });
        while let Some(input) = inputs.pop_front() {
            let now_ms = self.began.elapsed().as_millis() as u64;
            for effect in self.client.step(now_ms, input) {
                match effect {
                    Effect::Open(n) => self.open(n),
                    Effect::Close => {
                        self.stream = (self.stream.0 + 1, None);
                        self.abandon();
                    }
                    Effect::Up(up) => {
                        let sent = self.stream.1.as_ref().is_some_and(|to| to.try_send(write_up(up)).is_ok());
                        if !sent && self.stream.1.take().is_some() {
                            self.stream.0 += 1;
                            inputs.push_back(Input::Closed("the authority does not read".to_owned()));
                        }
                    }
                    Effect::Apply { extent, mappings, expiring, known } => {
                        self.apply(extent, (mappings, expiring), known);
                    }
                    Effect::Compare => self.compare(),
                    Effect::Provision(objects) => {
                        self.wanted_objects = objects.clone();
                        self.keep_objects();
                        inputs.extend(self.grouped(groups::Input::Wanted(objects)));
                    }
                    Effect::Blocks(blocks) => {
                        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                        self.identifiers.lease(&blocks, self.began, since_1970);
                    }
                    Effect::Own(key, sequence) => {
                        self.notes.iter().for_each(|notes| notes.note(Update::own(key, sequence)));
                    }
                    Effect::Found(network, found) => self.found(network, found),
                    Effect::Moves(told) => {
                        inputs.extend(self.moved(moves::Input::Told(told)));
                        // What has become another's, or is here now.
                        inputs.push_back(Input::Attached(self.attached()));
                    }
                    Effect::Groups(told) => {
                        inputs.extend(self.grouped(groups::Input::Told(told)));
                        self.keep_objects();
                        inputs.push_back(Input::Attached(self.attached()));
                    }
                    Effect::Tell(news) => self.tell(&news),
                }
            }
        }
        if !counts {
            return;
        }
        let status = self.client.status();
        self.stats.nva.set(&status);
        let now = Instant::now();
        while let Some(took) = self.behind.caught_up(status.applied, now) {
            self.stats.nva.apply_latency.record(took.as_micros() as u64);
        }
        self.stats.nva.lag.store(self.behind.lag(status.applied), Ordering::Relaxed);
        if std::mem::replace(&mut self.is_router, status.router) != status.router {
            self.exchanges.iter().for_each(|exchange| exchange.seek_triangles(status.router));
        }
        self.last_live.see(status.live, &self.stats, self.notes.as_ref());
    }

    fn tell(&mut self, news: &News) {
        match news {
            News::Live { revision } => {
                self.away_told = false;
                tracing::info!(revision, "session with the authority");
            }
            News::Resync(why) => tracing::info!(why, "the authority tells everything anew"),
            News::Drift { parts, objects } => {
                tracing::warn!(
                    parts,
                    objects,
                    "what the node has differs from the registry; it is told anew"
                );
            }
            News::Away(why) if !self.away_told => {
                self.away_told = true;
                tracing::warn!(why, "no session with the authority; the node forwards on what it knows");
            }
            News::Away(why) => tracing::debug!(why, "still no session with the authority"),
            News::GraceOver { forgets } => {
                let grace_s = self.authorities.grace.seconds;
                if *forgets {
                    tracing::error!(
                        grace_s,
                        "the authority is away for longer than nva.grace_s; its mappings go"
                    );
                } else {
                    tracing::error!(
                        grace_s,
                        "the authority is away for longer than nva.grace_s; its mappings stay"
                    );
                }
            }
            News::NoBlocks => {
                tracing::error!(
                    "the authority is of a release that leases no blocks of identifiers (nva.blocks)"
                );
            }
            News::BlockRefused(why) => tracing::error!(why, "the authority leases no block of identifiers"),
            News::AddressRefused { attachment, why } => {
                tracing::error!(
                    attachment,
                    why,
                    "the authority allocates no address to a tenant that asks by RARP"
                );
            }
            News::Untold(why) => tracing::warn!(why, "the authority tells no MAC addresses of a network"),
            News::Refused { key, owner, why } => {
                tracing::error!(identifier = %key, owner, why, "the authority refuses an identifier");
            }
        }
    }

    /// Tells the control thread whose MAC addresses these are.
    fn found(&self, network: Network, found: Vec<FoundMac>) {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            for FoundMac { mac, identifiers } in found {
                let identifiers = identifiers.into_iter().map(Identifier).collect();
                // Otherwise the node is shutting down.
                let _ = handle.ask(|answer| Request::FoundMac(network, mac, identifiers, answer)).await;
            }
        });
    }

    /// Nothing more is read from the stream, whatever the authority does.
    fn abandon(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn open(&mut self, n: usize) {
        self.abandon();
        self.stream.0 += 1;
        let (number, events) = (self.stream.0, self.events.0.clone());
        let (authorities, node) = (self.authorities.clone(), self.node.clone());
        let stats = self.stats.clone();
        let task = tokio::spawn(async move {
            let Some(endpoint) = authorities.endpoints.get(n) else { return };
            let tls = (authorities.tls.as_ref(), authorities.revoked.as_deref());
            let why = match stream(endpoint, tls, &node, number, (&events, &stats)).await {
                Ok(()) => "the authority closed the stream".to_owned(),
                Err(why) => why,
            };
            let _ = events.send(Event::Closed(number, why)).await;
        });
        self.task = Some(task.abort_handle());
    }

    /// Asks the control thread what the mappings of the authority add up to.
    fn compare(&mut self) {
        self.compared += 1;
        let number = self.compared;
        let (handle, events) = (self.handle.clone(), self.events.0.clone());
        tokio::spawn(async move {
            // Otherwise the node is shutting down.
            if let Ok(digests) = handle.ask(Request::Digests).await {
                let _ = events.send(Event::Digests(number, digests)).await;
            }
        });
    }

    fn apply(&mut self, extent: Extent, (mut mappings, expiring): (Vec<Told>, Vec<Key>), known: Known) {
        self.is_applying = true;
        // What is asked for when it is needed is not kept.
        let notes = self.notes.clone().filter(|_| self.authorities.mode == NvaMode::Full);
        let (handle, events, stats) = (self.handle.clone(), self.events.0.clone(), self.stats.clone());
        let config = self.config.borrow().clone();
        let origin = match self.authorities.mode {
            NvaMode::Full => Origin::Nva,
            NvaMode::Cache | NvaMode::Redirect => Origin::Cache,
        };
        tokio::spawn(async move {
            let whole = extent == Extent::All;
            if let Extent::Parts(parts) = &extent
                && forget_others(&handle, parts, &mut mappings).await.is_err()
            {
                return;
            }
            let event = match push(&handle, &config, &stats, (origin, whole), &mappings, &expiring).await {
                Ok(Some(left_out)) => {
                    if let Some(notes) = notes {
                        notes.note(Update::applied(whole, mappings, known));
                    }
                    Event::Applied { extent, left_out, config }
                }
                Ok(None) => Event::Unusable,
                // The node is shutting down.
                Err(Gone) => return,
            };
            let _ = events.send(event).await;
        });
    }
}

/// Hands what operators want to the control thread, the newest only.
async fn hand_over(mut objects: watch::Receiver<Arc<Objects>>, handle: ControlHandle) {
    while objects.changed().await.is_ok() {
        let newest = objects.borrow_and_update().clone();
        if handle.ask(|answer| Request::Provision(newest, answer)).await.is_err() {
            // The node is shutting down.
            return;
        }
    }
}
