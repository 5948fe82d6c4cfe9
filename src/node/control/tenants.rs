//! Tenants: who announces itself, who wants an address of another, and who abuses the node.

use super::{Control, Effect, ForAuthority};
use crate::api::views::RefusedView;
use crate::config::{QuarantineMode, Step};
use crate::ila::Identifier;
use crate::net::{arp, ethernet, ndp};
use crate::node::events::{EventKind, EventRecord};
use crate::node::exchange::Frame;
use crate::node::neighbour::Key;
use crate::node::quarantine::{Finding, QuarantineState, Refused};
use crate::node::rib::{AttachedTenant, attachment_key};
use crate::path::violations::{VIOLATIONS, Violation};
use crate::path::{Limiter, Notice};
use crate::table::{AttachmentKey, Quarantine, TenantHandle};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Time between two checks of what workers refused.
const CHECK_MS: u64 = 1_000;
/// Events that the messages of one tenant may cause: a second, and at once.
const EVENT_RATE: (u32, u32) = (10, 50);

/// Time in which the same event again is suppressed: tenants send announcements three times.
const REPEAT_MS: u64 = 1_000;

/// Limits how many events one tenant causes.
struct EventDamper {
    limiter: Limiter,
    last: Option<(EventKind, u64)>,
}

/// What is known of each tenant, by slot.
#[derive(Default)]
pub(super) struct QuarantineStates {
    by_slot: BTreeMap<u16, (AttachedTenant, QuarantineState)>,
    /// By number.
    dampers: BTreeMap<u64, EventDamper>,
    due_ms: u64,
}

#[cfg(test)]
impl QuarantineStates {
    /// All tenants.
    pub(super) fn tenants(&self) -> impl Iterator<Item = AttachedTenant> {
        self.by_slot.values().map(|(tenant, _)| *tenant)
    }
}

impl Control {
    /// Checks every tenant once a second.
    pub(super) fn check_tenants_when_due(&mut self, now_ms: u64) {
        if now_ms < self.quarantine_states.due_ms {
            return;
        }
        self.check_tenants(now_ms);
    }

    /// Reads what workers refused of each tenant, and decides on quarantine.
    pub(super) fn check_tenants(&mut self, now_ms: u64) {
        self.quarantine_states.due_ms = now_ms + CHECK_MS;
        let tenants: Vec<AttachedTenant> = self.rib.tenants().collect();
        let mut before = std::mem::take(&mut self.quarantine_states.by_slot);
        let mut links: HashMap<(u16, Option<u16>), usize> = HashMap::new();
        for attachment in &self.config.attachments {
            *links.entry((attachment.port, attachment.vlan)).or_default() += 1;
        }
        for tenant in tenants {
            let refused = self.refused(tenant.handle.slot);
            let known = before.remove(&tenant.handle.slot).filter(|(known, _)| known.handle == tenant.handle);
            let mut quarantine_state = known.map_or_else(
                || QuarantineState::new(refused, now_ms),
                |(_, quarantine_state)| quarantine_state,
            );
            // On a shared link a neighbour may have sent what was refused, with this tenant's MAC address.
            let place = self.config.attachments.get(tenant.attachment as usize);
            let is_alone = place.is_some_and(|it| links.get(&(it.port, it.vlan)) == Some(&1));
            let rule = self.config.quarantine.as_ref().filter(|_| is_alone);
            let finding = quarantine_state.check(refused, rule, now_ms);
            let mode = match rule.filter(|_| quarantine_state.is_quarantined()) {
                None => Quarantine::None,
                Some(rule) => match rule.mode {
                    QuarantineMode::Control => Quarantine::Control,
                    QuarantineMode::All => Quarantine::All,
                },
            };
            self.rib.set_quarantine(tenant.handle.slot, mode);
            self.report_finding(tenant, finding);
            self.quarantine_states.by_slot.insert(tenant.handle.slot, (tenant, quarantine_state));
        }
        let QuarantineStates { by_slot, dampers, .. } = &mut self.quarantine_states;
        let there: BTreeSet<u64> = by_slot.values().map(|(tenant, _)| tenant.handle.generation).collect();
        dampers.retain(|number, _| there.contains(number));
    }

    /// The tenants that a step takes away or changes, before it.
    pub(super) fn tenants_of(&self, step: &Step) -> Vec<AttachedTenant> {
        step.gone.iter().filter_map(|gone| self.rib.tenant_with(attachment_key(gone))).collect()
    }

