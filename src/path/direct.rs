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
use crate::table::routes::Found;
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
    /// Its place in the burst.
    index: u8,
    domain: DomainId,
}

/// What the lookups of one kind found, in its order.
type Actions = [ActionId; BURST];

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
    let mut actions: Actions = [ActionId(0); BURST];
    let mut decided = Decided::NONE;
    start(burst, &mut kinds, ctx);
    if !kinds.sir.is_empty() {
        look_up(&kinds.sir, &mut actions, ctx.tables);
        finish_all(burst, &kinds.sir, &actions, &mut decided, ctx, finish_sir);
    }
    if !kinds.ila.is_empty() {
        look_up(&kinds.ila, &mut actions, ctx.tables);
        finish_all(burst, &kinds.ila, &actions, &mut decided, ctx, finish_ila);
    }
    if !kinds.routed.is_empty() {
        look_up_routes(burst, &kinds.routed, &mut actions, ctx.tables);
        finish_all(burst, &kinds.routed, &actions, &mut decided, ctx, finish_routed);
    }
    decided
}

/// Third pass: rewrites and decides all packets of one kind.
#[inline(never)]
fn finish_all(
    burst: &mut [Packet<'_>],
    ways: &Ways,
    actions: &Actions,
    decided: &mut Decided,
    ctx: &Ctx<'_>,
    finish: impl Fn(&mut Packet<'_>, &Way, ActionId, &Ctx<'_>) -> Option<PortId>,
) {
    let mut sum = *decided;
    for (way, action) in ways.iter().zip(actions) {
        if let Some(packet) = burst.get_mut(usize::from(way.index)) {
            sum.add(finish(packet, way, *action, ctx));
        }
    }
    *decided = sum;
}

/// First pass: finds the packets for the direct way and starts their lookups.
///
/// Each pass is a function of its own: together they would not fit the registers.
#[inline(never)]
fn start(burst: &mut [Packet<'_>], kinds: &mut Kinds, ctx: &Ctx<'_>) {
    let Some(port_id) = burst.first().map(|packet| packet.port) else { return };
    let Some(port) = ctx.tables.ports.get(usize::from(port_id.0)) else { return };
    if !port.untagged {
        return;
    }
    let mac_word = (port.mac_word << 16).to_be();
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
        let (raw_high, low) = (raw8(head, 38), be8(head, 46));
        if raw_high != last.raw_high {
            last = Destination::of(raw_high, ctx.tables);
        }
        if let Some(mappings) = last.sir {
            // Types 1 to 4 without the C-bit: the upper four bits are 2, 4, 6 or 8.
            if (low >> 60).wrapping_sub(2).rotate_right(1) < 4 {
                last.add(&mut kinds.sir, low, mappings.hint(low), index);
            }
        } else if let Some(mappings) = last.ila {
            if (low >> 61).wrapping_sub(1) < 4 {
                let add = if low & C_BIT != 0 { last.inward_marked } else { last.inward_bare };
                let low = neutral::add_low(low & !C_BIT, add);
                last.add(&mut kinds.ila, low, mappings.hint(low), index);
            }
        } else if last.routed {
            last.add(&mut kinds.routed, low, Probe::default(), index);
        }
    }
}

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac_word: u64, length: usize) -> bool {
    // Ethertype, first half of the IPv6 header; then next header, hop limit and the source's first bytes.
    let (kind, rest) = (be8(head, 12), head[20]);
    // Our MAC address as destination, and no group bit in the source's first byte.
    (raw8(head, 0) ^ mac_word) & !0xfeff_u64.to_be() == 0
        && kind >> 44 == (ethernet::IPV6 as u64) << 4 | 6
        && HEADERS + (kind as u16 as usize) == length
        && (rest == ipv6::next::UDP || rest == ipv6::next::TCP)
        && head[21] > 1
        && (head[22] >> 5 == 0b001 || head[22] >> 1 == 0xfc >> 1)
}

/// What the upper half of a destination means on the direct way; nothing at all: left to the other stages.
struct Destination<'t> {
    /// As it stands in the packet.
    raw_high: u64,
    /// Under a SIR prefix: its mappings.
    sir: Option<&'t MappingTable>,
    /// Under a locator of ours: the domain's mappings.
    ila: Option<&'t MappingTable>,
    /// To be routed.
    routed: bool,
    domain: DomainId,
    /// Added to the low word of an identifier with the C-bit.
    inward_marked: u16,
    /// And of one without.
    inward_bare: u16,
}

impl<'t> Destination<'t> {
    #[inline(never)]
    fn of(raw_high: u64, tables: &'t Tables) -> Self {
        let high = u64::from_be(raw_high);
        let mut of = Destination {
            raw_high,
            sir: None,
            ila: None,
            routed: false,
            domain: DomainId(0),
            inward_marked: 0,
            inward_bare: 0,
        };
        let Some(realm) = tables.realms.of(high) else {
            // Plain destinations only, so that groups and martians meet the stages that know them.
            of.routed = high >> 61 == 0b001 || high >> 57 == 0xfc >> 1;
            return of;
        };
        let domain = |id: DomainId| tables.domains.get(usize::from(id.0));
        if let Some((id, domain)) = realm.sir.and_then(|id| Some((id, domain(id)?))) {
            of.domain = id;
            of.sir = Some(&domain.mappings);
        } else if let Some((id, adjustment, domain)) =
            realm.local.and_then(|(id, a)| Some((id, a, domain(id)?)))
            && domain.checksum != ChecksumMode::AdjTransport
        {
            let auto = domain.checksum == ChecksumMode::NeutralMapAuto;
            of.domain = id;
            of.ila = Some(&domain.mappings);
            of.inward_marked = adjustment.inward(true);
            of.inward_bare = if auto { adjustment.inward(false) } else { 0 };
        }
        of
    }

