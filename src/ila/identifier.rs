//! The 64-bit identifier: type, C-bit and 60 bits of value (ILA draft §3.2 to §3.7).
//!
//! This module only reads and composes the bits. [`super::neutral`] changes them on the way to the wire.

use std::fmt;
use std::net::Ipv4Addr;

/// The C-bit: checksum-neutral mapping was applied (ILA draft §3.2). It is always 0 in a SIR address.
pub const C_BIT: u64 = 1 << 60;
/// Position of the lowest of the three type bits.
const TYPE_SHIFT: u32 = 61;
/// The upper four bits of a task's identifier: type 1, C-bit clear.
pub const TASK: u64 = 0b0010;
/// The highest virtual network identifier (VNID): 28 bits (ILA draft §3.6, ILA draft §3.7).
pub const MAX_VNID: u32 = 0x0fff_ffff;

/// The identifier type in the three highest bits (ILA draft §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentifierType {
    /// Type 0: an interface identifier, never translated.
    Interface,
    /// Type 1: a locally unique identifier, a task.
    LocallyUnique,
    /// Type 2: a tenant's IPv4 address.
    TenantIpv4,
    /// Type 3: a tenant's IPv6 unicast address.
    TenantIpv6,
    /// Type 4: a tenant's IPv6 multicast address.
    TenantMulticast,
    /// Types 5 to 7: reserved.
    Reserved(u8),
}

impl IdentifierType {
    /// The value of the three type bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            IdentifierType::Interface => 0,
            IdentifierType::LocallyUnique => 1,
            IdentifierType::TenantIpv4 => 2,
            IdentifierType::TenantIpv6 => 3,
            IdentifierType::TenantMulticast => 4,
            IdentifierType::Reserved(bits) => bits,
        }
    }
}

/// A 64-bit identifier: the lower half of an IPv6 address.
///
/// Its text form is four hexadecimal groups, as `ip ila` of iproute2 prints them: `2000:0:0:1`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(pub u64);

impl Identifier {
    /// Type 2: a tenant's IPv4 address (ILA draft §3.6). Only the low 28 bits of `vnid` are used.
    #[inline]
    #[must_use]
    pub const fn tenant_ipv4(vnid: u32, address: u32) -> Identifier {
        Identifier::tenant(IdentifierType::TenantIpv4, vnid, address)
    }

    /// Type 3: the low 32 bits of a tenant's IPv6 unicast address (ILA draft §3.7.1). Only the low 28 bits of `vnid`
    /// are used.
    #[inline]
    #[must_use]
    pub const fn tenant_ipv6(vnid: u32, low: u32) -> Identifier {
        Identifier::tenant(IdentifierType::TenantIpv6, vnid, low)
    }

    /// Type 4: a tenant's IPv6 multicast address `ff0X::low`, `X` being `scope` (ILA draft §3.7.2). Only the low 28
    /// bits of `vnid` and `low` and the low 4 of `scope` are used.
    #[inline]
    #[must_use]
    pub const fn tenant_multicast(vnid: u32, scope: u8, low: u32) -> Identifier {
        let low = ((scope as u32 & 0xf) << 28) | (low & 0x0fff_ffff);
        Identifier::tenant(IdentifierType::TenantMulticast, vnid, low)
    }

    const fn tenant(kind: IdentifierType, vnid: u32, low: u32) -> Identifier {
        let high = ((kind.bits() as u64) << TYPE_SHIFT) | (((vnid & MAX_VNID) as u64) << 32);
        Identifier(high | low as u64)
    }

    /// The lower half of an IPv6 address.
    #[inline]
    #[must_use]
    pub const fn of_address(address: u128) -> Self {
        Identifier(address as u64)
    }

    /// The identifier type.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> IdentifierType {
        match (self.0 >> TYPE_SHIFT) as u8 {
            0 => IdentifierType::Interface,
            1 => IdentifierType::LocallyUnique,
            2 => IdentifierType::TenantIpv4,
            3 => IdentifierType::TenantIpv6,
            4 => IdentifierType::TenantMulticast,
            bits => IdentifierType::Reserved(bits),
        }
    }

    /// Whether the C-bit is set.
    #[inline]
    #[must_use]
    pub const fn neutral(self) -> bool {
        self.0 & C_BIT != 0
    }

    /// The virtual network identifier of types 2, 3 and 4: 28 bits. `None` for the other types.
    #[must_use]
    pub const fn vnid(self) -> Option<u32> {
        match self.kind() {
            IdentifierType::TenantIpv4 | IdentifierType::TenantIpv6 | IdentifierType::TenantMulticast => {
                Some((self.0 >> 32) as u32 & MAX_VNID)
            }
            _ => None,
        }
    }

    /// The other identifier of a pair that neutral mapping cannot tell apart.
    ///
    /// One's complement has two zeros. The zero alias of an identifier whose low 16 bits are 0x0000 has 0xffff there,
    /// and the reverse. Every other identifier has none: `None`.
    #[inline]
    #[must_use]
    pub const fn zero_alias(self) -> Option<Identifier> {
        match self.0 as u16 {
            0x0000 | 0xffff => Some(Identifier(self.0 ^ 0xffff)),
            _ => None,
        }
    }

    /// A text form for operators: the type and its fields.
    #[must_use]
    pub const fn describe(self) -> Describe {
        Describe(self)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let w = self.0;
        write!(f, "{:x}:{:x}:{:x}:{:x}", w >> 48, (w >> 32) & 0xffff, (w >> 16) & 0xffff, w & 0xffff)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Displays type and fields of an identifier; see [`Identifier::describe`].
#[derive(Debug, Clone, Copy)]
pub struct Describe(Identifier);

impl fmt::Display for Describe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        let low = id.0 as u32;
        match (id.kind(), id.vnid()) {
            (IdentifierType::TenantIpv4, Some(vnid)) => {
                write!(f, "ipv4 vnid={vnid} vaddr={}", Ipv4Addr::from(low))?
            }
            (IdentifierType::TenantIpv6, Some(vnid)) => write!(f, "ipv6 vnid={vnid} vaddr6l={low:08x}")?,
            (IdentifierType::TenantMulticast, Some(vnid)) => {
                write!(f, "multicast vnid={vnid} scope={:x} maddr6l={:07x}", low >> 28, low & 0x0fff_ffff)?;
            }
            (IdentifierType::Interface, _) => write!(f, "iid {id}")?,
            (IdentifierType::LocallyUnique, _) => write!(f, "luid {:015x}", id.0 & !(0xf << 60))?,
            (kind, _) => write!(f, "reserved type={} {id}", kind.bits())?,
        }
        if id.neutral() { f.write_str(" C") } else { Ok(()) }
    }
}

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identifier; write four hexadecimal groups, for example 2000:0:0:1")]
pub struct IdentifierError(String);

