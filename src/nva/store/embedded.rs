//! The embedded store: one redb file, of one process at a time. A commit is answered after its fsync.

use super::bytes::{read_key, write_key};
use super::form::{
    read_allocation, read_allocation_key, read_object, read_object_key, read_record, write_allocation,
    write_allocation_key, write_object, write_object_key, write_record,
};
use super::group_form::{read_group, write_group};
use super::interface::{CommitError, EPOCH, Progress, Snapshot, Store, StoreError, Stored};
use super::move_form::{read_move, write_move};
use crate::nva::failover::Group;
use crate::nva::mobility::{Move, MoveId};
use crate::nva::model::{Allocation, AllocationKey, Object, ObjectKey, Transaction};
use crate::nva::owner::Owners;
use redb::{
    Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, TableError,
};
use std::fmt::Display;
use std::path::{Path, PathBuf};

const RECORDS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("records");
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const ALLOCATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("allocations");
const GROUPS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("groups");
const MOVES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("moves");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EPOCH_KEY: &str = "epoch";
const REVISION_KEY: &str = "revision";
/// There is one while the registry waits after a restoration.
const RESTORED_KEY: &str = "restored";
/// What follows the epoch of a registry that moved: a release that knows of no moves reads no epoch there, and refuses the
/// file.
const FENCE: &[u8] = b" moved";
/// There is one once the registry moved: the epoch that it has now, and where it is.
const MOVED_KEY: &str = "moved";
/// Records that one transaction of a restoration writes.
const PORTION: usize = 10_000;
/// Records between two signs of progress.
const STEP: usize = 1_000;

/// Opens the database, or makes an empty one.
pub(super) type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// What a store holds besides records.
#[derive(Clone, Copy)]
struct Meta {
    epoch: [u8; EPOCH],
    revision: u64,
    restored: bool,
}

/// Where a registry went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// That it has there.
    pub(super) epoch: [u8; EPOCH],
    /// The place, as operators name it.
    pub(super) to: String,
}

/// A store in a file.
pub struct Embedded {
    /// None after a failure, until it is opened again.
    database: Option<Database>,
    open: Open,
    path: PathBuf,
}

