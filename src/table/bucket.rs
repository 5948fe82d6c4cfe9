//! One bucket of the mapping table: a cache line of five keys and values, which one writer changes under readers.
//!
//! Readers take no lock and write nothing. The protocol between the writer and readers is described in
//! [`super::mapping`].
#![allow(unsafe_code)]

use super::mem::Zeroed;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Keys in a bucket.
pub(super) const SLOTS: usize = 5;
/// One version step in a bucket's state word. The low eight bits count the displaced keys: those that live in their
/// secondary bucket.
const VERSION: u32 = 0x100;
/// The count of displaced keys saturates at this value and then stays.
const MANY: u32 = 0xff;

/// A bucket. A key of 0 is an empty slot.
#[repr(C, align(64))]
pub(super) struct Bucket {
    state: AtomicU32,
    values: [AtomicU32; SLOTS],
    keys: [AtomicU64; SLOTS],
}

// SAFETY: a bucket is atomics only, and zero is valid for each.
unsafe impl Zeroed for Bucket {}

/// A bucket's version, and how many of its keys are displaced to their secondary bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u32);

impl State {
    /// Whether a key with this primary bucket may be in its secondary bucket.
    #[inline(always)]
    pub(super) fn has_displaced(self) -> bool {
        self.0 & MANY != 0
    }
}

impl Bucket {
    /// The value of `key`, 0 if it is absent, and the state under which it was read. Reads again if the version changed
    /// meanwhile.
    #[inline(always)]
    pub(super) fn read(&self, key: u64) -> (u32, State) {
        loop {
            let before = self.state();
            let value = self.value_of(key);
            fence(Ordering::Acquire);
            if self.state.load(Ordering::Relaxed) == before.0 {
                return (value, before);
            }
        }
    }

    /// The bucket's present state.
    #[inline(always)]
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// The value of `key`, or 0. The value is at least as new as the key, because the writer stores it first.
    ///
    /// In assembly, because the compiler folds no atomic load into a comparison: 11 instructions instead of 24.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    fn value_of(&self, key: u64) -> u32 {
        let value: u32;
        // SAFETY: reads the fields of a live bucket at the offsets that `repr(C)` gives them. It reads whole words in
        // program order, which this architecture keeps. It writes nothing but its output.
        unsafe {
            std::arch::asm!(
                "xor {value:e}, {value:e}",
                "cmp {key}, qword ptr [{bucket} + 24]",
                "cmove {value:e}, dword ptr [{bucket} + 4]",
                "cmp {key}, qword ptr [{bucket} + 32]",
                "cmove {value:e}, dword ptr [{bucket} + 8]",
                "cmp {key}, qword ptr [{bucket} + 40]",
                "cmove {value:e}, dword ptr [{bucket} + 12]",
                "cmp {key}, qword ptr [{bucket} + 48]",
                "cmove {value:e}, dword ptr [{bucket} + 16]",
                "cmp {key}, qword ptr [{bucket} + 56]",
                "cmove {value:e}, dword ptr [{bucket} + 20]",
                bucket = in(reg) std::ptr::from_ref(self),
                key = in(reg) key,
                value = out(reg) value,
                options(nostack, readonly),
            );
        }
        value
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline(always)]
    fn value_of(&self, key: u64) -> u32 {
        let mut found = 0;
        for (held, value) in self.keys.iter().zip(&self.values) {
            if held.load(Ordering::Acquire) == key {
                found = value.load(Ordering::Relaxed);
            }
        }
        found
    }

    /// The slot that holds `key`.
    pub(super) fn slot_of(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|slot| slot.load(Ordering::Relaxed) == key)
    }

    /// Key and value of a slot.
    pub(super) fn slot(&self, slot: usize) -> (u64, u32) {
        (self.keys[slot].load(Ordering::Relaxed), self.values[slot].load(Ordering::Relaxed))
    }

    /// Writer: gives a key another value, and returns the former one.
    pub(super) fn change(&self, slot: usize, value: u32) -> u32 {
        self.values[slot].swap(value, Ordering::Release)
    }

    /// Writer: fills an empty slot. Raises the version first, so that no reader mixes an old key with the new value.
    pub(super) fn fill(&self, slot: usize, key: u64, value: u32) {
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state.wrapping_add(VERSION), Ordering::Release);
        fence(Ordering::Release);
        self.values[slot].store(value, Ordering::Relaxed);
        self.keys[slot].store(key, Ordering::Release);
    }

    /// Writer: empties a slot.
    pub(super) fn clear(&self, slot: usize) {
        self.keys[slot].store(0, Ordering::Release);
    }

    /// Writer: counts one more, or one fewer, displaced key.
    pub(super) fn count_displaced(&self, more: bool) {
        let state = self.state.load(Ordering::Relaxed);
        let count = state & MANY;
        if count == MANY {
            return;
        }
        let state = if more { state + 1 } else { state - 1 };
        self.state.store(state.wrapping_add(VERSION), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displaced_keys_are_counted_and_what_is_too_many_to_count_stays_many() {
        let pages = super::super::mem::Pages::<Bucket>::zeroed(1);
        let bucket = &pages[0];
        let count = |times, more| {
            for _ in 0..times {
                let before = bucket.state();
                bucket.count_displaced(more);
                assert!(bucket.state() != before || before.0 & MANY == MANY, "readers see each change");
            }
            bucket.state().0 & MANY
        };
        // Versions before and after make no difference.
        for _ in 0..3 {
            assert_eq!((count(1, true), count(1, false)), (1, 0));
            assert_eq!((count(254, true), count(254, false)), (254, 0));
            assert!(!bucket.state().has_displaced());
            bucket.fill(0, 7, 7);
            bucket.clear(0);
        }
        assert_eq!((count(300, true), count(300, false)), (MANY, MANY));
        assert!(bucket.state().has_displaced());
    }

    #[test]
    fn a_bucket_is_one_cache_line_whose_words_lie_where_reading_expects_them() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
        let pages = super::super::mem::Pages::<Bucket>::zeroed(1);
        let bucket = &pages[0];
        for slot in 0..SLOTS {
            assert_eq!(bucket.read(100 + slot as u64).0, 0);
            bucket.fill(slot, 100 + slot as u64, 7 + slot as u32);
            assert_eq!(bucket.read(100 + slot as u64).0, 7 + slot as u32);
        }
        for slot in 0..SLOTS {
            bucket.clear(slot);
            assert_eq!(bucket.read(100 + slot as u64).0, 0);
        }
    }
}
