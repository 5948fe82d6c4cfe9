//! What holds in a world after every step, and in the end.

use super::*;

/// Judges the order of what an NVE is told: revisions rise within a session unless a snapshot comes between, and
/// Progress names what was sent.
pub(super) fn order(down: &Down, told: &mut u64) {
    match down {
        Down::Resumed(revision) | Down::SnapshotEnd(revision) => *told = *revision,
        Down::Delta(revision, _) => {
            assert!(revision > told, "revision {revision} comes after {told}");
            *told = *revision;
        }
        Down::Progress(revision) => assert_eq!(revision, told, "Progress of what was not sent"),
        _ => {}
    }
}

impl World {
    /// What holds at every moment.
    pub(super) fn check(&self) {
        for (nve, n) in self.nves.iter().zip(1..) {
            for key in &nve.acknowledged {
                let record = &self.stored[key];
                let is_there = record.is_held() && record.owner == name(n);
                assert!(is_there, "{key} was acknowledged to nve{n} and is {record:?}");
            }
            // The table shows exactly what is said to be in force: nothing of a snapshot before its end, no part of a
            // transaction, and never less than was in force before.
            let known = nve.client.known();
            let shown = known.map(|known| &self.history[&(known.epoch[0], known.revision)]);
            assert_eq!(&nve.table, shown.unwrap_or(&BTreeMap::new()), "nve{n} at {known:?}");
        }
        for state in self.authority.iter().flat_map(Authority::nves) {
            let nve = self.nves.iter().zip(1..).find(|(_, n)| name(*n) == state.name).unwrap().0;
            let known = nve.client.known().filter(|known| known.epoch == [self.epoch]);
            assert!(state.applied <= known.map_or(0, |known| known.revision), "{state:?} has {known:?}");
        }
        for (key, record) in self.stored.iter().filter(|(_, record)| record.is_held()) {
            let alias = key.zero_alias().and_then(|alias| self.stored.get(&alias));
            assert!(!alias.is_some_and(Record::is_held), "{key} and its zero alias: {record:?}");
        }
    }

    /// What holds once there are no faults and everything was delivered.
    pub(super) fn check_converged(&self) {
        let held = &self.history[&(self.epoch, self.revision)];
        for (nve, n) in self.nves.iter().zip(1..) {
            assert_eq!(&nve.table, held, "the table of nve{n}");
            let known = nve.client.known().map(|known| (known.epoch[0], known.revision));
            assert_eq!(known, Some((self.epoch, self.revision)), "nve{n}");
            let told = self.authority.iter().flat_map(Authority::nves).find(|state| state.name == name(n));
            assert_eq!(told.map(|state| state.applied), Some(self.revision), "nve{n}");
        }
        for (key, record) in self.stored.iter().filter(|(_, record)| record.is_held()) {
            let owner = self.nves.iter().zip(1..).find(|(_, n)| name(*n) == record.owner).unwrap().0;
            assert!(owner.attached.contains(key), "{key} is nobody's: {record:?}");
        }
        // Whoever wants an identifier has it, or another one has it or its zero alias.
        for (nve, n) in self.nves.iter().zip(1..) {
            for key in &nve.attached {
                let is_taken = |key: &Key| held.contains_key(key);
                let why = nve.client.status();
                assert!(
                    is_taken(key) || key.zero_alias().as_ref().is_some_and(is_taken),
                    "{key} of nve{n} is free, and not registered: {why:?}"
                );
            }
        }
    }
}
