//! Where an identifier stands: in the configuration or in the mapping file.

use super::super::model::{Config, LocalIdentifier};
use crate::ila::Identifier;
use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;

/// Every identifier of our own attachments, with its place in the configuration.
pub(super) fn locals(config: &Config) -> impl Iterator<Item = (Local, LocalIdentifier)> + '_ {
    let attachments = config.attachments.iter().enumerate();
    attachments.flat_map(|(n, attachment)| {
        let tenant = attachment.network.is_some();
        let identifiers = attachment.identifiers.iter().enumerate();
        identifiers.map(move |(m, local)| (Local { attachment: n, tenant, entry: m }, *local))
    })
}

/// The identifiers of IPv4 addresses that stand for peers; nothing is attached there.
pub(super) fn mapped(config: &Config) -> HashSet<LocalIdentifier> {
    let networks = config.virtual_networks.iter();
    let of = networks.flat_map(|network| {
        let identifier = |address| Identifier::tenant_ipv4(network.vnid, address);
        let domain = network.domain;
        network.peers.iter().map(move |peer| LocalIdentifier { domain, identifier: identifier(peer.address) })
    });
    of.collect()
}

/// Why an identifier that is [`mapped`] has no mapping.
pub(super) fn is_mapped(identifier: Identifier) -> String {
    let address = Ipv4Addr::from(identifier.0 as u32);
    format!(
        "{address} stands for a peer in its virtual network; map the peer itself, or remove it from peers"
    )
}

/// The place of an identifier in the configuration.
pub(super) struct Local {
    attachment: usize,
    /// Whether it belongs to an address of a tenant; addresses and identifiers have the same order.
    tenant: bool,
    entry: usize,
}

/// Where an identifier was met before.
pub(super) enum Location {
    /// In the configuration.
    Local(Local),
    /// In this file: entry, key and line.
    Entry(usize, &'static str, u64),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(Local { attachment, tenant, entry }) => {
                let list = if *tenant { "addresses" } else { "identifiers" };
                write!(f, "attachments[{attachment}].{list}[{entry}] of the configuration")
            }
            Location::Entry(n, key, line) => write!(f, "mappings[{n}].{key} (line {line})"),
        }
    }
}
