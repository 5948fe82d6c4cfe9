//! What a worker sends through: one transmit queue for each port, each with the packets that wait for the next flush.
//! The ring is tried once; what it refuses is freed and counted.

#![allow(unsafe_code)]

use super::burst::BURST;
use super::pool::{Mbuf, Mempool, free};
use super::port::TxQueue;
use super::sys;
use crate::table::PortId;

/// What went through one queue, since it was put into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxCounts {
    /// Packets that the device took.
    pub sent: u64,
    /// Their bytes, from the Ethernet header on, without the frame check sequence.
    pub sent_bytes: u64,
    /// Packets that the device refused, freed.
    pub unsent: u64,
}

struct TxBuffer {
    queue: TxQueue,
    waiting: [*mut sys::rte_mbuf; BURST],
    len: usize,
    bytes: u64,
    counts: TxCounts,
}

// SAFETY: buffers belong to no thread, and a lane is the only owner of those that wait in it.
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

    /// Adds or replaces the queue of a port; the replaced one is flushed.
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
        };
        if let Some(mut old) = self.buffers[at].replace(Box::new(buffer)) {
            old.flush();
        }
    }

    /// Whether the set has the port.
    #[inline]
    #[must_use]
    pub fn has(&self, port: PortId) -> bool {
        matches!(self.buffers.get(usize::from(port.0)), Some(Some(_)))
    }

    /// What went through a port; zero for one that is not in the set.
    #[must_use]
    pub fn counts(&self, port: PortId) -> TxCounts {
        match self.buffers.get(usize::from(port.0)) {
            Some(Some(buffer)) => buffer.counts,
            _ => TxCounts::default(),
        }
    }

    /// Sends everything that waits, one call for each port.
    #[inline]
    pub fn flush(&mut self) {
        for buffer in self.buffers.iter_mut().flatten() {
            buffer.flush();
        }
    }

    /// Queues a frame made by this node, copied into a buffer of `pool`. `false`: no such port, no buffer, or too long.
    pub fn send_bytes(&mut self, port: PortId, pool: &Mempool, frame: &[u8]) -> bool {
        self.buffer(port).is_some() && pool.mbuf(frame).is_some_and(|mbuf| self.send(port, mbuf).is_ok())
    }

    /// Queues a packet that was kept.
    ///
    /// # Errors
    /// No such port; the packet comes back.
    pub fn send(&mut self, port: PortId, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.buffer(port) {
            Some(buffer) => {
                // SAFETY: the packet is the lane's from now on.
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

    /// Queues a buffer, whose owner the set becomes unless it returns `false`: no such port.
    ///
    /// # Safety
    /// `mbuf` is valid, owned by the caller, who forgets it when `true` comes back.
    #[inline]
    pub(super) unsafe fn push(&mut self, port: PortId, mbuf: *mut sys::rte_mbuf) -> bool {
        let Some(buffer) = self.buffer(port) else { return false };
        // SAFETY: what the caller promised.
        unsafe { buffer.push(mbuf) };
        true
    }

    /// Sends buffers of `bytes` bytes at once, after those that wait; their owner the set becomes unless it returns
    /// `false`: no such port.
    ///
    /// # Safety
    /// The buffers are valid, owned by the caller, who forgets them when `true` comes back.
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
        // SAFETY: what the caller promised.
        unsafe { transmit(&mut buffer.queue, mbufs, bytes, &mut buffer.counts) };
        true
    }
}

impl TxBuffer {
    /// # Safety
    /// `mbuf` is valid, owned by the caller, who forgets it.
    #[inline]
    unsafe fn push(&mut self, mbuf: *mut sys::rte_mbuf) {
        if self.len == BURST {
            self.flush();
        }
        self.waiting[self.len] = mbuf;
        self.len += 1;
        // SAFETY: what the caller promised.
        self.bytes += u64::from(unsafe { (*mbuf).pkt_len });
    }

    #[inline]
    fn flush(&mut self) {
        let len = std::mem::take(&mut self.len);
        if len > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            // SAFETY: what waits is ours, and forgotten by the line that took `len`.
            unsafe { transmit(&mut self.queue, &mut self.waiting[..len], bytes, &mut self.counts) };
        }
    }
}

impl Drop for TxBuffer {
    fn drop(&mut self) {
        // SAFETY: what waits is ours, and `self` ends here; its queue holds the environment.
        unsafe { free(&mut self.waiting[..self.len]) };
    }
}

/// Hands buffers to the device, once; frees and counts what it refuses.
///
/// # Safety
/// The buffers are valid, owned by the caller, who forgets them; at most 65535.
#[inline]
unsafe fn transmit(queue: &mut TxQueue, mbufs: &mut [*mut sys::rte_mbuf], bytes: u64, counts: &mut TxCounts) {
    // SAFETY: the queue exists and is started while `queue` lives, which is its only handle and held mutably; the
    // buffers that it takes are the device's from now on.
    let taken =
        unsafe { sys::rte_eth_tx_burst(queue.port(), queue.queue(), mbufs.as_mut_ptr(), mbufs.len() as u16) };
    counts.sent += u64::from(taken);
    counts.sent_bytes += bytes;
    let rest = mbufs.get_mut(usize::from(taken)..).unwrap_or_default();
    if !rest.is_empty() {
        // SAFETY: the device did not take these: they are still the caller's.
        counts.sent_bytes -= rest.iter().map(|&mbuf| u64::from(unsafe { (*mbuf).pkt_len })).sum::<u64>();
        counts.unsent += rest.len() as u64;
        // SAFETY: as above.
        unsafe { free(rest) };
    }
}
