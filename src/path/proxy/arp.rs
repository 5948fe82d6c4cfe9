//! ARP and RARP by proxy (RFC 826, RFC 903, RFC 5227): the tables answer for the gateway and for every address of the
//! tenant's network that is in use elsewhere.
//!
//! Nothing is flooded (VMM draft §4.2, VMM draft §4.3).

use crate::net::arp::{self, Arp, Kind};
use crate::path::admit::source::Sender;
use crate::path::ctx::Ctx;
use crate::path::meta::Policed;
use crate::path::misses::Miss;
use crate::path::notice::Notice;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::punts::Bucket;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, AttachmentKey, LimitKind};
use std::net::{IpAddr, Ipv4Addr};

/// Decides an ARP or RARP message of a tenant. `payload` is the offset of the message in the frame, in bytes.
pub(in crate::path) fn decide(
    packet: &mut Packet<'_>,
    from: &Sender<'_>,
    ethertype: u16,
    payload: usize,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Verdict {
    let message = match arp::parse(ethertype, packet.frame().get(payload..).unwrap_or(&[])) {
        Ok(message) => message,
        Err(_) => return Verdict::Drop(DropReason::ArpInvalid),
    };
    // A sender MAC or IPv4 address that is not bound to the tenant would poison the caches of its neighbours.
    let bound = message.sender_mac == from.mac && from.tenant.ipv4.contains(&message.sender);
    let who = Policed::of(from.tenant);
    let kind = message.kind();
    match kind {
        Kind::Probe | Kind::ReverseRequest if message.sender_mac != from.mac => {
            return Verdict::Drop(DropReason::SpoofedSource);
        }
        Kind::Gratuitous if !bound => {
            // The same address at two tenants may be a mistake, so the control thread gets a notice.
            if answers_for(from, message.sender, ctx) && policer.take(who, LimitKind::Arp, ctx) {
                policer.conflict(who, IpAddr::V4(Ipv4Addr::from(message.sender)), ctx);
            }
            return Verdict::Drop(DropReason::SpoofedSource);
        }
        Kind::Request | Kind::Reply if !bound => return Verdict::Drop(DropReason::SpoofedSource),
        _ => {}
    }
    let limit = match kind {
        Kind::Probe => LimitKind::Dad,
        Kind::ReverseRequest | Kind::ReverseReply => LimitKind::Rarp,
        Kind::Request | Kind::Reply | Kind::Gratuitous => LimitKind::Arp,
    };
    if kind == Kind::Reply {
        // Whatever else it sends, whoever is there is not silent.
        let at = AttachmentKey { port: packet.port, vlan: from.vlan, mac: from.mac };
        let address = IpAddr::V4(Ipv4Addr::from(message.sender));
        policer.answered(Notice::Answered { at, address }, Bucket::of_presence(packet, who), ctx);
    }
    if let Err(over) = policer.pass(who, limit, ctx) {
        return Verdict::Drop(over);
    }
    match kind {
        Kind::Gratuitous => Verdict::Punt,
        Kind::ReverseRequest => {
            if message.target_mac == from.mac {
                let at = AttachmentKey { port: packet.port, vlan: from.vlan, mac: from.mac };
                policer.limited_notice(Notice::Arrival { at }, Bucket::of(packet, Some(who), ctx), ctx);
            }
            match answer_reverse(packet, from, &message, None, ctx) {
                Some(verdict) => verdict,
                // The control thread asks the authority, and answers when that does.
                None if ctx.tables.finds_macs => Verdict::Punt,
                None => Verdict::Drop(DropReason::ArpNotForUs),
            }
        }
        Kind::Request | Kind::Probe => {
            if let Some(verdict) = answer_request(packet, from, &message, ctx) {
                if kind == Kind::Probe {
                    policer.conflict(who, IpAddr::V4(Ipv4Addr::from(message.target)), ctx);
                }
                return verdict;
            }
            match missing(from, message.target, ctx).filter(|_| ctx.tables.asks) {
                Some(miss) => policer.question(miss, packet, Some(who), ctx),
                None => Verdict::Drop(DropReason::ArpNotForUs),
            }
        }
        Kind::Reply => Verdict::Drop(DropReason::ArpNotForUs),
        // Only this node tells tenants their addresses.
        Kind::ReverseReply => Verdict::Drop(DropReason::TenantRarp),
    }
}

/// Answers a request or a probe, if the address is known.
pub(in crate::path) fn answer_request(
    packet: &mut Packet<'_>,
    from: &Sender<'_>,
    message: &Arp,
    ctx: &Ctx<'_>,
) -> Option<Verdict> {
    answers_for(from, message.target, ctx)
        .then(|| answer(packet, |frame| arp::reply(frame, message, from.network.mac, from.vlan)))
}

/// Whether `target` is the gateway's address, a peer's, or in use by another tenant of the network.
fn answers_for(from: &Sender<'_>, target: u32, ctx: &Ctx<'_>) -> bool {
    let Some(subnet) = from.network.subnet_of(target) else { return false };
    if subnet.gateway == target {
        return true;
    }
    if from.tenant.ipv4.contains(&target) {
        return false;
    }
    if from.network.peers.ipv6(target).is_some() {
        return true;
    }
    let Some(domain) = ctx.tables.domain(from.network.domain) else { return false };
    let found = domain.mappings.lookup(from.network.ipv4_identifier(target).0);
    found.and_then(|id| ctx.tables.action(id)).is_some_and(Action::is_in_use)
}

/// What has no mapping of an address of the tenant's network.
fn missing(from: &Sender<'_>, target: u32, ctx: &Ctx<'_>) -> Option<Miss> {
    from.network.subnet_of(target)?;
    let identifier = from.network.ipv4_identifier(target);
    let domain = from.network.domain;
    let is_mapped = ctx.tables.domain(domain)?.mappings.lookup(identifier.0).is_some();
    (!is_mapped).then_some(Miss { domain, identifier })
}

/// Answers a reverse request with the IPv4 address of a MAC address of the sender's network (RFC 903), if it is known. The
/// tenant on the sender's own link comes first, then any tenant of this node, and then what the authority `found`.
pub(in crate::path) fn answer_reverse(
    packet: &mut Packet<'_>,
    from: &Sender<'_>,
    message: &Arp,
    found: Option<u32>,
    ctx: &Ctx<'_>,
) -> Option<Verdict> {
    let networks = &ctx.tables.networks;
    let here = networks.tenant(packet.port, from.vlan, message.target_mac);
    let asked = here
        .filter(|asked| asked.network == from.id)
        .or_else(|| networks.with_mac(from.id, message.target_mac));
    let address = asked.and_then(|asked| asked.ipv4.first().copied()).or(found)?;
    let server = (from.network.mac, from.network.ipv4_gateway(address)?);
    Some(answer(packet, |frame| arp::reverse_reply(frame, message, server, from.vlan, address)))
}

/// Replaces the packet by the answer.
fn answer(packet: &mut Packet<'_>, build: impl FnOnce(&mut [u8; arp::MAX_FRAME]) -> usize) -> Verdict {
    // Written in place: a copy of a frame that was just written elsewhere would wait for those writes.
    if !packet.resize(arp::MAX_FRAME) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    let length = packet.frame_mut().first_chunk_mut().map_or(0, build);
    let _ = packet.resize(length);
    Verdict::Reply(packet.port)
}
