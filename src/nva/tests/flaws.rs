//! Flaws that the world must notice. Each is made beside the cores, out of what goes in and comes out of them.

use super::world::live;
use super::*;
use crate::nva::authority::Authority;
use crate::nva::message::{Down, Encoded, Up};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// An NVE forgets what it has when a snapshot begins.
    SweepBeforeSnapshotEnd,
    /// An NVE says that it has in force what it received.
    AppliedOnReceipt,
    /// A commit that failed is taken for one that did not.
    BlindSuccess,
    /// Creating overwrites.
    CreateOverwrites,
    /// Transactions are told before the snapshot is whole.
    DeltaBeforeSnapshotEnd,
    /// A session is resumed whatever its epoch.
    ResumeOfAnotherEpoch,
    /// A session is resumed from where the authority is.
    ResumeTooFar,
    /// A part of a transaction is told.
    PartOfATransaction,
    /// A snapshot is not followed by what changed while it was told.
    PagesOnly,
    /// Who asked for an identifier is not told what becomes of it.
    AskedAndForgotten,
    /// What was deleted begins with a low sequence when it comes again.
    DeletedBeginsAnew,
    /// A restored registry waits for nobody.
    RestoredAndOpen,
}

/// A rule of authorities that share a store, which is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SharedFlaw {
    /// The store takes every offer, whatever it follows.
    NoCompare,
    /// What was not answered is offered again, after what came meanwhile.
    BlindRetry,
    /// What was not answered is taken for durable.
    UnknownIsSuccess,
    /// An answer is given by what an authority knew last.
    StaleAnswers,
    /// An NVE that opened a session at one authority is still heard at another one.
    OldSessionsGoOn,
}

impl Flaw {
    /// What becomes of a message to the authority.
    pub(super) fn up(self, authority: &mut Authority, epoch: u8, nve: &str, up: &mut Up) {
        match (self, up) {
            (Flaw::CreateOverwrites, Up::Register { key, .. }) => authority.registry_mut().give(*key, nve),
            (Flaw::ResumeOfAnotherEpoch, Up::Subscribe(Some(known), _)) if known.epoch != [epoch] => {
                (known.epoch, known.revision) = (vec![epoch], authority.registry().revision());
            }
            (Flaw::ResumeTooFar, Up::Subscribe(Some(known), _)) => {
                known.revision = authority.registry().revision();
            }
            _ => {}
        }
    }

    /// What becomes of a message to an NVE with this table.
    pub(super) fn down(
        self,
        table: &mut BTreeMap<Key, Vec<Choice>>,
        deleted: &BTreeSet<Key>,
        down: &mut Down,
        is_caching: bool,
    ) {
        match (self, down) {
            (Flaw::DeletedBeginsAnew, Down::Delta(_, mappings)) => {
                mappings.iter_mut().filter(|told| deleted.contains(&told.key)).for_each(|it| it.sequence = 1);
            }
            (Flaw::SweepBeforeSnapshotEnd, Down::Resync(_)) => table.clear(),
            (Flaw::AskedAndForgotten, Down::Delta(_, mappings)) if is_caching => mappings.clear(),
            (Flaw::PartOfATransaction, Down::Delta(_, mappings)) => mappings.truncate(1),
            // A page of the registry is in the order of keys and shows no released identifiers.
            (Flaw::PagesOnly, Down::Page(page)) if page.iter().any(|told| told.choices.is_empty()) => {
                page.clear()
            }
            _ => {}
        }
    }
}

/// Puts a message behind those that are on their way.
pub(super) fn queue(flaw: Option<Flaw>, way: &mut VecDeque<Down<Encoded>>, down: Down<Encoded>) {
    let is_early = flaw == Some(Flaw::DeltaBeforeSnapshotEnd) && matches!(down, Down::Delta(..));
    let at = way.len() - usize::from(is_early && matches!(way.back(), Some(Down::SnapshotEnd(_))));
    way.insert(at, down);
}

#[test]
fn each_flaw_is_found_within_a_hundred_seeds() {
    for flaw in [
        Flaw::SweepBeforeSnapshotEnd,
        Flaw::AppliedOnReceipt,
        Flaw::BlindSuccess,
        Flaw::CreateOverwrites,
        Flaw::DeltaBeforeSnapshotEnd,
        Flaw::ResumeOfAnotherEpoch,
        Flaw::ResumeTooFar,
        Flaw::PartOfATransaction,
        Flaw::PagesOnly,
        Flaw::AskedAndForgotten,
        Flaw::DeletedBeginsAnew,
        Flaw::RestoredAndOpen,
    ] {
        let found = (0..100).find(|seed| std::panic::catch_unwind(|| live(*seed, Some(flaw))).is_err());
        println!("{flaw:?} is found by seed {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found");
    }
}

#[test]
fn each_flaw_of_a_shared_store_is_found_within_a_hundred_seeds() {
    for flaw in [
        SharedFlaw::NoCompare,
        SharedFlaw::BlindRetry,
        SharedFlaw::UnknownIsSuccess,
        SharedFlaw::StaleAnswers,
        SharedFlaw::OldSessionsGoOn,
    ] {
        let live = |seed| std::panic::catch_unwind(|| super::cluster::live(seed, Some(flaw)));
        let found = (0..100).find(|seed| live(*seed).is_err());
        println!("{flaw:?} is found by seed {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found");
    }
}
