//! A set of IPv6 prefixes, asked whether it has an address, or any address of a /64.

use crate::net::Ipv6Prefix;

/// A set of IPv6 addresses: sorted ranges that do not touch one another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixSet {
    /// First and last address of each range.
    ranges: Vec<(u128, u128)>,
}

impl PrefixSet {
    /// The addresses of all `prefixes`.
    #[must_use]
    pub fn of(prefixes: impl IntoIterator<Item = Ipv6Prefix>) -> Self {
        let range = |prefix: Ipv6Prefix| (prefix.bits(), prefix.bits() | !Ipv6Prefix::mask(prefix.length()));
        let mut sorted: Vec<(u128, u128)> = prefixes.into_iter().map(range).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::new();
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        PrefixSet { ranges }
    }

    /// Whether the set has `address`.
    #[inline]
    #[must_use]
    pub fn contains(&self, address: u128) -> bool {
        self.meets(address, address)
    }

    /// Whether the set has an address with the upper half `high`.
    #[inline]
    #[must_use]
    pub fn touches(&self, high: u64) -> bool {
        let first = u128::from(high) << 64;
        self.meets(first, first | u128::from(u64::MAX))
    }

    fn meets(&self, first: u128, last: u128) -> bool {
        let after = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(after).is_some_and(|range| range.0 <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The set agrees with its prefixes, at their edges too.
        #[test]
        fn the_set_has_what_a_prefix_has_and_no_more(
            prefixes in proptest::collection::vec((0u128..8, prop::sample::select(vec![0u8, 61, 62, 64, 66, 127, 128])), 0..6),
            probes in proptest::collection::vec((0u128..8, 0u128..3), 1..20),
        ) {
            let prefixes: Vec<Ipv6Prefix> = prefixes
                .into_iter()
                .map(|(place, length)| Ipv6Prefix::covering(place << 64 | place, length))
                .collect();
            let set = PrefixSet::of(prefixes.iter().copied());
            for (high, step) in probes {
                let high = high as u64;
                for address in [u128::from(high) << 64 | step, (u128::from(high) << 64 | u128::from(high)).wrapping_sub(step)] {
                    prop_assert_eq!(set.contains(address), prefixes.iter().any(|prefix| prefix.contains(address)));
                }
                let whole = Ipv6Prefix::covering(u128::from(high) << 64, 64);
                prop_assert_eq!(set.touches(high), prefixes.iter().any(|prefix| prefix.overlaps(whole)));
            }
        }
    }

    #[test]
    fn the_whole_address_space_is_a_set_too() {
        let all = PrefixSet::of([Ipv6Prefix::DEFAULT, Ipv6Prefix::covering(5, 128)]);
        assert!(all.contains(0) && all.contains(u128::MAX) && all.touches(0) && all.touches(u64::MAX));
        assert!(!PrefixSet::default().contains(0) && !PrefixSet::default().touches(7));
    }
}
