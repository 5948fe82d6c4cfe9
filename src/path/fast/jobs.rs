//! Packets of one kind between the passes of the fast path.

use super::bytes::Head;
use crate::net::ethernet;
use crate::path::flow;
use crate::path::meta::BURST;
use crate::path::stage::lookup::{self, Job};
use crate::table::{Action, Tables};
use arrayvec::ArrayVec;

/// Packets of one kind, at most a burst of them.
pub(super) type Jobs<W> = ArrayVec<W, BURST>;

/// The actions that the lookups found, in the order of their jobs.
pub(super) type Actions<'t> = [Option<&'t Action>; BURST];

/// Second pass: finishes all lookups and prefetches the actions that they find.
#[inline(never)]
pub(super) fn look_up<'t, J: Job<'t>>(jobs: &[J], tables: &'t Tables) -> Actions<'t> {
    let mut actions: Actions<'t> = [None; BURST];
    lookup::bulk(jobs, &mut actions, tables, |action| tables.prefetch(action));
    actions
}

/// The action itself, or for a group the member that the packet's flow uses.
#[inline(always)]
pub(super) fn member<'t>(head: &Head, action: &'t Action, tables: &'t Tables) -> Option<&'t Action> {
    let l3 = head.get(ethernet::HEADER..);
    tables.choose(action, || flow::hash(l3.unwrap_or_default(), tables.flow_seed))
}
