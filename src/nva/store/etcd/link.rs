//! A connection to etcd: to one member at a time, and to the next one when that fails.

use crate::config::EtcdConfig;
use crate::nva::store::interface::StoreError;
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::Code;

/// How long a connection may take, and an answer.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// Time before what failed is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Time between two signs of life of a connection, and how long an answer may take. Etcd ends a connection that has more
/// than one in 5 s.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was done, nor will be, and why.
    Refused(String),
    /// What it asked for was done, or not, or will be.
    Unknown(String),
}

impl Failure {
    pub(super) fn why(self) -> String {
        match self {
            Failure::Refused(why) | Failure::Unknown(why) => why,
        }
    }
}

/// What work with etcd runs on.
pub(super) fn runtime() -> Result<Runtime, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| StoreError(format!("cannot start: {why}")))
}

/// A connection to one member of several.
pub(super) struct Link {
    config: Arc<EtcdConfig>,
    at: usize,
    client: Option<Client>,
}

impl Link {
    pub(super) fn new(config: Arc<EtcdConfig>) -> Self {
        Link { config, at: 0, client: None }
    }

    /// The connection; it is made when it is used.
    pub(super) async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let endpoint = self.config.endpoints.get(self.at).map_or("", String::as_str);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(KEEPALIVE.0, KEEPALIVE.1)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(files) = &self.config.tls {
            // They are read anew with each connection: certificates change.
            let read = |path: &std::path::Path| {
                std::fs::read(path).map_err(|why| Failure::Unknown(format!("{}: {why}", path.display())))
            };
            let identity = Identity::from_pem(read(&files.certificate)?, read(&files.key)?);
            let authorities = Certificate::from_pem(read(&files.authorities)?);
            options = options.with_tls(TlsOptions::new().identity(identity).ca_certificate(authorities));
        }
        let client = Client::connect([endpoint], Some(options)).await;
        let client = client.map_err(|why| Failure::Unknown(format!("{endpoint}: {}", in_words(&why))))?;
        Ok(self.client.insert(client).clone())
    }

    /// It failed: the next one is to another member.
    pub(super) fn failed(&mut self) {
        self.client = None;
        self.at = (self.at + 1) % self.config.endpoints.len().max(1);
    }

    /// The member that it is to.
    pub(super) fn endpoint(&self) -> &str {
        self.config.endpoints.get(self.at).map_or("", String::as_str)
    }
}

/// Waits for an answer, and not for long.
pub(super) async fn answer<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(answered) => answered.map_err(failure),
        Err(_) => Err(Failure::Unknown(format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

fn failure(why: Error) -> Failure {
    let text = in_words(&why);
    match why {
        // The store is full, the request is too large or not allowed.
        Error::GRpcStatus(status) if is_refusal(status.code(), status.message()) => Failure::Refused(text),
        _ => Failure::Unknown(text),
    }
}

/// Whether etcd itself says that it does not do what it was asked for. A connection that ends, and an answer that is too
/// large, have some of the same codes, and say nothing of what was done. What was forgotten since is asked for anew.
fn is_refusal(code: Code, text: &str) -> bool {
    let is_judged = matches!(
        code,
        Code::ResourceExhausted
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::OutOfRange
    );
    is_judged && text.starts_with("etcdserver:") && !text.contains("compacted")
}

/// An error with its causes.
pub(super) fn in_words(why: &Error) -> String {
    let text = match why {
        Error::GRpcStatus(status) => status.message().to_owned(),
        why => why.to_string(),
    };
    let mut text = if text.is_empty() { why.to_string() } else { text };
    let mut cause = match why {
        Error::GRpcStatus(status) => std::error::Error::source(status),
        Error::TransportError(why) => std::error::Error::source(why),
        _ => None,
    };
    while let Some(why) = cause {
        let more = why.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = why.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_etcd_refuses() {
        for (code, text) in [
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
        ] {
            assert!(is_refusal(code, text), "{text}");
        }
        for (code, text) in [
            (Code::ResourceExhausted, "h2 protocol error: http2 error"),
            (Code::PermissionDenied, "h2 protocol error: http2 error"),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
            ),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            (Code::Unavailable, "etcdserver: no leader"),
        ] {
            assert!(!is_refusal(code, text), "{text}");
        }
    }
}
