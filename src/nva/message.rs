//! The messages of a session, as the cores on both sides see them (`proto/ilagate/nva/v1/nva.proto`).

use super::catalogue::Seen;
use super::model::{Choice, Key, Known, Network};
use crate::config::{Entry, ObjectName, RefusedEntry};
use crate::ila::Locator;
use crate::ila::generate::Registrar;
use crate::mapping::{Digest, PARTS, Parts, Scopes};
use crate::net::Mac;
use std::net::IpAddr;
use std::sync::Arc;

pub use super::failover::{GroupPart, GroupTold, GroupsPart};
pub use super::mobility::{InFlight, Mode, Modes, MoveId, MoveState, Role, Sign, Token};

/// The version of the protocol that this release speaks.
pub const VERSION: u32 = 1;

/// Identifiers of one [`Up::Query`], at most.
pub const QUERY_KEYS: usize = 64;
/// Queries of a session that wait for their answers, at most.
pub const QUERIES: usize = 16;
/// Entries of one [`Up::Triangular`], at most.
pub const TRIANGLES: usize = 64;
/// Networks of one [`Up::Attached`], at most.
pub const NETWORKS: usize = 512;
/// Networks that an NVE has, at most.
pub const NETWORKS_IN_ALL: usize = 4_096;
/// Prefixes of one network, at most.
pub const SUBNETS: usize = 65;
/// Identifiers of which a session is told what changes after an answer, at most. The oldest leave.
pub const INTERESTS: usize = 65_536;

/// Entries that one [`Up::Provisioned`] refuses, at most.
pub const REFUSED: usize = 1_000;
/// Bytes of entries that one [`Down::Provision`] holds, besides one that goes beyond them.
pub const PROVISION_BYTES: usize = 64 << 10;

/// Names a session as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Names a request of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// From an NVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    /// The first message: who it is, and what it speaks.
    Hello {
        /// Versions of the protocol.
        versions: Vec<u32>,
        /// Name of the NVE.
        nve: String,
        /// A number of this run of the NVE.
        boot: u64,
        /// Whether it will ask, not subscribe, and takes [`Down::Redirect`].
        asks: bool,
        /// Whether it takes [`Down::Digest`] and [`Down::Repair`].
        digests: bool,
        /// How attachments may move to it and from it; with none, it is told of no [`Down::Moves`].
        moves: Modes,
        /// Whether it takes [`Down::Groups`].
        groups: bool,
    },
    /// It has this identifier at these locators.
    Register {
        /// The answer repeats it.
        id: u64,
        /// The identifier.
        key: Key,
        /// Where it is.
        choices: Vec<Choice>,
        /// The sequence with which it was registered before, as far as the NVE knows; 0: it does not.
        known: u64,
        /// The MAC address of the tenant or task that has it.
        mac: Option<Mac>,
    },
    /// It has this identifier no longer.
    Unregister {
        /// The answer repeats it.
        id: u64,
        /// The identifier.
        key: Key,
    },
    /// It wants the mappings of these scopes, from what it has in force on.
    Subscribe(Option<Known>, Scopes),
    /// Every worker uses everything up to this revision.
    Applied(u64),
    /// It is alive.
    Beat,
    /// Everything that it has was registered in this session.
    Complete,
    /// It needs these identifiers.
    Query {
        /// The answer repeats it.
        id: u64,
        /// The identifiers, 1 to [`QUERY_KEYS`].
        keys: Vec<Key>,
    },
    /// These came to it as an ILA router, and could have gone direct: 1 to [`TRIANGLES`].
    Triangular(Vec<Triangle>),
    /// It takes what operators want at it.
    Provision,
    /// What operators want at it is in force up to this revision, but for what it refuses.
    Provisioned {
        /// The revision of the last [`Down::Provision`].
        revision: u64,
        /// What it refuses, at most [`REFUSED`] entries.
        refused: Vec<RefusedEntry>,
    },
    /// What is in force differs from the last [`Down::Digest`].
    Drift {
        /// The parts of the mappings that differ.
        parts: Parts,
        /// Whether what operators want differs.
        objects: bool,
    },
    /// It wants a block of identifiers, or its block for longer.
    LeaseBlock {
        /// The answer repeats it.
        id: u64,
        /// Of the SIR domain.
        sir_prefix: u64,
        /// The one that it had before.
        had: Option<Registrar>,
    },
    /// The tenant of an attachment here asks for addresses by RARP.
    AllocateAddress {
        /// The answer repeats it.
        id: u64,
        /// `attachments[].name`
        attachment: String,
    },
    /// Who has these MAC addresses in a virtual network?
    FindMacs {
        /// The answer repeats it.
        id: u64,
        /// The network.
        network: Network,
        /// The MAC addresses, 1 to [`QUERY_KEYS`].
        macs: Vec<Mac>,
    },
    /// The virtual networks of which it has tenants, and what changed of them.
    Attached(AttachedNetworks),
    /// What it sees of a move that it was told of.
    Move(MoveReport),
}

