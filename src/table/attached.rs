//! The tenants of this node by attachment, by MAC address, by slot and by group, as a worker looks them up.
//!
//! A copy shares with the original all that does not change.

use super::bindings::{self, Binding, SourceBindings};
use super::limits::{Quarantine, Rates};
use super::tenant::{AttachmentKey, Tenant};
use super::{Local, NetworkId, PortId, Seeded};
use crate::ila::Identifier;
use crate::net::Mac;
use crate::shared::{List, ShardKey, ShardMap};

/// All tenants of this node.
#[derive(Debug, Clone, Default)]
pub struct Attached {
    tenants: ShardMap<AttachmentKey, Tenant, Seeded>,
    /// Source bindings by port.
    bindings: Vec<SourceBindings>,
    /// How many tenants are on a link.
    links: ShardMap<Link, u32, Seeded>,
    slots: List<Slot>,
    /// Links of the tenants of a network with a MAC address, sorted.
    by_mac: ShardMap<TenantMac, Vec<Link>, Seeded>,
    /// The groups that a tenant joined, and as which member.
    joined: ShardMap<AttachmentKey, (Vec<Identifier>, Local), Seeded>,
    members: ShardMap<Group, List<Local>, Seeded>,
    /// The members of a group that has none.
    nobody: List<Local>,
}

/// What belongs to a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Generation of the tenant; 0 if the slot is free.
    generation: u64,
    rates: Rates,
}

/// A port and a VLAN identifier; 0 for untagged.
type Link = (PortId, u16);
/// A MAC address in a network.
type TenantMac = (NetworkId, Mac);
/// A group identifier in a network.
type Group = (NetworkId, u64);

impl ShardKey for AttachmentKey {
    #[inline]
    fn shard_bits(&self) -> u64 {
        bindings::raw(self.mac).rotate_left(16) ^ u64::from(self.port.0) << 16 ^ u64::from(self.vlan)
    }
}

impl ShardKey for Link {
    fn shard_bits(&self) -> u64 {
        u64::from(self.0.0) << 16 | u64::from(self.1)
    }
}

impl ShardKey for TenantMac {
    fn shard_bits(&self) -> u64 {
        bindings::raw(self.1).rotate_left(16) ^ u64::from(self.0.0)
    }
}

impl ShardKey for Group {
    fn shard_bits(&self) -> u64 {
        self.1 ^ u64::from(self.0.0)
    }
}

impl Attached {
    pub(super) fn new(hasher: Seeded) -> Self {
        Attached {
            tenants: ShardMap::with_hasher(hasher.clone()),
            bindings: Vec::new(),
            links: ShardMap::with_hasher(hasher.clone()),
            slots: List::default(),
            by_mac: ShardMap::with_hasher(hasher.clone()),
            joined: ShardMap::with_hasher(hasher.clone()),
            members: ShardMap::with_hasher(hasher),
            nobody: List::default(),
        }
    }

    /// The hashers of all tables, that of the members of groups first.
    #[cfg(test)]
    pub(super) fn hashers(&self) -> [&Seeded; 5] {
        let [members, joined] = [self.members.hasher(), self.joined.hasher()];
        [members, joined, self.tenants.hasher(), self.links.hasher(), self.by_mac.hasher()]
    }

    /// The attachments with another tenant than in `before`, or with a tenant in only one of both. It looks only at what
    /// the two do not share.
    pub fn changed<'m>(&'m self, before: &'m Attached) -> impl Iterator<Item = AttachmentKey> + 'm {
        self.tenants.changed(&before.tenants).copied()
    }

