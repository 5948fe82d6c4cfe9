//! Rules of what the authority allocates: one block for each NVE in a SIR domain, nothing that is in use, and nobody else
//! takes identifiers of a block that its owner did not come to yet.

use super::{Draft, Refusal, Registry};
use crate::ila::generate::{REGISTRAR_BITS, Registrar};
use crate::ila::{Identifier, Locator, SirPrefix};
use crate::mapping::mixed;
use crate::nva::allocations::{AllocationRules, Allocations, Leased, LocatorChange};
use crate::nva::model::{Allocation, AllocationKey, Key, Resource, Transaction};

/// Blocks that are tried for one that is free.
const TRIED: u32 = 4_096;
/// Locators that are looked at.
const LOOKED_AT: usize = 1 << 17;

fn refuse<T>(why: String, temporary: bool) -> Result<T, Refusal> {
    Err(Refusal { owner: None, sequence: 0, why, temporary })
}

impl Registry {
    /// The same with what is allocated, and by what rules that is done.
    #[must_use]
    pub fn with_allocations(
        mut self,
        rules: AllocationRules,
        stored: Vec<(AllocationKey, Allocation)>,
        now_ms: u64,
    ) -> Self {
        self.allocations = Allocations::new(rules, stored, (now_ms, self.hold_down_ms));
        self
    }

    /// What is allocated.
    #[must_use]
    pub fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// Whether something is registered, or was released a moment ago, of a block.
    #[must_use]
    pub fn uses(&self, sir_prefix: u64, block: Registrar) -> bool {
        let key = |identifier: Identifier| Key { sir_prefix, identifier: identifier.0 };
        let (first, last) = block.range();
        self.records.range(key(first)..=key(last)).next().is_some()
    }

    fn allocated<'r>(&'r self, draft: &'r Draft, key: AllocationKey) -> Option<&'r Allocation> {
        match draft.allocations.get(&key) {
            Some(allocation) => allocation.as_ref(),
            None => self.allocations.get(key),
        }
    }

    /// The block of an NVE in a domain, with what this draft gives it.
    fn block_of(&self, draft: &Draft, nve: &str, sir_prefix: u64) -> Option<Registrar> {
        let new = draft.allocations.iter().find_map(|(key, allocation)| match key.resource {
            Resource::Block(block) if key.sir_prefix == sir_prefix => {
                allocation.as_ref().filter(|it| it.owner == nve).map(|_| block)
            }
            _ => None,
        });
        new.or_else(|| self.allocations.block_of(nve, sir_prefix))
    }

    /// Leases a block of a SIR domain to an NVE, or its block for longer, and adds that to the draft. `had` is the one that
    /// it had before.
    ///
    /// # Errors
    /// It has no locator in the domain, no block is free, or the registry was restored and may lack whose it is.
    pub fn lease_block(
        &self,
        draft: &mut Draft,
        nve: &str,
        sir_prefix: u64,
        had: Option<Registrar>,
    ) -> Result<Leased, Refusal> {
        let sir = SirPrefix(sir_prefix);
        if !self.has_locators(nve, sir_prefix) {
            return refuse(format!("{nve} has no locator in {sir}, and makes no identifiers there"), false);
        }
        let key = |block| AllocationKey { sir_prefix, resource: Resource::Block(block) };
        let own = self.block_of(draft, nve, sir_prefix);
        let sequence = match own.and_then(|block| self.allocated(draft, key(block))) {
            Some(before) => before.sequence.max(self.revision) + 1,
            None => self.revision + 1,
        };
        let is_free = |block: &Registrar| self.allocated(draft, key(*block)).is_none();
        // What an NVE says that it had counts where the registry may have forgotten it.
        let had = had.filter(|_| self.restoration.is_some());
        let block = match own.or(had.filter(|block| block.number() > 0 && is_free(block))) {
            Some(block) => block,
            None if self.restoration.is_some() => {
                let why = "the registry was restored from a backup, and waits for NVEs to say which blocks they have";
                return refuse(why.to_owned(), true);
            }
            None => {
                // Those that were given out after a backup are unlikely to be given out again at once: the revision of what
                // was restored is another one. Block 0 has the identifiers that people write.
                let begin = nve.bytes().fold(sequence, |sum, byte| mixed(sum ^ u64::from(byte))) as u32;
                let tried = (0..TRIED).map(|n| begin.wrapping_add(n) & ((1 << REGISTRAR_BITS) - 1));
                let free = tried.filter(|number| *number > 0).filter_map(Registrar::new);
                let mut free = free.filter(|block| is_free(block) && !self.uses(sir_prefix, *block));
                match free.next() {
                    Some(block) => block,
                    None => return refuse(format!("no block of {sir} is free; try again later"), true),
                }
            }
        };
        let reached = self.allocated(draft, key(block)).map_or(0, |before| before.reached);
        let lease_ms = self.allocations.rules.block_lease_ms;
        let owner = nve.to_owned();
        let allocation = Allocation { owner, sequence, reached, returned: false, lease_ms };
        draft.allocations.insert(key(block), Some(allocation));
        Ok(Leased { block, reached, lease_ms, sequence })
    }

