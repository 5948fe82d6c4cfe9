//! When each host on an access port is told of its router: at once when it arrives, again before the lifetime runs
//! out, and for the last time when the router is none any more.

use super::Control;
use super::discovery::INITIAL_ADVERTS;
use crate::node::exchange::{DEPTH, Frame};
use crate::node::host_router::HostRouter;
use crate::table::{AttachmentKey, Networks, PortId, Tables, Tasks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Time between two advertisements to a tenant (RFC 4861 §6.2.1, MinRtrAdvInterval and MaxRtrAdvInterval).
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 200_000..=600_000;
/// Shortest time between two announcements to a host (RFC 4861 §10, MIN_DELAY_BETWEEN_RAS).
const DELAY_MS: u64 = 3_000;
/// Shortest time between two bursts to hosts. One of them fills the queue to the worker, so that thousands of hosts do
/// not fill the queue before it, where frames would be lost.
const PAUSE_MS: u64 = 10;

/// What every host was told, and when it is told next.
#[derive(Default)]
pub(super) struct HostRouters {
    hosts: BTreeMap<AttachmentKey, Host>,
    due: BTreeSet<(u64, AttachmentKey)>,
    /// When the next burst may be sent.
    burst_due_ms: u64,
    /// The tables that `hosts` come from.
    tables: Option<(Arc<Networks>, Arc<Tasks>)>,
}

struct Host {
    router: HostRouter,
    is_tenant: bool,
    /// When it is due; `None` while nothing is to be told.
    due_ms: Option<u64>,
    /// When everything was told last; `None` while nothing was of this router.
    announced_ms: Option<u64>,
    /// Whether everything is to be told, and not only the advertisement.
    whole: bool,
    /// Advertisements since the last arrival.
    adverts: u8,
}

impl HostRouters {
    fn schedule(&mut self, key: AttachmentKey, due_ms: Option<u64>) {
        let Some(host) = self.hosts.get_mut(&key) else { return };
        if let Some(before) = host.due_ms {
            self.due.remove(&(before, key));
        }
        host.due_ms = due_ms;
        self.due.extend(due_ms.map(|due_ms| (due_ms, key)));
    }

    /// A host showed itself, or its link came up: it is told everything, unless it was a moment ago.
    pub(super) fn arrived(&mut self, key: AttachmentKey, now_ms: u64) {
        let Some(host) = self.hosts.get_mut(&key) else { return };
        (host.whole, host.adverts) = (true, 0);
        let due_ms = host.announced_ms.map_or(now_ms, |at| now_ms.max(at + DELAY_MS));
        self.schedule(key, Some(due_ms));
    }

    /// The link of a port came up.
    pub(super) fn link_up(&mut self, port: PortId, now_ms: u64) {
        let tenants = self.hosts.iter().filter(|(key, host)| key.port == port && host.is_tenant);
        let tenants: Vec<AttachmentKey> = tenants.map(|(key, _)| *key).collect();
        tenants.into_iter().for_each(|key| self.arrived(key, now_ms));
    }

    /// Takes over the hosts of a snapshot: those of these attachments, or all. Gives the frames for those that lost their
    /// router.
    fn take_over(
        &mut self,
        (changed, first): (Option<BTreeSet<AttachmentKey>>, bool),
        tables: &Tables,
        now_ms: u64,
    ) -> Vec<Frame> {
        let router = |key: &AttachmentKey| router_of(*key, tables);
        let known: Vec<AttachmentKey>;
        let mut new: BTreeMap<AttachmentKey, (HostRouter, bool)>;
        match changed {
            None => {
                let tenants = tables.networks.attached().tenants().map(|(key, _)| key);
                let all = tenants.chain(tables.tasks.iter().map(|(key, _)| key));
                new = all.filter_map(|key| Some((*key, router(key)?))).collect();
                known = self.hosts.keys().copied().collect();
            }
            Some(changed) => {
                new = changed.iter().filter_map(|key| Some((*key, router(key)?))).collect();
                known = changed.into_iter().collect();
            }
        }
        let mut last = Vec::new();
        for key in known {
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            let now = new.remove(&key);
            let router = now.as_ref().map(|(router, _)| router);
            // Tasks that stay hear it from their port, all at once.
            let by_group = !host.is_tenant && now.as_ref().is_some_and(|(_, is_tenant)| !is_tenant);
            if !by_group && host.router.ends_before(router) {
                last.extend(host.router.withdrawal(key));
            }
            match now {
                None => {
                    self.schedule(key, None);
                    self.hosts.remove(&key);
                }
                Some((router, _)) if router == host.router => {}
                Some((router, is_tenant)) => {
                    (host.router, host.is_tenant, host.announced_ms) = (router, is_tenant, None);
                    self.arrived(key, now_ms);
                }
            }
        }
        for (key, (router, is_tenant)) in new {
            let host = Host { router, is_tenant, due_ms: None, announced_ms: None, whole: true, adverts: 0 };
            self.hosts.insert(key, host);
            // Tasks that were there before the node are told by multicast when the link is announced.
            if is_tenant || !first {
                self.arrived(key, now_ms);
            }
        }
        last
    }

    /// Every host, and whether it is a tenant.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> Vec<(AttachmentKey, bool)> {
        self.hosts.iter().map(|(key, host)| (*key, host.is_tenant)).collect()
    }

    /// The last advertisements, to every host that has one.
    fn withdrawals(&self) -> Vec<Frame> {
        let tenants = self.hosts.iter().filter(|(_, host)| host.is_tenant);
        tenants.filter_map(|(key, host)| host.router.withdrawal(*key)).collect()
    }
}

