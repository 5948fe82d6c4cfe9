//! ICMPv6 errors quote the packet as it was on the wire; the sender must see the SIR address that it used.
//!
//! Without this neither traceroute nor path MTU discovery works through the fabric for an unmodified sender.

use crate::ila::quote;
use crate::net::ipv6::Upper;
use crate::path::packet::Packet;
use crate::table::Tables;

/// Translates the quoted destination back when the packet is an ICMPv6 error and the quote is under a known locator.
pub(in crate::path) fn translate(packet: &mut Packet<'_>, upper: &Upper, tables: &Tables) {
    quote::translate_back(packet.l3_mut(), upper, |address| tables.sir_of(address));
}
