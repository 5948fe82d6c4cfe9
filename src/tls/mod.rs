//! Mutual TLS 1.3: who a peer is, by what its certificate proves.
//!
//! A certificate names its holder in one URI, `ilagate://DOMAIN/ROLE/NAME` ([`Identity`]). `files` reads what the
//! operator names, `server` and `client` judge the other side, `connect` reaches an authority, `revoked` lists who is trusted no longer, and `pki`
//! makes the certificates of a lab. There is no TLS 1.2, no session ticket and no early data.

pub mod client;
pub mod connect;
pub mod files;
pub mod identity;
pub mod pki;
pub mod revoked;
pub mod server;

pub use identity::{Identity, Role};

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// Why a certificate, a key or a list cannot be used, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// The protocol spoken inside: HTTP/2.
const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
