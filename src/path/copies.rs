//! Frames beyond the one that a received packet becomes: copies for several receivers, and fragments after the first.
//!
//! They lie in bounded memory of the worker, 4 MiB and 4096 frames a burst. The stages fill it, and
//! [`Counters::settle_copies`](super::Counters::settle_copies) sends and counts them. What does not fit is lost and
//! counted. The received packet keeps its one fate: copies are counted apart.

use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use crate::table::PortId;

/// Room for all copies of a burst, in bytes.
const ROOM_BYTES: usize = 4 << 20;
/// Most copies of a burst.
const COPIES: usize = 4096;
/// Headroom before each copy, in bytes, for longer headers.
const HEADROOM: usize = 128;

const REASONS: usize = DropReason::ALL.len();

/// The copies of one burst.
pub struct Copies {
    room: Box<[u8]>,
    used: usize,
    copies: Vec<CopySpan>,
    lost: [u32; REASONS],
    any_lost: bool,
}

/// Where a copy lies in the room, where it goes, and of which packet it was made.
#[derive(Clone, Copy)]
struct CopySpan {
    start: u32,
    end: u32,
    port: PortId,
    /// Index in the burst of the packet that the copy was made of.
    of: u8,
}

/// A copy to be sent.
#[derive(Debug, Clone, Copy)]
pub struct CopiedFrame<'o> {
    /// Index in the burst of the packet that the copy was made of.
    pub of: usize,
    /// Port that the copy leaves through.
    pub port: PortId,
    /// The frame.
    pub frame: &'o [u8],
}

impl Default for Copies {
    fn default() -> Self {
        Copies {
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
            used: 0,
            copies: Vec::with_capacity(COPIES),
            lost: [0; REASONS],
            any_lost: false,
        }
    }
}

impl Copies {
    /// Copies `packet`, the one at index `of` of the burst. `make` turns the copy into the frame to be sent and decides
    /// on it.
    ///
    /// # Errors
    /// [`Self::note`] counts the reason.
    /// * [`DropReason::CopyRoom`] if there is no room for the copy.
    /// * The reason of a copy that `make` drops.
    /// * [`DropReason::NeighbourUnresolved`] if the copy would have to wait for a neighbour: copies do not wait.
    /// * [`DropReason::HoldFull`] if it would have to be held for a VM or task: copies are not.
    /// * [`DropReason::NoRoute`] if `make` decides nothing or punts.
    pub(super) fn copy(
        &mut self,
        packet: &Packet<'_>,
        of: usize,
        make: impl FnOnce(&mut Packet<'_>) -> Verdict,
    ) -> Result<(), DropReason> {
        self.make(packet, of, packet.len(), |copy| {
            copy.frame_mut().copy_from_slice(packet.frame());
            make(copy)
        })
    }

    /// Lets `make` write a frame of at most `bytes` bytes that belongs to `packet`, the one at index `of` of the burst.
    ///
    /// # Errors
    /// `CopyRoom`, `NeighbourUnresolved`, `NoRoute`, or the reason of `make`: see [`Self::copy`].
    pub(super) fn make(
        &mut self,
        packet: &Packet<'_>,
        of: usize,
        bytes: usize,
        make: impl FnOnce(&mut Packet<'_>) -> Verdict,
    ) -> Result<(), DropReason> {
        let end = self.used + HEADROOM + bytes;
        let room = self.room.get_mut(self.used..end).filter(|room| room.len() <= usize::from(u16::MAX));
        let Some(room) = room.filter(|_| self.copies.len() < COPIES) else {
            return Err(DropReason::CopyRoom);
        };
        let length = room.len() as u16;
        let mut copy = Packet::new(room, HEADROOM as u16, length, packet.port);
        copy.l3 = packet.l3;
        match make(&mut copy) {
            Verdict::Forward(port) | Verdict::Reply(port) => {
                let at = |offset: u16| (self.used + usize::from(offset)) as u32;
                let place = CopySpan { start: at(copy.start()), end: at(copy.end()), port, of: of as u8 };
                self.copies.push(place);
                self.used = end;
                Ok(())
            }
            Verdict::Drop(reason) => Err(reason),
            // Copies do not wait for a neighbour.
            Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => Err(DropReason::NeighbourUnresolved),
            Verdict::Hold(_) => Err(DropReason::HoldFull),
            Verdict::Continue | Verdict::Punt => Err(DropReason::NoRoute),
        }
    }

    /// Counts a lost copy; does nothing for a copy that was made.
    pub(super) fn note(&mut self, made: Result<(), DropReason>) {
        if let Err(reason) = made {
            self.lost[reason as usize] += 1;
            self.any_lost = true;
        }
    }

    /// Whether the burst has neither a copy nor a lost one.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty() && !self.any_lost
    }

    /// The copies, in the order in which they were made.
    pub fn copies(&self) -> impl Iterator<Item = CopiedFrame<'_>> {
        self.copies.iter().map(|place| CopiedFrame {
            of: usize::from(place.of),
            port: place.port,
            frame: self.room.get(place.start as usize..place.end as usize).unwrap_or(&[]),
        })
    }

