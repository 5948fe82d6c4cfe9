//! The words of the neighbour state machine: names, states, what comes in and what goes out.

use crate::net::Mac;
use crate::table::PortId;

/// States of a neighbour (§7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Being solicited; its MAC address is unknown.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Confirmed some time ago, or not confirmed yet; in use.
    Stale,
    /// Being probed; in use.
    Probe,
    /// Does not answer.
    Failed,
    /// Configured.
    Static,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Incomplete, State::Reachable, State::Stale, State::Probe, State::Failed, State::Static];

    /// The label in views and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            State::Incomplete => "incomplete",
            State::Reachable => "reachable",
            State::Stale => "stale",
            State::Probe => "probe",
            State::Failed => "failed",
            State::Static => "static",
        }
    }
}

/// A neighbour's name: an address on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The port.
    pub port: PortId,
    /// The address.
    pub address: u128,
}

/// What packets to a neighbour do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Leave to this MAC address.
    Ready(Mac),
    /// Wait.
    Unresolved,
    /// Are refused.
    Unreachable,
    /// Nothing is known of it any more.
    Gone,
}

/// What the state machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send a Neighbour Solicitation: to this MAC address, or to the solicited-node group.
    Solicit(Key, Option<Mac>),
    /// The tables change: they hold this from now on.
    Resolve(Key, Resolution),
    /// A state was entered, for the log.
    Entered(Key, State),
}

/// A Neighbour Advertisement, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// Target link-layer address.
    pub mac: Option<Mac>,
    /// S flag.
    pub solicited: bool,
    /// O flag.
    pub overrides: bool,
}
