//! The direct way: the packets that a router sees most, decided in three tight passes.
//!
//! Untagged TCP or UDP without extension headers or padding, from a plain address, towards a SIR prefix, a locator of
//! ours or a route, with nothing in its way. Everything else is left undecided and untouched for the stages that tell
//! every case apart; they would decide these packets alike, and a law test holds the two together.
//!
//! [`Direct::start`] checks the headers of each frame as it comes in and asks for the first line that its lookup reads;
//! [`Direct::decide`] finishes all lookups and asks for their actions, then rewrites. So the waits for memory of a burst
//! overlap, and little is in the way of the processor running several packets side by side.

mod tenants;

use super::flow;
use super::lane::BURST;
use crate::ila::identifier::{C_BIT, MAX_VNID};
use crate::ila::{Adjustment, ChecksumMode, neutral};
use crate::net::{checksum, ethernet, ipv6};
use crate::table::mapping::{Elsewhere, Key, MappingTable, Probe};
use crate::table::network::Outline;
use crate::table::routes::Found;
use crate::table::seats::Seats;
use crate::table::{Action, DomainId, Hop, PortId, Remote, Role, Tables};
use arrayvec::ArrayVec;

pub use tenants::FRONT;

/// Ethernet and IPv6 header.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;
/// The same and both ports, for the flow hash.
type Head = [u8; HEADERS + 4];

/// A packet to an identifier.
struct Mapped<'t, 'b> {
    head: &'b mut Head,
    key: Key,
    probe: Probe<'t>,
    /// Of the frame, in bytes.
    length: u16,
    /// Its place in the burst.
    index: u8,
    side: Side,
}

/// A packet whose identifier is looked up.
trait Sought<'t> {
    fn key(&self) -> Key;
    fn probe(&self) -> Probe<'t>;
    /// Index of its domain.
    fn domain(&self) -> usize;
}

impl<'t> Sought<'t> for Mapped<'t, '_> {
    #[inline(always)]
    fn key(&self) -> Key {
        self.key
    }

    #[inline(always)]
    fn probe(&self) -> Probe<'t> {
        self.probe
    }

    #[inline(always)]
    fn domain(&self) -> usize {
        self.side.domain()
    }
}

/// A packet to a plain address.
struct Plain<'b> {
    head: &'b mut Head,
    high: u64,
    low: u64,
    length: u16,
    index: u8,
}

impl Plain<'_> {
    fn destination(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// From which side an identifier is met: under the SIR prefix of a domain, or under a locator of ours in it. One word,
/// so that it is copied as one.
#[derive(Clone, Copy)]
struct Side(u16);

impl Side {
    const INWARD: u16 = 0x100;

    const fn new(domain: DomainId, inward: bool) -> Self {
        Side(domain.0 as u16 | if inward { Self::INWARD } else { 0 })
    }

    #[inline(always)]
    const fn domain(self) -> usize {
        self.0 as u8 as usize
    }

    #[inline(always)]
    const fn inward(self) -> bool {
        self.0 & Self::INWARD != 0
    }
}

/// What the lookups found, in the order of their ways.
type Actions<'t> = [Option<&'t Action>; BURST];

/// What the direct way made of a burst.
pub struct Decided {
    ports: [PortId; BURST],
    /// How far the frames' starts move; 0 where there are no tenants.
    moves: [i8; BURST],
    moved: bool,
    tally: ArrayVec<Tally, BURST>,
}

/// What a tenant's packet counts for its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// As [`crate::table::Network::slot`].
    pub slot: u16,
    /// Bytes of the frame as a tenant sent it; 0 if none here did.
    pub sent: u16,
    /// Bytes of the frame as a tenant here gets it; 0 if none does.
    pub delivered: u16,
}

/// Stands for the port of a packet that is left to the stages.
const LEFT: PortId = PortId(u16::MAX);

impl Decided {
    /// Nothing decided.
    pub const NOTHING: Decided =
        Decided { ports: [LEFT; BURST], moves: [0; BURST], moved: false, tally: ArrayVec::new_const() };

