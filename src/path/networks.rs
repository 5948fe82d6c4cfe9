//! Counters by virtual network: what became of the packets of tenants that are attached here.
//!
//! One worker writes, anyone reads. A node without virtual networks counts nothing here.

use super::copies::Copies;
use super::count::Count;
use super::fast::decided::Tally;
use super::meta::{BurstMeta, PacketMeta};
use super::outcome::Outcome;
use super::verdict::Verdict;
use crate::table::{NetworkId, PortId, Role, Tables};

/// The counters of one worker for one virtual network, or for all networks that have no slot of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct NetworkCounters {
    /// Packets that tenants sent.
    pub from_tenants: Count,
    /// Bytes that tenants sent, as received, link header included.
    pub from_tenants_bytes: Count,
    /// Packets delivered to tenants.
    pub to_tenants: Count,
    /// Bytes delivered to tenants, as delivered, link header included.
    pub to_tenants_bytes: Count,
    /// Packets from and to tenants that were lost, whether or not an ICMPv6 error told the sender.
    pub dropped: Count,
}

/// The counters of one worker, by [`crate::table::Network::slot`]. Slot 0 counts all networks without a slot of their
/// own.
#[derive(Debug)]
pub struct NetworkTally(Vec<NetworkCounters>);

impl NetworkTally {
    /// Counters at zero for `networks` networks, and slot 0 for all others together.
    #[must_use]
    pub fn new(networks: u16) -> Self {
        NetworkTally((0..=networks).map(|_| NetworkCounters::default()).collect())
    }

    /// The counters of a slot; those of slot 0 for an unknown slot.
    #[must_use]
    pub fn slot(&self, slot: u16) -> Option<&NetworkCounters> {
        self.0.get(usize::from(slot)).or(self.0.first())
    }

    /// The counters of a network.
    fn of(&self, network: NetworkId, tables: &Tables) -> Option<&NetworkCounters> {
        self.slot(tables.networks.get(network)?.slot)
    }

    /// Counts packets that tenants of one network sent, and their bytes.
    #[inline(never)]
    fn sent(&self, from: NetworkId, packets: u64, bytes: u64, tables: &Tables) {
        if let Some(counters) = self.of(from, tables) {
            counters.from_tenants.add(packets);
            counters.from_tenants_bytes.add(bytes);
        }
    }

    /// Counts a packet that was delivered to a tenant.
    #[inline]
    pub fn delivered(&self, to: NetworkId, bytes: u64, tables: &Tables) {
        if let Some(counters) = self.of(to, tables) {
            counters.to_tenants.add(1);
            counters.to_tenants_bytes.add(bytes);
        }
    }

    /// Counts the packets of a burst that the fast path decided.
    #[inline]
    pub fn settle_fast(&self, tally: &[Tally]) {
        for run in tally {
            let Some(counters) = self.slot(run.slot) else { continue };
            counters.from_tenants.add(run.sent.into());
            counters.from_tenants_bytes.add(run.sent_bytes.into());
            counters.to_tenants.add(run.delivered.into());
            counters.to_tenants_bytes.add(run.delivered_bytes.into());
        }
    }

    /// Counts the packets of a burst that the stages decided, after the last decision on them. Packets that wait for a
    /// neighbour are counted when they are decided again.
    pub fn settle(&self, outcomes: &[Outcome], metas: &BurstMeta, tables: &Tables) {
        if tables.networks.is_empty() {
            return;
        }
        self.settle_sent(outcomes, metas, tables);
        for (outcome, meta) in outcomes.iter().zip(metas) {
            match outcome.verdict {
                Verdict::Forward(port) if is_access(port, tables) => {
                    if let Some(to) = meta.to {
                        self.delivered(to, outcome.bytes(), tables);
                    }
                }
                Verdict::Drop(_) | Verdict::Continue => self.lost(meta, tables),
                Verdict::Reply(_) if meta.answered.is_some() => self.lost(meta, tables),
                _ => {}
            }
        }
    }

    /// Counts what tenants sent. Consecutive packets from one network are counted together.
    fn settle_sent(&self, outcomes: &[Outcome], metas: &BurstMeta, tables: &Tables) {
        let (mut sender, mut packets, mut bytes) = (NetworkId::default(), 0, 0);
        for (outcome, meta) in outcomes.iter().zip(metas) {
            let waits = matches!(
                outcome.verdict,
                Verdict::AwaitNextHop(_) | Verdict::AwaitNeighbour(_) | Verdict::Hold(_)
            );
            if meta.bytes == 0 || waits {
                continue;
            }
            let Some(from) = meta.from.or_else(|| meta.accounted_network()) else { continue };
            if from != sender {
                self.sent(sender, packets, bytes, tables);
                (sender, packets, bytes) = (from, 0, 0);
            }
            packets += 1;
            bytes += u64::from(meta.bytes);
        }
        self.sent(sender, packets, bytes, tables);
    }

    /// Counts the copies of the packets of a burst that go to tenants here. Call it while the metadata of the burst are
    /// valid.
    pub fn settle_copies(&self, copies: &Copies, metas: &BurstMeta, tables: &Tables) {
        for copy in copies.copies() {
            if let Some(to) = metas.get(copy.of).and_then(|meta| meta.to)
                && is_access(copy.port, tables)
            {
                self.delivered(to, copy.frame.len() as u64, tables);
            }
        }
    }

    fn lost(&self, meta: &PacketMeta, tables: &Tables) {
        if let Some(counters) = meta.accounted_network().and_then(|network| self.of(network, tables)) {
            counters.dropped.add(1);
        }
    }
}

fn is_access(port: PortId, tables: &Tables) -> bool {
    tables.ports.get(usize::from(port.0)).is_some_and(|port| port.role == Role::Access)
}
