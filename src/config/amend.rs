//! What operators add to the configuration of a running node, by the same rules as the file: policies and
//! peers.

use super::check::{
    Domains, End, MAX_PEERS, MAX_POLICIES, Networks, OUTSIDE, judge_end, judge_ends, judge_peer,
    judge_peer_task, judge_peer_tenant, judge_via, too_many_peers, too_many_policies,
};
use super::model::{
    Beyond, Config, LocalIdentifier, NetworkPeer, OwnLocator, PeerTarget, Policy, TenantAddress,
};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Longest word that is judged, and quoted in an error.
const MAX_WORD_BYTES: usize = 64;

/// A policy as it is written in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyWords {
    /// Who sends: a network, a task's SIR address, a SIR prefix, or `outside`.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// Locator of the gateway that the packets go through.
    pub via: Option<String>,
}

/// A mapped peer as it is written in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerWords {
    /// Name of the network that it has the address in.
    pub network: String,
    /// The address.
    pub address: String,
    /// Who it is: a task's SIR address, or a tenant's address.
    pub to: String,
    /// Name of the tenant's network; none for a task.
    pub of: Option<String>,
}

/// Something that operators may add.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Amendment {
    /// To `policies`.
    Policy(PolicyWords),
    /// To `virtual_networks[].peers`.
    Peer(PeerWords),
}

/// What amendments are judged by. Amendments do not change it, so it is made once for a configuration.
pub struct AmendmentRules {
    domains: Domains,
    networks: Networks,
    locators: Vec<OwnLocator>,
    policies: Arc<Vec<Policy>>,
}

impl AmendmentRules {
    /// The rules for amendments of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let domains = Domains { list: config.sir_domains.clone(), complete: true };
        AmendmentRules {
            domains,
            networks: Networks::of(config),
            locators: config.locators.clone(),
            policies: config.policies.clone(),
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// An end that is unknown or too long, two ends of one network or of none, or a gateway where none can
    /// be; with the way out.
    pub fn policy(&self, words: &PolicyWords) -> Result<Policy, String> {
        let end = |text: &str| {
            short(text)?;
            judge_end(text, &self.domains, &self.networks)?.ok_or_else(|| format!("`{text}` is not known"))
        };
        let policy = judge_ends(end(&words.from)?, end(&words.to)?, &words.to)?;
        let Some(via) = &words.via else { return Ok(policy) };
        short(via)?;
        let via = via.parse().map_err(|why| format!("{why}"))?;
        judge_via(policy, via, (&self.domains, &self.locators), &self.networks, &self.policies)
    }

    /// Reads a peer. Returns the index of its network too.
    ///
    /// # Errors
    /// An unknown network, an address that is unfit for a peer, or a target that is neither task nor tenant;
    /// with the way out.
    pub fn peer(&self, config: &Config, words: &PeerWords) -> Result<(u16, NetworkPeer), String> {
        let PeerWords { network, address, to, of } = words;
        let place = config.network_named(network)?;
        short(address)?;
        short(to)?;
        let address = judge_peer(address, place, &self.networks)?;
        let to = match of {
            None => judge_peer_task(to, &self.domains)?.map(PeerTarget::Task),
            Some(of) => Some(judge_peer_tenant(of, config.network_named(of)?, to, place, &self.networks)?),
        };
        let to = to.ok_or_else(|| format!("`{}` is not known", words.to))?;
        Ok((place, NetworkPeer { address, to }))
    }
}

impl Config {
    /// Adds a policy or a peer. Returns it in the words of [`Config::policy_words`] or
    /// [`Config::peer_words`].
    ///
    /// # Errors
    /// A policy or peer that is wrong by itself, one that is there already, an address or peer that is taken,
    /// or one beyond the limit; with value and way out. Nothing is changed then.
    pub fn amend(&mut self, rules: &AmendmentRules, amendment: &Amendment) -> Result<Amendment, String> {
        match amendment {
            Amendment::Policy(words) => {
                let policy = rules.policy(words)?;
                let words = self.policy_words(policy);
                if self.policies.iter().any(|other| other.straight() == policy.straight()) {
                    return Err(format!("the policy from {} to {} is there already", words.from, words.to));
                }
                if self.policies.len() >= MAX_POLICIES {
                    return Err(too_many_policies());
                }
                Arc::make_mut(&mut self.policies).push(policy);
                Ok(Amendment::Policy(words))
            }
            Amendment::Peer(words) => {
                let (place, peer) = rules.peer(self, words)?;
                let words = self.peer_words(place, peer);
                self.judge_place_of_peer(place, peer)?;
                if let Some(network) = Arc::make_mut(&mut self.virtual_networks).get_mut(usize::from(place)) {
                    network.peers.push(peer);
                }
                Ok(Amendment::Peer(words))
            }
        }
    }

