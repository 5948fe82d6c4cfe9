//! Fields that several messages have.

use crate::nva::model::Key;
use crate::nva::v1;

/// Longest name of an NVE in bytes.
pub(super) const MAX_NAME: usize = 64;
/// Longest name of an object, or end of a policy, in bytes.
pub(super) const MAX_OBJECT_NAME: usize = 64;
/// Longest reason of a refusal of an object in bytes.
pub(super) const MAX_WHY: usize = 512;

/// A message that breaks the protocol, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

pub(super) fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

pub(super) fn read_key(key: Option<v1::Key>) -> Result<Key, Malformed> {
    let Some(v1::Key { sir_prefix, identifier }) = key else { return malformed("a request without a key") };
    Ok(Key { sir_prefix, identifier })
}

pub(super) fn write_key(key: Key) -> Option<v1::Key> {
    Some(v1::Key { sir_prefix: key.sir_prefix, identifier: key.identifier })
}

/// So much of a text as fits a message.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    while text.len() > most {
        text.pop();
    }
    text
}
