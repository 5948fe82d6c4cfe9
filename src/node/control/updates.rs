//! Updates: batches of mapping changes, reloads and amendments, one after the other. Each one is staged,
//! published, committed and answered, one step a turn.
//!
//! A batch is judged against what is in force, so the next one is staged only when the one before is
//! committed. Most batches need no snapshot, and take effect at once.

use super::{Answer, Control, Loaded, Progress, RequestId};
use crate::api::views::ReloadView;
use crate::config::MappingFile;
use crate::mapping::{Applied, Batch, Change, MappingRecord, Origin, Presence, Refusal};
use crate::node::handle::{Amend, AmendRefusal};
use crate::node::rib::{Deletions, Staged, Unstaged};
use crate::table::AttachmentKey;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// Who waits for a batch.
pub(super) enum Asker {
    Request(RequestId),
    File,
    /// A file that deletes much, and that an operator confirmed.
    Confirmed(RequestId),
    Reload(Reply),
}

/// Who waits for a reload, and what was applied of it so far.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) asked_by: Option<RequestId>,
    pub(super) applied: Vec<String>,
    /// The configuration is in force, and its mappings are not.
    pub(super) in_part: bool,
    /// No file was read: only what operators want has changed.
    pub(super) composed: bool,
}

pub(super) enum Work {
    Batch(Batch, Asker),
    /// A mapping file; the configuration in force was judged together with it.
    Judged(Batch, Asker),
    Reload(Box<Loaded>, Reply),
    /// What operators of the authority want has changed.
    Step,
    Amend(Amend, RequestId),
    Presence(AttachmentKey, Presence, RequestId),
}

/// What is known of a task that was staged.
enum Task {
    Batch(Asker),
    /// A configuration was taken over; its mappings come next.
    Reload(Option<Vec<MappingRecord>>, Reply),
    Amend(RequestId),
    Presence(RequestId),
}

struct Flight {
    task: Task,
    accepted_us: u64,
    state: FlightState,
}

enum FlightState {
    /// Judged; its targets are not in a snapshot yet.
    Staged(Staged),
    /// Its targets are in a snapshot that is published.
    Published(Staged),
    /// Written; a table had to grow, which takes another snapshot.
    Committed(Applied),
    /// To be answered.
    InForce(Applied),
}

/// Everything that was accepted and is not yet in force.
#[derive(Default)]
pub(super) struct Updates {
    queue: VecDeque<(Work, u64)>,
    flight: Option<Flight>,
    /// A mapping file that contradicts what operators of the authority want. It comes into force after the configuration
    /// without that.
    pub(super) postponed: Option<(Vec<MappingRecord>, Asker)>,
    /// A snapshot was published that not every worker is known to have.
    open: bool,
    /// What the last batch took.
    pub(super) last_us: u64,
}

impl Updates {
    pub(super) fn published(&mut self) {
        self.open = true;
    }

    pub(super) fn push(&mut self, work: Work, accepted_us: u64) {
        self.queue.push_back((work, accepted_us));
    }

