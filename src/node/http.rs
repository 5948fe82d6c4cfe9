//! The HTTP endpoint: `GET /metrics` for Prometheus, and `GET /healthz` for load balancers.
//!
//! It serves nothing else and reads no bodies. It bounds what a client can use: connections, bytes of headers, time.

use super::metrics;
use super::stats::{Stats, WorkerStats};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The most connections at a time. Further clients wait.
const MAX_CONNECTIONS: usize = 64;
/// Time limit for the headers of a request, and for the next request of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest life of a connection. Prometheus then opens another.
const MAX_CONNECTION: Duration = Duration::from_secs(3600);
/// The most bytes of headers.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// How long a worker may be busy with one burst or asleep and still count as alive.
const ALIVE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(5);

/// The endpoint cannot listen at its address.
#[derive(Debug, thiserror::Error)]
#[error("metrics.listen: cannot listen at {listen}: {why}; choose another address or port")]
pub struct ListenError {
    /// The address and port.
    pub listen: SocketAddr,
    /// The error of the operating system.
    pub why: io::Error,
}

/// Opens the listening socket. The caller runs it in a tokio runtime.
///
/// # Errors
/// [`ListenError`] when the address is in use, does not belong to this machine, or needs more privileges.
pub async fn listen(listen: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(listen).await.map_err(|why| ListenError { listen, why })
}

/// Serves until `stop` completes.
pub async fn serve(listener: TcpListener, stats: Arc<Stats>, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let stats = stats.clone();
                    tokio::spawn(async move {
                        connection(stream, stats).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Most likely there are no file descriptors left. The loop tries again a little later.
                    tracing::warn!("metrics: cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
}

async fn connection(stream: TcpStream, stats: Arc<Stats>) {
    let service = service_fn(|request: Request<Incoming>| {
        let stats = stats.clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &stats).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Errors of a client are not logged.
    let _ = tokio::time::timeout(MAX_CONNECTION, serving).await;
}

async fn answer(method: &Method, path: &str, stats: &Stats) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => {
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(stats))
        }
        "/healthz" => match health(stats).await {
            Ok(()) => response(StatusCode::OK, TEXT, "forwarding\n".to_owned()),
            Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        _ => response(StatusCode::NOT_FOUND, TEXT, "not here; there are /metrics and /healthz\n".to_owned()),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Checks that every worker polls. The error text names a worker that did not within [`ALIVE`].
async fn health(stats: &Stats) -> Result<(), String> {
    let polls =
        |worker: &WorkerStats| worker.polls.bursts.value().wrapping_add(worker.polls.empty_polls.value());
    let before: Vec<u64> = stats.workers.iter().map(polls).collect();
    let mut waited = Duration::ZERO;
    loop {
        let mut now = stats.workers.iter().map(polls).zip(&before).enumerate();
        let Some((worker, (polled, _))) = now.find(|(_, (now, before))| now == *before) else {
            return Ok(());
        };
        if waited >= ALIVE {
            return Err(match polled {
                0 => format!("starting: worker {worker} has not polled yet"),
                _ => format!("worker {worker} has not polled for {} s; look at the log", ALIVE.as_secs()),
            });
        }
        tokio::time::sleep(STEP).await;
        waited += STEP;
    }
}