    /// Takes over tenants that a step took away, brought or moved. Their links are looked at with the next check.
    pub(super) fn change_tenants(&mut self, gone: Vec<AttachedTenant>, step: &Step, now_ms: u64) {
        let here = step.new.iter().chain(&step.moved);
        let here: Vec<_> = here.filter_map(|it| self.rib.tenant_with(attachment_key(it))).collect();
        let stays = |tenant: &AttachedTenant| here.iter().any(|other| other.handle == tenant.handle);
        for tenant in gone.into_iter().filter(|tenant| !stays(tenant)) {
            self.quarantine_states.by_slot.remove(&tenant.handle.slot);
        }
        for tenant in here {
            let refused = self.refused(tenant.handle.slot);
            let all = &mut self.quarantine_states.by_slot;
            let fresh = || (tenant, QuarantineState::new(refused, now_ms));
            let (known, state) = all.entry(tenant.handle.slot).or_insert_with(fresh);
            if known.handle != tenant.handle {
                *state = QuarantineState::new(refused, now_ms);
            }
            *known = tenant;
        }
    }

    fn report_finding(&mut self, tenant: AttachedTenant, finding: Finding) {
        if finding.spoofed > 0 {
            self.report_event(tenant, EventKind::Spoofed { packets: finding.spoofed });
        }
        if let Some(seconds) = finding.began_s {
            self.report_event(tenant, EventKind::Quarantined { seconds });
        }
        if finding.ended {
            self.report_event(tenant, EventKind::Released);
        }
    }

    /// What was refused of each tenant since it is here, and whether it is under quarantine, by its place
    /// among the attachments.
    pub(super) fn refused_views(&self) -> HashMap<u32, (Vec<RefusedView>, bool)> {
        let view = |tenant: AttachedTenant| {
            let now = self.refused(tenant.handle.slot);
            let known = self
                .quarantine_states
                .by_slot
                .get(&tenant.handle.slot)
                .filter(|(known, _)| known.handle == tenant.handle);
            let refused =
                known.map_or([0; VIOLATIONS], |(_, quarantine_state)| quarantine_state.refused(now));
            let kinds = Violation::ALL.iter().zip(refused);
            let kinds =
                kinds.map(|(violation, packets)| RefusedView { kind: violation.label().to_owned(), packets });
            (
                tenant.attachment,
                (
                    kinds.collect(),
                    known.is_some_and(|(_, quarantine_state)| quarantine_state.is_quarantined()),
                ),
            )
        };
        self.rib.tenants().map(view).collect()
    }

    fn refused(&self, slot: u16) -> Refused {
        let workers = &self.stats.workers;
        Violation::ALL
            .map(|violation| workers.iter().map(|worker| worker.tenants.value(slot, violation)).sum())
    }

    /// Reads a frame of a tenant: an announcement, or a report of its groups. `false`: no tenant sits where
    /// it came from.
    pub(super) fn receive_from_tenant(&mut self, frame: &Frame, now_ms: u64) -> bool {
        let Some(link) = ethernet::parse(&frame.bytes) else { return false };
        let networks = &self.publisher.current().networks;
        if !networks.has_tenants(frame.port, link.vlan) {
            return false;
        }
        let Some(mac) = ethernet::source(&frame.bytes) else { return true };
        let who = networks.tenant(frame.port, link.vlan, mac).map(|tenant| tenant.handle);
        let payload = frame.bytes.get(link.header..).unwrap_or(&[]);
        let address = match link.ethertype {
            ethernet::ARP => arp::parse(link.ethertype, payload)
                .ok()
                .filter(|message| message.kind() == arp::Kind::Gratuitous)
                .map(|message| IpAddr::V4(Ipv4Addr::from(message.sender))),
            _ => match ndp::parse(payload) {
                Ok(ndp::Message::Advertisement { target, .. }) => Some(IpAddr::V6(Ipv6Addr::from(target))),
                _ => None,
            },
        };
        match (who, address) {
            (Some(who), Some(address)) => {
                let key = AttachmentKey { port: frame.port, vlan: link.vlan, mac };
                self.host_routers.arrived(key, now_ms);
                self.report_damped(who, EventKind::Learnt { address, mac }, now_ms);
                self.tell_announced(key, address);
            }
            // Every other frame is about groups.
            _ => self.memberships.receive(frame.port, &frame.bytes, now_ms, &mut self.group_effects),
        }
        true
    }

    /// A tenant, or its hypervisor, announced its MAC address by RARP. That names no address: the event has its first one.
    fn arrived(&mut self, at: AttachmentKey, now_ms: u64) {
        self.host_routers.arrived(at, now_ms);
        let networks = &self.publisher.current().networks;
        let Some(tenant) = networks.tenant(at.port, at.vlan, at.mac) else { return };
        let who = tenant.handle;
        let ipv4 = tenant.ipv4.iter().map(|address| IpAddr::V4(Ipv4Addr::from(*address)));
        let ipv6 = tenant.ipv6.iter().map(|address| IpAddr::V6(Ipv6Addr::from(*address)));
        let addresses: Vec<IpAddr> = ipv4.chain(ipv6).collect();
        if let Some(address) = addresses.first() {
            self.report_damped(who, EventKind::Learnt { address: *address, mac: at.mac }, now_ms);
        }
        addresses.into_iter().for_each(|address| self.tell_announced(at, address));
    }

