//! A burst: the buffers of one receive call, until each is sent, kept or freed. This is hot code.
//!
//! Every buffer in a burst is well-shaped: it has one segment, one reference and its own memory. [`Burst::receive`]
//! checks this in every build, and [`Mbuf`] guarantees it for adopted buffers.

#![allow(unsafe_code)]

use super::eal::{Eal, Environment};
use super::pool::{Mbuf, free};
use super::port::RxQueue;
use super::sys;
use super::tx::TxSet;
use crate::path::{Frames, Outcome, Packet, Verdict};
use crate::table::PortId;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::Arc;

pub use crate::path::BURST;

/// The usual offset in bytes of a frame from the start of its `rte_mbuf`; only a prefetch relies on it.
const USUAL_FRAME: usize = size_of::<sys::rte_mbuf>() + sys::RTE_PKTMBUF_HEADROOM as usize;

/// Length in bytes of the shortest frame that is sent: an Ethernet header. A shorter one may hang a device.
const SHORTEST: u16 = 14;

/// The result of one receive call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Packets added to the burst.
    pub packets: usize,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Packets freed because their buffer has several segments, is shared, or uses external memory
    /// (`DropReason::BufferShape`).
    pub misshapen: usize,
}

/// Packets that [`Burst::settle`] freed against their verdict. All counts are zero in a node without a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Packets for a port that the transmit set does not have (`DropReason::NoPort`).
    pub no_port: usize,
    /// Packets without an outcome, or with the verdict `Continue`.
    pub undecided: usize,
    /// Packets whose frame is not within the buffer or shorter than an Ethernet header.
    pub misfit: usize,
}

/// The buffers of one receive call: at most [`BURST`]. Dropping it frees those that it still holds.
pub struct Burst {
    mbufs: [*mut sys::rte_mbuf; BURST],
    len: usize,
    environment: Arc<Environment>,
}

// SAFETY: mbufs belong to no thread, and a burst is the only owner of those in it.
unsafe impl Send for Burst {}

impl Burst {
    /// An empty burst.
    #[must_use]
    pub fn new(eal: &Eal) -> Burst {
        Burst { mbufs: [std::ptr::null_mut(); BURST], len: 0, environment: eal.environment().clone() }
    }

    /// Number of packets in the burst.
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

    /// Receives packets from a queue, as many as the burst has room for.
    ///
    /// Some devices return none when there is room for fewer than 32.
    #[inline]
    pub fn receive(&mut self, rx: &mut RxQueue) -> Received {
        let before = self.len;
        // SAFETY: the queue exists and is started while `rx` lives (`Port::open`) and `with_device` lets in. `rx` is
        // its only handle and is borrowed mutably. The array has room for `BURST - before` pointers from `before` on.
        // The burst owns those written.
        let count = rx.with_device(0, || unsafe {
            sys::rte_eth_rx_burst(
                rx.port(),
                rx.queue(),
                self.mbufs.as_mut_ptr().add(before),
                (BURST - before) as u16,
            )
        });
        self.len = before + usize::from(count).min(BURST - before);
        let mut received = Received { packets: self.len - before, ..Received::default() };
        let mut shapes = Shapes::NONE;
        for &mbuf in &self.mbufs[before..self.len] {
            prefetch(mbuf.cast::<u8>().wrapping_add(USUAL_FRAME));
            // SAFETY: the device returned valid buffers, which the burst owns.
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

    /// Frees those buffers from index `from` on that are not well-shaped, and closes the gaps. Returns the new counts.
    #[cold]
    #[inline(never)]
    fn expel(&mut self, from: usize) -> Received {
        let end = std::mem::replace(&mut self.len, from);
        let mut received = Received::default();
        for at in from..end {
            let mbuf = self.mbufs[at];
            // SAFETY: the buffers are valid and owned, as in `receive`. Each is either kept once or freed here.
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
        // SAFETY: the burst owns its buffers, which are valid.
        self.mbufs[..self.len].iter().map(|&mbuf| u64::from(unsafe { (*mbuf).data_len })).sum()
    }

    /// Frees every packet.
    pub fn clear(&mut self) {
        let len = std::mem::take(&mut self.len);
        // SAFETY: the burst owned these buffers; the line above made it forget them.
        unsafe { free(&mut self.mbufs[..len]) };
    }

    /// Adds a packet that was held outside of a burst, for another pass through the pipeline.
    ///
    /// # Errors
    /// Returns the packet when the burst is full.
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

    /// The packets, as views over their whole buffers. `port` becomes the receiving port of each.
    #[inline]
    pub fn lend(&mut self, port: PortId) -> impl Iterator<Item = Packet<'_>> {
        // SAFETY: `receive` checked that every buffer has one reference and its own memory, and no buffer is twice in a
        // burst. The views borrow the burst mutably, so that it neither frees nor lends a buffer while they live.
        self.mbufs[..self.len].iter().map(move |&mbuf| unsafe { view(&*mbuf, port) })
    }

    /// The burst as frames received on `port`, in the form that the pipeline takes.
    #[inline]
    pub fn on(&mut self, port: PortId) -> OnPort<'_> {
        OnPort { burst: self, port }
    }

    /// Carries out the verdict of every packet. The burst is empty afterwards.
    ///
    /// `Forward` and `Reply` put the packet into the transmit set. `Punt`, `AwaitNextHop`, `AwaitNeighbour` and `Hold` pass
    /// it to `keep` with its index. `Drop` returns it to its pool, as does every case that [`Settled`] counts.
    #[inline]
    pub fn settle(
        &mut self,
        outcomes: &[Outcome],
        tx: &mut TxSet,
        keep: impl FnMut(usize, Verdict, Mbuf),
    ) -> Settled {
        // From here on only this function owns the buffers. If `keep` panics, they leak; none is freed twice.
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
            // SAFETY: the burst owns the buffer, and no view borrows it: `settle` borrows the burst mutably.
            if !unsafe { fit(mbuf, outcome) } {
                break;
            }
            bytes += u64::from(outcome.end - outcome.start);
            same += 1;
        }
        // SAFETY: the burst owned these buffers and forgot them when `len` was taken. After `true` they are not used
        // again.
        if same == len && unsafe { tx.send_all(*first, &mut self.mbufs[..len], bytes) } {
            return Settled::default();
        }
        self.settle_each(len, outcomes, tx, keep)
    }

