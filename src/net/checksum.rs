//! One's complement arithmetic of the Internet checksum (RFC 1071, RFC 1624).

/// One's complement addition of two 16-bit words (`+'`).
#[inline]
#[must_use]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// One's complement subtraction (`-'`): adds the complement.
#[inline]
#[must_use]
pub const fn sub(a: u16, b: u16) -> u16 {
    add(a, !b)
}

/// Folds a 64-bit sum of 16-bit words to 16 bits.
#[inline]
#[must_use]
pub const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The folded sum of the four 16-bit words of a 64-bit half address.
#[inline]
#[must_use]
pub const fn sum_of_half(half: u64) -> u16 {
    fold((half >> 32) + (half & 0xffff_ffff))
}

/// The folded sum of the eight words of an IPv6 address.
#[inline]
#[must_use]
pub const fn sum_of_address(address: u128) -> u16 {
    add(sum_of_half((address >> 64) as u64), sum_of_half(address as u64))
}

/// The folded sum of the two words of an IPv4 address.
#[inline]
#[must_use]
pub const fn sum_of_address4(address: u32) -> u16 {
    add((address >> 16) as u16, address as u16)
}

/// The folded sum of a byte string, padded with a zero byte when its length is odd.
#[inline]
#[must_use]
pub fn sum_of_bytes(bytes: &[u8]) -> u16 {
    // The loop adds several words at a time (RFC 1071 §2 (C)) in the machine's byte order. Swapping the bytes of every
    // word swaps the bytes of the sum (RFC 1071 §2 (B)); the last line swaps them back.
    let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let (lines, rest) = bytes.as_chunks::<64>();
    let mut sum = 0u64;
    for line in lines {
        sum += line.as_chunks().0.iter().map(|word| halves(u64::from_ne_bytes(*word))).sum::<u64>();
    }
    // The remaining words are added one by one with the carry. A wider load would stall on bytes that the caller has
    // just written with narrower stores.
    let (words, rest) = rest.as_chunks::<8>();
    let mut end = 0u64;
    for word in words {
        let (next, carry) = end.overflowing_add(u64::from_ne_bytes(*word));
        end = next + u64::from(carry);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    u16::from_be_bytes(fold(sum + halves(end) + halves(u64::from_ne_bytes(last))).to_ne_bytes())
}

/// The sum of the IPv6 pseudo header (RFC 8200 §8.1).
#[inline]
#[must_use]
pub fn pseudo_header(source: u128, destination: u128, length: u32, next_header: u8) -> u16 {
    let halves = [source >> 64, source, destination >> 64, destination].map(|half| half as u64);
    let sum: u64 = halves.iter().map(|half| (half >> 32) + (half & 0xffff_ffff)).sum();
    fold(sum + u64::from(length) + u64::from(next_header))
}

/// Computes the checksum field of the upper-layer packet `payload`, whose checksum bytes must be zero (RFC 8200 §8.1).
///
/// Over a received packet, checksum bytes included, the result is 0 if the checksum is right.
#[must_use]
pub fn transport(source: u128, destination: u128, next_header: u8, payload: &[u8]) -> u16 {
    !add(pseudo_header(source, destination, payload.len() as u32, next_header), sum_of_bytes(payload))
}

/// Updates the checksum field `field` after words whose sum is `old` were replaced by words whose sum is `new`
/// (RFC 1624 §3, equation 3).
#[inline]
#[must_use]
pub const fn update(field: u16, old: u16, new: u16) -> u16 {
    !add(add(!field, !old), new)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 1071 §3
    #[test]
    fn rfc_1071_section_3_example() {
        assert_eq!(sum_of_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    // RFC 1071 §2 (B), RFC 1071 §2 (C)
    #[test]
    fn several_words_at_a_time_sum_as_one_by_one() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(151) ^ 0xa5).chain([0xff; 40]).collect();
        for length in 0..bytes.len() {
            let one_by_one = bytes[..length]
                .chunks(2)
                .fold(0, |sum, word| add(sum, u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])));
            assert_eq!(sum_of_bytes(&bytes[..length]), one_by_one, "{length}");
        }
        assert_eq!((sum_of_bytes(&[0xff; 16]), sum_of_bytes(&[0; 9])), (0xffff, 0));
    }

    #[test]
    fn an_odd_byte_is_padded_with_zero() {
        assert_eq!(sum_of_bytes(&[0x12]), 0x1200);
    }

    // RFC 1624 §3 (equation 3), RFC 1624 §4 (example)
    #[test]
    fn rfc_1624_section_4_example() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn fold_takes_every_carry() {
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0x1_0000), 1);
        assert_eq!(sum_of_half(u64::MAX), 0xffff);
    }

    #[test]
    fn subtracting_what_was_added_is_the_identity_up_to_the_two_zeros() {
        for a in (0..=0xffffu16).step_by(257) {
            for b in (0..=0xffffu16).step_by(4099) {
                let back = sub(add(a, b), b);
                assert!(
                    back == a || (a == 0 && back == 0xffff) || (a == 0xffff && back == 0),
                    "{a:#x} {b:#x} {back:#x}"
                );
            }
        }
    }
}
