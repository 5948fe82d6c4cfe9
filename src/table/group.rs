//! Which identifiers of a virtual network are those of groups (ILA draft §3.7.2). All broadcast addresses of a network
//! stand for one group: everybody with IPv4.

use super::network::Network;
use crate::ila::group::yields_to_zero_alias;
use crate::ila::{Identifier, IdentifierType};

impl Network {
    /// Whether an IPv4 address is a broadcast address: the limited one (RFC 919) or that of a subnet (RFC 922).
    #[must_use]
    pub fn is_broadcast(&self, address: u32) -> bool {
        address == u32::MAX || self.subnet_of(address).is_some_and(|subnet| subnet.is_broadcast(address))
    }

    /// Whether an identifier is that of a broadcast address of the network.
    #[must_use]
    pub fn is_broadcast_identifier(&self, identifier: Identifier) -> bool {
        identifier.kind() == IdentifierType::TenantIpv4 && self.is_broadcast(identifier.0 as u32)
    }

    /// The identifier of the group that all broadcast addresses of the network stand for.
    #[must_use]
    pub const fn broadcast(&self) -> Identifier {
        self.ipv4_identifier(u32::MAX)
    }

    /// The group of an identifier under a locator of ours; `None` if it is not that of a group. `mapped` says that
    /// neutral mapping changed the identifier, so that it may also stand for its zero alias.
    #[must_use]
    pub fn group_of(&self, identifier: Identifier, mapped: bool) -> Option<Identifier> {
        let low = identifier.0 as u32;
        let zero_alias = identifier.zero_alias().filter(|_| mapped);
        match identifier.kind() {
            IdentifierType::TenantIpv4 if self.is_broadcast(low) => Some(identifier),
            IdentifierType::TenantIpv4 => {
                match zero_alias.filter(|zero_alias| self.is_broadcast(zero_alias.0 as u32)) {
                    Some(zero_alias) => Some(zero_alias),
                    None => (low >> 28 == 0xe).then(|| first(identifier, zero_alias)),
                }
            }
            IdentifierType::TenantMulticast => Some(first(identifier, zero_alias)),
            _ => None,
        }
    }
}

/// The one of two zero aliases that a group may have.
fn first(identifier: Identifier, zero_alias: Option<Identifier>) -> Identifier {
    zero_alias.filter(|_| yields_to_zero_alias(identifier)).unwrap_or(identifier)
}

#[cfg(test)]
mod tests {
    use super::super::network::Subnet;
    use super::super::peers::Peers;
    use super::super::{DomainId, Network};
    use super::*;
    use crate::net::{Ipv4Prefix, Mac};

    fn network(subnets: &[(u32, u8)]) -> Network {
        let subnet = |(prefix, length): &(u32, u8)| Subnet {
            prefix: *prefix,
            mask: Ipv4Prefix::mask(*length),
            gateway: 0,
        };
        Network {
            vnid: 100,
            domain: DomainId(0),
            mac: Mac::ZERO,
            mtu: 1500,
            ipv6: None,
            ipv4: subnets.iter().map(subnet).collect(),
            peers: Peers::default(),
            slot: 0,
            sends: Default::default(),
            hears: Default::default(),
            gateways: Default::default(),
            replicas: Default::default(),
            received_copies: Default::default(),
            on_link: true,
        }
    }

    // RFC 919, RFC 922; RFC 3021 for subnets of two addresses.
    #[test]
    fn the_last_address_of_a_subnet_is_for_all_of_it() {
        let network = network(&[(0x0a00_0000, 24), (0x0a00_0100, 31), (0x0a00_0102, 32)]);
        for (address, everybody) in [
            (0x0a00_00ff, true),
            (0x0a00_00fe, false),
            (0x0a00_0101, false),
            (0x0a00_0102, false),
            (0x0b00_00ff, false),
            (u32::MAX, true),
        ] {
            assert_eq!(network.is_broadcast(address), everybody, "{address:x}");
        }
    }

    #[test]
    fn zero_aliases_are_one_group_where_neutral_mapping_made_them_alike() {
        let network = network(&[(0x0a00_0000, 16)]);
        let ipv4 = |address| Identifier::tenant_ipv4(100, address);
        let ipv6 = |low| Identifier::tenant_multicast(100, 5, low);
        for (id, mapped, group) in [
            (ipv6(0x1_ffff), true, Some(ipv6(0x1_0000))),
            (ipv6(0x1_ffff), false, Some(ipv6(0x1_ffff))),
            (ipv6(0x1_0000), true, Some(ipv6(0x1_0000))),
            (ipv4(0xef01_ffff), true, Some(ipv4(0xef01_0000))),
            (ipv4(0xef01_0203), true, Some(ipv4(0xef01_0203))),
            // Here the other zero alias is the broadcast address, and no tenant can have this one.
            (ipv4(0xffff_0000), true, Some(network.broadcast())),
            (ipv4(0xffff_0000), false, None),
            (ipv4(0x0a00_0000), true, Some(ipv4(0x0a00_ffff))),
            (ipv4(0x0a00_0000), false, None),
            (ipv4(0x0a00_0001), true, None),
            (Identifier::tenant_ipv6(100, 0xef01_0203), true, None),
        ] {
            assert_eq!(network.group_of(id, mapped), group, "{id} {mapped}");
        }
    }
}
