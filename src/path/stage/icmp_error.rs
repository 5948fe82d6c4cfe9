//! Sends ICMPv6 errors to the senders of dropped packets (RFC 4443 §2.2, RFC 4443 §2.4, RFC 4443 §3), and has
//! `icmp4_error` send ICMP errors to those that sent IPv4.
//!
//! It also charges tenants' packets to unknown destinations to their token bucket.

use crate::ila::{Identifier, IdentifierType};
use crate::net::icmp6::{self, Error};
use crate::net::ipv6::{self, Ipv6, next};
use crate::net::{checksum, extension, icmp4};
use crate::path::ctx::Ctx;
use crate::path::limiter::ErrorLimits;
use crate::path::meta::{BurstMeta, Class, PacketMeta};
use crate::path::original::Originals;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::policy::is_answerable;
use crate::path::proxy::echo::{HOP_LIMIT, answer_to};
use crate::path::router::Router;
use crate::path::stage::icmp4_error;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::Answer;
use crate::table::{LimitKind, Tables};

/// An error that is due to the sender of a packet.
enum Due {
    V4(icmp4::Error),
    V6(Error),
}

/// Replaces dropped packets by ICMP errors where their senders are due one. A packet that is undecided afterwards is
/// an error to be routed.
///
/// Errors to tenants are limited by the tenants' own token buckets only, so no tenant uses up the messages of others. All
/// other errors are limited by port and kind, so that no port and no scan uses up those of path MTU discovery.
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    originals: &Originals,
    limits: &mut ErrorLimits,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    for ((packet, meta), original) in burst.iter_mut().zip(metas.iter_mut()).zip(originals) {
        if let Some(who) = meta.policed.filter(|_| seeks(packet.verdict))
            && let Err(over) = policer.pass(who, LimitKind::Unknown, ctx)
        {
            packet.verdict = Verdict::Drop(over);
        }
        let Verdict::Drop(reason) = packet.verdict else { continue };
        if meta.ours || matches!(meta.class, Class::Group(_)) {
            continue;
        }
        let error = match meta.came_as_ipv4 {
            true => icmp4_error::due(packet, meta, original, reason, ctx).map(Due::V4),
            false => due(packet, meta, reason, ctx.tables).map(Due::V6),
        };
        let Some(error) = error else { continue };
        let allowed = match meta.policed {
            Some(who) => limits.are_open() && policer.pass(who, LimitKind::IcmpErrors, ctx).is_ok(),
            None => limits.allow(packet.port, reason, ctx.now_ms),
        };
        if !allowed {
            continue;
        }
        let answered = match error {
            Due::V4(error) => icmp4_error::answer(packet, meta, original, (reason, error), ctx),
            Due::V6(error) => answer(packet, meta, reason, error, ctx),
        };
        if let Some(verdict) = answered {
            packet.verdict = verdict;
        }
    }
}

/// The ICMPv6 error for the sender of a dropped packet, if one is due.
fn due(packet: &Packet<'_>, meta: &PacketMeta, reason: DropReason, tables: &Tables) -> Option<Error> {
    let error = match reason {
        DropReason::PacketTooBig => Error::PacketTooBig(meta.mtu),
        DropReason::Untranslatable => match meta.refused?.answer()? {
            Answer::V6 { kind: icmp6::kind::PARAMETER_PROBLEM, code, pointer } => {
                Error::ParameterProblem { code, pointer }
            }
            Answer::V6 { .. } => Error::Prohibited,
            Answer::V4 { .. } => return None,
        },
        DropReason::ExtensionHeaders => meta.problem?,
        DropReason::Departed if !tables.moves.tells => return None,
        DropReason::NotServed => {
            meta.problem.or_else(|| serves_ports(packet).then_some(Error::PortUnreachable))?
        }
        _ => reason.icmp()?,
    };
    may_answer(packet, meta, tables).then_some(error)
}

/// Whether no node is known that has the packet's destination.
const fn seeks(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::AwaitNeighbour(_)
            | Verdict::Drop(DropReason::NoMapping | DropReason::NoRoute | DropReason::Ipv4NoRoute)
    )
}

/// Takes back the errors that cannot be sent: the reported packet is dropped for its own reason.
pub(in crate::path) fn give_up(burst: &mut [Packet<'_>], metas: &mut BurstMeta) {
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if let (Verdict::Drop(_), Some(reason)) = (packet.verdict, meta.answered) {
            packet.verdict = Verdict::Drop(reason);
            meta.answered = None;
        }
    }
}

/// Whether the upper layer of a packet has ports.
fn serves_ports(packet: &Packet<'_>) -> bool {
    ipv6::upper(packet.l3()).is_ok_and(|upper| matches!(upper.protocol, next::TCP | next::UDP))
}