    /// A tenant announced an address of its own. It is registered since it is attached, and if the authority refused it, it
    /// is asked again.
    fn tell_announced(&mut self, at: AttachmentKey, address: IpAddr) {
        if self.config.nva.is_none() {
            return;
        }
        let networks = &self.publisher.current().networks;
        let Some(tenant) = networks.tenant(at.port, at.vlan, at.mac) else { return };
        let Some(network) = networks.get(tenant.network) else { return };
        let identifier = match address {
            IpAddr::V4(address) => Identifier::tenant_ipv4(network.vnid, address.into()),
            IpAddr::V6(address) => Identifier::tenant_ipv6(network.vnid, u128::from(address) as u32),
        };
        if let Some((sir_prefix, _)) = self.number_of(tenant.network) {
            let key = crate::nva::model::Key { sir_prefix, identifier: identifier.0 };
            self.effects.push(Effect::ForAuthority(ForAuthority::Announced(key)));
        }
    }

    /// Takes a notice that a worker left.
    pub(super) fn take_notice(&mut self, notice: &Notice, now_ms: u64) {
        match *notice {
            Notice::Conflict { tenant, address } => {
                self.report_damped(tenant, EventKind::Conflict { address }, now_ms);
            }
            Notice::Arrival { at } => self.arrived(at, now_ms),
            Notice::Neighbour { port, address, mac } => {
                let key = Key { port, address };
                self.rib.change_neighbours(|all, effects| all.solicited(key, mac, now_ms, effects));
            }
            Notice::Seen { at, sign } => self.seen(at, sign),
            Notice::Answered { at, address } => self.heard(at, address),
            Notice::Ours { port, address, mac } => self.address_conflict(port, address, mac, now_ms),
        }
    }

    /// Reports an event that a tenant can cause as often as it likes.
    pub(super) fn report_damped(&mut self, tenant: TenantHandle, kind: EventKind, now_ms: u64) {
        let known =
            self.quarantine_states.by_slot.get(&tenant.slot).filter(|(known, _)| known.handle == tenant);
        // A reload may have removed the tenant, and its successor did not cause the event.
        let Some(tenant) = known.map(|(tenant, _)| *tenant) else { return };
        let limiter = Limiter::new(EVENT_RATE.0, EVENT_RATE.1);
        let damper = self
            .quarantine_states
            .dampers
            .entry(tenant.handle.generation)
            .or_insert(EventDamper { limiter, last: None });
        let again = damper.last.is_some_and(|(last, at)| last == kind && now_ms < at + REPEAT_MS);
        if again || !damper.limiter.allow(now_ms) {
            return self.stats.events.suppress(1);
        }
        damper.last = Some((kind, now_ms));
        self.report_event(tenant, kind);
    }

    pub(super) fn report_event(&mut self, tenant: AttachedTenant, kind: EventKind) {
        let attachment = self.config.attachments.get(tenant.attachment as usize);
        let name = attachment.and_then(|attachment| attachment.name.clone());
        let attachment = name.unwrap_or_else(|| tenant.attachment.to_string());
        let network = self.config.virtual_networks.get(usize::from(tenant.network.0));
        let (network, vnid) = network.map_or(("?", 0), |network| (network.name.as_str(), network.vnid));
        match kind {
            EventKind::Learnt { address, mac } => {
                tracing::info!(attachment, network, %address, %mac, "tenant announced its address");
            }
            EventKind::Conflict { address } => {
                tracing::warn!(attachment, network, %address, "tenant wants an address that somebody else has");
            }
            EventKind::Spoofed { packets } => {
                tracing::warn!(attachment, network, packets, "tenant spoke for others");
            }
            EventKind::Quarantined { seconds } => {
                tracing::warn!(attachment, network, seconds, "tenant is under quarantine");
            }
            EventKind::Released => tracing::info!(attachment, network, "tenant is released from quarantine"),
            EventKind::Silent { address } => {
                tracing::warn!(attachment, network, %address, "nobody answers for an address of a tenant");
            }
            EventKind::Answers { address } => {
                tracing::info!(attachment, network, %address, "a tenant answers again for its address");
            }
        }
        let network = network.to_owned();
        self.effects.push(Effect::Event(EventRecord { attachment, network, vnid, kind }));
    }
}
