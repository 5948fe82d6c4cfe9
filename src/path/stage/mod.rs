//! The stages of the pipeline, in the order in which they run. Each file says what its stage decides.
//!
//! `arrive` calls `parse`, `admit` and `classify` for each packet, `translate` calls `gateway` and
//! `moving`, and `local` calls `tunnel_end`.

/// Reads the link header and the IPv6 header of a frame.
pub(super) mod parse;
/// First pass over a burst: parses, admits and classifies, and prefetches for all lookups.
pub(super) mod arrive;
/// Classifies the destination by its /64 and its identifier type.
pub(super) mod classify;
/// Finds the actions of all identifiers of a burst.
pub(super) mod lookup;
/// Translates SIR to ILA addresses and back, and delivers to attachments.
pub(super) mod translate;
/// Decides packets for VMs and tasks that move.
pub(super) mod moving;
/// Forwards packets between virtual networks, as the gateway that a policy names.
pub(super) mod gateway;
/// Routes by longest prefix the packets that need no translation.
pub(super) mod route;
/// Copies packets to the members of groups.
pub(super) mod replicate;
/// Fragments packets that came as IPv4 and are too long for their next hop.
pub(super) mod fragment;
/// Reads the headers of packets to this node as a host does.
pub(super) mod own_headers;
/// Serves the packets to this node itself.
pub(super) mod local;
/// Takes frames out of tunnels.
pub(super) mod tunnel_end;
/// Makes the ICMP errors to IPv4 tenants, which quote what they sent.
pub(super) mod icmp4_error;
/// Sends ICMPv6 errors and ICMP errors to the senders of dropped packets.
pub(super) mod icmp_error;
