//! What goes wrong in a world, and what changes there.

use super::*;

impl World {
    /// kill -9: what is at the store may be durable or not.
    pub(super) fn kill_authority(&mut self) {
        self.authority = None;
        if let Some(transaction) = self.commit.take()
            && self.chance.below(2) == 0
        {
            self.write(&transaction);
        }
        for n in 0..self.nves.len() {
            self.break_stream(n);
        }
    }

    /// Takes a backup, or brings the store back to it: what was acknowledged since is lost, and the epoch is another one.
    pub(super) fn back_up_or_restore(&mut self) {
        let Some(mut stored) = self.backup.clone().filter(|_| self.chance.below(2) == 0) else {
            self.backup = Some(self.store.load().unwrap());
            return;
        };
        self.kill_authority();
        self.epoch += 1;
        // What was registered since the backup is nobody's now.
        self.protected.clear();
        // Not twice in a second.
        begin_anew(&mut stored, [self.epoch; EPOCH], (1_800_000_000 + u64::from(self.epoch), 0));
        for (nve, n) in self.nves.iter_mut().zip(0..) {
            for key in std::mem::take(&mut nve.acknowledged) {
                let record = stored.records.iter().find(|(other, record)| *other == key && record.is_held());
                self.had.insert(key, (n, record.map(|(_, record)| record.owner.to_string())));
            }
        }
        self.store = stored.into();
        self.note_stored();
    }

    pub(super) fn break_stream(&mut self, n: usize) {
        if let Some(stream) = self.nves[n].stream.take() {
            self.authority(authority::Input::Closed(stream.session));
            self.client(n, client::Input::Closed("broken".to_owned()));
        }
    }

    /// The caching NVE finds no authority for a while, or finds one again.
    pub(super) fn cut_off_the_cache(&mut self) {
        self.break_stream(CACHING);
        self.nves[CACHING].cut_off ^= true;
        let used = self.nves[CACHING].table.keys().copied();
        self.protected = used.filter(|key| !self.is_of_another(*key)).collect();
    }

    /// What the caching NVE uses goes from its NVE, or another one wants it that went.
    pub(super) fn take_over(&mut self, heir: usize) {
        let Some(key) = self.nves[CACHING].table.keys().next().copied() else { return };
        if self.stored.get(&key).is_some_and(|record| !record.is_held()) {
            self.nves[heir].attached.insert(key);
            return self.tell_attached(heir);
        }
        for n in 0..self.nves.len() {
            let nve = &mut self.nves[n];
            nve.acknowledged.remove(&key);
            nve.asked.remove(&key);
            nve.attached.remove(&key);
            self.tell_attached(n);
        }
    }

    /// Packets need what the caching NVE does not have, or use what is about to expire there.
    pub(super) fn miss(&mut self) {
        let SimNve { table, marked, .. } = &self.nves[CACHING];
        let keys = (1..=KEYS).flat_map(|n| [0, 0xffff].map(|low| key(0x1000 * n + low)));
        let missing: Vec<Key> = keys.filter(|key| !table.contains_key(key) || marked.contains(key)).collect();
        self.client(CACHING, client::Input::Misses(missing));
    }

    /// The router sees a packet that the caching NVE could have sent direct.
    pub(super) fn triangular(&mut self) {
        let Some(source) = self.nves[CACHING].attached.first().copied() else { return };
        let destination = key(0x1000 * (1 + self.chance.below(KEYS)) + self.chance.below(2) * 0xffff);
        self.client(0, client::Input::Triangles(vec![Triangle { source, destination }]));
    }

    /// Attaches or detaches something.
    pub(super) fn change(&mut self, n: usize) {
        let key = key(0x1000 * (1 + self.chance.below(KEYS)) + self.chance.below(2) * 0xffff);
        let nve = &mut self.nves[n];
        // What is attached no longer is promised no longer.
        nve.acknowledged.remove(&key);
        nve.asked.remove(&key);
        if self.had.get(&key).is_some_and(|(who, _)| *who == n) {
            self.had.remove(&key);
        }
        if !nve.attached.remove(&key) {
            nve.attached.insert(key);
        }
        self.tell_attached(n);
    }

    /// What the disk of a node gives back is not what was written: a mapping is gone, another one, or one too many.
    fn rot(&mut self, n: usize) {
        let key = key(0x1000 * (1 + self.chance.below(KEYS)));
        let wrong = at(1 + self.chance.below(NVES));
        let table = &mut self.nves[n].table;
        if table.remove(&key).is_none() || self.chance.below(2) == 0 {
            table.insert(key, wrong);
        }
        self.nves[n].rotten = true;
    }

    /// The node starts anew: it knows its configuration, and what it had in force if its disk is there.
    pub(super) fn restart_nve(&mut self, n: usize) {
        let (has_disk, rots) = (self.chance.below(2) == 0, self.chance.below(2) == 0);
        self.restart(n, has_disk, rots);
    }

    /// The disks of some that follow everything rot while nothing else changes.
    pub(super) fn rot_at_rest(&mut self) {
        for n in 0..CACHING {
            if self.chance.below(2) == 0 {
                self.restart(n, true, true);
            }
        }
    }

    fn restart(&mut self, n: usize, has_disk: bool, rots: bool) {
        self.break_stream(n);
        let nve = &mut self.nves[n];
        nve.boots += 1;
        self.had.retain(|_, (who, _)| *who != n);
        let known = nve.client.known().filter(|_| has_disk).cloned();
        if known.is_none() {
            nve.table.clear();
            nve.marked.clear();
        }
        if known.is_some() && n != CACHING && rots {
            self.rot(n);
        }
        let nve = &mut self.nves[n];
        let client = Client::new(name(n as u64 + 1), nve.boots, 1, nve.boots << 8 | n as u64, known);
        nve.client = in_its_mode(n as u64 + 1, client);
        (nve.applying, nve.asked) = (VecDeque::new(), BTreeMap::new());
        // What it does not have in its configuration any more is not promised any more.
        let attached = nve.attached.clone();
        nve.acknowledged.retain(|key| attached.contains(key));
        self.tell_attached(n);
    }
}
