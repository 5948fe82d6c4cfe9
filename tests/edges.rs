//! Who may say what: every cell of the tables in `docs/security.md`, on the fast path and on the stages, as whole packets
//! and as fragments (BCP 38, BCP 84, ILA draft §6, VMM draft §10).
//!
//! `EDGES_PRINT=1 cargo test --test edges -- --nocapture` prints the tables as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::net::Mac;
use ilagate::node::replay::Replay;
use ilagate::path::DropReason;
use std::collections::BTreeMap;
use support::packets::*;
use support::*;

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xff]);
const TASK: Mac = Mac([2, 0, 0, 0, 2, 1]);
const VM: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// Where a frame for the router on each port goes: to the port, to the domain of tasks, to the network.
const PORTS: [Mac; 4] =
    [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3]), Mac([2, 0, 0x5e, 0, 0, 1])];

const NODE: &str = r#"
node: {name: edge}
dpdk: {workers: [1]}
icmp: {errors_per_second: 1000000, burst: 1000000}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "02:00:00:00:00:03"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
infrastructure: ["fd00:f::/32", "2001:db8:1f::/48"]
ports:
  - {name: fabric0, device: net_null_a0, role: fabric, mac: "02:00:00:00:00:01", addresses: ["fd00:2:0:fe::1/64"]}
  - {name: ext0, device: net_null_b0, role: external, mac: "02:00:00:00:00:02", addresses: ["2001:db8:ff::1/64"], EXTERNAL}
  - {name: access0, device: net_null_c0, role: access, mac: "02:00:00:00:00:13", addresses: ["2001:db8:77::1/64"]}
  - {name: access1, device: net_null_d0, role: access, mac: "02:00:00:00:00:14"}
attachments:
  - {port: access0, mac: "02:00:00:00:02:01", identifiers: ["2001:db8:dddd:0:2000::1"], prefixes: ["2001:db8:88::/48"]}
  - {port: access0, mac: "02:00:00:00:02:02", identifiers: ["2001:db8:dddd:0:2000::2"]}
  TENANT
routes:
  - {prefix: "fd00::/16", via: "fd00:2:0:fe::ff", port: fabric0}
  - {prefix: "2001:db8:1f::/48", via: "fd00:2:0:fe::ff", port: fabric0}
  - {prefix: "::/0", via: "2001:db8:ff::ff", port: ext0}
neighbours:
  static:
    - {port: fabric0, address: "fd00:2:0:fe::ff", mac: "02:00:00:00:00:ff"}
    - {port: ext0, address: "2001:db8:ff::ff", mac: "02:00:00:00:00:ff"}
"#;

const TENANT: &str = r#"- {port: access1, mac: "02:00:00:00:01:01", network: red, addresses: ["2001:db8:a::1", "10.0.0.1"]}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, mac: "02:00:5e:00:00:01", ipv6: {prefix: "2001:db8:a::/96"}, ipv4: [{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}]}
policies: [{from: red, to: outside}, {from: outside, to: red}]"#;

