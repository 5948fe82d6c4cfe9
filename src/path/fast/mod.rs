//! The direct way: the packets that a router sees most, decided in three tight passes.
//!
//! Untagged TCP or UDP without extension headers or padding, from a plain address, towards a SIR prefix, a locator of
//! ours or a route, with nothing in its way. Everything else is left undecided and untouched for the stages that tell
//! every case apart; they would decide these packets alike, and a law test holds the two together.
//!
//! [`FastPath::decide`] checks the headers of each frame and asks for the first line that its lookup reads; then it finishes
//! all lookups and asks for their actions; then it rewrites. So the waits for memory of a burst overlap, and little is in
//! the way of the processor running several packets side by side. At 1 k mappings the instructions count: each loop
//! holds what it needs in registers, and has one array for each kind of destination.

mod tenants;

use super::flow;
use super::meta::BURST;
use crate::ila::identifier::{C_BIT, TASK};
use crate::ila::{Adjustment, ChecksumMode, neutral};
use crate::net::{checksum, ethernet, ipv6};
use crate::table::bindings::SourceBindings;
use crate::table::mapping::{Elsewhere, Home, Key, MappingTable, Probe};
use crate::table::routes::Found;
use crate::table::{Action, ActionId, Domain, DomainId, Hop, PortId, Remote, Role, Tables};
use arrayvec::ArrayVec;

pub use tenants::FRONT;

/// Ethernet and IPv6 header.
const HEADERS: usize = ethernet::HEADER + ipv6::HEADER;
/// The same and both ports, for the flow hash.
type Head = [u8; HEADERS + 4];

/// A packet to an identifier.
struct Mapped<'t, 'b> {
    head: &'b mut Head,
    probe: Probe<'t>,
    key: Key,
    /// Of the frame, in bytes.
    length: u16,
    domain: DomainId,
    /// Its place in the burst.
    index: u8,
}

/// A packet whose identifier is looked up.
trait Sought<'t> {
    fn key(&self) -> Key;
    fn probe(&self) -> Probe<'t>;
    fn domain(&self) -> DomainId;
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
    fn domain(&self) -> DomainId {
        self.domain
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

/// Packets of one kind, at most a burst of them.
type Jobs<W> = ArrayVec<W, BURST>;

/// What the lookups found, in the order of their ways.
type Actions<'t> = [Option<&'t Action>; BURST];

/// What the direct way made of a burst.
pub struct Decided {
    ports: [PortId; BURST],
    /// How far the frames' starts move, if any does.
    moves: [i8; BURST],
    moved: bool,
    tally: ArrayVec<Tally, BURST>,
}

/// What tenants' packets of one network, one after the other in a burst, count for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// As [`crate::table::Network::slot`].
    pub slot: u16,
    /// Packets that tenants here sent, and the bytes of their frames as they sent them.
    pub sent: u16,
    /// Packets that tenants here get, and the bytes of their frames as they get them.
    pub delivered: u16,
    /// See `sent`.
    pub sent_bytes: u32,
    /// See `delivered`.
    pub delivered_bytes: u32,
}

/// Stands for the port of a packet that is left to the stages.
const LEFT: PortId = PortId(u16::MAX);

impl Decided {
    /// Nothing decided.
    pub const NOTHING: Decided =
        Decided { ports: [LEFT; BURST], moves: [0; BURST], moved: false, tally: ArrayVec::new_const() };

    /// Makes it nothing again.
    #[inline]
    fn forget(&mut self) {
        self.ports = [LEFT; BURST];
        (self.moves, self.moved) = ([0; BURST], false);
        self.tally.clear();
    }

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

    /// Of the tenants' packets that were decided.
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
pub struct FastPath<'t> {
    tables: &'t Tables,
    /// Who may speak on the port, if it is one of tenants.
    bindings: Option<&'t SourceBindings>,
    /// The port's MAC address, its first byte lowest.
    mac: u64,
    /// Whether it is one of tasks beside tenants, whom they must not speak for.
    beside: bool,
}

