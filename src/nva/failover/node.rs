//! The NVE's half of groups: what it was told.

use super::model::{GroupsPart, NodeGroups};
use crate::nva::model::Key;
use std::sync::Arc;

/// Follows what an NVE is told of groups. Without a session they stay as they are.
#[derive(Debug, Default)]
pub struct ToldGroups {
    told: Arc<NodeGroups>,
    /// Parts of a change whose last part did not come yet.
    coming: Option<NodeGroups>,
    /// The last part came, and nobody heard of it.
    changed: bool,
}

impl ToldGroups {
    /// A session begins: everything is told anew.
    pub(in crate::nva) fn begin(&mut self) {
        self.coming = None;
    }

    /// Takes in a part.
    pub(in crate::nva) fn receive(&mut self, part: GroupsPart) {
        let GroupsPart { whole, last, groups, over } = part;
        let mut coming = match self.coming.take() {
            _ if whole => NodeGroups::new(),
            Some(coming) => coming,
            None => NodeGroups::clone(&self.told),
        };
        over.iter().for_each(|name| _ = coming.remove(name));
        coming.extend(groups.into_iter().map(|one| (one.name.clone(), one)));
        if !last {
            self.coming = Some(coming);
            return;
        }
        if *self.told != coming {
            self.told = Arc::new(coming);
            self.changed = true;
        }
    }

    /// The groups, if they changed.
    pub(in crate::nva) fn next(&mut self) -> Option<Arc<NodeGroups>> {
        std::mem::take(&mut self.changed).then(|| self.told.clone())
    }

    /// Whether an identifier is that of a group, which decides who has it.
    pub(in crate::nva) fn has(&self, key: &Key) -> bool {
        self.told.values().any(|one| one.keys.contains(key))
    }
}
