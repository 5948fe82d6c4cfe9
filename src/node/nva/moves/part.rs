//! The node's part in one move.

use super::probe::Probe;
use super::{is_committed, is_owner};
use crate::config::{Config, Entry, ObjectName, Role as PortRole};
use crate::mapping::{Departure, InFlight, Presence, TunnelEnds, Tunnels};
use crate::node::rib::attachment_key;
use crate::nva::client::{Objects, Seen, Sight};
use crate::nva::message::{MoveId, MoveState, MoveTold, Role, Sign};
use crate::nva::mirror::KeptMove;
use crate::path;
use crate::table::{AttachmentKey, PortId};
use std::net::IpAddr;
use std::sync::Arc;

/// How long packets in flight are sent on if nobody says when that ends (VMM draft §5).
const IN_FLIGHT_MS: u64 = 600_000;
/// How long an entry may be refused, for want of what is still on its way, before the move fails.
const ON_ITS_WAY_MS: u64 = 4_000;
/// How long an arrival may wait for the authority's word. Then it counts without it.
const ALONE_MS: u64 = 1_000;
/// How long the link of a port is down before what was about to leave through it has left.
const DOWN_MS: u64 = 250;

/// What the node sent on in all moves.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    packets: u64,
    /// When the last packet was sent on.
    last_ms: u64,
}

impl Traffic {
    /// So many packets were sent on so far.
    pub(super) fn see(&mut self, now_ms: u64, packets: u64) {
        if self.packets != packets {
            (self.packets, self.last_ms) = (packets, now_ms);
        }
    }
}

/// See [`Part::mark`].
pub(super) type Mark = (MoveId, u64, u64, Option<usize>, bool, bool, bool);

/// The node's part in one move.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) told: MoveTold,
    /// The attachment, once it is known where it is.
    pub(super) at: Option<AttachmentKey>,
    /// What the tables were told last.
    pub(super) ordered: Presence,
    /// When the state began here, and until when packets in flight are sent on.
    since_ms: u64,
    until_ms: u64,
    /// When the tables were told last, and whether that is in force.
    ordered_ms: u64,
    is_in_force: bool,
    /// Whether the tables know that it is not here yet, and its entry may be in force.
    is_introduced: bool,
    refused: Option<String>,
    /// Its entry of a move before is on its way out of the configuration. It begins when that is gone.
    is_waiting: bool,
    /// Its entry, which is in force although operators do not want it here yet, or any more.
    kept: Option<Seen>,
    /// The tunnels that were opened to it last, of this move and the one before.
    opened: Tunnels,
    /// Whether operators want it here since it came.
    is_wanted: bool,
    /// What was seen of it, at the new NVE, and when.
    arrived: Option<(Sign, u64)>,
    /// Since when the link of its port is down.
    down_ms: Option<u64>,
    /// It was seen to leave, at the old NVE.
    left: bool,
    /// Questions to it.
    pub(super) probe: Probe,
    /// It arrived, and is served without the authority's word.
    alone: bool,
    said: Option<(MoveState, Sight)>,
}

impl Part {
    /// The part in a move that begins; `before` was the part in one of the same attachment that is over.
    pub(super) fn new(told: MoveTold, before: Option<&Part>, now_ms: u64) -> Self {
        let mut part = Part {
            told,
            at: None,
            ordered: Presence::default(),
            since_ms: now_ms,
            until_ms: 0,
            ordered_ms: now_ms,
            is_in_force: true,
            is_introduced: false,
            refused: None,
            is_waiting: false,
            kept: None,
            opened: Tunnels::default(),
            is_wanted: false,
            arrived: None,
            down_ms: None,
            left: false,
            probe: Probe::default(),
            alone: false,
            said: None,
        };
        if let Some(before) = before {
            // It never was away in between.
            (part.at, part.ordered, part.kept, part.is_in_force) = before.hand_over();
            part.opened = before.opened.clone();
            part.is_introduced = true;
        }
        part.begin_state(now_ms);
        part
    }

