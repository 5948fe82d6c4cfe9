//! MAC addresses that NVEs register, and who may ask for them.

use super::{Draft, Refusal, Registry};
use crate::ila::Identifier;
use crate::net::Mac;
use crate::nva::bindings::Shared;
use crate::nva::message::{FoundMac, QUERY_KEYS};
use crate::nva::model::{Key, Network, Record, Transaction};

impl Registry {
    /// Whether an NVE may say that a tenant of this MAC address has an identifier.
    pub(super) fn may_bind(&self, nve: &str, key: Key, mac: Option<Mac>) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal { owner: None, sequence: 0, why, temporary: false });
        let Some(mac) = mac else { return Ok(()) };
        if mac.is_multicast() {
            return refuse(format!(
                "{mac} of {key} is the MAC address of a group; name that of the tenant or task"
            ));
        }
        let Some((sir_prefix, vnid)) = key.network() else { return Ok(()) };
        // Whoever looks for it walks over all of them, and is told of so many at most.
        let own = self
            .bindings
            .of((sir_prefix, vnid), mac)
            .filter(|other| self.is_held_by(nve, *other) && *other != key);
        if own.take(QUERY_KEYS).count() == QUERY_KEYS {
            return refuse(format!(
                "{mac} has {QUERY_KEYS} identifiers in VNID {vnid} already; give {key} another MAC address"
            ));
        }
        // What an NVE had before an operator placed the attachment elsewhere, it keeps.
        let had = |record: &Record| record.is_held() && record.owner == nve && record.mac == Some(mac);
        match self.catalogue.denies_mac(nve, (sir_prefix, vnid), mac) {
            Some(owner) if !self.records.get(&key).is_some_and(had) => refuse(format!(
                "{mac} in VNID {vnid} is that of {owner}, where an operator wants it; take another MAC address for {key}"
            )),
            _ => Ok(()),
        }
    }

    /// What somebody has of MAC addresses in a network. Of several NVEs that registered one, it is what the one has that came
    /// to have it first.
    #[must_use]
    pub fn find_macs(&self, network: Network, macs: &[Mac]) -> Vec<FoundMac> {
        let found = |mac: &Mac| {
            let owner = self.bearer(network, *mac)?;
            let own = self.bindings.of(network, *mac).filter(|key| self.is_held_by(owner, *key));
            let identifiers = own.map(|key| key.identifier).take(QUERY_KEYS).collect();
            Some(FoundMac { mac: *mac, identifiers })
        };
        macs.iter().filter_map(found).collect()
    }

    /// The NVE that has had a MAC address of a network for longest.
    fn bearer(&self, network: Network, mac: Mac) -> Option<&str> {
        let records = self.bindings.of(network, mac).filter_map(|key| self.records.get(&key));
        records.min_by_key(|record| record.since).map(|record| &*record.owner)
    }

    /// Since when an NVE has the MAC address that it registers with an identifier, by others that it holds in that network.
    pub(super) fn has_mac_since(
        &self,
        draft: &Draft,
        nve: &str,
        (key, mac): (Key, Option<Mac>),
    ) -> Option<u64> {
        let (network, mac) = (key.network()?, mac?);
        let others = self.bindings.of(network, mac).chain(draft.bindings.of(network, mac));
        let others = others.filter(|other| *other != key).filter_map(|other| self.seen(draft, other));
        let own = others.filter(|it| it.is_held() && it.owner == nve && it.mac == Some(mac));
        own.map(|record| record.since).min()
    }

    /// Whether an NVE may ask for MAC addresses of a network: it has tenants of it, or operators placed some there, or it is
    /// told of all networks.
    #[must_use]
    pub fn may_ask_of(&self, nve: &str, (sir_prefix, vnid): Network) -> bool {
        let is_placed = || {
            let name = self.catalogue.name_of(sir_prefix, vnid);
            name.is_some_and(|name| self.catalogue.nves_of(name).any(|other| other == nve))
        };
        let key = |identifier: Identifier| Key { sir_prefix, identifier: identifier.0 };
        let has_some = |of: fn(u32, u32) -> Identifier| {
            let own = self.held.get(nve);
            own.is_some_and(|own| own.range(key(of(vnid, 0))..=key(of(vnid, u32::MAX))).next().is_some())
        };
        has_some(Identifier::tenant_ipv4)
            || has_some(Identifier::tenant_ipv6)
            || self.sees_all(nve)
            || is_placed()
    }

    /// Notes what was registered with a MAC address that another NVE has in the same network. A transaction is looked at as a
    /// whole: a tenant with two addresses may move in one.
    pub(super) fn note_shared(&mut self, transaction: &Transaction) {
        for (key, record) in &transaction.writes {
            let (Some(network), Some(mac)) = (key.network(), record.mac.filter(|_| record.is_held())) else {
                continue;
            };
            let owners = self.bindings.of(network, mac).filter_map(|other| self.records.get(&other));
            if owners.into_iter().any(|other| other.owner != record.owner) {
                self.newly_shared.push(*key);
            }
        }
    }

    /// What was so noted since the last call: the identifier, its NVE and MAC address, and the NVE that is told to whoever
    /// asks.
    pub(in crate::nva) fn take_shared(&mut self) -> Vec<Shared> {
        let shared = |key: Key| {
            let record = self.records.get(&key)?;
            let (mac, network) = (record.mac?, key.network()?);
            let mut others = self.bindings.of(network, mac).filter_map(|key| self.records.get(&key));
            let other = others.find(|other| other.owner != record.owner)?.owner.to_string();
            let first = self.bearer(network, mac)?.to_owned();
            Some(Shared { key, mac, nve: record.owner.to_string(), other, first })
        };
        let all = self.newly_shared.iter().filter_map(|key| shared(*key)).collect();
        self.newly_shared.clear();
        all
    }
}
