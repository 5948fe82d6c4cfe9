//! Third stage: finishes the lookups that `classify` started, all of them before any packet is touched.

use super::Ctx;
use super::lane::{BURST, Class, Lanes};
use super::packet::Packet;
use super::verdict::Verdict;
use crate::ila::Identifier;
use crate::table::mapping::MappingTable;
use crate::table::mem::prefetch;
use arrayvec::ArrayVec;

/// Finds the action of every packet under a SIR prefix or a locator of ours.
pub(super) fn run(burst: &[Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    let mut open: ArrayVec<(u8, u32), BURST> = ArrayVec::new();
    for (index, (packet, lane)) in burst.iter().zip(lanes.iter_mut()).enumerate() {
        let (Class::Sir(domain) | Class::Ila(domain, _)) = lane.class else { continue };
        if packet.verdict != Verdict::Continue {
            continue;
        }
        let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else { continue };
        match domain.mappings.first(lane.probe) {
            Ok(found) => lane.action = found,
            Err(state) => open.push((index as u8, state)),
        }
        if let Some(action) = lane.action.and_then(|id| ctx.tables.action(id)) {
            prefetch(action);
        }
    }
    for (index, state) in open {
        let lane = &mut lanes[usize::from(index) % BURST];
        let (Class::Sir(domain) | Class::Ila(domain, _)) = lane.class else { continue };
        let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) else { continue };
        lane.action = domain.mappings.finish(lane.probe, state);
    }
    for lane in lanes.iter_mut().take(burst.len()) {
        if let (Class::Ila(domain, _), None) = (lane.class, lane.action) {
            if let Some(domain) = ctx.tables.domains.get(usize::from(domain.0)) {
                the_other_zero(&domain.mappings, &mut lane.low, &mut lane.action);
            }
        }
    }
}

/// Of two identifiers that look the same on the wire at most one is attached here: try the other one.
#[inline(always)]
fn the_other_zero(mappings: &MappingTable, low: &mut u64, action: &mut Option<crate::table::ActionId>) {
    if let Some(twin) = Identifier(*low).twin() {
        *action = mappings.lookup(twin.0);
        if action.is_some() {
            *low = twin.0;
        }
    }
}
