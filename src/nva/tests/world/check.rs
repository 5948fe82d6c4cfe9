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

/// The same of an NVE that asks: what it is told never goes back.
pub(super) fn order_of_asked(down: &Down, told: &mut u64) {
    match down {
        Down::Delta(revision, _) | Down::Answer { revision, .. } | Down::Redirect { revision, .. } => {
            assert!(revision >= told, "revision {revision} comes after {told}");
            *told = *revision;
        }
        Down::Page(_) | Down::SnapshotEnd(_) | Down::Resync(_) | Down::Resumed(_) => {
            panic!("{down:?} was not asked for")
        }
        _ => {}
    }
}

/// The sequence of an identifier never goes back, over its release, its deletion and backups.
pub(super) fn sequence(seen: &mut BTreeMap<Key, u64>, key: Key, sequence: u64) {
    let highest = seen.entry(key).or_default();
    assert!(sequence >= *highest, "{key}: sequence {sequence} comes after {highest}");
    *highest = sequence;
}

impl World {
    /// What the registry showed at the revision that a node says to have in force.
    fn shown(&self, nve: &SimNve) -> &Table {
        static NOTHING: Table = Table::new();
        nve.client.known().map_or(&NOTHING, |known| &self.history[&(known.epoch[0], known.revision)])
    }

    /// Whose disk rotted and has what it was told again is held against that from now on.
    pub(super) fn note_repaired(&mut self) {
        for n in 0..self.nves.len() {
            let shown = within(n as u64 + 1, self.shown(&self.nves[n]));
            let is_right = self.nves[n].rotten && self.nves[n].table == *shown;
            self.nves[n].rotten &= !is_right;
        }
    }

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
            if n as usize == CACHING + 1 || nve.rotten {
                continue;
            }
            assert_eq!(nve.table, *within(n, self.shown(nve)), "nve{n} at {:?}", nve.client.known());
        }
        // What an NVE had when a backup was restored is nobody else's, but of who had it in the backup.
        for (key, (n, before)) in &self.had {
            let record = self.stored.get(key).filter(|record| record.is_held());
            let is_own = |owner: &str| *owner == name(*n as u64 + 1) || before.as_deref() == Some(owner);
            assert!(record.is_none_or(|it| is_own(&it.owner)), "{key} was had by nve{}: {record:?}", n + 1);
        }
        for state in self.authority.iter().flat_map(Authority::nves) {
            let nve = self.nves.iter().zip(1..).find(|(_, n)| name(*n) == state.name).unwrap().0;
            let known = nve.client.known().filter(|known| known.epoch == [self.epoch]);
            assert!(state.applied <= known.map_or(0, |known| known.revision), "{state:?} has {known:?}");
        }
        self.check_absent();
        for (key, record) in self.stored.iter().filter(|(_, record)| record.is_held()) {
            let alias = key.zero_alias().and_then(|alias| self.stored.get(&alias));
            assert!(!alias.is_some_and(Record::is_held), "{key} and its zero alias: {record:?}");
        }
    }

    /// What the caching NVE uses without a session is given to nobody else.
    fn check_absent(&self) {
        let SimNve { cut_off, stream, applying, .. } = &self.nves[CACHING];
        if *cut_off && stream.is_none() && applying.is_empty() {
            let given = self.protected.iter().find(|key| self.is_of_another(**key));
            assert!(given.is_none(), "{given:?} is given to another one while it is used");
        }
    }

    /// Whether the caching NVE uses an identifier that another NVE has.
    pub(super) fn is_of_another(&self, key: Key) -> bool {
        let nve_of = |choices: &Vec<Choice>| Some(choices.first()?.locator.0 >> 8);
        let used = self.nves[CACHING].table.get(&key).and_then(nve_of);
        let held = self.stored.get(&key).and_then(|record| nve_of(&record.choices));
        used.zip(held).is_some_and(|(used, held)| used != held)
    }

    /// Once everything was delivered, nothing of what was asked for is stale.
    pub(super) fn check_cached(&self) {
        let (nve, held) = (&self.nves[CACHING], &self.history[&(self.epoch, self.revision)]);
        if !nve.client.status().live || nve.stream.is_none() || nve.stalled {
            return;
        }
        for (key, choices) in &nve.table {
            assert_eq!(held.get(key), Some(choices), "{key} is cached");
        }
        assert_eq!(nve.table.len() as u64, nve.client.status().cache.mappings);
    }

    /// What is asked for is known, and is known until it changes.
    pub(super) fn check_that_asking_helps(&mut self) {
        let held = self.history[&(self.epoch, self.revision)].clone();
        self.client(CACHING, client::Input::Misses(held.keys().copied().collect()));
        self.settle();
        assert_eq!(self.nves[CACHING].table, held);
        let asked = self.nves[CACHING].client.status().cache.asked;
        assert!(asked >= held.len() as u64);
        for _ in 0..20 {
            self.change(0);
            self.settle();
        }
        // What was refused is asked for again.
        let end = self.now_ms + 60_000;
        while self.now_ms < end {
            self.settle();
        }
        self.check_converged();
    }

    /// What holds once there are no faults and everything was delivered.
    pub(super) fn check_converged(&self) {
        let held = &self.history[&(self.epoch, self.revision)];
        for (nve, n) in self.nves.iter().take(CACHING).zip(1..) {
            assert_eq!(nve.table, *within(n, held), "the table of nve{n}");
            let known = nve.client.known().map(|known| (known.epoch[0], known.revision));
            assert_eq!(known, Some((self.epoch, self.revision)), "nve{n}");
            let told = self.authority.iter().flat_map(Authority::nves).find(|state| state.name == name(n));
            assert_eq!(told.map(|state| state.applied), Some(self.revision), "nve{n}");
        }
        assert!(!self.restored, "the registry waits for ever");
        for (key, record) in &self.stored {
            assert!(record.is_held(), "{key} was released long ago and is kept: {record:?}");
            let owner = self.nves.iter().zip(1..).find(|(_, n)| record.owner == name(*n)).unwrap().0;
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
