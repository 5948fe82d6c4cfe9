//! What was refused of tenants as far as it tells of abuse: one counter for each kind and tenant.

use super::counters::Count;
use crate::table::LimitKind;
use std::sync::Arc;

/// Why tenants' packets were refused, as far as it tells of abuse: one counter each by tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// More of a kind than its limit lets through.
    Over(LimitKind),
    /// Spoke for somebody else, or as only the node may.
    Spoofed,
    /// Anything while it was under quarantine.
    Quarantined,
}

/// How many kinds of [`Violation`] there are.
pub const VIOLATIONS: usize = LimitKind::ALL.len() + 2;

impl Violation {
    /// Every kind.
    pub const ALL: [Violation; VIOLATIONS] = [
        Violation::Over(LimitKind::Arp),
        Violation::Over(LimitKind::Nd),
        Violation::Over(LimitKind::Rarp),
        Violation::Over(LimitKind::Dad),
        Violation::Over(LimitKind::Unknown),
        Violation::Over(LimitKind::IcmpErrors),
        Violation::Over(LimitKind::Copies),
        Violation::Spoofed,
        Violation::Quarantined,
    ];

    const fn index(self) -> usize {
        match self {
            Violation::Over(kind) => kind as usize,
            Violation::Spoofed => LimitKind::ALL.len(),
            Violation::Quarantined => LimitKind::ALL.len() + 1,
        }
    }

    /// The label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Violation::Over(LimitKind::Arp) => "arp_rate",
            Violation::Over(LimitKind::Nd) => "nd_rate",
            Violation::Over(LimitKind::Rarp) => "rarp_rate",
            Violation::Over(LimitKind::Dad) => "dad_rate",
            Violation::Over(LimitKind::Unknown) => "unknown_rate",
            Violation::Over(LimitKind::IcmpErrors) => "icmp_error_rate",
            Violation::Over(LimitKind::Copies) => "copy_rate",
            Violation::Spoofed => "spoofed",
            Violation::Quarantined => "quarantined",
        }
    }
}

/// What one worker refused, by tenant: written by the worker, read by anyone.
#[derive(Debug, Default)]
pub struct TenantCounts(Box<[[Count; VIOLATIONS]]>);

impl TenantCounts {
    /// Zeroes for so many tenants: their slots must be below.
    #[must_use]
    pub fn of(tenants: usize) -> Arc<Self> {
        Arc::new(TenantCounts((0..tenants).map(|_| Default::default()).collect()))
    }

    /// How many tenants are counted.
    pub(super) fn tenants(&self) -> usize {
        self.0.len()
    }

    /// What was refused of the tenant with this slot.
    #[must_use]
    pub fn value(&self, slot: u16, violation: Violation) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |counts| counts[violation.index()].value())
    }

    /// The sum over all tenants.
    #[must_use]
    pub fn total(&self, violation: Violation) -> u64 {
        self.0.iter().map(|counts| counts[violation.index()].value()).sum()
    }

    pub(super) fn add(&self, slot: u16, violation: Violation) {
        if let Some(counts) = self.0.get(usize::from(slot)) {
            counts[violation.index()].add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_violations_are_unique_and_so_are_their_counters() {
        let labels: std::collections::HashSet<_> =
            Violation::ALL.iter().map(|violation| violation.label()).collect();
        assert_eq!(labels.len(), VIOLATIONS);
        assert!(Violation::ALL.iter().enumerate().all(|(n, violation)| violation.index() == n));
    }
}
