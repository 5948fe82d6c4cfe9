//! What an authority adds to the configurations of nodes: virtual networks, policies and attachments, each written as
//! in a node's file and judged by its rules.
//!
//! The file wins: what contradicts it is left out, and so is what contradicts an older entry of the authority.

mod basis;
mod entry;
mod judged;
mod rules;
mod settle;

pub use basis::{Basis, Step};
pub use entry::{Claim, Entry, MAX_ENTRY_BYTES, ObjectName, Room, Summary};
pub use judged::Judged;
pub use rules::ProvisionRules;
pub use settle::RefusedEntry;
pub(super) use settle::{append, settle};
