//! Changes that are applied together, and what came of them.

use super::{Change, Origin};
use serde::Serialize;
use std::net::Ipv6Addr;

/// A batch of changes that is applied as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who sends it.
    pub origin: Origin,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// When set, the batch names all mappings of its origin: those that it does not name are deleted.
    pub complete: bool,
}

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Revision of the tables that includes it; rises with every applied batch.
    pub revision: u64,
    /// Identifiers that had no mapping before.
    pub created: u64,
    /// Identifiers for which another mapping is in force: a changed one, one that shadows the former, or one
    /// that was shadowed.
    pub changed: u64,
    /// Identifiers that have no mapping any more.
    pub deleted: u64,
}

/// Why a batch was refused; nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sir}: {why}")]
pub struct Refusal {
    /// The SIR address of the mapping at fault.
    pub sir: Ipv6Addr,
    /// The rule it breaks, with the way out.
    pub why: String,
}
