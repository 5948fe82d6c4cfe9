//! The fast path of tenants' packets: between tenants of one network, from an access port to a locator or to another
//! attachment, and from the fabric to an attachment here. IPv4 is translated to IPv6 and back on the way (RFC 7915).
//!
//! It takes whole TCP and UDP packets without options. All else is left to the stages.

use super::super::admit::ra_dhcp_guard::is_dhcp_server;
use super::super::prefix::OwnLocator;
use super::super::rewrite::{hop, siit, sir};
use super::super::stage::lookup::Job;
use super::bytes::{be2, be4, le8};
use super::decided::{Decided, Tally};
use super::jobs::{Jobs, look_up, member};
use crate::ila::identifier::MAX_VNID;
use crate::ila::{Identifier, IdentifierType};
use crate::net::{checksum, ethernet, ipv4, ipv6};
use crate::path::meta::BURST;
use crate::table::bindings::{Binding, SourceBindings};
use crate::table::mapping::{Key, Probe};
use crate::table::network::NetworkHot;
use crate::table::{Action, DomainId, Hop, PortId, Remote, Tables};

pub use super::super::rewrite::siit::FRONT;

/// Length of the Ethernet and IPv4 headers, in bytes.
const HEADERS4: usize = ethernet::HEADER + ipv4::HEADER;
/// Length of the Ethernet and IPv6 headers, in bytes.
const HEADERS6: usize = ethernet::HEADER + ipv6::HEADER;
/// Length of the UDP header, in bytes. Every packet here has at least as many bytes behind its IP header.
const LEAST: usize = 8;
/// A tenant's packet between the passes.
pub(super) struct TenantPacket<'t, 'b> {
    /// The frame. On an access port [`FRONT`] bytes of headroom come before it.
    room: &'b mut [u8],
    network: &'t NetworkHot,
    key: Key,
    probe: Probe<'t>,
    index: u8,
    direction: Direction,
}

/// The direction of the packet, and the IP version that the tenant here sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From a tenant attached here.
    Out6,
    Out4,
    /// From the fabric to a tenant attached here.
    In6,
    In4,
}

impl<'t> Job<'t> for TenantPacket<'t, '_> {
    fn key(&self) -> Key {
        self.key
    }

    fn probe(&self) -> Probe<'t> {
        self.probe
    }

    fn domain(&self) -> DomainId {
        self.network.domain
    }
}

/// First pass over a frame from a port with tenants. `room` is [`FRONT`] bytes of headroom and then the frame.
#[inline]
pub(super) fn outward<'t, 'b>(
    room: &'b mut [u8],
    index: u8,
    bindings: &SourceBindings,
    tables: &'t Tables,
    jobs: &mut Jobs<TenantPacket<'t, 'b>>,
) -> Option<()> {
    let frame = room.get(FRONT..)?;
    // A reference: a read from a copy would have to wait for the copy's writes.
    let head: &[u8; HEADERS4 + LEAST] = frame.first_chunk()?;
    let ((network, key), direction) = match be2(head, 12) {
        ethernet::IPV6 => (outward6(frame, bindings, tables)?, Direction::Out6),
        ethernet::IPV4 => (outward4(frame, bindings, tables)?, Direction::Out4),
        _ => return None,
    };
    let mappings = &tables.domain(network.domain)?.mappings;
    let probe = mappings.probe(key);
    jobs.try_push(TenantPacket { room, network, key, probe, index, direction }).ok()
}

/// Network and key of the destination of an IPv6 packet between two tenants of one network. `None` if the stages must
/// decide.
#[inline(never)]
fn outward6<'t>(
    frame: &[u8],
    bindings: &SourceBindings,
    tables: &'t Tables,
) -> Option<(&'t NetworkHot, Key)> {
    let head: &[u8; HEADERS6 + LEAST] = frame.first_chunk()?;
    // First, so that Neighbour Discovery is left to the stages without a lookup.
    if !carries_checksum(head[20]) {
        return None;
    }
    let who = Binding::ipv6(le8(head, 6), be4(head, 34));
    let network = tables.networks.hot(bindings.find(who)?)?;
    let vnet = network.vnet?;
    let destination = be4(head, 50);
    // Version 6, and a payload length of all bytes behind the headers.
    let kind = be4(head, 14) >> 28 == 6 && usize::from(be2(head, 18)) == frame.len() - HEADERS6;
    let fine = kind
        && head[21] > 1
        && head[22..34] == vnet
        && head[38..50] == vnet
        && destination != network.gateway
        && goes_to(head, network, frame.len())
        && !is_dhcp_server(head[20], be2(head, HEADERS6));
    fine.then(|| (network, Key::of(Identifier::tenant_ipv6(network.vnid, destination).0)))
}

