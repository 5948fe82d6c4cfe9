//! Which attachments' VMs and tasks are about to arrive or have left, and what workers must know of it.

use super::actions::Key;
use super::compile::Render;
use super::{Rib, attachment_key};
use crate::config::Attachment;
use crate::ila::Identifier;
use crate::mapping::{
    Departure, InFlight, LocatorChoice, MappingTarget, Origin, Presence, TunnelEnds, Tunnels,
};
use crate::net::vxlan::MAX_VNI;
use crate::table::{
    self, Absent, Action, ActionId, AttachmentKey, HoldId, Hop, HopId, Local, Moves, Moving, NetworkId,
    Sends, Then, Tunnel, TunnelEnd,
};
use std::collections::BTreeMap;

/// Why an attachment cannot move as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceRefused {
    /// A VNID with more bits than a VNI has.
    #[error(
        "VNID {0} does not fit the 24 bits of a VXLAN network identifier; move without a tunnel (in_flight: retranslate), \
         or give the network a VNID of at most 16777215"
    )]
    Vnid(u32),
    /// A task in a SIR domain without a VNI.
    #[error(
        "SIR domain {0} has no VXLAN network identifier; give it one (sir_domains[].vni), or move without a tunnel \
         (in_flight: retranslate)"
    )]
    Domain(String),
}

/// What is known of an attachment that moves.
#[derive(Debug, Clone)]
struct Known {
    presence: Presence,
    /// The queue of this arrival, or of the last one.
    hold: HoldId,
    /// The tunnels that lead here, or did.
    tunnels: Tunnels,
    /// It has left, and the time of packets in flight is over.
    over: bool,
    /// Since when what was held leaves, if it does; in milliseconds of the node's clock.
    released_ms: Option<u64>,
    /// It is no more, and neither are its mappings.
    is_over: bool,
    /// The attachment, if it is no more: until its mappings are gone, packets still find them.
    gone: Option<Attachment>,
}

impl Known {
    /// The queue whose packets leave now.
    fn released(&self) -> Option<HoldId> {
        self.released_ms.map(|_| self.hold)
    }
}

/// How much longer than by its pace what was held may take to leave. Then all the rest goes at once.
const RELEASE_MS: u64 = 1_000;

/// All attachments that move.
#[derive(Debug, Default)]
pub(super) struct Presences {
    all: BTreeMap<AttachmentKey, Known>,
    last: HoldId,
}

impl Presences {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the VM or task of an attachment is not here, or what it sent before still leaves.
    pub(super) fn is_away(&self, key: AttachmentKey) -> bool {
        let is_away =
            |known: &Known| !matches!(known.presence, Presence::Here(_)) || known.released().is_some();
        self.all.get(&key).is_some_and(is_away)
    }

    /// Whether an attachment gets copies of packets to groups: it is here and they do not come through its tunnel, or they
    /// go on to its new node.
    pub(super) fn gets_copies(&self, key: AttachmentKey) -> bool {
        self.all.get(&key).is_none_or(|known| match &known.presence {
            // Not twice.
            Presence::Here(tunnels) => !tunnels.copies,
            Presence::Expected(_) => false,
            Presence::Departed(departure) => departure.tunnel.is_some() && !known.over,
        })
    }

    /// An attachment is no more, and its mappings go next.
    fn leave(&mut self, key: AttachmentKey, attachment: &Attachment) {
        if let Some(known) = self.all.get_mut(&key) {
            known.gone = Some(attachment.clone());
        }
    }

    /// Forgets attachments that are no more; the mappings of all of them are gone. Says whether there were any.
    pub(super) fn forget(&mut self) -> bool {
        let before = self.all.len();
        // What was held on its behalf still leaves. It is forgotten after that.
        self.all.values_mut().for_each(|known| known.is_over |= known.gone.is_some());
        self.all.retain(|_, known| !known.is_over || known.released_ms.is_some());
        self.all.len() != before
    }

