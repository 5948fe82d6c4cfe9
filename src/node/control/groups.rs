//! Groups of tenants: from what they report to the tables, and queries to them.

use super::Control;
use crate::node::membership::Deed;

/// Time over which joins and leaves are gathered: each snapshot is for all of them.
const GATHER_MS: u64 = 50;

impl Control {
    /// Takes the tenants of the configuration over.
    pub(super) fn configure_groups(&mut self, now_ms: u64) {
        let config = self.config.clone();
        self.memberships.configure(&config, now_ms, &mut self.group_deeds);
    }

    /// Lets time pass for groups, and does what was gathered when it is time.
    pub(super) fn tend_groups(&mut self, now_ms: u64) {
        self.memberships.tick(now_ms, &mut self.group_deeds);
        if self.group_deeds.is_empty() || now_ms < self.groups_due_ms {
            return;
        }
        self.groups_due_ms = now_ms + GATHER_MS;
        let mut deeds = std::mem::take(&mut self.group_deeds);
        for deed in deeds.drain(..) {
            match &deed {
                Deed::Joined(..) | Deed::Left(..) => tracing::debug!(?deed, "group"),
                Deed::Ask(_) => {}
            }
            match deed {
                Deed::Joined(place, group) => self.rib.set_member(place, group, true),
                Deed::Left(place, group) => self.rib.set_member(place, group, false),
                Deed::Ask(frame) => self.send(*frame),
            }
        }
        self.group_deeds = deeds;
    }
}
