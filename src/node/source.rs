//! How mappings arrive, whoever sends them (the mapping file, the admin API, or an NVA), and what goes back
//! the same way.
//!
//! Mappings arrive as batches ([`crate::mapping::Batch`]). [`follow`] tells whoever decides on mappings what
//! tenants made known of themselves.

pub use super::events::{Event, EventKind, Events, Feed, Heard};

use std::sync::Arc;

/// Follows what happens to tenants, behind the event with number `after`: addresses that a tenant announced
/// here ([`EventKind::Learnt`]; a controller of mobility waits for them), addresses that two tenants claim,
/// and violations.
///
/// [`Feed::ready`] waits for events. A caller that comes back later goes on behind the last number that it
/// received. What it missed is counted for it, so that it knows when to look at everything again.
#[must_use]
pub fn follow(events: &Arc<Events>, after: u64) -> Feed {
    Feed::new(events.clone(), after)
}
