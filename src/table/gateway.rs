//! Gateways between virtual networks (VMM draft §4.1): the gateway of each pair of networks, in one direction.

use super::{ActionId, NetworkId};
use crate::ila::Locator;

/// The gateway of one pair of networks, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// The locator under which packets reach the gateway.
    pub locator: Locator,
    /// Whether this node is the gateway.
    pub ours: bool,
    /// The action that leads to the gateway.
    pub action: ActionId,
}

/// The gateways of one network, by the network that its tenants send to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateways(Vec<(NetworkId, Gateway)>);

impl Gateways {
    /// Sets the gateway towards a network. There is one for each network.
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
