//! Finishes the lookups that classification started, all of them before any packet is touched.

use super::Ctx;
use super::lane::{BURST, Class, Lanes};
use super::packet::Packet;
use super::verdict::Verdict;
use crate::ila::Identifier;
use crate::table::mapping::MappingTable;
use crate::table::mem::prefetch;
use crate::table::{ActionId, DomainId};
use arrayvec::ArrayVec;

/// Finds the action of every undecided packet under a SIR prefix or a locator of ours.
#[inline]
pub(super) fn run(burst: &[Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    let mut open: ArrayVec<(u8, u32), BURST> = ArrayVec::new();
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
        match mappings.first(lane.probe, lane.low) {
            Ok(Some(found)) => {
                lane.action = found;
                if let Some(action) = ctx.tables.action(found) {
                    prefetch(action);
                }
            }
            Ok(None) => other_zero(lane.class, mappings, &mut lane.low, &mut lane.action),
            Err(state) => {
                let _ = open.try_push((index as u8, state));
            }
        }
    }
    for (index, state) in open {
        let lane = &mut lanes[usize::from(index) % BURST];
        let (Class::Sir(domain) | Class::Ila(domain)) = lane.class else { continue };
        let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else { continue };
        match domain.mappings.finish(lane.probe, lane.low, state) {
            Some(found) => lane.action = found,
            None => other_zero(lane.class, &domain.mappings, &mut lane.low, &mut lane.action),
        }
    }
}

/// Of two identifiers that look the same on the wire at most one is attached here: try the other one.
#[cold]
fn other_zero(class: Class, mappings: &MappingTable, low: &mut u64, action: &mut ActionId) {
    if let (Class::Ila(_), Some(twin)) = (class, Identifier(*low).twin())
        && let Some(found) = mappings.lookup(twin.0)
    {
        *action = found;
        *low = twin.0;
    }
}
