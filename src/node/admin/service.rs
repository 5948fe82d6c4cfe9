//! The calls, one by one: judge the request, ask the control thread, put its answer into a message.

use super::wire::{StatsView, Wire};
use super::{MAX_BATCH, v1};
use crate::config::mappings::{Rules, Written};
use crate::config::{Amendment, Config, PeerWords, PolicyWords};
use crate::ila::SirPrefix;
use crate::node::handle::{Amend, AmendRefusal, ControlHandle, Gone, MappingFilter, Request as Ask};
use crate::node::source::{Applied, Batch, Change, Event, Heard, Origin, Refusal};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

/// How long the control thread may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to reload: mapping files have millions of lines.
const RELOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Mappings that the control thread is asked for at once: it goes through all of them each time.
const PAGE: u64 = 50_000;
/// Mappings of one message.
const MESSAGE: usize = 2000;
/// Longest name in a request.
const MAX_NAME_BYTES: usize = 64;
/// Shortest and longest interval of samples.
const INTERVAL_MS: std::ops::RangeInclusive<u32> = 100..=3_600_000;

/// Answers the calls of operators.
#[derive(Debug, Clone)]
pub struct Service {
    control: ControlHandle,
    config: watch::Receiver<Arc<Config>>,
    started: Instant,
}

impl Service {
    /// Answers with the help of the control thread, by the configuration in force.
    #[must_use]
    pub fn new(control: ControlHandle, config: watch::Receiver<Arc<Config>>) -> Self {
        Service { control, config, started: Instant::now() }
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        self.ask_for(PATIENCE, make).await
    }

    async fn ask_for<T>(
        &self,
        patience: Duration,
        make: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, Status> {
        match tokio::time::timeout(patience, self.control.ask(make)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Gone)) => Err(Status::unavailable(format!("{Gone}; ask again when it has started"))),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer within {} s; the node is very busy, look at its log",
                patience.as_secs()
            ))),
        }
    }

    async fn apply(&self, peer: Peer, changes: Vec<Change>) -> Result<Applied, Status> {
        let count = changes.len();
        let batch = Batch { origin: Origin::Admin, changes, complete: false };
        let refused = |why: Refusal| {
            tracing::info!(%peer, changes = count, "mapping changes refused: {why}");
            Status::failed_precondition(why.to_string())
        };
        let applied = self.ask(|answer| Ask::Apply(batch, answer)).await?.map_err(refused)?;
        let Applied { revision, created, changed, deleted } = applied;
        tracing::info!(%peer, revision, created, changed, deleted, "mappings changed by an operator");
        Ok(applied)
    }

    async fn amend(&self, peer: Peer, amend: Amend) -> Result<Response<v1::Amended>, Status> {
        let refused = |why: AmendRefusal| {
            tracing::info!(%peer, "change of policies or peers refused: {why}");
            match why {
                AmendRefusal::Wrong(why) => Status::invalid_argument(why),
                AmendRefusal::NotThere(why) => Status::not_found(why),
                AmendRefusal::Forbidden(why) => Status::failed_precondition(why),
            }
        };
        self.ask(|answer| Ask::Amend(amend, answer)).await?.map_err(refused)?;
        tracing::info!(%peer, "policies or peers changed by an operator");
        Ok(Response::new(v1::Amended {}))
    }

    async fn sample(&self) -> Result<v1::StatsSample, Status> {
        let workers = self.ask(Ask::Node).await?.workers;
        let ports = self.ask(|answer| Ask::Ports(false, answer)).await?;
        let at_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(StatsView { at_us, workers, ports }.message())
    }

    /// Sends pages until the list or the limit ends, or the caller hangs up.
    async fn send_pages(
        &self,
        filter: MappingFilter,
        pages: &mpsc::Sender<Result<v1::MappingPage, Status>>,
    ) -> Result<(), Status> {
        let mut left = if filter.limit == 0 { u64::MAX } else { filter.limit };
        let mut after: Option<Ipv6Addr> = None;
        while left > 0 {
            let limit = left.min(PAGE);
            let filter = MappingFilter { after, limit, ..filter.clone() };
            let page = self.ask(|answer| Ask::MappingList(filter, answer)).await?;
            let page = page.map_err(Status::invalid_argument)?;
            let count = page.len() as u64;
            let (first, last) = (page.first().map(|view| view.sir), page.last().map(|view| view.sir));
            if after.is_some() && first.is_some() && first <= after {
                return Err(Status::internal("the list of mappings is out of order; report this"));
            }
            let mut page = page.into_iter();
            while page.len() > 0 {
                let mappings = page.by_ref().take(MESSAGE).map(Wire::message).collect();
                if pages.send(Ok(v1::MappingPage { mappings })).await.is_err() {
                    return Ok(());
                }
            }
            if count < limit {
                return Ok(());
            }
            left = left.saturating_sub(count);
            after = last;
        }
        Ok(())
    }
}

