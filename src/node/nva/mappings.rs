//! Mappings of the authority and of this node, between their two forms: keys and changes.

use crate::config::{Config, LocalIdentifier};
use crate::ila::Identifier;
use crate::mapping::{Batch, Change, MappingRecord, MappingTarget, Origin, Parts};
use crate::node::handle::{ControlHandle, Gone, Request};
use crate::node::stats::Stats;
use crate::nva::message::Told;
use crate::nva::model::{Choice, Key};
use crate::table::DomainId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Records of one push that may be wrong, before it is given up and everything is asked for anew.
const MAX_WRONG: usize = 100;

/// Applies what the authority pushed. A record that the node cannot take is left out and counted: it must not stop the
/// rest. Gives how many; `None`: too much is wrong.
pub(super) async fn push(
    handle: &ControlHandle,
    config: &Config,
    stats: &Stats,
    (origin, whole): (Origin, bool),
    mappings: &[Told],
    expiring: &[Key],
) -> Result<Option<u64>, Gone> {
    let mut changes = changes(config, mappings);
    let unknown = mappings.len() - changes.len();
    changes.extend(marks(config, expiring));
    for wrong in 0..MAX_WRONG {
        let batch = Batch { origin, changes: changes.clone(), complete: whole };
        let Err(refusal) = handle.ask(|answer| Request::Apply(batch, answer)).await? else {
            let left_out = (unknown + wrong) as u64;
            stats.nva.left_out(left_out);
            return Ok(Some(left_out));
        };
        tracing::error!(mapping = %refusal.sir, why = refusal.why, "a mapping of the authority is left out");
        let is_it = |change: &Change| {
            let (domain, identifier) = match change {
                Change::Upsert(record) => (record.domain, record.identifier),
                Change::Delete { domain, identifier } | Change::Expiring { domain, identifier } => {
                    (*domain, *identifier)
                }
            };
            let sir =
                config.sir_domains.get(usize::from(domain)).map(|domain| domain.prefix.with(identifier));
            sir == Some(refusal.sir.into())
        };
        let before = changes.len();
        changes.retain(|change| !is_it(change));
        if changes.len() == before {
            break;
        }
    }
    Ok(None)
}

/// Adds to what there is in some parts that nothing else is there.
pub(super) async fn forget_others(
    handle: &ControlHandle,
    parts: &Parts,
    mappings: &mut Vec<Told>,
) -> Result<(), Gone> {
    let held = handle.ask(|answer| Request::HeldIn(parts.clone(), answer)).await?;
    let named: BTreeSet<Key> = mappings.iter().map(|told| told.key).collect();
    let keys = held.into_iter().map(|(sir_prefix, it)| Key { sir_prefix, identifier: it.0 });
    let others = keys.filter(|key| !named.contains(key));
    mappings.extend(others.map(|key| Told { key, choices: Vec::new(), sequence: 0 }));
    Ok(())
}

/// What the authority told as changes, without what is in a SIR domain that this node does not know.
pub(super) fn changes(config: &Config, mappings: &[Told]) -> Vec<Change> {
    let domains = domains(config);
    mappings.iter().filter_map(|told| Some(change(*domains.get(&told.key.sir_prefix)?, told))).collect()
}

/// What is about to expire as changes.
fn marks(config: &Config, expiring: &[Key]) -> Vec<Change> {
    let domains = domains(config);
    let mark = |key: &Key| {
        let (domain, identifier) = (*domains.get(&key.sir_prefix)?, Identifier(key.identifier));
        Some(Change::Expiring { domain, identifier })
    };
    expiring.iter().filter_map(mark).collect()
}

/// The SIR domains by their prefixes.
fn domains(config: &Config) -> HashMap<u64, u8> {
    config.sir_domains.iter().zip(0..).map(|(domain, n)| (domain.prefix.0, n)).collect()
}

fn change(domain: u8, told: &Told) -> Change {
    let identifier = Identifier(told.key.identifier);
    if told.choices.is_empty() {
        return Change::Delete { domain, identifier };
    }
    let target = MappingTarget::Locators(told.choices.clone());
    Change::Upsert(MappingRecord { domain, identifier, target })
}

/// The key of an identifier of a SIR domain, if the configuration has that domain.
pub(super) fn key(config: &Config, domain: DomainId, identifier: Identifier) -> Option<Key> {
    let domain = config.sir_domains.get(usize::from(domain.0))?;
    Some(Key { sir_prefix: domain.prefix.0, identifier: identifier.0 })
}

/// What is attached here, with the locators of this node in its domain.
pub(super) fn attached(config: &Config) -> BTreeMap<Key, Vec<Choice>> {
    let local = config.attachments.iter().flat_map(|attachment| &attachment.identifiers);
    let claim = |local: &LocalIdentifier| {
        let domain = config.sir_domains.get(usize::from(local.domain))?;
        let own = config.locators.iter().filter(|own| own.domain == local.domain);
        let choices: Vec<Choice> =
            own.map(|own| Choice { locator: own.prefix, priority: 0, weight: 1 }).collect();
        let key = Key { sir_prefix: domain.prefix.0, identifier: local.identifier.0 };
        (!choices.is_empty() && key.is_mappable()).then_some((key, choices))
    };
    local.filter_map(claim).collect()
}
