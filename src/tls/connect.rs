//! A connection to an authority: over a Unix socket, to a loopback address, or by mutual TLS.

use super::client::Peer;
use super::revoked::Revoked;
use super::{Identity, client};
use crate::config::{NvaEndpoint, TlsFiles};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint, Uri};

/// Time between two signs of life of a connection, and how long an answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Connects. The files of TLS are read for each connection, so that new ones need no restart. `is_own` says why their
/// identity is not the one that is wanted.
///
/// # Errors
/// Why not, in words.
pub async fn connect(
    endpoint: &NvaEndpoint,
    tls: Option<&TlsFiles>,
    is_own: impl Fn(&Identity) -> Result<(), String>,
) -> Result<Channel, String> {
    connect_without(endpoint, tls, is_own, (Revoked::default(), Peer::default())).await
}

/// The same, which believes no authority on a list, and notes who the authority is.
///
/// # Errors
/// Why not, in words.
pub async fn connect_without(
    endpoint: &NvaEndpoint,
    tls: Option<&TlsFiles>,
    is_own: impl Fn(&Identity) -> Result<(), String>,
    known: (Revoked, Peer),
) -> Result<Channel, String> {
    // The name is never resolved: the connector knows where to go.
    let channel = Endpoint::from_static("http://nva")
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true);
    let connected = match endpoint.clone() {
        NvaEndpoint::Unix(path) => {
            let connect = move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            };
            channel.connect_with_connector(tower::service_fn(connect)).await
        }
        NvaEndpoint::Loopback(address) => {
            let connect = move |_: Uri| async move { tcp(address).await.map(TokioIo::new) };
            channel.connect_with_connector(tower::service_fn(connect)).await
        }
        NvaEndpoint::Tls(address) => {
            let connector = TlsConnector::from(own(tls, is_own, known).await?);
            let connect = move |_: Uri| {
                let connector = connector.clone();
                async move {
                    let name = ServerName::IpAddress(address.ip().into());
                    connector.connect(name, tcp(address).await?).await.map(TokioIo::new)
                }
            };
            channel.connect_with_connector(tower::service_fn(connect)).await
        }
    };
    connected.map_err(|why| {
        let cause = std::error::Error::source(&why).map(ToString::to_string).unwrap_or_default();
        format!("{why}: {cause}")
    })
}

async fn tcp(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What this side shows and believes, read from its files.
async fn own(
    tls: Option<&TlsFiles>,
    is_own: impl Fn(&Identity) -> Result<(), String>,
    (revoked, peer): (Revoked, Peer),
) -> Result<Arc<ClientConfig>, String> {
    let files =
        tls.cloned().ok_or("TLS needs a certificate, a key and certificate authorities; name them")?;
    let read = tokio::task::spawn_blocking(move || {
        client::config_without(&files, revoked, peer).map(|read| (read, files))
    });
    let read = read.await.map_err(|why| why.to_string())?;
    let ((config, identity), files) = read.map_err(|why| why.to_string())?;
    is_own(&identity).map_err(|why| format!("{}: {why}", files.certificate.display()))?;
    Ok(config)
}
