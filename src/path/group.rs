//! Multicast and broadcast of tenants: a copy for every locator with members of the group's network, and for every
//! member here but the sender (head-end replication, ILA draft §3.7.2, VMM draft §4.2).
//!
//! What comes from the fabric is for members here alone, so that no copy is ever copied back. Nobody is told by ICMP what
//! became of a packet to a group (RFC 1122 §3.2.2, RFC 4443 §2.4 (e.3)).

use super::guard::{Guard, Watched};
use super::lane::{Class, Lane, Lanes, Todo};
use super::outbox::Outbox;
use super::packet::Packet;
use super::tenant::Sender;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, flow, split, translate, v4};
use crate::ila::group::{self, ipv4_leaves_link, ipv6_identifier, leaves_link, scope, stands_back};
use crate::ila::{Identifier, IdentifierType};
use crate::net::ipv6::{self, Ipv6, next};
use crate::net::{Mac, ethernet, icmp6::kind, igmp, mld};
use crate::table::{Action, DomainId, LimitKind, Local, Network, NetworkId, PortId, Remote};

/// Whether a tenant's packet to an IPv6 group is to be copied to others; what it says of groups is for this node.
pub(super) fn is_copied(packet: &[u8], destination: u128) -> bool {
    leaves_link(scope(destination)) && !is_membership(packet)
}

/// Whether a packet is a message of MLD; version 1 sends reports to the group itself (RFC 2710 §4).
fn is_membership(packet: &[u8]) -> bool {
    let alerted = packet.get(6) == Some(&next::HOP_BY_HOP);
    alerted
        && ipv6::upper(packet).is_ok_and(|upper| {
            let kind = packet.get(upper.offset);
            upper.protocol == next::ICMP6 && !upper.later_fragment && kind.is_some_and(|kind| is_mld(*kind))
        })
}

/// Whether an ICMPv6 type is one of MLD.
pub(super) const fn is_mld(kind: u8) -> bool {
    matches!(kind, kind::LISTENER_QUERY..=kind::LISTENER_DONE | kind::LISTENER_REPORT_2)
}

/// A tenant's MLD: the control thread hears reports, as many as Neighbour Discovery. Queries are the gateway's to send.
pub(super) fn decide_mld(packet: &Packet<'_>, who: Watched, guard: &mut Guard, ctx: &Ctx<'_>) -> Verdict {
    match mld::parse(packet.l3()) {
        Ok(mld::Message::Report(_)) => heard(guard.pass(who, LimitKind::Nd, ctx)),
        Ok(mld::Message::Query(_)) | Err(_) => Verdict::Drop(DropReason::MembershipInvalid),
    }
}

/// The same for IGMP, as many as ARP.
pub(super) fn decide_igmp(packet: &Packet<'_>, who: Watched, guard: &mut Guard, ctx: &Ctx<'_>) -> Verdict {
    match igmp::parse(packet.l3()) {
        Ok(igmp::Message::Report(_)) => heard(guard.pass(who, LimitKind::Arp, ctx)),
        Ok(igmp::Message::Query(_)) | Err(_) => Verdict::Drop(DropReason::MembershipInvalid),
    }
}

fn heard(passed: Result<(), DropReason>) -> Verdict {
    passed.map_or_else(Verdict::Drop, |()| Verdict::Punt)
}

/// Takes a tenant's packet to an IPv6 group.
///
/// # Errors
/// The reason to drop it.
pub(super) fn enter(
    lane: &mut Lane,
    from: &Sender<'_>,
    source: u128,
    destination: u128,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    if ipv6::is_link_local(source) {
        return Err(DropReason::LinkLocal);
    }
    if !from.tenant.ipv6.contains(&source) {
        return Err(DropReason::SpoofedSource);
    }
    let identifier = ipv6_identifier(from.network.vnid, destination).ok_or(DropReason::GroupUnmappable)?;
    let vnet = from.network.ipv6.as_ref().ok_or(DropReason::GroupUnmappable)?;
    lane.extra = vnet.extra_of(identifier);
    begin(lane, from, identifier, ctx)
}

/// The group that a tenant's IPv4 packet goes to, if it goes to one.
///
/// # Errors
/// A group that nobody else may hear of, or an address that is nobody's.
pub(super) fn ipv4_group(destination: u32, network: &Network) -> Result<Option<Identifier>, DropReason> {
    if network.is_broadcast(destination) || ipv4_leaves_link(destination) {
        return Ok(Some(network.ipv4_identifier(destination)));
    }
    if destination >> 28 >= 0xe { Err(DropReason::Multicast) } else { Ok(None) }
}

/// Notes in `lane` that the packet, which is IPv6 by now, goes to a group of its sender's network.
///
/// # Errors
/// Neutral mapping cannot tell the group from another one.
pub(super) fn begin(
    lane: &mut Lane,
    from: &Sender<'_>,
    identifier: Identifier,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let domain = ctx.tables.domains.get(usize::from(from.network.domain.0));
    let twins = domain.is_none_or(|domain| domain.checksum.changes_identifier());
    if twins && stands_back(identifier) && !from.network.is_broadcast(identifier.0 as u32) {
        return Err(DropReason::GroupUnmappable);
    }
    (lane.low, lane.to, lane.unusual) = (identifier.0, Some(from.id), true);
    lane.class = Class::Group(from.network.domain);
    Ok(())
}

