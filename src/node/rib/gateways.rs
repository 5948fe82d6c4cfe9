//! Gateways between virtual networks, and the actions that lead to them.

use super::Rib;
use super::actions::{Goal, Key};
use crate::config::{Config, Policy};
use crate::ila::Locator;
use crate::mapping::{LocatorChoice, MappingTarget, Origin};
use crate::table::{ActionId, Gateway, NetworkId, Networks};

impl Rib {
    /// Takes the gateways that policies name from a new configuration.
    pub(super) fn replace_gateways(&mut self, config: &Config) {
        let mut actions = Vec::new();
        for (locator, domain) in config.gateways() {
            let choice = LocatorChoice { locator, priority: 0, weight: 1 };
            let goal = Goal::Mapping(MappingTarget::Locators(vec![choice]));
            let key = Key::new(domain, Origin::Attachment, goal);
            actions.push((locator, self.actions.take(key).0));
        }
        for (_, old) in std::mem::replace(&mut self.gateways, actions) {
            self.actions.give_back(old);
        }
        self.dirty = true;
    }

    /// Adds the gateway of a policy, if it names one, to the network tables.
    pub(super) fn send_through(&self, networks: &mut Networks, policy: &Policy) {
        if let Policy::Between { from, to, via: Some(locator) } = *policy {
            let gateway = Gateway { locator, ours: self.is_own(locator), action: self.way_to(locator) };
            networks.send_through(NetworkId(from), NetworkId(to), gateway);
        }
    }

    fn way_to(&self, locator: Locator) -> ActionId {
        let at = self.gateways.binary_search_by_key(&locator, |entry| entry.0);
        at.ok().and_then(|at| self.gateways.get(at)).map_or(ActionId(0), |entry| entry.1)
    }
}
