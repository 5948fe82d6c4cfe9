//! All groups, what is durable of them.

use super::model::{Cause, Group, GroupKind, GroupRules};
use crate::nva::model::Key;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What became of groups, as this authority did it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Failovers, in the order of [`Cause::ALL`].
    pub failovers: [u64; Cause::ALL.len()],
    /// Identifiers that went back to their primary, or to a member that shares them.
    pub returns: u64,
}

impl GroupCounts {
    /// One failover more.
    pub(in crate::nva) fn failed_over(&mut self, cause: Cause) {
        let [lease, grace] = &mut self.failovers;
        *match cause {
            Cause::Lease => lease,
            Cause::Grace => grace,
        } += 1;
    }
}

/// All groups.
#[derive(Debug, Default)]
pub struct Groups {
    rules: GroupRules,
    all: BTreeMap<String, Group>,
    of_nves: BTreeMap<String, BTreeSet<String>>,
    of_keys: HashMap<Key, String>,
}

impl Groups {
    /// What a store held.
    pub(in crate::nva) fn new(rules: GroupRules, stored: Vec<Group>) -> Self {
        let mut groups = Groups { rules, ..Groups::default() };
        stored.into_iter().for_each(|group| groups.put(group));
        groups
    }

    /// NVEs count as lost by these rules from now on.
    pub(in crate::nva) fn judge_by(&mut self, rules: GroupRules) {
        self.rules = rules;
    }

    /// When NVEs count as lost.
    #[must_use]
    pub fn rules(&self) -> &GroupRules {
        &self.rules
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.all.get(name)
    }

    /// All of them, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values()
    }

    /// Those that an NVE is a member of.
    pub fn of<'g>(&'g self, nve: &str) -> impl Iterator<Item = &'g Group> {
        self.of_nves.get(nve).into_iter().flatten().filter_map(|name| self.all.get(name))
    }

    /// How many these are.
    #[must_use]
    pub fn count_of(&self, nve: &str) -> usize {
        self.of_nves.get(nve).map_or(0, BTreeSet::len)
    }

    /// The NVEs that are a member of any.
    pub fn nves(&self) -> impl Iterator<Item = &str> {
        self.of_nves.keys().map(String::as_str)
    }

    /// The one with an identifier.
    #[must_use]
    pub fn of_key(&self, key: Key) -> Option<&Group> {
        self.all.get(self.of_keys.get(&key)?)
    }

    /// The one with an attachment of this name at an NVE.
    #[must_use]
    pub fn of_attachment(&self, nve: &str, attachment: &str) -> Option<&Group> {
        self.of(nve).find(|group| group.attachment == attachment)
    }

    /// The one that members share an identifier by, and this NVE is one of them.
    #[must_use]
    pub fn shares(&self, nve: &str, key: Key) -> Option<&Group> {
        self.of_key(key).filter(|group| group.kind == GroupKind::Shared && group.is_active(nve))
    }

    /// Takes over what is durable. Gives what it was before.
    pub(in crate::nva) fn apply(&mut self, name: &str, now: Option<&Group>) -> Option<Group> {
        let before = self.take(name);
        now.into_iter().for_each(|group| self.put(group.clone()));
        before
    }

    /// What makes of these all that there are.
    pub(in crate::nva) fn differences(&self, all: Vec<Group>) -> Vec<(String, Option<Group>)> {
        let all: BTreeMap<String, Group> = all.into_iter().map(|group| (group.name.clone(), group)).collect();
        let gone = self.all.keys().filter(|name| !all.contains_key(*name)).map(|name| (name.clone(), None));
        let gone: Vec<_> = gone.collect();
        let new = all.into_iter().filter(|(name, group)| self.all.get(name) != Some(group));
        gone.into_iter().chain(new.map(|(name, group)| (name, Some(group))).collect::<Vec<_>>()).collect()
    }

    fn put(&mut self, group: Group) {
        for member in &group.members {
            self.of_nves.entry(member.nve.clone()).or_default().insert(group.name.clone());
        }
        self.of_keys.extend(group.keys.iter().map(|key| (*key, group.name.clone())));
        self.all.insert(group.name.clone(), group);
    }

    fn take(&mut self, name: &str) -> Option<Group> {
        let group = self.all.remove(name)?;
        for member in &group.members {
            if let Some(names) = self.of_nves.get_mut(&member.nve) {
                names.remove(name);
                if names.is_empty() {
                    self.of_nves.remove(&member.nve);
                }
            }
        }
        group.keys.iter().for_each(|key| _ = self.of_keys.remove(key));
        Some(group)
    }
}