/// A virtual network as an NVE has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedNetwork {
    /// Its name there.
    pub name: String,
    /// The MAC address of its gateway.
    pub gateway_mac: Mac,
    /// Its prefixes with their gateways, as files write them.
    pub subnets: Vec<(String, String)>,
}

/// What an NVE says of its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachedNetworks {
    /// What was said before counts no longer.
    pub whole: bool,
    /// New ones, and what they are now: at most [`NETWORKS`].
    pub networks: Vec<(Network, AttachedNetwork)>,
    /// Those without tenants there now.
    pub detached: Vec<Network>,
}

/// What an NVE says of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveReport {
    /// Names the move.
    pub id: MoveId,
    /// What it says.
    pub what: MoveWhat,
    /// The state that it was told when it said so; none: it is of an earlier release, which does not tell.
    pub state: Option<MoveState>,
}

/// What an NVE may say of a move. What comes late or twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveWhat {
    /// While preparing: it has all that it needs. The old NVE, while detached: it sends on what comes.
    Ready,
    /// It cannot do its part, and why.
    Failed(String),
    /// The old NVE: the attachment left.
    Detached(Sign),
    /// The new NVE: the attachment is there; with the token that it was told.
    Arrived(Token, Sign),
    /// The old NVE, while draining: no packet came for [`MoveTold::idle_ms`]. Both, while aborting: what they did is undone.
    Drained,
}

/// What somebody has of a MAC address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMac {
    /// The MAC address.
    pub mac: Mac,
    /// Its identifiers, at most [`QUERY_KEYS`].
    pub identifiers: Vec<u64>,
}

/// Packets that take the way by an ILA router although their destination is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Triangle {
    /// Who sends them.
    pub source: Key,
    /// Where they go.
    pub destination: Key,
}

/// One mapping as it is told to an NVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The identifier.
    pub key: Key,
    /// Where it is; none: nowhere any more.
    pub choices: Vec<Choice>,
    /// Rises with every change.
    pub sequence: u64,
}

/// What mappings that are to be applied say of all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nothing: they are what changed.
    #[default]
    Changes,
    /// They are all there are in these parts: what else is there of these goes.
    Parts(Parts),
    /// They are all there are: everything else goes.
    All,
}

/// Mappings as they stand on the wire: encoded once for all sessions. Two of them, one after the other, are the mappings
/// of both.
pub type Encoded = prost::bytes::Bytes;

