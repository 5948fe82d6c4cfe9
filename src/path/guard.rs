//! What one worker remembers of its tenants, so that none of them can overwhelm the node: a bucket for each thing that
//! a tenant may ask for, counters of what was refused, and notices for the control thread.

use super::Ctx;
use super::counters::Count;
use super::verdict::{DropReason, Verdict};
use crate::net::Mac;
use crate::table::{LimitKind, PortId, Quarantine, Tenant};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Notices that a burst may leave; more are lost and counted.
pub const NOTICES: usize = 16;

/// The sender of a packet, as the stages after `parse` know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// See [`Tenant::slot`].
    pub slot: u16,
    /// Whether what it asks for is not answered.
    pub quarantined: bool,
}

impl Watched {
    pub(super) fn of(tenant: &Tenant) -> Self {
        Watched { slot: tenant.slot, quarantined: tenant.quarantine != Quarantine::None }
    }
}

/// Why tenants' packets were refused, as far as it tells of abuse: one counter each by tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abuse {
    /// More of a kind than its limit lets through.
    Over(LimitKind),
    /// Spoke for somebody else, or as only the node may.
    Spoofed,
    /// Anything while it was under quarantine.
    Quarantined,
}

/// How many kinds of [`Abuse`] there are.
pub const ABUSES: usize = LimitKind::ALL.len() + 2;

impl Abuse {
    /// Every kind.
    pub const ALL: [Abuse; ABUSES] = [
        Abuse::Over(LimitKind::Arp),
        Abuse::Over(LimitKind::Nd),
        Abuse::Over(LimitKind::Rarp),
        Abuse::Over(LimitKind::Dad),
        Abuse::Over(LimitKind::Unknown),
        Abuse::Over(LimitKind::IcmpErrors),
        Abuse::Over(LimitKind::Copies),
        Abuse::Spoofed,
        Abuse::Quarantined,
    ];

    const fn index(self) -> usize {
        match self {
            Abuse::Over(kind) => kind as usize,
            Abuse::Spoofed => LimitKind::ALL.len(),
            Abuse::Quarantined => LimitKind::ALL.len() + 1,
        }
    }

    /// The label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Abuse::Over(LimitKind::Arp) => "arp_rate",
            Abuse::Over(LimitKind::Nd) => "nd_rate",
            Abuse::Over(LimitKind::Rarp) => "rarp_rate",
            Abuse::Over(LimitKind::Dad) => "dad_rate",
            Abuse::Over(LimitKind::Unknown) => "unknown_rate",
            Abuse::Over(LimitKind::IcmpErrors) => "icmp_error_rate",
            Abuse::Over(LimitKind::Copies) => "copy_rate",
            Abuse::Spoofed => "spoofed",
            Abuse::Quarantined => "quarantined",
        }
    }
}

/// What one worker refused, by tenant: written by the worker, read by anyone.
#[derive(Debug, Default)]
pub struct TenantCounts(Box<[[Count; ABUSES]]>);

impl TenantCounts {
    /// Zeroes for so many tenants: their slots must be below.
    #[must_use]
    pub fn of(tenants: usize) -> Arc<Self> {
        Arc::new(TenantCounts((0..tenants).map(|_| Default::default()).collect()))
    }

    /// What was refused of the tenant with this slot.
    #[must_use]
    pub fn value(&self, slot: u16, abuse: Abuse) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |counts| counts[abuse.index()].value())
    }

    /// The sum over all tenants.
    #[must_use]
    pub fn total(&self, abuse: Abuse) -> u64 {
        self.0.iter().map(|counts| counts[abuse.index()].value()).sum()
    }

    fn add(&self, slot: u16, abuse: Abuse) {
        if let Some(counts) = self.0.get(usize::from(slot)) {
            counts[abuse.index()].add(1);
        }
    }
}

