//! How sure the node is of a mapping (RFC 8171): it knows what is attached and configured here, it believes what its
//! authority confirms, and it is less sure of what it goes on with while the authority is away.

use super::Control;
use crate::api::views::MappingView;
use crate::api::views::confidence::{CONFIRMED, DOUBTFUL, UNCONFIRMED};
use crate::mapping::Origin;
use std::sync::atomic::{AtomicU64, Ordering};

impl Control {
    /// The same with the confidence that the node has in it now.
    pub(super) fn with_confidence(&self, view: MappingView) -> MappingView {
        let is_told = [Origin::Nva, Origin::Cache].iter().any(|origin| origin.name() == view.origin);
        if !is_told {
            return view;
        }
        let is_so = |word: &AtomicU64| word.load(Ordering::Relaxed) != 0;
        let confidence = match (is_so(&self.stats.nva.live), is_so(&self.stats.nva.grace_over)) {
            (true, _) => CONFIRMED,
            (false, false) => UNCONFIRMED,
            (false, true) => DOUBTFUL,
        };
        MappingView { confidence, ..view }
    }
}
