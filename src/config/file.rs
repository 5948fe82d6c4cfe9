//! Reading the files that operators name: regular files only, up to a size, and never for longer than a time.
//!
//! Whoever reads waits [`TIMEOUT`] at most, even where the file system does not answer. A named pipe or a device in
//! the place of a file is refused and not opened.

use super::error::ConfigErrors;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// The most bytes of a configuration file.
pub(super) const CONFIG_BYTES: u64 = 64 << 20;
/// How long a file system has for a whole file.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Readings that file systems may leave unanswered at the same time.
const MAX_UNANSWERED: usize = 4;
/// Attempts to read a file that changes meanwhile.
const ATTEMPTS: usize = 5;
/// Time between two of them.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// Readings that nobody waits for any more and that have not ended.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    inode: (u64, u64),
    size: u64,
    /// Its modification time, which anybody can set, and its change time, which only the kernel sets.
    changed: [(i64, i64); 2],
}

impl Fingerprint {
    /// Of the file as it is now; `None` when it is not there.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Fingerprint {
    fn from(file: &Metadata) -> Self {
        Fingerprint {
            inode: (file.dev(), file.ino()),
            size: file.len(),
            changed: [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())],
        }
    }
}

/// The text of a file of at most `max_bytes`, and the state in which it was read. `limit` names what raises the limit.
///
/// # Errors
/// There is no such file, it is no regular file, is too large, is no UTF-8, changes all the time, or its file system
/// does not answer within 30 s.
pub fn read(path: &Path, max_bytes: u64, limit: &str) -> Result<(String, Fingerprint), ConfigErrors> {
    let (owned, limit) = (path.to_owned(), limit.to_owned());
    let read =
        within(&UNANSWERED, TIMEOUT, move || read_stable(&owned, max_bytes, &limit)).and_then(|read| read);
    read.map_err(|why| ConfigErrors::unreadable(&path.display().to_string(), &why))
}

/// Has `work` done by a thread of its own, and waits for it as long as `timeout`. `unanswered` counts works that
/// nobody waits for any more and that have not ended.
fn within<T: Send + 'static>(
    unanswered: &'static AtomicUsize,
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if unanswered.load(Ordering::Relaxed) >= MAX_UNANSWERED {
        return refuse("the file system has not answered earlier readings; look at it");
    }
    let (done, wait) = sync_channel(1);
    // Whoever comes second, the work or the end of the time, finds that the other one came first.
    let one_came = Arc::new(AtomicBool::new(false));
    let came = one_came.clone();
    let read = move || {
        let _ = done.send(work());
        if came.swap(true, Ordering::AcqRel) {
            unanswered.fetch_sub(1, Ordering::Relaxed);
        }
    };
    std::thread::Builder::new().name("ilagate-read".into()).spawn(read)?;
    wait.recv_timeout(timeout).or_else(|why| match why {
        RecvTimeoutError::Timeout => {
            unanswered.fetch_add(1, Ordering::Relaxed);
            if one_came.swap(true, Ordering::AcqRel) {
                unanswered.fetch_sub(1, Ordering::Relaxed);
            }
            refuse(format!("the file system has not answered for {} s; look at it", timeout.as_secs()))
        }
        RecvTimeoutError::Disconnected => refuse("the reading failed"),
    })
}

/// Reads a file that does not change meanwhile.
fn read_stable(path: &Path, max_bytes: u64, limit: &str) -> io::Result<(String, Fingerprint)> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_ATTEMPTS);
        }
        let file = open(path)?;
        let before = Fingerprint::from(&file.metadata()?);
        if before.size > max_bytes {
            return refuse(format!("{} bytes are more than {max_bytes}; {limit}", before.size));
        }
        let mut text = String::new();
        text.try_reserve(usize::try_from(before.size).unwrap_or(usize::MAX)).map_err(io::Error::other)?;
        let read = (&file).take(max_bytes + 1).read_to_string(&mut text);
        if Fingerprint::from(&file.metadata()?) == before {
            read?;
            // The kernel calls files empty that it makes up.
            if text.len() as u64 > max_bytes {
                return refuse(format!("it has more than {max_bytes} bytes; {limit}"));
            }
            return Ok((text, before));
        }
    }
    refuse("it changes all the time; write another file beside it and rename that")
}

/// Opens a regular file. Nothing else is opened, and opening does not wait.
fn open(path: &Path) -> io::Result<File> {
    regular(std::fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // It may be another one by now.
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> io::Result<()> {
    let name = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "directory",
        kind if kind.is_fifo() => "named pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    refuse(format!("it is a {name}; put a regular file in its place"))
}

fn refuse<T>(why: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn refused(path: &Path) -> String {
        read(path, 100, "raise it").unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_read_and_no_other_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (&link, "a named pipe"),
            (&socket, "a socket"),
            (dir.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let why = refused(path);
            assert!(why.contains(kind) && why.contains("regular file"), "{why}");
        }
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_by_its_size_before_a_byte_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        // A sparse file of a terabyte.
        file.set_len(1 << 40).unwrap();
        let why = refused(&path);
        assert!(why.contains("1099511627776 bytes are more than 100; raise it"), "{why}");
        file.set_len(100).unwrap();
        assert_eq!(read(&path, 100, "").unwrap().0.len(), 100);
        file.set_len(101).unwrap();
        assert!(refused(&path).contains("101 bytes"), "{}", refused(&path));
        let why = refused(Path::new("/proc/self/status"));
        assert!(why.contains("more than 100 bytes; raise it"), "{why}");
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_not_waited_for_and_more_readings_wait_for_nothing() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut answers = Vec::new();
        for hanging in 0..MAX_UNANSWERED {
            assert_eq!(COUNT.load(Ordering::Relaxed), hanging);
            let (answer, wait) = channel::<()>();
            answers.push(answer);
            let why = within(&COUNT, Duration::from_millis(1), move || wait.recv().is_ok()).unwrap_err();
            assert!(why.to_string().contains("has not answered"), "{why}");
        }
        let why = within(&COUNT, TIMEOUT, || ()).unwrap_err().to_string();
        assert!(why.contains("earlier readings"), "{why}");
        drop(answers);
        // When it answers again, so do we.
        while within(&COUNT, TIMEOUT, || ()).is_err() {
            std::thread::yield_now();
        }
        while COUNT.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_change_of_the_same_length_with_an_old_date_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        std::fs::write(&path, "one").unwrap();
        let before = Fingerprint::of(&path);
        let old = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_ne!(Fingerprint::of(&path), before);
    }
}
