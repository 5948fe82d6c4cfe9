//! The embedded store on a disk that loses, tears and refuses writes: kill -9 alone would not show a missing fsync.

use super::super::embedded::Open;
use super::*;
use redb::{Database, StorageBackend};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A disk. What was written and not synced may be lost at a crash, each sector for itself. A sync that fails gives up
/// what it did not write: that may be lost at a crash though reads show it and later syncs succeed, as Linux does it.
#[derive(Debug, Default)]
struct State {
    synced: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Change>,
    /// Counts crashes: handles from before one are dead.
    life: u32,
    /// Writes, syncs and changes of length that are still done, and how many after them fail.
    fault: Option<(u32, u32)>,
    /// Syncs that are still done before one fails.
    failing_sync: Option<u32>,
    /// Syncs that failed.
    failed_syncs: u32,
    random: u64,
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below.max(1)
    }

    fn crash(&mut self) {
        self.life += 1;
        self.heal();
        self.write_out(false);
        self.now.clone_from(&self.synced);
    }

    /// All that is not synced reaches the disk, or each sector of it or not.
    fn write_out(&mut self, all: bool) {
        let mut left = std::mem::take(&mut self.synced);
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Length(length) if all || self.random(2) == 0 => left.resize(length, 0),
                Change::Length(_) => {}
                Change::Write(at, bytes) => {
                    for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                        let from = at + n * SECTOR;
                        if all || self.random(2) == 0 {
                            let end = from + sector.len();
                            if left.len() < end {
                                left.resize(end, 0);
                            }
                            left[from..end].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        self.synced = left;
    }

    /// It fails no more.
    fn heal(&mut self) {
        (self.fault, self.failing_sync) = (None, None);
    }

    fn may(&mut self) -> io::Result<()> {
        match &mut self.fault {
            None | Some((0, 0)) => Ok(()),
            Some((0, failing)) => {
                *failing -= 1;
                Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"))
            }
            Some((good, _)) => {
                *good -= 1;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn seeded(seed: u64) -> Disk {
        let disk = Disk::default();
        disk.state().random = seed;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn open(&self) -> Open {
        let disk = self.clone();
        Box::new(move || {
            // A disk that refused may serve again: room was made.
            let life = disk.state().life;
            Database::builder().create_with_backend(Handle { disk: disk.clone(), life })
        })
    }

    fn store(&self) -> Embedded {
        Embedded::over(self.open(), Path::new("disk"), [7; EPOCH]).unwrap()
    }
}

/// An open file: dead after a crash.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    life: u32,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the machine crashed")) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let from = state.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.may()?;
        state.now.resize(len as usize, 0);
        state.unsynced.push(Change::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let fails = state.failing_sync == Some(0);
        state.failing_sync = state.failing_sync.and_then(|good| good.checked_sub(1));
        let may = if fails { Err(io::Error::other("the disk failed")) } else { state.may() };
        state.failed_syncs += u32::from(may.is_err());
        state.write_out(may.is_ok());
        may
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        state.may()?;
        let at = offset as usize;
        state.now.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        state.unsynced.push(Change::Write(at, data.to_vec()));
        Ok(())
    }
}

/// What must be in the store.
#[derive(Default, Clone)]
struct Model {
    revision: u64,
    records: BTreeMap<Key, Record>,
}

impl Model {
    fn with(&self, transaction: &Transaction) -> Model {
        let mut next = self.clone();
        next.revision += 1;
        next.records.extend(transaction.writes.iter().cloned());
        transaction.deletes.iter().for_each(|key| _ = next.records.remove(key));
        next
    }

    fn is(&self, stored: &Stored) -> bool {
        stored.revision == self.revision
            && stored
                .records
                .iter()
                .cloned()
                .eq(self.records.iter().map(|(key, record)| (*key, record.clone())))
    }
}

fn some_writes(disk: &Disk, revision: u64) -> Transaction {
    let mut state = disk.state();
    let count = 1 + state.random(40);
    let writes: BTreeMap<Key, Record> =
        (0..count).map(|_| (key(state.random(200)), record(revision, state.random(4)))).collect();
    let deletes = (0..state.random(20)).map(|_| key(state.random(200)));
    let deletes = deletes.filter(|key| !writes.contains_key(key)).collect();
    Transaction { writes: writes.into_iter().collect(), deletes, ..Transaction::default() }
}

#[test]
fn what_was_answered_survives_crashes_that_lose_and_tear_writes_and_the_rest_is_whole_or_not_there() {
    let mut answers = [0; 5];
    for seed in 0..60 {
        let disk = Disk::seeded(seed);
        let mut model = Model::default();
        for _life in 0..6 {
            let mut store = disk.store();
            let stored = store.load().unwrap();
            assert!(
                model.is(&stored),
                "seed {seed}: revision {} instead of {}",
                stored.revision,
                model.revision
            );
            let calls = disk.state().random(8);
            for _ in 0..calls {
                let transaction = some_writes(&disk, model.revision + 1);
                store.commit(model.revision + 1, &transaction).unwrap();
                model = model.with(&transaction);
            }
            // The machine stops in the middle of one more, or after the disk failed for a while.
            let transaction = some_writes(&disk, model.revision + 1);
            let good = disk.state().random(40) as u32;
            let failing = match disk.state().random(4) as u32 {
                0 => u32::MAX,
                count => count,
            };
            if disk.state().random(2) == 0 {
                disk.state().failing_sync = Some(good % 4);
            } else {
                disk.state().fault = Some((good, failing));
            }
            let failed_before = disk.state().failed_syncs;
            let answer = store.commit(model.revision + 1, &transaction);
            let is_after_failed_sync = disk.state().failed_syncs > failed_before;
            drop(store);
            let is_unknown = matches!(answer, Err(CommitError::Unknown(_)));
            // Another authority starts before that, and answers for what it reads.
            disk.state().heal();
            let shown = (is_unknown && failing != u32::MAX).then(|| disk.store().load().unwrap());
            disk.state().crash();
            let stored = disk.store().load().unwrap();
            let next = model.with(&transaction);
            if let Some(shown) = shown {
                answers[3] += 1;
                assert_eq!(shown.revision, stored.revision, "seed {seed}: what was read is lost");
            }
            match answer {
                Ok(()) => {
                    answers[0] += 1;
                    answers[4] += usize::from(is_after_failed_sync);
                    assert!(next.is(&stored), "seed {seed}: what was answered is lost");
                }
                Err(CommitError::Refused(_)) => {
                    answers[1] += 1;
                    assert!(model.is(&stored), "seed {seed}: what was refused is there");
                }
                Err(CommitError::Unknown(_)) => {
                    answers[2] += 1;
                    assert!(model.is(&stored) || next.is(&stored), "seed {seed}: half of it is there");
                }
            }
            if next.is(&stored) {
                model = next;
            }
        }
    }
    assert!(answers.iter().all(|count| *count > 0), "{answers:?}: not everything was tried");
}

#[test]
fn a_full_disk_refuses_and_serves_again_once_there_is_room() {
    let (mut refused, mut unknown) = (0, 0);
    for seed in 0..60 {
        let disk = Disk::seeded(seed);
        let mut store = disk.store();
        let mut model = Model::default();
        for _ in 0..20 {
            let transaction = some_writes(&disk, model.revision + 1);
            let good = disk.state().random(40) as u32;
            let failing = disk.state().random(4) as u32;
            disk.state().fault = Some((good, failing));
            let answer = store.commit(model.revision + 1, &transaction);
            disk.state().fault = None;
            match answer {
                Ok(()) => model = model.with(&transaction),
                Err(CommitError::Refused(_)) => refused += 1,
                Err(CommitError::Unknown(_)) => {
                    unknown += 1;
                    // The authority starts anew.
                    store = disk.store();
                    let next = model.with(&transaction);
                    if next.is(&store.load().unwrap()) {
                        model = next;
                    }
                }
            }
            assert!(model.is(&store.load().unwrap()), "seed {seed}");
        }
    }
    assert!(refused > 0 && unknown > 0, "{refused} refused, {unknown} unknown: not everything was tried");
}

#[test]
fn an_answer_without_a_sync_would_be_found() {
    // The same disk under a store that answers early: the law above can fail.
    let lost = (0..20).filter(|seed| {
        let disk = Disk::seeded(*seed);
        drop(disk.store());
        let database = disk.open()().unwrap();
        let mut begun = database.begin_write().unwrap();
        begun.set_durability(redb::Durability::None).unwrap();
        begun.open_table(redb::TableDefinition::<u64, u64>::new("t")).unwrap().insert(1, 1).unwrap();
        begun.commit().unwrap();
        disk.state().crash();
        drop(database);
        use redb::ReadableDatabase;
        let read = disk.open()().unwrap().begin_read().unwrap();
        read.open_table(redb::TableDefinition::<u64, u64>::new("t")).is_err()
    });
    assert!(lost.count() > 0);
}
