//! The shell around [`Authority`]: one task that owns it, one stream for each NVE, and a store at work.

use super::authority::{
    self, Authority, Configured, Effect, Input, LIMITS, Released, SessionId, Settings, Ticket,
};
use super::catalogue::Catalogue;
use super::codec::{read_up, write_down};
use super::counts::Counts;
use super::event::{By, Event as Happened, Kind};
use super::inbox::{Author, AuthorityHandle, Event, Outlet, Proof};
use super::listen::{CALLS_IN_ALL, Peer};
use super::message::{Down, Encoded};
use super::registry::Registry;
use super::store::{Order, Report, Running, StoreError};
use super::watch::{Hub, unix_ms};
use super::{MAX_MESSAGE_BYTES, v1};
use crate::tls::Role;
use crate::tls::server::{Chain, Trust};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Messages of all NVEs that wait for the authority. Beyond them the streams wait.
const EVENTS: usize = 4_096;
/// Weight that has left for an NVE before the authority is told of it: a part of its window, so that it is told seldom.
const TOLD: usize = LIMITS.window / 4;
/// Time between two ticks.
const TICK: Duration = Duration::from_millis(200);

/// Time between two looks at the certificates of those who have sessions: they may have expired.
const RECHECK: Duration = Duration::from_secs(60);
/// Certificates that are looked at before others are served again.
const JUDGED_AT_ONCE: usize = 256;

/// Whom to let in by TLS; none while there is no TLS.
pub(super) type Trusted = Option<watch::Receiver<Arc<Trust>>>;

/// The service that NVEs call.
#[derive(Clone)]
pub struct Service {
    trusted: Trusted,
    events: mpsc::Sender<Event>,
    ready: mpsc::UnboundedSender<(SessionId, usize)>,
    next: Arc<AtomicU64>,
    hub: Arc<Hub>,
}

/// The task that owns the authority, to be run.
pub struct Server {
    authority: Authority,
    events: mpsc::Receiver<Event>,
    ready: mpsc::UnboundedReceiver<(SessionId, usize)>,
    sessions: HashMap<SessionId, Outlet>,
    /// Sessions by TLS, and the certificates of their peers.
    chains: HashMap<SessionId, Chain>,
    /// Those whose certificates are to be looked at.
    unjudged: Vec<SessionId>,
    trusted: Trusted,
    /// Operators who wait for an answer.
    tickets: HashMap<Ticket, (Author, oneshot::Sender<Released>)>,
    next_ticket: u64,
    counts: Counts,
    hub: Arc<Hub>,
    orders: mpsc::UnboundedSender<Order>,
    reports: mpsc::UnboundedReceiver<Report>,
    began: Instant,
}

/// The authority over what the store held, and the thread of the store, which ends after it.
#[must_use]
pub fn pair(
    Running { stored, rules: commits, orders, reports, thread }: Running,
    Configured { nves, quotas, freeze, rules, sessions: limits, allocations, moves, groups }: Configured,
    trusted: Trusted,
) -> (Service, Server, JoinHandle<()>) {
    tracing::info!(revision = stored.revision, records = stored.records.len(), "registry");
    let settings = Settings {
        epoch: stored.epoch.to_vec(),
        sessions: limits,
        limits: LIMITS,
        commits,
        answered_before_ms: authority::used_ms(limits.cache_lifetime_ms),
        began_unix_ms: unix_ms(),
    };
    let revision = stored.revision;
    let catalogue = Catalogue::new(rules, stored.objects);
    for (object, why) in catalogue.unread() {
        tracing::error!(%object, why, "what an operator wanted cannot be read, and nobody is told of it; set it anew");
    }
    let registry = Registry::new(nves, stored.records, revision, (0, limits.hold_down_ms));
    let registry = registry.with_catalogue(catalogue).with_limits(quotas, freeze);
    let registry = registry.with_moves(moves, stored.moves, (0, settings.began_unix_ms));
    let registry = registry.with_groups(groups, stored.groups);
    let mut registry = registry.with_allocations(allocations, stored.allocations, 0);
    if stored.restored {
        registry = registry.restored(0);
        stored.completed.iter().for_each(|nve| registry.completed(nve));
        tracing::warn!(
            "the registry was restored: new identifiers wait until NVEs have registered what they have"
        );
    }
    let authority = Authority::new(settings, registry);
    let (sender, events) = mpsc::channel(EVENTS);
    let (tell, ready) = mpsc::unbounded_channel();
    let hub = Hub::new();
    let begins = Happened { revision, ..Happened::new(Kind::Started, By::Authority) };
    let epoch = stored.epoch.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    hub.tell(String::new(), Arc::default(), Happened { why: format!("epoch {epoch}"), ..begins });
    let next = Arc::default();
    let service = Service { trusted: trusted.clone(), events: sender, ready: tell, next, hub: hub.clone() };
    let server = Server {
        authority,
        events,
        ready,
        sessions: HashMap::new(),
        chains: HashMap::new(),
        unjudged: Vec::new(),
        trusted,
        tickets: HashMap::new(),
        next_ticket: 0,
        counts: Counts::default(),
        hub,
        orders,
        reports,
        began: Instant::now(),
    };
    (service, server, thread)
}

