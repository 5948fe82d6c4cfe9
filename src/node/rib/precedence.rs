//! Precedence among mappings of one identifier: the highest origin's is in force and shadows the others. When
//! it goes, the next one comes into force.
//!
//! The lookup tables hold what is in force. The shadowed mappings, which are few, stand here.

use super::Rib;
use crate::ila::Identifier;
use crate::mapping::Origin;
use crate::table::ActionId;
use std::collections::BTreeMap;

/// Shadowed mappings by domain, identifier and origin.
#[derive(Debug, Default)]
pub(super) struct Shadowed(BTreeMap<(u8, u64, Origin), ActionId>);

impl Shadowed {
    /// Notes a shadowed mapping, or forgets it with action 0. Returns the action that was there.
    fn set(&mut self, domain: u8, identifier: u64, origin: Origin, action: ActionId) -> Option<ActionId> {
        match action {
            ActionId(0) => self.0.remove(&(domain, identifier, origin)),
            action => self.0.insert((domain, identifier, origin), action),
        }
    }

    fn of(&self, domain: u8, identifier: u64) -> impl DoubleEndedIterator<Item = (Origin, ActionId)> + '_ {
        let all = (domain, identifier, Origin::LOWEST)..=(domain, identifier, Origin::HIGHEST);
        self.0.range(all).map(|((_, _, origin), action)| (*origin, *action))
    }

    /// All shadowed mappings.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, u64, Origin)> + '_ {
        self.0.keys().copied()
    }
}

impl Rib {
    /// Every mapping of an identifier with its origin, the one in force first.
    pub(super) fn by_precedence(
        &self,
        domain: u8,
        identifier: u64,
    ) -> impl Iterator<Item = (Origin, ActionId)> + '_ {
        let held = self.domains.get(usize::from(domain));
        let force = held.and_then(|domain| domain.mappings.table().lookup(identifier));
        let force = force.and_then(|action| Some((self.actions.key(action)?.origin, action)));
        force.into_iter().chain(self.shadowed.of(domain, identifier).rev())
    }

    /// The origins of every mapping of an identifier, the one in force first.
    pub(super) fn origins(&self, domain: u8, identifier: Identifier) -> impl Iterator<Item = Origin> + '_ {
        self.by_precedence(domain, identifier.0).map(|(origin, _)| origin)
    }

    /// Applies the change of one origin to the mappings of an identifier; action 0 deletes the origin's
    /// mapping.
    ///
    /// Returns the action to write into the lookup table, if that changes (0: the identifier has no mapping
    /// any more), and the action that the change replaced.
    pub(super) fn settle(
        &mut self,
        domain: u8,
        identifier: u64,
        origin: Origin,
        action: ActionId,
    ) -> (Option<ActionId>, Option<ActionId>) {
        let force = self.by_precedence(domain, identifier).next();
        match force {
            None if action.0 == 0 => (None, None),
            None => (Some(action), None),
            Some((holder, before)) if holder == origin => {
                let next = match action {
                    ActionId(0) => self.shadowed.of(domain, identifier).next_back(),
                    // Equal data, which the authority sends at each new session, writes nothing.
                    action if action == before => return (None, Some(before)),
                    action => return (Some(action), Some(before)),
                };
                if let Some((origin, next)) = next {
                    self.shadowed.set(domain, identifier, origin, ActionId(0));
                    return (Some(next), Some(before));
                }
                (Some(action), Some(before))
            }
            Some((holder, before)) if holder < origin && action.0 != 0 => {
                self.shadowed.set(domain, identifier, holder, before);
                (Some(action), None)
            }
            Some((holder, _)) if holder < origin => (None, None),
            Some(_) => (None, self.shadowed.set(domain, identifier, origin, action)),
        }
    }
}
