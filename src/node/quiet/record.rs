//! The file that says what a node has changed at interfaces, written before the change is made.
//!
//! It is there while a node has changed something, and after a node was killed. Its lock is held by the node that
//! runs, and ends with its process. Its first line is the whole record.

use super::plan::Change;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the files' names end; before it stands the node's name.
const SUFFIX: &str = ".interfaces.json";

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Content {
    /// The network namespace of the interfaces.
    pub(super) namespace: u64,
    /// In the order in which they were made.
    pub(super) changes: Vec<Change>,
}

/// An open record; this process has its lock.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) path: PathBuf,
    file: File,
}

/// Why a record cannot be had.
#[derive(Debug)]
pub(super) enum RecordError {
    /// A running node has it.
    Held,
    /// The operating system refuses.
    Refused(io::Error),
}

impl From<io::Error> for RecordError {
    fn from(why: io::Error) -> Self {
        RecordError::Refused(why)
    }
}

/// Where records are: `RUNTIME_DIRECTORY`, which systemd sets, or `/run/ilagate`.
pub(super) fn directory() -> PathBuf {
    let set = std::env::var_os("RUNTIME_DIRECTORY").filter(|dir| !dir.is_empty());
    set.map_or_else(|| "/run/ilagate".into(), PathBuf::from)
}

/// The records of a directory, in the order of their names.
pub(super) fn all(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.ends_with(SUFFIX));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(named).collect();
    paths.sort();
    paths
}

impl Record {
    /// The path of a node's record.
    pub(super) fn path(directory: &Path, node: &str) -> PathBuf {
        directory.join(format!("{node}{SUFFIX}"))
    }

    /// Opens a record that is there; `None` if there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Record>, RecordError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Record::locked(path, file),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// Opens a record, and makes it and its directory if they are not there.
    pub(super) fn create(path: &Path) -> Result<Record, RecordError> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        loop {
            if let Some(record) = Record::locked(path, options.open(path)?)? {
                return Ok(record);
            }
        }
    }

    /// Locks a file that was opened; `None` if who had it before has removed it meanwhile.
    fn locked(path: &Path, file: File) -> Result<Option<Record>, RecordError> {
        match file.try_lock() {
            Ok(()) if file.metadata()?.nlink() == 0 => Ok(None),
            Ok(()) => Ok(Some(Record { path: path.to_owned(), file })),
            Err(TryLockError::WouldBlock) => Err(RecordError::Held),
            Err(TryLockError::Error(why)) => Err(why.into()),
        }
    }

    /// What it says; nothing if it is empty or was not written to its end.
    pub(super) fn read(&self) -> Content {
        let mut text = String::new();
        match (&self.file).read_to_string(&mut text) {
            Ok(_) => content(&text),
            Err(why) => {
                tracing::warn!(file = %self.path.display(), %why, "what was changed at interfaces cannot be read");
                Content::default()
            }
        }
    }

    /// Says something else from now on.
    pub(super) fn write(&self, content: &Content) -> io::Result<()> {
        let mut line = serde_json::to_string(content)?;
        line.push('\n');
        // One write, so that whoever is killed here leaves the one line or the other.
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)
    }

    /// Removes the file: nothing is changed any more.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn content(text: &str) -> Content {
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Setting;
    use super::*;

    fn example(namespace: u64, count: u32) -> Content {
        let change = |index| Change {
            interface: format!("fab{index}"),
            index,
            inode: 0,
            setting: Setting::Sysctl("ipv4/forwarding".into()),
            before: "1".into(),
            after: "0".into(),
        };
        Content { namespace, changes: (0..count).map(change).collect() }
    }

    #[test]
    fn a_record_says_what_was_written_last_to_one_reader_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = Record::path(&dir.path().join("new"), "n1");
        assert!(Record::open(&path).unwrap().is_none());
        let record = Record::create(&path).unwrap();
        assert_eq!(record.read(), Content::default());
        for content in [example(4_026_531_840, 3), example(1, 1), example(u64::MAX, 7)] {
            record.write(&content).unwrap();
            assert!(matches!(Record::open(&path), Err(RecordError::Held)));
            assert_eq!(super::content(&fs::read_to_string(&path).unwrap()), content);
        }
        drop(record);
        // As after a node that was killed.
        let record = Record::open(&path).unwrap().unwrap();
        assert_eq!(record.read(), example(u64::MAX, 7));
        assert_eq!(all(path.parent().unwrap()), std::slice::from_ref(&path));
        record.remove().unwrap();
        assert!(all(path.parent().unwrap()).is_empty());
    }

    #[test]
    fn a_record_that_was_removed_between_opening_and_locking_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = Record::path(dir.path(), "n1");
        let ends = Record::create(&path).unwrap();
        let opened = File::options().read(true).write(true).open(&path).unwrap();
        ends.remove().unwrap();
        assert!(Record::locked(&path, opened).unwrap().is_none());
        assert!(Record::open(&path).unwrap().is_none() && Record::create(&path).is_ok());
    }

    #[test]
    fn a_record_that_is_cut_or_followed_by_an_older_one_is_still_read_right() {
        let line = serde_json::to_string(&example(7, 2)).unwrap();
        assert_eq!(content(&format!("{line}\nrest of a longer line before")), example(7, 2));
        for text in ["", "\n", &line[..line.len() - 1], "null", "[]"] {
            assert_eq!(content(text), Content::default(), "{text}");
        }
    }
}
