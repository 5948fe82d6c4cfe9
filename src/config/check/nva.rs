//! Rules of the network virtualization authority as a node sees it.

use super::super::endpoint::NvaEndpoint;
use super::super::model::{AfterGrace, Grace, Nva, NvaMode, TlsFiles};
use super::super::raw::{List, RawConfig, RawNva, RawScope, RawTls, Text};
use super::rules::Domains;
use super::scope::{Check, Scope, Seen, entries};
use crate::ila::Locator;
use crate::ila::identifier::{Identifier, MAX_VNID};
use crate::mapping::{self, MAX_SCOPES, Scopes};
use crate::net::Ipv6Prefix;
use std::path::PathBuf;

/// Most authorities that a node knows.
const MAX_ENDPOINTS: usize = 16;

pub(super) fn nva(check: &mut Check, raw: &RawConfig, domains: &Domains) -> Option<Nva> {
    let section = raw.nva.as_ref()?;
    let mut s = check.scope("nva", section.referenced);
    let list = section.value.endpoints.as_ref();
    let mut endpoints = Vec::new();
    let mut seen = Seen::new();
    let embedded = embedded(&mut s, &section.value);
    if list.is_none_or(|list| list.value.is_empty()) && section.value.embedded.is_none() {
        let message = "missing; write for example `endpoints: [\"unix:/run/ilagate/nva.sock\"]`";
        s.error("endpoints", list.map_or(section.referenced, |list| list.referenced), message);
    }
    for (n, text) in list.iter().flat_map(|list| &list.value).enumerate() {
        let key = format!("endpoints[{n}]");
        if n == MAX_ENDPOINTS {
            s.error(&key, text.referenced, format!("more than {MAX_ENDPOINTS} authorities; name fewer"));
            break;
        }
        let Some(endpoint) = nva_endpoint(&mut s, &key, text) else { continue };
        if let Some(before) = seen.before(endpoint.clone(), &s.key(&key), text.referenced) {
            s.error(&key, text.referenced, format!("`{}` is already {before}; name each once", text.value));
        }
        endpoints.push(endpoint);
    }
    let (tls, revoked) = match &section.value.tls {
        Some(tls) => {
            let RawTls { certificate, key, authorities, revoked } = &tls.value;
            let mut s = s.below("tls", tls.referenced);
            let files = tls_files(&mut s, [certificate, key, authorities]);
            (files, revoked.as_ref().and_then(|text| absolute(&mut s, "revoked", text)))
        }
        None => {
            if endpoints.iter().any(NvaEndpoint::is_tls) {
                s.error_here("tls", NO_TLS);
            }
            (None, None)
        }
    };
    let modes = [NvaMode::Full, NvaMode::Cache, NvaMode::Redirect].map(|mode| (mode.name(), mode));
    let mode = s.choice("mode", &section.value.mode, &modes, NvaMode::Full);
    let provision = s.flag("provision", &section.value.provision, false);
    let scopes = scopes(&mut s, &section.value.scopes, domains);
    if let (true, Some(list)) = (mode.asks(), &section.value.scopes) {
        s.error(
            "scopes",
            list.referenced,
            "a node that asks follows nothing; leave this out, or use mode: full",
        );
    }
    let grace = grace(&mut s, &section.value, mode);
    let blocks = blocks(&mut s, &section.value, domains);
    Some(Nva { endpoints, embedded, tls, revoked, mode, provision, scopes, grace, blocks })
}

/// The domains in which the node makes identifiers.
fn blocks(s: &mut Scope<'_>, raw: &RawNva, domains: &Domains) -> Vec<u64> {
    let mut found = Vec::new();
    for (n, text) in raw.blocks.iter().flat_map(|list| &list.value).enumerate() {
        let key = format!("blocks[{n}]");
        let domain = domains.named(&text.value).and_then(|n| domains.list.get(usize::from(n)));
        match domain.map(|domain| domain.prefix.0) {
            None => {
                let message =
                    format!("`{}` is not the name of a SIR domain; add it to sir_domains", text.value);
                s.error(&key, text.referenced, message);
            }
            Some(sir_prefix) if found.contains(&sir_prefix) => {
                s.error(&key, text.referenced, format!("`{}` stands here twice; name it once", text.value));
            }
            Some(sir_prefix) => found.push(sir_prefix),
        }
    }
    found
}

/// How long mappings hold without a session.
fn grace(s: &mut Scope<'_>, raw: &RawNva, mode: NvaMode) -> Grace {
    let seconds = s.number("grace_s", &raw.grace_s, 1..=604_800, 600);
    let words = [("keep", AfterGrace::Keep), ("forget", AfterGrace::Forget)];
    let then = s.choice("after_grace", &raw.after_grace, &words, AfterGrace::Keep);
    for (key, text) in [("grace_s", &raw.grace_s), ("after_grace", &raw.after_grace)] {
        if let Some(text) = text.as_ref().filter(|_| mode.asks()) {
            let message = format!(
                "in mode {} each mapping has a lifetime of its own; take {key} out, or write `mode: full`",
                mode.name()
            );
            s.error(key, text.referenced, message);
        }
    }
    Grace { seconds, then }
}

