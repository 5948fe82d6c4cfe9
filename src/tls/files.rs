//! The certificate, the key and the certificate authorities that an operator names.

use super::{Identity, TlsError};
use crate::config::{Fingerprint, TlsFiles, read_file};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// The most bytes of one of the files.
const MAX_BYTES: u64 = 1 << 20;
const LIMIT: &str = "certificates and keys are shorter; name another file";

/// What a side of a connection needs.
pub(super) struct Material {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) identity: Identity,
}

/// Tells one state of the files from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<Fingerprint>>);

impl Stamp {
    /// Of these files as they are now.
    #[must_use]
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        Stamp(paths.into_iter().map(Fingerprint::of).collect())
    }
}

pub(super) fn text(path: &Path) -> Result<String, TlsError> {
    let read = read_file(path, MAX_BYTES, LIMIT);
    read.map(|(text, _)| text).map_err(|why| TlsError(why.to_string().trim_end().to_owned()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: &str| TlsError(format!("{}: {why}", path.display()));
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text(path)?.as_bytes()).collect();
    match read {
        Ok(list) if list.is_empty() => Err(failed("no certificate in it; write one in PEM")),
        Ok(list) => Ok(list),
        Err(why) => Err(failed(&format!("a certificate in it cannot be read: {why}"))),
    }
}

impl Material {
    /// Reads the files. That certificate and key belong together is seen when they are used.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let name = |path: &Path, why: TlsError| TlsError(format!("{}: {why}", path.display()));
        let identity = Identity::of(&chain[0]).map_err(|why| name(&files.certificate, why))?;
        let mode = std::fs::metadata(&files.key).map_or(0, |file| file.permissions().mode());
        if mode & 0o007 != 0 {
            let why = "everybody may read this key; take that away by chmod o= and issue another key";
            return Err(TlsError(format!("{}: {why}", files.key.display())));
        }
        let key = PrivateKeyDer::from_pem_slice(text(&files.key)?.as_bytes());
        let key =
            key.map_err(|why| TlsError(format!("{}: no private key in PEM: {why}", files.key.display())))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authorities)? {
            roots.add(certificate).map_err(|why| {
                name(&files.authorities, TlsError(format!("not a certificate authority: {why}")))
            })?;
        }
        Ok(Material { chain, key, roots: Arc::new(roots), identity })
    }
}
