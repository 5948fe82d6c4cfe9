//! The pipeline: it decides what becomes of each packet of a burst.
//!
//! [`Pipeline::decide`] gives every packet exactly one verdict. It tries the fast path (`fast/`) first and runs the
//! stages (`stage/`, in running order) on what is left. The caller does what the verdicts say, and then counts the
//! burst with [`Pipeline::account`].
//!
//! The pipeline never logs, allocates, blocks, reads a clock or knows of DPDK. One [`Ctx`] serves a whole burst: one
//! snapshot of the tables, one instant.

mod admit;
mod copies;
pub mod count;
pub mod counters;
pub mod ctx;
mod triangle;
mod fast;
mod flow;
pub mod frames;
mod limiter;
pub mod meta;
mod misses;
pub mod networks;
pub mod notice;
mod original;
pub mod outcome;
pub mod packet;
pub mod path_mtu;
pub mod policer;
mod policy;
mod punts;
mod prefix;
mod proxy;
mod rewrite;
mod router;
mod stage;
pub mod verdict;
pub mod violations;

pub use copies::{CopiedFrame, Copies};
pub use counters::Counters;
pub use ctx::Ctx;
pub use fast::{Decided, FRONT, FastPath};
pub use frames::{Arrival, Decision, Fates, Frames, Lent};
pub use limiter::Limiter;
pub use meta::{BURST, BurstMeta, PacketMeta};
pub use misses::{MISSES, Miss, Missed};
pub use networks::NetworkTally;
pub use notice::{Notice, Sign};
pub use outcome::{Outcome, Outcomes};
pub use packet::Packet;
pub use path_mtu::{PathMtu, path_mtu};
pub use policer::Policer;
pub use proxy::late::{LateAnswer, Sought, answer_late, asker, sought};
pub use triangle::{Triangle, triangle};
pub use verdict::{DropReason, Verdict};

use crate::table::{PortId, Tables};
use arrayvec::ArrayVec;
use limiter::ErrorLimits;
use meta::PendingWork;
use original::{Original, Originals};

/// Tenants that the policer of [`Pipeline::new`] has token buckets for.
const FEW_TENANTS: usize = 64;

/// One worker's pipeline: its scratch memory, its rate limiters and its token buckets of tenants.
///
/// The caller of a burst calls [`Self::decide`], does what the decision says, and then calls [`Self::account`].
pub struct Pipeline {
    metas: Box<BurstMeta>,
    originals: Box<Originals>,
    error_limits: ErrorLimits,
    policer: Policer,
    copies: Copies,
    takes_fast_path: bool,
    /// Whether the stages ran over the last burst.
    staged: bool,
    /// What the fast path decided of the last burst.
    decided: Decided,
}

/// Where the packets of a burst are counted.
#[derive(Clone, Copy)]
pub struct Account<'c> {
    /// This worker's counters of the port on which the packets were received.
    pub counters: &'c Counters,
    /// This worker's counters by virtual network.
    pub networks: &'c NetworkTally,
}

