//! Keeps what the node knows from the authority in `node.state_dir`, on a thread of its own.
//!
//! The thread writes what waits in one transaction, and rests before the next one. The file may be behind what is in
//! force, and never ahead of it. A node whose file cannot be written goes on without.

use super::moves::Parts;
use crate::config::{AfterGrace, Config};
use crate::mapping::{Change, Presence, Scopes};
use crate::node::stats::Stats;
use crate::nva::client::Objects;
use crate::nva::message::Told;
use crate::nva::mirror::{Content, KeptMove, Mirror, OpenError, Opened, Update, Uptime};
use crate::nva::model::{Key, Known};
use crate::table::AttachmentKey;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Shortest time between two transactions.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two attempts at a file that cannot be written.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Time between two notes that there is a session.
const LIVE_NOTE: Duration = Duration::from_secs(10);

/// What the node knew before it started.
#[derive(Default)]
pub struct Before {
    /// The state of the registry.
    pub known: Known,
    /// Seconds since there was a session last.
    pub stale_s: u64,
    /// The mappings.
    pub mappings: Vec<Told>,
    /// Sequences of those that are attached here, and before [`Self::keep_own`] of those that are in no mapping.
    pub own: BTreeMap<Key, u64>,
    /// What operators want at the node.
    pub objects: Arc<Objects>,
    /// The node's part in moves, and what of it was kept.
    pub(super) moves: Parts,
    kept: Vec<KeptMove>,
    file: Option<(PathBuf, Option<Mirror>)>,
    /// What of the mappings is followed.
    scopes: Scopes,
    /// What was attached here, and is so no longer.
    gone: Vec<Key>,
    /// Whether something failed already.
    failed: bool,
}

impl Before {
    /// Reads the file of a node that follows an authority.
    ///
    /// # Errors
    /// Another process has the file, or it is something else. A file that cannot be read, for whatever other reason, is
    /// told of: the node starts with nothing.
    pub fn read(config: &Config) -> Result<Self, OpenError> {
        // What is asked for when it is needed is not kept.
        let Some(nva) = &config.nva else { return Ok(Before::default()) };
        let keeps_mappings = !nva.mode.asks();
        if !keeps_mappings && !nva.provision {
            return Ok(Before::default());
        }
        let Some(directory) = &config.node.state_dir else {
            tracing::warn!(
                "no node.state_dir: after a restart the node knows no mapping until the authority answers"
            );
            return Ok(Before::default());
        };
        // Nodes of one machine may share the directory.
        let path = directory.join(format!("{}.nva.redb", config.node.name));
        match Mirror::open(&path).and_then(|opened| following(opened, &path, &nva.scopes)) {
            Ok(opened) => {
                tell_of_set_aside(&path, &opened);
                let failed = opened.set_aside.is_some();
                let Opened { mirror, content, .. } = opened;
                let stale_s = stale_s(&content, now_s(), uptime().as_ref());
                let Content { known, mappings, objects, own, moves: kept, .. } = content;
                let (known, mappings) = if keeps_mappings { (known, mappings) } else { Default::default() };
                let (objects, file) = (Arc::new(objects), Some((path, Some(mirror))));
                let scopes = nva.scopes.clone();
                let kept = if nva.provision { kept } else { Vec::new() };
                let rest = Before { file, failed, scopes, ..Before::default() };
                Ok(Before { known, stale_s, mappings, own, objects, kept, ..rest })
            }
            Err(why @ OpenError::Failed { .. }) => {
                tracing::error!(%why, "what the authority told is not kept; the node starts with nothing");
                let scopes = nva.scopes.clone();
                Ok(Before { file: Some((path, None)), failed: true, scopes, ..Before::default() })
            }
            Err(why) => Err(why),
        }
    }

