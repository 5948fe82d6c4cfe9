//! Who calls.

use std::fmt;
use tonic::Request;
use tonic::transport::server::UdsConnectInfo;

/// Who calls, for the log.
pub(super) struct Caller(Option<tokio::net::unix::UCred>);

impl Caller {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        Caller(request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(caller) => write!(f, "uid {} pid {}", caller.uid(), caller.pid().unwrap_or(0)),
            None => f.write_str("unknown"),
        }
    }
}
