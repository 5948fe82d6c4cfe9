//! The calls, one by one: judge the request, ask the control thread, put its answer into a message.

use super::caller::Caller;
use super::control::Control;
use super::judge::{batch_size, no_mapping, no_network};
use super::listing::{filter, send_pages};
use super::streams;
use crate::api::v1;
use crate::api::wire::Wire;
use crate::config::mappings::{Rules, Written};
use crate::config::{Amendment, Config, PeerWords, PolicyWords};
use crate::ila::SirPrefix;
use crate::mapping::Change;
use crate::node::handle::{Amend, ControlHandle, Request as Ask};
use crate::node::identifiers::{AT_ONCE, Identifiers};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// How long the control thread may take to reload: mapping files have millions of lines.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Shortest and longest interval of samples.
const INTERVAL_MS: std::ops::RangeInclusive<u32> = 100..=3_600_000;

/// Answers the calls of operators.
#[derive(Debug, Clone)]
pub struct Service {
    control: Control,
    config: watch::Receiver<Arc<Config>>,
    identifiers: Arc<Identifiers>,
}

impl Service {
    /// Answers with the help of the control thread, by the configuration in force.
    #[must_use]
    pub fn new(control: ControlHandle, config: watch::Receiver<Arc<Config>>) -> Self {
        Service { control: Control::new(control), config, identifiers: Arc::default() }
    }

