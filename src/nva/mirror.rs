//! What an NVE keeps of the registry over a restart: one redb file, of one process at a time.
//!
//! The file is a cache. It shows one state of the registry, an older one perhaps, and never a mixture of two: each
//! update is one transaction, with the revision in it. A file that cannot be read is set aside and never overwritten.

mod moves;

pub use moves::KeptMove;

use super::catalogue::Seen;
use super::message::Told;
use super::model::{Key, Known, ObjectKey};
use super::store::{read_choices, read_key, read_object_key, write_choices, write_key, write_object_key};
use super::wanted::{Objects, Wishes};
use crate::config::{Entry, ObjectName};
use crate::mapping::Scopes;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    TableHandle,
};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sequence and locators by key.
const MAPPINGS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("mappings");
/// Sequence, SIR prefix and entry of what operators want, by name.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Sequences of what is attached to the node and not among the mappings, by key.
const OWN: TableDefinition<'_, [u8; 16], u64> = TableDefinition::new("own");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FORM_KEY: &str = "form";
const EPOCH_KEY: &str = "epoch";
const REVISION_KEY: &str = "revision";
const LIVE_KEY: &str = "live_s";
const UPTIME_KEY: &str = "live_uptime";
const SCOPES_KEY: &str = "scopes";
const OBJECTS_EPOCH_KEY: &str = "objects_epoch";
const OBJECTS_REVISION_KEY: &str = "objects_revision";
/// The form of the file; another release may write another one.
const FORM: u8 = 1;
/// Memory for pages of the file.
const CACHE_BYTES: usize = 32 << 20;
/// Damaged files that are kept; the last one is replaced by the next.
const MAX_DAMAGED: u32 = 3;

/// How long a machine runs: a clock that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uptime {
    /// Names the start of the machine that it counts from.
    pub boot: String,
    /// Seconds since then.
    pub seconds: u64,
}

/// Everything that the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The state of the registry that it shows.
    pub known: Known,
    /// When there was a session last, in seconds since 1970; 0: never.
    pub live_s: u64,
    /// For how long the machine ran then, if that is known.
    pub uptime: Option<Uptime>,
    /// Sequences with which the node registered what it follows no mappings of.
    pub own: BTreeMap<Key, u64>,
    /// The mappings as the authority told them, in the order of their keys.
    pub mappings: Vec<Told>,
    /// What operators want at the node. What this release cannot read is not among it.
    pub objects: Objects,
    /// The node's part in moves, in the order of their names. What this release cannot read is not among them.
    pub moves: Vec<KeptMove>,
}

/// What is to be written. Updates that wait are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// All mappings that there are; every other one goes.
    pub whole: Option<Vec<Told>>,
    /// What has changed since; without locators: gone.
    pub changes: BTreeMap<Key, Told>,
    /// The state of the registry after that.
    pub known: Option<Known>,
    /// There was a session at that time, in seconds since 1970.
    pub live_s: Option<u64>,
    /// For how long the machine ran then.
    pub uptime: Option<Uptime>,
    /// Sequences with which the node registered what it follows no mappings of; none: it has that no longer.
    pub own: BTreeMap<Key, Option<u64>>,
    /// All that operators want at the node.
    pub objects: Option<Arc<Objects>>,
    /// The node's part in all moves.
    pub moves: Option<Arc<Vec<KeptMove>>>,
}

impl Update {
    /// There is a session at this time, in seconds since 1970.
    #[must_use]
    pub fn live(now_s: u64) -> Self {
        Update { live_s: Some(now_s), ..Update::default() }
    }

    /// The node registered this with a sequence, or has it no longer.
    #[must_use]
    pub fn own(key: Key, sequence: Option<u64>) -> Self {
        Update { own: BTreeMap::from([(key, sequence)]), ..Update::default() }
    }

    /// What was applied and led to this state. `whole`: the mappings are all there are.
    #[must_use]
    pub fn applied(whole: bool, mappings: Vec<Told>, known: Known) -> Self {
        let mut update = Update { known: Some(known), ..Update::default() };
        if whole {
            update.whole = Some(mappings);
        } else {
            update.changes = mappings.into_iter().map(|told| (told.key, told)).collect();
        }
        update
    }

