//! SIR prefixes and locators: the upper 64 bits of an address (ILA draft §3.8, ILA draft §3.9).

use crate::net::Ipv6Prefix;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Why a text is not a SIR prefix or not a locator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HalfError {
    /// The text is not an IPv6 prefix.
    #[error(transparent)]
    Prefix(#[from] crate::net::prefix::PrefixError),
    /// The prefix length is not 64.
    #[error("`{0}` has length {1}; a {2} has 64 bits")]
    Length(String, u8, &'static str),
    /// The prefix is neither global unicast (2000::/3) nor unique local (fc00::/7).
    #[error("`{0}` is not global unicast or unique local; a {1} lies in 2000::/3 or fc00::/7")]
    Kind(String, &'static str),
}

fn parse_half(text: &str, what: &'static str) -> Result<u64, HalfError> {
    let prefix: Ipv6Prefix = text.parse()?;
    if prefix.length() != 64 {
        return Err(HalfError::Length(text.to_owned(), prefix.length(), what));
    }
    let half = (prefix.bits() >> 64) as u64;
    if half >> 61 == 0b001 || half >> 57 == 0xfc >> 1 {
        Ok(half)
    } else {
        Err(HalfError::Kind(text.to_owned(), what))
    }
}

macro_rules! half {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl $name {
            /// The 64 bits as an [`Ipv6Prefix`].
            #[must_use]
            pub const fn prefix(self) -> Ipv6Prefix {
                Ipv6Prefix::covering((self.0 as u128) << 64, 64)
            }

            /// The address with `identifier` in its lower half.
            #[must_use]
            pub const fn with(self, identifier: super::Identifier) -> u128 {
                ((self.0 as u128) << 64) | identifier.0 as u128
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/64", Ipv6Addr::from((self.0 as u128) << 64))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HalfError;

            fn from_str(text: &str) -> Result<Self, HalfError> {
                parse_half(text, $what).map($name)
            }
        }
    };
}

half!(
    /// A SIR prefix: it takes the place of the locator and makes an identifier an ordinary IPv6 address
    /// (ILA draft §3.8).
    SirPrefix, "SIR prefix"
);
half!(
    /// A locator: the /64 that routes to a host, global unicast or unique local (ILA draft §3.9).
    Locator, "locator"
);

#[cfg(test)]
mod tests {
    use super::*;

    // ILA draft §3.8, ILA draft §3.9
    #[test]
    fn locators_are_global_or_unique_local_and_64_bits_long() {
        assert_eq!("fd00:1:2:3::/64".parse::<Locator>().unwrap(), Locator(0xfd00_0001_0002_0003));
        assert_eq!("2001:db8:0:1::/64".parse::<SirPrefix>().unwrap().to_string(), "2001:db8:0:1::/64");
        for wrong in
            ["fe80::/64", "ff02::/64", "::/64", "2001:db8::/63", "2001:db8::/96", "2001:db8::1/64", "x"]
        {
            assert!(wrong.parse::<Locator>().is_err(), "{wrong}");
        }
    }
}
