//! The headers of a frame, and words at fixed offsets of a frame. The offsets are constants, so the bounds checks vanish.

use crate::net::{ethernet, ipv6};

/// Length of the Ethernet and IPv6 headers, in bytes.
pub(super) const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;
/// Both headers, and the ports for the flow hash.
pub(super) type Head = [u8; HEADERS + 4];

/// Eight bytes at offset `at`, little endian.
#[inline(always)]
pub(in crate::path) fn le8<const N: usize>(frame: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&frame[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Eight bytes at offset `at`, big endian.
#[inline(always)]
pub(in crate::path) fn be8<const N: usize>(frame: &[u8; N], at: usize) -> u64 {
    le8(frame, at).swap_bytes()
}

/// Four bytes at offset `at`, big endian.
#[inline(always)]
pub(in crate::path) fn be4<const N: usize>(frame: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&frame[at..at + 4]);
    u32::from_be_bytes(word)
}

/// Two bytes at offset `at`, big endian.
#[inline(always)]
pub(in crate::path) fn be2<const N: usize>(frame: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}