    /// All tenants with their attachments, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = (&AttachmentKey, &Tenant)> {
        self.tenants.iter()
    }

    /// All groups with their members, in no order.
    pub fn groups(&self) -> impl Iterator<Item = (NetworkId, Identifier, &List<Local>)> {
        self.members.iter().map(|((network, group), members)| (*network, Identifier(*group), members))
    }

    pub(super) fn attach(&mut self, key: AttachmentKey, tenant: Tenant, rates: Rates) {
        self.detach(key);
        let link = (key.port, key.vlan);
        *self.links.or_default(link) += 1;
        for (binding, network) in bound(key, &tenant) {
            self.bind(key.port).insert(binding, network);
        }
        let links = self.by_mac.or_default((tenant.network, key.mac));
        let at = links.partition_point(|other| *other < link);
        links.insert(at, link);
        let slot = usize::from(tenant.handle.slot);
        while self.slots.len() <= slot {
            self.slots.push(Slot::default());
        }
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot { generation: tenant.handle.generation, rates };
        }
        self.tenants.insert(key, tenant);
    }

    pub(super) fn detach(&mut self, key: AttachmentKey) {
        let Some(tenant) = self.tenants.remove(&key) else { return };
        self.leave(key, tenant.network);
        let link = (key.port, key.vlan);
        if let Some(count) = self.links.get_mut(&link) {
            *count -= 1;
            if *count == 0 {
                self.links.remove(&link);
            }
        }
        for (binding, _) in bound(key, &tenant) {
            self.bind(key.port).remove(binding);
        }
        let with_mac = (tenant.network, key.mac);
        if let Some(links) = self.by_mac.get_mut(&with_mac) {
            links.retain(|other| *other != link);
            if links.is_empty() {
                self.by_mac.remove(&with_mac);
            }
        }
        let slot = self.slots.get_mut(usize::from(tenant.handle.slot));
        if let Some(slot) = slot.filter(|slot| slot.generation == tenant.handle.generation) {
            *slot = Slot::default();
        }
    }

    /// The source bindings of a port, to be changed.
    fn bind(&mut self, port: PortId) -> &mut SourceBindings {
        let port = usize::from(port.0);
        if self.bindings.len() <= port {
            self.bindings.resize(port + 1, SourceBindings::default());
        }
        &mut self.bindings[port]
    }

    #[inline]
    pub(super) fn bindings(&self, port: PortId) -> Option<&SourceBindings> {
        self.bindings.get(usize::from(port.0)).filter(|bindings| !bindings.is_empty())
    }

    pub(super) fn join(&mut self, key: AttachmentKey, groups: Vec<Identifier>, member: Local) {
        let Some(network) = self.tenants.get(&key).map(|tenant| tenant.network) else { return };
        self.leave(key, network);
        for group in &groups {
            self.members.or_default((network, group.0)).push(member);
        }
        if !groups.is_empty() {
            self.joined.insert(key, (groups, member));
        }
    }

    fn leave(&mut self, key: AttachmentKey, network: NetworkId) {
        let Some((groups, member)) = self.joined.remove(&key) else { return };
        for group in groups.into_iter().map(|group| (network, group.0)) {
            let Some(members) = self.members.get_mut(&group) else { continue };
            if let Some(place) = members.iter().position(|other| *other == member) {
                members.swap_remove(place);
            }
            if members.is_empty() {
                self.members.remove(&group);
            }
        }
    }

    pub(super) fn members(&self, network: NetworkId, group: Identifier) -> &List<Local> {
        self.members.get(&(network, group.0)).unwrap_or(&self.nobody)
    }

    pub(super) fn tenant(&self, key: &AttachmentKey) -> Option<&Tenant> {
        self.tenants.get(key)
    }

    pub(super) fn with_mac(&self, network: NetworkId, mac: Mac) -> Option<&Tenant> {
        let (port, vlan) = *self.by_mac.get(&(network, mac))?.first()?;
        self.tenants.get(&AttachmentKey { port, vlan, mac })
    }

    #[inline]
    pub(super) fn rates(&self, slot: u16) -> Option<&Rates> {
        self.slots.get(usize::from(slot)).map(|slot| &slot.rates)
    }

    pub(super) fn generation(&self, slot: u16) -> u64 {
        self.slots.get(usize::from(slot)).map_or(0, |slot| slot.generation)
    }

    pub(super) fn has_tenants(&self, port: PortId, vlan: u16) -> bool {
        self.links.contains_key(&(port, vlan))
    }
}

