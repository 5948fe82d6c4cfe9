//! The mapping table of one SIR domain: identifier → action, at one cache line a lookup.
//!
//! It is a hash table of buckets, each a cache line of five keys and values. A key is in its primary bucket, or in its
//! secondary bucket if the primary one is full. The primary bucket counts its displaced keys, so a miss rarely reads a
//! second bucket. One writer changes buckets in place. Readers take no lock, write nothing and never wait: each change
//! of a mapping is one store, which a reader sees or does not see.
//!
//! Readers never see a value with the wrong key. A slot's value is stored before its key, and a slot gets another key
//! only after the bucket's version was raised. A reader that took the old key and the new value sees two versions, and
//! reads again.
//!
//! Readers never miss a key that moves. It is stored at the new place before it leaves the old one. A reader that found
//! it at neither reads again if the primary bucket's version changed meanwhile.
//!
//! A table that grows is built anew and published with a snapshot. Nothing is ever freed under a reader.

use super::ActionId;
use super::bucket::{Bucket, SLOTS, State};
use super::mem::{Pages, mixed};
use crate::ila::identifier::TASK;
use std::sync::Arc;

/// Fill in percent of a table that is sized for a number of mappings.
const FILL_PERCENT: usize = 72;
/// Fill in percent above which an insertion asks for a larger table.
const GROW_PERCENT: usize = 82;
/// Most mappings of a small table. It fits a core's cache at any fill, so it is made roomier, and fewer lookups read a
/// secondary bucket.
const SMALL: usize = 16_384;
const SMALL_FILL_PERCENT: usize = 50;
/// Most keys that one insertion may consider for moving.
const MAX_MOVES: usize = 64;

/// The table as readers see it. Any thread may look up.
pub struct MappingTable {
    buckets: Pages<Bucket>,
    /// Odd and secret.
    multiplier: u64,
    seed: u64,
}

/// The key of a mapping: an identifier with the C-bit cleared. Identifiers of type 0 have no mapping, so 0 stands for
/// an empty slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Key(u64);

impl Key {
    /// The key of an identifier, with any C-bit.
    #[inline(always)]
    #[must_use]
    pub fn of(identifier: u64) -> Self {
        Key(identifier & !crate::ila::identifier::C_BIT)
    }

    /// The key of `identifier` if that is of type 1 and has the C-bit clear.
    #[inline(always)]
    #[must_use]
    pub fn of_task(identifier: u64) -> Option<Self> {
        (identifier >> 60 == TASK).then_some(Key(identifier))
    }

    /// The identifier, its C-bit cleared.
    #[inline(always)]
    #[must_use]
    pub fn identifier(self) -> u64 {
        self.0
    }
}

/// A lookup in progress: the primary bucket, which was prefetched.
#[derive(Clone, Copy)]
pub struct Probe<'t>(&'t Bucket);

/// What a primary bucket says of keys that are not in it.
#[derive(Debug, Clone, Copy)]
pub struct Primary(State);

/// The lookup is open: the key is not in its primary bucket, but may be in its secondary bucket.
#[derive(Debug, Clone, Copy)]
pub struct Secondary(State);

impl Primary {
    /// The open lookup for [`MappingTable::probe_secondary`], if nothing was found and the key may be in its secondary
    /// bucket.
    #[inline(always)]
    #[must_use]
    pub fn secondary(self, found: ActionId) -> Option<Secondary> {
        (found.0 == 0 && self.0.has_displaced()).then_some(Secondary(self.0))
    }
}

impl Probe<'_> {
    /// Reads the primary bucket: the action, 0 for none, and what the bucket says of keys that are not in it.
    #[inline(always)]
    #[must_use]
    pub fn first(self, key: Key) -> (ActionId, Primary) {
        let (value, state) = self.0.read(key.0);
        (ActionId(value), Primary(state))
    }
}

