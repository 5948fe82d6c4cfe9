//! Translates the packet quoted in an ICMPv6 error: routers quote it with its ILA address, and the sender must see the
//! SIR address that it used.
//!
//! Without this, path MTU discovery and traceroute through the fabric fail for unmodified senders.

use crate::ila::quote;
use crate::net::ipv6::{Ipv6, Upper};
use crate::path::packet::Packet;
use crate::path::policy::may_have_sent;
use crate::table::{Endpoint, Ingress, Tables};

/// Translates the quoted destination back to SIR if the packet is an ICMPv6 error and the destination is under a known
/// locator.
///
/// Only routers see ILA addresses. So a quote of a tenant or a task is left alone, and so is a quote of a packet that the
/// receiver cannot have sent: nobody learns the addresses of a network that it has nothing to do with.
pub(in crate::path) fn translate(packet: &mut Packet<'_>, upper: &Upper, tables: &Tables) {
    let Some((from, to)) = Ipv6::of(packet.l3()).map(|header| (header.source(), header.destination())) else {
        return;
    };
    let packet_port = packet.port.0;
    quote::translate_back(packet.l3_mut(), upper, |address| {
        let port = tables.ports.get(usize::from(packet_port));
        let router = tables.endpoint(from) == Some(Endpoint::Outside)
            && !port.is_some_and(|port| matches!(port.ingress, Ingress::Tasks));
        let to = tables.sir_of(to).map_or(to, |(address, _)| address);
        tables.sir_of(address).filter(|(sir, _)| router && may_have_sent(to, *sir, address, tables))
    });
}
