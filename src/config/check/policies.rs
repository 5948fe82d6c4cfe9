//! Rules of policies: who may send to whom, and through which gateway.

use super::super::model::{Beyond, OwnLocator, Policy};
use super::super::raw::{RawConfig, RawPolicy, Text};
use super::networks::Networks;
use super::rules::{Domains, Locators, OUTSIDE, judge_identifier, judge_remote_locator};
use super::scope::{Check, Scope, Seen, entries};
use crate::ila::{IdentifierType, Locator, SirPrefix};
use serde_saphyr::Spanned;

/// Most policies of a node.
pub(crate) const MAX_POLICIES: usize = 65536;
/// One end of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Index into `virtual_networks`.
    Network(u16),
    /// In no network.
    Beyond(Beyond),
}

/// What policies are judged by.
#[derive(Clone, Copy)]
pub(super) struct PolicyRules<'c> {
    pub(super) domains: &'c Domains,
    pub(super) own: &'c Locators,
    pub(super) networks: &'c Networks,
}

pub(super) fn policies(
    check: &mut Check,
    raw: &RawConfig,
    rules: PolicyRules<'_>,
    seen: &mut Seen<Policy>,
) -> Vec<Policy> {
    let mut list = Vec::new();
    for (n, entry) in entries(&raw.policies) {
        let mut s = check.entry("policies", n, entry.referenced);
        if n >= MAX_POLICIES {
            s.beyond(too_many());
            continue;
        }
        list.extend(rules.judge(&mut s, entry, &list, seen));
    }
    list
}

impl PolicyRules<'_> {
    /// Judges a policy beside `others`, which were seen. It is one of them from then on.
    pub(super) fn judge(
        self,
        s: &mut Scope<'_>,
        entry: &Spanned<RawPolicy>,
        others: &[Policy],
        seen: &mut Seen<Policy>,
    ) -> Option<Policy> {
        let PolicyRules { domains, own, networks } = self;
        let from = s.required("from", &entry.value.from, "red");
        let to = s.required("to", &entry.value.to, "blue");
        let from_end = from.and_then(|text| end(s, "from", text, domains, networks));
        let to_end = to.and_then(|text| end(s, "to", text, domains, networks));
        let (to, from_end, to_end) = (to?, from_end?, to_end?);
        let mut policy = match judge_ends(from_end, to_end, &to.value) {
            Ok(policy) => policy,
            Err(message) => {
                s.error("to", to.referenced, message);
                return None;
            }
        };
        if let Some(text) = &entry.value.via {
            let via = s.parse::<Locator>("via", text)?;
            policy = match judge_via(policy, via, (domains, &own.list), networks, others) {
                Ok(policy) => policy,
                Err(message) => {
                    s.error("via", text.referenced, message);
                    return None;
                }
            };
        }
        if let Some(before) = seen.before(policy.straight(), &s.key(""), entry.referenced) {
            s.error_here("", format!("the same as {before}; remove one of the two"));
            return None;
        }
        Some(policy)
    }
}

/// Why there can be no further policy.
pub(crate) fn too_many() -> String {
    format!("more than {MAX_POLICIES} policies; a node has at most {MAX_POLICIES}")
}

fn end(s: &mut Scope<'_>, key: &str, text: &Text, domains: &Domains, networks: &Networks) -> Option<End> {
    match judge_end(&text.value, domains, networks) {
        Ok(end) => end,
        Err(message) => {
            s.error(key, text.referenced, message);
            None
        }
    }
}

/// Reads one end of a policy: the name of a network, a SIR prefix, the SIR address of a task, or `outside`.
///
/// `Ok(None)`: networks or domains of the file have errors, so nothing is known about this name.
pub(crate) fn judge_end(text: &str, domains: &Domains, networks: &Networks) -> Result<Option<End>, String> {
    if text == OUTSIDE {
        return Ok(Some(End::Beyond(Beyond::Outside)));
    }
    // No name has a colon, and every address has one.
    if !text.contains(':') {
        return Ok(networks.find(text)?.map(End::Network));
    }
    if text.contains('/') {
        let prefix: SirPrefix = text.parse().map_err(|why| format!("{why}"))?;
        let domain = domains.list.iter().position(|domain| domain.prefix == prefix);
        return match domain {
            None if domains.complete => {
                Err(format!("{prefix} is no SIR prefix; add it to sir_domains or correct it"))
            }
            domain => Ok(domain.map(|n| End::Beyond(Beyond::Tasks(n as u8)))),
        };
    }
    let local = judge_identifier(text, domains)?;
    match local.map(|local| local.identifier.kind()) {
        Some(IdentifierType::LocallyUnique) | None => Ok(local.map(|local| End::Beyond(Beyond::Task(local)))),
        Some(kind) => Err(format!(
            "{text} has identifier type {}, which is a tenant's address; policies name whole networks, \
             for example red",
            kind.bits()
        )),
    }
}

/// Joins two ends; `to` is how the second one was written.
pub(crate) fn judge_ends(from: End, to_end: End, to: &str) -> Result<Policy, String> {
    match (from, to_end) {
        (End::Network(from), End::Network(place)) if from == place => {
            Err(format!("`{to}` is from as well; within a network no policy is needed"))
        }
        (End::Network(from), End::Network(to)) => Ok(Policy::Between { from, to, via: None }),
        (End::Network(from), End::Beyond(to)) => Ok(Policy::Out { from, to }),
        (End::Beyond(from), End::Network(to)) => Ok(Policy::In { from, to }),
        (End::Beyond(_), End::Beyond(_)) => Err(format!(
            "`{to}` is no virtual network, and neither is from; policies are for tenants, name a network"
        )),
    }
}

/// Sends the packets of a policy through the gateway with the locator `via`, beside the policies `others`.
pub(crate) fn judge_via(
    policy: Policy,
    via: Locator,
    (domains, own): (&Domains, &[OwnLocator]),
    networks: &Networks,
    others: &[Policy],
) -> Result<Policy, String> {
    let Policy::Between { from, to, .. } = policy else {
        return Err("a gateway is between two virtual networks; leave via out".to_owned());
    };
    let domain_of = |place: u16| networks.list.get(usize::from(place)).map(|network| network.domain);
    let Some(domain) = domain_of(to) else { return Ok(policy) };
    judge_remote_locator(via, domain, domains, own)?;
    let copies =
        |place: usize| networks.list.get(place).is_some_and(|other| other.replicate_to.contains(&via));
    let copied = (0..networks.list.len()).filter(|place| copies(*place)).filter_map(|n| domain_of(n as u16));
    let by_gateway = others.iter().filter_map(|other| match other {
        Policy::Between { to, via: Some(other), .. } if *other == via => domain_of(*to),
        _ => None,
    });
    if copied.chain(by_gateway).any(|other| other != domain) {
        return Err(format!(
            "{via} is already used in another SIR domain; a locator belongs to exactly one SIR domain"
        ));
    }
    Ok(Policy::Between { from, to, via: Some(via) })
}
