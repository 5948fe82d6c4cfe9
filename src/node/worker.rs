//! A worker: one thread on one core that polls its receive queues, runs the pipeline and sends packets.
//!
//! It never locks, allocates, logs or waits for another thread. It passes what it cannot decide to the control thread
//! through bounded queues ([`Exchange`]); what does not fit there is dropped and counted.

use super::exchange::{Exchange, Frame, Settings};
use super::hold::{ASIDE, Held, Hold};
use super::neighbour::Key;
use super::pace::Pace;
use super::stats::{Stats, WorkerStats};
use super::waiting::{Awaited, Entry, ROOM, Waiting};
use crate::config::Idle;
use crate::dpdk::{Burst, Mbuf, Mempool, RxQueue, Settled, TxSet};
use crate::net::offload::{Looks, is_unfinished};
use crate::path::Frames;
use crate::path::meta::BurstMeta;
use crate::path::{
    Account, Arrival, BURST, Counters, Ctx, Decision, DropReason, Fates, Limiter, Missed, Outcome, Outcomes,
    Pipeline, Policer, Verdict, triangle,
};
use crate::table::rcu::Reader;
use crate::table::{HoldId, PortId, Tables};
use arrayvec::ArrayVec;
use std::sync::Arc;
use std::time::Duration;

/// Turns of a busy loop between two calls of the housekeeping.
const TURNS: u32 = 16;
/// Turns without a packet before a worker with idle backoff sleeps.
const TURNS_BEFORE_BACKOFF: u32 = 64;
/// Shortest and longest sleep of the idle backoff, in microseconds.
const BACKOFF_US: (u64, u64) = (20, 200);
/// How long a device may refuse what was held before it is lost, in milliseconds, and with it all that the device refuses
/// while held packets leave.
const REFUSED_MS: u64 = 200;
/// Packets of one queue that leave between two looks whether a device refuses some: what two queues give it is kept.
const CHUNK: usize = BURST / 2;

/// Everything that a worker needs to start.
pub struct WorkerSetup {
    /// Its number, from 0.
    pub number: usize,
    /// Receive queues that it serves.
    pub queues: Vec<(PortId, RxQueue)>,
    /// A transmit queue on every port.
    pub tx: TxSet,
    /// An empty burst.
    pub burst: Burst,
    /// Buffers for the control thread's frames.
    pub pool: Arc<Mempool>,
    /// Its reader of the snapshots.
    pub reader: Reader<Tables>,
    /// The queues to and from the control thread.
    pub exchange: Arc<Exchange>,
    /// The counters of the node; the worker writes its own.
    pub stats: Arc<Stats>,
    /// What it does when its queues are empty: poll or back off.
    pub idle: Idle,
    /// The settings that a reload may change.
    pub settings: Settings,
    /// Packets that it may hold for VMs and tasks that are about to arrive.
    pub hold_room: usize,
}

/// A running worker.
pub struct Worker {
    queues: Vec<(PortId, RxQueue)>,
    reader: Reader<Tables>,
    seen: u64,
    now_ms: u64,
    idle: Idle,
    datapath: Datapath,
}

/// A worker's datapath: the burst, the pipeline, the transmit queues and the waiting packets.
struct Datapath {
    number: usize,
    burst: Burst,
    pipeline: Pipeline,
    tx: TxSet,
    pool: Arc<Mempool>,
    waiting: Waiting<Mbuf>,
    hold_timeout_ms: u64,
    hold: Hold<Mbuf>,
    release: Release,
    /// The outcomes of the last burst; reused.
    outcomes: Outcomes,
    /// Which queue's next frame is looked at for an unfinished checksum.
    looks: Looks,
    /// Reused buffer of [`Datapath::retry`], so that it does not allocate.
    again: Vec<Entry<Mbuf>>,
    exchange: Arc<Exchange>,
    stats: Arc<Stats>,
}

/// What was held and leaves now.
struct Release {
    pace: Pace,
    /// Whether there may be some.
    is_open: bool,
    /// Packets that were added behind it since some left.
    arrived: usize,
}

/// A packet of a burst that waits for a resolution.
struct Kept {
    index: usize,
    awaited: Awaited,
    deadline_ms: u64,
}

