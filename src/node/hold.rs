//! Packets that are held for VMs and tasks that are about to arrive (VMM draft §5): in order, bounded for each and for
//! all of a worker, until a deadline.
//!
//! They are not those that wait for a neighbour ([`super::waiting`]): they may be many, and all of one queue go at once.

use crate::table::{HoldId, PortId};
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};

/// Bytes held at one worker, at most.
pub const WORKER_BYTES: usize = 16 << 20;

/// Packets that one of `workers` workers may hold: its share of a tenth of the buffers.
#[must_use]
pub fn room(mbufs: u32, workers: usize) -> usize {
    mbufs as usize / 10 / workers.max(1)
}

/// What may be held for one VM or task at one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLimits {
    /// Packets.
    pub packets: u32,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u32,
    /// How long each is held, in milliseconds.
    pub hold_ms: u64,
}

/// One packet that is held; `P` is the packet itself.
#[derive(Debug)]
pub struct Held<P> {
    /// Its queue.
    pub queue: HoldId,
    /// Port that it came from.
    pub port: PortId,
    /// When it is dropped, in milliseconds of the worker's clock.
    pub deadline_ms: u64,
    /// Its length, from the Ethernet header on.
    pub bytes: u32,
    /// The packet.
    pub packet: P,
}

/// All packets that are held at one worker, oldest first. Never allocates after it was made.
#[derive(Debug)]
pub struct Hold<P> {
    entries: VecDeque<Held<P>>,
    /// Packets and bytes of each queue. The node chooses the keys.
    queues: HashMap<HoldId, (u32, u32), FixedState>,
    bytes: usize,
    room: usize,
    limits: HoldLimits,
}

impl<P> Hold<P> {
    /// Room for `room` packets in all.
    #[must_use]
    pub fn new(room: usize, limits: HoldLimits) -> Self {
        Hold {
            entries: VecDeque::with_capacity(room),
            // Twice the room, so that queues that come and go move none of the others to larger memory.
            queues: HashMap::with_capacity_and_hasher(room * 2, FixedState::default()),
            bytes: 0,
            room,
            limits,
        }
    }

    /// Changes what may be held for one VM or task. What is held already stays.
    pub fn set_limits(&mut self, limits: HoldLimits) {
        self.limits = limits;
    }