    fn set(&mut self, key: AttachmentKey, presence: Presence, now_ms: u64) {
        let before = self.all.remove(&key);
        let was_expected =
            before.as_ref().is_some_and(|known| matches!(known.presence, Presence::Expected(_)));
        let released_ms = match &presence {
            Presence::Expected(_) => None,
            _ if was_expected => Some(now_ms),
            _ => before.as_ref().and_then(|known| known.released_ms),
        };
        if presence == Presence::default() && released_ms.is_none() {
            return;
        }
        let hold = match (&presence, &before) {
            (Presence::Expected(_), _) if !was_expected => {
                self.last = HoldId(self.last.0.wrapping_add(1));
                self.last
            }
            (_, Some(known)) => known.hold,
            (_, None) => HoldId(0),
        };
        let tunnels = match &presence {
            Presence::Here(tunnels) | Presence::Expected(tunnels) => tunnels.clone(),
            Presence::Departed(_) => before.map(|known| known.tunnels).unwrap_or_default(),
        };
        self.all.insert(
            key,
            Known { presence, hold, tunnels, over: false, released_ms, is_over: false, gone: None },
        );
    }
}

impl Rib {
    /// Says where the VM or task of an attachment is. Readers see it in the next snapshot. An attachment that is not there
    /// yet will be so from its beginning.
    ///
    /// # Errors
    /// [`PresenceRefused`] if a tunnel is wanted and the attachment's network or domain has no VNI. Nothing is changed.
    pub fn set_presence(&mut self, key: AttachmentKey, presence: Presence) -> Result<(), PresenceRefused> {
        // Others get no tunnel then: who has arrived is here all the same.
        let tunnels = match &presence {
            Presence::Here(_) => false,
            Presence::Expected(tunnels) => !tunnels.from.is_empty(),
            Presence::Departed(departure) => {
                departure.in_flight == Some(InFlight::Tunnel) && departure.tunnel.is_some()
            }
        };
        if let Some((_, attachment)) = self.attachments.with_key(key).filter(|_| tunnels) {
            self.vni(attachment)?;
        }
        self.presences.set(key, presence, self.now_ms);
        self.attachment_changed(key);
        Ok(())
    }

    /// Whether the VM or task of an attachment is not here.
    #[must_use]
    pub fn is_away(&self, key: AttachmentKey) -> bool {
        self.presences.is_away(key)
    }

    /// The attachment with this key.
    #[must_use]
    pub fn attachment_at(&self, key: AttachmentKey) -> Option<&Attachment> {
        self.attachments.with_key(key).map(|(_, attachment)| attachment)
    }

    /// Where the VM or task of an attachment is.
    #[must_use]
    pub fn presence(&self, key: AttachmentKey) -> Presence {
        self.presences.all.get(&key).map(|known| known.presence.clone()).unwrap_or_default()
    }

    /// Whether a VM or task is expected here.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.presences.all.values().any(|known| matches!(known.presence, Presence::Expected(_)))
    }

    /// All attachments that move, with where their VMs or tasks are.
    pub fn presences(&self) -> impl Iterator<Item = (AttachmentKey, &Presence)> {
        self.presences.all.iter().map(|(key, known)| (*key, &known.presence))
    }

    /// Whether what was held for somebody leaves workers now.
    #[must_use]
    pub fn is_releasing(&self) -> bool {
        self.presences.all.values().any(|known| known.released_ms.is_some())
    }

    /// What was held has left all workers, if `all` says so; otherwise ends only what takes too long. From the next
    /// snapshot on, nothing waits behind it.
    pub fn end_releases(&mut self, all: bool) {
        let (now_ms, longest_ms) = (self.now_ms, RELEASE_MS + self.release_ms);
        let mut ended = Vec::new();
        self.presences.all.retain(|key, known| {
            if known.released_ms.is_some_and(|since_ms| all || now_ms >= since_ms + longest_ms) {
                known.released_ms = None;
                ended.push(*key);
                return known.presence != Presence::default() && !known.is_over;
            }
            true
        });
        ended.into_iter().for_each(|key| self.attachment_changed(key));
    }

    /// Ends the time of packets in flight where it is over. Readers see it in the next snapshot.
    pub fn end_flights(&mut self) {
        let now_ms = self.now_ms;
        let mut ended = Vec::new();
        for (key, known) in &mut self.presences.all {
            if let Presence::Departed(departure) = &known.presence
                && now_ms >= departure.until_ms
                && !std::mem::replace(&mut known.over, true)
            {
                ended.push(*key);
            }
        }
        ended.into_iter().for_each(|key| self.attachment_changed(key));
    }

    /// The VNI of the tunnels of an attachment: its network's VNID, or the VNI of a task's SIR domain.
    ///
    /// # Errors
    /// [`PresenceRefused`] if there is none.
    fn vni(&self, attachment: &Attachment) -> Result<u32, PresenceRefused> {
        let network = attachment.network.and_then(|network| self.networks.get(usize::from(network)));
        if let Some(network) = network {
            let fits = Some(network.vnid).filter(|vnid| *vnid <= MAX_VNI);
            return fits.ok_or(PresenceRefused::Vnid(network.vnid));
        }
        let mut domains = attachment.identifiers.iter().map(|own| own.domain);
        let vni = domains.clone().find_map(|domain| self.domains.get(usize::from(domain))?.config.vni);
        let name = domains.next().map_or("?", |domain| self.domain_name(domain));
        vni.ok_or_else(|| PresenceRefused::Domain(name.to_owned()))
    }

    /// The domains of the locators that packets in flight are translated to.
    pub(super) fn locators_in_flight(&self) -> impl Iterator<Item = (u64, u8)> + '_ {
        let departed = self.presences.all.values().filter_map(|known| match &known.presence {
            Presence::Departed(departure) => Some(&departure.locators),
            Presence::Here(_) | Presence::Expected(_) => None,
        });
        departed.flatten().map(|(domain, locator)| (locator.0, *domain))
    }
}

