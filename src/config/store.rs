//! Where the registry of an authority is durable: a file of its own, or an etcd that several authorities share.

use super::check::{NO_TLS, Scope, absolute, tls_files};
use super::model::TlsFiles;
use super::raw::{RawEtcd, RawStore};
use serde_saphyr::Spanned;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most members of an etcd that an authority knows.
const MAX_ENDPOINTS: usize = 16;
/// Longest prefix of keys in bytes.
const MAX_PREFIX: usize = 128;

/// Where a registry is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// A file of this authority alone.
    Embedded(PathBuf),
    /// An etcd, which other authorities may share.
    Etcd(EtcdConfig),
}

/// `store.etcd`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Its members, as `https://HOST:PORT` or `http://LOOPBACK:PORT`.
    pub endpoints: Vec<String>,
    /// All keys begin with it; it begins with `/` and does not end with it.
    pub prefix: String,
    /// Certificate and key of the authority there, and whose certificates it believes; with https.
    pub tls: Option<TlsFiles>,
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreConfig::Embedded(path) => path.display().fmt(f),
            StoreConfig::Etcd(EtcdConfig { endpoints, prefix, .. }) => {
                write!(f, "etcd {} {prefix}", endpoints.join(" "))
            }
        }
    }
}

/// Exactly one of both.
pub(super) fn store(s: &mut Scope<'_>, raw: Option<&RawStore>) -> Option<StoreConfig> {
    let (path, etcd) = raw.map_or((&None, None), |raw| (&raw.path, raw.etcd.as_ref()));
    match (path, etcd) {
        (Some(_), Some(etcd)) => {
            let message = "there is a path, too; a registry is in a file or in etcd: take one of them out";
            s.error("etcd", etcd.referenced, message);
            None
        }
        (None, Some(etcd)) => etcd_of(&mut s.below("etcd", etcd.referenced), etcd).map(StoreConfig::Etcd),
        (path, None) => {
            let text = s.required("path", path, "/var/lib/ilagate/nva.redb")?;
            absolute(s, "path", text).map(StoreConfig::Embedded)
        }
    }
}

fn etcd_of(s: &mut Scope<'_>, raw: &Spanned<RawEtcd>) -> Option<EtcdConfig> {
    let RawEtcd { endpoints, prefix, certificate, key, authorities } = &raw.value;
    if cfg!(not(feature = "etcd")) {
        s.error_here("", "this program was built without etcd; build it with the feature `etcd`");
    }
    let mut known: Vec<String> = Vec::new();
    if endpoints.as_ref().is_none_or(|list| list.value.is_empty()) {
        let at = endpoints.as_ref().map_or(raw.referenced, |list| list.referenced);
        s.error("endpoints", at, "missing; write for example `endpoints: [\"https://etcd1:2379\"]`");
    }
    for (n, text) in endpoints.iter().flat_map(|list| &list.value).enumerate() {
        let place = format!("endpoints[{n}]");
        let wrong = match endpoint(&text.value) {
            _ if n == MAX_ENDPOINTS => format!("more than {MAX_ENDPOINTS} members; name fewer"),
            Err(why) => format!("`{}`: {why}", text.value.escape_debug()),
            Ok(()) if known.contains(&text.value) => {
                format!("`{}` is here twice; name each once", text.value)
            }
            Ok(()) => {
                known.push(text.value.clone());
                continue;
            }
        };
        s.error(&place, text.referenced, wrong);
        if n == MAX_ENDPOINTS {
            break;
        }
    }
    let is_tls = known.iter().any(|endpoint| endpoint.starts_with("https://"));
    if is_tls && known.iter().any(|endpoint| endpoint.starts_with("http://")) {
        s.error_here("endpoints", "some are https and some http; name all of one kind");
    }
    let tls = if [certificate, key, authorities].into_iter().any(Option::is_some) {
        tls_files(s, [certificate, key, authorities])
    } else {
        if is_tls {
            s.error_here("certificate", NO_TLS);
        }
        None
    };
    if tls.is_some() && !is_tls && !known.is_empty() {
        s.error_here("certificate", "no endpoint is https; write https://HOST:PORT, or take the files out");
    }
    let text = s.required("prefix", prefix, "/ilagate/lab")?;
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let value = &text.value;
    if !value.starts_with('/')
        || value.ends_with('/')
        || value.len() > MAX_PREFIX
        || !value.chars().all(is_good)
    {
        let message = format!(
            "`{}` is no prefix; write / and then 1 to {} letters, digits, `-`, `_`, `.` or `/`, not `/` last",
            value.escape_debug(),
            MAX_PREFIX - 1
        );
        s.error("prefix", text.referenced, message);
    }
    Some(EtcdConfig { endpoints: known, prefix: value.clone(), tls })
}

/// `https://HOST:PORT`, or `http://LOOPBACK:PORT`.
fn endpoint(text: &str) -> Result<(), &'static str> {
    if let Some(address) = text.strip_prefix("http://") {
        return match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() && address.port() != 0 => Ok(()),
            Ok(_) => {
                Err("http is in the clear, which is for loopback addresses only; write https://HOST:PORT")
            }
            Err(_) => Err("no address and port; write http://127.0.0.1:2379"),
        };
    }
    let way_out = "write https://HOST:PORT, or http://127.0.0.1:PORT";
    let (host, port) = text.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')).ok_or(way_out)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    let is_address = text.trim_start_matches("https://").parse::<SocketAddr>().is_ok();
    if is_port && (is_address || is_name(host)) { Ok(()) } else { Err(way_out) }
}
