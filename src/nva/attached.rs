//! Virtual networks as NVEs with a session have them (VMM draft §4.3, RFC 8171 §3): their names, prefixes and the MAC
//! addresses of their gateways. A tenant keeps the MAC address of its gateway when it moves, so all NVEs must have the
//! same.
//!
//! It is what NVEs say of themselves: nothing else is judged by it.

use super::message::{AttachedNetwork, AttachedNetworks, NETWORKS_IN_ALL, SessionId};
use super::model::Network;
use crate::net::Mac;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What was said, and is true as long as the session lives.
#[derive(Debug, Default)]
pub(super) struct Attached {
    sessions: HashMap<SessionId, BTreeMap<Network, Said>>,
    networks: BTreeMap<Network, Bearers>,
    /// Number of the next report.
    next: u64,
}

#[derive(Debug)]
struct Said {
    /// When it was said first, by the numbers of reports.
    number: u64,
    network: AttachedNetwork,
}

/// Who has a network.
#[derive(Debug, Default)]
struct Bearers {
    /// By the number of its report: who said it first comes first.
    by: BTreeMap<u64, SessionId>,
    /// How many have each gateway.
    gateways: BTreeMap<Mac, usize>,
}

/// What a report changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// New there, or another one than before.
    Attached(Network),
    /// Not there any more.
    Detached(Network),
}

/// A virtual network at one NVE, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAt<'a> {
    /// The network.
    pub network: Network,
    /// The name that operators of the authority gave it.
    pub declared: Option<&'a str>,
    /// The NVE.
    pub nve: &'a str,
    /// What it has.
    pub at: &'a AttachedNetwork,
    /// The MAC address that its gateway should have.
    pub gateway_mac: Mac,
}

impl Attached {
    /// An NVE says what it has. Gives what changes by that.
    ///
    /// # Errors
    /// It has more networks than there may be.
    pub(super) fn hear(&mut self, id: SessionId, report: AttachedNetworks) -> Result<Vec<Change>, String> {
        let AttachedNetworks { whole, networks, detached } = report;
        let mut changes = Vec::new();
        let gone: Vec<Network> = match whole {
            true => {
                let named: BTreeSet<Network> = networks.iter().map(|(network, _)| *network).collect();
                let own = self.sessions.get(&id).into_iter().flat_map(BTreeMap::keys).copied();
                own.filter(|network| !named.contains(network)).collect()
            }
            false => detached,
        };
        for network in gone {
            if self.forget(id, network).is_some() {
                changes.push(Change::Detached(network));
            }
        }
        for (network, said) in networks {
            let own = self.sessions.entry(id).or_default();
            if !own.contains_key(&network) && own.len() >= NETWORKS_IN_ALL {
                return Err(format!("more than {NETWORKS_IN_ALL} virtual networks; an NVE has no more"));
            }
            if own.get(&network).is_some_and(|before| before.network == said) {
                continue;
            }
            let before = self.forget(id, network);
            self.next += 1;
            let number = before.unwrap_or(self.next);
            let of = self.networks.entry(network).or_default();
            of.by.insert(number, id);
            *of.gateways.entry(said.gateway_mac).or_default() += 1;
            self.sessions.entry(id).or_default().insert(network, Said { number, network: said });
            changes.push(Change::Attached(network));
        }
        Ok(changes)
    }

    /// A session ended.
    pub(super) fn left(&mut self, id: SessionId) {
        let own = self.sessions.get(&id).into_iter().flat_map(BTreeMap::keys);
        for network in own.copied().collect::<Vec<_>>() {
            self.forget(id, network);
        }
        self.sessions.remove(&id);
    }

    /// Gives the number of the report that it forgets.
    fn forget(&mut self, id: SessionId, network: Network) -> Option<u64> {
        let Said { number, network: said } = self.sessions.get_mut(&id)?.remove(&network)?;
        if let Some(of) = self.networks.get_mut(&network) {
            of.by.remove(&number);
            if let Some(count) = of.gateways.get_mut(&said.gateway_mac) {
                *count -= 1;
                if *count == 0 {
                    of.gateways.remove(&said.gateway_mac);
                }
            }
            if of.by.is_empty() {
                self.networks.remove(&network);
            }
        }
        Some(number)
    }

    /// What a session has of a network.
    pub(super) fn of(&self, id: SessionId, network: Network) -> Option<&AttachedNetwork> {
        Some(&self.sessions.get(&id)?.get(&network)?.network)
    }

    /// Who said first that it has a network.
    pub(super) fn first(&self, network: Network) -> Option<(SessionId, Mac)> {
        let (_, id) = self.networks.get(&network)?.by.first_key_value()?;
        Some((*id, self.of(*id, network)?.gateway_mac))
    }

    /// All who have networks behind one, in the order of networks, and of who said it first.
    pub(super) fn after(
        &self,
        network: Option<Network>,
    ) -> impl Iterator<Item = (Network, SessionId, &AttachedNetwork)> {
        use std::ops::Bound;
        let after = network.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.networks.range((after, Bound::Unbounded));
        let all = all.flat_map(|(network, of)| of.by.values().map(|id| (*network, *id)));
        all.filter_map(|(network, id)| Some((network, id, self.of(id, network)?)))
    }

    /// How many have another gateway than they should. `declared` is what operators want of a network; of others it is what
    /// the first one has.
    pub(super) fn differing(&self, declared: impl Fn(Network) -> Option<Mac>) -> usize {
        let of = |(network, of): (&Network, &Bearers)| {
            let right = declared(*network).or_else(|| Some(self.first(*network)?.1));
            let all: usize = of.gateways.values().sum();
            all - right.and_then(|right| of.gateways.get(&right)).copied().unwrap_or(0)
        };
        self.networks.iter().map(of).sum()
    }
}
