//! The authority's side: whom it lets in.

use super::files::{Material, Stamp};
use super::revoked::Revoked;
use super::{ALPN, Identity, Role, TlsError, provider};
use crate::config::TlsFiles;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::EndEntityCert;

/// The certificates that a peer showed, its own first.
pub type Chain = Arc<[CertificateDer<'static>]>;

/// Whom a server lets in, as its files said when they were read.
#[derive(Debug)]
pub struct Trust {
    config: Arc<ServerConfig>,
    /// The same for browsers.
    http: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    revoked: Revoked,
    identity: Identity,
}

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Certificate, key and certificate authorities.
    pub tls: TlsFiles,
    /// Who is trusted no longer, see [`Revoked`].
    pub revoked: Option<PathBuf>,
}

impl ServerFiles {
    /// Tells one state of the files from another.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let TlsFiles { certificate, key, authorities } = &self.tls;
        let files = [certificate, key, authorities].into_iter().chain(&self.revoked);
        Stamp::of(files.map(PathBuf::as_path))
    }
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or used, a key of another certificate, or a certificate that is not an authority's.
    pub fn read(files: &ServerFiles) -> Result<Self, TlsError> {
        let Material { chain, key, roots, identity } = Material::read(&files.tls)?;
        let failed = |path: &Path, why: String| TlsError(format!("{}: {why}", path.display()));
        if identity.role() != Role::Nva {
            let why = format!("{identity} is no authority; name a certificate of role nva");
            return Err(failed(&files.tls.certificate, why));
        }
        let revoked = Revoked::read(files.revoked.as_deref())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|why| failed(&files.tls.authorities, why.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|why| TlsError(why.to_string()))?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain, key)
            .map_err(|why| failed(&files.tls.key, format!("not the key of the certificate: {why}")))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let mut http = config.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Trust { config: Arc::new(config), http: Arc::new(http), verifier, revoked, identity })
    }

    /// For the handshakes that begin now.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// For the handshakes of browsers.
    #[must_use]
    pub fn http(&self) -> Arc<ServerConfig> {
        self.http.clone()
    }

    /// What the server itself is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Who the peer with this chain is: now, and not only when it connected.
    ///
    /// # Errors
    /// It is expired, of a certificate authority that is not trusted or not trusted any more, of another domain, or
    /// revoked.
    pub fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<Identity, TlsError> {
        let Some((own, others)) = chain.split_first() else {
            return Err(TlsError("the peer shows no certificate".to_owned()));
        };
        self.verifier
            .verify_client_cert(own, others, UnixTime::now())
            .map_err(|why| TlsError(format!("the certificate is not valid here: {why}")))?;
        let identity = Identity::of(own)?;
        if identity.domain() != self.identity.domain() {
            let why = format!("{identity} is not of the domain {}", self.identity.domain());
            return Err(TlsError(why));
        }
        let parsed = EndEntityCert::try_from(own).map_err(|why| TlsError(why.to_string()))?;
        if self.revoked.holds(&identity, parsed.serial()) {
            return Err(TlsError(format!("the certificate of {identity} is revoked")));
        }
        Ok(identity)
    }
}

/// The certificates that the peer of a connection showed in its handshake.
#[must_use]
pub fn chain_of(connection: &ServerConnection) -> Chain {
    connection.peer_certificates().map_or_else(|| Arc::from([]), Arc::from)
}
