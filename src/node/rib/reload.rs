//! Applies a configuration as a difference: what it does not change stays as it is.

use super::actions::Key;
use super::batch::{Staged, Write, is_zero_alias_of};
use super::{Domain, Rib, attachment_key};
use crate::config::Config;
use crate::ila::{Identifier, Locator};
use crate::mapping::{MappingRecord, MappingTarget, Origin, Refusal};
use crate::table::mapping::MappingWriter;
use crate::table::{ActionId, AttachmentKey};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;

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
        self.judge(config, file.is_some())?;
        self.judge_file(config, file.unwrap_or_default())?;
        for domain in config.sir_domains.iter().skip(self.domains.len()) {
            let mappings = MappingWriter::new(domain.expected_mappings as usize, self.seed);
            self.domains.push(Domain { config: domain.clone(), mappings });
        }
        for (n, (port, new)) in self.ports.iter_mut().zip(&config.ports).enumerate() {
            port.mac = config.task_router_mac(n as u16).unwrap_or(port.device_mac);
            port.addresses.clone_from(&new.addresses);
            port.advert = new.router_advertisement;
            port.external.clone_from(&new.external);
        }
        for (domain, new) in self.domains.iter_mut().zip(&config.sir_domains) {
            domain.config.router_mac = new.router_mac;
        }
        self.locators.clone_from(&config.locators);
        self.routes.clone_from(&config.routes);
        self.configure_neighbours(config);
        let staged = self.stage_attachments(config);
        self.replace_replicas(config);
        self.replace_gateways(config);
        self.attachments.clone_from(&config.attachments);
        self.slots.assign(&config.attachments);
        self.infrastructure.clone_from(&config.infrastructure);
        self.translation = config.translation;
        self.networks.clone_from(&config.virtual_networks);
        self.give_slots();
        self.policies.clone_from(&config.policies);
        let attachments = config.attachments.iter().enumerate();
        self.attachment_index =
            attachments.map(|(n, attachment)| (attachment_key(attachment), n as u32)).collect();
        self.networks_changed();
        Ok(staged)
    }

    /// Checks the records of a mapping file, which is applied after `config`, against the mappings that operators
    /// added. Reading the file has checked everything else.
    fn judge_file(&self, config: &Config, records: &[MappingRecord]) -> Result<(), Refusal> {
        let operators = self.actions.used().filter(|key| key.origin == Origin::Admin);
        let mut locators: HashMap<Locator, u8> =
            operators.flat_map(|key| key.locators().map(|locator| (locator, key.domain))).collect();
        // The file was read without these locators of the configuration.
        locators.extend(config.locators_in_use());
        for MappingRecord { domain, identifier, target } in records {
            let Some(new) = config.sir_domains.get(usize::from(*domain)) else { continue };
            let operators = |identifier| self.origins(*domain, identifier).any(|held| held == Origin::Admin);
            let sir = |identifier| Ipv6Addr::from(new.prefix.with(identifier));
            let refuse = |why| Err(Refusal { sir: sir(*identifier), why });
            let zero_alias = identifier.zero_alias().filter(|_| new.checksum.changes_identifier());
            if let Some(zero_alias) = zero_alias.filter(|zero_alias| operators(*zero_alias)) {
                return refuse(is_zero_alias_of(sir(zero_alias)));
            }
            let MappingTarget::Locators(choices) = target else { continue };
            for choice in choices {
                if let Some(other) = locators.get(&choice.locator).filter(|other| *other != domain) {
                    return refuse(self.belongs_to(choice.locator, *other));
                }
            }
        }
        Ok(())
    }

    /// Checks a new configuration against the mappings that stay.
    fn judge(&self, config: &Config, file_goes: bool) -> Result<(), Refusal> {
        let stays = |origin: Origin| !(file_goes && origin == Origin::File);
        // Mappings of attachments come from the configuration itself and change with it.
        let named = |key: &&Key| stays(key.origin) && key.origin != Origin::Attachment;
        let used = self.actions.used().filter(named);
        let used: HashMap<Locator, u8> =
            used.flat_map(|key| key.locators().map(|locator| (locator, key.domain))).collect();
        for own in &config.locators {
            if let Some(domain) = used.get(&own.prefix).copied().filter(|domain| *domain != own.domain) {
                let why = format!(
                    "mappings of domain {} use it, and a locator belongs to exactly one SIR domain; delete them first",
                    self.domain_name(domain)
                );
                return Err(Refusal { sir: Ipv6Addr::from(own.prefix.prefix().bits()), why });
            }
        }
        for (locator, domain) in config.locators_in_use() {
            if let Some(other) = used.get(&locator).copied().filter(|other| *other != domain) {
                let why = self.belongs_to(locator, other);
                return Err(Refusal { sir: Ipv6Addr::from(locator.prefix().bits()), why });
            }
        }
        for domain in config.sir_domains.iter().skip(self.domains.len()) {
            if used.contains_key(&Locator(domain.prefix.0)) {
                let why = "mappings use it as a locator, so it cannot be a SIR prefix; delete them first";
                return Err(Refusal {
                    sir: Ipv6Addr::from(domain.prefix.prefix().bits()),
                    why: why.to_owned(),
                });
            }
        }
        for network in &config.virtual_networks {
            for peer in &network.peers {
                let identifier = Identifier::tenant_ipv4(network.vnid, peer.address);
                if self
                    .origins(network.domain, identifier)
                    .any(|held| held != Origin::Attachment && stays(held))
                {
                    let why = "has a mapping, so that its address cannot stand for a peer; delete it first";
                    return Err(Refusal { sir: self.sir(network.domain, identifier), why: why.to_owned() });
                }
            }
        }
        let new = locals(config.attachments.iter());
        for (at, identifier) in new.into_keys().map(|(domain, local)| (domain, Identifier(local))) {
            let Some(domain) = self.domains.get(usize::from(at)) else { continue };
            let Some(zero_alias) =
                identifier.zero_alias().filter(|_| domain.config.checksum.changes_identifier())
            else {
                continue;
            };
            if self.origins(at, zero_alias).any(|held| held != Origin::Attachment && stays(held)) {
                let zero_alias = Ipv6Addr::from(domain.config.prefix.with(zero_alias));
                let why = format!(
                    "is the twin of {zero_alias}, which has a mapping: neutral mapping cannot tell them apart; delete it \
                     first"
                );
                return Err(Refusal { sir: self.sir(at, identifier), why });
            }
        }
        Ok(())
    }

    /// Stages the mappings that new attachments need, and the removal of those of old ones.
    fn stage_attachments(&mut self, config: &Config) -> Staged {
        let (old, new) = (locals(self.attachments.iter()), locals(config.attachments.iter()));
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

/// Every local identifier with its domain, and where it is attached.
fn locals<'a>(
    attachments: impl Iterator<Item = &'a crate::config::Attachment>,
) -> BTreeMap<(u8, u64), AttachmentKey> {
    attachments
        .flat_map(|attachment| {
            let key = attachment_key(attachment);
            attachment.identifiers.iter().map(move |local| ((local.domain, local.identifier.0), key))
        })
        .collect()
}
