//! Groups of tenants: their reports become changes of the tables, and queries are sent to them.

use super::Control;
use crate::api::views::GroupView;
use crate::config::{Attachment, TenantAddress, VirtualNetwork};
use crate::node::membership::Effect;
use crate::node::rib::attachment_key;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Time over which joins and leaves are gathered, so that one snapshot serves all of them.
const GATHER_MS: u64 = 50;

impl Control {
    /// Takes the tenants of the configuration over.
    pub(super) fn configure_groups(&mut self, now_ms: u64) {
        let config = self.config.clone();
        self.memberships.configure(&config, now_ms, &mut self.group_effects);
    }

    /// Serves the timers of groups, and does what was gathered when it is due.
    pub(super) fn serve_groups(&mut self, now_ms: u64) {
        self.memberships.tick(now_ms, &mut self.group_effects);
        if self.group_effects.is_empty() || now_ms < self.groups_due_ms {
            return;
        }
        self.groups_due_ms = now_ms + GATHER_MS;
        let mut effects = std::mem::take(&mut self.group_effects);
        for effect in effects.drain(..) {
            match &effect {
                Effect::Joined(..) | Effect::Left(..) => tracing::debug!(?effect, "group"),
                Effect::Query(_) => {}
            }
            match effect {
                Effect::Joined(place, group) => self.rib.set_member(place, group, true),
                Effect::Left(place, group) => self.rib.set_member(place, group, false),
                Effect::Query(frame) => self.effects.push(super::Effect::Send(frame)),
            }
        }
        self.group_effects = effects;
    }

    /// Members here, and where copies go, by network.
    pub(super) fn group_views(&self) -> Vec<GroupView> {
        let mut views = Vec::new();
        for (n, network) in self.config.virtual_networks.iter().enumerate() {
            views.extend(self.copies_view(network));
            for (place, attachment) in self.config.attachments.iter().enumerate() {
                if attachment.network == Some(n as u16) {
                    let name = attachment.name.clone().unwrap_or_else(|| place.to_string());
                    self.member_views(&network.name, &name, attachment, &mut views);
                }
            }
        }
        views
    }

    fn copies_view(&self, network: &VirtualNetwork) -> Option<GroupView> {
        let own = |locator| self.config.locators.iter().any(|own| own.prefix == locator);
        let locators: Vec<String> =
            network.replicate_to.iter().filter(|locator| !own(**locator)).map(ToString::to_string).collect();
        (!locators.is_empty()).then(|| GroupView {
            network: network.name.clone(),
            group: None,
            attachment: None,
            kind: "copies".to_owned(),
            expires_s: None,
            locators,
        })
    }

    /// Groups of one attachment. A group that the configuration names is shown once, as static, even if it
    /// was joined too.
    fn member_views(&self, network: &str, name: &str, attachment: &Attachment, views: &mut Vec<GroupView>) {
        let now_ms = self.now_ms();
        let view = |group: TenantAddress, expires_ms: Option<u64>| GroupView {
            network: network.to_owned(),
            group: Some(match group {
                TenantAddress::V4(group) => Ipv4Addr::from(group).to_string(),
                TenantAddress::V6(group) => Ipv6Addr::from(group).to_string(),
            }),
            attachment: Some(name.to_owned()),
            kind: if expires_ms.is_some() { "joined" } else { "static" }.to_owned(),
            expires_s: expires_ms.map(|expires_ms| expires_ms.saturating_sub(now_ms).div_ceil(1000)),
            locators: Vec::new(),
        };
        views.extend(attachment.groups.iter().map(|group| view(*group, None)));
        let key = attachment_key(attachment);
        let joined = self.memberships.of(key).filter(|(group, _)| !attachment.groups.contains(group));
        views.extend(joined.map(|(group, expires_ms)| view(group, Some(expires_ms))));
    }
}
