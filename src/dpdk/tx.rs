//! The transmit side of a worker: one transmit queue for each port, each with a buffer of packets for the next flush.
//!
//! A flush offers the packets to the device once. It frees and counts those that the device refuses; it never retries.
//! But between [`TxSet::begin_keeping`] and [`TxSet::end_keeping`] it keeps as many as a burst for each port, until
//! [`TxSet::offer_again`] or [`TxSet::give_up`].

#![allow(unsafe_code)]

use super::burst::BURST;
use super::pool::{Mbuf, Mempool, free};
use super::port::TxQueue;
use super::sys;
use crate::table::PortId;

/// Counters of one transmit queue, since it was put into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxCounts {
    /// Packets that the device accepted.
    pub sent: u64,
    /// Their bytes, from the Ethernet header on, without the frame check sequence.
    pub sent_bytes: u64,
    /// Packets that the device refused and the set freed.
    pub unsent: u64,
}

/// A transmit queue and the packets that wait for its next flush.
struct TxBuffer {
    queue: TxQueue,
    waiting: [*mut sys::rte_mbuf; BURST],
    len: usize,
    bytes: u64,
    counts: TxCounts,
    refused: Refused,
}

/// What the device refused and is kept.
struct Refused {
    /// Whether more may be kept.
    keeps: bool,
    mbufs: [*mut sys::rte_mbuf; BURST],
    len: usize,
    /// When the device began to refuse, in milliseconds of the caller's clock.
    since_ms: Option<u64>,
    /// The device refused for too long: nothing is kept for it.
    is_stuck: bool,
}

// SAFETY: mbufs belong to no thread, and a `TxBuffer` is the only owner of those that wait in it.
unsafe impl Send for TxBuffer {}

/// A worker's transmit queues, by port.
#[derive(Default)]
pub struct TxSet {
    buffers: Vec<Option<Box<TxBuffer>>>,
}

impl TxSet {
    /// A set without ports.
    #[must_use]
    pub fn new() -> TxSet {
        TxSet::default()
    }

    /// Adds or replaces the queue of a port. A replaced queue is flushed.
    pub fn insert(&mut self, port: PortId, queue: TxQueue) {
        let at = usize::from(port.0);
        if self.buffers.len() <= at {
            self.buffers.resize_with(at + 1, || None);
        }
        let buffer = TxBuffer {
            queue,
            waiting: [std::ptr::null_mut(); BURST],
            len: 0,
            bytes: 0,
            counts: TxCounts::default(),
            refused: Refused {
                keeps: false,
                mbufs: [std::ptr::null_mut(); BURST],
                len: 0,
                since_ms: None,
                is_stuck: false,
            },
        };
        if let Some(mut old) = self.buffers[at].replace(Box::new(buffer)) {
            old.flush();
        }
    }

    /// From now on what a device refuses is kept, but by one that was given up. What waits is flushed before.
    pub fn begin_keeping(&mut self) {
        self.flush();
        self.buffers.iter_mut().flatten().for_each(|buffer| buffer.refused.keeps = !buffer.refused.is_stuck);
    }

    /// Flushes what waits and keeps what is refused of it, but of nothing later. Returns the number of packets that are
    /// kept.
    pub fn end_keeping(&mut self) -> usize {
        self.flush();
        self.buffers.iter_mut().flatten().for_each(|buffer| buffer.refused.keeps = false);
        self.kept()
    }