    /// The same, which makes identifiers of tasks.
    #[must_use]
    pub fn making(self, identifiers: Arc<Identifiers>) -> Self {
        Service { identifiers, ..self }
    }
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl v1::admin_server::Admin for Service {
    async fn mapping_upsert(
        &self,
        request: Request<v1::MappingUpsertRequest>,
    ) -> Result<Response<v1::Applied>, Status> {
        let caller = Caller::of(&request);
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
        Ok(Response::new(self.control.apply(caller, changes).await?.message()))
    }

    async fn mapping_delete(
        &self,
        request: Request<v1::MappingDeleteRequest>,
    ) -> Result<Response<v1::Applied>, Status> {
        let caller = Caller::of(&request);
        let sirs = request.into_inner().sirs;
        batch_size(sirs.len(), "SIR addresses")?;
        let config = self.config.borrow().clone();
        let rules = Rules::of(&config);
        let mut changes = Vec::with_capacity(sirs.len());
        for sir in &sirs {
            let local = rules.identifier(sir).map_err(Status::invalid_argument)?;
            changes.push(Change::Delete { domain: local.domain, identifier: local.identifier });
        }
        let applied = self.control.apply(caller, changes).await?;
        match sirs.as_slice() {
            [sir] if applied.deleted + applied.changed == 0 => Err(no_mapping(sir)),
            _ => Ok(Response::new(applied.message())),
        }
    }

    async fn mapping_confirm(
        &self,
        request: Request<v1::MappingConfirmRequest>,
    ) -> Result<Response<v1::Applied>, Status> {
        let caller = Caller::of(&request);
        let deletions = request.into_inner().deletions;
        tracing::info!(peer = %caller, deletions, "deletions of the mapping file confirmed by an operator");
        let confirmed = self.control.ask(|answer| Ask::Confirm(deletions, answer)).await?;
        Ok(Response::new(confirmed.map_err(Status::failed_precondition)?.message()))
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
        let view = self.control.ask(|answer| Ask::MappingGet(address, answer)).await?;
        Ok(Response::new(view.ok_or_else(|| no_mapping(&sir))?.message()))
    }

    type MappingListStream = Stream<v1::MappingPage>;

    async fn mapping_list(
        &self,
        request: Request<v1::MappingListRequest>,
    ) -> Result<Response<Self::MappingListStream>, Status> {
        let filter = filter(request.into_inner(), &self.config.borrow().clone())?;
        let (pages, stream) = mpsc::channel(2);
        let control = self.control.clone();
        tokio::spawn(async move {
            if let Err(status) = send_pages(&control, filter, &pages).await {
                // A caller that has hung up needs no answer.
                let _ = pages.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn node_show(&self, _: Request<v1::NodeShowRequest>) -> Result<Response<v1::Node>, Status> {
        Ok(Response::new(self.control.ask(Ask::Node).await?.message()))
    }

    async fn node_reload(
        &self,
        request: Request<v1::NodeReloadRequest>,
    ) -> Result<Response<v1::Reload>, Status> {
        let caller = Caller::of(&request);
        tracing::info!(peer = %caller, "reload asked for by an operator");
        let reloaded = self.control.ask_for(RELOAD_TIMEOUT, Ask::Reload).await?;
        Ok(Response::new(reloaded.map_err(Status::failed_precondition)?.message()))
    }

    async fn port_list(
        &self,
        request: Request<v1::PortListRequest>,
    ) -> Result<Response<v1::PortListResponse>, Status> {
        let xstats = request.into_inner().xstats;
        let ports = self.control.ask(|answer| Ask::Ports(xstats, answer)).await?.message();
        Ok(Response::new(v1::PortListResponse { ports }))
    }

    async fn neighbour_list(
        &self,
        _: Request<v1::NeighbourListRequest>,
    ) -> Result<Response<v1::NeighbourListResponse>, Status> {
        let neighbours = self.control.ask(Ask::Neighbours).await?.message();
        Ok(Response::new(v1::NeighbourListResponse { neighbours }))
    }

    async fn route_list(
        &self,
        _: Request<v1::RouteListRequest>,
    ) -> Result<Response<v1::RouteListResponse>, Status> {
        let routes = self.control.ask(Ask::Routes).await?.message();
        Ok(Response::new(v1::RouteListResponse { routes }))
    }

    async fn network_list(
        &self,
        _: Request<v1::NetworkListRequest>,
    ) -> Result<Response<v1::NetworkListResponse>, Status> {
        let networks = self.control.ask(Ask::Networks).await?.message();
        Ok(Response::new(v1::NetworkListResponse { networks }))
    }

    async fn network_get(
        &self,
        request: Request<v1::NetworkGetRequest>,
    ) -> Result<Response<v1::NetworkDetail>, Status> {
        let network = request.into_inner().network;
        let name = network.clone();
        let view = self.control.ask(|answer| Ask::Network(name, answer)).await?;
        let view = view.ok_or_else(|| Status::not_found(no_network(&network)))?;
        Ok(Response::new(view.message()))
    }

    async fn attachment_list(
        &self,
        _: Request<v1::AttachmentListRequest>,
    ) -> Result<Response<v1::AttachmentListResponse>, Status> {
        let attachments = self.control.ask(Ask::Attachments).await?.message();
        Ok(Response::new(v1::AttachmentListResponse { attachments }))
    }

    async fn group_list(
        &self,
        _: Request<v1::GroupListRequest>,
    ) -> Result<Response<v1::GroupListResponse>, Status> {
        let groups = self.control.ask(Ask::Groups).await?.message();
        Ok(Response::new(v1::GroupListResponse { groups }))
    }

    async fn policy_list(
        &self,
        _: Request<v1::PolicyListRequest>,
    ) -> Result<Response<v1::PolicyListResponse>, Status> {
        let policies = self.control.ask(Ask::Policies).await?.message();
        Ok(Response::new(v1::PolicyListResponse { policies }))
    }

    async fn policy_add(
        &self,
        request: Request<v1::PolicyAddRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let caller = Caller::of(&request);
        let v1::PolicyAddRequest { from, to, via } = request.into_inner();
        self.control.amend(caller, Amend::Add(Amendment::Policy(PolicyWords { from, to, via }))).await
    }

    async fn policy_delete(
        &self,
        request: Request<v1::PolicyDeleteRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let caller = Caller::of(&request);
        let v1::PolicyDeleteRequest { from, to } = request.into_inner();
        self.control.amend(caller, Amend::DeletePolicy(PolicyWords { from, to, via: None })).await
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
        let peers = self.control.ask(|answer| Ask::Peers(network, answer)).await?.message();
        Ok(Response::new(v1::PeerListResponse { peers }))
    }

    async fn peer_add(&self, request: Request<v1::PeerAddRequest>) -> Result<Response<v1::Amended>, Status> {
        let caller = Caller::of(&request);
        let v1::PeerAddRequest { network, address, to, of } = request.into_inner();
        self.control.amend(caller, Amend::Add(Amendment::Peer(PeerWords { network, address, to, of }))).await
    }

    async fn peer_delete(
        &self,
        request: Request<v1::PeerDeleteRequest>,
    ) -> Result<Response<v1::Amended>, Status> {
        let caller = Caller::of(&request);
        let v1::PeerDeleteRequest { network, address } = request.into_inner();
        self.control.amend(caller, Amend::DeletePeer { network, address }).await
    }

    async fn drops(&self, _: Request<v1::DropsRequest>) -> Result<Response<v1::DropsResponse>, Status> {
        let drops = self.control.ask(Ask::Drops).await?.message();
        Ok(Response::new(v1::DropsResponse { drops }))
    }

    type EventsStream = Stream<v1::EventPage>;

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let v1::EventsRequest { after, follow } = request.into_inner();
        let feed = self.control.ask(|answer| Ask::Events(after, answer)).await?;
        let (pages, stream) = mpsc::channel(2);
        tokio::spawn(streams::events(feed, follow, pages));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn identifier_make(
        &self,
        request: Request<v1::IdentifierMakeRequest>,
    ) -> Result<Response<v1::IdentifiersMade>, Status> {
        let caller = Caller::of(&request);
        let v1::IdentifierMakeRequest { domain, count } = request.into_inner();
        if !(1..=AT_ONCE).contains(&count) {
            return Err(Status::invalid_argument(format!("{count} identifiers; ask for 1 to {AT_ONCE}")));
        }
        let config = self.config.borrow().clone();
        let Some(domain) = config.sir_domains.iter().find(|known| known.name == domain) else {
            let why = format!("`{}` is not the name of a SIR domain of this node", domain.escape_debug());
            return Err(Status::not_found(why));
        };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock =
            clock.map_err(|_| Status::failed_precondition("the clock is before 1970; set it right"))?;
        let made = self.identifiers.make(domain.prefix.0, count, Instant::now(), clock);
        let (block, made) = made.map_err(Status::failed_precondition)?;
        tracing::info!(peer = %caller, %block, count, "identifiers made");
        let sirs = made.into_iter().map(|it| Ipv6Addr::from(domain.prefix.with(it)).to_string());
        Ok(Response::new(v1::IdentifiersMade { sirs: sirs.collect(), block: block.number() }))
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
        tokio::spawn(streams::stats(self.control.clone(), interval_ms, samples));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
