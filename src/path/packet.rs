//! One packet: a window into one buffer, its receive port and its verdict.
//!
//! The window never leaves the buffer. Bounds that do not fit are cut, and changes that do not fit are refused.

use super::outcome::Outcome;
use super::verdict::Verdict;
use crate::net::ethernet;
use crate::siit::Refused;
use crate::table::PortId;
use std::ops::Range;

/// One frame in a buffer with headroom before it and tailroom after it.
///
/// `start <= end <= room.len()` always holds. Only this file changes the two.
pub struct Packet<'b> {
    room: &'b mut [u8],
    start: u16,
    end: u16,
    /// Port that received the frame.
    pub port: PortId,
    /// Length of the link header in bytes, 14 or 18. Stage `parse` sets it.
    pub l3: u8,
    /// Whether the packet passed the source checks before: it waited for a neighbour and is decided again. A tenant's
    /// IPv4 packet waits as it came, and an ICMP error in IPv4 in the form that admission gave it.
    pub admitted: bool,
    /// The decision on the packet.
    pub verdict: Verdict,
}

impl<'b> Packet<'b> {
    /// The frame `room[start..end]`, received on `port`. Bounds beyond the room are cut to it.
    #[inline]
    #[must_use]
    pub fn new(room: &'b mut [u8], start: u16, end: u16, port: PortId) -> Self {
        let limit = room.len().min(usize::from(u16::MAX)) as u16;
        let end = end.min(limit);
        Packet { room, start: start.min(end), end, port, l3: 0, admitted: false, verdict: Verdict::Continue }
    }

    /// Like [`Self::new`], for a caller that has checked `start <= end <= room.len()`. With other bounds the frame
    /// reads as empty.
    #[inline(always)]
    #[must_use]
    pub fn within(room: &'b mut [u8], start: u16, end: u16, port: PortId) -> Self {
        debug_assert!(start <= end && usize::from(end) <= room.len());
        Packet { room, start, end, port, l3: 0, admitted: false, verdict: Verdict::Continue }
    }

    /// Start of the frame in its buffer, in bytes.
    #[inline]
    #[must_use]
    pub fn start(&self) -> u16 {
        self.start
    }

