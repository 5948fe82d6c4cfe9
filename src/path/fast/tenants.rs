//! Tenants' packets on the direct way: between tenants of one network, from an access port to a locator or to another
//! attachment (IPv6), and from the fabric to an attachment here. IPv4 becomes IPv6 and comes back (RFC 7915) on the way.
//!
//! TCP and UDP, whole, without options; everything else is left to the stages, as on the rest of the direct way.

use super::super::rewrite::siit;
use super::{Decided, Jobs, Sought, Tally, Under, be2, be4, chosen, le8, look_up};
use crate::ila::identifier::MAX_VNID;
use crate::ila::{Identifier, IdentifierType, neutral};
use crate::net::{checksum, ethernet, ipv4, ipv6};
use crate::path::meta::BURST;
use crate::table::bindings::{Binding, SourceBindings};
use crate::table::mapping::{Key, Probe};
use crate::table::network::NetworkHot;
use crate::table::{Action, DomainId, Hop, PortId, Remote, Tables};

/// Bytes in front of a frame that it may grow into: what an IPv6 header is longer than an IPv4 header.
pub const FRONT: usize = ipv6::HEADER - ipv4::HEADER;
/// Link header and IPv4 header.
const HEADERS4: usize = ethernet::HEADER + ipv4::HEADER;
/// Link header and IPv6 header.
const HEADERS6: usize = ethernet::HEADER + ipv6::HEADER;
/// UDP header, of which every packet here has at least as much behind its IP header.
const LEAST: usize = 8;
/// The longest IPv6 packet that an IPv4 packet without DF may become without a fragment header (RFC 7915 §4).
const WITHOUT_FRAGMENT_HEADER: usize = ipv6::MIN_MTU as usize;
/// The longest IPv4 packet that leaves without DF (§5.1).
const WITHOUT_DF: u16 = ipv6::MIN_MTU - FRONT as u16;

/// A packet on its way.
pub(super) struct Job<'t, 'b> {
    /// The frame; from an access port with [`FRONT`] bytes before it.
    room: &'b mut [u8],
    network: &'t NetworkHot,
    key: Key,
    probe: Probe<'t>,
    index: u8,
    turn: Turn,
}

/// Where it comes from, and what the tenants here see of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// From a tenant here.
    Out6,
    Out4,
    /// From the fabric.
    In6,
    In4,
}

impl<'t> Sought<'t> for Job<'t, '_> {
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

/// First pass over a frame from a port where tenants sit: [`FRONT`] bytes, then the frame.
#[inline]
pub(super) fn outward<'t, 'b>(
    room: &'b mut [u8],
    index: u8,
    bindings: &SourceBindings,
    tables: &'t Tables,
    jobs: &mut Jobs<Job<'t, 'b>>,
) -> Option<()> {
    let frame = room.get(FRONT..)?;
    // Not copied: what would be read back from the copy had to wait for it.
    let head: &[u8; HEADERS4 + LEAST] = frame.first_chunk()?;
    let ((network, key), turn) = match be2(head, 12) {
        ethernet::IPV6 => (outward6(frame, bindings, tables)?, Turn::Out6),
        ethernet::IPV4 => (outward4(frame, bindings, tables)?, Turn::Out4),
        _ => return None,
    };
    let mappings = &tables.domains.get(usize::from(network.domain.0))?.mappings;
    let probe = mappings.probe(key);
    jobs.try_push(Job { room, network, key, probe, index, turn }).ok()
}

/// The network and the destination of an IPv6 packet from one tenant to another in it.
#[inline(never)]
fn outward6<'t>(
    frame: &[u8],
    bindings: &SourceBindings,
    tables: &'t Tables,
) -> Option<(&'t NetworkHot, Key)> {
    let head: &[u8; HEADERS6 + LEAST] = frame.first_chunk()?;
    let who = Binding::ipv6(le8(head, 6), be4(head, 34));
    let network = tables.networks.hot(bindings.find(who)?)?;
    let vnet = network.vnet?;
    let destination = be4(head, 50);
    // Version, traffic class, flow label, payload length: what the frame has behind the headers.
    let kind = be4(head, 14) >> 28 == 6 && usize::from(be2(head, 18)) == frame.len() - HEADERS6;
    let fine = kind
        && carries_checksum(head[20])
        && head[21] > 1
        && head[22..34] == vnet
        && head[38..50] == vnet
        && destination != network.gateway
        && goes_to(head, network, frame.len())
        && !is_server(head[20], be2(head, HEADERS6));
    fine.then(|| (network, Key::of(Identifier::tenant_ipv6(network.vnid, destination).0)))
}

