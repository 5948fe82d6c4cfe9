//! The laws of publication, in every interleaving of one publisher and its readers that a bounded number of preemptions
//! makes.
//!
//! A run of a failed model again, with its steps: `LOOM_LOG=1 LOOM_LOCATION=1 cargo test …`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ilagate_model::rcu::{Publisher, Reader};
use ilagate_model::sync::{Arc, AtomicU64, Ordering};
use loom::thread;

/// Preemptions that loom tries in each run; what is wrong with more shows with three nearly always.
const PREEMPTIONS: usize = 3;

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// A snapshot: loom finds whoever reads it before it was made or while it is freed.
struct Snapshot {
    value: AtomicU64,
    freed_by: Option<thread::ThreadId>,
}

impl Snapshot {
    fn new(value: u64) -> Snapshot {
        Snapshot { value: AtomicU64::new(value), freed_by: None }
    }

    /// One that must be freed by this thread.
    fn freed_here(value: u64) -> Snapshot {
        let mut snapshot = Snapshot::new(value);
        snapshot.freed_by = Some(thread::current().id());
        snapshot
    }

    fn read(&self) -> u64 {
        let value = self.value.load(Ordering::Relaxed);
        assert_ne!(value, 0, "freed");
        value
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What comes before must have happened before, in loom's books too.
        self.value.with_mut(|value| *value = 0);
        if let Some(thread) = self.freed_by
            && !std::thread::panicking()
        {
            assert_eq!(thread, thread::current().id(), "freed by another thread");
        }
    }
}

/// What only the first snapshot leads to; loom finds whoever reads it while it is changed.
struct Ground(loom::cell::UnsafeCell<()>);

// SAFETY: nothing lies there; loom is only told of the accesses, and the pointers that it gives are not followed.
unsafe impl Sync for Ground {}
// SAFETY: the same.
unsafe impl Send for Ground {}

/// Polls so often; what is seen never goes back, and its number belongs to it.
fn poll(reader: &mut Reader<Snapshot>, times: usize) -> u64 {
    let mut last = 0;
    for _ in 0..times {
        let seen = reader.snapshot().read();
        assert!(seen >= last, "{seen} after {last}");
        assert_eq!(seen, reader.number());
        last = seen;
    }
    last
}

#[test]
fn a_reader_never_sees_a_freed_or_half_made_snapshot_nor_goes_back() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::freed_here(1));
        let mut reader = publisher.reader();
        let worker = thread::spawn(move || {
            poll(&mut reader, 3);
            reader
        });
        publisher.publish(Snapshot::freed_here(2));
        publisher.publish(Snapshot::freed_here(3));
        let reader = worker.join().unwrap();
        drop(reader);
        publisher.collect();
        assert_eq!(publisher.waiting(), 0);
    });
}

#[test]
fn whoever_polls_after_publication_sees_the_new_snapshot() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::new(1));
        let mut reader = publisher.reader();
        let published = Arc::new(AtomicU64::new(1));
        let seen = published.clone();
        let worker = thread::spawn(move || {
            let number = seen.load(Ordering::Acquire);
            assert!(poll(&mut reader, 1) >= number);
            reader
        });
        publisher.publish(Snapshot::new(2));
        published.store(2, Ordering::Release);
        drop(worker.join().unwrap());
    });
}

#[test]
fn whoever_meets_a_publication_sees_its_snapshot_at_a_later_poll() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::new(1));
        let mut reader = publisher.reader();
        let worker = thread::spawn(move || {
            poll(&mut reader, 2);
            reader
        });
        publisher.publish(Snapshot::new(2));
        publisher.publish(Snapshot::new(3));
        // The publisher holds no lock any more.
        let mut reader = worker.join().unwrap();
        assert_eq!(poll(&mut reader, 1), 3);
        assert!(publisher.settled());
        publisher.collect();
        assert_eq!(publisher.waiting(), 0);
    });
}

#[test]
fn what_every_reader_has_left_may_be_changed() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::new(1));
        let mut reader = publisher.reader();
        let ground = Arc::new(Ground(loom::cell::UnsafeCell::new(())));
        let read = ground.clone();
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                if reader.snapshot().read() == 1 {
                    read.0.with(|_| ());
                }
            }
            reader
        });
        publisher.publish(Snapshot::new(2));
        if publisher.settled() {
            ground.0.with_mut(|_| ());
        }
        drop(worker.join().unwrap());
    });
}

#[test]
fn snapshots_are_freed_only_when_no_reader_holds_them_and_by_the_publisher() {
    model(2, || {
        let mut publisher = Publisher::new(Snapshot::freed_here(1));
        let workers = [publisher.reader(), publisher.reader()].map(|mut reader| {
            thread::spawn(move || {
                poll(&mut reader, 2);
                reader
            })
        });
        publisher.publish(Snapshot::freed_here(2));
        publisher.collect();
        let [mut first, mut second] = workers.map(|worker| worker.join().unwrap());
        let kept = first.number();
        publisher.publish(Snapshot::freed_here(3));
        // Both are behind, or one: what they hold is still there.
        assert_eq!(first.number(), kept);
        assert!(publisher.waiting() >= 1 && !publisher.settled());
        assert_eq!((poll(&mut first, 1), poll(&mut second, 1)), (3, 3));
        assert!(publisher.settled());
        publisher.collect();
        assert_eq!(publisher.waiting(), 0);
        drop((first, second));
    });
}

#[test]
fn a_reader_that_goes_holds_nothing_up() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::freed_here(1));
        let mut reader = publisher.reader();
        let worker = thread::spawn(move || {
            poll(&mut reader, 1);
            drop(reader);
        });
        publisher.publish(Snapshot::freed_here(2));
        worker.join().unwrap();
        assert!(publisher.settled());
        publisher.publish(Snapshot::freed_here(3));
        assert_eq!(publisher.waiting(), 0);
    });
}

#[test]
fn readers_outlive_the_publisher() {
    model(PREEMPTIONS, || {
        let mut publisher = Publisher::new(Snapshot::new(1));
        let mut reader = publisher.reader();
        let worker = thread::spawn(move || {
            poll(&mut reader, 2);
            reader
        });
        publisher.publish(Snapshot::new(2));
        drop(publisher);
        let mut reader = worker.join().unwrap();
        assert_eq!(poll(&mut reader, 1), 2);
    });
}
