//! Neighbour Discovery as a router (RFC 4861): answers for own addresses, for SIR addresses on access ports by proxy,
//! and for Router Solicitations; hands advertisements to the control thread.

use super::Ctx;
use super::lane::Lane;
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use crate::ila::{Identifier, IdentifierType};
use crate::net::ipv6::{self, Ipv6, Upper};
use crate::net::ndp::{self, Advert, Envelope, Message, Told};
use crate::net::{Mac, ethernet};
use crate::table::{Action, DomainId, Network, NetworkId, Port, Role, Tables};

/// Lifetime of a tenant's default router in seconds (RFC 4861 §6.2.1, AdvDefaultLifetime).
const ROUTER_LIFETIME_S: u16 = 1800;
/// All nodes on the link.
const ALL_NODES: u128 = (0xff02 << 112) | 1;

/// Decides a Neighbour Discovery message.
pub(super) fn decide(packet: &mut Packet<'_>, lane: &Lane, upper: &Upper, ctx: &Ctx<'_>) -> Verdict {
    let Some(port) = ctx.tables.ports.get(usize::from(packet.port.0)) else {
        return Verdict::Drop(DropReason::NoPort);
    };
    if upper.offset != ipv6::HEADER {
        // Neighbour Discovery behind extension headers has no honest use here.
        return Verdict::Drop(DropReason::NdInvalid);
    }
    match ndp::parse(packet.l3()) {
        Err(_) => Verdict::Drop(DropReason::NdInvalid),
        Ok(Message::Solicitation { target, .. }) => solicited(packet, lane, port, target, ctx.tables),
        // A tenant's word changes nothing here: its attachment says which addresses it has.
        Ok(Message::Advertisement { .. }) if lane.from.is_some() => Verdict::Drop(DropReason::NdNotForUs),
        Ok(Message::Advertisement { .. }) => Verdict::Punt,
        Ok(Message::RouterSolicitation { .. }) => match advert(lane, port, ctx.tables) {
            Some(advert) => {
                let to = envelope(packet, port, ALL_NODES);
                answer(packet, |frame| {
                    ndp::router_advertisement(frame, Envelope { source: port.link_local, ..to }, advert)
                })
            }
            None => Verdict::Drop(DropReason::NdNotForUs),
        },
        Ok(Message::RouterAdvertisement) => Verdict::Drop(DropReason::NdNotForUs),
    }
}

/// What a Router Solicitation is answered with. Tenants learn their default router and the MTU; their /96 is no prefix
/// that a host could form addresses from (RFC 4862 §5.5.3 d).
fn advert(lane: &Lane, port: &Port, tables: &Tables) -> Option<Advert> {
    let Some(network) = lane.from.and_then(|id| tables.networks.get(id)) else { return port.advert };
    network.ipv6.map(|_| Advert { lifetime_s: ROUTER_LIFETIME_S, mtu: network.mtu, prefix: None })
}

/// A tenant asks for its gateway, or for another tenant of its network.
fn solicited_by_tenant(
    packet: &mut Packet<'_>,
    port: &Port,
    (id, network): (NetworkId, &Network),
    target: u128,
    tables: &Tables,
) -> Option<Verdict> {
    let vnet = network.ipv6.filter(|_| tables.networks.of_address(target) == Some(id))?;
    let gateway = vnet.gateway == Some(target);
    let identifier = Identifier::tenant_ipv6(network.vnid, target as u32);
    if !gateway && !in_use_elsewhere(packet, network.domain, identifier, tables) {
        return Some(Verdict::Drop(DropReason::NdNotForUs));
    }
    let to = Envelope { from_mac: network.mac, source: target, ..envelope(packet, port, ALL_NODES) };
    let told = Told {
        target,
        target_mac: Some(network.mac),
        router: gateway,
        solicited: to.destination != ALL_NODES,
        override_flag: gateway,
    };
    Some(answer(packet, |frame| ndp::neighbour_advertisement(frame, to, &told)))
}

fn solicited(packet: &mut Packet<'_>, lane: &Lane, port: &Port, target: u128, tables: &Tables) -> Verdict {
    if let Some(network) = lane.from.and_then(|id| Some((id, tables.networks.get(id)?)))
        && let Some(verdict) = solicited_by_tenant(packet, port, network, target, tables)
    {
        return verdict;
    }
    let own = port.owns(target);
    if !own && (port.role != Role::Access || !proxied(packet, target, tables)) {
        return Verdict::Drop(DropReason::NdNotForUs);
    }
    let to = envelope(packet, port, ALL_NODES);
    // An advertisement to all nodes is never a solicited one; a proxy does not override (RFC 4861 §7.2.4, §7.2.8).
    let solicited = to.destination != ALL_NODES;
    answer(packet, |frame| {
        ndp::advertisement(frame, Envelope { source: target, ..to }, target, solicited, own)
    })
}

/// Whether `target` is a SIR address in use by somebody other than the asker.
fn proxied(packet: &Packet<'_>, target: u128, tables: &Tables) -> bool {
    let Some(domain) = tables.realms.of((target >> 64) as u64).and_then(|realm| realm.sir) else {
        return false;
    };
    let identifier = Identifier::of_address(target);
    if identifier.neutral() || identifier.kind() == IdentifierType::Interface {
        return false;
    }
    in_use_elsewhere(packet, domain, identifier, tables)
}

/// Whether somebody other than the asker has the identifier.
fn in_use_elsewhere(packet: &Packet<'_>, domain: DomainId, identifier: Identifier, tables: &Tables) -> bool {
    let Some(domain) = tables.domains.get(usize::from(domain.0)) else { return false };
    match domain.mappings.lookup(identifier.0).and_then(|id| tables.action(id)) {
        Some(Action::Local(local)) => {
            let vlan = |frame| ethernet::parse(frame).map(|link| link.vlan);
            local.hop.port != packet.port
                || ethernet::destination(local.hop.link()) != ethernet::source(packet.frame())
                || vlan(local.hop.link()) != vlan(packet.frame())
        }
        Some(Action::Remote(_) | Action::Spread(_)) => true,
        _ => false,
    }
}

/// Back to who asked; to all nodes when the asker has no address yet.
fn envelope(packet: &Packet<'_>, port: &Port, all_nodes: u128) -> Envelope {
    let source = Ipv6::of(packet.l3()).map_or(0, |header| header.source());
    let vlan = ethernet::parse(packet.frame()).map_or(0, |link| link.vlan);
    let (to_mac, destination) = match source {
        0 => (Mac::of_ipv6_multicast(all_nodes), all_nodes),
        _ => (ethernet::source(packet.frame()).unwrap_or_default(), source),
    };
    Envelope { to_mac, from_mac: port.mac, vlan, source: port.link_local, destination }
}

/// Writes the answer over the packet.
fn answer(packet: &mut Packet<'_>, build: impl FnOnce(&mut [u8; ndp::MAX_FRAME]) -> usize) -> Verdict {
    let mut frame = [0; ndp::MAX_FRAME];
    let length = build(&mut frame);
    if !packet.resize(length) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    packet.frame_mut().copy_from_slice(&frame[..length]);
    Verdict::Reply(packet.port)
}