    /// The port that all packets of a burst of so many are to be sent through, their starts moved by [`Self::moves`].
    #[inline]
    #[must_use]
    pub fn alike(&self, packets: usize) -> Option<PortId> {
        let ports = self.ports.get(..packets)?;
        let first = *ports.first()?;
        // No early end: these are a few instructions on whole vectors.
        let differing = ports.iter().fold(0, |all, port| all | (port.0 ^ first.0));
        (differing == 0 && first != LEFT).then_some(first)
    }

    /// Of each tenant's packet that was decided.
    #[inline]
    #[must_use]
    pub fn tally(&self) -> &[Tally] {
        &self.tally
    }

    /// How far the starts of the frames move, by their places in the burst; nothing where none does.
    #[inline]
    #[must_use]
    pub fn moves(&self) -> &[i8] {
        if self.moved { &self.moves } else { &[] }
    }

    /// The port that the packet at `index` is to be sent through, if it was decided, and how far its start moved.
    #[inline]
    pub(super) fn port(&self, index: usize) -> Option<(PortId, i8)> {
        let port = self.ports.get(index).copied().filter(|port| *port != LEFT)?;
        Some((port, if self.moved { self.moves.get(index).copied().unwrap_or(0) } else { 0 }))
    }
}

/// The direct way of one burst, all of it received on one port.
pub struct Direct<'t, 'b> {
    tables: &'t Tables,
    /// Who may speak on the port, if it is one of tenants.
    seats: Option<&'t Seats>,
    /// The port's MAC address, its first byte lowest.
    mac: u64,
    last: Destination<'t>,
    /// Frames seen.
    seen: usize,
    mapped: ArrayVec<Mapped<'t, 'b>, BURST>,
    routed: ArrayVec<Plain<'b>, BURST>,
    tenants: ArrayVec<tenants::Way<'t, 'b>, BURST>,
    /// Whether it is one of tasks beside tenants, whom they must not speak for.
    beside: bool,
    /// The network of the last packet to a tenant.
    network: Option<(DomainId, u32, &'t Outline)>,
}

/// What the upper half of a destination means on the direct way.
struct Destination<'t> {
    /// As it stands in a frame.
    raw_high: u64,
    /// The mappings under SIR prefixes and locators of ours.
    mappings: Option<&'t MappingTable>,
    /// Otherwise: whether it is to be routed. If not, it is left to the stages.
    routed: bool,
    side: Side,
    /// Under a locator, added to the low word of an identifier with the C-bit.
    marked: u16,
    /// And of one without.
    bare: u16,
    /// What both are made of.
    adjustment: Adjustment,
    mode: ChecksumMode,
}

impl<'t, 'b> Direct<'t, 'b> {
    /// The direct way for a burst received on `port`; `None` where there is none, because all its frames are tagged.
    #[inline]
    #[must_use]
    pub fn new(port: PortId, tables: &'t Tables) -> Option<Self> {
        let shape = tables.ports.get(usize::from(port.0))?;
        let seats = if shape.tenants { tables.networks.seats(port) } else { None };
        if shape.tenants != seats.is_some() || !shape.tenants && !shape.untagged {
            return None;
        }
        Some(Direct {
            tables,
            seats,
            mac: (shape.mac_word << 16).swap_bytes(),
            last: Destination::NONE,
            seen: 0,
            mapped: ArrayVec::new(),
            routed: ArrayVec::new(),
            tenants: ArrayVec::new(),
            beside: shape.role != Role::Fabric && !tables.networks.is_empty(),
            network: None,
        })
    }

