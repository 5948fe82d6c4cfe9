//! What operators want at a node: taken over beside the file, which wins.

use super::*;
use crate::config::{Amendment, Entry, PolicyWords};
use crate::node::handle::Amend;
use std::net::Ipv6Addr;

pub(super) const FILE: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: ours, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1::/64", domain: ours}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access}
nva: {endpoints: ["unix:/run/nva.sock"], provision: true}
"#;
const OWN_RED: &str = "virtual_networks: [{name: red, vnid: 9, domain: ours}]\n";

pub(super) fn network(name: &str, vnid: u32, more: &str) -> Entry {
    let ipv4 = format!("[{{prefix: 10.{vnid}.0.0/24, gateway: 10.{vnid}.0.1}}]");
    Entry::network(&format!("{{name: {name}, vnid: {vnid}, domain: theirs, ipv4: {ipv4}{more}}}")).unwrap()
}

pub(super) fn attachment(name: &str, vlan: u16, network: &str, address: &str) -> Entry {
    let number: u32 = name.trim_start_matches("vm").parse().unwrap();
    let mac = format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 255);
    let text = format!(
        "{{name: {name}, port: a, vlan: {vlan}, mac: '{mac}', network: {network}, addresses: [{address}]}}"
    );
    Entry::attachment(&text).unwrap()
}

fn policy(from: &str, to: &str) -> Entry {
    Entry::of_policy(&PolicyWords { from: from.into(), to: to.into(), via: None }).unwrap()
}

/// The state of this revision.
pub(super) fn objects(revision: u64, entries: &[Entry]) -> Arc<Objects> {
    let object = |(entry, sequence): (&Entry, u64)| {
        let sir_prefix = if entry.domain().is_some() { 0x2001_0db8_dddd_0000 } else { 0 };
        crate::nva::client::Seen {
            name: entry.name().clone(),
            sequence,
            sir_prefix,
            entry: Arc::new(entry.clone()),
        }
    };
    let all = entries.iter().zip(1..).map(object).map(|seen| (seen.name.clone(), seen));
    Arc::new(Objects { known: Known { epoch: vec![1], revision }, all: Arc::new(all.collect()) })
}

impl Bench {
    fn wants(&mut self, revision: u64, entries: &[Entry]) {
        self.request(Request::Provision(objects(revision, entries)));
        self.settle();
    }

    /// Reads what is to be read, and takes over what was read, until nothing is left to do.
    fn settle(&mut self) {
        (0..4).for_each(|_| self.turn(0));
        while !self.loads.is_empty() {
            let loaded = self.load();
            self.input(0, loaded);
            for _ in 0..4 {
                self.turn(0);
            }
        }
    }

    /// Networks, policies and attachments in force, with their origin.
    fn has(&self) -> Vec<String> {
        let networks =
            self.control.network_views().into_iter().map(|it| format!("{} {}", it.name, it.origin));
        let policies =
            self.control.policy_views().into_iter().map(|it| format!("{}>{} {}", it.from, it.to, it.origin));
        let attached =
            self.control.attachment_views().into_iter().map(|it| format!("{} {}", it.name, it.origin));
        networks.chain(policies).chain(attached).collect()
    }

    /// The revision that was said last, and what is refused.
    fn said(&self) -> (u64, Vec<String>) {
        let (known, refused) = self.provisioned.last().unwrap();
        (known.revision, refused.iter().map(|it| format!("{}: {}", it.name, it.why)).collect())
    }
}

#[test]
fn what_operators_want_is_in_force_and_goes_again() {
    let mut bench = Bench::with(FILE);
    let entries = [network("red", 1, ""), policy("red", "outside"), attachment("vm1", 11, "red", "10.1.0.5")];
    bench.wants(3, &entries);
    assert_eq!(bench.has(), ["red nva", "red>outside nva", "vm1 nva"]);
    assert_eq!(bench.said(), (3, vec![]));
    // Only the revision is another one: nothing is judged again.
    let known = Known { epoch: vec![1], revision: 4 };
    let all = bench.control.provision.as_ref().unwrap().objects.all.clone();
    bench.request(Request::Provision(Arc::new(Objects { known, all })));
    assert!(bench.loads.is_empty());
    assert_eq!(bench.said(), (4, vec![]));
    bench.wants(5, &entries[..1]);
    assert_eq!(bench.has(), ["red nva"]);
    bench.wants(6, &[]);
    assert_eq!((bench.has(), bench.said()), (vec![], (6, vec![])));
}

