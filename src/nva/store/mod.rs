//! Where the registry is durable: one transaction after the other.

pub mod backup;
mod bytes;
mod embedded;
mod form;
mod interface;
mod memory;

pub(super) use bytes::{read_choices, read_key, write_choices, write_key};
pub use embedded::Embedded;
pub(super) use form::{read_object_key, write_object_key};
pub use interface::{CommitError, EPOCH, Snapshot, Store, StoreError, Stored, Summary};
pub use memory::Memory;

#[cfg(test)]
mod tests;
