//! The slot of each tenant, by which workers keep state about it, with its rate limits and its quarantine.
//!
//! A tenant keeps its slot over reloads. A slot that is reused gets a new generation.

use super::{Attachment, Rib, attachment_key};
use crate::config::{Limit, Limits, VirtualNetwork};
use crate::shared::List;
use crate::table::{AttachmentKey, LimitKind, NetworkId, Quarantine, Rate, Rates, Tenant, TenantHandle};
use std::collections::{BTreeMap, HashMap};

/// The slots of all tenants.
pub(super) struct Slots {
    /// Number of workers that share the limits.
    workers: u32,
    by_attachment: BTreeMap<AttachmentKey, TenantHandle>,
    by_slot: HashMap<u16, AttachmentKey>,
    /// The generation that was assigned last.
    generation: u64,
    free: Vec<u16>,
    next: u16,
    quarantines: HashMap<u16, Quarantine>,
}

impl Slots {
    pub(super) fn of(workers: usize) -> Self {
        Slots {
            workers: workers.max(1) as u32,
            by_attachment: BTreeMap::new(),
            by_slot: HashMap::new(),
            generation: 0,
            free: Vec::new(),
            next: 0,
            quarantines: HashMap::new(),
        }
    }

    /// Keeps the slots of tenants that stay, frees those of others, and assigns slots to new tenants.
    pub(super) fn assign(&mut self, attachments: &List<Attachment>) {
        let tenants =
            || attachments.iter().filter(|attachment| attachment.network.is_some()).map(attachment_key);
        let stay: std::collections::HashSet<AttachmentKey> = tenants().collect();
        let gone = self.by_attachment.keys().filter(|attached| !stay.contains(attached));
        gone.copied().collect::<Vec<_>>().into_iter().for_each(|attached| self.free(attached));
        tenants().for_each(|attached| self.give(attached));
    }

    /// Frees the slot of a tenant, if it has one.
    pub(super) fn free(&mut self, attached: AttachmentKey) {
        if let Some(TenantHandle { slot, .. }) = self.by_attachment.remove(&attached) {
            self.free.push(slot);
            self.by_slot.remove(&slot);
            self.quarantines.remove(&slot);
        }
    }

    /// Assigns a slot to a tenant, unless it has one.
    pub(super) fn give(&mut self, attached: AttachmentKey) {
        if self.by_attachment.contains_key(&attached) {
            return;
        }
        self.generation += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.by_attachment.insert(attached, TenantHandle { slot, generation: self.generation });
        self.by_slot.insert(slot, attached);
    }

    /// The handle of the tenant with this attachment key.
    fn handle(&self, attached: AttachmentKey) -> Option<TenantHandle> {
        self.by_attachment.get(&attached).copied()
    }

    fn quarantine(&self, slot: u16) -> Quarantine {
        self.quarantines.get(&slot).copied().unwrap_or_default()
    }

    /// One worker's share of a tenant's rate limits, rounded up.
    fn rates(&self, attachment: &Attachment, network: &VirtualNetwork) -> Rates {
        let Limits { arp, nd, rarp, dad, unknown, icmp_errors, copies } =
            attachment.limits.unwrap_or(network.limits);
        LimitKind::ALL.map(|kind| {
            self.share(match kind {
                LimitKind::Arp => arp,
                LimitKind::Nd => nd,
                LimitKind::Rarp => rarp,
                LimitKind::Dad => dad,
                LimitKind::Unknown => unknown,
                LimitKind::IcmpErrors => icmp_errors,
                LimitKind::Copies => copies,
            })
        })
    }

    /// One worker's share of a limit, rounded up.
    pub(super) fn share(&self, Limit { per_second, burst }: Limit) -> Rate {
        Rate::new(per_second.div_ceil(self.workers), burst.div_ceil(self.workers))
    }
}

/// An attached tenant, for the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedTenant {
    /// Slot and generation by which workers know it.
    pub handle: TenantHandle,
    /// Index of the attachment in the configuration's order.
    pub attachment: u32,
    /// Its network.
    pub network: NetworkId,
}

impl Rib {
    /// All tenants, in the configuration's order.
    pub fn tenants(&self) -> impl Iterator<Item = AttachedTenant> {
        self.attachments.list().iter().filter_map(|attachment| self.tenant_with(attachment_key(attachment)))
    }

    /// The tenant with this attachment key.
    #[must_use]
    pub fn tenant_with(&self, key: AttachmentKey) -> Option<AttachedTenant> {
        let (place, attachment) = self.attachments.with_key(key)?;
        let handle = self.slots.handle(key)?;
        Some(AttachedTenant { handle, attachment: place, network: NetworkId(attachment.network?) })
    }

    /// The tenant of the attachment at a place, in the form of the tables, and its rates; `None` for an attachment that
    /// is not a tenant.
    pub(super) fn tenant(&self, place: u32, attachment: &Attachment) -> Option<(Tenant, Rates)> {
        let network = attachment.network?;
        let handle = self.slots.handle(attachment_key(attachment))?;
        let tenant = Tenant {
            network: NetworkId(network),
            attachment: place,
            handle,
            quarantine: self.slots.quarantine(handle.slot),
            away: self.presences.is_away(attachment_key(attachment)),
            ipv4: Vec::new(),
            ipv6: Vec::new(),
        };
        Some((tenant, self.slots.rates(attachment, self.networks.get(usize::from(network))?)))
    }

    /// Sets or lifts the quarantine of the tenant with this slot. Readers see the change in the next snapshot.
    pub fn set_quarantine(&mut self, slot: u16, quarantine: Quarantine) {
        let before = match quarantine {
            Quarantine::None => self.slots.quarantines.remove(&slot),
            quarantine => self.slots.quarantines.insert(slot, quarantine),
        };
        if before.unwrap_or_default() != quarantine
            && let Some(key) = self.slots.by_slot.get(&slot)
        {
            self.attachment_changed(*key);
        }
    }
}
