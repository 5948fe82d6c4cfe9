//! Rewrites between IPv4 and IPv6 (RFC 7915), joined with ILA (ILA draft §4.3.2, ILA draft §5.12.2). A tenant's IPv4
//! packet becomes an IPv6 packet between SIR addresses of type 2, and is IPv4 again at the receiver's node.
//!
//! Addresses and MTUs are chosen here; `siit` translates the headers.

use super::{hop, next_hop_mtu, quote};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, SirPrefix};
use crate::net::checksum;
use crate::net::ipv4::{self, Ipv4};
use crate::net::{ethernet, icmp4, icmp6, ipv6};
use crate::path::admit::source::Sender;
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::{self, Options, Refused, To4, To6};
use crate::table::network::NetworkHot;
use crate::table::{DomainId, Hop, Local, Network};

/// Options for `siit`: type of service is copied. `mtu4` and `mtu6` are the MTUs of the next hops on both sides, which
/// bound the MTU that an ICMP error reports. Lengths of packets are not checked here: [`hop`] does that.
fn options(mtu4: u16, mtu6: u16, ctx: &Ctx<'_>) -> Options {
    let computes_udp_checksum = ctx.tables.translation.computes_udp_checksum;
    Options { mtu4, mtu6, computes_udp_checksum, ..Options::default() }
}

/// The IPv6 address that an IPv4 address stands for in the network: a peer's own (ILA draft §5.11, ILA draft §5.13), or
/// a tenant's SIR address.
fn ipv6_of(address: u32, network: &Network, sir: SirPrefix) -> Option<u128> {
    let tenant = || network.subnet_of(address).map(|_| sir.with(network.ipv4_identifier(address)));
    network.peers.ipv6(address).or_else(tenant)
}

/// The IPv4 address that an IPv6 address has in the network.
fn ipv4_of(address: u128, network: &Network, sir: SirPrefix) -> Option<u32> {
    tenant_ipv4(address, network, sir).or_else(|| network.peers.ipv4(address))
}

/// The IPv4 address of a SIR address of this network.
fn tenant_ipv4(address: u128, network: &Network, sir: SirPrefix) -> Option<u32> {
    let identifier = Identifier::of_address(address);
    let ours = (address >> 64) as u64 == sir.0
        && identifier.kind() == IdentifierType::TenantIpv4
        && identifier.vnid() == Some(network.vnid)
        && !identifier.neutral();
    ours.then_some(identifier.0 as u32)
}

/// The SIR prefix of a domain.
fn sir_of(domain: DomainId, ctx: &Ctx<'_>) -> Option<SirPrefix> {
    Some(ctx.tables.domain(domain)?.sir)
}

/// Headroom in bytes that a frame may grow into: the length of an IPv6 header beyond that of an IPv4 header.
pub const FRONT: usize = ipv6::HEADER - ipv4::HEADER;
/// Length of the Ethernet header with an IPv4 header, and with an IPv6 header, in bytes.
const HEADERS4: usize = ethernet::HEADER + ipv4::HEADER;
const HEADERS6: usize = ethernet::HEADER + ipv6::HEADER;

/// The SIR address of a tenant's IPv4 address.
#[inline(always)]
pub(in crate::path) fn sir_address(network: &NetworkHot, address: u32) -> [u8; 16] {
    let mut sir = [0; 16];
    sir[..8].copy_from_slice(&network.sir);
    sir[8..].copy_from_slice(&Identifier::tenant_ipv4(network.vnid, address).0.to_be_bytes());
    sir
}