/// Whether RFC 4443 §2.4(e) allows an error about the packet, and its sender may get one. Packets with group or
/// unspecified addresses and packets in group frames never get this far: their drop reasons have no error. The exception
/// are options that demand one.
fn may_answer(packet: &Packet<'_>, meta: &PacketMeta, tables: &Tables) -> bool {
    // Admission refused it before its headers were noted: what `l3` begins with then is the frame, not the packet.
    if packet.l3 == 0 {
        return false;
    }
    let l3 = packet.l3();
    // A packet that was dropped before its translation to IPv6 has no IPv6 addresses.
    let Some(header) = Ipv6::of(l3).filter(|header| header.version() == 6) else { return false };
    // RFC 4443 §2.4 (e.6)
    if header.source() == 0 || meta.from.is_none() && !is_answerable(header.source(), tables) {
        return false;
    }
    // A packet whose upper layer cannot be read may be an ICMPv6 error.
    let Ok(upper) = ipv6::upper(l3) else { return false };
    // An ICMPv6 error may lie behind headers that the walk does not pass, or that an earlier fragment began.
    let hides = if upper.later_fragment { extension::is_known } else { is_last };
    if hides(upper.protocol) {
        return false;
    }
    // RFC 1122 §3.2.2: to an IPv4 sender, only errors about first fragments are sent.
    if upper.later_fragment && is_ipv4_sender(header.source(), tables) {
        return false;
    }
    if upper.protocol != next::ICMP6 {
        return true;
    }
    match l3.get(upper.offset) {
        // The type is in the first fragment, so this may be an ICMPv6 error.
        _ if upper.later_fragment => false,
        Some(message) => !icmp6::is_error(*message) && *message != icmp6::kind::REDIRECT,
        None => false,
    }
}

/// Whether `kind` is an extension header that ends the walk.
const fn is_last(kind: u8) -> bool {
    extension::is_known(kind) && !extension::is_walked(kind)
}

/// Whether an address is the SIR address of a tenant's IPv4 address.
fn is_ipv4_sender(address: u128, tables: &Tables) -> bool {
    Identifier::of_address(address).kind() == IdentifierType::TenantIpv4
        && tables.prefixes.of((address >> 64) as u64).is_some_and(|prefix_info| prefix_info.sir.is_some())
}

/// Replaces the packet by the error, which quotes as much of it as fits the minimum MTU (RFC 4443 §3). Returns the
/// verdict. Returns `None`, and changes nothing, if the headroom is too small.
fn answer(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    reason: DropReason,
    error: Error,
    ctx: &Ctx<'_>,
) -> Option<Verdict> {
    let port = ctx.tables.ports.get(usize::from(packet.port.0))?;
    let (source, destination) =
        Ipv6::of(packet.l3()).map(|header| (header.source(), header.destination()))?;
    let router = Router::of(port, meta.from, ctx.tables);
    let mut link = *packet.frame().first_chunk::<12>()?;
    // What went to a group is answered by the router, too.
    link.first_chunk_mut::<6>()?.copy_from_slice(&router.mac().0);
    // RFC 4443 §2.2 (a): a packet to one of our unicast addresses is answered from that address.
    let from = match meta.class {
        Class::Local if !ipv6::is_multicast(destination) => destination,
        _ if ipv6::is_link_local(source) => router.link_local(),
        _ => router.error_source(),
    };
    const GROWTH: u16 = (ipv6::HEADER + icmp6::ERROR_HEADER) as u16;
    let quoted = packet.l3().len().min(usize::from(ipv6::MIN_MTU - GROWTH));
    if !packet.prepend(GROWTH) {
        return None;
    }
    let l3 = usize::from(packet.l3);
    // The link header moves to the new front. It is rewritten when the error is sent.
    packet.frame_mut().copy_within(usize::from(GROWTH)..usize::from(GROWTH) + l3, 0);
    packet.frame_mut().get_mut(..12)?.copy_from_slice(&link);
    let _ = packet.resize(l3 + usize::from(GROWTH) + quoted);
    let (kind, code, parameter) = error.fields();
    let bytes = packet.l3_mut();
    Ipv6::of_mut(bytes)?.write((icmp6::ERROR_HEADER + quoted) as u16, next::ICMP6, HOP_LIMIT, from, source);
    let message = bytes.get_mut(ipv6::HEADER..)?;
    message.get_mut(..4)?.copy_from_slice(&[kind, code, 0, 0]);
    message.get_mut(4..8)?.copy_from_slice(&parameter.to_be_bytes());
    let sum = checksum::transport(from, source, next::ICMP6, message);
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    meta.answered = Some(reason);
    let to_tenant = meta.policed.is_some();
    match answer_to(packet, meta, source) {
        // An error to an IPv4 tenant is translated on its way, even if its source is link-local.
        Verdict::Reply(_) if to_tenant && is_ipv4_sender(source, ctx.tables) => Some(Verdict::Continue),
        verdict => Some(verdict),
    }
}
