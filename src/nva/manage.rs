//! The operator's API of an authority (`proto/ilagate/manage/v1/manage.proto`).

mod allocations;
mod attached;
pub(super) mod groups;
pub(super) mod moves;
pub(super) mod nves;
pub(super) mod objects;
pub(super) mod records;
mod rights;
pub(super) mod watching;

use super::authority::Authority;
use super::event::{By, Event, Kind};
use super::gate::Gate;
use super::inbox::{Author, AuthorityHandle, Gone};
use super::listen::Peer;
use super::registry::LocatorChange;
use super::reload::Reloader;
use super::scope::{Scope, Sight};
use super::store::StoreError;
use super::store::backup::backup;
use super::watch::{WATCHERS, WATCHERS_EACH};
use crate::api::manage as v1;
use crate::api::manage::manage_server::{Manage, ManageServer};
use crate::config::{OperatorRole, Summary};
use records::{Filter, read_key};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status};

/// Pages that wait for an operator.
const WAITING: usize = 4;
/// Longest name of a backup in bytes.
const MAX_NAME: usize = 64;

/// What the API needs to know.
#[derive(Clone)]
pub(super) struct ManageService {
    pub(super) handle: AuthorityHandle,
    pub(super) gate: Gate,
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

    /// Lets in who may at least `needed`.
    fn admit(&self, call: &Extensions, needed: OperatorRole) -> Result<(Author, Sight), Status> {
        let Some(peer) = call.get::<Peer>() else {
            return Err(Status::internal("a call without a connection"));
        };
        peer.use_it();
        self.gate.admit(peer, needed).map_err(Status::permission_denied)
    }

    /// Looks whether somebody may do something. Gives what it may do.
    async fn may<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Authority) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.look(look).await?.map_err(Status::permission_denied)
    }
}

impl From<Gone> for Status {
    fn from(_: Gone) -> Self {
        Status::unavailable("the authority is shutting down")
    }
}

#[tonic::async_trait]
impl Manage for ManageService {
    type AllocationListStream = ReceiverStream<Result<v1::AllocationPage, Status>>;
    type AttachedNetworkListStream = ReceiverStream<Result<v1::AttachedNetworkPage, Status>>;
    type ObjectListStream = ReceiverStream<Result<v1::ObjectPage, Status>>;
    type RecordListStream = ReceiverStream<Result<v1::RecordPage, Status>>;
    type WatchStream = ReceiverStream<Result<v1::EventPage, Status>>;

