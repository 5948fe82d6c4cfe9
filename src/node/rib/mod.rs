//! The authoritative state of the node, and its rendering as [`Tables`].
//!
//! Pure and deterministic: no clock, no thread, no device. The lookup tables themselves hold every mapping; beside
//! them stand only the distinct targets. The control thread is the only caller, in this order:
//!
//! 1. [`Rib::stage`] judges a batch and adds the targets that it needs; nothing is visible to a reader yet.
//! 2. While [`Rib::needs_snapshot`]: [`Rib::compile`], publish, and wait until every reader has that snapshot.
//! 3. [`Rib::commit`] writes the mappings. Readers see each at once, and never a target that their snapshot lacks.
//! 4. If [`Rib::needs_snapshot`] again (a table had to grow after all), publish as in 2. Then [`Rib::release`].
//!
//! Neighbours, links and a reload only need step 2. Whoever has no readers uses [`Rib::apply`].

mod actions;
mod batch;
mod compile;
mod gateways;
mod groups;
mod hops;
mod networks;
mod precedence;
mod reload;
mod router;
mod slots;
mod views;

#[cfg(test)]
mod tests;

pub use batch::Staged;
pub use hops::{MAX_DYNAMIC, NeighbourState};
pub use slots::AttachedTenant;
pub use views::state_name;

use crate::config::{
    self, Attachment, Config, OwnLocator, Policy, Role, Route, SirDomain, TenantAddress, VirtualNetwork,
};
use crate::ila::Locator;
use crate::net::Mac;
use crate::table::mapping::MappingWriter;
use crate::table::{ActionId, AttachmentKey, Networks, PortId};
use actions::Actions;
use hops::Neighbours;
use precedence::Shadowed;
use slots::Slots;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A SIR domain and its mappings.
struct Domain {
    config: SirDomain,
    mappings: MappingWriter,
}

/// A port as the tables need it.
struct Port {
    name: String,
    role: Role,
    mac: Mac,
    mtu: u16,
    /// 0: untagged.
    vlan: u16,
    addresses: Vec<config::PortAddress>,
    advert: Option<config::RouterAdvertisement>,
    up: bool,
}

/// Everything that the tables are made from.
pub struct Rib {
    seed: u64,
    domains: Vec<Domain>,
    ports: Vec<Port>,
    locators: Vec<OwnLocator>,
    attachments: Vec<Attachment>,
    networks: Vec<VirtualNetwork>,
    policies: Vec<Policy>,
    /// Where copies of a network's groups go, by its place; action 0 for nowhere.
    replicas: Vec<ActionId>,
    /// Ways to the gateways between networks, in the order of their locators.
    gateways: Vec<(Locator, ActionId)>,
    /// Groups that tenants say they want.
    joined: HashMap<AttachmentKey, BTreeSet<TenantAddress>>,
    /// Attachments by where they sit.
    attachment_index: HashMap<AttachmentKey, u32>,
    slots: Slots,
    infrastructure: Vec<crate::net::Ipv6Prefix>,
    routes: Vec<Route>,
    neighbours: Neighbours,
    actions: Actions,
    shadowed: Shadowed,
    /// Networks that have counters of their own, at most.
    counted: u16,
    /// Where the packets of a network are counted, by VNID.
    counters: HashMap<u32, u16>,
    /// Mappings of tenants' addresses by domain and VNID; none where there are none.
    mapped: HashMap<(u8, u32), u64>,
    /// The networks as readers have them, unless something about them changed since.
    told: Option<Arc<Networks>>,
    /// Rises with every batch.
    revision: u64,
    /// Something changed since the last snapshot was compiled.
    dirty: bool,
}

impl Rib {
    /// The state that a configuration describes, with its attachments and without any other mapping.
    ///
    /// `macs` are the MAC addresses of the ports, in their order; `seed` makes table positions unpredictable to
    /// outsiders. Every link counts as up until [`Self::set_link`] says otherwise.
    #[must_use]
    pub fn new(config: &Config, macs: &[Mac], seed: u64) -> Rib {
        let ports = config.ports.iter().enumerate().map(|(n, port)| Port {
            name: port.name.clone(),
            role: port.role,
            mac: macs.get(n).copied().unwrap_or_default(),
            mtu: port.mtu,
            vlan: port.vlan.unwrap_or(0),
            addresses: Vec::new(),
            advert: None,
            up: true,
        });
        let mut rib = Rib {
            seed,
            domains: Vec::new(),
            ports: ports.collect(),
            locators: Vec::new(),
            attachments: Vec::new(),
            networks: Vec::new(),
            policies: Vec::new(),
            replicas: Vec::new(),
            gateways: Vec::new(),
            joined: HashMap::new(),
            attachment_index: HashMap::new(),
            slots: Slots::of(config.dpdk.workers.len()),
            infrastructure: Vec::new(),
            routes: Vec::new(),
            neighbours: Neighbours::default(),
            actions: Actions::new(),
            shadowed: Shadowed::default(),
            counted: config.counted_networks(),
            counters: HashMap::new(),
            mapped: HashMap::new(),
            told: None,
            revision: 0,
            dirty: true,
        };
        // The configuration's own rules leave nothing that could be refused without any other mapping.
        if let Ok(staged) = rib.reconfigure(config) {
            let _ = rib.commit(staged);
        }
        rib.revision = 0;
        rib
    }

    /// Revision of the mappings; rises with every batch.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether something changed that readers learn only from a new snapshot.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        self.dirty
    }

    /// Tells that every reader has the last compiled snapshot.
    pub fn release(&mut self) {
        self.actions.release();
    }
}

/// Where an attachment sits: stable when the configuration's order changes.
#[must_use]
pub fn attachment_key(attachment: &Attachment) -> AttachmentKey {
    AttachmentKey { port: PortId(attachment.port), vlan: attachment.vlan.unwrap_or(0), mac: attachment.mac }
}
