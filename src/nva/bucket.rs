//! A limit of what one NVE may take: so much at once, and one more after each interval.

/// A token bucket. It is its own clock: it notes when it will be full again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    size: u64,
    every_us: u64,
    full_us: u64,
}

impl Bucket {
    /// A full bucket of `size` tokens, to which one comes every `every_us` microseconds.
    pub(super) fn new(size: u64, every_us: u64) -> Self {
        Bucket { size, every_us, full_us: 0 }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        self.take_many(1, now_ms)
    }

    /// Takes so many tokens, if they are there, or else none.
    pub(super) fn take_many(&mut self, count: u64, now_ms: u64) -> bool {
        let now_us = now_ms * 1_000;
        let full_us = self.full_us.max(now_us) + count * self.every_us;
        let is_there = full_us - now_us <= self.size * self.every_us;
        if is_there {
            self.full_us = full_us;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_one_after_each_interval() {
        let mut bucket = Bucket::new(3, 2_000_000);
        let taken = |bucket: &mut Bucket, now_ms| (0..10).filter(|_| bucket.take(now_ms)).count();
        assert_eq!(taken(&mut bucket, 5_000), 3);
        assert_eq!((taken(&mut bucket, 6_999), taken(&mut bucket, 7_000)), (0, 1));
        assert_eq!(taken(&mut bucket, 11_500), 2);
        // It never holds more than its size.
        assert_eq!(taken(&mut bucket, 1_000_000), 3);
    }

    #[test]
    fn many_are_taken_together_or_not_at_all() {
        let mut bucket = Bucket::new(8, 1_000);
        assert!(!bucket.take_many(9, 0) && bucket.take_many(6, 0) && !bucket.take_many(3, 0));
        assert!(bucket.take_many(2, 0) && bucket.take_many(0, 0) && !bucket.take(0));
        assert!(!bucket.take_many(5, 4) && bucket.take_many(4, 4));
    }
}
