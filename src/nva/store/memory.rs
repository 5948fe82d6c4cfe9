//! A store that forgets everything when the process ends: for tests and simulations.

use super::interface::{CommitError, Snapshot, Store, StoreError, Stored};
use crate::nva::failover::Group;
use crate::nva::mobility::{Move, MoveId};
use crate::nva::model::{Allocation, AllocationKey, Key, Object, ObjectKey, Record, Transaction};
use std::collections::BTreeMap;

/// A store in memory.
#[derive(Debug, Default)]
pub struct Memory {
    revision: u64,
    restored: bool,
    records: BTreeMap<Key, Record>,
    objects: BTreeMap<ObjectKey, Object>,
    allocations: BTreeMap<AllocationKey, Allocation>,
    moves: BTreeMap<MoveId, Move>,
    groups: BTreeMap<String, Group>,
}

impl From<Stored> for Memory {
    /// A store that holds this. It has no epoch of its own.
    fn from(stored: Stored) -> Self {
        let Stored { revision, restored, records, objects, moves, groups, allocations, .. } = stored;
        let (records, objects) = (records.into_iter().collect(), objects.into_iter().collect());
        let (moves, allocations) = (moves.into_iter().collect(), allocations.into_iter().collect());
        let groups = groups.into_iter().map(|group| (group.name.clone(), group)).collect();
        Memory { revision, restored, records, objects, moves, groups, allocations }
    }
}

impl Store for Memory {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let records = self.records.iter().map(|(key, record)| (*key, record.clone()));
        let (objects, records) = (self.objects.clone().into_iter().collect(), records.collect());
        let moves = self.moves.clone().into_iter().collect();
        let allocations = self.allocations.clone().into_iter().collect();
        let groups = self.groups.values().cloned().collect();
        let (revision, restored) = (self.revision, self.restored);
        Ok(Stored { revision, restored, records, objects, moves, groups, allocations, ..Stored::default() })
    }

    fn commit(&mut self, revision: u64, transaction: &Transaction) -> Result<(), CommitError> {
        if revision != self.revision + 1 {
            return Err(CommitError::Refused(format!(
                "revision {revision} does not follow {}",
                self.revision
            )));
        }
        self.revision = revision;
        self.restored &= !transaction.ends_restoration;
        self.records.extend(transaction.writes.iter().cloned());
        transaction.deletes.iter().for_each(|key| _ = self.records.remove(key));
        for (key, allocation) in &transaction.allocations {
            match allocation {
                Some(allocation) => _ = self.allocations.insert(*key, allocation.clone()),
                None => _ = self.allocations.remove(key),
            }
        }
        for (key, object) in &transaction.objects {
            match object {
                Some(object) => _ = self.objects.insert(key.clone(), object.clone()),
                None => _ = self.objects.remove(key),
            }
        }
        for (id, one) in &transaction.moves {
            match one {
                Some(one) => _ = self.moves.insert(*id, one.clone()),
                None => _ = self.moves.remove(id),
            }
        }
        for (name, group) in &transaction.groups {
            match group {
                Some(group) => _ = self.groups.insert(name.clone(), group.clone()),
                None => _ = self.groups.remove(name),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let stored = self.load()?;
        Ok(Box::new(move || Ok(stored)))
    }
}
