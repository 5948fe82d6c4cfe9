//! Finishes the lookups that classification started, all of them before any packet is touched.

use crate::ila::{Identifier, neutral};
use crate::net::ipv6::Ipv6;
use crate::path::Ctx;
use crate::path::meta::{BURST, BurstMeta, Class, PacketMeta};
use crate::path::packet::Packet;
use crate::path::verdict::Verdict;
use crate::table::DomainId;
use crate::table::mapping::{Elsewhere, Key, MappingTable};
use arrayvec::ArrayVec;

/// Finds the action of every undecided packet under a SIR prefix or a locator of ours.
#[inline]
pub(in crate::path) fn run(burst: &[Packet<'_>], metas: &mut BurstMeta, ctx: &Ctx<'_>) {
    let mut open: ArrayVec<(u8, Elsewhere), BURST> = ArrayVec::new();
    let mut last: Option<(DomainId, &MappingTable)> = None;
    for (index, (packet, meta)) in burst.iter().zip(metas.iter_mut()).enumerate() {
        let (Class::Sir(domain) | Class::Ila(domain)) = meta.class else { continue };
        if packet.verdict != Verdict::Continue {
            continue;
        }
        if last.is_none_or(|(id, _)| id != domain) {
            last = ctx.tables.domains.get(usize::from(domain.0)).map(|found| (domain, &*found.mappings));
        }
        let Some((_, mappings)) = last else { continue };
        let key = Key::of(meta.low);
        let (found, home) = mappings.probe(key).first(key);
        meta.action = found;
        let _ = ctx.tables.ask(found);
        if let Some(elsewhere) = home.elsewhere(found) {
            mappings.prefetch_secondary(key);
            let _ = open.try_push((index as u8, elsewhere));
        } else if found.0 == 0 {
            try_zero_alias(packet, meta, ctx);
        }
    }
    for (index, elsewhere) in open {
        let meta = &mut metas[usize::from(index) % BURST];
        let (Class::Sir(domain) | Class::Ila(domain)) = meta.class else { continue };
        let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else { continue };
        meta.action = domain.mappings.finish(Key::of(meta.low), elsewhere);
        if meta.action.0 == 0
            && let Some(packet) = burst.get(usize::from(index))
        {
            try_zero_alias(packet, meta, ctx);
        }
    }
}

/// Of two identifiers that look the same on the wire at most one is attached here: try the other one.
#[cold]
fn try_zero_alias(packet: &Packet<'_>, meta: &mut PacketMeta, ctx: &Ctx<'_>) {
    let Class::Ila(domain) = meta.class else { return };
    let (Some(zero_alias), Some(header)) = (Identifier(meta.low).zero_alias(), Ipv6::of(packet.l3())) else {
        return;
    };
    if let Some(domain) = ctx.tables.domains.get(usize::from(domain.0))
        && neutral::was_mapped(Identifier(header.destination_low()), domain.checksum)
        && let Some(found) = domain.mappings.lookup(zero_alias.0)
    {
        meta.action = found;
        meta.low = zero_alias.0;
    }
}
