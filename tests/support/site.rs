//! A node without devices whose VMs move: its state, and workers that hold packets as those of a running node do.
#![allow(unreachable_pub)]

use super::support::tenants::Rules;
use super::support::{NVE_ACCESS, NVE_FABRIC, records};
use arrayvec::ArrayVec;
use ilagate::config::Config;
use ilagate::mapping::{Batch, Change, Origin, Presence};
use ilagate::net::Mac;
use ilagate::node::hold::{Held, Hold, HoldLimits};
use ilagate::node::rib::Rib;
use ilagate::path::count::Count;
use ilagate::path::violations::TenantCounts;
use ilagate::path::{
    Account, Arrival, BURST, Counters, Ctx, DropReason, Fates, Limiter, Miss, NetworkTally, Notice, Outcome,
    Outcomes, Packet, Pipeline, Policer, Verdict,
};
use ilagate::table::{AttachmentKey, PortId, Tables};

pub const FABRIC: PortId = PortId(0);
pub const ACCESS: PortId = PortId(1);
/// Addresses of the nodes, by number.
pub const NODES: &str = "fd00:ffff::";
/// VNI of the domain of tasks.
pub const TASK_VNI: u32 = 0x0a_0b0c;

struct Worker {
    pipeline: Pipeline,
    hold: Hold<Vec<u8>>,
    counters: Vec<Counters>,
}

pub struct Site {
    pub rib: Rib,
    pub tables: Tables,
    workers: Vec<Worker>,
    networks: NetworkTally,
    pub now_ms: u64,
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub notices: Vec<Notice>,
    pub misses: Vec<Miss>,
    /// Whether nothing waits behind what was held once it has left, and how much of that leaves with a snapshot.
    pub ends_releases: bool,
    pub releases_at_once: usize,
}

/// The configuration of node `number`, which has this locator.
pub fn written(number: u16, locator: &str, rules: &Rules<'_>) -> (String, Vec<(String, &'static str)>) {
    let (text, mapped) = super::support::tenants::written(locator, rules);
    let text = text.replace("fd00:ffff::1/64", &format!("{NODES}{number}/64"));
    let text = text.replace("router_mac: ", &format!("vni: {TASK_VNI}, router_mac: "));
    let others: String = (1..5u16)
        .filter(|other| *other != number)
        .map(|other| {
            format!(
                "    - {{port: fabric0, address: \"{NODES}{other}\", mac: \"02:00:00:00:0f:{other:02x}\"}}\n"
            )
        })
        .collect();
    (text.replace("  static:\n", &format!("  static:\n{others}")), mapped)
}

impl Site {
    pub fn new(number: u16, locator: &str, rules: &Rules<'_>, workers: usize) -> Site {
        let (text, mapped) = written(number, locator, rules);
        Site::with(&text, &mapped, workers)
    }

    pub fn with(text: &str, mapped: &[(String, &str)], workers: usize) -> Site {
        let config = Config::parse(text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1);
        let changes = records(&config, mapped).into_iter().map(Change::Upsert).collect();
        rib.apply(Batch { origin: Origin::Nva, changes, complete: true }).unwrap();
        let limits = HoldLimits {
            packets: config.moves.hold_packets,
            bytes: config.moves.hold_bytes,
            hold_ms: u64::from(config.moves.hold_ms),
        };
        let worker = |_| Worker {
            pipeline: Pipeline::new(Limiter::new(1000, 1000))
                .with_policer(Policer::new(TenantCounts::of(config.attachments.len()))),
            hold: Hold::new(4_096, limits),
            counters: (0..config.ports.len()).map(|_| Counters::default()).collect(),
        };
        Site {
            tables: rib.compile(),
            rib,
            workers: (0..workers).map(worker).collect(),
            networks: NetworkTally::new(4),
            now_ms: 1_000,
            sent: Vec::new(),
            notices: Vec::new(),
            misses: Vec::new(),
            ends_releases: true,
            releases_at_once: usize::MAX,
        }
    }

