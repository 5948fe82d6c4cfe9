//! Addresses that an NVE asks for, because the tenant of an attachment asks by RARP and is to get them: which are asked for,
//! and which were refused a moment ago.
//!
//! What is answered by yes comes as a change of the attachment, and is not kept here.

use super::message::Up;
use std::collections::BTreeMap;

/// Requests that wait for their answers, at most. Tenants ask again.
const ASKED: usize = 64;
/// Refusals that are kept in mind, at most.
const REFUSED: usize = 4_096;
/// Pause before what was refused is asked for again: what may pass soon, and what an operator has to change.
const AGAIN_MS: (u64, u64) = (1_000, 10_000);

/// What came of requests for addresses since the start, as an NVE counts its own, or an authority those of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressCounts {
    /// Requests that were answered by yes; at the authority, those that changed something.
    pub allocated: u64,
    /// Requests that it refused.
    pub refused: u64,
}

#[derive(Debug)]
struct Refused {
    again_ms: u64,
    why: String,
}

/// The requests of one NVE.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// By number; the attachment of each.
    asked: BTreeMap<u64, String>,
    refused: BTreeMap<String, Refused>,
    counts: AddressCounts,
}

impl Addresses {
    /// The tenant of an attachment asks. What is asked for already, what was refused a moment ago, and what there is no room
    /// for is not asked for.
    pub(super) fn ask(
        &mut self,
        attachment: String,
        now_ms: u64,
        next_id: impl FnOnce() -> u64,
    ) -> Option<Up> {
        let is_refused = self.refused.get(&attachment).is_some_and(|refused| now_ms < refused.again_ms);
        if is_refused || self.asked.len() >= ASKED || self.asked.values().any(|other| *other == attachment) {
            return None;
        }
        let id = next_id();
        self.asked.insert(id, attachment.clone());
        Some(Up::AllocateAddress { id, attachment })
    }

    /// The authority says yes to a request. Gives whether it was one of these.
    pub(super) fn allocated(&mut self, answered: u64) -> bool {
        let Some(attachment) = self.asked.remove(&answered) else { return false };
        self.refused.remove(&attachment);
        self.counts.allocated += 1;
        true
    }

    /// The authority says no to a request. Gives the attachment if it was one of these, and whether it is refused for another
    /// reason than before.
    pub(super) fn refused(
        &mut self,
        answered: u64,
        why: &str,
        temporary: bool,
        now_ms: u64,
    ) -> Option<(String, bool)> {
        let attachment = self.asked.remove(&answered)?;
        self.counts.refused += 1;
        if self.refused.len() >= REFUSED {
            self.refused.retain(|_, refused| now_ms < refused.again_ms);
        }
        let again_ms = now_ms + if temporary { AGAIN_MS.0 } else { AGAIN_MS.1 };
        let is_new = self.refused.get(&attachment).is_none_or(|before| before.why != why);
        if self.refused.len() < REFUSED {
            self.refused.insert(attachment.clone(), Refused { again_ms, why: why.to_owned() });
        }
        Some((attachment, is_new))
    }

    /// The session ended: nobody answers what was asked, and another authority may say yes.
    pub(super) fn end(&mut self) {
        self.asked.clear();
        self.refused.values_mut().for_each(|refused| refused.again_ms = 0);
    }

    /// What came of it.
    pub(super) fn counts(&self) -> AddressCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(addresses: &mut Addresses, attachment: &str, now_ms: u64, id: u64) -> bool {
        addresses.ask(attachment.to_owned(), now_ms, || id).is_some()
    }

    #[test]
    fn an_attachment_is_asked_for_once_at_a_time_and_a_refusal_counts_for_a_while() {
        let mut addresses = Addresses::default();
        assert!(asks(&mut addresses, "vm1", 0, 1) && !asks(&mut addresses, "vm1", 0, 2));
        assert!(asks(&mut addresses, "vm2", 0, 3));
        assert!(addresses.allocated(1) && !addresses.allocated(1));
        assert_eq!(addresses.refused(3, "full", false, 100), Some(("vm2".to_owned(), true)));
        assert!(!asks(&mut addresses, "vm2", 10_099, 4) && asks(&mut addresses, "vm2", 10_100, 4));
        // The same reason is no news.
        assert_eq!(addresses.refused(4, "full", true, 10_100), Some(("vm2".to_owned(), false)));
        assert!(!asks(&mut addresses, "vm2", 11_099, 5) && asks(&mut addresses, "vm2", 11_100, 5));
        assert_eq!(addresses.refused(9, "full", true, 0), None);
        assert_eq!(addresses.counts(), AddressCounts { allocated: 1, refused: 2 });
        // What was not answered, and what was refused, is asked for again in the next session.
        addresses.end();
        assert!(asks(&mut addresses, "vm2", 11_101, 6));
    }

    #[test]
    fn what_waits_and_what_is_kept_in_mind_is_bounded() {
        let mut addresses = Addresses::default();
        for n in 0..10_000_u64 {
            let asked = asks(&mut addresses, &format!("vm{n}"), n, n);
            assert_eq!(asked, n < 64);
        }
        for n in 0..10_000_u64 {
            let first = addresses.asked.first_key_value().map(|(id, _)| *id).unwrap();
            assert!(addresses.refused(first, "full", false, n).is_some());
            assert!(asks(&mut addresses, &format!("other{n}"), n, 1_000_000 + n));
        }
        assert!(addresses.refused.len() <= REFUSED && addresses.asked.len() == ASKED);
    }
}