/// From the authority. `M` is what mappings are told as: the authority has them [`Encoded`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down<M = Vec<Told>> {
    /// The answer to Hello.
    Welcome {
        /// Version of the protocol from here on.
        version: u32,
        /// Name of the registry's history.
        epoch: Vec<u8>,
        /// Its revision.
        revision: u64,
        /// The session ends when nothing comes for so long.
        lease_ms: u32,
        /// Whether the NVE may say [`Up::Triangular`].
        router: bool,
        /// Whether it may say [`Up::LeaseBlock`].
        blocks: bool,
        /// Whether the authority takes [`Up::FindMacs`] and [`Up::Attached`].
        bindings: bool,
        /// Whether it takes [`Up::AllocateAddress`].
        addresses: bool,
    },
    /// A request is durable.
    Registered {
        /// Of the request.
        id: u64,
        /// Of the record.
        sequence: u64,
        /// Of the registry.
        revision: u64,
    },
    /// A request changed nothing.
    Refused {
        /// Of the request.
        id: u64,
        /// Who has the identifier.
        owner: Option<String>,
        /// Of the record.
        sequence: u64,
        /// The rule and the way out.
        why: String,
        /// Whether the same may pass later.
        temporary: bool,
    },
    /// No snapshot is needed: what came after this revision follows.
    Resumed(u64),
    /// A snapshot begins, and why. Pages before it are void.
    Resync(String),
    /// A part of a snapshot. What a later one says of an identifier counts.
    Page(M),
    /// The snapshot is whole and shows this revision.
    SnapshotEnd(u64),
    /// Whole transactions after what was sent before, the last of which made this revision. What it says of an
    /// identifier last counts.
    Delta(u64, M),
    /// Everything up to this revision was sent.
    Progress(u64),
    /// The answer to a query.
    Answer {
        /// Of the query.
        id: u64,
        /// The revision that it shows.
        revision: u64,
        /// What is known of each identifier; one without locators is nobody's.
        mappings: M,
        /// How long a mapping may be used.
        lifetime_ms: u32,
        /// How long what nobody has need not be asked for again.
        negative_lifetime_ms: u32,
    },
    /// Where identifiers are to which the NVE sends by an ILA router.
    Redirect {
        /// The revision that it shows.
        revision: u64,
        /// The mappings.
        mappings: M,
        /// How long they may be used.
        lifetime_ms: u32,
    },
    /// What operators want at the NVE: a part of it.
    Provision(Provision),
    /// What the NVE has once everything before is in force.
    Digest {
        /// The revision that it shows.
        revision: u64,
        /// Of the mappings that it follows, by SIR prefix; a domain without mappings may be left out. None for an NVE that
        /// asks, and for scopes with too many of them.
        mappings: Option<Vec<(u64, Digest)>>,
        /// Of what operators want, if the NVE takes that.
        objects: Option<u64>,
    },
    /// A snapshot of these parts begins. What it lacks of them goes at its end; what it says of others counts as well.
    Repair(Parts),
    /// The NVE has a block of identifiers.
    BlockLeased {
        /// Of the request.
        id: u64,
        /// Which one.
        block: Registrar,
        /// The highest identifier of it that the NVE ever registered; 0: none.
        reached: u64,
        /// For so long from when it asked.
        lease_ms: u64,
    },
    /// Moves of attachments to the NVE and away from it: a part of them.
    Moves(MovesPart),
    /// Groups that the NVE is a member of: a part of them.
    Groups(GroupsPart),
    /// The session ends, and why.
    Error(String),
    /// The answer to [`Up::FindMacs`].
    FoundMacs {
        /// Of the question.
        id: u64,
        /// The revision that it shows.
        revision: u64,
        /// Those that somebody has.
        found: Vec<FoundMac>,
        /// How long what nobody has need not be asked for again.
        negative_lifetime_ms: u32,
        /// Why the NVE is told nothing.
        why: Option<String>,
    },
}

/// A part of the moves that concern an NVE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MovesPart {
    /// It begins anew: what it does not name is over.
    pub whole: bool,
    /// Nothing of it counts before the last part.
    pub last: bool,
    /// New ones, and what they are now.
    pub moves: Vec<MoveTold>,
    /// Those that are over.
    pub over: Vec<MoveId>,
}