impl Server {
    /// Serves until every [`Service`] is gone.
    ///
    /// # Errors
    /// Whether a transaction is durable cannot be known. Nobody is told that it is or is not: streams break, and NVEs come
    /// back to an authority that has read its store anew.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recheck = tokio::time::interval(RECHECK);
        loop {
            let due = self.authority.due_ms().map(Duration::from_millis);
            let input = tokio::select! {
                event = self.events.recv() => match event {
                    None => break,
                    Some(Event::Opened(id, outlet, proof)) => {
                        self.open(id, outlet, proof);
                        continue;
                    }
                    Some(Event::Up(id, up)) => Input::Up(id, up),
                    Some(Event::Malformed(id, why)) => Input::Distrusted(id, why),
                    Some(Event::Closed(id)) => Input::Closed(id),
                    Some(Event::Look(look)) => {
                        look(&self.authority, &self.counts);
                        continue;
                    }
                    Some(Event::Ask(ask, author, tell)) => ask(self.ticket(author, tell)),
                    Some(Event::Reconfigure(configured, tell)) => {
                        self.step(Input::Reconfigured(*configured));
                        // Whoever asked may be gone.
                        let _ = tell.send(());
                        continue;
                    }
                    Some(Event::Snapshot(tell)) => {
                        // A store that is gone drops the question, which answers it.
                        let _ = self.orders.send(Order::Snapshot(tell));
                        continue;
                    }
                },
                report = self.reports.recv() => {
                    let gone = || StoreError("the thread of the store is gone".to_owned());
                    match self.read(report.ok_or_else(gone)?)? {
                        Some(input) => input,
                        None => continue,
                    }
                }
                Some((id, weight)) = self.ready.recv() => Input::Ready(id, weight),
                () = at(self.began + due.unwrap_or_default()), if due.is_some() => Input::Due,
                _ = tick.tick() => Input::Tick,
                () = trust_changes(&mut self.trusted) => {
                    self.recheck();
                    continue;
                }
                _ = recheck.tick() => {
                    self.recheck();
                    continue;
                }
                () = std::future::ready(()), if !self.unjudged.is_empty() => {
                    self.judge_some();
                    // The streams are served by the same thread.
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            self.step(input);
        }
        Ok(())
    }

    /// What the authority learns of a report of the store.
    fn read(&mut self, report: Report) -> Result<Option<Input>, StoreError> {
        Ok(Some(match report {
            Report::Durable => {
                self.counts.durable += 1;
                Input::Committed(Ok(()))
            }
            Report::Current => Input::Committed(Ok(())),
            Report::Refused(why) => {
                self.counts.not_durable += 1;
                tracing::error!(why, "the store refuses a transaction");
                Input::Committed(Err(why))
            }
            Report::Others(transaction, opened) => {
                self.counts.others += 1;
                Input::Others(transaction, opened)
            }
            Report::Replaced(stored) => Input::Replaced(stored),
            Report::AtOthers(all) => Input::AtOthers(all),
            Report::Nowhere(nve) => Input::Nowhere(nve),
            Report::AppliedAt(authority, revision) => Input::AppliedAt(authority, revision),
            Report::Forgotten => Input::Forgotten,
            Report::Away(why) => {
                match &why {
                    Some(why) => tracing::error!(why, "the store is away; what NVEs ask for waits"),
                    None => tracing::info!("the store is back"),
                }
                self.counts.store_is_away = why.is_some();
                return Ok(None);
            }
            Report::Broken(why) => return Err(StoreError(why)),
        }))
    }

    fn ticket(&mut self, author: Author, tell: oneshot::Sender<Released>) -> Ticket {
        self.next_ticket += 1;
        self.tickets.insert(Ticket(self.next_ticket), (author, tell));
        Ticket(self.next_ticket)
    }

    fn open(&mut self, id: SessionId, outlet: Outlet, proof: Option<Proof>) {
        self.sessions.insert(id, outlet);
        let Some(Proof { name, chain }) = proof else { return self.step(Input::Opened(id, None)) };
        self.step(Input::Opened(id, Some(name)));
        // Others may be trusted since it called.
        let judged = self.trusted.as_ref().map(|trusted| trusted.borrow().judge(&chain));
        self.chains.insert(id, chain);
        if let Some(Err(why)) = judged {
            self.step(Input::Distrusted(id, why.to_string()));
        }
    }

    fn forget(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.chains.remove(&id);
    }

    /// Tells operators of an event, with who it was and from where.
    fn tell(&self, event: Happened) {
        let (who, from) = match &event.by {
            By::Authority => Default::default(),
            By::Author(who, from) => (who.clone(), from.clone()),
            By::Session(id, nve) => {
                let from = self.sessions.get(id).map(|outlet| outlet.from.clone());
                (nve.as_deref().unwrap_or_default().to_owned(), from.unwrap_or_default())
            }
            By::Operator(ticket) => match self.tickets.get(ticket) {
                Some((Author { who, from }, _)) => (who.clone(), from.clone()),
                None => Default::default(),
            },
        };
        self.hub.tell(who, from, event);
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// The certificates of all are to be looked at.
    fn recheck(&mut self) {
        self.unjudged = self.chains.keys().copied().collect();
    }

    /// Ends the sessions of the next ones of those who are trusted no longer.
    fn judge_some(&mut self) {
        let rest = self.unjudged.len().saturating_sub(JUDGED_AT_ONCE);
        let next = self.unjudged.split_off(rest);
        let Some(trusted) = &self.trusted else { return };
        let trust = trusted.borrow().clone();
        let judged = next.iter().filter_map(|id| Some((*id, trust.judge(self.chains.get(id)?).err()?)));
        let distrusted: Vec<_> = judged.collect();
        for (id, why) in distrusted {
            self.step(Input::Distrusted(id, why.to_string()));
        }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now_ms = self.now_ms();
            let closed = match input {
                Input::Closed(id) => Some(id),
                _ => None,
            };
            for effect in self.authority.step(now_ms, input) {
                match effect {
                    Effect::Down(id, down) => {
                        tell_operator(id, &down);
                        self.counts.count(&down);
                        let Some(outlet) = self.sessions.get(&id) else { continue };
                        if outlet.downs.send(down).is_err() {
                            inputs.push(Input::Closed(id));
                        }
                    }
                    Effect::Close(id, why) => {
                        self.counts.ended += 1;
                        if let Some(outlet) = self.sessions.get(&id) {
                            let _ = outlet.downs.send(Down::Error(why));
                        }
                        self.forget(id);
                    }
                    Effect::Released(ticket, told) => {
                        if let Some((_, tell)) = self.tickets.remove(&ticket) {
                            let _ = tell.send(told);
                        }
                    }
                    Effect::Event(event) => self.tell(event),
                    Effect::Commit(commit) => {
                        // A store that is gone tells nothing more, and that ends the authority.
                        let _ = self.orders.send(Order::Commit(commit));
                    }
                    // A store that is gone needs to know nothing.
                    Effect::Left(nve) => _ = self.orders.send(Order::Left(nve)),
                    Effect::Applied(revision) => _ = self.orders.send(Order::Applied(revision)),
                }
            }
            if let Some(id) = closed {
                self.forget(id);
            }
        }
    }
}

async fn at(time: Instant) {
    tokio::time::sleep_until(time.into()).await;
}

fn tell_operator(id: SessionId, down: &Down<Encoded>) {
    match down {
        Down::Resync(why) => tracing::info!(session = id.0, why, "a snapshot begins"),
        Down::Resumed(revision) => tracing::info!(session = id.0, revision, "a session goes on"),
        _ => {}
    }
}

/// What goes to one NVE. It says how much of it the NVE's connection has taken.
pub struct Outgoing {
    id: SessionId,
    messages: mpsc::UnboundedReceiver<Down<Encoded>>,
    ready: mpsc::UnboundedSender<(SessionId, usize)>,
    untold: usize,
}

impl Stream for Outgoing {
    type Item = Result<v1::Down, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let down = std::task::ready!(self.messages.poll_recv(context));
        if let Some(down) = &down {
            self.untold += down.weight();
        }
        if self.untold >= TOLD {
            let weight = std::mem::take(&mut self.untold);
            // An authority that is gone needs no room.
            let _ = self.ready.send((self.id, weight));
        }
        Poll::Ready(down.map(|down| Ok(write_down(down))))
    }
}