impl Embedded {
    /// Opens the store at `path`, or makes an empty one with this epoch if there is no file.
    ///
    /// # Errors
    /// Another process has it, it is damaged, its registry moved, or the file system refuses. Nothing of a damaged file is
    /// changed.
    pub fn open(path: &Path, epoch: [u8; EPOCH]) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|why| StoreError(format!("cannot make {}: {why}", directory.display())))?;
        }
        let store = Self::open_anyway(path, epoch)?;
        let Some(Moved { to, .. }) = store.moved()? else { return Ok(store) };
        Err(store.failed(format!(
            "its registry moved to {to}: set store.etcd in the place of store.path. If the move did not end, run \
             `ila-nva migrate` again; to come back, make a backup there and restore it here"
        )))
    }

    /// [`Self::open`], also if its registry moved: to read what it was, not to go on with it.
    pub(super) fn open_anyway(path: &Path, epoch: [u8; EPOCH]) -> Result<Self, StoreError> {
        let file = path.to_owned();
        Self::over(Box::new(move || Database::create(&file)), path, epoch)
    }

    /// [`Self::open`] for a database that is opened in another way. `name` stands in errors.
    pub(super) fn over(open: Open, name: &Path, epoch: [u8; EPOCH]) -> Result<Self, StoreError> {
        let database = open().map_err(|why| StoreError(format!("{}: {}", name.display(), in_words(&why))))?;
        let store = Embedded { database: Some(database), open, path: name.to_owned() };
        if store.is_new()? {
            let meta = Meta { epoch, revision: 0, restored: false };
            store.write(meta, &Transaction::default())?;
        }
        Ok(store)
    }

    fn failed(&self, why: impl Display) -> StoreError {
        StoreError(format!("{}: {why}", self.path.display()))
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or_else(|| self.failed("it failed before; start again"))
    }

    /// Whether a database is a store of an authority, and not of something else.
    pub(super) fn is_registry(database: &Database) -> bool {
        database.begin_read().is_ok_and(|begun| begun.open_table(RECORDS).is_ok())
    }

    /// The revision of a store that may be damaged; 0 if it cannot be read.
    pub(super) fn revision_of(database: &Database) -> u64 {
        let meta = database.begin_read().ok().and_then(|begun| read_meta(&begun).ok());
        meta.map_or(0, |meta| meta.revision)
    }

    /// Whether nothing was ever written into it: a store is made with its epoch in one transaction.
    fn is_new(&self) -> Result<bool, StoreError> {
        let begun = self.database()?.begin_read().map_err(|why| self.failed(why))?;
        match begun.open_table(META) {
            Ok(_) => Ok(false),
            Err(TableError::TableDoesNotExist(_)) => {
                match begun.list_tables().map_err(|why| self.failed(why))?.next() {
                    None => Ok(true),
                    Some(_) => Err(self.failed("is a database of something else; name another file")),
                }
            }
            Err(why) => Err(self.failed(why)),
        }
    }

    fn meta(&self) -> Result<Meta, StoreError> {
        let begun = self.database()?.begin_read().map_err(|why| self.failed(why))?;
        read_meta(&begun).map_err(|why| self.failed(why))
    }

    /// Where its registry went, if it did.
    pub(super) fn moved(&self) -> Result<Option<Moved>, StoreError> {
        let begun = self.database()?.begin_read().map_err(|why| self.failed(why))?;
        let meta = begun.open_table(META).map_err(|why| self.failed(why))?;
        let Some(moved) = meta.get(MOVED_KEY).map_err(|why| self.failed(why))? else { return Ok(None) };
        let (epoch, to) =
            moved.value().split_first_chunk().ok_or_else(|| self.failed("where it moved is damaged"))?;
        Ok(Some(Moved { epoch: *epoch, to: String::from_utf8_lossy(to).into_owned() }))
    }

    /// No authority goes on with it from now on.
    #[cfg(any(feature = "etcd", test))]
    pub(super) fn fence(&self, Moved { epoch, to }: &Moved) -> Result<(), StoreError> {
        let fenced = [&self.meta()?.epoch[..], FENCE].concat();
        let moved = [&epoch[..], to.as_bytes()].concat();
        let mut begun = self.database()?.begin_write().map_err(|why| self.failed(why))?;
        begun.set_durability(Durability::Immediate).map_err(|why| self.failed(why))?;
        begun.set_quick_repair(true);
        let mut meta = begun.open_table(META).map_err(|why| self.failed(why))?;
        meta.insert(MOVED_KEY, &moved[..]).map_err(|why| self.failed(why))?;
        meta.insert(EPOCH_KEY, &fenced[..]).map_err(|why| self.failed(why))?;
        drop(meta);
        begun.commit().map_err(|why| self.failed(why))
    }

    /// Writes and deletes records, and writes the meta data, in one durable transaction.
    fn write(&self, meta: Meta, transaction: &Transaction) -> Result<(), StoreError> {
        let Transaction { writes, deletes, objects, moves, groups, allocations, .. } = transaction;
        let mut begun = self.database()?.begin_write().map_err(|why| self.failed(why))?;
        begun.set_durability(Durability::Immediate).map_err(|why| self.failed(why))?;
        // After a crash a large file opens as fast as a small one; and see `settle`.
        begun.set_quick_repair(true);
        {
            let mut table = begun.open_table(RECORDS).map_err(|why| self.failed(why))?;
            for (key, record) in writes {
                table.insert(write_key(*key), &write_record(record)[..]).map_err(|why| self.failed(why))?;
            }
            for key in deletes {
                table.remove(write_key(*key)).map_err(|why| self.failed(why))?;
            }
            let mut table = begun.open_table(OBJECTS).map_err(|why| self.failed(why))?;
            for (key, object) in objects {
                let key = write_object_key(key);
                let done = match object {
                    Some(object) => table.insert(&*key, &write_object(object)[..]).map(drop),
                    None => table.remove(&*key).map(drop),
                };
                done.map_err(|why| self.failed(why))?;
            }
            if !allocations.is_empty() {
                let mut table = begun.open_table(ALLOCATIONS).map_err(|why| self.failed(why))?;
                for (key, allocation) in allocations {
                    let key = write_allocation_key(key);
                    let done = match allocation {
                        Some(allocation) => table.insert(&*key, &write_allocation(allocation)[..]).map(drop),
                        None => table.remove(&*key).map(drop),
                    };
                    done.map_err(|why| self.failed(why))?;
                }
            }
            if !moves.is_empty() {
                let mut table = begun.open_table(MOVES).map_err(|why| self.failed(why))?;
                for (MoveId(id), one) in moves {
                    let done = match one {
                        Some(one) => table.insert(id, &write_move(one)[..]).map(drop),
                        None => table.remove(id).map(drop),
                    };
                    done.map_err(|why| self.failed(why))?;
                }
            }
            if !groups.is_empty() {
                let mut table = begun.open_table(GROUPS).map_err(|why| self.failed(why))?;
                for (name, group) in groups {
                    let done = match group {
                        Some(group) => table.insert(&**name, &write_group(group)[..]).map(drop),
                        None => table.remove(&**name).map(drop),
                    };
                    done.map_err(|why| self.failed(why))?;
                }
            }
            let Meta { epoch, revision, restored } = meta;
            let mut meta = begun.open_table(META).map_err(|why| self.failed(why))?;
            meta.insert(EPOCH_KEY, &epoch[..]).map_err(|why| self.failed(why))?;
            meta.insert(REVISION_KEY, &revision.to_be_bytes()[..]).map_err(|why| self.failed(why))?;
            let done = if restored { meta.insert(RESTORED_KEY, &[][..]) } else { meta.remove(RESTORED_KEY) };
            done.map_err(|why| self.failed(why))?;
        }
        begun.commit().map_err(|why| self.failed(why))
    }

    /// Finds out whether a commit that failed is there, in the database opened anew.
    ///
    /// After a sync that failed, reads may show what never reaches the disk. What is there is durable nevertheless: a
    /// transaction is seen only after its pages were synced, because quick repair commits in two phases, and opening
    /// writes the header, which says that it is there, again and syncs that.
    fn settle(&mut self, revision: u64, why: StoreError) -> Result<(), CommitError> {
        self.database = None;
        let unknown = |again: String| CommitError::Unknown(format!("{why}; and then: {again}"));
        self.database = Some((self.open)().map_err(|again| unknown(in_words(&again)))?);
        match self.meta() {
            Ok(Meta { revision: stored, .. }) if stored == revision => Ok(()),
            Ok(Meta { revision: stored, .. }) if stored + 1 == revision => Err(CommitError::Refused(why.0)),
            Ok(Meta { revision: stored, .. }) => {
                Err(unknown(format!("revision {stored} is there instead of {revision}")))
            }
            Err(again) => Err(unknown(again.0)),
        }
    }

    /// Fills an empty store: what a backup held.
    pub(super) fn fill(&self, stored: &Stored, progress: &mut Progress<'_>) -> Result<(), StoreError> {
        // The revision comes last: without it the store is no whole one.
        let Stored { epoch, restored, revision, .. } = *stored;
        for (n, portion) in stored.records.chunks(PORTION).enumerate() {
            progress("writing", n * PORTION, stored.records.len());
            let transaction = Transaction { writes: portion.to_vec(), ..Transaction::default() };
            self.write(Meta { epoch, restored, revision: 0 }, &transaction)?;
        }
        let objects = stored.objects.iter().cloned().map(|(key, object)| (key, Some(object)));
        let allocations = stored.allocations.iter().cloned().map(|(key, it)| (key, Some(it)));
        let groups = stored.groups.iter().cloned().map(|group| (group.name.clone(), Some(group)));
        let (objects, allocations, groups) = (objects.collect(), allocations.collect(), groups.collect());
        let last = Transaction { objects, allocations, groups, ..Transaction::default() };
        self.write(Meta { epoch, restored, revision }, &last)?;
        progress("writing", stored.records.len(), stored.records.len());
        Ok(())
    }

    /// Everything that it holds.
    pub(super) fn read(&self, progress: &mut Progress<'_>) -> Result<Stored, StoreError> {
        let begun = self.database()?.begin_read().map_err(|why| self.failed(why))?;
        read_all(&begun, progress).map_err(|why| self.failed(why))
    }
}

