//! Serves packets to this node itself: Neighbour Discovery, listener reports, echo, tunnels and what is said of their
//! paths. All else is refused as `NotServed`.

use crate::net::icmp6::kind;
use crate::net::ipv6::{self, Ipv6, next};
use crate::path::ctx::Ctx;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::path_mtu::path_mtu;
use crate::path::policer::Policer;
use crate::path::policy::may_echo;
use crate::path::proxy::ndp;
use crate::path::proxy::{echo, membership};
use crate::path::router::Router;
use crate::path::stage::own_headers::{self, Refusal};
use crate::path::stage::tunnel_end;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::Role;

/// Decides every packet of [`Class::Local`]. A packet that is undecided afterwards is an answer to be routed.
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    pending: &mut PendingWork,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if packet.verdict.is_undecided() && meta.class == Class::Local {
            packet.verdict = if meta.ours {
                Verdict::Drop(DropReason::NotServed)
            } else {
                decide(packet, meta, policer, ctx)
            };
            if matches!(packet.verdict, Verdict::Punt) && !policer.may_punt(packet, meta.policed, ctx) {
                packet.verdict = Verdict::Drop(DropReason::PuntRate);
            }
            pending.drops |= matches!(packet.verdict, Verdict::Drop(_));
            if let Some(who) = meta.policed {
                policer.note(who, &packet.verdict);
            }
        }
    }
}

/// Decides one packet by its upper-layer protocol and ICMPv6 type.
fn decide(packet: &mut Packet<'_>, meta: &mut PacketMeta, policer: &mut Policer, ctx: &Ctx<'_>) -> Verdict {
    let is_group = ipv6::is_multicast(meta.destination);
    match own_headers::check(packet.l3(), is_group) {
        Ok(()) => {}
        Err(Refusal::Header(problem)) => {
            // Who is not in a group is not asked by its packets.
            let port = ctx.tables.ports.get(usize::from(packet.port.0));
            let is_asked = !is_group
                || port.is_some_and(|port| {
                    Router::of(port, meta.from, ctx.tables).is_in_group(meta.destination)
                });
            meta.problem = problem.filter(|_| is_asked);
            return Verdict::Drop(DropReason::ExtensionHeaders);
        }
        Err(Refusal::Protocol(_)) if is_group => return Verdict::Drop(DropReason::Multicast),
        Err(Refusal::Protocol(problem)) => {
            meta.problem = problem;
            return Verdict::Drop(DropReason::NotServed);
        }
    }
    let Ok(upper) = ipv6::upper(packet.l3()) else { return Verdict::Drop(DropReason::ExtensionHeaders) };
    if upper.piece {
        return Verdict::Drop(DropReason::FragmentForUs);
    }
    let message = packet.l3().get(upper.offset).copied();
    match (upper.protocol, message) {
        (next::ICMP6, Some(kind::ROUTER_SOLICITATION..=kind::REDIRECT)) => {
            ndp::decide(packet, meta, &upper, policer, ctx)
        }
        (next::ICMP6, Some(kind))
            if membership::is_mld(kind)
                && let Some(who) = meta.policed =>
        {
            membership::decide_mld(packet, who, policer, ctx)
        }
        _ if is_group => Verdict::Drop(DropReason::Multicast),
        (next::ICMP6, Some(kind::PACKET_TOO_BIG)) if is_of_tunnel(packet, ctx) => Verdict::Punt,
        (next::UDP, _) if tunnel_end::is_vxlan(packet, &upper) => {
            tunnel_end::decide(packet, meta, &upper, ctx)
        }
        // Only Neighbour Discovery and listener reports use the unspecified source, and it cannot be answered.
        _ if Ipv6::of(packet.l3()).is_none_or(|header| header.source() == 0) => {
            Verdict::Drop(DropReason::MartianSource)
        }
        (next::ICMP6, Some(kind::ECHO_REQUEST)) if !is_answered(packet, meta, ctx) => {
            Verdict::Drop(DropReason::SpoofedSource)
        }
        (next::ICMP6, Some(kind::ECHO_REQUEST)) => match meta.policed.map_or(Ok(()), |who| policer.heed(who))
        {
            Ok(()) => echo::reply(packet, meta, &upper),
            Err(reason) => Verdict::Drop(reason),
        },
        _ => Verdict::Drop(DropReason::NotServed),
    }
}

/// Whether a message from the fabric says what the path of a tunnel takes.
fn is_of_tunnel(packet: &Packet<'_>, ctx: &Ctx<'_>) -> bool {
    let port = ctx.tables.ports.get(usize::from(packet.port.0));
    port.is_some_and(|port| port.role == Role::Fabric) && path_mtu(packet.l3(), &ctx.tables.moves).is_some()
}

/// Whether the sender of an echo request may get a reply.
fn is_answered(packet: &Packet<'_>, meta: &PacketMeta, ctx: &Ctx<'_>) -> bool {
    meta.from.is_some()
        || Ipv6::of(packet.l3())
            .is_some_and(|header| may_echo(header.source(), header.destination(), ctx.tables))
}