/// Waits until others are trusted than before.
async fn trust_changes(trusted: &mut Trusted) {
    let changed = match trusted {
        Some(trusted) => trusted.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

impl Service {
    /// The way of operators to the authority.
    pub(super) fn handle(&self) -> AuthorityHandle {
        AuthorityHandle(self.events.clone(), self.hub.clone())
    }

    /// Who calls, as an NVE: what its certificate proves, now.
    fn proof(&self, peer: &Peer) -> Result<Option<Proof>, Status> {
        let (Some(chain), Some(trusted)) = (&peer.chain, &self.trusted) else { return Ok(None) };
        let identity = trusted.borrow().judge(chain);
        let identity = identity.map_err(|why| Status::permission_denied(why.to_string()))?;
        if identity.role() != Role::Nve {
            return Err(Status::permission_denied(format!("{identity} is no NVE; sessions are for NVEs")));
        }
        Ok(Some(Proof { name: identity.name().to_owned(), chain: chain.clone() }))
    }
}

#[tonic::async_trait]
impl v1::nva_server::Nva for Service {
    type SessionStream = Outgoing;

    async fn session(
        &self,
        request: Request<Streaming<v1::Up>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("a call without a connection"));
        };
        if !peer.may_call() {
            let why = format!("a connection carries {CALLS_IN_ALL} calls; open another one");
            return Err(Status::resource_exhausted(why));
        }
        let proof = self.proof(&peer).inspect_err(|why| {
            tracing::warn!(from = %peer.from, why = why.message(), "a call is refused");
        })?;
        peer.use_it();
        let mut stream = request.into_inner();
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (downs, messages) = mpsc::unbounded_channel();
        let (reading, ended) = oneshot::channel();
        let events = self.events.clone();
        let gone = || Status::unavailable("the authority is shutting down");
        let outlet = Outlet { downs, from: peer.from, _reading: reading };
        events.send(Event::Opened(id, outlet, proof)).await.map_err(|_| gone())?;
        tokio::spawn(async move {
            let read = async {
                // A stream that breaks ends like one that is closed.
                while let Ok(Some(message)) = stream.message().await {
                    let (event, goes_on) = match read_up(message) {
                        Ok(up) => (Event::Up(id, up), true),
                        Err(why) => (Event::Malformed(id, why.to_string()), false),
                    };
                    if events.send(event).await.is_err() || !goes_on {
                        break;
                    }
                }
                let _ = events.send(Event::Closed(id)).await;
            };
            // Whose session ended is not listened to, however long it goes on.
            tokio::select! {
                () = read => {}
                _ = ended => {}
            }
        });
        Ok(Response::new(Outgoing { id, messages, ready: self.ready.clone(), untold: 0 }))
    }
}