    /// Whether the burst comes from tenants: [`Self::start_behind`] takes its frames.
    #[inline]
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.seats.is_some()
    }

    /// First pass over a tenant's frame: the next one of the burst, behind [`FRONT`] bytes that it may grow into. What
    /// is shorter than that is left to the stages. At most [`BURST`] times.
    #[inline(always)]
    pub fn start_behind(&mut self, room: &'b mut [u8]) {
        debug_assert!(self.seen < BURST);
        let index = self.seen as u8;
        self.seen += 1;
        if let Some(seats) = self.seats
            && let Some(way) = tenants::outward(room, index, seats, self.tables)
        {
            let _ = self.tenants.try_push(way);
        }
    }

    /// First pass: takes the next frame of the burst, from its Ethernet header on, and starts its lookup if it may go
    /// this way. At most [`BURST`] times.
    #[inline(always)]
    pub fn start(&mut self, frame: &'b mut [u8]) {
        debug_assert!(self.seen < BURST);
        let index = self.seen as u8;
        self.seen += 1;
        let length = frame.len() as u16;
        let Some(head) = frame.first_chunk::<{ HEADERS + 4 }>() else { return };
        if !usual(head, self.mac, length) {
            return;
        }
        if self.beside && self.tables.is_tenants(u128::from(be8(head, 22)) << 64 | u128::from(be8(head, 30)))
        {
            return;
        }
        let (raw_high, wire) = (le8(head, 38), be8(head, 46));
        if raw_high != self.last.raw_high {
            self.last = Destination::of(raw_high, self.tables);
        }
        let Some(mappings) = self.last.mappings else {
            if self.last.routed
                && let Some(head) = frame.first_chunk_mut()
            {
                let high = raw_high.swap_bytes();
                let _ = self.routed.try_push(Plain { head, high, low: wire, length, index });
            }
            return;
        };
        let side = self.last.side;
        // A SIR address with the C-bit set has no such key: the stages say what is wrong with it.
        let identifier = if side.inward() { self.last.identifier(wire) } else { wire };
        let Some(key) = Key::of_task(identifier) else {
            if side.inward() {
                self.start_inward(frame, index, mappings);
            }
            return;
        };
        if let Some(head) = frame.first_chunk_mut() {
            let probe = mappings.probe(key);
            let _ = self.mapped.try_push(Mapped { head, key, probe, length, index, side });
        }
    }

    /// The same for an identifier under a locator of ours that is no task's.
    #[inline(never)]
    fn start_inward(&mut self, frame: &'b mut [u8], index: u8, mappings: &'t MappingTable) {
        let domain = DomainId(self.last.side.domain() as u8);
        let Destination { adjustment, mode, .. } = self.last;
        let Some(vnid) = frame.get(46..).and_then(|wire| wire.first_chunk().copied()).map(u32::from_be_bytes)
        else {
            return;
        };
        let network = match self.network {
            Some((of, number, network)) if (of, number) == (domain, vnid & MAX_VNID) => network,
            _ => {
                let networks = &self.tables.networks;
                let id = networks.of_vnid(domain, vnid & MAX_VNID);
                let Some(network) = id.and_then(|id| networks.outline(id)) else { return };
                self.network = Some((domain, vnid & MAX_VNID, network));
                network
            }
        };
        let under = tenants::Under { network, adjustment, mode, mappings };
        if let Some(way) = tenants::inward(frame, index, &under) {
            let _ = self.tenants.try_push(way);
        }
    }

    /// Second and third pass: decides what it can of the frames that were started, and rewrites those.
    #[inline]
    pub fn decide(&mut self, decided: &mut Decided) {
        *decided = Decided::NOTHING;
        let tables = self.tables;
        if !self.mapped.is_empty() {
            let actions = look_up(&self.mapped, tables);
            for (way, action) in self.mapped.iter_mut().zip(&actions) {
                if let Some(port) = action.and_then(|action| translate(way, action, tables)) {
                    decided.ports[usize::from(way.index) % BURST] = port;
                }
            }
        }
        if !self.tenants.is_empty() {
            let actions = look_up(&self.tenants, tables);
            for (way, action) in self.tenants.iter_mut().zip(&actions) {
                if let Some(sent) = action.and_then(|action| tenants::rewrite(way, action, tables)) {
                    let index = usize::from(way.index) % BURST;
                    (decided.ports[index], decided.moves[index]) = (sent.port, sent.moves);
                    decided.moved |= sent.moves != 0;
                    let _ = decided.tally.try_push(way.tally(&sent));
                }
            }
        }
        if !self.routed.is_empty() {
            let actions = look_up_routes(&self.routed, tables);
            for (way, action) in self.routed.iter_mut().zip(&actions) {
                if let Some(port) = action.and_then(|action| along(way, action, tables)) {
                    decided.ports[usize::from(way.index) % BURST] = port;
                }
            }
        }
    }
}

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac: u64, length: u16) -> bool {
    // Ethertype, version, traffic class, flow label, payload length: the last is what the frame has behind the headers,
    // all of it.
    let kind = be8(head, 12).wrapping_sub(u64::from(length - HEADERS as u16));
    // Our MAC address as destination, and no group bit in the source's first byte.
    (le8(head, 0) ^ mac) << (64 - 49) == 0
        && kind & 0xffff_f000_0000_ffff == (ethernet::IPV6 as u64) << 48 | 6 << 44
        && USUAL[usize::from(head[20])] & USUAL[256 + usize::from(head[22])] != 0
        && head[21] > 1
}

