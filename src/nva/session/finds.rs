//! Questions of a session by MAC address.

use super::{Asked, Down, Encoded, Find, NEGATIVE_LIFETIME_MS, Network, QUERIES, Registry, Session};
use crate::net::Mac;

impl Session {
    /// Notes a question by MAC address, and why it is told nothing. `false`: too many wait.
    pub(in crate::nva) fn find_macs(
        &mut self,
        id: u64,
        network: Network,
        macs: Vec<Mac>,
        why: Option<String>,
    ) -> bool {
        let has_room = self.finds.len() < QUERIES;
        if has_room {
            self.finds.push_back(Find { id, network, macs, why });
        }
        has_room
    }

    /// The answer to the oldest question by MAC address.
    pub(super) fn next_found(&mut self, registry: &Registry, asked: &mut Asked) -> Option<Down<Encoded>> {
        let Find { id, network, macs, why } = self.finds.pop_front()?;
        let found = if why.is_none() { registry.find_macs(network, &macs) } else { Vec::new() };
        let missing = macs.len().saturating_sub(found.len()) as u64;
        asked.macs_held += found.len() as u64;
        *if why.is_none() { &mut asked.macs_nobody } else { &mut asked.macs_refused } += missing;
        let (revision, negative_lifetime_ms) = (registry.revision(), NEGATIVE_LIFETIME_MS);
        Some(Down::FoundMacs { id, revision, found, negative_lifetime_ms, why })
    }
}
