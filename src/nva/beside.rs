//! What NVEs see that were changed last, as it was judged: so that one more attachment is judged by itself and not with
//! all of its NVE.
//!
//! It is a cache of what is durable. What cannot be judged by itself is forgotten, and judged as a whole by the
//! [catalogue](super::catalogue).

use crate::config::{Entry, Judged, ObjectName};
use crate::ila::Locator;
use std::collections::HashMap;

/// Attachments in all that are kept judged.
const MAX_ATTACHMENTS: usize = 32_768;

/// One NVE.
#[derive(Debug)]
struct Known {
    locators: HashMap<Locator, u64>,
    judged: Judged,
}

/// NVEs that were judged, by name.
#[derive(Debug, Default)]
pub(super) struct Beside(HashMap<String, Known>);

impl Beside {
    /// An NVE with these locators was judged, with something that is not durable yet: what is so named is `durable`.
    pub(super) fn keep(
        &mut self,
        (nve, locators): (&str, &HashMap<Locator, u64>),
        mut judged: Judged,
        (name, durable): (&ObjectName, Option<&Entry>),
    ) {
        if !judged.set(name, durable) {
            return;
        }
        let others = self.0.values().map(|known| known.judged.len()).sum::<usize>();
        if others + judged.len() > MAX_ATTACHMENTS {
            self.0.clear();
        }
        self.0.insert(nve.to_owned(), Known { locators: locators.clone(), judged });
    }

    /// Whether an attachment breaks no rule beside the others of its NVE, where its network has attachments already.
    /// `before` is what is durable by this name. `false`: nothing is known of that.
    pub(super) fn admits(
        &mut self,
        (nve, locators): (&str, &HashMap<Locator, u64>),
        (name, entry): (&ObjectName, &Entry),
        before: Option<&Entry>,
    ) -> bool {
        let Some(known) = self.0.get_mut(nve).filter(|known| known.locators == *locators) else {
            return false;
        };
        let is_good = known.judged.set(name, Some(entry));
        if !is_good || !known.judged.set(name, before) {
            self.0.remove(nve);
        }
        is_good
    }

    /// An attachment is durable, or gone.
    pub(super) fn set(&mut self, nve: &str, name: &ObjectName, entry: Option<&Entry>) {
        if self.0.get_mut(nve).is_some_and(|known| !known.judged.set(name, entry)) {
            self.0.remove(nve);
        }
    }

    /// A network, a policy or a rule is another one.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
