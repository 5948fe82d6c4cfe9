//! What an authority learns and does, and what it is set to.

use crate::config::ProvisionRules;
use crate::nva::cache::GRACE;
use crate::nva::catalogue::Change;
use crate::nva::commits::{Commit, CommitRules, Released};
use crate::nva::event::Event;
use crate::nva::failover::{GroupRules, GroupWish};
use crate::nva::interest::MARGIN_MS;
use crate::nva::log::Limits;
use crate::nva::message::{Down, Encoded, SessionId, Ticket, Up};
use crate::nva::mobility::MoveRules;
use crate::nva::model::{Key, ObjectKey, Transaction};
use crate::nva::registry::moving::{MoveCommand, MoveRequest};
use crate::nva::registry::{AllocationRules, FreezeRules, LocatorChange, Nve, Quotas};
use crate::nva::store::Stored;
use std::collections::HashMap;
use std::sync::Arc;

/// Something that the authority learns.
#[derive(Debug)]
pub enum Input {
    /// A stream was opened; with the name of the NVE if a certificate proves it.
    Opened(SessionId, Option<String>),
    /// A message came.
    Up(SessionId, Up),
    /// Messages of this weight ([`Down::weight`]) have left for an NVE: there is room for others.
    Ready(SessionId, usize),
    /// The peer of a stream is trusted no longer, or breaks the protocol, and why.
    Distrusted(SessionId, String),
    /// A stream ended.
    Closed(SessionId),
    /// An operator wants an identifier released whose owner has no session.
    Release(Ticket, Key),
    /// An operator wants everything released of an NVE that may not open a session.
    ReleaseAll(Ticket, String),
    /// An operator wants a restored registry to wait no longer.
    Resume(Ticket),
    /// An operator lets a frozen identifier go.
    Unfreeze(Ticket, Key),
    /// The configuration changed.
    Reconfigured(Configured),
    /// An operator changes a network, a policy or an attachment. Answered by [`Effect::Released`].
    Change(Ticket, ObjectKey, Change),
    /// An operator allocates or frees a locator. Answered by [`Effect::Released`].
    Locator(Ticket, LocatorChange),
    /// An operator, by this name, wants an attachment moved. Answered by [`Effect::Released`] with the name of the move.
    Move(Ticket, String, MoveRequest),
    /// An operator, by this name, says something of a move. Answered in the same way.
    MoveSaid(Ticket, String, MoveCommand),
    /// An operator, by this name, wants something of groups. Answered by [`Effect::Released`] with the sequence of the
    /// group.
    Group(Ticket, String, GroupWish),
    /// An operator says that the NVEs that vanished are lost, and fail over. Answered by [`Effect::Released`].
    ReleaseBrake(Ticket),
    /// The commit under way is durable, or nothing of it is there and why. Of one that writes nothing: the store held what
    /// it was judged by.
    Committed(Result<(), String>),
    /// Another authority made this durable as the next revision: nothing of a commit under way is there. These NVEs opened a
    /// session there, each with the name of the authority.
    Others(Transaction, Vec<(String, String)>),
    /// What the store holds now. The transactions up to it are not known any more.
    Replaced(Stored),
    /// All NVEs that have a session at another authority, and its name.
    AtOthers(Vec<(String, String)>),
    /// An NVE has no session at another authority any more.
    Nowhere(String),
    /// All NVEs with a session at another authority, of this name, have applied what they are waited for up to this revision;
    /// none: that authority is gone.
    AppliedAt(String, Option<u64>),
    /// The store forgot which sessions are here.
    Forgotten,
    /// The time of [`Authority::due_ms`] is there.
    Due,
    /// Time has passed.
    Tick,
}

/// What the authority wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this to an NVE. There is never more on its way than [`Input::Ready`] gave room for.
    Down(SessionId, Down<Encoded>),
    /// End a stream after what was sent and an Error with this reason.
    Close(SessionId, String),
    /// Tell an operator: the sequence and the revision of a release or change, or why there is none.
    Released(Ticket, Released),
    /// Make this durable and say so; one at a time.
    Commit(Commit),
    /// Tell the other authorities of a shared store that this NVE has no session here any more.
    Left(Arc<str>),
    /// Tell the other authorities of a shared store that all NVEs with a session here have applied everything up to this
    /// revision that they are waited for. The last one counts.
    Applied(u64),
    /// Tell operators that this happened. It comes before what else is to be done.
    Event(Event),
}

/// What became of the triangular packets that ILA routers told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Triangles {
    /// The sender's NVE is told.
    pub redirected: u64,
    /// It was told a moment ago, or it does not ask, or nobody has the source or the destination.
    pub needless: u64,
    /// Beyond the rate of one router.
    pub unheard: u64,
}

/// Where NVEs had something else than the registry, by their own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drifts {
    /// Parts of the mappings.
    pub mappings: u64,
    /// Times that what operators want was another one there.
    pub objects: u64,
}

/// What an operator sets of sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionLimits {
    /// A session ends when nothing comes for so long.
    pub lease_ms: u32,
    /// A released identifier is kept for its last owner for so long.
    pub hold_down_ms: u64,
    /// A registry that was restored waits so long at most for NVEs to register what they have.
    pub restore_wait_ms: u64,
    /// How long a mapping may be used after an answer.
    pub cache_lifetime_ms: u32,
    /// Requests of one NVE that are judged in a second; the others wait.
    pub requests_per_second: u32,
    /// NVEs are told about so often what they should have; 0: never.
    pub digest_ms: u64,
}

/// What of a configuration is taken over while it runs.
#[derive(Debug, Default)]
pub struct Configured {
    /// The NVEs by name.
    pub nves: HashMap<String, Nve>,
    /// What networks may have.
    pub quotas: Quotas,
    /// When identifiers are frozen where they are.
    pub freeze: FreezeRules,
    /// By what rules networks, policies and attachments are judged.
    pub rules: ProvisionRules,
    /// Limits of sessions.
    pub sessions: SessionLimits,
    /// How blocks and locators are allocated.
    pub allocations: AllocationRules,
    /// How long states of moves last.
    pub moves: MoveRules,
    /// When NVEs count as lost.
    pub groups: GroupRules,
}

/// How it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the registry's history.
    pub epoch: Vec<u8>,
    /// What an operator sets.
    pub sessions: SessionLimits,
    /// What is kept for the sessions.
    pub limits: Limits,
    /// How the store takes transactions.
    pub commits: CommitRules,
    /// Until when NVEs may use what an authority before this one answered.
    pub answered_before_ms: u64,
    /// When its clock was 0: milliseconds since 1970.
    pub began_unix_ms: u64,
}

impl Settings {
    /// How long an NVE may use what it asked for after its session.
    pub(super) fn used_ms(&self) -> u64 {
        used_ms(self.sessions.cache_lifetime_ms)
    }
}

/// How long an NVE may use what it asked for after its session, if mappings have this lifetime.
#[must_use]
pub fn used_ms(cache_lifetime_ms: u32) -> u64 {
    GRACE * u64::from(cache_lifetime_ms) + MARGIN_MS
}
