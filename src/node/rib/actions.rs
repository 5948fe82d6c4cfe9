//! The actions that mappings name: each distinct target is held once, counted, and keeps its index.
//!
//! An index that no mapping names stays as it is until the next snapshot, which drops it. Another target gets
//! it only after [`Actions::release`], when every reader has a snapshot without it.

use crate::ila::Locator;
use crate::mapping::{LocatorChoice, MappingTarget, Origin};
use crate::table::{ActionId, AttachmentKey};
use foldhash::fast::FixedState;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where a mapping leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Goal {
    /// One of the locators, or nowhere.
    Mapping(MappingTarget),
    /// A group: a copy to each locator.
    Group(Vec<LocatorChoice>),
    /// An attachment of this node.
    Local(AttachmentKey),
}

/// Two mappings with equal keys share an action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) domain: u8,
    pub(super) origin: Origin,
    pub(super) goal: Goal,
    /// Whether packets that use it are told of: see [`crate::mapping::Change::Expiring`].
    pub(super) expiring: bool,
}

impl Key {
    /// A target that is not about to expire.
    pub(super) fn new(domain: u8, origin: Origin, goal: Goal) -> Key {
        Key { domain, origin, goal, expiring: false }
    }

    /// An identifier of a domain at an attachment of this node.
    pub(super) fn local(domain: u8, attached: AttachmentKey) -> Key {
        Key::new(domain, Origin::Attachment, Goal::Local(attached))
    }

    /// The locators of the target.
    pub(super) fn locators(&self) -> impl Iterator<Item = Locator> + '_ {
        let choices = match &self.goal {
            Goal::Mapping(MappingTarget::Locators(choices)) | Goal::Group(choices) => choices.as_slice(),
            Goal::Mapping(MappingTarget::Blackhole) | Goal::Local(_) => &[],
        };
        choices.iter().map(|choice| choice.locator)
    }
}

#[derive(Default)]
struct Slot {
    key: Option<Arc<Key>>,
    /// Mappings that name it, those of staged batches included.
    count: u64,
    /// Whether it stands in [`Actions::idle`].
    idle: bool,
}

/// All targets in use, by index.
pub(super) struct Actions {
    slots: Vec<Slot>,
    /// Only the operator chooses the keys of these two, by mappings, so that their hash is fixed.
    ids: HashMap<Arc<Key>, u32, FixedState>,
    /// Locators of targets in use: their domain, and how many targets have them. There are two domains only
    /// while a batch is staged that moves a locator from one to the other.
    locators: HashMap<Locator, Vec<(u8, u32)>, FixedState>,
    /// Those that lead elsewhere than to an attachment.
    remote: BTreeSet<u32>,
    /// Those that got or lost an attachment as target since they were asked for.
    new: Vec<u32>,
    /// No mapping names them; the last snapshot still has them.
    idle: Vec<u32>,
    /// No longer in the last snapshot; readers of an older one may still use them.
    dropped: Vec<u32>,
    /// Free for other targets.
    free: Vec<u32>,
}