    /// End of the frame in its buffer, in bytes.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u16 {
        self.end
    }

    /// Length of the frame in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether the frame has no bytes.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The same packet as a view with a shorter lifetime.
    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> Packet<'_> {
        let Packet { start, end, port, l3, admitted, verdict, .. } = *self;
        Packet { room: &mut *self.room, start, end, port, l3, admitted, verdict }
    }

    /// Takes over bounds and verdict of a view of this packet.
    pub(super) fn take_over(&mut self, outcome: &Outcome) {
        let limit = self.room.len().min(usize::from(u16::MAX)) as u16;
        self.end = outcome.end.min(limit);
        self.start = outcome.start.min(self.end);
        self.verdict = outcome.verdict;
    }

    /// The frame, from its Ethernet header on.
    #[inline]
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.room.get(usize::from(self.start)..usize::from(self.end)).unwrap_or(&[])
    }

    /// The frame, to be changed in place.
    #[inline]
    #[must_use]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(usize::from(self.start)..usize::from(self.end)).unwrap_or(&mut [])
    }

    /// The frame with `front` bytes of its headroom before it. Empty if the headroom is smaller.
    #[inline]
    #[must_use]
    pub fn frame_behind(&mut self, front: usize) -> &mut [u8] {
        let start = usize::from(self.start).checked_sub(front);
        let end = usize::from(self.end);
        start.and_then(|start| self.room.get_mut(start..end)).unwrap_or(&mut [])
    }

    /// Moves the frame's start by `by` bytes. The fast path has checked that the room is there.
    #[inline]
    pub(super) fn move_start(&mut self, by: i8) {
        self.start = self.start.saturating_add_signed(i16::from(by)).min(self.end);
    }

    /// The packet from its network header on.
    #[inline]
    #[must_use]
    pub fn l3(&self) -> &[u8] {
        self.frame().get(usize::from(self.l3)..).unwrap_or(&[])
    }

    /// The packet from its network header on, to be changed in place.
    #[inline]
    #[must_use]
    pub fn l3_mut(&mut self) -> &mut [u8] {
        let l3 = usize::from(self.l3);
        self.frame_mut().get_mut(l3..).unwrap_or(&mut [])
    }

    /// Extends the frame by `bytes` bytes at its front. Returns `false`, and changes nothing, if the headroom is too
    /// small.
    #[must_use]
    pub fn prepend(&mut self, bytes: u16) -> bool {
        match self.start.checked_sub(bytes) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    /// Removes `bytes` bytes from the front of the frame. Returns `false`, and changes nothing, if the frame is
    /// shorter.
    #[must_use]
    pub fn strip(&mut self, bytes: u16) -> bool {
        let fits = usize::from(bytes) <= self.len();
        if fits {
            self.start += bytes;
        }
        fits
    }

    /// Sets the length of the frame to `bytes`, at its end. Returns `false`, and changes nothing, if the buffer is too
    /// small.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        let end = usize::from(self.start) + bytes;
        let fits = end <= self.room.len() && end <= usize::from(u16::MAX);
        if fits {
            self.end = end as u16;
        }
        fits
    }

    /// Writes the ethertype, the last two bytes of the link header.
    pub(super) fn set_ethertype(&mut self, ethertype: u16) {
        let at = usize::from(self.l3);
        if let Some(bytes) = at.checked_sub(2).and_then(|from| self.frame_mut().get_mut(from..at)) {
            bytes.copy_from_slice(&ethertype.to_be_bytes());
        }
    }

    /// Lets `change` rewrite the packet behind the link header. `change` gets a buffer and the range of the packet in
    /// it, and returns the range of the result. The link header moves to the front of the result.
    ///
    /// # Errors
    /// * [`Refused::Truncated`] if the frame is shorter than its link header.
    /// * Every error of `change`, which then changed nothing. `siit` returns [`Refused::Headroom`] if the result has no
    ///   room.
    pub fn reshape(
        &mut self,
        change: impl FnOnce(&mut [u8], Range<usize>) -> Result<Range<usize>, Refused>,
    ) -> Result<(), Refused> {
        let link = usize::from(self.l3);
        let mut header = [0; ethernet::TAGGED_HEADER];
        let header = header.get_mut(..link).ok_or(Refused::Truncated)?;
        header.copy_from_slice(self.frame().get(..link).ok_or(Refused::Truncated)?);
        // `change` sees the buffer without its first `link` bytes. So its result always leaves room for the link
        // header.
        let room = self.room.get_mut(link..).ok_or(Refused::Truncated)?;
        let after = change(room, usize::from(self.start)..usize::from(self.end) - link)?;
        self.start = after.start as u16;
        self.end = (after.end + link) as u16;
        if let Some(front) = self.frame_mut().get_mut(..link) {
            front.copy_from_slice(header);
        }
        Ok(())
    }

    /// Replaces the link header by `header`, which may be longer or shorter. Returns `false`, and changes nothing, if
    /// the headroom is too small.
    #[must_use]
    pub fn relink(&mut self, header: &[u8]) -> bool {
        let (old, new) = (self.l3 as u16, header.len() as u16);
        let moved = if new > old { self.prepend(new - old) } else { self.strip(old - new) };
        if moved {
            self.l3 = new as u8;
            self.frame_mut()[..header.len()].copy_from_slice(header);
        }
        moved
    }
}

impl From<&Packet<'_>> for Outcome {
    #[inline]
    fn from(packet: &Packet<'_>) -> Outcome {
        Outcome { verdict: packet.verdict, start: packet.start(), end: packet.end() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_never_leaves_the_buffer() {
        let mut room = vec![0u8; 64];
        let mut packet = Packet::new(&mut room, 16, 32, PortId(0));
        assert!(!packet.prepend(17) && packet.prepend(16) && packet.len() == 32 && !packet.is_empty());
        assert!(!packet.strip(33) && packet.strip(32) && packet.is_empty());
        assert!(packet.resize(32) && !packet.resize(33));
        assert_eq!(Packet::new(&mut room, 60, 90, PortId(0)).len(), 4);
        assert_eq!(Packet::new(&mut room, 90, 70, PortId(0)).len(), 0);
    }

    #[test]
    fn relink_keeps_the_network_layer_in_place() {
        let mut room: Vec<u8> = (0..64).collect();
        let mut packet = Packet::new(&mut room, 16, 48, PortId(0));
        packet.l3 = 14;
        assert!(packet.relink(&[0xaa; 18]));
        assert_eq!((packet.len(), packet.l3()[0]), (36, 30));
        assert!(packet.relink(&[0xbb; 14]));
        assert_eq!((packet.len(), packet.l3()[0], packet.frame()[0]), (32, 30, 0xbb));
    }
}
