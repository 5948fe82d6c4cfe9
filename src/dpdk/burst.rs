//! A burst: the buffers that one receive gave, until each has gone its way. The hot path.
//!
//! Every buffer in a burst has one segment, one owner and its own memory: checked where it comes in, in every build.

#![allow(unsafe_code)]

use super::eal::{Eal, Environment};
use super::pool::{Mbuf, free};
use super::port::RxQueue;
use super::sys;
use super::tx::TxSet;
use crate::path::{Frames, Outcome, Packet, Verdict};
use crate::table::PortId;
use arrayvec::ArrayVec;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::Arc;

pub use crate::path::BURST;

/// Where a frame usually lies behind the head of its buffer.
const USUAL_FRAME: usize = size_of::<sys::rte_mbuf>() + sys::RTE_PKTMBUF_HEADROOM as usize;

/// Shortest frame that is sent: an Ethernet header. Devices may hang on less.
const SHORTEST: u16 = 14;

/// What one receive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Packets now in the burst.
    pub packets: usize,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Packets freed because their buffer is in several segments, shared, or over foreign memory
    /// (`DropReason::BufferShape`).
    pub misshapen: usize,
}

/// Packets that a settlement had to free against their verdict. All zero in a node without a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Were to be sent through a port that the transmit set does not have (`DropReason::NoPort`).
    pub no_port: usize,
    /// Had no outcome, or `Continue`.
    pub undecided: usize,
    /// Had a window that is not in the buffer or too short to be sent.
    pub misfit: usize,
}

/// The buffers of one receive. Dropping it frees what it still holds.
pub struct Burst {
    mbufs: [*mut sys::rte_mbuf; BURST],
    len: usize,
    environment: Arc<Environment>,
}

// SAFETY: buffers belong to no thread, and a burst is the only owner of those in it.
unsafe impl Send for Burst {}

impl Burst {
    /// An empty burst.
    #[must_use]
    pub fn new(eal: &Eal) -> Burst {
        Burst { mbufs: [std::ptr::null_mut(); BURST], len: 0, environment: eal.environment().clone() }
    }

    /// Packets in the burst.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the burst has no packets.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Receives as many packets as there are and the burst has room for. Some devices give none to a burst that has
    /// room for fewer than 32.
    #[inline]
    pub fn receive(&mut self, rx: &mut RxQueue) -> Received {
        let before = self.len;
        // SAFETY: the queue exists and is started while `rx` lives, `rx` is its only handle and we hold it mutably;
        // the array has room for as many pointers as asked for, and those written are ours from now on.
        let count = unsafe {
            sys::rte_eth_rx_burst(
                rx.port(),
                rx.queue(),
                self.mbufs.as_mut_ptr().add(before),
                (BURST - before) as u16,
            )
        };
        self.len = before + usize::from(count).min(BURST - before);
        let mut received = Received { packets: self.len - before, ..Received::default() };
        let mut shapes = Shapes::NONE;
        for &mbuf in &self.mbufs[before..self.len] {
            prefetch(mbuf.cast::<u8>().wrapping_add(USUAL_FRAME));
            // SAFETY: the device gave valid buffers, which we own.
            unsafe {
                received.bytes += u64::from((*mbuf).data_len);
                shapes.see(mbuf);
            }
        }
        if received.packets > 0 && !shapes.all_well() {
            received = self.expel(before);
        }
        received
    }

    /// Frees the buffers from `from` on that the pipeline cannot have, and closes the gaps; says what is left.
    #[cold]
    #[inline(never)]
    fn expel(&mut self, from: usize) -> Received {
        let end = std::mem::replace(&mut self.len, from);
        let mut received = Received::default();
        for at in from..end {
            let mbuf = self.mbufs[at];
            // SAFETY: as in `receive`; a buffer is either kept, once, or freed here and forgotten.
            unsafe {
                if well_shaped(mbuf) {
                    received.bytes += u64::from((*mbuf).data_len);
                    received.packets += 1;
                    self.mbufs[self.len] = mbuf;
                    self.len += 1;
                } else {
                    received.misshapen += 1;
                    free(&mut [mbuf]);
                }
            }
        }
        received
    }

