//! Rules of attachments: who sits on an access port. Which identifiers are theirs is judged beside
//! (`identifier_rules`).

use super::super::model::{Attachment, Limits, Port, Role, VirtualNetwork};
use super::super::raw::{RawAttachment, RawConfig};
use super::edges::{Inside, task_prefixes};
use super::identifier_rules::{IdentifierRules, IdentifiersMet, asks_by_rarp};
use super::limits::limits;
use super::ports::Ports;
use super::scope::{Check, Scope, Seen, WORD, entries, unicast_mac};
use crate::net::Mac;
use crate::shared::List;
use std::collections::HashMap;

/// Most tenants of a node.
const MAX_TENANTS: usize = 16_384;

/// What attachments are judged by.
#[derive(Clone, Copy)]
pub(super) struct AttachmentRules<'c> {
    pub(super) ports: &'c Ports,
    pub(super) identifiers: IdentifierRules<'c>,
    pub(super) inside: Inside<'c>,
}

/// The attachments that were met so far, as far as others are judged by them.
#[derive(Debug, Default)]
pub(super) struct Met {
    names: Seen<String>,
    places: Seen<(u16, Option<u16>, Mac)>,
    /// Whether tenants are on a link, and how many of them or of tasks.
    links: HashMap<(u16, Option<u16>), (bool, usize)>,
    company: Company,
    tenants: usize,
    identifiers: IdentifiersMet,
}

pub(super) fn attachments(
    check: &mut Check,
    raw: &RawConfig,
    rules: AttachmentRules<'_>,
    met: &mut Met,
) -> List<Attachment> {
    let all = entries(&raw.attachments);
    all.filter_map(|(n, entry)| {
        rules.judge(&mut check.entry("attachments", n, entry.referenced), &entry.value, met)
    })
    .collect()
}

impl AttachmentRules<'_> {
    /// Judges an attachment beside those that were met. It is one of them from then on.
    pub(super) fn judge(
        self,
        s: &mut Scope<'_>,
        attachment: &RawAttachment,
        met: &mut Met,
    ) -> Option<Attachment> {
        let AttachmentRules { ports, identifiers: identifier_rules, inside } = self;
        let name = attachment.name.as_ref().and_then(|text| {
            let name = s.name("name", &attachment.name, "task1", WORD)?;
            if let Some(before) = met.names.before(name.clone(), &s.key("name"), text.referenced) {
                s.error("name", text.referenced, format!("`{name}` is already {before}; names are unique"));
            }
            Some(name)
        });
        let port = ports.named(s, "port", &attachment.port).map(|(index, port)| {
            if let (Some(text), true) = (&attachment.port, ports.roles && port.role != Role::Access) {
                let message =
                    format!("port `{}` does not have role access; attach to one that has", text.value);
                s.error("port", text.referenced, message);
            }
            index
        });
        let vlan = attachment.vlan.as_ref().and_then(|text| s.within("vlan", text, 1..=4094));
        let mac = unicast_mac(s, "mac", &attachment.mac);
        if let (Some(link), Some(mac), Some(text)) =
            (port.and_then(|n| ports.list.get(usize::from(n))), mac, &attachment.mac)
            && link.mac == Some(mac)
        {
            let message = format!("{mac} is that of port {}; write the task's own", link.name);
            s.error("mac", text.referenced, message);
        }
        if let (Some(port), Some(mac), Some(text)) = (port, mac, &attachment.mac)
            && let Some(before) = met.places.before((port, vlan, mac), &s.key("mac"), text.referenced)
        {
            let message =
                format!("{mac} is already {before} on this port and vlan; MAC addresses are unique there");
            s.error("mac", text.referenced, message);
        }
        // Whether tenants are there. Each says what it is by one of its keys.
        let is_tenant = attachment.network.is_some() || attachment.addresses.is_some();
        if let (Some(port), Some(text)) = (port, &attachment.port) {
            let (are_tenants, count) = met.links.entry((port, vlan)).or_insert((is_tenant, 0));
            *count += 1;
            if *are_tenants != is_tenant {
                let message = "tasks and tenants are on this port and vlan, and only tenants may send where some are; \
                               use another vlan or port for the one or the other";
                s.error("port", text.referenced, message);
            }
        }
        let (network, addresses, identifiers) =
            identifier_rules.of(s, attachment, (port, mac), &mut met.identifiers);
        let on_rarp = network.is_some() && asks_by_rarp(attachment);
        let groups = identifier_rules.groups(s, attachment, network);
        if let Some(text) = attachment.prefixes.as_ref().filter(|_| attachment.network.is_some()) {
            s.error("prefixes", text.referenced, "a tenant sends only from its addresses; remove them");
        }
        let prefixes = task_prefixes(s, &attachment.prefixes, &inside);
        let its = identifier_rules.network(network);
        met.company.judge(s, attachment, network, identifier_rules);
        if let (Some(its), Some(port)) = (its, port.and_then(|n| ports.list.get(usize::from(n)))) {
            judge_mtu(s, attachment, its, port);
        }
        met.tenants += usize::from(network.is_some());
        if network.is_some() && met.tenants > MAX_TENANTS {
            s.beyond(format!("more than {MAX_TENANTS} tenants; a node has at most {MAX_TENANTS}"));
        }
        let limits = attachment.limits.as_ref().map(|raw| {
            if attachment.network.is_none() {
                s.error(
                    "limits",
                    raw.referenced,
                    "only a tenant has limits; remove them, or name its network",
                );
            }
            limits(s, raw, its.map_or_else(Limits::default, |network| network.limits))
        });
        let (port, mac) = (port?, mac?);
        Some(Attachment {
            name,
            port,
            vlan,
            mac,
            network,
            addresses,
            on_rarp,
            identifiers,
            prefixes,
            limits,
            groups,
        })
    }
}

