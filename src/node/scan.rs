//! Asks hosts whether they still have the addresses that are bound to them (VMM draft §4.2, §10): at a pace, a few times
//! each, and tells whose addresses nobody answers for.
//!
//! It has no clock, no table and no socket: the control thread feeds it.

use crate::table::AttachmentKey;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// An attachment and an address that is bound to it.
pub type Binding = (AttachmentKey, IpAddr);

/// Questions before nobody answers.
const QUESTIONS: u8 = 3;
/// Time between two of them.
const AGAIN_MS: u64 = 1_000;
/// Bindings that are asked for at once, at most; those beyond are in a later round.
const ROOM: usize = 65_536;
/// Thousandths of a question.
const ONE: u64 = 1_000;

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nobody answers for it.
    Silent(Binding),
    /// Somebody answers again.
    Answers(Binding),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    asked: u8,
    due_ms: u64,
}

/// Who is asked, and for whose addresses nobody answered last.
#[derive(Debug, Default)]
pub struct Scan {
    open: BTreeMap<Binding, Open>,
    due: BTreeSet<(u64, Binding)>,
    silent: BTreeSet<Binding>,
    credit: u64,
    last_ms: u64,
}

impl Scan {
    /// Begins to ask for these, but for those that are being asked for.
    pub fn begin(&mut self, bindings: impl IntoIterator<Item = Binding>, now_ms: u64) {
        for binding in bindings {
            if self.open.len() < ROOM && !self.open.contains_key(&binding) {
                self.open.insert(binding, Open { asked: 0, due_ms: now_ms });
                self.due.insert((now_ms, binding));
            }
        }
    }

    /// Time has passed. Gives whom to ask now, at most `per_second`, and what was found.
    #[must_use]
    pub fn step(&mut self, now_ms: u64, per_second: u32) -> (Vec<Binding>, Vec<Finding>) {
        let passed_ms = now_ms.saturating_sub(self.last_ms);
        self.last_ms = now_ms;
        // What a tenth of a second allows may be asked at once.
        let most = (u64::from(per_second) * ONE / 10).max(ONE);
        self.credit = self.credit.saturating_add(passed_ms.saturating_mul(u64::from(per_second))).min(most);
        let (mut ask, mut found) = (Vec::new(), Vec::new());
        while let Some((due_ms, binding)) = self.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms)
        {
            let Some(open) = self.open.get_mut(&binding) else { break };
            if open.asked == QUESTIONS {
                self.close(binding);
                if self.silent.insert(binding) {
                    found.push(Finding::Silent(binding));
                }
                continue;
            }
            let Some(credit) = self.credit.checked_sub(ONE) else { break };
            self.credit = credit;
            *open = Open { asked: open.asked + 1, due_ms: now_ms + AGAIN_MS };
            self.due.remove(&(due_ms, binding));
            self.due.insert((now_ms + AGAIN_MS, binding));
            ask.push(binding);
        }
        (ask, found)
    }

    /// Somebody answers for it.
    pub fn answered(&mut self, binding: Binding) -> Option<Finding> {
        self.close(binding);
        self.silent.remove(&binding).then_some(Finding::Answers(binding))
    }

    /// Forgets attachments that are not there any more, as `is_there` says.
    pub fn retain(&mut self, is_there: impl Fn(&Binding) -> bool) {
        self.silent.retain(|binding| is_there(binding));
        let gone: Vec<Binding> = self.open.keys().filter(|binding| !is_there(binding)).copied().collect();
        gone.into_iter().for_each(|binding| self.close(binding));
    }

    /// The addresses of an attachment that nobody answers for.
    pub fn silent(&self, at: AttachmentKey) -> impl Iterator<Item = IpAddr> + '_ {
        let first = IpAddr::from([0; 4]);
        let of_it = self.silent.range((at, first)..).take_while(move |(key, _)| *key == at);
        of_it.map(|(_, address)| *address)
    }

    /// Whether nobody is asked and nobody was silent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn close(&mut self, binding: Binding) {
        if let Some(open) = self.open.remove(&binding) {
            self.due.remove(&(open.due_ms, binding));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mac;
    use crate::table::PortId;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn binding(n: u32) -> Binding {
        let mac = Mac([2, 0, 0, 0, (n >> 8) as u8, n as u8]);
        (AttachmentKey { port: PortId(1), vlan: 0, mac }, IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)))
    }

    #[test]
    fn a_host_is_asked_three_times_a_second_apart_and_its_silence_is_told_once() {
        let mut scan = Scan::default();
        for round in 0..2u64 {
            let begin = round * 10_000;
            scan.begin([binding(1), binding(1)], begin);
            let mut asked = Vec::new();
            let mut found = Vec::new();
            for now_ms in begin..begin + 5_000 {
                let (ask, now) = scan.step(now_ms, 100);
                asked.extend(ask.iter().map(|_| now_ms - begin));
                found.extend(now.into_iter().map(|finding| (now_ms - begin, finding)));
            }
            assert_eq!(asked.len(), 3);
            assert!(asked.windows(2).all(|pair| pair[1] - pair[0] == AGAIN_MS));
            let told = if round == 0 { vec![Finding::Silent(binding(1))] } else { vec![] };
            assert_eq!(found.into_iter().map(|(_, finding)| finding).collect::<Vec<_>>(), told);
            assert!(scan.is_idle());
            assert_eq!(scan.silent(binding(1).0).collect::<Vec<_>>(), [binding(1).1]);
        }
        assert_eq!(scan.answered(binding(1)), Some(Finding::Answers(binding(1))));
        assert_eq!((scan.answered(binding(1)), scan.silent(binding(1).0).count()), (None, 0));
    }

    #[test]
    fn who_answers_is_not_asked_again_and_who_is_gone_is_forgotten() {
        let mut scan = Scan::default();
        scan.begin([binding(1), binding(2)], 0);
        assert_eq!(scan.step(1_000, 100).0, [binding(1), binding(2)]);
        assert_eq!(scan.answered(binding(1)), None);
        assert_eq!(scan.step(2_000, 100).0, [binding(2)]);
        scan.retain(|(key, _)| *key != binding(2).0);
        assert_eq!(scan.step(9_000, 100), (vec![], vec![]));
        assert!(scan.is_idle());
    }

    proptest! {
        #[test]
        fn no_more_is_asked_than_the_pace_whatever_the_number_of_hosts(
            hosts in 1u32..500, per_second in 1u32..300, steps in prop::collection::vec(1u64..400, 1..100),
        ) {
            let mut scan = Scan::default();
            scan.begin((0..hosts).map(binding), 0);
            let (mut now_ms, mut asked) = (0, 0u64);
            for passed_ms in steps {
                now_ms += passed_ms;
                asked += scan.step(now_ms, per_second).0.len() as u64;
                let most = (u64::from(per_second) / 10).max(1) + now_ms * u64::from(per_second) / 1_000 + 1;
                prop_assert!(asked <= most, "{asked} {most}");
            }
        }
    }
}
