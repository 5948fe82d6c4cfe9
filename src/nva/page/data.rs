//! What the page shows: the same as operators are told, and of it what one may see.

use crate::api::manage as v1;
use crate::config::ObjectName;
use crate::net::Mac;
use crate::nva::authority::Authority;
use crate::nva::inbox::{AuthorityHandle, Gone};
use crate::nva::manage::objects::Wanted;
use crate::nva::manage::records::Filter;
use crate::nva::manage::{moves, nves};
use crate::nva::model::{Key, ObjectKey};
use crate::nva::scope::Sight;
use serde::Serialize;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Mappings of one answer, at least as many as one look finds.
const FOUND: usize = 100;
/// Looks of one answer, of a thousand records each.
const LOOKS: usize = 200;
/// Networks of one answer, and their bytes, about: one look goes beyond them.
const NETWORKS: usize = 5_000;
const NETWORK_BYTES: usize = 4 << 20;

/// Moves of one answer.
const MOVES: usize = 1_000;

/// The authority, and who looks at it.
#[derive(Serialize)]
pub(super) struct Status {
    status: v1::Status,
    who: String,
    /// The networks that one may see; none: everything.
    networks: Option<Vec<String>>,
}

pub(super) fn status(
    authority: &Authority,
    name: String,
    uptime_s: u64,
    who: String,
    sight: &Sight,
) -> Status {
    let networks = sight.networks.as_ref().map(|networks| networks.iter().cloned().collect());
    Status { status: nves::status(authority, name, uptime_s, sight), who, networks }
}

/// The NVEs, and the revision of the registry that they are held against.
#[derive(Serialize)]
pub(super) struct Nves {
    revision: u64,
    nves: Vec<v1::Nve>,
}

pub(super) fn nves(authority: &Authority, name: &str, sight: &Sight) -> Nves {
    Nves { revision: authority.registry().revision(), nves: nves::list(authority, name, sight) }
}

/// Moves that are under way, the last ones that are over, and whether there are others.
#[derive(Serialize)]
pub(super) struct Moves {
    moves: Vec<v1::Move>,
    more: bool,
}

pub(super) fn moves(authority: &Authority, sight: &Sight) -> Moves {
    let request = v1::MoveListRequest { ended: true, ..v1::MoveListRequest::default() };
    let mut moves = moves::list(authority, &request, sight);
    let more = moves.len() > MOVES;
    moves.truncate(MOVES);
    Moves { moves, more }
}

/// Virtual networks that operators made.
#[derive(Serialize)]
pub(super) struct Networks {
    networks: Vec<v1::Object>,
    /// Whether there are others.
    more: bool,
}

pub(super) async fn networks(handle: &AuthorityHandle, sight: Sight) -> Result<Networks, Gone> {
    let wanted = Arc::new(Wanted::networks().within(sight));
    let (mut networks, mut bytes) = (Vec::new(), 0);
    // Networks come before attachments, and these are of no use here.
    let mut after: Option<ObjectKey> = None;
    loop {
        let (wanted, from) = (wanted.clone(), after.take());
        let (found, last) = handle.look(move |it| wanted.look(it, from.as_ref())).await?;
        bytes += found.iter().map(prost::Message::encoded_len).sum::<usize>();
        networks.extend(found);
        let is_over = last.as_ref().is_none_or(|key| !matches!(key.name, ObjectName::Network(_)));
        if is_over || networks.len() >= NETWORKS || bytes >= NETWORK_BYTES {
            return Ok(Networks { networks, more: !is_over });
        }
        after = last;
    }
}

/// Mappings that were searched for.
#[derive(Serialize)]
pub(super) struct Mappings {
    /// As what the text was taken.
    what: String,
    records: Vec<v1::Record>,
    /// There may be others behind this SIR address.
    more: Option<String>,
}

pub(super) async fn mappings(
    handle: &AuthorityHandle,
    sight: Sight,
    text: String,
    after: Option<Ipv6Addr>,
) -> Result<Mappings, Gone> {
    let seen = sight.clone();
    let understood = handle.look(move |authority| understand(authority, &seen, &text)).await?;
    let Some((what, filter)) = understood else {
        let what = "nothing is called so; write a SIR address, a tenant's IPv4 address, a locator, or the name \
                    of an NVE or network";
        return Ok(Mappings { what: what.to_owned(), records: Vec::new(), more: None });
    };
    let filter = Arc::new(filter.within(sight));
    let mut records = Vec::new();
    let mut after = after.map(|sir| {
        let bits = sir.to_bits();
        Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 }
    });
    for _ in 0..LOOKS {
        let filter = filter.clone();
        let (found, last) = handle.look(move |authority| filter.look(authority, after)).await?;
        records.extend(found);
        after = last;
        if after.is_none() || records.len() >= FOUND {
            break;
        }
    }
    Ok(Mappings { what, records, more: after.map(|key| key.to_string()) })
}

/// What somebody searches for. Of what may not be seen, not even the name is known.
fn understand(authority: &Authority, sight: &Sight, text: &str) -> Option<(String, Filter)> {
    let (registry, all) = (authority.registry(), Filter::default());
    if text.is_empty() {
        return Some(("all mappings".to_owned(), all));
    }
    match text.parse() {
        Ok(IpAddr::V6(sir)) => {
            let bits = sir.to_bits();
            let key = Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 };
            return Some((format!("SIR address {key}"), Filter { key: Some(key), ..all }));
        }
        Ok(IpAddr::V4(address)) => {
            return Some((
                format!("IPv4 address {address} of tenants"),
                Filter { ipv4: Some(address), ..all },
            ));
        }
        Err(_) => {}
    }
    if let Ok(mac) = text.parse::<Mac>() {
        return Some((format!("MAC address {mac}"), Filter { mac: Some(mac), ..all }));
    }
    if let Ok(locator) = text.parse() {
        return Some((format!("locator {locator}"), Filter { locator: Some(locator), ..all }));
    }
    if sight.is_all() && (registry.knows(text) || registry.count_of(text) > 0) {
        return Some((format!("NVE {text}"), Filter { nve: Some(text.to_owned()), ..all }));
    }
    let network = registry.catalogue().number_of(text).filter(|_| sight.of_network(text))?;
    Some((format!("network {text}, VNID {}", network.1), Filter { network: Some(network), ..all }))
}
