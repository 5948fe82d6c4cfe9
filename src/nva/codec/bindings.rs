//! The messages about MAC addresses and attached networks.

use super::super::malformed::{MAX_NAME, Malformed, malformed};
use super::super::message::{
    AttachedNetwork, AttachedNetworks, Down, FoundMac, NETWORKS, NETWORKS_IN_ALL, QUERY_KEYS, SUBNETS, Up,
};
use super::super::model::Network;
use super::super::v1;
use super::fields::MAX_OBJECT_NAME;
use crate::net::Mac;

/// Longest prefix or address as text, in bytes.
const MAX_SUBNET: usize = 64;

/// A MAC address of a request.
pub(super) fn read_mac(bits: u64) -> Result<Mac, Malformed> {
    match Mac::from_bits(bits).filter(|mac| *mac != Mac::ZERO) {
        Some(mac) => Ok(mac),
        None => malformed(format!("{bits:x} is no MAC address; it has 48 bits and is not 0")),
    }
}

pub(super) fn read_find(find: v1::FindMacs) -> Result<Up, Malformed> {
    let v1::FindMacs { id, sir_prefix, vnid, macs } = find;
    if macs.is_empty() || macs.len() > QUERY_KEYS {
        return malformed(format!("FindMacs: {} MAC addresses; name 1 to {QUERY_KEYS}", macs.len()));
    }
    let mut macs = macs.into_iter().map(read_mac).collect::<Result<Vec<Mac>, _>>()?;
    // Each is looked for once.
    macs.sort_unstable_by_key(|mac| mac.bits());
    macs.dedup();
    Ok(Up::FindMacs { id, network: (sir_prefix, vnid), macs })
}

pub(super) fn read_asked(
    v1::AllocateAddress { id, attachment }: v1::AllocateAddress,
) -> Result<Up, Malformed> {
    match attachment.len() {
        1..=MAX_OBJECT_NAME => Ok(Up::AllocateAddress { id, attachment }),
        length => malformed(format!("AllocateAddress: a name of {length} bytes; 1 to {MAX_OBJECT_NAME}")),
    }
}

pub(super) fn read_found(found: v1::FoundMacs) -> Result<Down, Malformed> {
    let v1::FoundMacs { id, revision, found, negative_lifetime_ms, why } = found;
    let read = |v1::FoundMac { mac, identifiers }| match identifiers.len() {
        0..=QUERY_KEYS => Ok(FoundMac { mac: read_mac(mac)?, identifiers }),
        count => malformed(format!("FoundMacs: {count} identifiers; at most {QUERY_KEYS}")),
    };
    let found = found.into_iter().map(read).collect::<Result<_, _>>()?;
    // It is shown on terminals.
    let why = (!why.is_empty()).then(|| why.replace(char::is_control, " "));
    Ok(Down::FoundMacs { id, revision, found, negative_lifetime_ms, why })
}

pub(super) fn write_found(FoundMac { mac, identifiers }: FoundMac) -> v1::FoundMac {
    v1::FoundMac { mac: mac.bits(), identifiers }
}

pub(super) fn read_attached(attached: v1::AttachedNetworks) -> Result<AttachedNetworks, Malformed> {
    let v1::AttachedNetworks { whole, networks, detached } = attached;
    if networks.len() > NETWORKS || detached.len() > NETWORKS_IN_ALL {
        return malformed(format!(
            "AttachedNetworks: {} networks and {} detached; at most {NETWORKS} and {NETWORKS_IN_ALL}",
            networks.len(),
            detached.len()
        ));
    }
    let networks = networks.into_iter().map(read_network).collect::<Result<_, _>>()?;
    let detached = detached.into_iter().map(|number| read_number(Some(number))).collect::<Result<_, _>>()?;
    Ok(AttachedNetworks { whole, networks, detached })
}

fn read_network(network: v1::AttachedNetwork) -> Result<(Network, AttachedNetwork), Malformed> {
    let v1::AttachedNetwork { number, name, gateway_mac, subnets } = network;
    if name.is_empty() || name.len() > MAX_NAME {
        return malformed(format!("AttachedNetworks: a name of {} bytes; 1 to {MAX_NAME}", name.len()));
    }
    if subnets.len() > SUBNETS {
        return malformed(format!("AttachedNetworks: {} subnets; at most {SUBNETS}", subnets.len()));
    }
    let read = |v1::Subnet { prefix, gateway }| match prefix.len().max(gateway.len()) {
        0..=MAX_SUBNET => Ok((prefix.replace(char::is_control, " "), gateway.replace(char::is_control, " "))),
        length => malformed(format!("AttachedNetworks: {length} bytes of a subnet; at most {MAX_SUBNET}")),
    };
    let subnets = subnets.into_iter().map(read).collect::<Result<_, _>>()?;
    let (name, gateway_mac) = (name.replace(char::is_control, " "), read_mac(gateway_mac)?);
    Ok((read_number(number)?, AttachedNetwork { name, gateway_mac, subnets }))
}

fn read_number(number: Option<v1::NetworkNumber>) -> Result<Network, Malformed> {
    match number {
        Some(v1::NetworkNumber { sir_prefix, vnid }) => Ok((sir_prefix, vnid)),
        None => malformed("AttachedNetworks: a network without its number"),
    }
}

pub(super) fn write_attached(attached: AttachedNetworks) -> v1::AttachedNetworks {
    let AttachedNetworks { whole, networks, detached } = attached;
    let number = |(sir_prefix, vnid): Network| v1::NetworkNumber { sir_prefix, vnid };
    let subnet = |(prefix, gateway): (String, String)| v1::Subnet { prefix, gateway };
    let network = |(of, network): (Network, AttachedNetwork)| v1::AttachedNetwork {
        number: Some(number(of)),
        name: network.name,
        gateway_mac: network.gateway_mac.bits(),
        subnets: network.subnets.into_iter().map(subnet).collect(),
    };
    v1::AttachedNetworks {
        whole,
        networks: networks.into_iter().map(network).collect(),
        detached: detached.into_iter().map(number).collect(),
    }
}