/// 1 for the next headers of the direct way; then 1 for the first bytes of plain sources: global and unique local ones.
const USUAL: [u8; 512] = {
    let mut table = [0; 512];
    table[ipv6::next::TCP as usize] = 1;
    table[ipv6::next::UDP as usize] = 1;
    let mut byte = 0;
    while byte < 256 {
        table[256 + byte] = plain((byte as u64) << 56) as u8;
        byte += 1;
    }
    table
};

/// Whether an address with this upper half is global or unique local unicast: groups and martians must meet the stages
/// that know them.
#[inline(always)]
const fn plain(high: u64) -> bool {
    high >> 61 == 0b001 || high >> 57 == 0xfc >> 1
}

impl<'t> Destination<'t> {
    const NONE: Destination<'static> = Destination {
        raw_high: 0,
        mappings: None,
        routed: false,
        side: Side(0),
        marked: 0,
        bare: 0,
        adjustment: Adjustment(0),
        mode: ChecksumMode::NeutralMap,
    };

    #[inline(never)]
    fn of(raw_high: u64, tables: &'t Tables) -> Self {
        let mut of = Destination { raw_high, ..Destination::NONE };
        let high = raw_high.swap_bytes();
        let Some(realm) = tables.realms.of(high) else {
            of.routed = plain(high);
            return of;
        };
        let domain = |id: DomainId| Some((id, tables.domains.get(usize::from(id.0))?));
        if let Some((id, domain)) = realm.sir.and_then(domain) {
            (of.side, of.mappings) = (Side::new(id, false), Some(&*domain.mappings));
        } else if let Some((id, adjustment)) = realm.local
            && let Some((id, domain)) = domain(id)
            && domain.checksum != ChecksumMode::AdjTransport
        {
            let auto = domain.checksum == ChecksumMode::NeutralMapAuto;
            (of.side, of.mappings) = (Side::new(id, true), Some(&*domain.mappings));
            (of.adjustment, of.mode) = (adjustment, domain.checksum);
            of.marked = adjustment.inward(true);
            of.bare = if auto { adjustment.inward(false) } else { 0 };
        }
        of
    }

    /// The identifier behind one under a locator of ours.
    #[inline(always)]
    fn identifier(&self, wire: u64) -> u64 {
        let add = if wire & C_BIT != 0 { self.marked } else { self.bare };
        neutral::add_low(wire & !C_BIT, add)
    }
}

/// Second pass: finishes all lookups and asks for the actions found.
#[inline(never)]
fn look_up<'t, W: Sought<'t>>(ways: &[W], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    let mut open: ArrayVec<(u8, Elsewhere), BURST> = ArrayVec::new();
    for (at, (way, action)) in ways.iter().zip(&mut actions).enumerate() {
        let (found, elsewhere) = way.probe().first(way.key());
        *action = tables.ask(found);
        if let Some(elsewhere) = elsewhere {
            if let Some(domain) = tables.domains.get(way.domain()) {
                domain.mappings.ask_second(way.key());
            }
            let _ = open.try_push((at as u8, elsewhere));
        }
    }
    for (at, elsewhere) in &open {
        let at = usize::from(*at) % BURST;
        if let Some(way) = ways.get(at)
            && let Some(domain) = tables.domains.get(way.domain())
        {
            actions[at] = tables.ask(domain.mappings.finish(way.key(), *elsewhere));
        }
    }
    actions
}

