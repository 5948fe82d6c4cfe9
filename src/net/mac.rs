//! 48-bit MAC addresses.

use std::fmt;
use std::str::FromStr;

/// An IEEE 802 MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All zero: stands for no address.
    pub const ZERO: Mac = Mac([0; 6]);
    /// All ones: the broadcast address.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The address as a number of 48 bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        let m = self.0;
        u64::from_be_bytes([0, 0, m[0], m[1], m[2], m[3], m[4], m[5]])
    }

    /// The address with these bits; none if there are more than 48.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Mac> {
        match bits.to_be_bytes() {
            [0, 0, a, b, c, d, e, f] => Some(Mac([a, b, c, d, e, f])),
            _ => None,
        }
    }

    /// Whether the group bit is set (multicast or broadcast).
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The IPv6 multicast mapping `33:33` plus the low 32 bits (RFC 2464 §7).
    #[must_use]
    pub const fn of_ipv6_multicast(group: u128) -> Mac {
        let low = (group as u32).to_be_bytes();
        Mac([0x33, 0x33, low[0], low[1], low[2], low[3]])
    }

    /// The IPv4 multicast mapping `01:00:5e` plus the low 23 bits (RFC 1112 §6.4).
    #[must_use]
    pub const fn of_ipv4_multicast(group: u32) -> Mac {
        let low = group.to_be_bytes();
        Mac([0x01, 0x00, 0x5e, low[1] & 0x7f, low[2], low[3]])
    }

    /// The modified EUI-64 (RFC 4291 appendix A): `ff:fe` in the middle, the universal/local bit inverted.
    #[must_use]
    pub const fn modified_eui_64(self) -> u64 {
        let m = self.0;
        u64::from_be_bytes([m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]])
    }

    /// The link-local address formed from the modified EUI-64.
    #[must_use]
    pub const fn link_local(self) -> u128 {
        (0xfe80u128 << 112) | self.modified_eui_64() as u128
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(f, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5])
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address; write six hexadecimal bytes, for example 02:00:00:00:00:0a")]
pub struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let wrong = || MacError(text.to_owned());
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Mac(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_there_and_back() {
        let mac: Mac = "02:00:5e:00:00:0A".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:00:0a");
        for wrong in [
            "",
            "02:00",
            "02:00:00:00:00:0",
            "02:00:00:00:00:00:00",
            "02:00:00:00:00:+1",
            "zz:00:00:00:00:00",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn bits_there_and_back() {
        let mac = Mac([2, 0, 0x5e, 0, 0, 0x0a]);
        assert_eq!((mac.bits(), Mac::from_bits(mac.bits())), (0x0200_5e00_000a, Some(mac)));
        assert_eq!(Mac::from_bits(1 << 48), None);
    }

    // RFC 1112 §6.4, RFC 2464 §7
    #[test]
    fn multicast_mappings() {
        assert_eq!(Mac::of_ipv4_multicast(0xe081_0203).to_string(), "01:00:5e:01:02:03");
        assert_eq!(Mac::of_ipv6_multicast((0xff02 << 112) | 0x1_0203_0405).to_string(), "33:33:02:03:04:05");
        assert!(Mac::BROADCAST.is_multicast());
    }

    // RFC 4291 appendix A
    #[test]
    fn link_local_is_the_modified_eui_64() {
        let mac: Mac = "34:56:78:9a:bc:de".parse().unwrap();
        assert_eq!(std::net::Ipv6Addr::from(mac.link_local()).to_string(), "fe80::3656:78ff:fe9a:bcde");
    }
}
