//! What all stages of a burst share.

use crate::table::Tables;

/// One snapshot of the tables and one instant, for a whole burst.
#[derive(Clone, Copy)]
pub struct Ctx<'t> {
    /// The snapshot of the tables.
    pub tables: &'t Tables,
    /// The time, in milliseconds of a monotonic clock.
    pub now_ms: u64,
}
