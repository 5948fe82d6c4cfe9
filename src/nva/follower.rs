//! What the NVE's half of a session is told: a snapshot or what came after the revision that it has, then transactions;
//! what of it is in force, and when to say so.

use super::comparison::{Comparison, DriftCounts};
use super::message::{Down, Extent, Told};
use super::model::Known;
use crate::mapping::{Digest, Parts};
use std::collections::VecDeque;

/// Shortest time between two Applied.
const APPLIED_MS: u64 = 50;

/// Work for the workers.
#[derive(Debug)]
struct Batch {
    extent: Extent,
    mappings: Vec<Told>,
    makes: Known,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Work {
    /// Apply these.
    Apply(Extent, Vec<Told>, Known),
    /// Compare what is in force.
    Compare,
}

/// What the authority told so far.
#[derive(Debug, Default)]
enum Stage {
    /// It does not say yet whether a snapshot comes.
    #[default]
    Asked,
    /// These pages of a snapshot.
    Snapshot(Extent, Vec<Told>),
    /// A whole snapshot, or what came after the revision that the node has.
    Live,
}

/// Follows the registry.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Of the session.
    epoch: Vec<u8>,
    stage: Stage,
    /// What is in force in every worker.
    known: Option<Known>,
    batches: VecDeque<Batch>,
    applying: Option<Known>,
    pub(super) comparison: Comparison,
    /// Whether Applied is to be said, and when it was said last.
    unsaid: bool,
    said_ms: u64,
}

impl Follower {
    /// A follower that has this in force.
    pub(super) fn new(known: Option<Known>) -> Self {
        Follower { known, ..Follower::default() }
    }

    /// What is in force in every worker.
    pub(super) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// A session with this epoch begins. Gives what to go on from: not what was received, for that could still fail.
    pub(super) fn begin(&mut self, epoch: Vec<u8>) -> Option<Known> {
        (self.epoch, self.stage, self.unsaid) = (epoch, Stage::Asked, false);
        self.batches.clear();
        self.comparison.begin();
        self.known.clone()
    }

    /// Whether the authority told all that there is, or that nothing is missing.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// The session ended. What came whole is still applied.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Asked;
    }

    /// What is in force is not known any more: everything is asked for anew.
    pub(super) fn forget(&mut self) {
        (self.known, self.applying) = (None, None);
        self.batches.clear();
        self.comparison.begin();
    }

    /// Nothing is to be in force any more: everything is asked for anew.
    pub(super) fn give_up(&mut self) {
        self.batches.clear();
        self.batches.push_back(Batch { extent: Extent::All, mappings: Vec::new(), makes: Known::default() });
    }

    /// Takes in what is told of mappings.
    ///
    /// # Errors
    /// The message is out of turn.
    pub(super) fn receive(&mut self, down: Down) -> Result<(), Down> {
        match (&mut self.stage, down) {
            (Stage::Asked, Down::Resumed(_)) if self.known.is_some() => self.stage = Stage::Live,
            (_, Down::Resync(_)) => self.stage = Stage::Snapshot(Extent::All, Vec::new()),
            (Stage::Live, Down::Repair(parts)) => {
                self.stage = Stage::Snapshot(Extent::Parts(parts), Vec::new());
            }
            (Stage::Snapshot(_, pages), Down::Page(page)) => pages.extend(page),
            (Stage::Snapshot(extent, pages), Down::SnapshotEnd(revision)) => {
                let (extent, mut mappings) = (std::mem::take(extent), latest(std::mem::take(pages)));
                self.stage = Stage::Live;
                if extent == Extent::All {
                    mappings.retain(|told| !told.choices.is_empty());
                    // What waits is older than the snapshot.
                    self.batches.clear();
                }
                self.push(extent, mappings, revision);
            }
            (Stage::Live, Down::Delta(revision, mappings)) => {
                // What was being applied when the session asked to go on comes again.
                let last = self.batches.back().map(|batch| &batch.makes);
                let last = last.or(self.applying.as_ref()).or(self.known.as_ref());
                if !last.is_some_and(|last| last.epoch == self.epoch && revision <= last.revision) {
                    self.push(Extent::Changes, latest(mappings), revision);
                }
            }
            (Stage::Live, Down::Digest { revision, mappings: Some(mappings), .. }) => {
                self.comparison.receive(revision, mappings);
            }
            (_, unexpected) => return Err(unexpected),
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent, mappings: Vec<Told>, revision: u64) {
        let makes = Known { epoch: self.epoch.clone(), revision };
        self.batches.push_back(Batch { extent, mappings, makes });
    }

    /// What is to be done next, if nothing is being done.
    pub(super) fn next_work(&mut self) -> Option<Work> {
        if self.applying.is_some() || self.comparison.is_under_way() {
            return None;
        }
        if let Some(known) = self.known.as_ref().filter(|known| known.epoch == self.epoch)
            && self.comparison.is_next(known.revision)
        {
            return Some(Work::Compare);
        }
        let Batch { extent, mappings, makes } = self.batches.pop_front()?;
        if makes.epoch.is_empty() {
            // The next session may begin before it is in force.
            self.known = None;
        }
        self.applying = Some(makes.clone());
        Some(Work::Apply(extent, mappings, makes))
    }

    /// What is in force has these digests. Gives the parts that the authority is to tell anew.
    pub(super) fn compared(&mut self, own: &[(u64, Digest)]) -> Parts {
        self.comparison.compared(own)
    }

    /// What came of comparing.
    pub(super) fn drift(&self) -> DriftCounts {
        self.comparison.counts
    }

    /// It is in force in every worker.
    pub(super) fn applied(&mut self) {
        if let Some(known) = self.applying.take() {
            self.unsaid = known.epoch == self.epoch;
            self.known = (!known.epoch.is_empty()).then_some(known);
        }
    }

    /// What is to be said to be in force, if anything.
    pub(super) fn say_applied(&mut self, now_ms: u64) -> Option<u64> {
        let known = self.known.as_ref().filter(|_| self.unsaid && now_ms >= self.said_ms + APPLIED_MS)?;
        (self.unsaid, self.said_ms) = (false, now_ms);
        Some(known.revision)
    }
}

/// The last of what is told of each key, in the order of keys.
fn latest(mut mappings: Vec<Told>) -> Vec<Told> {
    mappings.sort_by_key(|told| told.key);
    mappings.dedup_by(|later, earlier| {
        let is_again = later.key == earlier.key;
        if is_again {
            std::mem::swap(later, earlier);
        }
        is_again
    });
    mappings
}
