//! Neighbours and links: frames and timers become changes of the tables, and frames to send.

use super::{Control, LinkState};
use crate::net::{Mac, ethernet, ndp};
use crate::node::announce;
use crate::node::exchange::Frame;
use crate::node::neighbour::{Advertisement, Effect, Key, State};
use crate::path::path_mtu;
use crate::table::{AttachmentKey, PortId, Role};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;

/// The first advertisements after a link came up, and the longest pause between them (RFC 4861 §10).
pub(super) const INITIAL_ADVERTS: (u8, u64) = (3, 16_000);
/// Time between two log lines about duplicates of a port's addresses.
const WARN_MS: u64 = 10_000;
/// Time between two log lines about unfinished checksums of a port.
const UNFINISHED_MS: u64 = 60_000;

/// A port's link as it was last seen.
#[derive(Debug, Clone, Default)]
pub(super) struct LinkSeen {
    pub(super) up: bool,
    pub(super) speed_mbps: u32,
    pub(super) problem: String,
    /// When the next Router Advertisement is due.
    advert_due_ms: u64,
    /// Initial ones sent since the link came up.
    adverts: u8,
    /// Hosts were told by Router Advertisements that this node is their router.
    advertised: bool,
    /// Addresses changed, and were not announced yet.
    pub(super) unannounced: bool,
    /// When another error about a duplicate of an address may be logged.
    warned_ms: u64,
    /// Frames with unfinished checksums when that was last logged, and when it may be logged again.
    unfinished: (u64, u64),
}

impl Control {
    /// Solicits the next hops that a configuration brought.
    pub(super) fn solicit_new_neighbours(&mut self) {
        let now_ms = self.now_ms();
        self.rib.change_neighbours(|all, effects| all.tick(now_ms, effects));
        self.apply_neighbour_effects();
    }

    /// Reads a Neighbour Advertisement that a worker handed over.
    pub(super) fn receive(&mut self, frame: &Frame, now_ms: u64) {
        let Some(link) = ethernet::parse(&frame.bytes) else { return };
        let Some(packet) = frame.bytes.get(link.header..) else { return };
        if let Some(path) = path_mtu(packet, &self.publisher.current().moves) {
            return self.take_path_mtu(path);
        }
        let Ok(ndp::Message::Advertisement { target, target_mac, solicited, override_flag, .. }) =
            ndp::parse(packet)
        else {
            return;
        };
        if let Some(mac) = ethernet::source(&frame.bytes) {
            let at = AttachmentKey { port: frame.port, vlan: link.vlan, mac };
            self.heard(at, IpAddr::V6(Ipv6Addr::from(target)));
        }
        if let Some(mac) = ethernet::source(&frame.bytes).filter(|_| !solicited) {
            self.host_routers.arrived(AttachmentKey { port: frame.port, vlan: link.vlan, mac }, now_ms);
        }
        let port = self.publisher.current().ports.get(usize::from(frame.port.0));
        if let Some(port) = port.filter(|port| port.owns(target)) {
            // What we sent ourselves comes back over some links.
            let mac = target_mac.or(ethernet::source(&frame.bytes)).filter(|mac| *mac != port.mac);
            if let Some(mac) = mac {
                self.address_conflict(frame.port, target, mac, now_ms);
            }
            return;
        }
        let advert = Advertisement { mac: target_mac, solicited, overrides: override_flag };
        let key = Key { port: frame.port, address: target };
        self.rib.change_neighbours(|all, effects| all.advertised(key, advert, now_ms, effects));
    }

