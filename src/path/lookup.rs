//! Finishes the lookups that classification started, all of them before any packet is touched.

use super::Ctx;
use super::lane::{BURST, Class, Lane, Lanes};
use super::packet::Packet;
use super::verdict::Verdict;
use crate::ila::{Identifier, neutral};
use crate::net::ipv6::Ipv6;
use crate::table::DomainId;
use crate::table::mapping::{Elsewhere, Key, MappingTable};
use arrayvec::ArrayVec;

/// Finds the action of every undecided packet under a SIR prefix or a locator of ours.
#[inline]
pub(super) fn run(burst: &[Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    let mut open: ArrayVec<(u8, Elsewhere), BURST> = ArrayVec::new();
    let mut last: Option<(DomainId, &MappingTable)> = None;
    for (index, (packet, lane)) in burst.iter().zip(lanes.iter_mut()).enumerate() {
        let (Class::Sir(domain) | Class::Ila(domain)) = lane.class else { continue };
        if packet.verdict != Verdict::Continue {
            continue;
        }
        if last.is_none_or(|(id, _)| id != domain) {
            last = ctx.tables.domains.get(usize::from(domain.0)).map(|found| (domain, &*found.mappings));
        }
        let Some((_, mappings)) = last else { continue };
        let key = Key::of(lane.low);
        let (found, home) = mappings.probe(key).first(key);
        lane.action = found;
        let _ = ctx.tables.ask(found);
        if let Some(elsewhere) = home.elsewhere(found) {
            mappings.ask_second(key);
            let _ = open.try_push((index as u8, elsewhere));
        } else if found.0 == 0 {
            other_zero(packet, lane, ctx);
        }
    }
    for (index, elsewhere) in open {
        let lane = &mut lanes[usize::from(index) % BURST];
        let (Class::Sir(domain) | Class::Ila(domain)) = lane.class else { continue };
        let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else { continue };
        lane.action = domain.mappings.finish(Key::of(lane.low), elsewhere);
        if lane.action.0 == 0
            && let Some(packet) = burst.get(usize::from(index))
        {
            other_zero(packet, lane, ctx);
        }
    }
}

/// Of two identifiers that look the same on the wire at most one is attached here: try the other one.
#[cold]
fn other_zero(packet: &Packet<'_>, lane: &mut Lane, ctx: &Ctx<'_>) {
    let Class::Ila(domain) = lane.class else { return };
    let (Some(twin), Some(header)) = (Identifier(lane.low).twin(), Ipv6::of(packet.l3())) else { return };
    if let Some(domain) = ctx.tables.domains.get(usize::from(domain.0))
        && neutral::was_mapped(Identifier(header.destination_low()), domain.checksum)
        && let Some(found) = domain.mappings.lookup(twin.0)
    {
        lane.action = found;
        lane.low = twin.0;
    }
}
