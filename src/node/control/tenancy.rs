//! Virtual networks and attachments as operators see them, and what operators add to the configuration.
//!
//! A policy or peer that an operator added is an operator's as a mapping is: a reload keeps it, or is refused
//! if it forbids it; what the file says as well becomes the file's. A restart starts from the file.

use super::{Control, Effect};
use crate::api::views::{
    AttachmentView, NetworkCountersView, NetworkDetailView, NetworkView, PeerView, PolicyView, PrefixView,
};
use crate::config::{Amendment, AmendmentRules, Config, PeerWords, PolicyWords, TenantAddress};
use crate::node::handle::{Amend, AmendRefusal};
use crate::node::rib::attachment_key;
use crate::node::stats::NetworkCensus;
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

impl Control {
    /// The file's configuration with what operators added to it. If only the authority's part of it has changed, what it
    /// forbids is dropped: nobody here can be asked.
    ///
    /// # Errors
    /// An operator's policy or peer that the file forbids.
    pub(super) fn amended(
        &self,
        file: &Arc<Config>,
        reread: bool,
    ) -> Result<(Arc<Config>, Vec<Amendment>), String> {
        if self.amendments.is_empty() {
            return Ok((file.clone(), Vec::new()));
        }
        let mut config = Config::clone(file);
        let rules = AmendmentRules::of(file);
        let named = named_by(file);
        let mut kept = Vec::new();
        for amendment in self.amendments.iter().filter(|amendment| !named.contains(*amendment)) {
            match config.amend(&rules, amendment) {
                Ok(amendment) => kept.push(amendment),
                Err(why) if !reread => {
                    let name = name_of(amendment);
                    tracing::warn!(name, why, "what an operator added here is dropped");
                }
                Err(why) => {
                    return Err(format!(
                        "{} was added by an operator, and is in the way: {why}; delete it first with {}",
                        name_of(amendment),
                        way_to_delete(amendment)
                    ));
                }
            }
        }
        Ok((Arc::new(config), kept))
    }

    /// The configuration after an operator's change, and what is then the operators'.
    ///
    /// # Errors
    /// Why it is refused, with the way out.
    pub(super) fn after(&self, amend: &Amend) -> Result<(Arc<Config>, Vec<Amendment>), AmendRefusal> {
        let rules = AmendmentRules::of(&self.config);
        let mut kept = self.amendments.clone();
        match amend {
            Amend::Add(amendment) => {
                let judged = match amendment {
                    Amendment::Policy(words) => rules.policy(words).map(|_| ()),
                    Amendment::Peer(words) => rules.peer(&self.config, words).map(|_| ()),
                };
                judged.map_err(AmendRefusal::Wrong)?;
                let mut config = (*self.config).clone();
                kept.push(config.amend(&rules, amendment).map_err(AmendRefusal::Forbidden)?);
                Ok((Arc::new(config), kept))
            }
            Amend::DeletePolicy(words) => {
                let policy = rules.policy(words).map_err(AmendRefusal::Wrong)?.straight();
                let held = self.config.policies.iter().find(|held| held.straight() == policy);
                let here = held.is_some();
                let words = Amendment::Policy(self.config.policy_words(*held.unwrap_or(&policy)));
                let at = self.place_of(&words, here)?;
                let mut config = (*self.config).clone();
                Arc::make_mut(&mut config.policies).retain(|other| other.straight() != policy);
                kept.remove(at);
                Ok((Arc::new(config), kept))
            }
            Amend::DeletePeer { network, address } => {
                let place = usize::from(self.config.network_named(network).map_err(AmendRefusal::Wrong)?);
                let Ok(bits) = address.parse::<Ipv4Addr>().map(u32::from) else {
                    let address: String = address.chars().take(64).collect();
                    let why = format!("`{address}` is not an IPv4 address; write for example 10.0.0.200");
                    return Err(AmendRefusal::Wrong(why));
                };
                let mut config = (*self.config).clone();
                let networks = Arc::make_mut(&mut config.virtual_networks);
                let peers = networks.get_mut(place).map(|network| &mut network.peers);
                let found = peers.and_then(|peers| {
                    let at = peers.iter().position(|peer| peer.address == bits)?;
                    Some(peers.remove(at))
                });
                let Some(peer) = found else {
                    return Err(AmendRefusal::NotThere(format!(
                        "{address} is no peer's in network {network}; `ilactl peer list` shows them"
                    )));
                };
                let at = self.place_of(&Amendment::Peer(self.config.peer_words(place as u16, peer)), true)?;
                kept.remove(at);
                Ok((Arc::new(config), kept))
            }
        }
    }