/// The node, where external ports have further keys, with or without virtual networks, with or without fast path.
fn node(external: &str, networks: bool, fast: bool) -> Node {
    let tenant = if networks { TENANT } else { "" };
    let text = NODE.replace("EXTERNAL", external).replace("TENANT", tenant);
    let config = Config::parse(&text, "edge.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut mapped: Vec<(String, &str)> = vec![("2001:db8:dddd:0:2000::3".into(), "fd00:1:0:3::/64")];
    if networks {
        mapped.push(("2001:db8:dddd:0:6000:64:0:2".into(), "fd00:1:0:3::/64"));
        mapped.push(("2001:db8:dddd:0:4000:64:a00:2".into(), "fd00:1:0:3::/64"));
    }
    let records = records(&config, &mapped);
    let replay = Replay::new(config.clone(), records).unwrap();
    Node::of(config, if fast { replay } else { replay.without_fast_path() })
}

/// Sources by the name of their row.
const SOURCES: &[(&str, &str)] = &[
    ("unspecified", "::"),
    ("link-local", "fe80::9"),
    ("martian", "::ffff:192.0.2.1"),
    ("group", "ff0e::1"),
    ("own", "2001:db8:ff::1"),
    ("own, other port", "fd00:2:0:fe::1"),
    ("task, this attachment", "2001:db8:dddd:0:2000::1"),
    ("task, other attachment here", "2001:db8:dddd:0:2000::2"),
    ("task elsewhere", "2001:db8:dddd:0:2000::3"),
    ("SIR, unbound", "2001:db8:dddd:0:2000::99"),
    ("SIR, node", "2001:db8:dddd::99"),
    ("SIR, C-bit", "2001:db8:dddd:0:3000::3"),
    ("tenant, this attachment", "2001:db8:a::1"),
    ("tenant elsewhere", "2001:db8:a::2"),
    ("tenant's IPv4 in SIR", "2001:db8:dddd:0:4000:64:a00:2"),
    ("unknown network's IPv4 in SIR", "2001:db8:dddd:0:4000:65:a00:2"),
    ("ILA form, own locator", "fd00:1:0:1:2000::1"),
    ("ILA form, other locator", "fd00:1:0:3:2000::3"),
    ("node under a locator", "fd00:1:0:3::1"),
    ("infrastructure", "fd00:f::5"),
    ("fabric subnet", "fd00:2:0:fe::5"),
    ("access subnet", "2001:db8:77::5"),
    ("listed prefix of the task", "2001:db8:88::5"),
    ("global", "2001:db8:9::9"),
];

/// Destinations by the name of their column.
const DESTINATIONS: &[(&str, &str)] = &[
    ("own", "2001:db8:ff::1"),
    ("own, fabric", "fd00:2:0:fe::1"),
    ("task", "2001:db8:dddd:0:2000::3"),
    ("tenant", "2001:db8:a::2"),
    ("IPv4 in SIR", "2001:db8:dddd:0:4000:64:a00:2"),
    ("ILA form", "fd00:1:0:3:2000::3"),
    ("ILA, own", "fd00:1:0:1:2000::1"),
    ("ILA group", "fd00:1:0:1:5000:64:a00:ff"),
    ("infra", "2001:db8:1f::5"),
    ("outside", "2001:db8:9::1"),
    ("node under a locator", "fd00:1:0:3::9"),
    ("martian", "::ffff:192.0.2.1"),
    ("link-local", "fe80::99"),
];

/// Ports by the heading of their table: the port, whether the node has networks, and who sends.
const TABLES: &[(&str, &str, bool, Mac)] = &[
    ("From a fabric port", "fabric0", true, ROUTER),
    ("From an external port", "ext0", true, ROUTER),
    ("From an external port of a node without virtual networks", "ext0", false, ROUTER),
    ("From a task", "access0", true, TASK),
    ("From a tenant", "access1", true, VM),
];

/// The name of a fate in the tables.
fn word(fate: Fate) -> String {
    match fate {
        Fate::Forwarded => "yes".to_owned(),
        // The packet reached the node itself, which serves no such port.
        Fate::Replied(Some(DropReason::NotServed))
        | Fate::Dropped(DropReason::NotServed | DropReason::FragmentForUs) => "here".to_owned(),
        Fate::Dropped(reason) | Fate::Replied(Some(reason)) => reason.label().to_owned(),
        other => format!("{other:?}"),
    }
}

/// The forms in which a packet is tried: UDP, TCP, a first and a later fragment, and behind a destination option.
fn forms(source: u128, destination: u128) -> Vec<Vec<u8>> {
    let datagram = udp(source, destination, b"who may say what");
    let first = [&[17, 0, 0, 1, 0, 0, 0, 7][..], &datagram].concat();
    let later = [&[17, 0, 0, 0x10, 0, 0, 0, 7][..], &[0; 24]].concat();
    let behind = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
    vec![
        ipv6(source, destination, 17, &datagram),
        ipv6(source, destination, 6, &tcp(source, destination, b"who may say what")),
        ipv6(source, destination, 44, &first),
        ipv6(source, destination, 44, &later),
        ipv6(source, destination, 60, &behind),
    ]
}

/// What becomes of a packet, the same in all forms and on both paths.
fn cell(nodes: &mut [Node; 2], table: &(&str, &str, bool, Mac), source: &str, destination: &str) -> String {
    let (heading, port, _, mac) = *table;
    let at = ["fabric0", "ext0", "access0", "access1"].iter().position(|name| *name == port);
    let port_mac = PORTS[at.unwrap()];
    let mut words = Vec::new();
    for packet in forms(address(source), address(destination)) {
        for node in nodes.iter_mut() {
            let fate = node.receive(port, &frame(port_mac, mac, &packet)).fate;
            node.wait_ms(1000);
            words.push(word(fate));
        }
    }
    let first = words[0].clone();
    assert!(words.iter().all(|word| *word == first), "{heading}, {source} to {destination}: {words:?}");
    first
}

/// The tables of the document: heading, row, column, word. A row may name several sources.
fn documented() -> BTreeMap<(String, String, String), String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).unwrap();
    let (mut cells, mut heading, mut columns) = (BTreeMap::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            (heading, columns) = (title.to_owned(), Vec::new());
        }
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let row: Vec<String> =
            row.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        if columns.is_empty() {
            columns = row;
        } else {
            for (column, word) in columns.iter().zip(&row).skip(1) {
                for source in row[0].split("; ") {
                    cells.insert((heading.clone(), source.to_owned(), column.clone()), word.clone());
                }
            }
        }
    }
    cells
}