    /// Bytes of all its packets, from the Ethernet header on.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // SAFETY: the buffers in a burst are valid and ours.
        self.mbufs[..self.len].iter().map(|&mbuf| u64::from(unsafe { (*mbuf).data_len })).sum()
    }

    /// Frees every packet.
    pub fn clear(&mut self) {
        let len = std::mem::take(&mut self.len);
        // SAFETY: the buffers of this burst, which forgot them by the line above.
        unsafe { free(&mut self.mbufs[..len]) };
    }

    /// Adds a packet that was kept, for another run through the pipeline.
    ///
    /// # Errors
    /// The burst is full; the packet comes back.
    pub fn adopt(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(slot) => {
                *slot = mbuf.into_raw();
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// The packets, as views over their whole buffers, all as received on `port`.
    #[inline]
    #[must_use]
    pub fn lend(&mut self, port: PortId) -> ArrayVec<Packet<'_>, BURST> {
        // SAFETY: a buffer in a burst has one owner and its own memory (`well_shaped`), and no buffer is twice in a
        // burst; the views borrow the burst, which neither frees nor lends while they live.
        self.mbufs[..self.len].iter().map(|&mbuf| unsafe { view(&*mbuf, port) }).collect()
    }

    /// The burst as frames that came in on `port`.
    #[inline]
    pub fn on(&mut self, port: PortId) -> OnPort<'_> {
        OnPort { burst: self, port }
    }

    /// Lets every packet go its way: into the transmit set, to `keep` (verdicts `Punt`, `AwaitNextHop` and `AwaitNeighbour`, with
    /// the packet's index), or back to its pool. The burst is empty afterwards.
    #[inline]
    pub fn settle(
        &mut self,
        outcomes: &[Outcome],
        tx: &mut TxSet,
        keep: impl FnMut(usize, Verdict, Mbuf),
    ) -> Settled {
        // From here on the buffers are ours alone to place; should `keep` panic, they leak and are not freed twice.
        let len = std::mem::take(&mut self.len);
        let Some(Outcome { verdict: Verdict::Forward(first) | Verdict::Reply(first), .. }) = outcomes.first()
        else {
            return self.settle_each(len, outcomes, tx, keep);
        };
        let mut bytes = 0;
        let mut same = 0;
        for (&mbuf, outcome) in self.mbufs[..len].iter().zip(outcomes) {
            match outcome.verdict {
                Verdict::Forward(port) | Verdict::Reply(port) if port == *first => {}
                _ => break,
            }
            // SAFETY: a buffer of this burst, which no view borrows any more.
            if !unsafe { fit(mbuf, outcome) } {
                break;
            }
            bytes += u64::from(outcome.end - outcome.start);
            same += 1;
        }
        // SAFETY: the buffers of this burst, empty since `len` was taken.
        if same == len && unsafe { tx.send_all(*first, &mut self.mbufs[..len], bytes) } {
            return Settled::default();
        }
        self.settle_each(len, outcomes, tx, keep)
    }

    /// Sends every packet, `bytes` bytes in all, through one port in the window that it came in, its start moved by
    /// `moves` where that has something for it. `false`, and nothing done, when the transmit set does not have the port.
    #[inline]
    pub fn send_all(&mut self, port: PortId, bytes: u64, moves: &[i8], tx: &mut TxSet) -> bool {
        if !tx.has(port) {
            return false;
        }
        let bytes = bytes.wrapping_sub(self.move_starts(moves) as u64);
        // SAFETY: the buffers of this burst; it forgets them when the set took them.
        let sent = unsafe { tx.send_all(port, &mut self.mbufs[..self.len], bytes) };
        if sent {
            self.len = 0;
        }
        sent
    }

    /// Moves the starts of the frames, never out of their buffers; says by how much in all.
    #[inline]
    fn move_starts(&mut self, moves: &[i8]) -> i64 {
        let mut all = 0;
        for (&mbuf, by) in self.mbufs[..self.len].iter().zip(moves) {
            // SAFETY: the buffers of this burst, which nothing else borrows.
            let head = unsafe { &mut *mbuf };
            let end = head.data_off.saturating_add(head.data_len);
            let start = head.data_off.saturating_add_signed(i16::from(*by)).min(end);
            all += i64::from(start) - i64::from(head.data_off);
            head.data_off = start;
            head.data_len = end - start;
            head.pkt_len = u32::from(end - start);
        }
        all
    }

    /// Places the packets one by one.
    fn settle_each(
        &mut self,
        len: usize,
        outcomes: &[Outcome],
        tx: &mut TxSet,
        mut keep: impl FnMut(usize, Verdict, Mbuf),
    ) -> Settled {
        let mut settled = Settled::default();
        let mut freed = 0;
        for at in 0..len {
            let mbuf = self.mbufs[at];
            let Some(outcome) = outcomes.get(at) else {
                settled.undecided += 1;
                self.mbufs[freed] = mbuf;
                freed += 1;
                continue;
            };
            let placed = match outcome.verdict {
                Verdict::Drop(_) => false,
                Verdict::Continue => {
                    settled.undecided += 1;
                    false
                }
                // SAFETY: a buffer of this burst, which no view borrows any more.
                _ if !unsafe { fit(mbuf, outcome) } => {
                    settled.misfit += 1;
                    false
                }
                Verdict::Forward(port) | Verdict::Reply(port) => {
                    // SAFETY: a buffer of this burst; freed below only when it was not placed.
                    let placed = unsafe { tx.push(port, mbuf) };
                    settled.no_port += usize::from(!placed);
                    placed
                }
                verdict @ (Verdict::Punt | Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_)) => {
                    // SAFETY: well-shaped since it came into the burst, its window in its buffer by `fit`, and not
                    // used again here.
                    let mbuf = unsafe { Mbuf::own(NonNull::new_unchecked(mbuf), self.environment.clone()) };
                    keep(at, verdict, mbuf);
                    true
                }
            };
            if !placed {
                self.mbufs[freed] = mbuf;
                freed += 1;
            }
        }
        // SAFETY: these were not placed, so they are still ours; the burst is empty and forgets them.
        unsafe { free(&mut self.mbufs[..freed]) };
        settled
    }
}