/// A move as an NVE is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTold {
    /// Its name.
    pub id: MoveId,
    /// Rises with every change.
    pub sequence: u64,
    /// How far it is.
    pub state: MoveState,
    /// The part of the NVE that is told.
    pub role: Role,
    /// `attachments[].name`, the same at both.
    pub attachment: String,
    /// To the new NVE, before the commit: the entry, which is expected there and not in force. None although it should be
    /// there: this release cannot read it.
    pub entry: Option<Arc<Entry>>,
    /// The identifiers of the attachment.
    pub keys: Vec<Key>,
    /// The other NVE.
    pub peer: String,
    /// Its locators in the SIR domains of these.
    pub peer_locators: Vec<Place>,
    /// Where its end of tunnels is, if it has one.
    pub peer_vtep: Option<IpAddr>,
    /// Where that of the NVE that is told is.
    pub vtep: Option<IpAddr>,
    /// Whether the other NVE did its part in this state.
    pub peer_done: bool,
    /// How the attachment moves.
    pub mode: Mode,
    /// What becomes of packets in flight.
    pub in_flight: InFlight,
    /// To the new NVE, before the commit: what an arrival is proved with.
    pub token: Option<Token>,
    /// The state ends by itself after so long from when this came; none: it waits for somebody.
    pub left_ms: Option<u64>,
    /// It is away for longer than it may: what comes for it is dropped in silence. It may still arrive.
    pub overdue: bool,
    /// While draining: the old NVE is done when no packet came for so long.
    pub idle_ms: u64,
}

impl MoveTold {
    /// What one weighs besides its entry, in bytes, about.
    pub const WEIGHT: usize = 512;
}

/// A locator in a SIR domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The SIR prefix of the domain.
    pub sir_prefix: u64,
    /// The locator.
    pub locator: Locator,
}

impl MovesPart {
    fn weight(&self) -> usize {
        let entry = |one: &MoveTold| one.entry.as_ref().map_or(0, |entry| entry.written().len());
        let one = |one: &MoveTold| MoveTold::WEIGHT + one.keys.len() * size_of::<Key>() + entry(one);
        self.moves.iter().map(one).sum::<usize>() + self.over.len() * size_of::<MoveId>()
    }
}

/// A part of what operators want at an NVE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provision {
    /// Once the last part is there, it shows this revision.
    pub revision: u64,
    /// It begins anew: what it does not name is wanted no longer.
    pub whole: bool,
    /// Nothing of it counts before the last part.
    pub last: bool,
    /// New ones, and what they are now.
    pub objects: Vec<Seen>,
    /// Those that are wanted no longer.
    pub deleted: Vec<ObjectName>,
    /// New ones that this release cannot read, and why: it refuses them. The authority writes none.
    pub unread: Vec<RefusedEntry>,
}

impl Provision {
    fn weight(&self) -> usize {
        let objects: usize = self.objects.iter().map(|seen| seen.entry.written().len() + ENVELOPE).sum();
        objects + self.deleted.len() * ENVELOPE
    }
}

/// What a message weighs besides mappings and text, in bytes, on its way.
const ENVELOPE: usize = 64;

impl Down<Encoded> {
    /// What it takes of the window of a session: its bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        ENVELOPE
            + match self {
                Down::Page(mappings)
                | Down::Delta(_, mappings)
                | Down::Answer { mappings, .. }
                | Down::Redirect { mappings, .. } => mappings.len(),
                Down::Refused { why, owner, .. } => why.len() + owner.as_ref().map_or(0, String::len),
                Down::Resync(why) | Down::Error(why) => why.len(),
                Down::Provision(provision) => provision.weight(),
                Down::Digest { mappings, .. } => mappings.iter().flatten().count() * PARTS * size_of::<u64>(),
                Down::Repair(parts) => parts.len() * size_of::<u32>(),
                Down::FoundMacs { found, why, .. } => {
                    let identifiers: usize = found.iter().map(|one| one.identifiers.len() + 2).sum();
                    identifiers * size_of::<u64>() + why.as_ref().map_or(0, String::len)
                }
                Down::Moves(part) => part.weight(),
                Down::Groups(part) => part.weight(),
                Down::Welcome { .. }
                | Down::Registered { .. }
                | Down::BlockLeased { .. }
                | Down::Resumed(_)
                | Down::SnapshotEnd(_)
                | Down::Progress(_) => 0,
            }
    }
}
