//! A node without a data plane: the real admin server in front of a control thread that only remembers mappings.

#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "fake_networks.rs"]
mod networks;

use ilagate::api::views::{
    AuthorityView, DropView, FateView, LocatorView, MappingView, NeighbourView, NextHopView, NodeView,
    PortView, ReloadView, RouteView, TableView, WorkerView,
};
use ilagate::config::Config;
use ilagate::mapping::{Applied, Change, MappingTarget, Origin, Refusal};
use ilagate::node::admin::{self, Service, Socket};
use ilagate::node::handle::{ControlHandle, MappingFilter, Request};
use ilagate::node::source::{self, EventKind, Events};
use ilagate::path::verdict::DropReason;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

pub const CONFIG: &str = r#"
node: {name: nve1}
dpdk: {workers: [1, 2]}
sir_domains:
  - {name: tasks, prefix: "2001:db8:dddd::/64"}
  - {name: other, prefix: "2001:db8:eeee::/64"}
locators:
  - {prefix: "fd00:1:0:1::/64", domain: tasks}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}]}
  - {name: blue, vnid: 200, domain: tasks, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}]}
ports:
  - {name: fabric0, device: net_null0, role: fabric, queues: 2, addresses: ["fd00:1:0:1::1/64"]}
"#;

/// What the fake control thread remembers.
#[derive(Default)]
pub struct Fake {
    pub mappings: BTreeMap<Ipv6Addr, MappingView>,
    pub revision: u64,
    pub samples: u64,
    /// Answers nothing any more.
    pub gone: bool,
}

pub struct Node {
    pub socket: PathBuf,
    pub directory: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Node {
    pub fn start() -> Self {
        Self::with(Fake::default())
    }

    pub fn with(fake: Fake) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/nve1.sock");
        let config = Config::parse(CONFIG, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = Socket::bind(&path).unwrap();
                let (control, queue) = ControlHandle::pair(16);
                let (_keep, config) = watch::channel(Arc::new(config));
                if fake.gone {
                    drop(queue);
                } else {
                    tokio::spawn(serve_control(fake, config.borrow().clone(), queue));
                }
                ready.send(()).unwrap();
                let stop = async move {
                    let _ = stopped.await;
                };
                admin::serve(socket, Service::new(control, config), stop).await.unwrap();
            });
        });
        started.recv().unwrap();
        Node { socket, directory, stop: Some(stop), thread: Some(thread) }
    }

    /// `ilactl` with these arguments on this node's socket.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ilactl"));
        command.arg("--socket").arg(&self.socket).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that succeeds and writes nothing on standard error.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {} {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        serde_json::from_str(&self.text(&arguments)).unwrap()
    }

    /// Standard error of a command that fails with code 1 and writes nothing else.
    pub fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(text.starts_with("ilactl: ") && text.lines().count() == 1, "{text}");
        text
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

const CONFIRMED: Applied = Applied { revision: 10, created: 1, changed: 2, deleted: 30 };

async fn serve_control(mut fake: Fake, config: Arc<Config>, mut queue: mpsc::Receiver<Request>) {
    let mut amended = (*config).clone();
    while let Some(request) = queue.recv().await {
        match request {
            Request::Apply(batch, answer) => {
                drop(answer.send(fake.apply(&config, batch.origin, batch.changes)))
            }
            Request::MappingGet(sir, answer) => drop(answer.send(fake.mappings.get(&sir).cloned())),
            Request::MappingList(filter, answer) => drop(answer.send(Ok(fake.list(&filter)))),
            Request::Node(answer) => drop(answer.send(fake.node(&config))),
            Request::Reload(answer) => drop(answer.send(fake.reload())),
            Request::Confirm(30, answer) => drop(answer.send(Ok(CONFIRMED))),
            Request::Confirm(n, answer) => {
                drop(answer.send(Err(format!("the mapping file would delete 30 mappings, not {n}"))));
            }
            Request::Ports(xstats, answer) => drop(answer.send(vec![fake.port(xstats)])),
            Request::Neighbours(answer) => drop(answer.send(vec![neighbour()])),
            Request::Routes(answer) => drop(answer.send(vec![route(), blackhole()])),
            Request::Drops(answer) => drop(answer.send(drops())),
            Request::Networks(answer) => drop(answer.send(networks::networks())),
            Request::Network(name, answer) => drop(answer.send(networks::detail(&amended, &name))),
            Request::Attachments(answer) => drop(answer.send(networks::attachments())),
            Request::Groups(answer) => drop(answer.send(networks::groups())),
            Request::Policies(answer) => drop(answer.send(networks::policies(&amended))),
            Request::Peers(only, answer) => drop(answer.send(networks::peers(&amended, only.as_deref()))),
            Request::Amend(amend, answer) => drop(answer.send(networks::amend(&mut amended, amend))),
            Request::Events(after, answer) => drop(answer.send(source::follow(&events(), after))),
            Request::Provision(_, answer) => drop(answer.send(())),
            Request::Digests(answer) => drop(answer.send(Vec::new())),
            Request::HeldIn(_, answer) => drop(answer.send(Vec::new())),
            Request::Presence(_, _, answer) => drop(answer.send(Ok(()))),
            Request::FoundMac(_, _, _, answer) => drop(answer.send(())),
            Request::Probe(_, answer) => drop(answer.send(true)),
            Request::Stop => return,
        }
    }
}

