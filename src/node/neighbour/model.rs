//! The words of the neighbour state machine: names, states, what comes in and what goes out.

use crate::net::Mac;
use crate::table::{HopId, PortId};

/// First and longest pause between solicitations for a next hop that is gone.
pub(super) const BACKOFF_MS: (u64, u64) = (1_000, 30_000);

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

/// What is known of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its state.
    pub state: State,
    /// When the state was entered, in milliseconds.
    pub since_ms: u64,
    /// Its MAC address, when known.
    pub mac: Option<Mac>,
    /// Whether a route uses it as next hop.
    pub next_hop: bool,
    /// Whether packets to the neighbour itself asked for it.
    pub(super) wanted: bool,
    /// Its identity in the tables; 0 while they do not hold it.
    pub(super) id: HopId,
    /// Solicitations sent in this state.
    pub(super) sent: u8,
    /// When something is due.
    pub(super) due_ms: u64,
    /// Pause until the next solicitation of a next hop that is gone.
    pub(super) backoff_ms: u64,
}

impl Default for Neighbour {
    /// One that nothing is known of.
    fn default() -> Self {
        Neighbour {
            state: State::Incomplete,
            since_ms: 0,
            mac: None,
            next_hop: false,
            wanted: false,
            id: HopId(0),
            sent: 0,
            due_ms: 0,
            backoff_ms: BACKOFF_MS.0 * 2,
        }
    }
}

impl Neighbour {
    /// The same neighbour in a state that it enters now.
    pub(super) fn entering(self, state: State, mac: Option<Mac>, now: u64) -> Self {
        let Neighbour { next_hop, wanted, id, .. } = self;
        Neighbour { state, since_ms: now, mac, next_hop, wanted, id, due_ms: now, ..Neighbour::default() }
    }

    pub(super) fn is_in_tables(&self) -> bool {
        self.next_hop || self.wanted || self.state == State::Static
    }

    pub(super) fn resolution(&self) -> Resolution {
        match (self.state, self.mac) {
            (State::Incomplete, _) => Resolution::Unresolved,
            (State::Failed, _) | (_, None) => Resolution::Unreachable,
            (_, Some(mac)) => Resolution::Ready(mac),
        }
    }

    pub(super) fn is_dynamic(&self) -> bool {
        !self.next_hop && self.state != State::Static
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.is_dynamic() && matches!(self.state, State::Incomplete | State::Failed)
    }
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
