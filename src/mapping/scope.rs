//! A part of all mappings: those that a node follows, or an ILA router among several.

/// Scopes of one node, at most.
pub const MAX_SCOPES: usize = 64;

/// The identifiers from `first` to `last` of one SIR domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Upper 64 bits of SIR addresses.
    pub sir_prefix: u64,
    /// The lowest identifier.
    pub first: u64,
    /// The highest one.
    pub last: u64,
}

/// What a node follows: everything, or what is in one of its scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// What is in one of these; everything if there are none. Those that overlap become one.
    #[must_use]
    pub fn new(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup_by(|later, earlier| {
            let follows = earlier.last.checked_add(1).is_none_or(|next| later.first <= next);
            let joins = later.sir_prefix == earlier.sir_prefix && follows;
            if joins {
                earlier.last = earlier.last.max(later.last);
            }
            joins
        });
        Scopes(scopes)
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order, none next to another.
    #[must_use]
    pub fn list(&self) -> &[Scope] {
        &self.0
    }

    /// Whether an identifier of a SIR domain is in one.
    #[must_use]
    pub fn holds(&self, sir_prefix: u64, identifier: u64) -> bool {
        let next =
            self.0.partition_point(|scope| (scope.sir_prefix, scope.first) <= (sir_prefix, identifier));
        let found = next.checked_sub(1).and_then(|at| self.0.get(at));
        self.is_everything()
            || found.is_some_and(|scope| scope.sir_prefix == sir_prefix && identifier <= scope.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope((sir_prefix, first, last): (u64, u64, u64)) -> Scope {
        Scope { sir_prefix, first, last }
    }

    #[test]
    fn scopes_that_touch_are_one() {
        let scopes =
            Scopes::new([(1, 5, 9), (1, 0, 4), (2, 0, u64::MAX), (2, 7, 8), (1, 11, 12)].map(scope).into());
        assert_eq!(scopes.list(), [(1, 0, 9), (1, 11, 12), (2, 0, u64::MAX)].map(scope));
        assert!(Scopes::default().is_everything() && Scopes::default().holds(7, 7));
    }

    proptest! {
        #[test]
        fn what_is_in_one_of_the_scopes_is_in_them(
            raw in proptest::collection::vec((0..3_u64, 0..20_u64, 0..20_u64), 1..8),
            (sir_prefix, identifier) in (0..3_u64, 0..20_u64),
        ) {
            let all: Vec<Scope> = raw.iter().map(|(sir, a, b)| scope((*sir, *a.min(b), *a.max(b)))).collect();
            let inside = |one: &Scope| one.sir_prefix == sir_prefix && (one.first..=one.last).contains(&identifier);
            let expected = all.iter().any(inside);
            prop_assert_eq!(Scopes::new(all).holds(sir_prefix, identifier), expected);
        }
    }
}
