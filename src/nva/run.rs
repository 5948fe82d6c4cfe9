//! Runs `ila-nva`: its configuration, its log and its signals.

use super::serve::{RunError, STORE_ENDS, Setup, serve};
use crate::config::AuthorityConfig;
use std::io;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// Runs an authority until it is told to stop.
///
/// # Errors
/// A wrong configuration, a store that does not open, or a listener that cannot be made.
pub fn run(path: &Path) -> Result<(), RunError> {
    let config = AuthorityConfig::load(path)?;
    let filter = tracing_subscriber::EnvFilter::new(config.log_level.name());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let logs = logs.with_filter_reloading();
    let filter = logs.reload_handle();
    // Only one is set in a process; a second run of a test keeps the first one.
    let _ = tracing::subscriber::set_global_default(logs.finish());
    let system = |what: &str| {
        let what = what.to_owned();
        move |why| RunError::System(what, why)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the authority"))?;
    let setup = Setup {
        path: path.to_owned(),
        config,
        set_level: Box::new(move |level| {
            // The subscriber of this process may be another one, in tests.
            let _ = filter.reload(tracing_subscriber::EnvFilter::new(level.name()));
        }),
        ready: Box::new(|| {
            // Without systemd this does nothing.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        }),
    };
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(setup, stop).await
    });
    // What still reads or writes files is not waited for.
    runtime.shutdown_timeout(STORE_ENDS);
    ended
}
