//! Collections that one state shares with the next: a copy costs the same whatever they hold, and a change copies only
//! the part that it touches.
//!
//! They are for what thousands of entries make up and one entry changes at a time. They know nothing of what they hold.

mod list;
mod map;

pub use list::List;
pub use map::{ShardKey, ShardMap, bits_of};