/// The same of an IPv4 packet.
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
        && (fragment == DONT_FRAGMENT || fragment == 0 && packet_bytes + FRONT <= WITHOUT_FRAGMENT_HEADER)
        && carries_checksum(head[23])
        && head[22] > 1
        && sum_of_header(head[ethernet::HEADER..].first_chunk()?) == 0xffff
        && !(head[23] == ipv6::next::UDP && be2(head, HEADERS4 + 6) == 0)
        && goes_to(head, network, frame.len())
        && !is_server(head[23], be2(head, HEADERS4));
    let stays = fine && tables.networks.get(id)?.is_others(destination);
    stays.then(|| (network, Key::of(Identifier::tenant_ipv4(network.vnid, destination).0)))
}

/// Whether a frame goes to its network's gateway and is no longer than the network's packets may be.
#[inline(always)]
fn goes_to<const N: usize>(head: &[u8; N], network: &NetworkHot, frame_bytes: usize) -> bool {
    (le8(head, 0) ^ network.mac) << 16 == 0 && frame_bytes <= usize::from(network.mtu) + ethernet::HEADER
}

/// The network of the last packet to a tenant.
pub(super) type Last<'t> = Option<(DomainId, u32, &'t NetworkHot)>;

/// First pass over a frame from the fabric to an identifier under a locator of ours that is no task's, its headers usual
/// ones.
#[inline(never)]
pub(super) fn inward<'t, 'b>(
    frame: &'b mut [u8],
    index: u8,
    under: &Under<'t>,
    last: &mut Last<'t>,
    tables: &'t Tables,
    jobs: &mut Jobs<Job<'t, 'b>>,
) -> Option<()> {
    let head: &[u8; HEADERS6 + LEAST] = frame.first_chunk()?;
    let wire = Identifier(le8(head, 46).swap_bytes());
    let vnid = be4(head, 46) & MAX_VNID;
    let network = match *last {
        Some((domain, number, network)) if (domain, number) == (under.domain, vnid) => network,
        _ => {
            let network = tables.networks.hot(tables.networks.of_vnid(under.domain, vnid)?)?;
            *last = Some((under.domain, vnid, network));
            network
        }
    };
    // From a tenant of the same network; of others it takes a policy to say.
    let (turn, adjustment) = match wire.kind() {
        IdentifierType::TenantIpv6 if network.vnet? == head[22..34] => {
            (Turn::In6, under.adjustment.with(network.checksum_delta))
        }
        IdentifierType::TenantIpv4 if sir4(network, be4(head, 34)) == head[22..38] => {
            (Turn::In4, under.adjustment)
        }
        _ => return None,
    };
    let key = Key::of(neutral::back(wire, adjustment, under.mode).0);
    let probe = under.mappings.probe(key);
    jobs.try_push(Job { room: frame, network, key, probe, index, turn }).ok()
}

