//! Ports, as a worker looks them up.

use super::ingress::{Exceptions, Ingress};
use crate::net::Mac;
use crate::net::ipv6;
use crate::net::ndp::Advert;

/// Most ports of a node.
pub const MAX_PORTS: usize = 64;

/// What a port faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The underlay, towards NVEs.
    Fabric,
    /// The Internet or other sites.
    External,
    /// Tasks and tenant systems.
    Access,
}

/// A port as the pipeline sees it.
#[derive(Debug, Clone)]
pub struct Port {
    /// What it faces.
    pub role: Role,
    /// Its MAC address.
    pub mac: Mac,
    /// The MAC address as a number, its first byte most significant, for one comparison per packet.
    pub mac_word: u64,
    /// Whether the port accepts untagged frames.
    pub untagged: bool,
    /// VLAN identifiers that it accepts, sorted; 0 stands for untagged.
    pub vlans: Vec<u16>,
    /// Its addresses of global scope.
    pub addresses: Vec<u128>,
    /// Its link-local address.
    pub link_local: u128,
    /// Source of ICMPv6 errors about packets received here: an own address of global scope, or else the link-local one.
    pub error_source: u128,
    /// What it admits of packets that no tenant sent.
    pub ingress: Ingress,
    /// Whether tenants are attached, so that their frames must pass the source checks.
    pub tenants: bool,
    /// The advertisement that answers a Router Solicitation, if it answers.
    pub advert: Option<Advert>,
}

impl Port {
    /// A port that accepts frames with these VLAN identifiers (0 for untagged) and has these addresses.
    ///
    /// ICMPv6 errors about packets received here come from its first address, or else from `fallback`, or else from the
    /// link-local address (RFC 4443 §2.2).
    #[must_use]
    pub fn new(
        role: Role,
        mac: Mac,
        mut vlans: Vec<u16>,
        addresses: Vec<u128>,
        fallback: Option<u128>,
    ) -> Self {
        vlans.sort_unstable();
        vlans.dedup();
        let m = mac.0;
        let link_local = mac.link_local();
        let ingress = match role {
            Role::Fabric => Ingress::Fabric,
            Role::External => Ingress::Strict(Exceptions::default()),
            Role::Access => Ingress::Tasks,
        };
        Port {
            role,
            mac,
            mac_word: u64::from_be_bytes([0, 0, m[0], m[1], m[2], m[3], m[4], m[5]]),
            untagged: vlans.contains(&0),
            vlans,
            error_source: addresses.first().copied().or(fallback).unwrap_or(link_local),
            addresses,
            link_local,
            advert: None,
            ingress,
            tenants: false,
        }
    }

    /// Whether the port accepts frames with this VLAN identifier, 0 for untagged.
    #[inline]
    #[must_use]
    pub fn accepts_vlan(&self, vlan: u16) -> bool {
        match self.vlans.as_slice() {
            [only] => *only == vlan,
            several => several.binary_search(&vlan).is_ok(),
        }
    }

    /// Whether the port is in the group: that of all nodes, of all routers, or a solicited-node group of its addresses.
    #[must_use]
    pub fn is_in_group(&self, group: u128) -> bool {
        let mut own = self.addresses.iter().chain([&self.link_local]);
        group == ipv6::ALL_NODES
            || group == ipv6::ALL_ROUTERS
            || own.any(|address| ipv6::solicited_node(*address) == group)
    }

    /// Whether `address` is an address of this port, link-local included.
    #[must_use]
    pub fn owns(&self, address: u128) -> bool {
        address == self.link_local || self.addresses.contains(&address)
    }
}