    /// Packets that devices refused and that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.buffers.iter().flatten().map(|buffer| buffer.refused.len).sum()
    }

    /// How many packets each device may refuse and all of them are kept.
    #[must_use]
    pub fn room(&self) -> usize {
        let most = self.buffers.iter().flatten().map(|buffer| buffer.refused.len).max();
        BURST - most.unwrap_or_default()
    }

    /// Gives up each device that has taken nothing of what was kept for it for so long: that is freed and counted as unsent,
    /// and so is what it refuses later, until [`Self::trust_again`].
    pub fn give_up_after(&mut self, longest_ms: u64, now_ms: u64) {
        for buffer in self.buffers.iter_mut().flatten().filter(|buffer| buffer.refused.len > 0) {
            if now_ms >= *buffer.refused.since_ms.get_or_insert(now_ms) + longest_ms {
                buffer.give_up();
                buffer.refused.is_stuck = true;
            }
        }
    }

    /// What devices that were given up refuse is kept again.
    pub fn trust_again(&mut self) {
        self.buffers.iter_mut().flatten().for_each(|buffer| buffer.refused.is_stuck = false);
    }

    /// Offers what was kept again, in its order. Returns the number of packets that are still kept.
    pub fn offer_again(&mut self) -> usize {
        self.buffers.iter_mut().flatten().for_each(|buffer| buffer.offer_again());
        self.kept()
    }

    /// Frees what was kept, and counts it as unsent.
    pub fn give_up(&mut self) {
        self.buffers.iter_mut().flatten().for_each(|buffer| buffer.give_up());
    }

    /// Whether the set has the port.
    #[inline]
    #[must_use]
    pub fn has(&self, port: PortId) -> bool {
        matches!(self.buffers.get(usize::from(port.0)), Some(Some(_)))
    }

    /// The counters of a port; zero for a port that is not in the set.
    #[must_use]
    pub fn counts(&self, port: PortId) -> TxCounts {
        match self.buffers.get(usize::from(port.0)) {
            Some(Some(buffer)) => buffer.counts,
            _ => TxCounts::default(),
        }
    }

    /// Flushes all queues: one call to the device for each port with packets.
    #[inline]
    pub fn flush(&mut self) {
        for buffer in self.buffers.iter_mut().flatten() {
            buffer.flush();
        }
    }

    /// Copies a frame into a buffer of `pool` and queues it.
    ///
    /// Returns `false` when the set does not have the port, the pool is empty, or the frame does not fit a buffer.
    pub fn send_bytes(&mut self, port: PortId, pool: &Mempool, frame: &[u8]) -> bool {
        self.buffer(port).is_some() && pool.mbuf(frame).is_some_and(|mbuf| self.send(port, mbuf).is_ok())
    }

    /// Queues a packet that was held outside of a burst.
    ///
    /// # Errors
    /// Returns the packet when the set does not have the port.
    pub fn send(&mut self, port: PortId, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.buffer(port) {
            Some(buffer) => {
                // SAFETY: `into_raw` gives a valid buffer and its ownership, which passes to the `TxBuffer`.
                unsafe { buffer.push(mbuf.into_raw()) };
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    #[inline]
    fn buffer(&mut self, port: PortId) -> Option<&mut TxBuffer> {
        self.buffers.get_mut(usize::from(port.0))?.as_deref_mut()
    }

    /// Queues a buffer. Returns `false`, and leaves the buffer to the caller, when the set does not have the port.
    ///
    /// # Safety
    /// `mbuf` is valid and owned by the caller, who does not use it again after `true`: the set owns it then.
    #[inline]
    pub(super) unsafe fn push(&mut self, port: PortId, mbuf: *mut sys::rte_mbuf) -> bool {
        let Some(buffer) = self.buffer(port) else { return false };
        // SAFETY: the caller owns the valid `mbuf` and does not use it again (contract of this function).
        unsafe { buffer.push(mbuf) };
        true
    }

    /// Flushes the packets that wait for the port, then sends `mbufs`, which have `bytes` bytes in all, at once.
    ///
    /// Returns `false`, and leaves the buffers to the caller, when the set does not have the port.
    ///
    /// # Safety
    /// The buffers are valid and owned by the caller, who does not use them again after `true`.
    #[inline]
    pub(super) unsafe fn send_all(
        &mut self,
        port: PortId,
        mbufs: &mut [*mut sys::rte_mbuf],
        bytes: u64,
    ) -> bool {
        let Some(buffer) = self.buffer(port) else { return false };
        if buffer.len > 0 {
            buffer.flush();
        }
        // SAFETY: the caller owns the valid buffers and does not use them again (contract of this function).
        unsafe { transmit(&mut buffer.queue, mbufs, bytes, &mut buffer.counts, &mut buffer.refused) };
        true
    }
}

impl TxBuffer {
    /// Adds a buffer; flushes first when [`BURST`] buffers wait.
    ///
    /// # Safety
    /// `mbuf` is valid and owned by the caller, who does not use it again.
    #[inline]
    unsafe fn push(&mut self, mbuf: *mut sys::rte_mbuf) {
        if self.len == BURST {
            self.flush();
        }
        self.waiting[self.len] = mbuf;
        self.len += 1;
        // SAFETY: `mbuf` is valid (contract of this function) and `self` owns it now.
        self.bytes += u64::from(unsafe { (*mbuf).pkt_len });
    }

    #[inline]
    fn flush(&mut self) {
        let len = std::mem::take(&mut self.len);
        if len > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            let (queue, refused) = (&mut self.queue, &mut self.refused);
            // SAFETY: `self` owns the waiting buffers; the line that took `len` made it forget them.
            unsafe { transmit(queue, &mut self.waiting[..len], bytes, &mut self.counts, refused) };
        }
    }

    #[cold]
    fn give_up(&mut self) {
        let len = std::mem::take(&mut self.refused.len);
        self.refused.since_ms = None;
        self.counts.unsent += len as u64;
        // SAFETY: `self` owns what it keeps, and forgot it when `len` was taken.
        unsafe { free(&mut self.refused.mbufs[..len]) };
    }

    #[cold]
    fn offer_again(&mut self) {
        let len = std::mem::take(&mut self.refused.len);
        if len == 0 {
            return;
        }
        let mut mbufs = self.refused.mbufs;
        // SAFETY: `self` owns what it keeps, and forgot it when `len` was taken.
        let bytes = mbufs[..len].iter().map(|&mbuf| u64::from(unsafe { (*mbuf).pkt_len })).sum();
        let keeps = std::mem::replace(&mut self.refused.keeps, true);
        // SAFETY: as above; the copy of their places is not used again.
        unsafe {
            transmit(&mut self.queue, &mut mbufs[..len], bytes, &mut self.counts, &mut self.refused);
        }
        self.refused.keeps = keeps;
        if self.refused.len < len {
            self.refused.since_ms = None;
        }
    }
}

impl Drop for TxBuffer {
    fn drop(&mut self) {
        // SAFETY: `self` owns the waiting buffers and those that it keeps, and ends here. Its queue still holds the
        // environment.
        unsafe {
            free(&mut self.waiting[..self.len]);
            free(&mut self.refused.mbufs[..self.refused.len]);
        }
    }
}

/// Offers buffers to the device once; frees and counts those that it refuses, or keeps them.
///
/// # Safety
/// The buffers are valid and owned by the caller, who does not use them again. There are at most 65535.
#[inline]
unsafe fn transmit(
    queue: &mut TxQueue,
    mbufs: &mut [*mut sys::rte_mbuf],
    bytes: u64,
    counts: &mut TxCounts,
    refused: &mut Refused,
) {
    // SAFETY: the queue exists and is started while `queue` lives (`Port::open`) and `with_device` lets in. `queue` is
    // its only handle and is borrowed mutably. The device owns the buffers that it accepts.
    let taken = queue.with_device(0, || unsafe {
        sys::rte_eth_tx_burst(queue.port(), queue.queue(), mbufs.as_mut_ptr(), mbufs.len() as u16)
    });
    counts.sent += u64::from(taken);
    counts.sent_bytes += bytes;
    let rest = mbufs.get_mut(usize::from(taken)..).unwrap_or_default();
    if !rest.is_empty() {
        // SAFETY: the device did not accept these buffers: they are still valid and owned here.
        counts.sent_bytes -= rest.iter().map(|&mbuf| u64::from(unsafe { (*mbuf).pkt_len })).sum::<u64>();
        // SAFETY: as above.
        unsafe { refused.take(rest, counts) };
    }
}

impl Refused {
    /// Keeps buffers that the device refused, if that is wanted and there is room; frees and counts the others.
    ///
    /// # Safety
    /// The buffers are valid and owned by the caller, who does not use them again.
    #[cold]
    unsafe fn take(&mut self, mbufs: &mut [*mut sys::rte_mbuf], counts: &mut TxCounts) {
        let room = if self.keeps { BURST - self.len } else { 0 };
        let (kept, rest) = mbufs.split_at_mut(room.min(mbufs.len()));
        self.mbufs[self.len..self.len + kept.len()].copy_from_slice(kept);
        self.len += kept.len();
        counts.unsent += rest.len() as u64;
        // SAFETY: the caller owns the valid buffers and does not use them again (contract of this function).
        unsafe { free(rest) };
    }
}
