//! What operators want at the node, by the word of the authority: taken over like a reload of the same file.

use super::updates::Reply;
use super::{Control, Effect, LoadOrder, Loaded};
use crate::config::{Config, NetworkPeer, ObjectName, Policy, PolicyWords, RefusedEntry};
use crate::ila::{Identifier, Locator};
use crate::mapping::Refusal;
use crate::node::provision::Provision;
use crate::nva::client::Objects;
use std::net::Ipv6Addr;
use std::sync::Arc;

impl Control {
    /// This is what operators want now.
    pub(super) fn take_objects(&mut self, objects: Arc<Objects>) {
        let Some(provision) = &mut self.provision else { return };
        let is_new = !Arc::ptr_eq(&provision.objects.all, &objects.all);
        provision.objects = objects;
        match (is_new || self.compose_again, self.reloading) {
            (false, false) => self.say_provisioned(),
            // It is said at the end of what is under way.
            (false, true) => {}
            (true, true) => self.compose_again = true,
            (true, false) => self.load(false, Vec::new()),
        }
    }

    /// Has the files read, or only judged with what operators want now.
    pub(super) fn load(&mut self, reread: bool, excluded: Vec<RefusedEntry>) {
        (self.reloading, self.composing) = (true, !reread);
        if excluded.is_empty() {
            self.compose_again = false;
        }
        let order = LoadOrder { old: self.file.clone(), reread, provision: self.provision.clone(), excluded };
        self.effects.push(Effect::Load(order));
    }

    /// What was judged together is being taken over.
    pub(super) fn take_provision(&mut self, judged: Option<Provision>) {
        let (Some(mut judged), Some(before)) = (judged, &mut self.provision) else { return };
        judged.tell_refused(&before.refused);
        // Others may be wanted meanwhile.
        judged.objects = before.objects.clone();
        *before = judged;
        self.count_objects();
    }

    /// Counts what is in force and what is refused.
    pub(super) fn count_objects(&self) {
        let Some(provision) = &self.provision else { return };
        let refused = provision.refused.len();
        self.stats.nva.objects(provision.objects.all.len().saturating_sub(refused), refused);
    }

    /// Says what is in force, unless something else is wanted meanwhile.
    pub(super) fn say_provisioned(&mut self) {
        let Some(provision) = self.provision.as_ref().filter(|_| !self.compose_again) else { return };
        let known = provision.objects.known.clone();
        self.effects.push(Effect::Provisioned(known, provision.refused.clone()));
    }

    /// The tables refuse a configuration. If what operators want is at fault, it is judged again without that, and this is
    /// `true`.
    pub(super) fn leaves_out(
        &mut self,
        loaded: &Loaded,
        config: &Config,
        reply: &Reply,
        refusal: &Refusal,
    ) -> bool {
        let Some(judged) = &loaded.provision else { return false };
        let at_fault = at_fault(config, refusal.sir);
        if at_fault.is_empty() {
            if let (true, Some(provision)) = (reply.composed, &mut self.provision) {
                let refused = |name: &ObjectName| RefusedEntry {
                    name: name.clone(),
                    why: format!("nothing that changed is taken over: {refusal}"),
                };
                provision.refused = provision.objects.all.keys().map(refused).collect();
            }
            return false;
        }
        let mut excluded = judged.refused.clone();
        excluded.extend(at_fault.into_iter().map(|name| RefusedEntry { name, why: refusal.to_string() }));
        self.reload_asked_by = reply.asked_by;
        self.load(loaded.reread, excluded);
        true
    }
}

/// What of the authority's has to do with an address that the tables refuse: an identifier, its zero alias or a locator.
fn at_fault(config: &Config, address: Ipv6Addr) -> Vec<ObjectName> {
    let bits = u128::from(address);
    let (half, identifier) = (Locator((bits >> 64) as u64), Identifier(bits as u64));
    let same = |other: Identifier| other == identifier || other.zero_alias() == Some(identifier);
    let mut names = Vec::new();
    for network in config.virtual_networks.get(config.provisioned.networks.clone()).unwrap_or_default() {
        let is_here = |peer: &NetworkPeer| same(Identifier::tenant_ipv4(network.vnid, peer.address));
        if network.replicate_to.contains(&half) || network.peers.iter().any(is_here) {
            names.push(ObjectName::Network(network.name.clone()));
        }
    }
    for policy in config.policies.get(config.provisioned.policies.clone()).unwrap_or_default() {
        if matches!(policy, Policy::Between { via: Some(via), .. } if *via == half) {
            let PolicyWords { from, to, .. } = config.policy_words(*policy);
            names.push(ObjectName::Policy { from, to });
        }
    }
    for attachment in config.attachments.get(config.provisioned.attachments.clone()).unwrap_or_default() {
        if attachment.identifiers.iter().any(|local| same(local.identifier)) {
            names.extend(attachment.name.clone().map(ObjectName::Attachment));
        }
    }
    names
}
