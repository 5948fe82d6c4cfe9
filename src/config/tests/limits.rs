//! What protects the node and the fabric from tenants.

use super::{refused, right, text};
use crate::config::{Config, Limit, Limits, Quarantine, QuarantineMode, mappings};

/// One network in line 9 with these keys, and one tenant of it in line 7 with these.
fn with(network: &str, tenant: &str) -> String {
    let attachment = format!(
        "attachments: [{{port: a, mac: '02:00:00:00:00:0a', network: red, addresses: [10.0.0.5]{tenant}}}]"
    );
    let network = format!(
        "virtual_networks: [{{name: red, vnid: 100, domain: tasks, ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}]{network}}}]\n"
    );
    text("attachments", &attachment) + &network
}

fn accepted(network: &str, tenant: &str) -> Config {
    Config::parse(&with(network, tenant), "t.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn wrong(text: &str, expected: &str) {
    assert_eq!(refused(text).to_string(), expected);
}

#[test]
fn a_tenant_has_the_limits_of_its_network_but_for_its_own() {
    let usual = Limits::default();
    let config = accepted("", "");
    assert_eq!((config.virtual_networks[0].limits, config.attachments[0].limits), (usual, None));
    let config = accepted(", limits: {arp: {per_second: 7}, dad: {burst: 9}}", ", limits: {arp: {burst: 8}}");
    let network =
        Limits { arp: Limit { per_second: 7, ..usual.arp }, dad: Limit { burst: 9, ..usual.dad }, ..usual };
    assert_eq!(config.virtual_networks[0].limits, network);
    assert_eq!(
        config.attachments[0].limits,
        Some(Limits { arp: Limit { per_second: 7, burst: 8 }, ..network })
    );
}

#[test]
fn a_limit_is_neither_zero_nor_beyond_what_can_be_counted() {
    for (key, value, most) in
        [("per_second", "0", 10_000_000), ("per_second", "10000001", 10_000_000), ("burst", "0", 1_000_000)]
    {
        for kind in ["arp", "nd", "rarp", "dad", "unknown", "icmp_errors", "copies"] {
            let errors = refused(&with(&format!(", limits: {{{kind}: {{{key}: {value}}}}}"), ""));
            let [error] = errors.errors() else { panic!("{errors}") };
            assert_eq!(error.path, format!("virtual_networks[0].limits.{kind}.{key}"));
            assert_eq!(error.message, format!("`{value}` is not a number from 1 to {most}; choose one"));
        }
    }
}

#[test]
fn what_a_network_lets_other_nodes_have_copied_is_a_limit_like_any_other() {
    assert_eq!(accepted("", "").virtual_networks[0].received_copies, Limit::RECEIVED_COPIES);
    let config = accepted(", received_copies: {burst: 7}", "");
    assert_eq!(config.virtual_networks[0].received_copies, Limit { burst: 7, ..Limit::RECEIVED_COPIES });
    for (key, value, most) in [("per_second", "0", 10_000_000), ("burst", "1000001", 1_000_000)] {
        let errors = refused(&with(&format!(", received_copies: {{{key}: {value}}}"), ""));
        let [error] = errors.errors() else { panic!("{errors}") };
        assert_eq!(error.path, format!("virtual_networks[0].received_copies.{key}"));
        assert_eq!(error.message, format!("`{value}` is not a number from 1 to {most}; choose one"));
    }
}

#[test]
fn only_a_tenant_has_limits() {
    wrong(
        &text(
            "attachments",
            "attachments: [{port: a, mac: '02:00:00:00:00:0a', identifiers: ['2001:db8:dddd:0:2000::1'], limits: {}}]",
        ),
        "t.yaml:7:101: attachments[0].limits: only a tenant has limits; remove them, or name its network",
    );
}

#[test]
fn quarantine_is_for_those_who_want_it() {
    assert_eq!(right("mbufs: {}").quarantine, None);
    let usual =
        Quarantine { drops_per_second: 100, seconds: 5, duration_s: 60, mode: QuarantineMode::Control };
    assert_eq!(right("quarantine: {}").quarantine, Some(usual));
    let all = "quarantine: {drops_per_second: 1, seconds: 2, duration_s: 3, mode: all}";
    let strict = Quarantine { drops_per_second: 1, seconds: 2, duration_s: 3, mode: QuarantineMode::All };
    assert_eq!(right(all).quarantine, Some(strict));
    wrong(
        &text("quarantine", "quarantine: {seconds: 0, mode: some}"),
        "t.yaml:9:23: quarantine.seconds: `0` is not a number from 1 to 3600; choose one\n\
         t.yaml:9:32: quarantine.mode: `some` is not known; write one of control, all",
    );
}

#[test]
fn infrastructure_is_what_tenants_are_not_meant_to_reach() {
    let config = right("infrastructure: ['fd00:1::/32', '2001:db8:feed::/48']");
    assert_eq!(
        config.infrastructure,
        ["fd00:1::/32", "2001:db8:feed::/48"].map(|text| text.parse().unwrap())
    );
    let at = |prefix: &str| {
        let line = format!("infrastructure: ['fd00:1::/32', '{prefix}']");
        let network =
            "virtual_networks: [{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96'}}]";
        let errors = refused(&text("infrastructure", &format!("{line}\n{network}")));
        let [error] = errors.errors() else { panic!("{errors}") };
        assert_eq!((error.path.as_str(), error.line, error.column), ("infrastructure[1]", 9, 33));
        error.message.clone()
    };
    assert_eq!(at("fd00:1::/32"), "fd00:1::/32 is already infrastructure[0] (line 9); write it once");
    for wide in ["2001:db8:dddd::/48", "2001:db8:dddd:0:1::/80"] {
        let overlaps =
            "overlaps the SIR prefix of domain tasks, whose tasks tenants may speak to; leave it out";
        assert_eq!(at(wide), format!("{wide} {overlaps}"));
    }
    for wide in ["2001:db8:a::/48", "2001:db8:a::5/128"] {
        let overlaps = "overlaps the prefix of network red, which its tenants reach; leave it out";
        assert_eq!(at(wide), format!("{wide} {overlaps}"));
    }
    assert_eq!(at("ff00::/8"), "ff00::/8 is never routed; remove it");
    assert!(at("fd00::1/32").contains("fd00::1/32"), "{}", at("fd00::1/32"));
}

#[test]
fn a_networks_packets_fit_the_ports_of_its_tenants() {
    assert_eq!(accepted(", mtu: 1500", "").virtual_networks[0].mtu, 1500);
    wrong(
        &with(", mtu: 1501", ""),
        "t.yaml:7:60: attachments[0].network: mtu 1501 of network red does not fit mtu 1500 of port a; lower the one or \
         raise the other",
    );
}

#[test]
fn a_networks_prefix_holds_no_address_of_a_port() {
    wrong(
        &text(
            "virtual_networks",
            "virtual_networks: [{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96'}}]",
        )
        .replace("'fd00:1:0:1::1/64'", "'2001:db8:a::7/64'"),
        "t.yaml:9:71: virtual_networks[0].ipv6.prefix: 2001:db8:a::7 of port f lies under 2001:db8:a::/96; use a prefix \
         of the tenant's own",
    );
}

#[test]
fn an_address_that_stands_for_a_peer_has_no_mapping() {
    let config = accepted(", peers: [{address: 10.0.0.9, to: '2001:db8:dddd:0:2000::4'}]", "");
    let (mapped, free) = ("2001:db8:dddd:0:4000:64:a00:9", "2001:db8:dddd:0:4000:64:a00:8");
    let why =
        "10.0.0.9 stands for a peer in its virtual network; map the peer itself, or remove it from peers";
    for (entry, column) in [
        (format!("  - {{sir: \"{mapped}\", locators: [\"fd00:9::/64\"]}}\n"), 11),
        (format!("  - {{sir: {mapped}, blackhole: true}}\n"), 11),
    ] {
        let errors = mappings::parse(&format!("mappings:\n{entry}"), "m.yaml", &config).unwrap_err();
        assert_eq!(errors.to_string(), format!("m.yaml:2:{column}: mappings[0].sir: {why}"));
        assert!(
            mappings::parse(&format!("mappings:\n{}", entry.replace(mapped, free)), "m.yaml", &config)
                .is_ok()
        );
    }
    let rules = mappings::Rules::of(&config);
    assert_eq!(rules.record(mapped, &[], true).unwrap_err(), format!("{mapped}: {why}"));
    assert!(rules.record(free, &[], true).is_ok());
}

#[test]
fn a_reload_applies_all_of_it() {
    let changes = |old: &Config, new: &Config| -> Vec<String> {
        old.diff_class(new).iter().map(ToString::to_string).collect()
    };
    let usual = accepted("", "");
    assert_eq!(
        changes(&usual, &accepted(", limits: {nd: {burst: 7}}", "")),
        ["virtual_networks[0].limits: changed, applied by a reload"]
    );
    assert_eq!(
        changes(&usual, &accepted(", received_copies: {burst: 7}", "")),
        ["virtual_networks[0].received_copies: changed, applied by a reload"]
    );
    assert_eq!(changes(&usual, &accepted("", ", limits: {nd: {burst: 7}}")).len(), 2);
    let usual = right("mbufs: {}");
    for (line, expected) in [
        ("quarantine: {}", "quarantine: added"),
        ("infrastructure: ['fd00:9::/32']", "infrastructure[0]: added"),
    ] {
        assert_eq!(changes(&usual, &right(line)), [format!("{expected}, applied by a reload")]);
    }
    let modes = ["control", "all"].map(|mode| right(&format!("quarantine: {{mode: {mode}}}")));
    assert_eq!(changes(&modes[0], &modes[1]), ["quarantine.mode: changed, applied by a reload"]);
}