    /// Where among the operators' something stands that is to be deleted; `here`: whether it is in force at
    /// all.
    fn place_of(&self, amendment: &Amendment, here: bool) -> Result<usize, AmendRefusal> {
        let name = name_of(amendment);
        match self.amendments.iter().position(|other| other == amendment) {
            Some(at) => Ok(at),
            None if here => Err(AmendRefusal::Forbidden(format!(
                "{name} comes from the configuration; remove it there and reload, or at the authority with \
                 `ilactl nva` if its origin is nva"
            ))),
            None => {
                Err(AmendRefusal::NotThere(format!("{name} is not there; `ilactl policy list` shows them")))
            }
        }
    }

    /// Takes over what [`Self::after`] gave, after the tables took it.
    pub(super) fn take_amended(&mut self, amend: &Amend, config: Arc<Config>, kept: Vec<Amendment>) {
        tracing::info!(?amend, "policies or peers changed by an operator");
        self.config = config.clone();
        self.amendments = kept;
        self.effects.push(Effect::Config(config));
    }

    fn origin_of(&self, own: &HashSet<&Amendment>, amendment: &Amendment) -> String {
        if own.contains(amendment) { "admin" } else { "config" }.to_owned()
    }

    pub(super) fn policy_views(&self) -> Vec<PolicyView> {
        let own: HashSet<&Amendment> = self.amendments.iter().collect();
        let view = |(n, policy): (usize, &crate::config::Policy)| {
            let words = self.config.policy_words(*policy);
            let origin = match self.config.provisioned.policies.contains(&n) {
                true => "nva".to_owned(),
                false => self.origin_of(&own, &Amendment::Policy(words.clone())),
            };
            let PolicyWords { from, to, via } = words;
            PolicyView { from, to, via, origin }
        };
        self.config.policies.iter().enumerate().map(view).collect()
    }

    /// Peers of all networks, or of one.
    pub(super) fn peer_views(&self, only: Option<&str>) -> Vec<PeerView> {
        let own: HashSet<&Amendment> = self.amendments.iter().collect();
        let networks = self.config.virtual_networks.iter().enumerate();
        let networks = networks.filter(|(_, network)| only.is_none_or(|only| network.name == only));
        let peers = networks.flat_map(|(n, network)| network.peers.iter().map(move |peer| (n as u16, peer)));
        let view = |(place, peer): (u16, &crate::config::NetworkPeer)| {
            let words = self.config.peer_words(place, *peer);
            let origin = match self.origin_of(&own, &Amendment::Peer(words.clone())) {
                config if config == "config" => origin(&self.config.provisioned.networks, usize::from(place)),
                admin => admin,
            };
            let PeerWords { network, address, to, of } = words;
            PeerView { network, address, to, of, origin }
        };
        peers.map(view).collect()
    }

    /// How many tenants of each network are attached here.
    fn attached(&self) -> Vec<u64> {
        let mut attached = vec![0; self.config.virtual_networks.len()];
        for attachment in &self.config.attachments {
            if let Some(count) = attachment.network.and_then(|n| attached.get_mut(usize::from(n))) {
                *count += 1;
            }
        }
        attached
    }

    pub(super) fn network_census(&self) -> Vec<NetworkCensus> {
        let networks = self.config.virtual_networks.iter().zip(self.attached());
        let census = |(network, attachments): (&crate::config::VirtualNetwork, u64)| NetworkCensus {
            name: network.name.clone(),
            slot: self.rib.slot_of(network.vnid),
            attachments,
            mappings: self.rib.mappings_of(network.domain, network.vnid),
        };
        networks.map(census).collect()
    }

    pub(super) fn network_views(&self) -> Vec<NetworkView> {
        let networks = self.config.virtual_networks.iter().zip(self.attached());
        networks
            .enumerate()
            .map(|(n, (network, attachments))| self.network_view(n, network, attachments))
            .collect()
    }

    fn network_counters(&self, vnid: u32) -> NetworkCountersView {
        let slot = self.rib.slot_of(vnid);
        let mut view = NetworkCountersView { own: slot != 0, ..NetworkCountersView::default() };
        for counters in self.stats.network(slot) {
            view.from_tenants += counters.from_tenants.value();
            view.from_tenants_bytes += counters.from_tenants_bytes.value();
            view.to_tenants += counters.to_tenants.value();
            view.to_tenants_bytes += counters.to_tenants_bytes.value();
            view.dropped += counters.dropped.value();
        }
        view
    }