#[test]
fn every_cell_of_the_tables_is_what_happens() {
    let print = std::env::var_os("EDGES_PRINT").is_some();
    let documented = if print { BTreeMap::new() } else { documented() };
    let legend = |label: &str| match label {
        "spoofed_source" => "spoof".to_owned(),
        "martian_source" | "martian_destination" => "martian".to_owned(),
        "link_local" => "link".to_owned(),
        "external_to_fabric" | "tenant_to_fabric" => "fabric".to_owned(),
        "no_policy" => "policy".to_owned(),
        "no_mapping" => "unmapped".to_owned(),
        other => other.to_owned(),
    };
    let mut wrong = Vec::new();
    for table in TABLES {
        let mut nodes = [node("mtu: 1500", table.2, true), node("mtu: 1500", table.2, false)];
        if print {
            println!("\n### {}\n", table.0);
            let columns: Vec<&str> = DESTINATIONS.iter().map(|(name, _)| *name).collect();
            println!("| source | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
        }
        let mut rows: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for (row, source) in SOURCES {
            let mut words = Vec::new();
            for (column, destination) in DESTINATIONS {
                let is = legend(&cell(&mut nodes, table, source, destination));
                let told = documented.get(&(table.0.to_owned(), (*row).to_owned(), (*column).to_owned()));
                if told != Some(&is) {
                    wrong.push(format!("{}: {row} to {column}: {is}, documented {told:?}", table.0));
                }
                words.push(is);
            }
            match rows.iter_mut().find(|(_, same)| *same == words) {
                Some((names, _)) => names.push(row),
                None => rows.push((vec![row], words)),
            }
        }
        for (names, words) in rows.iter().filter(|_| print) {
            println!("| {} | {} |", names.join("; "), words.join(" | "));
        }
    }
    assert!(print || wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_address_that_embeds_another_is_as_any_other_and_what_no_wire_carries_is_a_martian() {
    let rows = |destination: &str| {
        let of = |source| at_external("mtu: 1500", source, destination);
        (of("2001:db8:9::9"), of("::ffff:192.0.2.1"))
    };
    for (_, destination) in DESTINATIONS {
        let (global, martian) = rows(destination);
        // 6to4, Teredo, NAT64, ISATAP and IPv4-translated, of addresses that are inside as IPv4 or as themselves.
        for embeds in [
            "2002:a00:1::1",
            "2002:7f00:1::1",
            "2002:e000:1::1",
            "2001:0:a00:1::f5ff:fffe",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "2001:470:1:2:0:5efe:a00:1",
            "::ffff:0:10.0.0.1",
        ] {
            assert_eq!(at_external("mtu: 1500", embeds, destination), global, "{embeds} to {destination}");
        }
        for unsound in [
            "::",
            "::1",
            "::10.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "ff02::1",
            "ff0e::1",
            "ffff::1",
        ] {
            assert_eq!(at_external("mtu: 1500", unsound, destination), martian, "{unsound} to {destination}");
        }
    }
    for unsound in ["::", "::1", "::10.0.0.1", "::ffff:10.0.0.1"] {
        for source in ["2001:db8:9::9", "fe80::9"] {
            assert_eq!(
                at_external("mtu: 1500", source, unsound),
                "martian_destination",
                "{source} to {unsound}"
            );
        }
    }
    // An address that speaks with itself, from outside: this node, tasks and tenants do not.
    for own in ["2001:db8:ff::1", "2001:db8:dddd:0:2000::3", "2001:db8:a::2", "fd00:1:0:3:2000::3"] {
        assert_eq!(at_external("mtu: 1500", own, own), "spoofed_source", "{own}");
    }
}

#[test]
fn a_frame_is_of_the_vlan_of_its_only_tag() {
    let cases = [
        ("ext0", 1, ROUTER, "2001:db8:9::9", "2001:db8:9::1"),
        ("access0", 2, TASK, "2001:db8:dddd:0:2000::1", "2001:db8:9::1"),
        ("access1", 3, VM, "2001:db8:a::1", "2001:db8:9::1"),
    ];
    for (port, at, mac, source, destination) in cases {
        let (source, destination) = (address(source), address(destination));
        let packet = ipv6(source, destination, 17, &udp(source, destination, b"x"));
        let with = |tags: &[[u8; 4]]| {
            let plain = frame(PORTS[at], mac, &packet);
            [&plain[..12], tags.as_flattened(), &plain[12..]].concat()
        };
        for fast in [true, false] {
            let fate = |tags: &[[u8; 4]]| node("mtu: 1500", true, fast).receive(port, &with(tags)).fate;
            // VLAN 0 has a priority only (IEEE 802.1Q §6.9).
            for tags in [&[][..], &[[0x81, 0, 0, 0]], &[[0x81, 0, 0xe0, 0]]] {
                assert_eq!(fate(tags), Fate::Forwarded, "{port} {tags:?}");
            }
            for tags in [[0x81, 0, 0, 7], [0x81, 0, 0xf, 0xff], [0x81, 0, 0x10, 1]] {
                assert_eq!(fate(&[tags]), Fate::Dropped(DropReason::UnknownVlan), "{port} {tags:?}");
            }
            // A second tag, and those of provider bridges.
            for tags in [&[[0x81, 0, 0, 0], [0x81, 0, 0, 0]][..], &[[0x88, 0xa8, 0, 0]], &[[0x91, 0, 0, 0]]] {
                let refused = [DropReason::UnknownEthertype, DropReason::UnknownVlan].map(Fate::Dropped);
                assert!(refused.contains(&fate(tags)), "{port} {tags:?}: {:?}", fate(tags));
            }
        }
    }
}

#[test]
fn a_tenants_ipv4_comes_from_its_own_address_and_takes_no_route_of_its_own() {
    let packet = |from: [u8; 4], to: [u8; 4], options: &[u8]| {
        let packet = tenants::ipv4_packet(from, to, 64, b"x");
        let (head, rest) = packet.split_at(20);
        let mut packet = [head, options, rest].concat();
        packet[0] = 0x45 + (options.len() / 4) as u8;
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        ilagate::net::ipv4::seal(&mut packet[..20 + options.len()]);
        tenants::ipv4_frame(PORTS[3], VM, &packet)
    };
    let fate = |frame: &[u8]| {
        let fates = [true, false].map(|fast| node("mtu: 1500", true, fast).receive("access1", frame).fate);
        assert_eq!(fates[0], fates[1]);
        match fates[0] {
            Fate::Replied(Some(reason)) => Fate::Dropped(reason),
            fate => fate,
        }
    };
    let (own, peer, gateway) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 254]);
    for to in [peer, gateway, own, [10, 0, 0, 255], [192, 0, 2, 1], [239, 1, 2, 3]] {
        for from in [
            [0, 0, 0, 0],
            [10, 0, 0, 0],
            peer,
            gateway,
            [10, 0, 0, 255],
            [127, 0, 0, 1],
            [169, 254, 1, 1],
            [192, 0, 2, 1],
            [224, 0, 0, 1],
            [239, 1, 2, 3],
            [240, 0, 0, 1],
            [255; 4],
        ] {
            assert_eq!(
                fate(&packet(from, to, &[])),
                Fate::Dropped(DropReason::SpoofedSource),
                "{from:?} {to:?}"
            );
        }
    }
    for to in [[0, 0, 0, 0], [127, 0, 0, 1], [169, 254, 1, 1], [192, 0, 2, 1]] {
        assert_eq!(fate(&packet(own, to, &[])), Fate::Dropped(DropReason::Ipv4NoRoute), "{to:?}");
    }
    for to in [[224, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 254]] {
        assert_eq!(fate(&packet(own, to, &[])), Fate::Dropped(DropReason::Multicast), "{to:?}");
    }
    // Options are skipped but for a source route with hops left, to a peer and to the gateway alike.
    for (options, passes) in [
        (&[][..], true),
        (&[1, 1, 1, 0], true),
        (&[7, 7, 4, 0, 0, 0, 0, 0], true),
        (&[131, 7, 8, 10, 0, 0, 9, 0], true),
        (&[131, 7, 4, 10, 0, 0, 9, 0], false),
        (&[137, 7, 4, 10, 0, 0, 9, 0], false),
        (&[1, 131, 7, 4, 10, 0, 0, 9], false),
        (&[131, 9, 4, 0], false),
        (&[68, 1, 0, 0], false),
    ] {
        for to in [peer, gateway] {
            let is = fate(&packet(own, to, options));
            let passed = if to == peer { Fate::Forwarded } else { Fate::Dropped(DropReason::NotServed) };
            let is_right =
                if passes { is == passed } else { is == Fate::Dropped(DropReason::Untranslatable) };
            assert!(is_right, "{options:?} to {to:?}: {is:?}");
        }
    }
}

/// What an external port with further keys makes of a packet.
fn at_external(external: &str, source: &str, destination: &str) -> String {
    let table = ("", "ext0", true, ROUTER);
    let mut nodes = [node(external, true, true), node(external, true, false)];
    cell(&mut nodes, &table, source, destination)
}

#[test]
fn exceptions_admit_what_they_name_and_nothing_else() {
    let named = r#"external: {allow_sources: ["2001:db8:77::/64", "2001:db8:dddd::/64"], allow_destinations: ["fd00:1:0:3::/64", "2001:db8:1f::5/128"]}"#;
    for (source, destination, fate) in [
        ("2001:db8:77::5", "2001:db8:9::1", "yes"),
        ("2001:db8:dddd:0:2000::3", "2001:db8:9::1", "yes"),
        ("fd00:f::5", "2001:db8:9::1", "spoofed_source"),
        ("2001:db8:9::9", "fd00:1:0:3:2000::3", "yes"),
        ("2001:db8:9::9", "fd00:1:0:3::9", "yes"),
        ("2001:db8:9::9", "2001:db8:1f::5", "yes"),
        ("2001:db8:9::9", "2001:db8:1f::6", "external_to_fabric"),
        ("2001:db8:9::9", "fd00:1:0:1:2000::1", "external_to_fabric"),
        ("2001:db8:9::9", "fd00:1:0:1::9", "external_to_fabric"),
        // No exception covers the node itself and tenants, wherever their addresses lie.
        ("2001:db8:77::1", "2001:db8:9::1", "spoofed_source"),
        ("2001:db8:dddd:0:4000:64:a00:2", "2001:db8:9::1", "spoofed_source"),
        ("2001:db8:a::2", "2001:db8:9::1", "spoofed_source"),
    ] {
        assert_eq!(at_external(named, source, destination), fate, "{source} to {destination}");
    }
    for (source, destination, fate) in [
        ("fd00:f::5", "2001:db8:9::1", "yes"),
        ("2001:db8:dddd:0:2000::3", "2001:db8:dddd:0:2000::3", "yes"),
        ("2001:db8:9::9", "fd00:1:0:3:2000::3", "yes"),
        ("2001:db8:9::9", "fd00:f::5", "yes"),
        ("2001:db8:a::2", "2001:db8:9::1", "spoofed_source"),
        ("2001:db8:ff::1", "2001:db8:9::1", "spoofed_source"),
    ] {
        assert_eq!(
            at_external("external: {ingress: open}", source, destination),
            fate,
            "{source} to {destination}"
        );
    }
}

#[test]
fn a_fabric_subnet_is_protected_under_a_sir_prefix_too() {
    for own in ["2001:db8:dddd::1/64", "2001:db8:dddd::1/66", "2001:db8:1::1/32"] {
        let fabric = format!("\"fd00:2:0:fe::1/64\", \"{own}\"");
        let text = NODE.replace("EXTERNAL", "mtu: 1500").replace("TENANT", "");
        let text = text.replace("\"fd00:2:0:fe::1/64\"", &fabric);
        let mapped = [("2001:db8:dddd:0:2000::3".to_owned(), "fd00:1:0:3::/64")];
        let node = |fast: bool| {
            let config = Config::parse(&text, "edge.yaml").unwrap();
            let replay = Replay::new(config.clone(), records(&config, &mapped)).unwrap();
            Node::of(config, if fast { replay } else { replay.without_fast_path() })
        };
        let mut nodes = [node(true), node(false)];
        let table = ("", "ext0", false, ROUTER);
        let fate = cell(&mut nodes, &table, "2001:470::9", "2001:db8:dddd:0:2000::3");
        assert_eq!(fate, "external_to_fabric", "{own}");
    }
}

#[test]
fn a_task_speaks_only_with_its_own_mac_address_and_vlan() {
    let (source, destination) = (address("2001:db8:dddd:0:2000::1"), address("2001:db8:9::1"));
    let packet = ipv6(source, destination, 17, &udp(source, destination, b"x"));
    for fast in [true, false] {
        let mut node = node("mtu: 1500", true, fast);
        let other = Mac([2, 0, 0, 0, 2, 2]);
        for mac in [other, ROUTER, VM] {
            let fate = node.receive("access0", &frame(PORTS[2], mac, &packet)).fate;
            assert_eq!(fate, Fate::Dropped(DropReason::SpoofedSource), "{mac}");
        }
        let fate = node.receive("access0", &tagged(PORTS[2], TASK, 7, &packet)).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::UnknownVlan));
        assert_eq!(node.receive("access0", &frame(PORTS[2], TASK, &packet)).fate, Fate::Forwarded);
    }
}

