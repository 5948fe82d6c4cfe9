//! The embedded store: one redb file, of one process at a time. A commit is answered after its fsync.

use super::bytes::{read_choices, read_key, write_choices, write_key};
use super::interface::{EPOCH, Store, StoreError, Stored};
use crate::nva::model::{Record, Transaction};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::fmt::Display;
use std::path::{Path, PathBuf};

const RECORDS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EPOCH_KEY: &str = "epoch";
const REVISION_KEY: &str = "revision";
/// The form of a record; another release may write another one.
const VERSION: u8 = 1;

/// A store in a file.
pub struct Embedded {
    database: Database,
    path: PathBuf,
}

impl Embedded {
    /// Opens the store at `path`, or makes an empty one with this epoch if there is no file.
    ///
    /// # Errors
    /// Another process has it, it is damaged, or the file system refuses. Nothing of a damaged file is changed.
    pub fn open(path: &Path, epoch: [u8; EPOCH]) -> Result<Self, StoreError> {
        let failed = |why: &dyn Display| StoreError(format!("{}: {why}", path.display()));
        let is_new = !path.exists();
        let database = Database::create(path).map_err(|why| failed(&why))?;
        let store = Embedded { database, path: path.to_owned() };
        if is_new {
            store.make(epoch)?;
        }
        Ok(store)
    }

    fn failed(&self, why: impl Display) -> StoreError {
        StoreError(format!("{}: {why}", self.path.display()))
    }

    fn make(&self, epoch: [u8; EPOCH]) -> Result<(), StoreError> {
        let begun = self.database.begin_write().map_err(|why| self.failed(why))?;
        {
            begun.open_table(RECORDS).map_err(|why| self.failed(why))?;
            let mut meta = begun.open_table(META).map_err(|why| self.failed(why))?;
            meta.insert(EPOCH_KEY, &epoch[..]).map_err(|why| self.failed(why))?;
            meta.insert(REVISION_KEY, &0u64.to_be_bytes()[..]).map_err(|why| self.failed(why))?;
        }
        begun.commit().map_err(|why| self.failed(why))
    }
}

impl Store for Embedded {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let begun = self.database.begin_read().map_err(|why| self.failed(why))?;
        let meta = begun.open_table(META).map_err(|why| self.failed(why))?;
        let field = |key: &str| {
            let found = meta.get(key).map_err(|why| self.failed(why))?;
            found.map(|value| value.value().to_vec()).ok_or_else(|| self.failed(format!("{key} is missing")))
        };
        let epoch = field(EPOCH_KEY)?.try_into().map_err(|_| self.failed("the epoch is damaged"))?;
        let revision = field(REVISION_KEY)?.try_into().map_err(|_| self.failed("the revision is damaged"))?;
        let revision = u64::from_be_bytes(revision);
        let table = begun.open_table(RECORDS).map_err(|why| self.failed(why))?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(|why| self.failed(why))? {
            let (key, value) = entry.map_err(|why| self.failed(why))?;
            let key = read_key(key.value());
            let record = read_record(value.value())
                .ok_or_else(|| self.failed(format!("the record of {key} is damaged")))?;
            records.push((key, record));
        }
        Ok(Stored { epoch, revision, records })
    }

    fn commit(&mut self, revision: u64, transaction: &Transaction) -> Result<(), StoreError> {
        let mut begun = self.database.begin_write().map_err(|why| self.failed(why))?;
        begun.set_durability(Durability::Immediate).map_err(|why| self.failed(why))?;
        {
            let mut records = begun.open_table(RECORDS).map_err(|why| self.failed(why))?;
            for (key, record) in &transaction.writes {
                records.insert(write_key(*key), &write_record(record)[..]).map_err(|why| self.failed(why))?;
            }
            let mut meta = begun.open_table(META).map_err(|why| self.failed(why))?;
            meta.insert(REVISION_KEY, &revision.to_be_bytes()[..]).map_err(|why| self.failed(why))?;
        }
        begun.commit().map_err(|why| self.failed(why))
    }
}

/// Version, sequence, length of the owner's name, the name, and the locators with priority and weight.
fn write_record(record: &Record) -> Vec<u8> {
    let name = record.owner.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    let mut bytes = vec![VERSION];
    bytes.extend(record.sequence.to_be_bytes());
    bytes.push(name.len() as u8);
    bytes.extend(name);
    write_choices(&record.choices, &mut bytes);
    bytes
}

fn read_record(bytes: &[u8]) -> Option<Record> {
    let (version, rest) = bytes.split_first()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    if *version != VERSION {
        return None;
    }
    Some(Record {
        choices: read_choices(rest)?,
        owner: String::from_utf8(name.to_vec()).ok()?,
        sequence: u64::from_be_bytes(*sequence),
    })
}