/// One event of each kind.
fn events() -> Arc<Events> {
    let events = Arc::new(Events::default());
    let tell = |attachment: &str, kind| {
        let (attachment, network) = (attachment.into(), "red".into());
        events.record(ilagate::node::events::EventRecord { attachment, network, vnid: 100, kind });
    };
    let address = std::net::IpAddr::from([10, 0, 0, 5]);
    tell("vm1", EventKind::Learnt { address, mac: ilagate::net::Mac([2, 0, 0, 0, 1, 1]) });
    tell("vm2", EventKind::Conflict { address });
    tell("vm2", EventKind::Spoofed { packets: 7 });
    tell("vm2", EventKind::Quarantined { seconds: 60 });
    tell("vm2", EventKind::Released);
    events
}

impl Fake {
    fn apply(&mut self, config: &Config, origin: Origin, changes: Vec<Change>) -> Result<Applied, Refusal> {
        assert_eq!(origin, Origin::Admin);
        let sir = |domain: u8, identifier| {
            Ipv6Addr::from(config.sir_domains[usize::from(domain)].prefix.with(identifier))
        };
        let mut applied = Applied { revision: self.revision + 1, created: 0, changed: 0, deleted: 0 };
        for change in &changes {
            if let Change::Upsert(record) = change
                && record.identifier.0 as u16 == 0xffff
            {
                let why = "is the twin of another mapping; use another identifier".to_owned();
                return Err(Refusal { sir: sir(record.domain, record.identifier), why });
            }
        }
        for change in changes {
            match change {
                Change::Upsert(record) => {
                    let sir = sir(record.domain, record.identifier);
                    let domain = config.sir_domains[usize::from(record.domain)].name.clone();
                    let view = view(sir, domain, &record.target, record.identifier);
                    match self.mappings.insert(sir, view.clone()) {
                        None => applied.created += 1,
                        Some(old) if old != view => applied.changed += 1,
                        Some(_) => {}
                    }
                }
                Change::Delete { domain, identifier } => {
                    let gone = self.mappings.remove(&sir(domain, identifier));
                    let shadowed = gone.as_ref().is_some_and(|view| !view.covers.is_empty());
                    applied.changed += u64::from(shadowed);
                    applied.deleted += u64::from(gone.is_some() && !shadowed);
                }
                // Operators' mappings do not expire.
                Change::Expiring { .. } => {}
            }
        }
        self.revision += 1;
        Ok(applied)
    }

