//! The only code that writes to a packet that is forwarded. The fast path and the stages both call it.

pub(super) mod atomic;
pub(super) mod hop;
pub(super) mod next_hop_mtu;
pub(super) mod quote;
pub(super) mod siit;
pub(super) mod sir;
pub(super) mod vxlan;