impl Render<'_> {
    /// What workers must know of attachments that move. Their actions lead there.
    pub(super) fn moves(&mut self) -> Moves {
        let rib = self.rib;
        let mut moves = Moves { tells: rib.tells_departed, ..Moves::default() };
        for (key, known) in &rib.presences.all {
            let there = rib.attachments.with_key(*key).map(|(_, attachment)| attachment);
            let Some(attachment) = there.or(known.gone.as_ref()) else { continue };
            let vni = rib.vni(attachment).ok();
            let then = match &known.presence {
                Presence::Here(_) => Then::Deliver(rib.local(*key)),
                Presence::Expected(_) => Then::Hold(known.hold),
                Presence::Departed(departure) => Then::Left(rib.tunnel(departure, vni)),
            };
            let behind = known.released();
            moves.released.extend(behind);
            if let Some(vni) = vni.filter(|_| !known.tunnels.from.is_empty()) {
                let Tunnels { to, from, .. } = known.tunnels.clone();
                let network = attachment.network.map(NetworkId);
                moves.ends.push(TunnelEnd { vni, mac: key.mac, to, from, network, then, behind });
            }
            let (sends, copies) = match &known.presence {
                Presence::Here(_) if behind.is_none() => continue,
                Presence::Here(_) => (Sends::Pass, None),
                Presence::Expected(_) => (Sends::Hold(known.hold), None),
                Presence::Departed(departure) => {
                    let sends = if departure.may_send { Sends::Pass } else { Sends::Drop };
                    (sends, self.copies(*key, known, departure, vni))
                }
            };
            let task = attachment.network.is_none().then(|| rib.task(attachment));
            let arrived = matches!(known.presence, Presence::Here(_));
            moves.absent.push(Absent { at: *key, sends, released: behind, arrived, task, copies });
            for domain in 0..rib.domains.len() as u8 {
                let Some(id) = rib.actions.id(&Key::local(domain, *key)) else { continue };
                let in_flight = self.in_flight(known, domain, vni);
                let elsewhere = rib.elsewhere(attachment, domain);
                let (local, inner) = (rib.local(*key), rib.inner(*key));
                let moving = Moving { local, inner, elsewhere, in_flight, behind };
                if let Some(action) = self.actions.get_mut(id.0 as usize) {
                    *action = Action::Moving(moves.moving.len() as u32);
                    moves.moving.push(moving);
                }
            }
        }
        moves.ends.sort_by_key(TunnelEnd::key);
        moves
    }

    /// What becomes of packets in flight for an attachment that is not here.
    fn in_flight(&mut self, known: &Known, domain: u8, vni: Option<u32>) -> table::InFlight {
        let departure = match &known.presence {
            Presence::Here(_) => return table::InFlight::Deliver,
            Presence::Expected(_) => return table::InFlight::Hold(known.hold),
            Presence::Departed(departure) => departure,
        };
        if known.over {
            return table::InFlight::Follow;
        }
        let wanted = departure.in_flight.unwrap_or(self.rib.in_flight);
        let tunnel = self.rib.tunnel(departure, vni);
        let mut locator = || {
            let (_, locator) = departure.locators.iter().find(|(of, _)| *of == domain)?;
            Some(self.single(domain, *locator))
        };
        let (tunnel, locator) = match wanted {
            InFlight::Auto => (tunnel, locator()),
            InFlight::Tunnel => (tunnel, None),
            InFlight::Retranslate => (None, locator()),
            InFlight::Drop => (None, None),
        };
        match (tunnel, locator) {
            (None, None) => table::InFlight::Drop,
            (tunnel, locator) => table::InFlight::Onward { tunnel, locator },
        }
    }

    /// The tunnel for copies of packets to groups, and the delivery of frames in it.
    fn copies(
        &self,
        key: AttachmentKey,
        known: &Known,
        departure: &Departure,
        vni: Option<u32>,
    ) -> Option<(Local, Tunnel)> {
        let wanted = departure.in_flight.unwrap_or(self.rib.in_flight);
        let goes = !known.over && matches!(wanted, InFlight::Auto | InFlight::Tunnel);
        Some((self.rib.inner(key), self.rib.tunnel(departure, vni).filter(|_| goes)?))
    }

    /// The action of one locator.
    fn single(&mut self, domain: u8, locator: crate::ila::Locator) -> ActionId {
        self.replica(domain, &LocatorChoice { locator, priority: 0, weight: 1 })
    }
}

