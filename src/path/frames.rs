//! What the pipeline is given and what it gives back: a burst of frames, whoever owns their buffers, and what became of
//! each.

use super::meta::BURST;
use super::packet::Packet;
use super::verdict::Verdict;
use crate::table::PortId;
use arrayvec::ArrayVec;

/// A burst of frames in buffers, at most [`BURST`] of them.
pub trait Frames {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The port that they came in at; `None` if there are several, or no frames.
    fn port(&self) -> Option<PortId>;

    /// Each frame from its Ethernet header on, behind `FRONT` bytes of its headroom; nothing in place of a frame with
    /// less headroom.
    fn frames<const FRONT: usize>(&mut self) -> impl Iterator<Item = &mut [u8]>;

    /// Views over the whole buffers, in the same order.
    fn packets(&mut self) -> ArrayVec<Packet<'_>, BURST>;
}

/// What became of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub verdict: Verdict,
    /// Where the frame starts in its buffer, in bytes.
    pub start: u16,
    /// Where it ends.
    pub end: u16,
}

impl Outcome {
    /// Length of the frame in bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.end.saturating_sub(self.start))
    }
}

impl From<&Packet<'_>> for Outcome {
    #[inline]
    fn from(packet: &Packet<'_>) -> Outcome {
        Outcome { verdict: packet.verdict, start: packet.start(), end: packet.end() }
    }
}

/// What the pipeline made of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The fast path decided all of it: every packet leaves through this port, its start moved by
    /// [`super::Pipeline::moves`].
    SamePort(PortId),
    /// See [`super::Pipeline::outcomes`].
    Each,
}

/// What became of the packets of a burst, after the last decision on them.
#[derive(Debug, Clone, Copy)]
pub enum Fates<'o> {
    /// So many were forwarded.
    AllForwarded(usize),
    /// One each.
    Each(&'o [Outcome]),
}

/// How the packets of a burst came to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// From a port, with so many bytes in all, link headers included.
    Received {
        /// How many.
        packets: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// They waited for a next hop or a neighbour, and are counted as received already.
    Retried {
        /// How many.
        packets: usize,
    },
}

/// Packets in memory of the caller's, as a burst of frames.
pub struct Lent<'p, 'b>(pub &'p mut [Packet<'b>]);

impl Frames for Lent<'_, '_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn port(&self) -> Option<PortId> {
        let port = self.0.first()?.port;
        self.0.iter().all(|packet| packet.port == port).then_some(port)
    }

    #[inline(always)]
    fn frames<const FRONT: usize>(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.0
            .iter_mut()
            .map(|packet| if FRONT == 0 { packet.frame_mut() } else { packet.frame_behind(FRONT) })
    }

    fn packets(&mut self) -> ArrayVec<Packet<'_>, BURST> {
        self.0.iter_mut().take(BURST).map(Packet::reborrow).collect()
    }
}
