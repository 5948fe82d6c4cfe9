//! Compiles the authoritative state to one snapshot ([`Tables`]).
//!
//! An action of a mapping has the same index in all snapshots. The actions of routes and of nexthop groups follow;
//! their indices are valid only in their own snapshot.

use super::actions::{Goal, Key};
use super::ingress::external;
use super::router::{Exit, Router, no_route};
use super::{Port, Rib};
use crate::config::{self, RouteTarget};
use crate::ila::{Adjustment, Locator};
use crate::mapping::{LocatorChoice, MappingTarget};
use crate::net::ndp::Advert;
use crate::table::mapping::next_seed;
use crate::table::prefixes::PrefixTable;
use crate::table::routes::Routes;
use crate::table::{
    self, Action, ActionId, AttachmentKey, DomainId, Hop, HopId, HopState, Local, NexthopGroup, PortId,
    Remote, Role, Tables,
};
use std::collections::{HashMap, HashSet};

impl Rib {
    /// Compiles the state to a snapshot.
    pub fn compile(&mut self) -> Tables {
        self.dirty = false;
        self.actions.drop_idle();
        let (networks, tasks, actions) = self.fresh_tables();
        let router = Router::of(self);
        let mut render = Render {
            rib: self,
            router,
            actions,
            nexthop_groups: Vec::new(),
            groups: Vec::new(),
            remotes: HashMap::new(),
            replicas: HashMap::new(),
        };
        let routes = render.routes();
        for (n, key) in self.actions.remote() {
            render.actions[n] = render.mapping(key);
        }
        let moves = render.moves();
        let mut neighbours = HashMap::with_hasher(self.hasher());
        neighbours.extend(self.neighbours.in_tables().map(|key| {
            let place = (key.port, key.address);
            (place, self.hop(key.port.0, key.address))
        }));
        let mut own = HashSet::with_hasher(self.hasher());
        let addresses = self.ports.iter().flat_map(|port| &port.addresses).map(|own| own.address);
        let gateways = self.networks.iter().filter_map(|network| network.ipv6?.gateway);
        own.extend(addresses.chain(gateways));
        Tables {
            prefixes: self.prefixes(),
            networks,
            tasks,
            asks: self.asks,
            finds_macs: self.finds_macs,
            asks_for_packets: self.asks_for_packets,
            domains: self.domains.iter().map(domain).collect(),
            routes,
            neighbours,
            ports: self.port_tables(),
            own,
            flow_seed: next_seed(self.seed),
            infrastructure: self.infrastructure(),
            inside: self.inside(),
            moves,
            translation: table::Translation {
                lowest_ipv6_mtu: self.translation.lowest_ipv6_mtu,
                computes_udp_checksum: self.translation.missing_udp_checksum
                    == config::MissingUdpChecksum::Compute,
            },
            actions: render.actions,
            nexthop_groups: render.nexthop_groups,
            groups: render.groups,
        }
    }

    fn prefixes(&self) -> PrefixTable {
        let mut prefixes = PrefixTable::default();
        for (n, domain) in self.domains.iter().enumerate() {
            prefixes.entry(domain.config.prefix.0).sir = Some(DomainId(n as u8));
        }
        let adjusted = |domain: u8, locator: Locator| {
            let sir = self.domains.get(usize::from(domain))?.config.prefix;
            Some((DomainId(domain), Adjustment::of(sir, locator)))
        };
        for own in &self.locators {
            prefixes.entry(own.prefix.0).local = adjusted(own.domain, own.prefix);
        }
        for (locator, domain) in self.actions.locators() {
            prefixes.entry(locator.0).remote = adjusted(domain, locator);
        }
        for (locator, domain) in self.locators_in_flight() {
            prefixes.entry(locator).remote = adjusted(domain, Locator(locator));
        }
        for own in self.ports.iter().flat_map(|port| &port.addresses) {
            let half = (own.address >> 64) as u64;
            if half != 0 {
                prefixes.entry(half).own = true;
            }
        }
        for vnet in self.networks.iter().filter_map(|network| network.ipv6) {
            let half = (vnet.prefix.bits() >> 64) as u64;
            if half != 0 {
                prefixes.entry(half).tenants = true;
            }
        }
        prefixes
    }

    fn port_tables(&self) -> Vec<table::Port> {
        let fallback = self.ports.iter().flat_map(|port| &port.addresses).next().map(|own| own.address);
        let ports = self.ports.iter().enumerate().map(|(n, port)| {
            let vlans = match port.role {
                config::Role::Fabric | config::Role::External => vec![port.vlan],
                config::Role::Access => self.access_vlans(n as u16),
            };
            let addresses = port.addresses.iter().map(|own| own.address).collect();
            let mut table = table::Port::new(role(port.role), port.mac, vlans, addresses, fallback);
            table.advert = advert(port);
            if port.role == config::Role::External {
                table.ingress = external(&port.external);
            }
            table.tenants = self.attachments.has_tenants(n as u16);
            table
        });
        ports.collect()
    }