#[test]
fn an_error_from_outside_is_about_a_packet_that_left_there() {
    let (router, task, away) = ("2001:db8:9::9", "2001:db8:dddd:0:2000::3", "2001:db8:9::1");
    let error = |kind: u8, to: &str, quoted_from: &str, quoted_to: &str| {
        let (from, at) = (address(quoted_from), address(quoted_to));
        let quote = ipv6(from, at, 17, &udp(from, at, b"what was sent"));
        icmp6_error(address(router), address(to), kind, 0, 1280, &quote)
    };
    let fate = |packet: &[u8]| {
        let fates = [true, false]
            .map(|fast| node("mtu: 1500", true, fast).receive("ext0", &frame(PORTS[1], ROUTER, packet)).fate);
        assert_eq!(fates[0], fates[1]);
        fates[0]
    };
    for kind in 1..=4 {
        assert_eq!(fate(&error(kind, task, task, away)), Fate::Forwarded);
        assert_eq!(fate(&error(kind, "2001:db8:a::2", "2001:db8:a::2", away)), Fate::Forwarded);
    }
    let foreign = Fate::Dropped(DropReason::ForeignError);
    for kind in [0, 5, 99, 100, 101, 127] {
        assert_eq!(fate(&error(kind, task, task, away)), foreign, "type {kind}");
    }
    for about in [
        "ff0e::1",
        "ff02::1",
        "fe80::1",
        "::",
        task,
        "2001:db8:dddd:0:2000::1",
        "2001:db8:dddd:0:4000:64:a00:2",
        "2001:db8:a::1",
        "fd00:1:0:1:2000::1",
        "fd00:1:0:3:2000::3",
        "fd00:1:0:3:6000:64:0:2",
        "fd00:f::5",
        "2001:db8:ff::1",
        "fd00:2:0:fe::7",
        "2001:db8:88::1",
    ] {
        for kind in 1..=4 {
            assert_eq!(fate(&error(kind, task, task, about)), foreign, "about {about}");
        }
    }
    // The quoted sender is another one than the receiver.
    assert_eq!(fate(&error(2, task, "2001:db8:dddd:0:2000::1", away)), foreign);
    // Nothing quoted, and a quote that is no IPv6.
    let short = icmp6(address(router), address(task), 1, 0, &[0; 4]);
    assert_eq!(fate(&ipv6(address(router), address(task), 58, &short)), foreign);
    // Behind extension headers and in a first fragment it is the same.
    let whole = error(2, task, task, task);
    for (header, next) in [([58, 0, 1, 4, 0, 0, 0, 0], 60), ([58, 0, 0, 1, 0, 0, 0, 9], 44)] {
        let hidden = ipv6(address(router), address(task), next, &[&header[..], &whole[40..]].concat());
        assert_eq!(fate(&hidden), foreign, "behind {next}");
    }
}

