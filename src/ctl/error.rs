//! What goes wrong at the operator's end.

use crate::api::wire::Malformed;
use crate::config::ConfigErrors;
use std::io;
use std::path::PathBuf;
use tonic::{Code, Status};

/// Why a command failed, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// There is no socket to talk to.
    #[error("no socket in {0}; is ilagate running? start it, or name its socket with --socket PATH")]
    NoSocket(PathBuf),
    /// There are several nodes.
    #[error("several nodes run here: {}; choose one with --socket PATH", list(.0))]
    SeveralSockets(Vec<PathBuf>),
    /// The socket cannot be reached.
    #[error("cannot connect to {socket}: {why}; {}", way_out(.why))]
    Connect {
        /// Which.
        socket: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The connection broke.
    #[error("the node hung up ({0}); is ilagate running? look at its log")]
    Broken(String),
    /// The node does not answer in time.
    #[error(
        "the node does not answer; look at its log and whether its process is stopped, or wait longer by \
         --timeout"
    )]
    Silent,
    /// The node refuses.
    #[error("{0}")]
    Refused(String),
    /// The authority cannot be reached.
    #[error("cannot reach the authority at {0}: {1}; is ila-nva running? name it with --nva URL")]
    NoAuthority(String, String),
    /// The node's answer cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A mapping file is wrong.
    #[error(transparent)]
    Mappings(#[from] ConfigErrors),
    /// A file cannot be used.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why, with the way out.
        why: String,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Values(String),
    /// The machine has no Ethernet interface to take an EUI-64 from.
    #[error("no Ethernet interface in {0}; name this machine with --eui64, for example 02:00:00:00:00:0a")]
    NoHost(PathBuf),
    /// The clock stands before 1970.
    #[error("the clock stands before 1970; set it, or identifiers would repeat")]
    Clock,
    /// A certificate cannot be made.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The result cannot be written.
    #[error("cannot write the result: {0}; check where the output goes")]
    Output(#[from] io::Error),
}

fn list(sockets: &[PathBuf]) -> String {
    sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn way_out(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "is ilagate running? start it, or name its socket with --socket PATH"
        }
        io::ErrorKind::PermissionDenied => "become a member of the socket's group, or run ilactl as root",
        _ => "name the node's socket with --socket PATH",
    }
}

impl From<Status> for CtlError {
    fn from(status: Status) -> Self {
        match status.code() {
            // Statuses that come from the node have no source; those have one that the client made up.
            _ if std::error::Error::source(&status).is_some() => {
                let mut cause: &dyn std::error::Error = &status;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                if cause.is::<tonic::TimeoutExpired>() {
                    return CtlError::Silent;
                }
                CtlError::Broken(cause.to_string())
            }
            Code::Unimplemented => CtlError::Refused(
                "the node does not know this command; use an ilactl of its version".to_owned(),
            ),
            _ if status.message().is_empty() => {
                CtlError::Refused(format!("the node failed ({:?}); look at its log", status.code()))
            }
            _ => CtlError::Refused(status.message().to_owned()),
        }
    }
}