/// The next seed of a sequence (SplitMix64).
pub(crate) const fn next_seed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl MappingTable {
    /// An empty table that `mappings` mappings fill as intended.
    fn sized_for(mappings: usize, seed: u64) -> Self {
        let fill = if mappings <= SMALL { SMALL_FILL_PERCENT } else { FILL_PERCENT };
        let slots = mappings.max(64).saturating_mul(100) / fill;
        let buckets = slots.div_ceil(SLOTS).min(u32::MAX as usize);
        MappingTable { buckets: Pages::zeroed(buckets), multiplier: next_seed(seed) | 1, seed }
    }

    /// The hash that picks the primary bucket: a product with a secret odd number, mixed. Any set of identifiers
    /// spreads like a random one, and no one can choose identifiers that share a bucket.
    #[inline(always)]
    fn primary_of(&self, key: Key) -> u32 {
        mixed(key.0.wrapping_mul(self.multiplier))
    }

    /// The hash that picks the secondary bucket: the same product, mixed differently. Both hashes may pick the same
    /// bucket.
    #[inline(always)]
    fn secondary_of(&self, key: Key) -> u32 {
        mixed(key.0.wrapping_mul(self.multiplier).rotate_left(29))
    }

    /// Starts a lookup: prefetches the primary bucket.
    #[inline(always)]
    pub fn probe(&self, key: Key) -> Probe<'_> {
        let primary = self.buckets.pick(self.primary_of(key));
        self.buckets.prefetch(primary);
        Probe(primary)
    }

    /// Prefetches the secondary bucket.
    #[inline]
    pub fn prefetch_secondary(&self, key: Key) {
        self.buckets.prefetch(self.buckets.pick(self.secondary_of(key)));
    }

    /// Finishes a lookup that [`Primary::secondary`] left open: the action, 0 for none.
    #[must_use]
    pub fn probe_secondary(&self, key: Key, Secondary(mut state): Secondary) -> ActionId {
        let primary = self.buckets.pick(self.primary_of(key));
        let second = self.buckets.pick(self.secondary_of(key));
        loop {
            let (value, _) = second.read(key.0);
            if value != 0 || primary.state() == state {
                return ActionId(value);
            }
            let (value, now) = primary.read(key.0);
            if value != 0 {
                return ActionId(value);
            }
            state = now;
        }
    }

    /// The action of a key, if it has one.
    #[must_use]
    pub fn look(&self, key: Key) -> Option<ActionId> {
        let (found, primary) = self.probe(key).first(key);
        let found = primary.secondary(found).map_or(found, |secondary| self.probe_secondary(key, secondary));
        (found.0 != 0).then_some(found)
    }

    /// The action of an identifier, with any C-bit, if it has one.
    #[must_use]
    pub fn lookup(&self, identifier: u64) -> Option<ActionId> {
        if identifier >> 61 == 0 { None } else { self.look(Key::of(identifier)) }
    }

    /// Memory of the table in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

/// The table has no room: see [`MappingWriter::grown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The one writer of a table. It lives on the control thread.
pub struct MappingWriter {
    table: Arc<MappingTable>,
    length: usize,
}

impl MappingWriter {
    /// An empty table with room for `mappings`. `seed` is secret, so that no one can predict bucket positions.
    #[must_use]
    pub fn new(mappings: usize, seed: u64) -> Self {
        MappingWriter { table: Arc::new(MappingTable::sized_for(mappings, seed)), length: 0 }
    }

    /// The table, for snapshots.
    #[must_use]
    pub fn table(&self) -> &Arc<MappingTable> {
        &self.table
    }

