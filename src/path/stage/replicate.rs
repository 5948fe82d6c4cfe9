//! Multicast and broadcast of tenants: a copy for every locator with members of the group's network, and for every
//! member here but the sender (head-end replication, ILA draft §3.7.2, VMM draft §4.2).
//!
//! What comes from the fabric is for members here alone, so that no copy is ever copied back. Nobody is told by ICMP what
//! became of a packet to a group (RFC 1122 §3.2.2, RFC 4443 §2.4 (e.3)).

use crate::ila::IdentifierType;
use crate::ila::group::{self};
use crate::net::ipv6::Ipv6;
use crate::net::{Mac, ethernet};
use crate::path::Ctx;
use crate::path::copies::Copies;
use crate::path::flow;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::rewrite::siit;
use crate::path::rewrite::sir;
use crate::path::stage::fragment;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Action, DomainId, Local, NetworkId, PortId, Remote};

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
        if packet.verdict == Verdict::Continue {
            packet.verdict = replicate(packet, meta, (of, domain), (copies, policer), ctx);
            pending.drops |= matches!(packet.verdict, Verdict::Drop(_));
        }
    }
}

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
    // Every host takes one, this one as well, so that no copy would leave.
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
    let flow = flow::hash(packet.l3());
    let sender = place(packet.port, packet.frame(), ethernet::source);
    let remotes = remotes
        .iter()
        .filter_map(|id| ctx.tables.resolve(*id, || flow).and_then(Action::remote))
        .map(Target::Remote);
    let members = ctx.tables.networks.members(id, group).iter();
    let members = members
        .filter(|member| place(member.hop.port, member.hop.link(), ethernet::destination) != sender)
        .map(Target::Member);
    let mut targets = remotes.chain(members);
    let count = targets.clone().count();
    let Some(mut target) = targets.next() else { return Verdict::Drop(DropReason::NoMembers) };
    // What comes from the fabric was counted at its sender's host.
    if let Some(Err(over)) = meta.policed.map(|who| policer.pass_copies(who, count, ctx)) {
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
        // To come back would be to be copied again.
        Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
            Verdict::Drop(DropReason::NeighbourUnresolved)
        }
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

/// Delivers to a member here, in a frame to the group.
fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    member: &Local,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    let mut member = *member;
    let identifier = meta.identifier;
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
        return siit::deliver(packet, meta, &member, domain, ctx);
    }
    // What a tenant here sent still has the group's own address.
    let domain = ctx.tables.domain(domain).filter(|_| meta.from.is_none());
    sir::deliver(packet, meta, &member, domain, ctx)
}
