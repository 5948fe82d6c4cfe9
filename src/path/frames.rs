//! What the pipeline gets and returns: a burst of frames, whoever owns their buffers, and the outcome of each.

use super::outcome::Outcome;
use super::packet::Packet;
use crate::table::PortId;

/// A burst of frames in buffers, at most [`BURST`](super::BURST) of them.
pub trait Frames {
    /// Number of frames.
    fn count(&self) -> usize;

    /// The port that received all frames. `None` if there are several ports or no frames.
    fn port(&self) -> Option<PortId>;

    /// Each frame from its Ethernet header on, with `FRONT` bytes of its headroom before it. A frame with less headroom
    /// is empty.
    fn frames<const FRONT: usize>(&mut self) -> impl Iterator<Item = &mut [u8]>;

    /// Views over the whole buffers, in the same order.
    fn packets(&mut self) -> impl Iterator<Item = Packet<'_>>;
}

/// The decision on a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The fast path decided all packets: every one leaves through this port, its start moved by
    /// [`super::Pipeline::moves`].
    SamePort(PortId),
    /// Each packet has an outcome of its own, in the caller's [`Outcomes`](super::Outcomes).
    Each,
}

/// The fates of the packets of a burst, after the last decision on them.
#[derive(Debug, Clone, Copy)]
pub enum Fates<'o> {
    /// All packets were forwarded: this many.
    AllForwarded(usize),
    /// One outcome for each packet.
    Each(&'o [Outcome]),
}

/// How the packets of a burst came to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A port received them.
    Received {
        /// Number of packets.
        packets: usize,
        /// Their bytes, link headers included.
        bytes: u64,
    },
    /// They waited for a next hop or a neighbour. They were counted as received before.
    Retried {
        /// Number of packets.
        packets: usize,
    },
}

/// A burst of packets in the caller's memory.
pub struct Lent<'p, 'b>(pub &'p mut [Packet<'b>]);

impl Frames for Lent<'_, '_> {
    #[inline(always)]
    fn count(&self) -> usize {
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

    #[inline(always)]
    fn packets(&mut self) -> impl Iterator<Item = Packet<'_>> {
        self.0.iter_mut().map(Packet::reborrow)
    }
}
