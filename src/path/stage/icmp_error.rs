//! Seventh stage: tells the sender of a dropped packet why, by ICMPv6 (RFC 4443 §2.2, §2.4, §3).

use crate::ila::{Identifier, IdentifierType};
use crate::net::checksum;
use crate::net::icmp6::{self, Error};
use crate::net::ipv6::{self, Ipv6, next};
use crate::path::Ctx;
use crate::path::meta::{BurstMeta, Class, PacketMeta};
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::proxy::echo::{HOP_LIMIT, answer_to};
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{LimitKind, Tables};

/// The limiter of RFC 4443 §2.4(f): a token bucket of `burst` messages, refilled at `per_second`.
#[derive(Debug, Clone)]
pub struct Limiter {
    per_second: u32,
    burst: u32,
    /// Thousandths of a message.
    tokens: u64,
    last_ms: u64,
}

impl Limiter {
    /// A full bucket. A rate of 0 never answers.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Limiter { per_second, burst, tokens: burst as u64 * 1000, last_ms: 0 }
    }

    /// Whether it ever lets anything through.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.per_second > 0
    }

    /// Takes one message's worth, if there is one.
    pub fn allow(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.last_ms);
        self.last_ms = now_ms;
        let full = u64::from(self.burst) * 1000;
        self.tokens = self.tokens.saturating_add(passed.saturating_mul(u64::from(self.per_second))).min(full);
        let enough = self.tokens >= 1000 && self.per_second > 0;
        if enough {
            self.tokens -= 1000;
        }
        enough
    }
}

/// Turns dropped packets whose sender should know into ICMPv6 errors; those left undecided are to be routed.
///
/// What tenants are told is limited by their own buckets alone, so that none of them uses up what others may be told.
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    limiter: &mut Limiter,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if let Some(who) = meta.policed.filter(|_| seeks(packet.verdict))
            && let Err(over) = policer.pass(who, LimitKind::Unknown, ctx)
        {
            packet.verdict = Verdict::Drop(over);
        }
        let Verdict::Drop(reason) = packet.verdict else { continue };
        let Some(error) = reason.icmp() else { continue };
        if meta.ours || matches!(meta.class, Class::Group(_)) || !may_answer(packet, reason, ctx.tables) {
            continue;
        }
        let allowed = match meta.policed {
            Some(who) => limiter.is_open() && policer.pass(who, LimitKind::IcmpErrors, ctx).is_ok(),
            None => limiter.allow(ctx.now_ms),
        };
        if !allowed {
            continue;
        }
        let error = if reason == DropReason::PacketTooBig { Error::PacketTooBig(meta.mtu) } else { error };
        if let Some(verdict) = answer(packet, meta, reason, error, ctx) {
            packet.verdict = verdict;
        }
    }
}

/// Whether a packet's destination is nobody's that is known.
const fn seeks(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::AwaitNeighbour(_)
            | Verdict::Drop(DropReason::NoMapping | DropReason::NoRoute | DropReason::Ipv4NoRoute)
    )
}

/// An error that cannot be sent is no answer: the packet it reports was lost for its own reason.
pub(in crate::path) fn give_up(burst: &mut [Packet<'_>], metas: &mut BurstMeta) {
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if let (Verdict::Drop(_), Some(reason)) = (packet.verdict, meta.answered) {
            packet.verdict = Verdict::Drop(reason);
            meta.answered = None;
        }
    }
}

/// The rules of RFC 4443 §2.4(e). Group and unspecified addresses and group frames never get this far, as `parse`
/// drops them with reasons that have no error.
fn may_answer(packet: &Packet<'_>, reason: DropReason, tables: &Tables) -> bool {
    let l3 = packet.l3();
    // What was dropped before it became IPv6 has no addresses where they would be read.
    let Some(header) = Ipv6::of(l3).filter(|header| header.version() == 6) else { return false };
    // What cannot be read to its upper layer may be an error message.
    let Ok(upper) = ipv6::upper(l3) else { return false };
    if reason == DropReason::NotServed && !matches!(upper.protocol, next::TCP | next::UDP) {
        return false;
    }
    // An IPv4 sender is told of a datagram by its first fragment alone (RFC 1122 §3.2.2).
    if upper.later_fragment && is_ipv4_sender(header.source(), tables) {
        return false;
    }
    if upper.protocol != next::ICMP6 {
        return true;
    }
    match l3.get(upper.offset) {
        // Cannot be told from an error message, so it counts as one.
        _ if upper.later_fragment => false,
        Some(message) => !icmp6::is_error(*message) && *message != icmp6::kind::REDIRECT,
        None => false,
    }
}

/// Whether an address is the SIR address of a tenant's IPv4 address.
fn is_ipv4_sender(address: u128, tables: &Tables) -> bool {
    Identifier::of_address(address).kind() == IdentifierType::TenantIpv4
        && tables.prefixes.of((address >> 64) as u64).is_some_and(|prefix_info| prefix_info.sir.is_some())
}

/// Writes the error around as much of the packet as fits the minimum MTU. `None`, and nothing changed, without room.
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
    let link = *packet.frame().first_chunk::<12>()?;
    // RFC 4443 §2.2: what was sent to one of our unicast addresses is answered from that address.
    let from = match meta.class {
        Class::Local => destination,
        _ if ipv6::is_link_local(source) => port.link_local,
        _ => port.error_source,
    };
    const GROWTH: u16 = (ipv6::HEADER + icmp6::ERROR_HEADER) as u16;
    let quoted = packet.l3().len().min(usize::from(ipv6::MIN_MTU - GROWTH));
    if !packet.prepend(GROWTH) {
        return None;
    }
    let l3 = usize::from(packet.l3);
    // The link header moves to the new front; it is rewritten when the answer leaves.
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
        // From a link-local address, too, it is to become IPv4 on its way.
        Verdict::Reply(_) if to_tenant && is_ipv4_sender(source, ctx.tables) => Some(Verdict::Continue),
        verdict => Some(verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiter_lets_a_burst_through_and_then_the_rate() {
        let mut limiter = Limiter::new(10, 3);
        assert_eq!((0..10).filter(|_| limiter.allow(1)).count(), 3);
        assert_eq!((0..10).filter(|_| limiter.allow(101)).count(), 1);
        assert_eq!((0..10).filter(|_| limiter.allow(60_000)).count(), 3);
        assert!(!Limiter::new(0, 5).allow(1_000_000));
    }
}
