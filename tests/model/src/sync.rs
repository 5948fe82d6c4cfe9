//! What stands in for `std::sync`.

pub use loom::sync::atomic::{AtomicU64, Ordering};
pub use std::sync::PoisonError;

use loom::sync::atomic::{AtomicUsize, fence};
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockError, TryLockResult};

/// Loom's mutex; others run while it is held, too.
///
/// Loom lets another thread run where two do something to one object, and letting go of a mutex is nothing to it: by
/// itself it never tries to take one that is held.
pub struct Mutex<T> {
    inner: loom::sync::Mutex<T>,
    /// Touched in front of each lock and at its end. Relaxed: it orders nothing.
    held: AtomicUsize,
}

/// What a lock gives.
pub struct Locked<'m, T> {
    inner: loom::sync::MutexGuard<'m, T>,
    held: &'m AtomicUsize,
}

impl<T> Mutex<T> {
    /// One that is free.
    pub fn new(value: T) -> Self {
        Mutex { inner: loom::sync::Mutex::new(value), held: AtomicUsize::new(0) }
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Where another thread panicked with it.
    pub fn lock(&self) -> LockResult<Locked<'_, T>> {
        match self.inner.lock() {
            Ok(inner) => Ok(Locked { inner, held: &self.held }),
            Err(poisoned) => Err(PoisonError::new(Locked { inner: poisoned.into_inner(), held: &self.held })),
        }
    }

    /// Takes it if it is free.
    ///
    /// # Errors
    /// Where another thread has it.
    pub fn try_lock(&self) -> TryLockResult<Locked<'_, T>> {
        self.held.load(Ordering::Relaxed);
        match self.inner.try_lock() {
            Ok(inner) => Ok(Locked { inner, held: &self.held }),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }
}

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
