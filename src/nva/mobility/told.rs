//! What one NVE is told of moves.

use super::model::{Move, MoveId, Role};
use crate::config::{Entry, ObjectName};
use crate::nva::message::{Down, Encoded, MoveTold, MovesPart, PROVISION_BYTES, Place};
use crate::nva::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One session of an NVE that takes moves.
#[derive(Debug, Default)]
pub struct Moving {
    /// The sequences of those that it was told.
    told: BTreeMap<MoveId, u64>,
    /// Whether it was told something at all.
    begun: bool,
    /// Whether there may be something to tell.
    touched: bool,
    /// Whether the last part was not the last one.
    is_halfway: bool,
}

impl Moving {
    /// There may be something to tell.
    pub(in crate::nva) fn touch(&mut self) {
        self.touched = true;
    }

    /// Everything is told anew: of NVEs something else is known.
    pub(in crate::nva) fn begin_anew(&mut self) {
        *self = Moving::default();
    }

    /// The next part, if there is one.
    pub(in crate::nva) fn next(
        &mut self,
        nve: &str,
        registry: &Registry,
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        if self.begun && !self.is_halfway && !self.touched {
            return None;
        }
        let now: BTreeSet<MoveId> = registry.moves().of(nve).map(|one| one.id).collect();
        let over: Vec<MoveId> = self.told.keys().filter(|id| !now.contains(id)).copied().collect();
        over.iter().for_each(|id| _ = self.told.remove(id));
        let mut part = MovesPart { whole: !self.begun, over, ..MovesPart::default() };
        let mut bytes = 0;
        for one in registry.moves().of(nve) {
            if self.told.get(&one.id) == Some(&one.sequence) {
                continue;
            }
            if bytes >= PROVISION_BYTES {
                (self.begun, self.is_halfway) = (true, true);
                return Some(Down::Moves(part));
            }
            bytes += one.document.len() + MoveTold::WEIGHT;
            part.moves.extend(told(one, nve, registry, now_ms));
            self.told.insert(one.id, one.sequence);
        }
        let is_some = part.whole || self.is_halfway || !part.moves.is_empty() || !part.over.is_empty();
        (self.begun, self.touched, self.is_halfway) = (true, false, false);
        part.last = true;
        is_some.then_some(Down::Moves(part))
    }
}

/// A move as an NVE sees it.
fn told(one: &Move, nve: &str, registry: &Registry, now_ms: u64) -> Option<MoveTold> {
    let role = one.role(nve)?;
    let peer = one.nve(if role == Role::New { Role::Old } else { Role::New });
    let known = registry.nve(peer);
    let domains: BTreeSet<u64> = one.keys.iter().map(|key| key.sir_prefix).collect();
    let mut places: Vec<Place> = domains
        .into_iter()
        .flat_map(|sir_prefix| {
            registry.locators_in(peer, sir_prefix).map(move |locator| Place { sir_prefix, locator })
        })
        .collect();
    places.sort_unstable();
    // Once it is the new NVE's, it is one of the entries that operators want there, and nobody proves anything more.
    let expected = role == Role::New && one.state.is_before_commit();
    let name = ObjectName::Attachment(one.attachment.clone());
    let entry = expected.then(|| Entry::named(&name, &one.document).ok().map(Arc::new)).flatten();
    Some(MoveTold {
        id: one.id,
        sequence: one.sequence,
        state: one.state,
        role,
        attachment: one.attachment.clone(),
        entry,
        keys: one.keys.clone(),
        peer: peer.to_owned(),
        peer_locators: places,
        peer_vtep: known.and_then(|known| known.vtep),
        vtep: registry.nve(nve).and_then(|own| own.vtep),
        peer_done: if role == Role::New { one.said.old } else { one.said.new },
        mode: one.mode,
        in_flight: one.in_flight,
        token: expected.then_some(one.token),
        left_ms: registry.moves().left_ms(one.id, now_ms),
        overdue: one.overdue,
        idle_ms: registry.moves().rules().drain_idle_ms,
    })
}
