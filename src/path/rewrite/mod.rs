//! The only code that writes to a packet that is forwarded. The fast path and the stages both call it.

pub(super) mod hop;
pub(super) mod quote;
pub(super) mod siit;
pub(super) mod sir;