    /// Sends every packet through one port. Returns `false`, and does nothing, when the transmit set does not have
    /// the port.
    ///
    /// `bytes` is the sum of the frame lengths before. `moves` is the number of bytes by which the start of each frame
    /// moves; a packet beyond its end keeps its start.
    #[inline]
    pub fn send_all(&mut self, port: PortId, bytes: u64, moves: &[i8], tx: &mut TxSet) -> bool {
        if !tx.has(port) {
            return false;
        }
        let bytes = bytes.wrapping_sub(self.move_starts(moves) as u64);
        // SAFETY: the burst owns its buffers, and forgets them below when the set has taken them.
        let sent = unsafe { tx.send_all(port, &mut self.mbufs[..self.len], bytes) };
        if sent {
            self.len = 0;
        }
        sent
    }

    /// Moves the starts of the frames, never before their buffers nor after their ends. Returns the sum in bytes.
    #[inline]
    fn move_starts(&mut self, moves: &[i8]) -> i64 {
        let mut all = 0;
        for (&mbuf, by) in self.mbufs[..self.len].iter().zip(moves) {
            // SAFETY: the burst owns its buffers, and nothing else borrows them: `self` is borrowed mutably.
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

    /// Carries out the verdicts one by one, for [`Self::settle`].
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
                // SAFETY: the burst owns the buffer, and no view borrows it: `self` is borrowed mutably.
                _ if !unsafe { fit(mbuf, outcome) } => {
                    settled.misfit += 1;
                    false
                }
                Verdict::Forward(port) | Verdict::Reply(port) => {
                    // SAFETY: the burst owns the buffer, and frees it below only when the set did not take it.
                    let placed = unsafe { tx.push(port, mbuf) };
                    settled.no_port += usize::from(!placed);
                    placed
                }
                verdict @ (Verdict::Punt
                | Verdict::AwaitNextHop(_)
                | Verdict::AwaitNeighbour(_)
                | Verdict::Hold(_)) => {
                    // SAFETY: `receive` checked that the buffer is well-shaped, `fit` (the arm above) that the frame
                    // lies within it. It is not used again here.
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
        // SAFETY: nobody took these buffers, so that they are still owned here. The burst is empty and does not use
        // them.
        unsafe { free(&mut self.mbufs[..freed]) };
        settled
    }
}

/// A burst and the port that received it, in the form that the pipeline takes.
pub struct OnPort<'b> {
    burst: &'b mut Burst,
    port: PortId,
}

impl Frames for OnPort<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.burst.len
    }

    #[inline(always)]
    fn port(&self) -> Option<PortId> {
        Some(self.port)
    }

    #[inline(always)]
    fn frames<const FRONT: usize>(&mut self) -> impl Iterator<Item = &mut [u8]> {
        // SAFETY: as in `lend`: `receive` checked that every buffer has its own memory, and the frames borrow the
        // burst.
        self.burst.mbufs[..self.burst.len].iter().map(|&mbuf| unsafe { frame_behind::<FRONT>(mbuf) })
    }

    #[inline(always)]
    fn packets(&mut self) -> impl Iterator<Item = Packet<'_>> {
        self.burst.lend(self.port)
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        // SAFETY: the burst owns its buffers, and `self` ends here.
        unsafe { free(&mut self.mbufs[..self.len]) };
    }
}

