//! What an NVE asks about MAC addresses: which wait, which are asked for, and what nobody has.

use super::message::{FoundMac, QUERIES, QUERY_KEYS, Up};
use super::model::Network;
use crate::net::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// MAC addresses that wait to be asked for, at most.
const WAITING: usize = 1_024;
/// MAC addresses that nobody has and that are not asked for again for a while, at most.
const NOBODY: usize = 4_096;
/// Longest time for which nobody is asked again, whatever the authority says.
const NOBODY_MS: u64 = 5_000;

/// A MAC address of a virtual network.
pub(super) type Sought = (Network, Mac);

/// What came of questions by MAC address, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MacCounts {
    /// MAC addresses that the authority was asked for.
    pub asked: u64,
    /// Those that somebody has.
    pub found: u64,
}

/// The questions of one NVE.
#[derive(Debug, Default)]
pub(super) struct Finds {
    waiting: BTreeSet<Sought>,
    pending: BTreeSet<Sought>,
    asked: BTreeMap<u64, (Network, Vec<Mac>)>,
    /// Until when nobody has it.
    nobody: HashMap<Sought, u64>,
    next_id: u64,
    /// The network that was asked about last: they take turns.
    last: Option<Network>,
    counts: MacCounts,
}

impl Finds {
    /// Somebody needs it. What is asked for already, what nobody had a moment ago, and what there is no room for is not
    /// asked for.
    pub(super) fn seek(&mut self, sought: Sought, now_ms: u64) {
        // A tenant may ask for anything; these are no tenant's, and no authority takes them.
        if sought.1 == Mac::ZERO || sought.1.is_multicast() {
            return;
        }
        let is_asked = self.pending.contains(&sought);
        let is_nobodys = self.nobody.get(&sought).is_some_and(|until_ms| now_ms < *until_ms);
        if !is_asked && !is_nobodys && self.waiting.len() < WAITING {
            self.waiting.insert(sought);
        }
    }

    /// The next question, if one may be asked: of one network.
    pub(super) fn next(&mut self) -> Option<Up> {
        let first_of = |network| (network, Mac::ZERO);
        let later = self.last.and_then(|(sir_prefix, vnid)| {
            self.waiting.range(first_of((sir_prefix, vnid.checked_add(1)?))..).next()
        });
        let (network, _) = *later.or_else(|| self.waiting.first())?;
        if self.asked.len() >= QUERIES {
            return None;
        }
        self.last = Some(network);
        let of_it = self.waiting.range(first_of(network)..).take_while(|(of, _)| *of == network);
        let macs: Vec<Mac> = of_it.take(QUERY_KEYS).map(|(_, mac)| *mac).collect();
        for mac in &macs {
            self.waiting.remove(&(network, *mac));
            self.pending.insert((network, *mac));
        }
        self.counts.asked += macs.len() as u64;
        self.next_id += 1;
        self.asked.insert(self.next_id, (network, macs.clone()));
        Some(Up::FindMacs { id: self.next_id, network, macs })
    }

    /// The answer to a question: what somebody has. `None`: nobody asked.
    pub(super) fn answered(
        &mut self,
        id: u64,
        found: Vec<FoundMac>,
        negative_lifetime_ms: u32,
        now_ms: u64,
    ) -> Option<(Network, Vec<FoundMac>)> {
        let (network, macs) = self.asked.remove(&id)?;
        macs.iter().for_each(|mac| _ = self.pending.remove(&(network, *mac)));
        let found: Vec<FoundMac> = found.into_iter().filter(|one| macs.contains(&one.mac)).collect();
        self.counts.found += found.len() as u64;
        let until_ms = now_ms + u64::from(negative_lifetime_ms).min(NOBODY_MS);
        for mac in macs.into_iter().filter(|mac| found.iter().all(|one| one.mac != *mac)) {
            if self.nobody.len() >= NOBODY {
                self.nobody.retain(|_, until_ms| now_ms < *until_ms);
            }
            if self.nobody.len() < NOBODY {
                self.nobody.insert((network, mac), until_ms);
            }
        }
        Some((network, found))
    }

