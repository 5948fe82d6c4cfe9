//! Multicast groups: the locators that receive copies, by configuration, and the tenants of this node that are members.

use super::Rib;
use super::actions::{Goal, Key};
use crate::config::{Attachment, Config, TenantAddress, VirtualNetwork};
use crate::ila::{Identifier, group};
use crate::mapping::{LocatorChoice, Origin};
use crate::table::{ActionId, AttachmentKey};
use std::collections::BTreeSet;

impl Rib {
    /// Adds a tenant to a group or removes it. Readers see the change in the next snapshot.
    pub fn set_member(&mut self, attached: AttachmentKey, group: TenantAddress, joined: bool) {
        let groups = self.joined.entry(attached).or_default();
        let changed = if joined { groups.insert(group) } else { groups.remove(&group) };
        if groups.is_empty() {
            self.joined.remove(&attached);
        }
        if changed {
            self.attachment_changed(attached);
        }
    }

    /// Takes the locators that receive copies from a new configuration.
    pub(super) fn replace_replicas(&mut self, config: &Config) {
        let mut replicas = Vec::with_capacity(config.virtual_networks.len());
        for network in config.virtual_networks.iter() {
            replicas.push(match network.replicate_to.as_slice() {
                [] => ActionId(0),
                locators => {
                    let choice = |locator: &_| LocatorChoice { locator: *locator, priority: 0, weight: 1 };
                    let mut choices: Vec<_> = locators.iter().map(choice).collect();
                    choices.sort_unstable_by_key(|choice| choice.locator);
                    let goal = Goal::Group(choices);
                    self.actions.take(Key::new(network.domain, Origin::Attachment, goal)).0
                }
            });
        }
        for old in std::mem::replace(&mut self.replicas, replicas) {
            self.actions.give_back(old);
        }
        self.dirty = true;
    }

    /// The groups of a tenant: configured ones, joined ones, and 255.255.255.255 if it uses IPv4.
    pub(super) fn groups_of(&self, attached: AttachmentKey, attachment: &Attachment) -> Vec<Identifier> {
        let network = attachment.network.and_then(|place| self.networks.get(usize::from(place)));
        let Some(network) = network else { return Vec::new() };
        let joined = self.joined.get(&attached).into_iter().flatten();
        let groups = attachment.groups.iter().chain(joined);
        let mut groups: BTreeSet<u64> = groups.filter_map(|group| identifier(network, *group)).collect();
        if attachment.addresses.iter().any(|address| matches!(address, TenantAddress::V4(_))) {
            groups.insert(Identifier::tenant_ipv4(network.vnid, u32::MAX).0);
        }
        groups.into_iter().map(Identifier).collect()
    }
}

fn identifier(network: &VirtualNetwork, group: TenantAddress) -> Option<u64> {
    let identifier = match group {
        TenantAddress::V4(address) => Some(Identifier::tenant_ipv4(network.vnid, address)),
        TenantAddress::V6(address) => group::ipv6_identifier(network.vnid, address),
    };
    identifier.map(|identifier| identifier.0)
}