/// The frame in a buffer with `FRONT` bytes of headroom in front of it; empty when the headroom is shorter.
///
/// # Safety
/// The caller owns the buffer, has checked that it is well-shaped, and nothing else borrows it for `'b`.
#[inline(always)]
unsafe fn frame_behind<'b, const FRONT: usize>(mbuf: *mut sys::rte_mbuf) -> &'b mut [u8] {
    // SAFETY: the caller owns the buffer, and nothing else borrows it (contract of this function). The frame lies
    // within the buffer: the device, `fit`, `move_starts` or the contract of `Mbuf::own` sees to that. DPDK initialises
    // the memory of its pools.
    unsafe {
        let head = &*mbuf;
        let Some(start) = usize::from(head.data_off).checked_sub(FRONT) else { return &mut [] };
        let start = head.buf_addr.cast::<u8>().add(start);
        // This lets the compiler omit the null check of an `Option` of the frame.
        std::hint::assert_unchecked(!start.is_null());
        std::slice::from_raw_parts_mut(start, FRONT + usize::from(head.data_len))
    }
}

/// A view over a buffer's whole memory.
///
/// # Safety
/// The caller owns the buffer, has checked that it is well-shaped before the view is used, and nothing else borrows
/// it for `'b`. The `buf_len` bytes from `buf_addr` on are initialised; DPDK does so for the memory of its pools.
#[inline(always)]
unsafe fn view<'b>(head: &sys::rte_mbuf, port: PortId) -> Packet<'b> {
    // SAFETY: the contract of this function: an owned, initialised buffer that nothing else borrows.
    let room =
        unsafe { std::slice::from_raw_parts_mut(head.buf_addr.cast::<u8>(), usize::from(head.buf_len)) };
    Packet::within(room, head.data_off, head.data_off.wrapping_add(head.data_len), port)
}

/// The combined shape of several buffers.
///
/// A buffer is well-shaped if it has one segment, one reference and its own memory. That its frame lies within its
/// memory is not checked: the device guarantees it, as it guarantees the pointers.
struct Shapes {
    /// Bits of the reference and segment counts that are set in all buffers.
    all: u32,
    /// Bits of the reference and segment counts that are set in any buffer.
    any: u32,
    /// Offload flags that are set in any buffer.
    flags: u64,
}

const _: () = assert!(offset_of!(sys::rte_mbuf, refcnt) + 2 == offset_of!(sys::rte_mbuf, nb_segs));

impl Shapes {
    const NONE: Shapes = Shapes { all: u32::MAX, any: 0, flags: 0 };

    /// Adds one buffer. The code has no branch and reads only the first cache line of the mbuf; `next` need not be
    /// read, because it is null when there is one segment.
    ///
    /// # Safety
    /// `mbuf` is valid and owned by the caller.
    #[inline(always)]
    unsafe fn see(&mut self, mbuf: *const sys::rte_mbuf) {
        // SAFETY: `mbuf` is valid and owned by the caller (contract of this function). `refcnt` and `nb_segs` are
        // adjacent, which the assertion above checks, so that one read gets both.
        let (counts, flags) = unsafe {
            let counts = mbuf.cast::<u8>().add(offset_of!(sys::rte_mbuf, refcnt)).cast::<u32>();
            (counts.read_unaligned(), (*mbuf).ol_flags)
        };
        self.all &= counts;
        self.any |= counts;
        self.flags |= flags;
    }

    /// Whether all buffers are well-shaped; there must be at least one.
    #[inline(always)]
    fn all_well(&self) -> bool {
        const ONE_EACH: u32 = 1 << 16 | 1;
        (self.all, self.any) == (ONE_EACH, ONE_EACH) && self.flags & sys::ILAGATE_MBUF_FOREIGN == 0
    }
}

/// Whether the buffer is well-shaped ([`Shapes`]).
///
/// # Safety
/// `mbuf` is valid and owned by the caller.
unsafe fn well_shaped(mbuf: *const sys::rte_mbuf) -> bool {
    let mut shape = Shapes::NONE;
    // SAFETY: `mbuf` is valid and owned by the caller (contract of this function).
    unsafe { shape.see(mbuf) };
    shape.all_well()
}

/// Writes the frame's start and length to the mbuf; `false` when the frame is not within the buffer or shorter than
/// [`SHORTEST`].
///
/// # Safety
/// `mbuf` is valid, owned by the caller, and nothing borrows it.
#[inline]
unsafe fn fit(mbuf: *mut sys::rte_mbuf, outcome: &Outcome) -> bool {
    // SAFETY: `mbuf` is valid, owned by the caller and not borrowed (contract of this function).
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

/// Prefetches the cache line at `address`, on processors with a prefetch instruction that Rust offers (x86-64).
#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: the instruction is a hint. It reads nothing and never faults, whatever the address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
