//! What the parser refuses, in our words and with the path.

use super::{refused, wrong};

#[test]
fn an_unknown_key_is_an_error_everywhere() {
    wrong(
        "node: {name: nve1, nmae: x}",
        "t.yaml:1:20: node.nmae: unknown key `nmae`; known here: name, state_dir",
    );
    wrong(
        "ports: [{name: a, device: net_null_b, role: access}, {mtuu: 3}]",
        "t.yaml:6:55: ports[1].mtuu: unknown key `mtuu`; known here: name, device, role, mac, queues, descriptors, mtu, \
         addresses, promiscuous, vlan, router_advertisement, external",
    );
    let message = refused("authority: {}\n").to_string();
    assert!(
        message.starts_with("t.yaml:1:1: authority: unknown key `authority`; known here: node, dpdk, mbufs"),
        "{message}"
    );
}

#[test]
fn a_key_that_stands_twice_is_an_error() {
    wrong("node: {name: a, name: b}", "t.yaml:1:17: node.name: the key stands here twice; remove one");
}

#[test]
fn a_value_of_the_wrong_shape_is_an_error_with_its_path() {
    wrong("ports: {a: b}", "t.yaml:6:8: ports: expected sequence start; correct the YAML here");
    wrong("ports: [x]", "t.yaml:6:9: ports[0]: expected mapping start; correct the YAML here");
    wrong("node: {name: [x]}", "t.yaml:1:14: node.name: expected string scalar; correct the YAML here");
    wrong(
        "dpdk: {workers: [~]}",
        "t.yaml:2:18: dpdk.workers[0]: an empty value; write one or remove the entry",
    );
}

/// YAML 1.1 reads these as octal numbers and YAML 1.2 as decimal ones.
#[test]
fn a_number_that_begins_with_zero_is_an_error_everywhere() {
    for (line, path, decimal) in [
        ("virtual_networks: [{name: red, vnid: 0100, domain: tasks}]", "virtual_networks[0].vnid", "100"),
        ("virtual_networks: [{name: red, vnid: \"0100\", domain: tasks}]", "virtual_networks[0].vnid", "100"),
        ("dpdk: {workers: [01]}", "dpdk.workers[0]", "1"),
        ("dpdk: {workers: [1], memory_mib: 0512}", "dpdk.memory_mib", "512"),
        ("ports: [{name: a, device: b, role: fabric, mtu: 01500}]", "ports[0].mtu", "1500"),
        ("ports: [{name: a, device: b, role: fabric, vlan: 012}]", "ports[0].vlan", "12"),
        ("icmp: {errors_per_second: 00}", "icmp.errors_per_second", "0"),
        ("mappings: {file: m, max_bytes: 010000}", "mappings.max_bytes", "10000"),
    ] {
        let message = refused(line).to_string();
        let words = format!("begins with 0 and may be octal; write {decimal} if it is decimal");
        assert!(message.contains(path) && message.contains(&words), "{line}: {message}");
    }
    for line in ["icmp: {errors_per_second: 0x10}", "icmp: {errors_per_second: 0o10}", "icmp: {burst: 1_000}"]
    {
        assert!(refused(line).to_string().contains("is not a number from"), "{line}");
    }
}

#[test]
fn text_that_is_not_yaml_is_an_error_with_its_place() {
    assert_eq!(
        refused("node: {name: a\n").to_string(),
        "t.yaml:1:7: unclosed bracket '{'; correct the YAML here"
    );
}

#[test]
fn an_empty_file_misses_what_is_required() {
    assert_eq!(
        refused("").to_string(),
        "t.yaml:1:1: node.name: missing; write for example `name: nve1`\n\
         t.yaml:1:1: dpdk.workers: missing; name at least one core, for example `workers: [1]`\n\
         t.yaml:1:1: ports: missing; a node needs at least one port"
    );
}

#[test]
fn all_errors_of_a_file_are_reported_in_its_order() {
    let text = "ports:\n  - {name: f, device: net_null_d, role: fabric, mtu: 9600}\n  - {name: f, device: net_null_e, role: x}\n\
                dpdk: {workers: [1]}\nnode: {name: A}\n";
    assert_eq!(
        refused(text).to_string(),
        "t.yaml:2:54: ports[0].mtu: 9600 does not fit an mbuf of 2176 bytes; raise mbufs.data_bytes to 9746\n\
         t.yaml:3:12: ports[1].name: `f` is already ports[0].name (line 2); names are unique\n\
         t.yaml:3:41: ports[1].role: `x` is not known; write one of fabric, external, access\n\
         t.yaml:5:14: node.name: `A` is not a name; use 1 to 32 characters of a-z, 0-9 and -"
    );
}

#[test]
fn control_characters_of_a_value_do_not_break_the_line() {
    wrong(
        "node: {name: \"a\\nb\"}",
        "t.yaml:1:14: node.name: `a\\nb` is not a name; use 1 to 32 characters of a-z, 0-9 and -",
    );
}