impl Rib {
    /// The tunnel of a departure, with the attachment's VNI.
    fn tunnel(&self, departure: &Departure, vni: Option<u32>) -> Option<Tunnel> {
        let (TunnelEnds { from, to }, vni) = (departure.tunnel?, vni?);
        Some(Tunnel { vni, from, to, mtu: self.path_mtus.of(from, to) })
    }

    /// The mappings of lower origin of an attachment's identifiers that lead to other nodes.
    fn elsewhere(&self, attachment: &Attachment, domain: u8) -> Vec<(Identifier, ActionId)> {
        let own = attachment.identifiers.iter().filter(|own| own.domain == domain);
        own.filter_map(|own| {
            // The attachment's own mapping may not be there yet, and comes before others then.
            let mut others = self.by_precedence(domain, own.identifier.0);
            let (_, action) = others.find(|(origin, _)| *origin != Origin::Attachment)?;
            let leads_away = match &self.actions.key(action)?.goal {
                super::actions::Goal::Mapping(MappingTarget::Locators(choices)) => {
                    choices.iter().any(|choice| !self.is_own(choice.locator))
                }
                super::actions::Goal::Mapping(MappingTarget::Blackhole) => true,
                super::actions::Goal::Group(_) | super::actions::Goal::Local(_) => false,
            };
            leads_away.then_some((own.identifier, action))
        })
        .collect()
    }

    /// The delivery of frames in a tunnel: untagged, and whatever the link of the attachment does.
    fn inner(&self, attached: AttachmentKey) -> Local {
        let local = self.local(attached);
        let known = self.attachments.with_key(attached).and_then(|(_, attachment)| attachment.network);
        let network = known.and_then(|network| self.networks.get(usize::from(network)));
        let port = self.ports.get(usize::from(attached.port.0));
        let router =
            network.map_or(port.map_or(crate::net::Mac::ZERO, |port| port.mac), |network| network.mac);
        let mtu = port.map_or(0, |port| port.mtu);
        Local { hop: Hop::ready(attached.port, attached.mac, router, 0, mtu, HopId(0)), ..local }
    }

    /// Where the VMs and tasks of attachments are that are no more is known until their mappings are gone.
    pub(super) fn forget_presences<'a>(
        &mut self,
        gone: impl Iterator<Item = &'a Attachment>,
        new: impl Fn(AttachmentKey) -> bool,
    ) {
        for attachment in gone {
            let key = attachment_key(attachment);
            if !new(key) {
                self.presences.leave(key, attachment);
            }
        }
    }
}