/// Something that the control thread should hear of although its packet is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A tenant wants an address that somebody else has.
    Conflict {
        /// Its slot.
        slot: u16,
        /// Its number, because after a reload its slot may be another's.
        number: u64,
        /// The address.
        address: IpAddr,
    },
    /// A neighbour named a MAC address that is not the one by which it is known (RFC 4861 §6.2.6, §7.2.3).
    Neighbour {
        /// The port that it is at.
        port: PortId,
        /// Its address.
        address: u128,
        /// The MAC address.
        mac: Mac,
    },
    /// Somebody else has an address of ours, or is about to take it (RFC 4862 §5.4.3).
    Ours {
        /// The port with that address.
        port: PortId,
        /// The address.
        address: u128,
        /// Who it is.
        mac: Mac,
    },
}

/// Copies of one packet that its tenant's bucket remembers at most.
const MOST_COPIES: u64 = 4096;

/// The memory of one worker.
pub struct Guard {
    /// By slot and kind: the instant, in nanoseconds, at which the bucket would be full again. That of copies can be
    /// overdrawn by those of one packet.
    spent: Vec<[u64; LimitKind::ALL.len()]>,
    counts: Arc<TenantCounts>,
    notices: ArrayVec<Notice, NOTICES>,
    notices_lost: u64,
}

impl Guard {
    /// A guard with full buckets for as many tenants as it can count. All that others ask for is refused.
    #[must_use]
    pub fn new(counts: Arc<TenantCounts>) -> Self {
        Guard {
            spent: vec![[0; LimitKind::ALL.len()]; counts.0.len()],
            counts,
            notices: ArrayVec::new(),
            notices_lost: 0,
        }
    }

    /// Takes one packet's worth of the tenant's bucket.
    ///
    /// # Errors
    /// The bucket is empty, or the tenant is under quarantine: the reason to drop the packet, which is counted here.
    #[inline]
    pub fn pass(&mut self, who: Watched, kind: LimitKind, ctx: &Ctx<'_>) -> Result<(), DropReason> {
        self.heed(who)?;
        if self.take(who, kind, ctx) {
            return Ok(());
        }
        self.counts.add(who.slot, Abuse::Over(kind));
        Err(reason(kind))
    }

    /// Takes the copies of one packet of the tenant's bucket, which need not hold more than the first of them: however
    /// many hosts there are, a packet passes once the copies of those before it are paid for.
    ///
    /// # Errors
    /// The bucket is empty: the reason to drop the packet, which is counted here.
    pub(super) fn pass_copies(
        &mut self,
        who: Watched,
        count: usize,
        ctx: &Ctx<'_>,
    ) -> Result<(), DropReason> {
        if self.spend(who, LimitKind::Copies, (count as u64).min(MOST_COPIES), MOST_COPIES, ctx) {
            return Ok(());
        }
        self.counts.add(who.slot, Abuse::Over(LimitKind::Copies));
        Err(reason(LimitKind::Copies))
    }

    /// Whether the tenant is answered at all, where nothing limits how often.
    ///
    /// # Errors
    /// It is under quarantine, which is counted here.
    #[inline]
    pub(super) fn heed(&self, who: Watched) -> Result<(), DropReason> {
        if who.quarantined {
            self.silenced(who);
            return Err(DropReason::Quarantined);
        }
        Ok(())
    }

    /// As [`Self::pass`], without a count of what is refused.
    #[inline]
    pub(super) fn take(&mut self, who: Watched, kind: LimitKind, ctx: &Ctx<'_>) -> bool {
        self.spend(who, kind, 1, 1, ctx)
    }

    /// Takes `count` packets' worth of a bucket that holds one at least; `most` is what is ever taken at once.
    #[inline]
    fn spend(&mut self, who: Watched, kind: LimitKind, count: u64, most: u64, ctx: &Ctx<'_>) -> bool {
        let (Some(rates), Some(spent)) =
            (ctx.tables.networks.rates(who.slot), self.spent.get_mut(usize::from(who.slot)))
        else {
            return false;
        };
        let (rate, spent) = (rates[kind as usize], &mut spent[kind as usize]);
        let now = ctx.now_ms * 1_000_000;
        // After a reload the bucket may hold less than what is missing in it.
        let full = now + rate.room_ns;
        *spent = (*spent).clamp(now, full + (most - 1) * rate.every_ns);
        let enough = *spent + rate.every_ns <= full;
        if enough {
            *spent += count * rate.every_ns;
        }
        enough
    }

