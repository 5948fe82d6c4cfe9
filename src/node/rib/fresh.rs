//! Which tables of networks, tenants and tasks the next snapshot needs anew: those of what has changed since the last one,
//! or all.

use super::Rib;
use super::actions::Key;
use crate::config::{Policy, TenantAddress};
use crate::table::{Action, AttachmentKey, NetworkId, Networks, Tasks};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Actions of routes and groups for which there is room at once.
const ROOM: usize = 1_024;

/// The tables of the last snapshot, and what of them has changed since.
#[derive(Default)]
pub(super) struct Fresh {
    /// None: all is to be made anew.
    tables: Option<(Arc<Networks>, Arc<Tasks>)>,
    /// Attachments that came, went or changed.
    attachments: BTreeSet<AttachmentKey>,
    /// Networks with other policies.
    policies: BTreeSet<u16>,
    /// The actions that lead to attachments, by index; others discard.
    locals: Vec<Action>,
}

impl Rib {
    /// Notes that networks or ports have changed: the next snapshot makes all tables anew.
    pub(super) fn networks_changed(&mut self) {
        self.fresh.tables = None;
        self.dirty = true;
    }

    /// Notes that an attachment came, went or changed.
    pub(super) fn attachment_changed(&mut self, key: AttachmentKey) {
        self.fresh.attachments.insert(key);
        self.dirty = true;
    }

    /// Notes that the policies of the networks of a policy have changed.
    pub(super) fn policy_changed(&mut self, policy: &Policy) {
        self.fresh.policies.extend(ends(policy));
        self.dirty = true;
    }

    /// Tables of networks and tasks for the next snapshot, and the actions by index that lead to attachments.
    pub(super) fn fresh_tables(&mut self) -> (Arc<Networks>, Arc<Tasks>, Vec<Action>) {
        let changed = std::mem::take(&mut self.fresh.attachments);
        let policies = std::mem::take(&mut self.fresh.policies);
        let before = self.fresh.tables.take();
        self.render_locals(before.is_some().then_some(&changed));
        let (networks, tasks) = match before {
            None => (Arc::new(self.network_tables()), Arc::new(self.tasks())),
            Some(same) if changed.is_empty() && policies.is_empty() => same,
            Some((networks, tasks)) => {
                let networks = self.changed_networks(&networks, &changed, &policies);
                (Arc::new(networks), self.changed_tasks(tasks, &changed))
            }
        };
        self.fresh.tables = Some((networks.clone(), tasks.clone()));
        let locals = &self.fresh.locals;
        let mut actions = Vec::with_capacity(locals.len() + ROOM);
        actions.extend_from_slice(locals);
        (networks, tasks, actions)
    }

    fn changed_networks(
        &self,
        before: &Networks,
        changed: &BTreeSet<AttachmentKey>,
        policies: &BTreeSet<u16>,
    ) -> Networks {
        let mut networks = before.clone();
        // Slots and places go from one to the other.
        changed.iter().for_each(|key| networks.detach(*key));
        changed.iter().for_each(|key| self.attach(&mut networks, *key));
        policies.iter().for_each(|id| networks.forget_policies(NetworkId(*id)));
        if !policies.is_empty() {
            let touched = |policy: &&Policy| ends(policy).any(|id| policies.contains(&id));
            self.policies.iter().filter(touched).for_each(|policy| self.permit(&mut networks, policy));
        }
        networks
    }

    /// Adds the tenant with this key, if it is one, and makes it a member of its groups.
    pub(super) fn attach(&self, networks: &mut Networks, key: AttachmentKey) {
        let Some((place, attachment)) = self.attachments.with_key(key) else { return };
        let Some((mut tenant, rates)) = self.tenant(place, attachment) else { return };
        for address in &attachment.addresses {
            match address {
                TenantAddress::V4(address) => tenant.ipv4.push(*address),
                TenantAddress::V6(address) => tenant.ipv6.push(*address),
            }
        }
        let tenant_is_away = tenant.away;
        networks.attach(key, tenant, rates);
        // Copies to groups are for who is here.
        if !tenant_is_away {
            networks.join(key, self.groups_of(key, attachment), self.local(key));
        }
    }

    fn changed_tasks(&self, before: Arc<Tasks>, changed: &BTreeSet<AttachmentKey>) -> Arc<Tasks> {
        let now = |key: &AttachmentKey| {
            let (_, attachment) = self.attachments.with_key(*key)?;
            let is_here = attachment.network.is_none() && !self.presences.is_away(*key);
            is_here.then(|| self.task(attachment))
        };
        let differs = |key: &&AttachmentKey| before.get(key) != now(key).as_ref();
        let differ: Vec<&AttachmentKey> = changed.iter().filter(differs).collect();
        if differ.is_empty() {
            return before;
        }
        let mut tasks = Tasks::clone(&before);
        for key in differ {
            match now(key) {
                Some(task) => _ = tasks.insert(*key, task),
                None => _ = tasks.remove(key),
            }
        }
        Arc::new(tasks)
    }

    /// Brings the actions that lead to attachments up to date: those of what has changed, or all.
    fn render_locals(&mut self, changed: Option<&BTreeSet<AttachmentKey>>) {
        let mut locals = std::mem::take(&mut self.fresh.locals);
        locals.resize(self.actions.len(), Action::Blackhole);
        let new = self.actions.take_new();
        match changed {
            None => {
                for (action, key) in locals.iter_mut().zip(self.actions.keys()) {
                    *action = self.local_action(key);
                }
            }
            Some(changed) => {
                let domains = 0..self.domains.len() as u8;
                let of = |attached| domains.clone().map(move |domain| Key::local(domain, attached));
                let changed = changed.iter().flat_map(|attached| of(*attached));
                let ids: Vec<_> = changed.filter_map(|key| self.actions.id(&key)).chain(new).collect();
                for id in ids {
                    if let Some(action) = locals.get_mut(id.0 as usize) {
                        *action = self.local_action(self.actions.key(id));
                    }
                }
            }
        }
        self.fresh.locals = locals;
    }
}

/// The networks whose policies a policy is among.
fn ends(policy: &Policy) -> impl Iterator<Item = u16> + use<> {
    let (from, to) = match *policy {
        Policy::Between { from, to, .. } => (Some(from), Some(to)),
        Policy::Out { from, .. } => (Some(from), None),
        Policy::In { to, .. } => (None, Some(to)),
    };
    from.into_iter().chain(to)
}
