//! One worker's policer of tenants: no tenant can overwhelm the node (VMM draft §10).
//!
//! It holds a token bucket for each tenant and kind of request, counts what it refuses, and collects notices for the
//! control thread. A refusal of one worker is not known to the others: each worker has its share of a limit.

use super::ctx::Ctx;
use super::meta::Policed;
use super::misses::{Miss, Missed, Misses};
use super::notice::{NOTICES, Notice, Sign};
use super::packet::Packet;
use super::punts::{Bucket, Punts};
use super::verdict::{DropReason, Verdict};
use super::violations::{TenantCounts, Violation};
use crate::table::network::MAX_NETWORKS;
use crate::table::{AttachmentKey, LimitKind, NetworkId, TenantHandle};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Most copies of one packet that are charged to a token bucket.
const MOST_COPIES: u64 = 4096;

/// Attachments of which is known when they were told of as seen.
const SEEN: usize = 64;
/// Shortest time between two notices that an attachment was seen.
const SEEN_AGAIN_MS: u64 = 20;

/// The token buckets, counters and notices of one worker.
pub struct Policer {
    /// By tenant slot and kind: the time, in nanoseconds, at which the bucket will be full again. Only the bucket of
    /// copies can be overdrawn, by the copies of one packet.
    spent: Vec<[u64; LimitKind::ALL.len()]>,
    /// The same by network, for copies of what other nodes sent.
    received: Vec<u64>,
    counts: Arc<TenantCounts>,
    notices: ArrayVec<Notice, NOTICES>,
    notices_lost: u64,
    /// Who was told of as seen last, by attachment, and until when not again.
    seen: ArrayVec<(AttachmentKey, Sign, u64), SEEN>,
    misses: Misses,
    punts: Punts,
}

impl Policer {
    /// A policer with full buckets for as many tenants as `counts` has counters. Requests of other tenants are refused.
    #[must_use]
    pub fn new(counts: Arc<TenantCounts>) -> Self {
        Policer {
            spent: vec![[0; LimitKind::ALL.len()]; counts.tenants()],
            received: vec![0; MAX_NETWORKS],
            counts,
            notices: ArrayVec::new(),
            notices_lost: 0,
            seen: ArrayVec::new(),
            misses: Misses::default(),
            punts: Punts::default(),
        }
    }

    /// Charges one packet to the tenant's bucket of this kind.
    ///
    /// # Errors
    /// Both are counted for the tenant.
    /// * [`DropReason::Quarantined`] if the tenant is under quarantine.
    /// * The reason of the kind if the bucket is empty: [`DropReason::ArpRate`], [`DropReason::NdRate`],
    ///   [`DropReason::RarpRate`], [`DropReason::DadRate`], [`DropReason::CopyRate`] or [`DropReason::UnknownRate`].
    #[inline]
    pub fn pass(&mut self, who: Policed, kind: LimitKind, ctx: &Ctx<'_>) -> Result<(), DropReason> {
        self.heed(who)?;
        if self.take(who, kind, ctx) {
            return Ok(());
        }
        self.counts.add(who.slot, Violation::Over(kind));
        Err(reason(kind))
    }

    /// Charges `count` copies of one packet to the tenant's bucket of copies. The bucket need hold only one of them and
    /// may be overdrawn by the rest. So a packet passes once the copies of the packets before it are paid for, however
    /// many hosts there are.
    ///
    /// # Errors
    /// [`DropReason::CopyRate`] if the bucket is empty. It is counted for the tenant.
    pub(super) fn pass_copies(
        &mut self,
        who: Policed,
        count: usize,
        ctx: &Ctx<'_>,
    ) -> Result<(), DropReason> {
        if self.spend(who, LimitKind::Copies, (count as u64).min(MOST_COPIES), MOST_COPIES, ctx) {
            return Ok(());
        }
        self.counts.add(who.slot, Violation::Over(LimitKind::Copies));
        Err(reason(LimitKind::Copies))
    }

    /// Charges `count` copies of one packet of another node to the bucket of the receivers' network, as
    /// [`Self::pass_copies`] does.
    ///
    /// # Errors
    /// [`DropReason::ReceivedCopyRate`] if the bucket is empty.
    pub(super) fn pass_received_copies(
        &mut self,
        to: NetworkId,
        count: usize,
        ctx: &Ctx<'_>,
    ) -> Result<(), DropReason> {
        let rate = ctx.tables.networks.get(to).map(|network| network.received_copies);
        let count = ((count as u64).min(MOST_COPIES), MOST_COPIES);
        let spent = self.received.get_mut(usize::from(to.0));
        let passes = rate.zip(spent).is_some_and(|(rate, spent)| rate.spend(spent, count, ctx.now_ms));
        if passes { Ok(()) } else { Err(DropReason::ReceivedCopyRate) }
    }

