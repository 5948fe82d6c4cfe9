//! The pipeline: stages over a burst, in this order, each packet ending in exactly one fate (DESIGN §3).
//!
//! Safe, silent, without clock or allocation. One [`Ctx`] per burst: one snapshot, one instant.

mod answer;
mod classify;
pub mod counters;
mod flow;
pub mod lane;
mod lookup;
mod ndp;
mod own;
pub mod packet;
mod parse;
mod quoted;
mod route;
mod send;
mod translate;
pub mod verdict;

pub use answer::Limiter;
pub use counters::Counters;
pub use lane::{BURST, Lane, Lanes};
pub use packet::Packet;
pub use verdict::{DropReason, Verdict};

use crate::table::Tables;

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
}

impl Pipeline {
    /// A pipeline whose ICMPv6 errors are limited by `limiter`.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Pipeline { lanes: Box::new([Lane::default(); BURST]), limiter }
    }

    /// Decides every packet of `burst` (at most [`BURST`]; further ones are left undecided).
    pub fn run(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let lanes = &mut *self.lanes;
        parse::run(burst, lanes, ctx);
        forward(burst, lanes, ctx);
        let answers = own::run(burst, lanes, ctx);
        let errors = answer::run(burst, lanes, &mut self.limiter, ctx);
        if answers || errors {
            // What this node says itself takes the same way out as what it forwards.
            forward(burst, lanes, ctx);
            let _ = own::run(burst, lanes, ctx);
            answer::give_up(burst, lanes);
        }
    }

    /// What the stages found out about each packet of the last burst.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Replaces the limiter of ICMPv6 errors.
    pub fn set_limiter(&mut self, limiter: Limiter) {
        self.limiter = limiter;
    }
}

/// Classify, look up, translate, route.
#[inline]
fn forward(burst: &mut [Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    classify::run(burst, lanes, ctx);
    lookup::run(burst, lanes, ctx);
    translate::run(burst, lanes, ctx);
    route::run(burst, lanes, ctx);
}