impl<'t> FastPath<'t> {
    /// The direct way for a burst received on `port`; `None` where there is none, because all its frames are tagged.
    #[inline]
    #[must_use]
    pub fn new(port: PortId, tables: &'t Tables) -> Option<Self> {
        let shape = tables.ports.get(usize::from(port.0))?;
        let bindings = if shape.tenants { tables.networks.bindings(port) } else { None };
        if shape.tenants != bindings.is_some() || !shape.tenants && !shape.untagged {
            return None;
        }
        Some(FastPath {
            tables,
            bindings,
            mac: (shape.mac_word << 16).swap_bytes(),
            beside: shape.role != Role::Fabric && !tables.networks.is_empty(),
        })
    }

    /// Whether the burst comes from tenants: [`Self::decide_tenants`] takes its frames.
    #[inline]
    #[must_use]
    pub fn checks_sources(&self) -> bool {
        self.bindings.is_some()
    }

    /// Decides what it can of tenants' frames, the first [`BURST`] of them, each behind [`FRONT`] bytes that it may grow
    /// into, and rewrites those. What is shorter than that is left to the stages.
    #[inline(never)]
    pub fn decide_tenants<'b>(&self, rooms: impl Iterator<Item = &'b mut [u8]>, decided: &mut Decided) {
        decided.forget();
        let Some(bindings) = self.bindings else { return };
        let mut jobs = Jobs::new();
        for (room, index) in rooms.zip(0..BURST as u8) {
            tenants::outward(room, index, bindings, self.tables, &mut jobs);
        }
        tenants::finish(&mut jobs, self.tables, decided);
    }

    /// Decides what it can of other frames, the first [`BURST`] of them, each from its Ethernet header on, and rewrites
    /// those.
    #[inline]
    pub fn decide<'b>(&self, frames: impl Iterator<Item = &'b mut [u8]>, decided: &mut Decided) {
        let mut origin = Origin::NONE;
        if self.beside {
            self.decide_those(frames, |head| !origin.is_tenants(head, self.tables), decided);
        } else {
            self.decide_those(frames, |_| true, decided);
        }
    }

    /// The same of those frames that `may` speak.
    #[inline(never)]
    fn decide_those<'b>(
        &self,
        frames: impl Iterator<Item = &'b mut [u8]>,
        may: impl FnMut(&Head) -> bool,
        decided: &mut Decided,
    ) {
        decided.forget();
        let tables = self.tables;
        let (mut outward, mut inward) = (Jobs::<Mapped<'_, '_>>::new(), Jobs::<Mapped<'_, '_>>::new());
        let (mut routed, mut delivered) = (Jobs::<Plain<'_>>::new(), Jobs::new());
        let mut network = None;
        let mut runs = Runs { frames: frames.zip(0..BURST as u8), may, mac: self.mac, next: None };
        while let Some(raw_high) = runs.destination() {
            match Meaning::of(raw_high.swap_bytes(), tables) {
                Some(Meaning::Sir(domain, mappings)) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let head: &mut Head = frame.first_chunk_mut()?;
                    // One with the C-bit has no such key: the stages say what is wrong with it.
                    let key = Key::of_task(be8(head, 46))?;
                    outward
                        .try_push(Mapped { head, probe: mappings.probe(key), key, length, domain, index })
                        .ok()
                }),
                Some(Meaning::Ours(under)) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let wire = be8(frame.first_chunk::<HEADERS>()?, 46);
                    let Some(key) = Key::of_task(under.identifier(wire)) else {
                        return tenants::inward(frame, index, &under, &mut network, tables, &mut delivered);
                    };
                    let (probe, domain) = (under.mappings.probe(key), under.domain);
                    let head = frame.first_chunk_mut()?;
                    inward.try_push(Mapped { head, probe, key, length, domain, index }).ok()
                }),
                Some(Meaning::Routed) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let head: &mut Head = frame.first_chunk_mut()?;
                    let (high, low) = (raw_high.swap_bytes(), be8(head, 46));
                    routed.try_push(Plain { head, high, low, length, index }).ok()
                }),
                None => runs.each(raw_high, |_, _| None),
            }
        }
        finish(
            &mut outward,
            decided,
            |jobs| look_up(jobs, tables),
            |job, action| match action {
                Action::Remote(remote) => to_locator(job, remote),
                Action::Local(local) => send(job.head, job.length, &local.hop),
                Action::NexthopGroup(_) => nexthop_group(job, action, tables),
                _ => None,
            },
        );
        finish(
            &mut inward,
            decided,
            |jobs| look_up(jobs, tables),
            |job, action| match action {
                Action::Local(local) => to_task(job, &local.hop, tables),
                _ => None,
            },
        );
        finish(
            &mut routed,
            decided,
            |jobs| look_up_routes(jobs, tables),
            |job, action| along(job, action, tables),
        );
        tenants::finish(&mut delivered, tables, decided);
    }
}