    /// The deadline of a packet that is held from now on.
    #[must_use]
    pub fn deadline_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.limits.hold_ms)
    }

    /// Whether none is held.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Packets that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a packet behind all others.
    ///
    /// # Errors
    /// The packet comes back: its queue or the worker holds as much as it may.
    pub fn push(&mut self, held: Held<P>) -> Result<(), P> {
        let (packets, bytes) = self.queues.get(&held.queue).copied().unwrap_or_default();
        let full = packets >= self.limits.packets
            || bytes.saturating_add(held.bytes) > self.limits.bytes
            || self.entries.len() >= self.room
            || self.bytes + held.bytes as usize > WORKER_BYTES;
        if full {
            return Err(held.packet);
        }
        self.queues.insert(held.queue, (packets + 1, bytes + held.bytes));
        self.bytes += held.bytes as usize;
        self.entries.push_back(held);
        Ok(())
    }

    /// Takes out the oldest packet if its deadline has passed. Deadlines of packets that were held one after the other
    /// follow each other.
    pub fn take_expired(&mut self, now_ms: u64) -> Option<Held<P>> {
        self.entries.front().filter(|held| held.deadline_ms <= now_ms)?;
        let held = self.entries.pop_front()?;
        self.count_out(&held);
        Some(held)
    }

    /// Takes out the oldest packet of a queue that is not to be held any more, as `holds` says. All before it stay, in
    /// their order; `from` is where the search begins, and where the next one does.
    pub fn take_released(&mut self, from: &mut usize, holds: impl Fn(HoldId) -> bool) -> Option<Held<P>> {
        let at = self.entries.iter().skip(*from).position(|held| !holds(held.queue))?;
        *from += at;
        let held = self.entries.remove(*from)?;
        self.count_out(&held);
        Some(held)
    }

    fn count_out(&mut self, held: &Held<P>) {
        self.bytes = self.bytes.saturating_sub(held.bytes as usize);
        if let Some((packets, bytes)) = self.queues.get_mut(&held.queue) {
            *packets = packets.saturating_sub(1);
            *bytes = bytes.saturating_sub(held.bytes);
            if *packets == 0 {
                self.queues.remove(&held.queue);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HoldLimits = HoldLimits { packets: 4, bytes: 1_000, hold_ms: 20 };

    fn held(queue: u32, deadline_ms: u64, bytes: u32, packet: u32) -> Held<u32> {
        Held { queue: HoldId(queue), port: PortId(0), deadline_ms, bytes, packet }
    }

    #[test]
    fn what_is_held_is_bounded_by_packets_and_bytes_of_each_queue_and_by_all_of_the_worker() {
        let mut hold = Hold::new(6, LIMITS);
        for n in 0..4 {
            hold.push(held(1, 9, 100, n)).unwrap();
        }
        assert_eq!(hold.push(held(1, 9, 100, 4)), Err(4));
        hold.push(held(2, 9, 900, 5)).unwrap();
        assert_eq!(hold.push(held(2, 9, 101, 6)), Err(6));
        hold.push(held(2, 9, 100, 7)).unwrap();
        assert_eq!(hold.push(held(3, 9, 1, 8)), Err(8));
        assert_eq!((hold.len(), hold.bytes()), (6, 1_400));
        // Another queue is no worse off, and what went makes room.
        let mut from = 0;
        assert_eq!(hold.take_released(&mut from, |queue| queue.0 != 1).map(|held| held.packet), Some(0));
        hold.push(held(3, 9, 1, 9)).unwrap();
        let mut large = Hold::new(100, HoldLimits { packets: 100, bytes: u32::MAX, hold_ms: 1 });
        large.push(held(1, 9, WORKER_BYTES as u32, 0)).unwrap();
        assert_eq!(large.push(held(2, 9, 1, 1)), Err(1));
    }

    #[test]
    fn expiry_takes_those_that_were_held_long_enough_oldest_first() {
        let mut hold = Hold::new(9, LIMITS);
        for (n, deadline_ms) in [(0, 10), (1, 10), (2, 30)] {
            hold.push(held(n, deadline_ms, 1, n)).unwrap();
        }
        assert!(hold.take_expired(9).is_none());
        assert_eq!(hold.take_expired(10).map(|held| held.packet), Some(0));
        assert_eq!(hold.take_expired(29).map(|held| held.packet), Some(1));
        assert!(hold.take_expired(29).is_none());
        assert_eq!(hold.deadline_ms(5), 25);
    }

    proptest! {
        #[test]
        fn a_queue_comes_out_in_the_order_it_came_in_and_all_others_stay(
            queues in prop::collection::vec(0u32..4, 1..40), released in 0u32..4,
        ) {
            let mut hold = Hold::new(64, HoldLimits { packets: 64, bytes: 1 << 20, hold_ms: 1 });
            for (n, queue) in queues.iter().enumerate() {
                hold.push(held(*queue, 5, 10, n as u32)).unwrap();
            }
            let of = |is_released: bool| {
                let all = queues.iter().zip(0u32..);
                all.filter(|(queue, _)| (**queue == released) == is_released).map(|(_, n)| n).collect::<Vec<_>>()
            };
            let (mut from, mut out) = (0, Vec::new());
            while let Some(held) = hold.take_released(&mut from, |queue| queue.0 != released) {
                out.push(held.packet);
            }
            prop_assert_eq!(out, of(true));
            prop_assert_eq!(hold.bytes(), hold.len() * 10);
            let rest: Vec<u32> = std::iter::from_fn(|| hold.take_expired(5)).map(|held| held.packet).collect();
            prop_assert_eq!(rest, of(false));
            prop_assert!(hold.is_empty() && hold.bytes() == 0 && hold.queues.is_empty());
        }
    }
}
