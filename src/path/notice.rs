//! What the control thread is told beyond a packet's verdict.

use crate::net::Mac;
use crate::table::{PortId, TenantHandle};
use std::net::IpAddr;

/// Notices that a burst may leave; more are lost and counted.
pub const NOTICES: usize = 16;

/// Something that the control thread should hear of although its packet is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A tenant wants an address that somebody else has.
    Conflict {
        /// The tenant: after a reload its slot may belong to another one.
        tenant: TenantHandle,
        /// The address.
        address: IpAddr,
    },
    /// A neighbour named a MAC address that is not the one by which it is known (RFC 4861 §6.2.6, §7.2.3).
    Neighbour {
        /// The port that it is at.
        port: PortId,
        /// Its address.
        address: u128,
        /// The MAC address.
        mac: Mac,
    },
    /// Somebody else has an address of ours, or is about to take it (RFC 4862 §5.4.3).
    Ours {
        /// The port with that address.
        port: PortId,
        /// The address.
        address: u128,
        /// Who it is.
        mac: Mac,
    },
}
