//! Which frames may take the fast path: those with usual headers, from a source that nothing speaks against. Frames to
//! the same /64 that follow each other make a run.

use super::bytes::{be8, le8};
use super::{HEADERS, Head};
use crate::ila::identifier::TASK;
use crate::net::{ethernet, ipv6};
use crate::table::Tables;

/// The usual frames of a burst, cut into runs of those to one upper half: a run is a loop so small that all it needs
/// stays in registers.
pub(super) struct Runs<'b, F, M> {
    pub(super) frames: F,
    pub(super) may: M,
    /// As in [`FastPath`].
    pub(super) mac: u64,
    /// The frame that the next run begins with, and its place.
    pub(super) next: Option<(&'b mut [u8], u8)>,
}

impl<'b, F: Iterator<Item = (&'b mut [u8], u8)>, M: FnMut(&Head) -> bool> Runs<'b, F, M> {
    /// The upper half where the next run goes, as it stands in its frames.
    #[inline]
    pub(super) fn destination(&mut self) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.frames.find(|(frame, _)| is_usual(frame, self.mac, &mut self.may));
        }
        self.next.as_ref().and_then(|(frame, _)| to(frame))
    }

    /// Gives the frames of the run to this upper half to `take`.
    #[inline(always)]
    pub(super) fn each(&mut self, raw_high: u64, mut take: impl FnMut(&'b mut [u8], u8) -> Option<()>) {
        if let Some((frame, index)) = self.next.take() {
            let _ = take(frame, index);
        }
        for (frame, index) in &mut self.frames {
            if !is_usual(frame, self.mac, &mut self.may) {
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

/// Whether a frame has usual headers, from somebody who `may` speak.
#[inline(always)]
fn is_usual(frame: &[u8], mac: u64, may: &mut impl FnMut(&Head) -> bool) -> bool {
    frame.first_chunk().is_some_and(|head| usual(head, mac, frame.len()) && may(head))
}

/// The upper half of the destination, as it stands in a frame.
#[inline(always)]
fn to(frame: &[u8]) -> Option<u64> {
    frame.first_chunk::<HEADERS>().map(|head| le8(head, 38))
}

/// What the upper half of a source says of tenants, on ports of tasks beside them.
pub(super) struct Origin {
    /// As it stands in a frame.
    raw_high: u64,
    /// A bit for each value of an identifier's upper four bits with which it is no tenant's.
    others: u16,
}

impl Origin {
    pub(super) const NONE: Origin = Origin { raw_high: 0, others: 0 };

    /// Whether a frame claims to come from a tenant.
    #[inline(always)]
    pub(super) fn is_tenants(&mut self, head: &Head, tables: &Tables) -> bool {
        let (raw_high, low) = (le8(head, 22), be8(head, 30));
        if raw_high != self.raw_high {
            *self = Self::of(raw_high, tables);
        }
        self.others >> (low >> 60) & 1 == 0
            && tables.is_tenants(u128::from(raw_high.swap_bytes()) << 64 | u128::from(low))
    }

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

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac: u64, length: usize) -> bool {
    /// Ethertype, version, traffic class, flow label, payload length: those that count, and what they must be. The
    /// length is what the frame has behind the headers, all of it.
    const COUNTS: u64 = 0xffff_f000_0000_ffff;
    const USUAL_KIND: u64 = (ethernet::IPV6 as u64) << 48 | 6 << 44;
    // Our MAC address as destination, and no group bit in the source's first byte.
    (le8(head, 0) ^ mac) << (64 - 49) == 0
        && be8(head, 12).wrapping_sub(USUAL_KIND.wrapping_add((length - HEADERS) as u64)) & COUNTS == 0
        && USUAL[usize::from(head[20])] & USUAL[256 + usize::from(head[22])] != 0
        && head[21] > 1
}

/// 1 for the next headers of the direct way; then 1 for the first bytes of plain sources: global and unique local ones.
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

/// Whether an address with this upper half is global or unique local unicast: groups and martians must meet the stages
/// that know them.
#[inline(always)]
pub(super) const fn plain(high: u64) -> bool {
    high >> 61 == 0b001 || high >> 57 == 0xfc >> 1
}