#[test]
fn the_file_wins_and_a_reload_brings_back_what_clashed() {
    let mut bench = Bench::with(&format!("{FILE}{OWN_RED}"));
    let entries = [network("red", 1, ""), network("blue", 2, ""), attachment("vm1", 11, "red", "10.1.0.5")];
    bench.wants(3, &entries);
    assert_eq!(bench.has(), ["red config", "blue nva"]);
    let (revision, refused) = bench.said();
    assert_eq!((revision, refused.len()), (3, 2));
    assert!(
        refused
            .iter()
            .any(|it| it.starts_with("network red: ") && it.contains("is already virtual_networks[0].name"))
    );
    // A reload keeps what operators want, and what does not clash any more comes back.
    bench.reload(FILE).unwrap();
    assert_eq!(bench.has(), ["red nva", "blue nva", "vm1 nva"]);
    assert_eq!(bench.said(), (3, vec![]));
    bench.reload(&format!("{FILE}{OWN_RED}")).unwrap();
    assert_eq!(bench.has(), ["red config", "blue nva"]);
    assert_eq!(bench.said().1.len(), 2);
}

#[test]
fn a_network_in_a_domain_that_the_node_does_not_have_is_refused() {
    let mut bench = Bench::with(&FILE.replace("2001:db8:dddd::/64", "2001:db8:eeee::/64"));
    bench.wants(1, &[network("red", 1, "")]);
    let (_, refused) = bench.said();
    assert_eq!(
        refused,
        [
            "network red: its domain theirs has the SIR prefix 2001:db8:dddd::/64, which no domain here has; add it to \
          sir_domains"
        ]
    );
}

#[test]
fn what_is_wanted_meanwhile_comes_next_and_a_reload_waits() {
    let mut bench = Bench::with(FILE);
    bench.request(Request::Provision(objects(1, &[network("red", 1, "")])));
    bench.request(Request::Provision(objects(2, &[network("blue", 2, "")])));
    std::fs::write(&bench.control.path, format!("{FILE}icmp: {{burst: 7}}\n")).unwrap();
    let asked = bench.request(Request::Reload);
    let also = bench.request(Request::Reload);
    assert!(matches!(bench.reloaded(also), Some(Err(why)) if why.contains("a reload is under way")));
    assert_eq!(bench.loads.len(), 1);
    bench.settle();
    assert_eq!(bench.has(), ["blue nva"]);
    assert_eq!(bench.said(), (2, vec![]));
    assert_eq!(bench.reloaded(asked).unwrap().unwrap().applied, ["icmp.burst"]);
    // Nothing was said of what was never in force as it was wanted then.
    assert!(bench.provisioned.iter().all(|(known, _)| known.revision == 2));
}

#[test]
fn what_the_tables_refuse_is_left_out_alone() {
    let mut bench = Bench::with(FILE);
    bench.wants(1, &[network("blue", 2, ""), attachment("vm2", 12, "blue", "10.2.0.5")]);
    // An operator of this node maps what the network has for a peer.
    let identifier = Identifier::tenant_ipv4(1, 0x0a01_0009);
    let locators = vec![LocatorChoice { locator: Locator(0xfd00_0009 << 32), priority: 0, weight: 1 }];
    let record = MappingRecord { domain: 0, identifier, target: MappingTarget::Locators(locators) };
    let batch = Batch { origin: Origin::Admin, changes: vec![Change::Upsert(record)], complete: false };
    let id = bench.request(Request::Apply(batch));
    bench.turn(0);
    assert!(bench.applied(id).unwrap().is_ok());
    let peers = ", peers: [{address: 10.1.0.9, to: '2001:db8:dddd:0:2000::4'}]";
    let entries = [
        network("blue", 2, ""),
        attachment("vm2", 12, "blue", "10.2.0.5"),
        network("red", 1, peers),
        attachment("vm1", 11, "red", "10.1.0.5"),
        network("green", 3, ""),
    ];
    bench.wants(2, &entries);
    let mut has = bench.has();
    has.sort();
    assert_eq!(has, ["blue nva", "green nva", "vm2 nva"]);
    let (revision, refused) = bench.said();
    assert_eq!((revision, refused.len()), (2, 2));
    let sir = Ipv6Addr::from(0x2001_0db8_dddd_0000_u128 << 64 | u128::from(identifier.0));
    assert!(refused[0].starts_with("network red: ") && refused[0].contains(&sir.to_string()), "{refused:?}");
    assert_eq!(refused[1], "attachment vm1: it refers to network red, which is refused");
}

/// A node with two SIR domains whose mapping file is `mappings.yaml`.
const MAPPED: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains:
  - {name: ours, prefix: "2001:db8:dddd::/64"}
  - {name: other, prefix: "2001:db8:eeee::/64"}