/// Who calls, for the log.
struct Peer(Option<tokio::net::unix::UCred>);

impl Peer {
    fn of<T>(request: &Request<T>) -> Self {
        Peer(request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(peer) => write!(f, "uid {} pid {}", peer.uid(), peer.pid().unwrap_or(0)),
            None => f.write_str("unknown"),
        }
    }
}

fn batch_size(count: usize, what: &str) -> Result<(), Status> {
    match count {
        0 => Err(Status::invalid_argument(format!("no {what} given; name 1 to {MAX_BATCH}"))),
        1..=MAX_BATCH => Ok(()),
        _ => Err(Status::invalid_argument(format!(
            "{count} {what} in one batch; send {MAX_BATCH} at most, or use the mapping file"
        ))),
    }
}

/// Judges what a list is filtered by.
fn filter(request: v1::MappingListRequest, config: &Config) -> Result<MappingFilter, Status> {
    let v1::MappingListRequest { domain, locator, origin, limit } = request;
    let names = |list: Vec<&str>| list.join(", ");
    let quoted = |text: &str| text.chars().take(MAX_NAME_BYTES).collect::<String>();
    if let Some(domain) = &domain
        && !config.sir_domains.iter().any(|known| known.name == *domain)
    {
        let known = names(config.sir_domains.iter().map(|domain| domain.name.as_str()).collect());
        let domain = quoted(domain);
        return Err(Status::invalid_argument(format!("`{domain}` is no SIR domain; choose one of {known}")));
    }
    const ORIGINS: [&str; 3] = ["attachment", "file", "admin"];
    if let Some(origin) = &origin
        && !ORIGINS.contains(&origin.as_str())
    {
        let (origin, known) = (quoted(origin), names(ORIGINS.to_vec()));
        return Err(Status::invalid_argument(format!("`{origin}` is no origin; choose one of {known}")));
    }
    let locator = match locator {
        Some(text) => Some(Rules::of(config).locator(&text).map_err(Status::invalid_argument)?.to_string()),
        None => None,
    };
    Ok(MappingFilter { domain, locator, origin, after: None, limit })
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl v1::admin_server::Admin for Service {
    async fn mapping_upsert(
        &self,
        request: Request<v1::MappingUpsertRequest>,
    ) -> Result<Response<v1::Applied>, Status> {
        let peer = Peer::of(&request);
        let mappings = request.into_inner().mappings;
        batch_size(mappings.len(), "mappings")?;
        let config = self.config.borrow().clone();
        let rules = Rules::of(&config);
        let mut changes = Vec::with_capacity(mappings.len());
        for mapping in &mappings {
            let written: Vec<Written<'_>> = mapping
                .locators
                .iter()
                .map(|choice| Written {
                    locator: &choice.locator,
                    priority: choice.priority,
                    weight: choice.weight.unwrap_or(1),
                })
                .collect();
            let record = rules.record(&mapping.sir, &written, mapping.blackhole);
            changes.push(Change::Upsert(record.map_err(Status::invalid_argument)?));
        }
        Ok(Response::new(self.apply(peer, changes).await?.message()))
    }

    async fn mapping_delete(
        &self,
        request: Request<v1::MappingDeleteRequest>,
    ) -> Result<Response<v1::Applied>, Status> {
        let peer = Peer::of(&request);
        let sirs = request.into_inner().sirs;
        batch_size(sirs.len(), "SIR addresses")?;
        let config = self.config.borrow().clone();
        let rules = Rules::of(&config);
        let mut changes = Vec::with_capacity(sirs.len());
        for sir in &sirs {
            let local = rules.identifier(sir).map_err(Status::invalid_argument)?;
            changes.push(Change::Delete { domain: local.domain, identifier: local.identifier });
        }
        let applied = self.apply(peer, changes).await?;
        match sirs.as_slice() {
            [sir] if applied.deleted + applied.changed == 0 => Err(no_mapping(sir)),
            _ => Ok(Response::new(applied.message())),
        }
    }

    async fn mapping_get(
        &self,
        request: Request<v1::MappingGetRequest>,
    ) -> Result<Response<v1::Mapping>, Status> {
        let sir = request.into_inner().sir;
        let config = self.config.borrow().clone();
        let local = Rules::of(&config).identifier(&sir).map_err(Status::invalid_argument)?;
        let prefix = config.sir_domains.get(usize::from(local.domain)).map(|domain| domain.prefix);
        let prefix: SirPrefix = prefix.ok_or_else(|| no_mapping(&sir))?;
        let address = Ipv6Addr::from(prefix.with(local.identifier));
        let view = self.ask(|answer| Ask::MappingGet(address, answer)).await?;
        Ok(Response::new(view.ok_or_else(|| no_mapping(&sir))?.message()))
    }

    type MappingListStream = Stream<v1::MappingPage>;

    async fn mapping_list(
        &self,
        request: Request<v1::MappingListRequest>,
    ) -> Result<Response<Self::MappingListStream>, Status> {
        let filter = filter(request.into_inner(), &self.config.borrow().clone())?;
        let (pages, stream) = mpsc::channel(2);
        let service = self.clone();
        tokio::spawn(async move {
            if let Err(status) = service.send_pages(filter, &pages).await {
                // Nobody to tell when the caller has hung up.
                let _ = pages.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn node_show(&self, _: Request<v1::NodeShowRequest>) -> Result<Response<v1::Node>, Status> {
        Ok(Response::new(self.ask(Ask::Node).await?.message()))
    }

    async fn node_reload(
        &self,
        request: Request<v1::NodeReloadRequest>,
    ) -> Result<Response<v1::Reload>, Status> {
        let peer = Peer::of(&request);
        tracing::info!(%peer, "reload asked for by an operator");
        let reloaded = self.ask_for(RELOAD_PATIENCE, Ask::Reload).await?;
        Ok(Response::new(reloaded.map_err(Status::failed_precondition)?.message()))
    }

    async fn port_list(
        &self,
        request: Request<v1::PortListRequest>,
    ) -> Result<Response<v1::PortListResponse>, Status> {
        let xstats = request.into_inner().xstats;
        let ports = self.ask(|answer| Ask::Ports(xstats, answer)).await?.message();
        Ok(Response::new(v1::PortListResponse { ports }))
    }

    async fn neighbour_list(
        &self,
        _: Request<v1::NeighbourListRequest>,
    ) -> Result<Response<v1::NeighbourListResponse>, Status> {
        let neighbours = self.ask(Ask::Neighbours).await?.message();
        Ok(Response::new(v1::NeighbourListResponse { neighbours }))
    }

    async fn route_list(
        &self,
        _: Request<v1::RouteListRequest>,
    ) -> Result<Response<v1::RouteListResponse>, Status> {
        let routes = self.ask(Ask::Routes).await?.message();
        Ok(Response::new(v1::RouteListResponse { routes }))
    }

    async fn network_list(
        &self,
        _: Request<v1::NetworkListRequest>,
    ) -> Result<Response<v1::NetworkListResponse>, Status> {
        let networks = self.ask(Ask::Networks).await?.message();
        Ok(Response::new(v1::NetworkListResponse { networks }))
    }

    async fn network_get(
        &self,
        request: Request<v1::NetworkGetRequest>,
    ) -> Result<Response<v1::NetworkDetail>, Status> {
        let network = request.into_inner().network;
        let name = network.clone();
        let view = self.ask(|answer| Ask::Network(name, answer)).await?;
        let view = view.ok_or_else(|| Status::not_found(no_network(&network)))?;
        Ok(Response::new(view.message()))
    }

    async fn attachment_list(
        &self,
        _: Request<v1::AttachmentListRequest>,
    ) -> Result<Response<v1::AttachmentListResponse>, Status> {
        let attachments = self.ask(Ask::Attachments).await?.message();
        Ok(Response::new(v1::AttachmentListResponse { attachments }))
    }

    async fn group_list(
        &self,
        _: Request<v1::GroupListRequest>,
    ) -> Result<Response<v1::GroupListResponse>, Status> {
        let groups = self.ask(Ask::Groups).await?.message();
        Ok(Response::new(v1::GroupListResponse { groups }))
    }

    async fn policy_list(
        &self,
        _: Request<v1::PolicyListRequest>,
    ) -> Result<Response<v1::PolicyListResponse>, Status> {
        let policies = self.ask(Ask::Policies).await?.message();
        Ok(Response::new(v1::PolicyListResponse { policies }))
    }

    async fn policy_add(
        &self,
        request: Request<v1::PolicyAddRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let peer = Peer::of(&request);
        let v1::PolicyAddRequest { from, to, via } = request.into_inner();
        self.amend(peer, Amend::Add(Amendment::Policy(PolicyWords { from, to, via }))).await
    }

    async fn policy_delete(
        &self,
        request: Request<v1::PolicyDeleteRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let peer = Peer::of(&request);
        let v1::PolicyDeleteRequest { from, to } = request.into_inner();
        self.amend(peer, Amend::DeletePolicy(PolicyWords { from, to, via: None })).await
    }

    async fn peer_list(
        &self,
        request: Request<v1::PeerListRequest>,
    ) -> Result<Response<v1::PeerListResponse>, Status> {
        let network = request.into_inner().network;
        let config = self.config.borrow().clone();
        if let Some(name) = &network
            && !config.virtual_networks.iter().any(|network| network.name == *name)
        {
            return Err(Status::not_found(no_network(name)));
        }
        let peers = self.ask(|answer| Ask::Peers(network, answer)).await?.message();
        Ok(Response::new(v1::PeerListResponse { peers }))
    }

    async fn peer_add(&self, request: Request<v1::PeerAddRequest>) -> Result<Response<v1::Amended>, Status> {
        let peer = Peer::of(&request);
        let v1::PeerAddRequest { network, address, to, of } = request.into_inner();
        self.amend(peer, Amend::Add(Amendment::Peer(PeerWords { network, address, to, of }))).await
    }

    async fn peer_delete(
        &self,
        request: Request<v1::PeerDeleteRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let peer = Peer::of(&request);
        let v1::PeerDeleteRequest { network, address } = request.into_inner();
        self.amend(peer, Amend::DeletePeer { network, address }).await
    }

    async fn drops(&self, _: Request<v1::DropsRequest>) -> Result<Response<v1::DropsResponse>, Status> {
        let drops = self.ask(Ask::Drops).await?.message();
        Ok(Response::new(v1::DropsResponse { drops }))
    }

    type EventsStream = Stream<v1::EventPage>;

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let v1::EventsRequest { after, follow } = request.into_inner();
        let mut feed = self.ask(|answer| Ask::Events(after, answer)).await?;
        let (pages, stream) = mpsc::channel(2);
        tokio::spawn(async move {
            loop {
                let heard = feed.heard();
                if !heard.events.is_empty() {
                    if pages.send(Ok(page(heard))).await.is_err() {
                        return;
                    }
                    continue;
                }
                if !follow {
                    return;
                }
                tokio::select! {
                    () = feed.ready() => {}
                    () = pages.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type StatsStream = Stream<v1::StatsSample>;

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Result<Response<Self::StatsStream>, Status> {
        let interval_ms = request.into_inner().interval_ms;
        if let Some(interval) = interval_ms.filter(|interval| !INTERVAL_MS.contains(interval)) {
            let (low, high) = INTERVAL_MS.into_inner();
            let message = format!("interval of {interval} ms; choose {low} to {high}");
            return Err(Status::invalid_argument(message));
        }
        let (samples, stream) = mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move {
            let Some(interval_ms) = interval_ms else {
                let _ = samples.send(service.sample().await).await;
                return;
            };
            let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms.into()));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = samples.closed() => return,
                }
                let sample = service.sample().await;
                let failed = sample.is_err();
                if samples.send(sample).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn no_network(name: &str) -> String {
    let name: String = name.chars().take(MAX_NAME_BYTES).collect();
    format!("`{name}` is no virtual network; `ilactl vn list` shows them")
}

fn page(heard: Heard) -> v1::EventPage {
    let Heard { missed, events } = heard;
    v1::EventPage { missed, events: events.iter().map(|event: &Event| event.view().message()).collect() }
}

fn no_mapping(sir: &str) -> Status {
    Status::not_found(format!("{sir} has no mapping; `ilactl mapping list` shows what is there"))
}
