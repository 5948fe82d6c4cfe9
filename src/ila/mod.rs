//! Identifiers, SIR prefixes, locators and the arithmetic between them (ILA draft §3, §4.2, §4.4).
//!
//! Pure arithmetic: no tables, no packets, no clock.

pub mod generate;
pub mod group;
pub mod identifier;
pub mod neutral;
pub mod prefix;
pub mod quote;
pub mod transport;

pub use identifier::{Identifier, IdentifierType};
pub use neutral::{Adjustment, ChecksumMode};
pub use prefix::{Locator, SirPrefix};
