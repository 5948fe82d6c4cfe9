//! What is registered, in the operator's API.

use crate::api::manage::{self as v1, RecordLocator};
use crate::ila::{Identifier, IdentifierType, Locator};
use crate::net::Mac;
use crate::nva::authority::Authority;
use crate::nva::catalogue::Catalogue;
use crate::nva::model::{Choice, Key, Record};
use crate::nva::registry::Registry;
use crate::nva::scope::Sight;
use std::net::{Ipv4Addr, Ipv6Addr};
use tonic::Status;

/// Records that one look goes through: the authority does nothing else meanwhile.
const LOOK: usize = 1_000;

/// Reads a SIR address.
pub(in crate::nva) fn read_key(sir: &str) -> Result<Key, Status> {
    let address: Ipv6Addr = sir.parse().map_err(|_| {
        Status::invalid_argument(format!(
            "`{}` is no SIR address; write one as 2001:db8::1",
            sir.escape_debug()
        ))
    })?;
    let bits = address.to_bits();
    Ok(Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 })
}

/// Which records somebody wants.
#[derive(Debug, Default)]
pub(in crate::nva) struct Filter {
    pub(in crate::nva) nve: Option<String>,
    pub(in crate::nva) locator: Option<Locator>,
    pub(in crate::nva) key: Option<Key>,
    /// A network's SIR prefix and VNID.
    pub(in crate::nva) network: Option<(u64, u32)>,
    /// The MAC address of a tenant or task.
    pub(in crate::nva) mac: Option<Mac>,
    /// The address of a tenant.
    pub(in crate::nva) ipv4: Option<Ipv4Addr>,
    pub(in crate::nva) sight: Sight,
}

impl Filter {
    /// Reads a request.
    pub(super) fn read(request: &v1::RecordListRequest) -> Result<Self, Status> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let locator = some(&request.locator).map(|text| {
            text.parse::<Locator>()
                .map_err(|why| Status::invalid_argument(format!("`{}`: {why}", text.escape_debug())))
        });
        let key = some(&request.sir).map(|sir| read_key(&sir));
        let mac = some(&request.mac)
            .map(|text| text.parse::<Mac>().map_err(|why| Status::invalid_argument(why.to_string())));
        let (locator, key, mac) = (locator.transpose()?, key.transpose()?, mac.transpose()?);
        Ok(Filter { nve: some(&request.nve), locator, key, mac, ..Filter::default() })
    }

    /// The same of what may be seen.
    pub(in crate::nva) fn within(self, sight: Sight) -> Self {
        Filter { sight, ..self }
    }

    fn takes(&self, catalogue: &Catalogue, key: Key, record: &Record) -> bool {
        let identifier = Identifier(key.identifier);
        let ipv4 = || (identifier.kind() == IdentifierType::TenantIpv4).then_some(key.identifier as u32);
        self.key.is_none_or(|wanted| wanted == key)
            && self.nve.as_ref().is_none_or(|nve| record.owner == *nve)
            && self.locator.is_none_or(|at| record.choices.iter().any(|choice| choice.locator == at))
            && self.mac.is_none_or(|mac| record.mac == Some(mac))
            && self.network.is_none_or(|(sir, vnid)| sir == key.sir_prefix && identifier.vnid() == Some(vnid))
            && self.ipv4.is_none_or(|address| ipv4() == Some(address.to_bits()))
            && self.sight.of_key(catalogue, key)
    }

    /// One look from behind `after`: what it takes, and where it ended, if there is more.
    pub(in crate::nva) fn look(
        &self,
        authority: &Authority,
        after: Option<Key>,
    ) -> (Vec<v1::Record>, Option<Key>) {
        let registry = authority.registry();
        let catalogue = registry.catalogue();
        if let Some(key) = self.key {
            let record = registry.record(key).filter(|record| self.takes(catalogue, key, record));
            return (record.map(|record| write(registry, key, record)).into_iter().collect(), None);
        }
        let (mut found, mut last) = (Vec::new(), None);
        for (n, (key, record)) in registry.records_after(after).enumerate() {
            if n == LOOK {
                return (found, last);
            }
            if self.takes(catalogue, *key, record) {
                found.push(write(registry, *key, record));
            }
            last = Some(*key);
        }
        (found, None)
    }
}

/// A record as operators see it.
fn write(registry: &Registry, key: Key, record: &Record) -> v1::Record {
    v1::Record {
        sir: key.to_string(),
        owner: record.owner.to_string(),
        sequence: record.sequence,
        locators: locators(&record.choices),
        frozen: registry.is_frozen(key),
        mac: record.mac.map(|mac| mac.to_string()).unwrap_or_default(),
    }
}

/// Where an identifier is, as operators see it.
pub(super) fn locators(choices: &[Choice]) -> Vec<RecordLocator> {
    let locators = choices.iter().map(|choice| RecordLocator {
        prefix: choice.locator.to_string(),
        priority: choice.priority.into(),
        weight: choice.weight.into(),
    });
    locators.collect()
}
