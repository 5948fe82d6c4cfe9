//! Translates the packet quoted in an ICMPv6 error: routers quote it with its ILA address, and the sender must see the
//! SIR address that it used.
//!
//! Without this, path MTU discovery and traceroute through the fabric fail for unmodified senders.

use crate::ila::quote;
use crate::net::ipv6::Upper;
use crate::path::packet::Packet;
use crate::table::Tables;

/// Translates the quoted destination back to SIR if the packet is an ICMPv6 error and the destination is under a known
/// locator.
pub(in crate::path) fn translate(packet: &mut Packet<'_>, upper: &Upper, tables: &Tables) {
    quote::translate_back(packet.l3_mut(), upper, |address| tables.sir_of(address));
}
