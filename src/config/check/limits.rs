//! Rules of what protects the node and the fabric from tenants: limits, quarantine, infrastructure.

use super::super::model::{Limit, Limits, Quarantine, QuarantineMode, VirtualNetwork};
use super::super::raw::{RawConfig, RawLimit, RawLimits};
use super::rules::Domains;
use super::scope::{Check, Scope, Seen, entries};
use crate::net::Ipv6Prefix;
use crate::net::ipv6::{is_link_local, is_multicast};
use serde_saphyr::Spanned;

/// Most prefixes of the infrastructure.
const MAX_PREFIXES: usize = 4096;

/// A limit with defaults of `base`.
pub(super) fn limit(s: &mut Scope<'_>, key: &str, raw: &Option<Spanned<RawLimit>>, base: Limit) -> Limit {
    let Some(raw) = raw else { return base };
    let mut s = s.below(key, raw.referenced);
    Limit {
        per_second: s.number("per_second", &raw.value.per_second, 1..=10_000_000, base.per_second),
        burst: s.number("burst", &raw.value.burst, 1..=1_000_000, base.burst),
    }
}

/// Limits with defaults of `base`.
pub(super) fn limits(s: &mut Scope<'_>, raw: &Spanned<RawLimits>, base: Limits) -> Limits {
    let mut s = s.below("limits", raw.referenced);
    let raw = &raw.value;
    let mut of = |key: &str, raw: &Option<Spanned<RawLimit>>, base: Limit| limit(&mut s, key, raw, base);
    Limits {
        arp: of("arp", &raw.arp, base.arp),
        nd: of("nd", &raw.nd, base.nd),
        rarp: of("rarp", &raw.rarp, base.rarp),
        dad: of("dad", &raw.dad, base.dad),
        unknown: of("unknown", &raw.unknown, base.unknown),
        icmp_errors: of("icmp_errors", &raw.icmp_errors, base.icmp_errors),
        copies: of("copies", &raw.copies, base.copies),
    }
}

pub(super) fn quarantine(check: &mut Check, raw: &RawConfig) -> Option<Quarantine> {
    let section = raw.quarantine.as_ref()?;
    let mut s = check.scope("quarantine", section.referenced);
    let raw = &section.value;
    let modes = [("control", QuarantineMode::Control), ("all", QuarantineMode::All)];
    Some(Quarantine {
        drops_per_second: s.number("drops_per_second", &raw.drops_per_second, 1..=10_000_000, 100),
        seconds: s.number("seconds", &raw.seconds, 1..=3600, 5),
        duration_s: s.number("duration_s", &raw.duration_s, 1..=86_400, 60),
        mode: s.choice("mode", &raw.mode, &modes, QuarantineMode::Control),
    })
}

pub(super) fn infrastructure(
    check: &mut Check,
    raw: &RawConfig,
    domains: &Domains,
    networks: &[VirtualNetwork],
) -> Vec<Ipv6Prefix> {
    let Some(all) = &raw.infrastructure else { return Vec::new() };
    let (mut list, mut seen) = (Vec::new(), Seen::new());
    if all.value.len() > MAX_PREFIXES {
        let message = format!("{} prefixes; write {MAX_PREFIXES} at most", all.value.len());
        check.error(all.referenced, "infrastructure".to_owned(), message);
        return list;
    }
    for (n, text) in entries(&raw.infrastructure) {
        let mut s = check.scope(format!("infrastructure[{n}]"), text.referenced);
        let Some(prefix) = s.parse::<Ipv6Prefix>("", text) else { continue };
        if let Err(message) = judge(prefix, domains, networks) {
            s.error("", text.referenced, message);
        } else if let Some(before) = seen.before(prefix, &s.key(""), text.referenced) {
            s.error("", text.referenced, format!("{prefix} is already {before}; write it once"));
        } else {
            list.push(prefix);
        }
    }
    list
}

/// What tenants are meant to reach is no infrastructure.
fn judge(prefix: Ipv6Prefix, domains: &Domains, networks: &[VirtualNetwork]) -> Result<(), String> {
    let bits = prefix.bits();
    if prefix.length() > 0 && (is_link_local(bits) || is_multicast(bits)) {
        return Err(format!("{prefix} is never routed; remove it"));
    }
    let overlaps = |other: Ipv6Prefix| prefix.contains(other.bits()) || other.contains(bits);
    if let Some(domain) = domains.list.iter().find(|domain| overlaps(domain.prefix.prefix())) {
        let name = &domain.name;
        return Err(format!(
            "{prefix} overlaps the SIR prefix of domain {name}, whose tasks tenants may speak to; leave \
             it out"
        ));
    }
    let network = networks.iter().find(|network| network.ipv6.is_some_and(|ipv6| overlaps(ipv6.prefix)));
    match network {
        Some(network) => {
            let name = &network.name;
            Err(format!(
                "{prefix} overlaps the prefix of network {name}, which its tenants reach; leave it out"
            ))
        }
        None => Ok(()),
    }
}