    /// Lets time pass, and drops what was held for too long.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now_ms += ms;
        self.rib.set_now(self.now_ms);
        for worker in &mut self.workers {
            while let Some(held) = worker.hold.take_expired(self.now_ms) {
                let counters = &worker.counters[usize::from(held.port.0)];
                counters.waiting.sub(1);
                counters.dropped[DropReason::HoldExpired as usize].add(1);
            }
        }
        self.rib.end_flights();
        self.publish();
    }

    /// Where the VM or task with this MAC address is.
    pub fn set(&mut self, mac: Mac, vlan: u16, presence: Presence) {
        self.rib.set_presence(AttachmentKey { port: ACCESS, vlan, mac }, presence).unwrap();
        self.publish();
    }

    /// Publishes what has changed; each worker decides again what it held before it receives anything.
    pub fn publish(&mut self) {
        while self.rib.needs_snapshot() {
            self.tables = self.rib.compile();
            self.rib.release();
            for n in 0..self.workers.len() {
                self.release(n, usize::MAX);
            }
            if self.ends_releases {
                self.rib.end_releases(true);
            }
        }
    }

    /// Lets so many packets leave that a worker held and that may.
    pub fn release(&mut self, n: usize, most: usize) {
        let (mut burst, mut port) = (Vec::new(), PortId(0));
        self.workers[n].hold.release(|queue| self.tables.moves.holds(queue));
        for _ in 0..most.min(self.releases_at_once) {
            let Some(held) = self.workers[n].hold.take_released() else { break };
            if held.port != port || burst.len() == BURST {
                self.burst(n, port, std::mem::take(&mut burst), true);
                port = held.port;
            }
            burst.push(held.packet);
        }
        self.burst(n, port, burst, true);
    }

    /// Receives one frame, and gives what was sent.
    pub fn receive(&mut self, port: PortId, frame: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        self.receive_all(port, &[frame.to_vec()])
    }

    /// Receives frames, each at the worker that its flow has, and gives what was sent.
    pub fn receive_all(&mut self, port: PortId, frames: &[Vec<u8>]) -> Vec<(PortId, Vec<u8>)> {
        let before = self.sent.len();
        for n in 0..self.workers.len() {
            let of = |frame: &&Vec<u8>| flow(frame) % self.workers.len() == n;
            let mine: Vec<Vec<u8>> = frames.iter().filter(of).cloned().collect();
            for frames in mine.chunks(BURST) {
                self.burst(n, port, frames.to_vec(), false);
            }
        }
        self.sent[before..].to_vec()
    }

    fn burst(&mut self, n: usize, port: PortId, frames: Vec<Vec<u8>>, again: bool) {
        if frames.is_empty() {
            return;
        }
        let worker = &mut self.workers[n];
        let mut rooms: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                let mut room = vec![0x5a; 2_176];
                room[128..128 + frame.len()].copy_from_slice(frame);
                room
            })
            .collect();
        let mut burst: ArrayVec<Packet<'_>, BURST> = rooms
            .iter_mut()
            .zip(&frames)
            .map(|(room, frame)| Packet::new(room, 128, 128 + frame.len() as u16, port))
            .collect();
        let arrival = match again {
            true => Arrival::Retried { packets: frames.len() },
            false => Arrival::Received {
                packets: frames.len(),
                bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
            },
        };
        let ctx = Ctx { tables: &self.tables, now_ms: self.now_ms };
        if again {
            worker.pipeline.run_again(&mut burst, &ctx);
        } else {
            worker.pipeline.run(&mut burst, &ctx);
        }
        for (packet, came) in burst.iter_mut().zip(&frames) {
            match packet.verdict {
                Verdict::Forward(to) | Verdict::Reply(to) => self.sent.push((to, packet.frame().to_vec())),
                Verdict::Hold(queue) => {
                    assert_eq!(packet.frame(), &came[..], "what is held is as it came");
                    let deadline_ms = worker.hold.deadline_ms(self.now_ms);
                    let bytes = came.len() as u32;
                    let held = Held { queue, port, deadline_ms, bytes, packet: came.clone() };
                    if worker.hold.push(held, self.tables.moves.releases(queue)).is_err() {
                        packet.verdict = Verdict::Drop(DropReason::HoldFull);
                    }
                }
                // Nobody answers Neighbour Discovery here.
                Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) => {
                    packet.verdict = Verdict::Drop(DropReason::NeighbourUnresolved);
                }
                Verdict::Continue => panic!("undecided"),
                Verdict::Punt | Verdict::Drop(_) => {}
            }
        }
        self.notices.extend(worker.pipeline.take_notices().0);
        self.misses.extend(worker.pipeline.take_misses().told);
        let outcomes: Outcomes = burst.iter().map(Outcome::from).collect();
        let account = Account { counters: &worker.counters[usize::from(port.0)], networks: &self.networks };
        let sent = &mut self.sent;
        worker.pipeline.account(arrival, Fates::Each(&outcomes), account, &self.tables, |copy| {
            sent.push((copy.port, copy.frame.to_vec()));
            true
        });
    }

    /// Packets that are held.
    pub fn held(&self) -> usize {
        self.workers.iter().map(|worker| worker.hold.len()).sum()
    }

    /// Packets lost for a reason, whether or not their senders were told.
    pub fn lost(&self, reason: DropReason) -> u64 {
        let at = reason as usize;
        self.sum(|counters| counters.dropped[at].value() + counters.answered[at].value())
    }

    /// The sum of a counter.
    pub fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.workers.iter().flat_map(|worker| &worker.counters).map(of).sum()
    }

    /// Asserts that every packet has one fate.
    pub fn books_balance(&self) {
        let fates = self.sum(|counters| {
            let fates = [&counters.forwarded, &counters.replied, &counters.punted, &counters.waiting];
            fates.into_iter().map(Count::value).sum::<u64>() + counters.dropped_total()
        });
        assert_eq!(self.sum(|counters| counters.received.value()), fates);
        assert_eq!(self.sum(|counters| counters.waiting.value()), self.held() as u64);
    }
}

/// The flow of a frame as a device sees it: its outermost addresses and ports.
fn flow(frame: &[u8]) -> usize {
    let addresses = frame.get(22..58).unwrap_or(frame);
    addresses.iter().fold(7usize, |hash, byte| hash.wrapping_mul(31) ^ usize::from(*byte)) >> 3
}