/// `count` destination options headers before a header of type `next`.
fn options(count: usize, next: u8) -> Vec<u8> {
    let mut headers = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
    if let Some(last) = count.checked_sub(1) {
        headers[8 * last] = next;
    }
    headers
}

#[test]
fn nothing_hides_from_an_external_port_behind_headers_that_cannot_be_read() {
    let (router, task) = (address("2001:db8:9::9"), address("2001:db8:dddd:0:2000::3"));
    let quote = |about: &str| ipv6(task, address(about), 17, &udp(task, address(about), b"what was sent"));
    let error = |about: &str| icmp6_error(router, task, 2, 0, 1280, &quote(about))[40..].to_vec();
    let (honest, foreign) = (error("2001:db8:9::1"), error("fd00:f::5"));
    let fate = |first: u8, rest: Vec<u8>| {
        let packet = frame(PORTS[1], ROUTER, &ipv6(router, task, first, &rest));
        let fates = [true, false].map(|fast| node("mtu: 1500", true, fast).receive("ext0", &packet).fate);
        assert_eq!(fates[0], fates[1]);
        fates[0]
    };
    let unreadable = Fate::Dropped(DropReason::ExtensionHeaders);
    for (upper, read) in [(&honest, Fate::Forwarded), (&foreign, Fate::Dropped(DropReason::ForeignError))] {
        // A chain that is read to its end, and longer ones.
        for count in [1, 7, 8] {
            assert_eq!(fate(60, [options(count, 58), upper.clone()].concat()), read, "{count}");
        }
        for count in [9, 10, 100] {
            assert_eq!(fate(60, [options(count, 58), upper.clone()].concat()), unreadable, "{count}");
        }
        // Fragments that cut the chain before, within and behind extension headers, and in the upper header.
        let chain = [options(2, 58), upper.clone()].concat();
        for end in [0, 3, 8, 9, 16, 19] {
            let first = [&[60, 0, 0, 1, 0, 0, 0, 9], &chain[..end]].concat();
            assert_eq!(fate(44, first), unreadable, "{end}");
        }
        // One that holds the chain and the quoted header; the fragment behind it may be anything.
        assert_eq!(fate(44, [&[60, 0, 0, 1, 0, 0, 0, 9], &chain[..72]].concat()), read);
        assert_eq!(fate(44, [&[58, 0, 0, 8, 0, 0, 0, 9], &upper[..]].concat()), Fate::Forwarded);
        // Headers that this node does not pass over.
        for last in [135, 139, 140] {
            assert_eq!(fate(last, [&[58, 0, 0, 0, 0, 0, 0, 0], &upper[..]].concat()), unreadable, "{last}");
        }
    }
    // The same for what is no error: what cannot be read may be anything. The fabric is believed.
    let datagram = udp(router, task, b"x");
    assert_eq!(fate(60, [options(9, 17), datagram.clone()].concat()), unreadable);
    assert_eq!(fate(44, [&[17, 0, 0, 1, 0, 0, 0, 9], &datagram[..7]].concat()), unreadable);
    let packet = ipv6(router, task, 44, &[&[17, 0, 0, 1, 0, 0, 0, 9], &datagram[..7]].concat());
    let outcome = node("mtu: 1500", true, true).receive("fabric0", &frame(PORTS[0], ROUTER, &packet));
    assert_eq!(outcome.fate, Fate::Forwarded);
    // What has no upper layer at all, and what is encrypted, comes in.
    assert_eq!(fate(59, vec![]), Fate::Forwarded);
    assert_eq!(fate(50, vec![58; 40]), Fate::Forwarded);
    assert_eq!(fate(139, vec![59, 0, 0, 0, 0, 0, 0, 0]), Fate::Forwarded);
}

