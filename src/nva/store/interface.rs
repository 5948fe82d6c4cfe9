//! What a store does, whichever it is.

use crate::nva::failover::Group;
use crate::nva::mobility::{Move, MoveId};
use crate::nva::model::{Allocation, AllocationKey, Key, Object, ObjectKey, Record, Transaction};
use std::sync::Arc;

/// Length of an epoch in bytes.
pub const EPOCH: usize = 16;

/// Everything that a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Name of this history of the registry, drawn when the store was made.
    pub epoch: [u8; EPOCH],
    /// Number of transactions so far.
    pub revision: u64,
    /// Whether it was made of a backup, and NVEs may have more than it shows.
    pub restored: bool,
    /// NVEs that said since then that everything that they have was registered; of a shared store only.
    pub completed: Vec<Arc<str>>,
    /// The records, in the order of their keys.
    pub records: Vec<(Key, Record)>,
    /// What operators want at NVEs, in the order of keys.
    pub objects: Vec<(ObjectKey, Object)>,
    /// What is allocated, in the order of keys.
    pub allocations: Vec<(AllocationKey, Allocation)>,
    /// Moves that are not over, in the order of their names. Backups hold none.
    pub moves: Vec<(MoveId, Move)>,
    /// Groups, in the order of their names.
    pub groups: Vec<Group>,
}

/// What a store or a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Number of transactions so far.
    pub revision: u64,
    /// Identifiers that somebody has.
    pub held: usize,
    /// Identifiers that were released, and whose sequences are kept.
    pub released: usize,
    /// Networks, policies and attachments that operators want at NVEs.
    pub objects: usize,
}

impl Summary {
    pub(super) fn of(stored: &Stored) -> Self {
        let held = stored.records.iter().filter(|(_, record)| record.is_held()).count();
        let (released, objects) = (stored.records.len() - held, stored.objects.len());
        Summary { revision: stored.revision, held, released, objects }
    }
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

/// Told of long work: what is done, how many parts of it, and of how many.
pub type Progress<'a> = dyn FnMut(&'static str, usize, usize) + 'a;

/// Reads what a store held at one moment, while the store goes on.
pub type Snapshot = Box<dyn FnOnce() -> Result<Stored, StoreError> + Send>;

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

    /// What it holds now, to be read at leisure.
    ///
    /// # Errors
    /// The store cannot be read.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;
}
