//! The MTU of the next hop towards an address. It takes part in the MTU that a translated ICMP error reports
//! (RFC 7915 §4.2, RFC 7915 §5.2).

use crate::ila::{Identifier, IdentifierType};
use crate::path::ctx::Ctx;
use crate::table::{Action, ActionId};

/// MTU in bytes of the IPv6 next hop towards `address`: a SIR address, a tenant's own address, or any other. 65535 if no
/// packet to the address leaves this node as IPv6, or none leaves it at all.
pub(in crate::path) fn towards(address: u128, ctx: &Ctx<'_>) -> u16 {
    let action = action(address, ctx).and_then(|id| ctx.tables.resolve(id, || 0));
    match action {
        Some(Action::Remote(remote)) => remote.hop.mtu,
        Some(Action::Forward(hop)) => hop.mtu,
        Some(
            Action::Local(_)
            | Action::Connected(_)
            | Action::Blackhole
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_),
        )
        | None => u16::MAX,
    }
}

/// The action of the mapping or of the route that leads to an address.
fn action(address: u128, ctx: &Ctx<'_>) -> Option<ActionId> {
    let tables = ctx.tables;
    if let Some(network) = tables.networks.of_address(address).and_then(|id| tables.networks.get(id)) {
        let identifier = Identifier::tenant_ipv6(network.vnid, address as u32);
        return tables.domain(network.domain)?.mappings.lookup(identifier.0);
    }
    let identifier = Identifier::of_address(address);
    let sir = tables.prefixes.of((address >> 64) as u64).and_then(|prefix| prefix.sir);
    match sir.filter(|_| identifier.kind() != IdentifierType::Interface) {
        Some(domain) => tables.domain(domain)?.mappings.lookup(identifier.0),
        None => tables.routes.lookup(address),
    }
}
