//! Who the holder of a certificate is.

use super::TlsError;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::str::FromStr;
use webpki::EndEntityCert;

/// Longest domain or name in bytes.
pub const MAX_NAME: usize = 64;
const SCHEME: &str = "ilagate://";

/// What the holder of a certificate may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A network virtualization edge or a gateway.
    Nve,
    /// An authority.
    Nva,
    /// A person or a program that manages.
    Operator,
}

impl Role {
    const ALL: [Role; 3] = [Role::Nve, Role::Nva, Role::Operator];

    fn name(self) -> &'static str {
        match self {
            Role::Nve => "nve",
            Role::Nva => "nva",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `ilagate://DOMAIN/ROLE/NAME`: DOMAIN is that of the deployment, NAME is unique in it for each role. Both have 1 to
/// 64 letters, digits, `-`, `_` or `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    domain: String,
    role: Role,
    name: String,
}

impl Identity {
    /// An identity of these parts.
    ///
    /// # Errors
    /// A domain or a name with other characters, or too long.
    pub fn new(domain: &str, role: Role, name: &str) -> Result<Self, TlsError> {
        for part in [domain, name] {
            let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if part.is_empty() || part.len() > MAX_NAME || !part.chars().all(is_good) {
                return Err(TlsError(format!(
                    "`{}` is no domain or name; write 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`",
                    part.escape_debug()
                )));
            }
        }
        Ok(Identity { domain: domain.to_owned(), role, name: name.to_owned() })
    }

    /// The identity that a certificate names. Whether to believe the certificate is another question.
    ///
    /// # Errors
    /// It cannot be read, or names none or several.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let parsed = EndEntityCert::try_from(certificate)
            .map_err(|why| TlsError(format!("the certificate cannot be read: {why}")))?;
        let mut named = parsed.valid_uri_names().filter(|uri| uri.starts_with(SCHEME));
        match (named.next(), named.next()) {
            (Some(uri), None) => uri.parse(),
            (None, _) => Err(TlsError(format!(
                "the certificate names no identity; issue one with the URI {SCHEME}DOMAIN/ROLE/NAME"
            ))),
            (Some(_), Some(_)) => {
                Err(TlsError("the certificate names several identities; issue one with one URI".to_owned()))
            }
        }
    }

    /// The deployment.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What it may be.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name in its role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.domain, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let wrong = || {
            TlsError(format!(
                "`{}` is no identity; write {SCHEME}DOMAIN/ROLE/NAME, where ROLE is nve, nva or operator",
                text.escape_debug()
            ))
        };
        let mut parts = text.strip_prefix(SCHEME).ok_or_else(wrong)?.split('/');
        let (Some(domain), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let role = Role::ALL.into_iter().find(|known| known.name() == role).ok_or_else(wrong)?;
        Identity::new(domain, role, name)
    }
}
