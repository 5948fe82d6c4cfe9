//! One mapping, and its limits.

use crate::ila::group::is_group;
use crate::ila::{Identifier, Locator};

/// Most locators of one mapping of an identifier that is no group's.
pub const MAX_LOCATORS: usize = 16;
/// Most locators that copies of one group go to.
pub const MAX_REPLICAS: usize = 256;
/// Highest weight of a locator.
pub const MAX_WEIGHT: u16 = 1000;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRecord {
    /// Index into `sir_domains` of the configuration.
    pub domain: u8,
    /// The identifier, types 1 to 4, C-bit 0; the VNID of types 2 to 4 is not 0.
    pub identifier: Identifier,
    /// Where it is.
    pub target: MappingTarget,
}

/// Where an identifier is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MappingTarget {
    /// At one of these locators, 1 to 16, distinct; for a group at all of them, 1 to 256.
    Locators(Vec<LocatorChoice>),
    /// Nowhere: packets to it are dropped.
    Blackhole,
}

/// One locator of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocatorChoice {
    /// The locator.
    pub locator: Locator,
    /// The lowest priority that can be reached is used.
    pub priority: u8,
    /// Share of the flows among equal priorities, 1 to 1000.
    pub weight: u16,
}

/// Most locators of a mapping of `identifier`: a sender chooses one of them, but copies to all of a group's.
#[must_use]
pub fn max_locators(identifier: Identifier) -> usize {
    if is_group(identifier) { MAX_REPLICAS } else { MAX_LOCATORS }
}
