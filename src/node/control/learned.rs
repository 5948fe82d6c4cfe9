//! Mappings that the authority told before the start. What the node cannot take of them is left out: it must not stop the
//! rest, nor the start.

use crate::mapping::{Batch, Change, Origin};
use crate::node::rib::Rib;

/// Changes that are judged together; those of a batch that is refused are judged one by one.
const BATCH: usize = 1_000;

/// Applies changes before there are readers, and says how many were left out.
pub(super) fn apply(rib: &mut Rib, learned: Vec<Change>) -> u64 {
    let batch = |changes| Batch { origin: Origin::Nva, changes, complete: false };
    let mut left_out = 0;
    for changes in learned.chunks(BATCH) {
        if rib.apply(batch(changes.to_vec())).is_ok() {
            continue;
        }
        for change in changes {
            if let Err(refusal) = rib.apply(batch(vec![change.clone()])) {
                tracing::error!(mapping = %refusal.sir, why = refusal.why, "a mapping of the authority is left out");
                left_out += 1;
            }
        }
    }
    left_out
}
