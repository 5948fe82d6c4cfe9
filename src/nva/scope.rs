//! What somebody may see, and which events of that somebody wants.

use super::catalogue::Catalogue;
use super::model::{Key, ObjectKey};
use super::watch::Told;
use crate::config::{Entry, ObjectName};
use crate::ila::Identifier;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What somebody may see of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Only what belongs to these networks; none: everything.
    pub(super) networks: Option<Arc<BTreeSet<String>>>,
}

impl Sight {
    /// Whether it is everything.
    pub(super) fn is_all(&self) -> bool {
        self.networks.is_none()
    }

    /// Whether a network of this name may be seen.
    pub(super) fn of_network(&self, name: &str) -> bool {
        self.networks.as_ref().is_none_or(|networks| networks.contains(name))
    }

    /// Whether all of these networks may be seen, and there is one.
    pub(super) fn of_all(&self, networks: &[&str]) -> bool {
        !networks.is_empty() && networks.iter().all(|name| self.of_network(name))
    }

    /// Whether an identifier may be seen: that of a tenant of such a network.
    pub(super) fn of_key(&self, catalogue: &Catalogue, key: Key) -> bool {
        let network = || catalogue.name_of(key.sir_prefix, Identifier(key.identifier).vnid()?);
        self.is_all() || network().is_some_and(|name| self.of_network(name))
    }

    /// Whether what operators want may be seen: a network, a policy of it, or an attachment to it.
    pub(super) fn of_object(&self, key: &ObjectKey, entry: &Entry) -> bool {
        match &key.name {
            ObjectName::Network(name) => self.of_network(name),
            ObjectName::Policy { .. } | ObjectName::Attachment(_) => {
                self.is_all() || entry.networks().into_iter().any(|name| self.of_network(name))
            }
        }
    }

    /// Whether an event may be seen.
    fn of_event(&self, told: &Told) -> bool {
        // A network names those of its peers, and is not theirs.
        if let Some(ObjectKey { name: ObjectName::Network(name), .. }) = &told.event.object {
            return self.of_network(name);
        }
        self.is_all() || told.event.networks.iter().any(|name| self.of_network(name))
    }
}

/// Which events somebody wants; nothing named: all that may be seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// What concerns this NVE.
    pub(super) nve: Option<String>,
    /// What concerns this network, by its name or VNID.
    pub(super) network: Option<String>,
}

impl Scope {
    /// Whether an event is among them.
    pub(super) fn takes(&self, sight: &Sight, told: &Told) -> bool {
        let is_of_nve = |nve: &String| told.event.nve.as_deref() == Some(nve);
        let is_of_network = |network: &String| {
            told.event.networks.contains(network)
                || told.vnid().is_some_and(|vnid| network.parse() == Ok(vnid))
        };
        sight.of_event(told)
            && self.nve.as_ref().is_none_or(is_of_nve)
            && self.network.as_ref().is_none_or(is_of_network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nva::event::{By, Event, Kind};

    #[test]
    fn events_are_chosen_by_nve_and_by_network_of_those_that_may_be_seen() {
        let told = |nve: Option<&str>, networks: &[&str], identifier: Option<u64>| Told {
            number: 1,
            time_ms: 0,
            who: String::new(),
            from: "".into(),
            event: Event {
                nve: nve.map(Into::into),
                networks: networks.iter().map(|&name| name.to_owned()).collect(),
                key: identifier.map(|identifier| Key { sir_prefix: 1, identifier }),
                ..Event::new(Kind::Registered, By::Authority)
            },
        };
        let tenant = 2 << 61 | 100 << 32 | 5;
        let all = [
            told(None, &[], None),
            told(Some("nve1"), &[], None),
            told(Some("nve1"), &["red"], Some(tenant)),
            told(None, &["red", "blue"], None),
            told(Some("nve2"), &[], Some(tenant)),
            told(Some("nve2"), &["101"], Some(1 << 61)),
        ];
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let blue = Sight { networks: Some(Arc::new(BTreeSet::from(["blue".to_owned()]))) };
        for (nve, network, wanted, seen) in [
            ("", "", &[0, 1, 2, 3, 4, 5][..], &[3][..]),
            ("nve1", "", &[1, 2], &[]),
            ("", "red", &[2, 3], &[3]),
            ("", "100", &[2, 4], &[]),
            ("nve2", "100", &[4], &[]),
            ("nve3", "", &[], &[]),
            ("", "0", &[], &[]),
        ] {
            let scope = Scope { nve: some(nve), network: some(network) };
            let taken = |sight: &Sight| -> Vec<usize> {
                (0..all.len()).filter(|n| scope.takes(sight, &all[*n])).collect()
            };
            assert_eq!((&taken(&Sight::default())[..], &taken(&blue)[..]), (wanted, seen), "{scope:?}");
        }
    }
}
