//! Keeps a log line that DPDK writes again and again from filling the log.

use std::collections::HashMap;

/// How long a line that was written is not written again, in milliseconds.
const QUIET_MS: u64 = 60_000;
/// Lines that are remembered, at most. With more different ones at a time all are forgotten.
const REMEMBERED: usize = 256;

/// Which lines were written lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// When each line was written, and how often it came since.
    seen: HashMap<String, (u64, u64)>,
}

impl Repeats {
    /// Whether to write a line now; then also how often it came meanwhile without being written.
    pub(super) fn write(&mut self, line: &str, now_ms: u64) -> Option<u64> {
        if let Some((written_ms, since)) = self.seen.get_mut(line) {
            if now_ms < written_ms.saturating_add(QUIET_MS) {
                *since += 1;
                return None;
            }
            *written_ms = now_ms;
            return Some(std::mem::take(since));
        }
        if self.seen.len() == REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(line.to_owned(), (now_ms, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_minute_with_its_repeats_counted() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.write("a", 0), Some(0));
        assert_eq!(repeats.write("b", 1), Some(0), "another line is not held up");
        let written = (1..=300).filter(|n| repeats.write("a", n * 199).is_some()).count();
        assert_eq!(written, 0);
        assert_eq!(repeats.write("a", 60_000), Some(300));
        assert_eq!(repeats.write("a", 120_000), Some(0));
    }

    #[test]
    fn the_memory_of_lines_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..10_000 {
            assert_eq!(repeats.write(&n.to_string(), n), Some(0));
            assert!(repeats.seen.len() <= REMEMBERED);
        }
    }
}
