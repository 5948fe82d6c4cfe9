//! What became of the mapping file and of the last reload: what was refused, what waits for a confirmation, and what
//! the mappings of operators cover.

use super::{Answer, Control, RequestId};
use crate::mapping::{Applied, Batch};
use crate::node::rib::{Deletions, ShadowedChanges};
use crate::node::watch::News;
use std::sync::atomic::Ordering;

/// The state of the mapping file and of reloads, for operators.
#[derive(Debug, Default)]
pub(super) struct FileStatus {
    /// Why the file that was read last is not in force.
    refused: Option<String>,
    /// Why the last reload was refused.
    reload_refused: Option<String>,
    withheld: Option<Withheld>,
    /// What of the file that is in force operators cover.
    shadowed_changes: ShadowedChanges,
}

/// A change of the file that waits for an operator.
#[derive(Debug)]
struct Withheld {
    batch: Batch,
    deletions: Deletions,
}

impl FileStatus {
    /// Deletions that wait for a confirmation.
    pub(super) fn withheld(&self) -> u64 {
        self.withheld.as_ref().map_or(0, |withheld| withheld.deletions.deleted)
    }

    /// A file was read anew, and what was known of the one before does not count any more.
    pub(super) fn read_anew(&mut self) {
        (self.refused, self.withheld) = (None, None);
    }

    /// One sentence for each thing that an operator should know of.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(why) = &self.reload_refused {
            warnings.push(format!("the last reload was refused: {why}"));
        }
        if let Some(why) = &self.refused {
            warnings.push(format!("the mapping file is refused, the mappings before it stay: {why}"));
        }
        if let Some(withheld) = &self.withheld {
            warnings.push(withheld_sentence(withheld.deletions));
        }
        if let ShadowedChanges { entries: entries @ 1.., first: Some(first) } = self.shadowed_changes {
            warnings.push(format!(
                "{entries} changed entries of the mapping file are covered by mappings of operators, {first} first; \
                 ilactl mapping del {first} brings the file's into force"
            ));
        }
        warnings
    }
}

fn withheld_sentence(Deletions { deleted, held }: Deletions) -> String {
    format!(
        "the mapping file would delete {deleted} of its {held} mappings, the mappings before it stay; correct the \
         file, or apply it by `ilactl mapping confirm {deleted}`"
    )
}

impl Control {
    /// Sentences on what an operator should know of, for the view of the node.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.file_status.warnings();
        let lost = self.stats.log_lines_lost.load(Ordering::Relaxed);
        if lost > 0 {
            warnings.push(format!("{lost} lines of the log were lost: nobody read them in time"));
        }
        warnings
    }

    /// A watch has read the mapping file.
    pub(super) fn take_mapping_file(&mut self, number: u64, news: News) {
        match news {
            // A watch that a reload replaced may know less than the reload.
            _ if number != self.watch_number => {}
            Ok(records) => self.accept_file(records),
            Err(errors) => {
                for error in errors.errors() {
                    tracing::error!(%error, "mapping file is refused, the mappings before it stay");
                }
                self.stats.updates_refused.fetch_add(1, Ordering::Relaxed);
                self.forget_files();
                self.file_status.refused = Some(first_line(&errors.to_string()));
            }
        }
    }

    /// The mapping file breaks a rule together with what is in force.
    pub(super) fn mapping_file_refused(&mut self, why: String) {
        self.file_status.refused = Some(why);
    }

    /// The mapping file deletes too much: it waits for a confirmation. Gives what to tell.
    pub(super) fn withhold(&mut self, batch: Batch, deletions: Deletions) -> String {
        let why = withheld_sentence(deletions);
        self.stats.updates_withheld.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(deleted = deletions.deleted, held = deletions.held, "{why}");
        self.file_status.withheld = Some(Withheld { batch, deletions });
        why
    }

    /// An operator confirms so many deletions.
    pub(super) fn confirm(&mut self, deleted: u64, asked_by: RequestId) {
        let why = match self.file_status.withheld.take() {
            Some(withheld) if withheld.deletions.deleted == deleted => {
                return self.accept_confirmed(withheld.batch, asked_by);
            }
            Some(withheld) => {
                let waits = withheld.deletions.deleted;
                self.file_status.withheld = Some(withheld);
                format!("the mapping file would delete {waits} mappings, not {deleted}; confirm that number")
            }
            None => "no change of the mapping file waits for a confirmation".to_owned(),
        };
        self.answer(asked_by, Answer::Confirm(Err(why)));
    }

    /// The mapping file is in force.
    pub(super) fn mapping_file_applied(&mut self, applied: &Applied, took_us: u64) {
        let Applied { revision, created, changed, deleted } = applied;
        tracing::info!(revision, created, changed, deleted, took_us, "mapping file applied");
        let shadowed = self.rib.shadowed_changes();
        if let ShadowedChanges { entries: entries @ 1.., first: Some(first) } = shadowed {
            self.stats.mappings_shadowed.fetch_add(entries, Ordering::Relaxed);
            tracing::warn!(entries, %first, "changed entries of the mapping file are covered by operators' mappings");
        }
        (self.file_status.refused, self.file_status.shadowed_changes) = (None, shadowed);
    }

    /// A reload has ended.
    pub(super) fn note_reload(&mut self, refused: Option<&String>) {
        self.file_status.reload_refused = refused.map(|why| first_line(why));
    }

    /// A reload has ended with the configuration in force, but not its mapping file.
    pub(super) fn note_half_reload(&mut self) {
        self.file_status.reload_refused = None;
    }
}

/// The first of several errors, and how many there are more.
fn first_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) => format!("{first} (and {} more; see the log)", rest.lines().count()),
        None => text.to_owned(),
    }
}
