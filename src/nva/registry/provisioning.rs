//! What operators do to networks, policies and attachments, and addresses that tenants are allocated when they ask by RARP.

use super::{Refusal, Registry};
use crate::config::ObjectName;
use crate::ila::Locator;
use crate::nva::allocate;
use crate::nva::catalogue::Change;
use crate::nva::model::{ObjectKey, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// Why no address is allocated while others may have it.
const RESTORED: &str = "the registry was restored from a backup and may lack who has which address";

/// Time for which a network without a free address is not looked at again.
const FULL_MS: u64 = 1_000;

impl Registry {
    /// Judges what an operator does to an object. Gives its sequence afterwards, and the transaction.
    ///
    /// # Errors
    /// See [`Catalogue`](crate::nva::catalogue::Catalogue); with the way out.
    pub(in crate::nva) fn provision(
        &mut self,
        key: ObjectKey,
        change: Change,
    ) -> Result<(u64, Transaction), String> {
        let change = self.with_gateway(&key, change)?;
        let change = match change {
            Change::Add(entry, _) if self.restoration.is_some() && entry.wants_addresses() => {
                return Err(format!("{RESTORED}; name one, or wait: `ilactl nva status` tells for whom"));
            }
            Change::Add(entry, _) if entry.asks_by_rarp() && entry.has_ipv4() => {
                return Err(
                    "`on-rarp` allocates the IPv4 address, and one is named; write one of both".to_owned()
                );
            }
            Change::Add(entry, text) => {
                let chosen = allocate::chosen(&self.catalogue, &entry, &self.records)?;
                match chosen.map_or_else(|| allocate::kept(None, &entry), |chosen| Ok(Some(chosen)))? {
                    Some(entry) => {
                        let text = entry.written().to_owned();
                        Change::Add(entry, text)
                    }
                    None => Change::Add(entry, text),
                }
            }
            Change::Set(entry, text, sequence) => match allocate::kept(self.catalogue.entry(&key), &entry)? {
                Some(entry) => {
                    let text = entry.written().to_owned();
                    Change::Set(entry, text, sequence)
                }
                None => Change::Set(entry, text, sequence),
            },
            change @ Change::Delete(_) => change,
        };
        self.may_change(&key)?;
        self.is_of_no_group(&key)?;
        self.change(key, change)
    }

    /// A change with the gateway of a policy, if operators leave that open.
    fn with_gateway(&self, key: &ObjectKey, change: Change) -> Result<Change, String> {
        let (Change::Add(entry, _) | Change::Set(entry, ..)) = &change else { return Ok(change) };
        let before = self.catalogue.entry(key);
        let gateways = |sir_prefix: u64| {
            let all = self.nves.iter().filter(|(_, nve)| nve.all_networks);
            let locators = |name: &str| -> BTreeSet<Locator> {
                // One that the configuration gives to another NVE is that one's.
                let is_own =
                    |locator: &Locator| self.domain_of(name, *locator, sir_prefix) == Some(sir_prefix);
                self.locators_in(name, sir_prefix).filter(is_own).collect()
            };
            let all = all.map(|(name, _)| (name.clone(), locators(name)));
            all.filter(|(_, locators)| !locators.is_empty()).collect::<BTreeMap<_, _>>()
        };
        let Some(chosen) = allocate::gateway(&self.catalogue, (entry, before), gateways)? else {
            return Ok(change);
        };
        let text = chosen.written().to_owned();
        Ok(match change {
            Change::Set(_, _, sequence) => Change::Set(chosen, text, sequence),
            Change::Add(..) | Change::Delete(_) => Change::Add(chosen, text),
        })
    }

    /// The tenant of an attachment at an NVE asked for an address by RARP. Gives the sequence of the attachment afterwards,
    /// and the transaction, which is empty if it has its addresses.
    ///
    /// # Errors
    /// No such attachment is wanted there, or it is given its addresses by operators; nothing is free; or it may be so
    /// later: it moves, or the registry was restored and may lack who has which address.
    pub(in crate::nva) fn allocate_address(
        &mut self,
        nve: &str,
        attachment: &str,
        now_ms: u64,
    ) -> Result<(u64, Transaction), Refusal> {
        let refuse = |why: String, temporary: bool| Refusal { owner: None, sequence: 0, why, temporary };
        let key = ObjectKey { nve: nve.to_owned(), name: ObjectName::Attachment(attachment.to_owned()) };
        let Some((entry, sequence)) = self.catalogue.wanted(&key) else {
            return Err(refuse(
                format!("no {key} is wanted; `ilactl nva attachment list` shows what is"),
                false,
            ));
        };
        let Some(network) = entry.networks().first().copied().filter(|_| entry.asks_by_rarp()) else {
            let why = format!(
                "operators gave {key} its addresses; write `on-rarp` among them to have more allocated"
            );
            return Err(refuse(why, false));
        };
        if !allocate::lacks_addresses(&self.catalogue, entry, network) {
            return Ok((sequence, Transaction::default()));
        }
        // Looking for a free address in a full network takes long, and its tenants ask again.
        let known = self.full.get(network).filter(|(until_ms, _)| now_ms < *until_ms);
        let chosen = match known {
            Some((_, why)) => Err(why.clone()),
            None => allocate::asked_by_rarp(&self.catalogue, (entry, network), &self.records),
        };
        let chosen = match chosen {
            Ok(Some(chosen)) => chosen,
            Ok(None) => return Ok((sequence, Transaction::default())),
            Err(why) => {
                if known.is_none() {
                    let network = network.to_owned();
                    self.full.retain(|_, (until_ms, _)| now_ms < *until_ms);
                    self.full.insert(network, (now_ms + FULL_MS, why.clone()));
                }
                return Err(refuse(format!("{key}: {why}"), false));
            }
        };
        if self.restoration.is_some() {
            return Err(refuse(format!("{key}: {RESTORED}; ask again"), true));
        }
        self.may_change(&key).map_err(|why| refuse(why, true))?;
        let text = chosen.written().to_owned();
        self.change(key, Change::Set(chosen, text, Some(sequence))).map_err(|why| refuse(why, false))
    }

    /// Networks that these changes concern may have free addresses again. They are not applied yet.
    pub(super) fn forget_full(&mut self, transaction: &Transaction) {
        if !self.full.is_empty() {
            let touched = self.catalogue.touched(&transaction.objects);
            self.full.retain(|network, _| !touched.networks.contains(network));
        }
    }

    fn change(&mut self, key: ObjectKey, change: Change) -> Result<(u64, Transaction), String> {
        let object = self.catalogue.judge(&self.nves, &key, change, self.revision)?;
        let sequence = object.as_ref().map_or(self.revision + 1, |object| object.sequence);
        Ok((sequence, Transaction { objects: vec![(key, object)], ..Transaction::default() }))
    }
}
