//! Certificates for a lab: one certificate authority for a domain, and what it issues.
//!
//! A lab, because the key of the certificate authority lies in a file beside the certificates, and keys are made here
//! and not where they are used. Production uses a certificate authority of its own that issues short-lived certificates
//! with the URI of the identity, to keys that never leave their machines.

use super::{Identity, Role, TlsError};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// How far clocks may differ.
const CLOCKS: Duration = Duration::minutes(5);
/// Bytes of a serial number.
const SERIAL: usize = 16;
/// The certificate of a certificate authority, in its directory.
const CA: &str = "ca";

/// A certificate and the file of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, which only its owner may read.
    pub key: PathBuf,
    /// Serial number in hexadecimal.
    pub serial: String,
}

/// Makes the certificate authority of a domain: `ca.pem` and `ca.key` in `directory`.
///
/// # Errors
/// There is one already, a domain that is none, or the file system refuses.
pub fn make_authority(directory: &Path, domain: &str, days: u32) -> Result<Issued, TlsError> {
    Identity::new(domain, Role::Nva, CA)?;
    let key = KeyPair::generate().map_err(failed)?;
    let (params, serial) = authority(domain, end(days)?);
    let certificate = params.self_signed(&key).map_err(failed)?;
    make_directory(directory)?;
    write(directory, CA, &certificate, &key, serial)
}

/// Issues a certificate by the authority in `directory`: `ROLE-NAME.pem` and `ROLE-NAME.key` beside it.
///
/// # Errors
/// There is no certificate authority, it is of another domain, there is such a certificate already, or the file system
/// refuses.
pub fn issue(directory: &Path, identity: &Identity, days: u32) -> Result<Issued, TlsError> {
    issue_until(directory, identity, end(days)?)
}

/// [`issue`] with the end of the validity.
pub(super) fn issue_until(
    directory: &Path,
    identity: &Identity,
    until: OffsetDateTime,
) -> Result<Issued, TlsError> {
    let key_file = directory.join(format!("{CA}.key"));
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|why| {
            TlsError(format!(
                "{}: {why}; make a certificate authority first: ilactl pki init",
                path.display()
            ))
        })
    };
    let ca_key = KeyPair::from_pem(&read(&key_file)?)
        .map_err(|why| TlsError(format!("{}: no key: {why}", key_file.display())))?;
    let ca_file = directory.join(format!("{CA}.pem"));
    let domain = domain_of(&read(&ca_file)?)
        .ok_or_else(|| TlsError(format!("{}: not made by ilactl pki init", ca_file.display())))?;
    if domain != identity.domain() {
        return Err(TlsError(format!(
            "{}: is of the domain {domain}, and {identity} is not; make another certificate authority",
            ca_file.display()
        )));
    }
    let (ca, _) = authority(&domain, until);
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().map_err(failed)?;
    let (mut params, serial) = valid(until);
    params.distinguished_name.push(DnType::CommonName, identity.name());
    let uri = identity.to_string().try_into().map_err(failed)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match identity.role() {
        // Authorities of one registry may speak to one another.
        Role::Nva => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Nve | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    write(directory, &format!("{}-{}", identity.role(), identity.name()), &certificate, &key, serial)
}

fn failed(why: impl std::fmt::Display) -> TlsError {
    TlsError(format!("the certificate cannot be made: {why}"))
}

/// What the certificate of an authority says. Its subject is what certificates that it issues name as their issuer.
fn authority(domain: &str, until: OffsetDateTime) -> (CertificateParams, String) {
    let (mut params, serial) = valid(until);
    params.distinguished_name.push(DnType::CommonName, format!("{SUBJECT}{domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, serial)
}

const SUBJECT: &str = "ilagate certificate authority of ";

fn end(days: u32) -> Result<OffsetDateTime, TlsError> {
    OffsetDateTime::now_utc()
        .checked_add(Duration::days(i64::from(days)))
        .filter(|end| end.year() <= 9999)
        .ok_or_else(|| TlsError(format!("{days} days end after the year 9999; write fewer")))
}

/// A certificate that is valid from now on, with its serial number.
fn valid(until: OffsetDateTime) -> (CertificateParams, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = OffsetDateTime::now_utc() - CLOCKS;
    params.not_after = until;
    let mut serial = [0; SERIAL];
    rand::fill(&mut serial[..]);
    // A positive number of all its bytes (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    (params, serial.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The domain in the subject of a certificate authority.
fn domain_of(pem: &str) -> Option<String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let parsed = webpki::EndEntityCert::try_from(&certificate).ok()?;
    let subject = parsed.subject();
    let at = subject.windows(SUBJECT.len()).position(|window| window == SUBJECT.as_bytes())?;
    Some(String::from_utf8_lossy(&subject[at + SUBJECT.len()..]).into_owned())
}

fn make_directory(directory: &Path) -> Result<(), TlsError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|why| TlsError(format!("{}: {why}", directory.display())))
}

fn write(
    directory: &Path,
    name: &str,
    certificate: &Certificate,
    key: &KeyPair,
    serial: String,
) -> Result<Issued, TlsError> {
    let file = |extension: &str, mode: u32, text: &str| {
        let path = directory.join(format!("{name}.{extension}"));
        let write = || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(text.as_bytes())
        };
        match write() {
            Ok(()) => Ok(path),
            Err(why) => {
                let way = if why.kind() == std::io::ErrorKind::AlreadyExists {
                    "; move it away first, or name another directory"
                } else {
                    ""
                };
                Err(TlsError(format!("{}: {why}{way}", path.display())))
            }
        }
    };
    let key = file("key", 0o600, &key.serialize_pem())?;
    let written = file("pem", 0o644, &certificate.pem());
    let certificate = written.inspect_err(|_| _ = std::fs::remove_file(&key))?;
    Ok(Issued { certificate, key, serial })
}