    /// Number of mappings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Mappings that fit before the table must grow.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table.buckets.len() * SLOTS * GROW_PERCENT / 100
    }

    /// Sets the action of an identifier whose type is not 0. Returns the former action.
    ///
    /// # Errors
    /// [`Full`] if a new key finds no place. Readers see no change then.
    pub fn insert(&mut self, identifier: u64, action: ActionId) -> Result<Option<ActionId>, Full> {
        debug_assert!(identifier >> 61 != 0 && action.0 != 0);
        let key = Key::of(identifier);
        if let Some((bucket, slot)) = self.place_of(key) {
            return Ok(Some(ActionId(self.table.buckets[bucket].change(slot, action.0))));
        }
        if self.length >= self.capacity() {
            return Err(Full);
        }
        self.make_room(key)?;
        self.put(key, action.0);
        self.length += 1;
        Ok(None)
    }

    /// Removes an identifier. Returns its action.
    pub fn remove(&mut self, identifier: u64) -> Option<ActionId> {
        let key = Key::of(identifier);
        let (bucket, slot) = self.place_of(key)?;
        let (primary, _) = self.buckets_of(key);
        let (_, value) = self.table.buckets[bucket].slot(slot);
        self.table.buckets[bucket].clear(slot);
        if bucket != primary {
            self.table.buckets[primary].count_displaced(false);
        }
        self.length -= 1;
        Some(ActionId(value))
    }

    /// A copy with room for `mappings`, to be published in place of this table. It has another seed, so keys that share
    /// full buckets here need not share them there.
    #[must_use]
    pub fn grown(&self, mappings: usize) -> Self {
        let mut wanted = mappings.max(self.length);
        let mut seed = self.table.seed;
        loop {
            seed = next_seed(seed);
            let mut larger = MappingWriter::new(wanted, seed);
            if self.iter().all(|(identifier, action)| larger.insert(identifier, action).is_ok()) {
                return larger;
            }
            wanted += wanted / 8 + 64;
        }
    }

    /// All mappings, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, ActionId)> + '_ {
        self.table.buckets.iter().flat_map(|bucket| {
            (0..SLOTS).filter_map(|slot| {
                let (key, value) = bucket.slot(slot);
                (key != 0).then_some((key, ActionId(value)))
            })
        })
    }

    /// Indices of a key's primary and secondary bucket.
    fn buckets_of(&self, key: Key) -> (usize, usize) {
        let table = &self.table;
        (table.buckets.picked(table.primary_of(key)), table.buckets.picked(table.secondary_of(key)))
    }

    /// Bucket and slot of a key, if it has a mapping.
    fn place_of(&self, key: Key) -> Option<(usize, usize)> {
        let (primary, second) = self.buckets_of(key);
        [primary, second].into_iter().find_map(|at| Some((at, self.table.buckets[at].slot_of(key.0)?)))
    }

    /// An empty slot of a bucket, if it has one.
    fn empty_slot(&self, bucket: usize) -> Option<usize> {
        self.table.buckets[bucket].slot_of(0)
    }

    /// Stores a new key. One of its two buckets has room.
    fn put(&self, key: Key, value: u32) {
        let (primary, second) = self.buckets_of(key);
        if let Some(slot) = self.empty_slot(primary) {
            self.table.buckets[primary].fill(slot, key.0, value);
        } else if let Some(slot) = self.empty_slot(second) {
            self.table.buckets[second].fill(slot, key.0, value);
            self.table.buckets[primary].count_displaced(true);
        }
    }

    /// Frees a slot in one of the key's two buckets by moving keys to their other bucket. It searches for the fewest
    /// moves.
    ///
    /// # Errors
    /// [`Full`] if it finds no such moves.
    fn make_room(&self, key: Key) -> Result<(), Full> {
        let (primary, second) = self.buckets_of(key);
        if self.empty_slot(primary).is_some() || self.empty_slot(second).is_some() {
            return Ok(());
        }
        // Breadth first. Each step is a key that would move to its other bucket.
        let mut steps: Vec<Step> = Vec::with_capacity(MAX_MOVES);
        for bucket in [primary, second] {
            steps.extend((0..SLOTS).map(|slot| Step { bucket, slot, before: None }));
        }
        let mut at = 0;
        while at < steps.len() {
            let (_, other) = self.other_bucket(&steps[at]);
            if self.empty_slot(other).is_some() {
                return if self.move_back_to_front(&steps, at) { Ok(()) } else { Err(Full) };
            }
            if steps.len() + SLOTS <= MAX_MOVES {
                steps.extend((0..SLOTS).map(|slot| Step { bucket: other, slot, before: Some(at) }));
            }
            at += 1;
        }
        Err(Full)
    }

    /// The key in a slot and its other bucket.
    fn other_bucket(&self, step: &Step) -> (Key, usize) {
        let key = Key(self.table.buckets[step.bucket].slot(step.slot).0);
        let (primary, second) = self.buckets_of(key);
        (key, if primary == step.bucket { second } else { primary })
    }

    /// Moves the key of step `at`, then the key of the step before it into the slot that is free now, and so on.
    /// Returns whether the bucket of the first step has room now. A path that meets a bucket twice may not get that
    /// far.
    fn move_back_to_front(&self, steps: &[Step], at: usize) -> bool {
        let mut next = Some(at);
        while let Some(step) = next.map(|at| &steps[at]) {
            let (key, to) = self.other_bucket(step);
            let Some(free) = self.empty_slot(to) else { return false };
            let from = &self.table.buckets[step.bucket];
            self.table.buckets[to].fill(free, key.0, from.slot(step.slot).1);
            if to != step.bucket {
                let (primary, _) = self.buckets_of(key);
                self.table.buckets[primary].count_displaced(primary == step.bucket);
            }
            from.clear(step.slot);
            next = step.before;
        }
        true
    }
}

/// A possible move: the key in this slot goes to its other bucket. Then the key of the step `before` can move into the
/// slot that is free.
struct Step {
    bucket: usize,
    slot: usize,
    before: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    const TYPE_1: u64 = 1 << 61;

    #[test]
    fn the_c_bit_is_not_part_of_the_key() {
        let mut writer = MappingWriter::new(10, 1);
        writer.insert(TYPE_1 | 7, ActionId(3)).unwrap();
        assert_eq!(writer.table().lookup(TYPE_1 | 7 | crate::ila::identifier::C_BIT), Some(ActionId(3)));
        assert_eq!(writer.table().lookup(7), None);
        assert_eq!(writer.table().lookup(0), None);
    }

