//! The prefix table: what the upper 64 bits of a destination mean. They are a SIR prefix, a locator of ours, a locator
//! of another node, or a subnet of ours.
//!
//! It is a small open-addressed hash table, read for each packet and always in the cache.

use super::DomainId;
use crate::ila::Adjustment;

/// What is known of a 64-bit prefix. Several can be true of one prefix: an own address lies under an own locator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixInfo {
    /// It is the SIR prefix of this domain.
    pub sir: Option<DomainId>,
    /// It is a locator of this node in this domain. The adjustment is that of the pair of SIR prefix and locator.
    pub local: Option<(DomainId, Adjustment)>,
    /// It is a locator of another node in this domain. Needed to translate quoted packets back.
    pub remote: Option<(DomainId, Adjustment)>,
    /// An address of this node lies under it.
    pub own: bool,
    /// A virtual network's IPv6 prefix lies under it.
    pub tenants: bool,
}

impl PrefixInfo {
    /// Whether it is a locator of this node or of another one.
    #[inline]
    #[must_use]
    pub const fn is_locator(&self) -> bool {
        self.local.is_some() || self.remote.is_some()
    }
}

/// The table of all known prefixes.
#[derive(Debug, Clone)]
pub struct PrefixTable {
    slots: Vec<(u64, PrefixInfo)>,
    shift: u32,
    length: usize,
}

impl Default for PrefixTable {
    fn default() -> Self {
        PrefixTable { slots: vec![(0, PrefixInfo::default()); 16], shift: 60, length: 0 }
    }
}

impl PrefixTable {
    /// The slot where a search for `prefix` begins. The multiplier is fixed: only the operator chooses the prefixes, by
    /// the configuration and the mappings, so that no sender can make a search longer than they do.
    #[inline(always)]
    fn home(&self, prefix: u64) -> usize {
        (prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// What is known of `prefix`, which is not 0: no unicast prefix is.
    #[inline(always)]
    #[must_use]
    pub fn of(&self, prefix: u64) -> Option<&PrefixInfo> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(prefix);
        loop {
            let (key, prefix_info) = &self.slots[at & mask];
            if *key == prefix {
                return Some(prefix_info);
            }
            if *key == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// What is known of `prefix`, to be changed. A new entry knows nothing. `prefix` is not 0.
    pub fn entry(&mut self, prefix: u64) -> &mut PrefixInfo {
        debug_assert!(prefix != 0);
        if self.length * 2 >= self.slots.len() {
            let larger = vec![(0, PrefixInfo::default()); self.slots.len() * 2];
            let old = std::mem::replace(&mut self.slots, larger);
            self.shift -= 1;
            for (key, prefix_info) in old.into_iter().filter(|(key, _)| *key != 0) {
                let at = self.place(key);
                self.slots[at] = (key, prefix_info);
            }
        }
        let at = self.place(prefix);
        if self.slots[at].0 == 0 {
            self.slots[at].0 = prefix;
            self.length += 1;
        }
        &mut self.slots[at].1
    }

    /// The slot that holds `prefix`, or would hold it.
    fn place(&self, prefix: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(prefix) & mask;
        while self.slots[at].0 != prefix && self.slots[at].0 != 0 {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_that_was_told_is_known_and_no_other() {
        let mut prefixes = PrefixTable::default();
        for i in 1..5000u64 {
            prefixes.entry(i << 20).sir = Some(DomainId(i as u8));
            // So a search ends, and soon.
            assert!(prefixes.length as u64 == i && prefixes.length * 2 <= prefixes.slots.len());
        }
        for i in 1..5000u64 {
            assert_eq!(prefixes.of(i << 20).and_then(|prefix_info| prefix_info.sir), Some(DomainId(i as u8)));
            assert_eq!(prefixes.of((i << 20) + 1), None);
        }
    }
}
