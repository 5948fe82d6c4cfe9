//! How IPv4 packets of tenants become IPv6 and back (RFC 7915).

/// `translation`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The least MTU of all links that translated packets cross, in bytes: 1280 to 9600 (RFC 7915 §4.1). IPv4 packets
    /// without DF that would be longer as IPv6 are fragmented.
    pub lowest_ipv6_mtu: u16,
    /// What becomes of whole UDP datagrams without a checksum (RFC 7915 §4.5).
    pub missing_udp_checksum: MissingUdpChecksum,
}

/// What becomes of IPv4 UDP datagrams without a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingUdpChecksum {
    /// They get one.
    Compute,
    /// They are dropped, and their sender is told.
    Drop,
}
