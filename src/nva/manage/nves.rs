//! The authority and its NVEs, in the operator's API.

use super::objects;
use crate::api::manage as v1;
use crate::nva::authority::{Authority, NveState};
use crate::nva::restoration::Restoration;
use crate::nva::scope::Sight;
use std::collections::{BTreeMap, BTreeSet};

/// Names of NVEs that a status shows.
const WAITED_FOR: usize = 100;

/// The authority and its registry. Who may not see everything sees the authority only.
pub(in crate::nva) fn status(
    authority: &Authority,
    name: String,
    uptime_s: u64,
    sight: &Sight,
) -> v1::Status {
    let registry = authority.registry();
    let status = v1::Status {
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s,
        epoch: authority.epoch().iter().map(|byte| format!("{byte:02x}")).collect(),
        revision: registry.revision(),
        restored: registry.restoration().is_some(),
        ..v1::Status::default()
    };
    if !sight.is_all() {
        return status;
    }
    let (identifiers, released) = registry.counts();
    v1::Status {
        identifiers: identifiers as u64,
        released: released as u64,
        nves: registry.nves().count() as u64,
        sessions: authority.nves().count() as u64,
        waits_for: registry.restoration().into_iter().flat_map(waits_for).collect(),
        ..status
    }
}

fn waits_for(restoration: &Restoration) -> impl Iterator<Item = String> {
    restoration.waits_for().take(WAITED_FOR).map(str::to_owned)
}

/// NVEs that may open a session, and those that may not and have identifiers, by name. Who may see some networks sees
/// those where tenants of these are wanted, and of these the state only.
pub(in crate::nva) fn list(authority: &Authority, authority_name: &str, sight: &Sight) -> Vec<v1::Nve> {
    let elsewhere: BTreeMap<&str, &str> = authority.elsewhere().collect();
    let live: BTreeMap<&str, NveState<'_>> = authority.nves().map(|nve| (nve.name, nve)).collect();
    let (registry, away) = (authority.registry(), authority.away_ms());
    let networks = sight.networks.iter().flat_map(|networks| networks.iter());
    let seen: BTreeSet<&str> = networks.flat_map(|name| registry.catalogue().nves_of(name)).collect();
    let seen = |name: &str| sight.is_all() || seen.contains(name);
    let mut nves: Vec<v1::Nve> = registry
        .nves()
        .filter(|(name, _)| seen(name))
        .map(|(name, nve)| {
            let state = live.get(name);
            let there = elsewhere.get(name).copied().unwrap_or_default();
            let shown = v1::Nve {
                name: name.to_owned(),
                session: state.is_some(),
                authority: state.map_or(there, |_| authority_name).to_owned(),
                applied: state.map_or(0, |state| state.applied),
                away_s: away.get(name).map(|ms| ms / 1_000),
                ..v1::Nve::default()
            };
            if !sight.is_all() {
                return shown;
            }
            let allocated = registry.locators_allocated_to(name).map(|(_, locator)| locator);
            let allocated = allocated.filter(|locator| !registry.is_configured(*locator));
            let locators = nve.locators.keys().copied().chain(allocated);
            let mut locators: Vec<String> = locators.map(|locator| locator.to_string()).collect();
            locators.sort();
            let provisioned = state.and_then(|state| state.provisioned.as_ref());
            v1::Nve {
                identifiers: registry.count_of(name) as u64,
                max_identifiers: nve.max_identifiers as u64,
                locators,
                provisioned: provisioned.map(|(revision, _)| *revision),
                refused: state.map(objects::refusals).unwrap_or_default(),
                refusals: provisioned.map_or(0, |(_, refused)| refused.len() as u64),
                ..shown
            }
        })
        .collect();
    nves.extend(registry.strangers().filter(|_| sight.is_all()).map(|(name, identifiers)| v1::Nve {
        name: name.to_owned(),
        identifiers: identifiers as u64,
        unknown: true,
        ..v1::Nve::default()
    }));
    nves.sort_by(|a, b| a.name.cmp(&b.name));
    nves
}
