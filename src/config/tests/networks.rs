//! Virtual networks.

use super::{refused, right, text, wrong};
use crate::config::{Config, Limits, NetworkIpv4, NetworkIpv6, VirtualNetwork};
use crate::net::Mac;

/// The only error of a network with these keys besides name, VNID and domain.
fn at(keys: &str, path: &str) -> String {
    let line = format!("virtual_networks: [{{name: red, vnid: 100, domain: tasks, {keys}}}]");
    let errors = refused(&text("virtual_networks", &line));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let error = &errors.errors()[0];
    assert_eq!((error.path.as_str(), error.line), (format!("virtual_networks[0].{path}").as_str(), 9));
    error.message.clone()
}

/// The message at the IPv6 prefix of a network.
fn at_prefix(prefix: &str) -> String {
    at(&format!("ipv6: {{prefix: '{prefix}'}}"), "ipv6.prefix")
}

/// The message at a key of the only subnet of a network.
fn at_subnet(prefix: &str, gateway: &str, key: &str) -> String {
    at(&format!("ipv4: [{{prefix: {prefix}, gateway: {gateway}}}]"), &format!("ipv4[0].{key}"))
}

#[test]
fn a_network_with_every_key() {
    let config = right(
        "virtual_networks: [{name: red, vnid: 268435455, domain: tasks, mac: '02:00:5e:00:00:07', mtu: 9000, \
         ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, \
         ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}, {prefix: 10.0.1.0/31, gateway: 10.0.1.0}]}]",
    );
    let subnet = |prefix: &str, gateway| NetworkIpv4 { prefix: prefix.parse().unwrap(), gateway };
    assert_eq!(
        *config.virtual_networks,
        [VirtualNetwork {
            name: "red".into(),
            vnid: 0x0fff_ffff,
            domain: 0,
            mac: Mac([2, 0, 0x5e, 0, 0, 7]),
            mtu: 9000,
            ipv6: Some(NetworkIpv6 {
                prefix: "2001:db8:a::/96".parse().unwrap(),
                gateway: Some(0x2001_0db8_000a << 80 | 1),
            }),
            ipv4: vec![subnet("10.0.0.0/24", 0x0a00_0001), subnet("10.0.1.0/31", 0x0a00_0100)],
            peers: Vec::new(),
            limits: Limits::default(),
            received_copies: crate::config::Limit::RECEIVED_COPIES,
            replicate_to: Vec::new(),
            exclusive: false,
        }]
    );
}

#[test]
fn what_a_network_may_leave_out() {
    let config =
        right("virtual_networks: [{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:a::/96'}}]");
    let network = &config.virtual_networks[0];
    assert_eq!((network.mac, network.mtu), (Mac([2, 0, 0x5e, 0, 0, 1]), 1500));
    assert_eq!((network.ipv6.unwrap().gateway, network.ipv4.len()), (None, 0));
    assert!(right("mbufs: {}").virtual_networks.is_empty());
}

#[test]
fn what_a_network_needs() {
    wrong(
        "virtual_networks: [{ipv6: {}, ipv4: [{}]}]",
        "t.yaml:9:20: virtual_networks[0].name: missing; write for example `name: red`\n\
         t.yaml:9:20: virtual_networks[0].vnid: missing; write for example `vnid: 100`\n\
         t.yaml:9:20: virtual_networks[0].domain: missing; write for example `domain: tasks`\n\
         t.yaml:9:27: virtual_networks[0].ipv6.prefix: missing; write for example `prefix: \"2001:db8:a::/96\"`\n\
         t.yaml:9:38: virtual_networks[0].ipv4[0].prefix: missing; write for example `prefix: \"10.0.0.0/24\"`\n\
         t.yaml:9:38: virtual_networks[0].ipv4[0].gateway: missing; write for example `gateway: \"10.0.0.1\"`",
    );
}

#[test]
fn names_and_vnids_are_unique() {
    wrong(
        "virtual_networks: [{name: red, vnid: 1, domain: tasks}, {name: red, vnid: 1, domain: tasks}]",
        "t.yaml:9:64: virtual_networks[1].name: `red` is already virtual_networks[0].name (line 9); names are unique\n\
         t.yaml:9:75: virtual_networks[1].vnid: 1 is already virtual_networks[0].vnid (line 9); give each network its own",
    );
    for word in ["outside", "other"] {
        wrong(
            &format!("virtual_networks: [{{name: {word}, vnid: 1, domain: tasks}}]"),
            &format!(
                "t.yaml:9:27: virtual_networks[0].name: `{word}` means something else; use another name"
            ),
        );
    }
    wrong(
        "virtual_networks: [{name: 'a b', vnid: 1, domain: tasks}]",
        "t.yaml:9:27: virtual_networks[0].name: `a b` is not a name; use 1 to 32 characters of a-z, A-Z, 0-9, -, _ and .",
    );
}

