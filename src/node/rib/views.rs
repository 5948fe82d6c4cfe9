//! What operators see of mappings, routes and tables.

use super::super::handle::MappingFilter;
use super::Rib;
use super::actions::Goal;
use super::router::Router;
use crate::api::views::confidence;
use crate::api::views::{LocatorView, MappingView, NextHopView, RouteView, TableView};
use crate::config::RouteTarget;
use crate::ila::neutral::there;
use crate::ila::{Adjustment, Identifier, Locator};
use crate::mapping::{Held, HeldTarget, MappingTarget, Origin};
use crate::table::{ActionId, HopState};
use std::collections::BinaryHeap;
use std::net::Ipv6Addr;

/// The name of a hop's state in output.
#[must_use]
pub const fn state_name(state: HopState) -> &'static str {
    match state {
        HopState::Ready => "ready",
        HopState::Unresolved => "unresolved",
        HopState::Unreachable => "unreachable",
        HopState::LinkDown => "link_down",
        HopState::NoRoute => "no_route",
        HopState::OnLink => "on_link",
    }
}

/// A filter with its words read.
struct Wanted {
    domain: Option<usize>,
    locator: Option<Locator>,
    origin: Option<Origin>,
}

impl Rib {
    /// A mapping as it is held.
    #[must_use]
    pub fn held(&self, domain: u8, identifier: Identifier) -> Option<Held> {
        if identifier.neutral() {
            return None;
        }
        let action = self.domains.get(usize::from(domain))?.mappings.table().lookup(identifier.0)?;
        let key = self.actions.key(action)?;
        let target = match &key.goal {
            Goal::Mapping(target) => HeldTarget::Remote(target.clone()),
            Goal::Group(choices) => HeldTarget::Remote(MappingTarget::Locators(choices.clone())),
            Goal::Local(attached) => HeldTarget::Local(self.attachments.place(*attached)?),
        };
        Some(Held { domain, identifier, target, origin: key.origin })
    }

    /// One mapping by its SIR address.
    #[must_use]
    pub fn mapping_get(&self, sir: Ipv6Addr) -> Option<MappingView> {
        let half = (u128::from(sir) >> 64) as u64;
        let domain = self.domains.iter().position(|domain| domain.config.prefix.0 == half)?;
        let identifier = Identifier::of_address(sir.into());
        if identifier.neutral() {
            return None;
        }
        let action = self.domains.get(domain)?.mappings.table().lookup(identifier.0)?;
        self.mapping_view(domain, identifier, action, &Router::of(self))
    }

    /// Mappings, sorted by SIR address.
    ///
    /// # Errors
    /// A filter with an unknown domain or origin, or a text that is no locator.
    pub fn mappings(&self, filter: &MappingFilter) -> Result<Vec<MappingView>, String> {
        let wanted = self.wanted(filter)?;
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        // The lowest addresses so far, the highest of them on top.
        let mut found: BinaryHeap<(u128, usize, u32)> = BinaryHeap::new();
        for (n, domain) in self.domains.iter().enumerate() {
            if wanted.domain.is_some_and(|only| only != n) {
                continue;
            }
            for (identifier, action) in domain.mappings.iter() {
                let sir = domain.config.prefix.with(Identifier(identifier));
                if filter.after.is_some_and(|after| sir <= after.into()) || !self.is_wanted(&wanted, action) {
                    continue;
                }
                found.push((sir, n, action.0));
                if limit > 0 && found.len() > limit {
                    found.pop();
                }
            }
        }
        let router = Router::of(self);
        let sorted = found.into_sorted_vec().into_iter();
        let view = |(sir, domain, action): (u128, usize, u32)| {
            self.mapping_view(domain, Identifier::of_address(sir), ActionId(action), &router)
        };
        Ok(sorted.filter_map(view).collect())
    }

    /// How many mappings the addresses of a virtual network have.
    #[must_use]
    pub fn mappings_of(&self, domain: u8, vnid: u32) -> u64 {
        self.mapped.get(&(domain, vnid)).copied().unwrap_or(0)
    }

    /// The routes: those of the configuration, then the connected prefixes.
    #[must_use]
    pub fn routes_view(&self) -> Vec<RouteView> {
        let port_name = |port: u16| self.ports.get(usize::from(port)).map_or("?", |port| port.name.as_str());
        let on_link = |port: u16| {
            let up = self.ports.get(usize::from(port)).is_some_and(|port| port.up);
            let state = if up { HopState::Ready } else { HopState::LinkDown };
            let (port, state) = (port_name(port).to_owned(), state_name(state).to_owned());
            vec![NextHopView { via: None, port, weight: 1, state }]
        };
        let routes = self.routes.iter().map(|route| {
            let (kind, next_hops) = match &route.target {
                RouteTarget::Via(list) => {
                    let view = |next: &crate::config::NextHop| NextHopView {
                        via: Some(Ipv6Addr::from(next.via)),
                        port: port_name(next.port).to_owned(),
                        weight: next.weight,
                        state: state_name(self.hop(next.port, next.via).state).to_owned(),
                    };
                    ("via", list.iter().map(view).collect())
                }
                RouteTarget::OnLink { port } => ("connected", on_link(*port)),
                RouteTarget::Blackhole => ("blackhole", Vec::new()),
            };
            RouteView { prefix: route.prefix.to_string(), kind: kind.to_owned(), next_hops }
        });
        let connected = self.ports.iter().enumerate().flat_map(|(n, port)| {
            port.addresses.iter().map(move |own| RouteView {
                prefix: own.prefix.to_string(),
                kind: "connected".to_owned(),
                next_hops: on_link(n as u16),
            })
        });
        routes.chain(connected).collect()
    }

