//! What operators are told of as it happens: the one source of the log, of those who watch, and of the page.
//!
//! An event says who did it by what the authority knows: a session, or the request of an operator. The shell knows names,
//! places and the time.

use super::message::{SessionId, Ticket};
use super::model::{Choice, Key, ObjectKey};
use std::sync::Arc;

/// Lists the kinds: `/// sentence`, then `Kind = "label"`.
macro_rules! kinds {
    ($($(#[doc = $sentence:literal])+ $kind:ident = $label:literal,)+) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $sentence])+ $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// Its name for programs.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Kind::$kind => $label,)+ }
            }

            /// What happened, for people.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Kind::$kind => concat!($($sentence),+).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// the authority begins
    Started = "started",
    /// a session begins
    SessionOpened = "session_opened",
    /// an NVE ends its session
    SessionClosed = "session_closed",
    /// a session is stale and ends
    SessionStale = "session_stale",
    /// a session ends
    SessionEnded = "session_ended",
    /// a session is refused
    SessionRefused = "session_refused",
    /// registered
    Registered = "registered",
    /// released
    Released = "released",
    /// registered or released more than is told one by one
    MoreRegistered = "more_registered",
    /// refused
    Refused = "refused",
    /// refused more than is told one by one
    MoreRefused = "more_refused",
    /// an identifier went to and fro and is frozen at this NVE
    Frozen = "frozen",
    /// unfrozen by an operator
    Unfrozen = "unfrozen",
    /// an NVE is redirected
    Redirected = "redirected",
    /// made: changed by an operator
    Added = "added",
    /// replaced: changed by an operator
    Replaced = "replaced",
    /// deleted: changed by an operator
    Deleted = "deleted",
    /// a change by an operator is refused
    ChangeRefused = "change_refused",
    /// an NVE refuses what operators want at it
    ObjectsRefused = "objects_refused",
    /// the registry waits no longer: new identifiers are registered
    RestorationEnded = "restoration_ended",
    /// the store was read anew: what it told was too far behind
    Reread = "reread",
    /// reloaded
    Reloaded = "reloaded",
    /// backup
    BackedUp = "backed_up",
    /// a MAC address is registered by two NVEs in one network
    MacConflict = "mac_conflict",
    /// the gateway of a network has another MAC address at this NVE
    GatewayMacDiffers = "gateway_mac_differs",
    /// an NVE has tenants of a network
    NetworkAttached = "network_attached",
    /// an NVE has no tenants of a network any more
    NetworkDetached = "network_detached",
    /// allocated
    Allocated = "allocated",
    /// an allocation is free again
    Freed = "freed",
    /// an attachment is to move
    MovePreparing = "move_preparing",
    /// both NVEs are ready for a move
    MovePrepared = "move_prepared",
    /// an attachment that moves left its NVE
    MoveDetached = "move_detached",
    /// an attachment that moves is away for too long
    MoveOverdue = "move_overdue",
    /// an attachment moved
    Moved = "moved",
    /// all know where an attachment moved
    MoveDraining = "move_draining",
    /// a move is over
    MoveEnded = "move_ended",
    /// a move is aborted
    MoveAborting = "move_aborting",
    /// an NVE cannot do its part of a move
    MoveFailed = "move_failed",
    /// what an NVE says of a move is refused
    MoveRefused = "move_refused",
    /// a group for hot failover is declared
    GroupDeclared = "group_declared",
    /// a group for hot failover is declared no longer
    GroupDeleted = "group_deleted",
    /// an NVE is lost, and another member of its group has its identifiers
    FailedOver = "failed_over",
    /// the identifiers of a group returned
    GroupReturned = "group_returned",
    /// too many NVEs vanished at once: nobody fails over
    FailoverBraked = "failover_braked",
    /// groups fail over again
    FailoverUnbraked = "failover_unbraked",
}

impl Kind {
    /// Whether something is wrong, or an operator did it.
    #[must_use]
    pub fn is_notable(self) -> bool {
        match self {
            Kind::SessionStale
            | Kind::SessionEnded
            | Kind::SessionRefused
            | Kind::Refused
            | Kind::MoreRefused
            | Kind::Added
            | Kind::Replaced
            | Kind::Deleted
            | Kind::ChangeRefused
            | Kind::ObjectsRefused
            | Kind::Frozen
            | Kind::Unfrozen
            | Kind::MacConflict
            | Kind::GatewayMacDiffers
            | Kind::MovePreparing
            | Kind::MoveOverdue
            | Kind::Moved
            | Kind::MoveAborting
            | Kind::MoveFailed
            | Kind::MoveRefused
            | Kind::GroupDeclared
            | Kind::GroupDeleted
            | Kind::FailedOver
            | Kind::GroupReturned
            | Kind::FailoverBraked
            | Kind::FailoverUnbraked
            | Kind::Reread => true,
            Kind::Started
            | Kind::SessionOpened
            | Kind::SessionClosed
            | Kind::Registered
            | Kind::Released
            | Kind::MoreRegistered
            | Kind::Redirected
            | Kind::NetworkAttached
            | Kind::NetworkDetached
            | Kind::RestorationEnded
            | Kind::Reloaded
            | Kind::MovePrepared
            | Kind::MoveDetached
            | Kind::MoveDraining
            | Kind::MoveEnded
            | Kind::BackedUp
            | Kind::Allocated
            | Kind::Freed => false,
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum By {
    /// The authority by itself, or another one of the store.
    #[default]
    Authority,
    /// The peer of a session; its name once it said it.
    Session(SessionId, Option<Arc<str>>),
    /// An operator who waits for the answer.
    Operator(Ticket),
    /// Whoever this is, by name and place.
    Author(String, Arc<str>),
}

/// Something that happened. What a kind has no use for is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// Who did it.
    pub by: By,
    /// The NVE that it concerns.
    pub nve: Option<Arc<str>>,
    /// The identifier.
    pub key: Option<Key>,
    /// Where that is now.
    pub choices: Vec<Choice>,
    /// The network, policy or attachment.
    pub object: Option<ObjectKey>,
    /// The networks that it concerns, by the names that operators gave them.
    pub networks: Vec<String>,
    /// Of the record or object.
    pub sequence: u64,
    /// Of the registry.
    pub revision: u64,
    /// How many.
    pub count: u64,
    /// The reason, or further words.
    pub why: String,
}

impl Event {
    /// An event of this kind, and nothing else is known of it.
    #[must_use]
    pub fn new(kind: Kind, by: By) -> Self {
        Event {
            kind,
            by,
            nve: None,
            key: None,
            choices: Vec::new(),
            object: None,
            networks: Vec::new(),
            sequence: 0,
            revision: 0,
            count: 0,
            why: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_label_of_its_own_and_a_sentence() {
        let labels: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.label()).collect();
        assert_eq!(labels.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| !kind.sentence().is_empty()));
        assert_eq!(Kind::Refused.sentence(), "refused");
    }
}