/// Translates an untagged IPv4 packet of a tenant to IPv6 and writes the link header, as [`to_ipv6`] and [`hop::out`]
/// do. The caller has checked that it is TCP or UDP, whole and without options, with DF or short enough, with a UDP
/// checksum and a TTL above 1. `room` is [`FRONT`] bytes and then the frame. The IPv6 frame fills all of it.
///
/// `None`, and nothing changed, if the packet is shorter than its headers.
#[inline(always)]
pub(in crate::path) fn plain_to_ipv6(
    room: &mut [u8],
    network: &NetworkHot,
    destination: [u8; 16],
    hop: &Hop,
) -> Option<()> {
    let (head, payload) = room.split_first_chunk_mut::<{ FRONT + HEADERS4 }>()?;
    let header: [u8; ipv4::HEADER] = *head.last_chunk()?;
    let [_, tos, .., ttl, protocol, _, _, a, b, c, d, _, _, _, _] = header;
    let length = payload.len() as u16;
    let field = checksum_field(payload, protocol)?;
    let sum = !checksum::add(!u16::from_be_bytes(*field), network.checksum_delta_ipv4);
    *field = siit::written(protocol, sum).to_be_bytes();
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[14..18].copy_from_slice(&(6 << 28 | u32::from(tos) << 20).to_be_bytes());
    head[18..20].copy_from_slice(&length.to_be_bytes());
    head[20..22].copy_from_slice(&[protocol, ttl - 1]);
    head[22..38].copy_from_slice(&sir_address(network, u32::from_be_bytes([a, b, c, d])));
    head[38..54].copy_from_slice(&destination);
    Some(())
}

