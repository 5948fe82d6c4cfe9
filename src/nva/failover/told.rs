//! What one NVE is told of the groups that it is a member of.

use super::Groups;
use super::model::{Group, GroupPart, GroupTold, GroupsPart, MemberState};
use crate::config::{Entry, ObjectName};
use crate::nva::message::{Down, Encoded, PROVISION_BYTES};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One session of an NVE that takes groups.
#[derive(Debug, Default)]
pub struct Grouping {
    /// The sequences of those that it was told.
    told: BTreeMap<String, u64>,
    /// Whether it was told something at all.
    begun: bool,
    /// Whether there may be something to tell.
    touched: bool,
    /// Whether the last part was not the last one.
    is_halfway: bool,
}

impl Grouping {
    /// There may be something to tell.
    pub(in crate::nva) fn touch(&mut self) {
        self.touched = true;
    }

    /// The next part, if there is one.
    pub(in crate::nva) fn next(&mut self, nve: &str, groups: &Groups) -> Option<Down<Encoded>> {
        if self.begun && !self.is_halfway && !self.touched {
            return None;
        }
        let now: BTreeSet<&str> = groups.of(nve).map(|group| group.name.as_str()).collect();
        let over: Vec<String> =
            self.told.keys().filter(|name| !now.contains(name.as_str())).cloned().collect();
        over.iter().for_each(|name| _ = self.told.remove(name));
        let mut part = GroupsPart { whole: !self.begun, over, ..GroupsPart::default() };
        let mut bytes = 0;
        for group in groups.of(nve) {
            if self.told.get(&group.name) == Some(&group.sequence) {
                continue;
            }
            if bytes >= PROVISION_BYTES {
                (self.begun, self.is_halfway) = (true, true);
                return Some(Down::Groups(part));
            }
            let told = told(group, nve);
            bytes += GroupTold::WEIGHT
                + told.iter().flat_map(|it| &it.entry).map(|it| it.written().len()).sum::<usize>();
            part.groups.extend(told);
            self.told.insert(group.name.clone(), group.sequence);
        }
        let is_some = part.whole || self.is_halfway || !part.groups.is_empty() || !part.over.is_empty();
        (self.begun, self.touched, self.is_halfway) = (true, false, false);
        part.last = true;
        is_some.then_some(Down::Groups(part))
    }
}

/// A group as a member sees it.
fn told(group: &Group, nve: &str) -> Option<GroupTold> {
    let member = group.member(nve)?;
    let name = ObjectName::Attachment(group.attachment.clone());
    Some(GroupTold {
        name: group.name.clone(),
        sequence: group.sequence,
        part: match member.state {
            MemberState::Active => GroupPart::Active,
            MemberState::Standby => GroupPart::Standby,
        },
        attachment: group.attachment.clone(),
        entry: Entry::named(&name, &member.document).ok().map(Arc::new),
        keys: group.keys.clone(),
    })
}
