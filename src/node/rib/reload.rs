//! Applies a configuration as a difference: what it does not change stays as it is.

use super::actions::Key;
use super::attachments::Attachments;
use super::batch::{Staged, Write, is_zero_alias_of};
use super::{Domain, Rib, attachment_key};
use crate::config::{Attachment, Config, Departed};
use crate::ila::{Identifier, Locator};
use crate::mapping::{Digest, MappingRecord, MappingTarget, Origin, Refusal};
use crate::table::mapping::MappingWriter;
use crate::table::{ActionId, AttachmentKey};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv6Addr;

/// What of a configuration contradicts a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A locator that networks copy to, or that policies send through.
    Locator(Locator),
    /// An identifier of an attachment or a peer, in the SIR domain with this index.
    Identifier(u8, Identifier),
}

/// A contradiction between a configuration and mappings.
#[derive(Debug, Clone)]
pub struct Clash {
    /// What to tell of it.
    pub refusal: Refusal,
    /// What of the configuration it is; none where nothing that an authority could add is at fault.
    pub part: Option<Part>,
}

impl Rib {
    /// Applies a new configuration: networks, infrastructure, translation, policies, attachments, routes, static neighbours,
    /// addresses, router advertisements, own locators, and domains added at the end.
    ///
    /// Everything else must be as before; [`Config::diff_class`] checks that. The caller publishes a snapshot and then
    /// commits the result like a batch.
    ///
    /// # Errors
    /// [`Refusal`] when the new configuration contradicts mappings that stay: they use its own locator, or one of its
    /// locators, in another domain; they use a new SIR prefix as a locator; the address of a peer has a mapping; the
    /// zero alias of an attached identifier has a mapping. Nothing is changed then.
    pub fn reconfigure(&mut self, config: &Config) -> Result<Staged, Refusal> {
        self.reconfigure_with(config, None)
    }

    /// Applies a new configuration as [`Self::reconfigure`] does, before a complete batch of `file` records. `None`
    /// means that no batch follows.
    ///
    /// The current mappings of the file are not checked, because the batch replaces them. The new records are.
    ///
    /// # Errors
    /// [`Refusal`] for the reasons of [`Self::reconfigure`], and when a new record contradicts mappings that operators
    /// added: they hold its zero alias, or use its locator in another domain. Nothing is changed then.
    pub fn reconfigure_with(
        &mut self,
        config: &Config,
        file: Option<&[MappingRecord]>,
    ) -> Result<Staged, Refusal> {
        if let Some(Clash { refusal, .. }) = self.clashes(config, file).into_iter().next() {
            return Err(refusal);
        }
        for domain in config.sir_domains.iter().skip(self.domains.len()) {
            let mappings = MappingWriter::new(domain.expected_mappings as usize, self.seed);
            self.domains.push(Domain { config: domain.clone(), mappings, digest: Digest::default() });
        }
        for (n, (port, new)) in self.ports.iter_mut().zip(&config.ports).enumerate() {
            port.mac = config.task_router_mac(n as u16).unwrap_or(port.device_mac);
            port.addresses.clone_from(&new.addresses);
            port.advert = new.router_advertisement;
            port.external.clone_from(&new.external);
        }
        for (domain, new) in self.domains.iter_mut().zip(&config.sir_domains) {
            domain.config.router_mac = new.router_mac;
            domain.config.vni = new.vni;
        }
        self.locators.clone_from(&config.locators);
        self.routes = config.routes.clone();
        self.configure_neighbours(config);
        let staged =
            self.stage_attachments(self.attachments.list().clone().iter(), config.attachments.iter());
        let stay: HashSet<AttachmentKey> = config.attachments.iter().map(attachment_key).collect();
        self.forget_presences(self.attachments.list().clone().iter(), |key| stay.contains(&key));
        self.replace_replicas(config);
        self.replace_gateways(config);
        self.attachments = Attachments::of(&config.attachments);
        self.slots.assign(&config.attachments);
        self.infrastructure.clone_from(&config.infrastructure);
        self.translation = config.translation;
        self.in_flight = config.moves.in_flight;
        self.tells_departed = config.moves.departed == Departed::Icmp;
        self.release_ms = config.moves.release_ms();
        self.networks = config.virtual_networks.clone();
        self.give_slots();
        self.policies = config.policies.clone();
        self.networks_changed();
        Ok(staged)
    }

