//! The list of those who are trusted no longer although their certificates are still valid.
//!
//! One entry a line: `identity ilagate://DOMAIN/ROLE/NAME`, or `serial` and the serial number of a certificate in
//! hexadecimal, with or without colons. `#` begins a comment.

use super::files::text;
use super::{Identity, TlsError};
use std::collections::HashSet;
use std::path::Path;

/// Longest serial number in bytes (RFC 5280 §4.1.2.2).
const MAX_SERIAL: usize = 20;

/// Who is trusted no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    identities: HashSet<Identity>,
    serials: HashSet<Vec<u8>>,
}

impl Revoked {
    /// Reads a list from its file; there is none without a file.
    ///
    /// # Errors
    /// A file that cannot be read, or its first line that is no entry.
    pub fn read(file: Option<&Path>) -> Result<Self, TlsError> {
        let Some(path) = file else { return Ok(Revoked::default()) };
        Revoked::parse(&text(path)?, &path.display().to_string())
    }

    /// Reads a list. `file` stands in errors.
    ///
    /// # Errors
    /// The first line that is no entry.
    pub fn parse(text: &str, file: &str) -> Result<Self, TlsError> {
        let mut list = Revoked::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let failed = |why: String| TlsError(format!("{file}:{}: {why}", number + 1));
            match (words.next(), words.next(), words.next()) {
                (None, ..) => {}
                (Some("identity"), Some(identity), None) => {
                    let identity = identity.parse().map_err(|why: TlsError| failed(why.to_string()))?;
                    list.identities.insert(identity);
                }
                (Some("serial"), Some(text), None) => {
                    let serial = serial(text).ok_or_else(|| {
                        failed(format!(
                            "`{text}` is no serial number; write 1 to {MAX_SERIAL} bytes as 0A:1B or 0a1b"
                        ))
                    })?;
                    list.serials.insert(serial);
                }
                _ => {
                    let line = line.trim().escape_debug();
                    return Err(failed(format!(
                        "`{line}` is no entry; write `identity ilagate://DOMAIN/ROLE/NAME` or `serial HEX`"
                    )));
                }
            }
        }
        Ok(list)
    }

    /// Whether a certificate is revoked: by its identity, or by its serial number as it stands in it.
    #[must_use]
    pub fn holds(&self, identity: &Identity, serial: &[u8]) -> bool {
        self.identities.contains(identity) || self.serials.contains(plain(serial))
    }
}

/// Without the zeros in front: a positive number may begin with one in DER.
fn plain(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

fn serial(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, odd) = digits.as_chunks::<2>();
    let first = match odd {
        // Tools write an odd number of digits, too: the zero is in front.
        [] => pairs.iter().map(|[a, b]| Some(value(*a)? << 4 | value(*b)?)).collect::<Option<Vec<u32>>>()?,
        _ => {
            let mut all = vec![b'0'];
            all.extend(&digits);
            let (pairs, _) = all.as_chunks::<2>();
            pairs.iter().map(|[a, b]| Some(value(*a)? << 4 | value(*b)?)).collect::<Option<Vec<u32>>>()?
        }
    };
    let bytes: Vec<u8> = first.into_iter().map(|byte| byte as u8).collect();
    let bytes = plain(&bytes).to_vec();
    (1..=MAX_SERIAL).contains(&bytes.len()).then_some(bytes)
}