/// The usual frames of a burst, cut into runs of those to one upper half: a run is a loop so small that all it needs
/// stays in registers.
struct Runs<'b, F, M> {
    frames: F,
    may: M,
    /// As in [`FastPath`].
    mac: u64,
    /// The frame that the next run begins with, and its place.
    next: Option<(&'b mut [u8], u8)>,
}

impl<'b, F: Iterator<Item = (&'b mut [u8], u8)>, M: FnMut(&Head) -> bool> Runs<'b, F, M> {
    /// The upper half where the next run goes, as it stands in its frames.
    #[inline]
    fn destination(&mut self) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.frames.find(|(frame, _)| is_usual(frame, self.mac, &mut self.may));
        }
        self.next.as_ref().and_then(|(frame, _)| to(frame))
    }

    /// Gives the frames of the run to this upper half to `take`.
    #[inline(always)]
    fn each(&mut self, raw_high: u64, mut take: impl FnMut(&'b mut [u8], u8) -> Option<()>) {
        if let Some((frame, index)) = self.next.take() {
            let _ = take(frame, index);
        }
        for (frame, index) in &mut self.frames {
            if !is_usual(frame, self.mac, &mut self.may) {
                continue;
            }
            if to(frame) != Some(raw_high) {
                self.next = Some((frame, index));
                break;
            }
            let _ = take(frame, index);
        }
    }
}

/// Whether a frame has usual headers, from somebody who `may` speak.
#[inline(always)]
fn is_usual(frame: &[u8], mac: u64, may: &mut impl FnMut(&Head) -> bool) -> bool {
    frame.first_chunk().is_some_and(|head| usual(head, mac, frame.len()) && may(head))
}

/// The upper half of the destination, as it stands in a frame.
#[inline(always)]
fn to(frame: &[u8]) -> Option<u64> {
    frame.first_chunk::<HEADERS>().map(|head| le8(head, 38))
}

/// What the upper half of a source says of tenants, on ports of tasks beside them.
struct Origin {
    /// As it stands in a frame.
    raw_high: u64,
    /// A bit for each value of an identifier's upper four bits with which it is no tenant's.
    others: u16,
}

impl Origin {
    const NONE: Origin = Origin { raw_high: 0, others: 0 };

    /// Whether a frame claims to come from a tenant.
    #[inline(always)]
    fn is_tenants(&mut self, head: &Head, tables: &Tables) -> bool {
        let (raw_high, low) = (le8(head, 22), be8(head, 30));
        if raw_high != self.raw_high {
            *self = Self::of(raw_high, tables);
        }
        self.others >> (low >> 60) & 1 == 0
            && tables.is_tenants(u128::from(raw_high.swap_bytes()) << 64 | u128::from(low))
    }

    #[inline(never)]
    fn of(raw_high: u64, tables: &Tables) -> Self {
        let others = match tables.prefixes.of(raw_high.swap_bytes()) {
            Some(prefix_info) if prefix_info.tenants => 0,
            Some(prefix_info) if prefix_info.sir.is_some() => 1 << TASK,
            _ => u16::MAX,
        };
        Origin { raw_high, others }
    }
}

/// A packet with a place in its burst.
trait Placed {
    fn index(&self) -> u8;
}

impl Placed for Mapped<'_, '_> {
    #[inline(always)]
    fn index(&self) -> u8 {
        self.index
    }
}

impl Placed for Plain<'_> {
    #[inline(always)]
    fn index(&self) -> u8 {
        self.index
    }
}

