//! The registry: who has which identifier, and the rules by which that changes (DESIGN of the authority: creating
//! never overwrites, one owner, sequences never go back, an NVE speaks for its own locators only).
//!
//! The sequence of a record is the revision that made it or higher, and never higher than the revision of the registry.
//! So what was deleted need not be remembered: whoever registers it again gets a higher sequence than it ever had.
//!
//! It judges a request against what is durable and what is about to be, and changes nothing until the store said that
//! the change is durable.

mod allocating;
mod bound;
pub mod groups;
mod limits;
pub mod moving;
mod provisioning;
mod releasing;

use super::allocations::Allocations;
use super::bindings::Bindings;
use super::catalogue::{Catalogue, Seen, Touched};
use super::digests::Digests;
use super::failover::{GroupRules, Groups};
use super::flaps::Flaps;
use super::mobility::{MoveRules, Moves};
use super::model::{Allocation, AllocationKey, Choice, Key, Network, Owner, Record, Transaction};
use super::quotas::Networks;

pub use super::allocations::{AllocationRules, Leased, LocatorChange, Pool};
pub use super::flaps::FreezeRules;
pub use super::model::Nve;
pub use super::quotas::Quotas;

use super::restoration::Restoration;
use super::store::Stored;
use super::tombstones::Tombstones;
use crate::config::ProvisionRules;
use crate::ila::Locator;
use crate::mapping::{Digest, Scope, Scopes};
use crate::net::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

/// Released identifiers that are kept for an NVE, besides as many as it may have. Beyond them it registers nothing new.
const RELEASED: usize = 1_000;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who has the identifier, if that is why.
    pub owner: Option<String>,
    /// Its sequence now.
    pub sequence: u64,
    /// The rule and the way out.
    pub why: String,
    /// Whether the same may pass later.
    pub temporary: bool,
}

/// What an NVE says that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The identifier.
    pub key: Key,
    /// Where it is.
    pub choices: Vec<Choice>,
    /// The sequence with which it was registered before; 0: none is known.
    pub known: u64,
    /// The MAC address of the tenant or task that has it, if it is known.
    pub mac: Option<Mac>,
}

/// Who has which identifier.
#[derive(Debug, Default)]
pub struct Registry {
    nves: HashMap<String, Nve>,
    records: BTreeMap<Key, Record>,
    /// What each NVE has.
    held: HashMap<Owner, BTreeSet<Key>>,
    tombstones: Tombstones,
    digests: Digests,
    quotas: Quotas,
    networks: Networks,
    bindings: Bindings,
    /// Identifiers whose MAC address another NVE has in the same network, since somebody asked.
    newly_shared: Vec<Key>,
    flaps: Flaps,
    /// What was frozen since somebody asked, and where.
    newly_frozen: Vec<(Key, String)>,
    hold_down_ms: u64,
    revision: u64,
    restoration: Option<Restoration>,
    catalogue: Catalogue,
    allocations: Allocations,
    /// Locators that the configuration gives to NVEs.
    configured: HashSet<Locator>,
    moves: Moves,
    /// Networks in which no address was free for a tenant that asked, until when that counts, and why.
    full: HashMap<String, (u64, String)>,
    groups: Groups,
}

/// A transaction in the making: requests of a batch see those before them.
#[derive(Debug, Default)]
pub struct Draft {
    writes: BTreeMap<Key, Record>,
    /// How many identifiers more each NVE has with it.
    more: BTreeMap<String, isize>,
    /// How many more each network has.
    more_in: BTreeMap<Network, isize>,
    allocations: BTreeMap<AllocationKey, Option<Allocation>>,
    /// MAC addresses that it registers, also those that it takes back.
    bindings: Bindings,
}

impl Draft {
    /// The transaction, if anything changes.
    #[must_use]
    pub fn finish(self) -> Option<Transaction> {
        (!self.is_empty()).then(|| {
            let (writes, allocations) = (self.writes.into_iter(), self.allocations.into_iter());
            let (writes, allocations) = (writes.collect(), allocations.collect());
            Transaction { writes, allocations, ..Transaction::default() }
        })
    }