#[test]
fn an_error_about_a_packet_to_an_admitted_source_comes_in() {
    let (task, admitted) = (address("2001:db8:dddd:0:2000::3"), "2001:db8:77::5");
    let error = |from: &str, about: &str| {
        let about = address(about);
        let quote = ipv6(task, about, 17, &udp(task, about, b"what was sent"));
        icmp6_error(address(from), task, 2, 0, 1280, &quote)
    };
    let fate = |packet: &[u8]| {
        let external = r#"external: {allow_sources: ["2001:db8:77::/64"]}"#;
        node(external, true, true).receive("ext0", &frame(PORTS[1], ROUTER, packet)).fate
    };
    for from in [admitted, "2001:db8:9::9"] {
        assert_eq!(fate(&error(from, admitted)), Fate::Forwarded);
        // Not about others that are inside, and not about this node itself, which has an address there.
        for about in ["fd00:f::5", "2001:db8:77::1", "2001:db8:dddd:0:2000::1"] {
            assert_eq!(fate(&error(from, about)), Fate::Dropped(DropReason::ForeignError), "about {about}");
        }
    }
}

#[test]
fn the_node_is_no_mirror() {
    let own = "fd00:2:0:fe::1";
    let echo = |from: &str, to: &str| {
        let (from, to) = (address(from), address(to));
        ipv6(from, to, 58, &icmp6(from, to, 128, 0, b"bytes of an attacker"))
    };
    let isolated = TENANT.replace("{from: red, to: outside}, {from: outside, to: red}", "");
    let text = NODE.replace("EXTERNAL", "mtu: 1500").replace("TENANT", &isolated);
    let mapped = ["2001:db8:dddd:0:6000:64:0:2", "2001:db8:dddd:0:2000::3"]
        .map(|sir| (sir.to_owned(), "fd00:1:0:3::/64"));
    let answered = |from: &str| {
        let mut node = Node::new(&text, &mapped);
        matches!(
            node.receive("fabric0", &frame(PORTS[0], ROUTER, &echo(from, own))).fate,
            Fate::Replied(None)
        )
    };
    for from in ["fd00:f::5", "2001:db8:dddd:0:2000::3", "fd00:1:0:3::1"] {
        assert!(answered(from), "{from}");
    }
    for from in [
        "2001:db8:a::2",
        "2001:db8:a::1",
        "2001:db8:dddd:0:4000:64:a00:2",
        "2001:db8:dddd:0:4000:65:a00:2",
        "2001:db8:dddd:0:6000:64:0:2",
        "fd00:1:0:3:2000::3",
        "fd00:1:0:1:2000::1",
        "fd00:1:0:3:6000:64:0:2",
        "2001:db8:ff::1",
    ] {
        assert!(!answered(from), "{from}");
    }
    // What draws an error: no mapping, no hop limit left, a port that is not served.
    for from in
        ["fd00:1:0:3:2000::3", "fd00:1:0:3:6000:64:0:2", "2001:db8:dddd:0:4000:65:a00:2", "2001:db8:ff::1"]
    {
        for (to, hop_limit) in [("2001:db8:dddd:0:2000::99", 64), ("2001:db8:9::1", 1), (own, 64)] {
            let (from, to) = (address(from), address(to));
            let mut packet = ipv6(from, to, 17, &udp(from, to, b"bytes of an attacker"));
            packet[7] = hop_limit;
            let fate = Node::new(&text, &mapped).receive("fabric0", &frame(PORTS[0], ROUTER, &packet)).fate;
            assert!(matches!(fate, Fate::Dropped(_)), "{fate:?}");
        }
    }
}

