//! The direct way: the packets that a router sees most, decided in three tight passes.
//!
//! Untagged TCP or UDP without extension headers or padding, from a plain address, towards a SIR prefix, a locator of
//! ours or a route, with nothing in its way. Everything else is left undecided and untouched for the stages that tell
//! every case apart; they would decide these packets alike, and a law test holds the two together.

use super::lane::BURST;
use super::packet::Packet;
use super::verdict::Verdict;
use super::{Ctx, flow};
use crate::ila::identifier::C_BIT;
use crate::ila::{ChecksumMode, neutral};
use crate::net::{ethernet, ipv6};
use crate::table::mapping::{MappingTable, Probe};
use crate::table::mem::prefetch;
use crate::table::{Action, ActionId, DomainId, Hop, PortId, Remote, Tables};
use arrayvec::ArrayVec;

/// Ethernet and IPv6 header.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;
type Head = [u8; HEADERS];

/// One packet on the direct way.
#[derive(Clone, Copy)]
struct Way {
    /// Identifier of the SIR address; for a routed packet the lower half of its destination.
    low: u64,
    probe: Probe,
    action: ActionId,
    /// Its place in the burst.
    index: u16,
    domain: DomainId,
}

/// The packets of one kind.
type Ways = ArrayVec<Way, BURST>;

/// The packets of a burst on the direct way, by what their destination is.
#[derive(Default)]
struct Kinds {
    sir: Ways,
    ila: Ways,
    routed: Ways,
}

/// What the direct way made of a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    /// Packets that it decided: all of them are forwarded, in the window that they came in.
    pub(super) packets: usize,
    /// The bits that any, and that all, of their ports have.
    any: u16,
    all: u16,
}

impl Decided {
    const NONE: Decided = Decided { packets: 0, any: 0, all: u16::MAX };

    #[inline(always)]
    fn add(&mut self, hop: Option<PortId>) {
        if let Some(port) = hop {
            self.packets += 1;
            self.any |= port.0;
            self.all &= port.0;
        }
    }

    /// The port that all of them leave through, if it is one.
    #[inline(always)]
    pub(super) fn port(self) -> Option<PortId> {
        (self.any == self.all).then_some(PortId(self.all))
    }
}

