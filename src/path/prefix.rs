//! What the upper 64 bits of a destination mean. The fast path and the stages both ask here.

use crate::ila::identifier::C_BIT;
use crate::ila::{Adjustment, ChecksumMode, neutral};
use crate::table::mapping::MappingTable;
use crate::table::prefixes::PrefixInfo;
use crate::table::{Domain, DomainId, Tables};

/// The meaning of a /64.
#[derive(Clone, Copy)]
pub(super) enum Prefix<'t> {
    /// The SIR prefix of a domain.
    Sir(DomainId, &'t MappingTable),
    /// A locator of this node.
    Locator(OwnLocator<'t>),
    /// Addresses of tenants lie under it.
    Tenants,
    /// A subnet of a port, or a locator of another node.
    Subnet,
}

/// A locator of this node.
#[derive(Clone, Copy)]
pub(super) struct OwnLocator<'t> {
    pub(super) domain: DomainId,
    pub(super) mappings: &'t MappingTable,
    pub(super) mode: ChecksumMode,
    pub(super) adjustment: Adjustment,
    /// What takes the adjustment back from an identifier, by its C-bit.
    back: [u16; 2],
}

impl<'t> OwnLocator<'t> {
    fn new(domain: DomainId, adjustment: Adjustment, tables: &'t Domain) -> Self {
        let Domain { mappings, checksum: mode, .. } = tables;
        let [plain, marked] = [false, true].map(|c_bit| neutral::inverse(adjustment, *mode, c_bit));
        OwnLocator { domain, mappings, mode: *mode, adjustment, back: [plain, marked] }
    }

    /// The identifier that the sender's node rewrote to `wire`, unless it is a tenant's IPv6 identifier: see
    /// [`Self::identifier_of_tenant`]. C-bit 0.
    #[inline(always)]
    pub(super) fn identifier(&self, wire: u64) -> u64 {
        neutral::add_low(wire & !C_BIT, self.back[usize::from(wire & C_BIT != 0)])
    }

    /// The same where `checksum_delta` was added besides, because more than the SIR prefix was replaced.
    #[inline(always)]
    pub(super) fn identifier_of_tenant(&self, wire: u64, checksum_delta: u16) -> u64 {
        neutral::back(crate::ila::Identifier(wire), self.adjustment.with(checksum_delta), self.mode).0
    }
}

impl<'t> Prefix<'t> {
    /// The meaning of `high`; `None` if nothing is known of it.
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