    /// Checks that the tenant is not under quarantine, for requests without a rate limit.
    ///
    /// # Errors
    /// [`DropReason::Quarantined`]. It is counted for the tenant.
    #[inline]
    pub(super) fn heed(&self, who: Policed) -> Result<(), DropReason> {
        if who.quarantined {
            self.silenced(who);
            return Err(DropReason::Quarantined);
        }
        Ok(())
    }

    /// Charges one packet to the tenant's bucket of this kind; returns whether there was a token. Unlike [`Self::pass`]
    /// it does not look at quarantine and counts nothing.
    #[inline]
    pub(super) fn take(&mut self, who: Policed, kind: LimitKind, ctx: &Ctx<'_>) -> bool {
        self.spend(who, kind, 1, 1, ctx)
    }

    /// Charges `count` packets to a bucket if that holds at least one. `most` is the largest `count` that is ever
    /// charged to this bucket at once.
    #[inline]
    fn spend(&mut self, who: Policed, kind: LimitKind, count: u64, most: u64, ctx: &Ctx<'_>) -> bool {
        let (Some(rates), Some(spent)) =
            (ctx.tables.networks.rates(who.slot), self.spent.get_mut(usize::from(who.slot)))
        else {
            return false;
        };
        rates[kind as usize].spend(&mut spent[kind as usize], (count, most), ctx.now_ms)
    }

    /// Whether a packet may be handed to the control thread. One that may not is dropped as
    /// [`DropReason::PuntRate`].
    pub(super) fn may_punt(&mut self, packet: &Packet<'_>, who: Option<Policed>, ctx: &Ctx<'_>) -> bool {
        self.punts.take(Bucket::of_punt(packet, who, ctx), ctx)
    }

    /// Leaves a notice that is charged to a bucket of what the port hands over. One that is over the limit counts as
    /// lost. Nothing is charged for one that there is no room for.
    pub(super) fn limited_notice(&mut self, notice: Notice, bucket: Bucket, ctx: &Ctx<'_>) {
        if !self.notices.is_full() && self.punts.take(bucket, ctx) {
            self.notices.push(notice);
        } else {
            self.notices_lost += 1;
        }
    }

    /// Counts a packet as a violation if its verdict says that the tenant had no right to send it. Takes the verdict by
    /// reference: it was just written, and a copy would wait for the write.
    #[inline]
    pub(super) fn note(&self, who: Policed, verdict: &Verdict) {
        if let Verdict::Drop(
            DropReason::SpoofedSource
            | DropReason::TenantRouter
            | DropReason::TenantQuery
            | DropReason::TenantDhcp
            | DropReason::TenantRarp
            | DropReason::NdFragment,
        ) = verdict
        {
            self.counts.add(who.slot, Violation::Spoofed);
        }
    }

    /// Counts a packet that was dropped because its tenant is under quarantine.
    #[cold]
    pub(super) fn silenced(&self, who: Policed) {
        self.counts.add(who.slot, Violation::Quarantined);
    }

    /// Leaves the notice that a tenant claims an address that is in use elsewhere. Counts it as lost if there is no
    /// room.
    #[cold]
    pub(super) fn conflict(&mut self, who: Policed, address: IpAddr, ctx: &Ctx<'_>) {
        let tenant = TenantHandle { slot: who.slot, generation: ctx.tables.networks.generation(who.slot) };
        if self.notices.try_push(Notice::Conflict { tenant, address }).is_err() {
            self.notices_lost += 1;
        }
    }

    /// Notes that a packet goes to an identifier without a mapping. `who` is its sender, none for a task.
    #[cold]
    pub(super) fn miss(&mut self, miss: Miss, packet: &Packet<'_>, who: Option<Policed>, ctx: &Ctx<'_>) {
        if ctx.tables.asks {
            let _ = self.misses.note(miss, packet, who, ctx);
        }
    }

    /// Decides a question for an identifier without a mapping: the control thread answers when the authority does, which
    /// is not asked for what is lost.
    #[cold]
    pub(super) fn question(
        &mut self,
        miss: Miss,
        packet: &Packet<'_>,
        who: Option<Policed>,
        ctx: &Ctx<'_>,
    ) -> Verdict {
        match self.misses.note(miss, packet, who, ctx) {
            true => Verdict::Punt,
            false => Verdict::Drop(DropReason::PuntRate),
        }
    }

    /// Takes the misses since the last call.
    pub(super) fn take_misses(&mut self) -> Missed {
        self.misses.take()
    }

