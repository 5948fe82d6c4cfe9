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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// How a commit failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it is there, nor will be. The store goes on.
    #[error("{0}")]
    Refused(String),
    /// Whether it is there cannot be known. The store is of no use until it is opened anew.
    #[error("{0}")]
    Unknown(String),
}

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
    /// See [`CommitError`].
    fn commit(&mut self, revision: u64, transaction: &Transaction) -> Result<(), CommitError>;
}
