//! Identifiers, SIR prefixes, locators and the arithmetic between them (draft-herbert-nvo3-ila-02 §3, §4.2, §4.4).
//!
//! Pure arithmetic: the layer holds no tables, reads no clock and sends nothing. [`quote`] and [`transport`] change
//! bytes of a packet that the caller lends them. "ILA draft" is draft-herbert-nvo3-ila-02 in every comment.

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
