//! What a group is.

use crate::config::Entry;
use crate::nva::mobility::Moment;
use crate::nva::model::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Moments of a group that are kept: the first one, and the last ones.
const MOMENTS: usize = 32;

/// How the members of a group have the identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKind {
    /// One of them has them; the others are its standbys, in their order.
    Primary,
    /// All of them have them, by weight.
    Shared,
}

impl GroupKind {
    /// All of them.
    pub const ALL: [GroupKind; 2] = [GroupKind::Primary, GroupKind::Shared];

    /// Its name for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            GroupKind::Primary => "primary",
            GroupKind::Shared => "shared",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// Whether a member has the identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberState {
    /// It has them.
    Active,
    /// It does not, and is ready to.
    Standby,
}

impl MemberState {
    /// Both.
    pub const ALL: [MemberState; 2] = [MemberState::Active, MemberState::Standby];

    /// Its name for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            MemberState::Active => "active",
            MemberState::Standby => "standby",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// Why the identifiers of a group went to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Nothing came from the NVE for as long as its lease is.
    Lease,
    /// It did not come back in time after an authority had started, or ended.
    Grace,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 2] = [Cause::Lease, Cause::Grace];

    /// Its name for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Cause::Lease => "lease",
            Cause::Grace => "grace",
        }
    }
}

/// An NVE of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub nve: String,
    /// The entry of the attachment there.
    pub document: String,
    /// Its part of the traffic, if it is shared.
    pub weight: u16,
    /// Whether it has the identifiers.
    pub state: MemberState,
}

/// An attachment that stands at several NVEs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Name of the attachment, the same at all members.
    pub attachment: String,
    /// How the members have the identifiers.
    pub kind: GroupKind,
    /// The NVEs; the first one is the primary.
    pub members: Vec<Member>,
    /// The networks of the attachment.
    pub networks: Vec<String>,
    /// Its identifiers.
    pub keys: Vec<Key>,
    /// Rises with every change: the revision that made it.
    pub sequence: u64,
    /// Since when it is as it is: milliseconds since 1970.
    pub since_ms: u64,
    /// How often the identifiers went to another member because one was lost.
    pub failovers: u64,
    /// What happened to it, the first first.
    pub timeline: Vec<Moment>,
}

impl Group {
    /// A member by the name of its NVE.
    #[must_use]
    pub fn member(&self, nve: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.nve == nve)
    }

    /// Those that have the identifiers.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.state == MemberState::Active)
    }

    /// Whether a member has the identifiers.
    #[must_use]
    pub fn is_active(&self, nve: &str) -> bool {
        self.member(nve).is_some_and(|member| member.state == MemberState::Active)
    }

    /// Whether the identifiers are where they are declared to be: at the primary, or at all members.
    #[must_use]
    pub fn is_as_declared(&self) -> bool {
        match self.kind {
            GroupKind::Primary => {
                self.members.first().is_some_and(|first| first.state == MemberState::Active)
            }
            GroupKind::Shared => self.members.iter().all(|member| member.state == MemberState::Active),
        }
    }

    /// The NVE under whose name the identifiers are registered: the first one that has them.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.active().next().or(self.members.first()).map_or("", |member| member.nve.as_str())
    }

    /// Notes that something happened.
    pub fn note(&mut self, moment: Moment) {
        if self.timeline.len() >= MOMENTS {
            self.timeline.remove(1);
        }
        self.timeline.push(moment);
    }
}

/// A member as an operator declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRequest {
    /// Name of the NVE.
    pub nve: String,
    /// The port of the attachment there; none: it is there already, or the port has the same name.
    pub port: Option<String>,
    /// Its VLAN there.
    pub vlan: Option<u16>,
    /// Its part of the traffic, if it is shared.
    pub weight: u16,
}

/// A group as an operator declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRequest {
    /// Its name.
    pub name: String,
    /// Name of the attachment, which is at the first member.
    pub attachment: String,
    /// How the members have the identifiers.
    pub kind: GroupKind,
    /// The NVEs; the first one is the primary.
    pub members: Vec<MemberRequest>,
}

/// What an operator wants of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupWish {
    /// One declared.
    Add(GroupRequest),
    /// One declared no longer: the identifiers stay where they are.
    Delete(String),
    /// The identifiers of one back at its primary, or also at this member.
    Return(String, Option<String>),
}

impl GroupWish {
    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            GroupWish::Add(request) => &request.name,
            GroupWish::Delete(name) | GroupWish::Return(name, _) => name,
        }
    }
}

/// When NVEs count as lost, and how many groups there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupRules {
    /// How long NVEs may take to come back after the start of an authority, or after another one ended.
    pub grace_ms: u64,
    /// When nobody fails over.
    pub brake: super::BrakeRules,
    /// Groups that one NVE is a member of.
    pub per_nve: usize,
}

impl Default for GroupRules {
    fn default() -> Self {
        GroupRules { grace_ms: 30_000, brake: super::BrakeRules::default(), per_nve: 4_096 }
    }
}

/// What a member is told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupPart {
    /// It has the identifiers.
    Active,
    /// It has the entry in force, and neither receives, nor announces, nor sends.
    Standby,
}

/// A group as a member is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTold {
    /// Its name.
    pub name: String,
    /// Rises with every change.
    pub sequence: u64,
    /// What the member is.
    pub part: GroupPart,
    /// `attachments[].name`.
    pub attachment: String,
    /// Its entry there. None although it should be there: this release cannot read it.
    pub entry: Option<Arc<Entry>>,
    /// The identifiers of the attachment.
    pub keys: Vec<Key>,
}

impl GroupTold {
    /// What one weighs besides its entry, in bytes, about.
    pub const WEIGHT: usize = 256;
}

/// The groups that a node is a member of, by their names.
pub type NodeGroups = BTreeMap<String, GroupTold>;

/// A part of the groups that an NVE is a member of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupsPart {
    /// It begins anew: what it does not name is over.
    pub whole: bool,
    /// Nothing of it counts before the last part.
    pub last: bool,
    /// New ones, and what they are now.
    pub groups: Vec<GroupTold>,
    /// Those that are over.
    pub over: Vec<String>,
}

impl GroupsPart {
    /// What it takes of the window of a session: its bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let entry = |one: &GroupTold| one.entry.as_ref().map_or(0, |entry| entry.written().len());
        let one = |one: &GroupTold| GroupTold::WEIGHT + one.keys.len() * size_of::<Key>() + entry(one);
        self.groups.iter().map(one).sum::<usize>() + self.over.iter().map(String::len).sum::<usize>()
    }
}
