//! What the authority allocates to NVEs: host blocks, from which an NVE makes identifiers of tasks by itself (ILA draft
//! appendix A.2), and locators out of pools.
//!
//! A block is leased. The time of a lease begins here when its renewal is durable, and at the NVE before it asked, so that
//! it never ends here before it ended there; it begins anew when the authority does.

use super::model::{Allocation, AllocationKey, Resource, Transaction};
use crate::ila::Locator;
use crate::ila::generate::Registrar;
use crate::net::Ipv6Prefix;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Blocks whose lease is over and that are looked at together.
const LOOK: usize = 256;
/// Time after which one is looked at again of which something is registered.
const AGAIN_MS: u64 = 60_000;

/// What of a configuration is about allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllocationRules {
    /// An NVE may use a block for so long after it asked for it.
    pub block_lease_ms: u64,
    /// Where locators come from.
    pub pools: Vec<Pool>,
}

/// A prefix of which the authority allocates locators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Of the SIR domain, upper 64 bits.
    pub sir_prefix: u64,
    /// At most 64 bits long.
    pub prefix: Ipv6Prefix,
}

impl Pool {
    /// Its locators, in their order.
    pub(super) fn locators(self) -> impl Iterator<Item = Locator> {
        let first = (self.prefix.bits() >> 64) as u64;
        let last = first | !((Ipv6Prefix::mask(self.prefix.length()) >> 64) as u64);
        (first..=last).map(Locator)
    }

    /// Whether a locator is in it.
    pub(super) fn holds(self, locator: Locator) -> bool {
        self.prefix.contains(u128::from(locator.0) << 64)
    }
}

/// A block that an NVE may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Which one.
    pub block: Registrar,
    /// The highest identifier of it that was ever registered by its owner; 0: none.
    pub reached: u64,
    /// For so long from when the NVE asked.
    pub lease_ms: u64,
    /// Of the allocation.
    pub sequence: u64,
}

/// What an operator does to locators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocatorChange {
    /// One of a SIR domain is allocated to an NVE.
    Allocate {
        /// Its name.
        nve: String,
        /// Upper 64 bits of the SIR addresses.
        sir_prefix: u64,
    },
    /// One is free again.
    Free(Locator),
}

/// Everything that is allocated.
#[derive(Debug, Default)]
pub struct Allocations {
    pub(super) rules: AllocationRules,
    all: BTreeMap<AllocationKey, Allocation>,
    /// The block of each NVE, by SIR prefix.
    blocks: HashMap<u64, HashMap<String, Registrar>>,
    until_ms: HashMap<AllocationKey, u64>,
    first: BTreeSet<(u64, AllocationKey)>,
}

impl Allocations {
    /// What a store held at the start.
    pub(super) fn new(
        rules: AllocationRules,
        stored: Vec<(AllocationKey, Allocation)>,
        now: (u64, u64),
    ) -> Self {
        let mut new = Allocations { rules, ..Allocations::default() };
        stored.into_iter().for_each(|(key, allocation)| new.put(key, Some(allocation), now));
        new
    }

    /// All of it, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&AllocationKey, &Allocation)> {
        self.all.iter()
    }

    /// Whose something is.
    #[must_use]
    pub fn get(&self, key: AllocationKey) -> Option<&Allocation> {
        self.all.get(&key)
    }

    /// The block of an NVE in a domain.
    #[must_use]
    pub fn block_of(&self, nve: &str, sir_prefix: u64) -> Option<Registrar> {
        self.blocks.get(&sir_prefix)?.get(nve).copied()
    }

    /// The blocks of an NVE, by SIR prefix.
    pub(super) fn blocks_of<'a>(&'a self, nve: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.blocks.iter().filter(move |(_, of)| of.contains_key(nve)).map(|(sir_prefix, _)| *sir_prefix)
    }

    /// The NVE that a locator is allocated to, in its domain.
    #[must_use]
    pub fn owner_of(&self, sir_prefix: u64, locator: Locator) -> Option<&str> {
        let key = AllocationKey { sir_prefix, resource: Resource::Locator(locator) };
        self.all.get(&key).map(|allocation| allocation.owner.as_str())
    }

    /// How long a block is kept for its owner, as this authority knows, in milliseconds.
    #[must_use]
    pub fn left_ms(&self, key: AllocationKey, now_ms: u64) -> Option<u64> {
        self.until_ms.get(&key).map(|until_ms| until_ms.saturating_sub(now_ms))
    }

    /// Takes over what is durable.
    pub(super) fn apply(&mut self, transaction: &Transaction, now: (u64, u64)) {
        for (key, allocation) in &transaction.allocations {
            self.put(*key, allocation.clone(), now);
        }
    }

    /// Takes over everything that a store holds. What is as before keeps its time.
    pub(super) fn replace(&mut self, stored: Vec<(AllocationKey, Allocation)>, now: (u64, u64)) {
        let stored: BTreeMap<_, _> = stored.into_iter().collect();
        let gone: Vec<_> = self.all.keys().filter(|key| !stored.contains_key(key)).copied().collect();
        gone.into_iter().for_each(|key| self.put(key, None, now));
        for (key, allocation) in stored {
            if self.all.get(&key) != Some(&allocation) {
                self.put(key, Some(allocation), now);
            }
        }
    }

    fn put(
        &mut self,
        key: AllocationKey,
        allocation: Option<Allocation>,
        (now_ms, hold_down_ms): (u64, u64),
    ) {
        if let Some(before) = self.until_ms.remove(&key) {
            self.first.remove(&(before, key));
        }
        if let (Some(before), Resource::Block(_)) = (self.all.remove(&key), key.resource)
            && let Some(of) = self.blocks.get_mut(&key.sir_prefix)
        {
            of.remove(&before.owner);
        }
        let Some(allocation) = allocation else { return };
        if let Resource::Block(block) = key.resource {
            // Authorities of one store may lease for other times than this one.
            let lease_ms = match allocation.lease_ms {
                _ if allocation.returned => 0,
                0 => self.rules.block_lease_ms,
                written => written,
            };
            self.keep(key, now_ms + lease_ms + hold_down_ms);
            let of = self.blocks.entry(key.sir_prefix).or_default();
            of.insert(allocation.owner.clone(), block);
        }
        self.all.insert(key, allocation);
    }

    fn keep(&mut self, key: AllocationKey, until_ms: u64) {
        if let Some(before) = self.until_ms.insert(key, until_ms) {
            self.first.remove(&(before, key));
        }
        self.first.insert((until_ms, key));
    }

    /// Blocks whose time is over and of which nothing is in use, at most so many. Others are looked at again later.
    pub(super) fn take_over(
        &mut self,
        now_ms: u64,
        most: usize,
        is_used: impl Fn(AllocationKey) -> bool,
    ) -> Vec<AllocationKey> {
        let over = self.first.iter().take_while(|(until_ms, _)| *until_ms < now_ms).map(|(_, key)| *key);
        let over: Vec<AllocationKey> = over.take(most.min(LOOK)).collect();
        let (used, free): (Vec<_>, Vec<_>) = over.into_iter().partition(|key| is_used(*key));
        used.into_iter().for_each(|key| self.keep(key, now_ms + AGAIN_MS));
        free
    }
}