/// Network and key of the destination of an IPv4 packet between two tenants of one network. `None` if the stages must
/// decide.
#[inline(never)]
fn outward4<'t>(
    frame: &[u8],
    bindings: &SourceBindings,
    tables: &'t Tables,
) -> Option<(&'t NetworkHot, Key)> {
    let head: &[u8; HEADERS4 + LEAST] = frame.first_chunk()?;
    let id = bindings.find(Binding::ipv4(le8(head, 6), be4(head, 26)))?;
    let network = tables.networks.hot(id)?;
    let destination = be4(head, 30);
    let packet_bytes = frame.len() - ethernet::HEADER;
    let fragment = be2(head, 20);
    let fine = head[14] == 0x45
        && usize::from(be2(head, 16)) == packet_bytes
        && (fragment == ipv4::DONT_FRAGMENT
            || fragment == 0 && packet_bytes + FRONT <= usize::from(ipv6::MIN_MTU))
        && carries_checksum(head[23])
        && head[22] > 1
        && ipv4::is_plain_intact(head[ethernet::HEADER..].first_chunk()?)
        && !(head[23] == ipv6::next::UDP && be2(head, HEADERS4 + 6) == 0)
        && goes_to(head, network, frame.len())
        && !is_dhcp_server(head[23], be2(head, HEADERS4));
    let stays = fine && tables.networks.get(id)?.is_others(destination);
    stays.then(|| (network, Key::of(Identifier::tenant_ipv4(network.vnid, destination).0)))
}

/// Whether a frame is addressed to its network's gateway and not longer than the network's MTU allows.
#[inline(always)]
fn goes_to<const N: usize>(head: &[u8; N], network: &NetworkHot, frame_bytes: usize) -> bool {
    (le8(head, 0) ^ network.mac) << 16 == 0 && frame_bytes <= usize::from(network.mtu) + ethernet::HEADER
}

/// The network of the last packet to a tenant, by domain and VNID.
pub(super) type Last<'t> = Option<(DomainId, u32, &'t NetworkHot)>;

/// First pass over a frame from the fabric under a locator of ours to an identifier that is not a task's. Its headers
/// were checked by `admit`.
#[inline(never)]
pub(super) fn inward<'t, 'b>(
    frame: &'b mut [u8],
    index: u8,
    locator: &OwnLocator<'t>,
    last: &mut Last<'t>,
    tables: &'t Tables,
    jobs: &mut Jobs<TenantPacket<'t, 'b>>,
) -> Option<()> {
    let head: &[u8; HEADERS6 + LEAST] = frame.first_chunk()?;
    let wire = Identifier(le8(head, 46).swap_bytes());
    let vnid = be4(head, 46) & MAX_VNID;
    let network = match *last {
        Some((domain, number, network)) if (domain, number) == (locator.domain, vnid) => network,
        _ => {
            let network = tables.networks.hot(tables.networks.of_vnid(locator.domain, vnid)?)?;
            *last = Some((locator.domain, vnid, network));
            network
        }
    };
    // Only from tenants of the same network. Any other sender needs a policy, which the stages apply.
    let (direction, checksum_delta) = match wire.kind() {
        IdentifierType::TenantIpv6 if network.vnet? == head[22..34] => {
            (Direction::In6, network.checksum_delta)
        }
        IdentifierType::TenantIpv4 if siit::sir_address(network, be4(head, 34)) == head[22..38] => {
            (Direction::In4, 0)
        }
        _ => return None,
    };
    let key = Key::of(locator.identifier_of_tenant(wire.0, checksum_delta));
    let probe = locator.mappings.probe(key);
    jobs.try_push(TenantPacket { room: frame, network, key, probe, index, direction }).ok()
}

/// Second and third pass over tenants' packets.
#[inline(never)]
pub(super) fn finish(jobs: &mut Jobs<TenantPacket<'_, '_>>, tables: &Tables, decided: &mut Decided) {
    if jobs.is_empty() {
        return;
    }
    let actions = look_up(jobs, tables);
    for (job, action) in jobs.iter_mut().zip(&actions) {
        if let Some(sent) = action.and_then(|action| rewrite(job, action, tables)) {
            let index = usize::from(job.index) % BURST;
            (decided.ports[index], decided.moves[index]) = (sent.port, sent.moves);
            decided.moved |= sent.moves != 0;
            job.count(&sent, &mut decided.tally);
        }
    }
}

/// The outcome for a packet that leaves.
struct Sent {
    port: PortId,
    /// By how many bytes the frame's start moves.
    moves: i8,
    /// Whether it is delivered to a tenant attached here.
    delivered: bool,
}

