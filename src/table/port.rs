//! What a worker needs to know of a port.

use crate::net::Mac;
use crate::net::ndp::Advert;

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
    /// The same as a number, first byte most significant, for one comparison per packet.
    pub mac_word: u64,
    /// Whether untagged frames belong to the port.
    pub untagged: bool,
    /// VLAN identifiers that it accepts, sorted; 0 stands for untagged frames.
    pub vlans: Vec<u16>,
    /// Its addresses of global scope.
    pub addresses: Vec<u128>,
    /// Its link-local address.
    pub link_local: u128,
    /// Source of ICMPv6 errors about packets received here: an own address of global scope, or the link-local one.
    pub error_source: u128,
    /// Whether tenants are attached: what they send is checked before anything else.
    pub tenants: bool,
    /// What it answers to a Router Solicitation, if anything.
    pub advert: Option<Advert>,
}

impl Port {
    /// A port that accepts frames with these VLAN identifiers (0: untagged) and owns these addresses.
    ///
    /// ICMPv6 errors about packets received here come from its first address, or from `fallback`, or else from the
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
            tenants: false,
        }
    }

    /// Whether frames with this VLAN identifier belong to the port.
    #[inline]
    #[must_use]
    pub fn accepts_vlan(&self, vlan: u16) -> bool {
        match self.vlans.as_slice() {
            [only] => *only == vlan,
            several => several.binary_search(&vlan).is_ok(),
        }
    }

    /// Whether `address` is one of this port's own, link-local included.
    #[must_use]
    pub fn owns(&self, address: u128) -> bool {
        address == self.link_local || self.addresses.contains(&address)
    }
}