impl Pipeline {
    /// A pipeline with a policer for 64 tenants. `limiter` limits ICMPv6 errors to senders that are
    /// not tenants, for each port and kind of error.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Pipeline {
            metas: Box::new([PacketMeta::default(); BURST]),
            originals: Box::new([Original::NONE; BURST]),
            error_limits: ErrorLimits::of(&limiter),
            policer: Policer::new(violations::TenantCounts::of(FEW_TENANTS)),
            copies: Copies::default(),
            takes_fast_path: true,
            staged: false,
            decided: Decided::NOTHING,
        }
    }

    /// Replaces the policer.
    #[must_use]
    pub fn with_policer(mut self, policer: Policer) -> Self {
        self.policer = policer;
        self
    }

    /// Decides every packet of a received burst: the fast path decides those that it admits, the stages decide the
    /// others. The frames are rewritten in their buffers. After [`Decision::Each`], `outcomes` has the outcome of each.
    #[inline]
    pub fn decide(&mut self, frames: &mut impl Frames, outcomes: &mut Outcomes, ctx: &Ctx<'_>) -> Decision {
        match self.decide_fast(frames, ctx) {
            Some(port) => {
                self.staged = false;
                Decision::SamePort(port)
            }
            None => {
                self.decide_rest(frames, false, outcomes, ctx);
                Decision::Each
            }
        }
    }

    /// The port that all packets leave through, if the fast path decided all of them and for one port.
    #[inline]
    fn decide_fast(&mut self, frames: &mut impl Frames, ctx: &Ctx<'_>) -> Option<PortId> {
        let packets = frames.count();
        let port = frames.port().filter(|_| self.takes_fast_path);
        match port.and_then(|port| FastPath::new(port, ctx.tables)) {
            Some(fast) if fast.checks_sources() => {
                fast.decide_tenants(frames.frames::<FRONT>(), &mut self.decided);
            }
            Some(fast) => fast.decide(frames.frames::<0>(), &mut self.decided),
            None => {
                self.decided = Decided::NOTHING;
                return None;
            }
        }
        self.decided.alike(packets)
    }

    /// Decides every packet of a burst that waited for a next hop or a neighbour. These packets passed the source
    /// checks before and do not pass them again. `outcomes` gets the outcome of each.
    pub fn decide_again(&mut self, frames: &mut impl Frames, outcomes: &mut Outcomes, ctx: &Ctx<'_>) {
        self.decided = Decided::NOTHING;
        self.decide_rest(frames, true, outcomes, ctx);
    }

    /// Decides every packet that the fast path left undecided. `admitted` packets passed the source checks before.
    #[inline(never)]
    fn decide_rest(
        &mut self,
        frames: &mut impl Frames,
        admitted: bool,
        outcomes: &mut Outcomes,
        ctx: &Ctx<'_>,
    ) {
        self.copies.clear();
        let mut left = false;
        // Filled in place: the views of a burst are too many to be moved.
        let mut burst: ArrayVec<Packet<'_>, BURST> = ArrayVec::new();
        burst.extend(frames.packets().zip(0..BURST).map(|(mut packet, index)| {
            packet.admitted = admitted;
            match self.decided.port(index) {
                Some((port, moves)) => {
                    packet.move_start(moves);
                    packet.verdict = Verdict::Forward(port);
                }
                None => left = true,
            }
            packet
        }));
        self.staged = left;
        if left {
            self.stages(&mut burst, ctx);
        }
        outcomes.clear();
        outcomes.extend(burst.iter().map(Outcome::from));
    }

    /// [`Self::decide`] for packets in the caller's memory: sets their verdicts. Decides only the first [`BURST`]
    /// packets.
    pub fn run(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let mut outcomes = Outcomes::new();
        match self.decide(&mut Lent(burst), &mut outcomes, ctx) {
            Decision::SamePort(port) => {
                for (index, packet) in burst.iter_mut().enumerate() {
                    packet.move_start(self.decided.moves().get(index).copied().unwrap_or(0));
                    packet.verdict = Verdict::Forward(port);
                }
            }
            Decision::Each => take_over(burst, &outcomes),
        }
    }

    /// [`Self::decide_again`] for packets in the caller's memory: sets their verdicts.
    pub fn run_again(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let mut outcomes = Outcomes::new();
        self.decide_again(&mut Lent(burst), &mut outcomes, ctx);
        take_over(burst, &outcomes);
    }

    /// Counts a burst after the last decision on its packets, and hands its copies to `send`, which says whether it
    /// sent the frame.
    #[inline]
    pub fn account(
        &self,
        arrival: Arrival,
        fates: Fates<'_>,
        to: Account<'_>,
        tables: &Tables,
        send: impl FnMut(&CopiedFrame<'_>) -> bool,
    ) {
        match arrival {
            Arrival::Received { packets, bytes } => to.counters.receive(packets as u64, bytes),
            Arrival::Retried { packets } => to.counters.waiting.sub(packets as u64),
        }
        to.networks.settle_fast(self.decided.tally());
        match fates {
            Fates::AllForwarded(packets) => to.counters.forwarded.add(packets as u64),
            Fates::Each(outcomes) => self.account_each(outcomes, to, tables, send),
        }
    }

    #[inline(never)]
    fn account_each(
        &self,
        outcomes: &[Outcome],
        to: Account<'_>,
        tables: &Tables,
        send: impl FnMut(&CopiedFrame<'_>) -> bool,
    ) {
        to.counters.settle(outcomes, &self.metas);
        if self.staged {
            to.networks.settle(outcomes, &self.metas, tables);
            to.networks.settle_copies(&self.copies, &self.metas, tables);
            to.counters.settle_moved(outcomes, &self.metas);
        }
        if !self.copies.is_empty() {
            to.counters.settle_copies(&self.copies, send);
        }
    }

    fn stages(&mut self, burst: &mut [Packet<'_>], ctx: &Ctx<'_>) {
        let (metas, originals) = (&mut *self.metas, &mut *self.originals);
        let mut pending = stage::arrive::run(burst, metas, originals, &mut self.policer, ctx);
        forward(burst, metas, &mut pending, &mut self.policer, ctx);
        if pending.groups {
            stage::replicate::run(burst, metas, &mut self.copies, &mut self.policer, &mut pending, ctx);
        }
        if pending.drops {
            stage::fragment::run(burst, metas, &mut self.copies, ctx);
        }
        if pending.local {
            stage::local::run(burst, metas, &mut pending, &mut self.policer, ctx);
        }
        if pending.drops {
            stage::icmp_error::run(burst, metas, originals, &mut self.error_limits, &mut self.policer, ctx);
        }
        if pending.local || pending.drops {
            // Answers and errors of this node are looked up, translated and routed like forwarded packets.
            let mut again = stage::arrive::again(burst, metas, ctx);
            if again != PendingWork::default() {
                forward(burst, metas, &mut again, &mut self.policer, ctx);
                if again.drops {
                    stage::fragment::run(burst, metas, &mut self.copies, ctx);
                }
                stage::local::run(burst, metas, &mut again, &mut self.policer, ctx);
            }
            if pending.drops {
                stage::icmp_error::give_up(burst, metas);
            }
        }
        if pending.lookups || pending.groups || pending.routes || !ctx.tables.moves.absent.is_empty() {
            original::restore_waiting(burst, metas, originals);
        }
    }

    /// The same pipeline without the fast path: every packet passes the stages. Tests compare the two.
    #[must_use]
    pub fn without_fast_path(mut self) -> Self {
        self.takes_fast_path = false;
        self
    }

    /// By how many bytes the start of each frame moved, in the order of the burst, after [`Decision::SamePort`]. Empty
    /// if no frame moved.
    #[inline]
    #[must_use]
    pub fn moves(&self) -> &[i8] {
        self.decided.moves()
    }

    /// The metadata of the packets of the last burst that the stages saw.
    #[must_use]
    pub fn metas(&self) -> &BurstMeta {
        &self.metas
    }

    /// Whether [`Self::take_notices`] or [`Self::take_misses`] has something to give.
    #[inline]
    #[must_use]
    pub fn has_notices(&self) -> bool {
        self.policer.has_notices()
    }

    /// Takes the notices for the control thread, and the number of those that were lost: for want of
    /// room, or over a limit.
    pub fn take_notices(&mut self) -> (ArrayVec<Notice, { notice::NOTICES }>, u64) {
        self.policer.take_notices()
    }

    /// Takes the misses of tenants and tasks, if the snapshot says that they are to be told.
    pub fn take_misses(&mut self) -> Missed {
        self.policer.take_misses()
    }

    /// The frames of the last burst beyond one for each packet: copies and fragments, after [`Decision::Each`].
    #[must_use]
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Replaces the limiter of ICMPv6 errors to senders that are not tenants, for each port and kind of error.
    pub fn set_limiter(&mut self, limiter: Limiter) {
        self.error_limits = ErrorLimits::of(&limiter);
    }
}

/// Copies the outcomes of a burst into its packets.
fn take_over(burst: &mut [Packet<'_>], outcomes: &Outcomes) {
    for (packet, outcome) in burst.iter_mut().zip(outcomes) {
        packet.take_over(outcome);
    }
}

/// Looks up, translates and routes the packets that need it.
#[inline(always)]
fn forward(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    pending: &mut PendingWork,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) {
    if pending.lookups {
        stage::lookup::run(burst, metas, ctx);
        stage::translate::run(burst, metas, pending, policer, ctx);
    }
    if pending.routes {
        stage::route::run(burst, metas, pending, ctx);
    }
}
