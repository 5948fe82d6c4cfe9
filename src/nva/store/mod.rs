//! Where the registry is durable: one transaction after the other.

pub mod backup;
mod embedded;
mod form;
mod interface;
mod memory;

pub use embedded::Embedded;
pub use interface::{CommitError, EPOCH, Store, StoreError, Stored};
pub use memory::Memory;

#[cfg(test)]
mod tests;