#[test]
fn a_quote_is_translated_only_for_a_router_and_for_who_may_have_sent_it() {
    // The quoted packet went to VM 2 of red under locator 3.
    let ila = address("fd00:1:0:3:6000:64:0:2");
    let quoted_to = |from: &str, reporter: &str, port: &str, mac: Mac, to: &str| {
        let from = address(from);
        let quote = ipv6(from, ila, 17, &udp(from, ila, b"a probe"));
        let packet = icmp6_error(address(reporter), address(to), 1, 3, 0, &quote);
        let at = ["fabric0", "ext0", "access0", "access1"].iter().position(|name| *name == port).unwrap();
        let outcome = node("mtu: 1500", true, true).receive(port, &frame(PORTS[at], mac, &packet));
        outcome.sent.map(|(_, sent)| destination(told(&sent[14..]).quote))
    };
    let mac = ROUTER;
    // A router of the fabric reports to VM 1 of red, to a task and to the Internet. Policies let the Internet, but no
    // task, send to red.
    let own = quoted_to("2001:db8:a::1", "fd00:f::5", "fabric0", mac, "2001:db8:a::1");
    assert_eq!(own, Some(address("2001:db8:a::2")));
    assert_eq!(
        quoted_to("2001:db8:9::1", "fd00:f::5", "fabric0", mac, "2001:db8:9::1"),
        Some(address("2001:db8:a::2"))
    );
    let task = "2001:db8:dddd:0:2000::3";
    assert_eq!(quoted_to(task, "fd00:f::5", "fabric0", mac, task), Some(ila));
    // End systems quote what they have never seen.
    assert_eq!(
        quoted_to("2001:db8:9::1", "2001:db8:dddd:0:2000::1", "access0", TASK, "2001:db8:9::1"),
        Some(ila)
    );
    assert_eq!(quoted_to("2001:db8:9::1", "2001:db8:a::1", "access1", VM, "2001:db8:9::1"), Some(ila));
    assert_eq!(quoted_to("2001:db8:9::1", "2001:db8:a::7", "fabric0", mac, "2001:db8:9::1"), Some(ila));
}

