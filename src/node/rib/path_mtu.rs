//! What is known of the paths of tunnels beyond the next hop (RFC 8201): the largest packet, for a while.

use super::Rib;
use crate::path::PathMtu;
use std::collections::BTreeMap;

/// How long an MTU counts. Then larger packets are tried again (RFC 8201 §4).
const AGE_MS: u64 = 600_000;
/// Paths of which one is known, at most. A node tunnels to few others at once.
const PATHS: usize = 1024;

/// By the addresses of both ends.
#[derive(Debug, Default)]
pub(super) struct PathMtus(BTreeMap<(u128, u128), Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    mtu: u16,
    since_ms: u64,
}

impl PathMtus {
    /// The largest packet that the path takes, in bytes.
    pub(super) fn of(&self, from: u128, to: u128) -> u16 {
        self.0.get(&(from, to)).map_or(u16::MAX, |known| known.mtu)
    }

    /// Lowers the MTU of a path. A larger one than that which is known says nothing. Says whether it changed.
    fn lower(&mut self, PathMtu { from, to, mtu }: PathMtu, now_ms: u64) -> bool {
        let is_full = self.0.len() >= PATHS && !self.0.contains_key(&(from, to));
        if is_full || mtu >= self.of(from, to) {
            return false;
        }
        self.0.insert((from, to), Known { mtu, since_ms: now_ms });
        true
    }

    /// Forgets what is known for long enough. Says whether there was something.
    fn age(&mut self, now_ms: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|_, known| now_ms < known.since_ms + AGE_MS);
        self.0.len() != before
    }
}

impl Rib {
    /// A router says that the path of a tunnel takes no larger packets. Readers see it in the next snapshot. Says whether
    /// that is news.
    pub fn lower_path_mtu(&mut self, path: PathMtu) -> bool {
        let is_lower = self.path_mtus.lower(path, self.now_ms);
        self.dirty |= is_lower;
        is_lower
    }

    /// Forgets MTUs of paths that are known for 10 minutes. Readers see it in the next snapshot.
    pub fn age_path_mtus(&mut self) {
        self.dirty |= self.path_mtus.age(self.now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8201 §4
    #[test]
    fn rfc_8201_section_4_an_mtu_only_falls_until_it_has_aged() {
        let mut known = PathMtus::default();
        let path = |mtu| PathMtu { from: 1, to: 2, mtu };
        assert!(known.lower(path(1_400), 0) && !known.lower(path(1_400), 1) && !known.lower(path(1_450), 2));
        assert!(known.lower(path(1_300), 3));
        assert_eq!((known.of(1, 2), known.of(2, 1)), (1_300, u16::MAX));
        assert!(!known.age(3 + AGE_MS - 1) && known.age(3 + AGE_MS));
        assert_eq!(known.of(1, 2), u16::MAX);
        for to in 0..2 * PATHS as u128 {
            assert_eq!(known.lower(PathMtu { from: 1, to, mtu: 1_280 }, 0), to < PATHS as u128);
        }
    }
}
