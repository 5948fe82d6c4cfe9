//! Where the VM or task of an attachment is: here, about to arrive, or gone to another NVE (VMM draft §4.2, §5).

use crate::ila::Locator;

/// Where the VM or task of an attachment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is here. Until its move has ended, others may tunnel to it.
    Here(Tunnels),
    /// It is expected from another NVE. What the fabric or a tunnel brings for it is held, and so is what it sends itself.
    /// Senders attached here follow the mapping of lower origin, as everybody does.
    Expected(Tunnels),
    /// It has left for another NVE, or is about to be brought back there.
    Departed(Departure),
}

impl Default for Presence {
    /// Here, and not moving.
    fn default() -> Self {
        Presence::Here(Tunnels::default())
    }
}

impl Presence {
    /// Its name for people and programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Presence::Here(_) => "here",
            Presence::Expected(_) => "expected",
            Presence::Departed(_) => "departed",
        }
    }
}

/// The tunnels to an attachment of this node: which NVEs may send packets for it through a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// The address of this node that they go to.
    pub to: u128,
    /// The addresses that they come from; empty for no tunnel.
    pub from: Vec<u128>,
    /// Copies of packets to groups come through them, because nobody sends any here yet.
    pub copies: bool,
}

/// A tunnel to another NVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelEnds {
    /// The address of this node.
    pub from: u128,
    /// The address of the other NVE.
    pub to: u128,
}

/// Where a VM or task has gone, and what becomes of packets for it that still come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Locators of the NVE that has it now, each with its SIR domain, at most one for each domain.
    pub locators: Vec<(u8, Locator)>,
    /// The tunnel there, if there may be one.
    pub tunnel: Option<TunnelEnds>,
    /// What becomes of packets in flight; none: as the node is configured.
    pub in_flight: Option<InFlight>,
    /// Until when, in milliseconds of the node's clock. Later packets follow the mapping that the authority tells; without
    /// one they are dropped.
    pub until_ms: u64,
    /// Whether what it sends from here still goes out: it is about to leave, and it is not the other NVE's yet.
    pub may_send: bool,
}

/// What becomes of packets that come for a VM or task that has left (VMM draft §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InFlight {
    /// Those that fit the tunnel go through it, and others are translated to the new locator.
    #[default]
    Auto,
    /// They go through the tunnel. The sender of one that does not fit is told so.
    Tunnel,
    /// They are translated to the new locator.
    Retranslate,
    /// They are dropped.
    Drop,
}

impl InFlight {
    /// All, by their names in configurations.
    pub const ALL: [(&'static str, InFlight); 4] = [
        ("auto", InFlight::Auto),
        ("tunnel", InFlight::Tunnel),
        ("retranslate", InFlight::Retranslate),
        ("drop", InFlight::Drop),
    ];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            InFlight::Auto => "auto",
            InFlight::Tunnel => "tunnel",
            InFlight::Retranslate => "retranslate",
            InFlight::Drop => "drop",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, one)| one)
    }
}
