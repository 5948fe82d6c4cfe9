//! The way to an authority.

use super::args::AuthorityArgs;
use super::error::CtlError;
use crate::api::manage::manage_client::ManageClient;
use crate::config::{NvaEndpoint, TlsFiles};
use crate::tls::connect::connect;
use crate::tls::{Identity, Role};
use std::path::PathBuf;
use std::time::Duration;
use tonic::transport::Channel;

/// Largest answer in bytes: lists that come in one piece may be long.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to an authority.
pub(super) type Client = ManageClient<Channel>;

/// The error with the name of the authority, if it is of the connection.
pub(super) fn named(args: &AuthorityArgs, why: CtlError) -> CtlError {
    match why {
        CtlError::Broken(why) => CtlError::NoAuthority(name(&args.nva), why),
        CtlError::Silent => CtlError::NoAuthority(name(&args.nva), "it does not answer".to_owned()),
        why => why,
    }
}

/// Opens a connection to it.
pub(super) async fn open(args: &AuthorityArgs, timeout: Duration) -> Result<Client, CtlError> {
    let files = match (&args.tls_cert, &args.tls_key, &args.tls_ca) {
        (Some(certificate), Some(key), Some(authorities)) => {
            let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Some(TlsFiles {
                certificate: absolute(certificate),
                key: absolute(key),
                authorities: absolute(authorities),
            })
        }
        _ if args.nva.is_tls() => {
            return Err(CtlError::Values(
                "https needs --tls-cert, --tls-key and --tls-ca, or ILACTL_TLS_CERT, ILACTL_TLS_KEY and \
                 ILACTL_TLS_CA"
                    .to_owned(),
            ));
        }
        _ => None,
    };
    let is_own = |identity: &Identity| {
        let is_operator = identity.role() == Role::Operator;
        is_operator.then_some(()).ok_or_else(|| format!("it is of {identity}, and not of an operator"))
    };
    let connecting = tokio::time::timeout(timeout, connect(&args.nva, files.as_ref(), is_own));
    let failed = |why: String| CtlError::NoAuthority(name(&args.nva), why);
    let channel = connecting.await.map_err(|_| failed("it does not answer".to_owned()))?.map_err(failed)?;
    Ok(ManageClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
}

fn name(endpoint: &NvaEndpoint) -> String {
    match endpoint {
        NvaEndpoint::Unix(path) => format!("unix:{}", path.display()),
        NvaEndpoint::Loopback(address) => format!("http://{address}"),
        NvaEndpoint::Tls(address) => format!("https://{address}"),
    }
}
