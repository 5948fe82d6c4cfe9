//! One change of what operators want at a node: the same as all of it taken over from the beginning, and at a cost that
//! does not grow with the number of attachments.

use super::provision::{FILE, attachment, network};
use super::*;
use crate::config::{Entry, ObjectName, PolicyWords};
use crate::nva::client::{Seen, Wishes};
use crate::table::NetworkId;
use crate::table::bindings::{Binding, raw};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What operators want, as an authority tells it.
#[derive(Default)]
struct Wanted {
    all: Wishes,
    sequence: u64,
}

impl Wanted {
    fn set(&mut self, entry: Entry) {
        self.sequence += 1;
        let sir_prefix = if entry.domain().is_some() { 0x2001_0db8_dddd_0000 } else { 0 };
        let (name, sequence) = (entry.name().clone(), self.sequence);
        self.all.insert(name.clone(), Seen { name, sequence, sir_prefix, entry: Arc::new(entry) });
    }

    fn withdraw(&mut self, name: &ObjectName) {
        self.sequence += 1;
        self.all.remove(name);
    }

    fn objects(&self) -> Arc<Objects> {
        let known = Known { epoch: vec![1], revision: self.sequence };
        Arc::new(Objects { known, all: Arc::new(self.all.clone()) })
    }
}

impl Bench {
    /// Takes over what is wanted. Says whether nothing was judged but what has changed.
    fn steps(&mut self, wanted: &Wanted) -> bool {
        self.request(Request::Provision(wanted.objects()));
        (0..4).for_each(|_| self.turn(0));
        let stepped = self.loads.is_empty();
        while !self.loads.is_empty() {
            let loaded = self.load();
            self.input(0, loaded);
            (0..4).for_each(|_| self.turn(0));
        }
        assert_eq!(self.provisioned.last().unwrap().0.revision, wanted.sequence);
        stepped
    }

    /// All that packets, hosts and operators see, however it came about.
    fn picture(&mut self) -> BTreeSet<String> {
        let tables = self.reader.snapshot().clone();
        let config = self.control.config().clone();
        let name = |n: u32| format!("{:?}", config.attachments.get(n as usize).map(|it| &it.name));
        let mut all = BTreeSet::new();
        for network in tables.networks.iter() {
            let gateways = (0..4).filter_map(|to| network.gateways.towards(NetworkId(to)));
            let gateways: Vec<_> =
                gateways.map(|it| (it.locator, it.ours, tables.action(it.action).copied())).collect();
            all.insert(format!("{} {:?} {:?} {gateways:?}", network.vnid, network.sends, network.hears));
        }
        for (key, tenant) in tables.networks.attached().tenants() {
            let mac = raw(key.mac);
            let bindings = tables.networks.bindings(key.port);
            let ipv4 = tenant.ipv4.iter().map(|address| Binding::ipv4(mac, *address));
            let ipv6 = tenant.ipv6.iter().map(|address| Binding::ipv6(mac, *address as u32));
            let bound: Vec<_> = ipv4.chain(ipv6).map(|binding| bindings?.find(binding)).collect();
            let slot = tenant.handle.slot;
            let with_mac = tables.networks.with_mac(tenant.network, key.mac).map(|it| name(it.attachment));
            all.insert(format!(
                "{key:?} is {} of {:?} with {:?} {:?}, {:?}, bound {bound:?}, {:?}, {with_mac:?}, {}",
                name(tenant.attachment),
                tenant.network,
                tenant.ipv4,
                tenant.ipv6,
                tenant.quarantine,
                tables.networks.rates(slot),
                tables.networks.generation(slot) == tenant.handle.generation,
            ));
        }
        for (network, group, members) in tables.networks.attached().groups() {
            let members: BTreeSet<_> = members.iter().map(|it| (name(it.attachment), it.hop)).collect_names();
            all.insert(format!("{network:?} {group:?}: {members:?}"));
        }
        all.extend(tables.tasks.iter().map(|(key, sources)| format!("{key:?} sends from {sources:?}")));
        all.extend(tables.ports.iter().map(|port| format!("{:?} {} {}", port.vlans, port.tenants, port.mac)));
        all.insert(format!("{:?}", tables.inside));
        for local in config.attachments.iter().flat_map(|attachment| &attachment.identifiers) {
            let found = tables.domains[0].mappings.lookup(local.identifier.0);
            let Some(Action::Local(it)) = found.and_then(|id| tables.action(id)) else {
                panic!("{local:?} has no attachment")
            };
            all.insert(format!("{:?} at {} by {:?}", local.identifier, name(it.attachment), it.hop));
        }
        all.extend(self.control.network_views().into_iter().map(|view| format!("{view:?}")));
        all.insert(format!("hosts {:?}", self.control.host_routers.hosts()));
        all.insert(format!("links {:?}", self.control.memberships.links()));
        all.extend(self.control.attachment_views().into_iter().map(|view| format!("{view:?}")));
        all.extend(self.control.policy_views().into_iter().map(|view| format!("{view:?}")));
        let tenants: BTreeSet<_> = self.control.rib.tenants().map(|it| format!("{it:?}")).collect();
        let known = self.control.quarantine_states.tenants().map(|it| format!("{it:?}"));
        assert_eq!(tenants, known.collect());
        let (known, refused) = self.provisioned.last().unwrap();
        let refused: BTreeSet<_> = refused.iter().map(|it| format!("{}: {}", it.name, it.why)).collect();
        all.insert(format!("{known:?} {refused:?}"));
        all
    }
}

