//! The routing information base (RIB): the authoritative state of the node, and its compilation to
//! [`crate::table::Tables`]. `docs/architecture.md` follows one mapping through it.
//!
//! Pure and deterministic: it uses no clock, no thread and no device. Each mapping is held once, in the lookup table
//! that readers use; the RIB adds only the distinct targets. The control thread is the only caller, in this order:
//!
//! 1. [`Rib::stage`] checks a batch and adds the targets that it needs. Readers see nothing of it yet.
//! 2. While [`Rib::needs_snapshot`]: [`Rib::compile`], publish, and wait until every reader uses that snapshot.
//! 3. [`Rib::commit`] writes the mappings. Readers see each one at once, and never a target that their snapshot lacks.
//! 4. If [`Rib::needs_snapshot`] again (a table had to grow), publish as in step 2. Then [`Rib::release`].
//!
//! Changes of neighbours and links and a reload only need step 2. A caller without readers uses [`Rib::apply`].

mod actions;
mod attachments;
mod batch;
mod compile;
mod digest;
mod fresh;
mod gateways;
mod groups;
mod hops;
mod ingress;
mod networks;
mod path_mtu;
mod precedence;
mod presence;
mod reload;
mod router;
mod slots;
mod step;
mod views;

#[cfg(test)]
mod tests;

pub use super::neighbour::MAX_DYNAMIC;
pub use batch::{Deletions, ShadowedChanges, Staged, Unstaged};
pub use hops::NeighbourState;
pub use presence::PresenceRefused;
pub use reload::{Clash, Part};
pub use slots::AttachedTenant;
pub use views::state_name;

use super::neighbour::{self, Neighbours};
use crate::config::{
    self, Attachment, Config, Departed, OwnLocator, Policy, Role, Route, SirDomain, TenantAddress,
    VirtualNetwork,
};
use crate::ila::Locator;
use crate::mapping::{Digest, InFlight};
use crate::net::Mac;
use crate::table::mapping::MappingWriter;
use crate::table::{ActionId, AttachmentKey, PortId, Seeded, hasher};
use actions::Actions;
use attachments::Attachments;
use fresh::Fresh;
use precedence::Shadowed;
use presence::Presences;
use slots::Slots;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A SIR domain and its mappings.
struct Domain {
    config: SirDomain,
    mappings: MappingWriter,
    /// Of the mappings that the authority tells, in force or shadowed.
    digest: Digest,
}

/// The properties of a port that the tables need.
struct Port {
    name: String,
    role: Role,
    /// That of the device.
    device_mac: Mac,
    /// The one that hosts see: on access ports that of the tasks' router, or else that of the device.
    mac: Mac,
    mtu: u16,
    /// VLAN identifier; 0 for untagged.
    vlan: u16,
    addresses: Vec<config::PortAddress>,
    advert: Option<config::RouterAdvertisement>,
    /// What an external port admits.
    external: config::External,
    up: bool,
}

/// The authoritative state: everything that [`crate::table::Tables`] are compiled from.
pub struct Rib {
    seed: u64,
    domains: Vec<Domain>,
    ports: Vec<Port>,
    locators: Vec<OwnLocator>,
    attachments: Attachments,
    networks: Arc<Vec<VirtualNetwork>>,
    policies: Arc<Vec<Policy>>,
    /// Action that copies the groups of a network to other nodes, by index of the network; action 0 for no copies.
    replicas: Vec<ActionId>,
    /// Actions towards the gateways between networks, sorted by locator.
    gateways: Vec<(Locator, ActionId)>,
    /// Groups that tenants joined by IGMP or MLD.
    joined: HashMap<AttachmentKey, BTreeSet<TenantAddress>>,
    slots: Slots,
    infrastructure: Vec<crate::net::Ipv6Prefix>,
    translation: config::Translation,
    /// Whether the authority is asked for what hosts ask for, and for what is about to expire.
    asks: bool,
    /// Whether there is an authority that is asked who has a MAC address.
    finds_macs: bool,
    /// Whether it is asked for what packets need, too.
    asks_for_packets: bool,
    routes: Arc<Vec<Route>>,
    neighbours: Neighbours,
    /// Effects of changes of neighbours, until the caller takes and carries them out.
    neighbour_effects: Vec<neighbour::Effect>,
    /// The time that the caller noted last, in milliseconds. Only neighbours use it.
    now_ms: u64,
    actions: Actions,
    shadowed: Shadowed,
    presences: Presences,
    /// What becomes of packets in flight, unless a move says otherwise.
    in_flight: InFlight,
    tells_departed: bool,
    /// How long a full queue of held packets takes to leave by its pace.
    release_ms: u64,
    path_mtus: path_mtu::PathMtus,
    /// The largest number of networks with their own counters.
    counted: u16,
    /// Counter slot of a network, by VNID.
    counters: HashMap<u32, u16>,
    /// Number of mappings of tenants' addresses, by domain and VNID; no entry stands for zero.
    mapped: HashMap<(u8, u32), u64>,
    /// The tables of networks and attachments of the last snapshot, and what has changed since.
    fresh: Fresh,
    /// Number of the mappings' state; every batch increments it.
    revision: u64,
    shadowed_changes: ShadowedChanges,
    /// Whether something has changed since the last snapshot was compiled.
    dirty: bool,
}

