//! The pipeline: stages over a burst, in the order of [`Pipeline::run`], each packet ending in exactly one fate.
//!
//! Safe, silent, without clock or allocation. One [`Ctx`] per burst: one snapshot, one instant.

mod answer;
mod arp;
mod arrive;
mod classify;
pub mod counters;
mod direct;
mod flow;
mod group;
pub mod lane;
mod lookup;
mod ndp;
mod outbox;
mod own;
pub mod packet;
mod parse;
mod quoted;
mod route;
mod send;
mod split;
mod tenant;
mod translate;
mod v4;
pub mod verdict;

pub use answer::Limiter;
pub use counters::Counters;
pub use direct::{Decided, Direct};
pub use lane::{BURST, Lane, Lanes};
pub use outbox::{Extra, Outbox};
pub use packet::Packet;
pub use verdict::{DropReason, Verdict};

use crate::table::Tables;
use lane::Todo;

/// What all stages of a burst share.
#[derive(Clone, Copy)]
pub struct Ctx<'t> {
    /// One snapshot.
    pub tables: &'t Tables,
    /// One instant, in milliseconds of a monotonic clock.
    pub now_ms: u64,
}

/// One worker's pipeline: its scratch memory and its rate limiter.
pub struct Pipeline {
    lanes: Box<Lanes>,
    limiter: Limiter,
    outbox: Outbox,
    direct: bool,
}

impl Pipeline {
    /// A pipeline whose ICMPv6 errors are limited by `limiter`.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Pipeline {
            lanes: Box::new([Lane::default(); BURST]),
            limiter,
            outbox: Outbox::default(),
            direct: true,
        }
    }

    /// Decides every packet of `burst` (at most [`BURST`]; further ones are left undecided): [`Self::direct`] and
    /// [`Self::finish`] over packets that lie anywhere.
    pub fn run(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let Some(port) = burst.first().map(|packet| packet.port) else { return };
        let alone = self.direct && burst.iter().all(|packet| packet.port == port);
        let mut decided = Decided::NOTHING;
        if let Some(mut direct) = Direct::new(port, ctx.tables).filter(|_| alone) {
            burst.iter_mut().take(BURST).for_each(|packet| direct.start(packet.frame_mut()));
            direct.decide(&mut decided);
        }
        self.finish(burst, &decided, ctx);
    }

    /// Decides every packet of `burst` that the direct way has not.
    pub fn finish(&mut self, burst: &mut [Packet<'_>], decided: &Decided, ctx: &Ctx<'_>) {
        self.outbox.clear();
        let mut left = false;
        for (index, packet) in burst.iter_mut().enumerate() {
            match decided.port(index) {
                Some(port) => packet.verdict = Verdict::Forward(port),
                None => left = true,
            }
        }
        if left {
            self.stages(burst, ctx);
        }
    }

    fn stages(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let lanes = &mut *self.lanes;
        let mut todo = arrive::run(burst, lanes, ctx);
        forward(burst, lanes, &mut todo, ctx);
        if todo.groups {
            group::run(burst, lanes, &mut self.outbox, &mut todo, ctx);
        }
        if todo.drops {
            split::run(burst, lanes, &mut self.outbox, ctx);
        }
        if todo.own {
            own::run(burst, lanes, &mut todo, ctx);
        }
        if todo.drops {
            answer::run(burst, lanes, &mut self.limiter, ctx);
        }
        if todo.own || todo.drops {
            // What this node says itself takes the same way out as what it forwards.
            let mut todo = arrive::again(burst, lanes, ctx);
            forward(burst, lanes, &mut todo, ctx);
            own::run(burst, lanes, &mut todo, ctx);
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