impl Control {
    /// Tells the hosts that are due of their routers.
    pub(super) fn tell_hosts(&mut self, now_ms: u64) {
        self.refresh_hosts(now_ms);
        if now_ms < self.host_routers.burst_due_ms {
            return;
        }
        let mut room = DEPTH;
        while let Some((_, key)) =
            self.host_routers.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms)
        {
            if room == 0 {
                self.host_routers.burst_due_ms = now_ms + PAUSE_MS;
                return;
            }
            let is_up = self.links.get(usize::from(key.port.0)).is_some_and(|link| link.up);
            let pause = self.random.within(INTERVAL_MS);
            let all = &mut self.host_routers;
            let Some(host) = all.hosts.get_mut(&key).filter(|_| is_up) else {
                // The link coming up makes it due again.
                all.schedule(key, None);
                continue;
            };
            let frames: Vec<Frame> = match std::mem::take(&mut host.whole) {
                true => {
                    host.announced_ms = Some(now_ms);
                    host.router.announcement(key).collect()
                }
                false => host.router.advertisement(key).into_iter().collect(),
            };
            host.adverts = host.adverts.saturating_add(1);
            let pause = if host.adverts < INITIAL_ADVERTS.0 { pause.min(INITIAL_ADVERTS.1) } else { pause };
            let goes_on = host.is_tenant && host.router.is_advertised();
            all.schedule(key, goes_on.then_some(now_ms + pause));
            room = room.saturating_sub(frames.len());
            frames.into_iter().for_each(|frame| self.send(frame));
        }
    }

    /// Tells every tenant that this node is its router no longer: the node stops.
    pub(super) fn withdraw_from_hosts(&mut self) {
        self.refresh_hosts(self.now_ms());
        self.send_last(self.host_routers.withdrawals());
    }

    /// Takes over the hosts of the snapshot that was published last.
    fn refresh_hosts(&mut self, now_ms: u64) {
        let current = self.publisher.current().clone();
        let tables = (current.networks.clone(), current.tasks.clone());
        let same = self.host_routers.tables.as_ref().is_some_and(|(networks, tasks)| {
            Arc::ptr_eq(networks, &tables.0) && Arc::ptr_eq(tasks, &tables.1)
        });
        if same {
            return;
        }
        let before = self.host_routers.tables.replace(tables.clone());
        let first = before.is_none();
        let changed = match before.filter(|(networks, _)| networks.same_networks(&tables.0)) {
            None => None,
            // The networks and their gateways are as before: only hosts that came, went or changed are looked at.
            Some((networks, tasks)) => {
                let tenants = tables.0.attached().changed(networks.attached());
                Some(tenants.chain(tables.1.changed(&tasks).copied()).collect())
            }
        };
        let last = self.host_routers.take_over((changed, first), &current, now_ms);
        self.send_last(last);
    }

    /// Sends last advertisements, over the links that are up: whether a host heard of the router is not known, because
    /// workers answer those that ask.
    fn send_last(&mut self, frames: Vec<Frame>) {
        let is_up = |port: PortId| self.links.get(usize::from(port.0)).is_some_and(|link| link.up);
        let frames: Vec<Frame> = frames.into_iter().filter(|frame| is_up(frame.port)).collect();
        frames.into_iter().for_each(|frame| self.send(frame));
    }
}

/// The router of the host at an attachment, and whether the host is a tenant.
fn router_of(key: AttachmentKey, tables: &Tables) -> Option<(HostRouter, bool)> {
    if tables.tasks.contains_key(&key) {
        return tables.ports.get(usize::from(key.port.0)).map(|port| (HostRouter::of_task(port), false));
    }
    let tenant = tables.networks.tenant(key.port, key.vlan, key.mac)?;
    let network = tables.networks.get(tenant.network)?;
    Some((HostRouter::of_tenant(network, tenant), true))
}
