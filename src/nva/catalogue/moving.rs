//! Attachments on their way from one NVE to another: the place at the new one is judged and kept free for them.

use super::{Catalogue, Change};
use crate::config::{Claim, Entry, ObjectName};
use crate::ila::Identifier;
use crate::nva::model::{Key, Nve, ObjectKey};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

impl Catalogue {
    /// Judges an attachment at the place that it is to move to. `revision` is that of the registry.
    ///
    /// # Errors
    /// As of a new attachment there, of which nobody else has the addresses: with the way out.
    pub(in crate::nva) fn judge_target(
        &mut self,
        nves: &HashMap<String, Nve>,
        (source, target): (&ObjectKey, &ObjectKey),
        entry: &Entry,
        revision: u64,
    ) -> Result<(), String> {
        let Some(before) = self.remove(source) else {
            return Err(format!("{source} is not there; `ilactl nva attachment list` shows what is"));
        };
        let change = Change::Add(entry.clone(), entry.written().to_owned());
        let judged = self.judge(nves, target, change, revision).map(drop);
        self.hold(source.clone(), before);
        judged
    }

    /// An attachment is on its way to an NVE.
    pub(in crate::nva) fn expect(&mut self, key: ObjectKey, document: &str) {
        if let Ok(entry) = Entry::named(&key.name, document) {
            self.expected.insert(key, Arc::new(entry));
        }
    }

    /// It is there, or does not come.
    pub(in crate::nva) fn expects_no_more(&mut self, key: &ObjectKey) {
        self.expected.remove(key);
    }

    /// How many are on their way.
    #[cfg(test)]
    pub(in crate::nva) fn expected_count(&self) -> usize {
        self.expected.len()
    }

    /// The NVEs at which there is an attachment of this name.
    pub(in crate::nva) fn nves_with(&self, attachment: &str) -> impl Iterator<Item = &str> {
        let name = ObjectName::Attachment(attachment.to_owned());
        let is_there = move |nve: &&String| {
            self.objects.contains_key(&ObjectKey { nve: (*nve).clone(), name: name.clone() })
        };
        self.counts.keys().filter(is_there).map(String::as_str)
    }

    /// The NVEs with tenants in a network, and those at which some are expected.
    pub(super) fn hosts_with_expected<'c>(&'c self, network: &'c str) -> BTreeSet<&'c str> {
        let expected = self.expected.iter().filter(|(_, entry)| entry.networks().contains(&network));
        self.nves_of(network).chain(expected.map(|(key, _)| key.nve.as_str())).collect()
    }

    /// What is on its way to an NVE.
    pub(super) fn expected_at<'c>(&'c self, nve: &str) -> impl Iterator<Item = &'c Arc<Entry>> + use<'c> {
        let first = ObjectKey { nve: nve.to_owned(), name: ObjectName::Network(String::new()) };
        let nve = nve.to_owned();
        self.expected.range(first..).take_while(move |(key, _)| key.nve == nve).map(|(_, entry)| entry)
    }

    /// The identifiers of an attachment.
    ///
    /// # Errors
    /// Its network is not there, or has no such addresses.
    pub(in crate::nva) fn keys_of(&self, entry: &Entry) -> Result<Vec<Key>, String> {
        let key = |claim: Claim| match claim {
            Claim::Task(sir) => {
                let bits = u128::from(sir);
                Ok(Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 })
            }
            Claim::Tenant(network, address) => {
                let Some((sir_prefix, vnid)) = self.number_of(&network) else {
                    return Err(format!("`{network}` is not the name of a virtual network"));
                };
                let identifier = match address {
                    IpAddr::V4(address) => Identifier::tenant_ipv4(vnid, address.into()),
                    IpAddr::V6(address) => Identifier::tenant_ipv6(vnid, u128::from(address) as u32),
                };
                Ok(Key { sir_prefix, identifier: identifier.0 })
            }
        };
        entry.claims().into_iter().map(key).collect()
    }
}