/// Second and third pass over tenants' packets.
#[inline(never)]
pub(super) fn finish(jobs: &mut Jobs<Job<'_, '_>>, tables: &Tables, decided: &mut Decided) {
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

/// How a packet leaves.
struct Sent {
    port: PortId,
    /// How far the frame's start moves.
    moves: i8,
    /// Whether a tenant here gets it.
    delivered: bool,
}

impl Job<'_, '_> {
    /// Counts the packet.
    #[inline]
    fn count(&self, sent: &Sent, tally: &mut Jobs<Tally>) {
        let slot = self.network.slot;
        if tally.last().is_none_or(|last| last.slot != slot) {
            let _ = tally.try_push(Tally { slot, ..Tally::default() });
        }
        let Some(last) = tally.last_mut() else { return };
        let bytes = self.room.len() as u32;
        let out = matches!(self.turn, Turn::Out6 | Turn::Out4);
        if out {
            last.sent += 1;
            last.sent_bytes += bytes.wrapping_sub(FRONT as u32);
        }
        if sent.delivered {
            last.delivered += 1;
            // From an access port there are so many bytes before it; IPv4 gets shorter by as many.
            let front = if self.turn == Turn::In6 { 0 } else { FRONT as u32 };
            last.delivered_bytes += bytes.wrapping_sub(front);
        }
    }
}

/// Third pass; `None`, with nothing changed, when something is in the packet's way.
#[inline]
fn rewrite(job: &mut Job<'_, '_>, action: &Action, tables: &Tables) -> Option<Sent> {
    let action = match job.turn {
        Turn::Out6 => chosen(job.room.get(FRONT..)?.first_chunk()?, action, tables)?,
        // Flows are told apart by the headers of the IPv6 packet that this is to become.
        Turn::Out4 | Turn::In6 | Turn::In4 => action,
    };
    match (job.turn, action) {
        (Turn::Out6, Action::Remote(remote)) => out6(job, remote),
        (Turn::Out6, Action::Local(local)) => {
            let frame = job.room.get_mut(FRONT..)?;
            send6(frame, &local.hop).map(|port| Sent { port, moves: 0, delivered: true })
        }
        (Turn::Out4, Action::Remote(remote)) => out4(job, remote),
        (Turn::In6, Action::Local(local)) => in6(job, &local.hop),
        (Turn::In4, Action::Local(local)) => in4(job, &local.hop),
        _ => None,
    }
}

/// IPv6 from a tenant to a locator: all upper 96 bits of the destination change.
fn out6(job: &mut Job<'_, '_>, remote: &Remote) -> Option<Sent> {
    let frame = job.room.get_mut(FRONT..)?;
    let port = send6(frame, &remote.hop)?;
    let add = checksum::add(remote.add, job.network.checksum_delta & remote.identifier_changes());
    frame.get_mut(38..54)?.copy_from_slice(&on_wire(job.key, add, remote));
    Some(Sent { port, moves: 0, delivered: false })
}

/// IPv6 to a tenant here, which must see its own address (ILA draft §5.8, §5.12.1).
fn in6(job: &mut Job<'_, '_>, hop: &Hop) -> Option<Sent> {
    let vnet = job.network.vnet?;
    let port = send6(job.room, hop)?;
    let destination = job.room.get_mut(38..54)?;
    destination[..12].copy_from_slice(&vnet);
    destination[12..].copy_from_slice(&(job.key.identifier() as u32).to_be_bytes());
    Some(Sent { port, moves: 0, delivered: true })
}

/// IPv4 from a tenant to a locator: IPv6 from its SIR address (RFC 7915 §4, ILA draft §5.12.2).
fn out4(job: &mut Job<'_, '_>, remote: &Remote) -> Option<Sent> {
    if job.room.len() > usize::from(remote.hop.fast_bytes) {
        return None;
    }
    let (head, payload) = job.room.split_first_chunk_mut::<{ FRONT + HEADERS4 }>()?;
    let header: [u8; ipv4::HEADER] = *head.last_chunk()?;
    let [_, tos, .., ttl, protocol, _, _, a, b, c, d, _, _, _, _] = header;
    let length = payload.len() as u16;
    let field = checksum_field(payload, protocol)?;
    *field = (!checksum::add(!u16::from_be_bytes(*field), job.network.checksum_delta_ipv4)).to_be_bytes();
    if protocol == ipv6::next::UDP && *field == [0, 0] {
        *field = [0xff, 0xff];
    }
    head[..ethernet::HEADER].copy_from_slice(&remote.hop.link[..ethernet::HEADER]);
    head[14..18].copy_from_slice(&(6 << 28 | u32::from(tos) << 20).to_be_bytes());
    head[18..20].copy_from_slice(&length.to_be_bytes());
    head[20..22].copy_from_slice(&[protocol, ttl - 1]);
    head[22..38].copy_from_slice(&sir4(job.network, u32::from_be_bytes([a, b, c, d])));
    head[38..54].copy_from_slice(&on_wire(job.key, remote.add, remote));
    Some(Sent { port: remote.hop.port, moves: -(FRONT as i8), delivered: false })
}

/// IPv4 to a tenant here (RFC 7915 §5, ILA draft §5.12.2).
fn in4(job: &mut Job<'_, '_>, hop: &Hop) -> Option<Sent> {
    let frame = &mut *job.room;
    // It gets shorter, so that this is on the safe side.
    if frame.len() > usize::from(hop.fast_bytes) {
        return None;
    }
    let identification = siit::name_of(frame.get(ethernet::HEADER..)?);
    let (head, payload) = frame.split_first_chunk_mut::<{ HEADERS6 }>()?;
    let (class, protocol) = ((head[14] << 4) | (head[15] >> 4), head[20]);
    let (source, length) = (be4(head, 34), (ipv4::HEADER + payload.len()) as u16);
    let hop_limit = head[21];
    let field = checksum_field(payload, protocol)?;
    if protocol == ipv6::next::UDP && *field == [0, 0] {
        return None;
    }
    // Less what it grew by; of the two zeros the one that changes nothing.
    let shrinks_by =
        if job.network.checksum_delta_ipv4 == 0xffff { 0xffff } else { !job.network.checksum_delta_ipv4 };
    *field = (!checksum::add(!u16::from_be_bytes(*field), shrinks_by)).to_be_bytes();
    if protocol == ipv6::next::UDP && *field == [0, 0] {
        *field = [0xff, 0xff];
    }
    let destination = job.key.identifier() as u32;
    let fragment = if length > WITHOUT_DF { DONT_FRAGMENT } else { 0 };
    let first = [0x4500 | u16::from(class), length, identification, fragment];
    let hops = u16::from_be_bytes([hop_limit - 1, protocol]);
    // From what is at hand: reading back what was just written would have to wait for it.
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
    Some(Sent { port: hop.port, moves: FRONT as i8, delivered: true })
}

/// The IPv4 flag, and nothing else in its word.
const DONT_FRAGMENT: u16 = 0x4000;

/// Writes link header and hop limit of an IPv6 packet.
#[inline(always)]
fn send6(frame: &mut [u8], hop: &Hop) -> Option<PortId> {
    if frame.len() > usize::from(hop.fast_bytes) {
        return None;
    }
    let head = frame.first_chunk_mut::<HEADERS6>()?;
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[21] = head[21].wrapping_sub(1);
    Some(hop.port)
}

/// The destination on the wire.
#[inline(always)]
fn on_wire(key: Key, add: u16, remote: &Remote) -> [u8; 16] {
    let identifier = neutral::add_low(key.identifier(), add) | u64::from(remote.mark) << 48;
    let mut address = [0; 16];
    address[..8].copy_from_slice(&remote.locator_bytes);
    address[8..].copy_from_slice(&identifier.to_be_bytes());
    address
}

/// The SIR address of a tenant's IPv4 address.
#[inline(always)]
fn sir4(network: &NetworkHot, address: u32) -> [u8; 16] {
    let mut sir = [0; 16];
    sir[..8].copy_from_slice(&network.sir);
    sir[8..].copy_from_slice(&Identifier::tenant_ipv4(network.vnid, address).0.to_be_bytes());
    sir
}

/// Whether this is TCP or UDP.
#[inline(always)]
const fn carries_checksum(protocol: u8) -> bool {
    matches!(protocol, ipv6::next::TCP | ipv6::next::UDP)
}

/// Whether a packet is a DHCP server's, which no tenant is: by its source port (RFC 2131 §4.1, RFC 8415 §7.2).
#[inline(always)]
const fn is_server(protocol: u8, source_port: u16) -> bool {
    protocol == ipv6::next::UDP && matches!(source_port, 67 | 547)
}

/// The checksum of TCP or UDP.
#[inline(always)]
fn checksum_field(payload: &mut [u8], protocol: u8) -> Option<&mut [u8; 2]> {
    let at = if protocol == ipv6::next::UDP { 6 } else { 16 };
    payload.get_mut(at..)?.first_chunk_mut()
}

/// The sum of an IPv4 header without options.
#[inline(always)]
fn sum_of_header(header: &[u8; ipv4::HEADER]) -> u16 {
    // Two words at a time, in the machine's byte order: see `checksum::sum_of_bytes`.
    let (words, _) = header.as_chunks::<4>();
    let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    u16::from_be_bytes(checksum::fold(sum).to_ne_bytes())
}
