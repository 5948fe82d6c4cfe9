//! Neighbours: next hops of routes, static ones, and those that a worker met on a connected subnet.

use super::Rib;
use crate::config::{Config, RouteTarget, StaticNeighbour};
use crate::net::Mac;
use crate::table::{Hop, HopId, HopState, PortId};
use std::collections::{BTreeMap, HashMap};

/// Neighbours met on connected subnets, at most.
pub const MAX_DYNAMIC: usize = 4096;

/// What is known of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NeighbourState {
    /// Being asked for.
    #[default]
    Incomplete,
    /// Answers, with this MAC address.
    Reachable(Mac),
    /// Does not answer.
    Failed,
}

/// One neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbour {
    pub(super) port: u16,
    pub(super) address: u128,
    pub(super) state: NeighbourState,
    /// From the configuration: never asked for.
    fixed: bool,
    /// A route leads over it.
    next_hop: bool,
    /// Met on a connected subnet.
    dynamic: bool,
}

/// All neighbours by their identity, which is never used twice.
#[derive(Default)]
pub(super) struct Neighbours {
    by_id: BTreeMap<u32, Neighbour>,
    ids: HashMap<(u16, u128), u32>,
    last: u32,
    dynamic: usize,
}

impl Neighbours {
    /// Finds a neighbour, or begins with it as not yet known.
    fn entry(&mut self, port: u16, address: u128) -> (u32, &mut Neighbour) {
        let id = *self.ids.entry((port, address)).or_insert_with(|| {
            self.last = self.last.wrapping_add(1).max(1);
            self.last
        });
        let state = NeighbourState::Incomplete;
        let new = Neighbour { port, address, state, fixed: false, next_hop: false, dynamic: false };
        (id, self.by_id.entry(id).or_insert(new))
    }

    /// Takes over routes and static neighbours; what neither names and no worker met is forgotten.
    pub(super) fn configure(&mut self, config: &Config) {
        for neighbour in self.by_id.values_mut() {
            if neighbour.fixed {
                neighbour.state = NeighbourState::Incomplete;
            }
            (neighbour.fixed, neighbour.next_hop) = (false, false);
        }
        for route in &config.routes {
            let RouteTarget::Via(next_hops) = &route.target else { continue };
            for hop in next_hops {
                self.entry(hop.port, hop.via).1.next_hop = true;
            }
        }
        for StaticNeighbour { port, address, mac } in &config.neighbours {
            let neighbour = self.entry(*port, *address).1;
            neighbour.fixed = true;
            neighbour.state = NeighbourState::Reachable(*mac);
        }
        self.by_id.retain(|_, neighbour| neighbour.fixed || neighbour.next_hop || neighbour.dynamic);
        let by_id = &self.by_id;
        self.ids.retain(|_, id| by_id.contains_key(id));
    }

    /// The identity and state of a neighbour.
    pub(super) fn of(&self, port: u16, address: u128) -> Option<(HopId, NeighbourState)> {
        let id = *self.ids.get(&(port, address))?;
        Some((HopId(id), self.by_id.get(&id)?.state))
    }

    /// All neighbours, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (HopId, &Neighbour)> {
        self.by_id.iter().map(|(id, neighbour)| (HopId(*id), neighbour))
    }
}

impl Rib {
    /// Notes what is known of a neighbour. One that is static or not known is left alone; says whether it changed.
    pub fn set_neighbour(&mut self, port: PortId, address: u128, state: NeighbourState) -> bool {
        let known = self.neighbours.ids.get(&(port.0, address)).copied();
        let Some(neighbour) = known.and_then(|id| self.neighbours.by_id.get_mut(&id)) else { return false };
        if neighbour.fixed || neighbour.state == state {
            return false;
        }
        neighbour.state = state;
        self.dirty = true;
        true
    }

    /// Begins with a neighbour that a worker asks for on a connected subnet.
    ///
    /// `None` when the port is not there or [`MAX_DYNAMIC`] are held already: forget some first.
    pub fn add_neighbour(&mut self, port: PortId, address: u128) -> Option<HopId> {
        self.ports.get(usize::from(port.0))?;
        if let Some((id, _)) = self.neighbours.of(port.0, address) {
            return Some(id);
        }
        if self.neighbours.dynamic >= MAX_DYNAMIC {
            return None;
        }
        self.neighbours.dynamic += 1;
        let (id, neighbour) = self.neighbours.entry(port.0, address);
        neighbour.dynamic = true;
        self.dirty = true;
        Some(HopId(id))
    }

    /// Forgets a neighbour that no route and no static entry names; a next hop begins anew instead.
    pub fn forget_neighbour(&mut self, port: PortId, address: u128) {
        let Some(id) = self.neighbours.ids.get(&(port.0, address)).copied() else { return };
        let Some(neighbour) = self.neighbours.by_id.get_mut(&id) else { return };
        if neighbour.dynamic {
            neighbour.dynamic = false;
            self.neighbours.dynamic -= 1;
        }
        if neighbour.fixed {
            return;
        }
        self.dirty = true;
        if neighbour.next_hop {
            neighbour.state = NeighbourState::Incomplete;
        } else {
            self.neighbours.by_id.remove(&id);
            self.neighbours.ids.remove(&(port.0, address));
        }
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
        let (id, state) = self.neighbours.of(port, address).unwrap_or_default();
        let Some(link) = self.ports.get(usize::from(port)) else {
            return Hop::not_ready(PortId(port), HopState::NoRoute, 0, id);
        };
        let not_ready = |state| Hop::not_ready(PortId(port), state, link.mtu, id);
        match state {
            _ if !link.up => not_ready(HopState::LinkDown),
            NeighbourState::Incomplete => not_ready(HopState::Unresolved),
            NeighbourState::Failed => not_ready(HopState::Unreachable),
            NeighbourState::Reachable(mac) => {
                Hop::ready(PortId(port), mac, link.mac, link.vlan, link.mtu, id)
            }
        }
    }
}
