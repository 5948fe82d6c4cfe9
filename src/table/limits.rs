//! Rate limits of tenants, as a worker looks them up: how much one tenant may ask of the node.

/// The kinds of request that are limited, each by a token bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LimitKind {
    /// ARP requests, replies and announcements; IGMP reports.
    Arp,
    /// Neighbour and Router Solicitations, Neighbour Advertisements; MLD reports.
    Nd,
    /// RARP requests.
    Rarp,
    /// ARP probes (RFC 5227 §2.1), and Neighbour Solicitations from `::` (RFC 4862 §5.4).
    Dad,
    /// Packets to destinations that no known node has.
    Unknown,
    /// ICMP errors to the tenant.
    IcmpErrors,
    /// Copies of its multicast and broadcast, one for each remote locator and each member here.
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

/// A rate and a burst, stored as times. The state of a token bucket is then one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time that one packet costs, in nanoseconds.
    pub every_ns: u64,
    /// Size of the bucket, in nanoseconds.
    pub room_ns: u64,
}

impl Rate {
    /// A bucket of `burst` packets, refilled at `per_second`. A rate of 0 lets nothing through.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        if per_second == 0 {
            return Rate { every_ns: 1, room_ns: 0 };
        }
        let every_ns = 1_000_000_000u64.div_ceil(per_second as u64);
        Rate { every_ns, room_ns: every_ns * burst as u64 }
    }
}

impl Rate {
    /// Charges `count` packets to a bucket if that holds at least one, and returns whether it did. `most` is the largest
    /// `count` that is ever charged to this bucket at once.
    ///
    /// `spent` is the time, in nanoseconds, at which the bucket will be full again; `now_ms` that of the same clock.
    #[inline]
    pub fn spend(self, spent: &mut u64, (count, most): (u64, u64), now_ms: u64) -> bool {
        let now = now_ms.min(LAST_MS) * 1_000_000;
        // After a reload the bucket may be smaller than what is missing in it.
        let full = now + self.room_ns;
        *spent = (*spent).clamp(now, full + (most - 1) * self.every_ns);
        let enough = *spent + self.every_ns <= full;
        if enough {
            *spent += count * self.every_ns;
        }
        enough
    }
}

impl Default for Rate {
    /// Lets nothing through.
    fn default() -> Self {
        Rate::new(0, 0)
    }
}

/// Captures bring any time. From here on, after 278 years, no bucket is refilled, and no sum of times overflows.
const LAST_MS: u64 = 1 << 43;

/// The rates of one tenant by [`LimitKind`].
pub type Rates = [Rate; LimitKind::ALL.len()];

/// What a tenant under quarantine may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quarantine {
    /// Everything: it is not under quarantine.
    #[default]
    None,
    /// Send data. The node answers none of its requests, so it reaches only destinations that it has resolved before.
    Control,
    /// Nothing.
    All,
}