/// Second and third pass over packets of one kind.
#[inline(always)]
fn finish<'t, W: Placed>(
    jobs: &mut Jobs<W>,
    decided: &mut Decided,
    look_up: impl FnOnce(&[W]) -> Actions<'t>,
    rewrite: impl Fn(&mut W, &'t Action) -> Option<PortId>,
) {
    if jobs.is_empty() {
        return;
    }
    let actions = look_up(jobs);
    for (job, action) in jobs.iter_mut().zip(&actions) {
        if let Some(port) = action.and_then(|action| rewrite(job, action)) {
            decided.ports[usize::from(job.index()) % BURST] = port;
        }
    }
}

/// Whether the headers are those of the direct way.
#[inline(always)]
fn usual(head: &Head, mac: u64, length: usize) -> bool {
    /// Ethertype, version, traffic class, flow label, payload length: those that count, and what they must be. The
    /// length is what the frame has behind the headers, all of it.
    const COUNTS: u64 = 0xffff_f000_0000_ffff;
    const USUAL_KIND: u64 = (ethernet::IPV6 as u64) << 48 | 6 << 44;
    // Our MAC address as destination, and no group bit in the source's first byte.
    (le8(head, 0) ^ mac) << (64 - 49) == 0
        && be8(head, 12).wrapping_sub(USUAL_KIND.wrapping_add((length - HEADERS) as u64)) & COUNTS == 0
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

/// What the upper half of a destination means on the direct way; none where it is left to the stages.
enum Meaning<'t> {
    /// A SIR prefix.
    Sir(DomainId, &'t MappingTable),
    /// A locator of ours.
    Ours(Under<'t>),
    /// To be routed.
    Routed,
}

/// A locator of ours.
struct Under<'t> {
    domain: DomainId,
    mappings: &'t MappingTable,
    mode: ChecksumMode,
    adjustment: Adjustment,
    /// What takes the adjustment back, by an identifier's C-bit.
    back: [u16; 2],
}

impl Under<'_> {
    /// The identifier behind one under the locator.
    #[inline(always)]
    fn identifier(&self, wire: u64) -> u64 {
        neutral::add_low(wire & !C_BIT, self.back[usize::from(wire & C_BIT != 0)])
    }
}

impl<'t> Meaning<'t> {
    #[inline(never)]
    fn of(high: u64, tables: &'t Tables) -> Option<Self> {
        let Some(prefix_info) = tables.prefixes.of(high) else {
            return plain(high).then_some(Meaning::Routed);
        };
        let domain = |id: DomainId| tables.domains.get(usize::from(id.0));
        if let Some(id) = prefix_info.sir {
            return Some(Meaning::Sir(id, &domain(id)?.mappings));
        }
        let (id, adjustment) = prefix_info.local?;
        let Domain { mappings, checksum: mode, .. } = domain(id)?;
        if *mode == ChecksumMode::AdjTransport {
            return None;
        }
        let bare = if *mode == ChecksumMode::NeutralMapAuto { adjustment.inward(false) } else { 0 };
        let back = [bare, adjustment.inward(true)];
        Some(Meaning::Ours(Under { domain: id, mappings, mode: *mode, adjustment, back }))
    }
}

/// Second pass: finishes all lookups and asks for the actions found.
#[inline(never)]
fn look_up<'t, W: Sought<'t>>(jobs: &[W], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    let mut open: ArrayVec<(u8, Elsewhere), BURST> = ArrayVec::new();
    for (at, (job, action)) in jobs.iter().zip(&mut actions).enumerate() {
        let (found, state) = job.probe().first(job.key());
        *action = tables.ask(found);
        if found == ActionId::default() {
            probe_secondary(job, at, state, tables, &mut open);
        }
    }
    for (at, elsewhere) in &open {
        let at = usize::from(*at) % BURST;
        if let Some(job) = jobs.get(at)
            && let Some(domain) = tables.domains.get(usize::from(job.domain().0))
        {
            actions[at] = tables.ask(domain.mappings.finish(job.key(), *elsewhere));
        }
    }
    actions
}

