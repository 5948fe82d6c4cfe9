//! What the upper 64 bits of a destination mean. The fast path and the stages both use this one rule.

use crate::ila::identifier::C_BIT;
use crate::ila::{Adjustment, ChecksumMode, neutral};
use crate::table::mapping::MappingTable;
use crate::table::prefixes::PrefixInfo;
use crate::table::{Domain, DomainId, Tables};

/// The meaning of a /64.
#[derive(Clone, Copy)]
pub(super) enum Prefix<'t> {
    /// The SIR prefix of a domain, and the domain's mappings.
    Sir(DomainId, &'t MappingTable),
    /// A locator of this node.
    Locator(OwnLocator<'t>),
    /// At least one virtual network's prefix lies under it.
    Tenants,
    /// A subnet of a port, or a locator of another node.
    Subnet,
}

/// A locator of this node, with what translates from ILA back to SIR under it (ILA draft §4.2.2).
#[derive(Clone, Copy)]
pub(super) struct OwnLocator<'t> {
    pub(super) domain: DomainId,
    pub(super) mappings: &'t MappingTable,
    pub(super) mode: ChecksumMode,
    pub(super) adjustment: Adjustment,
    /// Added to the low word to undo neutral mapping, by the identifier's C-bit.
    back: [u16; 2],
}

impl<'t> OwnLocator<'t> {
    fn new(domain: DomainId, adjustment: Adjustment, tables: &'t Domain) -> Self {
        let Domain { mappings, checksum: mode, .. } = tables;
        let [plain, marked] = [false, true].map(|c_bit| neutral::inverse(adjustment, *mode, c_bit));
        OwnLocator { domain, mappings, mode: *mode, adjustment, back: [plain, marked] }
    }

    /// The identifier that the sender's node rewrote to `wire`, with C-bit 0. Not for tenants' IPv6 addresses and
    /// groups, which need [`Self::identifier_of_tenant`].
    #[inline(always)]
    pub(super) fn identifier(&self, wire: u64) -> u64 {
        neutral::add_low(wire & !C_BIT, self.back[usize::from(wire & C_BIT != 0)])
    }

    /// The same where the sender's node also added `checksum_delta`, because it replaced more than the SIR prefix.
    #[inline(always)]
    pub(super) fn identifier_of_tenant(&self, wire: u64, checksum_delta: u16) -> u64 {
        neutral::back(crate::ila::Identifier(wire), self.adjustment.with(checksum_delta), self.mode).0
    }
}

impl<'t> Prefix<'t> {
    /// The meaning of the upper half `high`. `None` if nothing is known of it.
    #[inline]
    pub(super) fn of(high: u64, tables: &'t Tables) -> Option<Self> {
        tables.prefixes.of(high).map(|info| Self::from_info(info, tables))
    }

    fn from_info(info: &PrefixInfo, tables: &'t Tables) -> Self {
        let domain = |id: DomainId| tables.domain(id);
        if let Some((id, domain)) = info.sir.and_then(|id| Some((id, domain(id)?))) {
            Prefix::Sir(id, &domain.mappings)
        } else if let Some((id, adjustment)) = info.local
            && let Some(domain) = domain(id)
        {
            Prefix::Locator(OwnLocator::new(id, adjustment, domain))
        } else if info.tenants {
            Prefix::Tenants
        } else {
            Prefix::Subnet
        }
    }
}
