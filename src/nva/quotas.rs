//! How many identifiers virtual networks may have, and have.

use super::model::{Key, Network, Record};
use std::collections::{BTreeMap, HashMap};

/// How many identifiers networks may have at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// By SIR prefix: each network that is not named.
    pub each: BTreeMap<u64, usize>,
    /// By SIR prefix and VNID.
    pub named: BTreeMap<(u64, u32), usize>,
}

impl Quotas {
    /// How many a network may have; none: as many as its NVEs may.
    pub(super) fn of(&self, network: Network) -> Option<usize> {
        self.named.get(&network).or_else(|| self.each.get(&network.0)).copied()
    }
}

/// How many identifiers each network has.
#[derive(Debug, Default)]
pub(super) struct Networks(HashMap<Network, usize>);

impl Networks {
    /// A record comes. One that nobody holds counts for nothing.
    pub(super) fn add(&mut self, key: Key, record: &Record) {
        if let Some(network) = key.network().filter(|_| record.is_held()) {
            *self.0.entry(network).or_default() += 1;
        }
    }

    /// A record that was added goes.
    pub(super) fn remove(&mut self, key: Key, record: &Record) {
        let Some(network) = key.network().filter(|_| record.is_held()) else { return };
        let Some(count) = self.0.get_mut(&network) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&network);
        }
    }

    /// How many a network has.
    pub(super) fn count(&self, network: Network) -> usize {
        self.0.get(&network).copied().unwrap_or(0)
    }
}
