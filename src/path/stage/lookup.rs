//! Looks identifiers up in bulk: all buckets and actions of a burst are prefetched before the first one is read.
//!
//! The fast path, the stages and the prefetch for proxy answers all look up here. Nothing here writes to a packet.

use crate::ila::{Identifier, neutral};
use crate::net::ipv6::Ipv6;
use crate::path::ctx::Ctx;
use crate::path::meta::{BURST, BurstMeta, Class, PacketMeta};
use crate::path::packet::Packet;
use crate::table::mapping::{Key, MappingTable, Primary, Probe, Secondary};
use crate::table::{ActionId, DomainId, Tables};
use arrayvec::ArrayVec;

/// One lookup whose primary bucket was prefetched.
pub(in crate::path) trait Job<'t> {
    fn key(&self) -> Key;
    fn probe(&self) -> Probe<'t>;
    fn domain(&self) -> DomainId;
}

/// Lookups that the primary bucket did not end, by their index in the burst of lookups.
pub(in crate::path) type Open = ArrayVec<(u8, Secondary), BURST>;

/// Looks all jobs up, at most [`BURST`] of them. `found` gets the action of each, 0 for none, prefetches it, and
/// returns what goes into the job's slot.
#[inline(always)]
pub(in crate::path) fn bulk<'t, J: Job<'t>, S>(
    jobs: &[J],
    slots: &mut [S],
    tables: &'t Tables,
    found: impl Fn(ActionId) -> S,
) {
    let open = probe_primary(jobs, slots, tables, &found);
    for (at, secondary) in &open {
        let at = usize::from(*at);
        if let (Some(job), Some(slot)) = (jobs.get(at), slots.get_mut(at))
            && let Some(domain) = tables.domain(job.domain())
        {
            *slot = found(domain.mappings.probe_secondary(job.key(), *secondary));
        }
    }
}

/// Reads all primary buckets, and prefetches the secondary buckets of the lookups that stay open.
#[inline(always)]
pub(in crate::path) fn probe_primary<'t, J: Job<'t>, S>(
    jobs: &[J],
    slots: &mut [S],
    tables: &'t Tables,
    found: impl Fn(ActionId) -> S,
) -> Open {
    let mut open = Open::new();
    for (at, (job, slot)) in jobs.iter().zip(slots).enumerate() {
        let (action, primary) = job.probe().first(job.key());
        *slot = found(action);
        if action == ActionId::default() {
            leave_open(job, at, primary, tables, &mut open);
        }
    }
    open
}

/// Prefetches the secondary bucket if the key may be there. Most lookups never come here, so it is a function of its
/// own.
#[inline(never)]
fn leave_open<'t, J: Job<'t>>(job: &J, at: usize, primary: Primary, tables: &'t Tables, open: &mut Open) {
    if let Some(secondary) = primary.secondary(ActionId::default()) {
        if let Some(domain) = tables.domain(job.domain()) {
            domain.mappings.prefetch_secondary(job.key());
        }
        let _ = open.try_push((at as u8, secondary));
    }
}

/// The lookup of a packet in the stages.
struct StagedJob<'t> {
    /// The packet's index in its burst.
    index: u8,
    key: Key,
    probe: Probe<'t>,
    domain: DomainId,
}

impl<'t> Job<'t> for StagedJob<'t> {
    fn key(&self) -> Key {
        self.key
    }

    fn probe(&self) -> Probe<'t> {
        self.probe
    }

    fn domain(&self) -> DomainId {
        self.domain
    }
}

/// Finds the action of every undecided packet under a SIR prefix or a locator of ours. Action 0 stands for no mapping.
#[inline]
pub(in crate::path) fn run(burst: &[Packet<'_>], metas: &mut BurstMeta, ctx: &Ctx<'_>) {
    let mut jobs: ArrayVec<StagedJob<'_>, BURST> = ArrayVec::new();
    let mut last: Option<(DomainId, &MappingTable)> = None;
    for (index, (packet, meta)) in burst.iter().zip(metas.iter()).enumerate() {
        let (Class::Sir(domain) | Class::Ila(domain)) = meta.class else { continue };
        if !packet.verdict.is_undecided() {
            continue;
        }
        if last.is_none_or(|(id, _)| id != domain) {
            last = ctx.tables.domain(domain).map(|found| (domain, &*found.mappings));
        }
        let Some((_, mappings)) = last else { continue };
        let key = Key::of(meta.identifier.0);
        let _ = jobs.try_push(StagedJob { index: index as u8, key, probe: mappings.probe(key), domain });
    }
    let mut actions = [ActionId::default(); BURST];
    bulk(&jobs, &mut actions, ctx.tables, |action| {
        let _ = ctx.tables.prefetch(action);
        action
    });
    for (job, action) in jobs.iter().zip(actions) {
        let index = usize::from(job.index) % BURST;
        metas[index].action = action;
        if action == ActionId::default()
            && let Some(packet) = burst.get(index)
        {
            try_zero_alias(packet, &mut metas[index], ctx);
        }
    }
}

/// Looks up the zero alias of an identifier without a mapping. Neutral mapping cannot tell the two apart, and at most
/// one of them is attached here.
#[cold]
fn try_zero_alias(packet: &Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) {
    let Class::Ila(domain) = meta.class else { return };
    let (Some(zero_alias), Some(header)) = (meta.identifier.zero_alias(), Ipv6::of(packet.l3())) else {
        return;
    };
    if let Some(domain) = ctx.tables.domain(domain)
        && neutral::was_mapped(Identifier(header.destination_low()), domain.checksum)
        && let Some(found) = domain.mappings.lookup(zero_alias.0)
    {
        meta.action = found;
        meta.identifier = zero_alias;
    }
}