    /// Adds a later one.
    pub fn merge(&mut self, later: Update) {
        if later.whole.is_some() {
            self.whole = later.whole;
            self.changes = later.changes;
        } else {
            self.changes.extend(later.changes);
        }
        self.known = later.known.or(self.known.take());
        if later.live_s.is_some() {
            (self.live_s, self.uptime) = (later.live_s, later.uptime);
        }
        self.own.extend(later.own);
        self.objects = later.objects.or(self.objects.take());
        self.moves = later.moves.or(self.moves.take());
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Update::default()
    }
}

/// Why there is no file to write to.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{}: another process has this file; stop it, or give each node a name or a node.state_dir of its own",
        .0.display()
    )]
    Held(PathBuf),
    /// It is a database of something else, and left as it is.
    #[error("{}: is a database of something else; move it away, or name another node.state_dir", .0.display())]
    Foreign(PathBuf),
    /// The operating system refuses.
    #[error("{}: {why}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A file that could not be read and was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub to: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// An open file.
pub struct Mirror {
    database: Database,
    known: Known,
}

/// What an opening found.
pub struct Opened {
    /// The file.
    pub mirror: Mirror,
    /// What it holds.
    pub content: Content,
    /// What was there before and could not be read.
    pub set_aside: Option<SetAside>,
}

/// What is wrong with a file.
enum Fault {
    Held,
    Foreign,
    Failed(String),
    Damaged(String),
    OtherForm(u8),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(why: E) -> Self {
        let why = why.into();
        let text = why.to_string();
        match why {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Fault::Held,
            redb::Error::Io(why) => match why.kind() {
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => {
                    Fault::Damaged(text)
                }
                _ => Fault::Failed(text),
            },
            redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
                Fault::Failed(text)
            }
            _ => Fault::Damaged(text),
        }
    }
}

impl Mirror {
    /// Opens the file at `path`, reads all of it, and makes an empty one if there is none. A file that cannot be read
    /// is set aside first.
    ///
    /// # Errors
    /// [`OpenError`]; the file is as it was then.
    pub fn open(path: &Path) -> Result<Opened, OpenError> {
        let failed = |why: &dyn ToString| OpenError::Failed { path: path.to_owned(), why: why.to_string() };
        let (why, to) = match read(path) {
            Ok((mirror, content)) => return Ok(Opened { mirror, content, set_aside: None }),
            Err(Fault::Held) => return Err(OpenError::Held(path.to_owned())),
            Err(Fault::Foreign) => return Err(OpenError::Foreign(path.to_owned())),
            Err(Fault::Failed(why)) => return Err(failed(&why)),
            Err(Fault::Damaged(why)) => {
                let named = |n| beside(path, &format!("damaged-{n}"));
                let free = (1..MAX_DAMAGED).map(named).find(|to| !to.exists());
                (why, free.unwrap_or_else(|| named(MAX_DAMAGED)))
            }
            Err(Fault::OtherForm(form)) => {
                let why = format!("another release wrote it in form {form}, and this one reads form {FORM}");
                (why, beside(path, &format!("form-{form}")))
            }
        };
        fs::rename(path, &to).map_err(|why| failed(&why))?;
        match read(path) {
            Ok((mirror, content)) => Ok(Opened { mirror, content, set_aside: Some(SetAside { to, why }) }),
            Err(Fault::Damaged(why) | Fault::Failed(why)) => Err(failed(&why)),
            Err(_) => Err(OpenError::Held(path.to_owned())),
        }
    }

