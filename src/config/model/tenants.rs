//! Virtual networks, and who is attached to access ports: tasks and tenants.

use super::{Limit, Limits};
use crate::ila::{Identifier, Locator};
use crate::net::{Ipv4Prefix, Ipv6Prefix, Mac};
use std::ops::Range;

/// Places in the lists of a [`super::Config`] of what an authority added; the others are the file's or operators'.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provisioned {
    /// In `virtual_networks`.
    pub networks: Range<usize>,
    /// In `policies`.
    pub policies: Range<usize>,
    /// In `attachments`.
    pub attachments: Range<usize>,
}

/// `virtual_networks[]`: the address space of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualNetwork {
    /// Name, unique.
    pub name: String,
    /// Virtual network identifier, 1 to 2^28 - 1, unique.
    pub vnid: u32,
    /// Index into `sir_domains`: where the network's identifiers live.
    pub domain: u8,
    /// MAC address of the gateway, the same at every node; unicast.
    pub mac: Mac,
    /// Largest packet that tenants may send, in bytes.
    pub mtu: u16,
    /// IPv6 in this network.
    pub ipv6: Option<NetworkIpv6>,
    /// IPv4 subnets, at most 64, none within another.
    pub ipv4: Vec<NetworkIpv4>,
    /// IPv4 addresses of this network that stand for others, at most 4096; each address and each peer once.
    pub peers: Vec<NetworkPeer>,
    /// What each of its tenants may ask of the node.
    pub limits: Limits,
    /// Copies for its tenants here of multicast and broadcast that other nodes sent.
    pub received_copies: Limit,
    /// Hosts that get a copy of broadcasts, and of packets to groups without a mapping: at most 256 locators,
    /// distinct. Our own locators are skipped.
    pub replicate_to: Vec<Locator>,
    /// Whether its tenants share a node with no other network's (VMM draft §10).
    pub exclusive: bool,
}

/// `virtual_networks[].ipv6`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkIpv6 {
    /// 96 bits, unique over all networks, neither under a SIR prefix nor under a locator of ours.
    pub prefix: Ipv6Prefix,
    /// The gateway's address, under the prefix.
    pub gateway: Option<u128>,
}

/// `virtual_networks[].ipv4[]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkIpv4 {
    /// The subnet.
    pub prefix: Ipv4Prefix,
    /// The gateway's address, a host address of the subnet.
    pub gateway: u32,
}

/// `virtual_networks[].peers[]`: an IPv4 address of the network that stands for somebody outside of it (ILA
/// draft §5.11, §5.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkPeer {
    /// The address, of no tenant of the network and not a gateway's.
    pub address: u32,
    /// Who it is.
    pub to: PeerTarget,
}

/// Whom a mapped address stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerTarget {
    /// A task; its identifier has type 1.
    Task(LocalIdentifier),
    /// A tenant of another network.
    Tenant {
        /// Index into `virtual_networks`.
        network: u16,
        /// Its address there.
        address: TenantAddress,
    },
}

/// `policies[]`: who may send to whom across the edge of a virtual network, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Tenants of one network to those of another.
    Between {
        /// Index into `virtual_networks`.
        from: u16,
        /// Index into `virtual_networks`, another one.
        to: u16,
        /// Locator of the gateway that the packets go through; ours: this node is the gateway.
        via: Option<Locator>,
    },
    /// Tenants to others.
    Out {
        /// Index into `virtual_networks`.
        from: u16,
        /// Who receives.
        to: Beyond,
    },
    /// Others to tenants.
    In {
        /// Who sends.
        from: Beyond,
        /// Index into `virtual_networks`.
        to: u16,
    },
}

impl Policy {
    /// The same without a gateway: who may send to whom.
    #[must_use]
    pub const fn straight(self) -> Policy {
        match self {
            Policy::Between { from, to, .. } => Policy::Between { from, to, via: None },
            other => other,
        }
    }
}

/// Who is in no virtual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beyond {
    /// All tasks of a SIR domain, by its index into `sir_domains`.
    Tasks(u8),
    /// One task; its identifier has type 1.
    Task(LocalIdentifier),
    /// All that is neither tenant nor task: what is only routed.
    Outside,
}

/// `attachments[]`: one task or one tenant on an access port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// Name for operators, unique.
    pub name: Option<String>,
    /// Index into `ports`.
    pub port: u16,
    /// VLAN tag; none: untagged.
    pub vlan: Option<u16>,
    /// The MAC address of the task or tenant, unique on (port, vlan).
    pub mac: Mac,
    /// Index into `virtual_networks`: the tenant's; none for a task.
    pub network: Option<u16>,
    /// The tenant's addresses, each once in its network; none for a task. A tenant has at least one, unless it gets them when
    /// it asks by RARP.
    pub addresses: Vec<TenantAddress>,
    /// The tenant asks by RARP for an address of each family that it has none of, and its authority allocates them.
    pub on_rarp: bool,
    /// The identifiers: a task's own, at least one, or those of the tenant's addresses in their order.
    pub identifiers: Vec<LocalIdentifier>,
    /// Further prefixes that a task may send from, at most 64; none for a tenant.
    pub prefixes: Vec<Ipv6Prefix>,
    /// What the tenant may ask of the node; none: what its network says.
    pub limits: Option<Limits>,
    /// Groups that the tenant is a member of without a report of its own, each once.
    pub groups: Vec<TenantAddress>,
}

/// An address of a tenant in its virtual network, or of a group there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TenantAddress {
    /// An IPv4 address of one of the network's subnets.
    V4(u32),
    /// An IPv6 address under the network's prefix.
    V6(u128),
}

/// An identifier in its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalIdentifier {
    /// Index into `sir_domains`.
    pub domain: u8,
    /// The identifier, C-bit 0: type 1 for a task, types 2 and 3 (VNID not 0) for a tenant.
    pub identifier: Identifier,
}
