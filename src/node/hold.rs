//! Packets that are held for VMs and tasks that are about to arrive (VMM draft §5): in order, bounded for each and for
//! all of a worker, until a deadline.
//!
//! They are not those that wait for a neighbour ([`super::waiting`]): they may be many, and all of one queue go at once.

use crate::table::{HoldId, PortId};
use arrayvec::ArrayVec;
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};

/// Released queues that wait for a device at once, at most.
pub const ASIDE: usize = 8;

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

/// No entry.
const NONE: u32 = u32::MAX;

/// A place for one packet. Places of packets are chained: in their queue, and with all others.
#[derive(Debug)]
struct Place<P> {
    held: Option<Held<P>>,
    /// The next one of its queue, or the next free place.
    next: u32,
    older: u32,
    newer: u32,
}

/// The packets of one queue.
#[derive(Debug, Clone, Copy)]
struct Queue {
    packets: u32,
    bytes: u32,
    first: u32,
    last: u32,
    /// They leave now.
    is_released: bool,
}

/// All packets that are held at one worker. Never allocates after it was made.
///
/// A queue that is [released](Self::release) gives its packets in their order; what comes for it then is added behind
/// them, and leaves as well.
#[derive(Debug)]
pub struct Hold<P> {
    places: Vec<Place<P>>,
    free: u32,
    oldest: u32,
    newest: u32,
    /// The node chooses the keys.
    queues: HashMap<HoldId, Queue, FixedState>,
    /// Released queues with packets, in the order in which they were released.
    released: VecDeque<HoldId>,
    /// Released queues that give nothing for now: a device refuses what they gave before.
    aside: ArrayVec<HoldId, ASIDE>,
    /// All packets, and those of released queues.
    len: usize,
    released_len: usize,
    bytes: usize,
    limits: HoldLimits,
}

