//! Where an authority is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a Unix socket in bytes: `sun_path` has one more for its end.
pub(super) const MAX_SOCKET_BYTES: usize = 107;

/// Where an authority is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NvaEndpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address of this machine, in the clear.
    Loopback(SocketAddr),
    /// An address, by mutual TLS.
    Tls(SocketAddr),
}

impl NvaEndpoint {
    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, NvaEndpoint::Tls(_))
    }
}

impl FromStr for NvaEndpoint {
    type Err = String;

    /// `unix:/PATH`, `https://ADDRESS:PORT` or `http://LOOPBACK:PORT`.
    fn from_str(value: &str) -> Result<Self, String> {
        let refused = if let Some(path) = value.strip_prefix("unix:") {
            match PathBuf::from(path) {
                path if !path.is_absolute() => "the path of a socket starts with /",
                path if path.as_os_str().len() > MAX_SOCKET_BYTES => {
                    "the path of a socket has 107 bytes at most"
                }
                path => return Ok(NvaEndpoint::Unix(path)),
            }
        } else {
            let encrypted = value.strip_prefix("https://").and_then(|rest| rest.parse::<SocketAddr>().ok());
            if let Some(address) = encrypted.filter(|address| address.port() != 0) {
                return Ok(NvaEndpoint::Tls(address));
            }
            match value.strip_prefix("http://").and_then(|rest| rest.parse::<SocketAddr>().ok()) {
                Some(address) if !address.ip().is_loopback() => {
                    "http is in the clear, which is for loopback addresses only"
                }
                Some(address) if address.port() != 0 => return Ok(NvaEndpoint::Loopback(address)),
                _ => "it is none of these",
            }
        };
        Err(format!("`{value}`: {refused}; write unix:/PATH, https://ADDRESS:PORT or http://127.0.0.1:PORT"))
    }
}