    async fn status_get(
        &self,
        request: Request<v1::StatusGetRequest>,
    ) -> Result<Response<v1::Status>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let (name, uptime_s) = (self.name.clone(), self.began.elapsed().as_secs());
        let look = move |authority: &Authority| nves::status(authority, name, uptime_s, &sight);
        Ok(Response::new(self.handle.look(look).await?))
    }

    async fn nve_list(
        &self,
        request: Request<v1::NveListRequest>,
    ) -> Result<Response<v1::NveListResponse>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let name = self.name.clone();
        let look = move |authority: &Authority| nves::list(authority, &name, &sight);
        Ok(Response::new(v1::NveListResponse { nves: self.handle.look(look).await? }))
    }

    async fn record_list(
        &self,
        request: Request<v1::RecordListRequest>,
    ) -> Result<Response<Self::RecordListStream>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let request = request.into_inner();
        let filter = Arc::new(Filter::read(&request)?.within(sight));
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
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let key = read_key(&request.into_inner().sir)?;
        self.may(move |authority| rights::of_key(authority, &sight, key)).await?;
        let released = self.handle.release(key, author).await?;
        let (sequence, revision) = released.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::RecordReleased { sequence, revision }))
    }

    async fn record_unfreeze(
        &self,
        request: Request<v1::RecordUnfreezeRequest>,
    ) -> Result<Response<v1::RecordUnfrozen>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let key = read_key(&request.into_inner().sir)?;
        self.may(move |authority| rights::of_key(authority, &sight, key)).await?;
        self.handle.unfreeze(key, author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::RecordUnfrozen {}))
    }

    async fn nve_release(
        &self,
        request: Request<v1::NveReleaseRequest>,
    ) -> Result<Response<v1::NveReleased>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        rights::of_all(&sight, "everything of an NVE").map_err(Status::permission_denied)?;
        let nve = request.into_inner().nve;
        let released = self.handle.release_all(nve, author).await?;
        let (released, revision) = released.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::NveReleased { released, revision }))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::Resumed>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        rights::of_all(&sight, "the wait after a restoration").map_err(Status::permission_denied)?;
        let (_, revision) = self.handle.resume(author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::Resumed { revision }))
    }

    async fn reload(&self, request: Request<v1::ReloadRequest>) -> Result<Response<v1::Reloaded>, Status> {
        let (author, _) = self.admit(request.extensions(), OperatorRole::Admin)?;
        let applied = self.reloader.reload_and_tell(author).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::Reloaded { applied }))
    }

    async fn object_list(
        &self,
        request: Request<v1::ObjectListRequest>,
    ) -> Result<Response<Self::ObjectListStream>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let wanted = Arc::new(objects::Wanted::read(request.into_inner())?.within(sight));
        Ok(Response::new(objects::list(self.handle.clone(), wanted)))
    }

    async fn attached_network_list(
        &self,
        request: Request<v1::AttachedNetworkListRequest>,
    ) -> Result<Response<Self::AttachedNetworkListStream>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        Ok(Response::new(attached::list(self.handle.clone(), request.into_inner(), sight)))
    }

    async fn object_write(
        &self,
        request: Request<v1::ObjectWriteRequest>,
    ) -> Result<Response<v1::ObjectWritten>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let (key, change) = objects::read(request.into_inner())?;
        let of = key.clone();
        let change = self.may(move |authority| rights::of_change(authority, &sight, &of, change)).await?;
        match self.handle.change(key.clone(), change, author).await? {
            Ok((sequence, revision)) => {
                let summary = move |authority: &Authority| objects::summary(authority, &key);
                let Summary { addresses, vnid, .. } = self.handle.look(summary).await?;
                Ok(Response::new(v1::ObjectWritten { sequence, revision, addresses, vnid }))
            }
            Err(why) => Err(Status::failed_precondition(why)),
        }
    }

    async fn move_start(
        &self,
        request: Request<v1::MoveStartRequest>,
    ) -> Result<Response<v1::MoveAnswer>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let request = moves::read_start(request.into_inner())?;
        let asked = request.clone();
        self.may(move |authority| rights::of_move(authority, &sight, &asked)).await?;
        let (id, revision) =
            self.handle.begin_move(request, author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::MoveAnswer { id, revision }))
    }

    async fn move_say(
        &self,
        request: Request<v1::MoveSayRequest>,
    ) -> Result<Response<v1::MoveAnswer>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let said = moves::read_say(request.into_inner())?;
        let said = self.may(move |authority| rights::of_word(authority, &sight, said)).await?;
        let (id, revision) =
            self.handle.say_of_move(said, author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::MoveAnswer { id, revision }))
    }

    async fn move_list(
        &self,
        request: Request<v1::MoveListRequest>,
    ) -> Result<Response<v1::MoveListResponse>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let request = request.into_inner();
        let look = move |authority: &Authority| moves::list(authority, &request, &sight);
        Ok(Response::new(v1::MoveListResponse { moves: self.handle.look(look).await? }))
    }

    async fn group_write(
        &self,
        request: Request<v1::GroupWriteRequest>,
    ) -> Result<Response<v1::GroupAnswer>, Status> {
        let (author, _) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let wish = groups::read(request.into_inner())?;
        let (sequence, revision) =
            self.handle.wish(wish, author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::GroupAnswer { sequence, revision }))
    }

    async fn group_list(
        &self,
        request: Request<v1::GroupListRequest>,
    ) -> Result<Response<v1::GroupListResponse>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let request = request.into_inner();
        let look = move |authority: &Authority| groups::list(authority, &request, &sight);
        Ok(Response::new(self.handle.look(look).await?))
    }

    async fn brake_release(
        &self,
        request: Request<v1::BrakeReleaseRequest>,
    ) -> Result<Response<v1::BrakeReleased>, Status> {
        let (author, _) = self.admit(request.extensions(), OperatorRole::Operator)?;
        let (nves, _) = self.handle.release_brake(author).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::BrakeReleased { nves }))
    }

    async fn allocation_list(
        &self,
        request: Request<v1::AllocationListRequest>,
    ) -> Result<Response<Self::AllocationListStream>, Status> {
        let (_, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        if !sight.is_all() {
            return Err(Status::permission_denied(
                "a viewer of some networks does not see what is allocated",
            ));
        }
        let filter = allocations::Filter::read(request.into_inner());
        let all = self.handle.look(move |authority: &Authority| filter.pages(authority)).await?;
        let (sender, pages) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            for page in all {
                // Whoever asked may have seen enough.
                if sender.send(Ok(page)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(pages)))
    }

    async fn locator_allocate(
        &self,
        request: Request<v1::LocatorAllocateRequest>,
    ) -> Result<Response<v1::LocatorAllocated>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        rights::of_all(&sight, "locators").map_err(Status::permission_denied)?;
        let v1::LocatorAllocateRequest { nve, domain } = request.into_inner();
        let name = domain.clone();
        let look = move |authority: &Authority| authority.registry().catalogue().sir_prefix(&name);
        let Some(sir_prefix) = self.handle.look(look).await? else {
            let why = format!("`{}` is not the name of a SIR domain of the authority", domain.escape_debug());
            return Err(Status::failed_precondition(why));
        };
        let change = LocatorChange::Allocate { nve: nve.clone(), sir_prefix };
        let done = self.handle.change_locator(change, author).await?;
        let (sequence, revision) = done.map_err(Status::failed_precondition)?;
        let look = move |authority: &Authority| allocations::with_sequence(authority, &nve, sequence);
        let locator = self.handle.look(look).await?;
        let gone = || Status::failed_precondition("somebody else freed it already; allocate another one");
        let prefix = locator.ok_or_else(gone)?.to_string();
        Ok(Response::new(v1::LocatorAllocated { prefix, sequence, revision }))
    }

    async fn locator_free(
        &self,
        request: Request<v1::LocatorFreeRequest>,
    ) -> Result<Response<v1::LocatorFreed>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Operator)?;
        rights::of_all(&sight, "locators").map_err(Status::permission_denied)?;
        let locator = allocations::read_locator(&request.into_inner().prefix)?;
        let done = self.handle.change_locator(LocatorChange::Free(locator), author).await?;
        let (_, revision) = done.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::LocatorFreed { revision }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (author, sight) = self.admit(request.extensions(), OperatorRole::Viewer)?;
        let (_, extensions, v1::WatchRequest { nve, network, after }) = request.into_parts();
        let Some(watcher) = self.handle.hub().watch(&author.who, after) else {
            let why =
                format!("{WATCHERS} watch already, or {WATCHERS_EACH} as {}; end one of them", author.who);
            return Err(Status::resource_exhausted(why));
        };
        let service = self.clone();
        let now_sees = move || service.admit(&extensions, OperatorRole::Viewer).map(|(_, sight)| sight);
        let some = |text: String| (!text.is_empty()).then_some(text);
        let scope = Scope { nve: some(nve), network: some(network) };
        Ok(Response::new(watching::events(watcher, scope, sight, now_sees)))
    }

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<v1::BackupResponse>, Status> {
        let (author, _) = self.admit(request.extensions(), OperatorRole::Admin)?;
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
        let Author { who, from } = author;
        let event = Event::new(Kind::BackedUp, By::Author(who.clone(), from.clone()));
        let (why, revision) = (path.display().to_string(), summary.revision);
        self.handle.hub().tell(who, from, Event { why, revision, ..event });
        Ok(Response::new(v1::BackupResponse {
            path: path.display().to_string(),
            revision: summary.revision,
            identifiers: summary.held as u64,
            released: summary.released as u64,
        }))
    }
}
