//! Rate limits of ICMPv6 errors to senders that are not tenants (RFC 4443 §2.4(f)).

use super::verdict::DropReason;
use crate::table::port::MAX_PORTS;
use crate::table::{PortId, Rate};

/// The rate limiter of RFC 4443 §2.4(f): a token bucket of `burst` messages, refilled at `per_second`.
#[derive(Debug, Clone)]
pub struct Limiter {
    rate: Rate,
    is_open: bool,
    /// When the bucket will be full again, in nanoseconds.
    spent: u64,
}

impl Limiter {
    /// A full bucket. At a rate of 0 no message is ever sent.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Limiter { rate: Rate::new(per_second, burst), is_open: per_second > 0, spent: 0 }
    }

    /// Whether it lets any message through at all.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes one message's token; returns whether there was one. `now_ms` is the time of a monotonic clock.
    pub fn allow(&mut self, now_ms: u64) -> bool {
        self.rate.spend(&mut self.spent, (1, 1), now_ms)
    }
}

/// One worker's limiters, by port and kind of error: packet too big, hop limit exceeded, all others.
#[derive(Debug)]
pub(super) struct ErrorLimits(Vec<[Limiter; 3]>);

impl ErrorLimits {
    /// The same limiter for every port and kind.
    pub(super) fn of(each: &Limiter) -> Self {
        ErrorLimits((0..MAX_PORTS).map(|_| std::array::from_fn(|_| each.clone())).collect())
    }

    /// Whether they let any message through at all.
    pub(super) fn are_open(&self) -> bool {
        self.0.iter().flatten().any(Limiter::is_open)
    }

    /// Takes the token of one message about a packet that was received on `port` and lost for `reason`; returns whether
    /// there was one.
    pub(super) fn allow(&mut self, port: PortId, reason: DropReason, now_ms: u64) -> bool {
        let kind = match reason {
            DropReason::PacketTooBig => 0,
            DropReason::HopLimit => 1,
            _ => 2,
        };
        self.0.get_mut(usize::from(port.0)).is_some_and(|limits| limits[kind].allow(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 4443 §2.4(f).
    #[test]
    fn the_limiter_lets_a_burst_through_and_then_the_rate() {
        let mut limiter = Limiter::new(10, 3);
        assert_eq!((0..10).filter(|_| limiter.allow(1)).count(), 3);
        assert_eq!((0..10).filter(|_| limiter.allow(101)).count(), 1);
        assert_eq!((0..10).filter(|_| limiter.allow(60_000)).count(), 3);
        assert!(!Limiter::new(0, 5).allow(1_000_000));
    }

    #[test]
    fn every_port_and_kind_has_a_budget_of_its_own() {
        let mut limits = ErrorLimits::of(&Limiter::new(10, 3));
        let mut sent = |port, reason| (0..10).filter(|_| limits.allow(PortId(port), reason, 1)).count();
        for port in [0, 1, 63] {
            for reason in [DropReason::NoMapping, DropReason::PacketTooBig, DropReason::HopLimit] {
                assert_eq!(sent(port, reason), 3);
                assert_eq!(sent(port, reason), 0);
            }
            // All others share one.
            assert_eq!(sent(port, DropReason::NoRoute), 0);
        }
        assert_eq!(sent(64, DropReason::PacketTooBig), 0);
    }
}