    /// Everything for which [`Self::reconfigure_with`] refuses this configuration.
    #[must_use]
    pub fn clashes(&self, config: &Config, file: Option<&[MappingRecord]>) -> Vec<Clash> {
        let mut clashes = Vec::new();
        self.judge_locators(config, file.is_some(), &mut clashes);
        self.judge_identifiers(config, file.is_some(), &mut clashes);
        clashes.extend(file.map(|records| self.clashes_of_file(config, records)).unwrap_or_default());
        clashes
    }

    /// What of the records of a mapping file, which is applied after `config`, contradicts that or the mappings that
    /// operators added. Reading the file has checked everything else.
    pub fn clashes_of_file<'r>(
        &self,
        config: &Config,
        records: impl IntoIterator<Item = &'r MappingRecord>,
    ) -> Vec<Clash> {
        let mut clashes = Vec::new();
        let operators = self.actions.used().filter(|key| key.origin == Origin::Admin);
        let mut locators: HashMap<Locator, u8> =
            operators.flat_map(|key| key.locators().map(|locator| (locator, key.domain))).collect();
        // The file was read without what an authority adds to the configuration.
        let configured = config.locators_in_use();
        locators.extend(&configured);
        let (peers, attached): (HashSet<_>, _) = (peers(config).collect(), locals(config.attachments.iter()));
        for MappingRecord { domain, identifier, target } in records {
            let Some(new) = config.sir_domains.get(usize::from(*domain)) else { continue };
            let operators = |identifier| self.origins(*domain, identifier).any(|held| held == Origin::Admin);
            let sir = |identifier| Ipv6Addr::from(new.prefix.with(identifier));
            let mut clash =
                |why, part| clashes.push(Clash { refusal: Refusal { sir: sir(*identifier), why }, part });
            if peers.contains(&(*domain, *identifier)) {
                let why = "stands for a peer in its virtual network; map the peer itself".to_owned();
                clash(why, Some(Part::Identifier(*domain, *identifier)));
            }
            let zero_alias = identifier.zero_alias().filter(|_| new.checksum.changes_identifier());
            if let Some(zero_alias) = zero_alias {
                let part = Part::Identifier(*domain, zero_alias);
                if operators(zero_alias) {
                    clash(is_zero_alias_of(sir(zero_alias)), None);
                } else if attached.contains_key(&(*domain, zero_alias.0)) {
                    clash(is_zero_alias_of(sir(zero_alias)), Some(part));
                }
            }
            let MappingTarget::Locators(choices) = target else { continue };
            for choice in choices {
                if let Some(other) = locators.get(&choice.locator).filter(|other| *other != domain) {
                    let part =
                        configured.contains_key(&choice.locator).then_some(Part::Locator(choice.locator));
                    clash(self.belongs_to(choice.locator, *other), part);
                }
            }
        }
        clashes
    }

    /// Checks the locators of a new configuration against the mappings that stay.
    fn judge_locators(&self, config: &Config, file_goes: bool, clashes: &mut Vec<Clash>) {
        let mut clash = |bits, why, part| {
            clashes.push(Clash { refusal: Refusal { sir: Ipv6Addr::from(bits), why }, part });
        };
        // Mappings of attachments come from the configuration itself and change with it.
        let named =
            |key: &&Key| key.origin != Origin::Attachment && !(file_goes && key.origin == Origin::File);
        let used = self.actions.used().filter(named);
        let used: HashMap<Locator, u8> =
            used.flat_map(|key| key.locators().map(|locator| (locator, key.domain))).collect();
        for own in &config.locators {
            if let Some(domain) = used.get(&own.prefix).copied().filter(|domain| *domain != own.domain) {
                let why = format!(
                    "mappings of domain {} use it, and a locator belongs to exactly one SIR domain; delete them first",
                    self.domain_name(domain)
                );
                clash(own.prefix.prefix().bits(), why, None);
            }
        }
        for (locator, domain) in config.locators_in_use() {
            if let Some(other) = used.get(&locator).copied().filter(|other| *other != domain) {
                let why = self.belongs_to(locator, other);
                clash(locator.prefix().bits(), why, Some(Part::Locator(locator)));
            }
        }
        for domain in config.sir_domains.iter().skip(self.domains.len()) {
            if used.contains_key(&Locator(domain.prefix.0)) {
                let why = "mappings use it as a locator, so it cannot be a SIR prefix; delete them first";
                clash(domain.prefix.prefix().bits(), why.to_owned(), None);
            }
        }
    }

    /// Checks the identifiers of a new configuration against the mappings that stay.
    fn judge_identifiers(&self, config: &Config, file_goes: bool, clashes: &mut Vec<Clash>) {
        // What another node registered stops no configuration here: the address of a peer and what is attached come first.
        let stays = |held| match held {
            Origin::File => !file_goes,
            Origin::Admin => true,
            Origin::Attachment | Origin::Nva | Origin::Cache => false,
        };
        let is_mapped = |domain, identifier| self.origins(domain, identifier).any(stays);
        let mut clash = |domain, identifier, why| {
            let refusal = Refusal { sir: self.sir(domain, identifier), why };
            clashes.push(Clash { refusal, part: Some(Part::Identifier(domain, identifier)) });
        };
        for (domain, identifier) in peers(config).filter(|(domain, peer)| is_mapped(*domain, *peer)) {
            let why = "has a mapping, so that its address cannot stand for a peer; delete it first";
            clash(domain, identifier, why.to_owned());
        }
        let new = locals(config.attachments.iter());
        for (at, identifier) in new.into_keys().map(|(domain, local)| (domain, Identifier(local))) {
            let zero_alias = self.zero_alias_of(at, identifier);
            if let Some(zero_alias) = zero_alias.filter(|zero_alias| is_mapped(at, *zero_alias)) {
                let zero_alias = self.sir(at, zero_alias);
                let why = format!(
                    "is the twin of {zero_alias}, which has a mapping: neutral mapping cannot tell them apart; delete it \
                     first"
                );
                clash(at, identifier, why);
            }
        }
    }

    /// The other zero alias of an identifier, if its domain cannot tell the two apart.
    pub(super) fn zero_alias_of(&self, domain: u8, identifier: Identifier) -> Option<Identifier> {
        let held = self.domains.get(usize::from(domain))?;
        identifier.zero_alias().filter(|_| held.config.checksum.changes_identifier())
    }

    /// Stages the mappings that new attachments need, and the removal of those of old ones.
    pub(super) fn stage_attachments<'a>(
        &mut self,
        old: impl Iterator<Item = &'a Attachment>,
        new: impl Iterator<Item = &'a Attachment>,
    ) -> Staged {
        let (old, new) = (locals(old), locals(new));
        let mut staged = Staged::default();
        for &(domain, identifier) in old.keys().filter(|local| !new.contains_key(local)) {
            staged.writes.push(Write { identifier, domain, origin: Origin::Attachment, action: ActionId(0) });
        }
        let differ = new.iter().filter(|(local, attached)| old.get(local) != Some(attached));
        for (&(domain, identifier), attached) in differ {
            self.push(&mut staged, domain, identifier, Key::local(domain, *attached));
        }
        staged.writes.sort_unstable_by_key(|write| (write.action.0 != 0, write.domain, write.identifier));
        self.make_room(&staged);
        staged
    }

    pub(super) fn domain_name(&self, domain: u8) -> &str {
        self.domains.get(usize::from(domain)).map_or("?", |domain| domain.config.name.as_str())
    }
}

/// The identifiers of addresses that stand for peers, with their domains.
fn peers(config: &Config) -> impl Iterator<Item = (u8, Identifier)> {
    config.virtual_networks.iter().flat_map(|network| {
        let (domain, vnid) = (network.domain, network.vnid);
        network.peers.iter().map(move |peer| (domain, Identifier::tenant_ipv4(vnid, peer.address)))
    })
}

/// Every local identifier with its domain, and where it is attached.
fn locals<'a>(attachments: impl Iterator<Item = &'a Attachment>) -> BTreeMap<(u8, u64), AttachmentKey> {
    attachments
        .flat_map(|attachment| {
            let key = attachment_key(attachment);
            attachment.identifiers.iter().map(move |local| ((local.domain, local.identifier.0), key))
        })
        .collect()
}
