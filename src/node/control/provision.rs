//! What operators want at the node, by the word of the authority: taken over like a reload of the same file.

use super::updates::{Reply, Work, records};
use super::{Control, Effect, LoadOrder, Loaded};
use crate::config::{Config, NetworkPeer, ObjectName, Policy, PolicyWords, RefusedEntry, VirtualNetwork};
use crate::ila::Identifier;
use crate::mapping::{Batch, Refusal};
use crate::node::provision::Provision;
use crate::node::rib::{Clash, Part, Rib, Staged};
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
            (true, false) => self.compose(),
        }
    }

    /// Has what operators want now taken over: by itself if that may do.
    pub(super) fn compose(&mut self) {
        if self.may_step() {
            (self.reloading, self.composing) = (true, true);
            self.updates.push(Work::Step, self.now.us());
        } else {
            self.load(false, Vec::new());
        }
    }

    /// Whether the configuration in force is that of the file and of what operators want.
    fn may_step(&self) -> bool {
        self.amendments.is_empty()
            && self.updates.postponed.is_none()
            && self.provision.as_ref().is_some_and(Provision::may_step)
    }

    /// Takes over only what has changed of what operators want. `None`: all of it is to be judged together.
    pub(super) fn stage_step(&mut self) -> Option<Staged> {
        if !self.may_step() {
            return None;
        }
        let provision = self.provision.as_mut()?;
        let (config, step) = provision.step(&self.config)?;
        let gone = self.tenants_of(&step);
        let Some(staged) = self.rib.take_step(&config, &step) else {
            self.provision.iter_mut().for_each(Provision::judge_whole);
            return None;
        };
        // What came meanwhile is among it.
        self.compose_again = false;
        let config = Arc::new(config);
        self.config = config.clone();
        self.unpublished = true;
        self.effects.push(Effect::Config(config));
        let now_ms = self.now_ms();
        self.change_tenants(gone, &step, now_ms);
        self.memberships.take_step(&step.gone, &step.new, now_ms, &mut self.group_effects);
        self.count_objects();
        Some(staged)
    }

    /// Has the files read, or only judged with what operators want now.
    pub(super) fn load(&mut self, reread: bool, excluded: Vec<RefusedEntry>) {
        (self.reloading, self.composing) = (true, !reread);
        if excluded.is_empty() {
            self.compose_again = false;
        }
        let provision = self.provision.as_ref().map(Provision::to_judge);
        let order = LoadOrder { old: self.file.clone(), reread, provision, excluded };
        self.effects.push(Effect::Load(Box::new(order)));
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
                    // The next change is judged together with all of it: a step would leave the others refused.
                    provision.judge_whole();
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
    let mut provision = Provision::new(source, file.clone(), objects);
    provision.refused = refused;
    (file, provision)
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
    objects.all.iter().map(|(name, _)| RefusedEntry { name: name.clone(), why: why.clone() }).collect()
}

/// What of the authority's has this part.
fn at_fault(config: &Config, part: Part) -> Vec<ObjectName> {
    let networks = config.virtual_networks.get(config.provisioned.networks.clone()).unwrap_or_default();
    let policies = config.policies.get(config.provisioned.policies.clone()).unwrap_or_default();
    let own = &config.provisioned.attachments;
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
            let attachments = config.attachments.iter().skip(own.start).take(own.len());
            let attached = attachments.filter(|attachment| {
                let mut locals = attachment.identifiers.iter();
                locals.any(|local| local.domain == domain && local.identifier == identifier)
            });
            let attached = attached.filter_map(|one| one.name.clone().map(ObjectName::Attachment));
            with_peer.map(named).chain(attached).collect()
        }
    }
}
