//! What operators add to policies and peers, and what becomes of it when the file changes.

use super::*;
use crate::config::{PeerWords, PolicyWords};
use crate::node::handle::{Amend, AmendRefusal};
use crate::table::policy::Endpoint;
use crate::table::{DomainId, NetworkId};

const RED: NetworkId = NetworkId(0);
const BLUE: NetworkId = NetworkId(1);
const TASK: &str = "2001:db8:dddd:0:2000::4";

/// Two networks; a tenant of red is attached.
fn config(policies: &str, red_peers: &str, more: &str) -> String {
    let config =
        CONFIG.replace("ports:\n", "locators: [{prefix: \"fd00:1:0:1::/64\", domain: tasks}]\nports:\n");
    let blue =
        r#"{name: blue, vnid: 2, domain: tasks, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}]}"#;
    format!(
        "{config}virtual_networks:\n  - name: red\n    vnid: 1\n    domain: tasks\n    ipv4: [{{prefix: \"10.0.0.0/24\", \
         gateway: \"10.0.0.254\"}}]\n    peers: [{red_peers}]\n  - {blue}\npolicies: [{policies}]\nattachments:\n  - {{name: \
         vm1, port: a, mac: \"02:00:00:00:00:0a\", network: red, addresses: [\"10.0.0.1\"]}}\n{more}"
    )
}

impl Bench {
    /// What an amendment was answered, if it was.
    pub(super) fn amended(&mut self, id: RequestId) -> Option<Result<(), AmendRefusal>> {
        self.answers.remove(&id).map(|answer| match answer {
            Answer::Amend(amended) => amended,
            other => panic!("{other:?}"),
        })
    }

    fn amend(&mut self, amend: Amend) -> Result<(), String> {
        let id = self.request(Request::Amend(amend));
        (1..10).for_each(|now| self.turn(now));
        self.amended(id).unwrap().map_err(|why| why.to_string())
    }

    fn add(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.amend(Amend::Add(Amendment::Policy(PolicyWords { from: from.into(), to: to.into(), via: None })))
    }

    fn delete(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.amend(Amend::DeletePolicy(PolicyWords { from: from.into(), to: to.into(), via: None }))
    }

    fn add_peer(&mut self, address: &str, to: &str, of: Option<&str>) -> Result<(), String> {
        let of = of.map(str::to_owned);
        let words = PeerWords { network: "red".into(), address: address.into(), to: to.into(), of };
        self.amend(Amend::Add(Amendment::Peer(words)))
    }

    fn delete_peer(&mut self, address: &str) -> Result<(), String> {
        self.amend(Amend::DeletePeer { network: "red".into(), address: address.into() })
    }

    /// Policies in force, with their origins.
    fn policies(&self) -> Vec<String> {
        let views = self.control.policy_views().into_iter();
        views.map(|view| format!("{} {} {}", view.from, view.to, view.origin)).collect()
    }

    fn may_send(&mut self, to: Endpoint) -> bool {
        self.reader.snapshot().networks.may_send(RED, to)
    }

    fn peer(&mut self, address: [u8; 4]) -> Option<u128> {
        self.reader.snapshot().networks.get(RED).unwrap().peers.ipv6(u32::from_be_bytes(address))
    }
}

#[test]
fn an_operators_policy_is_in_force_when_it_is_answered_and_gone_when_deleted() {
    let mut bench = Bench::with(&config("", "", ""));
    let (blue, task) =
        (Endpoint::Network(BLUE), Endpoint::Task(DomainId(0), Identifier(0x2000_u64 << 48 | 4)));
    assert!(![blue, task, Endpoint::Outside].into_iter().any(|endpoint| bench.may_send(endpoint)));
    for (to, endpoint) in
        [("blue", blue), ("outside", Endpoint::Outside), ("2001:db8:dddd::/64", task), (TASK, task)]
    {
        bench.add("red", to).unwrap();
        assert!(bench.may_send(endpoint), "{to}");
        assert_eq!(bench.policies(), [format!("red {to} admin")]);
        bench.delete("red", to).unwrap();
        assert!(!bench.may_send(endpoint), "{to}");
        assert_eq!(bench.policies(), [""; 0]);
    }
}