    /// Another node has one of our addresses, or is about to take it (RFC 4862 §5.4). We keep ours, because a
    /// router that goes silent does more harm, and tell the operator.
    pub(super) fn address_conflict(&mut self, port: PortId, address: u128, mac: Mac, now_ms: u64) {
        if let Some(count) = self.stats.address_conflicts.get(usize::from(port.0)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let Some(link) = self.links.get_mut(usize::from(port.0)).filter(|link| now_ms >= link.warned_ms)
        else {
            return;
        };
        link.warned_ms = now_ms + WARN_MS;
        let address = Ipv6Addr::from(address);
        tracing::error!(port = self.port_name(port), %address, %mac, "somebody else has our address");
    }

    /// Does what the neighbour state machine wants done.
    pub(super) fn apply_neighbour_effects(&mut self) {
        for effect in self.rib.take_neighbour_effects() {
            match effect {
                Effect::Solicit(key, to) => self.solicit(key, to),
                Effect::Entered(key, state) => self.log_neighbour(key, state),
                // The rib saw to it.
                Effect::Resolve(..) => {}
            }
        }
    }

    fn solicit(&mut self, key: Key, to: Option<Mac>) {
        let at = usize::from(key.port.0);
        let current = self.publisher.current();
        let (Some(port), Some(config)) = (current.ports.get(at), self.config.ports.get(at)) else { return };
        let vlan = config.vlan.unwrap_or(0);
        if !self.links.get(at).is_some_and(|link| link.up) {
            return;
        }
        if let Some(frame) = announce::solicitation(port, &config.addresses, vlan, key, to) {
            self.send(frame);
        }
    }

    fn log_neighbour(&self, key: Key, state: State) {
        let (port, address) = (self.port_name(key.port), Ipv6Addr::from(key.address));
        let next_hop = self.rib.neighbours().of(key).is_some_and(|neighbour| neighbour.next_hop);
        match state {
            State::Failed if next_hop => tracing::warn!(port, %address, "next hop does not answer"),
            _ => tracing::debug!(port, %address, state = state.label(), next_hop, "neighbour"),
        }
    }

    /// The links before the first snapshot.
    pub(super) fn first_links(&mut self, links: &[LinkState]) {
        for n in 0..self.links.len() {
            let port = PortId(n as u16);
            let LinkState { up, speed_mbps, problem } = links.get(n).cloned().unwrap_or_default();
            self.rib.set_link(port, up);
            tracing::info!(port = self.port_name(port), up, speed_mbps, problem, "link");
            self.links[n] = LinkSeen { up, speed_mbps, problem, ..LinkSeen::default() };
        }
    }

    /// Takes over the links as they are now. A port without a report keeps its link.
    pub(super) fn take_links(&mut self, links: &[LinkState], now_ms: u64) {
        let first = !std::mem::replace(&mut self.links_reported, true);
        for (n, LinkState { up, speed_mbps, problem }) in links.iter().enumerate().take(self.links.len()) {
            let (port, up) = (PortId(n as u16), *up);
            let seen = &mut self.links[n];
            let (was_up, changed) = (seen.up, (up, problem) != (seen.up, &seen.problem));
            seen.unannounced |= up && (first || !was_up);
            let announces = up && seen.unannounced && !self.unpublished;
            seen.unannounced &= !announces;
            (seen.up, seen.speed_mbps) = (up, *speed_mbps);
            if changed {
                seen.problem.clone_from(problem);
                tracing::warn!(port = self.port_name(port), up, speed_mbps, problem, "link changed");
            }
            if up != was_up {
                self.rib.set_link(port, up);
                self.tell_of_link(port, up);
            }
            if announces {
                self.announce(port, now_ms);
            }
            if up && !was_up {
                self.host_routers.link_up(port, now_ms);
                self.memberships.query_soon(now_ms);
                self.rib.change_neighbours(|all, effects| all.link_up(port, now_ms, effects));
            }
        }
    }

    /// Warns of ports whose frames come with checksums that their sender left to its device.
    pub(super) fn warn_of_unfinished(&mut self, now_ms: u64) {
        for n in 0..self.links.len() {
            let frames = self.stats.unfinished(PortId(n as u16));
            let (before, due_ms) = self.links[n].unfinished;
            if frames == before || now_ms < due_ms {
                continue;
            }
            self.links[n].unfinished = (frames, now_ms + UNFINISHED_MS);
            let port = self.port_name(PortId(n as u16));
            let way_out = "type `ethtool -K DEV tx off` at the other end of the link";
            tracing::warn!(
                port,
                frames,
                way_out,
                "checksums of frames are left to a device, and receivers drop them"
            );
        }
    }

    /// Announces the addresses of a port.
    fn announce(&mut self, port: PortId, now_ms: u64) {
        if let Some(link) = self.links.get_mut(usize::from(port.0)) {
            (link.adverts, link.advert_due_ms) = (0, now_ms);
        }
        let current = self.publisher.current().clone();
        if let Some(facts) = current.ports.get(usize::from(port.0)) {
            // Tenants and tasks may be on thousands of VLANs, and probe by themselves.
            if facts.role != Role::Access {
                announce::probes(port, facts).for_each(|frame| self.send(frame));
            }
            announce::advertisements(port, facts, &current.networks).for_each(|frame| self.send(frame));
        }
    }

    /// Unsolicited Router Advertisements (RFC 4861 §6.2.4).
    pub(super) fn advertise(&mut self, now_ms: u64) {
        for n in 0..self.links.len() {
            let Some(config) = self.config.ports.get(n).and_then(|port| port.router_advertisement) else {
                continue;
            };
            if !self.links[n].up || now_ms < self.links[n].advert_due_ms {
                continue;
            }
            let current = self.publisher.current().clone();
            if let Some(facts) = current.ports.get(n) {
                announce::router_advertisements(PortId(n as u16), facts, &current.networks)
                    .for_each(|frame| self.send(frame));
            }
            let most = u64::from(config.interval_s) * 1000;
            // Between 0.75 and 1 of the interval, so that routers on a link do not fall into step.
            let pause = self.random.within(most * 3 / 4..=most).max(1000);
            let link = &mut self.links[n];
            (link.adverts, link.advertised) = (link.adverts.saturating_add(1), true);
            let initial = link.adverts < INITIAL_ADVERTS.0;
            link.advert_due_ms = now_ms + if initial { pause.min(INITIAL_ADVERTS.1) } else { pause };
        }
    }

    /// Sends the final Router Advertisements of ports for which `stop` holds: this node is no default router
    /// there any more (RFC 4861 §6.2.5).
    pub(super) fn stop_advertising(&mut self, stop: impl Fn(usize) -> bool) {
        let current = self.publisher.current().clone();
        for (n, facts) in current.ports.iter().enumerate().filter(|(n, _)| stop(*n)) {
            let Some(link) = self.links.get_mut(n).filter(|link| link.up) else { continue };
            if std::mem::take(&mut link.advertised) {
                announce::final_router_advertisements(PortId(n as u16), facts, &current.networks)
                    .for_each(|frame| self.send(frame));
            }
        }
    }

    /// Advertises anew after the configuration changed.
    pub(super) fn advertise_soon(&mut self) {
        self.links.iter_mut().for_each(|link| (link.adverts, link.advert_due_ms) = (0, 0));
    }

    pub(super) fn port_name(&self, port: PortId) -> &str {
        self.config.ports.get(usize::from(port.0)).map_or("?", |port| port.name.as_str())
    }
}
