//! Packets that wait for a neighbour's MAC address (RFC 4861 §7.2.2): at most 256 a worker, in order, until a
//! deadline.

use super::neighbour::Key;
use crate::table::{HopId, PortId};

/// Packets that wait at one worker, at most.
pub const ROOM: usize = 256;

/// Which neighbour a packet waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// The neighbour behind a next hop.
    Hop(HopId),
    /// A neighbour on a connected subnet.
    Neighbour(Key),
}

/// One packet that waits; `P` is the packet itself.
#[derive(Debug)]
pub struct Entry<P> {
    /// The neighbour that it waits for.
    pub awaited: Awaited,
    /// Port that it came from.
    pub port: PortId,
    /// When it is dropped, in milliseconds of the worker's clock.
    pub deadline_ms: u64,
    /// The packet.
    pub packet: P,
}

/// All packets that wait at one worker, oldest first. Never allocates after it was made.
#[derive(Debug)]
pub struct Waiting<P> {
    entries: Vec<Entry<P>>,
    each: usize,
}

impl<P> Waiting<P> {
    /// Room for [`ROOM`] packets, `each` of them for one neighbour.
    #[must_use]
    pub fn new(each: u8) -> Self {
        Waiting { entries: Vec::with_capacity(ROOM), each: usize::from(each) }
    }

    /// Changes how many packets may wait for one neighbour.
    pub fn set_each(&mut self, each: u8) {
        self.each = usize::from(each);
    }

    /// Whether none waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Packets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many packets wait for this neighbour, if there is room for one more. `ahead` others will be added
    /// before it, and `ahead_same` of these wait for the same neighbour.
    #[must_use]
    pub fn room_for(&self, awaited: Awaited, ahead: usize, ahead_same: usize) -> Option<usize> {
        if self.entries.len() + ahead >= ROOM {
            return None;
        }
        let same = self.entries.iter().filter(|entry| entry.awaited == awaited).count() + ahead_same;
        (same < self.each).then_some(same)
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// The list is full: the packet comes back.
    pub fn push(&mut self, entry: Entry<P>) -> Result<(), Entry<P>> {
        if self.entries.len() == ROOM {
            return Err(entry);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Takes out the oldest packet whose deadline has passed.
    pub fn take_expired(&mut self, now_ms: u64) -> Option<Entry<P>> {
        let at = self.entries.iter().position(|entry| entry.deadline_ms <= now_ms)?;
        Some(self.entries.remove(at))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.entries.iter().map(|entry| entry.deadline_ms).min()
    }

    /// Exchanges all packets with those of `other`, so that each can be decided again.
    pub fn swap(&mut self, other: &mut Vec<Entry<P>>) {
        std::mem::swap(&mut self.entries, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hop: u32, deadline_ms: u64) -> Entry<u32> {
        Entry { awaited: Awaited::Hop(HopId(hop)), port: PortId(0), deadline_ms, packet: hop }
    }

    #[test]
    fn room_is_bounded_for_each_neighbour_and_in_all() {
        let mut waiting = Waiting::new(2);
        let awaited = Awaited::Hop(HopId(1));
        assert_eq!(waiting.room_for(awaited, 0, 0), Some(0));
        assert_eq!(waiting.room_for(awaited, 2, 2), None);
        waiting.push(entry(1, 5)).unwrap();
        assert_eq!(waiting.room_for(awaited, 0, 0), Some(1));
        assert_eq!(waiting.room_for(awaited, 1, 1), None);
        for hop in 2..=ROOM as u32 {
            waiting.push(entry(hop, 9)).unwrap();
        }
        assert_eq!(waiting.room_for(Awaited::Hop(HopId(999)), 0, 0), None);
        assert!(waiting.push(entry(1, 5)).is_err());
    }

    #[test]
    fn expiry_takes_those_that_waited_long_enough_oldest_first() {
        let mut waiting = Waiting::new(4);
        for (hop, deadline) in [(1, 30), (2, 10), (3, 20)] {
            waiting.push(entry(hop, deadline)).unwrap();
        }
        assert_eq!(waiting.deadline_ms(), Some(10));
        assert_eq!(waiting.take_expired(20).map(|e| e.packet), Some(2));
        assert_eq!(waiting.take_expired(20).map(|e| e.packet), Some(3));
        assert!(waiting.take_expired(20).is_none());
    }
}
