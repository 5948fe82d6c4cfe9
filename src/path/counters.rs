//! Counters by port: what became of the packets.
//!
//! One worker writes them, once per burst. Anyone reads them.

use super::copies::{CopiedFrame, Copies};
use super::count::Count;
use super::meta::{BurstMeta, Moved};
use super::outcome::Outcome;
use super::verdict::{DropReason, Verdict};
use crossbeam_utils::CachePadded;

const REASONS: usize = DropReason::ALL.len();

/// The counters of one worker for the packets received on one port.
///
/// `received = forwarded + replied + punted + dropped + waiting`, where `dropped` is the sum over all reasons.
#[derive(Debug)]
pub struct Counters {
    /// Packets received.
    pub received: Count,
    /// Bytes received, link header included.
    pub received_bytes: Count,
    /// Packets forwarded.
    pub forwarded: Count,
    /// Packets answered by this node, ICMPv6 errors included.
    pub replied: Count,
    /// Packets handed to the control thread.
    pub punted: Count,
    /// Packets that wait at this moment: for a neighbour, or for a VM or task that is about to arrive.
    pub waiting: Count,
    /// Packets dropped without an ICMPv6 error to the sender, by reason.
    pub dropped: [Count; REASONS],
    /// Packets lost whose sender was sent an ICMPv6 error, by reason. They count as replied.
    pub answered: [Count; REASONS],
    /// Packets that were held for a VM or task that is about to arrive.
    pub held: Count,
    /// Packets that left through a tunnel, because their receiver has moved.
    pub tunnelled: Count,
    /// Packets that left with another locator, because their receiver has moved.
    pub retranslated: Count,
    /// Packets that came out of a tunnel and were delivered.
    pub decapsulated: Count,
    /// Frames sent beyond one for each packet: copies and fragments.
    pub copied: Count,
    /// Copies and fragments that were lost, by reason.
    pub copies_lost: [Count; REASONS],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            received: Count::default(),
            received_bytes: Count::default(),
            forwarded: Count::default(),
            replied: Count::default(),
            punted: Count::default(),
            waiting: Count::default(),
            dropped: [const { Count::new() }; REASONS],
            answered: [const { Count::new() }; REASONS],
            held: Count::default(),
            tunnelled: Count::default(),
            retranslated: Count::default(),
            decapsulated: Count::default(),
            copied: Count::default(),
            copies_lost: [const { Count::new() }; REASONS],
        }
    }
}

impl Counters {
    /// The counters of one worker, one for each of `ports` ports.
    #[must_use]
    pub fn per_port(ports: usize) -> Vec<CachePadded<Counters>> {
        (0..ports).map(|_| CachePadded::default()).collect()
    }

    /// Counts received packets and their bytes.
    #[inline]
    pub fn receive(&self, packets: u64, bytes: u64) {
        self.received.add(packets);
        self.received_bytes.add(bytes);
    }

    /// Counts the fates of packets that were all received on this port, after the last decision on them.
    #[inline]
    pub fn settle(&self, outcomes: &[Outcome], metas: &BurstMeta) {
        let forwarded =
            outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Forward(_))).count();
        self.forwarded.add(forwarded as u64);
        if forwarded != outcomes.len() {
            self.settle_others(outcomes, metas);
        }
    }

    #[inline(never)]
    fn settle_others(&self, outcomes: &[Outcome], metas: &BurstMeta) {
        let mut replied = 0;
        for (outcome, meta) in outcomes.iter().zip(metas) {
            match outcome.verdict {
                Verdict::Forward(_) => {}
                Verdict::Reply(_) => {
                    replied += 1;
                    if let Some(reason) = meta.answered {
                        self.answered[reason as usize].add(1);
                    }
                }
                Verdict::Punt => self.punted.add(1),
                Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => self.waiting.add(1),
                Verdict::Hold(_) => {
                    self.waiting.add(1);
                    self.held.add(1);
                }
                Verdict::Drop(reason) => self.dropped[reason as usize].add(1),
                Verdict::Continue => self.dropped[DropReason::NoRoute as usize].add(1),
            }
        }
        self.replied.add(replied);
    }

    /// Counts what was done with packets because their receivers move.
    pub fn settle_moved(&self, outcomes: &[Outcome], metas: &BurstMeta) {
        for (_, meta) in outcomes.iter().zip(metas) {
            match meta.moved {
                None => {}
                Some(Moved::Tunnelled) => self.tunnelled.add(1),
                Some(Moved::Retranslated) => self.retranslated.add(1),
                Some(Moved::Decapsulated) => self.decapsulated.add(1),
            }
        }
    }

    /// Counts the copies made of packets that were received on this port. `send` sends one and says whether it could.
    #[cold]
    pub fn settle_copies(&self, copies: &Copies, mut send: impl FnMut(&CopiedFrame<'_>) -> bool) {
        for copy in copies.copies() {
            if send(&copy) {
                self.copied.add(1);
            } else {
                self.copies_lost[DropReason::CopyRoom as usize].add(1);
            }
        }
        for reason in DropReason::ALL {
            self.copies_lost[*reason as usize].add(copies.lost(*reason));
        }
    }

    /// Packets dropped without an ICMPv6 error to the sender, over all reasons.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Count::value).sum()
    }

    /// Copies and fragments lost, over all reasons.
    #[must_use]
    pub fn copies_lost_total(&self) -> u64 {
        self.copies_lost.iter().map(Count::value).sum()
    }
}
