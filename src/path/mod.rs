//! The pipeline: stages over a burst, in the order of [`Pipeline::run`], each packet ending in exactly one fate.
//!
//! Safe, silent, without clock or allocation. One [`Ctx`] per burst: one snapshot, one instant.

mod ahead;
mod answer;
mod arp;
mod arrive;
mod classify;
pub mod counters;
mod direct;
mod flow;
mod group;
pub mod guard;
pub mod lane;
mod lookup;
mod manners;
mod ndp;
pub mod networks;
mod outbox;
mod own;
pub mod packet;
mod parse;
mod policy;
mod quoted;
mod relay;
mod route;
mod send;
mod split;
mod tenant;
mod translate;
mod v4;
pub mod verdict;

pub use answer::Limiter;
pub use counters::Counters;
pub use direct::{Decided, Direct, FRONT, Tally};
pub use guard::{Guard, Notice};
pub use lane::{BURST, Lane, Lanes};
pub use networks::NetworkTally;
pub use outbox::{Extra, Outbox};
pub use packet::Packet;
pub use verdict::{DropReason, Verdict};

use crate::table::Tables;
use arrayvec::ArrayVec;
use lane::Todo;

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
    lanes: Box<Lanes>,
    limiter: Limiter,
    guard: Guard,
    outbox: Outbox,
    direct: bool,
    /// Whether the lanes are those of the last burst.
    staged: bool,
    /// What the direct way made of the last burst that was run whole.
    decided: Decided,
}

impl Pipeline {
    /// A pipeline with room for a few tenants, whose ICMPv6 errors to all but tenants are limited by `limiter`.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        let guard = Guard::new(guard::TenantCounts::of(FEW_TENANTS));
        Pipeline {
            lanes: Box::new([Lane::default(); BURST]),
            limiter,
            guard,
            outbox: Outbox::default(),
            direct: true,
            staged: false,
            decided: Decided::NOTHING,
        }
    }

    /// The same, guarded by `guard`.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Decides every packet of `burst` (at most [`BURST`]; further ones are left undecided): [`Self::direct`] and
    /// [`Self::finish`] over packets that lie anywhere.
    pub fn run(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        self.decided = Decided::NOTHING;
        let Some(port) = burst.first().map(|packet| packet.port) else { return };
        let alone = self.direct && burst.iter().all(|packet| packet.port == port);
        let mut decided = Decided::NOTHING;
        match Direct::new(port, ctx.tables).filter(|_| alone) {
            Some(direct) if direct.is_guarded() => {
                let rooms = burst.iter_mut().map(|packet| packet.frame_behind(FRONT));
                direct.decide_tenants(rooms, &mut decided);
            }
            Some(direct) => direct.decide(burst.iter_mut().map(Packet::frame_mut), &mut decided),
            None => {}
        }
        self.finish(burst, &decided, ctx);
        self.decided = decided;
    }

    /// Decides every packet of `burst` that the direct way has not.
    pub fn finish(&mut self, burst: &mut [Packet<'_>], decided: &Decided, ctx: &Ctx<'_>) {
        self.outbox.clear();
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
        let lanes = &mut *self.lanes;
        let mut todo = arrive::run(burst, lanes, &mut self.guard, ctx);
        forward(burst, lanes, &mut todo, ctx);
        if todo.groups {
            group::run(burst, lanes, &mut self.outbox, &mut self.guard, &mut todo, ctx);
        }
        if todo.drops {
            split::run(burst, lanes, &mut self.outbox, ctx);
        }
        if todo.own {
            own::run(burst, lanes, &mut todo, &mut self.guard, ctx);
        }
        if todo.drops {
            answer::run(burst, lanes, &mut self.limiter, &mut self.guard, ctx);
        }
        if todo.own || todo.drops {
            // What this node says itself takes the same way out as what it forwards.
            let mut todo = arrive::again(burst, lanes, ctx);
            forward(burst, lanes, &mut todo, ctx);
            own::run(burst, lanes, &mut todo, &mut self.guard, ctx);
            answer::give_up(burst, lanes);
        }
    }

    /// The same pipeline without the direct way: every packet meets every stage. For tests that compare the two.
    #[must_use]
    pub fn without_direct_way(mut self) -> Self {
        self.direct = false;
        self
    }

    /// What the stages found out about each packet of the last burst.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The same; `None` if no stage saw the last burst.
    #[must_use]
    pub fn staged(&self) -> Option<&Lanes> {
        self.staged.then_some(&*self.lanes)
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
        self.guard.has_notices()
    }

    /// What the control thread should hear of, and how many more notices there was no room for.
    pub fn take_notices(&mut self) -> (ArrayVec<Notice, { guard::NOTICES }>, u64) {
        self.guard.take_notices()
    }

    /// The frames that the last burst became beyond one for each packet.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Replaces the limiter of ICMPv6 errors.
    pub fn set_limiter(&mut self, limiter: Limiter) {
        self.limiter = limiter;
    }
}

/// Look up, translate, route.
#[inline(always)]
fn forward(burst: &mut [Packet<'_>], lanes: &mut Lanes, todo: &mut Todo, ctx: &Ctx<'_>) {
    if todo.lookups {
        lookup::run(burst, lanes, ctx);
        translate::run(burst, lanes, todo, ctx);
    }
    if todo.routes {
        route::run(burst, lanes, todo, ctx);
    }
}
