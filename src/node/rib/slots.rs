//! Where workers remember each tenant, over all reloads; how much it may ask, and whether it is under quarantine.

use super::{Attachment, Rib, attachment_key};
use crate::config::{Limit, Limits, VirtualNetwork};
use crate::table::{AttachmentKey, LimitKind, NetworkId, Quarantine, Rate, Rates, Tenant, TenantHandle};
use std::collections::{BTreeMap, HashMap};

/// The slots of all tenants.
pub(super) struct Slots {
    /// Workers that share what is allowed.
    workers: u32,
    by_attachment: BTreeMap<AttachmentKey, TenantHandle>,
    /// The last generation that was given to a tenant.
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
            generation: 0,
            free: Vec::new(),
            next: 0,
            quarantines: HashMap::new(),
        }
    }

    /// Keeps the slots of tenants that stay, frees those of others, and gives new tenants theirs.
    pub(super) fn assign(&mut self, attachments: &[Attachment]) {
        let tenants =
            || attachments.iter().filter(|attachment| attachment.network.is_some()).map(attachment_key);
        let stay: std::collections::HashSet<AttachmentKey> = tenants().collect();
        for (_, TenantHandle { slot, .. }) in
            self.by_attachment.extract_if(.., |attached, _| !stay.contains(attached))
        {
            self.free.push(slot);
            self.quarantines.remove(&slot);
        }
        for attached in tenants() {
            self.by_attachment.entry(attached).or_insert_with(|| {
                self.generation += 1;
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                TenantHandle { slot, generation: self.generation }
            });
        }
    }

    /// The tenant that is attached there.
    fn handle(&self, attached: AttachmentKey) -> Option<TenantHandle> {
        self.by_attachment.get(&attached).copied()
    }

    fn quarantine(&self, slot: u16) -> Quarantine {
        self.quarantines.get(&slot).copied().unwrap_or_default()
    }

    /// One worker's share of what a tenant may ask.
    fn rates(&self, attachment: &Attachment, network: &VirtualNetwork) -> Rates {
        let Limits { arp, nd, rarp, dad, unknown, icmp_errors, copies } =
            attachment.limits.unwrap_or(network.limits);
        LimitKind::ALL.map(|kind| {
            let Limit { per_second, burst } = match kind {
                LimitKind::Arp => arp,
                LimitKind::Nd => nd,
                LimitKind::Rarp => rarp,
                LimitKind::Dad => dad,
                LimitKind::Unknown => unknown,
                LimitKind::IcmpErrors => icmp_errors,
                LimitKind::Copies => copies,
            };
            Rate::new(per_second.div_ceil(self.workers), burst.div_ceil(self.workers))
        })
    }
}

/// A tenant as the control thread watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedTenant {
    /// What workers know it by.
    pub handle: TenantHandle,
    /// Index of the attachment in the configuration's order.
    pub attachment: u32,
    /// Its network.
    pub network: NetworkId,
}

impl Rib {
    /// All tenants, in the configuration's order.
    pub fn tenants(&self) -> impl Iterator<Item = AttachedTenant> {
        self.attachments.iter().enumerate().filter_map(|(n, attachment)| {
            let handle = self.slots.handle(attachment_key(attachment))?;
            Some(AttachedTenant { handle, attachment: n as u32, network: NetworkId(attachment.network?) })
        })
    }

    /// The tenant that is attached there, as readers see it.
    pub(super) fn tenant(&self, n: usize, attachment: &Attachment) -> Option<(Tenant, Rates)> {
        let network = attachment.network?;
        let handle = self.slots.handle(attachment_key(attachment))?;
        let tenant = Tenant {
            network: NetworkId(network),
            attachment: n as u32,
            handle,
            quarantine: self.slots.quarantine(handle.slot),
            ipv4: Vec::new(),
            ipv6: Vec::new(),
        };
        Some((tenant, self.slots.rates(attachment, self.networks.get(usize::from(network))?)))
    }

    /// Puts the tenant with this slot under quarantine, or releases it.
    pub fn set_quarantine(&mut self, slot: u16, quarantine: Quarantine) {
        let before = match quarantine {
            Quarantine::None => self.slots.quarantines.remove(&slot),
            quarantine => self.slots.quarantines.insert(slot, quarantine),
        };
        if before.unwrap_or_default() != quarantine {
            self.networks_changed();
        }
    }
}