impl<P> Hold<P> {
    /// Room for `room` packets in all.
    #[must_use]
    pub fn new(room: usize, limits: HoldLimits) -> Self {
        let place = |at: usize| {
            let next = if at + 1 < room { at as u32 + 1 } else { NONE };
            Place { held: None, next, older: NONE, newer: NONE }
        };
        Hold {
            places: (0..room).map(place).collect(),
            free: if room == 0 { NONE } else { 0 },
            oldest: NONE,
            newest: NONE,
            // Twice the room, so that queues that come and go move none of the others to larger memory.
            queues: HashMap::with_capacity_and_hasher(room * 2, FixedState::default()),
            released: VecDeque::with_capacity(room),
            aside: ArrayVec::new(),
            len: 0,
            released_len: 0,
            bytes: 0,
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
        self.len == 0
    }

    /// Packets that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Packets of released queues.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released_len
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a packet behind all others of its queue. `is_released` says whether the queue is.
    ///
    /// # Errors
    /// The packet comes back: its queue or the worker holds as much as it may.
    pub fn push(&mut self, held: Held<P>, is_released: bool) -> Result<(), P> {
        let id = held.queue;
        let none = Queue { packets: 0, bytes: 0, first: NONE, last: NONE, is_released };
        let mut queue = self.queues.get(&id).copied().unwrap_or(none);
        let full = queue.packets >= self.limits.packets
            || queue.bytes.saturating_add(held.bytes) > self.limits.bytes
            || self.bytes + held.bytes as usize > WORKER_BYTES;
        let at = self.free;
        let newest = self.newest;
        let Some(place) = self.places.get_mut(at as usize).filter(|_| !full) else { return Err(held.packet) };
        self.free = place.next;
        queue.packets += 1;
        queue.bytes += held.bytes;
        self.bytes += held.bytes as usize;
        self.len += 1;
        (place.next, place.older, place.newer) = (NONE, newest, NONE);
        place.held = Some(held);
        match self.places.get_mut(newest as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        match self.places.get_mut(queue.last as usize) {
            Some(last) => last.next = at,
            None => queue.first = at,
        }
        queue.last = at;
        if queue.is_released {
            self.released_len += 1;
            if queue.packets == 1 {
                self.released.push_back(id);
            }
        }
        self.queues.insert(id, queue);
        Ok(())
    }

    /// Takes out the oldest packet if its deadline has passed. Deadlines of packets that were held one after the other
    /// follow each other. One that is about to leave is not late.
    pub fn take_expired(&mut self, now_ms: u64) -> Option<Held<P>> {
        let oldest = self.places.get(self.oldest as usize)?.held.as_ref();
        let id = oldest.filter(|held| held.deadline_ms <= now_ms)?.queue;
        if self.queues.get(&id).is_some_and(|queue| queue.is_released) {
            return None;
        }
        self.take_first(id)
    }

    /// Releases every queue that is not to be held any more, as `holds` says. Says whether there was one.
    pub fn release(&mut self, holds: impl Fn(HoldId) -> bool) -> bool {
        let already = self.released.len();
        for (id, queue) in &mut self.queues {
            if !queue.is_released && !holds(*id) {
                queue.is_released = true;
                self.released_len += queue.packets as usize;
                self.released.push_back(*id);
            }
        }
        if let Some(new) = self.released.make_contiguous().get_mut(already..) {
            new.sort_unstable();
        }
        self.released.len() > already
    }

    /// The released queue whose turn it is, of those that `of` names and that are not set aside, and the port that its
    /// next packet came from.
    #[must_use]
    pub fn next_released(&self, of: impl Fn(HoldId) -> bool) -> Option<(HoldId, PortId)> {
        let next = self.released.iter().find(|id| of(**id) && !self.aside.contains(id))?;
        Some((*next, self.port_of(*next)?))
    }

    /// The port that the next packet of a queue came from.
    #[must_use]
    pub fn port_of(&self, id: HoldId) -> Option<PortId> {
        let queue = self.queues.get(&id)?;
        Some(self.places.get(queue.first as usize)?.held.as_ref()?.port)
    }

    /// Takes out the next packet of this released queue.
    pub fn take_released_of(&mut self, id: HoldId) -> Option<Held<P>> {
        let at = self.released.iter().position(|known| *known == id)?;
        let held = self.take_first(id);
        self.released_len = self.released_len.saturating_sub(1);
        if !self.queues.contains_key(&id) {
            self.released.remove(at);
        }
        held
    }

    /// Takes out the next packet of the released queue whose turn it is.
    pub fn take_released(&mut self) -> Option<Held<P>> {
        let (id, _) = self.next_released(|_| true)?;
        self.take_released_of(id)
    }

    /// A device refuses what this queue gave: it gives no more until [`Self::bring_back`].
    pub fn set_aside(&mut self, id: HoldId) {
        if !self.aside.contains(&id) {
            let _ = self.aside.try_push(id);
        }
    }

    /// The queues that are set aside.
    #[must_use]
    pub fn aside(&self) -> &[HoldId] {
        &self.aside
    }

    /// Those that were set aside have their turn again.
    pub fn bring_back(&mut self) {
        self.aside.clear();
    }

    /// Takes out the first packet of a queue, which is the oldest of it.
    fn take_first(&mut self, id: HoldId) -> Option<Held<P>> {
        let queue = self.queues.get_mut(&id)?;
        let at = queue.first;
        let place = self.places.get_mut(at as usize)?;
        let held = place.held.take()?;
        let (older, newer) = (place.older, place.newer);
        queue.first = std::mem::replace(&mut place.next, self.free);
        self.free = at;
        queue.packets = queue.packets.saturating_sub(1);
        queue.bytes = queue.bytes.saturating_sub(held.bytes);
        if queue.packets == 0 {
            self.queues.remove(&id);
        }
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(held.bytes as usize);
        match self.places.get_mut(older as usize) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(newer as usize) {
            Some(behind) => behind.older = older,
            None => self.newest = older,
        }
        Some(held)
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
            hold.push(held(1, 9, 100, n), false).unwrap();
        }
        assert_eq!(hold.push(held(1, 9, 100, 4), false), Err(4));
        hold.push(held(2, 9, 900, 5), false).unwrap();
        assert_eq!(hold.push(held(2, 9, 101, 6), false), Err(6));
        hold.push(held(2, 9, 100, 7), false).unwrap();
        assert_eq!(hold.push(held(3, 9, 1, 8), false), Err(8));
        assert_eq!((hold.len(), hold.bytes()), (6, 1_400));
        // Another queue is no worse off, and what went makes room.
        hold.release(|queue| queue.0 != 1);
        assert_eq!(hold.take_released().map(|held| held.packet), Some(0));
        hold.push(held(3, 9, 1, 9), false).unwrap();
        let mut large = Hold::new(100, HoldLimits { packets: 100, bytes: u32::MAX, hold_ms: 1 });
        large.push(held(1, 9, WORKER_BYTES as u32, 0), false).unwrap();
        assert_eq!(large.push(held(2, 9, 1, 1), false), Err(1));
    }

    #[test]
    fn expiry_takes_those_that_were_held_long_enough_oldest_first() {
        let mut hold = Hold::new(9, LIMITS);
        for (n, deadline_ms) in [(0, 10), (1, 10), (2, 30)] {
            hold.push(held(n, deadline_ms, 1, n), false).unwrap();
        }
        assert!(hold.take_expired(9).is_none());
        assert_eq!(hold.take_expired(10).map(|held| held.packet), Some(0));
        assert_eq!(hold.take_expired(29).map(|held| held.packet), Some(1));
        assert!(hold.take_expired(29).is_none());
        assert_eq!(hold.deadline_ms(5), 25);
    }

    #[test]
    fn what_comes_for_a_released_queue_waits_behind_it_and_neither_is_late() {
        let mut hold = Hold::new(9, LIMITS);
        for n in 0..2 {
            hold.push(held(1, 10, 1, n), false).unwrap();
        }
        hold.push(held(2, 10, 1, 8), false).unwrap();
        hold.release(|queue| queue.0 != 1);
        assert_eq!(hold.released(), 2);
        hold.push(held(1, 12, 1, 2), true).unwrap();
        assert!(hold.take_expired(99).is_none());
        let out: Vec<u32> = std::iter::from_fn(|| hold.take_released()).map(|held| held.packet).collect();
        assert_eq!((out, hold.released(), hold.len()), (vec![0, 1, 2], 0, 1));
        // One that comes when none waits any more leaves as well.
        hold.push(held(1, 13, 1, 3), true).unwrap();
        assert_eq!((hold.released(), hold.take_released().map(|held| held.packet)), (1, Some(3)));
        assert_eq!(hold.take_expired(99).map(|held| held.packet), Some(8));
        assert!(hold.is_empty() && hold.queues.is_empty() && hold.released.is_empty());
    }

    #[test]
    fn a_queue_whose_device_refuses_keeps_no_other_back_and_comes_back_in_its_turn() {
        let mut hold = Hold::new(9, LIMITS);
        for (queue, n) in [(1, 0), (2, 1), (1, 2), (2, 3), (3, 4)] {
            hold.push(held(queue, 10, 1, n), false).unwrap();
        }
        assert!(hold.release(|queue| queue.0 == 3) && !hold.release(|queue| queue.0 == 3));
        assert_eq!(hold.take_released().map(|held| held.packet), Some(0));
        hold.set_aside(HoldId(1));
        assert_eq!(hold.take_released().map(|held| held.packet), Some(1));
        // What comes for it meanwhile waits behind it.
        hold.push(held(1, 10, 1, 5), true).unwrap();
        assert_eq!(hold.take_released().map(|held| held.packet), Some(3));
        assert_eq!((hold.take_released().map(|held| held.packet), hold.released()), (None, 2));
        assert!(hold.take_expired(99).is_none(), "it is not late");
        hold.bring_back();
        let out: Vec<u32> = std::iter::from_fn(|| hold.take_released()).map(|held| held.packet).collect();
        assert_eq!((out, hold.released(), hold.len()), (vec![2, 5], 0, 1));
    }

    proptest! {
        #[test]
        fn a_queue_comes_out_in_the_order_it_came_in_and_all_others_stay(
            queues in prop::collection::vec(0u32..4, 1..40), released in 0u32..4,
        ) {
            let mut hold = Hold::new(64, HoldLimits { packets: 64, bytes: 1 << 20, hold_ms: 1 });
            for (n, queue) in queues.iter().enumerate() {
                hold.push(held(*queue, 5, 10, n as u32), false).unwrap();
            }
            let of = |is_released: bool| {
                let all = queues.iter().zip(0u32..);
                all.filter(|(queue, _)| (**queue == released) == is_released).map(|(_, n)| n).collect::<Vec<_>>()
            };
            hold.release(|queue| queue.0 != released);
            prop_assert_eq!(hold.released(), of(true).len());
            let out: Vec<u32> = std::iter::from_fn(|| hold.take_released()).map(|held| held.packet).collect();
            prop_assert_eq!(out, of(true));
            prop_assert_eq!(hold.bytes(), hold.len() * 10);
            let rest: Vec<u32> = std::iter::from_fn(|| hold.take_expired(5)).map(|held| held.packet).collect();
            prop_assert_eq!(rest, of(false));
            prop_assert!(hold.is_empty() && hold.bytes() == 0 && hold.queues.is_empty());
        }
    }
}