    /// The VLAN identifiers of all attachments of an access port.
    fn access_vlans(&self, port: u16) -> Vec<u16> {
        let mut vlans: Vec<u16> = self.attachments.vlans(port).collect();
        if vlans.is_empty() {
            vlans.push(0);
        }
        vlans
    }

    /// The action at an index that leads to an attachment; one that discards for any other index.
    pub(super) fn local_action(&self, key: Option<&Key>) -> Action {
        match key.map(|key| &key.goal) {
            Some(Goal::Local(attached)) => Action::Local(self.local(*attached)),
            Some(Goal::Mapping(_) | Goal::Group(_)) | None => Action::Blackhole,
        }
    }

    pub(super) fn local(&self, attached: AttachmentKey) -> Local {
        let known = self.attachments.with_key(attached);
        let attachment = known.map_or(u32::MAX, |(place, _)| place);
        // What a host gets comes from the router that it sees.
        let network = known.and_then(|(_, attachment)| attachment.network);
        let network = network.and_then(|network| self.networks.get(usize::from(network)));
        let hop = match self.ports.get(usize::from(attached.port.0)) {
            Some(port) if port.up => {
                let router = network.map_or(port.mac, |network| network.mac);
                Hop::ready(attached.port, attached.mac, router, attached.vlan, port.mtu, HopId(0))
            }
            port => {
                let mtu = port.map_or(0, |port| port.mtu);
                Hop::not_ready(attached.port, HopState::LinkDown, mtu, HopId(0))
            }
        };
        Local { attachment, hop }
    }
}

/// The actions of a snapshot while it is compiled.
pub(super) struct Render<'r> {
    pub(super) rib: &'r Rib,
    router: Router,
    pub(super) actions: Vec<Action>,
    nexthop_groups: Vec<NexthopGroup>,
    groups: Vec<Vec<ActionId>>,
    /// Members of nexthop groups, by domain, locator, next hop, and whether their mappings are about to expire.
    remotes: HashMap<(u8, Locator, HopId, bool), ActionId>,
    /// Actions of copies, by domain and locator.
    replicas: HashMap<(u8, Locator), ActionId>,
}

/// An ECMP path: the identity that is hashed, its share of the flows before scaling, and locator and hop of its action.
struct Path {
    identity: u64,
    share: u64,
    choice: LocatorChoice,
    hop: Hop,
}