/// The service with its limits.
#[must_use]
pub fn routes(service: Service) -> v1::nva_server::NvaServer<Service> {
    v1::nva_server::NvaServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsFiles;
    use crate::nva::authority::SessionLimits;
    use crate::nva::registry::Nve;
    use crate::nva::store::Memory;
    use crate::tls::pki;
    use crate::tls::server::ServerFiles;
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    #[tokio::test]
    async fn an_authority_ends_whose_store_is_gone() {
        let limits = SessionLimits {
            lease_ms: 10_000,
            hold_down_ms: 0,
            restore_wait_ms: 0,
            cache_lifetime_ms: 300_000,
            requests_per_second: 1,
            digest_ms: 0,
        };
        let mut running = Running::own(Box::new(Memory::default())).unwrap();
        (running.orders, running.reports) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().1);
        let nves = HashMap::from([("nve1".to_owned(), Nve::default())]);
        let configured = Configured { nves, sessions: limits, ..Configured::default() };
        let (service, server, _) = pair(running, configured, None);
        let ended = tokio::time::timeout(Duration::from_secs(10), server.run()).await;
        assert!(ended.unwrap().unwrap_err().to_string().contains("is gone"));
        drop(service);
    }

    #[tokio::test]
    async fn who_is_distrusted_while_its_call_waits_has_no_session() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        pki::make_authority(directory.path(), "lab", 1).unwrap();
        for who in ["nva/nva1", "nve/nve1"] {
            pki::issue(directory.path(), &format!("ilagate://lab/{who}").parse().unwrap(), 1).unwrap();
        }
        std::fs::write(path("revoked"), "identity ilagate://lab/nve/nve1").unwrap();
        let trust = |revoked| {
            let (certificate, key) = (path("nva-nva1.pem"), path("nva-nva1.key"));
            let tls = TlsFiles { certificate, key, authorities: path("ca.pem") };
            Arc::new(Trust::read(&ServerFiles { tls, revoked }).unwrap())
        };
        let trusted = watch::Sender::new(trust(None));
        let limits = SessionLimits {
            lease_ms: 10_000,
            hold_down_ms: 0,
            restore_wait_ms: 0,
            cache_lifetime_ms: 300_000,
            requests_per_second: 1,
            digest_ms: 0,
        };
        let nves = HashMap::from([("nve1".to_owned(), Nve::default())]);
        let configured = Configured { nves, sessions: limits, ..Configured::default() };
        let running = Running::own(Box::new(Memory::default())).unwrap();
        let (_service, mut server, _) = pair(running, configured, Some(trusted.subscribe()));
        let chain = Chain::from([CertificateDer::from_pem_file(path("nve-nve1.pem")).unwrap()]);
        let open = |server: &mut Server, id| {
            let (downs, mut messages) = mpsc::unbounded_channel();
            let outlet = Outlet { downs, from: Arc::default(), _reading: oneshot::channel().0 };
            server.open(SessionId(id), outlet, Some(Proof { name: "nve1".to_owned(), chain: chain.clone() }));
            messages.try_recv().ok()
        };
        let sessions = JUDGED_AT_ONCE as u64 + 1;
        assert!((3..3 + sessions).all(|id| open(&mut server, id).is_none()));
        trusted.send_replace(trust(Some(path("revoked"))));
        server.recheck();
        server.judge_some();
        assert_eq!((server.chains.len(), server.unjudged.len()), (1, 1));
        server.judge_some();
        assert!(matches!(open(&mut server, 2), Some(Down::Error(why)) if why.contains("is revoked")));
        assert!(server.sessions.is_empty() && server.chains.is_empty());
    }
}
