//! Backups: the same kind of file as an embedded store, whole, of one moment.

use super::embedded::Embedded;
use super::interface::{EPOCH, Progress, StoreError, Stored, Summary};
use redb::{Database, DatabaseError};
use std::fs;
use std::path::{Path, PathBuf};

/// By how much the revision and each sequence rise at least when a backup is restored: above all that was given out
/// after the backup was made.
const JUMP: u64 = 1 << 32;

/// At least, too: so many for each second since 1970, above all that was given out after an earlier restoration of the
/// same backup.
const JUMP_OF_SECOND: u64 = 1 << 20;

/// Writes what a store holds into a new file, and tells how far it is.
///
/// # Errors
/// The store cannot be read, there is a file already, or the file system refuses. No half file is left.
pub fn backup(stored: &Stored, to: &Path, progress: &mut Progress<'_>) -> Result<Summary, StoreError> {
    let failed = |why: std::io::Error| StoreError(format!("{}: {why}", to.display()));
    // Whoever looks sees a whole file or none.
    let beside = with_suffix(to, "partial");
    if to.exists() {
        return Err(StoreError(format!("{}: is there already; name another file", to.display())));
    }
    let _ = fs::remove_file(&beside);
    let written = Embedded::open(&beside, stored.epoch).and_then(|file| file.fill(stored, progress));
    let renamed =
        written.and_then(|()| fs::hard_link(&beside, to).and_then(|()| sync_directory(to)).map_err(failed));
    let _ = fs::remove_file(&beside);
    renamed.map(|()| Summary::of(stored))
}

/// Reads a store or a backup from end to end, and tells how far it is. Changes nothing in it but what a crash left to repair.
///
/// # Errors
/// There is none, a process has it open, or it is damaged.
pub fn verify(path: &Path, progress: &mut Progress<'_>) -> Result<Summary, StoreError> {
    read(path, progress).map(|stored| Summary::of(&stored))
}

/// Everything of a store or a backup.
pub(super) fn read(path: &Path, progress: &mut Progress<'_>) -> Result<Stored, StoreError> {
    open_whole(path, progress)?.read(progress)
}

/// Opens a store or a backup that is there and not damaged, also one whose registry moved.
pub(super) fn open_whole(path: &Path, progress: &mut Progress<'_>) -> Result<Embedded, StoreError> {
    let failed = |why: &dyn std::fmt::Display| StoreError(format!("{}: {why}", path.display()));
    if !path.is_file() {
        return Err(failed(&"no such file"));
    }
    let mut database = Database::open(path).map_err(|why| match why {
        DatabaseError::DatabaseAlreadyOpen => failed(&"a process has it open; stop it first"),
        why => failed(&format!("damaged: {why}")),
    })?;
    progress("checking", 0, 0);
    if !database.check_integrity().map_err(|why| failed(&format!("damaged: {why}")))? {
        tracing::warn!(file = %path.display(), "the file was not closed; it was repaired");
    }
    if !Embedded::is_registry(&database) {
        return Err(failed(&"no registry of an authority; name another file"));
    }
    drop(database);
    Embedded::open_anyway(path, [0; EPOCH])
}

/// Puts a backup in the place of a store: as a new history with this epoch, so that every NVE resynchronises, and with
/// higher revision and sequences than were ever given out. `now_s` are the seconds since 1970. A store that is there is
/// set aside, also a damaged one; gives its new name.
///
/// # Errors
/// The backup is damaged, a process has the store open, or the file system refuses. The store is then as before.
pub fn restore(
    from: &Path,
    to: &Path,
    epoch: [u8; EPOCH],
    now_s: u64,
    progress: &mut Progress<'_>,
) -> Result<(Summary, Option<PathBuf>), StoreError> {
    let mut stored = read(from, progress)?;
    let there = match to.exists().then(|| Database::open(to)) {
        Some(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            return Err(StoreError(format!("{}: ila-nva has it open; stop it first", to.display())));
        }
        Some(Ok(database)) => Embedded::revision_of(&database),
        // It is damaged, or not there.
        Some(Err(_)) | None => 0,
    };
    begin_anew(&mut stored, epoch, (now_s, there));
    let new = with_suffix(to, "restored");
    let _ = fs::remove_file(&new);
    backup(&stored, &new, progress)?;
    let failed = |why: std::io::Error| StoreError(format!("{}: {why}", to.display()));
    let aside = if to.exists() {
        let names = (1..).map(|n| with_suffix(to, &format!("before-restore-{n}")));
        let free = names.into_iter().find(|path| !path.exists()).unwrap_or_default();
        // There is one at every moment: without one, an authority that starts would begin with nothing.
        fs::hard_link(to, &free).map_err(failed)?;
        Some(free)
    } else {
        None
    };
    fs::rename(&new, to).and_then(|()| sync_directory(to)).map_err(failed)?;
    Ok((Summary::of(&stored), aside))
}

/// Makes a new history of what a backup held. No sequence is above the revision: not those of the backup, nor any that
/// was given out after it and is not in it. All are above the revision `there` of what is replaced, whatever the clock says.
pub(in crate::nva) fn begin_anew(stored: &mut Stored, epoch: [u8; EPOCH], (now_s, there): (u64, u64)) {
    let above = |number: u64| (number.max(there) + JUMP).max(now_s * JUMP_OF_SECOND);
    (stored.epoch, stored.restored, stored.completed) = (epoch, true, Vec::new());
    // What moved then is as it was before, or there; NVEs are told of no such moves and forget them.
    stored.moves.clear();
    for (_, record) in &mut stored.records {
        record.sequence = above(record.sequence);
    }
    for (_, allocation) in &mut stored.allocations {
        allocation.sequence = above(allocation.sequence);
    }
    let records = stored.records.iter().map(|(_, record)| record.sequence);
    let sequences = records.chain(stored.allocations.iter().map(|(_, it)| it.sequence));
    let highest = sequences.max().unwrap_or(0);
    stored.revision = above(stored.revision).max(highest);
}

/// Makes the names in the directory of a file durable.
fn sync_directory(file: &Path) -> std::io::Result<()> {
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
