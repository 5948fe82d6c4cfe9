//! What the mappings add up to that the authority tells: kept with each of them, and compared with the authority's now and
//! then.

use super::Rib;
use super::actions::Goal;
use crate::ila::Identifier;
use crate::mapping::{Digest, MappingTarget, Origin, Parts, part_of};
use crate::table::ActionId;

impl Rib {
    /// A mapping of the authority was replaced; action 0 and none stand for no mapping.
    pub(super) fn note_told(
        &mut self,
        domain: u8,
        identifier: Identifier,
        before: Option<ActionId>,
        after: ActionId,
    ) {
        let Rib { domains, actions, .. } = self;
        let Some(domain) = domains.get_mut(usize::from(domain)) else { return };
        let choices = |action| match &actions.key(action)?.goal {
            Goal::Mapping(MappingTarget::Locators(choices)) | Goal::Group(choices) => {
                Some(choices.as_slice())
            }
            Goal::Mapping(MappingTarget::Blackhole) | Goal::Local(_) => None,
        };
        if let Some(choices) = before.and_then(choices) {
            domain.digest.remove(identifier, choices);
        }
        if let Some(choices) = choices(after) {
            domain.digest.add(identifier, choices);
        }
    }

    /// The digest of what the authority told of each domain, by SIR prefix.
    #[must_use]
    pub fn digests(&self) -> Vec<(u64, Digest)> {
        self.domains.iter().map(|domain| (domain.config.prefix.0, domain.digest.clone())).collect()
    }

    /// What is held of the authority in these parts: SIR prefix and identifier.
    #[must_use]
    pub fn held_in(&self, parts: &Parts) -> Vec<(u64, Identifier)> {
        let is_wanted = |sir: u64, identifier| parts.contains(&(sir, part_of(Identifier(identifier))));
        let is_told = |action| self.actions.key(action).is_some_and(|key| key.origin == Origin::Nva);
        let mut held = Vec::new();
        for domain in &self.domains {
            let sir = domain.config.prefix.0;
            let own = domain
                .mappings
                .iter()
                .filter(|(identifier, action)| is_wanted(sir, *identifier) && is_told(*action));
            held.extend(own.map(|(identifier, _)| (sir, Identifier(identifier))));
        }
        for (domain, identifier, origin) in self.shadowed.iter() {
            let Some(domain) = self.domains.get(usize::from(domain)) else { continue };
            let sir = domain.config.prefix.0;
            if origin == Origin::Nva && is_wanted(sir, identifier) {
                held.push((sir, Identifier(identifier)));
            }
        }
        held
    }
}