impl Store for Embedded {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.read(&mut |_, _, _| ())
    }

    fn commit(&mut self, revision: u64, transaction: &Transaction) -> Result<(), CommitError> {
        let meta = self.meta().map_err(|why| CommitError::Unknown(why.0));
        let meta = meta?;
        if meta.revision + 1 != revision {
            let stored = meta.revision;
            let why = format!("revision {revision} does not follow {stored}; does another process write it?");
            return Err(CommitError::Unknown(self.failed(why).0));
        }
        let restored = meta.restored && !transaction.ends_restoration;
        self.write(Meta { revision, restored, ..meta }, transaction).or_else(|why| self.settle(revision, why))
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let begun = self.database()?.begin_read().map_err(|why| self.failed(why))?;
        let path = self.path.display().to_string();
        Ok(Box::new(move || {
            read_all(&begun, &mut |_, _, _| ()).map_err(|why| StoreError(format!("{path}: {why}")))
        }))
    }
}

fn read_meta(begun: &ReadTransaction) -> Result<Meta, String> {
    let meta = begun.open_table(META).map_err(|why| why.to_string())?;
    let field = |key: &str| {
        let found = meta.get(key).map_err(|why| why.to_string())?;
        found.map(|value| value.value().to_vec()).ok_or_else(|| format!("{key} is missing"))
    };
    let epoch = field(EPOCH_KEY)?;
    let epoch = epoch.strip_suffix(FENCE).unwrap_or(&epoch);
    let epoch = epoch.try_into().map_err(|_| "the epoch is damaged")?;
    let revision = field(REVISION_KEY)?.try_into().map_err(|_| "the revision is damaged")?;
    let restored = meta.get(RESTORED_KEY).map_err(|why| why.to_string())?.is_some();
    Ok(Meta { epoch, revision: u64::from_be_bytes(revision), restored })
}

