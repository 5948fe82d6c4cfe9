//! The fast path: decides the most frequent packets in three tight passes, and leaves all others, untouched, to the
//! stages. A law test shows that both decide alike.
//!
//! It takes untagged TCP or UDP without extension headers or padding, from a plain source, to a SIR prefix, a locator
//! of ours or a route, if nothing stops the packet. It adds only two things to the stages: the admission test
//! (`admit`), and the order of memory accesses. The meaning of prefixes, bulk lookup and rewriting are the code of the
//! stages.
//!
//! The passes of [`FastPath::decide`] over a burst:
//!
//! 1. check the headers of each frame, and prefetch the bucket that its lookup reads
//! 2. finish all lookups, and prefetch their actions
//! 3. rewrite the packets
//!
//! So the cache misses of a burst overlap, and the processor works on several packets at a time. With few mappings
//! everything is in the cache, and the number of instructions counts: each loop keeps what it needs in registers, and
//! each kind of destination has an array of its own.

mod admit;
pub(super) mod bytes;
pub(super) mod decided;
mod jobs;
mod tenants;

pub use decided::Decided;

use super::meta::BURST;
use super::prefix::{OwnLocator, Prefix};
use super::rewrite::{hop, sir};
use super::stage::lookup::Job;
use crate::ila::ChecksumMode;
use crate::net::ethernet;
use crate::table::bindings::SourceBindings;
use crate::table::mapping::{Key, MappingTable, Probe};
use crate::table::routes::Found;
use crate::table::{Action, Domain, DomainId, Hop, Ingress, PortId, Remote, Tables};
use admit::{OutsideSource, Runs, TaskSource, plain};
use arrayvec::ArrayVec;
use bytes::{HEADERS, Head, be8};
use jobs::{Actions, Jobs, look_up, member};

pub use tenants::FRONT;

/// A packet under a SIR prefix or a locator of ours.
struct MappedPacket<'t, 'b> {
    head: &'b mut Head,
    probe: Probe<'t>,
    key: Key,
    /// Length of the frame, in bytes.
    length: u16,
    domain: DomainId,
    /// Index in the burst.
    index: u8,
}

impl<'t> Job<'t> for MappedPacket<'t, '_> {
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

/// A packet that is routed.
struct RoutedPacket<'b> {
    head: &'b mut Head,
    high: u64,
    low: u64,
    length: u16,
    index: u8,
}

impl RoutedPacket<'_> {
    fn destination(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// The fast path for one burst, all of it received on one port.
pub struct FastPath<'t> {
    tables: &'t Tables,
    /// The source bindings of the port's tenants, if it has any.
    bindings: Option<&'t SourceBindings>,
    /// The port's MAC address, its first byte lowest.
    mac: u64,
    /// What the port admits of packets that no tenant sent.
    ingress: &'t Ingress,
    port: PortId,
}

