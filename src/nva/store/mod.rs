//! Where the registry is durable: one transaction after the other.

pub mod backup;
mod bytes;
mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
mod form;
mod group_form;
mod interface;
mod memory;
#[cfg(feature = "etcd")]
pub mod migrate;
mod move_form;
mod running;
#[cfg(any(feature = "etcd", test))]
pub(super) mod sequencer;

pub(super) use bytes::{read_choices, read_key, write_choices, write_key};
pub use embedded::Embedded;
pub(super) use form::{read_object_key, write_object_key};
pub use interface::{CommitError, EPOCH, Progress, Snapshot, Store, StoreError, Stored, Summary};
pub use memory::Memory;
pub use running::{Order, Report, Running};

use crate::config::StoreConfig;

/// Opens the store that a configuration names, or makes one with this epoch if there is none. `name` is that of the
/// authority.
///
/// # Errors
/// The store does not open.
pub fn open(config: &StoreConfig, name: &str, epoch: [u8; EPOCH]) -> Result<Running, StoreError> {
    match config {
        StoreConfig::Embedded(path) => Running::own(Box::new(Embedded::open(path, epoch)?)),
        #[cfg(feature = "etcd")]
        StoreConfig::Etcd(etcd) => etcd::open(etcd, name, epoch),
        #[cfg(not(feature = "etcd"))]
        StoreConfig::Etcd(_) => Err(StoreError(format!("{name}: this program was built without etcd"))),
    }
}

/// Reads the whole store that a configuration names, tells how far it is, and makes none. No process has an embedded one open.
///
/// # Errors
/// The store is not there, or cannot be read.
pub fn read(config: &StoreConfig, progress: &mut Progress<'_>) -> Result<Stored, StoreError> {
    match config {
        StoreConfig::Embedded(path) => backup::read(path, progress),
        #[cfg(feature = "etcd")]
        StoreConfig::Etcd(config) => etcd::read(config, progress),
        #[cfg(not(feature = "etcd"))]
        StoreConfig::Etcd(_) => Err(StoreError("this program was built without etcd".to_owned())),
    }
}

#[cfg(test)]
mod tests;
