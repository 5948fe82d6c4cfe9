//! Routes and neighbours.

use serde::Serialize;
use std::net::Ipv6Addr;

/// A neighbour, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NeighbourView {
    /// Port name.
    pub port: String,
    /// Address.
    pub address: Ipv6Addr,
    /// MAC address, when known.
    pub mac: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `probe`, `failed` or `static`.
    pub state: String,
    /// Milliseconds since the state was entered.
    pub age_ms: u64,
    /// Whether a route uses it as next hop.
    pub next_hop: bool,
}

/// A route, for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteView {
    /// Destination prefix.
    pub prefix: String,
    /// `via`, `connected` or `blackhole`.
    pub kind: String,
    /// Its next hops; none for a blackhole.
    pub next_hops: Vec<NextHopView>,
}

/// One next hop of a route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextHopView {
    /// Neighbour's address; none for connected routes.
    pub via: Option<Ipv6Addr>,
    /// Port name.
    pub port: String,
    /// Share of the flows.
    pub weight: u16,
    /// `ready`, `unresolved`, `unreachable` or `link_down`.
    pub state: String,
}