impl<'t> FastPath<'t> {
    /// The fast path for a burst received on `port`. `None` if the port is unknown, accepts only tagged frames or has
    /// only tagged tenants.
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
            ingress: &shape.ingress,
            port,
        })
    }

    /// Whether the port has tenants, so that [`Self::decide_tenants`] takes its frames, and not [`Self::decide`].
    #[inline]
    #[must_use]
    pub fn checks_sources(&self) -> bool {
        self.bindings.is_some()
    }

    /// Decides and rewrites what it can of tenants' frames, the first [`BURST`] of them. Each has [`FRONT`] bytes of
    /// headroom before it, into which it may grow. A shorter slice is left to the stages.
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

    /// Decides and rewrites what it can of other frames, the first [`BURST`] of them, each from its Ethernet header on.
    #[inline]
    pub fn decide<'b>(&self, frames: impl Iterator<Item = &'b mut [u8]>, decided: &mut Decided) {
        match self.ingress {
            Ingress::Fabric => self.decide_those(frames, |_| true, decided),
            Ingress::Open | Ingress::Strict(_) => {
                let mut origin = OutsideSource::NONE;
                self.decide_those(frames, |head| origin.is_outside(head, self.tables), decided);
            }
            Ingress::Tasks => {
                let mut task = TaskSource::NONE;
                self.decide_those(frames, |head| task.is_bound(head, self.port, self.tables), decided);
            }
        }
    }

    /// [`Self::decide`] of those frames whose source `admits_source` admits.
    #[inline(never)]
    fn decide_those<'b>(
        &self,
        frames: impl Iterator<Item = &'b mut [u8]>,
        admits_source: impl FnMut(&Head) -> bool,
        decided: &mut Decided,
    ) {
        decided.forget();
        let (tables, ingress) = (self.tables, self.ingress);
        let (mut outward, mut inward) =
            (Jobs::<MappedPacket<'_, '_>>::new(), Jobs::<MappedPacket<'_, '_>>::new());
        let (mut routed, mut delivered) = (Jobs::<RoutedPacket<'_>>::new(), Jobs::new());
        let mut network = None;
        let mut runs = Runs { frames: frames.zip(0..BURST as u8), admits_source, mac: self.mac, next: None };
        while let Some(raw_high) = runs.destination() {
            match admitted(raw_high.swap_bytes(), tables, ingress) {
                Some(To::Sir(domain, mappings)) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let head: &mut Head = frame.first_chunk_mut()?;
                    // With the C-bit set there is no such key. The stages drop the packet.
                    let key = Key::of_task(be8(head, 46))?;
                    outward
                        .try_push(MappedPacket {
                            head,
                            probe: mappings.probe(key),
                            key,
                            length,
                            domain,
                            index,
                        })
                        .ok()
                }),
                Some(To::Locator(locator)) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let wire = be8(frame.first_chunk::<HEADERS>()?, 46);
                    let Some(key) = Key::of_task(locator.identifier(wire)) else {
                        return tenants::inward(frame, index, &locator, &mut network, tables, &mut delivered);
                    };
                    let (probe, domain) = (locator.mappings.probe(key), locator.domain);
                    let head = frame.first_chunk_mut()?;
                    inward.try_push(MappedPacket { head, probe, key, length, domain, index }).ok()
                }),
                Some(To::Route) => runs.each(raw_high, |frame, index| {
                    let length = frame.len() as u16;
                    let head: &mut Head = frame.first_chunk_mut()?;
                    let (high, low) = (raw_high.swap_bytes(), be8(head, 46));
                    routed.try_push(RoutedPacket { head, high, low, length, index }).ok()
                }),
                None => runs.each(raw_high, |_, _| None),
            }
        }
        finish(
            &mut outward,
            decided,
            |jobs| look_up(jobs, tables),
            |job, action, decided| match action.remote() {
                Some(remote) => decided.note(job.index, to_locator(job, remote)),
                None => to_other(job, action, tables, decided),
            },
        );
        let domains = tables.domains.as_slice();
        finish(
            &mut inward,
            decided,
            |jobs| look_up(jobs, tables),
            |job, action, decided| {
                let sent = action.local().and_then(|local| to_task(job, &local.hop, domains));
                decided.note(job.index, sent);
            },
        );
        finish(
            &mut routed,
            decided,
            |jobs| look_up_routes(jobs, tables),
            |job, action, decided| decided.note(job.index, along(job, action, tables)),
        );
        tenants::finish(&mut delivered, tables, decided);
    }
}

/// Second and third pass over packets of one kind.
#[inline(always)]
fn finish<'t, W>(
    jobs: &mut Jobs<W>,
    decided: &mut Decided,
    look_up: impl FnOnce(&[W]) -> Actions<'t>,
    rewrite: impl Fn(&mut W, &'t Action, &mut Decided),
) {
    if jobs.is_empty() {
        return;
    }
    let actions = look_up(jobs);
    for (job, action) in jobs.iter_mut().zip(&actions) {
        if let Some(action) = action {
            rewrite(job, action, decided);
        }
    }
}