/// What of the mappings the node follows.
fn scopes(s: &mut Scope<'_>, list: &List<RawScope>, domains: &Domains) -> Scopes {
    let mut found = Vec::new();
    if let Some(list) = list.as_ref().filter(|list| !(1..=MAX_SCOPES).contains(&list.value.len())) {
        let message = format!("{} entries; name 1 to {MAX_SCOPES}, or leave this out", list.value.len());
        s.error("scopes", list.referenced, message);
        return Scopes::default();
    }
    for (n, entry) in entries(list) {
        scope(&mut s.below(&format!("scopes[{n}]"), entry.referenced), &entry.value, domains, &mut found);
    }
    Scopes::new(found)
}

/// One entry: a domain, a virtual network in it, or a prefix of SIR addresses.
fn scope(s: &mut Scope<'_>, raw: &RawScope, domains: &Domains, found: &mut Vec<mapping::Scope>) {
    if let Some(prefix) = &raw.prefix {
        if raw.domain.is_some() || raw.vnid.is_some() {
            s.error("prefix", prefix.referenced, "there is a domain or vnid, too; name one of them");
            return;
        }
        let Some(inside) = s.value::<Ipv6Prefix>("prefix", &raw.prefix, "\"2001:db8:dddd:0:2000::/68\"")
        else {
            return;
        };
        let sir_prefix = (inside.bits() >> 64) as u64;
        if inside.length() < 64 || !domains.list.iter().any(|domain| domain.prefix.0 == sir_prefix) {
            s.error("prefix", prefix.referenced, format!("{inside} is not within a prefix of sir_domains"));
            return;
        }
        let first = inside.bits() as u64;
        let last = first | !(Ipv6Prefix::mask(inside.length()) as u64);
        found.push(mapping::Scope { sir_prefix, first, last });
        return;
    }
    let domain = domains.required(s, &raw.domain);
    let Some(domain) = domain.and_then(|domain| domains.list.get(usize::from(domain))) else { return };
    let sir_prefix = domain.prefix.0;
    if raw.vnid.is_none() {
        found.push(mapping::Scope { sir_prefix, first: 0, last: u64::MAX });
        return;
    }
    let vnid = s.number("vnid", &raw.vnid, 1..=MAX_VNID, 1);
    for tenant in [Identifier::tenant_ipv4, Identifier::tenant_ipv6] {
        found.push(mapping::Scope { sir_prefix, first: tenant(vnid, 0).0, last: tenant(vnid, u32::MAX).0 });
    }
}

/// The configuration file of the authority inside the node, which nothing but a Unix socket leads to.
fn embedded(s: &mut Scope<'_>, raw: &RawNva) -> Option<PathBuf> {
    let section = raw.embedded.as_ref()?;
    for (key, place) in [
        ("endpoints", raw.endpoints.as_ref().map(|list| list.referenced)),
        ("tls", raw.tls.as_ref().map(|tls| tls.referenced)),
    ] {
        if let Some(place) = place {
            s.error(
                key,
                place,
                "a node with an embedded authority uses that one; leave this out, or embedded",
            );
        }
    }
    let mut s = s.below("embedded", section.referenced);
    let config = s.required("config", &section.value.config, "/etc/ilagate/ila-nva.yaml")?;
    absolute(&mut s, "config", config)
}

/// Says that the files of TLS are missing.
pub(crate) const NO_TLS: &str =
    "missing, and there is an https address; name certificate, key and authorities";

/// The files of mutual TLS: certificate, key and authorities.
pub(crate) fn tls_files(
    s: &mut Scope<'_>,
    [certificate, key, authorities]: [&Option<Text>; 3],
) -> Option<TlsFiles> {
    let mut file = |key: &str, field: &Option<Text>, example: &str| {
        let text = s.required(key, field, example)?;
        absolute(s, key, text)
    };
    let certificate = file("certificate", certificate, "/etc/ilagate/tls/nve-nve1.pem");
    let key = file("key", key, "/etc/ilagate/tls/nve-nve1.key");
    let authorities = file("authorities", authorities, "/etc/ilagate/tls/ca.pem");
    Some(TlsFiles { certificate: certificate?, key: key?, authorities: authorities? })
}

/// The absolute path of a file.
pub(crate) fn absolute(s: &mut Scope<'_>, key: &str, text: &Text) -> Option<PathBuf> {
    let path = PathBuf::from(&text.value);
    if path.is_absolute() && !text.value.contains('\0') {
        return Some(path);
    }
    s.error(
        key,
        text.referenced,
        format!("`{}` is not an absolute path; start it with /", text.value.escape_debug()),
    );
    None
}

/// Where an authority is: a Unix socket, an address of this machine, or any address by TLS. What is in the clear does not
/// leave the machine.
pub(crate) fn nva_endpoint(s: &mut Scope<'_>, key: &str, text: &Text) -> Option<NvaEndpoint> {
    match text.value.parse() {
        Ok(endpoint) => Some(endpoint),
        Err(why) => {
            s.error(key, text.referenced, why);
            None
        }
    }
}

/// A required locator.
pub(crate) fn locator_prefix(s: &mut Scope<'_>, field: &Option<Text>) -> Option<Locator> {
    s.value("prefix", field, "\"fd00:1:0:1::/64\"")
}