#[test]
fn an_operators_policy_that_breaks_a_rule_is_refused_and_changes_nothing() {
    let mut bench = Bench::with(&config("{from: red, to: blue}", "", ""));
    for (from, to, words) in [
        ("red", "blue", "the policy from red to blue is there already"),
        ("green", "red", "`green` is not the name of a virtual network"),
        ("red", "red", "is from as well"),
        ("outside", TASK, "neither is from"),
        ("red", "2001:db8:eeee::/64", "is no SIR prefix"),
        ("red", "2001:db8:dddd:0:4000:1:a00:2", "which is a tenant's address"),
    ] {
        let why = bench.add(from, to).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    let long = "x".repeat(1000);
    assert!(bench.add(&long, "red").unwrap_err().len() < 100);
    for (from, to, words) in [
        ("red", "blue", "comes from the configuration; remove it there and reload"),
        ("blue", "red", "is not there; `ilactl policy list` shows them"),
        ("blue", "green", "`green` is not the name"),
    ] {
        let why = bench.delete(from, to).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(bench.policies(), ["red blue config"]);
}

#[test]
fn an_operators_peer_is_in_force_when_it_is_answered_and_gone_when_deleted() {
    let mut bench = Bench::with(&config("", "", ""));
    bench.add_peer("10.0.0.200", TASK, None).unwrap();
    bench.add_peer("10.0.0.201", "10.0.0.1", Some("blue")).unwrap();
    assert_eq!(bench.peer([10, 0, 0, 200]), Some(0x2001_0db8_dddd_0000_2000_0000_0000_0004));
    assert_eq!(bench.peer([10, 0, 0, 201]), Some(0x2001_0db8_dddd_0000_4000_0002_0a00_0001));
    let view = &bench.control.peer_views(Some("red"))[1];
    assert_eq!((view.of.as_deref(), view.origin.as_str()), (Some("blue"), "admin"));
    assert!(bench.control.peer_views(Some("blue")).is_empty());
    bench.delete_peer("10.0.0.200").unwrap();
    assert_eq!(bench.peer([10, 0, 0, 200]), None);
    assert!(bench.peer([10, 0, 0, 201]).is_some());
}

#[test]
fn an_operators_peer_that_breaks_a_rule_is_refused_and_changes_nothing() {
    let peers = r#"{address: "10.0.0.200", to: "2001:db8:dddd:0:2000::4"}"#;
    let mut bench = Bench::with(&config("", peers, ""));
    let other = "2001:db8:dddd:0:2000::5";
    for (address, to, of, words) in [
        ("10.0.0.200", other, None, "10.0.0.200 is a peer's in network red already"),
        ("10.0.0.201", TASK, None, "it has 10.0.0.200 in network red already"),
        ("10.0.0.1", other, None, "10.0.0.1 is the address of vm1"),
        ("10.0.0.254", other, None, "is the gateway of 10.0.0.0/24"),
        ("10.0.0.255", other, None, "10.0.0.255"),
        ("224.0.0.1", other, None, "multicast"),
        ("red", other, None, "`red` is not an IPv4 address"),
        ("10.0.0.201", "2001:db8:dddd:0:4000:1:a00:2", None, "which is a tenant's address"),
        ("10.0.0.201", "10.0.0.1", Some("red"), "the peer's own network"),
        ("10.0.0.201", "10.0.0.1", Some("green"), "`green` is not the name of a virtual network"),
        ("10.0.0.201", "10.0.0.254", Some("blue"), "is the gateway of"),
        ("10.0.0.201", "2001:db8::1", Some("blue"), "is IPv6, which network blue has not"),
    ] {
        let why = bench.add_peer(address, to, of).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    for (address, words) in [
        ("10.0.0.200", "comes from the configuration; remove it there and reload"),
        ("10.0.0.9", "is no peer's in network red"),
        ("x", "`x` is not an IPv4 address"),
    ] {
        let why = bench.delete_peer(address).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(bench.control.peer_views(None).len(), 1);
}

#[test]
fn a_reload_keeps_what_operators_added_and_takes_over_what_the_file_says_too() {
    let mut bench = Bench::with(&config("", "", ""));
    bench.add("red", "blue").unwrap();
    bench.add("red", "outside").unwrap();
    bench.add_peer("10.0.0.201", "10.0.0.1", Some("blue")).unwrap();
    // Nothing of the file differs, whatever operators added.
    assert_eq!(bench.reload(&config("", "", "")).unwrap().applied, [""; 0]);
    let view = bench.reload(&config("{from: blue, to: red}, {from: red, to: blue}", "", "")).unwrap();
    assert_eq!(view.applied, ["policies[0]", "policies[1]"]);
    assert_eq!(bench.policies(), ["blue red config", "red blue config", "red outside admin"]);
    assert!(bench.may_send(Endpoint::Outside) && bench.peer([10, 0, 0, 201]).is_some());
    // What became the file's goes with it.
    bench.reload(&config("", "", "")).unwrap();
    assert_eq!(bench.policies(), ["red outside admin"]);
    // Networks may change their places.
    let swapped = config("", "", "")
        .replace("name: blue", "name: x")
        .replace("name: red", "name: blue")
        .replace("name: x", "name: red");
    let swapped = swapped.replace("network: red", "network: blue");
    bench.delete_peer("10.0.0.201").unwrap();
    bench.reload(&swapped).unwrap();
    assert!(
        bench.reader.snapshot().networks.may_send(BLUE, Endpoint::Outside)
            && !bench.may_send(Endpoint::Outside)
    );
}

#[test]
fn a_reload_that_forbids_what_an_operator_added_is_refused() {
    let mut bench = Bench::with(&config("", "", ""));
    bench.add("red", "blue").unwrap();
    bench.add_peer("10.0.0.201", TASK, None).unwrap();
    let gone = config("", "", "").replace("name: blue", "name: green");
    let why = bench.reload(&gone).unwrap_err();
    assert!(
        why.contains("the policy from red to blue was added by an operator")
            && why.contains("`blue` is not the name")
            && why.contains("`ilactl policy del red blue`"),
        "{why}"
    );
    let taken = config("", r#"{address: "10.0.0.201", to: "2001:db8:dddd:0:2000::5"}"#, "");
    let why = bench.reload(&taken).unwrap_err();
    assert!(why.contains("`ilactl peer del red 10.0.0.201`"), "{why}");
    assert_eq!(bench.control.config.virtual_networks[1].name, "blue");
    assert_eq!(bench.peer([10, 0, 0, 201]), Some(0x2001_0db8_dddd_0000_2000_0000_0000_0004));
}

#[test]
fn networks_and_attachments_are_shown_with_what_belongs_to_them() {
    let policies = "{from: red, to: blue}, {from: outside, to: blue}";
    let mut bench =
        Bench::with(&config(policies, r#"{address: "10.0.0.200", to: "2001:db8:dddd:0:2000::4"}"#, ""));
    let views = bench.control.network_views();
    assert_eq!(
        views.iter().map(|view| (view.attachments, view.mappings)).collect::<Vec<_>>(),
        [(1, 1), (0, 0)]
    );
    // Of blue's 10.0.0.9, elsewhere.
    let identifier = Identifier::tenant_ipv4(2, 0x0a00_0009);
    let choice = LocatorChoice { locator: Locator(0xfd00_0001_0000_0002), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(vec![choice]);
    let record = crate::mapping::MappingRecord { domain: 0, identifier, target };
    for (change, mappings) in [
        (Change::Upsert(record.clone()), 1),
        (Change::Upsert(record), 1),
        (Change::Delete { domain: 0, identifier }, 0),
    ] {
        let batch = Batch { origin: Origin::Admin, changes: vec![change], complete: false };
        bench.request(Request::Apply(batch));
        (1..10).for_each(|now| bench.turn(now));
        assert_eq!(bench.control.network_views()[1].mappings, mappings);
    }
    let detail = bench.control.network_detail("1").unwrap();
    assert_eq!((detail.network.name.as_str(), detail.policies.len(), detail.peers.len()), ("red", 1, 1));
    assert_eq!(bench.control.network_detail("blue").unwrap().policies.len(), 2);
    assert_eq!(bench.control.network_detail("green"), None);
    let attachment = &bench.control.attachment_views()[0];
    assert_eq!((attachment.name.as_str(), attachment.network.as_deref()), ("vm1", Some("red")));
    assert_eq!(attachment.identifiers, ["2001:db8:dddd:0:4000:1:a00:1"]);
}

#[test]
fn counters_stay_a_networks_own_and_are_given_as_long_as_there_are_some() {
    // The bench has one.
    let limited =
        |text: String| text.replace("dpdk:", "metrics: {listen: \"127.0.0.1:9464\", networks: 1}\ndpdk:");
    let mut bench = Bench::with(&limited(config("", "", "")));
    let slots =
        |bench: &Bench| bench.control.network_census().iter().map(|network| network.slot).collect::<Vec<_>>();
    assert_eq!(slots(&bench), [1, 0]);
    bench.control.stats.workers[0].networks.slot(1).unwrap().from_tenants.add(5);
    let counted = |bench: &Bench| bench.control.network_detail("red").unwrap().network.counters;
    assert_eq!((counted(&bench).own, counted(&bench).from_tenants), (true, 5));
    // Another network in red's place counts with all others.
    let other = limited(config("", "", "")).replace("vnid: 1\n", "vnid: 9\n");
    bench.reload(&other).unwrap();
    assert_eq!((slots(&bench), counted(&bench).own, counted(&bench).from_tenants), (vec![0, 0], false, 0));
    bench.reload(&limited(config("", "", ""))).unwrap();
    assert_eq!((slots(&bench), counted(&bench).from_tenants), (vec![1, 0], 5));
}

#[test]
fn a_refusal_says_whose_fault_it_is() {
    use crate::node::handle::AmendRefusal::{Forbidden, NotThere, Wrong};
    let mut bench = Bench::with(&config("{from: red, to: blue}", "", ""));
    let mut refused = |amend: Amend| {
        let id = bench.request(Request::Amend(amend));
        (1..10).for_each(|now| bench.turn(now));
        bench.amended(id).unwrap().unwrap_err()
    };
    let words = |from: &str, to: &str| PolicyWords { from: from.into(), to: to.into(), via: None };
    let peer =
        |network: &str, address: &str| Amend::DeletePeer { network: network.into(), address: address.into() };
    let add = |from, to| Amend::Add(Amendment::Policy(words(from, to)));
    assert!(matches!(refused(add("red", "green")), Wrong(_)));
    assert!(matches!(refused(add("red", "blue")), Forbidden(_)));
    assert!(matches!(refused(Amend::DeletePolicy(words("red", "green"))), Wrong(_)));
    assert!(matches!(refused(Amend::DeletePolicy(words("blue", "red"))), NotThere(_)));
    assert!(matches!(refused(Amend::DeletePolicy(words("red", "blue"))), Forbidden(_)));
    assert!(matches!(refused(peer("green", "10.0.0.9")), Wrong(_)));
    assert!(matches!(refused(peer("red", "10.0.0.9")), NotThere(_)));
}

#[test]
fn an_operators_policy_through_a_gateway_is_in_force_and_deleted_by_its_ends() {
    let mut bench = Bench::with(&config("", "", ""));
    let words = |via: &str| PolicyWords { from: "red".into(), to: "blue".into(), via: Some(via.into()) };
    let add = |bench: &mut Bench, via: &str| bench.amend(Amend::Add(Amendment::Policy(words(via))));
    let gateway = |bench: &mut Bench| bench.reader.snapshot().networks.gateway(RED, BLUE).copied();
    for wrong in ["fd00::1", "2001:db8:dddd::/64"] {
        add(&mut bench, wrong).unwrap_err();
    }
    assert_eq!(gateway(&mut bench), None);
    add(&mut bench, "fd00:1:0:9::/64").unwrap();
    let there = gateway(&mut bench).unwrap();
    assert_eq!((there.ours, bench.may_send(Endpoint::Network(BLUE))), (false, true));
    let action = bench.reader.snapshot().action(there.action).copied();
    assert!(
        matches!(action, Some(crate::table::Action::Remote(to)) if to.locator() == there.locator),
        "{action:?}"
    );
    assert_eq!(bench.control.policy_views()[0].via.as_deref(), Some("fd00:1:0:9::/64"));
    // The pair has one gateway.
    add(&mut bench, "fd00:1:0:8::/64").unwrap_err();
    bench.add("red", "blue").unwrap_err();
    // A reload keeps it; a locator that becomes ours makes this node the gateway.
    let here = config("", "", "").replace("fd00:1:0:1::/64", "fd00:1:0:9::/64");
    bench.reload(&here).unwrap();
    assert!(gateway(&mut bench).unwrap().ours);
    bench.delete("red", "blue").unwrap();
    assert_eq!((gateway(&mut bench), bench.may_send(Endpoint::Network(BLUE))), (None, false));
}
