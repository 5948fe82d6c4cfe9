//! Watches the mapping file on a thread of its own, and reads it again when it was replaced or completely written.
//!
//! The thread watches the directory, not the file, so that it sees a file that is put in place by renaming. A file that
//! somebody writes in place is read when the writer closes it, never before. The thread also looks at the file every
//! 5 s, for file systems that report no changes, and reads what it finds unchanged for as long. A file that is wrong is
//! reported with all its errors.

use crate::config::{Config, ConfigErrors, Fingerprint, MappingFile, mappings};
use crate::mapping::MappingRecord;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Quiet time after a change before the file is read.
const QUIET: Duration = Duration::from_millis(200);
/// A directory that changes without a pause is looked at after this.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two looks without a report of a change.
const CHECK: Duration = Duration::from_secs(5);
/// The same for a file that changed before its directory was watched.
const FIRST_CHECK: Duration = Duration::from_secs(1);
/// A file that is being written for so long is told of.
const LONG_WRITE: Duration = Duration::from_secs(60);

/// What a reading of the file gave.
pub type News = Result<Vec<MappingRecord>, ConfigErrors>;

/// What the directory's watcher saw since the thread looked last.
#[derive(Debug, Default)]
struct Seen {
    /// A file was closed by its writer, renamed, linked or removed.
    complete: AtomicBool,
    /// Somebody wrote to the mapping file and did not close it yet.
    writing: AtomicBool,
    stop: AtomicBool,
}

/// A watch; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Seen>,
    wake: SyncSender<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Release);
        // A wake that waits already does as well.
        let _ = self.wake.try_send(());
    }
}

/// Watches `file`, which was in the state `seen` when it was read last. Every later reading goes to `report`,
/// which says whether anybody still listens.
///
/// # Errors
/// The operating system starts no thread.
pub fn start(
    file: &MappingFile,
    seen: Option<Fingerprint>,
    config: Arc<Config>,
    report: impl Fn(News) -> bool + Send + 'static,
) -> std::io::Result<Watch> {
    // One wake is enough: what it is about stands in `Seen`.
    let (wake, woken) = sync_channel(1);
    let shared = Arc::new(Seen::default());
    let watch = Watch { seen: shared.clone(), wake: wake.clone() };
    let path = file.file.clone();
    let work = move || {
        // Here, because a file system may not answer.
        let watcher = watch_directory(&path, shared.clone(), wake);
        Reader { path, last: seen, config, seen: shared, report }.run(&woken);
        drop(watcher);
    };
    std::thread::Builder::new().name("ilagate-watch".into()).spawn(work)?;
    Ok(watch)
}

/// Has the directory of the file watched, if its file system can.
fn watch_directory(path: &Path, seen: Arc<Seen>, wake: SyncSender<()>) -> Option<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => Path::new(".").to_owned(),
    };
    let file = path.to_owned();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        match event.as_ref().map_or(Change::Unknown, |event| change(event, &file)) {
            Change::Complete => {
                seen.complete.store(true, Ordering::Release);
                let _ = wake.try_send(());
            }
            Change::Closed => {
                seen.writing.store(false, Ordering::Release);
                seen.complete.store(true, Ordering::Release);
                let _ = wake.try_send(());
            }
            Change::Written => seen.writing.store(true, Ordering::Release),
            // Its close may be among them. Then the file is read when it has not changed for a while.
            Change::Unknown => seen.writing.store(false, Ordering::Release),
            Change::None => {}
        }
    })
    .and_then(|mut watcher| watcher.watch(&directory, RecursiveMode::NonRecursive).map(|()| watcher));
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(why) => {
            tracing::warn!(directory = %directory.display(), %why, "changes to mappings are seen only every 5 s");
            None
        }
    }
}

/// What an event in the directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing for us.
    None,
    /// The mapping file is being written.
    Written,
    /// The mapping file was closed by its writer, or another one is in its place.
    Closed,
    /// Something else is complete in the directory: a link may lead elsewhere.
    Complete,
    /// Events were lost.
    Unknown,
}

fn change(event: &notify::Event, file: &Path) -> Change {
    let ours = event.paths.iter().any(|path| is(path, file));
    match event.kind {
        // Reading the file is an event too.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => {
            if ours {
                Change::Closed
            } else {
                Change::Complete
            }
        }
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) if ours => Change::Written,
        EventKind::Access(_) | EventKind::Modify(_) | EventKind::Create(_) => Change::None,
        EventKind::Any | EventKind::Other => Change::Unknown,
    }
}

/// Whether `path` is the mapping file, which may be a link to it.
fn is(path: &Path, file: &Path) -> bool {
    path.file_name() == file.file_name()
        || file.read_link().is_ok_and(|link| link.file_name() == path.file_name())
}

/// Who reads the file.
struct Reader<R> {
    path: PathBuf,
    /// The state in which the file was read last.
    last: Option<Fingerprint>,
    config: Arc<Config>,
    seen: Arc<Seen>,
    report: R,
}

impl<R: Fn(News) -> bool> Reader<R> {
    fn run(mut self, woken: &Receiver<()>) {
        // A state that no event told of, and since when somebody writes.
        let (mut untold, mut writing): (Option<Option<Fingerprint>>, Option<Instant>) = (None, None);
        let mut pause = Duration::ZERO;
        loop {
            if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(pause) {
                return;
            }
            let first = std::mem::replace(&mut pause, CHECK) == Duration::ZERO;
            if self.seen.complete.swap(false, Ordering::AcqRel) {
                untold = None;
                if !self.settle(woken) {
                    return;
                }
                if !self.look(None) {
                    return;
                }
            } else if self.stopped() {
                return;
            } else if self.seen.writing.load(Ordering::Acquire) {
                let since = *writing.get_or_insert_with(Instant::now);
                if since.elapsed() >= LONG_WRITE {
                    tracing::warn!(file = %self.path.display(), "mapping file is being written, and read when it is closed");
                    writing = Some(Instant::now());
                }
                continue;
            } else {
                let now = Fingerprint::of(&self.path);
                if now != self.last && untold != Some(now) {
                    untold = Some(now);
                    pause = if first { FIRST_CHECK } else { CHECK };
                } else if now != self.last && !self.look(untold.take()) {
                    return;
                }
            }
            writing = None;
        }
    }

    fn stopped(&self) -> bool {
        self.seen.stop.load(Ordering::Acquire)
    }

    /// Reads the file if it differs from the one that was read last, and nobody writes it; `false`: stop.
    /// `state`, if there is one, is that of a look before.
    fn look(&mut self, state: Option<Option<Fingerprint>>) -> bool {
        let now = state.unwrap_or_else(|| Fingerprint::of(&self.path));
        if now == self.last || self.seen.writing.load(Ordering::Acquire) {
            return true;
        }
        let news = mappings::read(&self.path, &self.config);
        if self.seen.writing.load(Ordering::Acquire) {
            // The end of the writing is an event of its own.
            return true;
        }
        // A file that is gone is an error to report. Between removal and renaming it is only not there yet.
        self.last = news.as_ref().map_or(now, |(_, read)| Some(*read));
        (self.report)(news.map(|(records, _)| records))
    }

    /// Waits until nothing changes for 0.2 s, at most 2 s; `false`: stop.
    fn settle(&self, woken: &Receiver<()>) -> bool {
        let start = Instant::now();
        while start.elapsed() < SETTLE_TIMEOUT && !self.stopped() {
            match woken.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.seen.complete.store(false, Ordering::Release);
        !self.stopped()
    }
}

#[cfg(test)]
mod tests;
