//! The page for browsers: what an authority knows and what happens there, to look at. It changes nothing.
//!
//! `http` judges requests and makes answers, `data` is what they hold, `events` the stream of what happens. This file
//! has the connections and bounds what they use: how many, how many bytes of headers, and for how long.

mod data;
mod events;
mod http;

use super::gate::Gate;
use super::inbox::{Author, AuthorityHandle};
use super::listen::{Connection, Peer};
use super::scope::Sight;
use crate::config::{NvaEndpoint, OperatorRole, PageConfig};
use http::{Body, Refusal, Route, judge, refuse};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

/// Connections at the same time.
pub(super) const CONNECTIONS: usize = 128;
/// Streams of events at the same time.
const STREAMS: usize = 32;
/// The most bytes of headers.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Time for the headers of a request.
const HEADERS: Duration = Duration::from_secs(5);
/// Time for a request and its answer, but for a stream of events: who reads slowly gets no more.
const ANSWERED: Duration = Duration::from_secs(10);
/// A stream of events ends after this time; a browser opens another one.
const STREAMED: Duration = Duration::from_secs(15 * 60);

/// What the page needs to know.
pub(super) struct Page {
    handle: AuthorityHandle,
    gate: Gate,
    config: PageConfig,
    /// Name of the authority.
    name: String,
    began: Instant,
    streams: Arc<Semaphore>,
}

impl Page {
    /// The page of an authority.
    pub(super) fn new(handle: AuthorityHandle, gate: Gate, config: PageConfig, name: String) -> Arc<Self> {
        let streams = Arc::new(Semaphore::new(STREAMS));
        Arc::new(Page { handle, gate, config, name, began: Instant::now(), streams })
    }

    /// Who asks, and what that one may see. In the clear over a loopback address: whoever is on this machine, everything.
    fn admit(&self, peer: &Peer) -> Result<(Author, Sight), String> {
        match self.config.listen {
            NvaEndpoint::Loopback(_) => {
                Ok((Author { who: "this machine".to_owned(), from: peer.from.clone() }, Sight::default()))
            }
            NvaEndpoint::Unix(_) | NvaEndpoint::Tls(_) => self.gate.admit(peer, OperatorRole::Viewer),
        }
    }

    async fn answer(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        peer: &Peer,
        cut: &Arc<Notify>,
    ) -> Result<Response<Body>, Refusal> {
        let route = judge(request, &self.config.hosts)?;
        let (author, sight) = self.admit(peer).map_err(Refusal::Forbidden)?;
        let gone = |_| Refusal::Unavailable("the authority is shutting down".to_owned());
        match route {
            Route::Page => Ok(http::page()),
            Route::Status => {
                let (name, uptime_s) = (self.name.clone(), self.began.elapsed().as_secs());
                let look = self.handle.look(move |it| data::status(it, name, uptime_s, author.who, &sight));
                http::json(&look.await.map_err(gone)?)
            }
            Route::Nves => {
                let name = self.name.clone();
                let look = self.handle.look(move |it| data::nves(it, &name, &sight));
                http::json(&look.await.map_err(gone)?)
            }
            Route::Moves => {
                let look = self.handle.look(move |it| data::moves(it, &sight));
                http::json(&look.await.map_err(gone)?)
            }
            Route::Networks => http::json(&data::networks(&self.handle, sight).await.map_err(gone)?),
            Route::Mappings { text, after } => {
                http::json(&data::mappings(&self.handle, sight, text, after).await.map_err(gone)?)
            }
            Route::Events { after } => {
                let many = || Refusal::Unavailable("too many watch already; close one of them".to_owned());
                let place = self.streams.clone().try_acquire_owned().map_err(|_| many())?;
                let watcher = match after {
                    Some(after) => self.handle.hub().watch(&author.who, Some(after)),
                    None => self.handle.hub().watch_recent(&author.who, events::RECENT),
                };
                let watcher = watcher.ok_or_else(many)?;
                let (page, peer) = (self.clone(), peer.clone());
                let now_sees = move || page.admit(&peer).ok().map(|(_, sight)| sight);
                Ok(http::stream(events::stream(
                    watcher,
                    sight,
                    now_sees,
                    (cut.clone(), events::ALIVE),
                    place,
                )))
            }
        }
    }
}

/// Serves connections as long as any may come.
pub(super) async fn serve(page: Arc<Page>, mut connections: mpsc::Receiver<io::Result<Connection>>) {
    // They end with this.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            connection = connections.recv() => match connection {
                Some(Ok(connection)) => _ = open.spawn(serve_one(page.clone(), connection)),
                // What failed to be accepted was told of there.
                Some(Err(_)) => {}
                None => return,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn serve_one(page: Arc<Page>, connection: Connection) {
    let peer = connection.peer().clone();
    // A stream that nobody reads ends its connection by this.
    let cut = Arc::new(Notify::new());
    let is_stream = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let (page, peer, cut, is_stream) = (page.clone(), peer.clone(), cut.clone(), is_stream.clone());
        async move {
            peer.use_it();
            let answered = page.answer(&request, &peer, &cut).await;
            let is_events = answered.as_ref().is_ok_and(http::is_stream);
            is_stream.store(is_events, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, Infallible>(answered.unwrap_or_else(refuse))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        // A connection that waits for its next request would keep others out.
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service);
    let limit = async {
        tokio::time::sleep(ANSWERED).await;
        if is_stream.load(std::sync::atomic::Ordering::Relaxed) {
            tokio::time::sleep(STREAMED).await;
        }
    };
    // Errors of a client are not logged.
    tokio::select! {
        _ = serving => {}
        () = limit => {}
        () = cut.notified() => {}
    }
}
