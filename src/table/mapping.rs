//! The mapping table of one SIR domain: identifier → action, at one cache line a lookup.
//!
//! Buckets of one cache line hold five keys and values. A key lives in its home bucket, or in its second one when
//! home is full; home then says so, so that a miss rarely looks twice. One writer changes buckets in place; readers
//! take no lock, write nothing and never wait: every change of one mapping is one store that they see or do not see.
//!
//! Why readers cannot see a mixed pair: a slot's value is stored before its key, and a slot is given to another key
//! only after the bucket's version was raised. A reader that took a key from before and a value from after sees two
//! versions, and reads again. Why readers cannot miss a key on the move: it is stored at the new place before it
//! leaves the old, and a reader that found it at neither looks again if home's version changed meanwhile.
//!
//! Growing means building a new table and publishing it with the snapshot; nothing here is ever freed under a reader.

use super::ActionId;
use super::mem::{Pages, Zeroed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Keys in a bucket.
const SLOTS: usize = 5;
/// One version step in a bucket's state word; the low eight bits count the keys that live in their second bucket.
const VERSION: u32 = 0x100;
/// The count of displaced keys saturates here and then stays.
const MANY: u32 = 0xff;
/// How full a table is made, in percent, when it is sized for a number of mappings.
const FILL_PERCENT: usize = 72;
/// Above this fill in percent an insertion asks for a larger table.
const GROW_PERCENT: usize = 82;
/// A table for so few mappings fits a core's cache however it is filled: it is made roomier, for fewer second looks.
const SMALL: usize = 16_384;
const SMALL_FILL_PERCENT: usize = 50;
/// How many displacements one insertion may cause.
const MAX_MOVES: usize = 64;

#[repr(C, align(64))]
struct Bucket {
    state: AtomicU32,
    values: [AtomicU32; SLOTS],
    keys: [AtomicU64; SLOTS],
}

// SAFETY: a bucket is atomics only, and zero is valid for each.
#[allow(unsafe_code)]
unsafe impl Zeroed for Bucket {}

/// What one look into a bucket gives.
struct Glance {
    value: u32,
    state: u32,
}

impl Bucket {
    /// Reads the value of `key` (0 when absent) together with the state under which it was read.
    #[inline(always)]
    fn read(&self, key: u64) -> Glance {
        loop {
            let before = self.state.load(Ordering::Acquire);
            let mut found = SLOTS;
            for (slot, held) in self.keys.iter().enumerate() {
                if held.load(Ordering::Relaxed) == key {
                    found = slot;
                }
            }
            // The value seen is at least as new as the key: it was stored before it.
            fence(Ordering::Acquire);
            let value = self.values.get(found).map_or(0, |value| value.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if self.state.load(Ordering::Relaxed) == before {
                return Glance { value, state: before };
            }
        }
    }

    fn slot_of(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|slot| slot.load(Ordering::Relaxed) == key)
    }

    /// Writer: fills an empty slot.
    fn fill(&self, slot: usize, key: u64, value: u32) {
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state.wrapping_add(VERSION), Ordering::Release);
        fence(Ordering::Release);
        self.values[slot].store(value, Ordering::Relaxed);
        self.keys[slot].store(key, Ordering::Release);
    }

    /// Writer: counts one more (or one less) key that lives elsewhere.
    fn count_displaced(&self, more: bool) {
        let state = self.state.load(Ordering::Relaxed);
        let count = state & MANY;
        if count == MANY {
            return;
        }
        let state = if more { state + 1 } else { state - 1 };
        self.state.store(state.wrapping_add(VERSION), Ordering::Release);
    }
}

/// The shared part: lookups from any thread.
pub struct MappingTable {
    buckets: Pages<Bucket>,
    /// Odd and secret: one for home, one for the second bucket.
    multipliers: (u64, u64),
    seed: u64,
}

/// A lookup under way: the home bucket, which was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Probe(u32);

