//! The operator's API of an authority (`proto/ilagate/manage/v1/manage.proto`).

mod objects;

use super::authority::{Authority, NveState};
use super::listen::Peer;
use super::model::{Key, Record};
use super::reload::{Operators, Reloader};
use super::restoration::Restoration;
use super::server::{AuthorityHandle, Gone, Trusted};
use super::store::StoreError;
use super::store::backup::backup;
use crate::api::manage::manage_server::{Manage, ManageServer};
use crate::api::manage::{self as v1, RecordLocator};
use crate::config::{OperatorRole, Summary};
use crate::ila::Locator;
use crate::tls::Role;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Records that one look goes through: the authority does nothing else meanwhile.
const LOOK: usize = 1_000;
/// Pages that wait for an operator.
const WAITING: usize = 4;
/// Names of NVEs that a status shows.
const WAITED_FOR: usize = 100;
/// Longest name of a backup in bytes.
const MAX_NAME: usize = 64;

/// What the API needs to know.
#[derive(Clone)]
pub(super) struct ManageService {
    pub(super) handle: AuthorityHandle,
    pub(super) trusted: Trusted,
    pub(super) operators: watch::Receiver<Operators>,
    pub(super) reloader: Arc<Reloader>,
    /// Name of the authority.
    pub(super) name: String,
    pub(super) began: Instant,
    /// Where backups go.
    pub(super) directory: PathBuf,
}

impl ManageService {
    /// The service.
    pub(super) fn service(self) -> ManageServer<Self> {
        ManageServer::new(self)
    }

    /// Lets in who may at least `needed`. Who may open the Unix socket may everything.
    fn admit<T>(&self, request: &Request<T>, needed: OperatorRole) -> Result<String, Status> {
        let refuse = |why: String| Err(Status::permission_denied(why));
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(Status::internal("a call without a connection"));
        };
        peer.use_it();
        let (chain, trusted) = match (&peer.chain, &self.trusted) {
            (None, _) if peer.is_unix() => return Ok("the Unix socket".to_owned()),
            (None, _) | (_, None) => {
                return refuse(
                    "operators come by the Unix socket or by TLS, and not in the clear over an address"
                        .to_owned(),
                );
            }
            (Some(chain), Some(trusted)) => (chain, trusted),
        };
        let identity = trusted.borrow().judge(chain);
        let identity = identity.map_err(|why| Status::permission_denied(why.to_string()))?;
        if identity.role() != Role::Operator {
            return refuse(format!("{identity} is no operator"));
        }
        let role = self.operators.borrow().get(identity.name()).copied();
        match role {
            Some(role) if role >= needed => Ok(identity.to_string()),
            Some(role) => refuse(format!(
                "{identity} is a {}, and this is for a role of {} or more; change its role in operators",
                role.name(),
                needed.name()
            )),
            None => refuse(format!("{identity} is not among the operators of this authority; add it there")),
        }
    }
}

impl From<Gone> for Status {
    fn from(_: Gone) -> Self {
        Status::unavailable("the authority is shutting down")
    }
}

/// Reads a SIR address.
fn read_key(sir: &str) -> Result<Key, Status> {
    let address: Ipv6Addr = sir.parse().map_err(|_| {
        Status::invalid_argument(format!(
            "`{}` is no SIR address; write one as 2001:db8::1",
            sir.escape_debug()
        ))
    })?;
    let bits = address.to_bits();
    Ok(Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 })
}

#[derive(Debug, Default)]
struct Filter {
    nve: Option<String>,
    locator: Option<Locator>,
    key: Option<Key>,
}

impl Filter {
    fn read(request: &v1::RecordListRequest) -> Result<Self, Status> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let locator = some(&request.locator).map(|text| {
            text.parse::<Locator>()
                .map_err(|why| Status::invalid_argument(format!("`{}`: {why}", text.escape_debug())))
        });
        let key = some(&request.sir).map(|sir| read_key(&sir));
        Ok(Filter { nve: some(&request.nve), locator: locator.transpose()?, key: key.transpose()? })
    }

    fn takes(&self, key: Key, record: &Record) -> bool {
        self.key.is_none_or(|wanted| wanted == key)
            && self.nve.as_ref().is_none_or(|nve| *nve == record.owner)
            && self.locator.is_none_or(|at| record.choices.iter().any(|choice| choice.locator == at))
    }

    /// One look from behind `after`: what it takes, and where it ended, if there is more.
    fn look(&self, authority: &Authority, after: Option<Key>) -> (Vec<v1::Record>, Option<Key>) {
        let registry = authority.registry();
        if let Some(key) = self.key {
            let record = registry.record(key).filter(|record| self.takes(key, record));
            return (record.map(|record| write(key, record)).into_iter().collect(), None);
        }
        let (mut found, mut last) = (Vec::new(), None);
        for (n, (key, record)) in registry.records_after(after).enumerate() {
            if n == LOOK {
                return (found, last);
            }
            if self.takes(*key, record) {
                found.push(write(*key, record));
            }
            last = Some(*key);
        }
        (found, None)
    }
}

