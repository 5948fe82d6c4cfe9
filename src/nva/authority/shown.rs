//! What operators and metrics are shown of the authority.

use super::{Asked, Authority, Convergence, Drifts, NveState, Triangles};
use crate::ila::SirPrefix;
use crate::nva::addresses::AddressCounts;
use std::collections::{BTreeMap, BTreeSet};

impl Authority {
    /// What became of what ILA routers told of.
    #[must_use]
    pub fn triangles(&self) -> Triangles {
        self.triangles
    }

    /// Where NVEs had something else.
    #[must_use]
    pub fn drifts(&self) -> Drifts {
        self.drifts
    }

    /// How long transactions took from being durable until an NVE that was subscribed then said that it applied them.
    #[must_use]
    pub fn convergence(&self) -> &Convergence {
        &self.convergence.all
    }

    /// The same by virtual network: those with a histogram of their own, by name or VNID, and all others.
    #[must_use]
    pub fn convergence_by_network(&self) -> (Vec<(String, Convergence)>, Convergence) {
        let catalogue = self.registry.catalogue();
        let label = |&(sir_prefix, vnid): &(u64, u32)| match catalogue.name_of(sir_prefix, vnid) {
            Some(name) => name.to_owned(),
            None => format!("{vnid} of {}", SirPrefix(sir_prefix)),
        };
        let of = self.convergence.of.iter().map(|(network, it)| (label(network), *it));
        (of.collect(), self.convergence.others)
    }

    /// Identifiers that NVEs asked for, and that were answered.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.sessions.asked
    }

    /// What became of addresses that NVEs asked for.
    #[must_use]
    pub fn addresses(&self) -> AddressCounts {
        self.sessions.addresses
    }

    /// NVEs without a session at any authority, and for how long, as far as this one knows.
    #[must_use]
    pub fn away_ms(&self) -> BTreeMap<&str, u64> {
        let here: BTreeSet<&str> = self.nves().map(|nve| nve.name).collect();
        let is_away = |nve: &&str| !here.contains(nve) && !self.elsewhere.nves().contains_key(*nve);
        let since = |nve: &str| self.sessions.away.get(nve).copied().unwrap_or(0);
        let away = self.registry.nves().map(|(nve, _)| nve).filter(is_away);
        away.map(|nve| (nve, self.now_ms.saturating_sub(since(nve)))).collect()
    }

    /// Name of the registry's history.
    #[must_use]
    pub fn epoch(&self) -> &[u8] {
        &self.settings.epoch
    }

    /// What an NVE registered in its session.
    #[cfg(test)]
    pub(in crate::nva) fn claimed(&self, id: super::SessionId) -> Vec<crate::nva::model::Key> {
        self.sessions.all[&id].claimed.iter().flatten().copied().collect()
    }

    /// NVEs with a session.
    pub fn nves(&self) -> impl Iterator<Item = NveState<'_>> {
        self.sessions.all.values().filter_map(|session| {
            let provisioning = session.provisioning.as_ref();
            Some(NveState {
                name: session.nve.as_deref()?,
                applied: session.applied,
                asks: session.asks(),
                follows: session.subscribed_at.is_some(),
                provisioned: provisioning.map(|it| (it.revision, &it.refused[..])),
            })
        })
    }

    /// How many transactions the slowest of the NVEs that follow mappings is behind.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let followers = self.nves().filter(|nve| nve.follows);
        let behind = followers.map(|nve| self.registry.revision().saturating_sub(nve.applied));
        behind.max().unwrap_or(0)
    }

    /// NVEs with a session at another authority, and its name.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&str, &str)> {
        self.elsewhere.nves().iter().map(|(nve, authority)| (nve.as_str(), authority.as_str()))
    }
}
