//! Wire formats as views over byte arrays. Knows nothing of ILA, tables or devices.
//!
//! A view is made from a slice that has been proven long enough, so its accessors cannot panic.

pub mod checksum;
pub mod ethernet;
pub mod icmp6;
pub mod ipv6;
pub mod mac;
pub mod ndp;
pub mod prefix;

pub use mac::Mac;
pub use prefix::Ipv6Prefix;

/// Reads a big-endian `u16` at `at`, or `None` beyond the end.
#[inline]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes a big-endian `u16` at `at`; says whether it fitted.
#[inline]
pub fn put_be16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    match bytes.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<2>()) {
        Some(room) => {
            *room = value.to_be_bytes();
            true
        }
        None => false,
    }
}