    /// The part as it was before the node started, with the time that is left. It is `unix_ms` milliseconds since 1970.
    pub(super) fn restored(kept: KeptMove, (now_ms, unix_ms): (u64, u64)) -> Self {
        let KeptMove { told, entry, since_ms, until_ms, arrived, alone, left } = kept;
        let mut part = Part::new(told, None, now_ms);
        // A clock that was set back meanwhile makes it no longer than it was.
        let left_ms = until_ms.saturating_sub(unix_ms.max(since_ms)).min(IN_FLIGHT_MS);
        part.until_ms = now_ms + left_ms;
        if let Some(entry) = entry {
            let (name, sequence) = (part.name(), part.told.id.0);
            part.kept = Some(Seen { name, sequence, sir_prefix: 0, entry });
        }
        (part.arrived, part.alone, part.left) = (arrived.map(|sign| (sign, now_ms)), alone, left);
        part
    }

    /// What is kept of it over a restart. The clock of this process was 0 at `began_ms`, in milliseconds since 1970.
    pub(super) fn to_keep(&self, began_ms: u64) -> KeptMove {
        KeptMove {
            told: MoveTold { token: None, ..self.told.clone() },
            entry: self.kept.as_ref().map(|seen| seen.entry.clone()),
            since_ms: began_ms + self.since_ms,
            until_ms: began_ms + self.until_ms,
            arrived: self.arrived.map(|(sign, _)| sign),
            alone: self.alone,
            left: self.left,
        }
    }

    /// What of it is another one if something else is to be kept.
    pub(super) fn mark(&self) -> Mark {
        let entry = self.kept.as_ref().map(|seen| Arc::as_ptr(&seen.entry) as usize);
        (
            self.told.id,
            self.told.sequence,
            self.until_ms,
            entry,
            self.arrived.is_some(),
            self.alone,
            self.left,
        )
    }

    /// It is this now.
    pub(super) fn told(&mut self, told: &MoveTold, now_ms: u64) {
        let is_same = self.told.state == told.state;
        self.told = told.clone();
        if !is_same {
            self.begin_state(now_ms);
        }
    }

    fn begin_state(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.until_ms = now_ms
            + match self.told.state {
                MoveState::Draining | MoveState::Aborting => self.told.left_ms.unwrap_or(IN_FLIGHT_MS),
                _ => IN_FLIGHT_MS,
            };
        if let Some(entry) = self.told.entry.clone().filter(|_| self.told.role == Role::New) {
            let is_new = self.kept.as_ref().is_none_or(|kept| kept.entry != entry);
            if is_new {
                // Another port than it had here before.
                (self.at, self.is_in_force, self.is_introduced) = (None, false, false);
                self.ordered = Presence::default();
            }
            let sequence = self.told.id.0;
            self.kept = Some(Seen { name: self.name(), sequence, sir_prefix: 0, entry });
        }
    }

