//! What the fast path made of a burst: where each packet goes, and what tenants' packets count for their networks.

use crate::path::meta::BURST;
use crate::table::PortId;
use arrayvec::ArrayVec;

/// What the direct way made of a burst.
pub struct Decided {
    pub(super) ports: [PortId; BURST],
    /// How far the frames' starts move, if any does.
    pub(super) moves: [i8; BURST],
    pub(super) moved: bool,
    pub(super) tally: ArrayVec<Tally, BURST>,
}

/// What tenants' packets of one network, one after the other in a burst, count for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// As [`crate::table::Network::slot`].
    pub slot: u16,
    /// Packets that tenants here sent, and the bytes of their frames as they sent them.
    pub sent: u16,
    /// Packets that tenants here get, and the bytes of their frames as they get them.
    pub delivered: u16,
    /// See `sent`.
    pub sent_bytes: u32,
    /// See `delivered`.
    pub delivered_bytes: u32,
}

/// Stands for the port of a packet that is left to the stages.
const LEFT: PortId = PortId(u16::MAX);

impl Decided {
    /// Nothing decided.
    pub const NOTHING: Decided =
        Decided { ports: [LEFT; BURST], moves: [0; BURST], moved: false, tally: ArrayVec::new_const() };

    /// Makes it nothing again.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.ports = [LEFT; BURST];
        (self.moves, self.moved) = ([0; BURST], false);
        self.tally.clear();
    }

    /// Notes the port that the packet at `index` leaves through, if it is known.
    #[inline(always)]
    pub(super) fn note(&mut self, index: u8, port: Option<PortId>) {
        if let Some(port) = port {
            self.ports[usize::from(index) % BURST] = port;
        }
    }

    /// The port that all packets of a burst of so many are to be sent through, their starts moved by [`Self::moves`].
    #[inline]
    #[must_use]
    pub fn alike(&self, packets: usize) -> Option<PortId> {
        let ports = self.ports.get(..packets)?;
        let first = *ports.first()?;
        // No early end: these are a few instructions on whole vectors.
        let differing = ports.iter().fold(0, |all, port| all | (port.0 ^ first.0));
        (differing == 0 && first != LEFT).then_some(first)
    }

    /// Of the tenants' packets that were decided.
    #[inline]
    #[must_use]
    pub fn tally(&self) -> &[Tally] {
        &self.tally
    }

    /// How far the starts of the frames move, by their places in the burst; nothing where none does.
    #[inline]
    #[must_use]
    pub fn moves(&self) -> &[i8] {
        if self.moved { &self.moves } else { &[] }
    }

    /// The port that the packet at `index` is to be sent through, if it was decided, and how far its start moved.
    #[inline]
    pub(in crate::path) fn port(&self, index: usize) -> Option<(PortId, i8)> {
        let port = self.ports.get(index).copied().filter(|port| *port != LEFT)?;
        Some((port, if self.moved { self.moves.get(index).copied().unwrap_or(0) } else { 0 }))
    }
}
