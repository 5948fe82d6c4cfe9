//! What limits registrations besides who has what: whose locators an NVE names, how many identifiers it and a network may
//! have, and what goes to and fro.

use super::{Draft, FreezeRules, Quotas, RELEASED, Refusal, Registry};
use crate::nva::flaps::Frozen;
use crate::nva::model::{Choice, Key, MAX_LOCATORS};
use std::collections::BTreeSet;

impl Registry {
    /// The same, and networks have no more identifiers than these, and what goes to and fro is frozen by these rules.
    #[must_use]
    pub fn with_limits(mut self, quotas: Quotas, freeze: FreezeRules) -> Self {
        self.quotas = quotas;
        self.flaps.judge_by(freeze);
        self
    }

    /// Whether an identifier is frozen where it is.
    #[must_use]
    pub fn is_frozen(&self, key: Key) -> bool {
        self.flaps.is_frozen(key)
    }

    /// How many are.
    #[must_use]
    pub fn frozen_count(&self) -> usize {
        self.flaps.count()
    }

    /// What was frozen since the last call, and where.
    pub(in crate::nva) fn take_frozen(&mut self) -> Vec<(Key, String)> {
        std::mem::take(&mut self.newly_frozen)
    }

    /// Lets a frozen identifier go. Gives its sequence and the revision.
    ///
    /// # Errors
    /// It is not frozen.
    pub(in crate::nva) fn unfreeze(&mut self, key: Key) -> Result<(u64, u64), String> {
        let sequence = self.record(key).map_or(0, |record| record.sequence);
        match self.flaps.unfreeze(key) {
            Some(_) => Ok((sequence, self.revision)),
            None => Err(format!("{key} is not frozen here; `ilactl nva records --sir` shows what is")),
        }
    }

    /// Time has passed.
    pub(in crate::nva) fn tick(&mut self, now_ms: u64) {
        self.flaps.tick(now_ms);
    }

    /// How many identifiers a virtual network has, and how many it may have.
    #[must_use]
    pub fn count_in(&self, sir_prefix: u64, vnid: u32) -> (usize, Option<usize>) {
        (self.networks.count((sir_prefix, vnid)), self.quotas.of((sir_prefix, vnid)))
    }

    /// Whether an identifier is not frozen at another NVE.
    pub(super) fn may_come(&self, nve: &str, key: Key, now_ms: u64) -> Result<(), Refusal> {
        let frozen = self.flaps.frozen(key, now_ms).filter(|frozen| frozen.owner != nve);
        let Some(Frozen { owner, until_ms }) = frozen else { return Ok(()) };
        let left_ms = until_ms - now_ms;
        let why = format!(
            "{key} went from one NVE to another too often and is frozen at {owner} for another {left_ms} ms: detach it \
             at one of them, and `ilactl nva unfreeze {key}`"
        );
        Err(Refusal { owner: Some(owner.clone()), sequence: 0, why, temporary: false })
    }

    /// Whether an NVE may have one identifier more.
    pub(super) fn may_have_more(&self, draft: &Draft, nve: &str, key: Key) -> Result<(), Refusal> {
        let most = self.nves.get(nve).map_or(0, |own| own.max_identifiers);
        let held = self.held.get(nve).map_or(0, BTreeSet::len);
        let released = self.tombstones.count_of(nve);
        let is_own = self.records.get(&key).is_some_and(|record| record.owner == nve);
        if !is_own && released >= most.saturating_add(RELEASED) {
            let why =
                format!("{nve} released {released} identifiers that are kept for it; try {key} again later");
            return Err(Refusal { owner: None, sequence: 0, why, temporary: true });
        }
        // What is on its way there has its room already.
        let coming = self.moves.coming_to(nve);
        if (held + coming).saturating_add_signed(draft.more.get(nve).copied().unwrap_or(0)) < most {
            return Ok(());
        }
        let why = format!(
            "{key} would be more than the {most} identifiers that {nve} may have, with those on their way there; release \
             some, or raise nves[].max_identifiers at the authority"
        );
        Err(Refusal { owner: None, sequence: 0, why, temporary: false })
    }

    /// Whether the network of an identifier may have one more.
    pub(super) fn network_may_have_more(&self, draft: &Draft, key: Key) -> Result<(), Refusal> {
        let Some(network) = key.network() else { return Ok(()) };
        let Some(most) = self.quotas.of(network) else { return Ok(()) };
        let more = draft.more_in.get(&network).copied().unwrap_or(0);
        if self.networks.count(network).saturating_add_signed(more) < most {
            return Ok(());
        }
        let why = format!(
            "{key} would be more than the {most} identifiers that VNID {} may have; release some, or raise quotas at \
             the authority",
            network.1
        );
        Err(Refusal { owner: None, sequence: 0, why, temporary: false })
    }

    /// Whether the NVE may claim a key at these locators.
    pub(super) fn may_claim(&self, nve: &str, key: Key, choices: &[Choice]) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal { owner: None, sequence: 0, why, temporary: false });
        if !key.is_mappable() {
            return refuse(format!(
                "{key} is no identifier that has a mapping: a task's or a tenant's unicast address, C-bit 0"
            ));
        }
        if choices.is_empty() || choices.len() > MAX_LOCATORS {
            return refuse(format!("{} locators; name 1 to {MAX_LOCATORS}", choices.len()));
        }
        for (n, choice) in choices.iter().enumerate() {
            let locator = choice.locator;
            if !(1..=1000).contains(&choice.weight) {
                return refuse(format!("weight {} of {locator}; write 1 to 1000", choice.weight));
            }
            if choices[..n].iter().any(|other| other.locator == locator) {
                return refuse(format!("{locator} is named twice"));
            }
            match self.domain_of(nve, locator, key.sir_prefix) {
                None => return refuse(format!("{locator} is not a locator of {nve}")),
                Some(sir_prefix) if sir_prefix != key.sir_prefix => {
                    return refuse(format!("{locator} belongs to another SIR domain than {key}"));
                }
                Some(_) => {}
            }
        }
        // What an NVE had before an operator made the network or the attachment, it keeps.
        let had = self.records.get(&key).is_some_and(|record| record.is_held() && record.owner == nve);
        match self.catalogue.denies(nve, key).filter(|_| !had) {
            Some(why) => refuse(why),
            None => Ok(()),
        }
    }
}