    fn list(&self, filter: &MappingFilter) -> Vec<MappingView> {
        let after = filter.after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let matching = self.mappings.range((after, std::ops::Bound::Unbounded)).map(|(_, view)| view);
        let matching = matching.filter(|view| {
            filter.domain.as_ref().is_none_or(|domain| view.domain == *domain)
                && filter.origin.as_ref().is_none_or(|origin| view.origin == *origin)
                && filter
                    .locator
                    .as_ref()
                    .is_none_or(|locator| view.locators.iter().any(|choice| choice.locator == *locator))
        });
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit as usize };
        matching.take(limit).cloned().collect()
    }

    fn fates(&mut self) -> FateView {
        self.samples += 1;
        let received = self.samples * 1000;
        FateView {
            received,
            received_bytes: received * 100,
            forwarded: received - 5,
            replied: 2,
            punted: 1,
            dropped: 2,
            waiting: 0,
            copied: 9,
            lost_copies: 3,
        }
    }

    fn node(&mut self, config: &Config) -> NodeView {
        let workers = (0u16..2).map(|worker| WorkerView {
            worker,
            core: worker + 1,
            bursts: 10,
            empty_polls: 30,
            idle_ratio: 0.75,
            burst_fill: 4.5,
            snapshot: 3,
            fates: self.fates(),
        });
        NodeView {
            workers: workers.collect(),
            name: config.node.name.clone(),
            version: "0.1.0".into(),
            uptime_s: 3725,
            revision: self.revision,
            snapshot: 3,
            last_update_us: 420,
            config: "/etc/ilagate/nve1.yaml".into(),
            tables: vec![TableView {
                domain: "tasks".into(),
                sir_prefix: "2001:db8:dddd::/64".into(),
                checksum: "neutral-map".into(),
                mappings: self.mappings.len() as u64,
                capacity: 1024,
                memory_bytes: 24_576,
            }],
            originated: 7,
            mbufs_in_use: 100,
            mbufs: 8192,
            authority: Some(AuthorityView {
                session: false,
                applied: 41,
                registered: 2,
                refused: 1,
                left_out: 3,
                stale_s: 75,
                grace_over: true,
            }),
            warnings: vec!["the mapping file would delete 30 of its 40 mappings".into()],
        }
    }

    fn reload(&mut self) -> Result<ReloadView, String> {
        if self.mappings.is_empty() {
            return Err("test.yaml:3:1: ports[0].mtu: 9 is too small; use 1280 or more".into());
        }
        let mappings = Some(Applied { revision: 9, created: 1, changed: 2, deleted: 3 });
        Ok(ReloadView { applied: vec!["routes[0]".into()], mappings })
    }

    fn port(&mut self, xstats: bool) -> PortView {
        PortView {
            name: "fabric0".into(),
            device: "net_null0".into(),
            role: "fabric".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            up: true,
            speed_mbps: 25_000,
            problem: String::new(),
            queues: 2,
            rss: "active".into(),
            addresses: vec!["fd00:1:0:1::1/64".into()],
            link_local: "fe80::1".parse().unwrap(),
            counters: self.fates(),
            sent: 995,
            unsent: 1,
            sent_bytes: 99_500,
            xstats: if xstats { vec![("rx_good_packets".into(), 1000)] } else { Vec::new() },
        }
    }
}

fn view(
    sir: Ipv6Addr,
    domain: String,
    target: &MappingTarget,
    identifier: ilagate::ila::Identifier,
) -> MappingView {
    let (kind, locators) = match target {
        MappingTarget::Blackhole => ("blackhole", Vec::new()),
        MappingTarget::Locators(choices) => (
            "locators",
            choices
                .iter()
                .map(|choice| LocatorView {
                    locator: choice.locator.to_string(),
                    priority: choice.priority,
                    weight: choice.weight,
                    ila: Ipv6Addr::from(choice.locator.with(identifier)),
                    state: "ready".into(),
                })
                .collect(),
        ),
    };
    MappingView {
        sir,
        domain,
        identifier: identifier.to_string(),
        kind: kind.into(),
        locators,
        attachment: None,
        origin: "admin".into(),
        // Of these the file speaks as well.
        covers: if identifier.0 as u16 == 0xf { vec!["file".into()] } else { Vec::new() },
        confidence: 254,
    }
}

fn neighbour() -> NeighbourView {
    NeighbourView {
        port: "fabric0".into(),
        address: "fe80::2".parse().unwrap(),
        mac: None,
        state: "incomplete".into(),
        age_ms: 61_500,
        next_hop: true,
    }
}

fn route() -> RouteView {
    let hop = |via: &str| NextHopView {
        via: Some(via.parse().unwrap()),
        port: "fabric0".into(),
        weight: 1,
        state: "ready".into(),
    };
    RouteView {
        prefix: "fd00:1::/32".into(),
        kind: "via".into(),
        next_hops: vec![hop("fe80::2"), hop("fe80::3")],
    }
}

fn blackhole() -> RouteView {
    RouteView { prefix: "2001:db8::/32".into(), kind: "blackhole".into(), next_hops: Vec::new() }
}

fn drops() -> Vec<DropView> {
    DropReason::ALL
        .iter()
        .map(|reason| DropView {
            reason: reason.label().into(),
            sentence: reason.sentence().into(),
            dropped: if *reason == DropReason::Blackhole { 4 } else { 0 },
            answered: if *reason == DropReason::HopLimit { 2 } else { 0 },
            lost_copies: if *reason == DropReason::NoRoute { 3 } else { 0 },
        })
        .collect()
}