    #[test]
    fn memory_is_counted_in_whole_cache_lines_of_five_mappings() {
        for count in [1, 10, 1000, 20_000] {
            let writer = MappingWriter::new(count, 1);
            let bytes = writer.table().memory_bytes();
            assert!(bytes.is_multiple_of(64) && bytes >= 64 * count.div_ceil(5), "{bytes} for {count}");
            // It grows before its last slots are taken.
            assert!((count..bytes / 64 * 5).contains(&writer.capacity()), "{}", writer.capacity());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a million mappings take Miri hours")]
    fn a_million_mappings_fit_within_the_budget_and_are_all_found() {
        let count = 1_000_000u64;
        let mut writer = MappingWriter::new(count as usize, 99);
        for i in 0..count {
            writer.insert(TYPE_1 | i, ActionId(1 + i as u32)).unwrap();
        }
        for i in 0..count {
            assert_eq!(writer.table().lookup(TYPE_1 | i), Some(ActionId(1 + i as u32)));
            assert_eq!(writer.table().lookup(TYPE_1 | (i + count)), None);
        }
        let bytes = writer.table().memory_bytes() as f64 / count as f64;
        assert!(bytes <= 24.0, "{bytes} bytes a mapping");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand mappings take Miri an hour")]
    fn growing_at_the_limit_stays_within_24_bytes_a_mapping() {
        let mut writer = MappingWriter::new(1000, 5);
        for i in 0..100_000u64 {
            if writer.insert(TYPE_1 | i, ActionId(1)).is_err() {
                let room = writer.len() * 14 / 10;
                writer = writer.grown(room);
                writer.insert(TYPE_1 | i, ActionId(1)).unwrap();
                let bytes = writer.table().memory_bytes() as f64 / writer.len() as f64;
                // Small tables are roomier on purpose.
                assert!(bytes <= if room <= SMALL { 37.0 } else { 26.0 }, "{bytes}");
            }
        }
        assert_eq!(writer.iter().count(), 100_000);
    }

    #[test]
    #[cfg_attr(miri, ignore = "counts where millions of keys lie, which takes Miri hours")]
    fn runs_of_identifiers_at_any_stride_spread_like_random_ones() {
        for stride in 0..=40 {
            for count in [1_000u64, 20_000, 100_000] {
                let mut writer = MappingWriter::new(count as usize, stride);
                let key = |i: u64| TYPE_1 | (i << stride);
                for i in 0..count {
                    writer.insert(key(i), ActionId(1)).unwrap();
                }
                let table = writer.table();
                let away = (0..count)
                    .filter(|i| {
                        let (found, primary) = table.probe(Key::of(key(*i))).first(Key::of(key(*i)));
                        primary.secondary(found).is_some()
                    })
                    .count() as u64;
                assert!(away * 100 <= count * 16, "{away} of {count} away from home at stride 2^{stride}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_table_does_what_a_map_does(
            ops in proptest::collection::vec((0u64..300, 0u32..4), 1..2000), seed: u64
        ) {
            let mut writer = MappingWriter::new(100, seed);
            let mut model = HashMap::new();
            for (id, value) in ops {
                let id = id | TYPE_1;
                if value == 0 {
                    prop_assert_eq!(writer.remove(id), model.remove(&id));
                } else {
                    let mut grown = 0;
                    let was = loop {
                        match writer.insert(id, ActionId(value)) {
                            Ok(was) => break was,
                            Err(Full) => writer = writer.grown(writer.len() * 2),
                        }
                        grown += 1;
                        prop_assert!(grown < 3);
                    };
                    prop_assert_eq!(was, model.insert(id, ActionId(value)));
                }
                prop_assert_eq!((writer.len(), writer.is_empty()), (model.len(), model.is_empty()));
            }
            for id in 0..300 {
                prop_assert_eq!(writer.table().lookup(id | TYPE_1), model.get(&(id | TYPE_1)).copied());
            }
        }
    }

    #[test]
    fn a_reader_never_misses_a_resident_key_nor_sees_another_keys_value() {
        let mut writer = MappingWriter::new(300, 3);
        let resident = 0..200u64;
        for i in resident.clone() {
            writer.insert(TYPE_1 | i, ActionId(1000 + i as u32)).unwrap();
        }
        let table = writer.table().clone();
        let stop = Arc::new(AtomicBool::new(false));
        let halt = stop.clone();
        let begun = Arc::new(Barrier::new(2));
        let together = begun.clone();
        let reader = std::thread::spawn(move || {
            begun.wait();
            let mut looks = 0u64;
            while looks == 0 || !halt.load(Ordering::Relaxed) {
                for i in 0..300u64 {
                    match table.lookup(TYPE_1 | i) {
                        Some(ActionId(value)) => assert_eq!(u64::from(value), 1000 + i),
                        None => assert!(i >= 200, "resident key {i} missed"),
                    }
                    looks += 1;
                }
            }
            looks
        });
        together.wait();
        // Miri may switch threads at every step, so fewer rounds are enough.
        for round in 0..if cfg!(miri) { 400 } else { 40_000u64 } {
            let i = 200 + round % 100;
            if writer.remove(TYPE_1 | i).is_none() {
                writer.insert(TYPE_1 | i, ActionId(1000 + i as u32)).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    }
}
