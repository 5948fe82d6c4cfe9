//! An authority inside a node (`nva.embedded`): the one that `ila-nva` runs, on a thread of its own.
//!
//! The node reaches it as others do, by a socket. It forwards whatever becomes of it.

use crate::config::{AuthorityConfig, ConfigErrors, NvaEndpoint};
use crate::nva::serve::{RunError, Setup, serve};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two attempts to serve.
const AGAIN: Duration = Duration::from_secs(5);

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
        Ok(Embedded { path: path.to_owned(), config, endpoint })
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        let work = move || runtime.block_on(self.serve(stopping));
        let thread = std::thread::Builder::new().name("ilagate-author".into()).spawn(work)?;
        Ok(Running { stop, thread })
    }

    /// Serves until it is told to stop; what breaks is tried again.
    async fn serve(self, mut stopping: watch::Receiver<bool>) {
        let Embedded { path, mut config, .. } = self;
        loop {
            let mut until = stopping.clone();
            let setup = Setup {
                path: path.clone(),
                config: config.clone(),
                // The node decides what its process logs.
                set_level: Box::new(|_| {}),
                ready: Box::new(|| {}),
            };
            // A sender that is gone means stop, too.
            let ended = serve(setup, async move { _ = until.wait_for(|stop| *stop).await }).await;
            let Err(why) = ended else { return };
            tracing::error!(%why, again_s = AGAIN.as_secs(), "the embedded authority does not serve; the node forwards on what it knows");
            if tokio::time::timeout(AGAIN, stopping.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
            // What is wrong in the file may be mended by now.
            match AuthorityConfig::load(&path).map_err(RunError::from) {
                Ok(read) => config = read,
                Err(why) => {
                    tracing::error!(%why, "the configuration of the embedded authority is not read again")
                }
            }
        }
    }
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
