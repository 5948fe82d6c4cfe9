//! The attachments of the configuration, and what the tables need of all of them together: kept as they come and go, so
//! that one of them costs the same however many there are.

use super::attachment_key;
use crate::config::Attachment;
use crate::net::Ipv6Prefix;
use crate::shared::List;
use crate::table::AttachmentKey;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};

/// Tenants and tasks on one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Company {
    tenants: usize,
    tasks: usize,
}

/// All attachments.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    list: List<Attachment>,
    /// Place of each in the list, by its key. Only the operator chooses the keys.
    places: HashMap<AttachmentKey, u32, FixedState>,
    /// Who is on a link, by port and VLAN identifier.
    links: BTreeMap<(u16, u16), Company>,
    /// Prefixes that tasks may send from, and how many of them.
    prefixes: HashMap<Ipv6Prefix, usize>,
}

impl Attachments {
    /// All of a configuration.
    pub(super) fn of(list: &List<Attachment>) -> Self {
        let mut all = Attachments { list: list.clone(), ..Attachments::default() };
        for (place, attachment) in list.iter().enumerate() {
            all.places.insert(attachment_key(attachment), place as u32);
            all.count(attachment, true);
        }
        all
    }

    /// Some are in another place, went or came.
    pub(super) fn change(
        &mut self,
        list: &List<Attachment>,
        places: impl IntoIterator<Item = (AttachmentKey, u32)>,
        (gone, new): (&[Attachment], &[Attachment]),
    ) {
        self.list = list.clone();
        for attachment in gone {
            self.places.remove(&attachment_key(attachment));
            self.count(attachment, false);
        }
        new.iter().for_each(|attachment| self.count(attachment, true));
        self.places.extend(places);
    }

    fn count(&mut self, attachment: &Attachment, came: bool) {
        let count = |held: &mut usize| *held = if came { *held + 1 } else { held.saturating_sub(1) };
        let link = (attachment.port, attachment.vlan.unwrap_or(0));
        let company = self.links.entry(link).or_default();
        count(if attachment.network.is_some() { &mut company.tenants } else { &mut company.tasks });
        if *company == Company::default() {
            self.links.remove(&link);
        }
        for prefix in &attachment.prefixes {
            let held = self.prefixes.entry(*prefix).or_default();
            count(held);
            if *held == 0 {
                self.prefixes.remove(prefix);
            }
        }
    }

    /// All, in the configuration's order.
    pub(super) fn list(&self) -> &List<Attachment> {
        &self.list
    }

    /// The place of an attachment in the list.
    pub(super) fn place(&self, key: AttachmentKey) -> Option<u32> {
        self.places.get(&key).copied()
    }

    /// The attachment with this key, and its place in the list.
    pub(super) fn with_key(&self, key: AttachmentKey) -> Option<(u32, &Attachment)> {
        let place = self.place(key)?;
        Some((place, self.list.get(place as usize)?))
    }

    /// VLAN identifiers of the links of a port, sorted; 0 for untagged.
    pub(super) fn vlans(&self, port: u16) -> impl Iterator<Item = u16> {
        self.links.range((port, 0)..=(port, u16::MAX)).map(|((_, vlan), _)| *vlan)
    }

    /// Whether there are tenants on a port.
    pub(super) fn has_tenants(&self, port: u16) -> bool {
        self.links.range((port, 0)..=(port, u16::MAX)).any(|(_, company)| company.tenants > 0)
    }

    /// Prefixes that tasks may send from, in no order.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Ipv6Prefix> {
        self.prefixes.keys().copied()
    }
}