/// Members of a group by their names.
trait CollectNames {
    fn collect_names(self) -> BTreeSet<String>;
}

impl<I: Iterator<Item = (String, crate::table::Hop)>> CollectNames for I {
    fn collect_names(self) -> BTreeSet<String> {
        self.map(|(name, hop)| format!("{name} by {hop:?}")).collect()
    }
}

/// A tenant or a task; some of them cannot be there together.
fn attached(n: u8, form: u8, place: u8) -> Entry {
    let port = if place % 8 == 7 { "b" } else { "a" };
    let vlan = if place.is_multiple_of(3) { String::new() } else { format!(", vlan: {}", place % 3) };
    let mac = format!("02:00:00:00:01:{:02x}", n % 5);
    let what = match form % 4 {
        0 => format!(
            "vlan: 9, identifiers: ['2001:db8:dddd:0:2000::{n:x}'], prefixes: ['2001:db8:{n:x}::/48']"
        ),
        1 => format!("network: blue, addresses: [10.2.0.{}]{vlan}", 10 + place),
        2 => format!(
            "network: red, addresses: [10.1.0.{}, 10.1.0.{}, '2001:db8:a::{n:x}', '2001:db8:a::{place:x}00']{vlan}",
            10 + place,
            50 + n
        ),
        _ => format!("network: red, addresses: [10.1.0.{}], groups: [239.1.2.{}]{vlan}", 100 + n, n % 2),
    };
    Entry::attachment(&format!("{{name: vm{n}, port: {port}, mac: '{mac}', {what}}}")).unwrap()
}

fn policy(n: u8) -> Entry {
    let [red, blue, outside] = ["red", "blue", "outside"];
    let (from, to, via) = match n % 5 {
        0 => (red, blue, None),
        1 => (red, blue, Some("fd00:9::/64".to_owned())),
        2 => (blue, red, Some("fd00:1::/64".to_owned())),
        3 => (red, outside, None),
        _ => (outside, blue, None),
    };
    Entry::of_policy(&PolicyWords { from: from.into(), to: to.into(), via }).unwrap()
}

/// The node's file: one without and one with a network, a tenant and a policy of its own, and a task that may be in the way.
fn file(has_own: bool) -> String {
    let file = FILE.replace("nva:", "  - {name: b, device: net_null2, role: access}\nnva:");
    match has_own {
        false => file,
        true => format!("{file}{OWN}"),
    }
}

const OWN: &str = r#"
virtual_networks: [{name: own, vnid: 9, domain: ours, ipv4: [{prefix: 10.9.0.0/24, gateway: 10.9.0.1}]}]
policies: [{from: own, to: outside}]
attachments:
  - {name: mine, port: b, vlan: 5, mac: "02:00:00:00:02:01", network: own, addresses: [10.9.0.7]}
  - {name: task, port: a, vlan: 9, mac: "02:00:00:00:01:01", identifiers: ["2001:db8:dddd:0:2000::1"]}
