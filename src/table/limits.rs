//! How much one tenant may ask of the node, as a worker looks it up.

/// What is limited, each by a bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LimitKind {
    /// ARP requests, replies and announcements; IGMP reports.
    Arp,
    /// Neighbour and Router Solicitations, Neighbour Advertisements; MLD reports.
    Nd,
    /// RARP requests.
    Rarp,
    /// ARP probes (RFC 5227) and Neighbour Solicitations from `::` (RFC 4862 §5.4).
    Dad,
    /// Packets to destinations that nobody is known to have.
    Unknown,
    /// ICMP errors that the tenant is sent.
    IcmpErrors,
    /// Copies of its multicast and broadcast, one for each host and each member here.
    Copies,
}

impl LimitKind {
    /// Every kind, in the order of the list.
    pub const ALL: [LimitKind; 7] = [
        LimitKind::Arp,
        LimitKind::Nd,
        LimitKind::Rarp,
        LimitKind::Dad,
        LimitKind::Unknown,
        LimitKind::IcmpErrors,
        LimitKind::Copies,
    ];
}

/// A rate and the burst that it lets through at once, as times: a bucket is then one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time that each packet takes of the bucket, in nanoseconds.
    pub every_ns: u64,
    /// What the bucket holds, in nanoseconds.
    pub room_ns: u64,
}

impl Rate {
    /// `per_second` packets, and `burst` at once. A rate of 0 lets nothing through.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        if per_second == 0 {
            return Rate { every_ns: 1, room_ns: 0 };
        }
        let every_ns = 1_000_000_000u64.div_ceil(per_second as u64);
        Rate { every_ns, room_ns: every_ns * burst as u64 }
    }
}

impl Default for Rate {
    /// Lets nothing through.
    fn default() -> Self {
        Rate::new(0, 0)
    }
}

/// The rates of one tenant by [`LimitKind`].
pub type Rates = [Rate; LimitKind::ALL.len()];

/// What a tenant under quarantine may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quarantine {
    /// It is not under quarantine.
    #[default]
    None,
    /// Send data to peers that it knows: nothing that it asks of the node is answered.
    Control,
    /// Nothing.
    All,
}