    /// The node begins in the middle of the moves that it knew. Gives where the VMs and tasks of attachments are, and what
    /// is to be in force of what operators want, with what stands beside it.
    pub fn resume(&mut self, config: &Arc<Config>) -> (Vec<(AttachmentKey, Presence)>, Arc<Objects>) {
        self.moves = Parts::new(self.objects.clone());
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return (Vec::new(), self.objects.clone());
        }
        let moves = kept.len();
        tracing::warn!(
            moves,
            "the node begins in the middle of moves that it knew before the start, not confirmed yet"
        );
        self.moves.resume(config, kept, (0, now_ms()))
    }

    /// The mappings as changes to be applied before the first packet. Tells the operator of them.
    #[must_use]
    pub fn changes(&mut self, config: &Config, stats: &Stats) -> Vec<Change> {
        let mappings = &self.mappings;
        let grace = config.nva.as_ref().map(|nva| nva.grace).filter(|grace| grace.then == AfterGrace::Forget);
        if let Some(grace) = grace.filter(|grace| self.stale_s >= u64::from(grace.seconds)) {
            let (stale_s, grace_s) = (self.stale_s, grace.seconds);
            tracing::error!(
                stale_s,
                grace_s,
                "what the authority told before the start is too old, and not used"
            );
            self.known = Known::default();
            return Vec::new();
        }
        let changes = super::mappings::changes(config, mappings);
        stats.nva.left_out((mappings.len() - changes.len()) as u64);
        if !changes.is_empty() {
            let (mappings, revision, stale_s) = (changes.len(), self.known.revision, self.stale_s);
            tracing::warn!(
                mappings,
                revision,
                stale_s,
                "the node begins with mappings that the authority told before the start, not confirmed yet"
            );
        }
        changes
    }

    /// Forgets the mappings, but for the sequences of those that this configuration attaches here.
    pub fn keep_own(&mut self, config: &Config) {
        let attached = super::mappings::attached(config);
        let mappings = std::mem::take(&mut self.mappings);
        let own = mappings
            .iter()
            .filter(|told| attached.get(&told.key).is_some_and(|own| own.choices == told.choices));
        // What is told is later than what was kept by itself.
        let (own_now, gone): (BTreeMap<Key, u64>, BTreeMap<Key, u64>) =
            std::mem::take(&mut self.own).into_iter().partition(|(key, _)| attached.contains_key(key));
        (self.own, self.gone) = (own_now, gone.into_keys().collect());
        self.own.extend(own.map(|told| (told.key, told.sequence)));
    }

    /// Starts the thread; none if there is no file to keep. Failures are counted.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn keep(&mut self, stats: Arc<Stats>) -> io::Result<Option<Keeper>> {
        let Some((path, mirror)) = self.file.take() else { return Ok(None) };
        if self.failed {
            stats.nva.state_failed();
        }
        let notes = Notes(Arc::default());
        self.gone.drain(..).for_each(|key| notes.note(Update::own(key, None)));
        let writer =
            Writer { path, mirror, scopes: self.scopes.clone(), notes: notes.clone(), failing: false };
        let work = move || writer.run(&stats);
        let thread = std::thread::Builder::new().name("ilagate-state".into()).spawn(work)?;
        Ok(Some(Keeper { notes, thread }))
    }
}

/// What was told to a node with other scopes is not what its revision shows: the node begins without a revision.
fn following(mut opened: Opened, path: &Path, scopes: &Scopes) -> Result<Opened, OpenError> {
    let failed = |why| OpenError::Failed { path: path.to_owned(), why };
    if opened.mirror.follow(scopes).map_err(failed)? {
        opened.content.known = Known::default();
    }
    Ok(opened)
}

/// How long ago there was a session last, in seconds; 0: there was none. As long as the machine runs its clock may be set to
/// whatever: that says for how long it ran since. Over its restart only the wall clock knows.
fn stale_s(content: &Content, now_s: u64, now: Option<&Uptime>) -> u64 {
    match (&content.uptime, now) {
        _ if content.live_s == 0 => 0,
        (Some(then), Some(now)) if then.boot == now.boot => now.seconds.saturating_sub(then.seconds),
        _ => now_s.saturating_sub(content.live_s),
    }
}

/// There is a session now.
pub(super) fn live_now() -> Update {
    Update { uptime: uptime(), ..Update::live(now_s()) }
}

/// For how long the machine runs, suspensions included; none if the system does not say so.
fn uptime() -> Option<Uptime> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds = uptime.split('.').next()?.parse().ok()?;
    Some(Uptime { boot, seconds })
}

/// The time in seconds since 1970, by the wall clock.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The same in milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn tell_of_set_aside(path: &Path, opened: &Opened) {
    if let Some(set_aside) = &opened.set_aside {
        let (file, to) = (path.display(), set_aside.to.display());
        tracing::error!(%file, %to, why = set_aside.why, "what the authority told cannot be read and is set aside");
    }
}

/// When there was a session last.
pub(super) struct LastLive {
    live: bool,
    /// Seconds since then, at the moment `seen`.
    stale_s: u64,
    seen: Instant,
    /// When it was written down.
    noted: Option<Instant>,
}