fn read_all(begun: &ReadTransaction, progress: &mut Progress<'_>) -> Result<Stored, String> {
    let Meta { epoch, revision, restored } = read_meta(begun)?;
    let table = begun.open_table(RECORDS).map_err(|why| why.to_string())?;
    let (mut records, mut owners) = (Vec::new(), Owners::default());
    let all = table.len().map_err(|why| why.to_string())? as usize;
    for entry in table.iter().map_err(|why| why.to_string())? {
        let (key, value) = entry.map_err(|why| why.to_string())?;
        let key = read_key(key.value());
        let record = read_record(value.value());
        let mut record = record.ok_or_else(|| format!("the record of {key} is damaged"))?;
        owners.share(&mut record.owner);
        records.push((key, record));
        if records.len().is_multiple_of(STEP) {
            progress("reading", records.len(), all);
        }
    }
    progress("reading", all, all);
    let (objects, moves, allocations) = (read_objects(begun)?, read_moves(begun)?, read_allocations(begun)?);
    let groups = read_groups(begun)?;
    Ok(Stored {
        epoch,
        revision,
        restored,
        records,
        objects,
        moves,
        groups,
        allocations,
        ..Stored::default()
    })
}

/// A store that an older release made has none.
fn read_objects(begun: &ReadTransaction) -> Result<Vec<(ObjectKey, Object)>, String> {
    let table = match begun.open_table(OBJECTS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(why) => return Err(why.to_string()),
    };
    let mut objects = Vec::new();
    for entry in table.iter().map_err(|why| why.to_string())? {
        let (key, value) = entry.map_err(|why| why.to_string())?;
        let key = key.value();
        let damaged = || format!("the object {} is damaged", key.escape_debug());
        let name = read_object_key(key).ok_or_else(damaged)?;
        objects.push((name, read_object(value.value()).ok_or_else(damaged)?));
    }
    objects.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(objects)
}

/// A store that an older release made has none.
fn read_allocations(begun: &ReadTransaction) -> Result<Vec<(AllocationKey, Allocation)>, String> {
    let table = match begun.open_table(ALLOCATIONS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(why) => return Err(why.to_string()),
    };
    let mut allocations = Vec::new();
    for entry in table.iter().map_err(|why| why.to_string())? {
        let (key, value) = entry.map_err(|why| why.to_string())?;
        let key = key.value();
        let damaged = || format!("the allocation {} is damaged", key.escape_debug());
        let name = read_allocation_key(key).ok_or_else(damaged)?;
        allocations.push((name, read_allocation(value.value()).ok_or_else(damaged)?));
    }
    Ok(allocations)
}

/// A store in which nothing ever moved has none.
fn read_moves(begun: &ReadTransaction) -> Result<Vec<(MoveId, Move)>, String> {
    let table = match begun.open_table(MOVES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(why) => return Err(why.to_string()),
    };
    let mut moves = Vec::new();
    for entry in table.iter().map_err(|why| why.to_string())? {
        let (id, value) = entry.map_err(|why| why.to_string())?;
        let id = MoveId(id.value());
        let one = read_move(id, value.value()).ok_or_else(|| format!("move {} is damaged", id.0))?;
        moves.push((id, one));
    }
    Ok(moves)
}

/// A store in which nobody declared any has none.
fn read_groups(begun: &ReadTransaction) -> Result<Vec<Group>, String> {
    let table = match begun.open_table(GROUPS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(why) => return Err(why.to_string()),
    };
    let mut groups = Vec::new();
    for entry in table.iter().map_err(|why| why.to_string())? {
        let (name, value) = entry.map_err(|why| why.to_string())?;
        let name = name.value();
        let group = read_group(name, value.value());
        groups.push(group.ok_or_else(|| format!("the group {} is damaged", name.escape_debug()))?);
    }
    Ok(groups)
}

fn in_words(why: &DatabaseError) -> String {
    match why {
        DatabaseError::DatabaseAlreadyOpen => {
            "another process has it open; stop that one, or name another file".to_owned()
        }
        why => format!("{why}; if the file is damaged, `ila-nva restore` puts a backup in its place"),
    }
}
