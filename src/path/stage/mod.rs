//! The stages of the pipeline, in the order in which they run.

/// Is the frame for us, and is it an IPv6 packet that may be looked at further?
pub(super) mod parse;
/// First pass over a burst: parses and classifies, and starts every lookup before any is waited for.
pub(super) mod arrive;
/// What is the destination, by its /64 and its identifier?
pub(super) mod classify;
/// Finds the action of every identifier, in bulk.
pub(super) mod lookup;
/// Turns SIR into ILA addresses and back, and delivers to attachments.
pub(super) mod translate;
/// Sends on between virtual networks.
pub(super) mod gateway;
/// Routes by longest prefix what needs no translation.
pub(super) mod route;
/// Copies packets to groups.
pub(super) mod replicate;
/// Cuts what came as IPv4 and is too long for its next hop.
pub(super) mod fragment;
/// Serves packets to this node itself.
pub(super) mod local;
/// Tells senders of dropped packets why.
pub(super) mod icmp_error;
