//! A registry that was restored from a backup may lack what was registered after the backup was made.
//!
//! Until those who register said what they have, nobody gets an identifier that it did not have before: it could be
//! another one's. Who says with which sequence it had an identifier has it again at once.

use super::model::{Key, Nve};
use std::collections::{BTreeSet, HashMap};

/// NVEs that the text of a refusal names.
const NAMED: usize = 3;

/// What a restored registry waits for.
#[derive(Debug)]
pub struct Restoration {
    pub(super) since_ms: u64,
    /// NVEs that may register and did not say yet that this is all that they have.
    waits_for: BTreeSet<String>,
}

impl Restoration {
    pub(super) fn new(nves: &HashMap<String, Nve>, since_ms: u64) -> Self {
        let registers = nves.iter().filter(|(_, nve)| !nve.locators.is_empty());
        Restoration { since_ms, waits_for: registers.map(|(name, _)| name.clone()).collect() }
    }

    /// NVEs that it waits for.
    pub fn waits_for(&self) -> impl ExactSizeIterator<Item = &str> {
        self.waits_for.iter().map(String::as_str)
    }

    /// Whether it waits for this NVE.
    pub(super) fn awaits(&self, nve: &str) -> bool {
        self.waits_for.contains(nve)
    }

    /// Everything that an NVE has was registered.
    pub(super) fn completed(&mut self, nve: &str) {
        self.waits_for.remove(nve);
    }

    /// There are other NVEs now.
    pub(super) fn reconfigure(&mut self, nves: &HashMap<String, Nve>) {
        self.waits_for.retain(|nve| nves.get(nve).is_some_and(|nve| !nve.locators.is_empty()));
    }

    /// Why an identifier is refused that the NVE does not say it had.
    pub(super) fn why_not(&self, key: Key) -> String {
        let mut names: Vec<&str> = self.waits_for().take(NAMED).collect();
        let others = format!("{} others", self.waits_for.len().saturating_sub(NAMED));
        if self.waits_for.len() > NAMED {
            names.push(&others);
        }
        format!(
            "the registry was restored from a backup and may lack who has {key}: it waits for {} to register what \
             they have; `ilactl nva resume` ends that",
            names.join(", ")
        )
    }
}
