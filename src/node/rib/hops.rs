//! What the tables need of neighbours. [`Neighbours`] owns them; the rib reads their identity and resolution
//! from it.

use super::Rib;
use crate::config::{Config, RouteTarget};
use crate::net::Mac;
use crate::node::neighbour::{Effect, Key, Neighbours, Resolution};
use crate::table::{Hop, HopId, HopState, PortId};
use std::collections::{BTreeMap, BTreeSet};

/// What a caller without a link sets of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NeighbourState {
    /// Being solicited.
    #[default]
    Incomplete,
    /// Answers, with this MAC address.
    Reachable(Mac),
    /// Does not answer.
    Failed,
}

/// The name of a neighbour.
pub(super) fn key(port: u16, address: u128) -> Key {
    Key { port: PortId(port), address }
}

impl Rib {
    /// The neighbours.
    #[must_use]
    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Changes the neighbours. A change that readers must learn of takes a snapshot.
    pub fn change_neighbours(&mut self, change: impl FnOnce(&mut Neighbours, &mut Vec<Effect>)) {
        let before = self.neighbour_effects.len();
        change(&mut self.neighbours, &mut self.neighbour_effects);
        let resolves = |effect: &Effect| matches!(effect, Effect::Resolve(..));
        self.dirty |= self.neighbour_effects.iter().skip(before).any(resolves);
        self.neighbour_effects.retain(|effect| !resolves(effect));
    }

    /// Takes out the effects of changes so far: solicitations and log lines.
    pub fn take_neighbour_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.neighbour_effects)
    }

    /// Takes over the next hops of routes and the static neighbours of a configuration.
    pub(super) fn configure_neighbours(&mut self, config: &Config) {
        let mut next_hops = BTreeSet::new();
        for route in config.routes.iter() {
            if let RouteTarget::Via(list) = &route.target {
                next_hops.extend(list.iter().map(|next| key(next.port, next.via)));
            }
        }
        let fixed = config.neighbours.iter().map(|fixed| (key(fixed.port, fixed.address), fixed.mac));
        let (fixed, now_ms) = (fixed.collect::<BTreeMap<_, _>>(), self.now_ms);
        self.change_neighbours(|all, effects| {
            all.configure(config.neighbour_discovery, &next_hops, &fixed, now_ms, effects);
        });
        self.dirty = true;
    }

    /// Notes the time, for neighbours that the next configuration brings.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Sets what is known of a neighbour, for callers that have no link. One that is static or not known is
    /// left alone; says whether it changed.
    pub fn set_neighbour(&mut self, port: PortId, address: u128, state: NeighbourState) -> bool {
        let key = Key { port, address };
        let before = self.neighbours.lookup(key);
        let resolution = match state {
            NeighbourState::Incomplete => Resolution::Unresolved,
            NeighbourState::Reachable(mac) => Resolution::Ready(mac),
            NeighbourState::Failed => Resolution::Unreachable,
        };
        self.change_neighbours(|all, effects| all.set(key, resolution, effects));
        self.neighbours.lookup(key) != before
    }

    /// Begins with a neighbour on a connected subnet, for callers that have no link.
    ///
    /// `None` when the port is not there or [`super::MAX_DYNAMIC`] are held already: forget some first.
    pub fn add_neighbour(&mut self, port: PortId, address: u128) -> Option<HopId> {
        self.ports.get(usize::from(port.0))?;
        let mut id = None;
        self.change_neighbours(|all, effects| id = all.add(Key { port, address }, effects));
        id
    }

    /// Forgets a neighbour that no route and no static entry names, for callers that have no link. A next hop
    /// begins anew instead.
    pub fn forget_neighbour(&mut self, port: PortId, address: u128) {
        self.change_neighbours(|all, effects| all.set(Key { port, address }, Resolution::Gone, effects));
    }

    /// Notes whether a port's link is up.
    pub fn set_link(&mut self, port: PortId, up: bool) {
        if let Some(port) = self.ports.get_mut(usize::from(port.0)).filter(|port| port.up != up) {
            port.up = up;
            // Members of groups have their link's state.
            self.networks_changed();
        }
    }

    /// The hop towards a neighbour as it is now.
    pub(super) fn hop(&self, port: u16, address: u128) -> Hop {
        let known = self.neighbours.lookup(key(port, address));
        let (id, resolution) = known.unwrap_or((HopId(0), Resolution::Unresolved));
        let Some(link) = self.ports.get(usize::from(port)) else {
            return Hop::not_ready(PortId(port), HopState::NoRoute, 0, id);
        };
        let not_ready = |state| Hop::not_ready(PortId(port), state, link.mtu, id);
        match resolution {
            _ if !link.up => not_ready(HopState::LinkDown),
            Resolution::Unresolved | Resolution::Gone => not_ready(HopState::Unresolved),
            Resolution::Unreachable => not_ready(HopState::Unreachable),
            Resolution::Ready(mac) => Hop::ready(PortId(port), mac, link.mac, link.vlan, link.mtu, id),
        }
    }
}