impl Met {
    /// An attachment that was met without an error is there no longer.
    pub(super) fn forget(&mut self, attachment: &Attachment) {
        let Attachment { name, port, vlan, mac, network, identifiers, .. } = attachment;
        if let Some(name) = name {
            self.names.forget(name);
        }
        self.places.forget(&(*port, *vlan, *mac));
        if let Some((_, count)) = self.links.get_mut(&(*port, *vlan)) {
            *count -= 1;
            if *count == 0 {
                self.links.remove(&(*port, *vlan));
            }
        }
        if let Some(network) = network {
            self.company.forget(*network);
            self.tenants -= 1;
        }
        self.identifiers.forget(*port, network.is_none(), identifiers);
    }
}

/// The networks that have tenants here, with the number of each.
#[derive(Debug, Default)]
struct Company(Vec<(u16, usize)>);

impl Company {
    /// Tenants of an exclusive network share the node with no other network's (VMM draft §10).
    fn judge(
        &mut self,
        s: &mut Scope<'_>,
        raw: &RawAttachment,
        network: Option<u16>,
        rules: IdentifierRules<'_>,
    ) {
        let (Some(place), Some(its), Some(text)) = (network, rules.network(network), &raw.network) else {
            return;
        };
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == place) {
            *count += 1;
            return;
        }
        let mut others = self.0.iter().filter_map(|(other, _)| rules.network(Some(*other)));
        if others.any(|other| other.exclusive || its.exclusive) {
            // Whose these are is no matter of whoever places it: tenants do not hear of each other.
            let message = match its.exclusive {
                true => format!(
                    "network {} is exclusive, and the node has tenants of others; place it on another node",
                    its.name
                ),
                false => format!(
                    "the node is not free for network {}: an exclusive network has tenants there; place it on another node",
                    its.name
                ),
            };
            s.error("network", text.referenced, message);
        } else {
            self.0.push((place, 1));
        }
    }

    fn forget(&mut self, network: u16) {
        if let Some(at) = self.0.iter().position(|(known, _)| *known == network) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }
}

/// A network's packets must fit the port of each of its tenants.
fn judge_mtu(s: &mut Scope<'_>, raw: &RawAttachment, network: &VirtualNetwork, port: &Port) {
    let Some(text) = raw.network.as_ref().filter(|_| network.mtu > port.mtu) else { return };
    let message = format!(
        "mtu {} of network {} does not fit mtu {} of port {}; lower the one or raise the other",
        network.mtu, network.name, port.mtu, port.name
    );
    s.error("network", text.referenced, message);
}
