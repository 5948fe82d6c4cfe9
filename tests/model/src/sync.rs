//! What stands in for `std::sync`.

pub use loom::sync::Mutex;
pub use loom::sync::atomic::{AtomicU64, Ordering};
pub use std::sync::PoisonError;

use loom::sync::atomic::{AtomicUsize, fence};
use std::ops::Deref;

/// `std::sync::Arc` with a count that loom sees, by the orderings that std documents.
///
/// Loom has one of its own, but reading its count synchronizes with whoever changed it, which std does not promise.
pub struct Arc<T> {
    /// Frees the value where the count falls to 0: nobody else runs between the two.
    value: std::sync::Arc<Counted<T>>,
}

struct Counted<T> {
    count: AtomicUsize,
    value: T,
}

impl<T> Arc<T> {
    /// The first handle.
    pub fn new(value: T) -> Self {
        Arc { value: std::sync::Arc::new(Counted { count: AtomicUsize::new(1), value }) }
    }

    /// How many handles there are.
    pub fn strong_count(this: &Self) -> usize {
        this.value.count.load(Ordering::Relaxed)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.value.count.fetch_add(1, Ordering::Relaxed);
        Arc { value: self.value.clone() }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value.value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.value.count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
        }
    }
}
