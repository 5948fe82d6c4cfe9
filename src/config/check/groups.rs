//! Rules of groups: which groups tenants are members of, and where copies go.

use super::super::model::{TenantAddress, VirtualNetwork};
use super::super::raw::{RawAttachment, RawNetwork};
use super::rules::{Domains, Locators, judge_group, judge_remote_locator};
use super::scope::{Scope, Seen, entries};
use crate::ila::Locator;
use crate::mapping::MAX_REPLICAS;
use std::collections::HashMap;

/// Most groups that a tenant is a member of by configuration.
const MAX_GROUPS: usize = 256;

/// The groups that a tenant of `network` is a member of without a report of its own.
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

/// Where copies of a network's groups go. `hosts` holds the SIR domain of every locator read so far.
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
