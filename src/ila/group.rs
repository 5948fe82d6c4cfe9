//! Multicast groups of virtual networks: the identifiers of IPv6 and IPv4 groups (ILA draft §3.6, ILA draft §3.7.2).
//!
//! An IPv6 group has an identifier of type 4, an IPv4 group one of type 2 with the group's address. The module knows no
//! members and no trees.

use super::{Identifier, IdentifierType};

/// The IPv6 multicast addresses that have an identifier: `ff0X::0` to `ff0X::fff:ffff`.
const IPV6_GROUPS: u128 = 0xff00 << 112;
/// The bits in which such addresses differ: scope and the low 28 bits.
const IPV6_FREE: u128 = (0xf << 112) | 0x0fff_ffff;

/// The scope of an IPv6 multicast address (RFC 4291 §2.7).
#[must_use]
pub const fn scope(address: u128) -> u8 {
    (address >> 112) as u8 & 0xf
}

/// Whether packets to an IPv6 multicast address of this scope may leave their link. Scopes 0 and 15 are reserved and
/// do not (RFC 4291 §2.7).
#[must_use]
pub const fn leaves_link(scope: u8) -> bool {
    matches!(scope, 3..=14)
}

/// Whether packets to an IPv4 multicast address may leave their link (RFC 5771 §4).
#[must_use]
pub const fn ipv4_leaves_link(address: u32) -> bool {
    address >> 28 == 0xe && address >> 8 != 0x00e0_0000
}

/// The IPv6 address of the group with this identifier, which must be of type 4.
#[must_use]
pub const fn ipv6_address(identifier: Identifier) -> u128 {
    let low = identifier.0 as u32;
    IPV6_GROUPS | (((low >> 28) as u128) << 112) | (low & 0x0fff_ffff) as u128
}

/// The identifier of an IPv6 multicast address in the network `vnid`; `None` when the address is not one of `ff0X::0`
/// to `ff0X::fff:ffff`, `X` being the scope (ILA draft §3.7.2).
#[must_use]
pub const fn ipv6_identifier(vnid: u32, address: u128) -> Option<Identifier> {
    if address & !IPV6_FREE != IPV6_GROUPS {
        return None;
    }
    Some(Identifier::tenant_multicast(vnid, scope(address), address as u32))
}

/// Whether no tenant address and no task can have the identifier: it is of type 4, or of type 2 with an address from
/// 224.0.0.0 on.
#[must_use]
pub const fn is_group(identifier: Identifier) -> bool {
    match identifier.kind() {
        IdentifierType::TenantMulticast => true,
        IdentifierType::TenantIpv4 => identifier.0 as u32 >> 28 >= 0xe,
        _ => false,
    }
}

/// Whether the identifier cannot be a group's because of its zero alias ([`Identifier::zero_alias`]).
///
/// Neutral mapping makes both identifiers of such a pair look the same on the wire. Only the one that ends in 0x0000
/// can be a group's. 255.255.255.255 (low 32 bits all ones) is exempt: it is the limited broadcast address.
#[must_use]
pub const fn yields_to_zero_alias(identifier: Identifier) -> bool {
    identifier.0 & 0xffff == 0xffff && identifier.0 as u32 != u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    // ILA draft §3.7.2
    #[test]
    fn only_ff0x_with_28_bits_has_an_identifier_and_it_leads_back() {
        for (text, identifier) in [
            ("ff05::1234", 0x8000_0064_5000_1234),
            ("ff0e::fff:ffff", 0x8000_0064_efff_ffff),
            ("ff03::", 0x8000_0064_3000_0000),
        ] {
            let address = u128::from(text.parse::<std::net::Ipv6Addr>().unwrap());
            assert_eq!(ipv6_identifier(100, address), Some(Identifier(identifier)));
            assert_eq!(ipv6_address(Identifier(identifier)), address);
        }
        for text in ["ff15::1", "ff05::1000:0", "ff05::1:0:1", "ff05:1::1", "fe05::1", "::"] {
            let address = text.parse::<std::net::Ipv6Addr>().unwrap();
            assert_eq!(ipv6_identifier(100, address.into()), None, "{text}");
        }
    }

    // RFC 4291 §2.7, RFC 5771 §4
    #[test]
    fn what_stays_on_its_link_is_known() {
        assert!([0, 1, 2, 15].iter().all(|scope| !leaves_link(*scope)) && (3..15).all(leaves_link));
        for (address, leaves) in [
            (0xe000_0001, false),
            (0xe000_00fb, false),
            (0xe000_0100, true),
            (0xefff_fffa, true),
            (0xdfff_ffff, false),
            (0xf000_0000, false),
        ] {
            assert_eq!(ipv4_leaves_link(address), leaves, "{address:x}");
        }
    }
}