/// Who gets a copy.
enum Target<'t> {
    Remote(&'t Remote),
    Member(&'t Local),
}

/// Where a frame came from.
#[derive(PartialEq, Eq)]
struct Place(PortId, u16, Option<Mac>);

/// Copies every packet of [`Class::Group`] to whom it is for. The last of them gets the packet itself.
#[cold]
pub(super) fn run(
    burst: &mut [Packet<'_>],
    lanes: &mut Lanes,
    outbox: &mut Outbox,
    guard: &mut Guard,
    todo: &mut Todo,
    ctx: &Ctx<'_>,
) {
    for (of, (packet, lane)) in burst.iter_mut().zip(lanes.iter_mut()).enumerate() {
        let Class::Group(domain) = lane.class else { continue };
        if packet.verdict == Verdict::Continue {
            packet.verdict = replicate(packet, lane, (of, domain), (outbox, guard), ctx);
            todo.drops |= matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

fn replicate(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    (of, domain): (usize, DomainId),
    (outbox, guard): (&mut Outbox, &mut Guard),
    ctx: &Ctx<'_>,
) -> Verdict {
    let Some((id, network)) = lane.to.and_then(|id| Some((id, ctx.tables.networks.get(id)?))) else {
        return Verdict::Drop(DropReason::NoMembers);
    };
    // Every host takes one, this one as well, so that no copy would leave.
    if lane.from.is_some() && Ipv6::of(packet.l3()).is_none_or(|header| header.hop_limit() <= 1) {
        return Verdict::Drop(DropReason::GroupHopLimit);
    }
    let identifier = Identifier(lane.low);
    let group = if network.is_broadcast_identifier(identifier) { network.broadcast() } else { identifier };
    let remotes = match lane.from {
        Some(_) => match ctx.tables.replicas(network, group) {
            Ok(remotes) => remotes,
            Err(_) => return Verdict::Drop(DropReason::Blackhole),
        },
        None if !is_of(packet, id, ctx) => return Verdict::Drop(DropReason::NoPolicy),
        None => &[],
    };
    let flow = flow::hash(packet.l3());
    let sender = place(packet.port, packet.frame(), ethernet::source);
    let remotes = remotes.iter().filter_map(|id| match ctx.tables.resolve(*id, || flow) {
        Some(Action::Remote(remote)) => Some(Target::Remote(remote)),
        _ => None,
    });
    let members = ctx.tables.networks.members(id, group).iter();
    let members = members
        .filter(|member| place(member.hop.port, member.hop.link(), ethernet::destination) != sender)
        .map(Target::Member);
    let mut targets = remotes.chain(members);
    let count = targets.clone().count();
    let Some(mut target) = targets.next() else { return Verdict::Drop(DropReason::NoMembers) };
    // What comes from the fabric was counted at its sender's host.
    if let Some(Err(over)) = lane.watched.map(|who| guard.pass_copies(who, count, ctx)) {
        return Verdict::Drop(over);
    }
    for next in targets {
        let to = |copy: &mut Packet<'_>, lane: &mut Lane| send(copy, lane, &target, domain, ctx);
        let mut own = *lane;
        let mut made = outbox.copy(packet, of, |copy| to(copy, &mut own));
        if made == Err(DropReason::PacketTooBig) {
            made = split::copies(packet, &own, of, outbox, to);
        }
        outbox.note(made);
        target = next;
    }
    let to = |copy: &mut Packet<'_>, lane: &mut Lane| send(copy, lane, &target, domain, ctx);
    match to(packet, lane) {
        Verdict::Drop(DropReason::PacketTooBig) => split::cut(packet, lane, of, outbox, to),
        // To come back would be to be copied again.
        Verdict::Hold(_) | Verdict::Resolve(_) => Verdict::Drop(DropReason::NeighbourUnresolved),
        verdict => verdict,
    }
}

fn place(port: PortId, frame: &[u8], mac: fn(&[u8]) -> Option<Mac>) -> Place {
    Place(port, ethernet::parse(frame).map_or(0, |link| link.vlan), mac(frame))
}

/// Whether the sender is a tenant of the network: groups never leave it, whatever policies say.
fn is_of(packet: &Packet<'_>, network: NetworkId, ctx: &Ctx<'_>) -> bool {
    Ipv6::of(packet.l3()).is_some_and(|header| ctx.tables.network_of(header.source()) == Some(network))
}

fn send(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    target: &Target<'_>,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    match target {
        Target::Remote(remote) => translate::to_locator(packet, lane, remote, ctx),
        Target::Member(member) => deliver(packet, lane, member, domain, ctx),
    }
}

/// Delivers to a member here, in a frame to the group.
fn deliver(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    member: &Local,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    let mut member = *member;
    let identifier = Identifier(lane.low);
    let ipv4 = identifier.kind() == IdentifierType::TenantIpv4;
    let mac = match identifier.0 as u32 {
        address if ipv4 && address >> 28 == 0xe => Mac::of_ipv4_multicast(address),
        _ if ipv4 => Mac::BROADCAST,
        _ => Mac::of_ipv6_multicast(group::ipv6_address(identifier)),
    };
    if let Some(to) = member.hop.link.first_chunk_mut() {
        *to = mac.0;
    }
    if ipv4 {
        return v4::deliver(packet, lane, &member, domain, ctx);
    }
    // What a tenant here sent still has the group's own address.
    let domain = ctx.tables.domains.get(usize::from(domain.0)).filter(|_| lane.from.is_none());
    translate::deliver(packet, lane, &member, domain, ctx)
}