    /// Forgets mapping files that were read and wait. Gives who waits for one that was confirmed.
    fn forget_files(&mut self) -> Vec<RequestId> {
        let mut confirmed = Vec::new();
        if let Some((_, Asker::Confirmed(asked_by))) = self.postponed.take() {
            confirmed.push(asked_by);
        }
        self.queue.retain(|(work, _)| match work {
            Work::Batch(_, Asker::File) => false,
            Work::Batch(_, Asker::Confirmed(asked_by)) => {
                confirmed.push(*asked_by);
                false
            }
            _ => true,
        });
        confirmed
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

/// The records of such a batch.
pub(super) fn records(file: &Batch) -> impl Iterator<Item = &MappingRecord> {
    file.changes.iter().filter_map(|change| match change {
        Change::Upsert(record) => Some(record),
        Change::Expiring { .. } | Change::Delete { .. } => None,
    })
}

fn allows(file: &MappingFile, Deletions { deleted, held }: Deletions) -> bool {
    file.allows(deleted, held)
}

impl Control {
    pub(super) fn accept(&mut self, batch: Batch, asked_by: RequestId) {
        self.updates.push(Work::Batch(batch, Asker::Request(asked_by)), self.now.us());
    }

    pub(super) fn accept_presence(&mut self, at: AttachmentKey, presence: Presence, asked_by: RequestId) {
        self.updates.push(Work::Presence(at, presence, asked_by), self.now.us());
    }

    pub(super) fn accept_amend(&mut self, amend: Amend, asked_by: RequestId) {
        self.updates.push(Work::Amend(amend, asked_by), self.now.us());
    }

    /// A file is the whole truth. One that was read before and still waits is dropped, so that files that
    /// change faster than they are applied do not pile up.
    pub(super) fn accept_file(&mut self, records: Vec<MappingRecord>) {
        self.forget_files();
        self.updates.push(Work::Batch(whole_file(records), Asker::File), self.now.us());
    }

    /// The mapping file was read anew: what was read of it before and waits does not count any more.
    pub(super) fn forget_files(&mut self) {
        for asked_by in self.updates.forget_files() {
            let why = "the mapping file was read anew meanwhile; look at ilactl node show".to_owned();
            self.answer(asked_by, Answer::Confirm(Err(why)));
        }
        self.file_status.read_anew();
    }

    pub(super) fn accept_confirmed(&mut self, batch: Batch, asked_by: RequestId) {
        self.updates.push(Work::Batch(batch, Asker::Confirmed(asked_by)), self.now.us());
    }

    pub(super) fn accept_reload(&mut self, loaded: Box<Loaded>, reply: Reply) {
        self.updates.push(Work::Reload(loaded, reply), self.now.us());
    }

    /// Whether there is something to be done for [`super::Input::Update`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        let updates = &self.updates;
        if updates.open && !self.publisher.settled() {
            Progress::AwaitsReaders
        } else if updates.open || updates.len() > 0 || self.rib.needs_snapshot() {
            Progress::Ready
        } else {
            Progress::Idle
        }
    }

    /// Does the next step, if every worker has the present snapshot.
    pub(super) fn update(&mut self) {
        if self.updates.open {
            if !self.publisher.settled() {
                return;
            }
            self.updates.open = false;
            self.publisher.collect();
            self.rib.release();
        }
        match self.updates.flight.take() {
            Some(flight) => self.advance(flight),
            None => match self.updates.queue.pop_front() {
                Some((work, accepted_us)) => self.stage(work, accepted_us),
                None if self.rib.needs_snapshot() => self.publish(),
                None => {}
            },
        }
    }

    fn stage(&mut self, work: Work, accepted_us: u64) {
        let (staged, task) = match work {
            Work::Batch(batch, asker @ (Asker::File | Asker::Confirmed(_)))
                if self.concerns_objects(&batch)
                    && self.guard(&asker).is_none_or(|file| allows(file, self.rib.deletions(&batch))) =>
            {
                return self.postpone(batch, asker);
            }
            Work::Batch(batch, asker) | Work::Judged(batch, asker) => {
                let guard = self.guard(&asker).cloned();
                let allows = |deletions: Deletions| guard.as_ref().is_none_or(|file| allows(file, deletions));
                let staged = match self.rib.stage_within(batch, allows) {
                    Ok(staged) => Ok(staged),
                    Err(Unstaged::Refused(refusal)) => Err(refusal),
                    Err(Unstaged::Withheld(batch, deletions)) => {
                        return self.file_withheld(asker, batch, deletions);
                    }
                };
                (staged, Task::Batch(asker))
            }
            Work::Reload(loaded, mut reply) => {
                reply.composed = !loaded.reread;
                let amended = match self.amended(&loaded.config, loaded.reread) {
                    Ok(amended) => amended,
                    Err(why) => return self.refuse_reload(reply, why),
                };
                let postponed = self.updates.postponed.as_ref().filter(|_| !loaded.reread);
                let postponed = postponed.map(|(records, _)| records.as_slice());
                let records = loaded.records.as_deref().or(postponed);
                let staged = self.rib.reconfigure_with(&amended.0, records);
                if staged.is_err() {
                    let clashes = self.rib.clashes(&amended.0, records);
                    if self.leaves_out(&loaded, &amended.0, &reply, &clashes) {
                        return;
                    }
                }
                let records = match staged {
                    Ok(_) => self.take_over(*loaded, amended, &mut reply),
                    Err(_) => None,
                };
                (staged, Task::Reload(records, reply))
            }
            Work::Step => match self.stage_step() {
                Some(staged) => {
                    let reply = Reply { composed: true, ..Reply::default() };
                    (Ok(staged), Task::Reload(None, reply))
                }
                None => return self.load(false, Vec::new()),
            },
            Work::Amend(amend, asked_by) => {
                let (config, kept) = match self.after(&amend) {
                    Ok(after) => after,
                    Err(why) => return self.answer(asked_by, Answer::Amend(Err(why))),
                };
                let staged = self.rib.reconfigure(&config);
                if staged.is_ok() {
                    self.take_amended(&amend, config, kept);
                }
                (staged, Task::Amend(asked_by))
            }
            Work::Presence(at, presence, asked_by) => match self.rib.set_presence(at, presence) {
                Ok(()) => {
                    if matches!(self.rib.presence(at), Presence::Departed(_)) {
                        self.scan_all_but(at, self.now.ms());
                    }
                    (Ok(Staged::default()), Task::Presence(asked_by))
                }
                Err(why) => return self.answer(asked_by, Answer::Presence(Err(why))),
            },
        };
        self.fly(staged, task, accepted_us);
    }

    fn fly(&mut self, staged: Result<Staged, Refusal>, task: Task, accepted_us: u64) {
        match staged {
            Ok(staged) => {
                let state = match self.rib.needs_snapshot() {
                    true => FlightState::Staged(staged),
                    false => FlightState::Published(staged),
                };
                self.updates.flight = Some(Flight { task, accepted_us, state });
            }
            Err(refusal) => self.refuse(task, refusal),
        }
    }

    /// The limit of what a mapping file may delete without a confirmation.
    fn guard(&self, asker: &Asker) -> Option<&MappingFile> {
        self.config.mappings.as_ref().filter(|_| matches!(asker, Asker::File | Asker::Reload(_)))
    }

    /// Has a mapping file judged together with the configuration first.
    fn postpone(&mut self, file: Batch, asker: Asker) {
        let record = |change| match change {
            Change::Upsert(record) => Some(record),
            Change::Expiring { .. } | Change::Delete { .. } => None,
        };
        let records = file.changes.into_iter().filter_map(record).collect();
        self.updates.postponed = Some((records, asker));
        if !self.reloading {
            self.load(false, Vec::new());
        }
    }

    fn refuse_postponed(&mut self, why: &str) {
        let Some((_, asker)) = self.updates.postponed.take() else { return };
        self.mapping_file_refused(why.to_owned());
        if let Asker::Confirmed(asked_by) = asker {
            self.answer(asked_by, Answer::Confirm(Err(why.to_owned())));
        }
    }

    fn advance(&mut self, flight: Flight) {
        let Flight { task, accepted_us, state } = flight;
        let state = match state {
            FlightState::Staged(staged) => {
                self.publish();
                FlightState::Published(staged)
            }
            FlightState::Published(staged) => {
                let applied = self.rib.commit(staged);
                match self.rib.needs_snapshot() {
                    true => FlightState::Committed(applied),
                    false => FlightState::InForce(applied),
                }
            }
            FlightState::Committed(applied) => {
                self.publish();
                FlightState::InForce(applied)
            }
            FlightState::InForce(applied) => return self.done(task, accepted_us, applied),
        };
        self.updates.flight = Some(Flight { task, accepted_us, state });
    }

    fn done(&mut self, task: Task, accepted_us: u64, applied: Applied) {
        let took_us = self.now.us().saturating_sub(accepted_us);
        self.updates.last_us = took_us;
        self.stats.update_latency.record(took_us);
        self.stats.updates_applied.fetch_add(1, Ordering::Relaxed);
        self.answer_questions();
        match task {
            Task::Batch(Asker::Request(asked_by)) => self.answer(asked_by, Answer::Apply(Ok(applied))),
            Task::Batch(Asker::File) => self.mapping_file_applied(&applied, took_us),
            Task::Batch(Asker::Confirmed(asked_by)) => {
                self.mapping_file_applied(&applied, took_us);
                self.answer(asked_by, Answer::Confirm(Ok(applied)));
            }
            Task::Batch(Asker::Reload(reply)) => {
                self.mapping_file_applied(&applied, took_us);
                self.reloaded(reply, Ok(Some(applied)));
            }
            Task::Reload(Some(records), reply) => {
                // Nothing comes between a configuration and its mappings.
                let work = Work::Batch(whole_file(records), Asker::Reload(reply));
                self.updates.queue.push_front((work, self.now.us()));
            }
            Task::Reload(None, reply) => {
                if let Some((records, asker)) = self.updates.postponed.take() {
                    self.updates.queue.push_front((Work::Judged(whole_file(records), asker), self.now.us()));
                }
                self.reloaded(reply, Ok(None));
            }
            Task::Amend(asked_by) => self.answer(asked_by, Answer::Amend(Ok(()))),
            Task::Presence(asked_by) => self.answer(asked_by, Answer::Presence(Ok(()))),
        }
    }

    fn refuse(&mut self, task: Task, refusal: Refusal) {
        self.stats.updates_refused.fetch_add(1, Ordering::Relaxed);
        match task {
            Task::Batch(Asker::Request(asked_by)) => self.answer(asked_by, Answer::Apply(Err(refusal))),
            Task::Batch(Asker::File) => {
                tracing::error!(%refusal, "mapping file is refused, the mappings before it stay");
                self.mapping_file_refused(refusal.to_string());
                self.judge_objects_again();
            }
            Task::Batch(Asker::Confirmed(asked_by)) => {
                self.mapping_file_refused(refusal.to_string());
                self.answer(asked_by, Answer::Confirm(Err(refusal.to_string())));
                self.judge_objects_again();
            }
            Task::Batch(Asker::Reload(reply)) => {
                self.half_reloaded(reply, refusal.to_string());
                self.mapping_file_refused(refusal.to_string());
            }
            Task::Reload(_, reply) => self.reloaded(reply, Err(refusal.to_string())),
            Task::Amend(asked_by) => {
                self.answer(asked_by, Answer::Amend(Err(AmendRefusal::Forbidden(refusal.to_string()))));
            }
            // It changes no mapping that could contradict anything.
            Task::Presence(asked_by) => self.answer(asked_by, Answer::Presence(Ok(()))),
        }
    }

    /// The mapping file deletes too much without a confirmation.
    fn file_withheld(&mut self, asker: Asker, batch: Batch, deletions: Deletions) {
        let why = self.withhold(batch, deletions);
        match asker {
            Asker::Reload(reply) => self.half_reloaded(reply, why),
            _ => self.judge_objects_again(),
        }
    }

    /// A reload ends with the configuration in force and the mappings as they were.
    fn half_reloaded(&mut self, reply: Reply, why: String) {
        let why = format!("the configuration is in force, and its mappings are not: {why}");
        // What operators of the authority want was judged together with other mappings.
        self.judge_objects_again();
        self.reloaded(Reply { in_part: true, ..reply }, Err(why));
        self.note_half_reload();
    }

    /// A reload ends before anything was staged.
    pub(super) fn refuse_reload(&mut self, reply: Reply, why: String) {
        self.stats.updates_refused.fetch_add(1, Ordering::Relaxed);
        self.reloaded(reply, Err(why));
    }

    /// A reload has come to its end: the next one may begin.
    pub(super) fn reloaded(&mut self, reply: Reply, result: Result<Option<Applied>, String>) {
        self.reloading = false;
        match &result {
            _ if !reply.composed => self.note_reload(result.as_ref().err()),
            Err(why) => self.refuse_postponed(why),
            Ok(_) => {}
        }
        self.end_reply(reply, result);
        if std::mem::take(&mut self.reload_again) {
            let asked_by = self.reload_asked_next.take();
            self.begin_reload(asked_by);
        } else if self.compose_again || self.updates.postponed.is_some() {
            self.compose();
        } else {
            self.say_provisioned();
        }
    }

    /// Answers who waits for a reload, and writes a log line.
    pub(super) fn end_reply(&mut self, reply: Reply, result: Result<Option<Applied>, String>) {
        let result = result.map(|mappings| ReloadView { applied: reply.applied, mappings });
        match &result {
            Ok(_) if reply.composed => tracing::info!("what operators want at this node is in force"),
            Ok(view) => {
                tracing::info!(applied = ?view.applied, mappings = ?view.mappings, "configuration reloaded")
            }
            Err(why) if reply.in_part => tracing::error!(%why, "reload applied in part"),
            Err(why) => tracing::error!(%why, "reload refused"),
        }
        if let Some(asked_by) = reply.asked_by {
            self.answer(asked_by, Answer::Reload(result));
        }
    }
}
