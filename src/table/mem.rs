//! Memory and processor beyond safe Rust: prefetching a cache line, huge pages, indexing by a hash without a bounds
//! check, mixing by CRC.
//!
//! Outside of `dpdk` only this file and `bucket` have `unsafe` blocks. The need is measured: without huge pages a
//! lookup in 10 M mappings costs a page walk beside the cache miss, and without prefetching the cache misses of a burst
//! add up.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::Deref;
use std::ptr::NonNull;

/// Prefetches the cache line of `place`. Changes nothing but time.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and the address comes from a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Prefetches into the second-level cache only, which can wait for more lines at once than the first-level cache.
#[inline(always)]
fn prefetch_second<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Mixes all bits of `value` into 32: by CRC-32C where the processor has it. There is no secret in it.
#[inline(always)]
#[must_use]
pub fn mixed(value: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    // SAFETY: compiled only for processors that have the instruction.
    unsafe {
        std::arch::x86_64::_mm_crc32_u64(0, value) as u32
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
    mixed_without_crc(value)
}

/// Mixes all bits of `value` into 32 on any processor.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse4.2"))))]
#[inline(always)]
fn mixed_without_crc(value: u64) -> u32 {
    let wide = u128::from(value ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
    (wide >> 64) as u32 ^ (wide as u64 >> 32) as u32 ^ (wide >> 96) as u32
}

/// A type whose all-zero bytes are a valid value, and which needs no drop.
///
/// # Safety
/// Whoever implements it upholds that memory of zeroes is a valid value of the type, and that dropping one does nothing.
pub unsafe trait Zeroed {}

/// A slice of fixed length. From 2 MiB on it lies in transparent huge pages if the system has them.
pub struct Pages<T> {
    first: NonNull<T>,
    length: usize,
    layout: Layout,
    /// Whether it is larger than a core's own caches.
    far: bool,
}

/// Largest size in bytes that is expected to stay in a core's own caches.
const NEAR: usize = 512 << 10;
/// Size and alignment of a huge page in bytes.
const HUGE_PAGE: usize = 2 << 20;

impl<T> Pages<T> {
    /// Memory for `length` values. The caller writes them before anything else is done with it.
    fn room(length: usize) -> Self {
        const { assert!(size_of::<T>() > 0 && !std::mem::needs_drop::<T>()) };
        assert!(length > 0, "a table has at least one value");
        assert!(u32::try_from(length).is_ok(), "{length} values are too many for a table");
        let bytes = length.saturating_mul(size_of::<T>());
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { align_of::<T>() };
        let Ok(layout) = Layout::from_size_align(bytes, align) else {
            handle_alloc_error(Layout::new::<T>());
        };
        // SAFETY: the layout has a size above zero: T is not zero-sized and there is at least one (asserted above).
        let raw = unsafe { alloc(layout) };
        let Some(first) = NonNull::new(raw.cast::<T>()) else { handle_alloc_error(layout) };
        if bytes >= HUGE_PAGE {
            // SAFETY: the range was just allocated and is ours; MADV_HUGEPAGE changes no content. A refusal only
            // costs speed, so its result is not needed.
            let _ = unsafe { libc::madvise(raw.cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Pages { first, length, layout, far: bytes > NEAR }
    }
}

impl<T: Zeroed> Pages<T> {
    /// Allocates `length` zeroed values, at least one.
    ///
    /// # Panics
    /// If there are 2^32 values or more.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let pages = Self::room(length.max(1));
        // SAFETY: `first` is valid for as many values, as just allocated; zero is one, by `Zeroed`'s contract.
        unsafe { pages.first.write_bytes(0, pages.length) };
        pages
    }
}

impl<T: Copy> Pages<T> {
    /// Allocates a copy of `values`.
    ///
    /// # Panics
    /// If `values` is empty or has 2^32 values or more.
    #[must_use]
    pub fn copied(values: &[T]) -> Self {
        let pages = Self::room(values.len());
        // SAFETY: `first` is valid for as many values, as just allocated, and overlaps nothing.
        unsafe { pages.first.copy_from_nonoverlapping(NonNull::from(values).cast(), values.len()) };
        pages
    }
}

impl<T: Copy + Default> Default for Pages<T> {
    /// One value.
    fn default() -> Self {
        Self::copied(&[T::default()])
    }
}

impl<T> Pages<T> {
    /// The index that a uniform 32-bit `hash` picks, uniformly: `hash / 2^32` of the length.
    #[inline(always)]
    #[must_use]
    pub fn picked(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.length as u64) >> 32) as usize
    }

    /// Prefetches one of the values, `place`, for one of several lookups side by side.
    #[inline(always)]
    pub fn prefetch(&self, place: &T) {
        // Pending cache misses fill the queue of the first-level cache, and further prefetches wait for room in it. So
        // a slice that is larger than a core's caches is prefetched into the second level.
        if self.far { prefetch_second(place) } else { prefetch(place) }
    }

    /// The value that a uniform 32-bit `hash` picks.
    #[inline(always)]
    #[must_use]
    pub fn pick(&self, hash: u32) -> &T {
        // SAFETY: hash / 2^32 is below 1, so its share of the length is below the length. The product does not
        // overflow: lengths are between 1 and 2^32 (asserted in `room`).
        unsafe { self.get_unchecked(self.picked(hash)) }
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` points to `length` values, written where they were allocated, and alive as long as self.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `room` with this layout, freed only here; T needs no drop (asserted there).
        unsafe { dealloc(self.first.as_ptr().cast(), self.layout) };
    }
}

// SAFETY: Pages owns its values as a Box<[T]> does.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: shared access gives only &T.
unsafe impl<T: Sync> Sync for Pages<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    // SAFETY: zero is a valid AtomicU64.
    unsafe impl Zeroed for AtomicU64 {}

    /// Words in 4 MiB, which lie in huge pages; Miri takes minutes for so many, and knows no `madvise`.
    const MANY: u64 = if cfg!(miri) { 1000 } else { (4 << 20) / 8 };

    /// Both ways, so that a processor without the instruction spreads keys as well.
    #[test]
    fn mixing_spreads_runs_at_any_stride_over_all_places() {
        const PLACES: usize = 64;
        const EACH: usize = 64;
        let pages = Pages::copied(&[0u8; PLACES]);
        for mix in [mixed, mixed_without_crc] {
            for stride in
                [0, 1, 3, 8, 16, 24, 31, 32, 40, 48].into_iter().take(if cfg!(miri) { 2 } else { 10 })
            {
                let mut counts = [0; PLACES];
                for i in 0..(PLACES * EACH) as u64 {
                    // Callers multiply by a random odd number first.
                    counts[pages.picked(mix((i << stride).wrapping_mul(0x9fb2_1c65_1e98_df25)))] += 1;
                }
                assert!(counts.iter().all(|n| (EACH / 2..EACH * 2).contains(n)), "{stride}: {counts:?}");
            }
        }
    }

    #[test]
    fn copies_are_as_their_values_few_and_many() {
        for length in [1, 100, MANY] {
            let values: Vec<u64> = (0..length).collect();
            assert_eq!(*Pages::copied(&values), values);
        }
    }

    #[test]
    fn pages_are_zeroed_and_aligned_small_and_huge() {
        for length in [0, 1, 100, MANY as usize] {
            let pages = Pages::<AtomicU64>::zeroed(length);
            assert_eq!(pages.len(), length.max(1));
            assert!(pages.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            prefetch(&pages[0]);
            if length * 8 >= HUGE_PAGE {
                assert_eq!(pages.as_ptr() as usize % HUGE_PAGE, 0);
            }
        }
    }
}
