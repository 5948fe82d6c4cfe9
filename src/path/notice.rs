//! Notices: what the control thread must hear of although the packet has another verdict.

use crate::net::Mac;
use crate::table::{AttachmentKey, PortId, TenantHandle};
use std::net::IpAddr;

/// Most notices that a worker collects before the control thread gets them. More are lost and counted.
/// An answer of each packet of a burst finds room.
pub const NOTICES: usize = 64;

/// How a VM or task shows that it is there (VMM draft §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// Gratuitous ARP, or a Neighbour Advertisement.
    Announcement,
    /// RARP, which hypervisors send for it.
    Reverse,
    /// ARP reply or solicited Neighbour Advertisement: it was asked whether it is there.
    Answer,
    /// Any other frame.
    Frame,
}

/// Something that the control thread must hear of although its packet has another verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A tenant claims an address that is in use elsewhere.
    Conflict {
        /// The tenant. Its generation tells it from a later tenant with the same slot.
        tenant: TenantHandle,
        /// The address that it claims.
        address: IpAddr,
    },
    /// A tenant asked for its own address by RARP: so hypervisors announce one that they have just moved.
    Arrival {
        /// Where it is attached.
        at: AttachmentKey,
    },
    /// A VM or task that is not here sent a frame here.
    Seen {
        /// Where it is attached.
        at: AttachmentKey,
        /// What it sent.
        sign: Sign,
    },
    /// A tenant answered for an address of its own.
    Answered {
        /// Where it is attached.
        at: AttachmentKey,
        /// The address.
        address: IpAddr,
    },
    /// A neighbour named a MAC address that is not the known one (RFC 4861 §6.2.6, RFC 4861 §7.2.3).
    Neighbour {
        /// The port of the neighbour.
        port: PortId,
        /// The neighbour's address.
        address: u128,
        /// The MAC address that it named.
        mac: Mac,
    },
    /// Another node uses an address of ours, or is about to take it (RFC 4862 §5.4.3).
    Ours {
        /// The port with that address.
        port: PortId,
        /// The address.
        address: u128,
        /// The MAC address of the other node.
        mac: Mac,
    },
}
