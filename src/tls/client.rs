//! The NVE's side: whom it believes to be an authority.

use super::files::Material;
use super::revoked::Revoked;
use super::{ALPN, Identity, Role, TlsError, provider};
use crate::config::TlsFiles;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use std::sync::{Arc, OnceLock};
use webpki::EndEntityCert;

/// The configuration of connections to an authority, and who the files say that this side is.
///
/// # Errors
/// A file that cannot be read or used, or a key of another certificate.
pub fn config(files: &TlsFiles) -> Result<(Arc<ClientConfig>, Identity), TlsError> {
    config_without(files, Revoked::default(), Peer::default())
}

/// The same, which believes nobody on a list, and notes who the authority is.
///
/// # Errors
/// As [`config`].
pub fn config_without(
    files: &TlsFiles,
    revoked: Revoked,
    peer: Peer,
) -> Result<(Arc<ClientConfig>, Identity), TlsError> {
    let Material { chain, key, roots, identity } = Material::read(files)?;
    let provider = provider();
    let domain = identity.domain().to_owned();
    let verifier = AuthorityVerifier { roots, provider: provider.clone(), domain, revoked, peer };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| TlsError(why.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(|why| TlsError(format!("{}: not the key of the certificate: {why}", files.key.display())))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    // The other side is known by its identity, not by a name of the DNS.
    config.enable_sni = false;
    Ok((Arc::new(config), identity))
}

/// The authority at the other end of a connection, once it is known.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<OnceLock<(Identity, Vec<u8>)>>);

impl Peer {
    /// Whether it is on a list.
    ///
    /// # Errors
    /// That it is, in words.
    pub fn judge(&self, revoked: &Revoked) -> Result<(), TlsError> {
        match self.0.get() {
            Some((identity, serial)) if revoked.holds(identity, serial) => {
                Err(TlsError(format!("the certificate of {identity} is revoked")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Believes a certificate of a known certificate authority that names an authority of the own domain.
#[derive(Debug)]
struct AuthorityVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    domain: String,
    revoked: Revoked,
    peer: Peer,
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, now, algorithms)?;
        match Identity::of(own) {
            Ok(identity) if identity.role() == Role::Nva && identity.domain() == self.domain => {
                let serial = EndEntityCert::try_from(own).map_err(|why| Error::General(why.to_string()))?;
                let (identity, serial) = self.peer.0.get_or_init(|| (identity, serial.serial().to_vec()));
                if self.revoked.holds(identity, serial) {
                    return Err(Error::General(format!("the certificate of {identity} is revoked")));
                }
                Ok(ServerCertVerified::assertion())
            }
            Ok(identity) => {
                Err(Error::General(format!("{identity} is no authority of the domain {}", self.domain)))
            }
            Err(why) => Err(Error::General(why.to_string())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
        .map_err(|why| match why {
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                Error::General("the peer does not have the key of its certificate".to_owned())
            }
            why => why,
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
