//! Names an identifier.

use crate::ila::{Identifier, IdentifierType};
use std::fmt;
use std::net::Ipv6Addr;

/// A virtual network: the upper 64 bits of its SIR prefix, and its VNID.
pub type Network = (u64, u32);

/// An identifier in its SIR domain, which its SIR prefix names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Upper 64 bits of the SIR address.
    pub sir_prefix: u64,
    /// Lower 64 bits, C-bit 0.
    pub identifier: u64,
}

impl Key {
    /// Whether mappings of it may exist: a task's identifier or a tenant's unicast address, C-bit 0.
    #[must_use]
    pub fn is_mappable(self) -> bool {
        let identifier = Identifier(self.identifier);
        let kind = identifier.kind();
        !identifier.neutral()
            && match kind {
                IdentifierType::LocallyUnique => true,
                IdentifierType::TenantIpv4 | IdentifierType::TenantIpv6 => identifier.vnid() != Some(0),
                _ => false,
            }
    }

    /// The virtual network of a tenant's identifier.
    #[must_use]
    pub fn network(self) -> Option<Network> {
        Identifier(self.identifier).vnid().map(|vnid| (self.sir_prefix, vnid))
    }

    /// The key that neutral mapping cannot tell from this one, if there is one (ILA draft §4.4.1).
    #[must_use]
    pub fn zero_alias(self) -> Option<Key> {
        let alias = Identifier(self.identifier).zero_alias()?;
        Some(Key { identifier: alias.0, ..self })
    }
}

impl fmt::Display for Key {
    /// The SIR address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.sir_prefix) << 64 | u128::from(self.identifier);
        Ipv6Addr::from(bits).fmt(f)
    }
}
