//! An authority inside a node (`nva.embedded`): the one that `ila-nva` runs, on a thread of its own.
//!
//! The node reaches it as others do, by a socket. It forwards whatever becomes of it.

use crate::config::{AuthorityConfig, ConfigErrors, NvaEndpoint};
use crate::nva::serve::{STORE_ENDS, Setup, serve};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Time between two attempts to serve, and between two looks whether the node stops.
const AGAIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Why a node has no such authority.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The node cannot reach it.
    #[error(
        "{0}: listen: no Unix socket, by which the node itself reaches it; add for example \"unix:/run/ilagate/nva.sock\""
    )]
    NoSocket(String),
    /// It would refuse the node.
    #[error("{0}: nves: no entry {1}, the name of the node in which it runs; add one")]
    Unknown(String, String),
}

/// The configuration of an embedded authority, held against that of its node.
#[derive(Debug, Clone)]
pub struct Embedded {
    path: PathBuf,
    node: String,
    config: AuthorityConfig,
    endpoint: NvaEndpoint,
}

impl Embedded {
    /// Reads it, for the node of this name.
    ///
    /// # Errors
    /// It is wrong, or nothing that the node can use.
    pub fn load(path: &Path, node: &str) -> Result<Self, EmbeddedError> {
        let config = AuthorityConfig::load(path)?;
        let shown = || path.display().to_string();
        let socket = config.listen.iter().find(|endpoint| matches!(endpoint, NvaEndpoint::Unix(_)));
        let endpoint = socket.cloned().ok_or_else(|| EmbeddedError::NoSocket(shown()))?;
        if !config.nves.contains_key(node) {
            return Err(EmbeddedError::Unknown(shown(), node.to_owned()));
        }
        Ok(Embedded { path: path.to_owned(), node: node.to_owned(), config, endpoint })
    }

    /// Where the node reaches it.
    #[must_use]
    pub fn endpoint(&self) -> NvaEndpoint {
        self.endpoint.clone()
    }

    /// Starts it.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(self) -> io::Result<Running> {
        let (stop, stopping) = watch::channel(false);
        let thread = std::thread::Builder::new().name("ilagate-author".into());
        let thread = thread.spawn(move || self.serve_on(&stopping))?;
        Ok(Running { stop, thread })
    }

    /// Serves until it is told to stop. What breaks is tried again, with the file read anew.
    fn serve_on(mut self, stopping: &watch::Receiver<bool>) {
        loop {
            // A damaged store may make its reader panic.
            let ended = catch_unwind(AssertUnwindSafe(|| self.serve(stopping.clone())));
            let why = match ended {
                Ok(Ok(())) => return,
                Ok(Err(why)) => why,
                Err(_) => "it panicked".to_owned(),
            };
            tracing::error!(
                why,
                again_s = AGAIN.as_secs(),
                "the embedded authority does not serve; the node forwards on what it knows"
            );
            if stops_within(stopping, AGAIN) {
                return;
            }
            match Embedded::load(&self.path, &self.node) {
                Ok(read) if read.endpoint == self.endpoint => self = read,
                Ok(_) => {
                    tracing::error!(
                        "listen: the Unix socket of an embedded authority changes with a restart of its node only"
                    );
                }
                Err(why) => {
                    tracing::error!(%why, "the configuration of the embedded authority is not read again")
                }
            }
        }
    }

    fn serve(&self, mut stopping: watch::Receiver<bool>) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| why.to_string())?;
        let setup = Setup {
            path: self.path.clone(),
            config: self.config.clone(),
            // The node decides what its process logs.
            set_level: Box::new(|_| {}),
            ready: Box::new(|| {}),
        };
        // A sender that is gone means stop, too.
        let until = async move { _ = stopping.wait_for(|stop| *stop).await };
        let ended = runtime.block_on(serve(setup, until));
        // What still reads or writes files is not waited for.
        runtime.shutdown_timeout(STORE_ENDS);
        ended.map_err(|why| why.to_string())
    }
}

/// Waits so long, and no longer than until it is told to stop. Gives whether it is.
fn stops_within(stopping: &watch::Receiver<bool>, most: Duration) -> bool {
    let until = Instant::now() + most;
    while Instant::now() < until {
        if *stopping.borrow() || stopping.has_changed().is_err() {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}

/// An authority that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the embedded authority came to an end by itself");
        }
    }
}
