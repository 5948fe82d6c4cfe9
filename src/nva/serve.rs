//! What an authority consists of while it serves: its store, its listeners and its end.

use super::gate::Gate;
use super::listen::{self, CONNECTIONS, Plain};
use super::manage::ManageService;
use super::metrics::Endpoint;
use super::page::{self, Page};
use super::reload::{Reloader, configured};
use super::server;
use super::store::{EPOCH, StoreError, open};
use crate::config::{AuthorityConfig, ConfigErrors, LogLevel, NvaEndpoint, StoreConfig};
use crate::telemetry::http::{self, Limits, ListenError};
use crate::tls::TlsError;
use crate::tls::files::Stamp;
use crate::tls::server::{ServerFiles, Trust};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

/// Time between two signs of life of a connection, and how long an answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Calls that one connection carries at the same time.
const CALLS: u32 = 8;
/// Bytes of the headers of a call.
const HEADERS: u32 = 16 << 10;
/// New connections that wait for their turn.
const ACCEPTED: usize = 64;
/// Time between two looks at the files of TLS.
const REREAD: Duration = Duration::from_secs(2);
/// How long the end of the store may take, and that of what an authority leaves behind.
pub const STORE_ENDS: Duration = Duration::from_secs(2);
/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Why the authority does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The store does not open.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A bug.
    #[error("the authority came to an end by itself; its log says why")]
    Ended,
    /// The files of TLS cannot be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// The endpoint of metrics cannot listen.
    #[error(transparent)]
    Metrics(#[from] ListenError),
    /// Somebody else listens there.
    #[error("listen: another process serves {0}; stop it, or listen elsewhere")]
    Served(PathBuf),
    /// A file is in the way.
    #[error("listen: {} is no socket; move it away, or listen elsewhere", .0.display())]
    NoSocket(PathBuf),
    /// The operating system refuses something.
    #[error("cannot {0}: {1}")]
    System(String, io::Error),
    /// A listener broke.
    #[error("a listener fails: {0}")]
    Listener(#[from] tonic::transport::Error),
}

/// What runs around an authority gives it.
pub struct Setup {
    /// The file of its configuration, which is read again when it is told to.
    pub path: PathBuf,
    /// What stands in the file.
    pub config: AuthorityConfig,
    /// Sets what is logged.
    pub set_level: Box<dyn Fn(LogLevel) + Send + Sync>,
    /// Called once it serves.
    pub ready: Box<dyn FnOnce() + Send>,
}

/// Serves until the end of `until`.
///
/// # Errors
/// A store that does not open, files of TLS that cannot be used, or a listener that cannot be made or broke.
pub async fn serve(setup: Setup, until: impl Future<Output = ()>) -> Result<(), RunError> {
    let Setup { path, config, set_level, ready } = setup;
    let mut epoch = [0; EPOCH];
    rand::fill(&mut epoch[..]);
    // From here on, a reload ends nothing.
    let hangup = signal(SignalKind::hangup()).map_err(system("handle signals"))?;
    let mut until = pin!(until);
    let (named, name) = (config.store.clone(), config.name.clone());
    let store = tokio::select! {
        opened = apart(move || open(&named, &name, epoch)) => opened.map_err(system("open the store"))??,
        // An etcd may be away for long.
        () = &mut until => return Ok(()),
    };
    let files = config.tls.clone().map(|tls| ServerFiles { tls, revoked: config.revoked.clone() });
    let trust = match &files {
        Some(files) => {
            let stamp = files.stamp();
            Some((stamp, watch::Sender::new(Arc::new(Trust::read(files)?))))
        }
        None => None,
    };
    let trusted = trust.as_ref().map(|(_, trust)| trust.subscribe());
    let (service, authority, store) = server::pair(store, configured(&config), trusted.clone());
    // Each NVE has a connection.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let (operators, told_operators) = watch::channel(Arc::new(config.operators.clone()));
    let reloader = Arc::new(Reloader {
        path,
        config: Mutex::new(config.clone()),
        handle: service.handle(),
        operators,
        set_level,
    });
    let gate = Gate { trusted: trusted.clone(), operators: told_operators };
    let management = ManageService {
        handle: service.handle(),
        gate: gate.clone(),
        reloader: reloader.clone(),
        name: config.name.clone(),
        began: Instant::now(),
        directory: match &config.store {
            StoreConfig::Embedded(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            // It makes no backups there.
            StoreConfig::Etcd(_) => PathBuf::new(),
        },
    };
    let (stop, stopping) = watch::channel(false);
    let mut listeners = JoinSet::new();
    let mut accepting = JoinSet::new();
    let limit = Arc::new(Semaphore::new(CONNECTIONS));
    for endpoint in &config.listen {
        let (into, accepted) = mpsc::channel(ACCEPTED);
        let limit = limit.clone();
        let mut stopping = stopping.clone();
        let until = async move { _ = stopping.wait_for(|stop| *stop).await };
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .http2_max_header_list_size(HEADERS)
            .max_concurrent_streams(CALLS)
            .add_service(server::routes(service.clone()))
            .add_service(management.clone().service());
        listeners.spawn(server.serve_with_incoming_shutdown(ReceiverStream::new(accepted), until));
        accept(&mut accepting, endpoint, (&trusted, Trust::config), limit, into).await?;
    }
    if let Some(page) = &config.page {
        let (into, accepted) = mpsc::channel(ACCEPTED);
        let limit = Arc::new(Semaphore::new(page::CONNECTIONS));
        accept(&mut accepting, &page.listen, (&trusted, Trust::http), limit, into).await?;
        let page = Page::new(service.handle(), gate, page.clone(), config.name.clone());
        accepting.spawn(page::serve(page, accepted));
    }
    if let Some(address) = config.metrics {
        let listener = http::listen(address).await?;
        let told = Endpoint { handle: service.handle(), name: config.name.clone(), began: Instant::now() };
        accepting.spawn(http::serve(listener, Arc::new(told), Limits::default(), std::future::pending()));
    }
    if let (Some(files), Some((stamp, trust))) = (files, trust) {
        accepting.spawn(follow(files, stamp, trust));
    }
    accepting.spawn(reloader.follow(hangup));
    drop(service);
    ready();
    tracing::info!(nva = config.name, store = %config.store, "serving");
    let mut authority = tokio::spawn(authority.run());
    let ended = tokio::select! {
        () = &mut until => Ok(()),
        Some(Ok(Err(why))) = listeners.join_next() => Err(RunError::from(why)),
        done = &mut authority => match done {
            Ok(Err(why)) => Err(RunError::from(why)),
            // It serves as long as there are listeners.
            Ok(Ok(())) | Err(_) => Err(RunError::Ended),
        },
    };
    tracing::info!("stopping");
    stop.send_replace(true);
    accepting.shutdown().await;
    // Streams are open as long as their NVEs like: they end with their tasks.
    listeners.shutdown().await;
    authority.abort();
    let _ = authority.await;
    // What other authorities were told of sessions is taken back.
    let joining = apart(move || store.join());
    if tokio::time::timeout(STORE_ENDS, joining).await.is_err() {
        tracing::warn!("the store does not end in time");
    }
    let page = config.page.iter().map(|page| &page.listen);
    for endpoint in config.listen.iter().chain(page) {
        if let NvaEndpoint::Unix(path) = endpoint {
            let _ = std::fs::remove_file(path);
        }
    }
    ended
}

/// Listens there, and hands over what connects.
async fn accept(
    accepting: &mut JoinSet<()>,
    endpoint: &NvaEndpoint,
    (trusted, tls): (&server::Trusted, listen::Handshake),
    limit: Arc<Semaphore>,
    into: listen::Incoming,
) -> Result<(), RunError> {
    match (endpoint, trusted) {
        (NvaEndpoint::Unix(path), _) => {
            accepting.spawn(listen::plain(Plain::Unix(bind(path).await?), limit, into));
        }
        (NvaEndpoint::Tls(address), Some(trusted)) => {
            let listener = bind_address(address).await?;
            accepting.spawn(listen::tls(listener, (trusted.clone(), tls), limit, into));
        }
        (NvaEndpoint::Tls(_), None) => return Err(TlsError("no files".to_owned()).into()),
        (NvaEndpoint::Loopback(address), _) => {
            let listener = Plain::Loopback(bind_address(address).await?);
            accepting.spawn(listen::plain(listener, limit, into));
        }
    }
    Ok(())
}

/// Does what may block for ever on a thread of its own, which nobody's end waits for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let work = move || _ = done.send(work());
    std::thread::Builder::new().name("ilagate-store".into()).spawn(work)?;
    result.await.map_err(|_| io::Error::other("it panicked; the log says where"))
}

/// The error of something that the operating system refuses.
fn system(what: &str) -> impl FnOnce(io::Error) -> RunError + use<> {
    let what = what.to_owned();
    move |why| RunError::System(what, why)
}

/// Reads the files of TLS again when they change. What cannot be used changes nothing, and is tried again.
async fn follow(files: ServerFiles, mut stamp: Stamp, trust: watch::Sender<Arc<Trust>>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(REREAD).await;
        let (again, before) = (files.clone(), stamp.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let seen = again.stamp();
            (seen != before).then(|| (seen, Trust::read(&again)))
        });
        let Ok(Some((seen, read))) = reading.await else { continue };
        match read {
            Ok(read) => {
                tracing::info!(identity = %read.identity(), "the files of TLS were read again");
                trust.send_replace(Arc::new(read));
                (stamp, told) = (seen, String::new());
            }
            Err(why) if why.0 != told => {
                tracing::error!(%why, "the files of TLS cannot be used; the ones before stay in force");
                told = why.0;
            }
            Err(_) => {}
        }
    }
}

async fn bind_address(address: &SocketAddr) -> Result<TcpListener, RunError> {
    let failed = |why| RunError::System(format!("listen at {address}"), why);
    TcpListener::bind(address).await.map_err(failed)
}

/// Binds a Unix socket, and replaces one that nobody serves.
async fn bind(path: &Path) -> Result<UnixListener, RunError> {
    let system = |what: &str| system(&format!("{what} {}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(system("make the directory of"))?;
    }
    if let Ok(there) = path.symlink_metadata() {
        if !there.file_type().is_socket() {
            return Err(RunError::NoSocket(path.to_owned()));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(RunError::Served(path.to_owned()));
        }
        std::fs::remove_file(path).map_err(system("remove"))?;
    }
    let listener = UnixListener::bind(path).map_err(system("listen at"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(system("restrict"))?;
    Ok(listener)
}