#[cold]
fn refuse_misshapen(counters: &Counters, packets: usize) {
    counters.received.add(packets as u64);
    counters.dropped[DropReason::BufferShape as usize].add(packets as u64);
}

/// Looks at one frame for a checksum that its sender left to its device: nothing else tells why TCP does not pass. An ILA
/// router looks whether it is triangular.
#[cold]
fn look(burst: &mut Burst, port: PortId, own: &WorkerStats, exchange: &Exchange, ctx: &Ctx<'_>) {
    let mut burst = burst.on(port);
    let Some(frame) = burst.frames::<0>().next() else { return };
    if let Some(count) = own.unfinished.get(usize::from(port.0)).filter(|_| is_unfinished(frame)) {
        count.add(1);
    }
    if exchange.seeks_triangles()
        && let Some(triangle) = triangle(frame, port, ctx.tables)
    {
        // One that finds no room is seen again.
        let _ = exchange.triangles.push(triangle);
    }
}

/// Passes the pipeline's notices to the control thread, and its misses to the client of the authority. Those that do not
/// fit a queue are counted.
#[cold]
fn pass_on_notices(pipeline: &mut Pipeline, exchange: &Exchange, stats: &Stats) {
    let (notices, lost) = pipeline.take_notices();
    let refused = notices.into_iter().filter(|notice| exchange.notices.push(*notice).is_err());
    stats.events.suppress(lost + refused.count() as u64);
    let Missed { told, suppressed, lost } = pipeline.take_misses();
    let refused = told.into_iter().filter(|miss| exchange.misses.push(*miss).is_err());
    stats.nva.missed(suppressed, lost + refused.count() as u64);
}

type KeptList = ArrayVec<Kept, BURST>;

impl Worker {
    /// A worker that is ready to [run](Self::run) on its thread.
    #[must_use]
    pub fn new(setup: WorkerSetup) -> Self {
        let Settings {
            errors_per_second,
            errors_burst,
            hold_packets,
            hold_timeout_ms,
            hold,
            release_per_second,
        } = setup.settings;
        let pace = Pace::new(release_per_second);
        Worker {
            queues: setup.queues,
            // No snapshot has number 0, so that the first turn notes the snapshot that it starts with.
            seen: 0,
            reader: setup.reader,
            now_ms: 0,
            idle: setup.idle,
            datapath: Datapath {
                number: setup.number,
                burst: setup.burst,
                pipeline: Pipeline::new(Limiter::new(errors_per_second, errors_burst))
                    .with_policer(Policer::new(setup.stats.workers[setup.number].tenants.clone())),
                tx: setup.tx,
                pool: setup.pool,
                waiting: Waiting::new(hold_packets),
                hold_timeout_ms,
                hold: Hold::new(setup.hold_room, hold),
                release: Release { pace, is_open: false, arrived: 0 },
                outcomes: Outcomes::new(),
                looks: Looks::default(),
                again: Vec::with_capacity(ROOM),
                exchange: setup.exchange,
                stats: setup.stats,
            },
        }
    }

    /// Polls until the control thread stops the exchange. Then sends what is queued and drops what still waits.
    pub fn run(mut self) {
        let mut quiet = 0u32;
        let mut turn = 0u32;
        while !self.datapath.exchange.stopping() {
            if quiet > 0 || turn.is_multiple_of(TURNS) {
                self.housekeeping();
            }
            turn = turn.wrapping_add(1);
            let _ = self.reader.snapshot();
            if self.reader.number() != self.seen {
                self.snapshot_changed();
            }
            // Not a newer one: what that releases leaves before anything that comes later.
            let ctx = Ctx { tables: self.reader.current(), now_ms: self.now_ms };
            let mut packets = 0;
            for (queue, (port, rx)) in self.queues.iter_mut().enumerate() {
                packets += self.datapath.poll(queue, *port, rx, &ctx);
            }
            self.datapath.tx.flush();
            if self.datapath.release.is_open {
                self.datapath.release_some(self.seen, &ctx);
                packets += 1;
            }
            if packets > 0 {
                quiet = 0;
            } else {
                quiet = quiet.saturating_add(1);
                self.rest(quiet);
            }
        }
        self.datapath.finish();
    }

