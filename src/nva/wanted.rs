//! What the NVE's half of a session is told of what operators want at the node.

use super::catalogue::Seen;
use super::drift::word_of;
use super::message::Provision;
use super::model::Known;
use crate::config::{ObjectName, RefusedEntry};
use crate::shared::{ShardKey, ShardMap, bits_of};
use foldhash::fast::FixedState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What operators want at a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// The state of the registry that it shows; nothing was told if its epoch is empty.
    pub known: Known,
    /// By name. Equal ones are the same.
    pub all: Arc<Wishes>,
}

/// What operators want at a node, by name. The next state shares with it what does not change.
pub type Wishes = ShardMap<ObjectName, Seen, FixedState>;

impl ShardKey for ObjectName {
    fn shard_bits(&self) -> u64 {
        match self {
            ObjectName::Network(name) => bits_of(name.as_bytes()),
            ObjectName::Policy { from, to } => {
                bits_of(from.as_bytes()) ^ bits_of(to.as_bytes()).rotate_left(1)
            }
            ObjectName::Attachment(name) => !bits_of(name.as_bytes()),
        }
    }
}

/// What can be read of what is told, and why the rest cannot.
type Coming = (Wishes, BTreeMap<ObjectName, String>);

/// Follows what operators want.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    epoch: Vec<u8>,
    /// What was told last, as a whole.
    objects: Arc<Objects>,
    /// A change whose last part did not come yet.
    coming: Option<Coming>,
    /// What of it cannot be read here, and why.
    unread: BTreeMap<ObjectName, String>,
    /// The last part came, and nobody heard of it.
    changed: bool,
    /// What the node says of the revision: what it refuses.
    taken: Option<(Known, Vec<RefusedEntry>)>,
    /// What was said of it.
    said: Option<(Known, Vec<RefusedEntry>)>,
}

impl Wanted {
    /// This was told in a session before.
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        Wanted { objects, ..Wanted::default() }
    }

    /// A session with this epoch begins: the whole state comes.
    pub(super) fn begin(&mut self, epoch: Vec<u8>) {
        (self.epoch, self.coming, self.said) = (epoch, None, None);
    }

    /// Takes in a part.
    pub(super) fn receive(&mut self, part: Provision) {
        let Provision { revision, whole, last, objects, deleted, unread: refused } = part;
        let (mut coming, mut unread) = match self.coming.take() {
            Some(coming) if !whole => coming,
            _ if whole => Coming::default(),
            _ => (Wishes::clone(&self.objects.all), self.unread.clone()),
        };
        // What an object was before is not what is wanted now.
        let named = objects.iter().map(|seen| &seen.name).chain(refused.iter().map(|it| &it.name));
        for name in named.chain(&deleted) {
            coming.remove(name);
            unread.remove(name);
        }
        coming.extend(objects.into_iter().map(|seen| (seen.name.clone(), seen)));
        unread.extend(refused.into_iter().map(|it| (it.name, it.why)));
        if !last {
            self.coming = Some((coming, unread));
            return;
        }
        self.unread = unread;
        // Whoever compares them does so by their address.
        let all = if coming == *self.objects.all { self.objects.all.clone() } else { Arc::new(coming) };
        self.objects = Arc::new(Objects { known: Known { epoch: self.epoch.clone(), revision }, all });
        self.changed = true;
    }

    /// What is wanted, if it changed.
    pub(super) fn next(&mut self) -> Option<Arc<Objects>> {
        std::mem::take(&mut self.changed).then(|| self.objects.clone())
    }

    /// What was told last as one word; none while a change is coming, or if something of it cannot be read here.
    pub(super) fn word(&self) -> Option<u64> {
        let is_whole = self.coming.is_none() && self.unread.is_empty();
        is_whole.then(|| word_of(self.objects.all.iter().map(|(_, seen)| seen)))
    }

    /// The node has in force what is wanted at this state, but for what it refuses.
    pub(super) fn taken(&mut self, known: Known, refused: Vec<RefusedEntry>) {
        let unread =
            self.unread.iter().map(|(name, why)| RefusedEntry { name: name.clone(), why: why.clone() });
        self.taken = Some((known, unread.chain(refused).collect()));
    }

    /// What is to be said: the revision, and what is refused.
    pub(super) fn say(&mut self) -> Option<(u64, Vec<RefusedEntry>)> {
        let taken = self.taken.as_ref().filter(|(known, _)| known.epoch == self.epoch)?;
        if self.said.as_ref() == Some(taken) {
            return None;
        }
        self.said = Some(taken.clone());
        Some((taken.0.revision, taken.1.clone()))
    }
}
