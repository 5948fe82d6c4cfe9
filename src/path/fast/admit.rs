//! The admission test of the fast path: plain headers, and a source that is not spoofed. What fails is left to the
//! stages.
//!
//! Consecutive frames to the same /64 form a run.

use super::bytes::{HEADERS, Head, be8, le8};
use crate::ila::identifier::TASK;
use crate::net::{ethernet, ipv6};
use crate::table::Tables;

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

/// What the last source prefix says of tenants. Ports other than the fabric's that have no tenants check it while the
/// node has virtual networks: no source may be a tenant's address there.
pub(super) struct Origin {
    /// The upper half of the source, little endian.
    raw_high: u64,
    /// One bit for each value of the identifier's upper four bits (type and C-bit). A set bit says that such an
    /// identifier is not a tenant's.
    others: u16,
}

impl Origin {
    pub(super) const NONE: Origin = Origin { raw_high: 0, others: 0 };

    /// Whether the source of a frame is a tenant's address.
    #[inline(always)]
    pub(super) fn is_tenants(&mut self, head: &Head, tables: &Tables) -> bool {
        let (raw_high, low) = (le8(head, 22), be8(head, 30));
        if raw_high != self.raw_high {
            *self = Self::of(raw_high, tables);
        }
        self.others >> (low >> 60) & 1 == 0
            && tables.is_tenants(u128::from(raw_high.swap_bytes()) << 64 | u128::from(low))
    }

    /// Looks up the source prefix.
    #[inline(never)]
    fn of(raw_high: u64, tables: &Tables) -> Self {
        let others = match tables.prefixes.of(raw_high.swap_bytes()) {
            Some(prefix_info) if prefix_info.tenants => 0,
            Some(prefix_info) if prefix_info.sir.is_some() => 1 << TASK,
            _ => u16::MAX,
        };
        Origin { raw_high, others }
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
