//! Rules of the network virtualization authority as a node sees it.

use super::super::model::{Nva, NvaEndpoint};
use super::super::raw::{RawConfig, Text};
use super::scope::{Check, Scope, Seen};
use super::system::MAX_SOCKET_BYTES;
use crate::ila::Locator;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most authorities that a node knows.
const MAX_ENDPOINTS: usize = 16;

pub(super) fn nva(check: &mut Check, raw: &RawConfig) -> Option<Nva> {
    let section = raw.nva.as_ref()?;
    let mut s = check.scope("nva", section.referenced);
    let list = section.value.endpoints.as_ref();
    let mut endpoints = Vec::new();
    let mut seen = Seen::new();
    if list.is_none_or(|list| list.value.is_empty()) {
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
    Some(Nva { endpoints })
}

/// Where an authority is: a Unix socket, or an address of this machine. Sessions are in the clear, so that nothing
/// else is allowed.
pub(crate) fn nva_endpoint(s: &mut Scope<'_>, key: &str, text: &Text) -> Option<NvaEndpoint> {
    let value = &text.value;
    let refused = if let Some(path) = value.strip_prefix("unix:") {
        match PathBuf::from(path) {
            path if !path.is_absolute() => "the path of a socket starts with /",
            path if path.as_os_str().len() > MAX_SOCKET_BYTES => "the path of a socket has 107 bytes at most",
            path => return Some(NvaEndpoint::Unix(path)),
        }
    } else {
        match value.strip_prefix("http://").and_then(|rest| rest.parse::<SocketAddr>().ok()) {
            Some(address) if !address.ip().is_loopback() => {
                "sessions are in the clear, which is for loopback addresses and Unix sockets only"
            }
            Some(address) if address.port() != 0 => return Some(NvaEndpoint::Loopback(address)),
            _ => "it is neither",
        }
    };
    let message = format!("`{value}`: {refused}; write unix:/PATH or http://127.0.0.1:PORT");
    s.error(key, text.referenced, message);
    None
}

/// A required locator.
pub(crate) fn locator_prefix(s: &mut Scope<'_>, field: &Option<Text>) -> Option<Locator> {
    s.value("prefix", field, "\"fd00:1:0:1::/64\"")
}
