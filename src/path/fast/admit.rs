//! The admission test of the fast path: plain headers, and a source that is not spoofed. What fails is left to the
//! stages.
//!
//! Consecutive frames to the same /64 form a run.

use super::bytes::{HEADERS, Head, be8, le8};
use crate::net::{Mac, ethernet, ipv6};
use crate::table::{AttachmentKey, PortId, Tables};

/// The admitted frames of a burst, cut into runs to one upper half of the destination. A run is a small loop, so all
/// that it needs stays in registers.
pub(super) struct Runs<'b, F, M> {
    pub(super) frames: F,
    pub(super) admits_source: M,
    /// The port's MAC address, its first byte lowest.
    pub(super) mac: u64,
    /// The first frame of the next run, and its index in the burst.
    pub(super) next: Option<(&'b mut [u8], u8)>,
}

impl<'b, F: Iterator<Item = (&'b mut [u8], u8)>, M: FnMut(&Head) -> bool> Runs<'b, F, M> {
    /// The upper half of the destination of the next run, little endian.
    #[inline]
    pub(super) fn destination(&mut self) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.frames.find(|(frame, _)| is_usual(frame, self.mac, &mut self.admits_source));
        }
        self.next.as_ref().and_then(|(frame, _)| to(frame))
    }

    /// Gives the frames of the run to this upper half, and their indices in the burst, to `take`.
    #[inline(always)]
    pub(super) fn each(&mut self, raw_high: u64, mut take: impl FnMut(&'b mut [u8], u8) -> Option<()>) {
        if let Some((frame, index)) = self.next.take() {
            let _ = take(frame, index);
        }
        for (frame, index) in &mut self.frames {
            if !is_usual(frame, self.mac, &mut self.admits_source) {
                continue;
            }
            if to(frame) != Some(raw_high) {
                self.next = Some((frame, index));
                break;
            }
            let _ = take(frame, index);
        }
    }
}

/// Whether the fast path admits a frame: plain headers, and `admits_source` admits its source.
#[inline(always)]
fn is_usual(frame: &[u8], mac: u64, admits_source: &mut impl FnMut(&Head) -> bool) -> bool {
    frame.first_chunk().is_some_and(|head| usual(head, mac, frame.len()) && admits_source(head))
}

/// The upper half of a frame's destination, little endian.
#[inline(always)]
fn to(frame: &[u8]) -> Option<u64> {
    frame.first_chunk::<HEADERS>().map(|head| le8(head, 38))
}

/// Whether the last source prefix of an external port is outside.
pub(super) struct OutsideSource {
    /// The upper half of the source, little endian.
    raw_high: u64,
    is_outside: bool,
}

impl OutsideSource {
    /// No source yet. No plain source has the upper half 0.
    pub(super) const NONE: OutsideSource = OutsideSource { raw_high: 0, is_outside: false };

    /// Whether no address under the source's upper half is inside. The stages judge all others.
    #[inline(always)]
    pub(super) fn is_outside(&mut self, head: &Head, tables: &Tables) -> bool {
        let raw_high = le8(head, 22);
        if raw_high != self.raw_high {
            *self = Self::of(raw_high, tables);
        }
        self.is_outside
    }

    #[inline(never)]
    fn of(raw_high: u64, tables: &Tables) -> Self {
        let high = raw_high.swap_bytes();
        let is_outside = tables.prefixes.of(high).is_none() && !tables.inside.sources.touches(high);
        OutsideSource { raw_high, is_outside }
    }
}

/// Whether the last source of a port with tasks is bound to the task that sent it.
pub(super) struct TaskSource {
    /// Source MAC address, with the lower 16 bits 0, and source address, both as they stand in the frame.
    raw: (u64, u64, u64),
    is_bound: bool,
}

impl TaskSource {
    pub(super) const NONE: TaskSource = TaskSource { raw: (0, 0, 0), is_bound: false };

    /// Whether the source address is bound to the untagged task with the source MAC address.
    #[inline(always)]
    pub(super) fn is_bound(&mut self, head: &Head, port: PortId, tables: &Tables) -> bool {
        let raw = (le8(head, 6) << 16, le8(head, 22), le8(head, 30));
        if raw != self.raw {
            *self = Self::of(raw, head, port, tables);
        }
        self.is_bound
    }

    #[inline(never)]
    fn of(raw: (u64, u64, u64), head: &Head, port: PortId, tables: &Tables) -> Self {
        let mac = Mac([head[6], head[7], head[8], head[9], head[10], head[11]]);
        let source = u128::from(be8(head, 22)) << 64 | u128::from(be8(head, 30));
        let task = AttachmentKey { port, vlan: 0, mac };
        let is_bound = tables.tasks.get(&task).is_some_and(|sources| sources.has(source))
            && !tables.own.contains(&source)
            && !tables.is_ila_form(source);
        TaskSource { raw, is_bound }
    }
}

/// Whether the headers are those that the fast path takes: untagged, to our MAC address, IPv6, plain TCP or UDP, no
/// padding, hop limit above 1.
#[inline(always)]
fn usual(head: &Head, mac: u64, length: usize) -> bool {
    /// The bits of ethertype, version and payload length that are compared. Traffic class and flow label may have any
    /// value. The payload length must be the number of all bytes behind the headers.
    const COUNTS: u64 = 0xffff_f000_0000_ffff;
    const USUAL_KIND: u64 = (ethernet::IPV6 as u64) << 48 | 6 << 44;
    // The destination is our MAC address, and the source has no group bit in its first byte.
    (le8(head, 0) ^ mac) << (64 - 49) == 0
        && be8(head, 12).wrapping_sub(USUAL_KIND.wrapping_add((length - HEADERS) as u64)) & COUNTS == 0
        && USUAL[usize::from(head[20])] & USUAL[256 + usize::from(head[22])] != 0
        && head[21] > 1
}

/// The first half has 1 for each next header that the fast path takes. The second half has 1 for each first byte of a
/// plain source address: global or unique local unicast.
const USUAL: [u8; 512] = {
    let mut table = [0; 512];
    table[ipv6::next::TCP as usize] = 1;
    table[ipv6::next::UDP as usize] = 1;
    let mut byte = 0;
    while byte < 256 {
        table[256 + byte] = plain((byte as u64) << 56) as u8;
        byte += 1;
    }
    table
};

/// Whether an address with this upper half is global or unique local unicast. The stages handle all other addresses:
/// groups, martians and link-local ones.
#[inline(always)]
pub(super) const fn plain(high: u64) -> bool {
    high >> 61 == 0b001 || high >> 57 == 0xfc >> 1
}