#[test]
fn a_frame_that_admission_refuses_is_never_read_as_a_packet() {
    // These MAC addresses begin like an IPv6 header.
    let text = NODE.replace("EXTERNAL", "mtu: 1500").replace("TENANT", TENANT);
    let text = text.replace("\"02:00:00:00:00:02\"", "\"62:00:00:00:00:02\"");
    let text = text.replace("\"02:00:00:00:00:03\"", "\"62:00:00:00:00:03\"");
    let (external, access) = (Mac([0x62, 0, 0, 0, 0, 2]), Mac([0x62, 0, 0, 0, 0, 3]));
    let unknown = "2001:db8:dddd:0:4000:65:a00:2";
    let task = "2001:db8:dddd:0:2000::1";
    for (port, to, mac, source, destination, reason) in [
        ("ext0", external, ROUTER, "2001:db8:9::9", unknown, DropReason::NoPolicy),
        ("ext0", external, ROUTER, "ff0e::1", unknown, DropReason::NoPolicy),
        ("access0", access, TASK, task, "fd00:1:0:3:2000::3", DropReason::TenantToFabric),
        ("access0", access, TASK, "ff0e::1", "fd00:1:0:3:2000::3", DropReason::TenantToFabric),
    ] {
        let (source, destination) = (address(source), address(destination));
        let packet = ipv6(source, destination, 17, &udp(source, destination, &[7; 40]));
        let mapped = [("2001:db8:dddd:0:2000::3".to_owned(), "fd00:1:0:3::/64")];
        let outcome = Node::new(&text, &mapped).receive(port, &frame(to, mac, &packet));
        assert_eq!((outcome.fate, outcome.sent), (Fate::Dropped(reason), None));
    }
}

/// A Neighbour Advertisement of `target` at `mac`, sent by `from`.
fn advertised(from: Mac, source: &str, target: &str, mac: Mac) -> Vec<u8> {
    let (source, nodes) = (address(source), address("ff02::1"));
    let body = [&[0x20, 0, 0, 0][..], &address(target).to_be_bytes(), &[2, 1], &mac.0].concat();
    let mut packet = ipv6(source, nodes, 58, &icmp6(source, nodes, 136, 0, &body));
    packet[7] = 255;
    frame(Mac::of_ipv6_multicast(nodes), from, &packet)
}

#[test]
fn a_task_advertises_itself_only_and_strangers_on_its_port_nothing() {
    let other = Mac([2, 0, 0, 0, 2, 2]);
    let spoofed = Fate::Dropped(DropReason::SpoofedSource);
    for (from, source, target, mac, fate) in [
        (TASK, "fe80::9", "2001:db8:dddd:0:2000::1", TASK, Fate::Punted),
        (TASK, "fe80::9", "2001:db8:88::5", TASK, Fate::Punted),
        (TASK, "2001:db8:dddd:0:2000::1", "fe80::9", TASK, Fate::Punted),
        // The address of another task, of another's prefix, of the fabric, and another MAC address.
        (other, "fe80::8", "2001:db8:dddd:0:2000::1", other, spoofed),
        (other, "fe80::8", "2001:db8:88::5", other, spoofed),
        (other, "fe80::8", "fd00:2:0:fe::ff", other, spoofed),
        (TASK, "fe80::9", "2001:db8:dddd:0:2000::1", other, spoofed),
        // Nobody knows this MAC address.
        (ROUTER, "fe80::7", "fe80::7", ROUTER, spoofed),
        (ROUTER, "fe80::7", "2001:db8:88::5", ROUTER, spoofed),
    ] {
        let mut node = node("mtu: 1500", true, true);
        let is = node.receive("access0", &advertised(from, source, target, mac)).fate;
        assert_eq!(is, fate, "{from} says {target} is at {mac}");
    }
}
