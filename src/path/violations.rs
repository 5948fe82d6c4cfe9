//! What was refused of tenants, as far as it hints at abuse: one counter for each kind and tenant.
//!
//! One worker writes, anyone reads. The control thread puts tenants under quarantine by these counters.

use super::count::Count;
use crate::table::LimitKind;
use std::sync::Arc;

/// Why a tenant's packet was refused, as far as it hints at abuse. Each kind has one counter for each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// More packets of a kind than the tenant's limit allows.
    Over(LimitKind),
    /// A packet with a source, a sender or a role that is not the tenant's.
    Spoofed,
    /// Any refused packet of a tenant under quarantine.
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

/// The violations that one worker counted, by tenant slot. That worker writes, anyone reads.
#[derive(Debug, Default)]
pub struct TenantCounts(Box<[[Count; VIOLATIONS]]>);

impl TenantCounts {
    /// Counters at zero for the tenants with slots below `tenants`.
    #[must_use]
    pub fn of(tenants: usize) -> Arc<Self> {
        Arc::new(TenantCounts((0..tenants).map(|_| Default::default()).collect()))
    }

    /// Number of tenants that have counters.
    pub(super) fn tenants(&self) -> usize {
        self.0.len()
    }

    /// The count of one kind for the tenant with this slot.
    #[must_use]
    pub fn value(&self, slot: u16, violation: Violation) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |counts| counts[violation.index()].value())
    }

    /// The count of one kind over all tenants.
    #[must_use]
    pub fn total(&self, violation: Violation) -> u64 {
        self.0.iter().map(|counts| counts[violation.index()].value()).sum()
    }

    /// Counts one packet of the tenant with this slot.
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