    /// Does the work that not every turn needs: reads the clock, sends the control thread's frames, drops packets
    /// beyond their deadline, and publishes the transmit counters.
    #[inline(never)]
    fn housekeeping(&mut self) {
        self.now_ms = self.datapath.stats.started.elapsed().as_millis() as u64;
        self.datapath.send_originated();
        self.datapath.looks.turn(self.queues.len());
        if !self.datapath.waiting.is_empty() {
            self.datapath.expire(self.now_ms);
        }
        if !self.datapath.hold.is_empty() {
            self.datapath.expire_held(self.now_ms);
        }
        self.datapath.note_sent();
    }

    /// Handles a new snapshot: takes over new settings, decides packets again that were held for who has arrived now, and
    /// retries waiting packets, whose next hop may be known now.
    #[cold]
    fn snapshot_changed(&mut self) {
        self.seen = self.reader.number();
        let datapath = &mut self.datapath;
        datapath.own().polls.snapshot.add(self.seen.wrapping_sub(datapath.own().polls.snapshot.value()));
        if let Some(settings) = datapath.exchange.settings.pop() {
            datapath.pipeline.set_limiter(Limiter::new(settings.errors_per_second, settings.errors_burst));
            datapath.waiting.set_each(settings.hold_packets);
            datapath.hold_timeout_ms = settings.hold_timeout_ms;
            datapath.hold.set_limits(settings.hold);
            datapath.release.pace.set(settings.release_per_second);
        }
        let ctx = Ctx { tables: self.reader.current(), now_ms: self.now_ms };
        // Before the next poll: later packets for a VM that has arrived must not overtake those that were held.
        datapath.release(self.seen, self.queues.len(), &ctx);
        if !datapath.waiting.is_empty() {
            datapath.retry(&ctx);
        }
    }

    /// Idle backoff: sleeps longer the more turns (`quiet`) were without a packet.
    #[inline]
    fn rest(&mut self, quiet: u32) {
        if self.idle == Idle::Backoff && quiet > TURNS_BEFORE_BACKOFF {
            self.datapath.own().polls.sleeps.add(1);
            let sleep_us = BACKOFF_US
                .0
                .saturating_mul(1 + u64::from((quiet - TURNS_BEFORE_BACKOFF) / 16))
                .min(BACKOFF_US.1);
            std::thread::sleep(Duration::from_micros(sleep_us));
        }
    }
}

impl Datapath {
    #[inline]
    fn own(&self) -> &WorkerStats {
        &self.stats.workers[self.number]
    }

    /// Receives one burst, decides it and carries out the decision. Returns the number of packets.
    #[inline]
    fn poll(&mut self, queue: usize, port: PortId, rx: &mut RxQueue, ctx: &Ctx<'_>) -> usize {
        let own = &self.stats.workers[self.number];
        let counters: &Counters = &own.received[usize::from(port.0)];
        let received = self.burst.receive(rx);
        if received.misshapen > 0 {
            refuse_misshapen(counters, received.misshapen);
        }
        if received.packets == 0 {
            own.polls.empty_polls.add(1);
            return 0;
        }
        if self.looks.take(queue) {
            look(&mut self.burst, port, own, &self.exchange, ctx);
        }
        own.polls.bursts.add(1);
        own.polls.packets.add(received.packets as u64);
        let arrival = Arrival::Received { packets: received.packets, bytes: received.bytes };
        match self.pipeline.decide(&mut self.burst.on(port), &mut self.outcomes, ctx) {
            Decision::SamePort(out) => {
                if !self.burst.send_all(out, received.bytes, self.pipeline.moves(), &mut self.tx) {
                    own.polls.misplaced.add(received.packets as u64);
                    self.burst.clear();
                }
                let account = Account { counters, networks: &own.networks };
                let fates = Fates::AllForwarded(received.packets);
                self.pipeline.account(arrival, fates, account, ctx.tables, |_| false);
            }
            Decision::Each => self.settle(port, arrival, &[], ctx),
        }
        received.packets
    }

