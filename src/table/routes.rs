//! IPv6 routes by longest prefix match: a compressed trie (crate `poptrie`), rebuilt by the control thread.

use super::ActionId;
use crate::net::Ipv6Prefix;
use poptrie::Poptrie;

/// The routes of one snapshot: destination → action.
pub struct Routes {
    trie: Poptrie<(u128, u8), ActionId>,
    length: usize,
}

impl Default for Routes {
    fn default() -> Self {
        Routes { trie: Poptrie::new(), length: 0 }
    }
}

impl Routes {
    /// Builds the trie of `routes`; of two with the same prefix the later one counts.
    pub fn build(routes: impl IntoIterator<Item = (Ipv6Prefix, ActionId)>) -> Self {
        let trie: Poptrie<(u128, u8), ActionId> =
            routes.into_iter().map(|(prefix, action)| ((prefix.bits(), prefix.length()), action)).collect();
        let length = trie.len();
        Routes { trie, length }
    }

    /// The action of the longest prefix that holds `destination`.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: u128) -> Option<ActionId> {
        self.trie.lookup(destination).copied()
    }

    /// Number of prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}
