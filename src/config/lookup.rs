//! Questions that a [`Config`] answers about itself.

use super::model::{COUNTED_NETWORKS, Config, Policy, Role};
use crate::ila::Locator;
use crate::net::Mac;
use std::collections::BTreeMap;

impl Config {
    /// Index of the domain whose SIR prefix is the upper half of `address`; none for any other address,
    /// locators included.
    #[must_use]
    pub fn domain_of(&self, address: u128) -> Option<u8> {
        let half = (address >> 64) as u64;
        self.sir_domains.iter().position(|domain| domain.prefix.0 == half).map(|index| index as u8)
    }

    /// How many virtual networks are counted each for itself.
    #[must_use]
    pub fn counted_networks(&self) -> u16 {
        self.metrics.map_or(COUNTED_NETWORKS, |metrics| metrics.networks)
    }

    /// Index of the port named `name`.
    #[must_use]
    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().position(|port| port.name == name).map(|index| index as u16)
    }

    /// The MAC address of the router that tasks on an access port see: that of the domain of its tasks, which all agree,
    /// or else of the first domain. `None` for other ports, and without a domain.
    #[must_use]
    pub fn task_router_mac(&self, port: u16) -> Option<Mac> {
        self.ports.get(usize::from(port)).filter(|port| port.role == Role::Access)?;
        let here = self.attachments.iter().filter(|attachment| attachment.port == port);
        let tasks = here.filter(|attachment| attachment.network.is_none());
        let domain = tasks.flat_map(|task| &task.identifiers).next().map_or(0, |local| local.domain);
        self.sir_domains.get(usize::from(domain)).map(|domain| domain.router_mac)
    }

    /// The locators of all gateways between networks, each once, with the SIR domain of what they send on.
    #[must_use]
    pub fn gateways(&self) -> BTreeMap<Locator, u8> {
        let named = self.policies.iter().filter_map(|policy| match policy {
            Policy::Between { to, via: Some(via), .. } => {
                Some((*via, self.virtual_networks.get(usize::from(*to))?.domain))
            }
            _ => None,
        });
        named.collect()
    }

    /// Locators that the configuration itself sends to, with their SIR domain: of gateways, and of hosts that
    /// get copies.
    #[must_use]
    pub fn locators_in_use(&self) -> BTreeMap<Locator, u8> {
        let copies = self
            .virtual_networks
            .iter()
            .flat_map(|network| network.replicate_to.iter().map(|locator| (*locator, network.domain)));
        copies.chain(self.gateways()).collect()
    }
}