impl TenantPacket<'_, '_> {
    /// Counts the packet for its network.
    #[inline]
    fn count(&self, sent: &Sent, tally: &mut Jobs<Tally>) {
        let slot = self.network.slot;
        if tally.last().is_none_or(|last| last.slot != slot) {
            let _ = tally.try_push(Tally { slot, ..Tally::default() });
        }
        let Some(last) = tally.last_mut() else { return };
        let bytes = self.room.len() as u32;
        let out = matches!(self.direction, Direction::Out6 | Direction::Out4);
        if out {
            last.sent += 1;
            last.sent_bytes += bytes.wrapping_sub(FRONT as u32);
        }
        if sent.delivered {
            last.delivered += 1;
            // On an access port `room` has `FRONT` bytes before the frame. IPv4 to a tenant becomes `FRONT` bytes
            // shorter.
            let front = if self.direction == Direction::In6 { 0 } else { FRONT as u32 };
            last.delivered_bytes += bytes.wrapping_sub(front);
        }
    }
}

/// Third pass: rewrites one packet. `None`, and nothing changed, if something stops it.
#[inline]
fn rewrite(job: &mut TenantPacket<'_, '_>, action: &Action, tables: &Tables) -> Option<Sent> {
    match job.direction {
        Direction::Out6 => {
            let action = member(job.room.get(FRONT..)?.first_chunk()?, action, tables)?;
            match action.remote() {
                Some(remote) => out6(job, remote),
                None => {
                    let port = out(job.room.get_mut(FRONT..)?, &action.local()?.hop)?;
                    Some(Sent { port, moves: 0, delivered: true })
                }
            }
        }
        // The flow hash covers the headers of the IPv6 packet, which is not made yet. So the stages choose among
        // locators.
        Direction::Out4 => out4(job, action.remote()?),
        Direction::In6 => in6(job, &action.local()?.hop),
        Direction::In4 => in4(job, &action.local()?.hop),
    }
}

/// IPv6 from a tenant to a locator: the upper 96 bits of the destination change (ILA draft §3.7.1).
fn out6(job: &mut TenantPacket<'_, '_>, remote: &Remote) -> Option<Sent> {
    let frame = job.room.get_mut(FRONT..)?;
    let port = out(frame, &remote.hop)?;
    let add = checksum::add(remote.add, job.network.checksum_delta & remote.identifier_changes());
    frame.get_mut(38..54)?.copy_from_slice(&sir::ila_address(job.key.identifier(), add, remote));
    Some(Sent { port, moves: 0, delivered: false })
}

/// IPv6 to a tenant attached here: its own address is restored (ILA draft §5.8, ILA draft §5.12.1).
fn in6(job: &mut TenantPacket<'_, '_>, hop: &Hop) -> Option<Sent> {
    let vnet = job.network.vnet?;
    let port = out(job.room, hop)?;
    let destination = job.room.get_mut(38..54)?;
    destination[..12].copy_from_slice(&vnet);
    destination[12..].copy_from_slice(&(job.key.identifier() as u32).to_be_bytes());
    Some(Sent { port, moves: 0, delivered: true })
}

/// IPv4 from a tenant to a locator (ILA draft §5.12.2).
fn out4(job: &mut TenantPacket<'_, '_>, remote: &Remote) -> Option<Sent> {
    if job.room.len() > usize::from(remote.hop.fast_bytes) {
        return None;
    }
    let destination = sir::ila_address(job.key.identifier(), remote.add, remote);
    siit::plain_to_ipv6(job.room, job.network, destination, &remote.hop)?;
    Some(Sent { port: remote.hop.port, moves: -(FRONT as i8), delivered: false })
}

/// IPv4 to a tenant attached here (ILA draft §5.12.2).
fn in4(job: &mut TenantPacket<'_, '_>, hop: &Hop) -> Option<Sent> {
    // The IPv6 form is longer than what is sent, so this check is stricter than it must be.
    if job.room.len() > usize::from(hop.fast_bytes) {
        return None;
    }
    siit::plain_to_ipv4(job.room, job.network, job.key.identifier() as u32, hop)?;
    Some(Sent { port: hop.port, moves: FRONT as i8, delivered: true })
}

/// Writes the link header and lowers the hop limit of an IPv6 packet.
#[inline(always)]
fn out(frame: &mut [u8], hop: &Hop) -> Option<PortId> {
    let frame_bytes = frame.len();
    hop::out_untagged::<HEADERS6>(frame.first_chunk_mut()?, frame_bytes, hop)
}

/// Whether the protocol is TCP or UDP, whose checksums cover the addresses.
#[inline(always)]
const fn carries_checksum(protocol: u8) -> bool {
    matches!(protocol, ipv6::next::TCP | ipv6::next::UDP)
}