    /// Takes back the block of an NVE in a domain: it rests for as long as a released identifier.
    pub(in crate::nva) fn return_block(&self, draft: &mut Draft, nve: &str, sir_prefix: u64) -> u64 {
        let Some(block) = self.block_of(draft, nve, sir_prefix) else { return self.revision };
        let key = AllocationKey { sir_prefix, resource: Resource::Block(block) };
        let Some(before) = self.allocated(draft, key).filter(|it| !it.returned).cloned() else {
            return self.revision;
        };
        let sequence = before.sequence.max(self.revision) + 1;
        draft.allocations.insert(key, Some(Allocation { sequence, returned: true, ..before }));
        sequence
    }

    /// Blocks whose lease is over, and of which nothing is registered or was released a moment ago, at most so many.
    pub(super) fn over(&mut self, now_ms: u64, most: usize) -> Vec<(AllocationKey, Option<Allocation>)> {
        let mut allocations = std::mem::take(&mut self.allocations);
        let is_used = |key: AllocationKey| match key.resource {
            Resource::Block(block) => self.uses(key.sir_prefix, block),
            Resource::Locator(_) => true,
        };
        let over = allocations.take_over(now_ms, most, is_used);
        self.allocations = allocations;
        over.into_iter().map(|key| (key, None)).collect()
    }

    /// Whether an NVE may register an identifier, as far as blocks go: of one of another NVE only what that one came to,
    /// as a task that moved; the rest is nobody's yet.
    pub(super) fn may_use_block(&self, draft: &Draft, nve: &str, key: Key) -> Result<(), Refusal> {
        let Some(block) = Registrar::of(Identifier(key.identifier)) else { return Ok(()) };
        let of = AllocationKey { sir_prefix: key.sir_prefix, resource: Resource::Block(block) };
        let Some(allocation) = self.allocated(draft, of).filter(|it| it.owner != nve) else { return Ok(()) };
        if key.identifier <= allocation.reached || self.seen(draft, key).is_some() {
            return Ok(());
        }
        let owner = allocation.owner.clone();
        let why = format!(
            "{key} is in block {block}, which {owner} makes identifiers from, and {owner} did not register it yet; take              another one"
        );
        Err(Refusal { owner: Some(owner), sequence: allocation.sequence, why, temporary: false })
    }

    /// Notes how far an NVE came in its block.
    pub(super) fn reach(&self, draft: &mut Draft, nve: &str, key: Key) {
        let Some(block) = Registrar::of(Identifier(key.identifier)) else { return };
        let of = AllocationKey { sir_prefix: key.sir_prefix, resource: Resource::Block(block) };
        let Some(before) = self.allocated(draft, of) else { return };
        if before.owner == nve && key.identifier > before.reached {
            let (reached, sequence) = (key.identifier, before.sequence.max(self.revision) + 1);
            let allocation = Allocation { reached, sequence, ..before.clone() };
            draft.allocations.insert(of, Some(allocation));
        }
    }

    /// Whether an NVE has a locator in a SIR domain.
    fn has_locators(&self, nve: &str, sir_prefix: u64) -> bool {
        self.locators_in(nve, sir_prefix).next().is_some()
    }

