//! The choices that RFC 7915 leaves to the operator, as a worker looks them up.

use crate::net::ipv6;

/// How tenants' IPv4 becomes IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The least MTU of all links that translated packets cross, in bytes (RFC 7915 §4.1).
    pub lowest_ipv6_mtu: u16,
    /// Whether whole UDP datagrams without a checksum get one; otherwise they are dropped (RFC 7915 §4.5).
    pub computes_udp_checksum: bool,
}

impl Default for Translation {
    fn default() -> Self {
        Translation { lowest_ipv6_mtu: ipv6::MIN_MTU, computes_udp_checksum: true }
    }
}
