//! What operators want at the node, by the word of the authority: taken over like a reload of the same file.

use super::updates::{Reply, records};
use super::{Control, Effect, LoadOrder, Loaded};
use crate::config::{Config, NetworkPeer, ObjectName, Policy, PolicyWords, RefusedEntry, VirtualNetwork};
use crate::ila::Identifier;
use crate::mapping::{Batch, Refusal};
use crate::node::provision::Provision;
use crate::node::rib::{Clash, Part, Rib};
use crate::nva::client::Objects;
use std::collections::BTreeSet;
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

    /// Whether a mapping file is to be judged together with what operators want: it contradicts some of that, or may let
    /// in what is refused.
    pub(super) fn concerns_objects(&self, file: &Batch) -> bool {
        let Some(provision) = self.provision.as_ref().filter(|it| !it.objects.all.is_empty()) else {
            return false;
        };
        let clashes = self.rib.clashes_of_file(&self.config, records(file));
        without(&self.config, provision, &clashes).is_ok_and(|refused| !refused.is_empty())
    }

    /// A mapping file that was judged together with what operators want did not come into force, or may not have.
    pub(super) fn judge_objects_again(&mut self) {
        match &self.provision {
            Some(provision) if provision.objects.all.is_empty() => {}
            Some(_) if self.reloading => self.compose_again = true,
            Some(_) => self.load(false, Vec::new()),
            None => {}
        }
    }

    /// The tables refuse a configuration for these contradictions. If what operators want is at fault in all of them, it
    /// is judged again without that, and this is `true`.
    pub(super) fn leaves_out(
        &mut self,
        loaded: &Loaded,
        config: &Config,
        reply: &Reply,
        clashes: &[Clash],
    ) -> bool {
        let Some(judged) = &loaded.provision else { return false };
        match without(config, judged, clashes) {
            Ok(excluded) => {
                self.reload_asked_by = reply.asked_by;
                self.load(loaded.reread, excluded);
                true
            }
            Err(refusal) => {
                if let (true, Some(provision)) = (reply.composed, &mut self.provision) {
                    provision.refused = nothing_of(&provision.objects, &refusal.to_string());
                }
                false
            }
        }
    }
}

/// Brings what operators want into force beside what a table holds already that no worker reads yet. What cannot be
/// taken over is left out, so that a node starts with what it had.
pub(super) fn begin(rib: &mut Rib, provision: Provision) -> (Arc<Config>, Provision) {
    let Provision { source, file, objects, .. } = provision;
    let mut excluded = Vec::new();
    let why = loop {
        let composed = Provision::compose(source.clone(), file.clone(), objects.clone(), excluded);
        let (config, provision) = match composed {
            Ok(composed) => composed,
            Err(why) => break why,
        };
        match rib.reconfigure(&config) {
            Ok(staged) => {
                rib.commit(staged);
                return (config, provision);
            }
            Err(refusal) => match without(&config, &provision, &rib.clashes(&config, None)) {
                Ok(more) if more.len() > provision.refused.len() => excluded = more,
                _ => break refusal.to_string(),
            },
        }
    };
    let refused = nothing_of(&objects, &why);
    (file.clone(), Provision { source, file, objects, refused })
}

/// What is refused, and what contradicts mappings with it.
///
/// # Errors
/// The first contradiction that is not the authority's.
fn without(config: &Config, judged: &Provision, clashes: &[Clash]) -> Result<Vec<RefusedEntry>, Refusal> {
    let mut refused = judged.refused.clone();
    let mut names: BTreeSet<ObjectName> = BTreeSet::new();
    for Clash { refusal, part } in clashes {
        let at_fault = part.map(|part| at_fault(config, part)).unwrap_or_default();
        if at_fault.is_empty() {
            return Err(refusal.clone());
        }
        for name in at_fault {
            if names.insert(name.clone()) {
                refused.push(RefusedEntry { name, why: refusal.to_string() });
            }
        }
    }
    Ok(refused)
}

/// All of it is refused.
fn nothing_of(objects: &Objects, why: &str) -> Vec<RefusedEntry> {
    let why = format!("nothing that changed is taken over: {why}");
    objects.all.keys().map(|name| RefusedEntry { name: name.clone(), why: why.clone() }).collect()
}

/// What of the authority's has this part.
fn at_fault(config: &Config, part: Part) -> Vec<ObjectName> {
    let networks = config.virtual_networks.get(config.provisioned.networks.clone()).unwrap_or_default();
    let policies = config.policies.get(config.provisioned.policies.clone()).unwrap_or_default();
    let attachments = config.attachments.get(config.provisioned.attachments.clone()).unwrap_or_default();
    let named = |network: &VirtualNetwork| ObjectName::Network(network.name.clone());
    match part {
        Part::Locator(locator) => {
            let copies = networks.iter().filter(|network| network.replicate_to.contains(&locator));
            let through = policies
                .iter()
                .filter(|policy| matches!(policy, Policy::Between { via: Some(via), .. } if *via == locator));
            let through = through.map(|policy| {
                let PolicyWords { from, to, .. } = config.policy_words(*policy);
                ObjectName::Policy { from, to }
            });
            copies.map(named).chain(through).collect()
        }
        Part::Identifier(domain, identifier) => {
            let is_here = |network: &VirtualNetwork, peer: &NetworkPeer| {
                network.domain == domain && Identifier::tenant_ipv4(network.vnid, peer.address) == identifier
            };
            let with_peer =
                networks.iter().filter(|network| network.peers.iter().any(|peer| is_here(network, peer)));
            let attached = attachments.iter().filter(|attachment| {
                let mut locals = attachment.identifiers.iter();
                locals.any(|local| local.domain == domain && local.identifier == identifier)
            });
            let attached = attached.filter_map(|one| one.name.clone().map(ObjectName::Attachment));
            with_peer.map(named).chain(attached).collect()
        }
    }
}