/// The source bindings of a tenant: none if it is tagged or away, or under a quarantine that stops all that it sends.
fn bound(key: AttachmentKey, tenant: &Tenant) -> Vec<(Binding, NetworkId)> {
    if key.vlan != 0 || tenant.away || tenant.quarantine == Quarantine::All {
        return Vec::new();
    }
    let mac = bindings::raw(key.mac);
    let ipv4 = tenant.ipv4.iter().map(|address| Binding::ipv4(mac, *address));
    let ipv6 = tenant.ipv6.iter().map(|address| Binding::ipv6(mac, *address as u32));
    ipv4.chain(ipv6).map(|binding| (binding, tenant.network)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Hop, HopId, TenantHandle, hasher};
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The tenant with this number of its attachment, in one of several forms.
    fn tenant(n: u8, form: u8) -> (AttachmentKey, Tenant, Rates) {
        let key = AttachmentKey {
            port: PortId(u16::from(n / 4)),
            vlan: u16::from(n % 4 / 2),
            mac: Mac([2, 0, 0, 0, 0, n % 2]),
        };
        let handle = TenantHandle { slot: u16::from(n), generation: u64::from(form) + 1 };
        let quarantine = if form == 3 { Quarantine::All } else { Quarantine::None };
        let tenant = Tenant {
            network: NetworkId(u16::from(form % 2)),
            attachment: u32::from(n),
            handle,
            quarantine,
            away: form == 2,
            ipv4: vec![u32::from(n) << 8 | u32::from(form)],
            ipv6: vec![u128::from(n) << 8, u128::from(form)],
        };
        (key, tenant, [super::super::Rate::new(u32::from(form) + 1, 1); 7])
    }

    fn member(n: u8) -> Local {
        let hop = Hop::ready(PortId(0), Mac([2, 0, 0, 0, 0, n]), Mac::ZERO, 0, 1500, HopId(0));
        Local { attachment: u32::from(n), hop }
    }

    /// All that can be looked up.
    fn seen(attached: &Attached) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut all = Vec::new();
        for n in 0..32 {
            for form in 0..4 {
                let (key, tenant, _) = tenant(n, form);
                let found = |binding: &Binding| attached.bindings(key.port)?.find(*binding);
                let bound: Vec<_> = bound(key, &tenant).iter().map(|(binding, _)| found(binding)).collect();
                let members = attached.members(NetworkId(form.into()), Identifier(u64::from(n % 3)));
                let members: BTreeSet<u32> = members.iter().map(|member| member.attachment).collect();
                all.push((
                    attached.tenant(&key).cloned(),
                    attached.with_mac(tenant.network, key.mac).cloned(),
                    (attached.rates(n.into()).copied().unwrap_or_default(), attached.generation(n.into())),
                    (attached.has_tenants(key.port, key.vlan), attached.bindings(key.port).is_some()),
                    (bound, members),
                ));
            }
        }
        all
    }

    proptest! {
        /// However they came to be there: the tables are those of the tenants that are there.
        #[test]
        fn what_changed_step_by_step_is_what_is_made_from_scratch(
            steps in prop::collection::vec((0u8..32, 0u8..6), 1..200),
        ) {
            let mut attached = Attached::new(hasher(1));
            let mut now: BTreeMap<u8, u8> = BTreeMap::new();
            let mut kept = Vec::new();
            let add = |attached: &mut Attached, n: u8, form: u8| {
                let (key, tenant, rates) = tenant(n, form);
                attached.attach(key, tenant, rates);
                attached.join(key, vec![Identifier(u64::from(n % 3))], member(n));
            };
            for (n, form) in steps {
                if form < 4 {
                    now.insert(n, form);
                    add(&mut attached, n, form);
                } else {
                    now.remove(&n);
                    attached.detach(tenant(n, 0).0);
                }
                kept.push((attached.clone(), now.clone()));
            }
            for (attached, now) in kept.iter().rev().take(3).chain(kept.first()) {
                let mut made = Attached::new(hasher(1));
                now.iter().for_each(|(n, form)| add(&mut made, *n, *form));
                prop_assert_eq!(seen(attached), seen(&made));
                let (latest, then) = kept.last().ok_or(TestCaseError::fail("no step"))?;
                let differs = |n: &u8| now.get(n) != then.get(n);
                let changed = (0..32).filter(differs).map(|n| tenant(n, 0).0).collect::<BTreeSet<_>>();
                prop_assert_eq!(latest.changed(attached).collect::<BTreeSet<_>>(), changed);
            }
        }
    }
}
