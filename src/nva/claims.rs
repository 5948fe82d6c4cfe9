//! Whose an identifier is by what operators want: an attachment's that they made, or a tenant's of a network that they
//! made, at an NVE where they placed somebody of it.

use super::model::{Key, ObjectKey};
use crate::config::{Claim, Entry, ObjectName, Room};
use crate::ila::{Identifier, IdentifierType};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What of a network says whose its identifiers are.
#[derive(Debug)]
struct Network {
    name: String,
    sir_prefix: u64,
    /// Its IPv6 prefix.
    ipv6: Option<u128>,
    /// IPv4 addresses that stand for others.
    peers: Vec<Ipv4Addr>,
}

/// Networks by their VNIDs.
#[derive(Debug, Default)]
pub(super) struct Networks(HashMap<u32, Network>);

impl Networks {
    /// There is this network, whose domain has this SIR prefix.
    pub(super) fn hold(&mut self, name: &str, entry: &Entry, sir_prefix: u64) {
        let Ok(vnid) = entry.summary().vnid.parse() else { return };
        let ipv6 = entry.room().iter().find_map(|room| match room {
            Room::V6 { prefix, .. } => Some(prefix.bits()),
            Room::V4 { .. } => None,
        });
        self.0.insert(vnid, Network { name: name.to_owned(), sir_prefix, ipv6, peers: entry.peers() });
    }

    /// The name of the one with a VNID.
    pub(super) fn name_of(&self, sir_prefix: u64, vnid: u32) -> Option<&str> {
        let network = self.0.get(&vnid).filter(|network| network.sir_prefix == sir_prefix)?;
        Some(&network.name)
    }

    /// It is gone.
    pub(super) fn remove(&mut self, name: &str, entry: &Entry) {
        if let Ok(vnid) = entry.summary().vnid.parse()
            && self.0.get(&vnid).is_some_and(|network| network.name == name)
        {
            self.0.remove(&vnid);
        }
    }

    /// Why an NVE may not have an identifier, if operators want it elsewhere. `claims` has whose addresses are, and `is_at`
    /// says whether a network has an attachment at an NVE.
    pub(super) fn denies<'c>(
        &self,
        claims: &'c HashMap<Claim, ObjectKey>,
        is_at: impl Fn(&str, &str) -> bool,
        nve: &str,
        key: Key,
    ) -> Option<String> {
        let claimed_by = |claim: &Claim| -> Option<&'c ObjectKey> { claims.get(claim) };
        let identifier = Identifier(key.identifier);
        let Some(vnid) = identifier.vnid() else {
            let sir = Ipv6Addr::from(u128::from(key.sir_prefix) << 64 | u128::from(key.identifier));
            return elsewhere(claimed_by(&Claim::Task(sir))?, nve, key);
        };
        let network = self.0.get(&vnid).filter(|network| network.sir_prefix == key.sir_prefix)?;
        let low = key.identifier as u32;
        let address = match identifier.kind() {
            IdentifierType::TenantIpv4 => Some(IpAddr::V4(Ipv4Addr::from(low))),
            _ => network.ipv6.map(|prefix| IpAddr::V6(Ipv6Addr::from(prefix | u128::from(low)))),
        };
        let Network { name, peers, .. } = network;
        let Some(address) = address else {
            return Some(format!("network {name} (VNID {vnid}) has no IPv6 prefix"));
        };
        if matches!(address, IpAddr::V4(address) if peers.contains(&address)) {
            return Some(format!("{address} stands for a peer in network {name}"));
        }
        match claimed_by(&Claim::Tenant(name.clone(), address)) {
            Some(owner) => elsewhere(owner, nve, key),
            None if is_at(name, nve) => None,
            None => Some(format!(
                "network {name} (VNID {vnid}) was made by an operator, who placed nobody of it at {nve}; attach {address} \
                 there (ilactl nva attachment add)"
            )),
        }
    }
}

/// Says so if the attachment is at another NVE.
fn elsewhere(owner: &ObjectKey, nve: &str, key: Key) -> Option<String> {
    let ObjectName::Attachment(name) = &owner.name else { return None };
    (owner.nve != nve)
        .then(|| format!("{key} is that of attachment {name} at {}, where an operator wants it", owner.nve))
}
