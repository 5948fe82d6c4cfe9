//! The control core: the only writer of everything that workers read.
//!
//! [`Control::turn`] takes the time and one [`Input`], and gives [`Effect`]s. The core has no clock, no
//! thread, no channel, no device and no file: `shell` owns those and feeds it, and a simulation or a test
//! feeds it as well. The same seeds and the same inputs give the same effects and the same tables. What it
//! shares with workers is memory: the snapshots that it publishes, and the counters in [`Stats`]. It writes
//! log lines through `tracing`.

mod confidence;
mod discovery;
mod groups;
mod learned;
mod mapping_file;
mod provision;
mod questions;
mod presence;
mod random;
mod reload;
mod routers;
mod scan;
mod tenancy;
mod tenants;
mod turn;
mod updates;
pub(super) mod views;

pub use reload::{Loaded, load_difference};
pub use turn::{
    Answer, DeviceReport, Effect, ForAuthority, Input, LinkState, LoadOrder, Now, PortReport, Progress,
    Request, RequestId, Start, WatchOrder,
};

use super::exchange::{Frame, Settings};
use super::hold::HoldLimits;
use super::membership::{self, Memberships};
use super::provision::Provision;
use super::rib::Rib;
use super::scan::Scan;
use super::stats::Stats;
use crate::config::{Amendment, Config};
use crate::mapping::Refusal;
use crate::table::rcu::{Publisher, Reader};
use crate::table::{AttachmentKey, Tables};
use discovery::LinkSeen;
use mapping_file::FileStatus;
use questions::Questions;
use random::Random;
use routers::HostRouters;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenants::QuarantineStates;
use updates::Updates;

/// The core's state.
pub struct Control {
    now: Now,
    path: PathBuf,
    /// What the file says.
    file: Arc<Config>,
    /// What operators of the authority want beside it, if the node takes that.
    provision: Option<Provision>,
    /// What operators of this node added to it.
    amendments: Vec<Amendment>,
    /// All together: what is in force.
    config: Arc<Config>,
    rib: Rib,
    publisher: Publisher<Tables>,
    memberships: Memberships,
    group_effects: Vec<membership::Effect>,
    groups_due_ms: u64,
    updates: Updates,
    file_status: FileStatus,
    quarantine_states: QuarantineStates,
    links: Vec<LinkSeen>,
    host_routers: HostRouters,
    questions: Questions,
    scan: Scan,
    scan_begun_ms: u64,
    /// Whom the node's part in moves asked for, and until when it is told that they answer.
    probed: BTreeMap<AttachmentKey, u64>,
    /// A configuration was taken over that is in no snapshot yet. Meanwhile nothing is announced of the one before.
    unpublished: bool,
    /// Whether the links were reported since the start.
    links_reported: bool,
    devices: DeviceReport,
    stats: Arc<Stats>,
    workers: usize,
    random: Random,
    watch_number: u64,
    reloading: bool,
    /// Who waits for the reload that is under way.
    reload_asked_by: Option<RequestId>,
    /// The reload under way reads no file: only what operators want has changed.
    composing: bool,
    /// A signal came while a reload was under way. That reload may have read an older file.
    reload_again: bool,
    /// Who waits for that.
    reload_asked_next: Option<RequestId>,
    /// What operators want has changed while a reload was under way.
    compose_again: bool,
    effects: Vec<Effect>,
}

