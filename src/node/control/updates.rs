//! Batches of mapping changes and reloads, one after the other: staged, published, waited for, committed, answered.
//!
//! A batch is judged against what is in force, so the next one is staged only when the one before is committed. Most
//! batches need no snapshot, and take effect at once.

use super::{Control, Loaded};
use crate::config::MappingRecord;
use crate::node::handle::{Amend, AmendRefusal, ReloadView};
use crate::node::rib::Staged;
use crate::node::source::{Applied, Batch, Change, Origin, Refusal};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long, in all, one turn may be spent on updates.
const TURN: Duration = Duration::from_millis(5);
/// Looks at whether the workers have taken the snapshot, before the rest of the control thread's work comes first.
const LOOKS: u32 = 8;
/// Time between two such looks.
const GLANCE: Duration = Duration::from_micros(50);

/// Who waits for a batch.
pub(super) enum Asker {
    Request(oneshot::Sender<Result<Applied, Refusal>>),
    File,
    Reload(Reply),
}

/// Who waits for a reload, and what was applied of it so far.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) answer: Option<oneshot::Sender<Result<ReloadView, String>>>,
    pub(super) applied: Vec<String>,
}

enum Work {
    Batch(Batch, Asker),
    Reload(Box<Loaded>, Reply),
    Amend(Amend, AmendAnswer),
}

/// The way back to who changes policies or peers.
pub(super) type AmendAnswer = oneshot::Sender<Result<(), AmendRefusal>>;

/// What is known of a task that was staged.
enum Task {
    Batch(Asker),
    /// A configuration was taken over; its mappings come next.
    Reload(Option<Vec<MappingRecord>>, Reply),
    Amend(AmendAnswer),
}

struct Flight {
    task: Task,
    accepted: Instant,
    state: FlightState,
}

enum FlightState {
    Staged(Staged),
    Committed(Applied),
}

/// Everything that was accepted and is not yet in force.
#[derive(Default)]
pub(super) struct Updates {
    queue: VecDeque<(Work, Instant)>,
    flight: Option<Flight>,
    /// A snapshot was published that not every worker is known to have.
    open: bool,
    /// What the last batch took.
    pub(super) last_us: u64,
}

impl Updates {
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.flight.is_none() && !self.open
    }

    pub(super) fn published(&mut self) {
        self.open = true;
    }

    pub(super) fn amend(&mut self, amend: Amend, answer: AmendAnswer) {
        self.queue.push_back((Work::Amend(amend, answer), Instant::now()));
    }

    /// Forgets mapping files that were read and wait.
    pub(super) fn forget_files(&mut self) {
        self.queue.retain(|(work, _)| !matches!(work, Work::Batch(_, Asker::File)));
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len() + usize::from(self.flight.is_some())
    }
}

/// The batch that makes a mapping file the whole truth of its origin.
pub(super) fn whole_file(records: Vec<MappingRecord>) -> Batch {
    let changes = records.into_iter().map(Change::Upsert).collect();
    Batch { origin: Origin::File, changes, complete: true }
}

impl Control {
    pub(super) fn accept(&mut self, batch: Batch, answer: oneshot::Sender<Result<Applied, Refusal>>) {
        self.updates.queue.push_back((Work::Batch(batch, Asker::Request(answer)), Instant::now()));
    }

    /// A file is the whole truth: one that was read before and still waits is not applied any more, so that files that
    /// change faster than they are applied do not pile up.
    pub(super) fn accept_file(&mut self, records: Vec<MappingRecord>) {
        self.updates.forget_files();
        self.updates.queue.push_back((Work::Batch(whole_file(records), Asker::File), Instant::now()));
    }

    pub(super) fn accept_reload(&mut self, loaded: Box<Loaded>, reply: Reply) {
        self.updates.queue.push_back((Work::Reload(loaded, reply), Instant::now()));
    }

    /// Does as much as can be done without waiting.
    pub(super) fn advance(&mut self) {
        let began = Instant::now();
        while began.elapsed() < TURN {
            if !self.settled() {
                return;
            }
            match self.updates.flight.take() {
                Some(flight) => self.land(flight),
                None => match self.updates.queue.pop_front() {
                    Some((work, accepted)) => self.stage(work, accepted),
                    None if self.rib.needs_snapshot() => self.publish(),
                    None => return,
                },
            }
        }
    }

    /// Whether every worker has the present snapshot; waits a moment for it.
    fn settled(&mut self) -> bool {
        if !self.updates.open {
            return true;
        }
        for _ in 0..LOOKS {
            if self.publisher.settled() {
                self.updates.open = false;
                self.publisher.collect();
                self.rib.release();
                return true;
            }
            std::thread::sleep(GLANCE);
        }
        false
    }