locators: [{prefix: "fd00:1::/64", domain: ours}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access}
nva: {endpoints: ["unix:/run/nva.sock"], provision: true}
mappings: {file: mappings.yaml}
"#;
/// Nothing clashes with this one.
const NO_CLASH: &str = "{sir: '2001:db8:dddd:0:2000::7', locators: ['fd00:7::/64']}";

/// What operators want, the entry of a mapping file that some of it clashes with, and what is in force beside that.
fn clashes() -> Vec<(Vec<Entry>, String, Vec<&'static str>)> {
    let entry = |vnid, address: [u8; 4]| {
        let identifier = Identifier::tenant_ipv4(vnid, u32::from_be_bytes(address));
        let sir = Ipv6Addr::from(0x2001_0db8_dddd_0000_u128 << 64 | u128::from(identifier.0));
        format!("{{sir: '{sir}', locators: ['fd00:8::/64']}}")
    };
    let elsewhere = "{sir: '2001:db8:eeee:0:2000::7', locators: ['fd00:9::/64']}";
    let blue = network("blue", 2, "");
    let copies = network("red", 1, ", replicate_to: ['fd00:9::/64']");
    let via = PolicyWords { from: "blue".into(), to: "green".into(), via: Some("fd00:9::/64".into()) };
    let through = [network("green", 3, ""), Entry::of_policy(&via).unwrap()];
    let peers = network("red", 1, ", peers: [{address: 10.1.0.9, to: '2001:db8:dddd:0:2000::4'}]");
    let wide = "{name: wide, vnid: 8, domain: theirs, ipv4: [{prefix: 10.8.0.0/14, gateway: 10.8.0.1}]}";
    let wide = [Entry::network(wide).unwrap(), attachment("vm8", 18, "wide", "10.9.0.0")];
    let with_blue = |more: &[Entry]| [std::slice::from_ref(&blue), more].concat();
    vec![
        (with_blue(&[copies, attachment("vm1", 11, "red", "10.1.0.5")]), elsewhere.into(), vec!["blue nva"]),
        (with_blue(&through), elsewhere.into(), vec!["blue nva", "green nva"]),
        (with_blue(&[peers]), entry(1, [10, 1, 0, 9]), vec!["blue nva"]),
        (with_blue(&wide), entry(8, [10, 9, 255, 255]), vec!["blue nva", "wide nva"]),
    ]
}

fn write_mappings(dir: &Path, entry: &str) {
    std::fs::write(dir.join("mappings.yaml"), format!("mappings: [{entry}]\n")).unwrap();
}

/// A node that starts with this entry in its mapping file, and with what it knew of what operators want.
fn mapped(entry: &str, objects: Arc<Objects>) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("node.yaml"), MAPPED).unwrap();
    write_mappings(dir.path(), entry);
    Bench::at(dir, objects, Vec::new())
}

#[test]
fn a_restart_leaves_out_what_the_running_node_left_out() {
    for (entries, entry, kept) in clashes() {
        let mut running = mapped(&entry, Arc::default());
        running.wants(1, &entries);
        assert_eq!(sorted(running.has()), kept, "{entry}");
        let wanted = objects(1, &entries);
        let mut started = mapped(&entry, wanted.clone());
        assert_eq!(started.has(), running.has(), "{entry}");
        assert_eq!(started.control.rib.mappings(&Default::default()).unwrap().len(), 1);
        // The authority confirms it: nothing is judged again.
        started.request(Request::Provision(wanted));
        assert!(started.loads.is_empty());
        assert_eq!(started.said(), running.said());
        assert!(!started.said().1.is_empty());
        // Without the clash a start has all of it at once.
        let whole = mapped(NO_CLASH, objects(1, &entries));
        assert_eq!(whole.has().len(), entries.len());
    }
}

impl Bench {
    /// The watch has read a mapping file.
    fn read_mappings(&mut self, entries: &str) {
        let text = format!("mappings: [{entries}]\n");
        let news = crate::config::mappings::parse(&text, "mappings.yaml", &self.control.file);
        self.input(0, Input::MappingFile(self.control.watch_number, news));
        (0..4).for_each(|_| self.turn(0));
        self.settle();
    }

    /// What the mapping file has in force.
    fn mapped_sirs(&self) -> Vec<String> {
        let all = self.control.rib.mappings(&Default::default()).unwrap().into_iter();
        all.filter(|view| view.origin == "file").map(|view| view.sir.to_string()).collect()
    }
}