    /// The state of the registry that the file shows.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The node follows these scopes from now on. Gives whether it followed others: what the file holds is then not what
    /// its revision shows, and it waits for a whole snapshot.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn follow(&mut self, scopes: &Scopes) -> Result<bool, String> {
        let has_changed = self.try_follow(scopes).map_err(|why| why.to_string())?;
        if has_changed {
            self.known = Known::default();
        }
        Ok(has_changed)
    }

    fn try_follow(&self, scopes: &Scopes) -> Result<bool, redb::Error> {
        let numbers = scopes.list().iter().flat_map(|scope| [scope.sir_prefix, scope.first, scope.last]);
        let written: Vec<u8> = numbers.flat_map(u64::to_be_bytes).collect();
        let begun = self.database.begin_write()?;
        let has_changed = {
            let mut meta = begun.open_table(META)?;
            let before = meta.get(SCOPES_KEY)?.map(|value| value.value().to_vec()).unwrap_or_default();
            let has_changed = before != written;
            if has_changed {
                meta.insert(SCOPES_KEY, &written[..])?;
                write_known(&mut meta, &Known::default())?;
            }
            has_changed
        };
        begun.commit()?;
        Ok(has_changed)
    }

    /// Writes an update as one transaction, and says how many mappings were not in the file as they are now. What is
    /// equal is not written again.
    ///
    /// # Errors
    /// Nothing of it is in the file. Changes do not follow what the file shows, or the operating system refuses; then
    /// the file must be opened anew.
    pub fn write(&mut self, update: &Update) -> Result<usize, String> {
        let known = update.known.as_ref().unwrap_or(&self.known).clone();
        if update.whole.is_none() && known.epoch != self.known.epoch {
            return Err("changes do not follow what the file shows; it waits for a whole snapshot".to_owned());
        }
        let changed = self.try_write(update, &known).map_err(|why| why.to_string())?;
        self.known = known;
        Ok(changed)
    }

    fn try_write(&self, update: &Update, known: &Known) -> Result<usize, redb::Error> {
        let differences = self.differences(update)?;
        if differences.is_empty()
            && *known == self.known
            && update.live_s.is_none()
            && update.own.is_empty()
            && update.objects.is_none()
            && update.moves.is_none()
        {
            return Ok(0);
        }
        let begun = self.database.begin_write()?;
        {
            let mut mappings = begun.open_table(MAPPINGS)?;
            for (key, value) in &differences {
                match value {
                    Some(value) => _ = mappings.insert(*key, &value[..])?,
                    None => _ = mappings.remove(*key)?,
                }
            }
            let mut meta = begun.open_table(META)?;
            if let Some(objects) = &update.objects {
                write_objects(&mut begun.open_table(OBJECTS)?, objects)?;
                meta.insert(OBJECTS_EPOCH_KEY, &objects.known.epoch[..])?;
                meta.insert(OBJECTS_REVISION_KEY, &objects.known.revision.to_be_bytes()[..])?;
            }
            if let Some(moves) = &update.moves {
                moves::write(&mut begun.open_table(moves::MOVES)?, moves)?;
            }
            write_known(&mut meta, known)?;
            if let Some(live_s) = update.live_s {
                meta.insert(LIVE_KEY, &live_s.to_be_bytes()[..])?;
                match &update.uptime {
                    Some(Uptime { boot, seconds }) => {
                        let value = [&seconds.to_be_bytes()[..], boot.as_bytes()].concat();
                        meta.insert(UPTIME_KEY, &value[..])?;
                    }
                    // One of another time says nothing.
                    None => _ = meta.remove(UPTIME_KEY)?,
                }
            }
            if !update.own.is_empty() {
                let mut own = begun.open_table(OWN)?;
                for (key, sequence) in &update.own {
                    match sequence {
                        Some(sequence) => _ = own.insert(write_key(*key), *sequence)?,
                        None => _ = own.remove(write_key(*key))?,
                    }
                }
            }
        }
        begun.commit()?;
        Ok(differences.len())
    }

    /// What an update changes, by key: the value, or nothing if the key goes.
    fn differences(&self, update: &Update) -> Result<Differences, redb::Error> {
        let begun = self.database.begin_read()?;
        let table = begun.open_table(MAPPINGS)?;
        let mut differences = Vec::new();
        let Some(whole) = &update.whole else {
            for (key, told) in &update.changes {
                let (key, wanted) = (write_key(*key), value(told));
                let held = table.get(key)?;
                if held.as_ref().map(|held| held.value()) != wanted.as_deref() {
                    differences.push((key, wanted));
                }
            }
            return Ok(differences);
        };
        let mut wanted: BTreeMap<Key, &Told> = whole.iter().map(|told| (told.key, told)).collect();
        wanted.extend(update.changes.iter().map(|(key, told)| (*key, told)));
        for entry in table.iter()? {
            let (key, held) = entry?;
            let wanted = wanted.remove(&read_key(key.value())).and_then(value);
            if wanted.as_deref() != Some(held.value()) {
                differences.push((key.value(), wanted));
            }
        }
        let new = wanted.into_iter().filter_map(|(key, told)| Some((write_key(key), Some(value(told)?))));
        differences.extend(new);
        Ok(differences)
    }
}

