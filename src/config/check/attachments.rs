//! Rules of attachments: who sits on an access port. Which identifiers are theirs is judged beside
//! (`identifier_rules`).

use super::super::model::{Attachment, Limits, Port, Role, VirtualNetwork};
use super::super::raw::{RawAttachment, RawConfig};
use super::edges::{Inside, task_prefixes};
use super::identifier_rules::IdentifierRules;
use super::limits::limits;
use super::ports::Ports;
use super::scope::{Check, Scope, Seen, WORD, entries, unicast_mac};
use std::collections::HashMap;

/// Most tenants of a node.
const MAX_TENANTS: usize = 16_384;

pub(super) fn attachments(
    check: &mut Check,
    raw: &RawConfig,
    ports: &Ports,
    mut identifier_rules: IdentifierRules<'_>,
    inside: &Inside<'_>,
) -> Vec<Attachment> {
    let mut list = Vec::new();
    let mut tenants = 0;
    let (mut names, mut places) = (Seen::new(), Seen::new());
    let mut links: HashMap<(u16, Option<u16>), bool> = HashMap::new();
    let mut company = Company::default();
    for (n, entry) in entries(&raw.attachments) {
        let attachment = &entry.value;
        let mut s = check.entry("attachments", n, entry.referenced);
        let name = attachment.name.as_ref().and_then(|text| {
            let name = s.name("name", &attachment.name, "task1", WORD)?;
            if let Some(before) = names.before(name.clone(), &s.key("name"), text.referenced) {
                s.error("name", text.referenced, format!("`{name}` is already {before}; names are unique"));
            }
            Some(name)
        });
        let port = ports.named(&mut s, "port", &attachment.port).map(|(index, port)| {
            if let (Some(text), true) = (&attachment.port, ports.roles && port.role != Role::Access) {
                let message =
                    format!("port `{}` does not have role access; attach to one that has", text.value);
                s.error("port", text.referenced, message);
            }
            index
        });
        let vlan = attachment.vlan.as_ref().and_then(|text| s.within("vlan", text, 1..=4094));
        let mac = unicast_mac(&mut s, "mac", &attachment.mac);
        if let (Some(link), Some(mac), Some(text)) =
            (port.and_then(|n| ports.list.get(usize::from(n))), mac, &attachment.mac)
            && link.mac == Some(mac)
        {
            let message = format!("{mac} is that of port {}; write the task's own", link.name);
            s.error("mac", text.referenced, message);
        }
        if let (Some(port), Some(mac), Some(text)) = (port, mac, &attachment.mac)
            && let Some(before) = places.before((port, vlan, mac), &s.key("mac"), text.referenced)
        {
            let message =
                format!("{mac} is already {before} on this port and vlan; MAC addresses are unique there");
            s.error("mac", text.referenced, message);
        }
        // Whether tenants are there. Each says what it is by one of its keys.
        let is_tenant = attachment.network.is_some() || attachment.addresses.is_some();
        if let (Some(port), Some(text)) = (port, &attachment.port)
            && *links.entry((port, vlan)).or_insert(is_tenant) != is_tenant
        {
            let message = "tasks and tenants are on this port and vlan, and only tenants may send where some are; \
                           use another vlan or port for the one or the other";
            s.error("port", text.referenced, message);
        }
        let (network, addresses, identifiers) = identifier_rules.of(&mut s, attachment, (port, mac));
        let groups = identifier_rules.groups(&mut s, attachment, network);
        if let Some(text) = attachment.prefixes.as_ref().filter(|_| attachment.network.is_some()) {
            s.error("prefixes", text.referenced, "a tenant sends only from its addresses; remove them");
        }
        let prefixes = task_prefixes(&mut s, &attachment.prefixes, inside);
        let its = identifier_rules.network(network);
        company.judge(&mut s, attachment, its);
        if let (Some(its), Some(port)) = (its, port.and_then(|n| ports.list.get(usize::from(n)))) {
            judge_mtu(&mut s, attachment, its, port);
        }
        tenants += usize::from(network.is_some());
        if network.is_some() && tenants > MAX_TENANTS {
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
            limits(&mut s, raw, its.map_or_else(Limits::default, |network| network.limits))
        });
        if let (Some(port), Some(mac)) = (port, mac) {
            list.push(Attachment {
                name,
                port,
                vlan,
                mac,
                network,
                addresses,
                identifiers,
                prefixes,
                limits,
                groups,
            });
        }
    }
    list
}

/// The networks that have tenants here, with the first one of each.
#[derive(Default)]
struct Company<'c>(Vec<(&'c VirtualNetwork, String)>);

impl<'c> Company<'c> {
    /// Tenants of an exclusive network share the node with no other network's (VMM draft §10).
    fn judge(&mut self, s: &mut Scope<'_>, raw: &RawAttachment, its: Option<&'c VirtualNetwork>) {
        let (Some(its), Some(text)) = (its, &raw.network) else { return };
        if self.0.iter().any(|(known, _)| known.vnid == its.vnid) {
            return;
        }
        let other = self.0.iter().find(|(other, _)| other.exclusive || its.exclusive);
        if let Some((other, first)) = other {
            let exclusive = if its.exclusive { its } else { other };
            let message = format!(
                "network {} is exclusive, and {first} is of network {}; a node has tenants of {} or of others: place \
                 it on another node",
                exclusive.name, other.name, exclusive.name
            );
            s.error("network", text.referenced, message);
        } else {
            self.0.push((its, s.key("")));
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
