//! MAC addresses of tenants: which identifiers of a virtual network each has, and at which NVE.
//!
//! Packets are not forwarded by it. So the identifiers of one MAC address may be several (an IPv4 and an IPv6 address),
//! and a MAC address that a second NVE registers in the network refuses it nothing: it is told to operators, and whoever
//! asks is told what the NVE has that registered it first (RFC 7432 §15.1 likewise alerts the operator and goes on with
//! the first one). What operators placed at an NVE by its MAC address, no other NVE registers (`Registry::may_bind`).

use super::model::{Key, Network, Record};
use crate::net::Mac;
use std::collections::BTreeSet;

/// Tenants' identifiers by MAC address.
#[derive(Debug, Default)]
pub(super) struct Bindings(BTreeSet<(Network, Mac, u64)>);

impl Bindings {
    /// A record comes. One that nobody holds, of a task or without a MAC address counts for nothing.
    pub(super) fn add(&mut self, key: Key, record: &Record) {
        self.0.extend(entry(key, record));
    }

    /// A record goes.
    pub(super) fn remove(&mut self, key: Key, record: &Record) {
        if let Some(entry) = entry(key, record) {
            self.0.remove(&entry);
        }
    }

    /// The identifiers of a MAC address in a network.
    pub(super) fn of(&self, network: Network, mac: Mac) -> impl Iterator<Item = Key> + '_ {
        let all = self.0.range((network, mac, 0)..=(network, mac, u64::MAX));
        all.map(|((sir_prefix, _), _, identifier)| Key { sir_prefix: *sir_prefix, identifier: *identifier })
    }
}

fn entry(key: Key, record: &Record) -> Option<(Network, Mac, u64)> {
    let mac = record.mac.filter(|_| record.is_held())?;
    Some((key.network()?, mac, key.identifier))
}
