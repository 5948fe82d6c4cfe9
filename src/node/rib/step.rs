//! Applies one change of policies and attachments, at a cost that does not grow with their number.

use super::batch::Staged;
use super::{Rib, attachment_key};
use crate::config::{Attachment, Config, Policy, Step};
use crate::mapping::Origin;
use crate::table::AttachmentKey;
use std::collections::BTreeSet;

impl Rib {
    /// Applies a configuration that differs from the one before only by a step. The caller goes on as after
    /// [`Self::reconfigure`].
    ///
    /// `None`: it contradicts mappings, or changes more than tables of attachments and policies. Nothing is changed then,
    /// and [`Self::reconfigure`] says what is wrong, if something is.
    pub fn take_step(&mut self, config: &Config, step: &Step) -> Option<Staged> {
        if self.contradicts(config, step) || self.changes_router(config, step) {
            return None;
        }
        let stays = |key| step.new.iter().any(|new| attachment_key(new) == key);
        self.forget_presences(step.gone.iter(), stays);
        let staged = self.stage_attachments(step.gone.iter(), step.new.iter());
        let keys = |list: &[Attachment]| list.iter().map(attachment_key).collect::<BTreeSet<_>>();
        let [gone, new, moved] = [&step.gone, &step.new, &step.moved].map(|list| keys(list));
        let places = self.places(config, step);
        self.attachments.change(&config.attachments, places, (&step.gone, &step.new));
        let is_tenant = |attachment: &&Attachment| attachment.network.is_some();
        let tenants: BTreeSet<_> = step.new.iter().filter(is_tenant).map(attachment_key).collect();
        gone.difference(&tenants).for_each(|key| self.slots.free(*key));
        tenants.iter().for_each(|key| self.slots.give(*key));
        gone.iter().chain(&new).chain(&moved).for_each(|key| self.attachment_changed(*key));
        if step.policies.iter().any(|policy| matches!(policy, Policy::Between { via: Some(_), .. })) {
            self.replace_gateways(config);
        }
        self.policies = config.policies.clone();
        step.policies.iter().for_each(|policy| self.policy_changed(policy));
        self.dirty = true;
        Some(staged)
    }

    /// Where attachments that came or moved are.
    fn places(&self, config: &Config, step: &Step) -> Vec<(AttachmentKey, u32)> {
        let all: BTreeSet<_> = step.new.iter().chain(&step.moved).map(attachment_key).collect();
        // They took the places of others, or are at the end.
        let free = step.gone.iter().filter_map(|gone| self.attachments.place(attachment_key(gone)));
        let before = self.attachments.list().len() as u32;
        let places: BTreeSet<u32> = free.chain(before..config.attachments.len() as u32).collect();
        let at = |place: u32| Some((attachment_key(config.attachments.get(place as usize)?), place));
        places.into_iter().filter_map(at).filter(|(key, _)| all.contains(key)).collect()
    }

    /// Whether something of a step contradicts mappings that stay.
    fn contradicts(&self, config: &Config, step: &Step) -> bool {
        let mut locals = step.new.iter().flat_map(|attachment| &attachment.identifiers);
        let is_mapped =
            |domain: u8, alias| self.origins(domain, alias).any(|held| held != Origin::Attachment);
        let is_alias = locals.any(|local| {
            let alias = self.zero_alias_of(local.domain, local.identifier);
            alias.is_some_and(|alias| is_mapped(local.domain, alias))
        });
        let mut gateways = step.policies.iter().filter_map(|policy| match policy {
            Policy::Between { to, via: Some(via), .. } => Some((*via, *to)),
            Policy::Between { .. } | Policy::Out { .. } | Policy::In { .. } => None,
        });
        let is_elsewhere = gateways.any(|(via, to)| {
            let domain = config.virtual_networks.get(usize::from(to)).map(|network| network.domain);
            self.actions.domains_of(via).any(|other| Some(other) != domain)
        });
        is_alias || is_elsewhere
    }

    /// Whether tasks see another router on some port than before.
    fn changes_router(&self, config: &Config, step: &Step) -> bool {
        let tasks = step.gone.iter().chain(&step.new).filter(|attachment| attachment.network.is_none());
        let ports: BTreeSet<u16> = tasks.map(|task| task.port).collect();
        ports.into_iter().any(|n| {
            let router = config.task_router_mac(n);
            self.ports.get(usize::from(n)).is_some_and(|port| router.unwrap_or(port.device_mac) != port.mac)
        })
    }
}