/// Asks for the second bucket of an identifier that was not found at home, if it may be there. Out of the way of most.
#[inline(never)]
fn probe_secondary<'t, W: Sought<'t>>(
    job: &W,
    at: usize,
    home: Home,
    tables: &'t Tables,
    open: &mut ArrayVec<(u8, Elsewhere), BURST>,
) {
    if let Some(elsewhere) = home.elsewhere(ActionId::default()) {
        if let Some(domain) = tables.domains.get(usize::from(job.domain().0)) {
            domain.mappings.prefetch_secondary(job.key());
        }
        let _ = open.try_push((at as u8, elsewhere));
    }
}

/// The same for routes: all searches take their steps side by side.
#[inline(never)]
fn look_up_routes<'t>(jobs: &[Plain<'_>], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    let highs: ArrayVec<u64, BURST> = jobs.iter().map(|job| job.high).collect();
    let mut found = [Found::default(); BURST];
    tables.routes.find_all(&highs, &mut found);
    for ((job, action), found) in jobs.iter().zip(&mut actions).zip(found) {
        *action = tables.ask(tables.routes.action(found, job.destination()).unwrap_or_default());
    }
    actions
}

/// Third pass: one of several locators. As all of them: `None`, with nothing changed, when something is in the packet's
/// way.
#[cold]
#[inline(never)]
fn nexthop_group(job: &mut Mapped<'_, '_>, action: &Action, tables: &Tables) -> Option<PortId> {
    match chosen(job.head, action, tables)? {
        Action::Remote(remote) => to_locator(job, remote),
        Action::Local(local) => send(job.head, job.length, &local.hop),
        _ => None,
    }
}

/// From a SIR address to an ILA address.
#[inline(always)]
fn to_locator(job: &mut Mapped<'_, '_>, remote: &Remote) -> Option<PortId> {
    let port = send(job.head, job.length, &remote.hop)?;
    let head = &mut *job.head;
    head[38..46].copy_from_slice(&remote.locator_bytes);
    // Neutral mapping as the frame has it: one's complement sums are the same in either byte order (RFC 1071 §2 (B)).
    let low = checksum::add(u16::from_ne_bytes([head[52], head[53]]), u16::from_ne_bytes(remote.add_bytes));
    head[52..54].copy_from_slice(&low.to_ne_bytes());
    head[46] |= (remote.mark >> 8) as u8;
    Some(port)
}

/// From an ILA address to a local task's SIR address.
#[inline(always)]
fn to_task(job: &mut Mapped<'_, '_>, hop: &Hop, tables: &Tables) -> Option<PortId> {
    let sir = tables.domains.get(usize::from(job.domain.0))?.sir;
    let port = send(job.head, job.length, hop)?;
    job.head[38..46].copy_from_slice(&sir.0.to_be_bytes());
    job.head[46..54].copy_from_slice(&job.key.identifier().to_be_bytes());
    Some(port)
}

/// Third pass, by route.
#[inline(always)]
fn along(job: &mut Plain<'_>, action: &Action, tables: &Tables) -> Option<PortId> {
    match chosen(job.head, action, tables)? {
        Action::Forward(hop) => send(job.head, job.length, hop),
        Action::Connected(port) => {
            send(job.head, job.length, tables.neighbours.get(&(*port, job.destination()))?)
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
    if length > hop.fast_bytes {
        return None;
    }
    head[..ethernet::HEADER].copy_from_slice(&hop.link[..ethernet::HEADER]);
    head[21] = head[21].wrapping_sub(1);
    Some(hop.port)
}

/// Eight bytes, the first one lowest.
#[inline(always)]
fn le8<const N: usize>(frame: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&frame[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Eight bytes, the first one highest.
#[inline(always)]
fn be8<const N: usize>(frame: &[u8; N], at: usize) -> u64 {
    le8(frame, at).swap_bytes()
}

/// Four bytes, the first one highest.
#[inline(always)]
pub(super) fn be4<const N: usize>(frame: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&frame[at..at + 4]);
    u32::from_be_bytes(word)
}

/// Two bytes, the first one highest.
#[inline(always)]
fn be2<const N: usize>(frame: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}
