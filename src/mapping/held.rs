//! A mapping as a node holds it.

use super::{MappingTarget, Origin};
use crate::ila::Identifier;

/// A mapping as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Index into `sir_domains` of the configuration.
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
