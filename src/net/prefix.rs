//! IPv6 prefixes: text form (RFC 4291 §2.3) and the range of addresses that they cover.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An IPv6 prefix: address bits and a length of 0 to 128; host bits are always zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv6Prefix {
    bits: u128,
    length: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not `address/length`.
    #[error("`{0}` is not an IPv6 prefix; write address/length, for example 2001:db8::/32")]
    Syntax(String),
    /// Longer than an address.
    #[error("prefix length {0} is more than 128")]
    Length(u16),
    /// Bits set beyond the length.
    #[error("`{0}` has bits set beyond its length; write {1}")]
    HostBits(String, Ipv6Prefix),
}

impl Ipv6Prefix {
    /// The whole address space.
    pub const DEFAULT: Ipv6Prefix = Ipv6Prefix { bits: 0, length: 0 };

    /// The mask of a prefix of `length` bits; lengths over 128 count as 128.
    #[must_use]
    pub const fn mask(length: u8) -> u128 {
        if length == 0 { 0 } else { u128::MAX << (128 - if length > 128 { 128 } else { length }) }
    }

    /// The prefix that holds `address`, host bits cleared; lengths over 128 count as 128.
    #[must_use]
    pub const fn covering(address: u128, length: u8) -> Self {
        let length = if length > 128 { 128 } else { length };
        Ipv6Prefix { bits: address & Self::mask(length), length }
    }

    /// First address of the prefix.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.bits
    }

    /// Length in bits, 0 to 128.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether the prefix covers `address`.
    #[inline]
    #[must_use]
    pub const fn contains(self, address: u128) -> bool {
        address & Self::mask(self.length) == self.bits
    }

    /// Whether one of the two prefixes covers the other.
    #[must_use]
    pub const fn overlaps(self, other: Ipv6Prefix) -> bool {
        let shorter = Self::mask(if self.length < other.length { self.length } else { other.length });
        self.bits & shorter == other.bits & shorter
    }
}

impl fmt::Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from(self.bits), self.length)
    }
}

impl fmt::Debug for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv6Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv6Addr = address.parse().map_err(|_| syntax())?;
        if length.is_empty() || !length.bytes().all(|c| c.is_ascii_digit()) {
            return Err(syntax());
        }
        let length: u16 = length.parse().map_err(|_| syntax())?;
        if length > 128 {
            return Err(PrefixError::Length(length));
        }
        let prefix = Self::covering(address.into(), length as u8);
        if prefix.bits != u128::from(address) {
            return Err(PrefixError::HostBits(text.to_owned(), prefix));
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_there_and_back_and_refusals_name_the_way_out() {
        let prefix: Ipv6Prefix = "2001:db8::/32".parse().unwrap();
        assert_eq!(prefix.to_string(), "2001:db8::/32");
        assert!("2001:db8::".parse::<Ipv6Prefix>().is_err());
        assert!("2001:db8::/129".parse::<Ipv6Prefix>().is_err());
        let message = "2001:db8::1/64".parse::<Ipv6Prefix>().unwrap_err().to_string();
        assert!(message.contains("2001:db8::/64"), "{message}");
    }

    #[test]
    fn containment_and_overlap() {
        let wide: Ipv6Prefix = "2001:db8::/32".parse().unwrap();
        let narrow: Ipv6Prefix = "2001:db8:1::/48".parse().unwrap();
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(Ipv6Prefix::DEFAULT.contains(u128::MAX) && Ipv6Prefix::DEFAULT.overlaps(narrow));
        assert!(!narrow.contains(wide.bits()));
    }
}