    fn network_view(
        &self,
        n: usize,
        network: &crate::config::VirtualNetwork,
        attachments: u64,
    ) -> NetworkView {
        let domain = self.config.sir_domains.get(usize::from(network.domain));
        let ipv6 = network.ipv6.iter().map(|ipv6| PrefixView {
            prefix: ipv6.prefix.to_string(),
            gateway: ipv6.gateway.map(|gateway| Ipv6Addr::from(gateway).to_string()),
        });
        let ipv4 = network.ipv4.iter().map(|ipv4| PrefixView {
            prefix: ipv4.prefix.to_string(),
            gateway: Some(Ipv4Addr::from(ipv4.gateway).to_string()),
        });
        NetworkView {
            name: network.name.clone(),
            vnid: network.vnid,
            domain: domain.map(|domain| domain.name.clone()).unwrap_or_default(),
            mac: network.mac.to_string(),
            mtu: network.mtu,
            prefixes: ipv6.chain(ipv4).collect(),
            attachments,
            mappings: self.rib.mappings_of(network.domain, network.vnid),
            counters: self.network_counters(network.vnid),
            origin: origin(&self.config.provisioned.networks, n),
        }
    }

    /// One network, by name or VNID.
    pub(super) fn network_detail(&self, wanted: &str) -> Option<NetworkDetailView> {
        let vnid = wanted.parse().ok();
        let views = self.network_views();
        let named = views.iter().position(|view| view.name == wanted);
        let at = named.or_else(|| views.iter().position(|view| Some(view.vnid) == vnid))?;
        let network = views.into_iter().nth(at)?;
        let name = network.name.clone();
        let mut policies = self.policy_views();
        policies.retain(|policy| policy.from == name || policy.to == name);
        Some(NetworkDetailView { peers: self.peer_views(Some(&name)), policies, network })
    }

    pub(super) fn attachment_views(&self) -> Vec<AttachmentView> {
        let mut tenants = self.refused_views();
        let view = |(n, attachment): (usize, &crate::config::Attachment)| {
            let (refused, quarantined) = tenants.remove(&(n as u32)).unwrap_or_default();
            let network = attachment.network.and_then(|n| self.config.virtual_networks.get(usize::from(n)));
            let address = |address: &TenantAddress| match address {
                TenantAddress::V4(address) => Ipv4Addr::from(*address).to_string(),
                TenantAddress::V6(address) => Ipv6Addr::from(*address).to_string(),
            };
            AttachmentView {
                name: attachment.name.clone().unwrap_or_else(|| n.to_string()),
                port: self.port_name(crate::table::PortId(attachment.port)).to_owned(),
                vlan: attachment.vlan,
                mac: attachment.mac.to_string(),
                network: network.map(|network| network.name.clone()),
                addresses: attachment.addresses.iter().map(address).collect(),
                identifiers: attachment
                    .identifiers
                    .iter()
                    .map(|local| self.config.sir_address(*local))
                    .collect(),
                refused,
                quarantined,
                silent: self.scan.silent(attachment_key(attachment)).map(|it| it.to_string()).collect(),
                origin: origin(&self.config.provisioned.attachments, n),
                presence: self.rib.presence(crate::node::rib::attachment_key(attachment)).word().to_owned(),
            }
        };
        self.config.attachments.iter().enumerate().map(view).collect()
    }
}

/// Whose an entry is: the authority's, or the file's.
fn origin(provisioned: &std::ops::Range<usize>, n: usize) -> String {
    if provisioned.contains(&n) { "nva" } else { "config" }.to_owned()
}

/// Every policy and peer of a configuration.
fn named_by(config: &Config) -> HashSet<Amendment> {
    let policies = config.policies.iter().map(|policy| Amendment::Policy(config.policy_words(*policy)));
    let networks = config.virtual_networks.iter().enumerate();
    let peers = networks.flat_map(|(n, network)| {
        network.peers.iter().map(move |peer| Amendment::Peer(config.peer_words(n as u16, *peer)))
    });
    policies.chain(peers).collect()
}

fn name_of(amendment: &Amendment) -> String {
    match amendment {
        Amendment::Policy(PolicyWords { from, to, .. }) => format!("the policy from {from} to {to}"),
        Amendment::Peer(PeerWords { network, address, .. }) => {
            format!("the peer {address} of network {network}")
        }
    }
}

fn way_to_delete(amendment: &Amendment) -> String {
    match amendment {
        Amendment::Policy(PolicyWords { from, to, .. }) => format!("`ilactl policy del {from} {to}`"),
        Amendment::Peer(PeerWords { network, address, .. }) => {
            format!("`ilactl peer del {network} {address}`")
        }
    }
}
