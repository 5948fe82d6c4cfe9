//! What the fast path decided of a burst: where each packet goes, and the counts of tenants' packets by network.

use crate::path::meta::BURST;
use crate::table::PortId;
use arrayvec::ArrayVec;

/// What the fast path decided of a burst. Packets that it left undecided are for the stages.
pub struct Decided {
    pub(super) ports: [PortId; BURST],
    /// By how many bytes the start of each frame moves; valid if `moved`.
    pub(super) moves: [i8; BURST],
    pub(super) moved: bool,
    pub(super) tally: ArrayVec<Tally, BURST>,
}

/// The counts of consecutive tenants' packets of one network in a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The network's [`crate::table::Network::slot`].
    pub slot: u16,
    /// Packets sent by tenants attached here.
    pub sent: u16,
    /// Packets delivered to tenants attached here.
    pub delivered: u16,
    /// Bytes of the frames sent, as received.
    pub sent_bytes: u32,
    /// Bytes of the frames delivered, as delivered.
    pub delivered_bytes: u32,
}

/// In place of the port of a packet that is left to the stages.
const LEFT: PortId = PortId(u16::MAX);

impl Decided {
    /// Nothing decided.
    pub const NOTHING: Decided =
        Decided { ports: [LEFT; BURST], moves: [0; BURST], moved: false, tally: ArrayVec::new_const() };

    /// Resets it to [`Self::NOTHING`].
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

    /// The port that all of the burst's `packets` packets leave through, if there is one such port. Their starts move
    /// by [`Self::moves`].
    #[inline]
    #[must_use]
    pub fn alike(&self, packets: usize) -> Option<PortId> {
        let ports = self.ports.get(..packets)?;
        let first = *ports.first()?;
        // No early return: the loop compiles to a few vector instructions.
        let differing = ports.iter().fold(0, |all, port| all | (port.0 ^ first.0));
        (differing == 0 && first != LEFT).then_some(first)
    }

    /// The counts of the tenants' packets that were decided.
    #[inline]
    #[must_use]
    pub fn tally(&self) -> &[Tally] {
        &self.tally
    }

    /// By how many bytes the start of each frame moves, in the order of the burst. Empty if no frame moves.
    #[inline]
    #[must_use]
    pub fn moves(&self) -> &[i8] {
        if self.moved { &self.moves } else { &[] }
    }

    /// The port that the packet at `index` leaves through, and by how many bytes its start moves. `None` if it was left
    /// to the stages.
    #[inline]
    pub(in crate::path) fn port(&self, index: usize) -> Option<(PortId, i8)> {
        let port = self.ports.get(index).copied().filter(|port| *port != LEFT)?;
        Some((port, if self.moved { self.moves.get(index).copied().unwrap_or(0) } else { 0 }))
    }
}
