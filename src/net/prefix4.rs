//! IPv4 prefixes: text form (RFC 4632 §3.1) and the range of addresses that they cover.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 prefix: address bits and a length of 0 to 32; host bits are always zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Prefix {
    bits: u32,
    length: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Prefix4Error {
    /// Not `address/length`.
    #[error("`{0}` is not an IPv4 prefix; write address/length, for example 10.0.0.0/24")]
    Syntax(String),
    /// Longer than an address.
    #[error("`{0}` has length {1}, more than the 32 bits of an IPv4 address; write 0 to 32")]
    Length(String, u16),
    /// Bits set beyond the length.
    #[error("`{0}` has bits set beyond its length; write {1}")]
    HostBits(String, Ipv4Prefix),
}

impl Ipv4Prefix {
    /// The mask of a prefix of `length` bits; lengths over 32 count as 32.
    #[must_use]
    pub const fn mask(length: u8) -> u32 {
        if length == 0 { 0 } else { u32::MAX << (32 - if length > 32 { 32 } else { length }) }
    }

    /// The prefix that holds `address`, host bits cleared; lengths over 32 count as 32.
    #[must_use]
    pub const fn covering(address: u32, length: u8) -> Self {
        let length = if length > 32 { 32 } else { length };
        Ipv4Prefix { bits: address & Self::mask(length), length }
    }

    /// First address of the prefix: that of the network itself if the length is less than 31.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// Length in bits, 0 to 32.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Last address of the prefix: the directed broadcast address if the length is less than 31.
    #[must_use]
    pub const fn broadcast(self) -> u32 {
        self.bits | !Self::mask(self.length)
    }

    /// Whether the prefix covers `address`.
    #[inline]
    #[must_use]
    pub const fn contains(self, address: u32) -> bool {
        address & Self::mask(self.length) == self.bits
    }

    /// Whether one of the two prefixes covers the other.
    #[must_use]
    pub const fn overlaps(self, other: Ipv4Prefix) -> bool {
        let shorter = Self::mask(if self.length < other.length { self.length } else { other.length });
        self.bits & shorter == other.bits & shorter
    }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.bits), self.length)
    }
}

impl fmt::Debug for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Prefix {
    type Err = Prefix4Error;

    fn from_str(text: &str) -> Result<Self, Prefix4Error> {
        let syntax = || Prefix4Error::Syntax(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        if length.is_empty() || !length.bytes().all(|c| c.is_ascii_digit()) {
            return Err(syntax());
        }
        let length: u16 = length.parse().map_err(|_| syntax())?;
        if length > 32 {
            return Err(Prefix4Error::Length(text.to_owned(), length));
        }
        let prefix = Self::covering(address.into(), length as u8);
        if prefix.bits != u32::from(address) {
            return Err(Prefix4Error::HostBits(text.to_owned(), prefix));
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Ipv4Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn text_there_and_back_and_refusals_name_the_way_out() {
        for text in ["10.0.0.0/24", "0.0.0.0/0", "10.0.0.7/32", "10.0.0.6/31"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        for wrong in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0/24", "10.0.0.0/+8", "2001:db8::/32", "10.0.0.00/24"]
        {
            let message = wrong.parse::<Ipv4Prefix>().unwrap_err().to_string();
            assert!(message.contains("is not an IPv4 prefix; write address/length"), "{message}");
        }
        let refusal = |text: &str| text.parse::<Ipv4Prefix>().unwrap_err().to_string();
        assert_eq!(
            refusal("10.0.0.0/33"),
            "`10.0.0.0/33` has length 33, more than the 32 bits of an IPv4 address; write 0 to 32"
        );
        assert_eq!(refusal("10.0.0.1/24"), "`10.0.0.1/24` has bits set beyond its length; write 10.0.0.0/24");
    }

    #[test]
    fn containment_and_overlap() {
        let (wide, narrow) = (prefix("10.0.0.0/8"), prefix("10.1.0.0/16"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && !narrow.overlaps(prefix("10.2.0.0/16")));
        assert!(narrow.contains(0x0a01_ffff) && !narrow.contains(0x0a02_0000));
        let all = prefix("0.0.0.0/0");
        assert!(all.contains(u32::MAX) && all.overlaps(narrow));
    }

    #[test]
    fn first_and_last_address() {
        for (text, first, last) in [
            ("10.0.0.0/24", 0x0a00_0000, 0x0a00_00ff),
            ("10.0.0.6/31", 0x0a00_0006, 0x0a00_0007),
            ("10.0.0.7/32", 0x0a00_0007, 0x0a00_0007),
            ("0.0.0.0/0", 0, u32::MAX),
        ] {
            assert_eq!((prefix(text).bits(), prefix(text).broadcast()), (first, last));
        }
    }
}