/// Translates an untagged IPv6 packet between tenants of one network to IPv4 and writes the link header, as [`deliver`]
/// does. The caller has checked that it is TCP or UDP, whole and without extension headers, with a hop limit above 1.
/// The IPv4 frame starts [`FRONT`] bytes into `frame` and ends where `frame` ends.
///
/// `None`, and nothing changed, if the packet is shorter than its headers or is UDP without a checksum.
#[inline(always)]
pub(in crate::path) fn plain_to_ipv4(
    frame: &mut [u8],
    network: &NetworkHot,
    destination: u32,
    hop: &Hop,
) -> Option<()> {
    let identification = name_of(frame.get(ethernet::HEADER..)?);
    let (head, payload) = frame.split_first_chunk_mut::<HEADERS6>()?;
    let (class, protocol) = ((head[14] << 4) | (head[15] >> 4), head[20]);
    let source = u32::from_be_bytes([head[34], head[35], head[36], head[37]]);
    let length = (ipv4::HEADER + payload.len()) as u16;
    let hop_limit = head[21];
    let field = checksum_field(payload, protocol)?;
    if protocol == ipv6::next::UDP && *field == [0, 0] {
        return None;
    }
    // Subtracting means adding the complement. Of the two zeros, only 0xffff changes nothing when it is added.
    let delta = network.checksum_delta_ipv4;
    let minus_delta = if delta == 0xffff { 0xffff } else { !delta };
    let sum = !checksum::add(!u16::from_be_bytes(*field), minus_delta);
    *field = siit::written(protocol, sum).to_be_bytes();
    let fragment = if usize::from(length) > siit::WITHOUT_DF { ipv4::DONT_FRAGMENT } else { 0 };
    let first = [0x4500 | u16::from(class), length, identification, fragment];
    let hops = u16::from_be_bytes([hop_limit - 1, protocol]);
    // The sum is over values in registers: reading the header back would wait for the writes.
    let words = first.iter().chain(&[hops]).map(|word| u64::from(*word)).sum::<u64>();
    let halves = |address: u32| u64::from(address >> 16) + u64::from(address as u16);
    let sum = !checksum::fold(words + halves(source) + halves(destination));
    head[FRONT..FRONT + ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    let mut header = [0; 2 + ipv4::HEADER];
    header[..2].copy_from_slice(&ethernet::IPV4.to_be_bytes());
    for (bytes, word) in header[2..].chunks_exact_mut(2).zip(first.iter().chain(&[hops, sum])) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    header[14..18].copy_from_slice(&source.to_be_bytes());
    header[18..].copy_from_slice(&destination.to_be_bytes());
    *head.last_chunk_mut()? = header;
    Some(())
}

/// The checksum field of TCP or UDP.
#[inline(always)]
fn checksum_field(payload: &mut [u8], protocol: u8) -> Option<&mut [u8; 2]> {
    let at = if protocol == ipv6::next::UDP { 6 } else { 16 };
    payload.get_mut(at..)?.first_chunk_mut()
}

/// Translates an IPv4 packet of the tenant `from` to IPv6, to `group` or to the IPv6 address that `destination` stands
/// for. Sets the new destination in `meta`.
///
/// # Errors
/// * [`DropReason::Ipv4NoRoute`] if no peer and no subnet of the network has the destination.
/// * [`DropReason::Untranslatable`] if RFC 7915 gives no translation, or the headroom is too small. `meta.refused` says
///   why.
pub(in crate::path) fn to_ipv6(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    from: &Sender<'_>,
    (source, destination): (u32, u32),
    group: Option<Identifier>,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let sir = sir_of(from.network.domain, ctx).ok_or(DropReason::Ipv4NoRoute)?;
    let ipv6 = |address| ipv6_of(address, from.network, sir);
    let quoted = |source, destination| Some((ipv6(source)?, ipv6(destination)?));
    let to = To6 {
        source: sir.with(from.network.ipv4_identifier(source)),
        destination: match group {
            Some(group) => sir.with(group),
            None => ipv6(destination).ok_or(DropReason::Ipv4NoRoute)?,
        },
    };
    let is_error = is_icmp4_error(packet.l3());
    let mtu6 = if is_error { next_hop_mtu::towards(to.destination, ctx) } else { u16::MAX };
    let options = options(from.network.mtu, mtu6, ctx);
    packet
        .reshape(|room, at| siit::to_v6(room, at, &to, quoted, &options))
        .map_err(|refused| refuse(meta, refused))?;
    packet.set_ethertype(ethernet::IPV6);
    meta.destination = to.destination;
    meta.unusual = true;
    Ok(())
}

/// Whether an IPv4 packet is an ICMP error.
fn is_icmp4_error(l3: &[u8]) -> bool {
    let (Some(header), Some(view)) = (ipv4::header(l3), Ipv4::of(l3)) else { return false };
    view.protocol() == ipv4::protocol::ICMP && l3.get(header.len()).is_some_and(|kind| icmp4::is_error(*kind))
}

/// Notes in `meta` why a packet is not translated.
pub(in crate::path) fn refuse(meta: &mut PacketMeta, refused: Refused) -> DropReason {
    meta.refused = Some(refused);
    DropReason::Untranslatable
}

/// Delivers to a tenant's IPv4 address here: translates the packet to IPv4 and sends it.
#[cold]
pub(in crate::path) fn deliver(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    local: &Local,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    let (Some(network), Some(sir)) =
        (meta.to.and_then(|id| ctx.tables.networks.get(id)), sir_of(domain, ctx))
    else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    let Ok(upper) = ipv6::upper(packet.l3()) else { return Verdict::Drop(DropReason::ExtensionHeaders) };
    let shrinks_by = upper.offset - ipv4::HEADER;
    // Fragments of ICMP are not translated (RFC 7915 §1.2).
    meta.splits |= upper.fragment && upper.protocol != ipv6::next::ICMP6;
    if let Err(verdict) = hop::check_shrinking(packet, meta, &local.hop, shrinks_by) {
        return verdict;
    }
    let destination = meta.identifier.0 as u32;
    let Some(header) = ipv6::Ipv6::of(packet.l3()) else { return Verdict::Drop(DropReason::Ipv6Truncated) };
    let wire = header.destination();
    let error = upper.protocol == ipv6::next::ICMP6
        && packet.l3().get(upper.offset).is_some_and(|kind| icmp6::is_error(*kind));
    let source = match ipv4_of(header.source(), network, sir) {
        Some(source) => source,
        // RFC 6791: an ICMP error of a router without an IPv4 address gets a source from the translator. Here it is the
        // gateway's address.
        None if error => match network.ipv4_gateway(destination) {
            Some(gateway) => gateway,
            None => return Verdict::Drop(DropReason::Untranslatable),
        },
        None => return Verdict::Drop(DropReason::NoPolicy),
    };
    quote::translate(packet, &upper, ctx.tables);
    let mtu6 = match crate::ila::quote::position(packet.l3(), &upper).filter(|_| !meta.ours) {
        Some(at) => packet
            .l3()
            .get(at..)
            .and_then(ipv6::Ipv6::of)
            .map_or(u16::MAX, |quoted| next_hop_mtu::towards(quoted.destination(), ctx)),
        None => u16::MAX,
    };
    let quoted = |source: u128, destination: u128| {
        Some((ipv4_of(source, network, sir)?, ipv4_of(destination, network, sir)?))
    };
    let to = To4 { source, destination, identification: name_of(packet.l3()) };
    let options = options(local.hop.mtu, mtu6, ctx);
    // In mode `no-action` the transport checksum is that of the SIR address on the whole path.
    let mode = ctx.tables.domain(domain).map(|domain| domain.checksum);
    if mode == Some(ChecksumMode::NoAction) {
        set_destination(packet, sir.with(meta.identifier));
    }
    let reshaped = packet.reshape(|room, at| siit::to_v4(room, at, &to, quoted, &options));
    if reshaped.is_err() {
        set_destination(packet, wire);
    }
    match reshaped {
        Ok(()) => leave(packet, meta, local),
        Err(Refused::Headroom) => Verdict::Drop(DropReason::BufferShape),
        Err(refused) => Verdict::Drop(refuse(meta, refused)),
    }
}

/// Writes the destination address of an IPv6 packet.
fn set_destination(packet: &mut Packet<'_>, address: u128) {
    if let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) {
        header.set_destination(address);
    }
}