    /// Leaves the notice that a VM or task that is not here sent a frame here, unless the same was told a moment ago. One
    /// that finds no room is told with the next frame.
    #[cold]
    pub(super) fn seen(&mut self, at: AttachmentKey, sign: Sign, ctx: &Ctx<'_>) {
        self.seen.retain(|(_, _, until_ms)| ctx.now_ms < *until_ms);
        let known = self.seen.iter().any(|(known, told, _)| (*known, *told) == (at, sign));
        if !known
            && !self.notices.is_full()
            && self.seen.try_push((at, sign, ctx.now_ms + SEEN_AGAIN_MS)).is_ok()
        {
            self.notices.push(Notice::Seen { at, sign });
        }
    }

    /// Leaves the notice that a tenant answered for an address of its own. One over the limit, or without room, is lost:
    /// it is asked again.
    #[cold]
    pub(super) fn answered(&mut self, notice: Notice, bucket: Bucket, ctx: &Ctx<'_>) {
        if !self.notices.is_full() && self.punts.take(bucket, ctx) {
            self.notices.push(notice);
        }
    }

    /// Takes the notices since the last call, and the number of those that were lost.
    pub(super) fn take_notices(&mut self) -> (ArrayVec<Notice, NOTICES>, u64) {
        (std::mem::take(&mut self.notices), std::mem::take(&mut self.notices_lost))
    }

    /// Whether there are notices or misses to take.
    #[inline]
    pub(super) fn has_notices(&self) -> bool {
        !self.notices.is_empty() || !self.misses.is_empty()
    }
}

