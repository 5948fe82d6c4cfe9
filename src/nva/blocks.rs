//! Blocks of identifiers as an NVE leases them: one in each SIR domain in which it makes identifiers of tasks.
//!
//! A lease counts from when the NVE asked for it, by its own clock, and is renewed long before it ends. Without a session
//! the NVE goes on until it ends.

use super::message::Up;
use crate::ila::generate::Registrar;
use std::collections::BTreeMap;

/// Pause before a block that was refused is asked for again: what may pass soon, and what an operator has to change.
const AGAIN_MS: (u64, u64) = (1_000, 30_000);

/// A block that the NVE may make identifiers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBlock {
    /// Upper 64 bits of the SIR addresses.
    pub sir_prefix: u64,
    /// Which one.
    pub block: Registrar,
    /// The highest identifier of it that the authority knew; 0: none.
    pub reached: u64,
    /// By the clock of the client.
    pub until_ms: u64,
}

/// The lease in one domain.
#[derive(Debug, Default)]
struct Lease {
    /// The request under way, and when it was sent.
    asked: Option<(u64, u64)>,
    /// Whether it was answered in this session, by yes or no.
    answered: bool,
    due_ms: u64,
    own: Option<OwnBlock>,
    /// Why there is none.
    why: Option<String>,
}

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// By SIR prefix.
    leases: BTreeMap<u64, Lease>,
    /// Whether this session has an authority that leases blocks.
    is_spoken: bool,
    changed: bool,
}

impl Blocks {
    /// It wants a block in each of these domains.
    pub(super) fn new(sir_prefixes: impl IntoIterator<Item = u64>) -> Self {
        let leases = sir_prefixes.into_iter().map(|sir_prefix| (sir_prefix, Lease::default())).collect();
        Blocks { leases, ..Blocks::default() }
    }

    /// A session begins. Gives whether the operator must be told that there will be no blocks.
    pub(super) fn begin(&mut self, is_spoken: bool, now_ms: u64) -> bool {
        self.is_spoken = is_spoken;
        for lease in self.leases.values_mut() {
            (lease.asked, lease.answered, lease.due_ms) = (None, false, now_ms);
        }
        !is_spoken && !self.leases.is_empty()
    }

    /// Whether everything was answered in this session: what was not asked for before Complete is taken back.
    pub(super) fn is_answered(&self) -> bool {
        !self.is_spoken || self.leases.values().all(|lease| lease.answered)
    }

    /// What is to be asked for now. `next_id` gives numbers of requests.
    pub(super) fn ask(&mut self, now_ms: u64, mut next_id: impl FnMut() -> u64) -> Vec<Up> {
        let is_spoken = self.is_spoken;
        let due = |lease: &Lease| is_spoken && lease.asked.is_none() && now_ms >= lease.due_ms;
        let due = self.leases.iter_mut().filter(|(_, lease)| due(lease));
        due.map(|(sir_prefix, lease)| {
            let id = next_id();
            lease.asked = Some((id, now_ms));
            Up::LeaseBlock { id, sir_prefix: *sir_prefix, had: lease.own.map(|own| own.block) }
        })
        .collect()
    }

    /// The authority leases a block.
    pub(super) fn leased(
        &mut self,
        answered: u64,
        (block, reached, lease_ms): (Registrar, u64, u64),
        now_ms: u64,
    ) {
        let asked = |lease: &Lease| lease.asked.filter(|(id, _)| *id == answered);
        let found = self.leases.iter_mut().find_map(|(sir, lease)| Some((*sir, asked(lease)?.1, lease)));
        let Some((sir_prefix, asked_ms, lease)) = found else { return };
        let until_ms = asked_ms.saturating_add(lease_ms);
        (lease.asked, lease.answered, lease.why) = (None, true, None);
        lease.due_ms = now_ms.max(asked_ms + lease_ms / 3);
        lease.own = Some(OwnBlock { sir_prefix, block, reached, until_ms });
        self.changed = true;
    }

