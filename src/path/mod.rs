//! The pipeline: stages over a burst, in the order of [`Pipeline::run`], each packet ending in exactly one fate.
//!
//! Safe, silent, without clock or allocation. One [`Ctx`] per burst: one snapshot, one instant.

mod admit;
mod copies;
pub mod counters;
mod fast;
mod flow;
pub mod meta;
pub mod networks;
pub mod notice;
pub mod packet;
pub mod policer;
mod policy;
mod proxy;
mod rewrite;
mod stage;
pub mod verdict;
pub mod violations;

pub use copies::{CopiedFrame, Copies};
pub use counters::Counters;
pub use fast::{Decided, FRONT, FastPath, Tally};
pub use meta::{BURST, BurstMeta, PacketMeta};
pub use networks::NetworkTally;
pub use notice::Notice;
pub use packet::Packet;
pub use policer::Policer;
pub use stage::icmp_error::Limiter;
pub use verdict::{DropReason, Verdict};

use crate::table::Tables;
use arrayvec::ArrayVec;
use meta::PendingWork;

/// What all stages of a burst share.
#[derive(Clone, Copy)]
pub struct Ctx<'t> {
    /// One snapshot.
    pub tables: &'t Tables,
    /// One instant, in milliseconds of a monotonic clock.
    pub now_ms: u64,
}

/// Tenants that a pipeline without a guard of its own has room for.
const FEW_TENANTS: usize = 64;

/// One worker's pipeline: its scratch memory, its rate limiter and what it remembers of tenants.
pub struct Pipeline {
    metas: Box<BurstMeta>,
    limiter: Limiter,
    policer: Policer,
    copies: Copies,
    fast: bool,
    /// Whether the lanes are those of the last burst.
    staged: bool,
    /// What the direct way made of the last burst that was run whole.
    decided: Decided,
}

impl Pipeline {
    /// A pipeline with room for a few tenants, whose ICMPv6 errors to all but tenants are limited by `limiter`.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        let policer = Policer::new(violations::TenantCounts::of(FEW_TENANTS));
        Pipeline {
            metas: Box::new([PacketMeta::default(); BURST]),
            limiter,
            policer,
            copies: Copies::default(),
            fast: true,
            staged: false,
            decided: Decided::NOTHING,
        }
    }

    /// The same, guarded by `policer`.
    #[must_use]
    pub fn with_policer(mut self, policer: Policer) -> Self {
        self.policer = policer;
        self
    }

    /// Decides every packet of `burst` (at most [`BURST`]; further ones are left undecided): [`Self::direct`] and
    /// [`Self::finish`] over packets that lie anywhere.
    pub fn run(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        self.decided = Decided::NOTHING;
        let Some(port) = burst.first().map(|packet| packet.port) else { return };
        let alone = self.fast && burst.iter().all(|packet| packet.port == port);
        let mut decided = Decided::NOTHING;
        match FastPath::new(port, ctx.tables).filter(|_| alone) {
            Some(fast) if fast.checks_sources() => {
                let rooms = burst.iter_mut().map(|packet| packet.frame_behind(FRONT));
                fast.decide_tenants(rooms, &mut decided);
            }
            Some(fast) => fast.decide(burst.iter_mut().map(Packet::frame_mut), &mut decided),
            None => {}
        }
        self.finish(burst, &decided, ctx);
        self.decided = decided;
    }

    /// Decides every packet of `burst` that the direct way has not.
    pub fn finish(&mut self, burst: &mut [Packet<'_>], decided: &Decided, ctx: &Ctx<'_>) {
        self.copies.clear();
        let mut left = false;
        for (index, packet) in burst.iter_mut().enumerate() {
            match decided.port(index) {
                Some((port, moves)) => {
                    packet.move_start(moves);
                    packet.verdict = Verdict::Forward(port);
                }
                None => left = true,
            }
        }
        self.staged = left;
        if left {
            self.stages(burst, ctx);
        }
    }

    fn stages(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let metas = &mut *self.metas;
        let mut pending = stage::arrive::run(burst, metas, &mut self.policer, ctx);
        forward(burst, metas, &mut pending, ctx);
        if pending.groups {
            stage::replicate::run(burst, metas, &mut self.copies, &mut self.policer, &mut pending, ctx);
        }
        if pending.drops {
            stage::fragment::run(burst, metas, &mut self.copies, ctx);
        }
        if pending.own {
            stage::local::run(burst, metas, &mut pending, &mut self.policer, ctx);
        }
        if pending.drops {
            stage::icmp_error::run(burst, metas, &mut self.limiter, &mut self.policer, ctx);
        }
        if pending.own || pending.drops {
            // What this node says itself takes the same way out as what it forwards.
            let mut pending = stage::arrive::again(burst, metas, ctx);
            forward(burst, metas, &mut pending, ctx);
            stage::local::run(burst, metas, &mut pending, &mut self.policer, ctx);
            stage::icmp_error::give_up(burst, metas);
        }
    }

    /// The same pipeline without the direct way: every packet meets every stage. For tests that compare the two.
    #[must_use]
    pub fn without_fast_path(mut self) -> Self {
        self.fast = false;
        self
    }

    /// What the stages found out about each packet of the last burst.
    #[must_use]
    pub fn metas(&self) -> &BurstMeta {
        &self.metas
    }

    /// The same; `None` if no stage saw the last burst.
    #[must_use]
    pub fn staged(&self) -> Option<&BurstMeta> {
        self.staged.then_some(&*self.metas)
    }

    /// What the direct way decided of the tenants' packets of the last burst that was [`Self::run`].
    #[must_use]
    pub fn tally(&self) -> &[Tally] {
        self.decided.tally()
    }

    /// Whether [`Self::take_notices`] has any.
    #[inline]
    #[must_use]
    pub fn has_notices(&self) -> bool {
        self.policer.has_notices()
    }

    /// What the control thread should hear of, and how many more notices there was no room for.
    pub fn take_notices(&mut self) -> (ArrayVec<Notice, { notice::NOTICES }>, u64) {
        self.policer.take_notices()
    }

    /// The frames that the last burst became beyond one for each packet.
    #[must_use]
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Replaces the limiter of ICMPv6 errors.
    pub fn set_limiter(&mut self, limiter: Limiter) {
        self.limiter = limiter;
    }
}

/// Look up, translate, route.
#[inline(always)]
fn forward(burst: &mut [Packet<'_>], metas: &mut BurstMeta, pending: &mut PendingWork, ctx: &Ctx<'_>) {
    if pending.lookups {
        stage::lookup::run(burst, metas, ctx);
        stage::translate::run(burst, metas, pending, ctx);
    }
    if pending.routes {
        stage::route::run(burst, metas, pending, ctx);
    }
}