fn waits_for(restoration: &Restoration) -> impl Iterator<Item = String> {
    restoration.waits_for().take(WAITED_FOR).map(str::to_owned)
}

fn write(key: Key, record: &Record) -> v1::Record {
    let locators = record.choices.iter().map(|choice| RecordLocator {
        prefix: choice.locator.to_string(),
        priority: choice.priority.into(),
        weight: choice.weight.into(),
    });
    v1::Record {
        sir: key.to_string(),
        owner: record.owner.clone(),
        sequence: record.sequence,
        locators: locators.collect(),
    }
}

#[tonic::async_trait]
impl Manage for ManageService {
    type ObjectListStream = ReceiverStream<Result<v1::ObjectPage, Status>>;
    type RecordListStream = ReceiverStream<Result<v1::RecordPage, Status>>;

    async fn status_get(
        &self,
        request: Request<v1::StatusGetRequest>,
    ) -> Result<Response<v1::Status>, Status> {
        self.admit(&request, OperatorRole::Viewer)?;
        let (name, uptime_s) = (self.name.clone(), self.began.elapsed().as_secs());
        let look = move |authority: &Authority| {
            let registry = authority.registry();
            let (identifiers, released) = registry.counts();
            v1::Status {
                name,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_s,
                epoch: authority.epoch().iter().map(|byte| format!("{byte:02x}")).collect(),
                revision: registry.revision(),
                identifiers: identifiers as u64,
                released: released as u64,
                nves: registry.nves().count() as u64,
                sessions: authority.nves().count() as u64,
                restored: registry.restoration().is_some(),
                waits_for: registry.restoration().into_iter().flat_map(waits_for).collect(),
            }
        };
        Ok(Response::new(self.handle.look(look).await?))
    }

    async fn nve_list(
        &self,
        request: Request<v1::NveListRequest>,
    ) -> Result<Response<v1::NveListResponse>, Status> {
        self.admit(&request, OperatorRole::Viewer)?;
        let authority_name = self.name.clone();
        let look = move |authority: &Authority| {
            let elsewhere: BTreeMap<&str, &str> = authority.elsewhere().collect();
            let live: BTreeMap<&str, NveState<'_>> = authority.nves().map(|nve| (nve.name, nve)).collect();
            let registry = authority.registry();
            let mut nves: Vec<v1::Nve> = registry
                .nves()
                .map(|(name, nve)| {
                    let mut locators: Vec<String> = nve.locators.keys().map(ToString::to_string).collect();
                    locators.sort();
                    let state = live.get(name);
                    let provisioned = state.and_then(|state| state.provisioned.as_ref());
                    let there = elsewhere.get(name).copied().unwrap_or_default();
                    v1::Nve {
                        name: name.to_owned(),
                        session: state.is_some(),
                        authority: state.map_or(there, |_| &authority_name).to_owned(),
                        applied: state.map_or(0, |state| state.applied),
                        identifiers: registry.count_of(name) as u64,
                        max_identifiers: nve.max_identifiers as u64,
                        locators,
                        unknown: false,
                        provisioned: provisioned.map(|(revision, _)| *revision),
                        refused: state.map(objects::refusals).unwrap_or_default(),
                    }
                })
                .collect();
            nves.extend(registry.strangers().map(|(name, identifiers)| v1::Nve {
                name: name.to_owned(),
                identifiers: identifiers as u64,
                unknown: true,
                ..v1::Nve::default()
            }));
            nves.sort_by(|a, b| a.name.cmp(&b.name));
            nves
        };
        Ok(Response::new(v1::NveListResponse { nves: self.handle.look(look).await? }))
    }