    /// Carries out and counts the outcome of each packet of the burst.
    #[inline(never)]
    fn settle(&mut self, port: PortId, arrival: Arrival, deadlines: &[u64], ctx: &Ctx<'_>) {
        let own = &self.stats.workers[self.number];
        let outcomes = &mut self.outcomes;
        let mut kept = KeptList::new();
        if outcomes.iter().any(|outcome| waits(outcome.verdict)) {
            let handover = Handover {
                waiting: &self.waiting,
                hold_timeout_ms: self.hold_timeout_ms,
                exchange: &self.exchange,
                deadlines,
            };
            handover.keep(outcomes, self.pipeline.metas(), &mut kept, ctx.now_ms);
        }
        if self.pipeline.has_notices() {
            pass_on_notices(&mut self.pipeline, &self.exchange, &self.stats);
        }
        let mut next = kept.into_iter();
        let (waiting, exchange) = (&mut self.waiting, &self.exchange);
        let (hold, release, now_ms) = (&mut self.hold, &mut self.release, ctx.now_ms);
        let mut not_punted: ArrayVec<usize, BURST> = ArrayVec::new();
        let mut not_held: ArrayVec<usize, BURST> = ArrayVec::new();
        let settled = self.burst.settle(outcomes, &mut self.tx, |index, verdict, packet| {
            if verdict == Verdict::Punt {
                let frame = Frame::new(port, packet.frame());
                if frame.is_none_or(|frame| exchange.punted.push(frame).is_err()) {
                    let _ = not_punted.try_push(index);
                }
            } else if let Verdict::Hold(queue) = verdict {
                let deadline_ms = deadlines.get(index).copied();
                let deadline_ms = deadline_ms.unwrap_or_else(|| hold.deadline_ms(now_ms));
                let bytes = packet.frame().len() as u32;
                let leaves = ctx.tables.moves.releases(queue);
                match hold.push(Held { queue, port, deadline_ms, bytes, packet }, leaves) {
                    Ok(()) => release.arrived += usize::from(leaves),
                    Err(_) => _ = not_held.try_push(index),
                }
            } else if let Some(Kept { awaited, deadline_ms, .. }) = next.find(|kept| kept.index == index) {
                let _ = waiting.push(Entry { awaited, port, deadline_ms, packet });
            }
        });
        for index in not_punted {
            outcomes[index].verdict = Verdict::Drop(DropReason::PuntQueueFull);
        }
        for index in not_held {
            outcomes[index].verdict = Verdict::Drop(DropReason::HoldFull);
        }
        let account = Account { counters: &own.received[usize::from(port.0)], networks: &own.networks };
        self.pipeline.account(arrival, Fates::Each(outcomes), account, ctx.tables, |copy| {
            self.tx.send_bytes(copy.port, &self.pool, copy.frame)
        });
        if settled != Settled::default() {
            own.polls.misplaced.add((settled.no_port + settled.undecided + settled.misfit) as u64);
        }
    }

    /// Runs every waiting packet through the pipeline again, in order.
    #[cold]
    fn retry(&mut self, ctx: &Ctx<'_>) {
        let mut again = std::mem::take(&mut self.again);
        self.waiting.swap(&mut again);
        let mut deadlines: ArrayVec<u64, BURST> = ArrayVec::new();
        let mut port = PortId(0);
        for entry in again.drain(..) {
            if entry.port != port || deadlines.is_full() {
                self.decide_again(port, &mut deadlines, ctx);
                port = entry.port;
            }
            if self.burst.adopt(entry.packet).is_ok() {
                deadlines.push(entry.deadline_ms);
            }
        }
        self.decide_again(port, &mut deadlines, ctx);
        self.again = again;
    }

    /// A new snapshot, with this number: what was held for a VM or task that is not awaited any more begins to leave, so
    /// much of it that all that `queues` may receive at once finds room behind it.
    fn release(&mut self, seen: u64, queues: usize, ctx: &Ctx<'_>) {
        self.release.is_open |= !ctx.tables.moves.released.is_empty();
        if !self.hold.is_empty() || self.tx.kept() > 0 {
            let begins = self.hold.release(|queue| ctx.tables.moves.holds(queue));
            self.release.is_open |= self.hold.released() > 0;
            self.release_rest(ctx);
            if begins {
                let left = self.release_up_to(queues * BURST, ctx);
                self.release.pace.charge(self.now_us(), left);
            }
        }
        self.close_release(seen, ctx);
    }

