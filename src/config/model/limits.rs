//! Limits: what protects the node and the fabric from tenants, and how many ICMPv6 errors this node sends to others.

/// A rate in packets a second, and how many packets may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// 1 to 10 million.
    pub per_second: u32,
    /// 1 to a million.
    pub burst: u32,
}

impl Limit {
    /// The usual one of `virtual_networks[].received_copies`.
    pub const RECEIVED_COPIES: Limit = Limit::new(100_000, 100_000);

    const fn new(per_second: u32, burst: u32) -> Self {
        Limit { per_second, burst }
    }
}

/// `virtual_networks[].limits` and `attachments[].limits`: what one tenant may ask of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// ARP messages and IGMP reports.
    pub arp: Limit,
    /// Neighbour Discovery messages and MLD reports.
    pub nd: Limit,
    /// RARP requests.
    pub rarp: Limit,
    /// Questions whether an address is in use.
    pub dad: Limit,
    /// Packets to destinations that nobody is known to have.
    pub unknown: Limit,
    /// ICMP errors that it is sent.
    pub icmp_errors: Limit,
    /// Copies of its multicast and broadcast.
    pub copies: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            arp: Limit::new(100, 300),
            nd: Limit::new(100, 300),
            rarp: Limit::new(10, 20),
            dad: Limit::new(20, 50),
            unknown: Limit::new(1000, 1000),
            icmp_errors: Limit::new(50, 50),
            copies: Limit::new(10_000, 10_000),
        }
    }
}

/// `quarantine`: how many violations put a tenant under quarantine, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// A second counts as bad when more packets of the tenant than this are refused in it.
    pub drops_per_second: u32,
    /// Bad seconds in a row until quarantine begins.
    pub seconds: u16,
    /// Length in seconds.
    pub duration_s: u32,
    /// Which of the tenant's packets are dropped meanwhile.
    pub mode: QuarantineMode,
}

/// What a quarantine keeps back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineMode {
    /// Those that ask the node for something; data to peers that the tenant knows is forwarded.
    Control,
    /// All of them.
    All,
}

/// `icmp` (RFC 4443 §2.4(f))
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// ICMPv6 errors a second, at most; 0: none.
    pub errors_per_second: u32,
    /// Errors that may leave at once.
    pub burst: u32,
}