#[test]
fn a_vnid_has_28_bits_and_is_not_0() {
    for vnid in ["0", "268435456", "-1", "x"] {
        wrong(
            &format!("virtual_networks: [{{name: red, domain: tasks, vnid: {vnid}}}]"),
            &format!(
                "t.yaml:9:53: virtual_networks[0].vnid: `{vnid}` is not a number from 1 to 268435455; choose one"
            ),
        );
    }
}

#[test]
fn a_network_lives_in_a_domain_that_exists() {
    wrong(
        "virtual_networks: [{name: red, vnid: 1, domain: x}]",
        "t.yaml:9:49: virtual_networks[0].domain: `x` is not the name of a SIR domain; add it to sir_domains",
    );
}

#[test]
fn the_gateway_has_a_unicast_mac_address() {
    let rule = "write the unicast address of the interface";
    assert_eq!(
        at("mac: '01:00:5e:00:00:01'", "mac"),
        format!("01:00:5e:00:00:01 is a group address; {rule}")
    );
    assert_eq!(at("mac: '00:00:00:00:00:00'", "mac"), format!("00:00:00:00:00:00 is no address; {rule}"));
}

#[test]
fn the_mtu_has_limits() {
    for mtu in ["1279", "9601", "x"] {
        let message = format!("`{mtu}` is not a number from 1280 to 9600; choose one");
        assert_eq!(at(&format!("mtu: {mtu}"), "mtu"), message);
    }
}

#[test]
fn an_ipv6_prefix_has_96_bits_of_unicast() {
    for length in [64, 95, 97] {
        let message =
            format!("2001:db8:a::/{length} has length {length}; the prefix of a network has 96 bits");
        assert_eq!(at_prefix(&format!("2001:db8:a::/{length}")), message);
    }
    assert_eq!(
        at_prefix("2001:db8:a::1/96"),
        "`2001:db8:a::1/96` has bits set beyond its length; write 2001:db8:a::/96"
    );
    let rule = "write a global or unique local unicast prefix";
    assert_eq!(at_prefix("fe80::/96"), format!("fe80::/96 is link-local; {rule}"));
    assert_eq!(at_prefix("febf:1::/96"), format!("febf:1::/96 is link-local; {rule}"));
    assert_eq!(at_prefix("ff05::/96"), format!("ff05::/96 is multicast; {rule}"));
    for prefix in ["::/96", "::ffff:0.0.0.0/96"] {
        assert!(at_prefix(prefix).contains("is for IPv4 addresses in IPv6 ones; "), "{prefix}");
    }
}

#[test]
fn an_ipv6_prefix_is_neither_ours_nor_a_domains() {
    assert_eq!(
        at_prefix("2001:db8:dddd::/96"),
        "2001:db8:dddd::/96 lies under the SIR prefix of domain tasks; use a prefix of the tenant's own"
    );
    assert_eq!(
        at_prefix("fd00:1:0:1:7::/96"),
        "fd00:1:0:1:7::/96 lies under our locator fd00:1:0:1::/64; use a prefix of the tenant's own"
    );
    right("virtual_networks: [{name: red, vnid: 1, domain: tasks, ipv6: {prefix: '2001:db8:ddde::/96'}}]");
}

#[test]
fn an_ipv6_prefix_belongs_to_one_network() {
    let two = |second: &str| {
        format!(
            "virtual_networks: [{{name: a, vnid: 1, domain: tasks, ipv6: {{prefix: '2001:db8:a::/96'}}}}, \
             {{name: b, vnid: 2, domain: tasks, ipv6: {{prefix: '{second}'}}}}]"
        )
    };
    wrong(
        &two("2001:db8:a:0::/96"),
        "t.yaml:9:139: virtual_networks[1].ipv6.prefix: 2001:db8:a::/96 is already virtual_networks[0].ipv6.prefix \
         (line 9); give each network its own",
    );
    assert_eq!(right(&two("2001:db8:a:0:0:1::/96")).virtual_networks.len(), 2);
}

#[test]
fn an_ipv6_gateway_lies_under_the_prefix() {
    let gateway =
        |text: &str| at(&format!("ipv6: {{prefix: '2001:db8:a::/96', gateway: '{text}'}}"), "ipv6.gateway");
    assert_eq!(
        gateway("2001:db8:a::1:0:1"),
        "2001:db8:a::1:0:1 does not lie under 2001:db8:a::/96; use an address that does"
    );
    assert_eq!(gateway("10.0.0.1"), "`10.0.0.1` is not an IPv6 address; write for example 2001:db8:a::1");
}