/// The kinds of destination that the fast path takes.
enum To<'t> {
    Sir(DomainId, &'t MappingTable),
    Locator(OwnLocator<'t>),
    Route,
}

/// The kind of destination under this upper half; `None` if the stages must decide.
#[inline(never)]
fn admitted<'t>(high: u64, tables: &'t Tables, ingress: &Ingress) -> Option<To<'t>> {
    // A protected subnet may lie under any prefix, that of a SIR domain too.
    if matches!(ingress, Ingress::Strict(_)) && tables.inside.destinations.touches(high) {
        return None;
    }
    match Prefix::of(high, tables) {
        Some(Prefix::Sir(domain, mappings)) => Some(To::Sir(domain, mappings)),
        // In this mode transport checksums change, too.
        Some(Prefix::Locator(locator)) if locator.mode == ChecksumMode::AdjTransport => None,
        // Only the fabric sends to addresses in ILA form.
        Some(Prefix::Locator(locator)) => matches!(ingress, Ingress::Fabric).then_some(To::Locator(locator)),
        Some(Prefix::Tenants | Prefix::Subnet) => None,
        None => plain(high).then_some(To::Route),
    }
}

/// Second pass for routes: all searches go step by step side by side.
#[inline(never)]
fn look_up_routes<'t>(jobs: &[RoutedPacket<'_>], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    let highs: ArrayVec<u64, BURST> = jobs.iter().map(|job| job.high).collect();
    let mut found = [Found::default(); BURST];
    tables.routes.find_all(&highs, &mut found);
    for ((job, action), found) in jobs.iter().zip(&mut actions).zip(found) {
        *action = tables.prefetch(tables.routes.action(found, job.destination()).unwrap_or_default());
    }
    actions
}

/// Third pass to an attachment here, or to one of several locators, chosen by the flow. It is a function of its own and
/// notes the port itself, so that the loop over packets to one locator stays small. Like every function of the third
/// pass it changes nothing if something stops the packet.
#[inline(never)]
fn to_other(job: &mut MappedPacket<'_, '_>, action: &Action, tables: &Tables, decided: &mut Decided) {
    if let Some(action) = member(job.head, action, tables) {
        decided.note(
            job.index,
            match action.remote() {
                Some(remote) => to_locator(job, remote),
                None => action.local().and_then(|local| out(job.head, job.length, &local.hop)),
            },
        );
    }
}

/// Rewrites from a SIR address to an ILA address.
#[inline(always)]
fn to_locator(job: &mut MappedPacket<'_, '_>, remote: &Remote) -> Option<PortId> {
    let port = out(job.head, job.length, &remote.hop)?;
    sir::write_locator_in_place(destination(job.head)?, remote);
    Some(port)
}

/// Rewrites from an ILA address to the SIR address of a task attached here.
#[inline(always)]
fn to_task(job: &mut MappedPacket<'_, '_>, hop: &Hop, domains: &[Domain]) -> Option<PortId> {
    let prefix = domains.get(usize::from(job.domain.0))?.sir;
    let port = out(job.head, job.length, hop)?;
    *destination(job.head)? = sir::sir_address(prefix, job.key.identifier());
    Some(port)
}

/// Third pass for routes.
#[inline(always)]
fn along(job: &mut RoutedPacket<'_>, action: &Action, tables: &Tables) -> Option<PortId> {
    let action = member(job.head, action, tables)?;
    match action.forward() {
        Some(hop) => out(job.head, job.length, hop),
        None => {
            let neighbour = (action.connected()?, job.destination());
            out(job.head, job.length, tables.neighbours.get(&neighbour)?)
        }
    }
}

/// Writes the link header and lowers the hop limit.
#[inline(always)]
fn out(head: &mut Head, length: u16, hop: &Hop) -> Option<PortId> {
    hop::out_untagged(head, usize::from(length), hop)
}

/// The destination address of a frame.
#[inline(always)]
fn destination(head: &mut Head) -> Option<&mut [u8; 16]> {
    head[DESTINATION..].first_chunk_mut()
}

/// Offset of the destination address in an untagged frame, in bytes.
const DESTINATION: usize = ethernet::HEADER + 24;
