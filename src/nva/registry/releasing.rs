//! Releases of identifiers: by the NVE that has them, and by operators.

use super::{Draft, Record, Refusal, Registry, owner_of};
use crate::nva::model::Key;

impl Registry {
    /// Judges a release and adds it to the draft. Releasing what nobody has is no error.
    ///
    /// # Errors
    /// An identifier of another owner.
    pub fn unregister(&self, draft: &mut Draft, nve: &str, key: Key) -> Result<u64, Refusal> {
        match self.seen(draft, key) {
            None => Ok(self.revision),
            // It has it no longer, and need not say so.
            Some(record) if record.owner != nve && self.moves.has_left(nve, key) => Ok(record.sequence),
            // Its group decides who has it.
            Some(record) if self.is_grouped(nve, key) => Ok(record.sequence),
            Some(record) if record.owner != nve => {
                let why = format!("{key} is registered by {}, which alone can release it", record.owner);
                Err(Refusal {
                    owner: Some(record.owner.to_string()),
                    sequence: record.sequence,
                    why,
                    temporary: false,
                })
            }
            Some(record) if !record.is_held() => Ok(record.sequence),
            // It may not have heard yet that it has it again.
            Some(record) if self.is_brought(nve, key) => Err(Refusal {
                owner: Some(record.owner.to_string()),
                sequence: record.sequence,
                why: format!(
                    "{key} came to {nve} by a move that is not over; delete its attachment there, or try again once it is"
                ),
                temporary: true,
            }),
            Some(_) => {
                let sequence = self.next_sequence(key);
                draft.count(nve, key, -1);
                let owner = owner_of(&self.held, nve);
                let none = Record { choices: Vec::new(), owner, sequence, mac: None, since: sequence };
                draft.writes.insert(key, none);
                Ok(sequence)
            }
        }
    }

    /// Judges the release of an identifier by an operator, whoever has it, and adds it to the draft.
    ///
    /// # Errors
    /// Nobody has it.
    pub fn release(&self, draft: &mut Draft, key: Key) -> Result<u64, Refusal> {
        match self.seen(draft, key).map(|record| record.owner.clone()) {
            Some(owner) if self.seen(draft, key).is_some_and(Record::is_held) => {
                self.is_released_alone(key)?;
                self.unregister(draft, &owner, key)
            }
            owner => Err(Refusal {
                owner: owner.as_deref().map(str::to_owned),
                sequence: 0,
                why: format!("{key} is not registered; `ilactl nva records` lists what is"),
                temporary: false,
            }),
        }
    }
}
