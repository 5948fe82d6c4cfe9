//! What goes into the NVE's half of a session and comes out of it.

use crate::config::RefusedEntry;
use crate::mapping::Digest;
use crate::net::Mac;
use crate::nva::addresses::AddressCounts;
use crate::nva::blocks::OwnBlock;
use crate::nva::cache::Counts;
use crate::nva::comparison::DriftCounts;
use crate::nva::failover::NodeGroups;
use crate::nva::finds::MacCounts;
use crate::nva::message::{AttachedNetwork, Down, Extent, FoundMac, MoveId, Told, Triangle, Up};
use crate::nva::mobility::{NodeMoves, Sight};
use crate::nva::model::{Binding, Key, Known, Network};
use crate::nva::wanted::Objects;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that the client learns.
#[derive(Debug)]
pub enum Input {
    /// The identifiers that are attached here, with the locators of this node.
    Attached(BTreeMap<Key, Binding>),
    /// The virtual networks of which there are tenants here.
    Networks(BTreeMap<Network, AttachedNetwork>),
    /// A tenant asks who has this MAC address of its network.
    FindMac(Network, Mac),
    /// The tenant of the attachment of this name asks for addresses by RARP, and is to get them.
    AllocateAddress(String),
    /// A tenant announced that it has this identifier.
    Announced(Key),
    /// The stream is open.
    Opened,
    /// The stream ended, or did not open, and why.
    Closed(String),
    /// A message came.
    Down(Down),
    /// What an [`Effect::Apply`] gave is in force in every worker.
    Applied,
    /// What is in force has these digests, by SIR prefix: the answer to [`Effect::Compare`].
    Compared(Vec<(u64, Digest)>),
    /// What an [`Effect::Apply`] gave cannot be applied, and why.
    Unusable(String),
    /// What operators want, as this state of the registry shows it, is in force but for what the node refuses.
    Provisioned(Known, Vec<RefusedEntry>),
    /// The node sees this of a move that it was told of. It says so once, and again if it becomes something else: the client
    /// says it to the authority until that has heard it, and proves an arrival.
    Move(MoveId, Sight),
    /// Packets need these identifiers, or use one that is about to expire; in cache mode.
    Misses(Vec<Key>),
    /// Packets came to this node that could have gone direct. Only an ILA router of the authority tells it of them.
    Triangles(Vec<Triangle>),
    /// Time has passed. Timers are served, and what is due is registered, in this step only.
    Tick,
}

/// What the client wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open a stream to the authority with this place in the list.
    Open(usize),
    /// Close it.
    Close,
    /// Send this.
    Up(Up),
    /// Apply these mappings and say so; one at a time.
    Apply {
        /// What else goes.
        extent: Extent,
        /// The mappings.
        mappings: Vec<Told>,
        /// In cache mode: those that are about to expire. Packets that use one are to be told of as [`Input::Misses`].
        expiring: Vec<Key>,
        /// The state of the registry that is in force then.
        known: Known,
    },
    /// Say what the mappings of the authority that are in force add up to. Nothing is to be applied meanwhile.
    Compare,
    /// This is all that operators want at the node. What came before counts no longer.
    Provision(Arc<Objects>),
    /// The node makes identifiers from these blocks, and from no others.
    Blocks(Vec<OwnBlock>),
    /// These MAC addresses of a network have these identifiers.
    Found(Network, Vec<FoundMac>),
    /// These are all moves that concern the node. One that was among them and is not is over. They stay without a session.
    Moves(Arc<NodeMoves>),
    /// Keep, over a restart, with which sequence this was registered, of which nothing else is kept; none: the node has it no
    /// longer.
    Own(Key, Option<u64>),
    /// The node is a member of these groups.
    Groups(Arc<NodeGroups>),
    /// Tell the operator.
    Tell(News),
}

/// What an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The session is live.
    Live {
        /// Revision of the registry.
        revision: u64,
    },
    /// Everything is told anew, and why.
    Resync(String),
    /// What is in force differs from the registry, although nothing is on its way; it is told anew.
    Drift {
        /// Parts of the mappings that differ.
        parts: usize,
        /// Whether what operators want differs.
        objects: bool,
    },
    /// There is no session, and the node goes on with what it knows.
    Away(String),
    /// The authority tells nothing of a network, and why.
    Untold(String),
    /// There was none for the whole grace period.
    GraceOver {
        /// Whether the node forgets the mappings now.
        forgets: bool,
    },
    /// The authority leases no blocks: it is of an earlier release.
    NoBlocks,
    /// The authority leases no block, and why.
    BlockRefused(String),
    /// The authority allocates no addresses to an attachment whose tenant asks by RARP.
    AddressRefused {
        /// Its name.
        attachment: String,
        /// The rule and the way out.
        why: String,
    },
    /// The authority refuses an identifier.
    Refused {
        /// The identifier.
        key: Key,
        /// Who has it.
        owner: Option<String>,
        /// The rule and the way out.
        why: String,
    },
}

/// What operators see at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the session is live.
    pub live: bool,
    /// Everything up to this revision is in force.
    pub applied: u64,
    /// Identifiers of this node that are registered.
    pub registered: usize,
    /// Identifiers of this node that the authority refuses.
    pub refused: usize,
    /// Whether there was no session for the whole grace period.
    pub grace_over: bool,
    /// Whether the mappings went for that.
    pub forgot: bool,
    /// Whether the authority has this node for an ILA router, now.
    pub router: bool,
    /// Triangular packets that were told of.
    pub triangles: u64,
    /// What came of comparing with the authority.
    pub drift: DriftCounts,
    /// What came of asking, in cache mode.
    pub cache: Counts,
    /// What came of asking by MAC address.
    pub macs: MacCounts,
    /// What came of asking for addresses of tenants.
    pub addresses: AddressCounts,
}
