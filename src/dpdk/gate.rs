//! Takes a device away from the workers that poll it, and gives it back, while they run.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long closing waits for a worker that is inside.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// The way of workers to one device. Each queue has one place, because it belongs to one worker.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicBool,
    inside: Vec<CachePadded<AtomicBool>>,
}

/// A worker is inside. Dropping it lets the worker out.
pub(super) struct Inside<'g>(&'g AtomicBool);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Gate {
    /// A closed gate for so many queues.
    pub(super) fn new(queues: usize) -> Self {
        let place = || CachePadded::new(AtomicBool::new(false));
        Gate { open: AtomicBool::new(false), inside: (0..queues).map(|_| place()).collect() }
    }

    /// Lets the worker of a queue in; `None` while the gate is closed. The worker never waits.
    #[inline]
    pub(super) fn enter(&self, queue: usize) -> Option<Inside<'_>> {
        let place = self.inside.get(queue)?;
        // The worker says that it is inside before it looks, and `close` closes before it looks: one of the two sees
        // the other.
        place.store(true, Ordering::SeqCst);
        let inside = Inside(place);
        self.open.load(Ordering::SeqCst).then_some(inside)
    }

    /// Closes, and waits until no worker is inside: usually the time of one burst. `false`, and as it was before, if a
    /// worker is inside for longer than [`CLOSE_TIMEOUT`]: it hangs in a driver, and the caller must not hang with it.
    #[must_use]
    pub(super) fn close(&self) -> bool {
        let before = self.open.swap(false, Ordering::SeqCst);
        let begun = Instant::now();
        while self.inside.iter().any(|place| place.load(Ordering::SeqCst)) {
            if begun.elapsed() > CLOSE_TIMEOUT {
                self.open.store(before, Ordering::SeqCst);
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Opens: what the caller did before is seen by every worker that enters.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_an_open_one_each_queue() {
        let gate = Gate::new(2);
        assert!(gate.enter(0).is_none());
        gate.open();
        let (first, second) = (gate.enter(0), gate.enter(1));
        assert!(first.is_some() && second.is_some() && gate.enter(2).is_none());
        drop((first, second));
        assert!(gate.close() && gate.enter(1).is_none());
    }

    #[test]
    fn a_worker_that_hangs_inside_holds_nobody_up_and_the_gate_stays_as_it_was() {
        let gate = Gate::new(1);
        gate.open();
        let inside = gate.enter(0);
        assert!(!gate.close());
        drop(inside);
        assert!(gate.enter(0).is_some() && gate.close() && gate.enter(0).is_none());
    }

    #[test]
    fn nobody_is_inside_when_closing_is_done() {
        const ROUNDS: u64 = 500;
        let gate = Arc::new(Gate::new(2));
        // Odd while the device is taken away.
        let taken = Arc::new(AtomicU64::new(0));
        let worker = |queue| {
            let (gate, taken) = (gate.clone(), taken.clone());
            std::thread::spawn(move || {
                while taken.load(Ordering::Relaxed) < 2 * ROUNDS {
                    if let Some(_inside) = gate.enter(queue) {
                        assert!(taken.load(Ordering::Relaxed).is_multiple_of(2));
                    }
                    std::thread::yield_now();
                }
            })
        };
        let workers = [worker(0), worker(1)];
        for _ in 0..ROUNDS {
            gate.open();
            std::thread::yield_now();
            while !gate.close() {}
            taken.fetch_add(1, Ordering::SeqCst);
            // Long enough for a worker that is inside to see it.
            std::thread::sleep(std::time::Duration::from_micros(50));
            taken.fetch_add(1, Ordering::SeqCst);
        }
        for worker in workers {
            worker.join().unwrap();
        }
    }
}
