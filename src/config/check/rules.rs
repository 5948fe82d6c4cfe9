//! The rules that need no place in a file: a text or a value goes in, a value or the message with the way out
//! comes back.
//!
//! The sections of the configuration, the mapping file and the amendments of operators judge by these same
//! rules.

use super::super::model::{LocalIdentifier, OwnLocator, SirDomain, TenantAddress, VirtualNetwork};
use crate::ila::group::{self, ipv6_identifier};
use crate::ila::identifier::{C_BIT, MAX_VNID};
use crate::ila::{Identifier, IdentifierType, Locator};
use crate::mapping::group::judge_group_identifier;
use crate::net::ipv6::is_multicast;
use crate::net::{Ipv4Prefix, Mac};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The word for all that is neither tenant nor task.
pub(crate) const OUTSIDE: &str = "outside";

/// The MAC address of the router that tenants and tasks see, unless the file says otherwise.
pub(crate) const ROUTER_MAC: Mac = Mac([0x02, 0x00, 0x5e, 0, 0, 1]);

/// The SIR domains that could be read.
#[derive(Debug)]
pub(crate) struct Domains {
    pub(crate) list: Vec<SirDomain>,
    /// Whether every domain of the file is in the list. Otherwise a domain that is not found may be one with
    /// an error.
    pub(crate) complete: bool,
}

impl Domains {
    /// Index of the domain whose SIR prefix is the upper half of `address`.
    pub(crate) fn of(&self, address: u128) -> Option<u8> {
        let half = (address >> 64) as u64;
        self.list.iter().position(|domain| domain.prefix.0 == half).map(|n| n as u8)
    }

    /// Index of the domain called `name`.
    pub(super) fn named(&self, name: &str) -> Option<u8> {
        self.list.iter().position(|domain| domain.name == name).map(|n| n as u8)
    }

    /// Whether two identifiers of a domain that differ only in a low word of 0000 or ffff are the same on the
    /// wire.
    pub(crate) fn has_zero_aliases(&self, domain: u8) -> bool {
        self.list.get(domain as usize).is_some_and(|domain| domain.checksum.changes_identifier())
    }
}

/// Our own locators that could be read.
#[derive(Debug)]
pub(crate) struct Locators {
    pub(crate) list: Vec<OwnLocator>,
    /// Whether every locator of the file is in the list.
    pub(crate) complete: bool,
}

/// Reads an identifier that is written as its SIR address: under a SIR prefix, types 1 to 4, C-bit 0.
///
/// `Ok(None)`: the domains of the file have errors, so nothing is known about this address.
pub(crate) fn judge_identifier(text: &str, domains: &Domains) -> Result<Option<LocalIdentifier>, String> {
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        return Err(format!("`{text}` is not an IPv6 address; write the SIR address of the identifier"));
    };
    let identifier = Identifier::of_address(address.into());
    let wrong_type = match identifier.kind() {
        IdentifierType::LocallyUnique
        | IdentifierType::TenantIpv4
        | IdentifierType::TenantIpv6
        | IdentifierType::TenantMulticast => None,
        IdentifierType::Interface => Some("is never translated"),
        IdentifierType::Reserved(_) => Some("is reserved"),
    };
    let Some(domain) = domains.of(address.into()) else {
        if !domains.complete {
            return Ok(None);
        }
        return Err(format!("{address} lies under no SIR prefix; add its /64 to sir_domains or correct it"));
    };
    if let Some(why) = wrong_type {
        let kind = identifier.kind().bits();
        return Err(format!(
            "{address} has identifier type {kind}, which {why}; use type 1, for example 2000:0:0:1"
        ));
    }
    if identifier.neutral() {
        let clear = Ipv6Addr::from(u128::from(address) & !u128::from(C_BIT));
        return Err(format!(
            "{address} has the C-bit set, which is always 0 in a SIR address; write {clear}"
        ));
    }
    if identifier.vnid() == Some(0) {
        return Err(format!("{address} has VNID 0, which no virtual network has; write 1 to {MAX_VNID}"));
    }
    if group::is_group(identifier) {
        judge_group_identifier(identifier, domains.has_zero_aliases(domain))
            .map_err(|why| format!("{address} {why}"))?;
    }
    Ok(Some(LocalIdentifier { domain, identifier }))
}