    async fn record_list(
        &self,
        request: Request<v1::RecordListRequest>,
    ) -> Result<Response<Self::RecordListStream>, Status> {
        self.admit(&request, OperatorRole::Viewer)?;
        let request = request.into_inner();
        let filter = Arc::new(Filter::read(&request)?);
        let mut left = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let (sender, pages) = mpsc::channel(WAITING);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let mut after = None;
            loop {
                let filter = filter.clone();
                let looked = handle.look(move |authority: &Authority| filter.look(authority, after)).await;
                let (mut records, last) = match looked {
                    Ok(looked) => looked,
                    Err(gone) => {
                        let _ = sender.send(Err(gone.into())).await;
                        return;
                    }
                };
                records.truncate(left);
                left -= records.len();
                let is_some = !records.is_empty();
                // Whoever asked may have seen enough.
                if is_some && sender.send(Ok(v1::RecordPage { records })).await.is_err() {
                    return;
                }
                if last.is_none() || left == 0 || sender.is_closed() {
                    return;
                }
                after = last;
            }
        });
        Ok(Response::new(ReceiverStream::new(pages)))
    }

    async fn record_release(
        &self,
        request: Request<v1::RecordReleaseRequest>,
    ) -> Result<Response<v1::RecordReleased>, Status> {
        let who = self.admit(&request, OperatorRole::Operator)?;
        let key = read_key(&request.into_inner().sir)?;
        let (sequence, revision) = self.handle.release(key).await?.map_err(Status::failed_precondition)?;
        tracing::warn!(identifier = %key, sequence, revision, who, "released by an operator");
        Ok(Response::new(v1::RecordReleased { sequence, revision }))
    }

    async fn nve_release(
        &self,
        request: Request<v1::NveReleaseRequest>,
    ) -> Result<Response<v1::NveReleased>, Status> {
        let who = self.admit(&request, OperatorRole::Operator)?;
        let nve = request.into_inner().nve;
        let released = self.handle.release_all(nve.clone()).await?;
        let (released, revision) = released.map_err(Status::failed_precondition)?;
        tracing::warn!(nve, released, revision, who, "everything of an NVE was released by an operator");
        Ok(Response::new(v1::NveReleased { released, revision }))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::Resumed>, Status> {
        let who = self.admit(&request, OperatorRole::Operator)?;
        let (_, revision) = self.handle.resume().await?.map_err(Status::failed_precondition)?;
        tracing::warn!(revision, who, "the wait after a restoration was ended by an operator");
        Ok(Response::new(v1::Resumed { revision }))
    }

    async fn reload(&self, request: Request<v1::ReloadRequest>) -> Result<Response<v1::Reloaded>, Status> {
        let who = self.admit(&request, OperatorRole::Admin)?;
        let applied = self.reloader.reload_and_tell(&who).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::Reloaded { applied }))
    }

    async fn object_list(
        &self,
        request: Request<v1::ObjectListRequest>,
    ) -> Result<Response<Self::ObjectListStream>, Status> {
        self.admit(&request, OperatorRole::Viewer)?;
        let wanted = Arc::new(objects::Wanted::read(request.into_inner())?);
        Ok(Response::new(objects::list(self.handle.clone(), wanted)))
    }

    async fn object_write(
        &self,
        request: Request<v1::ObjectWriteRequest>,
    ) -> Result<Response<v1::ObjectWritten>, Status> {
        let who = self.admit(&request, OperatorRole::Operator)?;
        let from = request.extensions().get::<Peer>().map(|peer| peer.from.clone()).unwrap_or_default();
        let (action, key, change) = objects::read(request.into_inner())?;
        let object = key.to_string();
        match self.handle.change(key.clone(), change).await? {
            Ok((sequence, revision)) => {
                tracing::warn!(object, action, sequence, revision, who, %from, "changed by an operator");
                let summary = move |authority: &Authority| objects::summary(authority, &key);
                let Summary { addresses, vnid, .. } = self.handle.look(summary).await?;
                Ok(Response::new(v1::ObjectWritten { sequence, revision, addresses, vnid }))
            }
            Err(why) => {
                tracing::warn!(object, action, why, who, %from, "a change by an operator is refused");
                Err(Status::failed_precondition(why))
            }
        }
    }

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<v1::BackupResponse>, Status> {
        let who = self.admit(&request, OperatorRole::Admin)?;
        let name = request.into_inner().name;
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_good) || name.starts_with('.') {
            return Err(Status::invalid_argument(format!(
                "`{}` is no name of a file; write 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, not `.` first",
                name.escape_debug()
            )));
        }
        let path = self.directory.join(name);
        if path.exists() {
            return Err(Status::already_exists(format!(
                "{}: is there already; name another",
                path.display()
            )));
        }
        let failed = |why: StoreError| Status::failed_precondition(why.to_string());
        let snapshot = self.handle.snapshot().await?.map_err(failed)?;
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || backup(&snapshot()?, &to, &mut |_, _, _| ())).await;
        let summary = written.map_err(|why| Status::internal(why.to_string()))?.map_err(failed)?;
        tracing::info!(file = %path.display(), revision = summary.revision, who, "backup");
        Ok(Response::new(v1::BackupResponse {
            path: path.display().to_string(),
            revision: summary.revision,
            identifiers: summary.held as u64,
            released: summary.released as u64,
        }))
    }
}
