//! Runs `ila-nva`: its store, its listeners and its end.

use super::registry::Nve;
use super::server;
use super::store::{EPOCH, Embedded, StoreError};
use crate::config::{AuthorityConfig, ConfigErrors, NvaEndpoint};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;

/// Time between two signs of life of a connection, and how long an answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Why the authority does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The store does not open.
    #[error("store.path: {0}")]
    Store(#[from] StoreError),
    /// Somebody else listens there.
    #[error("listen: another process serves {0}; stop it, or listen elsewhere")]
    Served(PathBuf),
    /// The operating system refuses something.
    #[error("cannot {0}: {1}")]
    System(String, io::Error),
    /// A listener broke.
    #[error("a listener fails: {0}")]
    Listener(#[from] tonic::transport::Error),
}

/// Runs an authority until it is told to stop.
///
/// # Errors
/// A wrong configuration, a store that does not open, or a listener that cannot be made.
pub fn run(path: &Path) -> Result<(), RunError> {
    let config = AuthorityConfig::load(path)?;
    let filter = tracing_subscriber::EnvFilter::new(config.log_level.name());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).finish();
    // Only one is set in a process; a second run of a test keeps the first one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let system = |what: &str| {
        let what = what.to_owned();
        move |why| RunError::System(what, why)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the authority"))?;
    let mut epoch = [0; EPOCH];
    rand::fill(&mut epoch[..]);
    let store = Embedded::open(&config.store, epoch)?;
    let nves = config.nves.iter().map(|(name, nve)| {
        let locators = nve.locators.iter().map(|(locator, sir)| (*locator, sir.0)).collect();
        (name.clone(), Nve { locators, max_identifiers: nve.max_identifiers as usize })
    });
    let nves: HashMap<String, Nve> = nves.collect();
    let limits = server::SessionLimits {
        lease_ms: u32::from(config.lease_s) * 1000,
        hold_down_ms: u64::from(config.hold_down_s) * 1000,
        requests_per_second: config.requests_per_second,
    };
    let (service, authority) = server::pair(Box::new(store), nves, limits)?;
    runtime.block_on(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
        let (stop, stopping) = watch::channel(false);
        let mut listeners = JoinSet::new();
        for endpoint in &config.listen {
            let mut stopping = stopping.clone();
            let until = async move { _ = stopping.wait_for(|stop| *stop).await };
            let server = Server::builder()
                .http2_keepalive_interval(Some(KEEPALIVE.0))
                .http2_keepalive_timeout(Some(KEEPALIVE.1))
                .add_service(server::routes(service.clone()));
            match endpoint {
                NvaEndpoint::Unix(path) => {
                    let incoming = UnixListenerStream::new(bind(path).await?);
                    listeners.spawn(server.serve_with_incoming_shutdown(incoming, until));
                }
                NvaEndpoint::Loopback(address) => {
                    let listener = TcpListener::bind(address).await;
                    let listener = listener.map_err(system(&format!("listen at {address}")))?;
                    listeners
                        .spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), until));
                }
            }
        }
        drop(service);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        tracing::info!(nva = config.name, store = %config.store.display(), "serving");
        let authority = tokio::spawn(authority.run());
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(Ok(Err(why))) = listeners.join_next() => Err(RunError::from(why)),
        };
        tracing::info!("stopping");
        stop.send_replace(true);
        // Streams are open as long as their NVEs like: they end with their tasks.
        listeners.shutdown().await;
        authority.abort();
        let _ = authority.await;
        for endpoint in &config.listen {
            if let NvaEndpoint::Unix(path) = endpoint {
                let _ = std::fs::remove_file(path);
            }
        }
        ended
    })
}

/// Binds a Unix socket, and replaces one that nobody serves.
async fn bind(path: &Path) -> Result<UnixListener, RunError> {
    let system = |what: &str| {
        let what = format!("{what} {}", path.display());
        move |why| RunError::System(what, why)
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(system("make the directory of"))?;
    }
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            return Err(RunError::Served(path.to_owned()));
        }
        std::fs::remove_file(path).map_err(system("remove"))?;
    }
    let listener = UnixListener::bind(path).map_err(system("listen at"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(system("restrict"))?;
    Ok(listener)
}
