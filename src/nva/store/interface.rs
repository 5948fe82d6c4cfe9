//! What a store does, whichever it is.

use crate::nva::model::{Key, Record, Transaction};

/// Length of an epoch in bytes.
pub const EPOCH: usize = 16;

/// Everything that a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Name of this history of the registry, drawn when the store was made.
    pub epoch: [u8; EPOCH],
    /// Number of transactions so far.
    pub revision: u64,
    /// The records, in the order of their keys.
    pub records: Vec<(Key, Record)>,
}

/// Why a store does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A store. What it answered is durable.
pub trait Store: Send {
    /// Everything that it holds.
    ///
    /// # Errors
    /// What it holds is damaged, or cannot be read.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Makes a transaction durable, as number `revision`, which is one more than the last.
    ///
    /// # Errors
    /// Nothing of it is there.
    fn commit(&mut self, revision: u64, transaction: &Transaction) -> Result<(), StoreError>;
}
