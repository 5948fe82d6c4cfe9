//! The one interface through which mappings arrive, whoever sends them: the mapping file, the admin API, or an NVA.
//!
//! And what goes back the same way: [`follow`] tells whoever decides on mappings what tenants made known of themselves.

pub use super::events::{Event, EventKind, Events, Feed, Heard};

use crate::config::{MappingRecord, MappingTarget};
use crate::ila::Identifier;
use serde::Serialize;
use std::sync::Arc;

/// Who stands behind a mapping, lowest first. An origin replaces and deletes only what is its own; of several mappings of
/// one identifier that of the highest origin is in force, and the others come into force when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The mapping file.
    File,
    /// An operator, through the admin API.
    Admin,
    /// An attachment of this node, from the configuration.
    Attachment,
}

impl Origin {
    /// The one that every other covers.
    pub const LOWEST: Origin = Origin::File;
    /// The one that covers every other.
    pub const HIGHEST: Origin = Origin::Attachment;
}

/// One change of one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Upsert(MappingRecord),
    /// Forget.
    Delete {
        /// Index into `sir_domains`.
        domain: u8,
        /// The identifier, C-bit 0.
        identifier: Identifier,
    },
}

/// A batch of changes that is applied as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who sends it.
    pub origin: Origin,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// When set, mappings of this origin that the batch does not name are deleted: the batch is the whole truth.
    pub complete: bool,
}

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Revision of the tables that includes it; rises with every applied batch.
    pub revision: u64,
    /// Identifiers that had no mapping before.
    pub created: u64,
    /// Identifiers for which another mapping is in force: a changed one, one that covers, or one that was covered.
    pub changed: u64,
    /// Identifiers that have no mapping any more.
    pub deleted: u64,
}

/// Why a batch was refused; nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sir}: {why}")]
pub struct Refusal {
    /// The SIR address of the mapping at fault.
    pub sir: std::net::Ipv6Addr,
    /// The rule it breaks, with the way out.
    pub why: String,
}

/// Follows what happens to tenants, behind the event with number `after`: addresses that came to life here
/// ([`EventKind::Learnt`]), such as a controller of mobility waits for, addresses that two want, and abuse.
///
/// [`Feed::ready`] waits for events. Whoever comes back later goes on behind the last number that it heard; what it missed
/// is counted for it, so that it knows when to look at everything again.
#[must_use]
pub fn follow(events: &Arc<Events>, after: u64) -> Feed {
    Feed::new(events.clone(), after)
}

/// A mapping as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Domain and identifier.
    pub domain: u8,
    /// The identifier, C-bit 0.
    pub identifier: Identifier,
    /// Where it leads.
    pub target: HeldTarget,
    /// Who stands behind it.
    pub origin: Origin,
}

/// Where a held mapping leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldTarget {
    /// Remote locators or a blackhole.
    Remote(MappingTarget),
    /// An attachment of this node, by index into `attachments`.
    Local(u32),
}
