//! Reload: the configuration of a running authority read again, judged as a whole, and taken over or refused.

use super::authority::{Configured, SessionLimits};
use super::event::{By, Event, Kind};
use super::failover::{BrakeRules, GroupRules};
use super::inbox::{Author, AuthorityHandle};
use super::mobility::MoveRules;
use super::registry::{AllocationRules, FreezeRules, Nve, Pool, Quotas};
use crate::config::{AuthorityConfig, AuthorityFreeze, LogLevel, OperatorRights, ProvisionRules};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::{Mutex, watch};

/// Operators by name.
pub(super) type Operators = Arc<BTreeMap<String, OperatorRights>>;

/// What an authority needs of a configuration.
pub(super) fn configured(config: &AuthorityConfig) -> Configured {
    Configured {
        nves: nves(config),
        quotas: quotas(config),
        freeze: freeze(config),
        rules: ProvisionRules::new(config.sir_domains.clone()),
        sessions: limits(config),
        allocations: AllocationRules {
            block_lease_ms: u64::from(config.block_lease_s) * 1000,
            pools: config
                .locator_pools
                .iter()
                .map(|(prefix, sir)| Pool { sir_prefix: sir.0, prefix: *prefix })
                .collect(),
        },
        moves: moves(config),
        groups: groups(config),
    }
}

/// When nodes count as lost.
fn groups(config: &AuthorityConfig) -> GroupRules {
    let ms = |seconds: u32| u64::from(seconds) * 1000;
    let it = config.failover;
    GroupRules {
        grace_ms: ms(it.grace_s.max(config.lease_s.into())),
        brake: BrakeRules {
            least: it.brake_nodes as usize,
            percent: it.brake_percent as usize,
            within_ms: ms(it.brake_within_s),
        },
        per_nve: it.per_nve as usize,
    }
}

/// How long states of moves last.
fn moves(config: &AuthorityConfig) -> MoveRules {
    let ms = |seconds: u32| u64::from(seconds) * 1000;
    let moves = config.moves;
    MoveRules {
        prepare_ms: ms(moves.prepare_s),
        prepared_ms: ms(moves.prepared_s),
        detached_ms: ms(moves.detached_s),
        spread_ms: ms(moves.spread_s),
        drain_ms: ms(moves.drain_s),
        drain_idle_ms: ms(moves.drain_idle_s),
        abort_ms: ms(moves.abort_s),
        per_nve: moves.per_nve as usize,
    }
}

/// The NVEs of a configuration.
fn nves(config: &AuthorityConfig) -> HashMap<String, Nve> {
    let nves = config.nves.iter().map(|(name, nve)| {
        let locators = nve.locators.iter().map(|(locator, sir)| (*locator, sir.0)).collect();
        let (max_identifiers, all_networks) = (nve.max_identifiers as usize, nve.all_networks);
        let (router, vtep) = (nve.router, nve.vtep);
        (name.clone(), Nve { locators, max_identifiers, router, all_networks, vtep })
    });
    nves.collect()
}

/// What its networks may have.
fn quotas(config: &AuthorityConfig) -> Quotas {
    let mut quotas = Quotas::default();
    for quota in &config.quotas {
        let (sir_prefix, most) = (quota.sir.0, quota.max_identifiers as usize);
        match quota.vnid {
            Some(vnid) => _ = quotas.named.insert((sir_prefix, vnid), most),
            None => _ = quotas.each.insert(sir_prefix, most),
        }
    }
    quotas
}

/// When identifiers are frozen.
fn freeze(config: &AuthorityConfig) -> FreezeRules {
    let AuthorityFreeze { changes, within_s, for_s } = config.freeze;
    FreezeRules { changes, within_ms: u64::from(within_s) * 1000, for_ms: u64::from(for_s) * 1000 }
}

/// Its limits of sessions.
fn limits(config: &AuthorityConfig) -> SessionLimits {
    SessionLimits {
        lease_ms: u32::from(config.lease_s) * 1000,
        hold_down_ms: u64::from(config.hold_down_s) * 1000,
        cache_lifetime_ms: u32::from(config.cache_lifetime_s) * 1000,
        restore_wait_ms: u64::from(config.restore_wait_s) * 1000,
        requests_per_second: config.requests_per_second,
        digest_ms: u64::from(config.digest_s) * 1000,
    }
}

/// Reads the configuration again.
pub(super) struct Reloader {
    pub(super) path: PathBuf,
    /// What is in force. Reloads take turns.
    pub(super) config: Mutex<AuthorityConfig>,
    pub(super) handle: AuthorityHandle,
    pub(super) operators: watch::Sender<Operators>,
    pub(super) set_level: Box<dyn Fn(LogLevel) + Send + Sync>,
}

impl Reloader {
    /// Takes over what differs. Gives the keys.
    ///
    /// # Errors
    /// The file cannot be read, breaks a rule, or changes a key that needs a restart. Nothing of it is in force then.
    pub(super) async fn reload(&self) -> Result<Vec<String>, String> {
        let mut config = self.config.lock().await;
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || AuthorityConfig::load(&path)).await;
        let new = read.map_err(|why| why.to_string())?.map_err(|why| why.to_string())?;
        let changes = config.changes(&new);
        let fixed: Vec<&str> = changes.iter().filter(|it| !it.reload).map(|it| it.path.as_str()).collect();
        if !fixed.is_empty() {
            return Err(format!(
                "{}: only a restart applies this; restart the authority, or undo the change",
                fixed.join(", ")
            ));
        }
        let gone = |_| "the authority is shutting down".to_owned();
        self.handle.reconfigure(configured(&new)).await.map_err(gone)?;
        self.operators.send_replace(Arc::new(new.operators.clone()));
        (self.set_level)(new.log_level);
        *config = new;
        Ok(changes.into_iter().map(|change| change.path).collect())
    }

    /// [`Self::reload`] for somebody, told to operators.
    pub(super) async fn reload_and_tell(&self, author: Author) -> Result<Vec<String>, String> {
        let done = self.reload().await;
        let Author { who, from } = author;
        match &done {
            Ok(keys) => {
                let by = By::Author(who.clone(), from.clone());
                let why = if keys.is_empty() { "nothing differs".to_owned() } else { keys.join(", ") };
                self.handle.hub().tell(who, from, Event { why, ..Event::new(Kind::Reloaded, by) });
            }
            Err(why) => tracing::error!(config = %self.path.display(), why, who, "a reload is refused"),
        }
        done
    }

    /// Reloads at each SIGHUP.
    pub(super) async fn follow(self: Arc<Self>, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            // The log tells of it.
            let author = Author { who: "SIGHUP".to_owned(), from: Arc::default() };
            let _ = self.reload_and_tell(author).await;
        }
    }
}
