//! What NVEs say of their virtual networks and MAC addresses, for operators.

use super::Authority;
use crate::config::ObjectName;
use crate::net::Mac;
use crate::nva::attached::{Change, NetworkAt};
use crate::nva::bindings::Shared;
use crate::nva::event::{By, Event, Kind};
use crate::nva::message::{AttachedNetwork, AttachedNetworks, SessionId};
use crate::nva::model::{Network, ObjectKey};
use std::sync::Arc;

impl Authority {
    /// Virtual networks behind one, at each NVE with a session here that has tenants of them.
    pub fn networks_after(&self, network: Option<Network>) -> impl Iterator<Item = NetworkAt<'_>> {
        self.attached.after(network).filter_map(|(network, id, at)| {
            let nve = self.sessions.all.get(&id)?.nve.as_deref()?;
            let (gateway_mac, _) = self.right_gateway(network)?;
            let declared = self.registry.catalogue().name_of(network.0, network.1);
            Some(NetworkAt { network, declared, nve, at, gateway_mac })
        })
    }

    /// How many NVEs have a network with another MAC address of its gateway than they should.
    #[must_use]
    pub fn differing_gateways(&self) -> usize {
        self.attached.differing(|network| self.declared_gateway(network))
    }

    fn declared_gateway(&self, (sir_prefix, vnid): Network) -> Option<Mac> {
        let catalogue = self.registry.catalogue();
        let name = ObjectName::Network(catalogue.name_of(sir_prefix, vnid)?.to_owned());
        catalogue.entry(&ObjectKey { nve: String::new(), name })?.gateway_mac()
    }

    /// The MAC address that the gateway of a network should have, and who says so: operators of the authority, or else the
    /// NVE that said first that it has the network.
    fn right_gateway(&self, network: Network) -> Option<(Mac, Option<SessionId>)> {
        if let Some(mac) = self.declared_gateway(network) {
            return Some((mac, None));
        }
        let (id, mac) = self.attached.first(network)?;
        Some((mac, Some(id)))
    }

    /// An NVE says which networks it has.
    pub(super) fn hear_of_networks(&mut self, id: SessionId, report: AttachedNetworks, now_ms: u64) {
        let allowance = self.sessions.with_allowance(id).map(|(_, allowance)| allowance);
        let count = 1 + report.networks.len() + report.detached.len();
        if !allowance.is_some_and(|allowance| allowance.reports.take_many(count as u64, now_ms)) {
            return self.end(id, "more reports of attached networks than it may make".to_owned(), now_ms);
        }
        let changes = match self.attached.hear(id, report) {
            Ok(changes) => changes,
            Err(why) => return self.end(id, why, now_ms),
        };
        for change in changes {
            match change {
                Change::Attached(network) => {
                    let Some(at) = self.attached.of(id, network).cloned() else { continue };
                    self.note_network(Kind::NetworkAttached, id, network, in_words(network, &at), now_ms);
                    if let Some(why) = self.why_differs(id, network, &at) {
                        self.note_network(Kind::GatewayMacDiffers, id, network, why, now_ms);
                    }
                }
                Change::Detached(network) => {
                    self.note_network(
                        Kind::NetworkDetached,
                        id,
                        network,
                        format!("VNID {}", network.1),
                        now_ms,
                    );
                }
            }
        }
    }

    /// What is wrong with the gateway of a network at an NVE, and the way out.
    fn why_differs(&self, id: SessionId, network: Network, at: &AttachedNetwork) -> Option<String> {
        let (right, by) = self.right_gateway(network)?;
        let AttachedNetwork { name, gateway_mac, .. } = at;
        if *gateway_mac == right || by == Some(id) {
            return None;
        }
        let whose = match by.and_then(|by| self.sessions.all.get(&by)?.nve.clone()) {
            Some(nve) => format!("it is {right} at {nve}"),
            None => format!("operators want {right}"),
        };
        Some(format!(
            "the gateway of {name} (VNID {}) has the MAC address {gateway_mac} here, and {whose}: tenants that move keep \
             the one they know; write the same virtual_networks[].mac in all files",
            network.1
        ))
    }

    /// Notes something of a network of an NVE.
    fn note_network(&mut self, kind: Kind, id: SessionId, network: Network, why: String, now_ms: u64) {
        let named = self.registry.catalogue().name_of(network.0, network.1);
        let networks: Vec<String> = named.map(str::to_owned).into_iter().collect();
        let Some(session) = self.sessions.all.get_mut(&id) else { return };
        let throttle = match kind.is_notable() {
            true => &mut session.refusals,
            false => &mut session.registrations,
        };
        if throttle.is_told(now_ms) {
            let nve = session.nve.clone();
            let event = Event::new(kind, By::Session(id, nve.clone()));
            self.sessions.events.push(Event { nve, networks, why, ..event });
        }
    }

    /// Notes MAC addresses that two NVEs registered in one network.
    pub(super) fn note_shared_macs(&mut self, now_ms: u64) {
        for Shared { key, mac, nve, other, first } in self.registry.take_shared() {
            let why = format!(
                "{mac} is registered by {nve} and by {other} in one network; who asks for it is told what {first} has; \
                 detach it at one of them, or give one of the tenants another MAC address"
            );
            let nve: Arc<str> = nve.into();
            let id = self.sessions.of(&nve);
            let throttle = match id.and_then(|id| self.sessions.all.get_mut(&id)) {
                Some(session) => &mut session.refusals,
                None => &mut self.sessions.refusals,
            };
            if throttle.is_told(now_ms) {
                let by = id.map_or(By::Authority, |id| By::Session(id, Some(nve.clone())));
                let event =
                    Event { nve: Some(nve), key: Some(key), why, ..Event::new(Kind::MacConflict, by) };
                self.sessions.events.push(event);
            }
        }
    }
}

fn in_words((_, vnid): Network, AttachedNetwork { name, gateway_mac, subnets }: &AttachedNetwork) -> String {
    let subnets: Vec<&str> = subnets.iter().map(|(prefix, _)| prefix.as_str()).collect();
    format!("{name} (VNID {vnid}), gateway {gateway_mac}, {}", subnets.join(" "))
}
