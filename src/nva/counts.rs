//! What an authority counts as it goes.

use super::message::{Down, Encoded};

/// What the authority counts as it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) durable: u64,
    pub(super) not_durable: u64,
    pub(super) others: u64,
    pub(super) store_is_away: bool,
    pub(super) snapshots: u64,
    pub(super) resumed: u64,
    pub(super) digests: u64,
    pub(super) ended: u64,
}

impl Counts {
    /// Counts what is told to an NVE.
    pub(super) fn count(&mut self, down: &Down<Encoded>) {
        match down {
            Down::Registered { .. } => self.accepted += 1,
            Down::Refused { .. } => self.refused += 1,
            Down::Resync(_) => self.snapshots += 1,
            Down::Resumed(_) => self.resumed += 1,
            Down::Digest { .. } => self.digests += 1,
            _ => {}
        }
    }
}