    /// Whether the entry of a move before is still on its way out. One that was here already never waits.
    pub(super) fn waits(&mut self, is_going: bool) {
        let begins = self.told.role == Role::New && self.told.state == MoveState::Preparing;
        self.is_waiting = is_going && begins;
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The name of the attachment's entry.
    pub(super) fn name(&self) -> ObjectName {
        ObjectName::Attachment(self.told.attachment.clone())
    }

    /// Keeps the entry that operators want here, for the time when they do not any more. What came here and is deleted
    /// before the move is over is kept no longer.
    pub(super) fn keep(&mut self, wanted: Option<&Arc<Objects>>) {
        let (None, Some(wanted)) = (&self.told.entry, wanted) else { return };
        let has_come = self.told.role == Role::New && is_committed(&self.told);
        match wanted.all.get(&self.name()) {
            Some(seen) => {
                self.is_wanted = has_come;
                if self.kept.as_ref() != Some(seen) {
                    self.kept = Some(seen.clone());
                }
            }
            None if has_come && self.is_wanted => self.kept = None,
            None => {}
        }
    }

    /// The entry that is to be in force. One that is expected is not before the tables know that it is.
    pub(super) fn kept(&self) -> Option<&Seen> {
        let is_known = self.told.role == Role::Old || self.is_introduced;
        // It goes once what was held is on its way back.
        let is_back =
            self.told.state == MoveState::Aborting && self.told.role == Role::New && self.has_undone();
        self.kept.as_ref().filter(|_| is_known && !is_back && !self.is_waiting)
    }

    /// Its entry, whether it is to be in force or not.
    pub(super) fn kept_entry(&self) -> Option<&Seen> {
        self.kept.as_ref()
    }

    /// What was said was not heard.
    pub(super) fn says_again(&mut self) {
        self.said = None;
    }

    /// Whether the identifiers are those of the other NVE.
    pub(super) fn is_of_the_other(&self) -> bool {
        !is_owner(&self.told)
    }

    /// A frame came from it.
    pub(super) fn seen(&mut self, sign: path::Sign, now_ms: u64) {
        let sign = match sign {
            path::Sign::Announcement => Sign::GratuitousArp,
            path::Sign::Reverse => Sign::Rarp,
            path::Sign::Answer => Sign::Probe,
            path::Sign::Frame => Sign::Frame,
        };
        self.probe.answered();
        if self.told.role == Role::New && !is_committed(&self.told) && self.told.state != MoveState::Aborting
        {
            self.arrived.get_or_insert((sign, now_ms));
        }
    }

    /// The link of its port is down since then, or is up.
    pub(super) fn link(&mut self, down_ms: Option<u64>) {
        self.down_ms = down_ms;
    }

    /// Time has passed.
    pub(super) fn wait(&mut self, now_ms: u64) {
        let is_due = |since_ms: u64, ms: u64| now_ms >= since_ms + ms;
        let state = self.told.state;
        if self.told.role == Role::Old && state == MoveState::Prepared {
            // A link that comes back at once was not unplugged.
            self.left =
                self.down_ms.is_some_and(|down_ms| is_due(down_ms, DOWN_MS)) || self.probe.is_silent();
        }
        let is_before = !is_committed(&self.told) && state != MoveState::Aborting;
        self.alone =
            is_before && (self.alone || self.arrived.is_some_and(|(_, seen)| is_due(seen, ALONE_MS)));
    }

    /// Whether it is to be asked now if it is there: at the new NVE until it is, at the old one whether it still is.
    pub(super) fn asks(&mut self, config: &Config, now_ms: u64) -> bool {
        use MoveState::{Detached, Prepared};
        let is_up = self.is_in_force && self.down_ms.is_none();
        match (self.told.role, self.told.state) {
            (Role::New, Prepared | Detached) if is_up && self.is_introduced && self.arrived.is_none() => {
                self.probe.awaits(self.told.state == Detached, now_ms)
            }
            (Role::Old, Prepared) if is_up && !self.left => {
                self.probe.watches(config.moves.silence_questions, now_ms)
            }
            _ => {
                self.probe.rest();
                false
            }
        }
    }

    /// What is known of the tables goes over to a later move of the same attachment.
    pub(super) fn hand_over(&self) -> (Option<AttachmentKey>, Presence, Option<Seen>, bool) {
        (self.at, self.ordered.clone(), self.kept.clone(), self.is_in_force)
    }

    /// What the tables were told is in force, or is refused.
    pub(super) fn in_force(&mut self, result: &Result<(), String>) {
        (self.is_in_force, self.is_introduced) = (true, true);
        self.refused = result.as_ref().err().cloned();
    }

    /// The tables are told this.
    pub(super) fn order(&mut self, presence: Presence, now_ms: u64) {
        if let Presence::Here(tunnels) | Presence::Expected(tunnels) = &presence {
            self.opened = Tunnels { copies: false, ..tunnels.clone() };
        }
        (self.ordered, self.ordered_ms, self.is_in_force, self.refused) = (presence, now_ms, false, None);
    }

    /// Where the VM or task is.
    pub(super) fn presence(&self, config: &Config, now_ms: u64) -> Presence {
        use MoveState::{Aborting, Detached, Draining, Prepared, Preparing, Spreading};
        match (self.told.role, self.told.state) {
            (Role::New, Preparing | Prepared | Detached) if self.is_served() => {
                Presence::Here(self.tunnels_with_copies())
            }
            (Role::New, Preparing | Prepared | Detached) => Presence::Expected(self.tunnels()),
            (Role::New, Spreading | Draining) => Presence::Here(self.tunnels()),
            (Role::Old, Aborting) => Presence::Here(self.tunnels_and_before()),
            (Role::Old, Prepared) if self.left => Presence::Departed(self.departure(config)),
            // Tunnels of the move before stay open for what is late.
            (Role::Old, Preparing | Prepared) => match &self.ordered {
                Presence::Here(tunnels) => Presence::Here(tunnels.clone()),
                Presence::Expected(_) | Presence::Departed(_) => Presence::default(),
            },
            // What is sent back before the old NVE takes it would be lost, or go round.
            (Role::New, Aborting) if !self.told.peer_done && now_ms < self.until_ms - self.left_half() => {
                Presence::Expected(self.tunnels())
            }
            (Role::Old, Detached | Spreading | Draining) | (Role::New, Aborting) => {
                Presence::Departed(self.departure(config))
            }
        }
    }

    /// Whether what is expected is here before the authority says so. Who has left its old NVE has nobody else to serve it:
    /// what was held need not wait until the arrival is durable.
    fn is_served(&self) -> bool {
        self.alone || self.told.state == MoveState::Detached && self.arrived.is_some()
    }

    /// Half the time that this state may last.
    fn left_half(&self) -> u64 {
        (self.until_ms - self.since_ms) / 2
    }

    /// Both ends of a tunnel between the NVEs, this one's first.
    fn ends(&self) -> Option<(u128, u128)> {
        let bits = |address: Option<IpAddr>| match address? {
            IpAddr::V6(address) => Some(address.to_bits()),
            IpAddr::V4(_) => None,
        };
        Some((bits(self.told.vtep)?, bits(self.told.peer_vtep)?))
    }

    fn tunnels(&self) -> Tunnels {
        self.ends()
            .map(|(own, peer)| Tunnels { to: own, from: vec![peer], copies: false })
            .unwrap_or_default()
    }

    /// The same before everybody else hears that it is here: the old NVE gets the copies for it, and sends them on.
    fn tunnels_with_copies(&self) -> Tunnels {
        let tunnels = self.tunnels();
        let copies = !tunnels.from.is_empty()
            && matches!(self.told.in_flight, InFlight::Auto | InFlight::Tunnel)
            && !self.told.overdue;
        Tunnels { copies, ..tunnels }
    }

    /// The tunnels of this move, and those of the one before, which may not be over: its old node sends on through them.
    fn tunnels_and_before(&self) -> Tunnels {
        let mut tunnels = self.tunnels();
        if tunnels.from.is_empty() {
            return self.opened.clone();
        }
        let before = self.opened.from.iter().filter(|_| self.opened.to == tunnels.to);
        let more: Vec<u128> = before.filter(|from| !tunnels.from.contains(from)).copied().collect();
        tunnels.from.extend(more);
        tunnels
    }

    fn departure(&self, config: &Config) -> Departure {
        let locators = self.told.peer_locators.iter().filter_map(|place| {
            let domain = config.sir_domains.iter().position(|own| own.prefix.0 == place.sir_prefix)?;
            Some((u8::try_from(domain).ok()?, place.locator))
        });
        let mut locators: Vec<_> = locators.collect();
        // One for each domain.
        locators.dedup_by_key(|(domain, _)| *domain);
        let in_flight = if self.told.overdue { InFlight::Drop } else { self.told.in_flight };
        Departure {
            locators,
            tunnel: self.ends().map(|(from, to)| TunnelEnds { from, to }),
            in_flight: Some(in_flight),
            until_ms: self.until_ms,
            may_send: self.told.role == Role::Old && !is_committed(&self.told),
        }
    }

    /// Whether the tables know the last that they were told.
    fn has_undone(&self) -> bool {
        let is_undone = match self.told.role {
            Role::Old => matches!(self.ordered, Presence::Here(_)),
            Role::New => matches!(self.ordered, Presence::Departed(_)),
        };
        is_undone && self.is_in_force
    }

    /// What the authority is to hear, if it has not heard that.
    pub(super) fn sight(
        &mut self,
        config: &Config,
        refused: Option<&String>,
        traffic: &Traffic,
        now_ms: u64,
    ) -> Option<Sight> {
        let sight = self.sees(config, refused, traffic, now_ms)?;
        self.says(sight)
    }

    /// The same, unless it was said in this state already.
    pub(super) fn says(&mut self, sight: Sight) -> Option<Sight> {
        let said = (self.told.state, sight.clone());
        let is_new = self.said.as_ref() != Some(&said);
        self.said = Some(said);
        is_new.then_some(sight)
    }

    fn sees(
        &self,
        config: &Config,
        refused: Option<&String>,
        traffic: &Traffic,
        now_ms: u64,
    ) -> Option<Sight> {
        use MoveState::{Aborting, Detached, Draining, Prepared, Preparing};
        match (self.told.role, self.told.state) {
            (Role::New, Preparing | Prepared | Detached) if self.arrived.is_some() => {
                self.arrived.map(|(sign, _)| Sight::Arrived(sign))
            }
            (_, Preparing) => {
                if let Err(why) = self.can(config) {
                    return Some(Sight::Failed(why));
                }
                let is_here =
                    config.attachments.iter().any(|one| one.name.as_ref() == Some(&self.told.attachment));
                if is_here && self.is_in_force && !self.is_waiting {
                    return Some(Sight::Ready);
                }
                let why = refused.cloned().unwrap_or_else(|| "it is not in force".to_owned());
                (now_ms >= self.since_ms + ON_ITS_WAY_MS).then_some(Sight::Failed(why))
            }
            (Role::Old, Prepared) if self.left && self.probe.is_silent() => {
                Some(Sight::Detached(Sign::Silence))
            }
            (Role::Old, Prepared) if self.left => Some(Sight::Detached(Sign::Carrier)),
            // Those who wait for it may go on: nothing of it is delivered here any more.
            (Role::Old, Detached) => (self.is_in_force && self.refused.is_none()).then_some(Sight::Ready),
            (Role::Old, Draining) => {
                let last_ms = traffic.last_ms.max(self.since_ms);
                (now_ms >= last_ms + self.told.idle_ms).then_some(Sight::Drained)
            }
            (_, Aborting) => self.has_undone().then_some(Sight::Drained),
            _ => None,
        }
    }

    /// Whether the node can do its part.
    fn can(&self, config: &Config) -> Result<(), String> {
        if self.told.role == Role::New && self.told.entry.is_none() {
            return Err("this release cannot read the entry of the attachment".to_owned());
        }
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        if let (Role::New, None, Some(entry)) = (self.told.role, self.at, &self.told.entry) {
            let port = entry.summary().port;
            return Err(format!(
                "there is no port `{port}` here, or the entry has no MAC address; see ports[].name"
            ));
        }
        let Some(IpAddr::V6(own)) = self.told.vtep else { return Ok(()) };
        let fabric = config.ports.iter().filter(|port| port.role != PortRole::Access);
        let is_own = fabric.flat_map(|port| &port.addresses).any(|it| it.address == own.to_bits());
        if is_own {
            return Ok(());
        }
        Err(format!(
            "the authority has {own} for the end of this node's tunnels (nves[].vtep), and no fabric port has that address; \
             write one of ports[].addresses there"
        ))
    }
}

/// The attachment of a move, if its port is known: by the entry that is expected, or is in force, or was.
pub(super) fn place(config: &Config, told: &MoveTold, kept: Option<&Seen>) -> Option<AttachmentKey> {
    let there = config.attachments.iter().find(|one| one.name.as_ref() == Some(&told.attachment));
    let entry = match (&told.entry, there) {
        (Some(entry), _) => entry,
        (None, Some(one)) => return Some(attachment_key(one)),
        (None, None) => &kept?.entry,
    };
    place_of(config, entry)
}

/// Where an entry has its attachment.
pub(in crate::node::nva) fn place_of(config: &Config, entry: &Entry) -> Option<AttachmentKey> {
    let summary = entry.summary();
    let port = config.ports.iter().position(|port| port.name == summary.port)?;
    let vlan = summary.vlan.map_or(Some(0), |vlan| vlan.parse().ok())?;
    Some(AttachmentKey { port: PortId(u16::try_from(port).ok()?), vlan, mac: summary.mac.parse().ok()? })
}