#[test]
fn a_subnet_is_unicast() {
    for (prefix, refused, kind) in [
        ("0.0.0.0/0", "0.0.0.0/8", "\"this host\""),
        ("0.1.0.0/16", "0.0.0.0/8", "\"this host\""),
        ("127.0.0.0/24", "127.0.0.0/8", "loopback"),
        ("169.254.1.0/24", "169.254.0.0/16", "link-local"),
        ("239.0.0.0/8", "224.0.0.0/4", "multicast"),
        ("255.255.255.0/24", "255.255.255.255/32", "broadcast"),
    ] {
        let first = prefix.parse::<crate::net::Ipv4Prefix>().unwrap().bits() + 1;
        assert_eq!(
            at_subnet(prefix, &std::net::Ipv4Addr::from(first).to_string(), "prefix"),
            format!("{prefix} overlaps {refused} ({kind}); use a unicast subnet")
        );
    }
    assert_eq!(
        at_subnet("10.0.0.1/24", "10.0.0.1", "prefix"),
        "`10.0.0.1/24` has bits set beyond its length; write 10.0.0.0/24"
    );
}

#[test]
fn subnets_of_a_network_are_apart() {
    let two = |a: &str, b: &str| {
        format!("ipv4: [{{prefix: {a}, gateway: 10.0.0.1}}, {{prefix: {b}, gateway: 10.0.0.1}}]")
    };
    for (a, b) in
        [("10.0.0.0/24", "10.0.0.0/24"), ("10.0.0.0/8", "10.0.0.0/24"), ("10.0.0.0/24", "10.0.0.0/16")]
    {
        let message = format!(
            "{b} overlaps {a}, which is virtual_networks[0].ipv4[0].prefix (line 9); subnets of a network are apart"
        );
        assert_eq!(at(&two(a, b), "ipv4[1].prefix"), message);
    }
    let network = |n: u8| {
        format!(
            "{{name: n{n}, vnid: {n}, domain: tasks, ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}]}}"
        )
    };
    let config = right(&format!("virtual_networks: [{}, {}]", network(1), network(2)));
    assert_eq!(config.virtual_networks[0].ipv4, config.virtual_networks[1].ipv4);
}

#[test]
fn the_gateway_of_a_subnet_is_a_host_of_it() {
    assert_eq!(
        at_subnet("10.0.0.0/24", "10.0.1.1", "gateway"),
        "10.0.1.1 does not lie under 10.0.0.0/24; use an address that does"
    );
    let rule = "use one between its first and its last";
    assert_eq!(
        at_subnet("10.0.0.0/24", "10.0.0.0", "gateway"),
        format!("10.0.0.0 is the address of the network 10.0.0.0/24; {rule}")
    );
    assert_eq!(
        at_subnet("10.0.0.0/24", "10.0.0.255", "gateway"),
        format!("10.0.0.255 is the broadcast address of 10.0.0.0/24; {rule}")
    );
    assert_eq!(
        at_subnet("10.0.0.0/24", "'2001:db8:a::1'", "gateway"),
        "`2001:db8:a::1` is not an IPv4 address; write for example 10.0.0.1"
    );
    right(
        "virtual_networks: [{name: a, vnid: 1, domain: tasks, ipv4: [{prefix: 10.0.0.0/31, gateway: 10.0.0.1}]}]",
    );
}

/// A network with this many subnets.
fn subnets(count: u8) -> String {
    let list: Vec<String> =
        (0..count).map(|n| format!("{{prefix: 10.0.{n}.0/24, gateway: 10.0.{n}.1}}")).collect();
    format!("ipv4: [{}]", list.join(", "))
}

#[test]
fn subnets_and_networks_are_counted() {
    assert_eq!(at(&subnets(65), "ipv4"), "65 subnets; a network has at most 64");
    let most = format!("virtual_networks: [{{name: a, vnid: 1, domain: tasks, {}}}]", subnets(64));
    assert_eq!(right(&most).virtual_networks[0].ipv4.len(), 64);
    let networks = |count: u32| {
        let list: Vec<String> =
            (1..=count).map(|n| format!("{{name: n{n}, vnid: {n}, domain: tasks}}")).collect();
        text("virtual_networks", &format!("virtual_networks: [{}]", list.join(", ")))
    };
    let errors = refused(&networks(4097));
    assert_eq!(errors.errors().len(), 1);
    assert_eq!(
        (errors.errors()[0].path.as_str(), errors.errors()[0].message.as_str()),
        ("virtual_networks[4096]", "more than 4096 networks; a node has at most 4096")
    );
    assert_eq!(Config::parse(&networks(4096), "t.yaml").unwrap().virtual_networks.len(), 4096);
}
