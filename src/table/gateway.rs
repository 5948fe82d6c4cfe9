//! Gateways between virtual networks (VMM draft §4.1): through which one the packets of a network go to another.

use super::{ActionId, NetworkId};
use crate::ila::Locator;

/// The gateway of one pair of networks, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Under which packets for the other network's tenants reach it.
    pub locator: Locator,
    /// Whether it is this node.
    pub ours: bool,
    /// The way to it.
    pub action: ActionId,
}

/// The gateways of a network's tenants, by whom they send to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateways(Vec<(NetworkId, Gateway)>);

impl Gateways {
    /// Adds one; a network has one gateway to another.
    pub fn add(&mut self, to: NetworkId, gateway: Gateway) {
        match self.0.binary_search_by_key(&to, |entry| entry.0) {
            Ok(at) => self.0[at].1 = gateway,
            Err(at) => self.0.insert(at, (to, gateway)),
        }
    }

    /// The gateway towards a network.
    #[must_use]
    pub fn towards(&self, to: NetworkId) -> Option<&Gateway> {
        let at = self.0.binary_search_by_key(&to, |entry| entry.0).ok()?;
        Some(&self.0.get(at)?.1)
    }
}
