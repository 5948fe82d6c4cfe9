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
use crate::table::{Action, ActionId, Hop, PortId, Tables};
use arrayvec::ArrayVec;

/// Ethernet and IPv6 header.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;
type Head = [u8; HEADERS];

/// One packet on the direct way.
#[derive(Clone, Copy)]
struct Way {
    /// Identifier of the SIR address.
    low: u64,
    probe: Probe,
    action: ActionId,
    index: u8,
    /// Index of the domain whose mappings are asked, or [`ROUTED`].
    domain: u8,
    /// Whether the SIR prefix is to be written for a local attachment: the destination is an ILA address.
    ila: bool,
}

/// In place of a domain: the packet is routed.
const ROUTED: u8 = u8::MAX;

/// Decides what it can; says how many packets that were.
#[inline]
pub(super) fn run(burst: &mut [Packet<'_>], ctx: &Ctx<'_>) -> usize {
    let mut ways: ArrayVec<Way, BURST> = ArrayVec::new();
    start(burst, &mut ways, ctx);
    if ways.is_empty() {
        return 0;
    }
    look_up(burst, &mut ways, ctx.tables);
    ways.iter().filter(|way| finish(burst, way, ctx)).count()
}

/// First pass: finds the packets for the direct way and starts their lookups.
#[inline(always)]
fn start(burst: &mut [Packet<'_>], ways: &mut ArrayVec<Way, BURST>, ctx: &Ctx<'_>) {
    let Some(port_id) = burst.first().map(|packet| packet.port) else { return };
    let Some(port) = ctx.tables.ports.get(usize::from(port_id.0)) else { return };
    if !port.untagged {
        return;
    }
    let mut last = Destination::of(0, ctx.tables);
    for (index, packet) in burst.iter_mut().enumerate().take(BURST) {
        let length = packet.len();
        if packet.port != port_id {
            continue;
        }
        let Some(head) = packet.head_mut::<HEADERS>() else { continue };
        if !usual(head, port.mac_word, length) {
            continue;
        }
        let high = be8(head, 38);
        if high != last.high {
            last = Destination::of(high, ctx.tables);
        }
        let low = be8(head, 46);
        let Some(way) = last.way(low, index as u8) else { continue };
        let _ = ways.try_push(way);
    }
}

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac_word: u64, length: usize) -> bool {
    // Our MAC address as destination, and no group bit in the source's first byte.
    (be8(head, 0) ^ mac_word << 16) & !0xfeff == 0
        && be4(head, 12) >> 12 == u32::from(ethernet::IPV6) << 4 | 6
        && HEADERS + usize::from(be2(head, 18)) == length
        && (head[20] == ipv6::next::UDP || head[20] == ipv6::next::TCP)
        && head[21] > 1
        && (head[22] >> 5 == 0b001 || head[22] >> 1 == 0xfc >> 1)
}

/// What the upper half of a destination means on the direct way.
struct Destination<'t> {
    high: u64,
    domain: u8,
    mappings: Option<&'t MappingTable>,
    ila: bool,
    /// Added to the low word of an identifier with the C-bit, and of one without.
    inward: (u16, u16),
}

impl<'t> Destination<'t> {
    #[inline(never)]
    fn of(high: u64, tables: &'t Tables) -> Self {
        let mut of = Destination { high, domain: ROUTED, mappings: None, ila: false, inward: (0, 0) };
        let Some(realm) = tables.realms.of(high) else {
            // Routed: plain destinations only, so that groups and martians meet the stages that know them.
            let plain = high >> 61 == 0b001 || high >> 57 == 0xfc >> 1;
            of.domain = if plain { ROUTED } else { ROUTED - 1 };
            return of;
        };
        // A subnet of our own without SIR prefix or locator: left to the other stages.
        of.domain = ROUTED - 1;
        let domain = |index: u8| tables.domains.get(usize::from(index));
        if let Some((index, domain)) = realm.sir.and_then(|id| Some((id.0, domain(id.0)?))) {
            of.domain = index;
            of.mappings = Some(&domain.mappings);
        } else if let Some((index, adjustment, domain)) =
            realm.local.and_then(|(id, a)| Some((id.0, a, domain(id.0)?)))
        {
            if domain.checksum != ChecksumMode::AdjTransport {
                let auto = domain.checksum == ChecksumMode::NeutralMapAuto;
                of.domain = index;
                of.mappings = Some(&domain.mappings);
                of.ila = true;
                of.inward = (adjustment.inward(true), if auto { adjustment.inward(false) } else { 0 });
            }
        }
        of
    }