    /// Lets all of the queues go that nothing waits behind from now on: a later packet would overtake what stays. What a
    /// device refuses of it is lost.
    fn release_rest(&mut self, ctx: &Ctx<'_>) {
        let is_over = |queue| !ctx.tables.moves.releases(queue);
        if self.hold.aside().iter().any(|queue| is_over(*queue)) {
            if self.tx.offer_again() > 0 {
                self.tx.give_up();
            }
            self.hold.bring_back();
        }
        while let Some((queue, _)) = self.hold.next_released(is_over) {
            self.release_of(queue, BURST, ctx);
        }
    }

    /// Lets some of what was held leave: as much as came behind it since the last time, and as the pace allows.
    #[cold]
    fn release_some(&mut self, seen: u64, ctx: &Ctx<'_>) {
        let now_us = self.now_us();
        if self.tx.kept() > 0 && self.tx.offer_again() > 0 {
            self.tx.give_up_after(REFUSED_MS, now_us / 1000);
        }
        if self.tx.kept() == 0 {
            self.hold.bring_back();
        }
        let arrived = std::mem::take(&mut self.release.arrived);
        let most = self.release.pace.allows(now_us, arrived);
        let left = self.release_up_to(most, ctx);
        self.release.pace.left(left, arrived);
        if !self.hold.aside().is_empty() {
            // What came behind a queue that waits for its device leaves with it.
            self.release.arrived = arrived.saturating_sub(left);
        }
        self.close_release(seen, ctx);
    }

    /// Runs so many packets through the pipeline again that were held, each queue in its order, and those before others
    /// that were released before. One whose device refuses some waits for that, and keeps no other back. Returns their
    /// number.
    fn release_up_to(&mut self, most: usize, ctx: &Ctx<'_>) -> usize {
        let mut left = 0;
        while left < most && self.hold.aside().len() < ASIDE {
            let chunk = CHUNK.min(self.tx.room()).min(most - left);
            let Some((queue, _)) = self.hold.next_released(|_| chunk > 0) else { break };
            let before = self.tx.kept();
            self.tx.begin_keeping();
            left += self.release_of(queue, chunk, ctx);
            if self.tx.end_keeping() > before {
                self.hold.set_aside(queue);
            }
        }
        left
    }

    /// Runs the next packets of a queue that came from one port, at most `most`, through the pipeline again. Returns their
    /// number.
    fn release_of(&mut self, queue: HoldId, most: usize, ctx: &Ctx<'_>) -> usize {
        let Some(port) = self.hold.port_of(queue) else { return 0 };
        let mut deadlines: ArrayVec<u64, BURST> = ArrayVec::new();
        let mut left = 0;
        while left < most.min(BURST) && self.hold.port_of(queue) == Some(port) {
            let Some(held) = self.hold.take_released_of(queue) else { break };
            left += 1;
            if self.burst.adopt(held.packet).is_ok() {
                deadlines.push(held.deadline_ms);
            }
        }
        self.decide_again(port, &mut deadlines, ctx);
        left
    }

    /// Notes that nothing is left that the snapshot with this number releases, if so.
    fn close_release(&mut self, seen: u64, ctx: &Ctx<'_>) {
        if self.hold.released() == 0 && self.tx.kept() == 0 {
            self.hold.bring_back();
            self.tx.trust_again();
            self.release.is_open = !ctx.tables.moves.released.is_empty();
            self.own().polls.released.store(seen, std::sync::atomic::Ordering::Release);
        }
    }

    /// Microseconds since the node started.
    fn now_us(&self) -> u64 {
        self.stats.started.elapsed().as_micros() as u64
    }

    fn decide_again(&mut self, port: PortId, deadlines: &mut ArrayVec<u64, BURST>, ctx: &Ctx<'_>) {
        if !deadlines.is_empty() {
            self.pipeline.decide_again(&mut self.burst.on(port), &mut self.outcomes, ctx);
            self.settle(port, Arrival::Retried { packets: deadlines.len() }, deadlines, ctx);
            deadlines.clear();
        }
    }