impl Rib {
    /// The hasher of the tables.
    pub(super) fn hasher(&self) -> Seeded {
        hasher(self.seed)
    }

    /// Builds the state that a configuration describes: its attachments and no other mapping.
    ///
    /// `macs` are the MAC addresses of the ports, in the configuration's order. `seed` makes table positions
    /// unpredictable to outsiders. Every link counts as up until [`Self::set_link`] changes it.
    #[must_use]
    pub fn new(config: &Config, macs: &[Mac], seed: u64) -> Rib {
        let ports = config.ports.iter().enumerate().map(|(n, port)| Port {
            name: port.name.clone(),
            role: port.role,
            device_mac: macs.get(n).copied().unwrap_or_default(),
            mac: Mac::ZERO,
            mtu: port.mtu,
            vlan: port.vlan.unwrap_or(0),
            addresses: Vec::new(),
            advert: None,
            external: config::External::default(),
            up: true,
        });
        let mut rib = Rib {
            seed,
            domains: Vec::new(),
            ports: ports.collect(),
            locators: Vec::new(),
            attachments: Attachments::default(),
            networks: Arc::default(),
            policies: Arc::default(),
            replicas: Vec::new(),
            gateways: Vec::new(),
            joined: HashMap::new(),
            slots: Slots::of(config.dpdk.workers.len()),
            infrastructure: Vec::new(),
            translation: config.translation,
            asks: config.nva.as_ref().is_some_and(|nva| nva.mode.asks()),
            finds_macs: config.nva.is_some(),
            asks_for_packets: config.nva.as_ref().is_some_and(|nva| nva.mode == config::NvaMode::Cache),
            routes: Arc::default(),
            neighbours: Neighbours::new(config.neighbour_discovery),
            neighbour_effects: Vec::new(),
            now_ms: 0,
            actions: Actions::new(),
            shadowed: Shadowed::default(),
            presences: Presences::default(),
            in_flight: config.moves.in_flight,
            tells_departed: config.moves.departed == Departed::Icmp,
            release_ms: config.moves.release_ms(),
            path_mtus: path_mtu::PathMtus::default(),
            counted: config.counted_networks(),
            counters: HashMap::new(),
            mapped: HashMap::new(),
            fresh: Fresh::default(),
            revision: 0,
            shadowed_changes: ShadowedChanges::default(),
            dirty: true,
        };
        // The rules of the configuration exclude every refusal as long as there is no other mapping.
        if let Ok(staged) = rib.reconfigure(config) {
            let _ = rib.commit(staged);
        }
        rib.revision = 0;
        rib
    }

    /// Revision of the mappings; every batch increments it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether something has changed that readers see only in a new snapshot.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        self.dirty
    }

    /// Frees what only older snapshots use. The caller guarantees that every reader uses the last compiled snapshot.
    pub fn release(&mut self) {
        self.actions.release();
    }
}

/// The key of an attachment: its port, VLAN and MAC address. It does not depend on the order of the configuration.
#[must_use]
pub fn attachment_key(attachment: &Attachment) -> AttachmentKey {
    AttachmentKey { port: PortId(attachment.port), vlan: attachment.vlan.unwrap_or(0), mac: attachment.mac }
}
