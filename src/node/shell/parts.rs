//! What the shell is made of, and how it ends.

use crate::config::{Config, Fingerprint, LogLevel};
use crate::mapping::{Change, MappingRecord, Presence, Refusal};
use crate::net::Mac;
use crate::node::control::LinkState;
use crate::node::exchange::Exchange;
use crate::node::provision::Provision;
use crate::node::stats::{DeviceCounters, Stats};
use crate::table::{AttachmentKey, PortId};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the control thread reads from the devices.
pub trait Devices {
    /// The link of a port.
    fn link(&self, port: PortId) -> LinkState;
    /// Brings back devices that were away, as far as they can be. Called before links are read.
    fn upkeep(&mut self) {}
    /// The device's counters.
    fn counters(&self, port: PortId) -> DeviceCounters;
    /// The driver's own counters.
    fn xstats(&self, port: PortId) -> Vec<(String, u64)>;
    /// `active`, or why receive side scaling is not.
    fn rss(&self, port: PortId) -> String;
    /// Mbufs in use, and in all.
    fn mbufs(&self) -> (u64, u64);
}

/// What the shell begins with.
pub struct Parts {
    /// Where the configuration came from.
    pub path: PathBuf,
    /// The configuration.
    pub config: Arc<Config>,
    /// The file and what operators want beside it, at a node that takes something of an authority.
    pub provision: Option<Provision>,
    /// MAC addresses of the ports.
    pub macs: Vec<Mac>,
    /// Mappings of the mapping file, if there is one, and the state it was read in.
    pub mappings: Option<(Vec<MappingRecord>, Option<Fingerprint>)>,
    /// What the authority told before the start.
    pub learned: Vec<Change>,
    /// Where the VMs and tasks of attachments were that moved then.
    pub presences: Vec<(AttachmentKey, Presence)>,
    /// Where to count.
    pub stats: Arc<Stats>,
    /// The queues to and from each worker.
    pub exchanges: Vec<Arc<Exchange>>,
    /// The devices.
    pub devices: Box<dyn Devices>,
    /// Changes the level of the log.
    pub set_level: Box<dyn Fn(LogLevel)>,
    /// Seed of the table positions. Outsiders must not know it.
    pub table_seed: u64,
    /// Seed of the jitter of timers.
    pub timer_seed: u64,
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The mapping file breaks a rule together with the configuration.
    #[error("mappings are refused: {0}")]
    Mappings(#[from] Refusal),
    /// The operating system refuses something.
    #[error("cannot {0}: {1}")]
    System(&'static str, std::io::Error),
}

/// Why the control thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A request or a signal asked for it.
    Asked,
    /// A worker with this number came to its end by itself.
    WorkerLost(usize),
}

/// The signals that the control thread listens to, from the moment that this is made.
pub struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hang_up: Signal,
}

impl Signals {
    /// Listens. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// The operating system refuses signal handlers.
    pub fn listen() -> Result<Self, ControlError> {
        let on = |kind| signal(kind).map_err(|why| ControlError::System("handle signals", why));
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }
}