impl std::str::FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let wrong = || IdentifierError(text.to_owned());
        let mut value = 0u64;
        let mut groups = 0;
        for group in text.split(':') {
            if group.is_empty() || group.len() > 4 || !group.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            value = (value << 16) | u64::from_str_radix(group, 16).map_err(|_| wrong())?;
            groups += 1;
        }
        if groups == 4 { Ok(Identifier(value)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // ILA draft §3.3
    #[test]
    fn every_type_is_read_and_described() {
        let cases = [
            (0x0000_0000_0000_0001, IdentifierType::Interface, "iid 0:0:0:1"),
            (0x2000_0000_0000_0001, IdentifierType::LocallyUnique, "luid 000000000000001"),
            (0x4000_0005_0a00_0001, IdentifierType::TenantIpv4, "ipv4 vnid=5 vaddr=10.0.0.1"),
            (0x6000_0005_dead_beef, IdentifierType::TenantIpv6, "ipv6 vnid=5 vaddr6l=deadbeef"),
            (
                0x8fff_ffff_5abc_def0,
                IdentifierType::TenantMulticast,
                "multicast vnid=268435455 scope=5 maddr6l=abcdef0",
            ),
            (0xb000_0000_0000_0000, IdentifierType::Reserved(5), "reserved type=5 b000:0:0:0 C"),
        ];
        for (bits, kind, text) in cases {
            let id = Identifier(bits);
            assert_eq!((id.kind(), id.describe().to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn text_there_and_back() {
        let id: Identifier = "2000:0:0:20b4".parse().unwrap();
        assert_eq!(id, Identifier(0x2000_0000_0000_20b4));
        assert_eq!(id.to_string(), "2000:0:0:20b4");
        for wrong in ["", "2000::1", "2000:0:0", "2000:0:0:0:1", "12345:0:0:1", "g:0:0:1"] {
            assert!(wrong.parse::<Identifier>().is_err(), "{wrong}");
        }
    }

    // ILA draft §3.6, ILA draft §3.7.1, ILA draft §3.7.2
    #[test]
    fn tenants_are_laid_out_as_in_the_draft() {
        // | type 3 | C 1 | VNID 28 | VADDR 32 |
        assert_eq!(Identifier::tenant_ipv4(5, 0x0a00_0001), Identifier(0x4000_0005_0a00_0001));
        assert_eq!(Identifier::tenant_ipv6(5, 0xdead_beef), Identifier(0x6000_0005_dead_beef));
        // | type 3 | C 1 | VNID 28 | scope 4 | MADDR6L 28 |
        assert_eq!(Identifier::tenant_multicast(5, 0xe, 0x0abc_def0), Identifier(0x8000_0005_eabc_def0));
        for (id, kind) in [
            (Identifier::tenant_ipv4(MAX_VNID, u32::MAX), IdentifierType::TenantIpv4),
            (Identifier::tenant_ipv6(MAX_VNID, u32::MAX), IdentifierType::TenantIpv6),
            (Identifier::tenant_multicast(MAX_VNID, 0xf, u32::MAX), IdentifierType::TenantMulticast),
        ] {
            assert_eq!((id.kind(), id.vnid(), id.neutral()), (kind, Some(MAX_VNID), false));
            assert_eq!(id.0 as u32, u32::MAX);
        }
    }

    #[test]
    fn what_does_not_fit_a_field_stays_out_of_the_others() {
        assert_eq!(Identifier::tenant_ipv4(u32::MAX, 0), Identifier(0x4fff_ffff_0000_0000));
        assert_eq!(Identifier::tenant_ipv6(1 << 28, 0), Identifier(0x6000_0000_0000_0000));
        assert_eq!(Identifier::tenant_multicast(0, 0xff, 0xf000_0000), Identifier(0x8000_0000_f000_0000));
    }

    #[test]
    fn only_the_two_zeros_have_a_twin() {
        assert_eq!(Identifier(0x2000_0000_0001_0000).zero_alias(), Some(Identifier(0x2000_0000_0001_ffff)));
        assert_eq!(Identifier(0x2000_0000_0001_ffff).zero_alias(), Some(Identifier(0x2000_0000_0001_0000)));
        assert_eq!(Identifier(0x2000_0000_0001_0001).zero_alias(), None);
    }
}
