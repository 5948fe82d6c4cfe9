//! Finding the node's socket and talking to it.

use super::error::CtlError;
use crate::api::v1;
use crate::api::v1::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Uri};

/// Where nodes have their sockets.
pub(super) const RUN_DIR: &str = "/run/ilagate";
/// Largest answer: lists that come in one piece may be long.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A connection to a node.
pub(super) struct Client(AdminClient<Channel>);

impl Client {
    /// Connects to a socket. Every answer must begin within `timeout`.
    pub(super) async fn connect(socket: &Path, timeout: Duration) -> Result<Self, CtlError> {
        let failed = |why| CtlError::Connect { socket: socket.to_owned(), why };
        let mut stream = Some(UnixStream::connect(socket).await.map_err(failed)?);
        // The name is never resolved: the connector hands out the stream that is open already.
        let channel = Endpoint::from_static("http://ilagate")
            .timeout(timeout)
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let stream = stream.take().map(TokioIo::new);
                async move { stream.ok_or_else(|| io::Error::other("the connection was closed")) }
            }))
            .await
            .map_err(|why| CtlError::Broken(why.to_string()))?;
        Ok(Client(AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)))
    }

    /// The calls.
    pub(super) fn calls(&mut self) -> &mut AdminClient<Channel> {
        &mut self.0
    }

    /// Creates or replaces mappings.
    pub(super) async fn upsert(&mut self, mappings: Vec<v1::MappingChange>) -> Result<v1::Applied, CtlError> {
        Ok(self.0.mapping_upsert(v1::MappingUpsertRequest { mappings }).await?.into_inner())
    }
}

/// The only socket in `directory`.
pub(super) fn discover(directory: &Path) -> Result<PathBuf, CtlError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            return Err(CtlError::NoSocket(directory.to_owned()));
        }
        Err(why) => return Err(CtlError::Connect { socket: directory.to_owned(), why }),
    };
    let mut sockets: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    sockets.sort();
    match (sockets.pop(), sockets.is_empty()) {
        (None, _) => Err(CtlError::NoSocket(directory.to_owned())),
        (Some(socket), true) => Ok(socket),
        (Some(last), false) => {
            sockets.push(last);
            Err(CtlError::SeveralSockets(sockets))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
        assert!(matches!(discover(&dir.path().join("none")), Err(CtlError::NoSocket(_))));
        touch("a.sock.lock");
        let error = discover(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is ilagate running?"), "{error}");
        touch("a.sock");
        assert_eq!(discover(dir.path()).unwrap(), dir.path().join("a.sock"));
        touch("b.sock");
        let error = discover(dir.path()).unwrap_err().to_string();
        assert!(error.contains("a.sock, ") && error.contains("b.sock; choose one with --socket"), "{error}");
    }
}

/// The answer must begin in time; a list may take longer.
pub(super) fn ask<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
