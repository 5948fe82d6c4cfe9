//! The route of a locator: the longest prefix of at most 64 bits that covers its /64, and the next hops of that route.

use super::Rib;
use crate::config::RouteTarget;
use crate::ila::Locator;
use crate::net::Ipv6Prefix;
use crate::table::{Hop, HopId, HopState, PortId};
use std::collections::HashMap;

/// A next hop of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) hop: Hop,
    /// Identity of the next hop for ECMP hashing: the same in all snapshots.
    pub(super) identity: u64,
    pub(super) weight: u16,
}

impl Exit {
    /// Whether flows may use it. A neighbour that is still being resolved counts as usable.
    pub(super) fn usable(&self) -> bool {
        matches!(self.hop.state, HopState::Ready | HopState::Unresolved)
    }
}

/// Takes the place of a route's index when the destinations are on-link neighbours.
const ON_LINK: usize = usize::MAX;

/// The routes in a form for looking up locators.
pub(super) struct Router {
    /// Routes of at most 64 bits, longest length first. Each length has a map from prefix to index of the route.
    lengths: Vec<(u8, HashMap<u128, usize>)>,
    /// Next hops by index of the route; empty for routes without next hops.
    exits: Vec<Vec<Exit>>,
}

impl Router {
    pub(super) fn of(rib: &Rib) -> Router {
        let mut lengths: Vec<(u8, HashMap<u128, usize>)> = Vec::new();
        let mut exits = Vec::with_capacity(rib.routes.len());
        let connected = rib.ports.iter().flat_map(|port| &port.addresses).map(|own| (own.prefix, ON_LINK));
        let routes = rib.routes.iter().enumerate().map(|(n, route)| match route.target {
            RouteTarget::OnLink { .. } => (route.prefix, ON_LINK),
            RouteTarget::Via(_) | RouteTarget::Blackhole => (route.prefix, n),
        });
        // A route replaces a connected prefix of the same length.
        for (prefix, n) in connected.chain(routes).filter(|(prefix, _)| prefix.length() <= 64) {
            let at = match lengths.iter().position(|(length, _)| *length == prefix.length()) {
                Some(at) => at,
                None => {
                    lengths.push((prefix.length(), HashMap::new()));
                    lengths.len() - 1
                }
            };
            lengths[at].1.insert(prefix.bits(), n);
        }
        lengths.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
        for route in rib.routes.iter() {
            let next_hops = match &route.target {
                RouteTarget::Via(next_hops) => next_hops.as_slice(),
                RouteTarget::OnLink { .. } | RouteTarget::Blackhole => &[],
            };
            let exit = |next: &crate::config::NextHop| Exit {
                hop: rib.hop(next.port, next.via),
                identity: identity(next.port, next.via),
                weight: next.weight,
            };
            exits.push(next_hops.iter().map(exit).collect());
        }
        Router { lengths, exits }
    }

    /// The next hops of a route, by its index.
    pub(super) fn exits(&self, route: usize) -> &[Exit] {
        self.exits.get(route).map_or(&[], Vec::as_slice)
    }

    fn route(&self, locator: Locator) -> Option<usize> {
        let address = locator.prefix().bits();
        self.lengths.iter().find_map(|(length, prefixes)| {
            prefixes.get(&Ipv6Prefix::covering(address, *length).bits()).copied()
        })
    }

    /// The next hops towards a locator; empty when its route has none, or when there is no route.
    pub(super) fn towards(&self, locator: Locator) -> &[Exit] {
        self.route(locator).map_or(&[], |route| self.exits(route))
    }

    /// The hop towards a locator without a usable next hop. Its state tells the reason.
    pub(super) fn dead_end(&self, locator: Locator) -> Hop {
        let first = self.towards(locator).first().map(|exit| exit.hop);
        first.unwrap_or_else(|| without(self.state(locator)))
    }

    /// The state of a locator that operators see: that of its best next hop.
    pub(super) fn state(&self, locator: Locator) -> HopState {
        let exits = self.towards(locator);
        let best = exits.iter().map(|exit| exit.hop.state).min_by_key(|state| *state as u8);
        best.unwrap_or(match self.route(locator) {
            Some(ON_LINK) => HopState::OnLink,
            Some(_) | None => HopState::NoRoute,
        })
    }
}

/// The hop of a destination without a route.
pub(super) fn no_route() -> Hop {
    without(HopState::NoRoute)
}

fn without(state: HopState) -> Hop {
    Hop::not_ready(PortId(0), state, u16::MAX, HopId(0))
}

fn identity(port: u16, via: u128) -> u64 {
    (via as u64) ^ ((via >> 64) as u64).rotate_left(31) ^ (u64::from(port) << 48)
}
