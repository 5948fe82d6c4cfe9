//! One change of one mapping.

use super::MappingRecord;
use crate::ila::Identifier;

/// One change of one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Upsert(MappingRecord),
    /// Forget.
    Delete {
        /// Index into `sir_domains` of the configuration.
        domain: u8,
        /// The identifier, C-bit 0.
        identifier: Identifier,
    },
    /// Tell of packets that use the mapping of this origin, if there is one, until it is replaced: it is about to expire.
    Expiring {
        /// Index into `sir_domains` of the configuration.
        domain: u8,
        /// The identifier, C-bit 0.
        identifier: Identifier,
    },
}
