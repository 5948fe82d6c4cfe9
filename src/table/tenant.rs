//! A tenant of this node: what may come from it, and how the node names it.

use super::bindings::raw;
use super::limits::Quarantine;
use super::{NetworkId, PortId};
use crate::net::Mac;
use std::hash::{Hash, Hasher};

/// Most tenants of one node.
pub const MAX_TENANTS: usize = 16_384;

/// A tenant system attached here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its network.
    pub network: NetworkId,
    /// Index of the attachment in the configuration's order.
    pub attachment: u32,
    /// Its handle for workers and the control thread.
    pub handle: TenantHandle,
    /// Its quarantine, if it is under one.
    pub quarantine: Quarantine,
    /// Whether it is not here yet, or any more.
    pub away: bool,
    /// IPv4 addresses that it may use.
    pub ipv4: Vec<u32>,
    /// IPv6 addresses that it may use.
    pub ipv6: Vec<u128>,
}

/// The handle by which workers and the control thread know a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantHandle {
    /// Index into workers' memory of tenants, below [`MAX_TENANTS`]. It does not change while the tenant is attached.
    pub slot: u16,
    /// Tells apart the tenants that have the same slot one after the other; never 0.
    pub generation: u64,
}

/// The key of an attachment, unique among all tenants and tasks of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentKey {
    /// The access port.
    pub port: PortId,
    /// VLAN identifier; 0 for untagged.
    pub vlan: u16,
    /// MAC address of the tenant or task.
    pub mac: Mac,
}

impl Hash for AttachmentKey {
    /// Hashes the key as one number: one multiplication for each packet.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let link = u64::from(self.port.0) << 16 | u64::from(self.vlan);
        state.write_u128(u128::from(link) << 64 | u128::from(raw(self.mac)));
    }
}