    /// Counts a packet if its tenant had no right to send it. Looks at the verdict where it lies: it was just written.
    #[inline]
    pub(super) fn note(&self, who: Watched, verdict: &Verdict) {
        if let Verdict::Drop(
            DropReason::SpoofedSource
            | DropReason::TenantRouter
            | DropReason::TenantQuery
            | DropReason::TenantDhcp
            | DropReason::NdFragment,
        ) = verdict
        {
            self.counts.add(who.slot, Abuse::Spoofed);
        }
    }

    /// Counts a packet that was dropped because its tenant is under quarantine.
    #[cold]
    pub(super) fn silenced(&self, who: Watched) {
        self.counts.add(who.slot, Abuse::Quarantined);
    }

    /// Leaves the notice that a tenant wants an address that somebody else has.
    #[cold]
    pub(super) fn conflict(&mut self, slot: u16, address: IpAddr, ctx: &Ctx<'_>) {
        self.notice(Notice::Conflict { slot, number: ctx.tables.networks.number(slot), address });
    }

    /// Leaves a notice.
    #[cold]
    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.try_push(notice).is_err() {
            self.notices_lost += 1;
        }
    }

    /// Takes the notices of the bursts so far, and how many there was no room for.
    pub(super) fn take_notices(&mut self) -> (ArrayVec<Notice, NOTICES>, u64) {
        (std::mem::take(&mut self.notices), std::mem::take(&mut self.notices_lost))
    }

    #[inline]
    pub(super) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }
}

