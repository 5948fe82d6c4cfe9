//! Where the registry is durable: one transaction after the other.

mod embedded;
mod interface;
mod memory;

pub use embedded::Embedded;
pub use interface::{EPOCH, Store, StoreError, Stored};
pub use memory::Memory;

#[cfg(test)]
mod tests;