/// A burst whose packets came in at one port: what the pipeline is given.
pub struct OnPort<'b> {
    burst: &'b mut Burst,
    port: PortId,
}

impl Frames for OnPort<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.burst.len
    }

    #[inline(always)]
    fn port(&self) -> Option<PortId> {
        Some(self.port)
    }

    #[inline(always)]
    fn frames<const FRONT: usize>(&mut self) -> impl Iterator<Item = &mut [u8]> {
        // SAFETY: as in `lend`: every buffer has its own memory, and the frames borrow the burst.
        self.burst.mbufs[..self.burst.len].iter().map(|&mbuf| unsafe { frame_behind::<FRONT>(mbuf) })
    }

    #[inline]
    fn packets(&mut self) -> ArrayVec<Packet<'_>, BURST> {
        self.burst.lend(self.port)
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        // SAFETY: the buffers in a burst are ours, and `self` ends here.
        unsafe { free(&mut self.mbufs[..self.len]) };
    }
}

/// The frame in a buffer behind `FRONT` bytes of its headroom; nothing where there are fewer.
///
/// # Safety
/// The buffer is owned by the caller, well-shaped, and borrowed by nothing else for `'b`.
#[inline(always)]
unsafe fn frame_behind<'b, const FRONT: usize>(mbuf: *mut sys::rte_mbuf) -> &'b mut [u8] {
    // SAFETY: what the caller promised: the window lies in the buffer, whose bytes are initialised, as DPDK's memory is
    // from the start.
    unsafe {
        let head = &*mbuf;
        let Some(start) = usize::from(head.data_off).checked_sub(FRONT) else { return &mut [] };
        let start = head.buf_addr.cast::<u8>().add(start);
        // Said, because an `Option` of the frame would have to look.
        std::hint::assert_unchecked(!start.is_null());
        std::slice::from_raw_parts_mut(start, FRONT + usize::from(head.data_len))
    }
}

