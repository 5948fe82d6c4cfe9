//! What one NVE is told of what operators want at it, and what it says of that.

use super::catalogue::{Seen, Touched};
use super::drift::word_of;
use super::message::{Down, Encoded, PROVISION_BYTES, Provision};
use super::registry::Registry;
use crate::config::{ObjectName, RefusedEntry};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A change that is being told, in parts.
#[derive(Debug)]
struct Telling {
    revision: u64,
    whole: bool,
    objects: VecDeque<Seen>,
    deleted: VecDeque<ObjectName>,
}

/// One NVE that takes what operators want.
#[derive(Debug, Default)]
pub(super) struct Provisioning {
    /// What it was told, and is being told.
    told: BTreeMap<ObjectName, Seen>,
    /// Whether it was told something at all.
    begun: bool,
    /// Whether what it sees may be another one since it was told last.
    touched: bool,
    telling: Option<Telling>,
    /// What it has in force, by its own word.
    pub(super) revision: u64,
    /// What it refuses, and why.
    pub(super) refused: Vec<RefusedEntry>,
}

impl Provisioning {
    /// Whether there may be something to tell after a change.
    pub(super) fn touch(&mut self, nve: &str, touched: &Touched, sees_all: bool) -> bool {
        let sees = |network: &String| self.told.contains_key(&ObjectName::Network(network.clone()));
        let is_touched = sees_all && !touched.networks.is_empty()
            || touched.nves.contains(nve)
            || touched.networks.iter().any(sees);
        self.touched |= is_touched;
        is_touched
    }

    /// What it was told as one word.
    pub(super) fn word(&self) -> u64 {
        word_of(self.told.values())
    }

    /// Everything is told anew.
    pub(super) fn begin_anew(&mut self) {
        self.told.clear();
        (self.begun, self.telling) = (false, None);
    }

    /// What it sees may be another one, whatever it is.
    pub(super) fn touch_all(&mut self) {
        self.touched = true;
    }

    /// It has this in force, and refuses that. Gives whether it refuses something else than before.
    pub(super) fn taken(
        &mut self,
        revision: u64,
        mut refused: Vec<RefusedEntry>,
        is_standby: impl Fn(&ObjectName) -> bool,
    ) -> bool {
        refused.retain(|refused| self.told.contains_key(&refused.name) || is_standby(&refused.name));
        self.revision = revision;
        let is_other = self.refused != refused;
        self.refused = refused;
        is_other
    }

    /// The next part, if there is one.
    pub(super) fn next(&mut self, nve: &str, registry: &Registry) -> Option<Down<Encoded>> {
        if self.telling.is_none() && (!self.begun || std::mem::take(&mut self.touched)) {
            self.telling = self.compare(registry.view(nve), registry.revision());
        }
        let telling = self.telling.as_mut()?;
        let mut part = Provision {
            revision: telling.revision,
            whole: std::mem::take(&mut telling.whole),
            ..Provision::default()
        };
        let mut bytes = 0;
        while bytes < PROVISION_BYTES
            && let Some(seen) = telling.objects.pop_front()
        {
            bytes += seen.entry.written().len() + seen.name.to_string().len();
            part.objects.push(seen);
        }
        while bytes < PROVISION_BYTES
            && let Some(name) = telling.deleted.pop_front()
        {
            bytes += name.to_string().len();
            part.deleted.push(name);
        }
        if telling.objects.is_empty() && telling.deleted.is_empty() {
            part.last = true;
            self.telling = None;
        }
        Some(Down::Provision(part))
    }

    /// What it was not told of what it sees now.
    fn compare(&mut self, view: Vec<Seen>, revision: u64) -> Option<Telling> {
        let whole = !std::mem::replace(&mut self.begun, true);
        let now: BTreeMap<ObjectName, Seen> =
            view.into_iter().map(|seen| (seen.name.clone(), seen)).collect();
        let is_new = |seen: &&Seen| self.told.get(&seen.name).is_none_or(|told| !is_same(told, seen));
        let objects: VecDeque<Seen> = now.values().filter(is_new).cloned().collect();
        let deleted: VecDeque<ObjectName> =
            self.told.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        self.told = now;
        (whole || !objects.is_empty() || !deleted.is_empty()).then_some(Telling {
            revision,
            whole,
            objects,
            deleted,
        })
    }
}

fn is_same(told: &Seen, seen: &Seen) -> bool {
    Arc::ptr_eq(&told.entry, &seen.entry) || told == seen
}