    /// Refuses an address or a peer that is taken in its network, and a peer beyond the limit.
    fn judge_place_of_peer(&self, place: u16, peer: NetworkPeer) -> Result<(), String> {
        let Some(network) = self.virtual_networks.get(usize::from(place)) else { return Ok(()) };
        let (address, name) = (Ipv4Addr::from(peer.address), &network.name);
        if network.peers.iter().any(|other| other.address == peer.address) {
            return Err(format!(
                "{address} is a peer's in network {name} already; an address has one peer, delete that first"
            ));
        }
        if let Some(other) = network.peers.iter().find(|other| other.to == peer.to) {
            let other = Ipv4Addr::from(other.address);
            return Err(format!(
                "it has {other} in network {name} already; a peer has one address in a network"
            ));
        }
        let tenant = self.attachments.iter().find(|attachment| {
            attachment.network == Some(place)
                && attachment.addresses.contains(&TenantAddress::V4(peer.address))
        });
        if let Some(tenant) = tenant {
            let tenant = tenant.name.as_deref().unwrap_or("an attachment");
            return Err(format!("{address} is the address of {tenant}; a peer's address is nobody else's"));
        }
        if network.peers.len() >= MAX_PEERS {
            return Err(too_many_peers(MAX_PEERS + 1));
        }
        Ok(())
    }

    /// Index of the virtual network with this name.
    ///
    /// # Errors
    /// A name that is too long, or no network's.
    pub fn network_named(&self, name: &str) -> Result<u16, String> {
        short(name)?;
        let place = self.virtual_networks.iter().position(|network| network.name == name);
        place.map(|n| n as u16).ok_or_else(|| {
            format!("`{name}` is not the name of a virtual network; `ilactl vn list` shows them")
        })
    }

    /// How the file writes a policy.
    #[must_use]
    pub fn policy_words(&self, policy: Policy) -> PolicyWords {
        let (from, to) = match policy {
            Policy::Between { from, to, .. } => (End::Network(from), End::Network(to)),
            Policy::Out { from, to } => (End::Network(from), End::Beyond(to)),
            Policy::In { from, to } => (End::Beyond(from), End::Network(to)),
        };
        let via = match policy {
            Policy::Between { via, .. } => via.map(|via| via.to_string()),
            Policy::Out { .. } | Policy::In { .. } => None,
        };
        PolicyWords { from: self.end_word(from), to: self.end_word(to), via }
    }

    /// How the file writes a peer of the network at `place`.
    #[must_use]
    pub fn peer_words(&self, place: u16, peer: NetworkPeer) -> PeerWords {
        let (to, of) = match peer.to {
            PeerTarget::Task(task) => (self.sir_address(task), None),
            PeerTarget::Tenant { network, address } => {
                let address = match address {
                    TenantAddress::V4(address) => Ipv4Addr::from(address).to_string(),
                    TenantAddress::V6(address) => Ipv6Addr::from(address).to_string(),
                };
                (address, Some(self.network_name(network)))
            }
        };
        let address = Ipv4Addr::from(peer.address).to_string();
        PeerWords { network: self.network_name(place), address, to, of }
    }

    fn end_word(&self, end: End) -> String {
        match end {
            End::Network(place) => self.network_name(place),
            End::Beyond(Beyond::Outside) => OUTSIDE.to_owned(),
            End::Beyond(Beyond::Task(task)) => self.sir_address(task),
            End::Beyond(Beyond::Tasks(domain)) => {
                let domain = self.sir_domains.get(usize::from(domain));
                domain.map(|domain| domain.prefix.to_string()).unwrap_or_default()
            }
        }
    }

    /// The SIR address of an identifier.
    #[must_use]
    pub fn sir_address(&self, local: LocalIdentifier) -> String {
        let domain = self.sir_domains.get(usize::from(local.domain));
        domain
            .map(|domain| Ipv6Addr::from(domain.prefix.with(local.identifier)).to_string())
            .unwrap_or_default()
    }

    fn network_name(&self, place: u16) -> String {
        self.virtual_networks.get(usize::from(place)).map(|network| network.name.clone()).unwrap_or_default()
    }
}

/// Refuses a word that is too long for an error to quote.
fn short(text: &str) -> Result<(), String> {
    match text.len() {
        ..=MAX_WORD_BYTES => Ok(()),
        length => Err(format!("a word of {length} bytes; names and addresses have {MAX_WORD_BYTES} at most")),
    }
}