/// Judges a locator that identifiers of `domain` map to, against the SIR prefixes and our own locators.
pub(crate) fn judge_remote_locator(
    locator: Locator,
    domain: u8,
    domains: &Domains,
    own: &[OwnLocator],
) -> Result<(), String> {
    if let Some(sir) = domains.of(locator.with(Identifier(0))).and_then(|d| domains.list.get(d as usize)) {
        let name = &sir.name;
        return Err(format!(
            "{locator} is the SIR prefix of domain {name}; a locator must not be a SIR prefix"
        ));
    }
    match own.iter().find(|own| own.prefix == locator && own.domain != domain) {
        Some(_) => Err(format!(
            "{locator} is our own locator of another domain; a locator belongs to exactly one SIR domain"
        )),
        None => Ok(()),
    }
}

/// Judges a group's address in a network, with its identifier; `None` when it is not a group's.
pub(crate) fn judge_group(
    text: &str,
    network: &VirtualNetwork,
    zero_aliases: bool,
) -> Option<Result<(TenantAddress, Identifier), String>> {
    let (vnid, name) = (network.vnid, &network.name);
    let (address, identifier) = match text.parse().ok()? {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            if bits >> 28 < 0xe {
                return None;
            }
            if network.ipv4.is_empty() {
                return Some(Err(format!("{address} is IPv4, which network {name} has not; add ipv4 there")));
            }
            (TenantAddress::V4(bits), Identifier::tenant_ipv4(vnid, bits))
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            if !is_multicast(bits) {
                return None;
            }
            if network.ipv6.is_none() {
                return Some(Err(format!("{address} is IPv6, which network {name} has not; add ipv6 there")));
            }
            match ipv6_identifier(vnid, bits) {
                Some(identifier) => (TenantAddress::V6(bits), identifier),
                None => {
                    return Some(Err(format!(
                        "{address} has no identifier; write a group from ff0X:: to ff0X::fff:ffff"
                    )));
                }
            }
        }
    };
    let judged = judge_group_identifier(identifier, zero_aliases);
    Some(judged.map(|()| (address, identifier)).map_err(|why| format!("{text} {why}")))
}

/// Judges an address of a tenant in its network; with its identifier.
pub(crate) fn judge_address(
    text: &str,
    network: &VirtualNetwork,
) -> Result<(TenantAddress, Identifier), String> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => {
            judge_ipv4(address, network)?;
            let address = u32::from(address);
            Ok((TenantAddress::V4(address), Identifier::tenant_ipv4(network.vnid, address)))
        }
        Ok(IpAddr::V6(address)) => {
            judge_ipv6(address, network)?;
            let address = u128::from(address);
            Ok((TenantAddress::V6(address), Identifier::tenant_ipv6(network.vnid, address as u32)))
        }
        Err(_) => Err(format!("`{text}` is not an address; write for example 10.0.0.5 or 2001:db8:a::5")),
    }
}

fn judge_ipv4(address: Ipv4Addr, network: &VirtualNetwork) -> Result<(), String> {
    let (bits, name) = (u32::from(address), &network.name);
    let Some(subnet) = network.ipv4.iter().find(|subnet| subnet.prefix.contains(bits)) else {
        return Err(format!(
            "{address} lies in no IPv4 subnet of network {name}; correct it, or add its subnet there"
        ));
    };
    host_of(subnet.prefix, bits)?;
    if subnet.gateway == bits {
        return Err(format!("{address} is the gateway of {}; write the tenant's own", subnet.prefix));
    }
    Ok(())
}

fn judge_ipv6(address: Ipv6Addr, network: &VirtualNetwork) -> Result<(), String> {
    let (bits, name) = (u128::from(address), &network.name);
    let Some(ipv6) = network.ipv6 else {
        return Err(format!("{address} is IPv6, which network {name} has not; add ipv6 there"));
    };
    if !ipv6.prefix.contains(bits) {
        let prefix = ipv6.prefix;
        return Err(format!("{address} does not lie under {prefix} of network {name}; use one that does"));
    }
    if ipv6.gateway == Some(bits) {
        return Err(format!("{address} is the gateway of {}; write the tenant's own", ipv6.prefix));
    }
    Ok(())
}

/// Judges an address under `prefix`: whether a host can have it (RFC 3021: both of a /31).
pub(super) fn host_of(prefix: Ipv4Prefix, address: u32) -> Result<(), String> {
    let what = match address {
        _ if prefix.length() >= 31 => return Ok(()),
        first if first == prefix.bits() => "the address of the network",
        last if last == prefix.broadcast() => "the broadcast address of",
        _ => return Ok(()),
    };
    let address = Ipv4Addr::from(address);
    Err(format!("{address} is {what} {prefix}; use one between its first and its last"))
}