    /// The mapping tables, one per SIR domain.
    #[must_use]
    pub fn tables_view(&self) -> Vec<TableView> {
        let view = |domain: &super::Domain| TableView {
            domain: domain.config.name.clone(),
            sir_prefix: domain.config.prefix.to_string(),
            checksum: domain.config.checksum.name().to_owned(),
            mappings: domain.mappings.len() as u64,
            capacity: domain.mappings.capacity() as u64,
            memory_bytes: domain.mappings.table().memory_bytes() as u64,
        };
        self.domains.iter().map(view).collect()
    }

    fn wanted(&self, filter: &MappingFilter) -> Result<Wanted, String> {
        let domain = match &filter.domain {
            None => None,
            Some(name) => {
                let at = self.domains.iter().position(|domain| domain.config.name == *name);
                let known: Vec<&str> =
                    self.domains.iter().map(|domain| domain.config.name.as_str()).collect();
                Some(at.ok_or_else(|| {
                    format!("`{name}` is not a SIR domain; known here: {}", known.join(", "))
                })?)
            }
        };
        let locator = match &filter.locator {
            None => None,
            Some(text) => Some(text.parse::<Locator>().map_err(|why| why.to_string())?),
        };
        let origin = match filter.origin.as_deref() {
            None => None,
            Some(name) => Some(Origin::named(name).ok_or_else(|| {
                let known = Origin::ALL.map(Origin::name).join(", ");
                format!("`{name}` is not an origin; write one of {known}")
            })?),
        };
        Ok(Wanted { domain, locator, origin })
    }

    fn is_wanted(&self, wanted: &Wanted, action: ActionId) -> bool {
        if wanted.origin.is_none() && wanted.locator.is_none() {
            return true;
        }
        let Some(key) = self.actions.key(action) else { return false };
        let has = |locator: Locator| match &key.goal {
            Goal::Mapping(MappingTarget::Locators(choices)) | Goal::Group(choices) => {
                choices.iter().any(|choice| choice.locator == locator)
            }
            Goal::Mapping(MappingTarget::Blackhole) | Goal::Local(_) => false,
        };
        wanted.origin.is_none_or(|origin| key.origin == origin) && wanted.locator.is_none_or(has)
    }

    fn mapping_view(
        &self,
        domain: usize,
        identifier: Identifier,
        action: ActionId,
        router: &Router,
    ) -> Option<MappingView> {
        let config = &self.domains.get(domain)?.config;
        let key = self.actions.key(action)?;
        let kind = match &key.goal {
            Goal::Mapping(MappingTarget::Locators(_)) => "locators",
            Goal::Mapping(MappingTarget::Blackhole) => "blackhole",
            Goal::Group(_) => "group",
            Goal::Local(_) => "local",
        };
        let mut view = MappingView {
            sir: Ipv6Addr::from(config.prefix.with(identifier)),
            domain: config.name.clone(),
            identifier: identifier.to_string(),
            kind: kind.to_owned(),
            locators: Vec::new(),
            attachment: None,
            origin: key.origin.name().to_owned(),
            covers: self
                .origins(domain as u8, identifier)
                .skip(1)
                .map(|origin| origin.name().to_owned())
                .collect(),
            confidence: confidence::CONFIGURED,
        };
        let checksum_delta = self.checksum_delta(domain, identifier);
        match &key.goal {
            Goal::Mapping(MappingTarget::Blackhole) => {}
            Goal::Mapping(MappingTarget::Locators(choices)) | Goal::Group(choices) => {
                view.locators = choices
                    .iter()
                    .map(|choice| {
                        let adjustment = Adjustment::of(config.prefix, choice.locator).with(checksum_delta);
                        let ila = choice.locator.with(there(identifier, adjustment, config.checksum));
                        let state = match self.is_own(choice.locator) {
                            true => HopState::NoRoute,
                            false => router.state(choice.locator),
                        };
                        LocatorView {
                            locator: choice.locator.to_string(),
                            priority: choice.priority,
                            weight: choice.weight,
                            ila: Ipv6Addr::from(ila),
                            state: state_name(state).to_owned(),
                        }
                    })
                    .collect();
            }
            Goal::Local(attached) => {
                let (place, attachment) = self.attachments.with_key(*attached)?;
                view.attachment = Some(attachment.name.clone().unwrap_or_else(|| place.to_string()));
            }
        }
        Some(view)
    }
}