    /// Drops packets whose hold timeout is over.
    #[cold]
    fn expire(&mut self, now_ms: u64) {
        while let Some(entry) = self.waiting.take_expired(now_ms) {
            self.lose(entry.port, DropReason::NeighbourUnreachable);
        }
    }

    /// Drops packets that were held long enough for a VM or task that has not arrived.
    #[cold]
    fn expire_held(&mut self, now_ms: u64) {
        while let Some(held) = self.hold.take_expired(now_ms) {
            self.lose(held.port, DropReason::HoldExpired);
        }
    }

    /// Counts a packet that waited and is dropped.
    fn lose(&self, port: PortId, reason: DropReason) {
        let counters = &self.own().received[usize::from(port.0)];
        counters.waiting.sub(1);
        counters.dropped[reason as usize].add(1);
    }

    /// Sends the frames that the control thread originated.
    fn send_originated(&mut self) {
        while !self.exchange.to_send.is_empty() {
            let Some(Frame { port, bytes }) = self.exchange.to_send.pop() else { break };
            if self.tx.send_bytes(port, &self.pool, &bytes) {
                if let Some(sent) = self.own().sent.get(usize::from(port.0)) {
                    sent.originated.add(1);
                }
            } else {
                self.stats.originated_lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    /// Copies the counters of the transmit queues to the node's statistics.
    fn note_sent(&self) {
        for (port, sent) in self.own().sent.iter().enumerate() {
            let counts = self.tx.counts(PortId(port as u16));
            sent.sent.add(counts.sent.wrapping_sub(sent.sent.value()));
            sent.sent_bytes.add(counts.sent_bytes.wrapping_sub(sent.sent_bytes.value()));
            sent.unsent.add(counts.unsent.wrapping_sub(sent.unsent.value()));
        }
    }

    fn finish(&mut self) {
        self.send_originated();
        self.tx.flush();
        self.tx.give_up();
        self.hold.bring_back();
        while let Some(held) = self.hold.take_released() {
            self.lose(held.port, DropReason::HoldExpired);
        }
        self.expire(u64::MAX);
        self.expire_held(u64::MAX);
        self.note_sent();
    }
}

/// Whether a packet with this verdict must wait until the control thread has resolved its next hop.
const fn waits(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_))
}

/// Decides which packets of a burst wait for their next hop, and asks the control thread to resolve neighbours.
struct Handover<'d> {
    waiting: &'d Waiting<Mbuf>,
    hold_timeout_ms: u64,
    exchange: &'d Exchange,
    deadlines: &'d [u64],
}

impl Handover<'_> {
    /// Adds every packet that waits to `kept`. A packet without room becomes a drop (`NeighbourUnresolved`).
    #[cold]
    fn keep(&self, outcomes: &mut [Outcome], metas: &BurstMeta, kept: &mut KeptList, now_ms: u64) {
        for (index, (outcome, meta)) in outcomes.iter_mut().zip(metas).enumerate() {
            let awaited = match outcome.verdict {
                Verdict::AwaitNextHop(hop) => Awaited::Hop(hop),
                Verdict::AwaitNeighbour(port) => Awaited::Neighbour(Key { port, address: meta.destination }),
                Verdict::Continue
                | Verdict::Forward(_)
                | Verdict::Reply(_)
                | Verdict::Punt
                | Verdict::Hold(_)
                | Verdict::Drop(_) => continue,
            };
            let same = kept.iter().filter(|kept| kept.awaited == awaited).count();
            let room = self.waiting.room_for(awaited, kept.len(), same);
            if let Awaited::Neighbour(key) = awaited
                && room.is_none_or(|waiting| waiting == 0)
            {
                // A full queue loses the request. The next packet to this neighbour repeats it.
                let _ = self.exchange.wanted.push(key);
            }
            match room {
                Some(_) => {
                    let deadline_ms = self.deadlines.get(index).copied();
                    let deadline_ms = deadline_ms.unwrap_or(now_ms + self.hold_timeout_ms);
                    kept.push(Kept { index, awaited, deadline_ms });
                }
                None => outcome.verdict = Verdict::Drop(DropReason::NeighbourUnresolved),
            }
        }
    }
}
