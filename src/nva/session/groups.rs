//! Groups, as sessions have part in them.

use crate::config::ObjectName;
use crate::nva::failover::Group;
use crate::nva::sessions::Sessions;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Sessions {
    /// Whether an NVE has a session here, takes groups, and does not refuse this attachment.
    pub(in crate::nva) fn takes_group(&self, nve: &str, attachment: &str) -> bool {
        let session = self.of(nve).and_then(|id| self.all.get(&id));
        session.is_some_and(|session| session.grouping.is_some()) && self.refuses(nve, attachment).is_none()
    }

    /// Why an NVE with a session here refuses an attachment.
    pub(in crate::nva) fn refuses(&self, nve: &str, attachment: &str) -> Option<&str> {
        let session = self.of(nve).and_then(|id| self.all.get(&id))?;
        let is_it = |name: &ObjectName| matches!(name, ObjectName::Attachment(name) if name == attachment);
        let refused = &session.provisioning.as_ref()?.refused;
        refused.iter().find(|refused| is_it(&refused.name)).map(|refused| refused.why.as_str())
    }

    /// Notes whom groups concern that changed or are over.
    pub(in crate::nva) fn note_groups<'g>(&mut self, groups: impl Iterator<Item = &'g Group>) {
        let members = groups.flat_map(|group| &group.members);
        let nves: BTreeSet<&str> = members.map(|member| member.nve.as_str()).collect();
        if nves.is_empty() {
            return;
        }
        for (id, session) in &mut self.all {
            let (Some(grouping), Some(nve)) = (&mut session.grouping, &session.nve) else { continue };
            if nves.contains(nve.as_ref()) {
                grouping.touch();
                self.due.insert(*id);
            }
        }
    }

    /// What anybody is told of groups may be something else.
    pub(in crate::nva) fn touch_groups(&mut self) {
        for (id, session) in &mut self.all {
            if let Some(grouping) = &mut session.grouping {
                grouping.touch();
                self.due.insert(*id);
            }
        }
    }

    /// NVEs with a session from which nothing came for half of their lease, and when they were heard last.
    pub(in crate::nva) fn silent(&self, now_ms: u64) -> impl Iterator<Item = (Arc<str>, u64)> {
        let silent = self
            .all
            .values()
            .filter(move |session| now_ms >= session.heard_ms + u64::from(session.lease_ms) / 2);
        silent.filter_map(|session| Some((session.nve.clone()?, session.heard_ms)))
    }

    /// How many NVEs have a session here.
    pub(in crate::nva) fn count(&self) -> usize {
        self.all.values().filter(|session| session.nve.is_some()).count()
    }
}