    /// Number of copies of the burst that were lost for this reason.
    #[must_use]
    pub fn lost(&self, reason: DropReason) -> u64 {
        u64::from(self.lost[reason as usize])
    }

    /// Forgets the copies and losses of the burst.
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            self.used = 0;
            self.copies.clear();
            self.lost = [0; REASONS];
            self.any_lost = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_lost_and_counted_and_room_comes_back() {
        let mut copies = Copies::default();
        let mut room = vec![7; 9000];
        let packet = Packet::new(&mut room, 0, 9000, PortId(1));
        for _ in 0..3 {
            let mut tries = 0;
            while copies.lost(DropReason::CopyRoom) == 0 {
                let made = copies.copy(&packet, 3, |_| Verdict::Forward(PortId(2)));
                copies.note(made);
                tries += 1;
            }
            assert_eq!(copies.copies().count(), ROOM_BYTES / (9000 + HEADROOM));
            assert_eq!(copies.copies().count() + 1, tries);
            assert!(copies.copies().all(|c| c.of == 3 && c.port == PortId(2) && c.frame == [7; 9000]));
            copies.clear();
            assert!(copies.is_empty());
        }
    }

    #[test]
    fn a_copy_that_cannot_leave_takes_no_room_and_is_counted_by_its_reason() {
        let mut copies = Copies::default();
        let mut room = vec![7; 100];
        let packet = Packet::new(&mut room, 0, 100, PortId(1));
        let made = [
            copies.copy(&packet, 0, |_| Verdict::Drop(DropReason::LinkDown)),
            copies.copy(&packet, 0, |_| Verdict::AwaitNextHop(crate::table::HopId(1))),
            copies.copy(&packet, 0, |copy| {
                assert!(copy.prepend(4) && copy.frame().len() == 104);
                Verdict::Forward(PortId(0))
            }),
        ];
        made.into_iter().for_each(|made| copies.note(made));
        assert_eq!(copies.lost(DropReason::LinkDown), 1);
        assert_eq!(copies.lost(DropReason::NeighbourUnresolved), 1);
        let lengths: Vec<usize> = copies.copies().map(|copy| copy.frame.len()).collect();
        assert_eq!((lengths, copies.used), (vec![104], HEADROOM + 100));
    }

    #[test]
    fn copies_are_bounded_in_number_too() {
        let mut copies = Copies::default();
        let mut room = vec![7; 20];
        let packet = Packet::new(&mut room, 0, 20, PortId(1));
        for _ in 0..COPIES + 5 {
            let made = copies.copy(&packet, 0, |_| Verdict::Forward(PortId(0)));
            copies.note(made);
        }
        assert_eq!((copies.copies().count(), copies.lost(DropReason::CopyRoom)), (COPIES, 5));
        assert_eq!(copies.copies.capacity(), COPIES);
    }
}