impl LastLive {
    /// So many seconds ago.
    pub(super) fn ago(stale_s: u64) -> Self {
        LastLive { live: false, stale_s, seen: Instant::now(), noted: None }
    }

    /// Takes in whether there is a session now, and writes it down from time to time.
    pub(super) fn see(&mut self, live: bool, stats: &Stats, notes: Option<&Notes>) {
        let now = Instant::now();
        let changed = std::mem::replace(&mut self.live, live) != live;
        if live || changed {
            (self.stale_s, self.seen) = (0, now);
        }
        let stale_s = if live { 0 } else { self.stale_s.saturating_add(self.seen.elapsed().as_secs()) };
        stats.nva.stale(stale_s);
        let due = live && self.noted.is_none_or(|noted| noted.elapsed() >= LIVE_NOTE);
        if changed || due {
            self.noted = Some(now);
            if let Some(notes) = notes {
                notes.note(live_now());
            }
        }
    }
}

/// The thread.
pub struct Keeper {
    notes: Notes,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Where to say what is to be kept.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Ends it, after what waits was written.
    pub fn stop(self) {
        self.notes.waiting().stop = true;
        self.notes.0.changed.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps what the authority told came to an end by itself");
        }
    }
}

#[derive(Default)]
struct Waiting {
    update: Update,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The file had to be begun anew: it holds nothing of what was written before.
    is_anew: AtomicBool,
}

/// What waits to be written: each mapping at most once, however slow the file is.
#[derive(Clone)]
pub struct Notes(Arc<Shared>);

impl Notes {
    /// Adds something. It never waits for the file.
    pub fn note(&self, update: Update) {
        self.waiting().update.merge(update);
        self.0.changed.notify_one();
    }

    /// Adds what a file that was begun anew lacks, but for mappings.
    pub fn note_anew(&self, objects: Arc<Objects>, own: impl Iterator<Item = (Key, u64)>) {
        let own = own.map(|(key, sequence)| (key, Some(sequence))).collect();
        self.note(Update { objects: Some(objects), own, ..Update::default() });
    }

    /// Whether the file was begun anew since the last call, and everything must be told to it again.
    pub fn take_anew(&self) -> bool {
        self.0.is_anew.swap(false, Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that waits, once there is something, and says whether it is the last.
    fn take(&self) -> (Update, bool) {
        let idle = |waiting: &mut Waiting| waiting.update.is_empty() && !waiting.stop;
        let waiting = self.0.changed.wait_while(self.waiting(), idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut waiting.update), waiting.stop)
    }

    /// Gives back what could not be written; what came meanwhile is later.
    fn give_back(&self, mut update: Update) {
        let mut waiting = self.waiting();
        update.merge(std::mem::take(&mut waiting.update));
        waiting.update = update;
    }

    /// Waits, or until the end.
    fn rest(&self, pause: Duration) {
        let goes_on = |waiting: &mut Waiting| !waiting.stop;
        drop(self.0.changed.wait_timeout_while(self.waiting(), pause, goes_on));
    }
}

struct Writer {
    path: PathBuf,
    /// None: it is to be opened anew.
    mirror: Option<Mirror>,
    scopes: Scopes,
    notes: Notes,
    /// Whether the operator was told that it cannot be written.
    failing: bool,
}

impl Writer {
    fn run(mut self, stats: &Stats) {
        let mut pause = PAUSE;
        loop {
            let (update, last) = self.notes.take();
            match self.write(&update) {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(file = %self.path.display(), "what the authority tells is kept again");
                    }
                    pause = PAUSE;
                }
                Err(why) => {
                    stats.nva.state_failed();
                    if !std::mem::replace(&mut self.failing, true) {
                        let file = self.path.display();
                        tracing::error!(%file, why, "what the authority tells is not kept; the node goes on, and tries again");
                    }
                    self.mirror = None;
                    self.notes.give_back(update);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            if last {
                return;
            }
            self.notes.rest(pause);
        }
    }

    fn write(&mut self, update: &Update) -> Result<(), String> {
        let mirror = match &mut self.mirror {
            Some(mirror) => mirror,
            closed => {
                let mut opened = Mirror::open(&self.path).map_err(|why| why.to_string())?;
                tell_of_set_aside(&self.path, &opened);
                opened.mirror.follow(&self.scopes)?;
                if opened.set_aside.is_some() {
                    self.notes.0.is_anew.store(true, Ordering::Relaxed);
                }
                closed.insert(opened.mirror)
            }
        };
        mirror.write(update).map(drop)
    }
}

#[cfg(test)]
mod tests;
