//! The messages of a session, as the cores on both sides see them (`proto/ilagate/nva/v1/nva.proto`).

use super::model::{Choice, Key};

/// The version of the protocol that this release speaks.
pub const VERSION: u32 = 1;

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
    },
    /// It has this identifier at these locators.
    Register {
        /// The answer repeats it.
        id: u64,
        /// The identifier.
        key: Key,
        /// Where it is.
        choices: Vec<Choice>,
    },
    /// It has this identifier no longer.
    Unregister {
        /// The answer repeats it.
        id: u64,
        /// The identifier.
        key: Key,
    },
    /// It wants every mapping.
    Subscribe,
    /// Every worker uses everything up to this revision.
    Applied(u64),
    /// It is alive.
    Beat,
    /// Everything that it has was registered in this session.
    Complete,
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

/// From the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
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
    /// A part of a snapshot.
    Page(Vec<Told>),
    /// The snapshot is whole and shows this revision.
    SnapshotEnd(u64),
    /// One transaction, which made this revision.
    Delta(u64, Vec<Told>),
    /// Everything up to this revision was sent.
    Progress(u64),
    /// The session ends, and why.
    Error(String),
}