impl Render<'_> {
    fn add(&mut self, action: Action) -> ActionId {
        self.actions.push(action);
        ActionId((self.actions.len() - 1) as u32)
    }

    fn routes(&mut self) -> Routes {
        let mut list = Vec::new();
        for (n, port) in self.rib.ports.iter().enumerate() {
            if port.addresses.is_empty() {
                continue;
            }
            let action = self.add(Action::Connected(PortId(n as u16)));
            list.extend(port.addresses.iter().map(|own| (own.prefix, action)));
        }
        // Routes with the same target share an action. The action stays in cache, however many routes there are.
        let mut places: HashMap<&RouteTarget, ActionId> = HashMap::new();
        let rib = self.rib;
        for (n, route) in rib.routes.iter().enumerate() {
            let action = *places.entry(&route.target).or_insert_with(|| {
                let action = match &route.target {
                    RouteTarget::Via(_) => self.via(n),
                    RouteTarget::OnLink { port } => Action::Connected(PortId(*port)),
                    RouteTarget::Blackhole => Action::Blackhole,
                };
                self.add(action)
            });
            list.push((route.prefix, action));
        }
        Routes::build(list, self.rib.seed)
    }

    /// The action of a route with next hops.
    fn via(&mut self, route: usize) -> Action {
        let exits: Vec<Exit> = self.router.exits(route).to_vec();
        let usable: Vec<Exit> = exits.iter().copied().filter(Exit::usable).collect();
        match usable.as_slice() {
            [] => Action::Forward(exits.first().map_or_else(no_route, |exit| exit.hop)),
            [only] => Action::Forward(only.hop),
            several => {
                let member = |exit: &Exit| (exit.identity, exit.weight, self.add(Action::Forward(exit.hop)));
                let members: Vec<_> = several.iter().map(member).collect();
                self.nexthop_group(&members)
            }
        }
    }

    fn nexthop_group(&mut self, members: &[(u64, u16, ActionId)]) -> Action {
        self.nexthop_groups.push(NexthopGroup::new(members));
        Action::NexthopGroup((self.nexthop_groups.len() - 1) as u32)
    }

    /// The action of a mapping's target.
    fn mapping(&mut self, key: &Key) -> Action {
        match &key.goal {
            Goal::Local(_) => self.rib.local_action(Some(key)),
            Goal::Mapping(MappingTarget::Blackhole) => Action::Blackhole,
            Goal::Group(choices) => self.group(key.domain, choices),
            Goal::Mapping(MappingTarget::Locators(choices)) => {
                self.locators(key.domain, choices, key.expiring)
            }
        }
    }

    /// The action of a group: one copy for each locator of another node.
    fn group(&mut self, domain: u8, choices: &[LocatorChoice]) -> Action {
        let mut copies = Vec::with_capacity(choices.len());
        for choice in choices.iter().filter(|choice| !self.rib.is_own(choice.locator)) {
            copies.push(self.replica(domain, choice));
        }
        self.groups.push(copies);
        Action::Group((self.groups.len() - 1) as u32)
    }

    /// The action of one locator for all that goes only there: copies to groups, and packets in flight.
    pub(super) fn replica(&mut self, domain: u8, choice: &LocatorChoice) -> ActionId {
        if let Some(known) = self.replicas.get(&(domain, choice.locator)) {
            return *known;
        }
        let action = self.locators(domain, std::slice::from_ref(choice), false);
        let id = self.add(action);
        self.replicas.insert((domain, choice.locator), id);
        id
    }

    /// The action of a mapping to locators: ECMP over the locators of the best reachable priority and their next hops.
    fn locators(&mut self, domain: u8, choices: &[LocatorChoice], expiring: bool) -> Action {
        let rest = choices.chunk_by(|a, b| a.priority == b.priority);
        let paths = rest.map(|group| self.paths(group)).find(|paths| !paths.is_empty()).unwrap_or_default();
        match paths.as_slice() {
            [] => {
                // No locator can be reached. The state of the first one tells the reason.
                let Some(first) = choices.first() else { return Action::Blackhole };
                let hop = match self.rib.is_own(first.locator) {
                    true => no_route(),
                    false => self.router.dead_end(first.locator),
                };
                self.remote(domain, first.locator, hop, expiring)
            }
            [only] => self.remote(domain, only.choice.locator, only.hop, expiring),
            several => {
                let most = several.iter().map(|path| path.share).max().unwrap_or(1).max(1);
                let scale = |share: u64| (share * 60_000 / most).clamp(1, 60_000) as u16;
                let member =
                    |path: &Path| (path.identity, scale(path.share), self.member(domain, path, expiring));
                let members: Vec<_> = several.iter().map(member).collect();
                self.nexthop_group(&members)
            }
        }
    }

    /// The usable paths to locators of one priority. The next hops of a locator share its weight by their own weights.
    fn paths(&self, group: &[LocatorChoice]) -> Vec<Path> {
        let mut paths = Vec::new();
        for choice in group.iter().filter(|choice| !self.rib.is_own(choice.locator)) {
            let usable = || self.router.towards(choice.locator).iter().filter(|exit| exit.usable());
            let total: u64 = usable().map(|exit| u64::from(exit.weight)).sum();
            paths.extend(usable().map(|exit| Path {
                identity: choice.locator.0.rotate_left(17) ^ exit.identity,
                share: u64::from(choice.weight) * u64::from(exit.weight) * 1_000_000 / total.max(1),
                choice: *choice,
                hop: exit.hop,
            }));
        }
        paths
    }

    /// The action of one member of a nexthop group. All groups with this member share it.
    fn member(&mut self, domain: u8, path: &Path, expiring: bool) -> ActionId {
        let place = (domain, path.choice.locator, path.hop.id, expiring);
        if let Some(known) = self.remotes.get(&place) {
            return *known;
        }
        let remote = self.remote(domain, path.choice.locator, path.hop, expiring);
        let id = self.add(remote);
        self.remotes.insert(place, id);
        id
    }

    fn remote(&self, domain: u8, locator: Locator, hop: Hop, expiring: bool) -> Action {
        let Some(held) = self.rib.domains.get(usize::from(domain)) else { return Action::Blackhole };
        let (id, prefix) = (DomainId(domain), held.config.prefix);
        let remote = Remote::new(id, prefix, held.config.checksum, locator, hop);
        Action::Remote(if expiring { remote.expiring() } else { remote })
    }
}

impl Rib {
    pub(super) fn is_own(&self, locator: Locator) -> bool {
        self.locators.iter().any(|own| own.prefix == locator)
    }
}

fn domain(domain: &super::Domain) -> table::Domain {
    table::Domain {
        sir: domain.config.prefix,
        checksum: domain.config.checksum,
        on_miss: match domain.config.on_miss {
            config::OnMiss::Drop => table::OnMiss::Drop,
            config::OnMiss::Route => table::OnMiss::Route,
        },
        skip_unchecked: domain.config.skip_unchecked,
        mappings: domain.mappings.table().clone(),
    }
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Fabric => Role::Fabric,
        config::Role::External => Role::External,
        config::Role::Access => Role::Access,
    }
}

fn advert(port: &Port) -> Option<Advert> {
    let advert = port.advert?;
    Some(Advert {
        lifetime_s: advert.lifetime_s,
        mtu: port.mtu,
        prefix: advert.prefix.map(|sir| (sir.prefix().bits(), 64, advert.on_link, advert.autonomous)),
    })
}