/// The drop reason of a packet that exceeds a limit of this kind.
const fn reason(kind: LimitKind) -> DropReason {
    match kind {
        LimitKind::Arp => DropReason::ArpRate,
        LimitKind::Nd => DropReason::NdRate,
        LimitKind::Rarp => DropReason::RarpRate,
        LimitKind::Dad => DropReason::DadRate,
        LimitKind::Copies => DropReason::CopyRate,
        // `IcmpErrors` never drops a packet: if an error is not sent, its packet keeps its own reason.
        LimitKind::Unknown | LimitKind::IcmpErrors => DropReason::UnknownRate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mac;
    use crate::table::{AttachmentKey, NetworkId, PortId, Quarantine, Rate, Rates, Tables, Tenant};

    const fn handle(slot: u16) -> TenantHandle {
        TenantHandle { slot, generation: 1 }
    }

    fn tables(rates: Rates) -> Tables {
        let mut tables = Tables::default();
        for slot in 0..2u16 {
            let tenant = Tenant {
                network: NetworkId(0),
                attachment: u32::from(slot),
                handle: handle(slot),
                quarantine: Quarantine::None,
                away: false,
                ipv4: Vec::new(),
                ipv6: Vec::new(),
            };
            Arc::make_mut(&mut tables.networks).attach(
                AttachmentKey { port: PortId(0), vlan: 0, mac: Mac([2, 0, 0, 0, 0, slot as u8]) },
                tenant,
                rates,
            );
        }
        tables
    }

    fn passed(policer: &mut Policer, tables: &Tables, slot: u16, kind: LimitKind, now_ms: u64) -> usize {
        let who = Policed { slot, quarantined: false };
        (0..100).filter(|_| policer.pass(who, kind, &Ctx { tables, now_ms }).is_ok()).count()
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let tables = tables([Rate::new(10, 3); LimitKind::ALL.len()]);
        let mut policer = Policer::new(TenantCounts::of(2));
        let arp = |policer: &mut Policer, now_ms| passed(policer, &tables, 0, LimitKind::Arp, now_ms);
        assert_eq!((arp(&mut policer, 0), arp(&mut policer, 99)), (3, 0));
        assert_eq!((arp(&mut policer, 100), arp(&mut policer, 300), arp(&mut policer, 60_000)), (1, 2, 3));
        assert_eq!(policer.counts.value(0, Violation::Over(LimitKind::Arp)), 500 - 9);
        assert_eq!(policer.counts.total(Violation::Over(LimitKind::Nd)), 0);
    }

    #[test]
    fn notices_beyond_their_room_are_counted_as_lost_once() {
        let (tables, who) = (Tables::default(), Policed { slot: 0, quarantined: false });
        let ctx = Ctx { tables: &tables, now_ms: 0 };
        for surplus in [0, 1, 5] {
            let mut policer = Policer::new(TenantCounts::of(1));
            for n in 0..(NOTICES + surplus) as u32 {
                policer.conflict(who, IpAddr::from(n.to_be_bytes()), &ctx);
            }
            let (notices, lost) = policer.take_notices();
            assert_eq!((notices.len(), lost), (NOTICES, surplus as u64));
            assert_eq!((policer.has_notices(), policer.take_notices().1), (false, 0));
        }
    }

    #[test]
    fn every_tenant_and_every_kind_has_a_bucket_of_its_own() {
        let tables = tables([Rate::new(1, 2); LimitKind::ALL.len()]);
        let mut policer = Policer::new(TenantCounts::of(2));
        for slot in 0..2 {
            for kind in LimitKind::ALL {
                assert_eq!(passed(&mut policer, &tables, slot, kind, 5), 2, "{slot} {kind:?}");
            }
        }
    }

    #[test]
    fn a_bucket_that_becomes_smaller_is_empty_and_no_worse() {
        let (slow, fast) = (
            tables([Rate::new(1, 1_000_000); LimitKind::ALL.len()]),
            tables([Rate::new(100, 10); LimitKind::ALL.len()]),
        );
        let mut policer = Policer::new(TenantCounts::of(2));
        for _ in 0..10 {
            passed(&mut policer, &slow, 0, LimitKind::Dad, 0);
        }
        assert_eq!(passed(&mut policer, &fast, 0, LimitKind::Dad, 0), 0);
        assert_eq!(passed(&mut policer, &fast, 0, LimitKind::Dad, 100), 10);
    }

    #[test]
    fn a_packet_with_more_copies_than_its_bucket_holds_passes_and_is_paid_for_later() {
        let tables = tables([Rate::new(100, 10); LimitKind::ALL.len()]);
        for copies in [1, 3, 10, 50, 1000] {
            let mut policer = Policer::new(TenantCounts::of(1));
            let who = Policed { slot: 0, quarantined: false };
            // Small packets between the large ones do not cancel what is overdrawn.
            let made: usize = (0..60_000)
                .flat_map(|now_ms| [(now_ms, copies), (now_ms, 1)])
                .filter(|(now_ms, count)| {
                    policer.pass_copies(who, *count, &Ctx { tables: &tables, now_ms: *now_ms }).is_ok()
                })
                .map(|(_, count)| count)
                .sum();
            // One burst, the rate of a minute, and what is overdrawn at the end.
            assert!((6000 - 10..=6010 + copies).contains(&made), "{copies} {made}");
        }
    }

    #[test]
    fn what_one_packet_can_overdraw_is_bounded() {
        let [slow, fast] = [1, 100].map(|rate| tables([Rate::new(rate, 10); LimitKind::ALL.len()]));
        let mut policer = Policer::new(TenantCounts::of(2));
        let mut pass = |tables: &Tables, slot, now_ms| {
            let who = Policed { slot, quarantined: false };
            policer.pass_copies(who, usize::MAX, &Ctx { tables, now_ms }).is_ok()
        };
        assert!(pass(&slow, 0, 0) && !pass(&slow, 0, 0));
        // What is overdrawn is at most 4096 copies. After a reload it is paid at the new rate, in 40.96 s.
        assert!(!pass(&fast, 0, 1) && !pass(&fast, 0, 40_000));
        assert!(pass(&fast, 0, 40_970));
        // Another tenant has a bucket of its own.
        assert!(pass(&fast, 1, 1));
        let refused = [0, 1].map(|slot| policer.counts.value(slot, Violation::Over(LimitKind::Copies)));
        assert_eq!(refused, [3, 0]);
    }

    #[test]
    fn no_time_is_too_late_for_a_bucket() {
        let [slow, fast, none] =
            [1, 10_000_000, 0].map(|rate| tables([Rate::new(rate, 3); LimitKind::ALL.len()]));
        for now_ms in [u64::MAX / 1_000_000 - 1, u64::MAX / 1_000_000, u64::MAX / 1000, u64::MAX] {
            for (tables, most) in [(&slow, 3), (&fast, 3), (&none, 0)] {
                let mut policer = Policer::new(TenantCounts::of(2));
                assert!(passed(&mut policer, tables, 0, LimitKind::Arp, now_ms) <= most, "{now_ms}");
                let who = Policed { slot: 0, quarantined: false };
                let _ = policer.pass_copies(who, usize::MAX, &Ctx { tables, now_ms });
            }
        }
    }

    #[test]
    fn nothing_passes_under_quarantine_or_at_a_rate_of_zero() {
        let tables = tables([Rate::new(0, 5); LimitKind::ALL.len()]);
        let mut policer = Policer::new(TenantCounts::of(2));
        assert_eq!(passed(&mut policer, &tables, 0, LimitKind::Arp, 10_000), 0);
        let who = Policed { slot: 1, quarantined: true };
        let ctx = Ctx { tables: &tables, now_ms: 0 };
        assert_eq!(policer.pass(who, LimitKind::Nd, &ctx), Err(DropReason::Quarantined));
        assert_eq!(policer.counts.value(1, Violation::Quarantined), 1);
    }
}