    #[inline(always)]
    fn way(&self, low: u64, index: u8) -> Option<Way> {
        let Some(mappings) = self.mappings else {
            let routed =
                Way { low, probe: Probe::default(), action: ActionId(0), index, domain: ROUTED, ila: false };
            return (self.domain == ROUTED).then_some(routed);
        };
        // Types 1 to 4 only.
        if (low >> 61).wrapping_sub(1) >= 4 {
            return None;
        }
        let marked = low & C_BIT != 0;
        let low = if self.ila {
            neutral::add_low(low & !C_BIT, if marked { self.inward.0 } else { self.inward.1 })
        } else if marked {
            return None;
        } else {
            low
        };
        Some(Way {
            low,
            probe: mappings.hint(low),
            action: ActionId(0),
            index,
            domain: self.domain,
            ila: self.ila,
        })
    }
}

/// Second pass: finishes all lookups and asks for the actions found.
#[inline(always)]
fn look_up(burst: &mut [Packet<'_>], ways: &mut [Way], tables: &Tables) {
    let mut open: ArrayVec<(u8, u32), BURST> = ArrayVec::new();
    let mut last: (u8, Option<&MappingTable>) = (ROUTED, None);
    for (at, way) in ways.iter_mut().enumerate() {
        if way.domain == ROUTED {
            if let Some(packet) = burst.get_mut(usize::from(way.index)) {
                way.action = packet.head_mut::<HEADERS>().map_or(ActionId(0), |head| {
                    let destination = u128::from(be8(head, 38)) << 64 | u128::from(way.low);
                    tables.routes.lookup(destination).unwrap_or_default()
                });
            }
        } else {
            if way.domain != last.0 {
                last =
                    (way.domain, tables.domains.get(usize::from(way.domain)).map(|domain| &*domain.mappings));
            }
            let Some(mappings) = last.1 else { continue };
            match mappings.first(way.probe, way.low) {
                Ok(found) => way.action = found.unwrap_or_default(),
                Err(state) => {
                    let _ = open.try_push((at as u8, state));
                    continue;
                }
            }
        }
        if let Some(action) = tables.action(way.action) {
            prefetch(action);
        }
    }
    for (at, state) in open {
        let Some(way) = ways.get_mut(usize::from(at)) else { continue };
        let Some(domain) = tables.domains.get(usize::from(way.domain)) else { continue };
        way.action = domain.mappings.finish(way.probe, way.low, state).unwrap_or_default();
    }
}

/// Third pass: rewrites one packet and decides on it; `false`, with nothing changed, when something is in its way.
#[inline(always)]
fn finish(burst: &mut [Packet<'_>], way: &Way, ctx: &Ctx<'_>) -> bool {
    let Some(packet) = burst.get_mut(usize::from(way.index)) else { return false };
    let mut action = ctx.tables.action(way.action);
    if let Some(Action::Spread(_)) = action {
        packet.l3 = ethernet::HEADER as u8;
        action = ctx.tables.resolve(way.action, || flow::hash(packet.l3()));
    }
    match action {
        Some(Action::Remote(remote)) if !way.ila => {
            let low = neutral::add_low(way.low, remote.add) | u64::from(remote.mark) << 48;
            send(packet, &remote.hop, Some((remote.locator.0, low)))
        }
        Some(Action::Local(local)) if way.ila => {
            let Some(domain) = ctx.tables.domains.get(usize::from(way.domain)) else { return false };
            send(packet, &local.hop, Some((domain.sir.0, way.low)))
        }
        Some(Action::Local(local)) => send(packet, &local.hop, None),
        Some(Action::Forward(hop)) => send(packet, hop, None),
        Some(Action::Connected(port)) => connected(packet, way, *port, ctx),
        _ => false,
    }
}

#[inline(never)]
fn connected(packet: &mut Packet<'_>, way: &Way, port: PortId, ctx: &Ctx<'_>) -> bool {
    let Some(head) = packet.head_mut::<HEADERS>() else { return false };
    let destination = u128::from(be8(head, 38)) << 64 | u128::from(way.low);
    ctx.tables.neighbours.get(&(port, destination)).is_some_and(|hop| send(packet, hop, None))
}

/// Writes link header, hop limit and, when given, the destination.
#[inline(always)]
fn send(packet: &mut Packet<'_>, hop: &Hop, destination: Option<(u64, u64)>) -> bool {
    if packet.len() > usize::from(hop.direct_bytes) {
        return false;
    }
    let Some(head) = packet.head_mut::<HEADERS>() else { return false };
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[21] = head[21].wrapping_sub(1);
    if let Some((high, low)) = destination {
        head[38..46].copy_from_slice(&high.to_be_bytes());
        head[46..54].copy_from_slice(&low.to_be_bytes());
    }
    packet.l3 = ethernet::HEADER as u8;
    packet.verdict = Verdict::Forward(hop.port);
    true
}

#[inline(always)]
fn be8(head: &Head, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(word)
}

#[inline(always)]
fn be4(head: &Head, at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

#[inline(always)]
fn be2(head: &Head, at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}