    fn stage(&mut self, work: Work, accepted: Instant) {
        let (staged, task) = match work {
            Work::Batch(batch, asker) => (self.rib.stage(batch), Task::Batch(asker)),
            Work::Reload(loaded, mut reply) => {
                let amended = match self.amended(&loaded.config) {
                    Ok(amended) => amended,
                    Err(why) => return self.reloaded(reply, Err(why)),
                };
                let staged = self.rib.reconfigure_with(&amended.0, loaded.records.as_deref());
                let records = match staged {
                    Ok(_) => self.take_over(*loaded, amended, &mut reply),
                    Err(_) => None,
                };
                (staged, Task::Reload(records, reply))
            }
            Work::Amend(amend, answer) => {
                let (config, kept) = match self.after(&amend) {
                    Ok(after) => after,
                    Err(why) => return drop(answer.send(Err(why))),
                };
                let staged = self.rib.reconfigure(&config);
                if staged.is_ok() {
                    self.take_amended(&amend, config, kept);
                }
                (staged, Task::Amend(answer))
            }
        };
        match staged {
            Ok(staged) => {
                if self.rib.needs_snapshot() {
                    self.publish();
                }
                let state = FlightState::Staged(staged);
                self.updates.flight = Some(Flight { task, accepted, state });
            }
            Err(refusal) => self.refuse(task, refusal),
        }
    }

    fn land(&mut self, flight: Flight) {
        let Flight { task, accepted, state } = flight;
        let applied = match state {
            FlightState::Staged(staged) => {
                let applied = self.rib.commit(staged);
                if self.rib.needs_snapshot() {
                    self.publish();
                    let state = FlightState::Committed(applied);
                    self.updates.flight = Some(Flight { task, accepted, state });
                    return;
                }
                applied
            }
            FlightState::Committed(applied) => applied,
        };
        self.done(task, accepted, applied);
    }

    fn done(&mut self, task: Task, accepted: Instant, applied: Applied) {
        let took_us = accepted.elapsed().as_micros() as u64;
        self.updates.last_us = took_us;
        self.stats.update_latency.record(took_us);
        self.stats.updates_applied.fetch_add(1, Ordering::Relaxed);
        let Applied { revision, created, changed, deleted } = applied;
        match task {
            Task::Batch(Asker::Request(answer)) => drop(answer.send(Ok(applied))),
            Task::Batch(Asker::File) => {
                tracing::info!(revision, created, changed, deleted, took_us, "mapping file applied");
            }
            Task::Batch(Asker::Reload(reply)) => self.reloaded(reply, Ok(Some(applied))),
            Task::Reload(Some(records), reply) => {
                // Nothing comes between a configuration and its mappings.
                let work = Work::Batch(whole_file(records), Asker::Reload(reply));
                self.updates.queue.push_front((work, Instant::now()));
            }
            Task::Reload(None, reply) => self.reloaded(reply, Ok(None)),
            Task::Amend(answer) => drop(answer.send(Ok(()))),
        }
    }

    fn refuse(&mut self, task: Task, refusal: Refusal) {
        self.stats.updates_refused.fetch_add(1, Ordering::Relaxed);
        match task {
            Task::Batch(Asker::Request(answer)) => drop(answer.send(Err(refusal))),
            Task::Batch(Asker::File) => {
                tracing::error!(%refusal, "mapping file is refused, the mappings before it stay");
            }
            Task::Batch(Asker::Reload(reply)) => {
                self.reloaded(
                    reply,
                    Err(format!("the configuration is in force, but its mappings are refused: {refusal}")),
                );
            }
            Task::Reload(_, reply) => self.reloaded(reply, Err(refusal.to_string())),
            Task::Amend(answer) => drop(answer.send(Err(AmendRefusal::Forbidden(refusal.to_string())))),
        }
    }
}

impl Control {
    /// A reload has come to its end: the next one may begin.
    pub(super) fn reloaded(&mut self, reply: Reply, result: Result<Option<Applied>, String>) {
        self.reloading = false;
        reply.end(result);
        if std::mem::take(&mut self.reload_again) {
            self.begin_reload(None);
        }
    }
}

impl Reply {
    /// Answers, and tells the log.
    pub(super) fn end(self, result: Result<Option<Applied>, String>) {
        let result = result.map(|mappings| ReloadView { applied: self.applied, mappings });
        match &result {
            Ok(view) => {
                tracing::info!(applied = ?view.applied, mappings = ?view.mappings, "configuration reloaded")
            }
            Err(why) => tracing::error!(%why, "reload refused"),
        }
        if let Some(answer) = self.answer {
            let _ = answer.send(result);
        }
    }
}