/// Decides what it can.
#[inline]
pub(super) fn run(burst: &mut [Packet<'_>], ctx: &Ctx<'_>) -> Decided {
    let mut kinds = Kinds::default();
    start(burst, &mut kinds, ctx);
    let mut decided = Decided::NONE;
    if !kinds.sir.is_empty() {
        look_up(&mut kinds.sir, ctx.tables);
        for way in &kinds.sir {
            decided.add(finish_sir(burst, way, ctx));
        }
    }
    if !kinds.ila.is_empty() {
        look_up(&mut kinds.ila, ctx.tables);
        for way in &kinds.ila {
            decided.add(finish_ila(burst, way, ctx));
        }
    }
    if !kinds.routed.is_empty() {
        look_up_routes(burst, &mut kinds.routed, ctx.tables);
        for way in &kinds.routed {
            decided.add(finish_routed(burst, way, ctx));
        }
    }
    decided
}

/// First pass: finds the packets for the direct way and starts their lookups.
#[inline(always)]
fn start(burst: &mut [Packet<'_>], kinds: &mut Kinds, ctx: &Ctx<'_>) {
    let Some(port_id) = burst.first().map(|packet| packet.port) else { return };
    let Some(port) = ctx.tables.ports.get(usize::from(port_id.0)) else { return };
    if !port.untagged {
        return;
    }
    let mac_word = port.mac_word << 16;
    let mut last = Destination::of(0, ctx.tables);
    for (index, packet) in burst.iter_mut().enumerate() {
        let length = packet.len();
        if packet.port != port_id {
            continue;
        }
        let Some(head) = packet.head_mut::<HEADERS>() else { continue };
        if !usual(head, mac_word, length) {
            continue;
        }
        let (high, low) = (be8(head, 38), be8(head, 46));
        if high != last.high {
            last = Destination::of(high, ctx.tables);
        }
        let (way, kind) = match last.kind {
            Kind::Sir(mappings) if translated(low) && low & C_BIT == 0 => {
                (last.way(low, mappings.hint(low), index), &mut kinds.sir)
            }
            Kind::Ila(mappings) if translated(low) => {
                let add = if low & C_BIT != 0 { last.inward_marked } else { last.inward_bare };
                let low = neutral::add_low(low & !C_BIT, add);
                (last.way(low, mappings.hint(low), index), &mut kinds.ila)
            }
            Kind::Routed => (last.way(low, Probe::default(), index), &mut kinds.routed),
            _ => continue,
        };
        let _ = kind.try_push(way);
    }
}

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac_word: u64, length: usize) -> bool {
    // Ethertype, first half of the IPv6 header; then next header, hop limit and the source's first bytes.
    let (kind, rest) = (be8(head, 12), head[20]);
    // Our MAC address as destination, and no group bit in the source's first byte.
    (be8(head, 0) ^ mac_word) & !0xfeff == 0
        && kind >> 44 == (ethernet::IPV6 as u64) << 4 | 6
        && HEADERS + (kind as u16 as usize) == length
        && (rest == ipv6::next::UDP || rest == ipv6::next::TCP)
        && head[21] > 1
        && (head[22] >> 5 == 0b001 || head[22] >> 1 == 0xfc >> 1)
}

/// Types 1 to 4.
#[inline(always)]
const fn translated(low: u64) -> bool {
    (low >> 61).wrapping_sub(1) < 4
}

#[derive(Clone, Copy)]
enum Kind<'t> {
    Sir(&'t MappingTable),
    Ila(&'t MappingTable),
    Routed,
    /// Left to the other stages.
    Other,
}

/// What the upper half of a destination means on the direct way.
struct Destination<'t> {
    high: u64,
    kind: Kind<'t>,
    domain: DomainId,
    /// Added to the low word of an identifier with the C-bit.
    inward_marked: u16,
    /// And of one without.
    inward_bare: u16,
}

impl<'t> Destination<'t> {
    #[inline(never)]
    fn of(high: u64, tables: &'t Tables) -> Self {
        let mut of =
            Destination { high, kind: Kind::Other, domain: DomainId(0), inward_marked: 0, inward_bare: 0 };
        let Some(realm) = tables.realms.of(high) else {
            // Plain destinations only, so that groups and martians meet the stages that know them.
            if high >> 61 == 0b001 || high >> 57 == 0xfc >> 1 {
                of.kind = Kind::Routed;
            }
            return of;
        };
        let domain = |id: DomainId| tables.domains.get(usize::from(id.0));
        if let Some((id, domain)) = realm.sir.and_then(|id| Some((id, domain(id)?))) {
            of.domain = id;
            of.kind = Kind::Sir(&domain.mappings);
        } else if let Some((id, adjustment, domain)) =
            realm.local.and_then(|(id, a)| Some((id, a, domain(id)?)))
            && domain.checksum != ChecksumMode::AdjTransport
        {
            let auto = domain.checksum == ChecksumMode::NeutralMapAuto;
            of.domain = id;
            of.kind = Kind::Ila(&domain.mappings);
            of.inward_marked = adjustment.inward(true);
            of.inward_bare = if auto { adjustment.inward(false) } else { 0 };
        }
        of
    }

    #[inline(always)]
    fn way(&self, low: u64, probe: Probe, index: usize) -> Way {
        Way { low, probe, action: ActionId(0), index: index as u16, domain: self.domain }
    }
}

/// Second pass: finishes all lookups and asks for the actions found.
#[inline(always)]
fn look_up(ways: &mut Ways, tables: &Tables) {
    let mut open: ArrayVec<(u8, u32), BURST> = ArrayVec::new();
    let mut domain = ways.first().map_or(DomainId(0), |way| way.domain);
    let Some(mut mappings) = tables.domains.get(usize::from(domain.0)).map(|domain| &*domain.mappings) else {
        return;
    };
    for (at, way) in ways.iter_mut().enumerate() {
        if way.domain != domain {
            domain = way.domain;
            let Some(next) = tables.domains.get(usize::from(domain.0)) else { return };
            mappings = &next.mappings;
        }
        match mappings.first(way.probe, way.low) {
            Ok(found) => {
                way.action = found.unwrap_or_default();
                if let Some(action) = tables.action(way.action) {
                    prefetch(action);
                }
            }
            Err(state) => {
                let _ = open.try_push((at as u8, state));
            }
        }
    }
    for (at, state) in open {
        let Some(way) = ways.get_mut(usize::from(at)) else { continue };
        let Some(domain) = tables.domains.get(usize::from(way.domain.0)) else { continue };
        way.action = domain.mappings.finish(way.probe, way.low, state).unwrap_or_default();
    }
}

/// The same for routes.
#[inline(never)]
fn look_up_routes(burst: &mut [Packet<'_>], ways: &mut Ways, tables: &Tables) {
    for way in ways.iter_mut() {
        let Some(head) =
            burst.get_mut(usize::from(way.index)).and_then(|packet| packet.head_mut::<HEADERS>())
        else {
            continue;
        };
        let destination = u128::from(be8(head, 38)) << 64 | u128::from(way.low);
        way.action = tables.routes.lookup(destination).unwrap_or_default();
        if let Some(action) = tables.action(way.action) {
            prefetch(action);
        }
    }
}

/// Third pass, towards a locator: `None`, with nothing changed, when something is in the packet's way.
#[inline(always)]
fn finish_sir(burst: &mut [Packet<'_>], way: &Way, ctx: &Ctx<'_>) -> Option<PortId> {
    let Some(packet) = burst.get_mut(usize::from(way.index)) else { return None };
    if let Some(Action::Remote(remote)) = ctx.tables.action(way.action) {
        return to_locator(packet, way, remote);
    }
    match chosen(packet, way, ctx) {
        Some(Action::Remote(remote)) => to_locator(packet, way, remote),
        Some(Action::Local(local)) => send(packet, &local.hop, None),
        _ => None,
    }
}

#[inline(always)]
fn to_locator(packet: &mut Packet<'_>, way: &Way, remote: &Remote) -> Option<PortId> {
    let low = neutral::add_low(way.low, remote.add) | u64::from(remote.mark) << 48;
    send(packet, &remote.hop, Some((remote.locator.0, low)))
}

/// Third pass, to a local attachment.
#[inline(always)]
fn finish_ila(burst: &mut [Packet<'_>], way: &Way, ctx: &Ctx<'_>) -> Option<PortId> {
    let Some(packet) = burst.get_mut(usize::from(way.index)) else { return None };
    let Some(Action::Local(local)) = ctx.tables.action(way.action) else { return None };
    let Some(domain) = ctx.tables.domains.get(usize::from(way.domain.0)) else { return None };
    send(packet, &local.hop, Some((domain.sir.0, way.low)))
}

/// Third pass, by route.
#[inline(always)]
fn finish_routed(burst: &mut [Packet<'_>], way: &Way, ctx: &Ctx<'_>) -> Option<PortId> {
    let Some(packet) = burst.get_mut(usize::from(way.index)) else { return None };
    match chosen(packet, way, ctx) {
        Some(Action::Forward(hop)) => send(packet, hop, None),
        Some(Action::Connected(port)) => connected(packet, way, *port, ctx),
        _ => None,
    }
}

/// The action, after a weighted choice if there is one.
#[inline(always)]
fn chosen<'t>(packet: &mut Packet<'_>, way: &Way, ctx: &Ctx<'t>) -> Option<&'t Action> {
    let tables: &'t Tables = ctx.tables;
    packet.l3 = ethernet::HEADER as u8;
    tables.resolve(way.action, || flow::hash(packet.l3()))
}

#[inline(never)]
fn connected(packet: &mut Packet<'_>, way: &Way, port: PortId, ctx: &Ctx<'_>) -> Option<PortId> {
    let Some(head) = packet.head_mut::<HEADERS>() else { return None };
    let destination = u128::from(be8(head, 38)) << 64 | u128::from(way.low);
    ctx.tables.neighbours.get(&(port, destination)).and_then(|hop| send(packet, hop, None))
}

/// Writes link header, hop limit and, when given, the destination.
#[inline(always)]
fn send(packet: &mut Packet<'_>, hop: &Hop, destination: Option<(u64, u64)>) -> Option<PortId> {
    if packet.len() > usize::from(hop.direct_bytes) {
        return None;
    }
    let Some(head) = packet.head_mut::<HEADERS>() else { return None };
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[21] = head[21].wrapping_sub(1);
    if let Some((high, low)) = destination {
        head[38..46].copy_from_slice(&high.to_be_bytes());
        head[46..54].copy_from_slice(&low.to_be_bytes());
    }
    packet.l3 = ethernet::HEADER as u8;
    packet.verdict = Verdict::Forward(hop.port);
    Some(hop.port)
}

#[inline(always)]
fn be8(head: &Head, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(word)
}