/// A view over a buffer's whole memory.
///
/// # Safety
/// The buffer is owned by the caller, well-shaped by the time that the view is used, and borrowed by nothing else for
/// `'b`; `buf_len` bytes from `buf_addr` are initialised, as DPDK's memory is from the start.
#[inline(always)]
unsafe fn view<'b>(head: &sys::rte_mbuf, port: PortId) -> Packet<'b> {
    // SAFETY: what the caller promised.
    let room =
        unsafe { std::slice::from_raw_parts_mut(head.buf_addr.cast::<u8>(), usize::from(head.buf_len)) };
    Packet::within(room, head.data_off, head.data_off.wrapping_add(head.data_len), port)
}

/// The shapes of some buffers together. The pipeline may have those with one segment, one reference and their own memory;
/// that a buffer's window lies in its memory is the device's promise, as its pointers are.
struct Shapes {
    /// Of the counts of references and segments: bits that all have, and bits that any has.
    all: u32,
    any: u32,
    flags: u64,
}

const _: () = assert!(offset_of!(sys::rte_mbuf, refcnt) + 2 == offset_of!(sys::rte_mbuf, nb_segs));

impl Shapes {
    const NONE: Shapes = Shapes { all: u32::MAX, any: 0, flags: 0 };

    /// Looks at one more. Without a branch, at its first cache line only: `next` is null where there is one segment.
    ///
    /// # Safety
    /// `mbuf` is valid and owned by the caller.
    #[inline(always)]
    unsafe fn see(&mut self, mbuf: *const sys::rte_mbuf) {
        // SAFETY: what the caller promised; two neighbouring words are read as one.
        let (counts, flags) = unsafe {
            let counts = mbuf.cast::<u8>().add(offset_of!(sys::rte_mbuf, refcnt)).cast::<u32>();
            (counts.read_unaligned(), (*mbuf).ol_flags)
        };
        self.all &= counts;
        self.any |= counts;
        self.flags |= flags;
    }

    /// Whether the pipeline may have all of them; there is at least one.
    #[inline(always)]
    fn all_well(&self) -> bool {
        const ONE_EACH: u32 = 1 << 16 | 1;
        (self.all, self.any) == (ONE_EACH, ONE_EACH) && self.flags & sys::ILAGATE_MBUF_FOREIGN == 0
    }
}

/// Whether the pipeline may have the buffer.
///
/// # Safety
/// `mbuf` is valid and owned by the caller.
unsafe fn well_shaped(mbuf: *const sys::rte_mbuf) -> bool {
    let mut shape = Shapes::NONE;
    // SAFETY: what the caller promised.
    unsafe { shape.see(mbuf) };
    shape.all_well()
}

/// Writes the frame's window back to the buffer's head; `false` when it is not in the buffer or too short.
///
/// # Safety
/// `mbuf` is valid, owned by the caller, and nothing borrows it.
#[inline]
unsafe fn fit(mbuf: *mut sys::rte_mbuf, outcome: &Outcome) -> bool {
    // SAFETY: what the caller promised.
    let head = unsafe { &mut *mbuf };
    let Some(len) = outcome.end.checked_sub(outcome.start) else { return false };
    if outcome.end > head.buf_len || len < SHORTEST {
        return false;
    }
    if head.data_off != outcome.start || head.data_len != len {
        head.data_off = outcome.start;
        head.data_len = len;
        head.pkt_len = u32::from(len);
    }
    true
}

/// Asks for the cache line at `address`, where the processor can be asked.
#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: a hint, which reads nothing and never faults, whatever the address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