    /// What came of it.
    pub(super) fn counts(&self) -> MacCounts {
        self.counts
    }

    /// The session ended: nobody answers what was asked.
    pub(super) fn end(&mut self) {
        self.waiting.clear();
        self.pending.clear();
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u64) -> Mac {
        Mac::from_bits(2 << 40 | n).unwrap()
    }

    fn asked(finds: &mut Finds) -> Option<(u64, Network, usize)> {
        match finds.next()? {
            Up::FindMacs { id, network, macs } => Some((id, network, macs.len())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_tenants_mac_address_is_not_asked_for() {
        let mut finds = Finds::default();
        for odd in [Mac::ZERO, Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 1])] {
            finds.seek(((1, 100), odd), 0);
            assert_eq!(asked(&mut finds), None, "{odd}");
        }
    }

    #[test]
    fn a_mac_address_is_asked_for_once_at_a_time_and_what_nobody_has_not_again_at_once() {
        let mut finds = Finds::default();
        (0..3).for_each(|_| finds.seek(((1, 100), mac(1)), 0));
        finds.seek(((1, 101), mac(1)), 0);
        assert_eq!((asked(&mut finds), asked(&mut finds)), (Some((1, (1, 100), 1)), Some((2, (1, 101), 1))));
        finds.seek(((1, 100), mac(1)), 0);
        assert_eq!(asked(&mut finds), None);
        let found = |n| vec![FoundMac { mac: mac(n), identifiers: vec![7] }];
        // What was not asked for is not heard.
        assert_eq!(finds.answered(1, found(2), 2_000, 10), Some(((1, 100), Vec::new())));
        assert_eq!(finds.answered(1, found(1), 2_000, 10), None);
        assert_eq!(finds.answered(2, found(1), 2_000, 10), Some(((1, 101), found(1))));
        for (now_ms, is_asked) in [(2_009, false), (2_010, true)] {
            finds.seek(((1, 100), mac(1)), now_ms);
            assert_eq!(asked(&mut finds).is_some(), is_asked);
        }
        finds.seek(((1, 101), mac(1)), 11);
        assert!(asked(&mut finds).is_some());
    }

    #[test]
    fn networks_take_turns_with_questions() {
        let mut finds = Finds::default();
        (0..200).for_each(|n| finds.seek(((1, 100), mac(n)), 0));
        finds.seek(((1, 101), mac(1)), 0);
        finds.seek(((2, 7), mac(1)), 0);
        let asked: Vec<(Network, usize)> =
            std::iter::from_fn(|| asked(&mut finds)).map(|(_, network, count)| (network, count)).collect();
        let first = ((1, 100), QUERY_KEYS);
        assert_eq!(
            asked,
            [first, ((1, 101), 1), ((2, 7), 1), first, first, ((1, 100), 200 - 3 * QUERY_KEYS)]
        );
    }

    #[test]
    fn questions_are_bounded_whatever_tenants_ask() {
        let mut finds = Finds::default();
        (0..100_000).for_each(|n| finds.seek(((1, 100), mac(n)), 0));
        assert_eq!(finds.waiting.len(), WAITING);
        let questions: Vec<_> = std::iter::from_fn(|| asked(&mut finds)).collect();
        assert_eq!((questions.len(), finds.waiting.len()), (QUERIES, WAITING - QUERIES * QUERY_KEYS));
        for n in 0..200 {
            (0..1_000).for_each(|more| finds.seek(((1, 100), mac(n * 1_000 + more)), n));
            let first = *finds.asked.first_key_value().unwrap().0;
            assert!(finds.answered(first, Vec::new(), u32::MAX, n).is_some());
            while asked(&mut finds).is_some() {}
        }
        assert!(finds.nobody.len() <= NOBODY);
        finds.end();
        assert_eq!((finds.waiting.len(), finds.asked.len()), (0, 0));
    }
}
