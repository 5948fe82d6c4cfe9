//! Mappings of the authority and of this node, between their two forms: keys and changes.

use super::left_out::Missing;
use crate::config::{Config, LocalIdentifier};
use crate::ila::Identifier;
use crate::mapping::{Batch, Change, MappingRecord, MappingTarget, Origin, Parts};
use crate::net::Mac;
use crate::node::handle::{ControlHandle, Gone, Request};
use crate::node::stats::Stats;
use crate::nva::message::{AttachedNetwork, Told};
use crate::nva::model::{Binding, Choice, Key, Network};
use crate::table::DomainId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Lines of the log about one push.
const TOLD: usize = 10;

/// Applies what the authority pushed. A record that the node cannot take is left out and counted: it must not stop the
/// rest. Gives what is missing then; `None`: not even the rest can be applied.
pub(super) async fn push(
    handle: &ControlHandle,
    config: &Config,
    stats: &Stats,
    (origin, whole): (Origin, bool),
    mappings: &[Told],
    expiring: &[Key],
) -> Result<Option<Missing>, Gone> {
    let mut changes = changes(config, mappings);
    let unknown = mappings.len() - changes.len();
    changes.extend(marks(config, expiring));
    let apply = |changes: &[Change], complete| {
        let batch = Batch { origin, changes: changes.to_vec(), complete };
        handle.ask(|answer| Request::Apply(batch, answer))
    };
    let mut wrong = Vec::new();
    if apply(&changes, whole).await?.is_err() {
        // What is wrong is found by halves, and the rest is in force then.
        let mut parts = vec![&changes[..]];
        while let Some(part) = parts.pop() {
            match (apply(part, false).await?, part) {
                (Ok(_), _) | (Err(_), []) => {}
                (Err(refusal), [change]) => wrong.push((change.clone(), refusal)),
                (Err(_), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        if !whole {
            // What the node had of these before is not what the authority says.
            for gone in wrong.iter().filter_map(|(change, _)| deleted(change)) {
                // One that cannot be there is refused, and is not there.
                _ = apply(std::slice::from_ref(&gone), false).await?;
            }
        }
        if whole {
            // Then what is not named goes, and may have been in the way.
            let right: Vec<Change> = changes
                .iter()
                .filter(|change| !wrong.iter().any(|(other, _)| other == *change))
                .cloned()
                .collect();
            if apply(&right, true).await?.is_err() {
                return Ok(None);
            }
            let mut still = Vec::new();
            for (change, _) in wrong {
                if let Err(refusal) = apply(std::slice::from_ref(&change), false).await? {
                    still.push((change, refusal));
                }
            }
            wrong = still;
        }
    }
    for (_, refusal) in wrong.iter().take(TOLD) {
        tracing::error!(mapping = %refusal.sir, why = refusal.why, "a mapping of the authority is left out");
    }
    if let Some(more) = wrong.len().checked_sub(TOLD).filter(|more| *more > 0) {
        tracing::error!(more, "more mappings of the authority are left out");
    }
    stats.nva.left_out((unknown + wrong.len()) as u64);
    Ok(Some(Missing { unknown: unknown > 0, wrong: !wrong.is_empty() }))
}

/// The end of a mapping that cannot be taken.
fn deleted(change: &Change) -> Option<Change> {
    match change {
        Change::Upsert(record) => {
            Some(Change::Delete { domain: record.domain, identifier: record.identifier })
        }
        Change::Delete { .. } | Change::Expiring { .. } => None,
    }
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

/// What the authority told as changes, first those that delete, without what is in a SIR domain that this node does not
/// know.
pub(super) fn changes(config: &Config, mappings: &[Told]) -> Vec<Change> {
    let domains = domains(config);
    // Of two identifiers that neutral mapping cannot tell apart, one may go and the other come.
    let (gone, there): (Vec<&Told>, Vec<&Told>) = mappings.iter().partition(|told| told.choices.is_empty());
    let known = |told: &&Told| Some(change(*domains.get(&told.key.sir_prefix)?, told));
    gone.iter().chain(&there).filter_map(known).collect()
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

/// What is attached here, with the locators of this node in its domain and the MAC address of the attachment.
pub(super) fn attached(config: &Config) -> BTreeMap<Key, Binding> {
    let local = config.attachments.iter().flat_map(|it| it.identifiers.iter().map(|local| (local, it.mac)));
    let claim = |(local, mac): (&LocalIdentifier, Mac)| {
        let domain = config.sir_domains.get(usize::from(local.domain))?;
        let own = config.locators.iter().filter(|own| own.domain == local.domain);
        let choices: Vec<Choice> =
            own.map(|own| Choice { locator: own.prefix, priority: 0, weight: 1 }).collect();
        let key = Key { sir_prefix: domain.prefix.0, identifier: local.identifier.0 };
        let mac = Some(mac);
        (!choices.is_empty() && key.is_mappable()).then_some((key, Binding { choices, mac }))
    };
    local.filter_map(claim).collect()
}

/// The virtual networks of which tenants are attached here.
pub(super) fn attached_networks(config: &Config) -> BTreeMap<Network, AttachedNetwork> {
    let of_tenants: BTreeSet<u16> = config.attachments.iter().filter_map(|it| it.network).collect();
    let network = |index: &u16| {
        let network = config.virtual_networks.get(usize::from(*index))?;
        let domain = config.sir_domains.get(usize::from(network.domain))?;
        let ipv6 = network.ipv6.iter().map(|ipv6| {
            let gateway = ipv6.gateway.map(|gateway| Ipv6Addr::from(gateway).to_string());
            (ipv6.prefix.to_string(), gateway.unwrap_or_default())
        });
        let ipv4 = network.ipv4.iter();
        let ipv4 = ipv4.map(|ipv4| (ipv4.prefix.to_string(), Ipv4Addr::from(ipv4.gateway).to_string()));
        let subnets = ipv6.chain(ipv4).collect();
        let attached = AttachedNetwork { name: network.name.clone(), gateway_mac: network.mac, subnets };
        Some(((domain.prefix.0, network.vnid), attached))
    };
    of_tenants.iter().filter_map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::Locator;
    use crate::mapping::{Applied, Refusal};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const TEXT: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
ports: [{name: a, device: "net_null0", role: fabric}]
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
"#;

    fn told(number: u64, is_there: bool) -> Told {
        let choice = Choice { locator: Locator(7 << 16), priority: 0, weight: 1 };
        let key = Key { sir_prefix: 0x2001_0db8_dddd_0000, identifier: 1 << 61 | number };
        Told { key, choices: if is_there { vec![choice] } else { Vec::new() }, sequence: 1 }
    }

    fn number(change: &Change) -> u64 {
        match change {
            Change::Upsert(record) => record.identifier.0 & 0xffff,
            Change::Delete { identifier, .. } | Change::Expiring { identifier, .. } => identifier.0 & 0xffff,
        }
    }

    /// Pushes mappings to a node that refuses these, and says what is in force then, and how often it was asked.
    async fn pushed(
        mappings: &[Told],
        whole: bool,
        wrong: &[u64],
    ) -> (Option<Missing>, BTreeSet<u64>, usize) {
        let config = Config::parse(TEXT, "t.yaml").unwrap();
        let stats = Stats::new("n".into(), Vec::new(), &[1], 0);
        let (handle, mut requests) = ControlHandle::pair(4);
        let wrong: BTreeSet<u64> = wrong.iter().copied().collect();
        let node = tokio::spawn(async move {
            let (mut held, mut asked) = (BTreeSet::from([900]), 0);
            while let Some(Request::Apply(batch, answer)) = requests.recv().await {
                asked += 1;
                let comes = |change: &&Change| matches!(change, Change::Upsert(_));
                let refused =
                    batch.changes.iter().filter(comes).map(number).find(|number| wrong.contains(number));
                let judged = match refused {
                    Some(number) => {
                        Err(Refusal { sir: u128::from(number).into(), why: "it is wrong".to_owned() })
                    }
                    None => Ok(Applied { revision: 1, created: 0, changed: 0, deleted: 0 }),
                };
                if judged.is_ok() {
                    if batch.complete {
                        held.clear();
                    }
                    held.extend(batch.changes.iter().filter(comes).map(number));
                    let goes = batch.changes.iter().filter(|change| !comes(change));
                    goes.for_each(|change| _ = held.remove(&number(change)));
                }
                let _ = answer.send(judged);
            }
            (held, asked)
        });
        let missing = push(&handle, &config, &stats, (Origin::Nva, whole), mappings, &[]).await.unwrap();
        drop(handle);
        let (held, asked) = node.await.unwrap();
        (missing, held, asked)
    }

    #[tokio::test]
    async fn what_is_wrong_is_left_out_however_much_it_is_and_the_rest_is_in_force() {
        let mappings: Vec<Told> = (0..512).map(|number| told(number, true)).collect();
        let wrong: Vec<u64> = (0..512).filter(|number| number % 3 == 0).collect();
        let right: BTreeSet<u64> = (0..512).filter(|number| number % 3 != 0).collect();
        let some = Some(Missing { unknown: false, wrong: true });
        let (missing, held, _) = pushed(&mappings, true, &wrong).await;
        assert_eq!((missing, &held), (some, &right));
        // What the node had of one that it cannot take any more goes.
        let wrong = [100, 900];
        let more: Vec<Told> = mappings.iter().cloned().chain([told(900, true)]).collect();
        let (missing, held, asked) = pushed(&more, false, &wrong).await;
        assert_eq!((missing, held.len(), held.contains(&900)), (some, 511, false));
        assert!(asked < 48, "asked {asked} times for two that are wrong");
        let (missing, held, asked) = pushed(&mappings, true, &[]).await;
        assert_eq!((missing, held.len(), asked), (Some(Missing::default()), 512, 1));
    }

    #[test]
    fn what_goes_goes_before_what_comes() {
        let config = Arc::new(Config::parse(TEXT, "t.yaml").unwrap());
        let changes = changes(&config, &[told(0, true), told(0xffff, false), told(3, true), told(4, false)]);
        assert_eq!(changes.iter().map(number).collect::<Vec<_>>(), [0xffff, 4, 0, 3]);
    }
}
