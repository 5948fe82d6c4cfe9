//! Groups: where copies go, and who is a member by configuration.

use super::{refused, right, text};
use crate::config::{Departed, Moves, Multicast, TenantAddress};
use crate::mapping::InFlight;

/// A network with these further keys, in line 9.
fn network(keys: &str) -> String {
    format!(
        "virtual_networks: [{{name: red, vnid: 100, domain: tasks, ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}]{keys}}}]"
    )
}

/// The only error of a network with these keys.
fn at_network(keys: &str) -> String {
    let errors = refused(&text("virtual_networks", &network(keys)));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    format!("{}: {}", errors.errors()[0].path, errors.errors()[0].message)
}

/// A tenant with these groups; the network has IPv6 if `ipv6`.
fn tenant(groups: &str, ipv6: bool) -> String {
    let attachment = format!(
        "attachments: [{{port: a, mac: '02:00:00:00:00:0a', network: red, addresses: [10.0.0.5], groups: [{groups}]}}]"
    );
    let ipv6 = if ipv6 { ", ipv6: {prefix: '2001:db8:a::/96'}" } else { "" };
    text("attachments", &attachment) + &network(ipv6) + "\n"
}

fn at_group(group: &str, ipv6: bool) -> String {
    let errors = refused(&tenant(&format!("'{group}'"), ipv6));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert_eq!(errors.errors()[0].path, "attachments[0].groups[0]");
    errors.errors()[0].message.clone()
}

#[test]
fn copies_go_to_locators_that_are_known_once() {
    let line = network(", replicate_to: ['fd00:9::/64', 'fd00:1:0:1::/64']");
    // Our own is passed over later, so that one list serves every host.
    let locators = ["fd00:9::/64", "fd00:1:0:1::/64"].map(|text| text.parse().unwrap());
    assert_eq!(right(&line).virtual_networks[0].replicate_to, locators);
    assert_eq!(
        at_network(", replicate_to: ['fd00:9::/64', 'fd00:9::/64']"),
        "virtual_networks[0].replicate_to[1]: fd00:9::/64 is already virtual_networks[0].replicate_to[0] (line 9); one \
         copy is enough"
    );
    assert_eq!(
        at_network(", replicate_to: ['2001:db8:dddd::/64']"),
        "virtual_networks[0].replicate_to[0]: 2001:db8:dddd::/64 is the SIR prefix of domain tasks; a locator must not \
         be a SIR prefix"
    );
    let many: Vec<String> = (0..257).map(|n| format!("'fd00:9:0:{n:x}::/64'")).collect();
    assert_eq!(
        at_network(&format!(", replicate_to: [{}]", many.join(", "))),
        "virtual_networks[0].replicate_to: 257 locators; a network has at most 256"
    );
}

#[test]
fn copies_of_one_locator_belong_to_one_domain() {
    let domains = "sir_domains: [{name: tasks, prefix: '2001:db8:dddd::/64'}, {name: more, prefix: '2001:db8:eeee::/64'}]";
    let networks = "virtual_networks: [{name: red, vnid: 100, domain: tasks, replicate_to: ['fd00:9::/64']},\n \
                    {name: blue, vnid: 101, domain: more, replicate_to: ['fd00:9::/64']}]\n";
    let errors = refused(&(text("sir_domains", domains) + networks));
    assert_eq!(
        errors.to_string(),
        "t.yaml:10:55: virtual_networks[1].replicate_to[0]: fd00:9::/64 is already used in another SIR domain; a \
         locator belongs to exactly one SIR domain"
    );
}

