//! The store of several authorities: one etcd (3.4 or newer), which they write and follow (`docs/nva.md`).
//!
//! Each commit is one transaction of etcd, conditional on the head (`sequencer`). `watch` follows what all authorities
//! commit, `load` reads everything, `fill` writes everything into an empty prefix, `lease` lives as long as this authority, and `work` puts them together on a thread of
//! its own, so that etcd is answered in time whatever the sessions do.

mod fill;
mod layout;
mod lease;
mod link;
mod load;
mod turns;
mod watch;
mod work;

use super::interface::{EPOCH, Progress, StoreError, Stored};
use super::running::{Running, thread};
use super::sequencer::{Head, TOKEN};
use crate::config::EtcdConfig;
use crate::nva::commits::CommitRules;
pub(super) use fill::Filling;
use layout::{BATCH, Layout};
use link::{Failure, Link, PAUSE, runtime};
use load::Loaded;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Opens the store that a configuration names, or makes one with this epoch if there is none. `name` is that of the
/// authority. Waits until etcd is there.
///
/// # Errors
/// What is there cannot be understood, etcd refuses this authority, or no thread can be started.
pub fn open(config: &EtcdConfig, name: &str, epoch: [u8; EPOCH]) -> Result<Running, StoreError> {
    let config = Arc::new(config.clone());
    let layout = Layout::new(&config.prefix);
    let runtime = runtime()?;
    let (orders, ordered) = mpsc::unbounded_channel();
    let (report, reports) = mpsc::unbounded_channel();
    let Loaded { head, at, stored, claims } = runtime.block_on(first(&config, &layout, epoch))?;
    let work = work::Work::new(config, layout, name, (head, at), report);
    let thread = thread(move || runtime.block_on(work.run(claims, ordered)))?;
    let rules = CommitRules { batch: BATCH, is_shared: true };
    Ok(Running { stored, rules, orders, reports, thread })
}

/// Reads the whole store that a configuration names, tells how far it is, and makes none.
///
/// # Errors
/// There is none, etcd does not answer, or what is there cannot be understood.
pub fn read(config: &EtcdConfig, progress: &mut Progress<'_>) -> Result<Stored, StoreError> {
    let layout = Layout::new(&config.prefix);
    let mut link = Link::new(Arc::new(config.clone()));
    runtime()?.block_on(async {
        let mut failed = Failure::Unknown("no endpoint".to_owned());
        for _ in &config.endpoints {
            match loaded(&mut link, &layout, None, progress).await {
                Ok(loaded) => return Ok(loaded.stored),
                Err(why) => failed = why,
            }
            link.failed();
        }
        Err(StoreError(failed.why()))
    })
}

/// Makes a registry if there is none, and reads it.
async fn first(config: &Arc<EtcdConfig>, layout: &Layout, epoch: [u8; EPOCH]) -> Result<Loaded, StoreError> {
    let mut link = Link::new(config.clone());
    let new = Head { epoch, revision: 0, token: [0; TOKEN] };
    let mut told = String::new();
    loop {
        let why = match loaded(&mut link, layout, Some(&new), &mut |_, _, _| ()).await {
            Ok(loaded) => return Ok(loaded),
            Err(Failure::Refused(why)) => return Err(StoreError(format!("{}: {why}", link.endpoint()))),
            Err(Failure::Unknown(why)) => format!("{}: {why}", link.endpoint()),
        };
        if why != told {
            tracing::error!(why, "the store is away; the authority waits for it");
            told = why;
        }
        link.failed();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn loaded(
    link: &mut Link,
    layout: &Layout,
    new: Option<&Head>,
    progress: &mut Progress<'_>,
) -> Result<Loaded, Failure> {
    load::load(&mut link.client().await?, layout, new, progress).await
}