const fn reason(kind: LimitKind) -> DropReason {
    match kind {
        LimitKind::Arp => DropReason::ArpRate,
        LimitKind::Nd => DropReason::NdRate,
        LimitKind::Rarp => DropReason::RarpRate,
        LimitKind::Dad => DropReason::DadRate,
        LimitKind::Copies => DropReason::CopyRate,
        // An error that is not sent is no loss of its own: its packet keeps its reason.
        LimitKind::Unknown | LimitKind::IcmpErrors => DropReason::UnknownRate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{NetworkId, Rate, Rates, Tables};

    fn tables(rates: Rates) -> Tables {
        let mut tables = Tables::default();
        for slot in 0..2u16 {
            let tenant = Tenant {
                network: NetworkId(0),
                attachment: u32::from(slot),
                slot,
                number: 1,
                quarantine: Quarantine::None,
                ipv4: Vec::new(),
                ipv6: Vec::new(),
            };
            Arc::make_mut(&mut tables.networks).seat(
                (PortId(0), 0, Mac([2, 0, 0, 0, 0, slot as u8])),
                tenant,
                rates,
            );
        }
        tables
    }

    fn passed(guard: &mut Guard, tables: &Tables, slot: u16, kind: LimitKind, now_ms: u64) -> usize {
        let who = Watched { slot, quarantined: false };
        (0..100).filter(|_| guard.pass(who, kind, &Ctx { tables, now_ms }).is_ok()).count()
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let tables = tables([Rate::new(10, 3); LimitKind::ALL.len()]);
        let mut guard = Guard::new(TenantCounts::of(2));
        let arp = |guard: &mut Guard, now_ms| passed(guard, &tables, 0, LimitKind::Arp, now_ms);
        assert_eq!((arp(&mut guard, 0), arp(&mut guard, 99)), (3, 0));
        assert_eq!((arp(&mut guard, 100), arp(&mut guard, 300), arp(&mut guard, 60_000)), (1, 2, 3));
        assert_eq!(guard.counts.value(0, Abuse::Over(LimitKind::Arp)), 500 - 9);
        assert_eq!(guard.counts.total(Abuse::Over(LimitKind::Nd)), 0);
    }

    #[test]
    fn every_tenant_and_every_kind_has_a_bucket_of_its_own() {
        let tables = tables([Rate::new(1, 2); LimitKind::ALL.len()]);
        let mut guard = Guard::new(TenantCounts::of(2));
        for slot in 0..2 {
            for kind in LimitKind::ALL {
                assert_eq!(passed(&mut guard, &tables, slot, kind, 5), 2, "{slot} {kind:?}");
            }
        }
    }

    #[test]
    fn a_bucket_that_becomes_smaller_is_empty_and_no_worse() {
        let (slow, fast) = (
            tables([Rate::new(1, 1_000_000); LimitKind::ALL.len()]),
            tables([Rate::new(100, 10); LimitKind::ALL.len()]),
        );
        let mut guard = Guard::new(TenantCounts::of(2));
        for _ in 0..10 {
            passed(&mut guard, &slow, 0, LimitKind::Dad, 0);
        }
        assert_eq!(passed(&mut guard, &fast, 0, LimitKind::Dad, 0), 0);
        assert_eq!(passed(&mut guard, &fast, 0, LimitKind::Dad, 100), 10);
    }

    #[test]
    fn a_packet_with_more_copies_than_its_bucket_holds_passes_and_is_paid_for_later() {
        let tables = tables([Rate::new(100, 10); LimitKind::ALL.len()]);
        for copies in [1, 3, 10, 50, 1000] {
            let mut guard = Guard::new(TenantCounts::of(1));
            let who = Watched { slot: 0, quarantined: false };
            // Small packets between the large ones forgive nothing.
            let made: usize = (0..60_000)
                .flat_map(|now_ms| [(now_ms, copies), (now_ms, 1)])
                .filter(|(now_ms, count)| {
                    guard.pass_copies(who, *count, &Ctx { tables: &tables, now_ms: *now_ms }).is_ok()
                })
                .map(|(_, count)| count)
                .sum();
            // A burst, a minute of the rate, and what was not paid for yet.
            assert!((6000 - 10..=6010 + copies).contains(&made), "{copies} {made}");
        }
    }

    #[test]
    fn what_one_packet_can_overdraw_is_bounded() {
        let [slow, fast] = [1, 100].map(|rate| tables([Rate::new(rate, 10); LimitKind::ALL.len()]));
        let mut guard = Guard::new(TenantCounts::of(2));
        let mut pass = |tables: &Tables, slot, now_ms| {
            let who = Watched { slot, quarantined: false };
            guard.pass_copies(who, usize::MAX, &Ctx { tables, now_ms }).is_ok()
        };
        assert!(pass(&slow, 0, 0) && !pass(&slow, 0, 0));
        // After a reload it is paid for at the new rate: 4096 copies but for the one that there always was.
        assert!(!pass(&fast, 0, 1) && !pass(&fast, 0, 40_000));
        assert!(pass(&fast, 0, 40_970));
        // Another tenant has a bucket of its own.
        assert!(pass(&fast, 1, 1));
        let refused = [0, 1].map(|slot| guard.counts.value(slot, Abuse::Over(LimitKind::Copies)));
        assert_eq!(refused, [3, 0]);
    }

    #[test]
    fn nothing_passes_under_quarantine_or_at_a_rate_of_zero() {
        let tables = tables([Rate::new(0, 5); LimitKind::ALL.len()]);
        let mut guard = Guard::new(TenantCounts::of(2));
        assert_eq!(passed(&mut guard, &tables, 0, LimitKind::Arp, 10_000), 0);
        let who = Watched { slot: 1, quarantined: true };
        let ctx = Ctx { tables: &tables, now_ms: 0 };
        assert_eq!(guard.pass(who, LimitKind::Nd, &ctx), Err(DropReason::Quarantined));
        assert_eq!(guard.counts.value(1, Abuse::Quarantined), 1);
    }

    #[test]
    fn labels_of_abuses_are_unique_and_so_are_their_counters() {
        let labels: std::collections::HashSet<_> = Abuse::ALL.iter().map(|abuse| abuse.label()).collect();
        assert_eq!(labels.len(), ABUSES);
        assert!(Abuse::ALL.iter().enumerate().all(|(n, abuse)| abuse.index() == n));
    }
}