/// The key of an identifier: the C-bit cleared. Type 0 never has a mapping, so 0 stands for an empty slot.
#[inline(always)]
fn key_of(identifier: u64) -> u64 {
    identifier & !crate::ila::identifier::C_BIT
}

/// Spreads the bits of a seed (the finalizer of SplitMix64).
const fn spread(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl MappingTable {
    fn sized_for(mappings: usize, seed: u64) -> Self {
        let fill = if mappings <= SMALL { SMALL_FILL_PERCENT } else { FILL_PERCENT };
        let slots = mappings.max(64).saturating_mul(100) / fill;
        let buckets = slots.div_ceil(SLOTS).min(u32::MAX as usize);
        let multiplier = |salt: u64| spread(seed ^ salt) | 1;
        let multipliers = (multiplier(0x9e37_79b9_7f4a_7c15), multiplier(0xd1b5_4a32_d192_ed03));
        MappingTable { buckets: Pages::zeroed(buckets), multipliers, seed }
    }

    /// Number of the home bucket of `identifier`: the upper half of a product with a secret odd number (universal
    /// hashing by multiply and shift), scaled to the number of buckets.
    #[inline(always)]
    fn home_of(&self, identifier: u64) -> u32 {
        self.scale(key_of(identifier).wrapping_mul(self.multipliers.0))
    }

    /// Number of the second bucket of `identifier`, by another number; may be the same as home.
    #[inline(always)]
    fn second_of(&self, identifier: u64) -> u32 {
        self.scale(key_of(identifier).wrapping_mul(self.multipliers.1))
    }

    #[inline(always)]
    fn scale(&self, hash: u64) -> u32 {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as u32
    }

    /// Starts a lookup: finds the home bucket and prefetches it.
    #[inline(always)]
    #[must_use]
    pub fn hint(&self, identifier: u64) -> Probe {
        let home = self.home_of(identifier);
        self.buckets.prefetch(home as usize);
        Probe(home)
    }

    /// Looks for `identifier` in the home bucket of its probe; `Err` when the second bucket must be seen too, which is
    /// prefetched then.
    ///
    /// # Errors
    /// The state of the home bucket, for [`Self::finish`].
    #[inline(always)]
    pub fn first(&self, probe: Probe, identifier: u64) -> Result<Option<ActionId>, u32> {
        let Some(home) = self.buckets.get(probe.0 as usize) else { return Ok(None) };
        let seen = home.read(key_of(identifier));
        if seen.value != 0 {
            return Ok(Some(ActionId(seen.value)));
        }
        if seen.state & MANY == 0 {
            return Ok(None);
        }
        self.ask_second(identifier);
        Err(seen.state)
    }

    #[inline(never)]
    fn ask_second(&self, identifier: u64) {
        self.buckets.prefetch(self.second_of(identifier) as usize);
    }

    /// Finishes a lookup that [`Self::first`] left open, given the state it returned.
    #[must_use]
    pub fn finish(&self, probe: Probe, identifier: u64, mut state: u32) -> Option<ActionId> {
        let key = key_of(identifier);
        let home = self.buckets.get(probe.0 as usize)?;
        let second = self.buckets.get(self.second_of(identifier) as usize)?;
        loop {
            let there = second.read(key);
            if there.value != 0 {
                return Some(ActionId(there.value));
            }
            if home.state.load(Ordering::Acquire) == state {
                return None;
            }
            let again = home.read(key);
            if again.value != 0 {
                return Some(ActionId(again.value));
            }
            state = again.state;
        }
    }

    /// The action of one identifier (C-bit ignored), or `None`.
    #[must_use]
    pub fn lookup(&self, identifier: u64) -> Option<ActionId> {
        let probe = self.hint(identifier);
        if identifier >> 61 == 0 {
            return None;
        }
        match self.first(probe, identifier) {
            Ok(found) => found,
            Err(state) => self.finish(probe, identifier, state),
        }
    }

    /// Memory of the table in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

/// An insertion needs a larger table: see [`MappingWriter::grown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The one writer of a table.
pub struct MappingWriter {
    table: Arc<MappingTable>,
    length: usize,
}

impl MappingWriter {
    /// An empty table with room for `mappings`. `seed` makes bucket positions unpredictable to outsiders.
    #[must_use]
    pub fn new(mappings: usize, seed: u64) -> Self {
        MappingWriter { table: Arc::new(MappingTable::sized_for(mappings, seed)), length: 0 }
    }

    /// The table, for snapshots.
    #[must_use]
    pub fn table(&self) -> &Arc<MappingTable> {
        &self.table
    }

    /// Mappings held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Mappings that fit before the table wants to grow.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table.buckets.len() * SLOTS * GROW_PERCENT / 100
    }

    /// Sets the action of an identifier whose type is not 0; returns the one before.
    ///
    /// # Errors
    /// [`Full`] when a new key finds no place; nothing was changed for readers then.
    pub fn insert(&mut self, identifier: u64, action: ActionId) -> Result<Option<ActionId>, Full> {
        debug_assert!(key_of(identifier) >> 61 != 0 && action.0 != 0);
        if let Some((bucket, slot)) = self.place_of(identifier) {
            let before = self.table.buckets[bucket].values[slot].swap(action.0, Ordering::Release);
            return Ok(Some(ActionId(before)));
        }
        if self.length >= self.capacity() {
            return Err(Full);
        }
        self.make_room(identifier)?;
        self.put(key_of(identifier), action.0);
        self.length += 1;
        Ok(None)
    }

    /// Forgets an identifier; returns its action.
    pub fn remove(&mut self, identifier: u64) -> Option<ActionId> {
        let (bucket, slot) = self.place_of(identifier)?;
        let home = self.table.home_of(identifier) as usize;
        let held = &self.table.buckets[bucket];
        held.keys[slot].store(0, Ordering::Release);
        if bucket != home {
            self.table.buckets[home].count_displaced(false);
        }
        self.length -= 1;
        Some(ActionId(held.values[slot].load(Ordering::Relaxed)))
    }

    /// A copy with room for `mappings`, to be published in this one's stead.
    #[must_use]
    pub fn grown(&self, mappings: usize) -> Self {
        let mut wanted = mappings.max(self.length + 1);
        loop {
            let mut larger = MappingWriter::new(wanted, self.table.seed);
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
                let key = bucket.keys[slot].load(Ordering::Relaxed);
                (key != 0).then(|| (key, ActionId(bucket.values[slot].load(Ordering::Relaxed))))
            })
        })
    }

    fn place_of(&self, identifier: u64) -> Option<(usize, usize)> {
        [self.table.home_of(identifier), self.table.second_of(identifier)]
            .into_iter()
            .find_map(|at| Some((at as usize, self.table.buckets[at as usize].slot_of(key_of(identifier))?)))
    }

    fn empty_slot(&self, bucket: u32) -> Option<usize> {
        self.table.buckets[bucket as usize].slot_of(0)
    }

    /// Stores a key that is in neither bucket, one of which has room.
    fn put(&self, key: u64, value: u32) {
        let (home, second) = (self.table.home_of(key), self.table.second_of(key));
        if let Some(slot) = self.empty_slot(home) {
            self.table.buckets[home as usize].fill(slot, key, value);
        } else if let Some(slot) = self.empty_slot(second) {
            self.table.buckets[second as usize].fill(slot, key, value);
            self.table.buckets[home as usize].count_displaced(true);
        }
    }

    /// Frees a slot in one of the two buckets by moving keys to their other bucket, nearest move first.
    fn make_room(&self, identifier: u64) -> Result<(), Full> {
        let (home, second) = (self.table.home_of(identifier), self.table.second_of(identifier));
        if self.empty_slot(home).is_some() || self.empty_slot(second).is_some() {
            return Ok(());
        }
        // Breadth first: each step is a key (bucket, slot) that would move to its other bucket.
        let mut steps: Vec<(u32, usize, Option<usize>)> = Vec::with_capacity(MAX_MOVES);
        for bucket in [home, second] {
            steps.extend((0..SLOTS).map(|slot| (bucket, slot, None)));
        }
        let mut at = 0;
        while at < steps.len() {
            let (_, other) = self.other_bucket(steps[at].0, steps[at].1);
            if self.empty_slot(other).is_some() {
                return if self.move_back_to_front(&steps, at) { Ok(()) } else { Err(Full) };
            }
            if steps.len() + SLOTS <= MAX_MOVES {
                steps.extend((0..SLOTS).map(|slot| (other, slot, Some(at))));
            }
            at += 1;
        }
        Err(Full)
    }

    /// The key in a slot and its other bucket.
    fn other_bucket(&self, bucket: u32, slot: usize) -> (u64, u32) {
        let key = self.table.buckets[bucket as usize].keys[slot].load(Ordering::Relaxed);
        let home = self.table.home_of(key);
        (key, if home == bucket { self.table.second_of(key) } else { home })
    }

    /// Moves the key of step `at`, then that of the step before it into the place it left, and so on. Says whether the
    /// first step's bucket has room now; a path that meets the same bucket twice may not get that far.
    fn move_back_to_front(&self, steps: &[(u32, usize, Option<usize>)], at: usize) -> bool {
        let mut next = Some(at);
        while let Some(step) = next {
            let (bucket, slot, before) = steps[step];
            let (key, to) = self.other_bucket(bucket, slot);
            let Some(free) = self.empty_slot(to) else { return false };
            let from = &self.table.buckets[bucket as usize];
            let value = from.values[slot].load(Ordering::Relaxed);
            self.table.buckets[to as usize].fill(free, key, value);
            if to != bucket {
                let home = self.table.home_of(key);
                self.table.buckets[home as usize].count_displaced(home == bucket);
            }
            from.keys[slot].store(0, Ordering::Release);
            next = before;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::atomic::AtomicBool;

    const TYPE_1: u64 = 1 << 61;

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    #[test]
    fn the_c_bit_is_not_part_of_the_key() {
        let mut writer = MappingWriter::new(10, 1);
        writer.insert(TYPE_1 | 7, ActionId(3)).unwrap();
        assert_eq!(writer.table().lookup(TYPE_1 | 7 | crate::ila::identifier::C_BIT), Some(ActionId(3)));
        assert_eq!(writer.table().lookup(7), None);
        assert_eq!(writer.table().lookup(0), None);
    }

    #[test]
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

    proptest! {
        #[test]
        fn the_table_does_what_a_map_does(ops in proptest::collection::vec((0u64..300, 0u32..4), 1..2000), seed: u64) {
            let mut writer = MappingWriter::new(100, seed);
            let mut model = HashMap::new();
            for (id, value) in ops {
                let id = id | TYPE_1;
                if value == 0 {
                    prop_assert_eq!(writer.remove(id), model.remove(&id));
                } else {
                    let was = match writer.insert(id, ActionId(value)) {
                        Ok(was) => was,
                        Err(Full) => {
                            writer = writer.grown(writer.len() * 2);
                            writer.insert(id, ActionId(value)).unwrap()
                        }
                    };
                    prop_assert_eq!(was, model.insert(id, ActionId(value)));
                }
                prop_assert_eq!(writer.len(), model.len());
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
        let reader = std::thread::spawn(move || {
            let mut looks = 0u64;
            while !halt.load(Ordering::Relaxed) {
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
        for round in 0..40_000u64 {
            let i = 200 + round % 100;
            if writer.remove(TYPE_1 | i).is_none() {
                writer.insert(TYPE_1 | i, ActionId(1000 + i as u32)).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    }
}