impl Control {
    /// Builds the first snapshot. Its effects are to be carried out before the first turn.
    ///
    /// # Errors
    /// A mapping of the mapping file breaks a rule together with the file.
    pub fn new(now: Now, start: Start) -> Result<(Self, Vec<Effect>), Refusal> {
        let Start {
            path,
            config: file,
            provision,
            macs,
            links,
            mappings,
            learned,
            presences,
            stats,
            workers,
            table_seed,
            timer_seed,
        } = start;
        let mut rib = Rib::new(&file, &macs, table_seed);
        let (records, seen) = mappings.map_or((None, None), |(records, seen)| (Some(records), seen));
        if let Some(records) = records {
            rib.apply(updates::whole_file(records))?;
        }
        for (at, presence) in presences {
            // Without its attachment it asks for no tunnel that could be refused.
            let _ = rib.set_presence(at, presence);
        }
        // The files come first: they win.
        let (config, provision) = match provision {
            None => (file.clone(), None),
            Some(provision) => {
                let (config, provision) = provision::begin(&mut rib, provision);
                provision.tell_refused(&[]);
                (config, Some(provision))
            }
        };
        stats.nva.left_out(learned::apply(&mut rib, learned));
        let mut control = Control {
            now,
            publisher: Publisher::new(Tables::default()),
            links: config.ports.iter().map(|_| LinkSeen::default()).collect(),
            links_reported: false,
            host_routers: HostRouters::default(),
            questions: Questions::default(),
            scan: Scan::default(),
            scan_begun_ms: now.ms(),
            probed: BTreeMap::new(),
            unpublished: false,
            memberships: Memberships::new(&config),
            group_effects: Vec::new(),
            groups_due_ms: 0,
            path,
            file,
            provision,
            amendments: Vec::new(),
            config,
            rib,
            updates: Updates::default(),
            file_status: FileStatus::default(),
            quarantine_states: QuarantineStates::default(),
            devices: DeviceReport::default(),
            stats,
            workers,
            random: Random::new(timer_seed),
            watch_number: 0,
            reloading: false,
            reload_asked_by: None,
            composing: false,
            reload_again: false,
            reload_asked_next: None,
            compose_again: false,
            effects: Vec::new(),
        };
        control.count_objects();
        control.first_links(&links);
        control.publisher = Publisher::new(control.rib.compile());
        control.solicit_new_neighbours();
        control.publish();
        control.watch_mappings(seen);
        let effects = std::mem::take(&mut control.effects);
        Ok((control, effects))
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The snapshots, for one worker.
    pub fn reader(&mut self) -> Reader<Tables> {
        self.publisher.reader()
    }

    /// Learns one thing, and says what is to be done. `now` must not be before that of the turn before.
    #[must_use = "effects are to be carried out in their order"]
    pub fn turn(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now;
        let now_ms = now.ms();
        self.rib.set_now(now_ms);
        match input {
            Input::Request(id, request) => self.take_request(id, request),
            Input::Reload => self.begin_reload(None),
            Input::Loaded(loaded) => self.end_reload(loaded),
            Input::MappingFile(number, news) => self.take_mapping_file(number, news),
            Input::Frame(frame) => {
                if !self.take_question(&frame, now_ms) && !self.receive_from_tenant(&frame, now_ms) {
                    self.receive(&frame, now_ms);
                }
            }
            Input::Notice(notice) => self.take_notice(&notice, now_ms),
            Input::Wanted(key) => {
                self.rib.change_neighbours(|all, effects| all.wanted(key, now_ms, effects));
            }
            Input::Links(links) => {
                self.rib.change_neighbours(|all, effects| all.tick(now_ms, effects));
                self.take_links(&links, now_ms);
            }
            Input::Devices(devices) => self.devices = devices,
            Input::Census(devices) => {
                self.devices = devices;
                self.take_census();
                self.warn_of_unfinished(now_ms);
            }
            Input::Tick => self.tick(now_ms),
            Input::Update => self.update(),
            Input::Stop => {
                self.stop_advertising(|_| true);
                self.withdraw_from_hosts();
            }
        }
        std::mem::take(&mut self.effects)
    }

    fn take_request(&mut self, id: RequestId, request: Request) {
        let answer = match request {
            Request::Apply(batch) => return self.accept(batch, id),
            Request::Reload => return self.begin_reload(Some(id)),
            Request::Confirm(deletions) => return self.confirm(deletions, id),
            Request::Amend(amend) => return self.accept_amend(amend, id),
            Request::Provision(objects) => {
                self.take_objects(objects);
                Answer::Provision(())
            }
            Request::Presence(at, presence) => return self.accept_presence(at, presence, id),
            Request::Probe(at) => Answer::Probe(self.probe(at)),
            Request::Digests => Answer::Digests(self.rib.digests()),
            Request::FoundMac(network, mac, identifiers) => {
                self.answer_found(network, mac, &identifiers);
                Answer::FoundMac(())
            }
            Request::HeldIn(parts) => Answer::HeldIn(self.rib.held_in(&parts)),
            Request::MappingGet(sir) => {
                Answer::MappingGet(self.rib.mapping_get(sir).map(|view| self.with_confidence(view)))
            }
            Request::MappingList(filter) => {
                let views = self.rib.mappings(&filter);
                let judged =
                    |views: Vec<_>| views.into_iter().map(|view| self.with_confidence(view)).collect();
                Answer::MappingList(views.map(judged))
            }
            Request::Node => Answer::Node(self.node_view()),
            Request::Ports { xstats } => Answer::Ports(self.port_views(xstats)),
            Request::Neighbours => Answer::Neighbours(self.neighbour_views()),
            Request::Routes => Answer::Routes(self.rib.routes_view()),
            Request::Drops => Answer::Drops(self.drop_views()),
            Request::Networks => Answer::Networks(self.network_views()),
            Request::Network(name) => Answer::Network(self.network_detail(&name)),
            Request::Attachments => Answer::Attachments(self.attachment_views()),
            Request::Groups => Answer::Groups(self.group_views()),
            Request::Policies => Answer::Policies(self.policy_views()),
            Request::Peers(network) => Answer::Peers(self.peer_views(network.as_deref())),
        };
        self.answer(id, answer);
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        self.effects.push(Effect::Answer(id, answer));
    }

    /// Serves the timers.
    fn tick(&mut self, now_ms: u64) {
        self.rib.change_neighbours(|all, effects| all.tick(now_ms, effects));
        if !self.unpublished {
            self.advertise(now_ms);
            self.tell_hosts(now_ms);
        }
        self.rib.end_flights();
        self.end_releases();
        self.rib.age_path_mtus();
        self.scan(now_ms);
        self.serve_groups(now_ms);
        self.apply_neighbour_effects();
        self.check_tenants_when_due(now_ms);
    }

    /// Milliseconds of the present turn.
    fn now_ms(&self) -> u64 {
        self.now.ms()
    }

    fn send(&mut self, frame: Frame) {
        self.effects.push(Effect::Send(Box::new(frame)));
    }

    /// Publishes what the state looks like now.
    fn publish(&mut self) {
        self.publisher.publish(self.rib.compile());
        self.unpublished = false;
        self.updates.published();
        self.stats.snapshots_published.fetch_add(1, Ordering::Relaxed);
        self.effects.push(Effect::Published(self.publisher.number()));
    }
}

/// What of the configuration one of `workers` workers takes over while it runs.
#[must_use]
pub fn settings(config: &Config, workers: usize) -> Settings {
    let share = |all: u32| all.div_ceil(workers.max(1) as u32);
    Settings {
        errors_per_second: share(config.icmp.errors_per_second),
        errors_burst: share(config.icmp.burst),
        hold_packets: config.neighbour_discovery.hold_packets,
        hold_timeout_ms: HOLD_BEYOND_MS
            + u64::from(config.neighbour_discovery.retransmit_ms)
                * u64::from(config.neighbour_discovery.probes),
        hold: HoldLimits {
            packets: config.moves.hold_packets,
            bytes: config.moves.hold_bytes,
            hold_ms: u64::from(config.moves.hold_ms),
        },
        release_per_second: config.moves.release_per_second,
    }
}

/// How much longer packets wait than a neighbour has to answer: for the next snapshot to reach the workers.
const HOLD_BEYOND_MS: u64 = 2_000;

#[cfg(test)]
mod tests;
