//! ICMP errors to IPv4 tenants about their lost packets (RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2). They come from the
//! gateway of the tenant's subnet and quote the packet as the tenant sent it.
//!
//! Stage `icmp_error` decides when, and limits how many.

use crate::net::checksum;
use crate::net::icmp4::{self, Error, unreachable};
use crate::net::icmp6;
use crate::net::ipv4::{self, Ipv4, protocol};
use crate::net::ipv6::next;
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::original::{Original, headers};
use crate::path::packet::Packet;
use crate::path::proxy::echo::HOP_LIMIT;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::Answer;

/// Bytes of the error before the packet that it quotes.
const GROWTH: u16 = (ipv4::HEADER + icmp4::HEADER) as u16;
/// Precedence of network control, and the bits of the type of service that are taken from the quoted packet
/// (RFC 1812 §4.3.2.5).
const PRECEDENCE: u8 = 0xc0;
const SERVICE: u8 = 0x1c;

/// The error for the sender of a dropped packet, if one is due: none about an ICMP error, and none about a fragment
/// other than the first (RFC 1122 §3.2.2). Packets to groups never get this far.
pub(in crate::path) fn due(
    packet: &Packet<'_>,
    meta: &PacketMeta,
    original: &Original,
    reason: DropReason,
    ctx: &Ctx<'_>,
) -> Option<Error> {
    let header = original.header().filter(|header| header.fragment_offset() == 0)?;
    if original.is_icmp_error() {
        return None;
    }
    match reason {
        // RFC 1122 §3.2.2.1
        DropReason::NotServed => match header.protocol() {
            protocol::ICMP => None,
            next::TCP | next::UDP => Some(Error::unreachable(unreachable::PORT)),
            _ => Some(Error::unreachable(unreachable::PROTOCOL)),
        },
        DropReason::PacketTooBig => Some(Error::fragmentation_needed(mtu(packet, meta))),
        DropReason::Untranslatable => match meta.refused?.answer()? {
            Answer::V4 { kind, code, pointer } => Some(Error { kind, code, word: u32::from(pointer) << 24 }),
            Answer::V6 { .. } => None,
        },
        DropReason::Departed if !ctx.tables.moves.tells => None,
        // RFC 1812 §5.2.7.1, RFC 1812 §5.3.1
        _ => match reason.icmp()? {
            icmp6::Error::NoRoute => Some(Error::unreachable(unreachable::NET)),
            icmp6::Error::Prohibited => Some(Error::unreachable(unreachable::PROHIBITED)),
            icmp6::Error::AddressUnreachable => Some(Error::unreachable(unreachable::HOST)),
            icmp6::Error::PortUnreachable => Some(Error::unreachable(unreachable::PORT)),
            icmp6::Error::HopLimitExceeded => Some(Error::TTL_EXCEEDED),
            icmp6::Error::PacketTooBig(_) | icmp6::Error::ParameterProblem { .. } => None,
        },
    }
}

/// The MTU for the sender in bytes: that of the packet as it is now, less what translation added to its headers.
fn mtu(packet: &Packet<'_>, meta: &PacketMeta) -> u16 {
    let growth = match packet.l3().get(..7) {
        Some([first, .., next_header]) if first >> 4 == 6 => headers(*next_header) - ipv4::HEADER,
        _ => 0,
    };
    meta.mtu.saturating_sub(growth as u16).max(ipv4::MIN_MTU)
}

/// Replaces the packet by the error, which quotes as much of it as fits 576 bytes (RFC 1812 §4.3.2.3), and sends it back
/// through the port that received the packet. Returns `None`, and sends nothing, if the sender has no gateway or the
/// headroom is too small.
pub(in crate::path) fn answer(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    original: &Original,
    (reason, error): (DropReason, Error),
    ctx: &Ctx<'_>,
) -> Option<Verdict> {
    let header = original.header()?;
    let (to, tos) = (header.source(), header.tos());
    let network = ctx.tables.networks.get(meta.from?)?;
    let gateway = network.ipv4_gateway(to)?;
    if !original.restore(packet) {
        return None;
    }
    let quoted = packet.l3().len().min(ipv4::MIN_REASSEMBLY - usize::from(GROWTH));
    if !packet.prepend(GROWTH) {
        return None;
    }
    let l3 = usize::from(packet.l3);
    packet.frame_mut().copy_within(usize::from(GROWTH)..usize::from(GROWTH) + l3, 0);
    let [receiver, sender] = packet.frame_mut().first_chunk_mut::<12>()?.as_chunks_mut().0 else {
        return None;
    };
    (*receiver, *sender) = (*sender, network.mac.0);
    let _ = packet.resize(l3 + usize::from(GROWTH) + quoted);
    let (header, message) = packet.l3_mut().split_first_chunk_mut::<{ ipv4::HEADER }>()?;
    let total = usize::from(GROWTH) + quoted;
    let mut view = Ipv4::of_mut(header)?;
    view.write(total as u16, protocol::ICMP, HOP_LIMIT, gateway, to);
    view.set_tos(PRECEDENCE | tos & SERVICE);
    // RFC 6864 §4.1: a datagram with DF needs no identification.
    view.set_fragment(true, false, 0);
    ipv4::seal(header);
    message.get_mut(..4)?.copy_from_slice(&[error.kind, error.code, 0, 0]);
    message.get_mut(4..icmp4::HEADER)?.copy_from_slice(&error.word.to_be_bytes());
    let sum = !checksum::sum_of_bytes(message);
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    *meta = PacketMeta {
        unusual: true,
        ours: true,
        answered: Some(reason),
        charged: meta.accounted_network(),
        bytes: meta.bytes,
        ..PacketMeta::default()
    };
    Some(Verdict::Reply(packet.port))
}
