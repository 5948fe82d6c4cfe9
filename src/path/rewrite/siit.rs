//! Rewrites between IPv4 and IPv6 (RFC 7915), joined with ILA (draft §4.3.2, §5.12.2): a tenant's IPv4 packet becomes an
//! IPv6 packet between SIR addresses of type 2, and comes back as IPv4 at the receiver's node.

use super::{hop, quote};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, SirPrefix};
use crate::net::checksum;
use crate::net::ipv4::{self, Ipv4};
use crate::net::{ethernet, fragment, icmp6, ipv6};
use crate::path::Ctx;
use crate::path::admit::source::Sender;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::{self, Options, Refused, To4, To6};
use crate::table::{DomainId, Local, Network};

/// Type of service travels, a missing UDP checksum is made. What is too long for an IPv6 link was found so there, and
/// what an error says of its MTU holds.
fn options(mtu4: u16) -> Options {
    Options { mtu4, mtu6: u16::MAX, ..Options::default() }
}

/// The address behind an IPv4 address as the network sees it: a peer's own (§5.11, §5.13), or a tenant's SIR address.
fn ipv6_of(address: u32, network: &Network, sir: SirPrefix) -> Option<u128> {
    let tenant = || network.subnet_of(address).map(|_| sir.with(network.ipv4_identifier(address)));
    network.peers.ipv6(address).or_else(tenant)
}

/// The reverse: the IPv4 address by which the network knows somebody.
fn ipv4_of(address: u128, network: &Network, sir: SirPrefix) -> Option<u32> {
    tenant_ipv4(address, network, sir).or_else(|| network.peers.ipv4(address))
}

/// The IPv4 address behind a SIR address of the network's own.
fn tenant_ipv4(address: u128, network: &Network, sir: SirPrefix) -> Option<u32> {
    let identifier = Identifier::of_address(address);
    let ours = (address >> 64) as u64 == sir.0
        && identifier.kind() == IdentifierType::TenantIpv4
        && identifier.vnid() == Some(network.vnid)
        && !identifier.neutral();
    ours.then_some(identifier.0 as u32)
}

fn sir_of(domain: DomainId, ctx: &Ctx<'_>) -> Option<SirPrefix> {
    Some(ctx.tables.domains.get(usize::from(domain.0))?.sir)
}

/// Turns an IPv4 packet of the tenant `from` into IPv6, to `group` or to the address behind `destination`, and notes its
/// new destination in `meta`.
///
/// # Errors
/// [`DropReason::Ipv4NoRoute`] when nobody has the destination; [`DropReason::Untranslatable`] when RFC 7915 gives no
/// translation.
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
    let options = options(from.network.mtu);
    packet
        .reshape(|room, at| siit::to_v6(room, at, &to, quoted, &options))
        .map_err(|_| DropReason::Untranslatable)?;
    set_ethertype(packet, ethernet::IPV6);
    meta.high = (to.destination >> 64) as u64;
    meta.low = to.destination as u64;
    meta.unusual = true;
    Ok(())
}

/// Delivers to a tenant's IPv4 address here: the packet becomes IPv4 again.
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
    let shrinks_by = ipv6::HEADER - ipv4::HEADER + if upper.fragment { fragment::HEADER } else { 0 };
    meta.splits |= upper.fragment;
    if let Err(verdict) = hop::check_shrinking(packet, meta, &local.hop, shrinks_by) {
        return verdict;
    }
    let destination = meta.low as u32;
    let Some(header) = ipv6::Ipv6::of(packet.l3()) else { return Verdict::Drop(DropReason::Ipv6Truncated) };
    let wire = header.destination();
    let error = upper.protocol == ipv6::next::ICMP6
        && packet.l3().get(upper.offset).is_some_and(|kind| icmp6::is_error(*kind));
    let source = match ipv4_of(header.source(), network, sir) {
        Some(source) => source,
        // What the fabric or this node has to say is said by the gateway (RFC 6791 asks for an address of the kind).
        None if error => match network.ipv4_gateway(destination) {
            Some(gateway) => gateway,
            None => return Verdict::Drop(DropReason::Untranslatable),
        },
        None => return Verdict::Drop(DropReason::NoPolicy),
    };
    quote::translate(packet, &upper, ctx.tables);
    let quoted = |source: u128, destination: u128| {
        Some((ipv4_of(source, network, sir)?, ipv4_of(destination, network, sir)?))
    };
    let to = To4 { source, destination, identification: name_of(packet.l3()) };
    let options = options(local.hop.mtu);
    // In this mode the checksum is that of the SIR address all the way.
    let mode = ctx.tables.domains.get(usize::from(domain.0)).map(|domain| domain.checksum);
    if mode == Some(ChecksumMode::NoAction) {
        set_destination(packet, sir.with(Identifier(meta.low)));
    }
    let reshaped = packet.reshape(|room, at| siit::to_v4(room, at, &to, quoted, &options));
    if reshaped.is_err() {
        set_destination(packet, wire);
    }
    match reshaped {
        Ok(()) => leave(packet, meta, local),
        Err(Refused::Headroom) => Verdict::Drop(DropReason::BufferShape),
        Err(_) => Verdict::Drop(DropReason::Untranslatable),
    }
}

fn set_destination(packet: &mut Packet<'_>, address: u128) {
    if let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) {
        header.set_destination(address);
    }
}

/// Names a datagram that comes without a name, for whoever may have to cut it (RFC 7915 §5.1): a sum over the first
/// bytes behind its IPv6 header, sequence numbers and checksums among them, differs from one packet of a flow to the
/// next as a counter does. The bytes are those of a TCP header, or of a UDP header where there are fewer.
#[inline]
pub(in crate::path) fn name_of(packet: &[u8]) -> u16 {
    let upper = packet.get(ipv6::HEADER..).unwrap_or(packet);
    match (upper.first_chunk::<20>(), upper.first_chunk::<8>()) {
        (Some(bytes), _) => checksum::sum_of_bytes(bytes),
        (None, Some(bytes)) => checksum::sum_of_bytes(bytes),
        (None, None) => checksum::sum_of_bytes(upper),
    }
}

/// Writes the last two bytes of the link header.
fn set_ethertype(packet: &mut Packet<'_>, ethertype: u16) {
    let at = usize::from(packet.l3);
    if let Some(bytes) = at.checked_sub(2).and_then(|from| packet.frame_mut().get_mut(from..at)) {
        bytes.copy_from_slice(&ethertype.to_be_bytes());
    }
}

/// Lowers the time to live, writes the link header and decides for the tenant's port.
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
    set_ethertype(packet, ethernet::IPV4);
    if meta.ours { Verdict::Reply(local.hop.port) } else { Verdict::Forward(local.hop.port) }
}
