//! A tenant's IPv4, joined with ILA: translated to IPv6 where it comes in, back where it goes out (RFC 7915, ILA draft
//! §4.3.2, §5.12.2). In between it is IPv6 from and to SIR addresses of type 2, and every other stage treats it so.

use super::guard::{Guard, Watched};
use super::lane::Lane;
use super::packet::Packet;
use super::tenant::Sender;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, group, quoted, send};
use crate::ila::{ChecksumMode, Identifier, IdentifierType, SirPrefix};
use crate::net::checksum;
use crate::net::ipv4::{self, Ipv4};
use crate::net::{ethernet, fragment, icmp4, icmp6, igmp, ipv6};
use crate::siit::{self, Options, Refused, To4, To6};
use crate::table::{DomainId, Local, Network};

/// Protocol number of ICMP.
const ICMP: u8 = 1;

/// Type of service travels, a missing UDP checksum is made. What is too long for an IPv6 link was found so there, and
/// what an error says of its MTU holds.
fn options(mtu4: u16) -> Options {
    Options { mtu4, mtu6: u16::MAX, ..Options::default() }
}

/// Takes an IPv4 packet from a tenant: what follows sees the IPv6 packet that it becomes. In a group frame only packets
/// to groups are welcome.
///
/// # Errors
/// The reason to drop it.
pub(super) fn enter(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    from: &Sender<'_>,
    group_frame: bool,
    guard: &mut Guard,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let l3 = packet.l3();
    let header = Ipv4::of(l3).ok_or(DropReason::Ipv4Invalid)?;
    let (source, destination) = (header.source(), header.destination());
    let total = usize::from(header.total_length());
    lane.splits = !header.dont_fragment();
    let whole = ipv4::header(l3).ok_or(DropReason::Ipv4Invalid)?;
    if header.version() != 4 || !ipv4::is_intact(whole) || total < whole.len() || total > l3.len() {
        return Err(DropReason::Ipv4Invalid);
    }
    let is_report = header.protocol() == igmp::PROTOCOL && destination >> 28 == 0xe;
    // Ethernet padding does not travel on.
    let _ = packet.resize(usize::from(packet.l3) + total);
    // A host without an address may report its groups (RFC 3376 §4.2.13).
    if !(from.tenant.ipv4.contains(&source) || is_report && source == 0) {
        return Err(DropReason::SpoofedSource);
    }
    if is_report {
        packet.verdict = group::decide_igmp(packet, Watched::of(from.tenant), guard, ctx);
        return Ok(());
    }
    let group = group::ipv4_group(destination, from.network)?;
    if group_frame && group.is_none() {
        return Err(DropReason::Multicast);
    }
    if let Some(group) = group {
        group::begin(lane, from, group, ctx)?;
    }
    if from.network.subnet_of(destination).is_some_and(|subnet| subnet.gateway == destination) {
        guard.heed(Watched::of(from.tenant))?;
        packet.verdict = gateway(packet, from);
        return Ok(());
    }
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
    // Should it have to wait for its next hop, it comes back through `parse` as what it is now.
    set_ethertype(packet, ethernet::IPV6);
    lane.high = (to.destination >> 64) as u64;
    lane.low = to.destination as u64;
    lane.unusual = true;
    if total > usize::from(from.network.mtu) {
        // The tenant is told in the terms of IPv4: the difference of the headers goes off again.
        let in_fragment = packet.l3().get(6) == Some(&ipv6::next::FRAGMENT);
        let growth = ipv6::HEADER - ipv4::HEADER + if in_fragment { fragment::HEADER } else { 0 };
        lane.mtu = from.network.mtu + growth as u16;
        return Err(DropReason::PacketTooBig);
    }
    Ok(())
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

fn sir_of(domain: DomainId, ctx: &Ctx<'_>) -> Option<SirPrefix> {
    Some(ctx.tables.domains.get(usize::from(domain.0))?.sir)
}

/// The gateway answers echo requests; it serves nothing else.
fn gateway(packet: &mut Packet<'_>, from: &Sender<'_>) -> Verdict {
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
        header.set_ttl(super::own::HOP_LIMIT);
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

/// Delivers to a tenant's IPv4 address here: the packet becomes IPv4 again.
#[cold]
pub(super) fn deliver(
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    local: &Local,
    domain: DomainId,
    ctx: &Ctx<'_>,
) -> Verdict {
    let (Some(network), Some(sir)) =
        (lane.to.and_then(|id| ctx.tables.networks.get(id)), sir_of(domain, ctx))
    else {
        return Verdict::Drop(DropReason::NotLocal);
    };
    let Ok(upper) = ipv6::upper(packet.l3()) else { return Verdict::Drop(DropReason::ExtensionHeaders) };
    let shrinks_by = ipv6::HEADER - ipv4::HEADER + if upper.fragment { fragment::HEADER } else { 0 };
    lane.splits |= upper.fragment;
    if let Err(verdict) = send::check_shrinking(packet, lane, &local.hop, shrinks_by) {
        return verdict;
    }
    let destination = lane.low as u32;
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
    quoted::translate(packet, &upper, ctx.tables);
    let quoted = |source: u128, destination: u128| {
        Some((ipv4_of(source, network, sir)?, ipv4_of(destination, network, sir)?))
    };
    let to = To4 { source, destination, identification: name_of(packet.l3()) };
    let options = options(local.hop.mtu);
    // In this mode the checksum is that of the SIR address all the way.
    let mode = ctx.tables.domains.get(usize::from(domain.0)).map(|domain| domain.checksum);
    if mode == Some(ChecksumMode::NoAction) {
        set_destination(packet, sir.with(Identifier(lane.low)));
    }
    let reshaped = packet.reshape(|room, at| siit::to_v4(room, at, &to, quoted, &options));
    if reshaped.is_err() {
        set_destination(packet, wire);
    }
    match reshaped {
        Ok(()) => leave(packet, lane, local),
        Err(Refused::Headroom) => Verdict::Drop(DropReason::BufferShape),
        Err(_) => Verdict::Drop(DropReason::Untranslatable),
    }
}

fn set_destination(packet: &mut Packet<'_>, address: u128) {
    if let Some(mut header) = ipv6::Ipv6::of_mut(packet.l3_mut()) {
        header.set_destination(address);
    }
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

/// Names a datagram that comes without a name, for whoever may have to cut it (RFC 7915 §5.1): a sum over the first
/// bytes behind its IPv6 header, sequence numbers and checksums among them, differs from one packet of a flow to the
/// next as a counter does. The bytes are those of a TCP header, or of a UDP header where there are fewer.
#[inline]
pub(super) fn name_of(packet: &[u8]) -> u16 {
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
fn leave(packet: &mut Packet<'_>, lane: &Lane, local: &Local) -> Verdict {
    let l3 = packet.l3_mut();
    if !lane.ours
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
    if lane.ours { Verdict::Reply(local.hop.port) } else { Verdict::Forward(local.hop.port) }
}