    /// The authority refuses a request. Gives whether it was one for a block, and is refused for another reason than before.
    pub(super) fn refused(&mut self, answered: u64, why: &str, temporary: bool, now_ms: u64) -> bool {
        let asked = |lease: &&mut Lease| lease.asked.is_some_and(|(id, _)| id == answered);
        let Some(lease) = self.leases.values_mut().find(asked) else { return false };
        let pause_ms = if temporary { AGAIN_MS.0 } else { AGAIN_MS.1 };
        (lease.asked, lease.answered, lease.due_ms) = (None, true, now_ms + pause_ms);
        // What it has it may use to the end of its time.
        lease.why.replace(why.to_owned()).is_none_or(|before| before != why)
    }

    /// Time has passed: a lease may be over.
    pub(super) fn expire(&mut self, now_ms: u64) {
        for lease in self.leases.values_mut() {
            // The number stays known: it is asked for again.
            if lease.own.is_some_and(|own| now_ms >= own.until_ms && own.until_ms > 0) {
                lease.own.iter_mut().for_each(|own| own.until_ms = 0);
                self.changed = true;
            }
        }
    }

    /// The blocks that it may use, if others than before.
    pub(super) fn take_changed(&mut self) -> Option<Vec<OwnBlock>> {
        let own = self.leases.values().filter_map(|lease| lease.own).filter(|own| own.until_ms > 0);
        std::mem::take(&mut self.changed).then(|| own.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32) -> Registrar {
        Registrar::new(number).unwrap()
    }

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for_and_is_renewed_long_before_it_ends() {
        let mut blocks = Blocks::new([7]);
        assert!(!blocks.begin(true, 100) && !blocks.is_answered());
        assert_eq!(blocks.ask(100, || 1), [Up::LeaseBlock { id: 1, sir_prefix: 7, had: None }]);
        assert!(blocks.ask(100, || 2).is_empty());
        blocks.leased(1, (block(5), 0, 3_000), 600);
        let own = OwnBlock { sir_prefix: 7, block: block(5), reached: 0, until_ms: 3_100 };
        assert_eq!(
            (blocks.take_changed(), blocks.take_changed(), blocks.is_answered()),
            (Some(vec![own]), None, true)
        );
        assert!(blocks.ask(1_099, || 2).is_empty());
        assert_eq!(blocks.ask(1_100, || 2), [Up::LeaseBlock { id: 2, sir_prefix: 7, had: Some(block(5)) }]);
        // The answer is lost with the session; the lease goes on to its end.
        blocks.begin(false, 1_200);
        blocks.expire(3_099);
        assert!(blocks.take_changed().is_none() && blocks.ask(2_000, || 3).is_empty());
        blocks.expire(3_100);
        assert_eq!(blocks.take_changed(), Some(Vec::new()));
        // The next one asks for the same.
        blocks.begin(true, 4_000);
        assert_eq!(blocks.ask(4_000, || 4), [Up::LeaseBlock { id: 4, sir_prefix: 7, had: Some(block(5)) }]);
    }

    #[test]
    fn a_refusal_is_told_once_for_each_reason_and_asked_again() {
        let mut blocks = Blocks::new([7]);
        blocks.begin(true, 0);
        let _ = blocks.ask(0, || 1);
        assert!(!blocks.refused(9, "no", false, 0));
        assert!(blocks.refused(1, "no", false, 0) && blocks.is_answered());
        assert!(blocks.ask(29_999, || 2).is_empty());
        let _ = blocks.ask(30_000, || 2);
        assert!(!blocks.refused(2, "no", true, 30_000));
        let _ = blocks.ask(31_000, || 3);
        assert!(blocks.refused(3, "another", true, 31_000));
    }

    #[test]
    fn an_authority_of_an_earlier_release_is_told_of_once_a_session_if_blocks_are_wanted() {
        assert!(Blocks::new([7]).begin(false, 0));
        assert!(!Blocks::new([]).begin(false, 0));
    }
}