/// The same for routes: all searches take their steps side by side.
#[inline(never)]
fn look_up_routes<'t>(ways: &[Plain<'_>], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    let highs: ArrayVec<u64, BURST> = ways.iter().map(|way| way.high).collect();
    let mut found = [Found::default(); BURST];
    tables.routes.find_all(&highs, &mut found);
    for ((way, action), found) in ways.iter().zip(&mut actions).zip(found) {
        *action = tables.ask(tables.routes.action(found, way.destination()).unwrap_or_default());
    }
    actions
}

/// Third pass, by mapping: `None`, with nothing changed, when something is in the packet's way.
#[inline(always)]
fn translate(way: &mut Mapped<'_, '_>, action: &Action, tables: &Tables) -> Option<PortId> {
    if let Action::Remote(remote) = action
        && !way.side.inward()
    {
        return to_locator(way, remote);
    }
    match action {
        Action::Local(local) => to_task(way, &local.hop, tables),
        Action::Spread(_) if !way.side.inward() => spread(way, action, tables),
        _ => None,
    }
}

/// One of several locators.
#[inline(never)]
fn spread(way: &mut Mapped<'_, '_>, action: &Action, tables: &Tables) -> Option<PortId> {
    match chosen(way.head, action, tables)? {
        Action::Remote(remote) => to_locator(way, remote),
        Action::Local(local) => to_task(way, &local.hop, tables),
        _ => None,
    }
}

/// From a SIR address to an ILA address.
#[inline(always)]
fn to_locator(way: &mut Mapped<'_, '_>, remote: &Remote) -> Option<PortId> {
    let port = send(way.head, way.length, &remote.hop)?;
    let head = &mut *way.head;
    head[38..46].copy_from_slice(&remote.locator_bytes);
    // Neutral mapping as the frame has it: one's complement sums are the same in either byte order (RFC 1071 §2 (B)).
    let low = checksum::add(u16::from_ne_bytes([head[52], head[53]]), u16::from_ne_bytes(remote.add_bytes));
    head[52..54].copy_from_slice(&low.to_ne_bytes());
    head[46] |= (remote.mark >> 8) as u8;
    Some(port)
}

/// To a local attachment, by its SIR address.
#[inline(always)]
fn to_task(way: &mut Mapped<'_, '_>, hop: &Hop, tables: &Tables) -> Option<PortId> {
    let sir = if way.side.inward() { Some(tables.domains.get(way.side.domain())?.sir) } else { None };
    let port = send(way.head, way.length, hop)?;
    if let Some(sir) = sir {
        way.head[38..46].copy_from_slice(&sir.0.to_be_bytes());
        way.head[46..54].copy_from_slice(&way.key.identifier().to_be_bytes());
    }
    Some(port)
}

/// Third pass, by route.
#[inline(always)]
fn along(way: &mut Plain<'_>, action: &Action, tables: &Tables) -> Option<PortId> {
    match chosen(way.head, action, tables)? {
        Action::Forward(hop) => send(way.head, way.length, hop),
        Action::Connected(port) => {
            send(way.head, way.length, tables.neighbours.get(&(*port, way.destination()))?)
        }
        _ => None,
    }
}

/// The action, after a weighted choice if there is one.
#[inline(always)]
fn chosen<'t>(head: &Head, action: &'t Action, tables: &'t Tables) -> Option<&'t Action> {
    tables.choose(action, || flow::hash(head.get(ethernet::HEADER..).unwrap_or_default()))
}

/// Writes link header and hop limit.
#[inline(always)]
fn send(head: &mut Head, length: u16, hop: &Hop) -> Option<PortId> {
    if length > hop.direct_bytes {
        return None;
    }
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[21] = head[21].wrapping_sub(1);
    Some(hop.port)
}

/// Eight bytes, the first one lowest.
#[inline(always)]
fn le8(head: &Head, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Eight bytes, the first one highest.
#[inline(always)]
fn be8(head: &Head, at: usize) -> u64 {
    le8(head, at).swap_bytes()
}

/// Four bytes of a frame, the first one highest.
#[inline(always)]
pub(super) fn be4<const N: usize>(frame: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&frame[at..at + 4]);
    u32::from_be_bytes(word)
}
