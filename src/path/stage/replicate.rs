//! Head-end replication of tenants' multicast and broadcast (ILA draft §3.7.2, VMM draft §4.2): one copy for each
//! locator with members of the group's network, and one for each member attached here except the sender.
//!
//! Packets from the fabric are copied only to members attached here, so a copy is never copied again. Nobody gets an
//! ICMP error about a packet to a group (RFC 1122 §3.2.2, RFC 4443 §2.4(e.3)).

use crate::ila::group::{self};
use crate::ila::{Identifier, IdentifierType};
use crate::net::ipv6::Ipv6;
use crate::net::{Mac, ethernet};
use crate::path::copies::Copies;
use crate::path::ctx::Ctx;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::rewrite::siit;
use crate::path::rewrite::sir;
use crate::path::stage::{fragment, moving};
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, AttachmentKey, DomainId, Local, NetworkId, PortId, Remote};

/// The receiver of a copy: a locator, or a member attached here.
enum Target<'t> {
    Remote(&'t Remote),
    Member(&'t Local),
}

/// Copies every packet of [`Class::Group`] to its receivers. The last receiver gets the packet itself.
#[cold]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    copies: &mut Copies,
    policer: &mut Policer,
    pending: &mut PendingWork,
    ctx: &Ctx<'_>,
) {
    for (of, (packet, meta)) in burst.iter_mut().zip(metas.iter_mut()).enumerate() {
        let Class::Group(domain) = meta.class else { continue };
        if packet.verdict.is_undecided() {
            packet.verdict = replicate(packet, meta, (of, domain), (copies, policer), ctx);
            pending.drops |= matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

/// Copies one packet to its receivers, and returns the verdict on the packet itself.
fn replicate(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    (of, domain): (usize, DomainId),
    (copies, policer): (&mut Copies, &mut Policer),
    ctx: &Ctx<'_>,
) -> Verdict {
    let Some((id, network)) = meta.to.and_then(|id| Some((id, ctx.tables.networks.get(id)?))) else {
        return Verdict::Drop(DropReason::NoMembers);
    };
    // Each node lowers the hop limit by one, this node included. So no copy could be forwarded.
    if meta.from.is_some() && Ipv6::of(packet.l3()).is_none_or(|header| header.hop_limit() <= 1) {
        return Verdict::Drop(DropReason::GroupHopLimit);
    }
    let identifier = meta.identifier;
    let group = if network.is_broadcast_identifier(identifier) { network.broadcast() } else { identifier };
    let remotes = match meta.from {
        Some(_) => match ctx.tables.replicas(network, group) {
            Ok(remotes) => remotes,
            Err(_) => return Verdict::Drop(DropReason::Blackhole),
        },
        None if !is_of(packet, id, ctx) => return Verdict::Drop(DropReason::NoPolicy),
        None => &[],
    };
    let flow = flow::hash(packet.l3(), ctx.tables.flow_seed);
    let sender = attachment_at(packet.port, packet.frame(), ethernet::source);
    let remotes = remotes
        .iter()
        .filter_map(|id| ctx.tables.resolve(*id, || flow).and_then(Action::remote))
        .map(Target::Remote);
    let members = ctx.tables.networks.members(id, group).iter();
    let members = members
        .filter(|member| attachment_at(member.hop.port, member.hop.link(), ethernet::destination) != sender)
        .map(Target::Member);
    let mut targets = remotes.chain(members);
    let count = targets.clone().count();
    let Some(mut target) = targets.next() else { return Verdict::Drop(DropReason::NoMembers) };
    // The sender's node charged the copies to the sender's token bucket. That is no reason to make any number of them
    // here: only the network that the packet claims to be of pays for it.
    let charged = match meta.policed {
        Some(who) => policer.pass_copies(who, count, ctx),
        None => policer.pass_received_copies(id, count, ctx),
    };
    if let Err(over) = charged {
        return Verdict::Drop(over);
    }
    for next in targets {
        let to = |copy: &mut Packet<'_>, meta: &mut PacketMeta| send(copy, meta, &target, domain, ctx);
        let mut own = *meta;
        let mut made = copies.copy(packet, of, |copy| to(copy, &mut own));
        if made == Err(DropReason::PacketTooBig) {
            made = fragment::copies(packet, &own, of, copies, to);
        }
        copies.note(made);
        target = next;
    }
    let to = |copy: &mut Packet<'_>, meta: &mut PacketMeta| send(copy, meta, &target, domain, ctx);
    match to(packet, meta) {
        Verdict::Drop(DropReason::PacketTooBig) => fragment::cut(packet, meta, of, copies, to),
        Verdict::Hold(_) => Verdict::Drop(DropReason::HoldFull),
        // A packet that waits is decided again, and would be copied again.
        Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
            Verdict::Drop(DropReason::NeighbourUnresolved)
        }
        verdict => verdict,
    }
}

/// The attachment that a link header names, by its source or its destination.
fn attachment_at(port: PortId, frame: &[u8], mac: fn(&[u8]) -> Option<Mac>) -> Option<AttachmentKey> {
    let vlan = ethernet::parse(frame).map_or(0, |link| link.vlan);
    Some(AttachmentKey { port, vlan, mac: mac(frame)? })
}

/// Whether the sender is a tenant of the network. Groups never leave their network, whatever policies say.
fn is_of(packet: &Packet<'_>, network: NetworkId, ctx: &Ctx<'_>) -> bool {
    Ipv6::of(packet.l3()).is_some_and(|header| ctx.tables.network_of(header.source()) == Some(network))
}

/// Sends the packet to one receiver.
fn send(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    target: &Target<'_>,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    match target {
        Target::Remote(remote) => sir::to_locator(packet, meta, remote, ctx),
        Target::Member(member) => deliver(packet, meta, member, domain, ctx),
    }
}

/// The delivery to a member of the group with this identifier: its link header has the group's MAC address.
pub(super) fn to_group(member: &Local, identifier: Identifier) -> Local {
    let mut member = *member;
    let ipv4 = identifier.kind() == IdentifierType::TenantIpv4;
    let mac = match identifier.0 as u32 {
        address if ipv4 && address >> 28 == 0xe => Mac::of_ipv4_multicast(address),
        _ if ipv4 => Mac::BROADCAST,
        _ => Mac::of_ipv6_multicast(group::ipv6_address(identifier)),
    };
    if let Some(to) = member.hop.link.first_chunk_mut() {
        *to = mac.0;
    }
    member
}

/// Delivers to a member attached here, with the group's MAC address as destination. A member that has left gets the
/// frame at its own, through the tunnel to its new node, which writes the group's.
fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    member: &Local,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    let identifier = meta.identifier;
    if !ctx.tables.moves.absent.is_empty()
        && let Some(at) = attachment_at(member.hop.port, member.hop.link(), ethernet::destination)
        && let Some(absent) = ctx.tables.moves.absent(&at).filter(|absent| !absent.arrived)
    {
        return match &absent.copies {
            Some((inner, tunnel)) => {
                let restores = meta.from.is_none();
                moving::through(packet, meta, (domain, restores), (inner, tunnel), ctx)
            }
            None => Verdict::Drop(DropReason::Departed),
        };
    }
    let member = to_group(member, identifier);
    if identifier.kind() == IdentifierType::TenantIpv4 {
        return siit::deliver(packet, meta, &member, domain, ctx);
    }
    // A packet of a tenant attached here still has the group's own address.
    let domain = ctx.tables.domain(domain).filter(|_| meta.from.is_none());
    sir::deliver(packet, meta, &member, domain, ctx)
}