    #[inline(always)]
    fn add(&self, ways: &mut Ways, low: u64, probe: Probe, index: usize) {
        let _ = ways.try_push(Way { low, probe, index: index as u8, domain: self.domain });
    }
}

/// Second pass: finishes all lookups and asks for the actions found.
#[inline(never)]
fn look_up(ways: &Ways, actions: &mut Actions, tables: &Tables) {
    let mut open: ArrayVec<(u8, u32), BURST> = ArrayVec::new();
    let mut domain = ways.first().map_or(DomainId(0), |way| way.domain);
    let Some(mut mappings) = tables.domains.get(usize::from(domain.0)).map(|domain| &*domain.mappings) else {
        return actions.fill(ActionId(0));
    };
    for (at, (way, action)) in ways.iter().zip(actions.iter_mut()).enumerate() {
        if way.domain != domain {
            domain = way.domain;
            match tables.domains.get(usize::from(domain.0)) {
                Some(next) => mappings = &next.mappings,
                None => continue,
            }
        }
        *action = ActionId(0);
        match mappings.first(way.probe, way.low) {
            Ok(found) => {
                *action = found.unwrap_or_default();
                if let Some(action) = tables.action(*action) {
                    prefetch(action);
                }
            }
            Err(state) => {
                let _ = open.try_push((at as u8, state));
            }
        }
    }
    for (at, state) in &open {
        let at = usize::from(*at) % BURST;
        let Some(way) = ways.get(at) else { continue };
        let Some(domain) = tables.domains.get(usize::from(way.domain.0)) else { continue };
        actions[at] = domain.mappings.finish(way.probe, way.low, *state).unwrap_or_default();
    }
}

/// The same for routes: all searches take their steps side by side.
#[inline(never)]
fn look_up_routes(burst: &mut [Packet<'_>], ways: &Ways, actions: &mut Actions, tables: &Tables) {
    let mut highs: ArrayVec<u64, BURST> = ArrayVec::new();
    for way in ways {
        let packet = burst.get_mut(usize::from(way.index));
        let high = packet.and_then(|packet| packet.head_mut::<HEADERS>()).map_or(0, |head| be8(head, 38));
        let _ = highs.try_push(high);
    }
    let mut found = [Found::default(); BURST];
    tables.routes.find_all(&highs, &mut found);
    for ((way, action), (high, found)) in ways.iter().zip(actions).zip(highs.iter().zip(found)) {
        let destination = u128::from(*high) << 64 | u128::from(way.low);
        *action = tables.routes.action(found, destination).unwrap_or_default();
        if let Some(action) = tables.action(*action) {
            prefetch(action);
        }
    }
}

/// Third pass, towards a locator: `None`, with nothing changed, when something is in the packet's way.
#[inline(always)]
fn finish_sir(packet: &mut Packet<'_>, way: &Way, action: ActionId, ctx: &Ctx<'_>) -> Option<PortId> {
    if let Some(Action::Remote(remote)) = ctx.tables.action(action) {
        return to_locator(packet, way, remote);
    }
    match chosen(packet, action, ctx) {
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
fn finish_ila(packet: &mut Packet<'_>, way: &Way, action: ActionId, ctx: &Ctx<'_>) -> Option<PortId> {
    let Some(Action::Local(local)) = ctx.tables.action(action) else { return None };
    let domain = ctx.tables.domains.get(usize::from(way.domain.0))?;
    send(packet, &local.hop, Some((domain.sir.0, way.low)))
}

/// Third pass, by route.
#[inline(always)]
fn finish_routed(packet: &mut Packet<'_>, way: &Way, action: ActionId, ctx: &Ctx<'_>) -> Option<PortId> {
    match chosen(packet, action, ctx) {
        Some(Action::Forward(hop)) => send(packet, hop, None),
        Some(Action::Connected(port)) => connected(packet, way, *port, ctx),
        _ => None,
    }
}

/// The action, after a weighted choice if there is one.
#[inline(always)]
fn chosen<'t>(packet: &mut Packet<'_>, action: ActionId, ctx: &Ctx<'t>) -> Option<&'t Action> {
    let tables: &'t Tables = ctx.tables;
    packet.l3 = ethernet::HEADER as u8;
    tables.resolve(action, || flow::hash(packet.l3()))
}

#[inline(never)]
fn connected(packet: &mut Packet<'_>, way: &Way, port: PortId, ctx: &Ctx<'_>) -> Option<PortId> {
    let head = packet.head_mut::<HEADERS>()?;
    let destination = u128::from(be8(head, 38)) << 64 | u128::from(way.low);
    ctx.tables.neighbours.get(&(port, destination)).and_then(|hop| send(packet, hop, None))
}

/// Writes link header, hop limit and, when given, the destination.
#[inline(always)]
fn send(packet: &mut Packet<'_>, hop: &Hop, destination: Option<(u64, u64)>) -> Option<PortId> {
    if packet.len() > usize::from(hop.direct_bytes) {
        return None;
    }
    let head = packet.head_mut::<HEADERS>()?;
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

/// Eight bytes as they stand, for comparing.
#[inline(always)]
fn raw8(head: &Head, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[inline(always)]
fn be8(head: &Head, at: usize) -> u64 {
    u64::from_be(raw8(head, at))
}
