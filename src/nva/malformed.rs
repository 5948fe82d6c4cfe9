//! What is no message of the protocol.

/// Longest name of an NVE or a network in bytes.
pub(super) const MAX_NAME: usize = 64;

/// A message that breaks the protocol, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// The refusal of a message.
pub(super) fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}
