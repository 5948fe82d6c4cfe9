//! Fields that several messages have.

use crate::nva::malformed::{Malformed, malformed};
use crate::nva::model::Key;
use crate::nva::v1;

/// Longest name of an object, or end of a policy, in bytes.
pub(super) const MAX_OBJECT_NAME: usize = 64;
/// Longest reason of a refusal of an object in bytes.
pub(super) const MAX_WHY: usize = 512;

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
