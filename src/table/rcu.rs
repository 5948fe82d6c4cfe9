//! Publication of snapshots: one publisher, one mailbox per reader (read, copy, update).
//!
//! A reader that has nothing new pays one load. It never frees a snapshot: the publisher keeps each one until every
//! reader has moved on, and frees it on its own thread.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

struct Mailbox<T> {
    /// Number of the newest snapshot put in; written by the publisher.
    posted: AtomicU64,
    /// Number of the snapshot that the reader works with; written by the reader.
    taken: AtomicU64,
    slot: Mutex<Option<(u64, Arc<T>)>>,
}

/// The writing side; lives on the control thread.
pub struct Publisher<T> {
    mailboxes: Vec<Arc<CachePadded<Mailbox<T>>>>,
    current: Arc<T>,
    retired: Vec<Arc<T>>,
    number: u64,
}

/// The reading side; one per worker.
pub struct Reader<T> {
    mailbox: Arc<CachePadded<Mailbox<T>>>,
    current: Arc<T>,
    number: u64,
}

impl<T> Publisher<T> {
    /// Starts with `first` as the snapshot.
    #[must_use]
    pub fn new(first: T) -> Self {
        Publisher { mailboxes: Vec::new(), current: Arc::new(first), retired: Vec::new(), number: 1 }
    }

    /// A new reader, which starts with the present snapshot.
    pub fn reader(&mut self) -> Reader<T> {
        let mailbox = Arc::new(CachePadded::new(Mailbox {
            posted: AtomicU64::new(self.number),
            taken: AtomicU64::new(self.number),
            slot: Mutex::new(None),
        }));
        self.mailboxes.push(mailbox.clone());
        Reader { mailbox, current: self.current.clone(), number: self.number }
    }

    /// The present snapshot.
    #[must_use]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }

    /// Number of the present snapshot, rising by one with each.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Makes `next` the snapshot that readers take at their next burst. Readers that are gone are forgotten.
    pub fn publish(&mut self, next: T) {
        self.number += 1;
        let next = Arc::new(next);
        self.retired.push(std::mem::replace(&mut self.current, next));
        self.mailboxes.retain(|mailbox| Arc::strong_count(mailbox) > 1);
        for mailbox in &self.mailboxes {
            let older = {
                let mut slot = mailbox.slot.lock().unwrap_or_else(PoisonError::into_inner);
                slot.replace((self.number, self.current.clone()))
            };
            mailbox.posted.store(self.number, Ordering::Release);
            drop(older);
        }
        self.collect();
    }

    /// Whether every reader works with the present snapshot.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.mailboxes.iter().all(|mailbox| {
            Arc::strong_count(mailbox) == 1 || mailbox.taken.load(Ordering::Acquire) == self.number
        })
    }

    /// Frees the snapshots that no reader holds any more.
    pub fn collect(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
    }

    /// Snapshots waiting for a reader to move on.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.retired.len()
    }
}

impl<T> Reader<T> {
    /// The newest snapshot; stays the same until the next call.
    #[inline]
    pub fn snapshot(&mut self) -> &Arc<T> {
        if self.mailbox.posted.load(Ordering::Acquire) > self.number {
            self.take();
        }
        &self.current
    }

    /// The snapshot in use, even if there is a newer one.
    #[inline]
    #[must_use]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }

    /// Number of the snapshot in use.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    #[cold]
    fn take(&mut self) {
        // The publisher holds the lock only to swap a pointer; if it does so now, the next burst will see it.
        let Ok(mut slot) = self.mailbox.slot.try_lock() else { return };
        if let Some((number, next)) = slot.take() {
            self.number = number;
            // The publisher still holds the old snapshot in `retired`, so this never frees a table.
            self.current = next;
            self.mailbox.taken.store(self.number, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_newest_and_the_publisher_frees_the_old() {
        let mut publisher = Publisher::new(1);
        let mut reader = publisher.reader();
        assert_eq!(**reader.snapshot(), 1);
        publisher.publish(2);
        publisher.publish(3);
        assert!(!publisher.settled());
        assert_eq!(**reader.snapshot(), 3);
        assert!(publisher.settled());
        publisher.collect();
        assert_eq!(publisher.waiting(), 0);
    }

    #[test]
    fn a_reader_that_is_gone_holds_nothing_up() {
        let mut publisher = Publisher::new(1);
        let reader = publisher.reader();
        publisher.publish(2);
        assert!(!publisher.settled());
        drop(reader);
        assert!(publisher.settled());
        publisher.publish(3);
        assert_eq!(publisher.waiting(), 0);
    }

    #[test]
    fn no_reader_ever_frees_a_snapshot() {
        struct Witness(std::thread::ThreadId);
        impl Drop for Witness {
            fn drop(&mut self) {
                assert_eq!(std::thread::current().id(), self.0, "freed on another thread");
            }
        }
        let here = std::thread::current().id();
        let mut publisher = Publisher::new(Witness(here));
        let mut reader = publisher.reader();
        let worker = std::thread::spawn(move || {
            for _ in 0..20_000 {
                let _ = reader.snapshot();
            }
            reader
        });
        for _ in 0..2000 {
            publisher.publish(Witness(here));
        }
        drop(worker.join().unwrap());
    }
}