    /// The locators of an NVE in a SIR domain: those of the configuration, and those that were allocated to it.
    pub(in crate::nva) fn locators_in<'r>(
        &'r self,
        nve: &'r str,
        sir_prefix: u64,
    ) -> impl Iterator<Item = Locator> + 'r {
        let configured = self.nves.get(nve).into_iter().flat_map(|own| &own.locators);
        let configured = configured.filter(move |(_, sir)| **sir == sir_prefix).map(|(locator, _)| *locator);
        let allocated = self.locators_allocated_to(nve).filter(move |(sir, _)| *sir == sir_prefix);
        configured.chain(allocated.map(|(_, locator)| locator))
    }

    /// The locators that operators had allocated to an NVE, with their SIR prefixes.
    pub fn locators_allocated_to<'r>(&'r self, nve: &'r str) -> impl Iterator<Item = (u64, Locator)> + 'r {
        self.allocations.iter().filter_map(move |(key, allocation)| match key.resource {
            Resource::Locator(locator) if allocation.owner == nve => Some((key.sir_prefix, locator)),
            Resource::Locator(_) | Resource::Block(_) => None,
        })
    }

    /// The SIR prefix of a locator that an NVE speaks for: the configuration says so, or else it was allocated.
    pub(super) fn domain_of(&self, nve: &str, locator: Locator, sir_prefix: u64) -> Option<u64> {
        if let Some(sir_prefix) = self.nves.get(nve).and_then(|own| own.locators.get(&locator)) {
            return Some(*sir_prefix);
        }
        let is_own = self.allocations.owner_of(sir_prefix, locator) == Some(nve);
        (is_own && !self.is_configured(locator)).then_some(sir_prefix)
    }

    /// Whether the configuration gives a locator to an NVE.
    #[must_use]
    pub fn is_configured(&self, locator: Locator) -> bool {
        self.configured.contains(&locator)
    }

    /// Judges what an operator does to locators. Gives the sequence, and the transaction.
    ///
    /// # Errors
    /// The NVE is not known, no pool has a free one, or somebody is reached at it.
    pub(in crate::nva) fn change_locator(
        &self,
        change: &LocatorChange,
    ) -> Result<(u64, Transaction), String> {
        let sequence = self.revision + 1;
        let (key, allocation) = match change {
            LocatorChange::Allocate { nve, sir_prefix } => {
                let key = self.free_locator(nve, *sir_prefix)?;
                let owner = nve.clone();
                (key, Some(Allocation { owner, sequence, reached: 0, returned: false, lease_ms: 0 }))
            }
            LocatorChange::Free(locator) => (self.unused_locator(*locator)?, None),
        };
        Ok((sequence, Transaction { allocations: vec![(key, allocation)], ..Transaction::default() }))
    }

    /// The locator behind the highest one that is allocated in its pool, so that one that was freed comes again late; or
    /// else the lowest free one.
    fn free_locator(&self, nve: &str, sir_prefix: u64) -> Result<AllocationKey, String> {
        if !self.knows(nve) {
            return Err(format!("`{nve}` is no NVE of this authority; add it to nves"));
        }
        if self.restoration.is_some() {
            return Err(
                "the registry was restored from a backup and may lack whose a locator is; wait: `ilactl nva \
                        status` tells for whom"
                    .to_owned(),
            );
        }
        let sir = SirPrefix(sir_prefix);
        let key = |locator| AllocationKey { sir_prefix, resource: Resource::Locator(locator) };
        let mut pools =
            self.allocations.rules.pools.iter().filter(|it| it.sir_prefix == sir_prefix).peekable();
        if pools.peek().is_none() {
            return Err(format!("no pool has locators for {sir}; add one to locator_pools"));
        }
        let is_free = |locator: &Locator| {
            self.allocations.get(key(*locator)).is_none() && !self.is_configured(*locator)
        };
        for pool in pools {
            let taken = self.allocations.iter().filter_map(|(key, _)| match key.resource {
                Resource::Locator(locator) if pool.holds(locator) => Some(locator),
                Resource::Locator(_) | Resource::Block(_) => None,
            });
            let highest = taken.max();
            let behind = pool.locators().filter(|locator| highest.is_none_or(|highest| *locator > highest));
            let mut free = behind.chain(pool.locators()).take(LOOKED_AT).filter(is_free);
            if let Some(locator) = free.next() {
                return Ok(key(locator));
            }
        }
        Err(format!("no pool has a free locator for {sir}; add one to locator_pools, or free some"))
    }

    /// An allocated locator at which nobody is.
    fn unused_locator(&self, locator: Locator) -> Result<AllocationKey, String> {
        let is_it = |key: &&AllocationKey| key.resource == Resource::Locator(locator);
        let Some(key) = self.allocations.iter().map(|(key, _)| key).find(is_it).copied() else {
            return Err(format!("{locator} is not allocated; `ilactl nva locator list` lists what is"));
        };
        let owner = self.allocations.owner_of(key.sir_prefix, locator).unwrap_or_default();
        let is_at = |held: &Key| {
            let choices = self.record(*held).map(|record| record.choices.as_slice()).unwrap_or_default();
            choices.iter().any(|choice| choice.locator == locator)
        };
        match self.held_by(owner).find(is_at) {
            Some(held) => Err(format!(
                "{held} and maybe others of {owner} are reached at {locator}; release them first: `ilactl nva records \
                 --locator {locator}`"
            )),
            None => Ok(key),
        }
    }
}
