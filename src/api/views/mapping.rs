//! Mappings and their tables.

use serde::Serialize;
use std::net::Ipv6Addr;

/// A mapping, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MappingView {
    /// SIR address.
    pub sir: Ipv6Addr,
    /// Name of the SIR domain.
    pub domain: String,
    /// Identifier in text.
    pub identifier: String,
    /// `locators`, `local` or `blackhole`.
    pub kind: String,
    /// Locators with priority and weight, best first.
    pub locators: Vec<LocatorView>,
    /// Name or index of the attachment of a local identifier.
    pub attachment: Option<String>,
    /// `attachment`, `file` or `admin`.
    pub origin: String,
    /// Origins of mappings that this one shadows, the next in line first.
    pub covers: Vec<String>,
    /// How sure the node is that it is right, 0 to 254 (RFC 8171).
    pub confidence: u8,
}

/// How sure a node is of mappings, 0 to 254 (RFC 8171).
pub mod confidence {
    /// Of what is attached or configured here.
    pub const CONFIGURED: u8 = 254;
    /// Of what a live session with the authority confirms.
    pub const CONFIRMED: u8 = 200;
    /// Of what was told before the session ended, or before the start.
    pub const UNCONFIRMED: u8 = 100;
    /// Of the same after the grace period.
    pub const DOUBTFUL: u8 = 32;
}

/// One locator of a mapping.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocatorView {
    /// Locator as a /64 prefix.
    pub locator: String,
    /// Lower is preferred.
    pub priority: u8,
    /// Share of flows among equal priorities.
    pub weight: u16,
    /// ILA address on the wire.
    pub ila: Ipv6Addr,
    /// State of its next hop: `ready`, `unresolved`, `unreachable`, `link_down`, `no_route` or `on_link`.
    pub state: String,
}

/// The tables, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableView {
    /// SIR domain.
    pub domain: String,
    /// SIR prefix.
    pub sir_prefix: String,
    /// Checksum mode.
    pub checksum: String,
    /// Mappings held.
    pub mappings: u64,
    /// Mappings that fit without growing.
    pub capacity: u64,
    /// Bytes of the lookup table.
    pub memory_bytes: u64,
}