type Differences = Vec<([u8; 16], Option<Vec<u8>>)>;

/// The file with something behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}

/// Opens and reads a file on a thread of its own: a file may be damaged in a way that makes its reader panic.
fn read(path: &Path) -> Result<(Mirror, Content), Fault> {
    let path = path.to_owned();
    let reader = std::thread::Builder::new().name("ilagate-state".into()).spawn(move || try_read(&path));
    let reader = reader.map_err(|why| Fault::Failed(why.to_string()))?;
    reader.join().unwrap_or_else(|_| Err(Fault::Damaged("reading it panics".to_owned())))
}

fn try_read(path: &Path) -> Result<(Mirror, Content), Fault> {
    make_file(path).map_err(|why| Fault::Failed(why.to_string()))?;
    // Checksums of every page are compared, because a page that was changed could be taken for another mapping.
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)?;
    let begun = database.begin_read()?;
    let tables: Vec<String> = begun.list_tables()?.map(|table| table.name().to_owned()).collect();
    let content = if tables.is_empty() {
        begin(&database)?;
        Content::default()
    } else if tables.iter().any(|table| table == MAPPINGS.name()) {
        read_content(&database)?
    } else {
        return Err(Fault::Foreign);
    };
    drop(begun);
    Ok((Mirror { database, known: content.known.clone() }, content))
}

/// Makes an empty file and its directory, for this user only.
fn make_file(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

fn begin(database: &Database) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    {
        begun.open_table(MAPPINGS)?;
        let mut meta = begun.open_table(META)?;
        meta.insert(FORM_KEY, &[FORM][..])?;
        write_known(&mut meta, &Known::default())?;
    }
    Ok(begun.commit()?)
}

fn write_known(meta: &mut Table<'_, &str, &[u8]>, known: &Known) -> Result<(), redb::Error> {
    meta.insert(EPOCH_KEY, &known.epoch[..])?;
    meta.insert(REVISION_KEY, &known.revision.to_be_bytes()[..])?;
    Ok(())
}

fn read_content(database: &Database) -> Result<Content, Fault> {
    let damaged = |what: &str| Fault::Damaged(format!("{what} is damaged"));
    let begun = database.begin_read()?;
    let meta = begun.open_table(META)?;
    let field = |key| Ok::<_, Fault>(meta.get(key)?.map(|value| value.value().to_vec()));
    let number = |key| match field(key)? {
        None => Ok::<u64, Fault>(0),
        Some(bytes) => Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| damaged(key))?)),
    };
    match field(FORM_KEY)?.as_deref() {
        Some([FORM]) => {}
        Some([form]) => return Err(Fault::OtherForm(*form)),
        _ => return Err(damaged(FORM_KEY)),
    }
    let epoch = field(EPOCH_KEY)?.ok_or_else(|| damaged(EPOCH_KEY))?;
    let known = Known { epoch, revision: number(REVISION_KEY)? };
    let mut mappings = Vec::new();
    for entry in begun.open_table(MAPPINGS)?.iter()? {
        let (key, value) = entry?;
        let key = read_key(key.value());
        let told = told(key, value.value()).ok_or_else(|| damaged(&format!("the mapping of {key}")))?;
        mappings.push(told);
    }
    let epoch = field(OBJECTS_EPOCH_KEY)?.unwrap_or_default();
    let objects = Objects {
        known: Known { epoch, revision: number(OBJECTS_REVISION_KEY)? },
        all: Arc::new(read_objects(&begun)?),
    };
    let uptime = field(UPTIME_KEY)?.and_then(|bytes| {
        let (seconds, boot) = bytes.split_first_chunk::<8>()?;
        let boot = String::from_utf8(boot.to_vec()).ok()?;
        Some(Uptime { boot, seconds: u64::from_be_bytes(*seconds) })
    });
    let (own, moves) = (read_own(&begun)?, moves::read(&begun)?);
    Ok(Content { known, live_s: number(LIVE_KEY)?, uptime, own, mappings, objects, moves })
}

