//! The HTTP endpoint: `GET /metrics` for Prometheus, `GET /healthz` for who restarts a program, and `GET /readyz` for who
//! sends it work.
//!
//! It serves nothing else and reads no bodies. It bounds what a client can use: connections, bytes of headers, time.

use super::connections::{Busy, Connection, Connections};
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

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// The most connections of one client.
const MAX_OF_CLIENT: usize = 8;
/// The most bytes of headers.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// What a program tells.
pub trait Site: Send + Sync + 'static {
    /// What `/readyz` says of a program that is ready.
    const READY: &str;

    /// The metrics as Prometheus' text format, version 0.0.4.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// The reasons why a restart would help; none while it lives.
    fn what_is_dead(&self) -> impl Future<Output = Vec<String>> + Send;

    /// The reasons why it should get no work; none while it is ready.
    fn what_is_missing(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the headers of its request.
    pub headers: Duration,
    /// For its request and the answer: a client that reads slowly gets no more.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { headers: Duration::from_secs(5), connection: Duration::from_secs(10) }
    }
}

/// Paths of probes.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
const TEXT: &str = "text/plain; charset=utf-8";

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
pub async fn serve(
    listener: TcpListener,
    site: Arc<impl Site>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let all = Connections::new(MAX_CONNECTIONS, MAX_OF_CLIENT);
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let entered = all.enter(from.ip());
                    tokio::spawn(connection(stream, entered, limits, site.clone()));
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

async fn connection(stream: TcpStream, open: Connection, limits: Limits, site: Arc<impl Site>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (site, path) = (site.clone(), request.uri().path().to_owned());
        open.busy(if PROBES.contains(&path.as_str()) { Busy::Probe } else { Busy::Scrape });
        async move { Ok::<_, Infallible>(answer(request.method(), &path, site.as_ref()).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(MAX_HEADER_BYTES)
        // A connection that waits for its next request would keep others out.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Errors of a client are not logged.
    tokio::select! {
        _ = tokio::time::timeout(limits.connection, serving) => {}
        () = open.cut() => {}
    }
}

async fn answer<S: Site>(method: &Method, path: &str, site: &S) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => {
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", site.metrics().await)
        }
        "/healthz" => judged("alive\n", &site.what_is_dead().await),
        "/readyz" => judged(S::READY, &site.what_is_missing().await),
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "not here; there are /metrics, /healthz and /readyz\n".to_owned(),
        ),
    }
}

/// `well` where there is no reason against it, else each reason on a line.
fn judged(well: &str, reasons: &[String]) -> Response<Full<Bytes>> {
    match reasons {
        [] => response(StatusCode::OK, TEXT, well.to_owned()),
        reasons => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{}\n", reasons.join("\n"))),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
