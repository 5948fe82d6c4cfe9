//! What a move is.

use crate::nva::model::Key;

pub use crate::mapping::InFlight;
use std::fmt;

/// Bytes of a [`Token`].
pub const TOKEN_BYTES: usize = 16;
/// Moments of a move that are kept; beyond them the first ones stay, and the last one is replaced.
const MOMENTS: usize = 32;

/// Names a move: the revision of the registry that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MoveId(pub u64);

/// What the new NVE proves an arrival with. It is told to nobody else, and shown to nobody.
#[derive(Clone, Copy, Eq)]
pub struct Token(pub [u8; TOKEN_BYTES]);

impl PartialEq for Token {
    /// Takes the same time wherever they differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Lists words that stand for values: `/// sentence`, then `Value = "word"`.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $sentence:literal])+ $value:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[doc = $sentence])+ $value,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$value,)+];

            /// Its name for programs.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$value => $word,)+ }
            }

            /// The one with this name.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().find(|one| one.word() == word).copied()
            }
        }
    };
}

words! {
    /// How an attachment moves (VMM draft §7).
    Mode {
        /// Running: what comes for it meanwhile is held.
        Hot = "hot",
        /// Shut down, with a copy of its state at the new NVE already.
        Warm = "warm",
        /// Shut down.
        Cold = "cold",
    }
}

words! {
    /// How far a move is.
    MoveState {
        /// Both NVEs make ready.
        Preparing = "preparing",
        /// Both are ready, and the attachment is at the old one.
        Prepared = "prepared",
        /// It left the old NVE, and is not at the new one yet.
        Detached = "detached",
        /// It is the new NVE's, and everybody is being told.
        Spreading = "spreading",
        /// Everybody knows, and what still comes to the old NVE is late.
        Draining = "draining",
        /// It stays at the old NVE, and both undo their part.
        Aborting = "aborting",
    }
}

words! {
    /// What an NVE saw of an attachment.
    Sign {
        /// A gratuitous ARP.
        GratuitousArp = "gratuitous ARP",
        /// An unsolicited Neighbor Advertisement.
        UnsolicitedNa = "unsolicited NA",
        /// A RARP of either kind.
        Rarp = "RARP",
        /// The first frame of what is bound to it.
        Frame = "first frame",
        /// An answer to a question of the NVE.
        Probe = "answer to a probe",
        /// The link or the device of its port.
        Carrier = "carrier",
        /// No answer to anything.
        Silence = "silence",
        /// Something that a later release sees.
        Other = "another sign",
    }
}

impl MoveState {
    /// Whether the attachment is still the old NVE's.
    #[must_use]
    pub fn is_before_commit(self) -> bool {
        !matches!(self, MoveState::Spreading | MoveState::Draining)
    }
}

/// Whose part an NVE has in a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The attachment leaves it.
    Old,
    /// The attachment comes to it.
    New,
}

/// A set of modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modes(u8);

impl Modes {
    /// All of them.
    pub const ALL: Modes = Modes(7);

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a mode is among them.
    #[must_use]
    pub fn has(self, mode: Mode) -> bool {
        self.0 & 1 << mode as u8 != 0
    }

    /// Those that are among them.
    pub fn iter(self) -> impl Iterator<Item = Mode> {
        Mode::ALL.iter().copied().filter(move |mode| self.has(*mode))
    }
}

impl FromIterator<Mode> for Modes {
    fn from_iter<I: IntoIterator<Item = Mode>>(modes: I) -> Self {
        Modes(modes.into_iter().fold(0, |all, mode| all | 1 << mode as u8))
    }
}

/// What both NVEs said of the state that a move is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// The old one.
    pub old: bool,
    /// The new one.
    pub new: bool,
}

/// Something that happened to a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The state that it came to, or what else happened.
    pub what: String,
    /// Who did it: an NVE or an operator; empty: the authority.
    pub by: String,
    /// How, or why.
    pub how: String,
}

/// An attachment that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its name.
    pub id: MoveId,
    /// Name of the attachment, the same at both NVEs.
    pub attachment: String,
    /// The old NVE.
    pub from: String,
    /// The new NVE.
    pub to: String,
    /// The entry at the new NVE.
    pub document: String,
    /// The networks of that.
    pub networks: Vec<String>,
    /// The identifiers of the attachment.
    pub keys: Vec<Key>,
    /// How it moves.
    pub mode: Mode,
    /// What becomes of packets in flight.
    pub in_flight: InFlight,
    /// What an arrival is proved with.
    pub token: Token,
    /// How far it is.
    pub state: MoveState,
    /// Since when: milliseconds since 1970.
    pub since_ms: u64,
    /// What both NVEs said of that.
    pub said: Said,
    /// It is away for longer than it may.
    pub overdue: bool,
    /// Rises with every change: the revision that made it.
    pub sequence: u64,
    /// The revision that gave it to the new NVE; 0 before.
    pub committed: u64,
    /// When its state was copied last, if that was said: milliseconds since 1970.
    pub seeded_ms: Option<u64>,
    /// What happened to it, the first first.
    pub timeline: Vec<Moment>,
}

impl Move {
    /// The part that an NVE has in it.
    #[must_use]
    pub fn role(&self, nve: &str) -> Option<Role> {
        match nve {
            nve if nve == self.to => Some(Role::New),
            nve if nve == self.from => Some(Role::Old),
            _ => None,
        }
    }

    /// The NVE with a part.
    #[must_use]
    pub fn nve(&self, role: Role) -> &str {
        match role {
            Role::Old => &self.from,
            Role::New => &self.to,
        }
    }

    /// Notes that something happened.
    pub(super) fn note(&mut self, moment: Moment) {
        if self.timeline.len() >= MOMENTS {
            self.timeline.pop();
        }
        self.timeline.push(moment);
    }
}

/// How long states last at most, and how many moves there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveRules {
    /// Until both NVEs are ready.
    pub prepare_ms: u64,
    /// Until the attachment leaves; as often as somebody says so, it begins anew.
    pub prepared_ms: u64,
    /// Until it arrives.
    pub detached_ms: u64,
    /// Until everybody who has a session knows.
    pub spread_ms: u64,
    /// Until the old NVE forgets it.
    pub drain_ms: u64,
    /// The same once no packet came for so long.
    pub drain_idle_ms: u64,
    /// Until both NVEs have undone their part.
    pub abort_ms: u64,
    /// Moves of one NVE at a time.
    pub per_nve: usize,
}

impl Default for MoveRules {
    fn default() -> Self {
        MoveRules {
            prepare_ms: 5_000,
            prepared_ms: 3_600_000,
            detached_ms: 30_000,
            spread_ms: 5_000,
            drain_ms: 60_000,
            drain_idle_ms: 2_000,
            abort_ms: 5_000,
            per_nve: 256,
        }
    }
}

impl MoveRules {
    /// How long a move is in its state; none: until somebody does something.
    pub(in crate::nva) fn period_ms(&self, one: &Move) -> Option<u64> {
        Some(match one.state {
            MoveState::Preparing => self.prepare_ms,
            MoveState::Prepared => self.prepared_ms,
            MoveState::Detached if one.overdue => return None,
            MoveState::Detached => self.detached_ms,
            MoveState::Spreading => self.spread_ms,
            MoveState::Draining => self.drain_ms,
            MoveState::Aborting => self.abort_ms,
        })
    }
}
