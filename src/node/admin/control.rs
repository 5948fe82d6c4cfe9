//! Asking the control thread on behalf of an operator: every request has a time limit, every change a line in
//! the log.

use super::caller::Caller;
use crate::api::v1;
use crate::api::views::StatsView;
use crate::api::wire::Wire;
use crate::mapping::{Applied, Batch, Change, Origin, Refusal};
use crate::node::handle::{Amend, AmendRefusal, ControlHandle, Gone, Request};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tonic::{Response, Status};

/// How long the control thread may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The control thread, as the calls of operators see it.
#[derive(Debug, Clone)]
pub(super) struct Control {
    handle: ControlHandle,
    started: Instant,
}

impl Control {
    pub(super) fn new(handle: ControlHandle) -> Self {
        Control { handle, started: Instant::now() }
    }

    pub(super) async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Status> {
        self.ask_for(ANSWER_TIMEOUT, make).await
    }

    pub(super) async fn ask_for<T>(
        &self,
        timeout: Duration,
        make: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Status> {
        match tokio::time::timeout(timeout, self.handle.ask(make)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Gone)) => Err(Status::unavailable(format!("{Gone}; ask again when it has started"))),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer within {} s; the node is very busy, look at its log",
                timeout.as_secs()
            ))),
        }
    }

    pub(super) async fn apply(&self, caller: Caller, changes: Vec<Change>) -> Result<Applied, Status> {
        let count = changes.len();
        let batch = Batch { origin: Origin::Admin, changes, complete: false };
        let refused = |why: Refusal| {
            tracing::info!(peer = %caller, changes = count, "mapping changes refused: {why}");
            Status::failed_precondition(why.to_string())
        };
        let applied = self.ask(|answer| Request::Apply(batch, answer)).await?.map_err(refused)?;
        let Applied { revision, created, changed, deleted } = applied;
        let peer = caller;
        tracing::info!(%peer, revision, created, changed, deleted, "mappings changed by an operator");
        Ok(applied)
    }

    pub(super) async fn amend(&self, caller: Caller, amend: Amend) -> Result<Response<v1::Amended>, Status> {
        let refused = |why: AmendRefusal| {
            tracing::info!(peer = %caller, "change of policies or peers refused: {why}");
            match why {
                AmendRefusal::Wrong(why) => Status::invalid_argument(why),
                AmendRefusal::NotThere(why) => Status::not_found(why),
                AmendRefusal::Forbidden(why) => Status::failed_precondition(why),
            }
        };
        self.ask(|answer| Request::Amend(amend, answer)).await?.map_err(refused)?;
        tracing::info!(peer = %caller, "policies or peers changed by an operator");
        Ok(Response::new(v1::Amended {}))
    }

    pub(super) async fn sample(&self) -> Result<v1::StatsSample, Status> {
        let workers = self.ask(Request::Node).await?.workers;
        let ports = self.ask(|answer| Request::Ports(false, answer)).await?;
        let at_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(StatsView { at_us, workers, ports }.message())
    }
}
