//! Answers echo requests to this node and to the gateways of virtual networks (RFC 792, RFC 4443 §4.2).

use crate::net::checksum;
use crate::net::icmp4;
use crate::net::icmp6::kind;
use crate::net::ipv4::{self, Ipv4};
use crate::net::ipv6::{self, Ipv6, Upper, next};
use crate::path::admit::source::Sender;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::rewrite::atomic;
use crate::path::verdict::{DropReason, Verdict};

/// Protocol number of ICMP.
const ICMP: u8 = 1;

/// Hop limit of packets that this node makes (RFC 1700's recommended default).
pub(in crate::path) const HOP_LIMIT: u8 = 64;

/// Turns an echo request into its reply (RFC 4443 §4.2) and leaves it to be routed. The reply has none of the request's
/// extension headers. One that not every link carries may be fragmented on its way out. The caller has checked that no segments are left in a routing header.
pub(in crate::path) fn reply(packet: &mut Packet<'_>, meta: &mut PacketMeta, upper: &Upper) -> Verdict {
    let Some(header) = Ipv6::of(packet.l3()) else { return Verdict::Drop(DropReason::Ipv6Truncated) };
    let (source, destination) = (header.source(), header.destination());
    let message = packet.l3().get(upper.offset..).unwrap_or(&[]);
    if checksum::transport(source, destination, next::ICMP6, message) != 0 {
        return Verdict::Drop(DropReason::Checksum);
    }
    if upper.offset > ipv6::HEADER {
        atomic::strip_to(packet, upper.offset, next::ICMP6);
    }
    let l3 = packet.l3_mut();
    if let Some(mut header) = Ipv6::of_mut(l3) {
        header.set_source(destination);
        header.set_destination(source);
        header.set_hop_limit(HOP_LIMIT);
    }
    if let Some([message_kind, _, high, low]) =
        l3.get_mut(ipv6::HEADER..).and_then(|rest| rest.first_chunk_mut::<4>())
    {
        *message_kind = kind::ECHO_REPLY;
        let sum = u16::from_be_bytes([*high, *low]);
        let before = u16::from(kind::ECHO_REQUEST) << 8;
        [*high, *low] = checksum::update(sum, before, u16::from(kind::ECHO_REPLY) << 8).to_be_bytes();
    }
    let name = packet.l3().get(ipv6::HEADER..).and_then(|message| message.first_chunk::<8>()).copied();
    let verdict = answer_to(packet, meta, source);
    if verdict == Verdict::Continue
        && packet.l3().len() > usize::from(ipv6::MIN_MTU)
        && let Some([_, _, a, b, _, _, c, d]) = name
    {
        // Checksum and sequence number differ from one reply to the next.
        meta.splits = atomic::wrap(packet, u32::from_be_bytes([a, b, c, d]));
    }
    verdict
}

/// Marks the packet as made by this node and addressed to `destination`. From or to a link-local address it is sent
/// back through the port that received it (RFC 4291 §2.5.6). Any other packet is left undecided, to be routed.
pub(in crate::path) fn answer_to(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    destination: u128,
) -> Verdict {
    *meta = PacketMeta {
        destination,
        unusual: true,
        ours: true,
        answered: meta.answered,
        charged: meta.accounted_network(),
        bytes: meta.bytes,
        ..PacketMeta::default()
    };
    let from = Ipv6::of(packet.l3()).map_or(0, |header| header.source());
    if !ipv6::is_link_local(destination) && !ipv6::is_link_local(from) {
        return Verdict::Continue;
    }
    if let Some(addresses) = packet.frame_mut().first_chunk_mut::<12>() {
        addresses.rotate_left(6);
    }
    Verdict::Reply(packet.port)
}

/// Turns an echo request to a network's IPv4 gateway into its reply (RFC 792). The gateway serves nothing else.
pub(in crate::path) fn reply_ipv4(packet: &mut Packet<'_>, from: &Sender<'_>) -> Verdict {
    let l3 = packet.l3_mut();
    let Some(offset) = ipv4::header(l3).map(<[u8]>::len) else {
        return Verdict::Drop(DropReason::Ipv4Invalid);
    };
    let Some(header) = Ipv4::of(l3) else { return Verdict::Drop(DropReason::Ipv4Invalid) };
    let (source, destination) = (header.source(), header.destination());
    let fragment = header.more_fragments() || header.fragment_offset() != 0;
    let message = l3.get(offset..).unwrap_or(&[]);
    if header.protocol() != ICMP || message.first() != Some(&icmp4::kind::ECHO_REQUEST) {
        return Verdict::Drop(DropReason::NotServed);
    }
    if fragment {
        return Verdict::Drop(DropReason::FragmentForUs);
    }
    if checksum::sum_of_bytes(message) != 0xffff {
        return Verdict::Drop(DropReason::Checksum);
    }
    if let Some([kind, _, high, low]) = l3.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *kind = icmp4::kind::ECHO_REPLY;
        let before = u16::from(icmp4::kind::ECHO_REQUEST) << 8;
        let sum = checksum::update(u16::from_be_bytes([*high, *low]), before, 0);
        [*high, *low] = sum.to_be_bytes();
    }
    if let Some(addresses) = l3.get_mut(12..20) {
        addresses[..4].copy_from_slice(&destination.to_be_bytes());
        addresses[4..].copy_from_slice(&source.to_be_bytes());
    }
    if let Some(mut header) = Ipv4::of_mut(l3) {
        header.set_ttl(HOP_LIMIT);
    }
    if let Some(header) = l3.get_mut(..offset) {
        ipv4::seal(header);
    }
    if let Some(link) = packet.frame_mut().first_chunk_mut::<12>() {
        link[..6].copy_from_slice(&from.mac.0);
        link[6..].copy_from_slice(&from.network.mac.0);
    }
    Verdict::Reply(packet.port)
}
