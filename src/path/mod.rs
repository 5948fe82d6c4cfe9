//! The stages of the pipeline and their order.

pub mod packet;
pub mod verdict;

pub use packet::Packet;
pub use verdict::{DropReason, Verdict};