#[test]
fn a_tenant_is_in_groups_of_families_that_its_network_has() {
    let config = crate::config::Config::parse(&tenant("239.1.2.3, 'ff05::1234'", true), "test.yaml").unwrap();
    assert_eq!(
        config.attachments[0].groups,
        [TenantAddress::V4(0xef01_0203), TenantAddress::V6(0xff05 << 112 | 0x1234)]
    );
    for (group, ipv6, message) in [
        ("10.0.0.7", true, "`10.0.0.7` is not a group; write for example 239.1.2.3 or ff05::1234"),
        ("x", true, "`x` is not a group; write for example 239.1.2.3 or ff05::1234"),
        ("ff05::1", false, "ff05::1 is IPv6, which network red has not; add ipv6 there"),
        ("ff15::1", true, "ff15::1 has no identifier; write a group from ff0X:: to ff0X::fff:ffff"),
        ("ff02::1:2", true, "ff02::1:2 is a group of scope 2, which never leaves its link; write 3 to e"),
        ("255.255.255.255", true, "broadcast is for every tenant with IPv4; remove it"),
        (
            "239.1.255.255",
            true,
            "239.1.255.255 ends in ffff, which neutral mapping cannot tell from 0000; use another group",
        ),
    ] {
        assert_eq!(at_group(group, ipv6), message);
    }
    // Where nothing is added to identifiers, one that ends in ffff is like no other.
    for (mode, fits) in
        [("neutral-map", false), ("neutral-map-auto", false), ("adj-transport", true), ("no-action", true)]
    {
        let text = tenant("239.1.255.255, 'ff05::ffff'", true).replace(
            "prefix: '2001:db8:dddd::/64'",
            &format!("prefix: '2001:db8:dddd::/64', checksum: {mode}"),
        );
        assert!(text.contains(mode), "{text}");
        match crate::config::Config::parse(&text, "test.yaml") {
            Ok(config) => assert!(fits && config.attachments[0].groups.len() == 2, "{mode}"),
            Err(errors) => assert!(!fits && errors.errors().len() == 2, "{mode}: {errors}"),
        }
    }
    let twice = refused(&tenant("239.1.2.3, 239.1.2.3", false)).to_string();
    assert!(twice.contains("groups[1]: `239.1.2.3` is already attachments[0].groups[0]"), "{twice}");
}

#[test]
fn a_task_is_in_no_groups() {
    let line = "attachments: [{port: a, mac: '02:00:00:00:00:0a', identifiers: ['2001:db8:dddd:0:2000::1'], groups: [239.1.2.3]}]";
    let errors = refused(&text("attachments", line)).to_string();
    assert!(
        errors.contains("groups: a task is in no groups; remove them, or write network and addresses"),
        "{errors}"
    );
}

#[test]
fn moves_hold_what_the_design_says_unless_the_file_says_otherwise() {
    let (packets, bytes, ms) = (1024, 2 << 20, 2000);
    let default = Moves {
        in_flight: InFlight::Auto,
        hold_packets: packets,
        hold_bytes: bytes,
        hold_ms: ms,
        release_per_second: 100_000,
        departed: Departed::Silent,
        scan_per_second: 100,
        scan_interval_s: 600,
        silence_questions: 0,
    };
    assert_eq!(right("mbufs: {}").moves, default);
    for (name, in_flight) in InFlight::ALL {
        assert_eq!(right(&format!("moves: {{in_flight: {name}}}")).moves, Moves { in_flight, ..default });
    }
    let line =
        "moves: {hold_packets: 0, hold_bytes: 1, hold_ms: 10, release_per_second: 1000, departed: icmp}";
    let (release_per_second, departed) = (1_000, Departed::Icmp);
    let changed =
        Moves { hold_packets: 0, hold_bytes: 1, hold_ms: 10, release_per_second, departed, ..default };
    assert_eq!(right(line).moves, changed);
    let line = "moves: {scan_per_second: 1, scan_interval_s: 0, silence_questions: 5}";
    let changed = Moves { scan_per_second: 1, scan_interval_s: 0, silence_questions: 5, ..default };
    assert_eq!(right(line).moves, changed);
    let errors = refused(&text("multicast", "moves: {in_flight: tunnels, hold_ms: 9}")).to_string();
    assert!(
        errors.contains("moves.in_flight: `tunnels` is not known; write one of auto, tunnel"),
        "{errors}"
    );
    assert!(errors.contains("moves.hold_ms: `9` is not a number from 10 to 60000"), "{errors}");
}

#[test]
fn multicast_has_the_defaults_of_the_standards() {
    let default = Multicast { query_interval_s: 125, groups_per_tenant: 64, groups_per_network: 4096 };
    assert_eq!(right("mbufs: {}").multicast, default);
    let changed = Multicast { query_interval_s: 2, groups_per_tenant: 0, groups_per_network: 1 };
    let line = "multicast: {query_interval_s: 2, groups_per_tenant: 0, groups_per_network: 1}";
    assert_eq!(right(line).multicast, changed);
    let errors = refused(&text("multicast", "multicast: {query_interval_s: 1}")).to_string();
    assert!(errors.contains("multicast.query_interval_s: `1` is not a number from 2 to 31744"), "{errors}");
}
