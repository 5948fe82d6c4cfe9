//! What a reload can apply.

use super::right;
use crate::config::{Change, Config};

fn changes(old: &Config, new: &Config) -> Vec<String> {
    old.diff_class(new).iter().map(Change::to_string).collect()
}

/// The changes from the usual file to one with this line.
fn against_usual(line: &str) -> Vec<String> {
    changes(&right("mbufs: {}"), &right(line))
}

#[test]
fn nothing_changed_is_no_change() {
    assert_eq!(against_usual("mbufs: {}"), [""; 0]);
}

#[test]
fn what_a_reload_applies() {
    for (line, expected) in [
        ("routes: [{prefix: '::/0', port: f}]", "routes[0]: added"),
        (
            "attachments: [{port: a, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::1']}]",
            "attachments[0]: added",
        ),
        ("mappings: {file: m.yaml}", "mappings: added"),
        (
            "neighbours: {static: [{port: f, address: 'fe80::1', mac: '02:00:00:00:00:01'}]}",
            "neighbours.static[0]: added",
        ),
        ("icmp: {burst: 7}", "icmp.burst: changed"),
        ("neighbour_discovery: {probes: 7}", "neighbour_discovery.probes: changed"),
        ("log: {level: debug}", "log.level: changed"),
        (
            "sir_domains: [{name: tasks, prefix: '2001:db8:dddd::/64'}, {name: b, prefix: '2001:db8:1::/64'}]",
            "sir_domains[1]: added",
        ),
        (
            "ports: [{name: f, device: net_null_d0, role: fabric, addresses: ['fd00:1:0:1::2/64']}, {name: a, device: net_null_d1, role: access}]",
            "ports[0].addresses: changed",
        ),
        (
            "ports: [{name: f, device: net_null_d0, role: fabric, addresses: ['fd00:1:0:1::1/64']}, {name: a, device: net_null_d1, role: access, router_advertisement: {}}]",
            "ports[1].router_advertisement: changed",
        ),
    ] {
        assert_eq!(against_usual(line), [format!("{expected}, applied by a reload")], "{line}");
    }
}

#[test]
fn virtual_networks_are_taken_over_by_a_reload() {
    let networks = |list: &str| right(&format!("virtual_networks: [{list}]"));
    let usual = "{name: red, vnid: 1, domain: tasks}";
    assert_eq!(changes(&networks(""), &networks(usual)), ["virtual_networks[0]: added, applied by a reload"]);
    assert_eq!(
        changes(&networks(usual), &networks("")),
        ["virtual_networks[0]: removed, applied by a reload"]
    );
    for (other, key) in [
        ("{name: blue, vnid: 1, domain: tasks}", "name"),
        ("{name: red, vnid: 2, domain: tasks}", "vnid"),
        ("{name: red, vnid: 1, domain: tasks, mac: '02:00:00:00:00:07'}", "mac"),
        ("{name: red, vnid: 1, domain: tasks, mtu: 1400}", "mtu"),
        ("{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96'}}", "ipv6"),
        ("{name: red, vnid: 1, domain: tasks, ipv4: [{prefix: 10.0.0.0/8, gateway: 10.0.0.1}]}", "ipv4"),
        (
            "{name: red, vnid: 1, domain: tasks, peers: [{address: 192.0.2.4, to: '2001:db8:dddd:0:2000::4'}]}",
            "peers",
        ),
    ] {
        assert_eq!(
            changes(&networks(usual), &networks(other)),
            [format!("virtual_networks[0].{key}: changed, applied by a reload")]
        );
    }
}

#[test]
fn policies_are_taken_over_by_a_reload() {
    let with = |list: &str| {
        let networks = "[{name: red, vnid: 1, domain: tasks}, {name: blue, vnid: 2, domain: tasks}]";
        right(&format!("policies: [{list}]\nvirtual_networks: {networks}"))
    };
    assert_eq!(
        changes(&with("{from: red, to: blue}"), &with("{from: blue, to: red}")),
        ["policies[0]: removed, applied by a reload", "policies[0]: added, applied by a reload"]
    );
}

#[test]
fn translation_is_taken_over_by_a_reload() {
    for key in ["lowest_ipv6_mtu: 1500", "missing_udp_checksum: drop"] {
        let (name, _) = key.split_once(':').unwrap();
        assert_eq!(
            changes(&right("translation: {}"), &right(&format!("translation: {{{key}}}"))),
            [format!("translation.{name}: changed, applied by a reload")]
        );
    }
}

#[test]
fn what_needs_a_restart() {
    for (line, expected) in [
        ("node: {name: other}", &["node.name: changed", "admin.socket: changed"][..]),
        ("node: {name: nve1, state_dir: /x}", &["node.state_dir: changed"]),
        ("dpdk: {workers: [2]}", &["dpdk.workers: changed"]),
        ("mbufs: {count: 20000}", &["mbufs.count: changed"]),
        ("metrics: {listen: '127.0.0.1:9464'}", &["metrics: added"]),
        ("admin: {socket: /x}", &["admin.socket: changed"]),
        ("log: {format: json}", &["log.format: changed"]),
        (
            "ports: [{name: f, device: net_null_d9, role: fabric, mtu: 1400, addresses: ['fd00:1:0:1::1/64']}, {name: a, device: net_null_d1, role: access}, {name: b, device: net_null_d2, role: access}]",
            &["ports[0].device: changed", "ports[0].mtu: changed", "ports[2]: added"],
        ),
        ("sir_domains: [{name: tasks, prefix: '2001:db8:1::/64'}]", &["sir_domains[0].prefix: changed"]),
    ] {
        let expected: Vec<String> =
            expected.iter().map(|change| format!("{change}, needs a restart")).collect();
        assert_eq!(against_usual(line), expected, "{line}");
    }
}

#[test]
fn the_order_of_routes_means_nothing_and_paths_count_in_their_own_file() {
    let old = right("routes: [{prefix: '::/0', port: f}, {prefix: 'fd00:2::/32', port: f}]");
    let new = right("routes: [{prefix: 'fd00:2::/32', port: f}, {prefix: 'fd00:3::/32', port: f}]");
    assert_eq!(
        changes(&old, &new),
        ["routes[0]: removed, applied by a reload", "routes[1]: added, applied by a reload"]
    );
}
