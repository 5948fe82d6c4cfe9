//! The only code that writes to the bytes of a packet that travels on: the fast path and the stages both call it.

pub(super) mod hop;
pub(super) mod quote;
pub(super) mod siit;
pub(super) mod sir;