/// Makes an IPv4 identification for a packet without a fragment header (RFC 7915 §5.1): a sum over the first bytes
/// behind its IPv6 header.
///
/// These bytes hold sequence numbers and checksums, so the sum differs from one packet of a flow to the next. They are
/// 20 bytes, as in a TCP header, or 8, as in a UDP header, if there are fewer than 20.
#[inline]
pub(in crate::path) fn name_of(packet: &[u8]) -> u16 {
    let upper = packet.get(ipv6::HEADER..).unwrap_or(packet);
    match (upper.first_chunk::<20>(), upper.first_chunk::<8>()) {
        (Some(bytes), _) => checksum::sum_of_bytes(bytes),
        (None, Some(bytes)) => checksum::sum_of_bytes(bytes),
        (None, None) => checksum::sum_of_bytes(upper),
    }
}

/// Lowers the TTL, writes the header checksum and the link header, and sends through the tenant's port. A packet that
/// this node made keeps its TTL.
fn leave(packet: &mut Packet<'_>, meta: &PacketMeta, local: &Local) -> Verdict {
    let l3 = packet.l3_mut();
    if !meta.ours
        && let Some(mut header) = Ipv4::of_mut(l3)
    {
        let ttl = header.ttl();
        header.set_ttl(ttl.wrapping_sub(1));
    }
    let length = ipv4::header(l3).map_or(0, <[u8]>::len);
    if let Some(header) = l3.get_mut(..length) {
        ipv4::seal(header);
    }
    if !packet.relink(local.hop.link()) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    packet.set_ethertype(ethernet::IPV4);
    if meta.ours { Verdict::Reply(local.hop.port) } else { Verdict::Forward(local.hop.port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7915 §5.1
    #[test]
    fn rfc_7915_section_5_1_any_of_the_first_bytes_behind_the_header_changes_the_identification() {
        for length in 0..=40 {
            let packet: Vec<u8> = (0..ipv6::HEADER + length).map(|at| at as u8).collect();
            let summed = match length {
                20.. => 20,
                8.. => 8,
                _ => length,
            };
            for at in 0..packet.len() {
                let mut other = packet.clone();
                other[at] ^= 1;
                let changes = (ipv6::HEADER..ipv6::HEADER + summed).contains(&at);
                assert_eq!(name_of(&other) != name_of(&packet), changes, "byte {at} of {length}");
            }
        }
    }
}