impl Actions {
    /// Index 0 is the filler, never a mapping's.
    pub(super) fn new() -> Self {
        Actions {
            slots: vec![Slot::default()],
            ids: HashMap::default(),
            locators: HashMap::default(),
            remote: BTreeSet::new(),
            new: Vec::new(),
            idle: Vec::new(),
            dropped: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The index of a target, counted once more; says whether the last snapshot lacks it.
    pub(super) fn take(&mut self, key: Key) -> (ActionId, bool) {
        if let Some(id) = self.ids.get(&key) {
            let id = *id;
            let slot = &mut self.slots[id as usize];
            slot.count += 1;
            if slot.count == 1 {
                self.note_locators(&key, true);
            }
            return (ActionId(id), false);
        }
        self.note_locators(&key, true);
        let key = Arc::new(key);
        let is_local = matches!(key.goal, Goal::Local(_));
        let slot = Slot { key: Some(key.clone()), count: 1, idle: false };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.ids.insert(key, id);
        if is_local {
            self.new.push(id);
        } else {
            self.remote.insert(id);
        }
        (ActionId(id), true)
    }

    /// Counts one mapping less. Says whether a locator went back from two domains to one.
    pub(super) fn give_back(&mut self, id: ActionId) -> bool {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return false };
        slot.count = slot.count.saturating_sub(1);
        if slot.count == 0
            && let Some(key) = slot.key.clone()
        {
            if !std::mem::replace(&mut slot.idle, true) {
                self.idle.push(id.0);
            }
            return self.note_locators(&key, false);
        }
        false
    }

    /// Counts the locators of a target that came into use or went out of it. Says whether a locator went back
    /// from two domains to one.
    fn note_locators(&mut self, key: &Key, used: bool) -> bool {
        let mut settled = false;
        for locator in key.locators() {
            let domains = self.locators.entry(locator).or_default();
            match domains.iter_mut().find(|(domain, _)| *domain == key.domain) {
                Some((_, targets)) if used => *targets += 1,
                Some((_, targets)) => *targets = targets.saturating_sub(1),
                None if used => domains.push((key.domain, 1)),
                None => {}
            }
            let several = domains.len() > 1;
            domains.retain(|(_, targets)| *targets > 0);
            settled |= several && domains.len() == 1;
            if domains.is_empty() {
                self.locators.remove(&locator);
            }
        }
        settled
    }

    /// Forgets the targets that nothing names, for the snapshot that is about to be made.
    pub(super) fn drop_idle(&mut self) {
        for id in std::mem::take(&mut self.idle) {
            let slot = &mut self.slots[id as usize];
            slot.idle = false;
            if slot.count == 0
                && let Some(key) = slot.key.take()
            {
                self.ids.remove(&key);
                self.dropped.push(id);
                if !self.remote.remove(&id) {
                    self.new.push(id);
                }
            }
        }
    }

    /// Every reader has moved on: dropped indices may be given out again.
    pub(super) fn release(&mut self) {
        self.free.append(&mut self.dropped);
    }

    /// Indices in all, the filler included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The target at an index.
    pub(super) fn key(&self, id: ActionId) -> Option<&Key> {
        self.slots.get(id.0 as usize)?.key.as_deref()
    }

    /// All targets by index.
    pub(super) fn keys(&self) -> impl Iterator<Item = Option<&Key>> {
        self.slots.iter().map(|slot| slot.key.as_deref())
    }

    /// The targets that are no attachment, by index.
    pub(super) fn remote(&self) -> impl Iterator<Item = (usize, &Key)> {
        self.remote.iter().filter_map(|id| Some((*id as usize, self.key(ActionId(*id))?)))
    }

    /// The index of a target, if there is one.
    pub(super) fn id(&self, key: &Key) -> Option<ActionId> {
        self.ids.get(key).copied().map(ActionId)
    }

    /// The indices that got or lost an attachment as target since the last call.
    pub(super) fn take_new(&mut self) -> impl Iterator<Item = ActionId> + use<> {
        std::mem::take(&mut self.new).into_iter().map(ActionId)
    }

    /// All targets that mappings name.
    pub(super) fn used(&self) -> impl Iterator<Item = &Key> {
        self.slots.iter().filter(|slot| slot.count > 0).filter_map(|slot| slot.key.as_deref())
    }

    /// Mappings that name a target, those of staged batches included.
    pub(super) fn count(&self, id: ActionId) -> u64 {
        self.slots.get(id.0 as usize).map_or(0, |slot| slot.count)
    }

    /// The domains in which a locator is in use.
    pub(super) fn domains_of(&self, locator: Locator) -> impl Iterator<Item = u8> + '_ {
        self.locators.get(&locator).into_iter().flatten().map(|(domain, _)| *domain)
    }

    /// All remote locators in use with their domains.
    pub(super) fn locators(&self) -> impl Iterator<Item = (Locator, u8)> + '_ {
        self.locators
            .iter()
            .flat_map(|(locator, domains)| domains.iter().map(|(domain, _)| (*locator, *domain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(locator: u64) -> Key {
        let choice = LocatorChoice { locator: Locator(locator), priority: 0, weight: 1 };
        let goal = Goal::Mapping(MappingTarget::Locators(vec![choice]));
        Key::new(0, Origin::File, goal)
    }

    #[test]
    fn equal_targets_share_an_index_and_index_0_is_nobodys() {
        let mut actions = Actions::new();
        assert_eq!(actions.take(key(1)), (ActionId(1), true));
        assert_eq!(actions.take(key(1)), (ActionId(1), false));
        assert_eq!(actions.take(key(2)), (ActionId(2), true));
        assert_eq!(actions.key(ActionId(0)), None);
    }

    #[test]
    fn an_index_is_given_to_another_target_only_after_release() {
        let mut actions = Actions::new();
        let (id, _) = actions.take(key(1));
        actions.give_back(id);
        // Still in the last snapshot: it comes back without a new one.
        assert_eq!(actions.take(key(1)), (id, false));
        actions.give_back(id);
        actions.drop_idle();
        assert_eq!(actions.take(key(2)), (ActionId(2), true));
        actions.release();
        assert_eq!(actions.take(key(3)), (id, true));
    }

    #[test]
    fn a_locator_is_known_as_long_as_a_target_in_use_has_it() {
        let mut actions = Actions::new();
        let (id, _) = actions.take(key(1));
        actions.take(key(1));
        actions.give_back(id);
        assert_eq!(actions.domains_of(Locator(1)).next(), Some(0));
        actions.give_back(id);
        assert_eq!(actions.domains_of(Locator(1)).next(), None);
    }
}
