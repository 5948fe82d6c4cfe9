//! Neighbour Discovery of a router (RFC 4861). It answers solicitations for own addresses, for SIR addresses on access
//! ports and for tenants' addresses by proxy, and it answers Router Solicitations.
//!
//! Advertisements go to the control thread, which runs the neighbour state machines. Nothing is flooded.

use crate::ila::{Identifier, IdentifierType};
use crate::net::ipv6::{self, ALL_NODES, Ipv6, Upper};
use crate::net::ndp::{self, Advert, Envelope, Message, Told};
use crate::net::{Mac, ethernet};
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::misses::Miss;
use crate::path::notice::Notice;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::punts::Bucket;
use crate::path::router::Router;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{
    AttachmentKey, DomainId, Endpoint, HopState, Ingress, LimitKind, Local, Network, NetworkId, Port, Role,
    Tables,
};
use std::net::{IpAddr, Ipv6Addr};

/// Decides a Neighbour Discovery message.
pub(in crate::path) fn decide(
    packet: &mut Packet<'_>,
    meta: &PacketMeta,
    upper: &Upper,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Verdict {
    let Some(port) = ctx.tables.ports.get(usize::from(packet.port.0)) else {
        return Verdict::Drop(DropReason::NoPort);
    };
    if upper.offset != ipv6::HEADER {
        // Neighbour Discovery has no use for extension headers, and they would hide it from filters.
        return Verdict::Drop(DropReason::NdInvalid);
    }
    let Ok(message) = ndp::parse(packet.l3()) else { return Verdict::Drop(DropReason::NdInvalid) };
    let probe = Ipv6::of(packet.l3()).is_some_and(|header| header.source() == 0);
    if let Err(reason) = of_tenant(packet, meta, port, message, probe, policer, ctx) {
        return Verdict::Drop(reason);
    }
    // Notices count among what the port hands over. The answer replaces the packet, so the bucket is chosen before.
    let overheard = match meta.policed {
        None => overheard(packet, port, message, ctx.tables),
        Some(_) => None,
    };
    let overheard = overheard.map(|notice| (notice, Bucket::of(packet, None, ctx)));
    let verdict = answered(packet, meta, port, (message, probe), policer, ctx);
    // A notice about a neighbour needs a solicitation that this node answers. That another node uses an address of ours
    // is always told.
    if let Some((notice, bucket)) = overheard
        && (matches!(notice, Notice::Ours { .. }) || matches!(verdict, Verdict::Reply(_)))
    {
        policer.limited_notice(notice, bucket, ctx);
    }
    verdict
}

/// Decides a message that passed the checks of its sender.
fn answered(
    packet: &mut Packet<'_>,
    meta: &PacketMeta,
    port: &Port,
    (message, probe): (Message, bool),
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Verdict {
    match message {
        Message::Solicitation { target, .. } => {
            let verdict = solicited(packet, meta.from, port, target, ctx.tables);
            if let (true, Verdict::Reply(_)) = (probe, verdict) {
                conflict(meta, target, policer, ctx);
            }
            if ctx.tables.asks
                && matches!(verdict, Verdict::Drop(_))
                && let Some(miss) = missing(meta, port, target, ctx.tables)
            {
                return policer.question(miss, packet, meta.policed, ctx);
            }
            verdict
        }
        // Only unsolicited advertisements of a tenant's own addresses are left: the control thread must know that it
        // arrived.
        Message::Advertisement { target, solicited, .. }
            if meta.from.is_some() && (solicited || ipv6::is_link_local(target)) =>
        {
            Verdict::Drop(DropReason::NdNotForUs)
        }
        Message::Advertisement { .. } => Verdict::Punt,
        Message::RouterSolicitation { .. } => match advert(packet, meta, port, ctx.tables) {
            Some(advert) => {
                // Even where the group is the destination only the solicitor gets the frame (RFC 6085 §3): so no flood of
                // solicitations makes more multicast than RFC 4861 §6.2.6 allows.
                let to_mac = ethernet::source(packet.frame()).unwrap_or_default();
                let router = Router::of(port, meta.from, ctx.tables);
                let to = Envelope { to_mac, ..envelope(packet, router, ALL_NODES) };
                answer(packet, |frame| ndp::router_advertisement(frame, to, advert))
            }
            None => Verdict::Drop(DropReason::NdNotForUs),
        },
        Message::RouterAdvertisement => Verdict::Drop(DropReason::NdNotForUs),
    }
}

/// Checks a message of a tenant or task: it names no MAC address but the sender's own, advertises no address but the
/// sender's own or a link-local one, and is within the tenant's limits. Messages of others pass.
///
/// # Errors
/// * [`DropReason::SpoofedSource`] for another MAC or IPv6 address.
/// * [`DropReason::NdRate`], [`DropReason::DadRate`] or [`DropReason::Quarantined`] from the policer.
fn of_tenant(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    port: &Port,
    message: Message,
    probe: bool,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let mac = ethernet::source(packet.frame());
    let (named, target) = match message {
        Message::Solicitation { source_mac, .. } | Message::RouterSolicitation { source_mac } => {
            (source_mac, None)
        }
        Message::Advertisement { target_mac, target, .. } => (target_mac, Some(target)),
        Message::RouterAdvertisement => (None, None),
    };
    let is_tasks = matches!(port.ingress, Ingress::Tasks);
    if (meta.policed.is_some() || is_tasks) && named.is_some() && named != mac {
        return Err(DropReason::SpoofedSource);
    }
    let Some(who) = meta.policed else {
        return match target.filter(|_| is_tasks) {
            Some(target) if !is_tasks_own(packet, mac, target, port, ctx.tables) => {
                Err(DropReason::SpoofedSource)
            }
            _ => Ok(()),
        };
    };
    if let Some(target) = target {
        let vlan = ethernet::parse(packet.frame()).map_or(0, |link| link.vlan);
        let tenant = mac.and_then(|mac| ctx.tables.networks.tenant(packet.port, vlan, mac));
        let is_routers = Router::of(port, meta.from, ctx.tables).owns(target);
        let own = tenant.is_some_and(|tenant| tenant.ipv6.contains(&target))
            || ipv6::is_link_local(target) && !is_routers;
        if !own {
            let is_in_use = is_routers || in_use(packet, meta, target, ctx.tables);
            if is_in_use && policer.take(who, LimitKind::Nd, ctx) {
                conflict(meta, target, policer, ctx);
            }
            return Err(DropReason::SpoofedSource);
        }
        // Whatever else it sends, whoever is there is not silent.
        if let (Some(mac), Message::Advertisement { solicited: true, .. }) = (mac, message)
            && !ipv6::is_link_local(target)
        {
            let (at, address) =
                (AttachmentKey { port: packet.port, vlan, mac }, IpAddr::V6(Ipv6Addr::from(target)));
            policer.answered(Notice::Answered { at, address }, Bucket::of_presence(packet, who), ctx);
        }
    }
    policer.pass(who, if probe { LimitKind::Dad } else { LimitKind::Nd }, ctx)
}

/// Whether the task that sent the packet may advertise an address: one that is bound to it, or a link-local one that
/// neither this node nor another task has. Nothing binds those, so that the first to come has them (RFC 6620 §3.2.1).
fn is_tasks_own(packet: &Packet<'_>, mac: Option<Mac>, address: u128, port: &Port, tables: &Tables) -> bool {
    match ipv6::is_link_local(address) {
        true => !port.owns(address) && !is_known_elsewhere(packet, mac, address, tables),
        false => is_bound(packet, mac, address, tables),
    }
}

/// Whether an address on the packet's port is that of a known neighbour with another MAC address.
fn is_known_elsewhere(packet: &Packet<'_>, mac: Option<Mac>, address: u128, tables: &Tables) -> bool {
    let hop = tables.neighbours.get(&(packet.port, address)).filter(|hop| hop.state == HopState::Ready);
    hop.is_some_and(|hop| ethernet::destination(hop.link()) != mac)
}

/// Whether an address is bound to the task that sent the packet.
fn is_bound(packet: &Packet<'_>, mac: Option<Mac>, address: u128, tables: &Tables) -> bool {
    let vlan = ethernet::parse(packet.frame()).map_or(0, |link| link.vlan);
    let key = mac.map(|mac| AttachmentKey { port: packet.port, vlan, mac });
    key.and_then(|key| tables.tasks.get(&key)).is_some_and(|sources| sources.has(address))
}

/// Whether an address of the tenant's network is the gateway's or in use elsewhere.
fn in_use(packet: &Packet<'_>, meta: &PacketMeta, address: u128, tables: &Tables) -> bool {
    let network = tables.networks.of_address(address).filter(|id| meta.from == Some(*id));
    network.and_then(|id| tables.networks.get(id)).is_some_and(|network| {
        let identifier = Identifier::tenant_ipv6(network.vnid, address as u32);
        network.ipv6.is_some_and(|vnet| vnet.gateway == Some(address))
            || in_use_elsewhere(packet, network.domain, identifier, tables)
    })
}

/// Leaves the notice that a tenant claims an address that is in use elsewhere.
fn conflict(meta: &PacketMeta, address: u128, policer: &mut Policer, ctx: &Ctx<'_>) {
    if let Some(who) = meta.policed {
        policer.conflict(who, IpAddr::V6(Ipv6Addr::from(address)), ctx);
    }
}

/// The notice that a solicitation of a node that is no tenant gives rise to: the sender uses an address of ours, or a
/// known neighbour has a new MAC address.
fn overheard(packet: &Packet<'_>, port: &Port, message: Message, tables: &Tables) -> Option<Notice> {
    let (target, named) = match message {
        Message::Solicitation { target, source_mac } => (Some(target), source_mac),
        Message::RouterSolicitation { source_mac } => (None, source_mac),
        Message::Advertisement { .. } | Message::RouterAdvertisement => return None,
    };
    let sender = ethernet::source(packet.frame())?;
    // Some links return the packets of this node.
    if sender == port.mac {
        return None;
    }
    let source = Ipv6::of(packet.l3())?.source();
    let wanted = if source == 0 { target? } else { source };
    if port.owns(wanted) {
        return Some(Notice::Ours { port: packet.port, address: wanted, mac: sender });
    }
    let hop = tables.neighbours.get(&(packet.port, source))?;
    let mac = named.filter(|mac| !mac.is_multicast() && *mac != Mac::ZERO)?;
    let known = hop.state == HopState::Ready && ethernet::destination(hop.link()) == Some(mac);
    // No task takes the link-local address of another one by asking for something.
    let taken =
        matches!(port.ingress, Ingress::Tasks) && is_known_elsewhere(packet, Some(mac), source, tables);
    (!known && !taken).then_some(Notice::Neighbour { port: packet.port, address: source, mac })
}

/// The advertisement that answers a Router Solicitation. A tenant gets that of its network, if it has IPv6 addresses,
/// and never that of the port.
fn advert(packet: &Packet<'_>, meta: &PacketMeta, port: &Port, tables: &Tables) -> Option<Advert> {
    let Some(network) = meta.from.and_then(|id| tables.networks.get(id)) else { return port.advert };
    let vlan = ethernet::parse(packet.frame()).map_or(0, |link| link.vlan);
    let tenant = tables.networks.tenant(packet.port, vlan, ethernet::source(packet.frame())?)?;
    network.advert().filter(|_| !tenant.ipv6.is_empty())
}

/// Answers a tenant's solicitation for its gateway or for another tenant of its network. `None` if the target is not an
/// address of the network.
fn solicited_by_tenant(
    packet: &mut Packet<'_>,
    port: &Port,
    network: &Network,
    target: u128,
    tables: &Tables,
) -> Option<Verdict> {
    let vnet = network.ipv6.filter(|vnet| vnet.contains(target))?;
    let gateway = vnet.gateway == Some(target);
    let identifier = Identifier::tenant_ipv6(network.vnid, target as u32);
    if !gateway && !in_use_elsewhere(packet, network.domain, identifier, tables) {
        return Some(Verdict::Drop(DropReason::NdNotForUs));
    }
    let to = envelope(packet, Router::of_network(port, network), ALL_NODES);
    let to = Envelope { source: target, ..to };
    let told = Told {
        target,
        target_mac: Some(network.mac),
        router: gateway,
        solicited: to.destination != ALL_NODES,
        override_flag: gateway,
    };
    Some(answer(packet, |frame| ndp::neighbour_advertisement(frame, to, &told)))
}

/// Answers a Neighbour Solicitation of a host for `target`, or drops it as `NdNotForUs`. `from` is the host's network,
/// if it is a tenant.
pub(in crate::path) fn solicited(
    packet: &mut Packet<'_>,
    from: Option<NetworkId>,
    port: &Port,
    target: u128,
    tables: &Tables,
) -> Verdict {
    if let Some(network) = from.and_then(|id| tables.networks.get(id))
        && let Some(verdict) = solicited_by_tenant(packet, port, network, target, tables)
    {
        return verdict;
    }
    let router = Router::of(port, from, tables);
    let own = router.owns(target);
    // A tenant learns of a task only if a policy allows it to send there, and of no other network at all.
    let may_know = from.is_none_or(|from| {
        tables.endpoint(target).is_some_and(|endpoint| {
            matches!(endpoint, Endpoint::Task(..)) && tables.networks.may_send(from, endpoint)
        })
    });
    if !own && (port.role != Role::Access || !may_know || !proxied(packet, target, tables)) {
        return Verdict::Drop(DropReason::NdNotForUs);
    }
    let to = envelope(packet, router, ALL_NODES);
    // RFC 4861 §7.2.4: an advertisement to all nodes has the Solicited flag clear. RFC 4861 §7.2.8: an advertisement by
    // proxy has the Override flag clear.
    let solicited = to.destination != ALL_NODES;
    answer(packet, |frame| {
        ndp::advertisement(frame, Envelope { source: target, ..to }, target, solicited, own)
    })
}

/// What has no mapping of an address that a tenant solicits in its network, or a task in its domain.
fn missing(meta: &PacketMeta, port: &Port, target: u128, tables: &Tables) -> Option<Miss> {
    let (domain, identifier) = match meta.from {
        Some(from) => {
            let network = tables.networks.get(from)?;
            network.ipv6.filter(|vnet| vnet.contains(target))?;
            (network.domain, Identifier::tenant_ipv6(network.vnid, target as u32))
        }
        None if matches!(port.ingress, Ingress::Tasks) => {
            let domain = tables.prefixes.of((target >> 64) as u64)?.sir?;
            (domain, Identifier::of_address(target))
        }
        None => return None,
    };
    let is_mapped = tables.domain(domain)?.mappings.lookup(identifier.0).is_some();
    (!is_mapped).then_some(Miss { domain, identifier })
}

/// Whether `target` is a SIR address in use by a node other than the sender.
fn proxied(packet: &Packet<'_>, target: u128, tables: &Tables) -> bool {
    let Some(domain) = tables.prefixes.of((target >> 64) as u64).and_then(|prefix_info| prefix_info.sir)
    else {
        return false;
    };
    let identifier = Identifier::of_address(target);
    if identifier.neutral() || identifier.kind() == IdentifierType::Interface {
        return false;
    }
    in_use_elsewhere(packet, domain, identifier, tables)
}

/// Whether a node other than the sender has the identifier.
fn in_use_elsewhere(packet: &Packet<'_>, domain: DomainId, identifier: Identifier, tables: &Tables) -> bool {
    let Some(domain) = tables.domain(domain) else { return false };
    let Some(action) = domain.mappings.lookup(identifier.0).and_then(|id| tables.action(id)) else {
        return false;
    };
    let is_asker = |local: &Local| {
        let vlan = |frame| ethernet::parse(frame).map(|link| link.vlan);
        local.hop.port == packet.port
            && ethernet::destination(local.hop.link()) == ethernet::source(packet.frame())
            && vlan(local.hop.link()) == vlan(packet.frame())
    };
    action.is_in_use() && !tables.attached(action).is_some_and(is_asker)
}

/// The envelope of the answer: to the sender, or to all nodes if the sender has no address yet.
#[inline]
fn envelope(packet: &Packet<'_>, router: Router<'_>, all_nodes: u128) -> Envelope {
    let source = Ipv6::of(packet.l3()).map_or(0, |header| header.source());
    let vlan = ethernet::parse(packet.frame()).map_or(0, |link| link.vlan);
    let (to_mac, destination) = match source {
        0 => (Mac::of_ipv6_multicast(all_nodes), all_nodes),
        _ => (ethernet::source(packet.frame()).unwrap_or_default(), source),
    };
    Envelope { to_mac, from_mac: router.mac(), vlan, source: router.link_local(), destination }
}

/// Replaces the packet by the answer.
fn answer(packet: &mut Packet<'_>, build: impl FnOnce(&mut [u8; ndp::MAX_FRAME]) -> usize) -> Verdict {
    // Written in place: a copy of a frame that was just written elsewhere would wait for those writes.
    if !packet.resize(ndp::MAX_FRAME) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    let length = packet.frame_mut().first_chunk_mut().map_or(0, build);
    let _ = packet.resize(length);
    Verdict::Reply(packet.port)
}