    /// So many more identifiers of an NVE, and of the network of `key`.
    fn count(&mut self, nve: &str, key: Key, more: isize) {
        *self.more.entry(nve.to_owned()).or_default() += more;
        if let Some(network) = key.network() {
            *self.more_in.entry(network).or_default() += more;
        }
    }

    /// How many records and allocations it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len() + self.allocations.len()
    }

    /// Whether it writes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Registry {
    /// The registry that a store held at `revision`. Released identifiers are kept for their owners for
    /// `hold_down_ms` from `now_ms` on: when they were released is not stored.
    #[must_use]
    pub fn new(
        nves: HashMap<String, Nve>,
        stored: impl IntoIterator<Item = (Key, Record)>,
        revision: u64,
        (now_ms, hold_down_ms): (u64, u64),
    ) -> Self {
        let mut records: BTreeMap<Key, Record> = stored.into_iter().collect();
        let mut tombstones = Tombstones::default();
        for (key, record) in records.iter().filter(|(_, record)| !record.is_held()) {
            tombstones.insert(*key, &record.owner, now_ms + hold_down_ms);
        }
        let mut held: HashMap<Owner, BTreeSet<Key>> = HashMap::new();
        for (key, record) in records.iter_mut().filter(|(_, record)| record.is_held()) {
            record.owner = owner_of(&held, &record.owner);
            note_held(&mut held, *key, &record.owner);
        }
        let (mut digests, mut networks) = (Digests::default(), Networks::default());
        let mut bindings = Bindings::default();
        for (key, record) in &records {
            digests.add(*key, record);
            bindings.add(*key, record);
            networks.add(*key, record);
        }
        Registry {
            digests,
            networks,
            bindings,
            newly_shared: Vec::new(),
            quotas: Quotas::default(),
            flaps: Flaps::default(),
            newly_frozen: Vec::new(),
            configured: configured(&nves),
            nves,
            records,
            held,
            tombstones,
            hold_down_ms,
            revision,
            restoration: None,
            catalogue: Catalogue::default(),
            allocations: Allocations::default(),
            moves: Moves::default(),
            full: HashMap::new(),
            groups: Groups::default(),
        }
    }

    /// The same, restored from a backup: it waits for NVEs to register what they have.
    #[must_use]
    pub fn restored(mut self, now_ms: u64) -> Self {
        self.restoration = Some(Restoration::new(&self.nves, now_ms));
        self
    }

    /// What it waits for since it was restored.
    #[must_use]
    pub fn restoration(&self) -> Option<&Restoration> {
        self.restoration.as_ref()
    }

    /// Everything that an NVE has was registered.
    pub fn completed(&mut self, nve: &str) {
        self.restoration.iter_mut().for_each(|it| it.completed(nve));
    }

    /// Takes over other NVEs and quotas, rules of what operators want at NVEs, and another time for which released
    /// identifiers are kept. What is registered stays.
    pub fn reconfigure(
        &mut self,
        (nves, quotas, freeze): (HashMap<String, Nve>, Quotas, FreezeRules),
        (rules, moves, groups, allocation): (ProvisionRules, MoveRules, GroupRules, AllocationRules),
        hold_down_ms: u64,
    ) {
        self.catalogue.judge_by(rules);
        self.moves.judge_by(moves);
        self.groups.judge_by(groups);
        self.allocations.rules = allocation;
        self.configured = configured(&nves);
        self.flaps.judge_by(freeze);
        self.restoration.iter_mut().for_each(|it| it.reconfigure(&nves));
        (self.nves, self.quotas, self.hold_down_ms) = (nves, quotas, hold_down_ms);
    }

    /// Owners that may not open a session, and how many identifiers each has.
    pub fn strangers(&self) -> impl Iterator<Item = (&str, usize)> {
        let owners = self.held.iter().map(|(name, own)| (&**name, own.len()));
        owners.filter(|(name, _)| !self.knows(name))
    }

    /// The same with what operators want at NVEs.
    #[must_use]
    pub fn with_catalogue(self, catalogue: Catalogue) -> Self {
        Registry { catalogue, ..self }
    }

    /// What operators want at NVEs.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What of it an NVE sees.
    #[must_use]
    pub fn view(&self, nve: &str) -> Vec<Seen> {
        self.catalogue.view(&self.nves, nve)
    }

    /// Whether an NVE is told of all networks and policies.
    pub(super) fn sees_all(&self, nve: &str) -> bool {
        self.nves.get(nve).is_some_and(|own| own.all_networks)
    }

    /// What everything in these scopes that somebody has adds up to, by SIR prefix; none if that is too much to be added up
    /// at once.
    pub(super) fn digests(&self, scopes: &Scopes) -> Option<Vec<(u64, Digest)>> {
        match scopes.is_everything() {
            true => Some(self.digests.all()),
            false => Digests::of(self.held_in(scopes, None)).map(|digests| digests.all()),
        }
    }

    /// Whose view a transaction touches that is not applied yet.
    pub(super) fn touched(&self, transaction: &Transaction) -> Touched {
        let mut touched = self.catalogue.touched(&transaction.objects);
        for (id, one) in &transaction.moves {
            // It sees the networks of what it expects.
            touched.nves.extend(one.as_ref().or(self.moves.get(*id)).map(|one| one.to.clone()));
        }
        touched.nves.extend(self.members_of(&transaction.groups));
        touched
    }

    /// Revision: the number of transactions so far.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// An NVE of this name, if it may open a session.
    #[must_use]
    pub fn nve(&self, name: &str) -> Option<&Nve> {
        self.nves.get(name)
    }

    /// All moves of attachments.
    #[must_use]
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Whether an NVE of this name may open a session.
    #[must_use]
    pub fn knows(&self, nve: &str) -> bool {
        self.nves.contains_key(nve)
    }

    /// Whether an NVE is an ILA router.
    #[must_use]
    pub fn is_router(&self, nve: &str) -> bool {
        self.nves.get(nve).is_some_and(|nve| nve.router)
    }

    /// Every identifier that somebody has.
    pub fn held(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.records.iter().filter(|(_, record)| record.is_held())
    }

    /// Those after a key, in the order of keys.
    pub fn held_after(&self, key: Option<Key>) -> impl Iterator<Item = (&Key, &Record)> {
        let after = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range((after, Bound::Unbounded)).filter(|(_, record)| record.is_held())
    }

    /// Those of a scope after a key.
    pub fn held_within(&self, scope: Scope, after: Option<Key>) -> impl Iterator<Item = (&Key, &Record)> {
        let key = |identifier| Key { sir_prefix: scope.sir_prefix, identifier };
        let (first, last) = (key(scope.first), key(scope.last));
        let is_left = after.is_none_or(|after| after < last);
        let from = match after.filter(|after| *after >= first) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(first),
        };
        let records = is_left.then(|| self.records.range((from, Bound::Included(last))));
        records.into_iter().flatten().filter(|(_, record)| record.is_held())
    }

    /// Those of scopes after a key, in the order of keys.
    pub fn held_in<'r>(
        &'r self,
        scopes: &'r Scopes,
        after: Option<Key>,
    ) -> impl Iterator<Item = (&'r Key, &'r Record)> {
        let all = scopes.is_everything().then(|| self.held_after(after));
        let within = scopes.list().iter().flat_map(move |scope| self.held_within(*scope, after));
        all.into_iter().flatten().chain(within)
    }

    /// The identifiers that an NVE has.
    pub fn held_by(&self, nve: &str) -> impl Iterator<Item = Key> {
        self.held.get(nve).into_iter().flatten().copied()
    }

    /// Whether an NVE has an identifier.
    #[must_use]
    pub fn is_held_by(&self, nve: &str, key: Key) -> bool {
        self.held.get(nve).is_some_and(|own| own.contains(&key))
    }

    /// The record of a key, if there is or was one.
    #[must_use]
    pub fn record(&self, key: Key) -> Option<&Record> {
        self.records.get(&key)
    }

    fn seen<'r>(&'r self, draft: &'r Draft, key: Key) -> Option<&'r Record> {
        draft.writes.get(&key).or_else(|| self.records.get(&key))
    }

    /// Whether an identifier was released by another NVE than this one, and is nobody's since.
    pub(super) fn was_of_another(&self, draft: &Draft, nve: &str, key: Key) -> bool {
        self.seen(draft, key).is_some_and(|record| !record.is_held() && record.owner != nve)
    }

    /// Whether a registration changes nothing.
    pub(super) fn is_so(&self, draft: &Draft, nve: &str, Claim { key, choices, mac, .. }: &Claim) -> bool {
        let Some(record) = self.seen(draft, *key).filter(|record| record.is_held()) else { return false };
        let is_there = |choice: &Choice| record.choices.contains(choice);
        let is_same = record.owner == nve && record.mac == *mac && record.choices.len() == choices.len();
        is_same && choices.iter().all(is_there)
    }

    /// Judges a registration and adds it to the draft. Gives the sequence that the record has then.
    ///
    /// # Errors
    /// A key that cannot be mapped, a locator that is not the NVE's or of another domain, a twin of the two zeros, an
    /// identifier of another owner, one that is kept for its last owner, or one that is not known of a registry that was
    /// just restored.
    pub fn register(
        &self,
        draft: &mut Draft,
        nve: &str,
        Claim { key, mut choices, known, mac }: Claim,
        now_ms: u64,
    ) -> Result<u64, Refusal> {
        if let Some(sequence) = self.shared(draft, nve, key) {
            return Ok(sequence);
        }
        choices.sort_unstable();
        self.may_claim(nve, key, &choices)?;
        self.may_bind(nve, key, mac)?;
        if let Some(alias) = key.zero_alias()
            && let Some(record) = self.seen(draft, alias).filter(|record| record.is_held())
        {
            return Err(Refusal {
                owner: Some(record.owner.to_string()),
                sequence: record.sequence,
                why: format!(
                    "{key} is the zero alias of {alias}: neutral mapping cannot tell them apart; take another"
                ),
                temporary: false,
            });
        }
        self.may_come(nve, key, now_ms)?;
        self.may_use_block(draft, nve, key)?;
        let before = self.seen(draft, key);
        if let Some(restoration) = self.restoration.as_ref().filter(|_| !before.is_some_and(Record::is_held))
            && !(1..=self.revision).contains(&known)
        {
            let why = restoration.why_not(key);
            return Err(Refusal { owner: None, sequence: 0, why, temporary: true });
        }
        match before {
            Some(record) if record.is_held() && record.owner != nve => {
                return Err(Refusal {
                    owner: Some(record.owner.to_string()),
                    sequence: record.sequence,
                    why: format!("{key} is registered by {}; it must be released there first", record.owner),
                    temporary: false,
                });
            }
            Some(record) if record.is_held() && (&record.choices, record.mac) == (&choices, mac) => {
                return Ok(record.sequence);
            }
            // Who had it before the registry was restored waited then.
            Some(record) if !record.is_held() && record.owner != nve && self.restoration.is_none() => {
                // One that is released in the same transaction is as one that was released before.
                let left = match draft.writes.contains_key(&key) {
                    true => Some(self.hold_down_ms).filter(|kept_ms| *kept_ms > 0),
                    false => self.tombstones.kept_ms(key, now_ms),
                };
                if let Some(left) = left {
                    return Err(Refusal {
                        owner: Some(record.owner.to_string()),
                        sequence: record.sequence,
                        why: format!(
                            "{key} was released and may be cached for another {left} ms; try again then"
                        ),
                        temporary: true,
                    });
                }
            }
            _ => {}
        }
        let sequence = self.next_sequence(key);
        let is_same = |before: &&Record| before.is_held() && before.owner == nve && before.mac == mac;
        let had = before.filter(is_same).map(|before| before.since);
        let since =
            had.into_iter().chain(self.has_mac_since(draft, nve, (key, mac))).min().unwrap_or(sequence);
        if !before.is_some_and(Record::is_held) {
            self.may_have_more(draft, nve, key)?;
            self.network_may_have_more(draft, key)?;
            draft.count(nve, key, 1);
        }
        self.reach(draft, nve, key);
        let record = Record { choices, owner: owner_of(&self.held, nve), sequence, mac, since };
        draft.bindings.add(key, &record);
        draft.writes.insert(key, record);
        Ok(sequence)
    }

    /// The sequence of what is written of a key next: above the revision, and so above all that was ever told of it.
    fn next_sequence(&self, key: Key) -> u64 {
        self.records.get(&key).map_or(0, |record| record.sequence).max(self.revision) + 1
    }

    /// The NVEs that may open a session, by name.
    pub fn nves(&self) -> impl Iterator<Item = (&str, &Nve)> {
        self.nves.iter().map(|(name, nve)| (name.as_str(), nve))
    }

    /// How many identifiers an NVE has.
    #[must_use]
    pub fn count_of(&self, nve: &str) -> usize {
        self.held.get(nve).map_or(0, BTreeSet::len)
    }

    /// How many identifiers somebody has, and how many were released.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let held = self.held.values().map(BTreeSet::len).sum();
        (held, self.tombstones.len())
    }

    /// Every record after a key, in the order of keys.
    pub fn records_after(&self, key: Option<Key>) -> impl Iterator<Item = (&Key, &Record)> {
        let after = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range((after, Bound::Unbounded))
    }

    /// Deletes released identifiers that are kept for nobody any more and that nobody uses, at most so many. It looks at a
    /// few times as many, and the next time at others.
    #[must_use]
    pub fn delete_released(
        &mut self,
        now_ms: u64,
        most: usize,
        is_used: impl Fn(Key) -> bool,
    ) -> Option<Transaction> {
        let Registry { records, revision, tombstones, .. } = self;
        // What a later sequence could not be told to be above stays.
        let is_below = |key| records.get(&key).is_some_and(|it| it.sequence <= *revision);
        let deletes = tombstones.take_look(now_ms, most, |key| is_below(key) && !is_used(key));
        let allocations = self.over(now_ms, most - deletes.len());
        let transaction = Transaction { deletes, allocations, ..Transaction::default() };
        (!transaction.is_empty()).then_some(transaction)
    }

    /// What is told of an identifier that nobody has and nothing is known of.
    #[must_use]
    pub fn nobody(&self) -> Record {
        Record {
            choices: Vec::new(),
            owner: Owner::from(""),
            sequence: self.revision,
            mac: None,
            since: self.revision,
        }
    }

    /// Takes over a transaction that is durable.
    pub fn apply(&mut self, transaction: &Transaction, now_ms: u64) {
        self.revision += 1;
        transaction.completed.iter().for_each(|nve| self.completed(nve));
        if transaction.ends_restoration {
            self.restoration = None;
        }
        self.forget_full(transaction);
        self.catalogue.apply(&transaction.objects);
        self.allocations.apply(transaction, (now_ms, self.hold_down_ms));
        let mut moved = self.apply_moves(&transaction.moves, now_ms);
        moved.extend(self.apply_groups(&transaction.groups));
        for (key, record) in &transaction.writes {
            self.digests.add(*key, record);
            self.networks.add(*key, record);
            if let Some(before) = self.records.get(key) {
                self.bindings.remove(*key, before);
                self.digests.remove(*key, before);
                self.networks.remove(*key, before);
            }
            self.bindings.add(*key, record);
            let record = Record { owner: owner_of(&self.held, &record.owner), ..record.clone() };
            match self.records.insert(*key, record.clone()) {
                Some(before) if before.is_held() => {
                    if record.is_held() && before.owner != record.owner && !moved.contains(key) {
                        self.flaps.released(*key, &before.owner, now_ms);
                    }
                    self.forget_held(*key, &before.owner);
                }
                Some(before) => self.tombstones.remove(*key, &before),
                None => {}
            }
            if record.is_held() {
                note_held(&mut self.held, *key, &record.owner);
                if moved.contains(key) {
                    self.flaps.released(*key, &record.owner, now_ms);
                } else if self.flaps.registered(*key, &record.owner, now_ms) {
                    self.newly_frozen.push((*key, record.owner.to_string()));
                }
            } else {
                self.flaps.released(*key, &record.owner, now_ms);
                self.tombstones.insert(*key, &record.owner, now_ms + self.hold_down_ms);
            }
        }
        self.note_shared(transaction);
        for key in &transaction.deletes {
            if let Some(before) = self.records.remove(key) {
                self.digests.remove(*key, &before);
                self.networks.remove(*key, &before);
                self.bindings.remove(*key, &before);
                self.tombstones.remove(*key, &before);
            }
        }
    }

    /// Takes over everything that a store holds, when the transactions up to it are not known. Gives the identifiers that are
    /// others than before, and whose view changes.
    pub(super) fn replace(&mut self, stored: Stored, now_ms: u64) -> (Vec<Key>, Touched) {
        let Stored { revision, restored, completed, records, objects, moves, groups, allocations, .. } =
            stored;
        let restoration = self.restoration.take().filter(|_| restored);
        let objects = self.catalogue.differences(objects);
        let moves = self.moves.differences(moves);
        let groups = self.groups.differences(groups);
        let changes = Transaction { objects, moves, groups, ..Transaction::default() };
        let touched = self.touched(&changes);
        self.catalogue.apply(&changes.objects);
        self.apply_moves(&changes.moves, now_ms);
        self.apply_groups(&changes.groups);
        let (nves, catalogue) = (std::mem::take(&mut self.nves), std::mem::take(&mut self.catalogue));
        let (moves, groups) = (std::mem::take(&mut self.moves), std::mem::take(&mut self.groups));
        let now = Registry::new(nves, records, revision, (now_ms, self.hold_down_ms));
        let mut now = now.with_catalogue(catalogue);
        now.quotas = std::mem::take(&mut self.quotas);
        now.moves = moves;
        now.groups = groups;
        now.flaps = std::mem::take(&mut self.flaps);
        now.allocations = std::mem::take(&mut self.allocations);
        now.allocations.replace(allocations, (now_ms, self.hold_down_ms));
        let before = std::mem::replace(self, Registry { restoration, ..now });
        completed.iter().for_each(|nve| self.completed(nve));
        let is_other = |(key, record): (&Key, &Record)| self.records.get(key) != Some(record);
        let mut changed: Vec<Key> =
            before.records.iter().filter(|it| is_other(*it)).map(|(key, _)| *key).collect();
        changed.extend(self.records.keys().filter(|key| !before.records.contains_key(key)));
        (changed, touched)
    }

    /// Makes an NVE the owner of an identifier without asking: a flaw that tests must notice.
    #[cfg(test)]
    pub(super) fn give(&mut self, key: Key, nve: &str) {
        if let Some(record) = self.records.get_mut(&key) {
            record.owner = nve.into();
        }
    }

    fn forget_held(&mut self, key: Key, owner: &str) {
        if let Some(own) = self.held.get_mut(owner) {
            own.remove(&key);
            if own.is_empty() {
                self.held.remove(owner);
            }
        }
    }
}

/// Locators that the configuration gives to NVEs.
fn configured(nves: &HashMap<String, Nve>) -> HashSet<Locator> {
    nves.values().flat_map(|nve| nve.locators.keys()).copied().collect()
}

/// The name of an NVE in the memory that all its records share.
fn owner_of(held: &HashMap<Owner, BTreeSet<Key>>, nve: &str) -> Owner {
    held.get_key_value(nve).map_or_else(|| nve.into(), |(owner, _)| owner.clone())
}

fn note_held(held: &mut HashMap<Owner, BTreeSet<Key>>, key: Key, owner: &Owner) {
    match held.get_mut(owner) {
        Some(own) => _ = own.insert(key),
        None => _ = held.insert(owner.clone(), BTreeSet::from([key])),
    }
}
