//! SIR domains and locators.

use super::{right, wrong};
use crate::config::{Config, OnMiss};
use crate::ila::ChecksumMode;
use std::net::Ipv6Addr;

#[test]
fn a_domain_has_a_name_and_a_prefix_of_64_bits() {
    wrong(
        "sir_domains: [{name: tasks, prefix: '2001:db8::/63'}]",
        "t.yaml:4:37: sir_domains[0].prefix: `2001:db8::/63` has length 63; a SIR prefix has 64 bits",
    );
    wrong(
        "sir_domains: [{name: tasks, prefix: '2001:db8::/64'}, {}]",
        "t.yaml:4:55: sir_domains[1].name: missing; write for example `name: tasks`\n\
         t.yaml:4:55: sir_domains[1].prefix: missing; write for example `prefix: \"2001:db8:dddd::/64\"`",
    );
}

#[test]
fn domains_differ_in_name_and_prefix() {
    wrong(
        "sir_domains: [{name: tasks, prefix: '2001:db8::/64'}, {name: tasks, prefix: '2001:db8:0::/64'}]",
        "t.yaml:4:62: sir_domains[1].name: `tasks` is already sir_domains[0].name (line 4); names are unique\n\
         t.yaml:4:77: sir_domains[1].prefix: overlapping SIR prefixes: 2001:db8::/64 is already \
         sir_domains[0].prefix (line 4); give each domain its own",
    );
}

#[test]
fn a_node_serves_sixteen_domains() {
    let domains = |count: u32| {
        let list: Vec<String> = (0..count)
            .map(|n| {
                format!(
                    "{{name: {}, prefix: '2001:db8:0:{n:x}::/64'}}",
                    if n == 0 { "tasks".into() } else { format!("d{n}") }
                )
            })
            .collect();
        format!("sir_domains: [{}]", list.join(", "))
    };
    assert_eq!(right(&domains(16)).sir_domains.len(), 16);
    let message = super::refused(&super::text("sir_domains", &domains(17))).to_string();
    assert!(
        message.ends_with("sir_domains[16]: more than 16 domains; a node serves at most 16"),
        "{message}"
    );
}

#[test]
fn a_miss_drops_or_routes_and_query_is_refused_until_it_works() {
    let line =
        |word: &str| format!("sir_domains: [{{name: tasks, prefix: '2001:db8::/64', on_miss: {word}}}]");
    assert_eq!(right(&line("route")).sir_domains[0].on_miss, OnMiss::Route);
    wrong(
        &line("query"),
        "t.yaml:4:63: sir_domains[0].on_miss: `query` is no rule for the packet; write route or drop, and `nva.mode: cache` to ask the authority",
    );
    wrong(&line("x"), "t.yaml:4:63: sir_domains[0].on_miss: `x` is not known; write one of drop, route");
}

#[test]
fn every_checksum_mode_is_known_by_its_name() {
    let line =
        |word: &str| format!("sir_domains: [{{name: tasks, prefix: '2001:db8::/64', checksum: {word}}}]");
    for mode in ChecksumMode::ALL {
        assert_eq!(right(&line(mode.name())).sir_domains[0].checksum, mode);
    }
    wrong(
        &line("x"),
        "t.yaml:4:64: sir_domains[0].checksum: `x` is not known; write one of neutral-map, neutral-map-auto, \
         adj-transport, no-action",
    );
}

#[test]
fn a_locator_belongs_to_one_known_domain() {
    wrong(
        "locators: [{prefix: 'fd00::/64', domain: x}]",
        "t.yaml:5:42: locators[0].domain: `x` is not the name of a SIR domain; add it to sir_domains",
    );
    wrong(
        "locators: [{prefix: 'fd00::/64', domain: tasks}, {prefix: 'fd00:0::/64', domain: tasks}]",
        "t.yaml:5:59: locators[1].prefix: fd00::/64 is already locators[0].prefix (line 5); a locator belongs to \
         exactly one SIR domain",
    );
    wrong(
        "locators: [{prefix: 'fe80::/64', domain: tasks}]",
        "t.yaml:5:21: locators[0].prefix: `fe80::/64` is not global unicast or unique local; a locator lies in \
         2000::/3 or fc00::/7",
    );
}

#[test]
fn a_locator_is_not_a_sir_prefix() {
    wrong(
        "locators: [{prefix: '2001:db8:dddd::/64', domain: tasks}]",
        "t.yaml:5:21: locators[0].prefix: 2001:db8:dddd::/64 is the SIR prefix of domain tasks; a locator must not \
         be a SIR prefix",
    );
}

#[test]
fn what_refers_to_a_wrong_domain_is_not_reported_again() {
    wrong(
        "sir_domains: [{name: tasks, prefix: x}]",
        "t.yaml:4:37: sir_domains[0].prefix: `x` is not an IPv6 prefix; write address/length, for example 2001:db8::/32",
    );
}

#[test]
fn payloads_skip_neutral_mapping_only_where_it_is_marked() {
    let line = |mode: &str| {
        format!(
            "sir_domains: [{{name: tasks, prefix: '2001:db8::/64', skip_unchecked: true, checksum: {mode}}}]"
        )
    };
    assert!(right(&line("neutral-map")).sir_domains[0].skip_unchecked);
    for mode in ["neutral-map-auto", "adj-transport", "no-action"] {
        let error = format!(
            "t.yaml:4:70: sir_domains[0].skip_unchecked: `true` has no effect with checksum {mode}; write neutral-map \
             there, or false"
        );
        wrong(&line(mode), &error);
    }
}

#[test]
fn an_address_belongs_to_the_domain_whose_sir_prefix_is_its_upper_half() {
    let config = right(
        "sir_domains: [{name: tasks, prefix: '2001:db8:dddd::/64'}, {name: b, prefix: '2001:db8:dddd:1::/64'}, \
         {name: c, prefix: '2001:db8:0:1::/64'}]",
    );
    let of = |address: &str| config.domain_of(address.parse::<Ipv6Addr>().unwrap().into());
    // First, middle and last domain; whatever the identifier is.
    for (address, domain) in [
        ("2001:db8:dddd::", 0),
        ("2001:db8:dddd:0:2000::1", 0),
        ("2001:db8:dddd:0:ffff:ffff:ffff:ffff", 0),
        ("2001:db8:dddd:1::", 1),
        ("2001:db8:dddd:1:2000::1", 1),
        ("2001:db8:0:1:3000::1", 2),
    ] {
        assert_eq!(of(address), Some(domain), "{address}");
    }
    // A /64 beside each of them, a shorter prefix in common, the prefix in the lower half, our locator,
    // nothing at all.
    for address in [
        "2001:db8:dddc:ffff:2000::1",
        "2001:db8:dddd:2:2000::1",
        "2001:db8:0:0:2000::1",
        "2001:db8:0:2:2000::1",
        "fd00::2001:db8:dddd:0",
        "fd00:1:0:1:2000::1",
        "::",
    ] {
        assert_eq!(of(address), None, "{address}");
    }
}

#[test]
fn without_domains_no_address_belongs_to_one() {
    let text = super::text("sir_domains", "sir_domains: []")
        .replace("locators: [{prefix: 'fd00:1:0:1::/64', domain: tasks}]", "locators: []");
    let config = Config::parse(&text, "t.yaml").unwrap();
    for address in [0, 1, 0x2001_0db8_dddd_0000_2000_0000_0000_0001, u128::MAX] {
        assert_eq!(config.domain_of(address), None, "{address:x}");
    }
}
