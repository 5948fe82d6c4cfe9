//! Rules of groups: which addresses tenants can be joined by, and where copies go.

use super::super::mappings::{LocatorChoice, MAX_LOCATORS};
use super::super::model::{TenantAddress, VirtualNetwork};
use super::super::raw::{RawAttachment, RawNetwork};
use super::domains::{Domains, Locators, judge_remote_locator};
use super::entries;
use super::scope::{Scope, Seen};
use crate::ila::group::{ipv4_leaves_link, ipv6_identifier, is_group, leaves_link, yields_to_zero_alias};
use crate::ila::{Identifier, IdentifierType, Locator};
use crate::net::ipv6::is_multicast;
use std::collections::HashMap;
use std::net::IpAddr;

/// Most locators that copies of one group go to.
const MAX_REPLICAS: usize = 256;
/// Most groups that a tenant is a member of by configuration.
const MAX_GROUPS: usize = 256;

/// Most locators of a mapping: a group's are no choice.
pub(crate) fn max_locators(identifier: Identifier) -> usize {
    if is_group(identifier) { MAX_REPLICAS } else { MAX_LOCATORS }
}

/// Judges the locators of a group's mapping; all are used, so there is nothing to choose by.
pub(crate) fn judge_group_choices(identifier: Identifier, choices: &[LocatorChoice]) -> Result<(), String> {
    let chosen = choices.iter().find(|choice| choice.priority != 0 || choice.weight != 1);
    match chosen.filter(|_| is_group(identifier)) {
        Some(choice) => Err(format!(
            "{} has priority or weight, but every locator of a group gets a copy; leave them out",
            choice.locator
        )),
        None => Ok(()),
    }
}

/// Judges the identifier of a group.
pub(crate) fn judge_group_identifier(identifier: Identifier, zero_aliases: bool) -> Result<(), String> {
    let low = identifier.0 as u32;
    let multicast = identifier.kind() == IdentifierType::TenantMulticast;
    if multicast && !leaves_link((low >> 28) as u8) {
        return Err(format!(
            "is a group of scope {:x}, which never leaves its link; write 3 to e",
            low >> 28
        ));
    }
    if !multicast && low != u32::MAX && !ipv4_leaves_link(low) {
        return Err(
            "is an IPv4 address that never leaves its link, or nobody's; write a group from 224.0.1.0 to \
                    239.255.255.255, or 255.255.255.255"
                .to_owned(),
        );
    }
    if zero_aliases && yields_to_zero_alias(identifier) {
        return Err("ends in ffff, which neutral mapping cannot tell from 0000; use another group".to_owned());
    }
    Ok(())
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

/// The groups that a tenant of `network` is a member of whether or not it says so.
pub(super) fn groups(
    s: &mut Scope<'_>,
    raw: &RawAttachment,
    network: &VirtualNetwork,
    zero_aliases: bool,
) -> Vec<TenantAddress> {
    let (mut list, mut seen) = (Vec::new(), Seen::new());
    if let Some(all) = raw.groups.as_ref().filter(|all| all.value.len() > MAX_GROUPS) {
        let count = all.value.len();
        s.error("groups", all.referenced, format!("{count} groups; a tenant has at most {MAX_GROUPS}"));
        return list;
    }
    for (n, text) in entries(&raw.groups) {
        let key = format!("groups[{n}]");
        let judged = judge_group(&text.value, network, zero_aliases).unwrap_or_else(|| {
            Err(format!("`{}` is not a group; write for example 239.1.2.3 or ff05::1234", text.value))
        });
        match judged {
            Ok((TenantAddress::V4(u32::MAX), _)) => {
                let message = "broadcast is for every tenant with IPv4; remove it";
                s.error(&key, text.referenced, message);
            }
            Ok((address, _)) => match seen.before(address, &s.key(&key), text.referenced) {
                Some(before) => {
                    s.error(&key, text.referenced, format!("`{}` is already {before}", text.value));
                }
                None => list.push(address),
            },
            Err(message) => s.error(&key, text.referenced, message),
        }
    }
    list
}

/// Where copies of a network's groups go. `hosts` are the domains of all locators named so far.
pub(super) fn replicate_to(
    s: &mut Scope<'_>,
    raw: &RawNetwork,
    domain: Option<u8>,
    (domains, own): (&Domains, &Locators),
    hosts: &mut HashMap<Locator, u8>,
) -> Vec<Locator> {
    let (mut list, mut seen) = (Vec::new(), Seen::new());
    if let Some(all) = raw.replicate_to.as_ref().filter(|all| all.value.len() > MAX_REPLICAS) {
        let count = all.value.len();
        let message = format!("{count} locators; a network has at most {MAX_REPLICAS}");
        s.error("replicate_to", all.referenced, message);
        return list;
    }
    for (n, text) in entries(&raw.replicate_to) {
        let key = format!("replicate_to[{n}]");
        let (Some(locator), Some(domain)) = (s.parse::<Locator>(&key, text), domain) else { continue };
        if let Some(before) = seen.before(locator, &s.key(&key), text.referenced) {
            s.error(&key, text.referenced, format!("{locator} is already {before}; one copy is enough"));
        } else if let Err(message) = judge_remote_locator(locator, domain, domains, &own.list) {
            s.error(&key, text.referenced, message);
        } else if *hosts.entry(locator).or_insert(domain) != domain {
            let message = format!(
                "{locator} is already used in another SIR domain; a locator belongs to exactly one SIR domain"
            );
            s.error(&key, text.referenced, message);
        } else {
            list.push(locator);
        }
    }
    list
}
