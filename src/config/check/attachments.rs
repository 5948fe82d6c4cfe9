//! Rules of attachments: who sits on an access port, and which identifiers are theirs.

use super::super::model::{Attachment, LocalIdentifier, Role};
use super::super::raw::{RawAttachment, RawConfig, Text};
use super::domains::{Domains, Locators, judge_identifier};
use super::entries;
use super::ports::Ports;
use super::scope::{Check, Scope, Seen, WORD};
use crate::net::Mac;

pub(super) fn attachments(
    check: &mut Check,
    raw: &RawConfig,
    domains: &Domains,
    locators: &Locators,
    ports: &Ports,
) -> Vec<Attachment> {
    let mut list = Vec::new();
    let (mut names, mut places, mut identifiers) = (Seen::new(), Seen::new(), Seen::new());
    for (n, entry) in entries(&raw.attachments) {
        let attachment = &entry.value;
        let mut s = check.scope(format!("attachments[{n}]"), entry.referenced);
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
        let identifiers = local_identifiers(&mut s, attachment, domains, locators, &mut identifiers);
        if let (Some(port), Some(mac)) = (port, mac) {
            list.push(Attachment { name, port, vlan, mac, identifiers });
        }
    }
    list
}

/// A required MAC address that can be somebody's own.
pub(super) fn unicast_mac(s: &mut Scope<'_>, key: &str, field: &Option<Text>) -> Option<Mac> {
    let mac: Mac = s.value(key, field, "\"02:00:00:00:00:0a\"")?;
    let text = field.as_ref()?;
    let kind = if mac.is_multicast() { "a group address" } else { "no address" };
    if mac.is_multicast() || mac == Mac::ZERO {
        let message = format!("{mac} is {kind}; write the unicast address of the interface");
        s.error(key, text.referenced, message);
        return None;
    }
    Some(mac)
}

/// The identifiers of one attachment.
fn local_identifiers(
    s: &mut Scope<'_>,
    raw: &RawAttachment,
    domains: &Domains,
    locators: &Locators,
    seen: &mut Seen<LocalIdentifier>,
) -> Vec<LocalIdentifier> {
    let mut list = Vec::new();
    if raw.identifiers.as_ref().is_none_or(|list| list.value.is_empty()) {
        let message = "missing; name at least one SIR address, for example \"2001:db8:dddd:0:2000::1\"";
        match &raw.identifiers {
            Some(empty) => s.error("identifiers", empty.referenced, message),
            None => s.error_here("identifiers", message),
        }
    }
    for (n, text) in entries(&raw.identifiers) {
        let key = format!("identifiers[{n}]");
        let local = match judge_identifier(&text.value, domains) {
            Ok(Some(local)) => local,
            Ok(None) => continue,
            Err(message) => {
                s.error(&key, text.referenced, message);
                continue;
            }
        };
        if let Some(before) = seen.before(local, &s.key(&key), text.referenced) {
            let message = format!("`{}` is already {before}; an identifier has one attachment", text.value);
            s.error(&key, text.referenced, message);
            continue;
        }
        let twin = local.identifier.twin().filter(|_| domains.has_twins(local.domain));
        let twin = twin.and_then(|twin| seen.place(&LocalIdentifier { identifier: twin, ..local }));
        if let Some(before) = twin {
            let message = format!(
                "`{}` is the twin of {before}: neutral mapping cannot tell them apart; use another identifier",
                text.value
            );
            s.error(&key, text.referenced, message);
        }
        if locators.complete && !locators.list.iter().any(|own| own.domain == local.domain) {
            let name = domains.list.get(usize::from(local.domain)).map_or("", |domain| domain.name.as_str());
            let message = format!(
                "`{}` is in domain {name}, where this node has no locator; add one to locators",
                text.value
            );
            s.error(&key, text.referenced, message);
        }
        list.push(local);
    }
    list
}