#[test]
fn a_mapping_file_that_changes_later_wins_and_gives_back_what_it_clashed_with() {
    for (entries, entry, kept) in clashes() {
        for watched in [true, false] {
            let mut bench = mapped(NO_CLASH, Arc::default());
            bench.wants(1, &entries);
            let all = bench.has();
            assert_eq!((all.len(), bench.said().1.len()), (entries.len(), 0), "{entry}");
            let mut change = |entry: &str| match watched {
                true => {
                    bench.read_mappings(entry);
                    (bench.has(), bench.mapped_sirs(), bench.said())
                }
                false => {
                    write_mappings(bench.control.path.parent().unwrap(), entry);
                    let id = bench.request(Request::Reload);
                    bench.settle();
                    bench.reloaded(id).unwrap().unwrap();
                    (bench.has(), bench.mapped_sirs(), bench.said())
                }
            };
            let (has, mapped, (revision, refused)) = change(&entry);
            assert_eq!(sorted(has), kept, "{watched} {entry}");
            assert!(mapped.len() == 1 && entry.contains(&mapped[0]), "{watched} {mapped:?} {entry}");
            assert_eq!((revision, refused.len()), (1, entries.len() - kept.len()), "{refused:?}");
            let (has, mapped, (_, refused)) = change(NO_CLASH);
            assert_eq!((sorted(has), refused), (sorted(all), vec![]), "{watched} {entry}");
            assert!(NO_CLASH.contains(&mapped[0]));
        }
    }
}

#[test]
fn a_mapping_file_that_waits_for_an_operator_leaves_nothing_out_before_that() {
    let (entries, entry, kept) = clashes().remove(0);
    let many: Vec<String> = (1..=20)
        .map(|n| format!("{{sir: '2001:db8:dddd:0:2000::{n:x}', locators: ['fd00:7::/64']}}"))
        .collect();
    let mut bench = mapped(&many.join(", "), Arc::default());
    bench.wants(1, &entries);
    bench.read_mappings(&entry);
    assert_eq!((bench.has().len(), bench.mapped_sirs().len()), (entries.len(), 20));
    let id = bench.request(Request::Confirm(20));
    bench.turn(0);
    bench.settle();
    assert!(matches!(bench.answers.remove(&id), Some(Answer::Confirm(Ok(_)))));
    assert_eq!((sorted(bench.has()), bench.mapped_sirs().len()), (sorted_of(&kept), 1));
}

#[test]
fn a_mapping_file_that_is_refused_for_another_reason_leaves_nothing_out() {
    let (entries, entry, _) = clashes().remove(0);
    let mut bench = mapped(NO_CLASH, Arc::default());
    bench.wants(1, &entries);
    // An operator of this node has the locator of another entry in another domain.
    let locators = vec![LocatorChoice { locator: Locator(0xfd00_0006 << 32), priority: 0, weight: 1 }];
    let target = MappingTarget::Locators(locators);
    let record = MappingRecord { domain: 0, identifier: Identifier(1 << 61 | 9), target };
    let batch = Batch { origin: Origin::Admin, changes: vec![Change::Upsert(record)], complete: false };
    bench.request(Request::Apply(batch));
    bench.turn(0);
    bench.read_mappings(&format!("{entry}, {{sir: '2001:db8:eeee:0:2000::8', locators: ['fd00:6::/64']}}"));
    assert_eq!((bench.has().len(), bench.said().1), (entries.len(), vec![]));
    assert_eq!(bench.mapped_sirs().len(), 1);
    assert!(bench.control.warnings()[0].contains("the mapping file is refused"));
}

fn sorted_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn what_operators_of_the_node_added_goes_with_its_network() {
    let mut bench = Bench::with(FILE);
    bench.wants(1, &[network("red", 1, ""), network("blue", 2, "")]);
    let words = PolicyWords { from: "red".into(), to: "blue".into(), via: None };
    let id = bench.request(Request::Amend(Amend::Add(Amendment::Policy(words))));
    bench.turn(0);
    bench.turn(0);
    assert!(matches!(bench.answers.remove(&id), Some(Answer::Amend(Ok(())))));
    assert_eq!(bench.has(), ["red nva", "blue nva", "red>blue admin"]);
    bench.wants(2, &[network("red", 1, "")]);
    assert_eq!(bench.has(), ["red nva"]);
    assert_eq!(bench.said(), (2, vec![]));
}

#[test]
fn what_operators_want_is_not_deleted_at_the_node() {
    let mut bench = Bench::with(FILE);
    bench.wants(1, &[network("red", 1, ""), policy("red", "outside")]);
    let words = PolicyWords { from: "red".into(), to: "outside".into(), via: None };
    let id = bench.request(Request::Amend(Amend::DeletePolicy(words)));
    bench.turn(0);
    let Some(Answer::Amend(Err(why))) = bench.answers.remove(&id) else { panic!() };
    assert!(why.to_string().contains("at the authority with `ilactl nva` if its origin is nva"), "{why}");
}