fn read_own(begun: &ReadTransaction) -> Result<BTreeMap<Key, u64>, Fault> {
    let table = match begun.open_table(OWN) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(why) => return Err(why.into()),
    };
    let mut own = BTreeMap::new();
    for entry in table.iter()? {
        let (key, sequence) = entry?;
        own.insert(read_key(key.value()), sequence.value());
    }
    Ok(own)
}

/// Writes what differs.
fn write_objects(table: &mut Table<'_, &str, &[u8]>, objects: &Objects) -> Result<(), redb::Error> {
    let key = |name: &ObjectName| write_object_key(&ObjectKey { nve: String::new(), name: name.clone() });
    let wanted: BTreeMap<String, Vec<u8>> =
        objects.all.iter().map(|(name, seen)| (key(name), object_value(seen))).collect();
    let mut gone = Vec::new();
    for entry in table.iter()? {
        let (key, _) = entry?;
        if !wanted.contains_key(key.value()) {
            gone.push(key.value().to_owned());
        }
    }
    for key in gone {
        table.remove(&*key)?;
    }
    for (key, value) in wanted {
        let is_there = table.get(&*key)?.is_some_and(|held| held.value() == value);
        if !is_there {
            table.insert(&*key, &value[..])?;
        }
    }
    Ok(())
}

fn object_value(seen: &Seen) -> Vec<u8> {
    let mut bytes = seen.sequence.to_be_bytes().to_vec();
    bytes.extend(seen.sir_prefix.to_be_bytes());
    bytes.extend(seen.entry.written().as_bytes());
    bytes
}

fn read_objects(begun: &ReadTransaction) -> Result<Wishes, Fault> {
    let table = match begun.open_table(OBJECTS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Wishes::default()),
        Err(why) => return Err(why.into()),
    };
    let mut objects = Wishes::default();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let damaged = || Fault::Damaged(format!("the object {} is damaged", key.value().escape_debug()));
        let name = read_object_key(key.value()).ok_or_else(damaged)?.name;
        let (sequence, rest) = value.value().split_first_chunk::<8>().ok_or_else(damaged)?;
        let (sir_prefix, text) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let text = std::str::from_utf8(text).map_err(|_| damaged())?;
        // Another release may have written keys that this one does not know. The authority tells it again.
        let Ok(entry) = Entry::named(&name, text) else { continue };
        let (sequence, sir_prefix) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*sir_prefix));
        objects.insert(name.clone(), Seen { name, sequence, sir_prefix, entry: Arc::new(entry) });
    }
    Ok(objects)
}

/// Sequence and locators; `None` for a mapping without locators, which is none.
fn value(told: &Told) -> Option<Vec<u8>> {
    if told.choices.is_empty() {
        return None;
    }
    let mut bytes = told.sequence.to_be_bytes().to_vec();
    write_choices(&told.choices, &mut bytes);
    Some(bytes)
}

fn told(key: Key, value: &[u8]) -> Option<Told> {
    let (sequence, rest) = value.split_first_chunk::<8>()?;
    let choices = read_choices(rest)?;
    (!choices.is_empty()).then(|| Told { key, choices, sequence: u64::from_be_bytes(*sequence) })
}