"#;

const RED_IPV6: &str = ", ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::ffff'}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever came and went before, refused or not.
    #[test]
    fn a_change_by_itself_is_the_same_as_everything_from_the_beginning(
        steps in prop::collection::vec((0u8..20, 0u8..12, 0u8..4, 0u8..24), 1..14),
    ) {
        let mut wanted = Wanted::default();
        wanted.set(network("red", 1, RED_IPV6));
        wanted.set(network("blue", 2, ""));
        let (mut has_own, mut links) = (false, [true; 2]);
        let mut bench = Bench::with(&file(has_own));
        prop_assert!(!bench.steps(&wanted));
        for (kind, n, form, place) in steps {
            let before = bench.provisioned.last().unwrap().1.len();
            match kind {
                0..7 => wanted.set(attached(n, form, place)),
                7..10 => wanted.withdraw(attached(n, 0, 0).name()),
                10..12 => wanted.set(policy(place)),
                12 | 13 => wanted.withdraw(policy(place).name()),
                14 => wanted.set(network("blue", 2, if form == 0 { "" } else { ", mtu: 1400" })),
                // The node's file has others, or the link of a port comes or goes.
                15 | 16 => {
                    has_own = !has_own;
                    std::fs::write(&bench.control.path, file(has_own)).unwrap();
                    bench.request(Request::Reload);
                }
                17 => {
                    links[1] = !links[1];
                    bench.links = links;
                    bench.input(0, Input::Links(states(links)));
                }
                // Several at once.
                _ => {
                    wanted.set(attached(n, form, place));
                    wanted.withdraw(attached(n + 1, 0, 0).name());
                    wanted.withdraw(attached(n + 2, 0, 0).name());
                    wanted.set(attached(n + 3, form, place + 1));
                    wanted.set(policy(n));
                }
            }
            // What is wanted is told again although it may be the same.
            wanted.sequence += u64::from(matches!(kind, 15..=17));
            let stepped = bench.steps(&wanted);
            let is_refused = !bench.provisioned.last().unwrap().1.is_empty();
            prop_assert!(stepped || (14..=16).contains(&kind) || before > 0 || is_refused || form % 4 == 0);
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("node.yaml"), file(has_own)).unwrap();
            let mut scratch = Bench::at(dir, wanted.objects(), Vec::new());
            scratch.links = links;
            scratch.steps(&wanted);
            prop_assert_eq!(bench.picture(), scratch.picture());
        }
    }
}

/// Shortest time in which one attachment comes or goes at a node with so many, and that in which a whole reload of the
/// same is taken over.
fn cost(count: u32) -> Duration {
    let mut wanted = Wanted::default();
    wanted.set(
        Entry::network(
            "{name: red, vnid: 1, domain: theirs, ipv4: [{prefix: 10.0.0.0/8, gateway: 10.0.0.1}]}",
        )
        .unwrap(),
    );
    let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0010 + n).to_string();
    let one = |n: u32| attachment(&format!("vm{n}"), 1 + (n % 4_000) as u16, "red", &address(n));
    (0..count).for_each(|n| wanted.set(one(n)));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("node.yaml"), FILE).unwrap();
    let mut bench = Bench::at(dir, wanted.objects(), Vec::new());
    let mut best = Duration::MAX;
    for n in 0..10 {
        match n % 2 {
            0 => wanted.set(one(count + n)),
            _ => wanted.withdraw(one(n).name()),
        }
        let began = Instant::now();
        let stepped = bench.steps(&wanted);
        best = best.min(began.elapsed());
        assert!(stepped);
    }
    best
}

/// `ILAGATE_ATTACHMENTS=16000 cargo test --release --lib one_attachment_among -- --nocapture` prints the figure for so many.
#[test]
fn one_attachment_among_thousands_costs_about_what_it_costs_among_a_hundred() {
    let count = std::env::var("ILAGATE_ATTACHMENTS").map_or(3_200, |count| count.parse().unwrap());
    // 32 times as many, or more. Others may use the processors meanwhile.
    let is_so = (0..5).any(|_| {
        let (few, many) = (cost(100), cost(count));
        println!("one change: {few:?} at 100 attachments, {many:?} at {count}");
        many < few * 10
    });
    assert!(is_so);
}
